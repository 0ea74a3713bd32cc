(** A critical point's distance in one basis, from a proof in another (claim P4.affine).

    In the basis S the function is that of S w.  Steps: (1) <d', H' d'> = <d, H d> and
    <d', g'> = <d, g> where d = S d'; (2) with w' the critical point of Kantorovich's theorem in the
    basis and d' = w' - start, <d', H' d'> - M |d'|^3 / 2 <= - <d', g'>, by the remainder of the
    gradient; (3) M |d'|^3 / 2 is at most a share M r' / (2 mu') = (1 - sqrt (1 - 2 h)) / 2 of
    <d', H' d'>, which is <d, H d> >= mu |d|^2. *)

Require Import Reals Lra FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Regression Require Import Newton.
Open Scope R_scope.

Section Basis.

Variable n : nat.
Variable S : nat -> nat -> R.

(** S^T v *)
Definition pulled (v : nat -> R) (i : nat) : R := fsum n (fun k => S k i * v k).

(** The gradient and the Hessian of the function of S w. *)
Definition gradient_in (gradient : (nat -> R) -> nat -> R) (w : nat -> R) : nat -> R :=
  pulled (gradient (image n S w)).
Definition hessian_in (hessian : (nat -> R) -> nat -> nat -> R) (w : nat -> R) (i j : nat) : R :=
  pulled (fun k => fsum n (fun l => hessian (image n S w) k l * S l j)) i.

(** * Step 1 *)

Lemma dot_pulled u v : dot n u (pulled v) = dot n (image n S u) v.
Proof.
  unfold dot at 1, pulled, image.
  rewrite (fsum_ext n _ (fun i => fsum n (fun k => u i * S k i * v k)))
    by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
  rewrite fsum_swap. apply fsum_ext. intros k _. unfold dot. rewrite <- fsum_scale_r.
  apply fsum_ext. intros. ring.
Qed.

Lemma image_hessian_in hessian w d i : image n (hessian_in hessian w) d i
  = pulled (image n (hessian (image n S w)) (image n S d)) i.
Proof.
  unfold image at 1, hessian_in, pulled, dot at 1.
  rewrite (fsum_ext n _ (fun j => fsum n (fun k => S k i * (fsum n (fun l =>
    hessian (image n S w) k l * S l j)) * d j)))
    by (intros; now rewrite fsum_scale_r).
  rewrite fsum_swap. apply fsum_ext. intros k _. unfold image at 3, dot at 1.
  transitivity (S k i * fsum n (fun j => fsum n (fun l => hessian (image n S w) k l * (S l j * d j)))).
  - rewrite <- fsum_scale. apply fsum_ext. intros j _. rewrite <- fsum_scale, <- fsum_scale_r, <- fsum_scale.
    apply fsum_ext. intros. ring.
  - f_equal. rewrite fsum_swap. apply fsum_ext. intros l _. unfold image, dot. now rewrite fsum_scale.
Qed.

Lemma form_in hessian w d : dot n d (image n (hessian_in hessian w) d)
  = dot n (image n S d) (image n (hessian (image n S w)) (image n S d)).
Proof.
  rewrite (dot_ext n d _ _ (fun i _ => image_hessian_in hessian w d i)). apply dot_pulled.
Qed.

(** * Steps 2 and 3 *)

Theorem p4_affine_radius start mu mu' M G G' gradient hessian : 0 < mu -> 0 < mu' -> 0 <= M ->
  (forall v, (forall i, (i < n)%nat -> pulled v i = 0) -> forall i, (i < n)%nat -> v i = 0) ->
  norm n (gradient (image n S start)) <= G ->
  eigenvalues_from n mu (hessian (image n S start)) ->
  norm n (gradient_in gradient start) <= G' -> b_kantorovich_number G' mu' M <= 1 / 2 ->
  smooth n start (b_critical_radius G' mu' M) M (gradient_in gradient) (hessian_in hessian) ->
  eigenvalues_from n mu' (hessian_in hessian start) ->
  exists z, critical n gradient z /\
    distance n z (image n S start) <= b_affine_radius G mu (b_kantorovich_number G' mu' M).
Proof.
  intros Hmu Hmu' HM Inj HG Low HG' Hh F Low'.
  assert (PG' : 0 <= G') by (eapply Rle_trans; [apply norm_nonneg | exact HG']).
  destruct (p4_critical_radius n start mu' M G' (gradient_in gradient) (hessian_in hessian)
    Hmu' HM HG' Hh F Low') as (w & Dw & Cw).
  destruct (critical_radius_root G' mu' M Hmu' Hh PG') as (Pr & Er & Mr).
  set (r := b_critical_radius G' mu' M) in *.
  set (h := b_kantorovich_number G' mu' M) in *.
  exists (image n S w). split; [exact (Inj _ Cw) |].
  set (d' := displacement w start). set (d := image n S d').
  assert (Ed : distance n (image n S w) (image n S start) = norm n d).
  { rewrite <- norm_displacement. apply norm_ext. intros i _. unfold d, d'.
    now rewrite image_displacement. }
  rewrite Ed.
  assert (N' : norm n d' <= r) by (unfold d'; rewrite norm_displacement; exact Dw).
  (* the remainder *)
  pose proof (hessian_remainder n start r M (gradient_in gradient) (hessian_in hessian) start w start
    F HM ltac:(rewrite distance_self; exact Pr) Dw ltac:(rewrite distance_self; exact Pr)) as R.
  rewrite distance_self in R. fold d' in R.
  rewrite <- norm_displacement in R.
  rewrite <- (norm_displacement n w start) in R. fold d' in R.
  set (g' := gradient_in gradient start) in *.
  set (q := dot n d' (image n (hessian_in hessian start) d')).
  assert (Q1 : q = dot n d (image n (hessian (image n S start)) d)) by apply form_in.
  pose proof (Low d) as L1. rewrite <- Q1 in L1. pose proof (Low' d') as L2. fold q in L2.
  assert (Q2 : q - M * norm n d' ^ 3 / 2 <= norm n d * G).
  { set (v := displacement (displacement (gradient_in gradient w) g')
      (image n (hessian_in hessian start) d')) in *.
    pose proof (dot_le_norms n d' (fun i => - v i)) as B. rewrite norm_opp, dot_opp in B.
    assert (Ev : dot n d' v = - dot n d' g' - q).
    { unfold v. rewrite dot_displacement, dot_displacement. fold q.
      assert (Z : dot n d' (gradient_in gradient w) = 0).
      { unfold dot. apply fsum_zero. intros i Hi. rewrite (Cw i Hi). ring. }
      rewrite Z. ring. }
    assert (Eg : dot n d' g' = dot n d (gradient (image n S start))) by apply dot_pulled.
    pose proof (dot_le_norms n d (fun i => - gradient (image n S start) i)) as K.
    rewrite norm_opp, dot_opp in K. rewrite Ev, Eg in B.
    pose proof (norm_nonneg n d) as Pd. pose proof (norm_nonneg n d') as Pd'.
    assert (norm n d * norm n (gradient (image n S start)) <= norm n d * G)
      by (apply Rmult_le_compat_l; auto).
    assert (norm n d' * norm n v <= norm n d' * (M * ((0 + norm n d') / 2) * norm n d'))
      by (apply Rmult_le_compat_l; auto).
    replace (M * norm n d' ^ 3 / 2) with (norm n d' * (M * ((0 + norm n d') / 2) * norm n d'))
      by field. lra. }
  set (D := sqrt (1 - 2 * h)).
  assert (PD : 0 <= D) by apply sqrt_pos.
  assert (DD : D * D = 1 - 2 * h) by (apply sqrt_sqrt; lra).
  assert (E : M * r = mu' * (1 - D)).
  { assert (Eh : 2 * G' * M = mu' ^ 2 * (1 - D * D)).
    { rewrite DD. unfold h, b_kantorovich_number. field. lra. }
    assert (Er' : r = 2 * G' / (mu' * (1 + D))).
    { unfold r, b_critical_radius, D, h, b_kantorovich_number. do 4 f_equal.
      f_equal. field. lra. }
    rewrite Er'. replace (M * (2 * G' / (mu' * (1 + D)))) with (2 * G' * M / (mu' * (1 + D)))
      by (field; lra). rewrite Eh. field. lra. }
  pose proof (norm_nonneg n d') as Pd'. pose proof (norm_nonneg n d) as Pd.
  assert (C : M * norm n d' ^ 3 / 2 <= (1 - D) / 2 * q).
  { assert (D1 : 0 <= 1 - D).
    { apply Rmult_le_reg_l with mu'; auto. rewrite Rmult_0_r, <- E. apply Rmult_le_pos; auto. }
    assert (X : M * norm n d' <= mu' * (1 - D)).
    { rewrite <- E. apply Rmult_le_compat_l; auto. }
    replace (M * norm n d' ^ 3 / 2) with (M * norm n d' * norm n d' ^ 2 / 2) by field.
    assert (M * norm n d' * norm n d' ^ 2 <= mu' * (1 - D) * norm n d' ^ 2)
      by (apply Rmult_le_compat_r; auto; apply pow2_ge_0).
    assert ((1 - D) * (mu' * norm n d' ^ 2) <= (1 - D) * q)
      by (apply Rmult_le_compat_l; auto). lra. }
  assert (Fin : mu * norm n d ^ 2 * ((1 + D) / 2) <= norm n d * G).
  { assert (mu * norm n d ^ 2 * ((1 + D) / 2) <= q * ((1 + D) / 2))
      by (apply Rmult_le_compat_r; lra). lra. }
  unfold b_affine_radius. fold D.
  assert (P1 : 0 < mu * (1 + D)) by (apply Rmult_lt_0_compat; lra).
  apply le_div; [exact P1 |]. destruct Pd as [Pd | Pd].
  - apply Rmult_le_reg_l with (norm n d); auto. nra.
  - rewrite <- Pd. assert (0 <= G) by (eapply Rle_trans; [apply norm_nonneg | exact HG]). lra.
Qed.

End Basis.

(** In one variable, in whatever unit: no critical point is nearer. *)
Theorem p4_affine_radius_attained c mu M G : 0 < c -> 0 < mu -> 0 <= M -> 0 <= G ->
  b_kantorovich_number G mu M <= 1 / 2 ->
  let S := fun _ _ => c in let start := fun _ => 0 in
  let g := parabola M mu G in let H := parabola_hessian M mu in
  let G' := c * G in let mu' := c ^ 2 * mu in let M' := c ^ 3 * M in
  smooth 1 start (b_critical_radius G' mu' M') M' (gradient_in 1 S g) (hessian_in 1 S H) /\
  norm 1 (gradient_in 1 S g start) = G' /\ eigenvalues_from 1 mu' (hessian_in 1 S H start) /\
  norm 1 (g (image 1 S start)) = G /\ eigenvalues_from 1 mu (H (image 1 S start)) /\
  (forall z, critical 1 g z -> b_affine_radius G mu (b_kantorovich_number G' mu' M')
    <= distance 1 z (image 1 S start)).
Proof.
  intros Hc Hmu HM HG Hh S start g H G' mu' M'.
  assert (I : image 1 S start = start).
  { apply functional_extensionality. intros i. unfold image, dot, S, start. cbn [fsum]. ring. }
  assert (Eg : gradient_in 1 S g = parabola M' mu' G').
  { apply functional_extensionality. intros w. apply functional_extensionality. intros i.
    unfold gradient_in, pulled, g, parabola, image, dot, S, M', mu', G'. cbn [fsum]. field. }
  assert (EH : hessian_in 1 S H = parabola_hessian M' mu').
  { apply functional_extensionality. intros w. apply functional_extensionality. intros i.
    apply functional_extensionality. intros j.
    unfold hessian_in, pulled, H, parabola_hessian, image, dot, S, M', mu'. cbn [fsum]. ring. }
  assert (C2 : 0 < c ^ 2) by (apply pow_lt; auto). assert (C3 : 0 < c ^ 3) by (apply pow_lt; auto).
  assert (Kh : b_kantorovich_number G' mu' M' = b_kantorovich_number G mu M)
    by (unfold b_kantorovich_number, G', mu', M'; field; lra).
  rewrite I, Eg, EH.
  destruct (p4_critical_radius_attained mu M G Hmu HM HG Hh) as (_ & N & Low & Far).
  split; [| split; [| split; [| split; [| split]]]].
  - apply smooth_parabola, Rabs_right. apply Rle_ge, Rmult_le_pos; lra.
  - rewrite norm_one. unfold parabola, start.
    replace (G' + mu' * 0 + M' * 0 ^ 2 / 2) with G' by field. apply Rabs_right, Rle_ge.
    apply Rmult_le_pos; lra.
  - replace mu' with (mu' + M' * start O) at 1 by (unfold start; ring). apply eigenvalues_parabola.
  - exact N.
  - exact Low.
  - intros z Z. specialize (Far z Z). eapply Rle_trans; [| exact Far]. right. rewrite Kh.
    unfold b_affine_radius, b_critical_radius, b_kantorovich_number. do 4 f_equal.
    f_equal. field. lra.
Qed.
