(** What floating point proves about two Gram matrices (claims P3.certificate, P3.entries).

    The model is that of Rounding.v, without underflow: every operation multiplies its exact result by
    1 + delta, |delta| <= u.  Steps: (1) a number less some products, in any order, is wrong by at most
    w_N - 1 relative to the result and the products, w_N = (1 - u)^-N, N the number of products: the
    number itself is charged nothing; (2) so a Cholesky factorisation that runs to completion leaves
    |A - L L^T| <= gamma_(n+1) |L| |L|^T, and the right side is at most
    gamma / (1 - gamma) sqrt (a_ii a_jj); (3) errors of at most v_i v_j in the entries move a quadratic
    form by at most (sum v_i^2) |x|^2, so the errors of the Gram matrices, of their difference and of the
    factorisation are each worth their rate times a trace; (4) a shift as large as all of them proves
    that the exact form is not negative. *)

Require Import Reals Lra Lia List Permutation.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors.
From Attest.Rounding Require Import Rounding.
From Attest.Sparsification Require Import Sparsification.
Open Scope R_scope.

(** * N roundings that divide *)

Definition widened (u : R) (k : nat) : R := / (1 - u) ^ k.

Lemma widened_add u j k : u < 1 -> widened u (j + k) = widened u j * widened u k.
Proof.
  intros. unfold widened. rewrite pow_add, Rinv_mult. reflexivity.
Qed.

Lemma widened_ge_1 u k : 0 <= u < 1 -> 1 <= widened u k.
Proof.
  intros. unfold widened. rewrite <- Rinv_1. apply Rinv_le_contravar; [apply pow_lt; lra |].
  apply Rle_trans with (1 ^ k); [apply pow_incr | rewrite pow1]; lra.
Qed.

Lemma widened_mono u j k : 0 <= u < 1 -> (j <= k)%nat -> widened u j <= widened u k.
Proof.
  intros Hu H. replace k with (j + (k - j))%nat by lia. rewrite widened_add by lra.
  pose proof (widened_ge_1 u j Hu). pose proof (widened_ge_1 u (k - j) Hu). nra.
Qed.

Lemma pow_widened u k : 0 <= u < 1 -> (1 + u) ^ k <= widened u k.
Proof.
  intros Hu. unfold widened. rewrite <- pow_inv. apply pow_incr. split; [lra |].
  apply Rmult_le_reg_r with (1 - u); [lra |]. rewrite Rinv_l by lra. nra.
Qed.

Lemma widened_gamma u k : 0 <= u < 1 -> INR k * u < 1 -> widened u k <= 1 + gamma k u.
Proof.
  intros Hu Hk. rewrite gamma_plus_1 by auto. apply Rinv_le_contravar; [lra |]. clear Hk.
  induction k; [simpl; lra |]. rewrite S_INR. simpl.
  assert (0 <= INR k * (u * u)) by (repeat apply Rmult_le_pos; try apply pos_INR; lra).
  assert ((1 - u) * (1 - INR k * u) <= (1 - u) * (1 - u) ^ k) by (apply Rmult_le_compat_l; lra). nra.
Qed.

Lemma widened_1 u x delta : 0 <= u < 1 -> Rabs delta <= u ->
  Rabs x <= widened u 1 * Rabs (x * (1 + delta)).
Proof.
  intros Hu Hd. unfold widened. rewrite pow_1. apply Rabs_bounds in Hd.
  rewrite Rabs_mult, (Rabs_right (1 + delta)) by lra.
  replace (Rabs x) with (/ (1 - u) * (Rabs x * (1 - u))) at 1 by (field; lra).
  apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat; lra |].
  apply Rmult_le_compat_l; [apply Rabs_pos | lra].
Qed.

(** [x (1 + delta)] differs from x by little of its own. *)
Lemma rounding_of_result u x delta : 0 <= u < 1 -> Rabs delta <= u ->
  Rabs (x - x * (1 + delta)) <= (widened u 1 - 1) * Rabs (x * (1 + delta)).
Proof.
  intros Hu Hd. pose proof (widened_1 u x delta Hu Hd) as W.
  assert (E : widened u 1 - 1 = u * widened u 1) by (unfold widened; rewrite pow_1; field; lra).
  replace (x - x * (1 + delta)) with (- (x * delta)) by ring.
  rewrite Rabs_Ropp, Rabs_mult, E. pose proof (Rabs_pos x).
  apply Rle_trans with (u * Rabs x); [nra |]. rewrite Rmult_assoc. apply Rmult_le_compat_l; lra.
Qed.

(** * A number less some products, in any order *)

(** From a, one computed sum of products after the other is subtracted. *)
Inductive remainder (u : R) (p : nat -> R) (a : R) : list tree -> R -> Prop :=
| remainder_nil : remainder u p a nil a
| remainder_cons t ts s y delta : Rabs delta <= u -> remainder u p a ts s ->
    unscaled t -> computes u 0 p t y -> remainder u p a (t :: ts) ((s - y) * (1 + delta)).

Definition products_of (ts : list tree) : list nat := flat_map leaves ts.

(** s is a possible result of a - p 0 - ... - p (j - 1). *)
Definition subtracts (u : R) (j : nat) (p : nat -> R) (a s : R) : Prop :=
  exists ts, Permutation (products_of ts) (seq 0 j) /\ remainder u p a ts s.

Lemma leaves_pos t : (1 <= length (leaves t))%nat.
Proof. induction t; simpl; auto. rewrite app_length. lia. Qed.

Lemma remainder_error u p a ts s : 0 <= u < 1 -> remainder u p a ts s ->
  Rabs (a - lsum p (products_of ts) - s)
    <= (widened u (length (products_of ts)) - 1)
       * (Rabs s + lsum (fun k => Rabs (p k)) (products_of ts)).
Proof.
  intros Hu H. induction H as [| t ts s y delta Hd Hs IH Hun Hy].
  - unfold lsum. simpl. rewrite Rminus_0_r, Rminus_eq_0, Rabs_R0, Rplus_0_r.
    pose proof (widened_ge_1 u 0 Hu). pose proof (Rabs_pos a). nra.
  - cbn [products_of flat_map]. fold (products_of ts).
    rewrite app_length, !lsum_app, (Nat.add_comm (length (leaves t))), widened_add by lra.
    set (N := length (products_of ts)) in *. set (k := length (leaves t)).
    set (P := lsum p (products_of ts)) in *.
    set (A := lsum (fun j => Rabs (p j)) (products_of ts)) in *.
    assert (HA : 0 <= A) by apply lsum_abs_nonneg.
    assert (Ht : Rabs (y - lsum p (leaves t)) <= (widened u k - 1) * lsum (fun j => Rabs (p j)) (leaves t)
                 /\ Rabs (lsum p (leaves t)) <= lsum (fun j => Rabs (p j)) (leaves t)).
    { pose proof (sum_error u 0 p t y ltac:(lra) ltac:(lra) Hy) as E. cbv zeta in E.
      pose proof (exact_abs _ _ _ _ _ Hy) as B.
      rewrite !exact_leaves in E, B by auto.
      split; [| exact B].
      assert ((1 + u) ^ roundings t <= widened u k).
      { eapply Rle_trans; [apply pow_widened; auto | apply widened_mono; auto].
        apply unscaled_roundings; auto. }
      assert (0 <= lsum (fun j => Rabs (p j)) (leaves t)) by apply lsum_abs_nonneg.
      rewrite Rmult_0_r, Rmult_0_r, Rplus_0_r in E.
      eapply Rle_trans; [exact E |]. apply Rmult_le_compat_r; lra. }
    set (Pt := lsum p (leaves t)) in *. set (At := lsum (fun j => Rabs (p j)) (leaves t)) in *.
    assert (HAt : 0 <= At) by apply lsum_abs_nonneg.
    pose proof (widened_ge_1 u N Hu) as HN.
    assert (H1 : widened u 1 <= widened u k) by (apply widened_mono; auto; apply leaves_pos).
    pose proof (widened_ge_1 u 1 Hu) as HQ. pose proof (widened_1 u (s - y) delta Hu Hd) as Hsy.
    pose proof (rounding_of_result u (s - y) delta Hu Hd) as Hr.
    set (r := (s - y) * (1 + delta)) in *. pose proof (Rabs_pos r) as Hrp.
    set (q := widened u 1) in *. set (w := widened u k) in *. set (W := widened u N) in *.
    destruct Ht as [Ht HPt].
    assert (Hya : Rabs y <= w * At).
    { replace y with ((y - Pt) + Pt) by ring. eapply Rle_trans; [apply Rabs_triang |]. lra. }
    assert (Hsa : Rabs s <= q * Rabs r + w * At).
    { replace s with ((s - y) + y) by ring. eapply Rle_trans; [apply Rabs_triang |]. lra. }
    replace (a - (Pt + P) - r) with ((a - P - s) + ((s - y - r) + (y - Pt))) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    pose proof (Rabs_triang (s - y - r) (y - Pt)).
    assert (Rabs (a - P - s) <= (W - 1) * (q * Rabs r + w * At + A)).
    { eapply Rle_trans; [exact IH |]. apply Rmult_le_compat_l; lra. }
    apply Rle_trans with ((W * q - 1) * Rabs r + (W * w - 1) * At + (W - 1) * A); [lra |].
    assert (W * q <= W * w) by (apply Rmult_le_compat_l; lra).
    assert (W <= W * w) by nra.
    assert ((W * q - 1) * Rabs r <= (W * w - 1) * Rabs r) by (apply Rmult_le_compat_r; lra).
    assert ((W - 1) * A <= (W * w - 1) * A) by (apply Rmult_le_compat_r; lra). lra.
