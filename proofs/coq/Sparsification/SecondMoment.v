(** CountSketch keeps a Gram matrix (claim P3.sketches): its second moment and Markov's inequality.

    A sketch puts every column, with a sign, into a bucket; all places and signs are equally likely.  Steps:
    (1) of sums s_t of signed numbers over buckets, sum_t s_t^2 has the mean sum_c x_c^2; (2) adding one more
    column u with a sign to bucket t changes sum_t s_t s_t^T by u u^T, which is wanted, and by
    + - (s_t u^T + u s_t^T), whose square has the mean 2 (|u|^2 sum |s_t|^2 + sum (s_t . u)^2) / m; so (3) the
    mean of |U^T S S^T U - I|_F^2 is (k^2 + k - 2 sum_c |u_c|^4) / m, U the orthonormal basis; (4) that is at most
    eps^2 delta from n (n + 1) / (eps^2 delta) buckets on, and a sandwich that breaks is a norm above eps. *)

Require Import Reals Lra Lia List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Probability Independence.
From Attest.Sparsification Require Import Sparsification.
Import ListNotations.
Open Scope R_scope.

(** * Sketches *)

(** A place and a sign for each column. *)
Definition draw : Type := (nat * R)%type.

Definition seeds (m : nat) : list draw := flat_map (fun t => [(t, 1); (t, -1)]) (seq 0 m).

(** All sketches of d columns into m buckets. *)
Definition sketches (d m : nat) : list (list draw) := tuples d (seeds m).

(** The sum of the signed numbers x_c that fall into bucket t. *)
Fixpoint bucket (x : nat -> R) (l : list draw) (t : nat) : R :=
  match l with
  | [] => 0
  | (place, sign) :: l =>
      (if (place =? t)%nat then sign * x 0%nat else 0) + bucket (fun c => x (S c)) l t
  end.

(** Y = X S. *)
Definition counted (X : nat -> nat -> R) (l : list draw) (i t : nat) : R := bucket (X i) l t.

Lemma bucket_linear k (v : nat -> R) (x : nat -> nat -> R) l t :
  fsum k (fun a => v a * bucket (x a) l t) = bucket (fun c => fsum k (fun a => v a * x a c)) l t.
Proof.
  revert x. induction l as [| (p, s) l IH]; intros x; simpl.
  - apply fsum_zero. intros. ring.
  - rewrite <- (IH (fun a c => x a (S c))).
    rewrite (fsum_ext k _ (fun a => (if (p =? t)%nat then s else 0) * (v a * x a 0%nat)
      + v a * bucket (fun c => x a (S c)) l t))
      by (intros; destruct (p =? t)%nat; ring).
    rewrite fsum_plus, fsum_scale. destruct (p =? t)%nat; ring.
Qed.

(** * Means over all sketches *)

Lemma seeds_length m : length (seeds m) = (2 * m)%nat.
Proof.
  unfold seeds. rewrite length_flat_map. transitivity (list_sum (map (fun _ => 2%nat) (seq 0 m))); auto.
  rewrite <- (seq_length m 0) at 2. induction (seq 0 m); simpl in *; lia.
Qed.

Lemma seeds_nonempty m : (0 < m)%nat -> seeds m <> [].
Proof. intros H E. apply (f_equal (@length _)) in E. rewrite seeds_length in E. simpl in E. lia. Qed.

(** One column: the mean over its place and its sign. *)
Lemma expect_seeds m f : (0 < m)%nat ->
  expect (seeds m) f = / (2 * INR m) * fsum m (fun t => f (t, 1) + f (t, -1)).
Proof.
  intros Hm. unfold expect. rewrite seeds_length, mult_INR. change (INR 2) with 2.
  unfold seeds. rewrite lsum_flat_map, <- lsum_seq. unfold Rdiv. rewrite Rmult_comm. f_equal.
  apply lsum_ext. intros t _. unfold lsum. simpl. ring.
Qed.

