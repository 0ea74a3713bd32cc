(** Cumulants under weights (claim P4.cumulant), and from standard deviations (for P4.local).

    Weights p_j >= 0 of sum 1 stand for a row of softmax.  With x = s - E s the three cumulants are
    covariances of h with x, x^2 and x^3 - 3 Var(s) x.  Steps: (1) for h within r of a number
    |Cov(f, h)| <= r E|f - E f|, and Cov(f, h) is at most a product of standard deviations;
    (2) for f = x^2 and s in [-1, 1], E|f - E f| = 2 q (1 - q) D, where q is the weight of the keys
    at which f exceeds its mean and D the difference of its means on them and off them.  D is at
    most a polynomial in q and the means of s on them and off them, and the product with that is at
    most 4 sqrt 3 / 9; (3) for f = x^3 - 3 v x, f^2 = 4 v^3 + (z - v)^2 (z - 4 v) with z = x^2 and
    v = E z, and its mean is at most 4.  Vectors are reduced to their products with one vector.
    Two keys attain each bound. *)

Require Import Reals Lra.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Softmax Require Import TotalVariation.
Open Scope R_scope.

Definition covariance (m : nat) (p f h : nat -> R) : R :=
  mean m p (fun j => (f j - mean m p f) * (h j - mean m p h)).

Definition third_cumulant (m : nat) (p s h : nat -> R) : R :=
  mean m p (fun j => (s j - mean m p s) ^ 2 * (h j - mean m p h)).

Definition fourth_cumulant (m : nat) (p s h : nat -> R) : R :=
  mean m p (fun j => (s j - mean m p s) ^ 3 * (h j - mean m p h))
    - 3 * covariance m p s s * covariance m p s h.

(** |f_j - a| <= r for j < m *)
Definition within_radius (m : nat) (f : nat -> R) (r : R) : Prop :=
  exists a, forall j, (j < m)%nat -> Rabs (f j - a) <= r.

(** * Covariances *)

Lemma centred_radius m p f r j : weights m p -> within_radius m f r -> (j < m)%nat ->
  Rabs (f j - mean m p f) <= 2 * r.
Proof.
  intros W [a H] Hj. pose proof (Rabs_bounds _ _ (mean_near m p f a r W H)).
  pose proof (Rabs_bounds _ _ (H j Hj)). apply Rabs_le. lra.
Qed.

Lemma covariance_left m p f h c : weights m p ->
  covariance m p f h = mean m p (fun j => (f j - c) * (h j - mean m p h)).
Proof.
  intros W. unfold covariance.
  rewrite (mean_ext m p _ (fun j => (f j - c) * (h j - mean m p h)
    + (c - mean m p f) * (h j - mean m p h))) by (intros; ring).
  rewrite mean_plus, mean_scale, mean_centred by auto. ring.
Qed.

Lemma covariance_sym m p f h : covariance m p f h = covariance m p h f.
Proof. apply mean_ext. intros. ring. Qed.

Lemma covariance_right m p f h c : weights m p ->
  covariance m p f h = mean m p (fun j => (f j - mean m p f) * (h j - c)).
Proof.
  intros W. rewrite covariance_sym, (covariance_left m p h f c W). apply mean_ext. intros. ring.
Qed.

