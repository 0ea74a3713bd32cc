(** Gradient steps on attention regression (P4.descent with the constants of P4.lipschitz and P4.nearby).

    From anywhere in the basin of a critical point gradient steps of the loss, by X and Y at once,
    reach an accuracy in the number of steps of P4.descent; a step is one gradient, of which
    RegressionCost.v counts the products. *)

Require Import Reals.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Vectors.
From Attest.Regression Require Import Cumulants Regression Curvature AttentionRegression.
From Attest.Regression Require Import Newton RegressionNewton Descent.
Open Scope R_scope.

Section Descent.

Variables (g : regression) (z : nat -> R) (x : nat -> nat -> R).
Let n : nat := parameter_count g.
Let radius : R := distance n (x O) z.

Variables (sigma alpha rho r r3 phi M most : R).
Hypotheses (Hm : (0 < key_count g)%nat)
  (HS : spectral_bound (query_count g) (query_dimension g) (A1 g) sigma)
  (HA : row_bound (query_count g) (query_dimension g) (A1 g) alpha)
  (HK : in_ball (key_count g) (key_dimension g) (A2 g) rho)
  (HV : in_ball (key_count g) (outputs g) (key_value g (y_part g z)) r)
  (HF : in_ball (key_count g) (feature_dimension g) (A3 g) r3)
  (HP : row_bound (key_count g) (feature_dimension g) (A3 g) phi)
  (HM : spectral_bound (query_count g) (feature_dimension g) (mean_feature g (x_part g z)) M)
  (HR : row_bound (query_count g) (outputs g) (residual g (x_part g z) (y_part g z)) most).

(** The Lipschitz constant of the Hessian on the ball that reaches from z to the start. *)
Let r' : R := b_value_radius_nearby r r3 radius.
Let M' : R := b_mean_nearby M sigma rho r3 radius.
Let most' : R := b_residual_nearby most alpha rho r' phi radius.
Let K : R := b_hessian_lipschitz sigma alpha rho r' r3 M' most'.

Theorem p4_regression_descent tau mu L accuracy k : 0 < tau -> 0 < mu -> mu <= L ->
  tau * (L + mu) <= 2 -> critical n (parameter_gradient g) z ->
  eigenvalues_from n mu (parameter_hessian g z) -> eigenvalues_to n L (parameter_hessian g z) ->
  (forall j, gradient_step n tau (parameter_gradient g) (x j) (x (S j))) ->
  radius * b_gradient_basin_reciprocal mu K < 1 -> 0 < accuracy < distance n (x k) z ->
  INR k <= b_gradient_steps radius (radius / accuracy) tau mu K.
Proof.
  intros Ht Hmu HL HT Z Low High E N A.
  apply (p4_gradient_steps n z x tau mu L K (parameter_gradient g) (parameter_hessian g)); auto.
  - apply sqrt_pos.
  - apply (p4_hessian_smooth g z radius sigma alpha rho r r3 phi M most); auto.
  - apply parameter_hessian_symmetric.
Qed.

End Descent.
