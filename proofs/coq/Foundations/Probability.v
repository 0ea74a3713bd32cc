(** Probabilities as shares of a finite list of equally likely seeds.

    What: the expectation of f over a list, linear and monotone; lists of independent seeds, over
    which an expectation is taken one seed after the other; binomial coefficients at their ends. *)

Require Import Reals Lra Lia List.
From Attest.Foundations Require Import Sums Lists.
Import ListNotations.
Open Scope R_scope.

(** * Equally likely seeds *)

Definition expect {A : Type} (seeds : list A) (f : A -> R) : R :=
  lsum f seeds / INR (length seeds).

Definition probability {A : Type} (seeds : list A) (event : A -> bool) : R :=
  expect seeds (fun a => if event a then 1 else 0).

Lemma length_pos {A} (seeds : list A) : seeds <> [] -> 0 < INR (length seeds).
Proof. intros H. apply lt_0_INR. destruct seeds; [congruence | simpl; lia]. Qed.

Lemma expect_ext {A} seeds (f g : A -> R) : (forall a, In a seeds -> f a = g a) ->
  expect seeds f = expect seeds g.
Proof. intros H. unfold expect. f_equal. apply lsum_ext. auto. Qed.

Lemma expect_plus {A} seeds (f g : A -> R) :
  expect seeds (fun a => f a + g a) = expect seeds f + expect seeds g.
Proof. unfold expect. rewrite lsum_plus. unfold Rdiv. ring. Qed.

Lemma expect_scale {A} seeds c (f : A -> R) :
  expect seeds (fun a => c * f a) = c * expect seeds f.
Proof. unfold expect. rewrite lsum_scale. unfold Rdiv. ring. Qed.

Lemma expect_fsum {A} (seeds : list A) n (f : A -> nat -> R) :
  expect seeds (fun a => fsum n (f a)) = fsum n (fun j => expect seeds (fun a => f a j)).
Proof. unfold expect. rewrite lsum_fsum, <- fsum_div. reflexivity. Qed.

Lemma expect_le {A} seeds (f g : A -> R) : seeds <> [] ->
  (forall a, In a seeds -> f a <= g a) -> expect seeds f <= expect seeds g.
Proof.
  intros Hs H. unfold expect. apply Rmult_le_compat_r; [| apply lsum_le; auto].
  left. apply Rinv_0_lt_compat, length_pos. auto.
Qed.

Lemma expect_const {A} (seeds : list A) c : seeds <> [] -> expect seeds (fun _ => c) = c.
Proof.
  intros H. pose proof (length_pos seeds H). unfold expect. rewrite lsum_const. field. lra.
Qed.

Lemma probability_le {A} (rows : list A) (S T : A -> bool) : rows <> [] ->
  (forall a, In a rows -> S a = true -> T a = true) -> probability rows S <= probability rows T.
Proof.
  intros H I. apply expect_le; auto. intros a Ha. specialize (I a Ha).
  destruct (S a), (T a); try lra; discriminate (I eq_refl).
Qed.

Lemma probability_never {A} (rows : list A) (S : A -> bool) : rows <> [] ->
  (forall a, In a rows -> S a = false) -> probability rows S = 0.
Proof.
  intros H N. unfold probability. rewrite (expect_ext rows _ (fun _ => 0)).
  - apply expect_const. auto.
  - intros a Ha. now rewrite N.
Qed.

Lemma probability_range {A} (rows : list A) (S : A -> bool) : rows <> [] ->
  probability rows S <= 1.
Proof.
  intros H. unfold probability. apply Rle_trans with (expect rows (fun _ => 1)).
  - apply expect_le; auto. intros a _. destruct (S a); lra.
  - rewrite expect_const by auto. lra.
Qed.

(** Whether x < y, as an event. *)
Definition less_than (x y : R) : bool := if Rlt_dec x y then true else false.

(** * Independent seeds *)

