(** Rounded sums and dot products, in any order of summation (claim FP.softmax, first part).

    The model.  A result is the exact one times 1 + delta, |delta| <= u.  A product may lose up to
    [lost] more to underflow; an addition may not, since a sum of floats that is subnormal is exact.
    A computation is a tree of additions, whose leaves are products, and of multiplications of a
    partial sum by a factor in [0, 1] (an online softmax rescales its sums).  Sequential, pairwise
    and blocked summation are all such trees; a fused multiply-add is a leaf with delta = 0.

    Steps: (1) k roundings change a term by a factor within 1 +- gamma_k, gamma_k = ku / (1 - ku);
    (2) by induction on the tree, the result errs by at most ((1 + u)^k - 1) sum |terms| where k is
    the largest number of roundings that a term passes through, and by (1 + u)^k [lost] a product;
    (3) a sum of d products rounds no term more than d times.

    NOTE The bound of a logit charges [tiny] a product, without the factor (1 + u)^d.  It holds
    where 2 [lost] <= tiny and gamma_d <= 1: gradual underflow loses at most half the smallest
    subnormal number, far less than half of the smallest normal one, which is tiny. *)

Require Import Reals Lra Lia List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists.
Open Scope R_scope.

(** * k roundings *)

Definition gamma (k : nat) (u : R) : R := INR k * u / (1 - INR k * u).

Lemma gamma_nonneg k u : 0 <= u -> INR k * u < 1 -> 0 <= gamma k u.
Proof.
  intros. assert (0 <= INR k * u) by (apply Rmult_le_pos; [apply pos_INR | auto]).
  apply le_div; lra.
Qed.

Lemma gamma_plus_1 k u : INR k * u < 1 -> 1 + gamma k u = / (1 - INR k * u).
Proof. intros. unfold gamma. field. lra. Qed.

Lemma pow_up k u : 0 <= u -> INR k * u < 1 -> (1 + u) ^ k <= 1 + gamma k u.
Proof.
  intros Hu Hk. rewrite gamma_plus_1 by auto.
  apply Rmult_le_reg_r with (1 - INR k * u); [lra |]. rewrite Rinv_l by lra. clear Hk.
  induction k; [simpl; lra |]. rewrite S_INR. simpl.
  assert (0 <= (1 + u) ^ k) by (apply pow_le; lra). pose proof (pos_INR k).
  (* (1 + u) (1 - (k + 1) u) <= 1 - k u *)
  assert (0 <= (1 + u) ^ k * ((INR k + 1) * (u * u)))
    by (repeat apply Rmult_le_pos; lra). nra.
Qed.

Lemma pow_down k u : 0 <= u <= 1 -> INR k * u < 1 -> 1 - gamma k u <= (1 - u) ^ k.
Proof.
  intros Hu Hk. apply Rle_trans with (1 - INR k * u).
  - assert (0 <= INR k * u) by (apply Rmult_le_pos; [apply pos_INR | lra]).
    assert (INR k * u <= gamma k u) by (apply le_div; [lra | nra]). lra.
  - clear Hk. induction k; [simpl; lra |]. rewrite S_INR. simpl.
    assert (0 <= INR k * (u * u)) by (repeat apply Rmult_le_pos; try apply pos_INR; lra).
    assert ((1 - u) * (1 - INR k * u) <= (1 - u) * (1 - u) ^ k)
      by (apply Rmult_le_compat_l; lra). nra.
Qed.

Lemma pow_ge_1 u k : 0 <= u -> 1 <= (1 + u) ^ k.
Proof. intros. apply pow_R1_Rle. lra. Qed.

Lemma pow_mono u j k : 0 <= u -> (j <= k)%nat -> (1 + u) ^ j <= (1 + u) ^ k.
Proof. intros. apply Rle_pow; auto. lra. Qed.

(** * Trees of rounded operations *)

Inductive tree : Type :=
| Leaf (j : nat)
| Add (left right : tree)
| Scale (factor : R) (sum : tree).

