(** Projections by random signs keep every entry of a Gram matrix (claim P3.jl).

    S has m columns of independent signs, Y = X S / sqrt m.  Steps: (1) the mean of exp (h (a + Q)^2), Q = x . s, is
    at most exp (h a^2 / (1 - 2 h |x|^2)) / sqrt (1 - 2 h |x|^2): one sign after the other, as cosh z <= exp (z^2 / 2)
    and 1 - y <= exp (- y); (2) the mean of Q^4 is at most 3 |x|^4, and exp (- u) <= 1 - u + u^2 / 2; (3) so with
    Chernoff's bound |S^T x|^2 / m leaves 1 +- eps, |x| = 1, with a probability of at most
    2 exp (- m (eps^2 / 4 - eps^3 / 6)); (4) the entries follow from the lengths of n^2 vectors, the rows and
    their sums and differences, all scaled to length 1. *)

Require Import Reals Lra Lia List.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Derivatives Probability Independence.
From Attest.Sparsification Require Import Sparsification.
Import ListNotations.
Open Scope R_scope.

(** * Projections *)

(** All lists of d signs, and all lists of m such lists. *)
Definition sign_vectors (d : nat) : list (list R) := tuples d [1; -1].
Definition projections (d m : nat) : list (list (list R)) := tuples m (sign_vectors d).

(** x . s *)
Fixpoint signed (x : nat -> R) (s : list R) : R :=
  match s with
  | [] => 0
  | sign :: s => sign * x 0%nat + signed (fun c => x (S c)) s
  end.

(** Y = X S / sqrt m. *)
Definition projected (m : nat) (X : nat -> nat -> R) (l : list (list R)) (i t : nat) : R :=
  signed (X i) (nth t l []) / sqrt (INR m).

(** * Inequalities between functions *)

Lemma sinh_nonneg z : 0 <= z -> 0 <= exp z - exp (- z).
Proof. intros H. pose proof (exp_le (- z) z). lra. Qed.

Lemma sinh_le z : 0 <= z -> exp z - exp (- z) <= z * (exp z + exp (- z)).
Proof.
  intros Hz. enough (0 <= z * (exp z + exp (- z)) - (exp z - exp (- z))) by lra.
  apply (nonneg_from_0 (fun z => z * (exp z + exp (- z)) - (exp z - exp (- z)))
    (fun z => z * (exp z - exp (- z)))); auto.
  - rewrite Ropp_0, exp_0. ring.
  - intros x. auto_derive; auto. ring.
  - intros x Hx. apply Rmult_le_pos; auto. apply sinh_nonneg. auto.
Qed.

Lemma cosh_le z : (exp z + exp (- z)) / 2 <= exp (z ^ 2 / 2).
Proof.
  assert (H : forall x, 0 <= x -> (exp x + exp (- x)) / 2 <= exp (x ^ 2 / 2)).
  { intros x Hx.
    assert (0 <= 1 - (exp x + exp (- x)) / 2 * exp (- (x ^ 2 / 2))).
    { apply (nonneg_from_0 (fun x => 1 - (exp x + exp (- x)) / 2 * exp (- (x ^ 2 / 2)))
        (fun x => (x * (exp x + exp (- x)) - (exp x - exp (- x))) / 2 * exp (- (x ^ 2 / 2)))); auto.
      - replace (- (0 ^ 2 / 2)) with 0 by field. rewrite Ropp_0, exp_0. field.
      - intros y. auto_derive; auto. unfold Rdiv. simpl. field.
      - intros y Hy. pose proof (sinh_le y Hy). apply Rmult_le_pos; [lra | left; apply exp_pos]. }
    pose proof (exp_opp_mult (x ^ 2 / 2)) as E. pose proof (exp_pos (x ^ 2 / 2)).
    pose proof (exp_pos (- (x ^ 2 / 2))). nra. }
  destruct (Rle_dec 0 z) as [| N]; [auto |]. specialize (H (- z) ltac:(lra)).
  rewrite Ropp_involutive in H. replace ((- z) ^ 2) with (z ^ 2) in H by ring. lra.
Qed.

Lemma one_plus_le e : 0 <= e -> 1 + e <= exp (e - e ^ 2 / 2 + e ^ 3 / 3).
Proof.
  intros He. set (p := fun e => e - e ^ 2 / 2 + e ^ 3 / 3).
  assert (D : forall x, is_derive p x (1 - x + x ^ 2))
    by (intros; unfold p; auto_derive; auto; simpl; field).
  assert (0 <= 1 - (1 + e) * exp (- p e)).
  { apply (nonneg_from_0 (fun e => 1 - (1 + e) * exp (- p e)) (fun e => e ^ 3 * exp (- p e))); auto.
    - unfold p. replace (- (0 - 0 ^ 2 / 2 + 0 ^ 3 / 3)) with 0 by field. rewrite exp_0. ring.
    - intros x. auto_derive; [exists (1 - x + x ^ 2); apply D |].
      change (fun y : R => p y) with p. rewrite (is_derive_unique p x _ (D x)). ring.
    - intros x Hx. apply Rmult_le_pos; [apply pow_le; auto | left; apply exp_pos]. }
  fold (p e). pose proof (exp_opp_mult (p e)). pose proof (exp_pos (p e)). nra.
Qed.

