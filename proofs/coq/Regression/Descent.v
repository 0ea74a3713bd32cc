(** Gradient steps near a critical point (claim P4.descent).

    Steps: (1) a symmetric A with its eigenvalues in [mu, L] and tau (L + mu) <= 2 make
    v - tau A v at most (1 - tau mu) |v| long; (2) the gradient at x differs from A (x - z), A the
    Hessian at the critical point z, by at most M e^2 / 2, e = |x - z|; (3) with theta = M e / (2 mu)
    a step leaves e (1 - tau mu (1 - theta)), so that e / (1 - theta) shrinks by
    1 - tau mu / (1 + tau mu theta); (4) 1 - x <= exp (- x). *)

Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Regression Require Import Newton Banach.
Open Scope R_scope.

Section Descent.

Variable n : nat.

(** No eigenvalue of the form of A is above L. *)
Definition eigenvalues_to (L : R) (A : nat -> nat -> R) : Prop :=
  forall v, dot n v (image n A v) <= L * norm n v ^ 2.

(** y is where a gradient step of the rate tau from x leads. *)
Definition gradient_step (tau : R) (gradient : (nat -> R) -> nat -> R) (x y : nat -> R) : Prop :=
  forall i, (i < n)%nat -> y i = x i - tau * gradient x i.

(** * Step 1 *)

Lemma relaxed_length A tau mu L v : symmetric_matrix n A -> eigenvalues_from n mu A ->
  eigenvalues_to L A -> 0 <= tau -> mu <= L -> tau * (L + mu) <= 2 ->
  norm n (fun i => v i - tau * image n A v i) <= (1 - tau * mu) * norm n v.
Proof.
  intros S Low High Ht HL HT. assert (K : 0 <= 1 - tau * mu) by nra.
  set (B := fun i j => identity i j - tau * A i j).
  assert (I : forall x i, (i < n)%nat -> image n B x i = x i - tau * image n A x i).
  { intros x i Hi. transitivity (dot n (identity i) x - tau * image n A x i).
    - unfold image, B, dot. rewrite <- fsum_scale, <- fsum_minus. apply fsum_ext. intros. ring.
    - now rewrite dot_identity. }
  rewrite <- (norm_ext n (image n B v)) by (intros; apply I; auto).
  apply symmetric_operator_norm; auto.
  - intros i j Hi Hj. unfold B, identity. rewrite Nat.eqb_sym, (S i j) by auto. reflexivity.
  - intros x. rewrite (dot_ext n x _ _ (I x)).
    replace (dot n x (fun i => x i - tau * image n A x i))
      with (norm n x ^ 2 - tau * dot n x (image n A x)).
    2: { rewrite <- dot_length. unfold dot. rewrite <- fsum_scale, <- fsum_minus.
         apply fsum_ext. intros. ring. }
    specialize (Low x). specialize (High x). pose proof (pow2_ge_0 (norm n x)).
    assert (tau * (mu * norm n x ^ 2) <= tau * dot n x (image n A x))
      by (apply Rmult_le_compat_l; auto).
    assert (tau * dot n x (image n A x) <= tau * (L * norm n x ^ 2))
      by (apply Rmult_le_compat_l; auto).
    assert (tau * (L + mu) * norm n x ^ 2 <= 2 * norm n x ^ 2)
      by (apply Rmult_le_compat_r; auto).
    apply Rabs_le. split; nra.
Qed.

(** * Step 2 *)

Theorem p4_gradient_step_error z x y tau mu L M gradient hessian : 0 <= tau -> mu <= L ->
  tau * (L + mu) <= 2 -> 0 <= M -> smooth n z (distance n x z) M gradient hessian ->
  critical n gradient z -> symmetric_matrix n (hessian z) ->
  eigenvalues_from n mu (hessian z) -> eigenvalues_to L (hessian z) ->
  gradient_step tau gradient x y ->
  distance n y z <= b_gradient_step_error (distance n x z) tau mu M.
