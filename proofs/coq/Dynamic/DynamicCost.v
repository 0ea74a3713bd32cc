(** What dynamic attention takes (claims P1.update, P1.query, P1.worstcase, P1.slots).

    Counted are scalar products.  With cached weights: 2 n for new weights by factors, n d from the
    definition, one a pair, row and column of values for a rebuild; the denominator counts as a
    column of values, so a rebuild of k pairs takes n k (v + 1) for v columns of values.  With
    slots: weights take d products each whenever they are needed.

    Steps: (1) with the potential n (v + 1) for every pair that is pending, an edit pays for the
    rebuild that its pair will have; (2) where no token is updated twice between two rebuilds, each
    edit makes a pair, so the count is exact; (3) sliced, an edit merges ceil(n / k) rows of at
    most k frozen pairs, and a row has at most 2 k - 1 pairs to add when it is read; (4) what is
    kept is counted from the machine's state.

    NOTE Beginning anew, as an append does that finds no room, is not counted: it takes as long as
    building. *)

Require Import Reals Lra Lia List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Dynamic Require Import Tokens Pending Cached Slots Dynamic.
Import ListNotations.
Open Scope R_scope.

Section Cost.

Context {options : settings}.
Let positive_limit : (0 < limit)%nat := limit_positive.

(** Columns of values. *)
Variable value_columns : nat.

(** * The counts *)

Definition merge_products (rows pairs : nat) : nat := (rows * pairs * (value_columns + 1))%nat.

(** Rows that the next slice treats. *)
Definition slice_rows (s : cached) : nat :=
  (Nat.min (c_front s + slice (c_end s)) (c_end s) - c_front s)%nat.

(** A slice; and with [limit] pairs the next rebuild, which is at once or begins to be sliced. *)
Definition settle_products (T : tokens) (s : cached) : nat :=
  (merge_products (slice_rows s) (length (c_frozen s))
   + (if negb sliced && Nat.leb limit (c_pending s) then merge_products (count T) (c_pending s)
      else 0))%nat.

(** New weights. *)
Definition change_products (T : tokens) (e : edit) : nat :=
  match e with
  | UpdateKey _ _ _ => 2 * count T
  | SetKey _ _ => count T * dimension
  | Append _ _ _ => S (count T) * dimension
  | _ => 0
  end.

Definition edit_products (T : tokens) (s : cached) (e : edit) : nat :=
  if accepted T e then
    match e with
    | UpdateQuery _ _ _ | SetQuery _ _ => 0
    | _ => change_products T e + settle_products (edited T e) (c_change T s e)
    end
  else 0.

(** Reads of trusted rows. *)
Inductive call : Type :=
| Change (e : edit)
| Read_entry (i j : nat)
| Read_row (i : nat)
| Read_column (j : nat).

Definition row_pairs (s : cached) (i : nat) : nat :=
  (c_pending s + (if c_waits s i then length (c_frozen s) else 0))%nat.

Definition call_products (T : tokens) (s : cached) (a : call) : nat :=
  match a with
  | Change e => edit_products T s e
  | Read_entry i _ => 2 * row_pairs s i
  | Read_row i => row_pairs s i * (value_columns + 1)
  | Read_column _ => 2 * (count T * c_pending s + (c_end s - c_front s) * length (c_frozen s))
  end.

Definition called (T : tokens) (s : cached) (a : call) : tokens * cached :=
  match a with
  | Change e => (edited T e, if accepted T e then c_edit T s e else s)
  | _ => (T, s)
  end.

Fixpoint total_products (T : tokens) (s : cached) (calls : list call) : nat :=
  match calls with
  | [] => 0
  | a :: rest =>
      let (T', s') := called T s a in (call_products T s a + total_products T' s' rest)%nat
  end.

(** * Amortised *)

Definition c_sound (T : tokens) (s : cached) : Prop :=
  cached_exact T s /\ c_paced s /\ (length (c_frozen s) <= limit)%nat.

Lemma c_sound_edit T s e : in_columns e -> c_sound T s ->
  c_sound (edited T e) (if accepted T e then c_edit T s e else s).
Proof.
  intros V (I & P & F).
  exact (step_invariant (T, InCache s) (Edit e) V (conj I (conj P F))).
Qed.

(** Nothing is merged by slices where rebuilds are at once. *)
Lemma slices_done s : c_end s = 0%nat -> slice_rows s = 0%nat.
Proof. intros E. unfold slice_rows. rewrite E. lia. Qed.

Lemma change_end T s e : (count T < c_room s)%nat \/ (forall q k v, e <> Append q k v) ->
  c_end (c_change T s e) = c_end s /\ c_frozen (c_change T s e) = c_frozen s.
Proof.
  intros H. destruct e; simpl; auto. destruct H as [H | H]; [| exfalso; eapply H; eauto].
  apply Nat.ltb_lt in H. rewrite H. auto.
Qed.

