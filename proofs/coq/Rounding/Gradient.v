(** What rounding does to the gradient of attention (claim FP.gradient).

    With weights p, dP_j = dO . v_j and D = sum_j p_j dP_j = dO . o, the derivative of the loss by
    score j is  ds_j = p_j (dP_j - D), by logit j  dx_j = ds_j slope_j  with slope_j = 1 - tanh^2 (x_j /
    softcap); dV, dQ and dK are sums of p dO, dx k and dx q.

    The computation.  Exponentials of scores less a shift, times the rounded reciprocal of their sum;
    everything is judged from what was computed.

    Steps: (1) the logarithm of a weight errs by twice what that of an exponential errs, and by the
    error of the sum ([fp_gradient_exponent]); (2) a computed weight w stands for p with |p - w| <=
    relative * w + absolute: either (exp theta - 1) w and what underflow takes ([fp_gradient_weight]) or,
    since no weight passes 1, 2 tanh (theta / 2) ([fp_gradient_unknown]); (3) D is a sum of products of
    which both factors have errors ([fp_gradient_mean]); (4) a slope errs by twice what tanh errs
    ([fp_gradient_slope]); (5) ds errs relative to what was computed of it, and by the weight times the
    errors of dP and D ([fp_gradient_score]); (6) a sum of products of which one factor is known up to an
    error ([fp_gradient_sum]); (7) steps (1), (2) and (5) together ([fp_gradient_row]); (8) what is
    returned is rounded once more ([fp_gradient_result]). *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Softmax Require Import Softmax TotalVariation Tanh.
From Attest.Rounding Require Import Rounding Scores.
Open Scope R_scope.

(** * The logarithm of a weight *)

Lemma gradient_exponent_form theta k u underflow : INR k * u < 1 -> 2 * u < 1 ->
  gamma k u + underflow < 1 ->
  b_gradient_exponent theta k u underflow
    = 2 * theta + (gamma k u + underflow) / (1 - (gamma k u + underflow)) + 2 * u / (1 - 2 * u).
Proof.
  intros Hk Hu Ha. unfold b_gradient_exponent.
  replace (u * INR k / (1 - u * INR k)) with (gamma k u) by (unfold gamma; field; lra).
  field. split; lra.
Qed.

Lemma ln_rounding d u : 0 <= u -> 2 * u < 1 -> Rabs d <= u -> Rabs (ln (1 + d)) <= u / (1 - 2 * u).
Proof.
  intros Hu Hu2 Hd. eapply Rle_trans; [apply (ln_error d u); auto; lra |].
  apply Rmult_le_compat_l; [lra |]. apply Rinv_le_contravar; lra.
Qed.

(** [Dn] is the computed sum of the exponentials b, [d1] rounds its reciprocal and [d2] the product. *)
Theorem fp_gradient_exponent n S b m theta k u underflow Dn d1 d2 j :
  (j < n)%nat -> positive n b -> 0 <= u -> 2 * u < 1 -> INR k * u < 1 -> 0 <= underflow ->
  gamma k u + underflow < 1 ->
  (forall i, (i < n)%nat -> Rabs (ln (b i) - (S i - m)) <= theta) ->
  Rabs (Dn - fsum n b) <= (gamma k u + underflow) * fsum n b -> Rabs d1 <= u -> Rabs d2 <= u ->
  Rabs (ln (b j * (/ Dn * (1 + d1)) * (1 + d2)) - ln (exp (S j) / fsum n (fun i => exp (S i))))
    <= b_gradient_exponent theta k u underflow.
Proof.
  intros Hj Hb Hu Hu2 Hk Hunder Ha HS HD H1 H2. rewrite gradient_exponent_form by auto.
  assert (Hn : (0 < n)%nat) by lia. pose proof (gamma_nonneg k u Hu Hk).
  set (a := gamma k u + underflow) in *.
  assert (HZ : 0 < fsum n b) by (apply fsum_pos; auto).
  assert (HE : 0 < fsum n (fun i => exp (S i))) by (apply exp_sum_pos; auto).
  pose proof (ln_sum_close n S b m theta Hn Hb HS) as T.
  set (r := Dn / fsum n b - 1).
  assert (R : Rabs r <= a).
  { unfold r. replace (Dn / fsum n b - 1) with ((Dn - fsum n b) / fsum n b) by (field; lra).
    rewrite Rabs_div_pos by auto. apply div_le; auto. }
  pose proof (Rabs_bounds _ _ R) as R'. pose proof (Rabs_bounds _ _ H1). pose proof (Rabs_bounds _ _ H2).
  assert (E : Dn = fsum n b * (1 + r)) by (unfold r; field; lra).
  assert (HDn : 0 < Dn) by (rewrite E; apply Rmult_lt_0_compat; lra).
  assert (D : ln Dn = ln (fsum n b) + ln (1 + r)) by (rewrite E, ln_mult by lra; reflexivity).
  pose proof (ln_error r a R Ha) as LR. pose proof (ln_rounding d1 u Hu Hu2 H1) as L1.
  pose proof (ln_rounding d2 u Hu Hu2 H2) as L2. pose proof (Hb j Hj) as Bj.
  assert (0 < / Dn) by (apply Rinv_0_lt_compat; auto).
  assert (W : ln (b j * (/ Dn * (1 + d1)) * (1 + d2)) = ln (b j) - ln Dn + ln (1 + d1) + ln (1 + d2)).
  { rewrite !ln_mult, ln_Rinv; try lra; repeat apply Rmult_lt_0_compat; lra. }
  assert (P : ln (exp (S j) / fsum n (fun i => exp (S i))) = S j - ln (fsum n (fun i => exp (S i)))).
  { unfold Rdiv. rewrite ln_mult, ln_exp, ln_Rinv; auto; [apply exp_pos |].
    apply Rinv_0_lt_compat; auto. }
  rewrite W, P, D.
  replace (ln (b j) - (ln (fsum n b) + ln (1 + r)) + ln (1 + d1) + ln (1 + d2)
      - (S j - ln (fsum n (fun i => exp (S i)))))
    with ((ln (b j) - (S j - m)) + - (m + ln (fsum n b) - ln (fsum n (fun i => exp (S i))))
      + - ln (1 + r) + ln (1 + d1) + ln (1 + d2)) by ring.
  pose proof (HS j Hj) as Sj.
  apply Rabs_bounds in T, LR, L1, L2, Sj. apply Rabs_le. unfold Rdiv in *. lra.
Qed.

(** * A weight *)

Lemma gradient_weight_form theta w tiny :
  b_gradient_weight theta w tiny = (exp theta - 1) * w + exp theta * tiny.
Proof. unfold b_gradient_weight. argument exp theta. ring. Qed.

Lemma between_exponentials p b theta : 0 < p -> 0 < b -> Rabs (ln b - ln p) <= theta ->
  exp (- theta) * b <= p <= exp theta * b.
Proof.
  intros Hp Hb H. apply Rabs_bounds in H.
  assert (E : p = exp (ln p - ln b) * b).
  { unfold Rminus. rewrite exp_plus, exp_Ropp, !exp_ln by auto. field. lra. }
  rewrite E. split; apply Rmult_le_compat_r; try lra; apply exp_le; lra.
Qed.

(** [b] is the weight before underflow, [w] after it. *)
Theorem fp_gradient_weight p b w theta tiny : 0 < p -> 0 < b -> Rabs (ln b - ln p) <= theta ->
  Rabs (w - b) <= tiny -> Rabs (p - w) <= b_gradient_weight theta w tiny.
Proof.
  intros Hp Hb Hxi Hw. rewrite gradient_weight_form.
  assert (0 <= theta) by (eapply Rle_trans; [apply Rabs_pos | exact Hxi]).
  pose proof (exp_ge_1 theta ltac:(lra)) as E1.
  destruct (between_exponentials p b theta Hp Hb Hxi) as [L U].
  assert (M : exp (- theta) * exp theta = 1) by apply exp_opp_mult.
  pose proof (exp_pos (- theta)).
  (* 1 - exp (- theta) <= exp theta - 1 *)
  assert (C : 2 <= exp (- theta) + exp theta) by nra.
  assert (B : Rabs (p - b) <= (exp theta - 1) * b) by (apply Rabs_le; nra).
  apply Rabs_bounds in Hw.
  assert ((exp theta - 1) * b <= (exp theta - 1) * (w + tiny)) by (apply Rmult_le_compat_l; lra).
  replace (p - w) with ((p - b) + (b - w)) by ring. eapply Rle_trans; [apply Rabs_triang |].
  assert (Rabs (b - w) <= tiny) by (apply Rabs_le; lra). lra.
Qed.

Lemma gradient_unknown_form theta largest lost :
  b_gradient_unknown theta largest lost = 2 * tanh (theta / 2) * largest + lost.
Proof. unfold b_gradient_unknown. argument tanh (theta / 2). ring. Qed.

(** However large theta is: neither weight passes [largest]. *)
Theorem fp_gradient_unknown p b w theta largest lost : 0 < p -> 0 < b ->
  Rabs (ln b - ln p) <= theta -> p <= largest -> b <= largest -> Rabs (w - b) <= lost ->
  Rabs (p - w) <= b_gradient_unknown theta largest lost.
Proof.
  intros Hp Hb Hxi HP HB Hw. rewrite gradient_unknown_form, tanh_half.
  assert (0 <= theta) by (eapply Rle_trans; [apply Rabs_pos | exact Hxi]).
  pose proof (exp_ge_1 theta ltac:(lra)) as E1.
  destruct (between_exponentials p b theta Hp Hb Hxi) as [L U].
  assert (M : exp (- theta) * exp theta = 1) by apply exp_opp_mult.
  pose proof (exp_pos (- theta)) as E0. set (f := exp (- theta)) in *. set (e := exp theta) in *.
  assert (F : f <= 1) by nra.
  (* 1 - exp (- theta) <= 2 tanh (theta / 2) *)
  assert (C : 1 - f <= 2 * ((e - 1) / (e + 1))).
  { replace (2 * ((e - 1) / (e + 1))) with (2 * (e - 1) / (e + 1)) by (field; lra).
    apply le_div; nra. }
  assert (L' : f * p <= b) by nra.
  assert (B : Rabs (p - b) <= (1 - f) * largest).
  { apply Rabs_le. assert ((1 - f) * p <= (1 - f) * largest) by (apply Rmult_le_compat_l; lra).
    assert ((1 - f) * b <= (1 - f) * largest) by (apply Rmult_le_compat_l; lra). lra. }
  assert ((1 - f) * largest <= 2 * ((e - 1) / (e + 1)) * largest)
    by (apply Rmult_le_compat_r; lra).
  replace (p - w) with ((p - b) + - (w - b)) by ring. eapply Rle_trans; [apply Rabs_triang |].
  rewrite Rabs_Ropp. lra.
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

(** * The mean of dP *)

Lemma gradient_mean_form r A k u a lost : INR (k + 2) * u < 1 ->
  b_gradient_mean r A k u a lost = (r + gamma (k + 2) u) * A + a + lost.
Proof.
  rewrite plus_INR. simpl INR. intros. unfold b_gradient_mean, gamma. rewrite plus_INR. simpl INR.
  field. lra.
Qed.

(** [s] sums w_i P'_i in some order, and is multiplied by the reciprocal z; z w_i stands for p_i. *)
Theorem fp_gradient_mean n k u lost z w p P P' t s M d e r A a gone taken :
  0 <= u -> 0 <= lost -> INR (k + 2) * u < 1 -> 0 < z -> adds n t -> (roundings t <= k)%nat ->
  (forall i, (i < n)%nat -> 0 <= p i) -> fsum n p <= 1 ->
  (forall i, (i < n)%nat -> Rabs (P' i - P i) <= a) -> 0 <= a ->
  computes u lost (fun i => w i * P' i) t s ->
  Rabs d <= u -> Rabs e <= lost -> M = z * s * (1 + d) + e ->
  fsum n (fun i => Rabs (z * (w i * P' i))) <= A ->
  fsum n (fun i => Rabs (z * w i - p i) * Rabs (P' i)) <= r * A + gone ->
  gone + (z * INR n * (1 + gamma (k + 2) u) + 1) * lost <= taken ->
  Rabs (M - fsum n (fun i => p i * P i)) <= b_gradient_mean r A k u a taken.
Proof.
  intros Hu Hlost Hk Hz Ht Hround Hp Hp1 HP Ha0 Hs Hd He EM HA HE Htaken.
  rewrite gradient_mean_form by auto.
  assert (S := fp_gradient_sum n k u lost z (fun i => p i / z) w P' (fun i => Rabs (w i - p i / z))
    t s M 0 d e (r * A + gone) A ((z * INR n * (1 + gamma (k + 2) u) + 1) * lost)).
  rewrite gradient_sum_form, (Rabs_right z) in S by (auto; lra).
  assert (Q : Rabs (M - z * fsum n (fun i => p i / z * P' i))
    <= r * A + gone + gamma (k + 2) u * A + (z * INR n * (1 + gamma (k + 2) u) + 1) * lost).
  { assert (G2 : M = z * (1 + 0) * s * (1 + d) + e) by (rewrite EM; ring).
    assert (G3 : z * fsum n (fun i => Rabs (w i - p i / z) * Rabs (P' i)) <= r * A + gone).
    { rewrite <- fsum_scale. erewrite fsum_ext; [exact HE |]. intros i Hi. simpl.
      replace (z * w i - p i) with (z * (w i - p i / z)) by (field; lra).
      rewrite Rabs_mult, (Rabs_right z) by lra. ring. }
    assert (G4 : z * fsum n (fun i => Rabs (w i * P' i)) <= A).
    { rewrite <- fsum_scale. erewrite fsum_ext; [exact HA |]. intros i Hi. simpl.
      rewrite (Rabs_mult z), (Rabs_right z) by lra. reflexivity. }
    apply S; auto; try (intros; apply Rle_refl); try apply Rle_refl. rewrite Rabs_R0. lra. }
  clear S. rewrite <- fsum_scale in Q.
  rewrite (fsum_ext n (fun i => z * (p i / z * P' i)) (fun i => p i * P' i)) in Q
    by (intros; field; lra).
  assert (F : Rabs (fsum n (fun i => p i * P' i) - fsum n (fun i => p i * P i)) <= a).
  { rewrite <- fsum_minus. eapply Rle_trans; [apply fsum_abs |].
    apply Rle_trans with (fsum n (fun i => a * p i)).
    - apply fsum_le. intros i Hi. rewrite <- Rmult_minus_distr_l, Rabs_mult.
      rewrite (Rabs_right (p i)), Rmult_comm by (apply Rle_ge; auto).
      apply Rmult_le_compat_r; auto.
    - rewrite fsum_scale. rewrite <- (Rmult_1_r a) at 2. apply Rmult_le_compat_l; auto. }
  replace (M - fsum n (fun i => p i * P i))
    with ((M - fsum n (fun i => p i * P' i))
      + (fsum n (fun i => p i * P' i) - fsum n (fun i => p i * P i))) by ring.
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

(** * A slope *)

Lemma gradient_slope_form eta u tiny : b_gradient_slope eta u tiny
  = (1 + u) * (2 * eta + eta * eta + u * ((1 + eta) * (1 + eta)) + tiny) + u.
Proof. unfold b_gradient_slope. ring. Qed.

(** [th] is the computed tanh of a computed logit [xc], which stands for [x]. *)
Theorem fp_gradient_slope c x xc rho u te lost tiny C th d1 d2 e slope eta :
  0 < c -> 0 <= u -> 0 <= te -> 0 <= lost -> 2 * lost <= tiny -> (4 + te) * u <= 1 / 2 ->
  Rabs (xc - x) <= rho -> Rabs (cap c xc) <= C -> computed_cap c u te lost tiny xc (c * th) ->
  Rabs th <= 1 -> Rmin (b_capped_score rho u te C c tiny / c) 2 <= eta ->
  Rabs d1 <= u -> Rabs d2 <= u -> Rabs e <= tiny ->
  slope = (1 - (th * th * (1 + d1) + e)) * (1 + d2) ->
  Rabs (slope - (1 - tanh (x / c) * tanh (x / c))) <= b_gradient_slope eta u tiny.
Proof.
  intros Hc Hu Hte Hlost Htiny Hsmall Hx HC Hcap Hth Heta H1 H2 He ->. rewrite gradient_slope_form.
  assert (B : Rabs (c * th - cap c x) <= b_capped_score rho u te C c tiny)
    by (apply (fp_scores_capped c x xc rho u te lost); auto).
  pose proof (tanh_range (x / c)) as Range.
  assert (T : Rabs (th - tanh (x / c)) <= eta).
  { eapply Rle_trans; [| exact Heta]. apply Rmin_glb.
    - replace (th - tanh (x / c)) with ((c * th - cap c x) / c) by (unfold cap; field; lra).
      rewrite Rabs_div_pos by auto. apply Rmult_le_compat_r; auto.
      left. apply Rinv_0_lt_compat. auto.
    - apply Rabs_bounds in Hth. apply Rabs_le. lra. }
  set (t := tanh (x / c)) in *.
  assert (eta0 : 0 <= eta) by (eapply Rle_trans; [apply Rabs_pos | exact T]).
  pose proof (Rabs_bounds _ _ T). pose proof (Rabs_bounds _ _ H1).
  pose proof (Rabs_bounds _ _ H2). pose proof (Rabs_bounds _ _ He).
  assert (t1 : Rabs t <= 1) by (apply Rabs_le; lra).
  assert (th1 : Rabs th <= 1 + eta) by (apply Rabs_le; lra).
  assert (Q : Rabs (t * t - th * th) <= 2 * eta + eta * eta).
  { replace (t * t - th * th) with (- (th - t) * (th - t + 2 * t)) by ring.
    rewrite Rabs_mult, Rabs_Ropp. apply Rle_trans with (eta * (eta + 2)); [| lra].
    apply Rmult_le_compat; auto; try apply Rabs_pos.
    eapply Rle_trans; [apply Rabs_triang |]. rewrite (Rabs_mult 2 t), (Rabs_right 2) by lra. lra. }
  assert (Q1 : Rabs (th * th * d1) <= u * ((1 + eta) * (1 + eta))).
  { rewrite !Rabs_mult, Rmult_comm. apply Rmult_le_compat; auto; try apply Rabs_pos.
    - apply Rmult_le_pos; apply Rabs_pos.
    - apply Rmult_le_compat; auto; apply Rabs_pos. }
  set (G := 2 * eta + eta * eta + u * ((1 + eta) * (1 + eta)) + tiny).
  assert (F : Rabs (t * t - th * th - th * th * d1 - e) <= G).
  { apply Rabs_bounds in Q, Q1. apply Rabs_le. unfold G. lra. }
  replace ((1 - (th * th * (1 + d1) + e)) * (1 + d2) - (1 - t * t))
    with ((t * t - th * th - th * th * d1 - e) * (1 + d2) + (1 - t * t) * d2) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. rewrite !Rabs_mult. apply Rplus_le_compat.
  - rewrite Rmult_comm. apply Rmult_le_compat; auto; try apply Rabs_pos. apply Rabs_le. lra.
  - rewrite <- (Rmult_1_l u) at 1. apply Rmult_le_compat; auto; try apply Rabs_pos.
    apply Rabs_le. assert (0 <= t * t <= 1) by nra. lra.
Qed.

(** * A score *)

Lemma gradient_score_form rho sigma slope_error a b ds w largest u tiny : 4 * u < 1 ->
  b_gradient_score rho sigma slope_error a b ds w largest u tiny
    = ((1 + 4 * u / (1 - 4 * u)) * rho + 4 * u / (1 - 4 * u) + (1 + u) * slope_error) * ds
      + (1 + rho) * (a + b) * w + sigma * (2 * largest + a + b) + (2 + rho) * tiny.
Proof. intros. unfold b_gradient_score. field. lra. Qed.

(** [dP] and [D] err by [a] and [b]; [t] is their rounded difference, at most [largest]; [ds] the rounded
    product with the weight; [dx] that with the slope.  A sink is a key of dP 0. *)
Theorem fp_gradient_score p w rho sigma P P' M M' a b t ds slope slope' slope_error dx largest
    u lost tiny d1 d2 d3 e2 e3 :
  0 <= u -> u <= 1 / 8 -> 0 <= lost -> 2 * lost <= tiny -> 0 <= rho -> 0 <= sigma -> 0 <= w ->
  Rabs (p - w) <= rho * w + sigma ->
  Rabs (P' - P) <= a -> Rabs (M' - M) <= b ->
  Rabs d1 <= u -> Rabs d2 <= u -> Rabs d3 <= u -> Rabs e2 <= lost -> Rabs e3 <= lost ->
  t = (P' - M') * (1 + d1) -> Rabs t <= largest -> ds = w * t * (1 + d2) + e2 ->
  0 <= slope <= 1 -> Rabs (slope' - slope) <= slope_error ->
  dx = ds * slope' * (1 + d3) + e3 ->
  Rabs (dx - p * (P - M) * slope)
    <= b_gradient_score rho sigma slope_error a b (Rabs ds) w largest u tiny.
Proof.
  intros Hu Hu8 Hlost Htiny Hr0 Hsigma Hw Hp HP HM H1 H2 H3 He2 He3 Et Ht Eds Hsl Hsl' Edx.
  rewrite gradient_score_form by lra.
  set (E := 1 + rho). assert (E1 : 1 <= E) by (unfold E; lra).
  replace (rho * w) with ((E - 1) * w) in Hp by (unfold E; ring).
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
    <= W * (u * r + u + (E - 1) * r) + E * w * (a + b) + sigma * (r * Rabs t + (a + b)) + lost).
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
    assert (Q4 : Rabs (- ((p - w) * T)) <= ((E - 1) * w + sigma) * (r * Rabs t + (a + b))).
    { rewrite Rabs_Ropp, Rabs_mult. apply Rmult_le_compat; auto; apply Rabs_pos. }
    replace (((E - 1) * w + sigma) * (r * Rabs t + (a + b))) with
      (W * ((E - 1) * r) + (E - 1) * w * (a + b) + sigma * (r * Rabs t + (a + b))) in Q4
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
  assert (F3 : sigma * (r * Rabs t + (a + b)) <= sigma * (2 * largest + (a + b))).
  { apply Rmult_le_compat_l; auto. assert (Rabs t * r <= Rabs t * 2) by (apply Rmult_le_compat_l; lra).
    lra. }
  assert (F4 : k * X + X * ((1 + u) * slope_error + u)
    <= ((1 + c) * (E - 1) + c + (1 + u) * slope_error) * X).
  { assert ((k + u) * X <= ((1 + c) * (E - 1) + c) * X) by (apply Rmult_le_compat_r; auto). lra. }
  replace ((1 + rho) * (a + b) * w) with (E * w * (a + b)) by (unfold E; ring).
  replace ((2 + rho) * tiny) with (E * tiny + tiny) by (unfold E; ring).
  replace rho with (E - 1) by (unfold E; ring).
  eapply Rle_trans; [apply Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |]. fold X. lra.
Qed.

(** * A row *)

(** From scores to the derivative by logit j: what of the weight is [relative] and [absolute] in both,
    as the program takes them, where little is known of it or not. *)
Definition weight_known (theta tiny relative absolute : R) (p : nat -> R) (j : nat) : Prop :=
  relative = b_gradient_weight theta 1 0 /\ b_gradient_weight theta 0 tiny <= absolute \/
  relative = b_gradient_unknown theta 1 0 /\
    b_gradient_unknown theta 1 0 * p j + b_gradient_unknown theta tiny tiny <= absolute.

Lemma weight_from_either p b w theta tiny relative absolute j :
  0 < p j -> 0 < b -> 0 <= w -> Rabs (ln b - ln (p j)) <= theta -> Rabs (w - b) <= tiny ->
  weight_known theta tiny relative absolute p j -> 0 <= relative /\ 0 <= absolute /\
  Rabs (p j - w) <= relative * w + absolute.
Proof.
  intros Hp Hb Hw0 Hxi Hw H.
  assert (T : 0 <= theta) by (eapply Rle_trans; [apply Rabs_pos | exact Hxi]).
  assert (tiny0 : 0 <= tiny) by (eapply Rle_trans; [apply Rabs_pos | exact Hw]).
  pose proof (exp_ge_1 theta T) as E1.
  assert (0 <= exp theta * tiny) by (apply Rmult_le_pos; lra).
  destruct H as [[-> H] | [-> H]].
  - pose proof (fp_gradient_weight _ _ _ _ _ Hp Hb Hxi Hw) as W.
    rewrite gradient_weight_form in H, W. rewrite gradient_weight_form. split; [lra |].
    split; lra.
  - assert (P : p j + w + tiny >= p j /\ b <= p j + w + tiny)
      by (apply Rabs_bounds in Hw; lra).
    pose proof (fp_gradient_unknown (p j) b w theta (p j + w + tiny) tiny Hp Hb Hxi
      ltac:(lra) ltac:(lra) Hw) as W.
    rewrite !gradient_unknown_form in H. rewrite gradient_unknown_form in W.
    rewrite gradient_unknown_form.
    assert (K : 0 <= tanh (theta / 2)) by (apply tanh_nonneg; lra).
    assert (0 <= tanh (theta / 2) * p j) by (apply Rmult_le_pos; lra).
    assert (0 <= tanh (theta / 2) * tiny) by (apply Rmult_le_pos; lra).
    assert (0 <= tanh (theta / 2) * w) by (apply Rmult_le_pos; lra).
    split; [lra |]. split; lra.
Qed.

(** [b] are exponentials before underflow, [Dn] their computed sum, [w] a weight after it. *)
Theorem fp_gradient_row n S m b Dn k u underflow weight_error w relative absolute P P' M M' a be t ds slope
    slope' slope_error dx largest lost tiny d1 d2 d3 d4 d5 e4 e5 j :
  let p := fun i => exp (S i) / fsum n (fun l => exp (S l)) in
  let theta := b_gradient_exponent weight_error k u underflow in
  (j < n)%nat -> positive n b -> 0 <= u -> u <= 1 / 8 -> INR k * u < 1 -> 0 <= underflow ->
  gamma k u + underflow < 1 -> 0 <= lost -> 2 * lost <= tiny ->
  (* the weight *)
  (forall i, (i < n)%nat -> Rabs (ln (b i) - (S i - m)) <= weight_error) ->
  Rabs (Dn - fsum n b) <= (gamma k u + underflow) * fsum n b -> Rabs d1 <= u -> Rabs d2 <= u ->
  0 <= w -> Rabs (w - b j * (/ Dn * (1 + d1)) * (1 + d2)) <= 2 * tiny ->
  weight_known theta (2 * tiny) relative absolute p j ->
  (* the derivative by the logit *)
  Rabs (P' - P) <= a -> Rabs (M' - M) <= be ->
  Rabs d3 <= u -> Rabs d4 <= u -> Rabs d5 <= u -> Rabs e4 <= lost -> Rabs e5 <= lost ->
  t = (P' - M') * (1 + d3) -> Rabs t <= largest -> ds = w * t * (1 + d4) + e4 ->
  0 <= slope <= 1 -> Rabs (slope' - slope) <= slope_error -> dx = ds * slope' * (1 + d5) + e5 ->
  Rabs (dx - p j * (P - M) * slope)
    <= b_gradient_score relative absolute slope_error a be (Rabs ds) w largest u tiny.
Proof.
  intros p theta Hj Hb Hu Hu8 Hk Hunder Ha Hlost Htiny HS HD H1 H2 Hw0 Hw Hknown HP HM H3 H4 H5 He4 He5
    Et Ht Eds Hsl Hsl' Edx.
  pose proof (fp_gradient_exponent n S b m weight_error k u underflow Dn d1 d2 j Hj Hb Hu
    ltac:(lra) Hk Hunder Ha HS HD H1 H2) as X.
  assert (HZ : 0 < fsum n b) by (apply fsum_pos; auto; lia).
  assert (HE : 0 < fsum n (fun l => exp (S l))) by (apply exp_sum_pos; lia).
  pose proof (Hb j Hj) as Bj.
  assert (HDn : 0 < Dn).
  { apply Rabs_bounds in HD. assert (0 < (1 - (gamma k u + underflow)) * fsum n b)
      by (apply Rmult_lt_0_compat; lra). lra. }
  apply Rabs_bounds in H1 as B1. apply Rabs_bounds in H2 as B2.
  assert (0 < / Dn) by (apply Rinv_0_lt_compat; auto).
  assert (Hpj : 0 < p j).
  { unfold p, Rdiv. apply Rmult_lt_0_compat; [apply exp_pos | apply Rinv_0_lt_compat; auto]. }
  assert (B0 : 0 < b j * (/ Dn * (1 + d1)) * (1 + d2)).
  { assert (0 < / Dn * (1 + d1)) by (apply Rmult_lt_0_compat; lra).
    assert (0 < b j * (/ Dn * (1 + d1))) by (apply Rmult_lt_0_compat; lra).
    apply Rmult_lt_0_compat; lra. }
  destruct (weight_from_either p (b j * (/ Dn * (1 + d1)) * (1 + d2)) w theta (2 * tiny) relative
    absolute j Hpj B0 Hw0 X Hw Hknown) as (R0 & A0 & W).
  apply (fp_gradient_score (p j) w relative absolute P P' M M' a be t ds slope slope' slope_error dx
    largest u lost tiny d3 d4 d5 e4 e5); auto.
Qed.

(** * What is returned *)

(** [x] is [y] rounded to another type: relative to the result, and by half of the smallest number. *)
Theorem fp_gradient_result truth y x err u tiny : Rabs (y - truth) <= err ->
  Rabs (x - y) <= u * Rabs x + u * tiny ->
  Rabs (x - truth) <= b_gradient_result err (Rabs x) u tiny.
Proof.
  intros Hy Hx. unfold b_gradient_result. replace (x - truth) with ((x - y) + (y - truth)) by ring.
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.
