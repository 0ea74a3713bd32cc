(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude; a test compares them. *)

Require Import Reals Lra Lia List Permutation.
From Attest.Foundations Require Import Sums Vectors Probability.
From Attest.Softmax Require Import TotalVariation.
From Attest.Rounding Require Import Rounding RoundingSatisfiable.
From Attest.RealHeads Require Import RealHeads Expansion ShareSlack.
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
  ~ (forall (n m : nat) (w r rho : nat -> R) (S : nat -> bool), (0 < n <= m)%nat ->
    TotalVariation.positive m w -> Sums.fsum n (fun j : nat => w j * r j) = 0 -> (forall j :
    nat, (j < m)%nat -> Rabs (r j) <= rho j) -> False).
Proof.
  intros N. apply (N 2%nat 3%nat (fun _ => 1) (fun j => if Nat.eqb j 0 then 1 else - 1) (fun _ => 1)
    (fun j => Nat.eqb j 0)).
  - lia.
  - intros j _. lra.
  - cbn [Sums.fsum Nat.eqb]. lra.
  - intros j _. destruct (Nat.eqb j 0); apply Rabs_le; lra.
Qed.

Theorem r_drop_output_satisfiable :
  ~ (forall (n m : nat) (w r rho : nat -> R) (S : nat -> bool) (v : nat -> R) (lo hi : R), (0 < n
    <= m)%nat -> TotalVariation.positive m w -> Sums.fsum n (fun j : nat => w j * r j) = 0 ->
    (forall j : nat, (j < m)%nat -> Rabs (r j) <= rho j) -> TotalVariation.ranges m v lo hi ->
    lo <= hi -> 0 < Sums.fsum m (Sums.off S (fun j : nat => w j * exp (r j))) -> False).
