(** Attention of tokens that change: the definition and the edits (claim P1.problem).

    Token s has a query, a key and a value of [dimension] and any number of entries; row i sees
    token s if s <= i or nothing is masked, and an evicted token is seen by no row.  Attention is
      sum_s exp (q_i . k_s) v_s / sum_s exp (q_i . k_s)   over the tokens s that row i sees.
    Values are extended by a column of ones, column 0, so that both sums are one product.

    An edit that is refused (an index out of range, a token evicted before, the last one) leaves
    the tokens as they are; all other edits are carried out. *)

Require Import Reals Lra List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax.
Import ListNotations.
Open Scope R_scope.

(** f, but x at i *)
Definition put {A : Type} (f : nat -> A) (i : nat) (x : A) : nat -> A :=
  fun j => if Nat.eqb j i then x else f j.

Lemma put_same A (f : nat -> A) i x : put f i x i = x.
Proof. unfold put. now rewrite Nat.eqb_refl. Qed.

Lemma put_other A (f : nat -> A) i x j : j <> i -> put f i x j = f j.
Proof. unfold put. now destruct (Nat.eqb_spec j i). Qed.

(** A sum of which one term changes. *)
Lemma fsum_put n f g i : (i < n)%nat -> (forall j, (j < n)%nat -> j <> i -> g j = f j) ->
  fsum n g = fsum n f + (g i - f i).
Proof.
  intros Hi H. pose proof (fsum_one n i (g i - f i) 0 Hi) as E. rewrite Rmult_0_r, Rplus_0_r in E.
  rewrite <- E, <- fsum_plus. apply fsum_ext. intros j Hj.
  destruct (Nat.eqb_spec j i) as [-> |]; [ring | rewrite H; auto; ring].
Qed.

Record tokens : Type := Tokens {
  count : nat;
  alive : nat -> bool;
  queries : nat -> nat -> R;
  keys : nat -> nat -> R;
  values : nat -> nat -> R
}.

Inductive edit : Type :=
| UpdateQuery (token column : nat) (delta : R)
| UpdateKey (token column : nat) (delta : R)
| UpdateValue (token column : nat) (delta : R)
| SetQuery (token : nat) (row : nat -> R)
| SetKey (token : nat) (row : nat -> R)
| SetValue (token : nat) (row : nat -> R)
| Append (query key value : nat -> R)
| Evict (token : nat).

Section Definition_of_attention.

Variables (dimension : nat) (causal : bool).

(** * The definition *)

Definition score (T : tokens) (i s : nat) : R :=
  fsum dimension (fun l => queries T i l * keys T s l).

(** Whether row i sees token s, evicted or not. *)
Definition sees (i s : nat) : bool := negb causal || Nat.leb s i.

Definition weight (T : tokens) (i s : nat) : R := if sees i s then exp (score T i s) else 0.

(** The value of token s after the one: nothing once it is evicted. *)
Definition extended (T : tokens) (s c : nat) : R :=
  if alive T s then match c with O => 1 | S j => values T s j end else 0.

(** Column 0 is the denominator. *)
Definition sums_of (T : tokens) (i c : nat) : R :=
  fsum (count T) (fun s => weight T i s * extended T s c).

Definition attention_of (T : tokens) (i j : nat) : R := sums_of T i (S j) / sums_of T i 0.

Definition live (T : tokens) (s : nat) : bool := Nat.ltb s (count T) && alive T s.

(** * The edits *)

Definition with_query T i row :=
  Tokens (count T) (alive T) (put (queries T) i row) (keys T) (values T).
Definition with_key T s row :=
  Tokens (count T) (alive T) (queries T) (put (keys T) s row) (values T).
Definition with_value T s row :=
  Tokens (count T) (alive T) (queries T) (keys T) (put (values T) s row).
Definition with_token T query key value :=
  let s := count T in
  Tokens (S s) (put (alive T) s true) (put (queries T) s query) (put (keys T) s key)
    (put (values T) s value).
Definition without T s :=
  Tokens (count T) (put (alive T) s false) (queries T) (keys T) (values T).

