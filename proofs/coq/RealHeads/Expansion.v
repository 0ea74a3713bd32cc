(** Real heads, continued: other coordinates, and the errors of the expansions (R.balance, R.expansion).

    Steps: (1) a logit moves by the form q (M N^T - I) k, at most |M N^T - I|_F |q| |k|; (2) h(x)
    = e^x - 1 - x is at least x^2 / 2 for x >= 0, and h(s y) <= s^2 h(y) for |s| <= 1 and y >= 0,
    so that phi(x) = h(x) / x^2 increases and h(r) <= phi(rho) r^2 for |r| <= rho; (3) around the
    weighted means of their clusters keys have residual logits of mean zero; (4) the output less
    the expanded one is a sum of e^r (v - o) under the expanded weights, over a denominator that
    is only larger than theirs (R.jensen); the terms of first order cancel where o has order 1,
    and Cauchy and Schwarz bound them where it has order 0, as phi >= 1/2. *)

Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Derivatives.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.RealHeads Require Import RealHeads.
Open Scope R_scope.

(** * R.balance *)

(** The vector x times the matrix M, of d rows. *)
Definition transformed (d : nat) (x : nat -> R) (M : nat -> nat -> R) (b : nat) : R :=
  fsum d (fun a => x a * M a b).

(** M N^T - I. *)
Definition inverse_defect (d : nat) (M N : nat -> nat -> R) (a c : nat) : R :=
  fsum d (fun b => M a b * N c b) - identity a c.

Lemma changed_logit d q k M N : dot d (transformed d q M) (transformed d k N) - dot d q k
  = dot d q (fun a => dot d (inverse_defect d M N a) k).
Proof.
  assert (E : dot d (transformed d q M) (transformed d k N)
    = dot d q (fun a => dot d (fun c => fsum d (fun b => M a b * N c b)) k)).
  { unfold dot, transformed.
    rewrite (fsum_ext d _ (fun b => fsum d (fun a => q a * (M a b * fsum d (fun c => k c * N c b)))))
      by (intros; rewrite <- fsum_scale_r; apply fsum_ext; intros; ring).
    rewrite fsum_swap. apply fsum_ext. intros a _. rewrite fsum_scale. f_equal.
    rewrite (fsum_ext d _ (fun b => fsum d (fun c => M a b * N c b * k c)))
      by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
    rewrite fsum_swap. apply fsum_ext. intros. now rewrite fsum_scale_r. }
  rewrite E. unfold dot at 1 3 4. rewrite <- fsum_minus. apply fsum_ext. intros a Ha.
  rewrite <- (dot_identity d k a Ha), <- Rmult_minus_distr_l. f_equal.
  unfold dot. rewrite <- fsum_minus. apply fsum_ext. intros. unfold inverse_defect. ring.
Qed.

Lemma balance_form defect a b : b_balance_logit defect a b = a * (defect * b).
Proof. unfold b_balance_logit. ring. Qed.

Theorem r_balance d q k M N :
  Rabs (dot d (transformed d q M) (transformed d k N) - dot d q k)
    <= b_balance_logit (frobenius d d (inverse_defect d M N)) (norm d q) (norm d k).
Proof.
  rewrite changed_logit, balance_form. eapply Rle_trans; [apply dot_norm |].
  apply Rmult_le_compat_l; [apply norm_nonneg | apply frobenius_image].
Qed.

(** For every query and key some change of coordinates moves their logit by as much. *)
Theorem r_balance_attained d q k :
  let N := fun c b => identity b c + k c * q b in
  dot d (transformed d q identity) (transformed d k N) - dot d q k
    = b_balance_logit (frobenius d d (inverse_defect d identity N)) (norm d q) (norm d k).
Proof.
  intros N. rewrite changed_logit, balance_form.
  assert (E : forall a c, (a < d)%nat -> inverse_defect d identity N a c = q a * k c).
  { intros a c Ha. unfold inverse_defect. fold (dot d (identity a) (N c)).
    rewrite dot_identity by auto. unfold N. ring. }
  assert (F : frobenius d d (inverse_defect d identity N) = norm d q * norm d k).
  { rewrite <- frobenius_outer. apply norm_ext. intros a Ha. apply norm_ext. intros c _.
    apply E. auto. }
  rewrite F. transitivity (dot d q (fun a => norm d k ^ 2 * q a)).
  - apply dot_ext. intros a Ha. rewrite <- dot_length. unfold dot.
    rewrite (fsum_ext d _ (fun c => q a * (k c * k c))) by (intros; rewrite E by auto; ring).
    rewrite fsum_scale. ring.
  - rewrite dot_scale, dot_length. ring.
