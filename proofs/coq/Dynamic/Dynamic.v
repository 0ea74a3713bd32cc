(** Dynamic attention: exact answers while tokens change (claims P1.correct, P1.worstcase).

    The machine keeps tokens and a strategy.  An operation is an edit, or what the program does
    at times of its own choice: a rebuild, beginning anew in any mode, going on with the cache's
    sums as slots, distrusting a row (in the program: large sums of magnitudes, large exponents,
    a changed query), or refreshing it from the definition.  A row that is not trusted is
    computed from the definition when it is read.

    Steps: (1) every operation keeps the invariants of Cached.v and Slots.v; (2) so every row of
    sums that a read uses is a multiple of the definition's; (3) induction on the list of
    operations. *)

Require Import Reals Lra Lia List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Dynamic Require Import Tokens Pending Cached Slots.
Import ListNotations.
Open Scope R_scope.

Section Dynamic.

Context {options : settings}.
Let positive_limit : (0 < limit)%nat := limit_positive.

(** * The machine *)

Inductive strategy : Type := InCache (s : cached) | InSlots (s : slots) | Recomputing.
Inductive mode : Type := Cache | Slot_mode | Recompute.

(** An edit; or what the program does at times of its own choice: rebuild, distrust a row or
    refresh it, or begin anew in a mode, with room for [spare] more tokens. *)
Inductive operation : Type :=
| Edit (e : edit)
| Rebuild
| Distrust (row : nat)
| Refresh (row : nat)
| Begin (m : mode) (spare : nat)
| Take_over.                         (* slots go on with the sums of the cache *)

Definition begin (T : tokens) (m : mode) (spare : nat) : strategy :=
  match m with
  | Cache => InCache (c_build T (count T + spare))
  | Slot_mode => InSlots (s_build T (count T + spare))
  | Recompute => Recomputing
  end.

Definition slots_after (T : tokens) (s : cached) : slots :=
  Slots (c_room s) (c_sums s) (c_shift s) (c_trusted s) (keys T) (extended T) [] [] 0 0.

Definition step (state : tokens * strategy) (o : operation) : tokens * strategy :=
  let (T, S) := state in
  match o, S with
  | Edit e, InCache s =>
      (edited T e, InCache (if accepted T e then c_edit T s e else s))
  | Edit e, InSlots s =>
      (edited T e, InSlots (if accepted T e then s_edit T s e else s))
  | Edit e, Recomputing => (edited T e, Recomputing)
  | Rebuild, InCache s => (T, InCache (if sliced then s else c_rebuild T s))
  | Rebuild, InSlots s => (T, InSlots (if sliced then s else s_rebuild T s))
  | Distrust i, InCache s => (T, InCache (c_distrust s i))
  | Distrust i, InSlots s => (T, InSlots (s_distrust s i))
  | Refresh i, InCache s => (T, InCache (c_refresh T s i))
  | Refresh i, InSlots s => (T, InSlots (s_refresh T s i))
  | Begin m spare, _ => (T, begin T m spare)
  | Take_over, InCache s => (T, if sliced then S else InSlots (slots_after T (c_rebuild T s)))
  | _, Recomputing | Take_over, _ => (T, S)
  end.

(** The sums of row i, times a constant: those that are kept, or those of the definition. *)
Definition row_sums (state : tokens * strategy) (i c : nat) : R :=
  let (T, S) := state in
  match S with
  | InCache s => if c_trusted s i then c_stored T s i c else sums_of dimension causal T i c
  | InSlots s => if s_trusted s i then s_stored T s i c else sums_of dimension causal T i c
  | Recomputing => sums_of dimension causal T i c
  end.

Definition state_read (state : tokens * strategy) (i j : nat) : R :=
  row_sums state i (S j) / row_sums state i 0.

(** Pairs or slots that are pending. *)
Definition pending (state : tokens * strategy) : nat :=
  match snd state with InCache s => c_pending s | InSlots s => s_pending s | Recomputing => 0 end.

(** Those that a read of row i takes into account. *)
Definition needed (state : tokens * strategy) (i : nat) : nat :=
  match snd state with
  | InCache s => length (pairs (fst state) s)
      + (if c_waits s i then length (c_frozen s) else 0)
  | InSlots s => length (pending_slots (fst state) s)
      + (if s_waits s i then length (s_frozen s) else 0)
  | Recomputing => 0
  end.