(** [row] with delta added to entry j *)
Definition plus_entry (row : nat -> R) (j : nat) (delta : R) : nat -> R :=
  put row j (row j + delta).

Definition accepted (T : tokens) (e : edit) : bool :=
  match e with
  | UpdateQuery s _ _ | UpdateKey s _ _ | UpdateValue s _ _
  | SetQuery s _ | SetKey s _ | SetValue s _ => live T s
  | Append _ _ _ => true
  | Evict s => live T s && existsb (fun r => alive T r && negb (Nat.eqb r s)) (seq 0 (count T))
  end.

Definition edited (T : tokens) (e : edit) : tokens :=
  if accepted T e then
    match e with
    | UpdateQuery s j x => with_query T s (plus_entry (queries T s) j x)
    | UpdateKey s j x => with_key T s (plus_entry (keys T s) j x)
    | UpdateValue s j x => with_value T s (plus_entry (values T s) j x)
    | SetQuery s row => with_query T s row
    | SetKey s row => with_key T s row
    | SetValue s row => with_value T s row
    | Append q k v => with_token T q k v
    | Evict s => without T s
    end
  else T.

Lemma live_range T s : live T s = true -> (s < count T)%nat /\ alive T s = true.
Proof.
  unfold live. intros H. apply andb_prop in H as [H1 H2]. split; auto. now apply Nat.ltb_lt.
Qed.

(** The denominator of a live row is positive: its own token is seen. *)
Theorem p1_denominator T i : live T i = true -> 0 < sums_of T i 0.
Proof.
  intros H. apply live_range in H as [Hi Ha]. unfold sums_of.
  apply Rlt_le_trans with (weight T i i * extended T i 0).
  - unfold weight, sees, extended. rewrite Nat.leb_refl, orb_true_r, Ha.
    pose proof (exp_pos (score T i i)). lra.
  - apply (fsum_term (count T) (fun s => weight T i s * extended T s 0)); auto. intros s _.
    unfold weight, extended. pose proof (exp_pos (score T i s)).
    destruct (sees i s), (alive T s); lra.
Qed.

(** An answer is an average of values that its row sees. *)
Theorem p1_average T i j largest : live T i = true ->
  (forall s, (s < count T)%nat -> alive T s = true -> values T s j <= largest) ->
  attention_of T i j <= b_dynamic_average largest.
Proof.
  intros H Hv. unfold b_dynamic_average, attention_of. apply div_le; [apply p1_denominator; auto |].
  unfold sums_of. rewrite <- fsum_scale. apply fsum_le. intros s Hs. unfold extended, weight.
  pose proof (exp_pos (score T i s)).
  destruct (alive T s) eqn:A; [| lra]. specialize (Hv s Hs A). destruct (sees i s); nra.
Qed.

Theorem p1_average_attained T i j largest : live T i = true ->
  (forall s, (s < count T)%nat -> alive T s = true -> values T s j = largest) ->
  attention_of T i j = b_dynamic_average largest.
Proof.
  intros H Hv. unfold b_dynamic_average, attention_of. pose proof (p1_denominator T i H) as D.
  replace (sums_of T i (S j)) with (largest * sums_of T i 0); [field; lra |].
  unfold sums_of. rewrite <- fsum_scale. apply fsum_ext. intros s Hs. unfold extended.
  destruct (alive T s) eqn:A; [rewrite (Hv s Hs A) |]; ring.
Qed.

End Definition_of_attention.

(** With no mask and no eviction this is softmax attention. *)
Theorem p1_definition dimension T i j : (forall s, (s < count T)%nat -> alive T s = true) ->
  attention_of dimension false T i j
    = dot (count T) (softmax (count T) (score dimension T i)) (fun s => values T s j).
Proof.
  intros H. unfold attention_of, sums_of, dot, softmax, normalize, weight, sees, extended. simpl.
  rewrite <- fsum_div, (fsum_ext (count T) (fun s => exp (score dimension T i s) * _)
    (fun s => exp (score dimension T i s))) by (intros s Hs; rewrite H; auto; ring).
  apply fsum_ext. intros s Hs. rewrite H by auto. unfold Rdiv. ring.
Qed.
