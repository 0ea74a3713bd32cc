(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude.

    X and Y are one number, 1, of which no computation is rounded: an error of 0 is one of the errors that
    the model allows.  Two ones in one row are what every sketch into one bucket, and every projection
    to one column, gets wrong. *)

Require Import Reals Lra Lia List Permutation.
From Attest.Foundations Require Import Sums Vectors Probability Independence.
From Attest.Rounding Require Import Rounding RoundingSatisfiable.
From Attest.Sparsification Require Import Sparsification Certificate Sketch HeavyKeys.
From Attest.Sparsification Require Import SecondMoment SignProjections Barriers.
Import ListNotations.
Open Scope R_scope.

Definition one (i j : nat) : R := 1.

Lemma exactly u x y : y = x -> 0 <= u -> rounds u x y.
Proof. intros -> Hu. exists 0. rewrite Rabs_R0. split; [auto | ring]. Qed.

Lemma lone_computes : computes (/ 16) 0 (fun c => one 0 c * one 0 c) (Leaf 0) 1.
Proof.
  replace 1 with (one 0 0 * one 0 0 * (1 + 0) + 0) by (unfold one; ring).
  apply (computes_leaf (/ 16) 0 (fun c => one 0 c * one 0 c)); rewrite Rabs_R0; lra.
Qed.

Lemma gram_one i j : gram 1 one i j = 1.
Proof. unfold gram, one. simpl. ring. Qed.

Lemma small_one : small_logits 1 1 one 1.
Proof. intros i _ j _. rewrite gram_one, Rabs_R1. lra. Qed.

Lemma same_loewner : loewner 1 (gram 1 one) (gram 1 one) 0.
Proof. intros x. lra. Qed.

Lemma unit_computed : computed_gram (/ 16) 1 1 1 one one.
Proof. intros i j _ _. exists (Leaf 0). split; [exact leaf_adds | split; [simpl; lia | exact lone_computes]]. Qed.

Lemma one_factor : cholesky (/ 16) 1 one identity.
Proof.
  split.
  - intros i j Hij. unfold identity. destruct (Nat.eqb_spec i j); [lia | reflexivity].
  - intros j Hj. replace j with 0%nat by lia. unfold identity. simpl. split; [lra |].
    exists 1. split; [| split; [lra | apply exactly; [now rewrite sqrt_1 | lra]]].
    exists []. split; [apply Permutation_refl | apply remainder_nil].
  - intros i j Hij. lia.
Qed.

Theorem p3_loewner_logit_satisfiable :
  ~ (forall (n d m : nat) (X Y : nat -> nat -> R) (eps r : R) (i j : nat), 0 <= eps ->
    Sparsification.small_logits n d X r -> Sparsification.loewner n (Sparsification.gram d X)
    (Sparsification.gram m Y) eps -> (i < n)%nat -> (j < n)%nat -> False).
Proof.
  intros N. apply (N 1%nat 1%nat 1%nat one one 0 1 0%nat 0%nat); auto using small_one, same_loewner; lra.
Qed.

Theorem p3_loewner_entry_satisfiable :
  ~ (forall (n d m : nat) (X Y : nat -> nat -> R) (eps r : R) (i j : nat), 0 <= eps ->
    Sparsification.small_logits n d X r -> Sparsification.loewner n (Sparsification.gram d X)
    (Sparsification.gram m Y) eps -> (i < n)%nat -> (j < n)%nat -> False).
Proof.
  intros N. apply (N 1%nat 1%nat 1%nat one one 0 1 0%nat 0%nat); auto using small_one, same_loewner; lra.
Qed.

Theorem p3_loewner_row_satisfiable :
  ~ (forall (n d m : nat) (X Y : nat -> nat -> R) (eps r : R) (i : nat), 0 <= eps ->
    Sparsification.small_logits n d X r -> Sparsification.loewner n (Sparsification.gram d X)
    (Sparsification.gram m Y) eps -> (i < n)%nat -> False).
Proof.
  intros N. apply (N 1%nat 1%nat 1%nat one one 0 1 0%nat); auto using small_one, same_loewner; lra.
Qed.

Theorem p3_rows_satisfiable :
  ~ (forall (n d m : nat) (X Y : nat -> nat -> R) (eps : R) (i : nat) (M : R), 0 <= eps ->
    Sparsification.loewner n (Sparsification.gram d X) (Sparsification.gram m Y) eps -> (i <
    n)%nat -> (forall j : nat, (j < n)%nat -> sqrt (Sparsification.gram d X j j) <= M) ->
    False).
