(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude; a test compares them.

    The unit roundoff is 1/8, and numbers are 0 and 1, which no operation rounds: an error of 0 is
    one of the errors that the model allows. *)

Require Import Reals Lra Lia List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax TotalVariation Tanh.
From Attest.Rounding Require Import Rounding RoundingSoftmax Scores Merge Gradient.
Open Scope R_scope.

Definition one (j : nat) : R := 1.
Definition zero (j : nat) : R := 0.

Lemma leaf_adds : adds 1 (Leaf 0).
Proof. split; [exact I | apply Permutation_refl]. Qed.

Lemma leaf_computes u lost p x : 0 <= u -> 0 <= lost -> p 0%nat = x -> computes u lost p (Leaf 0) x.
Proof.
  intros Hu Hl <-. replace (p 0%nat) with (p 0%nat * (1 + 0) + 0) by ring.
  constructor; rewrite Rabs_R0; auto.
Qed.

Lemma weight_computed u e : 0 <= u -> 0 <= e -> computed_weight 1 u e 0 (0 - 0) 1.
Proof.
  intros Hu He. exists zero, zero, zero, zero. unfold zero. split; [cbn; lra |].
  split; [cbn; lra |]. split.
  - intros i _. rewrite Rminus_0_r, Rmult_0_r, Rabs_R0. lra.
  - cbn. rewrite exp_0. lra.
Qed.

Lemma gamma_1 : 0 <= gamma 1 (/ 8) < 1 / 2.
Proof. unfold gamma. cbn [INR]. split; [apply le_div; lra |].
  apply Rmult_lt_reg_r with (1 - 1 * / 8); [lra |]. unfold Rdiv at 1. rewrite Rmult_assoc, Rinv_l; lra.
Qed.

Lemma zero_error x y : x = 0 -> 0 <= y -> Rabs x <= y.
Proof. intros -> H. now rewrite Rabs_R0. Qed.

Ltac small := unfold one, zero, dot; cbn [Sums.fsum INR Nat.add];
  rewrite ?Rminus_0_r, ?Rmult_0_r, ?Rmult_0_l, ?Rmult_1_r, ?Rmult_1_l, ?Rplus_0_l,
    ?Rabs_R0, ?Rabs_R1; try lra.

Ltac settle := try lia; try lra; try (small; fail); try (apply zero_error; lra);
  try (intros ? _; small; fail);
  try (intros ? _; unfold one, zero; rewrite ?ln_1; apply zero_error; lra);
  try (intros ? _; unfold one, zero; rewrite ?ln_1, ?Rminus_0_r, ?Rabs_R0; lra);
  try (unfold one, zero, dot; cbn [Sums.fsum]; apply zero_error; lra);
  try (intros ? _; unfold one, zero; split; [apply zero_error; lra | lra]);
  try (unfold one, zero, dot; cbn [Sums.fsum]; lra);
  try (apply zero_error; [field | rewrite Rabs_R1; lra]); try (rewrite ln_1, Rabs_R0; lra).

(** For what holds once exponentials of 0, logarithms of 1 and magnitudes of 0 and 1 are taken. *)
Ltac plain := try (intros ? _); unfold one, zero, dot; cbn [Sums.fsum INR Nat.add];
  repeat match goal with
  | |- context [exp ?x] =>
      replace (exp x) with 1 by (replace x with 0 by (field; lra); symmetry; exact exp_0)
  | |- context [ln ?x] =>
      replace (ln x) with 0 by (replace x with 1 by (field; lra); symmetry; exact ln_1)
  | |- context [Rabs ?x] =>
      first [replace (Rabs x) with 0 by (replace x with 0 by (field; lra); symmetry; exact Rabs_R0)
            | replace (Rabs x) with 1 by (replace x with 1 by (field; lra); symmetry; exact Rabs_R1)]
  end; lra.

Theorem fp_logit_satisfiable :
  ~ (forall (d : nat) (u lost tiny : R) (q k : nat -> R) (t : Rounding.tree) (s A : R), 0 <= u
    -> 0 <= lost -> 2 * lost <= tiny -> INR d * u <= 1 / 2 -> Rounding.adds d t ->
    Rounding.computes u lost (fun l : nat => q l * k l) t s -> Sums.fsum d (fun l : nat => Rabs
    (q l * k l)) <= A -> False).
Proof.
  intros N. apply (N 1%nat (/ 8) (/ 8) (1 / 4) one one (Leaf 0) 1 1); try (small; fail);
    try (apply zero_error; lra).
  - exact leaf_adds.
  - apply leaf_computes; unfold one; lra.
