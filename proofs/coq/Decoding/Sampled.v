(** Attention on a sample of keys, each kept by chance and weighed by the inverse of its probability
    (claim I.sampled).

    Key j has a share p j of the weights and a distance y j of its value from what was fixed before; the
    seeds for which it is kept are those of [keep j], all seeds equally likely, each key with its own.

    Steps: (1) exp x <= 1 + x + x^2 / (2 (1 - b / 3)) for x <= b < 3 ([series]), so the mean of e^(l f) is
    bounded by the first two moments of f ([one_above]), and of independent keys the means multiply
    ([many_above]); (2) Markov's inequality with l = s / (1 + b s / 3), s = sqrt(2 L / V), gives Bernstein's
    ([bernstein]); (3) below, where no term is negative, exp (- x) <= 1 - x + x^2 / 2 does without b
    ([too_low]); (4) a kept key adds at most D / m, and its second moment is at most p y^2 / m, or p y^2 D^2 / m
    for the estimate ([key_second], [square_second]). *)

Require Import Reals Lra Lia List.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Derivatives Probability.
Import ListNotations.
Open Scope R_scope.

(** * A bound on exp *)

Lemma series_positive x : 0 <= x -> (2 - 2 * x / 3) * (exp x - 1 - x) <= x ^ 2.
Proof.
  intros Hx.
  assert (A : forall z, 0 <= z -> 0 <= 1 + exp z * (z - 1)).
  { intros z Hz. apply (nonneg_from_0 (fun x => 1 + exp x * (x - 1)) (fun x => exp x * x)); auto.
    - rewrite exp_0. ring.
    - intros y. auto_derive; [exact I | ring].
    - intros y Hy. apply Rmult_le_pos; [left; apply exp_pos | exact Hy]. }
  assert (B : forall z, 0 <= z -> 0 <= 2 * z + 2 / 3 * (exp z - 1 - z) - (2 - 2 * z / 3) * (exp z - 1)).
  { intros z Hz. apply (nonneg_from_0
      (fun z => 2 * z + 2 / 3 * (exp z - 1 - z) - (2 - 2 * z / 3) * (exp z - 1))
      (fun z => 2 / 3 * (1 + exp z * (z - 1)))); auto.
    - rewrite exp_0. field.
    - intros y. auto_derive; [exact I | field].
    - intros y Hy. specialize (A y Hy). lra. }
  assert (C : 0 <= x ^ 2 - (2 - 2 * x / 3) * (exp x - 1 - x)); [| lra].
  apply (nonneg_from_0 (fun x => x ^ 2 - (2 - 2 * x / 3) * (exp x - 1 - x))
    (fun z => 2 * z + 2 / 3 * (exp z - 1 - z) - (2 - 2 * z / 3) * (exp z - 1))); auto.
  - rewrite exp_0. field.
  - intros y. auto_derive; [exact I | field].
Qed.

Lemma series x b : x <= b -> 0 <= b < 3 -> exp x <= 1 + x + x ^ 2 / (2 * (1 - b / 3)).
Proof.
  intros Hx Hb. pose proof (pow2_ge_0 x) as Q. destruct (Rle_dec 0 x) as [P | P].
  - pose proof (series_positive x P) as S.
    assert (X : exp x - 1 - x <= x ^ 2 / (2 * (1 - b / 3))); [| lra].
    apply le_div; [lra |]. pose proof (exp_ineq1_le x).
    apply Rle_trans with ((2 - 2 * x / 3) * (exp x - 1 - x)); [| exact S].
    rewrite Rmult_comm. apply Rmult_le_compat_r; lra.
  - pose proof (exp_opp_quadratic (- x) ltac:(lra)) as E. rewrite Ropp_involutive in E.
    assert (X : x ^ 2 / 2 <= x ^ 2 / (2 * (1 - b / 3))).
    { unfold Rdiv. apply Rmult_le_compat_l; [exact Q |]. apply Rinv_le_contravar; lra. }
    replace ((- x) ^ 2) with (x ^ 2) in E by ring. lra.
Qed.

Section Sampled.

Variables (A : Type) (seeds : list A).
Hypothesis nonempty : seeds <> [].

(** * Sums of independent terms of given moments *)

