(** Linear dependence, orthonormal bases and rank.

    What: (1) homogeneous equations of which there are fewer than unknowns have a solution that is not
    zero; (2) n vectors in d dimensions have an orthonormal basis of m <= min (n, d) vectors, and as many
    of them are independent; (3) coordinates over such a basis take every value.  How: (1) by elimination
    of one unknown, (2) by Gram and Schmidt, one vector after the other, (3) from (1).

    Equations are functions of the unknowns' index, in a list. *)

Require Import Reals Lra Lia List.
From Attest.Foundations Require Import Sums Lists Vectors.
Import ListNotations.
Open Scope R_scope.

(** * Leaving one index out *)

Definition skip (p i : nat) : nat := if (i <? p)%nat then i else S i.

Lemma fsum_skip n p f : (p < S n)%nat -> fsum (S n) f = f p + fsum n (fun i => f (skip p i)).
Proof.
  intros Hp. induction n as [| n IH].
  - replace p with O by lia. simpl. ring.
  - rewrite (fsum_S (S n) f). destruct (Nat.eq_dec p (S n)) as [-> | Hne].
    + rewrite (fsum_ext (S n) (fun i => f (skip (S n) i)) f); [ring |].
      intros i Hi. unfold skip. destruct (Nat.ltb_spec i (S n)); [reflexivity | lia].
    + rewrite IH by lia. rewrite (fsum_S n (fun i => f (skip p i))).
      replace (skip p n) with (S n) by (unfold skip; destruct (Nat.ltb_spec n p); [lia | reflexivity]).
      ring.
Qed.

Lemma skip_lt n p i : (p < S n)%nat -> (i < n)%nat -> (skip p i < S n)%nat.
Proof. unfold skip. destruct (Nat.ltb_spec i p); lia. Qed.

Lemma skip_not p i : skip p i <> p.
Proof. unfold skip. destruct (Nat.ltb_spec i p); lia. Qed.

(** What stands at the indices that are left, and at the one that is not. *)
Definition refill (p : nat) (at_p : R) (z : nat -> R) (j : nat) : R :=
  if (j =? p)%nat then at_p else z (if (j <? p)%nat then j else pred j).

Lemma refill_skip p x z i : refill p x z (skip p i) = z i.
Proof.
  unfold refill. destruct (Nat.eqb_spec (skip p i) p) as [E | _]; [now apply skip_not in E |].
  f_equal. unfold skip. destruct (Nat.ltb_spec i p); [destruct (Nat.ltb_spec i p); lia |].
  destruct (Nat.ltb_spec (S i) p); simpl; lia.
Qed.

Lemma refill_at p x z : refill p x z p = x.
Proof. unfold refill. now rewrite Nat.eqb_refl. Qed.

(** * Fewer equations than unknowns *)

Lemma zero_or_not k f : (forall i, (i < k)%nat -> f i = 0) \/ exists p, (p < k)%nat /\ f p <> 0.
Proof.
  induction k as [| k [IH | (p & Hp & E)]].
  - left. intros; lia.
  - destruct (Req_dec (f k) 0) as [E | E].
    + left. intros i Hi. destruct (Nat.eq_dec i k) as [-> |]; [auto | apply IH; lia].
    + right. exists k. split; [lia | auto].
  - right. exists p. split; [lia | auto].
Qed.

Lemma homogeneous_solution (L : list (nat -> R)) k : (length L < k)%nat ->
  exists z, (exists i, (i < k)%nat /\ z i <> 0) /\ forall f, In f L -> dot k z f = 0.
Proof.
  remember (length L) as m eqn:E. revert L E k.
  induction m as [| m IH]; intros L E k Hk.
  - destruct L; [| discriminate E]. exists (fun _ => 1). split; [exists 0%nat; split; [lia | lra] |].
    intros f [].
  - destruct L as [| f L]; [discriminate E |]. simpl in E.
    destruct (zero_or_not k f) as [Z | (p & Hp & Np)].
    + destruct (IH L ltac:(lia) k ltac:(lia)) as (z & N & H). exists z. split; auto.
      intros g [<- | Hg]; [| apply H; auto]. apply fsum_zero. intros i Hi. rewrite Z by auto. ring.
    + destruct k as [| k]; [lia |].
      set (less := fun (g : nat -> R) i => g (skip p i) - f (skip p i) / f p * g p).
      destruct (IH (map less L) ltac:(rewrite map_length; lia) k ltac:(lia)) as (z & (i & Hi & N) & H).
      set (at_p := - fsum k (fun i => z i * (f (skip p i) / f p))).
      exists (refill p at_p z). split.
      { exists (skip p i). split; [apply skip_lt; auto | now rewrite refill_skip]. }
      assert (D : forall g, dot (S k) (refill p at_p z) g
        = fsum k (fun i => z i * (g (skip p i) - f (skip p i) / f p * g p))).
      { intros g. unfold dot. rewrite (fsum_skip k p) by auto. rewrite refill_at. unfold at_p.
        rewrite (fsum_ext k (fun i => refill p _ z (skip p i) * g (skip p i))
          (fun i => z i * (g (skip p i) - f (skip p i) / f p * g p)
                    + (z i * (f (skip p i) / f p)) * g p))
          by (intros j _; rewrite refill_skip; ring).
        rewrite fsum_plus, fsum_scale_r. ring. }
      intros g [<- | Hg]; rewrite D.
      * apply fsum_zero. intros j _. field. auto.
      * exact (H (less g) (in_map less L g Hg)).
Qed.

(** The same for equations with a number. *)
Lemma dependent_rows m k (A : nat -> nat -> R) : (m < k)%nat ->
  exists z, (exists i, (i < k)%nat /\ z i <> 0) /\
    forall l, (l < m)%nat -> fsum k (fun i => z i * A i l) = 0.
Proof.
  intros H. destruct (homogeneous_solution (map (fun l i => A i l) (seq 0 m)) k) as (z & N & D).
  { rewrite map_length, seq_length. auto. }
  exists z. split; auto. intros l Hl. apply (D (fun i => A i l)).
  apply (in_map (fun l i => A i l)). apply in_seq. lia.
Qed.

(** * Orthonormal bases *)

Definition orthonormal (d m : nat) (Q : nat -> nat -> R) : Prop :=
  forall k l, (k < m)%nat -> (l < m)%nat -> dot d (Q k) (Q l) = if (k =? l)%nat then 1 else 0.

Definition independent (d m : nat) (X : nat -> nat -> R) : Prop :=
  forall z, (forall c, (c < d)%nat -> fsum m (fun l => z l * X l c) = 0) ->
  forall l, (l < m)%nat -> z l = 0.

(** The combination of the vectors Q l. *)
Definition spanned (m : nat) (y : nat -> R) (Q : nat -> nat -> R) (c : nat) : R :=
  fsum m (fun l => y l * Q l c).

Lemma fsum_delta m k (f : nat -> R) : (k < m)%nat ->
  fsum m (fun l => f l * (if (l =? k)%nat then 1 else 0)) = f k.
Proof.
  intros Hk. induction m; [lia |]. rewrite fsum_S. destruct (Nat.eqb_spec m k) as [-> | Hne].
  - rewrite fsum_zero; [ring |]. intros i Hi. destruct (Nat.eqb_spec i k); [lia | ring].
  - rewrite IHm by lia. ring.
Qed.

Lemma dot_comm d x y : dot d x y = dot d y x.
Proof. apply fsum_ext. intros. ring. Qed.

Lemma dot_spanned d m y Q x : dot d (spanned m y Q) x = fsum m (fun l => y l * dot d (Q l) x).
Proof.
  unfold dot, spanned.
  rewrite (fsum_ext d _ (fun c => fsum m (fun l => y l * (Q l c * x c))))
    by (intros c _; rewrite <- fsum_scale_r; apply fsum_ext; intros; ring).
  rewrite fsum_swap. apply fsum_ext. intros l _. now rewrite fsum_scale.
Qed.

Lemma dot_spanned_basis d m y Q k : orthonormal d m Q -> (k < m)%nat ->
  dot d (spanned m y Q) (Q k) = y k.
Proof.
  intros O Hk. rewrite dot_spanned, <- (fsum_delta m k y) by auto. apply fsum_ext.
  intros l Hl. now rewrite O.
Qed.

Lemma dot_spanned_spanned d m y z Q : orthonormal d m Q ->
  dot d (spanned m y Q) (spanned m z Q) = dot m y z.
Proof.
  intros O. rewrite dot_comm, dot_spanned. unfold dot at 2. apply fsum_ext. intros l Hl.
  rewrite dot_comm, dot_spanned_basis by auto. ring.
Qed.

Lemma orthonormal_le d m Q : orthonormal d m Q -> (m <= d)%nat.
Proof.
  intros O. destruct (Nat.le_gt_cases m d) as [| Hlt]; auto. exfalso.
  destruct (dependent_rows d m Q Hlt) as (z & (i & Hi & N) & D). apply N.
  rewrite <- (dot_spanned_basis d m z Q i O Hi). apply fsum_zero. intros c Hc.
  unfold spanned. rewrite D by auto. ring.
Qed.

(** X's first n vectors, their basis Q and coordinates Y, and which of them are independent. *)
Record basis (n d : nat) (X : nat -> nat -> R) (m : nat) (Q Y : nat -> nat -> R)
  (chosen : nat -> nat) : Prop := {
  basis_orthonormal : orthonormal d m Q;
  basis_small : (m <= n)%nat;
  basis_spans : forall i c, (i < n)%nat -> (c < d)%nat -> X i c = spanned m (Y i) Q c;
  basis_chosen : forall l, (l < m)%nat -> (chosen l < n)%nat;
  basis_independent : independent d m (fun l => X (chosen l)) }.

Lemma square_zero d r : dot d r r = 0 -> forall c, (c < d)%nat -> r c = 0.
Proof.
  intros H c Hc. assert (P : r c * r c <= dot d r r).
  { apply (fsum_term d (fun c => r c * r c)); [intros; nra | auto]. }
  nra.
Qed.

Lemma fsum_zero_combination d m r z (X : nat -> nat -> R) :
  (forall l, (l < m)%nat -> dot d r (X l) = 0) ->
  fsum d (fun c => r c * fsum m (fun l => z l * X l c)) = 0.
Proof.
  intros H. change (dot d r (spanned m z X) = 0). rewrite dot_comm, dot_spanned.
  apply fsum_zero. intros l Hl. rewrite dot_comm, H by auto. ring.
Qed.

Lemma orthonormal_basis n d X : exists m Q Y chosen, basis n d X m Q Y chosen.
Proof.
  induction n as [| n (m & Q & Y & chosen & [O Sm Sp Ch In])].
  - exists 0%nat, (fun _ _ => 0), (fun _ _ => 0), (fun _ => 0%nat). split; try (intros; lia).
    + intros k l Hk. lia.
    + intros z _ l Hl. lia.
  - set (y := fun l => dot d (X n) (Q l)). set (r := fun c => X n c - spanned m y Q c).
    assert (R : forall l, (l < m)%nat -> dot d r (Q l) = 0).
    { intros l Hl. transitivity (dot d (X n) (Q l) - dot d (spanned m y Q) (Q l)).
      - unfold dot. rewrite <- fsum_minus. apply fsum_ext. intros. unfold r. ring.
      - rewrite dot_spanned_basis by auto. unfold y. ring. }
    destruct (Req_dec (dot d r r) 0) as [Z | NZ].
    + exists m, Q, (fun i => if (i =? n)%nat then y else Y i), chosen. split; auto.
      * intros i c Hi Hc. destruct (Nat.eqb_spec i n) as [-> | Hne]; [| apply Sp; lia].
        pose proof (square_zero d r Z c Hc) as E. unfold r in E. lra.
      * intros l Hl. specialize (Ch l Hl). lia.
    + assert (P : 0 < dot d r r).
      { assert (0 <= dot d r r) by (apply fsum_nonneg; intros; nra). lra. }
      set (s := sqrt (dot d r r)). assert (Hs : 0 < s) by (apply sqrt_lt_R0; auto).
      assert (Es : s * s = dot d r r) by (apply sqrt_sqrt; lra).
      set (Q' := fun l c => if (l =? m)%nat then r c / s else Q l c).
      assert (QL : forall l, (l < m)%nat -> Q' l = Q l).
      { intros l Hl. unfold Q'. destruct (Nat.eqb_spec l m); [lia | reflexivity]. }
      assert (QM : forall v, dot d (Q' m) v = dot d r v / s).
      { intros v. unfold dot, Q'. rewrite Nat.eqb_refl.
        rewrite (fsum_ext d _ (fun c => r c * v c / s)) by (intros; field; lra).
        now rewrite fsum_div. }
      assert (RX : dot d r (X n) = s * s).
      { rewrite Es. transitivity (dot d r r + dot d r (spanned m y Q)).
        - unfold dot. rewrite <- fsum_plus. apply fsum_ext. intros. unfold r. ring.
        - rewrite (dot_comm d r (spanned m y Q)), dot_spanned.
          rewrite fsum_zero; [ring |]. intros l Hl. rewrite dot_comm, R by auto. ring. }
      exists (S m), Q', (fun i l => if (i =? n)%nat then (if (l =? m)%nat then s else y l)
                                     else (if (l =? m)%nat then 0 else Y i l)),
        (fun l => if (l =? m)%nat then n else chosen l).
      split.
      * intros k l Hk Hl. destruct (Nat.eqb_spec k l) as [<- | Hne].
        -- destruct (Nat.eq_dec k m) as [-> | Hk'].
           ++ rewrite QM, dot_comm, QM, <- Es. field. lra.
           ++ rewrite QL, O, Nat.eqb_refl by lia. reflexivity.
        -- destruct (Nat.eq_dec k m) as [-> | Hk'].
           ++ rewrite QM, QL, R by lia. field. lra.
           ++ destruct (Nat.eq_dec l m) as [-> | Hl'].
              ** rewrite dot_comm, QM, QL, R by lia. field. lra.
              ** rewrite !QL, O by lia. destruct (Nat.eqb_spec k l); [lia | reflexivity].
      * lia.
      * intros i c Hi Hc. unfold spanned. rewrite fsum_S. rewrite Nat.eqb_refl.
        destruct (Nat.eqb_spec i n) as [-> | Hne].
        -- unfold Q' at 2. rewrite Nat.eqb_refl.
           rewrite (fsum_ext m _ (fun l => y l * Q l c)).
           ++ fold (spanned m y Q c). unfold r. field. lra.
           ++ intros l Hl. rewrite QL by auto. destruct (Nat.eqb_spec l m); [lia | reflexivity].
        -- rewrite Sp by lia. unfold spanned. rewrite Rmult_0_l, Rplus_0_r. apply fsum_ext.
           intros l Hl. rewrite QL by auto. destruct (Nat.eqb_spec l m); [lia | reflexivity].
      * intros l Hl. destruct (Nat.eqb_spec l m); [lia |]. specialize (Ch l ltac:(lia)). lia.
      * intros z Hz.
        assert (E : forall c, (c < d)%nat ->
          fsum m (fun l => z l * X (chosen l) c) + z m * X n c = 0).
        { intros c Hc. rewrite <- (Hz c Hc), fsum_S. cbv beta.
          rewrite Nat.eqb_refl. f_equal. apply fsum_ext. intros l Hl. cbv beta.
          destruct (Nat.eqb_spec l m); [lia | reflexivity]. }
        assert (Zm : z m = 0).
        { assert (T : z m * (s * s) = 0).
          { rewrite <- RX.
            transitivity (dot d r (fun c => fsum m (fun l => z l * X (chosen l) c) + z m * X n c)).
            - unfold dot. rewrite (fsum_ext d (fun c => r c * (_ + _))
                (fun c => r c * fsum m (fun l => z l * X (chosen l) c) + z m * (r c * X n c)))
                by (intros; ring).
              rewrite fsum_plus, fsum_scale.
              rewrite (fsum_zero_combination d m r z (fun l => X (chosen l))); [ring |].
              intros l Hl. transitivity (dot d r (spanned m (Y (chosen l)) Q)).
              + apply fsum_ext. intros c Hc. f_equal. apply Sp; auto.
              + rewrite dot_comm, dot_spanned. apply fsum_zero. intros k Hk.
                rewrite dot_comm, R by auto. ring.
            - apply fsum_zero. intros c Hc. rewrite E by auto. ring. }
          nra. }
        intros l Hl. destruct (Nat.eq_dec l m) as [-> | Hne]; auto.
        apply (In z); [| lia]. intros c Hc. specialize (E c Hc). rewrite Zm in E. lra.
Qed.

(** No fewer dimensions hold vectors with the same inner products. *)
Lemma independent_dimension n d m X l (Y : nat -> nat -> R) (chosen : nat -> nat) :
  independent d m (fun i => X (chosen i)) -> (forall i, (i < m)%nat -> (chosen i < n)%nat) ->
  (forall i j, (i < n)%nat -> (j < n)%nat -> dot l (Y i) (Y j) = dot d (X i) (X j)) ->
  (m <= l)%nat.
Proof.
  intros In Ch G. destruct (Nat.le_gt_cases m l) as [| Hlt]; auto. exfalso.
  destruct (dependent_rows l m (fun i => Y (chosen i)) Hlt) as (z & (i & Hi & N) & D).
  apply N. apply In; auto. apply square_zero.
  change (dot d (spanned m z (fun i => X (chosen i))) (spanned m z (fun i => X (chosen i))) = 0).
  transitivity (dot l (spanned m z (fun i => Y (chosen i))) (spanned m z (fun i => Y (chosen i)))).
  - rewrite !dot_spanned. apply fsum_ext. intros a Ha. f_equal.
    rewrite (dot_comm d), (dot_comm l), !dot_spanned. apply fsum_ext. intros b Hb. f_equal.
    symmetry. apply G; auto.
  - apply fsum_zero. intros c Hc. unfold spanned. rewrite D by auto. ring.
Qed.

(** Coordinates over the basis take every value. *)
Lemma coordinates_surjective n d X m Q Y chosen w : basis n d X m Q Y chosen ->
  exists q, forall l, (l < m)%nat -> fsum n (fun i => q i * Y i l) = w l.
Proof.
  intros [O Sm Sp Ch In].
  set (A := fun i => if (i =? m)%nat then w else Y (chosen i)).
  destruct (dependent_rows m (S m) A ltac:(lia)) as (z & (i & Hi & N) & D).
  assert (D' : forall l, (l < m)%nat -> fsum m (fun i => z i * Y (chosen i) l) + z m * w l = 0).
  { intros l Hl. rewrite <- (D l Hl), fsum_S. unfold A at 2. rewrite Nat.eqb_refl. f_equal.
    apply fsum_ext. intros k Hk. unfold A. destruct (Nat.eqb_spec k m); [lia | reflexivity]. }
  assert (Zm : z m <> 0).
  { intros Zm. apply N. destruct (Nat.eq_dec i m) as [-> | Hne]; auto. apply In; [| lia].
    intros c Hc. rewrite (fsum_ext m _ (fun l => z l * spanned m (Y (chosen l)) Q c))
      by (intros l Hl; rewrite Sp; auto).
    unfold spanned.
    rewrite (fsum_ext m _ (fun l => fsum m (fun k => z l * Y (chosen l) k * Q k c)))
      by (intros l _; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
    rewrite fsum_swap. apply fsum_zero. intros k Hk. rewrite fsum_scale_r.
    specialize (D' k Hk). rewrite Zm in D'.
    replace (fsum m (fun i => z i * Y (chosen i) k)) with 0 by lra. ring. }
  exists (fun j => fsum m (fun i => (if (j =? chosen i)%nat then 1 else 0) * (- z i / z m))).
  intros l Hl.
  rewrite (fsum_ext n _ (fun j => fsum m (fun i =>
    (if (j =? chosen i)%nat then 1 else 0) * (- z i / z m) * Y j l)))
    by (intros j _; now rewrite <- fsum_scale_r).
  rewrite fsum_swap.
  rewrite (fsum_ext m _ (fun i => - / z m * (z i * Y (chosen i) l))).
  - rewrite fsum_scale. specialize (D' l Hl).
    replace (fsum m (fun i => z i * Y (chosen i) l)) with (- (z m * w l)) by lra. field. auto.
  - intros k Hk. rewrite (fsum_ext n _ (fun j => (- z k / z m * Y j l)
      * (if (j =? chosen k)%nat then 1 else 0))) by (intros; ring).
    rewrite fsum_delta by auto. field. auto.
Qed.

Lemma fsum_of_nth {A} (f : A -> R) l a : fsum (length l) (fun t => f (nth t l a)) = lsum f l.
Proof.
  induction l as [| b l IH]; [reflexivity |]. simpl length. rewrite (fsum_skip _ 0) by lia.
  change (f b + fsum (length l) (fun t => f (nth t l a)) = f b + lsum f l). now rewrite IH.
Qed.
