(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude; a test compares them.

    Instances are parabolas, of which Newton.v and Descent.v say what is attained, and the
    regression of one row and one column whose entries are all 1, at X = 0, Y = 1. *)

Require Import Reals Lra Lia FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Softmax Require Import Softmax.
From Attest.Rounding Require Import Rounding Expressions.
From Attest.Regression Require Import Cumulants Regression Curvature Damping Nearby.
From Attest.Regression Require Import AttentionRegression RoundingRegression Newton Banach Descent.
From Attest.Regression Require Import Conjugate Affine.
Open Scope R_scope.

(** * One row and one column *)

Definition ones (i j : nat) : R := 1.
Definition nothing (i j : nat) : R := 0.

Definition one_row : regression := {|
  query_count := 1; key_count := 1; query_dimension := 1; key_dimension := 1;
  feature_dimension := 1; outputs := 1; A1 := ones; A2 := ones; A3 := ones; targets := ones |}.

Lemma one_weights i : query_weights one_row nothing i = fun _ => 1.
Proof.
  apply functional_extensionality. intros j. unfold query_weights, softmax, normalize, query_logit.
  cbn. unfold ones, nothing. replace (0 + (0 + 1 * 0 * 1)) with 0 by ring. rewrite exp_0. field.
Qed.

Lemma one_computed i : computed_weights one_row ones i = fun _ => 1.
Proof.
  apply functional_extensionality. intros j. unfold computed_weights, normalize, ones. cbn. field.
Qed.

Lemma one_spectral A : (A O O = 1) -> spectral_bound 1 1 A 1.
Proof.
  intros E. split; [lra |]. intros w. rewrite !norm_one. unfold dot. cbn [fsum]. rewrite E.
  rewrite Rplus_0_l, !Rmult_1_l. lra.
Qed.

Lemma one_row_bound A : Rabs (A O O) <= 1 -> row_bound 1 1 A 1.
Proof.
  intros E. split; [lra |]. intros i Hi. assert (i = 0%nat) as -> by lia. now rewrite norm_one.
Qed.

Lemma one_ball d h : in_ball 1 d h 1.
Proof.
  exists (h O). intros j Hj. assert (j = 0%nat) as -> by lia.
  rewrite (norm_ext d _ (fun _ => 0)) by (intros; ring). rewrite norm_zero. lra.
Qed.

Lemma one_covariance f h : covariance 1 (fun _ => 1) f h = 0.
Proof. unfold covariance, mean, dot. cbn [fsum]. ring. Qed.

Lemma one_spread i d x : spread 1 (query_weights one_row nothing i) d x 1.
Proof.
  rewrite one_weights. split; [lra |]. intros z. rewrite one_covariance. apply pow2_ge_0.
Qed.

Lemma one_residual i c : residual one_row nothing ones i c = 0.
Proof.
  unfold residual. rewrite one_weights. unfold mean, dot, key_value, ones. cbn. unfold ones. ring.
Qed.

Lemma one_feature i e : mean_feature one_row nothing i e = 1.
Proof. unfold mean_feature. rewrite one_weights. unfold mean, dot. cbn. unfold ones. ring. Qed.

Lemma one_frobenius A : Rabs (A O O) <= 1 -> frobenius 1 1 A <= 1.
Proof. intros H. unfold frobenius. now rewrite norm_one, norm_one, Rabs_Rabsolu. Qed.

Lemma one_within : weights_within one_row nothing (1 / 16) ones.
Proof.
  intros i _. exists 0. intros j _. split; [unfold ones; lra |]. unfold query_logit, ones, nothing.
  cbn. unfold ones. rewrite ln_1. apply Rabs_le. lra.
Qed.

Lemma one_expression k u M x : 0 <= INR k * u -> Rabs x <= M -> computed k u M x x.
Proof.
  intros H B. exists (Number 0 x). repeat split; cbn; auto.
  replace x with (x * (1 + 0)) at 2 by ring. constructor. rewrite Rabs_R0. lra.
Qed.

Lemma one_P : computed_weights one_row ones = fun _ _ => 1.
Proof. apply functional_extensionality. intros i. apply one_computed. Qed.

Lemma one_zero u M y : 0 <= u -> y = 0 -> 0 <= M -> computed 1 u M y 0.
Proof.
  intros Hu -> HM. apply one_expression; [cbn [INR]; lra |]. now rewrite Rabs_R0.
Qed.

Lemma one_value j : norm (outputs one_row) (absolute_key_value one_row ones j) = 1.
Proof.
  cbn [one_row outputs]. rewrite norm_one. unfold absolute_key_value. cbn. unfold ones.
  rewrite !Rabs_R1, Rplus_0_l, Rmult_1_l. apply Rabs_R1.
Qed.

Ltac numbers := try lra;
  unfold residual_at, terms_residual, gradient_X_at, terms_gradient_X, slope_at, gradient_Y_at,
    terms_gradient_Y, feature_at, terms_centred, terms_covariance, covariance, mean, dot, key_value,
    absolute_key_value, nothing, hessian_XX_at, terms_XX, row_hessian_at, terms_row, hessian_XY_at,
    terms_XY, key_value_at, key_feature_at, centred_key_at, terms_key_value, terms_key_feature,
    terms_mean_feature, terms_slope, terms_key, terms_value, terms_feature, residual_at,
    terms_residual, slope_at, feature_at, terms_centred, covariance, mean, dot, key_value, times,
    absolute_key_value; cbn; unfold ones; rewrite ?Rabs_R1, ?Rabs_R0; lra.

