(** Polynomials of a logit from moments of the keys (claims P2.poly, P2.onepass,
    P2.recentre).

    A state holds S_alpha = sum_j k_j^alpha v_j for the exponents alpha with |alpha| <= g: one sum
    for each column of the values, and one for v = 1.  A query q reads from it
        sum_alpha c_|alpha| |alpha|! / alpha! q^alpha S_alpha = sum_j P (q . k_j) v_j,
    P (x) = sum_m c_m x^m, for coefficients chosen after the pass.

    Steps: (1) the multinomial theorem, by induction on the dimension, in the form
    (x + y)^m / m! = sum_a x^a / a! y^(m - a) / (m - a)!; (2) C (d + g, g) features, by Pascal's
    rule; (3) (k - c)^alpha is a combination of the k^beta with beta <= alpha, by the binomial
    theorem in each coordinate; (4) a moment is a sum over keys, so it adds over any partition, and
    one pass over the tokens, each added when it comes, ends with it (by induction on the pass).

    An exponent is the list of its powers, the last coordinate's first, as a dot product adds its
    last term last. *)

Require Import Reals Lra Lia List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors.
From Attest.Softmax Require Import Softmax Weights Taylor.
Import ListNotations.
Open Scope R_scope.

(** * Exponents and monomials *)

(** The exponents of d variables with total degree m. *)
Fixpoint exponents (d m : nat) : list (list nat) :=
  match d with
  | O => match m with O => [[]] | S _ => [] end
  | S d => flat_map (fun a => map (cons a) (exponents d (m - a))) (seq 0 (S m))
  end.

(** Those of total degree at most g. *)
Definition features (d g : nat) : list (list nat) := flat_map (exponents d) (seq 0 (S g)).

(** x^alpha *)
Fixpoint monomial (x : nat -> R) (alpha : list nat) : R :=
  match alpha with [] => 1 | a :: rest => x (length rest) ^ a * monomial x rest end.

(** alpha! *)
Fixpoint factorials (alpha : list nat) : R :=
  match alpha with [] => 1 | a :: rest => INR (fact a) * factorials rest end.

Lemma exponents_spec d m alpha :
  In alpha (exponents d m) <-> length alpha = d /\ list_sum alpha = m.
