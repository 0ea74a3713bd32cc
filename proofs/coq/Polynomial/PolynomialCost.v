(** What exact and polynomial attention take, and what sketches of features hold (claims P2.quadratic,
    P2.cost, P2.space).

    Counted while they are computed ([tally]): products and quotients.  Exact attention is two matrix
    products.  Polynomial attention computes the features of every query and key, each monomial from
    one of lower degree by one product; the moments; their weights; a sum for every column and query,
    and the quotients.

    Steps: (1) a monomial is a variable times another monomial; (2) each stage computes what the next
    one is given; (3) the prices add up; (4) a sketch is a list of rows that every token adds to. *)

Require Import Reals Lra Lia List Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Tally.
From Attest.Polynomial Require Import Moments.
Import ListNotations.
Open Scope R_scope.

(** * P2.quadratic: exact attention *)

(** The products of Q K^T, and of its weights A with V. *)
Definition exact_products (q n d v : nat) (Q K A V : nat -> nat -> R) : nat :=
  (products (matrix_products q d n Q (fun l j => K j l)) + products (matrix_products q n v A V))%nat.

Theorem p2_quadratic n d v Q K A V :
  INR (exact_products n n d v Q K A V) = b_quadratic_products n d v.
Proof.
  unfold exact_products, b_quadratic_products. rewrite !matrix_products_count.
  rewrite plus_INR, !mult_INR. ring.
Qed.

(** With K and V kept a token is one row. *)
Theorem p2_storage_token n d v Q K A V :
  INR (exact_products 1 n d v Q K A V) = b_token_products n d v.
Proof.
  unfold exact_products, b_token_products. rewrite !matrix_products_count.
  rewrite plus_INR, !mult_INR. simpl (INR 1). ring.
Qed.

(** * P2.cost: polynomial attention *)

(** A monomial of positive degree is a variable, by number, times a monomial. *)
Fixpoint lowered (alpha : list nat) : list nat :=
  match alpha with
  | [] => []
  | O :: rest => O :: lowered rest
  | S a :: rest => a :: rest
  end.
Fixpoint variable (alpha : list nat) : nat :=
  match alpha with
  | [] => 0
  | O :: rest => variable rest
  | S _ :: rest => length rest
  end.

Definition monomial_step (x : nat -> R) (alpha : list nat) : tally :=
  if Nat.eqb (list_sum alpha) 0 then given 1
  else times (given (x (variable alpha))) (given (monomial x (lowered alpha))).

Lemma lowered_length alpha : length (lowered alpha) = length alpha.
Proof. induction alpha as [| [| a] rest IH]; simpl; congruence. Qed.

Lemma lowered_sum alpha : list_sum alpha <> 0%nat -> S (list_sum (lowered alpha)) = list_sum alpha.
Proof.
  induction alpha as [| [| a] rest IH]; simpl; intros H; [lia | | lia].
  apply IH. exact H.
Qed.

Lemma monomial_zero x alpha : list_sum alpha = 0%nat -> monomial x alpha = 1.
Proof.
  induction alpha as [| a rest IH]; simpl; intros H; [reflexivity |].
  replace a with 0%nat by lia. rewrite IH by lia. simpl. ring.
Qed.

(** The step computes the monomial from one of the features. *)
Lemma monomial_step_value x alpha : value (monomial_step x alpha) = monomial x alpha.
Proof.
  unfold monomial_step. destruct (Nat.eqb_spec (list_sum alpha) 0) as [E | E]; simpl.
  - now rewrite monomial_zero.
  - induction alpha as [| [| a] rest IH]; simpl in E |- *; [lia | |].
    + rewrite <- IH by exact E. ring.
    + ring.
Qed.

Lemma lowered_feature d g alpha : In alpha (features d g) -> list_sum alpha <> 0%nat ->
  In (lowered alpha) (features d g).
Proof.
  rewrite !features_spec. intros [L G] H. rewrite lowered_length.
  pose proof (lowered_sum alpha H). split; [exact L | lia].
Qed.

Lemma monomial_step_products x alpha : (products (monomial_step x alpha) <= 1)%nat.
Proof. unfold monomial_step. destruct (Nat.eqb (list_sum alpha) 0); simpl; lia. Qed.

Section Cost.

Variables (q n d g v : nat) (c : nat -> R) (Q K V : nat -> nat -> R).

Let t : nat := length (features d g).

(** The features of a token. *)
Definition token_features (x : nat -> R) : tally :=
  totals (map (monomial_step x) (features d g)).

(** A moment, and with its coefficient. *)
Definition moment_sum (e : nat) (alpha : list nat) : tally :=
  inner n (fun j => monomial (K j) alpha) (fun j => column_value (V j) e).
Definition weighted_moment (e : nat) (alpha : list nat) : tally :=
  times (given (feature_weight c alpha)) (given (value (moment_sum e alpha))).

(** The sum of row i in column e; and an entry. *)
Definition row_sum (i e : nat) : tally :=
  totals (map (fun alpha => times (given (monomial (Q i) alpha))
    (given (value (weighted_moment e alpha)))) (features d g)).
Definition output (i l : nat) : tally :=
  over (given (value (row_sum i (S l)))) (given (value (row_sum i 0))).

(** Stage by stage. *)
Definition polynomial_products : nat :=
  (products (total q (fun i => token_features (Q i)))
   + products (total n (fun j => token_features (K j)))
   + products (totals (map (fun alpha => total (S v) (fun e => moment_sum e alpha)) (features d g)))
   + products (totals (map (fun alpha => total (S v) (fun e => weighted_moment e alpha))
       (features d g)))
   + products (total q (fun i => total (S v) (row_sum i)))
   + products (total q (fun i => total v (output i))))%nat.