Proof.
  intros N. apply (N 1%nat 1%nat 1%nat one one 0 0%nat 1); auto using same_loewner; [lra |].
  intros j _. rewrite gram_one, sqrt_1. lra.
Qed.

Theorem p3_gram_rounding_satisfiable :
  ~ (forall (d : nat) (u : R) (X : nat -> nat -> R) (i j : nat) (t : Rounding.tree) (s : R), 0
    <= u -> INR d * u <= 1 / 2 -> Rounding.adds d t -> Rounding.computes u 0 (fun c : nat => X i
    c * X j c) t s -> False).
Proof.
  intros N. apply (N 1%nat (/ 16) one 0%nat 0%nat (Leaf 0) 1); [lra | simpl; lra | exact leaf_adds |].
  apply lone_computes.
Qed.

Theorem p3_cholesky_residual_satisfiable :
  ~ (forall (u : R) (n : nat) (A L : nat -> nat -> R) (i j : nat), 0 <= u < 1 -> INR (n + 1) * u
    < 1 / 2 -> Certificate.symmetric A -> Certificate.cholesky u n A L -> (i < n)%nat -> (j <
    n)%nat -> False).
Proof.
  intros N. apply (N (/ 16) 1%nat one identity 0%nat 0%nat); [lra | simpl; lra | intros i j; reflexivity | | lia | lia].
  exact one_factor.
Qed.

Theorem p3_certificate_shift_satisfiable :
  ~ (forall (u : R) (g h n d m : nat) (X Y G' H' A L : nat -> nat -> R) (f k slack c : R) (x :
    nat -> R), 0 <= u < 1 -> INR (g + 4) * u < 1 / 2 -> INR (h + 3) * u < 1 / 2 -> INR (n + 1) *
    u < 1 / 2 -> Rabs k = 1 -> 0 <= slack -> 0 <= c -> Certificate.computed_gram u g n d X G' ->
    Certificate.computed_gram u h n m Y H' -> Certificate.assembled u n f k slack c G' H' A ->
    Certificate.symmetric A -> Certificate.cholesky u n A L -> False).
Proof.
  intros N.
  apply (N (/ 16) 1%nat 1%nat 1%nat 1%nat 1%nat one one one one one identity 2 (-1) 0 0 (fun _ => 0));
    try (simpl; lra); try exact unit_computed.
  - rewrite Rabs_left; lra.
  - split; [intros; lia |]. intros i _. exists 2, 1, 0, 1. unfold one.
    repeat split; apply exactly; lra.
  - intros i j. reflexivity.
  - exact one_factor.
Qed.

Theorem p3_entry_difference_satisfiable :
  ~ (forall (u : R) (g h n d m : nat) (X Y G' H' : nat -> nat -> R) (li lj e q z D ratio ri rj :
    R) (i j : nat), 0 <= u < 1 -> INR (g + 5) * u < 1 / 2 -> INR h * u < 1 / 2 ->
    Certificate.computed_gram u g n d X G' -> Certificate.computed_gram u h n m Y H' -> (i <
    n)%nat -> (j < n)%nat -> 0 < Sparsification.gram d X i i -> 0 < Sparsification.gram d X j j
    -> Certificate.rounds u (sqrt (G' i i)) li -> Certificate.rounds u (sqrt (G' j j)) lj -> 0 <
    li -> 0 < lj -> Certificate.rounds u (H' i j - G' i j) e -> Certificate.rounds u (Rabs e /
    li) q -> Certificate.rounds u (q / lj) z -> Rabs z <= D -> Certificate.rounds u (H' i i / G'
    i i) ri -> Certificate.rounds u (H' j j / G' j j) rj -> Rabs ri <= ratio -> Rabs rj <= ratio
    -> False).
Proof.
  intros N.
  apply (N (/ 16) 1%nat 1%nat 1%nat 1%nat 1%nat one one one one 1 1 0 0 0 0 1 1 1 0%nat 0%nat);
    try (simpl; lra); try lia; try exact unit_computed; try (rewrite gram_one; lra);
    try (unfold one; apply exactly; [rewrite ?sqrt_1, ?Rminus_eq_0, ?Rabs_R0; field | lra]);
    rewrite ?Rabs_R0, ?Rabs_R1; lra.
Qed.