Qed.

Theorem fp_positive_sum_satisfiable :
  ~ (forall (n k : nat) (u lost tiny : R) (p : nat -> R) (t : Rounding.tree) (s : R), 0 <= u ->
    0 <= lost -> 2 * lost <= tiny -> INR k * u <= 1 / 4 -> (forall j : nat, 0 <= p j) ->
    Rounding.adds n t -> (Rounding.roundings t <= k)%nat -> Rounding.computes u lost p t s ->
    False).
Proof.
  intros N. apply (N 1%nat 1%nat (/ 8) (/ 8) (1 / 4) one (Leaf 0) 1); try (small; fail);
    try (apply zero_error; lra).
  - intros j. small.
  - exact leaf_adds.
  - cbn. lia.
  - apply leaf_computes; unfold one; lra.
Qed.

Theorem fp_product_satisfiable :
  ~ (forall (m n d : nat) (u lost tiny : R) (A B C : nat -> nat -> R), 0 <= u -> 0 <= lost -> 2
    * lost <= tiny -> INR d * u <= 1 / 4 -> (forall i j : nat, (i < m)%nat -> (j < n)%nat ->
    exists t : Rounding.tree, Rounding.adds d t /\ Rounding.computes u lost (fun l : nat => A i
    l * B l j) t (C i j)) -> False).
Proof.
  intros N. apply (N 1%nat 1%nat 1%nat (/ 8) (/ 8) (1 / 4) (fun _ => one) (fun _ => one)
    (fun _ => one)); try (small; fail);
    try (apply zero_error; lra).
  intros i j _ _. exists (Leaf 0). split; [exact leaf_adds |].
  apply leaf_computes; unfold one; lra.
Qed.

Theorem fp_underflow_satisfiable :
  ~ (forall (n c products : nat) (g lost gone tiny M total lightest : R), 0 <= lost -> 2 * lost
    <= tiny -> 0 <= gone <= 2 * INR c * tiny -> INR products <= INR n * INR c -> 0 <= g <= 1 / 3
    -> 0 <= M <= 2 -> 0 < lightest <= total -> False).
Proof.
  intros N. apply (N 1%nat 1%nat 1%nat (/ 8) (/ 8) (/ 8) (1 / 4) 1 1 1); cbn [INR]; lra.
Qed.

Theorem fp_weight_satisfiable :
  ~ (forall (c : nat) (u exp_error reach logit_error s S m w : R), 0 <= u -> exp_error * u < 1
    -> Rabs (s - S) <= logit_error -> RoundingSoftmax.computed_weight c u (exp_error * u) reach
    (s - m) w -> False).
Proof.
  intros N. apply (N 1%nat (/ 8) 1 0 0 0 0 0 1); try (small; fail);
    try (apply weight_computed; lra); apply zero_error; lra.
Qed.

Theorem fp_scores_biased_satisfiable :
  ~ (forall s sc b rho u out S B : R, 0 <= u -> u <= 1 / 4 -> Rabs (sc - s) <= rho -> Rabs s <=
    S -> Rabs b <= B -> Scores.computed_bias u B sc b out -> False).
Proof.
  intros N. apply (N 1 1 1 0 (/ 8) 2 1 1); try (small; fail);
    try (apply zero_error; lra).
  exists 1, 0. replace (1 - 1) with 0 by ring. rewrite Rabs_R0. lra.
Qed.

Theorem fp_scores_capped_satisfiable :
  ~ (forall c x xc rho u te lost tiny out C : R, 0 < c -> 0 <= u -> 0 <= te -> (4 + te) * u <= 1
    / 2 -> 0 <= lost -> 2 * lost <= tiny -> Rabs (xc - x) <= rho -> Rabs (Scores.cap c xc) <= C
    -> Scores.computed_cap c u te lost tiny xc out -> False).
Proof.
  intros N. apply (N 1 0 0 0 (1 / 10) 1 (/ 8) (1 / 4) 0 1); try (small; fail);
    try (apply zero_error; lra).
  - unfold cap. replace (0 / 1) with 0 by field. rewrite tanh_at_0. small.
  - exists 0, 0, 0, 0, 0, 0, 0, 0. rewrite Rabs_R0. repeat (split; [lra |]). cbv zeta.
    replace (0 * (/ (1 * (1 + 0)) * (1 + 0)) * (1 + 0) + 0) with 0 by ring. rewrite tanh_at_0. lra.
