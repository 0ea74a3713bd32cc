(** The pair of times that is printed, and what it becomes (claims P1.pair, P1.hardness, P1.optimal,
    P1.entries, P1.columns).

    Printed, with w for omega(1,1,tau): n^(w - tau) amortised an update, n^(1 + tau) a query, which is
    one of an entry; and that nothing is below both by a power of n, unless a conjecture fails.
    Keeping A and D takes 2 n and n (Kept.v).  As w >= 2, that is below by n^(1 - tau) / 2 and n^tau.

    What stands is the lazy structure's pair with n^tau an entry, or n^(1 + tau) a column: whatever
    takes U an update and E an entry, or C a column, answers hinted matrix-vector products by
    HintedMv.v, with n^tau U in phase 2 and 2 n E + n, or 2 C + n, in phase 3.  Nothing here needs a
    conjecture.

    Steps: (1) the lazy structure's counts against powers of n; (2) powers of n exceed every
    constant; (3) the reduction run on any structure that answers, its costs added up. *)

Require Import Reals Lra Lia List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Tally.
From Attest.Dynamic Require Import Tokens Pending Cached Dynamic DynamicCost Kept HintedMv.
Import ListNotations.
Open Scope R_scope.

(** n^x *)
Definition power (n : nat) (x : R) : R := exp (x * ln (INR n)).

Lemma power_plus n x y : power n (x + y) = power n x * power n y.
Proof. unfold power. rewrite <- exp_plus. f_equal. ring. Qed.

Lemma power_1 n : (0 < n)%nat -> power n 1 = INR n.
Proof. intros H. unfold power. rewrite Rmult_1_l. apply exp_ln, lt_0_INR, H. Qed.

Lemma ln_nonneg n : (0 < n)%nat -> 0 <= ln (INR n).
Proof.
  intros H. rewrite <- ln_1. destruct (Nat.eq_dec n 1) as [-> | Hn]; [simpl; lra |].
  left. apply ln_increasing; [lra |]. apply (lt_INR 1). lia.
Qed.

Lemma power_le n x y : (0 < n)%nat -> x <= y -> power n x <= power n y.
Proof.
  intros H L. apply exp_le. apply Rmult_le_compat_r; auto using ln_nonneg.
Qed.

Lemma power_ge_1 n x : (0 < n)%nat -> 0 <= x -> 1 <= power n x.
Proof.
  intros H L. apply exp_ge_1. apply Rmult_le_pos; auto using ln_nonneg.
Qed.

(** A positive power exceeds every constant from some n on. *)
Lemma power_unbounded x c : 0 < x -> exists N, (0 < N)%nat /\
  forall n, (N <= n)%nat -> c < power n x.
Proof.
  intros Hx. set (d := Rmax c 1).
  destruct (archimed (exp (ln d / x))) as [HN _]. pose proof (exp_pos (ln d / x)) as X.
  assert (HZ : (0 <= up (exp (ln d / x)))%Z) by (apply le_IZR; lra).
  set (N := Z.to_nat (up (exp (ln d / x)))).
  assert (EN : INR N = IZR (up (exp (ln d / x)))) by (unfold N; now rewrite INR_IZR_INZ, Z2Nat.id).
  rewrite <- EN in HN.
  assert (HN0 : (0 < N)%nat).
  { apply INR_lt. simpl. lra. }
  exists N. split; [exact HN0 |]. intros n Hn.
  assert (D : 0 < d) by (unfold d; pose proof (Rmax_r c 1); lra).
  apply Rle_lt_trans with d; [apply Rmax_l |].
  rewrite <- (exp_ln d D). unfold power. apply exp_increasing.
  replace (ln d) with (x * (ln d / x)) by (field; lra).
  apply Rmult_lt_compat_l; [exact Hx |]. rewrite <- (ln_exp (ln d / x)).
  apply ln_increasing; [apply exp_pos |]. apply le_INR in Hn. lra.
Qed.

(** * The printed pair *)

Section Printed.

Context {options : settings}.

