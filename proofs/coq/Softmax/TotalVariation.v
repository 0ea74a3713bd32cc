(** Softmax in total variation, and what it means for an output (claims S.tv, S.output).

    Two positive weight vectors a, b with  b_i a_j <= s^2 a_i b_j  for all i, j (Hilbert distance at
    most 2 ln s) give every set of keys S masses p(S), q(S) with |p(S) - q(S)| <= (s - 1) / (s + 1).
    Steps: (1) the odds of S change by a factor of at most s^2, which leaves an inequality in four
    numbers; (2) total variation bounds the change of every average <p, w>, through the spread of w;
    (3) logits within eta have s = exp eta, and (exp eta - 1) / (exp eta + 1) = tanh (eta / 2).
    Two keys attain each bound. *)

Require Import Reals Lra.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax.
Open Scope R_scope.

(** The total weight of the keys in S. *)
Definition mass (n : nat) (S : nat -> bool) (p : nat -> R) : R := fsum n (on S p).

Definition positive (n : nat) (a : nat -> R) : Prop := forall i, (i < n)%nat -> 0 < a i.

(** Hilbert distance between a and b at most 2 ln s. *)
Definition hilbert_close (n : nat) (a b : nat -> R) (s : R) : Prop :=
  forall i j, (i < n)%nat -> (j < n)%nat -> b i * a j <= s * s * (a i * b j).

(** lo <= w_i <= hi for i < n *)
Definition ranges (n : nat) (w : nat -> R) (lo hi : R) : Prop :=
  forall i, (i < n)%nat -> lo <= w i <= hi.

(** * General facts *)

Lemma hilbert_close_sym n a b s : hilbert_close n a b s -> hilbert_close n b a s.
Proof. intros H i j Hi Hj. specialize (H j i Hj Hi). lra. Qed.

Lemma normalize_total n a : 0 < fsum n a -> fsum n (normalize n a) = 1.
Proof. intros. unfold normalize. rewrite fsum_div. field. lra. Qed.

Lemma mass_normalize n a S :
  mass n S (normalize n a) = fsum n (on S a) / (fsum n (on S a) + fsum n (off S a)).
Proof. unfold mass, normalize. rewrite fsum_on_div, <- fsum_split. reflexivity. Qed.

Lemma mass_softmax n v S : mass n S (softmax n v) = mass n S (normalize n (fun j => exp (v j))).
Proof. reflexivity. Qed.

(** * One set of keys: odds that change by at most s^2 *)

(** With x = B A', y = A B', z the rest of (A + A') (B + B'), the claim reads
    (x - y) / (x + y + z) <= (s - 1) / (s + 1), that is  2 x <= 2 s y + (s - 1) z,
    for  x <= s^2 y  and  4 x y <= z^2  (the mean inequality on z = A B + A' B'). *)
Lemma odds_core x y z s : 0 <= x -> 0 <= y -> 0 <= z -> 1 <= s ->
  x <= s * s * y -> 4 * (x * y) <= z * z -> 2 * x <= 2 * s * y + (s - 1) * z.
Proof.
  intros Hx Hy Hz Hs Hxy Hmean.
  assert (0 <= (s - 1) * z) by (apply Rmult_le_pos; lra).
  destruct (Rle_dec x (s * y)) as [| Hlarge]; [lra |]. apply Rnot_le_lt in Hlarge.
  assert (Hsz : 2 * x <= s * z).
  { apply Rnot_lt_le. intros Hlt.
    assert (s * z * (s * z) < 2 * x * (2 * x)) by nra.
    assert (s * s * (4 * (x * y)) <= s * s * (z * z)) by (apply Rmult_le_compat_l; nra).
    assert (x * x <= s * s * (x * y)) by nra. nra. }
  apply Rmult_le_reg_l with s; [lra |]. nra.
Qed.

Lemma odds_gap A A' B B' s : 0 <= A -> 0 <= A' -> 0 <= B -> 0 <= B' ->
  0 < A + A' -> 0 < B + B' -> 1 <= s -> B * A' <= s * s * (A * B') ->
  B / (B + B') - A / (A + A') <= (s - 1) / (s + 1).
