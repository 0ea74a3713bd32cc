(** How large the derivatives of attention regression get (claim P4.lipschitz).

    Steps: (1) U^T a_i is of length |a_i| |U| at most, and the squares of these lengths add up to
    at most (|A1| |U|)^2; row i's logits move at speeds within |U^T a_i| rho of a number, its values
    at speeds in a ball of radius rho_3 |V|; (2) a row's cumulants are as large as Cumulants.v says,
    from radii here, from standard deviations in Nearby.v; (3) the sums over rows, by Cauchy and
    Schwarz, are forms in x = |U| and y = |V|; (4) a form sum c_k x^(p-k) y^k is at most
    (sum c_k^2 / binomial (p, k))^(1/2) (x^2 + y^2)^(p/2), for the same reason.  Two keys attain
    the bounds of the second derivative where no residual is left. *)

Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Regression Require Import Cumulants Regression.
Open Scope R_scope.

(** * Matrices *)

(** The spectral norm of the n x d matrix A is at most sigma. *)
Definition spectral_bound (n d : nat) (A : nat -> nat -> R) (sigma : R) : Prop :=
  0 <= sigma /\ forall w, norm n (fun i => dot d (A i) w) <= sigma * norm d w.

(** No row of A is longer than r. *)
Definition row_bound (n d : nat) (A : nat -> nat -> R) (r : R) : Prop :=
  0 <= r /\ forall i, (i < n)%nat -> norm d (A i) <= r.

(** Row i of A W, with d columns in A. *)
Definition times (d : nat) (A W : nat -> nat -> R) (i b : nat) : R :=
  fsum d (fun a => A i a * W a b).

(** So a bound of the Frobenius norm will do where one of the spectral norm is asked for. *)
Theorem p4_frobenius_spectral n d A sigma : frobenius n d A <= sigma -> spectral_bound n d A sigma.
Proof.
  intros H. pose proof (frobenius_nonneg n d A). split; [lra |]. intros w.
  eapply Rle_trans; [apply frobenius_image |].
  apply Rmult_le_compat_r; [apply norm_nonneg | auto].
Qed.

(** |U^T a_i| <= |a_i| |U| *)
Lemma times_row d k A W i : norm k (times d A W i) <= norm d (A i) * frobenius d k W.
Proof.
  rewrite frobenius_columns. unfold frobenius. rewrite <- norm_scale_nonneg by apply norm_nonneg.
  apply square_le; [apply norm_nonneg |]. rewrite !norm_square. apply fsum_le. intros b _.
  rewrite <- (pow2_abs (times d A W i b)). apply pow_incr. split; [apply Rabs_pos |].
  apply (dot_norm d (A i) (fun a => W a b)).
Qed.

(** The squares of |U^T a_i| add up to at most (sigma |U|)^2. *)
Lemma times_rows n d k A W sigma : spectral_bound n d A sigma ->
  norm n (fun i => norm k (times d A W i)) <= sigma * frobenius d k W.
Proof.
  intros [HS H]. rewrite (frobenius_columns d k W). fold (frobenius n k (times d A W)).
  rewrite frobenius_columns. unfold frobenius. rewrite <- norm_scale_nonneg by auto.
  apply norm_monotone. intros b _. split; [apply norm_nonneg | apply (H (fun a => W a b))].
Qed.

Lemma times_ball m d k A W r : (0 < m)%nat -> in_ball m d A r ->
  in_ball m k (times d A W) (r * frobenius d k W).
Proof.
  intros Hm [a H]. exists (times d (fun _ => a) W 0). intros j Hj.
  rewrite (norm_ext k _ (times d (fun j e => A j e - a e) W j)).
  - eapply Rle_trans; [apply times_row |].
    apply Rmult_le_compat_r; [apply frobenius_nonneg | apply (H j Hj)].
  - intros c _. unfold times. rewrite <- fsum_minus. apply fsum_ext. intros. ring.
Qed.

Definition no_direction (a b : nat) : R := 0.

(** * Step 1: how fast a row moves *)

(** |U^T a_i| *)
Definition pull (g : regression) (U : nat -> nat -> R) (i : nat) : R :=
  norm (key_dimension g) (times (query_dimension g) (A1 g) U i).

(** (P A3)_ie *)
Definition mean_feature (g : regression) (X : nat -> nat -> R) (i e : nat) : R :=
  mean (key_count g) (query_weights g X i) (fun j => A3 g j e).

