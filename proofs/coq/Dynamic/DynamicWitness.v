(** The hypotheses of the theorems on dynamic attention hold together (claims P1.update, P1.pair,
    P1.reduction, P1.blocks).

    One token, one column, a rebuild after every update; and reads without any error.  What the
    reductions ask of a structure is met by [kept_structure] of PrintedPair.v. *)

Require Import Reals Lra Lia List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Dynamic Require Import Tokens Pending Cached Dynamic DynamicCost HintedMv.
From Attest.Dynamic Require Import FastBlocks PrintedPair.
Import ListNotations.
Open Scope R_scope.

Definition one_token : tokens :=
  Tokens 1 (fun _ => true) (fun _ _ => 1) (fun _ _ => 0) (fun _ _ => 1).

Definition one_by_one : settings := Settings 1 false false 1 (fun _ _ => 0) (le_n 1).

Existing Instance one_by_one.

(** Of p1_update_exact and p1_update_attained. *)
Theorem p1_update_satisfied : exists (us : list (nat * nat * R)) m, sliced = false /\ (count one_token <= 1)%nat /\
  Forall (fun u => (snd (fst u) < dimension)%nat /\ live one_token (fst (fst u)) = true) us /\
  apart [] (map (fun u => fst (fst u)) us) /\ length us = (m * limit)%nat /\ us <> [].
Proof.
  exists [(0%nat, 0%nat, 1)], 1%nat. repeat split; simpl; auto; try discriminate.
Qed.

(** Of p1_pair_update and p1_pair_query, p1_entries_query and p1_columns_query. *)
Theorem p1_pair_satisfied tau : exists T ops T' s, sliced = false /\ Forall valid ops /\
  run T Cache ops = (T', InCache s) /\ (0 < count T')%nat /\ count T' = 1%nat /\
  INR limit - 1 <= power (count T') tau.
Proof.
  exists one_token, [], one_token, (c_build one_token 1). repeat split; auto.
  replace (INR limit - 1) with 0 by (simpl; ring). left. apply exp_pos.
Qed.

(** Of p1_blocks_amortised, with blocks of one. *)
Theorem p1_blocks_satisfied : exists m w, limit = (2 ^ m)%nat /\ sliced = false /\
  ln 7 <= w * ln 2 /\ (count one_token mod limit)%nat = 0%nat /\ ((1 + 1) mod limit)%nat = 0%nat.
Proof.
  exists 0%nat, (28074 / 10000). repeat split; auto using p1_blocks_exponent.
Qed.

(** Of p1_reduction_error and p1_reduction_mistakes, for every c > 0: reads without error. *)
Theorem p1_reduction_satisfied c : 0 < c ->
  exists n M P V ones E u read quotient difference threshold answers,
  lists_ones n P ones /\ 0 <= u /\ E * (INR n + exp (c * INR (length ones))) < 1 /\
  (0 < n)%nat /\
  (forall j i, (j < n)%nat -> (i < n)%nat ->
    let out := attention_of n false (prepared n c M V ones) j in
    Rabs (read j i - out i) <= E /\ Rabs (read j n - out n) <= E /\
    Rabs (quotient j i - read j i / read j n) <= u * Rabs (read j i / read j n) /\
    Rabs (difference j i - (quotient j i - column_sum n V i))
      <= u * Rabs (quotient j i - column_sum n V i) /\
    (answers j i = true <-> threshold < difference j i)) /\
  b_reduction_error n c (length ones) E u < threshold /\
  threshold < exp c - 1 - b_reduction_error n c (length ones) E u.
Proof.
  intros Hc. set (all := fun _ _ : nat => true). set (ones := [(0%nat, 0%nat)]).
  set (out := attention_of 1 false (prepared 1 c all all ones)).
  set (quotient := fun j i => out j i / out j 1%nat).
  set (difference := fun j i => quotient j i - column_sum 1 all i).
  assert (L : lists_ones 1 all ones).
  { intros l k. unfold all, ones. simpl. split.
    - intros [E | []]. injection E as <- <-. auto.
    - intros (H & H' & _). left. f_equal; lia. }
  assert (Z : b_reduction_error 1 c (length ones) 0 0 = 0)
    by (unfold b_reduction_error; field; lra).
  assert (X : 1 < exp c) by (rewrite <- exp_0; apply exp_increasing; exact Hc).
  exists 1%nat, all, all, all, ones, 0, 0, out, quotient, difference, ((exp c - 1) / 2),
    (fun j i => if Rlt_dec ((exp c - 1) / 2) (difference j i) then true else false).
  rewrite Z. split; [exact L | split; [lra | split; [lra | split; [lia | split; [| split; lra]]]]].
  intros j i _ _. cbv zeta. fold (out j). unfold difference, quotient.
  repeat (split; [rewrite Rminus_diag_eq, Rabs_R0 by reflexivity; lra |]).
  destruct (Rlt_dec _ _) as [Y | Y]; split; intros H; auto; try discriminate H; contradiction.
Qed.
