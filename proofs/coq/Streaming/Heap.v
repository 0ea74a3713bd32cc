(** The best k-sparse approximation of a column, in one pass (claim P2.heap).

    Row i of a column has the value y_i, final when it arrives.  The state is a queue of at most k
    rows in ascending order of |y_i|: a row is put in its place, and the first leaves when there are
    more than k.

    Steps: (1) the queue and the rows that it dropped are together the rows that came, and no
    dropped row is above a kept one ([keeps]); (2) let z have k nonzero rows or fewer: the rows
    outside its support are at least as many as those dropped, so the dropped rows, which are the
    smallest, have the least sum of squares; (3) the k largest of two shards' k largest are the k
    largest of all. *)

Require Import Reals Lra Lia List Permutation Sorted.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Lists Vectors.
Import ListNotations.
Open Scope R_scope.

(** [kept] holds k largest |y_i| among [rows], or all of them if they are fewer. *)
Definition keeps (y : nat -> R) (k : nat) (rows kept : list nat) : Prop :=
  exists dropped, Permutation rows (kept ++ dropped) /\ length kept = Nat.min k (length rows) /\
    forall i j, In i dropped -> In j kept -> Rabs (y i) <= Rabs (y j).

(** y on the rows kept, 0 elsewhere *)
Definition restrict (y : nat -> R) (kept : list nat) (i : nat) : R :=
  if in_dec Nat.eq_dec i kept then y i else 0.

(** At most k of the rows i < n have z_i <> 0. *)
Definition sparse (n k : nat) (z : nat -> R) : Prop :=
  exists support, (length support <= k)%nat /\ forall i, (i < n)%nat -> ~ In i support -> z i = 0.

(** * Top k is the best k-sparse approximation *)

Definition listed (l : list nat) (i : nat) : bool :=
  if in_dec Nat.eq_dec i l then true else false.
Definition unlisted (l : list nat) (i : nat) : bool := negb (listed l i).

Lemma filter_listed l rows i : In i (filter (listed l) rows) <-> In i rows /\ In i l.
Proof.
  rewrite filter_In. unfold listed. destruct (in_dec Nat.eq_dec i l); intuition discriminate.
Qed.

Lemma filter_unlisted l rows i : In i (filter (unlisted l) rows) <-> In i rows /\ ~ In i l.
Proof.
  rewrite filter_In. unfold unlisted, listed.
  destruct (in_dec Nat.eq_dec i l); intuition discriminate.
Qed.

Lemma split_listed l rows :
  Permutation rows (filter (listed l) rows ++ filter (unlisted l) rows).
Proof.
  induction rows as [| i rows IH]; simpl; auto. unfold unlisted at 1.
  destruct (listed l i); simpl; [auto | apply Permutation_cons_app; auto].
Qed.

(** Fewer terms, and each is at most any that the other sum has instead: a smaller sum. *)
Lemma exchange (f : nat -> R) small large threshold :
  NoDup small -> NoDup large -> (length small <= length large)%nat -> 0 <= threshold ->
  (forall i, In i small -> ~ In i large -> f i <= threshold) ->
  (forall i, In i large -> ~ In i small -> threshold <= f i) ->
  lsum f small <= lsum f large.
Proof.
  intros Ns Nl Len Ht Hs Hl.
  pose proof (split_listed large small) as Ps. pose proof (split_listed small large) as Pl.
  assert (Same : Permutation (filter (listed large) small) (filter (listed small) large)).
  { apply NoDup_Permutation; try apply NoDup_filter; auto. intros i.
    rewrite !filter_listed. tauto. }
  pose proof (Permutation_length Ps) as Ls. pose proof (Permutation_length Pl) as Ll.
  rewrite app_length in Ls, Ll. pose proof (Permutation_length Same).
  rewrite (lsum_permutation f _ _ Ps), (lsum_permutation f _ _ Pl), !lsum_app.
  rewrite (lsum_permutation f _ _ Same). apply Rplus_le_compat_l.
  apply Rle_trans with (lsum (fun _ => threshold) (filter (unlisted large) small)).
  - apply lsum_le. intros i Hi. apply filter_unlisted in Hi. apply Hs; tauto.
  - apply Rle_trans with (lsum (fun _ => threshold) (filter (unlisted small) large)).
    + rewrite !lsum_const. apply Rmult_le_compat_r; auto. apply le_INR. lia.
    + apply lsum_le. intros i Hi. apply filter_unlisted in Hi. apply Hl; tauto.
Qed.

Lemma largest (f : nat -> R) l : (forall i, In i l -> 0 <= f i) ->
  exists top, 0 <= top /\ (forall i, In i l -> f i <= top) /\
    (top = 0 \/ exists i, In i l /\ f i = top).
