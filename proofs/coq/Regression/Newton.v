(** Newton's method near a critical point, and what proves that there is one (claims P4.newton,
    P4.basin and P4.kantorovich).

    Points are functions of which the first n entries count.  Of a function nothing is used but its
    gradient, of which its Hessian is the derivative along every line, with a Lipschitz constant M
    on a ball, and a lower bound mu > 0 of the Hessian's form at the centre.

    Steps: (1) by the mean value theorem gradient y - gradient x - hessian z (y - x) is at most
    M |y - x| times the mean of |x - z| and |y - z|; (2) with z = x that bounds what a Newton step
    leaves; (3) where <v, A v> >= mu |v|^2, A s = b has a solution, the limit of
    s <- s - tau (A s - b); (4) with z the start, the steps s of hessian start s = gradient x are no
    longer than those of t <- (M t^2 / 2 + |gradient start|) / mu, and t does not exceed the root of
    t = (M t^2 / 2 + |gradient start|) / mu, which is the critical radius. *)

Require Import Reals Lra Lia FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Derivatives.
Open Scope R_scope.

Section Points.

Variable n : nat.

Definition point_along (x d : nat -> R) (t : R) : nat -> R := fun i => x i + t * d i.
Definition displacement (x y : nat -> R) : nat -> R := fun i => x i - y i.
Definition image (A : nat -> nat -> R) (v : nat -> R) : nat -> R := fun i => dot n (A i) v.

(** * Lengths *)

Lemma norm_displacement x y : norm n (displacement x y) = distance n x y.
Proof. reflexivity. Qed.

Lemma dot_displacement x y z : dot n x (displacement y z) = dot n x y - dot n x z.
Proof. unfold dot, displacement. rewrite <- fsum_minus. apply fsum_ext. intros. ring. Qed.

Lemma along_displacement x y t :
  point_along x (displacement y x) t = fun i => (1 - t) * x i + t * y i.
Proof. apply functional_extensionality. intros i. unfold point_along, displacement. ring. Qed.

Lemma along_start x d : point_along x d 0 = x.
Proof. apply functional_extensionality. intros i. unfold point_along. ring. Qed.

Lemma along_end x y : point_along x (displacement y x) 1 = y.
Proof. apply functional_extensionality. intros i. unfold point_along, displacement. ring. Qed.

Lemma distance_along x y z t : 0 <= t <= 1 ->
  distance n (point_along x (displacement y x) t) z
    <= (1 - t) * distance n x z + t * distance n y z.
Proof.
  intros Ht. rewrite <- !norm_displacement, along_displacement.
  rewrite (norm_ext n _ (fun i => (1 - t) * displacement x z i + t * displacement y z i))
    by (intros; unfold displacement; ring).
  eapply Rle_trans; [apply norm_triangle |]. rewrite !norm_scale, !Rabs_right by lra. lra.
Qed.

Lemma image_displacement A x y i : image A (displacement x y) i = image A x i - image A y i.
Proof. apply dot_displacement. Qed.

(** |A v| <= L |v|, L the Frobenius norm of A or more. *)
Lemma image_bounded A : exists L, 0 < L /\ forall v, norm n (image A v) <= L * norm n v.
Proof.
  exists (1 + frobenius n n A). pose proof (frobenius_nonneg n n A). split; [lra |]. intros v.
  pose proof (frobenius_image n n A v) as B. fold (image A v) in B.
  pose proof (norm_nonneg n v). nra.
Qed.

(** * Functions, by their gradient and Hessian *)

(** On a ball, the Hessian is the derivative of the gradient along every line, and M its Lipschitz
    constant. *)
Definition smooth (centre : nat -> R) (radius M : R) (gradient : (nat -> R) -> nat -> R)
    (hessian : (nat -> R) -> nat -> nat -> R) : Prop :=
  (forall x d t i, (i < n)%nat -> distance n (point_along x d t) centre <= radius ->
    is_derive (fun s => gradient (point_along x d s) i) t
      (image (hessian (point_along x d t)) d i)) /\
  (forall x y v, distance n x centre <= radius -> distance n y centre <= radius ->
    distance n (image (hessian x) v) (image (hessian y) v) <= M * distance n x y * norm n v).

(** No eigenvalue of the form of A is below mu. *)
Definition eigenvalues_from (mu : R) (A : nat -> nat -> R) : Prop :=
  forall v, mu * norm n v ^ 2 <= dot n v (image A v).

Definition critical (gradient : (nat -> R) -> nat -> R) (z : nat -> R) : Prop :=
  forall i, (i < n)%nat -> gradient z i = 0.

(** y is where a step from x leads, taken with the Hessian A. *)
Definition newton_step (A : nat -> nat -> R) (gradient : (nat -> R) -> nat -> R)
    (x y : nat -> R) : Prop :=
  forall i, (i < n)%nat -> image A (displacement x y) i = gradient x i.

Lemma eigenvalues_image mu A v : eigenvalues_from mu A -> mu * norm n v <= norm n (image A v).
Proof.
  intros H. specialize (H v). pose proof (dot_le_norms n v (image A v)).
  pose proof (norm_nonneg n v) as [P | P].
  - apply Rmult_le_reg_l with (norm n v); auto. lra.
  - rewrite <- P. rewrite Rmult_0_r. apply norm_nonneg.
Qed.

(** A function whose derivative is below a line. *)
Lemma increase_le (f df : R -> R) a b : (forall t, 0 <= t <= 1 -> is_derive f t (df t)) ->
  (forall t, 0 <= t <= 1 -> df t <= (1 - t) * a + t * b) -> f 1 - f 0 <= (a + b) / 2.
Proof.
  intros D H.
  set (h := fun t => f t - (t * a + t ^ 2 * (b - a) / 2)).
  assert (Dh : forall t, 0 <= t <= 1 -> is_derive h t (df t - ((1 - t) * a + t * b))).
  { intros t Ht. unfold h.
    apply (is_derive_minus f (fun t => t * a + t ^ 2 * (b - a) / 2)); [auto |].
    auto_derive; [auto | field]. }
  destruct (MVT_gen h 0 1 (fun t => df t - ((1 - t) * a + t * b))) as [t [Ht E]].
  - intros t Ht. rewrite Rmin_left, Rmax_right in Ht by lra. apply Dh. lra.
  - intros t Ht. rewrite Rmin_left, Rmax_right in Ht by lra.
    apply derivable_continuous_pt. eexists. apply is_derive_Reals, Dh. lra.
  - rewrite Rmin_left, Rmax_right in Ht by lra. specialize (H t Ht). unfold h in E. lra.
