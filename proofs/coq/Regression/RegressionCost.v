(** What the gradient, the Hessian and its products take (claim P4.cost).

    Counted are scalar products and quotients, one by one: a computation is a result and their
    number, and is built by the functions of the first section alone.  Sums and exponentials are
    free, and so is to read a result again.  The programs take the steps of reference/regression.py.

    Steps: (1) what the programs compute is the gradient and the Hessian of AttentionRegression.v, and
    of the gradient the derivative along a line; (2) a table of results that take c products each takes
    c times its size. *)

Require Import Reals FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Derivatives Averages.
From Attest.Softmax Require Import Softmax.
From Attest.Regression Require Import Regression Curvature AttentionRegression.
Open Scope R_scope.

(** * Computations that count *)

Definition counted (A : Type) : Type := (A * nat)%type.

Definition free {A : Type} (x : A) : counted A := (x, 0%nat).
Definition product (x y : R) : counted R := (x * y, 1%nat).
Definition quotient_of (x y : R) : counted R := (x / y, 1%nat).

(** A computation that reads the result of another. *)
Definition reading {A B : Type} (x : counted A) (f : A -> counted B) : counted B :=
  (fst (f (fst x)), (snd x + snd (f (fst x)))%nat).

Fixpoint count_of (n : nat) (f : nat -> nat) : nat :=
  match n with O => 0%nat | S n => (count_of n f + f n)%nat end.

Definition summed (n : nat) (f : nat -> counted R) : counted R :=
  (fsum n (fun i => fst (f i)), count_of n (fun i => snd (f i))).

Definition tabulated {A : Type} (n : nat) (f : nat -> counted A) : counted (nat -> A) :=
  (fun i => fst (f i), count_of n (fun i => snd (f i))).

(** A B, with so many rows and columns. *)
Definition matrix_product (rows inside columns : nat) (A B : nat -> nat -> R) :
    counted (nat -> nat -> R) :=
  tabulated rows (fun i => tabulated columns (fun j =>
    summed inside (fun l => product (A i l) (B l j)))).

Definition transposed (A : nat -> nat -> R) (i j : nat) : R := A j i.

Lemma count_of_const n c : INR (count_of n (fun _ => c)) = INR n * INR c.
Proof.
  induction n; [simpl; ring |]. change (count_of (S n) (fun _ => c))
    with (count_of n (fun _ => c) + c)%nat. rewrite plus_INR, IHn, S_INR. ring.
Qed.

(** * The programs *)

Section Programs.

Variables (g : regression) (X Y : nat -> nat -> R).

Let n := query_count g.
Let m := key_count g.
Let d1 := query_dimension g.
Let d2 := key_dimension g.
Let d3 := feature_dimension g.
Let d := outputs g.

(** P *)
Definition weights_program : counted (nat -> nat -> R) :=
  reading (matrix_product n d1 d2 (A1 g) X) (fun AX =>
  reading (matrix_product n d2 m AX (transposed (A2 g))) (fun S =>
  tabulated n (fun i => tabulated m (fun j =>
    quotient_of (exp (S i j)) (fsum m (fun l => exp (S i l))))))).

(** F, R and g, from P *)
Definition slopes_program (P : nat -> nat -> R) :
    counted ((nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R)) :=
  reading (matrix_product n m d3 P (A3 g)) (fun F =>
  reading (matrix_product n d3 d F Y) (fun O =>
  reading (matrix_product m d3 d (A3 g) Y) (fun H =>
  let residuals i k := O i k - targets g i k in
  reading (matrix_product n d m residuals (transposed H)) (fun RH =>
  reading (tabulated n (fun i => summed d (fun k => product (residuals i k) (O i k)))) (fun RO =>
  reading (tabulated n (fun i => tabulated m (fun j => product (P i j) (RH i j - RO i)))) (fun G =>
  free (F, residuals, G))))))).

Definition gradient_program : counted ((nat -> nat -> R) * (nat -> nat -> R)) :=
  reading weights_program (fun P =>
  reading (slopes_program P) (fun FRG => let '(F, residuals, G) := FRG in
  reading (matrix_product n m d2 G (A2 g)) (fun GA =>
  reading (matrix_product d1 n d2 (transposed (A1 g)) GA) (fun x =>
  reading (matrix_product d3 n d (transposed F) residuals) (fun y =>
  free (x, y)))))).

