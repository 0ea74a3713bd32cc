(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude; a test compares them. *)

Require Import Reals Lra Lia List.
From Attest.Foundations Require Import Sums Probability.
From Attest.Softmax Require Import TotalVariation.
From Attest.Rounding Require Import Rounding RoundingSatisfiable.
From Attest.RealHeads Require Import RealHeads.
Open Scope R_scope.

Theorem r_certify_satisfiable :
  ~ (forall (A : Type) (rows : list A) (error : A -> R) (certified : list A -> R) (m k : nat) (f
    : R), rows <> nil -> (k <= m)%nat -> 0 <= f <= 1 -> (forall l : list A, List.In l
    (Probability.tuples m rows) -> (RealHeads.hits (fun a : A => Probability.less_than
    (certified l) (error a)) l <= k)%nat) -> False).
Proof.
  intros N. apply (N unit (tt :: nil) (fun _ => 1) (fun _ => 1) 1%nat 0%nat (1 / 2)).
  - discriminate.
  - lia.
  - lra.
  - intros l Hl. destruct (tuples_In _ _ _ Hl) as [L _]. unfold hits, less_than.
    destruct (Rlt_dec 1 1) as [C | _]; [lra |]. clear Hl L.
    induction l; simpl; auto.
Qed.

Theorem r_drop_satisfiable :
  ~ (forall (n : nat) (w r rho : nat -> R) (S : nat -> bool), (0 < n)%nat ->
    TotalVariation.positive n w -> Sums.fsum n (fun j : nat => w j * r j) = 0 -> (forall j :
    nat, (j < n)%nat -> Rabs (r j) <= rho j) -> False).
Proof.
  intros N. apply (N 2%nat (fun _ => 1) (fun j => if Nat.eqb j 0 then 1 else - 1) (fun _ => 1)
    (fun j => Nat.eqb j 0)).
  - lia.
  - intros j _. lra.
  - cbn [Sums.fsum Nat.eqb]. lra.
  - intros j _. destruct (Nat.eqb j 0); apply Rabs_le; lra.
Qed.

Theorem r_drop_output_satisfiable :
  ~ (forall (n : nat) (w r rho : nat -> R) (S : nat -> bool) (v : nat -> R) (lo hi : R), (0 <
    n)%nat -> TotalVariation.positive n w -> Sums.fsum n (fun j : nat => w j * r j) = 0 ->
    (forall j : nat, (j < n)%nat -> Rabs (r j) <= rho j) -> TotalVariation.ranges n v lo hi ->
    lo <= hi -> 0 < Sums.fsum n (Sums.off S (fun j : nat => w j * exp (r j))) -> False).
Proof.
  intros N. apply (N 2%nat (fun _ => 1) (fun j => if Nat.eqb j 0 then 1 else - 1) (fun _ => 1)
    (fun j => Nat.eqb j 0) (fun _ => 1) 0 2).
  - lia.
  - intros j _. lra.
  - cbn [Sums.fsum Nat.eqb]. lra.
  - intros j _. destruct (Nat.eqb j 0); apply Rabs_le; lra.
  - intros j _. lra.
  - lra.
  - cbn [Sums.fsum]. unfold Sums.off. cbn [Nat.eqb]. pose proof (exp_pos (- 1)). lra.
Qed.

Theorem r_expansion_zeroth_satisfiable :
  ~ (forall (n clusters : nat) (w c r rho : nat -> R) (label : nat -> nat) (v : nat -> R), (0 <
    n)%nat -> TotalVariation.positive n w -> RealHeads.centred n clusters w r label -> (forall j
    : nat, (j < n)%nat -> 0 < rho j /\ Rabs (r j) <= rho j) -> False).
Proof.
  intros N. apply (N 2%nat 1%nat (fun _ => 1) (fun _ => 0) (fun j => if Nat.eqb j 0 then 1 else - 1)
    (fun _ => 1) (fun _ => 0%nat) (fun _ => 1)).
  - lia.
  - intros j _. lra.
  - split; [auto | intros b Hb; assert (b = 0%nat) as -> by lia; cbn [Sums.fsum Nat.eqb]; lra].
  - intros j _. split; [lra |]. destruct (Nat.eqb j 0); apply Rabs_le; lra.
Qed.

Theorem r_expansion_first_satisfiable :
  ~ (forall (n clusters : nat) (w c r rho : nat -> R) (label : nat -> nat) (v : nat -> R), (0 <
    n)%nat -> TotalVariation.positive n w -> RealHeads.centred n clusters w r label -> (forall j
    : nat, (j < n)%nat -> 0 < rho j /\ Rabs (r j) <= rho j) -> False).
