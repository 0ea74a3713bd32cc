(** Mixed derivatives of attention regression: what changes in one direction while another is asked
    after (for RegressionNewton.v).

    Steps as in Regression.v: (1) an average under softmax (s + t u) has the derivative
    Cov (u, f) + E f', and cumulants are polynomials in averages; (2) so velocities and
    accelerations in a direction (W, Z) change along (U, V) by joint cumulants; (3) by the product
    rule the form of the Hessian in (W, Z) changes along (U, V) by third_across; (4) which is a
    coefficient of the third derivative along x (U, V) + y (W, Z), a cubic in x and y. *)

Require Import Reals FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From Attest.Foundations Require Import Sums Derivatives Averages.
From Attest.Regression Require Import Cumulants Regression Banach.
Open Scope R_scope.

(** * Step 1: joint cumulants *)

Definition third_joint (m : nat) (p u w h : nat -> R) : R :=
  mean m p (fun j => (u j - mean m p u) * (w j - mean m p w) * (h j - mean m p h)).

Lemma third_cumulant_joint m p u h : third_cumulant m p u h = third_joint m p u u h.
Proof. apply mean_ext. intros. ring. Qed.

(** w counts twice. *)
Definition fourth_joint (m : nat) (p u w h : nat -> R) : R :=
  mean m p (fun j => (u j - mean m p u) * (w j - mean m p w) ^ 2 * (h j - mean m p h))
    - 2 * covariance m p u w * covariance m p w h - covariance m p w w * covariance m p u h.

Lemma third_joint_raw m p u w h : weights m p ->
  third_joint m p u w h = mean m p (fun j => u j * (w j * h j))
    - mean m p u * mean m p (fun j => w j * h j) - mean m p w * mean m p (fun j => u j * h j)
    - mean m p h * mean m p (fun j => u j * w j) + 2 * mean m p u * mean m p w * mean m p h.
Proof.
  intros W. unfold third_joint.
  set (a := mean m p u). set (b := mean m p w). set (c := mean m p h).
  rewrite (mean_ext m p _ (fun j => u j * (w j * h j) - a * (w j * h j) - b * (u j * h j)
    - c * (u j * w j) + b * c * u j + a * c * w j + a * b * h j - a * b * c)) by (intros; ring).
  rewrite mean_minus, !mean_plus, !mean_minus, !mean_scale, mean_const by auto.
  fold a b c. ring.
Qed.

Lemma fourth_joint_raw m p u w h : weights m p ->
  let E f := mean m p f in
  fourth_joint m p u w h = E (fun j => u j * (w j * (w j * h j)))
    - E u * E (fun j => w j * (w j * h j)) - 2 * E w * E (fun j => u j * (w j * h j))
    - E h * E (fun j => u j * (w j * w j)) + 2 * E u * E w * E (fun j => w j * h j)
    + E u * E h * E (fun j => w j * w j) + E w ^ 2 * E (fun j => u j * h j)
    + 2 * E w * E h * E (fun j => u j * w j) - 3 * E u * E w ^ 2 * E h
    - 2 * (E (fun j => u j * w j) - E u * E w) * (E (fun j => w j * h j) - E w * E h)
    - (E (fun j => w j * w j) - E w * E w) * (E (fun j => u j * h j) - E u * E h).
Proof.
  intros W E. unfold fourth_joint. rewrite !covariance_moments by auto.
  set (a := mean m p u). set (b := mean m p w). set (c := mean m p h).
  rewrite (mean_ext m p _ (fun j => u j * (w j * (w j * h j)) - a * (w j * (w j * h j))
    - 2 * b * (u j * (w j * h j)) - c * (u j * (w j * w j)) + 2 * a * b * (w j * h j)
    + a * c * (w j * w j) + b ^ 2 * (u j * h j) + 2 * b * c * (u j * w j)
    - (b ^ 2 * c * u j + 2 * a * b * c * w j + a * b ^ 2 * h j - a * b ^ 2 * c)))
    by (intros; ring).
  rewrite !mean_minus, !mean_plus, !mean_minus, !mean_scale, mean_const by auto.
  unfold E. fold a b c. ring.
Qed.

(** Of a combination of u and w. *)
Section Combination.

Variables (m : nat) (p u w h : nat -> R) (x y : R).

Let z (j : nat) : R := x * u j + y * w j.
Let a : R := mean m p u.
Let b : R := mean m p w.
Let c : R := mean m p h.

Lemma mean_combination : mean m p z = x * a + y * b.
Proof. unfold z. now rewrite mean_plus, !mean_scale. Qed.

