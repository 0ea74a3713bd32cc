(** A few reweighted columns, deterministically (claim P3.deterministic): the two barriers of Batson,
    Spielman and Srivastava find a column at every step.

    Vectors V_c whose sum of V_c V_c^T is I; a sum A of weighted ones lies between barriers, l I < A < u I.  Its
    potentials are the traces of (u I - A)^-1 and (A - l I)^-1.  Steps: (1) a positive definite matrix has an
    inverse, and a change by t v v^T has one too (Sherman and Morrison); (2) moving the upper barrier by delta lowers
    its potential by at least delta tr U^2, and what the lower one's rises by, D, has
    tr L^2 >= D (1 / delta + D), by Cauchy and Schwarz; (3) so on average over all columns
    |L v|^2 / D_l - v.L v is no less than |U v|^2 / D_u + v.U v: some column allows a weight with which neither
    potential has grown; (4) T steps leave l_T I < A < u_T I, and scaling by their mean the sandwich. *)

Require Import Reals Lra Lia List FunctionalExtensionality.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Independence.
From Attest.Sparsification Require Import Sparsification.
Import ListNotations.
Open Scope R_scope.

Lemma pointwise (A B : nat -> nat -> R) : (forall i j, A i j = B i j) -> A = B.
Proof.
  intros H. apply functional_extensionality. intros i. apply functional_extensionality. auto.
Qed.

(** * Matrices of order k *)

Section Matrices.

Variable k : nat.

Definition app (M : nat -> nat -> R) (x : nat -> R) (i : nat) : R := dot k (M i) x.
Definition form (M : nat -> nat -> R) (x y : nat -> R) : R := dot k x (app M y).
Definition trace (M : nat -> nat -> R) : R := fsum k (fun i => M i i).
Definition unit_vector (i j : nat) : R := if (j =? i)%nat then 1 else 0.
Definition symmetric_up_to (M : nat -> nat -> R) : Prop :=
  forall i j, (i < k)%nat -> (j < k)%nat -> M i j = M j i.
Definition not_zero (x : nat -> R) : Prop := exists i, (i < k)%nat /\ x i <> 0.
Definition definite (M : nat -> nat -> R) : Prop := forall x, not_zero x -> 0 < form M x x.

Record inverse (S U : nat -> nat -> R) : Prop := {
  inverse_symmetric : symmetric_up_to S;
  inverse_symmetric' : symmetric_up_to U;
  inverse_left : forall x i, (i < k)%nat -> app U (app S x) i = x i;
  inverse_right : forall x i, (i < k)%nat -> app S (app U x) i = x i }.

Lemma dot_ext2 x x' y y' : (forall i, (i < k)%nat -> x i = x' i) -> (forall i, (i < k)%nat -> y i = y' i) ->
  dot k x y = dot k x' y'.
Proof. intros H H'. apply fsum_ext. intros i Hi. now rewrite H, H'. Qed.

Lemma app_ext M x y i : (forall j, (j < k)%nat -> x j = y j) -> app M x i = app M y i.
Proof. intros H. apply dot_ext2; auto. Qed.

Lemma app_combination M s t x y i : app M (fun j => s * x j + t * y j) i = s * app M x i + t * app M y i.
Proof.
  unfold app, dot. rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

Lemma dot_combination s t x y z : dot k z (fun j => s * x j + t * y j) = s * dot k z x + t * dot k z y.
Proof. unfold dot. rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring. Qed.

Lemma form_symmetric M x y : symmetric_up_to M -> form M x y = form M y x.
Proof.
  intros S. unfold form, app, dot.
  rewrite (fsum_ext k _ (fun i => fsum k (fun j => x i * M i j * y j)))
    by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
  rewrite fsum_swap. apply fsum_ext. intros j Hj. rewrite <- fsum_scale. apply fsum_ext. intros i Hi.
  rewrite (S i j) by auto. ring.
Qed.

Lemma form_linear M s t x y z : form M z (fun j => s * x j + t * y j) = s * form M z x + t * form M z y.
Proof.
  unfold form. rewrite <- dot_combination. apply dot_ext2; auto. intros. apply app_combination.
Qed.

Lemma form_square M s t x y : symmetric_up_to M ->
  form M (fun j => s * x j + t * y j) (fun j => s * x j + t * y j)
    = form M x x * s * s + 2 * form M x y * s * t + form M y y * t * t.
Proof.
  intros S. rewrite form_linear, !(form_symmetric M (fun j => s * x j + t * y j)) by auto.
  rewrite !form_linear, (form_symmetric M y x) by auto. ring.
Qed.

Lemma dot_unit i x : (i < k)%nat -> dot k (unit_vector i) x = x i.
Proof.
  intros Hi. rewrite <- (fsum_delta k i x) by auto. apply fsum_ext. intros. unfold unit_vector. ring.
Qed.

Lemma app_unit M i j : (j < k)%nat -> app M (unit_vector j) i = M i j.
Proof. intros Hj. unfold app. now rewrite dot_comm, dot_unit. Qed.

Lemma form_unit M i j : (i < k)%nat -> (j < k)%nat -> form M (unit_vector i) (unit_vector j) = M i j.
Proof. intros. unfold form. rewrite dot_unit, app_unit; auto. Qed.

Lemma definite_nonneg M x : definite M -> 0 <= form M x x.
Proof.
  intros D. destruct (zero_or_not k x) as [Z | N]; [| left; apply D; exact N].
  right. symmetry. apply fsum_zero. intros i Hi. rewrite Z by auto. ring.
Qed.

Lemma form_cauchy M x y : symmetric_up_to M -> definite M -> form M x y ^ 2 <= form M x x * form M y y.
Proof.
  intros S D. replace (form M x y ^ 2) with (form M x y * form M x y) by ring.
  apply discriminant. intros s t. rewrite <- form_square by auto. apply definite_nonneg. auto.
Qed.

Lemma forms_cauchy m M (x y : nat -> nat -> R) : symmetric_up_to M -> definite M ->
  fsum m (fun i => form M (x i) (y i)) ^ 2
    <= fsum m (fun i => form M (x i) (x i)) * fsum m (fun i => form M (y i) (y i)).
Proof.
  intros S D. set (b := fsum m (fun i => form M (x i) (y i))). replace (b ^ 2) with (b * b) by ring.
  apply discriminant. intros s t.
  apply Rle_trans with (fsum m (fun i => form M (fun j => s * x i j + t * y i j) (fun j => s * x i j + t * y i j))).
  - apply fsum_nonneg. intros. apply definite_nonneg. auto.
  - right. rewrite (fsum_ext m _ (fun i => s * s * form M (x i) (x i) + 2 * s * t * form M (x i) (y i)
      + t * t * form M (y i) (y i))) by (intros; rewrite form_square by auto; ring).
    rewrite !fsum_plus, !fsum_scale. unfold b. ring.
Qed.

(** * Inverses *)

Lemma choice_below {A} (P : nat -> A -> Prop) m (a : A) : (forall j, (j < m)%nat -> exists x, P j x) ->
  exists f, forall j, (j < m)%nat -> P j (f j).