Lemma abs_1 : Rabs 1 <= 1.
Proof. rewrite Rabs_R1. lra. Qed.

Lemma abs_0 : Rabs 0 <= 1.
Proof. rewrite Rabs_R0. lra. Qed.

Lemma rounding_range : 0 <= INR 1 * / 8 < 1.
Proof. change (INR 1) with 1. lra. Qed.

Ltac one_facts := cbn [one_row query_count key_count query_dimension key_dimension
  feature_dimension outputs A1 A2 A3 targets]; try first
  [ lia | lra | apply one_spectral; reflexivity | apply one_ball | apply one_spread
  | apply one_row_bound; first [apply abs_1 | rewrite one_residual; apply abs_0]
  | apply one_spectral, one_feature
  | apply one_frobenius; first [apply abs_1 | rewrite one_residual; apply abs_0
      | rewrite one_feature; apply abs_1] ].

(** * P4.lipschitz, P4.psd, P4.nearby, P4.local *)

Theorem p4_gradient_lipschitz_x_satisfiable :
  ~ (forall (g : Regression.regression) (X Y U : nat -> nat -> R) (sigma rho r most : R), (0 <
    Regression.key_count g)%nat -> Curvature.spectral_bound (Regression.query_count g)
    (Regression.query_dimension g) (Regression.A1 g) sigma -> Cumulants.in_ball
    (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g) rho ->
    Cumulants.in_ball (Regression.key_count g) (Regression.outputs g) (Regression.key_value g Y)
    r -> Curvature.row_bound (Regression.query_count g) (Regression.outputs g)
    (Regression.residual g X Y) most -> False).
Proof.
  intros N. apply (N one_row nothing ones ones 1 1 1 1); one_facts.
Qed.

Theorem p4_gradient_lipschitz_satisfiable :
  ~ (forall (g : Regression.regression) (X Y U V : nat -> nat -> R) (sigma rho r r3 M most whole
    : R), (0 < Regression.key_count g)%nat -> Curvature.spectral_bound (Regression.query_count
    g) (Regression.query_dimension g) (Regression.A1 g) sigma -> Cumulants.in_ball
    (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g) rho ->
    Cumulants.in_ball (Regression.key_count g) (Regression.outputs g) (Regression.key_value g Y)
    r -> Cumulants.in_ball (Regression.key_count g) (Regression.feature_dimension g)
    (Regression.A3 g) r3 -> Curvature.spectral_bound (Regression.query_count g)
    (Regression.feature_dimension g) (Curvature.mean_feature g X) M -> Curvature.row_bound
    (Regression.query_count g) (Regression.outputs g) (Regression.residual g X Y) most ->
    Vectors.frobenius (Regression.query_count g) (Regression.outputs g) (Regression.residual g X
    Y) <= whole -> False).
Proof.
  intros N. apply (N one_row nothing ones ones ones 1 1 1 1 1 1 1); one_facts.
Qed.

Theorem p4_hessian_lipschitz_x_satisfiable :
  ~ (forall (g : Regression.regression) (X Y U : nat -> nat -> R) (sigma alpha rho r most : R),
    (0 < Regression.key_count g)%nat -> Curvature.spectral_bound (Regression.query_count g)
    (Regression.query_dimension g) (Regression.A1 g) sigma -> Curvature.row_bound
    (Regression.query_count g) (Regression.query_dimension g) (Regression.A1 g) alpha ->
    Cumulants.in_ball (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g)
    rho -> Cumulants.in_ball (Regression.key_count g) (Regression.outputs g)
    (Regression.key_value g Y) r -> Curvature.row_bound (Regression.query_count g)
    (Regression.outputs g) (Regression.residual g X Y) most -> False).
Proof.
  intros N. apply (N one_row nothing ones ones 1 1 1 1 1); one_facts.
Qed.

Theorem p4_hessian_lipschitz_satisfiable :
  ~ (forall (g : Regression.regression) (X Y U V : nat -> nat -> R) (sigma alpha rho r r3 M most
    : R), (0 < Regression.key_count g)%nat -> Curvature.spectral_bound (Regression.query_count
    g) (Regression.query_dimension g) (Regression.A1 g) sigma -> Curvature.row_bound
    (Regression.query_count g) (Regression.query_dimension g) (Regression.A1 g) alpha ->
    Cumulants.in_ball (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g)
    rho -> Cumulants.in_ball (Regression.key_count g) (Regression.outputs g)
    (Regression.key_value g Y) r -> Cumulants.in_ball (Regression.key_count g)
    (Regression.feature_dimension g) (Regression.A3 g) r3 -> Curvature.spectral_bound
    (Regression.query_count g) (Regression.feature_dimension g) (Curvature.mean_feature g X) M
    -> Curvature.row_bound (Regression.query_count g) (Regression.outputs g)
    (Regression.residual g X Y) most -> False).
Proof.
  intros N. apply (N one_row nothing ones ones ones 1 1 1 1 1 1 1); one_facts.
