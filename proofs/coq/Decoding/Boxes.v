(** The logit of a key of which only a box is known that holds its image (claim I.box).

    Steps: (1) a change of coordinates by M for both moves the logit by at most the distance of M M^T
    from the identity times both lengths (r_balance); (2) the exact images differ from those that were
    computed by errors, which move their product by Cauchy and Schwarz; (3) the product with any image
    of the box is at most that with its middle and, of magnitudes, with its half. *)

Require Import Reals Lra.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.RealHeads Require Import Expansion.
Open Scope R_scope.

(** The image of the key lies within the half of the middle in each coordinate. *)
Definition within (d : nat) (half middle image : nat -> R) : Prop :=
  forall l, (l < d)%nat -> Rabs (image l - middle l) <= half l.

(** What a logit of the box is at most, but for rounding. *)
Definition corner (d : nat) (image middle half : nat -> R) : R :=
  dot d image middle + dot d (fun l => Rabs (image l)) half.

Lemma below_corner d image middle half x : within d half middle x ->
  dot d image x <= corner d image middle half.
Proof.
  intros H. unfold corner, dot. rewrite <- fsum_plus. apply fsum_le. intros l Hl.
  specialize (H l Hl). pose proof (Rle_abs (image l * (x l - middle l))) as A.
  rewrite Rabs_mult in A.
  assert (Rabs (image l) * Rabs (x l - middle l) <= Rabs (image l) * half l)
    by (apply Rmult_le_compat_l; [apply Rabs_pos | exact H]).
  lra.
Qed.

Lemma within_length d middle half x : within d half middle x ->
  norm d x <= norm d (fun l => Rabs (middle l) + half l).
Proof.
  intros H. apply norm_le. intros l Hl. specialize (H l Hl).
  replace (x l) with (middle l + (x l - middle l)) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. lra.
Qed.

(** qi and ki are what was computed for the images of q and k. *)
Theorem i_box d M q k qi ki middle half computed : within d half middle ki ->
  dot d q k - computed
    <= b_box_slack (Rabs (computed - corner d qi middle half)) (frobenius d d (inverse_defect d M M))
         (norm d q) (norm d k) (norm d qi) (norm d (fun l => ki l - transformed d k M l))
         (norm d (fun l => qi l - transformed d q M l)) (norm d (fun l => Rabs (middle l) + half l)).
Proof.
  intros H. pose proof (r_balance d q k M M) as B. unfold b_balance_logit in B.
  set (eq := fun l => qi l - transformed d q M l). set (ek := fun l => ki l - transformed d k M l).
  pose proof (below_corner d qi middle half ki H) as C.
  pose proof (within_length d middle half ki H) as L.
  set (extent := norm d (fun l => Rabs (middle l) + half l)) in *.
  assert (E : dot d (transformed d q M) (transformed d k M)
              = dot d qi ki - dot d qi ek - dot d eq (transformed d k M)).
  { unfold dot. rewrite <- !fsum_minus. apply fsum_ext. intros l _. unfold eq, ek. ring. }
  assert (T : norm d (transformed d k M) <= extent + norm d ek).
  { rewrite (norm_ext d (transformed d k M) (fun l => ki l + - ek l))
      by (intros; unfold ek; ring).
    eapply Rle_trans; [apply norm_triangle |]. rewrite norm_opp. lra. }
  pose proof (dot_norm d qi ek) as D1. pose proof (dot_norm d eq (transformed d k M)) as D2.
  assert (D3 : norm d eq * norm d (transformed d k M) <= norm d eq * (extent + norm d ek))
    by (apply Rmult_le_compat_l; [apply norm_nonneg | exact T]).
  pose proof (Rabs_bounds _ _ B). pose proof (Rabs_bounds _ _ D1). pose proof (Rabs_bounds _ _ D2).
  pose proof (Rabs_bounds _ _ (Rle_refl (Rabs (computed - corner d qi middle half)))).
  unfold b_box_slack. lra.
Qed.
