(** What stands in the way of training from every start (claims P4.stuck and P4.neuron).

    P4.stuck: with z = e^X the odd rows of the problem have the output
    Y (1 + (z - 1)^2 (z - 2) / (1 + z + z^2 + z^3)), the even ones Y.  Where z <= 2 that is no more
    than Y, if Y >= 0, and (Y - 20)^2 + (Y - 22)^2 = 2 + 2 (Y - 21)^2.
    P4.neuron: half the keys have the logit s = <a, X_1>, half 0, and so e^s / (e^s + 1) of the
    weight lies on the half with values. *)

Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Softmax Require Import Softmax.
From Attest.Regression Require Import Regression Curvature AttentionRegression RegressionNewton.
Open Scope R_scope.

Lemma softmax_mean m s f : (0 < m)%nat ->
  mean m (softmax m s) f = fsum m (fun j => exp (s j) * f j) / fsum m (fun j => exp (s j)).
Proof.
  intros Hm. assert (P : 0 < fsum m (fun j => exp (s j)))
    by (apply fsum_pos; auto; intros; apply exp_pos).
  unfold mean, dot, softmax, normalize. rewrite <- fsum_div. apply fsum_ext. intros. field. lra.
Qed.

(** * P4.stuck *)

Definition four (a b c d : R) (i j : nat) : R :=
  match i with O => a | 1%nat => b | 2%nat => c | _ => d end.

Definition four_rows : regression := {|
  query_count := 4; key_count := 4; query_dimension := 1; key_dimension := 1;
  feature_dimension := 1; outputs := 1;
  A1 := four 0 1 0 1; A2 := four 0 1 2 3; A3 := four (-1) 6 (-3) 2;
  targets := four 20 22 20 22 |}.

(** The output of an odd row is Y times this. *)
Definition odd_output (z : R) : R := (2 * z ^ 3 - 3 * z ^ 2 + 6 * z - 1) / (1 + z + z ^ 2 + z ^ 3).

Lemma four_rows_loss X Y : regression_loss four_rows X Y
  = (Y O O - 20) ^ 2 + (Y O O * odd_output (exp (X O O)) - 22) ^ 2.
Proof.
  set (x := X O O). set (y := Y O O). set (z := exp x).
  assert (Z : 0 < z) by apply exp_pos.
  assert (Z2 : exp (2 * x) = z * z) by apply exp_double.
  assert (Z3 : exp (3 * x) = z * z * z).
  { replace (3 * x) with (2 * x + x) by ring. rewrite exp_plus, Z2. reflexivity. }
  assert (W : 0 < 1 + z + z ^ 2 + z ^ 3).
  { pose proof (pow_lt z 2 Z). pose proof (pow_lt z 3 Z). lra. }
  assert (E : residual four_rows X Y 0 0 = y - 20 /\ residual four_rows X Y 2 0 = y - 20).
  { split; unfold residual, query_weights; rewrite softmax_mean by (simpl; lia);
      unfold query_logit, key_value; cbn [fsum four_rows key_count query_dimension key_dimension
        feature_dimension A1 A2 A3 targets four]; fold x y;
      rewrite ?Rmult_0_l, ?Rplus_0_l, ?Rmult_0_l, ?exp_0; field. }
  assert (O : residual four_rows X Y 1 0 = y * odd_output z - 22 /\
    residual four_rows X Y 3 0 = y * odd_output z - 22).
  { split; unfold residual, query_weights; rewrite softmax_mean by (simpl; lia);
      unfold query_logit, key_value; cbn [fsum four_rows key_count query_dimension key_dimension
        feature_dimension A1 A2 A3 targets four]; fold x y;
      replace (0 + (0 + 1 * x * 0)) with 0 by ring;
      replace (0 + (0 + 1 * x * 1)) with x by ring;
      replace (0 + (0 + 1 * x * 2)) with (2 * x) by ring;
      replace (0 + (0 + 1 * x * 3)) with (3 * x) by ring;
      rewrite Z2, Z3, exp_0; fold z; unfold odd_output; field; nra. }
  destruct E as [E0 E2]. destruct O as [O1 O3].
  unfold regression_loss. cbn [fsum four_rows query_count outputs].
  fold four_rows. rewrite E0, E2, O1, O3. field.
Qed.

Lemma odd_output_up_to z : 0 < z <= 2 -> odd_output z <= 1.
Proof.
  intros [Z Z2]. unfold odd_output. pose proof (pow_lt z 2 Z). pose proof (pow_lt z 3 Z).
  apply div_le; [lra |].
  assert (0 <= (z - 1) ^ 2 * (2 - z)) by (apply Rmult_le_pos; [apply pow2_ge_0 | lra]). nra.
Qed.

Lemma exp_ln_2 x : x <= ln 2 -> 0 < exp x <= 2.
Proof.
  intros H. split; [apply exp_pos |]. rewrite <- (exp_ln 2) by lra. apply exp_le, H.
Qed.

