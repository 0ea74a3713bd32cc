(** Dynamic attention that keeps no weights (claim P1.correct).

    A token that has changed since the last rebuild has a slot with the key and value that the
    sums hold of it and those of now.  Their weights are computed when a row is read, or
    rebuilt.

    Steps: as for the cached weights, with [slots_exact] for the invariant of the sums and
    [s_paced] for that of the rebuilds. *)

Require Import Reals Lia List Bool Arith.
From Attest.Foundations Require Import Sums.
From Attest.Dynamic Require Import Tokens Pending.
Import ListNotations.
Open Scope R_scope.

Section Slots.

Context {options : settings}.
Let positive_limit : (0 < limit)%nat := limit_positive.

(** * The slots *)

(** A token that has changed: what the sums hold of it, and what it is now. *)
Record slot : Type := Slot {
  slot_token : nat;
  old_key : nat -> R;
  old_value : nat -> R;
  new_key : nat -> R;
  new_value : nat -> R
}.

(** What a slot adds to row i. *)
Definition slot_sum (T : tokens) (shift : R) (x : slot) (i c : nat) : R :=
  weight_shifted T shift (slot_token x) (new_key x) i * new_value x c
  - weight_shifted T shift (slot_token x) (old_key x) i * old_value x c.

Fixpoint slots_sum (T : tokens) (shift : R) (l : list slot) (i c : nat) : R :=
  match l with [] => 0 | x :: rest => slot_sum T shift x i c + slots_sum T shift rest i c end.

Lemma slots_sum_map T sh (f : nat -> slot) l i c :
  slots_sum T sh (map f l) i c = list_sum l (fun t => slot_sum T sh (f t) i c).
Proof. induction l; simpl; [reflexivity | now rewrite IHl]. Qed.

Record slots : Type := Slots {
  s_room : nat;
  s_sums : nat -> nat -> R;
  s_shift : nat -> R;
  s_trusted : nat -> bool;
  s_base_keys : nat -> nat -> R;
  s_base_values : nat -> nat -> R;
  s_changed : list nat;
  s_frozen : list slot;
  s_front : nat;                       (* frozen slots concern rows from here ... *)
  s_end : nat                          (* ... to there *)
}.

(** The slot of token t. *)
Definition slot_of (T : tokens) (s : slots) (t : nat) : slot :=
  Slot t (s_base_keys s t) (s_base_values s t) (keys T t) (extended T t).

Definition pending_slots (T : tokens) (s : slots) : list slot := map (slot_of T s) (s_changed s).

Definition s_waits (s : slots) (i : nat) : bool :=
  Nat.leb (s_front s) i && Nat.ltb i (s_end s).
Definition s_waiting (T : tokens) (s : slots) (shift : R) (i c : nat) : R :=
  if s_waits s i then slots_sum T shift (s_frozen s) i c else 0.

Definition s_stored (T : tokens) (s : slots) (i c : nat) : R :=
  s_sums s i c + s_waiting T s (s_shift s i) i c
    + slots_sum T (s_shift s i) (pending_slots T s) i c.

Definition s_pending (s : slots) : nat := length (s_changed s).

Definition s_build (T : tokens) (room : nat) : slots :=
  Slots room (fun i c => fsum (count T) (fun t =>
      weight_shifted T (new_shift T i) t (keys T t) i * extended T t c))
    (new_shift T) (fun _ => true) (keys T) (extended T) [] [] 0 0.

Definition s_distrust (s : slots) (i : nat) : slots :=
  Slots (s_room s) (s_sums s) (s_shift s) (put (s_trusted s) i false) (s_base_keys s)
    (s_base_values s) (s_changed s) (s_frozen s) (s_front s) (s_end s).

(** Row i as the definition has it, less what its slots will add. *)
Definition s_refresh (T : tokens) (s : slots) (i : nat) : slots :=
  let shift := new_shift T i in
  Slots (s_room s)
    (put (s_sums s) i (fun c =>
      fsum (count T) (fun t => weight_shifted T shift t (keys T t) i * extended T t c)
      - s_waiting T s shift i c - slots_sum T shift (pending_slots T s) i c))
    (put (s_shift s) i shift) (put (s_trusted s) i true) (s_base_keys s) (s_base_values s)
    (s_changed s) (s_frozen s) (s_front s) (s_end s).

