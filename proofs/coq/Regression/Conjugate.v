(** Conjugate gradients (claim P4.conjugate).

    A is symmetric, its eigenvalues lie in [mu, L], and A s = b.  The k-th point of the method is the
    one of least energy <s - x, A (s - x)> among the combinations of b, A b, ..., A^(k-1) b (Hestenes
    and Stiefel).  Nothing is said of eigenvectors.

    Steps: with B = (L + mu - 2 A) / (L - mu), (1) A (1 - B^2) is semidefinite, as
    (L - mu) A (A - mu) (L - A) = L (A - mu)^2 (L - A) + mu (L - A)^2 (A - mu); (2) Chebyshev's
    polynomials T, S of B have T^2 + (1 - B^2) S^2 = 1 (Pell), so that T s has no more energy than s;
    (3) T s is T(sigma) s less a point of the method's space, sigma = (L + mu) / (L - mu); (4)
    1 / T_k (sigma) = 2 delta^k / (1 + delta^(2 k)). *)

Require Import Reals Lra Lia FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Regression Require Import Newton Banach Descent.
Open Scope R_scope.

Section Conjugate.

Variable n : nat.
Variables (A : nat -> nat -> R) (mu L : R).
Hypotheses (Sym : symmetric_matrix n A) (Low : eigenvalues_from n mu A)
  (High : eigenvalues_to n L A) (Pmu : 0 < mu) (Gap : mu < L).

(** x v + y w *)
Definition combined (x y : R) (v w : nat -> R) (i : nat) : R := x * v i + y * w i.

(** <v, A w>, and its root at v = w *)
Definition energy_form (v w : nat -> R) : R := dot n v (image n A w).
Definition energy (v : nat -> R) : R := sqrt (energy_form v v).

Lemma image_combined x y v w : image n A (combined x y v w) = combined x y (image n A v) (image n A w).
Proof.
  apply functional_extensionality. intros i. unfold image, combined, dot.
  rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

Lemma dot_combined z x y v w : dot n z (combined x y v w) = x * dot n z v + y * dot n z w.
Proof.
  unfold dot, combined. rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

Lemma form_right z x y v w :
  energy_form z (combined x y v w) = x * energy_form z v + y * energy_form z w.
Proof. unfold energy_form. rewrite image_combined. apply dot_combined. Qed.

Lemma form_sym v w : energy_form v w = energy_form w v.
Proof. apply (symmetric_product n A w v Sym). Qed.

Lemma form_left z x y v w :
  energy_form (combined x y v w) z = x * energy_form v z + y * energy_form w z.
Proof. rewrite !(form_sym _ z). apply form_right. Qed.

Lemma form_image v w : energy_form v (image n A w) = energy_form (image n A v) w.
Proof.
  rewrite (form_sym (image n A v)). unfold energy_form.
  rewrite (symmetric_product n A (image n A w) v Sym), (symmetric_product n A (image n A v) w Sym).
  unfold dot. apply fsum_ext. intros. ring.
Qed.

Lemma form_nonneg v : 0 <= energy_form v v.
Proof.
  specialize (Low v). pose proof (pow2_ge_0 (norm n v)). unfold energy_form. nra.
Qed.

(** * Step 1 *)

Definition reflected (v : nat -> R) : nat -> R :=
  combined ((L + mu) / (L - mu)) (- 2 / (L - mu)) v (image n A v).

Lemma reflected_sym v w : energy_form (reflected v) w = energy_form v (reflected w).
Proof. unfold reflected. rewrite form_left, form_right, form_image. reflexivity. Qed.

Lemma reflected_combined x y v w :
  reflected (combined x y v w) = combined x y (reflected v) (reflected w).
Proof.
  unfold reflected. rewrite image_combined. apply functional_extensionality. intros i.
  unfold combined. ring.
Qed.