Lemma expect_swap {A B} (la : list A) (lb : list B) (f : A -> B -> R) :
  expect la (fun a => expect lb (f a)) = expect lb (fun b => expect la (fun a => f a b)).
Proof.
  unfold expect. unfold Rdiv.
  rewrite (lsum_ext _ (fun a => / INR (length lb) * lsum (f a) lb)) by (intros; ring).
  rewrite (lsum_ext (fun b => lsum _ la * _) (fun b => / INR (length la) * lsum (fun a => f a b) la))
    by (intros; ring).
  rewrite !lsum_scale, lsum_exchange. ring.
Qed.

Section Means.

Variable m : nat.
Hypothesis Hm : (0 < m)%nat.

Let nonempty : seeds m <> [] := seeds_nonempty m Hm.

Let m_pos : 0 < INR m := lt_0_INR m Hm.

(** The last column apart, its own mean taken first. *)
Lemma expect_sketches d f : expect (sketches (S d) m) f
  = expect (sketches d m) (fun l => / (2 * INR m) * fsum m (fun t => f ((t, 1) :: l) + f ((t, -1) :: l))).
Proof.
  unfold sketches. rewrite expect_tuples by exact nonempty.
  rewrite expect_swap. apply expect_ext. intros l _. now rewrite expect_seeds.
Qed.

(** One place p, of which every bucket t is asked. *)
Lemma one_place p x0 (s : nat -> R) (sign : R) : (p < m)%nat ->
  fsum m (fun t => ((if (p =? t)%nat then sign * x0 else 0) + s t) ^ 2)
    = fsum m (fun t => s t ^ 2) + 2 * sign * x0 * s p + (sign * x0) ^ 2.
Proof.
  intros Hp.
  rewrite (fsum_ext m _ (fun t => s t ^ 2
    + (2 * sign * x0 * s t + (sign * x0) ^ 2) * (if (t =? p)%nat then 1 else 0))).
  - rewrite fsum_plus, (fsum_delta m p (fun t => 2 * sign * x0 * s t + (sign * x0) ^ 2)) by auto. ring.
  - intros t _. rewrite (Nat.eqb_sym p t). destruct (t =? p)%nat; ring.
Qed.

Lemma mean_squares d x :
  expect (sketches d m) (fun l => fsum m (fun t => bucket x l t ^ 2)) = fsum d (fun c => x c ^ 2).
Proof.
  revert x. induction d as [| d IH]; intros x.
  - unfold sketches. rewrite expect_one. apply fsum_zero. intros. simpl. ring.
  - rewrite expect_sketches, (fsum_skip d 0) by lia. cbn [skip Nat.ltb Nat.leb].
    rewrite <- (IH (fun c => x (S c))), Rplus_comm.
    rewrite (expect_ext _ _ (fun l => fsum m (fun t => bucket (fun c => x (S c)) l t ^ 2)
      + x 0%nat ^ 2)).
    + rewrite expect_plus, expect_const by (apply tuples_nonempty; exact nonempty).
      f_equal.
    + intros l _. cbn [bucket].
      rewrite (fsum_ext m _ (fun p => 2 * (fsum m (fun t => bucket (fun c => x (S c)) l t ^ 2)
        + x 0%nat ^ 2))).
      * rewrite fsum_const. field. lra.
      * intros p Hp. rewrite !one_place by auto. ring.
Qed.

(** (U^T S S^T U - U^T U)_ab, the rows u_c of U being columns of X in its basis. *)
Let error (d : nat) (u : nat -> nat -> R) (l : list draw) (a b : nat) : R :=
  fsum m (fun t => bucket (u a) l t * bucket (u b) l t) - fsum d (fun c => u a c * u b c).

Let next (u : nat -> nat -> R) (a c : nat) : R := u a (S c).

Lemma error_step d u l p sign a b : (p < m)%nat -> sign * sign = 1 ->
  error (S d) u ((p, sign) :: l) a b = error d (next u) l a b
    + sign * (bucket (next u a) l p * u b 0%nat + u a 0%nat * bucket (next u b) l p).