Proof.
  induction m as [| m IH]; intros H; [exists (fun _ => a); intros; lia |].
  destruct IH as [f F]; [intros; apply H; lia |]. destruct (H m ltac:(lia)) as [x Hx].
  exists (fun j => if (j =? m)%nat then x else f j). intros j Hj.
  destruct (Nat.eqb_spec j m) as [-> |]; [auto | apply F; lia].
Qed.

Lemma inverse_exists S : symmetric_up_to S -> definite S -> exists U, inverse S U.
Proof.
  intros Sy D.
  destruct (choice_below (fun j x => forall i, (i < k)%nat -> app S x i = unit_vector j i) k (fun _ => 0))
    as [f F].
  { intros j Hj.
    destruct (dependent_rows k (Datatypes.S k) (fun i => if (i =? k)%nat then unit_vector j else S i) ltac:(lia))
      as (z & (i & Hi & N) & E).
    assert (E' : forall l, (l < k)%nat -> app S z l + z k * unit_vector j l = 0).
    { intros l Hl. rewrite <- (E l Hl), fsum_S, Nat.eqb_refl. f_equal. apply fsum_ext. intros a Ha.
      destruct (Nat.eqb_spec a k); [lia |]. rewrite (Sy a l) by auto. ring. }
    assert (Zk : z k <> 0).
    { intros Zk. assert (P : 0 < form S z z).
      { apply D. destruct (Nat.eq_dec i k) as [-> | Hne]; [contradiction |]. exists i. split; [lia | auto]. }
      unfold form in P. rewrite (dot_ext2 z z (app S z) (fun _ => 0)) in P; auto.
      - unfold dot in P. rewrite fsum_zero in P by (intros; ring). lra.
      - intros l Hl. specialize (E' l Hl). rewrite Zk in E'. lra. }
    exists (fun l => - / z k * z l + 0 * z l). intros l Hl. rewrite app_combination.
    specialize (E' l Hl). replace (app S z l) with (- (z k * unit_vector j l)) by lra. field. auto. }
  assert (UF : forall a b, (a < k)%nat -> (b < k)%nat -> form S (f a) (f b) = f a b).
  { intros a b Ha Hb. unfold form. rewrite (dot_ext2 (f a) (f a) (app S (f b)) (unit_vector b)); auto.
    rewrite dot_comm. apply dot_unit. auto. }
  assert (SyU : symmetric_up_to (fun i j => f j i)).
  { intros i j Hi Hj. rewrite <- !UF by auto. apply form_symmetric. auto. }
  assert (R : forall x i, (i < k)%nat -> app S (app (fun i j => f j i) x) i = x i).
  { intros x i Hi. unfold app at 1, dot.
    rewrite (fsum_ext k _ (fun a => fsum k (fun j => S i a * f j a * x j)))
      by (intros a _; unfold app, dot; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
    rewrite fsum_swap. rewrite <- (fsum_delta k i x) by auto. apply fsum_ext. intros j Hj.
    rewrite fsum_scale_r. change (fsum k (fun a => S i a * f j a)) with (app S (f j) i).
    rewrite F by auto. unfold unit_vector. rewrite (Nat.eqb_sym i j). ring. }
  exists (fun i j => f j i). split; auto.
  intros x i Hi. set (U := fun i j => f j i) in *.
  (* (U S x)_i = e_i . U S x = (S U e_i) . x *)
  rewrite <- (dot_unit i (app U (app S x))) by auto.
  change (form U (unit_vector i) (app S x) = x i). rewrite form_symmetric by auto.
  unfold form. rewrite dot_comm. change (form S (app U (unit_vector i)) x = x i).
  rewrite form_symmetric by auto. unfold form.
  rewrite (dot_ext2 x x _ (unit_vector i)); auto. rewrite dot_comm. apply dot_unit. auto.
Qed.

Lemma inverse_form S U x y : inverse S U -> form S (app U x) (app U y) = form U x y.
Proof.
  intros I. unfold form. rewrite (dot_ext2 (app U x) (app U x) (app S (app U y)) y); auto.
  - rewrite dot_comm. apply (form_symmetric U y x), (inverse_symmetric' _ _ I).
  - apply (inverse_right _ _ I).
Qed.

Lemma app_not_zero S U x : inverse S U -> not_zero x -> not_zero (app U x).
Proof.
  intros I (i & Hi & N). destruct (zero_or_not k (app U x)) as [Z | P]; [| exact P].
  exfalso. apply N. rewrite <- (inverse_right _ _ I x i Hi). apply fsum_zero. intros j Hj.
  rewrite Z by auto. ring.
Qed.

Lemma inverse_definite S U : inverse S U -> definite S -> definite U.
Proof.
  intros I D x N. rewrite <- (inverse_form S U x x I). apply D. apply (app_not_zero S U); auto.
Qed.

Lemma dot_positive x : not_zero x -> 0 < dot k x x.
Proof.
  intros (i & Hi & N). pose proof (fsum_term k (fun c => x c * x c) i) as T.
  assert (0 < x i * x i) by nra. eapply Rlt_le_trans; [| apply T; auto; intros; nra]. auto.
Qed.

(** S + t v v^T *)
Definition updated (S : nat -> nat -> R) (t : R) (v : nat -> R) (i j : nat) : R := S i j + t * v i * v j.

Lemma app_updated S t v x i : app (updated S t v) x i = app S x i + t * v i * dot k v x.
Proof.
  unfold app, updated, dot. rewrite <- fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

Lemma form_updated S t v x : form (updated S t v) x x = form S x x + t * dot k v x ^ 2.
Proof.
  unfold form. rewrite (dot_ext2 x x _ (fun i => 1 * app S x i + t * dot k v x * v i)); auto.
  - rewrite dot_combination, (dot_comm k x v). ring.
  - intros. rewrite app_updated. ring.
Qed.

Lemma definite_updated S U t v : inverse S U -> definite S -> 0 < 1 + t * form U v v ->
  definite (updated S t v).
Proof.
  intros I D P x N. rewrite form_updated. pose proof (D x N) as Q.
  assert (C : dot k v x ^ 2 <= form U v v * form S x x).
  { assert (E : dot k v x = form S (app U v) x).
    { rewrite form_symmetric by apply (inverse_symmetric _ _ I). unfold form. rewrite dot_comm.
      apply dot_ext2; auto. intros. symmetry. apply (inverse_right _ _ I). auto. }
    rewrite E, <- (inverse_form S U v v I). apply form_cauchy; auto. apply (inverse_symmetric _ _ I). }
  destruct (Rle_dec 0 t); [pose proof (pow2_ge_0 (dot k v x)); nra |].
  assert (t * (form U v v * form S x x) <= t * dot k v x ^ 2) by (apply Rmult_le_compat_neg_l; lra). nra.
Qed.

Lemma inverse_updated S U t v : inverse S U -> 0 < 1 + t * form U v v ->
  inverse (updated S t v) (updated U (- t / (1 + t * form U v v)) (app U v)).
Proof.
  intros I P. set (c := form U v v) in *. set (b := - t / (1 + t * c)).
  assert (B : b + t + t * b * c = 0) by (unfold b; field; lra).
  pose proof (inverse_symmetric _ _ I) as S1. pose proof (inverse_symmetric' _ _ I) as S2. split.
  - intros i j Hi Hj. unfold updated. rewrite (S1 i j) by auto. ring.
  - intros i j Hi Hj. unfold updated. rewrite (S2 i j) by auto. ring.
  - intros x i Hi. rewrite app_updated.
    rewrite (app_ext U _ (fun j => 1 * app S x j + t * dot k v x * v j)) by (intros; rewrite app_updated; ring).
    rewrite app_combination, (inverse_left _ _ I) by auto.
    rewrite (dot_ext2 (app U v) (app U v) _ (fun j => 1 * app S x j + t * dot k v x * v j))
      by (auto; intros; rewrite app_updated; ring).
    rewrite dot_combination.
    assert (E : dot k (app U v) (app S x) = dot k v x).
    { change (form S (app U v) x = dot k v x). rewrite form_symmetric by auto. unfold form.
      rewrite dot_comm. apply dot_ext2; auto. intros. apply (inverse_right _ _ I). auto. }
    assert (F : dot k (app U v) v = c) by (rewrite dot_comm; reflexivity).
    rewrite E, F. replace (1 * x i + t * dot k v x * app U v i + b * app U v i * (1 * dot k v x + t * dot k v x * c))
      with (x i + app U v i * dot k v x * (b + t + t * b * c)) by ring. rewrite B. ring.
  - intros x i Hi. rewrite app_updated.
    rewrite (app_ext S _ (fun j => 1 * app U x j + b * dot k (app U v) x * app U v j))
      by (intros; rewrite app_updated; ring).
    rewrite app_combination, !(inverse_right _ _ I) by auto.
    rewrite (dot_ext2 v v _ (fun j => 1 * app U x j + b * dot k (app U v) x * app U v j))
      by (auto; intros; rewrite app_updated; ring).
    rewrite dot_combination.
    assert (E : dot k v (app U x) = dot k (app U v) x).
    { change (form U v x = dot k (app U v) x). rewrite form_symmetric by auto. unfold form. apply dot_comm. }
    assert (F : dot k v (app U v) = c) by reflexivity.
    rewrite E, F.
    replace (1 * x i + b * dot k (app U v) x * v i
      + t * v i * (1 * dot k (app U v) x + b * dot k (app U v) x * c))
      with (x i + v i * dot k (app U v) x * (b + t + t * b * c)) by ring. rewrite B. ring.
Qed.

Lemma trace_updated U b v : trace (updated U b v) = trace U + b * dot k v v.
Proof.
  unfold trace, updated, dot. rewrite <- fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

(** * Moving a barrier *)

(** S + delta I *)
Definition shifted (S : nat -> nat -> R) (delta : R) (i j : nat) : R := S i j + delta * unit_vector i j.

Lemma app_shifted S delta x i : (i < k)%nat -> app (shifted S delta) x i = app S x i + delta * x i.
Proof.
  intros Hi. unfold app. rewrite <- (dot_unit i x) by auto. unfold shifted, dot.
  rewrite <- fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring.
Qed.

Lemma form_shifted S delta x : form (shifted S delta) x x = form S x x + delta * dot k x x.
Proof.
  unfold form. rewrite (dot_ext2 x x _ (fun i => 1 * app S x i + delta * x i)); auto.
  - rewrite dot_combination. ring.
  - intros. rewrite app_shifted by auto. ring.
Qed.

Lemma shifted_symmetric S delta : symmetric_up_to S -> symmetric_up_to (shifted S delta).
Proof.
  intros H i j Hi Hj. unfold shifted, unit_vector. rewrite (H i j), (Nat.eqb_sym i j) by auto. reflexivity.
Qed.

(** The sum of squares of U's columns, tr U^2. *)
Definition squared (U : nat -> nat -> R) : R := fsum k (fun i => dot k (app U (unit_vector i)) (app U (unit_vector i))).

(** Traces of inverses before and after a shift, with z_i the columns of the one after. *)
Lemma trace_shift S N U delta : inverse S N -> inverse (shifted S delta) U ->
  trace N - trace U = delta * fsum k (fun i => form N (unit_vector i) (app U (unit_vector i))) /\
  trace N - trace U = delta * (squared U
    + delta * fsum k (fun i => form N (app U (unit_vector i)) (app U (unit_vector i)))).
Proof.
  intros IN IU.
  assert (E : forall i, (i < k)%nat -> N i i - U i i = delta * form N (unit_vector i) (app U (unit_vector i))).
  { intros i Hi. rewrite <- (form_unit N i i), <- (form_unit U i i) by auto.
    set (y := app U (unit_vector i)).
    assert (Ey : forall j, (j < k)%nat -> unit_vector i j = 1 * app S y j + delta * y j).
    { intros j Hj. rewrite <- (inverse_right _ _ IU (unit_vector i) j Hj). fold y.
      rewrite app_shifted by auto. ring. }
    unfold form at 1. rewrite (dot_ext2 (unit_vector i) (unit_vector i) (app N (unit_vector i))
      (fun j => 1 * y j + delta * app N y j)); auto.
    - rewrite dot_combination. unfold form. fold y. ring.
    - intros j Hj. rewrite (app_ext N _ (fun j => 1 * app S y j + delta * y j)) by auto.
      rewrite app_combination, (inverse_left _ _ IN) by auto. ring. }
  assert (A : trace N - trace U = delta * fsum k (fun i => form N (unit_vector i) (app U (unit_vector i)))).
  { unfold trace. rewrite <- fsum_minus, <- fsum_scale. apply fsum_ext. auto. }
  split; auto. rewrite A. f_equal. unfold squared. rewrite <- fsum_scale, <- fsum_plus. apply fsum_ext.
  intros i Hi. set (y := app U (unit_vector i)).
  rewrite form_symmetric by apply (inverse_symmetric' _ _ IN). unfold form at 1.
  rewrite (dot_ext2 y y (app N (unit_vector i)) (fun j => 1 * y j + delta * app N y j)); auto.
  - rewrite dot_combination. unfold form. ring.
  - intros j Hj. rewrite (app_ext N _ (fun j => 1 * app S y j + delta * y j)).
    + rewrite app_combination, (inverse_left _ _ IN) by auto. ring.
    + intros l Hl. rewrite <- (inverse_right _ _ IU (unit_vector i) l Hl). fold y.
      rewrite app_shifted by auto. ring.
Qed.

Lemma squared_positive S U : (0 < k)%nat -> inverse S U -> 0 < squared U.
Proof.
  intros Hk I. apply fsum_pos; auto. intros i Hi. apply dot_positive. apply (app_not_zero S U); auto.
  exists i. split; auto. unfold unit_vector. rewrite Nat.eqb_refl. lra.
Qed.

(** The upper barrier: D >= delta tr U^2. *)
Lemma upper_shift S N U delta : 0 < delta -> definite S -> inverse S N -> inverse (shifted S delta) U ->
  delta * squared U <= trace N - trace U.
Proof.
  intros Hd D IN IU. destruct (trace_shift S N U delta IN IU) as [_ ->].
  pose proof (inverse_definite _ _ IN D) as DN.
  assert (0 <= fsum k (fun i => form N (app U (unit_vector i)) (app U (unit_vector i))))
    by (apply fsum_nonneg; intros; apply definite_nonneg; auto).
  apply Rmult_le_compat_l; nra.
Qed.

Lemma form_le_trace M x : symmetric_up_to M -> definite M -> form M x x <= trace M * dot k x x.
Proof.
  intros Sy D. set (f := form M x x). pose proof (definite_nonneg M x D) as F0. fold f in F0.
  assert (A : dot k (app M x) (app M x) <= trace M * f).
  { unfold trace. rewrite <- fsum_scale_r. apply fsum_le. intros i Hi.
    rewrite <- (form_unit M i i) by auto.
    replace (app M x i * app M x i) with (form M (unit_vector i) x ^ 2).
    - apply form_cauchy; auto.
    - unfold form. rewrite dot_unit by auto. ring. }
  assert (B : f ^ 2 <= dot k x x * dot k (app M x) (app M x)).
  { unfold f, form. eapply Rle_trans; [apply dot_square |]. rewrite <- !norm_dot. right. ring. }
  assert (X : 0 <= dot k x x) by (apply fsum_nonneg; intros; nra).
  destruct (Rle_lt_or_eq_dec 0 f F0) as [P | Z].
  - assert (f * f <= trace M * dot k x x * f).
    { apply Rle_trans with (dot k x x * dot k (app M x) (app M x)); [simpl in B; lra |].
      apply Rle_trans with (dot k x x * (trace M * f)); [apply Rmult_le_compat_l; auto | right; ring]. }
    apply Rmult_le_reg_r with f; auto.
  - rewrite <- Z. apply Rmult_le_pos; auto. apply fsum_nonneg. intros i Hi.
    rewrite <- (form_unit M i i) by auto. apply definite_nonneg. auto.
Qed.

(** The lower barrier may move by delta where its potential is below 1 / delta. *)
Lemma lower_definite S K delta : 0 < delta -> inverse S K -> definite S -> delta * trace K < 1 ->
  definite (shifted S (- delta)).
Proof.
  intros Hd I D T x N. rewrite form_shifted. pose proof (D x N) as P. pose proof (dot_positive x N) as X.
  pose proof (inverse_definite _ _ I D) as DK. pose proof (inverse_symmetric' _ _ I) as SK.
  assert (A : dot k x x ^ 2 <= form K x x * form S x x).
  { assert (E : dot k x x = form K x (app S x)).
    { unfold form. apply dot_ext2; auto. intros. symmetry. apply (inverse_left _ _ I). auto. }
    assert (F : form K (app S x) (app S x) = form S x x).
    { unfold form. rewrite (dot_ext2 (app S x) (app S x) _ x); [apply dot_comm | auto |].
      intros. apply (inverse_left _ _ I). auto. }
    rewrite E, <- F. apply form_cauchy; auto. }
  pose proof (form_le_trace K x SK DK) as B.
  assert (C : dot k x x * dot k x x <= trace K * form S x x * dot k x x).
  { apply Rle_trans with (form K x x * form S x x); [simpl in A; lra |].
    apply Rle_trans with (trace K * dot k x x * form S x x); [apply Rmult_le_compat_r; lra | right; ring]. }
  apply Rmult_le_reg_r in C; auto. nra.
Qed.

(** What its potential rises by: tr L^2 >= D (1 / delta + D). *)
Lemma lower_shift S K L delta : (0 < k)%nat -> 0 < delta -> definite S -> inverse S K -> inverse (shifted S (- delta)) L ->
  delta * trace K < 1 ->
  let D := trace L - trace K in 0 < D /\ D * (/ delta + D) <= squared L.
Proof.
  intros Hk Hd DS IK IL T D. destruct (trace_shift S K L (- delta) IK IL) as [E1 E2].
  pose proof (inverse_definite _ _ IK DS) as DK. pose proof (inverse_symmetric' _ _ IK) as SK.
  set (C := fsum k (fun i => form K (unit_vector i) (app L (unit_vector i)))) in *.
  set (R := fsum k (fun i => form K (app L (unit_vector i)) (app L (unit_vector i)))) in *.
  assert (HC : C ^ 2 <= trace K * R).
  { eapply Rle_trans; [apply (forms_cauchy k K unit_vector (fun i => app L (unit_vector i))); auto |].
    right. f_equal. apply fsum_ext. intros. now rewrite form_unit. }
  pose proof (squared_positive _ L Hk IL) as P.
  assert (R0 : 0 <= R) by (apply fsum_nonneg; intros; apply definite_nonneg; auto).
  assert (ED : D = delta * C) by (unfold D; lra).
  assert (ED2 : D = delta * (squared L - delta * R)) by (unfold D; lra).
  assert (DD : D ^ 2 <= delta * R).
  { rewrite ED, Rpow_mult_distr. apply Rle_trans with (delta ^ 2 * (trace K * R)).
    - apply Rmult_le_compat_l; [apply pow2_ge_0 | auto].
    - replace (delta ^ 2 * (trace K * R)) with (delta * R * (delta * trace K)) by ring.
      rewrite <- (Rmult_1_r (delta * R)) at 2. apply Rmult_le_compat_l; [nra | lra]. }
  assert (HD : D * (/ delta + D) <= squared L).
  { replace (D * (/ delta + D)) with (squared L - delta * R + D ^ 2); [lra |].
    rewrite Rmult_plus_distr_l. rewrite ED2 at 2. field. lra. }
  split; auto.
  assert (K1 : delta * R <= delta * trace K * squared L).
  { unfold R, squared. rewrite <- !fsum_scale. apply fsum_le. intros i Hi.
    pose proof (form_le_trace K (app L (unit_vector i)) SK DK) as F. rewrite Rmult_assoc.
    apply Rmult_le_compat_l; [lra | exact F]. }
  rewrite ED2. apply Rmult_lt_0_compat; auto. nra.
Qed.

(** * A step *)

Variables (d : nat) (V : nat -> nat -> R).

(** The vectors V c: the sum of V_c V_c^T is I. *)
Hypothesis frame : forall i j, (i < k)%nat -> (j < k)%nat ->
  fsum d (fun c => V c i * V c j) = unit_vector i j.
Hypothesis Hk : (0 < k)%nat.

Lemma form_frame M : fsum d (fun c => form M (V c) (V c)) = trace M.
Proof.
  unfold form, app, dot.
  rewrite (fsum_ext d _ (fun c => fsum k (fun i => fsum k (fun j => M i j * (V c i * V c j)))))
    by (intros; apply fsum_ext; intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
  rewrite fsum_swap. apply fsum_ext. intros i Hi. rewrite fsum_swap.
  rewrite <- (fsum_delta k i (M i)) by auto. apply fsum_ext. intros j Hj.
  rewrite fsum_scale, frame by auto. reflexivity.
Qed.

Lemma squared_frame U : fsum d (fun c => dot k (app U (V c)) (app U (V c))) = squared U.
Proof.
  unfold squared. unfold dot at 1. rewrite fsum_swap.
  rewrite (fsum_ext k (fun i => dot k (app U (unit_vector i)) _) (fun i => fsum k (fun l => U l i * U l i))).
  - rewrite (fsum_swap k k). apply fsum_ext. intros l Hl.
    change (fsum k (fun j => U l j * U l j)) with (trace (fun i j => U l i * U l j)).
    rewrite <- form_frame. apply fsum_ext. intros c _. unfold form, app, dot.
    rewrite (fsum_ext k (fun i => V c i * _) (fun i => U l i * V c i * fsum k (fun j => U l j * V c j))).
    + now rewrite fsum_scale_r.
    + intros i _. rewrite <- !fsum_scale. apply fsum_ext. intros. ring.
  - intros i Hi. apply fsum_ext. intros l Hl. now rewrite app_unit.
Qed.

Lemma some_not_zero : exists c, (c < d)%nat /\ not_zero (V c).
Proof.
  assert (H : forall m, (forall c, (c < m)%nat -> forall i, (i < k)%nat -> V c i = 0)
    \/ exists c, (c < m)%nat /\ not_zero (V c)).
  { induction m as [| m [IH | (c & Hc & N)]].
    - left. intros; lia.
    - destruct (zero_or_not k (V m)) as [Z | N]; [| right; exists m; split; [lia | exact N]].
      left. intros c Hc. destruct (Nat.eq_dec c m) as [-> |]; [auto | apply IH; lia].
    - right. exists c. split; [lia | auto]. }
  destruct (H d) as [Z |]; auto. exfalso. pose proof (frame 0 0 Hk Hk) as F.
  rewrite fsum_zero in F by (intros c Hc; rewrite (Z c Hc 0%nat Hk); ring).
  unfold unit_vector in F. simpl in F. lra.
Qed.

(** What is no less on the whole is so at one of the columns that matter. *)
Lemma some_column f g : (forall c, (c < d)%nat -> (forall i, (i < k)%nat -> V c i = 0) -> f c = 0 /\ g c = 0) ->
  fsum d f <= fsum d g -> exists c, (c < d)%nat /\ not_zero (V c) /\ f c <= g c.
Proof.
  intros Z S.
  assert (H : forall m, (m <= d)%nat ->
    (exists c, (c < m)%nat /\ not_zero (V c) /\ f c <= g c) \/
    (forall c, (c < m)%nat -> g c <= f c /\ (not_zero (V c) -> g c < f c))).
  { induction m as [| m IH]; intros Hm; [right; intros; lia |].
    destruct IH as [(c & Hc & P) | A]; [lia | left; exists c; split; [lia | auto] |].
    destruct (zero_or_not k (V m)) as [V0 | N].
    - right. intros c Hc. destruct (Nat.eq_dec c m) as [-> |]; [| apply A; lia].
      destruct (Z m ltac:(lia) V0). split; [lra |]. intros (i & Hi & Ni). now rewrite V0 in Ni by auto.
    - destruct (Rle_lt_dec (f m) (g m)).
      + left. exists m. split; [lia | auto].
      + right. intros c Hc. destruct (Nat.eq_dec c m) as [-> |]; [split; intros; lra | apply A; lia]. }
  destruct (H d ltac:(lia)) as [|A]; auto. exfalso.
  destruct some_not_zero as (c & Hc & N). destruct (A c Hc) as [_ P]. specialize (P N).
  pose proof (fsum_term d (fun c => f c - g c) c) as T. rewrite fsum_minus in T.
  specialize (T (fun j Hj => ltac:(destruct (A j Hj); lra)) Hc). lra.
Qed.

Definition above (u : R) (A : nat -> nat -> R) (i j : nat) : R := u * unit_vector i j - A i j.
Definition below (l : R) (A : nat -> nat -> R) (i j : nat) : R := A i j - l * unit_vector i j.

(** l I < A < u I, and the potentials. *)
Definition between_barriers (low high : R) (l u : R) (A : nat -> nat -> R) : Prop :=
  symmetric_up_to A /\ definite (above u A) /\ definite (below l A) /\
  exists N K, inverse (above u A) N /\ inverse (below l A) K /\ trace N <= high /\ trace K <= low.

(** What column v costs above and gains below, the inverses before a step being N and K, and U and L after. *)
Definition cost (N U : nat -> nat -> R) (v : nat -> R) : R :=
  dot k (app U v) (app U v) / (trace N - trace U) + form U v v.
Definition gain (K L : nat -> nat -> R) (v : nat -> R) : R :=
  dot k (app L v) (app L v) / (trace L - trace K) - form L v v.

(** Some column gains what it costs, and every weight between keeps both barriers and both potentials. *)
Theorem p3_barrier_step low high pace l u A : 0 < pace -> 0 < low < 1 -> / pace + high <= 1 - low ->
  between_barriers low high l u A ->
  exists N K U L, inverse (above u A) N /\ inverse (below l A) K /\
    inverse (above (u + pace) A) U /\ inverse (below (l + 1) A) L /\
    (exists c, (c < d)%nat /\ not_zero (V c) /\ cost N U (V c) <= gain K L (V c)) /\
    forall c t, (c < d)%nat -> not_zero (V c) -> 0 < t -> t * cost N U (V c) <= 1 <= t * gain K L (V c) ->
      between_barriers low high (l + 1) (u + pace) (updated A t (V c)).
Proof.
  intros Hp Hl Feasible (SA & DN & DK & N & K & IN & IK & TN & TK).
  assert (EU : above (u + pace) A = shifted (above u A) pace)
    by (apply pointwise; intros i j; unfold above, shifted; ring).
  assert (EL : below (l + 1) A = shifted (below l A) (- (1)))
    by (apply pointwise; intros i j; unfold below, shifted; ring).
  assert (DU : definite (above (u + pace) A)).
  { rewrite EU. intros x Nx. rewrite form_shifted. pose proof (DN x Nx). pose proof (dot_positive x Nx). nra. }
  assert (DL : definite (below (l + 1) A)).
  { rewrite EL. apply (lower_definite (below l A) K); auto; lra. }
  destruct (inverse_exists (above (u + pace) A)) as [U IU]; auto.
  { rewrite EU. apply shifted_symmetric, (inverse_symmetric _ _ IN). }
  destruct (inverse_exists (below (l + 1) A)) as [L IL]; auto.
  { rewrite EL. apply shifted_symmetric, (inverse_symmetric _ _ IK). }
  pose proof (inverse_definite _ _ IU DU) as PU. pose proof (inverse_definite _ _ IL DL) as PL.
  assert (IU' := IU). assert (IL' := IL). rewrite EU in IU'. rewrite EL in IL'.
  pose proof (upper_shift (above u A) N U pace Hp DN IN IU') as HU.
  pose proof (squared_positive _ U Hk IU) as QU.
  destruct (lower_shift (below l A) K L 1 Hk ltac:(lra) DK IK IL' ltac:(lra)) as [DP HL].
  set (Du := trace N - trace U) in *. set (Dl := trace L - trace K) in *.
  assert (Du0 : 0 < Du) by nra. rewrite Rinv_1 in HL.
  exists N, K, U, L. do 4 (split; [assumption |]). split.
  - apply some_column.
    { intros c Hc Z. assert (ZA : forall M i, app M (V c) i = 0).
      { intros M i. apply fsum_zero. intros j Hj. rewrite Z by auto. ring. }
      unfold cost, gain, form, dot. fold Du Dl. rewrite !(fsum_zero k) by (intros; rewrite ?ZA, ?Z by auto; ring).
      split; field; lra. }
    { unfold cost, gain. fold Du Dl. rewrite fsum_plus, fsum_minus, !fsum_div, !form_frame, !squared_frame.
      assert (squared U / Du <= / pace).
      { apply div_le; auto. apply Rmult_le_reg_l with pace; auto. rewrite <- Rmult_assoc, Rinv_r by lra. lra. }
      assert (1 + Dl <= squared L / Dl) by (apply le_div; [auto | lra]).
      unfold Du, Dl in *. lra. }
  - intros c t Hc Nc T0 [TF TW]. set (v := V c) in *. set (a := form U v v) in *. set (b := form L v v) in *.
    set (p := dot k (app U v) (app U v)) in *. set (q := dot k (app L v) (app L v)) in *.
    assert (A0 : 0 < a) by (apply PU; auto). assert (B0 : 0 <= b) by (apply definite_nonneg; auto).
    assert (P0 : 0 < p) by (apply dot_positive, (app_not_zero _ U v IU); auto).
    assert (F0 : 0 < p / Du) by (apply Rmult_lt_0_compat; [auto | apply Rinv_0_lt_compat; auto]).
    unfold cost, gain in TF, TW. fold Du Dl a b p q in TF, TW.
    assert (TA : 0 < 1 + - t * a) by (assert (0 < t * (p / Du)) by (apply Rmult_lt_0_compat; auto); nra).
    assert (TB : 0 < 1 + t * b) by (assert (0 <= t * b) by (apply Rmult_le_pos; lra); lra).
    assert (EA : above (u + pace) (updated A t v) = updated (above (u + pace) A) (- t) v)
      by (apply pointwise; intros i j; unfold above, updated; ring).
    assert (EB : below (l + 1) (updated A t v) = updated (below (l + 1) A) t v)
      by (apply pointwise; intros i j; unfold below, updated; ring).
    split; [| split; [| split]].
    + intros i j Hi Hj. unfold updated. rewrite (SA i j) by auto. ring.
    + rewrite EA. apply (definite_updated _ U); auto.
    + rewrite EB. apply (definite_updated _ L); auto.
    + exists (updated U (- - t / (1 + - t * a)) (app U v)), (updated L (- t / (1 + t * b)) (app L v)).
      rewrite EA, EB. split; [apply inverse_updated; auto | split; [apply inverse_updated; auto |]].
      rewrite !trace_updated. fold p q. split.
      * apply Rle_trans with (trace N); auto.
        assert (t * p <= Du * (1 + - t * a)).
        { apply Rle_trans with (Du * (t * (p / Du))); [right; field; lra |].
          apply Rmult_le_compat_l; lra. }
        assert (- - t / (1 + - t * a) * p <= Du).
        { replace (- - t / (1 + - t * a) * p) with (t * p / (1 + - t * a)) by (field; lra). apply div_le; auto. }
        unfold Du in *. lra.
      * apply Rle_trans with (trace K); auto.
        assert (Dl * (1 + t * b) <= t * q).
        { replace (t * q) with (Dl * (t * (q / Dl))) by (field; lra). apply Rmult_le_compat_l; [lra |].
          lra. }
        assert (Dl <= t * q / (1 + t * b)) by (apply le_div; auto).
        replace (- t / (1 + t * b) * q) with (- (t * q / (1 + t * b))) by (field; lra).
        unfold Dl in *. lra.
Qed.

(** * All steps *)

Lemma inverse_multiple s : s <> 0 -> inverse (fun i j => s * unit_vector i j) (fun i j => / s * unit_vector i j).
Proof.
  intros Hs.
  assert (E : forall r x i, (i < k)%nat -> app (fun i j => r * unit_vector i j) x i = r * x i).
  { intros r x i Hi. rewrite <- (dot_unit i x) by auto. unfold app, dot. rewrite <- fsum_scale.
    apply fsum_ext. intros. ring. }
  assert (Sy : forall r, symmetric_up_to (fun i j => r * unit_vector i j)).
  { intros r i j _ _. unfold unit_vector. now rewrite (Nat.eqb_sym i j). }
  split; auto; intros x i Hi; rewrite E by auto.
  - rewrite E by auto. field. auto.
  - rewrite E by auto. field. auto.
Qed.

Lemma form_multiple s x : form (fun i j => s * unit_vector i j) x x = s * dot k x x.
Proof.
  unfold form. rewrite (dot_ext2 x x _ (fun i => s * x i + 0 * x i)); auto.
  - rewrite dot_combination. ring.
  - intros i Hi. rewrite <- (dot_unit i x) at 1 by auto. unfold app, dot.
    rewrite Rmult_0_l, Rplus_0_r, <- fsum_scale. apply fsum_ext. intros. ring.
Qed.

Lemma trace_multiple s : trace (fun i j => s * unit_vector i j) = s * INR k.
Proof.
  unfold trace. rewrite (fsum_ext k _ (fun _ => s)), fsum_const; [ring |].
  intros i _. unfold unit_vector. rewrite Nat.eqb_refl. ring.
Qed.

(** Columns with their weights, and the sum that they make. *)
Definition weighted_total (l : list (nat * R)) (i j : nat) : R :=
  lsum (fun p => snd p * V (fst p) i * V (fst p) j) l.

Lemma between_start low high : 0 < low -> 0 < high ->
  between_barriers low high (- (INR k / low)) (INR k / high) (weighted_total []).
Proof.
  intros Hl Hh. pose proof (lt_0_INR k Hk) as K0.
  assert (Pl : 0 < INR k / low) by (apply Rmult_lt_0_compat; [auto | apply Rinv_0_lt_compat; auto]).
  assert (Ph : 0 < INR k / high) by (apply Rmult_lt_0_compat; [auto | apply Rinv_0_lt_compat; auto]).
  assert (EA : above (INR k / high) (weighted_total []) = fun i j => INR k / high * unit_vector i j)
    by (apply pointwise; intros i j; unfold above, weighted_total, lsum; simpl; ring).
  assert (EB : below (- (INR k / low)) (weighted_total []) = fun i j => INR k / low * unit_vector i j)
    by (apply pointwise; intros i j; unfold below, weighted_total, lsum; simpl; ring).
  split; [intros i j _ _; reflexivity |]. rewrite EA, EB. split; [| split].
  - intros x N. rewrite form_multiple. apply Rmult_lt_0_compat; auto. apply dot_positive. auto.
  - intros x N. rewrite form_multiple. apply Rmult_lt_0_compat; auto. apply dot_positive. auto.
  - exists (fun i j => / (INR k / high) * unit_vector i j), (fun i j => / (INR k / low) * unit_vector i j).
    split; [apply inverse_multiple; lra | split; [apply inverse_multiple; lra |]].
    rewrite !trace_multiple. split; right; field; lra.
Qed.

Lemma all_steps low high pace T : 0 < pace -> 0 < low < 1 -> 0 < high -> / pace + high <= 1 - low ->
  exists l, length l = T /\ (forall p, In p l -> (fst p < d)%nat /\ 0 < snd p) /\
    between_barriers low high (- (INR k / low) + INR T) (INR k / high + INR T * pace) (weighted_total l).
Proof.
  intros Hp Hl Hh F. induction T as [| T (l & Ll & P & B)].
  - exists []. split; [reflexivity | split; [intros p [] |]]. simpl INR.
    rewrite Rmult_0_l, !Rplus_0_r. apply between_start; lra.
  - destruct (p3_barrier_step low high pace _ _ _ Hp Hl F B)
      as (N & K & U & L & IN & _ & IU & _ & (c & Hc & Nc & Le) & W).
    assert (C0 : 0 < cost N U (V c)).
    { destruct B as (_ & DN & _ & _). unfold cost.
      assert (EU : above (INR k / high + INR T * pace + pace) (weighted_total l)
        = shifted (above (INR k / high + INR T * pace) (weighted_total l)) pace)
        by (apply pointwise; intros i j; unfold above, shifted; ring).
      assert (IU' := IU). rewrite EU in IU'.
      pose proof (upper_shift _ N U pace Hp DN IN IU') as HU. pose proof (squared_positive _ U Hk IU) as QU.
      assert (DU : definite (above (INR k / high + INR T * pace + pace) (weighted_total l))).
      { rewrite EU. intros x Nx. rewrite form_shifted. pose proof (DN x Nx). pose proof (dot_positive x Nx). nra. }
      pose proof (inverse_definite _ _ IU DU (V c) Nc) as P1.
      assert (0 < dot k (app U (V c)) (app U (V c)) / (trace N - trace U)).
      { apply Rmult_lt_0_compat; [apply dot_positive, (app_not_zero _ U _ IU); auto |].
        apply Rinv_0_lt_compat. nra. }
      lra. }
    set (t := / cost N U (V c)). assert (Ht : 0 < t) by (apply Rinv_0_lt_compat; auto).
    assert (TC : t * cost N U (V c) = 1) by (apply Rinv_l; lra).
    assert (B' := W c t Hc Nc Ht). assert (TG : 1 <= t * gain K L (V c))
      by (rewrite <- TC; apply Rmult_le_compat_l; lra). specialize (B' ltac:(lra)).
    exists ((c, t) :: l). split; [simpl; now rewrite Ll | split].
    + intros p [<- | Hin]; [simpl; auto | auto].
    + rewrite S_INR.
      replace (weighted_total ((c, t) :: l)) with (updated (weighted_total l) t (V c)).
      * replace (- (INR k / low) + (INR T + 1)) with (- (INR k / low) + INR T + 1) by ring.
        replace (INR k / high + (INR T + 1) * pace) with (INR k / high + INR T * pace + pace) by ring. exact B'.
      * apply pointwise. intros i j. unfold updated, weighted_total.
        change (lsum (fun p => snd p * V (fst p) i * V (fst p) j) ((c, t) :: l))
          with (t * V c i * V c j + lsum (fun p => snd p * V (fst p) i * V (fst p) j) l). ring.
Qed.

Lemma between_forms low high l u A x : between_barriers low high l u A ->
  l * dot k x x <= form A x x <= u * dot k x x.
Proof.
  intros (_ & D1 & D2 & _).
  pose proof (definite_nonneg _ x D1) as N1. pose proof (definite_nonneg _ x D2) as N2.
  assert (E1 : form (above u A) x x = u * dot k x x - form A x x).
  { unfold form. rewrite (dot_ext2 x x _ (fun i => u * x i + -1 * app A x i)); auto.
    - rewrite dot_combination. ring.
    - intros i Hi. rewrite <- (dot_unit i x) at 1 by auto. unfold app, above, dot.
      rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring. }
  assert (E2 : form (below l A) x x = form A x x - l * dot k x x).
  { unfold form. rewrite (dot_ext2 x x _ (fun i => 1 * app A x i + - l * x i)); auto.
    - rewrite dot_combination. ring.
    - intros i Hi. rewrite <- (dot_unit i x) at 1 by auto. unfold app, below, dot.
      rewrite <- !fsum_scale, <- fsum_plus. apply fsum_ext. intros. ring. }
  lra.
Qed.

End Matrices.

(** * P3.deterministic *)

(** m is the rank of X. *)
Definition row_rank (n d : nat) (X : nat -> nat -> R) (m : nat) : Prop :=
  exists Q Y chosen, basis n d X m Q Y chosen.

(** The Gram matrix of columns with weights. *)
Definition reweighted (l : list (nat * R)) (X : nat -> nat -> R) (i j : nat) : R :=
  lsum (fun p => snd p * (X i (fst p) * X j (fst p))) l.

Lemma quad_reweighted n l X x :
  quad n (reweighted l X) x = lsum (fun p => snd p * fsum n (fun i => x i * X i (fst p)) ^ 2) l.
Proof.
  induction l as [| (c, t) l IH].
  - apply fsum_zero. intros i _. rewrite (fsum_zero n); [ring |]. intros j _.
    unfold reweighted, lsum. simpl. ring.
  - change (lsum (fun p => snd p * fsum n (fun i => x i * X i (fst p)) ^ 2) ((c, t) :: l))
      with (t * fsum n (fun i => x i * X i c) ^ 2
            + lsum (fun p => snd p * fsum n (fun i => x i * X i (fst p)) ^ 2) l).
    rewrite <- IH.
    rewrite (quad_ext n _ (fun i j => t * (X i c * X j c) + reweighted l X i j)) by reflexivity.
    rewrite quad_plus, quad_scale. f_equal. f_equal.
    change (fun i j : nat => X i c * X j c) with (fun i j : nat => X i c * X j c).
    pose proof (quad_gram n 1 (fun i _ => X i c) x) as G. simpl fsum in G.
    rewrite (quad_ext n (fun i j => X i c * X j c) (gram 1 (fun i _ => X i c)))
      by (intros; unfold gram; simpl; ring).
    rewrite G. ring.
Qed.

Lemma bss_epsilon_decreases r q : 1 < q -> q <= r ^ 2 -> 0 < r ->
  2 * r / (r ^ 2 + 1) <= b_bss_epsilon q.
Proof.
  intros Hq Hr R0. unfold b_bss_epsilon. set (s := sqrt q).
  assert (S2 : s ^ 2 = q) by (apply pow2_sqrt; lra).
  assert (S1 : 1 < s) by (unfold s; rewrite <- sqrt_1; apply sqrt_lt_1; lra).
  assert (RS : s <= r) by (apply square_le; [lra |]; rewrite S2; auto).
  rewrite <- S2. apply div_le; [nra |].
  apply Rmult_le_reg_r with (1 + s ^ 2); [nra |].
  replace (2 * s / (1 + s ^ 2) * (r ^ 2 + 1) * (1 + s ^ 2)) with (2 * s * (r ^ 2 + 1)) by (field; nra).
  assert (0 <= (r - s) * (r * s - 1)) by (apply Rmult_le_pos; nra). nra.
Qed.

(** T columns, where T is at least q times the rank. *)
Theorem p3_deterministic n d X m T q : (0 < m)%nat -> row_rank n d X m -> 1 < q -> q * INR m <= INR T ->
  exists l eps, length l = T /\ (forall p, In p l -> (fst p < d)%nat /\ 0 < snd p) /\
    eps <= b_bss_epsilon q /\ loewner n (gram d X) (reweighted l X) eps.
Proof.
  intros Hm (Q & Y & chosen & B) Hq HT. pose proof (lt_0_INR m Hm) as M.
  set (r := sqrt (INR T / INR m)).
  assert (TM : q <= INR T / INR m) by (apply le_div; auto).
  assert (R2 : r ^ 2 = INR T / INR m) by (apply pow2_sqrt; lra).
  assert (R1 : 1 < r) by (unfold r; rewrite <- sqrt_1; apply sqrt_lt_1; lra).
  set (low := / r). set (high := (r - 1) / (r * (r + 1))). set (pace := (r + 1) / (r - 1)).
  assert (F : forall i j, (i < m)%nat -> (j < m)%nat ->
    fsum d (fun c => (fun c a => Q a c) c i * (fun c a => Q a c) c j) = unit_vector i j).
  { intros i j Hi Hj. change (dot d (Q i) (Q j) = unit_vector i j).
    rewrite (basis_orthonormal _ _ _ _ _ _ _ B) by auto. unfold unit_vector. now rewrite Nat.eqb_sym. }
  destruct (all_steps m d (fun c a => Q a c) F Hm low high pace T) as (l & Ll & P & Bt).
  { apply Rmult_lt_0_compat; [lra | apply Rinv_0_lt_compat; lra]. }
  { unfold low. split; [apply Rinv_0_lt_compat; lra |]. rewrite <- Rinv_1. apply Rinv_lt_contravar; lra. }
  { apply Rmult_lt_0_compat; [lra | apply Rinv_0_lt_compat; nra]. }
  { right. unfold pace, high, low. field. repeat split; lra. }
  assert (ET : INR T = r ^ 2 * INR m) by (rewrite R2; field; lra).
  set (lo := INR m * r * (r - 1)). set (hi := INR m * r * (r + 1) ^ 2 / (r - 1)).
  replace (- (INR m / low) + INR T) with lo in Bt by (unfold lo, low; rewrite ET; field; lra).
  replace (INR m / high + INR T * pace) with hi in Bt
    by (unfold hi, high, pace; rewrite ET; field; repeat split; lra).
  assert (L0 : 0 < lo) by (unfold lo; apply Rmult_lt_0_compat; [apply Rmult_lt_0_compat |]; lra).
  assert (H0 : 0 < hi).
  { unfold hi. apply Rmult_lt_0_compat; [| apply Rinv_0_lt_compat; lra].
    apply Rmult_lt_0_compat; [apply Rmult_lt_0_compat; lra | apply pow_lt; lra]. }
  set (s := 2 / (lo + hi)). set (eps := 2 * r / (r ^ 2 + 1)).
  assert (S0 : 0 < s) by (apply Rmult_lt_0_compat; [lra | apply Rinv_0_lt_compat; lra]).
  assert (SL : s * lo = 1 - eps).
  { unfold s, eps, lo, hi. field. repeat split; nra. }
  assert (SH : s * hi = 1 + eps).
  { unfold s, eps, lo, hi. field. repeat split; nra. }
  exists (map (fun p => (fst p, s * snd p)) l), eps. split; [now rewrite map_length | split; [| split]].
  - intros p Hp. apply in_map_iff in Hp. destruct Hp as (p' & <- & Hp). destruct (P p' Hp). simpl.
    split; [auto | apply Rmult_lt_0_compat; auto].
  - apply bss_epsilon_decreases; [auto | lra | lra].
  - intros x. set (w := fun a => fsum n (fun i => x i * Y i a)).
    assert (C : forall c, (c < d)%nat -> fsum n (fun i => x i * X i c) = spanned m w Q c).
    { intros c Hc. unfold w, spanned.
      rewrite (fsum_ext n _ (fun i => fsum m (fun a => x i * Y i a * Q a c))).
      - rewrite fsum_swap. apply fsum_ext. intros a _. now rewrite fsum_scale_r.
      - intros i Hi. rewrite (basis_spans _ _ _ _ _ _ _ B) by auto. unfold spanned.
        rewrite <- fsum_scale. apply fsum_ext. intros. ring. }
    assert (G : quad n (gram d X) x = dot m w w).
    { rewrite quad_gram.
      rewrite <- (dot_spanned_spanned d m w w Q (basis_orthonormal _ _ _ _ _ _ _ B)).
      apply fsum_ext. intros c Hc. rewrite C by auto. ring. }
    assert (H : quad n (reweighted (map (fun p => (fst p, s * snd p)) l) X) x
      = s * form m (weighted_total (fun c a => Q a c) l) w w).
    { rewrite quad_reweighted, lsum_map. cbn [fst snd].
      rewrite (lsum_ext _ (fun p => s * (snd p * spanned m w Q (fst p) ^ 2))).
      - rewrite lsum_scale. f_equal. unfold form, app, weighted_total, dot.
        rewrite (fsum_ext m _ (fun i => lsum (fun p => snd p * spanned m w Q (fst p) * (w i * Q i (fst p))) l)).
        + rewrite <- lsum_fsum. apply lsum_ext. intros p _. unfold spanned.
          rewrite fsum_scale. simpl. ring.
        + intros i _.
          rewrite (fsum_ext m _ (fun j => lsum (fun p => snd p * Q i (fst p) * (w j * Q j (fst p))) l)).
          * rewrite <- lsum_fsum, <- lsum_scale. apply lsum_ext. intros p _. rewrite fsum_scale.
            unfold spanned. ring.
          * intros j _. rewrite Rmult_comm, <- lsum_scale. apply lsum_ext. intros. ring.
      - intros p Hp. destruct (P p Hp) as [Hc _]. rewrite C by auto. ring. }
    rewrite G, H, <- SL, <- SH. pose proof (between_forms m _ _ _ _ _ w Bt) as [A1 A2].
    rewrite !Rmult_assoc. split; apply Rmult_le_compat_l; lra.
Qed.