Definition valid (o : operation) : Prop := match o with Edit e => in_columns e | _ => True end.

Definition run (T : tokens) (m : mode) (ops : list operation) : tokens * strategy :=
  fold_left step ops (T, begin T m 0).

(** The tokens after the edits among the operations, by definition. *)
Fixpoint edited_by (T : tokens) (ops : list operation) : tokens :=
  match ops with
  | [] => T
  | Edit e :: rest => edited_by (edited T e) rest
  | _ :: rest => edited_by T rest
  end.

Definition invariant (state : tokens * strategy) : Prop :=
  let (T, S) := state in
  match S with
  | InCache s => cached_exact T s /\ c_paced s /\ (length (c_frozen s) <= limit)%nat
  | InSlots s => slots_exact T s /\ s_paced s /\ (length (s_frozen s) <= limit)%nat
  | Recomputing => True
  end.

Lemma c_settle_frozen T s : (length (c_frozen s) <= limit)%nat -> (c_pending s <= limit)%nat ->
  (length (c_frozen (c_settle T s)) <= limit)%nat.
Proof.
  intros H P. unfold c_settle.
  match goal with |- context [Nat.leb limit ?p] => destruct (Nat.leb limit p) end; simpl; auto.
  destruct sliced; simpl; [| lia]. unfold pairs. rewrite app_length, !map_length. exact P.
Qed.

Lemma c_edit_frozen T s e : (length (c_frozen s) <= limit)%nat -> (c_pending s < limit)%nat ->
  (length (c_frozen (c_edit T s e)) <= limit)%nat.
Proof.
  intros H P. pose proof (length_add) as L. unfold c_edit, c_change.
  destruct e; auto; apply c_settle_frozen; auto.
  - match goal with |- (c_pending (c_use s ?t ?w) <= _)%nat => pose proof (pending_key s t w) end.
    lia.
  - pose proof (pending_value s token). lia.
  - match goal with |- (c_pending (c_use s ?t ?w) <= _)%nat => pose proof (pending_key s t w) end.
    lia.
  - pose proof (pending_value s token). lia.
  - destruct (Nat.ltb (count T) (c_room s)); simpl; auto; lia.
  - unfold c_pending in *. destruct (Nat.ltb (count T) (c_room s)); simpl.
    + pose proof (L (count T) (c_keys s)). lia.
    + unfold add. simpl. lia.
  - match goal with |- (c_pending (c_use s ?t ?w) <= _)%nat => pose proof (pending_key s t w) end.
    lia.
Qed.

Lemma s_settle_frozen T s : (length (s_frozen s) <= limit)%nat -> (s_pending s <= limit)%nat ->
  (length (s_frozen (s_settle T s)) <= limit)%nat.
Proof.
  intros H P. unfold s_settle.
  match goal with |- context [Nat.leb limit ?p] => destruct (Nat.leb limit p) end; simpl; auto.
  destruct sliced; simpl; [| lia]. unfold pending_slots. rewrite map_length. exact P.
Qed.

Lemma s_edit_frozen T s e : (length (s_frozen s) <= limit)%nat -> (s_pending s < limit)%nat ->
  (length (s_frozen (s_edit T s e)) <= limit)%nat.
Proof.
  intros H P. pose proof (length_add) as L. unfold s_edit, s_pending in *.
  destruct e; auto; apply s_settle_frozen; unfold s_pending; simpl; auto;
    try (specialize (L token (s_changed s)); lia).
  - destruct (Nat.ltb (count T) (s_room s)); simpl; auto; lia.
  - destruct (Nat.ltb (count T) (s_room s)); simpl.
    + specialize (L (count T) (s_changed s)). lia.
    + unfold add. simpl. lia.
Qed.

Lemma slots_after_exact T s : cached_exact T s -> c_paced s -> sliced = false ->
  slots_exact T (slots_after T (c_rebuild T s)).