Qed.

Lemma subtracts_error u j p a s : 0 <= u < 1 -> subtracts u j p a s ->
  Rabs (a - fsum j p - s) <= (widened u j - 1) * (Rabs s + fsum j (fun k => Rabs (p k))).
Proof.
  intros Hu [ts [Hp H]]. pose proof (remainder_error u p a ts s Hu H) as E.
  rewrite !(lsum_all _ j) in E by auto.
  rewrite (Permutation_length Hp), seq_length in E. exact E.
Qed.

(** * Cholesky's factorisation *)

Definition rounds (u x y : R) : Prop := exists delta, Rabs delta <= u /\ y = x * (1 + delta).

(** L is what the factorisation of A computes: sums in any order, a quotient directly or by way of the
    pivot's reciprocal.  That it ran to completion is that the pivots are positive. *)
Record cholesky (u : R) (n : nat) (A L : nat -> nat -> R) : Prop := {
  above_diagonal : forall i j, (i < j)%nat -> L i j = 0;
  pivot : forall j, (j < n)%nat -> 0 < L j j /\
    exists s, subtracts u j (fun k => L j k * L j k) (A j j) s /\ 0 <= s /\ rounds u (sqrt s) (L j j);
  below_diagonal : forall i j, (j < i < n)%nat ->
    exists s r, subtracts u j (fun k => L i k * L j k) (A i j) s /\
      rounds u (/ L j j) r /\ rounds u (s * r) (L i j) }.

Lemma fsum_until n j f : (j < n)%nat -> (forall k, (j < k < n)%nat -> f k = 0) ->
  fsum n f = fsum j f + f j.
Proof.
  intros Hj H. induction n; [lia |]. rewrite fsum_S.
  destruct (Nat.eq_dec n j) as [-> | Hne]; [reflexivity |].
  rewrite IHn, (H n) by (try lia; intros; apply H; lia). ring.
Qed.

(** The step of an entry: the last two roundings. *)
Lemma step_error u a P Pa s l d d' j : 0 <= u < 1 -> 0 <= Pa ->
  Rabs d <= u -> Rabs d' <= u -> l = s * (1 + d) * (1 + d') ->
  Rabs (a - P - s) <= (widened u j - 1) * (Rabs s + Pa) ->
  Rabs (a - (P + l)) <= (widened u (j + 2) - 1) * (Pa + Rabs l).
Proof.
  intros Hu HPa Hd Hd' El E.
  pose proof (widened_ge_1 u j Hu) as HW. pose proof (widened_ge_1 u 1 Hu) as Hq.
  pose proof (widened_1 u s d Hu Hd) as S1. pose proof (widened_1 u (s * (1 + d)) d' Hu Hd') as S2.
  pose proof (rounding_of_result u s d Hu Hd) as R1.
  pose proof (rounding_of_result u (s * (1 + d)) d' Hu Hd') as R2.
  rewrite <- El in S2, R2. change 2%nat with (1 + 1)%nat. rewrite !widened_add by lra.
  set (q := widened u 1) in *. set (W := widened u j) in *. set (v := s * (1 + d)) in *.
  pose proof (Rabs_pos l) as Hl. pose proof (Rabs_pos s) as Hs.
  assert (Sl : Rabs s <= q * q * Rabs l) by nra.
  assert (Dl : Rabs (s - l) <= (q * q - 1) * Rabs l).
  { replace (s - l) with ((s - v) + (v - l)) by ring. eapply Rle_trans; [apply Rabs_triang |]. nra. }
  replace (a - (P + l)) with ((a - P - s) + (s - l)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  assert (Rabs (a - P - s) <= (W - 1) * (q * q * Rabs l + Pa)).
  { eapply Rle_trans; [exact E |]. apply Rmult_le_compat_l; lra. }
  assert (1 <= q * q) by nra. assert (W <= W * (q * q)) by nra.
  assert ((W - 1) * Pa <= (W * (q * q) - 1) * Pa) by (apply Rmult_le_compat_r; lra).
  replace ((W * (q * q) - 1) * (Pa + Rabs l))
    with ((W * (q * q) - 1) * Pa + ((W - 1) * (q * q * Rabs l) + (q * q - 1) * Rabs l)) by ring.
  lra.
Qed.

Lemma cholesky_entry u n A L i j : 0 <= u < 1 -> INR (n + 1) * u < 1 -> cholesky u n A L ->
  (j <= i < n)%nat ->
  Rabs (A i j - gram n L i j) <= gamma (n + 1) u * fsum n (fun k => Rabs (L i k * L j k)).
Proof.
  intros Hu Hn C Hij.
  assert (Z : forall k, (j < k < n)%nat -> L i k * L j k = 0).
  { intros k Hk. rewrite (above_diagonal _ _ _ _ C j k) by lia. ring. }
  unfold gram. rewrite (fsum_until n j) by (auto; lia).
  rewrite (fsum_until n j (fun k => Rabs (L i k * L j k)))
    by (lia || (intros k Hk; rewrite Z, Rabs_R0; auto)).
  assert (M : forall k, (k <= n + 1)%nat -> widened u k - 1 <= gamma (n + 1) u).
  { intros k Hk. pose proof (widened_mono u k (n + 1) Hu Hk).
    pose proof (widened_gamma u (n + 1) Hu Hn). lra. }
  set (Pa := fsum j (fun k => Rabs (L i k * L j k))).
  assert (HPa : 0 <= Pa) by (apply fsum_nonneg; intros; apply Rabs_pos).
  apply Rle_trans with ((widened u (j + 2) - 1) * (Pa + Rabs (L i j * L j j))).
  - destruct (Nat.eq_dec i j) as [<- | Hne].
    + destruct (pivot _ _ _ _ C i ltac:(lia)) as [_ [s [S [Hs [d [Hd El]]]]]].
      apply (step_error u _ _ _ s _ d d); auto; [| apply subtracts_error; auto].
      rewrite El. rewrite <- (sqrt_sqrt s Hs) at 3. ring.
    + destruct (below_diagonal _ _ _ _ C i j ltac:(lia)) as [s [r [S [[d [Hd Er]] [d' [Hd' El]]]]]].
      destruct (pivot _ _ _ _ C j ltac:(lia)) as [Hp _].
      apply (step_error u _ _ _ s _ d d'); auto; [| apply subtracts_error; auto].
      rewrite El, Er. field. lra.
  - apply Rmult_le_compat_r.
    + pose proof (Rabs_pos (L i j * L j j)). lra.
    + destruct (Nat.eq_dec (j + 2) (n + 1)); apply M; lia.
Qed.

Lemma cholesky_residual_form n u : INR (n + 1) * u < 1 / 2 ->
  b_cholesky_residual n u = gamma (n + 1) u / (1 - gamma (n + 1) u).
Proof.
  intros H. unfold b_cholesky_residual, gamma. rewrite plus_INR in *. change (INR 1) with 1 in *.
  field. split; lra.
Qed.

Lemma gamma_below_1 k u : 0 <= u -> INR k * u < 1 / 2 -> 0 <= gamma k u < 1.
Proof.
  intros Hu H. split; [apply gamma_nonneg; lra |]. unfold gamma.
  apply Rmult_lt_reg_r with (1 - INR k * u); [lra |]. unfold Rdiv.
  rewrite Rmult_assoc, Rinv_l; lra.
Qed.

Definition symmetric (A : nat -> nat -> R) : Prop := forall i j, A i j = A j i.

(** The diagonal: L L^T is not much larger. *)
Lemma cholesky_diagonal u n A L i : 0 <= u < 1 -> INR (n + 1) * u < 1 / 2 -> cholesky u n A L ->
  (i < n)%nat -> gram n L i i * (1 - gamma (n + 1) u) <= A i i.
Proof.
  intros Hu Hn C Hi. pose proof (cholesky_entry u n A L i i Hu ltac:(lra) C ltac:(lia)) as E.
  rewrite (fsum_ext n _ (fun k => L i k * L i k)) in E by (intros; apply Rabs_right; nra).
  fold (gram n L i i) in E. apply Rabs_bounds in E. lra.
Qed.

Lemma fsum_products_gram n X Y i j d : n = d ->
  fsum n (fun k => Rabs (X i k * Y j k)) <= sqrt (gram d X i i) * sqrt (gram d Y j j).
Proof.
  intros ->. eapply Rle_trans; [apply (cauchy_schwarz d (X i) (Y j)) |]. right.
  f_equal; f_equal; apply fsum_ext; intros; ring.
Qed.

Theorem p3_cholesky_residual u n A L i j : 0 <= u < 1 -> INR (n + 1) * u < 1 / 2 ->
  symmetric A -> cholesky u n A L -> (i < n)%nat -> (j < n)%nat ->
  Rabs (A i j - gram n L i j) <= b_cholesky_residual n u * (sqrt (A i i) * sqrt (A j j)).
Proof.
  intros Hu Hn SA C Hi Hj. destruct (gamma_below_1 (n + 1) u ltac:(lra) Hn) as [G0 G1].
  rewrite cholesky_residual_form by auto. set (g := gamma (n + 1) u) in *.
  assert (E : Rabs (A i j - gram n L i j) <= g * (sqrt (gram n L i i) * sqrt (gram n L j j))).
  { destruct (Nat.le_ge_cases j i) as [Hle | Hle].
    - eapply Rle_trans; [apply (cholesky_entry u); auto; lra || lia |].
      apply Rmult_le_compat_l; auto. apply fsum_products_gram; auto.
    - rewrite SA, gram_sym, (Rmult_comm (sqrt (gram n L i i))).
      eapply Rle_trans; [apply (cholesky_entry u); auto; lra || lia |].
      apply Rmult_le_compat_l; auto. apply fsum_products_gram; auto. }
  eapply Rle_trans; [exact E |]. unfold Rdiv. rewrite Rmult_assoc. apply Rmult_le_compat_l; auto.
  assert (D : forall k, (k < n)%nat ->
    sqrt (gram n L k k) <= sqrt (/ (1 - g)) * sqrt (A k k)).
  { intros k Hk. pose proof (cholesky_diagonal u n A L k Hu Hn C Hk) as B. fold g in B.
    pose proof (gram_diagonal n L k). assert (0 < / (1 - g)) by (apply Rinv_0_lt_compat; lra).
    rewrite <- sqrt_mult by nra. apply sqrt_le_1_alt.
    replace (gram n L k k) with (/ (1 - g) * (gram n L k k * (1 - g))) by (field; lra).
    apply Rmult_le_compat_l; lra. }
  assert (0 <= / (1 - g)) by (left; apply Rinv_0_lt_compat; lra).
  rewrite <- (sqrt_sqrt (/ (1 - g))) at 1 by auto.
  replace (sqrt (/ (1 - g)) * sqrt (/ (1 - g)) * (sqrt (A i i) * sqrt (A j j)))
    with ((sqrt (/ (1 - g)) * sqrt (A i i)) * (sqrt (/ (1 - g)) * sqrt (A j j))) by ring.
  apply Rmult_le_compat; try apply sqrt_pos; auto.
Qed.

(** * Quadratic forms *)

Definition length_squared (n : nat) (x : nat -> R) : R := fsum n (fun i => x i ^ 2).

Definition trace (n : nat) (A : nat -> nat -> R) : R := fsum n (fun i => A i i).

Lemma quad_identity n x : quad n identity x = length_squared n x.
Proof.
  apply fsum_ext. intros i Hi. simpl. rewrite Rmult_1_r. f_equal.
  transitivity (fsum n (fun j => point i 1 j * x j)).
  - apply fsum_ext. intros j _. unfold identity, point. now rewrite Nat.eqb_sym.
  - rewrite fsum_point by auto. ring.
Qed.

Lemma quad_abs n E B x :
  (forall i j, (i < n)%nat -> (j < n)%nat -> Rabs (E i j) <= B i j) ->
  Rabs (quad n E x) <= quad n B (fun i => Rabs (x i)).
Proof.
  intros H. unfold quad. eapply Rle_trans; [apply fsum_abs |]. apply fsum_le. intros i Hi.
  rewrite Rabs_mult. apply Rmult_le_compat_l; [apply Rabs_pos |].
  eapply Rle_trans; [apply fsum_abs |]. apply fsum_le. intros j Hj.
  rewrite Rabs_mult. apply Rmult_le_compat_r; [apply Rabs_pos | auto].
Qed.

(** Entries sqrt (s_i) sqrt (s_j) make a form of at most sum s. *)
Lemma quad_roots n s x : (forall i, (i < n)%nat -> 0 <= s i) ->
  quad n (fun i j => sqrt (s i) * sqrt (s j)) (fun i => Rabs (x i))
    <= fsum n s * length_squared n x.
Proof.
  intros Hs. set (S := fsum n (fun i => Rabs (sqrt (s i) * x i))).
  assert (HS : 0 <= S) by (apply fsum_nonneg; intros; apply Rabs_pos).
  assert (E : quad n (fun i j => sqrt (s i) * sqrt (s j)) (fun i => Rabs (x i)) = S * S).
  { unfold quad. unfold S at 1. rewrite <- fsum_scale_r. apply fsum_ext. intros i _.
    rewrite Rabs_mult, (Rabs_right (sqrt (s i))) by (apply Rle_ge, sqrt_pos).
    rewrite (fsum_ext n _ (fun j => sqrt (s i) * Rabs (sqrt (s j) * x j))).
    - rewrite fsum_scale. fold S. ring.
    - intros j _. rewrite Rabs_mult, (Rabs_right (sqrt (s j))) by (apply Rle_ge, sqrt_pos). ring. }
  rewrite E. pose proof (cauchy_schwarz n (fun i => sqrt (s i)) x) as C. cbv beta in C. fold S in C.
  rewrite (fsum_ext n (fun l => sqrt (s l) ^ 2) s) in C by (intros; apply pow2_sqrt; auto).
  fold (length_squared n x) in C.
  assert (A : 0 <= fsum n s) by (apply fsum_nonneg; auto).
  assert (B : 0 <= length_squared n x) by (apply fsum_nonneg; intros; apply pow2_ge_0).
  rewrite <- sqrt_mult in C by auto.
  rewrite <- (sqrt_sqrt (fsum n s * length_squared n x)) by (apply Rmult_le_pos; auto).
  apply Rmult_le_compat; auto.
Qed.

(** * A computed Gram matrix *)

(** G' is X X^T as computed in any order, in which no term passes through more than g roundings. *)
Definition computed_gram (u : R) (g n d : nat) (X G' : nat -> nat -> R) : Prop :=
  forall i j, (i < n)%nat -> (j < n)%nat -> exists t,
    adds d t /\ (roundings t <= g)%nat /\ computes u 0 (fun c => X i c * X j c) t (G' i j).

Lemma gram_roots d X i j : Rabs (gram d X i j) <= sqrt (gram d X i i) * sqrt (gram d X j j).
Proof.
  unfold gram at 1. eapply Rle_trans; [apply fsum_abs |]. apply fsum_products_gram. reflexivity.
Qed.

Lemma computed_gram_error u g n d X G' i j : 0 <= u -> INR g * u < 1 ->
  computed_gram u g n d X G' -> (i < n)%nat -> (j < n)%nat ->
  Rabs (G' i j - gram d X i j) <= gamma g u * (sqrt (gram d X i i) * sqrt (gram d X j j)).
Proof.
  intros Hu Hg H Hi Hj. destruct (H i j Hi Hj) as [t [Ht [Hr Hc]]].
  pose proof (fp_sum u 0 _ t _ g Hu (Rle_refl 0) Hg Hc Hr) as E.
  rewrite !(adds_exact d t), Rmult_0_r, Rmult_0_r, Rplus_0_r in E by auto.
  fold (gram d X i j) in E. eapply Rle_trans; [exact E |].
  apply Rmult_le_compat_l; [apply gamma_nonneg; auto |]. apply fsum_products_gram. reflexivity.
Qed.

Lemma computed_diagonal u g n d X G' i : 0 <= u -> INR g * u < 1 / 2 ->
  computed_gram u g n d X G' -> (i < n)%nat -> (1 - gamma g u) * gram d X i i <= G' i i.
Proof.
  intros Hu Hg H Hi. pose proof (computed_gram_error u g n d X G' i i Hu ltac:(lra) H Hi Hi) as E.
  rewrite sqrt_sqrt in E by apply gram_diagonal. apply Rabs_bounds in E. lra.
Qed.

Lemma relative_rounding_form k u : INR k * u < 1 / 2 ->
  gamma k u / (1 - gamma k u) = INR k * u / (1 - 2 * (INR k * u)).
Proof. intros. unfold gamma. field. split; lra. Qed.

Lemma gamma_mono j k u : 0 <= u -> INR k * u < 1 -> (j <= k)%nat -> gamma j u <= gamma k u.
Proof.
  intros Hu Hk H. assert (INR j * u <= INR k * u).
  { apply Rmult_le_compat_r; auto. apply le_INR; auto. }
  assert (0 <= INR j * u) by (apply Rmult_le_pos; [apply pos_INR | auto]).
  unfold gamma. apply Rmult_le_compat; auto; [left; apply Rinv_0_lt_compat; lra |].
  apply Rinv_le_contravar; lra.
Qed.

(** A Gram matrix's rate of error is worth its computed trace. *)
Lemma trace_error u g k n d X G' : 0 <= u -> INR k * u < 1 / 2 -> (g <= k)%nat ->
  computed_gram u g n d X G' ->
  gamma k u * trace n (gram d X) <= INR k * u / (1 - 2 * (INR k * u)) * trace n G'.
Proof.
  intros Hu Hk Hle H. destruct (gamma_below_1 k u Hu Hk) as [G0 G1].
  pose proof (gamma_mono g k u Hu ltac:(lra) Hle) as M.
  assert (INR g * u <= INR k * u) by (apply Rmult_le_compat_r; auto; apply le_INR; auto).
  rewrite <- relative_rounding_form by auto. unfold Rdiv. rewrite Rmult_assoc.
  apply Rmult_le_compat_l; auto.
  unfold trace. rewrite <- fsum_scale. apply fsum_le. intros i Hi.
  apply Rmult_le_reg_l with (1 - gamma k u); [lra |].
  rewrite <- Rmult_assoc, Rinv_r, Rmult_1_l by lra.
  pose proof (computed_diagonal u g n d X G' i Hu ltac:(lra) H Hi). pose proof (gram_diagonal d X i).
  nra.
Qed.

(** * The matrix that is factored *)

(** A = f G + k H + slack diag (G) - c I as computed; k is 1 or -1. *)
Definition assembled (u : R) (n : nat) (f k slack c : R) (G H A : nat -> nat -> R) : Prop :=
  (forall i j, (i < n)%nat -> (j < n)%nat -> i <> j -> exists p,
    rounds u (f * G i j) p /\ rounds u (p + k * H i j) (A i j)) /\
  (forall i, (i < n)%nat -> exists p q t v,
    rounds u (f * G i i) p /\ rounds u (p + k * H i i) q /\ rounds u (slack * G i i) t /\
    rounds u (q + t) v /\ rounds u (v - c) (A i i)).

Definition sandwich_form (f k slack : R) (G H : nat -> nat -> R) (i j : nat) : R :=
  f * G i j + k * H i j + slack * (identity i j * G i j).

(** P is a product of m factors 1 + delta. *)
Definition factors (u : R) (m : nat) (P : R) : Prop := Rabs (P - 1) <= (1 + u) ^ m - 1.

Lemma factors_1 u delta : Rabs delta <= u -> factors u 1 (1 + delta).
Proof. intros H. unfold factors. replace (1 + delta - 1) with delta by ring. simpl. lra. Qed.

Lemma factors_S u m P delta : 0 <= u -> factors u m P -> Rabs delta <= u ->
  factors u (S m) (P * (1 + delta)).
Proof.
  unfold factors. intros Hu HP Hd. pose proof (rounding_step P 1 delta u _ Hu Hd HP) as E.
  rewrite Rabs_R1 in E. simpl. lra.
Qed.

(** A computed entry of G after m more roundings. *)
Lemma rounded_entry u g m k e e' s P : 0 <= u -> INR k * u < 1 -> (g + m <= k)%nat -> 0 <= s ->
  Rabs e <= s -> Rabs (e' - e) <= gamma g u * s -> factors u m P ->
  Rabs (e' * P - e) <= gamma k u * s.
Proof.
  intros Hu Hk Hle Hs He E HP. unfold factors in HP.
  assert (Hgm : INR (g + m) * u < 1).
  { eapply Rle_lt_trans; [| exact Hk]. apply Rmult_le_compat_r; auto. apply le_INR; auto. }
  rewrite plus_INR in Hgm. pose proof (pos_INR g). pose proof (pos_INR m).
  assert (Hg : 0 <= INR g * u) by nra. assert (Hm : 0 <= INR m * u) by nra.
  pose proof (pow_up m u Hu ltac:(lra)) as Up. pose proof (pow_ge_1 u m Hu) as Ge.
  pose proof (gamma_nonneg g u Hu ltac:(lra)) as G0.
  apply Rle_trans with (gamma (g + m) u * s);
    [| apply Rmult_le_compat_r; auto; apply gamma_mono; auto].
  apply Rle_trans with (((1 + gamma g u) * (1 + gamma m u) - 1) * s).
  - replace (e' * P - e) with ((e' - e) * P + e * (P - 1)) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. rewrite !Rabs_mult.
    assert (HPa : Rabs P <= (1 + u) ^ m).
    { replace P with ((P - 1) + 1) by ring. eapply Rle_trans; [apply Rabs_triang |].
      rewrite Rabs_R1. lra. }
    assert (A1 : Rabs (e' - e) * Rabs P <= gamma g u * s * (1 + gamma m u)).
    { apply Rmult_le_compat; try apply Rabs_pos; lra. }
    assert (A2 : Rabs e * Rabs (P - 1) <= s * gamma m u).
    { apply Rmult_le_compat; try apply Rabs_pos; lra. }
    lra.
  - apply Rmult_le_compat_r; auto.
    assert (Hgm' : INR (g + m) * u < 1) by (rewrite plus_INR; lra).
    pose proof (gamma_plus_1 (g + m) u Hgm') as E1. rewrite !gamma_plus_1 by lra.
    replace (gamma (g + m) u) with (/ (1 - INR (g + m) * u) - 1) by lra.
    apply Rplus_le_compat_r. rewrite <- Rinv_mult. rewrite plus_INR.
    apply Rinv_le_contravar; nra.
Qed.

Lemma assembled_error u g h n d m X Y G' H' A f k slack c i j :
  0 <= u < 1 -> INR (g + 4) * u < 1 / 2 -> INR (h + 3) * u < 1 / 2 -> Rabs k = 1 -> 0 <= slack -> 0 <= c ->
  computed_gram u g n d X G' -> computed_gram u h n m Y H' ->
  assembled u n f k slack c G' H' A -> (forall l, (l < n)%nat -> 0 < A l l) ->
  (i < n)%nat -> (j < n)%nat ->
  Rabs (sandwich_form f k slack (gram d X) (gram m Y) i j - c * identity i j - A i j)
    <= (Rabs f + slack) * gamma (g + 4) u * (sqrt (gram d X i i) * sqrt (gram d X j j))
       + gamma (h + 3) u * (sqrt (gram m Y i i) * sqrt (gram m Y j j)).
Proof.
  intros Hu Hg Hh Hk Hs Hc HG HH HA Hpos Hi Hj.
  assert (Hg' : INR g * u < 1).
  { rewrite plus_INR in Hg. simpl in Hg. lra. }
  assert (Hh' : INR h * u < 1).
  { rewrite plus_INR in Hh. simpl in Hh. lra. }
  pose proof (computed_gram_error u g n d X G' i j ltac:(lra) Hg' HG Hi Hj) as EG.
  pose proof (computed_gram_error u h n m Y H' i j ltac:(lra) Hh' HH Hi Hj) as EH.
  pose proof (gram_roots d X i j) as RG. pose proof (gram_roots m Y i j) as RH.
  assert (SG : 0 <= sqrt (gram d X i i) * sqrt (gram d X j j)) by (apply Rmult_le_pos; apply sqrt_pos).
  assert (SH : 0 <= sqrt (gram m Y i i) * sqrt (gram m Y j j)) by (apply Rmult_le_pos; apply sqrt_pos).
  set (sG := sqrt (gram d X i i) * sqrt (gram d X j j)) in *.
  set (sH := sqrt (gram m Y i i) * sqrt (gram m Y j j)) in *.
  pose proof (gamma_nonneg (g + 4) u ltac:(lra) ltac:(lra)) as GG.
  assert (TG : forall r P, (r <= 4)%nat -> factors u r P ->
    Rabs (G' i j * P - gram d X i j) <= gamma (g + 4) u * sG).
  { intros r P Hr HP. apply (rounded_entry u g r); auto; lra || lia. }
  assert (TH : forall r P, (r <= 3)%nat -> factors u r P ->
    Rabs (H' i j * P - gram m Y i j) <= gamma (h + 3) u * sH).
  { intros r P Hr HP. apply (rounded_entry u h r); auto; lra || lia. }
  assert (Sum : forall r1 r2 r3 P Q T b, (r1 <= 4)%nat -> (r2 <= 3)%nat -> (r3 <= 4)%nat ->
    factors u r1 P -> factors u r2 Q -> factors u r3 T -> 0 <= b <= slack ->
    Rabs (f * gram d X i j + k * gram m Y i j + b * gram d X i j
          - (f * (G' i j * P) + k * (H' i j * Q) + b * (G' i j * T)))
      <= (Rabs f + slack) * gamma (g + 4) u * sG + gamma (h + 3) u * sH).
  { intros r1 r2 r3 P Q T b H1 H2 H3 FP FQ FT Hb.
    pose proof (TG r1 P H1 FP) as BP. pose proof (TH r2 Q H2 FQ) as BQ.
    pose proof (TG r3 T H3 FT) as BT.
    replace (f * gram d X i j + k * gram m Y i j + b * gram d X i j
          - (f * (G' i j * P) + k * (H' i j * Q) + b * (G' i j * T)))
      with (- (f * (G' i j * P - gram d X i j) + k * (H' i j * Q - gram m Y i j)
               + b * (G' i j * T - gram d X i j))) by ring.
    rewrite Rabs_Ropp. eapply Rle_trans; [apply Rabs_triang |].
    eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |].
    rewrite !Rabs_mult, Hk, (Rabs_right b) by lra.
    assert (Rabs f * Rabs (G' i j * P - gram d X i j) <= Rabs f * (gamma (g + 4) u * sG))
      by (apply Rmult_le_compat_l; [apply Rabs_pos | auto]).
    assert (b * Rabs (G' i j * T - gram d X i j) <= slack * (gamma (g + 4) u * sG))
      by (apply Rmult_le_compat; auto; [lra | apply Rabs_pos | lra]).
    lra. }
  destruct HA as [Off Diag]. unfold sandwich_form, identity. destruct (Nat.eqb_spec i j) as [<- | Hne].
  - destruct (Diag i Hi) as (p & q & t & v & (d1 & D1 & ->) & (d2 & D2 & ->) & (d3 & D3 & ->)
      & (d4 & D4 & ->) & (d5 & D5 & E)).
    set (v := (_ + slack * G' i i * (1 + d3)) * (1 + d4)) in *.
    (* the last rounding as one of v, for 0 <= v - c <= v *)
    assert (V : 0 < v - c).
    { pose proof (Hpos i Hi) as P. rewrite E in P. apply Rabs_bounds in D5. nra. }
    set (d6 := d5 * ((v - c) / v)).
    assert (D6 : Rabs d6 <= u).
    { unfold d6. rewrite Rabs_mult. assert (0 <= (v - c) / v <= 1).
      { split; [apply le_div; lra | apply div_le; lra]. }
      rewrite (Rabs_right ((v - c) / v)) by lra. pose proof (Rabs_pos d5). nra. }
    assert (EA : A i i = v * (1 + d6) - c) by (rewrite E; unfold d6; field; lra).
    rewrite EA, Rmult_1_l.
    replace (f * gram d X i i + k * gram m Y i i + slack * gram d X i i - c * 1 - (v * (1 + d6) - c))
      with (f * gram d X i i + k * gram m Y i i + slack * gram d X i i
            - (f * (G' i i * ((1 + d1) * (1 + d2) * (1 + d4) * (1 + d6)))
               + k * (H' i i * ((1 + d2) * (1 + d4) * (1 + d6)))
               + slack * (G' i i * ((1 + d3) * (1 + d4) * (1 + d6))))) by (unfold v; ring).
    apply (Sum 4%nat 3%nat 3%nat); try lia; try lra;
      repeat apply factors_S; try apply factors_1; auto; lra.
  - destruct (Off i j Hi Hj Hne) as (p & (d1 & D1 & ->) & (d2 & D2 & ->)).
    replace (f * gram d X i j + k * gram m Y i j + slack * (0 * gram d X i j) - c * 0
             - (f * G' i j * (1 + d1) + k * H' i j) * (1 + d2))
      with (f * gram d X i j + k * gram m Y i j + 0 * gram d X i j
            - (f * (G' i j * ((1 + d1) * (1 + d2))) + k * (H' i j * (1 + d2))
               + 0 * (G' i j * (1 + d2)))) by ring.
    apply (Sum 2%nat 1%nat 1%nat); try lia; try lra;
      repeat apply factors_S; try apply factors_1; auto; lra.
Qed.

(** * P3.certificate *)

Lemma certificate_shift_form f slack g h n u tG tH tA : 
  INR (g + 4) * u < 1 / 2 -> INR (h + 3) * u < 1 / 2 -> INR (n + 1) * u < 1 / 2 ->
  b_certificate_shift f slack g h n u tG tH tA
    = (f + slack) * (INR (g + 4) * u / (1 - 2 * (INR (g + 4) * u)) * tG)
      + INR (h + 3) * u / (1 - 2 * (INR (h + 3) * u)) * tH + b_cholesky_residual n u * tA.
Proof.
  intros Hg Hh Hn. unfold b_certificate_shift, b_cholesky_residual.
  rewrite !plus_INR in *. simpl (INR 1) in *. simpl (INR 3) in *. simpl (INR 4) in *.
  field. repeat split; lra.
Qed.

(** However G, H, their difference and L were summed: a shift c with which the factorisation runs to
    completion exceeds the least eigenvalue of f G + k H + slack diag (G) by at most the bound. *)
Lemma certificate_shift u g h n d m X Y G' H' A L f k slack c x :
  0 <= u < 1 -> INR (g + 4) * u < 1 / 2 -> INR (h + 3) * u < 1 / 2 -> INR (n + 1) * u < 1 / 2 ->
  Rabs k = 1 -> 0 <= slack -> 0 <= c ->
  computed_gram u g n d X G' -> computed_gram u h n m Y H' ->
  assembled u n f k slack c G' H' A -> symmetric A -> cholesky u n A L ->
  (c - b_certificate_shift (Rabs f) slack g h n u (trace n G') (trace n H') (trace n A))
      * length_squared n x
    <= quad n (sandwich_form f k slack (gram d X) (gram m Y)) x.
Proof.
  intros Hu Hg Hh Hn Hk Hs Hc HG HH HA SA C.
  assert (Diag : forall l, (l < n)%nat -> 0 < A l l).
  { intros l Hl. pose proof (cholesky_diagonal u n A L l Hu Hn C Hl) as B.
    destruct (gamma_below_1 (n + 1) u ltac:(lra) Hn) as [_ G1].
    destruct (pivot _ _ _ _ C l Hl) as [P _].
    assert (L l l * L l l <= gram n L l l)
      by (apply (fsum_term n (fun c => L l c * L l c)); auto; intros; nra).
    assert (0 < L l l * L l l) by nra. nra. }
  assert (Q : 0 <= length_squared n x) by (apply fsum_nonneg; intros; apply pow2_ge_0).
  set (T := sandwich_form f k slack (gram d X) (gram m Y)).
  set (D := fun i j => T i j - c * identity i j - A i j).
  set (E := fun i j => A i j - gram n L i j).
  assert (Split : quad n T x
    = quad n (gram n L) x + c * length_squared n x + quad n E x + quad n D x).
  { rewrite <- quad_identity, <- quad_scale, <- !quad_plus. apply quad_ext.
    intros. unfold E, D. ring. }
  set (rG := fun i j => sqrt (gram d X i i) * sqrt (gram d X j j)).
  set (rH := fun i j => sqrt (gram m Y i i) * sqrt (gram m Y j j)).
  set (rA := fun i j => sqrt (A i i) * sqrt (A j j)).
  assert (BE : Rabs (quad n E x) <= b_cholesky_residual n u * trace n A * length_squared n x).
  { eapply Rle_trans; [apply (quad_abs n E (fun i j => b_cholesky_residual n u * rA i j)) |].
    - intros i j Hi Hj. apply p3_cholesky_residual; auto.
    - rewrite quad_scale, Rmult_assoc. apply Rmult_le_compat_l.
      + rewrite cholesky_residual_form by auto.
        destruct (gamma_below_1 (n + 1) u ltac:(lra) Hn) as [G0 G1]. apply le_div; lra.
      + apply quad_roots. intros l Hl. left. auto. }
  assert (BD : Rabs (quad n D x) <= ((Rabs f + slack) * (gamma (g + 4) u * trace n (gram d X))
    + gamma (h + 3) u * trace n (gram m Y)) * length_squared n x).
  { eapply Rle_trans; [apply (quad_abs n D (fun i j =>
      (Rabs f + slack) * gamma (g + 4) u * rG i j + gamma (h + 3) u * rH i j)) |].
    - intros i j Hi Hj. unfold D, T, rG, rH. apply (assembled_error u g h n d m X Y G' H'); auto.
    - rewrite (quad_plus n (fun i j => (Rabs f + slack) * gamma (g + 4) u * rG i j)), !quad_scale.
      pose proof (quad_roots n (fun i => gram d X i i) x ltac:(intros; apply gram_diagonal)) as P1.
      pose proof (quad_roots n (fun i => gram m Y i i) x ltac:(intros; apply gram_diagonal)) as P2.
      fold rG in P1. fold rH in P2. fold (trace n (gram d X)) in P1. fold (trace n (gram m Y)) in P2.
      destruct (gamma_below_1 (g + 4) u ltac:(lra) Hg) as [G0 _].
      destruct (gamma_below_1 (h + 3) u ltac:(lra) Hh) as [H0 _].
      assert (0 <= (Rabs f + slack) * gamma (g + 4) u)
        by (apply Rmult_le_pos; auto; pose proof (Rabs_pos f); lra).
      apply Rle_trans with ((Rabs f + slack) * gamma (g + 4) u
          * (trace n (gram d X) * length_squared n x)
        + gamma (h + 3) u * (trace n (gram m Y) * length_squared n x)); [| right; ring].
      apply Rplus_le_compat; apply Rmult_le_compat_l; auto. }
  rewrite certificate_shift_form by auto.
  pose proof (trace_error u g (g + 4) n d X G' ltac:(lra) Hg ltac:(lia) HG) as TG.
  pose proof (trace_error u h (h + 3) n m Y H' ltac:(lra) Hh ltac:(lia) HH) as TH.
  assert (TG' : (Rabs f + slack) * (gamma (g + 4) u * trace n (gram d X))
    <= (Rabs f + slack) * (INR (g + 4) * u / (1 - 2 * (INR (g + 4) * u)) * trace n G'))
    by (apply Rmult_le_compat_l; auto; pose proof (Rabs_pos f); lra).
  pose proof (Rmult_le_compat_r _ _ _ Q (Rplus_le_compat _ _ _ _ TG' TH)) as S.
  pose proof (quad_gram_nonneg n n L x) as P.
  apply Rabs_bounds in BE, BD. rewrite Split. lra.
Qed.

Theorem p3_certificate_shift u g h n d m X Y G' H' A L f k slack c x :
  0 <= u < 1 -> INR (g + 4) * u < 1 / 2 -> INR (h + 3) * u < 1 / 2 -> INR (n + 1) * u < 1 / 2 ->
  Rabs k = 1 -> 0 <= slack -> 0 <= c ->
  computed_gram u g n d X G' -> computed_gram u h n m Y H' ->
  assembled u n f k slack c G' H' A -> symmetric A -> cholesky u n A L ->
  c * length_squared n x - quad n (sandwich_form f k slack (gram d X) (gram m Y)) x
    <= b_certificate_shift (Rabs f) slack g h n u (trace n G') (trace n H') (trace n A)
       * length_squared n x.
Proof.
  intros Hu Hg Hh Hn Hk Hs Hc HG HH HA SA C.
  pose proof (certificate_shift u g h n d m X Y G' H' A L f k slack c x Hu Hg Hh Hn Hk Hs Hc
    HG HH HA SA C). lra.
Qed.

(** (1 - eps) G - slack diag (G) <= H <= (1 + eps) G + slack diag (G) *)
Definition loewner_up_to (n : nat) (G H : nat -> nat -> R) (eps slack : R) : Prop := forall x,
  let more := slack * quad n (fun i j => identity i j * G i j) x in
  (1 - eps) * quad n G x - more <= quad n H x <= (1 + eps) * quad n G x + more.

(** Two factorisations prove the sandwich; their factors may be rounded inward. *)
Theorem p3_certificate u g h n d m X Y G' H' A L A' L' f f' slack c c' eps :
  0 <= u < 1 -> INR (g + 4) * u < 1 / 2 -> INR (h + 3) * u < 1 / 2 -> INR (n + 1) * u < 1 / 2 ->
  f <= 1 + eps -> 1 - eps <= f' -> 0 <= slack -> 0 <= c -> 0 <= c' ->
  computed_gram u g n d X G' -> computed_gram u h n m Y H' ->
  assembled u n f (-1) slack c G' H' A -> symmetric A -> cholesky u n A L ->
  assembled u n (- f') 1 slack c' G' H' A' -> symmetric A' -> cholesky u n A' L' ->
  b_certificate_shift (Rabs f) slack g h n u (trace n G') (trace n H') (trace n A) <= c ->
  b_certificate_shift (Rabs f') slack g h n u (trace n G') (trace n H') (trace n A') <= c' ->
  loewner_up_to n (gram d X) (gram m Y) eps slack.
Proof.
  intros Hu Hg Hh Hn Hf Hf' Hs H0c H0c' HG HH HA SA C HA' SA' C' Hc Hc' x more.
  assert (Q : 0 <= length_squared n x) by (apply fsum_nonneg; intros; apply pow2_ge_0).
  pose proof (certificate_shift u g h n d m X Y G' H' A L f (-1) slack c x Hu Hg Hh Hn
    ltac:(rewrite Rabs_left; lra) Hs H0c HG HH HA SA C) as U.
  pose proof (certificate_shift u g h n d m X Y G' H' A' L' (- f') 1 slack c' x Hu Hg Hh Hn
    Rabs_R1 Hs H0c' HG HH HA' SA' C') as W.
  rewrite Rabs_Ropp in W.
  assert (Form : forall a b, quad n (sandwich_form a b slack (gram d X) (gram m Y)) x
    = a * quad n (gram d X) x + b * quad n (gram m Y) x + more).
  { intros a b. unfold more. rewrite <- !quad_scale, <- !quad_plus. reflexivity. }
  rewrite Form in U, W.
  set (bU := b_certificate_shift (Rabs f) _ _ _ _ _ _ _ _) in *.
  set (bW := b_certificate_shift (Rabs f') _ _ _ _ _ _ _ _) in *.
  assert (0 <= (c - bU) * length_squared n x) by (apply Rmult_le_pos; lra).
  assert (0 <= (c' - bW) * length_squared n x) by (apply Rmult_le_pos; lra).
  pose proof (quad_gram_nonneg n d X x). nra.
Qed.

(** What the sandwich with slack says of the entries. *)
Theorem p3_certificate_difference n d m X Y eps slack i j : 0 <= eps -> 0 <= slack ->
  loewner_up_to n (gram d X) (gram m Y) eps slack -> (i < n)%nat -> (j < n)%nat ->
  Rabs (gram m Y i j - gram d X i j) <= (eps + slack) * sqrt (gram d X i i * gram d X j j).
Proof.
  intros He Hs S Hi Hj. pose proof (gram_diagonal d X i) as Gi. pose proof (gram_diagonal d X j) as Gj.
  set (e := eps + slack).
  assert (D : (gram m Y i j - gram d X i j) * (gram m Y i j - gram d X i j)
    <= (e * gram d X i i) * (e * gram d X j j)).
  { replace ((gram m Y i j - gram d X i j) * (gram m Y i j - gram d X i j))
      with ((- (gram m Y i j - gram d X i j)) * (- (gram m Y i j - gram d X i j))) by ring.
    apply discriminant. intros s t.
    pose proof (S (two_points i j s t)) as P. pose proof (S (two_points i j s (- t))) as M.
    cbv zeta in P, M. rewrite !quad_two_points in P, M by auto.
    rewrite (gram_sym d X j i), (gram_sym m Y j i) in P, M. unfold identity in P, M.
    rewrite !Nat.eqb_refl, (Nat.eqb_sym j i) in P, M. unfold e. destruct (Nat.eqb i j); nra. }
  rewrite <- (sqrt_Rsqr e) by (unfold e; lra). rewrite <- sqrt_mult by (unfold Rsqr; nra).
  rewrite <- sqrt_Rsqr_abs. apply sqrt_le_1_alt. unfold Rsqr in *. nra.
Qed.

(** Without slack it is the hypothesis of P3.loewner. *)
Theorem p3_certificate_without_slack n G H eps : loewner_up_to n G H eps 0 -> loewner n G H eps.
Proof. intros S x. specialize (S x). cbv zeta in S. lra. Qed.

(** * P3.entries *)

Lemma sqrt_product_le a b M : 0 <= a <= M -> 0 <= b <= M -> sqrt a * sqrt b <= M.
Proof.
  intros Ha Hb. rewrite <- (sqrt_sqrt M) by lra.
  apply Rmult_le_compat; try apply sqrt_pos; apply sqrt_le_1_alt; lra.
Qed.

(** A squared length, from the computed one. *)
Lemma diagonal_below u g n d X G' M i : 0 <= u -> INR g * u < 1 / 2 -> computed_gram u g n d X G' ->
  (i < n)%nat -> G' i i <= M -> 0 <= gram d X i i <= M / (1 - gamma g u).
Proof.
  intros Hu Hg H Hi HM. split; [apply gram_diagonal |].
  destruct (gamma_below_1 g u Hu Hg). apply le_div; [lra |].
  pose proof (computed_diagonal u g n d X G' i Hu Hg H Hi). lra.
Qed.

Theorem p3_largest_logit u g n d X G' M i j : 0 <= u -> INR g * u < 1 / 2 ->
  computed_gram u g n d X G' -> (i < n)%nat -> (j < n)%nat -> G' i i <= M -> G' j j <= M ->
  Rabs (gram d X i j) <= b_largest_logit M g u.
Proof.
  intros Hu Hg H Hi Hj Mi Mj.
  replace (b_largest_logit M g u) with (M / (1 - gamma g u))
    by (unfold b_largest_logit, gamma; field; split; lra).
  eapply Rle_trans; [apply gram_roots |].
  apply sqrt_product_le; apply (diagonal_below u g n d X G'); auto.
Qed.

(** The exact difference, from the computed one and the roundings of both matrices. *)
Lemma difference_error u g h n d m X Y G' H' i j : 0 <= u -> INR g * u < 1 / 2 -> INR h * u < 1 / 2 ->
  computed_gram u g n d X G' -> computed_gram u h n m Y H' -> (i < n)%nat -> (j < n)%nat ->
  Rabs (gram m Y i j - gram d X i j) <= Rabs (H' i j - G' i j)
    + gamma g u * (sqrt (gram d X i i) * sqrt (gram d X j j))
    + gamma h u * (sqrt (gram m Y i i) * sqrt (gram m Y j j)).
Proof.
  intros Hu Hg Hh HG HH Hi Hj.
  pose proof (computed_gram_error u g n d X G' i j Hu ltac:(lra) HG Hi Hj) as EG.
  pose proof (computed_gram_error u h n m Y H' i j Hu ltac:(lra) HH Hi Hj) as EH.
  replace (gram m Y i j - gram d X i j)
    with ((H' i j - G' i j) + (G' i j - gram d X i j) + - (H' i j - gram m Y i j)) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp.
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |]. lra.
Qed.

(** A rounded result, divided by 1 - u, is as large as the exact one. *)
Lemma rounds_below u x y : 0 <= u < 1 -> rounds u x y -> Rabs x * (1 - u) <= Rabs y.
Proof.
  intros Hu [d [Hd ->]]. apply Rabs_bounds in Hd. rewrite Rabs_mult, (Rabs_right (1 + d)) by lra.
  apply Rmult_le_compat_l; [apply Rabs_pos | lra].
Qed.

Theorem p3_logit_difference u g h n d m X Y G' H' M N D e i j :
  0 <= u < 1 -> INR g * u < 1 / 2 -> INR h * u < 1 / 2 ->
  computed_gram u g n d X G' -> computed_gram u h n m Y H' -> (i < n)%nat -> (j < n)%nat ->
  G' i i <= M -> G' j j <= M -> H' i i <= N -> H' j j <= N ->
  rounds u (H' i j - G' i j) e -> Rabs e <= D ->
  Rabs (gram m Y i j - gram d X i j) <= b_logit_difference D M N g h u.
Proof.
  intros Hu Hg Hh HG HH Hi Hj Mi Mj Ni Nj He HD.
  pose proof (difference_error u g h n d m X Y G' H' i j ltac:(lra) Hg Hh HG HH Hi Hj) as E.
  pose proof (rounds_below u _ _ Hu He) as B.
  destruct (gamma_below_1 g u ltac:(lra) Hg) as [G0 G1].
  destruct (gamma_below_1 h u ltac:(lra) Hh) as [H0 H1].
  assert (PG : sqrt (gram d X i i) * sqrt (gram d X j j) <= M / (1 - gamma g u))
    by (apply sqrt_product_le; apply (diagonal_below u g n d X G'); auto; lra).
  assert (PH : sqrt (gram m Y i i) * sqrt (gram m Y j j) <= N / (1 - gamma h u))
    by (apply sqrt_product_le; apply (diagonal_below u h n m Y H'); auto; lra).
  replace (b_logit_difference D M N g h u)
    with (D / (1 - u) + gamma g u * (M / (1 - gamma g u)) + gamma h u * (N / (1 - gamma h u)))
    by (unfold b_logit_difference, gamma; field; repeat split; lra).
  assert (Rabs (H' i j - G' i j) <= D / (1 - u)) by (apply le_div; lra).
  apply (Rmult_le_compat_l _ _ _ G0) in PG. apply (Rmult_le_compat_l _ _ _ H0) in PH. lra.
Qed.

(** A computed length is at most this much above the exact one. *)
Lemma length_above u g n d X G' l i : 0 <= u -> INR g * u < 1 -> computed_gram u g n d X G' ->
  (i < n)%nat -> rounds u (sqrt (G' i i)) l ->
  l <= sqrt (1 + gamma g u) * sqrt (gram d X i i) * (1 + u).
Proof.
  intros Hu Hg H Hi [e [He ->]]. pose proof (gamma_nonneg g u Hu Hg).
  pose proof (computed_gram_error u g n d X G' i i Hu Hg H Hi Hi) as E.
  rewrite sqrt_sqrt in E by apply gram_diagonal. apply Rabs_bounds in E. apply Rabs_bounds in He.
  assert (S : sqrt (G' i i) <= sqrt (1 + gamma g u) * sqrt (gram d X i i)).
  { rewrite <- sqrt_mult by (try apply gram_diagonal; lra). apply sqrt_le_1_alt. lra. }
  pose proof (sqrt_pos (G' i i)). nra.
Qed.

(** The difference relative to the lengths: root, root, difference, quotient, quotient. *)
Theorem p3_entry_difference u g h n d m X Y G' H' li lj e q z D ratio ri rj i j :
  0 <= u < 1 -> INR (g + 5) * u < 1 / 2 -> INR h * u < 1 / 2 ->
  computed_gram u g n d X G' -> computed_gram u h n m Y H' -> (i < n)%nat -> (j < n)%nat ->
  0 < gram d X i i -> 0 < gram d X j j ->
  rounds u (sqrt (G' i i)) li -> rounds u (sqrt (G' j j)) lj -> 0 < li -> 0 < lj ->
  rounds u (H' i j - G' i j) e -> rounds u (Rabs e / li) q -> rounds u (q / lj) z -> Rabs z <= D ->
  rounds u (H' i i / G' i i) ri -> rounds u (H' j j / G' j j) rj ->
  Rabs ri <= ratio -> Rabs rj <= ratio ->
  Rabs (gram m Y i j - gram d X i j)
    <= b_entry_difference D ratio g h u * (sqrt (gram d X i i) * sqrt (gram d X j j)).
Proof.
  intros Hu Hg5 Hh HG HH Hi Hj Gi Gj Li Lj Pi Pj He Hq Hz HD Ri Rj Hri Hrj.
  assert (Hg : INR g * u < 1 / 2 - 5 * u) by (rewrite plus_INR in Hg5; simpl in Hg5; lra).
  assert (Hu' : u < 1 / 2) by (pose proof (pos_INR g); nra).
  assert (Hgu : 0 <= INR g * u) by (apply Rmult_le_pos; [apply pos_INR | lra]).
  assert (Hhu : 0 <= INR h * u) by (apply Rmult_le_pos; [apply pos_INR | lra]).
  pose proof (difference_error u g h n d m X Y G' H' i j ltac:(lra) ltac:(lra) Hh HG HH Hi Hj) as E.
  destruct (gamma_below_1 g u ltac:(lra) ltac:(lra)) as [G0 G1].
  destruct (gamma_below_1 h u ltac:(lra) Hh) as [H0 H1].
  set (si := sqrt (gram d X i i)) in *. set (sj := sqrt (gram d X j j)) in *.
  assert (Si : 0 < si) by (apply sqrt_lt_R0; auto). assert (Sj : 0 < sj) by (apply sqrt_lt_R0; auto).
  (* the computed difference *)
  assert (A : Rabs (H' i j - G' i j) <= D / (1 - u * (5 + INR g)) * (si * sj)).
  { pose proof (length_above u g n d X G' li i ltac:(lra) ltac:(lra) HG Hi Li) as Ui. fold si in Ui.
    pose proof (length_above u g n d X G' lj j ltac:(lra) ltac:(lra) HG Hj Lj) as Uj. fold sj in Uj.
    pose proof (rounds_below u _ _ Hu He) as Be. pose proof (rounds_below u _ _ Hu Hq) as Bq.
    pose proof (rounds_below u _ _ Hu Hz) as Bz.
    rewrite Rabs_div_pos, Rabs_Rabsolu in Bq by auto. rewrite Rabs_div_pos in Bz by auto.
    set (x := Rabs (H' i j - G' i j)) in *. assert (Hx : 0 <= x) by apply Rabs_pos.
    assert (B : x * (1 - u) ^ 3 <= D * (li * lj)).
    { apply Rle_trans with (Rabs q * (1 - u) * li).
      - assert (Rabs e * (1 - u) <= Rabs q * li).
        { apply Rmult_le_reg_r with (/ li); [apply Rinv_0_lt_compat; auto |].
          replace (Rabs q * li * / li) with (Rabs q) by (field; lra).
          replace (Rabs e * (1 - u) * / li) with (Rabs e / li * (1 - u)) by (field; lra). lra. }
        assert (x * (1 - u) * (1 - u) <= Rabs e * (1 - u)) by (apply Rmult_le_compat_r; lra).
        replace (x * (1 - u) ^ 3) with (x * (1 - u) * (1 - u) * (1 - u)) by ring.
        replace (Rabs q * (1 - u) * li) with (Rabs q * li * (1 - u)) by ring.
        apply Rmult_le_compat_r; lra.
      - assert (Rabs q * (1 - u) <= D * lj).
        { apply Rmult_le_reg_r with (/ lj); [apply Rinv_0_lt_compat; auto |].
          replace (D * lj * / lj) with D by (field; lra).
          replace (Rabs q * (1 - u) * / lj) with (Rabs q / lj * (1 - u)) by (field; lra). lra. }
        replace (D * (li * lj)) with (D * lj * li) by ring. apply Rmult_le_compat_r; lra. }
    assert (HD0 : 0 <= D) by (pose proof (Rabs_pos z); lra).
    pose proof (sqrt_sqrt (1 + gamma g u) ltac:(lra)) as SS.
    pose proof (sqrt_pos (1 + gamma g u)) as SP. set (r := sqrt (1 + gamma g u)) in *.
    assert (L : li * lj <= (1 + gamma g u) * (1 + u) ^ 2 * (si * sj)).
    { apply Rle_trans with ((r * si * (1 + u)) * (r * sj * (1 + u)));
        [apply Rmult_le_compat; lra |]. rewrite <- SS. right. ring. }
    apply Rmult_le_reg_r with ((1 - u) ^ 3); [apply pow_lt; lra |].
    eapply Rle_trans; [exact B |].
    apply Rle_trans with (D * ((1 + gamma g u) * (1 + u) ^ 2 * (si * sj)));
      [apply Rmult_le_compat_l; auto |].
    replace (D / (1 - u * (5 + INR g)) * (si * sj) * (1 - u) ^ 3)
      with (D * ((1 - u) ^ 3 / (1 - u * (5 + INR g)) * (si * sj))) by (field; lra).
    apply Rmult_le_compat_l; auto. apply Rmult_le_compat_r; [nra |].
    apply le_div; [lra |]. rewrite gamma_plus_1 by lra.
    (* (1 + u)^2 (1 - (g + 5) u) <= (1 - u)^3 (1 - g u) *)
    apply Rmult_le_reg_l with (1 - INR g * u); [lra |].
    replace ((1 - INR g * u) * (/ (1 - INR g * u) * (1 + u) ^ 2 * (1 - u * (5 + INR g))))
      with ((1 + u) ^ 2 * (1 - INR g * u - 5 * u)) by (field; lra).
    set (y := INR g * u) in *.
    assert (P2 : (1 + u) ^ 2 * (1 - 5 * u) <= (1 - u) ^ 3) by nra.
    assert (P1 : (1 - u) ^ 3 <= (1 + u) ^ 2) by nra. nra. }
  (* the roundings of H, by the ratio of the squared lengths *)
  assert (Hlen : forall l r, (l < n)%nat -> 0 < gram d X l l -> rounds u (H' l l / G' l l) r ->
    Rabs r <= ratio ->
    sqrt (gram m Y l l) <= sqrt (ratio / ((1 - u * (1 + INR g)) * (1 - gamma h u))) * sqrt (gram d X l l)).
  { intros l r Hl Gl Hr Br. pose proof (rounds_below u _ _ Hu Hr) as B.
    pose proof (computed_diagonal u g n d X G' l ltac:(lra) ltac:(lra) HG Hl) as Low.
    pose proof (computed_gram_error u g n d X G' l l ltac:(lra) ltac:(lra) HG Hl Hl) as Up.
    rewrite sqrt_sqrt in Up by apply gram_diagonal. apply Rabs_bounds in Up.
    pose proof (computed_diagonal u h n m Y H' l ltac:(lra) Hh HH Hl) as LowH.
    pose proof (gram_diagonal m Y l) as YP.
    assert (G'p : 0 < G' l l) by nra. assert (H'p : 0 <= H' l l) by nra.
    assert (Rr : H' l l * (1 - u) <= ratio * G' l l).
    { rewrite Rabs_div_pos, (Rabs_right (H' l l)) in B by lra.
      apply Rmult_le_reg_r with (/ G' l l); [apply Rinv_0_lt_compat; auto |].
      replace (ratio * G' l l * / G' l l) with ratio by (field; lra).
      replace (H' l l * (1 - u) * / G' l l) with (H' l l / G' l l * (1 - u)) by (field; lra). lra. }
    assert (HR : 0 <= ratio) by (pose proof (Rabs_pos r); lra).
    assert (Den : 0 < (1 - u * (1 + INR g)) * (1 - gamma h u)) by (apply Rmult_lt_0_compat; lra).
    rewrite <- sqrt_mult by (try lra; apply le_div; lra). apply sqrt_le_1_alt.
    replace (ratio / ((1 - u * (1 + INR g)) * (1 - gamma h u)) * gram d X l l)
      with (ratio * gram d X l l / ((1 - u * (1 + INR g)) * (1 - gamma h u))) by (field; lra).
    apply le_div; auto.
    assert (K1 : gram m Y l l * (1 - gamma h u) * (1 - u) <= ratio * ((1 + gamma g u) * gram d X l l)).
    { apply Rle_trans with (H' l l * (1 - u)); [apply Rmult_le_compat_r; lra |].
      eapply Rle_trans; [exact Rr |]. apply Rmult_le_compat_l; lra. }
    rewrite gamma_plus_1 in K1 by lra.
    apply (Rmult_le_compat_r (1 - INR g * u)) in K1; [| lra].
    replace (ratio * (/ (1 - INR g * u) * gram d X l l) * (1 - INR g * u))
      with (ratio * gram d X l l) in K1 by (field; lra).
    assert (K2 : 1 - u * (1 + INR g) <= (1 - u) * (1 - INR g * u)) by nra.
    assert (0 <= gram m Y l l * (1 - gamma h u)) by (apply Rmult_le_pos; lra). nra. }
  pose proof (Hlen i ri Hi Gi Ri Hri) as Yi. pose proof (Hlen j rj Hj Gj Rj Hrj) as Yj.
  fold si in Yi. fold sj in Yj.
  set (c := ratio / ((1 - u * (1 + INR g)) * (1 - gamma h u))) in *.
  assert (HR : 0 <= ratio) by (pose proof (Rabs_pos ri); lra).
  assert (C0 : 0 <= c) by (apply le_div; [apply Rmult_lt_0_compat |]; lra).
  assert (YY : sqrt (gram m Y i i) * sqrt (gram m Y j j) <= c * (si * sj)).
  { rewrite <- (sqrt_sqrt c C0).
    replace (sqrt c * sqrt c * (si * sj)) with ((sqrt c * si) * (sqrt c * sj)) by ring.
    apply Rmult_le_compat; try apply sqrt_pos; auto. }
  apply (Rmult_le_compat_l _ _ _ H0) in YY.
  replace (b_entry_difference D ratio g h u)
    with (D / (1 - u * (5 + INR g)) + gamma g u + gamma h u * c)
    by (unfold b_entry_difference, c, gamma; field; repeat split; lra).
  lra.
Qed.