Proof.
  intros Hp Hs. unfold error. cbn [bucket]. rewrite (fsum_skip d 0) by lia.
  cbn [skip Nat.ltb Nat.leb].
  rewrite (fsum_ext m _ (fun t => bucket (next u a) l t * bucket (next u b) l t
    + (sign * (bucket (next u a) l t * u b 0%nat + u a 0%nat * bucket (next u b) l t)
       + u a 0%nat * u b 0%nat) * (if (t =? p)%nat then 1 else 0))).
  - rewrite fsum_plus, (fsum_delta m p (fun t => sign * (bucket (next u a) l t * u b 0%nat
      + u a 0%nat * bucket (next u b) l t) + u a 0%nat * u b 0%nat)) by auto.
    unfold next. ring.
  - intros t _. rewrite (Nat.eqb_sym p t). fold (next u a) (next u b).
    change (fun c => u a (S c)) with (next u a). change (fun c => u b (S c)) with (next u b).
    destruct (t =? p)%nat; [| ring].
    replace ((sign * u a 0%nat + bucket (next u a) l t) * (sign * u b 0%nat + bucket (next u b) l t))
      with (sign * sign * (u a 0%nat * u b 0%nat)
            + sign * (bucket (next u a) l t * u b 0%nat + u a 0%nat * bucket (next u b) l t)
            + bucket (next u a) l t * bucket (next u b) l t) by ring.
    rewrite Hs. ring.
Qed.

Definition frobenius (k : nat) (E : nat -> nat -> R) : R :=
  fsum k (fun a => fsum k (fun b => E a b ^ 2)).

(** What the first d columns come to: (sum l)^2 - 2 sum l^2 + sum (u_c . u_e)^2, l_c = |u_c|^2. *)
Let length_of (k : nat) (u : nat -> nat -> R) (c : nat) : R := fsum k (fun a => u a c ^ 2).
Let inner (k : nat) (u : nat -> nat -> R) (c e : nat) : R := fsum k (fun a => u a c * u a e).
Let moment (d k : nat) (u : nat -> nat -> R) : R :=
  fsum d (length_of k u) ^ 2 - 2 * fsum d (fun c => length_of k u c ^ 2)
  + fsum d (fun c => fsum d (fun e => inner k u c e ^ 2)).

Lemma cross_square k (s v : nat -> R) :
  fsum k (fun a => fsum k (fun b => (s a * v b + v a * s b) ^ 2))
    = 2 * (fsum k (fun a => v a ^ 2) * fsum k (fun a => s a ^ 2) + fsum k (fun a => v a * s a) ^ 2).
Proof.
  rewrite (fsum_ext k _ (fun a => fsum k (fun b => v b ^ 2) * s a ^ 2 + fsum k (fun b => s b ^ 2) * v a ^ 2
    + 2 * fsum k (fun b => v b * s b) * (v a * s a))).
  - rewrite !fsum_plus, !fsum_scale. ring.
  - intros a _. rewrite (fsum_ext k _ (fun b => s a ^ 2 * v b ^ 2 + v a ^ 2 * s b ^ 2
      + 2 * (v a * s a) * (v b * s b))) by (intros; ring).
    rewrite !fsum_plus, !fsum_scale. ring.
Qed.

Lemma moment_step d k u : moment (S d) k u = moment d k (next u)
  + 2 * (length_of k u 0 * fsum d (length_of k (next u))
         + fsum d (fun c => inner k u 0 (S c) ^ 2)).
Proof.
  unfold moment. rewrite !(fsum_skip d 0) by lia. cbn [skip Nat.ltb Nat.leb].
  rewrite (fsum_ext d (fun i => fsum (S d) (fun e => inner k u (S i) e ^ 2))
    (fun i => inner k u 0 (S i) ^ 2 + fsum d (fun e => inner k (next u) i e ^ 2))).
  - rewrite fsum_plus.
    assert (E : inner k u 0 0 = length_of k u 0) by (apply fsum_ext; intros; ring). rewrite E.
    change (fun i => length_of k u (S i)) with (length_of k (next u)).
    change (fun i => length_of k u (S i) ^ 2) with (fun i => length_of k (next u) i ^ 2). ring.
  - intros i _. rewrite (fsum_skip d 0) by lia. cbn [skip Nat.ltb Nat.leb]. f_equal.
    unfold inner. f_equal. apply fsum_ext. intros. ring.