Lemma one_minus_le z : 0 <= z -> 1 - z <= exp (- (z + z ^ 2 / 2 + z ^ 3 / 3)).
Proof.
  intros Hz. set (q := fun z => z + z ^ 2 / 2 + z ^ 3 / 3).
  assert (D : forall x, is_derive q x (1 + x + x ^ 2))
    by (intros; unfold q; auto_derive; auto; simpl; field).
  assert (0 <= 1 - (1 - z) * exp (q z)).
  { apply (nonneg_from_0 (fun z => 1 - (1 - z) * exp (q z)) (fun z => z ^ 3 * exp (q z))); auto.
    - unfold q. replace (0 + 0 ^ 2 / 2 + 0 ^ 3 / 3) with 0 by field. rewrite exp_0. ring.
    - intros x. auto_derive; [exists (1 + x + x ^ 2); apply D |].
      change (fun y : R => q y) with q. rewrite (is_derive_unique q x _ (D x)). ring.
    - intros x Hx. apply Rmult_le_pos; [apply pow_le; auto | left; apply exp_pos]. }
  fold (q z). pose proof (exp_opp_mult (q z)). pose proof (exp_pos (- q z)). nra.
Qed.

(** * One column of signs *)

Lemma expect_signs f : expect [1; -1] f = (f 1 + f (-1)) / 2.
Proof. unfold expect, lsum. simpl. field. Qed.

Lemma signs_nonempty d : sign_vectors d <> [].
Proof. apply tuples_nonempty. discriminate. Qed.

(** The first sign apart. *)
Lemma expect_sign_vectors d f : expect (sign_vectors (S d)) f
  = (expect (sign_vectors d) (fun s => f (1 :: s)) + expect (sign_vectors d) (fun s => f (-1 :: s))) / 2.
Proof. unfold sign_vectors. rewrite expect_tuples by discriminate. apply expect_signs. Qed.

Definition total_energy (d : nat) (x : nat -> R) : R := fsum d (fun c => x c ^ 2).

Lemma energy_nonneg d x : 0 <= total_energy d x.
Proof. apply fsum_nonneg. intros. apply pow2_ge_0. Qed.

Lemma energy_S d x : total_energy (S d) x = x 0%nat ^ 2 + total_energy d (fun c => x (S c)).
Proof. unfold total_energy. now rewrite (fsum_skip d 0) by lia. Qed.

Lemma one_sign D h a x : 0 <= h -> 0 < D -> 2 * h * x ^ 2 < D ->
  (exp (h * (a + x) ^ 2 / D) / sqrt D + exp (h * (a - x) ^ 2 / D) / sqrt D) / 2
    <= exp (h * a ^ 2 / (D - 2 * h * x ^ 2)) / sqrt (D - 2 * h * x ^ 2).
Proof.
  intros Hh HD Hx. set (g := h / D). set (y := 2 * g * x ^ 2).
  assert (Hg : 0 <= g) by (apply Rmult_le_pos; [| left; apply Rinv_0_lt_compat]; auto).
  assert (Hy0 : 0 <= y) by (unfold y; pose proof (pow2_ge_0 x); nra).
  assert (Ey : D - 2 * h * x ^ 2 = D * (1 - y)) by (unfold y, g; field; lra).
  assert (Hy1 : y < 1) by (apply Rmult_lt_reg_l with D; nra).
  rewrite Ey, sqrt_mult by lra. pose proof (sqrt_lt_R0 D HD) as SD.
  assert (SY : 0 < sqrt (1 - y)) by (apply sqrt_lt_R0; lra).
  set (z := 2 * g * a * x).
  replace (h * (a + x) ^ 2 / D) with (g * a ^ 2 + y / 2 + z) by (unfold y, z, g; field; lra).
  replace (h * (a - x) ^ 2 / D) with (g * a ^ 2 + y / 2 + - z) by (unfold y, z, g; field; lra).
  replace (h * a ^ 2 / (D * (1 - y))) with (g * a ^ 2 / (1 - y)) by (unfold g; field; lra).
  rewrite (exp_plus _ z), (exp_plus _ (- z)).
  set (E := exp (g * a ^ 2 + y / 2)). pose proof (exp_pos (g * a ^ 2 + y / 2)) as PE. fold E in PE.
  replace ((E * exp z / sqrt D + E * exp (- z) / sqrt D) / 2)
    with (E * ((exp z + exp (- z)) / 2) / sqrt D) by (field; lra).
  apply Rle_trans with (E * exp (z ^ 2 / 2) / sqrt D).
  { apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; auto |].
    apply Rmult_le_compat_l; [lra | apply cosh_le]. }
  assert (Ez : z ^ 2 / 2 = g * a ^ 2 * y) by (unfold z, y; field).
  assert (G0 : 0 <= g * a ^ 2) by (apply Rmult_le_pos; [auto | apply pow2_ge_0]).
  assert (T1 : g * a ^ 2 + g * a ^ 2 * y <= g * a ^ 2 / (1 - y)).
  { apply le_div; [lra |]. assert (0 <= g * a ^ 2 * (y * y)) by (apply Rmult_le_pos; nra). nra. }
  assert (T2 : exp (y / 2) * sqrt (1 - y) <= 1).
  { apply square_le; [lra |]. rewrite Rpow_mult_distr, pow2_sqrt by lra.
    replace (exp (y / 2) ^ 2) with (exp y).
    - pose proof (exp_ineq1_le (- y)). pose proof (exp_opp_mult y). pose proof (exp_pos y). nra.
    - simpl. rewrite Rmult_1_r, <- exp_plus. f_equal. field. }
  unfold E. rewrite Ez, exp_plus.
  replace (exp (g * a ^ 2) * exp (y / 2) * exp (g * a ^ 2 * y) / sqrt D)
    with (exp (g * a ^ 2 + g * a ^ 2 * y) * (exp (y / 2) * sqrt (1 - y)) / (sqrt D * sqrt (1 - y)))
    by (rewrite exp_plus; field; lra).
  apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat, Rmult_lt_0_compat; auto |].
  apply Rle_trans with (exp (g * a ^ 2 + g * a ^ 2 * y) * 1).
  - apply Rmult_le_compat_l; [left; apply exp_pos | exact T2].
  - rewrite Rmult_1_r. apply exp_le. exact T1.