Lemma covariance_combination : covariance m p z h = x * covariance m p u h + y * covariance m p w h.
Proof.
  unfold covariance. rewrite mean_combination. fold a b c.
  rewrite <- !mean_scale, <- mean_plus. apply mean_ext. intros. unfold z. ring.
Qed.

Lemma third_combination : third_cumulant m p z h = x ^ 2 * third_cumulant m p u h
  + 2 * (x * y) * third_joint m p u w h + y ^ 2 * third_cumulant m p w h.
Proof.
  unfold third_cumulant, third_joint. rewrite mean_combination. fold a b c.
  rewrite <- !mean_scale, <- !mean_plus. apply mean_ext. intros. unfold z. ring.
Qed.

Lemma fourth_combination : fourth_cumulant m p z h = x ^ 3 * fourth_cumulant m p u h
  + 3 * (x ^ 2 * y) * fourth_joint m p w u h + 3 * (x * y ^ 2) * fourth_joint m p u w h
  + y ^ 3 * fourth_cumulant m p w h.
Proof.
  unfold fourth_cumulant, fourth_joint. rewrite covariance_combination.
  replace (covariance m p z z) with (x ^ 2 * covariance m p u u
    + 2 * (x * y) * covariance m p u w + y ^ 2 * covariance m p w w).
  - rewrite mean_combination, (covariance_sym m p w u). fold a b c.
    rewrite (mean_ext m p (fun j => (z j - (x * a + y * b)) ^ 3 * (h j - c))
      (fun j => x ^ 3 * ((u j - a) ^ 3 * (h j - c))
        + 3 * (x ^ 2 * y) * ((w j - b) * (u j - a) ^ 2 * (h j - c))
        + 3 * (x * y ^ 2) * ((u j - a) * (w j - b) ^ 2 * (h j - c))
        + y ^ 3 * ((w j - b) ^ 3 * (h j - c)))) by (intros; unfold z; ring).
    rewrite !mean_plus, !mean_scale. ring.
  - unfold covariance. rewrite mean_combination. fold a b.
    rewrite <- !mean_scale, <- !mean_plus. apply mean_ext. intros. unfold z. ring.
Qed.

End Combination.

(** * Step 2: a row *)

Section AcrossRow.

Variables (m : nat) (s u h v w k : nat -> R).
Hypothesis Hm : (0 < m)%nat.

Let E (f : nat -> R) (t : R) : R := mean m (row m s u t) f.
Let H (f : nat -> R) (t : R) : R := mean m (row m s u t) (fun j => f j * (h j + t * v j)).

Let W t : weights m (row m s u t).
Proof. apply softmax_weights. auto. Qed.

Let DE f t : is_derive (E f) t (E (fun j => u j * f j) t - E u t * E f t).
Proof.
  evar_last; [apply (is_derive_mean m s u (fun j _ => f j) (fun _ => 0)); auto |].
  - intros. apply (is_derive_const (f j)).
  - rewrite (mean_const m _ 0) by apply W. fold (E (fun j => u j * f j) t) (E u t).
    change (mean m (row m s u t) (fun j => f j)) with (E f t). ring.
Qed.

Let DH f t :
  is_derive (H f) t (H (fun j => u j * f j) t + E (fun j => f j * v j) t - E u t * H f t).
Proof.
  evar_last; [apply (is_derive_mean m s u (fun j t => f j * (h j + t * v j))
    (fun j => f j * v j)); auto |].
  - intros. auto_derive; auto. ring.
  - unfold E, H. f_equal. f_equal. apply mean_ext. intros. ring.
Qed.

Let dE f t : Derive (fun x => E f x) t = E (fun j => u j * f j) t - E u t * E f t.
Proof. apply is_derive_unique, DE. Qed.
Let dH f t : Derive (fun x => H f x) t
  = H (fun j => u j * f j) t + E (fun j => f j * v j) t - E u t * H f t.
Proof. apply is_derive_unique, DH. Qed.
Let EE f t : ex_derive (E f) t. Proof. eexists. apply DE. Qed.
Let EH f t : ex_derive (H f) t. Proof. eexists. apply DH. Qed.

Let one (j : nat) : R := 1.

Let plain t : mean m (row m s u t) (fun j => h j + t * v j) = H one t.
Proof. apply mean_ext. intros. unfold one. ring. Qed.
Let drop f t : E (fun j => f j * one j) t = E f t.
Proof. apply mean_ext. intros. unfold one. ring. Qed.
Let drop_front f t : E (fun j => one j * f j) t = E f t.
Proof. apply mean_ext. intros. unfold one. ring. Qed.
Let drop_h f t : H (fun j => f j * one j) t = H f t.
Proof. apply mean_ext. intros. unfold one. ring. Qed.
Let associate f g t : mean m (row m s u t) (fun j => f j * (g j * (h j + t * v j)))
  = H (fun j => f j * g j) t.