Proof.
  intros I (_ & P & _) E. assert (J : cached_exact T (c_rebuild T s))
    by (apply c_rebuild_exact; auto; apply (c_idle T); auto).
  constructor; try (intros; apply J); simpl; auto; try apply distinct_nil; try apply I.
  2: lia.
  intros i c Hi Ht. unfold s_waiting, s_waits. simpl. rewrite sums_extended.
  pose proof (c_stored_exact T (c_rebuild T s) i c J Hi Ht) as X. cbn [c_shift c_rebuild] in X.
  rewrite <- X. unfold c_stored, c_waiting, c_waits. simpl. rewrite E. simpl. ring.
Qed.

Lemma begin_invariant T m spare : invariant (T, begin T m spare).
Proof.
  destruct m; simpl; auto.
  - split; [apply c_build_exact; lia | split; [apply c_build_paced | simpl; lia]].
  - split; [apply s_build_exact; lia | split; [apply s_build_paced | simpl; lia]].
Qed.

Lemma c_rebuild_paced (s : cached) T : sliced = false -> c_paced (c_rebuild T s).
Proof.
  intros E. unfold c_paced, c_pending. simpl. rewrite E. repeat split; auto; lia.
Qed.

Lemma step_invariant state o : valid o -> invariant state -> invariant (step state o).
Proof.
  destruct state as [T S]. intros V H.
  destruct o as [e | | i | i | m spare |]; [| | | | apply begin_invariant |];
    destruct S as [s | s |]; simpl in H |- *; auto;
    try (destruct H as (I & P & F)).
  - destruct (accepted T e) eqn:A.
    + destruct (c_edit_exact T s e V A I P). split; [| split]; auto.
      apply c_edit_frozen; auto. apply P.
    + unfold edited. rewrite A. auto.
  - destruct (accepted T e) eqn:A.
    + destruct (s_edit_exact T s e A I P). split; [| split]; auto.
      apply s_edit_frozen; auto. apply P.
    + unfold edited. rewrite A. auto.
  - destruct sliced eqn:E; [auto |]. split; [| split].
    + apply c_rebuild_exact; auto. apply (c_idle T); auto. apply P; auto.
    + apply c_rebuild_paced; auto.
    + simpl. rewrite E. simpl. lia.
  - destruct sliced eqn:E; [auto |]. split; [| split].
    + apply s_rebuild_exact; auto. apply (s_idle T); auto. apply P; auto.
    + unfold s_paced, s_pending. simpl. rewrite E. repeat split; auto; lia.
    + simpl. rewrite E. simpl. lia.
  - split; [apply c_distrust_exact; auto | auto].
  - split; [apply s_distrust_exact; auto | auto].
  - split; [apply c_refresh_exact; auto | split; [auto |]]. simpl. now rewrite map_length.
  - split; [apply s_refresh_exact; auto | auto].
  - destruct sliced eqn:E; [auto |]. split; [| split].
    + apply slots_after_exact; auto.
    + unfold s_paced, s_pending. simpl. repeat split; auto; lia.
    + simpl. lia.
Qed.

Lemma step_tokens state o :
  fst (step state o) = match o with Edit e => edited (fst state) e | _ => fst state end.
Proof.
  destruct state as [T S]. destruct o, S; simpl; auto; now destruct sliced.
Qed.

Lemma run_invariant ops : forall state, Forall valid ops -> invariant state ->
  invariant (fold_left step ops state) /\
  fst (fold_left step ops state) = edited_by (fst state) ops.
Proof.
  induction ops as [| o ops IH]; simpl; intros state V H; auto.
  inversion V; subst. destruct (IH (step state o)) as [J E]; auto using step_invariant.
  split; auto. rewrite E, step_tokens. now destruct o.
Qed.