Theorem p3_logit_difference_satisfiable :
  ~ (forall (u : R) (g h n d m : nat) (X Y G' H' : nat -> nat -> R) (M N D e : R) (i j : nat), 0
    <= u < 1 -> INR g * u < 1 / 2 -> INR h * u < 1 / 2 -> Certificate.computed_gram u g n d X G'
    -> Certificate.computed_gram u h n m Y H' -> (i < n)%nat -> (j < n)%nat -> G' i i <= M -> G'
    j j <= M -> H' i i <= N -> H' j j <= N -> Certificate.rounds u (H' i j - G' i j) e -> Rabs e
    <= D -> False).
Proof.
  intros N.
  apply (N (/ 16) 1%nat 1%nat 1%nat 1%nat 1%nat one one one one 1 1 0 0 0%nat 0%nat);
    try (simpl; lra); try lia; try exact unit_computed; try (unfold one; lra);
    try (unfold one; apply exactly; lra); rewrite Rabs_R0; lra.
Qed.

Theorem p3_largest_logit_satisfiable :
  ~ (forall (u : R) (g n d : nat) (X G' : nat -> nat -> R) (M : R) (i j : nat), 0 <= u -> INR g
    * u < 1 / 2 -> Certificate.computed_gram u g n d X G' -> (i < n)%nat -> (j < n)%nat -> G' i
    i <= M -> G' j j <= M -> False).
Proof.
  intros N. apply (N (/ 16) 1%nat 1%nat 1%nat one one 1 0%nat 0%nat);
    try (simpl; lra); try lia; try exact unit_computed; unfold one; lra.
Qed.

Theorem p3_sketch_satisfiable :
  ~ (forall (u : R) (n d m terms s : nat) (member : nat -> nat -> bool) (sign X Y' : nat -> nat
    -> R) (eps : R), 0 <= u < 1 -> INR (terms + 5) * u < 1 -> 0 <= eps -> Sketch.spreads d m s
    member sign -> Sparsification.loewner n (Sparsification.gram d X) (Sparsification.gram m
    (Sketch.sketch d s member sign X)) eps -> Sketch.computed_sketch u n d m terms s member sign
    X Y' -> False).
Proof.
  intros N.
  apply (N (/ 16) 1%nat 1%nat 1%nat 1%nat 1%nat (fun _ _ => true) one one one 0); try (simpl; lra).
  - split; [lia | intros c _; simpl; lra | intros k c; unfold one; ring].
  - intros x. rewrite (quad_ext 1 (gram 1 (sketch 1 1 (fun _ _ => true) one one)) (gram 1 one)); [lra |].
    intros i j _ _. unfold gram, sketch, Sketch.bucket, one. cbn [fsum INR]. rewrite sqrt_1. field.
  - intros i k _ _. exists 1, 1, 1, 1, 1. unfold one. cbn [INR]. rewrite sqrt_1.
    split; [| split; [| split; [| split; [| split]]]]; try (apply exactly; [field | lra]).
    exists (Leaf 0), []. split; [exact I | split; [simpl; lia | split; [apply Permutation_refl |]]].
    split; [intros c [] | exact lone_computes].
Qed.

Theorem p3_composed_satisfiable :
  ~ (forall (n : nat) (G H K : nat -> nat -> R) (eps slack eps' slack' : R), 0 <= eps' -> 0 <=
    slack' -> Certificate.loewner_up_to n G H eps slack -> Certificate.loewner_up_to n H K eps'
    slack' -> False).
Proof.
  intros N. apply (N 1%nat (gram 1 one) (gram 1 one) (gram 1 one) 0 0 0 0); try lra; intros x; cbv zeta; lra.
Qed.

Theorem p3_sketches_satisfiable :
  ~ (forall (n d m : nat) (X : nat -> nat -> R) (eps delta : R) (fails : list SecondMoment.draw
    -> bool), 0 < eps -> 0 < delta -> (0 < m)%nat -> (forall l : list SecondMoment.draw, List.In
    l (SecondMoment.sketches d m) -> fails l = true -> ~ Sparsification.loewner n
    (Sparsification.gram d X) (Sparsification.gram m (SecondMoment.counted X l)) eps) -> delta <
    Probability.probability (SecondMoment.sketches d m) fails -> False).
Proof.
  intros N. apply (N 1%nat 2%nat 1%nat one (1 / 2) (1 / 2) (fun _ => true)); try lra; [lia | |].
  - intros l Hl _ L. specialize (L (fun _ => 1)).
    unfold quad, gram, counted, one in L. cbn [fsum] in L.
    unfold sketches, seeds, tuples in Hl. cbn in Hl.
    repeat (destruct Hl as [<- | Hl]; [cbn in L; lra |]). exact Hl.
  - unfold probability. rewrite expect_const; [lra |]. apply tuples_nonempty, seeds_nonempty. lia.
Qed.

Theorem p3_deterministic_satisfiable :
  ~ (forall (n d : nat) (X : nat -> nat -> R) (m T : nat) (q : R), (0 < m)%nat ->
    Barriers.row_rank n d X m -> 1 < q -> q * INR m <= INR T -> False).
Proof.
  intros N. apply (N 1%nat 1%nat one 1%nat 2%nat 2); [lia | | lra | simpl; lra].
  exists one, one, (fun _ => 0%nat). unfold one. split.
  - intros k l Hk Hl. replace k with 0%nat by lia. replace l with 0%nat by lia. unfold dot. simpl. ring.
  - lia.
  - intros i c _ _. unfold spanned. simpl. ring.
  - intros l _. lia.
  - intros z Hz l Hl. specialize (Hz 0%nat ltac:(lia)). simpl in Hz. replace l with 0%nat by lia. lra.
Qed.

Theorem p3_jl_satisfiable :
  ~ (forall (n d m : nat) (X : nat -> nat -> R) (eps delta : R) (fails : list (list R) -> bool),
    0 < eps < 1 -> 0 < delta -> (0 < m)%nat -> (forall l : list (list R), List.In l
    (SignProjections.projections d m) -> fails l = true -> exists i j : nat, (i < n)%nat /\ (j <
    n)%nat /\ eps * (Vectors.norm d (X i) * Vectors.norm d (X j)) < Rabs (Sparsification.gram m
    (SignProjections.projected m X l) i j - Sparsification.gram d X i j)) -> delta <
    Probability.probability (SignProjections.projections d m) fails -> False).
Proof.
  intros N. apply (N 1%nat 2%nat 1%nat one (1 / 2) (1 / 2) (fun _ => true)); try lra; [lia | |].
  - intros l Hl _. exists 0%nat, 0%nat. split; [lia | split; [lia |]].
    assert (E : norm 2 (one 0) * norm 2 (one 0) = 2) by (rewrite norm_dot; unfold dot, one; simpl; ring).
    rewrite E. unfold projections, sign_vectors, tuples in Hl. cbn in Hl.
    repeat (destruct Hl as [<- | Hl];
      [unfold gram, projected, one; cbn; rewrite sqrt_1; unfold Rabs; destruct (Rcase_abs _); lra |]).
    destruct Hl.
  - unfold probability. rewrite expect_const; [lra |]. apply tuples_nonempty, signs_nonempty.
Qed.

Theorem l_powers_satisfiable :
  ~ (forall (n d : nat) (K : nat -> nat -> R) (b : nat -> R) (h j : nat) (l : R) (q : nat -> R),
    (forall i : nat, (i < n)%nat -> 0 < b i) -> (1 <= h)%nat -> (j < n)%nat ->
    HeavyKeys.leverage_at_most n d (fun i c : nat => b i ^ (h - 1) * K i c) j l -> False).
Proof.
  intros N. apply (N 1%nat 1%nat one (fun _ => 1) 1%nat 0%nat 1 (fun _ => 1)); try lia.
  - intros i _. lra.
  - intros q. unfold key_squares, dot, one. simpl. lra.
Qed.

Theorem l_leverage_satisfiable :
  ~ (forall (n d : nat) (K T B : nat -> nat -> R) (e : nat -> R) (f defect : R) (q : nat -> R)
    (j : nat), 0 <= f -> f ^ 2 < 1 - defect -> (forall i : nat, (i < n)%nat -> Vectors.norm d
    (fun l : nat => HeavyKeys.transformed d K T i l - B i l) <= e i) -> Sums.fsum n (fun i : nat
    => e i ^ 2) <= f ^ 2 -> (forall z : nat -> R, (1 - defect) * Vectors.norm d z ^ 2 <=
    Sums.fsum n (fun i : nat => Vectors.dot d (B i) z ^ 2)) -> (j < n)%nat -> False).
Proof.
  intros N. apply (N 1%nat 1%nat one one one (fun _ => 0) 0 0 (fun _ => 1) 0%nat); try lra; [| | | lia].
  - intros i _. rewrite (norm_ext 1 _ (fun _ => 0)); [rewrite norm_zero; lra |].
    intros l _. unfold transformed, one. simpl. ring.
  - simpl. lra.
  - intros z. rewrite norm_square. unfold dot, one. simpl. lra.
Qed.
