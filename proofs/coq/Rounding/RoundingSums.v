(** Rounded sums and products on the way to a certificate (claims FP.sum, FP.product, FP.underflow).

    Steps: (1) a computed sum of nonnegative products lacks at most gamma times the exact one, and
    what underflow took, so the exact one follows from it; (2) every entry of a product of matrices
    is a dot product, whose error is that of a logit with the lengths of a row and a column for its
    magnitude; lengths of lengths are Frobenius norms; (3) what weights and products lose to
    underflow is counted, and taken relative to a lower bound on the sum of the weights. *)

Require Import Reals Lra.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Rounding Require Import Rounding.
Open Scope R_scope.

(** * FP.sum *)

Theorem fp_positive_sum n k u lost tiny p t s : 0 <= u -> 0 <= lost -> 2 * lost <= tiny ->
  INR k * u <= 1 / 4 -> (forall j, 0 <= p j) -> adds n t -> (roundings t <= k)%nat ->
  computes u lost p t s -> fsum n p <= b_positive_sum s n k u tiny.
Proof.
  intros Hu Hlost Htiny Hk Hp Ht Hr Hs.
  pose proof (fp_sum u lost p t s k Hu Hlost ltac:(lra) Hs Hr) as E.
  rewrite !(adds_exact n t) in E by auto.
  rewrite (fsum_ext n (fun j => Rabs (p j)) p) in E
    by (intros; apply Rabs_right, Rle_ge, Hp).
  rewrite (unscaled_products t), (adds_length n t) in E by (auto; apply Ht).
  apply Rabs_bounds in E. destruct E as [E _].
  assert (P : 0 <= fsum n p) by (apply fsum_nonneg; auto).
  pose proof (pos_INR n). pose proof (pos_INR k).
  assert (G : gamma k u * (1 - INR k * u) = INR k * u) by (unfold gamma; field; lra).
  pose proof (gamma_nonneg k u Hu ltac:(lra)).
  assert (G1 : gamma k u <= 1) by (apply div_le; lra).
  assert (L : (1 + gamma k u) * (INR n * lost) <= tiny * INR n).
  { assert (0 <= INR n * lost) by (apply Rmult_le_pos; auto). nra. }
  unfold b_positive_sum. apply le_div; [lra |].
  set (S := fsum n p) in *. set (c := INR k * u) in *.
  assert (Q : S * (1 - gamma k u) <= s + tiny * INR n) by lra.
  (* 1 - 2 c = (1 - gamma) (1 - c) <= 1 - gamma *)
  assert (F : (1 - gamma k u) * (1 - c) = 1 - 2 * c) by lra.
  assert (C : 0 <= c) by (apply Rmult_le_pos; auto).
  replace (1 - 2 * INR k * u) with (1 - 2 * c) by (unfold c; ring). rewrite <- F.
  assert (0 <= S * (1 - gamma k u)) by (apply Rmult_le_pos; lra). nra.
Qed.

(** * FP.product *)

(** A is m x d, B is d x n, and C what was computed. *)
Theorem fp_product m n d u lost tiny A B C : 0 <= u -> 0 <= lost -> 2 * lost <= tiny ->
  INR d * u <= 1 / 4 ->
  (forall i j, (i < m)%nat -> (j < n)%nat -> exists t, adds d t /\
     computes u lost (fun l => A i l * B l j) t (C i j)) ->
  frobenius m n (fun i j => C i j - fsum d (fun l => A i l * B l j))
    <= b_product_error d u (frobenius m d A) (frobenius d n B) (m * n) tiny.
