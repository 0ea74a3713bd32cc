(** Attention regression and its derivatives along a line (P4.cumulant; for Curvature.v and later).

    f(X, Y) = |P A3 Y - B|^2 / 2, the rows of P are softmax of those of A1 X A2^T.  Along
    (X + t U, Y + t V) row i has logits s + t u with u_j = a1_i^T U a2_j, and values h + t v.
    Steps: (1) an average of f_j(t) under softmax (s + t u) has the derivative Cov(u, f) + E f';
    (2) cumulants are polynomials in the averages E u^k and E u^k h, so (1) gives theirs;
    (3) the product rule, summed over rows and columns.  How large all that gets: Curvature.v. *)

Require Import Reals Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From Attest.Foundations Require Import Sums Vectors Derivatives Averages.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Regression Require Import Cumulants.
Open Scope R_scope.

(** A1 is query_count x query_dimension, A2 key_count x key_dimension, A3 key_count x
    feature_dimension; the targets, B, are query_count x outputs. *)
Record regression : Type := {
  query_count : nat; key_count : nat;
  query_dimension : nat; key_dimension : nat; feature_dimension : nat; outputs : nat;
  A1 : nat -> nat -> R; A2 : nat -> nat -> R; A3 : nat -> nat -> R; targets : nat -> nat -> R }.

(** (A1 X A2^T)_ij *)
Definition query_logit (g : regression) (X : nat -> nat -> R) (i j : nat) : R :=
  fsum (query_dimension g) (fun a => fsum (key_dimension g) (fun b => A1 g i a * X a b * A2 g j b)).

(** (A3 Y)_jc *)
Definition key_value (g : regression) (Y : nat -> nat -> R) (j c : nat) : R :=
  fsum (feature_dimension g) (fun e => A3 g j e * Y e c).

Definition query_weights (g : regression) (X : nat -> nat -> R) (i : nat) : nat -> R :=
  softmax (key_count g) (query_logit g X i).

(** (P A3 Y - B)_ic *)
Definition residual (g : regression) (X Y : nat -> nat -> R) (i c : nat) : R :=
  mean (key_count g) (query_weights g X i) (fun j => key_value g Y j c) - targets g i c.

Definition regression_loss (g : regression) (X Y : nat -> nat -> R) : R :=
  fsum (query_count g) (fun i => fsum (outputs g) (fun c => residual g X Y i c ^ 2)) / 2.

(** X + t U *)
Definition moved (X U : nat -> nat -> R) (t : R) (a b : nat) : R := X a b + t * U a b.

(** f along a line, as a function of t *)
Definition loss_along (g : regression) (X Y U V : nat -> nat -> R) (t : R) : R :=
  regression_loss g (moved X U t) (moved Y V t).

(** The first three derivatives of a residual along a line. *)
Definition velocity (g : regression) (X Y U V : nat -> nat -> R) (i c : nat) : R :=
  covariance (key_count g) (query_weights g X i) (query_logit g U i) (fun j => key_value g Y j c)
    + mean (key_count g) (query_weights g X i) (fun j => key_value g V j c).

Definition acceleration (g : regression) (X Y U V : nat -> nat -> R) (i c : nat) : R :=
  third_cumulant (key_count g) (query_weights g X i) (query_logit g U i)
    (fun j => key_value g Y j c)
    + 2 * covariance (key_count g) (query_weights g X i) (query_logit g U i)
      (fun j => key_value g V j c).

Definition jerk (g : regression) (X Y U V : nat -> nat -> R) (i c : nat) : R :=
  fourth_cumulant (key_count g) (query_weights g X i) (query_logit g U i)
    (fun j => key_value g Y j c)
    + 3 * third_cumulant (key_count g) (query_weights g X i) (query_logit g U i)
      (fun j => key_value g V j c).

(** The sum over the entries of a query_count x outputs matrix. *)
Definition entries (g : regression) (M : nat -> nat -> R) : R :=
  fsum (query_count g) (fun i => fsum (outputs g) (M i)).

(** * Logits and values are linear *)

