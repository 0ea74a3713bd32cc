(** What dynamic attention takes (claims P1.update, P1.query, P1.worstcase, P1.slots).

    Counted are scalar products.  With cached weights: 2 n for new weights by factors, n d from the
    definition, one a pair, row and column of values for a rebuild; the denominator counts as a
    column of values, so a rebuild of k pairs takes n k (v + 1) for v columns of values.  With
    slots: weights take d products each whenever they are needed.

    Steps: (1) with the potential n (v + 1) for every pair that is pending, an edit pays for the
    rebuild that its pair will have; (2) where no token is updated twice between two rebuilds, each
    edit makes a pair, so the count is exact; (3) sliced, an edit merges ceil(n / k) rows of at
    most k frozen pairs, and a row has at most 2 k - 1 pairs to add when it is read. *)

Require Import Reals Lra Lia Psatz List Bool Arith.
Require Import Sums Tokens Pending Cached Slots Dynamic Bounds.
Import ListNotations.
Open Scope R_scope.

Section Cost.

Context {options : settings}.
Let positive_limit : (0 < limit)%nat := limit_positive.

(** Columns of values. *)
Variable value_columns : nat.

(** * The counts *)

Definition merge_products (rows pairs : nat) : nat := (rows * pairs * (value_columns + 1))%nat.