Lemma covariance_ext m p f f' h h' : (forall j, (j < m)%nat -> f j = f' j) ->
  (forall j, (j < m)%nat -> h j = h' j) -> covariance m p f h = covariance m p f' h'.
Proof.
  intros F H. unfold covariance. rewrite (mean_ext m p f f'), (mean_ext m p h h') by auto.
  apply mean_ext. intros j Hj. now rewrite F, H.
Qed.

Lemma covariance_moments m p f h : weights m p ->
  covariance m p f h = mean m p (fun j => f j * h j) - mean m p f * mean m p h.
Proof.
  intros W. rewrite (covariance_left m p f h 0 W), (Rmult_comm (mean m p f)), <- mean_scale,
    <- mean_minus. apply mean_ext. intros. ring.
Qed.

Lemma variance_least m p f c : weights m p ->
  covariance m p f f <= mean m p (fun j => (f j - c) ^ 2).
Proof.
  intros W. rewrite (covariance_left m p f f c W).
  rewrite (mean_ext m p _ (fun j => (f j - c) ^ 2 - (mean m p f - c) * (f j - c)))
    by (intros; ring).
  rewrite mean_minus, mean_scale, mean_minus, mean_const by auto.
  pose proof (pow2_ge_0 (mean m p f - c)). lra.
Qed.

Lemma variance_nonneg m p f : weights m p -> 0 <= covariance m p f f.
Proof. intros W. apply mean_nonneg; auto. intros. apply Rle_0_sqr. Qed.

Lemma radius_nonneg m p f r : weights m p -> within_radius m f r -> 0 <= r.
Proof.
  intros W [a H]. eapply Rle_trans; [apply Rabs_pos | apply (H 0%nat), (weights_nonempty m p W)].
Qed.

Lemma variance_radius m p f r : weights m p -> within_radius m f r -> covariance m p f f <= r ^ 2.
Proof.
  intros W F. pose proof (radius_nonneg m p f r W F). destruct F as [a F].
  eapply Rle_trans; [apply (variance_least m p f a W) |].
  rewrite <- (mean_const m p (r ^ 2) W). apply mean_le; auto. intros j Hj.
  rewrite <- (pow2_abs (f j - a)). apply pow_incr. split; [apply Rabs_pos | auto].
Qed.

(** Standard deviations A and B. *)
Lemma covariance_deviations m p f h A B : weights m p -> 0 <= A -> 0 <= B ->
  covariance m p f f <= A ^ 2 -> covariance m p h h <= B ^ 2 ->
  Rabs (covariance m p f h) <= A * B.
Proof.
  intros W HA HB HF HH. apply mean_cauchy; auto.
  - eapply Rle_trans; [| apply HF]. right. apply mean_ext. intros. ring.
  - eapply Rle_trans; [| apply HH]. right. apply mean_ext. intros. ring.
Qed.

(** Step 1. *)
Lemma covariance_radius m p f h r K : weights m p -> within_radius m h r ->
  mean m p (fun j => Rabs (f j - mean m p f)) <= K -> Rabs (covariance m p f h) <= K * r.
Proof.
  intros W H HK. pose proof (radius_nonneg m p h r W H). destruct H as [b H].
  rewrite (covariance_right m p f h b W).
  eapply Rle_trans; [apply mean_abs; auto |].
  apply Rle_trans with (r * mean m p (fun j => Rabs (f j - mean m p f))); [| nra].
  rewrite <- mean_scale. apply mean_le; auto. intros j Hj. rewrite Rabs_mult, Rmult_comm.
  apply Rmult_le_compat_r; [apply Rabs_pos | auto].
Qed.

Theorem p4_second_cumulant m p s h rho r : weights m p -> within_radius m s rho ->
  within_radius m h r -> Rabs (covariance m p s h) <= b_second_cumulant rho r.
Proof.
  intros W S H. unfold b_second_cumulant.
  apply covariance_deviations; eauto using radius_nonneg, variance_radius.
Qed.

(** s = a + rho x with x in [-1, 1]. *)
Lemma unit_radius m p s rho : weights m p -> within_radius m s rho ->
  exists a x, (forall j, (j < m)%nat -> s j = a + rho * x j) /\
    (forall j, (j < m)%nat -> Rabs (x j) <= 1).
Proof.
  intros W S. pose proof (radius_nonneg m p s rho W S) as Hr. destruct S as [a S].
  exists a, (fun j => (s j - a) / rho). destruct (Req_dec rho 0) as [-> | Hne].
  - split; intros j Hj; pose proof (Rabs_bounds _ _ (S j Hj)).
    + lra.
    + replace (s j - a) with 0 by lra. unfold Rdiv. rewrite Rmult_0_l, Rabs_R0. lra.
  - split; intros j Hj.
    + field. auto.
    + rewrite Rabs_div_pos by lra. apply div_le; [lra |]. rewrite Rmult_1_l. auto.
Qed.

(** * The third cumulant *)

(** 2 y (1 - y^2) is largest at y = 1 / sqrt 3. *)
Lemma largest_cubic y : 0 <= y -> 2 * y * (1 - y ^ 2) <= 4 * sqrt 3 / 9.
Proof.
  intros Hy. set (c := sqrt 3 / 3).
  assert (C : c * c = 1 / 3) by (unfold c; pose proof (sqrt_sqrt 3 ltac:(lra)); nra).
  assert (0 < c) by (unfold c; pose proof (sqrt_lt_R0 3 ltac:(lra)); lra).
  assert (0 <= (y - c) ^ 2 * (y + 2 * c))
    by (apply Rmult_le_pos; [apply pow2_ge_0 | lra]).
  replace (4 * sqrt 3 / 9) with (4 * c / 3) by (unfold c; field).
  replace ((y - c) ^ 2 * (y + 2 * c)) with (y ^ 3 - 3 * (c * c) * y + 2 * c * (c * c)) in * by ring.
  rewrite C in *. nra.
Qed.

Lemma three_quarters : 3 / 4 <= 4 * sqrt 3 / 9.
Proof.
  assert (27 / 16 <= sqrt 3); [| lra].
  rewrite <- (sqrt_pow2 (27 / 16)) by lra. apply sqrt_le_1_alt. lra.
Qed.

(** The means of s on the keys and off them are a and b, and q is the keys' weight. *)
Lemma third_core q a b : 0 <= q <= 1 -> -1 <= a <= 1 -> -1 <= b <= 1 ->
  2 * (q * (1 - q)) * (1 - a ^ 2 + (1 - 2 * q) * (a - b) ^ 2) <= 4 * sqrt 3 / 9.
Proof.
  intros Hq Ha Hb. pose proof three_quarters.
  assert (Q : 0 <= q * (1 - q)) by (apply Rmult_le_pos; lra).
  destruct (Rle_dec (1 / 2) q) as [Large | Small].
  - (* The square of a - b only takes away. *)
    apply Rle_trans with (2 * (q * (1 - q)) * 1); [| nra].
    apply Rmult_le_compat_l; [lra |]. pose proof (pow2_ge_0 (a - b)). pose proof (pow2_ge_0 a). nra.
  - (* b is -1 or 1, on the other side of 0 than a. *)
    set (t := Rabs a).
    assert (T : 0 <= t <= 1) by (unfold t; split; [apply Rabs_pos | apply Rabs_le; lra]).
    assert (A : a ^ 2 = t ^ 2) by (unfold t; now rewrite pow2_abs).
    assert (AB : (a - b) ^ 2 <= (1 + t) ^ 2).
    { rewrite <- (pow2_abs (a - b)). apply pow_incr. split; [apply Rabs_pos |].
      unfold t. replace (a - b) with (- b + a) by ring. eapply Rle_trans; [apply Rabs_triang |].
      apply Rplus_le_compat_r, Rabs_le. lra. }
    apply Rle_trans with (2 * (q * (1 - q)) * (2 * (1 + t) * (1 - q - q * t))).
    { apply Rmult_le_compat_l; [lra |]. rewrite A.
      assert ((1 - 2 * q) * (a - b) ^ 2 <= (1 - 2 * q) * (1 + t) ^ 2)
        by (apply Rmult_le_compat_l; lra). nra. }
    destruct (Rle_dec (1 / 4) q) as [Middle | Tiny].
    + (* The parabola in t has its top at 1 - q. *)
      apply Rle_trans with (1 - q); [| lra].
      apply Rle_trans with ((1 - q) * (1 - (1 - 2 * q - 2 * q * t) ^ 2)); [right; ring |].
      pose proof (pow2_ge_0 (1 - 2 * q - 2 * q * t)). nra.
    + (* It still rises at t = 1. *)
      apply Rle_trans with (2 * (1 - 2 * q) * (1 - (1 - 2 * q) ^ 2)); [| apply largest_cubic; lra].
      apply Rle_trans with (2 * (q * (1 - q)) * (4 * (1 - 2 * q))); [| right; ring].
      apply Rmult_le_compat_l; [lra |].
      assert (0 <= (1 - t) * (1 - 2 * q - q * (1 + t))) by (apply Rmult_le_pos; nra). nra.
Qed.

(** Step 2 for s in [-1, 1]. *)
Lemma third_unit m p s : weights m p -> (forall j, (j < m)%nat -> Rabs (s j) <= 1) ->
  let z := fun j => (s j - mean m p s) ^ 2 in
  mean m p (fun j => Rabs (z j - mean m p z)) <= 4 * sqrt 3 / 9.
Proof.
  intros [P One] S z. set (mu := mean m p s). set (v := mean m p z).
  assert (S1 : forall j, (j < m)%nat -> -1 <= s j <= 1) by (intros j Hj; apply Rabs_bounds; auto).
  set (high := fun j => if Rlt_dec v (z j) then true else false).
  set (q := fsum m (on high p)). set (q' := fsum m (off high p)).
  set (A := fsum m (on high (fun j => p j * s j))).
  set (B := fsum m (off high (fun j => p j * s j))).
  set (U := fsum m (on high (fun j => p j * z j))).
  set (L := fsum m (off high (fun j => p j * z j))).
  assert (Q : q + q' = 1) by (rewrite <- One; symmetry; apply fsum_split).
  assert (Mu : A + B = mu) by (symmetry; apply (fsum_split m high)).
  assert (V : U + L = v) by (symmetry; apply (fsum_split m high)).
  assert (Q0 : 0 <= q) by (apply fsum_on_nonneg; auto).
  assert (Q1 : 0 <= q') by (apply fsum_off_nonneg; auto).
  (* The mean deviation is twice what the high ones have above v. *)
  assert (D : mean m p (fun j => Rabs (z j - v)) = 2 * ((1 - q) * U - q * L)).
  { transitivity (U - v * q - (L - v * q')); [| replace q' with (1 - q) by lra; rewrite <- V; ring].
    unfold U, L, q, q'. rewrite <- !fsum_scale, <- !fsum_minus. apply fsum_ext. intros j Hj.
    unfold on, off, high. destruct (Rlt_dec v (z j)).
    - rewrite Rabs_right by lra. ring.
    - rewrite Rabs_left1 by lra. ring. }
  rewrite D.
  (* s^2 <= 1 on the high ones; a square is at least the square of the mean on the others. *)
  assert (AQ : - q <= A <= q).
  { unfold A, q. split; [rewrite <- (Rmult_1_l (fsum m (on high p))),
      <- Ropp_mult_distr_l_reverse, <- fsum_scale |]; apply fsum_le; intros j Hj; unfold on;
      specialize (P j Hj); specialize (S1 j Hj); destruct (high j); nra. }
  assert (BQ : - q' <= B <= q').
  { unfold B, q'. split; [rewrite <- (Rmult_1_l (fsum m (off high p))),
      <- Ropp_mult_distr_l_reverse, <- fsum_scale |]; apply fsum_le; intros j Hj; unfold off;
      specialize (P j Hj); specialize (S1 j Hj); destruct (high j); nra. }
  assert (HU : U <= (1 + mu ^ 2) * q - 2 * mu * A).
  { unfold U, A, q. rewrite <- !fsum_scale, <- fsum_minus. apply fsum_le. intros j Hj.
    specialize (P j Hj). specialize (S1 j Hj). unfold on, z. fold mu. destruct (high j); [| lra].
    assert (0 <= p j * (1 - s j ^ 2)) by (apply Rmult_le_pos; nra). nra. }
  assert (HL : forall c, 2 * c * (B - mu * q') - c ^ 2 * q' <= L).
  { intros c. unfold L, B, q'. rewrite <- !fsum_scale, <- fsum_minus, <- !fsum_scale, <- fsum_minus.
    apply fsum_le. intros j Hj. specialize (P j Hj). unfold off, z. fold mu.
    destruct (high j); [lra |].
    assert (0 <= p j * (s j - mu - c) ^ 2) by (apply Rmult_le_pos; auto; apply pow2_ge_0). nra. }
  replace q' with (1 - q) in * by lra.
  assert (0 < 4 * sqrt 3 / 9) by (pose proof (sqrt_lt_R0 3 ltac:(lra)); lra).
  destruct (Req_dec q 0) as [Z0 | Z0].
  { rewrite Z0 in *. nra. }
  destruct (Req_dec q 1) as [Z1 | Z1].
  { specialize (HL 0). rewrite Z1 in *. nra. }
  set (a := A / q). set (b := B / (1 - q)).
  assert (EA : A = q * a) by (unfold a; field; auto).
  assert (EB : B = (1 - q) * b) by (unfold b; field; lra).
  eapply Rle_trans; [| apply (third_core q a b)]; try nra.
  specialize (HL (b - mu)). rewrite EA, EB in *.
  apply Rle_trans with (2 * ((1 - q) * ((1 + mu ^ 2) * q - 2 * mu * (q * a))
    - q * ((1 - q) * (b - mu) ^ 2))).
  - apply Rmult_le_compat_l; [lra |].
    assert ((1 - q) * U <= (1 - q) * ((1 + mu ^ 2) * q - 2 * mu * (q * a)))
      by (apply Rmult_le_compat_l; lra).
    assert (q * ((1 - q) * (b - mu) ^ 2) <= q * L) by (apply Rmult_le_compat_l; nra). lra.
  - right. rewrite <- Mu. ring.
Qed.

Lemma third_deviation m p s rho : weights m p -> within_radius m s rho ->
  let z := fun j => (s j - mean m p s) ^ 2 in
  mean m p (fun j => Rabs (z j - mean m p z)) <= 4 * sqrt 3 / 9 * rho ^ 2.
Proof.
  intros W S z. destruct (unit_radius m p s rho W S) as (a & x & E & X).
  set (y := fun j => (x j - mean m p x) ^ 2).
  assert (Z : forall j, (j < m)%nat -> z j = rho ^ 2 * y j).
  { intros j Hj. unfold z, y. rewrite (mean_affine m p s x a rho W E), E by auto. ring. }
  rewrite (mean_ext m p z _ Z), mean_scale.
  rewrite (mean_ext m p _ (fun j => rho ^ 2 * Rabs (y j - mean m p y))).
  - rewrite mean_scale, Rmult_comm. apply Rmult_le_compat_r; [apply pow2_ge_0 |].
    apply (third_unit m p x W X).
  - intros j Hj. rewrite Z by auto. rewrite <- Rmult_minus_distr_l, Rabs_mult.
    f_equal. apply Rabs_right, Rle_ge, pow2_ge_0.
Qed.

Lemma third_is_covariance m p s h : weights m p ->
  third_cumulant m p s h = covariance m p (fun j => (s j - mean m p s) ^ 2) h.
Proof.
  intros W. rewrite (covariance_left m p _ h 0 W). apply mean_ext. intros. ring.
Qed.

Theorem p4_third_cumulant m p s h rho r : weights m p -> within_radius m s rho ->
  within_radius m h r -> Rabs (third_cumulant m p s h) <= b_third_cumulant rho r.
Proof.
  intros W S H. rewrite third_is_covariance by auto.
  replace (b_third_cumulant rho r) with (4 * sqrt 3 / 9 * rho ^ 2 * r)
    by (unfold b_third_cumulant; field).
  apply covariance_radius; auto. apply third_deviation; auto.
Qed.

(** * The fourth cumulant *)

(** v is the variance, k the mean's magnitude. *)
Lemma fourth_core k v : 0 <= k <= 1 -> 0 <= v <= 1 - k ^ 2 -> 4 * v <= (1 + k) ^ 2 ->
  v * ((1 + k) ^ 4 - 5 * (1 + k) ^ 2 * v + 8 * v ^ 2) <= 4.
Proof.
  intros Hk Hv Hz. replace ((1 + k) ^ 4) with ((1 + k) ^ 2 * (1 + k) ^ 2) by ring.
  assert (Z : 0 < (1 + k) ^ 2 <= 4) by nra. set (z := (1 + k) ^ 2) in *.
  destruct (Rle_dec k (19 / 20)) as [Inner | Outer].
  - (* At a given z the largest value is at v = z / 6. *)
    assert (z <= 1521 / 400) by (unfold z; nra).
    assert (0 <= 8 * (v - z / 6) ^ 2 * (7 / 24 * z - v))
      by (apply Rmult_le_pos; [pose proof (pow2_ge_0 (v - z / 6)) |]; lra).
    assert (z ^ 3 <= (1521 / 400) ^ 3) by (apply pow_incr; lra). nra.
  - assert (v <= 39 / 400) by nra.
    assert (v * (z * z - 5 * z * v + 8 * v ^ 2) <= v * (z * z)).
    { apply Rmult_le_compat_l; [lra |]. nra. }
    assert (z * z <= 16) by nra. nra.
Qed.

(** x^3 - 3 v x, of x = s - E s and v = E x^2. *)
Definition fourth_factor (m : nat) (p s : nat -> R) (j : nat) : R :=
  (s j - mean m p s) ^ 3 - 3 * covariance m p s s * (s j - mean m p s).

(** Step 3 for s in [-1, 1]. *)
Lemma fourth_unit m p s : weights m p -> (forall j, (j < m)%nat -> Rabs (s j) <= 1) ->
  mean m p (fun j => fourth_factor m p s j ^ 2) <= 4.
Proof.
  intros W S. set (mu := mean m p s). set (k := Rabs mu).
  set (z := fun j => (s j - mu) ^ 2). set (v := covariance m p s s).
  assert (V : v = mean m p z) by (apply mean_ext; intros; unfold z, mu; ring).
  assert (V0 : 0 <= v) by (apply variance_nonneg; auto).
  assert (S1 : forall j, (j < m)%nat -> -1 <= s j <= 1) by (intros j Hj; apply Rabs_bounds; auto).
  assert (K : 0 <= k <= 1).
  { split; [apply Rabs_pos |]. unfold k. replace mu with (mu - 0) by ring.
    apply mean_near; auto. intros j Hj. rewrite Rminus_0_r. auto. }
  assert (V1 : v <= 1 - k ^ 2).
  { unfold k. rewrite pow2_abs.
    apply Rle_trans with (mean m p (fun j => 1 - mu ^ 2 - 2 * mu * (s j - mu))).
    - rewrite V. apply mean_le; auto. intros j Hj. unfold z. specialize (S1 j Hj). nra.
    - rewrite mean_minus, mean_scale, mean_const by auto. unfold mu.
      rewrite mean_centred by auto. lra. }
  assert (Z : forall j, (j < m)%nat -> 0 <= z j <= (1 + k) ^ 2).
  { intros j Hj. unfold z. split; [apply pow2_ge_0 |]. rewrite <- pow2_abs. apply pow_incr.
    split; [apply Rabs_pos |]. eapply Rle_trans; [apply (Rabs_triang (s j) (- mu)) |].
    rewrite Rabs_Ropp. fold k. specialize (S j Hj). lra. }
  rewrite (mean_ext m p _ (fun j => 4 * v ^ 3 + (z j - v) ^ 2 * (z j - 4 * v))).
  2: { intros. unfold fourth_factor, z. fold mu v. ring. }
  rewrite mean_plus, mean_const by auto.
  destruct (Rle_dec ((1 + k) ^ 2) (4 * v)) as [Wide | Narrow].
  - assert (mean m p (fun j => (z j - v) ^ 2 * (z j - 4 * v)) <= 0).
    { rewrite <- (mean_const m p 0 W). apply mean_le; auto. intros j Hj.
      pose proof (pow2_ge_0 (z j - v)). specialize (Z j Hj). nra. }
    assert (v <= 1) by (pose proof (pow2_ge_0 k); lra).
    assert (v ^ 3 <= 1) by (rewrite <- (pow1 3); apply pow_incr; lra). lra.
  - apply Rle_trans with (4 * v ^ 3 + ((1 + k) ^ 2 - 4 * v) * ((1 + k) ^ 2 * v - v ^ 2)).
    + apply Rplus_le_compat_l.
      apply Rle_trans with (((1 + k) ^ 2 - 4 * v) * mean m p (fun j => (z j - v) ^ 2)).
      * rewrite <- mean_scale. apply mean_le; auto. intros j Hj.
        pose proof (pow2_ge_0 (z j - v)). specialize (Z j Hj). nra.
      * apply Rmult_le_compat_l; [lra |].
        apply Rle_trans with (mean m p (fun j => ((1 + k) ^ 2 - 2 * v) * z j + v ^ 2)).
        -- apply mean_le; auto. intros j Hj. specialize (Z j Hj). nra.
        -- rewrite mean_plus, mean_scale, mean_const, <- V by auto. right. ring.
    + eapply Rle_trans; [| apply (fourth_core k v); auto; lra]. right. ring.
Qed.

Lemma fourth_deviation m p s rho : weights m p -> within_radius m s rho ->
  mean m p (fun j => fourth_factor m p s j ^ 2) <= (2 * rho ^ 3) ^ 2.
Proof.
  intros W S. destruct (unit_radius m p s rho W S) as (a & x & E & X).
  assert (C : covariance m p s s = rho ^ 2 * covariance m p x x).
  { unfold covariance. rewrite <- mean_scale, (mean_affine m p s x a rho W E).
    apply mean_ext. intros j Hj. rewrite E by auto. ring. }
  rewrite (mean_ext m p _ (fun j => rho ^ 6 * fourth_factor m p x j ^ 2)).
  - rewrite mean_scale. replace ((2 * rho ^ 3) ^ 2) with (rho ^ 6 * 4) by ring.
    apply Rmult_le_compat_l; [| apply fourth_unit; auto].
    replace (rho ^ 6) with ((rho ^ 3) ^ 2) by ring. apply pow2_ge_0.
  - intros j Hj. unfold fourth_factor. rewrite C, (mean_affine m p s x a rho W E), E by auto. ring.
Qed.

Lemma fourth_is_covariance m p s h : weights m p ->
  fourth_cumulant m p s h = covariance m p (fourth_factor m p s) h.
Proof.
  intros W. rewrite (covariance_left m p _ h 0 W). unfold fourth_cumulant, covariance at 2.
  rewrite <- mean_scale, <- mean_minus. apply mean_ext. intros. unfold fourth_factor. ring.
Qed.

Theorem p4_fourth_cumulant m p s h rho r : weights m p -> within_radius m s rho ->
  within_radius m h r -> Rabs (fourth_cumulant m p s h) <= b_fourth_cumulant rho r.
Proof.
  intros W S H. rewrite fourth_is_covariance by auto.
  replace (b_fourth_cumulant rho r) with (2 * rho ^ 3 * r) by (unfold b_fourth_cumulant; ring).
  pose proof (radius_nonneg m p s rho W S). pose proof (radius_nonneg m p h r W H).
  apply covariance_deviations; auto using variance_radius.
  - assert (0 <= rho ^ 3) by (apply pow_le; auto). lra.
  - eapply Rle_trans; [apply (variance_least m p _ 0 W) |].
    rewrite (mean_ext m p _ (fun j => fourth_factor m p s j ^ 2)) by (intros; ring).
    apply fourth_deviation; auto.
Qed.

(** * Vectors

    The product of z with a cumulant of vectors h_j is the cumulant of the numbers <z, h_j>. *)

(** |h_j - a| <= r for j < m *)
Definition in_ball (m d : nat) (h : nat -> nat -> R) (r : R) : Prop :=
  exists a, forall j, (j < m)%nat -> norm d (fun c => h j c - a c) <= r.

Lemma ball_product m d h r z : in_ball m d h r ->
  within_radius m (fun j => dot d z (h j)) (norm d z * r).
Proof.
  intros [a H]. exists (dot d z a). intros j Hj.
  replace (dot d z (h j) - dot d z a) with (dot d z (fun c => h j c - a c))
    by (unfold dot; rewrite <- fsum_minus; apply fsum_ext; intros; ring).
  eapply Rle_trans; [apply dot_norm |]. apply Rmult_le_compat_l; [apply norm_nonneg | auto].
Qed.

Lemma ball_nonneg m d h r : (0 < m)%nat -> in_ball m d h r -> 0 <= r.
Proof. intros Hm [a H]. eapply Rle_trans; [apply norm_nonneg | apply (H 0%nat Hm)]. Qed.

Lemma covariance_product m p d f z h : weights m p ->
  dot d z (fun c => covariance m p f (fun j => h j c))
    = covariance m p f (fun j => dot d z (h j)).
Proof.
  intros W. rewrite (covariance_right m p f _ 0 W).
  transitivity (dot d z (fun c => mean m p (fun j => (f j - mean m p f) * h j c))).
  - apply fsum_ext. intros c _. f_equal. rewrite (covariance_right m p f _ 0 W).
    apply mean_ext. intros. ring.
  - rewrite (mean_product m p d z (fun j c => (f j - mean m p f) * h j c)).
    apply mean_ext. intros j _. unfold dot. rewrite Rminus_0_r, <- fsum_scale.
    apply fsum_ext. intros. ring.
Qed.

(** Whatever bounds a covariance with every <z, h> by K |z| bounds its length. *)
Lemma covariance_norm m p d f h K : weights m p -> 0 <= K ->
  (forall z, Rabs (covariance m p f (fun j => dot d z (h j))) <= K * norm d z) ->
  norm d (fun c => covariance m p f (fun j => h j c)) <= K.
Proof.
  intros W HK H. apply norm_dual; auto. intros z. rewrite covariance_product by auto.
  eapply Rle_trans; [apply Rle_abs | auto].
Qed.

Lemma third_norm m p d s h K : weights m p -> 0 <= K ->
  (forall z, Rabs (third_cumulant m p s (fun j => dot d z (h j))) <= K * norm d z) ->
  norm d (fun c => third_cumulant m p s (fun j => h j c)) <= K.
Proof.
  intros W HK H. rewrite (norm_ext d _ _ (fun c _ => third_is_covariance m p s _ W)).
  apply covariance_norm; auto. intros z. rewrite <- third_is_covariance; auto.
Qed.

Lemma fourth_norm m p d s h K : weights m p -> 0 <= K ->
  (forall z, Rabs (fourth_cumulant m p s (fun j => dot d z (h j))) <= K * norm d z) ->
  norm d (fun c => fourth_cumulant m p s (fun j => h j c)) <= K.
Proof.
  intros W HK H. rewrite (norm_ext d _ _ (fun c _ => fourth_is_covariance m p s _ W)).
  apply covariance_norm; auto. intros z. rewrite <- fourth_is_covariance; auto.
Qed.

Theorem p4_second_cumulant_of_vectors m p d s h rho r : weights m p -> within_radius m s rho ->
  in_ball m d h r ->
  norm d (fun c => covariance m p s (fun j => h j c)) <= b_second_cumulant rho r.
Proof.
  intros W S H. pose proof (radius_nonneg m p s rho W S).
  pose proof (ball_nonneg m d h r (weights_nonempty m p W) H).
  apply covariance_norm; auto; [unfold b_second_cumulant; apply Rmult_le_pos; auto |]. intros z.
  replace (_ * norm d z) with (b_second_cumulant rho (norm d z * r))
    by (unfold b_second_cumulant; ring).
  apply p4_second_cumulant; auto. apply ball_product; auto.
Qed.

Lemma third_form rho r : b_third_cumulant rho r = 4 * sqrt 3 / 9 * (rho ^ 2 * r).
Proof. unfold b_third_cumulant. field. Qed.

Theorem p4_third_cumulant_of_vectors m p d s h rho r : weights m p -> within_radius m s rho ->
  in_ball m d h r ->
  norm d (fun c => third_cumulant m p s (fun j => h j c)) <= b_third_cumulant rho r.
Proof.
  intros W S H. pose proof (ball_nonneg m d h r (weights_nonempty m p W) H).
  apply third_norm; auto.
  - rewrite third_form. pose proof (sqrt_pos 3). pose proof (pow2_ge_0 rho).
    apply Rmult_le_pos; [lra | apply Rmult_le_pos; auto].
  - intros z. replace (_ * norm d z) with (b_third_cumulant rho (norm d z * r))
      by (rewrite !third_form; ring).
    apply p4_third_cumulant; auto. apply ball_product; auto.
Qed.

Theorem p4_fourth_cumulant_of_vectors m p d s h rho r : weights m p -> within_radius m s rho ->
  in_ball m d h r ->
  norm d (fun c => fourth_cumulant m p s (fun j => h j c)) <= b_fourth_cumulant rho r.
Proof.
  intros W S H. pose proof (radius_nonneg m p s rho W S).
  pose proof (ball_nonneg m d h r (weights_nonempty m p W) H).
  apply fourth_norm; auto.
  - unfold b_fourth_cumulant. apply Rmult_le_pos; [lra | apply pow_le; auto].
  - intros z. replace (_ * norm d z) with (b_fourth_cumulant rho (norm d z * r))
      by (unfold b_fourth_cumulant; ring).
    apply p4_fourth_cumulant; auto. apply ball_product; auto.
Qed.

(** * From standard deviations *)

Lemma third_deviations m p s h A r : weights m p -> covariance m p s s <= A ^ 2 ->
  within_radius m h r -> Rabs (third_cumulant m p s h) <= A ^ 2 * (2 * r).
Proof.
  intros W S H. pose proof (radius_nonneg m p h r W H).
  eapply Rle_trans; [apply mean_abs; auto |].
  apply Rle_trans with (2 * r * covariance m p s s); [| nra].
  unfold covariance. rewrite <- mean_scale. apply mean_le; auto. intros j Hj.
  pose proof (centred_radius m p h r j W H Hj). pose proof (pow2_ge_0 (s j - mean m p s)).
  rewrite Rabs_mult, (Rabs_right (_ ^ 2)) by lra. nra.
Qed.

Lemma fourth_deviations m p s h rho r A B : weights m p -> within_radius m s rho ->
  within_radius m h r -> 0 <= A -> 0 <= B -> covariance m p s s <= A ^ 2 ->
  covariance m p h h <= B ^ 2 ->
  Rabs (fourth_cumulant m p s h) <= A ^ 2 * (4 * rho * r + 3 * (A * B)).
Proof.
  intros W S H HA HB VS VH. pose proof (variance_nonneg m p s W) as V.
  pose proof (radius_nonneg m p s rho W S). pose proof (radius_nonneg m p h r W H).
  pose proof (covariance_deviations m p s h A B W HA HB VS VH) as C.
  assert (0 <= 4 * rho * r) by (apply Rmult_le_pos; lra).
  apply Rle_trans with (covariance m p s s * (4 * rho * r) + 3 * covariance m p s s * (A * B)).
  2: { assert (0 <= A * B) by (apply Rmult_le_pos; auto). nra. }
  eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp. apply Rplus_le_compat.
  - eapply Rle_trans; [apply mean_abs; auto |]. unfold covariance. rewrite <- (Rmult_comm (_ * r)),
      <- mean_scale. apply mean_le; auto. intros j Hj.
    pose proof (centred_radius m p s rho j W S Hj). pose proof (centred_radius m p h r j W H Hj).
    replace ((s j - mean m p s) ^ 3) with ((s j - mean m p s) * (s j - mean m p s) ^ 2) by ring.
    pose proof (pow2_ge_0 (s j - mean m p s)).
    rewrite !Rabs_mult, (Rabs_right (_ ^ 2)) by lra.
    assert (Rabs (s j - mean m p s) * Rabs (h j - mean m p h) <= 2 * rho * (2 * r))
      by (apply Rmult_le_compat; auto using Rabs_pos). nra.
  - rewrite Rabs_mult, (Rabs_right (3 * _)) by lra. apply Rmult_le_compat_l; lra.
Qed.

(** * Two keys attain all three *)

(** The weights of two keys whose mean of (1, -1) is y. *)
Definition tilted (y : R) : nat -> R := two_keys ((1 + y) / 2) ((1 - y) / 2).
Definition opposite (rho : R) : nat -> R := two_keys rho (- rho).

Lemma tilted_is_weights y : -1 <= y <= 1 -> weights 2 (tilted y).
Proof.
  intros Hy. split.
  - intros j _. unfold tilted, two_keys. destruct (first j); lra.
  - unfold tilted, two_keys. simpl. field.
Qed.

Lemma opposite_radius rho : 0 <= rho -> within_radius 2 (opposite rho) rho.
Proof.
  intros H. exists 0. intros j _. unfold opposite, two_keys.
  destruct (first j); apply Rabs_le; lra.
Qed.

Lemma opposite_mean y rho : mean 2 (tilted y) (opposite rho) = y * rho.
Proof. unfold mean, dot, tilted, opposite, two_keys. simpl. field. Qed.

Theorem p4_second_cumulant_attained rho r : 0 <= rho -> 0 <= r ->
  weights 2 (tilted 0) /\ within_radius 2 (opposite rho) rho /\ within_radius 2 (opposite r) r /\
  covariance 2 (tilted 0) (opposite rho) (opposite r) = b_second_cumulant rho r.
Proof.
  intros Hs Hh. repeat split; auto using opposite_radius; try apply tilted_is_weights; try lra.
  unfold covariance. rewrite !opposite_mean. unfold mean, dot, tilted, opposite, two_keys,
    b_second_cumulant. simpl. field.
Qed.

Theorem p4_third_cumulant_attained rho r : 0 <= rho -> 0 <= r ->
  weights 2 (tilted (- (sqrt 3 / 3))) /\ within_radius 2 (opposite rho) rho /\
  within_radius 2 (opposite r) r /\
  third_cumulant 2 (tilted (- (sqrt 3 / 3))) (opposite rho) (opposite r) = b_third_cumulant rho r.
Proof.
  intros Hs Hh. set (c := sqrt 3 / 3).
  assert (C : c * c = 1 / 3) by (unfold c; pose proof (sqrt_sqrt 3 ltac:(lra)); nra).
  assert (0 < c) by (unfold c; pose proof (sqrt_lt_R0 3 ltac:(lra)); lra).
  split; [| split; [| split]]; auto using opposite_radius.
  - apply tilted_is_weights. nra.
  - unfold third_cumulant. rewrite !opposite_mean. unfold mean, dot, tilted, opposite, two_keys.
    simpl. replace (b_third_cumulant rho r) with (4 * c / 3 * rho ^ 2 * r)
      by (unfold b_third_cumulant, c; field).
    transitivity (2 * c * (1 - c * c) * rho ^ 2 * r); [field | rewrite C; field].
Qed.

Theorem p4_fourth_cumulant_attained rho r : 0 <= rho -> 0 <= r ->
  weights 2 (tilted 0) /\ within_radius 2 (opposite rho) rho /\ within_radius 2 (opposite r) r /\
  Rabs (fourth_cumulant 2 (tilted 0) (opposite rho) (opposite r)) = b_fourth_cumulant rho r.
Proof.
  intros Hs Hh. split; [apply tilted_is_weights; lra |].
  split; [| split]; auto using opposite_radius.
  unfold fourth_cumulant, covariance. rewrite !opposite_mean.
  replace (b_fourth_cumulant rho r) with (- (- (2 * r * rho ^ 3)))
    by (unfold b_fourth_cumulant; ring).
  rewrite <- (Rabs_left1 (- (2 * r * rho ^ 3))).
  - f_equal. unfold mean, dot, tilted, opposite, two_keys. simpl. field.
  - assert (0 <= r * rho ^ 3) by (apply Rmult_le_pos; auto; apply pow_le; auto). lra.
Qed.