Qed.

Theorem p4_damping_x_satisfiable :
  ~ (forall (g : Regression.regression) (X Y U : nat -> nat -> R) (sigma rho e : R), (0 <
    Regression.key_count g)%nat -> Curvature.spectral_bound (Regression.query_count g)
    (Regression.query_dimension g) (Regression.A1 g) sigma -> Cumulants.in_ball
    (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g) rho ->
    Damping.shortfall_bound g X Y e -> False).
Proof.
  intros N. apply (N one_row nothing ones ones 1 1 1); one_facts.
  split; [lra |]. intros i j Hi Hj. assert (j = 0%nat) as -> by (cbn in Hj; lia).
    rewrite one_weights. unfold mean, dot. cbn. lra.
Qed.

Theorem p4_damping_satisfiable :
  ~ (forall (g : Regression.regression) (X Y U V : nat -> nat -> R) (sigma rho r3 whole e : R),
    (0 < Regression.key_count g)%nat -> Curvature.spectral_bound (Regression.query_count g)
    (Regression.query_dimension g) (Regression.A1 g) sigma -> Cumulants.in_ball
    (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g) rho ->
    Cumulants.in_ball (Regression.key_count g) (Regression.feature_dimension g) (Regression.A3
    g) r3 -> Vectors.frobenius (Regression.query_count g) (Regression.outputs g)
    (Regression.residual g X Y) <= whole -> Damping.shortfall_bound g X Y e -> False).
Proof.
  intros N. apply (N one_row nothing ones ones ones 1 1 1 1 1); one_facts.
  split; [lra |]. intros i j Hi Hj. assert (j = 0%nat) as -> by (cbn in Hj; lia).
    rewrite one_weights. unfold mean, dot. cbn. lra.
Qed.

Theorem p4_value_radius_nearby_satisfiable :
  ~ (forall (g : Regression.regression) (Y V : nat -> nat -> R) (r r3 distance : R), (0 <
    Regression.key_count g)%nat -> Cumulants.in_ball (Regression.key_count g)
    (Regression.outputs g) (Regression.key_value g Y) r -> Cumulants.in_ball
    (Regression.key_count g) (Regression.feature_dimension g) (Regression.A3 g) r3 ->
    Curvature.y_length g V <= distance -> False).
Proof.
  intros N. apply (N one_row ones ones 1 1 1); one_facts.
Qed.

Theorem p4_mean_nearby_satisfiable :
  ~ (forall (g : Regression.regression) (X U : nat -> nat -> R) (sigma rho r3 M distance : R),
    (0 < Regression.key_count g)%nat -> Curvature.spectral_bound (Regression.query_count g)
    (Regression.query_dimension g) (Regression.A1 g) sigma -> Cumulants.in_ball
    (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g) rho ->
    Cumulants.in_ball (Regression.key_count g) (Regression.feature_dimension g) (Regression.A3
    g) r3 -> Vectors.frobenius (Regression.query_count g) (Regression.feature_dimension g)
    (Curvature.mean_feature g X) <= M -> Curvature.x_length g U <= distance -> False).
Proof.
  intros N. apply (N one_row nothing ones 1 1 1 1 1); one_facts.
Qed.

Theorem p4_deviation_nearby_satisfiable :
  ~ (forall (g : Regression.regression) (X U : nat -> nat -> R) (i d : nat) (x : nat -> nat ->
    R) (B alpha rho distance : R), (0 < Regression.key_count g)%nat -> (i <
    Regression.query_count g)%nat -> Curvature.row_bound (Regression.query_count g)
    (Regression.query_dimension g) (Regression.A1 g) alpha -> Cumulants.in_ball
    (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g) rho ->
    Curvature.x_length g U <= distance -> Nearby.deviation (Regression.key_count g)
    (Regression.query_weights g X i) d x <= B -> False).
Proof.
  intros N. apply (N one_row nothing ones 0%nat 1%nat ones 1 1 1 1); one_facts.
  unfold deviation. rewrite one_weights. cbn [fsum]. rewrite one_covariance, Rplus_0_r, sqrt_0.
  lra.
Qed.

Theorem p4_residual_nearby_satisfiable :
  ~ (forall (g : Regression.regression) (X Y U V : nat -> nat -> R) (alpha rho r phi most
    distance : R), (0 < Regression.key_count g)%nat -> Curvature.row_bound
    (Regression.query_count g) (Regression.query_dimension g) (Regression.A1 g) alpha ->
    Cumulants.in_ball (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g)
    rho -> (forall t : R, 0 <= t <= 1 -> Cumulants.in_ball (Regression.key_count g)
    (Regression.outputs g) (Regression.key_value g (Regression.moved Y V t)) r) ->
    Curvature.row_bound (Regression.key_count g) (Regression.feature_dimension g) (Regression.A3
    g) phi -> Curvature.row_bound (Regression.query_count g) (Regression.outputs g)
    (Regression.residual g X Y) most -> Curvature.step_length g U V <= distance -> False).
