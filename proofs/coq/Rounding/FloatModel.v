(** IEEE arithmetic satisfies the model of Rounding.v (claim FP.softmax: the hypotheses can be met).

    Floats are the numbers with [precision] bits and exponents from [smallest] on, without an upper
    limit (no overflow); results are rounded to the nearest, ties in any way.  float64 has 53 bits
    and -1074, float32 has 24 bits and -149.  Steps: Flocq's relative error for one rounding; its
    theorem that a sum that is subnormal is exact; then induction on the tree of a computation. *)

Require Import Reals Lra Lia.
From Flocq Require Import Core Relative Plus_error.
From Attest.Foundations Require Import Sums.
From Attest.Rounding Require Import Rounding.
Open Scope R_scope.

Section Float.

Variables (smallest precision : Z) (ties : Z -> bool).
Hypothesis precision_positive : Prec_gt_0 precision.

(** 2^-precision *)
Definition unit_roundoff : R := bpow radix2 (- precision).

(** Half the smallest positive number: the most that one result loses to gradual underflow. *)
Definition underflow_loss : R := bpow radix2 (smallest - 1).

Definition float (x : R) : Prop := generic_format radix2 (FLT_exp smallest precision) x.
Definition rounded (x : R) : R := round radix2 (FLT_exp smallest precision) (Znearest ties) x.

Lemma half_bpow e : / 2 * bpow radix2 e = bpow radix2 (e - 1).
Proof. unfold Zminus. rewrite bpow_plus. simpl. lra. Qed.

Lemma half_ulp_1 : / 2 * bpow radix2 (- precision + 1) = unit_roundoff.
Proof. rewrite half_bpow. unfold unit_roundoff. f_equal. lia. Qed.

Lemma float_rounded x : float (rounded x).
Proof. apply generic_format_round; [apply FLT_exp_valid | apply valid_rnd_N]; auto. Qed.

Lemma rounded_product x : exists delta e,
  Rabs delta <= unit_roundoff /\ Rabs e <= underflow_loss /\ rounded x = x * (1 + delta) + e.
Proof.
  destruct (error_N_FLT radix2 smallest precision precision_positive ties x)
    as (delta & e & Hd & He & _ & E).
  exists delta, e. rewrite half_ulp_1 in Hd. rewrite half_bpow in He. auto.
Qed.

Lemma rounded_sum x y : float x -> float y -> exists delta,
  Rabs delta <= unit_roundoff /\ rounded (x + y) = (x + y) * (1 + delta).
Proof.
  intros Hx Hy.
  destruct (FLT_plus_error_N_ex radix2 smallest precision ties x y Hx Hy) as (delta & Hd & E).
  exists delta. split; auto. eapply Rle_trans; [exact Hd |].
  unfold u_ro. rewrite half_ulp_1.
  assert (0 < unit_roundoff) by apply bpow_gt_0. apply div_le; nra.
Qed.

(** A quotient, judged by its own size: what [fp_softmax] asks of the last division. *)
Theorem fp_model_quotient x :
  Rabs (rounded x - x) <= unit_roundoff * Rabs (rounded x) + underflow_loss.
Proof.
  assert (0 < unit_roundoff) by apply bpow_gt_0. assert (0 < underflow_loss) by apply bpow_gt_0.
  pose proof (Rabs_pos (rounded x)).
  destruct (Rle_lt_dec (bpow radix2 (smallest + precision - 1)) (Rabs x)) as [Hx | Hx].
  - pose proof (relative_error_N_FLT_round radix2 smallest precision precision_positive ties x Hx)
      as E. rewrite half_ulp_1 in E. fold (rounded x) in E. lra.
  - pose proof (error_le_half_ulp radix2 (FLT_exp smallest precision) ties x) as E.
    fold (rounded x) in E.
    rewrite ulp_FLT_small, half_bpow in E; auto.
    + fold underflow_loss in E. nra.
    + eapply Rlt_trans; [exact Hx | apply bpow_lt; lia].
Qed.

(** The computation of a tree in floats. *)
Fixpoint evaluate (p : nat -> R) (t : tree) : R :=
  match t with
  | Leaf j => rounded (p j)
  | Add l r => rounded (evaluate p l + evaluate p r)
  | Scale f s => rounded (f * evaluate p s)
  end.

Fixpoint shrinking (t : tree) : Prop :=
  match t with
  | Leaf _ => True
  | Add l r => shrinking l /\ shrinking r
  | Scale f s => 0 <= f <= 1 /\ shrinking s
  end.

Lemma float_evaluate p t : float (evaluate p t).
Proof. destruct t; apply float_rounded. Qed.

Theorem fp_model p t : shrinking t -> computes unit_roundoff underflow_loss p t (evaluate p t).
Proof.
  induction t as [j | l IHl r IHr | f s IHs]; simpl; intros H.
  - destruct (rounded_product (p j)) as (delta & e & Hd & He & ->). constructor; auto.
  - destruct (rounded_sum (evaluate p l) (evaluate p r)) as (delta & Hd & ->);
      try apply float_evaluate. destruct H. constructor; auto.
  - destruct (rounded_product (f * evaluate p s)) as (delta & e & Hd & He & ->).
    destruct H. constructor; auto.
Qed.

(** With tiny the smallest normal number, [fp_logit]'s condition on underflow holds. *)
Theorem fp_model_tiny : 2 * underflow_loss <= bpow radix2 (smallest + precision - 1).
Proof.
  replace (2 * underflow_loss) with (bpow radix2 smallest).
  - apply bpow_le. unfold Prec_gt_0 in precision_positive. lia.
  - unfold underflow_loss. rewrite <- half_bpow. lra.
Qed.

End Float.
