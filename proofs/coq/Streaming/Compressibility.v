(** Why the columns of an attention output are not nearly sparse (claim P2.compressibility).

    Values v >= 0 and logits in [-r, r]: a weight is at most exp (2 r) / (n + exp (2 r) - 1) and at
    least 1 / (1 + (n - 1) exp (2 r)) (S.range), so two entries of a column differ by at most the
    ratio of these.  For any set of at most k of the m rows, every y_i^2 inside is at most ratio^2
    times every y_j^2 outside; summed over both,
        (m - k) inside <= k ratio^2 outside,
    which bounds what a k-sparse vector can account for. *)

Require Import Reals Lra Lia List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors.
From Attest.Softmax Require Import Softmax.
From Attest.Streaming Require Import Heap.
Open Scope R_scope.

(** A column of the output: row i is the average of v with the weights softmax (S_i). *)
Definition column (n : nat) (S : nat -> nat -> R) (v : nat -> R) (i : nat) : R :=
  dot n (softmax n (S i)) v.

Lemma compressibility_ratio_form n r : (0 < n)%nat ->
  b_compressibility_ratio n r = b_softmax_range_upper n r * b_softmax_range_inverse n r.
Proof.
  intros Hn. pose proof (le_INR 1 n Hn) as HN. simpl in HN. pose proof (exp_pos (2 * r)).
  unfold b_compressibility_ratio, b_softmax_range_upper, b_softmax_range_inverse.
  argument exp (2 * r). field. lra.
Qed.

Lemma column_nonneg n S v i : (forall l, (l < n)%nat -> 0 <= v l) -> 0 <= column n S v i.
Proof.
  intros Hv. apply fsum_nonneg. intros l Hl. apply Rmult_le_pos; auto.
  left. apply softmax_pos. lia.
Qed.

Theorem p2_compressibility_ratio n S v r i j : (0 < n)%nat -> bounded n (S i) r ->
  bounded n (S j) r -> (forall l, (l < n)%nat -> 0 <= v l) ->
  column n S v i <= b_compressibility_ratio n r * column n S v j.
Proof.
  intros Hn Hi Hj Hv. rewrite compressibility_ratio_form by auto. unfold column, dot.
  rewrite <- fsum_scale. apply fsum_le. intros l Hl. rewrite <- Rmult_assoc.
  apply Rmult_le_compat_r; auto.
  pose proof (s_range_upper n _ r l Hi Hl) as U. pose proof (s_range_inverse n _ r l Hj Hl) as L.
  pose proof (softmax_pos n (S i) l Hn). pose proof (softmax_pos n (S j) l Hn) as Pj.
  set (p := softmax n (S i) l) in *. set (q := softmax n (S j) l) in *.
  apply Rle_trans with (b_softmax_range_upper n r * (/ q * q)); [rewrite Rinv_l; lra |].
  rewrite <- Rmult_assoc. apply Rmult_le_compat_r; [lra |]. apply Rmult_le_compat_l; lra.
Qed.

(** One row prefers the first key by 2 r, the other all the rest, and only the first has a value. *)
Theorem p2_compressibility_ratio_attained n r : (0 < n)%nat -> 0 <= r ->
  let S := fun i => if Nat.eqb i 0 then spike r else spike (- r) in
  let v := fun l => if Nat.eqb l 0 then 1 else 0 in
  bounded n (S 0%nat) r /\ bounded n (S 1%nat) r /\
  column n S v 0 = b_compressibility_ratio n r * column n S v 1.