Proof.
  intros N. apply (N one_row nothing ones ones nothing 1 1 1 1 1 1); one_facts.
  - intros. apply one_ball.
  - unfold step_length, x_length, y_length, frobenius. cbn [one_row query_dimension key_dimension
      feature_dimension outputs].
    rewrite !norm_one, !Rabs_Rabsolu. unfold ones, nothing. rewrite Rabs_R0, Rabs_R1.
    replace (1 ^ 2 + 0 ^ 2) with 1 by ring. rewrite sqrt_1. lra.
Qed.

Theorem p4_local_lipschitz_satisfiable :
  ~ (forall (g : Regression.regression) (X Y U V : nat -> nat -> R) (sigma alpha rho r r3 M most
    sd_key sd_value sd_feature : R), (0 < Regression.key_count g)%nat ->
    Curvature.spectral_bound (Regression.query_count g) (Regression.query_dimension g)
    (Regression.A1 g) sigma -> Curvature.row_bound (Regression.query_count g)
    (Regression.query_dimension g) (Regression.A1 g) alpha -> Cumulants.in_ball
    (Regression.key_count g) (Regression.key_dimension g) (Regression.A2 g) rho ->
    Cumulants.in_ball (Regression.key_count g) (Regression.outputs g) (Regression.key_value g Y)
    r -> Cumulants.in_ball (Regression.key_count g) (Regression.feature_dimension g)
    (Regression.A3 g) r3 -> Curvature.spectral_bound (Regression.query_count g)
    (Regression.feature_dimension g) (Curvature.mean_feature g X) M -> Curvature.row_bound
    (Regression.query_count g) (Regression.outputs g) (Regression.residual g X Y) most -> 0 <=
    sd_key -> 0 <= sd_value -> 0 <= sd_feature -> (forall i : nat, (i < Regression.query_count
    g)%nat -> Nearby.spread (Regression.key_count g) (Regression.query_weights g X i)
    (Regression.key_dimension g) (Regression.A2 g) sd_key /\ Nearby.spread (Regression.key_count
    g) (Regression.query_weights g X i) (Regression.outputs g) (Regression.key_value g Y)
    sd_value /\ Nearby.spread (Regression.key_count g) (Regression.query_weights g X i)
    (Regression.feature_dimension g) (Regression.A3 g) sd_feature) -> False).
Proof.
  intros N. apply (N one_row nothing ones ones ones 1 1 1 1 1 1 1 1 1 1); one_facts.
  intros i _. split; [apply one_spread | split; apply one_spread].
Qed.

(** * Newton *)

Theorem p4_newton_error_satisfiable :
  ~ (forall (n : nat) (z x y : nat -> R) (mu M : R) (gradient : (nat -> R) -> nat -> R) (hessian
    : (nat -> R) -> nat -> nat -> R), 0 <= M -> Newton.smooth n z (Vectors.distance n x z) M
    gradient hessian -> Newton.critical n gradient z -> Newton.eigenvalues_from n mu (hessian z)
    -> M * Vectors.distance n x z < mu -> Newton.newton_step n (hessian x) gradient x y ->
    False).
Proof.
  destruct (p4_newton_attained (1 / 2) 1 1) as (F & Z & E & S & D & _); try lra.
  intros N. eapply (N 1%nat _ _ _ 1 1 _ _ ltac:(lra) F Z E); [rewrite D; lra | exact S].
Qed.

Theorem p4_basin_satisfiable :
  ~ (forall (n : nat) (z x y : nat -> R) (mu M : R) (gradient : (nat -> R) -> nat -> R) (hessian
    : (nat -> R) -> nat -> nat -> R), 0 < mu -> 0 <= M -> Newton.smooth n z (Vectors.distance n
    x z) M gradient hessian -> Newton.critical n gradient z -> Newton.eigenvalues_from n mu
    (hessian z) -> Newton.newton_step n (hessian x) gradient x y -> 0 < Vectors.distance n x z
    <= Vectors.distance n y z -> False).
Proof.
  destruct (p4_basin_attained 1 1) as (F & Z & E & S & D & _); try lra.
  intros N. exact (N 1%nat _ _ _ 1 1 _ _ Rlt_0_1 Rle_0_1 F Z E S D).
Qed.

Theorem p4_critical_radius_satisfiable :
  ~ (forall (n : nat) (start : nat -> R) (mu M G : R) (gradient : (nat -> R) -> nat -> R)
    (hessian : (nat -> R) -> nat -> nat -> R), 0 < mu -> 0 <= M -> Vectors.norm n (gradient
    start) <= G -> Bounds.b_kantorovich_number G mu M <= 1 / 2 -> Newton.smooth n start
    (Bounds.b_critical_radius G mu M) M gradient hessian -> Newton.eigenvalues_from n mu
    (hessian start) -> False).
Proof.
  assert (H : b_kantorovich_number (1 / 4) 1 1 <= 1 / 2) by (unfold b_kantorovich_number; lra).
  destruct (p4_critical_radius_attained 1 1 (1 / 4)) as (F & G & E & _); try lra.
  intros N. exact (N 1%nat _ 1 1 (1 / 4) _ _ Rlt_0_1 Rle_0_1 (Req_le _ _ G) H F E).
Qed.

