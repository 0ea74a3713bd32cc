(** CountSketch: one row (claim P2.recovery).

    A row with seed a keeps sums of s_a(j) y_j over the j with one h_a(j), and estimates y_i by
    s_a(i) times the sum in the bucket of i.  Probabilities are shares of a finite list of seeds.

    Steps: (1) distinct keys collide for at most a share 1 / B of the seeds, and the products of
    their signs cancel, so the estimate is unbiased and its variance at most ||y||^2 / B; (2) a row
    misses only if one of k heavy entries falls on i, or, by Chebyshev, if the rest does harm. *)

Require Import Reals Lra List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Probability.
From Attest.Streaming Require Import Heap.
Import ListNotations.
Open Scope R_scope.

(** * One row *)

(** 1 if i and j have the same bucket. *)
Definition collide {A : Type} (h : A -> nat -> nat) (a : A) (i j : nat) : R :=
  if Nat.eqb (h a i) (h a j) then 1 else 0.

Definition estimate {A : Type} (h : A -> nat -> nat) (s : A -> nat -> R) (n : nat) (y : nat -> R)
  (i : nat) (a : A) : R := s a i * fsum n (fun j => collide h a j i * (s a j * y j)).

(** What the variance asks of the hash functions: pairs collide for a share of at most 1 / B. *)
Definition universal {A : Type} (seeds : list A) (h : A -> nat -> nat) (n B : nat) : Prop :=
  forall i j, (i < n)%nat -> (j < n)%nat -> i <> j ->
    expect seeds (fun a => collide h a i j) <= / INR B.

(** What it asks of the signs: those of a pair cancel, whatever bucket they are in. *)
Definition cancelling {A : Type} (seeds : list A) (h : A -> nat -> nat) (s : A -> nat -> R)
  (n : nat) : Prop :=
  (forall a i, s a i * s a i = 1) /\
  forall i j k, (i < n)%nat -> (j < n)%nat -> (k < n)%nat -> j <> k ->
    expect seeds (fun a => s a j * s a k * (collide h a j i * collide h a k i)) = 0.

(** What the entries w other than i add to the bucket of i. *)
Definition noise {A : Type} (h : A -> nat -> nat) (s : A -> nat -> R) (n : nat) (w : nat -> R)
  (i : nat) (a : A) : R :=
  fsum n (fun j => collide h a j i * (s a j * (if Nat.eqb j i then 0 else w j))).

Lemma collide_same {A} (h : A -> nat -> nat) a i : collide h a i i = 1.
Proof. unfold collide. now rewrite Nat.eqb_refl. Qed.

Lemma collide_square {A} (h : A -> nat -> nat) a i j :
  collide h a i j * collide h a i j = collide h a i j.
Proof. unfold collide. destruct (Nat.eqb _ _); ring. Qed.

Lemma collide_range {A} (h : A -> nat -> nat) a i j : 0 <= collide h a i j <= 1.
Proof. unfold collide. destruct (Nat.eqb _ _); lra. Qed.

Lemma fsum_only n i x : (i < n)%nat -> fsum n (fun j => if Nat.eqb j i then x else 0) = x.
Proof. intros H. rewrite fsum_one by auto. ring. Qed.

Lemma estimate_error {A} (h : A -> nat -> nat) s n y i a : s a i * s a i = 1 -> (i < n)%nat ->
  estimate h s n y i a - y i = s a i * noise h s n y i a.
Proof.
  intros Hs Hi. unfold estimate, noise.
  assert (E : fsum n (fun j => collide h a j i * (s a j * y j))
    = s a i * y i + fsum n (fun j => collide h a j i * (s a j * (if Nat.eqb j i then 0 else y j)))).
  { rewrite <- (fsum_only n i (s a i * y i) Hi), <- fsum_plus. apply fsum_ext. intros j _.
    destruct (Nat.eqb_spec j i) as [-> |]; [rewrite collide_same; ring | ring]. }
  rewrite E, Rmult_plus_distr_l, <- Rmult_assoc, Hs. ring.
Qed.

Lemma noise_square {A} (seeds : list A) h s n B w i : seeds <> [] -> (i < n)%nat ->
  universal seeds h n B -> cancelling seeds h s n ->
  expect seeds (fun a => noise h s n w i a ^ 2)
    <= fsum n (fun j => if Nat.eqb j i then 0 else w j ^ 2) / INR B.
