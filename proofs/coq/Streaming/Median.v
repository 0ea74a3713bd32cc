(** The median of independent rows, and a concrete hash family (claim P2.recovery).

    Steps: (1) if the median of 2 h + 1 values is far off, so are h + 1 of them; (2) the
    indicator that t of the rows miss is at most the number of sets of t rows that all miss, whose
    expectation over independent seeds is C (rows, t) p^t, by Pascal's rule; (3) hence all n
    coordinates hold but for n such probabilities, and with them [p2_recovery_ratio]; (4) for keys
    j < 2^L, a word c < 2^L gives the sign (-1)^(c . j) of the bits of c and j: those of two keys
    multiply to that of j xor k, which cancels over all c unless j = k; one word for each bit of
    the bucket, 1 where its sign is negative, makes pairs collide for a share of just 2^-bits. *)

Require Import Reals Lra Lia List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Probability.
From Attest.Streaming Require Import Heap Recovery CountSketch.
Import ListNotations.
Open Scope R_scope.

(** * t rows that miss *)

(** The number of sets of t rows of l that all miss. *)
Fixpoint missing_sets {A : Type} (miss : A -> bool) (t : nat) (l : list A) : R :=
  match t, l with
  | O, _ => 1
  | S _, [] => 0
  | S t', a :: l' =>
      missing_sets miss t l' + (if miss a then 1 else 0) * missing_sets miss t' l'
  end.

Lemma missing_sets_nonneg {A} (miss : A -> bool) t l : 0 <= missing_sets miss t l.
Proof.
  revert t. induction l as [| a l IH]; intros [| t]; simpl; try lra.
  pose proof (IH (S t)). pose proof (IH t). destruct (miss a); lra.
Qed.

Lemma missing_sets_ge_1 {A} (miss : A -> bool) t l : (t <= length (filter miss l))%nat ->
  1 <= missing_sets miss t l.
Proof.
  revert t. induction l as [| a l IH]; intros [| t] H; simpl in *; try lra; try lia.
  pose proof (missing_sets_nonneg miss (S t) l). pose proof (missing_sets_nonneg miss t l).
  destruct (miss a); simpl in H.
  - specialize (IH t ltac:(lia)). lra.
  - specialize (IH (S t) H). lra.
Qed.

Lemma expect_nil {A} (seeds : list A) t miss rows : (rows < t)%nat -> seeds <> [] ->
  expect (tuples rows seeds) (missing_sets miss t) = 0.
Proof.
  intros Ht H. rewrite (expect_ext _ _ (fun _ => 0)).
  - apply expect_const, tuples_nonempty. auto.
  - intros l Hl. apply tuples_In in Hl. destruct Hl as [Hl _]. subst rows. clear - Ht. revert t Ht.
    induction l as [| a l IH]; intros [| t] Ht; simpl in *; try lia; try reflexivity.
    rewrite !IH by lia. ring.
Qed.

Lemma expect_missing_sets {A} (seeds : list A) miss t rows : seeds <> [] -> (t <= rows)%nat ->
  expect (tuples rows seeds) (missing_sets miss t) = C rows t * probability seeds miss ^ t.
Proof.
  intros H. set (p := probability seeds miss). revert t. induction rows; intros t Ht.
  - assert (t = 0%nat) as -> by lia. rewrite expect_one, C_none. simpl. ring.
  - destruct t as [| t].
    + rewrite (expect_ext _ _ (fun _ => 1)) by (intros [| ? ?]; reflexivity).
      rewrite expect_const by (apply tuples_nonempty; auto). rewrite C_none. simpl. ring.
    + rewrite expect_tuples by auto.
      rewrite (expect_ext _ _ (fun a => expect (tuples rows seeds) (missing_sets miss (S t))
        + expect (tuples rows seeds) (missing_sets miss t) * (if miss a then 1 else 0)))
        by (intros a _; simpl; rewrite expect_plus, expect_scale; ring).
      rewrite expect_plus, expect_const, expect_scale by auto.
      fold (probability seeds miss). fold p. rewrite (IHrows t) by lia.
      destruct (Nat.eq_dec t rows) as [-> |].
      * rewrite expect_nil by (auto; lia). rewrite !C_full. simpl. ring.
      * rewrite (IHrows (S t)) by lia. rewrite <- (pascal rows t) by lia. simpl. ring.
Qed.