Proof.
  intros HA HA' HB HB' HZ HW Hs H.
  assert (HP : 0 < (B + B') * (A + A')) by (apply Rmult_lt_0_compat; auto).
  replace (B / (B + B') - A / (A + A'))
    with ((B * A' - A * B') / ((B + B') * (A + A'))) by (field; lra).
  apply div_le; auto.
  replace ((s - 1) / (s + 1) * ((B + B') * (A + A')))
    with ((s - 1) * ((B + B') * (A + A')) / (s + 1)) by (field; lra).
  apply le_div; [lra |].
  assert (C : 2 * (B * A') <= 2 * s * (A * B') + (s - 1) * (A * B + A' * B')).
  { apply odds_core; auto; try nra.
    pose proof (pow2_ge_0 (A * B - A' * B')). nra. }
  nra.
Qed.

(** * S.tv *)

Lemma hilbert_form s : 1 <= s -> b_hilbert_tv s = (s - 1) / (s + 1).
Proof. intros. unfold b_hilbert_tv. field. lra. Qed.

Lemma mass_gap n a b s S : (0 < n)%nat -> positive n a -> positive n b -> 1 <= s ->
  hilbert_close n a b s ->
  mass n S (normalize n b) - mass n S (normalize n a) <= (s - 1) / (s + 1).
Proof.
  intros Hn Ha Hb Hs H. rewrite !mass_normalize.
  apply odds_gap; auto;
    try (apply fsum_on_nonneg; intros; left; auto);
    try (apply fsum_off_nonneg; intros; left; auto);
    try (rewrite <- fsum_split; apply fsum_pos; auto).
  rewrite !fsum_product, <- fsum_scale. apply fsum_le. intros i Hi.
  rewrite <- fsum_scale. apply fsum_le. intros j Hj.
  unfold on, off. destruct (S i), (S j); try lra. apply H; auto.
Qed.

Theorem s_tv_hilbert n a b s S : (0 < n)%nat -> positive n a -> positive n b -> 1 <= s ->
  hilbert_close n a b s ->
  Rabs (mass n S (normalize n b) - mass n S (normalize n a)) <= b_hilbert_tv s.
Proof.
  intros Hn Ha Hb Hs H. rewrite hilbert_form by auto. apply Rabs_le.
  pose proof (mass_gap n a b s S Hn Ha Hb Hs H).
  pose proof (mass_gap n b a s S Hn Hb Ha Hs (hilbert_close_sym _ _ _ _ H)). lra.
Qed.

(** The two vectors of weights that attain it: (1, s) and (s, 1), with S the first key. *)
Definition first (i : nat) : bool := Nat.eqb i 0.
Definition two_keys (x y : R) (i : nat) : R := if first i then x else y.

Lemma two_keys_cases x y (P : R -> Prop) i : P x -> P y -> P (two_keys x y i).
Proof. unfold two_keys. destruct (first i); auto. Qed.

Lemma two_keys_positive n x y : 0 < x -> 0 < y -> positive n (two_keys x y).
Proof. intros Hx Hy i _. apply two_keys_cases; auto. Qed.

Lemma two_keys_within n x y x' y' eta : Rabs (x - x') <= eta -> Rabs (y - y') <= eta ->
  within n (two_keys x y) (two_keys x' y') eta.
Proof. intros Hx Hy i _. unfold two_keys. destruct (first i); auto. Qed.

Lemma two_keys_mass x y : mass 2 first (normalize 2 (two_keys x y)) = x / (x + y).
Proof. rewrite mass_normalize. unfold on, off, two_keys, first. simpl. f_equal; ring. Qed.

Lemma two_keys_exp x y i : exp (two_keys x y i) = two_keys (exp x) (exp y) i.
Proof. unfold two_keys. destruct (first i); auto. Qed.

Lemma two_keys_softmax_mass x y :
  mass 2 first (softmax 2 (two_keys x y)) = exp x / (exp x + exp y).
Proof. rewrite <- two_keys_mass. reflexivity. Qed.

Theorem s_tv_hilbert_attained s : 1 <= s ->
  let a := two_keys 1 s in let b := two_keys s 1 in
  positive 2 a /\ positive 2 b /\ hilbert_close 2 a b s /\
  mass 2 first (normalize 2 b) - mass 2 first (normalize 2 a) = b_hilbert_tv s.
Proof.
  intros Hs a b. unfold a, b. repeat split; try (apply two_keys_positive; lra).
  - assert (1 <= s * s) by nra.
    intros i j _ _. unfold two_keys. destruct (first i), (first j); nra.
  - rewrite hilbert_form, !two_keys_mass by auto. field. lra.
Qed.

Lemma tanh_half x : tanh (x / 2) = (exp x - 1) / (exp x + 1).
Proof.
  unfold tanh, sinh, cosh. replace (exp x) with (exp (x / 2) * exp (x / 2)).
  - rewrite exp_Ropp. pose proof (exp_pos (x / 2)). field. split; nra.
  - rewrite <- exp_double. f_equal. field.
