(** The Taylor polynomial of exp and its remainder (claim S.taylor).

    Step: Lagrange's form, exp x = T_g x + x^(g+1) / (g+1)! exp z for some z between 0 and x; for
    negative x it is the form of t |-> exp (-t) at -x.  Then exp z <= exp (max 0 x), which is the
    absolute bound; exp z <= exp |x| exp x, which is the relative one; and 1 <= exp z for x >= 0,
    so that neither is more than exp radius times too large there. *)

Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
Open Scope R_scope.

(** sum_{k <= g} x^k / k! *)
Definition taylor (g : nat) (x : R) : R := fsum (S g) (fun k => x ^ k / INR (fact k)).

(** x^(g+1) / (g+1)! *)
Definition next_term (g : nat) (x : R) : R := x ^ S g / INR (fact (S g)).

(** * Lagrange's form *)

Lemma sum_f_R0_fsum f g : sum_f_R0 f g = fsum (S g) f.
Proof. induction g; [simpl; ring |]. rewrite tech5, IHg. reflexivity. Qed.

Lemma pow_opp x k : (- x) ^ k = (-1) ^ k * x ^ k.
Proof. rewrite <- Rpow_mult_distr. f_equal. ring. Qed.

Lemma pow_minus_one_square k : (-1) ^ k * (-1) ^ k = 1.
Proof. rewrite <- Rpow_mult_distr. replace (-1 * -1) with 1 by ring. apply pow1. Qed.

Lemma is_derive_n_exp_opp k x : is_derive_n (fun t => exp (- t)) k x ((-1) ^ k * exp (- x)).
Proof.
  revert x. induction k; intros x; simpl; [ring |].
  apply (is_derive_ext (fun t => (-1) ^ k * exp (- t))).
  - intros t. symmetry. apply is_derive_n_unique, IHk.
  - auto_derive; auto. ring.
Qed.

Lemma lagrange_nonneg g x : 0 < x -> exists z, 0 <= z <= x /\
  exp x = taylor g x + next_term g x * exp z.
Proof.
  intros Hx. destruct (Taylor_Lagrange exp g 0 x Hx) as [z [Hz E]].
  { intros t _ k _. destruct k; simpl; auto. exists (exp t). apply (is_derive_n_exp (S k) t). }
  exists z. split; [lra |]. rewrite E, sum_f_R0_fsum. unfold taylor, next_term. f_equal.
  - apply fsum_ext. intros k _. rewrite (is_derive_n_unique _ _ _ _ (is_derive_n_exp k 0)).
    rewrite exp_0, Rminus_0_r. unfold Rdiv. ring.
  - rewrite (is_derive_n_unique _ _ _ _ (is_derive_n_exp (S g) z)), Rminus_0_r. reflexivity.
Qed.

Lemma lagrange_negative g x : x < 0 -> exists z, x <= z <= 0 /\
  exp x = taylor g x + next_term g x * exp z.
Proof.
  intros Hx. destruct (Taylor_Lagrange (fun t => exp (- t)) g 0 (- x)) as [z [Hz E]]; [lra | |].
  { intros t _ k _. destruct k; simpl; auto.
    exists ((-1) ^ S k * exp (- t)). apply (is_derive_n_exp_opp (S k) t). }
  exists (- z). split; [lra |]. rewrite Ropp_involutive in E. rewrite E, sum_f_R0_fsum.
  unfold taylor, next_term. rewrite Rminus_0_r. f_equal.
  - apply fsum_ext. intros k _. rewrite (is_derive_n_unique _ _ _ _ (is_derive_n_exp_opp k 0)).
    rewrite Ropp_0, exp_0, pow_opp. unfold Rdiv.
    transitivity ((-1) ^ k * (-1) ^ k * (x ^ k * / INR (fact k))); [ring |].
    rewrite pow_minus_one_square. ring.
  - rewrite (is_derive_n_unique _ _ _ _ (is_derive_n_exp_opp (S g) z)), pow_opp. unfold Rdiv.
    transitivity ((-1) ^ S g * (-1) ^ S g * (x ^ S g * / INR (fact (S g)) * exp (- z))); [ring |].
    rewrite pow_minus_one_square. ring.
Qed.

Lemma taylor_0 g : taylor g 0 = 1.
Proof.
  unfold taylor. induction g; [simpl; field |].
  rewrite fsum_S, IHg, pow_ne_zero by lia. unfold Rdiv. ring.
Qed.

Lemma lagrange g x : exists z, Rmin 0 x <= z <= Rmax 0 x /\
  exp x = taylor g x + next_term g x * exp z.
Proof.
  destruct (Rtotal_order x 0) as [Hx | [-> | Hx]].
  - rewrite Rmin_right, Rmax_left by lra. apply lagrange_negative; auto.
  - exists 0. rewrite Rmin_left, Rmax_left by lra. split; [lra |].
    rewrite exp_0, taylor_0. unfold next_term. rewrite pow_ne_zero by lia. unfold Rdiv. ring.
  - rewrite Rmin_left, Rmax_right by lra. apply lagrange_nonneg; auto.
Qed.

(** * S.taylor *)

Lemma next_term_nonneg g x : 0 <= x -> 0 <= next_term g x.
Proof.
  intros. apply Rmult_le_pos; [apply pow_le; auto |].
  left. apply Rinv_0_lt_compat, INR_fact_lt_0.
Qed.

Lemma next_term_le g x y : 0 <= x <= y -> next_term g x <= next_term g y.
Proof.
  intros. apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat, INR_fact_lt_0 |].
  apply pow_incr; auto.