(** * The median *)

Definition at_most (x y : R) : bool := if Rle_dec x y then true else false.

(** As many values on either side of m as half of them, and m itself counts on both. *)
Definition is_median (h : nat) (values : list R) (m : R) : Prop :=
  length values = (2 * h + 1)%nat /\
  (h + 1 <= length (filter (fun x => at_most x m) values))%nat /\
  (h + 1 <= length (filter (at_most m) values))%nat.

Lemma smallest l : l <> [] -> exists m, In m l /\ forall x : R, In x l -> m <= x.
Proof.
  induction l as [| a l IH]; [congruence |]. intros _. destruct l as [| b l].
  - exists a. simpl. split; auto. intros x [<- | []]. lra.
  - destruct IH as (m & Hm & Hle); [congruence |]. destruct (Rle_dec a m).
    + exists a. split; [simpl; auto |]. intros x [<- | Hx]; [lra |]. specialize (Hle x Hx). lra.
    + exists m. split; [simpl in *; tauto |]. intros x [<- | Hx]; [lra | auto].
Qed.

Lemma highest l : l <> [] -> exists m, In m l /\ forall x : R, In x l -> x <= m.
Proof.
  intros H. destruct (smallest (map Ropp l)) as (m & Hm & Hle).
  - destruct l; simpl; congruence.
  - apply in_map_iff in Hm. destruct Hm as (x & <- & Hx). exists x. split; auto.
    intros y Hy. specialize (Hle (- y) (in_map Ropp l y Hy)). lra.
Qed.

(** The least value with h + 1 values up to it. *)
Theorem p2_median_exists h values : length values = (2 * h + 1)%nat ->
  exists m, In m values /\ is_median h values m.
