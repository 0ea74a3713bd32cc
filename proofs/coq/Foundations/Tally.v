(** Numbers with what computing them took: so many products and so many exponentials.

    What: arithmetic on such numbers ([times], [exponential], sums that count what their terms
    take), and how much sums of terms of one price take.
    How: a number that is stored and used again is [given]: it costs nothing the second time. *)

Require Import Reals Lia List.
From Attest.Foundations Require Import Sums.
Import ListNotations.
Open Scope R_scope.

Record tally : Type := Tally { value : R; products : nat; exponentials : nat }.

(** A number that is at hand. *)
Definition given (x : R) : tally := Tally x 0 0.

Definition plus (a b : tally) : tally :=
  Tally (value a + value b) (products a + products b) (exponentials a + exponentials b).

Definition times (a b : tally) : tally :=
  Tally (value a * value b) (S (products a + products b)) (exponentials a + exponentials b).

(** A quotient, which counts as a product. *)
Definition over (a b : tally) : tally :=
  Tally (value a / value b) (S (products a + products b)) (exponentials a + exponentials b).

Definition exponential (a : tally) : tally :=
  Tally (exp (value a)) (products a) (S (exponentials a)).

Fixpoint total (n : nat) (f : nat -> tally) : tally :=
  match n with O => given 0 | S m => plus (total m f) (f m) end.

Lemma total_value n f : value (total n f) = fsum n (fun i => value (f i)).
Proof. induction n; simpl; congruence. Qed.

Lemma total_of_products n f p : (forall i, (i < n)%nat -> products (f i) = p) ->
  products (total n f) = (n * p)%nat.
Proof. induction n; simpl; intros H; auto. rewrite IHn, H by auto. lia. Qed.

Lemma total_exponentials n f p : (forall i, (i < n)%nat -> exponentials (f i) = p) ->
  exponentials (total n f) = (n * p)%nat.
Proof. induction n; simpl; intros H; auto. rewrite IHn, H by auto. lia. Qed.

(** An inner product. *)
Definition inner (n : nat) (x y : nat -> R) : tally :=
  total n (fun l => times (given (x l)) (given (y l))).

Lemma inner_value n x y : value (inner n x y) = fsum n (fun l => x l * y l).
Proof. apply total_value. Qed.

Lemma inner_products n x y : products (inner n x y) = n.
Proof. unfold inner. rewrite (total_of_products _ _ 1%nat) by auto. lia. Qed.

Lemma inner_exponentials n x y : exponentials (inner n x y) = 0%nat.
Proof. unfold inner. rewrite (total_exponentials _ _ 0%nat) by auto. lia. Qed.

(** What a matrix product of an n x k matrix and a k x m one takes, entry by entry. *)
Definition matrix_products (n k m : nat) (x y : nat -> nat -> R) : tally :=
  total n (fun i => total m (fun j => inner k (x i) (fun l => y l j))).

Lemma matrix_products_count n k m x y : products (matrix_products n k m x y) = (n * (m * k))%nat.
Proof.
  unfold matrix_products. apply total_of_products. intros i _. apply total_of_products. intros j _.
  apply inner_products.
Qed.

Lemma total_products_le n f p : (forall i, (i < n)%nat -> (products (f i) <= p)%nat) ->
  (products (total n f) <= n * p)%nat.
Proof.
  induction n; simpl; intros H; auto. specialize (IHn ltac:(auto)). specialize (H n ltac:(lia)). lia.
Qed.

(** The difference of a number and one at hand. *)
Definition less (a : tally) (x : R) : tally := Tally (value a - x) (products a) (exponentials a).

(** A number that is replaced by 0 once it is there. *)
Definition masked (b : bool) (a : tally) : tally :=
  Tally (if b then value a else 0) (products a) (exponentials a).

(** Over a list. *)
Fixpoint totals (l : list tally) : tally :=
  match l with [] => given 0 | a :: rest => plus a (totals rest) end.

Lemma totals_products l p : Forall (fun a => products a = p) l ->
  products (totals l) = (length l * p)%nat.
Proof. induction 1; simpl; congruence. Qed.

Lemma totals_exponentials l p : Forall (fun a => exponentials a = p) l ->
  exponentials (totals l) = (length l * p)%nat.
Proof. induction 1; simpl; congruence. Qed.
