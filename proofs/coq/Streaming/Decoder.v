(** The decoder of a CountSketch, digits included (claim P2.recovery).

    The program looks at all rows of a long column without visiting them.  Steps: (1) an estimate of
    magnitude t has buckets of at least t in more than half of the hash rows; (2) these contain one
    of a few sets of hash rows, so the row's bits solve linear equations for the buckets there; (3)
    Gauss's elimination, run on the words of the bits one after another, reaches every solution;
    (4) hence, once k estimates reach the threshold, or all but 0 would, what is kept is what a look
    at every row would keep; (5) with the hash family of [p2_sketch_universal] the column that is
    decoded, from sums that were rounded, is within the claim's bound but for the claim's
    probability. *)

Require Import Reals Lra Lia List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Probability.
From Attest.Streaming Require Import Heap Recovery CountSketch Median.
Import ListNotations.
Open Scope R_scope.

(** * Words: what a bit of the index contributes to the buckets *)

Definition linear (word : nat -> nat) : Prop :=
  forall i j, word (Nat.lxor i j) = Nat.lxor (word i) (word j).

(** A pivot bit, a word that has it, and an index with this word. *)
Definition pivot : Type := nat * (nat * nat).

(** Take each pivot's word from the word that has its bit, and its index from the index. *)
Fixpoint eliminate (pivots : list pivot) (word index : nat) : nat * nat :=
  match pivots with
  | [] => (word, index)
  | (bit, (word', index')) :: rest =>
      if Nat.testbit word bit then eliminate rest (Nat.lxor word word') (Nat.lxor index index')
      else eliminate rest word index
  end.

(** Pivots and kernel of the words of the first L bits. *)
Fixpoint equations (word : nat -> nat) (L : nat) : list pivot * list nat :=
  match L with
  | O => ([], [])
  | S b =>
      let (pivots, kernel) := equations word b in
      let (left, index) := eliminate pivots (word (2 ^ b)%nat) (2 ^ b)%nat in
      if Nat.eqb left 0 then (pivots, index :: kernel)
      else (pivots ++ [(Nat.log2 left, (left, index))], kernel)
  end.

(** The exclusive or of every subset. *)
Fixpoint span (kernel : list nat) : list nat :=
  match kernel with
  | [] => [0%nat]
  | v :: rest => span rest ++ map (Nat.lxor v) (span rest)
  end.

(** All indices of L bits with that word. *)
Definition solutions (word : nat -> nat) (L target : nat) : list nat :=
  let (pivots, kernel) := equations word L in
  let (left, index) := eliminate pivots target 0 in
  if Nat.eqb left 0 then map (Nat.lxor index) (span kernel) else [].

(** Equal bit by bit. *)
Ltac by_bits :=
  apply Nat.bits_inj; intros ?; rewrite ?Nat.lxor_spec, ?Nat.bits_0;
  repeat match goal with |- context [Nat.testbit ?x ?b] => destruct (Nat.testbit x b) end;
  reflexivity.

Lemma eliminate_linear pivots w i w' i' :
  eliminate pivots (Nat.lxor w w') (Nat.lxor i i')
    = (Nat.lxor (fst (eliminate pivots w i)) (fst (eliminate pivots w' i')),
       Nat.lxor (snd (eliminate pivots w i)) (snd (eliminate pivots w' i'))).
Proof.
  revert w i w' i'. induction pivots as [| (bit & pw & pi) rest IH]; intros; simpl; auto.
  rewrite Nat.lxor_spec.
  destruct (Nat.testbit w bit), (Nat.testbit w' bit); simpl; rewrite <- IH; f_equal; by_bits.
Qed.

Lemma eliminate_zero pivots i : eliminate pivots 0 i = (0%nat, i).
Proof.
  induction pivots as [| (bit & pw & pi) rest IH]; simpl; auto. now rewrite Nat.bits_0.
Qed.

Lemma eliminate_app one other w i :
  eliminate (one ++ other) w i = let (w', i') := eliminate one w i in eliminate other w' i'.
Proof.
  revert w i. induction one as [| (bit & pw & pi) rest IH]; intros; simpl; auto.
  destruct (Nat.testbit w bit); auto.
Qed.

Lemma linear_zero word : linear word -> word 0%nat = 0%nat.
Proof.
  intros H. specialize (H 0%nat 0%nat). now rewrite Nat.lxor_nilpotent, Nat.lxor_nilpotent in H.
Qed.

Lemma top_bit b i : (i < 2 ^ S b)%nat -> (2 ^ b <= i)%nat ->
  exists j, (j < 2 ^ b)%nat /\ i = Nat.lxor (2 ^ b) j.
Proof.
  intros H Hi. exists (i - 2 ^ b)%nat. assert (Hj : (i - 2 ^ b < 2 ^ b)%nat) by (simpl in H; lia).
  split; auto. replace i with (2 ^ b + (i - 2 ^ b))%nat at 1 by lia.
  rewrite Nat.add_nocarry_lxor; auto. apply Nat.bits_inj. intros l.
  rewrite Nat.land_spec, Nat.bits_0, Nat.pow2_bits_eqb.
  destruct (Nat.eqb_spec b l) as [-> |]; auto. simpl.
  rewrite <- (Nat.mod_small _ _ Hj). now rewrite Nat.mod_pow2_bits_high.
Qed.

Lemma equations_reach word L i : linear word -> (i < 2 ^ L)%nat ->
  let (pivots, kernel) := equations word L in
  fst (eliminate pivots (word i) 0) = 0%nat /\
  In (Nat.lxor i (snd (eliminate pivots (word i) 0))) (span kernel).
Proof.
  intros Hw. revert i. induction L as [| b IH]; intros i Hi.
  - simpl in *. assert (i = 0%nat) as -> by lia. rewrite linear_zero by auto. simpl. auto.
  - simpl equations. destruct (equations word b) as (pivots, kernel).
    assert (Split : eliminate pivots (word (2 ^ b)%nat) (2 ^ b)
      = (fst (eliminate pivots (word (2 ^ b)%nat) 0),
         Nat.lxor (snd (eliminate pivots (word (2 ^ b)%nat) 0)) (2 ^ b))).
    { replace (eliminate pivots (word (2 ^ b)%nat) (2 ^ b)) with
        (eliminate pivots (Nat.lxor (word (2 ^ b)%nat) 0) (Nat.lxor 0 (2 ^ b)))
        by (f_equal; by_bits).
      rewrite eliminate_linear, eliminate_zero. simpl. now rewrite Nat.lxor_0_r. }
    rewrite Split. set (w := fst (eliminate pivots (word (2 ^ b)%nat) 0)) in *.
    set (x := snd (eliminate pivots (word (2 ^ b)%nat) 0)) in *.
    destruct (Nat.lt_ge_cases i (2 ^ b)) as [Low | High].
    + (* the new pivot does nothing to a word that was reduced before *)
      destruct (IH i Low) as [Z S].
      destruct (eliminate pivots (word i) 0) as (left, y) eqn:E. simpl in Z, S. subst left.
      destruct (Nat.eqb w 0); rewrite ?eliminate_app, E; cbn [fst snd span].
      * split; auto. apply in_or_app. auto.
      * rewrite eliminate_zero. auto.
    + destruct (top_bit b i Hi High) as (j & Hj & ->). destruct (IH j Hj) as [Z S].
      assert (E : eliminate pivots (word (Nat.lxor (2 ^ b) j)) 0
        = (w, Nat.lxor x (snd (eliminate pivots (word j) 0)))).
      { pose proof (eliminate_linear pivots (word (2 ^ b)%nat) 0 (word j) 0) as E.
        rewrite (Nat.lxor_0_l 0), Z, Nat.lxor_0_r in E. rewrite Hw. exact E. }
      set (y := snd (eliminate pivots (word j) 0)) in *.
      destruct (Nat.eqb_spec w 0) as [W | W]; rewrite ?eliminate_app, E; cbn [fst snd span].
      * split; auto. apply in_or_app. right. apply in_map_iff.
        exists (Nat.lxor j y). split; auto. by_bits.
      * simpl eliminate. rewrite Nat.bit_log2 by auto. cbn [fst snd].
        rewrite Nat.lxor_nilpotent. split; auto.
        replace (Nat.lxor _ _) with (Nat.lxor j y) by by_bits. auto.
Qed.

(** Every index is among the solutions for its word. *)
Theorem p2_decoder_solutions word L i : linear word -> (i < 2 ^ L)%nat ->
  In i (solutions word L (word i)).
Proof.
  intros Hw Hi. unfold solutions. pose proof (equations_reach word L i Hw Hi) as H.
  destruct (equations word L) as (pivots, kernel).
  destruct (eliminate pivots (word i) 0) as (left, x). simpl in H. destruct H as [-> H]. simpl.
  apply in_map_iff. exists (Nat.lxor i x). split; auto. by_bits.
Qed.

(** * The words of a few hash rows together *)

Lemma bits_of_app L u v j :
  bits_of L (u ++ v) j = (bits_of L u j + 2 ^ length u * bits_of L v j)%nat.
Proof. induction u as [| c u IH]; simpl; [lia | rewrite IH; lia]. Qed.

Lemma bits_of_below L ws j : (bits_of L ws j < 2 ^ length ws)%nat.
Proof. induction ws as [| c ws IH]; simpl; [lia | destruct (parity L c j); lia]. Qed.

Lemma bits_of_linear L ws : linear (bits_of L ws).
Proof.
  intros i j. induction ws as [| c ws IH]; [reflexivity |].
  assert (B : forall k, bits_of L (c :: ws) k
    = (2 * bits_of L ws k + Nat.b2n (parity L c k))%nat)
    by (intros; simpl; destruct (parity L c k); simpl; lia).
  rewrite !B, IH, parity_lxor. apply Nat.bits_inj. intros [| l].
  - rewrite Nat.lxor_spec, !Nat.testbit_0_r. reflexivity.
  - rewrite Nat.lxor_spec, !Nat.testbit_succ_r. now rewrite Nat.lxor_spec.
Qed.

(** Hash row r has the seed r of the list. *)
Definition seed_of (seeds : list (list nat)) (r : nat) : list nat := nth r seeds [].

Definition word_of (L : nat) (seeds : list (list nat)) (set : list nat) : nat -> nat :=
  bits_of L (flat_map (fun r => tl (seed_of seeds r)) set).

(** The words that have one of the wanted buckets in each row of the set. *)
Fixpoint targets (bits : nat) (wanted : nat -> list nat) (set : list nat) : list nat :=
  match set with
  | [] => [0%nat]
  | r :: rest =>
      flat_map (fun b => map (fun t => (b + 2 ^ bits * t)%nat) (targets bits wanted rest))
        (wanted r)
  end.

Lemma word_of_target L bits seeds wanted set i :
  (forall r, In r set -> length (tl (seed_of seeds r)) = bits) ->
  (forall r, In r set -> In (bucket_of L (seed_of seeds r) i) (wanted r)) ->
  In (word_of L seeds set i) (targets bits wanted set).
Proof.
  unfold word_of. induction set as [| r rest IH]; intros Hb Hw; simpl; auto.
  apply in_flat_map. exists (bucket_of L (seed_of seeds r) i). split; [apply Hw; simpl; auto |].
  apply in_map_iff. exists (bits_of L (flat_map (fun r => tl (seed_of seeds r)) rest) i).
  split; [| apply IH; intros; [apply Hb | apply Hw]; simpl; auto].
  rewrite bits_of_app, (Hb r) by (simpl; auto). reflexivity.
Qed.

(** * What the decoder reads, looks at and keeps *)

Section Decoder.

(** Keys have L bits, rows 2^bits buckets; [tables] are the sums, as they were computed. *)
Variables (L bits half : nat) (seeds : list (list nat)) (tables : nat -> nat -> R).

Definition hash_rows : list nat := seq 0 (2 * half + 1).

Definition sum_at (r i : nat) : R := tables r (bucket_of L (seed_of seeds r) i).

Definition row_reading (i r : nat) : R := sign_of L (seed_of seeds r) i * sum_at r i.

(** The buckets of a row that reach t. *)
Definition heavy (t : R) (r : nat) : list nat :=
  filter (fun b => at_most t (Rabs (tables r b))) (seq 0 (2 ^ bits)).

(** Most of the buckets of i reach t. *)
Definition mostly_heavy (t : R) (i : nat) : bool :=
  Nat.leb (half + 1) (length (filter (fun r => at_most t (Rabs (sum_at r i))) hash_rows)).

(** The rows i < n, of at most l bits, that are looked at: those with heavy buckets in all hash rows
    of a set, and of these those with heavy buckets in most. *)
Definition looked_at (l n : nat) (sets : list (list nat)) (t : R) : list nat :=
  nodup Nat.eq_dec (filter (fun i => andb (Nat.ltb i n) (mostly_heavy t i))
    (flat_map (fun set => flat_map (solutions (word_of L seeds set) l) (targets bits (heavy t) set))
       sets)).

(** The loop has ended: k estimates reach t, or every sum but 0 does. *)
Definition ended (k : nat) (median : nat -> R) (kept : list nat) (t : R) : Prop :=
  (length kept = k /\ forall i, In i kept -> t <= Rabs (median i)) \/
  (forall r b, tables r b <> 0 -> t <= Rabs (tables r b)).

End Decoder.

(** Whatever more than half of the hash rows are, they contain one of these sets, whole. *)
Definition in_common (half : nat) (sets : list (list nat)) : Prop :=
  forall P : nat -> bool, (half + 1 <= length (filter P (hash_rows half)))%nat ->
  exists set, In set sets /\ forall r, In r set -> In r (hash_rows half) /\ P r = true.

(** No row at all; one of the first 8; two of one of 4 threes; three of one of 3 fives. *)
Definition nothing_in_common : list (list nat) := [[]].
Definition rows_in_common : list (list nat) := map (fun r => [r]) (seq 0 8).
Definition pairs_in_common : list (list nat) :=
  flat_map (fun a => [[a; a + 1]; [a; a + 2]; [a + 1; a + 2]])%nat [0; 3; 6; 9]%nat.
Definition threes_of_five : list (list nat) :=
  [[0; 1; 2]; [0; 1; 3]; [0; 1; 4]; [0; 2; 3]; [0; 2; 4]; [0; 3; 4];
   [1; 2; 3]; [1; 2; 4]; [1; 3; 4]; [2; 3; 4]]%nat.
Definition threes_in_common : list (list nat) :=
  flat_map (fun a => map (map (Nat.add a)) threes_of_five) [0; 5; 10]%nat.

Lemma filter_count (P : nat -> bool) a m :
  length (filter P (seq a (S m))) = (Nat.b2n (P a) + length (filter P (seq (S a) m)))%nat.
Proof. simpl. destruct (P a); reflexivity. Qed.

Theorem p2_decoder_sets :
  in_common 7 nothing_in_common /\ in_common 7 rows_in_common /\ in_common 7 pairs_in_common /\
  in_common 7 threes_in_common.
Proof.
  assert (Range : forall r, (r < 15)%nat -> In r (hash_rows 7))
    by (intros; apply in_seq; lia).
  repeat split; intros P H; unfold hash_rows in H; simpl Nat.add in H; simpl Nat.mul in H.
  - exists []. simpl. split; auto. intros r [].
  - assert (B : forall r, (Nat.b2n (P r) <= 1)%nat) by (intros; destruct (P r); simpl; lia).
    destruct (existsb P (seq 0 8)) eqn:E.
    + apply existsb_exists in E. destruct E as (r & Hr & E). exists [r].
      split; [apply in_map_iff; eauto |]. intros q [<- | []]. apply in_seq in Hr.
      split; [apply Range; lia | auto].
    + exfalso. assert (Z : forall r, (r < 8)%nat -> P r = false).
      { intros q Hq. destruct (P q) eqn:F; auto. rewrite <- E. symmetry. apply existsb_exists.
        exists q. split; [apply in_seq; lia | auto]. }
      rewrite !filter_count, !(Z _) in H by lia. pose proof (B 8%nat). pose proof (B 9%nat).
      pose proof (B 10%nat). pose proof (B 11%nat). pose proof (B 12%nat). pose proof (B 13%nat).
      pose proof (B 14%nat). simpl in *. lia.
  - assert (Three : forall a, In a [0; 3; 6; 9]%nat ->
      (exists set, In set pairs_in_common /\
         forall r, In r set -> In r (hash_rows 7) /\ P r = true) \/
      (Nat.b2n (P a) + Nat.b2n (P (a + 1)) + Nat.b2n (P (a + 2)) <= 1)%nat).
    { intros a Ha. assert (A : (a <= 9)%nat) by (simpl in Ha; lia).
      assert (Pair : forall p q, In [p; q] [[a; a + 1]; [a; a + 2]; [a + 1; a + 2]]%nat ->
        P p = true -> P q = true -> exists set, In set pairs_in_common /\
          forall r, In r set -> In r (hash_rows 7) /\ P r = true).
      { intros p q Hpq Hp Hq. exists [p; q].
        split; [apply in_flat_map; exists a; auto |].
        assert (p < 15 /\ q < 15)%nat.
        { simpl in Hpq. destruct Hpq as [E | [E | [E | []]]]; injection E; lia. }
        intros r [<- | [<- | []]]; split; auto; apply Range; lia. }
      destruct (P a) eqn:E0, (P (a + 1)%nat) eqn:E1, (P (a + 2)%nat) eqn:E2;
        try (right; simpl; lia); left.
      all: first [apply (Pair a (a + 1)%nat); simpl; auto; fail
        | apply (Pair a (a + 2)%nat); simpl; auto; fail
        | apply (Pair (a + 1)%nat (a + 2)%nat); simpl; auto; fail]. }
    destruct (Three 0%nat) as [| T0]; [simpl; auto | auto |].
    destruct (Three 3%nat) as [| T1]; [simpl; auto | auto |].
    destruct (Three 6%nat) as [| T2]; [simpl; auto | auto |].
    destruct (Three 9%nat) as [| T3]; [simpl; auto 6 | auto |].
    exfalso. rewrite !filter_count in H. simpl in H, T0, T1, T2, T3.
    assert (B : forall r, (Nat.b2n (P r) <= 1)%nat) by (intros; destruct (P r); simpl; lia).
    pose proof (B 12%nat). pose proof (B 13%nat). pose proof (B 14%nat). lia.
  - assert (Five : forall a, In a [0; 5; 10]%nat ->
      (exists set, In set threes_in_common /\
         forall r, In r set -> In r (hash_rows 7) /\ P r = true) \/
      (length (filter P (seq a 5)) <= 2)%nat).
    { intros a Ha. assert (A : (a <= 10)%nat) by (simpl in Ha; lia).
      destruct (existsb (fun set => forallb (fun r => P (a + r)%nat) set) threes_of_five) eqn:E.
      - left. apply existsb_exists in E. destruct E as (set & Hset & E).
        rewrite forallb_forall in E. exists (map (Nat.add a) set). split.
        + apply in_flat_map. exists a. split; auto. apply in_map. auto.
        + intros r Hr. apply in_map_iff in Hr. destruct Hr as (q & <- & Hq). split; [| auto].
          apply Range. enough (q <= 4)%nat by lia.
          assert (Small : forallb (forallb (fun r => Nat.leb r 4)) threes_of_five = true)
            by reflexivity.
          rewrite forallb_forall in Small. specialize (Small set Hset).
          rewrite forallb_forall in Small. apply Nat.leb_le, Small. auto.
      - right. clear H. rewrite !filter_count. simpl in E |- *. rewrite !Nat.add_0_r in E.
        rewrite (Nat.add_comm a 1), (Nat.add_comm a 2), (Nat.add_comm a 3), (Nat.add_comm a 4) in E.
        simpl in E. destruct (P a), (P (S a)), (P (S (S a))), (P (S (S (S a)))),
          (P (S (S (S (S a))))); simpl in *; try discriminate; lia. }
    destruct (Five 0%nat) as [| F0]; [simpl; auto | auto |].
    destruct (Five 5%nat) as [| F1]; [simpl; auto | auto |].
    destruct (Five 10%nat) as [| F2]; [simpl; auto | auto |].
    exfalso. change (seq 0 15) with (seq 0 5 ++ seq 5 5 ++ seq 10 5) in H.
    rewrite !filter_app, !app_length in H. lia.
Qed.

(** Nothing with heavy buckets in most hash rows is overlooked. *)
Theorem p2_decoder_complete L bits half seeds tables l n sets t i :
  (forall r, In r (hash_rows half) -> length (tl (seed_of seeds r)) = bits) ->
  in_common half sets -> (n <= 2 ^ l)%nat -> (i < n)%nat ->
  mostly_heavy L half seeds tables t i = true ->
  In i (looked_at L bits half seeds tables l n sets t).
Proof.
  intros Hb Hsets Hn Hi H. apply nodup_In, filter_In. split.
  - unfold mostly_heavy in H. apply Nat.leb_le in H.
    destruct (Hsets (fun r => at_most t (Rabs (sum_at L seeds tables r i))) H)
      as (set & Hin & Hset).
    apply in_flat_map. exists set. split; auto. apply in_flat_map.
    exists (word_of L seeds set i). split.
    + apply word_of_target; intros r Hr; destruct (Hset r Hr) as [Hrow Ht]; [auto |].
      unfold heavy. apply filter_In. split; [| exact Ht]. apply in_seq. split; [lia |].
      rewrite <- (Hb r Hrow). apply bits_of_below.
    + apply p2_decoder_solutions; [apply bits_of_linear | lia].
  - rewrite H. replace (Nat.ltb i n) with true by (symmetry; apply Nat.ltb_lt; auto). reflexivity.
Qed.

Lemma looked_at_below L bits half seeds tables l n sets t i :
  In i (looked_at L bits half seeds tables l n sets t) -> (i < n)%nat.
Proof.
  intros H. apply nodup_In, filter_In in H. destruct H as [_ H]. apply andb_prop in H.
  apply Nat.ltb_lt. tauto.
Qed.

(** * What is kept is what a look at every row would keep *)

Lemma sign_abs L seed i : Rabs (sign_of L seed i) = 1.
Proof.
  unfold sign_of. destruct (parity _ _ _); [rewrite Rabs_left1 | rewrite Rabs_right]; lra.
Qed.

Lemma row_reading_abs L seeds tables i r :
  Rabs (row_reading L seeds tables i r) = Rabs (sum_at L seeds tables r i).
Proof. unfold row_reading. now rewrite Rabs_mult, sign_abs, Rmult_1_l. Qed.

Lemma median_heavy L half seeds tables t i m :
  is_median half (map (row_reading L seeds tables i) (hash_rows half)) m -> t <= Rabs m ->
  mostly_heavy L half seeds tables t i = true.
Proof.
  intros (_ & Low & High) Ht. unfold mostly_heavy. apply Nat.leb_le.
  rewrite filter_map_length in Low, High.
  assert (Reaches : forall r, Rabs m <= Rabs (row_reading L seeds tables i r) ->
    at_most t (Rabs (sum_at L seeds tables r i)) = true).
  { intros r H. rewrite row_reading_abs in H. unfold at_most.
    destruct (Rle_dec _ _); [auto | lra]. }
  destruct (Rle_dec 0 m) as [Hm | Hm].
  - eapply Nat.le_trans; [exact High |]. apply filter_length_le. intros r _ Hr. apply Reaches.
    unfold at_most in Hr. destruct (Rle_dec m _) as [Hr' |]; [| discriminate].
    rewrite !Rabs_right; lra.
  - eapply Nat.le_trans; [exact Low |]. apply filter_length_le. intros r _ Hr. apply Reaches.
    unfold at_most in Hr. destruct (Rle_dec _ m) as [Hr' |]; [| discriminate].
    rewrite !Rabs_left1; lra.
Qed.

Lemma keeps_more m k rows found kept others : keeps m k found kept -> NoDup found -> NoDup rows ->
  (forall i, In i found -> In i rows) ->
  others = filter (unlisted found) rows ->
  (length kept = k -> forall i j, In i others -> In j kept -> Rabs (m i) <= Rabs (m j)) ->
  (length kept <> k -> forall i, In i others -> m i = 0) ->
  exists kept', keeps m k rows kept' /\ forall i, restrict m kept' i = restrict m kept i.
Proof.
  intros (dropped & P & Len & Low) Nf Nr Hin -> Full Zero.
  set (others := filter (unlisted found) rows) in *.
  assert (Split : Permutation rows (kept ++ dropped ++ others)).
  { rewrite (split_listed found rows). fold others. rewrite app_assoc. apply Permutation_app_tail.
    rewrite <- P. apply NoDup_Permutation; auto; [apply NoDup_filter; auto |].
    intros i. rewrite filter_listed. specialize (Hin i). tauto. }
  pose proof (Permutation_length P) as LP. pose proof (Permutation_length Split) as LS.
  rewrite !app_length in *.
  destruct (Nat.eq_dec (length kept) k) as [E | E].
  - exists kept. split; auto. exists (dropped ++ others). split; [auto |]. split; [lia |].
    intros i j Hi Hj. apply in_app_or in Hi. destruct Hi as [Hi | Hi]; [auto |]. apply Full; auto.
  - assert (dropped = []) as -> by (apply length_zero_iff_nil; lia). simpl in *.
    set (more := (Nat.min k (length rows) - length kept)%nat).
    exists (kept ++ firstn more others). split.
    + exists (skipn more others). split; [now rewrite <- app_assoc, firstn_skipn |].
      split; [rewrite app_length, firstn_length; lia |].
      intros i j Hi _. rewrite (Zero E i), Rabs_R0; [apply Rabs_pos |].
      rewrite <- (firstn_skipn more others). apply in_or_app. auto.
    + intros i. unfold restrict.
      destruct (in_dec Nat.eq_dec i (kept ++ firstn more others)) as [Hi | Hi],
        (in_dec Nat.eq_dec i kept) as [Hk | Hk]; auto.
      * apply in_app_or in Hi. destruct Hi as [Hi | Hi]; [contradiction |]. apply (Zero E).
        rewrite <- (firstn_skipn more others). apply in_or_app. auto.
      * exfalso. apply Hi, in_or_app. auto.
Qed.

Theorem p2_decoder_scan L bits half seeds tables l n sets t k median kept :
  (forall r, In r (hash_rows half) -> length (tl (seed_of seeds r)) = bits) ->
  in_common half sets -> (n <= 2 ^ l)%nat ->
  (forall i, (i < n)%nat ->
     is_median half (map (row_reading L seeds tables i) (hash_rows half)) (median i)) ->
  keeps median k (looked_at L bits half seeds tables l n sets t) kept ->
  ended tables k median kept t ->
  exists kept', keeps median k (seq 0 n) kept' /\
    forall i, restrict median kept' i = restrict median kept i.
Proof.
  intros Hb Hsets Hn Hmed HK Hend. set (found := looked_at _ _ _ _ _ _ _ _ _) in *.
  assert (Below : forall i, In i (filter (unlisted found) (seq 0 n)) ->
    Rabs (median i) < t).
  { intros i Hi. apply filter_unlisted in Hi. destruct Hi as [Hi Hf]. apply in_seq in Hi.
    apply Rnot_le_lt. intros Ht. apply Hf, p2_decoder_complete; auto; [lia |].
    apply (median_heavy _ _ _ _ _ _ (median i)); auto. apply Hmed. lia. }
  assert (Zero : (forall r b, tables r b <> 0 -> t <= Rabs (tables r b)) ->
    forall i, In i (filter (unlisted found) (seq 0 n)) -> median i = 0).
  { intros Hleast i Hi. apply filter_unlisted in Hi. destruct Hi as [Hi Hf]. apply in_seq in Hi.
    destruct (Req_dec (median i) 0) as [| Hne]; auto. exfalso.
    apply Hf, p2_decoder_complete; auto; [lia |].
    pose proof (median_heavy L half seeds tables (Rabs (median i)) i (median i)
      (Hmed i ltac:(lia)) (Rle_refl _)) as M.
    unfold mostly_heavy in *. apply Nat.leb_le in M. apply Nat.leb_le.
    eapply Nat.le_trans; [exact M |]. apply filter_length_le. intros r _ Hr. unfold at_most in *.
    pose proof (Rabs_pos_lt _ Hne).
    destruct (Rle_dec (Rabs (median i)) _) as [Hr' |]; [| discriminate].
    destruct (Rle_dec t _) as [| N]; auto. exfalso. apply N, Hleast. intros Z.
    unfold sum_at in Hr'. rewrite Z, Rabs_R0 in Hr'. lra. }
  apply (keeps_more _ _ _ found _ (filter (unlisted found) (seq 0 n))); auto.
  - apply NoDup_nodup.
  - apply seq_NoDup.
  - intros i Hi. apply looked_at_below in Hi. apply in_seq. lia.
  - intros Full i j Hi Hj. destruct Hend as [[_ Hreach] | Hleast].
    + specialize (Below i Hi). specialize (Hreach j Hj). lra.
    + rewrite (Zero Hleast i Hi), Rabs_R0. apply Rabs_pos.
  - intros Short i Hi. destruct Hend as [[Full _] | Hleast]; [contradiction | auto].
Qed.

(** * From the draws to the column *)

Lemma filter_nth_length {A} (f : A -> bool) (l : list A) d :
  length (filter (fun r => f (nth r l d)) (seq 0 (length l))) = length (filter f l).
Proof.
  rewrite <- (filter_map_length f (fun r => nth r l d)). f_equal. f_equal.
  induction l as [| a l IH]; simpl; auto. f_equal. rewrite <- seq_shift, map_map. exact IH.
Qed.

(** The sum in bucket b of the row with that seed. *)
Definition sum_in_bucket (L n : nat) (x : nat -> R) (seed : list nat) (b : nat) : R :=
  fsum n (fun j => if Nat.eqb (bucket_of L seed j) b then sign_of L seed j * x j else 0).

Lemma estimate_row_reading L n x seed i :
  estimate (bucket_of L) (sign_of L) n x i seed
    = sign_of L seed i * sum_in_bucket L n x seed (bucket_of L seed i).
Proof.
  unfold estimate, sum_in_bucket. f_equal. apply fsum_ext. intros j _. unfold collide.
  destruct (Nat.eqb _ _); ring.
Qed.

Lemma column_failure_form n h k B accuracy : (0 < B)%nat -> 0 < accuracy ->
  b_recovery_column_failure n h k B accuracy
    = INR n * b_recovery_failure h (b_recovery_row_failure k B accuracy).
Proof.
  intros HB Ha. rewrite recovery_failure_form, recovery_row_form by auto.
  unfold b_recovery_column_failure. count (h + 1)%nat. count (2 * h + 1)%nat.
  rewrite (Rmult_comm (C _ _)), <- Rmult_assoc. do 3 f_equal.
  pose proof (lt_0_INR B HB). field. lra.
Qed.

(** What [StreamingAttention.decode] returns.  y is the exact column and x the one that was computed;
    a draw is a seed for each hash row; [tables] are the sums, off by at most [rounding].  The
    threshold is any at which the loop ends, whatever the ones before it were.  With half = 7 the sets
    are those of [p2_decoder_sets]. *)
Theorem p2_recovery_decoded L bits half l n k sets accuracy rounding entry_error (x y z : nat -> R)
    (tables : list (list nat) -> nat -> nat -> R) (median : list (list nat) -> nat -> R)
    (threshold : list (list nat) -> R) (kept : list (list nat) -> list nat) :
  let draws := tuples (2 * half + 1) (xor_seeds L bits) in
  (n <= 2 ^ L)%nat -> (n <= 2 ^ l)%nat -> (0 < k)%nat -> 0 < accuracy -> 0 <= rounding ->
  0 <= entry_error -> in_common half sets -> sparse n k z ->
  (forall i, (i < n)%nat -> Rabs (x i - y i) <= entry_error) ->
  (forall draw r b, In draw draws -> In r (hash_rows half) ->
     Rabs (tables draw r b - sum_in_bucket L n x (seed_of draw r) b) <= rounding) ->
  (forall draw i, In draw draws -> (i < n)%nat ->
     is_median half (map (row_reading L draw (tables draw) i) (hash_rows half)) (median draw i)) ->
  (forall draw, In draw draws ->
     keeps (median draw) k
       (looked_at L bits half draw (tables draw) l n sets (threshold draw)) (kept draw) /\
     ended (tables draw) k (median draw) (kept draw) (threshold draw)) ->
  probability draws (fun draw =>
      negb (at_most (distance n y (restrict (median draw) (kept draw)))
        (b_recovery_error (b_recovery_ratio accuracy) (distance n y z) n entry_error
         + b_heap_excess k rounding)))
    <= b_recovery_column_failure n half k (2 ^ bits) accuracy.
Proof.
  intros draws HL Hl Hk Ha Hr He Hsets Hz Hxy Htables Hmed Hkept. rewrite column_failure_form by
    (auto; apply Nat.neq_0_lt_0, Nat.pow_nonzero; auto).
  set (tau := accuracy * distance n x z / sqrt (INR k)).
  assert (Htau : 0 <= tau).
  { apply Rmult_le_pos; [apply Rmult_le_pos; [lra | apply sqrt_pos] |].
    left. apply Rinv_0_lt_compat, sqrt_lt_R0, lt_0_INR. auto. }
  assert (Far : forall u v, less_than u v = true -> u < v)
    by (intros u v E; unfold less_than in E; destruct (Rlt_dec u v); [auto | discriminate]).
  assert (Mono : forall u, monotone (less_than u)).
  { intros u v v' Hv E. apply Far in E. unfold less_than. destruct (Rlt_dec u v'); [auto | lra]. }
  assert (Seeds : xor_seeds L bits <> []) by apply tuples_nonempty, words_nonempty.
  set (row := fun i => estimate (bucket_of L) (sign_of L) n x i).
  set (bad := fun i draw =>
    Nat.leb (half + 1) (length (filter (misses (less_than tau) (row i) (x i)) draw))).
  apply (probability_union _ n bad).
  - apply tuples_nonempty. auto.
  - intros i Hi. apply most_far; auto.
    apply (p2_recovery_row_failure (xor_seeds L bits) (bucket_of L) (sign_of L) n _ x z k); auto.
    + apply Nat.neq_0_lt_0, Nat.pow_nonzero. auto.
    + apply p2_sketch_universal. auto.
    + apply p2_sketch_cancelling. auto.
    + intros v E. apply Far in E. fold tau. lra.
  - intros draw Hdraw E. pose proof (tuples_In _ _ _ Hdraw) as [Len Each].
    destruct (existsb (fun i => bad i draw) (seq 0 n)) eqn:Any.
    + apply existsb_exists in Any. destruct Any as (i & Hi & Ei). apply in_seq in Hi.
      exists i. split; [lia | auto].
    + exfalso. unfold at_most in E. destruct (Rle_dec _ _) as [| N]; [discriminate |]. apply N.
      destruct (Hkept draw Hdraw) as [HK Hend].
      assert (Bits : forall r, In r (hash_rows half) -> length (tl (seed_of draw r)) = bits).
      { intros r Hrow. apply in_seq in Hrow.
        assert (Hin : In (seed_of draw r) draw) by (apply nth_In; lia).
        apply Each, tuples_In in Hin. destruct Hin as [Hlen _].
        destruct (seed_of draw r); simpl in *; lia. }
      destruct (p2_decoder_scan L bits half draw (tables draw) l n sets (threshold draw) k
        (median draw) (kept draw)) as (scanned & HS & Same); auto.
      assert (Close : forall i, (i < n)%nat -> Rabs (median draw i - x i) <= tau + rounding).
      { intros i Hi. apply Rnot_lt_le. intros Hfar.
        assert (F : bad i draw = false).
        { destruct (bad i draw) eqn:B; auto. rewrite <- Any. symmetry. apply existsb_exists.
          exists i. split; [apply in_seq; lia | auto]. }
        unfold bad in F. apply Nat.leb_gt in F. apply (Nat.lt_irrefl (half + 1)).
        eapply Nat.le_lt_trans; [| exact F].
        eapply Nat.le_trans.
        - apply (median_off half (row_reading L draw (tables draw) i) (hash_rows half)
            (median draw i) (x i) (less_than (tau + rounding))); auto.
          unfold less_than. destruct (Rlt_dec _ _); [auto | lra].
        - unfold hash_rows. rewrite <- Len, <- (filter_nth_length _ draw []).
          apply filter_length_le. intros r Hrow Hm. unfold misses in *. apply Far in Hm.
          unfold less_than. destruct (Rlt_dec _ _) as [| Hn]; [auto |]. exfalso. apply Hn.
          assert (Off : Rabs (row_reading L draw (tables draw) i r - row i (nth r draw []))
            <= rounding).
          { unfold row. rewrite estimate_row_reading. unfold row_reading, sum_at.
            fold (seed_of draw r).
            rewrite <- Rmult_minus_distr_l, Rabs_mult, sign_abs, Rmult_1_l. apply Htables; auto.
            unfold hash_rows. rewrite <- Len. auto. }
          pose proof (Rabs_triang (row_reading L draw (tables draw) i r - row i (nth r draw []))
            (row i (nth r draw []) - x i)) as T.
          replace (_ + _) with (row_reading L draw (tables draw) i r - x i) in T by ring. lra. }
      pose proof (p2_recovery_rounded n k (median draw) x z accuracy rounding scanned
        ltac:(lra) Hr Hk Close HS Hz) as D.
      assert (Est : distance n x (restrict (median draw) (kept draw))
        = distance n x (restrict (median draw) scanned)).
      { unfold distance, squared_distance. f_equal. apply fsum_ext. intros i _. now rewrite Same. }
      unfold b_recovery_error. argument sqrt (INR n).
      pose proof (distance_entries n x y entry_error He Hxy) as De.
      pose proof (distance_triangle n y x (restrict (median draw) (kept draw))) as T1.
      pose proof (distance_triangle n x y z) as T2.
      rewrite (distance_sym n y x) in T1.
      assert (R0 : 0 <= b_recovery_ratio accuracy)
        by (rewrite recovery_ratio_form; apply sqrt_pos).
      assert (b_recovery_ratio accuracy * distance n x z
        <= b_recovery_ratio accuracy * (entry_error * sqrt (INR n) + distance n y z))
        by (apply Rmult_le_compat_l; lra).
      rewrite Est in T1. lra.
Qed.