Proof.
  intros Hu Hlost Htiny Hd H. rewrite (frobenius_columns d n B). unfold frobenius.
  set (NB := norm n (fun j => norm d (fun l => B l j))).
  pose proof (gamma_nonneg d u Hu ltac:(lra)) as G. pose proof (pos_INR d).
  assert (T : 0 <= INR d * tiny) by (apply Rmult_le_pos; lra).
  assert (HB : 0 <= NB) by apply norm_nonneg.
  assert (Row : forall i, (i < m)%nat ->
    norm n (fun j => C i j - fsum d (fun l => A i l * B l j))
      <= gamma d u * NB * norm d (A i) + sqrt (INR n) * (INR d * tiny)).
  { intros i Hi. pose proof (norm_nonneg d (A i)) as NA.
    eapply Rle_trans.
    - apply (norm_le n _ (fun j => (gamma d u * norm d (A i)) * norm d (fun l => B l j)
        + INR d * tiny)).
      intros j Hj. destruct (H i j Hi Hj) as (t & Ht & Hs).
      eapply Rle_trans; [apply (fp_logit d u lost tiny (A i) (fun l => B l j) t (C i j)
        (norm d (A i) * norm d (fun l => B l j))); auto; [lra | apply cauchy_schwarz] |].
      rewrite logit_form by lra. lra.
    - eapply Rle_trans; [apply (norm_triangle n
        (fun j => (gamma d u * norm d (A i)) * norm d (fun l => B l j))) |].
      rewrite norm_scale_nonneg by (apply Rmult_le_pos; auto). fold NB.
      apply Rplus_le_compat; [lra |].
      apply norm_entries; auto. intros. rewrite Rabs_right by lra. lra. }
  eapply Rle_trans.
  { apply (norm_le m _ (fun i => (gamma d u * NB) * norm d (A i)
      + sqrt (INR n) * (INR d * tiny))).
    intros i Hi. rewrite Rabs_right by (apply Rle_ge, norm_nonneg). auto. }
  eapply Rle_trans; [apply (norm_triangle m (fun i => (gamma d u * NB) * norm d (A i))) |].
  rewrite norm_scale_nonneg by (apply Rmult_le_pos; auto).
  assert (W : norm m (fun _ => sqrt (INR n) * (INR d * tiny))
    <= sqrt (INR m) * (sqrt (INR n) * (INR d * tiny))).
  { assert (0 <= sqrt (INR n) * (INR d * tiny)) by (apply Rmult_le_pos; auto; apply sqrt_pos).
    apply norm_entries; auto. intros. rewrite Rabs_right by lra. lra. }
  unfold b_product_error, gamma in *. rewrite mult_INR, sqrt_mult by apply pos_INR.
  set (NA := norm m (fun i => norm d (A i))) in *.
  replace (NA * NB * u * INR d / (1 - u * INR d))
    with (INR d * u / (1 - INR d * u) * NB * NA) by (field; lra). lra.
Qed.

(** * FP.underflow *)

(** n weights of c exponentials, each of which lost at most [gone]; the sum of weighted values of at
    most M <= 2 and that of the weights, with one product a key and one for each rescaling. *)
Theorem fp_underflow n c products g lost gone tiny M total lightest :
  0 <= lost -> 2 * lost <= tiny -> 0 <= gone <= 2 * INR c * tiny ->
  INR products <= INR n * INR c -> 0 <= g <= 1 / 3 -> 0 <= M <= 2 -> 0 < lightest <= total ->
  (1 + g) * (INR n * gone * M + INR products * lost)
    <= b_weights_underflow n c tiny lightest * total.
Proof.
  intros Hl Ht [Hg0 Hg] Hp [Hr0 Hr] [HM0 HM] [H0 Htotal].
  pose proof (pos_INR n). pose proof (pos_INR c). pose proof (pos_INR products).
  set (a := INR n * INR c * tiny).
  assert (Ha : 0 <= a) by (repeat apply Rmult_le_pos; lra).
  assert (A : INR n * gone * M <= 4 * a).
  { assert (INR n * gone <= 2 * a) by (unfold a; nra).
    assert (0 <= INR n * gone) by (apply Rmult_le_pos; lra). nra. }
  assert (B : INR products * lost <= a / 2).
  { apply Rle_trans with (INR n * INR c * (tiny / 2)); [| unfold a; lra].
    apply Rmult_le_compat; lra. }
  assert (B0 : 0 <= INR products * lost) by (apply Rmult_le_pos; lra).
  assert (A0 : 0 <= INR n * gone * M) by (repeat apply Rmult_le_pos; lra).
  apply Rle_trans with (8 * a); [nra |].
  assert (E : b_weights_underflow n c tiny lightest * total = 8 * a * (total / lightest))
    by (unfold b_weights_underflow, a; field; lra).
  rewrite E. assert (1 <= total / lightest) by (apply le_div; lra). nra.
Qed.
