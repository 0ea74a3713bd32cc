(** Expressions of sums and products in floating point (claim FP.moments).

    The model.  A result is the exact one times 1 + delta, |delta| <= u, where u may differ from one
    operation to the next (sums in float64, products in float32); a product may lose up to [lost]
    more to underflow.  A computation is an expression of sums and products; multiplied out it is a
    sum of terms, products of numbers.

    By induction on the expression, the result errs by at most (exp rho - 1) sum |terms|, rho the
    largest sum of the u that a term passes through. *)

Require Import Reals Lra List.
From Attest.Foundations Require Import Sums Lists.
From Attest.Rounding Require Import Rounding.
Import ListNotations.
Open Scope R_scope.

(** * Expressions *)

(** The first argument bounds the relative error of the operation; a number that is a float has 0,
    a number that is rounded first, like k - c, has the unit roundoff. *)
Inductive expression : Type :=
| Number (u x : R)
| Plus (u : R) (left right : expression)
| Times (u : R) (left right : expression).

Fixpoint value (e : expression) : R :=
  match e with
  | Number _ x => x
  | Plus _ l r => value l + value r
  | Times _ l r => value l * value r
  end.

(** The products that e is the sum of, when multiplied out. *)
Fixpoint terms (e : expression) : list R :=
  match e with
  | Number _ x => [x]
  | Plus _ l r => terms l ++ terms r
  | Times _ l r => flat_map (fun x => map (Rmult x) (terms r)) (terms l)
  end.

(** Their absolute values, summed. *)
Fixpoint magnitude (e : expression) : R :=
  match e with
  | Number _ x => Rabs x
  | Plus _ l r => magnitude l + magnitude r
  | Times _ l r => magnitude l * magnitude r
  end.

(** The largest sum of relative errors that a term passes through. *)
Fixpoint roundings_total (e : expression) : R :=
  match e with
  | Number u _ => u
  | Plus u l r => u + Rmax (roundings_total l) (roundings_total r)
  | Times u l r => u + (roundings_total l + roundings_total r)
  end.

(** What underflow may take. *)
Fixpoint loss (lost : R) (e : expression) : R :=
  match e with
  | Number _ _ => 0
  | Plus u l r => (1 + u) * (loss lost l + loss lost r)
  | Times u l r => lost + (1 + u) *
      (loss lost l * (exp (roundings_total r) * magnitude r + loss lost r)
       + exp (roundings_total l) * magnitude l * loss lost r)
  end.

(** x is a possible result of e. *)
Inductive evaluates (lost : R) : expression -> R -> Prop :=
| evaluates_number u x delta : Rabs delta <= u -> evaluates lost (Number u x) (x * (1 + delta))
| evaluates_plus u l r x y delta : Rabs delta <= u -> evaluates lost l x -> evaluates lost r y ->
    evaluates lost (Plus u l r) ((x + y) * (1 + delta))
| evaluates_times u l r x y delta e : Rabs delta <= u -> Rabs e <= lost ->
    evaluates lost l x -> evaluates lost r y ->
    evaluates lost (Times u l r) (x * y * (1 + delta) + e).

Lemma value_terms e : value e = lsum (fun x => x) (terms e).
Proof.
  induction e; simpl; [unfold lsum; simpl; ring | rewrite lsum_app; lra |].
  rewrite lsum_products by auto. now rewrite IHe1, IHe2.
Qed.

Lemma magnitude_terms e : magnitude e = lsum Rabs (terms e).
Proof.
  induction e; simpl; [unfold lsum; simpl; ring | rewrite lsum_app; lra |].
  rewrite lsum_products by apply Rabs_mult. now rewrite IHe1, IHe2.
Qed.

Lemma value_magnitude e : Rabs (value e) <= magnitude e.
Proof.
  induction e; simpl; [lra | eapply Rle_trans; [apply Rabs_triang | lra] |].
  rewrite Rabs_mult. apply Rmult_le_compat; auto; apply Rabs_pos.
Qed.

Lemma magnitude_nonneg e : 0 <= magnitude e.
Proof. eapply Rle_trans; [apply Rabs_pos | apply value_magnitude]. Qed.

Lemma roundings_total_nonneg lost e x : evaluates lost e x -> 0 <= roundings_total e.
Proof.
  intros H. induction H; simpl; pose proof (Rabs_pos delta); [lra | | lra].
  pose proof (Rmax_l (roundings_total l) (roundings_total r)). lra.
Qed.

Lemma loss_nonneg lost e x : evaluates lost e x -> 0 <= lost -> 0 <= loss lost e.
Proof.
  intros H Hl. induction H; simpl; [lra | |]; pose proof (Rabs_pos delta).
  - apply Rmult_le_pos; lra.
  - pose proof (magnitude_nonneg l). pose proof (magnitude_nonneg r).
    pose proof (exp_pos (roundings_total l)). pose proof (exp_pos (roundings_total r)).
    apply Rplus_le_le_0_compat; auto. apply Rmult_le_pos; [lra |].
    apply Rplus_le_le_0_compat; repeat apply Rmult_le_pos; try lra.
    apply Rplus_le_le_0_compat; auto. apply Rmult_le_pos; lra.
Qed.

Lemma no_loss e : loss 0 e = 0.
Proof. induction e; simpl; try rewrite IHe1, IHe2; ring. Qed.

(** * FP.moments: an expression *)

Theorem fp_expression lost e x : 0 <= lost -> evaluates lost e x ->
  Rabs (x - value e) <= (exp (roundings_total e) - 1) * magnitude e + loss lost e.
