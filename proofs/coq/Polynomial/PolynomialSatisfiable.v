(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude.

    The polynomial is 1, whose quotient by exp is that of its second and fourth derivatives too; on
    [-1/4, 1/4] it is between 3/4 and 3.  Nothing is rounded: an error of 0 is one of the errors that the
    model allows. *)

Require Import Reals Lra Lia.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Rounding Require Import RoundingSatisfiable Expressions.
From Attest.Polynomial Require Import Moments Polynomial RoundingMoments KappaGrid Minimax.
From Attest.Polynomial Require Import PolynomialWitness.
Open Scope R_scope.

Definition ends (i : nat) : R := match i with O => - (1 / 4) | S _ => 1 / 4 end.

Lemma ends_grid : grid 1 ends (- (1 / 4)) (1 / 4) (1 / 2).
Proof. split; [reflexivity | split; [reflexivity |]]. intros [| i] Hi; [cbn; lra | lia]. Qed.

Lemma quarter_exp t : Rabs t <= 1 / 4 -> 3 / 4 <= exp (- t) <= 3.
Proof.
  intros H. apply Rabs_bounds in H. pose proof (exp_ineq1_le (- t)). split; [lra |].
  apply Rle_trans with (exp 1); [left; apply exp_increasing; lra | exact exp_le_3].
Qed.

Lemma ends_close i : Rabs (ends i) <= 1 / 4.
Proof. apply Rabs_le. destruct i; cbn; lra. Qed.

Lemma constant_curvature t : Rabs t <= 1 / 4 -> Rabs (quotient 0 (twisted 0 (twisted 0 one)) t) <= 3.
Proof.
  intros H. apply quarter_exp in H. apply Rabs_le.
  unfold quotient, polynomial, twisted, one. cbn [Sums.fsum Nat.ltb Nat.leb pow]. lra.
Qed.

Theorem p2_error_output_satisfiable :
  ~ (forall (d g : nat) (q : nat -> R) (K : nat -> nat -> R) (v : nat -> R) (b M : R), 0 <= b <=
    1 -> (2 <= g)%nat -> Softmax.bounded (2 ^ g) (fun j : nat => Vectors.dot d q (K j)) b ->
    Softmax.bounded (2 ^ g) v M -> False).
Proof.
  intros N. destruct p2_error_satisfied as (d & g & q & K & v & b & M & B & G & Q & V & _).
  exact (N d g q K v b M B G Q V).
Qed.

Theorem p2_poly_output_satisfiable :
  ~ (forall (n d g : nat) (c q : nat -> R) (K : nat -> nat -> R) (centre v : nat -> R) (b m
    kappa lo hi : R), (0 < n)%nat -> 0 < m -> Polynomial.fits_exp g c b m kappa ->
    Softmax.bounded n (fun j : nat => Vectors.dot d q (Moments.shifted K centre j)) b ->
    TotalVariation.ranges n v lo hi -> False).
Proof.
  intros N. destruct p2_poly_satisfied
    as (n & d & g & c & q & K & centre & v & b & m & kappa & lo & hi & H & P & F & B & V & _).
  exact (N n d g c q K centre v b m kappa lo hi H P F B V).
Qed.

Theorem p2_kappa_grid_satisfiable :
  ~ (forall (g : nat) (c : nat -> R) (N : nat) (x : nat -> R) (r step curvature top bottom : R),
    KappaGrid.grid N x (- r) r step -> (forall t : R, Rabs t <= r -> Rabs (KappaGrid.quotient g
    (KappaGrid.twisted g (KappaGrid.twisted g c)) t) <= curvature) -> (forall i : nat, (i <=
    N)%nat -> bottom <= Moments.polynomial g c (x i) * exp (- x i) <= top) -> 0 < bottom -
    curvature * step ^ 2 / 8 -> False).
Proof.
  intros N. apply (N 0%nat one 1%nat ends (1 / 4) (1 / 2) 3 3 (3 / 4)); [exact ends_grid | | | lra].
  - exact constant_curvature.
  - intros i _. pose proof (quarter_exp (ends i) (ends_close i)).
    unfold polynomial, one. cbn [Sums.fsum pow]. lra.
Qed.

Theorem p2_grid_curvature_satisfiable :
  ~ (forall (g : nat) (c : nat -> R) (N : nat) (x : nat -> R) (r step largest fourth t : R),
    KappaGrid.grid N x (- r) r step -> (forall i : nat, (i <= N)%nat -> Rabs (KappaGrid.quotient
    g (KappaGrid.twisted g (KappaGrid.twisted g c)) (x i)) <= largest) -> exp r *
    RoundingMoments.absolute_polynomial g (KappaGrid.twisted g (KappaGrid.twisted g
    (KappaGrid.twisted g (KappaGrid.twisted g c)))) r <= fourth -> Rabs t <= r -> False).
Proof.
  intros N. apply (N 0%nat one 1%nat ends (1 / 4) (1 / 2) 3 3 0); [exact ends_grid | | | plain].
  - intros i _. apply constant_curvature, ends_close.
  - pose proof (quarter_exp (- (1 / 4)) ltac:(apply Rabs_le; lra)) as H. rewrite Ropp_involutive in H.
    unfold absolute_polynomial, polynomial, twisted, one. cbn [Sums.fsum Nat.ltb Nat.leb pow].
    replace (0 - (0 - (0 - (0 - 1)))) with 1 by ring. rewrite Rabs_R1. lra.
Qed.