Proof.
  intros Hne Hi Hu [Hs Hc]. set (v := fun j => if Nat.eqb j i then 0 else w j).
  assert (E : expect seeds (fun a => noise h s n w i a ^ 2)
    = fsum n (fun j => v j ^ 2 * expect seeds (fun a => collide h a j i))).
  { rewrite (expect_ext _ _ (fun a => fsum n (fun j => fsum n (fun k =>
      v j * v k * (s a j * s a k * (collide h a j i * collide h a k i)))))).
    - rewrite expect_fsum. apply fsum_ext. intros j Hj.
      rewrite expect_fsum.
      rewrite <- (fsum_only n j (v j ^ 2 * expect seeds (fun a => collide h a j i)) Hj).
      apply fsum_ext. intros k Hk.
      rewrite expect_scale. destruct (Nat.eqb_spec k j) as [-> | Hne'].
      + rewrite (expect_ext _ _ (fun a => collide h a j i))
          by (intros; rewrite Hs, collide_square; ring). ring.
      + rewrite Hc by auto. ring.
    - intros a _. unfold noise. fold v. simpl. rewrite Rmult_1_r, fsum_product.
      apply fsum_ext. intros. apply fsum_ext. intros. unfold v. ring. }
  rewrite E, <- fsum_div. apply fsum_le. intros j Hj. unfold v.
  destruct (Nat.eqb_spec j i) as [-> | Hne']; [simpl; unfold Rdiv; lra |].
  apply Rmult_le_compat_l; [apply pow2_ge_0 | apply Hu; auto].
Qed.

Theorem p2_sketch_unbiased {A} (seeds : list A) h s n y i : seeds <> [] -> (i < n)%nat ->
  cancelling seeds h s n -> expect seeds (estimate h s n y i) = y i.
Proof.
  intros Hne Hi [Hs Hc].
  transitivity (expect seeds (fun a => y i + s a i * noise h s n y i a)).
  - apply expect_ext. intros a _. rewrite <- estimate_error; auto. ring.
  - rewrite expect_plus, expect_const by auto. unfold noise.
    rewrite (expect_ext _ (fun a => s a i * _) (fun a => fsum n (fun j =>
      (if Nat.eqb j i then 0 else y j) * (s a j * s a i * (collide h a j i * collide h a i i))))).
    + rewrite expect_fsum, fsum_zero; [ring |]. intros j Hj. rewrite expect_scale.
      destruct (Nat.eqb_spec j i); [ring | rewrite Hc by auto; ring].
    + intros a _. rewrite <- fsum_scale. apply fsum_ext. intros. rewrite collide_same. ring.
Qed.

Theorem p2_sketch_variance {A} (seeds : list A) h s n B y i : seeds <> [] -> (i < n)%nat ->
  universal seeds h n B -> cancelling seeds h s n ->
  expect seeds (fun a => (estimate h s n y i a - y i) ^ 2)
    <= fsum n (fun j => if Nat.eqb j i then 0 else y j ^ 2) / INR B.
Proof.
  intros Hne Hi Hu Hc. rewrite (expect_ext _ _ (fun a => noise h s n y i a ^ 2)).
  - apply noise_square; auto.
  - intros a _. rewrite estimate_error by (auto; apply Hc). rewrite Rpow_mult_distr.
    replace (s a i ^ 2) with (s a i * s a i) by ring. rewrite (proj1 Hc). ring.
Qed.

(** * A row misses seldom *)

(** The estimate of y is [far] off. *)
Definition misses {A : Type} (far : R -> bool) (estimate : A -> R) (y : R) (a : A) : bool :=
  far (Rabs (estimate a - y)).

Lemma recovery_row_form k B accuracy : (0 < B)%nat -> 0 < accuracy ->
  b_recovery_row_failure k B accuracy = INR k / INR B * (1 + 1 / accuracy ^ 2).
Proof.
  intros HB Ha. pose proof (lt_0_INR B HB). unfold b_recovery_row_failure. field. lra.
Qed.

(** z is any k-sparse vector: the heavy entries are its support, the tail is ||y - z||.  A tail of 0
    is allowed, as what is far off is then more than 0. *)
Theorem p2_recovery_row_failure {A} (seeds : list A) h s n B y z k i accuracy far : seeds <> [] ->
  (i < n)%nat -> (0 < B)%nat -> (0 < k)%nat -> 0 < accuracy ->
  universal seeds h n B -> cancelling seeds h s n -> sparse n k z ->
  (forall x, far x = true -> 0 < x /\ accuracy * distance n y z / sqrt (INR k) <= x) ->
  probability seeds (misses far (estimate h s n y i) (y i)) <= b_recovery_row_failure k B accuracy.
Proof.
  intros Hne Hi HB Hk Ha Hu Hc (support & Ls & Hz) Hfar. rewrite recovery_row_form by auto.
  pose proof (lt_0_INR B HB) as HB0. pose proof (lt_0_INR k Hk) as Hk0.
  pose proof (sqrt_lt_R0 _ Hk0) as Sk. pose proof (sqrt_sqrt (INR k) (pos_INR k)) as SS.
  pose proof (distance_square n y z) as TT.
  pose proof (sqrt_pos (squared_distance n y z)) as Ht. fold (distance n y z) in Ht.
  set (t := distance n y z) in *. set (r := sqrt (INR k)) in *. set (tau := accuracy * t / r) in *.
  assert (Htau : 0 <= tau).
  { apply Rmult_le_pos; [apply Rmult_le_pos; lra | left; apply Rinv_0_lt_compat; auto]. }
  assert (Etau : tau ^ 2 = accuracy ^ 2 * (t * t) / INR k).
  { unfold tau. rewrite <- SS. field. lra. }
  set (share := if Req_EM_T t 0 then 0 else / tau ^ 2).
  assert (Share : 0 <= share /\ share * (t * t / INR B) <= INR k / INR B * (1 / accuracy ^ 2) /\
    (t <> 0 -> share * tau ^ 2 = 1)).
  { assert (0 < accuracy ^ 2) by (apply pow_lt; auto).
    assert (0 <= INR k / INR B * (1 / accuracy ^ 2)).
    { apply Rmult_le_pos; apply le_div; auto; lra. }
    unfold share. destruct (Req_EM_T t 0) as [E | E]; [repeat split; lra |].
    assert (0 < tau ^ 2).
    { rewrite Etau. apply Rmult_lt_0_compat; [| apply Rinv_0_lt_compat; auto].
      apply Rmult_lt_0_compat; auto. nra. }
    repeat split.
    - left. apply Rinv_0_lt_compat. auto.
    - right. rewrite Etau. field. repeat split; lra.
    - intros _. field. simpl in *. nra. }
  destruct Share as (S0 & S1 & S2).
  set (light := fun j => if listed support j then 0 else y j).
  assert (Light : forall j, (j < n)%nat -> light j ^ 2 <= (y j - z j) ^ 2).
  { intros j Hj. unfold light, listed. pose proof (pow2_ge_0 (y j - z j)).
    destruct (in_dec Nat.eq_dec j support) as [| Hj']; [simpl in *; lra |].
    rewrite (Hz j Hj Hj'). right. f_equal. ring. }
  assert (Light0 : t = 0 -> forall j, (j < n)%nat -> light j = 0).
  { intros E j Hj. specialize (Light j Hj).
    pose proof (fsum_term n (fun j => (y j - z j) ^ 2) j (fun i _ => pow2_ge_0 _) Hj) as T.
    fold (squared_distance n y z) in T. rewrite <- TT, E, Rmult_0_l in T.
    pose proof (pow2_ge_0 (light j)). apply Rsqr_0_uniq. unfold Rsqr. simpl in *. lra. }
  set (heavy := filter (fun j => negb (Nat.eqb j i)) (nodup Nat.eq_dec
    (filter (fun j => Nat.ltb j n) support))).
  (* a miss is a heavy collision or a large noise of the rest *)
  assert (Miss : forall a, In a seeds ->
    (if misses far (estimate h s n y i) (y i) a then 1 else 0)
    <= lsum (fun j => collide h a j i) heavy + share * noise h s n light i a ^ 2).
  { intros a _. assert (N0 : 0 <= share * noise h s n light i a ^ 2)
      by (apply Rmult_le_pos; [auto | apply pow2_ge_0]).
    assert (H0 : 0 <= lsum (fun j => collide h a j i) heavy)
      by (apply lsum_nonneg; intros; apply collide_range).
    unfold misses. destruct (far (Rabs _)) eqn:F; [| lra]. destruct (Hfar _ F) as [Hm0 Hm].
    clear F.
    destruct (Rle_dec 1 (lsum (fun j => collide h a j i) heavy)) as [| Hno]; [lra |].
    assert (Free : forall j, In j heavy -> collide h a j i = 0).
    { intros j Hj. unfold collide. destruct (Nat.eqb_spec (h a j) (h a i)) as [E |]; auto.
      exfalso. apply Hno. clear - Hj E. induction heavy as [| m l IH]; [destruct Hj |].
      unfold lsum in *. simpl. destruct Hj as [-> | Hj].
      - assert (0 <= fold_right Rplus 0 (map (fun j0 => collide h a j0 i) l))
          by (apply (lsum_nonneg (fun j0 => collide h a j0 i)); intros; apply collide_range).
        unfold collide at 1. rewrite E, Nat.eqb_refl. lra.
      - specialize (IH Hj). pose proof (collide_range h a m i). lra. }
    assert (Same : noise h s n y i a = noise h s n light i a).
    { apply fsum_ext. intros j Hj. unfold light, listed.
      destruct (Nat.eqb_spec j i) as [| Hji]; auto.
      destruct (in_dec Nat.eq_dec j support) as [Hin |]; auto. rewrite Free; [ring |].
      unfold heavy. apply filter_In. split.
      - apply nodup_In, filter_In. split; auto. apply Nat.ltb_lt. auto.
      - destruct (Nat.eqb_spec j i); [contradiction | reflexivity]. }
    rewrite estimate_error, Same, Rabs_mult in Hm0, Hm by (auto; apply Hc).
    assert (One : Rabs (s a i) = 1).
    { apply Rsqr_inj; [apply Rabs_pos | lra |]. unfold Rsqr.
      rewrite <- Rabs_mult, (proj1 Hc), Rabs_R1. ring. }
    rewrite One, Rmult_1_l in Hm0, Hm.
    destruct (Req_EM_T t 0) as [E | E].
    - (* without a tail there is no noise *)
      exfalso. assert (Z : noise h s n light i a = 0).
      { apply fsum_zero. intros j Hj. destruct (Nat.eqb_spec j i); [ring |].
        rewrite (Light0 E j Hj). ring. }
      rewrite Z, Rabs_R0 in Hm0. lra.
    - assert (share * tau ^ 2 <= share * noise h s n light i a ^ 2).
      { apply Rmult_le_compat_l; auto. rewrite <- (pow2_abs (noise _ _ _ _ _ _)).
        apply pow_incr. lra. }
      specialize (S2 E). lra. }
  unfold probability. eapply Rle_trans; [apply expect_le; [auto | exact Miss] |].
  rewrite expect_plus, expect_scale.
  assert (Hheavy : expect seeds (fun a => lsum (fun j => collide h a j i) heavy)
    <= INR k * / INR B).
  { assert (L : (length heavy <= k)%nat).
    { transitivity (length support); auto. apply NoDup_incl_length.
      - apply NoDup_filter, NoDup_nodup.
      - intros j Hj. apply filter_In in Hj. destruct Hj as [Hj _].
        apply nodup_In, filter_In in Hj. tauto. }
    apply Rle_trans with (INR (length heavy) * / INR B).
    - assert (Q : forall j, In j heavy -> expect seeds (fun a => collide h a j i) <= / INR B).
      { intros j Hj. apply filter_In in Hj. destruct Hj as [Hj Hji].
        apply nodup_In, filter_In in Hj. destruct Hj as [_ Hjn]. apply Nat.ltb_lt in Hjn.
        apply Hu; auto. destruct (Nat.eqb_spec j i); [discriminate | auto]. }
      clear - Q. induction heavy as [| m l IH].
      + unfold expect. rewrite (lsum_ext _ (fun _ => 0)), lsum_const by reflexivity.
        simpl. unfold Rdiv. lra.
      + cbn [length]. rewrite S_INR.
        assert (E : expect seeds (fun a => lsum (fun j => collide h a j i) (m :: l))
          = expect seeds (fun a => collide h a m i)
            + expect seeds (fun a => lsum (fun j => collide h a j i) l))
          by apply expect_plus.
        rewrite E. assert (expect seeds (fun a => collide h a m i) <= / INR B)
          by (apply Q; simpl; auto).
        assert (expect seeds (fun a => lsum (fun j => collide h a j i) l)
          <= INR (length l) * / INR B) by (apply IH; intros; apply Q; simpl; auto).
        lra.
    - apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; auto | apply le_INR; auto]. }
  assert (Hlight : fsum n (fun j => if Nat.eqb j i then 0 else light j ^ 2) <= t * t).
  { rewrite TT. apply fsum_le. intros j Hj. pose proof (pow2_ge_0 (y j - z j)).
    destruct (Nat.eqb j i); auto. }
  pose proof (noise_square seeds h s n B light i Hne Hi Hu Hc) as V.
  assert (share * expect seeds (fun a => noise h s n light i a ^ 2) <= share * (t * t / INR B)).
  { apply Rmult_le_compat_l; auto. eapply Rle_trans; [exact V |].
    apply Rmult_le_compat_r; auto. left. apply Rinv_0_lt_compat. auto. }
  unfold Rdiv in *. lra.
Qed.
