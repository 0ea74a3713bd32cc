(** The exact supremum of the total variation decides subset sum (claim Q.tv_hard).

    Where every logit may move by ln 2, a set of weight x has a share of at most 4 x / (3 x + 1), which
    exceeds x by 1/3 - (3 x - 1)^2 / (3 (3 x + 1)): by 1/3 if x = 1/3, and by less, with a gap, if x
    is another multiple of 1/(3 T).  Numbers a of sum A have a subset of sum w if and only if a, 2 A,
    3 (A + w) have one of sum 2 A + w, which is a third of theirs: the last is too large, and those
    of a alone are too small. *)

Require Import Reals Lra Lia Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Caches Require Import Box Variation.
Open Scope R_scope.

(** The sum of the numbers of a subset. *)
Fixpoint chosen (n : nat) (S : nat -> bool) (a : nat -> nat) : nat :=
  match n with O => O | S m => chosen m S a + (if S m then a m else O) end.

Definition whole (n : nat) (a : nat -> nat) : nat := chosen n (fun _ => true) a.

Lemma chosen_le n S a : (chosen n S a <= whole n a)%nat.
Proof. unfold whole. induction n; simpl; [lia |]. destruct (S n); lia. Qed.

Lemma chosen_ext n S S' a a' : (forall i, (i < n)%nat -> S i = S' i /\ a i = a' i) ->
  chosen n S a = chosen n S' a'.
Proof.
  induction n; intros H; simpl; auto. rewrite IHn by (intros; apply H; lia).
  destruct (H n ltac:(lia)) as [-> ->]. reflexivity.
Qed.

(** * The reduction *)

Definition extended (n : nat) (a : nat -> nat) (w : nat) (i : nat) : nat :=
  if (i <? n)%nat then a i
  else if (i =? n)%nat then (2 * whole n a)%nat else (3 * (whole n a + w))%nat.

Lemma chosen_extended n S a w : chosen (2 + n) S (extended n a w)
  = (chosen n S a + (if S n then 2 * whole n a else 0)
     + (if S (1 + n) then 3 * (whole n a + w) else 0))%nat.
Proof.
  simpl. unfold extended at 2 3.
  rewrite (proj2 (Nat.ltb_ge n n)), Nat.eqb_refl by lia.
  rewrite (proj2 (Nat.ltb_ge (Datatypes.S n) n)), (proj2 (Nat.eqb_neq (Datatypes.S n) n)) by lia.
  rewrite (chosen_ext n S S (extended n a w) a);
    [destruct (S n), (S (Datatypes.S n)); lia |].
  intros i Hi. split; auto. unfold extended. now rewrite (proj2 (Nat.ltb_lt i n)).
Qed.

Theorem subset_sum_extended n a w : (0 < whole n a)%nat -> (w <= whole n a)%nat ->
  let T := (2 * whole n a + w)%nat in
  whole (2 + n) (extended n a w) = (3 * T)%nat /\
  ((exists S, chosen n S a = w) <-> (exists S, chosen (2 + n) S (extended n a w) = T)).
Proof.
  intros Ha Hw T. split.
  - unfold whole at 1. rewrite chosen_extended. fold (whole n a). unfold T. lia.
  - split; intros [S H].
    + exists (fun i => if (i <? n)%nat then S i else (i =? n)%nat).
      rewrite chosen_extended, (proj2 (Nat.ltb_ge n n)), Nat.eqb_refl by lia.
      rewrite (proj2 (Nat.ltb_ge (1 + n) n)), (proj2 (Nat.eqb_neq (1 + n) n)) by lia.
      rewrite (chosen_ext n _ S a a), H; [unfold T; lia |].
      intros i Hi. split; auto. now rewrite (proj2 (Nat.ltb_lt i n)).
    + exists S. rewrite chosen_extended in H. pose proof (chosen_le n S a). unfold T in H.
      destruct (S n), (S (1 + n)%nat); lia.
Qed.

(** * Every radius ln 2 *)

Definition proportional (a : nat -> nat) (i : nat) : R := ln (INR (a i)).

Definition doubling (_ : nat) : R := ln 2.

