(** Attention regression: the formulas of its loss, gradient and Hessian (claims P4.loss, P4.tensor,
    P4.model, P4.gradient and P4.hessian).

    Steps: (1) an index of A1 kron A2 is a pair of indices, and a sum over it a sum over both;
    (2) derivatives along a line (Regression.v) are sums over rows of means, covariances and third
    cumulants of logits a_i^T U a2_j and of values; (3) means and covariances are linear, and
    <U, sum_i x_i y_i^T> = sum_i <U^T x_i, y_i>, which turns these sums into the formulas;
    (4) of vectors with h entries more than h are dependent. *)

Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Softmax Require Import Softmax.
From Attest.Regression Require Import Cumulants Regression Curvature.
Open Scope R_scope.

(** * Sums of sums *)

Lemma fsum_pairs a b f :
  fsum (a * b) f = fsum a (fun i => fsum b (fun j => f (i * b + j)%nat)).
Proof.
  induction a; [reflexivity |].
  rewrite fsum_S, <- IHa, Nat.mul_succ_l. generalize (a * b)%nat. clear. intros k.
  induction b; [rewrite Nat.add_0_r; simpl; ring |].
  rewrite Nat.add_succ_r, !fsum_S, IHb. ring.
Qed.

(** <U, V>, summed over both indices *)
Definition inner (rows columns : nat) (U V : nat -> nat -> R) : R :=
  fsum rows (fun a => fsum columns (fun b => U a b * V a b)).

Lemma inner_ext rows columns U V W :
  (forall a b, (a < rows)%nat -> (b < columns)%nat -> V a b = W a b) ->
  inner rows columns U V = inner rows columns U W.
Proof. intros H. apply fsum_ext. intros. apply fsum_ext. intros. now rewrite H. Qed.

Lemma inner_sum rows columns n U w (V : nat -> nat -> nat -> R) :
  inner rows columns U (fun a b => fsum n (fun i => w i * V i a b))
  = fsum n (fun i => w i * inner rows columns U (V i)).
Proof.
  unfold inner.
  rewrite (fsum_ext rows _ (fun a => fsum n (fun i =>
    fsum columns (fun b => w i * (U a b * V i a b))))).
  - rewrite fsum_swap. apply fsum_ext. intros i _. rewrite <- fsum_scale.
    apply fsum_ext. intros. apply fsum_scale.
  - intros a _. rewrite <- fsum_swap. apply fsum_ext. intros b _. rewrite <- fsum_scale.
    apply fsum_ext. intros. ring.
Qed.

(** <U, x_i y^T> = <U^T x_i, y> *)
Lemma inner_one rows columns U x i y :
  inner rows columns U (fun a b => x i a * y b) = dot columns (times rows x U i) y.
Proof.
  unfold inner, dot, times. rewrite fsum_swap. apply fsum_ext. intros b _.
  rewrite <- fsum_scale_r. apply fsum_ext. intros. ring.
Qed.

(** <U, sum_i x_i y_i^T> = sum_i <U^T x_i, y_i> *)
Lemma inner_outer rows columns n U (x y : nat -> nat -> R) :
  inner rows columns U (fun a b => fsum n (fun i => x i a * y i b))
  = fsum n (fun i => dot columns (times rows x U i) (y i)).
Proof.
  rewrite (inner_ext rows columns U _ (fun a b => fsum n (fun i => 1 * (x i a * y i b))))
    by (intros; apply fsum_ext; intros; ring).
  rewrite (inner_sum rows columns n U (fun _ => 1) (fun i a b => x i a * y i b)).
  apply fsum_ext. intros. rewrite inner_one. ring.
Qed.

(** z^T (sum_i w_i x_i x_i^T) z = sum_i w_i (z . x_i)^2 *)
Lemma form_of_outer l n z w (x : nat -> nat -> R) :
  dot l z (fun b => dot l z (fun b' => fsum n (fun i => w i * x i b * x i b')))
  = fsum n (fun i => w i * dot l z (x i) ^ 2).
Proof.
  rewrite (dot_ext l z _ (fun b => fsum n (fun i => w i * dot l z (x i) * x i b))).
  - rewrite (dot_sum l n z (fun i => w i * dot l z (x i)) x). apply fsum_ext. intros. ring.
  - intros b _. rewrite (dot_sum l n z (fun i => w i * x i b) x). apply fsum_ext. intros. ring.
Qed.