Definition s_use (s : slots) (t : nat) : slots :=
  Slots (s_room s) (s_sums s) (s_shift s) (s_trusted s) (s_base_keys s) (s_base_values s)
    (add t (s_changed s)) (s_frozen s) (s_front s) (s_end s).

(** A token that was appended to T: the sums hold nothing of it. *)
Definition s_append (T : tokens) (s : slots) (t : nat) : slots :=
  Slots (s_room s) (s_sums s) (s_shift s) (put (s_trusted s) t false)
    (put (s_base_keys s) t (keys T t)) (put (s_base_values s) t (fun _ => 0))
    (add t (s_changed s)) (s_frozen s) (s_front s) (s_end s).

(** The rebuild that is under way, for some more rows. *)
Definition s_advance (T : tokens) (rows : nat) (s : slots) : slots :=
  let stop := Nat.min (s_front s + rows) (s_end s) in
  Slots (s_room s)
    (fun i c => s_sums s i c + (if Nat.leb (s_front s) i && Nat.ltb i stop
      then slots_sum T (s_shift s i) (s_frozen s) i c else 0))
    (s_shift s) (s_trusted s) (s_base_keys s) (s_base_values s)
    (s_changed s) (s_frozen s) stop (s_end s).

Definition s_rebuild (T : tokens) (s : slots) : slots :=
  Slots (s_room s)
    (fun i c => if sliced then s_sums s i c
      else s_sums s i c + slots_sum T (s_shift s i) (pending_slots T s) i c)
    (s_shift s) (s_trusted s) (keys T) (extended T) []
    (if sliced then pending_slots T s else []) 0 (if sliced then count T else 0)%nat.

Definition s_settle (T : tokens) (s : slots) : slots :=
  let s := s_advance T (slice (s_end s)) s in
  if Nat.leb limit (s_pending s) then s_rebuild T s else s.

Definition s_edit (T : tokens) (s : slots) (e : edit) : slots :=
  let now := edited T e in
  match e with
  | UpdateQuery t _ _ | SetQuery t _ => s_distrust s t
  | UpdateKey t _ _ | SetKey t _ | UpdateValue t _ _ | SetValue t _ | Evict t =>
      s_settle now (s_use s t)
  | Append _ _ _ =>
      let s := if Nat.ltb (count T) (s_room s) then s
        else s_build T (count T + count T / 8 + 8) in
      s_settle now (s_append now s (count T))
  end.

(** ** The invariant *)

Record slots_exact (T : tokens) (s : slots) : Prop := {
  s_same : forall t, ~ In t (s_changed s) -> (t < count T)%nat ->
    (forall l, s_base_keys s t l = keys T t l) /\ (forall c, s_base_values s t c = extended T t c);
  s_base : forall i c, (i < count T)%nat -> s_trusted s i = true ->
    s_sums s i c + s_waiting T s (s_shift s i) i c
      = fsum (count T) (fun t =>
          weight_shifted T (s_shift s i) t (s_base_keys s t) i * s_base_values s t c);
  s_distinct : distinct (count T) (s_changed s);
  s_rows : (count T <= s_room s)%nat;
  s_front_range : (s_front s <= s_end s <= count T)%nat
}.

Lemma shifted_ext T sh t key key' i : (forall l, key l = key' l) ->
  weight_shifted T sh t key i = weight_shifted T sh t key' i.
Proof.
  intros H. unfold weight_shifted. destruct (sees causal i t); auto. do 2 f_equal.
  apply fsum_ext. intros. now rewrite H.
Qed.

Lemma slots_exact_pending T s sh i c : slots_exact T s ->
  fsum (count T) (fun t => weight_shifted T sh t (s_base_keys s t) i * s_base_values s t c)
    + slots_sum T sh (pending_slots T s) i c
    = fsum (count T) (fun t => weight_shifted T sh t (keys T t) i * extended T t c).