Proof.
  intros Ht HL HT HM F Z S Low High E. set (e := distance n x z) in *.
  assert (He : 0 <= e) by apply distance_nonneg.
  pose proof (hessian_remainder n z e M gradient hessian z x z F HM
    ltac:(rewrite distance_self; auto) (Rle_refl e) ltac:(rewrite distance_self; auto)) as R.
  rewrite distance_self in R. fold e in R. rewrite <- norm_displacement in R.
  pose proof (relaxed_length (hessian z) tau mu L (displacement x z) S Low High Ht HL HT) as Q.
  rewrite norm_displacement in Q. fold e in Q. rewrite <- norm_displacement.
  set (w := displacement (displacement (gradient x) (gradient z))
    (image n (hessian z) (displacement x z))) in *.
  rewrite (norm_ext n _ (fun i =>
    (displacement x z i - tau * image n (hessian z) (displacement x z) i) + - tau * w i)).
  - eapply Rle_trans; [apply norm_triangle |]. rewrite norm_scale, Rabs_Ropp, Rabs_right by lra.
    assert (tau * norm n w <= tau * (M * ((0 + e) / 2) * e)) by (apply Rmult_le_compat_l; auto).
    unfold b_gradient_step_error. lra.
  - intros i Hi. specialize (E i Hi). specialize (Z i Hi). unfold w, displacement at 1 2 4 5.
    rewrite E, Z. ring.
Qed.

(** From no larger distance than 2 mu / M does every step come nearer. *)
Theorem p4_gradient_basin z x y tau mu L M gradient hessian : 0 < tau -> 0 < mu -> mu <= L ->
  tau * (L + mu) <= 2 -> 0 <= M -> smooth n z (distance n x z) M gradient hessian ->
  critical n gradient z -> symmetric_matrix n (hessian z) ->
  eigenvalues_from n mu (hessian z) -> eigenvalues_to L (hessian z) ->
  gradient_step tau gradient x y -> 0 < distance n x z <= distance n y z ->
  / distance n x z <= b_gradient_basin_reciprocal mu M.
Proof.
  intros Ht Hmu HL HT HM F Z S Low High E [P D].
  pose proof (p4_gradient_step_error z x y tau mu L M gradient hessian ltac:(lra) HL HT HM F Z S Low
    High E) as B.
  unfold b_gradient_step_error, b_gradient_basin_reciprocal in *. set (e := distance n x z) in *.
  assert (G : 0 <= e * (tau * (e * M / 2 - mu))) by nra.
  assert (K : mu <= e * M / 2).
  { destruct (Rle_lt_dec mu (e * M / 2)) as [C | C]; auto.
    assert (0 < e * (tau * (mu - e * M / 2)))
      by (apply Rmult_lt_0_compat; [lra | apply Rmult_lt_0_compat; lra]). lra. }
  apply le_div; [lra |]. apply Rmult_le_reg_l with e; auto.
  replace (e * (/ e * (2 * mu))) with (2 * mu) by (field; lra). lra.
Qed.

(** * Step 3 *)

Lemma shrinks t e e' s th : 0 <= t -> 0 <= e -> 0 < s <= 1 -> 0 <= e' ->
  e' <= e * (1 - s * (1 - e * t)) -> e * t <= th -> th < 1 ->
  e' / (1 - e' * t) <= (1 - s / (1 + s * th)) * (e / (1 - e * t)) /\ e' <= e.
