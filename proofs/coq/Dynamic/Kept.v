(** Keeping A = exp (Q K^T) and D, and nothing else (claim P1.kept).

    [k_weights] is A, 0 where a row does not see a token or the token is evicted; [k_sums] is the
    diagonal of D.  An update of an entry of K replaces one column of A: a weight is multiplied by
    exp (q delta).  An entry of attention is one inner product of a row of A and a column of V, over
    the denominator.

    Steps: (1) every edit keeps A what it is, entry by entry; (2) so D changes by one term of each
    sum; (3) induction on the list of edits; (4) products are counted while they are taken. *)

Require Import Reals Lra Lia List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Tally.
From Attest.Dynamic Require Import Tokens.
Import ListNotations.
Open Scope R_scope.

Record kept : Type := Kept { k_weights : nat -> nat -> R; k_sums : nat -> R }.

Section Keeping.

Variables (dimension : nat) (causal : bool).

(** The weight of a token in a row: nothing once the token is evicted. *)
Definition seen_weight (T : tokens) (i s : nat) : R :=
  if alive T s then weight dimension causal T i s else 0.

Definition k_build (T : tokens) : kept :=
  Kept (seen_weight T) (fun i => fsum (count T) (seen_weight T i)).

(** A column of A replaced. *)
Definition k_column (s : kept) (t : nat) (w : nat -> R) : kept :=
  Kept (fun i => put (k_weights s i) t (w i)) (fun i => k_sums s i + (w i - k_weights s i t)).

(** A row of A replaced, of n tokens. *)
Definition k_row (s : kept) (n t : nat) (w : nat -> R) : kept :=
  Kept (put (k_weights s) t w) (put (k_sums s) t (fsum n w)).

(** A token after n others: a column, and a row. *)
Definition k_append (s : kept) (n : nat) (column row : nat -> R) : kept :=
  k_row (Kept (fun i => put (k_weights s i) n (column i)) (fun i => k_sums s i + column i))
    (S n) n row.

(** The new weight of token t in row i, as delta is added to entry j of its key. *)
Definition new_weight (T : tokens) (s : kept) (t j : nat) (delta : R) (i : nat) : tally :=
  times (given (k_weights s i t)) (exponential (times (given (queries T i j)) (given delta))).

(** What an edit that is accepted makes of A and D. *)
Definition k_edit (T : tokens) (s : kept) (e : edit) : kept :=
  let now := seen_weight (edited T e) in
  match e with
  | UpdateKey t j delta => k_column s t (fun i => value (new_weight T s t j delta i))
  | SetKey t _ => k_column s t (fun i => now i t)
  | Evict t => k_column s t (fun _ => 0)
  | UpdateQuery t _ _ | SetQuery t _ => k_row s (count T) t (now t)
  | UpdateValue _ _ _ | SetValue _ _ => s
  | Append _ _ _ => k_append s (count T) (fun i => now i (count T)) (now (count T))
  end.

Fixpoint k_run (T : tokens) (s : kept) (es : list edit) : tokens * kept :=
  match es with
  | [] => (T, s)
  | e :: rest => k_run (edited T e) (if accepted T e then k_edit T s e else s) rest
  end.

(** The numerator of entry (i, j), and the entry. *)
Definition k_numerator (T : tokens) (s : kept) (i j : nat) : tally :=
  inner (count T) (k_weights s i) (fun u => values T u j).
Definition k_entry (T : tokens) (s : kept) (i j : nat) : R :=
  value (k_numerator T s i j) / k_sums s i.

(** * It is what it says *)

Definition kept_exact (T : tokens) (s : kept) : Prop :=
  forall i, (i < count T)%nat ->
    (forall u, (u < count T)%nat -> k_weights s i u = seen_weight T i u) /\
    k_sums s i = fsum (count T) (seen_weight T i).

Lemma k_build_exact T : kept_exact T (k_build T).
Proof. intros i Hi. split; auto. Qed.

