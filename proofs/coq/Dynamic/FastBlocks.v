(** Rebuilds by fast multiplication of square blocks (claim P1.blocks).

    A rebuild adds a product of an n x k matrix of coefficients and a k x (v + 1) matrix of values.
    Where k = 2^m divides n and v + 1 it is (n / k) ((v + 1) / k) products of blocks of order k, each
    by Strassen's recursion: 7 products of half the order in place of 8.

    Steps: (1) the recursion computes the product and takes 7^m products; (2) so do the blocks;
    (3) with the cost of a rebuild for potential, k updates pay for one; (4) 7^m <= k^w where
    ln 7 <= w ln 2. *)

Require Import Reals Lra Lia List Bool Arith ZArith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Softmax Require Import ExpLog.
From Attest.Dynamic Require Import Tokens Pending Cached DynamicCost.
Import ListNotations.
Open Scope R_scope.

Definition matrix : Type := nat -> nat -> R.

Definition m_plus (A B : matrix) : matrix := fun i j => A i j + B i j.
Definition m_minus (A B : matrix) : matrix := fun i j => A i j - B i j.

(** The block that begins at row r and column s. *)
Definition block (r s : nat) (A : matrix) : matrix := fun i j => A (r + i)%nat (s + j)%nat.

(** The product of two matrices of order 2^m, and how many products of numbers it takes. *)
Fixpoint strassen (m : nat) (A B : matrix) : matrix * nat :=
  match m with
  | O => (fun _ _ => A 0%nat 0%nat * B 0%nat 0%nat, 1%nat)
  | S k =>
      let h := (2 ^ k)%nat in
      let a := block 0 0 A in let b := block 0 h A in
      let c := block h 0 A in let d := block h h A in
      let e := block 0 0 B in let f := block 0 h B in
      let g := block h 0 B in let l := block h h B in
      let (m1, c1) := strassen k (m_plus a d) (m_plus e l) in
      let (m2, c2) := strassen k (m_plus c d) e in
      let (m3, c3) := strassen k a (m_minus f l) in
      let (m4, c4) := strassen k d (m_minus g e) in
      let (m5, c5) := strassen k (m_plus a b) l in
      let (m6, c6) := strassen k (m_minus c a) (m_plus e f) in
      let (m7, c7) := strassen k (m_minus b d) (m_plus g l) in
      (fun i j =>
         match Nat.ltb i h, Nat.ltb j h with
         | true, true => m1 i j + m4 i j - m5 i j + m7 i j
         | true, false => m3 i (j - h)%nat + m5 i (j - h)%nat
         | false, true => m2 (i - h)%nat j + m4 (i - h)%nat j
         | false, false => m1 (i - h)%nat (j - h)%nat - m2 (i - h)%nat (j - h)%nat
             + m3 (i - h)%nat (j - h)%nat + m6 (i - h)%nat (j - h)%nat
         end,
       (c1 + c2 + c3 + c4 + c5 + c6 + c7)%nat)
  end.

Lemma strassen_products m : forall A B, snd (strassen m A B) = (7 ^ m)%nat.
Proof.
  induction m; intros A B; [reflexivity |]. simpl strassen.
  repeat match goal with
    |- context [strassen m ?X ?Y] =>
      let H := fresh in pose proof (IHm X Y) as H; destruct (strassen m X Y); simpl in H
  end. simpl. lia.
Qed.

Definition product (n : nat) (A B : matrix) : matrix := fun i j => fsum n (fun l => A i l * B l j).

Lemma strassen_correct m : forall A B i j, (i < 2 ^ m)%nat -> (j < 2 ^ m)%nat ->
  fst (strassen m A B) i j = product (2 ^ m) A B i j.
Proof.
  induction m; intros A B i j Hi Hj.
  - simpl in *. replace i with 0%nat by lia. replace j with 0%nat by lia. unfold product. simpl. ring.
  - simpl strassen. set (h := (2 ^ m)%nat) in *.
    replace (2 ^ S m)%nat with (h + h)%nat in * by (unfold h; simpl; lia).
    repeat match goal with
      |- context [strassen m ?X ?Y] =>
        let H := fresh "H" in pose proof (IHm X Y) as H; destruct (strassen m X Y);
        unfold fst in H
    end.
    simpl fst. unfold product in *. rewrite fsum_add.
    destruct (Nat.ltb_spec i h) as [Li | Li], (Nat.ltb_spec j h) as [Lj | Lj];
      repeat match goal with
        H : forall i j, (i < h)%nat -> (j < h)%nat -> ?f i j = _ |- context [?f ?x ?y] =>
          rewrite (H x y) by lia
      end;
      repeat first [rewrite <- fsum_plus | rewrite <- fsum_minus]; apply fsum_ext; intros l Hl;
      unfold m_plus, m_minus, block; rewrite ?Nat.add_0_l;
      try replace (h + (i - h))%nat with i by lia; try replace (h + (j - h))%nat with j by lia;
      ring.
