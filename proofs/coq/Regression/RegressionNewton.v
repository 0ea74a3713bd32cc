(** Newton's method on attention regression: its Hessian is Lipschitz as Newton.v asks, and so a
    small gradient proves a critical point (claims P4.lipschitz, P4.local and P4.kantorovich
    together).

    Steps: (1) X and Y, read row by row, are one vector, or X alone is, and the formulas of gradient
    and Hessian its gradient and Hessian; (2) where third derivatives along any line are at most
    M |d|^3, d its direction, the form of the Hessian changes along the way from x to y by at most
    M |y - x| |v|^2 (Banach.v), and so its image of v by at most M |y - x| |v|; (3) constants of
    P4.lipschitz and P4.local at a start become constants of a ball by P4.nearby;
    (4) P4.kantorovich. *)

Require Import Reals Lra Lia FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Derivatives Averages.
From Attest.Regression Require Import Cumulants Regression Curvature Nearby AttentionRegression.
From Attest.Regression Require Import Newton Banach Mixed.
Open Scope R_scope.

(** * Step 1: one vector *)

Lemma inner_plus rows columns U V W : inner rows columns U (fun a b => V a b + W a b)
  = inner rows columns U V + inner rows columns U W.
Proof.
  unfold inner. rewrite <- fsum_plus. apply fsum_ext. intros a _. rewrite <- fsum_plus.
  apply fsum_ext. intros. ring.
Qed.

Lemma inner_swap r1 c1 r2 c2 U V (F : nat -> nat -> nat -> nat -> R) :
  inner r2 c2 V (fun c k => inner r1 c1 U (fun a b => F a b c k))
  = inner r1 c1 U (fun a b => inner r2 c2 V (F a b)).
Proof.
  rewrite (inner_ext r2 c2 V _ (fun c k => fsum r1 (fun a => 1 *
    fsum c1 (fun b => U a b * F a b c k)))) by (intros; apply fsum_ext; intros; ring).
  rewrite (inner_sum r2 c2 r1 V (fun _ => 1) (fun a c k => fsum c1 (fun b => U a b * F a b c k))).
  apply fsum_ext. intros a _. rewrite (inner_sum r2 c2 c1 V (U a) (F a)). ring.
Qed.

Section Stacked.

Variable g : regression.

Let n1 : nat := (query_dimension g * key_dimension g)%nat.

Definition parameter_count : nat :=
  (query_dimension g * key_dimension g + feature_dimension g * outputs g)%nat.

Let n : nat := parameter_count.