Lemma stuck_sum y o : o <= 1 -> 2 <= (y - 20) ^ 2 + (y * o - 22) ^ 2 /\
  ((y - 20) ^ 2 + (y * o - 22) ^ 2 <= 2 -> y = 21 /\ o = 1).
Proof.
  intros Ho.
  destruct (Rle_lt_dec y 0) as [N | P].
  - assert (400 <= (y - 20) ^ 2) by nra. pose proof (pow2_ge_0 (y * o - 22)). split; lra.
  - destruct (Rlt_le_dec 22 y) as [U | U].
    + assert (4 < (y - 20) ^ 2) by nra. pose proof (pow2_ge_0 (y * o - 22)). split; lra.
    + assert (Q : (22 - y) ^ 2 + (y * (1 - o)) ^ 2 <= (y * o - 22) ^ 2).
      { assert (0 <= (22 - y) * (y * (1 - o))) by (apply Rmult_le_pos; [lra |];
          apply Rmult_le_pos; lra). nra. }
      pose proof (pow2_ge_0 (y - 21)). pose proof (pow2_ge_0 (y * (1 - o))). split; [nra |].
      intros H2. assert (S : (y - 21) ^ 2 = 0) by nra. assert (y = 21) by nra. subst y.
      assert (T : (21 * (1 - o)) ^ 2 = 0) by nra. split; [auto | nra].
Qed.

Theorem p4_stuck_loss X Y : X O O <= ln 2 -> 2 - regression_loss four_rows X Y <= b_stuck_loss.
Proof.
  intros H. rewrite four_rows_loss. unfold b_stuck_loss.
  destruct (stuck_sum (Y O O) _ (odd_output_up_to _ (exp_ln_2 _ H))) as [S _]. lra.
Qed.

(** The planted point has no loss. *)
Theorem p4_stuck_planted X Y : X O O = ln 3 -> Y O O = 20 -> regression_loss four_rows X Y = 0.
Proof.
  intros EX EY. rewrite four_rows_loss, EX, EY, exp_ln by lra. unfold odd_output. field.
Qed.

Theorem p4_stuck_loss_attained X Y : X O O = 0 -> Y O O = 21 ->
  X O O <= ln 2 /\ 2 - regression_loss four_rows X Y = b_stuck_loss.
Proof.
  intros EX EY. split.
  - rewrite EX, <- ln_1. left. apply ln_increasing; lra.
  - rewrite four_rows_loss, EX, EY, exp_0. unfold odd_output, b_stuck_loss. field.
Qed.

(** A strict minimum of the half plane. *)
Theorem p4_stuck_strict X Y : X O O < ln 2 -> regression_loss four_rows X Y <= 2 ->
  X O O = 0 /\ Y O O = 21.
Proof.
  intros H L. rewrite four_rows_loss in L.
  destruct (stuck_sum (Y O O) _ (odd_output_up_to _ (exp_ln_2 _ (Rlt_le _ _ H)))) as [_ S].
  destruct (S L) as [Ey Eo]. split; [| exact Ey].
  set (z := exp (X O O)) in *. assert (Z : 0 < z) by apply exp_pos.
  assert (Z2 : z < 2).
  { unfold z. rewrite <- (exp_ln 2) by lra. now apply exp_increasing. }
  pose proof (pow_lt z 2 Z). pose proof (pow_lt z 3 Z).
  assert (E : 2 * z ^ 3 - 3 * z ^ 2 + 6 * z - 1 = 1 + z + z ^ 2 + z ^ 3).
  { unfold odd_output in Eo. apply Rmult_eq_reg_r with (/ (1 + z + z ^ 2 + z ^ 3)).
    - rewrite Rinv_r by lra. exact Eo.
    - apply Rinv_neq_0_compat. lra. }
  assert (F : (z - 1) ^ 2 * (z - 2) = 0) by nra.
  apply Rmult_integral in F. destruct F as [F | F]; [| lra].
  assert (z = 1) by nra. apply exp_inv. rewrite exp_0. exact H2.
Qed.