Lemma change_pending T s e : (forall q k v, e <> Append q k v) ->
  (c_pending (c_change T s e) <= S (c_pending s))%nat.
Proof.
  intros H. destruct e; simpl; try apply pending_key; try apply pending_value;
    try (unfold c_pending; simpl; lia). exfalso. eapply H; eauto.
Qed.

(** A call that appends no token, and reads one of n rows. *)
Definition keeps_count (n : nat) (a : call) : Prop :=
  match a with
  | Change (Append _ _ _) => False
  | Change e => in_columns e
  | Read_entry i _ | Read_row i => (i < n)%nat
  | Read_column _ => True
  end.

Definition potential (T : tokens) (s : cached) : nat := merge_products (count T) (c_pending s).

Definition price (n : nat) (a : call) : nat :=
  match a with
  | Change (UpdateKey _ _ _) => n * (value_columns + 3)
  | Change (SetKey _ _) => n * (dimension + value_columns + 1)
  | Change (UpdateValue _ _ _) | Change (SetValue _ _) | Change (Evict _) => n * (value_columns + 1)
  | Change _ => 0
  | Read_entry _ _ => 2 * (limit - 1)
  | Read_row _ => (limit - 1) * (value_columns + 1)
  | Read_column _ => 2 * n * (limit - 1)
  end.

Definition total_price (n : nat) (calls : list call) : nat :=
  fold_right (fun a sum => price n a + sum)%nat 0%nat calls.

Lemma unsliced_waits s i : c_end s = 0%nat -> c_waits s i = false.
Proof. intros E. unfold c_waits. rewrite E. apply andb_false_r. Qed.

Lemma edited_count T e : (forall q k v, e <> Append q k v) -> count (edited T e) = count T.
Proof.
  intros H. unfold edited. destruct (accepted T e); auto. destruct e; auto.
  exfalso. eapply H; eauto.
Qed.

(** At once: what an edit takes and what it leaves to be paid. *)
Lemma edit_amortised T s e : sliced = false -> c_end s = 0%nat -> accepted T e = true ->
  (forall q k v, e <> Append q k v) ->
  (forall t j x, e <> UpdateQuery t j x) -> (forall t r, e <> SetQuery t r) ->
  (edit_products T s e + potential (edited T e) (c_edit T s e)
    = change_products T e + merge_products (count T) (c_pending (c_change T s e)))%nat.
Proof.
  intros E F A N N1 N2. destruct (change_end T s e (or_intror N)) as (F1 & _).
  pose proof (edited_count T e N) as C. unfold edit_products, potential. rewrite A, C.
  assert (X : c_edit T s e = c_settle (edited T e) (c_change T s e)).
  { destruct e; simpl; auto; exfalso; [eapply N1 | eapply N2]; eauto. }
  rewrite X. unfold settle_products, c_settle.
  rewrite slices_done, C, E by congruence.
  change (c_pending (c_advance (slice (c_end (c_change T s e))) (c_change T s e)))
    with (c_pending (c_change T s e)).
  assert (Y : forall x, match e with UpdateQuery _ _ _ | SetQuery _ _ => 0%nat | _ => x end = x).
  { intros x. destruct e; auto; exfalso; [eapply N1 | eapply N2]; eauto. }
  rewrite Y. unfold merge_products at 1. simpl Nat.mul at 1. simpl negb.
  destruct (Nat.leb limit (c_pending (c_change T s e))); simpl andb; cbv iota.
  - unfold c_pending at 2. simpl. unfold merge_products. lia.
  - change (c_pending (c_advance (slice (c_end (c_change T s e))) (c_change T s e)))
      with (c_pending (c_change T s e)). lia.
Qed.

Lemma call_amortised T s a : sliced = false -> keeps_count (count T) a -> c_sound T s ->
  let (T', s') := called T s a in
  count T' = count T /\ c_sound T' s' /\
  (call_products T s a + potential T' s' <= price (count T) a + potential T s)%nat.