Qed.

(** * The remainder of exp *)

Definition exp_remainder (x : R) : R := exp x - 1 - x.

(** phi, as R.expansion calls it. *)
Definition curvature (x : R) : R := exp_remainder x / x ^ 2.

Lemma remainder_nonneg x : 0 <= exp_remainder x.
Proof. unfold exp_remainder. pose proof (exp_ineq1_le x). lra. Qed.

Lemma remainder_scaled s y : -1 <= s <= 1 -> 0 <= y -> exp_remainder (s * y) <= s ^ 2 * exp_remainder y.
Proof.
  intros Hs Hy. apply Rminus_le_0.
  apply (nonneg_from_0 (fun y => s ^ 2 * exp_remainder y - exp_remainder (s * y))
    (fun y => s * (s * (exp y - 1) - (exp (s * y) - 1)))); auto.
  - unfold exp_remainder. rewrite Rmult_0_r, exp_0. ring.
  - intros x. unfold exp_remainder. auto_derive; auto. ring.
  - intros x Hx. pose proof (exp_ineq1_le (s * x)). pose proof (exp_ineq1_le x).
    destruct (Rle_dec s 0) as [L | L]; [nra |].
    (* The chord of exp between 0 and x lies above it, at s x. *)
    assert (chord : exp (s * x) * 1
      <= exp (s * x) * ((1 - s) * exp (- (s * x)) + s * exp (x - s * x))).
    { apply Rmult_le_compat_l; [left; apply exp_pos |].
      pose proof (exp_ineq1_le (- (s * x))). pose proof (exp_ineq1_le (x - s * x)). nra. }
    replace (exp (s * x) * ((1 - s) * exp (- (s * x)) + s * exp (x - s * x)))
      with ((1 - s) * exp 0 + s * exp x) in chord.
    { rewrite exp_0 in chord. nra. }
    rewrite Rmult_plus_distr_l.
    replace (exp 0) with (exp (s * x) * exp (- (s * x))) by (rewrite <- exp_plus; f_equal; ring).
    replace (exp x) with (exp (s * x) * exp (x - s * x)) by (rewrite <- exp_plus; f_equal; ring).
    ring.
Qed.

Lemma curvature_half x : 0 < x -> 1 / 2 <= curvature x.
Proof.
  intros Hx. apply le_div; [nra |]. apply Rminus_le_0.
  apply (nonneg_from_0 (fun x => exp_remainder x - 1 / 2 * x ^ 2) exp_remainder); [| | | lra].
  - unfold exp_remainder. rewrite exp_0. ring.
  - intros y. unfold exp_remainder. auto_derive; auto. field.
  - intros. apply remainder_nonneg.
Qed.

Theorem r_expansion_remainder rho r : 0 < rho -> Rabs r <= rho ->
  exp_remainder r <= b_expansion_remainder (curvature rho) r.
Proof.
  intros Hrho Hr. apply Rabs_bounds in Hr. unfold b_expansion_remainder.
  assert (H : exp_remainder (r / rho * rho) <= (r / rho) ^ 2 * exp_remainder rho).
  { apply remainder_scaled; [split; [apply le_div | apply div_le]; lra | lra]. }
  replace (r / rho * rho) with r in H by (field; lra).
  replace (curvature rho * r ^ 2) with ((r / rho) ^ 2 * exp_remainder rho)
    by (unfold curvature; field; lra).
  exact H.
Qed.

Theorem r_expansion_remainder_attained r : 0 < r ->
  exp_remainder r = b_expansion_remainder (curvature r) r.
Proof. intros. unfold b_expansion_remainder, curvature. field. lra. Qed.

Theorem r_expansion_curvature x y : 0 < x <= y -> curvature x <= curvature y.
Proof.
  intros H. pose proof (r_expansion_remainder y x ltac:(lra)) as R.
  rewrite Rabs_right in R by lra. specialize (R ltac:(lra)). unfold b_expansion_remainder in R.
  apply div_le; [apply pow_lt; lra | exact R].
Qed.

(** * Residual logits *)

