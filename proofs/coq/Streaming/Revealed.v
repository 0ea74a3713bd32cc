(** What the outputs of n queries reveal of the values (claim P2.storage).

    A cache that is linear in the values holds m numbers for each column of them.  If it answers the
    n queries 0, u, ..., (n - 1) u, where u tells the keys apart, then m >= n.

    Steps: (1) m < n numbers that are linear in n vanish for some values that are not all 0; (2) a
    combination of the powers 0, ..., n - 1 of n different numbers vanishes only if its coefficients do
    (Vandermonde); (3) the weights of query t u are such powers, of e^{u . k_j}. *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax.
Open Scope R_scope.

(** * Fewer equations than unknowns *)

Lemma some_or_none m (f : nat -> R) :
  (exists i, (i < m)%nat /\ f i <> 0) \/ (forall i, (i < m)%nat -> f i = 0).
Proof.
  induction m as [| m [(i & Hi & H) | H]].
  - right. intros i Hi. lia.
  - left. exists i. split; [lia | exact H].
  - destruct (Req_EM_T (f m) 0) as [E | E].
    + right. intros i Hi. destruct (Nat.eq_dec i m) as [-> |]; [exact E | apply H; lia].
    + left. exists m. split; [lia | exact E].
Qed.

(** The rows but row p. *)
Definition others (p i : nat) : nat := if Nat.ltb i p then i else S i.

Lemma vanishing m : forall n (L : nat -> nat -> R), (m < n)%nat ->
  exists v, (exists j, (j < n)%nat /\ v j <> 0) /\
    forall i, (i < m)%nat -> fsum n (fun j => L i j * v j) = 0.
Proof.
  induction m as [| m IH]; intros n L H.
  - exists (fun _ => 1). split; [exists 0%nat; split; [lia | lra] | intros i Hi; lia].
  - destruct n as [| n]; [lia |].
    destruct (some_or_none (S m) (fun i => L i n)) as [(p & Hp & E) | E].
    + set (c := fun i => L i n / L p n).
      destruct (IH n (fun i j => L (others p i) j - c (others p i) * L p j) ltac:(lia))
        as (v & (j & Hj & V) & K).
      set (last := - fsum n (fun j => L p j * v j) / L p n).
      set (w := fun j => if Nat.ltb j n then v j else last).
      assert (W : forall i, fsum (S n) (fun j => L i j * w j)
        = fsum n (fun j => L i j * v j) + L i n * last).
      { intros i. rewrite fsum_S. unfold w at 2. rewrite Nat.ltb_irrefl. f_equal.
        apply fsum_ext. intros l Hl. unfold w. now destruct (Nat.ltb_spec l n); [| lia]. }
      exists w. split.
      * exists j. split; [lia |]. unfold w. now destruct (Nat.ltb_spec j n); [| lia].
      * intros i Hi. rewrite W. destruct (Nat.eq_dec i p) as [-> | Hne].
        -- unfold last. field. exact E.
        -- assert (O : exists i', (i' < m)%nat /\ others p i' = i).
           { unfold others. destruct (Nat.lt_ge_cases i p).
             - exists i. split; [lia |]. now destruct (Nat.ltb_spec i p); [| lia].
             - exists (i - 1)%nat. split; [lia |]. destruct (Nat.ltb_spec (i - 1) p); lia. }
           destruct O as (i' & Hi' & O). specialize (K i' Hi'). rewrite O in K.
           rewrite (fsum_ext n _ (fun j => L i j * v j - c i * (L p j * v j))) in K
             by (intros; ring).
           rewrite fsum_minus, fsum_scale in K. unfold last.
           replace (fsum n (fun j => L i j * v j)) with (c i * fsum n (fun j => L p j * v j)) by lra.
           unfold c. field. exact E.
    + exists (fun j => if Nat.eqb j n then 1 else 0). split.
      * exists n. split; [lia |]. rewrite Nat.eqb_refl. lra.
      * intros i Hi. rewrite fsum_S, Nat.eqb_refl, (E i Hi).
        rewrite fsum_zero; [ring |]. intros j Hj. destruct (Nat.eqb_spec j n); [lia | ring].
Qed.

(** * Vandermonde *)

Lemma powers_independent n : forall x y : nat -> R,
  (forall i j, (i < n)%nat -> (j < n)%nat -> i <> j -> x i <> x j) ->
  (forall t, (t < n)%nat -> fsum n (fun j => y j * x j ^ t) = 0) ->
  forall j, (j < n)%nat -> y j = 0.
Proof.
  induction n as [| n IH]; intros x y D H j Hj; [lia |].
  assert (Y : forall j, (j < n)%nat -> y j = 0).
  { intros i Hi. assert (Z : y i * (x i - x n) = 0).
    { apply (IH x (fun j => y j * (x j - x n))); auto.
      intros t Ht. pose proof (H t ltac:(lia)) as H0. pose proof (H (S t) ltac:(lia)) as H1.
      rewrite fsum_S in H0, H1.
      rewrite (fsum_ext n _ (fun j => y j * x j ^ S t - x n * (y j * x j ^ t)))
        by (intros; simpl; ring).
      rewrite fsum_minus, fsum_scale.
      replace (fsum n (fun j => y j * x j ^ S t)) with (- (y n * x n ^ S t)) by lra.
      replace (fsum n (fun j => y j * x j ^ t)) with (- (y n * x n ^ t)) by lra. simpl. ring. }
    pose proof (D i n ltac:(lia) ltac:(lia) ltac:(lia)) as N.
    apply Rmult_integral in Z as [Z | Z]; [exact Z | exfalso; apply N; lra]. }
  destruct (Nat.eq_dec j n) as [-> |]; [| apply Y; lia].
  pose proof (H 0%nat ltac:(lia)) as H0. rewrite fsum_S, fsum_zero in H0.
  - simpl in H0. lra.
  - intros i Hi. rewrite Y by exact Hi. ring.
Qed.

(** * The outputs *)

(** The output of query t u, of one column of values. *)
Definition output (n d : nat) (u : nat -> R) (K : nat -> nat -> R) (v : nat -> R) (t : nat) : R :=
  dot n (softmax n (fun j => dot d (fun l => INR t * u l) (K j))) v.

Lemma query_weight d t u k : exp (dot d (fun l => INR t * u l) k) = exp (dot d u k) ^ t.
Proof.
  replace (dot d (fun l => INR t * u l) k) with (INR t * dot d u k).
  - induction t; [simpl; rewrite Rmult_0_l; apply exp_0 |].
    rewrite S_INR. simpl. rewrite <- IHt, <- exp_plus. f_equal. ring.
  - unfold dot. rewrite <- fsum_scale. apply fsum_ext. intros. ring.
Qed.

(** [cache] holds m numbers of every column of values, linear in them; [tells_apart] says that no
    two keys have the same product with u. *)
Theorem p2_storage_cache n d m values u K (cache : nat -> nat -> R) :
  (forall i j, (i < n)%nat -> (j < n)%nat -> i <> j -> dot d u (K i) <> dot d u (K j)) ->
  (forall v v' : nat -> R,
     (forall i, (i < m)%nat -> dot n (cache i) v = dot n (cache i) v') ->
     forall t, (t < n)%nat -> output n d u K v t = output n d u K v' t) ->
  INR (n * values) <= b_cache_numbers (m * values).
Proof.
  intros D A. unfold b_cache_numbers. apply le_INR, Nat.mul_le_mono_r.
  destruct (Nat.le_gt_cases n m) as [L | L]; [exact L | exfalso].
  destruct (vanishing m n cache L) as (v & (j & Hj & V) & Z). apply V.
  apply (powers_independent n (fun j => exp (dot d u (K j))) v); auto.
  - intros i k Hi Hk N E. apply (D i k Hi Hk N). now apply exp_inv.
  - intros t Ht. specialize (A v (fun _ => 0)).
    assert (O : output n d u K v t = output n d u K (fun _ => 0) t).
    { apply A; auto. intros i Hi. unfold dot. rewrite Z by exact Hi. symmetry.
      apply fsum_zero. intros. ring. }
    unfold output, dot at 1 3 in O. rewrite (fsum_zero n (fun i => _ * 0)) in O by (intros; ring).
    unfold softmax, normalize in O.
    set (S := fsum n (fun j => exp (dot d (fun l => INR t * u l) (K j)))) in *.
    assert (P : 0 < S) by (apply fsum_pos; [lia | intros; apply exp_pos]).
    apply Rmult_eq_reg_l with (/ S); [| apply Rgt_not_eq, Rinv_0_lt_compat, P].
    rewrite Rmult_0_r, <- O, <- fsum_scale. apply fsum_ext. intros i _.
    rewrite query_weight. unfold Rdiv. ring.
Qed.