Qed.

Lemma tv_form eta : b_softmax_tv eta = (exp eta - 1) / (exp eta + 1).
Proof. unfold b_softmax_tv. argument tanh (eta / 2). apply tanh_half. Qed.

Lemma within_hilbert_close n u v eta : within n u v eta ->
  hilbert_close n (fun i => exp (v i)) (fun i => exp (u i)) (exp eta).
Proof.
  intros H i j Hi Hj. rewrite <- !exp_plus. apply exp_le.
  pose proof (Rabs_bounds _ _ (H i Hi)). pose proof (Rabs_bounds _ _ (H j Hj)). lra.
Qed.

Theorem s_tv n u v eta S : (0 < n)%nat -> within n u v eta ->
  Rabs (mass n S (softmax n u) - mass n S (softmax n v)) <= b_softmax_tv eta.
Proof.
  intros Hn H. pose proof (within_nonneg _ _ _ _ Hn H).
  assert (1 <= exp eta) by (apply exp_ge_1; auto).
  rewrite tv_form, <- hilbert_form by auto.
  apply s_tv_hilbert; auto; try (intros i _; apply exp_pos).
  apply within_hilbert_close; auto.
Qed.

Theorem s_tv_attained eta : 0 <= eta ->
  let u := two_keys eta 0 in let v := two_keys 0 eta in
  within 2 u v eta /\
  mass 2 first (softmax 2 u) - mass 2 first (softmax 2 v) = b_softmax_tv eta.
Proof.
  intros Heta u v. unfold u, v. split.
  - apply two_keys_within; apply Rabs_le; lra.
  - rewrite tv_form, !two_keys_softmax_mass, exp_0. pose proof (exp_pos eta). field. lra.
Qed.

(** * From sets of keys to averages *)

(** |p - q| summed is twice the gap of the set where p exceeds q. *)
Lemma sum_abs_le n p q T : (forall S, Rabs (mass n S p - mass n S q) <= T) ->
  fsum n (fun i => Rabs (p i - q i)) <= 2 * T.
Proof.
  intros H.
  set (P := fun i => if Rle_dec (q i) (p i) then true else false).
  set (N := fun i => negb (P i)).
  assert (E : fsum n (fun i => Rabs (p i - q i)) =
    (mass n P p - mass n P q) - (mass n N p - mass n N q)).
  { unfold mass. rewrite <- !fsum_minus. apply fsum_ext. intros i _. unfold on, N, P.
    destruct (Rle_dec (q i) (p i)); simpl; [rewrite Rabs_right | rewrite Rabs_left]; lra. }
  pose proof (Rabs_bounds _ _ (H P)). pose proof (Rabs_bounds _ _ (H N)). lra.
Qed.

(** Centring w at (lo + hi) / 2 costs nothing, as p and q have the same total. *)
Lemma dot_gap n p q w lo hi T : lo <= hi -> fsum n p = fsum n q ->
  (forall S, Rabs (mass n S p - mass n S q) <= T) -> ranges n w lo hi ->
  Rabs (dot n p w - dot n q w) <= (hi - lo) * T.
Proof.
  intros Hlh Hpq H Hw. set (c := (lo + hi) / 2).
  assert (E : dot n p w - dot n q w = fsum n (fun i => (p i - q i) * (w i - c))).
  { transitivity (dot n p w - dot n q w - c * (fsum n p - fsum n q)); [rewrite Hpq; ring |].
    unfold dot. rewrite <- !fsum_minus, <- fsum_scale, <- fsum_minus.
    apply fsum_ext. intros. ring. }
  rewrite E. eapply Rle_trans; [apply fsum_abs |].
  apply Rle_trans with (fsum n (fun i => (hi - lo) / 2 * Rabs (p i - q i))).
  - apply fsum_le. intros i Hi. rewrite Rabs_mult, Rmult_comm.
    apply Rmult_le_compat_r; [apply Rabs_pos |].
    apply Rabs_le. specialize (Hw i Hi). unfold c. lra.
  - rewrite fsum_scale. pose proof (sum_abs_le n p q T H). nra.
Qed.

Lemma bounded_ranges n w M : bounded n w M -> ranges n w (- M) M.
Proof. intros H i Hi. apply Rabs_bounds. auto. Qed.

Lemma bounded_nonneg n w M : (0 < n)%nat -> bounded n w M -> 0 <= M.
Proof. intros Hn H. eapply Rle_trans; [apply Rabs_pos | apply (H 0%nat Hn)]. Qed.

