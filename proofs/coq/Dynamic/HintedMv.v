(** Dynamic attention answers hinted matrix-vector products (claim P1.hardness).

    Phase 1 gives Boolean n x n matrices M and V, phase 2 a Boolean P by the list of its ones, phase
    3 asks for entries of the Boolean product M P V.  The reduction keeps n + 1 tokens: the queries
    are the rows of M, the keys are 0, the values are the rows of V with an entry 0 behind; the last
    token has the value (0, ..., 0, 1), whose column returns 1 / D_j.  Phase 2 is
    one UpdateKey(k, l, c) a one P_lk.  Phase 3 tests
      out_ji / out_jn - sum_k V_ki > (e^c - 1) / 2.

    Steps: (1) logit jk is c (M P)_jk, by induction on the list; (2) so the left side is the sum
    of (e^{c (M P)_jk} - 1) V_ki, which is 0 or at least e^c - 1; (3) every out_ji / out_jn is
    at most n - 1 + e^{c s}, where s counts the ones, since e^a + e^b <= 1 + e^{a + b}, and
    relative errors of the reads move it in proportion.

    NOTE The paper asks for one column of M P V in phase 3; here each of its entries is a test. *)

Require Import Reals Lra Lia List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Dynamic Require Import Tokens.
Import ListNotations.
Open Scope R_scope.

(** 1 where b holds, and 0 elsewhere *)
Definition indicator (b : bool) : R := if b then 1 else 0.

Lemma indicator_range b : 0 <= indicator b <= 1.
Proof. destruct b; simpl; lra. Qed.

(** * The program *)

Definition phase1 (n : nat) (M V : nat -> nat -> bool) : tokens :=
  Tokens (S n) (fun _ => true)
    (fun j l => indicator (Nat.ltb j n && M j l))
    (fun _ _ => 0)
    (fun k i => if Nat.ltb k n then indicator (Nat.ltb i n && V k i) else indicator (Nat.eqb i n)).

Definition phase2 (c : R) (ones : list (nat * nat)) : list edit :=
  map (fun lk => UpdateKey (snd lk) (fst lk) c) ones.

Definition prepared (n : nat) (c : R) M V (ones : list (nat * nat)) : tokens :=
  fold_left edited (phase2 c ones) (phase1 n M V).

Definition column_sum (n : nat) (V : nat -> nat -> bool) (i : nat) : R :=
  fsum n (fun k => indicator (V k i)).

(** The quantity that phase 3 compares with (e^c - 1) / 2. *)
Definition signal (n : nat) (c : R) M V (ones : list (nat * nat)) (j i : nat) : R :=
  let out := attention_of n false (prepared n c M V ones) j in
  out i / out n - column_sum n V i.

(** The list holds the ones of P, some perhaps twice. *)
Definition lists_ones (n : nat) (P : nat -> nat -> bool) (ones : list (nat * nat)) : Prop :=
  forall l k, In (l, k) ones <-> (l < n)%nat /\ (k < n)%nat /\ P l k = true.

Definition boolean_product (n : nat) (M P V : nat -> nat -> bool) (j i : nat) : Prop :=
  exists l k, (l < n)%nat /\ (k < n)%nat /\ M j l = true /\ P l k = true /\ V k i = true.

(** * The logits *)

(** (M P)_jk *)
Fixpoint overlap (M : nat -> nat -> bool) (ones : list (nat * nat)) (j k : nat) : R :=
  match ones with
  | [] => 0
  | (l, k') :: rest => overlap M rest j k + indicator (Nat.eqb k k' && M j l)
  end.

