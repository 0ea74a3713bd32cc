(** What keys and values that stand for others can do to attention (claims I.discrepancy, I.coreset,
    FP.discrepancy).

    Steps: (1) by induction on the degree, (sum_j w_j (q.x_j)^m)^2 <= |q|^(2m) sum_ij w_i w_j
    (x_i.x_j)^m: one factor q.x_j is a sum over coordinates, of which each has the weights w_j x_ja,
    and Cauchy and Schwarz put them together again; no tensor is named; (2) the exponential of a
    logit is its Taylor polynomial at the product and, key by key, a remainder and what the logit
    differs; (3) a quotient of sums that are off by shares of the denominator; (4) the computed Gram
    sum is an expression of sums and products (fp_expression). *)

Require Import Reals Lra.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax Taylor.
From Attest.Rounding Require Import Expressions.
Open Scope R_scope.

(** * Degrees *)

(** sum_ij w_i w_j (x_i.x_j)^m *)
Definition gram (n d m : nat) (w : nat -> R) (x : nat -> nat -> R) : R :=
  fsum n (fun i => fsum n (fun j => w i * w j * dot d (x i) (x j) ^ m)).

(** sum_j w_j (q.x_j)^m *)
Definition part (n d m : nat) (w q : nat -> R) (x : nat -> nat -> R) : R :=
  fsum n (fun j => w j * dot d q (x j) ^ m).

Lemma part_step n d m w q x :
  part n d (S m) w q x = dot d q (fun a => part n d m (fun j => w j * x j a) q x).
Proof.
  unfold part. transitivity (fsum n (fun j => fsum d (fun a => q a * (w j * x j a * dot d q (x j) ^ m)))).
  - apply fsum_ext. intros j _. cbn [pow].
    replace (w j * (dot d q (x j) * dot d q (x j) ^ m))
      with (w j * dot d q (x j) ^ m * dot d q (x j)) by ring.
    unfold dot at 2. rewrite <- fsum_scale. apply fsum_ext. intros. ring.
  - rewrite fsum_swap. unfold dot. apply fsum_ext. intros a _. apply fsum_scale.
Qed.

Lemma gram_step n d m w x :
  gram n d (S m) w x = fsum d (fun a => gram n d m (fun j => w j * x j a) x).
Proof.
  unfold gram.
  transitivity (fsum n (fun i => fsum d (fun a =>
    fsum n (fun j => w i * x i a * (w j * x j a) * dot d (x i) (x j) ^ m)))).
  - apply fsum_ext. intros i _. rewrite fsum_swap. apply fsum_ext. intros j _. cbn [pow].
    replace (w i * w j * (dot d (x i) (x j) * dot d (x i) (x j) ^ m))
      with (w i * w j * dot d (x i) (x j) ^ m * dot d (x i) (x j)) by ring.
    unfold dot at 2. rewrite <- fsum_scale. apply fsum_ext. intros. ring.
  - rewrite fsum_swap. reflexivity.
Qed.

Lemma gram_0 n d w x : gram n d 0 w x = fsum n w ^ 2.
Proof.
  unfold gram. cbn [pow]. rewrite Rmult_1_r, <- fsum_scale_r. apply fsum_ext. intros i _.
  rewrite <- fsum_scale. apply fsum_ext. intros. ring.
Qed.

Lemma part_square n d m q x : forall w, part n d m w q x ^ 2 <= (norm d q ^ 2) ^ m * gram n d m w x.
Proof.
  induction m; intros w.
  - rewrite gram_0. unfold part. cbn [pow].
    rewrite (fsum_ext n (fun j => w j * 1) w) by (intros; ring). lra.
  - rewrite part_step, gram_step. eapply Rle_trans; [apply dot_square |].
    change ((norm d q ^ 2) ^ S m) with (norm d q ^ 2 * (norm d q ^ 2) ^ m).
    rewrite Rmult_assoc. apply Rmult_le_compat_l; [apply pow2_ge_0 |].
    rewrite norm_square, <- fsum_scale. apply fsum_le. intros a _. apply IHm.
Qed.

Lemma gram_nonneg n d m x : forall w, 0 <= gram n d m w x.
Proof.
  induction m; intros w; [rewrite gram_0; apply pow2_ge_0 |].
  rewrite gram_step. apply fsum_nonneg. auto.
Qed.

Lemma part_le n d m w q x : Rabs (part n d m w q x) <= norm d q ^ m * sqrt (gram n d m w x).
Proof.
  apply square_le.
  - apply Rmult_le_pos; [apply pow_le, norm_nonneg | apply sqrt_pos].
  - rewrite pow2_abs, Rpow_mult_distr, pow2_sqrt by apply gram_nonneg.
    rewrite <- pow_mult, Nat.mul_comm, pow_mult. apply part_square.
Qed.