(** * The abstract's loss *)

(** A1 kron A2 *)
Definition kronecker (g : regression) (r l : nat) : R :=
  A1 g (r / key_count g) (l / key_dimension g) * A2 g (r mod key_count g) (l mod key_dimension g).

(** X read row by row *)
Definition vec (g : regression) (X : nat -> nat -> R) (l : nat) : R :=
  X (l / key_dimension g)%nat (l mod key_dimension g).

(** Entry j of block i of (A1 kron A2) vec (X) *)
Definition block_logit (g : regression) (X : nat -> nat -> R) (i j : nat) : R :=
  fsum (query_dimension g * key_dimension g) (fun l =>
    kronecker g (i * key_count g + j) l * vec g X l).

Definition abstract_loss (g : regression) (X Y : nat -> nat -> R) : R :=
  let e i j := exp (block_logit g X i j) in
  fsum (query_count g) (fun i => fsum (outputs g) (fun k =>
    (dot (key_count g) (fun j => / fsum (key_count g) (e i) * e i j) (fun j => key_value g Y j k)
     - targets g i k) ^ 2)).

Lemma div_mod_pair b i j : (j < b)%nat -> ((i * b + j) / b = i /\ (i * b + j) mod b = j)%nat.
Proof.
  intros H. rewrite Nat.add_comm. split.
  - rewrite Nat.div_add, Nat.div_small; lia.
  - rewrite Nat.mod_add, Nat.mod_small; lia.
Qed.

Theorem p4_tensor g X i j : (j < key_count g)%nat ->
  block_logit g X i j - query_logit g X i j = b_tensor_difference.
Proof.
  intros Hj. unfold b_tensor_difference, block_logit. rewrite fsum_pairs.
  apply Rminus_diag_eq, fsum_ext. intros a _. apply fsum_ext. intros b Hb. unfold kronecker, vec.
  destruct (div_mod_pair (key_count g) i j Hj) as [-> ->].
  destruct (div_mod_pair (key_dimension g) a b Hb) as [-> ->]. ring.
Qed.

Theorem p4_loss g X Y : abstract_loss g X Y - 2 * regression_loss g X Y = b_loss_difference.
Proof.
  unfold b_loss_difference, abstract_loss, regression_loss.
  match goal with |- _ - 2 * (?s / 2) = _ => replace (2 * (s / 2)) with s by field end.
  apply Rminus_diag_eq, fsum_ext. intros i _. apply fsum_ext. intros k _. f_equal.
  unfold residual. f_equal.
  assert (E : forall j, (j < key_count g)%nat -> block_logit g X i j = query_logit g X i j).
  { intros j Hj. pose proof (p4_tensor g X i j Hj). unfold b_tensor_difference in H. lra. }
  apply fsum_ext. intros j Hj. unfold query_weights, softmax, normalize. rewrite (E j Hj).
  rewrite (fsum_ext (key_count g) _ (fun l => exp (query_logit g X i l)))
    by (intros; now rewrite E).
  unfold Rdiv. ring.
Qed.

(** * An average is no longer than the longest *)

Theorem p4_largest_residual g X Y value_distance i : (0 < key_count g)%nat ->
  (forall j, (j < key_count g)%nat ->
    norm (outputs g) (fun k => key_value g Y j k - targets g i k) <= value_distance) ->
  norm (outputs g) (residual g X Y i) <= b_largest_residual value_distance.
Proof.
  intros Hm H. unfold b_largest_residual. pose proof (weight_weights g X i Hm) as W.
  rewrite (norm_ext _ _ (fun k => mean (key_count g) (query_weights g X i)
      (fun j => key_value g Y j k - targets g i k)))
    by (intros; unfold residual; now rewrite mean_minus, mean_const).
  eapply Rle_trans;
    [apply (norm_mean _ _ _ (fun j k => key_value g Y j k - targets g i k)); apply W |].
  rewrite <- (mean_const (key_count g) (query_weights g X i) value_distance W). apply mean_le; auto.
Qed.

(** One key. *)
Theorem p4_largest_residual_attained g X Y i : key_count g = 1%nat ->
  norm (outputs g) (residual g X Y i)
    = b_largest_residual (norm (outputs g) (fun k => key_value g Y 0 k - targets g i k)).
Proof.
  intros E. apply norm_ext. intros k _.
  unfold residual, mean, dot, query_weights, softmax, normalize. rewrite E. cbn [fsum].
  pose proof (exp_pos (query_logit g X i 0)). field. lra.
Qed.

(** * Means and covariances are linear *)

Lemma mean_sum m p l (c : nat -> R) (v : nat -> nat -> R) :
  mean m p (fun j => fsum l (fun a => c a * v a j)) = fsum l (fun a => c a * mean m p (v a)).
Proof. apply dot_sum. Qed.

Lemma covariance_sum m p u l (c : nat -> R) (v : nat -> nat -> R) : weights m p ->
  covariance m p u (fun j => fsum l (fun a => c a * v a j))
  = fsum l (fun a => c a * covariance m p u (v a)).
Proof.
  intros W. rewrite (covariance_right m p u _ 0 W).
  rewrite (mean_ext m p _ (fun j => fsum l (fun a => c a * ((u j - mean m p u) * (v a j - 0))))).
  - rewrite (mean_sum m p l c (fun a j => (u j - mean m p u) * (v a j - 0))).
    apply fsum_ext. intros a _. now rewrite (covariance_right m p u (v a) 0 W).
  - intros j _. rewrite Rminus_0_r, <- fsum_scale. apply fsum_ext. intros. ring.
Qed.

(** * The formulas *)

(** g_ij = p_ij <r_i, h_j - p_i H> *)
Definition logit_gradient (g : regression) (X Y : nat -> nat -> R) (i j : nat) : R :=
  query_weights g X i j * dot (outputs g) (residual g X Y i)
    (fun k => key_value g Y j k
      - mean (key_count g) (query_weights g X i) (fun l => key_value g Y l k)).

(** A1^T g A2 *)
Definition gradient_X (g : regression) (X Y : nat -> nat -> R) (a b : nat) : R :=
  fsum (query_count g) (fun i =>
    A1 g i a * fsum (key_count g) (fun j => logit_gradient g X Y i j * A2 g j b)).

(** F^T R *)
Definition gradient_Y (g : regression) (X Y : nat -> nat -> R) (c k : nat) : R :=
  fsum (query_count g) (fun i => mean_feature g X i c * residual g X Y i k).

(** K_i *)
Definition key_feature_covariance (g : regression) (X : nat -> nat -> R) (i b c : nat) : R :=
  covariance (key_count g) (query_weights g X i) (fun j => A2 g j b) (fun j => A3 g j c).

(** Q_i = K_i Y *)
Definition key_value_covariance (g : regression) (X Y : nat -> nat -> R) (i b k : nat) : R :=
  times (feature_dimension g) (key_feature_covariance g X i) Y b k.

(** a2_j - mu_i *)
Definition centred_key (g : regression) (X : nat -> nat -> R) (i j b : nat) : R :=
  A2 g j b - mean (key_count g) (query_weights g X i) (fun l => A2 g l b).

(** Q_i Q_i^T + sum_j g_ij (a2_j - mu_i) (a2_j - mu_i)^T *)
Definition row_hessian (g : regression) (X Y : nat -> nat -> R) (i b b' : nat) : R :=
  fsum (outputs g) (fun k => key_value_covariance g X Y i b k * key_value_covariance g X Y i b' k)
  + fsum (key_count g) (fun j =>
      logit_gradient g X Y i j * centred_key g X i j b * centred_key g X i j b').

(** Entry ((a, b), (a', b')) of sum_i a_i a_i^T kron row_hessian_i *)
Definition hessian_XX (g : regression) (X Y : nat -> nat -> R) (a b a' b' : nat) : R :=
  fsum (query_count g) (fun i => A1 g i a * A1 g i a' * row_hessian g X Y i b b').

Definition hessian_XY (g : regression) (X Y : nat -> nat -> R) (a b c k : nat) : R :=
  fsum (query_count g) (fun i => A1 g i a
    * (key_value_covariance g X Y i b k * mean_feature g X i c
       + key_feature_covariance g X i b c * residual g X Y i k)).

(** F^T F kron I *)
Definition hessian_YY (g : regression) (X : nat -> nat -> R) (c k c' k' : nat) : R :=
  fsum (query_count g) (fun i => mean_feature g X i c * mean_feature g X i c')
  * (if Nat.eqb k k' then 1 else 0).

(** <gradient, (U, V)> *)
Definition gradient_form (g : regression) (X Y U V : nat -> nat -> R) : R :=
  inner (query_dimension g) (key_dimension g) U (gradient_X g X Y)
  + inner (feature_dimension g) (outputs g) V (gradient_Y g X Y).

(** <(U, V), Hessian (U, V)> *)
Definition hessian_form (g : regression) (X Y U V : nat -> nat -> R) : R :=
  let over_x := inner (query_dimension g) (key_dimension g) U in
  let over_y := inner (feature_dimension g) (outputs g) V in
  over_x (fun a b => over_x (hessian_XX g X Y a b))
  + 2 * over_x (fun a b => over_y (hessian_XY g X Y a b))
  + over_y (fun c k => over_y (hessian_YY g X c k)).

Section Formulas.

Variables (g : regression) (X : nat -> nat -> R).
Hypothesis keys_positive : (0 < key_count g)%nat.

Let n := query_count g.
Let m := key_count g.
Let d1 := query_dimension g.
Let d2 := key_dimension g.
Let d3 := feature_dimension g.
Let d := outputs g.
Let p := query_weights g X.

Let W i : weights m (p i).
Proof. apply weight_weights, keys_positive. Qed.

(** a_i^T U *)
Let z U := times d1 (A1 g) U.

Lemma mean_of_values V i k :
  times d3 (mean_feature g X) V i k = mean m (p i) (fun j => key_value g V j k).
Proof.
  unfold times, mean_feature, key_value.
  rewrite (mean_ext m (p i) _ (fun j => fsum d3 (fun c => V c k * A3 g j c)))
    by (intros; apply fsum_ext; intros; ring).
  rewrite (mean_sum m (p i) d3 (fun c => V c k) (fun c j => A3 g j c)).
  apply fsum_ext. intros. unfold m, p. ring.
Qed.

Lemma centred_logit U i j :
  dot d2 (z U i) (centred_key g X i j) = query_logit g U i j - mean m (p i) (query_logit g U i).
Proof.
  rewrite (mean_ext m (p i) _ (fun j => fsum d2 (fun b => z U i b * A2 g j b)))
    by (intros; apply logit_dot).
  rewrite (mean_sum m (p i) d2 (z U i) (fun b j => A2 g j b)), logit_dot.
  unfold dot. rewrite <- fsum_minus. apply fsum_ext. intros. unfold centred_key, z, d1, m, p. ring.
Qed.

Lemma logit_value V U i k :
  dot d2 (z U i) (fun b => key_value_covariance g X V i b k)
  = covariance m (p i) (query_logit g U i) (fun j => key_value g V j k).
Proof.
  unfold key_value_covariance, times at 1.
  rewrite (dot_ext d2 _ _ (fun b => fsum d3 (fun c => V c k * key_feature_covariance g X i b c)))
    by (intros; apply fsum_ext; intros; ring).
  rewrite (dot_sum d2 d3 _ (fun c => V c k) (fun c b => key_feature_covariance g X i b c)).
  rewrite (covariance_ext m (p i) (query_logit g U i) (query_logit g U i) _
    (fun j => fsum d3 (fun c => V c k * A3 g j c)))
    by (auto; intros; apply fsum_ext; intros; ring).
  rewrite (covariance_sum m (p i) (query_logit g U i) d3 (fun c => V c k) (fun c j => A3 g j c))
    by auto.
  apply fsum_ext. intros c _. f_equal.
  rewrite (covariance_ext m (p i) (query_logit g U i)
    (fun j => fsum d2 (fun b => z U i b * A2 g j b)) (fun j => A3 g j c) (fun j => A3 g j c))
    by (auto; intros; apply logit_dot).
  rewrite covariance_sym.
  rewrite (covariance_sum m (p i) (fun j => A3 g j c) d2 (z U i) (fun b j => A2 g j b)) by auto.
  apply fsum_ext. intros b _. f_equal. apply covariance_sym.
Qed.

Variable Y : nat -> nat -> R.

(** sum_j g_ij f_j = sum_k r_ik Cov (f, h_k), and the same of any f that is centred once. *)
Lemma slope_sum i (f : nat -> R) :
  fsum m (fun j => logit_gradient g X Y i j * f j)
  = fsum d (fun k => residual g X Y i k * mean m (p i) (fun j =>
      f j * (key_value g Y j k - mean m (p i) (fun l => key_value g Y l k)))).
Proof.
  rewrite (fsum_ext m _ (fun j => fsum d (fun k => residual g X Y i k * (p i j
    * (f j * (key_value g Y j k - mean m (p i) (fun l => key_value g Y l k))))))).
  - rewrite fsum_swap. apply fsum_ext. intros k _. apply fsum_scale.
  - intros j _. unfold logit_gradient, dot. rewrite <- fsum_scale, <- fsum_scale_r.
    apply fsum_ext. intros. unfold p, m. ring.
Qed.

Lemma gradient_sum U V :
  gradient_form g X Y U V = entries g (fun i k => residual g X Y i k * velocity g X Y U V i k).
Proof.
  unfold gradient_form, gradient_X, gradient_Y, entries. fold n m d1 d2 d3 d.
  rewrite (inner_outer d1 d2 n U (A1 g)
    (fun i b => fsum m (fun j => logit_gradient g X Y i j * A2 g j b))).
  rewrite (inner_outer d3 d n V (mean_feature g X) (residual g X Y)).
  rewrite <- fsum_plus. apply fsum_ext. intros i _. fold (z U).
  rewrite (dot_sum d2 m (z U i) (logit_gradient g X Y i) (A2 g)).
  rewrite (fsum_ext m _ (fun j => logit_gradient g X Y i j * query_logit g U i j))
    by (intros; now rewrite logit_dot).
  rewrite slope_sum. unfold dot. rewrite <- fsum_plus. apply fsum_ext. intros k _.
  rewrite mean_of_values. unfold velocity. fold m p.
  rewrite (covariance_left m (p i) _ _ 0) by auto.
  rewrite (mean_ext m (p i) (fun j => (query_logit g U i j - 0) * _)
    (fun j => query_logit g U i j
      * (key_value g Y j k - mean m (p i) (fun l => key_value g Y l k))))
    by (intros; ring).
  ring.
Qed.

Lemma sum_XX U :
  inner d1 d2 U (fun a b => inner d1 d2 U (hessian_XX g X Y a b))
  = entries g (fun i k => covariance m (p i) (query_logit g U i) (fun j => key_value g Y j k) ^ 2
      + residual g X Y i k
        * third_cumulant m (p i) (query_logit g U i) (fun j => key_value g Y j k)).
Proof.
  rewrite (inner_ext d1 d2 U _ (fun a b => fsum n (fun i =>
    A1 g i a * dot d2 (z U i) (row_hessian g X Y i b)))).
  - rewrite (inner_outer d1 d2 n U (A1 g) (fun i b => dot d2 (z U i) (row_hessian g X Y i b))).
    apply fsum_ext. intros i _. fold (z U).
    transitivity (dot d2 (z U i) (fun b => dot d2 (z U i) (fun b' => fsum d (fun k =>
        1 * key_value_covariance g X Y i b k * key_value_covariance g X Y i b' k)))
      + dot d2 (z U i) (fun b => dot d2 (z U i) (fun b' => fsum m (fun j =>
        logit_gradient g X Y i j * centred_key g X i j b * centred_key g X i j b')))).
    + rewrite <- dot_plus. apply dot_ext. intros b _. rewrite <- dot_plus. apply dot_ext.
      intros b' _. unfold row_hessian. f_equal. apply fsum_ext. intros. ring.
    + rewrite (form_of_outer d2 d (z U i) (fun _ => 1)
        (fun k b => key_value_covariance g X Y i b k)).
      rewrite (form_of_outer d2 m (z U i) (logit_gradient g X Y i) (centred_key g X i)).
      rewrite slope_sum, <- fsum_plus. apply fsum_ext. intros k _. rewrite logit_value.
      rewrite Rmult_1_l. f_equal. f_equal. apply mean_ext. intros j _. now rewrite centred_logit.
  - intros a b _ _.
    rewrite (inner_ext d1 d2 U _ (fun a' b' => fsum n (fun i =>
      A1 g i a * (A1 g i a' * row_hessian g X Y i b b'))))
      by (intros; apply fsum_ext; intros; ring).
    rewrite (inner_sum d1 d2 n U (fun i => A1 g i a)
      (fun i a' b' => A1 g i a' * row_hessian g X Y i b b')).
    apply fsum_ext. intros i _. now rewrite inner_one.
Qed.

Lemma sum_XY U V :
  inner d1 d2 U (fun a b => inner d3 d V (hessian_XY g X Y a b))
  = entries g (fun i k =>
      mean m (p i) (fun j => key_value g V j k)
        * covariance m (p i) (query_logit g U i) (fun j => key_value g Y j k)
      + residual g X Y i k * covariance m (p i) (query_logit g U i) (fun j => key_value g V j k)).
Proof.
  set (N := fun i b c k => key_value_covariance g X Y i b k * mean_feature g X i c
    + key_feature_covariance g X i b c * residual g X Y i k).
  rewrite (inner_ext d1 d2 U _ (fun a b => fsum n (fun i => A1 g i a * inner d3 d V (N i b)))).
  - rewrite (inner_outer d1 d2 n U (A1 g) (fun i b => inner d3 d V (N i b))).
    apply fsum_ext. intros i _. fold (z U).
    rewrite (dot_ext d2 (z U i) _ (fun b =>
      fsum d (fun k => mean m (p i) (fun j => key_value g V j k) * key_value_covariance g X Y i b k)
      + fsum d (fun k => residual g X Y i k * key_value_covariance g X V i b k))).
    + rewrite dot_plus, fsum_plus. f_equal.
      * rewrite (dot_sum d2 d _ (fun k => mean m (p i) (fun j => key_value g V j k))
          (fun k b => key_value_covariance g X Y i b k)).
        apply fsum_ext. intros k _. now rewrite logit_value.
      * rewrite (dot_sum d2 d _ (residual g X Y i) (fun k b => key_value_covariance g X V i b k)).
        apply fsum_ext. intros k _. now rewrite logit_value.
    + intros b _. unfold N.
      transitivity (inner d3 d V (fun c k =>
          mean_feature g X i c * key_value_covariance g X Y i b k)
        + inner d3 d V (fun c k => key_feature_covariance g X i b c * residual g X Y i k)).
      * unfold inner. rewrite <- fsum_plus. apply fsum_ext. intros c _. rewrite <- fsum_plus.
        apply fsum_ext. intros. ring.
      * rewrite (inner_one d3 d V (mean_feature g X)).
        rewrite (inner_one d3 d V (key_feature_covariance g X i) b).
        unfold dot. f_equal; apply fsum_ext; intros k _; [now rewrite mean_of_values |].
        apply Rmult_comm.
  - intros a b _ _. apply (inner_sum d3 d n V (fun i => A1 g i a) (fun i => N i b)).
Qed.

Lemma sum_YY V :
  inner d3 d V (fun c k => inner d3 d V (hessian_YY g X c k))
  = entries g (fun i k => mean m (p i) (fun j => key_value g V j k) ^ 2).
Proof.
  rewrite (inner_ext d3 d V _ (fun c k => fsum n (fun i =>
    mean_feature g X i c * mean m (p i) (fun j => key_value g V j k)))).
  - rewrite (inner_outer d3 d n V (mean_feature g X)
      (fun i k => mean m (p i) (fun j => key_value g V j k))).
    apply fsum_ext. intros i _. apply fsum_ext. intros k _. rewrite mean_of_values. ring.
  - intros c k _ Hk. unfold hessian_YY, inner.
    rewrite (fsum_ext d3 _ (fun c' => fsum n (fun i => mean_feature g X i c
      * (mean_feature g X i c' * V c' k)))).
    + rewrite fsum_swap. apply fsum_ext. intros i _. rewrite fsum_scale. f_equal.
      apply mean_of_values.
    + intros c' _. fold n. rewrite (fsum_ext d _ (fun k' => if Nat.eqb k' k
        then V c' k * fsum n (fun i => mean_feature g X i c * mean_feature g X i c') else 0)).
      * rewrite fsum_one by exact Hk. rewrite <- fsum_scale, Rmult_0_r, Rplus_0_r.
        apply fsum_ext. intros. ring.
      * intros k' _. rewrite Nat.eqb_sym. destruct (Nat.eqb_spec k' k) as [-> |]; ring.
Qed.

Lemma hessian_sum U V : hessian_form g X Y U V = entries g (fun i k =>
  velocity g X Y U V i k ^ 2 + residual g X Y i k * acceleration g X Y U V i k).
Proof.
  unfold hessian_form. fold d1 d2 d3 d. rewrite sum_XX, sum_XY, sum_YY. unfold entries.
  rewrite <- fsum_scale, <- !fsum_plus. apply fsum_ext. intros i _.
  rewrite <- fsum_scale, <- !fsum_plus. apply fsum_ext. intros k _.
  unfold velocity, acceleration. fold m p. ring.
Qed.

End Formulas.

(** * They are the derivatives *)

Theorem p4_gradient g X Y U V : (0 < key_count g)%nat ->
  is_derive (loss_along g X Y U V) 0 (gradient_form g X Y U V + b_gradient_difference).
Proof.
  intros Hm. unfold b_gradient_difference. rewrite Rplus_0_r, gradient_sum by exact Hm.
  pose proof (is_derive_along g X Y U V Hm 0) as D.
  cbv beta zeta in D. rewrite !moved_0 in D. exact D.
Qed.

Theorem p4_hessian g X Y U V : (0 < key_count g)%nat ->
  is_derive_n (loss_along g X Y U V) 2 0 (hessian_form g X Y U V + b_hessian_difference).
Proof.
  intros Hm. unfold b_hessian_difference. rewrite Rplus_0_r, hessian_sum by exact Hm.
  apply (is_derive_ext (fun t => entries g (fun i k =>
    residual g (moved X U t) (moved Y V t) i k * velocity g (moved X U t) (moved Y V t) U V i k))).
  - intros t. symmetry. apply is_derive_unique, is_derive_along, Hm.
  - pose proof (is_derive_along_1 g X Y U V Hm 0) as D.
    cbv beta zeta in D. rewrite !moved_0 in D. exact D.
Qed.

(** The same of Coq's own derivatives, as equations. *)
Theorem p4_gradient_difference g X Y U V : (0 < key_count g)%nat ->
  ex_derive (loss_along g X Y U V) 0 /\
  Derive (loss_along g X Y U V) 0 - gradient_form g X Y U V = b_gradient_difference.
Proof.
  intros Hm. pose proof (p4_gradient g X Y U V Hm) as D. split; [now eexists; exact D |].
  rewrite (is_derive_unique _ _ _ D). ring.
Qed.

Theorem p4_hessian_difference g X Y U V : (0 < key_count g)%nat ->
  ex_derive_n (loss_along g X Y U V) 2 0 /\
  Derive_n (loss_along g X Y U V) 2 0 - hessian_form g X Y U V = b_hessian_difference.
Proof.
  intros Hm. pose proof (p4_hessian g X Y U V Hm) as D. split; [now eexists; exact D |].
  rewrite (is_derive_n_unique _ _ _ _ D). ring.
Qed.

(** * Heads *)

(** W_Q W_K^T *)
Definition projections (h : nat) (WQ WK : nat -> nat -> R) (a b : nat) : R := dot h (WQ a) (WK b).

Theorem p4_model g h WQ WK i j :
  query_logit g (projections h WQ WK) i j
  - dot h (times (query_dimension g) (A1 g) WQ i) (times (key_dimension g) (A2 g) WK j)
  = b_model_difference.
Proof.
  unfold b_model_difference. apply Rminus_diag_eq. unfold query_logit, projections, dot, times.
  rewrite (fsum_ext (query_dimension g) _ (fun a => fsum h (fun l =>
    A1 g i a * WQ a l * fsum (key_dimension g) (fun b => A2 g j b * WK b l)))).
  - rewrite fsum_swap. apply fsum_ext. intros l _. apply fsum_scale_r.
  - intros a _.
    rewrite (fsum_ext (key_dimension g) _ (fun b => fsum h (fun l =>
      A1 g i a * WQ a l * (A2 g j b * WK b l)))).
    + rewrite fsum_swap. apply fsum_ext. intros l _. apply fsum_scale.
    + intros b _. rewrite <- fsum_scale, <- fsum_scale_r. apply fsum_ext. intros. ring.
Qed.

(** * The rank of such an X *)

(** No combination of r rows is zero but the one with all coefficients zero. *)
Definition independent (r columns : nat) (rows : nat -> nat -> R) : Prop :=
  forall c, (forall b, (b < columns)%nat -> fsum r (fun i => c i * rows i b) = 0) ->
  forall i, (i < r)%nat -> c i = 0.

(** The i-th number that is not p. *)
Definition other (p i : nat) : nat := if Nat.ltb i p then i else S i.

Lemma fsum_other r p f : (p <= r)%nat -> fsum (S r) f = fsum r (fun i => f (other p i)) + f p.
Proof.
  induction r; intros H.
  - replace p with O by lia. simpl. ring.
  - rewrite fsum_S. destruct (Nat.eq_dec p (S r)) as [-> | Hp].
    + f_equal. apply fsum_ext. intros i Hi. unfold other.
      destruct (Nat.ltb_spec i (S r)); [auto | lia].
    + rewrite IHr, fsum_S by lia. unfold other at 3. destruct (Nat.ltb_spec r p); [lia | ring].
Qed.

(** More rows than columns are dependent. *)
Lemma dependent k : forall r (w : nat -> nat -> R), (k < r)%nat ->
  exists c, (exists i, (i < r)%nat /\ c i <> 0) /\
    forall l, (l < k)%nat -> fsum r (fun i => c i * w i l) = 0.
Proof.
  induction k as [| k I]; intros r w Hr.
  { exists (fun _ => 1). split; [exists O; split; [auto | lra] | lia]. }
  destruct (Classical_Prop.classic (exists p, (p < r)%nat /\ w p k <> 0)) as [(p & Hp & P) | N].
  - destruct r as [| r]; [lia |].
    destruct (I r (fun i l => w (other p i) l - w (other p i) k / w p k * w p l))
      as (c & (q & Hq & C) & E); [lia |].
    set (cp := - fsum r (fun i => c i * w (other p i) k) / w p k).
    set (back := fun i => if Nat.ltb i p then i else pred i).
    exists (fun i => if Nat.eqb i p then cp else c (back i)). split.
    + exists (other p q). unfold other, back. split.
      * destruct (Nat.ltb_spec q p); lia.
      * destruct (Nat.ltb_spec q p).
        -- destruct (Nat.eqb_spec q p); [lia |]. destruct (Nat.ltb_spec q p); [auto | lia].
        -- destruct (Nat.eqb_spec (S q) p); [lia |]. destruct (Nat.ltb_spec (S q) p); [lia | auto].
    + intros l Hl. rewrite (fsum_other r p) by lia. rewrite Nat.eqb_refl.
      rewrite (fsum_ext r _ (fun i => c i * w (other p i) l)).
      * destruct (Nat.eq_dec l k) as [-> |].
        -- unfold cp. field. exact P.
        -- specialize (E l ltac:(lia)).
           rewrite (fsum_ext r _ (fun i => c i * w (other p i) l
             - c i * w (other p i) k * (/ w p k * w p l))) in E by (intros; field; exact P).
           rewrite fsum_minus, fsum_scale_r in E. unfold cp.
           replace (- fsum r (fun i => c i * w (other p i) k) / w p k * w p l)
             with (- (fsum r (fun i => c i * w (other p i) k) * (/ w p k * w p l)))
             by (field; exact P).
           lra.
      * intros i _. unfold other, back. destruct (Nat.ltb_spec i p).
        -- destruct (Nat.eqb_spec i p); [lia |]. destruct (Nat.ltb_spec i p); [auto | lia].
        -- destruct (Nat.eqb_spec (S i) p); [lia |]. destruct (Nat.ltb_spec (S i) p); [lia | auto].
  - destruct (I r w ltac:(lia)) as (c & C & E). exists c. split; auto. intros l Hl.
    destruct (Nat.eq_dec l k) as [-> |]; [| apply E; lia].
    apply fsum_zero. intros i Hi. destruct (Req_dec (w i k) 0) as [-> | F]; [ring |].
    exfalso. eauto.
Qed.

(** Rows of X, chosen anyhow. *)
Theorem p4_model_rank dimension h WQ WK r (choice : nat -> nat) :
  independent r dimension (fun i => projections h WQ WK (choice i)) -> INR r <= b_model_rank h.
Proof.
  intros H. unfold b_model_rank. apply le_INR.
  destruct (Nat.le_gt_cases r h) as [| G]; [auto | exfalso].
  destruct (dependent h r (fun i l => WQ (choice i) l) G) as (c & (i & Hi & C) & E).
  apply C, H; [| exact Hi]. intros b _. unfold projections, dot.
  rewrite (fsum_ext r _ (fun i => fsum h (fun l => c i * WQ (choice i) l * WK b l)))
    by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
  rewrite fsum_swap. apply fsum_zero. intros l Hl. rewrite fsum_scale_r, E by exact Hl. ring.
Qed.

(** Projections to the first h entries. *)
Theorem p4_model_rank_attained dimension h : (h <= dimension)%nat ->
  let W := fun a l => if Nat.eqb l a then 1 else 0 in
  exists r, independent r dimension (projections h W W) /\ INR r = b_model_rank h.
Proof.
  intros Hd W. exists h. split; [| reflexivity]. intros c H i Hi. specialize (H i ltac:(lia)).
  rewrite (fsum_ext h _ (fun j => if Nat.eqb j i then c i else 0)), fsum_one in H; auto; [lra |].
  intros j Hj. unfold projections, dot.
  rewrite (fsum_ext h _ (fun l => if Nat.eqb l j then W i j else 0)), fsum_one; [| exact Hj |].
  2: { intros l _. unfold W. destruct (Nat.eqb_spec l j) as [-> |]; ring. }
  unfold W. rewrite (Nat.eqb_sym j i). destruct (Nat.eqb_spec i j) as [-> |]; ring.
Qed.
