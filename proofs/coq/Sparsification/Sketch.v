(** What rounding adds to a sketch, and two approximations in a row (claims P3.sketch, P3.composed).

    Y = X S adds every column of X, with a sign and divided by sqrt s, into s of m buckets.  The model is
    that of Rounding.v, without underflow.  Steps: (1) an entry of the computed Y errs by gamma_(t+5)
    times the sum of the magnitudes in its bucket, divided by sqrt s; (2) by Cauchy and Schwarz that sum,
    squared, is at most t times the sum of squares, and every column is in s buckets, so row i errs by
    at most rho |x_i|, rho = gamma_(t+5) sqrt t; (3) an entry of Y Y^T errs by at most
    (2 sqrt (1 + eps) + rho) rho sqrt (G_ii G_jj), and the form of such errors is at most n times that
    rate times the form of diag (G). *)

Require Import Reals Lra Lia List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors.
From Attest.Rounding Require Import Rounding.
From Attest.Sparsification Require Import Sparsification Certificate.
Open Scope R_scope.

(** * Sums over a bucket *)

(** s is a possible result of adding the terms p 0, ..., p (d - 1), in any order, of which at most
    [terms] are added: those left out are zero. *)
Definition bucket_sum (u : R) (d terms : nat) (p : nat -> R) (s : R) : Prop :=
  exists t rest, unscaled t /\ (length (leaves t) <= terms)%nat /\
    Permutation (leaves t ++ rest) (seq 0 d) /\ (forall c, In c rest -> p c = 0) /\
    computes u 0 p t s.

(** The terms left out do not matter, to any sum that ignores zeros. *)
Lemma lsum_kept (f : R -> R) (p : nat -> R) l rest d : f 0 = 0 ->
  Permutation (l ++ rest) (seq 0 d) -> (forall c, In c rest -> p c = 0) ->
  lsum (fun c => f (p c)) l = fsum d (fun c => f (p c)).
Proof.
  intros F P Z. rewrite <- (lsum_all _ d _ P), lsum_app.
  rewrite (lsum_zero (fun c => f (p c)) rest) by (intros c Hc; now rewrite Z). ring.
Qed.

(** Cauchy and Schwarz, with the number of terms. *)
Lemma lsum_square (p : nat -> R) l :
  lsum (fun c => Rabs (p c)) l * lsum (fun c => Rabs (p c)) l
    <= lsum (fun c => p c ^ 2) l * INR (length l).
Proof.
  apply discriminant. intros s t.
  induction l as [| a l IH]; [unfold lsum; simpl; lra |].
  cbn [length]. rewrite S_INR.
  change (lsum (fun c => p c ^ 2) (a :: l)) with (p a ^ 2 + lsum (fun c => p c ^ 2) l).
  change (lsum (fun c => Rabs (p c)) (a :: l)) with (Rabs (p a) + lsum (fun c => Rabs (p c)) l).
  rewrite <- (pow2_abs (p a)). pose proof (pow2_ge_0 (Rabs (p a) * s + t)). lra.
Qed.

Lemma bucket_sum_error u d terms p s : 0 <= u < 1 -> bucket_sum u d terms p s ->
  exists M, 0 <= M /\ M * M <= INR terms * fsum d (fun c => p c ^ 2) /\
    Rabs (fsum d p) <= M /\ Rabs (s - fsum d p) <= (widened u terms - 1) * M.