Proof.
  intros Hn Hr S v.
  destruct (s_range_upper_attained n r Hn Hr) as [B0 E0].
  destruct (s_range_inverse_attained n r Hn Hr) as [B1 E1].
  split; [exact B0 | split; [exact B1 |]].
  assert (F : forall i, column n S v i = softmax n (S i) 0).
  { intros i. unfold column, dot.
    rewrite (fsum_ext n _ (fun l => if Nat.eqb l 0 then softmax n (S i) 0 else 0)).
    - rewrite fsum_one by auto. ring.
    - intros l _. unfold v. destruct (Nat.eqb_spec l 0) as [-> |]; ring. }
  rewrite !F, compressibility_ratio_form by auto. unfold S. simpl. rewrite E0, <- E1.
  pose proof (softmax_pos n (spike (- r)) 0 Hn). field. lra.
Qed.

(** Any y whose squares differ by a factor of at most [ratio]. *)
Lemma flat_not_sparse m k y z ratio : 0 <= ratio -> (k <= m)%nat -> sparse m k z ->
  (forall i j, (i < m)%nat -> (j < m)%nat -> y i ^ 2 <= ratio * y j ^ 2) ->
  (INR m - INR k) * fsum m (fun i => y i ^ 2)
    <= (INR m - INR k + INR k * ratio) * squared_distance m y z.
Proof.
  intros Hr Hk (support & Ls & Hz) Hy.
  set (rows := seq 0 m).
  set (inside := filter (listed support) rows). set (outside := filter (unlisted support) rows).
  set (square := fun i => y i ^ 2).
  pose proof (split_listed support rows) as P. fold inside outside in P.
  pose proof (Permutation_length P) as L. unfold rows in L.
  rewrite app_length, seq_length in L. fold rows in L.
  assert (Lin : (length inside <= k)%nat).
  { transitivity (length support); auto.
    apply NoDup_incl_length; [apply NoDup_filter, seq_NoDup |].
    intros i Hi. apply filter_listed in Hi. tauto. }
  assert (Hin : forall i, In i inside -> (i < m)%nat)
    by (intros i Hi; apply filter_listed in Hi; destruct Hi as [Hi _]; apply in_seq in Hi; lia).
  assert (Hout : forall i, In i outside -> (i < m)%nat /\ z i = 0).
  { intros i Hi. apply filter_unlisted in Hi. destruct Hi as [Hi Hs]. apply in_seq in Hi.
    split; [lia | apply Hz; auto; lia]. }
  assert (Total : fsum m square = lsum square inside + lsum square outside)
    by (rewrite <- lsum_seq, (lsum_permutation _ _ _ P), lsum_app; reflexivity).
  assert (O : 0 <= lsum square outside) by (apply lsum_nonneg; intros; apply pow2_ge_0).
  assert (I : 0 <= lsum square inside) by (apply lsum_nonneg; intros; apply pow2_ge_0).
  assert (Distance : lsum square outside <= squared_distance m y z).
  { unfold squared_distance. rewrite <- lsum_seq, (lsum_permutation _ _ _ P), lsum_app.
    rewrite (lsum_ext square (fun i => (y i - z i) ^ 2) outside).
    - rewrite <- (Rplus_0_l (lsum _ outside)) at 1. apply Rplus_le_compat_r, lsum_nonneg.
      intros. apply pow2_ge_0.
    - intros i Hi. rewrite (proj2 (Hout i Hi)). unfold square. f_equal. ring. }
  assert (Cross : INR (length outside) * lsum square inside
    <= INR (length inside) * (ratio * lsum square outside)).
  { rewrite <- lsum_scale, <- lsum_const. apply lsum_le. intros i Hi.
    rewrite <- lsum_const, <- lsum_scale. apply lsum_le. intros j Hj.
    apply Hy; [apply Hin | apply Hout]; auto. }
  assert (M : INR m - INR k <= INR (length outside)).
  { rewrite <- minus_INR by auto. apply le_INR. lia. }
  apply le_INR in Lin.
  assert ((INR m - INR k) * lsum square inside <= INR k * (ratio * lsum square outside)).
  { apply Rle_trans with (INR (length outside) * lsum square inside);
      [apply Rmult_le_compat_r; auto |].
    eapply Rle_trans; [exact Cross |]. apply Rmult_le_compat_r; auto. apply Rmult_le_pos; auto. }
  assert (0 <= INR m - INR k) by (apply le_INR in Hk; lra).
  assert (0 <= INR k * ratio) by (apply Rmult_le_pos; [apply pos_INR | auto]).
  apply Rle_trans with ((INR m - INR k + INR k * ratio) * lsum square outside);
    [fold square; rewrite Total; lra | apply Rmult_le_compat_l; lra].