Qed.

Theorem fp_scores_scaled_satisfiable :
  ~ (forall (d : nat) (u lost tiny scale : R) (q k : nat -> R) (s A B : R), 0 <= u -> 0 <= lost
    -> 2 * lost <= tiny -> INR d * u <= 1 / 2 -> INR (d + 2) * u < 1 -> Scores.computed_logit d
    u lost tiny scale q k s -> Sums.fsum d (fun l : nat => Rabs (scale * (q l * k l))) <= A ->
    Softmax.bounded d k B -> False).
Proof.
  intros N. apply (N 1%nat (/ 8) (/ 8) (1 / 4) 1 one one 1 1 1); try (small; fail);
    try (apply zero_error; lra).
  - exists 0, zero, zero, (Leaf 0). rewrite Rabs_R0. split; [lra |]. split.
    + intros l _. unfold zero. rewrite Rabs_R0. lra.
    + split; [exact leaf_adds |]. apply leaf_computes; unfold one, zero; lra.
  - intros l _. small.
Qed.

Theorem fp_output_satisfiable :
  ~ (forall (n : nat) (S b v : nat -> R) (lo hi M eta m : R) (k : nat) (u underflow tiny N Dn q
    out : R), (0 < n)%nat -> TotalVariation.positive n b -> TotalVariation.ranges n v lo hi ->
    Softmax.bounded n v M -> 0 <= u -> 0 <= tiny -> 0 <= underflow -> INR k * u < 1 ->
    Rounding.gamma k u + underflow <= 1 -> (forall j : nat, (j < n)%nat -> Rabs (ln (b j) - m -
    S j) <= eta) -> Rabs (N - Vectors.dot n b v) <= (Rounding.gamma k u + underflow) * (M *
    Sums.fsum n b) -> Rabs (Dn - Sums.fsum n b) <= (Rounding.gamma k u + underflow) * Sums.fsum
    n b -> 0 < Dn -> Rabs (q - N / Dn) <= u * Rabs q + tiny -> Rabs (out - q) <= tiny -> False).
Proof.
  pose proof gamma_1 as G. intros N.
  apply (N 1%nat zero one one 1 1 1 0 0 1%nat (/ 8) 0 0 1 1 1 1); settle.
Qed.