Theorem p4_kantorovich_number_satisfiable :
  ~ (forall (n : nat) (start next : nat -> R) (r mu M : R) (gradient : (nat -> R) -> nat -> R)
    (hessian : (nat -> R) -> nat -> nat -> R) (v w : nat -> R), 0 < mu -> 0 <= M ->
    Newton.smooth n start r M gradient hessian -> Newton.eigenvalues_from n mu (hessian start)
    -> Vectors.norm n (gradient start) <= mu * r -> Newton.newton_step n (hessian start)
    gradient start next -> (forall i : nat, (i < n)%nat -> Newton.image n (hessian start) w i =
    Newton.image n (hessian next) v i - Newton.image n (hessian start) v i) -> False).
Proof.
  destruct (p4_kantorovich_number_attained 1 1 (1 / 4) 1) as (F & G & E & S & W & _); try lra.
  intros N. eapply (N 1%nat _ _ 1 1 1 _ _ _ _ Rlt_0_1 Rle_0_1 F E); [rewrite G; lra | exact S |].
  intros i _. exact W.
Qed.

(** * FP.regression *)

Theorem fp_regression_row_satisfiable :
  ~ (forall (g : Regression.regression) (X Y W : nat -> nat -> R) (eta : R) (k : nat) (u V T :
    R) (i : nat) (found : nat -> R), (0 < Regression.key_count g)%nat -> (i <
    Regression.query_count g)%nat -> 0 <= u -> INR k * u < 1 ->
    RoundingRegression.weights_within g X eta W -> (forall j : nat, (j < Regression.key_count
    g)%nat -> Vectors.norm (Regression.outputs g) (RoundingRegression.absolute_key_value g Y j)
    <= V) -> Vectors.norm (Regression.outputs g) (Regression.targets g i) <= T ->
    RoundingRegression.residual_found k u g (RoundingRegression.computed_weights g W) Y i found
    -> False).
Proof.
  intros N. apply (N one_row nothing ones ones (1 / 16) 1%nat (/ 8) 2 1 0%nat (fun _ => 0)).
  1, 2: cbn; lia. lra. apply rounding_range. exact one_within.
  - intros j _. rewrite one_value. lra.
  - exact (eq_ind_r (fun x => x <= 1) abs_1 (norm_one _)).
  - intros c _. rewrite one_P. apply one_zero; numbers.
Qed.