Lemma overlap_nonneg M ones j k : 0 <= overlap M ones j k.
Proof.
  induction ones as [| [l k'] rest IH]; simpl; [lra |].
  pose proof (indicator_range (Nat.eqb k k' && M j l)). lra.
Qed.

Lemma overlap_hit M ones j k l : In (l, k) ones -> M j l = true -> 1 <= overlap M ones j k.
Proof.
  induction ones as [| [l' k'] rest IH]; simpl; intros H HM; [contradiction |].
  pose proof (indicator_range (Nat.eqb k k' && M j l')). pose proof (overlap_nonneg M rest j k).
  destruct H as [E | H].
  - injection E as -> ->. rewrite Nat.eqb_refl, HM. simpl. lra.
  - specialize (IH H HM). lra.
Qed.

Lemma overlap_miss M ones j k : (forall l, In (l, k) ones -> M j l = false) ->
  overlap M ones j k = 0.
Proof.
  induction ones as [| [l' k'] rest IH]; simpl; intros H; [reflexivity |].
  rewrite IH by (intros l Hl; apply H; auto).
  destruct (Nat.eqb_spec k k') as [-> |]; [rewrite (H l') by auto |]; simpl; ring.
Qed.

Lemma overlap_total M ones j n :
  fsum n (overlap M ones j) <= INR (length ones).
Proof.
  induction ones as [| [l k'] rest IH]; cbn [overlap length].
  - rewrite fsum_zero by auto. simpl. lra.
  - rewrite fsum_plus, S_INR. apply Rplus_le_compat; [exact IH |].
    apply Rle_trans with (fsum n (fun k => if Nat.eqb k k' then 1 else 0)).
    + apply fsum_le. intros k _. destruct (Nat.eqb k k'); simpl; [apply indicator_range | lra].
    + destruct (Nat.ltb_spec k' n) as [Hk | Hk].
      * rewrite fsum_one by auto. lra.
      * rewrite fsum_zero; [lra |]. intros k H. destruct (Nat.eqb_spec k k'); [lia | reflexivity].
Qed.

(** One edit of phase 2, and all of them: only the keys change. *)
Definition same_but_keys (T U : tokens) : Prop :=
  count U = count T /\ alive U = alive T /\ queries U = queries T /\ values U = values T.

Lemma phase2_keeps c ones : forall T, same_but_keys T (fold_left edited (phase2 c ones) T).
Proof.
  induction ones as [| [l k] rest IH]; simpl; intros T; [repeat split |].
  destruct (IH (edited T (UpdateKey k l c))) as (A & B & C & D).
  unfold edited in *. cbn [accepted] in *.
  destruct (live T k); cbn in A, B, C, D; repeat split; congruence.
Qed.

Lemma phase2_score n c M ones j k : forall T,
  (forall l, (l < n)%nat -> queries T j l = indicator (M j l)) ->
  (forall l k, In (l, k) ones -> (l < n)%nat /\ live T k = true) ->
  score n (fold_left edited (phase2 c ones) T) j k = score n T j k + c * overlap M ones j k.
Proof.
  induction ones as [| [l k'] rest IH]; cbn [phase2 map fold_left overlap fst snd]; intros T HQ HL.
  - ring.
  - destruct (HL l k') as [Hl Hk]; [left; auto |].
    assert (E : edited T (UpdateKey k' l c) = with_key T k' (plus_entry (keys T k') l c))
      by (unfold edited; cbn [accepted]; now rewrite Hk).
    rewrite E. fold (phase2 c rest). rewrite IH.
    + unfold score, with_key. cbn [queries keys]. unfold put at 1.
      destruct (Nat.eqb_spec k k') as [-> | Hne]; [| simpl; ring].
      rewrite (fsum_put n (fun m => queries T j m * keys T k' m) _ l Hl).
      * unfold plus_entry. rewrite put_same, HQ by auto. simpl. ring.
      * intros m _ Hm. unfold plus_entry. now rewrite put_other.
    + intros m Hm. apply HQ; auto.
    + intros m m' H. apply (HL m m'). right; auto.
Qed.

(** * The signal *)

Section Signal.

Variables (n : nat) (c : R) (M P V : nat -> nat -> bool) (ones : list (nat * nat)) (j i : nat).
Hypothesis positive_c : 0 < c.
Hypothesis list_of_ones : lists_ones n P ones.
Hypothesis row : (j < n)%nat.
Hypothesis column : (i < n)%nat.

Let T := prepared n c M V ones.

Lemma prepared_weight k : weight n false T j k = exp (c * overlap M ones j k).
Proof.
  unfold weight, sees, T, prepared. cbn [negb orb]. f_equal. rewrite (phase2_score n c M ones).
  - unfold score, phase1. cbn [queries keys].
    rewrite fsum_zero by (intros; ring). ring.
  - intros l Hl. unfold phase1. cbn [queries].
    now destruct (Nat.ltb_spec j n); [| lia].
  - intros l k' H. apply list_of_ones in H as (Hl & Hk & _). split; auto.
    unfold live, phase1. cbn [count alive]. rewrite andb_true_r. apply Nat.ltb_lt. lia.
Qed.

Lemma prepared_extended k m : extended T k (S m) = values (phase1 n M V) k m.
Proof.
  destruct (phase2_keeps c ones (phase1 n M V)) as (_ & A & _ & Hv).
  unfold extended, T, prepared. now rewrite A, Hv.
Qed.

Lemma prepared_sum m : sums_of n false T j (S m)
  = fsum n (fun k => exp (c * overlap M ones j k) * indicator (Nat.ltb m n && V k m))
    + indicator (Nat.eqb m n).
Proof.
  destruct (phase2_keeps c ones (phase1 n M V)) as (C & _).
  unfold sums_of. replace (count T) with (S n) by exact (eq_sym C). rewrite fsum_S.
  rewrite prepared_extended, prepared_weight, overlap_miss, Rmult_0_r, exp_0, Rmult_1_l.
  - f_equal.
    + apply fsum_ext. intros k Hk. rewrite prepared_extended, prepared_weight. unfold phase1.
      cbn [values]. now destruct (Nat.ltb_spec k n); [| lia].
    + unfold phase1. cbn [values]. now rewrite Nat.ltb_irrefl.
  - intros l H. apply list_of_ones in H. lia.
Qed.

(** out_ji / out_jn *)
Definition ratio : R := fsum n (fun k => exp (c * overlap M ones j k) * indicator (V k i)).

Lemma prepared_denominator : 0 < sums_of n false T j 0.
Proof.
  apply p1_denominator. destruct (phase2_keeps c ones (phase1 n M V)) as (C & A & _).
  unfold live, T, prepared. rewrite C, A. cbn [count alive phase1].
  rewrite andb_true_r. apply Nat.ltb_lt. lia.
Qed.

Lemma prepared_ratio :
  attention_of n false T j i = ratio * attention_of n false T j n /\
  attention_of n false T j n = / sums_of n false T j 0.
Proof.
  pose proof prepared_denominator. unfold attention_of, Rdiv.
  rewrite (prepared_sum n), (prepared_sum i), Nat.eqb_refl, Nat.ltb_irrefl.
  rewrite (fsum_zero n (fun k => _ * indicator (false && _))) by (intros; simpl; ring).
  destruct (Nat.eqb_spec i n); [lia |]. destruct (Nat.ltb_spec i n); [| lia].
  unfold ratio. cbn [andb indicator]. split; ring.
Qed.

Lemma signal_form : signal n c M V ones j i = ratio - column_sum n V i.
Proof.
  unfold signal. fold T. cbv zeta. destruct prepared_ratio as [-> ->].
  pose proof prepared_denominator. field. lra.
Qed.

Lemma signal_sum : signal n c M V ones j i
  = fsum n (fun k => (exp (c * overlap M ones j k) - 1) * indicator (V k i)).
Proof.
  rewrite signal_form. unfold ratio, column_sum. rewrite <- fsum_minus.
  apply fsum_ext. intros. ring.
Qed.

Lemma signal_hit : boolean_product n M P V j i -> exp c - 1 <= signal n c M V ones j i.
Proof.
  intros (l & k & Hl & Hk & HM & HP & HV). rewrite signal_sum.
  apply Rle_trans with ((exp (c * overlap M ones j k) - 1) * indicator (V k i)).
  - rewrite HV. simpl. assert (1 <= overlap M ones j k)
      by (apply (overlap_hit M ones j k l); auto; apply list_of_ones; auto).
    assert (exp c <= exp (c * overlap M ones j k)) by (apply exp_le; nra). lra.
  - apply (fsum_term n (fun k => (exp (c * overlap M ones j k) - 1) * indicator (V k i))); auto.
    intros m _. pose proof (indicator_range (V m i)). pose proof (overlap_nonneg M ones j m).
    assert (1 <= exp (c * overlap M ones j m)) by (apply exp_ge_1; nra). nra.
Qed.

Lemma signal_miss : ~ boolean_product n M P V j i -> signal n c M V ones j i = 0.
Proof.
  intros H. rewrite signal_sum. apply fsum_zero. intros k Hk.
  destruct (V k i) eqn:HV; simpl; [| ring].
  rewrite overlap_miss; [rewrite Rmult_0_r, exp_0; ring |].
  intros l Hl. apply list_of_ones in Hl as (Hl & _ & HP).
  destruct (M j l) eqn:HM; [| reflexivity]. exfalso. apply H. exists l, k. auto.
Qed.

(** * The largest ratio *)

Lemma exp_sum m x : (forall k, (k < m)%nat -> 0 <= x k) ->
  fsum m (fun k => exp (x k) - 1) <= exp (fsum m x) - 1.
Proof.
  induction m; simpl; intros H; [rewrite exp_0; lra |].
  rewrite exp_plus.
  assert (0 <= fsum m x) by (apply fsum_nonneg; auto).
  pose proof (exp_ge_1 (fsum m x) ltac:(lra)). pose proof (exp_ge_1 (x m) (H m ltac:(lia))).
  specialize (IHm ltac:(auto)). nra.
Qed.

Lemma ratio_range : 0 <= ratio <= INR n - 1 + exp (c * INR (length ones)).
Proof.
  unfold ratio. split.
  - apply fsum_nonneg. intros k _. pose proof (exp_pos (c * overlap M ones j k)).
    pose proof (indicator_range (V k i)). nra.
  - apply Rle_trans with (fsum n (fun k => 1 + (exp (c * overlap M ones j k) - 1))).
    + apply fsum_le. intros k _. pose proof (exp_pos (c * overlap M ones j k)).
      pose proof (indicator_range (V k i)). nra.
    + rewrite fsum_plus, fsum_const.
      assert (E : fsum n (fun k => exp (c * overlap M ones j k) - 1)
        <= exp (fsum n (fun k => c * overlap M ones j k)) - 1).
      { apply exp_sum. intros k _. pose proof (overlap_nonneg M ones j k). nra. }
      rewrite fsum_scale in E. pose proof (overlap_total M ones j n).
      assert (exp (c * fsum n (overlap M ones j)) <= exp (c * INR (length ones)))
        by (apply exp_le, Rmult_le_compat_l; lra). lra.
Qed.

Lemma prepared_mass : ratio <= sums_of n false T j 0 - 1 /\
  sums_of n false T j 0 <= INR n + exp (c * INR (length ones)).
Proof.
  destruct (phase2_keeps c ones (phase1 n M V)) as (C & A & _).
  assert (E : sums_of n false T j 0 = fsum n (fun k => exp (c * overlap M ones j k)) + 1).
  { unfold sums_of. replace (count T) with (S n) by exact (eq_sym C). rewrite fsum_S.
    unfold extended. replace (alive T) with (alive (phase1 n M V)) by exact (eq_sym A).
    rewrite (prepared_weight n), (overlap_miss M ones j n), Rmult_0_r, exp_0.
    - cbn [alive phase1]. rewrite Rmult_1_l. f_equal. apply fsum_ext. intros k _.
      rewrite prepared_weight. ring.
    - intros l H. apply list_of_ones in H. lia. }
  rewrite E. split.
  - replace (fsum n (fun k => exp (c * overlap M ones j k)) + 1 - 1)
      with (fsum n (fun k => exp (c * overlap M ones j k))) by ring.
    apply fsum_le. intros k _. pose proof (exp_pos (c * overlap M ones j k)).
    pose proof (indicator_range (V k i)). nra.
  - assert (H : fsum n (fun k => exp (c * overlap M ones j k) - 1)
      <= exp (fsum n (fun k => c * overlap M ones j k)) - 1).
    { apply exp_sum. intros k _. pose proof (overlap_nonneg M ones j k). nra. }
    rewrite fsum_minus, fsum_const, fsum_scale in H. pose proof (overlap_total M ones j n).
    assert (exp (c * fsum n (overlap M ones j)) <= exp (c * INR (length ones)))
      by (apply exp_le, Rmult_le_compat_l; lra). lra.
Qed.

Lemma test_dichotomy :
  (boolean_product n M P V j i /\ exp c - 1 <= signal n c M V ones j i) \/
  (~ boolean_product n M P V j i /\ signal n c M V ones j i = 0).
Proof.
  destruct (Rlt_le_dec (signal n c M V ones j i) (exp c - 1)) as [H | H].
  - right. assert (~ boolean_product n M P V j i)
      by (intros B; pose proof (signal_hit B); lra). split; auto. apply signal_miss; auto.
  - left. split; auto. assert (1 < exp c) by (rewrite <- exp_0; apply exp_increasing; auto).
    destruct (Exists_dec (fun lk => M j (fst lk) = true /\ V (snd lk) i = true) ones) as [D | D].
    + intros [l k]. simpl. destruct (M j l), (V k i); auto; right; intros [? ?]; discriminate.
    + apply Exists_exists in D as [[l k] [Hin [HM HV]]]. exists l, k.
      apply list_of_ones in Hin as (? & ? & ?). auto.
    + exfalso. assert (signal n c M V ones j i = 0); [| lra]. apply signal_miss.
      intros (l & k & Hl & Hk & HM & HP & HV). apply D. apply Exists_exists. exists (l, k).
      split; [apply list_of_ones; auto | auto].
Qed.

End Signal.

(** * P1.hardness *)

Theorem p1_hinted_mv n c M P V ones j i : 0 < c -> lists_ones n P ones ->
  (j < n)%nat -> (i < n)%nat ->
  ((exp c - 1) / 2 < signal n c M V ones j i <-> boolean_product n M P V j i).
Proof.
  intros Hc HP Hj Hi. assert (1 < exp c) by (rewrite <- exp_0; apply exp_increasing; auto).
  destruct (test_dichotomy n c M P V ones j i Hc HP Hj Hi) as [[B S] | [B S]]; split; intros H0;
    auto; [lra | lra | contradiction].
Qed.

(** * P1.reduction *)

(** The quotient of two reads that err by at most E, of a / D and 1 / D. *)
Lemma absolute_quotient a D W E a' b' : 0 <= a <= D - 1 -> D <= W -> E * W < 1 ->
  Rabs (a' - a / D) <= E -> Rabs (b' - / D) <= E ->
  Rabs (a' / b' - a) <= E * W / (1 - E * W) * W.
Proof.
  intros Ha HW HE HA HB.
  assert (HE0 : 0 <= E) by (eapply Rle_trans; [apply Rabs_pos | exact HA]).
  assert (HED : E * D <= E * W) by (apply Rmult_le_compat_l; lra).
  set (x := a' - a / D) in *. set (y := b' - / D) in *.
  apply Rabs_bounds in HA. apply Rabs_bounds in HB.
  assert (Hy : 1 - E * W <= 1 + y * D) by nra.
  replace (a' / b' - a) with (D * (x - a * y) / (1 + y * D)).
  2: { replace a' with (a / D + x) by (unfold x; ring).
    replace b' with (/ D + y) by (unfold y; ring).
    field. split; [| lra]. replace (1 + y * D) with (1 + y * D) by ring. lra. }
  rewrite Rabs_div_pos by lra. apply div_le; [lra |].
  apply Rle_trans with (E * W * W).
  - rewrite Rabs_mult, (Rabs_right D) by lra.
    assert (Rabs (x - a * y) <= E * W) by (apply Rabs_le; nra).
    pose proof (Rabs_pos (x - a * y)).
    apply Rle_trans with (W * (E * W)); [| lra]. apply Rmult_le_compat; lra.
  - replace (E * W / (1 - E * W) * W * (1 + y * D))
      with (E * W * W * ((1 + y * D) / (1 - E * W))) by (field; lra).
    assert (1 <= (1 + y * D) / (1 - E * W)) by (apply le_div; lra).
    assert (0 <= E * W * W) by (repeat apply Rmult_le_pos; lra). nra.
Qed.

Lemma reduction_error_form n c s E u : let W := INR n + exp (c * INR s) in E * W < 1 ->
  b_reduction_error n c s E u
    = (1 + u) ^ 2 * (E * W / (1 - E * W) * W) + u * (2 + u) * W.
Proof.
  intros W H. unfold b_reduction_error. argument exp (c * INR s). unfold W in *. field. lra.
Qed.

(** What phase 3 computes: two reads with a certified error, their quotient, the difference. *)
Theorem p1_reduction_error n c M P V ones j i E u read_i read_n quotient difference :
  0 < c -> lists_ones n P ones -> (j < n)%nat -> (i < n)%nat -> 0 <= u ->
  E * (INR n + exp (c * INR (length ones))) < 1 ->
  let out := attention_of n false (prepared n c M V ones) j in
  Rabs (read_i - out i) <= E -> Rabs (read_n - out n) <= E ->
  Rabs (quotient - read_i / read_n) <= u * Rabs (read_i / read_n) ->
  Rabs (difference - (quotient - column_sum n V i)) <= u * Rabs (quotient - column_sum n V i) ->
  Rabs (difference - signal n c M V ones j i) <= b_reduction_error n c (length ones) E u.
Proof.
  intros Hc HP Hj Hi Hu HE out Hri Hrn Hq Hd. rewrite reduction_error_form by exact HE.
  set (W := INR n + exp (c * INR (length ones))) in *.
  destruct (prepared_ratio n c M P V ones j i HP Hj Hi) as [Ei En].
  destruct (prepared_mass n c M P V ones j i Hc HP Hj Hi) as [HM HW].
  destruct (ratio_range n c M V ones j i Hc Hj Hi) as [HN _].
  rewrite (signal_form n c M P V ones j i HP Hj Hi).
  assert (HS0 : 0 <= column_sum n V i) by (apply fsum_nonneg; intros; apply indicator_range).
  assert (HSN : column_sum n V i <= ratio n c M V ones j i).
  { apply fsum_le. intros k _. pose proof (overlap_nonneg M ones j k).
    assert (1 <= exp (c * overlap M ones j k)) by (apply exp_ge_1; nra).
    pose proof (indicator_range (V k i)). nra. }
  fold out in Ei, En. fold W in HW. set (D := sums_of n false (prepared n c M V ones) j 0) in *.
  set (a := ratio n c M V ones j i) in *. set (colsum := column_sum n V i) in *.
  rewrite Ei, En in Hri. rewrite En in Hrn.
  pose proof (absolute_quotient a D W E read_i read_n ltac:(lra) HW HE Hri Hrn) as HR.
  set (eta := E * W / (1 - E * W) * W) in *. set (rho := read_i / read_n) in *.
  assert (Hrho : Rabs rho <= a + eta).
  { replace rho with (a + (rho - a)) by ring. eapply Rle_trans; [apply Rabs_triang |].
    rewrite (Rabs_right a) by lra. lra. }
  assert (H1 : Rabs (quotient - a) <= (1 + u) * eta + u * a).
  { replace (quotient - a) with ((quotient - rho) + (rho - a)) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    assert (u * Rabs rho <= u * (a + eta)) by (apply Rmult_le_compat_l; auto). lra. }
  assert (H2 : Rabs (quotient - colsum) <= Rabs (quotient - a) + (a - colsum)).
  { replace (quotient - colsum) with ((quotient - a) + (a - colsum)) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. rewrite (Rabs_right (a - colsum)) by lra. lra. }
  replace (difference - (a - colsum))
    with ((difference - (quotient - colsum)) + (quotient - a)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  assert (H3 : u * Rabs (quotient - colsum) <= u * (Rabs (quotient - a) + (a - colsum)))
    by (apply Rmult_le_compat_l; auto).
  assert (H4 : (1 + u) * Rabs (quotient - a) <= (1 + u) * ((1 + u) * eta + u * a))
    by (apply Rmult_le_compat_l; lra).
  assert (H5 : u * (2 + u) * a <= u * (2 + u) * W) by (apply Rmult_le_compat_l; nra).
  assert (H6 : u * (a - colsum) <= u * a) by (apply Rmult_le_compat_l; lra). nra.
Qed.

(** The sufficient condition on c: any threshold that far from 0 and from e^c - 1, as (e^c - 1) / 2
    is where b_reduction_error < (e^c - 1) / 2. *)
Theorem p1_reduction n c M P V ones j i E u read_i read_n quotient difference threshold :
  0 < c -> lists_ones n P ones -> (j < n)%nat -> (i < n)%nat -> 0 <= u ->
  E * (INR n + exp (c * INR (length ones))) < 1 ->
  let out := attention_of n false (prepared n c M V ones) j in
  Rabs (read_i - out i) <= E -> Rabs (read_n - out n) <= E ->
  Rabs (quotient - read_i / read_n) <= u * Rabs (read_i / read_n) ->
  Rabs (difference - (quotient - column_sum n V i)) <= u * Rabs (quotient - column_sum n V i) ->
  b_reduction_error n c (length ones) E u < threshold ->
  threshold < exp c - 1 - b_reduction_error n c (length ones) E u ->
  (threshold < difference <-> boolean_product n M P V j i).
Proof.
  intros Hc HP Hj Hi Hu HE out Hri Hrn Hq Hd Hlow Hhigh.
  pose proof (p1_reduction_error n c M P V ones j i E u read_i read_n quotient difference
    Hc HP Hj Hi Hu HE Hri Hrn Hq Hd) as H. apply Rabs_bounds in H.
  destruct (test_dichotomy n c M P V ones j i Hc HP Hj Hi) as [[B S] | [B S]]; split; intros H0;
    auto; [lra | lra | contradiction].
Qed.

(** M P V, and the number of entries in which answers differ from it. *)
Definition product_entry (n : nat) (M P V : nat -> nat -> bool) (j i : nat) : bool :=
  existsb (fun k => V k i && existsb (fun l => M j l && P l k) (seq 0 n)) (seq 0 n).

Definition mistakes (n : nat) (M P V answers : nat -> nat -> bool) : R :=
  fsum n (fun j => fsum n (fun i =>
    indicator (negb (eqb (answers j i) (product_entry n M P V j i))))).

Lemma product_entry_spec n M P V j i :
  product_entry n M P V j i = true <-> boolean_product n M P V j i.
Proof.
  unfold product_entry, boolean_product. rewrite existsb_exists. split.
  - intros (k & Hk & H). apply andb_prop in H as [HV H]. apply existsb_exists in H as (l & Hl & H).
    apply andb_prop in H as [HM HP]. apply in_seq in Hk. apply in_seq in Hl.
    exists l, k. repeat split; auto; lia.
  - intros (l & k & Hl & Hk & HM & HP & HV). exists k. split; [apply in_seq; lia |].
    rewrite HV. apply existsb_exists. exists l. split; [apply in_seq; lia | now rewrite HM, HP].
Qed.

(** All answers of phase 3, from reads that err by at most E. *)
Theorem p1_reduction_mistakes n c M P V ones E u read quotient difference threshold answers :
  0 < c -> lists_ones n P ones -> 0 <= u ->
  E * (INR n + exp (c * INR (length ones))) < 1 ->
  (forall j i, (j < n)%nat -> (i < n)%nat ->
    let out := attention_of n false (prepared n c M V ones) j in
    Rabs (read j i - out i) <= E /\ Rabs (read j n - out n) <= E /\
    Rabs (quotient j i - read j i / read j n) <= u * Rabs (read j i / read j n) /\
    Rabs (difference j i - (quotient j i - column_sum n V i))
      <= u * Rabs (quotient j i - column_sum n V i) /\
    (answers j i = true <-> threshold < difference j i)) ->
  b_reduction_error n c (length ones) E u < threshold ->
  threshold < exp c - 1 - b_reduction_error n c (length ones) E u ->
  mistakes n M P V answers <= b_reduction_mistakes.
Proof.
  intros Hc HP Hu HE H Hlow Hhigh. unfold b_reduction_mistakes, mistakes. right.
  apply fsum_zero. intros j Hj. apply fsum_zero. intros i Hi.
  destruct (H j i Hj Hi) as (Hri & Hrn & Hq & Hd & Ha).
  pose proof (p1_reduction n c M P V ones j i E u _ _ _ _ threshold
    Hc HP Hj Hi Hu HE Hri Hrn Hq Hd Hlow Hhigh) as B.
  rewrite <- product_entry_spec, <- Ha in B.
  replace (eqb (answers j i) (product_entry n M P V j i)) with true; [reflexivity |].
  symmetry. apply eqb_true_iff. destruct (answers j i), (product_entry n M P V j i); intuition.
Qed.

(** * Reads with small relative errors

    The sums of the reduction have no negative terms, so their errors are relative, and then g needs
    no factor W: the condition is g (n - 1 + e^{c s}) < (e^c - 1) / 2. *)

(** A computed quotient of two reads, each with a relative error of at most r. *)
Lemma quotient_of_reads a b a' b' q r u : 0 <= a -> 0 < b -> 0 <= r < 1 -> 0 <= u ->
  Rabs (a' - a) <= r * a -> Rabs (b' - b) <= r * b -> Rabs (q - a' / b') <= u * Rabs (a' / b') ->
  Rabs (q - a / b) <= ((1 + u) * (1 + r) / (1 - r) - 1) * (a / b).
Proof.
  intros Ha Hb Hr Hu HA HB HQ. apply Rabs_bounds in HA. apply Rabs_bounds in HB.
  assert (Hb' : 0 < b') by nra.
  assert (Q0 : 0 <= a / b) by (apply le_div; lra).
  assert (Q1 : 0 <= a' / b') by (apply le_div; [auto |]; nra).
  rewrite (Rabs_right (a' / b')) in HQ by lra. apply Rabs_bounds in HQ.
  assert (U : a' / b' <= (1 + r) / (1 - r) * (a / b)).
  { apply div_le; auto. replace ((1 + r) / (1 - r) * (a / b) * b')
      with ((1 + r) * a * (b' / ((1 - r) * b))) by (field; lra).
    assert (1 <= b' / ((1 - r) * b)) by (apply le_div; nra).
    assert (0 <= (1 + r) * a) by nra. nra. }
  assert (L : (1 - r) / (1 + r) * (a / b) <= a' / b').
  { apply le_div; auto. replace ((1 - r) / (1 + r) * (a / b) * b')
      with ((1 - r) * a * (b' / ((1 + r) * b))) by (field; lra).
    assert (b' / ((1 + r) * b) <= 1) by (apply div_le; nra).
    assert (0 <= (1 - r) * a) by nra. nra. }
  set (w := a' / b') in *. set (z := a / b) in *.
  assert (E : (1 + r) / (1 - r) * ((1 - r) / (1 + r)) = 1) by (field; lra).
  assert (G : 1 <= (1 + r) / (1 - r)) by (apply le_div; lra).
  assert (S : 0 <= (1 - r) / (1 + r)) by (apply le_div; lra).
  replace ((1 + u) * (1 + r) / (1 - r)) with ((1 + u) * ((1 + r) / (1 - r))) by (unfold Rdiv; ring).
  set (up := (1 + r) / (1 - r)) in *. set (down := (1 - r) / (1 + r)) in *.
  (* (1 - u) down >= 2 - (1 + u) up, since down >= 2 - up and up >= down *)
  assert (D : 2 - up <= down) by nra. assert (D' : down <= up) by nra.
  apply Rabs_le. split; [| nra].
  destruct (Rle_lt_dec u 1).
  - assert ((1 - u) * (down * z) <= (1 - u) * w) by (apply Rmult_le_compat_l; lra).
    assert ((2 - (1 + u) * up) * z <= (1 - u) * down * z) by (apply Rmult_le_compat_r; nra). lra.
  - assert ((1 - u) * (up * z) <= (1 - u) * w) by nra.
    assert ((2 - (1 + u) * up) * z <= (1 - u) * up * z) by (apply Rmult_le_compat_r; nra). lra.
Qed.

(** The test as it is computed: two reads, their quotient, the difference, the threshold. *)
Theorem p1_reduction_relative n c M P V ones j i r u e g
    read_i read_n quotient difference threshold :
  0 < c -> lists_ones n P ones -> (j < n)%nat -> (i < n)%nat ->
  0 <= u -> 0 <= e -> 2 * u + e < 1 -> 0 <= r < 1 ->
  let out := attention_of n false (prepared n c M V ones) j in
  Rabs (read_i - out i) <= r * out i -> Rabs (read_n - out n) <= r * out n ->
  Rabs (quotient - read_i / read_n) <= u * Rabs (read_i / read_n) ->
  Rabs (difference - (quotient - column_sum n V i)) <= u * Rabs (quotient - column_sum n V i) ->
  Rabs (threshold - (exp c - 1) / 2) <= e * ((exp c - 1) / 2) ->
  (1 + u) * (1 + r) / (1 - r) - 1 <= (1 - 2 * u - e) * g ->
  g * (INR n - 1 + exp (c * INR (length ones))) < (exp c - 1) / 2 ->
  (threshold < difference <-> boolean_product n M P V j i).
Proof.
  intros Hc HP Hj Hi Hu He Hue Hr out Hri Hrn Hq Hd Ht Hg Hs.
  assert (Hexp : 1 < exp c) by (rewrite <- exp_0; apply exp_increasing; auto).
  destruct (prepared_ratio n c M P V ones j i HP Hj Hi) as [Ei En].
  pose proof (prepared_denominator n c M V ones j i Hj Hi) as HD.
  pose proof (ratio_range n c M V ones j i Hc Hj Hi) as HN.
  pose proof (signal_form n c M P V ones j i HP Hj Hi) as HS.
  pose proof (test_dichotomy n c M P V ones j i Hc HP Hj Hi) as HT.
  fold out in Ei, En. set (N := ratio n c M V ones j i) in *.
  assert (Hn : 0 < out n) by (rewrite En; apply Rinv_0_lt_compat; auto).
  assert (Hout : 0 <= out i) by (rewrite Ei; nra).
  pose proof (quotient_of_reads _ _ _ _ _ r u Hout Hn Hr Hu Hri Hrn Hq) as HQ.
  replace (out i / out n) with N in HQ by (rewrite Ei; field; lra).
  set (h := (1 + u) * (1 + r) / (1 - r) - 1) in *.
  assert (H0 : 0 <= h).
  { assert (1 + u <= (1 + u) * (1 + r) / (1 - r)) by (apply le_div; nra). unfold h. lra. }
  set (half := (exp c - 1) / 2) in *. assert (Hhalf : 0 < half) by (unfold half; lra).
  assert (Hg0 : 0 <= g) by nra.
  assert (Small : h * N < (1 - 2 * u - e) * half).
  { apply Rle_lt_trans with ((1 - 2 * u - e) * g * (INR n - 1 + exp (c * INR (length ones)))).
    - apply Rmult_le_compat; lra.
    - rewrite Rmult_assoc. apply Rmult_lt_compat_l; lra. }
  apply Rabs_bounds in HQ. apply Rabs_bounds in Ht.
  set (y := quotient - column_sum n V i) in *.
  assert (Hy : quotient - N = y - signal n c M V ones j i) by (rewrite HS; unfold y; ring).
  destruct HT as [[B S] | [B S]].
  - assert (2 * half <= signal n c M V ones j i) by (unfold half; lra).
    assert (Ly : (1 + 2 * u + e) * half < y) by lra.
    assert (0 < y) by nra. rewrite (Rabs_right y) in Hd by lra. apply Rabs_bounds in Hd.
    assert ((1 - u) * ((1 + 2 * u + e) * half) < (1 - u) * y) by (apply Rmult_lt_compat_l; lra).
    assert (0 <= u * (1 - 2 * u - e) * half) by (repeat apply Rmult_le_pos; lra).
    split; auto. intros _. nra.
  - assert (Uy : Rabs y <= h * N) by (apply Rabs_le; lra).
    apply Rabs_bounds in Hd. pose proof (Rle_abs y).
    assert ((1 + u) * (h * N) <= (1 + u) * ((1 - 2 * u - e) * half))
      by (apply Rmult_le_compat_l; lra).
    assert (0 <= (u + 2 * u * u + u * e) * half) by (repeat apply Rmult_le_pos; nra).
    split; [intros Hlt; exfalso; nra | contradiction].
Qed.
