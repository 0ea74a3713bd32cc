(** Sums over the elements of a list, and lengths of lists.

    What: [lsum f l] is the sum of f over l; it is linear and monotone, does not depend on the
    order, and over 0, ..., n - 1 it is [fsum n].  Lengths of filtered, mapped and flattened lists.
    How: induction on the list throughout. *)

Require Import Reals Lra Lia List Permutation.
From Attest.Foundations Require Import Sums.
Import ListNotations.
Open Scope R_scope.

(** * Sums *)

Definition lsum {A : Type} (f : A -> R) (l : list A) : R := fold_right Rplus 0 (map f l).

Lemma lsum_app {A} (f : A -> R) l l' : lsum f (l ++ l') = lsum f l + lsum f l'.
Proof. unfold lsum. induction l; simpl; lra. Qed.

Lemma lsum_map {A B} (f : B -> R) (g : A -> B) l : lsum f (map g l) = lsum (fun a => f (g a)) l.
Proof. unfold lsum. now rewrite map_map. Qed.

Lemma lsum_ext {A} (f g : A -> R) l : (forall a, In a l -> f a = g a) -> lsum f l = lsum g l.
Proof. intros H. unfold lsum. f_equal. apply map_ext_in, H. Qed.

Lemma lsum_scale {A} c (f : A -> R) l : lsum (fun a => c * f a) l = c * lsum f l.
Proof. unfold lsum. induction l; simpl; [ring | rewrite IHl; ring]. Qed.

Lemma lsum_plus {A} (f g : A -> R) l : lsum (fun a => f a + g a) l = lsum f l + lsum g l.
Proof. unfold lsum. induction l; simpl; lra. Qed.

Lemma lsum_nonneg {A} (f : A -> R) l : (forall a, In a l -> 0 <= f a) -> 0 <= lsum f l.
Proof.
  unfold lsum. induction l; simpl; intros H; [lra |].
  apply Rplus_le_le_0_compat; [apply H; auto | apply IHl; auto].
Qed.

Lemma lsum_abs_nonneg {A} (f : A -> R) l : 0 <= lsum (fun a => Rabs (f a)) l.
Proof. apply lsum_nonneg. intros. apply Rabs_pos. Qed.

Lemma lsum_le {A} (f g : A -> R) l : (forall a, In a l -> f a <= g a) -> lsum f l <= lsum g l.
Proof.
  unfold lsum. induction l; simpl; intros H; [lra |].
  apply Rplus_le_compat; [apply H; auto | apply IHl; auto].
Qed.

Lemma lsum_zero {A} (f : A -> R) l : (forall a, In a l -> f a = 0) -> lsum f l = 0.
Proof.
  intros H. unfold lsum. induction l as [| a l IH]; simpl; [reflexivity |].
  rewrite (H a), IH; [ring | intros; apply H; now right | now left].
Qed.

Lemma lsum_const {A} (c : R) (l : list A) : lsum (fun _ => c) l = INR (length l) * c.
Proof.
  induction l as [| a l IH]; [unfold lsum; simpl; ring |].
  cbn [length]. rewrite S_INR. unfold lsum in *. simpl. rewrite IH. ring.
Qed.

Lemma lsum_le_const (f : nat -> R) l c : (forall i, In i l -> f i <= c) ->
  lsum f l <= INR (length l) * c.
Proof. intros H. rewrite <- lsum_const. apply lsum_le. auto. Qed.

Lemma lsum_ge_const (f : nat -> R) l c : (forall i, In i l -> c <= f i) ->
  INR (length l) * c <= lsum f l.
Proof. intros H. rewrite <- lsum_const. apply lsum_le. auto. Qed.

Lemma lsum_flat_map {A B} (f : B -> R) (g : A -> list B) l :
  lsum f (flat_map g l) = lsum (fun a => lsum f (g a)) l.
Proof.
  induction l as [| a l IH]; [reflexivity |]. simpl flat_map. now rewrite lsum_app, IH.
Qed.

Lemma lsum_concat {A} (f : A -> R) l : lsum f (concat l) = lsum (lsum f) l.
Proof. induction l as [| a l IH]; [reflexivity |]. simpl concat. now rewrite lsum_app, IH. Qed.

Lemma lsum_products (f : R -> R) l l' : (forall x y, f (x * y) = f x * f y) ->
  lsum f (flat_map (fun x => map (Rmult x) l') l) = lsum f l * lsum f l'.
Proof.
  intros H. rewrite lsum_flat_map. induction l as [| a l IH]; [unfold lsum; simpl; ring |].
  unfold lsum in *. simpl. rewrite IH. fold (lsum f (map (Rmult a) l')). rewrite lsum_map.
  rewrite (lsum_ext _ (fun y => f a * f y)) by auto. rewrite lsum_scale. unfold lsum. ring.
Qed.

Lemma lsum_permutation {A} (f : A -> R) l l' : Permutation l l' -> lsum f l = lsum f l'.
Proof. unfold lsum. intros H. induction H; simpl; lra. Qed.

Lemma lsum_fsum {A} n (f : A -> nat -> R) l :
  lsum (fun a => fsum n (f a)) l = fsum n (fun j => lsum (fun a => f a j) l).
Proof.
  induction l as [| a l IH]; unfold lsum in *; simpl.
  - now rewrite fsum_zero.
  - now rewrite IH, <- fsum_plus.
Qed.

Lemma lsum_seq f n : lsum f (seq 0 n) = fsum n f.
Proof.
  induction n; [reflexivity |]. rewrite seq_S, lsum_app, IHn. unfold lsum. simpl. ring.
Qed.

Lemma lsum_all f n l : Permutation l (seq 0 n) -> lsum f l = fsum n f.
Proof. intros H. now rewrite (lsum_permutation _ _ _ H), lsum_seq. Qed.

(** * Lengths *)

Lemma length_flat_map {A B} (f : A -> list B) l :
  length (flat_map f l) = list_sum (map (fun a => length (f a)) l).
Proof. induction l; simpl; [auto |]. now rewrite app_length, IHl. Qed.

Lemma filter_length_le {A} (f g : A -> bool) l :
  (forall a, In a l -> f a = true -> g a = true) ->
  (length (filter f l) <= length (filter g l))%nat.
Proof.
  induction l as [| a l IH]; simpl; intros H; auto.
  specialize (IH (fun b Hb => H b (or_intror Hb))).
  destruct (f a) eqn:E; [rewrite (H a (or_introl eq_refl) E); simpl; lia |].
  destruct (g a); simpl; lia.
Qed.

Lemma filter_split_length {A} (f : A -> bool) l :
  (length (filter f l) + length (filter (fun a => negb (f a)) l) = length l)%nat.
Proof. induction l as [| a l IH]; simpl; auto. destruct (f a); simpl; lia. Qed.

Lemma filter_map_length {A B} (f : B -> bool) (g : A -> B) l :
  length (filter f (map g l)) = length (filter (fun a => f (g a)) l).
Proof. induction l as [| a l IH]; simpl; auto. destruct (f (g a)); simpl; auto. Qed.

Lemma lsum_exchange {A B} (la : list A) (lb : list B) (f : A -> B -> R) :
  lsum (fun a => lsum (f a) lb) la = lsum (fun b => lsum (fun a => f a b) la) lb.
Proof.
  induction la as [| a la IH].
  - symmetry. apply lsum_zero. reflexivity.
  - change (lsum (f a) lb + lsum (fun a => lsum (f a) lb) la
      = lsum (fun b => f a b + lsum (fun a => f a b) la) lb).
    now rewrite lsum_plus, IH.
Qed.