(** Every row is a multiple of the definition's. *)
Lemma row_sums_exact state i : invariant state -> live (fst state) i = true ->
  exists scale, 0 < scale /\
    forall c, row_sums state i c = scale * sums_of dimension causal (fst state) i c.
Proof.
  destruct state as [T S]. intros H Hl. apply live_range in Hl as [Hi _]. simpl in *.
  destruct S as [s | s |].
  - destruct H as (I & _). destruct (c_trusted s i) eqn:Ht.
    + exists (exp (- c_shift s i)). split; [apply exp_pos |]. intros. apply c_stored_exact; auto.
    + exists 1. split; [lra | intros; ring].
  - destruct H as (I & _). destruct (s_trusted s i) eqn:Ht.
    + exists (exp (- s_shift s i)). split; [apply exp_pos |]. intros. apply s_stored_exact; auto.
    + exists 1. split; [lra | intros; ring].
  - exists 1. split; [lra | intros; ring].
Qed.

(** * P1.correct *)

(** After any list of operations the tokens are those of the edits, every read of every live row
    answers the definition and divides by a positive number, and less than [limit] are pending. *)
Theorem p1_correct T m ops i j : Forall valid ops ->
  let state := run T m ops in
  live (fst state) i = true ->
  fst state = edited_by T ops /\ 0 < row_sums state i 0 /\
  Rabs (state_read state i j - attention_of dimension causal (edited_by T ops) i j)
    <= b_dynamic_error.
Proof.
  intros V state Hl.
  destruct (run_invariant ops (T, begin T m 0) V (begin_invariant T m 0)) as [I E].
  fold (run T m ops) in I, E. fold state in I, E. simpl in E.
  destruct (row_sums_exact state i I Hl) as (scale & Hs & Hrow).
  pose proof (p1_denominator dimension causal (fst state) i Hl) as HD.
  split; [exact E |]. split; [rewrite Hrow; apply Rmult_lt_0_compat; auto |].
  rewrite <- E. unfold state_read, attention_of. rewrite !Hrow.
  replace (scale * sums_of dimension causal (fst state) i (S j) /
      (scale * sums_of dimension causal (fst state) i 0))
    with (sums_of dimension causal (fst state) i (S j) / sums_of dimension causal (fst state) i 0)
    by (field; lra).
  rewrite Rminus_diag_eq, Rabs_R0 by reflexivity. unfold b_dynamic_error. lra.
Qed.

Theorem p1_pending T m ops : Forall valid ops ->
  INR (pending (run T m ops)) <= b_pending_pairs limit.
Proof.
  intros V.
  destruct (run_invariant ops (T, begin T m 0) V (begin_invariant T m 0)) as [I _].
  fold (run T m ops) in I. destruct (run T m ops) as [T' S]. unfold b_pending_pairs, pending.
  assert (L : (1 <= INR limit)) by (apply (le_INR 1); lia).
  assert (H : forall p, (p < limit)%nat -> INR p <= INR limit - 1).
  { intros p Hp. apply Nat.le_succ_l, le_INR in Hp. rewrite S_INR in Hp. lra. }
  simpl in *. destruct S as [s | s |].
  - destruct I as (_ & (P & _) & _). specialize (H _ P). lra.
  - destruct I as (_ & (P & _) & _). specialize (H _ P). lra.
  - simpl. lra.
Qed.

(** Frozen ones included: what a read of any row needs while a rebuild is under way. *)
Theorem p1_worstcase_pairs T m ops i : Forall valid ops ->
  INR (needed (run T m ops) i) <= b_sliced_pairs limit.
Proof.
  intros V.
  destruct (run_invariant ops (T, begin T m 0) V (begin_invariant T m 0)) as [I _].
  fold (run T m ops) in I. destruct (run T m ops) as [T' S]. unfold b_sliced_pairs, needed.
  assert (L : (1 <= INR limit)) by (apply (le_INR 1); lia).
  assert (H : forall p f, (p < limit)%nat -> (f <= limit)%nat ->
    INR (p + f) <= 2 * INR limit - 1).
  { intros p f Hp Hf. apply Nat.le_succ_l, le_INR in Hp. apply le_INR in Hf.
    rewrite S_INR in Hp. rewrite plus_INR. lra. }
  simpl in *. destruct S as [s | s |].
  - destruct I as (_ & (P & _) & F).
    assert (E : length (pairs T' s) = c_pending s)
      by (unfold pairs; rewrite app_length, !map_length; reflexivity). rewrite E.
    destruct (c_waits s i);
      [pose proof (H _ _ P F) | pose proof (H _ O P ltac:(lia))]; lra.
  - destruct I as (_ & (P & _) & F). unfold pending_slots. rewrite map_length.
    fold (s_pending s).
    destruct (s_waits s i);
      [pose proof (H _ _ P F) | pose proof (H _ O P ltac:(lia))]; lra.
  - simpl. lra.
Qed.

End Dynamic.