(** There the gradient is 0, so that no step along it leads anywhere. *)
Theorem p4_stuck_stationary X Y : X O O = 0 -> Y O O = 21 -> stationary four_rows X Y.
Proof.
  intros EX EY U V.
  assert (Hm : (0 < key_count four_rows)%nat) by (simpl; lia).
  pose proof (p4_gradient four_rows X Y U V Hm) as D.
  set (l := gradient_form four_rows X Y U V + b_gradient_difference) in *.
  clearbody l. enough (E : l = 0) by (now rewrite E in D).
  pose proof (proj1 (is_derive_Reals _ _ _) D) as D'.
  assert (pr : derivable_pt (loss_along four_rows X Y U V) 0) by (exists l; exact D').
  rewrite <- (derive_pt_eq_0 _ _ _ pr D').
  assert (L2 : 0 < ln 2) by (rewrite <- ln_1; apply ln_increasing; lra).
  set (w := ln 2 / (1 + Rabs (U O O))).
  assert (P : 0 < 1 + Rabs (U O O)) by (pose proof (Rabs_pos (U O O)); lra).
  assert (Pw : 0 < w) by (apply Rdiv_lt_0_compat; auto).
  apply (deriv_minimum _ (- w) w 0 pr); try lra.
  intros t T1 T2.
  destruct (p4_stuck_loss_attained (moved X U 0) (moved Y V 0)) as [_ A];
    [unfold moved; rewrite EX; ring | unfold moved; rewrite EY; ring |].
  pose proof (p4_stuck_loss (moved X U t) (moved Y V t)) as B.
  unfold loss_along. unfold b_stuck_loss in *.
  assert (C : moved X U t O O <= ln 2).
  { unfold moved. rewrite EX, Rplus_0_l. eapply Rle_trans; [apply Rle_abs |]. rewrite Rabs_mult.
    assert (Rabs t <= w) by (apply Rabs_le; lra).
    replace (ln 2) with (w * (1 + Rabs (U O O))) by (unfold w; field; lra).
    apply Rmult_le_compat; try apply Rabs_pos; auto. lra. }
  specialize (B C). lra.
Qed.

(** * P4.neuron *)

Definition logistic (s : R) : R := / (1 + exp (- s)).

(** e_1 in the first half, 0 in the second. *)
Definition halves (half j b : nat) : R :=
  if Nat.ltb j half then (if Nat.eqb b 0 then 1 else 0) else 0.

Definition neuron_layer (n d c half : nat) (a B : nat -> nat -> R) : regression := {|
  query_count := n; key_count := half + half; query_dimension := d; key_dimension := d;
  feature_dimension := d; outputs := c;
  A1 := a; A2 := halves half; A3 := halves half; targets := B |}.

Lemma halves_sum d half j f : (0 < d)%nat ->
  fsum d (fun b => f b * halves half j b) = if Nat.ltb j half then f O else 0.
Proof.
  intros Hd. unfold halves. destruct (Nat.ltb j half).
  - replace d with (1 + (d - 1))%nat by lia. rewrite fsum_add. cbn [fsum Nat.eqb].
    rewrite fsum_zero; [ring |]. intros b _. cbn [Nat.add Nat.eqb]. ring.
  - apply fsum_zero. intros. ring.
Qed.

Theorem p4_neuron n d c half a B X Y i k : (0 < half)%nat -> (0 < d)%nat ->
  residual (neuron_layer n d c half a B) X Y i k
    - (logistic (fsum d (fun l => a i l * X l O)) * Y O k - B i k) = b_neuron_difference.
Proof.
  intros Hh Hd. unfold b_neuron_difference. set (s := fsum d (fun l => a i l * X l O)).
  unfold residual, query_weights. rewrite softmax_mean by (simpl; lia).
  cbn [neuron_layer key_count targets].
  assert (Lg : forall j, query_logit (neuron_layer n d c half a B) X i j
    = if Nat.ltb j half then s else 0).
  { intros j. unfold query_logit. cbn [neuron_layer query_dimension key_dimension A1 A2].
    rewrite (fsum_ext d _ (fun l => if Nat.ltb j half then a i l * X l O else 0))
      by (intros; apply (halves_sum d half j (fun b => a i i0 * X i0 b)); auto).
    destruct (Nat.ltb j half); [reflexivity | now apply fsum_zero]. }
  assert (Kv : forall j, key_value (neuron_layer n d c half a B) Y j k
    = if Nat.ltb j half then Y O k else 0).
  { intros j. unfold key_value. cbn [neuron_layer feature_dimension A3].
    rewrite (fsum_ext d _ (fun e => Y e k * halves half j e)) by (intros; ring).
    now apply (halves_sum d half j (fun e => Y e k)). }
  assert (Two : forall f g, fsum (half + half) (fun j => if Nat.ltb j half then f else g)
    = INR half * f + INR half * g).
  { intros f g. rewrite fsum_add.
    rewrite (fsum_ext half _ (fun _ => f)), fsum_const.
    - rewrite (fsum_ext half _ (fun _ => g)), fsum_const; [reflexivity |].
      intros j _. destruct (Nat.ltb_spec (half + j) half); [lia | reflexivity].
    - intros j Hj. destruct (Nat.ltb_spec j half); [reflexivity | lia]. }
  rewrite (fsum_ext (half + half) _ (fun j => if Nat.ltb j half then exp s * Y O k else 0)).
  2: { intros j _. rewrite Lg, Kv. destruct (Nat.ltb j half); ring. }
  rewrite (fsum_ext (half + half) (fun j => exp (query_logit _ _ _ _))
    (fun j => if Nat.ltb j half then exp s else 1)).
  2: { intros j _. rewrite Lg. destruct (Nat.ltb j half); [reflexivity | apply exp_0]. }
  rewrite !Two. unfold logistic. pose proof (exp_pos s). pose proof (lt_0_INR half Hh).
  assert (M : exp (- s) = / exp s) by apply exp_Ropp. rewrite M. field.
  split; [| split]; nra.
Qed.