Qed.

Lemma compressibility_share_form m k ratio : 0 < INR m - INR k + INR k * ratio ^ 2 ->
  b_compressibility_share m k ratio
    = INR k * ratio ^ 2 / (INR m - INR k + INR k * ratio ^ 2).
Proof. intros. unfold b_compressibility_share. simpl in *. field. lra. Qed.

(** What a k-sparse vector z accounts for in y: of the k largest entries, their sum of squares. *)
Theorem p2_compressibility_share m k y z ratio : 1 <= ratio -> (0 < m)%nat -> (k <= m)%nat ->
  sparse m k z -> (forall i, (i < m)%nat -> 0 <= y i) ->
  (forall i j, (i < m)%nat -> (j < m)%nat -> y i <= ratio * y j) ->
  fsum m (fun i => y i ^ 2) - squared_distance m y z
    <= b_compressibility_share m k ratio * fsum m (fun i => y i ^ 2).
Proof.
  intros Hr Hm Hk Hz H0 Hy. pose proof (le_INR _ _ Hk) as HkR. pose proof (pos_INR k).
  assert (1 <= ratio ^ 2) by (apply pow_R1_Rle; auto).
  pose proof (lt_0_INR m Hm).
  assert (INR k * 1 <= INR k * ratio ^ 2) by (apply Rmult_le_compat_l; auto).
  assert (D : 0 < INR m - INR k + INR k * ratio ^ 2) by lra.
  rewrite compressibility_share_form by auto.
  assert (F : (INR m - INR k) * fsum m (fun i => y i ^ 2)
    <= (INR m - INR k + INR k * ratio ^ 2) * squared_distance m y z).
  { apply flat_not_sparse; auto; [lra |]. intros i j Hi Hj. rewrite <- Rpow_mult_distr.
    apply pow_incr. auto. }
  set (total := fsum m (fun i => y i ^ 2)) in *. set (rest := squared_distance m y z) in *.
  set (N := INR m - INR k) in *. set (p := INR k * ratio ^ 2) in *.
  apply Rmult_le_reg_l with (N + p); auto.
  replace ((N + p) * (p / (N + p) * total)) with (p * total) by (field; lra). lra.
Qed.

(** Columns of attention: the share that k entries can have, from the logits alone. *)
Theorem p2_compressibility m n k S v r z : (0 < n)%nat -> (0 < m)%nat -> (k <= m)%nat -> 0 <= r ->
  (forall i, (i < m)%nat -> bounded n (S i) r) -> (forall l, (l < n)%nat -> 0 <= v l) ->
  sparse m k z ->
  let y := column n S v in
  fsum m (fun i => y i ^ 2) - squared_distance m y z
    <= b_compressibility_share m k (b_compressibility_ratio n r) * fsum m (fun i => y i ^ 2).
Proof.
  intros Hn Hm Hk Hr HS Hv Hz y. apply p2_compressibility_share; auto.
  - assert (exp0 : 1 <= exp (2 * r)) by (apply exp_ge_1; lra).
    pose proof (le_INR 1 n Hn) as HN. simpl in HN.
    unfold b_compressibility_ratio. argument exp (2 * r). apply le_div; [lra |].
    assert (0 <= (INR n - 1) * (exp (2 * r) * exp (2 * r) - 1)).
    { apply Rmult_le_pos; nra. }
    nra.
  - intros i _. apply column_nonneg; auto.
  - intros i j Hi Hj. apply p2_compressibility_ratio; auto.
Qed.