(** What row i adds to H_XX and H_XY, from the mean of its keys and its rows of A1, P, F, R, g. *)
Definition row_program (mean a p f r G : nat -> R) :
    counted ((nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let key j b := A2 g j b - mean b in
  reading (tabulated d2 (fun b => tabulated m (fun j => product (key j b) (p j)))) (fun weighted =>
  reading (matrix_product d2 m d3 weighted (fun j c => A3 g j c - f c)) (fun K =>
  reading (matrix_product d2 d3 d K Y) (fun Q =>
  reading (matrix_product d2 d d2 Q (transposed Q)) (fun QQ =>
  reading (tabulated d2 (fun b => tabulated m (fun j => product (key j b) (G j)))) (fun sloped =>
  reading (matrix_product d2 m d2 sloped key) (fun M =>
  reading (tabulated d1 (fun s => tabulated d1 (fun t => product (a s) (a t)))) (fun aa =>
  reading (tabulated d1 (fun s => tabulated d2 (fun b => tabulated d1 (fun t =>
    tabulated d2 (fun c => product (aa s t) (QQ b c + M b c)))))) (fun xx =>
  reading (tabulated d2 (fun b => tabulated d3 (fun c => tabulated d (fun k =>
    product (Q b k) (f c))))) (fun Qf =>
  reading (tabulated d2 (fun b => tabulated d3 (fun c => tabulated d (fun k =>
    product (K b c) (r k))))) (fun Kr =>
  reading (tabulated d1 (fun s => tabulated d2 (fun b => tabulated d3 (fun c =>
    tabulated d (fun k => product (a s) (Qf b c k + Kr b c k)))))) (fun xy =>
  free (xx, xy)))))))))))).

(** H_XX, H_XY and F^T F *)
Definition hessian_program : counted
    ((nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R)) :=
  reading weights_program (fun P =>
  reading (slopes_program P) (fun FRG => let '(F, residuals, G) := FRG in
  reading (matrix_product n m d2 P (A2 g)) (fun mean =>
  reading (tabulated n (fun i =>
    row_program (mean i) (A1 g i) (P i) (F i) (residuals i) (G i))) (fun rows =>
  reading (matrix_product d3 n d3 (transposed F) F) (fun FF =>
  free (fun a b a' b' => fsum n (fun i => fst (rows i) a b a' b'),
        fun a b c k => fsum n (fun i => snd (rows i) a b c k), FF)))))).

(** The Hessian's product with (U, V), as the derivative of the gradient along it. *)
Definition product_program (U V : nat -> nat -> R) :
    counted ((nat -> nat -> R) * (nat -> nat -> R)) :=
  let row_dots columns A B :=
    tabulated n (fun i => summed columns (fun k => product (A i k) (B i k))) in
  reading weights_program (fun P =>
  reading (matrix_product n m d3 P (A3 g)) (fun F =>
  reading (matrix_product n m d2 P (A2 g)) (fun mean =>
  reading (matrix_product n d3 d F Y) (fun O =>
  reading (matrix_product m d3 d (A3 g) Y) (fun H =>
  let residuals i k := O i k - targets g i k in
  reading (matrix_product n d1 d2 (A1 g) U) (fun AU =>
  reading (matrix_product n d2 m AU (transposed (A2 g))) (fun S' =>
  reading (row_dots d2 AU mean) (fun s' =>
  reading (tabulated n (fun i => tabulated m (fun j => product (P i j) (S' i j - s' i)))) (fun P' =>
  reading (matrix_product n m d3 P' (A3 g)) (fun F' =>
  reading (matrix_product n d3 d F' Y) (fun FY =>
  reading (matrix_product n d3 d F V) (fun FV =>
  let O' i k := FY i k + FV i k in
  reading (matrix_product n d m residuals (transposed H)) (fun RH =>
  reading (row_dots d residuals O) (fun RO =>
  reading (matrix_product m d3 d (A3 g) V) (fun H' =>
  reading (matrix_product n d m O' (transposed H)) (fun OH =>
  reading (matrix_product n d m residuals (transposed H')) (fun RH' =>
  reading (row_dots d O' O) (fun OO =>
  reading (row_dots d residuals O') (fun RO' =>
  reading (tabulated n (fun i => tabulated m (fun j =>
    product (P' i j) (RH i j - RO i)))) (fun G1 =>
  reading (tabulated n (fun i => tabulated m (fun j =>
    product (P i j) (OH i j + RH' i j - OO i - RO' i)))) (fun G2 =>
  reading (matrix_product n m d2 (fun i j => G1 i j + G2 i j) (A2 g)) (fun GA =>
  reading (matrix_product d1 n d2 (transposed (A1 g)) GA) (fun x =>
  reading (matrix_product d3 n d (transposed F') residuals) (fun y1 =>
  reading (matrix_product d3 n d (transposed F) O') (fun y2 =>
  free (x, fun c k => y1 c k + y2 c k)))))))))))))))))))))))))).

End Programs.

(** * What they compute *)

Lemma reading_fst A B (x : counted A) (f : A -> counted B) : fst (reading x f) = fst (f (fst x)).
Proof. reflexivity. Qed.

Lemma weights_value g X : fst (weights_program g X) = query_weights g X.
Proof.
  assert (L : forall i j, fsum (key_dimension g) (fun l =>
    times (query_dimension g) (A1 g) X i l * A2 g j l) = query_logit g X i j)
    by (intros; symmetry; apply logit_dot).
  apply functional_extensionality. intros i. apply functional_extensionality. intros j.
  unfold query_weights, softmax, normalize. rewrite <- L.
  rewrite (fsum_ext _ (fun j => exp (query_logit g X i j))
    (fun j => exp (fsum (key_dimension g) (fun l =>
      times (query_dimension g) (A1 g) X i l * A2 g j l)))) by (intros; now rewrite L).
  reflexivity.
Qed.

Lemma slopes_value g X Y : fst (slopes_program g Y (query_weights g X))
  = (mean_feature g X, residual g X Y, logit_gradient g X Y).
Proof.
  set (O := times (feature_dimension g) (mean_feature g X) Y).
  set (R := fun i k => O i k - targets g i k).
  assert (ER : R = residual g X Y).
  { apply functional_extensionality. intros i. apply functional_extensionality. intros k.
    unfold R, O. now rewrite mean_of_values. }
  transitivity (mean_feature g X, R, fun i j => query_weights g X i j
    * (fsum (outputs g) (fun k => R i k * key_value g Y j k)
       - fsum (outputs g) (fun k => R i k * O i k)));
    [reflexivity |].
  rewrite ER. f_equal.
  apply functional_extensionality. intros i. apply functional_extensionality. intros j.
  unfold logit_gradient, dot. rewrite <- fsum_minus. f_equal. apply fsum_ext. intros k _.
  unfold O. rewrite mean_of_values. ring.
Qed.

Lemma gradient_value g X Y :
  fst (gradient_program g X Y) = (gradient_X g X Y, gradient_Y g X Y).
Proof.
  unfold gradient_program. rewrite reading_fst, weights_value, reading_fst, slopes_value.
  reflexivity.
Qed.

Lemma row_value g X Y i :
  let mu b := mean (key_count g) (query_weights g X i) (fun j => A2 g j b) in
  let row := row_program g Y mu (A1 g i) (query_weights g X i) (mean_feature g X i)
    (residual g X Y i) (logit_gradient g X Y i) in
  (forall a b a' b', fst (fst row) a b a' b'
    = A1 g i a * A1 g i a' * row_hessian g X Y i b b') /\
  (forall a b c k, snd (fst row) a b c k
    = A1 g i a * (key_value_covariance g X Y i b k * mean_feature g X i c
        + key_feature_covariance g X i b c * residual g X Y i k)).
Proof.
  intros mu.
  set (K := fun b c => fsum (key_count g) (fun j =>
    (A2 g j b - mu b) * query_weights g X i j * (A3 g j c - mean_feature g X i c))).
  assert (EK : K = key_feature_covariance g X i).
  { apply functional_extensionality. intros s. apply functional_extensionality. intros t.
    apply fsum_ext. intros. unfold mu, mean_feature. ring. }
  set (Q := times (feature_dimension g) K Y).
  assert (EQ : Q = key_value_covariance g X Y i) by (unfold Q; now rewrite EK).
  intros row. split; intros.
  - transitivity (A1 g i a * A1 g i a' * (fsum (outputs g) (fun k => Q b k * Q b' k)
      + fsum (key_count g) (fun j =>
          (A2 g j b - mu b) * logit_gradient g X Y i j * (A2 g j b' - mu b'))));
      [reflexivity |].
    rewrite EQ. unfold row_hessian. f_equal. f_equal. apply fsum_ext. intros.
    unfold centred_key, mu. ring.
  - transitivity (A1 g i a * (Q b k * mean_feature g X i c + K b c * residual g X Y i k));
      [reflexivity |].
    now rewrite EQ, EK.
Qed.

Lemma hessian_value g X Y :
  let H := fst (hessian_program g X Y) in
  (forall a b a' b', fst (fst H) a b a' b' = hessian_XX g X Y a b a' b') /\
  (forall a b c k, snd (fst H) a b c k = hessian_XY g X Y a b c k) /\
  (forall c k c' k', snd H c c' * (if Nat.eqb k k' then 1 else 0) = hessian_YY g X c k c' k').
Proof.
  unfold hessian_program. rewrite reading_fst, weights_value, reading_fst, slopes_value.
  split; [| split; [| reflexivity]]; intros; apply fsum_ext; intros i _.
  - exact (proj1 (row_value g X Y i) a b a' b').
  - exact (proj2 (row_value g X Y i) a b c k).
Qed.

(** * How many products *)

Ltac count_products :=
  cbv beta iota zeta delta [gradient_program hessian_program weights_program slopes_program
    row_program reading fst snd matrix_product summed tabulated product quotient_of free];
  repeat rewrite ?plus_INR, ?count_of_const; simpl (INR 0); simpl (INR 1); ring.

Theorem p4_gradient_products g X Y :
  fst (gradient_program g X Y) = (gradient_X g X Y, gradient_Y g X Y) /\
  INR (snd (gradient_program g X Y))
    = b_gradient_products (query_count g) (key_count g) (query_dimension g) (key_dimension g)
        (feature_dimension g) (outputs g).
Proof. split; [apply gradient_value | unfold b_gradient_products; count_products]. Qed.

Theorem p4_hessian_products g X Y :
  let H := fst (hessian_program g X Y) in
  (forall a b a' b', fst (fst H) a b a' b' = hessian_XX g X Y a b a' b') /\
  (forall a b c k, snd (fst H) a b c k = hessian_XY g X Y a b c k) /\
  (forall c k c' k', snd H c c' * (if Nat.eqb k k' then 1 else 0) = hessian_YY g X c k c' k') /\
  INR (snd (hessian_program g X Y))
    = b_hessian_products (query_count g) (key_count g) (query_dimension g) (key_dimension g)
        (feature_dimension g) (outputs g).
Proof.
  destruct (hessian_value g X Y) as (XX & XY & YY). intros H.
  split; [exact XX | split; [exact XY | split; [exact YY |]]].
  unfold b_hessian_products. count_products.
Qed.

(** Counts that do not depend on what is read add up. *)
Definition costs {A : Type} (c : R) (x : counted A) : Prop := INR (snd x) = c.

Lemma costs_reading A B c d (x : counted A) (f : A -> counted B) : costs c x ->
  (forall a, costs d (f a)) -> costs (c + d) (reading x f).
Proof. unfold costs. intros X F. simpl. now rewrite plus_INR, X, F. Qed.

Lemma costs_free A (x : A) : costs 0 (free x).
Proof. reflexivity. Qed.

Lemma costs_matrix_product rows inside columns A B :
  costs (INR rows * (INR columns * INR inside)) (matrix_product rows inside columns A B).
Proof.
  unfold costs, matrix_product, tabulated, summed, product. simpl snd.
  rewrite !count_of_const. simpl. ring.
Qed.

Lemma costs_products n m f h :
  costs (INR n * INR m) (tabulated n (fun i => tabulated m (fun j => product (f i j) (h i j)))).
Proof. unfold costs, tabulated, product. simpl snd. rewrite !count_of_const. simpl. ring. Qed.

Lemma costs_row_dots n m f h :
  costs (INR n * INR m) (tabulated n (fun i => summed m (fun k => product (f i k) (h i k)))).
Proof.
  unfold costs, tabulated, summed, product. simpl snd. rewrite !count_of_const. simpl. ring.
Qed.

Lemma costs_weights g X : costs (INR (query_count g) * (INR (key_dimension g)
    * INR (query_dimension g)) + (INR (query_count g) * (INR (key_count g) * INR (key_dimension g))
    + INR (query_count g) * INR (key_count g))) (weights_program g X).
Proof.
  apply costs_reading; [apply costs_matrix_product | intros].
  apply costs_reading; [apply costs_matrix_product | intros].
  unfold costs, tabulated, quotient_of. simpl snd. rewrite !count_of_const. simpl. ring.
Qed.

(** * The Hessian's product is the gradient's derivative *)

Section Product.

Variables (g : regression) (X Y U V : nat -> nat -> R).
Hypothesis Hm : (0 < key_count g)%nat.

Let m : nat := key_count g.
Let d : nat := outputs g.
Let P : nat -> nat -> R := query_weights g X.
Let slope (i j : nat) : R := query_logit g U i j - mean m (P i) (query_logit g U i).
Let P' (i j : nat) : R := P i j * slope i j.
Let O (i k : nat) : R := mean m (P i) (fun j => key_value g Y j k).
Let O' : nat -> nat -> R := velocity g X Y U V.
Let R0 : nat -> nat -> R := residual g X Y.

Let W i : weights m (P i).
Proof. apply weight_weights, Hm. Qed.

Lemma is_derive_weight i j : (j < m)%nat ->
  is_derive (fun t => query_weights g (moved X U t) i j) 0 (P' i j).
Proof.
  intros Hj. set (f := fun (l : nat) (_ : R) => if Nat.eqb l j then 1 else 0).
  assert (Pick : forall p h, mean m p (fun l => h l * f l 0) = p j * h j).
  { intros p h. unfold mean, dot, f.
    rewrite (fsum_ext m _ (fun l => if Nat.eqb l j then p j * h j else 0)).
    - rewrite fsum_one by exact Hj. ring.
    - intros l _. destruct (Nat.eqb_spec l j) as [-> |]; ring. }
  apply (is_derive_ext (fun t => mean m (row m (query_logit g X i) (query_logit g U i) t)
    (fun l => f l t))).
  - intros t. rewrite weight_moved. fold m.
    rewrite (mean_ext m _ (fun l => f l t) (fun l => 1 * f l 0)) by (intros; unfold f; ring).
    rewrite Pick. apply Rmult_1_r.
  - evar_last.
    + apply (is_derive_mean m _ _ f (fun _ => 0) 0 Hm). intros l. unfold f.
      apply (is_derive_const (if Nat.eqb l j then 1 else 0 : R)).
    + assert (E : row m (query_logit g X i) (query_logit g U i) 0 = P i).
      { unfold m. rewrite <- weight_moved, moved_0. reflexivity. }
      rewrite E.
      rewrite Pick, (mean_const m (P i) 0 (W i)).
      rewrite (mean_ext m (P i) (fun l => f l 0) (fun l => 1 * f l 0)) by (intros; ring).
      rewrite Pick. unfold P', slope. ring.
Qed.

Lemma is_derive_output i k : is_derive (fun t => mean m (query_weights g (moved X U t) i)
    (fun j => key_value g (moved Y V t) j k)) 0 (O' i k).
Proof.
  apply (is_derive_ext (fun t => residual g (moved X U t) (moved Y V t) i k + targets g i k)).
  - intros t. unfold residual. fold m. simpl. ring.
  - evar_last.
    + apply (is_derive_plus (fun t => residual g (moved X U t) (moved Y V t) i k)
        (fun _ => targets g i k)).
      * apply (is_derive_residual g X Y U V i k 0 Hm).
      * apply (is_derive_const (targets g i k)).
    + rewrite !moved_0. unfold plus, zero. simpl. unfold O'. ring.
Qed.

Lemma velocity_program i k :
  fsum (feature_dimension g) (fun c => fsum m (fun j => P' i j * A3 g j c) * Y c k)
    + fsum (feature_dimension g) (fun c => fsum m (fun j => P i j * A3 g j c) * V c k) = O' i k.
Proof.
  assert (E : forall Q Z, fsum (feature_dimension g) (fun c => fsum m (fun j => Q j * A3 g j c)
      * Z c k) = fsum m (fun j => Q j * key_value g Z j k)).
  { intros Q Z. rewrite (fsum_ext (feature_dimension g) _
      (fun c => fsum m (fun j => Q j * (A3 g j c * Z c k))))
      by (intros; rewrite <- fsum_scale_r; apply fsum_ext; intros; ring).
    rewrite fsum_swap. apply fsum_ext. intros. unfold key_value. now rewrite fsum_scale. }
  rewrite (E (P' i) Y), (E (P i) V). unfold O', velocity. fold m P.
  f_equal. transitivity (fsum m (fun j => P' i j * key_value g Y j k - O i k * P' i j)).
  2: { apply fsum_ext. intros. unfold P', slope, O. fold m P. ring. }
  rewrite fsum_minus, fsum_scale.
  replace (fsum m (P' i)) with 0; [ring |].
  unfold P', slope. change (fsum m (fun j => P i j * (query_logit g U i j
    - mean m (P i) (query_logit g U i)))) with (mean m (P i) (fun j => query_logit g U i j
    - mean m (P i) (query_logit g U i))). now rewrite (mean_centred m (P i) _ (W i)).
Qed.

Let G' (i j : nat) : R :=
  P' i j * (fsum d (fun k => R0 i k * key_value g Y j k) - fsum d (fun k => R0 i k * O i k))
  + P i j * (fsum d (fun k => O' i k * key_value g Y j k) + fsum d (fun k => R0 i k * key_value g V j k)
    - fsum d (fun k => O' i k * O i k) - fsum d (fun k => R0 i k * O' i k)).

Lemma is_derive_logit_gradient i j : (j < m)%nat ->
  is_derive (fun t => logit_gradient g (moved X U t) (moved Y V t) i j) 0 (G' i j).
Proof.
  intros Hj. unfold logit_gradient. fold m d.
  evar_last.
  - apply (is_derive_product (fun t => query_weights g (moved X U t) i j)
      (fun t => dot d (residual g (moved X U t) (moved Y V t) i) (fun k =>
        key_value g (moved Y V t) j k - mean m (query_weights g (moved X U t) i)
          (fun l => key_value g (moved Y V t) l k)))).
    + apply is_derive_weight, Hj.
    + unfold dot. apply (is_derive_fsum d (fun k t => residual g (moved X U t) (moved Y V t) i k
        * (key_value g (moved Y V t) j k - mean m (query_weights g (moved X U t) i)
          (fun l => key_value g (moved Y V t) l k)))
        (fun k _ => O' i k * (key_value g Y j k - O i k)
          + R0 i k * (key_value g V j k - O' i k))).
      intros k. evar_last.
      * apply (is_derive_product (fun t => residual g (moved X U t) (moved Y V t) i k)
          (fun t => key_value g (moved Y V t) j k - mean m (query_weights g (moved X U t) i)
            (fun l => key_value g (moved Y V t) l k))).
        -- apply (is_derive_residual g X Y U V i k 0 Hm).
        -- apply (is_derive_minus (fun t => key_value g (moved Y V t) j k)).
           ++ apply (is_derive_ext (fun t => key_value g Y j k + t * key_value g V j k));
                [intros; now rewrite value_moved |].
              instantiate (1 := key_value g V j k). auto_derive; [auto | ring].
           ++ apply is_derive_output.
      * rewrite !moved_0. unfold minus, plus, opp. simpl. unfold O', R0, O. fold m P. ring.
  - rewrite !moved_0. fold P. unfold G'. f_equal; f_equal.
    + unfold dot, R0, O. rewrite <- fsum_minus. apply fsum_ext. intros. fold m P. ring.
    + rewrite <- fsum_plus, <- !fsum_minus. apply fsum_ext. intros. ring.
Qed.

(** What the program reads: P', O, O' and R are those above. *)
Let n : nat := query_count g.
Let d1 : nat := query_dimension g.
Let d2 : nat := key_dimension g.
Let d3 : nat := feature_dimension g.

Let AU (i b : nat) : R := fsum d1 (fun a => A1 g i a * U a b).
Let read_P' (i j : nat) : R := P i j * (fsum d2 (fun b => AU i b * A2 g j b)
  - fsum d2 (fun b => AU i b * fsum m (fun l => P i l * A2 g l b))).
Let read_O (i k : nat) : R := fsum d3 (fun c => fsum m (fun j => P i j * A3 g j c) * Y c k).
Let read_O' (i k : nat) : R :=
  fsum d3 (fun c => fsum m (fun j => read_P' i j * A3 g j c) * Y c k)
  + fsum d3 (fun c => fsum m (fun j => P i j * A3 g j c) * V c k).

Lemma reads_P' : read_P' = P'.
Proof.
  apply functional_extensionality. intros i. apply functional_extensionality. intros j.
  unfold read_P', P', slope. f_equal. f_equal.
  - rewrite logit_dot. reflexivity.
  - unfold mean, dot.
    rewrite (fsum_ext d2 _ (fun b => fsum m (fun l => P i l * (AU i b * A2 g l b))))
      by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
    rewrite fsum_swap. apply fsum_ext. intros l _. rewrite fsum_scale. f_equal.
    rewrite logit_dot. reflexivity.
Qed.

Lemma reads_O : read_O = O.
Proof.
  apply functional_extensionality. intros i. apply functional_extensionality. intros k.
  exact (mean_of_values g X Y i k).
Qed.

Lemma reads_O' : read_O' = O'.
Proof.
  apply functional_extensionality. intros i. apply functional_extensionality. intros k.
  unfold read_O'. rewrite reads_P'. apply velocity_program.
Qed.

Lemma reads_R : (fun i k => read_O i k - targets g i k) = R0.
Proof. rewrite reads_O. reflexivity. Qed.

Theorem p4_hessian_product_value :
  let H := fst (product_program g X Y U V) in
  (forall a b, is_derive (fun t => gradient_X g (moved X U t) (moved Y V t) a b) 0 (fst H a b)) /\
  (forall c k, is_derive (fun t => gradient_Y g (moved X U t) (moved Y V t) c k) 0 (snd H c k)).
Proof.
  intros H. split.
  - intros a b. apply (is_derive_ext (fun t => dot (query_count g) (fun i => A1 g i a)
      (fun i => dot m (fun j => A2 g j b) (logit_gradient g (moved X U t) (moved Y V t) i)))).
    + intros t. unfold gradient_X, dot. apply fsum_ext. intros i _. f_equal. fold m.
      apply fsum_ext. intros. ring.
    + evar_last.
      * apply is_derive_dot. intros i _. apply is_derive_dot. intros j Hj.
        apply is_derive_logit_gradient, Hj.
      * unfold H, product_program. rewrite reading_fst, weights_value.
        transitivity (fsum n (fun i => A1 g i a * fsum m (fun j =>
          (read_P' i j * (fsum d (fun k => (read_O i k - targets g i k) * key_value g Y j k)
             - fsum d (fun k => (read_O i k - targets g i k) * read_O i k))
           + P i j * (fsum d (fun k => read_O' i k * key_value g Y j k)
             + fsum d (fun k => (read_O i k - targets g i k) * key_value g V j k)
             - fsum d (fun k => read_O' i k * read_O i k)
             - fsum d (fun k => (read_O i k - targets g i k) * read_O' i k))) * A2 g j b)));
          [| reflexivity].
        rewrite reads_P', reads_O'. pose proof reads_R as RR. pose proof reads_O as RO.
        apply fsum_ext. intros i _. f_equal. apply fsum_ext. intros j _.
        rewrite (fsum_ext d (fun k => (read_O i k - targets g i k) * key_value g Y j k)
          (fun k => R0 i k * key_value g Y j k)) by (intros; now rewrite <- RR).
        rewrite (fsum_ext d (fun k => (read_O i k - targets g i k) * read_O i k)
          (fun k => R0 i k * O i k)) by (intros; now rewrite <- RR, <- RO).
        rewrite (fsum_ext d (fun k => (read_O i k - targets g i k) * key_value g V j k)
          (fun k => R0 i k * key_value g V j k)) by (intros; now rewrite <- RR).
        rewrite (fsum_ext d (fun k => (read_O i k - targets g i k) * O' i k)
          (fun k => R0 i k * O' i k)) by (intros; now rewrite <- RR).
        rewrite RO. unfold G'. ring.
  - intros c k. apply (is_derive_ext (fun t => fsum n (fun i =>
      dot m (fun j => A3 g j c) (query_weights g (moved X U t) i)
      * residual g (moved X U t) (moved Y V t) i k))).
    + intros t. unfold gradient_Y, mean_feature, mean, dot. fold n m. apply fsum_ext. intros i _.
      f_equal. apply fsum_ext. intros. ring.
    + evar_last.
      * apply (is_derive_fsum n (fun i t => dot m (fun j => A3 g j c) (query_weights g (moved X U t) i)
          * residual g (moved X U t) (moved Y V t) i k)
          (fun i _ => dot m (fun j => A3 g j c) (P' i) * R0 i k
            + dot m (fun j => A3 g j c) (P i) * O' i k)).
        intros i. evar_last.
        -- apply (is_derive_product (fun t => dot m (fun j => A3 g j c)
             (query_weights g (moved X U t) i))
             (fun t => residual g (moved X U t) (moved Y V t) i k)).
           ++ apply is_derive_dot. intros j Hj. apply is_derive_weight, Hj.
           ++ apply (is_derive_residual g X Y U V i k 0 Hm).
        -- rewrite !moved_0. reflexivity.
      * unfold H, product_program. rewrite reading_fst, weights_value.
        transitivity (fsum n (fun i => fsum m (fun j => read_P' i j * A3 g j c)
            * (read_O i k - targets g i k))
          + fsum n (fun i => fsum m (fun j => P i j * A3 g j c) * read_O' i k)); [| reflexivity].
        rewrite reads_P', reads_O'. pose proof reads_R as RR. rewrite <- fsum_plus.
        apply fsum_ext. intros i _. rewrite <- RR. unfold dot. f_equal; f_equal;
          apply fsum_ext; intros; ring.
Qed.

End Product.

Theorem p4_hessian_product_products g X Y U V : (0 < key_count g)%nat ->
  let H := fst (product_program g X Y U V) in
  (forall a b, is_derive (fun t => gradient_X g (moved X U t) (moved Y V t) a b) 0 (fst H a b)) /\
  (forall c k, is_derive (fun t => gradient_Y g (moved X U t) (moved Y V t) c k) 0 (snd H c k)) /\
  INR (snd (product_program g X Y U V))
    = b_hessian_product_products (query_count g) (key_count g) (query_dimension g)
        (key_dimension g) (feature_dimension g) (outputs g).
Proof.
  intros Hm H. destruct (p4_hessian_product_value g X Y U V Hm) as [VX VY].
  split; [exact VX | split; [exact VY |]].
  unfold product_program. cbv zeta.
  match goal with |- INR (snd ?x) = ?c => change (costs c x) end.
  eassert (C : costs _ _); [| unfold costs in C |- *; etransitivity; [exact C |]].
  { apply costs_reading; [apply costs_weights | intros P].
    repeat (apply costs_reading;
      [first [apply costs_matrix_product | apply costs_products | apply costs_row_dots] |
       intros ?]).
    apply costs_free. }
  unfold b_hessian_product_products. ring.
Qed.