Proof.
  induction l as [| a l IH]; intros H.
  - exists 0. split; [lra |]. split; [intros i [] | auto].
  - destruct IH as (top & Ht & Hle & Hin); [intros; apply H; simpl; auto |].
    destruct (Rle_dec (f a) top) as [Ha | Ha].
    + exists top. split; auto. split; [intros i [<- | Hi]; auto |].
      destruct Hin as [| (i & Hi & E)]; [auto |]. right. exists i. simpl. auto.
    + exists (f a). split; [apply H; simpl; auto |].
      split; [intros i [<- | Hi]; [lra | specialize (Hle i Hi); lra] |].
      right. exists a. simpl. auto.
Qed.

Lemma squares_abs x y : Rabs x <= Rabs y -> x ^ 2 <= y ^ 2.
Proof.
  intros H. rewrite <- (pow2_abs x), <- (pow2_abs y). apply pow_incr.
  pose proof (Rabs_pos x). lra.
Qed.

Lemma nodup_app (l l' : list nat) : NoDup (l ++ l') ->
  NoDup l' /\ forall i, In i l' -> ~ In i l.
Proof.
  induction l as [| a l IH]; simpl; intros H; [auto |]. inversion H; subst.
  destruct (IH H3) as [N D]. split; auto. intros i Hi [<- | Hl]; [| apply (D i); auto].
  apply H2, in_or_app. auto.
Qed.

(** The distance that is left is the sum of the squares of what was dropped. *)
Lemma restrict_distance n y kept dropped : Permutation (seq 0 n) (kept ++ dropped) ->
  squared_distance n y (restrict y kept) = lsum (fun i => y i ^ 2) dropped.
Proof.
  intros H. unfold squared_distance. rewrite <- lsum_seq, (lsum_permutation _ _ _ H), lsum_app.
  assert (N : NoDup (kept ++ dropped)) by (eapply Permutation_NoDup; eauto; apply seq_NoDup).
  rewrite (lsum_ext _ (fun _ => 0) kept).
  - rewrite lsum_const, Rmult_0_r, Rplus_0_l. apply lsum_ext. intros i Hi. unfold restrict.
    destruct (in_dec Nat.eq_dec i kept) as [Hk |]; [| ring].
    destruct (proj2 (nodup_app _ _ N) i Hi Hk).
  - intros i Hi. unfold restrict. destruct (in_dec Nat.eq_dec i kept); [ring | contradiction].
Qed.

Theorem p2_heap_best n k y z kept : keeps y k (seq 0 n) kept -> sparse n k z ->
  squared_distance n y (restrict y kept) <= squared_distance n y z.
Proof.
  intros (dropped & P & Len & Low) (support & Ls & Hz). rewrite (restrict_distance n y _ _ P).
  set (outside := filter (unlisted support) (seq 0 n)).
  apply Rle_trans with (lsum (fun i => y i ^ 2) outside).
  - destruct (largest (fun i => y i ^ 2) dropped) as (top & Ht & Hle & Hin);
      [intros; apply pow2_ge_0 |].
    assert (N : NoDup dropped).
    { apply (nodup_app kept). eapply Permutation_NoDup; eauto. apply seq_NoDup. }
    apply (exchange _ _ _ top); auto.
    + apply NoDup_filter, seq_NoDup.
    + pose proof (Permutation_length P) as L1. rewrite app_length, seq_length in L1.
      pose proof (Permutation_length (split_listed support (seq 0 n))) as L2.
      rewrite app_length, seq_length in L2. fold outside in L2. rewrite seq_length in Len.
      assert (length (filter (listed support) (seq 0 n)) <= length support)%nat.
      { apply NoDup_incl_length; [apply NoDup_filter, seq_NoDup |].
        intros i Hi. apply filter_listed in Hi. tauto. }
      lia.
    + intros i Hi Hd. apply filter_In in Hi. destruct Hi as [Hi _].
      apply (Permutation_in _ P), in_app_or in Hi. destruct Hi as [Hi | Hi]; [| contradiction].
      destruct Hin as [-> | (j & Hj & <-)]; [apply pow2_ge_0 | apply squares_abs; auto].
  - unfold squared_distance. rewrite <- lsum_seq.
    rewrite (lsum_permutation _ _ _ (split_listed support (seq 0 n))), lsum_app. fold outside.
    rewrite (lsum_ext (fun i => y i ^ 2) (fun i => (y i - z i) ^ 2) outside).
    + rewrite <- (Rplus_0_l (lsum _ outside)) at 1. apply Rplus_le_compat_r, lsum_nonneg.
      intros. apply pow2_ge_0.
    + intros i Hi. apply filter_unlisted in Hi. destruct Hi as [Hi Hs]. apply in_seq in Hi.
      rewrite Hz by (auto; lia). f_equal. ring.