Qed.

Lemma mean_frobenius d k u :
  expect (sketches d m) (fun l => frobenius k (error d u l)) = moment d k u / INR m.
Proof.
  revert u. induction d as [| d IH]; intros u.
  - unfold sketches. rewrite expect_one. unfold frobenius, error, moment. simpl.
    rewrite fsum_zero; [field; lra |]. intros a _. apply fsum_zero. intros b _.
    rewrite fsum_zero by (intros; ring). ring.
  - rewrite expect_sketches, moment_step.
    rewrite (expect_ext _ _ (fun l => frobenius k (error d (next u) l)
      + 2 / INR m * (length_of k u 0 * fsum k (fun a => fsum m (fun t => bucket (next u a) l t ^ 2))
          + fsum m (fun t => bucket (fun c => inner k u 0 (S c)) l t ^ 2)))).
    + rewrite expect_plus, IH, expect_scale, expect_plus, expect_scale, expect_fsum.
      rewrite (fsum_ext k _ (fun a => fsum d (fun c => next u a c ^ 2)))
        by (intros; apply mean_squares).
      rewrite mean_squares, fsum_swap. fold (length_of k (next u)).
      change (fun i => fsum k (fun j => next u j i ^ 2)) with (length_of k (next u)). field. lra.
    + intros l _.
      rewrite (fsum_ext m _ (fun p => 2 * (frobenius k (error d (next u) l)
        + 2 * (length_of k u 0 * fsum k (fun a => bucket (next u a) l p ^ 2)
               + fsum k (fun a => u a 0%nat * bucket (next u a) l p) ^ 2)))).
      * rewrite fsum_scale, fsum_plus, fsum_const, fsum_scale, fsum_plus, fsum_scale.
        rewrite (fsum_swap m k).
        rewrite (fsum_ext m (fun p => fsum k (fun a => u a 0%nat * bucket (next u a) l p) ^ 2)
          (fun t => bucket (fun c => inner k u 0 (S c)) l t ^ 2)); [field; lra |].
        intros t _. f_equal. apply (bucket_linear k (fun a => u a 0%nat) (next u)).
      * intros p Hp. pose proof (cross_square k (fun a => bucket (next u a) l p) (fun a => u a 0%nat)) as C.
        transitivity (2 * frobenius k (error d (next u) l) + 2 * fsum k (fun a => fsum k (fun b =>
          (bucket (next u a) l p * u b 0%nat + u a 0%nat * bucket (next u b) l p) ^ 2))).
        -- unfold frobenius. rewrite <- !fsum_scale, <- !fsum_plus. apply fsum_ext. intros a _.
           rewrite <- !fsum_scale, <- !fsum_plus. apply fsum_ext. intros b _.
           rewrite !error_step by (auto; ring). ring.
        -- rewrite C. unfold length_of. ring.
Qed.

End Means.

(** * P3.sketches *)

