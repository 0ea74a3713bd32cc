(** Attention merged from parts over disjoint keys (claim FP.merge).

    A part a holds the keys j with owner j = a; it gives L a = ln sum e^(S j) and o a, the average of its
    values with weights e^(S j).

    Steps: (1) sums over the keys are sums over the parts of sums over their keys, so the average of
    the o a with weights e^(L a) is the output, and ln sum e^(L a) its logarithm ([merge_exact],
    [merge_log]); (2) parts may be merged two at a time, in any order and bracketing: a tree gives the
    average over its leaves ([merge_tree]); (3) a merge is itself attention, whose scores are the
    logarithms and whose values are the outputs, so FP.softmax's [fp_output] bounds what rounding and
    the errors of the logarithms cost; the errors of the outputs are averaged with the parts' weights
    ([fp_merge]).  FP.lse holds of the merged logarithm in the same way. *)

Require Import Reals Lra List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Rounding Require Import Rounding RoundingSoftmax.
Open Scope R_scope.

(** * Exact identities *)

Definition of_part (owner : nat -> nat) (a : nat) : nat -> bool := fun j => Nat.eqb (owner j) a.

Lemma fsum_parts n p owner f : (forall j, (j < n)%nat -> (owner j < p)%nat) ->
  fsum p (fun a => fsum n (on (of_part owner a) f)) = fsum n f.
Proof.
  intros H. rewrite fsum_swap. apply fsum_ext. intros j Hj.
  rewrite (fsum_ext p _ (fun a => if Nat.eqb a (owner j) then f j else 0)).
  - rewrite fsum_one by auto. ring.
  - intros a _. unfold on, of_part. now rewrite Nat.eqb_sym.
Qed.

(** The denominator of a part, and its output. *)
Definition part_total (n : nat) (owner : nat -> nat) (S : nat -> R) (a : nat) : R :=
  fsum n (on (of_part owner a) (fun j => exp (S j))).

Definition part_output (n : nat) (owner : nat -> nat) (S v : nat -> R) (a : nat) : R :=
  fsum n (on (of_part owner a) (fun j => exp (S j) * v j)) / part_total n owner S a.

Lemma part_total_pos n owner S a :
  (exists j, (j < n)%nat /\ owner j = a) -> 0 < part_total n owner S a.
Proof.
  intros (j & Hj & Ha). apply Rlt_le_trans with (exp (S j)); [apply exp_pos |].
  replace (exp (S j)) with (on (of_part owner a) (fun i => exp (S i)) j).
  - apply fsum_term; auto. intros i _. unfold on. destruct (of_part owner a i); [| lra].
    left. apply exp_pos.
  - unfold on, of_part. now rewrite Ha, Nat.eqb_refl.
Qed.

Theorem merge_log n p owner S : (forall j, (j < n)%nat -> (owner j < p)%nat) ->
  (forall a, (a < p)%nat -> exists j, (j < n)%nat /\ owner j = a) ->
  fsum p (fun a => exp (ln (part_total n owner S a))) = fsum n (fun j => exp (S j)).
Proof.
  intros H Hp. rewrite <- (fsum_parts n p owner) by auto. apply fsum_ext. intros a Ha.
  apply exp_ln, part_total_pos; auto.
Qed.

Theorem merge_exact n p owner S v : (forall j, (j < n)%nat -> (owner j < p)%nat) ->
  (forall a, (a < p)%nat -> exists j, (j < n)%nat /\ owner j = a) ->
  dot p (softmax p (fun a => ln (part_total n owner S a))) (part_output n owner S v)
    = dot n (softmax n S) v.
Proof.
  intros H Hp. unfold softmax. rewrite !dot_normalize, (merge_log n p) by auto. f_equal.
  unfold dot at 2. rewrite <- (fsum_parts n p owner) by auto. apply fsum_ext. intros a Ha.
  rewrite exp_ln by (apply part_total_pos; auto). unfold part_output. field.
  apply Rgt_not_eq, part_total_pos; auto.
Qed.

(** * Any tree of merges *)

(** A part: the logarithm of its denominator, and its output. *)
Definition part : Type := (R * R)%type.

Definition join (x y : part) : part :=
  (ln (exp (fst x) + exp (fst y)),
   (exp (fst x) * snd x + exp (fst y) * snd y) / (exp (fst x) + exp (fst y))).

Inductive merges : Type :=
| Part (x : part)
| Join (left right : merges).

Fixpoint merged (t : merges) : part :=
  match t with Part x => x | Join l r => join (merged l) (merged r) end.

Fixpoint parts (t : merges) : list part :=
  match t with Part x => x :: nil | Join l r => parts l ++ parts r end.

Definition total : list part -> R := lsum (fun x => exp (fst x)).
Definition weighted : list part -> R := lsum (fun x => exp (fst x) * snd x).

Lemma merged_sums t :
  exp (fst (merged t)) = total (parts t) /\
  exp (fst (merged t)) * snd (merged t) = weighted (parts t).
Proof.
  induction t as [x | l [IHl IHl'] r [IHr IHr']].
  - unfold total, weighted, lsum. simpl. split; ring.
  - cbn [merged parts join fst snd]. unfold total, weighted in *. rewrite !lsum_app, <- IHl, <- IHr, <- IHl', <- IHr'.
    pose proof (exp_pos (fst (merged l))). pose proof (exp_pos (fst (merged r))).
    rewrite exp_ln by lra. split; [reflexivity | field; lra].
Qed.