(** The vector's X and Y, and the vector of X and Y. *)
Definition x_part (z : nat -> R) (a b : nat) : R := z (a * key_dimension g + b)%nat.
Definition y_part (z : nat -> R) (c k : nat) : R :=
  z (query_dimension g * key_dimension g + (c * outputs g + k))%nat.
Definition packed (X Y : nat -> nat -> R) (i : nat) : R :=
  let n1 := (query_dimension g * key_dimension g)%nat in
  if Nat.ltb i n1 then X (i / key_dimension g)%nat (i mod key_dimension g)
  else Y ((i - n1) / outputs g)%nat ((i - n1) mod outputs g).

Lemma packed_x X Y a b : (a < query_dimension g)%nat -> (b < key_dimension g)%nat ->
  x_part (packed X Y) a b = X a b.
Proof.
  intros Ha Hb. unfold x_part, packed.
  destruct (div_mod_pair (key_dimension g) a b Hb) as [-> ->].
  destruct (Nat.ltb_spec (a * key_dimension g + b) (query_dimension g * key_dimension g)); [auto |].
  nia.
Qed.

Lemma packed_y X Y c k : (k < outputs g)%nat -> y_part (packed X Y) c k = Y c k.
Proof.
  intros Hk. unfold y_part, packed.
  destruct (Nat.ltb_spec (query_dimension g * key_dimension g + (c * outputs g + k))
    (query_dimension g * key_dimension g)); [lia |].
  rewrite Nat.add_comm, Nat.add_sub. now destruct (div_mod_pair (outputs g) c k Hk) as [-> ->].
Qed.

Let over_x := inner (query_dimension g) (key_dimension g).
Let over_y := inner (feature_dimension g) (outputs g).

Lemma dot_parts v w :
  dot n v w = over_x (x_part v) (x_part w) + over_y (y_part v) (y_part w).
Proof. unfold dot, n, parameter_count. now rewrite fsum_add, !fsum_pairs. Qed.

Lemma dot_packed v X Y : dot n v (packed X Y) = over_x (x_part v) X + over_y (y_part v) Y.
Proof.
  rewrite dot_parts. f_equal; apply inner_ext; intros; [apply packed_x | apply packed_y]; auto.
Qed.

Lemma norm_parts v : norm n v = step_length g (x_part v) (y_part v).
Proof.
  unfold norm, step_length, x_length, y_length. f_equal.
  rewrite !frobenius_square. unfold n, parameter_count. now rewrite fsum_add, !fsum_pairs.
Qed.

Definition parameter_gradient (z : nat -> R) : nat -> R :=
  packed (gradient_X g (x_part z) (y_part z)) (gradient_Y g (x_part z) (y_part z)).

Definition parameter_hessian (z : nat -> R) (i j : nat) : R :=
  let X := x_part z in let Y := y_part z in
  packed (fun a b => packed (hessian_XX g X Y a b) (hessian_XY g X Y a b) j)
    (fun c k => packed (fun a b => hessian_XY g X Y a b c k) (hessian_YY g X c k) j) i.

Lemma parameter_image z v i : image n (parameter_hessian z) v i
  = packed (fun a b => over_x (x_part v) (hessian_XX g (x_part z) (y_part z) a b)
        + over_y (y_part v) (hessian_XY g (x_part z) (y_part z) a b))
      (fun c k => over_x (x_part v) (fun a b => hessian_XY g (x_part z) (y_part z) a b c k)
        + over_y (y_part v) (hessian_YY g (x_part z) c k)) i.
Proof.
  transitivity (dot n v (parameter_hessian z i)); [apply fsum_ext; intros; ring |].
  unfold parameter_hessian, packed at 1 4. destruct (Nat.ltb _ _); apply dot_packed.
Qed.

Lemma parameter_hessian_form z v : dot n v (image n (parameter_hessian z) v)
  = hessian_form g (x_part z) (y_part z) (x_part v) (y_part v).
Proof.
  rewrite (dot_ext n v _ _ (fun i _ => parameter_image z v i)), dot_packed.
  unfold hessian_form, over_x, over_y. rewrite !inner_plus.
  rewrite (inner_swap (query_dimension g) (key_dimension g) (feature_dimension g) (outputs g)
    (x_part v) (y_part v) (hessian_XY g (x_part z) (y_part z))). ring.
Qed.

Lemma hessian_XX_symmetric X Y a b a' b' :
  hessian_XX g X Y a b a' b' = hessian_XX g X Y a' b' a b.
Proof.
  apply fsum_ext. intros i _. unfold row_hessian. f_equal; [ring |].
  f_equal; apply fsum_ext; intros; ring.
Qed.

Lemma parameter_hessian_symmetric z : symmetric_matrix n (parameter_hessian z).
Proof.
  intros i j _ _. unfold parameter_hessian, packed.
  destruct (Nat.ltb i _), (Nat.ltb j _); auto.
  - apply hessian_XX_symmetric.
  - unfold hessian_YY. rewrite Nat.eqb_sym. f_equal. apply fsum_ext. intros. ring.
Qed.

(** A vector of n numbers that stands for a point of the loss, and in which V reads Y's direction:
    for X and Y, or for X alone. *)
Record coordinates (n : nat) (Y V : (nat -> R) -> nat -> nat -> R)
    (gradient : (nat -> R) -> nat -> R) (hessian : (nat -> R) -> nat -> nat -> R) : Prop := {
  coordinates_move : forall z d t, Y (point_along z d t) = moved (Y z) (V d) t;
  coordinates_combine : forall x y v w,
    V (fun i => x * v i + y * w i) = combined x y (V v) (V w);
  coordinates_length : forall v, norm n v = step_length g (x_part v) (V v);
  coordinates_gradient : forall z v,
    dot n v (gradient z) = gradient_form g (x_part z) (Y z) (x_part v) (V v);
  coordinates_hessian : forall z v,
    dot n v (image n (hessian z) v) = hessian_form g (x_part z) (Y z) (x_part v) (V v);
  coordinates_symmetric : forall z, symmetric_matrix n (hessian z) }.

Lemma all_coordinates :
  coordinates n y_part y_part parameter_gradient parameter_hessian.
Proof.
  split; auto using norm_parts, parameter_hessian_form, parameter_hessian_symmetric.
  intros. apply dot_packed.
Qed.

(** X alone. *)
Definition x_gradient (Y : nat -> nat -> R) (z : nat -> R) (i : nat) : R :=
  gradient_X g (x_part z) Y (i / key_dimension g) (i mod key_dimension g).

Definition x_hessian (Y : nat -> nat -> R) (z : nat -> R) (i j : nat) : R :=
  hessian_XX g (x_part z) Y (i / key_dimension g) (i mod key_dimension g)
    (j / key_dimension g) (j mod key_dimension g).

Lemma dot_x v (X : nat -> nat -> R) :
  dot n1 v (fun i => X (i / key_dimension g)%nat (i mod key_dimension g)) = over_x (x_part v) X.
Proof.
  unfold dot, n1. rewrite fsum_pairs. apply fsum_ext. intros a _. apply fsum_ext. intros b Hb.
  destruct (div_mod_pair (key_dimension g) a b Hb) as [-> ->]. reflexivity.
Qed.

Lemma x_norm v : norm n1 v = x_length g (x_part v).
Proof.
  unfold x_length. rewrite <- sqrt_pow2 by apply frobenius_nonneg. rewrite frobenius_square.
  unfold norm, n1. now rewrite fsum_pairs.
Qed.

Lemma over_y_zero F : over_y no_direction F = 0.
Proof. apply fsum_zero. intros. apply fsum_zero. intros. unfold no_direction. ring. Qed.

Lemma x_coordinates Y :
  coordinates n1 (fun _ => Y) (fun _ => no_direction) (x_gradient Y) (x_hessian Y).
Proof.
  split.
  - intros. apply functional_extensionality. intros a. apply functional_extensionality. intros b.
    unfold moved, no_direction. ring.
  - intros. apply functional_extensionality. intros a. apply functional_extensionality. intros b.
    unfold combined, no_direction. ring.
  - intros v. rewrite x_norm. unfold step_length, y_length.
    rewrite (frobenius_square (feature_dimension g)), fsum_zero, Rplus_0_r, sqrt_pow2;
      [reflexivity | apply frobenius_nonneg |].
    intros. apply fsum_zero. intros. unfold no_direction. ring.
  - intros z v. unfold gradient_form. fold over_y. rewrite over_y_zero, Rplus_0_r. apply dot_x.
  - intros z v. unfold hessian_form. fold over_x over_y. rewrite over_y_zero.
    replace (over_x (x_part v) (fun a b => over_y no_direction (hessian_XY g (x_part z) Y a b)))
      with 0
      by (symmetry; apply fsum_zero; intros; apply fsum_zero; intros; rewrite over_y_zero; ring).
    rewrite Rmult_0_r, !Rplus_0_r. rewrite <- dot_x. apply dot_ext. intros i _.
    rewrite <- dot_x. apply fsum_ext. intros. unfold x_hessian. ring.
  - intros z i j _ _. apply hessian_XX_symmetric.
Qed.

(** * Step 2: the Hessian is Lipschitz *)

Section Coordinates.

Variables (l : nat) (Y V : (nat -> R) -> nat -> nat -> R).
Variables (gradient : (nat -> R) -> nat -> R) (hessian : (nat -> R) -> nat -> nat -> R).
Hypothesis C : coordinates l Y V gradient hessian.
Hypothesis Hm : (0 < key_count g)%nat.

(** <w, H v> *)
Lemma hessian_product z v w : dot l w (image l (hessian z) v)
  = entries g (fun i c => velocity g (x_part z) (Y z) (x_part v) (V v) i c
        * velocity g (x_part z) (Y z) (x_part w) (V w) i c
      + residual g (x_part z) (Y z) i c
        * mixed_acceleration g (x_part z) (Y z) (x_part v) (V v) (x_part w) (V w) i c).
Proof.
  pose proof (form_combination l _ 1 1 v w (coordinates_symmetric _ _ _ _ _ C z)) as F.
  cbv zeta in F. rewrite !(coordinates_hessian _ _ _ _ _ C), !hessian_sum in F by exact Hm.
  rewrite (coordinates_combine _ _ _ _ _ C) in F.
  change (x_part (fun i => 1 * v i + 1 * w i)) with (combined 1 1 (x_part v) (x_part w)) in F.
  set (X := x_part z) in *. set (T := Y z) in *. set (v1 := x_part v) in *. set (v2 := V v) in *.
  set (w1 := x_part w) in *. set (w2 := V w) in *.
  transitivity (/ 2 * (entries g (fun i c =>
      velocity g X T (combined 1 1 v1 w1) (combined 1 1 v2 w2) i c ^ 2
      + residual g X T i c * acceleration g X T (combined 1 1 v1 w1) (combined 1 1 v2 w2) i c)
    - entries g (fun i c => velocity g X T v1 v2 i c ^ 2
      + residual g X T i c * acceleration g X T v1 v2 i c)
    - entries g (fun i c => velocity g X T w1 w2 i c ^ 2
      + residual g X T i c * acceleration g X T w1 w2 i c))); [lra |].
  unfold entries. rewrite <- !fsum_minus, <- fsum_scale. apply fsum_ext. intros i _.
  rewrite <- !fsum_minus, <- fsum_scale. apply fsum_ext. intros c _.
  rewrite velocity_combined, acceleration_combined. field.
Qed.

Lemma is_derive_gradient z d t i : (i < l)%nat ->
  is_derive (fun s => gradient (point_along z d s) i) t
    (image l (hessian (point_along z d t)) d i).
Proof.
  intros Hi. rewrite <- (dot_identity l (image l (hessian (point_along z d t)) d) i) by exact Hi.
  rewrite hessian_product, (coordinates_move _ _ _ _ _ C).
  eapply is_derive_ext; [| apply (is_derive_first_across g (x_part z) (Y z) (x_part d) (V d)
    (x_part (identity i)) (V (identity i)) t Hm)].
  intros s. cbv beta. rewrite <- (dot_identity l (gradient _) i) by exact Hi.
  rewrite (coordinates_gradient _ _ _ _ _ C), (coordinates_move _ _ _ _ _ C).
  rewrite gradient_sum by exact Hm. reflexivity.
Qed.

(** Second derivatives along lines bound the Hessian's norm. *)
Lemma hessian_norm z v K : 0 <= K ->
  (forall w, Rabs (Derive_n (loss_along g (x_part z) (Y z) (x_part w) (V w)) 2 0)
    <= K * norm l w ^ 2) -> norm l (image l (hessian z) v) <= K * norm l v.
Proof.
  intros HK B. apply symmetric_operator_norm; [apply (coordinates_symmetric _ _ _ _ _ C) | auto |].
  intros w. rewrite (coordinates_hessian _ _ _ _ _ C), hessian_sum by exact Hm.
  rewrite <- loss_second_derivative by exact Hm. apply B.
Qed.

Lemma third_across_bound z M v d : 0 <= M ->
  (forall w, Rabs (Derive_n (loss_along g (x_part z) (Y z) (x_part w) (V w)) 3 0)
    <= M * norm l w ^ 3) ->
  Rabs (third_across g (x_part z) (Y z) (x_part d) (V d) (x_part v) (V v))
    <= M * norm l d * norm l v ^ 2.
Proof.
  intros HM B.
  set (third := fun w => Derive_n (loss_along g (x_part z) (Y z) (x_part w) (V w)) 3 0).
  set (across := fun d v => third_across g (x_part z) (Y z) (x_part d) (V d) (x_part v) (V v)).
  assert (Q : forall x y, Rabs (binary_cubic (third d) (across v d) (across d v) (third v) x y)
    <= M * norm l (fun i => x * d i + y * v i) ^ 3).
  { intros x y. unfold third, across. rewrite <- third_derivative_combined by exact Hm.
    rewrite <- (coordinates_combine _ _ _ _ _ C).
    change (combined x y (x_part d) (x_part v)) with (x_part (fun i => x * d i + y * v i)).
    apply B. }
  change (Rabs (across d v) <= M * norm l d * norm l v ^ 2). apply Rabs_le. split.
  - enough (- across d v <= M * norm l d * norm l v ^ 2) by lra.
    apply (cubic_along l (- third d) (- across v d) _ (- third v)); auto.
    intros x y. pose proof (Rabs_bounds _ _ (Q x y)). unfold binary_cubic in *. lra.
  - eapply cubic_along; [exact HM |]. intros x y. eapply Rle_trans; [apply Rle_abs | apply Q].
Qed.

(** Third derivatives along lines bound how the Hessian changes. *)
Theorem p4_regression_smooth centre radius M : 0 <= M ->
  (forall z w, distance l z centre <= radius ->
    Rabs (Derive_n (loss_along g (x_part z) (Y z) (x_part w) (V w)) 3 0) <= M * norm l w ^ 3) ->
  smooth l centre radius M gradient hessian.
Proof.
  intros HM B. split; [intros; now apply is_derive_gradient |].
  intros x y v Hx Hy. set (A := fun i j => hessian x i j - hessian y i j).
  assert (I : forall w i,
    image l A w i = displacement (image l (hessian x) w) (image l (hessian y) w) i).
  { intros w i. unfold displacement, image, dot, A. rewrite <- fsum_minus. apply fsum_ext.
    intros. ring. }
  rewrite <- norm_displacement, <- (norm_ext l (image l A v)) by auto.
  apply symmetric_operator_norm.
  - intros i j Hi Hj. unfold A. now rewrite !(coordinates_symmetric _ _ _ _ _ C _ i j).
  - apply Rmult_le_pos; [auto | apply distance_nonneg].
  - intros w. rewrite (dot_ext l w _ _ (fun i _ => I w i)), dot_displacement.
    rewrite !(coordinates_hessian _ _ _ _ _ C).
    set (d := displacement x y). rewrite <- norm_displacement. fold d.
    destruct (mean_value
      (fun t => hessian_form g (x_part (point_along y d t)) (Y (point_along y d t))
        (x_part w) (V w))
      (fun t => third_across g (x_part (point_along y d t)) (Y (point_along y d t))
        (x_part d) (V d) (x_part w) (V w)) 0 1) as (t & Ht & E).
    + intros t. rewrite (coordinates_move _ _ _ _ _ C).
      eapply is_derive_ext; [| apply (is_derive_second_across g (x_part y) (Y y) (x_part d) (V d)
        (x_part w) (V w) t Hm)].
      intros s. cbv beta. rewrite (coordinates_move _ _ _ _ _ C). symmetry. apply hessian_sum, Hm.
    + lra.
    + unfold d in E at 1 2 3 4. rewrite along_end, along_start in E.
      rewrite E, Rminus_0_r, Rmult_1_r. apply third_across_bound; [auto |]. intros u. apply B.
      eapply Rle_trans; [apply (distance_along l y x centre t); lra | nra].
Qed.

End Coordinates.

End Stacked.

(** * P4.lipschitz, of vectors *)

(** The second derivatives along lines bound what the Hessian makes of any vector. *)
Theorem p4_hessian_norm g z v sigma rho r r3 M most whole : (0 < key_count g)%nat ->
  let X := x_part g z in let Y := y_part g z in let n := parameter_count g in
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  in_ball (key_count g) (feature_dimension g) (A3 g) r3 ->
  spectral_bound (query_count g) (feature_dimension g) (mean_feature g X) M ->
  row_bound (query_count g) (outputs g) (residual g X Y) most ->
  frobenius (query_count g) (outputs g) (residual g X Y) <= whole ->
  norm n (image n (parameter_hessian g z) v)
    <= b_gradient_lipschitz sigma rho r r3 M most whole * norm n v.
Proof.
  intros. apply (hessian_norm g _ _ _ _ _ (all_coordinates g)); [auto | apply sqrt_pos |].
  intros w. rewrite norm_parts. now apply p4_gradient_lipschitz.
Qed.

Theorem p4_hessian_norm_x g Y z v sigma rho r most : (0 < key_count g)%nat ->
  let n := (query_dimension g * key_dimension g)%nat in
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r ->
  row_bound (query_count g) (outputs g) (residual g (x_part g z) Y) most ->
  norm n (image n (x_hessian g Y z) v) <= b_gradient_lipschitz_x sigma rho r most * norm n v.
Proof.
  intros Hm n HS HK HV HR.
  apply (hessian_norm g _ _ _ _ _ (x_coordinates g Y)); [auto | |].
  - unfold b_gradient_lipschitz_x. destruct HR as [HR _]. pose proof (sqrt_pos 3).
    pose proof (ball_nonneg _ _ _ _ Hm HV). pose proof (Rmult_le_pos r most ltac:(auto) HR).
    apply Rmult_le_pos; [| nra]. apply Rmult_le_pos; apply pow2_ge_0.
  - intros w. unfold n. rewrite x_norm. now apply p4_gradient_lipschitz_x.
Qed.

(** And the third ones how its image of any vector changes, here in X alone; in X and Y below. *)
Theorem p4_hessian_smooth_x g Y centre radius sigma alpha rho r most : (0 < key_count g)%nat ->
  let n := (query_dimension g * key_dimension g)%nat in
  spectral_bound (query_count g) (query_dimension g) (A1 g) sigma ->
  row_bound (query_count g) (query_dimension g) (A1 g) alpha ->
  in_ball (key_count g) (key_dimension g) (A2 g) rho ->
  in_ball (key_count g) (outputs g) (key_value g Y) r -> 0 <= most ->
  (forall z, distance n z centre <= radius ->
    row_bound (query_count g) (outputs g) (residual g (x_part g z) Y) most) ->
  smooth n centre radius (b_hessian_lipschitz_x sigma alpha rho r most) (x_gradient g Y)
    (x_hessian g Y).
Proof.
  intros Hm n HS HA HK HV Hmost HR.
  apply (p4_regression_smooth g _ _ _ _ _ (x_coordinates g Y)); [auto | |].
  - unfold b_hessian_lipschitz_x. pose proof (sqrt_pos 3). pose proof (ball_nonneg _ _ _ _ Hm HV).
    pose proof (ball_nonneg _ _ _ _ Hm HK). pose proof (Rmult_le_pos most r Hmost ltac:(auto)).
    apply Rmult_le_pos; [| nra]. apply Rmult_le_pos; [apply Rmult_le_pos | apply pow2_ge_0].
    + apply HA.
    + now apply pow_le.
  - intros z w Hz. unfold n. rewrite x_norm. now apply p4_hessian_lipschitz_x; auto.
Qed.

(** * Step 3: constants of a ball *)

Section Ball.

Variables (g : regression) (X Y U V : nat -> nat -> R) (radius : R).
Variables (sigma alpha rho r r3 phi M most : R).
Hypotheses (Hm : (0 < key_count g)%nat) (Near : step_length g U V <= radius)
  (HS : spectral_bound (query_count g) (query_dimension g) (A1 g) sigma)
  (HA : row_bound (query_count g) (query_dimension g) (A1 g) alpha)
  (HK : in_ball (key_count g) (key_dimension g) (A2 g) rho)
  (HV : in_ball (key_count g) (outputs g) (key_value g Y) r)
  (HF : in_ball (key_count g) (feature_dimension g) (A3 g) r3)
  (HP : row_bound (key_count g) (feature_dimension g) (A3 g) phi)
  (HM : spectral_bound (query_count g) (feature_dimension g) (mean_feature g X) M)
  (HR : row_bound (query_count g) (outputs g) (residual g X Y) most).

Let r' : R := b_value_radius_nearby r r3 radius.
Let M' : R := b_mean_nearby M sigma rho r3 radius.
Let most' : R := b_residual_nearby most alpha rho r' phi radius.

Let x_near : x_length g U <= radius.
Proof.
  eapply Rle_trans; [| exact Near]. apply square_le; [apply sqrt_pos |].
  rewrite length_square. pose proof (pow2_ge_0 (y_length g V)). lra.
Qed.

Let y_near t : 0 <= t <= 1 -> y_length g (fun a b => t * V a b) <= radius.
Proof.
  intros Ht. eapply Rle_trans; [| exact Near]. apply square_le; [apply sqrt_pos |].
  rewrite length_square. pose proof (pow2_ge_0 (x_length g U)).
  replace (y_length g (fun a b => t * V a b) ^ 2) with (t ^ 2 * y_length g V ^ 2).
  - pose proof (pow2_ge_0 (y_length g V)). assert (t ^ 2 <= 1) by nra. nra.
  - unfold y_length. rewrite !frobenius_square, <- fsum_scale. apply fsum_ext. intros.
    rewrite <- fsum_scale. apply fsum_ext. intros. ring.
Qed.

Let value_radius t : 0 <= t <= 1 ->
  in_ball (key_count g) (outputs g) (key_value g (moved Y V t)) r'.
Proof.
  intros Ht.
  replace (moved Y V t) with (moved Y (fun a b => t * V a b) 1).
  - apply p4_value_radius_nearby; auto.
  - apply functional_extensionality. intros a. apply functional_extensionality. intros b.
    unfold moved. ring.
Qed.

Let mean_there : spectral_bound (query_count g) (feature_dimension g)
  (mean_feature g (moved X U 1)) M'.
Proof. apply p4_mean_nearby_spectral; auto. Qed.

Let residual_there : row_bound (query_count g) (outputs g)
  (residual g (moved X U 1) (moved Y V 1)) most'.
Proof. apply p4_residual_nearby; auto. Qed.

Theorem p4_hessian_lipschitz_on_ball W Z :
  Rabs (Derive_n (loss_along g (moved X U 1) (moved Y V 1) W Z) 3 0)
    <= b_hessian_lipschitz sigma alpha rho r' r3 M' most' * step_length g W Z ^ 3.
Proof. apply p4_hessian_lipschitz; auto. apply value_radius. lra. Qed.

Lemma spread_sum m p d x y A B : weights m p -> spread m p d x A -> spread m p d y B ->
  spread m p d (fun j b => x j b + y j b) (A + B).
Proof.
  intros W [PA HX] [PB HY]. split; [lra |]. intros z. pose proof (norm_nonneg d z) as N.
  set (f := fun j => dot d z (x j)) in HX. set (h := fun j => dot d z (y j)) in HY.
  assert (E : forall j, dot d z (fun b => x j b + y j b) = 1 * f j + 1 * h j)
    by (intros; rewrite dot_plus; unfold f, h; ring).
  rewrite (covariance_ext m p _ _ _ _ (fun j _ => E j) (fun j _ => E j)).
  rewrite covariance_combination, !covariance_combination_right, (covariance_sym m p h f).
  specialize (HX z). specialize (HY z). fold f in HX. fold h in HY.
  pose proof (Rabs_bounds _ _ (covariance_deviations m p f h (A * norm d z) (B * norm d z) W
    (Rmult_le_pos _ _ PA N) (Rmult_le_pos _ _ PB N) HX HY)). lra.
Qed.

Variables sd_key sd_value sd_feature : R.
Hypotheses (Pk : 0 <= sd_key) (Pv : 0 <= sd_value) (Pf : 0 <= sd_feature).
Hypothesis HD : forall i, (i < query_count g)%nat ->
  spread (key_count g) (query_weights g X i) (key_dimension g) (A2 g) sd_key /\
  spread (key_count g) (query_weights g X i) (outputs g) (key_value g Y) sd_value /\
  spread (key_count g) (query_weights g X i) (feature_dimension g) (A3 g) sd_feature.

(** Values spread by their old spread and by that of their change. *)
Theorem p4_local_lipschitz_on_ball W Z :
  let sd_feature' := b_deviation_nearby sd_feature alpha rho radius in
  Rabs (Derive_n (loss_along g (moved X U 1) (moved Y V 1) W Z) 3 0)
    <= b_local_lipschitz sigma alpha rho r' r3 M' most' (b_deviation_nearby sd_key alpha rho radius)
        (b_deviation_nearby sd_value alpha rho radius + sd_feature' * radius) sd_feature'
      * step_length g W Z ^ 3.
Proof.
  intros sd_feature'.
  assert (P : forall sd, 0 <= sd -> 0 <= b_deviation_nearby sd alpha rho radius).
  { intros sd H. unfold b_deviation_nearby. apply Rmult_le_pos; [auto | left; apply exp_pos]. }
  assert (Far : 0 <= radius) by (eapply Rle_trans; [apply sqrt_pos | exact Near]).
  assert (D : forall i, (i < query_count g)%nat ->
    let p := query_weights g (moved X U 1) i in
    spread (key_count g) p (key_dimension g) (A2 g) (b_deviation_nearby sd_key alpha rho radius) /\
    spread (key_count g) p (outputs g) (key_value g (moved Y V 1))
      (b_deviation_nearby sd_value alpha rho radius + sd_feature' * radius) /\
    spread (key_count g) p (feature_dimension g) (A3 g) sd_feature').
  { intros i Hi p. destruct (HD i Hi) as (Dk & Dv & Df).
    assert (F : spread (key_count g) p (feature_dimension g) (A3 g) sd_feature')
      by (apply p4_spread_nearby; auto).
    split; [apply p4_spread_nearby; auto | split; [| exact F]].
    pose proof (value_spread g (moved X U 1) V i sd_feature' F) as FV. fold p in FV.
    pose proof (p4_spread_nearby g X U i _ _ _ alpha rho radius Hm Hi HA HK x_near Dv) as Old.
    fold p in Old.
    destruct (spread_sum _ _ _ _ _ _ _ (weight_weights g (moved X U 1) i Hm) Old FV) as [Sum S].
    fold p in S. assert (Y1 : y_length g V <= radius).
    { replace V with (fun a b => 1 * V a b); [apply y_near; lra |].
      apply functional_extensionality. intros a. apply functional_extensionality. intros. ring. }
    destruct F as [F _]. destruct Old as [Old _].
    assert (sd_feature' * y_length g V <= sd_feature' * radius)
      by (apply Rmult_le_compat_l; auto).
    split; [lra |]. intros z.
    rewrite (covariance_ext (key_count g) p _
      (fun j => dot (outputs g) z (fun b => key_value g Y j b + key_value g V j b)) _
      (fun j => dot (outputs g) z (fun b => key_value g Y j b + key_value g V j b)))
      by (intros; apply fsum_ext; intros; rewrite value_moved; ring).
    eapply Rle_trans; [apply S |]. pose proof (norm_nonneg (outputs g) z).
    apply pow_incr. split; [apply Rmult_le_pos; auto | apply Rmult_le_compat_r; auto; lra]. }
  apply p4_local_lipschitz; auto.
  - apply value_radius. lra.
  - apply Rplus_le_le_0_compat; [| apply Rmult_le_pos]; auto. apply P, Pf.
  - apply P, Pf.
Qed.

End Ball.

(** * Step 4: a critical point *)

(** No direction changes the loss to first order. *)
Definition stationary (g : regression) (X Y : nat -> nat -> R) : Prop :=
  forall U V, is_derive (loss_along g X Y U V) 0 0.

Lemma critical_stationary g z : (0 < key_count g)%nat ->
  critical (parameter_count g) (parameter_gradient g) z -> stationary g (x_part g z) (y_part g z).
Proof.
  intros Hm C U V. pose proof (p4_gradient g (x_part g z) (y_part g z) U V Hm) as D.
  replace 0 with (gradient_form g (x_part g z) (y_part g z) U V + b_gradient_difference) at 2;
    [exact D |].
  unfold b_gradient_difference, gradient_form. rewrite Rplus_0_r. unfold inner.
  rewrite !fsum_zero; [ring | |].
  - intros c Hc. apply fsum_zero. intros k Hk. apply Rmult_eq_0_compat_l.
    rewrite <- (packed_y g (gradient_X g (x_part g z) (y_part g z)) _ c k Hk).
    apply C. unfold parameter_count. nia.
  - intros a Ha. apply fsum_zero. intros b Hb. apply Rmult_eq_0_compat_l.
    rewrite <- (packed_x g _ (gradient_Y g (x_part g z) (y_part g z)) a b Ha Hb).
    apply C. unfold parameter_count. nia.
Qed.

Lemma moved_parts g start z :
  moved (x_part g start) (x_part g (displacement z start)) 1 = x_part g z /\
  moved (y_part g start) (y_part g (displacement z start)) 1 = y_part g z.
Proof.
  split; apply functional_extensionality; intros a; apply functional_extensionality; intros b;
    unfold moved, x_part, y_part, displacement; ring.
Qed.

Section Start.

Variables (g : regression) (start : nat -> R) (radius : R).
Let n : nat := parameter_count g.
Let X : nat -> nat -> R := x_part g start.
Let Y : nat -> nat -> R := y_part g start.

Variables (sigma alpha rho r r3 phi M most : R).
Hypotheses (Hm : (0 < key_count g)%nat)
  (HS : spectral_bound (query_count g) (query_dimension g) (A1 g) sigma)
  (HA : row_bound (query_count g) (query_dimension g) (A1 g) alpha)
  (HK : in_ball (key_count g) (key_dimension g) (A2 g) rho)
  (HV : in_ball (key_count g) (outputs g) (key_value g Y) r)
  (HF : in_ball (key_count g) (feature_dimension g) (A3 g) r3)
  (HP : row_bound (key_count g) (feature_dimension g) (A3 g) phi)
  (HM : spectral_bound (query_count g) (feature_dimension g) (mean_feature g X) M)
  (HR : row_bound (query_count g) (outputs g) (residual g X Y) most).

Let r' : R := b_value_radius_nearby r r3 radius.
Let M' : R := b_mean_nearby M sigma rho r3 radius.
Let most' : R := b_residual_nearby most alpha rho r' phi radius.

Lemma smooth_of_third_derivatives L : 0 <= L ->
  (forall U V W Z, step_length g U V <= radius ->
    Rabs (Derive_n (loss_along g (moved X U 1) (moved Y V 1) W Z) 3 0)
      <= L * step_length g W Z ^ 3) ->
  smooth n start radius L (parameter_gradient g) (parameter_hessian g).
Proof.
  intros HL B. apply (p4_regression_smooth g _ _ _ _ _ (all_coordinates g)); auto. intros z w Hz.
  rewrite norm_parts. destruct (moved_parts g start z) as [<- <-]. apply B.
  rewrite <- norm_parts, norm_displacement. exact Hz.
Qed.

(** The Hessian of attention regression is Lipschitz, with the constant of P4.lipschitz. *)
Theorem p4_hessian_smooth :
  smooth n start radius (b_hessian_lipschitz sigma alpha rho r' r3 M' most')
    (parameter_gradient g) (parameter_hessian g).
Proof.
  apply smooth_of_third_derivatives; [apply sqrt_pos |]. intros.
  now apply p4_hessian_lipschitz_on_ball.
Qed.

Lemma stationary_nearby L mu G : smooth n start radius L (parameter_gradient g)
    (parameter_hessian g) -> 0 <= L -> 0 < mu ->
  eigenvalues_from n mu (parameter_hessian g start) -> norm n (parameter_gradient g start) <= G ->
  b_kantorovich_number G mu L <= 1 / 2 -> b_critical_radius G mu L <= radius ->
  exists z, distance n z start <= b_critical_radius G mu L /\
    stationary g (x_part g z) (y_part g z).
Proof.
  intros F HL Hmu H HG Hh Hr.
  destruct (p4_critical_radius n start mu L G (parameter_gradient g) (parameter_hessian g))
    as (z & D & C); auto.
  - now apply smooth_within with radius.
  - exists z. split; [exact D | now apply critical_stationary].
Qed.

(** What Kantorovich's theorem asks of attention regression is known from one point. *)
Theorem p4_regression_kantorovich mu G :
  let L := b_hessian_lipschitz sigma alpha rho r' r3 M' most' in 0 < mu ->
  eigenvalues_from n mu (parameter_hessian g start) -> norm n (parameter_gradient g start) <= G ->
  b_kantorovich_number G mu L <= 1 / 2 -> b_critical_radius G mu L <= radius ->
  exists z, distance n z start <= b_critical_radius G mu L /\
    stationary g (x_part g z) (y_part g z).
Proof.
  intros L Hmu. apply stationary_nearby; [apply p4_hessian_smooth | apply sqrt_pos | exact Hmu].
Qed.

Variables sd_key sd_value sd_feature : R.
Hypotheses (Pk : 0 <= sd_key) (Pv : 0 <= sd_value) (Pf : 0 <= sd_feature).
Hypothesis HD : forall i, (i < query_count g)%nat ->
  spread (key_count g) (query_weights g X i) (key_dimension g) (A2 g) sd_key /\
  spread (key_count g) (query_weights g X i) (outputs g) (key_value g Y) sd_value /\
  spread (key_count g) (query_weights g X i) (feature_dimension g) (A3 g) sd_feature.

Let sd_key' : R := b_deviation_nearby sd_key alpha rho radius.
Let sd_feature' : R := b_deviation_nearby sd_feature alpha rho radius.
Let sd_value' : R := b_deviation_nearby sd_value alpha rho radius + sd_feature' * radius.

(** With the constant of P4.local. *)
Theorem p4_local_smooth :
  smooth n start radius
    (b_local_lipschitz sigma alpha rho r' r3 M' most' sd_key' sd_value' sd_feature')
    (parameter_gradient g) (parameter_hessian g).
Proof.
  apply smooth_of_third_derivatives; [apply sqrt_pos |]. intros.
  now apply p4_local_lipschitz_on_ball.
Qed.

Theorem p4_regression_kantorovich_local mu G :
  let L := b_local_lipschitz sigma alpha rho r' r3 M' most' sd_key' sd_value' sd_feature' in
  0 < mu -> eigenvalues_from n mu (parameter_hessian g start) ->
  norm n (parameter_gradient g start) <= G ->
  b_kantorovich_number G mu L <= 1 / 2 -> b_critical_radius G mu L <= radius ->
  exists z, distance n z start <= b_critical_radius G mu L /\
    stationary g (x_part g z) (y_part g z).
Proof.
  intros L Hmu. apply stationary_nearby; [apply p4_local_smooth | apply sqrt_pos | exact Hmu].
Qed.

End Start.
