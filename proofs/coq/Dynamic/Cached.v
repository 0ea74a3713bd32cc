(** Dynamic attention that keeps the weights (claim P1.correct).

    A token t that has changed since the last rebuild has up to two pairs of a column and a row,
      (weight now - base weight) (value now)^T   and   (base weight) (value now - base value)^T,
    whose sum turns its base into its present.  A rebuild adds the pairs to the sums, at once or
    sliced: then they are frozen and added to some rows an update; rows from [c_front] to [c_end]
    still need them.

    Steps: (1) the invariant [cached_exact] is kept by every edit, slice, rebuild and refresh;
    (2) with it, sums and pairs are the definition ([c_stored_exact]); (3) less than [limit]
    pairs are pending after an edit ([c_paced]).

    NOTE The program multiplies the weights of a key by exp (delta q) at most 32 times in a row
    and then computes them from the definition: here, that one edit is a SetKey in place of an
    UpdateKey.  The pairs that the program stores are recomputed here from what defines them. *)

Require Import Reals Lia List Bool Arith.
From Attest.Foundations Require Import Sums.
From Attest.Dynamic Require Import Tokens Pending.
Import ListNotations.
Open Scope R_scope.

Section Cached.

Context {options : settings}.
Let positive_limit : (0 < limit)%nat := limit_positive.

(** * The cached weights *)

(** A column of coefficients, by row, and a row of values. *)
Definition pair : Type := (nat -> R) * (nat -> R).

Fixpoint pairs_sum (l : list pair) (i c : nat) : R :=
  match l with [] => 0 | p :: rest => fst p i * snd p c + pairs_sum rest i c end.

Lemma pairs_sum_app l l' i c : pairs_sum (l ++ l') i c = pairs_sum l i c + pairs_sum l' i c.
Proof. induction l; simpl; [ring | rewrite IHl; ring]. Qed.

Lemma pairs_sum_map (f : nat -> pair) l i c :
  pairs_sum (map f l) i c = list_sum l (fun t => fst (f t) i * snd (f t) c).
Proof. induction l; simpl; [reflexivity | now rewrite IHl]. Qed.

Record cached : Type := Cached {
  c_room : nat;
  c_sums : nat -> nat -> R;
  c_shift : nat -> R;
  c_trusted : nat -> bool;
  c_weights : nat -> nat -> R;         (* by token, then row *)
  c_base_weights : nat -> nat -> R;
  c_base_values : nat -> nat -> R;
  c_keys : list nat;                   (* tokens with a pair for their key *)
  c_values : list nat;                 (* tokens with a pair for their value *)
  c_frozen : list pair;
  c_front : nat;                       (* frozen pairs concern rows from here ... *)
  c_end : nat                          (* ... to there *)
}.

Definition key_pair (T : tokens) (s : cached) (t : nat) : pair :=
  (fun i => c_weights s t i - c_base_weights s t i, full T t).
Definition value_pair (T : tokens) (s : cached) (t : nat) : pair :=
  (c_base_weights s t, fun c => full T t c - c_base_values s t c).
Definition pairs (T : tokens) (s : cached) : list pair :=
  map (key_pair T s) (c_keys s) ++ map (value_pair T s) (c_values s).

(** The frozen pairs, for the rows that still need them. *)
Definition c_waits (s : cached) (i : nat) : bool :=
  Nat.leb (c_front s) i && Nat.ltb i (c_end s).
Definition c_waiting (s : cached) (i c : nat) : R :=
  if c_waits s i then pairs_sum (c_frozen s) i c else 0.

Definition c_stored (T : tokens) (s : cached) (i c : nat) : R :=
  c_sums s i c + c_waiting s i c + pairs_sum (pairs T s) i c.

Definition c_pending (s : cached) : nat := length (c_keys s) + length (c_values s).

Definition c_build (T : tokens) (room : nat) : cached :=
  let weights := fun t i => weight_now T (new_shift T i) t i in
  Cached room (fun i c => fsum (count T) (fun t => weights t i * full T t c)) (new_shift T)
    (fun _ => true) weights weights (full T) [] [] [] 0 0.

Definition c_distrust (s : cached) (i : nat) : cached :=
  Cached (c_room s) (c_sums s) (c_shift s) (put (c_trusted s) i false) (c_weights s)
    (c_base_weights s) (c_base_values s) (c_keys s) (c_values s) (c_frozen s) (c_front s) (c_end s).

