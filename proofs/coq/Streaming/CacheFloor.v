(** What is kept of keys and values holds every bit of the values (claim P2.floor).

    The keys are n corners of the cube {-1, 1}^d, the values bits, v a key, and query i is key i
    times c.  Corner i has at least 1 / (1 + e^{-2c})^d >= 1 - d e^{-2c} of the weight of all 2^d
    corners, so of the n: with d e^{-2c} <= 1/4 output i is at least 3/4 for a 1 and at most 1/4 for
    a 0.  Whoever answers all with an error below 1/4 knows all n v bits.

    Steps: (1) the weights of all corners multiply up; (2) so the share of one's own; (3) for each
    toss of the coin, the words that are answered right have states of their own; (4) summed over
    the words and the tosses: on average there are as many right words as states at most. *)

Require Import Reals Lra Lia List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Probability Independence.
From Attest.Softmax Require Import Softmax.
From Attest.Streaming Require Import Onepass.
Import ListNotations.
Open Scope R_scope.

(** * Corners *)

Definition sign (b : bool) : R := if b then 1 else -1.

Fixpoint corner_dot (a b : list bool) : R :=
  match a, b with
  | x :: a, y :: b => sign x * sign y + corner_dot a b
  | _, _ => 0
  end.

Lemma corner_self a : corner_dot a a = INR (length a).
Proof.
  induction a as [| x a IH]; [reflexivity |]. cbn [corner_dot length]. rewrite S_INR, IH.
  destruct x; simpl; ring.
Qed.

(** The weights of all corners. *)
Lemma all_corners c a :
  lsum (fun b => exp (c * corner_dot a b)) (binary_words (length a))
  = (exp c + exp (- c)) ^ length a.
Proof.
  induction a as [| x a IH]; [unfold lsum; simpl; rewrite Rmult_0_r, exp_0; ring |].
  cbn [length binary_words]. rewrite lsum_app, !lsum_map. cbn [corner_dot].
  rewrite (lsum_ext (fun b => exp (c * (sign x * sign true + corner_dot a b)))
    (fun b => exp (c * (sign x * sign true)) * exp (c * corner_dot a b)))
    by (intros; rewrite <- exp_plus; f_equal; ring).
  rewrite (lsum_ext (fun b => exp (c * (sign x * sign false + corner_dot a b)))
    (fun b => exp (c * (sign x * sign false)) * exp (c * corner_dot a b)))
    by (intros; rewrite <- exp_plus; f_equal; ring).
  rewrite !lsum_scale, IH. simpl pow. unfold sign.
  destruct x;
    [replace (c * (1 * 1)) with c by ring; replace (c * (1 * -1)) with (- c) by ring
    |replace (c * (-1 * 1)) with (- c) by ring; replace (c * (-1 * -1)) with c by ring]; ring.
Qed.

Lemma lsum_incl {A} (f : A -> R) l : forall l', NoDup l -> incl l l' -> (forall a, 0 <= f a) ->
  lsum f l <= lsum f l'.
