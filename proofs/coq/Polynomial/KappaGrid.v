(** A certificate of kappa from values on a grid (claims P2.kappa, FP.polynomial).

    f (x) = P (x) exp (- x) for any coefficients.  Steps: (1) f' is of the same form, with the
    coefficients (m + 1) c_(m+1) - c_m, so all derivatives are; (2) between two points of a grid,
    with |f''| <= C, f + C x^2 / 2 is convex and lies below its chord, so f exceeds the larger value
    by at most C step^2 / 8; (3) the same for f'' on the same grid, from a crude bound of the fourth
    derivative, gives C; (4) the same for - f bounds f from below; (5) a computed value is off by at
    most the computed sum of its absolute terms times twice the roundings of both. *)

Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Derivatives.
From Attest.Rounding Require Import Rounding Expressions.
From Attest.Polynomial Require Import Moments Polynomial RoundingMoments.
Open Scope R_scope.

(** * Between two points *)

Definition second_derivative (f f2 : R -> R) : Prop :=
  exists f1, (forall x, is_derive f x (f1 x)) /\ (forall x, is_derive f1 x (f2 x)).

Lemma convex_below_chord g g1 g2 a b t : (forall x, is_derive g x (g1 x)) ->
  (forall x, is_derive g1 x (g2 x)) -> (forall x, a <= x <= b -> 0 <= g2 x) -> a <= t <= b ->
  g t * (b - a) <= g a * (b - t) + g b * (t - a).
Proof.
  intros H1 H2 Hg Ht. destruct (Req_dec a t) as [<- |]; [lra |].
  destruct (Req_dec t b) as [-> |]; [lra |].
  destruct (mean_value g g1 a t H1) as (x & Hx & Ex); [lra |].
  destruct (mean_value g g1 t b H1) as (y & Hy & Ey); [lra |].
  destruct (mean_value g1 g2 x y H2) as (z & Hz & Ez); [lra |].
  assert (g1 x <= g1 y) by (specialize (Hg z ltac:(lra)); nra).
  assert (0 <= (g1 y - g1 x) * ((b - t) * (t - a)))
    by (repeat apply Rmult_le_pos; lra).
  nra.
Qed.

Lemma between f f2 a b curvature t : second_derivative f f2 ->
  (forall x, a <= x <= b -> Rabs (f2 x) <= curvature) -> a <= t <= b ->
  f t <= Rmax (f a) (f b) + curvature * (b - a) ^ 2 / 8.
Proof.
  intros (f1 & H1 & H2) Hf Ht. destruct (Req_dec a b) as [<- | Hne].
  { replace t with a by lra. pose proof (Rmax_l (f a) (f a)). lra. }
  assert (C : f t * (b - a) <= f a * (b - t) + f b * (t - a)
    + curvature / 2 * ((b - a) * ((t - a) * (b - t)))).
  { pose proof (convex_below_chord (fun x => f x + curvature / 2 * x ^ 2)
      (fun x => f1 x + curvature * x) (fun x => f2 x + curvature) a b t) as L.
    cbv beta in L.
    cut ((f t + curvature / 2 * t ^ 2) * (b - a) <= (f a + curvature / 2 * a ^ 2) * (b - t)
      + (f b + curvature / 2 * b ^ 2) * (t - a)); [simpl; lra |].
    apply L; auto; intros x.
    - apply (is_derive_plus f (fun x => curvature / 2 * x ^ 2)); auto. auto_derive; auto. field.
    - apply (is_derive_plus f1 (fun x => curvature * x)); auto. auto_derive; auto. ring.
    - intros Hx. pose proof (Rabs_bounds _ _ (Hf x Hx)). lra. }
  assert (0 <= curvature) by (eapply Rle_trans; [apply Rabs_pos | apply (Hf t Ht)]).
  pose proof (Rmax_l (f a) (f b)). pose proof (Rmax_r (f a) (f b)).
  set (M := Rmax (f a) (f b)) in *.
  apply Rmult_le_reg_r with (b - a); [lra |].
  assert (f a * (b - t) <= M * (b - t)) by (apply Rmult_le_compat_r; lra).
  assert (f b * (t - a) <= M * (t - a)) by (apply Rmult_le_compat_r; lra).
  assert (Mean : (t - a) * (b - t) <= (b - a) ^ 2 / 4)
    by (pose proof (pow2_ge_0 (t - a - (b - t))); simpl in *; lra).
  assert (curvature / 2 * ((b - a) * ((t - a) * (b - t)))
    <= curvature / 2 * ((b - a) * ((b - a) ^ 2 / 4))).
  { apply Rmult_le_compat_l; [lra |]. apply Rmult_le_compat_l; lra. }
  simpl in *. lra.