(** Term j has the mean z j, and is that or at most b with a second moment of at most v j. *)
Definition bounded (f : nat -> A -> R) (z v : nat -> R) (b : R) (n : nat) : Prop :=
  forall j, (j < n)%nat -> expect seeds (f j) = z j /\ 0 <= v j /\
    ((forall a, In a seeds -> f j a = z j) \/
     ((forall a, In a seeds -> Rabs (f j a) <= b) /\ expect seeds (fun a => f j a ^ 2) <= v j)).

Lemma first_sum n (v : nat -> R) : fsum (S n) v = v O + fsum n (fun j => v (S j)).
Proof. induction n as [| n IH]; [simpl; ring |]. cbn [fsum] in *. rewrite IH. ring. Qed.

Lemma exp_const (c : R) (f : A -> R) l k : 0 <= k -> (forall a, In a seeds -> f a = c) ->
  expect seeds (fun a => exp (l * f a)) <= exp (l * c + k).
Proof.
  intros Hk H. rewrite (expect_ext seeds _ (fun _ => exp (l * c))) by (intros a Ha; now rewrite H).
  rewrite expect_const by exact nonempty. apply exp_le. lra.
Qed.

Lemma one_above (f : A -> R) z v b l : 0 <= l -> 0 <= b -> l * b < 3 -> 0 <= v -> expect seeds f = z ->
  ((forall a, In a seeds -> f a = z) \/
   ((forall a, In a seeds -> Rabs (f a) <= b) /\ expect seeds (fun a => f a ^ 2) <= v)) ->
  expect seeds (fun a => exp (l * f a)) <= exp (l * z + l ^ 2 * v / (2 * (1 - l * b / 3))).
Proof.
  intros Hl Hb Hlb Hv Hz C. assert (0 <= l * b) by (apply Rmult_le_pos; lra).
  set (k := 2 * (1 - l * b / 3)). assert (K : 0 < k) by (unfold k; lra).
  destruct C as [C | [C S]].
  - apply exp_const; [| exact C]. apply le_div; [exact K |]. pose proof (pow2_ge_0 l). nra.
  - apply Rle_trans with (expect seeds (fun a => (1 + l * f a) + l ^ 2 / k * f a ^ 2)).
    + apply expect_le; auto. intros a Ha. specialize (C a Ha). pose proof (Rle_abs (f a)).
      pose proof (series (l * f a) (l * b) ltac:(apply Rmult_le_compat_l; lra) ltac:(lra)) as X.
      fold k in X. replace (l ^ 2 / k * f a ^ 2) with ((l * f a) ^ 2 / k) by (field; lra). exact X.
    + rewrite !expect_plus, !expect_scale, expect_const, Hz by auto.
      pose proof (exp_ineq1_le (l * z + l ^ 2 * v / k)) as X.
      assert (l ^ 2 / k * expect seeds (fun a => f a ^ 2) <= l ^ 2 / k * v).
      { apply Rmult_le_compat_l; [| exact S]. apply le_div; [exact K |].
        rewrite Rmult_0_l. apply pow2_ge_0. }
      replace (l ^ 2 * v / k) with (l ^ 2 / k * v) in * by (field; lra). lra.
Qed.

Lemma one_below (f : A -> R) z v l : 0 <= l -> 0 <= v -> expect seeds f = z ->
  (forall a, In a seeds -> 0 <= f a) ->
  ((forall a, In a seeds -> f a = z) \/ expect seeds (fun a => f a ^ 2) <= v) ->
  expect seeds (fun a => exp (- l * f a)) <= exp (- l * z + l ^ 2 * v / 2).
Proof.
  intros Hl Hv Hz P C. destruct C as [C | S].
  - apply exp_const; [| exact C]. pose proof (pow2_ge_0 l). nra.
  - apply Rle_trans with (expect seeds (fun a => (1 + - l * f a) + l ^ 2 / 2 * f a ^ 2)).
    + apply expect_le; auto. intros a Ha.
      pose proof (exp_opp_quadratic (l * f a) ltac:(apply Rmult_le_pos; auto)) as X.
      replace (- l * f a) with (- (l * f a)) by ring.
      replace (l ^ 2 / 2 * f a ^ 2) with ((l * f a) ^ 2 / 2) by field. lra.
    + rewrite !expect_plus, !expect_scale, expect_const, Hz by auto.
      pose proof (exp_ineq1_le (- l * z + l ^ 2 * v / 2)) as X. pose proof (pow2_ge_0 l).
      assert (l ^ 2 / 2 * expect seeds (fun a => f a ^ 2) <= l ^ 2 / 2 * v)
        by (apply Rmult_le_compat_l; lra).
      replace (l ^ 2 * v / 2) with (l ^ 2 / 2 * v) in * by field. lra.
