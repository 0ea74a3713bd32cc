(** Approximate weights in place of exp: relative error and the ratio kappa
    (claims S.weights, S.kappa).

    Weights b_i with  m a_i <= b_i <= m kappa a_i  have  b_i a_j <= kappa a_i b_j, which is the
    Hilbert condition of TotalVariation.v with s = sqrt kappa, so the masses differ by at most
    (sqrt kappa - 1) / (sqrt kappa + 1) = tanh (ln kappa / 4).  A relative error epsilon is the case
    m = 1 - epsilon, kappa = (1 + epsilon) / (1 - epsilon).  Two keys attain each bound. *)

Require Import Reals Lra.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax TotalVariation.
Open Scope R_scope.

(** m a_i <= b_i <= m kappa a_i for i < n *)
Definition comparable (n : nat) (a b : nat -> R) (m kappa : R) : Prop :=
  forall i, (i < n)%nat -> m * a i <= b i <= m * (kappa * a i).

(** b_i is a_i up to a relative error epsilon *)
Definition relative_error (n : nat) (a b : nat -> R) (epsilon : R) : Prop :=
  forall i, (i < n)%nat -> (1 - epsilon) * a i <= b i <= (1 + epsilon) * a i.

(** * S.kappa *)

Lemma sqrt_ge_1 x : 1 <= x -> 1 <= sqrt x.
Proof. intros. rewrite <- sqrt_1. apply sqrt_le_1_alt. auto. Qed.

Lemma kappa_form kappa : 1 <= kappa -> b_kappa_tv kappa = b_hilbert_tv (sqrt kappa).
Proof.
  intros Hk. pose proof (sqrt_ge_1 kappa Hk).
  rewrite hilbert_form by auto. unfold b_kappa_tv.
  rewrite <- (exp_ln (sqrt kappa)), <- tanh_half by lra.
  f_equal. rewrite <- (sqrt_sqrt kappa) at 1 by lra. rewrite ln_mult by lra. field.
Qed.

Lemma comparable_positive n a b m kappa : 0 < m -> positive n a -> comparable n a b m kappa ->
  positive n b.
Proof. intros Hm Ha H i Hi. specialize (Ha i Hi). specialize (H i Hi). nra. Qed.

Lemma comparable_kappa n a b m kappa : (0 < n)%nat -> 0 < m -> positive n a ->
  comparable n a b m kappa -> 1 <= kappa.
Proof.
  intros Hn Hm Ha H. specialize (Ha 0%nat Hn). specialize (H 0%nat Hn).
  apply Rmult_le_reg_r with (a 0%nat); auto. apply Rmult_le_reg_l with m; lra.
Qed.

Lemma comparable_hilbert n a b m kappa : 0 < m -> 1 <= kappa -> positive n a ->
  comparable n a b m kappa -> hilbert_close n a b (sqrt kappa).
Proof.
  intros Hm Hk Ha H i j Hi Hj. rewrite sqrt_sqrt by lra.
  pose proof (Ha i Hi). pose proof (Ha j Hj).
  destruct (H i Hi) as [_ U]. destruct (H j Hj) as [L _].
  apply Rle_trans with (m * (kappa * a i) * a j); [apply Rmult_le_compat_r; lra |].
  replace (m * (kappa * a i) * a j) with (kappa * a i * (m * a j)) by ring.
  rewrite <- (Rmult_assoc kappa). apply Rmult_le_compat_l; auto. nra.
Qed.

Theorem s_kappa_tv n a b m kappa S : (0 < n)%nat -> 0 < m -> positive n a ->
  comparable n a b m kappa ->
  Rabs (mass n S (normalize n b) - mass n S (normalize n a)) <= b_kappa_tv kappa.
Proof.
  intros Hn Hm Ha H. pose proof (comparable_kappa n a b m kappa Hn Hm Ha H) as Hk.
  rewrite kappa_form by auto. apply s_tv_hilbert; auto.
  - eapply comparable_positive; eauto.
  - apply sqrt_ge_1; auto.
  - eapply comparable_hilbert; eauto.