Lemma logit_moved g X U t i j : query_logit g (moved X U t) i j
  = query_logit g X i j + t * query_logit g U i j.
Proof.
  unfold query_logit, moved. rewrite <- fsum_scale, <- fsum_plus. apply fsum_ext. intros a _.
  rewrite <- fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

Lemma value_moved g Y V t j c : key_value g (moved Y V t) j c
  = key_value g Y j c + t * key_value g V j c.
Proof.
  unfold key_value, moved. rewrite <- fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

Lemma softmax_weights m v : (0 < m)%nat -> weights m (softmax m v).
Proof.
  intros Hm. split; [intros; left; apply softmax_pos; auto |].
  apply normalize_total, exp_sum_pos. auto.
Qed.

(** * Step 1: averages *)

(** The weights of a row at time t. *)
Definition row (m : nat) (s u : nat -> R) (t : R) : nat -> R := softmax m (fun j => s j + t * u j).

Lemma is_derive_mean m s u (f : nat -> R -> R) f' t : (0 < m)%nat ->
  (forall j, is_derive (f j) t (f' j)) ->
  is_derive (fun t => mean m (row m s u t) (fun j => f j t)) t
    (mean m (row m s u t) (fun j => u j * f j t) + mean m (row m s u t) f'
      - mean m (row m s u t) u * mean m (row m s u t) (fun j => f j t)).
Proof.
  intros Hm H. set (e := fun t j => exp (s j + t * u j)).
  assert (E : forall t f, mean m (row m s u t) f = fsum m (fun j => e t j * f j) / fsum m (e t)).
  { intros t0 f0. unfold mean, dot, row, softmax, normalize. fold (e t0).
    rewrite <- fsum_div. apply fsum_ext. intros. unfold e, Rdiv. ring. }
  assert (Pos : forall t, 0 < fsum m (e t)) by (intros; apply fsum_pos; auto; intros;
    apply exp_pos).
  assert (De : forall j, is_derive (fun t => e t j) t (e t j * u j))
    by (intros j; unfold e; auto_derive; auto; ring).
  apply (is_derive_ext (fun t => fsum m (fun j => e t j * f j t) / fsum m (e t))).
  { intros t0. symmetry. apply E. }
  assert (N : is_derive (fun t => fsum m (fun j => e t j * f j t)) t
    (fsum m (fun j => e t j * (u j * f j t)) + fsum m (fun j => e t j * f' j))).
  { rewrite <- fsum_plus. apply (is_derive_fsum m (fun j t => e t j * f j t)
      (fun j _ => e t j * (u j * f j t) + e t j * f' j)). intros j.
    evar_last; [apply (is_derive_mult (fun t => e t j) (f j) t _ _ (De j) (H j)) |].
    - intros a b. apply Rmult_comm.
    - unfold plus, mult. simpl. ring. }
  assert (D : is_derive (fun t => fsum m (e t)) t (fsum m (fun j => e t j * u j)))
    by (apply (is_derive_fsum m (fun j t => e t j) (fun j _ => e t j * u j)); auto).
  evar_last; [apply (is_derive_div _ _ _ _ _ N D); specialize (Pos t); lra |].
  rewrite !E. specialize (Pos t). field. lra.
Qed.

(** * Step 2: cumulants *)

Lemma covariance_raw m p u h : weights m p ->
  covariance m p u h = mean m p (fun j => u j ^ 1 * h j)
    - mean m p (fun j => u j ^ 1) * mean m p (fun j => u j ^ 0 * h j).
Proof.
  intros W. rewrite (covariance_left m p u h 0 W).
  rewrite (mean_ext m p _ (fun j => u j ^ 1 * h j - mean m p h * u j ^ 1)) by (intros; ring).
  rewrite mean_minus, mean_scale. rewrite (mean_ext m p h (fun j => u j ^ 0 * h j)) by (intros;
    ring).
  ring.
Qed.

Lemma third_raw m p u h : weights m p ->
  third_cumulant m p u h = mean m p (fun j => u j ^ 2 * h j)
    - 2 * mean m p (fun j => u j ^ 1) * mean m p (fun j => u j ^ 1 * h j)
    + 2 * mean m p (fun j => u j ^ 1) ^ 2 * mean m p (fun j => u j ^ 0 * h j)
    - mean m p (fun j => u j ^ 2) * mean m p (fun j => u j ^ 0 * h j).
Proof.
  intros W. unfold third_cumulant.
  rewrite (mean_ext m p u (fun j => u j ^ 1)) by (intros; ring).
  rewrite (mean_ext m p h (fun j => u j ^ 0 * h j)) by (intros; ring).
  set (a := mean m p (fun j => u j ^ 1)). set (b := mean m p (fun j => u j ^ 0 * h j)).
  rewrite (mean_ext m p _ (fun j => u j ^ 2 * h j - 2 * a * (u j ^ 1 * h j)
    + a ^ 2 * (u j ^ 0 * h j) - (b * u j ^ 2 - 2 * a * b * u j ^ 1 + a ^ 2 * b))) by (intros; ring).
  rewrite !mean_minus, !mean_plus, !mean_minus, !mean_scale, mean_const by auto.
  fold a b. ring.
Qed.

Lemma fourth_raw m p u h : weights m p ->
  let M k := mean m p (fun j => u j ^ k) in let H k := mean m p (fun j => u j ^ k * h j) in
  fourth_cumulant m p u h = H 3%nat - 3 * M 1%nat * H 2%nat + 3 * M 1%nat ^ 2 * H 1%nat
    - M 1%nat ^ 3 * H 0%nat - (M 3%nat - 3 * M 1%nat * M 2%nat + 2 * M 1%nat ^ 3) * H 0%nat
    - 3 * (M 2%nat - M 1%nat ^ 2) * (H 1%nat - M 1%nat * H 0%nat).
Proof.
  intros W M H. unfold fourth_cumulant. rewrite !covariance_raw by auto.
  rewrite (mean_ext m p u (fun j => u j ^ 1)) by (intros; ring).
  rewrite (mean_ext m p h (fun j => u j ^ 0 * h j)) by (intros; ring).
  rewrite (mean_ext m p (fun j => u j ^ 1 * u j) (fun j => u j ^ 2)) by (intros; ring).
  rewrite (mean_ext m p (fun j => u j ^ 0 * u j) (fun j => u j ^ 1)) by (intros; ring).
  set (a := mean m p (fun j => u j ^ 1)). set (b := mean m p (fun j => u j ^ 0 * h j)).
  rewrite (mean_ext m p (fun j => (u j - a) ^ 3 * (h j - b))
    (fun j => u j ^ 3 * h j - 3 * a * (u j ^ 2 * h j)
    + 3 * a ^ 2 * (u j ^ 1 * h j) - a ^ 3 * (u j ^ 0 * h j)
    - (b * u j ^ 3 - 3 * a * b * u j ^ 2 + 3 * a ^ 2 * b * u j ^ 1 - a ^ 3 * b))) by (intros; ring).
  rewrite !mean_minus, !mean_plus, !mean_minus, !mean_scale, mean_const by auto.
  unfold M, H. fold a b. ring.
Qed.

Section Row.

Variables (m : nat) (s u h v : nat -> R).
Hypothesis Hm : (0 < m)%nat.

Let M (k : nat) (t : R) : R := mean m (row m s u t) (fun j => u j ^ k).
Let H (k : nat) (t : R) : R := mean m (row m s u t) (fun j => u j ^ k * (h j + t * v j)).
Let G (k : nat) (t : R) : R := mean m (row m s u t) (fun j => u j ^ k * v j).

Let DM k t : is_derive (M k) t (M (S k) t - M 1 t * M k t).
Proof.
  evar_last; [apply (is_derive_mean m s u (fun j _ => u j ^ k) (fun _ => 0)); auto |].
  - intros. apply (is_derive_const (u j ^ k)).
  - rewrite (mean_const m _ 0) by (apply softmax_weights; auto). unfold M.
    rewrite (mean_ext m _ u (fun j => u j ^ 1)) by (intros; ring). simpl. ring.
Qed.

Let DG k t : is_derive (G k) t (G (S k) t - M 1 t * G k t).
Proof.
  evar_last; [apply (is_derive_mean m s u (fun j _ => u j ^ k * v j) (fun _ => 0)); auto |].
  - intros. apply (is_derive_const (u j ^ k * v j)).
  - rewrite (mean_const m _ 0) by (apply softmax_weights; auto). unfold M, G.
    rewrite (mean_ext m _ u (fun j => u j ^ 1)) by (intros; ring).
    rewrite (mean_ext m _ (fun j => u j * (u j ^ k * v j)) (fun j => u j ^ S k * v j))
      by (intros; simpl; ring). ring.
Qed.

Let DH k t : is_derive (H k) t (H (S k) t + G k t - M 1 t * H k t).
Proof.
  evar_last; [apply (is_derive_mean m s u (fun j t => u j ^ k * (h j + t * v j))
    (fun j => u j ^ k * v j)); auto |].
  - intros. auto_derive; auto. ring.
  - unfold M, G, H. rewrite (mean_ext m _ u (fun j => u j ^ 1)) by (intros; ring).
    rewrite (mean_ext m _ (fun j => u j * (u j ^ k * (h j + t * v j)))
      (fun j => u j ^ S k * (h j + t * v j))) by (intros; simpl; ring). ring.
Qed.

Let dM k t : Derive (fun x => M k x) t = M (S k) t - M 1 t * M k t.
Proof. apply is_derive_unique, DM. Qed.
Let dG k t : Derive (fun x => G k x) t = G (S k) t - M 1 t * G k t.
Proof. apply is_derive_unique, DG. Qed.
Let dH k t : Derive (fun x => H k x) t = H (S k) t + G k t - M 1 t * H k t.
Proof. apply is_derive_unique, DH. Qed.

Let EM k t : ex_derive (M k) t. Proof. eexists. apply DM. Qed.
Let EG k t : ex_derive (G k) t. Proof. eexists. apply DG. Qed.
Let EH k t : ex_derive (H k) t. Proof. eexists. apply DH. Qed.

Let W t : weights m (row m s u t).
Proof. apply softmax_weights. auto. Qed.

(** The output of a row, and its derivatives. *)
Let o (t : R) : R := mean m (row m s u t) (fun j => h j + t * v j).
Let o1 (t : R) : R :=
  covariance m (row m s u t) u (fun j => h j + t * v j) + mean m (row m s u t) v.
Let o2 (t : R) : R := third_cumulant m (row m s u t) u (fun j => h j + t * v j)
  + 2 * covariance m (row m s u t) u v.
Let o3 (t : R) : R := fourth_cumulant m (row m s u t) u (fun j => h j + t * v j)
  + 3 * third_cumulant m (row m s u t) u v.

Lemma is_derive_row t : is_derive o t (o1 t).
Proof.
  apply (is_derive_ext (H 0)); [intros; apply mean_ext; intros; ring |].
  evar_last; [apply DH |]. unfold o1. rewrite covariance_raw by apply W.
  rewrite (mean_ext m _ v (fun j => u j ^ 0 * v j)) by (intros; ring).
  fold (G 0 t) (H 1 t) (H 0 t) (M 1 t). ring.
Qed.

Lemma is_derive_row_1 t : is_derive o1 t (o2 t).
Proof.
  apply (is_derive_ext (fun t => H 1 t - M 1 t * H 0 t + G 0 t)).
  { intros r. unfold o1. rewrite covariance_raw by apply W. unfold G. f_equal.
    apply mean_ext. intros. ring. }
  auto_derive; [repeat split; auto |].
  rewrite ?dM, ?dG, ?dH.
  unfold o2. rewrite third_raw, covariance_raw by apply W.
  fold (G 0 t) (G 1 t) (H 2 t) (H 1 t) (H 0 t) (M 1 t) (M 2 t). ring.
Qed.

Lemma is_derive_row_2 t : is_derive o2 t (o3 t).
Proof.
  apply (is_derive_ext (fun t => H 2 t - 2 * M 1 t * H 1 t + 2 * M 1 t ^ 2 * H 0 t
    - M 2 t * H 0 t + 2 * (G 1 t - M 1 t * G 0 t))).
  { intros r. unfold o2. rewrite third_raw, covariance_raw by apply W. reflexivity. }
  auto_derive; [repeat split; auto |].
  rewrite ?dM, ?dG, ?dH.
  unfold o3. rewrite fourth_raw, third_raw by apply W.
  fold (G 0 t) (G 1 t) (G 2 t) (H 3 t) (H 2 t) (H 1 t) (H 0 t) (M 1 t) (M 2 t) (M 3 t). ring.
Qed.

End Row.

(** The cumulants of softmax weights are the derivatives of their averages. *)
Theorem p4_cumulant_derivatives m s u h t : (0 < m)%nat ->
  let f := fun t => mean m (row m s u t) h in
  Derive_n f 1 t = covariance m (row m s u t) u h /\
  Derive_n f 2 t = third_cumulant m (row m s u t) u h /\
  Derive_n f 3 t = fourth_cumulant m (row m s u t) u h.
Proof.
  intros Hm f. assert (W : forall t, weights m (row m s u t)) by (intros; apply softmax_weights;
    auto).
  assert (H : forall t, (fun j => h j + t * 0) = h)
    by (intros; apply functional_extensionality; intros; ring).
  assert (Z : forall t, mean m (row m s u t) (fun _ => 0) = 0) by (intros; apply mean_const; auto).
  assert (C : forall t, covariance m (row m s u t) u (fun _ => 0) = 0).
  { intros. transitivity (mean m (row m s u t0) (fun _ => 0)); [| apply Z].
    apply mean_ext. intros. rewrite Z. ring. }
  assert (K : forall t, third_cumulant m (row m s u t) u (fun _ => 0) = 0).
  { intros. transitivity (mean m (row m s u t0) (fun _ => 0)); [| apply Z].
    apply mean_ext. intros. rewrite Z. ring. }
  assert (D1 : forall t, Derive f t = covariance m (row m s u t) u h).
  { intros r. apply is_derive_unique. apply (is_derive_ext (fun t => mean m (row m s u t)
      (fun j => h j + t * 0))); [intros; now rewrite H |].
    evar_last; [apply (is_derive_row m s u h (fun _ => 0) Hm) |]. simpl. rewrite H, Z. ring. }
  assert (D2 : forall t, Derive_n f 2 t = third_cumulant m (row m s u t) u h).
  { intros r. change (Derive (Derive f) r = third_cumulant m (row m s u r) u h).
    rewrite (Derive_ext _ _ r D1). apply is_derive_unique.
    apply (is_derive_ext (fun t => covariance m (row m s u t) u (fun j => h j + t * 0)
      + mean m (row m s u t) (fun _ => 0))); [intros; rewrite H, Z; apply Rplus_0_r |].
    evar_last; [apply (is_derive_row_1 m s u h (fun _ => 0) Hm) |]. simpl. rewrite H, C. ring. }
  split; [apply D1 | split; [apply D2 |]].
  change (Derive (Derive_n f 2) t = fourth_cumulant m (row m s u t) u h).
  rewrite (Derive_ext _ _ t D2). apply is_derive_unique.
  apply (is_derive_ext (fun t => third_cumulant m (row m s u t) u (fun j => h j + t * 0)
    + 2 * covariance m (row m s u t) u (fun _ => 0))); [intros; rewrite H, C, Rmult_0_r;
      apply Rplus_0_r |].
  evar_last; [apply (is_derive_row_2 m s u h (fun _ => 0) Hm) |]. simpl. rewrite H, K. ring.
Qed.

(** * Step 3: the loss *)

Lemma logits_moved g X U t i :
  query_logit g (moved X U t) i = fun j => query_logit g X i j + t * query_logit g U i j.
Proof. apply functional_extensionality. intros. apply logit_moved. Qed.

Lemma values_moved g Y V t c :
  (fun j => key_value g (moved Y V t) j c) = fun j => key_value g Y j c + t * key_value g V j c.
Proof. apply functional_extensionality. intros. apply value_moved. Qed.

Lemma moved_0 X U : moved X U 0 = X.
Proof.
  apply functional_extensionality. intros a. apply functional_extensionality. intros b.
  unfold moved. ring.
Qed.

Lemma weight_moved g X U t i : query_weights g (moved X U t) i
  = row (key_count g) (query_logit g X i) (query_logit g U i) t.
Proof. unfold query_weights. now rewrite logits_moved. Qed.

Lemma weight_weights g X i : (0 < key_count g)%nat -> weights (key_count g) (query_weights g X i).
Proof. apply softmax_weights. Qed.

Lemma is_derive_residual g X Y U V i c t : (0 < key_count g)%nat ->
  is_derive (fun t => residual g (moved X U t) (moved Y V t) i c) t
    (velocity g (moved X U t) (moved Y V t) U V i c).
Proof.
  intros Hm. unfold velocity. rewrite weight_moved, values_moved.
  apply (is_derive_ext (fun t => mean (key_count g)
    (row (key_count g) (query_logit g X i) (query_logit g U i) t)
    (fun j => key_value g Y j c + t * key_value g V j c) - targets g i c)).
  - intros r. unfold residual. now rewrite weight_moved, values_moved.
  - evar_last; [apply (is_derive_minus _ (fun _ => targets g i c));
    [| apply (is_derive_const (targets g i c))] |].
    + apply (is_derive_row (key_count g) (query_logit g X i) (query_logit g U i)
        (fun j => key_value g Y j c) (fun j => key_value g V j c) Hm).
    + unfold minus, plus, opp, zero. simpl. ring.
Qed.

Lemma is_derive_velocity g X Y U V i c t : (0 < key_count g)%nat ->
  is_derive (fun t => velocity g (moved X U t) (moved Y V t) U V i c) t
    (acceleration g (moved X U t) (moved Y V t) U V i c).
Proof.
  intros Hm. unfold acceleration. rewrite weight_moved, values_moved.
  eapply is_derive_ext; [| apply (is_derive_row_1 (key_count g) (query_logit g X i) (query_logit g U i)
    (fun j => key_value g Y j c) (fun j => key_value g V j c) Hm)].
  intros r. unfold velocity. now rewrite weight_moved, values_moved.
Qed.

Lemma is_derive_acceleration g X Y U V i c t : (0 < key_count g)%nat ->
  is_derive (fun t => acceleration g (moved X U t) (moved Y V t) U V i c) t
    (jerk g (moved X U t) (moved Y V t) U V i c).
Proof.
  intros Hm. unfold jerk. rewrite weight_moved, values_moved.
  eapply is_derive_ext; [| apply (is_derive_row_2 (key_count g) (query_logit g X i) (query_logit g U i)
    (fun j => key_value g Y j c) (fun j => key_value g V j c) Hm)].
  intros r. unfold acceleration. now rewrite weight_moved, values_moved.
Qed.

Lemma is_derive_entries g (f : R -> nat -> nat -> R) f' t :
  (forall i c, is_derive (fun t => f t i c) t (f' i c)) ->
  is_derive (fun t => entries g (f t)) t (entries g f').
Proof.
  intros H. apply (is_derive_fsum (query_count g) (fun i t => fsum (outputs g) (f t i))
    (fun i _ => fsum (outputs g) (f' i))). intros i.
  apply (is_derive_fsum (outputs g) (fun c t => f t i c) (fun c _ => f' i c)). auto.
Qed.

Section Line.

Variables (g : regression) (X Y U V : nat -> nat -> R).
Hypothesis Hm : (0 < key_count g)%nat.

Let r (t : R) : nat -> nat -> R := residual g (moved X U t) (moved Y V t).
Let v (t : R) : nat -> nat -> R := velocity g (moved X U t) (moved Y V t) U V.
Let a (t : R) : nat -> nat -> R := acceleration g (moved X U t) (moved Y V t) U V.
Let j (t : R) : nat -> nat -> R := jerk g (moved X U t) (moved Y V t) U V.

Let Dr i c t : is_derive (fun t => r t i c) t (v t i c).
Proof. apply is_derive_residual. auto. Qed.
Let Dv i c t : is_derive (fun t => v t i c) t (a t i c).
Proof. apply is_derive_velocity. auto. Qed.
Let Da i c t : is_derive (fun t => a t i c) t (j t i c).
Proof. apply is_derive_acceleration. auto. Qed.

Lemma is_derive_along t : is_derive (loss_along g X Y U V) t (entries g
  (fun i c => r t i c * v t i c)).
Proof.
  apply (is_derive_ext (fun t => entries g (fun i c => / 2 * (r t i c * r t i c)))).
  - intros t0. unfold loss_along, regression_loss, entries. fold (r t0). unfold Rdiv.
  rewrite Rmult_comm, <- fsum_scale.
    apply fsum_ext. intros i _. rewrite <- fsum_scale. apply fsum_ext. intros. ring.
  - apply (is_derive_entries g (fun t i c => / 2 * (r t i c * r t i c))). intros i c.
    evar_last; [apply (is_derive_scal (fun t => r t i c * r t i c)), is_derive_product; apply Dr |].
    simpl. field.
Qed.

Lemma is_derive_along_1 t : is_derive (fun t => entries g (fun i c => r t i c * v t i c)) t
  (entries g (fun i c => v t i c ^ 2 + r t i c * a t i c)).
Proof.
  apply (is_derive_entries g (fun t i c => r t i c * v t i c)). intros i c.
  evar_last; [apply is_derive_product; [apply Dr | apply Dv] |]. simpl. ring.
Qed.

Lemma is_derive_along_2 t :
  is_derive (fun t => entries g (fun i c => v t i c ^ 2 + r t i c * a t i c)) t
    (entries g (fun i c => 3 * (v t i c * a t i c) + r t i c * j t i c)).
Proof.
  apply (is_derive_ext (fun t => entries g (fun i c => v t i c * v t i c + r t i c * a t i c))).
  - intros t0. apply fsum_ext. intros i _. apply fsum_ext. intros. ring.
  - apply (is_derive_entries g (fun t i c => v t i c * v t i c + r t i c * a t i c)). intros i c.
    evar_last; [apply (is_derive_plus (fun t => v t i c * v t i c)); apply is_derive_product;
      [apply Dv | apply Dv | apply Dr | apply Da] |]. unfold plus. simpl. ring.
Qed.

Let first_derivative : Derive (loss_along g X Y U V) = fun t => entries g
  (fun i c => r t i c * v t i c).
Proof. apply functional_extensionality. intros t. apply is_derive_unique, is_derive_along. Qed.

Let second_derivative_at t : Derive_n (loss_along g X Y U V) 2 t
  = entries g (fun i c => v t i c ^ 2 + r t i c * a t i c).
Proof.
  change (Derive (Derive (loss_along g X Y U V)) t = entries g
    (fun i c => v t i c ^ 2 + r t i c * a t i c)).
  rewrite first_derivative. apply is_derive_unique, is_derive_along_1.
Qed.

Lemma loss_second_derivative : Derive_n (loss_along g X Y U V) 2 0 = entries g (fun i c =>
  velocity g X Y U V i c ^ 2 + residual g X Y i c * acceleration g X Y U V i c).
Proof. rewrite second_derivative_at. unfold r, v, a. now rewrite !moved_0. Qed.

Lemma loss_third_derivative : Derive_n (loss_along g X Y U V) 3 0 = entries g (fun i c =>
  3 * (velocity g X Y U V i c * acceleration g X Y U V i c)
    + residual g X Y i c * jerk g X Y U V i c).
Proof.
  change (Derive (Derive_n (loss_along g X Y U V) 2) 0 = entries g (fun i c =>
    3 * (velocity g X Y U V i c * acceleration g X Y U V i c)
      + residual g X Y i c * jerk g X Y U V i c)).
  rewrite (Derive_ext _ _ 0 second_derivative_at).
  etransitivity; [apply is_derive_unique, is_derive_along_2 |].
  unfold r, v, a, j. now rewrite !moved_0.
Qed.

End Line.
