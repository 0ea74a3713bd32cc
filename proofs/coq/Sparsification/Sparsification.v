(** A narrower Y in place of X (claims P3.goal, P3.loewner, P3.rows, P3.gram).

    A(X) has the rows softmax (G_i), G = X X^T.  What the paper asks of Y holds of Y = 0, of any
    width: logits in [-r, r] are within r of the logits 0.  What it should ask is a sandwich of
    quadratic forms, (1 - eps) G <= Y Y^T <= (1 + eps) G.  Steps: (1) x^T (H - G) x at
    x = s e_i + t e_j, less the same at s e_i - t e_j, is 4 s t (H - G)_ij, so its square is at most
    eps^2 G_ii G_jj; (2) logits within eps r move rows by [s_tv], and one weight by the change of
    its odds.  How floating point proves the sandwich: Certificate.v.

    The extremal X is one column, (sqrt r, ..., sqrt r, - sqrt r, ..., - sqrt r), and
    Y = X sqrt (1 + eps). *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Rounding Require Import Rounding.
Open Scope R_scope.

Definition gram (d : nat) (X : nat -> nat -> R) (i j : nat) : R :=
  fsum d (fun c => X i c * X j c).

(** Row i of D(X)^-1 exp (X X^T). *)
Definition attention (n d : nat) (X : nat -> nat -> R) (i : nat) : nat -> R :=
  softmax n (gram d X i).

(** The distance of two rows in l1. *)
Definition row_distance (n : nat) (p q : nat -> R) : R := fsum n (fun j => Rabs (p j - q j)).

(** |G_ij| <= r for i, j < n *)
Definition small_logits (n d : nat) (X : nat -> nat -> R) (r : R) : Prop :=
  forall i, (i < n)%nat -> bounded n (gram d X i) r.

Definition zero (i c : nat) : R := 0.

(** * General facts *)

Lemma softmax_ext n u v i : (forall j, (j < n)%nat -> u j = v j) -> (i < n)%nat ->
  softmax n u i = softmax n v i.
Proof.
  intros H Hi. unfold softmax, normalize. rewrite (H i Hi).
  rewrite (fsum_ext n (fun j => exp (u j)) (fun j => exp (v j))); auto.
  intros j Hj. rewrite H; auto.
Qed.

Lemma row_distance_softmax n u v eta : (0 < n)%nat -> within n u v eta ->
  row_distance n (softmax n u) (softmax n v) <= 2 * b_softmax_tv eta.
Proof. intros Hn H. apply sum_abs_le. intros S. apply s_tv; auto. Qed.

Lemma INR_ge_1 n : (0 < n)%nat -> 1 <= INR n.
Proof. intros. apply (le_INR 1). lia. Qed.

Lemma gram_zero m i j : gram m zero i j = 0.
Proof. unfold gram, zero. apply fsum_zero. intros. ring. Qed.

Lemma gram_sym d X i j : gram d X i j = gram d X j i.
Proof. apply fsum_ext. intros. ring. Qed.

Lemma gram_diagonal d X i : 0 <= gram d X i i.
Proof. apply fsum_nonneg. intros. nra. Qed.

Lemma attention_zero n m i j : (0 < n)%nat -> attention n m zero i j = / INR n.
Proof.
  intros Hn. unfold attention, softmax, normalize. rewrite gram_zero, exp_0.
  rewrite (fsum_ext n _ (fun _ => 1)), fsum_const.
  - pose proof (INR_ge_1 n Hn). field. lra.
  - intros k _. rewrite gram_zero. apply exp_0.
Qed.

(** The extremal X: sqrt r in the first a rows, - sqrt r in the others. *)
Definition block (a : nat) (x : R) (i : nat) : R := if Nat.ltb i a then x else - x.
Definition signs (a : nat) (r : R) (i c : nat) : R := block a (sqrt r) i.

(** Its first row of logits is r in the first a entries and - r in the others. *)
Lemma gram_signs a r j : (0 < a)%nat -> 0 <= r -> gram 1 (signs a r) 0 j = block a r j.
Proof.
  intros Ha Hr. unfold gram, signs, block. simpl.
  destruct (Nat.ltb_spec 0 a); [| lia].
  destruct (Nat.ltb j a); pose proof (sqrt_sqrt r Hr); nra.
Qed.

Lemma small_logits_signs n a r : 0 <= r -> small_logits n 1 (signs a r) r.
Proof.
  intros Hr i _ j _. unfold gram, signs, block. simpl. pose proof (sqrt_sqrt r Hr).
  apply Rabs_le. destruct (Nat.ltb i a), (Nat.ltb j a); nra.
Qed.

Lemma attention_signs n a r j : (0 < a)%nat -> 0 <= r -> (j < n)%nat ->
  attention n 1 (signs a r) 0 j = softmax n (block a r) j.
Proof. intros. apply softmax_ext; auto. intros. apply gram_signs; auto. Qed.

Lemma block_spike r j : block 1 r j = spike r j.
Proof. unfold block, spike. destruct j; reflexivity. Qed.

Lemma fsum_block a b x y :
  fsum (a + b) (fun j => if Nat.ltb j a then x else y) = INR a * x + INR b * y.
Proof.
  induction b.
  - rewrite Nat.add_0_r, (fsum_ext a _ (fun _ => x)), fsum_const; [simpl; ring |].
    intros j Hj. destruct (Nat.ltb_spec j a); [reflexivity | lia].
  - rewrite Nat.add_succ_r, fsum_S, IHb, S_INR.
    destruct (Nat.ltb_spec (a + b) a); [lia | ring].
Qed.

Lemma softmax_block a b x j : softmax (a + b) (block a x) j
  = exp (block a x j) / (INR a * exp x + INR b * exp (- x)).
Proof.
  unfold softmax, normalize. f_equal. rewrite <- fsum_block. apply fsum_ext.
  intros k _. unfold block. destruct (Nat.ltb k a); reflexivity.
Qed.

(** Between two such rows of logits the mass of the first a keys changes, and nothing else. *)
Lemma row_distance_block a b x y : (0 < a)%nat -> y <= x ->
  row_distance (a + b) (softmax (a + b) (block a x)) (softmax (a + b) (block a y))
    = 2 * (INR a * exp (2 * x) / (INR a * exp (2 * x) + INR b)
           - INR a * exp (2 * y) / (INR a * exp (2 * y) + INR b)).
Proof.
  intros Ha Hxy. unfold row_distance.
  set (Zx := INR a * exp x + INR b * exp (- x)). set (Zy := INR a * exp y + INR b * exp (- y)).
  pose proof (INR_ge_1 a Ha) as HA. pose proof (pos_INR b) as HB.
  pose proof (exp_pos x). pose proof (exp_pos y).
  pose proof (exp_pos (- x)). pose proof (exp_pos (- y)).
  assert (HX : 0 < Zx) by (unfold Zx; nra). assert (HY : 0 < Zy) by (unfold Zy; nra).
  assert (Up : 0 <= exp x / Zx - exp y / Zy).
  { replace (exp x / Zx - exp y / Zy)
      with (INR b * (exp x * exp (- y) - exp y * exp (- x)) / (Zx * Zy))
      by (unfold Zx, Zy in *; field; split; lra).
    apply Rmult_le_pos; [| left; apply Rinv_0_lt_compat; nra].
    apply Rmult_le_pos; auto. rewrite <- !exp_plus.
    pose proof (exp_le (y + - x) (x + - y)). lra. }
  assert (Down : 0 <= exp (- y) / Zy - exp (- x) / Zx).
  { replace (exp (- y) / Zy - exp (- x) / Zx)
      with (INR a * (exp x * exp (- y) - exp y * exp (- x)) / (Zx * Zy))
      by (unfold Zx, Zy in *; field; split; lra).
    apply Rmult_le_pos; [| left; apply Rinv_0_lt_compat; nra].
    apply Rmult_le_pos; [lra |]. rewrite <- !exp_plus.
    pose proof (exp_le (y + - x) (x + - y)). lra. }
  rewrite (fsum_ext _ _ (fun j => if Nat.ltb j a then exp x / Zx - exp y / Zy
                                  else exp (- y) / Zy - exp (- x) / Zx)).
  - rewrite fsum_block.
    assert (F : forall z, INR a * exp (2 * z) / (INR a * exp (2 * z) + INR b)
      = INR a * (exp z / (INR a * exp z + INR b * exp (- z)))).
    { intros z. rewrite exp_double, exp_Ropp. pose proof (exp_pos z). field. split; nra. }
    rewrite !F. fold Zx Zy.
    assert (INR a * (exp x / Zx) + INR b * (exp (- x) / Zx) = 1) by (unfold Zx in *; field; lra).
    assert (INR a * (exp y / Zy) + INR b * (exp (- y) / Zy) = 1) by (unfold Zy in *; field; lra).
    lra.
  - intros j _. rewrite !softmax_block. fold Zx Zy. unfold block.
    destruct (Nat.ltb j a); [apply Rabs_right | rewrite Rabs_left1]; lra.
Qed.

(** * P3.goal: Y = 0 meets it *)

Lemma range_upper_fraction n r : (0 < n)%nat ->
  b_softmax_range_upper n r = exp (2 * r) / (exp (2 * r) + INR n - 1).
Proof.
  intros Hn. unfold b_softmax_range_upper. argument exp (2 * r).
  pose proof (INR_ge_1 n Hn). pose proof (exp_pos (2 * r)). field. lra.
Qed.

Lemma goal_entry_form n r : (0 < n)%nat ->
  b_p3_goal_entry n r = b_softmax_range_upper n r - / INR n.
Proof.
  intros Hn. rewrite range_upper_fraction by auto. unfold b_p3_goal_entry. argument exp (2 * r).
  pose proof (INR_ge_1 n Hn). pose proof (exp_pos (2 * r)). field. split; lra.
Qed.

(** For any n, any X and any width m of Y. *)
Theorem p3_goal_entry_vacuous n d m X r i j : small_logits n d X r ->
  (i < n)%nat -> (j < n)%nat ->
  Rabs (attention n m zero i j - attention n d X i j) <= b_p3_goal_entry n r.
Proof.
  intros H Hi Hj. assert (Hn : (0 < n)%nat) by lia. specialize (H i Hi).
  rewrite attention_zero by auto. unfold attention.
  pose proof (s_range_upper n _ r j H Hj) as Up. pose proof (s_range_inverse n _ r j H Hj) as Low.
  pose proof (softmax_pos n (gram d X i) j Hn) as Hp. set (p := softmax n (gram d X i) j) in *.
  pose proof (bounded_nonneg n _ r Hn H). pose proof (exp_ge_1 (2 * r) ltac:(lra)) as HE.
  pose proof (INR_ge_1 n Hn) as HN.
  apply Rabs_le. rewrite goal_entry_form by auto. split; [lra |].
  rewrite range_inverse_form in Low. rewrite range_upper_fraction by auto.
  set (E := exp (2 * r)) in *. set (N := INR n) in *.
  assert (HD : 0 < 1 + (N - 1) * E) by nra.
  assert (Hq : / (1 + (N - 1) * E) <= p).
  { rewrite <- (Rinv_inv p). apply Rinv_le_contravar; auto. apply Rinv_0_lt_compat; auto. }
  destruct (Nat.eq_dec n 1) as [-> | Hne].
  { unfold N in *. simpl in *. replace (E / (E + 1 - 1)) with 1 by (field; lra).
    replace (1 + (1 - 1) * E) with 1 in Hq by ring. lra. }
  assert (2 <= N) by (apply (le_INR 2); lia).
  apply Rle_trans with (/ N - / (1 + (N - 1) * E)); [lra |].
  assert (0 <= (N - 1) * (E - 1)) by (apply Rmult_le_pos; lra).
  assert (0 <= (N - 2) * (E - 1)) by (apply Rmult_le_pos; lra).
  replace (/ N - / (1 + (N - 1) * E))
    with ((N - 1) * (E - 1) * / (N * (1 + (N - 1) * E))) by (field; lra).
  replace (E / (E + N - 1) - / N)
    with ((N - 1) * (E - 1) * / (N * (E + N - 1))) by (field; lra).
  apply Rmult_le_compat_l; auto. apply Rinv_le_contravar; nra.
Qed.

Theorem p3_goal_entry_attained n m r : (0 < n)%nat -> 0 <= r ->
  small_logits n 1 (signs 1 r) r /\
  attention n 1 (signs 1 r) 0 0 - attention n m zero 0 0 = b_p3_goal_entry n r.
Proof.
  intros Hn Hr. split; [apply small_logits_signs; auto |].
  rewrite attention_zero, attention_signs, goal_entry_form by (auto; lia).
  rewrite (softmax_ext n _ (spike r)) by (auto; intros; apply block_spike).
  now rewrite (proj2 (s_range_upper_attained n r Hn Hr)).
Qed.

Lemma goal_row_form r : b_p3_goal_row r = 2 * b_softmax_tv r.
Proof. unfold b_p3_goal_row, b_softmax_tv. argument tanh (r / 2). reflexivity. Qed.

Theorem p3_goal_row_vacuous n d m X r i : small_logits n d X r -> (i < n)%nat ->
  row_distance n (attention n m zero i) (attention n d X i) <= b_p3_goal_row r.
Proof.
  intros H Hi. rewrite goal_row_form. apply row_distance_softmax; [lia |].
  intros j Hj. rewrite gram_zero. replace (0 - gram d X i j) with (- gram d X i j) by ring.
  rewrite Rabs_Ropp. apply H; auto.
Qed.

(** Attained with a rows of one sign and b of the other wherever exp r = b / a: a dense set. *)
Theorem p3_goal_row_attained a b m r : (0 < a)%nat -> 0 <= r -> exp r * INR a = INR b ->
  small_logits (a + b) 1 (signs a r) r /\
  row_distance (a + b) (attention (a + b) 1 (signs a r) 0) (attention (a + b) m zero 0)
    = b_p3_goal_row r.
Proof.
  intros Ha Hr Hb. split; [apply small_logits_signs; auto |].
  transitivity (row_distance (a + b) (softmax (a + b) (block a r)) (softmax (a + b) (block a 0))).
  { apply fsum_ext. intros j Hj. rewrite attention_signs by auto. do 2 f_equal.
    apply softmax_ext; auto. intros k _. rewrite gram_zero. unfold block.
    destruct (Nat.ltb k a); ring. }
  rewrite row_distance_block, goal_row_form, tv_form, exp_double, <- Hb by auto.
  rewrite Rmult_0_r, exp_0. pose proof (INR_ge_1 a Ha). pose proof (exp_pos r).
  field. repeat split; nra.
Qed.

(** Both bounds are O(r), which is all that the paper asks. *)
Theorem p3_goal_entry_linear n r : (0 < n)%nat -> 0 <= r <= 1 / 10 ->
  b_p3_goal_entry n r <= 5 / 2 * r / INR n.
Proof.
  intros Hn Hr. unfold b_p3_goal_entry. argument exp (2 * r).
  pose proof (INR_ge_1 n Hn) as HN. pose proof (exp_ge_1 (2 * r) ltac:(lra)) as HE.
  pose proof (exp_ineq1_le (- (2 * r))) as L. pose proof (exp_opp_mult (2 * r)) as M.
  assert (G : exp (2 * r) - 1 <= 5 / 2 * r) by nra.
  set (E := exp (2 * r)) in *. set (N := INR n) in *.
  apply div_le; [nra |].
  replace (5 / 2 * r / N * (N * (N + E - 1))) with (5 / 2 * r * (N + E - 1)) by (field; lra).
  nra.
Qed.

Theorem p3_goal_row_linear r : 0 <= r -> b_p3_goal_row r <= r.
Proof.
  intros Hr. rewrite goal_row_form, tv_form. pose proof (exp_pos r).
  set (gap := fun y => y * (exp y + 1) - 2 * (exp y - 1)).
  assert (G : 0 <= gap r).
  { destruct (Req_dec r 0) as [-> | Hne]; [unfold gap; rewrite exp_0; lra |].
    destruct (MVT_cor2 gap (fun y => 1 * (exp y + 1) + y * exp y - 2 * exp y) 0 r)
      as [y [E Hy]]; [lra | |].
    - intros y _. unfold gap.
      apply derivable_pt_lim_minus.
      + apply (derivable_pt_lim_mult (fun y => y) (fun y => exp y + 1)).
        * apply derivable_pt_lim_id.
        * replace (exp y) with (exp y + 0) by ring.
          apply (derivable_pt_lim_plus exp (fun _ => 1));
            [apply derivable_pt_lim_exp | apply derivable_pt_lim_const].
      + apply (derivable_pt_lim_scal (fun y => exp y - 1)).
        replace (exp y) with (exp y - 0) by ring.
        apply (derivable_pt_lim_minus exp (fun _ => 1));
          [apply derivable_pt_lim_exp | apply derivable_pt_lim_const].
    - assert (0 <= 1 * (exp y + 1) + y * exp y - 2 * exp y).
      { pose proof (exp_ineq1_le (- y)). pose proof (exp_opp_mult y). pose proof (exp_pos y). nra. }
      assert (Z : gap 0 = 0) by (unfold gap; rewrite exp_0; ring). rewrite Z in E. nra. }
  unfold gap in G.
  apply Rmult_le_reg_r with (exp r + 1); [lra |].
  replace (2 * ((exp r - 1) / (exp r + 1)) * (exp r + 1)) with (2 * (exp r - 1)) by (field; lra).
  lra.
Qed.

(** * Quadratic forms *)

Definition quad (n : nat) (A : nat -> nat -> R) (x : nat -> R) : R :=
  fsum n (fun i => x i * fsum n (fun j => A i j * x j)).

(** (1 - eps) G <= H <= (1 + eps) G in Loewner's order. *)
Definition loewner (n : nat) (G H : nat -> nat -> R) (eps : R) : Prop :=
  forall x, (1 - eps) * quad n G x <= quad n H x <= (1 + eps) * quad n G x.

Lemma quad_ext n A B x : (forall i j, (i < n)%nat -> (j < n)%nat -> A i j = B i j) ->
  quad n A x = quad n B x.
Proof.
  intros H. apply fsum_ext. intros i Hi. f_equal. apply fsum_ext. intros j Hj. now rewrite H.
Qed.

Lemma quad_plus n A B x : quad n (fun i j => A i j + B i j) x = quad n A x + quad n B x.
Proof.
  unfold quad. rewrite <- fsum_plus. apply fsum_ext. intros i _.
  rewrite <- Rmult_plus_distr_l, <- fsum_plus. f_equal. apply fsum_ext. intros. ring.
Qed.

Lemma quad_scale n c A x : quad n (fun i j => c * A i j) x = c * quad n A x.
Proof.
  unfold quad. rewrite <- fsum_scale. apply fsum_ext. intros i _.
  rewrite (fsum_ext n _ (fun j => c * (A i j * x j))), fsum_scale; [ring | intros; ring].
Qed.

Lemma quad_gram n d X x :
  quad n (gram d X) x = fsum d (fun c => fsum n (fun i => x i * X i c) ^ 2).
Proof.
  induction d.
  - apply fsum_zero. intros i _. rewrite (fsum_zero n); [ring |]. intros. unfold gram. simpl. ring.
  - rewrite fsum_S, <- IHd.
    rewrite (quad_ext n _ (fun i j => gram d X i j + X i d * X j d)) by reflexivity.
    rewrite quad_plus. f_equal. unfold quad. simpl. rewrite Rmult_1_r, <- fsum_scale_r.
    apply fsum_ext. intros i _.
    rewrite (fsum_ext n _ (fun j => X i d * (x j * X j d))), fsum_scale; [ring | intros; ring].
Qed.

Lemma quad_gram_nonneg n d X x : 0 <= quad n (gram d X) x.
Proof. rewrite quad_gram. apply fsum_nonneg. intros. apply pow2_ge_0. Qed.

(** The vector s e_i + t e_j. *)
Definition point (i : nat) (s : R) (k : nat) : R := if Nat.eqb k i then s else 0.
Definition two_points (i j : nat) (s t : R) (k : nat) : R := point i s k + point j t k.

Lemma fsum_point n i s f : (i < n)%nat -> fsum n (fun k => point i s k * f k) = s * f i.
Proof.
  induction n; intros Hi; [lia |]. rewrite fsum_S. unfold point at 2.
  destruct (Nat.eqb_spec n i) as [-> | Hne]; [| rewrite IHn by lia; ring].
  rewrite (fsum_zero i); [ring |]. intros k Hk. unfold point.
  destruct (Nat.eqb_spec k i); [lia | ring].
Qed.

Lemma fsum_two_points n i j s t f : (i < n)%nat -> (j < n)%nat ->
  fsum n (fun k => two_points i j s t k * f k) = s * f i + t * f j.
Proof.
  intros Hi Hj. rewrite <- (fsum_point n i s f), <- (fsum_point n j t f), <- fsum_plus by auto.
  apply fsum_ext. intros. unfold two_points. ring.
Qed.

Lemma quad_two_points n A i j s t : (i < n)%nat -> (j < n)%nat ->
  quad n A (two_points i j s t)
    = s * (s * A i i + t * A i j) + t * (s * A j i + t * A j j).
Proof.
  intros Hi Hj. unfold quad. rewrite fsum_two_points by auto.
  assert (E : forall k, fsum n (fun l => A k l * two_points i j s t l) = s * A k i + t * A k j).
  { intros k. rewrite <- (fsum_two_points n i j s t (A k)) by auto. apply fsum_ext. intros. ring. }
  now rewrite !E.
Qed.

(** A form in two variables that is never negative. *)
Lemma discriminant a b c : (forall s t, 0 <= a * s * s + 2 * b * s * t + c * t * t) ->
  b * b <= a * c.
Proof.
  intros H. pose proof (H 1 0). pose proof (H 0 1). pose proof (H c (- b)). pose proof (H (- b) a).
  pose proof (H 1 b). pose proof (H 1 (- b)).
  destruct (Req_dec a 0) as [-> |]; [| nra]. destruct (Req_dec c 0) as [-> |]; nra.
Qed.

(** * P3.loewner: from the sandwich to the logits *)

Theorem p3_loewner_difference n G H eps i j : 0 <= eps ->
  (forall k l, G k l = G l k) -> (forall k l, H k l = H l k) ->
  0 <= G i i -> 0 <= G j j -> loewner n G H eps -> (i < n)%nat -> (j < n)%nat ->
  Rabs (H i j - G i j) <= eps * sqrt (G i i * G j j).
Proof.
  intros He SG SH Gi Gj L Hi Hj.
  assert (D : (H i j - G i j) * (H i j - G i j) <= (eps * G i i) * (eps * G j j)).
  { replace ((H i j - G i j) * (H i j - G i j))
      with ((- (H i j - G i j)) * (- (H i j - G i j))) by ring.
    apply discriminant. intros s t.
    pose proof (L (two_points i j s t)) as P. pose proof (L (two_points i j s (- t))) as M.
    rewrite !quad_two_points in P, M by auto. rewrite (SG j i), (SH j i) in P, M. nra. }
  rewrite <- (sqrt_Rsqr eps He), <- sqrt_mult by (unfold Rsqr; nra).
  rewrite <- sqrt_Rsqr_abs. apply sqrt_le_1_alt. unfold Rsqr in *. nra.
Qed.

Lemma gram_difference n d m X Y eps i j : 0 <= eps -> loewner n (gram d X) (gram m Y) eps ->
  (i < n)%nat -> (j < n)%nat ->
  Rabs (gram m Y i j - gram d X i j) <= eps * (sqrt (gram d X i i) * sqrt (gram d X j j)).
Proof.
  intros He L Hi Hj. rewrite <- sqrt_mult by apply gram_diagonal.
  apply (p3_loewner_difference n); auto using gram_sym, gram_diagonal.
Qed.

Theorem p3_loewner_logit n d m X Y eps r i j : 0 <= eps -> small_logits n d X r ->
  loewner n (gram d X) (gram m Y) eps -> (i < n)%nat -> (j < n)%nat ->
  Rabs (gram m Y i j - gram d X i j) <= b_loewner_logit eps r.
Proof.
  intros He B L Hi Hj. eapply Rle_trans; [apply (gram_difference n d m X Y eps); auto |].
  unfold b_loewner_logit. apply Rmult_le_compat_l; auto.
  assert (S : forall k, (k < n)%nat -> gram d X k k <= r)
    by (intros k Hk; apply Rabs_bounds, B; auto).
  assert (0 <= r) by (eapply Rle_trans; [apply gram_diagonal | apply (S i Hi)]).
  rewrite <- (sqrt_sqrt r) by auto.
  apply Rmult_le_compat; try apply sqrt_pos; apply sqrt_le_1_alt; auto.
Qed.

Lemma loewner_within n d m X Y eps r i : 0 <= eps -> small_logits n d X r ->
  loewner n (gram d X) (gram m Y) eps -> (i < n)%nat ->
  within n (gram m Y i) (gram d X i) (eps * r).
Proof. intros He B L Hi j Hj. apply (p3_loewner_logit n); auto. Qed.

(** The extremal Y = X sqrt (1 + eps). *)
Definition stretched (eps : R) (X : nat -> nat -> R) (i c : nat) : R := sqrt (1 + eps) * X i c.

Lemma gram_stretched d eps X i j : 0 <= eps ->
  gram d (stretched eps X) i j = (1 + eps) * gram d X i j.
Proof.
  intros He. unfold gram, stretched. rewrite <- fsum_scale. apply fsum_ext. intros c _.
  pose proof (sqrt_sqrt (1 + eps) ltac:(lra)) as S. rewrite <- S at 3. ring.
Qed.

Lemma loewner_stretched n d eps X : 0 <= eps ->
  loewner n (gram d X) (gram d (stretched eps X)) eps.
Proof.
  intros He x.
  rewrite (quad_ext n (gram d (stretched eps X)) (fun i j => (1 + eps) * gram d X i j)).
  - rewrite quad_scale. pose proof (quad_gram_nonneg n d X x). nra.
  - intros. apply gram_stretched; auto.
Qed.

Lemma attention_stretched n a r eps j : (0 < a)%nat -> 0 <= r -> 0 <= eps -> (j < n)%nat ->
  attention n 1 (stretched eps (signs a r)) 0 j = softmax n (block a ((1 + eps) * r)) j.
Proof.
  intros. apply softmax_ext; auto. intros k _. rewrite gram_stretched, gram_signs by auto.
  unfold block. destruct (Nat.ltb k a); ring.
Qed.

Theorem p3_loewner_logit_attained n eps r : (0 < n)%nat -> 0 <= r -> 0 <= eps ->
  let X := signs 1 r in let Y := stretched eps X in
  small_logits n 1 X r /\ loewner n (gram 1 X) (gram 1 Y) eps /\
  gram 1 Y 0 0 - gram 1 X 0 0 = b_loewner_logit eps r.
Proof.
  intros Hn Hr He X Y. split; [apply small_logits_signs; auto |].
  split; [apply loewner_stretched; auto |]. unfold Y, X.
  rewrite gram_stretched, gram_signs by auto. unfold b_loewner_logit.
  change (block 1 r 0) with r. ring.
Qed.

(** * P3.loewner: entries *)

(** Weights A, A' of one key and of the others become B, B': the odds change by at most E, and
    were at most E0 / (N - 1). *)
Lemma entry_core A A' B B' E E0 N : 0 < A -> 0 <= A' -> 0 < B -> 0 <= B' -> 1 <= E -> 0 < E0 ->
  1 <= N -> B * A' <= E * (A * B') -> A * B' <= E * (B * A') -> A * (N - 1) <= E0 * A' ->
  Rabs (B / (B + B') - A / (A + A')) <= (E - 1) * E0 / ((E + 1) * E0 + N - 1).