(** The exact result with the product p j at leaf j. *)
Fixpoint exact (p : nat -> R) (t : tree) : R :=
  match t with
  | Leaf j => p j
  | Add l r => exact p l + exact p r
  | Scale f s => f * exact p s
  end.

(** The largest number of roundings between a leaf and the root, its product included. *)
Fixpoint roundings (t : tree) : nat :=
  match t with
  | Leaf _ => 1
  | Add l r => S (Nat.max (roundings l) (roundings r))
  | Scale _ s => S (roundings s)
  end.

(** The number of multiplications: each may underflow. *)
Fixpoint products (t : tree) : nat :=
  match t with
  | Leaf _ => 1
  | Add l r => products l + products r
  | Scale _ s => S (products s)
  end.

(** s is a possible result of the rounded computation. *)
Inductive computes (u lost : R) (p : nat -> R) : tree -> R -> Prop :=
| computes_leaf j delta e : Rabs delta <= u -> Rabs e <= lost ->
    computes u lost p (Leaf j) (p j * (1 + delta) + e)
| computes_add l r x y delta : Rabs delta <= u ->
    computes u lost p l x -> computes u lost p r y ->
    computes u lost p (Add l r) ((x + y) * (1 + delta))
| computes_scale f t x delta e : 0 <= f <= 1 -> Rabs delta <= u -> Rabs e <= lost ->
    computes u lost p t x -> computes u lost p (Scale f t) (f * x * (1 + delta) + e).

(** * FP.sum *)

(** One rounding: an error [err] of the operand and the rounding of the result. *)
Lemma rounding_step x y delta u err : 0 <= u -> Rabs delta <= u -> Rabs (x - y) <= err ->
  Rabs (x * (1 + delta) - y) <= (1 + u) * err + u * Rabs y.
Proof.
  intros Hu Hd He.
  replace (x * (1 + delta) - y) with ((x - y) * (1 + delta) + y * delta) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. rewrite !Rabs_mult.
  assert (Rabs (1 + delta) <= 1 + u).
  { eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_R1. lra. }
  pose proof (Rabs_pos (x - y)). pose proof (Rabs_pos y). pose proof (Rabs_pos (1 + delta)). nra.
Qed.

(** Only trees that can be computed have their factors in [0, 1]. *)
Lemma exact_abs u lost p t s : computes u lost p t s ->
  Rabs (exact p t) <= exact (fun j => Rabs (p j)) t.
Proof.
  intros H. induction H; simpl; [lra | eapply Rle_trans; [apply Rabs_triang | lra] |].
  rewrite Rabs_mult, (Rabs_right f) by lra. apply Rmult_le_compat_l; lra.
Qed.

Lemma products_pos t : 1 <= INR (products t).
Proof.
  apply (le_INR 1). induction t; simpl; lia.
Qed.

Lemma sum_error u lost p t s : 0 <= u -> 0 <= lost -> computes u lost p t s ->
  let g := (1 + u) ^ roundings t in
  Rabs (s - exact p t)
    <= (g - 1) * exact (fun j => Rabs (p j)) t + g * (INR (products t) * lost).