Theorem fp_computed_deviation_satisfiable :
  ~ (forall (g : Regression.regression) (X W : nat -> nat -> R) (eta : R) (k : nat) (u : R) (i d
    : nat) (x size : nat -> nat -> R) (N r : R) (found : nat -> nat -> R), (0 <
    Regression.key_count g)%nat -> (i < Regression.query_count g)%nat -> 0 <= u -> INR k * u < 1
    -> 0 <= N -> RoundingRegression.weights_within g X eta W -> (forall j : nat, (j <
    Regression.key_count g)%nat -> Vectors.norm d (size j) <= r) -> (forall b b' : nat, (b <
    d)%nat -> (b' < d)%nat -> RoundingRegression.computed k u
    (RoundingRegression.terms_covariance (Regression.key_count g)
    (RoundingRegression.computed_weights g W i) size b b') (Cumulants.covariance
    (Regression.key_count g) (RoundingRegression.computed_weights g W i) (fun j : nat => x j b)
    (fun j : nat => x j b')) (found b b')) -> (forall z : nat -> R, Vectors.dot d z (fun b : nat
    => Vectors.dot d z (found b)) <= N * Vectors.norm d z ^ 2) -> False).
Proof.
  intros N. apply (N one_row nothing ones (1 / 16) 1%nat (/ 8) 0%nat 1%nat ones ones 1 1 nothing).
  1, 2: cbn; lia. lra. apply rounding_range. lra. exact one_within.
  - intros j _. exact (eq_ind_r (fun x => x <= 1) abs_1 (norm_one _)).
  - intros b b' _ _. rewrite one_P. apply one_zero; numbers.
  - intros z. unfold dot, nothing. cbn [fsum]. pose proof (pow2_ge_0 (norm 1 z)). lra.
Qed.

Theorem fp_regression_gradient_satisfiable :
  ~ (forall (g : Regression.regression) (X Y W : nat -> nat -> R) (eta : R) (k : nat) (u sigma
    phi K F V T most sd_key sd_value sd_feature M : R) (r found_X found_Y : nat -> nat -> R), (0
    < Regression.query_count g)%nat -> (0 < Regression.key_count g)%nat -> 0 <= u -> INR k * u <
    1 -> eta <= 1 / 16 -> RoundingRegression.weights_within g X eta W ->
    Curvature.spectral_bound (Regression.query_count g) (Regression.query_dimension g)
    (Regression.A1 g) sigma -> Vectors.frobenius (Regression.query_count g)
    (Regression.query_dimension g) (Regression.A1 g) <= phi -> (forall j : nat, (j <
    Regression.key_count g)%nat -> Vectors.norm (Regression.key_dimension g) (Regression.A2 g j)
    <= K /\ Vectors.norm (Regression.feature_dimension g) (Regression.A3 g j) <= F /\
    Vectors.norm (Regression.outputs g) (RoundingRegression.absolute_key_value g Y j) <= V) ->
    (forall i : nat, (i < Regression.query_count g)%nat -> Vectors.norm (Regression.outputs g)
    (Regression.targets g i) <= T /\ Vectors.norm (Regression.outputs g) (Regression.residual g
    X Y i) <= most /\ Nearby.spread (Regression.key_count g) (Regression.query_weights g X i)
    (Regression.key_dimension g) (Regression.A2 g) sd_key /\ Nearby.spread (Regression.key_count
    g) (Regression.query_weights g X i) (Regression.outputs g) (Regression.key_value g Y)
    sd_value /\ Nearby.spread (Regression.key_count g) (Regression.query_weights g X i)
    (Regression.feature_dimension g) (Regression.A3 g) sd_feature) -> Curvature.spectral_bound
    (Regression.query_count g) (Regression.feature_dimension g) (Curvature.mean_feature g X) M
    -> (forall i : nat, (i < Regression.query_count g)%nat -> RoundingRegression.residual_found
    k u g (RoundingRegression.computed_weights g W) Y i (r i)) -> (forall a b : nat, (a <
    Regression.query_dimension g)%nat -> (b < Regression.key_dimension g)%nat ->
    RoundingRegression.computed k u (RoundingRegression.terms_gradient_X g
    (RoundingRegression.computed_weights g W) r Y a b) (RoundingRegression.gradient_X_at g
    (RoundingRegression.computed_weights g W) r Y a b) (found_X a b)) -> (forall c l : nat, (c <
    Regression.feature_dimension g)%nat -> (l < Regression.outputs g)%nat ->
    RoundingRegression.computed k u (RoundingRegression.terms_gradient_Y g
    (RoundingRegression.computed_weights g W) r c l) (RoundingRegression.gradient_Y_at g
    (RoundingRegression.computed_weights g W) r c l) (found_Y c l)) -> False).
Proof.
  intros N.
  apply (N one_row nothing ones ones (1 / 16) 1%nat (/ 8) 1 1 1 1 2 1 1 1 1 1 1 nothing nothing nothing).
  1, 2: cbn; lia. lra. apply rounding_range. lra. exact one_within.
  - apply one_spectral. reflexivity.
  - apply one_frobenius, abs_1.
  - intros j _. split; [| split; [| rewrite one_value; lra]];
      exact (eq_ind_r (fun x => x <= 1) abs_1 (norm_one _)).
  - intros i _. split; [exact (eq_ind_r (fun x => x <= 1) abs_1 (norm_one _)) | split].
    + cbn [one_row outputs]. rewrite norm_one, one_residual. apply abs_0.
    + split; [apply one_spread | split; apply one_spread].
  - apply one_spectral, one_feature.
  - intros i _ c _. rewrite one_P. apply one_zero; numbers.
  - intros a b _ _. rewrite one_P. apply one_zero; numbers.
  - intros c l _ _. rewrite one_P. apply one_zero; numbers.
Qed.

Theorem fp_regression_hessian_satisfiable :
  ~ (forall (g : Regression.regression) (X Y W : nat -> nat -> R) (eta : R) (k : nat) (u phi K F
    V T : R) (found_XX found_XY found_YY : nat -> nat -> nat -> nat -> R), (0 <
    Regression.query_count g)%nat -> (0 < Regression.key_count g)%nat -> 0 <= u -> INR k * u < 1
    -> eta <= 1 / 16 -> RoundingRegression.weights_within g X eta W -> Vectors.frobenius
    (Regression.query_count g) (Regression.query_dimension g) (Regression.A1 g) <= phi ->
    (forall j : nat, (j < Regression.key_count g)%nat -> Vectors.norm (Regression.key_dimension
    g) (Regression.A2 g j) <= K /\ Vectors.norm (Regression.feature_dimension g) (Regression.A3
    g j) <= F /\ Vectors.norm (Regression.outputs g) (RoundingRegression.absolute_key_value g Y
    j) <= V) -> (forall i : nat, (i < Regression.query_count g)%nat -> Vectors.norm
    (Regression.outputs g) (Regression.targets g i) <= T) -> let P :=
    RoundingRegression.computed_weights g W in let d1 := Regression.query_dimension g in let d2
    := Regression.key_dimension g in let d3 := Regression.feature_dimension g in let d :=
    Regression.outputs g in (forall a b a' b' : nat, (a < d1)%nat -> (b < d2)%nat -> (a' <
    d1)%nat -> (b' < d2)%nat -> RoundingRegression.computed k u (RoundingRegression.terms_XX g
    (RoundingRegression.terms_row g P Y) a b a' b') (RoundingRegression.hessian_XX_at g P Y a b
    a' b') (found_XX a b a' b')) -> (forall a b c l : nat, (a < d1)%nat -> (b < d2)%nat -> (c <
    d3)%nat -> (l < d)%nat -> RoundingRegression.computed k u (RoundingRegression.terms_XY g
    (RoundingRegression.terms_key_value g P Y) (RoundingRegression.terms_key_feature g P)
    (RoundingRegression.terms_mean_feature g P) (RoundingRegression.terms_residual g P Y) a b c
    l) (RoundingRegression.hessian_XY_at g P Y a b c l) (found_XY a b c l)) -> (forall c l c' l'
    : nat, (c < d3)%nat -> (l < d)%nat -> (c' < d3)%nat -> (l' < d)%nat ->
    RoundingRegression.computed k u (RoundingRegression.terms_YY g
    (RoundingRegression.terms_mean_feature g P) c l c' l') (RoundingRegression.hessian_YY_at g P
    c l c' l') (found_YY c l c' l')) -> False).
Proof.
  intros N.
  apply (N one_row nothing ones ones (1 / 16) 1%nat (/ 8) 1 1 1 2 1 (fun _ _ => nothing)
    (fun _ _ => nothing) (fun _ _ => ones)).
  1, 2: cbn; lia. lra. apply rounding_range. lra. exact one_within.
  - apply one_frobenius, abs_1.
  - intros j _. split; [| split; [| rewrite one_value; lra]];
      exact (eq_ind_r (fun x => x <= 1) abs_1 (norm_one _)).
  - intros i _. exact (eq_ind_r (fun x => x <= 1) abs_1 (norm_one _)).
  - intros a b a' b' _ _ _ _. rewrite one_P. apply one_zero; numbers.
  - intros a b c l _ _ _ _. rewrite one_P. apply one_zero; numbers.
  - intros c l c' l' _ L _ L'. rewrite one_P. cbn in L, L'.
    assert (l = 0%nat) as -> by lia. assert (l' = 0%nat) as -> by lia.
    replace (hessian_YY_at one_row (fun _ _ => 1) c 0 c' 0) with 1 by (unfold hessian_YY_at; numbers).
    apply one_expression; [cbn [INR]; lra |]. unfold terms_YY, ones at 1. numbers.
Qed.

(** * P4.descent, P4.conjugate, P4.affine *)

Theorem p4_gradient_step_error_satisfiable :
  ~ (forall (n : nat) (z x y : nat -> R) (tau mu L M : R) (gradient : (nat -> R) -> nat -> R)
    (hessian : (nat -> R) -> nat -> nat -> R), 0 <= tau -> mu <= L -> tau * (L + mu) <= 2 -> 0
    <= M -> Newton.smooth n z (Vectors.distance n x z) M gradient hessian -> Newton.critical n
    gradient z -> Banach.symmetric_matrix n (hessian z) -> Newton.eigenvalues_from n mu (hessian
    z) -> Descent.eigenvalues_to n L (hessian z) -> Descent.gradient_step n tau gradient x y ->
    False).
Proof.
  destruct (p4_gradient_step_attained (1 / 2) (1 / 2) 1 1) as (F & Z & Sy & Lo & Hi & St & D & _);
    try lra.
  intros N.
  exact (N 1%nat _ _ _ (1 / 2) 1 1 1 _ _ ltac:(lra) ltac:(lra) ltac:(lra) ltac:(lra) F Z Sy Lo Hi St).
Qed.

Theorem p4_gradient_basin_satisfiable :
  ~ (forall (n : nat) (z x y : nat -> R) (tau mu L M : R) (gradient : (nat -> R) -> nat -> R)
    (hessian : (nat -> R) -> nat -> nat -> R), 0 < tau -> 0 < mu -> mu <= L -> tau * (L + mu) <=
    2 -> 0 <= M -> Newton.smooth n z (Vectors.distance n x z) M gradient hessian ->
    Newton.critical n gradient z -> Banach.symmetric_matrix n (hessian z) ->
    Newton.eigenvalues_from n mu (hessian z) -> Descent.eigenvalues_to n L (hessian z) ->
    Descent.gradient_step n tau gradient x y -> 0 < Vectors.distance n x z <= Vectors.distance n
    y z -> False).
Proof.
  destruct (p4_gradient_basin_attained (1 / 2) 1 1) as (F & Z & Sy & Lo & Hi & St & D & _); try lra.
  intros N. exact (N 1%nat _ _ _ (1 / 2) 1 1 1 _ _ ltac:(lra) ltac:(lra) ltac:(lra) ltac:(lra)
    ltac:(lra) F Z Sy Lo Hi St (conj D (Rle_refl _))).
Qed.

Theorem p4_gradient_steps_satisfiable :
  ~ (forall (n : nat) (z : nat -> R) (x : nat -> nat -> R) (tau mu L M : R) (gradient : (nat ->
    R) -> nat -> R) (hessian : (nat -> R) -> nat -> nat -> R) (accuracy : R) (k : nat), 0 < tau
    -> 0 < mu -> mu <= L -> tau * (L + mu) <= 2 -> 0 <= M -> Newton.smooth n z (Vectors.distance
    n (x 0%nat) z) M gradient hessian -> Newton.critical n gradient z -> Banach.symmetric_matrix
    n (hessian z) -> Newton.eigenvalues_from n mu (hessian z) -> Descent.eigenvalues_to n L
    (hessian z) -> (forall j : nat, Descent.gradient_step n tau gradient (x j) (x (S j))) ->
    Vectors.distance n (x 0%nat) z * Bounds.b_gradient_basin_reciprocal mu M < 1 -> 0 < accuracy
    < Vectors.distance n (x k) z -> False).
Proof.
  destruct (p4_gradient_step_attained (1 / 2) (1 / 2) 1 1) as (F & Z & Sy & Lo & Hi & _ & D & _);
    try lra.
  set (x := fix x j := match j with
    | O => fun _ => 1 / 2
    | S j => fun i => x j i - 1 / 2 * parabola (- (1)) 1 0 (x j) i
    end).
  intros N. apply (N 1%nat (fun _ => 0) x (1 / 2) 1 1 1 (parabola (- (1)) 1 0)
    (parabola_hessian (- (1)) 1) (1 / 4) 0%nat); try lra; auto.
  - intros j i _. reflexivity.
  - change (x 0%nat) with (fun _ : nat => 1 / 2). rewrite D. unfold b_gradient_basin_reciprocal. lra.
  - change (x 0%nat) with (fun _ : nat => 1 / 2). rewrite D. lra.
Qed.

Theorem p4_conjugate_error_satisfiable :
  ~ (forall (n : nat) (A : nat -> nat -> R) (mu L : R), Banach.symmetric_matrix n A ->
    Newton.eigenvalues_from n mu A -> Descent.eigenvalues_to n L A -> 0 < mu -> mu < L -> forall
    s b : nat -> R, (forall i : nat, (i < n)%nat -> Newton.image n A s i = b i) -> forall (k :
    nat) (x : nat -> R), Conjugate.conjugate_point n A s b k x -> False).
Proof.
  destruct (p4_conjugate_error_attained 1 2) as (Sy & Lo & Hi & So & Po & _); try lra.
  intros N. exact (N 2%nat _ 1 2 Sy Lo Hi ltac:(lra) ltac:(lra) _ _ So 1%nat _ Po).
Qed.

Theorem p4_conjugate_steps_satisfiable :
  ~ (forall (n : nat) (A : nat -> nat -> R) (mu L : R), Banach.symmetric_matrix n A ->
    Newton.eigenvalues_from n mu A -> Descent.eigenvalues_to n L A -> 0 < mu -> mu < L -> forall
    s b : nat -> R, (forall i : nat, (i < n)%nat -> Newton.image n A s i = b i) -> forall (k :
    nat) (x : nat -> R) (accuracy : R), Conjugate.conjugate_point n A s b k x -> 0 < accuracy ->
    accuracy * Conjugate.energy n A s < Conjugate.energy n A (Newton.displacement s x) -> False).
Proof.
  destruct (p4_conjugate_error_attained 1 2) as (Sy & Lo & Hi & So & Po & E); try lra.
  pose proof (delta_range 1 2 ltac:(lra) ltac:(lra)) as D.
  assert (B : 0 < b_conjugate_error (2 / 1) 1).
  { unfold b_conjugate_error. set (delta := (sqrt (2 / 1) - 1) / (1 + sqrt (2 / 1))) in *.
    pose proof (pow_lt delta 1 ltac:(lra)). pose proof (pow_lt delta (2 * 1) ltac:(lra)).
    apply Rdiv_lt_0_compat; lra. }
  assert (P : 0 < energy 2 (two_eigenvalues 1 2) (two_entries (/ 1) (/ 2))).
  { apply sqrt_lt_R0. rewrite two_energy. unfold two_entries. cbn [Nat.eqb]. lra. }
  intros N. apply (N 2%nat _ 1 2 Sy Lo Hi ltac:(lra) ltac:(lra) _ _ So 1%nat _
    (b_conjugate_error (2 / 1) 1 / 2) Po); [lra |].
  rewrite E. apply Rmult_lt_compat_r; lra.
Qed.

Theorem p4_affine_radius_satisfiable :
  ~ (forall (n : nat) (S : nat -> nat -> R) (start : nat -> R) (mu mu' M G G' : R) (gradient :
    (nat -> R) -> nat -> R) (hessian : (nat -> R) -> nat -> nat -> R), 0 < mu -> 0 < mu' -> 0 <=
    M -> (forall v : nat -> R, (forall i : nat, (i < n)%nat -> Affine.pulled n S v i = 0) ->
    forall i : nat, (i < n)%nat -> v i = 0) -> Vectors.norm n (gradient (Newton.image n S
    start)) <= G -> Newton.eigenvalues_from n mu (hessian (Newton.image n S start)) ->
    Vectors.norm n (Affine.gradient_in n S gradient start) <= G' -> Bounds.b_kantorovich_number
    G' mu' M <= 1 / 2 -> Newton.smooth n start (Bounds.b_critical_radius G' mu' M) M
    (Affine.gradient_in n S gradient) (Affine.hessian_in n S hessian) -> Newton.eigenvalues_from
    n mu' (Affine.hessian_in n S hessian start) -> False).
Proof.
  assert (H : b_kantorovich_number (1 / 8) 1 1 <= 1 / 2) by (unfold b_kantorovich_number; lra).
  destruct (p4_affine_radius_attained 2 1 1 (1 / 8)) as (F & G & E & G' & E' & _); try lra.
  assert (K : b_kantorovich_number (2 * (1 / 8)) (2 ^ 2 * 1) (2 ^ 3 * 1) <= 1 / 2)
    by (unfold b_kantorovich_number; lra).
  intros N. apply (N 1%nat (fun _ _ => 2) (fun _ => 0) 1 (2 ^ 2 * 1) (2 ^ 3 * 1) (1 / 8)
    (2 * (1 / 8)) (parabola 1 1 (1 / 8)) (parabola_hessian 1 1)); auto; try lra.
  intros v V i Hi. specialize (V i Hi). assert (i = 0%nat) as -> by lia. unfold pulled in V.
  cbn [fsum] in V. lra.
Qed.
