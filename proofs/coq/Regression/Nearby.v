(** What holds near a point of attention regression (claims P4.nearby, P4.local).

    Steps: (1) <W, P A3> changes along a line at the speed sum_i <W_i, Cov(s, a3)>, which is at most
    |W| |A1| rho rho_3 |U|, and a residual <z, r_i> at the speed <z, velocity>; by the mean value
    theorem so do they over the whole way; (2) logits that move by at most eta from a number change
    weights, and so variances, by factors of at most exp (2 eta); (3) with standard deviations in
    place of radii the cumulants of a row are smaller, and with them the third derivative
    (Curvature.v). *)

Require Import Reals Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Derivatives Averages.
From Attest.Softmax Require Import Softmax Weights.
From Attest.Regression Require Import Cumulants Regression Curvature.
Open Scope R_scope.

(** * P4.nearby: values *)

Theorem p4_value_radius_nearby g Y V r r3 distance : (0 < key_count g)%nat ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 -> y_length g V <= distance ->
  in_ball (key_count g) (outputs g) (key_value g (moved Y V 1))
    (b_value_radius_nearby r r3 distance).
Proof.
  intros Hm [a Ha] F D. destruct (value_ball g V r3 Hm F) as [b Hb].
  pose proof (ball_nonneg _ _ _ _ Hm F).
  exists (fun c => a c + b c). intros j Hj.
  rewrite (norm_ext _ _ (fun c => (key_value g Y j c - a c) + (key_value g V j c - b c)))
    by (intros; rewrite value_moved; ring).
  eapply Rle_trans; [apply norm_triangle |]. unfold b_value_radius_nearby.
  specialize (Ha j Hj). specialize (Hb j Hj).
  assert (r3 * y_length g V <= r3 * distance) by (apply Rmult_le_compat_l; auto). lra.
Qed.

(** * Step 1: speeds *)