Proof. apply mean_ext. intros. ring. Qed.
Let associate_twice f g e t :
  mean m (row m s u t) (fun j => f j * (g j * (e j * (h j + t * v j))))
  = H (fun j => f j * (g j * e j)) t.
Proof. apply mean_ext. intros. ring. Qed.

Lemma is_derive_velocity_row t :
  is_derive (fun t => covariance m (row m s u t) w (fun j => h j + t * v j)
      + mean m (row m s u t) k) t
    (third_joint m (row m s u t) u w (fun j => h j + t * v j)
      + covariance m (row m s u t) w v + covariance m (row m s u t) u k).
Proof.
  apply (is_derive_ext (fun t => H w t - E w t * H one t + E k t)).
  { intros r. rewrite covariance_moments, plain by apply W. reflexivity. }
  auto_derive; [repeat split; auto |]. rewrite ?dE, ?dH, drop_h, drop_front.
  rewrite third_joint_raw, !covariance_moments, associate, plain by apply W.
  fold (E u t) (E w t) (E v t) (E k t) (H w t) (H u t).
  fold (E (fun j => u j * w j) t) (E (fun j => u j * k j) t) (E (fun j => w j * v j) t). ring.
Qed.

Lemma is_derive_acceleration_row t :
  is_derive (fun t => third_cumulant m (row m s u t) w (fun j => h j + t * v j)
      + 2 * covariance m (row m s u t) w k) t
    (fourth_joint m (row m s u t) u w (fun j => h j + t * v j)
      + third_cumulant m (row m s u t) w v + 2 * third_joint m (row m s u t) u w k).
Proof.
  apply (is_derive_ext (fun t => H (fun j => w j * w j) t - 2 * E w t * H w t
    - H one t * E (fun j => w j * w j) t + 2 * E w t * E w t * H one t
    + 2 * (E (fun j => w j * k j) t - E w t * E k t))).
  { intros r. rewrite third_cumulant_joint, third_joint_raw, covariance_moments by apply W.
    rewrite associate, plain.
    fold (E w r) (E k r) (H w r) (E (fun j => w j * w j) r) (E (fun j => w j * k j) r).
    match goal with |- ?a = ?b => change (@eq R a b) end. ring. }
  auto_derive; [repeat split; auto |]. rewrite ?dE, ?dH, drop_h, drop_front.
  rewrite third_cumulant_joint, !third_joint_raw, fourth_joint_raw by apply W.
  rewrite associate_twice, !associate, plain.
  rewrite (mean_ext m (row m s u t) (fun j => w j * (w j * v j)) (fun j => w j * w j * v j))
    by (intros; ring).
  fold (E u t) (E w t) (E v t) (E k t) (H w t) (H u t).
  fold (E (fun j => u j * w j) t) (E (fun j => u j * k j) t) (E (fun j => w j * v j) t)
    (E (fun j => w j * k j) t) (E (fun j => w j * w j) t) (E (fun j => u j * (w j * w j)) t)
    (E (fun j => u j * (w j * k j)) t) (E (fun j => w j * w j * v j) t). ring.
Qed.

End AcrossRow.

(** * Step 3: the loss *)

(** The derivative along (U, V) of the velocity in the direction (W, Z); the same the other way. *)
Definition mixed_acceleration (g : regression) (X Y U V W Z : nat -> nat -> R) (i c : nat) : R :=
  third_joint (key_count g) (query_weights g X i) (query_logit g U i) (query_logit g W i)
    (fun j => key_value g Y j c)
  + covariance (key_count g) (query_weights g X i) (query_logit g W i) (fun j => key_value g V j c)
  + covariance (key_count g) (query_weights g X i) (query_logit g U i) (fun j => key_value g Z j c).

(** The derivative along (U, V) of the acceleration in the direction (W, Z). *)
Definition mixed_jerk (g : regression) (X Y U V W Z : nat -> nat -> R) (i c : nat) : R :=
  fourth_joint (key_count g) (query_weights g X i) (query_logit g U i) (query_logit g W i)
    (fun j => key_value g Y j c)
  + third_cumulant (key_count g) (query_weights g X i) (query_logit g W i)
    (fun j => key_value g V j c)
  + 2 * third_joint (key_count g) (query_weights g X i) (query_logit g U i) (query_logit g W i)
    (fun j => key_value g Z j c).