(** Tokens' rows that the next slice treats, and those that it leaves. *)
Definition slice_rows (T : tokens) (s : cached) : nat :=
  (Nat.min (c_front s + slice (count T)) (count T) - Nat.min (c_front s) (count T))%nat.
Definition rows_left (T : tokens) (s : cached) : nat :=
  (count T - c_front (c_advance T (slice (count T)) s))%nat.

(** A slice; and with [limit] pairs, the rest of the rebuild under way and the next one. *)
Definition settle_products (T : tokens) (s : cached) : nat :=
  (merge_products (slice_rows T s) (length (c_frozen s))
   + (if Nat.leb limit (c_pending s) then
        merge_products (rows_left T s) (length (c_frozen s))
        + (if sliced then 0 else merge_products (count T) (c_pending s))
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
  (c_pending s + (if Nat.leb (c_front s) i then length (c_frozen s) else 0))%nat.

Definition call_products (T : tokens) (s : cached) (a : call) : nat :=
  match a with
  | Change e => edit_products T s e
  | Read_entry i _ => 2 * row_pairs s i
  | Read_row i => row_pairs s i * (value_columns + 1)
  | Read_column _ => 2 * (count T * c_pending s + (count T - c_front s) * length (c_frozen s))
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
Lemma slices_done T s : c_front s = c_room s -> (count T <= c_room s)%nat ->
  slice_rows T s = 0%nat /\ rows_left T s = 0%nat.
Proof.
  intros E R. unfold slice_rows, rows_left. simpl. rewrite E.
  destruct (Nat.ltb_spec (Nat.min (c_room s + slice (count T)) (count T)) (count T)); lia.
Qed.

Lemma change_front T s e : (count T < c_room s)%nat \/ (forall q k v, e <> Append q k v) ->
  c_front (c_change T s e) = c_front s /\ c_room (c_change T s e) = c_room s /\
  c_frozen (c_change T s e) = c_frozen s.
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

Lemma edited_count T e : (forall q k v, e <> Append q k v) -> count (edited T e) = count T.
Proof.
  intros H. unfold edited. destruct (accepted T e); auto. destruct e; auto.
  exfalso. eapply H; eauto.
Qed.

(** At once: what an edit takes and what it leaves to be paid. *)
Lemma edit_amortised T s e : sliced = false -> c_front s = c_room s ->
  (count T <= c_room s)%nat -> accepted T e = true ->
  (forall q k v, e <> Append q k v) ->
  (forall t j x, e <> UpdateQuery t j x) -> (forall t r, e <> SetQuery t r) ->
  (edit_products T s e + potential (edited T e) (c_edit T s e)
    = change_products T e + merge_products (count T) (c_pending (c_change T s e)))%nat.
Proof.
  intros E F R A N N1 N2. destruct (change_front T s e (or_intror N)) as (F1 & F2 & _).
  pose proof (edited_count T e N) as C. unfold edit_products, potential. rewrite A, C.
  assert (X : c_edit T s e = c_settle (edited T e) (c_change T s e)).
  { destruct e; simpl; auto; exfalso; [eapply N1 | eapply N2]; eauto. }
  rewrite X. unfold settle_products, c_settle.
  destruct (slices_done (edited T e) (c_change T s e)) as [-> ->]; [congruence | lia |].
  rewrite C, E.
  change (c_pending (c_advance (edited T e) (slice (count T)) (c_change T s e)))
    with (c_pending (c_change T s e)).
  assert (Y : forall x, match e with UpdateQuery _ _ _ | SetQuery _ _ => 0%nat | _ => x end = x).
  { intros x. destruct e; auto; exfalso; [eapply N1 | eapply N2]; eauto. }
  rewrite Y. unfold merge_products at 1. simpl Nat.mul at 1.
  destruct (Nat.leb limit (c_pending (c_change T s e))).
  - unfold c_pending at 2. simpl. unfold merge_products. lia.
  - change (c_pending (c_advance (edited T e) (slice (count T)) (c_change T s e)))
      with (c_pending (c_change T s e)). lia.
Qed.

Lemma call_amortised T s a : sliced = false -> keeps_count (count T) a -> c_sound T s ->
  let (T', s') := called T s a in
  count T' = count T /\ c_sound T' s' /\
  (call_products T s a + potential T' s' <= price (count T) a + potential T s)%nat.
Proof.
  intros E V (I & P & F). pose proof P as (P1 & P3). specialize (P3 E).
  pose proof (c_rows _ _ I) as R.
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
    destruct (Nat.leb_spec (c_front s) i); lia.
  - split; [auto | split; [auto |]]. unfold call_products, row_pairs. simpl in V |- *.
    destruct (Nat.leb_spec (c_front s) i); [lia |]. rewrite Nat.add_0_r.
    apply Nat.add_le_mono_r, Nat.mul_le_mono_r. lia.
  - split; [auto | split; [auto |]]. unfold call_products. simpl price.
    replace (count T - c_front s)%nat with 0%nat by lia. nia.
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
    destruct S as (I & P & F). destruct P as (P1 & P3). specialize (P3 E).
    pose proof (c_rows _ _ I) as R.
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
      destruct (slices_done (edited T e) (c_change T s e)) as [-> ->];
        [exact P3 | rewrite C; exact R |].
      rewrite C, E, Hp. unfold merge_products at 1 2.
      destruct (Nat.leb limit (Datatypes.S (length (c_keys s)))); lia. }
    assert (K : c_keys (c_edit T s e) = if Nat.leb limit (Datatypes.S (length (c_keys s)))
        then [] else t :: c_keys s).
    { simpl c_edit. unfold c_settle.
      change (c_pending (c_advance _ _ (c_use s t _))) with (c_pending (c_change T s e)).
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

Definition no_append (o : operation) : Prop :=
  match o with Edit (Append _ _ _) => False | _ => True end.

(** Slices keep up with the pairs that become pending. *)
Definition kept_up (state : tokens * strategy) : Prop :=
  match state with
  | (T, InCache s) =>
      (Nat.min (slice (count T) * c_pending s) (count T) <= c_front s)%nat
  | _ => True
  end.

Lemma edit_kept_up T s e : (forall q k v, e <> Append q k v) -> c_sound T s ->
  kept_up (T, InCache s) -> kept_up (edited T e, InCache (c_edit T s e)).
Proof.
  intros N (I & (P & _) & _) K. unfold kept_up in *. rewrite edited_count by exact N.
  pose proof (c_rows _ _ I) as R.
  destruct (change_front T s e (or_intror N)) as (F1 & F2 & _).
  pose proof (change_pending T s e N) as C.
  assert (Q : (Nat.min
      (slice (count T) * c_pending (c_settle (edited T e) (c_change T s e))) (count T)
    <= c_front (c_settle (edited T e) (c_change T s e)))%nat).
  { unfold c_settle. rewrite edited_count by exact N.
    change (c_pending (c_advance (edited T e) (slice (count T)) (c_change T s e)))
      with (c_pending (c_change T s e)).
    destruct (Nat.leb limit (c_pending (c_change T s e))).
    - change (c_pending (c_rebuild _ _)) with 0%nat. lia.
    - change (c_pending (c_advance (edited T e) (slice (count T)) (c_change T s e)))
        with (c_pending (c_change T s e)).
      assert (slice (count T) * c_pending (c_change T s e)
        <= slice (count T) * c_pending s + slice (count T))%nat by nia.
      simpl c_front. rewrite F1, F2, edited_count by exact N.
      destruct (Nat.ltb_spec (Nat.min (c_front s + slice (count T)) (count T)) (count T)); lia. }
  destruct e; auto; exact K.
Qed.

Lemma step_kept_up state o : valid o -> no_append o -> invariant state -> kept_up state ->
  kept_up (step state o).
Proof.
  destruct state as [T S]. intros V N H K.
  destruct o as [e | | i | i | m spare |], S as [s | s |]; try exact Logic.I; try exact K;
    try (destruct m; try exact Logic.I; unfold kept_up; simpl; lia).
  - assert (N' : forall q k v, e <> Append q k v) by (intros q k v ->; exact N).
    simpl. destruct (accepted T e) eqn:A.
    + apply edit_kept_up; auto.
    + unfold edited. rewrite A. exact K.
  - simpl. destruct sliced; [exact K |]. change (c_pending (c_rebuild T s)) with 0%nat. lia.
  - simpl. destruct sliced; [exact K | exact Logic.I].
Qed.

Lemma run_kept_up ops : forall state, Forall valid ops -> Forall no_append ops -> invariant state ->
  kept_up state -> kept_up (fold_left step ops state).
Proof.
  induction ops as [| o ops IH]; simpl; intros state V N H K; auto.
  inversion V; inversion N; subst. apply IH; auto using step_invariant, step_kept_up.
Qed.

Lemma cache_kept_up T ops T' s : Forall valid ops -> Forall no_append ops ->
  run T Cache ops = (T', InCache s) ->
  (Nat.min (slice (count T') * c_pending s) (count T') <= c_front s)%nat.
Proof.
  intros V N E.
  assert (K : kept_up (run T Cache ops)).
  { apply run_kept_up; auto using begin_invariant. unfold kept_up. simpl. lia. }
  rewrite E in K. exact K.
Qed.

(** After any operations: any edit, with its slice.

    NOTE Appends are left out: one that finds no room begins anew, which takes as long as building,
    and those that add rows as fast as slices treat them leave some rows of a rebuild to its end. *)
Theorem p1_worstcase_edit T ops T' s e : sliced = true -> Forall valid ops ->
  Forall no_append ops -> run T Cache ops = (T', InCache s) -> no_append (Edit e) ->
  (edit_products T' s e
    <= change_products T' e + (value_columns + 1) * (count T' + limit - 1))%nat.
Proof.
  intros E V N H Ne. destruct (run_sound T ops T' s V H) as (I & (P & _) & F).
  pose proof (cache_kept_up T ops T' s V N H) as K.
  assert (N' : forall q k v, e <> Append q k v) by (intros q k v ->; exact Ne).
  pose proof (slice_pairs (count T')) as SP. pose proof (slice_enough (count T')) as SE.
  pose proof (c_rows _ _ I) as R.
  destruct (change_front T' s e (or_intror N')) as (F1 & F2 & F3).
  pose proof (change_pending T' s e N') as C.
  assert (Q : (settle_products (edited T' e) (c_change T' s e)
    <= (value_columns + 1) * (count T' + limit - 1))%nat).
  { assert (M : (merge_products (slice_rows (edited T' e) (c_change T' s e)) (length (c_frozen s))
      <= (value_columns + 1) * (count T' + limit - 1))%nat).
    { unfold merge_products. rewrite Nat.mul_comm. apply Nat.mul_le_mono_l.
      unfold slice_rows. rewrite edited_count, F1 by exact N'.
      eapply Nat.le_trans; [apply Nat.mul_le_mono; [| exact F] | exact SP]. lia. }
    unfold settle_products. rewrite E, F3.
    destruct (Nat.leb_spec limit (c_pending (c_change T' s e))) as [L | L]; [| lia].
    replace (rows_left (edited T' e) (c_change T' s e)) with 0%nat;
      [unfold merge_products at 2; lia |].
    unfold rows_left. simpl c_front. rewrite edited_count, F1, F2 by exact N'.
    assert (slice (count T') * limit <= slice (count T') * c_pending s + slice (count T'))%nat
      by nia.
    destruct (Nat.ltb_spec (Nat.min (c_front s + slice (count T')) (count T')) (count T')); lia. }
  unfold edit_products. destruct (accepted T' e); [destruct e |]; lia.
Qed.

Theorem p1_worstcase_update T ops T' s t j x : sliced = true -> Forall valid ops ->
  Forall no_append ops -> run T Cache ops = (T', InCache s) ->
  INR (edit_products T' s (UpdateKey t j x))
    <= b_sliced_update_products (count T') limit value_columns.
Proof.
  intros E V N H.
  pose proof (p1_worstcase_edit T ops T' s (UpdateKey t j x) E V N H Logic.I) as M.
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
  { simpl. unfold row_pairs. destruct (Nat.leb (c_front s) i); lia. }
  apply le_INR in N. rewrite plus_INR, mult_INR in N. unfold b_sliced_entry_products.
  simpl (INR 2) in N. simpl (INR 4) in N. lra.
Qed.

(** A column: as pairs become pending, rows need no frozen ones any more. *)
Theorem p1_worstcase_column T ops T' s j : Forall valid ops -> Forall no_append ops ->
  run T Cache ops = (T', InCache s) ->
  INR (call_products T' s (Read_column j)) <= b_sliced_column_products (count T') limit.
Proof.
  intros V N H. destruct (run_sound T ops T' s V H) as (I & (P & _) & F).
  pose proof (cache_kept_up T ops T' s V N H) as K. pose proof (slice_enough (count T')) as SE.
  assert (M : (call_products T' s (Read_column j) <= 2 * (count T' * limit))%nat).
  { unfold call_products. apply Nat.mul_le_mono_l.
    assert (D : ((count T' - c_front s) * length (c_frozen s)
      <= (count T' - c_front s) * limit)%nat) by (apply Nat.mul_le_mono_l; auto).
    destruct (Nat.le_gt_cases (count T') (c_front s)).
    - replace (count T' - c_front s)%nat with 0%nat in * by lia. nia.
    - assert (slice (count T') * c_pending s <= c_front s)%nat by lia.
      assert (count T' * c_pending s <= slice (count T') * limit * c_pending s)%nat
        by (apply Nat.mul_le_mono_r; lia).
      assert (slice (count T') * c_pending s * limit <= c_front s * limit)%nat
        by (apply Nat.mul_le_mono_r; lia). nia. }
  apply le_INR in M. rewrite !mult_INR in M. unfold b_sliced_column_products.
  simpl (INR 2) in M. lra.
Qed.

(** Not sliced, fewer than k pairs are pending: the paper's query times. *)
Theorem p1_query_entry T ops T' s i j : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) -> (i < count T')%nat ->
  INR (call_products T' s (Read_entry i j)) = b_entry_products (c_pending s) /\
  INR (c_pending s) <= b_pending_pairs limit.
Proof.
  intros E V H Hi. destruct (run_sound T ops T' s V H) as (I & (P & Q) & _).
  pose proof (c_rows _ _ I). specialize (Q E). split.
  - simpl. unfold row_pairs. destruct (Nat.leb_spec (c_front s) i); [lia |].
    unfold b_entry_products. rewrite !Nat.add_0_r, plus_INR. ring.
  - pose proof (p1_pending T Cache ops V) as B. rewrite H in B. exact B.
Qed.

Theorem p1_query_row T ops T' s i : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) -> (i < count T')%nat ->
  INR (call_products T' s (Read_row i)) = b_row_products (c_pending s) value_columns.
Proof.
  intros E V H Hi. destruct (run_sound T ops T' s V H) as (I & (P & Q) & _).
  pose proof (c_rows _ _ I). specialize (Q E). simpl. unfold row_pairs.
  destruct (Nat.leb_spec (c_front s) i); [lia |]. unfold b_row_products.
  rewrite Nat.add_0_r, mult_INR, plus_INR. simpl (INR 1). ring.
Qed.

Theorem p1_query_column T ops T' s j : sliced = false -> Forall valid ops ->
  run T Cache ops = (T', InCache s) ->
  INR (call_products T' s (Read_column j)) = b_column_products (count T') (c_pending s).
Proof.
  intros E V H. destruct (run_sound T ops T' s V H) as (I & (P & Q) & _).
  pose proof (c_rows _ _ I). specialize (Q E). simpl.
  replace (count T' - c_front s)%nat with 0%nat by lia. unfold b_column_products.
  rewrite Nat.mul_0_l, !Nat.add_0_r, plus_INR, mult_INR. ring.
Qed.

(** * The slots *)

Definition slot_row_pairs (s : slots) (i : nat) : nat :=
  (s_pending s + (if Nat.leb (s_front s) i then length (s_frozen s) else 0))%nat.

(** A slot has two keys, whose weights take d products each, and two values. *)
Definition slot_products (pairs columns : nat) : nat := (2 * pairs * (dimension + columns))%nat.

Definition slot_read_products (s : slots) (a : call) : nat :=
  match a with
  | Read_entry i _ => slot_products (slot_row_pairs s i) 2
  | Read_row i => slot_products (slot_row_pairs s i) (value_columns + 1)
  | _ => 0
  end.

(** An edit makes a slot at most; when all are taken, a rebuild at once treats every row.  Appends
    are not counted. *)
Definition slot_edit_products (T : tokens) (s : slots) (e : edit) : nat :=
  if accepted T e then
    match e with
    | UpdateQuery _ _ _ | SetQuery _ _ | Append _ _ _ => 0
    | UpdateKey t _ _ | SetKey t _ | UpdateValue t _ _ | SetValue t _ | Evict t =>
        let k := s_pending (s_use s t) in
        if Nat.leb limit k then count T * slot_products k (value_columns + 1) else 0
    end
  else 0.

Fixpoint slot_total_products (T : tokens) (s : slots) (es : list edit) : nat :=
  match es with
  | [] => 0
  | e :: rest => slot_edit_products T s e
      + slot_total_products (edited T e) (if accepted T e then s_edit T s e else s) rest
  end%nat.

Theorem p1_slots_entry T ops T' s i j : sliced = false -> Forall valid ops ->
  run T Slot_mode ops = (T', InSlots s) -> (i < count T')%nat ->
  INR (slot_read_products s (Read_entry i j)) = b_slot_entry_products (s_pending s) dimension.
Proof.
  intros E V H Hi. destruct (run_invariant ops (T, begin T Slot_mode 0) V
    (begin_invariant T Slot_mode 0)) as [J _].
  fold (run T Slot_mode ops) in J. rewrite H in J. destruct J as (I & (_ & Q) & _).
  pose proof (s_rows _ _ I). specialize (Q E). unfold slot_read_products, slot_row_pairs.
  destruct (Nat.leb_spec (s_front s) i); [lia |]. unfold slot_products, b_slot_entry_products.
  rewrite Nat.add_0_r, !mult_INR, plus_INR. simpl (INR 2). ring.
Qed.

Theorem p1_slots_row T ops T' s i : sliced = false -> Forall valid ops ->
  run T Slot_mode ops = (T', InSlots s) -> (i < count T')%nat ->
  INR (slot_read_products s (Read_row i))
    = b_slot_row_products (s_pending s) dimension value_columns.
Proof.
  intros E V H Hi. destruct (run_invariant ops (T, begin T Slot_mode 0) V
    (begin_invariant T Slot_mode 0)) as [J _].
  fold (run T Slot_mode ops) in J. rewrite H in J. destruct J as (I & (_ & Q) & _).
  pose proof (s_rows _ _ I). specialize (Q E). unfold slot_read_products, slot_row_pairs.
  destruct (Nat.leb_spec (s_front s) i); [lia |]. unfold slot_products, b_slot_row_products.
  rewrite Nat.add_0_r, !mult_INR, !plus_INR. simpl (INR 2). simpl (INR 1). ring.
Qed.

Lemma slot_total_amortised es : forall T s, sliced = false ->
  Forall (fun e => forall q k v, e <> Append q k v) es ->
  (slot_total_products T s es
    <= (length es + s_pending s) * (count T * slot_products 1 (value_columns + 1)))%nat.
Proof.
  induction es as [| e es IH]; intros T s E V; [simpl; lia |].
  inversion V as [| ? ? Ve Vr]; subst. cbn [slot_total_products length].
  specialize (IH (edited T e) (if accepted T e then s_edit T s e else s) E Vr).
  rewrite edited_count in IH by auto.
  set (c := (count T * slot_products 1 (value_columns + 1))%nat) in *.
  assert (C : forall k, (count T * slot_products k (value_columns + 1) = k * c)%nat)
    by (intros; unfold c, slot_products; ring).
  assert (K : (slot_edit_products T s e + s_pending (if accepted T e then s_edit T s e else s) * c
    <= S (s_pending s) * c)%nat).
  { unfold slot_edit_products. destruct (accepted T e); [| nia].
    assert (L : forall t, (s_pending (s_use s t) <= S (s_pending s))%nat)
      by (intros; apply length_add).
    assert (U : forall T' t, ((if Nat.leb limit (s_pending (s_use s t))
        then count T * slot_products (s_pending (s_use s t)) (value_columns + 1) else 0)
        + s_pending (s_settle T' (s_use s t)) * c <= S (s_pending s) * c)%nat).
    { intros T' t. specialize (L t). unfold s_settle.
      change (s_pending (s_advance T' (slice (count T')) (s_use s t)))
        with (s_pending (s_use s t)). rewrite C.
      destruct (Nat.leb limit (s_pending (s_use s t))).
      - change (s_pending (s_rebuild T' _)) with 0%nat. nia.
      - change (s_pending (s_advance T' (slice (count T')) (s_use s t)))
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
  intros E V. pose proof (slot_total_amortised es T (s_build T room) E V) as H.
  change (s_pending (s_build T room)) with 0%nat in H. apply le_INR in H.
  unfold slot_products, b_slot_rebuild_products in *.
  rewrite !mult_INR, !plus_INR in H. simpl (INR 1) in *. simpl (INR 2) in H. simpl (INR 0) in H.
  nra.
Qed.

End Cost.
