(** Averages under weights p_j >= 0 of sum 1, of which a row of softmax is one.

    What: the mean is linear and monotone, stays within what it averages, and obeys Cauchy and
    Schwarz; the mean of vectors has as its product with z the mean of their products with z. *)

Require Import Reals Lra Lia.
From Attest.Foundations Require Import Sums Vectors.
Open Scope R_scope.

Definition weights (m : nat) (p : nat -> R) : Prop :=
  (forall j, (j < m)%nat -> 0 <= p j) /\ fsum m p = 1.

Definition mean (m : nat) (p f : nat -> R) : R := dot m p f.

Lemma weights_nonempty m p : weights m p -> (0 < m)%nat.
Proof. intros [_ W]. destruct m; [simpl in W; lra | lia]. Qed.

Lemma mean_ext m p f g : (forall j, (j < m)%nat -> f j = g j) -> mean m p f = mean m p g.
Proof. intros H. apply fsum_ext. intros j Hj. now rewrite H. Qed.

Lemma mean_plus m p f g : mean m p (fun j => f j + g j) = mean m p f + mean m p g.
Proof. unfold mean, dot. rewrite <- fsum_plus. apply fsum_ext. intros. ring. Qed.

Lemma mean_minus m p f g : mean m p (fun j => f j - g j) = mean m p f - mean m p g.
Proof. unfold mean, dot. rewrite <- fsum_minus. apply fsum_ext. intros. ring. Qed.

Lemma mean_scale m p c f : mean m p (fun j => c * f j) = c * mean m p f.
Proof. unfold mean, dot. rewrite <- fsum_scale. apply fsum_ext. intros. ring. Qed.

Lemma mean_const m p c : weights m p -> mean m p (fun _ => c) = c.
Proof. intros [_ W]. unfold mean, dot. rewrite fsum_scale_r, W. ring. Qed.

Lemma mean_le m p f g : weights m p -> (forall j, (j < m)%nat -> f j <= g j) ->
  mean m p f <= mean m p g.
Proof. intros [P _] H. apply fsum_le. intros j Hj. apply Rmult_le_compat_l; auto. Qed.

Lemma mean_nonneg m p f : weights m p -> (forall j, (j < m)%nat -> 0 <= f j) -> 0 <= mean m p f.
Proof. intros W H. rewrite <- (mean_const m p 0 W). apply mean_le; auto. Qed.

Lemma mean_abs m p f : weights m p -> Rabs (mean m p f) <= mean m p (fun j => Rabs (f j)).
Proof.
  intros [P _]. eapply Rle_trans; [apply fsum_abs |]. apply fsum_le. intros j Hj.
  rewrite Rabs_mult, (Rabs_right (p j)); [lra | apply Rle_ge; auto].
Qed.

Lemma mean_centred m p f : weights m p -> mean m p (fun j => f j - mean m p f) = 0.
Proof. intros W. rewrite mean_minus, mean_const by auto. ring. Qed.

Lemma mean_near m p f a r : weights m p -> (forall j, (j < m)%nat -> Rabs (f j - a) <= r) ->
  Rabs (mean m p f - a) <= r.
Proof.
  intros W H. replace (mean m p f - a) with (mean m p (fun j => f j - a))
    by (now rewrite mean_minus, mean_const).
  eapply Rle_trans; [apply mean_abs; auto |]. rewrite <- (mean_const m p r W). apply mean_le; auto.
Qed.

(** Cauchy and Schwarz. *)
Lemma mean_cauchy m p f g A B : weights m p -> 0 <= A -> 0 <= B ->
  mean m p (fun j => f j ^ 2) <= A ^ 2 -> mean m p (fun j => g j ^ 2) <= B ^ 2 ->
  Rabs (mean m p (fun j => f j * g j)) <= A * B.
Proof.
  intros [P _] HA HB HF HG.
  apply Rle_trans with (fsum m (fun j => Rabs (sqrt (p j) * f j * (sqrt (p j) * g j)))).
  - eapply Rle_trans; [apply fsum_abs |]. right. apply fsum_ext. intros j Hj. f_equal.
    transitivity (sqrt (p j) * sqrt (p j) * f j * g j); [rewrite sqrt_sqrt by auto |]; ring.
  - eapply Rle_trans; [apply (cauchy_schwarz m (fun j => sqrt (p j) * f j)) |].
    assert (E : forall f, fsum m (fun l => (sqrt (p l) * f l) ^ 2) = mean m p (fun j => f j ^ 2)).
    { intros h. apply fsum_ext. intros j Hj.
      rewrite Rpow_mult_distr, pow2_sqrt by auto. reflexivity. }
    cbv beta. rewrite !E. apply Rmult_le_compat; try apply sqrt_pos.
    + rewrite <- (sqrt_pow2 A) by auto. apply sqrt_le_1_alt. auto.
    + rewrite <- (sqrt_pow2 B) by auto. apply sqrt_le_1_alt. auto.
Qed.

Lemma mean_affine m p s x a rho : weights m p -> (forall j, (j < m)%nat -> s j = a + rho * x j) ->
  mean m p s = a + rho * mean m p x.
Proof.
  intros W H. rewrite (mean_ext m p s _ H), mean_plus, mean_const, mean_scale by auto. reflexivity.
Qed.

(** * Vectors *)

Lemma mean_product m p d z h :
  dot d z (fun c => mean m p (fun j => h j c)) = mean m p (fun j => dot d z (h j)).
Proof.
  unfold mean, dot.
  rewrite (fsum_ext d _ (fun c => fsum m (fun j => z c * (p j * h j c))))
    by (intros; now rewrite fsum_scale).
  rewrite fsum_swap. apply fsum_ext. intros j _. rewrite <- fsum_scale.
  apply fsum_ext. intros. ring.
Qed.

Lemma mean_norm m p d h r : weights m p -> 0 <= r ->
  (forall j, (j < m)%nat -> norm d (h j) <= r) ->
  norm d (fun c => mean m p (fun j => h j c)) <= r.
Proof.
  intros W Hr H. apply norm_dual; auto. intros z.
  rewrite mean_product, <- (mean_const m p (r * norm d z) W).
  apply mean_le; auto. intros j Hj. rewrite (Rmult_comm r). apply dot_le; [right;
    reflexivity | auto].
Qed.

Lemma norm_mean d m p (v : nat -> nat -> R) : (forall j, (j < m)%nat -> 0 <= p j) ->
  norm d (fun k => mean m p (fun j => v j k)) <= mean m p (fun j => norm d (v j)).
Proof.
  unfold mean, dot. induction m as [| m I]; intros H; simpl.
  - rewrite norm_zero. lra.
  - eapply Rle_trans; [apply (norm_triangle d (fun k => fsum m (fun j => p j * v j k))) |].
    rewrite norm_scale_nonneg by (apply H; lia). apply Rplus_le_compat_r, I. intros. apply H. lia.
Qed.
