(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude; a test compares them. *)

Require Import Reals Lra Lia List.
From Attest.Foundations Require Import Sums Probability.
From Attest.Softmax Require Import TotalVariation.
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
