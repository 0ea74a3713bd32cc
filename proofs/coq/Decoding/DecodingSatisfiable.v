(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude.

    One key of share 1 and distance 1, which is kept for one of two seeds: the sum is 2 or 0 and its mean 1, so
    it is always off by more than 1/2, and the estimate is never above 2.  Of a discrepancy: no vectors
    at all, and a sum that was computed as 0. *)

Require Import Reals Lra Lia List.
From Attest.Foundations Require Import Sums Lists Probability.
From Attest.Rounding Require Import Expressions RoundingSatisfiable.
From Attest.Decoding Require Import Discrepancy Sampled.
Import ListNotations.
Open Scope R_scope.

Definition one (j : nat) : R := 1.

Definition coin : list bool := [true; false].

Lemma coin_half : probability coin (fun a => a) = 1 / 2.
Proof. unfold probability, expect, lsum, coin. simpl. field. Qed.

Lemma one_drawn : drawn bool coin (fun _ a => a) one one (1 / 2) 1 1.
Proof.
  intros j _. unfold one. rewrite coin_half, Rabs_R1. repeat split; try lra; right; lra.
Qed.

Theorem i_sampled_satisfiable :
  ~ (forall (A : Type) (seeds : list A), seeds <> nil -> forall (n : nat) (keep : nat -> A -> bool)
    (p y : nat -> R) (m D : R) (N : nat) (delta t : R), Sampled.drawn A seeds keep p y m D n ->
    0 < m -> (0 < N)%nat -> 0 < delta < 1 -> 0 < Sampled.moment p y n -> delta / INR N <
    Probability.probability (Probability.tuples n seeds) (Sampled.off_by A t (Sums.fsum n (fun j :
    nat => p j * y j)) (fun j : nat => Sampled.weighed A seeds (keep j) (p j * y j))) -> False).
Proof.
  intros N.
  apply (N bool coin ltac:(discriminate) 1%nat (fun _ a => a) one one (1 / 2) 1 1%nat (1 / 2) (1 / 2));
    [exact one_drawn | lra | lia | lra | unfold moment, one; simpl; lra |].
  replace (probability _ _) with 1; [simpl; lra |].
  unfold probability at 1, expect, lsum, off_by, weighed, less_than, one. rewrite coin_half. simpl.
  repeat (destruct (Rlt_dec _ _) as [_ | H];
    [| exfalso; revert H; unfold Rabs; destruct (Rcase_abs _); lra]). field.
Qed.

Theorem i_sampled_moment_satisfiable :
  ~ (forall (A : Type) (seeds : list A), seeds <> nil -> forall (n : nat) (keep : nat -> A -> bool)
    (p y : nat -> R) (m D : R) (N : nat) (delta e : R), Sampled.drawn A seeds keep p y m D n ->
    0 < m -> (0 < N)%nat -> 0 < delta < 1 -> 0 < Sampled.moment p y n -> 0 <= e -> delta / INR N <
    Probability.probability (Probability.tuples n seeds) (Sampled.at_most A e (fun j : nat =>
    Sampled.weighed A seeds (keep j) (p j * y j ^ 2))) -> False).
Proof.
  intros N.
  apply (N bool coin ltac:(discriminate) 1%nat (fun _ a => a) one one (1 / 2) 1 1%nat (1 / 2) 2);
    [exact one_drawn | lra | lia | lra | unfold moment, one; simpl; lra | lra |].
  replace (probability _ _) with 1; [simpl; lra |].
  unfold probability at 1, expect, lsum, at_most, weighed, one. rewrite coin_half. simpl.
  repeat (destruct (Rle_dec _ _) as [_ | H]; [| exfalso; apply H; lra]). field.
Qed.

Theorem fp_gram_sum_satisfiable :
  ~ (forall (n d m : nat) (w : nat -> R) (x : nat -> nat -> R) (lost : R)
    (e : Expressions.expression) (computed rho size underflow : R), 0 <= lost ->
    Expressions.evaluates lost e computed -> Expressions.value e = Discrepancy.gram n d m w x ->
    Expressions.roundings_total e <= rho -> rho < 1 -> Expressions.magnitude e <= size ^ 2 ->
    Expressions.loss lost e <= underflow -> False).
Proof.
  intros N. assert (E : evaluates 0 (Number 0 0) 0).
  { pose proof (evaluates_number 0 0 0 0 ltac:(rewrite Rabs_R0; lra)) as E.
    replace (0 * (1 + 0)) with 0 in E by ring. exact E. }
  apply (N 0%nat 0%nat 0%nat zero (fun _ => zero) 0 (Number 0 0) 0 0 0 0);
    try exact E; cbn; rewrite ?Rabs_R0; lra.
Qed.
