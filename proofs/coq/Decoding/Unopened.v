(** What keys of which only a bound on each logit is known can do to attention on the others
    (claim I.unopened).

    Steps: (1) with Z the sum of the weights that were opened and U of the others, (Z + U) (o - y) is
    Z (o_Z - y) and a sum of the others' weights times values within D of y; (2) U / (Z + U) grows with
    U, which is at most the sum of the largest weights that those may have; (3) ln (1 + rho) <= rho. *)

Require Import Reals Lra.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax.
From Attest.RealHeads Require Import RealHeads.
Open Scope R_scope.

(** S: the keys that are closed.  Some key is opened. *)
Definition opens (n : nat) (S : nat -> bool) (s : nat -> R) : Prop :=
  0 < fsum n (off S (fun j => exp (s j))).

(** No closed key's logit exceeds its bound. *)
Definition capped (n : nat) (S : nat -> bool) (s upper : nat -> R) : Prop :=
  forall j, (j < n)%nat -> S j = true -> s j <= upper j.

(** The values of closed keys lie within D of y. *)
Definition near_values (n : nat) (S : nat -> bool) (v : nat -> R) (y D : R) : Prop :=
  0 <= D /\ forall j, (j < n)%nat -> S j = true -> Rabs (v j - y) <= D.

(** The largest weight of closed keys, relative to that of the others. *)
Definition closed_ratio (n : nat) (S : nat -> bool) (s upper : nat -> R) : R :=
  fsum n (on S (fun j => exp (upper j))) / fsum n (off S (fun j => exp (s j))).

Lemma closed_total n S s upper : opens n S s -> capped n S s upper ->
  0 <= fsum n (on S (fun j => exp (s j)))
    <= closed_ratio n S s upper * fsum n (off S (fun j => exp (s j))).
Proof.
  intros HZ Hc. unfold opens in HZ. split.
  - apply fsum_on_nonneg. intros. left. apply exp_pos.
  - unfold closed_ratio, Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
    apply fsum_le. intros j Hj. unfold on. destruct (S j) eqn:E; [| lra].
    apply exp_le. now apply Hc.
Qed.

Theorem i_unopened n S s upper v y D : opens n S s -> capped n S s upper -> near_values n S v y D ->
  Rabs (dot n (softmax n s) v - y)
    <= b_unopened_output (Rabs (kept_average n S (fun j => exp (s j)) v - y))
         (closed_ratio n S s upper) D.
Proof.
  intros HZ Hc [D0 HD]. pose proof (closed_total n S s upper HZ Hc) as [U0 UR]. unfold opens in HZ.
  set (w := fun j => exp (s j)) in *. set (rho := closed_ratio n S s upper) in *.
  set (Z := fsum n (off S w)) in *. set (U := fsum n (on S w)) in *.
  assert (R0 : 0 <= rho).
  { unfold rho, closed_ratio. apply le_div; [exact HZ |]. rewrite Rmult_0_l.
    apply fsum_on_nonneg. intros. left. apply exp_pos. }
  assert (T : fsum n w = U + Z) by apply fsum_split.
  set (r := kept_average n S w v - y).
  assert (G : (U + Z) * (dot n (softmax n s) v - y)
              = Z * r + fsum n (on S (fun j => w j * (v j - y)))).
  { assert (A : (U + Z) * dot n (softmax n s) v = fsum n (fun j => w j * v j)).
    { unfold dot, softmax, normalize. rewrite <- T, <- fsum_scale. apply fsum_ext. intros j _.
      fold w. unfold w at 3. field. fold w. lra. }
    assert (B : Z * kept_average n S w v = fsum n (off S (fun j => w j * v j))).
    { unfold kept_average. fold Z. field. lra. }
    assert (C : fsum n (on S (fun j => w j * (v j - y))) = fsum n (on S (fun j => w j * v j)) - y * U).
    { unfold U. rewrite <- fsum_scale, <- fsum_minus. apply fsum_ext. intros j _. unfold on.
      destruct (S j); ring. }
    unfold r. rewrite C, !Rmult_minus_distr_l, A, B, (fsum_split n S (fun j => w j * v j)). ring. }
  assert (X : Rabs (fsum n (on S (fun j => w j * (v j - y)))) <= D * U).
  { eapply Rle_trans; [apply fsum_abs |]. unfold U. rewrite <- fsum_scale. apply fsum_le.
    intros j Hj. unfold on. destruct (S j) eqn:E; [| rewrite Rabs_R0; lra].
    rewrite Rabs_mult, (Rabs_right (w j)) by (left; apply exp_pos). rewrite Rmult_comm.
    apply Rmult_le_compat_r; [left; apply exp_pos | now apply HD]. }
  assert (Y : Rabs (dot n (softmax n s) v - y) <= (Z * Rabs r + D * U) / (U + Z)).
  { apply le_div; [lra |]. rewrite Rmult_comm. rewrite <- (Rabs_right (U + Z)) at 1 by lra.
    rewrite <- Rabs_mult, G. eapply Rle_trans; [apply Rabs_triang |].
    rewrite Rabs_mult, (Rabs_right Z) by lra. lra. }
  eapply Rle_trans; [exact Y |]. unfold b_unopened_output. pose proof (Rabs_pos r) as P.
  apply div_le; [lra |].
  assert (K : U <= rho / (1 + rho) * (U + Z)).
  { apply Rmult_le_reg_r with (1 + rho); [lra |].
    replace (rho / (1 + rho) * (U + Z) * (1 + rho)) with (rho * (U + Z)) by (field; lra). lra. }
  assert (D * U <= D * (rho / (1 + rho) * (U + Z))) by (apply Rmult_le_compat_l; lra).
  assert (Rabs r * Z <= Rabs r * (U + Z)) by (apply Rmult_le_compat_l; lra).
  replace ((Rabs r + rho * D / (1 + rho)) * (U + Z))
    with (Rabs r * (U + Z) + D * (rho / (1 + rho) * (U + Z))) by (field; lra).
  lra.
Qed.

(** One closed key that weighs as much as it may. *)
Theorem i_unopened_attained s v :
  let S := fun j => Nat.eqb j 1 in
  Rabs (dot 2 (softmax 2 s) v - v 0%nat)
    = b_unopened_output (Rabs (kept_average 2 S (fun j => exp (s j)) v - v 0%nat))
        (closed_ratio 2 S s s) (Rabs (v 1%nat - v 0%nat)).
Proof.
  intros S. unfold b_unopened_output, closed_ratio, kept_average, dot, softmax, normalize, S, on, off.
  cbn [fsum Nat.eqb]. pose proof (exp_pos (s 0%nat)) as A. pose proof (exp_pos (s 1%nat)) as B.
  set (a := exp (s 0%nat)) in *. set (b := exp (s 1%nat)) in *.
  replace ((0 + a * v 0%nat + 0) / (0 + a + 0) - v 0%nat) with 0 by (field; lra).
  replace (0 + a / (0 + a + b) * v 0%nat + b / (0 + a + b) * v 1%nat - v 0%nat)
    with (b / (a + b) * (v 1%nat - v 0%nat)) by (field; lra).
  rewrite Rabs_R0, Rabs_mult, (Rabs_right (b / (a + b))).
  - field. lra.
  - apply Rle_ge, le_div; lra.
Qed.

Theorem i_unopened_log n S s upper y : opens n S s -> capped n S s upper ->
  Rabs (ln (fsum n (fun j => exp (s j))) - y)
    <= b_unopened_log (Rabs (ln (fsum n (off S (fun j => exp (s j)))) - y))
         (closed_ratio n S s upper).
Proof.
  intros HZ Hc. pose proof (closed_total n S s upper HZ Hc) as [U0 UR]. unfold opens in HZ.
  set (w := fun j => exp (s j)) in *. set (rho := closed_ratio n S s upper) in *.
  set (Z := fsum n (off S w)) in *. set (U := fsum n (on S w)) in *.
  rewrite (fsum_split n S w). fold Z U. unfold b_unopened_log.
  assert (L : ln Z <= ln (U + Z)) by (destruct U0 as [U0 | <-];
    [left; apply ln_increasing; lra | right; f_equal; lra]).
  assert (R0 : 0 <= rho).
  { unfold rho, closed_ratio. apply le_div; [exact HZ |]. rewrite Rmult_0_l.
    apply fsum_on_nonneg. intros. left. apply exp_pos. }
  assert (M : ln (U + Z) <= ln Z + rho).
  { rewrite <- (ln_exp rho), <- ln_mult by (try apply exp_pos; lra).
    assert (U + Z <= Z * exp rho) as [H | ->]; [| | lra].
    - pose proof (exp_ineq1_le rho). nra.
    - left. apply ln_increasing; lra. }
  pose proof (Rabs_bounds _ _ (Rle_refl (Rabs (ln Z - y)))) as B. pose proof (Rabs_pos (ln Z - y)).
  apply Rabs_le. lra.
Qed.