Proof.
  revert m alpha. induction d; intros m alpha.
  - destruct m; simpl; split.
    + intros [<- | []]. auto.
    + intros [H _]. left. now destruct alpha.
    + intros [].
    + intros [H H']. now destruct alpha.
  - cbn [exponents]. rewrite in_flat_map. split.
    + intros (a & Ha & H). apply in_map_iff in H. destruct H as (rest & <- & H).
      apply in_seq in Ha. apply IHd in H. simpl. lia.
    + intros [H H']. destruct alpha as [| a rest]; [discriminate |].
      simpl in H, H'. injection H as H. exists a. split; [apply in_seq; lia |].
      apply in_map, IHd. lia.
Qed.

Lemma features_spec d g alpha :
  In alpha (features d g) <-> length alpha = d /\ (list_sum alpha <= g)%nat.
Proof.
  unfold features. rewrite in_flat_map. split.
  - intros (m & Hm & H). apply in_seq in Hm. apply exponents_spec in H. lia.
  - intros [H H']. exists (list_sum alpha). split; [apply in_seq; lia |].
    apply exponents_spec. auto.
Qed.

Lemma factorials_pos alpha : 0 < factorials alpha.
Proof.
  induction alpha; simpl; [lra |]. apply Rmult_lt_0_compat; auto. apply INR_fact_lt_0.
Qed.

(** * The multinomial theorem *)

(** x^m / m! *)
Definition divided_power (x : R) (m : nat) : R := x ^ m / INR (fact m).

Lemma divided_power_plus x y m :
  divided_power (x + y) m = fsum (S m) (fun a => divided_power x a * divided_power y (m - a)).
Proof.
  unfold divided_power. rewrite binomial, sum_f_R0_fsum, <- fsum_div. apply fsum_ext.
  intros a _. unfold C.
  pose proof (INR_fact_neq_0 m). pose proof (INR_fact_neq_0 a). pose proof (INR_fact_neq_0 (m - a)).
  field. auto.
Qed.

Lemma multinomial d x y m : divided_power (dot d x y) m
  = lsum (fun alpha => monomial x alpha * monomial y alpha / factorials alpha) (exponents d m).
Proof.
  revert m. induction d; intros m.
  - destruct m; cbn; unfold divided_power; simpl; [field |].
    unfold Rdiv. rewrite !Rmult_0_l. reflexivity.
  - unfold dot. rewrite fsum_S, Rplus_comm. fold (dot d x y). rewrite divided_power_plus.
    cbn [exponents]. rewrite lsum_flat_map, lsum_seq. apply fsum_ext. intros a _.
    rewrite IHd, lsum_map, <- lsum_scale. apply lsum_ext. intros rest H.
    apply exponents_spec in H. destruct H as [H _]. simpl. rewrite H. unfold divided_power.
    rewrite Rpow_mult_distr. pose proof (factorials_pos rest). pose proof (INR_fact_neq_0 a).
    field. split; [lra | auto].
Qed.

(** * P2.poly: features *)

(** sum_{m <= g} c_m x^m *)
Definition polynomial (g : nat) (c : nat -> R) (x : R) : R := fsum (S g) (fun m => c m * x ^ m).

(** The coefficient of q^alpha k^alpha in P (q . k). *)
Definition feature_weight (c : nat -> R) (alpha : list nat) : R :=
  c (list_sum alpha) * INR (fact (list_sum alpha)) / factorials alpha.

Theorem p2_poly_features d g c x y : polynomial g c (dot d x y)
  = lsum (fun alpha => feature_weight c alpha * monomial x alpha * monomial y alpha)
      (features d g).
Proof.
  unfold features. rewrite lsum_flat_map, lsum_seq. apply fsum_ext. intros m _.
  transitivity (c m * INR (fact m) * divided_power (dot d x y) m).
  - unfold divided_power. field. apply INR_fact_neq_0.
  - rewrite multinomial, <- lsum_scale. apply lsum_ext. intros alpha H.
    apply exponents_spec in H. destruct H as [_ <-]. unfold feature_weight.
    pose proof (factorials_pos alpha). field. lra.
Qed.

Lemma list_sum_rev l : list_sum (rev l) = list_sum l.
Proof. induction l; simpl; auto. rewrite list_sum_app, IHl. simpl. lia. Qed.

(** As many exponents of d + 1 variables have degree m as exponents of d variables have degree at
    most m: the last power is what is left. *)
Lemma exponents_features d m : length (exponents (S d) m) = length (features d m).
Proof.
  unfold features. cbn [exponents]. rewrite !length_flat_map.
  rewrite <- (list_sum_rev (map _ (seq 0 (S m)))). f_equal.
  rewrite <- map_rev. rewrite (map_ext _ (fun a => length (exponents d (m - a))))
    by (intros; apply map_length).
  rewrite <- (map_map (fun a => (m - a)%nat) (fun a => length (exponents d a))).
  rewrite map_rev. f_equal.
  (* rev [m - 0; ...; m - m] = [0; ...; m] *)
  apply (nth_ext _ _ 0%nat 0%nat); rewrite rev_length, map_length, !seq_length; auto.
  intros i Hi. rewrite rev_nth; rewrite map_length, seq_length; auto.
  rewrite (nth_indep _ 0%nat (m - 0)%nat), map_nth, !seq_nth;
    rewrite ?map_length, ?seq_length; lia.
Qed.

Lemma features_S d g :
  length (features (S d) (S g)) = (length (features (S d) g) + length (features d (S g)))%nat.
Proof.
  unfold features at 1. rewrite seq_S, flat_map_app, app_length. cbn [flat_map].
  rewrite app_nil_r, exponents_features. reflexivity.
Qed.

Lemma features_0 g : length (features 0 g) = 1%nat.
Proof.
  unfold features. simpl. rewrite length_flat_map.
  assert (H : forall s, list_sum (map (fun m => length (exponents 0 (S m))) (seq s g)) = 0%nat)
    by (induction g; simpl; auto).
  rewrite <- seq_shift, map_map, H. reflexivity.
Qed.

Lemma features_count d g : INR (length (features d g)) = C (d + g) g.
Proof.
  assert (F : forall n, C n n = 1).
  { intros. unfold C. rewrite Nat.sub_diag. simpl. field. apply INR_fact_neq_0. }
  assert (F0 : forall n, C n 0 = 1).
  { intros. unfold C. rewrite Nat.sub_0_r. simpl. field. apply INR_fact_neq_0. }
  revert g. induction d; intros g; [rewrite features_0; simpl; now rewrite F |].
  induction g.
  - rewrite Nat.add_0_r, F0. unfold features. cbn [seq flat_map]. rewrite app_nil_r.
    rewrite exponents_features, IHd, Nat.add_0_r. apply F0.
  - rewrite features_S, plus_INR, IHg, IHd.
    replace (S d + S g)%nat with (S (d + S g)) by lia. rewrite <- (pascal (d + S g) g) by lia.
    f_equal. f_equal. lia.
Qed.

(** The width of the factors U1, U2 of the matrix of weights. *)
Theorem p2_poly_width d g : INR (length (features d g)) = b_poly_features d g.
Proof. unfold b_poly_features. count (d + g)%nat. apply features_count. Qed.

(** * P2.poly: moments *)

(** S_alpha *)
Definition moment (n : nat) (K : nat -> nat -> R) (v : nat -> R) (alpha : list nat) : R :=
  fsum n (fun j => monomial (K j) alpha * v j).

(** What a query reads from a state of moments. *)
Definition read (d g : nat) (c : nat -> R) (q : nat -> R) (state : list nat -> R) : R :=
  lsum (fun alpha => feature_weight c alpha * monomial q alpha * state alpha) (features d g).

Theorem p2_poly_moments n d g c q K v : read d g c q (moment n K v)
  = dot n (fun j => polynomial g c (dot d q (K j))) v.
Proof.
  unfold read, moment, dot at 1.
  rewrite (lsum_ext _ (fun alpha => fsum n
    (fun j => feature_weight c alpha * monomial q alpha * monomial (K j) alpha * v j)))
    by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
  rewrite lsum_fsum. apply fsum_ext. intros j _.
  rewrite p2_poly_features, Rmult_comm, <- lsum_scale. apply lsum_ext. intros. ring.
Qed.

(** * P2.onepass: a pass *)

(** The number of token (k, v) in column e: 1 for the denominator, before the values. *)
Definition column_value (v : nat -> R) (e : nat) : R := match e with O => 1 | S l => v l end.

(** A token takes part in the sums of one column, and of all: nothing else is read or kept. *)
Definition absorb_column (d g : nat) (k : nat -> R) (x : R) (column : list R) : list R :=
  map (fun entry => snd entry + monomial k (fst entry) * x) (combine (features d g) column).

Definition absorb_token (d g values : nat) (state : list (list R)) (token : (nat -> R) * (nat -> R)) :
  list (list R) :=
  map (fun column => absorb_column d g (fst token) (column_value (snd token) (fst column)) (snd column))
    (combine (seq 0 (S values)) state).

Definition empty_state (d g values : nat) : list (list R) :=
  map (fun _ => map (fun _ => 0) (features d g)) (seq 0 (S values)).

(** What is kept once the tokens have come, one by one. *)
Definition one_pass (d g values : nat) (tokens : list ((nat -> R) * (nat -> R))) : list (list R) :=
  fold_left (absorb_token d g values) tokens (empty_state d g values).

(** What a query reads from a column. *)
Definition read_column (d g : nat) (c q : nat -> R) (column : list R) : R :=
  lsum (fun entry => feature_weight c (fst entry) * monomial q (fst entry) * snd entry)
    (combine (features d g) column).

Lemma combine_map {A B} (f : A -> B) l : combine l (map f l) = map (fun a => (a, f a)) l.
Proof. induction l; simpl; now f_equal. Qed.

Lemma one_pass_moments d g values n K V :
  one_pass d g values (map (fun j => (K j, V j)) (seq 0 n))
  = map (fun e => map (moment n K (fun j => column_value (V j) e)) (features d g)) (seq 0 (S values)).
Proof.
  unfold one_pass. induction n.
  - reflexivity.
  - rewrite seq_S, map_app, fold_left_app, IHn. cbn [map fold_left plus]. unfold absorb_token.
    rewrite combine_map, map_map. apply map_ext. intros e. cbn [fst snd].
    unfold absorb_column. rewrite combine_map, map_map. apply map_ext. intros alpha. cbn [fst snd].
    unfold moment. now rewrite fsum_S.
Qed.

Lemma length_concat_map {A} (h : nat -> list A) m l :
  (forall e, length (h e) = m) -> length (concat (map h l)) = (length l * m)%nat.
Proof.
  intros H. induction l as [| e l IH]; [reflexivity |]. simpl.
  rewrite app_length, H, IH. reflexivity.
Qed.

(** Every query, asked after the pass, reads its polynomial from so many numbers. *)
Theorem p2_onepass_pass d g values n K V :
  let state := one_pass d g values (map (fun j => (K j, V j)) (seq 0 n)) in
  (forall c q e, (e <= values)%nat -> read_column d g c q (nth e state [])
     = dot n (fun j => polynomial g c (dot d q (K j))) (fun j => column_value (V j) e)) /\
  INR (length (concat state)) = b_moment_numbers d g values.
Proof.
  cbv zeta. rewrite one_pass_moments. split.
  - intros c q e He. rewrite <- p2_poly_moments.
    set (h := fun e => map (moment n K (fun j => column_value (V j) e)) (features d g)).
    rewrite (nth_indep _ [] (h 0%nat)) by (rewrite map_length, seq_length; lia).
    rewrite map_nth, seq_nth by lia. unfold h, read_column, read.
    rewrite combine_map, lsum_map. reflexivity.
  - rewrite (length_concat_map _ (length (features d g))) by (intros; now rewrite map_length).
    rewrite seq_length. unfold b_moment_numbers. count (d + g)%nat.
    rewrite mult_INR, S_INR, features_count. ring.
Qed.

Theorem p2_error_numbers d g values n K V :
  INR (length (concat (one_pass d g values (map (fun j => (K j, V j)) (seq 0 n)))))
  = b_error_numbers g d values.
Proof.
  rewrite (proj2 (p2_onepass_pass d g values n K V)).
  unfold b_error_numbers, b_moment_numbers. ring.
Qed.

(** * P2.recentre *)

Definition shifted (K : nat -> nat -> R) (c : nat -> R) (j l : nat) : R := K j l - c l.

(** The softmax of a row does not see a shift of every key. *)
Theorem p2_centring n d q K c i :
  softmax n (fun j => dot d q (shifted K c j)) i = softmax n (fun j => dot d q (K j)) i.
Proof.
  unfold softmax.
  rewrite <- (s_kappa_scale n (fun j => exp (dot d q (K j))) (exp (- dot d q c)) i)
    by apply exp_pos.
  assert (E : forall j, exp (dot d q (shifted K c j)) = exp (- dot d q c) * exp (dot d q (K j))).
  { intros j. rewrite <- exp_plus. f_equal. unfold dot, shifted.
    rewrite (fsum_ext d _ (fun l => q l * K j l - q l * c l)) by (intros; ring).
    rewrite fsum_minus. ring. }
  unfold normalize. rewrite <- (E i). f_equal. apply fsum_ext. intros. apply E.
Qed.

Lemma binomial_fsum x c a :
  (x - c) ^ a = fsum (S a) (fun b => C a b * (- c) ^ (a - b) * x ^ b).
Proof.
  unfold Rminus. rewrite binomial, sum_f_R0_fsum. apply fsum_ext. intros. ring.
Qed.

(** One coordinate at a time: that of power a, which has the coordinates of [post] before it. *)
Theorem p2_recentre_coordinate n K v before a post s :
  let shift := fun l => if Nat.eqb l (length post) then s else 0 in
  moment n (shifted K shift) v (before ++ a :: post)
    = fsum (S a) (fun b => C a b * (- s) ^ (a - b) * moment n K v (before ++ b :: post)).
Proof.
  intros shift.
  assert (Low : forall x alpha, (length alpha <= length post)%nat ->
    monomial (fun l => x l - shift l) alpha = monomial x alpha).
  { intros x. induction alpha as [| b rest IH]; simpl; intros H; auto. rewrite IH by lia.
    unfold shift. destruct (Nat.eqb_spec (length rest) (length post)); [lia |].
    now rewrite Rminus_0_r. }
  assert (Step : forall x, monomial (fun l => x l - shift l) (before ++ a :: post)
    = fsum (S a) (fun b => C a b * (- s) ^ (a - b) * monomial x (before ++ b :: post))).
  { intros x. induction before as [| b before IH].
    - cbn [app monomial]. rewrite Low by lia. unfold shift. rewrite Nat.eqb_refl, binomial_fsum.
      rewrite <- fsum_scale_r. apply fsum_ext. intros. ring.
    - cbn [app monomial]. rewrite IH, <- fsum_scale. apply fsum_ext. intros b' _.
      rewrite !app_length. cbn [length]. unfold shift.
      destruct (Nat.eqb_spec (length before + S (length post)) (length post)); [lia |].
      rewrite Rminus_0_r. ring. }
  unfold moment, shifted. rewrite (fsum_ext (S a) _ (fun b => fsum n (fun j =>
    C a b * (- s) ^ (a - b) * monomial (K j) (before ++ b :: post) * v j)))
    by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
  rewrite fsum_swap. apply fsum_ext. intros j _. rewrite Step. symmetry. apply fsum_scale_r.
Qed.

(** The exponents beta <= alpha. *)
Fixpoint below (alpha : list nat) : list (list nat) :=
  match alpha with
  | [] => [[]]
  | a :: rest => flat_map (fun b => map (cons b) (below rest)) (seq 0 (S a))
  end.

(** The coefficient of k^beta in (k - c)^alpha. *)
Fixpoint shift_weight (c : nat -> R) (alpha beta : list nat) : R :=
  match alpha, beta with
  | a :: alpha', b :: beta' =>
      C a b * (- c (length alpha')) ^ (a - b) * shift_weight c alpha' beta'
  | _, _ => 1
  end.

(** A state of degree g holds all that its translation needs. *)
Theorem p2_recentre_closed d g alpha beta :
  In alpha (features d g) -> In beta (below alpha) -> In beta (features d g).
Proof.
  rewrite !features_spec. intros [Hd Hg] H.
  assert (length beta = length alpha /\ (list_sum beta <= list_sum alpha)%nat) by
    (clear Hd Hg; revert beta H; induction alpha as [| a rest IH]; intros beta H;
     [destruct H as [<- | []]; auto |];
     apply in_flat_map in H; destruct H as (b & Hb & H);
     apply in_map_iff in H; destruct H as (beta' & <- & H);
     apply in_seq in Hb; apply IH in H; simpl; lia).
  lia.
Qed.

Lemma monomial_shifted x c alpha : monomial (fun l => x l - c l) alpha
  = lsum (fun beta => shift_weight c alpha beta * monomial x beta) (below alpha).
Proof.
  induction alpha as [| a rest IH]; [unfold lsum; simpl; ring |].
  cbn [monomial below]. rewrite binomial_fsum, <- fsum_scale_r, lsum_flat_map, lsum_seq.
  apply fsum_ext. intros b _. rewrite lsum_map, IH, <- lsum_scale. apply lsum_ext.
  intros beta H. cbn [shift_weight monomial].
  assert (L : length beta = length rest).
  { clear - H. revert beta H. induction rest as [| a rest IH]; intros beta H;
      [now destruct H as [<- | []] |].
    apply in_flat_map in H. destruct H as (b & _ & H). apply in_map_iff in H.
    destruct H as (beta' & <- & H). simpl. f_equal. auto. }
  rewrite L. ring.
Qed.

(** All coordinates at once. *)
Theorem p2_recentre n K v c alpha : moment n (shifted K c) v alpha
  = lsum (fun beta => shift_weight c alpha beta * moment n K v beta) (below alpha).
Proof.
  unfold moment. rewrite (lsum_ext _ (fun beta => fsum n (fun j =>
    shift_weight c alpha beta * monomial (K j) beta * v j)))
    by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
  rewrite lsum_fsum. apply fsum_ext. intros j _. unfold shifted.
  rewrite monomial_shifted, Rmult_comm, <- lsum_scale. apply lsum_ext. intros. ring.
Qed.

(** * Shards *)

(** The moment of the keys in [shard]. *)
Definition shard_moment (K : nat -> nat -> R) (v : nat -> R) (alpha shard : list nat) : R :=
  lsum (fun j => monomial (K j) alpha * v j) shard.

(** Any split into shards, in any order. *)
Theorem p2_merge n K v alpha shards : Permutation (concat shards) (seq 0 n) ->
  lsum (shard_moment K v alpha) shards = moment n K v alpha.
Proof.
  intros H. unfold shard_moment. rewrite <- lsum_concat, (lsum_permutation _ _ _ H). apply lsum_seq.
Qed.