(** (U^T S S^T U - I)_ab, U's columns the k vectors U a. *)
Definition sketch_error (m : nat) (U : nat -> nat -> R) (l : list draw) (a b : nat) : R :=
  gram m (counted U l) a b - (if (a =? b)%nat then 1 else 0).

Lemma inner_square d k (u : nat -> nat -> R) :
  fsum d (fun c => fsum d (fun e => fsum k (fun a => u a c * u a e) ^ 2))
    = fsum k (fun a => fsum k (fun b => dot d (u a) (u b) ^ 2)).
Proof.
  transitivity (fsum d (fun c => fsum k (fun a => fsum k (fun b =>
    u a c * u b c * dot d (u a) (u b))))).
  - apply fsum_ext. intros c _.
    rewrite (fsum_ext d _ (fun e => fsum k (fun a => fsum k (fun b =>
      u a c * u b c * (u a e * u b e))))).
    + rewrite fsum_swap. apply fsum_ext. intros a _. rewrite fsum_swap. apply fsum_ext. intros b _.
      now rewrite fsum_scale.
    + intros e _. simpl pow. rewrite Rmult_1_r, fsum_product. apply fsum_ext. intros a _.
      apply fsum_ext. intros b _. ring.
  - rewrite fsum_swap. apply fsum_ext. intros a _. rewrite fsum_swap. apply fsum_ext. intros b _.
    rewrite (fsum_scale_r d). unfold dot. ring.
Qed.

Lemma mean_square_orthonormal d m k U : (0 < m)%nat -> orthonormal d k U ->
  expect (sketches d m) (fun l => frobenius k (sketch_error m U l))
    = (INR k ^ 2 + INR k - 2 * fsum d (fun c => fsum k (fun a => U a c ^ 2) ^ 2)) / INR m.
Proof.
  intros Hm O.
  rewrite (expect_ext _ _ (fun l => frobenius k (fun a b =>
    fsum m (fun t => bucket (U a) l t * bucket (U b) l t) - fsum d (fun c => U a c * U b c)))).
  - rewrite (mean_frobenius m Hm). f_equal. rewrite inner_square.
    rewrite (fsum_ext k (fun a => fsum k (fun b => dot d (U a) (U b) ^ 2)) (fun _ => 1)).
    + rewrite fsum_const, (fsum_swap d k).
      rewrite (fsum_ext k (fun a => fsum d (fun c => U a c ^ 2)) (fun _ => 1)).
      * rewrite fsum_const. ring.
      * intros a Ha. transitivity (dot d (U a) (U a)); [apply fsum_ext; intros; ring |].
        rewrite O, Nat.eqb_refl by auto. reflexivity.
    + intros a Ha. rewrite <- (fsum_delta k a (fun _ => 1)) by auto. apply fsum_ext. intros b Hb.
      rewrite O, (Nat.eqb_sym a b) by auto. destruct (b =? a)%nat; ring.
  - intros l _. apply fsum_ext. intros a Ha. apply fsum_ext. intros b Hb. unfold sketch_error.
    f_equal. unfold gram, counted. f_equal. symmetry. apply (O a b); auto.
Qed.

Theorem p3_sketch_mean_square d m k U : (0 < m)%nat -> orthonormal d k U ->
  expect (sketches d m) (fun l => frobenius k (sketch_error m U l)) <= b_sketch_mean_square k m.
Proof.
  intros Hm O. rewrite mean_square_orthonormal by auto. unfold b_sketch_mean_square.
  pose proof (lt_0_INR m Hm). apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; auto |].
  assert (0 <= fsum d (fun c => fsum k (fun a => U a c ^ 2) ^ 2))
    by (apply fsum_nonneg; intros; apply pow2_ge_0). lra.
Qed.

(** One row of d equal numbers lacks 1 / d of it. *)
Theorem p3_sketch_mean_square_approached d m : (0 < d)%nat -> (0 < m)%nat ->
  let U := fun _ _ : nat => / sqrt (INR d) in
  orthonormal d 1 U /\
  expect (sketches d m) (fun l => frobenius 1 (sketch_error m U l))
    = b_sketch_mean_square 1 m * (1 - / INR d).
Proof.
  intros Hd Hm U. pose proof (lt_0_INR d Hd) as D. pose proof (lt_0_INR m Hm) as M.
  assert (E : / sqrt (INR d) * / sqrt (INR d) = / INR d)
    by (rewrite <- Rinv_mult, sqrt_sqrt; lra).
  assert (O : orthonormal d 1 U).
  { intros a b Ha Hb. replace a with 0%nat by lia. replace b with 0%nat by lia. simpl.
    unfold dot, U. rewrite (fsum_ext d _ (fun _ => / INR d)) by (intros; exact E).
    rewrite fsum_const. field. lra. }
  split; auto. rewrite mean_square_orthonormal by auto. unfold b_sketch_mean_square.
  rewrite (fsum_ext d _ (fun _ => / INR d ^ 2)).
  - rewrite fsum_const. simpl INR. field. split; lra.
  - intros c _. replace (fsum 1 (fun a => U a c ^ 2)) with (/ INR d)
      by (rewrite <- E; simpl fsum; unfold U; ring). apply pow_inv.