Proof.
  intros Hu Hlost H g. unfold g. clear g.
  induction H as [j delta e Hd He | l r x y delta Hd Hl IHl Hr IHr | f t x delta e Hf Hd He Ht IHt].
  - simpl. replace (p j * (1 + delta) + e - p j) with (p j * delta + e) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_mult.
    pose proof (Rabs_pos (p j)). nra.
  - pose proof (exact_abs _ _ _ _ _ Hl) as Al. pose proof (exact_abs _ _ _ _ _ Hr) as Ar.
    simpl. rewrite plus_INR.
    set (m := Nat.max (roundings l) (roundings r)).
    assert (Gl : (1 + u) ^ roundings l <= (1 + u) ^ m) by (apply pow_mono; auto; lia).
    assert (Gr : (1 + u) ^ roundings r <= (1 + u) ^ m) by (apply pow_mono; auto; lia).
    set (g := (1 + u) ^ m) in *.
    set (A := exact (fun j => Rabs (p j)) l) in *. set (B := exact (fun j => Rabs (p j)) r) in *.
    pose proof (Rabs_pos (exact p l)). pose proof (Rabs_pos (exact p r)).
    pose proof (products_pos l). pose proof (products_pos r).
    assert (El : Rabs (x - exact p l) <= (g - 1) * A + g * (INR (products l) * lost)).
    { eapply Rle_trans; [exact IHl |].
      apply Rplus_le_compat; apply Rmult_le_compat_r; try lra. apply Rmult_le_pos; lra. }
    assert (Er : Rabs (y - exact p r) <= (g - 1) * B + g * (INR (products r) * lost)).
    { eapply Rle_trans; [exact IHr |].
      apply Rplus_le_compat; apply Rmult_le_compat_r; try lra. apply Rmult_le_pos; lra. }
    eapply Rle_trans.
    + apply (rounding_step (x + y) _ delta u (Rabs (x - exact p l) + Rabs (y - exact p r))); auto.
      replace (x + y - (exact p l + exact p r)) with (x - exact p l + (y - exact p r)) by ring.
      apply Rabs_triang.
    + assert (Rabs (exact p l + exact p r) <= A + B)
        by (eapply Rle_trans; [apply Rabs_triang | lra]).
      apply Rle_trans with ((1 + u) * (((g - 1) * A + g * (INR (products l) * lost))
        + ((g - 1) * B + g * (INR (products r) * lost))) + u * (A + B)).
      * apply Rplus_le_compat; apply Rmult_le_compat_l; lra.
      * right. ring.
  - pose proof (exact_abs _ _ _ _ _ Ht) as At. cbn [exact roundings products].
    rewrite S_INR, <- tech_pow_Rmult.
    pose proof (pow_ge_1 u (roundings t) Hu). set (g := (1 + u) ^ roundings t) in *.
    set (A := exact (fun j => Rabs (p j)) t) in *.
    pose proof (Rabs_pos (exact p t)). pose proof (products_pos t).
    set (E := (g - 1) * A + g * (INR (products t) * lost)) in *.
    assert (Rabs (f * x * (1 + delta) - f * exact p t) <= (1 + u) * (f * E) + u * (f * A)).
    { eapply Rle_trans; [apply (rounding_step (f * x) _ delta u (f * E)); auto |].
      - replace (f * x - f * exact p t) with (f * (x - exact p t)) by ring.
        rewrite Rabs_mult, (Rabs_right f) by lra. apply Rmult_le_compat_l; lra.
      - rewrite Rabs_mult, (Rabs_right f) by lra.
        apply Rplus_le_compat_l, Rmult_le_compat_l; auto. apply Rmult_le_compat_l; lra. }
    replace (f * x * (1 + delta) + e - f * exact p t)
      with (f * x * (1 + delta) - f * exact p t + e) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    assert (L1 : 0 <= g * (INR (products t) * lost)) by (repeat apply Rmult_le_pos; lra).
    assert (L2 : (1 + u) * (f * (g * (INR (products t) * lost)))
      <= (1 + u) * (g * (INR (products t) * lost))).
    { apply Rmult_le_compat_l; [lra |]. rewrite <- (Rmult_1_l (g * _)) at 2.
      apply Rmult_le_compat_r; lra. }
    assert (L3 : lost <= (1 + u) * g * lost).
    { rewrite <- (Rmult_1_l lost) at 1. apply Rmult_le_compat_r; [auto | nra]. }
    unfold E in *. nra.
Qed.

(** A sum of products that are scaled on the way, in any order. *)
Theorem fp_sum u lost p t s k : 0 <= u -> 0 <= lost -> INR k * u < 1 ->
  computes u lost p t s -> (roundings t <= k)%nat ->
  Rabs (s - exact p t) <= gamma k u * exact (fun j => Rabs (p j)) t
    + (1 + gamma k u) * (INR (products t) * lost).