Qed.

Lemma upper_moment d x h a : 0 <= h -> 2 * h * total_energy d x < 1 ->
  expect (sign_vectors d) (fun s => exp (h * (a + signed x s) ^ 2))
    <= exp (h * a ^ 2 / (1 - 2 * h * total_energy d x)) / sqrt (1 - 2 * h * total_energy d x).
Proof.
  intros Hh. revert x a. induction d as [| d IH]; intros x a Hx.
  - unfold sign_vectors. rewrite expect_one. unfold total_energy. simpl fsum. simpl signed.
    rewrite Rmult_0_r, !Rminus_0_r, sqrt_1, Rplus_0_r. right. unfold Rdiv.
    now rewrite Rinv_1, !Rmult_1_r.
  - rewrite energy_S in *. set (v := total_energy d (fun c => x (S c))) in *.
    pose proof (energy_nonneg d (fun c => x (S c))) as Hv. fold v in Hv.
    pose proof (pow2_ge_0 (x 0%nat)) as H0.
    assert (Hv1 : 2 * h * v < 1) by nra.
    rewrite expect_sign_vectors. cbn [signed].
    pose proof (IH (fun c => x (S c)) (a + x 0%nat) Hv1) as A.
    pose proof (IH (fun c => x (S c)) (a - x 0%nat) Hv1) as B. fold v in A, B.
    pose proof (one_sign (1 - 2 * h * v) h a (x 0%nat) Hh ltac:(lra) ltac:(nra)) as O.
    replace (1 - 2 * h * (x 0%nat ^ 2 + v)) with (1 - 2 * h * v - 2 * h * x 0%nat ^ 2) by ring.
    eapply Rle_trans; [| exact O]. unfold Rdiv at 1 4. apply Rmult_le_compat_r; [lra |].
    apply Rplus_le_compat.
    + rewrite (expect_ext _ _ (fun s => exp (h * (a + x 0%nat + signed (fun c => x (S c)) s) ^ 2)));
        [exact A |]. intros s _. do 3 f_equal. ring.
    + rewrite (expect_ext _ _ (fun s => exp (h * (a - x 0%nat + signed (fun c => x (S c)) s) ^ 2)));
        [exact B |]. intros s _. do 3 f_equal. ring.
Qed.

Lemma second_moment d x : expect (sign_vectors d) (fun s => signed x s ^ 2) = total_energy d x.
Proof.
  revert x. induction d as [| d IH]; intros x.
  - unfold sign_vectors. rewrite expect_one. unfold total_energy. simpl. ring.
  - rewrite expect_sign_vectors, energy_S, <- (IH (fun c => x (S c))).
    unfold Rdiv. rewrite <- expect_plus.
    rewrite (expect_ext _ _ (fun s => 2 * (signed (fun c => x (S c)) s ^ 2) + 2 * x 0%nat ^ 2))
      by (intros s _; cbn [signed]; ring).
    rewrite expect_plus, expect_scale, expect_const by apply signs_nonempty. field.
Qed.

Lemma fourth_moment d x : expect (sign_vectors d) (fun s => signed x s ^ 4) <= 3 * total_energy d x ^ 2.
Proof.
  revert x. induction d as [| d IH]; intros x.
  - unfold sign_vectors. rewrite expect_one. unfold total_energy. simpl. lra.
  - rewrite expect_sign_vectors, energy_S. unfold Rdiv. rewrite <- expect_plus.
    rewrite (expect_ext _ _ (fun s => 2 * (signed (fun c => x (S c)) s ^ 4)
      + (12 * x 0%nat ^ 2 * (signed (fun c => x (S c)) s ^ 2) + 2 * x 0%nat ^ 4)))
      by (intros s _; cbn [signed]; ring).
    rewrite !expect_plus, !expect_scale, expect_const, second_moment by apply signs_nonempty.
    specialize (IH (fun c => x (S c))). pose proof (pow2_ge_0 (x 0%nat)).
    pose proof (energy_nonneg d (fun c => x (S c))).
    replace (x 0%nat ^ 4) with ((x 0%nat ^ 2) ^ 2) by ring. nra.
Qed.

Lemma lower_moment d x h : 0 <= h -> total_energy d x = 1 ->
  expect (sign_vectors d) (fun s => exp (- (h * signed x s ^ 2))) <= 1 - h + 3 / 2 * h ^ 2.
Proof.
  intros Hh E.
  apply Rle_trans with (expect (sign_vectors d)
    (fun s => 1 + (- h * signed x s ^ 2 + h ^ 2 / 2 * signed x s ^ 4))).
  - apply expect_le; [apply signs_nonempty |]. intros s _.
    pose proof (exp_opp_quadratic (h * signed x s ^ 2)) as Q.
    eapply Rle_trans; [apply Q; apply Rmult_le_pos; [auto | apply pow2_ge_0] |]. right. field.
  - rewrite !expect_plus, !expect_scale, expect_const, second_moment, E by apply signs_nonempty.
    pose proof (fourth_moment d x) as F. rewrite E in F. pose proof (pow2_ge_0 h). nra.
Qed.

(** * Independent columns *)