Lemma ranges_ordered n w lo hi : (0 < n)%nat -> ranges n w lo hi -> lo <= hi.
Proof. intros Hn H. pose proof (H 0%nat Hn). lra. Qed.

Lemma same_total n a b : (0 < n)%nat -> positive n a -> positive n b ->
  fsum n (normalize n a) = fsum n (normalize n b).
Proof. intros. rewrite !normalize_total; auto; apply fsum_pos; auto. Qed.

(** * S.output *)

Lemma output_form eta spread : b_softmax_output eta spread = spread * b_softmax_tv eta.
Proof. unfold b_softmax_output, b_softmax_tv. argument tanh (eta / 2). ring. Qed.

Lemma output_magnitude_form eta M : b_softmax_output_magnitude eta M = b_softmax_output eta (2 * M).
Proof.
  rewrite output_form. unfold b_softmax_output_magnitude, b_softmax_tv.
  argument tanh (eta / 2). ring.
Qed.

Theorem s_output n u v w eta lo hi : (0 < n)%nat -> within n u v eta -> ranges n w lo hi ->
  Rabs (dot n (softmax n u) w - dot n (softmax n v) w) <= b_softmax_output eta (hi - lo).
Proof.
  intros Hn H Hw. rewrite output_form. apply dot_gap; auto.
  - eapply ranges_ordered; eauto.
  - apply same_total; auto; intros i _; apply exp_pos.
  - intros S. apply s_tv; auto.
Qed.

Theorem s_output_magnitude n u v w eta M : (0 < n)%nat -> within n u v eta -> bounded n w M ->
  Rabs (dot n (softmax n u) w - dot n (softmax n v) w) <= b_softmax_output_magnitude eta M.
Proof.
  intros Hn H Hw. rewrite output_magnitude_form. replace (2 * M) with (M - - M) by ring.
  apply s_output; auto. apply bounded_ranges; auto.
Qed.

Lemma two_keys_dot x y hi lo :
  dot 2 (normalize 2 (two_keys x y)) (two_keys hi lo) = (x * hi + y * lo) / (x + y).
Proof. unfold dot, normalize, two_keys, first. simpl. rewrite !Rplus_0_l. unfold Rdiv. ring. Qed.

Lemma two_keys_ranges n lo hi : lo <= hi -> ranges n (two_keys hi lo) lo hi.
Proof. intros H i _. apply two_keys_cases; lra. Qed.

Lemma two_keys_bounded n M : 0 <= M -> bounded n (two_keys M (- M)) M.
Proof. intros H i _. apply two_keys_cases; apply Rabs_le; lra. Qed.

Lemma two_keys_output_gap eta lo hi :
  let u := two_keys eta 0 in let v := two_keys 0 eta in let w := two_keys hi lo in
  dot 2 (softmax 2 u) w - dot 2 (softmax 2 v) w = b_softmax_output eta (hi - lo).
Proof.
  intros u v w. unfold u, v, w.
  assert (E : forall x y, dot 2 (softmax 2 (two_keys x y)) (two_keys hi lo)
    = (exp x * hi + exp y * lo) / (exp x + exp y))
    by (intros; rewrite <- two_keys_dot; reflexivity).
  rewrite !E, output_form, tv_form, exp_0. pose proof (exp_pos eta). field. lra.
Qed.

Theorem s_output_attained eta lo hi : 0 <= eta -> lo <= hi ->
  let u := two_keys eta 0 in let v := two_keys 0 eta in let w := two_keys hi lo in
  within 2 u v eta /\ ranges 2 w lo hi /\
  dot 2 (softmax 2 u) w - dot 2 (softmax 2 v) w = b_softmax_output eta (hi - lo).
Proof.
  intros Heta H u v w. repeat split; [apply s_tv_attained; auto | | | apply two_keys_output_gap];
    apply (two_keys_ranges 2); auto.
Qed.

Theorem s_output_magnitude_attained eta M : 0 <= eta -> 0 <= M ->
  let u := two_keys eta 0 in let v := two_keys 0 eta in let w := two_keys M (- M) in
  within 2 u v eta /\ bounded 2 w M /\
  dot 2 (softmax 2 u) w - dot 2 (softmax 2 v) w = b_softmax_output_magnitude eta M.
Proof.
  intros Heta HM u v w. unfold u, v, w.
  repeat split; [apply s_tv_attained; auto | apply two_keys_bounded; auto |].
  rewrite two_keys_output_gap, output_magnitude_form. f_equal. ring.
Qed.