Qed.

Section Blocks.

Context {options : settings}.
Variable value_columns : nat.

(** Rebuilds of [limit] = 2^m pairs; rows and columns of sums come in blocks of that order. *)
Variable m : nat.
Hypothesis order : limit = (2 ^ m)%nat.

(** What a rebuild adds to row i and column c, and what it takes for n rows. *)
Definition block_product (A B : matrix) : matrix := fun i c =>
  fst (strassen m (block (i / limit * limit) 0 A) (block 0 (c / limit * limit) B))
    (i mod limit)%nat (c mod limit)%nat.
Definition block_products (n : nat) : nat :=
  ((n / limit) * ((value_columns + 1) / limit) * 7 ^ m)%nat.

Lemma block_product_correct A B i c :
  block_product A B i c = product limit A B i c.
Proof.
  assert (L : (0 < limit)%nat) by apply limit_positive.
  unfold block_product. rewrite strassen_correct by (rewrite <- order; apply Nat.mod_upper_bound; lia).
  unfold product, block. rewrite <- order. apply fsum_ext. intros l _. rewrite !Nat.add_0_l.
  replace (i / limit * limit + i mod limit)%nat with i
    by (rewrite (Nat.div_mod i limit) at 1; lia).
  replace (c / limit * limit + c mod limit)%nat with c
    by (rewrite (Nat.div_mod c limit) at 1; lia).
  reflexivity.
Qed.

(** An update: its new weights, and with [limit] pairs a rebuild by blocks. *)
Definition fast_edit_products (T : tokens) (s : cached) (e : edit) : nat :=
  if accepted T e then
    change_products T e
    + (if Nat.leb limit (c_pending (c_change T s e)) then block_products (count T) else 0)
  else 0.

Fixpoint fast_total (T : tokens) (s : cached) (es : list edit) : nat :=
  match es with
  | [] => 0
  | e :: rest => fast_edit_products T s e
      + fast_total (edited T e) (if accepted T e then c_edit T s e else s) rest
  end%nat.

Definition key_edits (us : list (nat * nat * R)) : list edit :=
  map (fun u => UpdateKey (fst (fst u)) (snd (fst u)) (snd u)) us.

Lemma fast_amortised us : forall T s, sliced = false -> c_end s = 0%nat ->
  (limit * fast_total T s (key_edits us)
    <= length us * (limit * (2 * count T) + block_products (count T))
       + c_pending s * block_products (count T))%nat.
Proof.
  induction us as [| [[t j] x] us IH]; intros T s E Z; [simpl; lia |].
  cbn [key_edits map fast_total length fst snd]. fold (key_edits us).
  set (e := UpdateKey t j x). set (B := block_products (count T)).
  assert (N : forall q k v, e <> Append q k v) by discriminate.
  assert (C : count (edited T e) = count T) by (apply edited_count; exact N).
  assert (Step : (limit * fast_edit_products T s e
      + c_pending (if accepted T e then c_edit T s e else s) * B
      <= limit * (2 * count T) + S (c_pending s) * B)%nat /\
    c_end (if accepted T e then c_edit T s e else s) = 0%nat).
  { unfold fast_edit_products. destruct (accepted T e); [| split; auto; lia].
    pose proof (change_pending T s e N) as P.
    destruct (change_end T s e (or_intror N)) as (F & _). rewrite Z in F.
    change (c_edit T s e) with (c_settle (edited T e) (c_change T s e)). unfold c_settle.
    change (c_pending (c_advance (slice (c_end (c_change T s e))) (c_change T s e)))
      with (c_pending (c_change T s e)).
    change (change_products T e) with (2 * count T)%nat. fold B.
    destruct (Nat.leb_spec limit (c_pending (c_change T s e))) as [L | L].
    - split; [| simpl; rewrite E; reflexivity].
      assert (Q : c_pending (c_rebuild (edited T e)
        (c_advance (slice (c_end (c_change T s e))) (c_change T s e))) = 0%nat) by reflexivity.
      rewrite Q. nia.
    - split; [| exact F].
      change (c_pending (c_advance (slice (c_end (c_change T s e))) (c_change T s e)))
        with (c_pending (c_change T s e)). nia. }
  destruct Step as [Step Z']. specialize (IH (edited T e) _ E Z'). rewrite C in IH. fold B in IH. lia.
Qed.