(** Two trees over the same parts, in any order and bracketing, give the same part. *)
Theorem merge_tree t t' : Permutation (parts t) (parts t') -> merged t = merged t'.
Proof.
  intros H. destruct (merged_sums t) as [E F]. destruct (merged_sums t') as [E' F'].
  assert (T : total (parts t) = total (parts t')) by apply lsum_permutation, H.
  assert (W : weighted (parts t) = weighted (parts t')) by apply lsum_permutation, H.
  rewrite T, <- E' in E. rewrite W, <- F' in F.
  assert (L : fst (merged t) = fst (merged t')) by (apply exp_inv; auto).
  pose proof (exp_pos (fst (merged t'))). rewrite L in F.
  assert (snd (merged t) = snd (merged t')) by (apply Rmult_eq_reg_l in F; lra).
  destruct (merged t), (merged t'). simpl in *. congruence.
Qed.

(** * FP.merge *)

Lemma merged_output_form theta spread beta beta_max M q k u underflow tiny : INR k * u < 1 ->
  b_merged_output theta spread beta beta_max M q k u underflow tiny
    = beta + beta_max * b_softmax_tv theta + b_rounding_output theta spread M q k u underflow tiny.
Proof.
  intros. rewrite rounding_output_form, output_form by auto.
  unfold b_merged_output, b_softmax_tv, gamma. argument tanh (theta / 2). field. lra.
Qed.

(** Parts o, of which o' are known up to beta; weights b of logarithms within theta of the parts' own.
    [part_error] bounds the average of beta with the weights that were used; with the parts' own weights
    it is more by tanh (theta / 2) times the spread of beta. *)
Theorem fp_merge p L b o o' beta part_error beta_max lo hi M theta m k u underflow tiny N Dn q out :
  (0 < p)%nat -> positive p b -> ranges p o' lo hi -> bounded p o' M ->
  0 <= u -> 0 <= tiny -> 0 <= underflow -> INR k * u < 1 -> gamma k u + underflow <= 1 ->
  (forall a, (a < p)%nat -> Rabs (o' a - o a) <= beta a /\ beta a <= beta_max) ->
  dot p b beta <= part_error * fsum p b ->
  (forall a, (a < p)%nat -> Rabs (ln (b a) - m - L a) <= theta) ->
  Rabs (N - dot p b o') <= (gamma k u + underflow) * (M * fsum p b) ->
  Rabs (Dn - fsum p b) <= (gamma k u + underflow) * fsum p b -> 0 < Dn ->
  Rabs (q - N / Dn) <= u * Rabs q + tiny -> Rabs (out - q) <= tiny ->
  Rabs (out - dot p (softmax p L) o)
    <= b_merged_output theta (hi - lo) part_error beta_max M q k u underflow tiny.
Proof.
  intros Hp Hb Ho HM Hu Htiny Hunder Hk Ha Hbeta Hpart HL HN HD HDpos Hq Hout.
  rewrite merged_output_form by auto.
  assert (HZ : 0 < fsum p b) by (apply fsum_pos; auto).
  (* the outputs that are known, merged *)
  pose proof (fp_output p L b o' lo hi M theta m k u underflow tiny N Dn q out
    Hp Hb Ho HM Hu Htiny Hunder Hk Ha HL HN HD HDpos Hq Hout) as A.
  (* their errors, averaged with the parts' own weights *)
  assert (B : Rabs (dot p (softmax p L) o' - dot p (softmax p L) o) <= dot p (softmax p L) beta).
  { unfold dot. rewrite <- fsum_minus. eapply Rle_trans; [apply fsum_abs |]. apply fsum_le.
    intros a Hpa. pose proof (softmax_pos p L a Hp).
    rewrite <- Rmult_minus_distr_l, Rabs_mult, (Rabs_right (softmax p L a)) by lra.
    apply Rmult_le_compat_l; [lra | apply Hbeta; auto]. }
  assert (C : dot p (softmax p L) beta <= part_error + beta_max * b_softmax_tv theta).
  { assert (R : ranges p beta 0 beta_max).
    { intros a Hpa. destruct (Hbeta a Hpa) as [E F].
      pose proof (Rabs_pos (o' a - o a)). split; lra. }
    pose proof (s_output p (fun a => ln (b a) - m) L beta theta 0 beta_max Hp HL R) as T.
    rewrite output_form, Rminus_0_r, <- weights_are_softmax, dot_normalize in T by auto.
    apply Rabs_bounds in T. assert (dot p b beta / fsum p b <= part_error) by (apply div_le; auto).
    lra. }
  replace (out - dot p (softmax p L) o)
    with ((out - dot p (softmax p L) o') + (dot p (softmax p L) o' - dot p (softmax p L) o)) by ring.
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

(** Without rounding, two exact parts whose logarithms are each off by theta attain it. *)
Theorem fp_merge_attained theta lo hi M q : 0 <= theta -> lo <= hi ->
  let used := two_keys theta 0 in let own := two_keys 0 theta in let o := two_keys hi lo in
  within 2 used own theta /\ ranges 2 o lo hi /\
  dot 2 (softmax 2 used) o - dot 2 (softmax 2 own) o
    = b_merged_output theta (hi - lo) 0 0 M q 0 0 0 0.
Proof.
  intros Ht H used own o. destruct (s_output_attained theta lo hi Ht H) as (A & B & C).
  repeat split; [exact A | apply B | apply B |]; auto.
  unfold used, own, o. cbv zeta in C. rewrite C, merged_output_form, rounding_output_form;
    unfold gamma; simpl; lra.
Qed.
