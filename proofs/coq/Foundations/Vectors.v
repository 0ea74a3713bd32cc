(** Vectors of n numbers: dot products, norms, distances; and the Frobenius norm of a matrix.

    A vector is a function of which the entries i < n count.  Steps: (1) Cauchy and Schwarz, by
    induction on n; (2) a norm is the largest product with a vector of norm 1, and so obeys the
    triangle inequality; (3) a distance is the norm of a difference; (4) a Frobenius norm is the
    norm of the rows' norms, so that what holds of norms holds of it. *)

Require Import Reals Lra.
From Attest.Foundations Require Import Sums.
Open Scope R_scope.

(** * Dot products *)

Definition dot (n : nat) (p w : nat -> R) : R := fsum n (fun i => p i * w i).

Lemma dot_ext l z v w : (forall b, (b < l)%nat -> v b = w b) -> dot l z v = dot l z w.
Proof. intros H. apply fsum_ext. intros b Hb. now rewrite H. Qed.

Lemma dot_plus l z v w : dot l z (fun b => v b + w b) = dot l z v + dot l z w.
Proof. unfold dot. rewrite <- fsum_plus. apply fsum_ext. intros. ring. Qed.

Lemma dot_sum l n z w (v : nat -> nat -> R) :
  dot l z (fun b => fsum n (fun i => w i * v i b)) = fsum n (fun i => w i * dot l z (v i)).
Proof.
  unfold dot.
  rewrite (fsum_ext l _ (fun b => fsum n (fun i => w i * (z b * v i b))))
    by (intros; rewrite <- fsum_scale; apply fsum_ext; intros; ring).
  rewrite fsum_swap. apply fsum_ext. intros. apply fsum_scale.
Qed.

Lemma dot_scale n c x y : dot n x (fun i => c * y i) = c * dot n x y.
Proof. unfold dot. rewrite <- fsum_scale. apply fsum_ext. intros. ring. Qed.

Lemma dot_opp n x y : dot n x (fun i => - y i) = - dot n x y.
Proof.
  replace (- dot n x y) with (-1 * dot n x y) by ring. rewrite <- dot_scale.
  apply fsum_ext. intros. ring.
Qed.

Lemma dot_one n p : dot n p (fun _ => 1) = fsum n p.
Proof. apply fsum_ext. intros. ring. Qed.

(** * Norms *)

Definition norm (d : nat) (x : nat -> R) : R := sqrt (fsum d (fun l => x l ^ 2)).

Lemma square_sum_nonneg d v : 0 <= fsum d (fun c => v c ^ 2).
Proof. apply fsum_nonneg. intros. apply pow2_ge_0. Qed.

Lemma norm_nonneg d v : 0 <= norm d v.
Proof. apply sqrt_pos. Qed.

Lemma norm_square d v : norm d v ^ 2 = fsum d (fun c => v c ^ 2).
Proof. apply pow2_sqrt, square_sum_nonneg. Qed.

Lemma norm_ext d v w : (forall c, (c < d)%nat -> v c = w c) -> norm d v = norm d w.
Proof. intros H. unfold norm. f_equal. apply fsum_ext. intros c Hc. now rewrite H. Qed.

(** Cauchy and Schwarz. *)
Lemma cauchy_schwarz d q k :
  fsum d (fun l => Rabs (q l * k l))
    <= sqrt (fsum d (fun l => q l ^ 2)) * sqrt (fsum d (fun l => k l ^ 2)).
Proof.
  assert (Q : 0 <= fsum d (fun l => q l ^ 2)) by (apply fsum_nonneg; intros; apply pow2_ge_0).
  assert (K : 0 <= fsum d (fun l => k l ^ 2)) by (apply fsum_nonneg; intros; apply pow2_ge_0).
  rewrite <- sqrt_mult by auto.
  assert (P : 0 <= fsum d (fun l => Rabs (q l * k l)))
    by (apply fsum_nonneg; intros; apply Rabs_pos).
  rewrite <- (sqrt_pow2 (fsum d (fun l => Rabs (q l * k l)))) by auto.
  apply sqrt_le_1_alt. clear P. induction d; [simpl; lra |].
  rewrite !fsum_S in *.
  assert (Q' : 0 <= fsum d (fun l => q l ^ 2)) by (apply fsum_nonneg; intros; apply pow2_ge_0).
  assert (K' : 0 <= fsum d (fun l => k l ^ 2)) by (apply fsum_nonneg; intros; apply pow2_ge_0).
  specialize (IHd Q' K').
  set (a := fsum d (fun l => Rabs (q l * k l))) in *.
  set (x := fsum d (fun l => q l ^ 2)) in *. set (y := fsum d (fun l => k l ^ 2)) in *.
  set (b := Rabs (q d * k d)).
  assert (Hb : b ^ 2 = q d ^ 2 * k d ^ 2) by (unfold b; rewrite pow2_abs; ring).
  (* 2 a b <= 2 sqrt (x y) |q_d k_d| <= x k_d^2 + y q_d^2 *)
  assert (2 * (a * b) <= x * k d ^ 2 + y * q d ^ 2).
  { apply Rsqr_incr_0_var; [| pose proof (pow2_ge_0 (q d)); pose proof (pow2_ge_0 (k d)); nra].
    unfold Rsqr. pose proof (pow2_ge_0 (x * k d ^ 2 - y * q d ^ 2)).
    assert (a ^ 2 * b ^ 2 <= x * y * (q d ^ 2 * k d ^ 2)).
    { rewrite Hb. apply Rmult_le_compat_r; auto. rewrite <- Hb. apply pow2_ge_0. }
    nra. }
  nra.
Qed.

Lemma dot_norm d v w : Rabs (dot d v w) <= norm d v * norm d w.
Proof. eapply Rle_trans; [apply fsum_abs | apply cauchy_schwarz]. Qed.

Lemma dot_length d v : dot d v v = norm d v ^ 2.
Proof. rewrite norm_square. apply fsum_ext. intros. ring. Qed.

Lemma dot_le n v w a b : norm n v <= a -> norm n w <= b -> dot n v w <= a * b.
Proof.
  intros Hv Hw. eapply Rle_trans; [apply Rle_abs |]. eapply Rle_trans; [apply dot_norm |].
  apply Rmult_le_compat; auto using norm_nonneg.
Qed.

Lemma dot_le_norms n v w : dot n v w <= norm n v * norm n w.
Proof. apply dot_le; apply Rle_refl. Qed.

Lemma dot_square d v w : dot d v w ^ 2 <= norm d v ^ 2 * norm d w ^ 2.
Proof.
  rewrite <- Rpow_mult_distr, <- (pow2_abs (dot d v w)). apply pow_incr.
  split; [apply Rabs_pos | apply dot_norm].
Qed.

Lemma squares_le n v a : norm n v <= a -> fsum n (fun i => v i ^ 2) <= a ^ 2.
Proof. intros H. rewrite <- norm_square. apply pow_incr. split; [apply norm_nonneg | auto]. Qed.

Lemma norm_dot n x : norm n x * norm n x = dot n x x.
Proof.
  rewrite dot_length. ring.
Qed.

(** A length is the largest product with a vector of length 1. *)
Lemma norm_dual d v K : 0 <= K -> (forall z, dot d z v <= K * norm d z) -> norm d v <= K.
Proof.
  intros HK H. specialize (H v). pose proof (norm_nonneg d v) as N.
  rewrite dot_length in H.
  destruct (Req_dec (norm d v) 0); nra.
Qed.

Lemma norm_triangle d v w : norm d (fun c => v c + w c) <= norm d v + norm d w.
Proof.
  pose proof (norm_nonneg d v). pose proof (norm_nonneg d w).
  apply norm_dual; [lra |]. intros z.
  rewrite dot_plus.
  pose proof (Rabs_bounds _ _ (dot_norm d z v)). pose proof (Rabs_bounds _ _ (dot_norm d z w)). lra.
Qed.

Lemma norm_le n v w : (forall i, (i < n)%nat -> Rabs (v i) <= w i) -> norm n v <= norm n w.
Proof.
  intros H. apply sqrt_le_1_alt, fsum_le. intros i Hi. rewrite <- (pow2_abs (v i)).
  apply pow_incr. split; [apply Rabs_pos | auto].
Qed.

Lemma norm_abs n v : norm n (fun i => Rabs (v i)) = norm n v.
Proof. unfold norm. f_equal. apply fsum_ext. intros. apply pow2_abs. Qed.

Lemma norm_monotone n v w : (forall i, (i < n)%nat -> 0 <= v i <= w i) -> norm n v <= norm n w.
Proof.
  intros H. apply sqrt_le_1_alt. apply fsum_le. intros i Hi. apply pow_incr. auto.
Qed.

Lemma norm_zero n : norm n (fun _ => 0) = 0.
Proof. unfold norm. rewrite fsum_zero by (intros; ring). apply sqrt_0. Qed.

Lemma norm_one v : norm 1 v = Rabs (v 0%nat).
Proof. unfold norm. simpl. rewrite Rplus_0_l, Rmult_1_r. apply sqrt_Rsqr_abs. Qed.

Lemma norm_scale n c x : norm n (fun i => c * x i) = Rabs c * norm n x.
Proof.
  unfold norm. rewrite <- sqrt_Rsqr_abs, <- sqrt_mult_alt by apply Rle_0_sqr. f_equal.
  rewrite <- fsum_scale. apply fsum_ext. intros. unfold Rsqr. ring.
Qed.

Lemma norm_opp n x : norm n (fun i => - x i) = norm n x.
Proof. unfold norm. f_equal. apply fsum_ext. intros. ring. Qed.

Lemma norm_scale_nonneg n c v : 0 <= c -> norm n (fun i => c * v i) = c * norm n v.
Proof.
  intros Hc. transitivity (sqrt (c ^ 2) * norm n v); [| now rewrite sqrt_pow2].
  unfold norm. rewrite <- sqrt_mult by (try apply pow2_ge_0; apply square_sum_nonneg).
  f_equal. rewrite <- fsum_scale. apply fsum_ext. intros. ring.
Qed.

Lemma entry_le n x i : (i < n)%nat -> Rabs (x i) <= norm n x.
Proof.
  intros Hi. rewrite <- sqrt_Rsqr_abs. apply sqrt_le_1_alt. unfold Rsqr.
  pose proof (fsum_term n (fun i => x i ^ 2) i (fun j _ => pow2_ge_0 _) Hi). cbv beta in H. lra.
Qed.

Lemma norm_fsum n m (f : nat -> nat -> R) :
  norm n (fun a => fsum m (fun i => f i a)) <= fsum m (fun i => norm n (f i)).
Proof.
  induction m; simpl; [rewrite norm_zero; lra |].
  eapply Rle_trans; [apply (norm_triangle n (fun a => fsum m (fun i => f i a))) | lra].
Qed.

Lemma norm_entries n v c : 0 <= c -> (forall i, (i < n)%nat -> Rabs (v i) <= c) ->
  norm n v <= sqrt (INR n) * c.
Proof.
  intros Hc H. eapply Rle_trans; [apply (norm_le n v (fun _ => c) H) |].
  unfold norm. rewrite fsum_const, sqrt_mult, sqrt_pow2 by auto using pos_INR, pow2_ge_0. lra.
Qed.

Lemma sum_entries n v : (forall i, (i < n)%nat -> 0 <= v i) ->
  fsum n v <= sqrt (INR n) * norm n v.
Proof.
  intros H. replace (fsum n v) with (dot n (fun _ => 1) v)
    by (apply fsum_ext; intros; ring).
  apply dot_le; [| lra]. rewrite <- (Rmult_1_r (sqrt (INR n))). apply norm_entries; [lra |].
  intros. rewrite Rabs_R1. lra.
Qed.

(** * Distances *)

Definition squared_distance (n : nat) (y z : nat -> R) : R := fsum n (fun i => (y i - z i) ^ 2).

(** ||y - z|| *)
Definition distance (n : nat) (y z : nat -> R) : R := sqrt (squared_distance n y z).

Lemma squared_distance_nonneg n y z : 0 <= squared_distance n y z.
Proof. apply fsum_nonneg. intros. apply pow2_ge_0. Qed.

Lemma distance_square n y z : distance n y z * distance n y z = squared_distance n y z.
Proof. apply sqrt_sqrt, squared_distance_nonneg. Qed.

Lemma distance_sym n y z : distance n y z = distance n z y.
Proof. unfold distance. f_equal. apply fsum_ext. intros. ring. Qed.

Lemma distance_nonneg n x y : 0 <= distance n x y.
Proof. apply sqrt_pos. Qed.

Lemma distance_self n x : distance n x x = 0.
Proof. unfold distance, squared_distance. rewrite fsum_zero by (intros; ring). apply sqrt_0. Qed.

Lemma distance_zero n x y : distance n x y = 0 -> forall i, (i < n)%nat -> x i = y i.
Proof.
  intros E i Hi. pose proof (distance_square n x y) as S. rewrite E in S.
  pose proof (fsum_term n (fun i => (x i - y i) ^ 2) i (fun j _ => pow2_ge_0 _) Hi) as T.
  fold (squared_distance n x y) in T. cbv beta in T. nra.
Qed.

Lemma distance_line x y : distance 1 x y = Rabs (x O - y O).
Proof.
  unfold distance, squared_distance. cbn [fsum]. rewrite Rplus_0_l, <- Rsqr_pow2.
  apply sqrt_Rsqr_abs.
Qed.

Lemma distance_triangle n x y z : distance n x z <= distance n x y + distance n y z.
Proof.
  pose proof (sqrt_pos (squared_distance n x y)) as P.
  pose proof (sqrt_pos (squared_distance n y z)) as P'.
  fold (distance n x y) in P. fold (distance n y z) in P'.
  apply Rsqr_incr_0_var; [| lra]. unfold Rsqr. rewrite distance_square.
  pose proof (distance_square n x y) as Ex. pose proof (distance_square n y z) as Ez.
  pose proof (cauchy_schwarz n (fun i => x i - y i) (fun i => y i - z i)) as C.
  cbv beta in C. fold (squared_distance n x y) (squared_distance n y z) in C.
  fold (distance n x y) (distance n y z) in C.
  assert (E : squared_distance n x z = squared_distance n x y + squared_distance n y z
    + 2 * fsum n (fun i => (x i - y i) * (y i - z i))).
  { unfold squared_distance. rewrite <- fsum_scale, <- !fsum_plus. apply fsum_ext. intros. ring. }
  assert (fsum n (fun i => (x i - y i) * (y i - z i))
    <= fsum n (fun i => Rabs ((x i - y i) * (y i - z i))))
    by (apply fsum_le; intros; apply Rle_abs).
  rewrite E. lra.
Qed.

(** Entries that differ by at most e. *)
Lemma distance_entries n x y e : 0 <= e -> (forall i, (i < n)%nat -> Rabs (x i - y i) <= e) ->
  distance n x y <= e * sqrt (INR n).
Proof.
  intros He H. unfold distance. rewrite <- (sqrt_pow2 e) by auto. rewrite Rmult_comm.
  rewrite <- sqrt_mult by (try apply pow2_ge_0; apply pos_INR).
  apply sqrt_le_1_alt. rewrite <- fsum_const. apply fsum_le. intros i Hi.
  rewrite <- (pow2_abs (x i - y i)). apply pow_incr. split; [apply Rabs_pos | auto].
Qed.

(** * Matrices *)

Definition identity (i j : nat) : R := if Nat.eqb i j then 1 else 0.

Lemma dot_identity d k a : (a < d)%nat -> dot d (identity a) k = k a.
Proof.
  intros Ha. unfold dot. rewrite (fsum_ext d _ (fun c => if Nat.eqb c a then k a else 0)).
  - rewrite fsum_one by auto. ring.
  - intros c _. unfold identity. rewrite Nat.eqb_sym.
    destruct (Nat.eqb_spec c a) as [-> |]; ring.
Qed.

Definition frobenius (n d : nat) (M : nat -> nat -> R) : R := norm n (fun i => norm d (M i)).

Lemma frobenius_nonneg n d M : 0 <= frobenius n d M.
Proof. apply norm_nonneg. Qed.

Lemma frobenius_square n d M :
  frobenius n d M ^ 2 = fsum n (fun i => fsum d (fun c => M i c ^ 2)).
Proof.
  unfold frobenius. rewrite norm_square. apply fsum_ext. intros. apply norm_square.
Qed.

Lemma frobenius_columns n d M : frobenius n d M = frobenius d n (fun c i => M i c).
Proof.
  apply Rle_antisym; apply square_le; try apply frobenius_nonneg; right;
    rewrite !frobenius_square; apply fsum_swap.
Qed.

Lemma frobenius_image n d A v : norm n (fun i => dot d (A i) v) <= frobenius n d A * norm d v.
Proof.
  apply square_le; [apply Rmult_le_pos; apply norm_nonneg |].
  rewrite Rpow_mult_distr, frobenius_square, norm_square, <- fsum_scale_r. apply fsum_le.
  intros i _. rewrite <- norm_square. apply dot_square.
Qed.

Lemma frobenius_le n d U V :
  (forall i c, (i < n)%nat -> (c < d)%nat -> Rabs (U i c) <= V i c) ->
  frobenius n d U <= frobenius n d V.
Proof.
  intros H. apply norm_monotone. intros i Hi. split; [apply norm_nonneg |].
  apply norm_le. auto.
Qed.

Lemma frobenius_plus n d U V :
  frobenius n d (fun i c => U i c + V i c) <= frobenius n d U + frobenius n d V.
Proof.
  eapply Rle_trans; [| apply norm_triangle]. apply norm_monotone.
  intros. split; [apply norm_nonneg | apply norm_triangle].
Qed.

Lemma frobenius_fsum n d m (f : nat -> nat -> nat -> R) :
  frobenius n d (fun a b => fsum m (fun i => f i a b)) <= fsum m (fun i => frobenius n d (f i)).
Proof.
  eapply Rle_trans; [| apply (norm_fsum n m (fun i a => norm d (f i a)))].
  apply norm_monotone. intros a _. split; [apply norm_nonneg |].
  apply (norm_fsum d m (fun i => f i a)).
Qed.

Lemma frobenius_scale n d c V : frobenius n d (fun i b => c * V i b) = Rabs c * frobenius n d V.
Proof.
  unfold frobenius. rewrite <- (Rabs_Rabsolu c), <- norm_scale. apply norm_ext.
  intros. apply norm_scale.
Qed.

Lemma frobenius_outer n d x y : frobenius n d (fun a b => x a * y b) = norm n x * norm d y.
Proof.
  unfold frobenius. rewrite (norm_ext n _ (fun a => norm d y * Rabs (x a))).
  - rewrite norm_scale_nonneg, norm_abs by apply norm_nonneg. ring.
  - intros. rewrite norm_scale. ring.
Qed.

Lemma frobenius_rows n d V c : 0 <= c -> (forall i, (i < n)%nat -> norm d (V i) <= c) ->
  frobenius n d V <= sqrt (INR n) * c.
Proof.
  intros Hc H. apply norm_entries; auto. intros i Hi. rewrite Rabs_right; auto.
  apply Rle_ge, norm_nonneg.
Qed.