Qed.

Lemma bucket_ext x y l t : (forall c, (c < length l)%nat -> x c = y c) -> bucket x l t = bucket y l t.
Proof.
  revert x y. induction l as [| (p, s) l IH]; intros x y H; [reflexivity |]. cbn [bucket].
  rewrite (H 0%nat) by (simpl; lia). f_equal. apply IH. intros c Hc. apply H. simpl. lia.
Qed.

Lemma quad_frobenius k E w : Rabs (quad k E w) <= sqrt (frobenius k E) * dot k w w.
Proof.
  assert (W : 0 <= dot k w w) by (apply fsum_nonneg; intros; nra).
  assert (F : 0 <= frobenius k E)
    by (apply fsum_nonneg; intros; apply fsum_nonneg; intros; apply pow2_ge_0).
  apply square_le; [apply Rmult_le_pos; [apply sqrt_pos | auto] |].
  rewrite pow2_abs, Rpow_mult_distr, pow2_sqrt by auto.
  change (quad k E w) with (dot k w (fun i => dot k (E i) w)).
  eapply Rle_trans; [apply dot_square |]. rewrite !norm_square.
  replace (fsum k (fun c => w c ^ 2)) with (dot k w w) by (apply fsum_ext; intros; ring).
  apply Rle_trans with (dot k w w * (frobenius k E * dot k w w)); [| right; ring].
  apply Rmult_le_compat_l; auto. unfold frobenius. rewrite <- fsum_scale_r. apply fsum_le.
  intros a _. eapply Rle_trans; [apply dot_square |]. rewrite !norm_square.
  right. f_equal. apply fsum_ext. intros. ring.
Qed.

