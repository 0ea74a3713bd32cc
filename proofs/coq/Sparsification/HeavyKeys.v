(** Which keys can weigh much for some query (claims L.heavy, L.powers, L.softmax, L.leverage).

    A weight is (q . k_j)^2 over the sum of all.  Steps: (1) over an orthonormal basis of the columns of K
    the products are q . k_j = sum_l w_l Q_lj, so that by Cauchy and Schwarz the weight of key j is at most
    sum_l Q_lj^2, its leverage; (2) the leverages add up to the number of basis vectors, the rank;
    (3) w = Q_j is the coordinates of some query, so no leverage is too large.  For a power 2 h the same
    holds of rows that are multiplied by b^(h - 1), and the means of powers (Hoelder) lead back.
    A leverage is proved from computed products B near K T: T has an inverse, as B has no null vector. *)

Require Import Reals Lra Lia List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Independence.
From Attest.Softmax Require Import Softmax.
Import ListNotations.
Open Scope R_scope.

(** The sum of all (q . k_j)^2. *)
Definition key_squares (n d : nat) (K : nat -> nat -> R) (q : nat -> R) : R :=
  fsum n (fun j => dot d (K j) q ^ 2).

(** m is the rank of K: its columns have a basis of m vectors, and m columns are independent. *)
Definition rank (n d : nat) (K : nat -> nat -> R) (m : nat) : Prop :=
  exists Q Y chosen, basis d n (fun c j => K j c) m Q Y chosen.

(** Some query gives key j a share of eps or more. *)
Definition heavy_for_some (n d : nat) (K : nat -> nat -> R) (eps : R) (j : nat) : Prop :=
  exists q, 0 < key_squares n d K q /\ eps * key_squares n d K q <= dot d (K j) q ^ 2.

Lemma key_squares_nonneg n d K q : 0 <= key_squares n d K q.
Proof. apply fsum_nonneg. intros. apply pow2_ge_0. Qed.

(** * L.heavy *)

Section Basis.

Variables (n d m : nat) (K Q Y : nat -> nat -> R) (chosen : nat -> nat).
Hypothesis B : basis d n (fun c j => K j c) m Q Y chosen.

(** The leverage of key j, and the coordinates of K q. *)
Let share (j : nat) : R := fsum m (fun l => Q l j ^ 2).
Let coordinates (q : nat -> R) (l : nat) : R := fsum d (fun c => q c * Y c l).

Lemma product_coordinates q j : (j < n)%nat ->
  dot d (K j) q = spanned m (coordinates q) Q j.
Proof.
  intros Hj. unfold dot, spanned, coordinates.
  rewrite (fsum_ext d _ (fun c => fsum m (fun l => q c * Y c l * Q l j))).
  - rewrite fsum_swap. apply fsum_ext. intros l _. apply fsum_scale_r.
  - intros c Hc. rewrite (basis_spans _ _ _ _ _ _ _ B c j Hc Hj). unfold spanned.
    rewrite Rmult_comm, <- fsum_scale. apply fsum_ext. intros. ring.
Qed.

Lemma squares_coordinates q : key_squares n d K q = dot m (coordinates q) (coordinates q).
Proof.
  rewrite <- (dot_spanned_spanned n m _ _ Q (basis_orthonormal _ _ _ _ _ _ _ B)).
  apply fsum_ext. intros j Hj. rewrite product_coordinates by auto. ring.
Qed.

Lemma weight_le_share q j : (j < n)%nat -> dot d (K j) q ^ 2 <= share j * key_squares n d K q.
Proof.
  intros Hj. rewrite product_coordinates, squares_coordinates by auto.
  pose proof (dot_square m (coordinates q) (fun l => Q l j)) as C.
  rewrite norm_square, norm_square in C. unfold share, spanned. unfold dot in C at 1.
  eapply Rle_trans; [exact C |]. right. rewrite Rmult_comm. f_equal.
  apply fsum_ext. intros. ring.
Qed.

Lemma shares_add_up : fsum n share = INR m.
Proof.
  unfold share. rewrite fsum_swap.
  rewrite (fsum_ext m _ (fun _ => 1)), fsum_const; [ring |].
  intros l Hl. transitivity (dot n (Q l) (Q l)); [apply fsum_ext; intros; ring |].
  rewrite (basis_orthonormal _ _ _ _ _ _ _ B) by auto. now rewrite Nat.eqb_refl.
Qed.

Lemma share_attained j : (j < n)%nat ->
  exists q, key_squares n d K q = share j /\ dot d (K j) q = share j.
