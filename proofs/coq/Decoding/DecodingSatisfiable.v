(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude.

    No vectors at all, and a sum that was computed as 0. *)

Require Import Reals Lra.
From Attest.Rounding Require Import Expressions RoundingSatisfiable.
From Attest.Decoding Require Import Discrepancy.
Open Scope R_scope.

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
