(** Several events: the union bound, and certificates that are tried in turn.

    What: the probability that one of several events happens is at most the sum of theirs; so an
    answer that is returned after some tries is wrong with at most the sum of what each try is.
    How: an indicator of a union is at most the sum of the indicators, expectations are linear. *)

Require Import Reals Lra List.
From Attest.Foundations Require Import Lists Probability.
Import ListNotations.
Open Scope R_scope.

Lemma lsum_existsb {A} (events : list (A -> bool)) a :
  (if existsb (fun e => e a) events then 1 else 0)
  <= lsum (fun e : A -> bool => if e a then 1 else 0) events.
Proof.
  induction events as [| e events IH]; unfold lsum in *; simpl; [lra |].
  assert (P : 0 <= fold_right Rplus 0 (map (fun e : A -> bool => if e a then 1 else 0) events))
    by (apply (lsum_nonneg (fun e : A -> bool => if e a then 1 else 0)); intros e' _;
        destruct (e' a); lra).
  destruct (e a); simpl; lra.
Qed.

(** The union bound. *)
Lemma union_bound {A} (seeds : list A) events : seeds <> [] ->
  probability seeds (fun a => existsb (fun e => e a) events) <= lsum (probability seeds) events.
Proof.
  intros H. eapply Rle_trans; [apply expect_le; [exact H | intros a _; apply lsum_existsb] |].
  induction events as [| e events IH].
  - unfold lsum. simpl. rewrite expect_const by auto. lra.
  - apply Rle_trans with (expect seeds (fun a => (if e a then 1 else 0)
      + lsum (fun e : A -> bool => if e a then 1 else 0) events)).
    + right. apply expect_ext. reflexivity.
    + rewrite expect_plus. unfold lsum at 2. simpl. apply Rplus_le_compat; [right; reflexivity |].
      exact IH.
Qed.

(** Certificates that are tried in turn, until one is returned, whichever [chosen] that is: the
    returned one is wrong no more often than the probabilities that each is wrong add up to. *)
Theorem retried_certificates {A} (seeds : list A) (wrong : list (A -> bool)) (chosen : A -> nat) :
  seeds <> [] -> (forall a, (chosen a < length wrong)%nat) ->
  probability seeds (fun a => nth (chosen a) wrong (fun _ => false) a)
    <= lsum (probability seeds) wrong.
Proof.
  intros H C. eapply Rle_trans; [| apply union_bound; exact H]. apply probability_le; auto.
  intros a _ W. apply existsb_exists. exists (nth (chosen a) wrong (fun _ => false)).
  split; [apply nth_In, C | exact W].
Qed.
