(** What independent roundings of mean 0 add up to, but for a given probability (claim FP.kernel_probable).

    A rounding is a number f r a of a seed a, all seeds equally likely, within +-c r and of mean 0; each has
    a seed of its own.

    Steps: (1) exp is below its chord, so the mean of e^(l f) is at most cosh (l c) ([chord], [one_rounding]);
    (2) cosh y <= e^(y^2 / 2), as tanh y <= y ([cosh_le]); (3) of independent roundings the means multiply, so
    that of e^(l sum) is at most e^(l^2 sum c^2 / 2) ([many_roundings]); (4) Markov's inequality on either
    side, with l = t / sum c^2 ([hoeffding]); (5) a number that a sum passes with more than delta / N is at
    most the bound ([fp_kernel_probable]); so all of N sums stay below it but with probability delta
    ([fp_kernel_probable_all]). *)

Require Import Reals Lra Lia List.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Derivatives Probability.
From Attest.Softmax Require Import Tanh.
Import ListNotations.
Open Scope R_scope.

(** * One rounding *)

Definition cosine (y : R) : R := (exp y + exp (- y)) / 2.

Lemma chord t y : -1 <= t <= 1 -> exp (t * y) <= cosine y + t * ((exp y - exp (- y)) / 2).
Proof.
  intros Ht. unfold cosine.
  assert (A : exp (t * y) * (1 + (y - t * y)) <= exp y).
  { replace (exp y) with (exp (t * y) * exp (y - t * y)) by (rewrite <- exp_plus; f_equal; ring).
    apply Rmult_le_compat_l; [left; apply exp_pos | apply exp_ineq1_le]. }
  assert (B : exp (t * y) * (1 + (- y - t * y)) <= exp (- y)).
  { replace (exp (- y)) with (exp (t * y) * exp (- y - t * y)) by (rewrite <- exp_plus; f_equal; ring).
    apply Rmult_le_compat_l; [left; apply exp_pos | apply exp_ineq1_le]. }
  assert (A' : (1 + t) / 2 * (exp (t * y) * (1 + (y - t * y))) <= (1 + t) / 2 * exp y)
    by (apply Rmult_le_compat_l; lra).
  assert (B' : (1 - t) / 2 * (exp (t * y) * (1 + (- y - t * y))) <= (1 - t) / 2 * exp (- y))
    by (apply Rmult_le_compat_l; lra).
  replace (exp (t * y)) with ((1 + t) / 2 * (exp (t * y) * (1 + (y - t * y)))
    + (1 - t) / 2 * (exp (t * y) * (1 + (- y - t * y)))) by field.
  lra.
Qed.

Lemma cosine_le y : cosine y <= exp (y ^ 2 / 2).
Proof.
  assert (P : forall z, 0 < cosine z).
  { intros z. unfold cosine. pose proof (exp_pos z). pose proof (exp_pos (- z)). lra. }
  assert (L : forall z, 0 <= z -> 0 <= z ^ 2 / 2 - ln (cosine z)).
  { intros z Hz.
    apply (nonneg_from_0 (fun x => x ^ 2 / 2 - ln (cosine x)) (fun x => x - tanh x)); auto.
    - unfold cosine. rewrite Ropp_0, exp_0. replace ((1 + 1) / 2) with 1 by field. rewrite ln_1. lra.
    - intros x. unfold cosine. specialize (P x). unfold cosine in P. auto_derive; [lra |].
      unfold tanh, sinh, cosh. pose proof (exp_pos x). pose proof (exp_pos (- x)). field. lra.
    - intros x Hx. pose proof (tanh_lipschitz x 0) as T. rewrite tanh_at_0, !Rminus_0_r in T.
      pose proof (tanh_nonneg x Hx). rewrite !Rabs_right in T by lra. lra. }
  assert (S : forall z, 0 <= z -> cosine z <= exp (z ^ 2 / 2)).
  { intros z Hz. rewrite <- (exp_ln (cosine z)) by auto. apply exp_le. specialize (L z Hz). lra. }
  destruct (Rle_dec 0 y) as [H | H]; [auto |].
  replace (cosine y) with (cosine (- y)) by (unfold cosine; rewrite Ropp_involutive; lra).
  replace (y ^ 2) with ((- y) ^ 2) by ring. apply S. lra.
Qed.

Section Roundings.

Variables (A : Type) (seeds : list A).
Hypothesis nonempty : seeds <> [].

(** The mean of e^(l f) where f has mean 0 and stays within +-c. *)
Lemma one_rounding (f : A -> R) c l : 0 <= c -> (forall a, In a seeds -> Rabs (f a) <= c) ->
  expect seeds f = 0 -> expect seeds (fun a => exp (l * f a)) <= exp (l ^ 2 * c ^ 2 / 2).
Proof.
  intros Hc H M.
  apply Rle_trans with (cosine (l * c)).
  2: { replace (l ^ 2 * c ^ 2 / 2) with ((l * c) ^ 2 / 2) by field. apply cosine_le. }
  destruct (Req_dec c 0) as [-> | Hc0].
  - rewrite (expect_ext seeds _ (fun _ => 1)).
    + rewrite expect_const by auto. unfold cosine. rewrite Rmult_0_r, Ropp_0, exp_0. lra.
    + intros a Ha. specialize (H a Ha). pose proof (Rabs_bounds _ _ H).
      replace (f a) with 0 by lra. rewrite Rmult_0_r, exp_0. reflexivity.
  - set (s := (exp (l * c) - exp (- (l * c))) / 2).
    apply Rle_trans with (expect seeds (fun a => cosine (l * c) + s / c * f a)).
    + apply expect_le; auto. intros a Ha. specialize (H a Ha). pose proof (Rabs_bounds _ _ H).
      assert (T : -1 <= f a / c <= 1).
      { split; [apply le_div; lra | apply div_le; lra]. }
      pose proof (chord (f a / c) (l * c) T) as C. fold s in C.
      replace (f a / c * (l * c)) with (l * f a) in C by (field; auto).
      replace (s / c * f a) with (f a / c * s) by (field; auto). exact C.
    + rewrite expect_plus, expect_scale, expect_const, M by auto. lra.
Qed.

(** * Many roundings *)

Fixpoint squares (c : nat -> R) (n : nat) : R :=
  match n with O => 0 | S n => c O ^ 2 + squares (fun r => c (S r)) n end.

Definition rounding (f : nat -> A -> R) (c : nat -> R) (n : nat) : Prop :=
  forall r, (r < n)%nat -> 0 <= c r /\ (forall a, In a seeds -> Rabs (f r a) <= c r) /\
    expect seeds (f r) = 0.

Lemma squares_nonneg c n : 0 <= squares c n.
Proof.
  revert c. induction n as [| n IH]; intros c; simpl; [lra |].
  pose proof (IH (fun r => c (S r))). pose proof (pow2_ge_0 (c O)). simpl in *. lra.
Qed.

Lemma many_roundings n f c l : rounding f c n ->
  expect (tuples n seeds) (fun x => exp (l * total f x)) <= exp (l ^ 2 * squares c n / 2).
Proof.
  revert f c. induction n as [| n IH]; intros f c H.
  - rewrite expect_one. simpl. right. f_equal. field.
  - rewrite expect_tuples by auto.
    assert (R : rounding (fun r => f (S r)) (fun r => c (S r)) n).
    { intros r Hr. apply H. lia. }
    destruct (H O ltac:(lia)) as (C & B & M).
    apply Rle_trans with (expect seeds (fun a =>
      exp (l ^ 2 * squares (fun r => c (S r)) n / 2) * exp (l * f O a))).
    + apply expect_le; auto. intros a Ha. cbn [total].
      rewrite (expect_ext _ _ (fun x => exp (l * f O a) * exp (l * total (fun r => f (S r)) x))).
      * rewrite expect_scale, Rmult_comm. apply Rmult_le_compat_r; [left; apply exp_pos | apply IH; auto].
      * intros x _. rewrite <- exp_plus. f_equal. ring.
    + rewrite expect_scale. pose proof (one_rounding (f O) (c O) l C B M) as E.
      replace (l ^ 2 * squares c (S n) / 2)
        with (l ^ 2 * squares (fun r => c (S r)) n / 2 + l ^ 2 * c O ^ 2 / 2)
        by (cbn [squares]; field).
      rewrite exp_plus. apply Rmult_le_compat_l; [left; apply exp_pos | exact E].
Qed.

Definition passes (t : R) (f : nat -> A -> R) (x : list A) : bool := less_than t (Rabs (total f x)).

Lemma markov n f l t : 0 <= l ->
  probability (tuples n seeds) (passes t f)
    <= expect (tuples n seeds) (fun x => exp (l * (total f x - t)) + exp (l * (- total f x - t))).
Proof.
  intros Hl. apply expect_le; [apply tuples_nonempty; auto |]. intros x _.
  pose proof (exp_pos (l * (total f x - t))). pose proof (exp_pos (l * (- total f x - t))).
  unfold passes, less_than. destruct (Rlt_dec t (Rabs (total f x))) as [Ht | _]; [| lra].
  unfold Rabs in Ht. destruct (Rcase_abs (total f x)).
  - pose proof (exp_ge_1 (l * (- total f x - t)) ltac:(nra)). lra.
  - pose proof (exp_ge_1 (l * (total f x - t)) ltac:(nra)). lra.
Qed.

Lemma rounding_opp f c n : rounding f c n -> rounding (fun r a => - f r a) c n.
Proof.
  intros H r Hr. destruct (H r Hr) as (C & B & M). repeat split; auto.
  - intros a Ha. rewrite Rabs_Ropp. auto.
  - rewrite (expect_ext seeds _ (fun a => -1 * f r a)) by (intros; ring).
    rewrite expect_scale, M. ring.
Qed.

Theorem hoeffding n f c t : rounding f c n -> 0 <= t -> 0 < squares c n ->
  probability (tuples n seeds) (passes t f) <= 2 * exp (- (t ^ 2 / (2 * squares c n))).
Proof.
  intros H Ht Q. set (q := squares c n) in *. set (l := t / q).
  assert (Hl : 0 <= l) by (apply le_div; lra).
  eapply Rle_trans; [apply (markov n f l t Hl) |]. rewrite expect_plus.
  assert (side : forall g, rounding g c n ->
    expect (tuples n seeds) (fun x => exp (l * (total g x - t))) <= exp (- (t ^ 2 / (2 * q)))).
  { intros g G.
    rewrite (expect_ext _ _ (fun x => exp (- (l * t)) * exp (l * total g x)))
      by (intros; rewrite <- exp_plus; f_equal; ring).
    rewrite expect_scale.
    replace (- (t ^ 2 / (2 * q))) with (- (l * t) + l ^ 2 * q / 2) by (unfold l; field; lra).
    rewrite exp_plus. apply Rmult_le_compat_l; [left; apply exp_pos | apply many_roundings; auto]. }
  pose proof (side f H) as One.
  pose proof (side (fun r a => - f r a) (rounding_opp f c n H)) as Other.
  rewrite (expect_ext _ (fun x => exp (l * (total (fun r a => - f r a) x - t)))
    (fun x => exp (l * (- total f x - t)))) in Other by (intros; rewrite total_opp; reflexivity).
  lra.
Qed.

Lemma still n f c : rounding f c n -> squares c n = 0 ->
  forall x, In x (tuples n seeds) -> total f x = 0.
Proof.
  revert f c. induction n as [| n IH]; intros f c H Z x Hx.
  - simpl in Hx. destruct Hx as [<- | []]. reflexivity.
  - cbn [tuples] in Hx. apply in_flat_map in Hx. destruct Hx as (a & Ha & Hx).
    apply in_map_iff in Hx. destruct Hx as (rest & <- & Hrest).
    cbn [squares] in Z. pose proof (squares_nonneg (fun r => c (S r)) n). pose proof (pow2_ge_0 (c O)).
    destruct (H O ltac:(lia)) as (C & B & _). specialize (B a Ha).
    assert (c O = 0) by nra. pose proof (Rabs_bounds _ _ B). cbn [total].
    rewrite (IH (fun r => f (S r)) (fun r => c (S r))); [lra | | lra | auto].
    intros r Hr. apply H. lia.
Qed.

Lemma probable_form N delta Q : 0 <= Q -> (0 < N)%nat -> 0 < delta < 1 ->
  b_kernel_probable N delta Q ^ 2 = 2 * Q * ln (2 * INR N / delta) /\ 0 <= b_kernel_probable N delta Q
    /\ 0 < ln (2 * INR N / delta).
Proof.
  intros HQ HN Hd. assert (1 <= INR N) by (apply (le_INR 1); lia).
  assert (L : 0 < ln (2 * INR N / delta)).
  { rewrite <- ln_1. apply ln_increasing; [lra |]. apply Rlt_le_trans with (1 / delta).
    - apply Rmult_lt_reg_r with delta; [lra |]. unfold Rdiv. rewrite Rmult_assoc, Rinv_l; lra.
    - unfold Rdiv. apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; lra | lra]. }
  unfold b_kernel_probable. split; [| split]; auto.
  - repeat rewrite Rpow_mult_distr. rewrite !pow2_sqrt; lra.
  - repeat apply Rmult_le_pos; apply sqrt_pos.
Qed.

(** What a sum passes with more than delta / N is at most the bound. *)
Theorem fp_kernel_probable n f c N delta t : rounding f c n -> (0 < N)%nat -> 0 < delta < 1 ->
  delta / INR N < probability (tuples n seeds) (passes t f) ->
  t <= b_kernel_probable N delta (squares c n).
Proof.
  intros H HN Hd Ht. assert (1 <= INR N) by (apply (le_INR 1); lia).
  destruct (probable_form N delta (squares c n) (squares_nonneg c n) HN Hd) as (E & B0 & L).
  set (b := b_kernel_probable N delta (squares c n)) in *.
  destruct (Rle_dec t b) as [| C]; auto. exfalso. apply Rnot_le_lt in C.
  assert (D0 : 0 < delta / INR N) by (apply Rdiv_lt_0_compat; lra).
  destruct (Req_dec (squares c n) 0) as [Z | Z].
  - assert (P : probability (tuples n seeds) (passes t f) = 0); [| lra].
    apply probability_never; [apply tuples_nonempty; auto |]. intros x Hx.
    unfold passes, less_than. rewrite (still n f c H Z x Hx), Rabs_R0.
    destruct (Rlt_dec t 0); [lra | reflexivity].
  - pose proof (squares_nonneg c n). assert (Q : 0 < squares c n) by lra.
    pose proof (hoeffding n f c t H ltac:(lra) Q) as Ho.
    assert (F : exp (- (t ^ 2 / (2 * squares c n))) <= exp (- ln (2 * INR N / delta))).
    { apply exp_le, Ropp_le_contravar. apply le_div; [lra |].
      replace (ln (2 * INR N / delta) * (2 * squares c n)) with (b ^ 2) by (rewrite E; ring).
      apply pow_incr. lra. }
    rewrite (exp_Ropp (ln (2 * INR N / delta))), exp_ln in F by (apply Rdiv_lt_0_compat; lra).
    replace (/ (2 * INR N / delta)) with (delta / INR N / 2) in F by (field; lra). lra.
Qed.

(** All of N sums, of the same seeds, stay below their bounds but with probability delta. *)
Fixpoint some (N : nat) (event : nat -> list A -> bool) (x : list A) : bool :=
  match N with O => false | S N => (some N event x || event N x)%bool end.

Lemma union N event rows p : rows <> [] ->
  (forall i, (i < N)%nat -> probability rows (event i) <= p) ->
  probability rows (some N event) <= INR N * p.
Proof.
  intros Hr. induction N as [| N IH]; intros H.
  - rewrite Rmult_0_l. right. apply probability_never; auto.
  - rewrite S_INR. apply Rle_trans with (probability rows (some N event) + probability rows (event N)).
    + unfold probability. rewrite <- expect_plus. apply expect_le; auto. intros x _. simpl.
      destruct (some N event x), (event N x); simpl; lra.
    + pose proof (H N ltac:(lia)). assert (probability rows (some N event) <= INR N * p)
        by (apply IH; intros; apply H; lia). lra.
Qed.

Theorem fp_kernel_probable_all n N f c delta : (0 < N)%nat -> 0 < delta < 1 ->
  (forall i, (i < N)%nat -> rounding (f i) (c i) n) ->
  probability (tuples n seeds)
    (some N (fun i => passes (b_kernel_probable N delta (squares (c i) n)) (f i))) <= delta.
Proof.
  intros HN Hd H. assert (1 <= INR N) by (apply (le_INR 1); lia).
  apply Rle_trans with (INR N * (delta / INR N)); [| right; field; lra].
  apply union; [apply tuples_nonempty; auto |]. intros i Hi.
  destruct (probable_form N delta (squares (c i) n) (squares_nonneg (c i) n) HN Hd) as (E & B0 & L).
  set (b := b_kernel_probable N delta (squares (c i) n)) in *.
  destruct (Req_dec (squares (c i) n) 0) as [Z | Z].
  - rewrite probability_never; [left; apply Rdiv_lt_0_compat; lra | apply tuples_nonempty; auto |].
    intros x Hx. unfold passes, less_than. rewrite (still n (f i) (c i) (H i Hi) Z x Hx), Rabs_R0.
    destruct (Rlt_dec b 0); [lra | reflexivity].
  - pose proof (squares_nonneg (c i) n). assert (Q : 0 < squares (c i) n) by lra.
    eapply Rle_trans; [apply (hoeffding n (f i) (c i) b (H i Hi) B0 Q) |].
    replace (b ^ 2 / (2 * squares (c i) n)) with (ln (2 * INR N / delta)) by (rewrite E; field; lra).
    rewrite exp_Ropp, exp_ln by (apply Rdiv_lt_0_compat; lra). right. field. lra.
Qed.

End Roundings.