(** What f adds up to over the keys of cluster b. *)
Definition cluster_sum (n : nat) (label : nat -> nat) (b : nat) (f : nat -> R) : R :=
  fsum n (fun j => if Nat.eqb (label j) b then f j else 0).

(** The mean of a cluster's keys K under the weights w. *)
Definition cluster_mean (n : nat) (w : nat -> R) (label : nat -> nat) (K : nat -> nat -> R)
  (b l : nat) : R :=
  cluster_sum n label b (fun j => w j * K j l) / cluster_sum n label b w.

Definition offset (n : nat) (w : nat -> R) (label : nat -> nat) (K : nat -> nat -> R)
  (j l : nat) : R := K j l - cluster_mean n w label K (label j) l.

(** The residual logits of a step have mean zero in every cluster, and are at most |step| |k - mean|. *)
Theorem r_residuals n d clusters w label K step :
  positive n w -> (forall j, (j < n)%nat -> (label j < clusters)%nat) ->
  let r := fun j => dot d step (offset n w label K j) in
  centred n clusters w r label /\
  forall j, Rabs (r j) <= norm d step * norm d (offset n w label K j).
Proof.
  intros P L r. split; [split; auto | intros; apply dot_norm].
  intros b _. set (W := cluster_sum n label b w).
  assert (E : forall l, cluster_sum n label b (fun j => w j * offset n w label K j l) = 0).
  { intros l. destruct (Req_dec W 0) as [Z | Z].
    - (* No key is in the cluster, as it would have a weight. *)
      apply fsum_zero. intros j Hj. destruct (Nat.eqb_spec (label j) b) as [B |]; [| reflexivity].
      exfalso. pose proof (fsum_term n (fun j => if Nat.eqb (label j) b then w j else 0) j) as T.
      cbv beta in T. fold (cluster_sum n label b w) in T. fold W in T.
      rewrite B, Nat.eqb_refl in T. specialize (P j Hj) as Pj.
      enough (w j <= W) by lra. apply T; auto. intros i Hi.
      destruct (Nat.eqb (label i) b); [left; auto | lra].
    - unfold cluster_sum.
      rewrite (fsum_ext n _ (fun j => (if Nat.eqb (label j) b then w j * K j l else 0)
        - cluster_mean n w label K b l * (if Nat.eqb (label j) b then w j else 0))).
      + rewrite fsum_minus, fsum_scale. fold (cluster_sum n label b w).
        fold (cluster_sum n label b (fun j => w j * K j l)). unfold cluster_mean. field. exact Z.
      + intros j _. unfold offset. destruct (Nat.eqb_spec (label j) b) as [-> |]; ring. }
  rewrite (fsum_ext n _ (fun j => fsum d (fun l => step l *
    (if Nat.eqb (label j) b then w j * offset n w label K j l else 0)))).
  - rewrite fsum_swap. apply fsum_zero. intros l _. rewrite fsum_scale.
    fold (cluster_sum n label b (fun j => w j * offset n w label K j l)). rewrite E. ring.
  - intros j _. unfold r, dot. destruct (Nat.eqb (label j) b).
    + rewrite <- fsum_scale. apply fsum_ext. intros. ring.
    + symmetry. apply fsum_zero. intros. ring.
Qed.

(** * R.expansion *)

(** A mean under the weights w, which need not add up to one. *)
Definition average (n : nat) (w f : nat -> R) : R := fsum n (fun j => w j * f j) / fsum n w.

(** T: the mean of phi(rho) r^2 |v - o|. *)
Definition second_order (n : nat) (w r rho v : nat -> R) (o : R) : R :=
  average n w (fun j => curvature (rho j) * r j ^ 2 * Rabs (v j - o)).

(** Attention's output: its weights are w e^r, normalised. *)
Definition attended (n : nat) (w r v : nat -> R) : R :=
  dot n (normalize n (fun j => w j * exp (r j))) v.

(** What an output o lacks, if its terms up to the first order are known. *)
Lemma expansion_gap n w r rho v o : (0 < n)%nat -> positive n w ->
  fsum n (fun j => w j * r j) = 0 -> (forall j, (j < n)%nat -> 0 < rho j /\ Rabs (r j) <= rho j) ->
  Rabs (attended n w r v - o)
    <= second_order n w r rho v o + Rabs (average n w (fun j => (1 + r j) * (v j - o))).
Proof.
  intros Hn P Z H. pose proof (centred_sum n w r P Z) as D.
  assert (W : 0 < fsum n w) by (apply fsum_pos; auto).
  set (x := fun j => w j * exp (r j)) in *.
  assert (E : attended n w r v - o = fsum n (fun j => x j * (v j - o)) / fsum n x).
  { unfold attended, dot. fold x.
    rewrite (fsum_ext n _ (fun j => x j * v j / fsum n x)), fsum_div
      by (intros; unfold normalize, Rdiv; ring).
    rewrite (fsum_ext n (fun j => x j * (v j - o)) (fun j => x j * v j - o * x j)) by (intros; ring).
    rewrite fsum_minus, fsum_scale. field. fold x in D. lra. }
  rewrite E, Rabs_div_pos by (fold x in D; lra).
  apply Rle_trans with (Rabs (fsum n (fun j => x j * (v j - o))) / fsum n w).
  { apply Rmult_le_compat_l; [apply Rabs_pos | apply Rinv_le_contravar; auto]. }
  unfold second_order, average. rewrite Rabs_div_pos by auto.
  unfold Rdiv. rewrite <- Rmult_plus_distr_r.
  apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; auto |].
  rewrite (fsum_ext n _ (fun j => w j * (exp_remainder (r j) * (v j - o))
    + w j * ((1 + r j) * (v j - o)))), fsum_plus by (intros; unfold x, exp_remainder; ring).
  eapply Rle_trans; [apply Rabs_triang |]. apply Rplus_le_compat_r.
  eapply Rle_trans; [apply fsum_abs |]. apply fsum_le. intros j Hj.
  specialize (P j Hj). destruct (H j Hj) as [H0 H1].
  pose proof (r_expansion_remainder (rho j) (r j) H0 H1) as R.
  unfold b_expansion_remainder in R. pose proof (remainder_nonneg (r j)).
  rewrite !Rabs_mult, (Rabs_right (w j)), (Rabs_right (exp_remainder (r j))) by lra.
  apply Rmult_le_compat_l; [lra |]. apply Rmult_le_compat_r; [apply Rabs_pos | exact R].
Qed.

(** w: the weights at the query's centre; c: the logits of the step at the means of the clusters; r: the
    residual logits; rho: bounds |step| |k - mean| on them, or anything larger (see [r_residuals]). *)
Theorem r_expansion_first n clusters w c r rho label v : (0 < n)%nat -> positive n w ->
  centred n clusters w r label -> (forall j, (j < n)%nat -> 0 < rho j /\ Rabs (r j) <= rho j) ->
  let a := expanded w c label in
  let o := average n a (fun j => (1 + r j) * v j) in
  Rabs (attended n a r v - o) <= b_expansion_first (second_order n a r rho v o).
Proof.
  intros Hn P C H a o. pose proof (first_order_cancels n clusters w c r label C) as Z. fold a in Z.
  assert (A : positive n a).
  { intros j Hj. apply Rmult_lt_0_compat; [apply P; auto | apply exp_pos]. }
  assert (S : 0 < fsum n a) by (apply fsum_pos; auto).
  pose proof (expansion_gap n a r rho v o Hn A Z H) as G. unfold b_expansion_first.
  replace (average n a (fun j => (1 + r j) * (v j - o))) with 0 in G.
  - rewrite Rabs_R0 in G. lra.
  - unfold average.
    rewrite (fsum_ext n _ (fun j => a j * ((1 + r j) * v j) - o * (a j + a j * r j))) by (intros; ring).
    rewrite fsum_minus, fsum_scale, fsum_plus, Z. unfold o, average. field. lra.
Qed.

Lemma first_order_size n w r rho f : (0 < n)%nat -> positive n w ->
  (forall j, (j < n)%nat -> 0 < rho j) ->
  Rabs (average n w (fun j => r j * f j))
    <= sqrt (average n w (fun j => Rabs (f j)))
       * sqrt (2 * average n w (fun j => curvature (rho j) * r j ^ 2 * Rabs (f j))).
Proof.
  intros Hn P H. assert (W : 0 < fsum n w) by (apply fsum_pos; auto).
  set (s := fun j => sqrt (w j * Rabs (f j))).
  assert (S : forall j, (j < n)%nat -> s j ^ 2 = w j * Rabs (f j)).
  { intros j Hj. apply pow2_sqrt. specialize (P j Hj). pose proof (Rabs_pos (f j)). nra. }
  pose proof (cauchy_schwarz n s (fun j => s j * r j)) as C.
  rewrite (fsum_ext n (fun j => s j ^ 2) (fun j => w j * Rabs (f j))) in C by exact S.
  set (X := fsum n (fun j => w j * Rabs (f j))) in C.
  set (Y := fsum n (fun j => (s j * r j) ^ 2)) in C.
  set (B := fsum n (fun j => Rabs (s j * (s j * r j)))) in C.
  assert (LB : Rabs (fsum n (fun j => w j * (r j * f j))) <= B).
  { eapply Rle_trans; [apply fsum_abs |]. apply fsum_le. intros j Hj. specialize (P j Hj).
    replace (s j * (s j * r j)) with (s j ^ 2 * r j) by ring. rewrite S by auto.
    rewrite !Rabs_mult, Rabs_Rabsolu. lra. }
  assert (LY : Y <= 2 * fsum n (fun j => w j * (curvature (rho j) * r j ^ 2 * Rabs (f j)))).
  { rewrite <- fsum_scale. apply fsum_le. intros j Hj.
    replace ((s j * r j) ^ 2) with (s j ^ 2 * r j ^ 2) by ring. rewrite S by auto.
    pose proof (curvature_half (rho j) (H j Hj)).
    assert (0 <= w j * Rabs (f j) * r j ^ 2).
    { apply Rmult_le_pos; [rewrite <- S by auto |]; apply pow2_ge_0. }
    nra. }
  unfold average. rewrite Rabs_div_pos by auto.
  rewrite <- sqrt_mult_alt by (apply Rdiv_le_0_compat; auto; apply fsum_nonneg; intros j Hj;
    specialize (P j Hj); pose proof (Rabs_pos (f j)); nra).
  fold X. set (T := fsum n (fun j => w j * (curvature (rho j) * r j ^ 2 * Rabs (f j)))) in *.
  assert (X0 : 0 <= X) by (apply fsum_nonneg; intros j Hj; rewrite <- S by auto; apply pow2_ge_0).
  replace (X / fsum n w * (2 * (T / fsum n w))) with (X * (2 * T) / fsum n w ^ 2) by (field; lra).
  rewrite sqrt_div_alt by (apply pow_lt; auto). rewrite sqrt_pow2 by lra.
  apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; auto |].
  eapply Rle_trans; [exact LB |]. eapply Rle_trans; [exact C |].
  rewrite sqrt_mult_alt by auto. apply Rmult_le_compat_l; [apply sqrt_pos |].
  apply sqrt_le_1_alt. exact LY.