Proof.
  intros Hj.
  destruct (coordinates_surjective _ _ _ _ _ _ _ (fun l => Q l j) B) as (q & E).
  exists q. split.
  - rewrite squares_coordinates. apply fsum_ext. intros l Hl. unfold coordinates.
    rewrite E by auto. ring.
  - rewrite product_coordinates by auto. apply fsum_ext. intros l Hl. unfold coordinates.
    rewrite E by auto. ring.
Qed.

End Basis.

Lemma filter_weight {A} (f : A -> R) c l : 0 < c -> (forall a, In a l -> 0 <= f a) ->
  INR (length (filter (fun a => if Rle_dec c (f a) then true else false) l)) * c <= lsum f l.
Proof.
  intros Hc. induction l as [| a l IH]; intros H; [unfold lsum; simpl; lra |].
  pose proof (H a (or_introl eq_refl)) as Ha.
  assert (IH' := IH (fun b Hb => H b (or_intror Hb))).
  change (lsum f (a :: l)) with (f a + lsum f l). simpl filter.
  destruct (Rle_dec c (f a)); [| lra]. simpl length. rewrite S_INR. lra.
Qed.

(** S holds every key that ever has a share of eps, and no other. *)
Theorem l_heavy n d K m eps : 0 < eps -> rank n d K m ->
  exists S, NoDup S /\ INR (length S) <= b_heavy_keys m eps /\
    forall j, In j S <-> (j < n)%nat /\ heavy_for_some n d K eps j.
Proof.
  intros He (Q & Y & chosen & B).
  set (share := fun j => fsum m (fun l => Q l j ^ 2)).
  exists (filter (fun j => if Rle_dec eps (share j) then true else false) (seq 0 n)). split; [| split].
  - apply NoDup_filter, seq_NoDup.
  - unfold b_heavy_keys. apply le_div; auto. rewrite <- (shares_add_up n d m K Q Y chosen B : fsum n share = INR m).
    rewrite <- (lsum_seq share n). apply filter_weight; auto.
    intros j _. apply fsum_nonneg. intros. apply pow2_ge_0.
  - intros j. rewrite filter_In, in_seq. split.
    + intros [Hj H]. destruct (Rle_dec eps (share j)) as [L |]; [| discriminate].
      split; [lia |]. destruct (share_attained n d m K Q Y chosen B j ltac:(lia)) as (q & S & P).
      change (key_squares n d K q = share j) in S. change (dot d (K j) q = share j) in P.
      exists q. rewrite S, P. split; [lra |]. nra.
    + intros [Hj (q & P & W)]. split; [lia |].
      destruct (Rle_dec eps (share j)) as [| N]; [reflexivity | exfalso]. apply N.
      pose proof (weight_le_share n d m K Q Y chosen B q j Hj) as U.
      change (dot d (K j) q ^ 2 <= share j * key_squares n d K q) in U.
      apply Rmult_le_reg_r with (key_squares n d K q); lra.
Qed.

(** There is a rank, at most d and n. *)
Theorem l_rank n d K : exists m, rank n d K m /\ (m <= d)%nat /\ (m <= n)%nat.
Proof.
  destruct (orthonormal_basis d n (fun c j => K j c)) as (m & Q & Y & chosen & B).
  exists m. split; [exists Q, Y, chosen; exact B |]. split; [exact (basis_small _ _ _ _ _ _ _ B) |].
  apply (orthonormal_le n m Q), (basis_orthonormal _ _ _ _ _ _ _ B).
Qed.

(** Every unit vector t times: d t keys, each with a weight of 1 / t for some query. *)
Definition units (d j c : nat) : R := if (j mod d =? c)%nat then 1 else 0.

Lemma fsum_units d t c : (c < d)%nat ->
  fsum (d * t) (fun j => if (j mod d =? c)%nat then 1 else 0) = INR t.
Proof.
  intros Hc. induction t as [| t IH]; [rewrite Nat.mul_0_r; reflexivity |].
  rewrite Nat.mul_succ_r, fsum_add, IH, S_INR. f_equal.
  rewrite (fsum_ext d _ (fun j => 1 * (if (j =? c)%nat then 1 else 0))).
  - now rewrite (fsum_delta d c (fun _ => 1)).
  - intros j Hj. rewrite Rmult_1_l, (Nat.mul_comm d t), Nat.add_comm, Nat.mod_add by lia.
    rewrite Nat.mod_small by auto. reflexivity.
Qed.

Theorem l_heavy_attained d t : (0 < d)%nat -> (0 < t)%nat ->
  INR (d * t) = b_heavy_keys d (/ INR t) /\
  forall j, (j < d * t)%nat -> heavy_for_some (d * t) d (units d) (/ INR t) j.
Proof.
  intros Hd Ht. pose proof (lt_0_INR t Ht) as T. split.
  - unfold b_heavy_keys. rewrite mult_INR. field. lra.
  - intros j Hj. pose proof (Nat.mod_upper_bound j d ltac:(lia)) as M. set (c := (j mod d)%nat) in *.
    assert (E : forall i, dot d (units d i) (units d j) = if (i mod d =? c)%nat then 1 else 0).
    { intros i. unfold dot, units. fold c.
      rewrite (fsum_ext d _ (fun e => (if (e =? c)%nat then 1 else 0) *
        (if (e =? (i mod d)%nat)%nat then 1 else 0)))
        by (intros e _; rewrite Rmult_comm, (Nat.eqb_sym c e), (Nat.eqb_sym (i mod d) e); reflexivity).
      rewrite (fsum_delta d (i mod d) (fun e => if (e =? c)%nat then 1 else 0)); [reflexivity |].
      apply Nat.mod_upper_bound. lia. }
    assert (S : key_squares (d * t) d (units d) (units d j) = INR t).
    { rewrite <- (fsum_units d t c M). apply fsum_ext. intros i _. rewrite E.
      destruct (i mod d =? c)%nat; ring. }
    exists (units d j). rewrite S, E. unfold c. rewrite Nat.eqb_refl. split; auto.
    rewrite Rinv_l by lra. lra.
Qed.

(** * L.powers *)

(** No query gives key j a larger share than l. *)
Definition leverage_at_most (n d : nat) (K : nat -> nat -> R) (j : nat) (l : R) : Prop :=
  forall q, dot d (K j) q ^ 2 <= l * key_squares n d K q.

Lemma tangent k x m : 0 <= x -> 0 <= m -> m ^ S k + INR (S k) * m ^ k * (x - m) <= x ^ S k.
Proof.
  intros Hx Hm. induction k as [| k IH]; [simpl; nra |].
  rewrite (S_INR (S k)). change (x ^ S (S k)) with (x * x ^ S k).
  pose proof (pow_le m k Hm) as P. pose proof (pos_INR (S k)) as N.
  apply Rle_trans with (x * (m ^ S k + INR (S k) * m ^ k * (x - m)));
    [| apply Rmult_le_compat_l; auto].
  change (m ^ S (S k)) with (m * (m * m ^ k)). change (m ^ S k) with (m * m ^ k).
  assert (0 <= INR (S k) * m ^ k * ((x - m) * (x - m))).
  { apply Rmult_le_pos; [apply Rmult_le_pos; auto | apply Rle_0_sqr]. }
  lra.
Qed.

(** Means of powers. *)
Lemma power_mean n w x k : (forall i, (i < n)%nat -> 0 <= w i) -> (forall i, (i < n)%nat -> 0 <= x i) ->
  0 < fsum n w ->
  fsum n (fun i => w i * x i) ^ S k <= fsum n w ^ k * fsum n (fun i => w i * x i ^ S k).
Proof.
  intros Hw Hx Hs. set (W := fsum n w) in *. set (M := fsum n (fun i => w i * x i)).
  assert (HM : 0 <= M).
  { apply fsum_nonneg. intros i Hi. apply Rmult_le_pos; auto. }
  set (m := M / W).
  assert (Hm : 0 <= m) by (apply Rmult_le_pos; [| left; apply Rinv_0_lt_compat]; auto).
  assert (E : M = m * W) by (unfold m; field; lra).
  assert (L : W * m ^ S k <= fsum n (fun i => w i * x i ^ S k)).
  { replace (W * m ^ S k) with (W * m ^ S k + INR (S k) * m ^ k * (M - m * W)) by (rewrite E; ring).
    unfold M, W. rewrite <- fsum_scale_r, <- fsum_scale, <- fsum_minus, <- fsum_scale, <- fsum_plus.
    apply fsum_le. intros i Hi.
    replace (w i * m ^ S k + INR (S k) * m ^ k * (w i * x i - m * w i))
      with (w i * (m ^ S k + INR (S k) * m ^ k * (x i - m))) by ring.
    apply Rmult_le_compat_l; auto. apply tangent; auto. }
  apply Rle_trans with (W ^ k * (W * m ^ S k)).
  - right. rewrite E, Rpow_mult_distr. simpl. ring.
  - apply Rmult_le_compat_l; auto. apply pow_le. lra.
Qed.

Lemma fsum_zero_terms n f : (forall i, (i < n)%nat -> 0 <= f i) -> fsum n f = 0 ->
  forall i, (i < n)%nat -> f i = 0.
Proof. intros H Z i Hi. pose proof (fsum_term n f i H Hi). specialize (H i Hi). lra. Qed.

Lemma square_power x k : (x ^ 2) ^ S k = x ^ 2 * (x ^ k) ^ 2.
Proof.
  rewrite <- !pow_mult, (Nat.mul_comm k 2), <- pow_add. f_equal. lia.
Qed.

Theorem l_powers n d K b h j l q : (forall i, (i < n)%nat -> 0 < b i) -> (1 <= h)%nat -> (j < n)%nat ->
  leverage_at_most n d (fun i c => b i ^ (h - 1) * K i c) j l ->
  dot d (K j) q ^ (2 * h)
    <= b_power_weight l (b j ^ (h - 1)) (fsum n (fun i => b i ^ (2 * h))) h
       * fsum n (fun i => dot d (K i) q ^ (2 * h)).
Proof.
  intros Hb Hh Hj L. destruct h as [| k]; [lia |]. replace (S k - 1)%nat with k in * by lia.
  set (u := fun i => dot d (K i) q). fold (u j).
  set (W := fsum n (fun i => b i ^ (2 * S k))).
  assert (HW : 0 < W).
  { unfold W. apply fsum_pos; [lia |]. intros i Hi. apply pow_lt; auto. }
  set (x := fun i => u i ^ 2 / b i ^ 2).
  assert (Eu : forall i, (i < n)%nat -> (b i ^ k * u i) ^ 2 = b i ^ (2 * S k) * x i).
  { intros i Hi. specialize (Hb i Hi). unfold x. rewrite (pow_mult (b i)).
    rewrite square_power. field. lra. }
  specialize (L q). unfold key_squares in L.
  assert (Sc : forall i, dot d (fun c => b i ^ k * K i c) q = b i ^ k * u i).
  { intros i. unfold u, dot. rewrite <- fsum_scale. apply fsum_ext. intros. ring. }
  rewrite Sc, (fsum_ext n _ (fun i => b i ^ (2 * S k) * x i)), Eu in L
    by (auto; intros i Hi; rewrite Sc; auto).
  set (M := fsum n (fun i => b i ^ (2 * S k) * x i)) in *.
  assert (Hx : forall i, (i < n)%nat -> 0 <= x i).
  { intros i Hi. specialize (Hb i Hi). unfold x. apply Rmult_le_pos; [apply pow2_ge_0 |].
    left. apply Rinv_0_lt_compat, pow_lt. auto. }
  pose proof (power_mean n (fun i => b i ^ (2 * S k)) x k) as H. fold W in H. fold M in H.
  specialize (H (fun i Hi => Rlt_le _ _ (pow_lt _ _ (Hb i Hi))) Hx HW).
  assert (EU : fsum n (fun i => b i ^ (2 * S k) * x i ^ S k) = fsum n (fun i => u i ^ (2 * S k))).
  { apply fsum_ext. intros i Hi. specialize (Hb i Hi). unfold x.
    rewrite (pow_mult (b i)), (pow_mult (u i)), <- Rpow_mult_distr. f_equal. field. lra. }
  cbv beta in H. rewrite EU in H.
  assert (HM : 0 <= M).
  { apply fsum_nonneg. intros i Hi. apply Rmult_le_pos; auto. left. apply pow_lt. auto. }
  pose proof (Hb j Hj) as Bj. pose proof (pow_lt (b j) k Bj) as Bk.
  unfold b_power_weight. replace (S k - 1)%nat with k by lia. fold W.
  set (f := b j ^ k) in *. set (U := fsum n (fun i => u i ^ (2 * S k))) in *.
  assert (Uj : u j ^ 2 <= l / f ^ 2 * M).
  { assert (E := Eu j Hj). fold f in E. rewrite <- E in L.
    apply Rmult_le_reg_l with (f ^ 2); [apply pow_lt; auto |].
    replace (f ^ 2 * u j ^ 2) with ((f * u j) ^ 2) by ring.
    replace (f ^ 2 * (l / f ^ 2 * M)) with (l * M) by (field; lra). exact L. }
  rewrite pow_mult.
  destruct (Rle_lt_or_eq_dec 0 M HM) as [P | Z].
  - assert (0 <= l / f ^ 2).
    { apply Rmult_le_reg_r with M; auto. pose proof (pow2_ge_0 (u j)). lra. }
    apply Rle_trans with ((l / f ^ 2 * M) ^ S k).
    { apply pow_incr. split; [apply pow2_ge_0 | exact Uj]. }
    rewrite Rpow_mult_distr, (Rmult_comm (W ^ k)), Rmult_assoc.
    apply Rmult_le_compat_l; auto. apply pow_le. auto.
  - assert (forall i, (i < n)%nat -> u i = 0) as A.
    { intros i Hi. pose proof (fsum_zero_terms n (fun i => b i ^ (2 * S k) * x i)) as F.
      assert (T : b i ^ (2 * S k) * x i = 0).
      { apply F; auto. intros a Ha. apply Rmult_le_pos; auto. left. apply pow_lt. auto. }
      rewrite <- Eu in T by auto. specialize (Hb i Hi). pose proof (pow_lt (b i) k Hb).
      assert (b i ^ k * u i = 0) by nra. nra. }
    rewrite A by auto. unfold U. rewrite (fsum_zero n).
    + right. simpl. ring.
    + intros i Hi. change (dot d (K i) q) with (u i). rewrite A by auto. simpl. ring.
Qed.

(** In one dimension, with the keys themselves as multipliers. *)
Theorem l_powers_attained n b h j : (forall i, (i < n)%nat -> 0 < b i) -> (1 <= h)%nat -> (j < n)%nat ->
  let K := fun i (_ : nat) => b i in let W := fsum n (fun i => b i ^ (2 * h)) in
  leverage_at_most n 1 (fun i c => b i ^ (h - 1) * K i c) j (b j ^ (2 * h) / W) /\
  dot 1 (K j) (fun _ => 1) ^ (2 * h)
    = b_power_weight (b j ^ (2 * h) / W) (b j ^ (h - 1)) W h
      * fsum n (fun i => dot 1 (K i) (fun _ => 1) ^ (2 * h)).
Proof.
  intros Hb Hh Hj K W. destruct h as [| k]; [lia |]. replace (S k - 1)%nat with k in * by lia.
  assert (HW : 0 < W).
  { unfold W. apply fsum_pos; [lia |]. intros i Hi. apply pow_lt; auto. }
  assert (D : forall i q, dot 1 (fun c => b i ^ k * K i c) q ^ 2 = q 0%nat ^ 2 * b i ^ (2 * S k)).
  { intros i q. unfold dot, K. simpl fsum. rewrite (pow_mult (b i)).
    rewrite square_power. ring. }
  split.
  - intros q. unfold key_squares. rewrite D, (fsum_ext n _ _ (fun i _ => D i q)), fsum_scale. fold W.
    right. field. lra.
  - unfold dot, K. simpl fsum.
    rewrite (fsum_ext n _ (fun i => b i ^ (2 * S k))) by (intros; now rewrite Rmult_1_r, Rplus_0_l).
    fold W. unfold b_power_weight. replace (S k - 1)%nat with k by lia.
    pose proof (Hb j Hj) as Bj. pose proof (pow_lt (b j) k Bj) as Bk.
    replace (b j ^ (2 * S k) / W / (b j ^ k) ^ 2) with (b j ^ 2 / W).
    + rewrite Rmult_1_r, Rplus_0_l. unfold Rdiv. rewrite Rpow_mult_distr, pow_inv, <- pow_mult.
      replace (W ^ k * (b j ^ (2 * S k) * / W ^ S k) * W)
        with (b j ^ (2 * S k) * (W ^ S k * / W ^ S k)) by (simpl; ring).
      rewrite Rinv_r by (apply pow_nonzero; lra). ring.
    + rewrite (pow_mult (b j)).
      rewrite square_power.
      field. split; lra.
Qed.

(** * L.softmax *)

(** The keys (l, l^2), and the query gap (2 j, -1). *)
Definition parabola (l c : nat) : R := if (c =? 0)%nat then INR l else INR l ^ 2.
Definition tangent_query (gap : R) (j c : nat) : R := if (c =? 0)%nat then 2 * gap * INR j else - gap.

Definition parabola_weight (n : nat) (gap : R) (j : nat) : R :=
  softmax n (fun l => dot 2 (parabola l) (tangent_query gap j)) j.

Lemma parabola_logit gap j l :
  dot 2 (parabola l) (tangent_query gap j) = gap * (INR j ^ 2 - (INR l - INR j) ^ 2).
Proof. unfold dot, parabola, tangent_query. simpl fsum. simpl Nat.eqb. ring. Qed.

Lemma integer_gap i j : i <> j -> 1 <= (INR i - INR j) ^ 2.
Proof.
  intros H. destruct (Nat.lt_total i j) as [L | [E | L]]; [| contradiction |].
  - apply (le_INR (S i)) in L. rewrite S_INR in L. nra.
  - apply (le_INR (S j)) in L. rewrite S_INR in L. nra.
Qed.

Lemma softmax_lack_form n gap : (0 < n)%nat -> b_softmax_lack n gap
  = 1 - / (1 + (INR n - 1) * exp (- gap)).
Proof.
  intros Hn. unfold b_softmax_lack. rewrite exp_Ropp. pose proof (exp_pos gap).
  pose proof (le_INR 1 n Hn) as N. change (INR 1) with 1 in N.
  field. split; lra.
Qed.

Theorem l_softmax_lack n gap j : 0 <= gap -> (j < n)%nat ->
  1 - parabola_weight n gap j <= b_softmax_lack n gap.
Proof.
  intros Hg Hj. assert (Hn : (0 < n)%nat) by lia. rewrite softmax_lack_form by auto.
  set (v := fun l => dot 2 (parabola l) (tangent_query gap j)).
  pose proof (softmax_pos n v j Hn) as P. unfold parabola_weight. fold v.
  assert (I : / softmax n v j <= 1 + (INR n - 1) * exp (- gap)).
  { rewrite softmax_inverse by auto. destruct n as [| n]; [lia |].
    rewrite (fsum_skip n j) by auto. rewrite Rminus_eq_0, exp_0, S_INR.
    apply Rplus_le_compat_l. replace (INR n + 1 - 1) with (INR n) by ring. rewrite <- fsum_const.
    apply fsum_le. intros i Hi. apply exp_le. unfold v. rewrite !parabola_logit.
    pose proof (integer_gap (skip j i) j (skip_not j i)). nra. }
  rewrite <- (Rinv_inv (softmax n v j)).
  assert (/ (1 + (INR n - 1) * exp (- gap)) <= / / softmax n v j).
  { apply Rinv_le_contravar; auto. apply Rinv_0_lt_compat. auto. }
  lra.
Qed.

Theorem l_softmax_attained gap : 1 - parabola_weight 2 gap 0 = b_softmax_lack 2 gap.
Proof.
  rewrite softmax_lack_form by lia. unfold parabola_weight.
  rewrite <- (Rinv_inv (softmax 2 _ 0)), softmax_inverse by lia. simpl fsum.
  rewrite !parabola_logit. simpl INR. do 2 f_equal.
  replace (gap * (0 ^ 2 - (0 - 0) ^ 2) - gap * (0 ^ 2 - (0 - 0) ^ 2)) with 0 by ring.
  replace (gap * (0 ^ 2 - (1 - 0) ^ 2) - gap * (0 ^ 2 - (0 - 0) ^ 2)) with (- gap) by ring.
  rewrite exp_0. ring.
Qed.

(** A set that holds every softmax weight of eps or more of every query holds all n keys. *)
Theorem l_softmax n eps : eps < 1 -> exists K : nat -> nat -> R, forall S : list nat,
  (forall q j, (j < n)%nat -> eps <= softmax n (fun l => dot 2 (K l) q) j -> In j S) ->
  forall j, (j < n)%nat -> In j S.
Proof.
  intros He. exists parabola. intros S HS j Hj.
  set (x := 1 + INR n / (1 - eps)). set (gap := ln x).
  pose proof (pos_INR n) as N. assert (0 <= INR n / (1 - eps))
    by (apply Rmult_le_pos; [auto | left; apply Rinv_0_lt_compat; lra]).
  assert (Hx : 1 <= x) by (unfold x; lra).
  assert (Hg : 0 <= gap) by (unfold gap; destruct (Req_dec x 1) as [-> |];
    [rewrite ln_1; lra | rewrite <- ln_1; left; apply ln_increasing; lra]).
  apply (HS (tangent_query gap j) j Hj).
  pose proof (l_softmax_lack n gap j Hg Hj) as L. unfold parabola_weight in L.
  rewrite softmax_lack_form in L by lia. rewrite exp_Ropp in L.
  replace (exp gap) with x in L by (unfold gap; rewrite exp_ln; lra).
  pose proof (le_INR 1 n ltac:(lia)) as N1. change (INR 1) with 1 in N1.
  assert (E : (INR n - 1) * / x <= 1 - eps).
  { apply Rmult_le_reg_r with x; [lra |]. rewrite Rmult_assoc, Rinv_l by lra.
    unfold x. replace ((1 - eps) * (1 + INR n / (1 - eps))) with (1 - eps + INR n) by (field; lra). lra. }
  assert (P : 0 <= (INR n - 1) * / x)
    by (apply Rmult_le_pos; [lra | left; apply Rinv_0_lt_compat; lra]).
  assert (1 - / (1 + (INR n - 1) * / x) <= (INR n - 1) * / x).
  { set (y := (INR n - 1) * / x) in *. apply Rmult_le_reg_r with (1 + y); [lra |].
    rewrite Rmult_minus_distr_r, Rinv_l by lra. nra. }
  lra.
Qed.

(** * L.leverage *)

(** Row i of K T. *)
Definition transformed (d : nat) (K T : nat -> nat -> R) (i l : nat) : R :=
  fsum d (fun c => K i c * T c l).

Lemma dot_transformed d K T i z :
  dot d (K i) (fun c => fsum d (fun l => T c l * z l)) = dot d (transformed d K T i) z.
Proof.
  unfold dot, transformed.
  rewrite (fsum_ext d (fun c => K i c * _) (fun c => fsum d (fun l => K i c * T c l * z l)))
    by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
  rewrite fsum_swap. apply fsum_ext. intros. apply fsum_scale_r.
Qed.

Lemma fsum_squares_norm n v : fsum n (fun i => v i ^ 2) = norm n v ^ 2.
Proof. symmetry. apply norm_square. Qed.

Theorem l_leverage n d K T B e f defect q j : 0 <= f -> f ^ 2 < 1 - defect ->
  (forall i, (i < n)%nat -> norm d (fun l => transformed d K T i l - B i l) <= e i) ->
  fsum n (fun i => e i ^ 2) <= f ^ 2 ->
  (forall z, (1 - defect) * norm d z ^ 2 <= fsum n (fun i => dot d (B i) z ^ 2)) -> (j < n)%nat ->
  dot d (K j) q ^ 2
    <= b_leverage_certificate (norm d (B j)) (e j) defect f * fsum n (fun i => dot d (K i) q ^ 2).
Proof.
  intros Hf Hd HE Hsum HB Hj.
  set (s := sqrt (1 - defect)). pose proof (pow2_ge_0 f) as F2.
  assert (Es : s ^ 2 = 1 - defect) by (apply pow2_sqrt; lra).
  assert (Hs : 0 <= s) by apply sqrt_pos. assert (Hg : 0 < s - f) by nra.
  (* K T z is at least (s - f) |z| long *)
  assert (Long : forall z, (s - f) * norm d z <= norm n (fun i => dot d (transformed d K T i) z)).
  { intros z. pose proof (norm_nonneg d z) as Z.
    pose proof (norm_triangle n (fun i => dot d (transformed d K T i) z)
      (fun i => dot d (B i) z - dot d (transformed d K T i) z)) as Tr.
    rewrite (norm_ext n (fun c => dot d (transformed d K T c) z + _) (fun i => dot d (B i) z)) in Tr
      by (intros; ring).
    assert (L1 : s * norm d z <= norm n (fun i => dot d (B i) z)).
    { apply square_le; [apply norm_nonneg |]. rewrite Rpow_mult_distr, Es, (norm_square n). apply HB. }
    assert (L2 : norm n (fun i => dot d (B i) z - dot d (transformed d K T i) z) <= f * norm d z).
    { apply square_le; [apply Rmult_le_pos; auto |].
      rewrite norm_square, Rpow_mult_distr.
      apply Rle_trans with (fsum n (fun i => e i ^ 2) * norm d z ^ 2);
        [| apply Rmult_le_compat_r; [apply pow2_ge_0 | auto]].
      rewrite <- fsum_scale_r. apply fsum_le. intros i Hi.
      replace (dot d (B i) z - dot d (transformed d K T i) z)
        with (- dot d (fun l => transformed d K T i l - B i l) z).
      2: { rewrite <- (Rminus_0_l (dot d (fun l => _ - _) z)). unfold dot.
           rewrite (fsum_ext d (fun l => (_ - _) * z l)
             (fun l => transformed d K T i l * z l - B i l * z l)) by (intros; ring).
           rewrite fsum_minus. ring. }
      replace ((- dot d (fun l => transformed d K T i l - B i l) z) ^ 2)
        with (dot d (fun l => transformed d K T i l - B i l) z ^ 2) by ring.
      eapply Rle_trans; [apply dot_square |]. apply Rmult_le_compat_r; [apply pow2_ge_0 |].
      apply pow_incr. split; [apply norm_nonneg | apply HE; auto]. }
    lra. }
  (* so q = T z for some z *)
  assert (exists z, forall c, (c < d)%nat -> q c = fsum d (fun l => T c l * z l)) as (z & Ez).
  { destruct (dependent_rows d (S d) (fun i c => if (i =? d)%nat then q c else T c i) ltac:(lia))
      as (z & (i & Hi & N) & D).
    assert (D' : forall c, (c < d)%nat -> fsum d (fun l => T c l * z l) + z d * q c = 0).
    { intros c Hc. rewrite <- (D c Hc), fsum_S, Nat.eqb_refl. f_equal. apply fsum_ext.
      intros l Hl. destruct (Nat.eqb_spec l d); [lia | ring]. }
    assert (Nd : z d <> 0).
    { intros Zd. apply N. destruct (Nat.eq_dec i d) as [-> | Hne]; auto.
      assert (Z0 : norm d z = 0).
      { pose proof (Long z) as L. rewrite (norm_ext n _ (fun _ => 0)) in L.
        - rewrite norm_zero in L. pose proof (norm_nonneg d z). nra.
        - intros a Ha. rewrite <- dot_transformed. apply fsum_zero. intros c Hc.
          specialize (D' c Hc). rewrite Zd in D'.
          replace (fsum d (fun l => T c l * z l)) with 0 by lra. ring. }
      pose proof (entry_le d z i ltac:(lia)) as A. rewrite Z0 in A.
      pose proof (Rabs_pos (z i)). destruct (Req_dec (z i) 0); auto.
      pose proof (Rabs_pos_lt (z i) H0). lra. }
    exists (fun l => - z l / z d). intros c Hc. specialize (D' c Hc).
    rewrite (fsum_ext d _ (fun l => - / z d * (T c l * z l))) by (intros; field; auto).
    rewrite fsum_scale. replace (fsum d (fun l => T c l * z l)) with (- (z d * q c)) by lra.
    field. auto. }
  assert (P : forall i, dot d (K i) q = dot d (transformed d K T i) z).
  { intros i. rewrite <- dot_transformed. apply fsum_ext. intros c Hc. now rewrite Ez. }
  rewrite (fsum_ext n _ (fun i => dot d (transformed d K T i) z ^ 2)) by (intros; now rewrite P).
  rewrite P, fsum_squares_norm. pose proof (Long z) as L. pose proof (norm_nonneg d z) as Z.
  set (M := norm n (fun i => dot d (transformed d K T i) z)) in *.
  set (a := norm d (B j) + e j).
  assert (Ha : Rabs (dot d (transformed d K T j) z) <= a * norm d z).
  { eapply Rle_trans; [apply dot_norm |]. apply Rmult_le_compat_r; auto.
    pose proof (norm_triangle d (B j) (fun l => transformed d K T j l - B j l)) as Tr.
    rewrite (norm_ext d _ (transformed d K T j)) in Tr by (intros; ring).
    specialize (HE j Hj). unfold a. lra. }
  assert (A0 : 0 <= a).
  { pose proof (norm_nonneg d (B j)). pose proof (HE j Hj).
    pose proof (norm_nonneg d (fun l => transformed d K T j l - B j l)). unfold a. lra. }
  unfold b_leverage_certificate. fold s. rewrite (Rplus_comm (e j)). fold a.
  apply Rle_trans with ((a * norm d z) ^ 2).
  { rewrite <- pow2_abs. apply pow_incr. split; [apply Rabs_pos | exact Ha]. }
  replace (a ^ 2 / (s - f) ^ 2 * M ^ 2) with ((a * (M / (s - f))) ^ 2) by (field; lra).
  apply pow_incr. split; [apply Rmult_le_pos; auto |]. apply Rmult_le_compat_l; auto.
  apply le_div; lra.
Qed.

(** Two equal keys, and T that makes them one unit vector. *)
Theorem l_leverage_attained :
  let K := fun _ _ : nat => 1 in let T := fun _ _ : nat => / sqrt 2 in
  (forall i, (i < 2)%nat -> norm 1 (fun l => transformed 1 K T i l - T i l) <= 0) /\
  (forall z, (1 - 0) * norm 1 z ^ 2 <= fsum 2 (fun i => dot 1 (T i) z ^ 2)) /\
  dot 1 (K 0%nat) (fun _ => 1) ^ 2
    = b_leverage_certificate (norm 1 (T 0%nat)) 0 0 0 * fsum 2 (fun i => dot 1 (K i) (fun _ => 1) ^ 2).
Proof.
  intros K T. assert (S2 : 0 < sqrt 2) by (apply sqrt_lt_R0; lra).
  assert (E : / sqrt 2 * / sqrt 2 = / 2) by (rewrite <- Rinv_mult, sqrt_sqrt by lra; reflexivity).
  split; [| split].
  - intros i _. rewrite (norm_ext 1 _ (fun _ => 0)); [rewrite norm_zero; lra |].
    intros c _. unfold transformed, K, T. simpl. ring.
  - intros z. rewrite norm_square. unfold dot, T. simpl. nra.
  - unfold b_leverage_certificate. rewrite norm_one. unfold T, K, dot. simpl fsum.
    rewrite Rabs_right by (apply Rle_ge; left; apply Rinv_0_lt_compat; auto).
    replace (sqrt (1 - 0)) with 1 by (rewrite Rminus_0_r, sqrt_1; reflexivity).
    rewrite (Rplus_0_l (/ sqrt 2)). rewrite Rminus_0_r.
    replace ((/ sqrt 2) ^ 2) with (/ 2) by (rewrite <- E; ring). field.
Qed.
