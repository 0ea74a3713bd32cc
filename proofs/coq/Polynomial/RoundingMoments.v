(** Polynomial attention in floating point (claims FP.moments, P2.recentre).

    Steps: (1) a computed sum errs by at most its roundings times the sum of its absolute terms
    (Expressions.v); (2) the quotient is judged by the denominator that was computed,
        N' / D' - N / D = ((N' - N) - (N / D) (D' - D)) / D';
    (3) moments, their translation and Horner's rule have, in any order and factoring, terms that
    add up to P (q . k_j) v_j, and in absolute value to at most P_abs (|q| |k_j|) |v_j|, by the
    multinomial theorem and Cauchy and Schwarz. *)

Require Import Reals Lra List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Rounding Require Import Expressions RoundingSoftmax.
From Attest.Polynomial Require Import Moments Polynomial.
Import ListNotations.
Open Scope R_scope.

(** * FP.moments: the output *)

(** The quotient of two computed sums, judged by the computed denominator D'. *)
Lemma quotient_by_computed N D N' D' y M a : 0 < D' -> N = y * D -> Rabs y <= M ->
  Rabs (N' - N) <= a * (M * D') -> Rabs (D' - D) <= a * D' ->
  Rabs (N' / D' - y) <= 2 * M * a.
Proof.
  intros HD' HN Hy En Ed.
  replace (N' / D' - y) with ((N' - N - y * (D' - D)) / D') by (rewrite HN; field; lra).
  rewrite Rabs_div_pos by auto. apply div_le; auto.
  unfold Rminus at 1. eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp, Rabs_mult.
  assert (Rabs y * Rabs (D' - D) <= M * (a * D'))
    by (apply Rmult_le_compat; auto; apply Rabs_pos).
  lra.
Qed.

Lemma moments_output_form M rho amplification underflow out u tiny : rho < 1 ->
  b_moments_output M rho amplification underflow out u tiny
    = 2 * M * (rho / (1 - rho) * amplification + underflow) + (u * Rabs out + tiny).
Proof. intros. unfold b_moments_output. field. lra. Qed.

(** A computed sum whose terms have absolute values of at most A in all. *)
Lemma sum_by_computed lost e x A M D rho amplification underflow : 0 <= lost ->
  evaluates lost e x -> magnitude e <= A * M -> 0 <= M -> roundings_total e <= rho -> rho < 1 ->
  A <= amplification * D -> loss lost e <= underflow * (M * D) ->
  Rabs (x - value e) <= (rho / (1 - rho) * amplification + underflow) * (M * D).
Proof.
  intros Hlost He HA HM Hr Hr1 Hamp Hloss.
  pose proof (roundings_total_nonneg _ _ _ He) as H0.
  pose proof (exp_le _ _ Hr) as E. pose proof (exp_minus_1_le rho ltac:(lra)).
  pose proof (exp_ge_1 _ H0). pose proof (magnitude_nonneg e).
  eapply Rle_trans; [apply (fp_expression lost); auto |].
  assert ((exp (roundings_total e) - 1) * magnitude e <= rho / (1 - rho) * (amplification * D * M)).
  { apply Rmult_le_compat; try lra. eapply Rle_trans; [exact HA |]. apply Rmult_le_compat_r; auto. }
  lra.
Qed.

(** K holds the centred keys, A the sum of the absolute terms of the denominator. *)
Theorem fp_moments_output n d g c q K v A M lost eN eD N D rho amplification underflow out u tiny :
  (0 < n)%nat -> 0 <= lost -> bounded n v M -> positive n (polynomial_weight d g c q K) ->
  (* the two sums *)
  value eN = dot n (polynomial_weight d g c q K) v ->
  value eD = fsum n (polynomial_weight d g c q K) ->
  magnitude eN <= A * M -> magnitude eD <= A ->
  evaluates lost eN N -> evaluates lost eD D ->
  roundings_total eN <= rho -> roundings_total eD <= rho -> rho < 1 ->
  (* judged by the computed denominator *)
  0 < D -> A <= amplification * D ->
  loss lost eN <= underflow * (M * D) -> loss lost eD <= underflow * D ->
  (* the quotient, as it is stored *)
  Rabs (out - N / D) <= u * Rabs out + tiny ->
  Rabs (out - polynomial_output n d g c q K v)
    <= b_moments_output M rho amplification underflow out u tiny.
Proof.
  intros Hn Hlost Hv HP VN VD MN MD HeN HeD RN RD Hr HD Hamp LN LD Hout.
  assert (HM : 0 <= M) by (eapply bounded_nonneg; eauto).
  rewrite moments_output_form, polynomial_output_weights by auto.
  set (w := polynomial_weight d g c q K) in *.
  pose proof (sum_by_computed _ _ _ A M D rho amplification underflow Hlost HeN MN HM RN Hr
    Hamp LN) as EN.
  pose proof (sum_by_computed _ _ _ A 1 D rho amplification underflow Hlost HeD ltac:(lra)
    ltac:(lra) RD Hr Hamp ltac:(lra)) as ED.
  rewrite Rmult_1_l, VD in ED. rewrite VN in EN.
  assert (HZ : 0 < fsum n w) by (apply fsum_pos; auto).
  assert (Q : Rabs (N / D - dot n (normalize n w) v)
    <= 2 * M * (rho / (1 - rho) * amplification + underflow)).
  { apply (quotient_by_computed (dot n w v) (fsum n w)); auto.
    - rewrite dot_normalize. field. lra.
    - rewrite dot_normalize, Rabs_div_pos by auto. apply div_le; auto.
      apply dot_magnitude; auto. }
  replace (out - dot n (normalize n w) v)
    with ((out - N / D) + (N / D - dot n (normalize n w) v)) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. lra.
Qed.

(** From the floats to the softmax: the polynomial's error and the roundings. *)
Theorem fp_moments_softmax n d g c q K centre v b m kappa lo hi M rho amplification underflow out
    u tiny : (0 < n)%nat -> 0 < m -> fits_exp g c b m kappa ->
  bounded n (fun j => dot d q (shifted K centre j)) b -> ranges n v lo hi ->
  Rabs (out - polynomial_output n d g c q (shifted K centre) v)
    <= b_moments_output M rho amplification underflow out u tiny ->
  Rabs (out - dot n (softmax n (fun j => dot d q (K j))) v)
    <= b_poly_output kappa (hi - lo) + b_moments_output M rho amplification underflow out u tiny.
Proof.
  intros Hn Hm HP Hb Hv Ho.
  pose proof (p2_poly_output n d g c q K centre v b m kappa lo hi Hn Hm HP Hb Hv) as E.
  set (y := polynomial_output n d g c q (shifted K centre) v) in *.
  set (truth := dot n _ v) in *.
  replace (out - truth) with ((out - y) + (y - truth)) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. lra.
Qed.

(** * Absolute values *)

(** sum_m |c_m| x^m *)
Definition absolute_polynomial (g : nat) (c : nat -> R) (x : R) : R :=
  polynomial g (fun m => Rabs (c m)) x.

Definition absolute (x : nat -> R) (l : nat) : R := Rabs (x l).
Definition absolutes (K : nat -> nat -> R) (j : nat) : nat -> R := absolute (K j).

(** sum_j P_abs (|q| . h_j), for vectors h_j that bound the entries of the keys. *)
Definition absolute_sum (n d g : nat) (c q : nat -> R) (h : nat -> nat -> R) : R :=
  fsum n (fun j => absolute_polynomial g c (dot d (absolute q) (h j))).

Lemma monomial_abs x alpha : Rabs (monomial x alpha) = monomial (absolute x) alpha.
Proof.
  induction alpha; simpl; [apply Rabs_R1 |].
  rewrite Rabs_mult, IHalpha, <- RPow_abs. reflexivity.
Qed.

Lemma feature_weight_abs c alpha :
  Rabs (feature_weight c alpha) = feature_weight (absolute c) alpha.
Proof.
  unfold feature_weight, absolute. pose proof (factorials_pos alpha).
  rewrite Rabs_div_pos, Rabs_mult, (Rabs_right (INR _)) by (auto; apply Rle_ge, pos_INR).
  reflexivity.
Qed.

Lemma binomial_nonneg n k : 0 <= C n k.
Proof.
  unfold C. apply Rmult_le_pos; [apply pos_INR |]. left. apply Rinv_0_lt_compat.
  apply Rmult_lt_0_compat; apply INR_fact_lt_0.
Qed.

(** |k - shift| at most |k| + |shift|, in every power. *)
Lemma shift_weight_abs shift alpha beta : Rabs (shift_weight shift alpha beta)
  = shift_weight (fun l => - Rabs (shift l)) alpha beta.
Proof.
  revert beta. induction alpha as [| a alpha IH]; intros beta; [apply Rabs_R1 |].
  destruct beta as [| b beta]; [apply Rabs_R1 |]. cbn [shift_weight].
  rewrite !Rabs_mult, IH, <- RPow_abs, Rabs_Ropp, Ropp_involutive.
  rewrite (Rabs_right (C a b)) by (apply Rle_ge, binomial_nonneg). reflexivity.
Qed.

Lemma read_absolute n d g c q h v M : (forall j l, 0 <= h j l) -> bounded n v M ->
  read d g (absolute c) (absolute q) (moment n h (absolute v)) <= absolute_sum n d g c q h * M.
Proof.
  intros Hh Hv. rewrite p2_poly_moments. unfold absolute_sum. rewrite <- fsum_scale_r.
  apply fsum_le. intros j Hj. apply Rmult_le_compat_l; [| apply Hv; auto].
  apply fsum_nonneg. intros m _. apply Rmult_le_pos; [apply Rabs_pos |]. apply pow_le.
  apply fsum_nonneg. intros l _. apply Rmult_le_pos; [apply Rabs_pos | apply Hh].
Qed.

(** * The sums by moments, by moments that were translated, and directly *)

Definition moment_terms (n d g : nat) (c q : nat -> R) (K : nat -> nat -> R) (v : nat -> R) :
  list R :=
  flat_map (fun alpha => map (fun j =>
    feature_weight c alpha * monomial q alpha * (monomial (K j) alpha * v j)) (seq 0 n))
    (features d g).

(** In any order of summation and any factoring. *)
Theorem fp_moment_terms n d g c q K v M e : bounded n v M ->
  Permutation (terms e) (moment_terms n d g c q K v) ->
  value e = dot n (polynomial_weight d g c q K) v /\
  magnitude e <= absolute_sum n d g c q (absolutes K) * M.
Proof.
  intros Hv P. rewrite value_terms, magnitude_terms, !(lsum_permutation _ _ _ P).
  unfold moment_terms. rewrite !lsum_flat_map. split.
  - transitivity (read d g c q (moment n K v)); [| apply p2_poly_moments].
    apply lsum_ext. intros alpha _. rewrite lsum_map, lsum_seq. apply fsum_scale.
  - eapply Rle_trans; [right | apply read_absolute; eauto; intros; apply Rabs_pos].
    apply lsum_ext. intros alpha _.
    rewrite lsum_map, lsum_seq. unfold moment. rewrite <- fsum_scale. apply fsum_ext. intros j _.
    rewrite !Rabs_mult, feature_weight_abs, !monomial_abs. reflexivity.
Qed.

(** Here K holds the keys before their translation by the shift. *)
Definition translated_terms (n d g : nat) (c q : nat -> R) (K : nat -> nat -> R)
  (shift v : nat -> R) : list R :=
  flat_map (fun alpha => flat_map (fun beta => map (fun j =>
    feature_weight c alpha * monomial q alpha
      * (shift_weight shift alpha beta * (monomial (K j) beta * v j))) (seq 0 n))
    (below alpha)) (features d g).

(** |k_j| + |shift|, entry by entry *)
Definition lengthened (K : nat -> nat -> R) (shift : nat -> R) : nat -> nat -> R :=
  shifted (absolutes K) (fun l => - Rabs (shift l)).

Theorem fp_translated_terms n d g c q K shift v M e : bounded n v M ->
  Permutation (terms e) (translated_terms n d g c q K shift v) ->
  value e = dot n (polynomial_weight d g c q (shifted K shift)) v /\
  magnitude e <= absolute_sum n d g c q (lengthened K shift) * M.
Proof.
  intros Hv P. rewrite value_terms, magnitude_terms, !(lsum_permutation _ _ _ P).
  unfold translated_terms. rewrite !lsum_flat_map. split.
  - transitivity (read d g c q (moment n (shifted K shift) v)); [| apply p2_poly_moments].
    apply lsum_ext. intros alpha _.
    rewrite p2_recentre, lsum_flat_map, <- lsum_scale. apply lsum_ext. intros beta _.
    rewrite lsum_map, lsum_seq. unfold moment. rewrite <- !fsum_scale. reflexivity.
  - eapply Rle_trans; [right | apply read_absolute; eauto].
    + apply lsum_ext. intros alpha _. unfold lengthened.
      rewrite p2_recentre, lsum_flat_map, <- lsum_scale. apply lsum_ext. intros beta _.
      rewrite lsum_map, lsum_seq. unfold moment. rewrite <- !fsum_scale. apply fsum_ext.
      intros j _. rewrite !Rabs_mult, feature_weight_abs, shift_weight_abs, !monomial_abs.
      reflexivity.
    + intros j l. unfold lengthened, shifted, absolutes, absolute.
      pose proof (Rabs_pos (K j l)). pose proof (Rabs_pos (shift l)). lra.
Qed.

(** c_m + x (c_(m+1) + x (...)): Horner's rule for k more coefficients. *)
Fixpoint horner_sum (u : R) (x : expression) (c : nat -> expression) (m k : nat) : expression :=
  match k with
  | O => c m
  | S k => Plus u (c m) (Times u x (horner_sum u x c (S m) k))
  end.

(** The first term apart. *)
Lemma fsum_shift n f : fsum (S n) f = f 0%nat + fsum n (fun i => f (S i)).
Proof. induction n; [simpl; ring |]. rewrite fsum_S, IHn, (fsum_S n). ring. Qed.

Lemma horner_polynomial u x c k m :
  value (horner_sum u x c m k) = fsum (S k) (fun i => value (c (m + i)%nat) * value x ^ i) /\
  magnitude (horner_sum u x c m k)
    = fsum (S k) (fun i => magnitude (c (m + i)%nat) * magnitude x ^ i).
Proof.
  revert m. induction k; intros m; simpl horner_sum.
  - simpl. rewrite Nat.add_0_r. split; ring.
  - cbn [value magnitude]. destruct (IHk (S m)) as [-> ->].
    rewrite !(fsum_shift (S k)), Nat.add_0_r, <- !fsum_scale.
    split; f_equal; try (simpl; ring); apply fsum_ext; intros i _;
      rewrite Nat.add_succ_r; simpl; ring.
Qed.

(** P by Horner's rule at a computed logit, for each key: no moments. *)
Theorem fp_direct_terms n d g c q K v M u logit rounded e : bounded n v M ->
  (forall j, Permutation (terms (logit j)) (map (fun l => q l * K j l) (seq 0 d))) ->
  Permutation (terms e) (flat_map (fun j =>
    terms (Times u (horner_sum u (logit j) (fun m => Number 0 (c m)) 0 g) (Number rounded (v j))))
    (seq 0 n)) ->
  value e = dot n (polynomial_weight d g c q K) v /\
  magnitude e <= absolute_sum n d g c q (absolutes K) * M.
Proof.
  intros Hv L P. rewrite value_terms, magnitude_terms, !(lsum_permutation _ _ _ P).
  rewrite !lsum_flat_map, !lsum_seq.
  assert (V : forall j, value (logit j) = dot d q (K j)).
  { intros j. rewrite value_terms, (lsum_permutation _ _ _ (L j)), lsum_map, lsum_seq.
    reflexivity. }
  assert (A : forall j, magnitude (logit j) = dot d (absolute q) (absolutes K j)).
  { intros j. rewrite magnitude_terms, (lsum_permutation _ _ _ (L j)), lsum_map, lsum_seq.
    apply fsum_ext. intros. apply Rabs_mult. }
  split.
  - apply fsum_ext. intros j _. rewrite <- value_terms. cbn [value].
    rewrite (proj1 (horner_polynomial _ _ _ _ _)), V. reflexivity.
  - unfold absolute_sum. rewrite <- fsum_scale_r. apply fsum_le. intros j Hj.
    rewrite <- magnitude_terms. cbn [magnitude].
    rewrite (proj2 (horner_polynomial _ _ _ _ _)), A. cbn [magnitude].
    apply Rmult_le_compat_l; [| apply Hv; auto]. apply fsum_nonneg. intros m _.
    apply Rmult_le_pos; [apply Rabs_pos |]. apply pow_le.
    apply fsum_nonneg. intros l _. apply Rmult_le_pos; apply Rabs_pos.
Qed.

(** * The absolute sum, from norms *)

Lemma absolute_dot d q k : 0 <= dot d (absolute q) (absolute k) <= norm d q * norm d k.
Proof.
  split; [apply fsum_nonneg; intros; apply Rmult_le_pos; apply Rabs_pos |].
  unfold dot, absolute. rewrite (fsum_ext d _ (fun l => Rabs (q l * k l)))
    by (intros; symmetry; apply Rabs_mult).
  apply cauchy_schwarz.
Qed.

Lemma lengthened_dot d q K shift reach j : norm d (K j) <= reach ->
  0 <= dot d (absolute q) (lengthened K shift j) <= norm d q * (reach + norm d shift).
Proof.
  intros H.
  assert (E : dot d (absolute q) (lengthened K shift j)
    = dot d (absolute q) (absolute (K j)) + dot d (absolute q) (absolute shift)).
  { unfold dot. rewrite <- fsum_plus. apply fsum_ext. intros.
    unfold lengthened, shifted, absolutes, absolute. ring. }
  rewrite E. pose proof (absolute_dot d q (K j)). pose proof (absolute_dot d q shift).
  assert (norm d q * norm d (K j) <= norm d q * reach)
    by (apply Rmult_le_compat_l; [apply sqrt_pos | auto]).
  lra.
Qed.

Lemma absolute_sum_le n d g c q h z :
  (forall j, (j < n)%nat -> 0 <= dot d (absolute q) (h j) <= z) ->
  absolute_sum n d g c q h <= INR n * absolute_polynomial g c z.
Proof.
  intros H. unfold absolute_sum. rewrite <- fsum_const. apply fsum_le. intros j Hj.
  apply fsum_le. intros m _. apply Rmult_le_compat_l; [apply Rabs_pos |]. apply pow_incr. auto.
Qed.

Theorem fp_amplification n d g c q K reach : (forall j, (j < n)%nat -> norm d (K j) <= reach) ->
  absolute_sum n d g c q (absolutes K) <= INR n * absolute_polynomial g c (norm d q * reach).
Proof.
  intros H. apply absolute_sum_le. intros j Hj. pose proof (absolute_dot d q (K j)).
  assert (norm d q * norm d (K j) <= norm d q * reach)
    by (apply Rmult_le_compat_l; [apply sqrt_pos | auto]).
  unfold absolutes. lra.
Qed.

(** A translation lengthens the reach by the shift. *)
Theorem fp_amplification_translated n d g c q K shift reach :
  (forall j, (j < n)%nat -> norm d (K j) <= reach) ->
  absolute_sum n d g c q (lengthened K shift)
    <= INR n * absolute_polynomial g c (norm d q * (reach + norm d shift)).
Proof. intros H. apply absolute_sum_le. intros j Hj. apply lengthened_dot. auto. Qed.

(** What recentring adds up, in absolute value, for the powers of degree g. *)
Definition recentring_terms (n d g : nat) (q : nat -> R) (K : nat -> nat -> R) (shift : nat -> R) :
  R := lsum (fun alpha => INR (fact g) / factorials alpha * Rabs (monomial q alpha)
    * lsum (fun beta => Rabs (shift_weight shift alpha beta)
        * fsum n (fun j => Rabs (monomial (K j) beta))) (below alpha)) (exponents d g).

Lemma recentring_terms_power n d g q K shift : recentring_terms n d g q K shift
  = fsum n (fun j => dot d (absolute q) (lengthened K shift j) ^ g).
Proof.
  unfold recentring_terms.
  rewrite (lsum_ext _ (fun alpha => fsum n (fun j => INR (fact g)
    * (monomial (absolute q) alpha * monomial (lengthened K shift j) alpha
       / factorials alpha)))).
  - rewrite lsum_fsum. apply fsum_ext. intros j _. rewrite lsum_scale, <- multinomial.
    unfold divided_power. field. apply INR_fact_neq_0.
  - intros alpha _. rewrite monomial_abs.
    rewrite (lsum_ext _ (fun beta => shift_weight (fun l => - Rabs (shift l)) alpha beta
      * moment n (absolutes K) (fun _ => 1) beta)).
    + rewrite <- p2_recentre. unfold moment. rewrite <- fsum_scale. apply fsum_ext. intros j _.
      unfold lengthened. pose proof (factorials_pos alpha). field. lra.
    + intros beta _. rewrite shift_weight_abs. f_equal. apply fsum_ext. intros j _.
      rewrite monomial_abs, Rmult_1_r. reflexivity.
Qed.

Theorem p2_recentre_power n d g q K shift reach :
  (forall j, (j < n)%nat -> norm d (K j) <= reach) ->
  recentring_terms n d g q K shift <= b_recentre_power n g (norm d q) reach (norm d shift).
Proof.
  intros H. unfold b_recentre_power. argument pow (norm d q * (reach + norm d shift)).
  rewrite recentring_terms_power, <- fsum_const. apply fsum_le. intros j Hj.
  apply pow_incr, lengthened_dot. auto.
Qed.

Theorem p2_recentre_power_attained n g q k s :
  let K := fun (_ _ : nat) => k in let query := fun _ => q in let shift := fun _ => s in
  recentring_terms n 1 g query K shift
    = b_recentre_power n g (norm 1 query) (norm 1 (K 0%nat)) (norm 1 shift).
Proof.
  intros K query shift. rewrite recentring_terms_power.
  assert (N : forall x, norm 1 (fun _ => x) = Rabs x).
  { intros x. unfold norm. cbn [fsum]. rewrite Rplus_0_l, <- sqrt_Rsqr_abs. f_equal.
    unfold Rsqr. ring. }
  unfold K, query, shift. rewrite !N. unfold b_recentre_power.
  argument pow (Rabs q * (Rabs k + Rabs s)). rewrite <- fsum_const. apply fsum_ext. intros j _.
  f_equal. unfold dot, lengthened, shifted, absolutes, absolute. cbn [fsum]. ring.
Qed.