(** The derivative along (U, V) of the second derivative in the direction (W, Z). *)
Definition third_across (g : regression) (X Y U V W Z : nat -> nat -> R) : R :=
  entries g (fun i c => 2 * velocity g X Y W Z i c * mixed_acceleration g X Y U V W Z i c
    + velocity g X Y U V i c * acceleration g X Y W Z i c
    + residual g X Y i c * mixed_jerk g X Y U V W Z i c).

Lemma is_derive_velocity_across g X Y U V W Z i c t : (0 < key_count g)%nat ->
  is_derive (fun t => velocity g (moved X U t) (moved Y V t) W Z i c) t
    (mixed_acceleration g (moved X U t) (moved Y V t) U V W Z i c).
Proof.
  intros Hm. unfold mixed_acceleration. rewrite weight_moved, values_moved.
  eapply is_derive_ext; [| apply (is_derive_velocity_row (key_count g) (query_logit g X i)
    (query_logit g U i) (fun j => key_value g Y j c) (fun j => key_value g V j c)
    (query_logit g W i) (fun j => key_value g Z j c) Hm)].
  intros r. unfold velocity. now rewrite weight_moved, values_moved.
Qed.

Lemma is_derive_acceleration_across g X Y U V W Z i c t : (0 < key_count g)%nat ->
  is_derive (fun t => acceleration g (moved X U t) (moved Y V t) W Z i c) t
    (mixed_jerk g (moved X U t) (moved Y V t) U V W Z i c).
Proof.
  intros Hm. unfold mixed_jerk. rewrite weight_moved, values_moved.
  eapply is_derive_ext; [| apply (is_derive_acceleration_row (key_count g) (query_logit g X i)
    (query_logit g U i) (fun j => key_value g Y j c) (fun j => key_value g V j c)
    (query_logit g W i) (fun j => key_value g Z j c) Hm)].
  intros r. unfold acceleration. now rewrite weight_moved, values_moved.
Qed.

Lemma is_derive_first_across g X Y U V W Z t : (0 < key_count g)%nat ->
  is_derive (fun t => entries g (fun i c => residual g (moved X U t) (moved Y V t) i c
      * velocity g (moved X U t) (moved Y V t) W Z i c)) t
    (entries g (fun i c => velocity g (moved X U t) (moved Y V t) U V i c
        * velocity g (moved X U t) (moved Y V t) W Z i c
      + residual g (moved X U t) (moved Y V t) i c
        * mixed_acceleration g (moved X U t) (moved Y V t) U V W Z i c)).
Proof.
  intros Hm. apply (is_derive_entries g (fun t i c => residual g (moved X U t) (moved Y V t) i c
    * velocity g (moved X U t) (moved Y V t) W Z i c)).
  intros i c. apply is_derive_product; [apply is_derive_residual | apply is_derive_velocity_across];
    auto.
Qed.

Lemma is_derive_second_across g X Y U V W Z t : (0 < key_count g)%nat ->
  is_derive (fun t => entries g (fun i c => velocity g (moved X U t) (moved Y V t) W Z i c ^ 2
      + residual g (moved X U t) (moved Y V t) i c
        * acceleration g (moved X U t) (moved Y V t) W Z i c)) t
    (third_across g (moved X U t) (moved Y V t) U V W Z).
Proof.
  intros Hm. set (X' := moved X U). set (Y' := moved Y V).
  apply (is_derive_ext (fun t => entries g (fun i c =>
    velocity g (X' t) (Y' t) W Z i c * velocity g (X' t) (Y' t) W Z i c
    + residual g (X' t) (Y' t) i c * acceleration g (X' t) (Y' t) W Z i c))).
  - intros r. apply fsum_ext. intros i _. apply fsum_ext. intros. ring.
  - apply (is_derive_entries g (fun t i c =>
      velocity g (X' t) (Y' t) W Z i c * velocity g (X' t) (Y' t) W Z i c
      + residual g (X' t) (Y' t) i c * acceleration g (X' t) (Y' t) W Z i c)). intros i c.
    evar_last; [apply (is_derive_plus (fun t => velocity g (X' t) (Y' t) W Z i c
      * velocity g (X' t) (Y' t) W Z i c)); apply is_derive_product;
      [apply is_derive_velocity_across | apply is_derive_velocity_across | apply is_derive_residual
        | apply is_derive_acceleration_across]; auto |].
    unfold plus. simpl. fold (X' t) (Y' t). ring.
Qed.

(** * Step 4: combinations of directions *)

