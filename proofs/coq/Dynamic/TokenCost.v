(** What whole keys and rows take, and how many exponentials (claims P1.tokens, P1.exponentials).

    Counted while they are computed ([tally]): a weight from the definition is an inner product of d
    terms and one exponential; a weight that is changed by a factor one exponential; a row all its
    weights and then v + 1 sums of n products.

    Steps: each number is computed by a program on tallies, whose value is what the structures of
    Cached.v and Slots.v hold, and whose count is read off. *)

Require Import Reals Lra Lia List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Tally.
From Attest.Dynamic Require Import Tokens Pending Cached Slots DynamicCost.
Import ListNotations.
Open Scope R_scope.

Section Cost.

Context {options : settings}.

(** The weight of a key in row i, from the definition. *)
Definition defined_weight (T : tokens) (shift : R) (t : nat) (key : nat -> R) (i : nat) : tally :=
  masked (sees causal i t) (exponential (less (inner dimension (queries T i) key) shift)).

Lemma defined_weight_value T shift t key i :
  value (defined_weight T shift t key i) = weight_shifted T shift t key i.
Proof. unfold defined_weight, weight_shifted, logit. simpl. now rewrite inner_value. Qed.

Lemma defined_weight_products T shift t key i :
  products (defined_weight T shift t key i) = dimension.
Proof. apply inner_products. Qed.

Lemma defined_weight_exponentials T shift t key i :
  exponentials (defined_weight T shift t key i) = 1%nat.
Proof. unfold defined_weight. simpl. now rewrite inner_exponentials. Qed.

(** * Whole keys *)

(** The new column of a token whose key is replaced. *)
Definition key_column (T : tokens) (s : cached) (t : nat) (row : nat -> R) (i : nat) : tally :=
  defined_weight T (c_shift s i) t row i.

(** A key that is replaced: the column is the one that the structure takes, n d products. *)
Theorem p1_tokens_key T s t row :
  (forall i, alive T t = true -> value (key_column T s t row i)
     = weight_now (with_key T t row) (c_shift s i) t i) /\
  INR (products (total (count T) (key_column T s t row))) = b_key_products (count T) dimension.
Proof.
  split.
  - intros i A. unfold key_column. rewrite defined_weight_value.
    unfold weight_now, weight_shifted, logit, with_key. simpl. now rewrite A, put_same.
  - unfold b_key_products. rewrite (total_of_products _ _ dimension)
      by (intros; apply defined_weight_products). rewrite mult_INR. ring.
Qed.

(** It is what DynamicCost.v charges for the edit, rebuilds apart. *)
Theorem p1_tokens_charged T s t row :
  change_products T (SetKey t row) = products (total (count T) (key_column T s t row)).
Proof.
  rewrite (total_of_products _ _ dimension) by (intros; apply defined_weight_products).
  reflexivity.
Qed.

(** * Whole rows *)

(** Row i from the definition: its weights, then a sum for each column of values and one more. *)
Definition row_weight (T : tokens) (shift : R) (i t : nat) : tally :=
  defined_weight T shift t (keys T t) i.
Definition row_sum (T : tokens) (shift : R) (i c : nat) : tally :=
  inner (count T) (fun t => value (row_weight T shift i t)) (fun t => extended T t c).
Definition row_cost (T : tokens) (columns : nat) (shift : R) (i : nat) : nat :=
  (products (total (count T) (row_weight T shift i))
   + products (total (columns + 1) (row_sum T shift i)))%nat.

Theorem p1_tokens_row T columns shift i :
  (forall c, value (row_sum T shift i c) = exp (- shift) * sums_of dimension causal T i c) /\
  INR (row_cost T columns shift i) = b_refresh_products (count T) dimension columns.
Proof.
  split.
  - intros c. unfold row_sum. rewrite inner_value, <- sums_extended. apply fsum_ext. intros t _.
    unfold row_weight. now rewrite defined_weight_value.
  - unfold row_cost, b_refresh_products.
    rewrite (total_of_products _ _ dimension) by (intros; apply defined_weight_products).
    rewrite (total_of_products _ _ (count T)) by (intros; apply inner_products).
    rewrite plus_INR, !mult_INR, plus_INR. simpl (INR 1). ring.
Qed.

(** * Exponentials *)

(** A weight that delta in entry j of the key multiplies by a factor. *)
Definition factored_weight (T : tokens) (s : cached) (t j : nat) (delta : R) (i : nat) : tally :=
  times (given (c_weights s t i)) (exponential (times (given (queries T i j)) (given delta))).

(** The exponentials of an edit of an entry. *)
Definition edit_exponentials (T : tokens) (s : cached) (e : edit) : nat :=
  match e with
  | UpdateKey t j delta =>
      if accepted T e then exponentials (total (count T) (factored_weight T s t j delta)) else 0
  | _ => 0
  end.

Lemma factored_weights T s t j delta :
  exponentials (total (count T) (factored_weight T s t j delta)) = count T /\
  products (total (count T) (factored_weight T s t j delta)) = (2 * count T)%nat.
Proof.
  split; [rewrite (total_exponentials _ _ 1%nat) by reflexivity
    | rewrite (total_of_products _ _ 2%nat) by reflexivity]; lia.
Qed.

(** The factor is what the change of the key makes of a weight that was right. *)
Theorem p1_exponentials_factor T s t j delta i : (j < dimension)%nat -> alive T t = true ->
  c_weights s t i = weight_now T (c_shift s i) t i ->
  value (factored_weight T s t j delta i)
    = weight_now (with_key T t (plus_entry (keys T t) j delta)) (c_shift s i) t i.
Proof.
  intros J A E. unfold factored_weight. simpl. rewrite E.
  unfold weight_now, weight_shifted, logit, with_key. simpl. rewrite A, put_same.
  destruct (sees causal i t); [| ring]. rewrite <- exp_plus. f_equal. unfold plus_entry.
  rewrite (fsum_put dimension (fun l => queries T i l * keys T t l)
    (fun l => queries T i l * put (keys T t) j (keys T t j + delta) l) j J).
  - rewrite put_same. ring.
  - intros l _ Hl. now rewrite put_other.
Qed.

Theorem p1_exponentials_update T s t j delta e : e = UpdateKey t j delta \/ e = UpdateValue t j delta ->
  INR (edit_exponentials T s e) <= b_update_exponentials (count T).
Proof.
  unfold b_update_exponentials. pose proof (pos_INR (count T)).
  intros [-> | ->]; simpl; [| lra]. destruct (live T t); [| simpl; lra].
  rewrite (proj1 (factored_weights T s t j delta)). lra.
Qed.

(** A read where slots are pending: both weights of each, from the definition. *)
Definition slot_weights (T : tokens) (shift : R) (i : nat) (x : slot) : tally :=
  plus (defined_weight T shift (slot_token x) (new_key x) i)
       (defined_weight T shift (slot_token x) (old_key x) i).

Theorem p1_exponentials_slots T s i :
  INR (exponentials (totals (map (slot_weights T (s_shift s i) i) (pending_slots T s))))
    = b_slot_exponentials (s_pending s).
Proof.
  rewrite (totals_exponentials _ 2%nat).
  - unfold b_slot_exponentials, pending_slots, s_pending. rewrite !map_length, mult_INR.
    simpl (INR 2). ring.
  - apply Forall_forall. intros a H. apply in_map_iff in H. destruct H as (x & <- & _).
    unfold slot_weights, plus. cbn [exponentials]. now rewrite !defined_weight_exponentials.
Qed.

End Cost.
