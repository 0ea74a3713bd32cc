(** Two facts on tanh that every cap of scores rests on.

    What: tanh is 1-Lipschitz ([tanh_lipschitz]), and a factor of its argument changes it by a factor
    between 1 and that factor ([tanh_factor]).
    How: its slope 1 - tanh^2 lies in (0, 1] and falls as |x| grows, and the mean value theorem. *)

Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From Attest.Foundations Require Import Sums.
From Attest.Softmax Require Import TotalVariation.
Open Scope R_scope.

Lemma tanh_exp x : tanh x = 1 - 2 / (exp (2 * x) + 1).
Proof.
  replace x with (2 * x / 2) at 1 by field. rewrite tanh_half.
  pose proof (exp_pos (2 * x)). field. lra.
Qed.

Lemma tanh_at_0 : tanh 0 = 0.
Proof. rewrite tanh_exp, Rmult_0_r, exp_0. field. Qed.

Lemma tanh_opp x : tanh (- x) = - tanh x.
Proof.
  rewrite !tanh_exp. replace (2 * - x) with (- (2 * x)) by ring. rewrite exp_Ropp.
  pose proof (exp_pos (2 * x)). field. split; lra.
Qed.

Lemma tanh_range x : -1 < tanh x < 1.
Proof.
  rewrite tanh_exp. pose proof (exp_pos (2 * x)).
  assert (0 < / (exp (2 * x) + 1)) by (apply Rinv_0_lt_compat; lra).
  assert (/ (exp (2 * x) + 1) < 1).
  { rewrite <- Rinv_1 at 2. apply Rinv_lt_contravar; lra. }
  unfold Rdiv. lra.
Qed.

Lemma is_derive_tanh x : is_derive tanh x (1 - tanh x ^ 2).
Proof.
  apply (is_derive_ext (fun y => 1 - 2 / (exp (2 * y) + 1))).
  - intros. symmetry. apply tanh_exp.
  - pose proof (exp_pos (2 * x)). rewrite tanh_exp. auto_derive; [lra |]. field. lra.
Qed.

(** The mean value theorem, with the slope as a function of tanh. *)
Lemma tanh_mean x y : x < y ->
  exists z, x < z < y /\ tanh y - tanh x = (1 - tanh z ^ 2) * (y - x).
Proof.
  intros Hxy. destruct (MVT_cor2 tanh (fun z => 1 - tanh z ^ 2) x y Hxy) as (z & E & Hz).
  - intros. apply is_derive_Reals, is_derive_tanh.
  - exists z. split; auto.
Qed.

Lemma tanh_le x y : x <= y -> tanh x <= tanh y.
Proof.
  intros [H | ->]; [| lra]. destruct (tanh_mean x y H) as (z & _ & E).
  pose proof (tanh_range z). assert (0 <= (1 - tanh z ^ 2) * (y - x)) by (apply Rmult_le_pos; nra).
  lra.
Qed.

Lemma tanh_nonneg x : 0 <= x -> 0 <= tanh x.
Proof. intros. rewrite <- tanh_at_0. apply tanh_le; auto. Qed.

Theorem tanh_lipschitz x y : Rabs (tanh x - tanh y) <= Rabs (x - y).
Proof.
  assert (L : forall a b, a <= b -> 0 <= tanh b - tanh a <= b - a).
  { intros a b [H | ->]; [| lra]. destruct (tanh_mean a b H) as (z & _ & E).
    pose proof (tanh_range z). rewrite E. split; [apply Rmult_le_pos; nra |].
    assert ((1 - tanh z ^ 2) * (b - a) <= 1 * (b - a)) by (apply Rmult_le_compat_r; nra). lra. }
  destruct (Rle_dec x y) as [H | H].
  - pose proof (L x y H). rewrite !Rabs_left1; lra.
  - pose proof (L y x ltac:(lra)). rewrite !Rabs_right; lra.
Qed.

(** For x >= 0 the slope beyond x is at most, and before x at least, what it is at x. *)
Lemma tanh_stretch x f : 0 <= x -> 1 <= f -> tanh x <= tanh (x * f) <= f * tanh x.
Proof.
  intros Hx Hf. split; [apply tanh_le; nra |].
  destruct Hx as [Hx | <-]; [| rewrite Rmult_0_l, tanh_at_0; lra].
  destruct Hf as [Hf | <-]; [| rewrite Rmult_1_r; lra].
  destruct (tanh_mean x (x * f)) as (z & Hz & Ez); [nra |].
  destruct (tanh_mean 0 x Hx) as (y & Hy & Ey).
  rewrite tanh_at_0, !Rminus_0_r in Ey.
  pose proof (tanh_le x z ltac:(lra)). pose proof (tanh_le y x ltac:(lra)).
  pose proof (tanh_nonneg x ltac:(lra)). pose proof (tanh_nonneg y ltac:(lra)).
  assert (A : (1 - tanh z ^ 2) * (x * f - x) <= (1 - tanh x ^ 2) * (x * (f - 1))).
  { replace (x * f - x) with (x * (f - 1)) by ring. apply Rmult_le_compat_r; nra. }
  assert (B : (1 - tanh x ^ 2) * x <= tanh x).
  { rewrite Ey. apply Rmult_le_compat_r; nra. }
  nra.
Qed.

Lemma tanh_shrink x f : 0 <= x -> 0 < f <= 1 -> f * tanh x <= tanh (x * f) <= tanh x.
Proof.
  intros Hx Hf.
  assert (1 <= / f) by (rewrite <- Rinv_1; apply Rinv_le_contravar; lra).
  destruct (tanh_stretch (x * f) (/ f)) as [A B]; [nra | auto |].
  replace (x * f * / f) with x in * by (field; lra). split; auto.
  apply Rmult_le_reg_l with (/ f); [lra |]. rewrite <- Rmult_assoc, Rinv_l by lra. lra.
Qed.

(** tanh (x f) = g tanh x with g between 1 and f. *)
Theorem tanh_factor x f : 0 < f ->
  exists g, tanh (x * f) = g * tanh x /\ Rmin 1 f <= g <= Rmax 1 f.
Proof.
  intros Hf.
  assert (P : forall y, 0 < y -> exists g, tanh (y * f) = g * tanh y /\ Rmin 1 f <= g <= Rmax 1 f).
  { intros y Hy. assert (T : 0 < tanh y).
    { destruct (tanh_mean 0 y Hy) as (z & _ & E). rewrite tanh_at_0 in E.
      pose proof (tanh_range z).
      assert (0 < (1 - tanh z ^ 2) * (y - 0)) by (apply Rmult_lt_0_compat; nra). lra. }
    exists (tanh (y * f) / tanh y). split; [field; lra |].
    destruct (Rle_dec 1 f) as [H | H].
    - rewrite Rmin_left, Rmax_right by lra. destruct (tanh_stretch y f) as [A B]; [lra | auto |].
      split; [apply le_div; lra | apply div_le; lra].
    - rewrite Rmin_right, Rmax_left by lra. destruct (tanh_shrink y f) as [A B]; [lra | lra |].
      split; [apply le_div; lra | apply div_le; lra]. }
  destruct (Rtotal_order x 0) as [H | [-> | H]].
  - destruct (P (- x) ltac:(lra)) as (g & E & B). exists g. split; auto.
    replace (- x * f) with (- (x * f)) in E by ring. rewrite !tanh_opp in E. lra.
  - exists 1. rewrite Rmult_0_l, tanh_at_0. split; [ring |].
    split; [apply Rmin_l | apply Rmax_l].
  - apply P; auto.
Qed.
