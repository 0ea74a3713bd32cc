(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude; a test compares them. *)

Require Import Reals Lra Lia List.
From Attest.Softmax Require Import Softmax TotalVariation Weights.
Open Scope R_scope.

Theorem s_tv_hilbert_satisfiable :
  ~ (forall (n : nat) (a b : nat -> R) (s : R) (S : nat -> bool), (0 < n)%nat ->
    TotalVariation.positive n a -> TotalVariation.positive n b -> 1 <= s ->
    TotalVariation.hilbert_close n a b s -> False).
Proof.
  intros N. apply (N 2%nat (fun _ => 1) (fun i => if Nat.eqb i 0 then 4 else 1) 2 (fun _ => true)).
  - lia.
  - intros i _. lra.
  - intros i _. destruct (Nat.eqb i 0); lra.
  - lra.
  - intros i j _ _. destruct (Nat.eqb i 0), (Nat.eqb j 0); lra.
Qed.

Theorem s_weights_tv_satisfiable :
  ~ (forall (n : nat) (a b : nat -> R) (epsilon : R) (S : nat -> bool), (0 < n)%nat -> 0 <=
    epsilon < 1 -> TotalVariation.positive n a -> Weights.relative_error n a b epsilon -> False).
Proof.
  intros N. apply (N 1%nat (fun _ => 2) (fun _ => 3) (1 / 2) (fun _ => true)).
  - lia.
  - lra.
  - intros i _. lra.
  - intros i _. lra.
Qed.

Theorem s_weights_output_satisfiable :
  ~ (forall (n : nat) (a b w : nat -> R) (epsilon M : R), (0 < n)%nat -> 0 <= epsilon < 1 ->
    TotalVariation.positive n a -> Weights.relative_error n a b epsilon -> Softmax.bounded n w M
    -> False).
Proof.
  intros N. apply (N 1%nat (fun _ => 2) (fun _ => 3) (fun _ => 1) (1 / 2) 1).
  - lia.
  - lra.
  - intros i _. lra.
  - intros i _. lra.
  - intros i _. rewrite Rabs_R1. lra.
Qed.

Theorem s_kappa_tv_satisfiable :
  ~ (forall (n : nat) (a b : nat -> R) (m kappa : R) (S : nat -> bool), (0 < n)%nat -> 0 < m ->
    TotalVariation.positive n a -> Weights.comparable n a b m kappa -> False).
Proof.
  intros N. apply (N 1%nat (fun _ => 2) (fun _ => 3) 1 2 (fun _ => true)).
  - lia.
  - lra.
  - intros i _. lra.
  - intros i _. lra.
Qed.