(** The mean of a row's values V^T a3_j. *)
Definition drift (g : regression) (X V : nat -> nat -> R) (i : nat) : R :=
  norm (outputs g) (fun c => mean (key_count g) (query_weights g X i) (fun j => key_value g V j c)).

(** The lengths of U, of V and of both. *)
Definition x_length (g : regression) (U : nat -> nat -> R) : R :=
  frobenius (query_dimension g) (key_dimension g) U.
Definition y_length (g : regression) (V : nat -> nat -> R) : R :=
  frobenius (feature_dimension g) (outputs g) V.
Definition step_length (g : regression) (U V : nat -> nat -> R) : R :=
  sqrt (x_length g U ^ 2 + y_length g V ^ 2).

Lemma logit_dot g U i j :
  query_logit g U i j = dot (key_dimension g) (times (query_dimension g) (A1 g) U i) (A2 g j).
Proof.
  unfold query_logit. rewrite fsum_swap. apply fsum_ext. intros b _. unfold times.
  rewrite <- fsum_scale_r. reflexivity.
Qed.

Lemma logit_radius g U i rho : in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  within_radius (key_count g) (query_logit g U i) (pull g U i * rho).
Proof.
  intros H. destruct (ball_product _ _ _ _ (times (query_dimension g) (A1 g) U i) H) as [a Ha].
  exists a. intros j Hj. rewrite logit_dot. auto.
Qed.

Lemma value_ball g V r : (0 < key_count g)%nat ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r ->
  in_ball (key_count g) (outputs g) (key_value g V) (r * y_length g V).
Proof. intros Hm H. apply (times_ball (key_count g) (feature_dimension g)); auto. Qed.

Lemma drift_times g X V i :
  drift g X V i = norm (outputs g) (times (feature_dimension g) (mean_feature g X) V i).
Proof.
  apply norm_ext. intros c _. unfold times, mean_feature, key_value, mean, dot.
  rewrite (fsum_ext (key_count g) _ (fun j => fsum (feature_dimension g)
    (fun e => query_weights g X i j * (A3 g j e * V e c)))) by (intros; now rewrite fsum_scale).
  rewrite fsum_swap. apply fsum_ext. intros e _. rewrite <- fsum_scale_r.
  apply fsum_ext. intros. ring.
Qed.

Lemma pulls g U sigma : spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  norm (query_count g) (pull g U) <= sigma * x_length g U.
Proof. apply times_rows. Qed.

Lemma drifts g X V M : spectral_bound (query_count g) (feature_dimension g) (mean_feature g X) M ->
  norm (query_count g) (drift g X V) <= M * y_length g V.
Proof.
  intros H. rewrite (norm_ext _ _ _ (fun i _ => drift_times g X V i)). apply times_rows. auto.
Qed.

Lemma pull_bound g U i alpha : row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  (i < query_count g)%nat -> pull g U i <= alpha * x_length g U.
Proof.
  intros [_ H] Hi. eapply Rle_trans; [apply times_row |].
  apply Rmult_le_compat_r; [apply frobenius_nonneg | auto].
Qed.

Lemma pull_nonneg g U i : 0 <= pull g U i.
Proof. apply norm_nonneg. Qed.

Lemma drift_nonneg g X V i : 0 <= drift g X V i.
Proof. apply norm_nonneg. Qed.

(** * Step 2: a row's cumulants *)

(** With h the values, k the speeds V^T a3_j of the values, s those of the logits, u = |U^T a_i|:
    |Cov(s, h)| <= c u, |Cov(s, k)| <= c' u, |k3(s, s, h)| <= t u^2, |k3(s, s, k)| <= t' u^2,
    |k4(s, s, s, h)| <= q u^3. *)
Definition row_constants (g : regression) (X Y U V : nat -> nat -> R) (c c' t t' q : R) : Prop :=
  (0 <= c /\ 0 <= c' /\ 0 <= t /\ 0 <= t' /\ 0 <= q) /\
  forall i, (i < query_count g)%nat ->
    let p := query_weights g X i in let s := query_logit g U i in let u := pull g U i in
    norm (outputs g) (fun k => covariance (key_count g) p s (fun j => key_value g Y j k))
      <= c * u /\
    norm (outputs g) (fun k => covariance (key_count g) p s (fun j => key_value g V j k))
      <= c' * u /\
    norm (outputs g) (fun k => third_cumulant (key_count g) p s (fun j => key_value g Y j k))
      <= t * u ^ 2 /\
    norm (outputs g) (fun k => third_cumulant (key_count g) p s (fun j => key_value g V j k))
      <= t' * u ^ 2 /\
    norm (outputs g) (fun k => fourth_cumulant (key_count g) p s (fun j => key_value g Y j k))
      <= q * u ^ 3.

Lemma constants_of_radii g X Y U V rho r r' : (0 < key_count g)%nat ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  in_ball (key_count g) (outputs g) (key_value g V) r' ->
  row_constants g X Y U V (rho * r) (rho * r') (4 * sqrt 3 / 9 * (rho ^ 2 * r))
    (4 * sqrt 3 / 9 * (rho ^ 2 * r')) (2 * (rho ^ 3 * r)).
Proof.
  intros Hm K H H'.
  pose proof (ball_nonneg _ _ _ _ Hm K). pose proof (ball_nonneg _ _ _ _ Hm H).
  pose proof (ball_nonneg _ _ _ _ Hm H'). pose proof (sqrt_pos 3).
  pose proof (pow2_ge_0 rho). pose proof (pow_le rho 3 ltac:(auto)).
  split; [repeat split; repeat apply Rmult_le_pos; lra |]. intros i Hi p s u.
  pose proof (weight_weights g X i Hm) as W. pose proof (logit_radius g U i rho K) as L.
  repeat split.
  - eapply Rle_trans; [apply (p4_second_cumulant_of_vectors _ _ _ _ _ _ _ W L H) |].
    right. unfold b_second_cumulant, u. ring.
  - eapply Rle_trans; [apply (p4_second_cumulant_of_vectors _ _ _ _ _ _ _ W L H') |].
    right. unfold b_second_cumulant, u. ring.
  - eapply Rle_trans; [apply (p4_third_cumulant_of_vectors _ _ _ _ _ _ _ W L H) |].
    right. rewrite third_form. unfold u. ring.
  - eapply Rle_trans; [apply (p4_third_cumulant_of_vectors _ _ _ _ _ _ _ W L H') |].
    right. rewrite third_form. unfold u. ring.
  - eapply Rle_trans; [apply (p4_fourth_cumulant_of_vectors _ _ _ _ _ _ _ W L H) |].
    right. unfold b_fourth_cumulant, u. ring.
Qed.

Section Rows.

Variables (g : regression) (X Y U V : nat -> nat -> R) (c c' t t' q : R).
Hypothesis HC : row_constants g X Y U V c c' t t' q.

Lemma velocity_norm i : (i < query_count g)%nat ->
  norm (outputs g) (velocity g X Y U V i) <= c * pull g U i + drift g X V i.
Proof.
  intros Hi. destruct (proj2 HC i Hi) as (H & _). eapply Rle_trans; [apply norm_triangle |].
  apply Rplus_le_compat_r. auto.
Qed.

Lemma acceleration_norm i : (i < query_count g)%nat ->
  norm (outputs g) (acceleration g X Y U V i) <= t * pull g U i ^ 2 + 2 * c' * pull g U i.
Proof.
  intros Hi. destruct (proj2 HC i Hi) as (_ & H & H' & _).
  eapply Rle_trans; [apply norm_triangle |]. rewrite norm_scale_nonneg by lra. lra.
Qed.

Lemma jerk_norm i : (i < query_count g)%nat ->
  norm (outputs g) (jerk g X Y U V i) <= q * pull g U i ^ 3 + 3 * t' * pull g U i ^ 2.
Proof.
  intros Hi. destruct (proj2 HC i Hi) as (_ & _ & _ & H & H').
  eapply Rle_trans; [apply norm_triangle |]. rewrite norm_scale_nonneg by lra. lra.
Qed.

End Rows.

(** * Step 3: sums over rows *)

(** u, w, r are the rows' pulls, drifts and residuals. *)
Lemma second_sum n u w r c c' t A W R most : 0 <= c -> 0 <= c' -> 0 <= t -> 0 <= most ->
  (forall i, (i < n)%nat -> 0 <= r i <= most) ->
  norm n u <= A -> norm n w <= W -> norm n r <= R ->
  fsum n (fun i => (c * u i + w i) ^ 2 + r i * (t * u i ^ 2 + 2 * c' * u i))
    <= (c ^ 2 + t * most) * A ^ 2 + 2 * A * (c * W + c' * R) + W ^ 2.
Proof.
  intros Hc Hc' Ht Hm Hr HA HW HR.
  apply Rle_trans with ((c ^ 2 + t * most) * fsum n (fun i => u i ^ 2) + 2 * c * dot n u w
    + 2 * c' * dot n u r + fsum n (fun i => w i ^ 2)).
  - unfold dot. rewrite <- !fsum_scale, <- !fsum_plus. apply fsum_le. intros i Hi.
    assert (0 <= t * u i ^ 2) by (apply Rmult_le_pos; auto; apply pow2_ge_0).
    pose proof (Hr i Hi). nra.
  - pose proof (squares_le n u A HA). pose proof (squares_le n w W HW).
    assert (0 <= c ^ 2 + t * most)
      by (apply Rplus_le_le_0_compat; [apply pow2_ge_0 | apply Rmult_le_pos; auto]).
    assert ((c ^ 2 + t * most) * fsum n (fun i => u i ^ 2) <= (c ^ 2 + t * most) * A ^ 2)
      by (apply Rmult_le_compat_l; auto).
    assert (c * dot n u w <= c * (A * W)) by (apply Rmult_le_compat_l; auto; apply dot_le; auto).
    assert (c' * dot n u r <= c' * (A * R)) by (apply Rmult_le_compat_l; auto; apply dot_le; auto).
    lra.
Qed.

Lemma third_sum n u w r c c' t t' q A W most top : 0 <= c -> 0 <= c' -> 0 <= t -> 0 <= t' ->
  0 <= q ->
  0 <= most -> 0 <= top -> (forall i, (i < n)%nat -> 0 <= r i <= most) ->
  (forall i, (i < n)%nat -> 0 <= u i <= top) -> (forall i, (i < n)%nat -> 0 <= w i) ->
  norm n u <= A -> norm n w <= W ->
  fsum n (fun i => 3 * ((c * u i + w i) * (t * u i ^ 2 + 2 * c' * u i))
      + r i * (q * u i ^ 3 + 3 * t' * u i ^ 2))
    <= (3 * c * t + q * most) * top * A ^ 2 + (6 * c * c' + 3 * t' * most) * A ^ 2
      + (3 * t * top + 6 * c') * (A * W).
Proof.
  intros Hc Hc' Ht Ht' Hq Hm Htop Hr Hu Hw HA HW.
  set (k := (3 * c * t + q * most) * top + (6 * c * c' + 3 * t' * most)).
  set (l := 3 * t * top + 6 * c').
  assert (K : 0 <= k).
  { unfold k. assert (0 <= c * t) by (apply Rmult_le_pos; auto).
    assert (0 <= q * most) by (apply Rmult_le_pos; auto).
    assert (0 <= c * c') by (apply Rmult_le_pos; auto).
    assert (0 <= t' * most) by (apply Rmult_le_pos; auto).
    assert (0 <= (3 * c * t + q * most) * top) by (apply Rmult_le_pos; lra). lra. }
  assert (L : 0 <= l) by (unfold l; assert (0 <= t * top) by (apply Rmult_le_pos; auto); lra).
  apply Rle_trans with (k * fsum n (fun i => u i ^ 2) + l * dot n u w).
  - unfold dot. rewrite <- !fsum_scale, <- !fsum_plus. apply fsum_le. intros i Hi.
    destruct (Hr i Hi) as [R0 R1]. destruct (Hu i Hi) as [U0 U1]. specialize (Hw i Hi).
    assert (E : u i ^ 3 <= top * u i ^ 2)
      by (replace (u i ^ 3) with (u i * u i ^ 2) by ring; apply Rmult_le_compat_r; auto;
        apply pow2_ge_0).
    assert (F : u i ^ 2 <= top * u i) by nra.
    assert (3 * c * t * u i ^ 3 <= 3 * c * t * (top * u i ^ 2))
      by (apply Rmult_le_compat_l; auto; repeat apply Rmult_le_pos; lra).
    assert (3 * t * w i * u i ^ 2 <= 3 * t * w i * (top * u i))
      by (apply Rmult_le_compat_l; auto; repeat apply Rmult_le_pos; lra).
    assert (r i * (q * u i ^ 3 + 3 * t' * u i ^ 2)
      <= most * (q * (top * u i ^ 2) + 3 * t' * u i ^ 2)).
    { assert (0 <= u i ^ 2) by apply pow2_ge_0. assert (0 <= u i ^ 3) by (apply pow_le; auto).
      apply Rmult_le_compat; auto.
      - apply Rplus_le_le_0_compat; repeat apply Rmult_le_pos; lra.
      - apply Rplus_le_compat_r, Rmult_le_compat_l; auto. }
    unfold k, l. lra.
  - apply Rle_trans with (k * A ^ 2 + l * (A * W)); [| unfold k, l; right; ring].
    apply Rplus_le_compat; apply Rmult_le_compat_l; auto; [apply squares_le | apply dot_le]; auto.
Qed.

Lemma second_derivative_rows g X Y U V : (0 < key_count g)%nat ->
  Derive_n (loss_along g X Y U V) 2 0 = fsum (query_count g) (fun i =>
    norm (outputs g) (velocity g X Y U V i) ^ 2
      + dot (outputs g) (residual g X Y i) (acceleration g X Y U V i)).
Proof.
  intros Hm. rewrite loss_second_derivative by auto. apply fsum_ext. intros i _.
  rewrite fsum_plus, norm_square. reflexivity.
Qed.

Lemma third_derivative_rows g X Y U V : (0 < key_count g)%nat ->
  Derive_n (loss_along g X Y U V) 3 0 = fsum (query_count g) (fun i =>
    3 * dot (outputs g) (velocity g X Y U V i) (acceleration g X Y U V i)
      + dot (outputs g) (residual g X Y i) (jerk g X Y U V i)).
Proof.
  intros Hm. rewrite loss_third_derivative by auto. apply fsum_ext. intros i _.
  rewrite fsum_plus, fsum_scale. reflexivity.
Qed.

(** |r_i| *)
Definition residual_length (g : regression) (X Y : nat -> nat -> R) (i : nat) : R :=
  norm (outputs g) (residual g X Y i).

Lemma second_derivative_bound g X Y U V c c' t t' q A W R most : (0 < key_count g)%nat ->
  row_constants g X Y U V c c' t t' q ->
  row_bound (query_count g) (outputs g) (residual g X Y) most ->
  norm (query_count g) (pull g U) <= A -> norm (query_count g) (drift g X V) <= W ->
  frobenius (query_count g) (outputs g) (residual g X Y) <= R ->
  Rabs (Derive_n (loss_along g X Y U V) 2 0)
    <= (c ^ 2 + t * most) * A ^ 2 + 2 * A * (c * W + c' * R) + W ^ 2.
Proof.
  intros Hm C [Hmost Hr] HA HW HR. rewrite second_derivative_rows by auto.
  destruct C as [(Hc & Hc' & Ht & Ht' & Hq) C0].
  assert (C : row_constants g X Y U V c c' t t' q) by (split; auto).
  eapply Rle_trans; [apply fsum_abs |].
  eapply Rle_trans; [| apply (second_sum (query_count g) (pull g U) (drift g X V)
    (residual_length g X Y) c c' t A W R most); auto].
  - apply fsum_le. intros i Hi. eapply Rle_trans; [apply Rabs_triang |].
    apply Rplus_le_compat.
    + rewrite Rabs_right by apply Rle_ge, pow2_ge_0. apply pow_incr.
      split; [apply norm_nonneg | apply (velocity_norm g X Y U V c c' t t' q); auto].
    + eapply Rle_trans; [apply dot_norm |]. apply Rmult_le_compat_l; [apply norm_nonneg |].
      apply (acceleration_norm g X Y U V c c' t t' q); auto.
  - intros i Hi. split; [apply norm_nonneg | apply Hr; auto].
Qed.

Lemma third_derivative_bound g X Y U V c c' t t' q A W most top : (0 < key_count g)%nat ->
  row_constants g X Y U V c c' t t' q ->
  row_bound (query_count g) (outputs g) (residual g X Y) most ->
  0 <= top -> (forall i, (i < query_count g)%nat -> pull g U i <= top) ->
  norm (query_count g) (pull g U) <= A -> norm (query_count g) (drift g X V) <= W ->
  Rabs (Derive_n (loss_along g X Y U V) 3 0)
    <= (3 * c * t + q * most) * top * A ^ 2 + (6 * c * c' + 3 * t' * most) * A ^ 2
      + (3 * t * top + 6 * c') * (A * W).
Proof.
  intros Hm C [Hmost Hr] Htop Hu HA HW. rewrite third_derivative_rows by auto.
  destruct C as [(Hc & Hc' & Ht & Ht' & Hq) C0].
  assert (C : row_constants g X Y U V c c' t t' q) by (split; auto).
  eapply Rle_trans; [apply fsum_abs |].
  eapply Rle_trans; [| apply (third_sum (query_count g) (pull g U) (drift g X V)
    (residual_length g X Y) c c' t t' q A W most top); auto using drift_nonneg].
  - apply fsum_le. intros i Hi. eapply Rle_trans; [apply Rabs_triang |].
    apply Rplus_le_compat.
    + rewrite Rabs_mult, (Rabs_right 3) by lra. apply Rmult_le_compat_l; [lra |].
      eapply Rle_trans; [apply dot_norm |]. apply Rmult_le_compat; try apply norm_nonneg.
      * apply (velocity_norm g X Y U V c c' t t' q); auto.
      * apply (acceleration_norm g X Y U V c c' t t' q); auto.
    + eapply Rle_trans; [apply dot_norm |]. apply Rmult_le_compat_l; [apply norm_nonneg |].
      apply (jerk_norm g X Y U V c c' t t' q); auto.
  - intros i Hi. split; [apply norm_nonneg | apply Hr; auto].
  - intros i Hi. split; [apply pull_nonneg | auto].
Qed.

(** * Step 4: forms in two lengths *)

Lemma quadratic_form a b c x y :
  a * x ^ 2 + 2 * b * (x * y) + c * y ^ 2
    <= sqrt (a ^ 2 + 2 * b ^ 2 + c ^ 2) * (x ^ 2 + y ^ 2).
Proof.
  assert (0 <= x ^ 2 + y ^ 2) by (pose proof (pow2_ge_0 x); pose proof (pow2_ge_0 y); lra).
  apply square_le; [apply Rmult_le_pos; auto; apply sqrt_pos |].
  rewrite Rpow_mult_distr, pow2_sqrt
    by (pose proof (pow2_ge_0 a); pose proof (pow2_ge_0 b); pose proof (pow2_ge_0 c); lra).
  pose proof (pow2_ge_0 (a * (x * y) - b * x ^ 2)).
  pose proof (pow2_ge_0 (a * y ^ 2 - c * x ^ 2)).
  pose proof (pow2_ge_0 (b * y ^ 2 - c * (x * y))). lra.
Qed.

Lemma cubic_form a b c x y :
  a * x ^ 3 + b * (x ^ 2 * y) + c * (x * y ^ 2)
    <= sqrt (a ^ 2 + b ^ 2 / 3 + c ^ 2 / 3) * sqrt (x ^ 2 + y ^ 2) ^ 3.
Proof.
  assert (0 <= x ^ 2 + y ^ 2) by (pose proof (pow2_ge_0 x); pose proof (pow2_ge_0 y); lra).
  apply square_le; [apply Rmult_le_pos; [apply sqrt_pos | apply pow_le, sqrt_pos] |].
  rewrite Rpow_mult_distr, pow2_sqrt
    by (pose proof (pow2_ge_0 a); pose proof (pow2_ge_0 b); pose proof (pow2_ge_0 c); lra).
  replace ((sqrt (x ^ 2 + y ^ 2) ^ 3) ^ 2) with ((sqrt (x ^ 2 + y ^ 2) ^ 2) ^ 3) by ring.
  rewrite pow2_sqrt by auto.
  pose proof (pow2_ge_0 (3 * a * (x ^ 2 * y) - b * x ^ 3)).
  pose proof (pow2_ge_0 (3 * a * (x * y ^ 2) - c * x ^ 3)).
  pose proof (pow2_ge_0 (b * (x * y ^ 2) - c * (x ^ 2 * y))).
  pose proof (Rmult_le_pos _ _ (pow2_ge_0 a) (pow2_ge_0 (y ^ 3))).
  pose proof (Rmult_le_pos _ _ (pow2_ge_0 b) (pow2_ge_0 (y ^ 3))).
  pose proof (Rmult_le_pos _ _ (pow2_ge_0 c) (pow2_ge_0 (y ^ 3))). lra.
Qed.

Lemma length_square g U V : step_length g U V ^ 2 = x_length g U ^ 2 + y_length g V ^ 2.
Proof. apply pow2_sqrt. apply Rplus_le_le_0_compat; apply pow2_ge_0. Qed.

(** * P4.lipschitz *)

Lemma no_value_ball g : in_ball (key_count g) (outputs g) (key_value g no_direction) 0.
Proof.
  exists (fun _ => 0). intros j _. right. rewrite (norm_ext _ _ (fun _ => 0)); [apply norm_zero |].
  intros c _. unfold key_value, no_direction. rewrite fsum_zero by (intros; ring). ring.
Qed.

Lemma no_drift g X : norm (query_count g) (drift g X no_direction) <= 0.
Proof.
  right. rewrite (norm_ext _ _ (fun _ => 0)); [apply norm_zero |]. intros i _.
  rewrite drift_times, (norm_ext _ _ (fun _ => 0)); [apply norm_zero |].
  intros c _. unfold times, no_direction. apply fsum_zero. intros. ring.
Qed.

Theorem p4_gradient_lipschitz_x g X Y U sigma rho r most : (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  row_bound (query_count g) (outputs g) (residual g X Y) most ->
  Rabs (Derive_n (loss_along g X Y U no_direction) 2 0)
    <= b_gradient_lipschitz_x sigma rho r most * x_length g U ^ 2.
Proof.
  intros Hm HS K H Hr.
  eapply Rle_trans; [apply (second_derivative_bound g X Y U no_direction _ _ _ _ _ _ 0 _ most Hm
    (constants_of_radii g X Y U no_direction rho r 0 Hm K H (no_value_ball g)) Hr
    (pulls g U sigma HS) (no_drift g X) (Rle_refl _)) |].
  right. unfold b_gradient_lipschitz_x. field.
Qed.

Theorem p4_gradient_lipschitz g X Y U V sigma rho r r3 M most whole : (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 ->
  spectral_bound (query_count g) (feature_dimension g) (mean_feature g X) M ->
  row_bound (query_count g) (outputs g) (residual g X Y) most ->
  frobenius (query_count g) (outputs g) (residual g X Y) <= whole ->
  Rabs (Derive_n (loss_along g X Y U V) 2 0)
    <= b_gradient_lipschitz sigma rho r r3 M most whole * step_length g U V ^ 2.
Proof.
  intros Hm HS K H F HM Hr HR. rewrite length_square.
  eapply Rle_trans; [apply (second_derivative_bound g X Y U V _ _ _ _ _ _ _ _ most Hm
    (constants_of_radii g X Y U V rho r _ Hm K H (value_ball g V r3 Hm F)) Hr
    (pulls g U sigma HS) (drifts g X V M HM) HR) |].
  replace (b_gradient_lipschitz sigma rho r r3 M most whole) with
    (sqrt ((rho ^ 2 * sigma ^ 2 * (r ^ 2 + 4 * sqrt 3 / 9 * (most * r))) ^ 2
      + 2 * (sigma * rho * (r * M + r3 * whole)) ^ 2 + (M ^ 2) ^ 2)).
  - eapply Rle_trans; [| apply quadratic_form]. right. ring.
  - unfold b_gradient_lipschitz. f_equal. field.
Qed.

Theorem p4_hessian_lipschitz_x g X Y U sigma alpha rho r most : (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  row_bound (query_count g) (outputs g) (residual g X Y) most ->
  Rabs (Derive_n (loss_along g X Y U no_direction) 3 0)
    <= b_hessian_lipschitz_x sigma alpha rho r most * x_length g U ^ 3.
Proof.
  intros Hm HS HA K H Hr.
  eapply Rle_trans; [apply (third_derivative_bound g X Y U no_direction _ _ _ _ _
    (sigma * x_length g U) 0 most (alpha * x_length g U) Hm
    (constants_of_radii g X Y U no_direction rho r 0 Hm K H (no_value_ball g)) Hr) |].
  - apply Rmult_le_pos; [apply HA | apply frobenius_nonneg].
  - intros i Hi. apply pull_bound; auto.
  - apply (pulls g U sigma HS).
  - apply no_drift.
  - right. unfold b_hessian_lipschitz_x. field.
Qed.

Theorem p4_hessian_lipschitz g X Y U V sigma alpha rho r r3 M most : (0 < key_count g)%nat ->
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 ->
  spectral_bound (query_count g) (feature_dimension g) (mean_feature g X) M ->
  row_bound (query_count g) (outputs g) (residual g X Y) most ->
  Rabs (Derive_n (loss_along g X Y U V) 3 0)
    <= b_hessian_lipschitz sigma alpha rho r r3 M most * step_length g U V ^ 3.
Proof.
  intros Hm HS HA K H F HM Hr.
  eapply Rle_trans; [apply (third_derivative_bound g X Y U V _ _ _ _ _
    (sigma * x_length g U) (M * y_length g V) most (alpha * x_length g U) Hm
    (constants_of_radii g X Y U V rho r _ Hm K H (value_ball g V r3 Hm F)) Hr) |].
  - apply Rmult_le_pos; [apply HA | apply frobenius_nonneg].
  - intros i Hi. apply pull_bound; auto.
  - apply (pulls g U sigma HS).
  - apply (drifts g X V M HM).
  - replace (b_hessian_lipschitz sigma alpha rho r r3 M most) with
      (sqrt ((sigma ^ 2 * alpha * rho ^ 3 * (4 * sqrt 3 / 3 * r ^ 2 + 2 * r * most)) ^ 2
        + (3 * sigma * rho ^ 2 * (2 * sigma * r * r3 + 4 * sqrt 3 / 9 * M * alpha * r
          + 4 * sqrt 3 / 9 * sigma * most * r3)) ^ 2 / 3 + (6 * sigma * rho * r3 * M) ^ 2 / 3)).
    + eapply Rle_trans; [| apply cubic_form]. right. field.
    + unfold b_hessian_lipschitz. f_equal. field.
Qed.

(** * Two keys attain the first two

    Keys rho and - rho have equal weights, their values are middle + r3 and middle - r3, and the
    target is their mean, so that no residual is left. *)

Definition constant (x : R) (a b : nat) : R := x.

Definition two_key_regression (sigma rho middle r3 Y : R) : regression := {|
  query_count := 1; key_count := 2;
  query_dimension := 1; key_dimension := 1; feature_dimension := 1; outputs := 1;
  A1 := constant sigma; A2 := fun j _ => opposite rho j; A3 := fun j _ => middle + opposite r3 j;
  targets := constant (middle * Y) |}.

Section TwoKeys.

Variables (sigma rho middle r3 Y : R).
Hypotheses (Hsigma : 0 <= sigma) (Hrho : 0 <= rho) (Hr3 : 0 <= r3) (HY : 0 <= Y).
Let g : regression := two_key_regression sigma rho middle r3 Y.

Lemma two_keys_mean f : mean 2 (query_weights g (constant 0) 0) f = (f 0%nat + f 1%nat) / 2.
Proof.
  assert (E : forall j, query_logit g (constant 0) 0 j = 0)
    by (intros; unfold query_logit, constant; simpl; ring).
  unfold mean, dot, query_weights, softmax, normalize. simpl. fold g. rewrite !E, exp_0. field.
Qed.

Lemma two_keys_fit :
  spectral_bound 1 1 (A1 g) sigma /\ in_ball 2 1 (A2 g) rho /\ in_ball 2 1 (A3 g) r3 /\
  in_ball 2 1 (key_value g (constant Y)) (r3 * Y) /\
  row_bound 1 1 (residual g (constant 0) (constant Y)) 0 /\
  frobenius 1 1 (residual g (constant 0) (constant Y)) <= 0.
Proof.
  assert (B : forall a x f, 0 <= x -> (forall j, f j = a + opposite x j) ->
    in_ball 2 1 (fun j _ => f j) x).
  { intros a x f Hx E. exists (fun _ => a). intros j _. rewrite norm_one, E.
    replace (a + opposite x j - a) with (opposite x j) by ring.
    unfold opposite, two_keys. destruct (first j); [| rewrite Rabs_Ropp]; rewrite Rabs_right; lra. }
  assert (Z : residual g (constant 0) (constant Y) 0%nat 0%nat = 0).
  { unfold residual. change (key_count g) with 2%nat. rewrite two_keys_mean.
    unfold g, key_value. simpl. unfold constant, opposite, two_keys. simpl. field. }
  repeat split.
  - auto.
  - intros w. rewrite !norm_one. unfold dot. simpl. unfold constant.
    rewrite Rplus_0_l, Rabs_mult, (Rabs_right sigma) by lra. lra.
  - apply (B 0 rho (opposite rho)); auto. intros. ring.
  - apply (B middle r3 (fun j => middle + opposite r3 j)); auto.
  - destruct (B (middle * Y) (r3 * Y) (fun j => (middle + opposite r3 j) * Y)) as [a H].
    + apply Rmult_le_pos; auto.
    + intros j. unfold opposite, two_keys. destruct (first j); ring.
    + exists a. intros j Hj. rewrite <- (norm_ext 1 (fun c => (middle + opposite r3 j) * Y - a c)); auto.
      intros. unfold key_value, constant. simpl. ring.
  - lra.
  - intros i Hi. assert (i = 0%nat) as -> by lia. rewrite norm_one, Z, Rabs_R0. lra.
  - unfold frobenius. rewrite norm_one, norm_one, Z, Rabs_R0, Rabs_R0. lra.
Qed.

Lemma two_keys_derivative U V :
  Derive_n (loss_along g (constant 0) (constant Y) (constant U) (constant V)) 2 0
    = (sigma * rho * (r3 * Y) * U + middle * V) ^ 2.
Proof.
  rewrite loss_second_derivative by (simpl; lia). unfold entries. simpl. fold g.
  replace (residual g _ _ 0%nat 0%nat) with 0.
  - rewrite Rmult_0_l. replace (velocity g _ _ _ _ _ _) with
      (sigma * rho * (r3 * Y) * U + middle * V); [ring |].
    unfold velocity, covariance. change (key_count g) with 2%nat. rewrite !two_keys_mean.
    unfold g, key_value, query_logit. simpl. unfold constant, opposite, two_keys. simpl. field.
  - unfold residual. change (key_count g) with 2%nat. rewrite two_keys_mean.
    unfold g, key_value. simpl. unfold constant, opposite, two_keys. simpl. field.
Qed.

End TwoKeys.

Theorem p4_gradient_lipschitz_x_attained sigma rho r :
  0 <= sigma -> 0 <= rho -> 0 <= r ->
  let g := two_key_regression sigma rho 0 r 1 in
  spectral_bound 1 1 (A1 g) sigma /\ in_ball 2 1 (A2 g) rho /\
  in_ball 2 1 (key_value g (constant 1)) r /\
  row_bound 1 1 (residual g (constant 0) (constant 1)) 0 /\
  Derive_n (loss_along g (constant 0) (constant 1) (constant 1) no_direction) 2 0
    = b_gradient_lipschitz_x sigma rho r 0 * x_length g (constant 1) ^ 2.
Proof.
  intros Hs Hrho Hr g.
  destruct (two_keys_fit sigma rho 0 r 1 Hs Hrho Hr ltac:(lra)) as (S & K & _ & H & R & _).
  rewrite Rmult_1_r in H. do 4 (split; auto).
  change no_direction with (constant 0). unfold g. rewrite two_keys_derivative.
  unfold x_length, frobenius, b_gradient_lipschitz_x. simpl query_dimension. simpl key_dimension.
  rewrite !norm_one, Rabs_Rabsolu. unfold constant. rewrite Rabs_R1. field.
Qed.

(** The direction in which the two parts of the velocity add up. *)
Theorem p4_gradient_lipschitz_attained sigma rho middle r3 Y :
  0 <= sigma -> 0 <= rho -> 0 <= middle -> 0 <= r3 -> 0 <= Y ->
  let g := two_key_regression sigma rho middle r3 Y in
  let U := constant (sigma * rho * (r3 * Y)) in let V := constant middle in
  spectral_bound 1 1 (A1 g) sigma /\ in_ball 2 1 (A2 g) rho /\ in_ball 2 1 (A3 g) r3 /\
  in_ball 2 1 (key_value g (constant Y)) (r3 * Y) /\
  spectral_bound 1 1 (mean_feature g (constant 0)) middle /\
  row_bound 1 1 (residual g (constant 0) (constant Y)) 0 /\
  frobenius 1 1 (residual g (constant 0) (constant Y)) <= 0 /\
  Derive_n (loss_along g (constant 0) (constant Y) U V) 2 0
    = b_gradient_lipschitz sigma rho (r3 * Y) r3 middle 0 0 * step_length g U V ^ 2.
Proof.
  intros Hs Hrho Hm Hr3 HY g U V.
  destruct (two_keys_fit sigma rho middle r3 Y Hs Hrho Hr3 HY) as (S & K & F & H & R & T).
  do 4 (split; auto). split; [| do 2 (split; auto)].
  - apply p4_frobenius_spectral. unfold frobenius. rewrite !norm_one, Rabs_Rabsolu.
    unfold mean_feature. change (key_count g) with 2%nat. unfold g. rewrite two_keys_mean.
    unfold two_key_regression, opposite, two_keys. simpl.
    replace ((middle + r3 + (middle + - r3)) / 2) with middle by field. rewrite Rabs_right; lra.
  - unfold U, V, g. rewrite two_keys_derivative. rewrite length_square.
    unfold x_length, y_length, frobenius.
    simpl query_dimension. simpl key_dimension. simpl feature_dimension. simpl outputs.
    rewrite !norm_one, !Rabs_Rabsolu, !pow2_abs. unfold constant.
    replace (b_gradient_lipschitz sigma rho (r3 * Y) r3 middle 0 0) with
      ((sigma * rho * (r3 * Y)) ^ 2 + middle ^ 2); [ring |].
    unfold b_gradient_lipschitz. rewrite <- (sqrt_pow2 ((sigma * rho * (r3 * Y)) ^ 2 + middle ^ 2))
      by (apply Rplus_le_le_0_compat; apply pow2_ge_0).
    f_equal. field.
Qed.
