(** Derivatives of sums and products, and what a derivative says of its function.

    Steps: (1) derivatives and limits go through finite sums, by induction on their length;
    (2) the mean value theorem. *)

Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From Attest.Foundations Require Import Sums Vectors.
Open Scope R_scope.

Lemma is_derive_fsum n (f df : nat -> R -> R) x :
  (forall m, is_derive (f m) x (df m x)) ->
  is_derive (fun x => fsum n (fun m => f m x)) x (fsum n (fun m => df m x)).
Proof.
  intros H. induction n; simpl; [apply (is_derive_const 0) |].
  apply (is_derive_plus (fun x => fsum n (fun m => f m x)) (f n)); auto.
Qed.

Lemma is_derive_dot n (w : nat -> R) (f : R -> nat -> R) df t :
  (forall i, (i < n)%nat -> is_derive (fun s => f s i) t (df i)) ->
  is_derive (fun s => dot n w (f s)) t (dot n w df).
Proof.
  unfold dot. induction n as [| l I]; intros H; simpl.
  - apply (is_derive_const (0 : R)).
  - apply (is_derive_plus (fun s => fsum l (fun i => w i * f s i)) (fun s => w l * f s l));
      [apply I | apply (is_derive_scal (fun s => f s l))]; auto.
Qed.

(** The product rule, with derivatives given. *)
Lemma is_derive_product (f h : R -> R) f' h' t : is_derive f t f' -> is_derive h t h' ->
  is_derive (fun t => f t * h t) t (f' * h t + f t * h').
Proof. intros F H. apply (is_derive_mult f h t f' h' F H). intros a b. apply Rmult_comm. Qed.

Lemma is_lim_seq_fsum m (u : nat -> nat -> R) l :
  (forall i, (i < m)%nat -> is_lim_seq (fun k => u k i) (l i : R)) ->
  is_lim_seq (fun k => fsum m (u k)) (fsum m l).
Proof.
  induction m; intros H; simpl; [apply is_lim_seq_const |].
  apply (is_lim_seq_plus' (fun k => fsum m (u k)) (fun k => u k m)); [apply IHm |]; auto.
Qed.

Lemma mean_value f f1 a b : (forall x, is_derive f x (f1 x)) -> a < b ->
  exists x, a < x < b /\ f b - f a = f1 x * (b - a).
Proof.
  intros H Hab. destruct (MVT_cor2 f f1 a b Hab) as (x & E & Hx).
  - intros x _. apply is_derive_Reals. auto.
  - exists x. auto.
Qed.

(** What does not fall from 0 on is not negative there. *)
Lemma nonneg_from_0 f f' y : f 0 = 0 -> (forall x, is_derive f x (f' x)) ->
  (forall x, 0 <= x -> 0 <= f' x) -> 0 <= y -> 0 <= f y.
Proof.
  intros Z D P Hy. destruct (Req_dec y 0) as [-> |]; [lra |].
  destruct (MVT_cor2 f f' 0 y) as (x & E & Hx); [lra | |].
  - intros x _. apply is_derive_Reals. auto.
  - assert (0 <= f' x) by (apply P; lra). nra.
Qed.

Lemma exp_opp_quadratic u : 0 <= u -> exp (- u) <= 1 - u + u ^ 2 / 2.
Proof.
  intros Hu. enough (0 <= 1 - u + u ^ 2 / 2 - exp (- u)) by lra.
  apply (nonneg_from_0 (fun u => 1 - u + u ^ 2 / 2 - exp (- u)) (fun u => u - 1 + exp (- u))); auto.
  - rewrite Ropp_0, exp_0. field.
  - intros x. auto_derive; auto. unfold Rdiv. simpl. field.
  - intros x _. pose proof (exp_ineq1_le (- x)). lra.
Qed.