Proof.
  intros I. unfold pending_slots. rewrite slots_sum_map. unfold slot_sum. simpl.
  rewrite (list_sum_all (count T) (s_changed s)).
  - rewrite <- fsum_plus. apply fsum_ext. intros t _. ring.
  - apply I.
  - intros t Ht Hn. destruct (s_same _ _ I t Hn Ht) as [E F]. rewrite F.
    rewrite (shifted_ext T sh t (s_base_keys s t) (keys T t) i E). ring.
Qed.

Lemma s_stored_exact T s i c : slots_exact T s -> (i < count T)%nat -> s_trusted s i = true ->
  s_stored T s i c = exp (- s_shift s i) * sums_of dimension causal T i c.
Proof.
  intros I Hi Ht. unfold s_stored. rewrite (s_base _ _ I i c Hi Ht), slots_exact_pending by auto.
  apply sums_extended.
Qed.

Lemma s_build_exact T room : (count T <= room)%nat -> slots_exact T (s_build T room).
Proof.
  intros Hr. constructor; simpl; auto; try apply distinct_nil.
  - intros i c Hi _. unfold s_waiting, s_waits. simpl. ring.
  - lia.
Qed.

Lemma s_distrust_exact T s i : slots_exact T s -> slots_exact T (s_distrust s i).
Proof.
  intros I. constructor; simpl; try apply I.
  intros j c Hj Ht. unfold put in Ht. destruct (Nat.eqb j i); [discriminate |].
  apply (s_base _ _ I); auto.
Qed.

Lemma s_refresh_exact T s i : slots_exact T s -> slots_exact T (s_refresh T s i).
Proof.
  intros I. constructor; simpl; try apply I.
  intros r c Hr Ht. change (s_waiting T (s_refresh T s i)) with (s_waiting T s).
  unfold put in *. destruct (Nat.eqb_spec r i) as [-> |]; [| apply (s_base _ _ I); auto].
  rewrite <- (slots_exact_pending T s (new_shift T i) i c I). ring.
Qed.

(** An edit of token t, which gets a slot: rows that stay trusted keep their queries. *)
Lemma s_use_exact T T' s t : slots_exact T s -> (t < count T)%nat -> count T' = count T ->
  queries T' = queries T ->
  (forall r, r <> t -> keys T' r = keys T r /\ extended T' r = extended T r) ->
  slots_exact T' (s_use s t).
