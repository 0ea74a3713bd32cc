(** What the logarithm of a key's share lacks, as it is computed about a cluster's centre (claim FP.drop).

    Steps: (1) R.jensen of the computed weights that were not raised, of which each is at most
      e^theta
    times the exact one; (2) the step's product with the distance of a key from their mean, in the
    coordinates of R.balance; (3) a square of a distance of two images errs relative to the
      squares of
    both, hence the root; (4) the roundings of the distance are a part of that root; (5) the sum
      of the
    weights, and the threshold. *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Rounding Require Import Rounding.
From Attest.RealHeads Require Import RealHeads Expansion DropRounding.
Open Scope R_scope.

(** * The share at the exact weights *)

Lemma average_weights n light w x : kept_average n light w x
  = fsum n (fun l => off light w l / fsum n (off light w) * x l).
Proof.
  unfold kept_average. rewrite <- fsum_div. apply fsum_ext. intros l _. unfold off, Rdiv.
  destruct (light l); ring.
Qed.

Lemma jensen_share n m light w L t X theta j : (n <= m)%nat -> positive n w -> 0 < fsum n (off light w) ->
  (forall l, (l < n)%nat -> light l = false -> ln (w l) - theta <= L l - X) ->
  ln (softmax m (fun l => L l + t l) j)
    <= L j - X + theta - ln (fsum n (off light w)) + (t j - kept_average n light w t).
Proof.
  intros Hm P H0 Hw. set (H := fsum n (off light w)) in *. set (mu := kept_average n light w t).
  assert (Hmu : fsum n (off light (fun l => w l * t l)) = mu * H)
    by (unfold mu, kept_average; fold H; field; lra).
  set (E := exp (X - theta + mu)). assert (E0 : 0 < E) by apply exp_pos.
  set (total := fsum m (fun l => exp (L l + t l))).
  assert (Low : E * H <= total).
  { apply Rle_trans with (fsum n (off light (fun l => exp (L l + t l)))).
    - replace (E * H) with (E * (H + (mu * H - mu * H))) by ring. rewrite <- Hmu at 1. unfold H at 1 2.
      rewrite <- (fsum_scale n mu), <- fsum_minus, <- fsum_plus, <- fsum_scale.
      apply fsum_le. intros l Hl. specialize (P l Hl). unfold off. destruct (light l) eqn:F; [lra
        |].
      specialize (Hw l Hl F). apply Rle_trans with (E * (w l * exp (t l - mu))).
      + apply Rmult_le_compat_l; [lra |]. pose proof (exp_ineq1_le (t l - mu)). nra.
      + rewrite <- (exp_ln (w l)) by auto. unfold E. rewrite <- !exp_plus. apply exp_le. lra.
    - apply Rle_trans with (fsum n (fun l => exp (L l + t l))).
      2: { apply fsum_longer; auto. intros. left. apply exp_pos. }
      rewrite (fsum_split n light (fun l => exp (L l + t l))).
      pose proof (fsum_on_nonneg n light (fun l => exp (L l + t l))
        (fun l _ => Rlt_le _ _ (exp_pos (L l + t l)))). lra. }
  assert (T0 : 0 < total) by (eapply Rlt_le_trans; [| exact Low]; apply Rmult_lt_0_compat; auto).
  unfold softmax, normalize. fold total. unfold Rdiv.
  rewrite ln_mult, ln_Rinv, ln_exp by (auto using exp_pos, Rinv_0_lt_compat).
  assert (ln (E * H) <= ln total).
  { destruct Low as [Low | <-]; [| lra]. apply Rlt_le, ln_increasing; auto.
    apply Rmult_lt_0_compat; auto. }
  rewrite ln_mult in H1 by auto. unfold E in H1. rewrite ln_exp in H1. lra.
Qed.

(** * The step's product *)

Lemma combination_norm n d g x B : (forall l, (l < n)%nat -> 0 <= g l) -> fsum n g = 1 ->
  (forall l, (l < n)%nat -> norm d (x l) <= B) ->
  norm d (fun a => fsum n (fun l => g l * x l a)) <= B.
Proof.
  intros G S H. eapply Rle_trans; [apply (norm_fsum d n (fun l a => g l * x l a)) |].
  apply Rle_trans with (fsum n (fun l => g l * B)).
  - apply fsum_le. intros l Hl. rewrite norm_scale_nonneg by auto.
    apply Rmult_le_compat_l; auto.
  - rewrite fsum_scale_r, S. lra.
Qed.

Lemma transformed_norm d x N : norm d (transformed d x N) <= frobenius d d N * norm d x.
Proof.
  rewrite frobenius_columns. rewrite (norm_ext d _ (fun b => dot d (fun a => N a b) x)).
  - apply frobenius_image.
  - intros b _. apply fsum_ext. intros. ring.
Qed.

Lemma transformed_minus d x y N b :
  transformed d (fun a => x a - y a) N b = transformed d x N b - transformed d y N b.
Proof. unfold transformed. rewrite <- fsum_minus. apply fsum_ext. intros. ring. Qed.

Lemma norm_minus d x y : norm d (fun a => x a - y a) <= norm d x + norm d y.
Proof.
  eapply Rle_trans; [apply (norm_triangle d x (fun a => - y a)) |]. rewrite norm_opp. lra.
Qed.

Lemma norm_within d x y e : norm d (fun a => x a - y a) <= e -> norm d x <= norm d y + e.
Proof.
  intros H. rewrite (norm_ext d x (fun a => y a + (x a - y a))) by (intros; ring).
  eapply Rle_trans; [apply norm_triangle | lra].
Qed.

(** * A computed distance *)

(** |y - z|^2, of sums of d products. *)
Definition computed_square (d : nat) (u lost : R) (y z : nat -> R) (s : R) : Prop :=
  exists ta tb tc A B C part, adds d ta /\ adds d tb /\ adds d tc /\
    computes u lost (fun a => -2 * z a * y a) ta A /\
    computes u lost (fun a => y a * y a) tb B /\
    computes u lost (fun a => z a * z a) tc C /\
    Rabs (part - (A + B)) <= u * Rabs (A + B) /\ Rabs (s - (part + C)) <= u * Rabs (part + C).

Lemma rounded_once x y g a u l s : 0 <= u -> Rabs (x - y) <= g * a + l -> Rabs y <= a ->
  Rabs (s - x) <= u * Rabs x -> Rabs (s - y) <= (g * (1 + u) + u) * a + (1 + u) * l.
Proof.
  intros Hu Hx Hy Hs. replace (s - y) with (s - x + (x - y)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  assert (Rabs x <= g * a + l + a).
  { replace x with (x - y + y) by ring. eapply Rle_trans; [apply Rabs_triang | lra]. }
  assert (u * Rabs x <= u * (g * a + l + a)) by (apply Rmult_le_compat_l; auto). lra.
Qed.

Lemma square_error d u lost tiny y z s : 0 <= u -> u <= 1 / 8 -> 0 <= lost -> 2 * lost <= tiny ->
  INR (d + 2) * u <= 1 / 4 -> computed_square d u lost y z s ->
  Rabs (s - norm d (fun a => y a - z a) ^ 2)
    <= gamma (d + 2) u * (norm d y + norm d z) ^ 2 + 4 * INR d * tiny.
Proof.
  intros Hu Hu8 Hl Ht Hd (ta & tb & tc & A & B & C & part & Ta & Tb & Tc & HA & HB & HC & HP & HS).
  replace (d + 2)%nat with (S (S d)) in * by lia. rewrite !S_INR in Hd.
  pose proof (pos_INR d). assert (0 <= INR d * u) by (apply Rmult_le_pos; auto).
  pose proof (gamma_nonneg d u Hu ltac:(lra)) as G0.
  pose proof (gamma_next d u Hu ltac:(rewrite S_INR; lra)) as G1.
  pose proof (gamma_next (S d) u Hu ltac:(rewrite !S_INR; lra)) as G2.
  set (g := gamma d u) in *. set (g1 := gamma (S d) u) in *. set (g2 := gamma (S (S d)) u) in *.
  pose proof (norm_nonneg d y) as Y0. pose proof (norm_nonneg d z) as Z0.
  set (ny := norm d y) in *. set (nz := norm d z) in *. set (c := INR d * tiny).
  assert (c0 : 0 <= c) by (apply Rmult_le_pos; lra).
  assert (Dot : forall p q t s a, adds d t -> computes u lost (fun l => p l * q l) t s ->
    norm d p * norm d q <= a ->
    Rabs (s - dot d p q) <= g * a + c /\ Rabs (dot d p q) <= a).
  { intros p q t s0 a Hadds Hs Ha. split; [| eapply Rle_trans; [apply dot_norm | auto]].
    pose proof (fp_logit d u lost tiny p q t s0 a Hu Hl Ht ltac:(lra) Hadds Hs
      (Rle_trans _ _ _ (cauchy_schwarz d p q) Ha)) as E. rewrite logit_form in E by lra. exact E. }
  assert (N2 : norm d (fun a => -2 * z a) = 2 * nz)
    by (rewrite norm_scale, Rabs_left by lra; unfold nz; ring).
  destruct (Dot _ _ _ _ (2 * nz * ny) Ta HA ltac:(rewrite N2; unfold ny; lra)) as [EA SA].
  destruct (Dot _ _ _ _ (ny * ny) Tb HB ltac:(unfold ny; lra)) as [EB SB].
  destruct (Dot _ _ _ _ (nz * nz) Tc HC ltac:(unfold nz; lra)) as [EC SC].
  set (a := dot d (fun a => -2 * z a) y) in *. set (b := dot d y y) in *. set (e := dot d z z) in *.
  assert (V : norm d (fun a => y a - z a) ^ 2 = a + b + e).
  { rewrite norm_square. unfold a, b, e, dot. rewrite <- !fsum_plus. apply fsum_ext. intros. ring. }
  rewrite V.
  assert (yz : 0 <= 2 * nz * ny) by (repeat apply Rmult_le_pos; lra).
  assert (yy : 0 <= ny * ny) by (apply Rmult_le_pos; lra).
  assert (zz : 0 <= nz * nz) by (apply Rmult_le_pos; lra).
  assert (E1 : Rabs (part - (a + b)) <= (g * (1 + u) + u) * (2 * nz * ny + ny * ny) + (1 + u) * (2
    * c)).
  { apply rounded_once with (A + B); auto.
    - replace (A + B - (a + b)) with (A - a + (B - b)) by ring.
      eapply Rle_trans; [apply Rabs_triang | lra].
    - eapply Rle_trans; [apply Rabs_triang | lra]. }
  assert (E1' : Rabs (part - (a + b)) <= g1 * (2 * nz * ny + ny * ny) + (1 + u) * (2 * c)).
  { eapply Rle_trans; [exact E1 |]. apply Rplus_le_compat_r, Rmult_le_compat_r; lra. }
  assert (E2 : Rabs (s - (a + b + e)) <= (g1 * (1 + u) + u) * (2 * nz * ny + ny * ny + nz * nz)
    + (1 + u) * ((1 + u) * (2 * c) + c)).
  { apply rounded_once with (part + C); auto.
    - replace (part + C - (a + b + e)) with (part - (a + b) + (C - e)) by ring.
      eapply Rle_trans; [apply Rabs_triang |].
      assert (g * (nz * nz) <= g1 * (nz * nz)) by (apply Rmult_le_compat_r; nra). lra.
    - eapply Rle_trans; [apply Rabs_triang |].
      pose proof (Rabs_triang a b). lra. }
  eapply Rle_trans; [exact E2 |].
  replace ((ny + nz) ^ 2) with (2 * nz * ny + ny * ny + nz * nz) by ring.
  replace (4 * INR d * tiny) with (4 * c) by (unfold c; ring).
  apply Rplus_le_compat; [apply Rmult_le_compat_r; lra |].
  apply Rle_trans with ((1 + u) * (3 + 2 * u) * c); [right; ring |].
  apply Rmult_le_compat_r; [auto | nra].
Qed.

(** The root of a square that errs by Q, where Q is not small beside what the root may be. *)
Lemma root_error u v s Q F : 0 <= u -> u <= / 65536 -> 0 <= v -> v <= F -> 0 <= Q -> 2 * u * F ^ 2
  <= Q ->
  Rabs (s - v ^ 2) <= Q ->
  v <= sqrt (Rmax s 0) * (1 - 5 * u) + 33 / 32 * sqrt Q.
Proof.
  intros Hu Hu1 Hv HF HQ HuF Hs. apply Rabs_bounds in Hs.
  pose proof (sqrt_pos Q) as q0. pose proof (pow2_sqrt Q HQ) as q2. set (q := sqrt Q) in *.
  assert (s0 : 0 <= Rmax s 0) by apply Rmax_r.
  pose proof (sqrt_pos (Rmax s 0)) as r0. pose proof (pow2_sqrt _ s0) as r2.
  set (r := sqrt (Rmax s 0)) in *.
  assert (Up : v <= r + q).
  { apply square_le; [lra |]. assert (s <= Rmax s 0) by apply Rmax_l.
    assert (0 <= r * q) by (apply Rmult_le_pos; auto). nra. }
  assert (Down : r <= v + q).
  { apply square_le; [lra |]. assert (0 <= v * q) by (apply Rmult_le_pos; auto).
    assert (Rmax s 0 <= v ^ 2 + Q) by (apply Rmax_lub; [lra |]; pose proof (pow2_ge_0 v); lra).
      nra. }
  assert (Small : 5 * u * F <= q / 40).
  { apply square_le; [lra |].
    replace ((5 * u * F) ^ 2) with (25 / 2 * u * (2 * u * F ^ 2)) by field.
    replace ((q / 40) ^ 2) with (Q / 1600) by (rewrite <- q2; field).
    apply Rle_trans with (25 / 2 * u * Q); [apply Rmult_le_compat_l; [lra | auto] |].
    assert (25 / 2 * u <= / 1600) by lra.
    apply Rle_trans with (/ 1600 * Q); [apply Rmult_le_compat_r; auto | lra]. }
  assert (5 * u * r <= q / 32).
  { apply Rle_trans with (5 * u * (F + q)); [apply Rmult_le_compat_l; lra |].
    assert (5 * u * q <= / 1000 * q) by (apply Rmult_le_compat_r; lra). lra. }
  lra.
Qed.

(** The logarithm of a share less that of the sum of the weights: distance by the radius radius, plus b. *)
Definition computed_share (u lost radius s b out : R) : Prop :=
  exists distance narrow product,
    Rabs (distance - sqrt (Rmax s 0)) <= u * sqrt (Rmax s 0) /\
    Rabs (narrow - radius) <= u * radius /\
    Rabs (product - distance * narrow) <= u * Rabs (distance * narrow) + lost /\
    Rabs (out - (product + b)) <= u * Rabs (product + b).

Lemma share_kept u lost radius s b out : 0 <= u -> u <= / 65536 -> 0 <= lost -> 0 <= radius ->
  computed_share u lost radius s b out ->
  radius * sqrt (Rmax s 0) * (1 - 5 * u) + b - u * Rabs b - 2 * lost <= out.
Proof.
  intros Hu Hu1 Hl HR (dist & rad & prod & Hd & Hr & Hp & Ho).
  pose proof (sqrt_pos (Rmax s 0)) as D0. set (D := sqrt (Rmax s 0)) in *.
  apply Rabs_bounds in Hd, Hr.
  assert (uu : 0 <= u * u) by (apply Rmult_le_pos; auto).
  assert (RD : 0 <= radius * D) by (apply Rmult_le_pos; auto).
  assert (d0 : 0 <= dist) by nra. assert (r0 : 0 <= rad) by nra.
  assert (Low : (1 - 2 * u) * (radius * D) <= dist * rad).
  { apply Rle_trans with (((1 - u) * D) * ((1 - u) * radius)).
    - replace ((1 - u) * D * ((1 - u) * radius)) with ((1 - 2 * u) * (radius * D) + u * u *
      (radius * D)) by ring.
      assert (0 <= u * u * (radius * D)) by (apply Rmult_le_pos; auto). lra.
    - apply Rmult_le_compat; nra. }
  assert (p0 : 0 <= dist * rad) by (apply Rmult_le_pos; auto).
  set (p := dist * rad) in *. rewrite (Rabs_right p) in Hp by lra. apply Rabs_bounds in Hp.
  assert (Rabs prod <= p + u * p + lost) by (apply Rabs_le; nra).
  pose proof (Rabs_triang prod b). apply Rabs_bounds in Ho.
  assert (U : u * Rabs (prod + b) <= u * (p + u * p + lost + Rabs b))
    by (apply Rmult_le_compat_l; lra).
  assert (u * lost <= lost) by nra.
  assert (u * u * p <= / 65536 * (u * p)).
  { rewrite Rmult_assoc. apply Rmult_le_compat_r; [apply Rmult_le_pos; auto | auto]. }
  assert (u * p <= / 65536 * p) by (apply Rmult_le_compat_r; auto).
  assert (0 <= u * p) by (apply Rmult_le_pos; auto).
  assert (Two : (1 - 2 * u - / 65536 * u) * p <= prod + b - u * Rabs (prod + b) - b + u * Rabs b +
    2 * lost)
    by nra.
  assert (Five : (1 - 5 * u) * (radius * D) <= (1 - 2 * u - / 65536 * u) * p).
  { apply Rle_trans with ((1 - 2 * u - / 65536 * u) * ((1 - 2 * u) * (radius * D))).
    - replace ((1 - 2 * u - / 65536 * u) * ((1 - 2 * u) * (radius * D)))
        with ((1 - 2 * u - / 65536 * u) * (1 - 2 * u) * (radius * D)) by ring.
      apply Rmult_le_compat_r; [auto | nra].
    - apply Rmult_le_compat_l; [lra | auto]. }
  lra.
Qed.

(** * The sum of the weights *)

(** From logits x less the largest, X: those that are too light have been raised to [lightest]. *)
Definition weighed (n : nat) (u e lightest X : R) (x b w : nat -> R) (light : nat -> bool) : Prop :=
  (exists l, (l < n)%nat /\ X = x l) /\
  forall l, (l < n)%nat -> x l <= X /\ Rabs (b l - (x l - X)) <= u * Rabs (x l - X) /\ 0 < w l /\
    if light l then b l < 0 /\ w l <= lightest else Rabs (w l - exp (b l)) <= e * u * exp (b l).

Lemma heaviest n u e lightest X x b w light : e * u <= 1 / 2 ->
  weighed n u e lightest X x b w light -> 1 / 2 <= fsum n (off light w).
Proof.
  intros He [(l & Hl & ->) W]. destruct (W l Hl) as (_ & B & P & Q).
  replace (x l - x l) with 0 in B by ring. rewrite Rabs_R0, Rmult_0_r, Rminus_0_r in B.
  assert (B0 : b l = 0) by (apply Rabs_bounds in B; lra).
  destruct (light l) eqn:E; [lra |]. rewrite B0, exp_0 in Q. apply Rabs_bounds in Q.
  apply Rle_trans with (off light w l); [unfold off; rewrite E; lra |].
  apply fsum_term; auto. intros i Hi. destruct (W i Hi) as (_ & _ & Pi & _).
  unfold off. destruct (light i); lra.
Qed.

Lemma ln_le_ln x y : 0 < x -> x <= y -> ln x <= ln y.
Proof. intros H [L | ->]; [apply Rlt_le, ln_increasing; auto | lra]. Qed.

Lemma exp_2 : 4 <= exp 2.
Proof.
  replace 2 with (1 + 1) by ring. rewrite exp_plus. pose proof (exp_ineq1_le 1). nra.
Qed.

Lemma ln_of_sum n k u e lightest X x b w light total : 0 <= u -> e * u <= 1 / 2 ->
  INR (2 * S k) * u <= 1 / 4 -> 0 <= lightest <= 1 -> weighed n u e lightest X x b w light ->
  (exists t, adds n t /\ (roundings t <= k)%nat /\ computes u 0 w t total) ->
  ln total <= ln (fsum n (off light w)) + gamma k u + 2 * INR n * lightest /\
  Rabs (ln total) <= ln (INR n) + 2.
Proof.
  intros Hu He Hk Hl W (t & Ht & Hr & Hs). pose proof (heaviest _ _ _ _ _ _ _ _ _ He W) as Heavy.
  pose proof (pos_INR k). rewrite mult_INR, (S_INR k) in Hk. simpl (INR 2) in Hk.
  assert (0 <= INR k * u) by (apply Rmult_le_pos; auto).
  pose proof (gamma_nonneg k u Hu ltac:(lra)) as G0.
  assert (G1 : gamma k u <= 1 / 7) by (apply div_le; lra).
  destruct W as [(l0 & Hl0 & _) W].
  assert (n1 : 1 <= INR n) by (apply (le_INR 1); lia).
  set (Y := fsum n (off light w)) in *. set (r := fsum n (on light w)). set (Z := fsum n w).
  assert (HZ : Z = r + Y) by apply fsum_split.
  assert (Hr0 : 0 <= r).
  { apply fsum_on_nonneg. intros i Hi. destruct (W i Hi) as (_ & _ & P & _). lra. }
  assert (Hr1 : r <= INR n * lightest).
  { unfold r. rewrite <- fsum_const. apply fsum_le. intros i Hi. destruct (W i Hi) as (_ & _ & P &
    Q).
    unfold on. destruct (light i); [destruct Q |]; lra. }
  assert (HZ2 : Z <= 2 * INR n).
  { rewrite Rmult_comm. unfold Z. rewrite <- fsum_const. apply fsum_le. intros i Hi.
    destruct (W i Hi) as (Hx & B & P & Q). destruct (light i); [destruct Q; lra |].
    assert (b i <= 0).
    { rewrite (Rabs_left1 (x i - X)) in B by lra. apply Rabs_bounds in B.
      assert (u <= 1) by lra. nra. }
    assert (exp (b i) <= 1) by (rewrite <- exp_0; apply exp_le; auto).
    pose proof (exp_pos (b i)). apply Rabs_bounds in Q. nra. }
  assert (E : Rabs (total - Z) <= gamma k u * Z).
  { pose proof (fp_sum u 0 w t total k Hu (Rle_refl 0) ltac:(lra) Hs Hr) as E.
    rewrite !(adds_exact n t) in E by auto.
    rewrite (fsum_ext n (fun i => Rabs (w i)) w) in E.
    - rewrite !Rmult_0_r, Rplus_0_r in E. exact E.
    - intros i Hi. destruct (W i Hi) as (_ & _ & P & _). apply Rabs_right. lra. }
  apply Rabs_bounds in E. assert (T0 : 3 / 7 <= total) by nra. split.
  - apply Rle_trans with (ln (Y * (1 + r / Y) * (1 + gamma k u))).
    + apply ln_le_ln; [lra |]. replace (Y * (1 + r / Y)) with Z by (rewrite HZ; field; lra). lra.
    + assert (RH : r / Y <= 2 * INR n * lightest).
      { apply div_le; [lra |]. apply Rle_trans with (2 * (INR n * lightest) * (1 / 2)); [lra |].
        replace (2 * INR n * lightest) with (2 * (INR n * lightest)) by ring.
        apply Rmult_le_compat_l; [| auto]. assert (0 <= INR n * lightest) by (apply Rmult_le_pos;
          lra). lra. }
      assert (R0 : 0 <= r / Y) by (apply le_div; lra).
      rewrite !ln_mult by (try apply Rmult_lt_0_compat; lra).
      pose proof (ln_le_minus_1 (1 + r / Y) ltac:(lra)).
      pose proof (ln_le_minus_1 (1 + gamma k u) ltac:(lra)). lra.
  - pose proof exp_2. apply Rabs_le. split.
    + assert (0 <= ln (INR n)) by (rewrite <- ln_1; apply ln_le_ln; lra).
      apply Rle_trans with (-2); [lra |]. rewrite <- (ln_exp (-2)). apply ln_le_ln; [apply exp_pos
        |].
      apply Rle_trans with (/ 4); [| lra].
      replace (exp (-2)) with (/ exp 2) by (rewrite <- exp_Ropp; f_equal; lra).
      apply Rinv_le_contravar; lra.
    + rewrite <- (ln_exp 2) at 1. rewrite <- ln_mult by (try apply exp_pos; lra).
      apply ln_le_ln; [lra |]. nra.
Qed.

(** The threshold of the logarithm of a share: two logarithms of errors of a few u, two additions. *)
Definition computed_threshold (u logarithm allowed slack out : R) : Prop :=
  Rabs (out - (logarithm + allowed - slack)) <= 8 * u * (Rabs logarithm + Rabs allowed + slack).

(** * The share *)

(** A step and a key less a mean of keys, by the images of the key and of the mean that were computed. *)
Lemma step_along d delta M N (o key average mean y z : nat -> R) step_length radius defect
  key_length mean_error key_image_error v :
  norm d delta <= step_length -> norm d (transformed d delta M) <= radius ->
  frobenius d d (inverse_defect d M N) <= defect -> norm d key <= key_length -> norm d average <=
    key_length ->
  norm d (fun a => mean a - average a) <= mean_error -> norm d (fun a => y a - z a) = v ->
  norm d (fun a => transformed d (fun i => key i - o i) N a - y a) <= key_image_error ->
  norm d (fun a => transformed d (fun i => mean i - o i) N a - z a) <= key_image_error ->
  dot d delta key - dot d delta average
    <= radius * (v + 2 * key_image_error) + defect * step_length * (2 * key_length + mean_error) +
      mean_error * step_length.
Proof.
  intros Hsl HR Hdef Hkey Hav Hme Hv Hy Hz.
  set (x := fun a => key a - mean a).
  pose proof (norm_nonneg d delta) as s0. pose proof (norm_nonneg d x) as x0.
  pose proof (norm_nonneg d (transformed d delta M)) as r0.
  pose proof (frobenius_nonneg d d (inverse_defect d M N)) as f0.
  assert (X : norm d x <= 2 * key_length + mean_error).
  { pose proof (norm_minus d key mean). pose proof (norm_within d mean average mean_error Hme).
    unfold x. lra. }
  assert (I : norm d (transformed d x N) <= v + 2 * key_image_error).
  { rewrite (norm_ext d _ (fun a => (transformed d (fun i => key i - o i) N a - y a)
      - (transformed d (fun i => mean i - o i) N a - z a) + (y a - z a))).
    - eapply Rle_trans; [apply norm_triangle |].
      pose proof (norm_minus d (fun a => transformed d (fun i => key i - o i) N a - y a)
        (fun a => transformed d (fun i => mean i - o i) N a - z a)). lra.
    - intros a _. unfold x. rewrite !transformed_minus. ring. }
  assert (P : dot d (transformed d delta M) (transformed d x N) <= radius * (v + 2 *
    key_image_error))
    by (apply dot_le; auto).
  pose proof (r_balance d delta x M N) as B. unfold b_balance_logit in B. apply Rabs_bounds in B.
  assert (D : frobenius d d (inverse_defect d M N) * norm d x * norm d delta
    <= defect * step_length * (2 * key_length + mean_error)).
  { replace (defect * step_length * (2 * key_length + mean_error)) with (defect * (2 * key_length
    + mean_error) * step_length) by ring.
    repeat apply Rmult_le_compat; auto. apply Rmult_le_pos; auto. }
  assert (Me : dot d delta (fun a => mean a - average a) <= step_length * mean_error) by (apply
    dot_le; auto).
  assert (E : dot d delta key - dot d delta average
    = dot d delta x + dot d delta (fun a => mean a - average a)).
  { unfold dot, x. rewrite <- fsum_minus, <- fsum_plus. apply fsum_ext. intros. ring. }
  lra.
Qed.

(** The image of a mean of keys is no longer than the longest of theirs. *)
Lemma image_of_mean n d g K N (o mean z : nat -> R) (y : nat -> nat -> R) factor_norm mean_error
  key_image_error image_length :
  (forall l, (l < n)%nat -> 0 <= g l) -> fsum n g = 1 -> frobenius d d N <= factor_norm ->
  norm d (fun a => mean a - fsum n (fun l => g l * K l a)) <= mean_error ->
  (forall l, (l < n)%nat -> norm d (y l) <= image_length /\
     norm d (fun a => transformed d (fun i => K l i - o i) N a - y l a) <= key_image_error) ->
  norm d (fun a => transformed d (fun i => mean i - o i) N a - z a) <= key_image_error ->
  norm d z <= image_length + 2 * key_image_error + factor_norm * mean_error.
Proof.
  intros G G1 Hfn Hme Hy Hz. set (average := fun a => fsum n (fun l => g l * K l a)).
  assert (A : norm d (transformed d (fun i => average i - o i) N) <= image_length +
    key_image_error).
  { rewrite (norm_ext d _ (fun a => fsum n (fun l => g l * transformed d (fun i => K l i - o i) N
    a))).
    - apply combination_norm; auto. intros l Hl. destruct (Hy l Hl) as [Y1 Y2].
      eapply Rle_trans; [apply (norm_within d _ _ _ Y2) | lra].
    - intros a _. unfold transformed, average.
      rewrite (fsum_ext d _ (fun b => fsum n (fun l => g l * (K l b - o b)) * N b a)).
      + rewrite (fsum_ext d _ (fun b => fsum n (fun l => g l * (K l b - o b) * N b a)))
          by (intros; symmetry; apply fsum_scale_r).
        rewrite fsum_swap. apply fsum_ext. intros l _. rewrite <- fsum_scale. apply fsum_ext.
        intros. ring.
      + intros b _. f_equal. rewrite (fsum_ext n (fun l => g l * (K l b - o b))
          (fun l => g l * K l b - g l * o b)) by (intros; ring).
        rewrite fsum_minus, fsum_scale_r, G1. ring. }
  assert (B : norm d (transformed d (fun i => mean i - average i) N) <= factor_norm * mean_error).
  { eapply Rle_trans; [apply transformed_norm |].
    apply Rmult_le_compat; auto using frobenius_nonneg, norm_nonneg. }
  assert (C : norm d (transformed d (fun i => mean i - o i) N) <= image_length + key_image_error +
    factor_norm * mean_error).
  { rewrite (norm_ext d _ (fun a => transformed d (fun i => average i - o i) N a
      + transformed d (fun i => mean i - average i) N a)).
    - eapply Rle_trans; [apply norm_triangle | lra].
    - intros a _. rewrite !transformed_minus. ring. }
  rewrite (norm_ext d z (fun a => transformed d (fun i => mean i - o i) N a
    - (transformed d (fun i => mean i - o i) N a - z a))) by (intros; ring).
  eapply Rle_trans; [apply norm_minus |]. lra.
Qed.

Lemma gamma_monotone k u : 0 <= u -> INR (S k) * u < 1 -> gamma k u <= gamma (S k) u.
Proof.
  intros Hu H. pose proof (gamma_next k u Hu H).
  assert (0 <= gamma k u).
  { apply gamma_nonneg; auto. rewrite S_INR in H. lra. }
  nra.
Qed.

Lemma gamma_at_least k u : 0 <= u -> INR k * u < 1 -> INR k * u <= gamma k u.
Proof.
  intros Hu H. assert (0 <= INR k * u) by (apply Rmult_le_pos; [apply pos_INR | auto]).
  apply le_div; [lra | nra].
Qed.

(** j: a key; radius: at least |delta M|; [share] / n: the part of the weight that a key may have;
    [slack]: what was subtracted from the threshold. *)
Theorem fp_share_slack n m d k u exp_error lost tiny lightest reach logit_error step_length radius
  defect key_length mean_error factor_norm key_image_error image_length share slack
  K c delta M N o x b w light X total mean y z s out threshold j :
  0 <= u -> u <= / 65536 -> 0 <= lost -> 2 * lost <= tiny -> tiny <= u -> 0 <= exp_error ->
    exp_error * u <= 1 / 2 ->
  INR (d + 2) * u <= 1 / 4 -> INR (2 * S k) * u <= 1 / 4 -> 0 <= lightest <= 1 ->
  0 < share <= 1 / 2 -> 0 <= slack <= 3 -> (0 < n <= m)%nat -> (j < m)%nat ->
  (forall l, (l < m)%nat -> Rabs (dot d c (K l)) <= reach /\ Rabs (x l - dot d c (K l)) <=
    logit_error) ->
  weighed n u exp_error lightest X x b w light ->
  Rabs (b j - (x j - X)) <= u * Rabs (x j - X) ->
  (exists t, adds n t /\ (roundings t <= k)%nat /\ computes u 0 w t total) ->
  norm d delta <= step_length -> norm d (transformed d delta M) <= radius ->
  frobenius d d (inverse_defect d M N) <= defect -> frobenius d d N <= factor_norm ->
  (forall l, (l < m)%nat -> norm d (K l) <= key_length) ->
  norm d (fun a => mean a - kept_average n light w (fun l => K l a)) <= mean_error ->
  (forall l, (l < m)%nat -> norm d (y l) <= image_length /\
     norm d (fun a => transformed d (fun i => K l i - o i) N a - y l a) <= key_image_error) ->
  norm d (fun a => transformed d (fun i => mean i - o i) N a - z a) <= key_image_error ->
  computed_square d u lost (y j) z s -> computed_share u lost radius s (b j) out ->
  computed_threshold u (ln total) (ln (share / INR m)) slack threshold ->
  ln (softmax m (fun l => dot d (fun a => c a + delta a) (K l)) j) - ln (share / INR m)
      - (out - threshold) + slack
    <= b_share_slack d (S k) m u exp_error tiny lightest reach logit_error step_length radius
      defect key_length mean_error factor_norm key_image_error image_length share.
Proof.
  intros Hu Hu1 Hlost Htiny Htu He Heu Hd Hk Hl Hshare Hslack Hnm Hj HL W Hbj HS Hsl HR Hdef Hfn Hkl Hme
    Hy Hz Hsq Hout Hth.
  pose proof (heaviest _ _ _ _ _ _ _ _ _ Heu W) as Heavy.
  destruct (ln_of_sum n k u exp_error lightest X x b w light total Hu Heu Hk Hl W HS) as [Sum Size].
  assert (n1 : 1 <= INR n) by (apply (le_INR 1); lia).
  assert (m1 : INR n <= INR m) by (apply le_INR; lia).
  pose proof (pos_INR d) as d0. pose proof (pos_INR k) as k0.
  set (Y := fsum n (off light w)) in *.
  set (L := fun l => dot d c (K l)). set (t := fun l => dot d delta (K l)).
  set (E := exp_error * u / (1 - exp_error * u)).
  assert (eu0 : 0 <= exp_error * u) by (apply Rmult_le_pos; auto).
  destruct W as [(l0 & Hl0 & X0) W].
  assert (le0 : 0 <= logit_error) by (destruct (HL l0 ltac:(lia)) as [_ B];
    eapply Rle_trans; [apply Rabs_pos | exact B]).
  set (far := reach + logit_error).
  assert (XL : forall l, (l < m)%nat -> Rabs (x l) <= far).
  { intros l Hl1. destruct (HL l Hl1) as [A B]. unfold far.
    replace (x l) with (dot d c (K l) + (x l - dot d c (K l))) by ring.
    eapply Rle_trans; [apply Rabs_triang | lra]. }
  assert (XX : Rabs X <= far) by (rewrite X0; apply XL; lia).
  assert (Below : forall l, (l < m)%nat -> Rabs (b l - (x l - X)) <= u * Rabs (x l - X) ->
    Rabs (x l - X) <= 2 * far /\
    Rabs (b l - (L l - X)) <= logit_error + 2 * u * far).
  { intros l Hl1 B. destruct (HL l Hl1) as [_ A].
    assert (D : Rabs (x l - X) <= 2 * far).
    { unfold Rminus. eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp.
      pose proof (XL l Hl1). lra. }
    split; [exact D |]. fold (L l) in A.
    replace (b l - (L l - X)) with (b l - (x l - X) + (x l - L l)) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    assert (u * Rabs (x l - X) <= u * (2 * far)) by (apply Rmult_le_compat_l; auto). lra. }
  (* The exact share, by Jensen's inequality. *)
  assert (J : ln (softmax m (fun l => L l + t l) j)
    <= L j - X + (logit_error + 2 * u * far + E) - ln Y + (t j - kept_average n light w t)).
  { apply jensen_share; [lia | | |].
    - intros l Hl1. apply (W l Hl1).
    - fold Y. lra.
    - intros l Hl1 Fl. destruct (W l Hl1) as (_ & Bl & P & Q). rewrite Fl in Q.
      destruct (Below l ltac:(lia) Bl) as [_ B]. apply Rabs_bounds in B. pose proof (exp_pos (b l)) as e0.
      assert (R1 : Rabs (w l / exp (b l) - 1) <= exp_error * u).
      { replace (w l / exp (b l) - 1) with ((w l - exp (b l)) / exp (b l)) by (field; lra).
        rewrite Rabs_div_pos by auto. apply div_le; auto. }
      pose proof (ln_error _ _ R1 ltac:(lra)) as R2. fold E in R2.
      replace (1 + (w l / exp (b l) - 1)) with (w l * / exp (b l)) in R2 by (field; lra).
      rewrite ln_mult, ln_Rinv, ln_exp in R2 by (auto using Rinv_0_lt_compat).
      apply Rabs_bounds in R2. lra. }
  assert (Same : softmax m (fun l => dot d (fun a => c a + delta a) (K l)) j
    = softmax m (fun l => L l + t l) j).
  { assert (Q : forall l, dot d (fun a => c a + delta a) (K l) = L l + t l).
    { intros l. unfold L, t, dot. rewrite <- fsum_plus. apply fsum_ext. intros. ring. }
    unfold softmax, normalize. rewrite Q. f_equal. apply fsum_ext. intros. now rewrite Q. }
  rewrite Same. clear Same.
  (* The mean of the heavy weights, and its image. *)
  set (g := fun l => off light w l / Y).
  assert (G : forall l, (l < n)%nat -> 0 <= g l).
  { intros l Hl1. destruct (W l Hl1) as (_ & _ & P & _). unfold g, off.
    apply le_div; [lra |]. destruct (light l); lra. }
  assert (G1 : fsum n g = 1) by (unfold g; rewrite fsum_div; fold Y; field; lra).
  set (average := fun a => fsum n (fun l => g l * K l a)).
  assert (Av : forall q, kept_average n light w q = fsum n (fun l => g l * q l))
    by (intros; apply average_weights).
  assert (Me : norm d (fun a => mean a - average a) <= mean_error).
  { rewrite (norm_ext d _ (fun a => mean a - kept_average n light w (fun l => K l a))); auto.
    intros a _. unfold average. now rewrite Av. }
  assert (Ta : kept_average n light w t = dot d delta average).
  { rewrite Av. unfold t, average, dot.
    rewrite (fsum_ext n _ (fun l => fsum d (fun a => delta a * (g l * K l a))))
      by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
    rewrite fsum_swap. apply fsum_ext. intros. now rewrite fsum_scale. }
  assert (Al : norm d average <= key_length)
    by (apply combination_norm; auto; intros; apply Hkl; lia).
  set (v := norm d (fun a => y j a - z a)).
  destruct (Hy j Hj) as [Yj1 Yj2].
  pose proof (step_along d delta M N o (K j) average mean (y j) z step_length radius defect
    key_length mean_error key_image_error v
    Hsl HR Hdef (Hkl j Hj) Al Me eq_refl Yj2 Hz) as Step. fold (t j) in Step.
  pose proof (image_of_mean n d g K N o mean z y factor_norm mean_error key_image_error
    image_length G G1 Hfn Me
    (fun l Hl1 => Hy l ltac:(lia)) Hz) as Zl.
  (* The computed distance. *)
  assert (R0 : 0 <= radius) by (eapply Rle_trans; [apply norm_nonneg | exact HR]).
  pose proof (norm_nonneg d (y j)) as y0. pose proof (norm_nonneg d z) as z0.
  pose proof (norm_nonneg d (fun a => y j a - z a)) as v0. fold v in v0.
  assert (kie0 : 0 <= key_image_error) by (eapply Rle_trans; [apply norm_nonneg | exact Hz]).
  assert (fm0 : 0 <= factor_norm * mean_error).
  { apply Rmult_le_pos; [eapply Rle_trans; [apply frobenius_nonneg | exact Hfn] |].
    eapply Rle_trans; [apply norm_nonneg | exact Hme]. }
  set (F := 2 * (image_length + 2 * key_image_error + factor_norm * mean_error)).
  assert (V : v <= F) by (pose proof (norm_minus d (y j) z); unfold v, F; lra).
  assert (du : 0 <= INR d * u) by (apply Rmult_le_pos; auto).
  assert (D2 : INR (d + 2) = INR d + 2) by (rewrite plus_INR; simpl; lra).
  pose proof (gamma_at_least (d + 2) u Hu ltac:(lra)) as GL.
  assert (tiny0 : 0 <= INR d * tiny) by (apply Rmult_le_pos; lra).
  set (Q := gamma (d + 2) u * F ^ 2 + 4 * INR d * tiny).
  assert (F0 : 0 <= F ^ 2) by apply pow2_ge_0.
  assert (QF : 2 * u * F ^ 2 <= Q).
  { unfold Q. assert (2 * u * F ^ 2 <= gamma (d + 2) u * F ^ 2)
      by (apply Rmult_le_compat_r; [auto | rewrite D2 in GL; lra]). lra. }
  assert (Q0 : 0 <= Q).
  { eapply Rle_trans; [| exact QF]. apply Rmult_le_pos; lra. }
  assert (Sq : Rabs (s - v ^ 2) <= Q).
  { eapply Rle_trans; [apply (square_error d u lost tiny (y j) z s); auto; lra |].
    unfold Q. apply Rplus_le_compat_r, Rmult_le_compat_l; [rewrite D2 in GL; lra |].
    apply pow_incr. unfold F. lra. }
  pose proof (root_error u v s Q F Hu Hu1 v0 V Q0 QF Sq) as Root.
  pose proof (share_kept u lost radius s (b j) out Hu Hu1 Hlost R0 Hout) as Kept.
  assert (RV : radius * v <= radius * sqrt (Rmax s 0) * (1 - 5 * u) + radius * (33 / 32 * sqrt Q)).
  { replace (radius * sqrt (Rmax s 0) * (1 - 5 * u) + radius * (33 / 32 * sqrt Q))
      with (radius * (sqrt (Rmax s 0) * (1 - 5 * u) + 33 / 32 * sqrt Q)) by ring.
    apply Rmult_le_compat_l; auto. }
  (* Adding up, and the threshold. *)
  destruct (Below j Hj Hbj) as [Bj1 Bj2].
  assert (far0 : 0 <= far) by (eapply Rle_trans; [apply Rabs_pos | exact XX]).
  assert (Bj : u * Rabs (b j) <= 3 * u * far).
  { replace (3 * u * far) with (u * (3 * far)) by ring. apply Rmult_le_compat_l; [auto |].
    replace (b j) with (b j - (x j - X) + (x j - X)) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    assert (u * Rabs (x j - X) <= / 2 * Rabs (x j - X))
      by (apply Rmult_le_compat_r; [apply Rabs_pos | lra]). lra. }
  assert (A0 : ln (share / INR m) = - ln (INR m / share)).
  { replace (INR m / share) with (/ (share / INR m)) by (field; lra).
    rewrite ln_Rinv; [ring |]. apply Rdiv_lt_0_compat; lra. }
  assert (A1 : 0 <= ln (INR m / share)).
  { rewrite <- ln_1. apply ln_le_ln; [lra |]. apply le_div; lra. }
  assert (N0 : 0 <= ln (INR m)) by (rewrite <- ln_1; apply ln_le_ln; lra).
  assert (N1 : ln (INR n) <= ln (INR m)) by (apply ln_le_ln; lra).
  assert (Raised : INR n * lightest <= INR m * lightest) by (apply Rmult_le_compat_r; lra).
  assert (Th : threshold - ln total - ln (share / INR m) + slack
    <= 8 * u * (ln (INR m) + ln (INR m / share) + 5)).
  { apply Rabs_bounds in Hth. destruct Hth as [_ Hth].
    assert (Rabs (ln (share / INR m)) = ln (INR m / share)) by (rewrite A0, Rabs_Ropp, Rabs_right;
      lra).
    assert (8 * u * (Rabs (ln total) + Rabs (ln (share / INR m)) + slack)
      <= 8 * u * (ln (INR m) + ln (INR m / share) + 5)) by (apply Rmult_le_compat_l; lra).
    lra. }
  assert (Last : 8 * u * (ln (INR m) + ln (INR m / share) + 5) + 2 * lost
    <= 16 * u * (8 + ln (INR m) + ln (INR m / share))).
  { assert (0 <= u * (ln (INR m) + ln (INR m / share))) by (apply Rmult_le_pos; lra). lra. }
  assert (Gk : gamma k u <= gamma (S k) u).
  { apply gamma_monotone; auto. rewrite mult_INR in Hk. simpl (INR 2) in Hk.
    assert (0 <= INR (S k) * u) by (apply Rmult_le_pos; [apply pos_INR | auto]). lra. }
  rewrite Ta in J. apply Rabs_bounds in Bj2.
  assert (Form : b_share_slack d (S k) m u exp_error tiny lightest reach logit_error step_length
    radius defect key_length mean_error factor_norm key_image_error image_length share
    = 2 * logit_error + 7 * u * far + E + gamma (S k) u + 2 * INR m * lightest + mean_error *
      step_length
      + defect * step_length * (2 * key_length + mean_error) + radius * (2 * key_image_error + 33
        / 32 * sqrt Q)
      + 16 * u * (8 + ln (INR m) + ln (INR m / share))).
  { assert (SQ : Q = 4 * tiny * INR d + (u * (2 * image_length + 4 * key_image_error + 2 *
    factor_norm * mean_error) ^ 2 * (2 + INR d))
      / (1 - u * (2 + INR d))).
    { unfold Q, F, gamma. rewrite D2. field. rewrite D2 in Hd. lra. }
    unfold b_share_slack. rewrite <- SQ. unfold E, gamma, far. field. split; [| lra].
    rewrite mult_INR in Hk. simpl (INR 2) in Hk.
    assert (0 <= INR (S k) * u) by (apply Rmult_le_pos; [apply pos_INR | auto]). lra. }
  rewrite Form. clear Form.
  lra.
Qed.
