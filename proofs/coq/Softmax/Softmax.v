(** Softmax under perturbation: range, ratio and entries (claims S.range, S.ratio).

    p_i = exp v_i / sum_j exp v_j for i < n.

    Range: 1 / p_i = sum_j exp (v_j - v_i), whose term i is 1 and whose others lie in
    [exp (-2 r), exp (2 r)]; all n - 1 others meet the bound together when v = (r, -r, ..., -r).
    Ratio: exp u_i and the two normalisers change by a factor of at most exp eta each.  The factor
    exp (2 eta) is the least one that serves all n, u, v, but no instance has it. *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
Open Scope R_scope.

Definition normalize (n : nat) (a : nat -> R) (i : nat) : R := a i / fsum n a.
Definition softmax (n : nat) (v : nat -> R) (i : nat) : R := normalize n (fun j => exp (v j)) i.

(** |v_i| <= r for i < n *)
Definition bounded (n : nat) (v : nat -> R) (r : R) : Prop :=
  forall i, (i < n)%nat -> Rabs (v i) <= r.

(** |u_i - v_i| <= eta for i < n *)
Definition within (n : nat) (u v : nat -> R) (eta : R) : Prop :=
  forall i, (i < n)%nat -> Rabs (u i - v i) <= eta.

(** * General facts *)

Lemma within_sym n u v eta : within n u v eta -> within n v u eta.
Proof. intros H i Hi. rewrite Rabs_minus_sym. auto. Qed.

Lemma within_nonneg n u v eta : (0 < n)%nat -> within n u v eta -> 0 <= eta.
Proof. intros Hn H. eapply Rle_trans; [apply Rabs_pos | apply (H 0%nat Hn)]. Qed.

Lemma within_exp n u v eta i : within n u v eta -> (i < n)%nat ->
  exp (u i) <= exp eta * exp (v i).
Proof.
  intros H Hi. rewrite <- exp_plus. apply exp_le. pose proof (Rabs_bounds _ _ (H i Hi)). lra.
Qed.

Lemma exp_sum_pos n v : (0 < n)%nat -> 0 < fsum n (fun i => exp (v i)).
Proof. intros. apply fsum_pos; auto. intros; apply exp_pos. Qed.

Lemma softmax_pos n v i : (0 < n)%nat -> 0 < softmax n v i.
Proof. intros. apply Rdiv_lt_0_compat; [apply exp_pos | apply exp_sum_pos; auto]. Qed.

Lemma softmax_inverse n v i : (0 < n)%nat ->
  / softmax n v i = fsum n (fun j => exp (v j - v i)).
Proof.
  intros Hn. unfold softmax, normalize.
  rewrite (fsum_ext n (fun j => exp (v j - v i)) (fun j => exp (v j) / exp (v i))).
  - rewrite fsum_div. pose proof (exp_pos (v i)). pose proof (exp_sum_pos n v Hn).
    field. split; lra.
  - intros j _. unfold Rminus, Rdiv. now rewrite exp_plus, exp_Ropp.
Qed.

(** * S.range *)

(** The vector that is r at index 0 and -r elsewhere; [spike (- r)] is its negative. *)
Definition spike (r : R) (i : nat) : R := if Nat.eqb i 0 then r else - r.

Lemma spike_bounded n r : 0 <= r -> bounded n (spike r) r /\ bounded n (spike (- r)) r.
Proof.
  intros Hr. split; intros i _; unfold spike; destruct (Nat.eqb i 0);
    apply Rabs_le; lra.
Qed.

Lemma spike_inverse n r : (0 < n)%nat ->
  / softmax n (spike r) 0 = 1 + (INR n - 1) * exp (- (2 * r)).
Proof.
  intros Hn. rewrite softmax_inverse, <- (fsum_one n 0) by auto.
  apply fsum_ext. intros j _. unfold spike. simpl.
  destruct (Nat.eqb j 0); [rewrite Rminus_diag_eq, exp_0 | f_equal; ring]; auto.
Qed.

(** The bounds in the form in which the sum of [softmax_inverse] gives them. *)
Lemma range_upper_form n r : (0 < n)%nat ->
  b_softmax_range_upper n r = / (1 + (INR n - 1) * exp (- (2 * r))).
Proof.
  intros Hn. unfold b_softmax_range_upper. argument exp (2 * r).
  assert (1 <= INR n) by (apply (le_INR 1); lia).
  rewrite exp_Ropp. pose proof (exp_pos (2 * r)). field. split; nra.
Qed.

Lemma range_inverse_form n r :
  b_softmax_range_inverse n r = 1 + (INR n - 1) * exp (2 * r).
Proof. unfold b_softmax_range_inverse. argument exp (2 * r). ring. Qed.

Theorem s_range_upper n v r i : bounded n v r -> (i < n)%nat ->
  softmax n v i <= b_softmax_range_upper n r.
Proof.
  intros H Hi. assert (Hn : (0 < n)%nat) by lia.
  assert (1 <= INR n) by (apply (le_INR 1); lia).
  pose proof (exp_pos (- (2 * r))).
  rewrite range_upper_form, <- (Rinv_inv (softmax n v i)) by auto.
  apply Rinv_le_contravar; [nra |].
  rewrite softmax_inverse, <- (fsum_one n i) by auto.
  apply fsum_le. intros j Hj. destruct (Nat.eqb_spec j i) as [-> | _].
  - rewrite Rminus_diag_eq, exp_0; lra.
  - pose proof (Rabs_bounds _ _ (H i Hi)). pose proof (Rabs_bounds _ _ (H j Hj)).
    apply exp_le. lra.
Qed.

Theorem s_range_inverse n v r i : bounded n v r -> (i < n)%nat ->
  / softmax n v i <= b_softmax_range_inverse n r.
Proof.
  intros H Hi. rewrite range_inverse_form, softmax_inverse, <- (fsum_one n i) by lia.
  apply fsum_le. intros j Hj. destruct (Nat.eqb_spec j i) as [-> | _].
  - rewrite Rminus_diag_eq, exp_0; lra.
  - pose proof (Rabs_bounds _ _ (H i Hi)). pose proof (Rabs_bounds _ _ (H j Hj)).
    apply exp_le. lra.
Qed.

Theorem s_range_upper_attained n r : (0 < n)%nat -> 0 <= r ->
  bounded n (spike r) r /\ softmax n (spike r) 0 = b_softmax_range_upper n r.
Proof.
  intros Hn Hr. split; [apply spike_bounded; auto |].
  now rewrite range_upper_form, <- spike_inverse, Rinv_inv.
Qed.

Theorem s_range_inverse_attained n r : (0 < n)%nat -> 0 <= r ->
  bounded n (spike (- r)) r /\ / softmax n (spike (- r)) 0 = b_softmax_range_inverse n r.
Proof.
  intros Hn Hr. split; [apply spike_bounded; auto |].
  rewrite range_inverse_form, spike_inverse by auto. now replace (- (2 * - r)) with (2 * r) by ring.
Qed.

(** * S.ratio *)

Lemma ratio_form eta : b_softmax_ratio eta = exp eta * exp eta.
Proof. unfold b_softmax_ratio. argument exp (2 * eta). apply exp_double. Qed.

Lemma entry_form eta : b_softmax_entry eta = b_softmax_ratio eta - 1.
Proof.
  unfold b_softmax_entry. rewrite ratio_form. argument exp (2 * eta). rewrite exp_double. ring.
Qed.

(** a <= s a' and Z' <= s Z give a / Z <= s^2 a' / Z'. *)
Lemma ratio_of_quotients a a' Z Z' s : 0 < Z -> 0 < Z' -> 0 < a' -> 0 < s ->
  a <= s * a' -> Z' <= s * Z -> a / Z <= s * s * (a' / Z').
Proof.
  intros HZ HZ' Ha' Hs Ha H. apply div_le; auto.
  replace (s * s * (a' / Z') * Z) with (s * a' * (s * Z) / Z') by (field; lra).
  apply le_div; auto. apply Rle_trans with (s * a' * Z').
  - apply Rmult_le_compat_r; lra.
  - apply Rmult_le_compat_l; auto. nra.
Qed.

Theorem s_ratio n u v eta i : within n u v eta -> (i < n)%nat ->
  softmax n u i <= b_softmax_ratio eta * softmax n v i.
Proof.
  intros H Hi. rewrite ratio_form. assert (Hn : (0 < n)%nat) by lia.
  apply ratio_of_quotients; try apply exp_pos; try (apply exp_sum_pos; auto).
  - apply (within_exp n); auto.
  - rewrite <- fsum_scale. apply fsum_le. intros j Hj.
    apply (within_exp n); auto. apply within_sym; auto.
Qed.

Theorem s_entry n u v eta i : within n u v eta -> (i < n)%nat ->
  Rabs (softmax n u i - softmax n v i) <= b_softmax_entry eta * softmax n v i.
Proof.
  intros H Hi. rewrite entry_form.
  pose proof (s_ratio n u v eta i H Hi) as U.
  pose proof (s_ratio n v u eta i (within_sym _ _ _ _ H) Hi) as L.
  assert (0 < softmax n v i) by (apply softmax_pos; lia).
  assert (0 < softmax n u i) by (apply softmax_pos; lia).
  assert (1 <= b_softmax_ratio eta).
  { assert (0 <= eta) by (apply (within_nonneg n u v); [lia | auto]).
    rewrite ratio_form, <- exp_double. apply exp_ge_1. lra. }
  set (rho := b_softmax_ratio eta) in *. apply Rabs_le. split; [| lra].
  (* q - p <= q - q / rho <= (rho - 1) q, as 1 - 1/rho <= rho - 1 *)
  nra.
Qed.

(** No instance has the ratio exp (2 eta): the term i itself moves by exp eta one way only. *)
Theorem s_ratio_strict n u v eta i : 0 < eta -> within n u v eta -> (i < n)%nat ->
  softmax n u i < b_softmax_ratio eta * softmax n v i.
Proof.
  intros Heta H Hi. assert (Hn : (0 < n)%nat) by lia.
  destruct (s_ratio n u v eta i H Hi) as [| E]; auto. exfalso.
  rewrite ratio_form in E. unfold softmax, normalize in E.
  pose proof (exp_sum_pos n u Hn) as Zu. pose proof (exp_sum_pos n v Hn) as Zv.
  set (U := fsum n (fun j => exp (u j))) in *. set (V := fsum n (fun j => exp (v j))) in *.
  assert (E' : exp (u i) * V = exp eta * exp (v i) * (exp eta * U)).
  { apply Rmult_eq_reg_r with (/ U * / V).
    - transitivity (exp (u i) / U); [field; lra |]. rewrite E. field. lra.
    - apply Rgt_not_eq, Rmult_lt_0_compat; apply Rinv_0_lt_compat; auto. }
  assert (A : exp (u i) <= exp eta * exp (v i)) by (apply (within_exp n); auto).
  assert (B : exp (v i) <= exp eta * exp (u i)).
  { apply (within_exp n); auto. apply within_sym; auto. }
  assert (C : exp eta * exp (u i) - exp (v i) <= exp eta * U - V).
  { unfold U, V. rewrite <- fsum_scale, <- fsum_minus.
    apply (fsum_term n (fun j => exp eta * exp (u j) - exp (v j))); auto.
    intros j Hj. pose proof (within_exp n v u eta j (within_sym _ _ _ _ H) Hj). lra. }
  assert (1 < exp eta) by (rewrite <- exp_0; apply exp_increasing; auto).
  pose proof (exp_pos (v i)). pose proof (exp_pos (u i)).
  (* equality forces both factors to be tight: exp u_i = e exp v_i and e exp u_i = exp v_i *)
  assert (exp (v i) < exp eta * exp (u i) \/ exp (u i) < exp eta * exp (v i)) as [D | D] by nra.
  - assert (V < exp eta * U) by lra. nra.
  - assert (V <= exp eta * U) by lra. nra.
Qed.

(** Two keys: u = (eta, x - eta) against v = (0, x) comes as close as wished as x grows. *)
Theorem s_ratio_sharp eta c : 0 < eta -> c < b_softmax_ratio eta ->
  exists n u v, (0 < n)%nat /\ within n u v eta /\ c * softmax n v 0 < softmax n u 0.
Proof.
  intros Heta Hc. set (rho := b_softmax_ratio eta) in *.
  assert (Hrho : rho = exp eta * exp eta) by apply ratio_form.
  assert (1 < exp eta) by (rewrite <- exp_0; apply exp_increasing; auto).
  set (X := rho * Rabs c / (rho - c) + 1).
  assert (HX : 0 < X).
  { pose proof (Rabs_pos c). apply Rplus_le_lt_0_compat; [| lra].
    apply Rmult_le_pos; [nra | left; apply Rinv_0_lt_compat; lra]. }
  exists 2%nat, (fun i => if Nat.eqb i 0 then eta else ln X - eta),
    (fun i => if Nat.eqb i 0 then 0 else ln X).
  split; [lia | split].
  - intros i _. destruct (Nat.eqb i 0); apply Rabs_le; lra.
  - unfold softmax, normalize. simpl. unfold Rminus at 1.
    rewrite exp_plus, exp_Ropp, exp_ln, exp_0 by auto.
    assert (K : X * (rho - c) = rho * Rabs c + (rho - c)) by (unfold X; field; lra).
    pose proof (Rle_abs c). set (e := exp eta) in *.
    replace (e / (0 + e + X * / e)) with (rho / (rho + X)) by (rewrite Hrho; field; nra).
    replace (c * (1 / (0 + 1 + X))) with (c / (1 + X)) by (field; lra).
    apply Rmult_lt_reg_r with ((1 + X) * (rho + X)); [nra |].
    replace (c / (1 + X) * ((1 + X) * (rho + X))) with (c * (rho + X)) by (field; lra).
    replace (rho / (rho + X) * ((1 + X) * (rho + X))) with (rho * (1 + X)) by (field; nra).
    nra.
Qed.

Theorem s_entry_sharp eta c : 0 < eta -> c < b_softmax_entry eta ->
  exists n u v, (0 < n)%nat /\ within n u v eta /\
    c * softmax n v 0 < Rabs (softmax n u 0 - softmax n v 0).
Proof.
  intros Heta Hc. rewrite entry_form in Hc.
  destruct (s_ratio_sharp eta (c + 1) Heta) as [n [u [v [Hn [H R]]]]]; [lra |].
  exists n, u, v. repeat split; auto.
  pose proof (Rle_abs (softmax n u 0 - softmax n v 0)). lra.
Qed.