(** Row i as the definition has it: its keys, but not its changed values, become the base. *)
Definition c_refresh (T : tokens) (s : cached) (i : nat) : cached :=
  let weights := fun t => weight_now T (new_shift T i) t i in
  Cached (c_room s)
    (put (c_sums s) i (fun c => fsum (count T) (fun t => weights t * full T t c)
      - list_sum (c_values s) (fun t => weights t * (full T t c - c_base_values s t c))))
    (put (c_shift s) i (new_shift T i)) (put (c_trusted s) i true)
    (fun t => put (c_weights s t) i (weights t)) (fun t => put (c_base_weights s t) i (weights t))
    (c_base_values s) (c_keys s) (c_values s)
    (map (fun p => (put (fst p) i 0, snd p)) (c_frozen s)) (c_front s) (c_end s).

(** New weights w of token t. *)
Definition c_use (s : cached) (t : nat) (w : nat -> R) : cached :=
  Cached (c_room s) (c_sums s) (c_shift s) (c_trusted s) (put (c_weights s) t w)
    (c_base_weights s) (c_base_values s) (add t (c_keys s)) (c_values s) (c_frozen s)
    (c_front s) (c_end s).

(** A new value of token t. *)
Definition c_use_value (s : cached) (t : nat) : cached :=
  Cached (c_room s) (c_sums s) (c_shift s) (c_trusted s) (c_weights s)
    (c_base_weights s) (c_base_values s) (c_keys s) (add t (c_values s)) (c_frozen s)
    (c_front s) (c_end s).

(** A token that was appended to T: nothing in the base, and a row that is not computed. *)
Definition c_append (T : tokens) (s : cached) (t : nat) : cached :=
  let w := fun i => weight_now T (c_shift s i) t i in
  Cached (c_room s) (c_sums s) (c_shift s) (put (c_trusted s) t false) (put (c_weights s) t w)
    (put (c_base_weights s) t (fun _ => 0)) (put (c_base_values s) t (full T t))
    (add t (c_keys s)) (c_values s) (c_frozen s) (c_front s) (c_end s).

(** The rebuild that is under way, for some more rows. *)
Definition c_advance (rows : nat) (s : cached) : cached :=
  let stop := Nat.min (c_front s + rows) (c_end s) in
  Cached (c_room s)
    (fun i c => c_sums s i c
      + (if Nat.leb (c_front s) i && Nat.ltb i stop then pairs_sum (c_frozen s) i c else 0))
    (c_shift s) (c_trusted s) (c_weights s) (c_base_weights s) (c_base_values s)
    (c_keys s) (c_values s) (c_frozen s) stop (c_end s).

Definition c_rebuild (T : tokens) (s : cached) : cached :=
  Cached (c_room s)
    (fun i c => if sliced then c_sums s i c else c_sums s i c + pairs_sum (pairs T s) i c)
    (c_shift s) (c_trusted s) (c_weights s) (c_weights s) (full T) [] []
    (if sliced then pairs T s else []) 0 (if sliced then count T else 0)%nat.

(** A slice after every edit, of the tokens that there were when the pairs were frozen. *)
Definition c_settle (T : tokens) (s : cached) : cached :=
  let s := c_advance (slice (c_end s)) s in
  if Nat.leb limit (c_pending s) then c_rebuild T s else s.

(** An accepted edit of T, and its settlement. *)
Definition c_change (T : tokens) (s : cached) (e : edit) : cached :=
  let now := edited T e in
  match e with
  | UpdateQuery t _ _ | SetQuery t _ => c_distrust s t
  | UpdateKey t j x => c_use s t (fun i => c_weights s t i * exp (x * queries T i j))
  | SetKey t _ => c_use s t (fun i => weight_now now (c_shift s i) t i)
  | UpdateValue t _ _ | SetValue t _ => c_use_value s t
  | Append _ _ _ =>
      let s := if Nat.ltb (count T) (c_room s) then s
        else c_build T (count T + count T / 8 + 8) in
      c_append now s (count T)
  | Evict t => c_use s t (fun _ => 0)
  end.

Definition c_edit (T : tokens) (s : cached) (e : edit) : cached :=
  match e with
  | UpdateQuery _ _ _ | SetQuery _ _ => c_change T s e
  | _ => c_settle (edited T e) (c_change T s e)
  end.

(** ** The invariant *)

