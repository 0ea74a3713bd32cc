(** Attention regression in floating point (claim FP.regression).

    The model.  Computed weights W have logarithms within eta of the logits, up to a constant a row;
    [computed_weights] are they divided by their exact sums.  Every number computed from these is
    the result of sums and products, each rounded as in RoundingMoments.v: multiplied out it is a
    sum of terms, of which none passes through more than k roundings.  A quotient by a rounded sum
    of weights is a weight that is rounded, by what its sum was.  What is asked of the order and the
    factoring is that the absolute values of the terms add up to no more than the [terms_...] below,
    whether covariances are of centred vectors or means of products less products of means.
    There is no underflow.

    Steps: (1) a sum of terms errs by gamma_k times their absolute values; (2) computed weights are
    the exact ones times factors within (exp (2 eta) - 1) / 2 of a number, and so means and
    covariances change by what Cauchy and Schwarz say; (3) a residual's row: S.output and gamma_k;
    (4) a variance changes by exp (2 eta) at most; (5) the gradient: the residual's error, the
    covariances', and the roundings, summed over rows; (6) a term of the Hessian has at most four
    weights in it, and exp (8 eta) - 1 <= 12 eta. *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Rounding Require Import Rounding Expressions RoundingSoftmax.
From Attest.Regression Require Import Cumulants Regression Curvature Nearby AttentionRegression.
Open Scope R_scope.

(** * Step 1: sums of terms *)

(** x is computed where y is meant, by no more than k roundings of a term; the absolute values of
    the terms add up to M or less. *)
Definition computed (k : nat) (u M y x : R) : Prop :=
  exists e, evaluates 0 e x /\ value e = y /\ magnitude e <= M /\ roundings_total e <= INR k * u.

Lemma computed_error k u M y x : INR k * u < 1 -> computed k u M y x ->
  Rabs (x - y) <= gamma k u * M.
Proof.
  intros Hk (e & He & <- & HM & HR).
  eapply Rle_trans; [apply (fp_expression 0 e x (Rle_refl 0) He) |]. rewrite no_loss.
  pose proof (roundings_total_nonneg _ _ _ He) as P. pose proof (exp_ge_1 _ P).
  pose proof (exp_le _ _ HR). pose proof (exp_minus_1_le (INR k * u) ltac:(lra)) as G.
  fold (gamma k u) in G. pose proof (magnitude_nonneg e). rewrite Rplus_0_r.
  apply Rmult_le_compat; lra.
Qed.

(** * Norms *)

(** |A^T V| <= |A| |V| *)
Lemma spectral_product n d k A V sigma : spectral_bound n d A sigma ->
  frobenius d k (fun a b => fsum n (fun i => A i a * V i b)) <= sigma * frobenius n k V.
Proof.
  intros [HS H]. rewrite frobenius_columns, (frobenius_columns n).
  unfold frobenius. rewrite <- norm_scale_nonneg by auto. apply norm_monotone. intros b _.
  split; [apply norm_nonneg |]. set (y := fun i => V i b). set (z := fun a => fsum n (fun i =>
    A i a * V i b)).
  apply norm_dual; [apply Rmult_le_pos; auto using norm_nonneg |]. intros x.
  replace (dot d x z) with (dot n (fun i => dot d (A i) x) y).
  - replace (sigma * norm n y * norm d x) with (sigma * norm d x * norm n y) by ring.
    apply dot_le; [apply H | apply Rle_refl].
  - unfold dot, y, z.
    rewrite (fsum_ext n _ (fun i => fsum d (fun a => A i a * x a * V i b)))
      by (intros; symmetry; apply fsum_scale_r).
    rewrite fsum_swap. apply fsum_ext. intros a _. rewrite <- fsum_scale.
    apply fsum_ext. intros. ring.
Qed.

(** * Step 2: weights *)

Definition weights_within (g : regression) (X : nat -> nat -> R) (eta : R) (W : nat -> nat -> R)
    : Prop :=
  forall i, (i < query_count g)%nat -> exists c, forall j, (j < key_count g)%nat ->
    0 < W i j /\ Rabs (ln (W i j) - c - query_logit g X i j) <= eta.

Definition computed_weights (g : regression) (W : nat -> nat -> R) (i : nat) : nat -> R :=
  normalize (key_count g) (W i).

(** Weights q are weights p times factors within D / 2 of a number. *)
Definition reweighted (m : nat) (p q : nat -> R) (D : R) : Prop :=
  weights m p /\ weights m q /\
  exists w, within_radius m w (D / 2) /\ forall j, (j < m)%nat -> q j = p j * w j.

Lemma exp_factors s eta c b : 0 < b -> Rabs (ln b - c - s) <= eta ->
  exp c * exp (- eta) * exp s <= b <= exp c * exp eta * exp s.
Proof.
  intros Hb H. apply Rabs_bounds in H. rewrite <- !exp_plus. rewrite <- (exp_ln b) by auto.
  split; apply exp_le; lra.
Qed.

Lemma weights_ratio m s b c eta : (0 < m)%nat ->
  (forall j, (j < m)%nat -> 0 < b j /\ Rabs (ln (b j) - c - s j) <= eta) ->
  exists w, within_radius m w ((exp (2 * eta) - 1) / 2) /\ forall j, (j < m)%nat ->
    normalize m b j = softmax m s j * w j /\ exp (- (2 * eta)) <= w j <= exp (2 * eta).
Proof.
  intros Hm H. set (A := fsum m (fun j => exp (s j))). set (B := fsum m b).
  assert (HA : 0 < A) by (apply exp_sum_pos; auto).
  assert (HB : 0 < B) by (apply fsum_pos; auto; intros; apply H; auto).
  assert (E0 : 0 <= eta) by (eapply Rle_trans; [apply Rabs_pos | apply (H 0%nat Hm)]).
  assert (E := fun j Hj => exp_factors (s j) eta c (b j) (proj1 (H j Hj)) (proj2 (H j Hj))).
  replace (exp (- (2 * eta))) with (exp (- eta) * exp (- eta))
    by (rewrite <- exp_plus; f_equal; ring).
  rewrite exp_double.
  pose proof (exp_pos eta) as F0. pose proof (exp_pos (- eta)) as G0. pose proof (exp_pos c) as C0.
  pose proof (exp_opp_mult eta) as FG. pose proof (exp_ge_1 eta E0) as F1.
  set (F := exp eta) in *. set (G := exp (- eta)) in *. set (C := exp c) in *.
  assert (BA : C * G * A <= B <= C * F * A).
  { unfold A, B. rewrite <- !fsum_scale. split; apply fsum_le; intros j Hj; apply E; auto. }
  set (T := C * (A / B)).
  assert (T0 : 0 < T) by (apply Rmult_lt_0_compat; auto; apply Rdiv_lt_0_compat; auto).
  assert (TB : T * B = C * A) by (unfold T; field; lra).
  assert (TF : T <= F).
  { apply Rmult_le_reg_r with (G * B); [apply Rmult_lt_0_compat; auto |].
    replace (T * (G * B)) with (G * (T * B)) by ring. rewrite TB.
    replace (F * (G * B)) with (G * F * B) by ring. rewrite FG. lra. }
  assert (TG : G <= T).
  { apply Rmult_le_reg_r with (F * B); [apply Rmult_lt_0_compat; auto |].
    replace (T * (F * B)) with (F * (T * B)) by ring. rewrite TB.
    replace (G * (F * B)) with (G * F * B) by ring. rewrite FG. lra. }
  set (w := fun j => b j / exp (s j) * (A / B)).
  assert (WB : forall j, (j < m)%nat -> T * G <= w j <= T * F).
  { intros j Hj. destruct (E j Hj) as [L U]. pose proof (exp_pos (s j)) as S.
    replace (T * G) with (C * G * (A / B)) by (unfold T; ring).
    replace (T * F) with (C * F * (A / B)) by (unfold T; ring).
    assert (0 < A / B) by (apply Rdiv_lt_0_compat; auto).
    unfold w. split; apply Rmult_le_compat_r; try lra; [apply le_div | apply div_le]; auto. }
  exists w. split.
  - exists (T * (F + G) / 2). intros j Hj. specialize (WB j Hj). apply Rabs_le.
    assert (T * (F - G) <= F * F - 1) by (assert (T * (F - G) <= F * (F - G)); nra).
    lra.
  - intros j Hj. specialize (WB j Hj). split.
    + unfold softmax, normalize, w. fold A B. pose proof (exp_pos (s j)). field. lra.
    + split; nra.
Qed.

(** Means and covariances under such weights. *)
Section Reweighted.

Variables (m : nat) (p q : nat -> R) (D : R).
Hypothesis reweighting : reweighted m p q D.

Lemma mean_change f A : 0 <= A -> covariance m p f f <= A ^ 2 ->
  Rabs (mean m q f - mean m p f) <= D / 2 * A.
Proof.
  destruct reweighting as (P & Q & w & HW & Hw). intros HA Hf.
  assert (E : forall f, mean m q f = mean m p (fun j => w j * f j)).
  { intros k. unfold mean, dot. apply fsum_ext. intros j Hj. rewrite Hw by auto. ring. }
  assert (One : mean m p w = 1).
  { rewrite <- (mean_const m q 1 Q), E. apply mean_ext. intros. ring. }
  replace (mean m q f - mean m p f) with (covariance m p w f).
  - pose proof (radius_nonneg m p w _ P HW).
    apply covariance_deviations; auto. apply variance_radius; auto.
  - rewrite (covariance_right m p w f 0 P), One, E, <- mean_minus. apply mean_ext. intros. ring.
Qed.

Lemma covariance_change f h A B : 0 <= A -> 0 <= B ->
  covariance m p f f <= A ^ 2 -> covariance m p h h <= B ^ 2 ->
  Rabs (covariance m q f h - covariance m p f h) <= (D + D ^ 2 / 4) * (A * B).
Proof.
  intros HA HB Hf Hh.
  pose proof (mean_change f A HA Hf) as Mf. pose proof (mean_change h B HB Hh) as Mh.
  destruct reweighting as (P & Q & w & HW & Hw).
  pose proof (radius_nonneg m p w _ P HW) as D0.
  set (a := mean m p f) in *. set (b := mean m p h) in *.
  assert (E : forall f, mean m q f = mean m p (fun j => w j * f j)).
  { intros k. unfold mean, dot. apply fsum_ext. intros j Hj. rewrite Hw by auto. ring. }
  assert (One : mean m p w = 1).
  { rewrite <- (mean_const m q 1 Q), E. apply mean_ext. intros. ring. }
  assert (C : covariance m q f h = mean m q (fun j => (f j - a) * (h j - b))
    - (mean m q f - a) * (mean m q h - b)).
  { rewrite (covariance_left m q f h a Q).
    replace (mean m q f - a) with (mean m q (fun j => f j - a))
      by (rewrite mean_minus, mean_const; auto).
    rewrite <- (Rmult_comm (mean m q h - b)), <- mean_scale, <- mean_minus. apply mean_ext.
    intros. ring. }
  replace (covariance m q f h - covariance m p f h) with
    (mean m p (fun j => (w j - 1) * (f j - a) * (h j - b))
      - (mean m q f - a) * (mean m q h - b)).
  - eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp, Rabs_mult.
    assert (First : Rabs (mean m p (fun j => (w j - 1) * (f j - a) * (h j - b))) <= D * A * B).
    { apply mean_cauchy; auto; [nra | |].
      - rewrite Rpow_mult_distr. apply Rle_trans with (D ^ 2 * covariance m p f f);
          [| apply Rmult_le_compat_l; auto; apply pow2_ge_0].
        unfold covariance. rewrite <- mean_scale. apply mean_le; auto. intros j Hj.
        pose proof (centred_radius m p w _ j P HW Hj) as R. rewrite One in R.
        assert ((w j - 1) ^ 2 <= D ^ 2)
          by (rewrite <- (pow2_abs (w j - 1)); apply pow_incr; split; [apply Rabs_pos | lra]).
        fold a. pose proof (pow2_ge_0 (f j - a)). nra.
      - eapply Rle_trans; [| apply Hh]. right. unfold covariance. apply mean_ext.
        intros. fold b. ring. }
    assert (Second : Rabs (mean m q f - a) * Rabs (mean m q h - b) <= D / 2 * A * (D / 2 * B))
      by (apply Rmult_le_compat; auto using Rabs_pos).
    lra.
  - rewrite C, (E (fun j => (f j - a) * (h j - b))). unfold covariance. fold a b.
    replace (mean m p (fun j => (w j - 1) * (f j - a) * (h j - b)))
      with (mean m p (fun j => w j * ((f j - a) * (h j - b)))
        - mean m p (fun j => (f j - a) * (h j - b)))
      by (rewrite <- mean_minus; apply mean_ext; intros; ring).
    ring.
Qed.

End Reweighted.

(** * Matrices that are sums over rows or keys *)

Lemma mean_outer m p n d (x y : nat -> nat -> R) X Y : weights m p -> 0 <= X -> 0 <= Y ->
  (forall j, (j < m)%nat -> norm n (x j) <= X /\ norm d (y j) <= Y) ->
  frobenius n d (fun a b => mean m p (fun j => x j a * y j b)) <= X * Y.
Proof.
  intros W HX HY H. eapply Rle_trans;
    [apply (frobenius_fsum n d m (fun j a b => p j * (x j a * y j b))) |].
  rewrite <- (mean_const m p (X * Y) W). apply fsum_le. intros j Hj. destruct (H j Hj).
  destruct W as [P _]. rewrite frobenius_scale, frobenius_outer, Rabs_right by (apply Rle_ge; auto).
  apply Rmult_le_compat_l; auto. apply Rmult_le_compat; auto using norm_nonneg.
Qed.

Lemma outer_sum n d1 d2 x y X Y : 0 <= X -> 0 <= Y ->
  (forall i, (i < n)%nat -> norm d1 (x i) <= X /\ norm d2 (y i) <= Y) ->
  frobenius d1 d2 (fun a b => fsum n (fun i => x i a * y i b)) <= INR n * (X * Y).
Proof.
  intros HX HY H. eapply Rle_trans; [apply (frobenius_fsum d1 d2 n (fun i a b => x i a * y i b)) |].
  rewrite <- fsum_const. apply fsum_le. intros i Hi. destruct (H i Hi).
  rewrite frobenius_outer. apply Rmult_le_compat; auto using norm_nonneg.
Qed.

Lemma outer_rows n d1 d2 x y F Y : 0 <= Y -> frobenius n d1 x <= F ->
  (forall i, (i < n)%nat -> norm d2 (y i) <= Y) ->
  frobenius d1 d2 (fun a b => fsum n (fun i => Rabs (x i a) * y i b)) <= sqrt (INR n) * F * Y.
Proof.
  intros HY HF H. eapply Rle_trans;
    [apply (frobenius_fsum d1 d2 n (fun i a b => Rabs (x i a) * y i b)) |].
  apply Rle_trans with (fsum n (fun i => norm d1 (x i)) * Y).
  - rewrite <- fsum_scale_r. apply fsum_le. intros i Hi.
    rewrite (frobenius_outer d1 d2 (fun a => Rabs (x i a))), norm_abs.
    apply Rmult_le_compat_l; auto using norm_nonneg.
  - apply Rmult_le_compat_r; auto.
    eapply Rle_trans; [apply sum_entries; intros; apply norm_nonneg |].
    apply Rmult_le_compat_l; auto using sqrt_pos.
Qed.

(** * Step 3: a row of the residual *)

(** Entry (j, k) of |A3| |Y| *)
Definition absolute_key_value (g : regression) (Y : nat -> nat -> R) (j k : nat) : R :=
  fsum (feature_dimension g) (fun c => Rabs (A3 g j c) * Rabs (Y c k)).

(** Under weights P that need not be the softmax. *)
Definition residual_at (g : regression) (P Y : nat -> nat -> R) (i k : nat) : R :=
  mean (key_count g) (P i) (fun j => key_value g Y j k) - targets g i k.

Definition terms_residual (g : regression) (P Y : nat -> nat -> R) (i k : nat) : R :=
  mean (key_count g) (P i) (fun j => absolute_key_value g Y j k) + Rabs (targets g i k).

(** found is a computed row. *)
Definition residual_found (k : nat) (u : R) (g : regression) (P Y : nat -> nat -> R) (i : nat)
    (found : nat -> R) : Prop :=
  forall c, (c < outputs g)%nat ->
    computed k u (terms_residual g P Y i c) (residual_at g P Y i c) (found c).

Lemma reweighted_by_rounding g X W eta i : (0 < key_count g)%nat -> (i < query_count g)%nat ->
  weights_within g X eta W ->
  reweighted (key_count g) (query_weights g X i) (computed_weights g W i) (exp (2 * eta) - 1).
Proof.
  intros Hm Hi HW. destruct (HW i Hi) as [c Hc].
  destruct (weights_ratio _ _ _ _ _ Hm Hc) as (w & Hw & E).
  assert (B : 0 < fsum (key_count g) (W i)) by (apply fsum_pos; auto; intros; apply Hc; auto).
  split; [apply weight_weights; auto | split].
  - split; [| apply normalize_total; auto]. intros j Hj.
    apply Rlt_le, Rdiv_lt_0_compat; [apply Hc |]; auto.
  - exists w. split; auto. intros j Hj. apply (E j Hj).
Qed.

Lemma weight_error_nonneg g X W eta : (0 < query_count g)%nat -> (0 < key_count g)%nat ->
  weights_within g X eta W -> 0 <= eta.
Proof.
  intros Hn Hm H. destruct (H 0%nat Hn) as [c Hc]. destruct (Hc 0%nat Hm) as [_ E].
  eapply Rle_trans; [apply Rabs_pos | exact E].
Qed.

Lemma longest_nonneg m d (h : nat -> nat -> R) r : (0 < m)%nat ->
  (forall j, (j < m)%nat -> norm d (h j) <= r) -> 0 <= r.
Proof. intros Hm H. eapply Rle_trans; [apply norm_nonneg | apply (H 0%nat Hm)]. Qed.

Lemma absolute_value_le g Y j k : Rabs (key_value g Y j k) <= absolute_key_value g Y j k.
Proof.
  eapply Rle_trans; [apply fsum_abs |]. right. apply fsum_ext. intros. apply Rabs_mult.
Qed.

Lemma terms_residual_norm g P Y i V T : weights (key_count g) (P i) ->
  (forall j, (j < key_count g)%nat -> norm (outputs g) (absolute_key_value g Y j) <= V) ->
  norm (outputs g) (targets g i) <= T -> norm (outputs g) (terms_residual g P Y i) <= V + T.
Proof.
  intros W HV HT. eapply Rle_trans; [apply norm_triangle |]. rewrite norm_abs.
  apply Rplus_le_compat; auto.
  apply mean_norm; auto. apply (longest_nonneg _ _ _ _ (weights_nonempty _ _ W) HV).
Qed.

(** A row of whatever is computed. *)
Lemma computed_row k u d M y x bound : 0 <= u -> INR k * u < 1 ->
  (forall c, (c < d)%nat -> computed k u (M c) (y c) (x c)) -> norm d M <= bound ->
  norm d (fun c => x c - y c) <= gamma k u * bound.
Proof.
  intros Hu Hk H HM. pose proof (gamma_nonneg k u Hu Hk).
  apply Rle_trans with (gamma k u * norm d M); [| apply Rmult_le_compat_l; auto].
  rewrite <- norm_scale_nonneg by auto. apply norm_le. intros c Hc. apply computed_error; auto.
Qed.

Lemma computed_matrix k u n d M y x bound : 0 <= u -> INR k * u < 1 ->
  (forall a b, (a < n)%nat -> (b < d)%nat -> computed k u (M a b) (y a b) (x a b)) ->
  frobenius n d M <= bound ->
  frobenius n d (fun a b => x a b - y a b) <= gamma k u * bound.
Proof.
  intros Hu Hk H HM. pose proof (gamma_nonneg k u Hu Hk).
  apply Rle_trans with (gamma k u * frobenius n d M); [| apply Rmult_le_compat_l; auto].
  rewrite <- (Rabs_pos_eq (gamma k u)) by auto. rewrite <- frobenius_scale.
  apply frobenius_le. intros. apply computed_error; auto.
Qed.

Lemma row_error_form k u eta V T : INR k * u < 1 ->
  b_regression_row_error k u eta V T
    = b_softmax_output_magnitude eta V + gamma k u * (V + T).
Proof.
  intros. rewrite output_magnitude_form, output_form.
  unfold b_regression_row_error, b_softmax_tv, gamma. argument tanh (eta / 2). field. lra.
Qed.

Theorem fp_regression_row g X Y W eta k u V T i found :
  (0 < key_count g)%nat -> (i < query_count g)%nat -> 0 <= u -> INR k * u < 1 ->
  weights_within g X eta W ->
  (forall j, (j < key_count g)%nat -> norm (outputs g) (absolute_key_value g Y j) <= V) ->
  norm (outputs g) (targets g i) <= T ->
  residual_found k u g (computed_weights g W) Y i found ->
  norm (outputs g) (fun c => found c - residual g X Y i c) <= b_regression_row_error k u eta V T.
Proof.
  intros Hm Hi Hu Hk HW HV HT H. rewrite row_error_form by auto.
  destruct (reweighted_by_rounding g X W eta i Hm Hi HW) as (_ & Q & _).
  pose proof (longest_nonneg _ _ _ _ Hm HV) as V0.
  rewrite (norm_ext _ _ (fun c => (residual_at g (computed_weights g W) Y i c - residual g X Y i c)
    + (found c - residual_at g (computed_weights g W) Y i c))) by (intros; ring).
  eapply Rle_trans; [apply norm_triangle |]. apply Rplus_le_compat.
  - assert (E0 : 0 <= eta) by (apply (weight_error_nonneg g X W); auto; lia).
    rewrite output_magnitude_form, output_form. pose proof (tv_form eta) as TV.
    assert (T0 : 0 <= b_softmax_tv eta).
    { rewrite TV. pose proof (exp_ge_1 eta E0). apply le_div; lra. }
    apply norm_dual; [apply Rmult_le_pos; lra |]. intros z.
    replace (dot (outputs g) z _) with
      (mean (key_count g) (computed_weights g W i) (fun j => dot (outputs g) z (key_value g Y j))
        - mean (key_count g) (query_weights g X i) (fun j => dot (outputs g) z (key_value g Y j))).
    + destruct (HW i Hi) as [c Hc].
      assert (B : positive (key_count g) (W i)) by (intros j Hj; apply Hc; auto).
      unfold mean, computed_weights. rewrite (weights_are_softmax _ _ c B).
      eapply Rle_trans; [apply Rle_abs |]. eapply Rle_trans.
      * apply (s_output_magnitude _ (fun j => ln (W i j) - c) (query_logit g X i) _ eta
          (norm (outputs g) z * V)); auto.
        -- intros j Hj. apply (Hc j Hj).
        -- intros j Hj. eapply Rle_trans; [apply dot_norm |].
           apply Rmult_le_compat_l; [apply norm_nonneg |]. eapply Rle_trans; [| apply (HV j Hj)].
           apply norm_le. intros. apply absolute_value_le.
      * rewrite output_magnitude_form, output_form. right. ring.
    + rewrite <- (mean_product _ (computed_weights g W i)).
      rewrite <- (mean_product _ (query_weights g X i)).
      unfold dot. rewrite <- fsum_minus. apply fsum_ext. intros.
      unfold residual_at, residual. ring.
  - apply (computed_row k u _ (terms_residual g (computed_weights g W) Y i)); auto.
    apply terms_residual_norm; auto.
Qed.

(** * Step 4: standard deviations *)

(** Vectors x, whose entries may be sums of terms themselves: their absolute values add up to at
    most [size]. *)
Definition terms_covariance (m : nat) (q : nat -> R) (size : nat -> nat -> R) (b b' : nat) : R :=
  mean m q (fun j => size j b * size j b')
  + mean m q (fun j => size j b) * mean m q (fun j => size j b').

Lemma covariance_form m q d z (x : nat -> nat -> R) : weights m q ->
  covariance m q (fun j => dot d z (x j)) (fun j => dot d z (x j))
    = dot d z (fun b => dot d z (fun b' => covariance m q (fun j => x j b) (fun j => x j b'))).
Proof.
  intros Q. rewrite <- covariance_product by auto. apply dot_ext. intros b _.
  rewrite covariance_sym, <- covariance_product by auto. reflexivity.
Qed.

Lemma deviation_form N r k u eta : INR k * u < 1 ->
  b_computed_deviation N r k u eta = sqrt (N + gamma k u * (2 * r ^ 2)) * exp eta.
Proof.
  intros. unfold b_computed_deviation, gamma. f_equal. f_equal. field. lra.
Qed.

Theorem fp_computed_deviation g X W eta k u i d x size N r found :
  (0 < key_count g)%nat -> (i < query_count g)%nat -> 0 <= u -> INR k * u < 1 -> 0 <= N ->
  weights_within g X eta W ->
  (forall j, (j < key_count g)%nat -> norm d (size j) <= r) ->
  (forall b b', (b < d)%nat -> (b' < d)%nat ->
    computed k u (terms_covariance (key_count g) (computed_weights g W i) size b b')
      (covariance (key_count g) (computed_weights g W i) (fun j => x j b) (fun j => x j b'))
      (found b b')) ->
  (forall z, dot d z (fun b => dot d z (found b)) <= N * norm d z ^ 2) ->
  spread (key_count g) (query_weights g X i) d x (b_computed_deviation N r k u eta).
Proof.
  intros Hm Hi Hu Hk HN HW Hr H Hz. rewrite deviation_form by auto.
  pose proof (gamma_nonneg k u Hu Hk) as G0.
  pose proof (longest_nonneg _ _ _ _ Hm Hr) as R0.
  destruct (reweighted_by_rounding g X W eta i Hm Hi HW) as (P & Q & _).
  set (p := query_weights g X i) in *. set (q := computed_weights g W i) in *.
  assert (S0 : 0 <= gamma k u * (2 * r ^ 2))
    by (apply Rmult_le_pos; auto; pose proof (pow2_ge_0 r); lra).
  split; [apply Rmult_le_pos; [apply sqrt_pos | left; apply exp_pos] |]. intros z.
  apply Rle_trans with (exp (2 * eta)
    * covariance (key_count g) q (fun j => dot d z (x j)) (fun j => dot d z (x j))).
  - apply variance_ratio; auto. intros j Hj. destruct (HW i Hi) as [c Hc].
    destruct (weights_ratio _ _ _ _ _ Hm Hc) as (w & _ & E). destruct (E j Hj) as [Ew [L _]].
    unfold q, computed_weights. rewrite Ew. fold (query_weights g X i). fold p.
    assert (0 <= p j) by (apply P; auto).
    assert (1 <= exp (2 * eta) * w j).
    { rewrite <- (exp_opp_mult (2 * eta)), Rmult_comm. apply Rmult_le_compat_l; auto.
      left. apply exp_pos. }
    nra.
  - replace ((sqrt (N + gamma k u * (2 * r ^ 2)) * exp eta * norm d z) ^ 2)
      with (exp (2 * eta) * ((N + gamma k u * (2 * r ^ 2)) * norm d z ^ 2)).
    2: { rewrite !Rpow_mult_distr, pow2_sqrt, exp_double by lra. ring. }
    apply Rmult_le_compat_l; [left; apply exp_pos |]. rewrite covariance_form by auto.
    set (C := fun b b' => covariance (key_count g) q (fun j => x j b) (fun j => x j b')).
    change (dot d z (fun b => dot d z (C b)) <= (N + gamma k u * (2 * r ^ 2)) * norm d z ^ 2).
    assert (E : frobenius d d (fun b b' => found b b' - C b b') <= gamma k u * (2 * r ^ 2)).
    { apply (computed_matrix k u d d (terms_covariance (key_count g) q size)); auto.
      eapply Rle_trans; [apply frobenius_plus |].
      rewrite (frobenius_outer d d (fun b => mean _ q (fun j => size j b))).
      assert (norm d (fun b => mean (key_count g) q (fun j => size j b)) <= r)
        by (apply mean_norm; auto).
      pose proof (norm_nonneg d (fun b => mean (key_count g) q (fun j => size j b))).
      assert (frobenius d d (fun b b' => mean (key_count g) q (fun j => size j b * size j b'))
        <= r * r) by (apply mean_outer; auto).
      nra. }
    apply p4_frobenius_spectral in E. destruct E as [_ E]. specialize (E z).
    set (y := fun b => dot d (fun b' => found b b' - C b b') z) in E.
    replace (dot d z (fun b => dot d z (C b)))
      with (dot d z (fun b => dot d z (found b)) - dot d z y).
    + pose proof (Rabs_bounds _ _ (dot_norm d z y)). pose proof (norm_nonneg d z).
      assert (norm d z * norm d y <= norm d z * (gamma k u * (2 * r ^ 2) * norm d z))
        by (apply Rmult_le_compat_l; auto).
      specialize (Hz z). lra.
    + unfold y, dot. rewrite <- fsum_minus. apply fsum_ext. intros b _.
      rewrite <- Rmult_minus_distr_l, <- fsum_minus. f_equal. apply fsum_ext. intros. ring.
Qed.

(** * Step 5: the gradient *)

Definition slope_at (g : regression) (P r Y : nat -> nat -> R) (i j : nat) : R :=
  P i j * dot (outputs g) (r i) (fun k => key_value g Y j k
    - mean (key_count g) (P i) (fun l => key_value g Y l k)).

Definition gradient_X_at (g : regression) (P r Y : nat -> nat -> R) (a b : nat) : R :=
  fsum (query_count g) (fun i =>
    A1 g i a * fsum (key_count g) (fun j => slope_at g P r Y i j * A2 g j b)).

Definition feature_at (g : regression) (P : nat -> nat -> R) (i c : nat) : R :=
  mean (key_count g) (P i) (fun j => A3 g j c).

Definition gradient_Y_at (g : regression) (P r : nat -> nat -> R) (c k : nat) : R :=
  fsum (query_count g) (fun i => feature_at g P i c * r i k).

(** Under the softmax they are those of P4.gradient. *)
Lemma gradient_at_softmax g X Y :
  gradient_X g X Y = gradient_X_at g (query_weights g X) (residual g X Y) Y /\
  gradient_Y g X Y = gradient_Y_at g (query_weights g X) (residual g X Y).
Proof. split; reflexivity. Qed.

(** |h_j| + sum_l p_l |h_l|, entry by entry *)
Definition terms_centred (m : nat) (p : nat -> R) (h : nat -> nat -> R) (j k : nat) : R :=
  h j k + mean m p (fun l => h l k).

Definition terms_gradient_X (g : regression) (P r Y : nat -> nat -> R) (a b : nat) : R :=
  fsum (query_count g) (fun i => Rabs (A1 g i a) * mean (key_count g) (P i) (fun j =>
    dot (outputs g) (fun k => Rabs (r i k))
      (terms_centred (key_count g) (P i) (absolute_key_value g Y) j)
    * Rabs (A2 g j b))).

Definition terms_gradient_Y (g : regression) (P r : nat -> nat -> R) (c k : nat) : R :=
  fsum (query_count g) (fun i =>
    mean (key_count g) (P i) (fun j => Rabs (A3 g j c)) * Rabs (r i k)).

Lemma pulled_covariance g P r Y i b : weights (key_count g) (P i) ->
  fsum (key_count g) (fun j => slope_at g P r Y i j * A2 g j b)
  = covariance (key_count g) (P i) (fun j => A2 g j b)
      (fun j => dot (outputs g) (r i) (key_value g Y j)).
Proof.
  intros W. rewrite (covariance_left _ _ _ _ 0 W). apply fsum_ext. intros j _. unfold slope_at.
  rewrite <- mean_product.
  replace (dot (outputs g) (r i) (fun k => key_value g Y j k
      - mean (key_count g) (P i) (fun l => key_value g Y l k)))
    with (dot (outputs g) (r i) (key_value g Y j)
      - dot (outputs g) (r i) (fun k => mean (key_count g) (P i) (fun l => key_value g Y l k)))
    by (unfold dot; rewrite <- fsum_minus; apply fsum_ext; intros; ring).
  ring.
Qed.

Lemma terms_centred_norm m p d h r j : weights m p -> (j < m)%nat ->
  (forall l, (l < m)%nat -> norm d (h l) <= r) -> norm d (terms_centred m p h j) <= 2 * r.
Proof.
  intros W Hj H. pose proof (longest_nonneg _ _ _ _ (weights_nonempty _ _ W) H).
  eapply Rle_trans; [apply norm_triangle |].
  pose proof (mean_norm m p d h r W ltac:(auto) H). specialize (H j Hj). lra.
Qed.

(** Cov(x, <r, h>) for other weights and another r. *)
Lemma pulled_change m p q D d2 d x h r r' A B : reweighted m p q D -> 0 <= D ->
  spread m p d2 x A -> spread m p d h B ->
  norm d2 (fun b => covariance m q (fun j => x j b) (fun j => dot d r' (h j))
      - covariance m p (fun j => x j b) (fun j => dot d r (h j)))
    <= A * B * ((D + D ^ 2 / 4) * norm d r' + norm d (fun k => r' k - r k)).
Proof.
  intros HR HD [HA Hx] [HB Hh]. pose proof HR as (P & Q & _).
  pose proof (norm_nonneg d r'). pose proof (norm_nonneg d (fun k => r' k - r k)).
  assert (D2 : 0 <= D + D ^ 2 / 4) by (pose proof (pow2_ge_0 D); lra).
  assert (AB : 0 <= A * B) by (apply Rmult_le_pos; auto).
  apply norm_dual.
  { apply Rmult_le_pos; auto. apply Rplus_le_le_0_compat; auto. apply Rmult_le_pos; auto. }
  intros z. pose proof (norm_nonneg d2 z) as Z0.
  assert (AZ : 0 <= A * norm d2 z) by (apply Rmult_le_pos; auto).
  assert (E : forall s f, weights m s -> dot d2 z (fun b => covariance m s (fun j => x j b) f)
    = covariance m s (fun j => dot d2 z (x j)) f).
  { intros s f S. rewrite covariance_sym, <- covariance_product by auto.
    apply dot_ext. intros. apply covariance_sym. }
  replace (dot d2 z _) with
    (covariance m q (fun j => dot d2 z (x j)) (fun j => dot d r' (h j))
      - covariance m p (fun j => dot d2 z (x j)) (fun j => dot d r (h j)))
    by (rewrite <- !E by auto; unfold dot; rewrite <- fsum_minus; apply fsum_ext; intros; ring).
  replace (covariance m p (fun j => dot d2 z (x j)) (fun j => dot d r (h j)))
    with (covariance m p (fun j => dot d2 z (x j)) (fun j => dot d r' (h j))
      - covariance m p (fun j => dot d2 z (x j)) (fun j => dot d (fun k => r' k - r k) (h j))).
  - pose proof (covariance_change m p q D HR (fun j => dot d2 z (x j)) (fun j => dot d r' (h j))
      (A * norm d2 z) (B * norm d r') AZ ltac:(apply Rmult_le_pos; auto) (Hx z) (Hh r')) as E1.
    pose proof (covariance_deviations m p (fun j => dot d2 z (x j))
      (fun j => dot d (fun k => r' k - r k) (h j)) (A * norm d2 z)
      (B * norm d (fun k => r' k - r k)) P AZ ltac:(apply Rmult_le_pos; auto) (Hx z) (Hh _)) as E2.
    apply Rabs_bounds in E1. apply Rabs_bounds in E2. lra.
  - rewrite <- !(E p) by auto. unfold dot at 1 3 5. rewrite <- fsum_minus. apply fsum_ext.
    intros b _. rewrite <- Rmult_minus_distr_l. f_equal.
    rewrite !(covariance_left m p (fun j => x j b) _ 0 P).
    rewrite <- mean_minus. apply mean_ext. intros j _.
    replace (dot d (fun k => r' k - r k) (h j)) with (dot d r' (h j) - dot d r (h j))
      by (unfold dot; rewrite <- fsum_minus; apply fsum_ext; intros; ring).
    replace (mean m p (fun j => dot d (fun k => r' k - r k) (h j)))
      with (mean m p (fun j => dot d r' (h j)) - mean m p (fun j => dot d r (h j)))
      by (rewrite <- mean_minus; apply mean_ext; intros; unfold dot; rewrite <- fsum_minus;
        apply fsum_ext; intros; ring).
    ring.
Qed.

(** Means of vectors under other weights. *)
Lemma mean_vector_change m p q D d h B : reweighted m p q D -> 0 <= D -> spread m p d h B ->
  norm d (fun c => mean m q (fun j => h j c) - mean m p (fun j => h j c)) <= D / 2 * B.
Proof.
  intros HR HD [HB H]. apply norm_dual; [apply Rmult_le_pos; lra |]. intros z.
  replace (dot d z _) with (mean m q (fun j => dot d z (h j)) - mean m p (fun j => dot d z (h j)))
    by (rewrite <- (mean_product m q), <- (mean_product m p); unfold dot; rewrite <- fsum_minus;
      apply fsum_ext; intros; ring).
  eapply Rle_trans; [apply Rle_abs |]. rewrite Rmult_assoc.
  apply (mean_change m p q D HR); auto. apply Rmult_le_pos; auto using norm_nonneg.
Qed.

Lemma exp_minus_1_slope x top c : 0 <= x <= top -> exp top <= c -> exp x - 1 <= c * x.
Proof.
  intros Hx Hc. pose proof (exp_ineq1_le (- x)) as L. pose proof (exp_opp_mult x) as E.
  pose proof (exp_pos x). pose proof (exp_le x top ltac:(lra)).
  (* 1 - exp (- x) <= x *)
  assert (exp x - 1 <= x * exp x) by nra. nra.
Qed.

Lemma exp_eighth : exp (1 / 8) <= 8 / 7.
Proof.
  pose proof (exp_ineq1_le (- (1 / 8))). pose proof (exp_opp_mult (1 / 8)).
  pose proof (exp_pos (1 / 8)). nra.
Qed.

Lemma gradient_error_form n k u eta sigma phi K F V T most sd_key sd_value sd_feature M :
  INR k * u < 1 ->
  b_regression_gradient_error n k u eta sigma phi K F V T most sd_key sd_value sd_feature M
    = let moved_row := gamma k u * (V + T) + eta * sd_value in
      let row := most + 2 * moved_row in
      sqrt (INR n) * (sigma * (2 * sd_key * sd_value * (moved_row + 2 * eta * row)
          + 2 * gamma k u * K * V * row)
        + 2 * gamma k u * phi * K * V * row + 2 * M * moved_row)
      + INR n * row * (2 * eta * sd_feature + 3 * gamma k u * F).
Proof. intros. unfold b_regression_gradient_error, gamma. cbv zeta. field. lra. Qed.

Theorem fp_regression_gradient g X Y W eta k u sigma phi K F V T most sd_key sd_value sd_feature M
    r found_X found_Y :
  (0 < query_count g)%nat -> (0 < key_count g)%nat -> 0 <= u -> INR k * u < 1 -> eta <= 1 / 16 ->
  weights_within g X eta W ->
  (* the norms *)
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  frobenius (query_count g) (query_dimension g) (A1 g) <= phi ->
  (forall j, (j < key_count g)%nat -> norm (key_dimension g) (A2 g j) <= K /\
    norm (feature_dimension g) (A3 g j) <= F /\
    norm (outputs g) (absolute_key_value g Y j) <= V) ->
  (forall i, (i < query_count g)%nat -> norm (outputs g) (targets g i) <= T /\
    norm (outputs g) (residual g X Y i) <= most /\
    spread (key_count g) (query_weights g X i) (key_dimension g) (A2 g) sd_key /\
    spread (key_count g) (query_weights g X i) (outputs g) (key_value g Y) sd_value /\
    spread (key_count g) (query_weights g X i) (feature_dimension g) (A3 g) sd_feature) ->
  spectral_bound (query_count g) (feature_dimension g) (mean_feature g X) M ->
  (* the residual r, as it was computed, and the gradient from it *)
  (forall i, (i < query_count g)%nat -> residual_found k u g (computed_weights g W) Y i (r i)) ->
  (forall a b, (a < query_dimension g)%nat -> (b < key_dimension g)%nat ->
    computed k u (terms_gradient_X g (computed_weights g W) r Y a b)
      (gradient_X_at g (computed_weights g W) r Y a b) (found_X a b)) ->
  (forall c l, (c < feature_dimension g)%nat -> (l < outputs g)%nat ->
    computed k u (terms_gradient_Y g (computed_weights g W) r c l)
      (gradient_Y_at g (computed_weights g W) r c l) (found_Y c l)) ->
  sqrt (frobenius (query_dimension g) (key_dimension g)
        (fun a b => found_X a b - gradient_X g X Y a b) ^ 2
      + frobenius (feature_dimension g) (outputs g)
        (fun c l => found_Y c l - gradient_Y g X Y c l) ^ 2)
    <= b_regression_gradient_error (query_count g) k u eta sigma phi K F V T most
      sd_key sd_value sd_feature M.
Proof.
  intros Hn Hm Hu Hk Heta HW HS Hphi Hkeys Hrows HM Hr HX HY.
  rewrite gradient_error_form by auto. cbv zeta.
  pose proof (weight_error_nonneg g X W eta Hn Hm HW) as E0.
  pose proof (gamma_nonneg k u Hu Hk) as G0. set (G := gamma k u) in *.
  set (m := key_count g) in *. set (n := query_count g) in *. set (d := outputs g) in *.
  set (D := exp (2 * eta) - 1).
  assert (D0 : 0 <= D) by (pose proof (exp_ge_1 (2 * eta) ltac:(lra)); unfold D; lra).
  assert (D1 : D <= 16 / 7 * eta).
  { replace (16 / 7 * eta) with (8 / 7 * (2 * eta)) by field.
    apply (exp_minus_1_slope _ (1 / 8)); [lra | apply exp_eighth]. }
  assert (D2 : D + D ^ 2 / 4 <= 4 * eta) by nra.
  set (Q := computed_weights g W) in *.
  assert (RW : forall i, (i < n)%nat -> reweighted m (query_weights g X i) (Q i) D)
    by (intros i Hi; apply reweighted_by_rounding; auto).
  assert (QW : forall i, (i < n)%nat -> weights m (Q i)) by (intros i Hi; apply (RW i Hi)).
  assert (K0 : 0 <= K) by (eapply Rle_trans; [apply norm_nonneg | apply (Hkeys 0%nat Hm)]).
  assert (F0 : 0 <= F) by (eapply Rle_trans; [apply norm_nonneg | apply (Hkeys 0%nat Hm)]).
  assert (V0 : 0 <= V) by (eapply Rle_trans; [apply norm_nonneg | apply (Hkeys 0%nat Hm)]).
  destruct (Hrows 0%nat Hn) as (T0 & most0 & [Sk0 _] & [Sv0 _] & [Sf0 _]).
  pose proof (norm_nonneg d (targets g 0)). pose proof (norm_nonneg d (residual g X Y 0)).
  assert (T1 : 0 <= T) by lra. assert (most1 : 0 <= most) by lra. clear T0 most0 H H0.
  assert (phi0 : 0 <= phi) by (eapply Rle_trans; [apply frobenius_nonneg | exact Hphi]).
  pose proof (proj1 HS) as sigma0. pose proof (proj1 HM) as M0.
  set (moved := G * (V + T) + eta * sd_value). set (row := most + 2 * moved).
  assert (GVT : 0 <= G * (V + T)) by (apply Rmult_le_pos; lra).
  assert (EV : 0 <= eta * sd_value) by (apply Rmult_le_pos; auto).
  assert (moved0 : 0 <= moved) by (unfold moved; lra).
  assert (row0 : 0 <= row) by (unfold row; lra).
  (* the residual's rows *)
  assert (R1 : forall i, (i < n)%nat -> norm d (fun c => r i c - residual g X Y i c) <= 2 * moved).
  { intros i Hi. destruct (Hrows i Hi) as (HT & _ & _ & Sv & _).
    rewrite (norm_ext _ _ (fun c => (residual_at g Q Y i c - residual g X Y i c)
      + (r i c - residual_at g Q Y i c))) by (intros; ring).
    eapply Rle_trans; [apply norm_triangle |].
    assert (norm d (fun c => residual_at g Q Y i c - residual g X Y i c) <= D / 2 * sd_value).
    { rewrite (norm_ext _ _ (fun c => mean m (Q i) (fun j => key_value g Y j c)
        - mean m (query_weights g X i) (fun j => key_value g Y j c)))
        by (intros; unfold residual_at, residual; fold m; ring).
      apply (mean_vector_change m _ _ D d (key_value g Y)); auto. }
    assert (norm d (fun c => r i c - residual_at g Q Y i c) <= G * (V + T)).
    { apply (computed_row k u d (terms_residual g Q Y i)); auto; [apply Hr; auto |].
      apply terms_residual_norm; auto. intros j Hj. apply Hkeys; auto. }
    assert (D / 2 * sd_value <= 2 * (eta * sd_value))
      by (rewrite <- Rmult_assoc; apply Rmult_le_compat_r; lra).
    unfold moved. lra. }
  assert (R2 : forall i, (i < n)%nat -> norm d (r i) <= row).
  { intros i Hi. rewrite (norm_ext _ _ (fun c => residual g X Y i c
      + (r i c - residual g X Y i c))) by (intros; ring).
    eapply Rle_trans; [apply norm_triangle |]. destruct (Hrows i Hi) as (_ & Hmost & _).
    specialize (R1 i Hi). unfold row. fold d in Hmost. lra. }
  pose proof (sqrt_pos (INR n)) as N0. pose proof (pos_INR n) as N1.
  (* the gradient by X *)
  assert (BX : frobenius (query_dimension g) (key_dimension g)
      (fun a b => found_X a b - gradient_X g X Y a b)
    <= sqrt (INR n) * (sigma * (2 * sd_key * sd_value * (moved + 2 * eta * row))
      + 2 * G * phi * K * V * row)).
  { apply Rle_trans with
      (frobenius (query_dimension g) (key_dimension g) (fun a b =>
          (gradient_X_at g Q r Y a b - gradient_X g X Y a b)
          + (found_X a b - gradient_X_at g Q r Y a b)));
      [apply Req_le, norm_ext; intros; apply norm_ext; intros; ring |].
    eapply Rle_trans; [apply frobenius_plus |].
    rewrite Rmult_plus_distr_l. apply Rplus_le_compat.
    - set (e := fun i b =>
        covariance m (Q i) (fun j => A2 g j b) (fun j => dot d (r i) (key_value g Y j))
        - covariance m (query_weights g X i) (fun j => A2 g j b)
            (fun j => dot d (residual g X Y i) (key_value g Y j))).
      apply Rle_trans with (frobenius (query_dimension g) (key_dimension g)
        (fun a b => fsum n (fun i => A1 g i a * e i b))).
      { apply Req_le, norm_ext; intros a _; apply norm_ext; intros b _.
        rewrite (proj1 (gradient_at_softmax g X Y)). unfold gradient_X_at. fold n.
        rewrite <- fsum_minus. apply fsum_ext. intros i Hi.
        rewrite !pulled_covariance by (try apply weight_weights; auto). unfold e, m, d. ring. }
      eapply Rle_trans; [apply (spectral_product n _ _ (A1 g) e sigma HS) |].
      replace (sqrt (INR n) * (sigma * (2 * sd_key * sd_value * (moved + 2 * eta * row))))
        with (sigma * (sqrt (INR n) * (sd_key * sd_value * (4 * eta * row + 2 * moved)))) by ring.
      assert (S0 : 0 <= sd_key * sd_value) by (apply Rmult_le_pos; auto).
      assert (S1 : 0 <= eta * row) by (apply Rmult_le_pos; auto).
      apply Rmult_le_compat_l; auto. apply frobenius_rows.
      { apply Rmult_le_pos; lra. }
      intros i Hi. destruct (Hrows i Hi) as (_ & _ & Sk & Sv & _).
      eapply Rle_trans; [apply (pulled_change m (query_weights g X i) (Q i) D (key_dimension g) d
        (A2 g) (key_value g Y) (residual g X Y i) (r i) sd_key sd_value); auto |].
      apply Rmult_le_compat_l; auto. apply Rplus_le_compat; [| apply R1; auto].
      apply Rmult_le_compat; auto using norm_nonneg. pose proof (pow2_ge_0 D). lra.
    - replace (sqrt (INR n) * (2 * G * phi * K * V * row))
        with (G * (sqrt (INR n) * phi * (row * (2 * V) * K))) by ring.
      apply (computed_matrix k u _ _ (terms_gradient_X g Q r Y)); auto.
      assert (0 <= row * (2 * V) * K) by (repeat apply Rmult_le_pos; lra).
      apply (outer_rows n _ _ (A1 g) (fun i b => mean m (Q i) (fun j =>
        dot d (fun k => Rabs (r i k)) (terms_centred m (Q i) (absolute_key_value g Y) j)
        * Rabs (A2 g j b)))); auto.
      intros i Hi. apply (mean_norm m (Q i) (key_dimension g) (fun j b =>
        dot d (fun k => Rabs (r i k)) (terms_centred m (Q i) (absolute_key_value g Y) j)
        * Rabs (A2 g j b))); auto.
      intros j Hj. rewrite norm_scale, norm_abs.
      apply Rmult_le_compat; auto using Rabs_pos, norm_nonneg; [| apply Hkeys; auto].
      eapply Rle_trans; [apply dot_norm |]. rewrite norm_abs.
      apply Rmult_le_compat; auto using norm_nonneg.
      apply terms_centred_norm; auto. intros l Hl. apply Hkeys; auto. }
  (* the gradient by Y *)
  assert (BY : frobenius (feature_dimension g) d (fun c l => found_Y c l - gradient_Y g X Y c l)
    <= sqrt (INR n) * (2 * M * moved) + INR n * row * (2 * eta * sd_feature + G * F)).
  { apply Rle_trans with (frobenius (feature_dimension g) d (fun c l =>
        fsum n (fun i => mean_feature g X i c * (r i l - residual g X Y i l))
        + (fsum n (fun i => (feature_at g Q i c - mean_feature g X i c) * r i l)
          + (found_Y c l - gradient_Y_at g Q r c l)))).
    { apply Req_le, norm_ext; intros c _; apply norm_ext; intros l _.
      unfold gradient_Y, gradient_Y_at. fold n.
      replace (fsum n (fun i => mean_feature g X i c * (r i l - residual g X Y i l)))
        with (fsum n (fun i => mean_feature g X i c * r i l)
          - fsum n (fun i => mean_feature g X i c * residual g X Y i l))
        by (rewrite <- fsum_minus; apply fsum_ext; intros; ring).
      replace (fsum n (fun i => (feature_at g Q i c - mean_feature g X i c) * r i l))
        with (fsum n (fun i => feature_at g Q i c * r i l)
          - fsum n (fun i => mean_feature g X i c * r i l))
        by (rewrite <- fsum_minus; apply fsum_ext; intros; ring).
      ring. }
    eapply Rle_trans; [apply frobenius_plus |]. apply Rplus_le_compat.
    - eapply Rle_trans; [apply (spectral_product n _ _ (mean_feature g X)
        (fun i l => r i l - residual g X Y i l) M HM) |].
      replace (sqrt (INR n) * (2 * M * moved)) with (M * (sqrt (INR n) * (2 * moved))) by ring.
      apply Rmult_le_compat_l; auto. apply frobenius_rows; [lra | auto].
    - eapply Rle_trans; [apply frobenius_plus |].
      replace (INR n * row * (2 * eta * sd_feature + G * F))
        with (INR n * (2 * eta * sd_feature * row) + G * (INR n * (F * row))) by ring.
      apply Rplus_le_compat.
      + assert (0 <= eta * sd_feature) by (apply Rmult_le_pos; auto).
        apply (outer_sum n); auto; [lra |]. intros i Hi. split; [| auto].
        destruct (Hrows i Hi) as (_ & _ & _ & _ & Sf).
        eapply Rle_trans;
          [apply (mean_vector_change m _ _ D _ (A3 g) sd_feature (RW i Hi)); auto |].
        apply Rmult_le_compat_r; lra.
      + apply (computed_matrix k u _ _ (terms_gradient_Y g Q r)); auto.
        apply (outer_sum n _ _ (fun i c => mean m (Q i) (fun j => Rabs (A3 g j c)))
          (fun i l => Rabs (r i l))); auto.
        intros i Hi. split; [| rewrite norm_abs; auto].
        apply (mean_norm m (Q i) _ (fun j c => Rabs (A3 g j c))); auto.
        intros j Hj. rewrite norm_abs. apply Hkeys; auto. }
  (* both *)
  assert (Sum : forall x y, 0 <= x -> 0 <= y -> sqrt (x ^ 2 + y ^ 2) <= x + y).
  { intros x y Hx Hy. rewrite <- (sqrt_pow2 (x + y)) by lra. apply sqrt_le_1_alt. nra. }
  eapply Rle_trans; [apply Sum; apply frobenius_nonneg |].
  eapply Rle_trans; [apply Rplus_le_compat; [exact BX | exact BY] |].
  clearbody G. assert (0 <= sqrt (INR n) * (sigma * (2 * G * K * V * row)))
    by (repeat apply Rmult_le_pos; lra).
  assert (0 <= INR n * row * (2 * G * F)) by (repeat apply Rmult_le_pos; lra).
  fold moved row. lra.
Qed.

(** * Step 6: the Hessian *)

Definition key_feature_at (g : regression) (P : nat -> nat -> R) (i b c : nat) : R :=
  covariance (key_count g) (P i) (fun j => A2 g j b) (fun j => A3 g j c).

Definition key_value_at (g : regression) (P Y : nat -> nat -> R) (i b k : nat) : R :=
  times (feature_dimension g) (key_feature_at g P i) Y b k.

Definition centred_key_at (g : regression) (P : nat -> nat -> R) (i j b : nat) : R :=
  A2 g j b - mean (key_count g) (P i) (fun l => A2 g l b).

Definition row_hessian_at (g : regression) (P Y : nat -> nat -> R) (i b b' : nat) : R :=
  fsum (outputs g) (fun k => key_value_at g P Y i b k * key_value_at g P Y i b' k)
  + fsum (key_count g) (fun j => slope_at g P (residual_at g P Y) Y i j
      * centred_key_at g P i j b * centred_key_at g P i j b').

Definition hessian_XX_at (g : regression) (P Y : nat -> nat -> R) (a b a' b' : nat) : R :=
  fsum (query_count g) (fun i => A1 g i a * A1 g i a' * row_hessian_at g P Y i b b').

Definition hessian_XY_at (g : regression) (P Y : nat -> nat -> R) (a b c k : nat) : R :=
  fsum (query_count g) (fun i => A1 g i a
    * (key_value_at g P Y i b k * feature_at g P i c
       + key_feature_at g P i b c * residual_at g P Y i k)).

Definition hessian_YY_at (g : regression) (P : nat -> nat -> R) (c k c' k' : nat) : R :=
  fsum (query_count g) (fun i => feature_at g P i c * feature_at g P i c')
  * (if Nat.eqb k k' then 1 else 0).

(** Under the softmax they are those of P4.hessian. *)
Lemma hessian_at_softmax g X Y :
  hessian_XX g X Y = hessian_XX_at g (query_weights g X) Y /\
  hessian_XY g X Y = hessian_XY_at g (query_weights g X) Y /\
  hessian_YY g X = hessian_YY_at g (query_weights g X).
Proof. repeat split; reflexivity. Qed.

(** The blocks from absolute values N of a row's Hessian, C of key_value_at, D of key_feature_at,
    F of features and r of residuals. *)
Definition terms_XX (g : regression) (N : nat -> nat -> nat -> R) (a b a' b' : nat) : R :=
  fsum (query_count g) (fun i => Rabs (A1 g i a) * (Rabs (A1 g i a') * N i b b')).

Definition terms_XY (g : regression) (C D : nat -> nat -> nat -> R) (F r : nat -> nat -> R)
    (a b c k : nat) : R :=
  fsum (query_count g) (fun i => Rabs (A1 g i a) * (F i c * C i b k + D i b c * r i k)).

Definition terms_YY (g : regression) (F : nat -> nat -> R) (c k c' k' : nat) : R :=
  fsum (query_count g) (fun i => F i c * F i c') * (if Nat.eqb k k' then 1 else 0).

(** Centred keys, features and values. *)
Definition terms_key (g : regression) (P : nat -> nat -> R) (i : nat) : nat -> nat -> R :=
  terms_centred (key_count g) (P i) (fun j b => Rabs (A2 g j b)).
Definition terms_feature (g : regression) (P : nat -> nat -> R) (i : nat) : nat -> nat -> R :=
  terms_centred (key_count g) (P i) (fun j c => Rabs (A3 g j c)).
Definition terms_value (g : regression) (P Y : nat -> nat -> R) (i : nat) : nat -> nat -> R :=
  terms_centred (key_count g) (P i) (absolute_key_value g Y).

Definition terms_mean_feature (g : regression) (P : nat -> nat -> R) (i c : nat) : R :=
  mean (key_count g) (P i) (fun j => Rabs (A3 g j c)).
Definition terms_key_feature (g : regression) (P : nat -> nat -> R) (i b c : nat) : R :=
  mean (key_count g) (P i) (fun j => terms_key g P i j b * terms_feature g P i j c).
Definition terms_key_value (g : regression) (P Y : nat -> nat -> R) (i b k : nat) : R :=
  mean (key_count g) (P i) (fun j => terms_key g P i j b * terms_value g P Y i j k).

(** Of <r_i, h_j - p_i H> *)
Definition terms_slope (g : regression) (P Y : nat -> nat -> R) (i j : nat) : R :=
  dot (outputs g) (terms_residual g P Y i) (terms_value g P Y i j).

Definition terms_row (g : regression) (P Y : nat -> nat -> R) (i b b' : nat) : R :=
  dot (outputs g) (terms_key_value g P Y i b) (terms_key_value g P Y i b')
  + mean (key_count g) (P i) (fun j =>
      terms_slope g P Y i j * terms_key g P i j b * terms_key g P i j b').

(** ** Norms of the blocks *)

Definition block_norm (n d n' d' : nat) (E : nat -> nat -> nat -> nat -> R) : R :=
  frobenius n d (fun a b => frobenius n' d' (E a b)).

Lemma block_norm_plus n d n' d' E E' :
  block_norm n d n' d' (fun a b c k => E a b c k + E' a b c k)
    <= block_norm n d n' d' E + block_norm n d n' d' E'.
Proof.
  eapply Rle_trans; [| apply frobenius_plus]. apply frobenius_le. intros.
  rewrite Rabs_pos_eq by apply frobenius_nonneg. apply frobenius_plus.
Qed.

Lemma block_norm_le n d n' d' c E M bound : 0 <= c -> block_norm n d n' d' M <= bound ->
  (forall a b a' b', (a < n)%nat -> (b < d)%nat -> (a' < n')%nat -> (b' < d')%nat ->
    Rabs (E a b a' b') <= c * M a b a' b') ->
  block_norm n d n' d' E <= c * bound.
Proof.
  intros Hc HM H. apply Rle_trans with (c * block_norm n d n' d' M);
    [| apply Rmult_le_compat_l; auto].
  unfold block_norm at 2. rewrite <- (Rabs_pos_eq c) by auto. rewrite <- frobenius_scale.
  apply frobenius_le. intros a b Ha Hb. rewrite Rabs_pos_eq by apply frobenius_nonneg.
  rewrite <- (Rabs_pos_eq c) by auto. rewrite <- frobenius_scale. apply frobenius_le. auto.
Qed.

Lemma norm_XX g N phi s : 0 <= s -> frobenius (query_count g) (query_dimension g) (A1 g) <= phi ->
  (forall i, (i < query_count g)%nat -> frobenius (key_dimension g) (key_dimension g) (N i) <= s) ->
  block_norm (query_dimension g) (key_dimension g) (query_dimension g) (key_dimension g)
    (terms_XX g N) <= phi ^ 2 * s.
Proof.
  intros Hs HF H. set (d1 := query_dimension g) in *. set (d2 := key_dimension g) in *.
  set (n := query_count g) in *.
  apply Rle_trans with (frobenius d1 d2 (fun a b => fsum n (fun i =>
    Rabs (A1 g i a) * (norm d1 (A1 g i) * norm d2 (N i b))))).
  - apply frobenius_le. intros a b _ _. rewrite Rabs_pos_eq by apply frobenius_nonneg.
    eapply Rle_trans; [apply (frobenius_fsum d1 d2 n (fun i a' b' =>
      Rabs (A1 g i a) * (Rabs (A1 g i a') * N i b b'))) |].
    apply fsum_le. intros i _.
    rewrite frobenius_scale, Rabs_Rabsolu, (frobenius_outer d1 d2 (fun a' => Rabs (A1 g i a'))),
      norm_abs. lra.
  - eapply Rle_trans; [apply (frobenius_fsum d1 d2 n (fun i a b =>
      Rabs (A1 g i a) * (norm d1 (A1 g i) * norm d2 (N i b)))) |].
    apply Rle_trans with (fsum n (fun i => norm d1 (A1 g i) ^ 2) * s).
    + rewrite <- fsum_scale_r. apply fsum_le. intros i Hi.
      rewrite (frobenius_outer d1 d2 (fun a => Rabs (A1 g i a))), norm_abs,
        (norm_scale d2), Rabs_pos_eq by apply norm_nonneg.
      replace (norm d1 (A1 g i) * (norm d1 (A1 g i) * norm d2 (fun b => norm d2 (N i b))))
        with (norm d1 (A1 g i) ^ 2 * frobenius d2 d2 (N i)) by (unfold frobenius; ring).
      apply Rmult_le_compat_l; [apply pow2_ge_0 | auto].
    + apply Rmult_le_compat_r; auto. apply squares_le. exact HF.
Qed.

Lemma norm_XY g C D F r phi s : 0 <= s ->
  frobenius (query_count g) (query_dimension g) (A1 g) <= phi ->
  (forall i, (i < query_count g)%nat ->
    frobenius (key_dimension g) (outputs g) (C i) * norm (feature_dimension g) (F i)
    + frobenius (key_dimension g) (feature_dimension g) (D i) * norm (outputs g) (r i) <= s) ->
  block_norm (query_dimension g) (key_dimension g) (feature_dimension g) (outputs g)
    (terms_XY g C D F r) <= sqrt (INR (query_count g)) * phi * s.
Proof.
  intros Hs HF H. set (d1 := query_dimension g) in *. set (d2 := key_dimension g) in *.
  set (d3 := feature_dimension g) in *. set (d := outputs g) in *. set (n := query_count g) in *.
  set (y := fun i b => norm d3 (F i) * norm d (C i b) + norm d (r i) * norm d3 (D i b)).
  apply Rle_trans with (frobenius d1 d2 (fun a b => fsum n (fun i => Rabs (A1 g i a) * y i b))).
  - apply frobenius_le. intros a b _ _. rewrite Rabs_pos_eq by apply frobenius_nonneg.
    eapply Rle_trans; [apply (frobenius_fsum d3 d n (fun i c k =>
      Rabs (A1 g i a) * (F i c * C i b k + D i b c * r i k))) |].
    apply fsum_le. intros i _. rewrite frobenius_scale, Rabs_Rabsolu.
    apply Rmult_le_compat_l; [apply Rabs_pos |].
    eapply Rle_trans; [apply (frobenius_plus d3 d (fun c k => F i c * C i b k)) |].
    rewrite (frobenius_outer d3 d (F i)), (frobenius_outer d3 d (D i b)). unfold y. lra.
  - apply outer_rows; auto. intros i Hi. eapply Rle_trans; [apply norm_triangle |].
    rewrite !norm_scale_nonneg by apply norm_nonneg. specialize (H i Hi).
    unfold frobenius in H. lra.
Qed.

Lemma norm_YY g F f : 0 <= f ->
  (forall i, (i < query_count g)%nat -> norm (feature_dimension g) (F i) <= f) ->
  block_norm (feature_dimension g) (outputs g) (feature_dimension g) (outputs g) (terms_YY g F)
    <= sqrt (INR (outputs g)) * INR (query_count g) * f ^ 2.
Proof.
  intros Hf H. set (d3 := feature_dimension g) in *. set (d := outputs g) in *.
  set (n := query_count g) in *. set (gram := fun c c' => fsum n (fun i => F i c * F i c')).
  apply Rle_trans with (frobenius d3 d (fun c k => norm d3 (gram c) * 1)).
  - apply frobenius_le. intros c k _ Hk. rewrite Rabs_pos_eq by apply frobenius_nonneg.
    unfold terms_YY. rewrite (frobenius_outer d3 d (gram c)).
    apply Rmult_le_compat_l; [apply norm_nonneg |]. unfold norm.
    rewrite (fsum_ext d _ (fun k' => if Nat.eqb k' k then 1 else 0)), fsum_one by
      (auto; intros k' _; rewrite (Nat.eqb_sym k); destruct (Nat.eqb k' k); ring).
    rewrite Rmult_0_r, Rplus_0_r, sqrt_1. lra.
  - rewrite (frobenius_outer d3 d (fun c => norm d3 (gram c)) (fun _ => 1)).
    fold (frobenius d3 d3 gram).
    assert (frobenius d3 d3 gram <= INR n * (f * f)) by (apply outer_sum; auto).
    assert (norm d (fun _ => 1) <= sqrt (INR d) * 1)
      by (apply norm_entries; [lra |]; intros; rewrite Rabs_R1; lra).
    replace (sqrt (INR d) * INR n * f ^ 2) with (INR n * (f * f) * (sqrt (INR d) * 1)) by ring.
    apply Rmult_le_compat; auto using norm_nonneg, frobenius_nonneg.
Qed.

(** Q Q^T *)
Lemma norm_gram n d (Q : nat -> nat -> R) s : frobenius n d Q <= s ->
  frobenius n n (fun b b' => dot d (Q b) (Q b')) <= s ^ 2.
Proof.
  intros H. apply Rle_trans with (frobenius n n (fun b b' => norm d (Q b) * norm d (Q b'))).
  - apply frobenius_le. intros. apply dot_norm.
  - rewrite (frobenius_outer n n (fun b => norm d (Q b))). fold (frobenius n d Q).
    pose proof (frobenius_nonneg n d Q). nra.
Qed.

(** ** Sums of products of weights that are off *)

(** x is y, a sum of terms that each err by a factor within exp r of 1. *)
Definition off_by (r x y M : R) : Prop := Rabs (x - y) <= (exp r - 1) * M /\ Rabs y <= M.

Lemma off_by_nothing r y M : 0 <= r -> Rabs y <= M -> off_by r y y M.
Proof.
  intros Hr H. split; auto. rewrite Rminus_diag_eq, Rabs_R0 by auto.
  pose proof (exp_ge_1 r Hr). pose proof (Rabs_pos y). apply Rmult_le_pos; lra.
Qed.

Lemma off_by_more r r' x y M : r <= r' -> off_by r x y M -> off_by r' x y M.
Proof.
  intros Hr [H HM]. split; auto. pose proof (exp_le _ _ Hr). pose proof (Rabs_pos y). nra.
Qed.

Lemma off_by_plus r x y M x' y' M' : off_by r x y M -> off_by r x' y' M' ->
  off_by r (x + x') (y + y') (M + M').
Proof.
  intros [H HM] [H' HM']. split.
  - replace (x + x' - (y + y')) with ((x - y) + (x' - y')) by ring.
    eapply Rle_trans; [apply Rabs_triang | lra].
  - eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

Lemma off_by_minus r x y M x' y' M' : off_by r x y M -> off_by r x' y' M' ->
  off_by r (x - x') (y - y') (M + M').
Proof.
  intros H [H' HM']. apply (off_by_plus r x y M (- x') (- y') M' H). split.
  - replace (- x' - - y') with (- (x' - y')) by ring. now rewrite Rabs_Ropp.
  - now rewrite Rabs_Ropp.
Qed.

Lemma off_by_times r r' x y M x' y' M' : 0 <= r -> off_by r x y M -> off_by r' x' y' M' ->
  off_by (r + r') (x * x') (y * y') (M * M').
Proof.
  intros Hr [H HM] [H' HM']. pose proof (exp_ge_1 r Hr). unfold off_by.
  rewrite exp_plus.
  set (E := exp r) in *. set (E' := exp r') in *.
  assert (X : Rabs x' <= E' * M').
  { replace x' with ((x' - y') + y') by ring. eapply Rle_trans; [apply Rabs_triang | lra]. }
  split.
  - replace (x * x' - y * y') with ((x - y) * x' + y * (x' - y')) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. rewrite !Rabs_mult.
    assert (Rabs (x - y) * Rabs x' <= (E - 1) * M * (E' * M'))
      by (apply Rmult_le_compat; auto using Rabs_pos).
    assert (Rabs y * Rabs (x' - y') <= M * ((E' - 1) * M'))
      by (apply Rmult_le_compat; auto using Rabs_pos).
    lra.
  - rewrite Rabs_mult. apply Rmult_le_compat; auto using Rabs_pos.
Qed.

Lemma off_by_fsum r n x y M : (forall i, (i < n)%nat -> off_by r (x i) (y i) (M i)) ->
  off_by r (fsum n x) (fsum n y) (fsum n M).
Proof.
  intros H. induction n; simpl.
  - split; [rewrite Rminus_0_r |]; rewrite Rabs_R0; lra.
  - apply off_by_plus; auto.
Qed.

Lemma off_by_scale r c x y M : 0 <= r -> off_by r x y M -> off_by r (c * x) (c * y) (Rabs c * M).
Proof.
  intros Hr H. replace r with (0 + r) by ring. apply off_by_times; auto; [lra |].
  apply off_by_nothing; lra.
Qed.

Lemma off_by_scale_r r c x y M : 0 <= r -> off_by r x y M -> off_by r (x * c) (y * c) (M * Rabs c).
Proof. intros. rewrite !(Rmult_comm _ c), (Rmult_comm M). apply off_by_scale; auto. Qed.

Lemma key_value_at_covariance g P Y i b k : weights (key_count g) (P i) ->
  key_value_at g P Y i b k
  = covariance (key_count g) (P i) (fun j => A2 g j b) (fun j => key_value g Y j k).
Proof.
  intros W. rewrite (covariance_ext _ _ (fun j => A2 g j b) (fun j => A2 g j b) _
    (fun j => fsum (feature_dimension g) (fun c => Y c k * A3 g j c)))
    by (auto; intros; apply fsum_ext; intros; ring).
  rewrite (covariance_sum _ (P i) _ (feature_dimension g) (fun c => Y c k)
    (fun c j => A3 g j c) W).
  apply fsum_ext. intros. apply Rmult_comm.
Qed.

(** sum_j t_j (x_j - mean x) (y_j - mean y), where the t_j average to 0 *)
Lemma third_moments m p t x y : mean m p t = 0 ->
  mean m p (fun j => t j * (x j - mean m p x) * (y j - mean m p y))
  = mean m p (fun j => t j * x j * y j) - mean m p (fun j => t j * x j) * mean m p y
    - mean m p x * mean m p (fun j => t j * y j).
Proof.
  intros H. set (a := mean m p x). set (b := mean m p y).
  rewrite (mean_ext m p _ (fun j => t j * x j * y j - b * (t j * x j) - a * (t j * y j)
    + a * b * t j)) by (intros; ring).
  rewrite mean_plus, !mean_minus, !mean_scale, H. ring.
Qed.

(** The absolute values of the terms of covariances, multiplied out. *)
Definition raw_key_feature (g : regression) (P : nat -> nat -> R) (i b c : nat) : R :=
  mean (key_count g) (P i) (fun j => Rabs (A2 g j b) * Rabs (A3 g j c))
  + mean (key_count g) (P i) (fun j => Rabs (A2 g j b)) * terms_mean_feature g P i c.

Definition raw_key_value (g : regression) (P Y : nat -> nat -> R) (i b k : nat) : R :=
  mean (key_count g) (P i) (fun j => Rabs (A2 g j b) * absolute_key_value g Y j k)
  + mean (key_count g) (P i) (fun j => Rabs (A2 g j b))
    * mean (key_count g) (P i) (fun j => absolute_key_value g Y j k).

Definition raw_row (g : regression) (P Y : nat -> nat -> R) (i b b' : nat) : R :=
  let slope := terms_slope g P Y i in
  dot (outputs g) (raw_key_value g P Y i b) (raw_key_value g P Y i b')
  + (mean (key_count g) (P i) (fun j => slope j * Rabs (A2 g j b) * Rabs (A2 g j b'))
    + mean (key_count g) (P i) (fun j => slope j * Rabs (A2 g j b))
      * mean (key_count g) (P i) (fun j => Rabs (A2 g j b'))
    + mean (key_count g) (P i) (fun j => Rabs (A2 g j b))
      * mean (key_count g) (P i) (fun j => slope j * Rabs (A2 g j b'))).

(** The formulas for weights P' in place of P. *)
Section OtherWeights.

Variables (g : regression) (Y P P' : nat -> nat -> R) (e : R).
Let n := query_count g.
Let m := key_count g.
Let d := outputs g.
Hypothesis e_nonneg : 0 <= e.
Hypothesis W : forall i, (i < n)%nat -> weights m (P i).
Hypothesis W' : forall i, (i < n)%nat -> weights m (P' i).
Hypothesis close : forall i j, (i < n)%nat -> (j < m)%nat -> off_by e (P' i j) (P i j) (P i j).

Lemma off_by_mean i r f' f F : (i < n)%nat ->
  (forall j, (j < m)%nat -> off_by r (f' j) (f j) (F j)) ->
  off_by (e + r) (mean m (P' i) f') (mean m (P i) f) (mean m (P i) F).
Proof. intros Hi H. apply off_by_fsum. intros j Hj. apply off_by_times; auto. Qed.

Lemma off_by_exact_mean i f F : (i < n)%nat -> (forall j, (j < m)%nat -> Rabs (f j) <= F j) ->
  off_by e (mean m (P' i) f) (mean m (P i) f) (mean m (P i) F).
Proof.
  intros Hi H. rewrite <- (Rplus_0_r e). apply off_by_mean; auto. intros.
  apply off_by_nothing; auto. lra.
Qed.

Lemma off_by_covariance i f h F H : (i < n)%nat -> (forall j, (j < m)%nat -> Rabs (f j) <= F j) ->
  (forall j, (j < m)%nat -> Rabs (h j) <= H j) ->
  off_by (e + e) (covariance m (P' i) f h) (covariance m (P i) f h)
    (mean m (P i) (fun j => F j * H j) + mean m (P i) F * mean m (P i) H).
Proof.
  intros Hi HF HH. rewrite !covariance_moments by auto. apply off_by_minus.
  - apply (off_by_more e); [lra |]. apply off_by_exact_mean; auto. intros j Hj.
    rewrite Rabs_mult. apply Rmult_le_compat; auto using Rabs_pos.
  - apply off_by_times; auto; apply off_by_exact_mean; auto.
Qed.

Lemma off_by_key_feature i b c : (i < n)%nat ->
  off_by (e + e) (key_feature_at g P' i b c) (key_feature_at g P i b c)
    (raw_key_feature g P i b c).
Proof. intros. apply off_by_covariance; auto; intros; apply Rle_refl. Qed.

Lemma off_by_key_value i b k : (i < n)%nat ->
  off_by (e + e) (key_value_at g P' Y i b k) (key_value_at g P Y i b k) (raw_key_value g P Y i b k).
Proof.
  intros. rewrite !key_value_at_covariance by (apply W || apply W'; auto).
  apply off_by_covariance; auto; intros; [apply Rle_refl | apply absolute_value_le].
Qed.

Lemma off_by_feature i c : (i < n)%nat ->
  off_by e (feature_at g P' i c) (feature_at g P i c) (terms_mean_feature g P i c).
Proof. intros. apply off_by_exact_mean; auto; intros; apply Rle_refl. Qed.

Lemma off_by_output i k : (i < n)%nat ->
  off_by e (mean m (P' i) (fun j => key_value g Y j k)) (mean m (P i) (fun j => key_value g Y j k))
    (mean m (P i) (fun j => absolute_key_value g Y j k)).
Proof. intros. apply off_by_exact_mean; auto; intros; apply absolute_value_le. Qed.

Lemma off_by_residual i k : (i < n)%nat ->
  off_by e (residual_at g P' Y i k) (residual_at g P Y i k) (terms_residual g P Y i k).
Proof.
  intros. apply off_by_minus; [apply off_by_output; auto | apply off_by_nothing; lra].
Qed.

(** <r_i, h_j - p_i H> *)
Let slope (P : nat -> nat -> R) (i j : nat) : R :=
  dot d (residual_at g P Y i)
    (fun k => key_value g Y j k - mean m (P i) (fun l => key_value g Y l k)).

Lemma off_by_slope i j : (i < n)%nat ->
  off_by (e + e) (slope P' i j) (slope P i j) (terms_slope g P Y i j).
Proof.
  intros Hi. apply off_by_fsum. intros k _. apply off_by_times; auto.
  - apply off_by_residual; auto.
  - apply off_by_minus; [apply off_by_nothing; auto; apply absolute_value_le |].
    apply off_by_output; auto.
Qed.

Lemma slopes_average P0 i : weights m (P0 i) -> mean m (P0 i) (slope P0 i) = 0.
Proof.
  intros W0. unfold slope. rewrite <- (mean_product m (P0 i) d (residual_at g P0 Y i)
    (fun j k => key_value g Y j k - mean m (P0 i) (fun l => key_value g Y l k))).
  apply fsum_zero. intros k _. rewrite mean_centred by auto. ring.
Qed.

Lemma row_hessian_moments P0 i b b' : weights m (P0 i) ->
  row_hessian_at g P0 Y i b b' = dot d (key_value_at g P0 Y i b) (key_value_at g P0 Y i b')
    + (mean m (P0 i) (fun j => slope P0 i j * A2 g j b * A2 g j b')
      - mean m (P0 i) (fun j => slope P0 i j * A2 g j b) * mean m (P0 i) (fun j => A2 g j b')
      - mean m (P0 i) (fun j => A2 g j b) * mean m (P0 i) (fun j => slope P0 i j * A2 g j b')).
Proof.
  intros W0. unfold row_hessian_at, dot at 1. f_equal.
  rewrite <- (third_moments m (P0 i) (slope P0 i)) by (apply slopes_average; auto).
  apply fsum_ext. intros j _. unfold slope_at, slope, centred_key_at, m, d. ring.
Qed.

Lemma off_by_row i b b' : (i < n)%nat ->
  off_by (4 * e) (row_hessian_at g P' Y i b b') (row_hessian_at g P Y i b b')
    (raw_row g P Y i b b').
Proof.
  intros Hi. rewrite !row_hessian_moments by auto.
  pose proof (fun j => off_by_slope i j Hi) as S.
  assert (E : 0 <= e + e) by lra.
  assert (K : forall b, off_by e (mean m (P' i) (fun j => A2 g j b))
    (mean m (P i) (fun j => A2 g j b)) (mean m (P i) (fun j => Rabs (A2 g j b))))
    by (intros; apply off_by_exact_mean; auto; intros; apply Rle_refl).
  assert (SK : forall b, off_by (e + (e + e)) (mean m (P' i) (fun j => slope P' i j * A2 g j b))
    (mean m (P i) (fun j => slope P i j * A2 g j b))
    (mean m (P i) (fun j => terms_slope g P Y i j * Rabs (A2 g j b))))
    by (intros; apply off_by_mean; auto; intros; apply off_by_scale_r; auto).
  apply off_by_plus.
  - apply off_by_fsum. intros k _. replace (4 * e) with (e + e + (e + e)) by ring.
    apply off_by_times; auto; apply off_by_key_value; auto.
  - unfold Rminus. apply off_by_minus; [apply off_by_minus |].
    + apply (off_by_more (e + (e + e))); [lra |]. apply off_by_mean; auto. intros.
      apply off_by_scale_r; auto. apply off_by_scale_r; auto.
    + replace (4 * e) with (e + (e + e) + e) by ring. apply off_by_times; auto. lra.
    + replace (4 * e) with (e + (e + (e + e))) by ring. apply off_by_times; auto.
Qed.

Lemma off_by_XX a b a' b' : off_by (4 * e) (hessian_XX_at g P' Y a b a' b')
  (hessian_XX_at g P Y a b a' b') (terms_XX g (raw_row g P Y) a b a' b').
Proof.
  apply off_by_fsum. intros i Hi. rewrite <- Rmult_assoc, <- Rabs_mult.
  apply off_by_scale; [lra |]. apply off_by_row. exact Hi.
Qed.

Lemma off_by_XY a b c k : off_by (3 * e) (hessian_XY_at g P' Y a b c k)
  (hessian_XY_at g P Y a b c k) (terms_XY g (raw_key_value g P Y) (raw_key_feature g P)
    (terms_mean_feature g P) (terms_residual g P Y) a b c k).
Proof.
  apply off_by_fsum. intros i Hi. apply off_by_scale; [lra |].
  rewrite (Rmult_comm (terms_mean_feature g P i c)).
  replace (3 * e) with (e + e + e) by ring.
  apply off_by_plus; apply off_by_times; try lra.
  - apply off_by_key_value; auto.
  - apply off_by_feature; auto.
  - apply off_by_key_feature; auto.
  - apply off_by_residual; auto.
Qed.

Lemma off_by_YY c k c' k' : off_by (2 * e) (hessian_YY_at g P' c k c' k')
  (hessian_YY_at g P c k c' k') (terms_YY g (terms_mean_feature g P) c k c' k').
Proof.
  replace (terms_YY g (terms_mean_feature g P) c k c' k') with
    (fsum n (fun i => terms_mean_feature g P i c * terms_mean_feature g P i c')
      * Rabs (if Nat.eqb k k' then 1 else 0))
    by (unfold terms_YY; fold n; destruct (Nat.eqb k k'); now rewrite ?Rabs_R1, ?Rabs_R0).
  apply off_by_scale_r; [lra |]. apply off_by_fsum. intros i Hi.
  replace (2 * e) with (e + e) by ring. apply off_by_times; auto; apply off_by_feature; auto.
Qed.

End OtherWeights.

(** ** How large the terms are *)

Section Sizes.

Variables (g : regression) (P Y : nat -> nat -> R) (i : nat) (K F V T : R).
Let m := key_count g.
Let d2 := key_dimension g.
Let d3 := feature_dimension g.
Let d := outputs g.
Hypothesis W : weights m (P i).
Hypothesis keys : forall j, (j < m)%nat ->
  norm d2 (A2 g j) <= K /\ norm d3 (A3 g j) <= F /\ norm d (absolute_key_value g Y j) <= V.
Hypothesis target : norm d (targets g i) <= T.

Let K0 : 0 <= K.
Proof.
  apply (longest_nonneg m d2 (A2 g) K (weights_nonempty _ _ W)). intros. now apply keys.
Qed.
Let F0 : 0 <= F.
Proof.
  apply (longest_nonneg m d3 (A3 g) F (weights_nonempty _ _ W)). intros. now apply keys.
Qed.
Let V0 : 0 <= V.
Proof.
  apply (longest_nonneg m d (absolute_key_value g Y) V (weights_nonempty _ _ W)).
  intros. now apply keys.
Qed.
Let T0 : 0 <= T.
Proof. eapply Rle_trans; [apply norm_nonneg | exact target]. Qed.

Let absolute_key j : (j < m)%nat -> norm d2 (fun b => Rabs (A2 g j b)) <= K.
Proof. intros. rewrite norm_abs. now apply keys. Qed.
Let absolute_feature j : (j < m)%nat -> norm d3 (fun b => Rabs (A3 g j b)) <= F.
Proof. intros. rewrite norm_abs. now apply keys. Qed.
Let mean_key : norm d2 (fun b => mean m (P i) (fun j => Rabs (A2 g j b))) <= K.
Proof. apply (mean_norm m (P i) d2 (fun j b => Rabs (A2 g j b))); auto. Qed.

Let key_size j : (j < m)%nat -> norm d2 (terms_key g P i j) <= 2 * K.
Proof. intros. apply terms_centred_norm; auto. Qed.
Let feature_size j : (j < m)%nat -> norm d3 (terms_feature g P i j) <= 2 * F.
Proof. intros. apply terms_centred_norm; auto. Qed.
Let value_size j : (j < m)%nat -> norm d (terms_value g P Y i j) <= 2 * V.
Proof. intros. apply terms_centred_norm; auto. intros. now apply keys. Qed.

Lemma mean_feature_size : norm d3 (terms_mean_feature g P i) <= F.
Proof. apply (mean_norm m (P i) d3 (fun j c => Rabs (A3 g j c))); auto. Qed.

Lemma residual_size : norm d (terms_residual g P Y i) <= V + T.
Proof. apply terms_residual_norm; auto. intros. now apply keys. Qed.

Lemma slope_size j : (j < m)%nat -> Rabs (terms_slope g P Y i j) <= (V + T) * (2 * V).
Proof.
  intros Hj. eapply Rle_trans; [apply dot_norm |].
  apply Rmult_le_compat; auto using norm_nonneg, residual_size.
Qed.

Lemma key_feature_size : frobenius d2 d3 (terms_key_feature g P i) <= 2 * (2 * (K * F)).
Proof.
  replace (2 * (2 * (K * F))) with (2 * K * (2 * F)) by ring.
  apply (mean_outer m (P i) d2 d3 (terms_key g P i) (terms_feature g P i)); auto; lra.
Qed.

Lemma key_value_size : frobenius d2 d (terms_key_value g P Y i) <= 2 * (2 * (K * V)).
Proof.
  replace (2 * (2 * (K * V))) with (2 * K * (2 * V)) by ring.
  apply (mean_outer m (P i) d2 d (terms_key g P i) (terms_value g P Y i)); auto; lra.
Qed.

Lemma raw_key_feature_size : frobenius d2 d3 (raw_key_feature g P i) <= 2 * (K * F).
Proof.
  eapply Rle_trans; [apply frobenius_plus |].
  rewrite (frobenius_outer d2 d3 (fun b => mean _ (P i) (fun j => Rabs (A2 g j b)))).
  assert (frobenius d2 d3 (fun b c => mean m (P i) (fun j => Rabs (A2 g j b) * Rabs (A3 g j c)))
    <= K * F) by (apply (mean_outer m (P i) d2 d3 (fun j b => Rabs (A2 g j b))
      (fun j c => Rabs (A3 g j c))); auto).
  assert (norm d2 (fun b => mean m (P i) (fun j => Rabs (A2 g j b)))
    * norm d3 (terms_mean_feature g P i) <= K * F)
    by (apply Rmult_le_compat; auto using norm_nonneg, mean_feature_size).
  fold m. lra.
Qed.

Lemma raw_key_value_size : frobenius d2 d (raw_key_value g P Y i) <= 2 * (K * V).
Proof.
  eapply Rle_trans; [apply frobenius_plus |].
  rewrite (frobenius_outer d2 d (fun b => mean _ (P i) (fun j => Rabs (A2 g j b)))).
  assert (frobenius d2 d (fun b k => mean m (P i) (fun j => Rabs (A2 g j b)
    * absolute_key_value g Y j k)) <= K * V).
  { apply (mean_outer m (P i) d2 d (fun j b => Rabs (A2 g j b)) (absolute_key_value g Y)); auto.
    intros j Hj. split; auto. now apply keys. }
  assert (norm d2 (fun b => mean m (P i) (fun j => Rabs (A2 g j b)))
    * norm d (fun k => mean m (P i) (fun j => absolute_key_value g Y j k)) <= K * V).
  { apply Rmult_le_compat; auto using norm_nonneg. apply mean_norm; auto. intros. now apply keys. }
  fold m. lra.
Qed.

Lemma sloped_size h k l : (forall j, (j < m)%nat -> norm d2 (h j) <= k) -> l = (V + T) * (2 * V) ->
  forall j, (j < m)%nat -> norm d2 (fun b => terms_slope g P Y i j * h j b) <= l * k.
Proof.
  intros H -> j Hj. rewrite norm_scale.
  apply Rmult_le_compat; auto using Rabs_pos, norm_nonneg, slope_size.
Qed.

Let S0 : 0 <= (V + T) * (2 * V).
Proof. apply Rmult_le_pos; lra. Qed.

Lemma row_size : frobenius d2 d2 (terms_row g P Y i)
  <= K ^ 2 * (16 * V ^ 2 + 8 * (V * (V + T))).
Proof.
  eapply Rle_trans; [apply frobenius_plus |].
  pose proof (norm_gram d2 d (terms_key_value g P Y i) _ key_value_size) as A.
  assert (B : frobenius d2 d2 (fun b b' => mean m (P i) (fun j =>
      terms_slope g P Y i j * terms_key g P i j b * terms_key g P i j b'))
    <= (V + T) * (2 * V) * (2 * K) * (2 * K)).
  { apply (mean_outer m (P i) d2 d2 (fun j b => terms_slope g P Y i j * terms_key g P i j b)
      (terms_key g P i)); auto; [apply Rmult_le_pos; lra | lra |].
    intros j Hj. split; auto. apply sloped_size; auto. }
  fold d m. lra.
Qed.

Lemma raw_row_size : frobenius d2 d2 (raw_row g P Y i)
  <= K ^ 2 * (4 * V ^ 2 + 6 * (V * (V + T))).
Proof.
  eapply Rle_trans; [apply frobenius_plus |].
  pose proof (norm_gram d2 d (raw_key_value g P Y i) _ raw_key_value_size) as A.
  set (h := fun j b => Rabs (A2 g j b)). set (s := terms_slope g P Y i).
  assert (SK : forall j, (j < m)%nat -> norm d2 (fun b => s j * h j b) <= (V + T) * (2 * V) * K)
    by (intros; apply sloped_size; auto).
  assert (MSK : norm d2 (fun b => mean m (P i) (fun j => s j * h j b)) <= (V + T) * (2 * V) * K)
    by (apply (mean_norm m (P i) d2 (fun j b => s j * h j b)); auto; apply Rmult_le_pos; auto).
  assert (MK : norm d2 (fun b => mean m (P i) (fun j => h j b)) <= K) by apply mean_key.
  assert (B : frobenius d2 d2 (fun b b' => mean m (P i) (fun j => s j * h j b * h j b')
      + mean m (P i) (fun j => s j * h j b) * mean m (P i) (fun j => h j b')
      + mean m (P i) (fun j => h j b) * mean m (P i) (fun j => s j * h j b'))
    <= (V + T) * (2 * V) * K * K + (V + T) * (2 * V) * K * K + K * ((V + T) * (2 * V) * K)).
  { eapply Rle_trans; [apply frobenius_plus |]. apply Rplus_le_compat.
    - eapply Rle_trans; [apply frobenius_plus |]. apply Rplus_le_compat.
      + apply (mean_outer m (P i) d2 d2 (fun j b => s j * h j b) h); auto;
          [apply Rmult_le_pos; auto | intros; split; [auto | apply absolute_key; auto]].
      + eapply Rle_trans; [apply Req_le, (frobenius_outer d2 d2
          (fun b => mean m (P i) (fun j => s j * h j b))
          (fun b => mean m (P i) (fun j => h j b))) |].
        apply Rmult_le_compat; auto using norm_nonneg.
    - eapply Rle_trans; [apply Req_le, (frobenius_outer d2 d2
        (fun b => mean m (P i) (fun j => h j b)) (fun b => mean m (P i) (fun j => s j * h j b))) |].
      apply Rmult_le_compat; auto using norm_nonneg. }
  eapply Rle_trans; [apply (Rplus_le_compat _ _ _ _ A B) | right; ring].
Qed.

End Sizes.

Lemma exp_growth eta : 0 <= eta <= 1 / 16 -> exp (8 * eta) - 1 <= 12 * eta.
Proof.
  intros H. replace (8 * eta) with (2 * (4 * eta)) by ring. rewrite exp_double.
  assert (Q : exp (1 / 4) <= 13 / 10).
  { replace (1 / 4) with (2 * (2 * (1 / 16))) by field. rewrite !exp_double.
    assert (S : exp (1 / 16) <= 16 / 15).
    { pose proof (exp_ineq1_le (- (1 / 16))). pose proof (exp_opp_mult (1 / 16)).
      pose proof (exp_pos (1 / 16)). nra. }
    pose proof (exp_pos (1 / 16)).
    assert (exp (1 / 16) * exp (1 / 16) <= 16 / 15 * (16 / 15)) by (apply Rmult_le_compat; lra).
    assert (0 <= exp (1 / 16) * exp (1 / 16)) by (apply Rmult_le_pos; lra).
    nra. }
  pose proof (exp_minus_1_slope (4 * eta) (1 / 4) (13 / 10) ltac:(lra) Q).
  pose proof (exp_le (4 * eta) (1 / 4) ltac:(lra)). pose proof (exp_ge_1 (4 * eta) ltac:(lra)).
  replace (exp (4 * eta) * exp (4 * eta) - 1)
    with ((exp (4 * eta) - 1) * (exp (4 * eta) + 1)) by ring.
  apply Rle_trans with (13 / 10 * (4 * eta) * (23 / 10)); [apply Rmult_le_compat |]; lra.
Qed.

Lemma hessian_error_form n d k u eta phi K F V T : INR k * u < 1 ->
  b_regression_hessian_error n d k u eta phi K F V T
    = (12 * eta + 2 * gamma k u)
      * (phi ^ 2 * K ^ 2 * (4 * V ^ 2 + 8 * V * (V + T))
        + 4 * phi * sqrt (INR n) * K * F * (2 * V + T) + sqrt (INR d) * INR n * F ^ 2).
Proof. intros. unfold b_regression_hessian_error, gamma. field. lra. Qed.

Lemma off_by_block n d n' d' r E E0 M c bound : exp r - 1 <= c -> 0 <= c ->
  block_norm n d n' d' M <= bound ->
  (forall a b a' b', off_by r (E a b a' b') (E0 a b a' b') (M a b a' b')) ->
  block_norm n d n' d' (fun a b a' b' => E a b a' b' - E0 a b a' b') <= c * bound.
Proof.
  intros Hc C0 HM H. apply (block_norm_le n d n' d' c _ M); auto.
  intros a b a' b' _ _ _ _. destruct (H a b a' b') as [L Y].
  pose proof (Rabs_pos (E0 a b a' b')).
  eapply Rle_trans; [exact L |]. apply Rmult_le_compat_r; lra.
Qed.

Lemma computed_block k u n d n' d' M y x bound : 0 <= u -> INR k * u < 1 ->
  (forall a b a' b', (a < n)%nat -> (b < d)%nat -> (a' < n')%nat -> (b' < d')%nat ->
    computed k u (M a b a' b') (y a b a' b') (x a b a' b')) ->
  block_norm n d n' d' M <= bound ->
  block_norm n d n' d' (fun a b a' b' => x a b a' b' - y a b a' b') <= gamma k u * bound.
Proof.
  intros Hu Hk H HM. apply (block_norm_le n d n' d' _ _ M); auto using gamma_nonneg.
  intros. apply computed_error; auto.
Qed.

(** From a computed block to the exact one, over the one that the computed weights have. *)
Lemma block_errors n d n' d' (x y z : nat -> nat -> nat -> nat -> R) A B :
  block_norm n d n' d' (fun a b a' b' => y a b a' b' - z a b a' b') <= A ->
  block_norm n d n' d' (fun a b a' b' => x a b a' b' - y a b a' b') <= B ->
  block_norm n d n' d' (fun a b a' b' => x a b a' b' - z a b a' b') <= A + B.
Proof.
  intros HA HB. apply Rle_trans with (block_norm n d n' d' (fun a b a' b' =>
    (y a b a' b' - z a b a' b') + (x a b a' b' - y a b a' b'))).
  - apply Req_le. unfold block_norm. repeat (apply norm_ext; intros). ring.
  - eapply Rle_trans; [apply block_norm_plus |]. apply Rplus_le_compat; auto.
Qed.

Theorem fp_regression_hessian g X Y W eta k u phi K F V T found_XX found_XY found_YY :
  (0 < query_count g)%nat -> (0 < key_count g)%nat -> 0 <= u -> INR k * u < 1 -> eta <= 1 / 16 ->
  weights_within g X eta W ->
  frobenius (query_count g) (query_dimension g) (A1 g) <= phi ->
  (forall j, (j < key_count g)%nat -> norm (key_dimension g) (A2 g j) <= K /\
    norm (feature_dimension g) (A3 g j) <= F /\
    norm (outputs g) (absolute_key_value g Y j) <= V) ->
  (forall i, (i < query_count g)%nat -> norm (outputs g) (targets g i) <= T) ->
  (* the three blocks, as they were computed *)
  let P := computed_weights g W in
  let d1 := query_dimension g in let d2 := key_dimension g in
  let d3 := feature_dimension g in let d := outputs g in
  (forall a b a' b', (a < d1)%nat -> (b < d2)%nat -> (a' < d1)%nat -> (b' < d2)%nat ->
    computed k u (terms_XX g (terms_row g P Y) a b a' b') (hessian_XX_at g P Y a b a' b')
      (found_XX a b a' b')) ->
  (forall a b c l, (a < d1)%nat -> (b < d2)%nat -> (c < d3)%nat -> (l < d)%nat ->
    computed k u (terms_XY g (terms_key_value g P Y) (terms_key_feature g P)
        (terms_mean_feature g P) (terms_residual g P Y) a b c l)
      (hessian_XY_at g P Y a b c l) (found_XY a b c l)) ->
  (forall c l c' l', (c < d3)%nat -> (l < d)%nat -> (c' < d3)%nat -> (l' < d)%nat ->
    computed k u (terms_YY g (terms_mean_feature g P) c l c' l') (hessian_YY_at g P c l c' l')
      (found_YY c l c' l')) ->
  sqrt (block_norm d1 d2 d1 d2
      (fun a b a' b' => found_XX a b a' b' - hessian_XX g X Y a b a' b') ^ 2
    + 2 * block_norm d1 d2 d3 d (fun a b c l => found_XY a b c l - hessian_XY g X Y a b c l) ^ 2
    + block_norm d3 d d3 d (fun c l c' l' => found_YY c l c' l' - hessian_YY g X c l c' l') ^ 2)
    <= b_regression_hessian_error (query_count g) (outputs g) k u eta phi K F V T.
Proof.
  intros Hn Hm Hu Hk Heta HW Hphi Hkeys HT P d1 d2 d3 d HXX HXY HYY.
  rewrite hessian_error_form by auto. fold d.
  pose proof (weight_error_nonneg g X W eta Hn Hm HW) as E0.
  pose proof (gamma_nonneg k u Hu Hk) as G0.
  set (n := query_count g) in *. set (m := key_count g) in *. set (p := query_weights g X).
  assert (K0 : 0 <= K) by (eapply Rle_trans; [apply norm_nonneg | apply (Hkeys 0%nat Hm)]).
  assert (F0 : 0 <= F) by (eapply Rle_trans; [apply norm_nonneg | apply (Hkeys 0%nat Hm)]).
  assert (V0 : 0 <= V) by (eapply Rle_trans; [apply norm_nonneg | apply (Hkeys 0%nat Hm)]).
  assert (T0 : 0 <= T) by (eapply Rle_trans; [apply norm_nonneg | apply (HT 0%nat Hn)]).
  assert (phi0 : 0 <= phi) by (eapply Rle_trans; [apply frobenius_nonneg | exact Hphi]).
  assert (Wp : forall i, (i < n)%nat -> weights m (p i)) by (intros; apply weight_weights; auto).
  assert (WP : forall i, (i < n)%nat -> weights m (P i))
    by (intros i Hi; apply (reweighted_by_rounding g X W eta i Hm Hi HW)).
  assert (C : forall i j, (i < n)%nat -> (j < m)%nat -> off_by (2 * eta) (P i j) (p i j) (p i j)).
  { intros i j Hi Hj. destruct (HW i Hi) as [c Hc].
    destruct (weights_ratio _ _ _ _ _ Hm Hc) as (w & _ & E). destruct (E j Hj) as [Ew [L U]].
    change (P i j = p i j * w j) in Ew. rewrite Ew. assert (0 <= p i j) by (apply Wp; auto).
    rewrite exp_Ropp in L. pose proof (exp_ge_1 (2 * eta) ltac:(lra)) as D1.
    set (D := exp (2 * eta)) in *.
    assert (2 - D <= / D).
    { apply Rmult_le_reg_r with D; [lra |]. rewrite Rinv_l by lra.
      pose proof (pow2_ge_0 (D - 1)). lra. }
    split; [| rewrite Rabs_pos_eq; lra].
    replace (p i j * w j - p i j) with (p i j * (w j - 1)) by ring.
    rewrite Rabs_mult, Rabs_pos_eq, Rmult_comm by auto.
    apply Rmult_le_compat_r; auto. fold D. apply Rabs_le. lra. }
  assert (G1 : forall c, 0 <= c <= 8 -> exp (c * eta) - 1 <= 12 * eta).
  { intros c Hc. assert (exp (c * eta) <= exp (8 * eta)) by (apply exp_le, Rmult_le_compat_r; lra).
    pose proof (exp_growth eta ltac:(lra)). lra. }
  assert (E1 : 0 <= 2 * eta) by lra. assert (E12 : 0 <= 12 * eta) by lra.
  pose proof (sqrt_pos (INR n)) as N0. pose proof (pos_INR n) as N1.
  pose proof (sqrt_pos (INR d)) as D0.
  assert (VV : 0 <= V * (V + T)) by (apply Rmult_le_pos; lra).
  assert (V2 : V ^ 2 <= V * (V + T)) by nra. pose proof (pow2_ge_0 V) as V3.
  assert (KK : 0 <= K ^ 2) by apply pow2_ge_0. assert (PP : 0 <= phi ^ 2) by apply pow2_ge_0.
  assert (KF : 0 <= K * F) by (apply Rmult_le_pos; auto).
  assert (KF2 : 0 <= K * F * (2 * V + T)) by (apply Rmult_le_pos; lra).
  assert (BX : block_norm d1 d2 d1 d2
      (fun a b a' b' => found_XX a b a' b' - hessian_XX g X Y a b a' b')
    <= 12 * eta * (phi ^ 2 * (K ^ 2 * (4 * V ^ 2 + 6 * (V * (V + T)))))
      + gamma k u * (phi ^ 2 * (K ^ 2 * (16 * V ^ 2 + 8 * (V * (V + T)))))).
  { rewrite (proj1 (hessian_at_softmax g X Y)).
    apply (block_errors d1 d2 d1 d2 _ (hessian_XX_at g P Y)).
    - apply (off_by_block _ _ _ _ (4 * (2 * eta)) _ _ (terms_XX g (raw_row g p Y))); auto.
      + replace (4 * (2 * eta)) with (8 * eta) by ring. apply G1. lra.
      + apply norm_XX; auto; [apply Rmult_le_pos; lra |]. intros.
        apply (raw_row_size g p Y i K F V T); auto.
      + intros. apply off_by_XX; auto.
    - apply (computed_block k u _ _ _ _ (terms_XX g (terms_row g P Y))); auto.
      apply norm_XX; auto; [apply Rmult_le_pos; lra |]. intros.
      apply (row_size g P Y i K F V T); auto. }
  assert (BXY : block_norm d1 d2 d3 d
      (fun a b c l => found_XY a b c l - hessian_XY g X Y a b c l)
    <= 12 * eta * (sqrt (INR n) * phi * (2 * (K * F * (2 * V + T))))
      + gamma k u * (sqrt (INR n) * phi * (2 * (2 * (K * F * (2 * V + T)))))).
  { rewrite (proj1 (proj2 (hessian_at_softmax g X Y))).
    apply (block_errors d1 d2 d3 d _ (hessian_XY_at g P Y)).
    - apply (off_by_block _ _ _ _ (3 * (2 * eta)) _ _ (terms_XY g (raw_key_value g p Y)
        (raw_key_feature g p) (terms_mean_feature g p) (terms_residual g p Y))); auto.
      + replace (3 * (2 * eta)) with (6 * eta) by ring. apply G1. lra.
      + apply norm_XY; auto; [lra |]. intros i Hi.
        apply Rle_trans with (2 * (K * V) * F + 2 * (K * F) * (V + T)); [| right; ring].
        apply Rplus_le_compat; apply Rmult_le_compat; auto using norm_nonneg, frobenius_nonneg.
        * apply (raw_key_value_size g p Y i K F V); auto.
        * apply (mean_feature_size g p Y i K F V); auto.
        * apply (raw_key_feature_size g p Y i K F V); auto.
        * apply (residual_size g p Y i K F V T); auto.
      + intros. apply off_by_XY; auto.
    - apply (computed_block k u _ _ _ _ (terms_XY g (terms_key_value g P Y)
        (terms_key_feature g P) (terms_mean_feature g P) (terms_residual g P Y))); auto.
      apply norm_XY; auto; [lra |]. intros i Hi.
      apply Rle_trans with (2 * (2 * (K * V)) * F + 2 * (2 * (K * F)) * (V + T)); [| right; ring].
      apply Rplus_le_compat; apply Rmult_le_compat; auto using norm_nonneg, frobenius_nonneg.
      + apply (key_value_size g P Y i K F V); auto.
      + apply (mean_feature_size g P Y i K F V); auto.
      + apply (key_feature_size g P Y i K F V); auto.
      + apply (residual_size g P Y i K F V T); auto. }
  assert (BY : block_norm d3 d d3 d
      (fun c l c' l' => found_YY c l c' l' - hessian_YY g X c l c' l')
    <= 12 * eta * (sqrt (INR d) * INR n * F ^ 2) + gamma k u * (sqrt (INR d) * INR n * F ^ 2)).
  { rewrite (proj2 (proj2 (hessian_at_softmax g X Y))).
    apply (block_errors d3 d d3 d _ (hessian_YY_at g P)).
    - apply (off_by_block _ _ _ _ (2 * (2 * eta)) _ _ (terms_YY g (terms_mean_feature g p))); auto.
      + replace (2 * (2 * eta)) with (4 * eta) by ring. apply G1. lra.
      + apply norm_YY; auto. intros. apply (mean_feature_size g p Y i K F V); auto.
      + intros. apply off_by_YY; auto.
    - apply (computed_block k u _ _ _ _ (terms_YY g (terms_mean_feature g P))); auto.
      apply norm_YY; auto. intros. apply (mean_feature_size g P Y i K F V); auto. }
  assert (Sum : forall x y z, 0 <= x -> 0 <= y -> 0 <= z ->
    sqrt (x ^ 2 + 2 * y ^ 2 + z ^ 2) <= x + 2 * y + z).
  { intros x y z Hx Hy Hz. rewrite <- (sqrt_pow2 (x + 2 * y + z)) by lra.
    apply sqrt_le_1_alt. nra. }
  eapply Rle_trans; [apply Sum; apply frobenius_nonneg |].
  set (G := gamma k u) in *. clearbody G.
  assert (PK : 0 <= phi ^ 2 * K ^ 2) by (apply Rmult_le_pos; auto).
  assert (NP : 0 <= sqrt (INR n) * phi * (K * F * (2 * V + T)))
    by (apply Rmult_le_pos; auto; apply Rmult_le_pos; auto).
  assert (NF : 0 <= sqrt (INR d) * INR n * F ^ 2)
    by (apply Rmult_le_pos; [apply Rmult_le_pos; auto | apply pow2_ge_0]).
  assert (A1' : 12 * eta * (phi ^ 2 * K ^ 2 * (4 * V ^ 2 + 6 * (V * (V + T))))
    <= 12 * eta * (phi ^ 2 * K ^ 2 * (4 * V ^ 2 + 8 * (V * (V + T)))))
    by (apply Rmult_le_compat_l; auto; apply Rmult_le_compat_l; lra).
  assert (A2' : G * (phi ^ 2 * K ^ 2 * (16 * V ^ 2 + 8 * (V * (V + T))))
    <= G * (phi ^ 2 * K ^ 2 * (8 * V ^ 2 + 16 * (V * (V + T)))))
    by (apply Rmult_le_compat_l; auto; apply Rmult_le_compat_l; lra).
  assert (A3' : 0 <= G * (sqrt (INR d) * INR n * F ^ 2)) by (apply Rmult_le_pos; auto).
  lra.
Qed.
