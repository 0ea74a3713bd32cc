(** k entries kept by values that are off: heaps and sketches (claims P2.heap, P2.recovery).

    The kept rows S are the k largest of x, |x_i - y_i| <= e; H is the support of a k-sparse z.
    Steps: (1) with m = |H \ S| <= |S \ H| and tau the largest |x_i| of H \ S, all |x_i| of S \ H
    are at least tau, so ||y|| on H \ S is at most ||y|| on S \ H plus 2 sqrt m e; (2) with
    t = ||y - z||, which is at least ||y|| outside H, this gives
        ||y - T||^2 <= t^2 + 4 t sqrt k e + 5 k e^2,  T = x on S;
    (3) a fixed e is the heap's case, e = accuracy t / sqrt k the sketch's; (4) the triangle
    inequality carries the second from the computed column to the exact one. *)

Require Import Reals Lra Lia List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors.
From Attest.Streaming Require Import Heap.
Import ListNotations.
Open Scope R_scope.

(** * The rows that were wrongly kept, against those wrongly dropped *)

(** Few rows with |x| <= tau, many with |x| >= tau, and y within e of x on both. *)
Lemma swapped_rows (x y : nat -> R) few many tau e : 0 <= e -> 0 <= tau ->
  (length few <= length many)%nat ->
  (forall i, In i few -> Rabs (x i) <= tau /\ Rabs (x i - y i) <= e) ->
  (forall i, In i many -> tau <= Rabs (x i) /\ Rabs (x i - y i) <= e) ->
  sqrt (lsum (fun i => y i ^ 2) few)
    <= sqrt (lsum (fun i => y i ^ 2) many) + 2 * (sqrt (INR (length few)) * e).
Proof.
  intros He Ht Len Hf Hm. set (m := INR (length few)). assert (Hm0 : 0 <= m) by apply pos_INR.
  assert (F : sqrt (lsum (fun i => y i ^ 2) few) <= sqrt m * (tau + e)).
  { rewrite <- (sqrt_pow2 (tau + e)), <- sqrt_mult by (try apply pow2_ge_0; lra).
    apply sqrt_le_1_alt, lsum_le_const. intros i Hi. destruct (Hf i Hi).
    rewrite <- (pow2_abs (y i)). apply pow_incr. split; [apply Rabs_pos |].
    replace (y i) with (x i - (x i - y i)) by ring.
    eapply Rle_trans; [apply Rabs_triang | rewrite Rabs_Ropp; lra]. }
  pose proof (sqrt_pos m) as Sm.
  destruct (Rle_dec tau e) as [Hte | Hte].
  - pose proof (sqrt_pos (lsum (fun i => y i ^ 2) many)).
    assert (sqrt m * (tau + e) <= sqrt m * (2 * e)) by (apply Rmult_le_compat_l; lra). lra.
  - assert (M : sqrt m * (tau - e) <= sqrt (lsum (fun i => y i ^ 2) many)).
    { rewrite <- (sqrt_pow2 (tau - e)), <- sqrt_mult by (try apply pow2_ge_0; lra).
      apply sqrt_le_1_alt. apply Rle_trans with (INR (length many) * (tau - e) ^ 2).
      - apply Rmult_le_compat_r; [apply pow2_ge_0 | apply le_INR; auto].
      - apply lsum_ge_const. intros i Hi. destruct (Hm i Hi).
        rewrite <- (pow2_abs (y i)). apply pow_incr. split; [lra |].
        assert (Rabs (x i) <= Rabs (y i) + Rabs (x i - y i)).
        { replace (x i) with (y i + (x i - y i)) at 1 by ring. apply Rabs_triang. }
        lra. }
    lra.
Qed.

(** * The distance of the kept rows to y *)

Lemma kept_distance n k x y z e kept : 0 <= e ->
  (forall i, (i < n)%nat -> Rabs (x i - y i) <= e) -> keeps x k (seq 0 n) kept -> sparse n k z ->
  squared_distance n y (restrict x kept)
    <= squared_distance n y z + 4 * distance n y z * (sqrt (INR k) * e)
       + 5 * (INR k * e ^ 2).