Proof.
  induction l as [| a l IH]; intros l' D H P.
  - unfold lsum at 1. simpl. apply lsum_nonneg. auto.
  - inversion D as [| ? ? Ha Dl]; subst.
    destruct (in_split a l' (H a (or_introl eq_refl))) as (l1 & l2 & ->).
    assert (I : incl l (l1 ++ l2)).
    { intros b Hb. specialize (H b (or_intror Hb)). apply in_app_or in H. apply in_or_app.
      destruct H as [H | [-> | H]]; auto. contradiction. }
    specialize (IH (l1 ++ l2) Dl I P). rewrite lsum_app in *.
    unfold lsum in *. simpl. lra.
Qed.

(** (1 + x)^d (1 - d x) <= 1 *)
Lemma bernoulli_product x d : 0 <= x -> (1 + x) ^ d * (1 - INR d * x) <= 1.
Proof.
  intros H. induction d; [simpl; lra |]. rewrite S_INR. simpl pow.
  assert (P : 0 < (1 + x) ^ d) by (apply pow_lt; lra). pose proof (pos_INR d).
  replace ((1 + x) * (1 + x) ^ d * (1 - (INR d + 1) * x))
    with ((1 + x) ^ d * ((1 - INR d * x) - (INR d + 1) * x * x)) by ring.
  assert (0 <= (INR d + 1) * x * x) by (repeat apply Rmult_le_pos; lra).
  assert ((1 + x) ^ d * ((1 - INR d * x) - (INR d + 1) * x * x)
    <= (1 + x) ^ d * (1 - INR d * x)) by (apply Rmult_le_compat_l; lra). lra.
Qed.

(** * The outputs *)

Section Floor.

Variables (d v : nat) (c : R) (keys : list (list bool)).
Hypothesis corners : forall a, In a keys -> length a = d.
Hypothesis different : NoDup keys.
Hypothesis sharp : INR d * exp (- (2 * c)) <= 1 / 4.

Let n : nat := length keys.

Definition key (i : nat) : list bool := nth i keys [].

(** Bit l of the value of key i. *)
Definition value_bit (w : list bool) (i l : nat) : bool := nth (i * v + l) w false.

Definition cache_output (w : list bool) (i l : nat) : R :=
  dot n (softmax n (fun j => c * corner_dot (key i) (key j)))
    (fun j => if value_bit w j l then 1 else 0).

Lemma own_share i : (i < n)%nat ->
  3 / 4 <= softmax n (fun j => c * corner_dot (key i) (key j)) i.
Proof.
  intros Hi. assert (K : length (key i) = d) by (apply corners, nth_In; exact Hi).
  unfold softmax, normalize. unfold n, key at 4.
  rewrite (fsum_of_nth (fun b => exp (c * corner_dot (key i) b)) keys []).
  assert (L : lsum (fun b => exp (c * corner_dot (key i) b)) keys <= (exp c + exp (- c)) ^ d).
  { rewrite <- K, <- all_corners. apply lsum_incl; auto.
    - intros a Ha. rewrite K. rewrite <- (corners a Ha).
      clear. induction a as [| x a IH]; simpl; [auto |].
      apply in_or_app. destruct x; [left | right]; now apply in_map.
    - intros. left. apply exp_pos. }
  rewrite corner_self, K.
  assert (Pos : 0 < lsum (fun b => exp (c * corner_dot (key i) b)) keys).
  { rewrite <- (fsum_of_nth _ _ []). apply fsum_pos; [unfold n in Hi; lia |]. intros. apply exp_pos. }
  apply le_div; [exact Pos |].
  apply Rle_trans with (3 / 4 * (exp c + exp (- c)) ^ d); [lra |].
  set (x := exp (- (2 * c))) in *.
  assert (X : 0 < x) by apply exp_pos.
  replace (exp c + exp (- c)) with (exp c * (1 + x)).
  - rewrite Rpow_mult_distr.
    assert (E : exp c ^ d = exp (c * INR d)).
    { clear. induction d; [simpl; rewrite Rmult_0_r, exp_0; reflexivity |].
      rewrite S_INR. simpl. rewrite IHn, <- exp_plus. f_equal. ring. }
    rewrite E. pose proof (exp_pos (c * INR d)).
    pose proof (bernoulli_product x d ltac:(lra)) as B.
    assert (P : 0 < (1 + x) ^ d) by (apply pow_lt; lra).
    assert ((1 + x) ^ d * (3 / 4) <= (1 + x) ^ d * (1 - INR d * x))
      by (apply Rmult_le_compat_l; lra). nra.
  - unfold x. rewrite Rmult_plus_distr_l, Rmult_1_r, <- exp_plus. f_equal. f_equal. ring.
Qed.

Lemma output_reads w i l : (i < n)%nat ->
  (value_bit w i l = true -> 3 / 4 <= cache_output w i l) /\
  (value_bit w i l = false -> cache_output w i l <= 1 / 4).
Proof.
  intros Hi. pose proof (own_share i Hi) as S. unfold cache_output, dot.
  set (p := softmax n (fun j => c * corner_dot (key i) (key j))) in *.
  assert (P : forall j, 0 <= p j).
  { intros j. unfold p, softmax, normalize. left. apply Rdiv_lt_0_compat; [apply exp_pos |].
    apply fsum_pos; [lia | intros; apply exp_pos]. }
  assert (T : fsum n p = 1).
  { unfold p, softmax, normalize. rewrite fsum_div. apply Rinv_r, Rgt_not_eq.
    apply fsum_pos; [lia | intros; apply exp_pos]. }
  split; intros H.
  - eapply Rle_trans; [exact S |]. replace (p i) with (p i * (if value_bit w i l then 1 else 0))
      by (rewrite H; ring).
    apply (fsum_term n (fun j => p j * (if value_bit w j l then 1 else 0))); auto.
    intros j _. specialize (P j). destruct (value_bit w j l); lra.
  - assert (B : fsum n (fun j => p j * (if value_bit w j l then 1 else 0)) + p i <= fsum n p).
    { assert (O : fsum n (fun j => if Nat.eqb j i then p i else 0) = p i)
        by (rewrite fsum_one by auto; ring).
      rewrite <- O at 1. rewrite <- fsum_plus. apply fsum_le. intros j _. specialize (P j).
      destruct (Nat.eqb_spec j i) as [-> |]; [rewrite H; lra |].
      destruct (value_bit w j l); lra. }
    lra.
Qed.

(** * Counting *)

Lemma lsum_filter {A} (f : A -> bool) l :
  lsum (fun a => if f a then 1 else 0) l = INR (length (filter f l)).
Proof.
  induction l as [| a l IH]; [reflexivity |].
  transitivity ((if f a then 1 else 0) + lsum (fun a => if f a then 1 else 0) l); [reflexivity |].
  rewrite IH. simpl filter. destruct (f a); [cbn [length]; rewrite S_INR |]; ring.
Qed.

(** A cache for every toss of a coin: [state] is what is kept, [answer] what is made of it.  [good]
    says of a toss and a word of bits that every answer errs by at most [error]. *)
Theorem p2_floor_states {coin} (coins : list coin) states success error
    (state : coin -> list bool -> nat) (answer : coin -> nat -> nat -> nat -> R)
    (good : coin -> list bool -> bool) :
  coins <> [] -> error < 1 / 4 ->
  (forall r w, length w = (n * v)%nat -> (state r w < states)%nat) ->
  (forall r w i l, length w = (n * v)%nat -> good r w = true -> (i < n)%nat -> (l < v)%nat ->
     Rabs (answer r (state r w) i l - cache_output w i l) <= error) ->
  (forall w, length w = (n * v)%nat -> success <= probability coins (fun r => good r w)) ->
  success * INR (2 ^ (n * v)) <= b_floor_states states.
Proof.
  intros C He Hs Ha Hp. unfold b_floor_states. set (words := binary_words (n * v)).
  assert (W : forall w, In w words -> length w = (n * v)%nat) by apply binary_words_In.
  pose proof (length_pos coins C) as R.
  apply Rle_trans with (lsum (fun w => probability coins (fun r => good r w)) words).
  - rewrite <- binary_words_length, Rmult_comm, <- lsum_const. apply lsum_le. auto.
  - unfold probability, expect.
    rewrite (lsum_ext _ (fun w => / INR (length coins) * lsum (fun r => if good r w then 1 else 0) coins))
      by (intros; unfold Rdiv; ring).
    rewrite lsum_scale, lsum_exchange. apply Rmult_le_reg_l with (INR (length coins)); [exact R |].
    rewrite <- Rmult_assoc, Rinv_r, Rmult_1_l by lra. rewrite <- lsum_const. apply lsum_le.
    intros r _. rewrite lsum_filter. apply le_INR.
    rewrite <- (map_length (state r)), <- (seq_length states 0). apply NoDup_incl_length.
    + apply nodup_map; [apply NoDup_filter, binary_words_nodup |].
      intros w w' Hw Hw' E. apply filter_In in Hw as [Hw G]. apply filter_In in Hw' as [Hw' G'].
      apply W in Hw. apply W in Hw'.
      apply (nth_ext _ _ false false); [congruence |]. intros k Hk. rewrite Hw in Hk.
      assert (V : (0 < v)%nat) by (destruct v; lia).
      pose proof (Nat.div_mod k v ltac:(lia)) as DM. pose proof (Nat.mod_upper_bound k v ltac:(lia)).
      set (i := (k / v)%nat) in *. set (l := (k mod v)%nat) in *.
      assert (Hi : (i < n)%nat) by (apply Nat.div_lt_upper_bound; lia).
      replace k with (i * v + l)%nat by lia.
      fold (value_bit w i l). fold (value_bit w' i l).
      pose proof (Rabs_bounds _ _ (Ha r w i l Hw G Hi ltac:(lia))) as B.
      pose proof (Rabs_bounds _ _ (Ha r w' i l Hw' G' Hi ltac:(lia))) as B'. rewrite E in B.
      destruct (output_reads w i l Hi) as [O1 O0]. destruct (output_reads w' i l Hi) as [O1' O0'].
      destruct (value_bit w i l), (value_bit w' i l); auto;
        [specialize (O1 eq_refl); specialize (O0' eq_refl)
        |specialize (O0 eq_refl); specialize (O1' eq_refl)]; lra.
    + intros s Hin. apply in_map_iff in Hin. destruct Hin as (w & <- & Hw).
      apply filter_In in Hw as [Hw _]. apply in_seq. pose proof (Hs r w (W w Hw)). lia.
Qed.

End Floor.