Lemma totals_value l : value (totals l) = lsum value l.
Proof. unfold lsum. induction l; simpl; [reflexivity |]. now rewrite IHl. Qed.

Lemma row_sum_value i e : value (row_sum i e)
  = dot n (fun j => polynomial g c (dot d (Q i) (K j))) (fun j => column_value (V j) e).
Proof.
  rewrite <- p2_poly_moments. unfold row_sum, read. rewrite totals_value, lsum_map.
  apply lsum_ext. intros alpha _. unfold weighted_moment, moment_sum, moment. simpl.
  rewrite inner_value. ring.
Qed.

Lemma token_features_products x : (products (token_features x) <= t)%nat.
Proof.
  unfold token_features, t. generalize (features d g). intros l.
  induction l as [| alpha l IH]; [simpl; lia |].
  pose proof (monomial_step_products x alpha) as H. cbn [map totals plus products length]. lia.
Qed.

Lemma for_features (f : list nat -> tally) p : (forall alpha, products (f alpha) = p) ->
  products (totals (map f (features d g))) = (t * p)%nat.
Proof.
  intros H. rewrite (totals_products _ p); [now rewrite map_length |].
  apply Forall_forall. intros a Ha. apply in_map_iff in Ha. destruct Ha as (alpha & <- & _). auto.
Qed.

(** It is polynomial attention, and takes no more than is said. *)
Theorem p2_cost :
  (forall i l, value (output i l)
     = dot n (fun j => polynomial g c (dot d (Q i) (K j))) (fun j => V j l)
       / dot n (fun j => polynomial g c (dot d (Q i) (K j))) (fun _ => 1)) /\
  INR polynomial_products <= b_poly_products q n d g v.
Proof.
  split.
  - intros i l. unfold output. simpl. now rewrite !row_sum_value.
  - assert (N : (polynomial_products
      <= q * t + n * t + t * (S v * n) + t * (S v) + q * (S v * t) + q * v)%nat).
    { unfold polynomial_products.
      rewrite (for_features _ (S v * n))
        by (intros; apply total_of_products; intros; apply inner_products).
      rewrite (for_features _ (S v * 1)) by (intros; apply total_of_products; reflexivity).
      rewrite (total_of_products q (fun i => total (S v) (row_sum i)) (S v * t)).
      2: { intros i _. apply total_of_products. intros e _. unfold row_sum.
           rewrite (for_features _ 1) by reflexivity. lia. }
      rewrite (total_of_products q (fun i => total v (output i)) (v * 1))
        by (intros; apply total_of_products; reflexivity).
      pose proof (total_products_le q (fun i => token_features (Q i)) t
        ltac:(intros; apply token_features_products)).
      pose proof (total_products_le n (fun j => token_features (K j)) t
        ltac:(intros; apply token_features_products)).
      lia. }
    apply le_INR in N. rewrite !plus_INR, !mult_INR, S_INR in N.
    replace (INR t) with (C (d + g) g) in N by (unfold t; now rewrite features_count).
    unfold b_poly_products. count (d + g)%nat. lra.
Qed.

End Cost.

(** * P2.space: three sketches *)

(** A row of a sketch is added to by every token, with a sign of its own: of features, or of values. *)
Definition sketch_row {A} (columns : list A) (n : nat) (sign : nat -> R) (f : nat -> A -> R) : list R :=
  map (fun a => fsum n (fun j => sign j * f j a)) columns.

Definition sketch {A} (columns : list A) (n rows : nat) (signs : nat -> nat -> R) (f : nat -> A -> R) :
  list (list R) := map (fun r => sketch_row columns n (signs r) f) (seq 0 rows).

(** One more token adds to every number of the sketch, and nothing else is needed of it. *)
Theorem p2_sketch_pass {A} (columns : list A) n rows signs (f : nat -> A -> R) :
  sketch columns (S n) rows signs f
  = map (fun r => map (fun entry => snd entry + signs r n * f n (fst entry))
      (combine columns (sketch_row columns n (signs r) f))) (seq 0 rows).
Proof.
  unfold sketch. apply map_ext. intros r. unfold sketch_row. rewrite combine_map, map_map.
  apply map_ext. intros a. reflexivity.
Qed.

Lemma sketch_length {A} (columns : list A) n rows signs (f : nat -> A -> R) :
  length (concat (sketch columns n rows signs f)) = (rows * length columns)%nat.
Proof.
  unfold sketch. rewrite (length_concat_map _ (length columns)).
  - now rewrite seq_length.
  - intros. unfold sketch_row. now rewrite map_length.
Qed.

(** Psi U2, Psi V and Phi D^-1 U1, by the features of keys, the values, and the queries' features. *)
Theorem p2_space n d g values value_rows output_rows Q K V D psi phi :
  INR (length (concat (sketch (features d g) n value_rows psi (fun j => monomial (K j))))
       + length (concat (sketch (seq 0 values) n value_rows psi (fun j l => V j l)))
       + length (concat (sketch (features d g) n output_rows phi
           (fun i alpha => monomial (Q i) alpha / D i))))
  = b_sketch_numbers d g values value_rows output_rows.
Proof.
  rewrite !sketch_length, seq_length, !plus_INR, !mult_INR, features_count.
  unfold b_sketch_numbers. count (d + g)%nat. ring.
Qed.