Lemma reflected_energy v : energy_form (reflected v) (reflected v) <= energy_form v v.
Proof.
  set (m0 := dot n v v). set (m1 := energy_form v v). set (m2 := energy_form v (image n A v)).
  set (m3 := energy_form (image n A v) (image n A v)).
  assert (E1 : dot n v (image n A v) = m1) by reflexivity.
  assert (E1' : dot n (image n A v) v = m1).
  { unfold m1, energy_form, dot. apply fsum_ext. intros. ring. }
  assert (E2 : dot n (image n A v) (image n A v) = m2).
  { unfold m2. rewrite form_image. reflexivity. }
  assert (P : forall c d, 0 <= L * (c * (c * m0 + d * m1) + d * (c * m1 + d * m2))
      - (c * (c * m1 + d * m2) + d * (c * m2 + d * m3)) /\
    0 <= c * (c * m1 + d * m2) + d * (c * m2 + d * m3)
      - mu * (c * (c * m0 + d * m1) + d * (c * m1 + d * m2))).
  { intros c d. set (w := combined c d v (image n A v)).
    assert (N : norm n w ^ 2 = c * (c * m0 + d * m1) + d * (c * m1 + d * m2)).
    { rewrite <- dot_length. unfold w. rewrite dot_combined.
      assert (C : forall u x, dot n (combined c d v u) x = c * dot n v x + d * dot n u x).
      { intros u x. unfold dot, combined. rewrite <- !fsum_scale, <- fsum_plus.
        apply fsum_ext. intros. ring. }
      rewrite !C, E1, E1', E2. fold m0. ring. }
    assert (W : dot n w (image n A w) = c * (c * m1 + d * m2) + d * (c * m2 + d * m3)).
    { fold (energy_form w w). unfold w. rewrite form_left, !form_right.
      rewrite (form_sym (image n A v) v). fold m1 m2 m3. ring. }
    specialize (Low w). specialize (High w). rewrite N, W in *. lra. }
  assert (R : energy_form (reflected v) (reflected v)
    = ((L + mu) ^ 2 * m1 - 4 * (L + mu) * m2 + 4 * m3) / (L - mu) ^ 2).
  { unfold reflected. rewrite form_left, !form_right, (form_sym (image n A v) v).
    fold m1 m2 m3. field. lra. }
  rewrite R. fold m1. apply div_le; [nra |].
  destruct (P (- mu) 1) as [Q _]. destruct (P L (- 1)) as [_ Q'].
  set (N := - m3 + (L + mu) * m2 - L * mu * m1).
  assert (D : 0 <= (L - mu) * N).
  { replace ((L - mu) * N) with (L * (L * (- mu * (- mu * m0 + 1 * m1) + 1 * (- mu * m1 + 1 * m2))
      - (- mu * (- mu * m1 + 1 * m2) + 1 * (- mu * m2 + 1 * m3)))
      + mu * (L * (L * m1 + - 1 * m2) + - 1 * (L * m2 + - 1 * m3)
        - mu * (L * (L * m0 + - 1 * m1) + - 1 * (L * m1 + - 1 * m2)))) by (unfold N; ring).
    apply Rplus_le_le_0_compat; apply Rmult_le_pos; lra. }
  assert (0 <= N) by (apply Rmult_le_reg_l with (L - mu); lra).
  unfold N in *. nra.
Qed.

(** * Step 2 *)

(** Chebyshev's T_(k+1) and U_k of the reflection, applied to v. *)
Fixpoint chebyshev (v : nat -> R) (k : nat) : (nat -> R) * (nat -> R) :=
  match k with
  | O => (reflected v, v)
  | S k =>
    let (T, U) := chebyshev v k in
    let U' := combined 1 1 (reflected U) T in (combined 1 (-1) (reflected U') U, U')
  end.

Lemma pell v k : let (T, U) := chebyshev v k in
  energy_form T T + energy_form U U - energy_form (reflected U) (reflected U) = energy_form v v.
Proof.
  induction k as [| k I]; simpl; [lra |]. destruct (chebyshev v k) as [T U].
  rewrite reflected_combined.
  set (B := reflected U) in *. set (BB := reflected B). set (BT := reflected T).
  assert (E1 : energy_form BT U = energy_form T B) by apply reflected_sym.
  assert (E2 : energy_form BB U = energy_form B B) by apply reflected_sym.
  rewrite !form_left, !form_right.
  rewrite (form_sym U BB), (form_sym U BT), E1, E2, (form_sym B T), (form_sym BT BB). lra.
Qed.

Lemma chebyshev_energy v k : energy (fst (chebyshev v k)) <= energy v.
Proof.
  pose proof (pell v k) as P. destruct (chebyshev v k) as [T U]. simpl.
  pose proof (reflected_energy U). apply sqrt_le_1_alt. lra.
Qed.

(** * Step 3 *)

Variables s b : nat -> R.
Hypothesis Solves : forall i, (i < n)%nat -> image n A s i = b i.

Fixpoint power (k : nat) (v : nat -> R) : nat -> R :=
  match k with O => v | S k => image n A (power k v) end.

(** x is a combination of b, A b, ..., A^(k-1) b. *)
Definition krylov (k : nat) (x : nat -> R) : Prop :=
  exists c, forall i, (i < n)%nat -> x i = fsum k (fun j => c j * power j b i).

(** The k-th point of conjugate gradients. *)
Definition conjugate_point (k : nat) (x : nat -> R) : Prop :=
  krylov k x /\
  forall y, krylov k y -> energy (displacement s x) <= energy (displacement s y).

Lemma krylov_combined k x y v w : krylov k v -> krylov k w -> krylov k (combined x y v w).
Proof.
  intros [c C] [d D]. exists (fun j => x * c j + y * d j). intros i Hi. unfold combined.
  rewrite C, D, <- !fsum_scale, <- fsum_plus by auto. apply fsum_ext. intros. ring.
Qed.

Lemma krylov_more k x : krylov k x -> krylov (S k) x.
Proof.
  intros [c C]. exists (fun j => if Nat.eqb j k then 0 else c j). intros i Hi.
  rewrite fsum_S, Nat.eqb_refl, C, Rmult_0_l, Rplus_0_r by auto. apply fsum_ext. intros j Hj.
  destruct (Nat.eqb_spec j k); [lia | reflexivity].
Qed.

Lemma krylov_image k x : krylov k x -> krylov (S k) (image n A x).
Proof.
  intros [c C]. exists (fun j => match j with O => 0 | S j => c j end). intros i Hi.
  replace (S k) with (1 + k)%nat by lia. rewrite fsum_add. cbn [fsum].
  rewrite Rmult_0_l, !Rplus_0_l. cbn [Nat.add power].
  unfold image at 1. rewrite (dot_ext n (A i) x (fun l => fsum k (fun j => c j * power j b l)) C).
  apply dot_sum.
Qed.

Lemma krylov_first k : krylov (S k) b.
Proof.
  exists (fun j => match j with O => 1 | S _ => 0 end). intros i Hi.
  replace (S k) with (1 + k)%nat by lia. rewrite fsum_add. cbn [fsum].
  rewrite fsum_zero by (intros; cbn [Nat.add]; ring). cbn [power]. ring.
Qed.

Let sigma : R := (L + mu) / (L - mu).

(** v is c s less a point of the space, where it counts. *)
Definition reaches (k : nat) (c : R) (v : nat -> R) : Prop :=
  exists x, krylov k x /\ forall i, (i < n)%nat -> v i = c * s i - x i.

Lemma reaches_combined k x y c d v w : reaches k c v -> reaches k d w ->
  reaches k (x * c + y * d) (combined x y v w).
Proof.
  intros (p & P & Hv) (q & Q & Hw). exists (combined x y p q).
  split; [now apply krylov_combined |]. intros i Hi. unfold combined. rewrite Hv, Hw by auto. ring.
Qed.

Lemma reaches_more k c v : reaches k c v -> reaches (S k) c v.
Proof. intros (p & P & Hv). exists p. split; auto. now apply krylov_more. Qed.

Lemma reaches_reflected k c v : reaches k c v -> reaches (S k) (sigma * c) (reflected v).
Proof.
  intros (p & P & Hv).
  exists (combined sigma (2 / (L - mu)) p (combined c (- 1) b (image n A p))). split.
  - apply krylov_combined; [now apply krylov_more |].
    apply krylov_combined; [apply krylov_first | now apply krylov_image].
  - intros i Hi. unfold reflected, combined. rewrite Hv by auto.
    assert (E : image n A v i = c * b i - image n A p i).
    { rewrite <- (Solves i Hi). unfold image.
      rewrite (dot_ext n (A i) v (fun l => c * s l - p l) Hv).
      unfold dot. rewrite <- fsum_scale, <- fsum_minus. apply fsum_ext. intros. ring. }
    rewrite E. unfold sigma. field. lra.
Qed.

Fixpoint chebyshev_value (k : nat) : R * R :=
  match k with
  | O => (sigma, 1)
  | S k => let (t, u) := chebyshev_value k in (sigma * (sigma * u + t) - u, sigma * u + t)
  end.

Lemma chebyshev_reaches k : let (T, U) := chebyshev s k in let (t, u) := chebyshev_value k in
  reaches (S k) t T /\ reaches k u U.
Proof.
  induction k as [| k I]; simpl.
  - assert (Z : reaches 0 1 s).
    { exists (fun _ => 0). split; [exists (fun _ => 0); reflexivity |]. intros. ring. }
    split; [| exact Z]. replace sigma with (sigma * 1) by ring. now apply reaches_reflected.
  - destruct (chebyshev s k) as [T U]. destruct (chebyshev_value k) as [t u]. destruct I as [I J].
    assert (K : reaches (S k) (sigma * u + t) (combined 1 1 (reflected U) T)).
    { replace (sigma * u + t) with (1 * (sigma * u) + 1 * t) by ring.
      apply reaches_combined; auto. now apply reaches_reflected. }
    split; [| exact K].
    replace (sigma * (sigma * u + t) - u) with (1 * (sigma * (sigma * u + t)) + -1 * u) by ring.
    apply reaches_combined; [now apply reaches_reflected | now apply reaches_more, reaches_more].
Qed.

(** * Step 4 *)

Let delta : R := (sqrt (L / mu) - 1) / (1 + sqrt (L / mu)).

Lemma root_condition : 1 < sqrt (L / mu) /\ sqrt (L / mu) * sqrt (L / mu) = L / mu.
Proof.
  assert (H : 1 < L / mu) by (apply Rmult_lt_reg_r with mu; [auto |]; unfold Rdiv;
    rewrite Rmult_assoc, Rinv_l; lra).
  split; [rewrite <- sqrt_1; apply sqrt_lt_1_alt; lra | apply sqrt_sqrt; lra].
Qed.

Lemma delta_range : 0 < delta < 1.
Proof.
  pose proof root_condition as [H _]. unfold delta. split; [apply Rdiv_lt_0_compat; lra |].
  apply Rmult_lt_reg_r with (1 + sqrt (L / mu)); [lra |]. unfold Rdiv.
  rewrite Rmult_assoc, Rinv_l by lra. lra.
Qed.

Lemma sigma_delta : 2 * delta * sigma = 1 + delta ^ 2.
Proof.
  pose proof root_condition as [H E]. set (r := sqrt (L / mu)) in *.
  assert (EL : L = r * r * mu) by (rewrite E; field; lra).
  unfold delta, sigma. fold r. rewrite EL. field. split; nra.
Qed.

Lemma chebyshev_closed k : let (t, u) := chebyshev_value k in
  2 * delta ^ S k * t = 1 + delta ^ (2 * S k) /\
  (1 - delta ^ 2) * delta ^ k * u = 1 - delta ^ (2 * S k).
Proof.
  pose proof delta_range as D. pose proof sigma_delta as G.
  induction k as [| k I].
  - cbn [chebyshev_value]. change (2 * 1)%nat with 2%nat. rewrite pow_1. split; [exact G | ring].
  - cbn [chebyshev_value]. destruct (chebyshev_value k) as [t u]. destruct I as [I J].
    set (p := delta ^ k) in *.
    assert (P1 : delta ^ S k = delta * p) by reflexivity.
    assert (P2 : delta ^ S (S k) = delta * (delta * p)) by reflexivity.
    assert (Q1 : delta ^ (2 * S k) = delta ^ 2 * p ^ 2).
    { replace (2 * S k)%nat with (2 + k * 2)%nat by lia. rewrite pow_add, pow_mult. reflexivity. }
    assert (Q2 : delta ^ (2 * S (S k)) = delta ^ 4 * p ^ 2).
    { replace (2 * S (S k))%nat with (4 + k * 2)%nat by lia. rewrite pow_add, pow_mult.
      reflexivity. }
    rewrite P1, Q1 in I. rewrite Q1 in J. rewrite P1, P2, Q2.
    set (q := sigma * u + t).
    assert (K : (1 - delta ^ 2) * (delta * p) * q = 1 - delta ^ 4 * p ^ 2).
    { replace ((1 - delta ^ 2) * (delta * p) * q)
        with ((2 * delta * sigma * ((1 - delta ^ 2) * p * u)
          + (1 - delta ^ 2) * (2 * (delta * p) * t)) / 2) by (unfold q; field).
      rewrite G, I, J. field. }
    split; [| exact K].
    apply Rmult_eq_reg_l with (1 - delta ^ 2); [| nra].
    replace ((1 - delta ^ 2) * (2 * (delta * (delta * p)) * (sigma * q - u)))
      with (2 * delta * sigma * ((1 - delta ^ 2) * (delta * p) * q)
        - 2 * delta ^ 2 * ((1 - delta ^ 2) * p * u)) by ring.
    rewrite G, K, J. ring.
Qed.

Lemma energy_ext v w : (forall i, (i < n)%nat -> v i = w i) -> energy v = energy w.
Proof.
  intros H. unfold energy, energy_form. f_equal. unfold dot. apply fsum_ext. intros i Hi.
  rewrite (H i Hi). f_equal. unfold image. now apply dot_ext.
Qed.

Lemma energy_scale c v : 0 <= c -> energy (fun i => c * v i) = c * energy v.
Proof.
  intros Hc. unfold energy. replace (c * sqrt (energy_form v v)) with
    (sqrt (c ^ 2) * sqrt (energy_form v v)) by (now rewrite sqrt_pow2).
  rewrite <- sqrt_mult_alt by apply pow2_ge_0. f_equal.
  replace (fun i => c * v i) with (combined c 0 v v)
    by (apply functional_extensionality; intros; unfold combined; ring).
  rewrite form_left, form_right. ring.
Qed.

Theorem p4_conjugate_error k x : conjugate_point k x ->
  energy (displacement s x) <= b_conjugate_error (L / mu) k * energy s.
Proof.
  intros [_ Least]. unfold b_conjugate_error. fold delta.
  pose proof delta_range as D.
  destruct k as [| k].
  - assert (E : energy (displacement s x) <= energy s).
    { rewrite <- (energy_ext (displacement s (fun _ => 0)) s)
        by (intros; unfold displacement; ring).
      apply Least. exists (fun _ => 0). reflexivity. }
    change (2 * 0)%nat with 0%nat. rewrite !pow_O. lra.
  - pose proof (chebyshev_reaches k) as Re. pose proof (chebyshev_energy s k) as En.
    pose proof (chebyshev_closed k) as Cl. destruct (chebyshev s k) as [T U].
    destruct (chebyshev_value k) as [t u]. destruct Re as [(p & P & E) _]. destruct Cl as [Cl _].
    simpl fst in En.
    pose proof (pow_lt delta (S k) ltac:(lra)) as D1.
    pose proof (pow_lt delta (2 * S k) ltac:(lra)) as D2.
    assert (Pt : 0 < t).
    { apply Rmult_lt_reg_l with (2 * delta ^ S k); lra. }
    replace (2 * delta ^ S k / (1 + delta ^ (2 * S k))) with (/ t).
    2: { rewrite <- Cl. field. lra. }
    apply Rle_trans with (energy (displacement s (fun i => / t * p i))).
    + apply Least. replace (fun i => / t * p i) with (combined (/ t) 0 p p)
        by (apply functional_extensionality; intros; unfold combined; ring).
      now apply krylov_combined.
    + rewrite (energy_ext _ (fun i => / t * T i)).
      * rewrite energy_scale by (left; apply Rinv_0_lt_compat; auto).
        apply Rmult_le_compat_l; auto. left. apply Rinv_0_lt_compat; auto.
      * intros i Hi. rewrite E by auto. unfold displacement. field. lra.
Qed.

(** delta <= exp (- 2 / sqrt kappa) *)
Lemma delta_exp : delta <= exp (- (2 / sqrt (L / mu))).
Proof.
  pose proof root_condition as [H _]. set (r := sqrt (L / mu)) in *.
  (* f y = exp (- 2 y) (1 + y) + y - 1 rises from 0. *)
  assert (G : forall y, 0 <= y -> 0 <= exp (- (2 * y)) * (1 + y) + y - 1).
  { intros y Hy.
    apply (Derivatives.nonneg_from_0 (fun y => exp (- (2 * y)) * (1 + y) + y - 1)
      (fun y => 1 - exp (- (2 * y)) * (1 + 2 * y))); auto.
    - rewrite Rmult_0_r, Ropp_0, exp_0. ring.
    - intros z. auto_derive; [auto | ring].
    - intros z Hz. pose proof (exp_opp_mult (2 * z)) as M. pose proof (exp_pos (- (2 * z))).
      assert (1 + 2 * z <= exp (2 * z)).
      { destruct Hz as [Hz | <-]; [left; apply exp_ineq1; lra |].
        rewrite Rmult_0_r, exp_0. lra. }
      assert (exp (- (2 * z)) * (1 + 2 * z) <= exp (- (2 * z)) * exp (2 * z))
        by (apply Rmult_le_compat_l; lra). lra. }
  specialize (G (/ r) ltac:(left; apply Rinv_0_lt_compat; lra)).
  unfold delta. fold r. replace (2 / r) with (2 * / r) by reflexivity.
  apply div_le; [lra |]. apply Rmult_le_reg_r with (/ r); [apply Rinv_0_lt_compat; lra |].
  replace ((r - 1) * / r) with (1 - / r) by (field; lra).
  replace (exp (- (2 * / r)) * (1 + r) * / r) with (exp (- (2 * / r)) * (1 + / r))
    by (field; lra). lra.
Qed.

Theorem p4_conjugate_steps k x accuracy : conjugate_point k x -> 0 < accuracy ->
  accuracy * energy s < energy (displacement s x) ->
  INR k <= b_conjugate_steps (L / mu) accuracy.
Proof.
  intros C Pa H. pose proof (p4_conjugate_error k x C) as E. pose proof delta_range as D.
  pose proof root_condition as [Hr _]. unfold b_conjugate_error in E. fold delta in E.
  unfold b_conjugate_steps. set (r := sqrt (L / mu)) in *.
  pose proof (pow_lt delta k ltac:(lra)) as P. pose proof (pow_lt delta (2 * k) ltac:(lra)) as P2.
  assert (S0 : 0 <= energy s) by apply sqrt_pos.
  assert (Q : delta ^ k <= exp (- (2 * INR k / r))).
  { apply Rle_trans with (exp (- (2 / r)) ^ k);
      [apply pow_incr; split; [lra | apply delta_exp] |].
    rewrite <- Rpower_pow by apply exp_pos. unfold Rpower. rewrite ln_exp. right. f_equal.
    field. lra. }
  assert (B : 2 * delta ^ k / (1 + delta ^ (2 * k)) <= 2 * delta ^ k).
  { apply div_le; [lra |]. assert (0 <= 2 * delta ^ k * delta ^ (2 * k))
      by (repeat apply Rmult_le_pos; lra). lra. }
  assert (Lt : accuracy < 2 * exp (- (2 * INR k / r))).
  { destruct S0 as [S0 | S0]; 
      [| exfalso; rewrite <- S0, Rmult_0_r in E; rewrite <- S0, Rmult_0_r in H; lra].
    apply Rmult_lt_reg_r with (energy s); auto. eapply Rlt_le_trans; [exact H |].
    eapply Rle_trans; [exact E |]. apply Rmult_le_compat_r; lra. }
  assert (Ln : ln accuracy < ln 2 - 2 * INR k / r).
  { replace (ln 2 - 2 * INR k / r) with (ln (2 * exp (- (2 * INR k / r)))).
    - apply ln_increasing; auto.
    - rewrite ln_mult, ln_exp by (try lra; apply exp_pos). ring. }
  replace (ln (2 / accuracy)) with (ln 2 - ln accuracy)
    by (unfold Rdiv; rewrite ln_mult, ln_Rinv by (try lra; apply Rinv_0_lt_compat; auto); ring).
  apply le_div; [lra |]. replace (INR k * 2) with (r * (2 * INR k / r)) by (field; lra).
  apply Rmult_le_compat_l; lra.
Qed.

End Conjugate.

(** * Newton's step by conjugate gradients *)

(** A step from e <= mu / (3 M) whose equations are solved up to a share eta of the energy, with
    eta times the root of the condition at most 1 / 5, halves the distance. *)
Theorem p4_newton_cg n z x next y mu M low high eta gradient hessian : 0 < mu -> 0 <= M ->
  0 < low -> 0 <= eta -> smooth n z (distance n x z) M gradient hessian -> critical n gradient z ->
  eigenvalues_from n mu (hessian z) -> 3 * M * distance n x z <= mu ->
  eigenvalues_from n low (hessian x) -> eigenvalues_to n high (hessian x) ->
  newton_step n (hessian x) gradient x next -> eta ^ 2 * (25 * high) <= low ->
  energy n (hessian x) (displacement y next)
    <= eta * energy n (hessian x) (displacement x next) ->
  distance n y z <= distance n x z / 2.
Proof.
  intros Hmu HM Hlow Heta F Z Low3 H3 Low High Step He E.
  set (e := distance n x z) in *. assert (Pe : 0 <= e) by apply distance_nonneg.
  assert (N : distance n next z <= e / 4).
  { eapply Rle_trans.
    - apply (p4_newton_error n z x next mu M gradient hessian); auto. fold e.
      assert (0 <= M * e) by (apply Rmult_le_pos; auto). lra.
    - fold e. apply (p4_newton_squared e mu M); auto. }
  pose proof (distance_triangle n x z next) as T1. rewrite (distance_sym n z next) in T1. fold e in T1.
  pose proof (distance_triangle n y next z) as T2.
  set (a := distance n y next) in *. set (b := distance n x next) in *.
  assert (Pa : 0 <= a) by apply distance_nonneg. assert (Pb : 0 <= b) by apply distance_nonneg.
  enough (a <= b / 5) by lra.
  pose proof (Low (displacement y next)) as L1. pose proof (High (displacement x next)) as L2.
  rewrite norm_displacement in L1, L2. fold a in L1. fold b in L2.
  unfold energy, energy_form in E.
  set (p := dot n (displacement y next) (image n (hessian x) (displacement y next))) in *.
  set (q := dot n (displacement x next) (image n (hessian x) (displacement x next))) in *.
  assert (Pp : 0 <= p) by (pose proof (pow2_ge_0 a); nra).
  assert (Q : p <= eta ^ 2 * q).
  { destruct (Rle_lt_dec 0 q) as [Pq | Nq].
    - rewrite <- (sqrt_sqrt p), <- (sqrt_sqrt q) by auto. pose proof (sqrt_pos p). nra.
    - rewrite (sqrt_neg_0 q) in E by lra. rewrite Rmult_0_r in E.
      assert (p = 0) by (apply sqrt_eq_0; auto; pose proof (sqrt_pos p); lra).
      specialize (Low (displacement x next)). fold q in Low.
      pose proof (pow2_ge_0 (norm n (displacement x next))). nra. }
  assert (eta ^ 2 * q <= eta ^ 2 * (high * b ^ 2))
    by (apply Rmult_le_compat_l; auto; apply pow2_ge_0).
  assert (eta ^ 2 * (25 * high) * b ^ 2 <= low * b ^ 2)
    by (apply Rmult_le_compat_r; auto; apply pow2_ge_0).
  assert (low * (25 * a ^ 2) <= low * b ^ 2) by lra.
  assert (25 * a ^ 2 <= b ^ 2) by (apply Rmult_le_reg_l with low; auto).
  apply square_le; [lra |]. nra.
Qed.

(** * Attained *)

(** One step, with the eigenvalues mu and L and b = (1, 1): s = (1 / mu, 1 / L). *)
Definition two_eigenvalues (mu L : R) (i j : nat) : R :=
  if Nat.eqb i j then (if Nat.eqb i 0 then mu else L) else 0.

Definition two_entries (x y : R) (i : nat) : R := if Nat.eqb i 0 then x else y.

Lemma two_energy mu L v :
  energy_form 2 (two_eigenvalues mu L) v v = mu * v O ^ 2 + L * v 1%nat ^ 2.
Proof.
  unfold energy_form, image, dot, two_eigenvalues. cbn [fsum Nat.eqb]. ring.
Qed.

Theorem p4_conjugate_error_attained mu L : 0 < mu -> mu < L ->
  let A := two_eigenvalues mu L in let s := two_entries (/ mu) (/ L) in
  let b := two_entries 1 1 in let x := two_entries (2 / (L + mu)) (2 / (L + mu)) in
  symmetric_matrix 2 A /\ eigenvalues_from 2 mu A /\ eigenvalues_to 2 L A /\
  (forall i, (i < 2)%nat -> image 2 A s i = b i) /\ conjugate_point 2 A s b 1 x /\
  energy 2 A (displacement s x) = b_conjugate_error (L / mu) 1 * energy 2 A s.
Proof.
  intros Hmu HL A s b x.
  assert (F : forall v, dot 2 v (image 2 A v) = mu * v O ^ 2 + L * v 1%nat ^ 2)
    by apply two_energy.
  assert (N : forall v, norm 2 v ^ 2 = v O ^ 2 + v 1%nat ^ 2)
    by (intros; rewrite norm_square; cbn [fsum]; ring).
  assert (E : forall v, energy 2 A v = sqrt (mu * v O ^ 2 + L * v 1%nat ^ 2))
    by (intros; unfold energy, A; rewrite two_energy; reflexivity).
  split; [| split; [| split; [| split; [| split]]]].
  - intros i j _ _. unfold A, two_eigenvalues. rewrite (Nat.eqb_sym j i).
    destruct (Nat.eqb_spec i j) as [-> |]; reflexivity.
  - intros v. rewrite F, N. pose proof (pow2_ge_0 (v 1%nat)). nra.
  - intros v. rewrite F, N. pose proof (pow2_ge_0 (v O)). nra.
  - intros i Hi. unfold image, dot, A, s, b, two_eigenvalues, two_entries. cbn [fsum].
    destruct i as [| [| i]]; cbn [Nat.eqb]; [field; lra | field; lra | lia].
  - split.
    + exists (fun _ => 2 / (L + mu)). intros i Hi. cbn [fsum power]. unfold x, b, two_entries.
      destruct (Nat.eqb i 0); ring.
    + intros y [c C]. rewrite !E. apply sqrt_le_1_alt.
      pose proof (C 0%nat ltac:(lia)) as C0. pose proof (C 1%nat ltac:(lia)) as C1.
      cbn [fsum power] in C0, C1. unfold b, two_entries in C0, C1. cbn [Nat.eqb] in C0, C1.
      unfold displacement, s, x, two_entries. cbn [Nat.eqb]. rewrite C0, C1. set (d := c O).
      replace (mu * (/ mu - (0 + d * 1)) ^ 2 + L * (/ L - (0 + d * 1)) ^ 2)
        with (mu * (/ mu - 2 / (L + mu)) ^ 2 + L * (/ L - 2 / (L + mu)) ^ 2
          + (L + mu) * (d - 2 / (L + mu)) ^ 2) by (field; lra).
      pose proof (pow2_ge_0 (d - 2 / (L + mu))). nra.
  - rewrite !E. unfold displacement, s, x, two_entries. cbn [Nat.eqb].
    unfold b_conjugate_error. cbn [Nat.mul Nat.add].
    pose proof (root_condition mu L Hmu HL) as [Hr Er]. set (r := sqrt (L / mu)) in *.
    assert (EL : L = r * r * mu) by (rewrite Er; field; lra).
    replace (2 * ((r - 1) / (1 + r)) ^ 1 / (1 + ((r - 1) / (1 + r)) ^ 2))
      with ((L - mu) / (L + mu)) by (rewrite EL; field; split; nra).
    assert (P : 0 <= (L - mu) / (L + mu)) by (apply le_div; lra).
    replace ((L - mu) / (L + mu)) with (sqrt (((L - mu) / (L + mu)) ^ 2)) by (now apply sqrt_pow2).
    rewrite <- sqrt_mult_alt by apply pow2_ge_0. f_equal. field. lra.
Qed.
