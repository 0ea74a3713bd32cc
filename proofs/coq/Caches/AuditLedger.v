(** A ledger of audits whose statement holds at all times (claim Q.ledger).

    At every step an answer is fixed, and a coin of probability rate decides whether it is audited.
    [errs past] says whether the step that follows the coins [past] errs: whoever makes the answers
    sees every coin that has fallen.
    Steps: (1) the chance that m errors come, of which at most D are audited, is at most the binomial
    tail, step by step, since the tail obeys the recursion of one error; (2) whenever errors exceed
    limit D with D of them audited, at most D of the first limit D + 1 errors are audited: one event
    for each D, whatever the time; (3) the union over D. *)

Require Import Reals Lra Lia List Bool Arith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Probability.
Import ListNotations.
Open Scope R_scope.

(** The probability of an event of so many coins. *)
Fixpoint chance (steps : nat) (rate : R) (event : list bool -> bool) : R :=
  match steps with
  | O => if event [] then 1 else 0
  | S steps => rate * chance steps rate (fun coins => event (true :: coins))
               + (1 - rate) * chance steps rate (fun coins => event (false :: coins))
  end.

(** Whether m errors come, of the first of which at most D are audited. *)
Fixpoint few (errs : list bool -> bool) (past coins : list bool) (m D : nat) : bool :=
  match m, coins with
  | O, _ => true
  | S _, [] => false
  | S m', coin :: rest =>
      if errs past then
        match coin, D with
        | true, O => false
        | true, S D' => few errs (past ++ [coin]) rest m' D'
        | false, _ => few errs (past ++ [coin]) rest m' D
        end
      else few errs (past ++ [coin]) rest m D
  end.

(** Whether at some time more than limit D have erred, D of them audited. *)
Fixpoint wrong (errs : list bool -> bool) (limit : nat -> nat) (past coins : list bool)
    (K D : nat) : bool :=
  (limit D <? K)%nat ||
  match coins with
  | [] => false
  | coin :: rest =>
      if errs past then wrong errs limit (past ++ [coin]) rest (S K) (if coin then S D else D)
      else wrong errs limit (past ++ [coin]) rest K D
  end.

(** * The binomial tail *)

Fixpoint fewer (rate : R) (m D : nat) : R :=
  match m with
  | O => 1
  | S m => (1 - rate) * fewer rate m D
           + rate * match D with O => 0 | S D => fewer rate m D end
  end.

Lemma fewer_range rate m D : 0 <= rate <= 1 -> 0 <= fewer rate m D <= 1.
Proof.
  intros Hr. revert D. induction m; intros D; simpl; [lra |].
  pose proof (IHm D). destruct D as [| D]; [nra |]. pose proof (IHm D). nra.
Qed.

Lemma fewer_whole rate m D : (m <= D)%nat -> fewer rate m D = 1.
Proof.
  revert D. induction m; intros D H; simpl; auto.
  destruct D as [| D]; [lia |]. rewrite !IHm by lia. ring.
Qed.

Lemma binomial_whole rate m : b_ledger_tail m m rate = 1.
Proof.
  unfold b_ledger_tail. pose proof (binomial rate (1 - rate) m) as B.
  replace (rate + (1 - rate)) with 1 in B by ring. rewrite pow1 in B.
  symmetry. rewrite B at 1. apply sum_eq. intros i _. ring.
Qed.

Lemma binomial_step rate m D : (D <= m)%nat ->
  b_ledger_tail (S m) D rate
    = (1 - rate) * b_ledger_tail m D rate
      + rate * match D with O => 0 | S D => b_ledger_tail m D rate end.
Proof.
  unfold b_ledger_tail. induction D as [| D IH]; intros H.
  - cbn [sum_f_R0]. rewrite !C_none, !Nat.sub_0_r. simpl. ring.
  - cbn [sum_f_R0] in *. rewrite IH by lia.
    rewrite <- (pascal m D) by lia.
    replace (S m - S D)%nat with (S (m - S D)) by lia.
    replace (m - D)%nat with (S (m - S D)) in * by lia.
    destruct D as [| D].
    + cbn [sum_f_R0]. replace (m - 0)%nat with (S (m - 1)) by lia. rewrite !C_none. simpl. ring.
    + cbn [sum_f_R0]. replace (m - S D)%nat with (S (m - S (S D))) by lia. simpl. ring.
Qed.

Lemma fewer_binomial rate m D : (D < m)%nat -> fewer rate m D = b_ledger_tail m D rate.
Proof.
  revert D. induction m; intros D H; [lia |]. rewrite binomial_step by lia. simpl. f_equal.
  - f_equal. destruct (Nat.eq_dec D m) as [-> | N].
    + now rewrite fewer_whole, binomial_whole by lia.
    + apply IHm. lia.
  - destruct D as [| D]; auto. f_equal. apply IHm. lia.
Qed.

(** * One number of audited errors *)

Lemma chance_never steps rate : chance steps rate (fun _ => false) = 0.
Proof. induction steps; simpl; [auto | rewrite IHsteps; ring]. Qed.

Lemma chance_always steps rate : chance steps rate (fun _ => true) = 1.
Proof. induction steps; simpl; [auto | rewrite IHsteps; ring]. Qed.

Lemma chance_few steps rate errs past m D : 0 <= rate <= 1 ->
  chance steps rate (fun coins => few errs past coins m D) <= fewer rate m D.