Proof.
  intros N. apply (N 2%nat 1%nat (fun _ => 1) (fun _ => 0) (fun j => if Nat.eqb j 0 then 1 else - 1)
    (fun _ => 1) (fun _ => 0%nat) (fun _ => 1)).
  - lia.
  - intros j _. lra.
  - split; [auto | intros b Hb; assert (b = 0%nat) as -> by lia; cbn [Sums.fsum Nat.eqb]; lra].
  - intros j _. split; [lra |]. destruct (Nat.eqb j 0); apply Rabs_le; lra.
Qed.

Theorem fp_image_error_satisfiable :
  ~ (forall (d : nat) (u lost tiny : R) (v step : nat -> R) (M : nat -> nat -> R) (image : nat
    -> R), 0 <= u -> 0 <= lost -> 2 * lost <= tiny -> INR (d + 2) * u <= 1 / 4 -> (forall l :
    nat, (l < d)%nat -> Rabs (step l - v l) <= u * Rabs (v l)) -> (forall a : nat, (a < d)%nat
    -> exists t : Rounding.tree, Rounding.adds d t /\ Rounding.computes u lost (fun l : nat =>
    step l * M l a) t (image a)) -> False).
Proof.
  intros N. apply (N 1%nat (/ 16) (/ 16) (1 / 8) one one (fun _ => one) one); try (cbn; lra).
  - intros l _. plain.
  - intros a _. exists (Leaf 0). split; [exact leaf_adds |]. apply leaf_computes; unfold one; lra.
Qed.

Theorem fp_centre_mean_error_satisfiable :
  ~ (forall (n d k : nat) (u lost tiny lightest : R) (K : nat -> nat -> R) (w : nat -> R) (light
    : nat -> bool) (m N : nat -> R) (D : R) (q mean : nat -> R), 0 <= u -> 0 <= lost -> 2 * lost
    <= tiny -> INR (2 * S k) * u <= 1 / 4 -> TotalVariation.positive n w -> 0 <= lightest ->
    (forall j : nat, (j < n)%nat -> light j = true -> w j <= lightest) -> 1 / 2 <= Sums.fsum n
    (Sums.off light w) -> (forall j a : nat, (j < n)%nat -> (a < d)%nat -> Rabs (K j a) <= m a)
    -> (exists t : Rounding.tree, Rounding.adds n t /\ (Rounding.roundings t <= k)%nat /\
    Rounding.computes u 0 w t D) -> (forall a : nat, (a < d)%nat -> exists t : Rounding.tree,
    Rounding.adds n t /\ (Rounding.roundings t <= k)%nat /\ Rounding.computes u lost (fun j :
    nat => w j * K j a) t (N a)) -> (forall a : nat, (a < d)%nat -> Rabs (q a - N a / D) <= u *
    Rabs (N a / D) + lost) -> (forall a : nat, (a < d)%nat -> Rabs (mean a - q a) <= u * Rabs (q
    a) + lost) -> False).
Proof.
  intros N. apply (N 1%nat 1%nat 1%nat (/ 16) (/ 16) (1 / 8) 1 (fun _ => one) one (fun _ => false) one one
    1 one one); try (cbn; lra); try (intros a _; plain).
  - unfold Sums.off, one. cbn. lra.
  - intros j a _ _. plain.
  - exists (Leaf 0). split; [exact leaf_adds |]. split; [cbn; lia |].
    apply leaf_computes; unfold one; lra.
  - intros a _. exists (Leaf 0). split; [exact leaf_adds |]. split; [cbn; lia |].
    apply leaf_computes; unfold one; lra.
Qed.

Theorem fp_dropped_keys_output_satisfiable :
  ~ (forall (n : nat) (S : nat -> bool) (a v : nat -> R) (lo hi rounding share out : R),
    TotalVariation.positive n a -> TotalVariation.ranges n v lo hi -> 0 < Sums.fsum n (Sums.off
    S a) -> Rabs (out - RealHeads.kept_average n S a v) <= rounding -> TotalVariation.mass n S
    (Softmax.normalize n a) <= share -> False).
Proof.
  intros N. apply (N 1%nat (fun _ => false) one one 1 1 0 0 1).
  - intros j _. unfold one. lra.
  - intros j _. unfold one. lra.
  - unfold Sums.off, one. cbn. lra.
  - unfold kept_average, Sums.off, one. cbn [Sums.fsum]. apply zero_error; [field | lra].
  - unfold mass, Sums.on. cbn. lra.
Qed.
