(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude.

    One key whose logit is 0 and whose value is 1, and which a cache has without any error. *)

Require Import Reals Lra Lia.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Rounding Require Import RoundingSatisfiable.
From Attest.Caches Require Import Box Variation SubsetSum.
Open Scope R_scope.

Lemma near_itself n s : near n s s zero.
Proof. intros i _. unfold zero. rewrite Rminus_diag_eq, Rabs_R0 by reflexivity. lra. Qed.

Lemma lone_softmax : softmax 1 zero 0 = 1.
Proof. unfold softmax, normalize, zero. cbn [fsum]. rewrite exp_0. field. Qed.

Lemma nothing_grows n : grows n zero 1.
Proof. split; [lra |]. intros i _. unfold zero. rewrite exp_0. lra. Qed.

Ltac cached := try lia; try apply near_itself; try apply nothing_grows; try lra;
  unfold mean, dot; cbn [fsum]; rewrite ?lone_softmax; try plain.

Theorem q_augmented_satisfiable :
  ~ (forall (n : nat) (s s' c v v' e : nat -> R) (y F radius_mean radius_square scatter value_error
    radius_value_error centre_error : R), (0 < n)%nat -> Box.near n s' s c -> Box.near n v' v e
    -> Box.grows n c F -> Averages.mean n (Softmax.softmax n s) c <= radius_mean ->
    Averages.mean n (Softmax.softmax n s) (fun j : nat => c j ^ 2) <= radius_square ->
    Averages.mean n (Softmax.softmax n s) (fun j : nat => (v j - y) ^ 2) <= scatter ->
    Averages.mean n (Softmax.softmax n s) e <= value_error -> Averages.mean n (Softmax.softmax n
    s) (fun j : nat => c j * e j) <= radius_value_error -> Rabs (Averages.mean n
    (Softmax.softmax n s) v - y) <= centre_error -> False).
Proof.
  intros N. apply (N 1%nat zero zero zero one one zero 1 1 0 0 0 0 0 0); cached.
Qed.

Theorem q_augmented_log_satisfiable :
  ~ (forall (n : nat) (s s' c : nat -> R) (F radius_mean : R), (0 < n)%nat -> Box.near n s' s c
    -> Box.grows n c F -> Averages.mean n (Softmax.softmax n s) c <= radius_mean -> False).
Proof.
  intros N. apply (N 1%nat zero zero zero 1 0); cached.
Qed.

Theorem q_tv_satisfiable :
  ~ (forall (n : nat) (s s' c : nat -> R) (S : nat -> bool) (t t' multiplier : R), (0 < n)%nat
    -> Box.near n s' s c -> 0 <= multiplier -> t <= TotalVariation.mass n S (Softmax.softmax n
    s') <= t' -> False).
Proof.
  intros N. apply (N 1%nat zero zero zero (fun _ => true) 1 1 1); cached.
  unfold mass, on. cbn [fsum]. rewrite lone_softmax. lra.
Qed.

Theorem q_tv_light_satisfiable :
  ~ (forall (n : nat) (s s' c : nat -> R) (S : nat -> bool), (0 < n)%nat -> Box.near n s' s c ->
    (forall i : nat, (i < n)%nat -> 0 <= c i) -> Variation.amplification n s c <= 2 -> False).
Proof.
  intros N. apply (N 1%nat zero zero zero (fun _ => true)); cached.
  unfold amplification, heavy. cbn [fsum]. rewrite lone_softmax. plain.
Qed.

Theorem q_tv_hard_satisfiable :
  ~ (forall (n : nat) (a : nat -> nat) (T : nat) (s' : nat -> R) (S0 : nat -> bool), (0 < n)%nat
    -> (forall i : nat, (i < n)%nat -> (0 < a i)%nat) -> SubsetSum.whole n a = (3 * T)%nat ->
    (forall S : nat -> bool, SubsetSum.chosen n S a <> T) -> Box.near n s'
    (SubsetSum.proportional a) SubsetSum.doubling -> False).
Proof.
  intros N. apply (N 1%nat (fun _ => 3%nat) 1%nat (proportional (fun _ => 3%nat)) (fun _ => true));
    try lia; [reflexivity | |].
  - intros S. cbn. destruct (S 0%nat); lia.
  - intros i _. rewrite Rminus_diag_eq, Rabs_R0 by reflexivity. unfold doubling.
    rewrite <- ln_1. left. apply ln_increasing; lra.
Qed.
