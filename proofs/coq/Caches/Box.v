(** Attention of which every logit is known within c and every value within e (claims Q.hull,
    Q.augmented, FP.augmented).

    With p the softmax of the known logits s, moved logits s' give the weights p_i r_i / sum p r with
    r_i = exp (s'_i - s_i) in [exp (- c_i), exp c_i].
    Hull: W (o - lam) = sum p r (v' - lam) is at most what it is with the heaviest weights above lam
    and the lightest below, and W is at least the sum of the lightest; where the two sides balance,
    those weights have the output lam.
    Augmented values: W (o - y) = sum p (r - 1) (v - y) + (sum p v - y) + sum p r (v' - v), and
    |r - 1| <= F c; Cauchy and Schwarz; W >= exp (- sum p c), since exp lies above its tangent. *)

Require Import Reals Lra.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Softmax Require Import Softmax.
Open Scope R_scope.

(** |s'_i - s_i| <= c_i for i < n *)
Definition near (n : nat) (s' s c : nat -> R) : Prop :=
  forall i, (i < n)%nat -> Rabs (s' i - s i) <= c i.

Definition factor (s' s : nat -> R) (i : nat) : R := exp (s' i - s i).

Definition heavy (n : nat) (s c : nat -> R) (i : nat) : R := softmax n s i * exp (c i).
Definition light (n : nat) (s c : nat -> R) (i : nat) : R := softmax n s i * exp (- c i).

(** * General facts *)

Lemma known_weights n s : (0 < n)%nat ->
  weights n (softmax n s) /\ 0 < fsum n (fun j => exp (s j)).
Proof.
  intros Hn. pose proof (exp_sum_pos n s Hn). repeat split; auto.
  - intros j _. left. now apply softmax_pos.
  - unfold softmax, normalize. rewrite fsum_div. field. lra.
Qed.

Lemma moved_total n s s' : (0 < n)%nat ->
  fsum n (fun j => exp (s' j)) = fsum n (fun j => exp (s j)) * mean n (softmax n s) (factor s' s).
Proof.
  intros Hn. pose proof (exp_sum_pos n s Hn). unfold mean, dot, softmax, normalize, factor.
  rewrite <- fsum_scale. apply fsum_ext. intros j _.
  replace (exp (s' j)) with (exp (s j) * exp (s' j - s j)) by (rewrite <- exp_plus; f_equal; ring).
  field. lra.
Qed.

Lemma moved_positive n s s' : (0 < n)%nat -> 0 < mean n (softmax n s) (factor s' s).
Proof.
  intros Hn. unfold mean, dot. apply fsum_pos; auto. intros j _.
  apply Rmult_lt_0_compat; [now apply softmax_pos | apply exp_pos].
Qed.

Lemma moved_weight n s s' j : (0 < n)%nat ->
  mean n (softmax n s) (factor s' s) * softmax n s' j = softmax n s j * factor s' s j.
Proof.
  intros Hn. pose proof (exp_sum_pos n s Hn) as Z. pose proof (moved_positive n s s' Hn) as HW.
  unfold softmax at 2 3, normalize. rewrite (moved_total n s s' Hn).
  set (W := mean n (softmax n s) (factor s' s)) in *. set (T := fsum n (fun j => exp (s j))) in *.
  unfold factor.
  replace (exp (s' j)) with (exp (s j) * exp (s' j - s j)) by (rewrite <- exp_plus; f_equal; ring).
  field. split; lra.
Qed.

(** The output of moved logits, by the weights of those that are known. *)
Lemma moved_output n s s' v : (0 < n)%nat ->
  mean n (softmax n s) (factor s' s) * dot n (softmax n s') v
    = mean n (softmax n s) (fun j => factor s' s j * v j).
Proof.
  intros Hn. unfold dot. rewrite <- fsum_scale. apply fsum_ext. intros j _.
  rewrite <- Rmult_assoc, moved_weight by auto. ring.
Qed.

Lemma moved_gap n s s' v y : (0 < n)%nat ->
  mean n (softmax n s) (factor s' s) * (dot n (softmax n s') v - y)
    = mean n (softmax n s) (fun j => factor s' s j * (v j - y)).
Proof.
  intros Hn. rewrite Rmult_minus_distr_l, moved_output by auto.
  rewrite (mean_ext n _ (fun j => factor s' s j * (v j - y))
    (fun j => factor s' s j * v j - y * factor s' s j)) by (intros; ring).
  rewrite mean_minus, mean_scale. ring.
Qed.

Lemma factor_range n s' s c i : near n s' s c -> (i < n)%nat ->
  exp (- c i) <= factor s' s i <= exp (c i).
Proof.
  intros H Hi. pose proof (Rabs_bounds _ _ (H i Hi)). unfold factor. split; apply exp_le; lra.
Qed.

(** * Q.hull *)

Definition balance (n : nat) (s c x : nat -> R) (lam : R) : R :=
  fsum n (fun i => heavy n s c i * Rmax 0 (x i - lam) - light n s c i * Rmax 0 (lam - x i)).

Lemma light_total_pos n s c : (0 < n)%nat -> 0 < fsum n (light n s c).
Proof.
  intros Hn. apply fsum_pos; auto. intros i _.
  apply Rmult_lt_0_compat; [now apply softmax_pos | apply exp_pos].
Qed.

Theorem q_hull n s s' c v v' e y lam : (0 < n)%nat -> near n s' s c -> near n v' v e ->
  dot n (softmax n s') v' - y
    <= b_hull_output (lam - y) (Rmax 0 (balance n s c (fun i => v i + e i) lam))
         (fsum n (light n s c)).
Proof.
  intros Hn Hs Hv. pose proof (proj1 (known_weights n s Hn)) as Hp.
  set (W := mean n (softmax n s) (factor s' s)).
  assert (HW : 0 < W) by now apply moved_positive.
  assert (HL : 0 < fsum n (light n s c)) by now apply light_total_pos.
  assert (LW : fsum n (light n s c) <= W).
  { apply fsum_le. intros i Hi. apply Rmult_le_compat_l; [now apply Hp |].
    now apply (factor_range n s' s c). }
  assert (G : W * (dot n (softmax n s') v' - lam) <= balance n s c (fun i => v i + e i) lam).
  { unfold W. rewrite moved_gap by auto. apply fsum_le. intros i Hi. unfold heavy, light.
    destruct (factor_range n s' s c i Hs Hi) as [Fl Fu].
    pose proof (Rabs_bounds _ _ (Hv i Hi)). pose proof (proj1 Hp i Hi) as P.
    assert (0 < factor s' s i) by apply exp_pos.
    set (g := v i + e i - lam).
    assert (factor s' s i * (v' i - lam) <= factor s' s i * g)
      by (apply Rmult_le_compat_l; unfold g; lra).
    replace (lam - (v i + e i)) with (- g) by (unfold g; ring).
    assert (factor s' s i * g <= exp (c i) * Rmax 0 g - exp (- c i) * Rmax 0 (- g)).
    { destruct (Rle_dec 0 g).
      - rewrite (Rmax_right 0 g), (Rmax_left 0 (- g)) by lra.
        assert (factor s' s i * g <= exp (c i) * g) by (apply Rmult_le_compat_r; lra). lra.
      - rewrite (Rmax_left 0 g), (Rmax_right 0 (- g)) by lra.
        assert (exp (- c i) * - g <= factor s' s i * - g) by (apply Rmult_le_compat_r; lra). lra. }
    replace (softmax n s i * exp (c i) * Rmax 0 g - softmax n s i * exp (- c i) * Rmax 0 (- g))
      with (softmax n s i * (exp (c i) * Rmax 0 g - exp (- c i) * Rmax 0 (- g))) by ring.
    apply Rmult_le_compat_l; lra. }
  unfold b_hull_output. set (B := balance n s c (fun i => v i + e i) lam) in *.
  pose proof (Rmax_l 0 B). pose proof (Rmax_r 0 B).
  assert (dot n (softmax n s') v' - lam <= Rmax 0 B / fsum n (light n s c)).
  { apply Rle_trans with (Rmax 0 B / W).
    - apply le_div; auto. rewrite Rmult_comm. lra.
    - unfold Rdiv. apply Rmult_le_compat_l; auto. now apply Rinv_le_contravar. }
  lra.
Qed.

(** The logits that are moved up where the largest value lies above lam, and down elsewhere. *)
Definition tilted (s c x : nat -> R) (lam : R) (i : nat) : R :=
  if Rlt_dec lam (x i) then s i + c i else s i - c i.

Theorem q_hull_attained n s c v e y lam : (0 < n)%nat ->
  (forall i, (i < n)%nat -> 0 <= c i) -> (forall i, (i < n)%nat -> 0 <= e i) ->
  let x := fun i => v i + e i in
  balance n s c x lam = 0 ->
  near n (tilted s c x lam) s c /\ near n x v e /\
  dot n (softmax n (tilted s c x lam)) x - y
    = b_hull_output (lam - y) (Rmax 0 (balance n s c x lam)) (fsum n (light n s c)).
Proof.
  intros Hn Hc He x HB. repeat split.
  - intros i Hi. specialize (Hc i Hi). unfold tilted. destruct (Rlt_dec lam (x i)).
    + replace (s i + c i - s i) with (c i) by ring. rewrite Rabs_right; lra.
    + replace (s i - c i - s i) with (- c i) by ring. rewrite Rabs_Ropp, Rabs_right; lra.
  - intros i Hi. specialize (He i Hi). unfold x. replace (v i + e i - v i) with (e i) by ring.
    rewrite Rabs_right; lra.
  - set (s' := tilted s c x lam).
    assert (HW : 0 < mean n (softmax n s) (factor s' s)) by now apply moved_positive.
    assert (G : mean n (softmax n s) (factor s' s) * (dot n (softmax n s') x - lam) = 0).
    { rewrite moved_gap, <- HB by auto. apply fsum_ext. intros i _. unfold heavy, light, factor, s',
        tilted. destruct (Rlt_dec lam (x i)).
      - rewrite (Rmax_right 0 (x i - lam)), (Rmax_left 0 (lam - x i)) by lra.
        replace (s i + c i - s i) with (c i) by ring. ring.
      - rewrite (Rmax_left 0 (x i - lam)), (Rmax_right 0 (lam - x i)) by lra.
        replace (s i - c i - s i) with (- c i) by ring. ring. }
    apply Rmult_integral in G. destruct G as [G | G]; [lra |].
    rewrite HB, Rmax_left by lra. unfold b_hull_output, Rdiv. rewrite Rmult_0_l. lra.
Qed.

(** * Q.augmented *)

(** Jensen's inequality for exp, which lies above its tangents. *)
Lemma mean_exp n p x : weights n p -> exp (mean n p x) <= mean n p (fun j => exp (x j)).
Proof.
  intros W. set (m := mean n p x).
  apply Rle_trans with (mean n p (fun j => exp m * (1 - m) + exp m * x j)).
  - rewrite mean_plus, mean_const, mean_scale by auto. fold m. right. ring.
  - apply mean_le; auto. intros j _.
    replace (exp (x j)) with (exp m * exp (x j - m)) by (rewrite <- exp_plus; f_equal; ring).
    pose proof (exp_ineq1_le (x j - m)). pose proof (exp_pos m).
    replace (exp m * (1 - m) + exp m * x j) with (exp m * (1 + (x j - m))) by ring.
    apply Rmult_le_compat_l; lra.
Qed.

Lemma moved_total_low n s s' c : (0 < n)%nat -> near n s' s c ->
  exp (- mean n (softmax n s) c) <= mean n (softmax n s) (factor s' s).
Proof.
  intros Hn Hs. pose proof (proj1 (known_weights n s Hn)) as Hp.
  replace (- mean n (softmax n s) c) with (mean n (softmax n s) (fun j => -1 * c j))
    by (rewrite mean_scale; ring).
  eapply Rle_trans; [now apply mean_exp |]. apply mean_le; auto. intros j Hj.
  replace (-1 * c j) with (- c j) by ring. now apply (factor_range n s' s c).
Qed.

(** F bounds (exp c - 1) / c for every radius. *)
Definition grows (n : nat) (c : nat -> R) (F : R) : Prop :=
  1 <= F /\ forall i, (i < n)%nat -> 0 <= c i /\ exp (c i) - 1 <= F * c i.

Lemma factor_change n s' s c F i : near n s' s c -> grows n c F -> (i < n)%nat ->
  Rabs (factor s' s i - 1) <= F * c i.
Proof.
  intros Hs [HF HG] Hi. destruct (HG i Hi) as [Hc HE].
  destruct (factor_range n s' s c i Hs Hi) as [L U]. apply Rabs_le. split; [| lra].
  assert (1 - c i <= exp (- c i)) by (pose proof (exp_ineq1_le (- c i)); lra). nra.
Qed.

Theorem q_augmented n s s' c v v' e y F radius_mean radius_square scatter value_error
    radius_value_error centre_error :
  (0 < n)%nat -> near n s' s c -> near n v' v e -> grows n c F ->
  mean n (softmax n s) c <= radius_mean ->
  mean n (softmax n s) (fun j => c j ^ 2) <= radius_square ->
  mean n (softmax n s) (fun j => (v j - y) ^ 2) <= scatter ->
  mean n (softmax n s) e <= value_error ->
  mean n (softmax n s) (fun j => c j * e j) <= radius_value_error ->
  Rabs (mean n (softmax n s) v - y) <= centre_error ->
  Rabs (dot n (softmax n s') v' - y)
    <= b_augmented_output radius_mean radius_square scatter value_error radius_value_error F
         centre_error.
Proof.
  intros Hn Hs Hv HF HA HQ HS HE HR HC. pose proof (proj1 (known_weights n s Hn)) as Hp.
  pose proof HF as [F1 HG]. set (p := softmax n s) in *.
  set (W := mean n p (factor s' s)).
  assert (HW : 0 < W) by now apply moved_positive.
  assert (C0 : forall j, (j < n)%nat -> 0 <= c j) by (intros; now apply HG).
  assert (E0 : forall j, (j < n)%nat -> 0 <= e j)
    by (intros j Hj; eapply Rle_trans; [apply Rabs_pos | apply (Hv j Hj)]).
  assert (A0 : 0 <= radius_mean) by (eapply Rle_trans; [apply (mean_nonneg n p c) |]; eauto).
  assert (Q0 : 0 <= radius_square).
  { eapply Rle_trans; [apply (mean_nonneg n p (fun j => c j ^ 2)) |]; eauto.
    intros j Hj. apply pow2_ge_0. }
  assert (S0 : 0 <= scatter).
  { eapply Rle_trans; [apply (mean_nonneg n p (fun j => (v j - y) ^ 2)) |]; eauto.
    intros j Hj. apply pow2_ge_0. }
  assert (LW : exp (- radius_mean) <= W).
  { apply Rle_trans with (exp (- mean n p c)); [apply exp_le; lra |].
    now apply moved_total_low. }
  set (N := centre_error + value_error + F * radius_value_error
            + F * sqrt radius_square * sqrt scatter).
  assert (K : mean n p (fun j => c j * Rabs (v j - y)) <= sqrt radius_square * sqrt scatter).
  { eapply Rle_trans; [apply Rle_abs |]. apply mean_cauchy; auto; try apply sqrt_pos;
      rewrite pow2_sqrt by auto; auto.
    rewrite (mean_ext n p _ (fun j => (v j - y) ^ 2)) by (intros; apply pow2_abs). exact HS. }
  assert (G : W * Rabs (dot n (softmax n s') v' - y) <= N).
  { rewrite <- (Rabs_right W) at 1 by lra. rewrite <- Rabs_mult. unfold W, p.
    rewrite moved_gap by auto. fold p.
    rewrite (mean_ext n p _ (fun j => ((factor s' s j - 1) * (v j - y)
                                       + factor s' s j * (v' j - v j)) + (v j - y)))
      by (intros; ring).
    rewrite !mean_plus.
    assert (M : mean n p (fun j => v j - y) = mean n p v - y)
      by (rewrite mean_minus, mean_const; auto).
    rewrite M. eapply Rle_trans; [apply Rabs_triang |].
    assert (T1 : Rabs (mean n p (fun j => (factor s' s j - 1) * (v j - y)))
                 <= F * (sqrt radius_square * sqrt scatter)).
    { eapply Rle_trans; [now apply mean_abs |].
      apply Rle_trans with (mean n p (fun j => F * (c j * Rabs (v j - y)))).
      - apply mean_le; auto. intros j Hj. rewrite Rabs_mult, <- Rmult_assoc.
        apply Rmult_le_compat_r; [apply Rabs_pos | now apply (factor_change n s' s c)].
      - rewrite mean_scale. apply Rmult_le_compat_l; lra. }
    assert (T2 : Rabs (mean n p (fun j => factor s' s j * (v' j - v j)))
                 <= value_error + F * radius_value_error).
    { eapply Rle_trans; [now apply mean_abs |].
      apply Rle_trans with (mean n p (fun j => e j + F * (c j * e j))).
      - apply mean_le; auto. intros j Hj. rewrite Rabs_mult.
        pose proof (factor_change n s' s c F j Hs HF Hj) as D.
        assert (Rabs (factor s' s j) <= 1 + F * c j).
        { replace (factor s' s j) with (1 + (factor s' s j - 1)) by ring.
          eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_R1. lra. }
        specialize (Hv j Hj). specialize (E0 j Hj).
        apply Rle_trans with ((1 + F * c j) * e j); [| right; ring].
        apply Rmult_le_compat; auto; apply Rabs_pos.
      - rewrite mean_plus, mean_scale. apply Rplus_le_compat; auto.
        apply Rmult_le_compat_l; lra. }
    eapply Rle_trans; [apply Rplus_le_compat; [apply Rabs_triang | exact HC] |].
    unfold N. rewrite Rmult_assoc. lra. }
  assert (N0 : 0 <= N).
  { eapply Rle_trans; [| exact G]. apply Rmult_le_pos; [lra | apply Rabs_pos]. }
  replace (b_augmented_output radius_mean radius_square scatter value_error radius_value_error F
             centre_error) with (N * exp radius_mean)
    by (unfold b_augmented_output, N; ring).
  apply Rle_trans with (N / W).
  - apply le_div; auto. rewrite Rmult_comm. exact G.
  - unfold Rdiv. apply Rmult_le_compat_l; auto.
    replace (exp radius_mean) with (/ exp (- radius_mean)) by (rewrite exp_Ropp, Rinv_inv; auto).
    apply Rinv_le_contravar; auto. apply exp_pos.
Qed.

(** Where only values move, they may all move one way. *)
Theorem q_augmented_attained n s v e : (0 < n)%nat -> (forall i, (i < n)%nat -> 0 <= e i) ->
  let v' := fun i => v i + e i in let p := softmax n s in
  near n v' v e /\
  dot n p v' - mean n p v = b_augmented_output 0 0 0 (mean n p e) 0 1 0.
Proof.
  intros Hn He v' p. split.
  - intros i Hi. unfold v'. replace (v i + e i - v i) with (e i) by ring.
    rewrite Rabs_right; [lra | apply Rle_ge, He; auto].
  - unfold b_augmented_output. rewrite sqrt_0, exp_0. unfold v'.
    fold (mean n p (fun i => v i + e i)). rewrite mean_plus. ring.
Qed.

Theorem q_augmented_log n s s' c F radius_mean : (0 < n)%nat -> near n s' s c -> grows n c F ->
  mean n (softmax n s) c <= radius_mean ->
  Rabs (ln (fsum n (fun j => exp (s' j))) - ln (fsum n (fun j => exp (s j))))
    <= b_augmented_log radius_mean F.
Proof.
  intros Hn Hs HF HA. pose proof (proj1 (known_weights n s Hn)) as Hp. pose proof HF as [F1 HG].
  pose proof (moved_positive n s s' Hn) as HW. pose proof (exp_sum_pos n s Hn) as HZ.
  rewrite (moved_total n s s' Hn), ln_mult by auto.
  set (W := mean n (softmax n s) (factor s' s)) in *.
  replace (ln (fsum n (fun j => exp (s j))) + ln W - ln (fsum n (fun j => exp (s j))))
    with (ln W) by ring.
  assert (C0 : 0 <= mean n (softmax n s) c) by (apply mean_nonneg; auto; intros; now apply HG).
  unfold b_augmented_log. apply Rabs_le. split.
  - apply Rle_trans with (- mean n (softmax n s) c); [nra |].
    rewrite <- (ln_exp (- mean n (softmax n s) c)).
    destruct (moved_total_low n s s' c Hn Hs) as [L | L].
    + left. apply ln_increasing; [apply exp_pos | exact L].
    + right. now rewrite L.
  - pose proof (ln_le_minus_1 W HW).
    assert (W - 1 <= F * mean n (softmax n s) c).
    { unfold W. rewrite <- mean_scale.
      replace (mean n (softmax n s) (factor s' s) - 1)
        with (mean n (softmax n s) (fun j => factor s' s j - 1))
        by (rewrite mean_minus, mean_const; auto).
      apply mean_le; auto. intros j Hj.
      pose proof (factor_change n s' s c F j Hs HF Hj) as D. apply Rabs_bounds in D. lra. }
    nra.
Qed.

(** * FP.augmented *)

Theorem fp_augmented n p v y second first_error : weights n p ->
  mean n p (fun j => v j ^ 2) <= second -> Rabs (y - mean n p v) <= first_error ->
  mean n p (fun j => (v j - y) ^ 2) <= b_augmented_scatter second (Rabs y) first_error.
Proof.
  intros Hp HS HF.
  rewrite (mean_ext n p _ (fun j => (v j ^ 2 - 2 * y * v j) + y ^ 2)) by (intros; ring).
  rewrite mean_plus, mean_minus, mean_scale, mean_const by auto. unfold b_augmented_scatter.
  set (m := mean n p v) in *.
  assert (Y : y * (y - m) <= Rabs y * first_error).
  { eapply Rle_trans; [apply Rle_abs |]. rewrite Rabs_mult.
    apply Rmult_le_compat_l; [apply Rabs_pos | auto]. }
  rewrite pow2_abs. nra.
Qed.