Proof.
  intros Len. set (up_to := fun v => length (filter (fun x => at_most x v) values)).
  set (good := fun v => Nat.leb (h + 1) (up_to v)).
  destruct (highest values) as (top & Htop & Hle); [intros ->; simpl in Len; lia |].
  destruct (smallest (filter good values)) as (m & Hm & Hleast).
  - assert (G : In top (filter good values)).
    { apply filter_In. split; auto. apply Nat.leb_le.
      assert (length (filter (fun _ => true) values) <= up_to top)%nat.
      { apply filter_length_le. intros x Hx _. unfold at_most.
        destruct (Rle_dec x top) as [| N]; [auto | destruct (N (Hle x Hx))]. }
      assert (All : forall l : list R, length (filter (fun _ => true) l) = length l)
        by (induction l; simpl; auto).
      rewrite All in *. lia. }
    intros E. rewrite E in G. destruct G.
  - apply filter_In in Hm. destruct Hm as [Hm G]. apply Nat.leb_le in G.
    exists m. split; auto. split; auto. split; auto.
    apply Nat.nlt_ge. intros Few.
    pose proof (filter_split_length (at_most m) values) as E.
    destruct (highest (filter (fun x => negb (at_most m x)) values)) as (u & Hu & Hmax).
    { intros Z. rewrite Z in E. simpl in E. lia. }
    apply filter_In in Hu. destruct Hu as [Hu Below]. unfold at_most in Below.
    destruct (Rle_dec m u) as [| N]; [discriminate |]. apply N, Hleast, filter_In. split; auto.
    apply Nat.leb_le.
    assert (length (filter (fun x => negb (at_most m x)) values)
      <= up_to u)%nat.
    { apply filter_length_le. intros x Hx Bx. unfold at_most at 1.
      destruct (Rle_dec x u) as [| N']; auto. destruct N'. apply Hmax, filter_In. auto. }
    lia.
Qed.

(** What is further off than something far off is far off. *)
Definition monotone (far : R -> bool) : Prop :=
  forall x x', x <= x' -> far x = true -> far x' = true.

Lemma median_off {A} h (estimate : A -> R) l m y far : monotone far ->
  is_median h (map estimate l) m -> far (Rabs (m - y)) = true ->
  (h + 1 <= length (filter (misses far estimate y) l))%nat.
Proof.
  intros Hfar (_ & Low & High) Hm. rewrite filter_map_length in Low, High.
  destruct (Rle_dec y m) as [Hy | Hy].
  - eapply Nat.le_trans; [exact High |]. apply filter_length_le. intros a _ Ha.
    unfold at_most in Ha. destruct (Rle_dec m (estimate a)); [| discriminate].
    apply (Hfar (Rabs (m - y))); auto. rewrite !Rabs_right; lra.
  - eapply Nat.le_trans; [exact Low |]. apply filter_length_le. intros a _ Ha.
    unfold at_most in Ha. destruct (Rle_dec (estimate a) m); [| discriminate].
    apply (Hfar (Rabs (m - y))); auto. rewrite !Rabs_left1; lra.
Qed.

Lemma recovery_failure_form h p :
  b_recovery_failure h p = C (2 * h + 1) (h + 1) * p ^ (h + 1).
Proof.
  unfold b_recovery_failure. count (h + 1)%nat. count (2 * h + 1)%nat. ring.
Qed.

(** More than half of the rows are far off: as likely as that their median is. *)
Lemma most_far {A} (seeds : list A) h (estimate : A -> R) y far p : seeds <> [] ->
  probability seeds (misses far estimate y) <= p ->
  probability (tuples (2 * h + 1) seeds) (fun l =>
      Nat.leb (h + 1) (length (filter (misses far estimate y) l))) <= b_recovery_failure h p.
Proof.
  intros Hne Hp. rewrite recovery_failure_form.
  assert (P0 : 0 <= probability seeds (misses far estimate y)).
  { rewrite <- (expect_const seeds 0) by auto. apply expect_le; auto. intros a _.
    destruct (misses far estimate y a); lra. }
  apply Rle_trans
    with (C (2 * h + 1) (h + 1) * probability seeds (misses far estimate y) ^ (h + 1)).
  - rewrite <- expect_missing_sets by (auto; lia). unfold probability at 1.
    apply expect_le; [apply tuples_nonempty; auto |]. intros l _.
    destruct (Nat.leb_spec (h + 1) (length (filter (misses far estimate y) l)));
      [apply missing_sets_ge_1; auto | apply missing_sets_nonneg].
  - apply Rmult_le_compat_l; [| apply pow_incr; auto].
    unfold C. apply Rmult_le_pos; [apply pos_INR |]. left. apply Rinv_0_lt_compat.
    apply Rmult_lt_0_compat; apply INR_fact_lt_0.
Qed.

(** The median of 2 h + 1 rows is far off. *)
Theorem p2_recovery_failure {A} (seeds : list A) h (estimate : A -> R) (median : list A -> R) y far
    p : seeds <> [] -> monotone far ->
  (forall l, In l (tuples (2 * h + 1) seeds) -> is_median h (map estimate l) (median l)) ->
  probability seeds (misses far estimate y) <= p ->
  probability (tuples (2 * h + 1) seeds) (misses far median y) <= b_recovery_failure h p.
Proof.
  intros Hne Hfar Hmed Hp. eapply Rle_trans; [| apply (most_far seeds h estimate y far); auto].
  unfold probability. apply expect_le; [apply tuples_nonempty; auto |]. intros l Hl.
  destruct (misses far median y l) eqn:E; [| destruct (Nat.leb _ _); lra].
  pose proof (median_off h estimate l (median l) y far Hfar (Hmed l Hl) E) as Most.
  apply Nat.leb_le in Most. rewrite Most. lra.
Qed.

(** * From the seeds to the column *)

Lemma probability_union {A} (seeds : list A) n (events : nat -> A -> bool) event q :
  seeds <> [] -> (forall i, (i < n)%nat -> probability seeds (events i) <= q) ->
  (forall a, In a seeds -> event a = true -> exists i, (i < n)%nat /\ events i a = true) ->
  probability seeds event <= INR n * q.
Proof.
  intros Hne Hq Hev.
  apply Rle_trans with (expect seeds (fun a => fsum n (fun i => if events i a then 1 else 0))).
  - apply expect_le; auto. intros a Ha.
    assert (P : forall i, (i < n)%nat -> 0 <= (if events i a then 1 else 0))
      by (intros; destruct (events i a); lra).
    destruct (event a) eqn:E; [| apply fsum_nonneg; auto].
    destruct (Hev a Ha E) as (i & Hi & Ei).
    pose proof (fsum_term n (fun i => if events i a then 1 else 0) i P Hi) as T.
    cbv beta in T. rewrite Ei in T. exact T.
  - rewrite expect_fsum, <- fsum_const. apply fsum_le. auto.
Qed.

(** The k entries with the largest medians, with n row failures' worth of luck. *)
Theorem p2_recovery {A} (seeds : list A) h s n B k y z accuracy rows
    (median : nat -> list A -> R) (kept : list A -> list nat) : seeds <> [] ->
  (0 < B)%nat -> (0 < k)%nat -> 0 < accuracy ->
  universal seeds h n B -> cancelling seeds h s n -> sparse n k z ->
  (forall i l, (i < n)%nat -> In l (tuples (2 * rows + 1) seeds) ->
     is_median rows (map (estimate h s n y i) l) (median i l)) ->
  (forall l, keeps (fun i => median i l) k (seq 0 n) (kept l)) ->
  probability (tuples (2 * rows + 1) seeds) (fun l =>
      negb (at_most (distance n y (restrict (fun i => median i l) (kept l)))
                    (b_recovery_ratio accuracy * distance n y z)))
    <= INR n * b_recovery_failure rows (b_recovery_row_failure k B accuracy).
Proof.
  intros Hne HB Hk Ha Hu Hc Hz Hmed Hkept.
  set (tau := accuracy * distance n y z / sqrt (INR k)).
  assert (Htau : 0 <= tau).
  { apply Rmult_le_pos; [apply Rmult_le_pos; [lra | apply sqrt_pos] |].
    left. apply Rinv_0_lt_compat, sqrt_lt_R0, lt_0_INR. auto. }
  set (far := less_than tau).
  assert (Far : forall x, far x = true -> tau < x)
    by (intros x E; unfold far, less_than in E; destruct (Rlt_dec tau x); [auto | discriminate]).
  assert (Mono : monotone far).
  { intros x x' Hx E. apply Far in E. unfold far, less_than.
    destruct (Rlt_dec tau x'); [auto | lra]. }
  apply (probability_union _ n (fun i => misses far (median i) (y i))).
  - apply tuples_nonempty. auto.
  - intros i Hi. apply (p2_recovery_failure seeds rows (estimate h s n y i)); auto.
    apply (p2_recovery_row_failure seeds h s n B y z k); auto.
    intros x E. apply Far in E. fold tau. lra.
  - intros l Hl E.
    destruct (existsb (fun i => misses far (median i) (y i) l) (seq 0 n)) eqn:Any.
    + apply existsb_exists in Any. destruct Any as (i & Hi & Ei). apply in_seq in Hi.
      exists i. split; [lia | auto].
    + exfalso. unfold at_most in E. destruct (Rle_dec _ _) as [| N]; [discriminate |].
      apply N, (p2_recovery_ratio n k); auto; [lra |]. intros i Hi.
      assert (F : misses far (median i) (y i) l = false).
      { destruct (misses far (median i) (y i) l) eqn:M; auto. rewrite <- Any. symmetry.
        apply existsb_exists. exists i. split; [apply in_seq; lia | auto]. }
      unfold misses, far, less_than in F. destruct (Rlt_dec tau _); [discriminate |].
      fold tau. lra.
Qed.

(** * A family of hash functions and signs *)

(** The parity of the common bits of c and j, of L bits. *)
Fixpoint parity (L c j : nat) : bool :=
  match L with
  | O => false
  | S l => xorb (parity l c j) (andb (Nat.testbit c l) (Nat.testbit j l))
  end.

(** A seed is a word for the sign and one for each bit of the bucket. *)
Definition sign_of (L : nat) (seed : list nat) (j : nat) : R :=
  if parity L (hd 0%nat seed) j then -1 else 1.

Fixpoint bits_of (L : nat) (words : list nat) (j : nat) : nat :=
  match words with
  | [] => 0
  | c :: rest => (2 * bits_of L rest j + if parity L c j then 1 else 0)%nat
  end.

Definition bucket_of (L : nat) (seed : list nat) (j : nat) : nat := bits_of L (tl seed) j.

(** All seeds for 2^bits buckets and keys below 2^L. *)
Definition words (L : nat) : list nat := seq 0 (2 ^ L).
Definition xor_seeds (L bits : nat) : list (list nat) := tuples (S bits) (words L).

Lemma words_nonempty L : words L <> [].
Proof.
  intros E. apply (f_equal (@length _)) in E. unfold words in E. rewrite seq_length in E.
  apply (Nat.pow_nonzero 2 L); auto.
Qed.

Lemma parity_lxor L c j k : parity L c (Nat.lxor j k) = xorb (parity L c j) (parity L c k).
Proof.
  induction L; simpl; auto. rewrite IHL, Nat.lxor_spec.
  destruct (parity L c j), (parity L c k), (Nat.testbit c L), (Nat.testbit j L),
    (Nat.testbit k L); reflexivity.
Qed.

Lemma parity_ext L c c' j : (forall l, (l < L)%nat -> Nat.testbit c l = Nat.testbit c' l) ->
  parity L c j = parity L c' j.
Proof. induction L; simpl; intros H; auto. rewrite IHL, (H L); auto. Qed.

(** 1 or - 1, the character of the word c at x. *)
Definition character (L c x : nat) : R := if parity L c x then -1 else 1.

Lemma character_product L c j k : character L c j * character L c k = character L c (Nat.lxor j k).
Proof.
  unfold character. rewrite parity_lxor. destruct (parity L c j), (parity L c k); simpl; ring.
Qed.

Lemma testbit_high L c : (c < 2 ^ L)%nat -> Nat.testbit c L = false.
Proof.
  intros H. rewrite <- (Nat.mod_small c (2 ^ L)) by auto. apply Nat.mod_pow2_bits_high. auto.
Qed.

Lemma testbit_shifted L c l : (c < 2 ^ L)%nat -> (l < L)%nat ->
  Nat.testbit (2 ^ L + c) l = Nat.testbit c l.
Proof.
  intros Hc Hl. rewrite <- (Nat.mod_pow2_bits_low (2 ^ L + c) L l) by auto.
  rewrite <- (Nat.mul_1_l (2 ^ L)) at 1. rewrite Nat.add_comm, Nat.mod_add, Nat.mod_small; auto.
  apply Nat.pow_nonzero. auto.
Qed.

Lemma testbit_top L c : (c < 2 ^ L)%nat -> Nat.testbit (2 ^ L + c) L = true.
Proof.
  intros Hc. apply Nat.testbit_true. rewrite <- (Nat.mul_1_l (2 ^ L)) at 1.
  rewrite Nat.add_comm, Nat.div_add, Nat.div_small; auto. apply Nat.pow_nonzero. auto.
Qed.

Lemma character_sum L x l : (l < L)%nat -> Nat.testbit x l = true ->
  fsum (2 ^ L) (fun c => character L c x) = 0.
Proof.
  revert l. induction L; intros l Hl Hx; [lia |].
  replace (2 ^ S L)%nat with (2 ^ L + 2 ^ L)%nat by (simpl; lia). rewrite fsum_add.
  assert (Low : forall c, (c < 2 ^ L)%nat -> character (S L) c x = character L c x).
  { intros c Hc. unfold character. simpl. rewrite testbit_high by auto.
    simpl. now rewrite Bool.xorb_false_r. }
  assert (High : forall c, (c < 2 ^ L)%nat -> character (S L) (2 ^ L + c) x
    = character L c x * (if Nat.testbit x L then -1 else 1)).
  { intros c Hc. unfold character. cbn [parity]. rewrite testbit_top by auto.
    rewrite (parity_ext L (2 ^ L + c) c) by (intros; apply testbit_shifted; auto).
    destruct (parity L c x), (Nat.testbit x L); simpl; ring. }
  rewrite (fsum_ext _ (fun c => character (S L) c x) (fun c => character L c x)) by auto.
  rewrite (fsum_ext _ (fun c => character (S L) (2 ^ L + c) x) _ High), fsum_scale_r.
  destruct (Nat.testbit x L) eqn:E; [ring |].
  assert (l < L)%nat by (destruct (Nat.eq_dec l L) as [-> |]; [congruence | lia]).
  rewrite (IHL l) by auto. ring.
Qed.

Lemma differ L j k : (j < 2 ^ L)%nat -> (k < 2 ^ L)%nat -> j <> k ->
  exists l, (l < L)%nat /\ Nat.testbit (Nat.lxor j k) l = true.
Proof.
  intros Hj Hk Hne.
  destruct (existsb (fun l => Nat.testbit (Nat.lxor j k) l) (seq 0 L)) eqn:E.
  - apply existsb_exists in E. destruct E as (l & Hl & E). apply in_seq in Hl.
    exists l. split; [lia | auto].
  - exfalso. apply Hne, Nat.bits_inj. intros l. destruct (Nat.lt_ge_cases l L) as [Hl | Hl].
    + assert (F : Nat.testbit (Nat.lxor j k) l = false).
      { destruct (Nat.testbit (Nat.lxor j k) l) eqn:F; auto. rewrite <- E. symmetry.
        apply existsb_exists. exists l. split; [apply in_seq; lia | auto]. }
      rewrite Nat.lxor_spec in F. now apply Bool.xorb_eq.
    + rewrite <- (Nat.mod_small j (2 ^ L)), <- (Nat.mod_small k (2 ^ L)) by auto.
      now rewrite !Nat.mod_pow2_bits_high.
Qed.

Lemma expect_character L j k : (j < 2 ^ L)%nat -> (k < 2 ^ L)%nat -> j <> k ->
  expect (words L) (fun c => character L c (Nat.lxor j k)) = 0.
Proof.
  intros Hj Hk Hne. destruct (differ L j k Hj Hk Hne) as (l & Hl & E).
  unfold expect, words. rewrite lsum_seq, (character_sum L _ l) by auto. unfold Rdiv. ring.
Qed.

Lemma collide_bits L c rest j k :
  collide (fun w => bits_of L w) (c :: rest) j k
    = (1 + character L c (Nat.lxor j k)) / 2 * collide (fun w => bits_of L w) rest j k.
Proof.
  unfold collide, character. rewrite parity_lxor. cbn [bits_of].
  destruct (parity L c j), (parity L c k), (Nat.eqb_spec (bits_of L rest j) (bits_of L rest k));
    match goal with |- context [Nat.eqb ?a ?b] => destruct (Nat.eqb_spec a b) end;
    simpl; try field; exfalso; lia.
Qed.

Lemma expect_collide L bits j k : (j < 2 ^ L)%nat -> (k < 2 ^ L)%nat -> j <> k ->
  expect (tuples bits (words L)) (fun w => collide (fun w => bits_of L w) w j k)
    = / INR (2 ^ bits).
Proof.
  intros Hj Hk Hne. induction bits.
  - rewrite expect_one. unfold collide. simpl. field.
  - rewrite expect_tuples by apply words_nonempty.
    rewrite (expect_ext _ _ (fun c => / INR (2 ^ bits) / 2
      + / INR (2 ^ bits) / 2 * character L c (Nat.lxor j k))).
    + rewrite expect_plus, expect_scale, expect_character, expect_const
        by (auto; apply words_nonempty).
      replace (2 ^ S bits)%nat with (2 * 2 ^ bits)%nat by reflexivity.
      rewrite mult_INR. simpl (INR 2). field. apply not_0_INR, Nat.pow_nonzero. auto.
    + intros c _. rewrite (expect_ext _ _ _ (fun w _ => collide_bits L c w j k)).
      rewrite expect_scale, IHbits. field. apply not_0_INR, Nat.pow_nonzero. auto.
Qed.

(** The hypotheses of [p2_recovery] hold of the bits' linear maps. *)
Theorem p2_sketch_universal L bits n : (n <= 2 ^ L)%nat ->
  universal (xor_seeds L bits) (bucket_of L) n (2 ^ bits).
Proof.
  intros Hn i j Hi Hj Hne. unfold xor_seeds. rewrite expect_tuples by apply words_nonempty.
  rewrite (expect_ext _ _ (fun _ => / INR (2 ^ bits))).
  - rewrite expect_const by apply words_nonempty. lra.
  - intros c _. apply (expect_collide L bits i j); lia.
Qed.

Theorem p2_sketch_cancelling L bits n : (n <= 2 ^ L)%nat ->
  cancelling (xor_seeds L bits) (bucket_of L) (sign_of L) n.
Proof.
  intros Hn. split.
  - intros a i. unfold sign_of. destruct (parity _ _ _); ring.
  - intros i j k Hi Hj Hk Hne. unfold xor_seeds. rewrite expect_tuples by apply words_nonempty.
    set (shared := expect (tuples bits (words L)) (fun w =>
      collide (fun w => bits_of L w) w j i * collide (fun w => bits_of L w) w k i)).
    rewrite (expect_ext _ _ (fun c => shared * character L c (Nat.lxor j k))).
    + rewrite expect_scale, expect_character by lia. ring.
    + intros c _. rewrite <- character_product, Rmult_comm. unfold shared.
      rewrite <- expect_scale. reflexivity.
Qed.