Qed.

(** Independent terms, of each of which the mean of e^(l f) is bounded. *)
Lemma many n (f : nat -> A -> R) l (e : nat -> R) :
  (forall j, (j < n)%nat -> expect seeds (fun a => exp (l * f j a)) <= exp (e j)) ->
  expect (tuples n seeds) (fun x => exp (l * total f x)) <= exp (fsum n e).
Proof.
  revert f e. induction n as [| n IH]; intros f e H.
  - rewrite expect_one. simpl. rewrite Rmult_0_r. lra.
  - rewrite expect_tuples by auto.
    apply Rle_trans with (expect seeds (fun a => exp (fsum n (fun j => e (S j))) * exp (l * f O a))).
    + apply expect_le; auto. intros a Ha. cbn [total].
      rewrite (expect_ext _ _ (fun x => exp (l * f O a) * exp (l * total (fun r => f (S r)) x))).
      * rewrite expect_scale, Rmult_comm. apply Rmult_le_compat_r; [left; apply exp_pos |].
        apply IH. intros j Hj. apply H. lia.
      * intros x _. rewrite <- exp_plus. f_equal. ring.
    + rewrite expect_scale, first_sum, Rplus_comm, exp_plus.
      apply Rmult_le_compat_l; [left; apply exp_pos | apply H; lia].
Qed.

Lemma bounded_opp f z v b n : bounded f z v b n ->
  bounded (fun r a => - f r a) (fun r => - z r) v b n.
Proof.
  intros H j Hj. destruct (H j Hj) as (M & V & C). split; [| split; [exact V |]].
  - rewrite (expect_ext _ _ (fun a => -1 * f j a)) by (intros; ring). rewrite expect_scale, M. ring.
  - destruct C as [C | [C S]]; [left | right].
    + intros a Ha. now rewrite C.
    + split; [intros a Ha; rewrite Rabs_Ropp; auto |].
      rewrite (expect_ext _ _ (fun a => f j a ^ 2)) by (intros; ring). exact S.
Qed.