Qed.

(** * The queue keeps the top k *)

(** Row i, put before the first row that is not below it. *)
Fixpoint place (y : nat -> R) (i : nat) (queue : list nat) : list nat :=
  match queue with
  | [] => [i]
  | j :: rest => if Rle_dec (Rabs (y i)) (Rabs (y j)) then i :: queue else j :: place y i rest
  end.

Definition offer (y : nat -> R) (k : nat) (queue : list nat) (i : nat) : list nat :=
  let longer := place y i queue in if Nat.leb (length longer) k then longer else tl longer.

Definition heap (y : nat -> R) (k : nat) (rows : list nat) : list nat :=
  fold_left (offer y k) rows [].

Definition ascending (y : nat -> R) : list nat -> Prop :=
  StronglySorted (fun i j => Rabs (y i) <= Rabs (y j)).

Lemma place_permutation y i queue : Permutation (i :: queue) (place y i queue).
Proof.
  induction queue as [| j rest IH]; simpl; auto.
  destruct (Rle_dec _ _); auto. rewrite perm_swap. auto.
Qed.

Lemma place_ascending y i queue : ascending y queue -> ascending y (place y i queue).
Proof.
  intros H. induction H as [| j rest Hs IH Hf]; simpl; [repeat constructor |].
  rewrite Forall_forall in Hf. destruct (Rle_dec _ _) as [Hij | Hij].
  - constructor; [constructor; auto; apply Forall_forall; auto |].
    apply Forall_forall. intros m [<- | Hm]; auto. specialize (Hf m Hm). lra.
  - constructor; auto. apply Forall_forall. intros m Hm.
    apply (Permutation_in _ (Permutation_sym (place_permutation y i rest))) in Hm.
    destruct Hm as [<- | Hm]; [lra | auto].
Qed.

Lemma offer_keeps y k rows queue i : ascending y queue -> keeps y k rows queue ->
  ascending y (offer y k queue i) /\ keeps y k (rows ++ [i]) (offer y k queue i).
