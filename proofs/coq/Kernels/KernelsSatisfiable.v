(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude.

    One key of weight 1 and value 1, of which nothing is rounded: an error of 0 is one of the errors that
    the model allows.  A rounding up or down by 1, either equally likely, always passes 1/2. *)

Require Import Reals Lra Lia List.
From Attest.Foundations Require Import Sums Lists Vectors Averages Probability.
From Attest.Rounding Require Import RoundingSatisfiable.
From Attest.Kernels Require Import Kernels Probable.
Import ListNotations.
Open Scope R_scope.

Lemma one_weight : weights 1 one.
Proof. split; [intros j _; unfold one; lra | cbn; unfold one; lra]. Qed.

Lemma one_kernel_weight : kernel_weights 1 one zero one.
Proof. exists zero. intros j _. unfold one, zero. rewrite Rabs_R0, exp_0. lra. Qed.

Ltac averaged := try exact one_weight; try exact one_kernel_weight; unfold mean; plain.

Theorem fp_kernel_gradient_satisfiable :
  ~ (forall (n : nat) (a a' b e : nat -> R) (s E M g L : R), 0 <= g -> (forall j : nat, (j <
    n)%nat -> Rabs (a' j - a j) <= e j) -> Sums.fsum n (fun j : nat => e j * Rabs (b j)) <= E ->
    Sums.fsum n (fun j : nat => Rabs (a j * b j)) <= M -> Rabs (s - Sums.fsum n (fun j : nat =>
    a' j * b j)) <= g * Sums.fsum n (fun j : nat => Rabs (a' j * b j)) + L -> False).
Proof.
  intros N. apply (N 1%nat one one one zero 1 0 1 0 0); plain.
Qed.

Theorem fp_kernel_factor_satisfiable :
  ~ (forall (k : nat) (u : R) (d : nat -> R) (r1 r2 r3 e1 e2 e3 : R), 0 <= u -> INR k * u < 1 ->
    0 <= r1 -> 0 <= r2 -> 0 <= r3 -> (forall i : nat, (i < k)%nat -> Rabs (d i) <= u) -> Rabs e1
    <= r1 -> Rabs e2 <= r2 -> Rabs e3 <= r3 -> False).
Proof.
  intros N. apply (N 1%nat (/ 8) zero 0 0 0 0 0 0); plain.
Qed.

Theorem fp_kernel_output_satisfiable :
  ~ (forall (n : nat) (p theta W v : nat -> R), Averages.weights n p -> Kernels.kernel_weights n
    p theta W -> forall gN gD lN lD N D : R, 0 <= gN -> 0 <= gD < 1 -> Rabs (N - Sums.fsum n
    (fun j : nat => W j * v j)) <= gN * Sums.fsum n (fun j : nat => W j * Rabs (v j)) + lN ->
    Rabs (D - Sums.fsum n W) <= gD * Sums.fsum n W + lD -> forall dev vs ls ss om : R, Sums.fsum
    n (fun j : nat => p j * (exp (theta j) - 1) * Rabs (v j - Averages.mean n p v)) <= dev ->
    Sums.fsum n (fun j : nat => p j * exp (theta j) * Rabs (v j)) <= vs -> Sums.fsum n (fun j :
    nat => p j * exp (theta j)) <= ls -> ss <= Sums.fsum n (fun j : nat => p j * exp (- theta
    j)) -> Rabs (Averages.mean n p v) <= om -> lD < (1 - gD) * ss -> False).
Proof.
  intros N. apply (N 1%nat one zero one one) with (gN := 0) (gD := 0) (lN := 0) (lD := 0) (N := 1)
    (D := 1) (dev := 0) (vs := 1) (ls := 1) (ss := 1) (om := 1); averaged.
Qed.

Theorem fp_kernel_range_satisfiable :
  ~ (forall (n : nat) (p theta W v : nat -> R), Averages.weights n p -> Kernels.kernel_weights n
    p theta W -> forall gN gD lN lD N D : R, 0 <= gN -> 0 <= gD < 1 -> 0 <= lD -> Rabs (N -
    Sums.fsum n (fun j : nat => W j * v j)) <= gN * Sums.fsum n (fun j : nat => W j * Rabs (v
    j)) + lN -> Rabs (D - Sums.fsum n W) <= gD * Sums.fsum n W + lD -> forall S M om : R,
    (forall j : nat, (j < n)%nat -> Rabs (v j - Averages.mean n p v) <= S) -> (forall j : nat,
    (j < n)%nat -> Rabs (v j) <= M) -> Rabs (Averages.mean n p v) <= om -> 1 <= Sums.fsum n W ->
    lN <= lD * M -> lD < 1 - gD -> False).
Proof.
  intros N. apply (N 1%nat one zero one one) with (gN := 0) (gD := 0) (lN := 0) (lD := 0) (N := 1)
    (D := 1) (S := 0) (M := 1) (om := 1); averaged.
Qed.

Theorem fp_kernel_matmul_satisfiable :
  ~ (forall (n : nat) (p theta v : nat -> R) (E V : R), Averages.weights n p -> (forall j : nat,
    (j < n)%nat -> 0 <= theta j) -> Sums.fsum n (fun j : nat => p j * (exp (theta j) - 1) ^ 2)
    <= E -> Sums.fsum n (fun j : nat => p j * v j ^ 2) - Averages.mean n p v ^ 2 <= V -> False).
Proof.
  intros N. apply (N 1%nat one zero one 0 0); averaged.
Qed.

Theorem fp_kernel_shift_satisfiable :
  ~ (forall (n : nat) (p theta W v : nat -> R) (lambda excess ss : R), Averages.weights n p ->
    Kernels.kernel_weights n p theta W -> 0 <= excess -> 0 < ss -> ss <= Sums.fsum n (fun j :
    nat => p j * exp (- theta j)) -> Sums.fsum n (fun j : nat => p j * Kernels.tilted (theta j)
    (v j - Averages.mean n p v - lambda)) <= excess -> False).
Proof.
  intros N. apply (N 1%nat one zero one one 0 0 1);
    try (unfold tilted, Rmax, mean, one, zero, dot; cbn [fsum]; destruct (Rle_dec _ _)); averaged.
Qed.

Theorem fp_kernel_probable_satisfiable :
  ~ (forall (A : Type) (seeds : list A), seeds <> nil -> forall (n : nat) (f : nat -> A -> R) (c
    : nat -> R) (N : nat) (delta t : R), Probable.rounding A seeds f c n -> (0 < N)%nat -> 0 <
    delta < 1 -> delta / INR N < Probability.probability (Probability.tuples n seeds)
    (Probable.passes A t f) -> False).
Proof.
  intros N.
  apply (N bool [true; false] ltac:(discriminate) 1%nat (fun _ a => if a then 1 else -1) one 1%nat
    (1 / 2) (1 / 2)); [| lia | lra |].
  - intros r _. split; [plain |]. split.
    + intros [|] _; unfold one; [rewrite Rabs_R1 | rewrite Rabs_left by lra]; lra.
    + unfold expect, lsum. simpl. field.
  - replace (probability _ _) with 1; [simpl; lra |]. unfold probability, expect, lsum, passes, less_than. simpl.
    repeat (destruct (Rlt_dec _ _) as [_ | H];
      [| exfalso; revert H; unfold Rabs; destruct (Rcase_abs _); lra]). field.
Qed.
