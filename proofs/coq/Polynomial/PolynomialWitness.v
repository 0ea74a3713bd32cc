(** The hypotheses of the theorems on polynomial weights hold together (claims P2.poly, P2.error).

    One key, the polynomial 1 and no logits but 0; and 4 keys whose logits are 0. *)

Require Import Reals Lra Lia List.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Polynomial Require Import Moments Polynomial.
Open Scope R_scope.

(** Of p2_poly_output. *)
Theorem p2_poly_satisfied : exists n d g c q K centre v b m kappa lo hi,
  (0 < n)%nat /\ 0 < m /\ fits_exp g c b m kappa /\
  bounded n (fun j => dot d q (shifted K centre j)) b /\ ranges n v lo hi /\ lo < hi.
Proof.
  exists 1%nat, 1%nat, 0%nat, (fun _ => 1), (fun _ => 1), (fun _ _ => 0), (fun _ => 0), (fun _ => 0),
    0, 1, 1, 0, 1.
  split; [lia | split; [lra | split; [| split; [| split; [| lra]]]]].
  - intros x Hx. apply Rabs_bounds in Hx. replace x with 0 by lra.
    unfold polynomial. simpl. rewrite Ropp_0, exp_0. lra.
  - intros j _. unfold dot, shifted. simpl. apply Rabs_le. lra.
  - intros j _. lra.
Qed.

(** Of p2_error_output. *)
Theorem p2_error_satisfied : exists d g q K v b M,
  0 <= b <= 1 /\ (2 <= g)%nat /\ bounded (2 ^ g) (fun j => dot d q (K j)) b /\ bounded (2 ^ g) v M /\
  0 < M.
Proof.
  exists 1%nat, 2%nat, (fun _ => 0), (fun _ _ => 0), (fun _ => 1), 1, 1.
  split; [lra | split; [lia | split; [| split; [| lra]]]].
  - intros j _. unfold dot. simpl. apply Rabs_le. lra.
  - intros j _. apply Rabs_le. lra.
Qed.