(** Markov's inequality. *)
Lemma exponential_markov n (event : list A -> bool) (g : list A -> R) :
  (forall x, event x = true -> 0 <= g x) ->
  probability (tuples n seeds) event <= expect (tuples n seeds) (fun x => exp (g x)).
Proof.
  intros H. apply expect_le; [apply tuples_nonempty; auto |]. intros x _.
  pose proof (exp_pos (g x)). destruct (event x) eqn:E; [| lra]. pose proof (exp_ineq1_le (g x)).
  specialize (H x E). lra.
Qed.

Definition off_by (t z : R) (f : nat -> A -> R) (x : list A) : bool :=
  less_than t (Rabs (total f x - z)).

Lemma one_side n f z v b V L : bounded f z v b n -> 0 < b -> 0 < V -> fsum n v <= V -> 0 < L ->
  let s := sqrt (2 * L / V) in let l := s / (1 + b * s / 3) in
  expect (tuples n seeds)
    (fun x => exp (l * (total f x - fsum n z - (sqrt (2 * V * L) + b * L / 3)))) <= exp (- L).
Proof.
  intros H Hb HV Hv HL s l.
  assert (S0 : 0 < s) by (apply sqrt_lt_R0, Rdiv_lt_0_compat; lra).
  assert (S2 : s ^ 2 = 2 * L / V) by (apply pow2_sqrt; left; apply Rdiv_lt_0_compat; lra).
  assert (Bs : 0 < b * s) by (apply Rmult_lt_0_compat; lra).
  set (d := 1 + b * s / 3). assert (D : 1 < d) by (unfold d; lra).
  assert (L0 : 0 < l) by (unfold l; fold d; apply Rdiv_lt_0_compat; lra).
  assert (K : 1 - l * b / 3 = 1 / d) by (unfold l; fold d; unfold d; field; lra).
  assert (Lb : l * b < 3).
  { assert (0 < 1 / d) by (apply Rdiv_lt_0_compat; lra). lra. }
  assert (T : sqrt (2 * V * L) = V * s).
  { apply Rsqr_inj; [apply sqrt_pos | apply Rmult_le_pos; lra |].
    rewrite Rsqr_sqrt by (repeat apply Rmult_le_pos; lra).
    unfold Rsqr. replace (V * s * (V * s)) with (V ^ 2 * s ^ 2) by ring. rewrite S2. field. lra. }
  rewrite T.
  rewrite (expect_ext _ _ (fun x => exp (- (l * (fsum n z + (V * s + b * L / 3)))) * exp (l * total f x)))
    by (intros; rewrite <- exp_plus; f_equal; ring).
  rewrite expect_scale.
  eapply Rle_trans; [apply Rmult_le_compat_l; [left; apply exp_pos |] |].
  - apply (many n f l (fun j => l * z j + l ^ 2 * v j / (2 * (1 - l * b / 3)))).
    intros j Hj. destruct (H j Hj) as (M & V0 & C). apply one_above; auto; lra.
  - rewrite <- exp_plus. apply exp_le.
    assert (Q : fsum n (fun j => l * z j + l ^ 2 * v j / (2 * (1 - l * b / 3)))
                = l * fsum n z + l ^ 2 / (2 * (1 / d)) * fsum n v).
    { rewrite K, fsum_plus, fsum_scale. f_equal. rewrite <- fsum_scale. apply fsum_ext. intros j _.
      field. lra. }
    rewrite Q.
    assert (R1 : l ^ 2 / (2 * (1 / d)) * fsum n v <= l ^ 2 / (2 * (1 / d)) * V).
    { apply Rmult_le_compat_l; [| exact Hv]. apply le_div; [apply Rmult_lt_0_compat; [lra |];
      apply Rdiv_lt_0_compat; lra |]. rewrite Rmult_0_l. apply pow2_ge_0. }
    assert (E1 : l ^ 2 / (2 * (1 / d)) * V = L / d).
    { unfold l; fold d. replace ((s / d) ^ 2) with (s ^ 2 / d ^ 2) by (field; lra). rewrite S2.
      field. lra. }
    assert (E2 : l * (V * s + b * L / 3) = L + L / d).
    { unfold l; fold d. replace (s / d * (V * s + b * L / 3)) with ((V * s ^ 2 + L * (b * s / 3)) / d)
        by (field; lra). rewrite S2. replace (b * s / 3) with (d - 1) by (unfold d; ring). field. lra. }
    lra.
Qed.

(** Bernstein's inequality. *)
Theorem bernstein n f z v b V L : bounded f z v b n -> 0 < b -> 0 < V -> fsum n v <= V -> 0 < L ->
  probability (tuples n seeds) (off_by (sqrt (2 * V * L) + b * L / 3) (fsum n z) f)
    <= 2 * exp (- L).
Proof.
  intros H Hb HV Hv HL. set (t := sqrt (2 * V * L) + b * L / 3).
  set (l := sqrt (2 * L / V) / (1 + b * sqrt (2 * L / V) / 3)).
  assert (L0 : 0 <= l).
  { unfold l. pose proof (sqrt_pos (2 * L / V)).
    assert (0 <= b * sqrt (2 * L / V)) by (apply Rmult_le_pos; lra).
    apply le_div; lra. }
  pose proof (one_side n f z v b V L H Hb HV Hv HL) as One.
  pose proof (one_side n _ _ v b V L (bounded_opp f z v b n H) Hb HV Hv HL) as Other.
  cbv zeta in One, Other. fold l t in One, Other.
  rewrite (expect_ext _ _ (fun x => exp (l * (- total f x + fsum n z - t)))) in Other.
  2: { intros x _. rewrite total_opp. f_equal. f_equal.
       rewrite (fsum_ext n (fun r => - z r) (fun r => -1 * z r)) by (intros; ring).
       rewrite fsum_scale. ring. }
  eapply Rle_trans with (expect (tuples n seeds) (fun x =>
    exp (l * (total f x - fsum n z - t)) + exp (l * (- total f x + fsum n z - t)))).
  - apply expect_le; [apply tuples_nonempty; auto |]. intros x _.
    pose proof (exp_pos (l * (total f x - fsum n z - t))) as P1.
    pose proof (exp_pos (l * (- total f x + fsum n z - t))) as P2.
    unfold off_by, less_than. destruct (Rlt_dec t (Rabs (total f x - fsum n z))) as [Ht | _]; [| lra].
    unfold Rabs in Ht. destruct (Rcase_abs (total f x - fsum n z)).
    + pose proof (exp_ineq1_le (l * (- total f x + fsum n z - t))). nra.
    + pose proof (exp_ineq1_le (l * (total f x - fsum n z - t))). nra.
  - rewrite expect_plus. lra.
Qed.

Definition at_most (e : R) (f : nat -> A -> R) (x : list A) : bool :=
  if Rle_dec (total f x) e then true else false.

(** Terms that are not negative: how seldom their sum is too low. *)
Theorem too_low n f z v V L e :
  (forall j, (j < n)%nat -> expect seeds (f j) = z j /\ 0 <= v j /\ (forall a, In a seeds -> 0 <= f j a) /\
    ((forall a, In a seeds -> f j a = z j) \/ expect seeds (fun a => f j a ^ 2) <= v j)) ->
  0 < V -> fsum n v <= V -> 0 < L -> e <= fsum n z - sqrt (2 * V * L) ->
  probability (tuples n seeds) (at_most e f) <= exp (- L).
Proof.
  intros H HV Hv HL He. set (l := sqrt (2 * L / V)).
  assert (L0 : 0 < l) by (apply sqrt_lt_R0, Rdiv_lt_0_compat; lra).
  assert (L2 : l ^ 2 = 2 * L / V) by (apply pow2_sqrt; left; apply Rdiv_lt_0_compat; lra).
  assert (T : sqrt (2 * V * L) = V * l).
  { apply Rsqr_inj; [apply sqrt_pos | apply Rmult_le_pos; lra |].
    rewrite Rsqr_sqrt by (repeat apply Rmult_le_pos; lra).
    unfold Rsqr. replace (V * l * (V * l)) with (V ^ 2 * l ^ 2) by ring. rewrite L2. field. lra. }
  eapply Rle_trans; [apply (exponential_markov n _ (fun x => l * (e - total f x))) |].
  - intros x E. unfold at_most in E. destruct (Rle_dec (total f x) e); [| discriminate].
    apply Rmult_le_pos; lra.
  - rewrite (expect_ext _ _ (fun x => exp (l * e) * exp (- l * total f x)))
      by (intros; rewrite <- exp_plus; f_equal; ring).
    rewrite expect_scale.
    eapply Rle_trans; [apply Rmult_le_compat_l; [left; apply exp_pos |] |].
    + apply (many n f (- l) (fun j => - l * z j + l ^ 2 * v j / 2)).
      intros j Hj. destruct (H j Hj) as (M & V0 & P & C). apply one_below; auto; lra.
    + rewrite <- exp_plus. apply exp_le.
      assert (Q : fsum n (fun j => - l * z j + l ^ 2 * v j / 2) = - l * fsum n z + l ^ 2 / 2 * fsum n v).
      { rewrite fsum_plus, fsum_scale. f_equal. rewrite <- fsum_scale. apply fsum_ext. intros j _. field. }
      rewrite Q.
      assert (R1 : l ^ 2 / 2 * fsum n v <= l ^ 2 / 2 * V)
        by (apply Rmult_le_compat_l; [pose proof (pow2_ge_0 l) |]; lra).
      assert (E1 : l ^ 2 / 2 * V = L) by (rewrite L2; field; lra).
      assert (R2 : l * e <= l * (fsum n z - V * l)) by (apply Rmult_le_compat_l; lra).
      replace (l * (fsum n z - V * l)) with (l * fsum n z - l ^ 2 * V) in R2 by ring. lra.
Qed.

(** * Keys that are kept by chance *)

Definition weighed (keep : A -> bool) (x : R) (a : A) : R :=
  if keep a then x / probability seeds keep else 0.

(** Each key is kept with at least m times its share, or always, and no value lies beyond D. *)
Definition drawn (keep : nat -> A -> bool) (p y : nat -> R) (m D : R) (n : nat) : Prop :=
  forall j, (j < n)%nat -> 0 <= p j /\ 0 < probability seeds (keep j) /\ Rabs (y j) <= D /\
    ((forall a, In a seeds -> keep j a = true) \/ m * p j <= probability seeds (keep j)).

Definition moment (p y : nat -> R) (n : nat) : R := fsum n (fun j => p j * y j ^ 2).

Lemma weighed_mean keep x : 0 < probability seeds keep -> expect seeds (weighed keep x) = x.
Proof.
  intros H. rewrite (expect_ext _ _ (fun a => x / probability seeds keep * (if keep a then 1 else 0))).
  - rewrite expect_scale. fold (probability seeds keep). field. lra.
  - intros a _. unfold weighed. destruct (keep a); ring.
Qed.

Lemma weighed_second keep x : 0 < probability seeds keep ->
  expect seeds (fun a => weighed keep x a ^ 2) = x ^ 2 / probability seeds keep.
Proof.
  intros H.
  rewrite (expect_ext _ _ (fun a => (x / probability seeds keep) ^ 2 * (if keep a then 1 else 0))).
  - rewrite expect_scale. fold (probability seeds keep). field. lra.
  - intros a _. unfold weighed. destruct (keep a); ring.
Qed.

Lemma weighed_always keep x : (forall a, In a seeds -> keep a = true) ->
  forall a, In a seeds -> weighed keep x a = x.
Proof.
  intros H a Ha. unfold weighed. rewrite H by auto.
  assert (E : probability seeds keep = 1).
  { unfold probability. rewrite (expect_ext _ _ (fun _ => 1)) by (intros b Hb; now rewrite H).
    now apply expect_const. }
  rewrite E. field.
Qed.

(** A share by its probability is at most 1 / m. *)
Lemma share_ratio p P m : 0 < m -> 0 < P -> m * p <= P -> p / P <= 1 / m.
Proof.
  intros Hm HP H. apply le_div; [exact Hm |]. apply Rmult_le_reg_r with P; [exact HP |].
  replace (p / P * m * P) with (m * p) by (field; lra). lra.
Qed.

Lemma key_second keep p y m : 0 <= p -> 0 < m -> 0 < probability seeds keep ->
  m * p <= probability seeds keep ->
  expect seeds (fun a => weighed keep (p * y) a ^ 2) <= p * y ^ 2 / m.
Proof.
  intros Hp Hm HP H. rewrite weighed_second by exact HP.
  pose proof (share_ratio p _ m Hm HP H) as S. pose proof (pow2_ge_0 y).
  replace ((p * y) ^ 2 / probability seeds keep)
    with (p * y ^ 2 * (p / probability seeds keep)) by (field; lra).
  replace (p * y ^ 2 / m) with (p * y ^ 2 * (1 / m)) by (field; lra).
  apply Rmult_le_compat_l; [apply Rmult_le_pos; lra | exact S].
Qed.

Lemma weighed_size keep p y m D : 0 <= p -> 0 < m -> 0 < probability seeds keep ->
  m * p <= probability seeds keep -> Rabs y <= D ->
  forall a, In a seeds -> Rabs (weighed keep (p * y) a) <= D / m.
Proof.
  intros Hp Hm HP H Hy a _. pose proof (Rabs_pos y). unfold weighed. destruct (keep a).
  - pose proof (share_ratio p _ m Hm HP H) as S.
    replace (p * y / probability seeds keep) with (p / probability seeds keep * y) by (field; lra).
    assert (0 <= p / probability seeds keep) by (apply le_div; lra).
    rewrite Rabs_mult, (Rabs_right (p / probability seeds keep)) by lra.
    replace (D / m) with (1 / m * D) by (field; lra). apply Rmult_le_compat; lra.
  - rewrite Rabs_R0. apply le_div; lra.
Qed.

Lemma log_positive N delta k : 1 <= k -> (0 < N)%nat -> 0 < delta < 1 -> 0 < ln (k * INR N / delta).
Proof.
  intros Hk HN Hd. assert (1 <= INR N) by (apply (le_INR 1); lia). rewrite <- ln_1.
  apply ln_increasing; [lra |]. apply Rmult_lt_reg_r with delta; [lra |].
  replace (k * INR N / delta * delta) with (k * INR N) by (field; lra). nra.
Qed.

Lemma drawn_distance keep p y m D n : drawn keep p y m D n -> 0 < moment p y n -> 0 < D.
Proof.
  intros H M. destruct (Rlt_dec 0 D) as [| N]; [auto | exfalso].
  assert (Z : moment p y n = 0); [| lra].
  apply fsum_zero. intros j Hj. destruct (H j Hj) as (_ & _ & Y & _).
  pose proof (Rabs_pos (y j)). assert (Rabs (y j) = 0) as Z by lra. apply Rabs_eq_0 in Z.
  rewrite Z. ring.
Qed.

Theorem i_sampled n keep p y m D N delta t : drawn keep p y m D n -> 0 < m -> (0 < N)%nat ->
  0 < delta < 1 -> 0 < moment p y n ->
  delta / INR N < probability (tuples n seeds)
    (off_by t (fsum n (fun j => p j * y j)) (fun j => weighed (keep j) (p j * y j))) ->
  t <= b_sampled_error N delta (moment p y n) m D.
Proof.
  intros H Hm HN Hd HM Ht. pose proof (drawn_distance _ _ _ _ _ _ H HM) as HD.
  assert (1 <= INR N) by (apply (le_INR 1); lia).
  set (L := ln (2 * INR N / delta)). assert (HL : 0 < L) by (apply log_positive; auto; lra).
  destruct (Rle_dec t (b_sampled_error N delta (moment p y n) m D)) as [| G]; [auto | exfalso].
  assert (E : b_sampled_error N delta (moment p y n) m D
              = sqrt (2 * (moment p y n / m) * L) + D / m * L / 3).
  { unfold b_sampled_error. fold L.
    assert (0 < sqrt m) by now apply sqrt_lt_R0.
    replace (2 * (moment p y n / m) * L) with (2 * moment p y n * L / m) by (field; lra).
    rewrite sqrt_div_alt, !sqrt_mult by (try (repeat apply Rmult_le_pos); lra). field. lra. }
  assert (P : probability (tuples n seeds)
    (off_by (sqrt (2 * (moment p y n / m) * L) + D / m * L / 3) (fsum n (fun j => p j * y j))
      (fun j => weighed (keep j) (p j * y j))) <= 2 * exp (- L)).
  { apply (bernstein n _ _ (fun j => p j * y j ^ 2 / m)); auto.
    - intros j Hj. destruct (H j Hj) as (P0 & PP & Y & C). pose proof (pow2_ge_0 (y j)).
      split; [now apply weighed_mean | split].
      + apply le_div; [exact Hm |]. rewrite Rmult_0_l. apply Rmult_le_pos; lra.
      + destruct C as [C | C]; [left; now apply weighed_always | right].
        split; [now apply weighed_size | now apply key_second].
    - apply Rdiv_lt_0_compat; lra.
    - apply Rdiv_lt_0_compat; lra.
    - right. unfold moment, Rdiv. rewrite fsum_scale_r. reflexivity. }
  assert (X : 2 * exp (- L) = delta / INR N).
  { unfold L. rewrite exp_Ropp, exp_ln by (apply Rdiv_lt_0_compat; lra). field. lra. }
  rewrite X in P. apply (Rlt_irrefl (delta / INR N)). eapply Rlt_le_trans; [exact Ht |].
  eapply Rle_trans; [| exact P]. apply probability_le; [apply tuples_nonempty; auto |].
  intros x _. unfold off_by, less_than.
  destruct (Rlt_dec t _) as [U |]; [intros _ | discriminate].
  destruct (Rlt_dec _ _) as [| W]; [reflexivity | exfalso]. apply W. lra.
Qed.

Theorem i_sampled_moment n keep p y m D N delta e : drawn keep p y m D n -> 0 < m -> (0 < N)%nat ->
  0 < delta < 1 -> 0 < moment p y n -> 0 <= e ->
  delta / INR N < probability (tuples n seeds)
    (at_most e (fun j => weighed (keep j) (p j * y j ^ 2))) ->
  moment p y n <= b_sampled_moment N delta e m D.
Proof.
  intros H Hm HN Hd HM He Ht. pose proof (drawn_distance _ _ _ _ _ _ H HM) as HD.
  assert (1 <= INR N) by (apply (le_INR 1); lia).
  set (L := ln (INR N / delta)).
  assert (HL : 0 < L).
  { unfold L. replace (INR N / delta) with (1 * INR N / delta) by (field; lra).
    apply log_positive; auto; lra. }
  set (M := moment p y n) in *. set (c := D * sqrt (L / (2 * m))).
  assert (Lm : 0 < L / (2 * m)) by (apply Rdiv_lt_0_compat; lra).
  assert (C0 : 0 < c) by (apply Rmult_lt_0_compat; [exact HD | now apply sqrt_lt_R0]).
  assert (C2 : c ^ 2 = D ^ 2 * L / (2 * m)).
  { unfold c. rewrite Rpow_mult_distr, pow2_sqrt by lra. field. lra. }
  assert (E : b_sampled_moment N delta e m D = (sqrt (e + c ^ 2) + c) ^ 2).
  { unfold b_sampled_moment. fold L. rewrite C2. f_equal. f_equal. unfold c.
    assert (0 < sqrt m) by now apply sqrt_lt_R0.
    assert (0 < sqrt 2) by (apply sqrt_lt_R0; lra).
    assert (sqrt 2 ^ 2 = 2) as Two by (apply pow2_sqrt; lra).
    rewrite sqrt_div_alt, sqrt_mult by lra.
    apply Rmult_eq_reg_r with (2 * sqrt 2 * sqrt m); [| nra].
    transitivity (D * sqrt 2 ^ 2 * sqrt L); [field; lra |].
    rewrite Two. field. split; lra. }
  destruct (Rle_dec M (b_sampled_moment N delta e m D)) as [| G]; [auto | exfalso].
  apply Rnot_le_lt in G. rewrite E in G.
  assert (S0 : 0 <= sqrt (e + c ^ 2)) by apply sqrt_pos.
  assert (S2 : sqrt (e + c ^ 2) ^ 2 = e + c ^ 2) by (apply pow2_sqrt; pose proof (pow2_ge_0 c); lra).
  assert (R2 : sqrt M ^ 2 = M) by (apply pow2_sqrt; lra). pose proof (sqrt_pos M) as R0.
  assert (Hs : sqrt (e + c ^ 2) + c < sqrt M).
  { destruct (Rlt_dec (sqrt (e + c ^ 2) + c) (sqrt M)) as [| W]; [auto | exfalso].
    apply Rnot_lt_le in W. rewrite <- R2 in G.
    assert (sqrt M ^ 2 <= (sqrt (e + c ^ 2) + c) ^ 2) by (apply pow_incr; lra). lra. }
  assert (Low : e <= M - sqrt (2 * (M * D ^ 2 / m) * L)).
  { assert (T : sqrt (2 * (M * D ^ 2 / m) * L) = 2 * c * sqrt M).
    { apply Rsqr_inj; [apply sqrt_pos | apply Rmult_le_pos; lra |].
      rewrite Rsqr_sqrt.
      - unfold Rsqr. replace (2 * c * sqrt M * (2 * c * sqrt M)) with (4 * c ^ 2 * sqrt M ^ 2) by ring.
        rewrite C2, R2. field. lra.
      - pose proof (pow2_ge_0 D). apply Rmult_le_pos; [| lra]. apply Rmult_le_pos; [lra |].
        apply le_div; [exact Hm |]. rewrite Rmult_0_l. apply Rmult_le_pos; lra. }
    rewrite T. nra. }
  assert (P : probability (tuples n seeds) (at_most e (fun j => weighed (keep j) (p j * y j ^ 2)))
              <= exp (- L)).
  { apply (too_low n _ (fun j => p j * y j ^ 2) (fun j => p j * y j ^ 2 * D ^ 2 / m)
      (M * D ^ 2 / m)); auto.
    - intros j Hj. destruct (H j Hj) as (P0 & PP & Y & C). pose proof (pow2_ge_0 (y j)).
      pose proof (pow2_ge_0 D).
      assert (Y2 : y j ^ 2 <= D ^ 2).
      { rewrite <- (pow2_abs (y j)). apply pow_incr. split; [apply Rabs_pos | exact Y]. }
      assert (PY : 0 <= p j * y j ^ 2) by (apply Rmult_le_pos; lra).
      split; [now apply weighed_mean | split; [| split]].
      + apply le_div; [exact Hm |]. rewrite Rmult_0_l. apply Rmult_le_pos; lra.
      + intros a _. unfold weighed. destruct (keep j a); [apply le_div; lra | lra].
      + destruct C as [C | C]; [left; now apply weighed_always | right].
        eapply Rle_trans; [apply (key_second (keep j) (p j) (y j ^ 2) m); auto |].
        unfold Rdiv. apply Rmult_le_compat_r; [left; now apply Rinv_0_lt_compat |].
        replace (p j * (y j ^ 2) ^ 2) with (p j * y j ^ 2 * y j ^ 2) by ring.
        apply Rmult_le_compat_l; lra.
    - apply Rdiv_lt_0_compat; [| exact Hm]. apply Rmult_lt_0_compat; [exact HM | nra].
    - right. unfold M, moment, Rdiv. rewrite <- !fsum_scale_r. apply fsum_ext. intros. ring. }
  assert (X : exp (- L) = delta / INR N).
  { unfold L. rewrite exp_Ropp, exp_ln by (apply Rdiv_lt_0_compat; lra). field. lra. }
  rewrite X in P. lra.
Qed.

End Sampled.
