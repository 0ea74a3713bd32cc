(** Real heads (claims R.jensen, R.drop and R.certify).

    Steps: (1) e^r >= 1 + r, and the residual logits of a cluster have mean zero under its weights, so
    that the sum of the weights can only fall when they are left out; (2) with the first keys in one
    cluster, the sum over all keys is at least that of the weights of the first at the centre, while a
    dropped key weighs at most w e^rho; (3) keys that hold a mass m move an average by at most m times the spread of the values;
    (4) the certificate is wrong only if at most k of the draws hit the largest errors, a set of rows of
    more than the share f; (5) the probability of that is the binomial tail, by Pascal's rule, and
    falls as the share grows. *)

Require Import Reals Lra Lia List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Lists Vectors Probability.
From Attest.Softmax Require Import Softmax TotalVariation.
Import ListNotations.
Open Scope R_scope.

(** * R.jensen *)

(** The weights w at the centre, times e^c, c the logit of the step at the mean of the key's cluster. *)
Definition expanded (w c : nat -> R) (label : nat -> nat) : nat -> R :=
  fun j => w j * exp (c (label j)).

(** The residual logits of every cluster have mean zero under its weights. *)
Definition centred (n clusters : nat) (w r : nat -> R) (label : nat -> nat) : Prop :=
  (forall j, (j < n)%nat -> (label j < clusters)%nat) /\
  forall b, (b < clusters)%nat -> fsum n (fun j => if Nat.eqb (label j) b then w j * r j else 0) = 0.

Lemma first_order_cancels n clusters w c r label : centred n clusters w r label ->
  fsum n (fun j => expanded w c label j * r j) = 0.
Proof.
  intros [L H].
  rewrite (fsum_ext n _ (fun j => fsum clusters (fun b =>
    exp (c b) * (if Nat.eqb (label j) b then w j * r j else 0)))).
  - rewrite fsum_swap. apply fsum_zero. intros b Hb. rewrite fsum_scale, H; auto. ring.
  - intros j Hj. rewrite (fsum_ext clusters _ (fun b => if Nat.eqb b (label j)
      then exp (c (label j)) * (w j * r j) else 0)).
    + rewrite fsum_one by auto. unfold expanded. ring.
    + intros b _. rewrite Nat.eqb_sym. destruct (Nat.eqb_spec b (label j)); subst; ring.
Qed.

Theorem r_jensen n clusters w c r label : positive n w -> centred n clusters w r label ->
  fsum n (expanded w c label)
    <= b_jensen_sum (fsum n (fun j => expanded w c label j * exp (r j))).
Proof.
  intros P H. unfold b_jensen_sum. pose proof (first_order_cancels n clusters w c r label H) as Z.
  apply Rle_trans with (fsum n (fun j => expanded w c label j + expanded w c label j * r j)).
  - rewrite fsum_plus, Z. right. ring.
  - apply fsum_le. intros j Hj. specialize (P j Hj). pose proof (exp_ineq1_le (r j)).
    assert (0 < expanded w c label j) by (apply Rmult_lt_0_compat; [auto | apply exp_pos]). nra.
Qed.

Theorem r_jensen_attained n w c label :
  fsum n (expanded w c label) = b_jensen_sum (fsum n (fun j => expanded w c label j * exp 0)).
Proof. unfold b_jensen_sum. apply fsum_ext. intros. rewrite exp_0. ring. Qed.

(** * R.drop *)

Lemma centred_sum n w r : positive n w -> fsum n (fun j => w j * r j) = 0 ->
  fsum n w <= fsum n (fun j => w j * exp (r j)).
Proof.
  intros P Z. apply Rle_trans with (fsum n (fun j => w j + w j * r j)).
  - rewrite fsum_plus, Z. right. ring.
  - apply fsum_le. intros j Hj. specialize (P j Hj). pose proof (exp_ineq1_le (r j)). nra.
Qed.

Lemma fsum_longer n m f : (n <= m)%nat -> (forall j, (j < m)%nat -> 0 <= f j) -> fsum n f <= fsum m f.
Proof.
  intros L P. replace m with (n + (m - n))%nat by lia. rewrite fsum_add.
  assert (0 <= fsum (m - n) (fun i => f (n + i)%nat)) by (apply fsum_nonneg; intros; apply P; lia). lra.
Qed.

(** r: residual logits about the mean of the first n of m keys; rho: bounds |step| |k - mean| on them;
    S: the keys that are dropped, any of the m. *)
Theorem r_drop n m w r rho S : (0 < n <= m)%nat -> positive m w -> fsum n (fun j => w j * r j) = 0 ->
  (forall j, (j < m)%nat -> Rabs (r j) <= rho j) ->
  mass m S (normalize m (fun j => w j * exp (r j)))
    <= b_dropped_mass (fsum m (on S (fun j => w j * exp (rho j)))) (fsum n w).
Proof.
  intros [Hn Hm] P Z H.
  assert (P' : positive n w) by (intros j Hj; apply P; lia).
  pose proof (centred_sum n w r P' Z) as D.
  assert (W : 0 < fsum n w) by (apply fsum_pos; auto).
  assert (L : fsum n (fun j => w j * exp (r j)) <= fsum m (fun j => w j * exp (r j))).
  { apply fsum_longer; auto. intros j Hj. specialize (P j Hj). pose proof (exp_pos (r j)). nra. }
  apply (Rle_trans _ _ _ D) in L. clear D. rename L into D.
  rewrite (fsum_split m S (fun j => w j * exp (r j))) in D.
  rewrite mass_normalize. unfold b_dropped_mass.
  set (X := fsum m (on S (fun j => w j * exp (r j)))).
  set (Y := fsum m (on S (fun j => w j * exp (rho j)))).
  assert (X <= Y).
  { apply fsum_le. intros j Hj. unfold on. destruct (S j); [| lra].
    specialize (P j Hj). apply Rmult_le_compat_l; [lra |]. apply exp_le.
    pose proof (Rle_abs (r j)). specialize (H j Hj). lra. }
  assert (0 <= X).
  { apply fsum_on_nonneg. intros j Hj. specialize (P j Hj). pose proof (exp_pos (r j)). nra. }
  apply Rmult_le_compat; auto.
  - left. apply Rinv_0_lt_compat. eapply Rlt_le_trans; [exact W | exact D].
  - apply Rinv_le_contravar; [exact W | exact D].
Qed.

(** The average over the keys that are kept. *)
Definition kept_average (n : nat) (S : nat -> bool) (a v : nat -> R) : R :=
  fsum n (off S (fun j => a j * v j)) / fsum n (off S a).

Lemma kept_gap n S a v lo hi : positive n a -> ranges n v lo hi -> 0 < fsum n (off S a) ->
  Rabs (kept_average n S a v - dot n (normalize n a) v) <= mass n S (normalize n a) * (hi - lo).
Proof.
  intros P V K0. rewrite mass_normalize. unfold mass, kept_average, dot.
  rewrite (fsum_ext n (fun i => normalize n a i * v i) (fun i => (a i * v i) / fsum n a))
    by (intros; unfold normalize, Rdiv; ring).
  rewrite fsum_div, (fsum_split n S (fun i => a i * v i)), (fsum_split n S a).
  set (Nd := fsum n (on S (fun i => a i * v i))). set (Nk := fsum n (off S (fun i => a i * v i))).
  set (D := fsum n (on S a)). set (K := fsum n (off S a)) in *.
  assert (0 <= D) by (apply fsum_on_nonneg; intros j Hj; specialize (P j Hj); lra).
  assert (Bd : lo * D <= Nd <= hi * D).
  { unfold D, Nd. rewrite <- !fsum_scale. split; apply fsum_le; intros j Hj; unfold on;
      destruct (S j); try lra; specialize (P j Hj); destruct (V j Hj); nra. }
  assert (Bk : lo * K <= Nk <= hi * K).
  { unfold K, Nk. rewrite <- !fsum_scale. split; apply fsum_le; intros j Hj; unfold off;
      destruct (S j); try lra; specialize (P j Hj); destruct (V j Hj); nra. }
  replace (Nk / K - (Nd + Nk) / (D + K)) with ((D * (Nk / K) - Nd) / (D + K)) by (field; lra).
  assert (lo <= Nk / K <= hi) by (split; [apply le_div | apply div_le]; lra).
  rewrite Rabs_div_pos by lra.
  replace (D / (D + K) * (hi - lo)) with (D * (hi - lo) / (D + K)) by (field; lra).
  apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; lra |]. apply Rabs_le. split; nra.
Qed.

Theorem r_drop_output n m w r rho S v lo hi : (0 < n <= m)%nat -> positive m w ->
  fsum n (fun j => w j * r j) = 0 -> (forall j, (j < m)%nat -> Rabs (r j) <= rho j) ->
  ranges m v lo hi -> lo <= hi -> 0 < fsum m (off S (fun j => w j * exp (r j))) ->
  Rabs (kept_average m S (fun j => w j * exp (r j)) v
        - dot m (normalize m (fun j => w j * exp (r j))) v)
    <= b_dropped_output (fsum m (on S (fun j => w j * exp (rho j)))) (fsum n w) (hi - lo).
Proof.
  intros Hn P Z H V L K. pose proof (r_drop n m w r rho S Hn P Z H) as M.
  eapply Rle_trans; [apply kept_gap with (lo := lo) (hi := hi); auto |].
  - intros j Hj. specialize (P j Hj). pose proof (exp_pos (r j)). nra.
  - unfold b_dropped_output. unfold b_dropped_mass in M.
    set (X := fsum m (on S (fun j => w j * exp (rho j)))) in *.
    replace (X * (hi - lo) / fsum n w) with (X / fsum n w * (hi - lo)) by (unfold Rdiv; ring).
    apply Rmult_le_compat_r; lra.
Qed.

(** * R.certify *)

(** The number of draws that hit a set of rows. *)
Definition hits {A : Type} (S : A -> bool) (draws : list A) : nat := length (filter S draws).

(** The binomial tail, one draw after the other. *)
Fixpoint tail (p : R) (m : nat) (k : nat) : R :=
  match m with
  | O => 1
  | S m => (match k with O => 0 | S k => p * tail p m k end) + (1 - p) * tail p m k
  end.

Lemma few_hits {A} (rows : list A) S m k : rows <> [] ->
  probability (tuples m rows) (fun l => Nat.leb (hits S l) k) = tail (probability rows S) m k.
Proof.
  intros H. set (p := probability rows S). revert k. induction m; intros k.
  - unfold probability. rewrite expect_one. reflexivity.
  - unfold probability. rewrite expect_tuples by auto.
    rewrite (expect_ext rows _ (fun a =>
      (match k with O => 0 | Datatypes.S k => tail p m k end) * (if S a then 1 else 0)
      + tail p m k * (1 + -1 * (if S a then 1 else 0)))).
    + rewrite expect_plus, !expect_scale, expect_plus, expect_scale, expect_const by auto.
      fold (probability rows S). fold p. simpl. destruct k; ring.
    + intros a _. unfold hits. simpl. destruct (S a); simpl.
      * destruct k.
        -- rewrite expect_const by (apply tuples_nonempty; auto). ring.
        -- rewrite <- (IHm k). unfold probability, hits. simpl. ring.
      * rewrite <- (IHm k). unfold probability, hits. ring.
Qed.

Lemma tail_bounds p m k : 0 <= p <= 1 -> 0 <= tail p m k /\ tail p m k <= tail p m (S k).
Proof.
  intros Hp. revert k. induction m; intros k; simpl; [lra |].
  destruct (IHm k), (IHm (S k)). destruct k; [split; nra |].
  destruct (IHm k). split; nra.
Qed.

(** The more rows are bad, the rarer it is that few of them are drawn. *)
Lemma tail_decreasing p q m k : 0 <= p -> p <= q -> q <= 1 -> tail q m k <= tail p m k.
Proof.
  intros H0 Hpq H1. revert k. induction m; intros k; simpl; [lra |].
  pose proof (IHm k). pose proof (tail_bounds p m k ltac:(lra)).
  destruct k; [nra |]. pose proof (IHm k). pose proof (tail_bounds p m k ltac:(lra)). nra.
Qed.

Lemma tail_full p m k : (m <= k)%nat -> tail p m k = 1.
Proof.
  revert k. induction m; intros k H; simpl; [reflexivity |].
  destruct k; [lia |]. rewrite !IHm by lia. ring.
Qed.

Definition term (p : R) (m i : nat) : R := p ^ i * (1 - p) ^ (m - i) * C m i.

Lemma term_step p m k : (k < m)%nat ->
  term p (S m) (S k) = p * term p m k + (1 - p) * term p m (S k).
Proof.
  intros H. unfold term. rewrite <- (pascal m k H). replace (S m - S k)%nat with (m - k)%nat by lia.
  replace (m - k)%nat with (S (m - S k)) by lia. cbn [pow]. ring.
Qed.

Lemma certify_step p m k : (k <= m)%nat ->
  b_certify_failure (S m) k p
    = (match k with O => 0 | S k => p * b_certify_failure m k p end)
      + (1 - p) * b_certify_failure m k p.
Proof.
  assert (E : forall m k, b_certify_failure m k p = sum_f_R0 (term p m) k) by reflexivity.
  rewrite !E. induction k; intros H.
  - cbn [sum_f_R0]. unfold term. rewrite !C_none, Nat.sub_0_r, Nat.sub_0_r. cbn [pow]. ring.
  - rewrite E, tech5, IHk, term_step by lia. rewrite (tech5 (term p m) k).
    destruct k; [cbn [sum_f_R0]; ring |]. rewrite E, (tech5 (term p m) k). ring.
Qed.

Lemma certify_full m p : b_certify_failure m m p = 1.
Proof.
  unfold b_certify_failure. transitivity ((p + (1 - p)) ^ m).
  - rewrite binomial. apply sum_eq. intros. ring.
  - replace (p + (1 - p)) with 1 by ring. apply pow1.
Qed.

Lemma tail_binomial p m k : (k <= m)%nat -> tail p m k = b_certify_failure m k p.
Proof.
  revert k. induction m; intros k H.
  - assert (k = 0%nat) as -> by lia. symmetry. apply certify_full.
  - destruct (Nat.eq_dec k (S m)) as [-> | Hk].
    + rewrite certify_full. apply tail_full. lia.
    + rewrite certify_step by lia. simpl. destruct k; rewrite ?IHm by lia; reflexivity.
Qed.

(** The share of the rows that err by more than t. *)
Definition share {A : Type} (rows : list A) (error : A -> R) (t : R) : R :=
  probability rows (fun a => less_than t (error a)).

(** Of the levels of error that more than the share f reaches, the largest. *)
Lemma largest_level {A} (error : A -> R) (reached : R -> Prop) (l : list A) :
  (forall t, {reached t} + {~ reached t}) ->
  (forall a, In a l -> ~ reached (error a)) \/
  exists a, In a l /\ reached (error a) /\
    forall b, In b l -> reached (error b) -> error b <= error a.
Proof.
  intros D. induction l as [| a l IH]; [left; intros a [] |].
  destruct (D (error a)) as [Ha | Ha], IH as [N | (b & Hb & Rb & M)].
  - right. exists a. repeat split; auto; [now left |]. intros b [<- | Hb] Rb; [lra |].
    exfalso. exact (N b Hb Rb).
  - right. destruct (Rle_dec (error a) (error b)) as [L | L].
    + exists b. repeat split; auto; [now right |]. intros c [<- | Hc] Rc; auto.
    + exists a. repeat split; auto; [now left |]. intros c [<- | Hc] Rc; [lra |].
      specialize (M c Hc Rc). lra.
  - left. intros b [<- | Hb]; auto.
  - right. exists b. repeat split; auto; [now right |]. intros c [<- | Hc] Rc; [contradiction |]. auto.
Qed.

(** Any certified error that at most k of the m draws exceed. *)
Theorem r_certify {A} (rows : list A) (error : A -> R) (certified : list A -> R) m k f :
  rows <> [] -> (k <= m)%nat -> 0 <= f <= 1 ->
  (forall l, In l (tuples m rows) ->
    (hits (fun a => less_than (certified l) (error a)) l <= k)%nat) ->
  probability (tuples m rows) (fun l => less_than f (share rows error (certified l)))
    <= b_certify_failure m k f.
Proof.
  intros H Hk Hf Hc.
  set (from := fun t a => negb (less_than (error a) t)).
  assert (D : forall t, {f < probability rows (from t)} + {~ f < probability rows (from t)})
    by (intros t; apply Rlt_dec).
  (* Where the certificate fails, some level above it is reached. *)
  assert (Above : forall l, f < share rows error (certified l) ->
    exists a, In a rows /\ f < probability rows (from (error a)) /\ certified l < error a).
  { intros l F.
    destruct (largest_level (fun a => - error a) (fun t => certified l < - t) rows
      (fun t => Rlt_dec (certified l) (- t))) as [N | E].
    - exfalso. unfold share in F. rewrite probability_never in F; auto; [lra |].
      intros a Ha. unfold less_than. destruct (Rlt_dec (certified l) (error a)) as [L |]; [| reflexivity].
      exfalso. apply (N a Ha). lra.
    - destruct E as (a & Ha & La & M). exists a. split; auto. split; [| lra].
      eapply Rlt_le_trans; [exact F |]. apply probability_le; auto. intros b Hb. unfold from, less_than.
      destruct (Rlt_dec (certified l) (error b)) as [L |]; [| discriminate]. intros _.
      destruct (Rlt_dec (error b) (error a)) as [L' |]; [| reflexivity].
      exfalso. specialize (M b Hb). lra. }
  destruct (largest_level error (fun t => f < probability rows (from t)) rows D)
    as [N | (a & Ha & Fa & M)].
  - (* No level is reached by more than f. *)
    rewrite probability_never; [| apply tuples_nonempty; auto |].
    2: { intros l _. unfold less_than at 1.
      destruct (Rlt_dec f (share rows error (certified l))) as [F |]; [| reflexivity].
      destruct (Above l F) as (a & Ha & Fa & _). exfalso. exact (N a Ha Fa). }
    rewrite <- tail_binomial by auto. pose proof (tail_bounds f m k Hf). lra.
  - set (worst := from (error a)).
    apply Rle_trans with (probability (tuples m rows) (fun l => Nat.leb (hits worst l) k)).
    + apply probability_le; [apply tuples_nonempty; auto |]. intros l Hl F. apply Nat.leb_le.
      eapply Nat.le_trans; [| apply (Hc l Hl)]. unfold less_than at 1 in F.
      destruct (Rlt_dec f (share rows error (certified l))) as [F' |]; [| discriminate].
      destruct (Above l F') as (b & Hb & Fb & Lb). specialize (M b Hb Fb).
      apply filter_length_le. intros c _. unfold worst, from, less_than.
      destruct (Rlt_dec (error c) (error a)); [discriminate |]. intros _.
      destruct (Rlt_dec (certified l) (error c)); [reflexivity | lra].
    + rewrite few_hits, <- tail_binomial by auto. fold worst in Fa.
      pose proof (probability_range rows worst H). apply tail_decreasing; lra.
Qed.