Proof.
  intros Hu (t & rest & Hun & Hlen & P & Z & C).
  exists (lsum (fun c => Rabs (p c)) (leaves t)).
  pose proof (lsum_abs_nonneg p (leaves t)) as M0.
  pose proof (lsum_square p (leaves t)) as CS.
  rewrite (lsum_kept (fun x => x ^ 2) p (leaves t) rest d) in CS by (auto; ring).
  pose proof (sum_error u 0 p t s ltac:(lra) ltac:(lra) C) as E. cbv zeta in E.
  pose proof (exact_abs _ _ _ _ _ C) as B.
  rewrite !exact_leaves in E, B by auto.
  pose proof (lsum_kept (fun x => x) p (leaves t) rest d (eq_refl 0) P Z) as Kept.
  change (lsum p (leaves t) = fsum d p) in Kept. rewrite Kept in E, B.
  set (M := lsum (fun c => Rabs (p c)) (leaves t)) in *.
  assert (Q : 0 <= fsum d (fun c => p c ^ 2)) by (apply fsum_nonneg; intros; apply pow2_ge_0).
  pose proof (le_INR _ _ Hlen).
  repeat split; auto; [nra |].
  rewrite Rmult_0_r, Rmult_0_r, Rplus_0_r in E. eapply Rle_trans; [exact E |].
  apply Rmult_le_compat_r; auto.
  pose proof (pow_widened u (roundings t) Hu).
  pose proof (widened_mono u (roundings t) terms Hu
    ltac:(pose proof (unscaled_roundings t Hun); lia)). lra.
Qed.

(** * A computed entry *)

(** P is within what k roundings can do, in numerator or denominator. *)
Definition rounded_by (u : R) (k : nat) (P : R) : Prop := Rabs (P - 1) <= widened u k - 1.

Lemma rounded_by_delta u delta : 0 <= u < 1 -> Rabs delta <= u -> rounded_by u 1 (1 + delta).
Proof.
  intros Hu Hd. unfold rounded_by. replace (1 + delta - 1) with delta by ring.
  pose proof (pow_widened u 1 Hu). simpl in *. lra.
Qed.

Lemma rounded_by_inverse u delta : 0 <= u < 1 -> Rabs delta <= u -> rounded_by u 1 (/ (1 + delta)).
Proof.
  intros Hu Hd. pose proof (Rabs_bounds _ _ Hd). unfold rounded_by, widened. rewrite pow_1.
  replace (/ (1 + delta) - 1) with (- delta * / (1 + delta)) by (field; lra).
  replace (/ (1 - u) - 1) with (u * / (1 - u)) by (field; lra).
  rewrite Rabs_mult, Rabs_Ropp, (Rabs_right (/ (1 + delta)))
    by (apply Rle_ge; left; apply Rinv_0_lt_compat; lra).
  apply Rmult_le_compat; auto using Rabs_pos; [left; apply Rinv_0_lt_compat; lra |].
  apply Rinv_le_contravar; lra.
Qed.

(** An error of j roundings relative to M, and a factor of k more. *)
Lemma rounded_by_more u j k M a b P : 0 <= u < 1 -> 0 <= M -> Rabs a <= M ->
  Rabs (b - a) <= (widened u j - 1) * M -> rounded_by u k P ->
  Rabs (b * P - a) <= (widened u (j + k) - 1) * M.
Proof.
  intros Hu HM Ha Hb HP. unfold rounded_by in HP. rewrite widened_add by lra.
  pose proof (widened_ge_1 u j Hu). pose proof (widened_ge_1 u k Hu).
  set (W := widened u j) in *. set (V := widened u k) in *.
  replace (b * P - a) with ((b - a) + b * (P - 1)) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_mult.
  assert (Rabs b <= W * M).
  { replace b with ((b - a) + a) by ring. eapply Rle_trans; [apply Rabs_triang |]. lra. }
  assert (Rabs b * Rabs (P - 1) <= W * M * (V - 1))
    by (apply Rmult_le_compat; auto using Rabs_pos). lra.
Qed.

(** The sum stored, or added to a zero; the root of s, its reciprocal, that converted; the product. *)
Definition computed_entry (u : R) (d terms s : nat) (p : nat -> R) (y : R) : Prop :=
  exists sum stored root reciprocal scale, bucket_sum u d terms p sum /\ rounds u sum stored /\
    rounds u (sqrt (INR s)) root /\ rounds u (/ root) reciprocal /\ rounds u reciprocal scale /\
    rounds u (stored * scale) y.