Qed.

(** * On a grid *)

(** The points x_0 = low <= ... <= x_N = high, no two neighbours more than [step] apart. *)
Definition grid (N : nat) (x : nat -> R) (low high step : R) : Prop :=
  x 0%nat = low /\ x N = high /\ forall i, (i < N)%nat -> x i <= x (S i) <= x i + step.

Lemma grid_within N x low high step i : grid N x low high step -> (i <= N)%nat ->
  low <= x i <= high.
Proof.
  intros (E0 & EN & H) Hi. rewrite <- E0, <- EN. clear E0 EN.
  assert (Up : forall i j, (i + j <= N)%nat -> x i <= x (i + j)%nat).
  { intros a j. induction j; intros Hj; [rewrite Nat.add_0_r; lra |].
    rewrite Nat.add_succ_r in *. specialize (H (a + j)%nat ltac:(lia)).
    specialize (IHj ltac:(lia)). lra. }
  split; [apply (Up 0%nat i); lia |].
  replace N with (i + (N - i))%nat by lia. apply Up. lia.
Qed.

Lemma grid_cell N x low high step t : grid N x low high step -> low <= t <= high ->
  (exists i, (i < N)%nat /\ x i <= t <= x (S i)) \/ (N = 0%nat /\ t = x 0%nat).
Proof.
  intros (<- & <- & H) Ht. clear H. induction N.
  - right. split; auto. lra.
  - left. destruct (Rle_dec (x N) t).
    + exists N. split; [lia | lra].
    + destruct IHN as [(i & Hi & Hx) | [-> E]]; [lra | exists i; split; [lia | auto] |].
      exists 0%nat. split; [lia | lra].
Qed.

Lemma grid_upper f f2 N x low high step curvature top t : second_derivative f f2 ->
  grid N x low high step -> (forall x, low <= x <= high -> Rabs (f2 x) <= curvature) ->
  (forall i, (i <= N)%nat -> f (x i) <= top) -> low <= t <= high ->
  f t <= top + curvature * step ^ 2 / 8.
Proof.
  intros Hf G Hc Htop Ht.
  assert (0 <= curvature) by (eapply Rle_trans; [apply Rabs_pos | apply (Hc t Ht)]).
  destruct (grid_cell _ _ _ _ _ t G Ht) as [(i & Hi & Hx) | [-> ->]].
  - pose proof (grid_within _ _ _ _ _ i G ltac:(lia)).
    pose proof (grid_within _ _ _ _ _ (S i) G ltac:(lia)).
    eapply Rle_trans; [apply (between f f2 (x i) (x (S i)) curvature t); auto |].
    + intros y Hy. apply Hc. lra.
    + pose proof (Htop i ltac:(lia)). pose proof (Htop (S i) ltac:(lia)).
      apply Rplus_le_compat; [apply Rmax_lub; auto |].
      destruct G as (_ & _ & G). specialize (G i Hi).
      assert ((x (S i) - x i) ^ 2 <= step ^ 2) by (apply pow_incr; lra).
      apply Rmult_le_compat_r; [lra |]. apply Rmult_le_compat_l; auto.
  - specialize (Htop 0%nat ltac:(lia)). pose proof (pow2_ge_0 step).
    assert (0 <= curvature * step ^ 2) by (apply Rmult_le_pos; auto). lra.
Qed.

Lemma second_derivative_opp f f2 : second_derivative f f2 ->
  second_derivative (fun x => - f x) (fun x => - f2 x).
Proof.
  intros (f1 & H1 & H2). exists (fun x => - f1 x).
  split; intros x; [apply (is_derive_opp f) | apply (is_derive_opp f1)]; auto.
Qed.

Lemma grid_lower f f2 N x low high step curvature bottom t : second_derivative f f2 ->
  grid N x low high step -> (forall x, low <= x <= high -> Rabs (f2 x) <= curvature) ->
  (forall i, (i <= N)%nat -> bottom <= f (x i)) -> low <= t <= high ->
  bottom - curvature * step ^ 2 / 8 <= f t.