Proof.
  intros Hlost H.
  induction H as [u x delta Hd | u l r x y delta Hd Hl IHl Hr IHr
                  | u l r x y delta e Hd He Hl IHl Hr IHr]; simpl.
  - replace (x * (1 + delta) - x) with (x * delta) by ring. rewrite Rabs_mult.
    pose proof (Rabs_pos x). pose proof (exp_ineq1_le u). nra.
  - pose proof (value_magnitude l) as Al. pose proof (value_magnitude r) as Ar.
    pose proof (magnitude_nonneg l). pose proof (magnitude_nonneg r).
    pose proof (loss_nonneg _ _ _ Hl Hlost). pose proof (loss_nonneg _ _ _ Hr Hlost).
    pose proof (Rabs_pos delta). pose proof (exp_ineq1_le u) as Eu.
    set (t := Rmax (roundings_total l) (roundings_total r)).
    assert (El : exp (roundings_total l) <= exp t) by (apply exp_le, Rmax_l).
    assert (Er : exp (roundings_total r) <= exp t) by (apply exp_le, Rmax_r).
    rewrite exp_plus. set (E := exp t) in *. pose proof (exp_pos t). fold E in H4.
    eapply Rle_trans.
    + apply (rounding_step (x + y) _ delta u
        ((E - 1) * (magnitude l + magnitude r) + (loss lost l + loss lost r))); try lra.
      replace (x + y - (value l + value r)) with (x - value l + (y - value r)) by ring.
      eapply Rle_trans; [apply Rabs_triang |].
      assert ((exp (roundings_total l) - 1) * magnitude l <= (E - 1) * magnitude l)
        by (apply Rmult_le_compat_r; lra).
      assert ((exp (roundings_total r) - 1) * magnitude r <= (E - 1) * magnitude r)
        by (apply Rmult_le_compat_r; lra).
      lra.
    + assert (Rabs (value l + value r) <= magnitude l + magnitude r)
        by (eapply Rle_trans; [apply Rabs_triang | lra]).
      assert (u * Rabs (value l + value r) <= u * (magnitude l + magnitude r))
        by (apply Rmult_le_compat_l; lra).
      assert ((1 + u) * (E * (magnitude l + magnitude r))
        <= exp u * (E * (magnitude l + magnitude r))).
      { apply Rmult_le_compat_r; auto. apply Rmult_le_pos; lra. }
      lra.
  - pose proof (value_magnitude l) as Al. pose proof (value_magnitude r) as Ar.
    pose proof (magnitude_nonneg l). pose proof (magnitude_nonneg r).
    pose proof (loss_nonneg _ _ _ Hl Hlost). pose proof (loss_nonneg _ _ _ Hr Hlost).
    pose proof (Rabs_pos delta). pose proof (exp_ineq1_le u) as Eu.
    pose proof (exp_ge_1 _ (roundings_total_nonneg _ _ _ Hl)).
    pose proof (exp_ge_1 _ (roundings_total_nonneg _ _ _ Hr)).
    rewrite !exp_plus. set (E := exp (roundings_total l)) in *.
    set (F := exp (roundings_total r)) in *. set (A := magnitude l) in *.
    set (B := magnitude r) in *. set (s := loss lost l) in *. set (t := loss lost r) in *.
    assert (Product : Rabs (x * y - value l * value r)
      <= (E * F - 1) * (A * B) + (s * (F * B + t) + E * A * t)).
    { replace (x * y - value l * value r)
        with ((x - value l) * value r + value l * (y - value r) + (x - value l) * (y - value r))
        by ring.
      eapply Rle_trans; [apply Rabs_triang |].
      eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |]. rewrite !Rabs_mult.
      pose proof (Rabs_pos (x - value l)). pose proof (Rabs_pos (y - value r)).
      pose proof (Rabs_pos (value l)). pose proof (Rabs_pos (value r)).
      assert (Rabs (x - value l) * Rabs (value r) <= ((E - 1) * A + s) * B)
        by (apply Rmult_le_compat; auto).
      assert (Rabs (value l) * Rabs (y - value r) <= A * ((F - 1) * B + t))
        by (apply Rmult_le_compat; auto).
      assert (Rabs (x - value l) * Rabs (y - value r) <= ((E - 1) * A + s) * ((F - 1) * B + t))
        by (apply Rmult_le_compat; auto).
      lra. }
    set (rest := s * (F * B + t) + E * A * t) in *.
    replace (x * y * (1 + delta) + e - value l * value r)
      with (x * y * (1 + delta) - value l * value r + e) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    assert (Rabs (x * y * (1 + delta) - value l * value r)
      <= (1 + u) * ((E * F - 1) * (A * B) + rest) + u * Rabs (value l * value r))
      by (apply rounding_step; auto; lra).
    assert (Rabs (value l * value r) <= A * B)
      by (rewrite Rabs_mult; apply Rmult_le_compat; auto; apply Rabs_pos).
    assert (u * Rabs (value l * value r) <= u * (A * B)) by (apply Rmult_le_compat_l; lra).
    assert ((1 + u) * (E * F * (A * B)) <= exp u * (E * F * (A * B))).
    { apply Rmult_le_compat_r; auto. repeat apply Rmult_le_pos; lra. }
    lra.
Qed.

Lemma exp_minus_1_le rho : 0 <= rho < 1 -> exp rho - 1 <= rho / (1 - rho).
Proof.
  intros H. pose proof (exp_ineq1_le (- rho)) as L. pose proof (exp_opp_mult rho).
  pose proof (exp_pos rho). apply le_div; nra.
Qed.
