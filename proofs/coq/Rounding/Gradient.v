(** What rounding does to the gradient of attention (claim FP.gradient).

    With weights p, dP_j = dO . v_j and D = sum_j p_j dP_j = dO . o, the derivative of the loss by
    score j is  ds_j = p_j (dP_j - D), by logit j  dx_j = ds_j slope_j  with slope_j = 1 - tanh^2 (x_j /
    softcap); dV, dQ and dK are sums of p dO, dx k and dx q.

    The computation.  p_j is computed anew, as the exponential of a score less a computed log-sum-exp;
    everything is judged from what was computed.

    Steps: (1) a computed weight w stands for p with |p - w| <= (exp theta - 1) w, where theta adds up
    the errors of the score, of the logarithm and of the exponential ([fp_gradient_weight]);
    (2) D is a dot product with the output, whose error is known ([fp_gradient_mean]);
    (3) ds errs relative to what was computed of it, and by the weight times the errors of dP and D
    ([fp_gradient_score]); (4) a sum of products of which one factor is known up to an error
    ([fp_gradient_sum]). *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Rounding Require Import Rounding RoundingSoftmax.
Open Scope R_scope.

(** * A weight *)

Lemma gradient_weight_form theta w tiny :
  b_gradient_weight theta w tiny = (exp theta - 1) * w + exp theta * tiny.
Proof. unfold b_gradient_weight. argument exp theta. ring. Qed.

(** [b] is the exponential before underflow, [w] after it. *)
Lemma weight_from_computed p b w xi theta tiny : 0 < b -> b = p * exp xi -> Rabs xi <= theta ->
  Rabs (w - b) <= tiny -> Rabs (p - w) <= b_gradient_weight theta w tiny.
Proof.
  intros Hb Ep Hxi Hw. rewrite gradient_weight_form.
  assert (0 <= theta) by (eapply Rle_trans; [apply Rabs_pos | exact Hxi]).
  pose proof (exp_ge_1 theta ltac:(lra)) as E1. apply Rabs_bounds in Hxi.
  assert (P : p = b * exp (- xi)).
  { rewrite Ep, Rmult_assoc, <- exp_plus. replace (xi + - xi) with 0 by ring. rewrite exp_0. ring. }
  assert (U : exp (- xi) <= exp theta) by (apply exp_le; lra).
  assert (L : exp (- theta) <= exp (- xi)) by (apply exp_le; lra).
  assert (M : exp (- theta) * exp theta = 1) by apply exp_opp_mult.
  pose proof (exp_pos (- theta)).
  (* 1 - exp (- theta) <= exp theta - 1 *)
  assert (C : 2 <= exp (- theta) + exp theta) by nra.
  assert (B : Rabs (p - b) <= (exp theta - 1) * b).
  { rewrite P. replace (b * exp (- xi) - b) with (b * (exp (- xi) - 1)) by ring.
    rewrite Rabs_mult, (Rabs_right b), Rmult_comm by lra.
    apply Rmult_le_compat_r; [lra | apply Rabs_le; lra]. }
  apply Rabs_bounds in Hw.
  assert ((exp theta - 1) * b <= (exp theta - 1) * (w + tiny)) by (apply Rmult_le_compat_l; lra).
  replace (p - w) with ((p - b) + (b - w)) by ring. eapply Rle_trans; [apply Rabs_triang |].
  assert (Rabs (b - w) <= tiny) by (apply Rabs_le; lra). lra.
Qed.

(** [ell] is the logarithm that was subtracted, within [lambda] of the true one, L. *)
Theorem fp_gradient_weight u exp_error reach score_error s S ell L lambda b w tiny :
  0 <= u -> exp_error * u < 1 -> Rabs (s - S) <= score_error -> Rabs (ell - L) <= lambda ->
  computed_weight 1 u (exp_error * u) reach (s - ell) b -> Rabs (w - b) <= tiny ->
  let theta := b_rounding_weight score_error u reach exp_error 1 + lambda in
  Rabs (exp (S - L) - w) <= b_gradient_weight theta w tiny.
Proof.
  intros Hu He Hs Hl Hb Hw theta.
  destruct (fp_weight 1 u exp_error reach _ s S ell b Hu He Hs Hb) as [xi [E B]].
  apply (weight_from_computed _ b w (xi - (ell - L))); auto.
  - rewrite E. apply Rmult_lt_0_compat; apply exp_pos.
  - rewrite E, <- !exp_plus. f_equal. ring.
  - unfold theta. eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp. lra.
Qed.

(** * The mean of dP *)

Lemma gradient_mean_form d u A beta length tiny : INR d * u < 1 ->
  b_gradient_mean d u A beta length tiny = gamma d u * A + INR d * tiny + beta * length.
Proof. intros. unfold b_gradient_mean, gamma. field. lra. Qed.

(** D = dO . o from a computed output; [beta] bounds its error on the mean, as dO weighs it. *)
Theorem fp_gradient_mean d u lost tiny g o o' t s A beta length : 0 <= u -> 0 <= lost ->
  2 * lost <= tiny -> INR d * u <= 1 / 2 -> adds d t ->
  computes u lost (fun l => g l * o' l) t s -> fsum d (fun l => Rabs (g l * o' l)) <= A ->
  fsum d (fun l => Rabs (g l) * Rabs (o' l - o l)) <= beta * length ->
  Rabs (s - fsum d (fun l => g l * o l)) <= b_gradient_mean d u A beta length tiny.
Proof.
  intros Hu Hlost Htiny Hd Ht Hs HA Ho. rewrite gradient_mean_form by lra.
  pose proof (fp_logit d u lost tiny g o' t s A Hu Hlost Htiny Hd Ht Hs HA) as E.
  rewrite logit_form in E by lra.
  assert (F : Rabs (fsum d (fun l => g l * o' l) - fsum d (fun l => g l * o l)) <= beta * length).
  { rewrite <- fsum_minus. eapply Rle_trans; [apply fsum_abs |].
    eapply Rle_trans; [| exact Ho]. apply fsum_le. intros l Hl.
    rewrite <- Rmult_minus_distr_l, Rabs_mult. lra. }
  replace (s - fsum d (fun l => g l * o l))
    with ((s - fsum d (fun l => g l * o' l))
      + (fsum d (fun l => g l * o' l) - fsum d (fun l => g l * o l))) by ring.
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

(** * A score *)

Lemma gradient_score_form theta slope_error a b ds w largest u tiny : 4 * u < 1 ->
  b_gradient_score theta slope_error a b ds w largest u tiny
    = ((1 + 4 * u / (1 - 4 * u)) * (exp theta - 1) + 4 * u / (1 - 4 * u) + (1 + u) * slope_error) * ds
      + exp theta * (a + b) * w + exp theta * tiny * (2 * largest + a + b + 2) + 2 * tiny.
Proof. intros. unfold b_gradient_score. argument exp theta. field. lra. Qed.

(** [dP] and [D] err by [a] and [b]; [t] is their rounded difference, at most [largest]; [ds] the rounded
    product with the weight; [dx] that with the slope. *)
Theorem fp_gradient_score p w theta P P' M M' a b t ds slope slope' slope_error dx largest
    u lost tiny d1 d2 d3 e2 e3 :
  0 <= u -> u <= 1 / 8 -> 0 <= lost -> 2 * lost <= tiny -> 0 <= theta -> 0 <= w ->
  Rabs (p - w) <= b_gradient_weight theta w tiny ->
  Rabs (P' - P) <= a -> Rabs (M' - M) <= b ->
  Rabs d1 <= u -> Rabs d2 <= u -> Rabs d3 <= u -> Rabs e2 <= lost -> Rabs e3 <= lost ->
  t = (P' - M') * (1 + d1) -> Rabs t <= largest -> ds = w * t * (1 + d2) + e2 ->
  0 <= slope <= 1 -> Rabs (slope' - slope) <= slope_error ->
  dx = ds * slope' * (1 + d3) + e3 ->
  Rabs (dx - p * (P - M) * slope)
    <= b_gradient_score theta slope_error a b (Rabs ds) w largest u tiny.
Proof.
  intros Hu Hu8 Hlost Htiny Htheta Hw Hp HP HM H1 H2 H3 He2 He3 Et Ht Eds Hsl Hsl' Edx.
  rewrite gradient_weight_form in Hp. rewrite gradient_score_form by lra.
  pose proof (exp_ge_1 theta Htheta) as E1. set (E := exp theta) in *.
  set (c := 4 * u / (1 - 4 * u)).
  assert (C : 4 * u <= c) by (apply le_div; nra).
  assert (a0 : 0 <= a) by (eapply Rle_trans; [apply Rabs_pos | exact HP]).
  assert (b0 : 0 <= b) by (eapply Rle_trans; [apply Rabs_pos | exact HM]).
  assert (T0 : 0 <= Rabs t) by apply Rabs_pos. assert (D0 : 0 <= Rabs ds) by apply Rabs_pos.
  assert (tiny0 : 0 <= tiny) by lra.
  assert (B1 := Rabs_bounds _ _ H1). assert (B2 := Rabs_bounds _ _ H2).
  assert (B3 := Rabs_bounds _ _ H3).
  (* the exact difference T, from the rounded one *)
  set (T := P - M).
  assert (TT : Rabs (t / (1 + d1) - T) <= a + b).
  { replace (t / (1 + d1) - T) with ((P' - P) + - (M' - M)) by (rewrite Et; unfold T; field; lra).
    eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp. lra. }
  set (r := / (1 - u)).
  assert (Hr : r * (1 - u) = 1) by (unfold r; field; lra).
  assert (r1 : 1 <= r) by (unfold r; rewrite <- Rinv_1; apply Rinv_le_contravar; lra).
  assert (r2 : r <= 8 / 7) by nra.
  assert (R1 : Rabs (t - t / (1 + d1)) <= u * r * Rabs t).
  { replace (t - t / (1 + d1)) with (t * (d1 / (1 + d1))) by (field; lra).
    rewrite Rabs_mult, Rmult_comm. apply Rmult_le_compat_r; auto.
    rewrite Rabs_div_pos by lra. apply div_le; [lra |].
    assert (0 <= u * r * (d1 + u)) by (repeat apply Rmult_le_pos; lra). nra. }
  assert (R2 : Rabs T <= r * Rabs t + (a + b)).
  { replace T with (t / (1 + d1) + - (t / (1 + d1) - T)) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp, Rabs_div_pos by lra.
    apply Rplus_le_compat; auto. apply div_le; [lra |].
    assert (0 <= r * Rabs t * (d1 + u)) by (repeat apply Rmult_le_pos; lra). nra. }
  (* the product with the weight, from what was computed *)
  set (X := Rabs ds) in *. set (W := w * Rabs t).
  assert (W0 : 0 <= W) by (apply Rmult_le_pos; auto).
  assert (HW : W <= r * (X + lost)).
  { assert (A : w * t * (1 + d2) = ds - e2) by (rewrite Eds; ring).
    apply (f_equal Rabs) in A. rewrite !Rabs_mult, (Rabs_right w), (Rabs_right (1 + d2)) in A by lra.
    pose proof (Rabs_triang ds (- e2)) as A'. rewrite Rabs_Ropp in A'. fold X in A'.
    replace (ds + - e2) with (ds - e2) in A' by ring. rewrite <- A in A'. fold W in A'.
    assert (W * (1 - u) <= X + lost) by nra.
    replace W with (r * (W * (1 - u)))
      by (rewrite <- Rmult_assoc, (Rmult_comm r), Rmult_assoc, Hr; ring).
    apply Rmult_le_compat_l; lra. }
  assert (S1 : Rabs (ds - p * T)
    <= W * (u * r + u + (E - 1) * r) + E * w * (a + b) + E * tiny * (r * Rabs t + (a + b)) + lost).
  { replace (ds - p * T) with (w * (t - t / (1 + d1)) + w * (t * d2) + w * (t / (1 + d1) - T)
      + - ((p - w) * T) + e2) by (rewrite Eds; ring).
    assert (Q1 : Rabs (w * (t - t / (1 + d1))) <= W * (u * r)).
    { rewrite Rabs_mult, (Rabs_right w) by lra. unfold W.
      replace (w * Rabs t * (u * r)) with (w * (u * r * Rabs t)) by ring.
      apply Rmult_le_compat_l; auto. }
    assert (Q2 : Rabs (w * (t * d2)) <= W * u).
    { rewrite !Rabs_mult, (Rabs_right w) by lra. unfold W. rewrite Rmult_assoc.
      apply Rmult_le_compat_l; auto. apply Rmult_le_compat_l; auto. }
    assert (Q3 : Rabs (w * (t / (1 + d1) - T)) <= w * (a + b)).
    { rewrite Rabs_mult, (Rabs_right w) by lra. apply Rmult_le_compat_l; auto. }
    assert (Q4 : Rabs (- ((p - w) * T)) <= ((E - 1) * w + E * tiny) * (r * Rabs t + (a + b))).
    { rewrite Rabs_Ropp, Rabs_mult. apply Rmult_le_compat; auto; apply Rabs_pos. }
    replace (((E - 1) * w + E * tiny) * (r * Rabs t + (a + b))) with
      (W * ((E - 1) * r) + (E - 1) * w * (a + b) + E * tiny * (r * Rabs t + (a + b))) in Q4
      by (unfold W; ring).
    eapply Rle_trans; [apply Rabs_triang |].
    eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |].
    eapply Rle_trans; [apply Rplus_le_compat_r, Rplus_le_compat_r, Rabs_triang |].
    eapply Rle_trans; [apply Rplus_le_compat_r, Rplus_le_compat_r, Rplus_le_compat_r, Rabs_triang |].
    lra. }
  (* the slope *)
  replace (dx - p * T * slope) with ((ds - p * T) * slope
    + ds * ((slope' - slope) * (1 + d3) + slope * d3) + e3) by (rewrite Edx; ring).
  assert (S2 : Rabs ((ds - p * T) * slope) <= Rabs (ds - p * T)).
  { rewrite Rabs_mult, (Rabs_right slope) by lra. pose proof (Rabs_pos (ds - p * T)). nra. }
  assert (eta0 : 0 <= slope_error) by (eapply Rle_trans; [apply Rabs_pos | exact Hsl']).
  assert (S3 : Rabs (ds * ((slope' - slope) * (1 + d3) + slope * d3))
    <= X * ((1 + u) * slope_error + u)).
  { rewrite Rabs_mult. apply Rmult_le_compat_l; auto. eapply Rle_trans; [apply Rabs_triang |].
    rewrite !Rabs_mult, (Rabs_right slope) by lra. apply Rplus_le_compat.
    - rewrite Rmult_comm. apply Rmult_le_compat; auto; try apply Rabs_pos. apply Rabs_le. lra.
    - apply Rle_trans with (1 * u); [| lra]. apply Rmult_le_compat; try lra. apply Rabs_pos. }
  (* the factor of what was computed *)
  set (k := (u * r + u + (E - 1) * r) * r).
  assert (rr : r * r <= 1 + c).
  { assert (r * r * (1 - 2 * u) <= 1).
    { assert (r * r * ((1 - u) * (1 - u)) = 1).
      { replace (r * r * ((1 - u) * (1 - u))) with (r * (1 - u) * (r * (1 - u))) by ring.
        rewrite Hr. ring. }
      assert (0 <= r * r * (u * u)) by (repeat apply Rmult_le_pos; lra). nra. }
    assert (1 + c = / (1 - 4 * u)) by (unfold c; field; lra).
    assert (r * r <= / (1 - 4 * u)); [| lra].
    apply Rmult_le_reg_r with (1 - 4 * u); [lra |]. rewrite Rinv_l by lra.
    assert (0 <= r * r * (2 * u)) by (repeat apply Rmult_le_pos; lra). nra. }
  assert (c1 : c <= 1) by (apply div_le; lra).
  assert (K : k + u <= (1 + c) * (E - 1) + c).
  { unfold k. assert ((E - 1) * (r * r) <= (E - 1) * (1 + c)) by (apply Rmult_le_compat_l; lra).
    assert (u * (r * r) <= u * (64 / 49)) by (apply Rmult_le_compat_l; nra).
    assert (u * r <= u * (8 / 7)) by (apply Rmult_le_compat_l; lra). nra. }
  assert (F1 : W * (u * r + u + (E - 1) * r) <= k * X + k * lost).
  { apply Rle_trans with (r * (X + lost) * (u * r + u + (E - 1) * r)).
    - apply Rmult_le_compat_r; auto.
      assert (0 <= u * r) by (apply Rmult_le_pos; lra).
      assert (0 <= (E - 1) * r) by (apply Rmult_le_pos; lra). lra.
    - unfold k. right. ring. }
  assert (k0 : k <= 2 * E - 1).
  { assert (c * (E - 1) <= 1 * (E - 1)) by (apply Rmult_le_compat_r; lra). lra. }
  assert (F2 : k * lost <= E * tiny).
  { apply Rle_trans with (2 * E * lost); [apply Rmult_le_compat_r; lra |].
    replace (2 * E * lost) with (E * (2 * lost)) by ring. apply Rmult_le_compat_l; lra. }
  assert (F3 : E * tiny * (r * Rabs t + (a + b)) <= E * tiny * (2 * largest + (a + b))).
  { apply Rmult_le_compat_l; [apply Rmult_le_pos; lra | nra]. }
  assert (F4 : k * X + X * ((1 + u) * slope_error + u)
    <= ((1 + c) * (E - 1) + c + (1 + u) * slope_error) * X).
  { assert ((k + u) * X <= ((1 + c) * (E - 1) + c) * X) by (apply Rmult_le_compat_r; auto). lra. }
  assert (0 <= E * tiny) by (apply Rmult_le_pos; lra).
  eapply Rle_trans; [apply Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |]. fold X. lra.
Qed.

(** * A sum *)

Lemma gradient_sum_form E A k u lost : INR (k + 2) * u < 1 ->
  b_gradient_sum E A k u lost = E + gamma (k + 2) u * A + lost.
Proof.
  rewrite plus_INR. simpl INR. intros. unfold b_gradient_sum, gamma. rewrite plus_INR. simpl INR.
  field. lra.
Qed.

(** [y] sums y_i = x_i z_i in some order, x_i standing for the true x with an error of e_i; the sum is
    multiplied by the rounded scale.  [lost] bounds what underflow takes. *)
Theorem fp_gradient_sum n k u lost scale x x' z e t y out d0 d1 e1 E A taken :
  0 <= u -> 0 <= lost -> INR (k + 2) * u < 1 -> adds n t -> (roundings t <= k)%nat ->
  (forall i, (i < n)%nat -> Rabs (x' i - x i) <= e i) ->
  computes u lost (fun i => x' i * z i) t y ->
  Rabs d0 <= u -> Rabs d1 <= u -> Rabs e1 <= lost ->
  out = scale * (1 + d0) * y * (1 + d1) + e1 ->
  Rabs scale * fsum n (fun i => e i * Rabs (z i)) <= E ->
  Rabs scale * fsum n (fun i => Rabs (x' i * z i)) <= A ->
  (Rabs scale * INR n * (1 + gamma (k + 2) u) + 1) * lost <= taken ->
  Rabs (out - scale * fsum n (fun i => x i * z i)) <= b_gradient_sum E A k u taken.
Proof.
  intros Hu Hlost Hk Ht Hround Hx Hy H0 H1 He1 Eout HE HA Htaken. rewrite gradient_sum_form by auto.
  assert (Hu1 : u < 1).
  { rewrite plus_INR in Hk. simpl INR in Hk. pose proof (pos_INR k). nra. }
  pose proof (sum_error u lost _ t y Hu Hlost Hy) as S. cbv zeta in S.
  rewrite !(adds_exact n t), unscaled_products, (adds_length n t Ht) in S by (auto; apply Ht).
  set (B := fsum n (fun i => Rabs (x' i * z i))) in *.
  set (s := fsum n (fun i => x' i * z i)) in *.
  pose proof (pow_ge_1 u (roundings t) Hu) as g1. pose proof (pos_INR n) as N0.
  assert (G : (1 + u) ^ roundings t * (1 + u) ^ 2 <= 1 + gamma (k + 2) u).
  { eapply Rle_trans; [| apply pow_up; eauto]. rewrite <- pow_add. apply pow_mono; auto. lia. }
  set (g := (1 + u) ^ roundings t) in *. set (c := gamma (k + 2) u) in *.
  assert (B0 : 0 <= B) by (apply fsum_nonneg; intros; apply Rabs_pos).
  assert (SB : Rabs s <= B) by apply fsum_abs.
  assert (D0 := Rabs_bounds _ _ H0). assert (D1 := Rabs_bounds _ _ H1).
  pose proof (Rabs_pos scale) as L0.
  (* the factors of the scale *)
  set (f := (1 + d0) * (1 + d1)).
  assert (F : Rabs f <= (1 + u) ^ 2) by (apply Rabs_le; unfold f; nra).
  assert (F' : Rabs (f - 1) <= (1 + u) ^ 2 - 1) by (apply Rabs_le; unfold f; nra).
  assert (P1 : Rabs (f * y - s) <= c * B + (1 + c) * (INR n * lost)).
  { replace (f * y - s) with (f * (y - s) + (f - 1) * s) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. rewrite !Rabs_mult.
    assert (Rabs f * Rabs (y - s) <= (1 + u) ^ 2 * ((g - 1) * B + g * (INR n * lost)))
      by (apply Rmult_le_compat; auto; apply Rabs_pos).
    assert (Rabs (f - 1) * Rabs s <= ((1 + u) ^ 2 - 1) * B)
      by (apply Rmult_le_compat; auto; apply Rabs_pos).
    assert (g * (1 + u) ^ 2 * (INR n * lost) <= (1 + c) * (INR n * lost))
      by (apply Rmult_le_compat_r; auto; apply Rmult_le_pos; auto).
    assert ((g * (1 + u) ^ 2 - 1) * B <= c * B) by (apply Rmult_le_compat_r; lra). lra. }
  assert (P2 : Rabs (s - fsum n (fun i => x i * z i)) <= fsum n (fun i => e i * Rabs (z i))).
  { unfold s. rewrite <- fsum_minus. eapply Rle_trans; [apply fsum_abs |]. apply fsum_le.
    intros i Hi. rewrite <- Rmult_minus_distr_r, Rabs_mult.
    apply Rmult_le_compat_r; [apply Rabs_pos | auto]. }
  replace (out - scale * fsum n (fun i => x i * z i))
    with (scale * (f * y - s) + scale * (s - fsum n (fun i => x i * z i)) + e1)
    by (rewrite Eout; unfold f; ring).
  eapply Rle_trans; [apply Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |]. rewrite !Rabs_mult.
  pose proof (Rmult_le_compat_l _ _ _ L0 P1). pose proof (Rmult_le_compat_l _ _ _ L0 P2).
  assert (c0 : 0 <= c) by (apply gamma_nonneg; auto).
  assert (c * (Rabs scale * B) <= c * A) by (apply Rmult_le_compat_l; auto). lra.
Qed.
