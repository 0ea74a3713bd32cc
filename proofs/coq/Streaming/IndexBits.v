(** INDEX: bits that can be read one by one, each with an error of its own, take as many states
    (claims P2.floor, P2.order).

    A coin is tossed, a word of N bits is kept as one of so many states, and each bit is read from
    the state: for every word and bit it is wrong with probability at most delta.  With k + 1 >= 2
    delta N a word has more than k wrong bits with probability at most 1 / 2 (Markov); so some toss
    has at least half of all words within distance k of what is read from their states, and each
    state has no more such words than a ball of radius k: 2^N <= 2 states ball.

    Steps: (1) the number of wrong bits is a sum of indicators; (2) Markov's inequality; (3) words
    are counted state by state; (4) summed over words and tosses. *)

Require Import Reals Lra Lia List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Probability.
From Attest.Streaming Require Import Onepass CacheFloor.
Import ListNotations.
Open Scope R_scope.

(** How many of N bits a reading gets wrong. *)
Definition wrong_bit (read : nat -> bool) (w : list bool) (i : nat) : bool :=
  negb (Bool.eqb (read i) (nth i w false)).
Definition wrong_bits (N : nat) (read : nat -> bool) (w : list bool) : nat :=
  length (filter (wrong_bit read w) (seq 0 N)).

(** The words within distance k of a reading. *)
Definition ball (N k : nat) (read : nat -> bool) : list (list bool) :=
  filter (fun w => Nat.leb (wrong_bits N read w) k) (binary_words N).

Lemma filter_by_state {A} (f : A -> bool) (state : A -> nat) states l :
  (forall a, In a l -> (state a < states)%nat) ->
  INR (length (filter f l))
  = fsum states (fun s => INR (length (filter (fun a => f a && Nat.eqb (state a) s) l))).
Proof.
  induction l as [| a l IH]; intros H.
  - simpl. symmetry. apply fsum_zero. reflexivity.
  - specialize (IH (fun b Hb => H b (or_intror Hb))). simpl filter. destruct (f a) eqn:F.
    + cbn [length]. rewrite S_INR, IH.
      rewrite (fsum_ext states
        (fun s => INR (length (if true && Nat.eqb (state a) s
           then a :: filter (fun b => f b && Nat.eqb (state b) s) l
           else filter (fun b => f b && Nat.eqb (state b) s) l)))
        (fun s => INR (length (filter (fun b => f b && Nat.eqb (state b) s) l))
           + (if Nat.eqb s (state a) then 1 else 0))).
      * rewrite fsum_plus, fsum_one by (apply H; left; reflexivity). ring.
      * intros s _. rewrite Nat.eqb_sym. simpl andb. destruct (Nat.eqb s (state a)).
        -- cbn [length]. rewrite S_INR. ring.
        -- ring.
    + rewrite IH. reflexivity.
Qed.

(** [read] is what is made of a state, for a toss of the coin. *)
Theorem index_states {coin} N (coins : list coin) states volume k delta
    (state : coin -> list bool -> nat) (read : coin -> nat -> nat -> bool) :
  coins <> [] -> 2 * delta * INR N <= INR k + 1 ->
  (forall r w, length w = N -> (state r w < states)%nat) ->
  (forall w i, length w = N -> (i < N)%nat ->
     probability coins (fun r => wrong_bit (read r (state r w)) w i) <= delta) ->
  (forall center, (length (ball N k center) <= volume)%nat) ->
  INR (2 ^ N) <= 2 * (INR states * INR volume).