Qed.

Theorem s_kappa_output n a b w m kappa lo hi : (0 < n)%nat -> 0 < m -> positive n a ->
  comparable n a b m kappa -> ranges n w lo hi ->
  Rabs (dot n (normalize n b) w - dot n (normalize n a) w) <= (hi - lo) * b_kappa_tv kappa.
Proof.
  intros Hn Hm Ha H Hw. apply dot_gap; auto.
  - eapply ranges_ordered; eauto.
  - apply same_total; auto. eapply comparable_positive; eauto.
  - intros S. eapply s_kappa_tv; eauto.
Qed.

(** Any function P, in particular a polynomial, in place of exp: only the range of P(x) exp (-x) on
    the logits counts. *)
Theorem s_kappa_function n v (P : R -> R) m kappa S : (0 < n)%nat -> 0 < m ->
  (forall i, (i < n)%nat -> m <= P (v i) * exp (- v i) <= m * kappa) ->
  Rabs (mass n S (normalize n (fun i => P (v i))) - mass n S (softmax n v)) <= b_kappa_tv kappa.
Proof.
  intros Hn Hm H. apply (s_kappa_tv n (fun i => exp (v i)) _ m); auto.
  - intros i _. apply exp_pos.
  - intros i Hi. specialize (H i Hi). pose proof (exp_pos (v i)).
    replace (P (v i)) with (P (v i) * exp (- v i) * exp (v i))
      by (rewrite Rmult_assoc, exp_opp_mult; ring).
    split; [apply Rmult_le_compat_r; lra |].
    rewrite <- Rmult_assoc. apply Rmult_le_compat_r; lra.
Qed.

(** Weights multiply, and so do their kappas: ln kappa adds. *)
Theorem s_kappa_product n a b a' b' m m' kappa kappa' :
  0 < m -> 0 < m' -> positive n a -> positive n a' ->
  comparable n a b m kappa -> comparable n a' b' m' kappa' ->
  comparable n (fun i => a i * a' i) (fun i => b i * b' i) (m * m') (kappa * kappa').