Proof.
  intros N. apply (N 2%nat 3%nat (fun _ => 1) (fun j => if Nat.eqb j 0 then 1 else - 1) (fun _ => 1)
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
  ~ (forall (n m d k : nat) (u lost tiny lightest : R) (K : nat -> nat -> R) (w : nat -> R)
    (light : nat -> bool) (largest N : nat -> R) (D : R) (q mean : nat -> R), 0 <= u -> 0 <=
    lost -> 2 * lost <= tiny -> INR (2 * S k) * u <= 1 / 4 -> (0 < n <= m)%nat ->
    TotalVariation.positive n w -> 0 <= lightest -> (forall j : nat, (j < n)%nat -> light j =
    true -> w j <= lightest) -> 1 / 2 <= Sums.fsum n (Sums.off light w) -> (forall j a : nat, (j
    < n)%nat -> (a < d)%nat -> Rabs (K j a) <= largest a) -> (exists t : Rounding.tree,
    Rounding.adds n t /\ (Rounding.roundings t <= k)%nat /\ Rounding.computes u 0 w t D) ->
    (forall a : nat, (a < d)%nat -> exists t : Rounding.tree, Rounding.adds n t /\
    (Rounding.roundings t <= k)%nat /\ Rounding.computes u lost (fun j : nat => w j * K j a) t
    (N a)) -> (forall a : nat, (a < d)%nat -> Rabs (q a - N a / D) <= u * Rabs (N a / D) + lost)
    -> (forall a : nat, (a < d)%nat -> Rabs (mean a - q a) <= u * Rabs (q a) + lost) -> False).
Proof.
  intros N. apply (N 1%nat 1%nat 1%nat 1%nat (/ 16) (/ 16) (1 / 8) 1 (fun _ => one) one (fun _ => false) one one
    1 one one); try lia; try (cbn; lra); try (intros a _; plain).
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

Theorem fp_share_slack_satisfiable :
  ~ (forall (n m d k : nat) (u exp_error lost tiny lightest reach logit_error step_length radius
    defect key_length mean_error factor_norm key_image_error image_length share slack : R) (K :
    nat -> nat -> R) (c delta : nat -> R) (M N : nat -> nat -> R) (o x b w : nat -> R) (light :
    nat -> bool) (X total : R) (mean : nat -> R) (y : nat -> nat -> R) (z : nat -> R) (s out
    threshold : R) (j : nat), 0 <= u -> u <= / 65536 -> 0 <= lost -> 2 * lost <= tiny -> tiny <=
    u -> 0 <= exp_error -> exp_error * u <= 1 / 2 -> INR (d + 2) * u <= 1 / 4 -> INR (2 * S k) *
    u <= 1 / 4 -> 0 <= lightest <= 1 -> 0 < share <= 1 / 2 -> 0 <= slack <= 3 -> (0 < n <=
    m)%nat -> (j < m)%nat -> (forall l : nat, (l < m)%nat -> Rabs (Vectors.dot d c (K l)) <=
    reach /\ Rabs (x l - Vectors.dot d c (K l)) <= logit_error) -> ShareSlack.weighed n u
    exp_error lightest X x b w light -> Rabs (b j - (x j - X)) <= u * Rabs (x j - X) -> (exists
    t : Rounding.tree, Rounding.adds n t /\ (Rounding.roundings t <= k)%nat /\ Rounding.computes
    u 0 w t total) -> Vectors.norm d delta <= step_length -> Vectors.norm d
    (Expansion.transformed d delta M) <= radius -> Vectors.frobenius d d
    (Expansion.inverse_defect d M N) <= defect -> Vectors.frobenius d d N <= factor_norm ->
    (forall l : nat, (l < m)%nat -> Vectors.norm d (K l) <= key_length) -> Vectors.norm d (fun a
    : nat => mean a - RealHeads.kept_average n light w (fun l : nat => K l a)) <= mean_error ->
    (forall l : nat, (l < m)%nat -> Vectors.norm d (y l) <= image_length /\ Vectors.norm d (fun
    a : nat => Expansion.transformed d (fun i : nat => K l i - o i) N a - y l a) <=
    key_image_error) -> Vectors.norm d (fun a : nat => Expansion.transformed d (fun i : nat =>
    mean i - o i) N a - z a) <= key_image_error -> ShareSlack.computed_square d u lost (y j) z s
    -> ShareSlack.computed_share u lost radius s (b j) out -> ShareSlack.computed_threshold u
    (ln total) (ln (share / INR m)) slack threshold -> False).
Proof.
  intros N. set (Z := fun _ : nat => zero). set (u := / 65536).
  assert (Image : forall x, x 0%nat = 0 ->
    norm 1 (fun a => transformed 1 (fun i => x i - zero i) Z a - zero a) = 0).
  { intros x Hx. rewrite norm_one. unfold transformed, Z, zero. cbn [Sums.fsum]. rewrite Hx.
    replace (0 + (0 - 0) * 0 - 0) with 0 by ring. apply Rabs_R0. }
  assert (None : norm 1 zero = 0) by (rewrite norm_one; apply Rabs_R0).
  apply (N 1%nat 1%nat 1%nat 1%nat u 1 0 0 0 0 0 0 0 (frobenius 1 1 (inverse_defect 1 Z Z)) 0 0
    (frobenius 1 1 Z) 0 0 (1 / 2) 0 Z zero zero Z Z zero zero zero one (fun _ => false) 0 1 zero Z zero
    0 0 (ln 1 + ln (1 / 2 / INR 1) - 0) 0%nat); try (unfold u; cbn; lra); try lia.
  - intros l _. unfold dot, Z, zero. cbn [Sums.fsum]. split; apply zero_error; lra.
  - split; [exists 0%nat; split; [lia | reflexivity] |]. intros l _. unfold zero, one, u.
    rewrite exp_0. split; [lra |]. split; [apply zero_error; [ring | rewrite Rminus_0_r, Rabs_R0; lra] |].
    split; [lra |]. apply zero_error; lra.
  - apply zero_error; [unfold zero; ring | unfold zero; rewrite Rminus_0_r, Rabs_R0; lra].
  - exists (Leaf 0). split; [exact leaf_adds |]. split; [cbn; lia |].
    apply leaf_computes; unfold one, u; lra.
  - rewrite norm_one. unfold transformed, Z, zero. cbn [Sums.fsum]. apply zero_error; lra.
  - intros l _. unfold Z. rewrite None. lra.
  - rewrite norm_one. unfold kept_average, Sums.off, Z, zero, one. cbn [Sums.fsum].
    apply zero_error; [field | lra].
  - intros l _. change (Z l) with zero. split; [rewrite None; lra |].
    rewrite Image by reflexivity. lra.
  - rewrite Image by reflexivity. lra.
  - exists (Leaf 0), (Leaf 0), (Leaf 0), 0, 0, 0, 0. repeat split; auto using leaf_adds, Permutation_refl;
      try (apply leaf_computes; unfold Z, zero, u; lra); apply zero_error; unfold u; rewrite ?Rplus_0_r, ?Rabs_R0; lra.
  - exists 0, 0, 0. rewrite Rmax_left, sqrt_0 by lra. unfold zero, u.
    repeat split; apply zero_error; rewrite ?Rmult_0_r, ?Rplus_0_r, ?Rabs_R0; lra.
  - unfold computed_threshold. apply zero_error; [ring |].
    repeat apply Rmult_le_pos; unfold u; try lra.
    pose proof (Rabs_pos (ln 1)). pose proof (Rabs_pos (ln (1 / 2 / INR 1))). lra.
Qed.