Lemma whole_fsum n a : INR (whole n a) = fsum n (fun i => INR (a i)).
Proof. unfold whole. induction n; simpl; auto. now rewrite plus_INR, IHn. Qed.

Lemma chosen_fsum n S a : INR (chosen n S a) = fsum n (on S (fun i => INR (a i))).
Proof.
  induction n; simpl; auto. rewrite plus_INR, IHn. f_equal. unfold on. now destruct (S n).
Qed.

Lemma proportional_softmax n a i : (forall i, (i < n)%nat -> (0 < a i)%nat) -> (i < n)%nat ->
  softmax n (proportional a) i = INR (a i) / INR (whole n a).
Proof.
  intros Ha Hi. unfold softmax, normalize, proportional.
  rewrite (fsum_ext n _ (fun i => INR (a i)))
    by (intros j Hj; apply exp_ln, lt_0_INR; auto).
  rewrite exp_ln, whole_fsum by (apply lt_0_INR; auto). reflexivity.
Qed.

Lemma proportional_mass n a S : (forall i, (i < n)%nat -> (0 < a i)%nat) ->
  mass n S (softmax n (proportional a)) = INR (chosen n S a) / INR (whole n a).
Proof.
  intros Ha. rewrite chosen_fsum, <- fsum_on_div. apply fsum_ext. intros i Hi. unfold on.
  destruct (S i); auto. now apply proportional_softmax.
Qed.