Lemma exp_pow x m : exp x ^ m = exp (INR m * x).
Proof.
  induction m as [| m IH]; [simpl; now rewrite Rmult_0_l, exp_0 |].
  rewrite S_INR. simpl pow. rewrite IH, <- exp_plus. f_equal. ring.
Qed.

Lemma expect_exp_sum {A} m (L : list A) g : L <> [] ->
  expect (tuples m L) (fun l => exp (lsum g l)) = expect L (fun a => exp (g a)) ^ m.
Proof.
  intros H. induction m as [| m IH].
  - rewrite expect_one. unfold lsum. simpl. apply exp_0.
  - rewrite expect_tuples by auto. simpl pow.
    rewrite (expect_ext L _ (fun a => expect L (fun a => exp (g a)) ^ m * exp (g a))).
    + rewrite expect_scale. ring.
    + intros a _. rewrite <- IH, Rmult_comm, <- expect_scale. apply expect_ext. intros l _.
      rewrite <- exp_plus. reflexivity.
Qed.

Lemma chernoff {A} m (L : list A) g b (event : list A -> bool) : L <> [] ->
  (forall l, In l (tuples m L) -> event l = true -> INR m * b <= lsum g l) ->
  probability (tuples m L) event <= (exp (- b) * expect L (fun a => exp (g a))) ^ m.
Proof.
  intros H E. rewrite Rpow_mult_distr, exp_pow, <- expect_exp_sum by auto.
  unfold probability. rewrite <- expect_scale. apply expect_le; [apply tuples_nonempty; auto |].
  intros l Hl. rewrite <- exp_plus. destruct (event l) eqn:V; [| left; apply exp_pos].
  specialize (E l Hl V). rewrite <- exp_0. apply exp_le. lra.
Qed.

(** |S^T x|^2 *)
Definition projected_energy (x : nat -> R) (l : list (list R)) : R := lsum (fun s => signed x s ^ 2) l.

Definition exponent (eps : R) : R := eps ^ 2 / 4 - eps ^ 3 / 6.

Lemma upper_tail d m x eps : 0 < eps -> total_energy d x = 1 ->
  probability (projections d m) (fun l => less_than ((1 + eps) * INR m) (projected_energy x l))
    <= exp (- (INR m * exponent eps)).
Proof.
  intros He E. set (h := eps / (2 * (1 + eps))).
  assert (Hh : 0 <= h) by (apply Rmult_le_pos; [lra | left; apply Rinv_0_lt_compat; lra]).
  assert (D : 1 - 2 * h * total_energy d x = / (1 + eps)) by (rewrite E; unfold h; field; lra).
  eapply Rle_trans; [apply (chernoff m (sign_vectors d) (fun s => h * signed x s ^ 2) (h * (1 + eps)))|].
  - apply signs_nonempty.
  - intros l _ V. unfold less_than, projected_energy in V.
    destruct (Rlt_dec ((1 + eps) * INR m) (lsum (fun s => signed x s ^ 2) l)); [| discriminate].
    rewrite lsum_scale. replace (INR m * (h * (1 + eps))) with (h * ((1 + eps) * INR m)) by ring.
    apply Rmult_le_compat_l; lra.
  - replace (- (INR m * exponent eps)) with (INR m * - exponent eps) by ring.
    rewrite <- exp_pow. apply pow_incr. split.
    + apply Rmult_le_pos; [left; apply exp_pos |].
      apply Rle_trans with (expect (sign_vectors d) (fun _ => 0)).
      * rewrite expect_const by apply signs_nonempty. lra.
      * apply expect_le; [apply signs_nonempty |]. intros. left. apply exp_pos.
    + assert (P : 0 < / (1 + eps)) by (apply Rinv_0_lt_compat; lra).
      pose proof (upper_moment d x h 0 Hh ltac:(rewrite E in D; rewrite E; lra)) as U. rewrite D in U.
      rewrite (expect_ext _ (fun s => exp (h * (0 + signed x s) ^ 2)) (fun s => exp (h * signed x s ^ 2))) in U
        by (intros; now rewrite Rplus_0_l).
      replace (h * 0 ^ 2 / / (1 + eps)) with 0 in U by (field; lra). rewrite exp_0 in U.
      assert (R : 1 / sqrt (/ (1 + eps)) <= exp ((eps - eps ^ 2 / 2 + eps ^ 3 / 3) / 2)).
      { apply div_le; [apply sqrt_lt_R0; auto |].
        apply square_le; [apply Rmult_le_pos; [left; apply exp_pos | apply sqrt_pos] |].
        rewrite Rpow_mult_distr, pow2_sqrt, pow1 by lra.
        replace (exp ((eps - eps ^ 2 / 2 + eps ^ 3 / 3) / 2) ^ 2)
          with (exp (eps - eps ^ 2 / 2 + eps ^ 3 / 3)).
        - pose proof (one_plus_le eps ltac:(lra)). apply Rmult_le_reg_r with (1 + eps); [lra |].
          rewrite Rmult_assoc, Rinv_l by lra. lra.
        - rewrite exp_pow. f_equal. simpl INR. field. }
      apply Rle_trans with (exp (- (h * (1 + eps))) * exp ((eps - eps ^ 2 / 2 + eps ^ 3 / 3) / 2)).
      * apply Rmult_le_compat_l; [left; apply exp_pos | lra].
      * rewrite <- exp_plus. apply exp_le. unfold exponent, h. right. field. lra.
Qed.

Lemma lower_tail d m x eps : 0 < eps < 1 -> total_energy d x = 1 ->
  probability (projections d m) (fun l => less_than (projected_energy x l) ((1 - eps) * INR m))
    <= exp (- (INR m * exponent eps)).