Qed.

Lemma hessian_remainder centre r M gradient hessian x y z :
  smooth centre r M gradient hessian -> 0 <= M ->
  distance n x centre <= r -> distance n y centre <= r -> distance n z centre <= r ->
  distance n (displacement (gradient y) (gradient x)) (image (hessian z) (displacement y x))
    <= M * ((distance n x z + distance n y z) / 2) * distance n y x.
Proof.
  intros [D L] HM Hx Hy Hz. set (d := displacement y x). set (b := image (hessian z) d).
  set (w := displacement (displacement (gradient y) (gradient x)) b).
  rewrite <- norm_displacement, <- (norm_displacement y x). fold w d.
  assert (I : forall t, 0 <= t <= 1 -> distance n (point_along x d t) centre <= r).
  { intros t Ht. eapply Rle_trans; [apply (distance_along x y centre t Ht) | nra]. }
  assert (S : norm n w * norm n w
      <= (norm n w * (M * distance n x z * norm n d)
          + norm n w * (M * distance n y z * norm n d)) / 2).
  { set (f := fun t => dot n w (fun i => gradient (point_along x d t) i - t * b i)).
    replace (norm n w * norm n w) with (f 1 - f 0).
    - apply increase_le with (fun t =>
        dot n w (displacement (image (hessian (point_along x d t)) d) b)).
      + intros t Ht. apply is_derive_dot. intros i Hi. unfold displacement at 1.
        apply (is_derive_minus (fun t => gradient (point_along x d t) i) (fun t => t * b i));
          [auto |].
        auto_derive; [auto | ring].
      + intros t Ht. eapply Rle_trans; [apply dot_le_norms |]. pose proof (norm_nonneg n w) as W.
        pose proof (norm_nonneg n d) as Hd. pose proof (distance_along x y z t Ht) as C.
        apply Rle_trans with (norm n w * (M * distance n (point_along x d t) z * norm n d)).
        * apply Rmult_le_compat_l; [exact W | apply L; auto].
        * replace ((1 - t) * (norm n w * (M * distance n x z * norm n d))
            + t * (norm n w * (M * distance n y z * norm n d)))
            with (norm n w * (M * ((1 - t) * distance n x z + t * distance n y z) * norm n d))
            by ring.
          apply Rmult_le_compat_l; [exact W |]. apply Rmult_le_compat_r; [exact Hd |].
          apply Rmult_le_compat_l; auto.
    - unfold f. rewrite norm_dot, <- dot_displacement. apply dot_ext. intros i _.
      unfold d at 1. rewrite along_end, along_start. unfold w, displacement. ring. }
  pose proof (norm_nonneg n w) as [W | W].
  - apply Rmult_le_reg_l with (norm n w); lra.
  - rewrite <- W. pose proof (distance_nonneg n x z). pose proof (distance_nonneg n y z).
    pose proof (norm_nonneg n d). apply Rmult_le_pos; nra.
Qed.

Lemma eigenvalues_nearby centre r M gradient hessian mu x : smooth centre r M gradient hessian ->
  0 <= r -> distance n x centre <= r -> eigenvalues_from mu (hessian centre) ->
  eigenvalues_from (mu - M * distance n x centre) (hessian x).
Proof.
  intros [_ L] Hr Hx H v. specialize (H v).
  assert (C : distance n centre centre <= r).
  { rewrite distance_self. auto. }
  specialize (L centre x v C Hx). rewrite (distance_sym n centre x) in L.
  pose proof (dot_le_norms n v (displacement (image (hessian centre) v) (image (hessian x) v)))
    as E.
  rewrite dot_displacement, norm_displacement in E. pose proof (norm_nonneg n v). nra.
Qed.

(** * Newton's method near a critical point *)

Theorem p4_newton_error z x y mu M gradient hessian : 0 <= M ->
  smooth z (distance n x z) M gradient hessian -> critical gradient z ->
  eigenvalues_from mu (hessian z) -> M * distance n x z < mu ->
  newton_step (hessian x) gradient x y -> distance n y z <= b_newton_error (distance n x z) mu M.
Proof.
  intros HM F Z H N E. unfold b_newton_error. set (e := distance n x z) in *.
  assert (He : 0 <= e) by apply distance_nonneg.
  pose proof (hessian_remainder z e M gradient hessian z x x F HM ltac:(rewrite distance_self; auto)
    (Rle_refl e) (Rle_refl e)) as R.
  rewrite distance_self, (distance_sym n z x) in R. fold e in R.
  pose proof (eigenvalues_image _ _ (displacement y z)
    (eigenvalues_nearby z e M gradient hessian mu x F He (Rle_refl e) H)) as A.
  fold e in A. rewrite norm_displacement in A.
  rewrite <- norm_displacement in R.
  rewrite (norm_ext n _ (fun i => - image (hessian x) (displacement y z) i)) in R.
  - rewrite norm_opp in R. apply le_div; [lra |]. nra.
  - intros i Hi. specialize (E i Hi). specialize (Z i Hi). rewrite image_displacement in *.
    change (gradient x i - gradient z i - image (hessian x) (displacement x z) i
      = - (image (hessian x) y i - image (hessian x) z i)).
    rewrite image_displacement. lra.
Qed.

(** From mu / (3 M) on a step quarters the distance e, and squares 3 M e / (4 mu). *)
Theorem p4_newton_squared e mu M : 0 < mu -> 0 <= M -> 0 <= e -> 3 * M * e <= mu ->
  b_newton_error e mu M <= e / 4 /\
  3 * M * b_newton_error e mu M / (4 * mu) <= (3 * M * e / (4 * mu)) ^ 2.
Proof.
  intros Hmu HM He H. unfold b_newton_error.
  assert (Me : 0 <= M * e) by nra.
  assert (0 <= e * (mu - 3 * M * e)) by (apply Rmult_le_pos; lra). split.
  - apply div_le; lra.
  - set (b := M * e ^ 2 / (2 * mu - 2 * e * M)).
    assert (B : b <= 3 * M * e ^ 2 / (4 * mu)).
    { apply div_le; [nra |]. replace (3 * M * e ^ 2 / (4 * mu) * (2 * mu - 2 * e * M))
        with (M * e ^ 2 * (3 * (mu - M * e) / (2 * mu))) by (field; lra).
      assert (1 <= 3 * (mu - M * e) / (2 * mu)) by (apply le_div; lra).
      pose proof (pow2_ge_0 e). assert (0 <= M * e ^ 2) by nra. nra. }
    apply Rle_trans with (3 * M * (3 * M * e ^ 2 / (4 * mu)) / (4 * mu)).
    + apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; lra | nra].
    + right. field. lra.