Proof.
  intros Hr. revert past m D. induction steps; intros past m D.
  - destruct m; simpl; [lra |]. apply (fewer_range rate (S m) D Hr).
  - destruct m as [| m].
    + simpl. rewrite chance_always. lra.
    + simpl chance. destruct (errs past).
      * simpl fewer. pose proof (IHsteps (past ++ [false]) m D).
        destruct D as [| D].
        -- rewrite chance_never. nra.
        -- pose proof (IHsteps (past ++ [true]) m D). nra.
      * pose proof (IHsteps (past ++ [true]) (S m) D) as T.
        pose proof (IHsteps (past ++ [false]) (S m) D) as F.
        set (a := fewer rate (S m) D) in *. nra.
Qed.

Theorem q_ledger steps rate errs m D : 0 <= rate <= 1 -> (D < m)%nat ->
  chance steps rate (fun coins => few errs [] coins m D) <= b_ledger_tail m D rate.
Proof. intros Hr H. rewrite <- fewer_binomial by auto. now apply chance_few. Qed.

(** Where every step errs, nothing is lost. *)
Theorem q_ledger_attained rate m D : (D < m)%nat ->
  chance m rate (fun coins => few (fun _ => true) [] coins m D) = b_ledger_tail m D rate.
Proof.
  intros H. rewrite <- fewer_binomial by auto. clear H. generalize (@nil bool) as past.
  revert D. induction m; intros D past; simpl; auto.
  rewrite IHm. destruct D as [| D]; [rewrite chance_never | rewrite IHm]; ring.
Qed.

(** * All times at once *)

Lemma wrong_few errs limit past coins K D : wrong errs limit past coins K D = true ->
  exists D', (D <= D' <= D + length coins)%nat /\
    few errs past coins (S (limit D') - K) (D' - D) = true.
Proof.
  revert past K D. induction coins as [| coin rest IH]; intros past K D H; simpl wrong in H;
    apply orb_prop in H; destruct H as [H | H]; try discriminate;
    try (apply Nat.ltb_lt in H; exists D; split; [simpl; lia |];
         replace (S (limit D) - K)%nat with O by lia; destruct past; reflexivity).
  destruct (errs past) eqn:E.
  - apply IH in H. destruct H as (D' & L & H). exists D'. split; [destruct coin; simpl; lia |].
    destruct (S (limit D') - K)%nat as [| m] eqn:M; [reflexivity |].
    replace (S (limit D') - S K)%nat with m in H by lia. simpl. rewrite E.
    destruct coin; auto. replace (D' - D)%nat with (S (D' - S D)) by lia. exact H.
  - apply IH in H. destruct H as (D' & L & H). exists D'. split; [simpl; lia |].
    destruct (S (limit D') - K)%nat as [| m] eqn:M; [reflexivity |]. simpl. rewrite E. exact H.
Qed.

Lemma chance_le steps rate f g : 0 <= rate <= 1 ->
  (forall coins, length coins = steps -> f coins = true -> g coins = true) ->
  chance steps rate f <= chance steps rate g.
Proof.
  intros Hr. revert f g. induction steps; intros f g H; simpl.
  - specialize (H [] eq_refl). destruct (f []), (g []); try lra; discriminate (H eq_refl).
  - apply Rplus_le_compat; (apply Rmult_le_compat_l; [lra |]); apply IHsteps; intros coins L;
      apply H; simpl; now rewrite L.
Qed.

Lemma chance_or steps rate f g : 0 <= rate <= 1 ->
  chance steps rate (fun coins => f coins || g coins)
    <= chance steps rate f + chance steps rate g.
Proof.
  intros Hr. revert f g. induction steps; intros f g; simpl.
  - destruct (f []), (g []); simpl; lra.
  - pose proof (IHsteps (fun l => f (true :: l)) (fun l => g (true :: l))).
    pose proof (IHsteps (fun l => f (false :: l)) (fun l => g (false :: l))). nra.
Qed.

Fixpoint any (n : nat) (event : nat -> list bool -> bool) (coins : list bool) : bool :=
  match n with O => false | S n => any n event coins || event n coins end.

Lemma chance_any steps rate n event : 0 <= rate <= 1 ->
  chance steps rate (any n event) <= fsum n (fun D => chance steps rate (event D)).
Proof.
  intros Hr. induction n; simpl; [rewrite chance_never; lra |].
  eapply Rle_trans; [now apply chance_or | lra].
Qed.

Lemma any_true n event coins D : (D < n)%nat -> event D coins = true -> any n event coins = true.
Proof.
  induction n; intros H E; [lia |]. simpl. destruct (Nat.eq_dec D n) as [-> | N].
  - rewrite E. apply orb_true_r.
  - rewrite IHn; auto; lia.
Qed.

(** Errors ever exceed limit D, with D of them audited, with at most the sum of the tails. *)
Theorem q_ledger_always steps rate errs limit share : 0 <= rate <= 1 ->
  (forall D, (D <= steps)%nat -> (D <= limit D)%nat) ->
  (forall D, (D <= steps)%nat -> b_ledger_tail (S (limit D)) D rate <= share D) ->
  chance steps rate (fun coins => wrong errs limit [] coins 0 0) <= fsum (S steps) share.
Proof.
  intros Hr Hl Hs.
  eapply Rle_trans; [apply (chance_le steps rate _
    (any (S steps) (fun D coins => few errs [] coins (S (limit D)) D)) Hr) |].
  - intros coins L H. apply wrong_few in H. destruct H as (D & B & H).
    rewrite !Nat.sub_0_r in H. apply (any_true _ _ _ D); [lia | exact H].
  - eapply Rle_trans; [now apply chance_any |]. apply fsum_le. intros D HD.
    eapply Rle_trans; [apply q_ledger; auto; specialize (Hl D ltac:(lia)); lia |].
    apply Hs. lia.
Qed.