Proof.
  intros He E. set (h := eps / 2).
  eapply Rle_trans;
    [apply (chernoff m (sign_vectors d) (fun s => - (h * signed x s ^ 2)) (- (h * (1 - eps)))) |].
  - apply signs_nonempty.
  - intros l _ V. unfold less_than, projected_energy in V.
    destruct (Rlt_dec (lsum (fun s => signed x s ^ 2) l) ((1 - eps) * INR m)); [| discriminate].
    rewrite (lsum_ext _ (fun s => - h * signed x s ^ 2)) by (intros; ring).
    rewrite lsum_scale. unfold h in *. nra.
  - replace (- (INR m * exponent eps)) with (INR m * - exponent eps) by ring.
    rewrite <- exp_pow. apply pow_incr. split.
    + apply Rmult_le_pos; [left; apply exp_pos |].
      apply Rle_trans with (expect (sign_vectors d) (fun _ => 0)).
      * rewrite expect_const by apply signs_nonempty. lra.
      * apply expect_le; [apply signs_nonempty |]. intros. left. apply exp_pos.
    + pose proof (lower_moment d x h ltac:(unfold h; lra) E) as L.
      set (z := h - 3 / 2 * h ^ 2) in *.
      assert (Hz : 0 <= z) by (unfold z, h; nra).
      pose proof (one_minus_le z Hz) as O.
      rewrite Ropp_involutive.
      apply Rle_trans with (exp (h * (1 - eps)) * exp (- (z + z ^ 2 / 2 + z ^ 3 / 3))).
      * apply Rmult_le_compat_l; [left; apply exp_pos |]. unfold z in *. lra.
      * rewrite <- exp_plus. apply exp_le. unfold exponent, z, h.
        assert (0 <= eps ^ 3 * (1 / 48 - 3 / 128 * eps + 9 / 128 * eps ^ 2 - 9 / 512 * eps ^ 3)).
        { apply Rmult_le_pos; [apply pow_le; lra |].
          assert (0 <= (eps - 1 / 3) ^ 2) by apply pow2_ge_0. nra. }
        lra.
Qed.

(** * All entries *)

Lemma union_of_events {A B} (L : list A) (V : list B) (bad : B -> A -> bool) (fails : A -> bool) p : L <> [] ->
  (forall a, In a L -> fails a = true -> exists v, In v V /\ bad v a = true) ->
  (forall v, In v V -> probability L (bad v) <= p) -> probability L fails <= INR (length V) * p.
Proof.
  intros H F P.
  apply Rle_trans with (expect L (fun a => lsum (fun v => if bad v a then 1 else 0) V)).
  - apply expect_le; auto. intros a Ha. destruct (fails a) eqn:E.
    + destruct (F a Ha E) as (v & Hv & Ev). clear - Hv Ev. induction V as [| w V IH]; [destruct Hv |].
      change (1 <= (if bad w a then 1 else 0) + lsum (fun v => if bad v a then 1 else 0) V).
      assert (0 <= lsum (fun v => if bad v a then 1 else 0) V)
        by (apply lsum_nonneg; intros u _; destruct (bad u a); lra).
      destruct Hv as [-> | Hv]; [rewrite Ev; lra |]. specialize (IH Hv). destruct (bad w a); lra.
    + apply lsum_nonneg. intros u _. destruct (bad u a); lra.
  - assert (E : forall W : list B, expect L (fun a => lsum (fun v => if bad v a then 1 else 0) W)
      = lsum (fun v => probability L (bad v)) W).
    { induction W as [| w W IH].
      - rewrite (expect_ext L _ (fun _ => 0)) by reflexivity. now rewrite expect_const.
      - change (lsum (fun v => probability L (bad v)) (w :: W))
          with (probability L (bad w) + lsum (fun v => probability L (bad v)) W).
        rewrite <- IH. unfold probability at 1. rewrite <- expect_plus. reflexivity. }
    rewrite E, <- lsum_const. apply lsum_le. exact P.
Qed.

Lemma signed_ext x y s : (forall c, (c < length s)%nat -> x c = y c) -> signed x s = signed y s.
Proof.
  revert x y. induction s as [| a s IH]; intros x y H; [reflexivity |]. cbn [signed].
  rewrite (H 0%nat) by (simpl; lia). f_equal. apply IH. intros c Hc. apply H. simpl. lia.
Qed.

Lemma signed_plus a b x y s :
  signed (fun c => a * x c + b * y c) s = a * signed x s + b * signed y s.
Proof.
  revert x y. induction s as [| e s IH]; intros x y; cbn [signed]; [ring |].
  rewrite (IH (fun c => x (S c)) (fun c => y (S c))). ring.
Qed.

(** The sum of (x . s) (y . s) over all columns s. *)
Definition crossed (x y : nat -> R) (l : list (list R)) : R := lsum (fun s => signed x s * signed y s) l.

Lemma gram_projected m X l i j : (0 < m)%nat -> length l = m ->
  gram m (projected m X l) i j = crossed (X i) (X j) l / INR m.
Proof.
  intros Hm <-. pose proof (lt_0_INR _ Hm) as M. unfold gram, projected, crossed.
  rewrite <- (fsum_of_nth (fun s => signed (X i) s * signed (X j) s) l []), <- fsum_div.
  apply fsum_ext. intros t _. pose proof (sqrt_sqrt (INR (length l)) ltac:(lra)) as S.
  rewrite <- S at 3. pose proof (sqrt_lt_R0 _ M). field. lra.
Qed.