(** A sketch that breaks the sandwich has a large error in the basis of X's rows. *)
Lemma small_error_loewner n d m X k Q Y chosen eps l : basis n d X k Q Y chosen ->
  length l = d -> 0 <= eps -> frobenius k (sketch_error m Q l) <= eps ^ 2 ->
  loewner n (gram d X) (gram m (counted X l)) eps.
Proof.
  intros [O _ Sp _ _] Hl He F x.
  set (w := fun a => fsum n (fun i => x i * Y i a)).
  assert (C : forall (Z : nat -> nat -> R) (T : nat -> nat -> R) c,
    (forall i, (i < n)%nat -> Z i c = fsum k (fun a => Y i a * T a c)) ->
    fsum n (fun i => x i * Z i c) = fsum k (fun a => w a * T a c)).
  { intros Z T c H. unfold w.
    rewrite (fsum_ext n _ (fun i => fsum k (fun a => x i * Y i a * T a c)))
      by (intros i Hi; rewrite H, <- fsum_scale by auto; apply fsum_ext; intros; ring).
    rewrite fsum_swap. apply fsum_ext. intros a _. now rewrite fsum_scale_r. }
  assert (G : quad n (gram d X) x = dot k w w).
  { rewrite quad_gram, <- (dot_spanned_spanned d k w w Q O). apply fsum_ext. intros c Hc.
    rewrite (C X Q c); [unfold spanned; ring |]. intros i Hi. apply Sp; auto. }
  assert (H : quad n (gram m (counted X l)) x = dot k w w + quad k (sketch_error m Q l) w).
  { rewrite quad_gram.
    rewrite (fsum_ext m _ (fun t => fsum k (fun a => w a * counted Q l a t) ^ 2)).
    - rewrite <- quad_gram. unfold sketch_error.
      rewrite (quad_ext k _ (fun a b => (gram m (counted Q l) a b - (if (a =? b)%nat then 1 else 0))
        + (if (a =? b)%nat then 1 else 0))) by (intros; ring).
      rewrite quad_plus, Rplus_comm. f_equal. apply fsum_ext. intros a Ha.
      rewrite (fsum_ext k _ (fun b => w b * (if (b =? a)%nat then 1 else 0)))
        by (intros b _; rewrite (Nat.eqb_sym a b); ring).
      rewrite (fsum_delta k a w) by auto. ring.
    - intros t Ht. f_equal. apply C. intros i Hi. unfold counted.
      rewrite (bucket_linear k (Y i) Q). apply bucket_ext. intros c Hc. apply Sp; [auto | lia]. }
  rewrite G, H. pose proof (quad_frobenius k (sketch_error m Q l) w) as B.
  assert (W : 0 <= dot k w w) by (apply fsum_nonneg; intros; nra).
  assert (R : sqrt (frobenius k (sketch_error m Q l)) <= eps).
  { rewrite <- (sqrt_pow2 eps He). apply sqrt_le_1_alt. exact F. }
  assert (sqrt (frobenius k (sketch_error m Q l)) * dot k w w <= eps * dot k w w)
    by (apply Rmult_le_compat_r; auto).
  apply Rabs_bounds in B. lra.
Qed.

(** However the failures are told, if they are more than a share delta of all sketches, there are few buckets. *)
Theorem p3_sketches n d m X eps delta (fails : list draw -> bool) : 0 < eps -> 0 < delta -> (0 < m)%nat ->
  (forall l, In l (sketches d m) -> fails l = true -> ~ loewner n (gram d X) (gram m (counted X l)) eps) ->
  delta < probability (sketches d m) fails -> INR m <= b_osnap_width n eps delta.
Proof.
  intros He Hd Hm Hf Hp.
  destruct (orthonormal_basis n d X) as (k & Q & Y & chosen & B).
  pose proof (lt_0_INR m Hm) as M.
  assert (N : sketches d m <> []) by (apply tuples_nonempty, seeds_nonempty; auto).
  assert (P : eps ^ 2 * probability (sketches d m) fails <= b_sketch_mean_square k m).
  { apply Rle_trans with (expect (sketches d m) (fun l => frobenius k (sketch_error m Q l)));
      [| apply p3_sketch_mean_square; [auto | apply (basis_orthonormal _ _ _ _ _ _ _ B)]].
    unfold probability. rewrite <- expect_scale. apply expect_le; auto. intros l Hl.
    destruct (fails l) eqn:E.
    - destruct (Rle_dec (frobenius k (sketch_error m Q l)) (eps ^ 2)) as [L | L]; [| lra].
      exfalso. apply (Hf l Hl E). apply tuples_In in Hl.
      apply (small_error_loewner n d m X k Q Y chosen); auto; [tauto | lra].
    - rewrite Rmult_0_r. apply fsum_nonneg. intros. apply fsum_nonneg. intros. apply pow2_ge_0. }
  unfold b_sketch_mean_square in P. unfold b_osnap_width.
  pose proof (le_INR _ _ (basis_small _ _ _ _ _ _ _ B)) as K. pose proof (pos_INR k) as K0.
  assert (E2 : 0 < eps ^ 2) by (apply pow_lt; auto).
  apply le_div; [apply Rmult_lt_0_compat; auto |].
  assert (Q1 : eps ^ 2 * probability (sketches d m) fails * INR m <= INR k * (1 + INR k)).
  { apply Rmult_le_compat_r with (r := INR m) in P; [| lra].
    replace (INR k * (1 + INR k) / INR m * INR m) with (INR k * (1 + INR k)) in P by (field; lra). exact P. }
  assert (INR m * (delta * eps ^ 2) <= eps ^ 2 * probability (sketches d m) fails * INR m).
  { replace (INR m * (delta * eps ^ 2)) with (eps ^ 2 * delta * INR m) by ring.
    apply Rmult_le_compat_r; [lra |]. apply Rmult_le_compat_l; lra. }
  nra.
Qed.