Proof.
  intros HA HA' HB HB' HE HE0 HN Up Down Odds.
  set (x := B * A') in *. set (y := A * B') in *.
  assert (Hx : 0 <= x) by (unfold x; nra). assert (Hy : 0 <= y) by (unfold y; nra).
  assert (HP : 0 < (B + B') * (A + A')) by nra. assert (HD : 0 < (E + 1) * E0 + N - 1) by nra.
  replace (B / (B + B') - A / (A + A')) with ((x - y) / ((B + B') * (A + A')))
    by (unfold x, y; field; lra).
  rewrite Rabs_div_pos by auto. apply div_le; auto.
  replace ((E - 1) * E0 / ((E + 1) * E0 + N - 1) * ((B + B') * (A + A')))
    with ((E - 1) * E0 * ((B + B') * (A + A')) / ((E + 1) * E0 + N - 1)) by (field; lra).
  apply le_div; auto.
  (* times A, with A (N - 1) replaced by E0 A' *)
  apply Rmult_le_reg_r with A; auto.
  assert (Gap : forall g, 0 <= g -> (E + 1) * g <= (E - 1) * (x + y) -> g <= (E - 1) * y ->
    g * ((E + 1) * E0 + N - 1) * A <= (E - 1) * E0 * ((B + B') * (A + A')) * A).
  { intros g Hg G1 G2.
    apply Rle_trans with (E0 * (g * ((E + 1) * A + A'))).
    - replace (g * ((E + 1) * E0 + N - 1) * A)
        with (g * (E0 * ((E + 1) * A) + A * (N - 1))) by ring.
      replace (E0 * (g * ((E + 1) * A + A'))) with (g * (E0 * ((E + 1) * A) + E0 * A')) by ring.
      apply Rmult_le_compat_l; lra.
    - replace ((E - 1) * E0 * ((B + B') * (A + A')) * A)
        with (E0 * ((E - 1) * (A * B * A + A * (x + y) + A' * y))) by (unfold x, y; ring).
      apply Rmult_le_compat_l; [lra |].
      assert (A * ((E + 1) * g) <= A * ((E - 1) * (x + y))) by (apply Rmult_le_compat_l; lra).
      assert (A' * g <= A' * ((E - 1) * y)) by (apply Rmult_le_compat_l; lra).
      assert (0 <= (E - 1) * (A * B * A)).
      { apply Rmult_le_pos; [lra |]. left. repeat apply Rmult_lt_0_compat; auto. }
      lra. }
  destruct (Rle_dec y x) as [Hle | Hgt].
  - rewrite Rabs_right by lra. apply Gap; nra.
  - rewrite Rabs_left by lra. apply Gap; nra.
Qed.

Lemma fsum_without n f j : (j < n)%nat ->
  fsum n f = f j + fsum n (off (fun k => Nat.eqb k j) f).
Proof.
  intros Hj. rewrite (fsum_split n (fun k => Nat.eqb k j)). f_equal.
  transitivity (fsum n (fun k => point j 1 k * f k)).
  - apply fsum_ext. intros k _. unfold on, point. destruct (Nat.eqb k j); ring.
  - rewrite fsum_point by auto. ring.
Qed.

(** The weights of the other keys, against the weight of key j. *)
Lemma others_within n u v eta j : within n u v eta -> (j < n)%nat ->
  exp (u j) * fsum n (off (fun k => Nat.eqb k j) (fun k => exp (v k)))
    <= exp (2 * eta) * (exp (v j) * fsum n (off (fun k => Nat.eqb k j) (fun k => exp (u k)))).
Proof.
  intros H Hj. rewrite <- !fsum_scale. apply fsum_le. intros k Hk. unfold off.
  destruct (Nat.eqb k j); [lra |]. rewrite <- !exp_plus. apply exp_le.
  pose proof (Rabs_bounds _ _ (H k Hk)). pose proof (Rabs_bounds _ _ (H j Hj)). lra.
Qed.

Lemma loewner_entry_form n r eps : (0 < n)%nat -> b_loewner_entry n r eps
  = (exp (2 * (eps * r)) - 1) * exp (2 * r)
    / ((exp (2 * (eps * r)) + 1) * exp (2 * r) + INR n - 1).
Proof.
  intros Hn. unfold b_loewner_entry. argument exp (2 * (eps * r)). argument exp (2 * r).
  argument tanh (2 * (eps * r) / 2). rewrite tanh_half. pose proof (INR_ge_1 n Hn).
  pose proof (exp_pos (2 * (eps * r))). pose proof (exp_pos (2 * r)).
  field. repeat split; nra.
Qed.

Theorem p3_loewner_entry n d m X Y eps r i j : 0 <= eps -> small_logits n d X r ->
  loewner n (gram d X) (gram m Y) eps -> (i < n)%nat -> (j < n)%nat ->
  Rabs (attention n m Y i j - attention n d X i j) <= b_loewner_entry n r eps.
Proof.
  intros He B L Hi Hj. assert (Hn : (0 < n)%nat) by lia.
  pose proof (loewner_within n d m X Y eps r i He B L Hi) as W.
  pose proof (B i Hi) as Hr. pose proof (bounded_nonneg n _ r Hn Hr) as Hr0.
  pose proof (s_range_upper n _ r j Hr Hj) as Up. rewrite range_upper_fraction in Up by auto.
  pose proof (others_within n _ _ _ j W Hj) as Gain.
  pose proof (others_within n _ _ _ j (within_sym _ _ _ _ W) Hj) as Loss.
  rewrite loewner_entry_form by auto. unfold attention, softmax, normalize in *.
  set (u := gram m Y i) in *. set (v := gram d X i) in *.
  rewrite (fsum_without n _ j) by auto.
  rewrite (fsum_without n (fun k => exp (v k)) j) in * by auto.
  assert (P : forall w, 0 <= fsum n (off (fun k => Nat.eqb k j) (fun k => exp (w k))))
    by (intros; apply fsum_off_nonneg; intros; left; apply exp_pos).
  pose proof (P u). pose proof (P v). pose proof (exp_pos (u j)). pose proof (exp_pos (v j)).
  pose proof (exp_pos (2 * r)). pose proof (INR_ge_1 n Hn).
  assert (0 <= eps * r) by (apply Rmult_le_pos; auto).
  apply entry_core; auto; [apply exp_ge_1; lra |].
  set (A' := fsum n (off _ _)) in *. set (Z := exp (v j) + A') in *.
  assert (HZ : 0 < Z) by (unfold Z; lra).
  assert (HD : 0 < exp (2 * r) + INR n - 1) by lra.
  assert (K : exp (v j) * (exp (2 * r) + INR n - 1) <= exp (2 * r) * Z).
  { replace (exp (v j)) with (exp (v j) / Z * Z) at 1 by (field; lra).
    replace (exp (2 * r)) with (exp (2 * r) / (exp (2 * r) + INR n - 1) * (exp (2 * r) + INR n - 1))
      at 2 by (field; lra).
    replace (exp (v j) / Z * Z * (exp (2 * r) + INR n - 1))
      with (exp (v j) / Z * (Z * (exp (2 * r) + INR n - 1))) by ring.
    rewrite Rmult_assoc, (Rmult_comm _ Z). apply Rmult_le_compat_r; nra. }
  unfold Z in K. lra.
Qed.

(** Approached as n grows: the extremal entry falls short by a factor 1 - O(1 / n^2). *)
Theorem p3_loewner_entry_approached n eps r : (0 < n)%nat -> 0 <= r -> 0 <= eps ->
  let X := signs 1 r in let Y := stretched eps X in
  let before := exp (2 * r) in let after := exp (2 * ((1 + eps) * r)) in
  small_logits n 1 X r /\ loewner n (gram 1 X) (gram 1 Y) eps /\
  attention n 1 Y 0 0 - attention n 1 X 0 0
    = b_loewner_entry n r eps * (1 - before * after / ((INR n - 1 + before) * (INR n - 1 + after))).
Proof.
  intros Hn Hr He X Y before after. split; [apply small_logits_signs; auto |].
  split; [apply loewner_stretched; auto |]. unfold Y, X.
  assert (HR : 0 <= (1 + eps) * r) by (apply Rmult_le_pos; lra).
  rewrite attention_stretched, attention_signs by (auto; lia).
  rewrite (softmax_ext n (block 1 r) (spike r)) by (auto; intros; apply block_spike).
  rewrite (softmax_ext n (block 1 ((1 + eps) * r)) (spike ((1 + eps) * r)))
    by (auto; intros; apply block_spike).
  rewrite (proj2 (s_range_upper_attained n r Hn Hr)).
  rewrite (proj2 (s_range_upper_attained n ((1 + eps) * r) Hn HR)).
  rewrite loewner_entry_form, !range_upper_fraction by auto. fold before. fold after.
  assert (F : after = before * exp (2 * (eps * r)))
    by (unfold after, before; rewrite <- exp_plus; f_equal; ring).
  rewrite F. pose proof (INR_ge_1 n Hn). pose proof (exp_pos (2 * (eps * r))).
  assert (0 < before) by apply exp_pos. field. repeat split; nra.
Qed.

(** * P3.loewner and P3.rows: rows *)

Lemma loewner_row_form eps r : b_loewner_row eps r = 2 * b_softmax_tv (eps * r).
Proof. unfold b_loewner_row, b_softmax_tv. argument tanh (eps * r / 2). reflexivity. Qed.

Lemma loewner_row_norms_form eps rho M :
  b_loewner_row_norms eps rho M = 2 * b_softmax_tv (eps * (rho * M)).
Proof.
  unfold b_loewner_row_norms, b_softmax_tv. argument tanh (eps * (rho * M) / 2). reflexivity.
Qed.

Theorem p3_loewner_row n d m X Y eps r i : 0 <= eps -> small_logits n d X r ->
  loewner n (gram d X) (gram m Y) eps -> (i < n)%nat ->
  row_distance n (attention n m Y i) (attention n d X i) <= b_loewner_row eps r.
Proof.
  intros He B L Hi. rewrite loewner_row_form. apply row_distance_softmax; [lia |].
  apply (loewner_within n); auto.
Qed.

(** No bound on the logits: M bounds the rows' lengths, and every row pays for its own. *)
Theorem p3_rows n d m X Y eps i M : 0 <= eps -> loewner n (gram d X) (gram m Y) eps ->
  (i < n)%nat -> (forall j, (j < n)%nat -> sqrt (gram d X j j) <= M) ->
  row_distance n (attention n m Y i) (attention n d X i)
    <= b_loewner_row_norms eps (sqrt (gram d X i i)) M.
Proof.
  intros He L Hi HM. rewrite loewner_row_norms_form. apply row_distance_softmax; [lia |].
  intros j Hj. eapply Rle_trans; [apply (gram_difference n d m X Y eps); auto |].
  apply Rmult_le_compat_l; auto. apply Rmult_le_compat_l; auto. apply sqrt_pos.
Qed.

(** Attained with a rows of one sign and b of the other wherever exp ((2 + eps) r) = b / a. *)
Theorem p3_loewner_row_attained a b eps r : (0 < a)%nat -> 0 <= r -> 0 <= eps ->
  exp ((2 + eps) * r) * INR a = INR b ->
  let X := signs a r in let Y := stretched eps X in
  small_logits (a + b) 1 X r /\ loewner (a + b) (gram 1 X) (gram 1 Y) eps /\
  row_distance (a + b) (attention (a + b) 1 Y 0) (attention (a + b) 1 X 0) = b_loewner_row eps r.
Proof.
  intros Ha Hr He Hb X Y. split; [apply small_logits_signs; auto |].
  split; [apply loewner_stretched; auto |].
  transitivity (row_distance (a + b) (softmax (a + b) (block a ((1 + eps) * r)))
                                     (softmax (a + b) (block a r))).
  { apply fsum_ext. intros j Hj. unfold Y, X.
    now rewrite attention_stretched, attention_signs by auto. }
  rewrite row_distance_block, loewner_row_form, tv_form, <- Hb by (try assumption; nra).
  replace (exp (2 * ((1 + eps) * r))) with (exp (2 * r) * (exp (eps * r) * exp (eps * r)))
    by (rewrite <- !exp_plus; f_equal; ring).
  replace (exp ((2 + eps) * r)) with (exp (2 * r) * exp (eps * r))
    by (rewrite <- exp_plus; f_equal; ring).
  pose proof (INR_ge_1 a Ha). pose proof (exp_pos (eps * r)) as He1.
  assert (P : 0 < INR a * exp (2 * r)) by (pose proof (exp_pos (2 * r)); nra).
  pose proof (Rmult_lt_0_compat _ _ P He1) as Q. pose proof (Rmult_lt_0_compat _ _ Q He1).
  field. repeat split; nra.
Qed.

Theorem p3_rows_attained a b eps r : (0 < a)%nat -> 0 <= r -> 0 <= eps ->
  exp ((2 + eps) * r) * INR a = INR b ->
  let X := signs a r in let Y := stretched eps X in
  loewner (a + b) (gram 1 X) (gram 1 Y) eps /\
  row_distance (a + b) (attention (a + b) 1 Y 0) (attention (a + b) 1 X 0)
    = b_loewner_row_norms eps (sqrt r) (sqrt r).
Proof.
  intros Ha Hr He Hb X Y. destruct (p3_loewner_row_attained a b eps r Ha Hr He Hb) as [_ [L E]].
  split; auto. rewrite loewner_row_norms_form, sqrt_sqrt, <- loewner_row_form by auto. exact E.
Qed.

(** * P3.gram *)

(** A factor of G has no error at all. *)
Theorem p3_gram_exact n d m X Y i j :
  (forall k l, (k < n)%nat -> (l < n)%nat -> gram m Y k l = gram d X k l) ->
  (i < n)%nat -> (j < n)%nat -> attention n m Y i j = attention n d X i j.
Proof. intros H Hi Hj. apply softmax_ext; auto. Qed.

(** An entry of G in floating point, summed in any order, without underflow. *)
Theorem p3_gram_rounding d u X i j t s : 0 <= u -> INR d * u <= 1 / 2 -> adds d t ->
  computes u 0 (fun c => X i c * X j c) t s ->
  Rabs (s - gram d X i j) <= b_gram_rounding d u * fsum d (fun c => Rabs (X i c * X j c)).
Proof.
  intros Hu Hd Ht Hs.
  pose proof (fp_logit d u 0 0 (X i) (X j) t s _ Hu ltac:(lra) ltac:(lra) Hd Ht Hs (Rle_refl _))
    as B.
  rewrite logit_form in B by lra. unfold gram.
  replace (b_gram_rounding d u) with (gamma d u)
    by (unfold b_gram_rounding, gamma; field; lra).
  lra.
Qed.