Theorem p2_minimax_floor_satisfiable :
  ~ (forall (g : nat) (c c' : nat -> R) (b : R) (x : nat -> R) (M m low kappa : R) (start :
    bool), 0 < m -> 0 < M -> 0 < low -> Minimax.increasing (S g) x -> (forall i : nat, (i <= S
    g)%nat -> Rabs (x i) <= b) -> (forall i : nat, (i <= S g)%nat -> if Bool.eqb (Nat.even i)
    start then M <= Moments.polynomial g c (x i) * exp (- x i) else Moments.polynomial g c (x i)
    * exp (- x i) <= m) -> Polynomial.fits_exp g c' b low kappa -> False).
Proof.
  intros N. apply (N 0%nat one one (1 / 4) ends 1 1 (3 / 4) 4 true); try lra.
  - intros i Hi. replace i with 0%nat by lia. cbn. lra.
  - intros i _. apply ends_close.
  - intros i Hi. pose proof (exp_ineq1_le (1 / 4)) as H. pose proof (Rinv_0_lt_compat _ (exp_pos (1 / 4))).
    destruct i as [| [| i]]; [| | lia]; cbn; unfold one.
    + rewrite Ropp_involutive. lra.
    + pose proof (exp_increasing (- (1 / 4)) 0 ltac:(lra)) as E. rewrite exp_0 in E. lra.
  - intros x Hx. apply quarter_exp in Hx. unfold polynomial, one. cbn [Sums.fsum pow]. lra.
Qed.

Theorem fp_grid_value_satisfiable :
  ~ (forall (g : nat) (c a : nat -> Expressions.expression) (x X A u exp_error rho : R) (k :
    nat), 0 <= u -> 0 <= exp_error -> (forall m : nat, 0 <= Expressions.roundings_total (c m) <=
    rho) -> (forall m : nat, 0 <= Expressions.roundings_total (a m) <= rho) -> (forall m : nat,
    Expressions.value (a m) = Expressions.magnitude (c m) /\ Expressions.magnitude (a m) =
    Expressions.magnitude (c m)) -> let weight := Expressions.Number (exp_error * u) (exp (- x))
    in Expressions.evaluates 0 (Expressions.Times u (RoundingMoments.horner_sum u
    (Expressions.Number 0 x) c 0 g) weight) X -> Expressions.evaluates 0 (Expressions.Times u
    (RoundingMoments.horner_sum u (Expressions.Number 0 (Rabs x)) a 0 g) weight) A -> 2 * (rho +
    (INR (2 * g) + exp_error + 1) * u) <= INR k * u -> INR k * u < 1 -> False).
Proof.
  intros N. set (unit := fun _ : nat => Number 0 1).
  set (X := 1 * (1 + 0) * (exp (- 0) * (1 + 0)) * (1 + 0) + 0).
  assert (E : forall x, evaluates 0 (Times (/ 8) (horner_sum (/ 8) x unit 0 0) (Number (1 * / 8) (exp (- 0)))) X).
  { intros x. apply evaluates_times; try constructor; rewrite Rabs_R0; lra. }
  apply (N 0%nat unit unit 0 X X (/ 8) 1 0 4%nat); try lra; try apply E; try (cbn; lra).
  - intros m. cbn. lra.
  - intros m. cbn. lra.
  - intros m. cbn. rewrite Rabs_R1. lra.
Qed.

Theorem fp_moments_output_satisfiable :
  ~ (forall (n d g : nat) (c q : nat -> R) (K : nat -> nat -> R) (v : nat -> R) (A M lost : R)
    (eN eD : Expressions.expression) (N D rho amplification underflow out u tiny : R), (0 <
    n)%nat -> 0 <= lost -> Softmax.bounded n v M -> TotalVariation.positive n
    (Polynomial.polynomial_weight d g c q K) -> Expressions.value eN = Vectors.dot n
    (Polynomial.polynomial_weight d g c q K) v -> Expressions.value eD = Sums.fsum n
    (Polynomial.polynomial_weight d g c q K) -> Expressions.magnitude eN <= A * M ->
    Expressions.magnitude eD <= A -> Expressions.evaluates lost eN N -> Expressions.evaluates
    lost eD D -> Expressions.roundings_total eN <= rho -> Expressions.roundings_total eD <= rho
    -> rho < 1 -> 0 < D -> A <= amplification * D -> Expressions.loss lost eN <= underflow * (M
    * D) -> Expressions.loss lost eD <= underflow * D -> Rabs (out - N / D) <= u * Rabs out +
    tiny -> False).
Proof.
  intros N. assert (W : polynomial_weight 1 0 one one (fun _ => one) 0 = 1).
  { unfold polynomial_weight, polynomial, one. cbn. ring. }
  assert (E : evaluates (/ 8) (Number (/ 8) 1) 1).
  { replace 1 with (1 * (1 + 0)) at 2 by ring. constructor. rewrite Rabs_R0. lra. }
  apply (N 1%nat 1%nat 0%nat one one (fun _ => one) one 1 1 (/ 8) (Number (/ 8) 1) (Number (/ 8) 1)
    1 1 (/ 8) 1 0 1 (/ 8) 0); try exact E; try lia; try lra; try (cbn; rewrite ?Rabs_R1; lra);
    try (plain; fail).
  - intros j Hj. replace j with 0%nat by lia. rewrite W. lra.
  - unfold dot. cbn [Sums.fsum]. rewrite W. unfold one. cbn. ring.
  - cbn [Sums.fsum]. rewrite W. cbn. ring.
Qed.