(** x scaled to length 1; zero stays. *)
Definition unit (d : nat) (x : nat -> R) (c : nat) : R := / norm d x * x c.

Lemma unit_energy d x : 0 < norm d x -> total_energy d (unit d x) = 1.
Proof.
  intros H. unfold total_energy, unit.
  rewrite (fsum_ext d _ (fun c => (/ norm d x) ^ 2 * x c ^ 2)) by (intros; ring).
  rewrite fsum_scale, <- norm_square. field. lra.
Qed.

(** A vector of length 1 whose length is projected wrongly. *)
Definition bad (d m : nat) (eps : R) (x : nat -> R) (l : list (list R)) : bool :=
  if Req_EM_T (total_energy d x) 1
  then orb (less_than ((1 + eps) * INR m) (projected_energy x l))
           (less_than (projected_energy x l) ((1 - eps) * INR m))
  else false.

Lemma bad_rare d m eps x : 0 < eps < 1 ->
  probability (projections d m) (bad d m eps x) <= 2 * exp (- (INR m * exponent eps)).
Proof.
  intros He. unfold bad. destruct (Req_EM_T (total_energy d x) 1) as [E | E].
  - pose proof (upper_tail d m x eps ltac:(lra) E) as U. pose proof (lower_tail d m x eps He E) as L.
    replace (2 * exp (- (INR m * exponent eps)))
      with (exp (- (INR m * exponent eps)) + exp (- (INR m * exponent eps))) by ring.
    eapply Rle_trans; [| apply Rplus_le_compat; [exact U | exact L]].
    unfold probability. rewrite <- expect_plus. apply expect_le.
    + apply tuples_nonempty, signs_nonempty.
    + intros l _. destruct (less_than _ _), (less_than _ _); simpl; lra.
  - rewrite probability_never; [| apply tuples_nonempty, signs_nonempty | auto].
    pose proof (exp_pos (- (INR m * exponent eps))). lra.
Qed.

(** Not bad: the projected length is right, also of a multiple. *)
Lemma not_bad d m eps x l : (0 < m)%nat -> (forall s, In s l -> length s = d) ->
  bad d m eps (unit d x) l = false ->
  Rabs (crossed x x l / INR m - total_energy d x) <= eps * total_energy d x.
