(** Finite sums over i < n, and the few facts on reals that every later file needs.

    What: [fsum n f] is f 0 + ... + f (n - 1); it is linear, monotone, and splits over a subset.
    How: induction on n throughout.

    The last section holds the tactics that join a theorem to its generated bound.  The printer of
    Bounds.v may permute operands or print an argument differently, so a proof first rewrites the
    argument of each function to the form it wants, and leaves the rest to [field] or [ring]. *)

Require Import Reals Lra Lia.
Open Scope R_scope.

(** * Sums *)

Fixpoint fsum (n : nat) (f : nat -> R) : R :=
  match n with O => 0 | S m => fsum m f + f m end.

Lemma fsum_ext n f g : (forall i, (i < n)%nat -> f i = g i) -> fsum n f = fsum n g.
Proof. induction n; simpl; intros H; auto. rewrite IHn, H; auto. Qed.

Lemma fsum_plus n f g : fsum n (fun i => f i + g i) = fsum n f + fsum n g.
Proof. induction n; simpl; lra. Qed.

Lemma fsum_minus n f g : fsum n (fun i => f i - g i) = fsum n f - fsum n g.
Proof. induction n; simpl; lra. Qed.

Lemma fsum_scale n c f : fsum n (fun i => c * f i) = c * fsum n f.
Proof. induction n; simpl; [ring | rewrite IHn; ring]. Qed.

Lemma fsum_scale_r n c f : fsum n (fun i => f i * c) = fsum n f * c.
Proof. induction n; simpl; [ring | rewrite IHn; ring]. Qed.

Lemma fsum_div n c f : fsum n (fun i => f i / c) = fsum n f / c.
Proof. unfold Rdiv. apply fsum_scale_r. Qed.

Lemma fsum_const n c : fsum n (fun _ => c) = INR n * c.
Proof. induction n; [simpl; ring | rewrite S_INR; simpl; rewrite IHn; ring]. Qed.

Lemma fsum_zero n f : (forall i, (i < n)%nat -> f i = 0) -> fsum n f = 0.
Proof. intros H. rewrite (fsum_ext n f (fun _ => 0)) by exact H. rewrite fsum_const. ring. Qed.

Lemma fsum_le n f g : (forall i, (i < n)%nat -> f i <= g i) -> fsum n f <= fsum n g.
Proof.
  induction n; simpl; intros H; [lra |].
  apply Rplus_le_compat; [apply IHn; intros; apply H | apply H]; lia.
Qed.

Lemma fsum_nonneg n f : (forall i, (i < n)%nat -> 0 <= f i) -> 0 <= fsum n f.
Proof. intros H. rewrite <- (fsum_zero n (fun _ => 0)) by auto. apply fsum_le; auto. Qed.

Lemma fsum_pos n f : (0 < n)%nat -> (forall i, (i < n)%nat -> 0 < f i) -> 0 < fsum n f.
Proof.
  intros Hn H. destruct n; [lia |]. simpl.
  apply Rplus_le_lt_0_compat; [apply fsum_nonneg; intros; left |]; apply H; lia.
Qed.

Lemma fsum_term n f i : (forall j, (j < n)%nat -> 0 <= f j) -> (i < n)%nat -> f i <= fsum n f.
Proof.
  induction n; simpl; intros H Hi; [lia |]. destruct (Nat.eq_dec i n) as [-> | Hne].
  - assert (0 <= fsum n f) by (apply fsum_nonneg; intros; apply H; lia). lra.
  - assert (f i <= fsum n f) by (apply IHn; [intros; apply H |]; lia).
    assert (0 <= f n) by (apply H; lia). lra.
Qed.

Lemma fsum_abs n f : Rabs (fsum n f) <= fsum n (fun i => Rabs (f i)).
Proof.
  induction n; simpl; [rewrite Rabs_R0; lra |].
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

Lemma fsum_product n m f g :
  fsum n f * fsum m g = fsum n (fun i => fsum m (fun j => f i * g j)).
Proof. rewrite <- fsum_scale_r. apply fsum_ext. intros. now rewrite fsum_scale. Qed.

Lemma fsum_swap n m f :
  fsum n (fun i => fsum m (fun j => f i j)) = fsum m (fun j => fsum n (fun i => f i j)).
Proof.
  induction n; simpl; [symmetry; apply fsum_zero; reflexivity |].
  rewrite IHn, <- fsum_plus. reflexivity.
Qed.

Lemma fsum_S n f : fsum (S n) f = fsum n f + f n.
Proof. reflexivity. Qed.

Lemma fsum_add m n f : fsum (m + n) f = fsum m f + fsum n (fun i => f (m + i)%nat).
Proof.
  induction n; [rewrite Nat.add_0_r; simpl; ring |].
  rewrite Nat.add_succ_r, !fsum_S, IHn. ring.
Qed.

(** One term apart: [a] at index i, [b] at the n - 1 others. *)
Lemma fsum_one n i a b : (i < n)%nat ->
  fsum n (fun j => if Nat.eqb j i then a else b) = a + (INR n - 1) * b.