Qed.

Lemma smooth_within centre r r' M gradient hessian : smooth centre r M gradient hessian ->
  r' <= r -> smooth centre r' M gradient hessian.
Proof. intros [D L] H. split; intros; [apply D | apply L]; auto; lra. Qed.

Theorem p4_basin z x y mu M gradient hessian : 0 < mu -> 0 <= M ->
  smooth z (distance n x z) M gradient hessian -> critical gradient z ->
  eigenvalues_from mu (hessian z) -> newton_step (hessian x) gradient x y ->
  0 < distance n x z <= distance n y z -> / distance n x z <= b_basin_reciprocal mu M.
Proof.
  intros Hmu HM F Z H E [P D].
  pose proof (p4_newton_error z x y mu M gradient hessian HM F Z H) as B.
  unfold b_newton_error, b_basin_reciprocal in *. set (e := distance n x z) in *.
  assert (2 * mu <= 3 * M * e).
  { destruct (Rlt_le_dec (M * e) mu) as [C | C]; [| nra]. specialize (B C E).
    assert (G : e * (2 * mu - 2 * e * M) <= M * e ^ 2).
    { apply Rle_trans with (M * e ^ 2 / (2 * mu - 2 * e * M) * (2 * mu - 2 * e * M)).
      - apply Rmult_le_compat_r; lra.
      - right. field. lra. }
    apply Rmult_le_reg_l with e; nra. }
  apply le_div; [lra |]. apply Rmult_le_reg_l with e; auto.
  replace (e * (/ e * (2 * mu))) with (2 * mu) by (field; lra). lra.
Qed.