Lemma column_exact T T' s t w : kept_exact T s -> count T' = count T -> (t < count T)%nat ->
  (forall i, (i < count T)%nat -> w i = seen_weight T' i t) ->
  (forall i u, u <> t -> seen_weight T' i u = seen_weight T i u) ->
  kept_exact T' (k_column s t w).
Proof.
  intros I C Ht Hw Ho i Hi. rewrite C in *. destruct (I i Hi) as [Hu Hd]. split.
  - intros u Hu'. simpl. unfold put. destruct (Nat.eqb_spec u t) as [-> | Hne]; [auto |].
    rewrite Ho by auto. auto.
  - simpl. rewrite Hd, (fsum_put _ (seen_weight T i) (seen_weight T' i) t Ht) by auto.
    rewrite Hw, Hu by auto. reflexivity.
Qed.

Lemma row_exact T T' s t : kept_exact T s -> count T' = count T ->
  (forall i u, i <> t -> seen_weight T' i u = seen_weight T i u) ->
  kept_exact T' (k_row s (count T) t (seen_weight T' t)).
Proof.
  intros I C Ho i Hi. rewrite C in *. destruct (I i Hi) as [Hu Hd]. unfold k_row, put. simpl.
  destruct (Nat.eqb_spec i t) as [-> | Hne]; [split; auto |]. split.
  - intros u Hu'. rewrite Ho by auto. auto.
  - rewrite Hd. apply fsum_ext. intros. now rewrite Ho.
Qed.

Lemma other_key T t row i u : u <> t ->
  seen_weight (with_key T t row) i u = seen_weight T i u.
Proof.
  intros H. unfold seen_weight, weight, score, with_key. simpl. now rewrite put_other.
Qed.

Lemma other_query T t row i u : i <> t ->
  seen_weight (with_query T t row) i u = seen_weight T i u.
Proof.
  intros H. unfold seen_weight, weight, score, with_query. simpl. now rewrite put_other.
Qed.

(** Columns of the keys, which updates change. *)
Definition in_column (e : edit) : Prop :=
  match e with UpdateKey _ j _ => (j < dimension)%nat | _ => True end.

Lemma k_edit_exact T s e : in_column e -> accepted T e = true -> kept_exact T s ->
  kept_exact (edited T e) (k_edit T s e).
Proof.
  intros V A I. unfold k_edit, edited. rewrite A. unfold edited in *.
  destruct e as [t j x | t j x | t j x | t row | t row | t row | q k v | t]; simpl in A, V.
  - apply row_exact; auto. intros. now apply other_query.
  - apply live_range in A as [Ht Ha]. apply (column_exact T); auto.
    + intros i Hi. destruct (I i Hi) as [Hu _]. simpl. rewrite Hu by auto.
      unfold seen_weight, weight, with_key. simpl. rewrite Ha.
      destruct (sees causal i t); [| ring]. rewrite <- exp_plus. f_equal. unfold score. simpl.
      rewrite put_same. unfold plus_entry.
      rewrite (fsum_put dimension (fun l => queries T i l * keys T t l)
        (fun l => queries T i l * put (keys T t) j (keys T t j + x) l) j V).
      * rewrite put_same. ring.
      * intros l _ Hl. now rewrite put_other.
    + intros. now apply other_key.
  - intros i Hi. exact (I i Hi).
  - apply row_exact; auto. intros. now apply other_query.
  - apply live_range in A as [Ht Ha]. apply (column_exact T); auto.
    intros. now apply other_key.
  - intros i Hi. exact (I i Hi).
  - set (T' := with_token T q k v).
    assert (O : forall i u, i <> count T -> u <> count T ->
      seen_weight T' i u = seen_weight T i u).
    { intros i u Hi Hu. unfold seen_weight, weight, score, T', with_token. simpl.
      now rewrite !put_other. }
    intros i Hi. change (count T') with (S (count T)) in *. unfold k_append, k_row, put. simpl.
    destruct (Nat.eqb_spec i (count T)) as [-> | Hne]; [split; auto |].
    destruct (I i ltac:(lia)) as [Hu Hd]. split.
    + intros u Hu'. destruct (Nat.eqb_spec u (count T)) as [-> | Hn]; [auto |].
      rewrite O by auto. apply Hu. lia.
    + rewrite Hd. f_equal. apply fsum_ext. intros u Hlt. symmetry. apply O; lia.
  - apply andb_prop in A as [A _]. apply live_range in A as [Ht Ha].
    apply (column_exact T); auto.
    + intros i Hi. unfold seen_weight, without. simpl. now rewrite put_same.
    + intros i u Hne. unfold seen_weight, weight, score, without. simpl. now rewrite put_other.
Qed.

Lemma k_run_exact es : forall T s, Forall in_column es -> kept_exact T s ->
  kept_exact (fst (k_run T s es)) (snd (k_run T s es)) /\
  fst (k_run T s es) = fold_left edited es T.
Proof.
  induction es as [| e es IH]; intros T s V I; simpl; auto.
  inversion V; subst. apply IH; auto. destruct (accepted T e) eqn:A.
  - apply k_edit_exact; auto.
  - unfold edited. now rewrite A.
Qed.

Lemma sums_of_seen T i c :
  sums_of dimension causal T i c
  = fsum (count T) (fun u => seen_weight T i u * match c with O => 1 | S j => values T u j end).
Proof.
  unfold sums_of. apply fsum_ext. intros u _. unfold seen_weight, extended.
  destruct (alive T u); ring.
Qed.

Lemma k_entry_exact T s i j : kept_exact T s -> live T i = true ->
  k_entry T s i j = attention_of dimension causal T i j.
Proof.
  intros I H. apply live_range in H as [Hi _]. destruct (I i Hi) as [Hu Hd].
  unfold k_entry, k_numerator, attention_of. rewrite inner_value, Hd, !sums_of_seen. f_equal.
  - apply fsum_ext. intros u Hlt. now rewrite Hu.
  - apply fsum_ext. intros. ring.
Qed.

(** * P1.kept *)

(** After any list of edits every entry of a live row is the definition's, and its denominator is
    positive. *)
Theorem p1_kept_correct T es i j : Forall in_column es ->
  let state := k_run T (k_build T) es in
  live (fst state) i = true ->
  fst state = fold_left edited es T /\ 0 < k_sums (snd state) i /\
  Rabs (k_entry (fst state) (snd state) i j
        - attention_of dimension causal (fold_left edited es T) i j) <= b_kept_error.
Proof.
  intros V state H. destruct (k_run_exact es T (k_build T) V (k_build_exact T)) as [I E].
  fold state in I, E. split; [exact E | split].
  - destruct (live_range _ _ H) as [Hi _]. destruct (I i Hi) as [_ ->].
    pose proof (p1_denominator dimension causal _ i H) as D. rewrite sums_of_seen in D.
    rewrite (fsum_ext _ _ (fun u => seen_weight (fst state) i u * 1)) by (intros; ring).
    exact D.
  - rewrite <- E, k_entry_exact by auto. rewrite Rminus_diag_eq, Rabs_R0 by reflexivity.
    unfold b_kept_error. lra.
Qed.

(** The products of an edit of an entry of K or V: those of a column of new weights. *)
Definition k_edit_products (T : tokens) (s : kept) (e : edit) : nat :=
  match e with
  | UpdateKey t j delta =>
      if accepted T e then products (total (count T) (new_weight T s t j delta)) else 0
  | _ => 0
  end.

Definition of_entries (e : edit) : Prop :=
  match e with UpdateKey _ _ _ | UpdateValue _ _ _ => True | _ => False end.

Lemma new_weights T s t j delta :
  products (total (count T) (new_weight T s t j delta)) = (count T * 2)%nat.
Proof. apply total_of_products. reflexivity. Qed.

Theorem p1_kept_update T s e : of_entries e ->
  INR (k_edit_products T s e) <= b_kept_update_products (count T).
Proof.
  intros _. unfold b_kept_update_products. pose proof (pos_INR (count T)) as P.
  destruct e; simpl; try lra. destruct (live T token); simpl; [| lra].
  rewrite new_weights, mult_INR. simpl. lra.
Qed.

Theorem p1_kept_update_attained T s t j delta : live T t = true ->
  INR (k_edit_products T s (UpdateKey t j delta)) = b_kept_update_products (count T).
Proof.
  intros A. simpl. rewrite A, new_weights, mult_INR. unfold b_kept_update_products. simpl. ring.
Qed.

Theorem p1_kept_entry T s i j :
  INR (products (k_numerator T s i j)) = b_kept_entry_products (count T).
Proof. unfold k_numerator, b_kept_entry_products. now rewrite inner_products. Qed.

End Keeping.