Qed.

Lemma next_term_abs g x z : Rabs (next_term g x * exp z) = next_term g (Rabs x) * exp z.
Proof.
  unfold next_term. rewrite Rabs_mult, Rabs_div_pos by apply INR_fact_lt_0.
  rewrite <- RPow_abs, (Rabs_right (exp z)); auto. left. apply exp_pos.
Qed.

Lemma taylor_error g x : exists z, Rmin 0 x <= z <= Rmax 0 x /\
  Rabs (exp x - taylor g x) = next_term g (Rabs x) * exp z.
Proof.
  destruct (lagrange g x) as [z [Hz E]]. exists z. split; auto.
  rewrite <- next_term_abs. f_equal. lra.
Qed.

Lemma absolute_form g x : b_taylor_absolute g x = next_term g (Rabs x) * exp (Rmax 0 x).
Proof.
  unfold b_taylor_absolute, next_term. count (S g). field. apply INR_fact_neq_0.
Qed.

Lemma relative_form g radius : b_taylor_relative g radius = next_term g radius * exp radius.
Proof.
  unfold b_taylor_relative, next_term. count (S g). field. apply INR_fact_neq_0.
Qed.

Theorem s_taylor_absolute g x : Rabs (exp x - taylor g x) <= b_taylor_absolute g x.
Proof.
  destruct (taylor_error g x) as [z [Hz E]]. rewrite absolute_form, E.
  apply Rmult_le_compat_l; [apply next_term_nonneg, Rabs_pos | apply exp_le; lra].
Qed.

Theorem s_taylor_relative g x radius : Rabs x <= radius ->
  Rabs (exp x - taylor g x) <= b_taylor_relative g radius * exp x.
Proof.
  intros Hx. destruct (taylor_error g x) as [z [Hz E]]. rewrite relative_form, E.
  pose proof (Rabs_pos x). rewrite Rmult_assoc, <- exp_plus.
  apply Rmult_le_compat; [apply next_term_nonneg; auto | left; apply exp_pos | |].
  - apply next_term_le. lra.
  - apply exp_le. unfold Rmax, Rabs in *.
    destruct (Rle_dec 0 x), (Rcase_abs x); lra.
Qed.

(** For x >= 0 the remainder is at least the next term, so the bound exceeds it by a factor of at
    most exp x, which tends to 1 as x tends to 0. *)
Theorem s_taylor_absolute_sharp g x : 0 <= x ->
  x ^ S g / INR (fact (S g)) <= Rabs (exp x - taylor g x) /\
  b_taylor_absolute g x <= exp x * Rabs (exp x - taylor g x).
Proof.
  intros Hx. destruct (taylor_error g x) as [z [Hz E]]. fold (next_term g x).
  rewrite absolute_form, E, (Rabs_right x), Rmax_right by lra.
  rewrite Rmin_left in Hz by lra. pose proof (next_term_nonneg g x Hx).
  assert (1 <= exp z) by (apply exp_ge_1; lra). pose proof (exp_pos x).
  assert (0 <= next_term g x * (exp z - 1)) by (apply Rmult_le_pos; lra).
  split; [lra |]. apply Rle_trans with (next_term g x * exp z * exp x); [| lra].
  apply Rmult_le_compat_r; lra.
Qed.

(** The relative bound is as close for x = - radius <= 0. *)
Theorem s_taylor_relative_sharp g radius : 0 <= radius ->
  b_taylor_relative g radius * exp (- radius)
    <= exp radius * Rabs (exp (- radius) - taylor g (- radius)).
Proof.
  intros Hr. destruct (taylor_error g (- radius)) as [z [Hz E]].
  rewrite relative_form, E, Rabs_Ropp, (Rabs_right radius) by lra.
  rewrite Rmin_right in Hz by lra. pose proof (next_term_nonneg g radius Hr).
  rewrite Rmult_assoc, (Rmult_comm (exp radius)), exp_opp_mult.
  rewrite (Rmult_comm (exp radius)), Rmult_assoc, <- exp_plus.
  apply Rmult_le_compat_l; auto. apply exp_ge_1. lra.
Qed.