Theorem i_power n d m w q x :
  Rabs (part n d m w q x / INR (fact m))
    <= b_power_discrepancy (norm d q) (sqrt (gram n d m w x)) m.
Proof.
  rewrite Rabs_div_pos by apply INR_fact_lt_0. pose proof (part_le n d m w q x).
  pose proof (Rinv_0_lt_compat _ (INR_fact_lt_0 m)).
  replace (b_power_discrepancy (norm d q) (sqrt (gram n d m w x)) m)
    with (norm d q ^ m * sqrt (gram n d m w x) * / INR (fact m))
    by (unfold b_power_discrepancy; field; apply INR_fact_neq_0).
  apply Rmult_le_compat_r; lra.
Qed.

(** One vector along the query. *)
Theorem i_power_attained d m w c q :
  Rabs (part 1 d m (fun _ => w) q (fun _ l => c * q l) / INR (fact m))
    = b_power_discrepancy (norm d q) (sqrt (gram 1 d m (fun _ => w) (fun _ l => c * q l))) m.
Proof.
  rewrite Rabs_div_pos by apply INR_fact_lt_0.
  unfold b_power_discrepancy, part, gram. cbn [fsum]. rewrite !Rplus_0_l.
  assert (E : dot d (fun l => c * q l) (fun l => c * q l) = (c * norm d q) ^ 2).
  { rewrite dot_scale. replace (dot d (fun l => c * q l) q) with (dot d q (fun l => c * q l)).
    - rewrite dot_scale, dot_length. ring.
    - unfold dot. apply fsum_ext. intros. ring. }
  rewrite E, dot_scale, dot_length, <- pow_mult, (Nat.mul_comm 2 m), pow_mult.
  replace (w * w * ((c * norm d q) ^ m) ^ 2) with (Rsqr (w * (c * norm d q) ^ m))
    by (unfold Rsqr; ring).
  rewrite sqrt_Rsqr_abs.
  replace (w * (c * norm d q ^ 2) ^ m) with (norm d q ^ m * (w * (c * norm d q) ^ m)).
  - rewrite Rabs_mult, (Rabs_right (norm d q ^ m)) by apply Rle_ge, pow_le, norm_nonneg.
    field. apply INR_fact_neq_0.
  - rewrite !Rpow_mult_distr. ring_simplify. rewrite <- pow_mult, Nat.mul_comm, pow_mult. ring.
Qed.

(** * The series *)

(** Every logit is within eta of the product. *)
Definition near_products (n d : nat) (q : nat -> R) (x : nat -> nat -> R) (t : nat -> R) (eta : R) :
  Prop := forall j, (j < n)%nat -> Rabs (t j - dot d q (x j)) <= eta.

(** No product of lengths exceeds r. *)
Definition reaches (n d : nat) (q : nat -> R) (x : nat -> nat -> R) (r : R) : Prop :=
  forall j, (j < n)%nat -> norm d q * norm d (x j) <= r.

Lemma exp_minus_1_small e : 0 <= e -> exp e - 1 <= e * exp e.
Proof.
  intros H. pose proof (exp_ineq1_le (- e)) as L. pose proof (exp_opp_mult e) as M.
  pose proof (exp_pos e). assert ((1 + - e) * exp e <= exp (- e) * exp e)
    by (apply Rmult_le_compat_r; lra). lra.
Qed.

Lemma exp_moved s t e : Rabs (t - s) <= e -> Rabs (exp t - exp s) <= exp s * (e * exp e).
Proof.
  intros H. pose proof (Rabs_pos (t - s)) as P. pose proof (exp_minus_1_small e ltac:(lra)) as S.
  pose proof (exp_pos s). pose proof (exp_pos e). pose proof (Rabs_bounds _ _ H) as B.
  replace t with (s + (t - s)) by ring. rewrite exp_plus.
  replace (exp s * exp (t - s) - exp s) with (exp s * (exp (t - s) - 1)) by ring.
  rewrite Rabs_mult, Rabs_right by lra. apply Rmult_le_compat_l; [lra |].
  apply Rabs_le. pose proof (exp_le (t - s) e ltac:(lra)). pose proof (exp_ineq1_le (t - s)).
  pose proof (exp_ge_1 e ltac:(lra)). assert (e * 1 <= e * exp e) by (apply Rmult_le_compat_l; lra).
  lra.
Qed.

Lemma near_polynomial g s t r eta : Rabs s <= r -> Rabs (t - s) <= eta ->
  Rabs (exp t - taylor g s) <= exp r * (next_term g r + eta * exp eta).