(** x U + y W *)
Definition combined (x y : R) (U W : nat -> nat -> R) (a b : nat) : R := x * U a b + y * W a b.

Lemma logits_combined g x y U W i : query_logit g (combined x y U W) i
  = fun j => x * query_logit g U i j + y * query_logit g W i j.
Proof.
  apply functional_extensionality. intros j. unfold query_logit, combined.
  rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros a _.
  rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

Lemma values_combined g x y V Z c : (fun j => key_value g (combined x y V Z) j c)
  = fun j => x * key_value g V j c + y * key_value g Z j c.
Proof.
  apply functional_extensionality. intros j. unfold key_value, combined.
  rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

Section Combined.

Variables (g : regression) (X Y U V W Z : nat -> nat -> R) (x y : R) (i c : nat).

Let UW : nat -> nat -> R := combined x y U W.
Let VZ : nat -> nat -> R := combined x y V Z.

Lemma velocity_combined : velocity g X Y UW VZ i c
  = x * velocity g X Y U V i c + y * velocity g X Y W Z i c.
Proof.
  unfold velocity, UW, VZ. rewrite logits_combined, values_combined, covariance_combination.
  rewrite mean_combination. ring.
Qed.

Lemma covariance_combination_right m p f h k : covariance m p f (fun j => x * h j + y * k j)
  = x * covariance m p f h + y * covariance m p f k.
Proof. now rewrite covariance_sym, covariance_combination, !(covariance_sym m p f). Qed.

Lemma third_joint_combination m p u w h k : third_joint m p u w (fun j => x * h j + y * k j)
  = x * third_joint m p u w h + y * third_joint m p u w k.
Proof.
  unfold third_joint. rewrite (mean_combination m p h k x y).
  set (a := mean m p h). set (b := mean m p k).
  rewrite <- !mean_scale, <- mean_plus. apply mean_ext. intros. ring.
Qed.

Lemma acceleration_combined : acceleration g X Y UW VZ i c = x ^ 2 * acceleration g X Y U V i c
  + 2 * (x * y) * mixed_acceleration g X Y U V W Z i c + y ^ 2 * acceleration g X Y W Z i c.
Proof.
  unfold acceleration, mixed_acceleration, UW, VZ. rewrite logits_combined, values_combined.
  rewrite third_combination, covariance_combination, !covariance_combination_right. ring.
Qed.

Lemma jerk_combined : jerk g X Y UW VZ i c = x ^ 3 * jerk g X Y U V i c
  + 3 * (x ^ 2 * y) * mixed_jerk g X Y W Z U V i c
  + 3 * (x * y ^ 2) * mixed_jerk g X Y U V W Z i c + y ^ 3 * jerk g X Y W Z i c.
Proof.
  unfold jerk, mixed_jerk, UW, VZ. rewrite logits_combined, values_combined.
  rewrite fourth_combination, third_combination.
  rewrite !third_cumulant_joint, !third_joint_combination.
  assert (S : forall m p a b h, third_joint m p b a h = third_joint m p a b h)
    by (intros; apply mean_ext; intros; ring).
  rewrite !(S _ _ (query_logit g U i) (query_logit g W i)). ring.
Qed.

End Combined.

Lemma mixed_acceleration_sym g X Y U V W Z i c :
  mixed_acceleration g X Y W Z U V i c = mixed_acceleration g X Y U V W Z i c.
Proof.
  unfold mixed_acceleration. rewrite Rplus_assoc, (Rplus_comm (covariance _ _ _ _)), <- Rplus_assoc.
  do 2 f_equal. apply mean_ext. intros. ring.
Qed.

Lemma third_derivative_combined g X Y U V W Z x y : (0 < key_count g)%nat ->
  Derive_n (loss_along g X Y (combined x y U W) (combined x y V Z)) 3 0
  = binary_cubic (Derive_n (loss_along g X Y U V) 3 0) (third_across g X Y W Z U V)
      (third_across g X Y U V W Z) (Derive_n (loss_along g X Y W Z) 3 0) x y.
Proof.
  intros Hm. rewrite !loss_third_derivative by auto. unfold binary_cubic, third_across, entries.
  rewrite !Rmult_assoc, <- !fsum_scale_r, <- !fsum_scale, <- !fsum_plus. apply fsum_ext. intros i _.
  rewrite <- !fsum_scale_r, <- !fsum_scale, <- !fsum_plus. apply fsum_ext. intros c _.
  rewrite velocity_combined, acceleration_combined, jerk_combined.
  rewrite (mixed_acceleration_sym g X Y U V W Z). ring.
Qed.