Proof.
  induction n; intros Hi; [lia |]. rewrite fsum_S, S_INR.
  destruct (Nat.eqb_spec n i) as [-> | Hne].
  - rewrite (fsum_ext i _ (fun _ => b)), fsum_const; [ring |].
    intros j Hj. destruct (Nat.eqb_spec j i); [lia | reflexivity].
  - rewrite IHn by lia. ring.
Qed.

(** * Sums over a subset *)

Definition on (S : nat -> bool) (f : nat -> R) : nat -> R := fun i => if S i then f i else 0.
Definition off (S : nat -> bool) (f : nat -> R) : nat -> R := fun i => if S i then 0 else f i.

Lemma fsum_split n S f : fsum n f = fsum n (on S f) + fsum n (off S f).
Proof.
  rewrite <- fsum_plus. apply fsum_ext. intros i _. unfold on, off. destruct (S i); ring.
Qed.

Lemma fsum_on_nonneg n S f : (forall i, (i < n)%nat -> 0 <= f i) -> 0 <= fsum n (on S f).
Proof. intros H. apply fsum_nonneg. intros i Hi. unfold on. destruct (S i); auto; lra. Qed.

Lemma fsum_off_nonneg n S f : (forall i, (i < n)%nat -> 0 <= f i) -> 0 <= fsum n (off S f).
Proof. intros H. apply fsum_nonneg. intros i Hi. unfold off. destruct (S i); auto; lra. Qed.

Lemma fsum_on_div n S f c : fsum n (on S (fun i => f i / c)) = fsum n (on S f) / c.
Proof.
  rewrite <- fsum_div. apply fsum_ext. intros. unfold on. destruct (S i); unfold Rdiv; ring.
Qed.

(** * Reals *)

Lemma Rabs_bounds x y : Rabs x <= y -> - y <= x <= y.
Proof. intros H. unfold Rabs in H. destruct (Rcase_abs x); lra. Qed.

Lemma div_le a b c : 0 < b -> a <= c * b -> a / b <= c.
Proof.
  intros Hb H. apply Rmult_le_reg_r with b; auto. unfold Rdiv. rewrite Rmult_assoc, Rinv_l; lra.
Qed.

Lemma le_div a b c : 0 < b -> c * b <= a -> c <= a / b.
Proof.
  intros Hb H. apply Rmult_le_reg_r with b; auto. unfold Rdiv. rewrite Rmult_assoc, Rinv_l; lra.
Qed.

Lemma Rabs_div_pos x y : 0 < y -> Rabs (x / y) = Rabs x / y.
Proof.
  intros Hy. unfold Rdiv. rewrite Rabs_mult, (Rabs_right (/ y)); auto.
  left. apply Rinv_0_lt_compat; auto.
Qed.

Lemma square_le x y : 0 <= y -> x ^ 2 <= y ^ 2 -> x <= y.
Proof. intros. nra. Qed.

Lemma exp_le x y : x <= y -> exp x <= exp y.
Proof. intros [H | ->]; [left; apply exp_increasing; auto | lra]. Qed.

Lemma exp_ge_1 x : 0 <= x -> 1 <= exp x.
Proof. intros. rewrite <- exp_0. apply exp_le; auto. Qed.

Lemma exp_double x : exp (2 * x) = exp x * exp x.
Proof. rewrite <- exp_plus. f_equal; ring. Qed.

Lemma exp_opp_mult x : exp (- x) * exp x = 1.
Proof. rewrite <- exp_plus, Rplus_opp_l. apply exp_0. Qed.

Lemma ln_le_minus_1 y : 0 < y -> ln y <= y - 1.
Proof. intros Hy. pose proof (exp_ineq1_le (ln y)). rewrite exp_ln in H by auto. lra. Qed.

Lemma ln_error x e : Rabs x <= e -> e < 1 -> Rabs (ln (1 + x)) <= e / (1 - e).
Proof.
  intros Hx He. apply Rabs_bounds in Hx. apply Rabs_le. split.
  - assert (L : ln (/ (1 + x)) <= / (1 + x) - 1)
      by (apply ln_le_minus_1, Rinv_0_lt_compat; lra).
    rewrite ln_Rinv in L by lra.
    assert (/ (1 + x) <= / (1 - e)) by (apply Rinv_le_contravar; lra).
    assert (/ (1 - e) - 1 = e / (1 - e)) by (field; lra). lra.
  - pose proof (ln_le_minus_1 (1 + x) ltac:(lra)).
    assert (e <= e / (1 - e)) by (apply le_div; nra). lra.
Qed.

(** * Joining a theorem to its generated bound *)

(** [argument f x]: every [f y] of the goal with y = x by [field] is written [f x]. *)
Tactic Notation "argument" constr(f) constr(x) :=
  repeat match goal with
    |- context [f ?y] => progress replace (f y) with (f x) by (f_equal; field)
  end.

(** [count n]: every sum of naturals equal to n by [lia] is written n. *)
Tactic Notation "count" constr(n) :=
  repeat match goal with
    |- context [(?a + ?b)%nat] => progress replace (a + b)%nat with n by lia
  end.