Proof.
  intros Hu Hlost Hk H Ht.
  eapply Rle_trans; [apply (sum_error u lost p t s); auto |].
  assert (G : (1 + u) ^ roundings t <= 1 + gamma k u).
  { eapply Rle_trans; [apply pow_mono; eauto | apply pow_up; auto]. }
  assert (0 <= exact (fun j => Rabs (p j)) t).
  { eapply Rle_trans; [apply Rabs_pos | eapply exact_abs; eauto]. }
  pose proof (products_pos t).
  apply Rplus_le_compat; apply Rmult_le_compat_r; auto; [lra | apply Rmult_le_pos; lra].
Qed.

(** * Sums that take each term once *)

Fixpoint leaves (t : tree) : list nat :=
  match t with
  | Leaf j => j :: nil
  | Add l r => leaves l ++ leaves r
  | Scale _ s => leaves s
  end.

Fixpoint unscaled (t : tree) : Prop :=
  match t with
  | Leaf _ => True
  | Add l r => unscaled l /\ unscaled r
  | Scale _ _ => False
  end.

(** t adds the terms 0, ..., d - 1, each once, in some order and bracketing. *)
Definition adds (d : nat) (t : tree) : Prop := unscaled t /\ Permutation (leaves t) (seq 0 d).

Lemma exact_leaves p t : unscaled t -> exact p t = lsum p (leaves t).
Proof.
  induction t; simpl; intros H; [unfold lsum; simpl; ring | | contradiction].
  destruct H. rewrite IHt1, IHt2, lsum_app by auto. reflexivity.
Qed.

Lemma adds_exact d t p : adds d t -> exact p t = fsum d p.
Proof.
  intros [Hu Hp]. rewrite exact_leaves by auto.
  apply lsum_all, Hp.
Qed.

Lemma unscaled_products t : unscaled t -> products t = length (leaves t).
Proof.
  induction t; simpl; intros H; [auto | | contradiction].
  destruct H. rewrite app_length, IHt1, IHt2; auto.
Qed.

Lemma unscaled_roundings t : unscaled t -> (roundings t <= length (leaves t))%nat.
Proof.
  intros H. assert (P : forall s, (1 <= length (leaves s))%nat).
  { induction s; simpl; auto. rewrite app_length. lia. }
  induction t; simpl in *; [auto | | contradiction].
  destruct H as [H1 H2]. specialize (IHt1 H1). specialize (IHt2 H2).
  rewrite app_length. pose proof (P t1). pose proof (P t2). lia.
Qed.

Lemma adds_length d t : adds d t -> length (leaves t) = d.
Proof. intros [_ Hp]. apply Permutation_length in Hp. now rewrite seq_length in Hp. Qed.

(** * FP.softmax: a computed logit *)

Lemma logit_form d u A tiny : INR d * u < 1 ->
  b_rounding_logit d u A tiny = gamma d u * A + INR d * tiny.
Proof. intros. unfold b_rounding_logit, gamma. field. lra. Qed.

Theorem fp_logit d u lost tiny q k t s A : 0 <= u -> 0 <= lost -> 2 * lost <= tiny ->
  INR d * u <= 1 / 2 -> adds d t -> computes u lost (fun l => q l * k l) t s ->
  fsum d (fun l => Rabs (q l * k l)) <= A ->
  Rabs (s - fsum d (fun l => q l * k l)) <= b_rounding_logit d u A tiny.
Proof.
  intros Hu Hlost Htiny Hd Ht Hs HA. rewrite logit_form by lra.
  pose proof (adds_length d t Ht) as Len. pose proof (proj1 Ht) as Hun.
  pose proof (gamma_nonneg d u Hu ltac:(lra)).
  assert (gamma d u <= 1) by (apply div_le; lra).
  rewrite <- !(adds_exact d t) in * by auto.
  eapply Rle_trans; [apply (fp_sum u lost _ t s d); auto; [lra |] |].
  - rewrite <- Len. apply unscaled_roundings; auto.
  - rewrite unscaled_products, Len by auto. pose proof (pos_INR d).
    apply Rplus_le_compat; [apply Rmult_le_compat_l; auto |].
    rewrite <- Rmult_assoc, (Rmult_comm (1 + _)), Rmult_assoc. apply Rmult_le_compat_l; nra.
Qed.