Proof.
  intros He Hxy (dropped & P & Len & Low) (support & Ls & Hz).
  assert (Nd : NoDup (kept ++ dropped)) by (eapply Permutation_NoDup; eauto; apply seq_NoDup).
  pose proof (nodup_app _ _ Nd) as [Ndrop Disjoint].
  assert (Nkept : NoDup kept).
  { apply (nodup_app dropped). eapply Permutation_NoDup; [apply Permutation_app_comm | auto]. }
  assert (Row : forall i, In i kept \/ In i dropped -> (i < n)%nat).
  { intros i Hi. cut (In i (seq 0 n)); [rewrite in_seq; lia |].
    apply (Permutation_in _ (Permutation_sym P)), in_or_app. auto. }
  set (square := fun i => y i ^ 2).
  (* the rows: S and H, S and not H, H and not S, neither *)
  set (wrong := filter (unlisted support) kept).
  set (missed := filter (listed support) dropped).
  set (rest := filter (unlisted support) dropped).
  assert (Kept : lsum (fun i => (y i - restrict x kept i) ^ 2) kept <= INR k * e ^ 2).
  { eapply Rle_trans; [apply (lsum_le_const _ _ (e ^ 2)) |].
    - intros i Hi. unfold restrict. destruct (in_dec Nat.eq_dec i kept); [| contradiction].
      rewrite <- (pow2_abs (y i - x i)), Rabs_minus_sym. apply pow_incr.
      split; [apply Rabs_pos | auto].
    - apply Rmult_le_compat_r; [apply pow2_ge_0 |]. apply le_INR. lia. }
  assert (Split : lsum square dropped = lsum square missed + lsum square rest).
  { rewrite (lsum_permutation _ _ _ (split_listed support dropped)), lsum_app. reflexivity. }
  assert (Left : squared_distance n y (restrict x kept)
    <= INR k * e ^ 2 + (lsum square missed + lsum square rest)).
  { unfold squared_distance. rewrite <- lsum_seq, (lsum_permutation _ _ _ P), lsum_app, <- Split.
    apply Rplus_le_compat; auto. right. apply lsum_ext. intros i Hi. unfold restrict, square.
    destruct (in_dec Nat.eq_dec i kept) as [Hk |]; [destruct (Disjoint i Hi Hk) | f_equal; ring]. }
  assert (Right : lsum square wrong + lsum square rest <= squared_distance n y z).
  { unfold squared_distance. rewrite <- lsum_seq, (lsum_permutation _ _ _ P), lsum_app.
    assert (Part : forall l, (forall i, In i l -> (i < n)%nat) ->
      lsum square (filter (unlisted support) l) <= lsum (fun i => (y i - z i) ^ 2) l).
    { intros l Hl. rewrite (lsum_permutation _ _ _ (split_listed support l)), lsum_app.
      assert (0 <= lsum (fun i => (y i - z i) ^ 2) (filter (listed support) l))
        by (apply lsum_nonneg; intros; apply pow2_ge_0).
      assert (lsum square (filter (unlisted support) l)
        = lsum (fun i => (y i - z i) ^ 2) (filter (unlisted support) l)).
      { apply lsum_ext. intros i Hi. apply filter_unlisted in Hi. destruct Hi as [Hi Hs].
        rewrite Hz by auto. unfold square. f_equal. ring. }
      lra. }
    apply Rplus_le_compat; apply Part; intros i Hi; apply Row; auto. }
  assert (Counts : (length missed <= length wrong)%nat /\ (length missed <= k)%nat).
  { pose proof (Permutation_length P) as L. rewrite app_length, seq_length in L.
    rewrite seq_length in Len.
    pose proof (Permutation_length (split_listed support kept)) as Lk. rewrite app_length in Lk.
    fold wrong in Lk.
    assert (B : (length missed + length (filter (listed support) kept) <= length support)%nat).
    { rewrite Nat.add_comm, <- app_length. apply NoDup_incl_length.
      - assert (A : filter (listed support) kept ++ missed
          = filter (listed support) (kept ++ dropped)) by (symmetry; apply filter_app).
        rewrite A. apply NoDup_filter. auto.
      - intros i Hi. apply in_app_or in Hi. unfold missed in Hi. rewrite !filter_listed in Hi.
        tauto. }
    assert (length missed <= length dropped)%nat.
    { pose proof (Permutation_length (split_listed support dropped)) as Ld.
      rewrite app_length in Ld. fold missed in Ld. lia. }
    lia. }
  destruct (largest (fun i => Rabs (x i)) missed) as (tau & Ht & Hle & Hin);
    [intros; apply Rabs_pos |].
  assert (Swap : sqrt (lsum square missed)
    <= sqrt (lsum square wrong) + 2 * (sqrt (INR (length missed)) * e)).
  { apply (swapped_rows x y missed wrong tau); auto; [apply Counts | |].
    - intros i Hi. split; auto. apply Hxy, Row. apply filter_listed in Hi. tauto.
    - intros i Hi. apply filter_unlisted in Hi. split; [| apply Hxy, Row; tauto].
      destruct Hin as [-> | (j & Hj & <-)]; [apply Rabs_pos |].
      apply Low; [| tauto]. apply filter_listed in Hj. tauto. }
  assert (Swap' : sqrt (lsum square missed) <= sqrt (lsum square wrong) + 2 * (sqrt (INR k) * e)).
  { eapply Rle_trans; [exact Swap |]. apply Rplus_le_compat_l, Rmult_le_compat_l; [lra |].
    apply Rmult_le_compat_r; auto. apply sqrt_le_1_alt, le_INR, Counts. }
  assert (Nonneg : forall l, 0 <= lsum square l)
    by (intros; apply lsum_nonneg; intros; apply pow2_ge_0).
  set (A := sqrt (lsum square wrong)) in *. set (s := sqrt (INR k)) in *.
  assert (A0 : 0 <= A) by apply sqrt_pos. assert (S0 : 0 <= s) by apply sqrt_pos.
  assert (AA : A * A = lsum square wrong) by (apply sqrt_sqrt, Nonneg).
  assert (SS : s * s = INR k) by (apply sqrt_sqrt, pos_INR).
  assert (Missed : lsum square missed <= (A + 2 * (s * e)) * (A + 2 * (s * e))).
  { rewrite <- (sqrt_sqrt (lsum square missed)) by apply Nonneg.
    apply Rmult_le_compat; auto; apply sqrt_pos. }
  assert (At : A <= distance n y z).
  { apply sqrt_le_1_alt. pose proof (Nonneg rest). lra. }
  assert (SE : 0 <= s * e) by (apply Rmult_le_pos; auto).
  assert (A * (s * e) <= distance n y z * (s * e)) by (apply Rmult_le_compat_r; auto).
  replace (INR k * e ^ 2) with (s * e * (s * e)) in * by (rewrite <- SS; ring).
  lra.
Qed.

(** * P2.heap *)

Lemma heap_excess_form k e : b_heap_excess k e = sqrt 5 * (sqrt (INR k) * e).
Proof. unfold b_heap_excess. argument sqrt (INR k). ring. Qed.

(** z is any k-sparse vector, so ||y - z|| may be the best that k entries can do. *)
Theorem p2_heap_excess n k x y z e kept : 0 <= e ->
  (forall i, (i < n)%nat -> Rabs (x i - y i) <= e) -> keeps x k (seq 0 n) kept -> sparse n k z ->
  distance n y (restrict x kept) <= distance n y z + b_heap_excess k e.
Proof.
  intros He Hxy HK Hz. rewrite heap_excess_form.
  pose proof (kept_distance n k x y z e kept He Hxy HK Hz) as B.
  pose proof (sqrt_pos (squared_distance n y z)) as T0. fold (distance n y z) in T0.
  pose proof (sqrt_pos (INR k)) as S0. pose proof (sqrt_sqrt (INR k) (pos_INR k)) as SS.
  set (s := sqrt (INR k)) in *.
  assert (SE : 0 <= s * e) by (apply Rmult_le_pos; auto).
  assert (F : 2 <= sqrt 5).
  { replace 2 with (sqrt (2 * 2)) by (apply sqrt_square; lra). apply sqrt_le_1_alt. lra. }
  pose proof (sqrt_sqrt 5 ltac:(lra)) as FF. set (f := sqrt 5) in *.
  apply Rsqr_incr_0_var; [unfold Rsqr; rewrite distance_square | nra].
  pose proof (distance_square n y z) as TT. set (t := distance n y z) in *.
  replace (INR k * e ^ 2) with (s * e * (s * e)) in B by (rewrite <- SS; ring).
  assert (2 * (t * (s * e)) <= f * (t * (s * e)))
    by (apply Rmult_le_compat_r; auto; apply Rmult_le_pos; auto).
  replace ((t + f * (s * e)) * (t + f * (s * e)))
    with (t * t + 2 * (f * (t * (s * e))) + f * f * (s * e * (s * e))) by ring.
  rewrite FF. lra.
Qed.

(** k rows 0 and k rows 2 e, all computed as e: those kept may be the first. *)
Theorem p2_heap_excess_attained k e : 0 <= e ->
  let y := fun i => if Nat.ltb i k then 0 else 2 * e in let x := fun _ : nat => e in
  let kept := seq 0 k in
  (forall i, (i < k + k)%nat -> Rabs (x i - y i) <= e) /\ keeps x k (seq 0 (k + k)) kept /\
  sparse (k + k) k y /\
  distance (k + k) y (restrict x kept) = distance (k + k) y y + b_heap_excess k e.
Proof.
  intros He y x kept.
  assert (P : seq 0 (k + k) = kept ++ seq k k) by apply seq_app.
  repeat split.
  - intros i _. unfold x, y. apply Rabs_le. destruct (Nat.ltb i k); lra.
  - exists (seq k k). rewrite P. repeat split; auto; [| intros; unfold x; lra].
    unfold kept. rewrite app_length, !seq_length. lia.
  - exists (seq k k). rewrite seq_length. split; auto. intros i Hi Hin. unfold y.
    destruct (Nat.ltb_spec i k); auto. exfalso. apply Hin, in_seq. lia.
  - assert (Z : distance (k + k) y y = 0).
    { unfold distance, squared_distance. rewrite fsum_zero; [apply sqrt_0 |]. intros. ring. }
    rewrite Z, heap_excess_form, Rplus_0_l. unfold distance, squared_distance.
    rewrite <- lsum_seq, P, lsum_app.
    rewrite (lsum_ext _ (fun _ => e ^ 2) kept), (lsum_ext _ (fun _ => 4 * e ^ 2) (seq k k)).
    + unfold kept. rewrite !lsum_const, !seq_length.
      replace (INR k * e ^ 2 + INR k * (4 * e ^ 2)) with (5 * (INR k * (e * e))) by ring.
      rewrite sqrt_mult_alt, sqrt_mult_alt, sqrt_square by (auto using pos_INR; lra).
      reflexivity.
    + intros i Hi. apply in_seq in Hi. unfold restrict, y.
      destruct (in_dec Nat.eq_dec i kept) as [Hk |]; [apply in_seq in Hk; lia |].
      destruct (Nat.ltb_spec i k); [lia | ring].
    + intros i Hi. unfold restrict, y, x.
      destruct (in_dec Nat.eq_dec i kept) as [Hk |]; [| contradiction].
      apply in_seq in Hi. destruct (Nat.ltb_spec i k); [ring | lia].
Qed.

(** * P2.recovery: from estimates to the column *)

Lemma recovery_ratio_form a :
  b_recovery_ratio a = sqrt (1 + 4 * a + 5 * a ^ 2).
Proof. unfold b_recovery_ratio. argument sqrt (1 + 4 * a + 5 * a ^ 2). reflexivity. Qed.

(** The k largest estimates, of a column that is estimated within accuracy ||y - z|| / sqrt k. *)
Theorem p2_recovery_ratio n k estimate y z accuracy kept : 0 <= accuracy -> (0 < k)%nat ->
  (forall i, (i < n)%nat ->
     Rabs (estimate i - y i) <= accuracy * distance n y z / sqrt (INR k)) ->
  keeps estimate k (seq 0 n) kept -> sparse n k z ->
  distance n y (restrict estimate kept) <= b_recovery_ratio accuracy * distance n y z.
Proof.
  intros Ha Hk Hest HK Hz. rewrite recovery_ratio_form.
  pose proof (sqrt_pos (squared_distance n y z)) as T0. fold (distance n y z) in T0.
  pose proof (lt_0_INR k Hk) as Hk0. pose proof (sqrt_lt_R0 (INR k) Hk0) as S0.
  pose proof (sqrt_sqrt (INR k) (pos_INR k)) as SS.
  set (e := accuracy * distance n y z / sqrt (INR k)) in *.
  assert (He : 0 <= e).
  { apply Rmult_le_pos; [apply Rmult_le_pos; auto | left; apply Rinv_0_lt_compat; auto]. }
  pose proof (kept_distance n k estimate y z e kept He Hest HK Hz) as B.
  pose proof (distance_square n y z) as TT. unfold distance at 1.
  set (t := distance n y z) in *. set (s := sqrt (INR k)) in *.
  assert (E : s * e = accuracy * t) by (unfold e; field; lra).
  rewrite <- (sqrt_square t T0). rewrite <- sqrt_mult_alt.
  - apply sqrt_le_1_alt.
    replace (INR k * e ^ 2) with (s * e * (s * e)) in B by (rewrite <- SS; ring).
    rewrite E in B. simpl. lra.
  - pose proof (pow2_ge_0 accuracy). lra.
Qed.

(** Estimates that are off by a fixed e besides, from rounding. *)
Theorem p2_recovery_rounded n k estimate y z accuracy e kept : 0 <= accuracy -> 0 <= e ->
  (0 < k)%nat ->
  (forall i, (i < n)%nat ->
     Rabs (estimate i - y i) <= accuracy * distance n y z / sqrt (INR k) + e) ->
  keeps estimate k (seq 0 n) kept -> sparse n k z ->
  distance n y (restrict estimate kept)
    <= b_recovery_ratio accuracy * distance n y z + b_heap_excess k e.
Proof.
  intros Ha He Hk Hest HK Hz. rewrite recovery_ratio_form, heap_excess_form.
  pose proof (sqrt_pos (squared_distance n y z)) as T0. fold (distance n y z) in T0.
  pose proof (sqrt_lt_R0 (INR k) (lt_0_INR k Hk)) as S0.
  pose proof (sqrt_sqrt (INR k) (pos_INR k)) as SS.
  set (off := accuracy * distance n y z / sqrt (INR k) + e) in *.
  assert (Hoff : 0 <= off).
  { apply Rplus_le_le_0_compat; auto.
    apply Rmult_le_pos; [apply Rmult_le_pos; auto | left; apply Rinv_0_lt_compat; auto]. }
  pose proof (kept_distance n k estimate y z off kept Hoff Hest HK Hz) as B.
  pose proof (distance_square n y z) as TT.
  set (t := distance n y z) in *. set (s := sqrt (INR k)) in *. set (r := s * e).
  assert (Hr : 0 <= r) by (apply Rmult_le_pos; lra).
  assert (E : s * off = accuracy * t + r) by (unfold off, r; field; lra).
  replace (INR k * off ^ 2) with (s * off * (s * off)) in B by (rewrite <- SS; ring).
  rewrite E in B. pose proof (pow2_ge_0 accuracy) as A2.
  set (square := 1 + 4 * accuracy + 5 * accuracy ^ 2) in *.
  assert (Q0 : 0 <= square) by (unfold square; lra).
  pose proof (sqrt_pos square) as R0. pose proof (sqrt_sqrt square Q0) as RR.
  pose proof (sqrt_pos 5) as F0. pose proof (sqrt_sqrt 5 ltac:(lra)) as FF.
  (* (2 + 5 a)^2 <= 5 (1 + 4 a + 5 a^2) *)
  assert (Cross : 2 + 5 * accuracy <= sqrt 5 * sqrt square).
  { apply Rsqr_incr_0_var; [| apply Rmult_le_pos; auto]. unfold Rsqr.
    replace (sqrt 5 * sqrt square * (sqrt 5 * sqrt square))
      with (sqrt 5 * sqrt 5 * (sqrt square * sqrt square)) by ring.
    rewrite FF, RR. unfold square. simpl. lra. }
  set (R := sqrt square) in *. set (f := sqrt 5) in *.
  apply Rsqr_incr_0_var; [| apply Rplus_le_le_0_compat; apply Rmult_le_pos; auto].
  unfold Rsqr. rewrite distance_square.
  replace ((R * t + f * r) * (R * t + f * r))
    with (R * R * (t * t) + 2 * (f * R * (t * r)) + f * f * (r * r)) by ring.
  rewrite RR, FF.
  assert ((2 + 5 * accuracy) * (t * r) <= f * R * (t * r))
    by (apply Rmult_le_compat_r; auto; apply Rmult_le_pos; auto).
  unfold square. simpl. lra.
Qed.

(** y = (1, 1 + 2 a), of which both are estimated as 1 + a. *)
Theorem p2_recovery_ratio_attained a : 0 <= a ->
  let y := fun i => if Nat.eqb i 0 then 1 else 1 + 2 * a in
  let z := fun i => if Nat.eqb i 0 then 0 else 1 + 2 * a in
  let estimate := fun _ : nat => 1 + a in let kept := [0%nat] in
  (forall i, (i < 2)%nat -> Rabs (estimate i - y i) <= a * distance 2 y z / sqrt (INR 1)) /\
  keeps estimate 1 (seq 0 2) kept /\ sparse 2 1 z /\
  distance 2 y (restrict estimate kept) = b_recovery_ratio a * distance 2 y z.
Proof.
  intros Ha y z estimate kept.
  assert (D : distance 2 y z = 1).
  { rewrite <- sqrt_1. unfold distance, squared_distance, y, z. simpl. f_equal. ring. }
  assert (D' : distance 2 y (restrict estimate kept) = sqrt (1 + 4 * a + 5 * a ^ 2)).
  { unfold distance, squared_distance, restrict, y, estimate, kept. simpl. f_equal. ring. }
  rewrite D, D', recovery_ratio_form. repeat split.
  - intros i _. simpl. rewrite sqrt_1. unfold estimate, y. apply Rabs_le.
    destruct (Nat.eqb i 0); lra.
  - exists [1%nat]. repeat split; auto. intros. unfold estimate. lra.
  - exists [1%nat]. split; auto. intros i Hi Hin. unfold z.
    destruct i as [| [| i]]; [auto | exfalso; apply Hin; simpl; auto | lia].
  - ring.
Qed.

(** T is as good for the computed column x as the ratio says; the exact one is y. *)
Theorem p2_recovery_error n k T x y ratio e z : 0 <= e -> 0 <= ratio ->
  (forall i, (i < n)%nat -> Rabs (x i - y i) <= e) -> sparse n k z ->
  (forall z', sparse n k z' -> distance n x T <= ratio * distance n x z') ->
  distance n y T <= b_recovery_error ratio (distance n y z) n e.
Proof.
  intros He Hr Hxy Hz HT. unfold b_recovery_error. argument sqrt (INR n).
  pose proof (distance_entries n x y e He Hxy) as D.
  pose proof (distance_triangle n y x T) as T1. pose proof (distance_triangle n x y z) as T2.
  rewrite (distance_sym n y x) in T1. specialize (HT z Hz).
  assert (ratio * distance n x z <= ratio * (e * sqrt (INR n) + distance n y z))
    by (apply Rmult_le_compat_l; lra).
  lra.
Qed.