(** The share q of a set of weight x: q (1 - x) / 2 <= (1 - q) 2 x. *)
Lemma doubling_share n s s' S : (0 < n)%nat -> near n s' s doubling ->
  mass n S (softmax n s') * (3 * mass n S (softmax n s) + 1) <= 4 * mass n S (softmax n s).
Proof.
  intros Hn Hs. pose proof (share_cross n s s' doubling S Hn Hs) as C.
  pose proof (softmax_mass n s S Hn) as T.
  assert (X : fsum n (on S (heavy n s doubling)) = 2 * mass n S (softmax n s)).
  { unfold mass. rewrite <- fsum_scale. apply fsum_ext. intros i _. unfold on, heavy, doubling.
    rewrite exp_ln by lra. destruct (S i); ring. }
  assert (Y : fsum n (off S (light n s doubling)) = / 2 * fsum n (off S (softmax n s))).
  { rewrite <- fsum_scale. apply fsum_ext. intros i _. unfold off, light, doubling.
    rewrite exp_Ropp, exp_ln by lra. destruct (S i); ring. }
  rewrite X, Y in C. unfold mass in *. set (q := fsum n (on S (softmax n s'))) in *.
  set (x := fsum n (on S (softmax n s))) in *.
  replace (fsum n (off S (softmax n s))) with (1 - x) in C by lra. lra.
Qed.

Theorem q_tv_hard n a T s' S : (0 < n)%nat -> (forall i, (i < n)%nat -> (0 < a i)%nat) ->
  whole n a = (3 * T)%nat -> (forall S, chosen n S a <> T) ->
  near n s' (proportional a) doubling ->
  mass n S (softmax n s') - mass n S (softmax n (proportional a)) <= b_variation_no_subset T.
Proof.
  intros Hn Ha HT Hno Hs. pose proof (doubling_share n _ s' S Hn Hs) as D.
  rewrite proportional_mass in * by auto. specialize (Hno S).
  assert (T0 : (0 < T)%nat).
  { assert (0 < whole n a)%nat; [| lia]. apply INR_lt. rewrite whole_fsum. simpl INR.
    apply fsum_pos; auto. intros. apply lt_0_INR. auto. }
  pose proof (chosen_le n S a) as L. rewrite HT in *. set (k := chosen n S a) in *.
  assert (TR : 1 <= INR T) by (replace 1 with (INR 1) by reflexivity; apply le_INR; lia).
  set (x := INR k / INR (3 * T)) in *. set (q := mass n S (softmax n s')) in *.
  assert (X : 3 * x = INR k / INR T).
  { unfold x. rewrite mult_INR. simpl (INR 3). field. lra. }
  assert (Hx : 0 <= x <= 1).
  { unfold x. assert (0 < INR (3 * T)) by (apply lt_0_INR; lia). split.
    - unfold Rdiv. apply Rmult_le_pos; [apply pos_INR | left; now apply Rinv_0_lt_compat].
    - apply div_le; auto. rewrite Rmult_1_l. apply le_INR. lia. }
  assert (G : / INR T ^ 2 <= (3 * x - 1) ^ 2).
  { rewrite X. replace ((INR k / INR T - 1) ^ 2) with ((INR k - INR T) ^ 2 * / INR T ^ 2)
      by (field; lra).
    rewrite <- (Rmult_1_l (/ INR T ^ 2)) at 1. apply Rmult_le_compat_r.
    - left. apply Rinv_0_lt_compat. nra.
    - assert (INR k + 1 <= INR T \/ INR T + 1 <= INR k).
      { rewrite <- !S_INR. destruct (Nat.lt_gt_cases k T) as [C _].
        destruct (C Hno); [left | right]; apply le_INR; lia. }
      nra. }
  unfold b_variation_no_subset.
  replace (1 / (12 * INR T ^ 2)) with (/ INR T ^ 2 / 12) by (field; lra).
  (* (3 x + 1) (q - x) <= 4 x - x (3 x + 1) = (3 x + 1)/3 - (3 x - 1)^2/3, and 3 x + 1 <= 4 *)
  set (g := / INR T ^ 2) in *.
  assert (0 <= g) by (left; apply Rinv_0_lt_compat; nra).
  apply Rmult_le_reg_l with (3 * x + 1); [lra |].
  assert ((3 * x + 1) * (g / 12) <= g / 3) by nra. lra.
Qed.

(** A third of the sum is met: then a third is reached. *)
Theorem q_tv_hard_met n a T S : (0 < n)%nat -> (forall i, (i < n)%nat -> (0 < a i)%nat) ->
  whole n a = (3 * T)%nat -> chosen n S a = T ->
  let s' := fun i => proportional a i + (if S i then ln 2 else - ln 2) in
  near n s' (proportional a) doubling /\
  mass n S (softmax n s') - mass n S (softmax n (proportional a)) = 1 / 3.
Proof.
  intros Hn Ha HT HS s'. assert (L : 0 <= ln 2) by (apply ln_from_one; lra). split.
  - intros i _. unfold s', doubling. destruct (S i).
    + replace (proportional a i + ln 2 - proportional a i) with (ln 2) by ring.
      rewrite Rabs_right; lra.
    + replace (proportional a i + - ln 2 - proportional a i) with (- ln 2) by ring.
      rewrite Rabs_Ropp, Rabs_right; lra.
  - assert (T0 : (0 < T)%nat).
    { assert (0 < whole n a)%nat; [| lia]. apply INR_lt. rewrite whole_fsum. simpl INR.
      apply fsum_pos; auto. intros. apply lt_0_INR. auto. }
    assert (TR : 0 < INR T) by now apply lt_0_INR.
    rewrite proportional_mass, HS, HT, mult_INR by auto. simpl (INR 3).
    rewrite mass_softmax, mass_normalize.
    assert (X : fsum n (on S (fun j => exp (s' j))) = 2 * INR T).
    { rewrite <- HS, chosen_fsum, <- fsum_scale. apply fsum_ext. intros i Hi. unfold on, s'.
      destruct (S i); [| ring]. unfold proportional.
      rewrite exp_plus, !exp_ln by (try lra; apply lt_0_INR; auto). ring. }
    assert (Y : fsum n (off S (fun j => exp (s' j))) = INR T).
    { assert (E : fsum n (off S (fun i => INR (a i))) = 2 * INR T).
      { pose proof (fsum_split n S (fun i => INR (a i))) as F.
        rewrite <- whole_fsum, <- chosen_fsum, HT, HS, mult_INR in F. simpl (INR 3) in F. lra. }
      replace (INR T) with (/ 2 * (2 * INR T)) by field. rewrite <- E, <- fsum_scale.
      apply fsum_ext. intros i Hi. unfold off, s'. destruct (S i); [ring |]. unfold proportional.
      rewrite exp_plus, exp_Ropp, !exp_ln by (try lra; apply lt_0_INR; auto). ring. }
    rewrite X, Y. field. lra.
Qed.