Proof.
  intros Hf G Hc Hbottom Ht.
  pose proof (grid_upper _ _ N x low high step curvature (- bottom) t
    (second_derivative_opp f f2 Hf) G) as U. cbv beta in U.
  cut (- f t <= - bottom + curvature * step ^ 2 / 8); [lra |]. apply U; auto.
  - intros y Hy. rewrite Rabs_Ropp. auto.
  - intros i Hi. specialize (Hbottom i Hi). lra.
Qed.

(** * The quotient P (x) exp (- x) *)

Definition quotient (g : nat) (c : nat -> R) (x : R) : R := polynomial g c x * exp (- x).

(** The coefficients of P' - P. *)
Definition twisted (g : nat) (c : nat -> R) (m : nat) : R :=
  (if Nat.ltb m g then INR (S m) * c (S m) else 0) - c m.

Lemma is_derive_quotient g c x : is_derive (quotient g c) x (quotient g (twisted g c) x).
Proof.
  unfold quotient.
  assert (P : is_derive (polynomial g c) x (fsum (S g) (fun m => c m * (INR m * x ^ pred m)))).
  { apply (is_derive_fsum (S g) (fun m x => c m * x ^ m)
      (fun m x => c m * (INR m * x ^ pred m))). intros m. auto_derive; auto. ring. }
  assert (E : is_derive (fun x => exp (- x)) x (- exp (- x))) by (auto_derive; auto; ring).
  replace (polynomial g (twisted g c) x * exp (- x))
    with (fsum (S g) (fun m => c m * (INR m * x ^ pred m)) * exp (- x)
          + polynomial g c x * (- exp (- x))).
  { apply (is_derive_mult (polynomial g c) (fun x => exp (- x)) x _ _ P E). apply Rmult_comm. }
  replace (polynomial g (twisted g c) x)
    with (fsum (S g) (fun m => c m * (INR m * x ^ pred m)) - polynomial g c x); [ring |].
  rewrite fsum_shift. unfold polynomial, twisted. rewrite !fsum_S, Nat.ltb_irrefl.
  rewrite (fsum_ext g (fun m => (_ - _) * _) (fun m =>
    c (S m) * (INR (S m) * x ^ m) - c m * x ^ m)).
  - rewrite fsum_minus. simpl. ring.
  - intros m Hm. destruct (Nat.ltb_spec m g); [ring | lia].
Qed.

Lemma second_derivative_quotient g c :
  second_derivative (quotient g c) (quotient g (twisted g (twisted g c))).
Proof.
  exists (quotient g (twisted g c)). split; intros x; apply is_derive_quotient.
Qed.

Lemma quotient_magnitude g c r x : Rabs x <= r ->
  Rabs (quotient g c x) <= exp r * absolute_polynomial g c r.
Proof.
  intros Hx. unfold quotient. rewrite Rabs_mult, Rmult_comm.
  rewrite (Rabs_right (exp _)) by (left; apply exp_pos).
  apply Rmult_le_compat; [left; apply exp_pos | apply Rabs_pos | |].
  - apply exp_le. apply Rabs_bounds in Hx. lra.
  - eapply Rle_trans; [apply fsum_abs |]. apply fsum_le. intros m _.
    rewrite Rabs_mult, <- RPow_abs. apply Rmult_le_compat_l; [apply Rabs_pos |].
    apply pow_incr. split; [apply Rabs_pos | auto].
Qed.

(** * P2.kappa *)

Lemma grid_curvature_form largest fourth step :
  b_grid_curvature largest fourth step = largest + fourth * step ^ 2 / 8.
Proof. unfold b_grid_curvature. field. Qed.

Lemma kappa_grid_form top bottom curvature step : 0 < bottom - curvature * step ^ 2 / 8 ->
  b_kappa_grid top bottom curvature step
    = (top + curvature * step ^ 2 / 8) / (bottom - curvature * step ^ 2 / 8).
Proof. intros. unfold b_kappa_grid. field. simpl in *. lra. Qed.

Theorem p2_grid_curvature g c N x r step largest fourth t : grid N x (- r) r step ->
  (forall i, (i <= N)%nat -> Rabs (quotient g (twisted g (twisted g c)) (x i)) <= largest) ->
  exp r * absolute_polynomial g (twisted g (twisted g (twisted g (twisted g c)))) r <= fourth ->
  Rabs t <= r ->
  Rabs (quotient g (twisted g (twisted g c)) t) <= b_grid_curvature largest fourth step.
Proof.
  intros G Hl H4 Ht. rewrite grid_curvature_form. apply Rabs_bounds in Ht.
  set (c2 := twisted g (twisted g c)) in *.
  pose proof (second_derivative_quotient g c2) as D.
  assert (F : forall y, - r <= y <= r ->
    Rabs (quotient g (twisted g (twisted g c2)) y) <= fourth).
  { intros y Hy. eapply Rle_trans; [apply quotient_magnitude, Rabs_le, Hy | exact H4]. }
  apply Rabs_le. split.
  - cut (- largest - fourth * step ^ 2 / 8 <= quotient g c2 t); [lra |].
    apply (grid_lower _ _ N x (- r) r step fourth _ t D G F); auto.
    intros i Hi. pose proof (Rabs_bounds _ _ (Hl i Hi)). lra.
  - apply (grid_upper _ _ N x (- r) r step fourth _ t D G F); auto.
    intros i Hi. pose proof (Rabs_bounds _ _ (Hl i Hi)). lra.
Qed.

(** Values of f on the grid, within [bottom, top], certify what P2.poly asks of the coefficients. *)
Theorem p2_kappa_grid g c N x r step curvature top bottom : grid N x (- r) r step ->
  (forall t, Rabs t <= r -> Rabs (quotient g (twisted g (twisted g c)) t) <= curvature) ->
  (forall i, (i <= N)%nat -> bottom <= polynomial g c (x i) * exp (- x i) <= top) ->
  0 < bottom - curvature * step ^ 2 / 8 ->
  fits_exp g c r (bottom - curvature * step ^ 2 / 8) (b_kappa_grid top bottom curvature step).
Proof.
  intros G Hc Hv Hpos t Ht. rewrite kappa_grid_form by auto.
  replace ((bottom - curvature * step ^ 2 / 8) * _) with (top + curvature * step ^ 2 / 8)
    by (field; simpl in *; lra).
  pose proof (second_derivative_quotient g c) as D.
  assert (C : forall y, - r <= y <= r ->
    Rabs (quotient g (twisted g (twisted g c)) y) <= curvature)
    by (intros y Hy; apply Hc, Rabs_le, Hy).
  apply Rabs_bounds in Ht. split.
  - apply (grid_lower _ _ N x (- r) r step curvature _ t D G C); auto. intros i Hi. apply Hv; auto.
  - apply (grid_upper _ _ N x (- r) r step curvature _ t D G C); auto. intros i Hi. apply Hv; auto.
Qed.

(** * The values on the grid, in floats *)

Lemma horner_roundings u x c rho k m : 0 <= u ->
  (forall i, 0 <= roundings_total (c i) <= rho) ->
  0 <= roundings_total (horner_sum u (Number 0 x) c m k) <= rho + INR (2 * k) * u.
Proof.
  intros Hu Hc. revert m. induction k; intros m; simpl horner_sum.
  - simpl. specialize (Hc m). lra.
  - cbn [roundings_total]. specialize (IHk (S m)). specialize (Hc m).
    replace (2 * S k)%nat with (2 * k + 2)%nat by lia. rewrite plus_INR, (Rmult_plus_distr_r _ _ u).
    replace (INR 2 * u) with (2 * u) by (simpl; ring).
    assert (0 <= INR (2 * k) * u) by (apply Rmult_le_pos; [apply pos_INR | auto]).
    unfold Rmax. destruct (Rle_dec _ _); lra.
Qed.

Lemma grid_value_error_form A k u : INR k * u < 1 -> b_grid_value_error A k u = gamma k u * A.
Proof. intros. unfold b_grid_value_error, gamma. field. lra. Qed.

(** A value and the sum of its absolute terms, both computed: the second bounds the error of the
    first, for twice its roundings. *)
Lemma computed_magnitude e a x A rho k u : evaluates 0 e x -> evaluates 0 a A ->
  value a = magnitude e -> magnitude a = magnitude e ->
  0 <= roundings_total e <= rho -> roundings_total a <= rho -> 2 * rho <= INR k * u ->
  INR k * u < 1 -> Rabs (x - value e) <= b_grid_value_error A k u.
Proof.
  intros He Ha Va Ma Re Ra Hk Hk1. rewrite grid_value_error_form by auto.
  pose proof (fp_expression 0 e x ltac:(lra) He) as Ee.
  pose proof (fp_expression 0 a A ltac:(lra) Ha) as Ea.
  rewrite Va, Ma, no_loss in Ea. rewrite no_loss in Ee. pose proof (magnitude_nonneg e) as H0.
  pose proof (exp_le _ _ (proj2 Re)). pose proof (exp_le _ _ Ra).
  pose proof (exp_minus_1_le rho ltac:(lra)) as B.
  set (E := rho / (1 - rho)) in *. set (S := magnitude e) in *.
  assert (E0 : 0 <= E) by (apply le_div; lra).
  assert (X : Rabs (x - value e) <= E * S).
  { eapply Rle_trans; [exact Ee |]. rewrite Rplus_0_r. apply Rmult_le_compat_r; lra. }
  assert (Y : Rabs (A - S) <= E * S).
  { eapply Rle_trans; [exact Ea |]. rewrite Rplus_0_r. apply Rmult_le_compat_r; lra. }
  apply Rabs_bounds in Y.
  assert (G : E <= gamma k u * (1 - E)).
  { unfold E, gamma. set (K := INR k * u) in *.
    replace (1 - rho / (1 - rho)) with ((1 - 2 * rho) / (1 - rho)) by (field; lra).
    apply div_le; [lra |].
    replace (K / (1 - K) * ((1 - 2 * rho) / (1 - rho)) * (1 - rho))
      with (K * (1 - 2 * rho) / (1 - K)) by (field; lra).
    apply le_div; [lra |]. nra. }
  assert (0 <= gamma k u) by (apply le_div; lra).
  apply Rle_trans with (E * S); auto. apply Rle_trans with (gamma k u * (1 - E) * S).
  - apply Rmult_le_compat_r; auto.
  - rewrite Rmult_assoc. apply Rmult_le_compat_l; lra.
Qed.

(** P (x) exp (- x) by Horner's rule from computed coefficients, times a computed exp, beside the
    same with absolute values; rho bounds the roundings of a coefficient.  There is no underflow. *)
Theorem fp_grid_value g c a x X A u exp_error rho k : 0 <= u -> 0 <= exp_error ->
  (forall m, 0 <= roundings_total (c m) <= rho) -> (forall m, 0 <= roundings_total (a m) <= rho) ->
  (forall m, value (a m) = magnitude (c m) /\ magnitude (a m) = magnitude (c m)) ->
  let weight := Number (exp_error * u) (exp (- x)) in
  evaluates 0 (Times u (horner_sum u (Number 0 x) c 0 g) weight) X ->
  evaluates 0 (Times u (horner_sum u (Number 0 (Rabs x)) a 0 g) weight) A ->
  2 * (rho + (INR (2 * g) + exp_error + 1) * u) <= INR k * u -> INR k * u < 1 ->
  Rabs (X - quotient g (fun m => value (c m)) x) <= b_grid_value_error A k u.
Proof.
  intros Hu He Hc Ha Hac weight HX HA Hk Hk1.
  destruct (horner_polynomial u (Number 0 x) c g 0) as [Vc Mc].
  destruct (horner_polynomial u (Number 0 (Rabs x)) a g 0) as [Va Ma].
  cbn [value magnitude] in Vc, Mc, Va, Ma. rewrite Rabs_Rabsolu in Ma.
  pose proof (horner_roundings u x c rho g 0 Hu Hc) as Rc.
  pose proof (horner_roundings u (Rabs x) a rho g 0 Hu Ha) as Ra.
  assert (0 <= exp_error * u) by (apply Rmult_le_pos; auto).
  replace (quotient g (fun m => value (c m)) x)
    with (value (Times u (horner_sum u (Number 0 x) c 0 g) weight)).
  - apply (computed_magnitude _ (Times u (horner_sum u (Number 0 (Rabs x)) a 0 g) weight) X A
      (rho + (INR (2 * g) + exp_error + 1) * u)); auto.
    + unfold weight. cbn [value magnitude]. rewrite Va, Mc.
      rewrite (Rabs_right (exp _)) by (left; apply exp_pos). f_equal.
      apply fsum_ext. intros m _. now rewrite (proj1 (Hac _)).
    + unfold weight. cbn [value magnitude]. rewrite Ma, Mc. f_equal.
      apply fsum_ext. intros m _. now rewrite (proj2 (Hac _)).
    + unfold weight. cbn [roundings_total]. lra.
    + unfold weight. cbn [roundings_total]. lra.
  - unfold weight. cbn [value]. rewrite Vc. reflexivity.
Qed.