Lemma computed_entry_error u d terms s p y : 0 <= u < 1 -> INR (terms + 5) * u < 1 ->
  (0 < s)%nat -> computed_entry u d terms s p y ->
  exists M, 0 <= M /\ M * M <= INR terms * fsum d (fun c => p c ^ 2) /\
    Rabs (y - fsum d p / sqrt (INR s)) <= gamma (terms + 5) u * M / sqrt (INR s).
Proof.
  intros Hu Hk Hs (b & z & r & q & v & B & (d1 & D1 & ->) & (d2 & D2 & ->) & (d3 & D3 & ->)
    & (d4 & D4 & ->) & (d5 & D5 & ->)).
  destruct (bucket_sum_error u d terms p b Hu B) as (M & M0 & MM & MA & ME).
  exists M. repeat split; auto.
  assert (S : 0 < sqrt (INR s)) by (apply sqrt_lt_R0, (lt_INR 0); auto).
  pose proof (Rabs_bounds _ _ D2) as E2.
  replace (b * (1 + d1) * (/ (sqrt (INR s) * (1 + d2)) * (1 + d3) * (1 + d4)) * (1 + d5)
           - fsum d p / sqrt (INR s))
    with ((b * (1 + d1) * / (1 + d2) * (1 + d3) * (1 + d4) * (1 + d5) - fsum d p) / sqrt (INR s))
    by (field; lra).
  rewrite Rabs_div_pos by auto. unfold Rdiv.
  apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; auto |].
  apply Rle_trans with ((widened u (terms + 5) - 1) * M).
  - replace (terms + 5)%nat with (terms + 1 + 1 + 1 + 1 + 1)%nat by lia.
    repeat apply rounded_by_more; auto using rounded_by_delta, rounded_by_inverse.
  - apply Rmult_le_compat_r; auto. pose proof (widened_gamma u (terms + 5) Hu Hk). lra.
Qed.

(** * The rows *)

(** Bucket k takes column c, or not; every column is in s buckets; signs are 1 or -1. *)
Record spreads (d m s : nat) (member : nat -> nat -> bool) (sign : nat -> nat -> R) : Prop := {
  some_bucket : (0 < s)%nat;
  in_s_buckets : forall c, (c < d)%nat -> fsum m (fun k => if member k c then 1 else 0) = INR s;
  signs_squared : forall k c, sign k c ^ 2 = 1 }.

(** What bucket k adds of row i. *)
Definition bucket (member : nat -> nat -> bool) (sign X : nat -> nat -> R) (i k c : nat) : R :=
  if member k c then sign k c * X i c else 0.

Definition sketch (d s : nat) member sign (X : nat -> nat -> R) (i k : nat) : R :=
  fsum d (bucket member sign X i k) / sqrt (INR s).

