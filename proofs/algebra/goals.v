(** What the goals of the algebra of bounds are closed with: a formula is compared with another, or with
    itself at a larger argument, along its structure (sums, products, quotients, powers, exp, ln, tanh). *)
Require Import Reals Lra Lia Psatz.
From Interval Require Import Tactic.
Open Scope R_scope.

Lemma exp_le x y : x <= y -> exp x <= exp y.
Proof. intros [H | ->]; [left; now apply exp_increasing | right; reflexivity]. Qed.

Lemma ln_le x y : 0 < x -> x <= y -> ln x <= ln y.
Proof. intros P [H | ->]; [left; now apply ln_increasing | right; reflexivity]. Qed.

Lemma tanh_exp x : tanh x = 1 - 2 * / (exp (2 * x) + 1).
Proof.
  unfold tanh, sinh, cosh.
  replace (2 * x) with (x + x) by ring; rewrite exp_plus, exp_Ropp.
  pose proof (exp_pos x); field; split; nra.
Qed.

Lemma tanh_le x y : x <= y -> tanh x <= tanh y.
Proof.
  intros H; rewrite !tanh_exp.
  enough (/ (exp (2 * y) + 1) <= / (exp (2 * x) + 1)) by lra.
  pose proof (exp_pos (2 * x)).
  apply Rinv_le_contravar; [lra |].
  apply Rplus_le_compat_r, exp_le; lra.
Qed.

Lemma tanh_pos x : 0 <= x -> 0 <= tanh x.
Proof.
  intros H; replace 0 with (tanh 0); [now apply tanh_le |].
  rewrite tanh_exp; replace (2 * 0) with 0 by ring; rewrite exp_0; field.
Qed.

Lemma ln_pos x : 1 <= x -> 0 <= ln x.
Proof. intros H; rewrite <- ln_1; apply ln_le; lra. Qed.

Lemma inv_le x y : 0 < x -> x <= y -> / y <= / x.
Proof. apply Rinv_le_contravar. Qed.

Lemma mult_le a b c d : 0 <= a -> 0 <= b -> a <= c -> b <= d -> a * b <= c * d.
Proof. intros; apply Rmult_le_compat; lra. Qed.

Lemma exp_ge_1 x : 0 <= x -> 1 <= exp x.
Proof. intros H; rewrite <- exp_0; now apply exp_le. Qed.

Lemma Rmax_le a b c d : a <= c -> b <= d -> Rmax a b <= Rmax c d.
Proof.
  intros; apply Rmax_lub; [apply Rle_trans with c | apply Rle_trans with d]; auto;
    [apply Rmax_l | apply Rmax_r].
Qed.

Lemma Rmin_le a b c d : a <= c -> b <= d -> Rmin a b <= Rmin c d.
Proof.
  intros; apply Rmin_glb; [apply Rle_trans with a | apply Rle_trans with b]; auto;
    [apply Rmin_l | apply Rmin_r].
Qed.

Ltac positive :=
  solve [ assumption | lra | apply exp_pos
        | apply Rmult_lt_0_compat; positive | apply Rinv_0_lt_compat; positive
        | apply Rplus_lt_le_0_compat; [positive | nonnegative]
        | apply Rplus_le_lt_0_compat; [nonnegative | positive]
        | apply sqrt_lt_R0; positive | apply pow_lt; positive | apply INR_fact_lt_0 | nra ]
with nonnegative :=
  solve [ assumption | lra | left; apply exp_pos
        | apply Rmult_le_pos; nonnegative | apply Rplus_le_le_0_compat; nonnegative
        | left; apply Rinv_0_lt_compat; positive | apply sqrt_pos | apply pow_le; nonnegative
        | apply tanh_pos; nonnegative | apply ln_pos; at_least | apply Rabs_pos | apply pos_INR
        | apply cond_pos_sum; intro; nonnegative
        | match goal with |- 0 <= exp ?e + - 1 => enough (1 <= exp e) by lra; apply exp_ge_1; nonnegative end
        | nra ]
with at_least := solve [ lra | apply exp_ge_1; nonnegative | nra ].

Ltac ordered :=
  solve [ assumption | lra | apply Rle_refl
        | apply Rplus_le_compat; ordered
        | apply mult_le; [nonnegative | nonnegative | ordered | ordered]
        | apply exp_le; ordered | apply tanh_le; ordered
        | apply Ropp_le_contravar; ordered
        | apply inv_le; [positive | ordered]
        | apply sqrt_le_1_alt; ordered
        | apply ln_le; [positive | ordered]
        | apply pow_incr; split; [nonnegative | ordered]
        | apply Rmax_le; ordered | apply Rmin_le; ordered
        | apply sum_Rle; intros; ordered
        | nra ].
(* What lra and nra do not know of exp: it is positive, and at least 1 from 0 on. *)
Ltac exponentials :=
  repeat match goal with
  | |- context [exp ?e] =>
      lazymatch goal with
      | H : 0 < exp e |- _ => fail
      | _ => pose proof (exp_pos e); try (assert (1 <= exp e) by (apply exp_ge_1; nonnegative))
      end
  end.

Ltac monotone := exponentials; unfold Rminus, Rdiv; ordered.
Ltac same := exponentials; apply Req_le; field; repeat split; apply Rgt_not_eq; positive.