(** All lists of R seeds: the rows are independent, and each has all seeds equally likely. *)
Fixpoint tuples {A : Type} (rows : nat) (seeds : list A) : list (list A) :=
  match rows with
  | O => [[]]
  | S rows => flat_map (fun a => map (cons a) (tuples rows seeds)) seeds
  end.

Lemma tuples_length {A} rows (seeds : list A) :
  length (tuples rows seeds) = (length seeds ^ rows)%nat.
Proof.
  induction rows; simpl; auto. rewrite length_flat_map.
  rewrite (map_ext _ (fun _ => (length seeds ^ rows)%nat))
    by (intros; rewrite map_length; auto).
  clear IHrows. generalize (length seeds ^ rows)%nat. intros p.
  induction seeds as [| a l IH]; simpl; [auto | now rewrite IH].
Qed.

Lemma tuples_nonempty {A} rows (seeds : list A) : seeds <> [] -> tuples rows seeds <> [].
Proof.
  intros H E. apply (f_equal (@length _)) in E. rewrite tuples_length in E. simpl in E.
  destruct seeds; [congruence |]. apply (Nat.pow_nonzero (length (a :: seeds)) rows); auto.
  simpl; lia.
Qed.

Lemma tuples_In {A} rows (seeds : list A) l : In l (tuples rows seeds) ->
  length l = rows /\ forall a, In a l -> In a seeds.
Proof.
  revert l. induction rows; simpl; intros l H.
  - destruct H as [<- | []]. split; auto. intros a [].
  - apply in_flat_map in H. destruct H as (a & Ha & H). apply in_map_iff in H.
    destruct H as (rest & <- & H). apply IHrows in H. destruct H as [Hl H]. simpl.
    split; [auto |]. intros b [<- | Hb]; auto.
Qed.

(** One row after the other. *)
Lemma expect_tuples {A} rows (seeds : list A) f : seeds <> [] ->
  expect (tuples (S rows) seeds) f
    = expect seeds (fun a => expect (tuples rows seeds) (fun l => f (a :: l))).
Proof.
  intros H. pose proof (length_pos seeds H).
  pose proof (length_pos _ (tuples_nonempty rows seeds H)).
  unfold expect. rewrite tuples_length. simpl tuples. rewrite lsum_flat_map.
  rewrite (lsum_ext (fun a => lsum f _) (fun a => lsum (fun l => f (a :: l)) (tuples rows seeds)))
    by (intros; apply lsum_map).
  rewrite tuples_length in *. cbn [Nat.pow]. rewrite mult_INR.
  rewrite (lsum_ext (fun a => lsum (fun l => f (a :: l)) _ / _)
    (fun a => / INR (length seeds ^ rows) * lsum (fun l => f (a :: l)) (tuples rows seeds)))
    by (intros; unfold Rdiv; ring).
  rewrite lsum_scale. field. split; lra.
Qed.

Lemma expect_one {A} (seeds : list A) f : expect (tuples 0 seeds) f = f [].
Proof. unfold expect, lsum. simpl. field. Qed.

(** A sum of terms, each of its own seed. *)
Fixpoint total {A} (f : nat -> A -> R) (l : list A) : R :=
  match l with
  | [] => 0
  | a :: rest => f O a + total (fun r => f (S r)) rest
  end.

Lemma total_opp {A} (f : nat -> A -> R) x : total (fun r a => - f r a) x = - total f x.
Proof.
  revert f. induction x as [| a x IH]; intros f; simpl; [ring |].
  rewrite (IH (fun r => f (S r))). ring.
Qed.

(** * Binomial coefficients *)

Lemma C_full n : C n n = 1.
Proof. unfold C. rewrite Nat.sub_diag. simpl. field. apply INR_fact_neq_0. Qed.

Lemma C_none n : C n 0 = 1.
Proof. unfold C. rewrite Nat.sub_0_r. simpl. field. apply INR_fact_neq_0. Qed.
