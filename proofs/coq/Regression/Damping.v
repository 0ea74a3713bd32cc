(** What makes the Hessian of attention regression semidefinite (claim P4.psd).

    With c_j = <r_i, h_j> a row adds |velocity|^2 + k3(s, s, c) + 2 <r_i, Cov(s, k)> to the second
    derivative, k_j = V^T a3_j.  Steps: (1) k3(s, s, c) = E (s - E s)^2 (c - E c) is at least
    - e Var(s), where e is how far some c_j is below the mean; (2) Var(s) is at most
    (|U^T a_i| rho)^2, and at most half the sum of s_j^2; (3) the form a x^2 + 2 b x y is at most
    (a + sqrt (a^2 + 4 b^2)) / 2 times x^2 + y^2. *)

Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Regression Require Import Cumulants Regression Curvature.
Open Scope R_scope.

(** c_ij *)
Definition residual_slope (g : regression) (X Y : nat -> nat -> R) (i j : nat) : R :=
  dot (outputs g) (residual g X Y i) (key_value g Y j).

(** No c_ij is further below its row's mean than e. *)
Definition shortfall_bound (g : regression) (X Y : nat -> nat -> R) (e : R) : Prop :=
  0 <= e /\ forall i j, (i < query_count g)%nat -> (j < key_count g)%nat ->
    mean (key_count g) (query_weights g X i) (residual_slope g X Y i) - residual_slope g X Y i j
      <= e.

(** The variance of the speeds of row i's logits. *)
Definition logit_variance (g : regression) (X U : nat -> nat -> R) (i : nat) : R :=
  covariance (key_count g) (query_weights g X i) (query_logit g U i) (query_logit g U i).

(** What the residual adds to the second derivative along U. *)
Definition residual_curvature (g : regression) (X Y U : nat -> nat -> R) : R :=
  fsum (query_count g) (fun i =>
    third_cumulant (key_count g) (query_weights g X i) (query_logit g U i)
      (residual_slope g X Y i)).

(** * Steps 1 and 2: one row *)

Lemma third_above m p s h e : weights m p ->
  (forall j, (j < m)%nat -> mean m p h - h j <= e) ->
  - (e * covariance m p s s) <= third_cumulant m p s h.
Proof.
  intros W H. unfold third_cumulant, covariance. rewrite Ropp_mult_distr_l, <- mean_scale.
  apply mean_le; auto. intros j Hj. specialize (H j Hj).
  pose proof (pow2_ge_0 (s j - mean m p s)). nra.
Qed.

(** Twice the variance is E E (s_j - s_k)^2 = 4 E s^2 - E E (s_j + s_k)^2, and of the last sum the
    terms with j = k alone are 4 sum p_j^2 s_j^2; p_j - p_j^2 <= 1/4. *)
Lemma variance_half m p s : weights m p ->
  covariance m p s s <= fsum m (fun j => s j ^ 2) / 2.
Proof.
  intros W. pose proof (proj1 W) as P.
  assert (E : fsum m (fun j => fsum m (fun k => p j * p k * (s j + s k) ^ 2))
    = 2 * mean m p (fun j => s j ^ 2) + 2 * mean m p s ^ 2).
  { transitivity (mean m p (fun j => mean m p (fun k => s j ^ 2 + (2 * s j * s k + s k ^ 2)))).
    - apply fsum_ext. intros j _. unfold mean, dot. rewrite <- fsum_scale.
      apply fsum_ext. intros. ring.
    - rewrite (mean_ext m p _ (fun j => s j ^ 2 + (2 * mean m p s * s j
        + mean m p (fun k => s k ^ 2)))).
      + rewrite !mean_plus, mean_scale, mean_const by auto. ring.
      + intros j _. rewrite !mean_plus, mean_scale, mean_const by auto. ring. }
  assert (D : 4 * fsum m (fun j => p j ^ 2 * s j ^ 2)
    <= fsum m (fun j => fsum m (fun k => p j * p k * (s j + s k) ^ 2))).
  { rewrite <- fsum_scale. apply fsum_le. intros j Hj.
    eapply Rle_trans; [| apply (fsum_term m (fun k => p j * p k * (s j + s k) ^ 2) j); auto].
    - right. ring.
    - intros k Hk. apply Rmult_le_pos; [apply Rmult_le_pos; auto | apply pow2_ge_0]. }
  assert (Q : 2 * mean m p (fun j => s j ^ 2) - 2 * fsum m (fun j => p j ^ 2 * s j ^ 2)
    <= fsum m (fun j => s j ^ 2) / 2).
  { unfold mean, dot. rewrite <- !fsum_scale, <- fsum_minus, <- fsum_div. apply fsum_le.
    intros j _. pose proof (Rmult_le_pos _ _ (pow2_ge_0 (p j - 1 / 2)) (pow2_ge_0 (s j))). nra. }
  replace (covariance m p s s) with (mean m p (fun j => s j ^ 2) - mean m p s ^ 2); [lra |].
  rewrite (covariance_left m p s s 0 W).
  rewrite (mean_ext m p (fun j => (s j - 0) * (s j - mean m p s))
    (fun j => s j ^ 2 - mean m p s * s j)) by (intros; ring).
  rewrite mean_minus, mean_scale. ring.
Qed.

Lemma slope_cumulant g X Y U i : (0 < key_count g)%nat ->
  dot (outputs g) (residual g X Y i) (fun c =>
    third_cumulant (key_count g) (query_weights g X i) (query_logit g U i)
      (fun j => key_value g Y j c))
  = third_cumulant (key_count g) (query_weights g X i) (query_logit g U i) (residual_slope g X Y i).
Proof.
  intros Hm. pose proof (weight_weights g X i Hm) as W. rewrite third_is_covariance by auto.
  unfold residual_slope. rewrite <- covariance_product by auto. apply fsum_ext. intros c _.
  now rewrite third_is_covariance.
Qed.

(** * Sums over rows *)

Lemma residual_curvature_above g X Y U e : (0 < key_count g)%nat -> shortfall_bound g X Y e ->
  - (e * fsum (query_count g) (logit_variance g X U)) <= residual_curvature g X Y U.
Proof.
  intros Hm [He H]. rewrite Ropp_mult_distr_l, <- fsum_scale. apply fsum_le. intros i Hi.
  rewrite <- Ropp_mult_distr_l. apply third_above; auto. apply weight_weights. auto.
Qed.

Lemma variances g X U rho A : (0 < key_count g)%nat ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho -> norm (query_count g) (pull g U) <= A ->
  fsum (query_count g) (logit_variance g X U) <= (A * rho) ^ 2.
Proof.
  intros Hm K HA. apply Rle_trans with (rho ^ 2 * fsum (query_count g) (fun i => pull g U i ^ 2)).
  - rewrite <- fsum_scale. apply fsum_le. intros i _.
    eapply Rle_trans; [apply (variance_radius _ _ _ _ (weight_weights g X i Hm)
      (logit_radius g U i rho K)) |]. right. ring.
  - replace ((A * rho) ^ 2) with (rho ^ 2 * A ^ 2) by ring.
    apply Rmult_le_compat_l; [apply pow2_ge_0 | apply squares_le; auto].
Qed.

(** The squares of velocities only add. *)
Lemma second_derivative_above g X Y U V c c' t t' q e rho A R : (0 < key_count g)%nat ->
  row_constants g X Y U V c c' t t' q -> shortfall_bound g X Y e ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  norm (query_count g) (pull g U) <= A ->
  frobenius (query_count g) (outputs g) (residual g X Y) <= R ->
  - (e * (A * rho) ^ 2 + 2 * c' * (A * R)) <= Derive_n (loss_along g X Y U V) 2 0.
Proof.
  intros Hm C HE K HA HR. pose proof (proj1 C) as (_ & Hc' & _).
  rewrite second_derivative_rows by auto.
  apply Rle_trans with (residual_curvature g X Y U
    - 2 * c' * dot (query_count g) (pull g U) (residual_length g X Y)).
  - pose proof (residual_curvature_above g X Y U e Hm HE).
    assert (e * fsum (query_count g) (logit_variance g X U) <= e * (A * rho) ^ 2)
      by (apply Rmult_le_compat_l; [apply HE | apply variances; auto]).
    assert (c' * dot (query_count g) (pull g U) (residual_length g X Y) <= c' * (A * R))
      by (apply Rmult_le_compat_l; auto; apply dot_le; auto). lra.
  - unfold residual_curvature, dot at 1. rewrite <- fsum_scale, <- fsum_minus. apply fsum_le.
    intros i Hi. rewrite <- slope_cumulant by auto.
    pose proof (pow2_ge_0 (norm (outputs g) (velocity g X Y U V i))).
    set (k := fun c => covariance (key_count g) (query_weights g X i) (query_logit g U i)
      (fun j => key_value g V j c)).
    assert (B : Rabs (dot (outputs g) (residual g X Y i) k)
      <= residual_length g X Y i * (c' * pull g U i)).
    { eapply Rle_trans; [apply dot_norm |]. apply Rmult_le_compat_l; [apply norm_nonneg |].
      apply (proj2 C i Hi). }
    apply Rabs_bounds in B.
    replace (dot (outputs g) (residual g X Y i) (acceleration g X Y U V i)) with
      (dot (outputs g) (residual g X Y i) (fun c =>
        third_cumulant (key_count g) (query_weights g X i) (query_logit g U i)
          (fun j => key_value g Y j c))
        + 2 * dot (outputs g) (residual g X Y i) k); [lra |].
    unfold dot. rewrite <- fsum_scale, <- fsum_plus. apply fsum_ext. intros.
    unfold acceleration, k. ring.
Qed.

(** * P4.psd *)

Lemma value_ball_exists g Y : exists r, in_ball (key_count g) (outputs g) (key_value g Y) r.
Proof.
  exists (fsum (key_count g) (fun j => norm (outputs g) (key_value g Y j))), (fun _ => 0).
  intros j Hj.
  rewrite (norm_ext _ _ (key_value g Y j)) by (intros; ring).
  apply (fsum_term (key_count g) (fun j => norm (outputs g) (key_value g Y j))); auto.
  intros. apply norm_nonneg.
Qed.

Theorem p4_damping_x g X Y U sigma rho e : (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho -> shortfall_bound g X Y e ->
  - Derive_n (loss_along g X Y U no_direction) 2 0 <= b_damping_x sigma rho e * x_length g U ^ 2.
Proof.
  intros Hm HS K HE. destruct (value_ball_exists g Y) as [r H].
  pose proof (second_derivative_above g X Y U no_direction _ _ _ _ _ e rho _ _ Hm
    (constants_of_radii g X Y U no_direction rho r 0 Hm K H (no_value_ball g)) HE K
    (pulls g U sigma HS) (Rle_refl _)) as L.
  unfold b_damping_x. nra.
Qed.

(** Step 3. *)
Lemma form_below a b x y : 0 <= a ->
  a * x ^ 2 + 2 * b * (x * y) <= (a + sqrt (a ^ 2 + 4 * b ^ 2)) / 2 * (x ^ 2 + y ^ 2).
Proof.
  intros Ha. set (root := sqrt (a ^ 2 + 4 * b ^ 2)). pose proof (pow2_ge_0 b).
  assert (R2 : root ^ 2 = a ^ 2 + 4 * b ^ 2) by (apply pow2_sqrt; nra).
  assert (R0 : a <= root) by (apply square_le; [apply sqrt_pos | lra]).
  destruct (Req_dec root 0) as [Z | Z].
  - assert (a = 0) by lra. assert (b = 0) by nra. nra.
  - assert (Q : 0 <= (b * x - (a + root) / 2 * y) ^ 2) by apply pow2_ge_0.
    apply Rmult_le_reg_l with ((a + root) / 2); [lra |].
    (* (root + a) (root - a) = 4 b^2 *)
    assert (B : b ^ 2 = (root - a) / 2 * ((a + root) / 2)) by lra.
    replace ((b * x - (a + root) / 2 * y) ^ 2) with (b ^ 2 * x ^ 2
      - 2 * b * ((a + root) / 2) * (x * y) + ((a + root) / 2) ^ 2 * y ^ 2) in Q by ring.
    rewrite B in Q. lra.
Qed.

Theorem p4_damping g X Y U V sigma rho r3 whole e : (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 ->
  frobenius (query_count g) (outputs g) (residual g X Y) <= whole -> shortfall_bound g X Y e ->
  - Derive_n (loss_along g X Y U V) 2 0 <= b_damping sigma rho r3 whole e * step_length g U V ^ 2.
Proof.
  intros Hm HS K F HR HE. destruct (value_ball_exists g Y) as [r H].
  pose proof (second_derivative_above g X Y U V _ _ _ _ _ e rho _ whole Hm
    (constants_of_radii g X Y U V rho r _ Hm K H (value_ball g V r3 Hm F)) HE K
    (pulls g U sigma HS) HR) as L.
  rewrite length_square.
  replace (b_damping sigma rho r3 whole e) with ((e * rho ^ 2 * sigma ^ 2
    + sqrt ((e * rho ^ 2 * sigma ^ 2) ^ 2 + 4 * (sigma * rho * r3 * whole) ^ 2)) / 2).
  - eapply Rle_trans; [| apply form_below].
    + apply Ropp_le_cancel. rewrite Ropp_involutive. eapply Rle_trans; [| apply L]. right. ring.
    + apply Rmult_le_pos; [apply Rmult_le_pos |]; try apply pow2_ge_0. apply HE.
  - unfold b_damping.
    replace ((e * rho ^ 2 * sigma ^ 2) ^ 2 + 4 * (sigma * rho * r3 * whole) ^ 2) with
      (rho ^ 4 * e ^ 2 * sigma ^ 4 + 4 * r3 ^ 2 * rho ^ 2 * whole ^ 2 * sigma ^ 2) by ring. field.
Qed.

Theorem p4_regulariser_weight g X Y U e : (0 < key_count g)%nat -> shortfall_bound g X Y e ->
  - residual_curvature g X Y U <= b_regulariser_weight e
    * fsum (query_count g) (fun i => fsum (key_count g) (fun j => query_logit g U i j ^ 2)).
Proof.
  intros Hm HE. apply Ropp_le_cancel. rewrite Ropp_involutive.
  eapply Rle_trans; [| apply (residual_curvature_above g X Y U e Hm HE)].
  apply Ropp_le_contravar. unfold b_regulariser_weight.
  replace (e / 2 * _) with (e * (fsum (query_count g) (fun i => fsum (key_count g)
    (fun j => query_logit g U i j ^ 2)) / 2)) by field.
  apply Rmult_le_compat_l; [apply HE |]. rewrite <- fsum_div. apply fsum_le. intros i _.
  apply variance_half, weight_weights. auto.
Qed.

(** w^2 |(A1 x A2) x|^2 / 2 has the second derivative w^2 sum (A1 U A2^T)_ij^2 along U. *)
Theorem p4_regulariser_convex g X Y U e : (0 < key_count g)%nat -> shortfall_bound g X Y e ->
  0 <= Derive_n (loss_along g X Y U no_direction) 2 0 + b_regulariser_weight e
    * fsum (query_count g) (fun i => fsum (key_count g) (fun j => query_logit g U i j ^ 2)).
Proof.
  intros Hm HE. pose proof (p4_regulariser_weight g X Y U e Hm HE).
  enough (residual_curvature g X Y U <= Derive_n (loss_along g X Y U no_direction) 2 0) by lra.
  rewrite second_derivative_rows by auto. apply fsum_le. intros i _.
  rewrite <- slope_cumulant by auto.
  pose proof (pow2_ge_0 (norm (outputs g) (velocity g X Y U no_direction i))).
  replace (dot (outputs g) (residual g X Y i) (acceleration g X Y U no_direction i)) with
    (dot (outputs g) (residual g X Y i) (fun c =>
      third_cumulant (key_count g) (query_weights g X i) (query_logit g U i)
        (fun j => key_value g Y j c))); [lra |].
  apply fsum_ext. intros c _. f_equal. unfold acceleration. unfold covariance.
  rewrite (mean_ext _ _ (fun j => _ * (key_value g no_direction j c - _)) (fun _ => 0)).
  - rewrite mean_const by (apply weight_weights; auto). ring.
  - intros j _. assert (Z : forall j, key_value g no_direction j c = 0)
      by (intros; apply fsum_zero; intros; unfold no_direction; ring).
    rewrite (mean_ext _ _ (fun j => key_value g no_direction j c) (fun _ => 0)) by auto.
    rewrite mean_const, Z by (apply weight_weights; auto). ring.
Qed.
