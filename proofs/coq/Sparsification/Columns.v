(** How many columns an exact Y needs, and what it takes (claims P3.gram, P3.caratheodory, P3.implication).

    Steps: (1) coordinates over an orthonormal basis of X's rows are a Y with the same Gram matrix, and as
    many independent rows of X exclude a narrower one; (2) while there are more columns than equations in
    their weights, some combination of columns is zero in all of these, and moving the weights along it
    until the first of them vanishes changes no sum (Caratheodory); (3) a factorisation by halves of a matrix
    of order 2^k takes 2 C(k-1) + 4 M(k-1) products, no more than a product of matrices, M(k) = s^k, s >= 6. *)

Require Import Reals Lra Lia List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Independence.
From Attest.Sparsification Require Import Sparsification.
Import ListNotations.
Open Scope R_scope.

(** Y has X's Gram matrix. *)
Definition same_gram (n d m : nat) (X Y : nat -> nat -> R) : Prop :=
  forall i j, (i < n)%nat -> (j < n)%nat -> gram m Y i j = gram d X i j.

(** * P3.gram: the columns of an exact Y *)

Theorem p3_gram_columns n d X : exists m Y,
  INR m <= b_gram_columns n /\ same_gram n d m X Y /\
  forall l Z, same_gram n d l X Z -> (m <= l)%nat.
Proof.
  destruct (orthonormal_basis n d X) as (m & Q & Y & chosen & [O Sm Sp Ch In]).
  exists m, Y. split; [apply le_INR; auto | split].
  - intros i j Hi Hj. change (dot m (Y i) (Y j) = gram d X i j).
    rewrite <- (dot_spanned_spanned d m (Y i) (Y j) Q O). apply fsum_ext. intros c Hc.
    now rewrite !Sp.
  - intros l Z S. apply (independent_dimension n d m X l Z chosen); auto.
Qed.

(** Nearly linear is more than is needed: n columns have no error. *)
Theorem p3_implication n d X : (0 < n)%nat -> exists m Y,
  INR m <= b_implied_columns n /\ same_gram n d m X Y.
Proof.
  intros Hn. destruct (p3_gram_columns n d X) as (m & Y & B & S & _). exists m, Y. split; auto.
  eapply Rle_trans; [exact B |]. unfold b_gram_columns, b_implied_columns.
  pose proof (INR_ge_1 n Hn) as N. assert (0 <= ln (INR n)).
  { destruct (Req_dec (INR n) 1) as [-> |]; [rewrite ln_1; lra |].
    rewrite <- ln_1. left. apply ln_increasing; lra. }
  nra.
Qed.

(** * P3.caratheodory *)

Lemma zero_or_positive k z :
  (forall i, (i < k)%nat -> z i <= 0) \/ exists p, (p < k)%nat /\ 0 < z p.
Proof.
  induction k as [| k [IH | (p & Hp & E)]].
  - left. intros; lia.
  - destruct (Rle_dec (z k) 0).
    + left. intros i Hi. destruct (Nat.eq_dec i k) as [-> |]; [auto | apply IH; lia].
    + right. exists k. split; [lia | lra].
  - right. exists p. split; [lia | auto].
Qed.

Lemma least_ratio k w z : (exists p, (p < k)%nat /\ 0 < z p) ->
  exists p, (p < k)%nat /\ 0 < z p /\ forall i, (i < k)%nat -> 0 < z i -> w p / z p <= w i / z i.
Proof.
  induction k as [| k IH]; intros (p & Hp & Pz); [lia |].
  destruct (zero_or_positive k z) as [N | E].
  - assert (p = k).
    { destruct (Nat.eq_dec p k); auto. specialize (N p ltac:(lia)). lra. }
    subst p. exists k. split; [lia | split; auto]. intros i Hi Pi.
    destruct (Nat.eq_dec i k) as [-> |]; [lra |]. specialize (N i ltac:(lia)). lra.
  - destruct (IH E) as (q & Hq & Pq & M).
    destruct (Rle_dec (z k) 0) as [Zk | Zk].
    + exists q. split; [lia | split; auto]. intros i Hi Pi.
      destruct (Nat.eq_dec i k) as [-> |]; [lra |]. apply M; auto. lia.
    + destruct (Rle_dec (w q / z q) (w k / z k)) as [L | L].
      * exists q. split; [lia | split; auto]. intros i Hi Pi.
        destruct (Nat.eq_dec i k) as [-> |]; [lra |]. apply M; auto. lia.
      * exists k. split; [lia | split; [lra |]]. intros i Hi Pi.
        destruct (Nat.eq_dec i k) as [-> |]; [lra |]. specialize (M i ltac:(lia) Pi). lra.
Qed.

(** Caratheodory's theorem for cones: L are linear functions, of which f c is what column c adds to f. *)
Lemma conic (L : list (nat -> R)) d w : (forall c, (c < d)%nat -> 0 <= w c) ->
  exists m chosen v, (m <= length L)%nat /\
    (forall k, (k < m)%nat -> (chosen k < d)%nat /\ 0 <= v k) /\
    forall f, In f L -> fsum m (fun k => v k * f (chosen k)) = fsum d (fun c => w c * f c).
Proof.
  revert L w. induction d as [| d IH]; intros L w Hw.
  { exists 0%nat, (fun _ => 0%nat), (fun _ => 0). split; [lia | split; [intros; lia |]].
    intros; reflexivity. }
  destruct (Nat.le_gt_cases (S d) (length L)) as [Hle | Hlt].
  { exists (S d), (fun k => k), w. split; auto. }
  destruct (homogeneous_solution L (S d) Hlt) as (z0 & (i & Hi & N) & D0).
  assert (exists z, (exists p, (p < S d)%nat /\ 0 < z p) /\
    forall f, In f L -> fsum (S d) (fun c => z c * f c) = 0) as (z & P & D).
  { destruct (Rlt_dec 0 (z0 i)).
    - exists z0. split; [exists i; auto | exact D0].
    - exists (fun c => - z0 c). split; [exists i; split; [auto | lra] |].
      intros f Hf. rewrite (fsum_ext _ _ (fun c => -1 * (z0 c * f c))) by (intros; ring).
      rewrite fsum_scale. specialize (D0 f Hf). unfold dot in D0. rewrite D0. ring. }
  destruct (least_ratio (S d) w z P) as (p & Hp & Pp & M).
  set (a := w p / z p). set (u := fun c => w c - a * z c).
  assert (A0 : 0 <= a).
  { apply Rmult_le_pos; [auto | left; apply Rinv_0_lt_compat; auto]. }
  assert (Up : u p = 0) by (unfold u, a; field; lra).
  assert (Hu : forall c, (c < S d)%nat -> 0 <= u c).
  { intros c Hc. unfold u. destruct (Rle_dec (z c) 0) as [Zc | Zc].
    - specialize (Hw c Hc). nra.
    - specialize (M c Hc ltac:(lra)). fold a in M.
      assert (a * z c <= w c / z c * z c) by (apply Rmult_le_compat_r; lra).
      replace (w c / z c * z c) with (w c) in * by (field; lra). lra. }
  destruct (IH (map (fun f i => f (skip p i)) L) (fun i => u (skip p i))) as (m & chosen & v & Lm & C & E).
  { intros c Hc. apply Hu, skip_lt; auto. }
  exists m, (fun k => skip p (chosen k)), v. split; [now rewrite map_length in Lm | split].
  - intros k Hk. destruct (C k Hk). split; [apply skip_lt; auto | auto].
  - intros f Hf. specialize (E _ (in_map (fun f i => f (skip p i)) L f Hf)). cbv beta in E. rewrite E.
    transitivity (fsum (S d) (fun c => u c * f c)).
    + rewrite (fsum_skip d p (fun c => u c * f c)) by auto. rewrite Up. ring.
    + unfold u. rewrite (fsum_ext _ _ (fun c => w c * f c - a * (z c * f c))) by (intros; ring).
      rewrite fsum_minus, fsum_scale, D by auto. ring.
Qed.

(** What column c adds to the entries on and below the diagonal of the Gram matrix. *)
Definition lifted (n : nat) (X : nat -> nat -> R) : list (nat -> R) :=
  flat_map (fun i => map (fun j c => X i c * X j c) (seq 0 (S i))) (seq 0 n).

Lemma lifted_length n X : (2 * length (lifted n X) = n * (n + 1))%nat.
Proof.
  unfold lifted. induction n as [| n IH]; [reflexivity |].
  rewrite seq_S, flat_map_app, app_length. cbn [flat_map plus].
  rewrite app_nil_r, map_length, seq_length. lia.
Qed.

Theorem p3_caratheodory n d X : exists m chosen w, INR m <= b_caratheodory_columns n /\
  (forall k, (k < m)%nat -> (chosen k < d)%nat /\ 0 <= w k) /\
  forall i j, (i < n)%nat -> (j < n)%nat ->
    fsum m (fun k => w k * (X i (chosen k) * X j (chosen k))) = gram d X i j.
Proof.
  destruct (conic (lifted n X) d (fun _ => 1)) as (m & chosen & w & Lm & C & E);
    [intros; lra |].
  exists m, chosen, w. split; [| split; [exact C |]].
  - unfold b_caratheodory_columns. apply le_INR in Lm.
    pose proof (f_equal INR (lifted_length n X)) as F. rewrite !mult_INR, plus_INR in F.
    simpl (INR 2) in F. simpl (INR 1) in F. lra.
  - assert (H : forall i j, (i < n)%nat -> (j <= i)%nat ->
      fsum m (fun k => w k * (X i (chosen k) * X j (chosen k))) = gram d X i j).
    { intros i j Hi Hj. rewrite (E (fun c => X i c * X j c)).
      - apply fsum_ext. intros. ring.
      - apply in_flat_map. exists i. split; [apply in_seq; lia |].
        apply (in_map (fun j c => X i c * X j c)). apply in_seq. lia. }
    intros i j Hi Hj. destruct (Nat.le_ge_cases j i); [auto |].
    rewrite gram_sym, <- H by auto. apply fsum_ext. intros. ring.
Qed.

(** * P3.gram: scalar products *)

(** Products of order 2^k: s = 8 of them by halves for classical multiplication, 7 for Strassen's. *)
Fixpoint product_count (s k : nat) : nat :=
  match k with O => 1%nat | S k => (s * product_count s k)%nat end.

(** A factor and its inverse, by halves: two factorisations and four products of half the order. *)
Fixpoint factor_count (s k : nat) : nat :=
  match k with O => 1%nat | S k => (2 * factor_count s k + 4 * product_count s k)%nat end.

(** X X^T from the nonzero entries of every column, z of them: z (z + 1) / 2 products. *)
Definition column_count (d : nat) (z : nat -> nat) : nat :=
  list_sum (map (fun c => (z c * (z c + 1) / 2)%nat) (seq 0 d)).

(** X X^T as a sum of d / n products of order n. *)
Definition block_count (s k blocks : nat) : nat := (blocks * product_count s k)%nat.

Definition column_squares (d : nat) (z : nat -> nat) : nat :=
  list_sum (map (fun c => (z c * z c)%nat) (seq 0 d)).

Lemma factor_le_product s k : (6 <= s)%nat -> (factor_count s k <= product_count s k)%nat.
Proof. intros Hs. induction k; simpl; [lia | nia]. Qed.

Lemma column_le_squares d z : (column_count d z <= column_squares d z)%nat.
Proof.
  unfold column_count, column_squares. generalize (seq 0 d). intros l.
  induction l as [| c l IH]; [auto |]. cbn [map list_sum fold_right].
  apply Nat.add_le_mono; [apply Nat.div_le_upper_bound; [lia | nia] | exact IH].
Qed.

Lemma product_count_power s k : (0 < s)%nat ->
  INR (product_count s k) = exp (ln (INR s) / ln 2 * ln (INR (2 ^ k))).
Proof.
  intros Hs. pose proof (INR_ge_1 s Hs) as S1. pose proof ln_lt_2 as L2.
  induction k as [| k IH].
  - simpl. rewrite ln_1, Rmult_0_r, exp_0. reflexivity.
  - cbn [product_count Nat.pow]. rewrite !mult_INR, IH. change (INR 2) with 2.
    assert (P : 0 < INR (2 ^ k)) by (apply lt_0_INR; apply Nat.neq_0_lt_0, Nat.pow_nonzero; lia).
    rewrite ln_mult by lra. rewrite Rmult_plus_distr_l, exp_plus.
    replace (ln (INR s) / ln 2 * ln 2) with (ln (INR s)) by (field; lra).
    rewrite exp_ln by lra. reflexivity.
Qed.

(** n = 2^k, d = 2^k blocks, and the exponent log2 s of the product. *)
Theorem p3_gram_operations s k blocks z : (6 <= s)%nat ->
  let n := (2 ^ k)%nat in let d := (blocks * n)%nat in let omega := ln (INR s) / ln 2 in
  INR (Nat.min (column_count d z) (block_count s k blocks) + factor_count s k)
    <= b_gram_operations (column_squares d z) d n omega.
Proof.
  intros Hs n d omega. pose proof (product_count_power s k ltac:(lia)) as E.
  fold n omega in E. rewrite plus_INR. unfold b_gram_operations.
  assert (P : 0 < INR n) by (apply lt_0_INR; apply Nat.neq_0_lt_0, Nat.pow_nonzero; lia).
  apply Rplus_le_compat.
  - apply Rmin_glb.
    + apply le_INR. eapply Nat.le_trans; [apply Nat.le_min_l | apply column_le_squares].
    + apply Rle_trans with (INR (block_count s k blocks)); [apply le_INR, Nat.le_min_r |].
      right. unfold block_count, d. rewrite !mult_INR, E.
      replace ((omega - 1) * ln (INR n)) with (omega * ln (INR n) - ln (INR n)) by ring.
      unfold Rminus. rewrite exp_plus, exp_Ropp, exp_ln by auto. field. lra.
  - rewrite <- E. apply le_INR, factor_le_product. auto.
Qed.
