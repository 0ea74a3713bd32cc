(** Banach's theorem on symmetric forms: they are as large with equal arguments as with any.

    For two arguments that is polarisation.  For three: (1) on the unit circle a cubic
    A x^3 + 3 B x^2 y + 3 C x y^2 + D y^3 that is at most M has A^2 + B^2 <= M^2 (Bernstein and
    Szego), as A cos (3 t) + B sin (3 t) is a mean of its values at three points (M. Riesz);
    (2) so in the plane of u and v, T (u, v, v) <= M |u| |v|^2; (3) polarisation in v. *)

Require Import Reals Lra.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Regression Require Import Newton.
Open Scope R_scope.

(** * Step 1: cubics on the circle *)

Definition binary_cubic (A B C D x y : R) : R :=
  A * x ^ 3 + 3 * B * x ^ 2 * y + 3 * C * x * y ^ 2 + D * y ^ 3.

(** The unit vector (a, b) turned by a third of a circle, with turn = sqrt 3 or - sqrt 3. *)
Definition turned_x (turn a b : R) : R := - (a + turn * b) / 2.
Definition turned_y (turn a b : R) : R := (turn * a - b) / 2.

Definition riesz_weight (a b : R) : R := ((3 * a ^ 2 - b ^ 2) / 3) ^ 2.

Lemma turned_unit turn a b : turn * turn = 3 ->
  turned_x turn a b ^ 2 + turned_y turn a b ^ 2 = a ^ 2 + b ^ 2.
Proof. intros H. unfold turned_x, turned_y. field [H]. Qed.

Lemma riesz_weights turn a b : turn * turn = 3 ->
  riesz_weight a b + riesz_weight (turned_x turn a b) (turned_y turn a b)
    + riesz_weight (turned_x (- turn) a b) (turned_y (- turn) a b) = (a ^ 2 + b ^ 2) ^ 2.
Proof. intros H. unfold riesz_weight, turned_x, turned_y. field [H]. Qed.

Lemma riesz_mean A B C D turn a b : turn * turn = 3 ->
  let term x y := riesz_weight x y * binary_cubic A B C D x y in
  term a b + term (turned_x turn a b) (turned_y turn a b)
    + term (turned_x (- turn) a b) (turned_y (- turn) a b)
  = (a ^ 2 + b ^ 2) ^ 2 * (A * (a ^ 3 - 3 * a * b ^ 2) + B * (3 * a ^ 2 * b - b ^ 3)).
Proof. intros H. unfold riesz_weight, binary_cubic, turned_x, turned_y. field [H]. Qed.

Lemma angle a b : a ^ 2 + b ^ 2 = 1 -> exists t, a = cos t /\ b = sin t.
Proof.
  intros H. assert (Ha : -1 <= a <= 1) by nra.
  assert (S : sin (acos a) = Rabs b).
  { rewrite sin_acos by exact Ha. rewrite <- sqrt_Rsqr_abs. f_equal. unfold Rsqr. lra. }
  destruct (Rle_lt_dec 0 b) as [P | P].
  - exists (acos a). rewrite cos_acos, S, Rabs_right by lra. auto.
  - exists (- acos a). rewrite cos_neg, sin_neg, cos_acos, S, Rabs_left by lra. lra.
Qed.

Lemma cubic_on_circle A B C D M :
  (forall x y, x ^ 2 + y ^ 2 = 1 -> binary_cubic A B C D x y <= M) -> forall p q,
  A * p + B * q <= M * sqrt (p ^ 2 + q ^ 2).