Proof.
  intros Hs (dropped & P & Len & Low). unfold offer.
  pose proof (place_ascending y i queue Hs) as Hs'. pose proof (place_permutation y i queue) as P'.
  pose proof (Permutation_length P') as L'. pose proof (Permutation_length P) as L.
  rewrite app_length in L. simpl in L'. destruct (Nat.leb_spec (length (place y i queue)) k).
  - split; auto. exists dropped. assert (dropped = []) as -> by (apply length_zero_iff_nil; lia).
    rewrite app_nil_r in *. split; [| split; [rewrite app_length; simpl; lia | intros ? ? []]].
    rewrite <- P', P. symmetry. apply Permutation_cons_append.
  - destruct (place y i queue) as [| a rest]; [simpl in *; lia |].
    inversion Hs' as [| ? ? Hs'' Hf]; subst. rewrite Forall_forall in Hf. simpl tl.
    split; auto. exists (a :: dropped). simpl in L'. repeat split.
    + rewrite <- Permutation_cons_append, P, <- Permutation_middle.
      apply (Permutation_app_tail dropped P').
    + rewrite app_length. simpl in *. lia.
    + intros d j [<- | Hd] Hj; [auto |].
      assert (Ha : In a (i :: queue))
        by (apply (Permutation_in _ (Permutation_sym P')); simpl; auto).
      destruct Ha as [<- | Ha].
      * apply Permutation_cons_inv in P'. apply Low; auto.
        apply (Permutation_in _ (Permutation_sym P')); auto.
      * specialize (Low d a Hd Ha). specialize (Hf j Hj). lra.
Qed.

Theorem p2_heap_keeps y k rows : keeps y k rows (heap y k rows).
Proof.
  assert (ascending y (heap y k rows) /\ keeps y k rows (heap y k rows)) as [_ H]; [| exact H].
  induction rows as [| i rows [Hs H]] using rev_ind.
  - split; [constructor |]. exists []. simpl. repeat split; auto; [lia | intros ? ? []].
  - unfold heap. rewrite fold_left_app. apply offer_keeps; auto.
Qed.

(** A row and its value for each of k entries, in each column. *)
Theorem p2_heap_numbers y k rows values :
  INR (2 * length (heap y k rows) * values) <= b_heap_numbers k values.
Proof.
  destruct (p2_heap_keeps y k rows) as (_ & _ & Len & _).
  unfold b_heap_numbers. rewrite !mult_INR. replace (INR 2) with 2 by (simpl; ring).
  replace (2 * INR k * INR values) with (2 * INR values * INR k) by ring.
  replace (2 * INR (length (heap y k rows)) * INR values)
    with (2 * INR values * INR (length (heap y k rows))) by ring.
  apply Rmult_le_compat_l; [pose proof (pos_INR values); lra | apply le_INR; lia].
Qed.

(** What one pass keeps is the best k-sparse approximation of the column. *)
Theorem p2_heap n k y z : sparse n k z ->
  squared_distance n y (restrict y (heap y k (seq 0 n))) <= squared_distance n y z.
Proof. intros H. apply (p2_heap_best n k); auto. apply p2_heap_keeps. Qed.

(** * Shards *)

(** Among the rows of a shard that dropped row i, k are no lower than i. *)
Definition not_below (y : nat -> R) (i j : nat) : R :=
  if Rle_dec (Rabs (y i)) (Rabs (y j)) then 1 else 0.

Lemma not_below_le y i l : lsum (not_below y i) l <= INR (length l).
Proof.
  rewrite <- (Rmult_1_r (INR _)), <- lsum_const. apply lsum_le. intros j _. unfold not_below.
  destruct (Rle_dec _ _); lra.
Qed.

Lemma not_below_all y i l : INR (length l) <= lsum (not_below y i) l ->
  forall j, In j l -> Rabs (y i) <= Rabs (y j).
Proof.
  induction l as [| a l IH]; intros H j; [intros [] |]. pose proof (not_below_le y i l).
  cbn [length] in H. rewrite S_INR in H. unfold lsum in *. simpl in H.
  unfold not_below at 1 in H. destruct (Rle_dec _ _) in H; [| lra].
  intros [<- | Hj]; [auto | apply IH; auto; lra].
Qed.

Lemma merge_low y k rows kept dropped other c : keeps y k (kept ++ other) c ->
  Permutation rows (kept ++ dropped) -> length kept = Nat.min k (length rows) ->
  (forall i j, In i dropped -> In j kept -> Rabs (y i) <= Rabs (y j)) ->
  forall i j, In i dropped -> In j c -> Rabs (y i) <= Rabs (y j).
Proof.
  intros (gone & Pc & Lc & Lowc) P Len Low i j Hi Hj. apply Rnot_lt_le. intros Hlt.
  assert (Full : length kept = k).
  { pose proof (Permutation_length P) as L. rewrite app_length in L.
    destruct dropped; [destruct Hi | simpl in L; lia]. }
  assert (Lk : length c = k) by (rewrite Lc, app_length; lia).
  apply (Rlt_not_le _ _ Hlt), (not_below_all y i c); auto.
  pose proof (lsum_permutation (not_below y i) _ _ Pc) as E. rewrite !lsum_app in E.
  assert (Z : lsum (not_below y i) gone = 0).
  { rewrite (lsum_ext _ (fun _ => 0)), lsum_const; [ring |]. intros m Hm. unfold not_below.
    specialize (Lowc m j Hm Hj). destruct (Rle_dec _ _); lra. }
  assert (O : lsum (not_below y i) kept = INR k).
  { rewrite (lsum_ext _ (fun _ => 1)), lsum_const, Full; [ring |]. intros m Hm. unfold not_below.
    destruct (Rle_dec _ _) as [| Hn]; [auto | exfalso; apply Hn, Low; auto]. }
  assert (0 <= lsum (not_below y i) other).
  { apply lsum_nonneg. intros m _. unfold not_below. destruct (Rle_dec _ _); lra. }
  rewrite Lk. lra.
Qed.

(** Two shards: the top k of both tops is the top k of all rows. *)
Theorem p2_heap_merge y k rows rows' kept kept' c :
  keeps y k rows kept -> keeps y k rows' kept' -> keeps y k (kept ++ kept') c ->
  keeps y k (rows ++ rows') c.
Proof.
  intros (dropped & P & Len & Low) (dropped' & P' & Len' & Low') H.
  assert (H' : keeps y k (kept' ++ kept) c).
  { destruct H as (gone & Pc & Lc & Lowc). exists gone. repeat split; auto.
    - rewrite <- Pc. apply Permutation_app_comm.
    - rewrite Lc, !app_length. f_equal. lia. }
  pose proof (merge_low _ _ _ _ _ _ _ H P Len Low) as M.
  pose proof (merge_low _ _ _ _ _ _ _ H' P' Len' Low') as M'.
  destruct H as (gone & Pc & Lc & Lowc). exists (gone ++ dropped ++ dropped'). repeat split.
  - rewrite P, P', (app_assoc c), <- Pc, <- !app_assoc. apply Permutation_app_head.
    rewrite !app_assoc. apply Permutation_app_tail, Permutation_app_comm.
  - pose proof (Permutation_length P). pose proof (Permutation_length P').
    rewrite !app_length in *. lia.
  - intros i j Hi Hj. apply in_app_or in Hi. destruct Hi as [Hi | Hi]; [auto |].
    apply in_app_or in Hi. destruct Hi; auto.
Qed.