(** k^w for an exponent that Strassen's recursion attains. *)
Lemma strassen_power w : ln 7 <= w * ln 2 -> INR (7 ^ m) <= exp (w * ln (INR limit)).
Proof.
  intros W. rewrite order, !pow_INR. simpl (INR 7). simpl (INR 2).
  replace (1 + 1 + 1 + 1 + 1 + 1 + 1) with 7 by ring. replace (1 + 1) with 2 by ring.
  rewrite <- (exp_ln 7), <- exp_times by lra. apply exp_le.
  replace (ln (2 ^ m)) with (INR m * ln 2).
  - pose proof (pos_INR m). nra.
  - rewrite <- (exp_ln 2) at 2 by lra. rewrite <- exp_times. now rewrite ln_exp.
Qed.

(** Any list of updates of entries of keys, where blocks fit. *)
Theorem p1_blocks_amortised T room us w : sliced = false -> ln 7 <= w * ln 2 ->
  (count T mod limit)%nat = 0%nat -> ((value_columns + 1) mod limit)%nat = 0%nat ->
  INR (fast_total T (c_build T room) (key_edits us))
    <= INR (length us) * b_fast_amortised_products (count T) value_columns limit w.
Proof.
  intros E W _ _. assert (L : (0 < limit)%nat) by apply limit_positive.
  pose proof (fast_amortised us T (c_build T room) E eq_refl) as H.
  change (c_pending (c_build T room)) with 0%nat in H. rewrite Nat.mul_0_l, Nat.add_0_r in H.
  apply le_INR in H. rewrite !mult_INR, plus_INR, !mult_INR in H. simpl (INR 2) in H.
  assert (K : 0 < INR limit) by (apply lt_0_INR; auto).
  pose proof (strassen_power w W) as P.
  assert (Q : INR (block_products (count T)) * (INR limit * INR limit)
    <= INR (count T) * (INR value_columns + 1) * exp (w * ln (INR limit))).
  { unfold block_products. rewrite !mult_INR.
    assert (D1 : INR (count T / limit) * INR limit <= INR (count T)).
    { rewrite <- mult_INR, Nat.mul_comm. apply le_INR, Nat.mul_div_le. lia. }
    assert (D2 : INR ((value_columns + 1) / limit) * INR limit <= INR value_columns + 1).
    { rewrite <- mult_INR, Nat.mul_comm. change 1 with (INR 1). rewrite <- plus_INR.
      apply le_INR, Nat.mul_div_le. lia. }
    pose proof (pos_INR (count T / limit)). pose proof (pos_INR ((value_columns + 1) / limit)).
    pose proof (pos_INR (7 ^ m)).
    replace (INR (count T / limit) * INR ((value_columns + 1) / limit) * INR (7 ^ m)
      * (INR limit * INR limit))
      with ((INR (count T / limit) * INR limit) * (INR ((value_columns + 1) / limit) * INR limit)
        * INR (7 ^ m)) by ring.
    assert (A1 : 0 <= INR (count T / limit) * INR limit) by (apply Rmult_le_pos; lra).
    assert (A2 : 0 <= INR ((value_columns + 1) / limit) * INR limit) by (apply Rmult_le_pos; lra).
    apply Rmult_le_compat; [apply Rmult_le_pos | | apply Rmult_le_compat |]; assumption. }
  unfold b_fast_amortised_products. argument ln (INR limit).
  set (X := exp (w * ln (INR limit))) in *. clearbody X.
  apply Rmult_le_reg_l with (INR limit); [exact K |].
  eapply Rle_trans; [exact H |].
  replace (INR limit * (INR (length us) * (2 * INR (count T) + INR (count T) * (1 + INR value_columns) * X / INR limit ^ 3)))
    with (INR (length us) * (INR limit * (2 * INR (count T))
      + INR (count T) * (INR value_columns + 1) * X / (INR limit * INR limit))) by (field; lra).
  apply Rmult_le_compat_l; [apply pos_INR |].
  assert (INR (block_products (count T))
    <= INR (count T) * (INR value_columns + 1) * X / (INR limit * INR limit))
    by (apply le_div; [nra | exact Q]).
  lra.
Qed.

End Blocks.

(** The exponent that the instances are counted with: 7^244 <= 2^685. *)
Theorem p1_blocks_exponent : ln 7 <= 28074 / 10000 * ln 2.
Proof.
  assert (P : 7 ^ 244 <= 2 ^ 685)
    by (rewrite !pow_IZR; apply IZR_le, Zle_bool_imp_le; vm_compute; reflexivity).
  assert (L : forall x k, 0 < x -> ln (x ^ k) = INR k * ln x).
  { intros x k H. rewrite <- (exp_ln x H) at 1. now rewrite <- exp_times, ln_exp. }
  assert (Q : ln (7 ^ 244) <= ln (2 ^ 685)).
  { destruct P as [P | P]; [left; apply ln_increasing; auto; apply pow_lt; lra |].
    right. now rewrite P. }
  rewrite !L in Q by lra. rewrite !INR_IZR_INZ in Q. simpl Z.of_nat in Q.
  assert (0 < ln 2) by (rewrite <- ln_1; apply ln_increasing; lra). lra.
Qed.