Proof.
  intros H p q. set (r := sqrt (p ^ 2 + q ^ 2)).
  assert (N : 0 <= p ^ 2 + q ^ 2) by nra.
  assert (R2 : r * r = p ^ 2 + q ^ 2) by (apply sqrt_sqrt, N).
  destruct (sqrt_pos (p ^ 2 + q ^ 2)) as [P | Z]; fold r in P || fold r in Z.
  2: { rewrite <- Z in R2 |- *. assert (p = 0) as -> by nra. assert (q = 0) as -> by nra. lra. }
  destruct (angle (p / r) (q / r)) as (phi & Ep & Eq).
  { replace ((p / r) ^ 2 + (q / r) ^ 2) with ((p ^ 2 + q ^ 2) / (r * r)) by (field; lra).
    rewrite R2. field. nra. }
  set (t := phi / 3). set (a := cos t). set (b := sin t).
  assert (U : a ^ 2 + b ^ 2 = 1)
    by (pose proof (sin2_cos2 t) as S; unfold Rsqr in S; unfold a, b; lra).
  replace phi with (t + (t + t)) in Ep, Eq by (unfold t; field).
  rewrite cos_plus, cos_plus, sin_plus in Ep. rewrite sin_plus, sin_plus, cos_plus in Eq.
  fold a b in Ep, Eq.
  assert (T : sqrt 3 * sqrt 3 = 3) by (apply sqrt_sqrt; lra).
  assert (T' : - sqrt 3 * - sqrt 3 = 3) by lra.
  pose proof (riesz_mean A B C D (sqrt 3) a b T) as Mean. cbv zeta in Mean.
  pose proof (riesz_weights (sqrt 3) a b T) as Sum. rewrite U in Mean, Sum.
  assert (W : forall x y, x ^ 2 + y ^ 2 = 1 ->
    riesz_weight x y * binary_cubic A B C D x y <= riesz_weight x y * M).
  { intros x y E. apply Rmult_le_compat_l; [apply pow2_ge_0 | auto]. }
  pose proof (W a b U) as W1.
  pose proof (W _ _ (eq_trans (turned_unit (sqrt 3) a b T) U)) as W2.
  pose proof (W _ _ (eq_trans (turned_unit (- sqrt 3) a b T') U)) as W3.
  assert (L : A * (p / r) + B * (q / r) <= M).
  { rewrite Ep, Eq. replace (A * _ + B * _)
      with (1 ^ 2 * (A * (a ^ 3 - 3 * a * b ^ 2) + B * (3 * a ^ 2 * b - b ^ 3))) by ring.
    rewrite <- Mean. apply Rle_trans with (1 ^ 2 * M); [rewrite <- Sum |]; lra. }
  replace (A * p + B * q) with ((A * (p / r) + B * (q / r)) * r) by (field; lra).
  apply Rmult_le_compat_r; lra.
Qed.

(** * Step 2: two vectors *)

(** p and g are the lengths of two vectors, b is their product. *)
Lemma cubic_in_plane A B C D M p g b : 0 < g -> 0 < p -> b ^ 2 < (p * g) ^ 2 ->
  (forall x y, binary_cubic A B C D x y
    <= M * sqrt (x ^ 2 * p ^ 2 + 2 * (x * y) * b + y ^ 2 * g ^ 2) ^ 3) ->
  C <= M * p * g ^ 2.
Proof.
  intros Hg Hp Hb H. set (e := sqrt (p ^ 2 - (b / g) ^ 2)).
  assert (P : 0 < p ^ 2 - (b / g) ^ 2).
  { replace (p ^ 2 - (b / g) ^ 2) with (((p * g) ^ 2 - b ^ 2) / g ^ 2) by (field; lra).
    apply Rdiv_lt_0_compat; nra. }
  assert (He : 0 < e) by (apply sqrt_lt_R0, P).
  assert (E : e * e = p ^ 2 - (b / g) ^ 2) by (apply sqrt_sqrt; lra).
  (* In orthonormal coordinates. *)
  set (A' := D / g ^ 3). set (B' := C / (g ^ 2 * e) - D * b / (g ^ 4 * e)).
  set (C' := B / (g * e ^ 2) - 2 * C * b / (g ^ 3 * e ^ 2) + D * b ^ 2 / (g ^ 5 * e ^ 2)).
  set (D' := A / e ^ 3 - 3 * B * b / (g ^ 2 * e ^ 3) + 3 * C * b ^ 2 / (g ^ 4 * e ^ 3)
    - D * b ^ 3 / (g ^ 6 * e ^ 3)).
  assert (Circle : forall x y, x ^ 2 + y ^ 2 = 1 -> binary_cubic A' B' C' D' x y <= M).
  { intros x y U. specialize (H (y / e) (x / g - y * b / (g ^ 2 * e))).
    replace (binary_cubic A' B' C' D' x y)
      with (binary_cubic A B C D (y / e) (x / g - y * b / (g ^ 2 * e)))
      by (unfold binary_cubic, A', B', C', D'; field; lra).
    rewrite <- (Rmult_1_r M), <- (pow1 3), <- sqrt_1, <- U.
    replace (x ^ 2 + y ^ 2) with ((y / e) ^ 2 * p ^ 2
      + 2 * (y / e * (x / g - y * b / (g ^ 2 * e))) * b
      + (x / g - y * b / (g ^ 2 * e)) ^ 2 * g ^ 2); [exact H |].
    transitivity (x ^ 2 + y ^ 2 * ((p ^ 2 - (b / g) ^ 2) / (e * e))); [field; lra |].
    rewrite E. field. split; [nra | lra]. }
  pose proof (cubic_on_circle A' B' C' D' M Circle (b / g) e) as S.
  replace ((b / g) ^ 2 + e ^ 2) with (p ^ 2) in S by (replace (e ^ 2) with (e * e) by ring; lra).
  rewrite sqrt_pow2 in S by lra.
  replace C with (g ^ 2 * (A' * (b / g) + B' * e)) by (unfold A', B'; field; lra).
  replace (M * p * g ^ 2) with (g ^ 2 * (M * p)) by ring. apply Rmult_le_compat_l; nra.
Qed.

(** What holds of all lengths above these holds of these. *)
Lemma lengths_from_above M p g C : 0 <= M -> 0 <= p -> 0 <= g ->
  (forall e, 0 < e -> C <= M * (p + e) * (g + e) ^ 2) -> C <= M * p * g ^ 2.
Proof.
  intros HM Hp Hg H. destruct (Rle_lt_dec C (M * p * g ^ 2)) as [L | L]; [exact L | exfalso].
  set (K := M * (p * (2 * g + 1) + (g + 1) ^ 2)). set (gap := C - M * p * g ^ 2) in *.
  assert (HK : 0 <= K).
  { apply Rmult_le_pos; [auto |]. apply Rplus_le_le_0_compat; [apply Rmult_le_pos; lra | nra]. }
  assert (G : 0 < gap) by (unfold gap; lra).
  set (e := Rmin 1 (gap / (K + 1))).
  assert (Q : 0 < gap / (K + 1)) by (apply Rdiv_lt_0_compat; lra).
  assert (He : 0 < e <= 1) by (unfold e; split; [apply Rmin_glb_lt; lra | apply Rmin_l]).
  assert (Ke : e * (K + 1) <= gap).
  { apply Rle_trans with (gap / (K + 1) * (K + 1)).
    - apply Rmult_le_compat_r; [lra | apply Rmin_r].
    - right. field. lra. }
  specialize (H e (proj1 He)).
  assert (X : (p + e) * (g + e) ^ 2 <= p * g ^ 2 + e * (p * (2 * g + 1) + (g + 1) ^ 2)).
  { assert (p * e * (2 * g + e) <= p * e * (2 * g + 1))
      by (apply Rmult_le_compat_l; [apply Rmult_le_pos |]; lra).
    assert (e * (g + e) ^ 2 <= e * (g + 1) ^ 2)
      by (apply Rmult_le_compat_l; [lra | apply pow_incr; lra]).
    lra. }
  apply (Rmult_le_compat_l M) in X; [| auto].
  replace (M * (p * g ^ 2 + e * (p * (2 * g + 1) + (g + 1) ^ 2))) with (M * p * g ^ 2 + e * K) in X
    by (unfold K; ring).
  unfold gap in *. nra.
Qed.

Section Vectors.

Variable n : nat.

Lemma norm_combination x y d v : norm n (fun i => x * d i + y * v i) ^ 2
  = x ^ 2 * norm n d ^ 2 + 2 * (x * y) * dot n d v + y ^ 2 * norm n v ^ 2.
Proof.
  rewrite !norm_square. unfold dot. rewrite <- !fsum_scale, <- !fsum_plus.
  apply fsum_ext. intros. ring.
Qed.

(** T (x d + y v) of a symmetric form is such a cubic, with C = T (d, v, v). *)
Lemma cubic_along A B C D M d v : 0 <= M ->
  (forall x y, binary_cubic A B C D x y <= M * norm n (fun i => x * d i + y * v i) ^ 3) ->
  C <= M * norm n d * norm n v ^ 2.
Proof.
  intros HM H. pose proof (norm_nonneg n d) as P. pose proof (norm_nonneg n v) as G.
  apply lengths_from_above; auto. intros e He.
  pose proof (Rabs_bounds _ _ (dot_norm n d v)) as Cs.
  apply (cubic_in_plane A B C D M (norm n d + e) (norm n v + e) (dot n d v)); try lra.
  - assert (norm n d * norm n v < (norm n d + e) * (norm n v + e)) by nra. nra.
  - intros x y. eapply Rle_trans; [apply H |]. apply Rmult_le_compat_l; [auto |].
    apply pow_incr. split; [apply norm_nonneg |].
    rewrite <- (sqrt_pow2 (norm n _)) by apply norm_nonneg.
    apply sqrt_le_1_alt. rewrite norm_combination.
    pose proof (pow2_ge_0 x). pose proof (pow2_ge_0 y). nra.
Qed.

(** * Step 3: polarisation *)

Definition symmetric_matrix (A : nat -> nat -> R) : Prop :=
  forall i j, (i < n)%nat -> (j < n)%nat -> A i j = A j i.

Lemma symmetric_product A v w : symmetric_matrix A -> dot n w (image n A v) = dot n v (image n A w).
Proof.
  intros S. unfold image, dot.
  rewrite (fsum_ext n _ (fun i => fsum n (fun j => w i * (A i j * v j))))
    by (intros; now rewrite fsum_scale).
  rewrite fsum_swap. apply fsum_ext. intros j Hj. rewrite <- fsum_scale.
  apply fsum_ext. intros i Hi. rewrite (S i j) by auto. ring.
Qed.

Lemma form_combination A x y v w : symmetric_matrix A ->
  let z := fun i => x * v i + y * w i in
  dot n z (image n A z) = x ^ 2 * dot n v (image n A v) + 2 * (x * y) * dot n w (image n A v)
    + y ^ 2 * dot n w (image n A w).
Proof.
  intros S z.
  assert (I : forall i, image n A z i = x * image n A v i + y * image n A w i).
  { intros i. unfold image, dot, z. rewrite <- !fsum_scale, <- fsum_plus.
    apply fsum_ext. intros. ring. }
  transitivity (x ^ 2 * dot n v (image n A v) + x * y * dot n v (image n A w)
    + x * y * dot n w (image n A v) + y ^ 2 * dot n w (image n A w)).
  - unfold dot. rewrite <- !fsum_scale, <- !fsum_plus. apply fsum_ext. intros i _.
    rewrite I. unfold z. ring.
  - rewrite (symmetric_product A w v S). ring.
Qed.

Lemma symmetric_form A K v w : symmetric_matrix A -> 0 <= K ->
  (forall x, Rabs (dot n x (image n A x)) <= K * norm n x ^ 2) ->
  dot n w (image n A v) <= K * norm n w * norm n v.
Proof.
  intros S HK H. pose proof (norm_nonneg n v) as V. pose proof (norm_nonneg n w) as W.
  set (s := dot n w (image n A v)).
  assert (Q : forall x y, 4 * (x * y) * s
    <= 2 * K * (x ^ 2 * norm n v ^ 2 + y ^ 2 * norm n w ^ 2)).
  { intros x y.
    pose proof (Rabs_bounds _ _ (H (fun i => x * v i + y * w i))) as Up.
    pose proof (Rabs_bounds _ _ (H (fun i => x * v i + - y * w i))) as Down.
    rewrite (form_combination A x y v w S), norm_combination in Up.
    rewrite (form_combination A x (- y) v w S), norm_combination in Down. fold s in Up, Down.
    nra. }
  destruct (Req_dec (norm n w * norm n v) 0) as [Z | Z].
  - destruct (image_bounded n A) as (L & _ & B). pose proof (dot_le_norms n w (image n A v)) as D.
    specialize (B v). fold s in D.
    assert (norm n w * norm n (image n A v) <= L * (norm n w * norm n v))
      by (replace (L * (norm n w * norm n v)) with (norm n w * (L * norm n v)) by ring;
        apply Rmult_le_compat_l; auto).
    rewrite Rmult_assoc, Z in *. lra.
  - specialize (Q (norm n w) (norm n v)). apply Rmult_le_reg_l with (norm n w * norm n v); [| nra].
    pose proof (Rmult_le_pos _ _ W V). lra.
Qed.

(** A symmetric matrix moves no vector further than its form says. *)
Theorem symmetric_operator_norm A K v : symmetric_matrix A -> 0 <= K ->
  (forall x, Rabs (dot n x (image n A x)) <= K * norm n x ^ 2) ->
  norm n (image n A v) <= K * norm n v.
Proof.
  intros S HK H. apply norm_dual; [apply Rmult_le_pos; auto using norm_nonneg |]. intros w.
  eapply Rle_trans; [apply (symmetric_form A K v w S HK H) |]. right. ring.
Qed.

(** T (u, v, w) *)
Definition trilinear (T : nat -> nat -> nat -> R) (u v w : nat -> R) : R :=
  fsum n (fun i => fsum n (fun j => fsum n (fun k => u i * v j * w k * T i j k))).

Lemma trilinear_image T u v w : trilinear T u v w
  = dot n w (image n (fun k j => fsum n (fun i => u i * T i j k)) v).
Proof.
  unfold trilinear, image, dot.
  rewrite (fsum_ext n _ (fun i => fsum n (fun k => fsum n (fun j => u i * v j * w k * T i j k))))
    by (intros; apply fsum_swap).
  rewrite fsum_swap. apply fsum_ext. intros k _. rewrite fsum_swap, <- fsum_scale.
  apply fsum_ext. intros j _. rewrite <- fsum_scale_r, <- fsum_scale. apply fsum_ext. intros. ring.
Qed.

Lemma trilinear_swap T u v w :
  (forall i j k, (i < n)%nat -> (j < n)%nat -> (k < n)%nat -> T i j k = T j i k) ->
  trilinear T u v w = trilinear T v u w.
Proof.
  intros S. unfold trilinear. rewrite fsum_swap. apply fsum_ext. intros j Hj. apply fsum_ext.
  intros i Hi. apply fsum_ext. intros k Hk. rewrite (S i j k) by auto. ring.
Qed.

Lemma trilinear_combination T x y u v w z :
  trilinear T (fun i => x * u i + y * v i) w z = x * trilinear T u w z + y * trilinear T v w z.
Proof.
  unfold trilinear. rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros i _.
  rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros j _.
  rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

(** Banach's theorem for three arguments. *)
Theorem symmetric_trilinear_norm T M u v w : 0 <= M ->
  (forall i j k, (i < n)%nat -> (j < n)%nat -> (k < n)%nat ->
    T i j k = T j i k /\ T i j k = T i k j) ->
  (forall x, Rabs (trilinear T x x x) <= M * norm n x ^ 3) ->
  Rabs (trilinear T u v w) <= M * norm n u * norm n v * norm n w.
Proof.
  intros HM S H.
  assert (S12 : forall u v w, trilinear T u v w = trilinear T v u w)
    by (intros; apply trilinear_swap; intros; apply S; auto).
  assert (S23 : forall u v w, trilinear T u v w = trilinear T u w v).
  { intros a b c. apply fsum_ext. intros i Hi. rewrite fsum_swap. apply fsum_ext. intros k Hk.
    apply fsum_ext. intros j Hj. destruct (S i j k Hi Hj Hk) as [_ ->]. ring. }
  assert (Add2 : forall x y a b c d, trilinear T a (fun i => x * b i + y * c i) d
      = x * trilinear T a b d + y * trilinear T a c d)
    by (intros; rewrite S12, trilinear_combination, (S12 b), (S12 c); reflexivity).
  assert (Add3 : forall x y a b c d, trilinear T a b (fun i => x * c i + y * d i)
      = x * trilinear T a b c + y * trilinear T a b d)
    by (intros; rewrite S23, Add2, (S23 a c), (S23 a d); reflexivity).
  (* Two equal arguments. *)
  assert (Two : forall d x, trilinear T d x x <= M * norm n d * norm n x ^ 2).
  { intros d x. apply (cubic_along (trilinear T d d d) (trilinear T d d x) _ (trilinear T x x x));
      auto.
    intros a b. eapply Rle_trans; [| eapply Rle_trans; [apply Rle_abs |
      apply (H (fun i => a * d i + b * x i))]].
    right. rewrite trilinear_combination, !Add2, !Add3.
    rewrite (S12 x d d), (S23 d x d), (S12 x d x), (S23 x x d), (S12 x d x).
    unfold binary_cubic. ring. }
  assert (Neg : forall d x, trilinear T (fun i => - d i) x x = - trilinear T d x x).
  { intros d x. transitivity (-1 * trilinear T d x x); [| ring]. unfold trilinear.
    rewrite <- fsum_scale. apply fsum_ext. intros i _. rewrite <- fsum_scale. apply fsum_ext.
    intros j _. rewrite <- fsum_scale. apply fsum_ext. intros. ring. }
  assert (Form : forall w, trilinear T u v w <= M * norm n u * norm n w * norm n v).
  { intros z. rewrite trilinear_image. apply symmetric_form.
    - intros j k Hj Hk. apply fsum_ext. intros i Hi. destruct (S i j k Hi Hj Hk) as [_ ->].
      reflexivity.
    - apply Rmult_le_pos; auto using norm_nonneg.
    - intros x. rewrite <- trilinear_image. apply Rabs_le. split; [| apply Two].
      pose proof (Two (fun i => - u i) x) as D. rewrite Neg, norm_opp in D. lra. }
  assert (Minus : trilinear T u v (fun i => - w i) = - trilinear T u v w).
  { rewrite !trilinear_image. unfold dot. rewrite (fsum_ext n _ (fun i => -1 * (w i
      * image n (fun k j => fsum n (fun i => u i * T i j k)) v i))) by (intros; ring).
    rewrite fsum_scale. ring. }
  apply Rabs_le. split.
  - pose proof (Form (fun i => - w i)) as D. rewrite Minus, norm_opp in D. lra.
  - pose proof (Form w). lra.
Qed.

End Vectors.