Theorem fp_merge_satisfiable :
  ~ (forall (p : nat) (L b o o' beta : nat -> R) (part_error beta_max lo hi M theta m : R) (k :
    nat) (u underflow tiny N Dn q out : R), (0 < p)%nat -> TotalVariation.positive p b ->
    TotalVariation.ranges p o' lo hi -> Softmax.bounded p o' M -> 0 <= u -> 0 <= tiny -> 0 <=
    underflow -> INR k * u < 1 -> Rounding.gamma k u + underflow <= 1 -> (forall a : nat, (a <
    p)%nat -> Rabs (o' a - o a) <= beta a <= beta_max) -> Vectors.dot p b beta <= part_error *
    Sums.fsum p b -> (forall a : nat, (a < p)%nat -> Rabs (ln (b a) - m - L a) <= theta) -> Rabs
    (N - Vectors.dot p b o') <= (Rounding.gamma k u + underflow) * (M * Sums.fsum p b) -> Rabs
    (Dn - Sums.fsum p b) <= (Rounding.gamma k u + underflow) * Sums.fsum p b -> 0 < Dn -> Rabs
    (q - N / Dn) <= u * Rabs q + tiny -> Rabs (out - q) <= tiny -> False).
Proof.
  pose proof gamma_1 as G. intros N.
  apply (N 1%nat zero one one one zero 0 0 1 1 1 0 0 1%nat (/ 8) 0 0 1 1 1 1); settle.
Qed.

Theorem fp_lse_satisfiable :
  ~ (forall (n : nat) (S b : nat -> R) (m theta : R) (k : nat) (u underflow Dn e v d0 kappa d1 L
    : R), (0 < n)%nat -> TotalVariation.positive n b -> 0 <= u -> INR k * u < 1 -> 0 <=
    underflow -> Rounding.gamma k u + underflow < 1 -> 0 <= e -> 0 <= v -> (e + 2) * v < 1 ->
    (forall j : nat, (j < n)%nat -> Rabs (ln (b j) - (S j - m)) <= theta) -> Rabs (Dn -
    Sums.fsum n b) <= (Rounding.gamma k u + underflow) * Sums.fsum n b -> Rabs d0 <= v -> Rabs
    kappa <= e * v -> Rabs d1 <= v -> Rabs m + Rabs (ln Dn) <= L -> False).
Proof.
  pose proof gamma_1 as G. intros N.
  apply (N 1%nat zero one 0 0 1%nat (/ 8) 0 1 0 (/ 8) 0 0 0 0); settle.
Qed.

Theorem fp_gradient_sum_satisfiable :
  ~ (forall (n k : nat) (u lost scale : R) (x x' z e : nat -> R) (t : Rounding.tree) (y out d0
    d1 e1 E A taken : R), 0 <= u -> 0 <= lost -> INR (k + 2) * u < 1 -> Rounding.adds n t ->
    (Rounding.roundings t <= k)%nat -> (forall i : nat, (i < n)%nat -> Rabs (x' i - x i) <= e i)
    -> Rounding.computes u lost (fun i : nat => x' i * z i) t y -> Rabs d0 <= u -> Rabs d1 <= u
    -> Rabs e1 <= lost -> out = scale * (1 + d0) * y * (1 + d1) + e1 -> Rabs scale * Sums.fsum n
    (fun i : nat => e i * Rabs (z i)) <= E -> Rabs scale * Sums.fsum n (fun i : nat => Rabs (x'
    i * z i)) <= A -> (Rabs scale * INR n * (1 + Rounding.gamma (k + 2) u) + 1) * lost <= taken
    -> False).
Proof.
  intros N. apply (N 1%nat 1%nat (/ 8) (/ 8) 1 one one one zero (Leaf 0) 1 1 0 0 0 0 1
    ((Rabs 1 * INR 1 * (1 + gamma (1 + 2) (/ 8)) + 1) * / 8)); try (small; fail);
    try (apply zero_error; lra); try apply Rle_refl.
  - exact leaf_adds.
  - cbn. lia.
  - intros j _. unfold one, zero. apply zero_error; lra.
  - apply leaf_computes; unfold one; lra.
Qed.

Theorem fp_gradient_exponent_satisfiable :
  ~ (forall (n : nat) (S b : nat -> R) (m theta : R) (k : nat) (u underflow Dn d1 d2 : R) (j :
    nat), (j < n)%nat -> TotalVariation.positive n b -> 0 <= u -> 2 * u < 1 -> INR k * u < 1 ->
    0 <= underflow -> Rounding.gamma k u + underflow < 1 -> (forall i : nat, (i < n)%nat -> Rabs
    (ln (b i) - (S i - m)) <= theta) -> Rabs (Dn - Sums.fsum n b) <= (Rounding.gamma k u +
    underflow) * Sums.fsum n b -> Rabs d1 <= u -> Rabs d2 <= u -> False).
Proof.
  pose proof gamma_1 as G. intros N.
  apply (N 1%nat zero one 0 0 1%nat (/ 8) 0 1 0 0 0%nat); try lia; try plain; settle.
Qed.

Theorem fp_gradient_weight_satisfiable :
  ~ (forall p b w theta tiny : R, 0 < p -> 0 < b -> Rabs (ln b - ln p) <= theta -> Rabs (w - b)
    <= tiny -> False).
Proof.
  intros N. apply (N 1 1 1 0 0); plain.
Qed.

Theorem fp_gradient_unknown_satisfiable :
  ~ (forall p b w theta largest lost : R, 0 < p -> 0 < b -> Rabs (ln b - ln p) <= theta -> p <=
    largest -> b <= largest -> Rabs (w - b) <= lost -> False).
Proof.
  intros N. apply (N 1 1 1 0 1 0); plain.
Qed.

Theorem fp_gradient_mean_satisfiable :
  ~ (forall (n k : nat) (u lost z : R) (w p P P' : nat -> R) (t : Rounding.tree) (s M d e r A a
    gone taken : R), 0 <= u -> 0 <= lost -> INR (k + 2) * u < 1 -> 0 < z -> Rounding.adds n t ->
    (Rounding.roundings t <= k)%nat -> (forall i : nat, (i < n)%nat -> 0 <= p i) -> Sums.fsum n
    p <= 1 -> (forall i : nat, (i < n)%nat -> Rabs (P' i - P i) <= a) -> 0 <= a ->
    Rounding.computes u lost (fun i : nat => w i * P' i) t s -> Rabs d <= u -> Rabs e <= lost ->
    M = z * s * (1 + d) + e -> Sums.fsum n (fun i : nat => Rabs (z * (w i * P' i))) <= A ->
    Sums.fsum n (fun i : nat => Rabs (z * w i - p i) * Rabs (P' i)) <= r * A + gone -> gone + (z
    * INR n * (1 + Rounding.gamma (k + 2) u) + 1) * lost <= taken -> False).
Proof.
  intros N. apply (N 1%nat 1%nat (/ 8) (/ 8) 1 one one one one (Leaf 0) 1 1 0 0 0 1 0 0
    ((1 * INR 1 * (1 + gamma (1 + 2) (/ 8)) + 1) * / 8)); try plain; try lra; try exact leaf_adds.
  - cbn. lia.
  - apply leaf_computes; unfold one; lra.
Qed.

Theorem fp_gradient_slope_satisfiable :
  ~ (forall c x xc rho u te lost tiny C th d1 d2 e slope eta : R, 0 < c -> 0 <= u -> 0 <= te ->
    0 <= lost -> 2 * lost <= tiny -> (4 + te) * u <= 1 / 2 -> Rabs (xc - x) <= rho -> Rabs
    (Scores.cap c xc) <= C -> Scores.computed_cap c u te lost tiny xc (c * th) -> Rabs th <= 1
    -> Rmin (Bounds.b_capped_score rho u te C c tiny / c) 2 <= eta -> Rabs d1 <= u -> Rabs d2 <=
    u -> Rabs e <= tiny -> slope = (1 - (th * th * (1 + d1) + e)) * (1 + d2) -> False).
Proof.
  intros N. apply (N 1 0 0 0 (1 / 10) 1 (/ 8) (1 / 4) 0 0 0 0 0 1 2); try plain.
  - unfold cap. replace (0 / 1) with 0 by field. rewrite tanh_at_0. small.
  - exists 0, 0, 0, 0, 0, 0, 0, 0. rewrite Rabs_R0. repeat (split; [lra |]). cbv zeta.
    replace (0 * (/ (1 * (1 + 0)) * (1 + 0)) * (1 + 0) + 0) with 0 by ring. rewrite tanh_at_0. lra.
  - apply Rmin_r.
Qed.

Theorem fp_gradient_row_satisfiable :
  ~ (forall (n : nat) (S : nat -> R) (m : R) (b : nat -> R) (Dn : R) (k : nat) (u underflow
    weight_error w relative absolute P P' M M' a be t ds slope slope' slope_error dx largest
    lost tiny d1 d2 d3 d4 d5 e4 e5 : R) (j : nat), let p := fun i : nat => exp (S i) / Sums.fsum
    n (fun l : nat => exp (S l)) in let theta := Bounds.b_gradient_exponent weight_error k u
    underflow in (j < n)%nat -> TotalVariation.positive n b -> 0 <= u -> u <= 1 / 8 -> INR k * u
    < 1 -> 0 <= underflow -> Rounding.gamma k u + underflow < 1 -> 0 <= lost -> 2 * lost <= tiny
    -> (forall i : nat, (i < n)%nat -> Rabs (ln (b i) - (S i - m)) <= weight_error) -> Rabs (Dn
    - Sums.fsum n b) <= (Rounding.gamma k u + underflow) * Sums.fsum n b -> Rabs d1 <= u -> Rabs
    d2 <= u -> 0 <= w -> Rabs (w - b j * (/ Dn * (1 + d1)) * (1 + d2)) <= 2 * tiny ->
    Gradient.weight_known theta (2 * tiny) relative absolute p j -> Rabs (P' - P) <= a -> Rabs
    (M' - M) <= be -> Rabs d3 <= u -> Rabs d4 <= u -> Rabs d5 <= u -> Rabs e4 <= lost -> Rabs e5
    <= lost -> t = (P' - M') * (1 + d3) -> Rabs t <= largest -> ds = w * t * (1 + d4) + e4 -> 0
    <= slope <= 1 -> Rabs (slope' - slope) <= slope_error -> dx = ds * slope' * (1 + d5) + e5 ->
    False).
Proof.
  pose proof gamma_1 as G. intros N.
  set (theta := b_gradient_exponent 0 1 (/ 8) 0).
  apply (N 1%nat zero 0 one 1 1%nat (/ 8) 0 0 1 (b_gradient_weight theta 1 0)
    (b_gradient_weight theta 0 (2 * (1 / 4))) 0 0 0 0 0 0 0 0 1 1 0 0 0 (/ 8) (1 / 4) 0 0 0 0 0 0 0 0%nat);
    try lia; try plain; settle.
  left. split; [reflexivity | apply Rle_refl].
Qed.