Definition computed_sketch (u : R) (n d m terms s : nat) member sign (X Y' : nat -> nat -> R) : Prop :=
  forall i k, (i < n)%nat -> (k < m)%nat ->
    computed_entry u d terms s (bucket member sign X i k) (Y' i k).

Lemma bucket_squares d m s member sign X i : spreads d m s member sign ->
  fsum m (fun k => fsum d (fun c => bucket member sign X i k c ^ 2)) = INR s * gram d X i i.
Proof.
  intros [_ Hs Hsign]. rewrite fsum_swap. unfold gram. rewrite <- fsum_scale. apply fsum_ext.
  intros c Hc. rewrite <- (Hs c Hc), <- fsum_scale_r. apply fsum_ext. intros k _. unfold bucket.
  destruct (member k c); [rewrite Rpow_mult_distr, Hsign |]; ring.
Qed.

(** rho, the error of a row relative to the row. *)
Definition row_rate (terms : nat) (u : R) : R := gamma (terms + 5) u * sqrt (INR terms).

Lemma row_rate_nonneg terms u : 0 <= u -> INR (terms + 5) * u < 1 -> 0 <= row_rate terms u.
Proof. intros. apply Rmult_le_pos; [apply gamma_nonneg; auto | apply sqrt_pos]. Qed.

Lemma sketch_row_error u n d m terms s member sign X Y' i : 0 <= u < 1 ->
  INR (terms + 5) * u < 1 -> spreads d m s member sign ->
  computed_sketch u n d m terms s member sign X Y' -> (i < n)%nat ->
  let E := fun i k => Y' i k - sketch d s member sign X i k in
  sqrt (gram m E i i) <= row_rate terms u * sqrt (gram d X i i).
Proof.
  intros Hu Hk Hs C Hi E. pose proof (row_rate_nonneg terms u ltac:(lra) Hk) as R0.
  rewrite <- (sqrt_square (row_rate terms u)), <- sqrt_mult
    by (auto using gram_diagonal || nra).
  apply sqrt_le_1_alt.
  assert (S : 0 < INR s) by (apply (lt_INR 0); apply Hs).
  set (g := gamma (terms + 5) u) in *.
  assert (G0 : 0 <= g) by (apply gamma_nonneg; lra).
  replace (row_rate terms u * row_rate terms u * gram d X i i)
    with (g * g * INR terms / INR s * (INR s * gram d X i i)).
  - rewrite <- (bucket_squares d m s member sign X i Hs), <- fsum_scale. apply fsum_le. intros k Hm.
    destruct (computed_entry_error u d terms s _ _ Hu Hk (some_bucket _ _ _ _ _ Hs) (C i k Hi Hm))
      as (M & M0 & MM & ME).
    fold (sketch d s member sign X i k) in ME. fold (E i k) in ME. fold g in ME.
    set (Q := fsum d (fun c => bucket member sign X i k c ^ 2)) in *.
    assert (A : E i k * E i k <= (g * M / sqrt (INR s)) * (g * M / sqrt (INR s))).
    { apply Rabs_bounds in ME. nra. }
    eapply Rle_trans; [exact A |].
    replace (g * M / sqrt (INR s) * (g * M / sqrt (INR s)))
      with (g * g / (sqrt (INR s) * sqrt (INR s)) * (M * M))
      by (field; apply Rgt_not_eq, sqrt_lt_R0; auto).
    rewrite sqrt_sqrt by lra.
    replace (g * g * INR terms / INR s * Q) with (g * g / INR s * (INR terms * Q)) by (field; lra).
    apply Rmult_le_compat_l; auto. apply Rmult_le_pos; [nra | left; apply Rinv_0_lt_compat; auto].
  - unfold row_rate. fold g. pose proof (sqrt_sqrt (INR terms) (pos_INR terms)) as T.
    rewrite <- T at 1. field. lra.
Qed.

(** * The entries of Y Y^T, and their form *)

Lemma gram_change m Y Y' i j : let E := fun i k => Y' i k - Y i k in
  Rabs (gram m Y' i j - gram m Y i j)
    <= sqrt (gram m Y i i) * sqrt (gram m E j j) + sqrt (gram m E i i) * sqrt (gram m Y j j)
       + sqrt (gram m E i i) * sqrt (gram m E j j).
Proof.
  intros E.
  assert (P : forall A B, Rabs (fsum m (fun k => A i k * B j k))
    <= sqrt (gram m A i i) * sqrt (gram m B j j)).
  { intros A B. eapply Rle_trans; [apply fsum_abs | apply fsum_products_gram; reflexivity]. }
  replace (gram m Y' i j - gram m Y i j)
    with (fsum m (fun k => Y i k * E j k) + fsum m (fun k => E i k * Y j k)
          + fsum m (fun k => E i k * E j k)).
  - repeat (eapply Rle_trans; [apply Rabs_triang | apply Rplus_le_compat; auto]).
  - unfold gram. rewrite <- !fsum_plus, <- fsum_minus. apply fsum_ext. intros. unfold E. ring.
Qed.

Lemma loewner_diagonal n G H eps i : loewner n G H eps -> (i < n)%nat -> H i i <= (1 + eps) * G i i.
Proof.
  intros L Hi. pose proof (proj2 (L (two_points i i 1 0))) as P.
  rewrite !quad_two_points in P by auto. lra.
Qed.

Lemma quad_diagonal n G x :
  quad n (fun i j => identity i j * G i j) x = fsum n (fun i => G i i * x i ^ 2).
Proof.
  apply fsum_ext. intros i Hi.
  rewrite (fsum_ext n _ (fun j => point i 1 j * (G i j * x j))), fsum_point by
    (auto || (intros j _; unfold identity, point; rewrite Nat.eqb_sym; ring)). ring.
Qed.

(** Entries of at most c sqrt (G_ii G_jj) make a form of at most n c times that of diag (G). *)
Lemma quad_relative n G E c x : 0 <= c -> (forall i, (i < n)%nat -> 0 <= G i i) ->
  (forall i j, (i < n)%nat -> (j < n)%nat -> Rabs (E i j) <= c * (sqrt (G i i) * sqrt (G j j))) ->
  Rabs (quad n E x) <= INR n * c * quad n (fun i j => identity i j * G i j) x.
Proof.
  intros Hc HG HE. eapply Rle_trans; [apply (quad_abs n E _ x HE) |].
  rewrite quad_scale, quad_diagonal, (Rmult_comm (INR n)), Rmult_assoc.
  apply Rmult_le_compat_l; auto.
  pose proof (quad_roots n (fun _ => 1) (fun i => sqrt (G i i) * x i) ltac:(intros; lra)) as Q.
  rewrite fsum_const, Rmult_1_r in Q. unfold length_squared in Q.
  rewrite (fsum_ext n (fun i => (sqrt (G i i) * x i) ^ 2) (fun i => G i i * x i ^ 2)) in Q
    by (intros i Hi; rewrite Rpow_mult_distr, pow2_sqrt; auto).
  eapply Rle_trans; [right | exact Q]. apply fsum_ext. intros i _.
  rewrite Rabs_mult, (Rabs_right (sqrt (G i i))) by (apply Rle_ge, sqrt_pos).
  rewrite <- !fsum_scale. apply fsum_ext. intros j _.
  rewrite Rabs_mult, (Rabs_right (sqrt (G j j))), sqrt_1 by (apply Rle_ge, sqrt_pos). ring.
Qed.

(** * P3.sketch *)

Lemma sketch_slack_form n eps terms u : INR (terms + 5) * u < 1 ->
  b_sketch_slack n eps terms u
    = INR n * ((2 * sqrt (1 + eps) + row_rate terms u) * row_rate terms u).
Proof.
  intros H. unfold b_sketch_slack, row_rate, gamma. rewrite plus_INR in *.
  change (INR 5) with (1 + 1 + 1 + 1 + 1) in *. field. lra.
Qed.

Theorem p3_sketch u n d m terms s member sign X Y' eps : 0 <= u < 1 -> INR (terms + 5) * u < 1 ->
  0 <= eps -> spreads d m s member sign ->
  loewner n (gram d X) (gram m (sketch d s member sign X)) eps ->
  computed_sketch u n d m terms s member sign X Y' ->
  loewner_up_to n (gram d X) (gram m Y') eps (b_sketch_slack n eps terms u).
Proof.
  intros Hu Hk He Hs L C x more.
  set (Y := sketch d s member sign X) in *. set (E := fun i k => Y' i k - Y i k).
  pose proof (row_rate_nonneg terms u ltac:(lra) Hk) as R0. set (rho := row_rate terms u) in *.
  assert (RE : forall i, (i < n)%nat -> sqrt (gram m E i i) <= rho * sqrt (gram d X i i)).
  { intros i Hi. apply (sketch_row_error u n d m terms s member sign X Y' i); auto. }
  assert (RY : forall i, (i < n)%nat -> sqrt (gram m Y i i) <= sqrt (1 + eps) * sqrt (gram d X i i)).
  { intros i Hi. rewrite <- sqrt_mult by (lra || apply gram_diagonal). apply sqrt_le_1_alt.
    apply (loewner_diagonal n (gram d X) (gram m Y)); auto. }
  set (c := (2 * sqrt (1 + eps) + rho) * rho).
  pose proof (sqrt_pos (1 + eps)) as S0. assert (C0 : 0 <= c) by (unfold c; nra).
  assert (B : Rabs (quad n (fun i j => gram m Y' i j + -1 * gram m Y i j) x)
    <= INR n * c * quad n (fun i j => identity i j * gram d X i j) x).
  { apply quad_relative; auto using gram_diagonal. intros i j Hi Hj.
    replace (gram m Y' i j + -1 * gram m Y i j) with (gram m Y' i j - gram m Y i j) by ring.
    eapply Rle_trans; [apply gram_change |]. fold E.
    pose proof (RE i Hi). pose proof (RE j Hj). pose proof (RY i Hi). pose proof (RY j Hj).
    replace (c * (sqrt (gram d X i i) * sqrt (gram d X j j)))
      with (sqrt (1 + eps) * sqrt (gram d X i i) * (rho * sqrt (gram d X j j))
            + rho * sqrt (gram d X i i) * (sqrt (1 + eps) * sqrt (gram d X j j))
            + rho * sqrt (gram d X i i) * (rho * sqrt (gram d X j j))) by (unfold c; ring).
    repeat apply Rplus_le_compat; apply Rmult_le_compat; auto using sqrt_pos. }
  rewrite quad_plus, quad_scale in B. unfold more. rewrite sketch_slack_form by auto.
  fold rho. fold c. specialize (L x). apply Rabs_bounds in B. lra.
Qed.

(** * P3.composed *)

Lemma loewner_up_to_diagonal n G H eps slack i : loewner_up_to n G H eps slack -> (i < n)%nat ->
  H i i <= (1 + eps + slack) * G i i.
Proof.
  intros L Hi. pose proof (proj2 (L (two_points i i 1 0))) as P. cbv zeta in P.
  rewrite !quad_two_points in P by auto. unfold identity in P. rewrite Nat.eqb_refl in P. lra.
Qed.

Theorem p3_composed n G H K eps slack eps' slack' : 0 <= eps' -> 0 <= slack' ->
  loewner_up_to n G H eps slack -> loewner_up_to n H K eps' slack' ->
  loewner_up_to n G K (b_composed_epsilon eps eps') (b_composed_slack eps slack eps' slack').
Proof.
  intros He Hs L1 L2 x more. pose proof (L1 x) as A. pose proof (L2 x) as B.
  assert (D : quad n (fun i j => identity i j * H i j) x
    <= (1 + eps + slack) * quad n (fun i j => identity i j * G i j) x).
  { rewrite !quad_diagonal, <- fsum_scale. apply fsum_le. intros i Hi.
    rewrite <- Rmult_assoc. apply Rmult_le_compat_r; [apply pow2_ge_0 |].
    apply (loewner_up_to_diagonal n); auto. }
  cbv zeta in A, B. unfold more, b_composed_epsilon, b_composed_slack.
  set (g := quad n G x) in *. set (h := quad n H x) in *. set (k := quad n K x) in *.
  set (dg := quad n (fun i j => identity i j * G i j) x) in *.
  set (dh := quad n (fun i j => identity i j * H i j) x) in *.
  assert (eps' * h <= eps' * ((1 + eps) * g + slack * dg)) by (apply Rmult_le_compat_l; lra).
  assert (slack' * dh <= slack' * ((1 + eps + slack) * dg)) by (apply Rmult_le_compat_l; auto).
  split; lra.
Qed.