Proof.
  intros Hm Hm' Ha Ha' H H' i Hi. specialize (Ha i Hi). specialize (Ha' i Hi).
  destruct (H i Hi) as [L U]. destruct (H' i Hi) as [L' U'].
  assert (0 < m * a i) by (apply Rmult_lt_0_compat; auto).
  assert (0 < m' * a' i) by (apply Rmult_lt_0_compat; auto). split.
  - replace (m * m' * (a i * a' i)) with (m * a i * (m' * a' i)) by ring.
    apply Rmult_le_compat; lra.
  - replace (m * m' * (kappa * kappa' * (a i * a' i)))
      with (m * (kappa * a i) * (m' * (kappa' * a' i))) by ring.
    apply Rmult_le_compat; lra.
Qed.

Theorem s_kappa_log kappa kappa' : 1 <= kappa -> 1 <= kappa' ->
  ln (kappa * kappa') = ln kappa + ln kappa'.
Proof. intros. apply ln_mult; lra. Qed.

(** The scale of a row cancels. *)
Theorem s_kappa_scale n b c i : 0 < c -> normalize n (fun j => c * b j) i = normalize n b i.
Proof.
  intros Hc. unfold normalize. rewrite fsum_scale. unfold Rdiv.
  rewrite Rinv_mult.
  replace (c * b i * (/ c * / fsum n b)) with (c * / c * (b i * / fsum n b)) by ring.
  rewrite Rinv_r by lra. ring.
Qed.

Theorem s_kappa_tv_attained kappa : 1 <= kappa ->
  let a := two_keys 1 (sqrt kappa) in let b := two_keys kappa (sqrt kappa) in
  positive 2 a /\ comparable 2 a b 1 kappa /\
  mass 2 first (normalize 2 b) - mass 2 first (normalize 2 a) = b_kappa_tv kappa.
Proof.
  intros Hk a b. pose proof (sqrt_ge_1 kappa Hk) as Hs.
  assert (E : sqrt kappa * sqrt kappa = kappa) by (apply sqrt_sqrt; lra).
  split; [apply two_keys_positive; lra | split].
  - intros i _. unfold a, b, two_keys. destruct (first i); nra.
  - unfold a, b. rewrite !two_keys_mass, kappa_form, hilbert_form by auto.
    rewrite <- E at 1 2. field. split; nra.
Qed.

(** * S.weights *)

Lemma weights_kappa_ge_1 epsilon : 0 <= epsilon < 1 -> 1 <= (1 + epsilon) / (1 - epsilon).
Proof. intros. apply le_div; lra. Qed.

(** epsilon / (1 + sqrt (1 - epsilon^2)) is the bound of kappa = (1 + epsilon) / (1 - epsilon):
    with s = sqrt kappa, sqrt (1 - epsilon^2) = s (1 - epsilon), s^2 (1 - epsilon) = 1 + epsilon. *)
Lemma weights_form epsilon : 0 <= epsilon < 1 ->
  b_weights_tv epsilon = b_kappa_tv ((1 + epsilon) / (1 - epsilon)).
Proof.
  intros He. pose proof (weights_kappa_ge_1 epsilon He) as Hk.
  pose proof (sqrt_ge_1 _ Hk) as Hs.
  rewrite kappa_form, hilbert_form by auto. unfold b_weights_tv.
  argument sqrt (1 - epsilon * epsilon).
  set (s := sqrt ((1 + epsilon) / (1 - epsilon))) in *.
  assert (Q : s * s * (1 - epsilon) = 1 + epsilon)
    by (unfold s; rewrite sqrt_sqrt by lra; field; lra).
  assert (T : sqrt (1 - epsilon * epsilon) = s * (1 - epsilon)).
  { apply sqrt_lem_1; [nra | nra |].
    replace (s * (1 - epsilon) * (s * (1 - epsilon)))
      with (s * s * (1 - epsilon) * (1 - epsilon)) by ring. rewrite Q. ring. }
  rewrite T. assert (0 < 1 + s * (1 - epsilon)) by nra.
  apply Rmult_eq_reg_r with ((s + 1) * (1 + s * (1 - epsilon))); [| nra].
  transitivity (epsilon * (s + 1)); [field; nra |].
  transitivity ((s - 1) * (1 + s * (1 - epsilon))); [nra | field; nra].
Qed.

Lemma weights_output_form epsilon M : 0 <= epsilon < 1 ->
  b_weights_output epsilon M = 2 * M * b_weights_tv epsilon.
Proof.
  intros. unfold b_weights_output, b_weights_tv. argument sqrt (1 - epsilon * epsilon).
  pose proof (sqrt_pos (1 - epsilon * epsilon)). field. lra.
Qed.

Lemma relative_error_comparable n a b epsilon : 0 <= epsilon < 1 -> relative_error n a b epsilon ->
  comparable n a b (1 - epsilon) ((1 + epsilon) / (1 - epsilon)).
Proof.
  intros He H i Hi. specialize (H i Hi).
  replace ((1 - epsilon) * ((1 + epsilon) / (1 - epsilon) * a i)) with ((1 + epsilon) * a i)
    by (field; lra). auto.
Qed.

Theorem s_weights_tv n a b epsilon S : (0 < n)%nat -> 0 <= epsilon < 1 -> positive n a ->
  relative_error n a b epsilon ->
  Rabs (mass n S (normalize n b) - mass n S (normalize n a)) <= b_weights_tv epsilon.
Proof.
  intros Hn He Ha H. rewrite weights_form by auto.
  apply (s_kappa_tv n a b (1 - epsilon)); auto; [lra |].
  apply relative_error_comparable; auto.
Qed.

Theorem s_weights_output n a b w epsilon M : (0 < n)%nat -> 0 <= epsilon < 1 -> positive n a ->
  relative_error n a b epsilon -> bounded n w M ->
  Rabs (dot n (normalize n b) w - dot n (normalize n a) w) <= b_weights_output epsilon M.
Proof.
  intros Hn He Ha H Hw. rewrite weights_output_form, weights_form by auto.
  replace (2 * M) with (M - - M) by ring.
  apply (s_kappa_output n a b w (1 - epsilon)); auto; [lra | |].
  - apply relative_error_comparable; auto.
  - apply bounded_ranges; auto.
Qed.

(** Two keys in the proportion 1 : s, where the first weight is raised and the second lowered. *)
Definition even_weights (epsilon : R) : nat -> R :=
  two_keys 1 (sqrt ((1 + epsilon) / (1 - epsilon))).
Definition tilted_weights (epsilon : R) : nat -> R :=
  two_keys (1 + epsilon) ((1 - epsilon) * sqrt ((1 + epsilon) / (1 - epsilon))).

Lemma tilted_weights_fit epsilon : 0 <= epsilon < 1 ->
  positive 2 (even_weights epsilon) /\
  relative_error 2 (even_weights epsilon) (tilted_weights epsilon) epsilon.
Proof.
  intros He. pose proof (sqrt_ge_1 _ (weights_kappa_ge_1 epsilon He)).
  split; [apply two_keys_positive; lra |].
  intros i _. unfold even_weights, tilted_weights, two_keys. destruct (first i); nra.
Qed.

(** Both normalise to s : 1 and 1 : s. *)
Lemma tilted_weights_gap epsilon : 0 <= epsilon < 1 ->
  let s := sqrt ((1 + epsilon) / (1 - epsilon)) in
  1 / (1 + s) + b_weights_tv epsilon
    = (1 + epsilon) / ((1 + epsilon) + (1 - epsilon) * s).
Proof.
  intros He s. pose proof (weights_kappa_ge_1 epsilon He) as Hk.
  pose proof (sqrt_ge_1 _ Hk) as Hs. fold s in Hs.
  rewrite weights_form, kappa_form, hilbert_form by auto. fold s.
  assert (Q : s * s * (1 - epsilon) = 1 + epsilon)
    by (unfold s; rewrite sqrt_sqrt by lra; field; lra).
  rewrite <- Q. field. repeat split; nra.
Qed.

Theorem s_weights_tv_attained epsilon : 0 <= epsilon < 1 ->
  let a := even_weights epsilon in let b := tilted_weights epsilon in
  positive 2 a /\ relative_error 2 a b epsilon /\
  mass 2 first (normalize 2 b) - mass 2 first (normalize 2 a) = b_weights_tv epsilon.
Proof.
  intros He a b. split; [| split]; try apply tilted_weights_fit; auto.
  unfold a, b, even_weights, tilted_weights.
  rewrite !two_keys_mass, <- tilted_weights_gap by auto. ring.
Qed.

Theorem s_weights_output_attained epsilon M : 0 <= epsilon < 1 -> 0 <= M ->
  let a := even_weights epsilon in let b := tilted_weights epsilon in
  positive 2 a /\ relative_error 2 a b epsilon /\ bounded 2 (two_keys M (- M)) M /\
  dot 2 (normalize 2 b) (two_keys M (- M)) - dot 2 (normalize 2 a) (two_keys M (- M))
    = b_weights_output epsilon M.
Proof.
  intros He HM a b. destruct (s_weights_tv_attained epsilon He) as [Ha [Hb G]].
  repeat split; auto; try (apply Hb; auto); try (apply two_keys_bounded; auto).
  rewrite weights_output_form, <- G by auto. unfold even_weights, tilted_weights in *.
  unfold a, b, even_weights, tilted_weights. rewrite !two_keys_mass, !two_keys_dot.
  pose proof (sqrt_ge_1 _ (weights_kappa_ge_1 epsilon He)). field. split; nra.
Qed.