Record cached_exact (T : tokens) (s : cached) : Prop := {
  c_weights_now : forall i t, (i < count T)%nat -> c_trusted s i = true -> (t < count T)%nat ->
    c_weights s t i = weight_now T (c_shift s i) t i;
  c_same_weights : forall t, ~ In t (c_keys s) -> (t < count T)%nat ->
    forall i, c_base_weights s t i = c_weights s t i;
  c_same_values : forall t, ~ In t (c_values s) -> (t < count T)%nat ->
    forall c, c_base_values s t c = full T t c;
  c_base : forall i c, (i < count T)%nat -> c_trusted s i = true ->
    c_sums s i c + c_waiting s i c
      = fsum (count T) (fun t => c_base_weights s t i * c_base_values s t c);
  c_keys_distinct : distinct (count T) (c_keys s);
  c_values_distinct : distinct (count T) (c_values s);
  c_rows : (count T <= c_room s)%nat;
  c_front_range : (c_front s <= c_end s <= count T)%nat
}.

(** What is pending turns the base into the present. *)
Lemma pairs_exact T s i c : cached_exact T s -> (i < count T)%nat ->
  fsum (count T) (fun t => c_base_weights s t i * c_base_values s t c) + pairs_sum (pairs T s) i c
    = fsum (count T) (fun t => c_weights s t i * full T t c).
Proof.
  intros I Hi. unfold pairs. rewrite pairs_sum_app, !pairs_sum_map. simpl.
  rewrite (list_sum_all (count T) (c_keys s)), (list_sum_all (count T) (c_values s)).
  - rewrite <- !fsum_plus. apply fsum_ext. intros t _. ring.
  - apply I.
  - intros t Ht Hn. rewrite (c_same_values _ _ I t Hn Ht). ring.
  - apply I.
  - intros t Ht Hn. rewrite (c_same_weights _ _ I t Hn Ht). ring.
Qed.

Lemma c_stored_exact T s i c : cached_exact T s -> (i < count T)%nat -> c_trusted s i = true ->
  c_stored T s i c = exp (- c_shift s i) * sums_of dimension causal T i c.
Proof.
  intros I Hi Ht. unfold c_stored. rewrite (c_base _ _ I i c Hi Ht), pairs_exact by auto.
  rewrite <- sums_full. apply fsum_ext. intros t Hlt.
  now rewrite (c_weights_now _ _ I i t Hi Ht Hlt).
Qed.

Lemma c_build_exact T room : (count T <= room)%nat -> cached_exact T (c_build T room).
Proof.
  intros Hr. constructor; simpl; auto; try apply distinct_nil.
  - intros i c Hi _. unfold c_waiting, c_waits. simpl. ring.
  - lia.
Qed.

Lemma c_distrust_exact T s i : cached_exact T s -> cached_exact T (c_distrust s i).
Proof.
  intros I. constructor; simpl; try apply I.
  - intros j t Hj Ht. unfold put in Ht. destruct (Nat.eqb j i); [discriminate |].
    apply (c_weights_now _ _ I); auto.
  - intros j c Hj Ht. unfold put in Ht. destruct (Nat.eqb j i); [discriminate |].
    apply (c_base _ _ I); auto.
Qed.

Lemma pairs_sum_put l i r c :
  pairs_sum (map (fun p => (put (fst p) i 0, snd p)) l) r c
    = if Nat.eqb r i then 0 else pairs_sum l r c.
Proof.
  induction l as [| p l IH]; simpl; [now destruct (Nat.eqb r i) |]. rewrite IH. unfold put.
  destruct (Nat.eqb r i); ring.
Qed.

Lemma c_refresh_exact T s i : cached_exact T s -> cached_exact T (c_refresh T s i).
Proof.
  intros I. constructor; simpl; try apply I.
  - intros r t Hr Ht Hlt. unfold put in *. destruct (Nat.eqb_spec r i) as [-> |]; auto.
    apply (c_weights_now _ _ I); auto.
  - intros t Hn Hlt r. unfold put. destruct (Nat.eqb r i); auto.
    apply (c_same_weights _ _ I); auto.
  - intros r c Hr Ht. unfold c_waiting. simpl. rewrite pairs_sum_put. unfold put in *.
    destruct (Nat.eqb_spec r i) as [-> |].
    + rewrite (list_sum_all (count T) (c_values s)).
      * destruct (c_waits (c_refresh T s i) i); rewrite Rplus_0_r, <- fsum_minus; apply fsum_ext;
          intros t _; ring.
      * apply I.
      * intros t Hlt Hn. rewrite (c_same_values _ _ I t Hn Hlt). ring.
    + apply (c_base _ _ I); auto.