Proof.
  intros Ht He Hs He' Hle Hth H1. set (h := e * t) in *.
  assert (Hh : 0 <= h) by (unfold h; apply Rmult_le_pos; auto).
  assert (Le : e' <= e).
  { assert (0 <= e * (s * (1 - h))) by (apply Rmult_le_pos; [| apply Rmult_le_pos]; lra). lra. }
  split; [| exact Le].
  set (a := e * (1 - s * (1 - h))) in *.
  assert (A : 1 - a * t = (1 - h) * (1 + s * h)) by (unfold a, h; ring).
  assert (Pa : 0 < 1 - a * t) by (rewrite A; apply Rmult_lt_0_compat; nra).
  assert (Pe : 0 < 1 - e' * t) by nra.
  apply Rle_trans with (a / (1 - a * t)).
  - apply div_le; auto. replace (a / (1 - a * t) * (1 - e' * t))
      with (a * (1 - e' * t) / (1 - a * t)) by (field; lra).
    apply le_div; auto. nra.
  - rewrite A. replace (a / ((1 - h) * (1 + s * h)))
      with ((1 - s / (1 + s * h)) * (e / (1 - h))) by (unfold a; field; nra).
    apply Rmult_le_compat_r.
    + apply le_div; lra.
    + assert (s / (1 + s * th) <= s / (1 + s * h)); [| lra].
      apply Rmult_le_compat_l; [lra |]. apply Rinv_le_contravar; nra.
Qed.

(** * Step 4 *)

Theorem p4_gradient_steps z (x : nat -> nat -> R) tau mu L M gradient hessian accuracy k :
  0 < tau -> 0 < mu -> mu <= L -> tau * (L + mu) <= 2 -> 0 <= M ->
  smooth n z (distance n (x O) z) M gradient hessian -> critical n gradient z ->
  symmetric_matrix n (hessian z) -> eigenvalues_from n mu (hessian z) ->
  eigenvalues_to L (hessian z) -> (forall j, gradient_step tau gradient (x j) (x (S j))) ->
  distance n (x O) z * b_gradient_basin_reciprocal mu M < 1 ->
  0 < accuracy < distance n (x k) z ->
  INR k
    <= b_gradient_steps (distance n (x O) z) (distance n (x O) z / accuracy) tau mu M.
Proof.
  intros Ht Hmu HL HT HM F Z Sy Low High E N [Pa Ha].
  set (e := fun j => distance n (x j) z). assert (He : forall j, 0 <= e j)
    by (intros; apply distance_nonneg).
  set (t := M / (2 * mu)). set (s := tau * mu). set (th := e O * t).
  assert (Pt : 0 <= t) by (apply le_div; lra).
  assert (Ps : 0 < s <= 1) by (unfold s; split; [apply Rmult_lt_0_compat; auto | nra]).
  assert (Pth : 0 <= th) by (apply Rmult_le_pos; auto).
  change (e O * t < 1) in N. fold th in N.
  set (q := 1 - s / (1 + s * th)).
  assert (Pq : 0 <= q).
  { unfold q. assert (s / (1 + s * th) <= 1) by (apply div_le; nra). lra. }
  assert (I : forall j, e j <= e O /\ e j / (1 - e j * t) <= q ^ j * (e O / (1 - th))).
  { induction j as [| j [I J]].
    - split; [lra |]. simpl. fold th. lra.
    - pose proof (p4_gradient_step_error z (x j) (x (S j)) tau mu L M gradient hessian ltac:(lra) HL
        HT HM (smooth_within n z _ (e j) M gradient hessian F I) Z Sy Low High (E j)) as B.
      fold (e j) (e (S j)) in B.
      assert (H : e (S j) <= e j * (1 - s * (1 - e j * t))).
      { eapply Rle_trans; [exact B |]. unfold b_gradient_step_error, s, t. right. field. lra. }
      destruct (shrinks t (e j) (e (S j)) s th Pt (He j) Ps (He (S j)) H) as [U V]; auto.
      { unfold th. apply Rmult_le_compat_r; auto. }
      split; [lra |]. simpl. fold q in U. eapply Rle_trans; [exact U |].
      rewrite Rmult_assoc. apply Rmult_le_compat_l; auto. }
  destruct (I k) as [I0 I1]. fold (e k) in Ha.
  assert (Small : e k * t <= th) by (unfold th; apply Rmult_le_compat_r; auto).
  assert (Up : e k <= e k / (1 - e k * t)).
  { apply le_div; [lra |]. assert (0 <= e k * (e k * t)) by (apply Rmult_le_pos; auto;
      apply Rmult_le_pos; auto). lra. }
  set (c := / s + th). assert (Pc : 0 < c).
  { unfold c. assert (0 < / s) by (apply Rinv_0_lt_compat; lra). lra. }
  assert (Q : q ^ k <= exp (- INR k * / c)).
  { assert (Q1 : q <= exp (- / c)).
    { replace q with (1 + - / c) by (unfold q, c; field; nra). left. apply exp_ineq1.
      assert (0 < / c) by (apply Rinv_0_lt_compat; auto). lra. }
    apply Rle_trans with (exp (- / c) ^ k); [apply pow_incr; auto |].
    rewrite <- (Rpower_pow k) by apply exp_pos. unfold Rpower. rewrite ln_exp. right. f_equal.
    ring. }
  set (u := e O / (1 - th)) in *.
  assert (Pu : 0 < u).
  { assert (0 < e O) by lra. apply Rdiv_lt_0_compat; lra. }
  assert (Fin : accuracy < exp (- INR k * / c) * u).
  { apply Rlt_le_trans with (e k); auto. eapply Rle_trans; [exact Up |].
    eapply Rle_trans; [exact I1 |]. apply Rmult_le_compat_r; lra. }
  assert (Lg : ln accuracy < - INR k * / c + ln u).
  { rewrite <- (ln_exp (- INR k * / c)), <- ln_mult by (auto; apply exp_pos).
    apply ln_increasing; auto. }
  replace (b_gradient_steps (distance n (x O) z) (distance n (x O) z / accuracy) tau mu M)
    with (c * (ln u - ln accuracy)).
  - replace (INR k) with (c * (INR k * / c)) by (field; lra). apply Rmult_le_compat_l; lra.
  - unfold b_gradient_steps. fold (e O).
    replace (1 / (mu * tau) + e O * M / (2 * mu)) with c
      by (unfold c, s, th, t; field; lra).
    f_equal. replace (e O / accuracy / (1 - e O * M / (2 * mu))) with (u * / accuracy).
    + rewrite ln_mult, ln_Rinv by (auto; apply Rinv_0_lt_compat; auto). ring.
    + replace (e O * M / (2 * mu)) with th by (unfold th, t; field; lra). unfold u. field. lra.
Qed.

End Descent.

(** * Attained *)

(** The gradient mu x - M x^2 / 2, with both eigenvalue bounds mu. *)
Theorem p4_gradient_step_attained e tau mu M : 0 <= e -> 0 <= M -> 0 <= tau -> tau * mu <= 1 ->
  let z := fun _ => 0 in let x := fun _ => e in
  let y := fun _ => b_gradient_step_error e tau mu M in
  smooth 1 z (distance 1 x z) M (parabola (- M) mu 0) (parabola_hessian (- M) mu) /\
  critical 1 (parabola (- M) mu 0) z /\ symmetric_matrix 1 (parabola_hessian (- M) mu z) /\
  eigenvalues_from 1 mu (parabola_hessian (- M) mu z) /\
  eigenvalues_to 1 mu (parabola_hessian (- M) mu z) /\
  gradient_step 1 tau (parabola (- M) mu 0) x y /\
  distance 1 x z = e /\ distance 1 y z = b_gradient_step_error e tau mu M.
Proof.
  intros He HM Ht H z x y.
  split; [| split; [| split; [| split; [| split; [| split; [| split]]]]]].
  - apply smooth_parabola. rewrite Rabs_Ropp. apply Rabs_right. lra.
  - intros i _. unfold parabola, z. field.
  - intros i j _ _. reflexivity.
  - replace mu with (mu + - M * z O) at 1 by (unfold z; ring). apply eigenvalues_parabola.
  - intros v. rewrite norm_one, pow2_abs. unfold dot. cbn [fsum]. rewrite image_line.
    unfold parabola_hessian, z. lra.
  - intros i _. unfold x, y, parabola, b_gradient_step_error. field.
  - rewrite distance_line. unfold x, z. rewrite Rminus_0_r, Rabs_right; lra.
  - rewrite distance_line. unfold y, z. rewrite Rminus_0_r, Rabs_right; [reflexivity |].
    apply Rle_ge. unfold b_gradient_step_error. apply Rmult_le_pos; auto.
    assert (0 <= e * M * tau) by (repeat apply Rmult_le_pos; auto). lra.
Qed.

(** From 2 mu / M it does not move. *)
Theorem p4_gradient_basin_attained tau mu M : 0 < mu -> 0 < M -> 0 < tau -> tau * mu <= 1 ->
  let z := fun _ => 0 in let x := fun _ => / b_gradient_basin_reciprocal mu M in
  smooth 1 z (distance 1 x z) M (parabola (- M) mu 0) (parabola_hessian (- M) mu) /\
  critical 1 (parabola (- M) mu 0) z /\ symmetric_matrix 1 (parabola_hessian (- M) mu z) /\
  eigenvalues_from 1 mu (parabola_hessian (- M) mu z) /\
  eigenvalues_to 1 mu (parabola_hessian (- M) mu z) /\
  gradient_step 1 tau (parabola (- M) mu 0) x x /\
  0 < distance 1 x z /\ / distance 1 x z = b_gradient_basin_reciprocal mu M.
Proof.
  intros Hmu HM Ht H z x. set (e := / b_gradient_basin_reciprocal mu M) in *.
  assert (E : e = 2 * mu / M) by (unfold e, b_gradient_basin_reciprocal; field; lra).
  assert (He : 0 < e) by (rewrite E; apply Rdiv_lt_0_compat; lra).
  assert (B : b_gradient_step_error e tau mu M = e)
    by (unfold b_gradient_step_error; rewrite E; field; lra).
  pose proof (p4_gradient_step_attained e tau mu M ltac:(lra) ltac:(lra) ltac:(lra) H) as A.
  rewrite B in A. destruct A as (F & Z & S & Low & High & St & D & _).
  split; [exact F | split; [exact Z | split; [exact S | split; [exact Low | split; [exact High |
    split; [exact St | split]]]]]]; fold z x in D |- *; rewrite D; [exact He |].
  unfold e. apply Rinv_involutive. unfold b_gradient_basin_reciprocal.
  apply Rgt_not_eq, Rdiv_lt_0_compat; lra.
Qed.
