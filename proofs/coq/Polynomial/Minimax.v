(** No polynomial of a degree does better than an alternation allows (claim P2.minimax).

    P (x) exp (- x) is at least M and at most m by turns at degree + 2 points.  Let another P' have
    kappa < M / m.  A multiple of P' is, times exp (- x), strictly between m and M on the interval,
    so its difference to P has strict signs that alternate at degree + 2 points: its derivative has
    such signs at degree + 1 points between them, and so on down to a constant. *)

Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Derivatives.
From Attest.Polynomial Require Import Moments Polynomial RoundingMoments.
Open Scope R_scope.

(** 1 for even i, - 1 for odd i *)
Definition sign (i : nat) : R := (-1) ^ i.

Definition increasing (n : nat) (x : nat -> R) : Prop :=
  forall i, (i < n)%nat -> x i < x (S i).

(** The coefficients of the derivative. *)
Definition derived (c : nat -> R) (m : nat) : R := INR (S m) * c (S m).

Lemma is_derive_polynomial g c x :
  is_derive (polynomial (S g) c) x (polynomial g (derived c) x).
Proof.
  unfold polynomial.
  replace (fsum (S g) (fun m => derived c m * x ^ m))
    with (fsum (S (S g)) (fun m => c m * (INR m * x ^ pred m))).
  - apply (is_derive_fsum (S (S g)) (fun m x => c m * x ^ m)
      (fun m x => c m * (INR m * x ^ pred m))). intros m. auto_derive; auto. ring.
  - rewrite fsum_shift. simpl INR at 1. rewrite Rmult_0_l, Rmult_0_r, Rplus_0_l.
    apply fsum_ext. intros m _. unfold derived. simpl pred. ring.
Qed.

Lemma finite_choice n (P : nat -> R -> Prop) : (forall i, (i < n)%nat -> exists x, P i x) ->
  exists x : nat -> R, forall i, (i < n)%nat -> P i (x i).
Proof.
  induction n; intros H.
  - exists (fun _ => 0). intros; lia.
  - destruct IHn as [x Hx]; [intros; apply H; lia |]. destruct (H n ltac:(lia)) as [y Hy].
    exists (fun i => if Nat.eqb i n then y else x i). intros i Hi.
    destruct (Nat.eqb_spec i n) as [-> |]; auto. apply Hx. lia.
Qed.

Lemma no_alternation g c x s : increasing (S g) x ->
  ~ (forall i, (i <= S g)%nat -> 0 < s * sign i * polynomial g c (x i)).
Proof.
  revert c x s. induction g; intros c x s Hx H.
  - pose proof (H 0%nat ltac:(lia)) as H0. pose proof (H 1%nat ltac:(lia)) as H1.
    unfold sign, polynomial in *. simpl in *. lra.
  - destruct (finite_choice (S (S g)) (fun i z => x i < z < x (S i) /\
      polynomial (S g) c (x (S i)) - polynomial (S g) c (x i)
        = polynomial g (derived c) z * (x (S i) - x i))) as [z Hz].
    { intros i Hi.
      apply (mean_value _ (polynomial g (derived c))); [apply is_derive_polynomial | auto]. }
    apply (IHg (derived c) z (- s)).
    + intros i Hi. pose proof (Hz i ltac:(lia)). pose proof (Hz (S i) ltac:(lia)). lra.
    + intros i Hi. destruct (Hz i ltac:(lia)) as [Hb E].
      pose proof (H i ltac:(lia)). pose proof (H (S i) ltac:(lia)) as H'.
      unfold sign in *. simpl in H'.
      apply Rmult_lt_reg_r with (x (S i) - x i); [lra |]. rewrite Rmult_0_l.
      rewrite Rmult_assoc, <- E. lra.
Qed.

Theorem p2_minimax_floor g c c' b x M m low kappa start : 0 < m -> 0 < M -> 0 < low ->
  increasing (S g) x -> (forall i, (i <= S g)%nat -> Rabs (x i) <= b) ->
  (* P alternates between the two levels *)
  (forall i, (i <= S g)%nat -> if Bool.eqb (Nat.even i) start
     then M <= polynomial g c (x i) * exp (- x i) else polynomial g c (x i) * exp (- x i) <= m) ->
  (* another polynomial of the degree *)
  fits_exp g c' b low kappa -> M / m <= b_minimax_floor kappa.
Proof.
  intros Hm HM Hlow Hx Hb Halt Hfit. unfold b_minimax_floor. apply Rnot_lt_le. intros Hlt.
  assert (Hk : 0 < kappa).
  { pose proof (Hfit _ (Hb 0%nat ltac:(lia))). apply Rmult_lt_reg_l with low; lra. }
  assert (Hgap : m * kappa < M).
  { apply Rmult_lt_reg_r with (/ m); [apply Rinv_0_lt_compat; auto |].
    replace (m * kappa * / m) with kappa by (field; lra). exact Hlt. }
  (* low scale is between m and M / kappa *)
  set (scale := (m + M / kappa) / (2 * low)).
  assert (Hs : m < scale * low /\ scale * (low * kappa) < M).
  { unfold scale. assert (m < M / kappa).
    { apply Rmult_lt_reg_r with kappa; auto. replace (M / kappa * kappa) with M by (field; lra).
      lra. }
    replace ((m + M / kappa) / (2 * low) * low) with ((m + M / kappa) / 2) by (field; lra).
    replace ((m + M / kappa) / (2 * low) * (low * kappa)) with ((m * kappa + M) / 2)
      by (field; lra). lra. }
  assert (Hscale : 0 < scale).
  { unfold scale. apply Rmult_lt_0_compat; [| apply Rinv_0_lt_compat; lra].
    apply Rplus_lt_0_compat; auto. apply Rmult_lt_0_compat; auto. apply Rinv_0_lt_compat; auto. }
  apply (no_alternation g (fun k => c k - scale * c' k) x (if start then 1 else -1)
    Hx). intros i Hi.
  assert (E : polynomial g (fun k => c k - scale * c' k) (x i)
    = polynomial g c (x i) - scale * polynomial g c' (x i)).
  { unfold polynomial. rewrite <- fsum_scale, <- fsum_minus. apply fsum_ext. intros. ring. }
  rewrite E. pose proof (exp_pos (- x i)) as He.
  apply Rmult_lt_reg_r with (exp (- x i)); auto. rewrite Rmult_0_l.
  specialize (Halt i Hi). specialize (Hfit _ (Hb i Hi)).
  set (p := polynomial g c (x i)) in *. set (p' := polynomial g c' (x i)) in *.
  assert (scale * low <= scale * (p' * exp (- x i)) <= scale * (low * kappa))
    by (split; apply Rmult_le_compat_l; lra).
  assert (S : sign i = if Nat.even i then 1 else -1).
  { unfold sign. clear. induction i; [reflexivity |]. rewrite Nat.even_succ, <- Nat.negb_even.
    simpl. rewrite IHi. destruct (Nat.even i); simpl; ring. }
  rewrite S. destruct (Nat.even i), start; simpl in Halt; lra.
Qed.