Proof.
  intros Hs Ht. pose proof (Rabs_pos s). pose proof (Rabs_pos (t - s)). pose proof (exp_pos eta).
  pose proof (Rle_abs s). assert (E : exp s <= exp r) by (apply exp_le; lra).
  replace (exp t - taylor g s) with (exp t - exp s + (exp s - taylor g s)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  pose proof (exp_moved s t eta Ht) as M.
  pose proof (s_taylor_absolute g s) as T. rewrite absolute_form in T.
  assert (exp (Rmax 0 s) <= exp r) by (apply exp_le, Rmax_lub; lra).
  assert (next_term g (Rabs s) * exp (Rmax 0 s) <= next_term g r * exp r).
  { apply Rmult_le_compat; auto.
    - apply next_term_nonneg. lra.
    - left. apply exp_pos.
    - apply next_term_le. lra. }
  assert (exp s * (eta * exp eta) <= exp r * (eta * exp eta)).
  { apply Rmult_le_compat_r; auto. apply Rmult_le_pos; lra. }
  lra.
Qed.

Lemma series_parts n d g w q x :
  fsum n (fun j => w j * taylor g (dot d q (x j)))
    = fsum (S g) (fun m => part n d m w q x / INR (fact m)).
Proof.
  unfold taylor, part.
  rewrite (fsum_ext n _ (fun j => fsum (S g) (fun m => w j * dot d q (x j) ^ m / INR (fact m)))).
  - rewrite fsum_swap. apply fsum_ext. intros m _. apply fsum_div.
  - intros j _. rewrite <- fsum_scale. apply fsum_ext. intros. unfold Rdiv. ring.
Qed.

Theorem i_series n d g w q x t r eta : near_products n d q x t eta -> reaches n d q x r ->
  Rabs (fsum n (fun j => w j * exp (t j)))
    <= b_series_discrepancy
         (fsum (S g) (fun m => b_power_discrepancy (norm d q) (sqrt (gram n d m w x)) m))
         (fsum n (fun j => Rabs (w j))) r g eta.
Proof.
  intros Ht Hr. set (K := exp r * (next_term g r + eta * exp eta)).
  replace (fsum n (fun j => w j * exp (t j)))
    with (fsum n (fun j => w j * taylor g (dot d q (x j)))
          + fsum n (fun j => w j * (exp (t j) - taylor g (dot d q (x j)))))
    by (rewrite <- fsum_plus; apply fsum_ext; intros; ring).
  eapply Rle_trans; [apply Rabs_triang |]. rewrite series_parts.
  assert (A : Rabs (fsum (S g) (fun m => part n d m w q x / INR (fact m)))
    <= fsum (S g) (fun m => b_power_discrepancy (norm d q) (sqrt (gram n d m w x)) m)).
  { eapply Rle_trans; [apply fsum_abs |]. apply fsum_le. intros. apply i_power. }
  assert (B : Rabs (fsum n (fun j => w j * (exp (t j) - taylor g (dot d q (x j)))))
    <= fsum n (fun j => Rabs (w j)) * K).
  { eapply Rle_trans; [apply fsum_abs |]. rewrite <- fsum_scale_r. apply fsum_le. intros j Hj.
    rewrite Rabs_mult. apply Rmult_le_compat_l; [apply Rabs_pos |]. apply near_polynomial; auto.
    eapply Rle_trans; [apply dot_norm | auto]. }
  replace (b_series_discrepancy
    (fsum (S g) (fun m => b_power_discrepancy (norm d q) (sqrt (gram n d m w x)) m))
    (fsum n (fun j => Rabs (w j))) r g eta)
    with (fsum (S g) (fun m => b_power_discrepancy (norm d q) (sqrt (gram n d m w x)) m)
          + fsum n (fun j => Rabs (w j)) * K); [lra |].
  unfold b_series_discrepancy, K, next_term. change (1 + g)%nat with (S g).
  field. apply INR_fact_neq_0.
Qed.

(** * The quotient *)

(** N and D are the sums over the keys that were kept, with their weights. *)
Theorem i_coreset n s v N D y : 0 < D -> Rabs (fsum n (fun j => exp (s j)) - D) / D < 1 ->
  Rabs (dot n (softmax n s) v - y)
    <= b_coreset_output (Rabs (N / D - y)) (Rabs (fsum n (fun j => exp (s j) * v j) - N) / D)
         (Rabs (fsum n (fun j => exp (s j)) - D) / D) (Rabs y).
Proof.
  intros HD Hb. set (T := fsum n (fun j => exp (s j))) in *.
  set (U := fsum n (fun j => exp (s j) * v j)). set (b := Rabs (T - D) / D) in *.
  set (a := Rabs (U - N) / D). set (r := Rabs (N / D - y)).
  assert (Eb : Rabs (T - D) = b * D) by (unfold b; field; lra).
  assert (Ea : Rabs (U - N) = a * D) by (unfold a; field; lra).
  pose proof (Rabs_bounds (T - D) (b * D) ltac:(lra)) as B.
  assert (P : 0 < (1 - b) * D) by (apply Rmult_lt_0_compat; lra).
  assert (HT : 0 < T) by lra.
  assert (O : dot n (softmax n s) v = U / T).
  { unfold dot, softmax, normalize, U. fold T. rewrite <- fsum_div. apply fsum_ext. intros.
    field. lra. }
  pose proof (Rabs_pos (N / D - y)) as R0. fold r in R0. pose proof (Rabs_pos y) as Y0.
  pose proof (Rabs_pos (T - D)). pose proof (Rabs_pos (U - N)).
  assert (M : Rabs (N / D) <= Rabs y + r).
  { replace (N / D) with (y + (N / D - y)) by ring. apply Rabs_triang. }
  assert (b0 : 0 <= b) by (apply le_div; lra). assert (a0 : 0 <= a) by (apply le_div; lra).
  assert (Q : Rabs (U / T - N / D) <= (a + (Rabs y + r) * b) / (1 - b)).
  { replace (U / T - N / D) with (((U - N) - N / D * (T - D)) / T) by (field; lra).
    rewrite Rabs_div_pos by auto. apply div_le; auto.
    apply Rle_trans with (a * D + (Rabs y + r) * (b * D)).
    - unfold Rminus at 1. eapply Rle_trans; [apply Rabs_triang |].
      rewrite Rabs_Ropp, Rabs_mult, Ea, Eb. apply Rplus_le_compat_l, Rmult_le_compat_r; lra.
    - replace (a * D + (Rabs y + r) * (b * D))
        with ((a + (Rabs y + r) * b) / (1 - b) * ((1 - b) * D)) by (field; lra).
      apply Rmult_le_compat_l; [| lra]. apply le_div; [lra |]. rewrite Rmult_0_l.
      apply Rplus_le_le_0_compat; auto. apply Rmult_le_pos; lra. }
  rewrite O. replace (U / T - y) with (U / T - N / D + (N / D - y)) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. fold r.
  replace (b_coreset_output r a b (Rabs y)) with ((a + (Rabs y + r) * b) / (1 - b) + r); [lra |].
  unfold b_coreset_output. field. lra.
Qed.

(** Of two keys the lighter one is gone, whose value has the larger part of the numerator. *)
Theorem i_coreset_attained s u : s <= 0 -> 1 <= exp s * u ->
  let t := fun j => if Nat.eqb j 0 then 0 else s in
  let v := fun j => if Nat.eqb j 0 then 1 else u in
  Rabs (dot 2 (softmax 2 t) v - 1)
    = b_coreset_output (Rabs (2 / 2 - 1)) (Rabs (fsum 2 (fun j => exp (t j) * v j) - 2) / 2)
        (Rabs (fsum 2 (fun j => exp (t j)) - 2) / 2) (Rabs 1).
Proof.
  intros Hs Hu t v. unfold b_coreset_output, dot, softmax, normalize, t, v. cbn [fsum Nat.eqb].
  rewrite exp_0. pose proof (exp_pos s). pose proof (exp_le s 0 Hs) as E. rewrite exp_0 in E.
  set (e := exp s) in *. replace (2 / 2 - 1) with 0 by field. rewrite Rabs_R0, Rabs_R1.
  replace ((0 + 1 / (0 + 1 + e) * 1 + e / (0 + 1 + e) * u) - 1) with ((e * u - e) / (1 + e))
    by (field; lra).
  rewrite (Rabs_right ((e * u - e) / (1 + e))) by (apply Rle_ge, le_div; lra).
  rewrite (Rabs_right (0 + 1 * 1 + e * u - 2)), (Rabs_left1 (0 + 1 + e - 2)) by lra.
  field. lra.
Qed.

(** * FP.discrepancy *)

Theorem fp_gram_sum n d m w x lost e computed rho size underflow : 0 <= lost ->
  evaluates lost e computed -> value e = gram n d m w x -> roundings_total e <= rho -> rho < 1 ->
  magnitude e <= size ^ 2 -> loss lost e <= underflow ->
  gram n d m w x <= b_gram_sum computed rho size underflow.
Proof.
  intros Hlost He Hv Hr H1 Hm Hl. rewrite <- Hv.
  pose proof (fp_expression lost e computed Hlost He) as F. apply Rabs_bounds in F.
  pose proof (roundings_total_nonneg _ _ _ He) as R0. pose proof (exp_le _ _ Hr) as E.
  pose proof (exp_minus_1_le rho ltac:(lra)) as X. pose proof (exp_ge_1 _ R0).
  pose proof (magnitude_nonneg e).
  assert ((exp (roundings_total e) - 1) * magnitude e <= rho / (1 - rho) * size ^ 2)
    by (apply Rmult_le_compat; lra).
  replace (b_gram_sum computed rho size underflow)
    with (computed + rho / (1 - rho) * size ^ 2 + underflow); [lra |].
  unfold b_gram_sum. field. lra.
Qed.
