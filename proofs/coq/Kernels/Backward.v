(** Gradients of an attention kernel, given what it returned itself (claim FP.kernel_backward).

    A kernel makes  dS_ij = p_ij (dP_ij - D_i),  D_i = dO_i . o_i  with its own output o_i, which is known; then
    dQ = scale dS K, dK = scale dS^T Q, dV = P^T dO.

    Steps: (1) what a factor of every term is off by adds up, and is rounded with the sum
    ([fp_kernel_gradient]); (2) a partial sum that is rounded again carries its error on
    ([fp_kernel_partial]), or by half the gap between numbers of its format
    ([fp_kernel_standing]), block by block ([fp_kernel_partials]). *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Rounding Require Import Rounding.
Open Scope R_scope.

Lemma kernel_gradient_form E M g L : b_kernel_gradient E M g L = (1 + g) * E + g * M + L.
Proof. unfold b_kernel_gradient. ring. Qed.

(** [a'] are the computed factors, off by e; s is within g of the sum of their products, but for [L]. *)
Theorem fp_kernel_gradient n a a' b e s E M g L : 0 <= g ->
  (forall j, (j < n)%nat -> Rabs (a' j - a j) <= e j) ->
  fsum n (fun j => e j * Rabs (b j)) <= E -> fsum n (fun j => Rabs (a j * b j)) <= M ->
  Rabs (s - fsum n (fun j => a' j * b j)) <= g * fsum n (fun j => Rabs (a' j * b j)) + L ->
  Rabs (s - fsum n (fun j => a j * b j)) <= b_kernel_gradient E M g L.
Proof.
  intros Hg Ha HE HM Hs. rewrite kernel_gradient_form.
  assert (D : fsum n (fun j => Rabs ((a' j - a j) * b j)) <= E).
  { eapply Rle_trans; [apply fsum_le | exact HE]. intros j Hj. rewrite Rabs_mult.
    apply Rmult_le_compat_r; [apply Rabs_pos | auto]. }
  assert (T : fsum n (fun j => Rabs (a' j * b j)) <= E + M).
  { apply Rle_trans with (fsum n (fun j => Rabs ((a' j - a j) * b j) + Rabs (a j * b j))).
    - apply fsum_le. intros j _. replace (a' j * b j) with ((a' j - a j) * b j + a j * b j) by ring.
      apply Rabs_triang.
    - rewrite fsum_plus. lra. }
  assert (F : Rabs (fsum n (fun j => a' j * b j) - fsum n (fun j => a j * b j)) <= E).
  { rewrite <- fsum_minus. eapply Rle_trans; [apply fsum_abs |]. eapply Rle_trans; [| exact D].
    right. apply fsum_ext. intros. f_equal. ring. }
  replace (s - fsum n (fun j => a j * b j))
    with ((s - fsum n (fun j => a' j * b j)) + (fsum n (fun j => a' j * b j) - fsum n (fun j => a j * b j)))
    by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  assert (g * fsum n (fun j => Rabs (a' j * b j)) <= g * (E + M)) by (apply Rmult_le_compat_l; auto).
  lra.
Qed.

Lemma partial_form e S r : b_kernel_partial e S r = (1 + r) * e + r * S.
Proof. unfold b_kernel_partial. ring. Qed.

(** A sum that is off by e and rounded to a format of unit roundoff r. *)
Theorem fp_kernel_partial x S e r delta : 0 <= r -> Rabs delta <= r -> Rabs (x - S) <= e ->
  Rabs (x * (1 + delta) - S) <= b_kernel_partial e (Rabs S) r.
Proof.
  intros Hr Hd He. rewrite partial_form. apply rounding_step; auto.
Qed.

(** A sum that is off by e and rounded to a number no further off than [h] says of its size: half the gap
    between the numbers of a format, which grows with their size. *)
Theorem fp_kernel_standing (fl h : R -> R) x S e :
  (forall y z, 0 <= y <= z -> h y <= h z) -> (forall y, Rabs (fl y - y) <= h (Rabs y)) ->
  Rabs (x - S) <= e -> Rabs (fl x - S) <= b_kernel_standing e (h (Rabs S + e)).
Proof.
  intros Hh Hfl He. unfold b_kernel_standing.
  replace (fl x - S) with (fl x - x + (x - S)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  assert (h (Rabs x) <= h (Rabs S + e)).
  { apply Hh. split; [apply Rabs_pos |]. replace x with (S + (x - S)) by ring.
    eapply Rle_trans; [apply Rabs_triang | lra]. }
  specialize (Hfl x). lra.
Qed.

(** The error of a sum over m blocks, each of which is added to what stands in the format, off by e i. *)
Fixpoint carried (r : R) (e S : nat -> R) (m : nat) : R :=
  match m with
  | O => 0
  | S m => b_kernel_partial (carried r e S m + e m) (Rabs (fsum (Datatypes.S m) S)) r
  end.

(** [x] are the sums that stand in the format, [part] the blocks as they were computed. *)
Theorem fp_kernel_partials r e S part x delta m : 0 <= r -> x O = 0 ->
  (forall i, (i < m)%nat -> Rabs (part i - S i) <= e i /\ Rabs (delta i) <= r /\
    x (Datatypes.S i) = (x i + part i) * (1 + delta i)) ->
  Rabs (x m - fsum m S) <= carried r e S m.
Proof.
  intros Hr H0 H. induction m as [| m IH].
  - simpl. rewrite H0, Rminus_0_r, Rabs_R0. lra.
  - destruct (H m ltac:(lia)) as (E & D & ->). cbn [carried]. apply fp_kernel_partial; auto.
    rewrite fsum_S. replace (x m + part m - (fsum m S + S m)) with (x m - fsum m S + (part m - S m)) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. apply Rplus_le_compat; auto.
Qed.