(** Of the lazy structure, with d_v = n columns of values and classical products, w = 2 + tau. *)
Theorem p1_pair_update T room us tau : sliced = false -> (0 < count T)%nat ->
  (count T <= room)%nat -> Forall (fun u => (snd (fst u) < dimension)%nat) us ->
  INR (total_products (count T) T (c_build T room) (key_updates us))
    <= INR (length us) * b_pair_update (count T) (2 + tau) tau.
Proof.
  intros E N R V. eapply Rle_trans; [apply p1_update_amortised; auto |].
  apply Rmult_le_compat_l; [apply pos_INR |].
  unfold b_amortised_products, b_pair_update. set (n := count T) in *.
  assert (H : 1 <= INR n) by (apply (le_INR 1); lia).
  replace ((2 + tau - tau) * ln (INR n)) with (ln (INR n) + ln (INR n)) by ring.
  rewrite exp_plus, exp_ln by lra. nra.
Qed.

Theorem p1_pair_query columns T ops T' s i j tau : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) -> (0 < count T')%nat ->
  INR limit - 1 <= power (count T') tau ->
  INR (call_products columns T' s (Read_entry i j)) <= b_pair_query (count T') tau.
Proof.
  intros E V H N L. destruct (p1_query_entry columns T ops T' s i j E V H) as [-> P].
  unfold b_entry_products, b_pending_pairs, b_pair_query in *. fold (power (count T') tau).
  assert (1 <= INR (count T')) by (apply (le_INR 1); lia).
  assert (0 <= power (count T') tau) by (left; apply exp_pos). nra.
Qed.

End Printed.

(** * Below it, in both *)

(** By what factor an update and an entry, A and D kept, are below the printed pair: the lesser. *)
Definition below_pair (n : nat) (w tau : R) (update entry : nat) : R :=
  Rmin (power n (w - tau) / INR update) (power n (1 + tau) / INR entry).

Lemma kept_below n w tau : (0 < n)%nat -> 2 <= w ->
  Rmin (power n (1 - tau) / 2) (power n tau) <= below_pair n w tau (n * 2) n.
Proof.
  intros N W. assert (H : 0 < INR n) by (apply lt_0_INR; auto). unfold below_pair.
  apply Rmin_glb.
  - eapply Rle_trans; [apply Rmin_l |]. rewrite mult_INR. simpl (INR 2).
    apply le_div; [lra |].
    replace (power n (1 - tau) / 2 * (INR n * (1 + 1))) with (power n (1 - tau) * INR n) by field.
    replace (INR n) with (power n 1) by (apply power_1; auto). rewrite <- power_plus. apply power_le; auto. lra.
  - eapply Rle_trans; [apply Rmin_r |]. apply le_div; [lra |].
    replace (INR n) with (power n 1) by (apply power_1; auto). rewrite <- power_plus. apply power_le; auto. lra.
Qed.

(** Any constant times what keeping A and D takes is within the printed pair, from some n on: for
    every tau, and whatever w >= 2 is. *)
Theorem p1_pair_dominated c tau : 0 < tau < 1 -> exists N, forall n w, (N <= n)%nat -> 2 <= w ->
  c * b_kept_update_products n <= power n (w - tau) /\
  c * b_kept_entry_products n <= power n (1 + tau).
Proof.
  intros Ht. destruct (power_unbounded (1 - tau) (2 * c) ltac:(lra)) as (N & N0 & HN).
  destruct (power_unbounded tau c ltac:(lra)) as (N' & N0' & HN').
  exists (N + N')%nat. intros n w Hn W. assert (P : (0 < n)%nat) by lia.
  specialize (HN n ltac:(lia)). specialize (HN' n ltac:(lia)).
  assert (H : 0 < INR n) by (apply lt_0_INR; auto).
  unfold b_kept_update_products, b_kept_entry_products. split.
  - apply Rle_trans with (power n (1 - tau) * power n 1).
    + rewrite power_1 by auto. nra.
    + rewrite <- power_plus. apply power_le; auto. lra.
  - rewrite power_plus, power_1 by auto. nra.
Qed.

Section Refuted.

Variables (dimension : nat) (causal : bool).

Lemma counted_below T s t j delta i l w tau : (0 < count T)%nat -> live T t = true -> 2 <= w ->
  Rmin (power (count T) (1 - tau) / 2) (power (count T) tau)
    <= below_pair (count T) w tau (k_edit_products T s (UpdateKey t j delta))
         (products (k_numerator T s i l)).
Proof.
  intros N A W. simpl. rewrite A, new_weights. unfold k_numerator. rewrite inner_products.
  apply kept_below; auto.
Qed.

(** No constant is what keeping A and D is below the printed pair by. *)
Theorem p1_optimal_refuted c w tau : 0 < tau < 1 -> 2 <= w -> exists N,
  forall T s t j delta i l, (N <= count T)%nat -> live T t = true ->
  b_optimal_constant c
    < below_pair (count T) w tau (k_edit_products T s (UpdateKey t j delta))
        (products (k_numerator T s i l)).
Proof.
  intros Ht W. destruct (power_unbounded (1 - tau) (2 * c) ltac:(lra)) as (N & N0 & HN).
  destruct (power_unbounded tau c ltac:(lra)) as (N' & N0' & HN').
  exists (N + N')%nat. intros T s t j delta i l Hn A. unfold b_optimal_constant.
  eapply Rlt_le_trans; [| apply counted_below; auto; lia].
  specialize (HN (count T) ltac:(lia)). specialize (HN' (count T) ltac:(lia)).
  apply Rmin_glb_lt; lra.
Qed.

(** It is below by a power of n in both. *)
Theorem p1_hardness_refuted gap w tau : 0 < gap -> gap < tau -> gap < 1 - tau -> 2 <= w ->
  exists N, forall T s t j delta i l, (N <= count T)%nat -> live T t = true ->
  b_forbidden_gap (count T) gap
    < below_pair (count T) w tau (k_edit_products T s (UpdateKey t j delta))
        (products (k_numerator T s i l)).
Proof.
  intros G G1 G2 W.
  destruct (power_unbounded (1 - tau - gap) 2 ltac:(lra)) as (N & N0 & HN).
  destruct (power_unbounded (tau - gap) 1 ltac:(lra)) as (N' & N0' & HN').
  exists (N + N')%nat. intros T s t j delta i l Hn A. unfold b_forbidden_gap.
  fold (power (count T) gap).
  eapply Rlt_le_trans; [| apply counted_below; auto; lia].
  specialize (HN (count T) ltac:(lia)). specialize (HN' (count T) ltac:(lia)).
  assert (P : 0 < power (count T) gap) by apply exp_pos.
  replace (power (count T) (1 - tau))
    with (power (count T) gap * power (count T) (1 - tau - gap))
    by (rewrite <- power_plus; f_equal; ring).
  replace (power (count T) tau) with (power (count T) gap * power (count T) (tau - gap))
    by (rewrite <- power_plus; f_equal; ring).
  apply Rmin_glb_lt; nra.
Qed.

End Refuted.

(** * What stands: the lazy structure's own pairs *)

Section Repaired.

Context {options : settings}.

(** With at most n^tau pairs pending an entry takes 2 n^tau. *)
Theorem p1_entries_query columns T ops T' s i j n tau : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) -> INR limit - 1 <= power n tau ->
  INR (call_products columns T' s (Read_entry i j)) <= b_entry_power n tau.
Proof.
  intros E V H L. destruct (p1_query_entry columns T ops T' s i j E V H) as [-> P].
  unfold b_entry_products, b_pending_pairs, b_entry_power in *. fold (power n tau). lra.
Qed.

(** And a column of n + 1 rows 2 (n + 1) n^tau. *)
Theorem p1_columns_query columns T ops T' s j n tau : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) -> count T' = S n -> INR limit - 1 <= power n tau ->
  INR (call_products columns T' s (Read_column j)) <= b_column_power n tau.
Proof.
  intros E V H N L. rewrite (p1_query_column columns T ops T' s j E V H), N.
  pose proof (p1_pending T Cache ops V) as P. rewrite H in P.
  change (INR (c_pending s) <= b_pending_pairs limit) in P.
  unfold b_column_products, b_pending_pairs, b_column_power in *. fold (power n tau).
  rewrite S_INR. pose proof (pos_INR n). pose proof (pos_INR (c_pending s)).
  assert (INR (c_pending s) <= power n tau) by lra. nra.
Qed.

End Repaired.

(** * Whatever is below them answers hinted products too fast *)

(** A structure: what it remembers of the tokens, how an edit changes that, and what it reads; with
    the products that each takes. *)
Record structure : Type := Structure {
  memory : Type;
  begun : tokens -> memory;
  changed : memory -> edit -> memory;
  change_cost : memory -> edit -> nat;
  entry_read : memory -> nat -> nat -> tally;
  column_read : memory -> nat -> nat -> R;
  column_cost : memory -> nat -> nat
}.

Definition after (S : structure) (T : tokens) (es : list edit) : memory S :=
  fold_left (changed S) es (begun S T).

Fixpoint edits_cost (S : structure) (m : memory S) (es : list edit) : nat :=
  match es with
  | [] => 0
  | e :: rest => (change_cost S m e + edits_cost S (changed S m e) rest)%nat
  end.

(** What the reduction asks of it: updates of entries of keys, of n + 1 tokens with n columns. *)
Definition key_update (n : nat) (e : edit) : Prop :=
  match e with UpdateKey _ j _ => (j < n)%nat | _ => False end.

(** Amortised: so much an update, whatever was updated before. *)
Definition amortised (S : structure) (n : nat) (U : R) : Prop :=
  forall T es, count T = Datatypes.S n -> Forall (key_update n) es ->
  INR (edits_cost S (begun S T) es) <= INR (length es) * U.

Definition entries_within (S : structure) (n : nat) (E : R) : Prop :=
  forall T es i j, count T = Datatypes.S n -> Forall (key_update n) es ->
  INR (products (entry_read S (after S T es) i j)) <= E.
Definition columns_within (S : structure) (n : nat) (C : R) : Prop :=
  forall T es j, count T = Datatypes.S n -> Forall (key_update n) es ->
  INR (column_cost S (after S T es) j) <= C.

Definition answers_entries (S : structure) (n : nat) : Prop :=
  forall T es i j, Forall (key_update n) es -> live (fold_left edited es T) i = true ->
  value (entry_read S (after S T es) i j) = attention_of n false (fold_left edited es T) i j.
Definition answers_columns (S : structure) (n : nat) : Prop :=
  forall T es i j, Forall (key_update n) es -> live (fold_left edited es T) i = true ->
  column_read S (after S T es) j i = attention_of n false (fold_left edited es T) i j.

Section Reduction.

Variables (S : structure) (n : nat) (c : R) (M P V : nat -> nat -> bool).
Variable ones : list (nat * nat).
Hypothesis positive_c : 0 < c.
Hypothesis list_of_ones : lists_ones n P ones.

(** What the structure remembers after phases 1 and 2. *)
Let m := after S (phase1 n M V) (phase2 c ones).

Lemma phase2_updates : Forall (key_update n) (phase2 c ones).
Proof.
  unfold phase2. apply Forall_map, Forall_forall. intros [l k] H.
  apply list_of_ones in H. simpl. tauto.
Qed.

Lemma phase_two_cost U tau : 0 <= U -> amortised S n U -> INR (length ones) <= power n tau ->
  INR (edits_cost S (begun S (phase1 n M V)) (phase2 c ones)) <= U * power n tau.
Proof.
  intros HU A L. eapply Rle_trans; [apply A; [reflexivity | apply phase2_updates] |].
  unfold phase2. rewrite map_length.
  rewrite Rmult_comm. apply Rmult_le_compat_l; auto.
Qed.

Theorem p1_entries_phase_two U tau : 0 <= U -> amortised S n U ->
  INR (length ones) <= power n tau ->
  INR (edits_cost S (begun S (phase1 n M V)) (phase2 c ones)) <= b_entry_phase_two n tau U.
Proof. apply phase_two_cost. Qed.

Theorem p1_columns_phase_two U tau : 0 <= U -> amortised S n U ->
  INR (length ones) <= power n tau ->
  INR (edits_cost S (begun S (phase1 n M V)) (phase2 c ones)) <= b_column_phase_two n tau U.
Proof. apply phase_two_cost. Qed.

Lemma prepared_live j : (j < Datatypes.S n)%nat -> live (prepared n c M V ones) j = true.
Proof.
  intros H. destruct (phase2_keeps c ones (phase1 n M V)) as (C & A & _).
  unfold live, prepared. rewrite C, A. cbn [count alive phase1]. rewrite andb_true_r.
  apply Nat.ltb_lt. exact H.
Qed.

(** Phase 3 by entries: two of every row, and a quotient. *)
Definition tested_entry (i j : nat) : tally := over (entry_read S m j i) (entry_read S m j n).
Definition entries_phase_three (i : nat) : tally := total n (tested_entry i).

Theorem p1_entries_phase_three i E : (i < n)%nat -> answers_entries S n ->
  entries_within S n E ->
  (forall j, (j < n)%nat ->
     ((exp c - 1) / 2 < value (tested_entry i j) - column_sum n V i
        <-> boolean_product n M P V j i)) /\
  INR (products (entries_phase_three i)) <= b_entry_phase_three n E.
Proof.
  intros Hi A HE. split.
  - intros j Hj. rewrite <- (p1_hinted_mv n c M P V ones j i positive_c list_of_ones Hj Hi).
    unfold tested_entry, over, m. simpl.
    rewrite !A by (auto using phase2_updates; apply prepared_live; lia). reflexivity.
  - unfold entries_phase_three, b_entry_phase_three. clear Hi.
    assert (G : forall k, INR (products (total k (tested_entry i))) <= INR k * (1 + 2 * E)).
    { induction k; simpl total; [simpl; lra |]. unfold plus. cbn [products]. rewrite S_INR, plus_INR.
      unfold tested_entry at 2. unfold over. cbn [products]. rewrite S_INR, plus_INR.
      pose proof (HE (phase1 n M V) (phase2 c ones) k i eq_refl phase2_updates) as H1.
      pose proof (HE (phase1 n M V) (phase2 c ones) k n eq_refl phase2_updates) as H2.
      fold m in H1, H2. nra. }
    pose proof (G n). lra.
Qed.

(** Phase 3 by columns: two, and a quotient a row. *)
Definition tested_row (i j : nat) : R := column_read S m i j / column_read S m n j.
Definition columns_phase_three (i : nat) : nat :=
  (column_cost S m i + column_cost S m n
   + products (total n (fun j => over (given (column_read S m i j))
                                      (given (column_read S m n j)))))%nat.

Theorem p1_columns_phase_three i C : (i < n)%nat -> answers_columns S n ->
  columns_within S n C ->
  (forall j, (j < n)%nat ->
     ((exp c - 1) / 2 < tested_row i j - column_sum n V i <-> boolean_product n M P V j i)) /\
  INR (columns_phase_three i) <= b_column_phase_three n C.
Proof.
  intros Hi A HC. split.
  - intros j Hj. rewrite <- (p1_hinted_mv n c M P V ones j i positive_c list_of_ones Hj Hi).
    unfold tested_row, m.
    rewrite !A by (auto using phase2_updates; apply prepared_live; lia). reflexivity.
  - unfold columns_phase_three, b_column_phase_three.
    rewrite (total_of_products n _ 1%nat) by reflexivity. rewrite !plus_INR, Nat.mul_1_r.
    pose proof (HC (phase1 n M V) (phase2 c ones) i eq_refl phase2_updates) as H1.
    pose proof (HC (phase1 n M V) (phase2 c ones) n eq_refl phase2_updates) as H2.
    fold m in H1, H2. lra.
Qed.

End Reduction.

(** * A structure that does all of this: A and D, kept *)

Definition kept_structure (n : nat) : structure := {|
  memory := tokens * kept;
  begun := fun T => (T, k_build n false T);
  changed := fun m e =>
    (edited (fst m) e, if accepted (fst m) e then k_edit n false (fst m) (snd m) e else snd m);
  change_cost := fun m e => k_edit_products (fst m) (snd m) e;
  entry_read := fun m i j => over (k_numerator (fst m) (snd m) i j) (given (k_sums (snd m) i));
  column_read := fun m j i => k_entry (fst m) (snd m) i j;
  column_cost := fun m j => products
    (total (count (fst m)) (fun i =>
      over (k_numerator (fst m) (snd m) i j) (given (k_sums (snd m) i))))
|}.

Lemma kept_after n es : forall T s,
  fold_left (changed (kept_structure n)) es (T, s) = k_run n false T s es.
Proof. induction es as [| e es IH]; intros T s; simpl; [reflexivity | apply IH]. Qed.

Lemma key_updates_columns n es : Forall (key_update n) es -> Forall (in_column n) es.
Proof. apply Forall_impl. intros [] H; simpl in *; auto. Qed.

Lemma key_update_count n T e : key_update n e -> count (edited T e) = count T.
Proof. intros H. destruct e; simpl in H; try contradiction. apply edited_count. discriminate. Qed.

Lemma key_updates_count n es : forall T, Forall (key_update n) es ->
  count (fold_left edited es T) = count T.
Proof.
  induction es as [| e es IH]; intros T H; simpl; [reflexivity |]. inversion H; subst.
  rewrite IH by auto. eapply key_update_count; eauto.
Qed.

Lemma kept_run_exact n T es : Forall (key_update n) es ->
  kept_exact n false (fst (after (kept_structure n) T es)) (snd (after (kept_structure n) T es)) /\
  fst (after (kept_structure n) T es) = fold_left edited es T.
Proof.
  intros H. unfold after. simpl begun. rewrite kept_after.
  apply k_run_exact; [now apply key_updates_columns | apply k_build_exact].
Qed.

(** What the reduction asks of a structure can be had, all of it together. *)
Theorem p1_entries_satisfied n :
  amortised (kept_structure n) n (2 * INR (S n)) /\
  answers_entries (kept_structure n) n /\ entries_within (kept_structure n) n (INR (S n) + 1) /\
  answers_columns (kept_structure n) n /\
  columns_within (kept_structure n) n (INR (S n) * (INR (S n) + 1)).
Proof.
  assert (A : answers_columns (kept_structure n) n).
  { intros T es i j H L. destruct (kept_run_exact n T es H) as [I E]. rewrite <- E in *.
    simpl column_read. now apply k_entry_exact. }
  assert (C : forall T es, Forall (key_update n) es -> count T = S n ->
    count (fst (after (kept_structure n) T es)) = S n).
  { intros T es H N. rewrite (proj2 (kept_run_exact n T es H)).
    rewrite (key_updates_count n es T H). exact N. }
  split; [| split; [| split; [| split]]].
  - intros T es N H. cbn [begun kept_structure]. generalize (k_build n false T). revert T N.
    induction H as [| e es K H IH]; intros T N s; [cbn [edits_cost length]; change (INR 0) with 0; lra |].
    cbn [edits_cost length changed kept_structure fst snd change_cost].
    rewrite plus_INR, (S_INR (length es)).
    specialize (IH (edited T e) ltac:(rewrite (key_update_count n T e K); exact N)
      (if accepted T e then k_edit n false T s e else s)).
    assert (P : INR (k_edit_products T s e) <= 2 * INR (S n)).
    { rewrite <- N. apply (p1_kept_update T s e). destruct e; simpl in K |- *; auto; contradiction. }
    lra.
  - intros T es i j H L. rewrite <- (A T es i j H L). reflexivity.
  - intros T es i j N H. cbn [entry_read kept_structure]. unfold over, k_numerator.
    cbn [products given]. rewrite inner_products, (C T es H N), Nat.add_0_r, (S_INR (S n)). lra.
  - exact A.
  - intros T es j N H. cbn [column_cost kept_structure].
    rewrite (total_of_products _ _ (S (S n))).
    + rewrite (C T es H N), mult_INR, (S_INR (S n)). lra.
    + intros i _. unfold over, k_numerator. cbn [products given].
      rewrite inner_products, (C T es H N). lia.
Qed.
