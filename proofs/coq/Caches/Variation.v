(** Total variation of weights of which every logit is known within c (claims Q.tv, Q.tv_light,
    Q.tv_closed, Q.witcert).

    X = sum_S p exp c and Y = sum_(not S) p exp (- c): the share of S is at most X / (X + Y).
    Relaxed: a share of at least t makes sum_S p h at least t L, h = (1 - t) exp c + t exp (- c) and L
    the sum of p exp (- c); for any multiplier that bounds the weight of S from below (weak duality).
    Closed: with A = sum p exp c, z the weight of the rest and Z = A - X, Cauchy and Schwarz give
    z^2 <= Y Z, so that the share is at most P / (P + z^2), P = X Z.  P <= A^2/4 gives the bound for
    every A.  For A <= 2 there are three regions: z above A/2, where X <= A - z gives P <= z (A - z);
    z below 1 - A/2, where X >= 1 - z gives P <= (1 - z) (A - 1 + z); and P <= A^2/4 between, where a
    polynomial in A and z has only nonnegative coefficients in Bernstein's basis. *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Caches Require Import Box.
Open Scope R_scope.

Lemma light_form A : A <> 0 -> b_variation_light A = 1 - / A.
Proof. intros. unfold b_variation_light. field. auto. Qed.

Lemma witcert_form A : b_variation_witcert A = A ^ 2 / 2 - 1 / 2.
Proof. unfold b_variation_witcert. field. Qed.

Definition amplification (n : nat) (s c : nat -> R) : R := fsum n (heavy n s c).

Lemma softmax_mass n s S : (0 < n)%nat -> fsum n (on S (softmax n s)) + fsum n (off S (softmax n s)) = 1.
Proof. intros Hn. rewrite <- fsum_split. now apply known_weights. Qed.

Lemma on_le n S f g : (forall i, (i < n)%nat -> f i <= g i) -> fsum n (on S f) <= fsum n (on S g).
Proof. intros H. apply fsum_le. intros i Hi. unfold on. destruct (S i); [auto | lra]. Qed.

Lemma off_le n S f g : (forall i, (i < n)%nat -> f i <= g i) ->
  fsum n (off S f) <= fsum n (off S g).
Proof. intros H. apply fsum_le. intros i Hi. unfold off. destruct (S i); [lra | auto]. Qed.

(** * The share of a set *)

Lemma share_weights n s s' S : (0 < n)%nat ->
  mean n (softmax n s) (factor s' s) * mass n S (softmax n s')
    = fsum n (on S (fun i => softmax n s i * factor s' s i)).
Proof.
  intros Hn. unfold mass. rewrite <- fsum_scale. apply fsum_ext. intros i _. unfold on.
  destruct (S i); [now apply moved_weight | ring].
Qed.

(** share (X + Y) <= X *)
Lemma share_cross n s s' c S : (0 < n)%nat -> near n s' s c ->
  mass n S (softmax n s') * fsum n (off S (light n s c))
    <= (1 - mass n S (softmax n s')) * fsum n (on S (heavy n s c)).
Proof.
  intros Hn Hs. pose proof (moved_positive n s s' Hn) as HW.
  pose proof (share_weights n s s' S Hn) as E.
  set (W := mean n (softmax n s) (factor s' s)) in *. set (q := mass n S (softmax n s')) in *.
  assert (T : W = fsum n (on S (fun i => softmax n s i * factor s' s i))
                  + fsum n (off S (fun i => softmax n s i * factor s' s i)))
    by (unfold W, mean, dot; apply fsum_split).
  assert (U : fsum n (on S (fun i => softmax n s i * factor s' s i))
              <= fsum n (on S (heavy n s c))).
  { apply on_le. intros i Hi. apply Rmult_le_compat_l; [left; now apply softmax_pos |].
    now apply (factor_range n s' s c). }
  assert (V : fsum n (off S (light n s c))
              <= fsum n (off S (fun i => softmax n s i * factor s' s i))).
  { apply off_le. intros i Hi. apply Rmult_le_compat_l; [left; now apply softmax_pos |].
    now apply (factor_range n s' s c). }
  assert (N : 0 <= fsum n (on S (fun i => softmax n s i * factor s' s i))).
  { apply fsum_on_nonneg. intros i Hi. left.
    apply Rmult_lt_0_compat; [now apply softmax_pos | apply exp_pos]. }
  assert (M : 0 <= fsum n (off S (fun i => softmax n s i * factor s' s i))).
  { apply fsum_off_nonneg. intros i Hi. left.
    apply Rmult_lt_0_compat; [now apply softmax_pos | apply exp_pos]. }
  set (x := fsum n (on S (fun i => softmax n s i * factor s' s i))) in *.
  set (y := fsum n (off S (fun i => softmax n s i * factor s' s i))) in *.
  set (X := fsum n (on S (heavy n s c))) in *. set (Y := fsum n (off S (light n s c))) in *.
  apply Rmult_le_reg_l with W; auto.
  replace (W * (q * Y)) with (x * Y) by (rewrite <- E; ring).
  replace (W * ((1 - q) * X)) with ((W - W * q) * X) by ring. rewrite E, T.
  apply Rle_trans with (x * y); [apply Rmult_le_compat_l; lra |].
  replace (x + y - x) with y by ring. rewrite Rmult_comm. apply Rmult_le_compat_l; lra.
Qed.

Lemma share_range n s' S : (0 < n)%nat -> 0 <= mass n S (softmax n s') <= 1.
Proof.
  intros Hn. pose proof (softmax_mass n s' S Hn) as T. unfold mass.
  assert (0 <= fsum n (on S (softmax n s')))
    by (apply fsum_on_nonneg; intros; left; now apply softmax_pos).
  assert (0 <= fsum n (off S (softmax n s')))
    by (apply fsum_off_nonneg; intros; left; now apply softmax_pos). lra.
Qed.

(** * Q.tv *)

(** What the weight of a set is at least whose share is at least t. *)
Definition dual (n : nat) (s c : nat -> R) (t multiplier : R) : R :=
  multiplier * (t * fsum n (light n s c))
  - fsum n (fun i => Rmax 0 (multiplier * ((1 - t) * heavy n s c i + t * light n s c i)
                             - softmax n s i)).

Theorem q_tv n s s' c S t t' multiplier : (0 < n)%nat -> near n s' s c -> 0 <= multiplier ->
  t <= mass n S (softmax n s') <= t' ->
  mass n S (softmax n s') - mass n S (softmax n s)
    <= b_variation_relaxed t' (dual n s c t multiplier).
Proof.
  intros Hn Hs Hm Ht. unfold b_variation_relaxed.
  cut (dual n s c t multiplier <= mass n S (softmax n s)); [lra |].
  pose proof (share_cross n s s' c S Hn Hs) as C. pose proof (share_range n s' S Hn) as R.
  set (q := mass n S (softmax n s')) in *.
  assert (HX : 0 <= fsum n (on S (heavy n s c))).
  { apply fsum_on_nonneg. intros i Hi. left.
    apply Rmult_lt_0_compat; [now apply softmax_pos | apply exp_pos]. }
  assert (HY : 0 <= fsum n (off S (light n s c))).
  { apply fsum_off_nonneg. intros i Hi. left.
    apply Rmult_lt_0_compat; [now apply softmax_pos | apply exp_pos]. }
  assert (G : t * fsum n (light n s c)
              <= fsum n (on S (fun i => (1 - t) * heavy n s c i + t * light n s c i))).
  { rewrite (fsum_split n S (light n s c)).
    replace (fsum n (on S (fun i => (1 - t) * heavy n s c i + t * light n s c i)))
      with ((1 - t) * fsum n (on S (heavy n s c)) + t * fsum n (on S (light n s c))).
    - nra.
    - rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros i _. unfold on.
      destruct (S i); ring. }
  set (h := fun i => (1 - t) * heavy n s c i + t * light n s c i) in *.
  assert (K : fsum n (on S (fun i => multiplier * h i - softmax n s i))
              <= fsum n (fun i => Rmax 0 (multiplier * h i - softmax n s i))).
  { apply fsum_le. intros i _. unfold on.
    destruct (S i); [apply Rmax_r | apply Rmax_l]. }
  assert (E : fsum n (on S (fun i => multiplier * h i - softmax n s i))
              = multiplier * fsum n (on S h) - mass n S (softmax n s)).
  { unfold mass. rewrite <- fsum_scale, <- fsum_minus. apply fsum_ext. intros i _. unfold on.
    destruct (S i); ring. }
  assert (multiplier * (t * fsum n (light n s c)) <= multiplier * fsum n (on S h))
    by (apply Rmult_le_compat_l; auto).
  change (dual n s c t multiplier) with (multiplier * (t * fsum n (light n s c))
    - fsum n (fun i => Rmax 0 (multiplier * h i - softmax n s i))).
  lra.
Qed.

(** Some level of any that reach from 0 to 1 serves every set. *)
Theorem q_tv_levels n s s' c S levels multipliers count bound : (0 < n)%nat -> near n s' s c ->
  levels 0%nat <= 0 -> 1 <= levels count ->
  (forall i, (i < count)%nat -> 0 <= multipliers i) ->
  (forall i, (i < count)%nat ->
    b_variation_relaxed (levels (Datatypes.S i)) (dual n s c (levels i) (multipliers i)) <= bound) ->
  mass n S (softmax n s') - mass n S (softmax n s) <= bound.
Proof.
  intros Hn Hs H0 H1 Hm Hb. pose proof (share_range n s' S Hn) as R.
  assert (F : forall k, (k <= count)%nat -> mass n S (softmax n s') <= levels k ->
            levels 0%nat <= mass n S (softmax n s') -> k <> 0%nat ->
            exists i, (i < count)%nat /\
              levels i <= mass n S (softmax n s') <= levels (Datatypes.S i)).
  { induction k as [| k IH]; intros Hk Hu Hl N; [congruence |].
    destruct (Rle_dec (levels k) (mass n S (softmax n s'))).
    - exists k. split; [lia | lra].
    - destruct k as [| k]; [lra |]. apply IH; try lia; try lra. }
  destruct count as [| count]; [lra |].
  destruct (F (Datatypes.S count)) as (i & Hi & L); try lia; try lra.
  eapply Rle_trans; [apply (q_tv n s s' c S (levels i) (levels (Datatypes.S i)) (multipliers i)); auto
    | auto].
Qed.

(** * Closed forms *)

(** The weight z of the rest: z^2 <= Y Z, by Cauchy and Schwarz. *)
Lemma rest_square n s c S : (0 < n)%nat -> (forall i, (i < n)%nat -> 0 <= c i) ->
  fsum n (off S (softmax n s)) ^ 2
    <= fsum n (off S (light n s c)) * fsum n (off S (heavy n s c)).
Proof.
  intros Hn Hc. set (z := fsum n (off S (softmax n s))).
  set (Y := fsum n (off S (light n s c))). set (Z := fsum n (off S (heavy n s c))).
  assert (Hz : 0 <= z) by (apply fsum_off_nonneg; intros; left; now apply softmax_pos).
  assert (HZ : z <= Z).
  { apply off_le. intros i Hi. unfold heavy. pose proof (softmax_pos n s i Hn).
    pose proof (exp_ge_1 (c i) (Hc i Hi)). nra. }
  assert (Q : forall m, 0 <= Y - 2 * m * z + m ^ 2 * Z).
  { intros m. unfold Y, z, Z. rewrite <- !fsum_scale, <- fsum_minus, <- fsum_plus.
    apply fsum_nonneg. intros i Hi. unfold off. destruct (S i); [lra |].
    unfold light, heavy. set (a := exp (c i)).
    assert (A : exp (- c i) * a = 1) by apply exp_opp_mult.
    assert (0 < a) by apply exp_pos. assert (0 < exp (- c i)) by apply exp_pos.
    pose proof (softmax_pos n s i Hn).
    replace (softmax n s i * exp (- c i) - 2 * m * softmax n s i + m ^ 2 * (softmax n s i * a))
      with (softmax n s i * (exp (- c i) * (1 - m * a) ^ 2
            + (1 - exp (- c i) * a) * (m ^ 2 * a - 2 * m))) by ring.
    rewrite A. apply Rmult_le_pos; [lra |].
    assert (0 <= exp (- c i) * (1 - m * a) ^ 2) by (apply Rmult_le_pos; [lra | apply pow2_ge_0]).
    lra. }
  destruct (Rle_lt_or_eq_dec 0 z Hz) as [P | P].
  - specialize (Q (z / Z)).
    replace (Y - 2 * (z / Z) * z + (z / Z) ^ 2 * Z) with ((Y * Z - z ^ 2) / Z) in Q by (field; lra).
    apply Rmult_le_compat_r with (r := Z) in Q; [| lra].
    unfold Rdiv in Q. rewrite Rmult_assoc, Rinv_l in Q by lra. lra.
  - rewrite <- P. pose proof (Q 0) as Q0.
    replace (Y - 2 * 0 * z + 0 ^ 2 * Z) with Y in Q0 by ring. nra.
Qed.

(** With P = X Z, the share is at most P / (P + z^2). *)
Lemma share_product n s s' c S : (0 < n)%nat -> near n s' s c ->
  (forall i, (i < n)%nat -> 0 <= c i) ->
  let q := mass n S (softmax n s') in
  let X := fsum n (on S (heavy n s c)) in let Z := fsum n (off S (heavy n s c)) in
  let z := fsum n (off S (softmax n s)) in
  q * z ^ 2 <= (1 - q) * (X * Z) /\ z <= Z /\ 1 - z <= X /\ 0 <= z <= 1 /\ 0 <= q <= 1
  /\ amplification n s c = X + Z /\ mass n S (softmax n s) = 1 - z.
Proof.
  intros Hn Hs Hc q X Z z. pose proof (share_cross n s s' c S Hn Hs) as C.
  pose proof (rest_square n s c S Hn Hc) as Q. pose proof (share_range n s' S Hn) as R.
  pose proof (softmax_mass n s S Hn) as T.
  fold q X in C. fold q in R. fold z Z in Q. fold z in T.
  assert (Hz : 0 <= z) by (apply fsum_off_nonneg; intros; left; now apply softmax_pos).
  assert (Ho : 0 <= fsum n (on S (softmax n s)))
    by (apply fsum_on_nonneg; intros; left; now apply softmax_pos).
  assert (G : forall i, (i < n)%nat -> softmax n s i <= heavy n s c i).
  { intros i Hi. unfold heavy. pose proof (softmax_pos n s i Hn).
    pose proof (exp_ge_1 (c i) (Hc i Hi)). nra. }
  assert (HZ : z <= Z) by (apply off_le; auto).
  assert (HX : 1 - z <= X).
  { apply Rle_trans with (fsum n (on S (softmax n s))); [lra | apply on_le; auto]. }
  repeat split; try lra.
  - set (Y := fsum n (off S (light n s c))) in *.
    apply Rle_trans with (q * (Y * Z)); [apply Rmult_le_compat_l; lra |].
    replace (q * (Y * Z)) with (q * Y * Z) by ring.
    replace ((1 - q) * (X * Z)) with ((1 - q) * X * Z) by ring.
    apply Rmult_le_compat_r; lra.
  - unfold amplification, X, Z. apply fsum_split.
  - unfold mass. lra.
Qed.

(** ** Every A *)

Lemma closed_core q P z A : 0 <= z <= 1 -> 0 <= q <= 1 -> 1 <= A -> 0 <= P <= A ^ 2 / 4 ->
  q * z ^ 2 <= (1 - q) * P -> q - (1 - z) <= A ^ 2 / (4 + A ^ 2).
Proof.
  intros Hz Hq HA HP H. apply le_div; [nra |].
  set (B := A ^ 2 / 4) in *. replace (A ^ 2) with (4 * B) by (unfold B; field).
  assert (HB : q * z ^ 2 <= (1 - q) * B) by nra.
  assert (0 < B) by (unfold B; nra).
  (* (B + z^2) (B - (q - 1 + z) (1 + B)) >= (1 - z) (B^2 + B z^2 + z^2 - B z) >= 0 *)
  assert (S1 : q * (B + z ^ 2) <= B) by lra.
  assert (D : 0 <= (B + z ^ 2) * (B - (q - 1 + z) * (1 + B))).
  { replace ((B + z ^ 2) * (B - (q - 1 + z) * (1 + B)))
      with ((B - q * (B + z ^ 2)) * (1 + B) + (1 - z) * (B ^ 2 + B * z ^ 2 + z ^ 2 - B * z)) by ring.
    assert (0 <= (B - q * (B + z ^ 2)) * (1 + B)) by (apply Rmult_le_pos; lra).
    assert (0 <= B ^ 2 + B * z ^ 2 + z ^ 2 - B * z).
    { pose proof (pow2_ge_0 (B - z / 2)). pose proof (pow2_ge_0 z).
      assert (0 <= B * z ^ 2) by (apply Rmult_le_pos; lra). lra. }
    assert (0 <= (1 - z) * (B ^ 2 + B * z ^ 2 + z ^ 2 - B * z)) by (apply Rmult_le_pos; lra). lra. }
  assert (0 < B + z ^ 2) by nra.
  assert (0 <= B - (q - 1 + z) * (1 + B)).
  { apply Rmult_le_reg_l with (B + z ^ 2); auto. lra. }
  lra.
Qed.

Theorem q_tv_closed n s s' c S : (0 < n)%nat -> near n s' s c ->
  (forall i, (i < n)%nat -> 0 <= c i) ->
  mass n S (softmax n s') - mass n S (softmax n s) <= b_variation_closed (amplification n s c).
Proof.
  intros Hn Hs Hc. destruct (share_product n s s' c S Hn Hs Hc) as (H & HZ & HX & Hz & Hq & EA & EM).
  rewrite EM, EA. unfold b_variation_closed.
  set (X := fsum n (on S (heavy n s c))) in *. set (Z := fsum n (off S (heavy n s c))) in *.
  apply (closed_core _ (X * Z)); auto; try lra.
  split; [apply Rmult_le_pos; lra |]. pose proof (pow2_ge_0 (X - Z)). lra.
Qed.

(** ** A <= 2 *)

(** The middle region, z = (1 - a)/2 + a x with A = 1 + a. *)
Lemma light_middle a x : 0 <= a <= 1 -> 0 <= x <= 1 ->
  let A := 1 + a in let z := (1 - a) / 2 + a * x in
  A ^ 2 / 4 * (A * z - A + 1) <= z ^ 2 * (2 * A - A * z - 1).
Proof.
  intros Ha Hx A z. set (b := 1 - a). set (y := 1 - x).
  assert (0 <= b) by (unfold b; lra). assert (0 <= y) by (unfold y; lra).
  apply Rminus_le. apply Rge_le, Rminus_ge. apply Rle_ge.
  replace (0 - (A ^ 2 / 4 * (A * z - A + 1) - z ^ 2 * (2 * A - A * z - 1))) with
    (a * (b ^ 3 * (1 / 4 * (y + x) ^ 3)
      + 3 * a * b ^ 2 * (1 / 6 * y ^ 3 + 5 / 6 * y ^ 2 * x + y * x ^ 2 + 1 / 3 * x ^ 3)
      + 3 * a ^ 2 * b * (1 / 3 * y ^ 3 + y ^ 2 * x + 4 / 3 * y * x ^ 2 + 1 / 3 * x ^ 3)
      + a ^ 3 * (y ^ 3 + y ^ 2 * x + 2 * y * x ^ 2)))
    by (unfold A, z, b, y; field).
  clearbody b y. clear A z.
  repeat first [apply Rmult_le_pos | apply Rplus_le_le_0_compat | apply pow_le]; lra.
Qed.

(** In each region P (A z - A + 1) <= z^2 (2 A - A z - 1). *)
Lemma light_regions X Z z : 0 <= z <= 1 -> z <= Z -> 1 - z <= X -> X + Z <= 2 ->
  0 < (X + Z) * z - (X + Z) + 1 ->
  X * Z * ((X + Z) * z - (X + Z) + 1) <= z ^ 2 * (2 * (X + Z) - (X + Z) * z - 1).
Proof.
  intros Hz HZ HX HA HK. set (A := X + Z) in *.
  assert (A1 : 1 <= A) by (unfold A; lra).
  set (k := A * z - A + 1) in *.
  assert (EX : X * Z = X * (A - X)) by (unfold A; ring).
  destruct (Rle_dec (A / 2) z) as [Hi | Hi].
  - (* P <= z (A - z) *)
    assert (HP : X * Z <= z * (A - z)).
    { rewrite EX. assert (0 <= (z - X) * (A - z - X)) by (apply Rmult_le_pos; unfold A in *; lra).
      lra. }
    apply Rle_trans with (z * (A - z) * k); [apply Rmult_le_compat_r; lra |].
    assert (0 <= z * (A * ((A - 1) * (1 - z)))).
    { repeat apply Rmult_le_pos; lra. }
    unfold k. nra.
  - destruct (Rle_dec (1 - A / 2) z) as [Hm | Hm].
    + (* P <= A^2/4 *)
      assert (HP : X * Z <= A ^ 2 / 4) by (unfold A; pose proof (pow2_ge_0 (X - Z)); lra).
      apply Rle_trans with (A ^ 2 / 4 * k); [apply Rmult_le_compat_r; lra |].
      destruct (Rle_lt_or_eq_dec 1 A A1) as [P | P].
      * pose proof (light_middle (A - 1) ((z - (1 - A / 2)) / (A - 1))) as L. cbv zeta in L.
        replace (1 + (A - 1)) with A in L by ring.
        replace ((1 - (A - 1)) / 2 + (A - 1) * ((z - (1 - A / 2)) / (A - 1))) with z in L
          by (field; lra).
        apply L; [lra |]. split; [apply le_div; lra | apply div_le; lra].
      * assert (z = 1 / 2) by lra. unfold k. rewrite <- P. subst z. lra.
    + (* P <= (1 - z) (A - 1 + z) *)
      assert (HP : X * Z <= (1 - z) * (A - 1 + z)).
      { rewrite EX. assert (0 <= (X - (1 - z)) * (X - (A - (1 - z)))) by (apply Rmult_le_pos; lra).
        lra. }
      apply Rle_trans with ((1 - z) * (A - 1 + z) * k); [apply Rmult_le_compat_r; lra |].
      (* equal at A = 1, and in A the right side grows faster *)
      assert (0 <= (A - 1) * (z ^ 2 + (1 - z) ^ 2 * (A - 1))).
      { assert (0 <= (1 - z) ^ 2 * (A - 1)) by (apply Rmult_le_pos; [apply pow2_ge_0 | lra]).
        apply Rmult_le_pos; [lra |]. pose proof (pow2_ge_0 z). lra. }
      unfold k. lra.
Qed.

Theorem q_tv_light n s s' c S : (0 < n)%nat -> near n s' s c ->
  (forall i, (i < n)%nat -> 0 <= c i) -> amplification n s c <= 2 ->
  mass n S (softmax n s') - mass n S (softmax n s) <= b_variation_light (amplification n s c).
Proof.
  intros Hn Hs Hc H2. destruct (share_product n s s' c S Hn Hs Hc) as (H & HZ & HX & Hz & Hq & EA & EM).
  rewrite EM. rewrite EA in *. rewrite light_form by lra.
  set (X := fsum n (on S (heavy n s c))) in *. set (Z := fsum n (off S (heavy n s c))) in *.
  set (q := mass n S (softmax n s')) in *. set (z := fsum n (off S (softmax n s))) in *.
  assert (A0 : 1 <= X + Z) by lra.
  apply Rmult_le_reg_l with (X + Z); [lra |].
  replace ((X + Z) * (1 - / (X + Z))) with (X + Z - 1) by (field; lra).
  destruct (Rle_dec ((X + Z) * z - (X + Z) + 1) 0) as [L | L]; [nra |]. apply Rnot_le_lt in L.
  pose proof (light_regions X Z z Hz HZ HX H2 L) as G. set (A := X + Z) in *.
  assert (P0 : 0 <= X * Z) by (apply Rmult_le_pos; lra).
  (* q (P + z^2) <= P, and (P + z^2) (A - 1 - A (q - 1 + z)) >= z^2 A - (P + z^2) (A z - A + 1) *)
  assert (z0 : 0 < z) by nra.
  assert (0 < X * Z + z ^ 2) by nra.
  apply Rmult_le_reg_l with (X * Z + z ^ 2); auto.
  assert (Q : A * (q * (X * Z + z ^ 2)) <= A * (X * Z)) by (apply Rmult_le_compat_l; lra).
  lra.
Qed.

(** ** Sharp given A: two keys, of which the first weighs d *)

Definition pair (d : R) : nat -> R := fun i => ln (two_keys d (1 - d) i).

(** The first logit is moved by c and the second by - c'. *)
Definition apart (d c c' : R) : nat -> R := fun i => pair d i + two_keys c (- c') i.

Lemma pair_softmax d i : 0 < d < 1 -> (i < 2)%nat -> softmax 2 (pair d) i = two_keys d (1 - d) i.
Proof.
  intros Hd Hi. unfold softmax, normalize, pair, two_keys, first.
  destruct i as [| [| i]]; [| | lia]; simpl; rewrite !exp_ln by lra; field; lra.
Qed.

Lemma apart_share d c c' : 0 < d < 1 ->
  mass 2 first (softmax 2 (apart d c c')) = d * exp c / (d * exp c + (1 - d) * exp (- c')).
Proof.
  intros Hd. unfold mass, on, softmax, normalize, apart, pair, two_keys, first. simpl.
  rewrite !exp_plus, !exp_ln by lra. rewrite !Rplus_0_l, Rplus_0_r. reflexivity.
Qed.

Lemma pair_amplification d c c' : 0 < d < 1 ->
  amplification 2 (pair d) (two_keys c c') = d * exp c + (1 - d) * exp c'.
Proof.
  intros Hd. unfold amplification, heavy, fsum. rewrite !pair_softmax by (auto; lia).
  unfold two_keys, first. simpl. ring.
Qed.

Lemma pair_share d : 0 < d < 1 -> mass 2 first (softmax 2 (pair d)) = d.
Proof.
  intros Hd. unfold mass, on, fsum, first. simpl. rewrite pair_softmax by (auto; lia).
  unfold two_keys, first. simpl. ring.
Qed.

Lemma apart_near d c c' : 0 <= c -> 0 <= c' -> near 2 (apart d c c') (pair d) (two_keys c c').
Proof.
  intros Hc Hc' i _. unfold apart.
  replace (pair d i + two_keys c (- c') i - pair d i) with (two_keys c (- c') i) by ring.
  unfold two_keys. destruct (first i).
  - rewrite Rabs_right; lra.
  - rewrite Rabs_Ropp, Rabs_right; lra.
Qed.

Lemma ln_from_one x : 1 <= x -> 0 <= ln x.
Proof.
  intros [H | <-]; [left; rewrite <- ln_1; apply ln_increasing; lra | rewrite ln_1; lra].
Qed.

Theorem q_tv_light_sharp A d : 1 <= A <= 2 -> 0 < d < 1 ->
  exists c c', 0 <= c /\ 0 <= c' /\ near 2 (apart d c c') (pair d) (two_keys c c') /\
  amplification 2 (pair d) (two_keys c c') = A /\
  b_variation_light A
    <= mass 2 first (softmax 2 (apart d c c')) - mass 2 first (softmax 2 (pair d)) + d.
Proof.
  intros HA Hd.
  assert (P : 1 <= (A - 1 + d) / d) by (apply le_div; lra).
  exists (ln ((A - 1 + d) / d)), 0.
  assert (C : 0 <= ln ((A - 1 + d) / d)) by now apply ln_from_one.
  split; [exact C | split; [lra | split; [apply apart_near; auto; lra | split]]].
  - rewrite pair_amplification, exp_ln, exp_0 by (auto; lra). field. lra.
  - rewrite apart_share, pair_share, exp_ln, Ropp_0, exp_0 by (auto; lra).
    rewrite light_form by lra.
    replace (d * ((A - 1 + d) / d)) with (A - 1 + d) by (field; lra).
    replace (A - 1 + d + (1 - d) * 1) with A by ring.
    assert (0 <= d / A) by (unfold Rdiv; apply Rmult_le_pos; [lra | left; apply Rinv_0_lt_compat; lra]).
    replace ((A - 1 + d) / A) with (1 - / A + d / A) by (field; lra). lra.
Qed.

Theorem q_tv_closed_sharp A d : 2 <= A -> 0 < d < 1 ->
  exists c c', 0 <= c /\ 0 <= c' /\ near 2 (apart d c c') (pair d) (two_keys c c') /\
  amplification 2 (pair d) (two_keys c c') = A /\
  b_variation_closed A
    <= mass 2 first (softmax 2 (apart d c c')) - mass 2 first (softmax 2 (pair d)) + d.
Proof.
  intros HA Hd.
  assert (P : 1 <= A / (2 * d)) by (apply le_div; lra).
  assert (P' : 1 <= A / (2 * (1 - d))) by (apply le_div; lra).
  exists (ln (A / (2 * d))), (ln (A / (2 * (1 - d)))).
  pose proof (ln_from_one _ P) as C. pose proof (ln_from_one _ P') as C'.
  split; [exact C | split; [exact C' | split; [now apply apart_near | split]]].
  - rewrite pair_amplification, !exp_ln by (auto; lra). field. lra.
  - rewrite apart_share, pair_share, exp_Ropp, !exp_ln by (auto; lra).
    unfold b_variation_closed.
    replace (d * (A / (2 * d))) with (A / 2) by (field; lra).
    replace (/ (A / (2 * (1 - d)))) with (2 * (1 - d) / A) by (field; lra).
    replace (A / 2 / (A / 2 + (1 - d) * (2 * (1 - d) / A))) with (A ^ 2 / (A ^ 2 + 4 * (1 - d) ^ 2))
      by (field; split; [lra | nra]).
    assert (0 <= A ^ 2) by apply pow2_ge_0. assert (4 <= A ^ 2) by nra.
    assert (0 <= (1 - d) ^ 2 <= 1) by nra.
    set (B := A ^ 2) in *. set (e := (1 - d) ^ 2) in *.
    assert (B / (4 + B) <= B / (B + 4 * e)); [| lra].
    unfold Rdiv. apply Rmult_le_compat_l; auto. apply Rinv_le_contravar; lra.
Qed.

(** * Q.witcert *)

Theorem q_tv_below A : 1 < A ->
  (A <= 2 -> b_variation_light A < b_variation_witcert A) /\
  (2 <= A -> b_variation_closed A < b_variation_witcert A).
Proof.
  intros HA. rewrite light_form, witcert_form by lra. unfold b_variation_closed. split; intros H.
  - apply Rmult_lt_reg_l with A; [lra |]. replace (A * (1 - / A)) with (A - 1) by (field; lra).
    assert (0 < (A - 1) * ((A - 1) * (A + 2))) by (repeat apply Rmult_lt_0_compat; lra). lra.
  - apply Rmult_lt_reg_r with (4 + A ^ 2); [nra |].
    replace (A ^ 2 / (4 + A ^ 2) * (4 + A ^ 2)) with (A ^ 2) by (field; nra).
    assert (4 <= A ^ 2) by nra. set (B := A ^ 2) in *. nra.
Qed.

Theorem q_witcert n s s' c S : (0 < n)%nat -> near n s' s c ->
  (forall i, (i < n)%nat -> 0 <= c i) ->
  mass n S (softmax n s') - mass n S (softmax n s) <= b_variation_witcert (amplification n s c).
Proof.
  intros Hn Hs Hc. destruct (share_product n s s' c S Hn Hs Hc) as (_ & HZ & HX & _ & _ & EA & _).
  assert (A1 : 1 <= amplification n s c) by lra.
  destruct (Rle_dec (amplification n s c) 2) as [H | H].
  - eapply Rle_trans; [now apply (q_tv_light n s s' c S) |].
    destruct A1 as [A1 | A1]; [left; now apply q_tv_below |].
    rewrite light_form, witcert_form, <- A1 by lra. lra.
  - eapply Rle_trans; [now apply (q_tv_closed n s s' c S) |]. left. apply q_tv_below; lra.
Qed.