Qed.

Lemma zeroth_form T sigma : b_expansion_zeroth T sigma = T + sqrt sigma * (sqrt 2 * sqrt T).
Proof. unfold b_expansion_zeroth. ring. Qed.

Theorem r_expansion_zeroth n clusters w c r rho label v : (0 < n)%nat -> positive n w ->
  centred n clusters w r label -> (forall j, (j < n)%nat -> 0 < rho j /\ Rabs (r j) <= rho j) ->
  let a := expanded w c label in
  let o := average n a v in
  Rabs (attended n a r v - o)
    <= b_expansion_zeroth (second_order n a r rho v o) (average n a (fun j => Rabs (v j - o))).
Proof.
  intros Hn P C H a o. pose proof (first_order_cancels n clusters w c r label C) as Z. fold a in Z.
  assert (A : positive n a).
  { intros j Hj. apply Rmult_lt_0_compat; [apply P; auto | apply exp_pos]. }
  assert (S : 0 < fsum n a) by (apply fsum_pos; auto).
  eapply Rle_trans; [apply (expansion_gap n a r rho v o Hn A Z H) |].
  rewrite zeroth_form. apply Rplus_le_compat_l.
  replace (average n a (fun j => (1 + r j) * (v j - o)))
    with (average n a (fun j => r j * (v j - o))).
  - rewrite <- sqrt_mult_alt by lra. apply (first_order_size n a r rho (fun j => v j - o) Hn A).
    intros j Hj. apply H. auto.
  - unfold average.
    rewrite (fsum_ext n (fun j => a j * ((1 + r j) * (v j - o)))
      (fun j => a j * (r j * (v j - o)) + (a j * v j - o * a j))) by (intros; ring).
    rewrite fsum_plus, fsum_minus, fsum_scale. unfold o, average. field. lra.
Qed.
