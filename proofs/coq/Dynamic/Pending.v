(** Dynamic attention, what both of its strategies share (claim P1.correct).

    Both keep, of every row i that they trust, the numerators and the denominator that a *base*,
    old keys and values, gives, times exp (- shift i); what has changed since is pending.  Here:
    sums over the few tokens that have changed, the weight of a key in a row, and how many rows
    a slice of a rebuild treats. *)

Require Import Reals Lia List Arith.
From Attest.Foundations Require Import Sums.
From Attest.Dynamic Require Import Tokens.
Import ListNotations.
Open Scope R_scope.

(** * Sums over lists of tokens *)

Fixpoint list_sum (l : list nat) (f : nat -> R) : R :=
  match l with [] => 0 | t :: rest => f t + list_sum rest f end.

Lemma list_sum_ext l f g : (forall t, In t l -> f t = g t) -> list_sum l f = list_sum l g.
Proof. induction l; simpl; intros H; auto. rewrite IHl, H; auto. Qed.

(** Distinct tokens outside of which f is zero. *)
Definition distinct (n : nat) (l : list nat) : Prop := NoDup l /\ forall t, In t l -> (t < n)%nat.

Lemma list_sum_all n l : distinct n l -> forall f,
  (forall t, (t < n)%nat -> ~ In t l -> f t = 0) -> list_sum l f = fsum n f.
Proof.
  intros [Hd Hn]. induction Hd as [| a l Ha Hd IH]; intros f Hf; simpl.
  - symmetry. apply fsum_zero. intros. apply Hf; auto.
  - rewrite (fsum_put n (put f a 0) f a), put_same by
      (try apply Hn; simpl; auto; intros; now rewrite put_other).
    rewrite <- (IH ltac:(intros; apply Hn; simpl; auto) (put f a 0)).
    + rewrite (list_sum_ext l (put f a 0) f); [ring |].
      intros t Ht. apply put_other. intros ->. contradiction.
    + intros t Hlt Hni. destruct (Nat.eq_dec t a) as [-> | Hne]; [apply put_same |].
      rewrite put_other by auto. apply Hf; auto. simpl. intros [-> | H]; auto.
Qed.

(** l with t in it, once *)
Definition add (t : nat) (l : list nat) : list nat := if in_dec Nat.eq_dec t l then l else t :: l.

Lemma in_add t l s : In s (add t l) <-> s = t \/ In s l.
Proof. unfold add. destruct (in_dec Nat.eq_dec t l); simpl; intuition congruence. Qed.

Lemma distinct_add n t l : distinct n l -> (t < n)%nat -> distinct n (add t l).
Proof.
  intros [Hd Hn] Ht. split.
  - unfold add. destruct (in_dec Nat.eq_dec t l); auto. constructor; auto.
  - intros s Hs. apply in_add in Hs as [-> | Hs]; auto.
Qed.

Lemma length_add t l : (length (add t l) <= S (length l))%nat.
Proof. unfold add. destruct (in_dec Nat.eq_dec t l); simpl; lia. Qed.

Lemma distinct_more n l : distinct n l -> distinct (S n) l.
Proof. intros [Hd Hn]. split; auto. intros t Ht. specialize (Hn t Ht). lia. Qed.

Lemma distinct_nil n : distinct n [].
Proof. split; [constructor | intros t []]. Qed.

(** * The weights *)

(** Rebuilds are [sliced] or at once, when [limit] pairs or slots are pending.  The shift of a row
    that is computed anew may be any: the program takes the largest logit that the row sees. *)
Record settings : Type := Settings {
  dimension : nat;
  causal : bool;
  sliced : bool;
  limit : nat;
  new_shift : tokens -> nat -> R;
  limit_positive : (0 < limit)%nat
}.

Existing Class settings.
Arguments dimension {_}.
Arguments causal {_}.
Arguments sliced {_}.
Arguments limit {_}.
Arguments new_shift {_} T i.
Arguments limit_positive {_}.

Section Pending.

Context {options : settings}.
Let positive_limit : (0 < limit)%nat := limit_positive.

(** The value of a token after the one, evicted or not. *)
Definition full (T : tokens) (t c : nat) : R := match c with O => 1 | S j => values T t j end.

(** The logit of a key in row i. *)
Definition logit (T : tokens) (i : nat) (key : nat -> R) : R :=
  fsum dimension (fun l => queries T i l * key l).

(** The weight of a key in row i. *)
Definition weight_shifted (T : tokens) (shift : R) (t : nat) (key : nat -> R) (i : nat) : R :=
  if sees causal i t then exp (logit T i key - shift) else 0.

Definition weight_now (T : tokens) (shift : R) (t i : nat) : R :=
  if alive T t then weight_shifted T shift t (keys T t) i else 0.

Lemma shifted_weight T sh t i :
  weight_shifted T sh t (keys T t) i = exp (- sh) * weight dimension causal T i t.
Proof.
  unfold weight_shifted, weight. destruct (sees causal i t); [| ring].
  rewrite <- exp_plus. f_equal. unfold logit, score. ring.
Qed.

(** The sums of row i, in either of two forms. *)
Lemma sums_full T sh i c : fsum (count T) (fun t => weight_now T sh t i * full T t c)
  = exp (- sh) * sums_of dimension causal T i c.
Proof.
  unfold sums_of. rewrite <- fsum_scale. apply fsum_ext. intros t _.
  unfold weight_now, extended, full.
  destruct (alive T t); [rewrite shifted_weight; destruct c; ring | ring].
Qed.

Lemma sums_extended T sh i c :
  fsum (count T) (fun t => weight_shifted T sh t (keys T t) i * extended T t c)
  = exp (- sh) * sums_of dimension causal T i c.
Proof.
  unfold sums_of. rewrite <- fsum_scale. apply fsum_ext. intros t _. rewrite shifted_weight. ring.
Qed.

(** Rows that a slice of a rebuild treats, of so many tokens. *)
Definition slice (n : nat) : nat := ((n + limit - 1) / limit)%nat.

Lemma slice_enough n : (n <= slice n * limit)%nat.
Proof.
  unfold slice. pose proof (Nat.div_mod (n + limit - 1) limit ltac:(lia)).
  pose proof (Nat.mod_upper_bound (n + limit - 1) limit ltac:(lia)). nia.
Qed.

End Pending.
