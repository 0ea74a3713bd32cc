(** Attention with a polynomial in place of exp, from moments to the output (claim P2.poly).

    For logits in [-b, b], b the half-range once the keys are centred, and P with
    m <= P (x) exp (-x) <= m kappa there, S.kappa bounds the distance of the weights P (q . k_j),
    normalised, to the softmax.  Steps: (1) both sums that a query reads from the moments are exact
    ([p2_poly_moments]); (2) the softmax does not see the centre ([p2_centring]); (3) the Taylor
    polynomial has a relative error delta (S.taylor), so kappa = (1 + delta) / (1 - delta). *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax TotalVariation Weights Taylor.
From Attest.Rounding Require Import RoundingSoftmax.
From Attest.Polynomial Require Import Moments.
Open Scope R_scope.

(** m <= P (x) exp (- x) <= m kappa for |x| <= b: what the certificate asks of the coefficients. *)
Definition fits_exp (g : nat) (c : nat -> R) (b m kappa : R) : Prop :=
  forall x, Rabs x <= b -> m <= polynomial g c x * exp (- x) <= m * kappa.

(** The output of a query: the quotient of what it reads from the moments of the values and of 1. *)
Definition polynomial_output (n d g : nat) (c q : nat -> R) (K : nat -> nat -> R) (v : nat -> R) :
  R := read d g c q (moment n K v) / read d g c q (moment n K (fun _ => 1)).

(** P (q . k_j) *)
Definition polynomial_weight (d g : nat) (c q : nat -> R) (K : nat -> nat -> R) (j : nat) : R :=
  polynomial g c (dot d q (K j)).

Lemma polynomial_output_weights n d g c q K v :
  polynomial_output n d g c q K v = dot n (normalize n (polynomial_weight d g c q K)) v.
Proof.
  unfold polynomial_output. rewrite !p2_poly_moments, dot_normalize, dot_one. reflexivity.
Qed.

(** The denominator is never zero. *)
Theorem p2_poly_denominator n d g c q K b m kappa : (0 < n)%nat -> 0 < m ->
  fits_exp g c b m kappa -> bounded n (fun j => dot d q (K j)) b ->
  0 < read d g c q (moment n K (fun _ => 1)).
Proof.
  intros Hn Hm HP Hb. rewrite p2_poly_moments. apply fsum_pos; auto. intros j Hj.
  destruct (HP _ (Hb j Hj)) as [L _]. pose proof (exp_pos (- dot d q (K j))).
  rewrite Rmult_1_r. apply Rmult_lt_reg_r with (exp (- dot d q (K j))); lra.
Qed.

Lemma mass_ext n S p p' : (forall i, p i = p' i) -> mass n S p = mass n S p'.
Proof. intros H. apply fsum_ext. intros i _. unfold on. now rewrite H. Qed.

Theorem p2_poly_tv n d g c q K centre b m kappa S : (0 < n)%nat -> 0 < m ->
  fits_exp g c b m kappa -> bounded n (fun j => dot d q (shifted K centre j)) b ->
  Rabs (mass n S (normalize n (polynomial_weight d g c q (shifted K centre)))
        - mass n S (softmax n (fun j => dot d q (K j)))) <= b_kappa_tv kappa.
Proof.
  intros Hn Hm HP Hb.
  rewrite <- (mass_ext n S _ _ (p2_centring n d q K centre)).
  apply (s_kappa_function n _ (polynomial g c) m); auto.
Qed.

Lemma softmax_total n v : (0 < n)%nat -> fsum n (softmax n v) = 1.
Proof. intros. apply (normalize_total n (fun j => exp (v j))). apply exp_sum_pos; auto. Qed.

Lemma poly_output_form kappa spread : b_poly_output kappa spread = spread * b_kappa_tv kappa.
Proof. unfold b_poly_output, b_kappa_tv. argument tanh (ln kappa / 4). ring. Qed.