Proof.
  intros I Hlt Hc Hq Hr. constructor; simpl; rewrite ?Hc; try apply I.
  - intros r Hn Hrn. rewrite in_add in Hn. destruct (Hr r) as [-> ->]; [intuition |].
    apply (s_same _ _ I); intuition.
  - assert (E : forall sh x key i, weight_shifted T' sh x key i = weight_shifted T sh x key i).
    { intros. unfold weight_shifted, logit. now rewrite Hq. }
    intros i c Hi Ht. rewrite (fsum_ext _ _ (fun r =>
      weight_shifted T (s_shift s i) r (s_base_keys s r) i * s_base_values s r c))
      by (intros; now rewrite E).
    rewrite <- (s_base _ _ I i c Hi Ht). f_equal. unfold s_waiting, s_waits. simpl.
    destruct (Nat.leb (s_front s) i && Nat.ltb i (s_end s)); auto.
    induction (s_frozen s) as [| x l IH]; simpl; auto. rewrite IH. unfold slot_sum. now rewrite !E.
  - apply distinct_add; auto. apply I.
Qed.

Lemma s_query_exact T s t row : slots_exact T s ->
  slots_exact (with_query T t row) (s_distrust s t).
Proof.
  intros I. constructor; simpl; try apply I.
  intros i c Hi Ht. unfold put in Ht. destruct (Nat.eqb_spec i t) as [| Hne]; [discriminate |].
  assert (E : forall sh x key,
    weight_shifted (with_query T t row) sh x key i = weight_shifted T sh x key i).
  { intros. unfold weight_shifted, logit. simpl. now rewrite put_other. }
  rewrite (fsum_ext _ _ (fun r =>
    weight_shifted T (s_shift s i) r (s_base_keys s r) i * s_base_values s r c))
      by (intros; now rewrite E).
  rewrite <- (s_base _ _ I i c Hi Ht). f_equal. unfold s_waiting, s_waits. simpl.
  destruct (Nat.leb (s_front s) i && Nat.ltb i (s_end s)); auto.
  induction (s_frozen s) as [| x l IH]; simpl; auto. rewrite IH. unfold slot_sum. now rewrite !E.
Qed.

Lemma s_append_exact T s q k v : slots_exact T s -> (count T < s_room s)%nat ->
  let T' := with_token T q k v in slots_exact T' (s_append T' s (count T)).
Proof.
  intros I Hroom T'. constructor; simpl; auto; try apply I.
  - intros r Hn Hr. rewrite in_add in Hn. assert (Hne : r <> count T) by intuition.
    destruct (s_same _ _ I r) as [E F]; [intuition | lia |].
    rewrite !put_other by auto. split; [exact E |]. intros c. rewrite F.
    unfold extended, T', with_token. simpl. now rewrite !put_other.
  - intros i c Hi Ht. destruct (Nat.eq_dec i (count T)) as [-> | Hin].
    { rewrite put_same in Ht. discriminate. }
    rewrite put_other in Ht by auto.
    assert (E : forall sh x key, weight_shifted T' sh x key i = weight_shifted T sh x key i).
    { intros. unfold weight_shifted, logit, T', with_token. simpl. now rewrite put_other. }
    rewrite !put_same, Rmult_0_r, Rplus_0_r.
    rewrite (fsum_ext _ _ (fun r =>
      weight_shifted T (s_shift s i) r (s_base_keys s r) i * s_base_values s r c))
      by (intros r Hr; rewrite E, !put_other by lia; reflexivity).
    rewrite <- (s_base _ _ I i c) by (auto; lia). f_equal. unfold s_waiting, s_waits. simpl.
    destruct (Nat.leb (s_front s) i && Nat.ltb i (s_end s)); auto.
    induction (s_frozen s) as [| x l IH]; simpl; auto. rewrite IH. unfold slot_sum. now rewrite !E.
  - apply distinct_add; [| lia]. apply distinct_more, I.
  - pose proof (s_front_range _ _ I). lia.
Qed.

Lemma s_advance_exact T rows s : slots_exact T s -> slots_exact T (s_advance T rows s).
Proof.
  intros I. pose proof (s_front_range _ _ I). constructor; simpl; try apply I; [| lia].
  intros i c Hi Ht. rewrite <- (s_base _ _ I i c Hi Ht). unfold s_waiting, s_waits. simpl.
  set (stop := Nat.min (s_front s + rows) (s_end s)).
  destruct (Nat.leb_spec (s_front s) i), (Nat.ltb_spec i stop), (Nat.leb_spec stop i),
    (Nat.ltb_spec i (s_end s)); simpl; try lia; ring.
Qed.

(** With no rebuild under way. *)
Lemma s_idle T s : slots_exact T s -> s_end s = 0%nat -> s_front s = s_end s.
Proof. intros I E. pose proof (s_front_range _ _ I). lia. Qed.

Lemma s_rebuild_exact T s : slots_exact T s -> s_front s = s_end s ->
  slots_exact T (s_rebuild T s).
Proof.
  intros I Hf. pose proof (s_rows _ _ I). constructor; simpl; auto; try apply distinct_nil.
  - intros i c Hi Ht. rewrite <- (slots_exact_pending T s _ i c I), <- (s_base _ _ I i c Hi Ht).
    unfold s_waiting, s_waits. simpl. rewrite Hf.
    destruct (Nat.leb_spec (s_end s) i), (Nat.ltb_spec i (s_end s)); try lia;
      destruct sliced; simpl; try (destruct (Nat.ltb_spec i (count T)); [| lia]); ring.
  - destruct sliced; lia.
Qed.

(** Slices keep up with the slots that are taken, so none is left when those are frozen. *)
Definition s_paced (s : slots) : Prop :=
  (s_pending s < limit)%nat /\ (sliced = false -> s_end s = 0%nat) /\
  (Nat.min (slice (s_end s) * s_pending s) (s_end s) <= s_front s)%nat.

(** s' is what an edit, which takes a slot at most, makes of s. *)
Definition s_follows (s s' : slots) : Prop :=
  (s_pending s' <= S (s_pending s))%nat /\ s_front s' = s_front s /\ s_end s' = s_end s.

Lemma s_advance_done T s s' : s_paced s -> s_follows s s' -> (limit <= s_pending s')%nat ->
  s_front (s_advance T (slice (s_end s')) s') = s_end s'.
Proof.
  intros (P & _ & K) (F1 & F2 & F3) L. simpl. rewrite F2, F3 in *.
  pose proof (slice_enough (s_end s)).
  assert (slice (s_end s) * limit <= slice (s_end s) * s_pending s + slice (s_end s))%nat by nia.
  lia.
Qed.

Lemma s_settle_paced T s s' : slots_exact T s' -> s_paced s -> s_follows s s' ->
  slots_exact T (s_settle T s') /\ s_paced (s_settle T s').
Proof.
  intros I P F. pose proof (s_advance_done T s s' P F) as D. unfold s_settle.
  assert (J : slots_exact T (s_advance T (slice (s_end s')) s')) by (apply s_advance_exact; auto).
  change (s_pending (s_advance T (slice (s_end s')) s')) with (s_pending s').
  destruct P as (P1 & P2 & P3), F as (F1 & F2 & F3).
  destruct (Nat.leb_spec limit (s_pending s')) as [L | L].
  - split; [apply s_rebuild_exact; auto |]. unfold s_paced, s_pending. simpl.
    split; [lia | split; [now destruct sliced | lia]].
  - split; auto. split; auto. simpl. rewrite F3. split; auto.
    change (s_pending (s_advance T (slice (s_end s)) s')) with (s_pending s'). rewrite F2.
    assert (slice (s_end s) * s_pending s' <= slice (s_end s) * s_pending s + slice (s_end s))%nat
      by nia.
    lia.
Qed.

Lemma s_build_paced T room : s_paced (s_build T room).
Proof. unfold s_paced, s_pending. simpl. repeat split; auto; lia. Qed.

Lemma s_edit_exact T s e : accepted T e = true -> slots_exact T s -> s_paced s ->
  slots_exact (edited T e) (s_edit T s e) /\ s_paced (s_edit T s e).
Proof.
  intros Ha I P. unfold s_edit, edited. rewrite Ha.
  assert (L : forall t, s_follows s (s_use s t))
    by (intros; split; [apply length_add | auto]).
  assert (U : forall T' t, (t < count T)%nat -> count T' = count T -> queries T' = queries T ->
      (forall r, r <> t -> keys T' r = keys T r /\ extended T' r = extended T r) ->
      slots_exact T' (s_settle T' (s_use s t)) /\ s_paced (s_settle T' (s_use s t))).
  { intros T' t Hlt Hc Hq Hr.
    apply (s_settle_paced _ s); auto. apply (s_use_exact T); auto. }
  destruct e as [t j x | t j x | t j x | t row | t row | t row | q k v | t]; cbn [accepted] in Ha.
  1, 4: split; [apply s_query_exact; auto | exact P].
  1, 2, 3, 4: apply live_range in Ha as [Hlt _]; apply U; auto; intros r Hr;
    unfold extended; simpl; rewrite ?put_other by auto; auto.
  - set (s' := if Nat.ltb (count T) (s_room s) then s else s_build T (count T + count T / 8 + 8)).
    assert (J : slots_exact T s' /\ s_paced s' /\ (count T < s_room s')%nat).
    { unfold s'. destruct (Nat.ltb_spec (count T) (s_room s)); [auto |].
      split; [apply s_build_exact; lia | split; [apply s_build_paced | simpl; lia]]. }
    destruct J as (J & Q & Hroom).
    apply (s_settle_paced _ s'); auto.
    + apply (s_append_exact T s'); auto.
    + split; [apply length_add | auto].
  - apply andb_prop in Ha as [Ha _]. apply live_range in Ha as [Hlt _]. apply U; auto.
    intros r Hr. unfold extended. simpl. rewrite put_other by auto. auto.
Qed.

End Slots.