Lemma speed_bound (f f' : R -> R) K : (forall t, is_derive f t (f' t)) ->
  (forall t, 0 <= t <= 1 -> f' t <= K) -> f 1 <= f 0 + K.
Proof.
  intros D H. destruct (mean_value f f' 0 1 D) as (t & Ht & E); [lra |].
  specialize (H t ltac:(lra)). lra.
Qed.

Lemma is_derive_mean_feature g X U i e t : (0 < key_count g)%nat ->
  is_derive (fun t => mean_feature g (moved X U t) i e) t
    (covariance (key_count g) (query_weights g (moved X U t) i) (query_logit g U i)
      (fun j => A3 g j e)).
Proof.
  intros Hm. rewrite weight_moved.
  apply (is_derive_ext (fun t => mean (key_count g)
    (row (key_count g) (query_logit g X i) (query_logit g U i) t) (fun j => A3 g j e + t * 0))).
  - intros r. unfold mean_feature. rewrite weight_moved. apply mean_ext. intros. ring.
  - evar_last; [apply (is_derive_row (key_count g) (query_logit g X i) (query_logit g U i)
      (fun j => A3 g j e) (fun _ => 0) Hm) |].
    simpl. rewrite mean_const by (apply softmax_weights; auto). rewrite Rplus_0_r.
    apply covariance_ext; auto. intros. ring.
Qed.

(** The speed of a row of P A3. *)
Lemma feature_speed g X U i rho r3 : (0 < key_count g)%nat ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 ->
  norm (feature_dimension g) (fun e =>
    covariance (key_count g) (query_weights g X i) (query_logit g U i) (fun j => A3 g j e))
      <= rho * r3 * pull g U i.
Proof.
  intros Hm K F. eapply Rle_trans; [apply (p4_second_cumulant_of_vectors _ _ _ _ _ _ _
    (weight_weights g X i Hm) (logit_radius g U i rho K) F) |].
  right. unfold b_second_cumulant. ring.
Qed.

(** <W, P A3> *)
Definition feature_product (g : regression) (W : nat -> nat -> R) (X : nat -> nat -> R) : R :=
  fsum (query_count g) (fun i => dot (feature_dimension g) (W i) (mean_feature g X i)).

Lemma feature_product_nearby g W X U sigma rho r3 : (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 ->
  feature_product g W (moved X U 1) <= feature_product g W X
    + sigma * rho * r3 * x_length g U * frobenius (query_count g) (feature_dimension g) W.
Proof.
  intros Hm HS K F. rewrite <- (moved_0 X U) at 2.
  apply (speed_bound (fun t => feature_product g W (moved X U t)) (fun t =>
    fsum (query_count g) (fun i => dot (feature_dimension g) (W i) (fun e =>
      covariance (key_count g) (query_weights g (moved X U t) i) (query_logit g U i)
        (fun j => A3 g j e))))).
  - intros t. apply (is_derive_fsum (query_count g)
      (fun i t => dot (feature_dimension g) (W i) (mean_feature g (moved X U t) i))
      (fun i t => dot (feature_dimension g) (W i) (fun e => covariance (key_count g)
        (query_weights g (moved X U t) i) (query_logit g U i) (fun j => A3 g j e)))).
    intros i. apply (is_derive_fsum (feature_dimension g)
      (fun e t => W i e * mean_feature g (moved X U t) i e) (fun e t => W i e * covariance
        (key_count g) (query_weights g (moved X U t) i) (query_logit g U i) (fun j => A3 g j e))).
    intros e. apply (is_derive_scal (fun t => mean_feature g (moved X U t) i e)).
    apply is_derive_mean_feature. auto.
  - intros t _. pose proof (ball_nonneg _ _ _ _ Hm K). pose proof (ball_nonneg _ _ _ _ Hm F).
    apply Rle_trans with (rho * r3 * dot (query_count g)
      (fun i => norm (feature_dimension g) (W i)) (pull g U)).
    + unfold dot at 2. rewrite <- fsum_scale. apply fsum_le. intros i _.
      eapply Rle_trans; [apply Rle_abs |]. eapply Rle_trans; [apply dot_norm |].
      pose proof (feature_speed g (moved X U t) U i rho r3 Hm K F).
      pose proof (norm_nonneg (feature_dimension g) (W i)). nra.
    + replace (sigma * rho * r3 * x_length g U * _) with (rho * r3
        * (frobenius (query_count g) (feature_dimension g) W * (sigma * x_length g U))) by ring.
      apply Rmult_le_compat_l; [apply Rmult_le_pos; auto |].
      apply dot_le; [right; reflexivity | apply pulls; auto].
Qed.

Lemma mean_nearby_form M sigma rho r3 distance :
  b_mean_nearby M sigma rho r3 distance = M + sigma * rho * r3 * distance.
Proof. unfold b_mean_nearby. ring. Qed.

Lemma feature_product_le g W X : feature_product g W X
  <= frobenius (query_count g) (feature_dimension g) W
    * frobenius (query_count g) (feature_dimension g) (mean_feature g X).
Proof.
  apply Rle_trans with (dot (query_count g) (fun i => norm (feature_dimension g) (W i))
    (fun i => norm (feature_dimension g) (mean_feature g X i))).
  - apply fsum_le. intros i _. eapply Rle_trans; [apply Rle_abs | apply dot_norm].
  - apply dot_le; right; reflexivity.
Qed.

(** In the Frobenius norm. *)
Theorem p4_mean_nearby g X U sigma rho r3 M distance : (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 ->
  frobenius (query_count g) (feature_dimension g) (mean_feature g X) <= M ->
  x_length g U <= distance ->
  frobenius (query_count g) (feature_dimension g) (mean_feature g (moved X U 1))
    <= b_mean_nearby M sigma rho r3 distance.
Proof.
  intros Hm HS K F HM D. rewrite mean_nearby_form.
  pose proof (ball_nonneg _ _ _ _ Hm K). pose proof (ball_nonneg _ _ _ _ Hm F).
  assert (0 <= sigma * rho * r3) by (repeat apply Rmult_le_pos; auto; apply HS).
  set (W := mean_feature g (moved X U 1)).
  set (N := frobenius (query_count g) (feature_dimension g) W).
  pose proof (feature_product_nearby g W X U sigma rho r3 Hm HS K F) as L.
  pose proof (feature_product_le g W X) as B. fold N in L, B.
  assert (E : feature_product g W (moved X U 1) = N ^ 2).
  { unfold N, frobenius. rewrite norm_square. apply fsum_ext. intros i _. apply dot_length. }
  assert (N0 : 0 <= N) by apply frobenius_nonneg.
  assert (sigma * rho * r3 * x_length g U <= sigma * rho * r3 * distance)
    by (apply Rmult_le_compat_l; auto).
  destruct (Req_dec N 0) as [Z | Z].
  - rewrite Z.
    pose proof (frobenius_nonneg (query_count g) (feature_dimension g) (mean_feature g X)).
    pose proof (frobenius_nonneg (query_dimension g) (key_dimension g) U). unfold x_length in *.
    assert (0 <= sigma * rho * r3 * frobenius (query_dimension g) (key_dimension g) U)
      by (apply Rmult_le_pos; auto). lra.
  - apply Rmult_le_reg_l with N; [lra |]. rewrite E in L. nra.
Qed.

(** In the spectral norm. *)
Theorem p4_mean_nearby_spectral g X U sigma rho r3 M distance : (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 ->
  spectral_bound (query_count g) (feature_dimension g) (mean_feature g X) M ->
  x_length g U <= distance ->
  spectral_bound (query_count g) (feature_dimension g) (mean_feature g (moved X U 1))
    (b_mean_nearby M sigma rho r3 distance).
Proof.
  intros Hm HS K F [M0 HM] D. rewrite mean_nearby_form.
  pose proof (ball_nonneg _ _ _ _ Hm K). pose proof (ball_nonneg _ _ _ _ Hm F).
  assert (P : 0 <= sigma * rho * r3) by (repeat apply Rmult_le_pos; auto; apply HS).
  assert (Q : sigma * rho * r3 * x_length g U <= sigma * rho * r3 * distance)
    by (apply Rmult_le_compat_l; auto).
  assert (Q0 : 0 <= sigma * rho * r3 * x_length g U)
    by (apply Rmult_le_pos; auto; apply frobenius_nonneg).
  split; [lra |]. intros v. pose proof (norm_nonneg (feature_dimension g) v) as V0.
  apply norm_dual; [apply Rmult_le_pos; lra |]. intros z.
  set (W := fun i e => z i * v e).
  assert (E : forall X, dot (query_count g) z
    (fun i => dot (feature_dimension g) (mean_feature g X i) v)
    = feature_product g W X).
  { intros X0. apply fsum_ext. intros i _. unfold dot, W. rewrite <- fsum_scale.
    apply fsum_ext. intros. ring. }
  assert (N : frobenius (query_count g) (feature_dimension g) W
    = norm (feature_dimension g) v * norm (query_count g) z).
  { unfold frobenius. rewrite <- norm_scale_nonneg by auto.
    unfold norm at 1 3. f_equal. apply fsum_ext. intros i _.
    rewrite Rpow_mult_distr, !norm_square, <- fsum_scale_r. apply fsum_ext. intros. unfold W. ring.
    }
  rewrite E. eapply Rle_trans; [apply (feature_product_nearby g W X U sigma rho r3 Hm HS K F) |].
  rewrite <- E, N. pose proof (norm_nonneg (query_count g) z) as Z0.
  pose proof (Rabs_bounds _ _ (dot_norm (query_count g) z
    (fun i => dot (feature_dimension g) (mean_feature g X i) v))) as B.
  specialize (HM v).
  assert (norm (query_count g) z
      * norm (query_count g) (fun i => dot (feature_dimension g) (mean_feature g X i) v)
    <= norm (query_count g) z * (M * norm (feature_dimension g) v)) by (apply Rmult_le_compat_l;
      auto).
  assert (sigma * rho * r3 * x_length g U * (norm (feature_dimension g) v * norm (query_count g) z)
    <= sigma * rho * r3 * distance * (norm (feature_dimension g) v * norm (query_count g) z))
    by (apply Rmult_le_compat_r; auto; apply Rmult_le_pos; auto).
  lra.
Qed.

Lemma residual_speed g X Y U V i alpha rho r phi : (0 < key_count g)%nat ->
  (i < query_count g)%nat ->
  row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  row_bound (key_count g) (feature_dimension g) (A3 g) phi ->
  norm (outputs g) (velocity g X Y U V i)
    <= alpha * rho * r * x_length g U + phi * y_length g V.
Proof.
  intros Hm Hi HA K H [Hphi F]. pose proof (ball_nonneg _ _ _ _ Hm K).
  pose proof (ball_nonneg _ _ _ _ Hm H). pose proof (weight_weights g X i Hm) as W.
  eapply Rle_trans; [apply norm_triangle |]. apply Rplus_le_compat.
  - eapply Rle_trans; [apply (p4_second_cumulant_of_vectors _ _ _ _ _ _ _ W
      (logit_radius g U i rho K) H) |].
    unfold b_second_cumulant. replace (alpha * rho * r * x_length g U) with
      (alpha * x_length g U * (rho * r)) by ring.
    rewrite Rmult_assoc. apply Rmult_le_compat_r; [apply Rmult_le_pos; auto |].
    apply pull_bound; auto.
  - apply mean_norm; auto; [apply Rmult_le_pos; auto; apply frobenius_nonneg |]. intros j Hj.
    eapply Rle_trans; [apply (times_row (feature_dimension g) (outputs g) (A3 g) V j) |].
    apply Rmult_le_compat_r; [apply frobenius_nonneg | auto].
Qed.

(** The values' radius must hold on the way. *)
Theorem p4_residual_nearby g X Y U V alpha rho r phi most distance : (0 < key_count g)%nat ->
  row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  (forall t, 0 <= t <= 1 -> in_ball (key_count g) (outputs g) (key_value g (moved Y V t)) r) ->
  row_bound (key_count g) (feature_dimension g) (A3 g) phi ->
  row_bound (query_count g) (outputs g) (residual g X Y) most -> step_length g U V <= distance ->
  row_bound (query_count g) (outputs g) (residual g (moved X U 1) (moved Y V 1))
    (b_residual_nearby most alpha rho r phi distance).
Proof.
  intros Hm HA K H F [Hmost Hr] D.
  set (root := sqrt ((alpha * rho * r) ^ 2 + phi ^ 2)).
  replace (b_residual_nearby most alpha rho r phi distance) with (most + distance * root)
    by (unfold b_residual_nearby, root; do 3 f_equal; ring).
  assert (R0 : 0 <= root) by apply sqrt_pos.
  assert (L0 : 0 <= step_length g U V) by apply sqrt_pos.
  assert (DR : step_length g U V * root <= distance * root) by (apply Rmult_le_compat_r; auto).
  assert (0 <= step_length g U V * root) by (apply Rmult_le_pos; auto).
  (* The speed is a product of two vectors of two numbers. *)
  assert (C : alpha * rho * r * x_length g U + phi * y_length g V <= step_length g U V * root).
  { apply square_le; [auto |]. rewrite Rpow_mult_distr, length_square. unfold root.
    rewrite pow2_sqrt by (apply Rplus_le_le_0_compat; apply pow2_ge_0).
    pose proof (pow2_ge_0 (alpha * rho * r * y_length g V - phi * x_length g U)). lra. }
  split; [lra |]. intros i Hi. apply norm_dual; [lra |]. intros z.
  pose proof (norm_nonneg (outputs g) z) as Z0.
  apply Rle_trans with (dot (outputs g) z (residual g (moved X U 0) (moved Y V 0) i)
    + norm (outputs g) z * (step_length g U V * root)).
  - apply (speed_bound (fun t => dot (outputs g) z (residual g (moved X U t) (moved Y V t) i))
      (fun t => dot (outputs g) z (velocity g (moved X U t) (moved Y V t) U V i))).
    + intros t. apply (is_derive_fsum (outputs g)
        (fun c t => z c * residual g (moved X U t) (moved Y V t) i c)
        (fun c t => z c * velocity g (moved X U t) (moved Y V t) U V i c)). intros c.
      apply (is_derive_scal (fun t => residual g (moved X U t) (moved Y V t) i c)).
      apply is_derive_residual. auto.
    + intros t Ht. apply dot_le; [right; reflexivity |]. eapply Rle_trans; [| apply C].
      apply residual_speed; auto.
  - rewrite !moved_0.
    assert (dot (outputs g) z (residual g X Y i) <= norm (outputs g) z * most)
      by (apply dot_le; [right; reflexivity | apply Hr; auto]).
    assert (norm (outputs g) z * (step_length g U V * root)
      <= norm (outputs g) z * (distance * root))
      by (apply Rmult_le_compat_l; auto). lra.
Qed.

(** * Step 2: standard deviations *)

(** The root of the trace of the covariance of vectors x_j. *)
Definition deviation (m : nat) (p : nat -> R) (d : nat) (x : nat -> nat -> R) : R :=
  sqrt (fsum d (fun b => covariance m p (fun j => x j b) (fun j => x j b))).

(** The standard deviation of <z, x_j> is at most B |z|, for every z. *)
Definition spread (m : nat) (p : nat -> R) (d : nat) (x : nat -> nat -> R) (B : R) : Prop :=
  0 <= B /\ forall z, covariance m p (fun j => dot d z (x j)) (fun j => dot d z (x j))
    <= (B * norm d z) ^ 2.

Lemma softmax_shift m v a j : softmax m v j = softmax m (fun k => v k - a) j.
Proof.
  unfold softmax. rewrite <- (s_kappa_scale m _ (exp (- a))) by apply exp_pos. f_equal.
  apply functional_extensionality. intros k. rewrite <- exp_plus. f_equal. ring.
Qed.

Lemma weight_ratio g X U i eta j : within_radius (key_count g) (query_logit g U i) eta ->
  (j < key_count g)%nat ->
  query_weights g (moved X U 1) i j <= exp eta ^ 2 * query_weights g X i j.
Proof.
  intros [a H] Hj. rewrite weight_moved. unfold row. rewrite (softmax_shift _ _ a).
  replace (exp eta ^ 2) with (b_softmax_ratio eta) by (rewrite ratio_form; ring).
  apply s_ratio; auto. intros k Hk. replace (_ - _) with (query_logit g U i k - a) by ring. auto.
Qed.

Lemma variance_ratio m p p' L f : weights m p -> weights m p' ->
  (forall j, (j < m)%nat -> p' j <= L * p j) ->
  covariance m p' f f <= L * covariance m p f f.
Proof.
  intros W W' H. eapply Rle_trans; [apply (variance_least m p' f (mean m p f) W') |].
  unfold covariance, mean at 1 3, dot. rewrite <- fsum_scale. apply fsum_le. intros j Hj.
  specialize (H j Hj). pose proof (pow2_ge_0 (f j - mean m p f)). fold (mean m p f). nra.
Qed.

Lemma variance_nearby g X U i alpha rho distance f : (0 < key_count g)%nat ->
  (i < query_count g)%nat ->
  row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho -> x_length g U <= distance ->
  covariance (key_count g) (query_weights g (moved X U 1) i) f f
    <= exp (distance * rho * alpha) ^ 2 * covariance (key_count g) (query_weights g X i) f f.
Proof.
  intros Hm Hi HA K D. pose proof (ball_nonneg _ _ _ _ Hm K) as Hrho.
  apply variance_ratio; try (apply weight_weights; auto). intros j Hj. apply weight_ratio; auto.
  destruct (logit_radius g U i rho K) as [a H]. exists a. intros k Hk.
  eapply Rle_trans; [apply H; auto |].
  replace (distance * rho * alpha) with (alpha * distance * rho) by ring.
  apply Rmult_le_compat_r; auto. eapply Rle_trans; [apply (pull_bound g U i alpha HA Hi) |].
  apply Rmult_le_compat_l; [apply HA | auto].
Qed.

Theorem p4_deviation_nearby g X U i d x B alpha rho distance : (0 < key_count g)%nat ->
  (i < query_count g)%nat -> row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho -> x_length g U <= distance ->
  deviation (key_count g) (query_weights g X i) d x <= B ->
  deviation (key_count g) (query_weights g (moved X U 1) i) d x
    <= b_deviation_nearby B alpha rho distance.
Proof.
  intros Hm Hi HA K D H. set (e := exp (distance * rho * alpha)).
  assert (E : 0 < e) by apply exp_pos.
  unfold b_deviation_nearby. fold e. rewrite Rmult_comm.
  apply Rle_trans with (e * deviation (key_count g) (query_weights g X i) d x);
    [| apply Rmult_le_compat_l; lra].
  unfold deviation. rewrite <- (sqrt_pow2 e) by lra. rewrite <- sqrt_mult.
  - apply sqrt_le_1_alt. rewrite <- fsum_scale. apply fsum_le. intros b _.
    apply (variance_nearby g X U i alpha rho distance); auto.
  - apply pow2_ge_0.
  - apply fsum_nonneg. intros b _. apply variance_nonneg, weight_weights. auto.
Qed.

Theorem p4_spread_nearby g X U i d x B alpha rho distance : (0 < key_count g)%nat ->
  (i < query_count g)%nat -> row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho -> x_length g U <= distance ->
  spread (key_count g) (query_weights g X i) d x B ->
  spread (key_count g) (query_weights g (moved X U 1) i) d x
    (b_deviation_nearby B alpha rho distance).
Proof.
  intros Hm Hi HA K D [HB H]. unfold b_deviation_nearby.
  set (e := exp (distance * rho * alpha)). assert (E : 0 < e) by apply exp_pos.
  split; [apply Rmult_le_pos; lra |]. intros z.
  eapply Rle_trans; [apply (variance_nearby g X U i alpha rho distance); auto |]. fold e.
  replace ((B * e * norm d z) ^ 2) with (e ^ 2 * (B * norm d z) ^ 2) by ring.
  apply Rmult_le_compat_l; [apply pow2_ge_0 | auto].
Qed.

(** The trace bounds every direction. *)
Theorem p4_deviation_spread m p d x B : weights m p -> deviation m p d x <= B -> spread m p d x B.
Proof.
  intros W H. assert (D : 0 <= deviation m p d x) by apply sqrt_pos.
  assert (V : 0 <= fsum d (fun b => covariance m p (fun j => x j b) (fun j => x j b)))
    by (apply fsum_nonneg; intros; apply variance_nonneg; auto).
  split; [lra |]. intros z. set (mu := fun b => mean m p (fun j => x j b)).
  apply Rle_trans with (norm d z ^ 2 * deviation m p d x ^ 2).
  - apply Rle_trans with (mean m p (fun j => norm d z ^ 2 * norm d (fun b => x j b - mu b) ^ 2)).
    + unfold covariance. rewrite <- mean_product. fold mu. apply mean_le; auto. intros j _.
      replace (dot d z (x j) - dot d z mu) with (dot d z (fun b => x j b - mu b))
        by (unfold dot; rewrite <- fsum_minus; apply fsum_ext; intros; ring).
      eapply Rle_trans; [| apply dot_square]. right. ring.
    + rewrite mean_scale. right. f_equal. unfold deviation. rewrite pow2_sqrt by auto.
      unfold covariance, mean, dot. rewrite fsum_swap. apply fsum_ext. intros j _.
      rewrite norm_square, <- fsum_scale. apply fsum_ext. intros b _. unfold mu, mean, dot. ring.
  - rewrite Rpow_mult_distr, Rmult_comm. apply Rmult_le_compat_r; [apply pow2_ge_0 |].
    apply pow_incr. lra.
Qed.

(** * Step 3: the third derivative from standard deviations *)

Lemma logit_spread g X U i B :
  spread (key_count g) (query_weights g X i) (key_dimension g) (A2 g) B ->
  covariance (key_count g) (query_weights g X i) (query_logit g U i) (query_logit g U i)
    <= (B * pull g U i) ^ 2.
Proof.
  intros [_ H]. eapply Rle_trans; [| apply (H (times (query_dimension g) (A1 g) U i))].
  right. apply covariance_ext; intros; apply logit_dot.
Qed.

Lemma value_spread g X V i B :
  spread (key_count g) (query_weights g X i) (feature_dimension g) (A3 g) B ->
  spread (key_count g) (query_weights g X i) (outputs g) (key_value g V) (B * y_length g V).
Proof.
  intros [HB H]. split; [apply Rmult_le_pos; auto; apply frobenius_nonneg |]. intros z.
  set (y := fun e => dot (outputs g) z (V e)).
  assert (E : forall j, dot (outputs g) z (key_value g V j) = dot (feature_dimension g) y (A3 g j)).
  { intros j. unfold dot, key_value, y.
    rewrite (fsum_ext (outputs g) _ (fun c => fsum (feature_dimension g)
      (fun e => z c * (A3 g j e * V e c)))) by (intros; now rewrite fsum_scale).
    rewrite fsum_swap. apply fsum_ext. intros e _. unfold dot. rewrite <- fsum_scale_r.
    apply fsum_ext. intros. ring. }
  rewrite (covariance_ext _ _ _ _ _ _ (fun j _ => E j) (fun j _ => E j)).
  eapply Rle_trans; [apply H |]. apply pow_incr.
  split; [apply Rmult_le_pos; auto; apply norm_nonneg |].
  rewrite Rmult_assoc. apply Rmult_le_compat_l; auto. rewrite Rmult_comm. unfold y_length.
  rewrite frobenius_columns.
  apply (times_row (outputs g) (feature_dimension g) (fun _ => z) (fun c e => V e c) 0).
Qed.

Lemma constants_of_deviations g X Y U V rho r r' sd_key sd_value sd_speed : (0 < key_count g)%nat ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  in_ball (key_count g) (outputs g) (key_value g V) r' ->
  0 <= sd_key -> 0 <= sd_value -> 0 <= sd_speed ->
  (forall i, (i < query_count g)%nat ->
    spread (key_count g) (query_weights g X i) (key_dimension g) (A2 g) sd_key /\
    spread (key_count g) (query_weights g X i) (outputs g) (key_value g Y) sd_value /\
    spread (key_count g) (query_weights g X i) (outputs g) (key_value g V) sd_speed) ->
  row_constants g X Y U V (sd_key * sd_value) (sd_key * sd_speed) (sd_key ^ 2 * (2 * r))
    (sd_key ^ 2 * (2 * r')) (sd_key ^ 2 * (4 * rho * r + 3 * (sd_key * sd_value))).
Proof.
  intros Hm K H H' Pk Pv Ps HS.
  pose proof (ball_nonneg _ _ _ _ Hm K). pose proof (ball_nonneg _ _ _ _ Hm H).
  pose proof (ball_nonneg _ _ _ _ Hm H'). pose proof (pow2_ge_0 sd_key).
  assert (Q : forall a b, 0 <= a -> 0 <= b -> 0 <= sd_key ^ 2 * (4 * rho * a + 3 * (sd_key * b))).
  { intros a b Ha Hb. assert (0 <= rho * a) by (apply Rmult_le_pos; auto).
    assert (0 <= sd_key * b) by (apply Rmult_le_pos; auto). apply Rmult_le_pos; lra. }
  split; [repeat split; auto; repeat apply Rmult_le_pos; lra |]. intros i Hi p s u.
  destruct (HS i Hi) as (Sk & [_ Sv] & [_ Ss]).
  pose proof (weight_weights g X i Hm) as W. pose proof (logit_radius g U i rho K) as L.
  pose proof (logit_spread g X U i sd_key Sk) as VS. pose proof (pull_nonneg g U i) as U0.
  fold u in L, VS, U0.
  assert (Pu : 0 <= sd_key * u) by (apply Rmult_le_pos; auto).
  pose proof (pow2_ge_0 u). pose proof (pow_le u 3 U0).
  repeat split.
  - apply covariance_norm; auto; [repeat apply Rmult_le_pos; auto |]. intros z.
    replace (_ * norm _ z) with (sd_key * u * (sd_value * norm (outputs g) z)) by ring.
    apply covariance_deviations; auto. apply Rmult_le_pos; auto using norm_nonneg.
  - apply covariance_norm; auto; [repeat apply Rmult_le_pos; auto |]. intros z.
    replace (_ * norm _ z) with (sd_key * u * (sd_speed * norm (outputs g) z)) by ring.
    apply covariance_deviations; auto. apply Rmult_le_pos; auto using norm_nonneg.
  - apply third_norm; auto; [repeat apply Rmult_le_pos; lra |]. intros z.
    replace (_ * norm _ z) with ((sd_key * u) ^ 2 * (2 * (norm (outputs g) z * r))) by ring.
    apply third_deviations; auto. apply ball_product. auto.
  - apply third_norm; auto; [repeat apply Rmult_le_pos; lra |]. intros z.
    replace (_ * norm _ z) with ((sd_key * u) ^ 2 * (2 * (norm (outputs g) z * r'))) by ring.
    apply third_deviations; auto. apply ball_product. auto.
  - apply fourth_norm; auto; [apply Rmult_le_pos; auto |]. intros z.
    replace (_ * norm _ z) with ((sd_key * u) ^ 2 * (4 * (u * rho) * (norm (outputs g) z * r)
      + 3 * (sd_key * u * (sd_value * norm (outputs g) z)))) by ring.
    apply fourth_deviations; auto.
    + apply ball_product. auto.
    + apply Rmult_le_pos; auto using norm_nonneg.
Qed.

Theorem p4_local_lipschitz g X Y U V sigma alpha rho r r3 M most sd_key sd_value sd_feature :
  (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 ->
  spectral_bound (query_count g) (feature_dimension g) (mean_feature g X) M ->
  row_bound (query_count g) (outputs g) (residual g X Y) most ->
  0 <= sd_key -> 0 <= sd_value -> 0 <= sd_feature ->
  (forall i, (i < query_count g)%nat ->
    spread (key_count g) (query_weights g X i) (key_dimension g) (A2 g) sd_key /\
    spread (key_count g) (query_weights g X i) (outputs g) (key_value g Y) sd_value /\
    spread (key_count g) (query_weights g X i) (feature_dimension g) (A3 g) sd_feature) ->
  Rabs (Derive_n (loss_along g X Y U V) 3 0)
    <= b_local_lipschitz sigma alpha rho r r3 M most sd_key sd_value sd_feature
      * step_length g U V ^ 3.
Proof.
  intros Hm HS HA K H F HM Hr Pk Pv Pf HSpread.
  assert (C := constants_of_deviations g X Y U V rho r _ sd_key sd_value (sd_feature * y_length g V)
    Hm K H (value_ball g V r3 Hm F) Pk Pv (Rmult_le_pos _ _ Pf (frobenius_nonneg _ _ V))
    (fun i Hi => conj (proj1 (HSpread i Hi)) (conj (proj1 (proj2 (HSpread i Hi)))
      (value_spread g X V i sd_feature (proj2 (proj2 (HSpread i Hi))))))).
  eapply Rle_trans; [apply (third_derivative_bound g X Y U V _ _ _ _ _ (sigma * x_length g U)
    (M * y_length g V) most (alpha * x_length g U) Hm C Hr) |].
  - apply Rmult_le_pos; [apply HA | apply frobenius_nonneg].
  - intros i Hi. apply pull_bound; auto.
  - apply (pulls g U sigma HS).
  - apply (drifts g X V M HM).
  - replace (b_local_lipschitz sigma alpha rho r r3 M most sd_key sd_value sd_feature) with
      (sqrt ((sigma ^ 2 * alpha * sd_key ^ 2 * (6 * sd_key * sd_value * r
          + most * (4 * rho * r + 3 * sd_key * sd_value))) ^ 2
        + (6 * sigma * sd_key ^ 2
          * (sigma * sd_value * sd_feature + alpha * r * M + sigma * most * r3)) ^ 2 / 3
        + (6 * sigma * sd_key * sd_feature * M) ^ 2 / 3)).
    + eapply Rle_trans; [| apply cubic_form]. right. field.
    + unfold b_local_lipschitz. f_equal. field.
Qed.