Proof.
  intros Hm Hl Hb. pose proof (lt_0_INR m Hm) as M.
  pose proof (norm_square d x) as N. change (fsum d (fun c => x c ^ 2)) with (total_energy d x) in N.
  destruct (Req_dec (norm d x) 0) as [Z | NZ].
  - assert (A : forall c, (c < d)%nat -> x c = 0).
    { intros c Hc. pose proof (entry_le d x c Hc) as B. rewrite Z in B.
      pose proof (Rabs_pos (x c)). destruct (Req_dec (x c) 0) as [| NX]; auto.
      pose proof (Rabs_pos_lt _ NX). lra. }
    assert (C : crossed x x l = 0).
    { apply lsum_zero. intros s Hs. rewrite (signed_ext x (fun _ => 0)).
      - assert (Q : forall s, signed (fun _ => 0) s = 0) by (induction s0; simpl; [auto | rewrite IHs0; ring]).
        rewrite Q. ring.
      - intros c Hc. apply A. now rewrite <- (Hl s Hs). }
    rewrite C, <- N, Z. replace (0 / INR m - 0 ^ 2) with 0 by (field; lra). rewrite Rabs_R0. lra.
  - assert (P : 0 < norm d x) by (pose proof (norm_nonneg d x); lra).
    unfold bad in Hb. destruct (Req_EM_T (total_energy d (unit d x)) 1) as [E | E];
      [| now rewrite unit_energy in E by auto].
    apply Bool.orb_false_elim in Hb. destruct Hb as [U L]. unfold less_than in U, L.
    destruct (Rlt_dec _ (projected_energy (unit d x) l)) as [| U']; [discriminate |].
    destruct (Rlt_dec (projected_energy (unit d x) l) _) as [| L']; [discriminate |].
    assert (C : crossed x x l = total_energy d x * projected_energy (unit d x) l).
    { unfold crossed, projected_energy. rewrite <- lsum_scale. apply lsum_ext. intros s _.
      assert (S : signed (unit d x) s = / norm d x * signed x s).
      { rewrite (signed_ext (unit d x) (fun c => / norm d x * x c + 0 * x c))
          by (intros; unfold unit; ring). rewrite signed_plus. ring. }
      rewrite S, <- N. field. lra. }
    assert (E0 : 0 < total_energy d x) by (rewrite <- N; apply pow_lt; auto).
    rewrite C. set (e := projected_energy (unit d x) l) in *.
    replace (total_energy d x * e / INR m - total_energy d x) with (total_energy d x * (e / INR m - 1)) by (field; lra).
    rewrite Rabs_mult, (Rabs_right (total_energy d x)), Rmult_comm by lra.
    apply Rmult_le_compat_r; [lra |]. apply Rabs_le.
    assert (e / INR m <= 1 + eps) by (apply div_le; lra).
    assert (1 - eps <= e / INR m) by (apply le_div; lra). lra.
Qed.

(** The rows, their sums and differences, scaled: n^2 vectors. *)
Definition asked (n d : nat) (X : nat -> nat -> R) : list (nat -> R) :=
  flat_map (fun i => unit d (unit d (X i)) ::
    flat_map (fun j => [unit d (fun c => 1 * unit d (X i) c + 1 * unit d (X j) c);
                        unit d (fun c => 1 * unit d (X i) c + -1 * unit d (X j) c)]) (seq 0 i)) (seq 0 n).

Lemma length_pairs {A B} (f g : A -> B) l : length (flat_map (fun a => [f a; g a]) l) = (2 * length l)%nat.
Proof. induction l as [| a l IH]; simpl; [auto |]. rewrite IH. lia. Qed.

Lemma asked_length n d X : length (asked n d X) = (n * n)%nat.
Proof.
  unfold asked. induction n as [| n IH]; [reflexivity |].
  rewrite seq_S, flat_map_app, app_length, IH. cbn [flat_map plus]. rewrite app_nil_r. simpl length.
  rewrite length_pairs, seq_length. lia.
Qed.

Lemma energy_combination d a b x y :
  total_energy d (fun c => a * x c + b * y c) = a ^ 2 * total_energy d x + 2 * a * b * dot d x y + b ^ 2 * total_energy d y.
Proof.
  unfold total_energy, dot. rewrite <- !fsum_scale, <- !fsum_plus. apply fsum_ext. intros. ring.
Qed.

Lemma crossed_combination a b x y l :
  crossed (fun c => a * x c + b * y c) (fun c => a * x c + b * y c) l
    = a ^ 2 * crossed x x l + 2 * a * b * crossed x y l + b ^ 2 * crossed y y l.
Proof.
  unfold crossed. rewrite <- !lsum_scale, <- !lsum_plus. apply lsum_ext. intros s _.
  rewrite signed_plus. ring.
Qed.

(** Two vectors of length 1. *)
Lemma polarised d m eps x y l : (0 < m)%nat -> (forall s, In s l -> length s = d) ->
  total_energy d x = 1 -> total_energy d y = 1 ->
  bad d m eps (unit d (fun c => 1 * x c + 1 * y c)) l = false ->
  bad d m eps (unit d (fun c => 1 * x c + -1 * y c)) l = false ->
  Rabs (crossed x y l / INR m - dot d x y) <= eps.
Proof.
  intros Hm Hl Ex Ey Bp Bm. pose proof (lt_0_INR m Hm) as M.
  pose proof (not_bad d m eps _ l Hm Hl Bp) as P. pose proof (not_bad d m eps _ l Hm Hl Bm) as N.
  rewrite energy_combination, crossed_combination, Ex, Ey in P, N.
  set (a := crossed x x l) in *. set (b := crossed x y l) in *. set (c := crossed y y l) in *.
  replace ((1 ^ 2 * a + 2 * 1 * 1 * b + 1 ^ 2 * c) / INR m)
    with (a / INR m + 2 * (b / INR m) + c / INR m) in P by (field; lra).
  replace ((1 ^ 2 * a + 2 * 1 * -1 * b + (-1) ^ 2 * c) / INR m)
    with (a / INR m - 2 * (b / INR m) + c / INR m) in N by (field; lra).
  apply Rabs_bounds in P. apply Rabs_bounds in N. apply Rabs_le. lra.
Qed.

Lemma crossed_sym x y l : crossed x y l = crossed y x l.
Proof. apply lsum_ext. intros. ring. Qed.

Lemma entries_right n d m X eps l : (0 < m)%nat -> 0 <= eps -> In l (projections d m) ->
  (forall v, In v (asked n d X) -> bad d m eps v l = false) ->
  forall i j, (j <= i < n)%nat ->
  Rabs (gram m (projected m X l) i j - gram d X i j) <= eps * (norm d (X i) * norm d (X j)).
Proof.
  intros Hm He Hin V i j Hij. apply tuples_In in Hin. destruct Hin as [Hl Hs].
  assert (Hs' : forall s, In s l -> length s = d).
  { intros s Hs1. specialize (Hs s Hs1). apply tuples_In in Hs. tauto. }
  rewrite gram_projected by auto. change (gram d X i j) with (dot d (X i) (X j)).
  pose proof (lt_0_INR m Hm) as M.
  assert (Z : forall x y, norm d x = 0 -> crossed x y l = 0 /\ dot d x y = 0).
  { intros x y Zx. assert (A : forall c, (c < d)%nat -> x c = 0).
    { intros c Hc. pose proof (entry_le d x c Hc) as B. rewrite Zx in B.
      pose proof (Rabs_pos (x c)). destruct (Req_dec (x c) 0) as [| NX]; auto.
      pose proof (Rabs_pos_lt _ NX). lra. }
    split.
    - apply lsum_zero. intros s Hs1. rewrite (signed_ext x (fun c => 0 * x c + 0 * x c)).
      + rewrite signed_plus. ring.
      + intros c Hc. rewrite A; [ring |]. now rewrite <- (Hs' s Hs1).
    - apply fsum_zero. intros c Hc. rewrite A by auto. ring. }
  destruct (Req_dec (norm d (X i)) 0) as [Zi | Ni].
  { destruct (Z (X i) (X j) Zi) as [-> ->]. rewrite Zi. replace (0 / INR m - 0) with 0 by (field; lra).
    rewrite Rabs_R0. lra. }
  destruct (Req_dec (norm d (X j)) 0) as [Zj | Nj].
  { destruct (Z (X j) (X i) Zj) as [C D]. rewrite crossed_sym, C, dot_comm, D, Zj.
    replace (0 / INR m - 0) with 0 by (field; lra). rewrite Rabs_R0. lra. }
  pose proof (norm_nonneg d (X i)). pose proof (norm_nonneg d (X j)).
  set (u := unit d (X i)). set (v := unit d (X j)).
  assert (Eu : total_energy d u = 1) by (apply unit_energy; lra).
  assert (Ev : total_energy d v = 1) by (apply unit_energy; lra).
  assert (K : Rabs (crossed u v l / INR m - dot d u v) <= eps).
  { destruct (Nat.eq_dec i j) as [E | Hne].
    - assert (B : bad d m eps (unit d u) l = false).
      { apply V. apply in_flat_map. exists i. split; [apply in_seq; lia | left; reflexivity]. }
      pose proof (not_bad d m eps u l Hm Hs' B) as N. unfold v. rewrite <- E. fold u.
      replace (dot d u u) with (total_energy d u) by (apply fsum_ext; intros; ring). rewrite Eu in *. lra.
    - apply (polarised d m); auto; apply V; apply in_flat_map; exists i; (split; [apply in_seq; lia |]);
        right; apply in_flat_map; exists j; (split; [apply in_seq; lia |]); [left | right; left]; reflexivity. }
  assert (Sx : forall x s, 0 < norm d x -> signed x s = norm d x * signed (unit d x) s).
  { intros x s P. rewrite (signed_ext (unit d x) (fun c => / norm d x * x c + 0 * x c))
      by (intros; unfold unit; ring). rewrite signed_plus. field. lra. }
  assert (C : crossed (X i) (X j) l = norm d (X i) * norm d (X j) * crossed u v l).
  { unfold crossed. rewrite <- lsum_scale. apply lsum_ext. intros s _.
    rewrite (Sx (X i)), (Sx (X j)) by lra. unfold u, v. ring. }
  assert (D : dot d (X i) (X j) = norm d (X i) * norm d (X j) * dot d u v).
  { unfold dot. rewrite <- fsum_scale. apply fsum_ext. intros c _. unfold u, v, unit. field. lra. }
  rewrite C, D. set (w := norm d (X i) * norm d (X j)).
  assert (W : 0 <= w) by (apply Rmult_le_pos; auto).
  replace (w * crossed u v l / INR m - w * dot d u v)
    with (w * (crossed u v l / INR m - dot d u v)) by (field; lra).
  rewrite Rabs_mult, (Rabs_right w), Rmult_comm by lra. apply Rmult_le_compat_r; auto.
Qed.

(** However the failures are told, if they are more than a share delta of all projections, there are few columns. *)
Theorem p3_jl n d m X eps delta (fails : list (list R) -> bool) : 0 < eps < 1 -> 0 < delta -> (0 < m)%nat ->
  (forall l, In l (projections d m) -> fails l = true -> exists i j, (i < n)%nat /\ (j < n)%nat /\
     eps * (norm d (X i) * norm d (X j)) < Rabs (gram m (projected m X l) i j - gram d X i j)) ->
  delta < probability (projections d m) fails -> INR m <= b_jl_width n eps delta.
Proof.
  intros He Hd Hm Hf Hp. pose proof (lt_0_INR m Hm) as M.
  assert (N : projections d m <> []) by (apply tuples_nonempty, signs_nonempty).
  pose proof (union_of_events (projections d m) (asked n d X) (bad d m eps) fails
    (2 * exp (- (INR m * exponent eps))) N) as U.
  rewrite asked_length, mult_INR in U.
  assert (P : probability (projections d m) fails
    <= INR n * INR n * (2 * exp (- (INR m * exponent eps)))).
  { apply U; [| intros; apply bad_rare; auto]. intros l Hl E.
    destruct (Hf l Hl E) as (i & j & Hi & Hj & L).
    destruct (existsb (fun v => bad d m eps v l) (asked n d X)) eqn:B.
    - apply existsb_exists in B. destruct B as (v & Hv & Bv). exists v. auto.
    - exfalso. assert (V : forall v, In v (asked n d X) -> bad d m eps v l = false).
      { intros v Hv. destruct (bad d m eps v l) eqn:Bv; auto.
        rewrite <- B. symmetry. apply existsb_exists. exists v. auto. }
      destruct (Nat.le_ge_cases j i).
      + pose proof (entries_right n d m X eps l Hm ltac:(lra) Hl V i j ltac:(lia)). lra.
      + pose proof (entries_right n d m X eps l Hm ltac:(lra) Hl V j i ltac:(lia)) as R.
        rewrite gram_sym, (gram_sym d X j i), (Rmult_comm (norm d (X j))) in R. lra. }
  assert (C : 0 < exponent eps).
  { unfold exponent. replace (eps ^ 2 / 4 - eps ^ 3 / 6) with (eps ^ 2 * (1 / 4 - eps / 6)) by field.
    apply Rmult_lt_0_compat; [apply pow_lt; lra | lra]. }
  pose proof (exp_pos (- (INR m * exponent eps))) as E0.
  assert (N0 : 0 < INR n).
  { pose proof (pos_INR n). destruct (Req_dec (INR n) 0) as [Z |]; [| lra]. rewrite Z in P. lra. }
  unfold b_jl_width. fold (exponent eps). apply le_div; auto.
  rewrite <- (ln_exp (INR m * exponent eps)). left. apply ln_increasing; [apply exp_pos |].
  apply Rmult_lt_reg_r with (delta * exp (- (INR m * exponent eps)));
    [apply Rmult_lt_0_compat; auto |].
  replace (exp (INR m * exponent eps) * (delta * exp (- (INR m * exponent eps))))
    with (delta * (exp (- (INR m * exponent eps)) * exp (INR m * exponent eps))) by ring.
  rewrite exp_opp_mult.
  replace (2 * INR n ^ 2 / delta * (delta * exp (- (INR m * exponent eps))))
    with (INR n * INR n * (2 * exp (- (INR m * exponent eps)))) by (field; lra).
  lra.
Qed.
