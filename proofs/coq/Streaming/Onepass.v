(** Queries that come before the keys have to be remembered (claim P2.order).

    n queries q_i, 1 or 0, come first; then n keys 0 with values 0, and one key [last] with the
    value 1, exp last >= n.  Output i is at least 1 / 2 for q_i = 1 and 1 / (n + 1) for q_i = 0.
    Whoever answers all with an error below half the difference has a state of its own for each of
    the 2^n words of queries. *)

Require Import Reals Lra Lia List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax.
Import ListNotations.
Open Scope R_scope.

Definition index_query (bit : bool) : R := if bit then 1 else 0.
Definition index_key (n : nat) (last : R) (j : nat) : R := if Nat.eqb j n then last else 0.
Definition index_value (n j : nat) : R := if Nat.eqb j n then 1 else 0.

(** The output of a query, all keys known. *)
Definition index_output (n : nat) (last : R) (bit : bool) : R :=
  dot (S n) (softmax (S n) (fun j => index_query bit * index_key n last j)) (index_value n).

Lemma index_output_form n last bit : index_output n last bit
  = exp (index_query bit * last) / (INR n + exp (index_query bit * last)).
Proof.
  unfold index_output, dot. set (x := index_query bit).
  set (p := softmax (S n) (fun j => x * index_key n last j)).
  rewrite (fsum_ext (S n) _ (fun j => if Nat.eqb j n then p n else 0)).
  - rewrite fsum_one, Rmult_0_r, Rplus_0_r by lia. unfold p, softmax, normalize.
    assert (Last : index_key n last n = last) by (unfold index_key; now rewrite Nat.eqb_refl).
    rewrite fsum_S, Last. f_equal. f_equal.
    rewrite (fsum_ext n _ (fun _ => 1)), fsum_const; [ring |]. intros j Hj. unfold index_key.
    destruct (Nat.eqb_spec j n); [lia |]. rewrite Rmult_0_r. apply exp_0.
  - intros j _. unfold index_value. destruct (Nat.eqb_spec j n) as [-> |]; ring.
Qed.

Lemma index_gap n last : (1 < n)%nat -> INR n <= exp last ->
  (INR n - 1) / (2 * (INR n + 1)) <= index_output n last true - index_output n last false.
Proof.
  intros Hn H. rewrite !index_output_form. unfold index_query. rewrite Rmult_1_l, Rmult_0_l, exp_0.
  pose proof (lt_INR 1 n Hn) as HN. simpl in HN. set (N := INR n) in *. set (E := exp last) in *.
  assert (1 / 2 <= E / (N + E)) by (apply le_div; lra).
  replace ((N - 1) / (2 * (N + 1))) with (1 / 2 - 1 / (N + 1)) by (field; lra). lra.
Qed.

(** All words of n bits. *)
Fixpoint binary_words (n : nat) : list (list bool) :=
  match n with
  | O => [[]]
  | S n => map (cons true) (binary_words n) ++ map (cons false) (binary_words n)
  end.

Lemma binary_words_length n : length (binary_words n) = (2 ^ n)%nat.
Proof. induction n; simpl; auto. rewrite app_length, !map_length, IHn. lia. Qed.

Lemma binary_words_In n w : In w (binary_words n) -> length w = n.
Proof.
  revert w. induction n; simpl; intros w H; [now destruct H as [<- | []] |].
  apply in_app_or in H. destruct H as [H | H]; apply in_map_iff in H;
    destruct H as (rest & <- & H); simpl; f_equal; auto.
Qed.

Lemma nodup_map {A B} (f : A -> B) l : NoDup l ->
  (forall x y, In x l -> In y l -> f x = f y -> x = y) -> NoDup (map f l).
Proof.
  intros H. induction H as [| a l Ha Hl IH]; simpl; intros Hf; constructor.
  - intros Hin. apply in_map_iff in Hin. destruct Hin as (b & E & Hb).
    apply Ha. rewrite <- (Hf b a); simpl; auto.
  - apply IH. intros. apply Hf; simpl; auto.
Qed.

Lemma nodup_join {A} (l l' : list A) : NoDup l -> NoDup l' -> (forall a, In a l -> ~ In a l') ->
  NoDup (l ++ l').
Proof.
  intros H H' D. induction H as [| a l Ha Hl IH]; simpl; auto. constructor.
  - intros Hin. apply in_app_or in Hin. destruct Hin as [Hin | Hin]; auto.
    apply (D a); simpl; auto.
  - apply IH. intros. apply D. simpl. auto.
Qed.

Lemma binary_words_nodup n : NoDup (binary_words n).
Proof.
  induction n; simpl; [repeat constructor; auto |].
  apply nodup_join; try (apply nodup_map; auto; intros x y _ _ E; now injection E).
  intros w H H'. apply in_map_iff in H. apply in_map_iff in H'.
  destruct H as (x & <- & _). destruct H' as (y & E & _). discriminate.
Qed.

(** [state] is what is kept after the queries, [answer] what is made of it when the keys are known;
    there are [states] states, and every answer errs by at most [error]. *)
Theorem p2_onepass_states n last states (state : list bool -> nat) (answer : nat -> nat -> R)
    error :
  (1 < n)%nat -> INR n <= exp last -> error < (INR n - 1) / (4 * (INR n + 1)) ->
  (forall w, length w = n -> (state w < states)%nat) ->
  (forall w i, length w = n -> (i < n)%nat ->
     Rabs (answer (state w) i - index_output n last (nth i w false)) <= error) ->
  INR (2 ^ n) <= b_onepass_states states.
Proof.
  intros Hn Hlast He Hs Ha. unfold b_onepass_states. apply le_INR.
  rewrite <- binary_words_length, <- (map_length state), <- (seq_length states 0).
  apply NoDup_incl_length.
  - apply nodup_map; [apply binary_words_nodup |]. intros w w' Hw Hw' E.
    apply binary_words_In in Hw. apply binary_words_In in Hw'.
    apply (nth_ext _ _ false false); [congruence |]. intros i Hi. rewrite Hw in Hi.
    pose proof (Rabs_bounds _ _ (Ha w i Hw Hi)) as B.
    pose proof (Rabs_bounds _ _ (Ha w' i Hw' Hi)) as B'. rewrite E in B.
    pose proof (index_gap n last Hn Hlast) as G.
    pose proof (lt_INR 1 n Hn) as HN. simpl in HN.
    assert (T : (INR n - 1) / (2 * (INR n + 1)) = 2 * ((INR n - 1) / (4 * (INR n + 1))))
      by (field; lra).
    destruct (nth i w false), (nth i w' false); auto; lra.
  - intros s Hin. apply in_map_iff in Hin. destruct Hin as (w & <- & Hw).
    apply in_seq. apply binary_words_In in Hw. pose proof (Hs w Hw). lia.
Qed.