Qed.

Lemma c_use_exact T T' s t w : cached_exact T s -> (t < count T)%nat -> count T' = count T ->
  (forall r c, full T' r c = full T r c) ->
  (forall i r, (i < count T)%nat -> c_trusted s i = true -> r <> t ->
    weight_now T' (c_shift s i) r i = weight_now T (c_shift s i) r i) ->
  (forall i, (i < count T)%nat -> c_trusted s i = true ->
    w i = weight_now T' (c_shift s i) t i) ->
  cached_exact T' (c_use s t w).
Proof.
  intros I Hlt Hc Hf Hr Hw. constructor; simpl; rewrite ?Hc; try apply I.
  - intros i r Hi Ht Hrn. destruct (Nat.eq_dec r t) as [-> | Hne].
    + rewrite put_same. auto.
    + rewrite put_other, Hr by auto. apply (c_weights_now _ _ I); auto.
  - intros r Hn Hrn i. rewrite in_add in Hn. rewrite put_other by intuition.
    apply (c_same_weights _ _ I); intuition.
  - intros r Hn Hrn c. rewrite Hf. apply (c_same_values _ _ I); auto.
  - apply distinct_add; auto. apply I.
Qed.

Lemma c_use_value_exact T s t row : cached_exact T s -> (t < count T)%nat ->
  cached_exact (with_value T t row) (c_use_value s t).
Proof.
  intros I Hlt. constructor; simpl; try apply I.
  - intros r Hn Hrn c. rewrite in_add in Hn. rewrite (c_same_values _ _ I) by intuition.
    unfold full, with_value. simpl. rewrite put_other by intuition. reflexivity.
  - apply distinct_add; auto. apply I.
Qed.

Lemma weight_now_token T q k v sh r i : (r < count T)%nat -> (i < count T)%nat ->
  weight_now (with_token T q k v) sh r i = weight_now T sh r i.
Proof.
  intros Hr Hi. unfold weight_now, weight_shifted, logit, with_token. simpl.
  now rewrite !put_other by lia.
Qed.

Lemma c_append_exact T s q k v : cached_exact T s -> (count T < c_room s)%nat ->
  let T' := with_token T q k v in cached_exact T' (c_append T' s (count T)).
Proof.
  intros I Hroom T'. constructor; simpl; auto; try apply I.
  - intros i r Hi Ht Hr. destruct (Nat.eq_dec i (count T)) as [-> | Hin].
    { rewrite put_same in Ht. discriminate. }
    rewrite put_other in Ht by auto. destruct (Nat.eq_dec r (count T)) as [-> | Hne].
    + now rewrite put_same.
    + rewrite put_other by auto. unfold T'. rewrite weight_now_token by lia.
      apply (c_weights_now _ _ I); auto; lia.
  - intros r Hn Hr i. rewrite in_add in Hn. rewrite !put_other by intuition.
    apply (c_same_weights _ _ I); [intuition |]. assert (r <> count T) by intuition. lia.
  - intros r Hn Hr c. destruct (Nat.eq_dec r (count T)) as [-> | Hne]; [now rewrite put_same |].
    rewrite put_other by auto. rewrite (c_same_values _ _ I) by (auto; lia).
    unfold full, T', with_token. simpl. now rewrite put_other.
  - intros i c Hi Ht. destruct (Nat.eq_dec i (count T)) as [-> | Hin].
    { rewrite put_same in Ht. discriminate. }
    rewrite put_other in Ht by auto. rewrite !put_same, Rmult_0_l, Rplus_0_r.
    transitivity (c_sums s i c + c_waiting s i c); [reflexivity |].
    rewrite (c_base _ _ I) by (auto; lia).
    apply fsum_ext. intros r Hr. now rewrite !put_other by lia.
  - apply distinct_add; [| lia]. apply distinct_more, I.
  - apply distinct_more, I.
  - pose proof (c_front_range _ _ I). lia.
Qed.

Lemma c_advance_exact T rows s : cached_exact T s -> cached_exact T (c_advance rows s).
Proof.
  intros I. pose proof (c_front_range _ _ I). constructor; simpl; try apply I; [| lia].
  intros i c Hi Ht. rewrite <- (c_base _ _ I i c Hi Ht). unfold c_waiting, c_waits. simpl.
  set (stop := Nat.min (c_front s + rows) (c_end s)).
  destruct (Nat.leb_spec (c_front s) i), (Nat.ltb_spec i stop), (Nat.leb_spec stop i),
    (Nat.ltb_spec i (c_end s)); simpl; try lia; ring.
Qed.

(** With no rebuild under way. *)
Lemma c_idle T s : cached_exact T s -> c_end s = 0%nat -> c_front s = c_end s.
Proof. intros I E. pose proof (c_front_range _ _ I). lia. Qed.

Lemma c_rebuild_exact T s : cached_exact T s -> c_front s = c_end s ->
  cached_exact T (c_rebuild T s).
Proof.
  intros I Hf. pose proof (c_rows _ _ I).
  constructor; simpl; auto; try apply I; try apply distinct_nil.
  - intros i c Hi Ht. rewrite <- (pairs_exact T s i c I Hi), <- (c_base _ _ I i c Hi Ht).
    unfold c_waiting, c_waits. simpl. rewrite Hf.
    destruct (Nat.leb_spec (c_end s) i), (Nat.ltb_spec i (c_end s)); try lia;
      destruct sliced; simpl; try (destruct (Nat.ltb_spec i (count T)); [| lia]); ring.
  - destruct sliced; lia.
Qed.

(** ** What is pending, and how far the rebuild under way has come *)

(** Slices keep up with the pairs that become pending, so none is left when those are frozen. *)
Definition c_paced (s : cached) : Prop :=
  (c_pending s < limit)%nat /\ (sliced = false -> c_end s = 0%nat) /\
  (Nat.min (slice (c_end s) * c_pending s) (c_end s) <= c_front s)%nat.

(** s' is what an edit, which adds a pair at most, makes of s. *)
Definition c_follows (s s' : cached) : Prop :=
  (c_pending s' <= S (c_pending s))%nat /\ c_front s' = c_front s /\ c_end s' = c_end s.

Lemma c_advance_done s s' : c_paced s -> c_follows s s' -> (limit <= c_pending s')%nat ->
  c_front (c_advance (slice (c_end s')) s') = c_end s'.
Proof.
  intros (P & _ & K) (F1 & F2 & F3) L. simpl. rewrite F2, F3 in *.
  pose proof (slice_enough (c_end s)).
  assert (slice (c_end s) * limit <= slice (c_end s) * c_pending s + slice (c_end s))%nat by nia.
  lia.
Qed.

Lemma c_settle_paced T s s' : cached_exact T s' -> c_paced s -> c_follows s s' ->
  cached_exact T (c_settle T s') /\ c_paced (c_settle T s').
Proof.
  intros I P F. pose proof (c_advance_done s s' P F) as D. unfold c_settle.
  assert (J : cached_exact T (c_advance (slice (c_end s')) s')) by (apply c_advance_exact; auto).
  change (c_pending (c_advance (slice (c_end s')) s')) with (c_pending s').
  destruct P as (P1 & P2 & P3), F as (F1 & F2 & F3).
  destruct (Nat.leb_spec limit (c_pending s')) as [L | L].
  - split; [apply c_rebuild_exact; auto |]. unfold c_paced, c_pending. simpl.
    split; [lia | split; [now destruct sliced | lia]].
  - split; auto. split; auto. simpl. rewrite F3. split; auto.
    change (c_pending (c_advance (slice (c_end s)) s')) with (c_pending s'). rewrite F2.
    assert (slice (c_end s) * c_pending s' <= slice (c_end s) * c_pending s + slice (c_end s))%nat
      by nia.
    lia.
Qed.

Lemma c_build_paced T room : c_paced (c_build T room).
Proof. unfold c_paced, c_pending. simpl. repeat split; auto; lia. Qed.

(** ** Every edit *)

Lemma logit_plus T i t l x : (l < dimension)%nat ->
  logit T i (plus_entry (keys T t) l x) = logit T i (keys T t) + x * queries T i l.
Proof.
  intros Hl. unfold logit.
  rewrite (fsum_put dimension (fun m => queries T i m * keys T t m) _ l Hl).
  - unfold plus_entry. rewrite put_same. ring.
  - intros m _ Hm. unfold plus_entry. now rewrite put_other.
Qed.

(** An update of a key names a column that is there. *)
Definition in_columns (e : edit) : Prop :=
  match e with UpdateKey _ j _ => (j < dimension)%nat | _ => True end.

Lemma weight_now_key T t row sh r i : r <> t ->
  weight_now (with_key T t row) sh r i = weight_now T sh r i.
Proof. intros H. unfold weight_now, weight_shifted. simpl. now rewrite put_other. Qed.

Lemma weight_now_query T t row sh r i : i <> t ->
  weight_now (with_query T t row) sh r i = weight_now T sh r i.
Proof. intros H. unfold weight_now, weight_shifted, logit. simpl. now rewrite put_other. Qed.

Lemma c_query_exact T s t row : cached_exact T s ->
  cached_exact (with_query T t row) (c_distrust s t).
Proof.
  intros I. constructor; simpl; try apply I.
  - intros i r Hi Ht Hr. unfold put in Ht. destruct (Nat.eqb_spec i t); [discriminate |].
    rewrite weight_now_query by auto. apply (c_weights_now _ _ I); auto.
  - intros i c Hi Ht. unfold put in Ht. destruct (Nat.eqb i t); [discriminate |].
    apply (c_base _ _ I); auto.
Qed.

Lemma pending_key s t w : (c_pending (c_use s t w) <= S (c_pending s))%nat.
Proof. unfold c_pending. simpl. pose proof (length_add t (c_keys s)). lia. Qed.

Lemma pending_value s t : (c_pending (c_use_value s t) <= S (c_pending s))%nat.
Proof. unfold c_pending. simpl. pose proof (length_add t (c_values s)). lia. Qed.

Lemma c_edit_exact T s e : in_columns e -> accepted T e = true ->
  cached_exact T s -> c_paced s ->
  cached_exact (edited T e) (c_edit T s e) /\ c_paced (c_edit T s e).
Proof.
  intros Hcol Ha I P. unfold c_edit, c_change, edited. rewrite Ha.
  assert (K : forall t w, c_follows s (c_use s t w))
    by (intros; split; [apply pending_key | auto]).
  assert (L : forall t, c_follows s (c_use_value s t))
    by (intros; split; [apply pending_value | auto]).
  destruct e as [t j x | t j x | t j x | t row | t row | t row | q k v | t]; cbn [accepted] in Ha;
    try (apply live_range in Ha as [Hlt Hal]).
  - split; [apply c_query_exact; auto | exact P].
  - apply (c_settle_paced _ s); auto.
    apply (c_use_exact T); auto.
    + intros. apply weight_now_key; auto.
    + intros i Hi Ht. rewrite (c_weights_now _ _ I) by auto.
      unfold weight_now, weight_shifted. simpl. rewrite put_same, Hal.
      destruct (sees causal i t); [| ring]. rewrite <- exp_plus. f_equal.
      change (logit (with_key T t (plus_entry (keys T t) j x)) i) with (logit T i).
      rewrite logit_plus by exact Hcol. ring.
  - apply (c_settle_paced _ s); auto.
    apply c_use_value_exact; auto.
  - split; [apply c_query_exact; auto | exact P].
  - apply (c_settle_paced _ s); auto.
    apply (c_use_exact T); auto. intros. apply weight_now_key; auto.
  - apply (c_settle_paced _ s); auto.
    apply c_use_value_exact; auto.
  - set (s' := if Nat.ltb (count T) (c_room s) then s else c_build T (count T + count T / 8 + 8)).
    assert (J : cached_exact T s' /\ c_paced s' /\ (count T < c_room s')%nat).
    { unfold s'. destruct (Nat.ltb_spec (count T) (c_room s)); [auto |].
      split; [apply c_build_exact; lia | split; [apply c_build_paced | simpl; lia]]. }
    destruct J as (J & Q & Hroom).
    apply (c_settle_paced _ s'); auto.
    + apply (c_append_exact T s'); auto.
    + unfold c_follows, c_pending. simpl. pose proof (length_add (count T) (c_keys s')). lia.
  - apply andb_prop in Ha as [Ha _]. apply live_range in Ha as [Hlt Hal].
    apply (c_settle_paced _ s); auto.
    apply (c_use_exact T); auto; intros; unfold weight_now; simpl;
      [now rewrite put_other | now rewrite put_same].
Qed.

End Cached.