Proof.
  intros C K Hs Hp Hv. set (words := binary_words N).
  assert (W : forall w, In w words -> length w = N) by apply binary_words_In.
  pose proof (length_pos coins C) as R. pose proof (pos_INR k) as K0.
  set (good := fun r w => Nat.leb (wrong_bits N (read r (state r w)) w) k).
  (* Markov *)
  assert (G : forall w, In w words -> 1 / 2 <= probability coins (fun r => good r w)).
  { intros w Hw. specialize (W w Hw).
    assert (E : expect coins (fun r => INR (wrong_bits N (read r (state r w)) w))
      <= delta * INR N).
    { rewrite (expect_ext coins _ (fun r => fsum N (fun i =>
        if wrong_bit (read r (state r w)) w i then 1 else 0)))
        by (intros r _; unfold wrong_bits; rewrite <- lsum_seq; symmetry; apply lsum_filter).
      rewrite expect_fsum, Rmult_comm, <- fsum_const. apply fsum_le. intros i Hi.
      apply Hp; auto. }
    assert (M : expect coins (fun _ => 1)
      <= expect coins (fun r => (if good r w then 1 else 0)
           + / (INR k + 1) * INR (wrong_bits N (read r (state r w)) w))).
    { apply expect_le; auto. intros r _. unfold good.
      pose proof (pos_INR (wrong_bits N (read r (state r w)) w)) as P.
      assert (I : 0 < / (INR k + 1)) by (apply Rinv_0_lt_compat; lra).
      destruct (Nat.leb_spec (wrong_bits N (read r (state r w)) w) k) as [L | L]; [nra |].
      apply le_INR in L. rewrite S_INR in L.
      apply Rle_trans with (/ (INR k + 1) * (INR k + 1)); [right; field; lra |].
      rewrite Rplus_0_l. apply Rmult_le_compat_l; lra. }
    rewrite expect_const, expect_plus, expect_scale in M by exact C.
    fold (probability coins (fun r => good r w)) in M.
    assert (B : / (INR k + 1) * expect coins (fun r => INR (wrong_bits N (read r (state r w)) w))
      <= 1 / 2).
    { apply Rle_trans with (/ (INR k + 1) * (delta * INR N)).
      - apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat; lra | exact E].
      - rewrite Rmult_comm. change (delta * INR N / (INR k + 1) <= 1 / 2). apply div_le; lra. }
    lra. }
  (* counting *)
  assert (T : forall r, INR (length (filter (good r) words)) <= INR states * INR volume).
  { intros r. rewrite (filter_by_state (good r) (state r) states) by auto.
    rewrite <- fsum_const. apply fsum_le. intros s _. apply le_INR.
    eapply Nat.le_trans; [| apply (Hv (read r s))]. unfold ball.
    apply filter_length_le. intros w _ Hg. apply andb_prop in Hg as [Hg E].
    apply Nat.eqb_eq in E. unfold good in Hg. now rewrite E in Hg. }
  assert (S : INR (2 ^ N) * (1 / 2) <= INR states * INR volume); [| lra].
  rewrite <- binary_words_length, <- lsum_const. fold words.
  eapply Rle_trans; [apply (lsum_le _ (fun w => probability coins (fun r => good r w))); exact G |].
  unfold probability, expect.
  rewrite (lsum_ext _ (fun w => / INR (length coins) * lsum (fun r => if good r w then 1 else 0) coins))
    by (intros; unfold Rdiv; ring).
  rewrite lsum_scale, lsum_exchange. apply Rmult_le_reg_l with (INR (length coins)); [exact R |].
  rewrite <- Rmult_assoc, Rinv_r, Rmult_1_l by lra. rewrite <- lsum_const. apply lsum_le.
  intros r _. rewrite lsum_filter. apply T.
Qed.

(** Caches that answer each query alone with an error below 1/4, but for a probability delta. *)
Theorem p2_floor_index {coin} d v c keys (coins : list coin) states volume k delta error
    (state : coin -> list bool -> nat) (answer : coin -> nat -> nat -> nat -> R)
    (good : coin -> list bool -> nat -> nat -> bool) :
  (forall a, In a keys -> length a = d) -> NoDup keys -> INR d * exp (- (2 * c)) <= 1 / 4 ->
  coins <> [] -> error < 1 / 4 ->
  2 * delta * INR (length keys * v) <= INR k + 1 ->
  (forall r w, length w = (length keys * v)%nat -> (state r w < states)%nat) ->
  (forall r w i l, length w = (length keys * v)%nat -> good r w i l = true ->
     (i < length keys)%nat -> (l < v)%nat ->
     Rabs (answer r (state r w) i l - cache_output v c keys w i l) <= error) ->
  (forall w i l, length w = (length keys * v)%nat -> (i < length keys)%nat -> (l < v)%nat ->
     probability coins (fun r => negb (good r w i l)) <= delta) ->
  (forall center, (length (ball (length keys * v) k center) <= volume)%nat) ->
  INR (2 ^ (length keys * v)) <= b_floor_index_states states volume.