(** From the moments of the centred keys to the error of the output. *)
Theorem p2_poly_output n d g c q K centre v b m kappa lo hi : (0 < n)%nat -> 0 < m ->
  fits_exp g c b m kappa -> bounded n (fun j => dot d q (shifted K centre j)) b ->
  ranges n v lo hi ->
  Rabs (polynomial_output n d g c q (shifted K centre) v
        - dot n (softmax n (fun j => dot d q (K j))) v) <= b_poly_output kappa (hi - lo).
Proof.
  intros Hn Hm HP Hb Hv. rewrite polynomial_output_weights, poly_output_form. apply dot_gap; auto.
  - eapply ranges_ordered; eauto.
  - rewrite softmax_total by auto. apply normalize_total.
    pose proof (p2_poly_denominator n d g c q _ b m kappa Hn Hm HP Hb) as D.
    rewrite p2_poly_moments, dot_one in D. exact D.
  - intros S. eapply p2_poly_tv; eauto.
Qed.

(** * Taylor's polynomial *)

Definition taylor_coefficients (m : nat) : R := / INR (fact m).

Lemma polynomial_taylor g x : polynomial g taylor_coefficients x = taylor g x.
Proof. apply fsum_ext. intros. unfold taylor_coefficients, Rdiv. ring. Qed.

(** Any polynomial with a relative error delta < 1, on the interval of the logits. *)
Lemma relative_fits_exp g c b delta : 0 <= delta < 1 ->
  (forall x, Rabs x <= b -> Rabs (exp x - polynomial g c x) <= delta * exp x) ->
  fits_exp g c b (1 - delta) ((1 + delta) / (1 - delta)).
Proof.
  intros Hd H x Hx. specialize (H x Hx). apply Rabs_bounds in H.
  replace ((1 - delta) * ((1 + delta) / (1 - delta))) with (1 + delta) by (field; lra).
  pose proof (exp_pos (- x)). pose proof (exp_opp_mult x).
  assert (polynomial g c x * exp (- x) - 1 = (polynomial g c x - exp x) * exp (- x)) by lra.
  nra.
Qed.

Theorem p2_poly_relative n d g c q K centre v b delta M : (0 < n)%nat -> 0 <= delta < 1 ->
  (forall x, Rabs x <= b -> Rabs (exp x - polynomial g c x) <= delta * exp x) ->
  bounded n (fun j => dot d q (shifted K centre j)) b -> bounded n v M ->
  Rabs (polynomial_output n d g c q (shifted K centre) v
        - dot n (softmax n (fun j => dot d q (K j))) v) <= b_weights_output delta M.
Proof.
  intros Hn Hd HP Hb Hv. rewrite weights_output_form, weights_form by auto.
  replace (2 * M) with (M - - M) by ring. rewrite <- poly_output_form.
  apply (p2_poly_output n d g c q K centre v b (1 - delta)); auto; [lra | |].
  - apply relative_fits_exp; auto.
  - apply bounded_ranges; auto.
Qed.

Theorem p2_poly_taylor n d g q K centre v b M : (0 < n)%nat -> 0 <= b ->
  b_taylor_relative g b < 1 ->
  bounded n (fun j => dot d q (shifted K centre j)) b -> bounded n v M ->
  Rabs (polynomial_output n d g taylor_coefficients q (shifted K centre) v
        - dot n (softmax n (fun j => dot d q (K j))) v)
    <= b_weights_output (b_taylor_relative g b) M.
Proof.
  intros Hn Hb Hd HK Hv. apply (p2_poly_relative n d g _ q K centre v b); auto.
  - split; auto. rewrite relative_form.
    apply Rmult_le_pos; [apply next_term_nonneg; auto | left; apply exp_pos].
  - intros x Hx. rewrite polynomial_taylor. apply s_taylor_relative; auto.
Qed.

(** * P2.error: n = 2^g keys, and the degree g = log2 n *)

Lemma taylor_relative_small g b : 0 <= b <= 1 -> (2 <= g)%nat -> 0 <= b_taylor_relative g b < 1.
Proof.
  intros Hb Hg. rewrite relative_form. pose proof (exp_pos b). split.
  - apply Rmult_le_pos; [apply next_term_nonneg |]; lra.
  - assert (T : next_term g b <= / 6).
    { unfold next_term. apply Rle_trans with (1 / 6); [| lra].
      apply Rmult_le_compat; [apply pow_le; lra | left; apply Rinv_0_lt_compat, INR_fact_lt_0 | |].
      - rewrite <- (pow1 (S g)). apply pow_incr. lra.
      - apply Rinv_le_contravar; [lra |]. replace 6 with (INR (fact 3)) by (simpl; ring).
        apply le_INR, fact_le. lia. }
    assert (exp b <= 3) by (eapply Rle_trans; [apply exp_le, Hb | apply exp_le_3]).
    apply Rle_lt_trans with (/ 6 * 3); [| lra].
    apply Rmult_le_compat; try lra. apply next_term_nonneg. lra.
Qed.

Lemma error_output_form g b M : 0 <= b <= 1 -> (2 <= g)%nat ->
  b_error_output g b M = b_weights_output (b_taylor_relative g b) M.
Proof.
  intros Hb Hg. pose proof (taylor_relative_small g b Hb Hg) as Hd. revert Hd.
  rewrite relative_form. unfold b_error_output, b_weights_output, next_term.
  set (F := INR (fact (S g))). pose proof (INR_fact_lt_0 (S g)) as HF. fold F in HF.
  intros Hd. count (S g). count (S g + S g)%nat. fold F.
  argument exp (2 * b). rewrite pow_add, exp_double.
  match goal with |- context [sqrt ?y] =>
    replace y with (1 - (b ^ S g / F * exp b) ^ 2) by (field; lra) end.
  pose proof (sqrt_pos (1 - (b ^ S g / F * exp b) ^ 2)). field. lra.
Qed.

Theorem p2_error_output d g q K v b M : 0 <= b <= 1 -> (2 <= g)%nat ->
  bounded (2 ^ g) (fun j => dot d q (K j)) b -> bounded (2 ^ g) v M ->
  Rabs (polynomial_output (2 ^ g) d g taylor_coefficients q K v
        - dot (2 ^ g) (softmax (2 ^ g) (fun j => dot d q (K j))) v) <= b_error_output g b M.
Proof.
  intros Hb Hg HK Hv. rewrite error_output_form by auto.
  pose proof (taylor_relative_small g b Hb Hg).
  assert (Hn : (0 < 2 ^ g)%nat) by (apply Nat.neq_0_lt_0, Nat.pow_nonzero; lia).
  rewrite polynomial_output_weights.
  assert (R : relative_error (2 ^ g) (fun j => exp (dot d q (K j)))
    (polynomial_weight d g taylor_coefficients q K) (b_taylor_relative g b)).
  { intros j Hj. pose proof (s_taylor_relative g _ b (HK j Hj)) as T.
    unfold polynomial_weight. rewrite polynomial_taylor. apply Rabs_bounds in T. lra. }
  apply (s_weights_output _ (fun j => exp (dot d q (K j)))); auto.
  intros j _. apply exp_pos.
Qed.

(** * Attainment: P falls on a straight line from exp (3 b) at - b to exp b at b *)

Definition falling (b : R) (m : nat) : R :=
  match m with
  | O => (exp (3 * b) + exp b) / 2
  | 1%nat => (exp b - exp (3 * b)) / (2 * b)
  | _ => 0
  end.

Lemma falling_value b x : 0 < b -> polynomial 1 (falling b) x
  = exp b + (exp (3 * b) - exp b) * ((b - x) / (2 * b)).
Proof. intros. unfold polynomial, falling. simpl. field. lra. Qed.

Theorem p2_poly_output_attained b lo hi : 0 < b -> lo <= hi ->
  let q := fun _ => 1 in let K := fun j _ => two_keys (- b) b j in
  let v := two_keys hi lo in
  fits_exp 1 (falling b) b 1 (exp (4 * b)) /\ bounded 2 (fun j => dot 1 q (K j)) b /\
  ranges 2 v lo hi /\
  polynomial_output 2 1 1 (falling b) q K v - dot 2 (softmax 2 (fun j => dot 1 q (K j))) v
    = b_poly_output (exp (4 * b)) (hi - lo).
Proof.
  intros Hb Hlh q K v. set (E := exp b). assert (HE : 1 < E).
  { unfold E. rewrite <- exp_0. apply exp_increasing. auto. }
  assert (E3 : exp (3 * b) = E * E * E) by (unfold E; rewrite <- !exp_plus; f_equal; ring).
  assert (E4 : exp (4 * b) = E * E * (E * E)) by (unfold E; rewrite <- !exp_plus; f_equal; ring).
  assert (Em : exp (- b) = / E) by (apply exp_Ropp).
  assert (L : forall j, dot 1 q (K j) = two_keys (- b) b j)
    by (intros; unfold dot, q, K; simpl; ring).
  assert (HE3 : 0 <= E * E * E - E) by nra.
  repeat split; try (apply (two_keys_ranges 2); auto).
  - (* at most on the right *)
    apply Rabs_bounds in H. rewrite falling_value, E3 by auto. fold E.
    assert (0 <= (E * E * E - E) * ((b - x) / (2 * b))).
    { apply Rmult_le_pos; auto. apply le_div; lra. }
    assert (/ E <= exp (- x)) by (rewrite <- Em; apply exp_le; lra).
    apply Rle_trans with (E * / E); [right; field; lra |].
    apply Rmult_le_compat; try lra. left. apply Rinv_0_lt_compat. lra.
  - apply Rabs_bounds in H. rewrite falling_value, E3, E4 by auto. fold E.
    assert ((b - x) / (2 * b) <= 1) by (apply div_le; lra).
    assert (0 <= (b - x) / (2 * b)) by (apply le_div; lra).
    assert ((E * E * E - E) * ((b - x) / (2 * b)) <= (E * E * E - E) * 1)
      by (apply Rmult_le_compat_l; auto).
    assert (0 <= (E * E * E - E) * ((b - x) / (2 * b))) by (apply Rmult_le_pos; auto).
    assert (exp (- x) <= E) by (apply exp_le; lra). pose proof (exp_pos (- x)).
    apply Rle_trans with (E * E * E * E); [apply Rmult_le_compat; lra | right; ring].
  - intros j _. rewrite L. apply two_keys_cases; apply Rabs_le; lra.
  - rewrite polynomial_output_weights. unfold v.
    assert (P : dot 2 (normalize 2 (polynomial_weight 1 1 (falling b) q K)) (two_keys hi lo)
      = (E * E * E * hi + E * lo) / (E * E * E + E)).
    { assert (W : forall j, polynomial_weight 1 1 (falling b) q K j = two_keys (E * E * E) E j).
      { intros j. unfold polynomial_weight. rewrite L, falling_value, E3 by auto. fold E.
        unfold two_keys. destruct (first j); field; lra. }
      rewrite <- two_keys_dot. apply fsum_ext. intros j _. f_equal. unfold normalize.
      rewrite W. f_equal. apply fsum_ext. auto. }
    assert (Q : dot 2 (softmax 2 (fun j => dot 1 q (K j))) (two_keys hi lo)
      = (/ E * hi + E * lo) / (/ E + E)).
    { rewrite <- two_keys_dot, <- Em. unfold E. apply fsum_ext. intros j _. f_equal.
      unfold softmax, normalize. rewrite L, two_keys_exp. f_equal. apply fsum_ext. intros k _.
      rewrite L. apply two_keys_exp. }
    rewrite P, Q. unfold b_poly_output. rewrite ln_exp.
    argument tanh (2 * b / 2). rewrite tanh_half, exp_double. fold E. field. nra.
Qed.