(** Newton's steps from any nearer start converge. *)
Theorem p4_basin_converges z (x : nat -> nat -> R) mu M gradient hessian : 0 < mu -> 0 <= M ->
  smooth z (distance n (x O) z) M gradient hessian -> critical gradient z ->
  eigenvalues_from mu (hessian z) ->
  (forall k, newton_step (hessian (x k)) gradient (x k) (x (S k))) ->
  distance n (x O) z * b_basin_reciprocal mu M < 1 -> is_lim_seq (fun k => distance n (x k) z) 0.
Proof.
  intros Hmu HM F Z H E N. unfold b_basin_reciprocal in N. set (e := fun k => distance n (x k) z).
  assert (He : forall k, 0 <= e k) by (intros; apply distance_nonneg).
  assert (N' : 3 * M * e O < 2 * mu).
  { replace (3 * M * e O) with (e O * (3 * M / (2 * mu)) * (2 * mu)) by (field; lra).
    fold (e O) in N. nra. }
  set (q := M * e O / (2 * mu - 2 * e O * M)).
  assert (Hq : 0 <= q < 1).
  { unfold q. specialize (He O). split.
    - apply Rmult_le_pos; [nra | left; apply Rinv_0_lt_compat; nra].
    - apply Rmult_lt_reg_r with (2 * mu - 2 * e O * M); [nra |]. unfold Rdiv.
      rewrite Rmult_assoc, Rinv_l by nra. nra. }
  assert (S : forall k, e k <= e O -> e (S k) <= q * e k).
  { intros k D. eapply Rle_trans.
    - apply (p4_newton_error z (x k) (x (S k)) mu M gradient hessian); auto;
        [apply smooth_within with (e O); auto |]. fold (e k). pose proof (He k). nra.
    - fold (e k). unfold b_newton_error, q. pose proof (He k). pose proof (He O).
      replace (M * e k ^ 2 / (2 * mu - 2 * e k * M)) with (M * e k / (2 * mu - 2 * e k * M) * e k)
        by (field; nra).
      apply Rmult_le_compat_r; [auto |]. apply Rmult_le_compat; [nra | | nra |].
      + left. apply Rinv_0_lt_compat. nra.
      + apply Rinv_le_contravar; nra. }
  assert (G : forall k, e k <= q ^ k * e O /\ e k <= e O).
  { induction k as [| k [I J]]; [simpl; lra |]. specialize (S k J). simpl. pose proof (He k). nra. }
  apply is_lim_seq_le_le with (fun _ => 0) (fun k => q ^ k * e O).
  - intros k. split; [apply He | apply G].
  - apply is_lim_seq_const.
  - replace (Finite 0) with (Rbar_mult 0 (e O)) by (simpl; f_equal; ring).
    apply is_lim_seq_scal_r, is_lim_seq_geom. rewrite Rabs_right; lra.
Qed.

(** * Limits *)

Definition limit_point (x : nat -> nat -> R) : nat -> R := fun i => real (Lim_seq (fun k => x k i)).

(** Points that move no faster than a sequence of numbers that rises to T. *)
Lemma limit_close (x : nat -> nat -> R) (t : nat -> R) (T : R) :
  (forall k, distance n (x (S k)) (x k) <= t (S k) - t k) -> is_lim_seq t T ->
  forall k, distance n (limit_point x) (x k) <= T - t k.
Proof.
  intros H L k.
  assert (Up : forall m, t m <= t (S m))
    by (intros m; pose proof (distance_nonneg n (x (S m)) (x m)); specialize (H m); lra).
  assert (Below : forall m, t m <= T) by (intros; apply is_lim_seq_incr_compare; auto).
  assert (Far : forall k m, distance n (x (k + m)%nat) (x k) <= t (k + m)%nat - t k).
  { intros l m. induction m; [rewrite Nat.add_0_r, distance_self; lra |]. rewrite Nat.add_succ_r.
    pose proof (distance_triangle n (x (S (l + m))) (x (l + m)%nat) (x l)).
    specialize (H (l + m)%nat). lra. }
  assert (C : forall i, (i < n)%nat -> is_lim_seq (fun m => x m i) (limit_point x i)).
  { intros i Hi. apply Lim_seq_correct'. apply ex_lim_seq_cauchy_corr. intros eps.
    destruct (proj1 (ex_lim_seq_cauchy_corr t) (ex_intro _ T L) eps) as [N HN].
    exists N. assert (A : forall p m, (N <= p)%nat -> Rabs (x (p + m)%nat i - x p i) < eps).
    { intros p m Hp. specialize (HN (p + m)%nat p ltac:(lia) Hp). specialize (Far p m).
      pose proof (entry_le n (displacement (x (p + m)%nat) (x p)) i Hi) as E.
      rewrite norm_displacement in E. unfold displacement in E.
      pose proof (Rle_abs (t (p + m)%nat - t p)). lra. }
    intros p m Hp Hm. destruct (Nat.le_gt_cases p m).
    - replace m with (p + (m - p))%nat by lia. rewrite Rabs_minus_sym. apply A, Hp.
    - replace p with (m + (p - m))%nat by lia. apply A, Hm. }
  assert (S : squared_distance n (limit_point x) (x k) <= (T - t k) ^ 2).
  { assert (Q : is_lim_seq (fun m => squared_distance n (x (m + k)%nat) (x k))
      (squared_distance n (limit_point x) (x k))).
    { apply (is_lim_seq_incr_n (fun m => squared_distance n (x m) (x k)) k).
      apply is_lim_seq_fsum. intros i Hi.
      apply (is_lim_seq_continuous (fun y => (y - x k i) ^ 2) _ _ ltac:(reg) (C i Hi)). }
    change (Rbar_le (squared_distance n (limit_point x) (x k)) ((T - t k) ^ 2)).
    eapply is_lim_seq_le; [| exact Q | apply is_lim_seq_const].
    intros m. cbv beta. rewrite <- distance_square. rewrite Nat.add_comm. specialize (Far k m).
    pose proof (Below (k + m)%nat). pose proof (distance_nonneg n (x (k + m)%nat) (x k)). nra. }
  specialize (Below k). unfold distance. rewrite <- (sqrt_pow2 (T - t k)) by lra.
  apply sqrt_le_1_alt, S.
Qed.

(** * Linear equations *)

Fixpoint relaxed (A : nat -> nat -> R) (tau : R) (b : nat -> R) (k : nat) : nat -> R :=
  match k with
  | O => fun _ => 0
  | S k => fun i => relaxed A tau b k i - tau * (image A (relaxed A tau b k) i - b i)
  end.

Lemma solvable A mu : 0 < mu -> eigenvalues_from mu A ->
  exists tau, forall b i, (i < n)%nat -> image A (limit_point (relaxed A tau b)) i = b i.
Proof.
  intros Hmu H. destruct (image_bounded A) as (L0 & HL0 & B0).
  set (L := L0 + mu). assert (HL : mu < L) by (unfold L; lra).
  assert (B : forall v, norm n (image A v) <= L * norm n v).
  { intros v. specialize (B0 v). pose proof (norm_nonneg n v). unfold L. nra. }
  assert (HL2 : 0 < L ^ 2) by nra.
  set (tau := mu / L ^ 2). exists tau. intros b.
  set (q := 1 - tau * mu / 2). set (s := relaxed A tau b).
  set (r := fun k => displacement (image A (s k)) b).
  assert (Ht : 0 < tau) by (apply Rdiv_lt_0_compat; lra).
  assert (Hq : 0 < q < 1).
  { assert (tau * mu < 1); [| unfold q; nra]. unfold tau. apply Rmult_lt_reg_r with (L ^ 2); auto.
    replace (mu / L ^ 2 * mu * L ^ 2) with (mu ^ 2) by (field; lra). nra. }
  assert (Step : forall k, norm n (r (S k)) <= q * norm n (r k)).
  { intros k. apply Rsqr_incr_0_var; [| apply Rmult_le_pos; [lra | apply norm_nonneg]].
    unfold Rsqr. rewrite (norm_ext n (r (S k)) (fun i => r k i + - (tau * image A (r k) i))).
    - set (v := r k). specialize (H v). specialize (B v).
      pose proof (norm_nonneg n (image A v)). pose proof (norm_nonneg n v).
      set (u := fun i => v i + - (tau * image A v i)).
      assert (E : norm n u * norm n u
        = norm n v ^ 2 - 2 * tau * dot n v (image A v) + tau ^ 2 * norm n (image A v) ^ 2).
      { simpl. rewrite !Rmult_1_r, !norm_dot. unfold dot.
        rewrite <- !fsum_scale, <- fsum_minus, <- fsum_plus.
        apply fsum_ext. intros. unfold u. ring. }
      rewrite E.
      assert (P : norm n (image A v) ^ 2 <= L ^ 2 * norm n v ^ 2) by nra.
      assert (tau ^ 2 * norm n (image A v) ^ 2 <= tau * mu * norm n v ^ 2).
      { replace (tau * mu * norm n v ^ 2) with (tau ^ 2 * (L ^ 2 * norm n v ^ 2))
          by (unfold tau; field; lra).
        apply Rmult_le_compat_l; [apply pow2_ge_0 | auto]. }
      assert (tau * (mu * norm n v ^ 2) <= tau * dot n v (image A v))
        by (apply Rmult_le_compat_l; lra).
      pose proof (pow2_ge_0 (tau * mu * norm n v / 2)). unfold q. nra.
    - intros i Hi. unfold r, displacement at 1.
      change (s (S k)) with (fun i => s k i - tau * r k i).
      change (fun i => s k i - tau * r k i) with (displacement (s k) (fun i => tau * r k i)).
      rewrite image_displacement. unfold image at 2. rewrite dot_scale.
      unfold r at 1, displacement, image. ring. }
  assert (R : forall k, norm n (r k) <= q ^ k * norm n (r O)).
  { induction k; simpl; [lra |]. specialize (Step k). nra. }
  set (c := tau * norm n (r O) / (1 - q)).
  assert (Q : is_lim_seq (fun k => q ^ k) 0) by (apply is_lim_seq_geom; rewrite Rabs_right; lra).
  assert (C : forall k, distance n (limit_point s) (s k) <= c - (c - c * q ^ k)).
  { apply limit_close.
    - intros k. change (s (S k)) with (fun i => s k i - tau * r k i). rewrite <- norm_displacement.
      rewrite (norm_ext n _ (fun i => - (tau * r k i))) by (intros; unfold displacement; ring).
      rewrite norm_opp, norm_scale, Rabs_right by lra.
      replace (c - c * q ^ S k - (c - c * q ^ k)) with (tau * (q ^ k * norm n (r O)))
        by (unfold c; simpl; field; lra).
      apply Rmult_le_compat_l; [lra | apply R].
    - replace (Finite c) with (Finite (c - c * 0)) by (f_equal; ring).
      apply is_lim_seq_minus'; [apply is_lim_seq_const |]. apply is_lim_seq_mult'; auto.
      apply is_lim_seq_const. }
  apply distance_zero. apply Rle_antisym; [| apply distance_nonneg].
  change (Rbar_le (distance n (image A (limit_point s)) b) 0).
  apply is_lim_seq_le with (fun _ => distance n (image A (limit_point s)) b)
    (fun k => (L * c + norm n (r O)) * q ^ k); [| apply is_lim_seq_const |].
  - intros k. eapply Rle_trans; [apply (distance_triangle n _ (image A (s k))) |].
    rewrite <- (norm_displacement (image A (limit_point s))).
    rewrite (norm_ext n _ (image A (displacement (limit_point s) (s k))))
      by (intros; unfold displacement at 1; now rewrite image_displacement).
    specialize (B (displacement (limit_point s) (s k))). rewrite norm_displacement in B.
    specialize (C k). specialize (R k). unfold r in R at 1. rewrite norm_displacement in R. nra.
  - replace (Finite 0) with (Finite ((L * c + norm n (r O)) * 0)) by (f_equal; ring).
    apply is_lim_seq_mult'; auto. apply is_lim_seq_const.
Qed.

(** * A critical point, from what is known at a start *)

(** How far the simplified steps have got at most. *)
Fixpoint majorant (G mu M : R) (k : nat) : R :=
  match k with O => 0 | S k => (M * majorant G mu M k ^ 2 / 2 + G) / mu end.

Lemma critical_radius_root G mu M : 0 < mu -> b_kantorovich_number G mu M <= 1 / 2 -> 0 <= G ->
  0 <= b_critical_radius G mu M /\
  M * b_critical_radius G mu M ^ 2 / 2 + G = mu * b_critical_radius G mu M /\
  M * b_critical_radius G mu M <= mu.
Proof.
  intros Hmu Hh HG. unfold b_critical_radius, b_kantorovich_number in *.
  set (D := sqrt _). assert (HD : 0 <= D) by apply sqrt_pos.
  assert (E : D * D = 1 - 2 * G * M / mu ^ 2).
  { apply sqrt_sqrt. replace (2 * G * M / mu ^ 2) with (2 * (G * M / mu ^ 2)) by (field; lra).
    lra. }
  assert (E' : 2 * G * M = mu ^ 2 * (1 - D * D)) by (rewrite E; field; lra).
  split; [| split].
  - apply Rmult_le_pos; [lra | left; apply Rinv_0_lt_compat; nra].
  - replace (M * (2 * G / (mu * (1 + D))) ^ 2 / 2) with (2 * G * M * G / (mu ^ 2 * (1 + D) ^ 2))
      by (field; lra).
    rewrite E'. field. lra.
  - replace (M * (2 * G / (mu * (1 + D)))) with (2 * G * M / (mu * (1 + D))) by (field; lra).
    rewrite E'. apply div_le; nra.
Qed.

Lemma majorant_bounds G mu M r k : 0 < mu -> 0 <= M -> 0 <= G -> 0 <= r ->
  M * r ^ 2 / 2 + G = mu * r ->
  0 <= majorant G mu M k <= majorant G mu M (S k) /\ majorant G mu M (S k) <= r.
Proof.
  intros Hmu HM HG Hr E.
  assert (Mono : forall s t, 0 <= s <= t -> (M * s ^ 2 / 2 + G) / mu <= (M * t ^ 2 / 2 + G) / mu).
  { intros s t Hst. apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; auto |].
    assert (s ^ 2 <= t ^ 2) by (apply pow_incr; auto). nra. }
  assert (F : (M * r ^ 2 / 2 + G) / mu = r) by (rewrite E; field; lra).
  induction k as [| k [I J]].
  - simpl majorant. split; [split; [lra |] |].
    + apply le_div; [auto | lra].
    + rewrite <- F. apply Mono. lra.
  - change (majorant G mu M (S (S k))) with ((M * majorant G mu M (S k) ^ 2 / 2 + G) / mu). split.
    + split; [lra |]. apply Mono in I. exact I.
    + rewrite <- F. apply Mono. lra.
Qed.

Theorem p4_critical_radius start mu M G gradient hessian : 0 < mu -> 0 <= M ->
  norm n (gradient start) <= G -> b_kantorovich_number G mu M <= 1 / 2 ->
  smooth start (b_critical_radius G mu M) M gradient hessian ->
  eigenvalues_from mu (hessian start) ->
  exists z, distance n z start <= b_critical_radius G mu M /\ critical gradient z.
Proof.
  intros Hmu HM HG Hh F H. pose proof (norm_nonneg n (gradient start)) as Hg.
  destruct (critical_radius_root G mu M Hmu Hh) as (Hr & Er & _); [lra |].
  set (r := b_critical_radius G mu M) in *. set (A := hessian start).
  destruct (solvable A mu Hmu H) as [tau Solves].
  set (solution := fun b => limit_point (relaxed A tau b)).
  set (x := fix x k := match k with
    | O => start
    | S k => displacement (x k) (solution (gradient (x k)))
    end).
  set (t := majorant G mu M).
  assert (B : forall k, 0 <= t k <= t (S k) /\ t (S k) <= r)
    by (intros; apply majorant_bounds; lra).
  assert (E : forall k i, (i < n)%nat ->
    image A (displacement (x (S k)) (x k)) i = - gradient (x k) i).
  { intros k i Hi. rewrite image_displacement. simpl. rewrite image_displacement. unfold solution.
    rewrite Solves by auto. ring. }
  assert (P : forall k, distance n (x (S k)) (x k) <= t (S k) - t k /\
    distance n (x k) start <= t k).
  { induction k as [| k [I J]].
    - change (t O) with 0. change (x O) with start. rewrite distance_self. split; [| lra].
      pose proof (eigenvalues_image _ _ (displacement (x 1%nat) (x O)) H) as L. fold A in L.
      rewrite norm_displacement, (norm_ext n _ (fun i => - gradient start i)), norm_opp in L
        by (intros; rewrite E; auto).
      change (x O) with start in L. change (t 1%nat) with ((M * 0 ^ 2 / 2 + G) / mu).
      rewrite Rminus_0_r. apply le_div; auto. lra.
    - assert (K : distance n (x (S k)) start <= t (S k)).
      { pose proof (distance_triangle n (x (S k)) (x k) start). lra. }
      split; auto. destruct (B k) as [B0 B1].
      pose proof (hessian_remainder start r M gradient hessian (x k) (x (S k)) start F HM
        ltac:(lra) ltac:(lra) ltac:(rewrite distance_self; auto)) as R.
      pose proof (eigenvalues_image _ _ (displacement (x (S (S k)))
        (x (S k))) H) as L.
      rewrite norm_displacement in L. fold A in L, R.
      rewrite (norm_ext n _ (fun i => - gradient (x (S k)) i)), norm_opp in L
        by (intros; rewrite E; auto).
      rewrite <- norm_displacement, (norm_ext n _ (gradient (x (S k)))) in R.
      + change (t (S (S k)))
          with ((M * t (S k) ^ 2 / 2 + G) / mu).
        replace (t (S k)) with ((M * t k ^ 2 / 2 + G) / mu) at 2 by reflexivity.
        replace ((M * t (S k) ^ 2 / 2 + G) / mu - (M * t k ^ 2 / 2 + G) / mu)
          with (M * ((t k + t (S k)) / 2) * (t (S k) - t k) / mu)
          by (field; lra).
        apply le_div; auto. rewrite Rmult_comm. eapply Rle_trans; [exact L |].
        eapply Rle_trans; [exact R |].
        pose proof (distance_nonneg n (x (S k)) (x k)).
        pose proof (distance_nonneg n (x (S k)) start).
        pose proof (distance_nonneg n (x k) start).
        apply Rmult_le_compat; [nra | auto | | auto]. apply Rmult_le_compat_l; lra.
      + intros i Hi. unfold displacement at 1. rewrite E by auto. unfold displacement. ring. }
  destruct (ex_finite_lim_seq_incr t r) as [T L]; [apply B | intros k; destruct (B k); lra |].
  assert (HT : T <= r).
  { change (Rbar_le T r). apply is_lim_seq_le with t (fun _ => r); auto.
    - intros k. destruct (B k). lra.
    - apply is_lim_seq_const. }
  assert (C : forall k, distance n (limit_point x) (x k) <= T - t k)
    by (apply limit_close; [apply P | exact L]).
  assert (Z : distance n (limit_point x) start <= r).
  { specialize (C O). change (t O) with 0 in C. change (x O) with start in C. lra. }
  exists (limit_point x). split; auto.
  destruct (image_bounded A) as (K & HK & BK).
  assert (N : norm n (gradient (limit_point x)) = 0).
  { apply Rle_antisym; [| apply norm_nonneg].
    change (Rbar_le (norm n (gradient (limit_point x))) 0).
    apply is_lim_seq_le with (fun _ => norm n (gradient (limit_point x)))
      (fun k => (M * r + K) * (T - t k)); [| apply is_lim_seq_const |].
    - intros k. destruct (P k) as [_ D]. destruct (B k) as [B0 B1].
      pose proof (hessian_remainder start r M gradient hessian (x k) (limit_point x) start F HM
        ltac:(lra) Z ltac:(rewrite distance_self; auto)) as R. fold A in R.
      rewrite <- norm_displacement in R.
      pose proof (norm_triangle n
        (displacement (displacement (gradient (limit_point x)) (gradient (x k)))
          (image A (displacement (limit_point x) (x k))))
        (image A (displacement (limit_point x) (x (S k))))) as Sum.
      rewrite (norm_ext n _ (gradient (limit_point x))) in Sum.
      + specialize (BK (displacement (limit_point x) (x (S k)))). rewrite norm_displacement in BK.
        pose proof (C k). pose proof (C (S k)).
        pose proof (distance_nonneg n (limit_point x) (x k)).
        pose proof (distance_nonneg n (limit_point x) start).
        pose proof (distance_nonneg n (x k) start).
        assert (M * ((distance n (x k) start + distance n (limit_point x) start) / 2)
          * distance n (limit_point x) (x k) <= M * r * (T - t k)).
        { apply Rmult_le_compat; [nra | auto | | auto]. apply Rmult_le_compat_l; lra. }
        assert (K * distance n (limit_point x) (x (S k)) <= K * (T - t k))
          by (apply Rmult_le_compat_l; lra).
        lra.
      + intros i Hi. specialize (E k i Hi). rewrite image_displacement in E |- *.
        unfold displacement. fold (displacement (limit_point x) (x k)).
        rewrite image_displacement. lra.
    - replace (Finite 0) with (Finite ((M * r + K) * (T - T))) by (f_equal; ring).
      apply is_lim_seq_mult'; [apply is_lim_seq_const |].
      apply is_lim_seq_minus'; [apply is_lim_seq_const | exact L]. }
  intros i Hi. pose proof (entry_le n (gradient (limit_point x)) i Hi) as Le. rewrite N in Le.
  apply Rabs_bounds in Le. lra.
Qed.

(** The only one within mu / M of the start. *)
Theorem p4_kantorovich_unique start r mu M gradient hessian y z : 0 < mu -> 0 <= M -> M * r <= mu ->
  smooth start r M gradient hessian -> eigenvalues_from mu (hessian start) ->
  distance n y start <= r -> distance n z start <= r ->
  critical gradient y -> critical gradient z -> forall i, (i < n)%nat -> y i = z i.
Proof.
  intros Hmu HM Hr F H Dy Dz Y Z. apply distance_zero.
  set (m := point_along z (displacement y z) (1 / 2)). set (e := distance n y z).
  set (a := distance n y start) in *. set (b := distance n z start) in *.
  set (c := distance n m start).
  assert (He : 0 <= e) by apply distance_nonneg. assert (Ha : 0 <= a) by apply distance_nonneg.
  assert (Hb : 0 <= b) by apply distance_nonneg. assert (Hc : 0 <= c) by apply distance_nonneg.
  assert (Mid : c * c = (a * a + b * b) / 2 - e * e / 4).
  { unfold a, b, c, e, m. rewrite !distance_square. unfold squared_distance.
    rewrite along_displacement. unfold Rdiv. rewrite <- fsum_plus, <- !fsum_scale_r, <- fsum_minus.
    apply fsum_ext. intros. field. }
  assert (Half : distance n m z = e / 2 /\ distance n y m = e / 2).
  { unfold e, m. rewrite along_displacement, <- !norm_displacement.
    replace (norm n (displacement y z) / 2) with (norm n (fun i => / 2 * displacement y z i))
      by (rewrite norm_scale, Rabs_right; lra).
    split; apply norm_ext; intros; unfold displacement; field. }
  assert (Cr : c <= r) by nra.
  assert (Sr : distance n start start <= r) by (rewrite distance_self; lra).
  pose proof (hessian_remainder start r M gradient hessian z m start F HM Dz Cr Sr) as R1.
  pose proof (hessian_remainder start r M gradient hessian m y start F HM Cr Dy Sr) as R2.
  rewrite (proj1 Half) in R1. rewrite (proj2 Half) in R2. fold a b c in R1, R2.
  rewrite <- norm_displacement in R1, R2.
  set (u1 := displacement _ _) in R1. set (u2 := displacement _ _) in R2.
  pose proof (norm_triangle n u1 u2) as Sum.
  rewrite (norm_ext n _ (fun i => - image (hessian start) (displacement y z) i)), norm_opp in Sum.
  - pose proof (eigenvalues_image _ _ (displacement y z) H) as A.
    rewrite norm_displacement in A. fold e in A.
    destruct He as [He | He]; [| auto]. exfalso.
    assert (c < r) by nra.
    assert (mu * e <= M * ((a + b + 2 * c) / 4) * e) by lra.
    assert (mu <= M * ((a + b + 2 * c) / 4)) by (apply Rmult_le_reg_r with e; auto).
    assert (M * ((a + b + 2 * c) / 4) < mu); [| lra].
    destruct HM as [HM | <-]; [| lra]. apply Rlt_le_trans with (M * r); [| auto].
    apply Rmult_lt_compat_l; lra.
  - intros i Hi. specialize (Y i Hi). specialize (Z i Hi). unfold u1, u2.
    change (gradient m i - gradient z i - image (hessian start) (displacement m z) i
      + (gradient y i - gradient m i - image (hessian start) (displacement y m) i)
      = - image (hessian start) (displacement y z) i).
    rewrite !image_displacement. lra.
Qed.

(** The change of the Hessian over Newton's step, relative to it. *)
Theorem p4_kantorovich_number start next r mu M gradient hessian v w : 0 < mu -> 0 <= M ->
  smooth start r M gradient hessian -> eigenvalues_from mu (hessian start) ->
  norm n (gradient start) <= mu * r -> newton_step (hessian start) gradient start next ->
  (forall i, (i < n)%nat ->
    image (hessian start) w i = image (hessian next) v i - image (hessian start) v i) ->
  norm n w <= b_kantorovich_number (norm n (gradient start)) mu M * norm n v.
Proof.
  intros Hmu HM [_ L] H Hr E W. unfold b_kantorovich_number.
  set (g := norm n (gradient start)) in *.
  pose proof (eigenvalues_image _ _ (displacement start next) H) as S.
  rewrite norm_displacement, distance_sym, (norm_ext n _ (gradient start)) in S by exact E.
  fold g in S.
  assert (D : distance n next start <= g / mu) by (apply le_div; lra).
  assert (Hg : g / mu <= r) by (apply div_le; lra).
  assert (C : distance n start start <= r)
    by (rewrite distance_self; pose proof (distance_nonneg n next start); lra).
  pose proof (eigenvalues_image _ _ w H) as A.
  rewrite (norm_ext n (image _ w) (displacement (image (hessian next) v) (image (hessian start) v)))
    in A by exact W.
  rewrite norm_displacement in A. specialize (L next start v ltac:(lra) C).
  assert (M * distance n next start * norm n v <= M * (g / mu) * norm n v).
  { apply Rmult_le_compat_r; [apply norm_nonneg |]. apply Rmult_le_compat_l; auto. }
  replace (g * M / mu ^ 2 * norm n v) with (M * (g / mu) * norm n v / mu) by (field; lra).
  apply le_div; lra.
Qed.

End Points.

(** * Attained *)

(** In one dimension: c x + b x^2 / 2 + a x^3 / 6. *)
Definition parabola (a b c : R) (x : nat -> R) (i : nat) : R := c + b * x O + a * x O ^ 2 / 2.
Definition parabola_hessian (a b : R) (x : nat -> R) (i j : nat) : R := b + a * x O.

Lemma image_line A v i : image 1 A v i = A i O * v O.
Proof. unfold image, dot. cbn [fsum]. ring. Qed.

Lemma smooth_parabola a b c centre r M : Rabs a = M ->
  smooth 1 centre r M (parabola a b c) (parabola_hessian a b).
Proof.
  intros <-. split.
  - intros x d t i _ _. rewrite image_line. unfold parabola, parabola_hessian, point_along.
    auto_derive; [auto | field].
  - intros x y v _ _. rewrite !distance_line, norm_one, !image_line, <- !Rabs_mult.
    unfold parabola_hessian. right. f_equal. ring.
Qed.

Lemma eigenvalues_parabola a b x : eigenvalues_from 1 (b + a * x O) (parabola_hessian a b x).
Proof.
  intros v. rewrite norm_one, pow2_abs. unfold dot. cbn [fsum]. rewrite image_line.
  unfold parabola_hessian. lra.
Qed.

Lemma newton_step_parabola a b c x y : b + a * x O <> 0 ->
  y O = x O - parabola a b c x O / (b + a * x O) ->
  newton_step 1 (parabola_hessian a b x) (parabola a b c) x y.
Proof.
  intros H E i _. rewrite image_line. unfold displacement. rewrite E.
  unfold parabola_hessian, parabola.
  field. auto.
Qed.

(** The gradient mu x - M x^2 / 2 is 0 at 0; from e > 0 a Newton step leads to the other side. *)
Theorem p4_newton_attained e mu M : 0 <= e -> 0 <= M -> M * e < mu ->
  let z := fun _ => 0 in let x := fun _ => e in
  let y := fun _ => - b_newton_error e mu M in
  smooth 1 z (distance 1 x z) M (parabola (- M) mu 0) (parabola_hessian (- M) mu) /\
  critical 1 (parabola (- M) mu 0) z /\ eigenvalues_from 1 mu (parabola_hessian (- M) mu z) /\
  newton_step 1 (parabola_hessian (- M) mu x) (parabola (- M) mu 0) x y /\
  distance 1 x z = e /\ distance 1 y z = b_newton_error e mu M.
Proof.
  intros He HM H z x y. split; [| split; [| split; [| split; [| split]]]].
  - apply smooth_parabola. rewrite Rabs_Ropp. apply Rabs_right. lra.
  - intros i _. unfold parabola, z. field.
  - replace mu with (mu + - M * z O) at 1 by (unfold z; ring). apply eigenvalues_parabola.
  - apply newton_step_parabola; unfold x, y, parabola, b_newton_error; [lra | field; lra].
  - rewrite distance_line. unfold x, z. rewrite Rminus_0_r, Rabs_right; lra.
  - rewrite distance_line. unfold y, z. rewrite Rminus_0_r, Rabs_Ropp, Rabs_right; [reflexivity |].
    apply Rle_ge. unfold b_newton_error. apply le_div; nra.
Qed.

(** From 2 mu / (3 M) on, steps come no nearer: from this start y they lead to - y. *)
Theorem p4_basin_attained mu M : 0 < mu -> 0 < M ->
  let z := fun _ => 0 in let x := fun _ => / b_basin_reciprocal mu M in
  let y := fun _ => - / b_basin_reciprocal mu M in
  smooth 1 z (distance 1 x z) M (parabola (- M) mu 0) (parabola_hessian (- M) mu) /\
  critical 1 (parabola (- M) mu 0) z /\ eigenvalues_from 1 mu (parabola_hessian (- M) mu z) /\
  newton_step 1 (parabola_hessian (- M) mu x) (parabola (- M) mu 0) x y /\
  0 < distance 1 x z <= distance 1 y z /\ / distance 1 x z = b_basin_reciprocal mu M.
Proof.
  intros Hmu HM z x y. set (e := / b_basin_reciprocal mu M) in *.
  assert (E : e = 2 * mu / (3 * M)) by (unfold e, b_basin_reciprocal; field; lra).
  assert (He : 0 < e) by (rewrite E; apply Rdiv_lt_0_compat; lra).
  assert (Me : M * e = 2 * mu / 3) by (rewrite E; field; lra).
  assert (B : b_newton_error e mu M = e).
  { unfold b_newton_error. replace (M * e ^ 2) with (M * e * e) by ring.
    replace (2 * e * M) with (2 * (M * e)) by ring. rewrite Me. field. lra. }
  pose proof (p4_newton_attained e mu M ltac:(lra) ltac:(lra) ltac:(lra)) as A. rewrite B in A.
  destruct A as (F & Z & H & S & D & D').
  split; [exact F | split; [exact Z | split; [exact H | split; [exact S | split]]]];
    fold z x y in D, D' |- *.
  - rewrite D, D'. lra.
  - rewrite D. unfold e. apply Rinv_involutive. unfold b_basin_reciprocal.
    apply Rgt_not_eq, Rdiv_lt_0_compat; lra.
Qed.

(** The gradient G + mu x + M x^2 / 2 has no zero that is nearer to 0 than the critical radius. *)
Theorem p4_critical_radius_attained mu M G : 0 < mu -> 0 <= M -> 0 <= G ->
  b_kantorovich_number G mu M <= 1 / 2 ->
  let start := fun _ => 0 in
  smooth 1 start (b_critical_radius G mu M) M (parabola M mu G) (parabola_hessian M mu) /\
  norm 1 (parabola M mu G start) = G /\ eigenvalues_from 1 mu (parabola_hessian M mu start) /\
  (forall z, critical 1 (parabola M mu G) z -> b_critical_radius G mu M <= distance 1 z start).
Proof.
  intros Hmu HM HG Hh start.
  destruct (critical_radius_root G mu M Hmu Hh HG) as (Hr & E & Small).
  set (r := b_critical_radius G mu M) in *. split; [| split; [| split]].
  - apply smooth_parabola, Rabs_right. lra.
  - rewrite norm_one. unfold parabola, start. rewrite Rabs_right; lra.
  - replace mu with (mu + M * start O) at 1 by (unfold start; ring). apply eigenvalues_parabola.
  - intros z Z. specialize (Z O Nat.lt_0_1). unfold parabola in Z. rewrite distance_line.
    unfold start. rewrite Rminus_0_r. set (x := z O) in *.
    destruct (Rle_lt_dec r (Rabs x)) as [C | C]; [exact C | exfalso].
    apply Rabs_def2 in C. assert (M * (r - x) / 2 < mu) by nra.
    assert (0 < (r + x) * (mu - M * (r - x) / 2)) by (apply Rmult_lt_0_compat; lra). nra.
Qed.

(** Its Hessian changes by M G / mu over the Newton step - G / mu. *)
Theorem p4_kantorovich_number_attained mu M G r : 0 < mu -> 0 <= M -> 0 <= G <= mu * r ->
  let start := fun _ => 0 in let next := fun _ => - (G / mu) in
  let v := fun _ => 1 in let w := fun _ => - b_kantorovich_number G mu M in
  smooth 1 start r M (parabola M mu G) (parabola_hessian M mu) /\
  norm 1 (parabola M mu G start) = G /\ eigenvalues_from 1 mu (parabola_hessian M mu start) /\
  newton_step 1 (parabola_hessian M mu start) (parabola M mu G) start next /\
  image 1 (parabola_hessian M mu start) w O
    = image 1 (parabola_hessian M mu next) v O - image 1 (parabola_hessian M mu start) v O /\
  norm 1 w = b_kantorovich_number G mu M * norm 1 v.
Proof.
  intros Hmu HM HG start next v w.
  split; [| split; [| split; [| split; [| split]]]].
  - apply smooth_parabola, Rabs_right. lra.
  - rewrite norm_one. unfold parabola, start. rewrite Rabs_right; lra.
  - replace mu with (mu + M * start O) at 1 by (unfold start; ring). apply eigenvalues_parabola.
  - apply newton_step_parabola; unfold start, next, parabola; [lra | field; lra].
  - rewrite !image_line. unfold parabola_hessian, start, next, v, w, b_kantorovich_number.
    field. lra.
  - rewrite !norm_one. unfold v, w. rewrite Rabs_Ropp, Rabs_R1, Rmult_1_r.
    apply Rabs_right, Rle_ge. unfold b_kantorovich_number. apply le_div; nra.
Qed.