Proof.
  intros Hk Hd Hc C He K Hs Ha Hp Hv. unfold b_floor_index_states. rewrite Rmult_assoc.
  apply (index_states (length keys * v) coins states volume k delta state
    (fun r s b => if Rlt_dec (1 / 2) (answer r s (b / v)%nat (b mod v)%nat) then true else false));
    auto.
  intros w b Hw Hb. assert (V : (0 < v)%nat) by (destruct v; lia).
  pose proof (Nat.div_mod b v ltac:(lia)) as DM. pose proof (Nat.mod_upper_bound b v ltac:(lia)).
  set (i := (b / v)%nat) in *. set (l := (b mod v)%nat) in *.
  assert (Hi : (i < length keys)%nat) by (apply Nat.div_lt_upper_bound; lia).
  eapply Rle_trans; [| apply (Hp w i l Hw Hi ltac:(lia))].
  apply probability_le; auto. intros r _ X. apply negb_true_iff.
  destruct (good r w i l) eqn:G; [exfalso | reflexivity].
  pose proof (Rabs_bounds _ _ (Ha r w i l Hw G Hi ltac:(lia))) as B.
  destruct (output_reads d v c keys Hk Hd Hc w i l Hi) as [O1 O0].
  unfold wrong_bit in X. fold i l in X.
  replace (nth b w false) with (value_bit v w i l) in X
    by (unfold value_bit; f_equal; lia).
  destruct (Rlt_dec (1 / 2) (answer r (state r w) i l)) as [Y | Y];
    destruct (value_bit v w i l); try discriminate X;
    [specialize (O0 eq_refl) | specialize (O1 eq_refl)]; lra.
Qed.

(** Queries that come before the only key, answered one by one (claim P2.order). *)
Theorem p2_onepass_index {coin} n last (coins : list coin) states volume k delta error
    (state : coin -> list bool -> nat) (answer : coin -> nat -> nat -> R)
    (good : coin -> list bool -> nat -> bool) :
  (1 < n)%nat -> INR n <= exp last -> error < (INR n - 1) / (4 * (INR n + 1)) ->
  coins <> [] -> 2 * delta * INR n <= INR k + 1 ->
  (forall r w, length w = n -> (state r w < states)%nat) ->
  (forall r w i, length w = n -> good r w i = true -> (i < n)%nat ->
     Rabs (answer r (state r w) i - index_output n last (nth i w false)) <= error) ->
  (forall w i, length w = n -> (i < n)%nat ->
     probability coins (fun r => negb (good r w i)) <= delta) ->
  (forall center, (length (ball n k center) <= volume)%nat) ->
  INR (2 ^ n) <= 2 * (INR states * INR volume).
Proof.
  intros Hn Hl He C K Hs Ha Hp Hv.
  set (middle := (index_output n last true + index_output n last false) / 2).
  apply (index_states n coins states volume k delta state
    (fun r s i => if Rlt_dec middle (answer r s i) then true else false)); auto.
  intros w i Hw Hi. eapply Rle_trans; [| apply (Hp w i Hw Hi)].
  apply probability_le; auto. intros r _ X. apply negb_true_iff.
  destruct (good r w i) eqn:G; [exfalso | reflexivity].
  pose proof (Rabs_bounds _ _ (Ha r w i Hw G Hi)) as B.
  pose proof (index_gap n last Hn Hl) as Gap. pose proof (lt_INR 1 n Hn) as N. simpl in N.
  assert (T : (INR n - 1) / (2 * (INR n + 1)) = 2 * ((INR n - 1) / (4 * (INR n + 1))))
    by (field; lra).
  unfold wrong_bit in X.
  destruct (Rlt_dec middle (answer r (state r w) i)) as [Y | Y];
    destruct (nth i w false); try discriminate X; unfold middle in Y; lra.
Qed.