Proof.
  intros E V (I & P & F). pose proof P as (P1 & P3 & _). specialize (P3 E).
  assert (S : c_sound T s) by (unfold c_sound; auto).
  destruct a as [e | i j | i | j]; simpl called.
  - assert (N : forall q k v, e <> Append q k v) by (intros q k v ->; exact V).
    assert (V' : in_columns e) by (destruct e; first [exact V | destruct V]).
    split; [apply edited_count; auto | split; [exact (c_sound_edit T s e V' S) |]].
    simpl call_products. destruct (accepted T e) eqn:A.
    2: { unfold edit_products, potential. rewrite A, edited_count by auto. lia. }
    pose proof (change_pending T s e N) as C.
    destruct e as [t j x | t j x | t j x | t row | t row | t row | q k v | t].
    1, 4: unfold edit_products, potential; rewrite A, edited_count by exact N; apply Nat.le_refl.
    5: exfalso; eapply N; reflexivity.
    all: rewrite edit_amortised by (auto; intros; discriminate);
      unfold potential, merge_products; simpl change_products; simpl price; nia.
  - split; [auto | split; [auto |]]. unfold call_products, row_pairs. simpl in V |- *.
    rewrite unsliced_waits by exact P3. lia.
  - split; [auto | split; [auto |]]. unfold call_products, row_pairs. simpl in V |- *.
    rewrite unsliced_waits, Nat.add_0_r by exact P3.
    apply Nat.add_le_mono_r, Nat.mul_le_mono_r. lia.
  - split; [auto | split; [auto |]]. unfold call_products. simpl price.
    rewrite P3. simpl Nat.sub. nia.
Qed.

Lemma total_amortised calls : forall T s, sliced = false -> c_sound T s ->
  Forall (keeps_count (count T)) calls ->
  (total_products T s calls <= total_price (count T) calls + potential T s)%nat.
Proof.
  induction calls as [| a calls IH]; intros T s E S V; simpl; [lia |].
  inversion V as [| ? ? Va Vr]; subst. pose proof (call_amortised T s a E Va S) as H.
  destruct (called T s a) as [T' s']. destruct H as (C & S' & H).
  rewrite <- C in Vr. specialize (IH T' s' E S' Vr). rewrite C in IH. lia.
Qed.

Lemma c_build_sound T room : (count T <= room)%nat -> c_sound T (c_build T room).
Proof.
  intros H. split; [apply c_build_exact; auto | split; [apply c_build_paced | simpl; lia]].
Qed.

(** Any list of calls without appended tokens, rebuilds at once: the sum of the prices. *)
Theorem p1_amortised T room calls : sliced = false -> (count T <= room)%nat ->
  Forall (keeps_count (count T)) calls ->
  (total_products T (c_build T room) calls <= total_price (count T) calls)%nat.
Proof.
  intros E R V. pose proof (total_amortised calls T (c_build T room) E (c_build_sound T room R) V).
  replace (potential T (c_build T room)) with 0%nat in H; [lia |].
  unfold potential, merge_products, c_pending. simpl. lia.
Qed.

(** Updates of entries of keys, by token, column and delta. *)
Definition key_updates (us : list (nat * nat * R)) : list call :=
  map (fun u => Change (UpdateKey (fst (fst u)) (snd (fst u)) (snd u))) us.

Theorem p1_update_amortised T room us : sliced = false -> (count T <= room)%nat ->
  Forall (fun u => (snd (fst u) < dimension)%nat) us ->
  INR (total_products T (c_build T room) (key_updates us))
    <= INR (length us) * b_amortised_products (count T) value_columns.
Proof.
  intros E R V. eapply Rle_trans.
  - apply le_INR, p1_amortised; auto. unfold key_updates. apply Forall_map. exact V.
  - right. unfold b_amortised_products. clear V.
    induction us as [| u us IH]; simpl key_updates; simpl total_price; [simpl; ring |].
    rewrite plus_INR, IH, mult_INR, plus_INR. simpl length. rewrite (S_INR (length us)).
    simpl (INR 3). ring.
Qed.

(** * Exactly *)

(** No token twice between two rebuilds; [recent] are those since the last. *)
Fixpoint apart (recent : list nat) (tokens : list nat) : Prop :=
  match tokens with
  | [] => True
  | t :: rest => ~ In t recent /\
      apart (if Nat.leb limit (S (length recent)) then [] else t :: recent) rest
  end.

Lemma exact_count us : forall T s, sliced = false -> c_sound T s -> c_values s = [] ->
  Forall (fun u => (snd (fst u) < dimension)%nat /\ live T (fst (fst u)) = true) us ->
  apart (c_keys s) (map (fun u => fst (fst u)) us) ->
  (total_products T s (key_updates us)
    = length us * (2 * count T)
      + (length (c_keys s) + length us) / limit * merge_products (count T) limit)%nat.
Proof.
  induction us as [| [[t j] x] us IH]; intros T s E S Hv V H.
  - destruct S as (_ & (P & _) & _). unfold c_pending in P. rewrite Hv in P. simpl in *.
    rewrite Nat.div_small by lia. lia.
  - inversion V as [| ? ? [Vj Vt] Vr]; subst. simpl in Vj, Vt, H. destruct H as [Hn H].
    set (e := UpdateKey t j x). assert (A : accepted T e = true) by exact Vt.
    pose proof (c_sound_edit T s e Vj S) as S'. rewrite A in S'.
    destruct S as (I & P & F). destruct P as (P1 & P3 & _). specialize (P3 E).
    assert (C : count (edited T e) = count T) by (apply edited_count; discriminate).
    assert (Vr' : Forall (fun u => (snd (fst u) < dimension)%nat /\
        live (edited T e) (fst (fst u)) = true) us).
    { eapply Forall_impl; [| exact Vr]. intros u [Hu Hl]. split; auto.
      unfold live, edited in *. rewrite A. exact Hl. }
    assert (Ht : add t (c_keys s) = t :: c_keys s)
      by (unfold add; destruct (in_dec Nat.eq_dec t (c_keys s)); [contradiction | reflexivity]).
    assert (Hp : c_pending (c_change T s e) = Datatypes.S (length (c_keys s))).
    { unfold c_pending. simpl. rewrite Ht, Hv. simpl. lia. }
    unfold c_pending in P1. rewrite Hv in P1. simpl in P1.
    cbn [key_updates map total_products called call_products fst snd]. fold e. rewrite A.
    fold (key_updates us).
    assert (EP : edit_products T s e = (2 * count T
      + (if Nat.leb limit (Datatypes.S (length (c_keys s)))
         then merge_products (count T) (Datatypes.S (length (c_keys s))) else 0))%nat).
    { unfold edit_products. rewrite A.
      change (2 * count T + settle_products (edited T e) (c_change T s e) = 2 * count T
        + (if Nat.leb limit (Datatypes.S (length (c_keys s)))
           then merge_products (count T) (Datatypes.S (length (c_keys s))) else 0))%nat.
      unfold settle_products.
      rewrite slices_done, C, E, Hp by exact P3. unfold merge_products at 1. simpl negb.
      destruct (Nat.leb limit (Datatypes.S (length (c_keys s)))); simpl andb; cbv iota; lia. }
    assert (K : c_keys (c_edit T s e) = if Nat.leb limit (Datatypes.S (length (c_keys s)))
        then [] else t :: c_keys s).
    { simpl c_edit. unfold c_settle.
      change (c_pending (c_advance _ (c_use s t _))) with (c_pending (c_change T s e)).
      rewrite Hp.
      destruct (Nat.leb limit (Datatypes.S (length (c_keys s)))); simpl; auto. }
    rewrite EP, (IH (edited T e)), C, K; auto.
    + destruct (Nat.leb_spec limit (Datatypes.S (length (c_keys s)))) as [L | L]; cbn [length].
      * replace (Datatypes.S (length (c_keys s))) with limit by lia.
        replace (length (c_keys s) + Datatypes.S (length us))%nat
          with (length us + 1 * limit)%nat by lia.
        rewrite Nat.div_add, Nat.add_0_l by lia. ring.
      * replace (length (c_keys s) + Datatypes.S (length us))%nat
          with (Datatypes.S (length (c_keys s)) + length us)%nat by lia. ring.
    + simpl c_edit. unfold c_settle.
      match goal with |- context [if ?b then _ else _] => destruct b end;
        [reflexivity | exact Hv].
    + now rewrite K.
Qed.

(** u updates, no token twice between two rebuilds: 2 n u, and every k-th one rebuilds k pairs. *)
Theorem p1_update_exact T room us : sliced = false -> (count T <= room)%nat ->
  Forall (fun u => (snd (fst u) < dimension)%nat /\ live T (fst (fst u)) = true) us ->
  apart [] (map (fun u => fst (fst u)) us) ->
  INR (total_products T (c_build T room) (key_updates us))
    = INR (length us) * b_update_products (count T)
      + INR (length us / limit) * b_rebuild_products (count T) limit value_columns.
Proof.
  intros E R V H.
  rewrite (exact_count us T (c_build T room) E (c_build_sound T room R) eq_refl V H).
  unfold merge_products, b_update_products, b_rebuild_products.
  change (length (c_keys (c_build T room)) + length us)%nat with (length us).
  rewrite plus_INR, !mult_INR, plus_INR. simpl (INR 2). simpl (INR 1). ring.
Qed.

(** The amortised bound is met where the last rebuild has just been. *)
Theorem p1_update_attained T room us m : sliced = false -> (count T <= room)%nat ->
  Forall (fun u => (snd (fst u) < dimension)%nat /\ live T (fst (fst u)) = true) us ->
  apart [] (map (fun u => fst (fst u)) us) -> length us = (m * limit)%nat ->
  INR (total_products T (c_build T room) (key_updates us))
    = INR (length us) * b_amortised_products (count T) value_columns.
Proof.
  intros E R V H L. rewrite p1_update_exact, L, Nat.div_mul, mult_INR by (auto; lia).
  unfold b_update_products, b_rebuild_products, b_amortised_products. ring.
Qed.

(** * The worst case *)

Lemma slice_pairs n : (slice n * limit <= n + limit - 1)%nat.
Proof.
  unfold slice. pose proof (Nat.div_mod (n + limit - 1) limit ltac:(lia)). nia.
Qed.

(** Reachable states of the cached mode. *)
Lemma run_sound T ops T' s : Forall valid ops -> run T Cache ops = (T', InCache s) -> c_sound T' s.
Proof.
  intros V E.
  destruct (run_invariant ops (T, begin T Cache 0) V (begin_invariant T Cache 0)) as [I _].
  fold (run T Cache ops) in I. rewrite E in I. exact I.
Qed.

(** An append finds room. *)
Definition fits (T : tokens) (room : nat) (e : edit) : Prop :=
  match e with Append _ _ _ => (count T < room)%nat | _ => True end.

(** After any operations: any edit, with its slice. *)
Theorem p1_worstcase_edit T ops T' s e : sliced = true -> Forall valid ops ->
  run T Cache ops = (T', InCache s) -> fits T' (c_room s) e ->
  (edit_products T' s e
    <= change_products T' e + (value_columns + 1) * (count T' + limit - 1))%nat.
Proof.
  intros E V H Ne. destruct (run_sound T ops T' s V H) as (I & _ & F).
  pose proof (c_front_range _ _ I) as R. pose proof (slice_pairs (c_end s)) as SP.
  assert (N : (count T' < c_room s)%nat \/ (forall q k v, e <> Append q k v))
    by (destruct e; try (right; discriminate); left; exact Ne).
  destruct (change_end T' s e N) as (F1 & F2).
  assert (Q : (settle_products (edited T' e) (c_change T' s e)
    <= (value_columns + 1) * (count T' + limit - 1))%nat).
  { unfold settle_products, slice_rows, merge_products. rewrite E, F1, F2. simpl negb.
    simpl andb. cbv iota. rewrite Nat.add_0_r, Nat.mul_comm. apply Nat.mul_le_mono_l.
    eapply Nat.le_trans; [apply (Nat.mul_le_mono _ (slice (c_end s)) _ limit); [lia | exact F] |].
    lia. }
  unfold edit_products. destruct (accepted T' e); [destruct e |]; lia.
Qed.

Theorem p1_worstcase_update T ops T' s t j x : sliced = true -> Forall valid ops ->
  run T Cache ops = (T', InCache s) ->
  INR (edit_products T' s (UpdateKey t j x))
    <= b_sliced_update_products (count T') limit value_columns.
Proof.
  intros E V H.
  pose proof (p1_worstcase_edit T ops T' s (UpdateKey t j x) E V H Logic.I) as M.
  simpl change_products in M. apply le_INR in M. unfold b_sliced_update_products.
  change (count T' + (count T' + 0))%nat with (2 * count T')%nat in M.
  rewrite plus_INR, !mult_INR, plus_INR, minus_INR, plus_INR in M by lia.
  simpl (INR 2) in M. simpl (INR 1) in M. lra.
Qed.

Theorem p1_worstcase_entry T ops T' s i j : Forall valid ops -> run T Cache ops = (T', InCache s) ->
  INR (call_products T' s (Read_entry i j)) <= b_sliced_entry_products limit.
Proof.
  intros V H. destruct (run_sound T ops T' s V H) as (_ & (P & _) & F).
  assert (N : (call_products T' s (Read_entry i j) + 2 <= 4 * limit)%nat).
  { simpl. unfold row_pairs. destruct (c_waits s i); lia. }
  apply le_INR in N. rewrite plus_INR, mult_INR in N. unfold b_sliced_entry_products.
  simpl (INR 2) in N. simpl (INR 4) in N. lra.
Qed.

(** A column: as pairs become pending, rows need no frozen ones any more. *)
Theorem p1_worstcase_column T ops T' s j : Forall valid ops -> run T Cache ops = (T', InCache s) ->
  INR (call_products T' s (Read_column j)) <= b_sliced_column_products (count T') limit.
Proof.
  intros V H. destruct (run_sound T ops T' s V H) as (I & (P & _ & K) & F).
  pose proof (c_front_range _ _ I) as R. pose proof (slice_enough (c_end s)) as SE.
  assert (M : (call_products T' s (Read_column j) <= 2 * (count T' * limit))%nat).
  { unfold call_products. apply Nat.mul_le_mono_l.
    assert (D : ((c_end s - c_front s) * length (c_frozen s)
      <= (c_end s - c_front s) * limit)%nat) by (apply Nat.mul_le_mono_l; auto).
    destruct (Nat.le_gt_cases (c_end s) (c_front s)).
    - replace (c_end s - c_front s)%nat with 0%nat in * by lia. nia.
    - assert (slice (c_end s) * c_pending s <= c_front s)%nat by lia.
      assert (c_end s * c_pending s <= slice (c_end s) * limit * c_pending s)%nat
        by (apply Nat.mul_le_mono_r; lia).
      assert (slice (c_end s) * c_pending s * limit <= c_front s * limit)%nat
        by (apply Nat.mul_le_mono_r; lia).
      assert (c_end s * (limit - c_pending s) <= count T' * (limit - c_pending s))%nat
        by (apply Nat.mul_le_mono_r; lia).
      nia. }
  apply le_INR in M. rewrite !mult_INR in M. unfold b_sliced_column_products.
  simpl (INR 2) in M. lra.
Qed.

(** Not sliced, fewer than k pairs are pending: the paper's query times. *)
Theorem p1_query_entry T ops T' s i j : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) ->
  INR (call_products T' s (Read_entry i j)) = b_entry_products (c_pending s) /\
  INR (c_pending s) <= b_pending_pairs limit.
Proof.
  intros E V H. destruct (run_sound T ops T' s V H) as (_ & (P & Q & _) & _). split.
  - simpl. unfold row_pairs. rewrite unsliced_waits by auto. unfold b_entry_products.
    rewrite !Nat.add_0_r, plus_INR. ring.
  - pose proof (p1_pending T Cache ops V) as B. rewrite H in B. exact B.
Qed.

Theorem p1_query_row T ops T' s i : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) ->
  INR (call_products T' s (Read_row i)) = b_row_products (c_pending s) value_columns.
Proof.
  intros E V H. destruct (run_sound T ops T' s V H) as (_ & (P & Q & _) & _).
  simpl. unfold row_pairs. rewrite unsliced_waits by auto. unfold b_row_products.
  rewrite Nat.add_0_r, mult_INR, plus_INR. simpl (INR 1). ring.
Qed.

Theorem p1_query_column T ops T' s j : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) ->
  INR (call_products T' s (Read_column j)) = b_column_products (count T') (c_pending s).
Proof.
  intros E V H. destruct (run_sound T ops T' s V H) as (_ & (P & Q & _) & _).
  simpl. rewrite (Q E). unfold b_column_products. simpl Nat.sub.
  rewrite Nat.mul_0_l, !Nat.add_0_r, plus_INR, mult_INR. ring.
Qed.

(** * The slots *)

Definition slot_row_pairs (s : slots) (i : nat) : nat :=
  (s_pending s + (if s_waits s i then length (s_frozen s) else 0))%nat.

(** A slot has two keys, whose weights take d products each, and two values. *)
Definition slot_products (pairs columns : nat) : nat := (2 * pairs * (dimension + columns))%nat.

Definition slot_read_products (s : slots) (a : call) : nat :=
  match a with
  | Read_entry i _ => slot_products (slot_row_pairs s i) 2
  | Read_row i => slot_products (slot_row_pairs s i) (value_columns + 1)
  | _ => 0
  end.

(** What an edit makes of the slots, before its slice. *)
Definition s_change (T : tokens) (s : slots) (e : edit) : slots :=
  match e with
  | UpdateQuery _ _ _ | SetQuery _ _ => s
  | UpdateKey t _ _ | SetKey t _ | UpdateValue t _ _ | SetValue t _ | Evict t => s_use s t
  | Append _ _ _ => s_append (edited T e) s (count T)
  end.

Definition slot_slice_rows (s : slots) : nat :=
  (Nat.min (s_front s + slice (s_end s)) (s_end s) - s_front s)%nat.

(** A slice; and when all slots are taken, a rebuild at once treats every row. *)
Definition slot_edit_products (T : tokens) (s : slots) (e : edit) : nat :=
  if accepted T e then
    match e with
    | UpdateQuery _ _ _ | SetQuery _ _ => 0
    | _ => let s := s_change T s e in
        slot_slice_rows s * slot_products (length (s_frozen s)) (value_columns + 1)
        + (if negb sliced && Nat.leb limit (s_pending s)
           then count (edited T e) * slot_products (s_pending s) (value_columns + 1) else 0)
    end
  else 0.

Fixpoint slot_total_products (T : tokens) (s : slots) (es : list edit) : nat :=
  match es with
  | [] => 0
  | e :: rest => slot_edit_products T s e
      + slot_total_products (edited T e) (if accepted T e then s_edit T s e else s) rest
  end%nat.

Definition s_sound (T : tokens) (s : slots) : Prop :=
  slots_exact T s /\ s_paced s /\ (length (s_frozen s) <= limit)%nat.

Lemma run_slots_sound T ops T' s : Forall valid ops -> run T Slot_mode ops = (T', InSlots s) ->
  s_sound T' s.
Proof.
  intros V E.
  destruct (run_invariant ops (T, begin T Slot_mode 0) V (begin_invariant T Slot_mode 0)) as [I _].
  fold (run T Slot_mode ops) in I. rewrite E in I. exact I.
Qed.

Theorem p1_slots_entry T ops T' s i j : sliced = false -> Forall valid ops ->
  run T Slot_mode ops = (T', InSlots s) ->
  INR (slot_read_products s (Read_entry i j)) = b_slot_entry_products (s_pending s) dimension.
Proof.
  intros E V H. destruct (run_slots_sound T ops T' s V H) as (_ & (_ & Q & _) & _).
  unfold slot_read_products, slot_row_pairs, s_waits. rewrite (Q E), andb_false_r.
  unfold slot_products, b_slot_entry_products.
  rewrite Nat.add_0_r, !mult_INR, plus_INR. simpl (INR 2). ring.
Qed.

Theorem p1_slots_row T ops T' s i : sliced = false -> Forall valid ops ->
  run T Slot_mode ops = (T', InSlots s) ->
  INR (slot_read_products s (Read_row i))
    = b_slot_row_products (s_pending s) dimension value_columns.
Proof.
  intros E V H. destruct (run_slots_sound T ops T' s V H) as (_ & (_ & Q & _) & _).
  unfold slot_read_products, slot_row_pairs, s_waits. rewrite (Q E), andb_false_r.
  unfold slot_products, b_slot_row_products.
  rewrite Nat.add_0_r, !mult_INR, !plus_INR. simpl (INR 2). simpl (INR 1). ring.
Qed.

Lemma s_edit_end T s e : sliced = false -> s_end s = 0%nat -> s_end (s_edit T s e) = 0%nat.
Proof.
  intros E H.
  assert (U : forall T' s', s_end s' = 0%nat -> s_end (s_settle T' s') = 0%nat).
  { intros T' s' H'. unfold s_settle.
    destruct (Nat.leb limit (s_pending (s_advance T' (slice (s_end s')) s'))); simpl; auto.
    now rewrite E. }
  destruct e; simpl; auto; apply U; simpl; auto. now destruct (Nat.ltb (count T) (s_room s)).
Qed.

Lemma slot_total_amortised es : forall T s, sliced = false -> s_end s = 0%nat ->
  Forall (fun e => forall q k v, e <> Append q k v) es ->
  (slot_total_products T s es
    <= (length es + s_pending s) * (count T * slot_products 1 (value_columns + 1)))%nat.
Proof.
  induction es as [| e es IH]; intros T s E Z V; [simpl; lia |].
  inversion V as [| ? ? Ve Vr]; subst. cbn [slot_total_products length].
  assert (Z' : s_end (if accepted T e then s_edit T s e else s) = 0%nat)
    by (destruct (accepted T e); auto using s_edit_end).
  specialize (IH (edited T e) (if accepted T e then s_edit T s e else s) E Z' Vr).
  rewrite edited_count in IH by auto.
  set (c := (count T * slot_products 1 (value_columns + 1))%nat) in *.
  assert (C : forall k, (count T * slot_products k (value_columns + 1) = k * c)%nat)
    by (intros; unfold c, slot_products; ring).
  assert (K : (slot_edit_products T s e + s_pending (if accepted T e then s_edit T s e else s) * c
    <= S (s_pending s) * c)%nat).
  { unfold slot_edit_products. rewrite edited_count, E by auto.
    destruct (accepted T e); [| nia]. simpl negb.
    assert (L : forall t, (s_pending (s_use s t) <= S (s_pending s))%nat)
      by (intros; apply length_add).
    assert (U : forall T' t, (slot_slice_rows (s_use s t)
          * slot_products (length (s_frozen (s_use s t))) (value_columns + 1)
        + (if true && Nat.leb limit (s_pending (s_use s t))
           then count T * slot_products (s_pending (s_use s t)) (value_columns + 1) else 0)
        + s_pending (s_settle T' (s_use s t)) * c <= S (s_pending s) * c)%nat).
    { intros T' t. specialize (L t). unfold s_settle.
      replace (slot_slice_rows (s_use s t)) with 0%nat
        by (unfold slot_slice_rows; simpl; rewrite Z; lia).
      change (s_pending (s_advance T' (slice (s_end (s_use s t))) (s_use s t)))
        with (s_pending (s_use s t)). rewrite C. simpl andb.
      destruct (Nat.leb limit (s_pending (s_use s t))).
      - change (s_pending (s_rebuild T' _)) with 0%nat. nia.
      - change (s_pending (s_advance T' (slice (s_end (s_use s t))) (s_use s t)))
          with (s_pending (s_use s t)). nia. }
    destruct e; try apply U; try (exfalso; eapply Ve; reflexivity);
      change (0 + s_pending s * c <= S (s_pending s) * c)%nat; nia. }
  nia.
Qed.

(** Edits share out the rebuilds: one slot each. *)
Theorem p1_slots_amortised T room es : sliced = false ->
  Forall (fun e => forall q k v, e <> Append q k v) es ->
  INR (slot_total_products T (s_build T room) es)
    <= INR (length es) * b_slot_rebuild_products (count T) 1 dimension value_columns.
Proof.
  intros E V. pose proof (slot_total_amortised es T (s_build T room) E eq_refl V) as H.
  change (s_pending (s_build T room)) with 0%nat in H. apply le_INR in H.
  unfold slot_products, b_slot_rebuild_products in *.
  rewrite !mult_INR, !plus_INR in H. simpl (INR 1) in *. simpl (INR 2) in H. simpl (INR 0) in H.
  nra.
Qed.

(** Sliced, after any operations: any edit, with its slice. *)
Theorem p1_slots_sliced T ops T' s e : sliced = true -> Forall valid ops ->
  run T Slot_mode ops = (T', InSlots s) -> fits T' (s_room s) e ->
  INR (slot_edit_products T' s e)
    <= b_sliced_slot_products (count T') limit dimension value_columns.
Proof.
  intros E V H _. destruct (run_slots_sound T ops T' s V H) as (I & _ & F).
  pose proof (s_front_range _ _ I) as R. pose proof (slice_pairs (s_end s)) as SP.
  set (w := (2 * (dimension + (value_columns + 1)))%nat).
  assert (M : (slot_edit_products T' s e <= (count T' + limit - 1) * w)%nat).
  { unfold slot_edit_products. destruct (accepted T' e); [| apply Nat.le_0_l]. rewrite E.
    assert (U : forall s', s_end s' = s_end s -> s_front s' = s_front s ->
      s_frozen s' = s_frozen s ->
      (slot_slice_rows s' * slot_products (length (s_frozen s')) (value_columns + 1) + 0
        <= (count T' + limit - 1) * w)%nat).
    { intros s' E1 E2 E3. unfold slot_slice_rows, slot_products. rewrite E1, E2, E3, Nat.add_0_r.
      replace (2 * length (s_frozen s) * (dimension + (value_columns + 1)))%nat
        with (length (s_frozen s) * w)%nat by (unfold w; ring).
      rewrite Nat.mul_assoc. apply Nat.mul_le_mono_r.
      eapply Nat.le_trans; [apply (Nat.mul_le_mono _ (slice (s_end s)) _ limit); [| exact F] |];
        clear w; lia. }
    destruct e; simpl negb; simpl andb; cbv iota zeta; try apply Nat.le_0_l; apply U; reflexivity. }
  apply le_INR in M. unfold w in M. rewrite !mult_INR, !plus_INR, minus_INR, plus_INR in M by lia.
  unfold b_sliced_slot_products. simpl (INR 2) in M. simpl (INR 1) in M. lra.
Qed.

(** * Space *)

(** Queries, keys, values; the sums; and a pair's column and row, or a slot's keys and values. *)
Definition token_numbers (T : tokens) : nat := (count T * (2 * dimension + value_columns))%nat.
Definition sum_numbers (T : tokens) : nat := (count T * (value_columns + 1))%nat.
Definition pair_numbers (T : tokens) : nat := (count T + (value_columns + 1))%nat.
Definition slot_numbers : nat := (2 * (dimension + (value_columns + 1)))%nat.

(** Frozen ones while rows need them. *)
Definition c_numbers (T : tokens) (s : cached) : nat :=
  (count T * count T + token_numbers T + sum_numbers T
   + (length (pairs T s) + (if Nat.ltb (c_front s) (c_end s) then length (c_frozen s) else 0))
     * pair_numbers T)%nat.
Definition s_numbers (T : tokens) (s : slots) : nat :=
  (token_numbers T + sum_numbers T
   + (length (pending_slots T s)
      + (if Nat.ltb (s_front s) (s_end s) then length (s_frozen s) else 0)) * slot_numbers)%nat.

(** After any operations. *)
Theorem p1_space_cached T ops T' s : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) ->
  INR (c_numbers T' s) <= b_cached_numbers (count T') dimension value_columns limit.
Proof.
  intros E V H. destruct (run_sound T ops T' s V H) as (_ & (P & Q & _) & _).
  assert (M : (c_numbers T' s + pair_numbers T' <= count T' * count T' + token_numbers T'
    + sum_numbers T' + limit * pair_numbers T')%nat).
  { unfold c_numbers. rewrite (Q E). change (Nat.ltb (c_front s) 0) with false. cbv iota.
    replace (length (pairs T' s)) with (c_pending s)
      by (unfold pairs; rewrite app_length, !map_length; reflexivity).
    pose proof (Nat.mul_le_mono_r _ _ (pair_numbers T') P). lia. }
  apply le_INR in M. unfold token_numbers, sum_numbers, pair_numbers in M.
  rewrite !plus_INR, !mult_INR, !plus_INR, mult_INR in M. unfold b_cached_numbers.
  simpl (INR 2) in M. simpl (INR 1) in M. lra.
Qed.

Theorem p1_space_slots T ops T' s : sliced = false -> Forall valid ops ->
  run T Slot_mode ops = (T', InSlots s) ->
  INR (s_numbers T' s) <= b_slot_numbers (count T') dimension value_columns limit.
Proof.
  intros E V H. destruct (run_slots_sound T ops T' s V H) as (_ & (P & Q & _) & _).
  assert (M : (s_numbers T' s + slot_numbers <= token_numbers T' + sum_numbers T'
    + limit * slot_numbers)%nat).
  { unfold s_numbers. rewrite (Q E). change (Nat.ltb (s_front s) 0) with false. cbv iota.
    unfold pending_slots. rewrite map_length. fold (s_pending s).
    pose proof (Nat.mul_le_mono_r _ _ slot_numbers P). lia. }
  apply le_INR in M. unfold token_numbers, sum_numbers, slot_numbers in M.
  rewrite !plus_INR, !mult_INR, !plus_INR, !mult_INR in M. unfold b_slot_numbers.
  simpl (INR 2) in M. simpl (INR 1) in M. lra.
Qed.

End Cost.
