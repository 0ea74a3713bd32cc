(** What an attention kernel of a declared arithmetic may return (claims FP.kernel, FP.kernel_matmul,
    FP.kernel_exact).

    p are the exact weights, o = sum p_j v_j the exact output.  A kernel has weights W_j = p_j e^(xi_j), up
    to a factor that cancels, |xi_j| <= theta_j, a numerator near sum W_j v_j and a denominator near sum W_j.

    Steps: (1) sum p_j (v_j - o) = 0, so N - o D is a sum of p_j (e^(xi_j) - 1)(v_j - o) and of what either
    sum is off by; D is at least (1 - g_D) sum p_j e^(-theta_j) ([fp_kernel_output]); whatever theta, the
    first sum is at most max |v_j - o| times the sum of the W_j ([fp_kernel_range]);
    (2) rounding is monotone, so what is within B of o is rounded to a number between the rounded ends
    ([fp_kernel_interval]);
    (3) where g comes from: sums of rounded terms in any order, with rescaling ([fp_kernel_sum]), of parts
    that are merged ([fp_kernel_split]), of inputs that are rounded ([fp_kernel_inputs]), scores that are
    ([fp_kernel_rounded]);
    (4) Cauchy and Schwarz ([fp_kernel_matmul]); the largest mean of weights within e^(+-theta)
    ([fp_kernel_shift]), which is reached ([fp_kernel_shift_attained]). *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors Averages.
From Attest.Rounding Require Import Rounding RoundingSoftmax Merge.
Open Scope R_scope.

(** * Roundings of several formats *)

Lemma kernel_factor_form k u r1 r2 r3 : INR k * u < 1 ->
  1 + b_kernel_factor k u r1 r2 r3 = (1 + r1) * (1 + r2) * (1 + r3) * (1 + gamma k u).
Proof.
  intros. rewrite gamma_plus_1 by auto. unfold b_kernel_factor. field. lra.
Qed.

Lemma factors_off a b x y : 0 <= a -> 0 <= b -> Rabs (x - 1) <= a -> Rabs (y - 1) <= b ->
  Rabs (x * y - 1) <= (1 + a) * (1 + b) - 1.
Proof.
  intros Ha Hb Hx Hy. replace (x * y - 1) with ((x - 1) * (y - 1) + (x - 1) + (y - 1)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |]. rewrite Rabs_mult.
  assert (Rabs (x - 1) * Rabs (y - 1) <= a * b) by (apply Rmult_le_compat; auto; apply Rabs_pos).
  lra.
Qed.

Lemma many_factors_off k u d : 0 <= u -> (forall i, (i < k)%nat -> Rabs (d i) <= u) ->
  Rabs (fprod k (fun i => 1 + d i) - 1) <= (1 + u) ^ k - 1.
Proof.
  intros Hu H. induction k as [| k IH].
  - simpl. replace (1 - 1) with 0 by ring. rewrite Rabs_R0. lra.
  - cbn [fprod]. rewrite <- tech_pow_Rmult, Rmult_comm.
    pose proof (pow_ge_1 u k Hu).
    replace ((1 + u) * (1 + u) ^ k - 1) with ((1 + u) * (1 + ((1 + u) ^ k - 1)) - 1) by ring.
    apply factors_off; [auto | lra | | apply IH; intros; apply H; lia].
    replace (1 + d k - 1) with (d k) by ring. apply H. lia.
Qed.

Theorem fp_kernel_factor k u d r1 r2 r3 e1 e2 e3 :
  0 <= u -> INR k * u < 1 -> 0 <= r1 -> 0 <= r2 -> 0 <= r3 ->
  (forall i, (i < k)%nat -> Rabs (d i) <= u) ->
  Rabs e1 <= r1 -> Rabs e2 <= r2 -> Rabs e3 <= r3 ->
  Rabs ((1 + e1) * (1 + e2) * (1 + e3) * fprod k (fun i => 1 + d i) - 1)
    <= b_kernel_factor k u r1 r2 r3.
Proof.
  intros Hu Hk H1 H2 H3 Hd E1 E2 E3.
  assert (one : forall e r, Rabs e <= r -> Rabs (1 + e - 1) <= r).
  { intros e r He. replace (1 + e - 1) with e by ring. auto. }
  replace (b_kernel_factor k u r1 r2 r3)
    with ((1 + ((1 + ((1 + r1) * (1 + r2) - 1)) * (1 + r3) - 1)) * (1 + gamma k u) - 1).
  2: { pose proof (kernel_factor_form k u r1 r2 r3 Hk) as F.
       replace (1 + ((1 + ((1 + r1) * (1 + r2) - 1)) * (1 + r3) - 1))
         with ((1 + r1) * (1 + r2) * (1 + r3)) by ring. lra. }
  pose proof (gamma_nonneg k u Hu Hk).
  assert (R12 : 0 <= (1 + r1) * (1 + r2) - 1) by nra.
  set (r12 := (1 + r1) * (1 + r2) - 1) in *.
  assert (R123 : 0 <= (1 + r12) * (1 + r3) - 1) by nra.
  apply factors_off; auto; [apply factors_off; auto |].
  - apply factors_off; auto.
  - eapply Rle_trans; [apply (many_factors_off k u d Hu Hd) |]. pose proof (pow_up k u Hu Hk). lra.
Qed.

(** * The interval *)

(** [W] are a kernel's weights, those of [p] up to factors within e^(+-theta). *)
Definition kernel_weights (n : nat) (p theta W : nat -> R) : Prop :=
  exists xi, forall j, (j < n)%nat -> Rabs (xi j) <= theta j /\ W j = p j * exp (xi j).

Lemma exp_off x t : Rabs x <= t -> Rabs (exp x - 1) <= exp t - 1.
Proof.
  intros H. apply Rabs_bounds in H. pose proof (exp_le x t ltac:(lra)).
  pose proof (exp_ineq1_le x). pose proof (exp_ineq1_le t). apply Rabs_le. lra.
Qed.

Section Interval.

Variables (n : nat) (p theta W v : nat -> R).
Hypothesis P : weights n p.
Hypothesis K : kernel_weights n p theta W.

Let o := mean n p v.

Lemma weight_between j : (j < n)%nat -> p j * exp (- theta j) <= W j <= p j * exp (theta j).
Proof.
  intros Hj. destruct K as [xi H]. destruct (H j Hj) as [Hx ->]. apply Rabs_bounds in Hx.
  split; apply Rmult_le_compat_l; try apply (proj1 P j Hj); apply exp_le; lra.
Qed.

Lemma weight_nonneg j : (j < n)%nat -> 0 <= W j.
Proof.
  intros Hj. eapply Rle_trans; [| apply (weight_between j Hj)].
  apply Rmult_le_pos; [apply (proj1 P j Hj) | left; apply exp_pos].
Qed.

Lemma kernel_centred : fsum n (fun j => p j * (v j - o)) = 0.
Proof.
  rewrite (fsum_ext n _ (fun j => p j * v j - p j * o)) by (intros; ring).
  rewrite fsum_minus, fsum_scale_r, (proj2 P). unfold o, mean, dot. ring.
Qed.

(** N - o D, where N and D are off by E and F. *)
Lemma kernel_split E F :
  fsum n (fun j => W j * v j) + E - o * (fsum n W + F)
    = fsum n (fun j => W j * (v j - o)) + E - o * F.
Proof.
  rewrite (fsum_ext n (fun j => W j * (v j - o)) (fun j => W j * v j - W j * o)) by (intros; ring).
  rewrite fsum_minus, fsum_scale_r. ring.
Qed.

Lemma first_term :
  Rabs (fsum n (fun j => W j * (v j - o)))
    <= fsum n (fun j => p j * (exp (theta j) - 1) * Rabs (v j - o)).
Proof.
  destruct K as [xi H].
  replace (fsum n (fun j => W j * (v j - o)))
    with (fsum n (fun j => p j * (exp (xi j) - 1) * (v j - o))).
  2: { rewrite <- (Rminus_0_r (fsum n (fun j => W j * (v j - o)))), <- kernel_centred, <- fsum_minus.
       apply fsum_ext. intros j Hj. destruct (H j Hj) as [_ ->]. ring. }
  eapply Rle_trans; [apply fsum_abs |]. apply fsum_le. intros j Hj.
  rewrite !Rabs_mult, (Rabs_right (p j)) by (apply Rle_ge, (proj1 P j Hj)).
  apply Rmult_le_compat_r; [apply Rabs_pos |].
  apply Rmult_le_compat_l; [apply (proj1 P j Hj) |]. apply exp_off, (H j Hj).
Qed.

Variables (gN gD lN lD N D : R).
Hypothesis GN : 0 <= gN.
Hypothesis GD : 0 <= gD < 1.
Hypothesis LN : 0 <= lN.
Hypothesis LD : 0 <= lD.
Hypothesis EN : Rabs (N - fsum n (fun j => W j * v j)) <= gN * fsum n (fun j => W j * Rabs (v j)) + lN.
Hypothesis ED : Rabs (D - fsum n W) <= gD * fsum n W + lD.

Lemma kernel_output_form dev vs ls ss om : lD < (1 - gD) * ss ->
  b_kernel_output dev vs ls ss gN gD om lN lD
    = (dev + gN * vs + lN + om * (gD * ls + lD)) / ((1 - gD) * ss - lD).
Proof. intros. unfold b_kernel_output. field. lra. Qed.

Theorem fp_kernel_output dev vs ls ss om :
  fsum n (fun j => p j * (exp (theta j) - 1) * Rabs (v j - o)) <= dev ->
  fsum n (fun j => p j * exp (theta j) * Rabs (v j)) <= vs ->
  fsum n (fun j => p j * exp (theta j)) <= ls ->
  ss <= fsum n (fun j => p j * exp (- theta j)) ->
  Rabs o <= om -> lD < (1 - gD) * ss ->
  Rabs (N / D - o) <= b_kernel_output dev vs ls ss gN gD om lN lD.
Proof.
  intros Hdev Hvs Hls Hss Hom Hpos. rewrite kernel_output_form by auto.
  set (E := N - fsum n (fun j => W j * v j)) in *. set (F := D - fsum n W) in *.
  assert (S1 : fsum n W <= ls)
    by (eapply Rle_trans; [apply fsum_le; intros; apply weight_between; auto | auto]).
  assert (S2 : ss <= fsum n W)
    by (eapply Rle_trans; [exact Hss | apply fsum_le; intros; apply weight_between; auto]).
  assert (S3 : fsum n (fun j => W j * Rabs (v j)) <= vs).
  { eapply Rle_trans; [| exact Hvs]. apply fsum_le. intros j Hj.
    apply Rmult_le_compat_r; [apply Rabs_pos | apply weight_between; auto]. }
  assert (DB : (1 - gD) * ss - lD <= D).
  { apply Rabs_bounds in ED. unfold F in ED.
    assert ((1 - gD) * ss <= (1 - gD) * fsum n W) by (apply Rmult_le_compat_l; lra). lra. }
  assert (Hnum : Rabs (N - o * D) <= dev + gN * vs + lN + om * (gD * ls + lD)).
  { replace (N - o * D) with (fsum n (fun j => W j * v j) + E - o * (fsum n W + F))
      by (unfold E, F; ring).
    rewrite kernel_split.
    replace (fsum n (fun j => W j * (v j - o)) + E - o * F)
      with (fsum n (fun j => W j * (v j - o)) + E + - (o * F)) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |].
    rewrite Rabs_Ropp, Rabs_mult. pose proof first_term as T.
    assert (gN * fsum n (fun j => W j * Rabs (v j)) <= gN * vs) by (apply Rmult_le_compat_l; auto).
    assert (Rabs o * Rabs F <= om * (gD * ls + lD)).
    { apply Rmult_le_compat; try apply Rabs_pos; auto. eapply Rle_trans; [exact ED |].
      assert (gD * fsum n W <= gD * ls) by (apply Rmult_le_compat_l; lra). lra. }
    lra. }
  replace (N / D - o) with ((N - o * D) / D) by (field; lra).
  rewrite Rabs_div_pos by lra. apply div_le; [lra |].
  eapply Rle_trans; [exact Hnum |].
  set (B := dev + gN * vs + lN + om * (gD * ls + lD)) in *.
  assert (0 <= B) by (eapply Rle_trans; [apply Rabs_pos | exact Hnum]).
  apply Rle_trans with (B / ((1 - gD) * ss - lD) * ((1 - gD) * ss - lD)); [right; field; lra |].
  apply Rmult_le_compat_l; [| auto]. apply le_div; lra.
Qed.

Lemma range_form S M om : lD < 1 - gD ->
  b_kernel_range S M om gN gD lD
    = (S + gN * M + gD * om + lD * (M + om)) / (1 - gD - lD).
Proof. intros. unfold b_kernel_range. field. lra. Qed.

(** In units in which the weights of the kernel add up to 1 at least. *)
Theorem fp_kernel_range S M om :
  (forall j, (j < n)%nat -> Rabs (v j - o) <= S) -> (forall j, (j < n)%nat -> Rabs (v j) <= M) ->
  Rabs o <= om -> 1 <= fsum n W -> lN <= lD * M -> lD < 1 - gD ->
  Rabs (N / D - o) <= b_kernel_range S M om gN gD lD.
Proof.
  intros HS HM Hom Hone HlN Hpos. rewrite range_form by auto.
  set (E := N - fsum n (fun j => W j * v j)) in *. set (F := D - fsum n W) in *.
  set (T := fsum n W) in *.
  assert (DB : (1 - gD - lD) * T <= D).
  { apply Rabs_bounds in ED. unfold F in ED.
    assert (lD * 1 <= lD * T) by (apply Rmult_le_compat_l; auto). lra. }
  assert (T1 : Rabs (fsum n (fun j => W j * (v j - o))) <= T * S).
  { eapply Rle_trans; [apply fsum_abs |]. unfold T. rewrite <- fsum_scale_r.
    apply fsum_le. intros j Hj. pose proof (weight_nonneg j Hj).
    rewrite Rabs_mult, (Rabs_right (W j)) by lra. apply Rmult_le_compat_l; auto. }
  assert (T2 : fsum n (fun j => W j * Rabs (v j)) <= T * M).
  { unfold T. rewrite <- fsum_scale_r. apply fsum_le. intros j Hj.
    apply Rmult_le_compat_l; [apply weight_nonneg; auto | auto]. }
  assert (M0 : 0 <= M).
  { pose proof (weights_nonempty n p P). eapply Rle_trans; [apply Rabs_pos | apply (HM O); lia]. }
  assert (O0 : 0 <= om) by (eapply Rle_trans; [apply Rabs_pos | exact Hom]).
  assert (Hnum : Rabs (N - o * D) <= (S + gN * M + gD * om + lD * (M + om)) * T).
  { replace (N - o * D) with (fsum n (fun j => W j * v j) + E - o * (T + F))
      by (unfold E, F; ring).
    unfold T at 1. rewrite kernel_split.
    replace (fsum n (fun j => W j * (v j - o)) + E - o * F)
      with (fsum n (fun j => W j * (v j - o)) + E + - (o * F)) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |].
    rewrite Rabs_Ropp, Rabs_mult.
    assert (gN * fsum n (fun j => W j * Rabs (v j)) <= gN * (T * M)) by (apply Rmult_le_compat_l; auto).
    assert (lD * M * 1 <= lD * M * T) by (apply Rmult_le_compat_l; [apply Rmult_le_pos | ]; auto).
    assert (Rabs o * Rabs F <= om * ((gD + lD) * T)).
    { apply Rmult_le_compat; try apply Rabs_pos; auto. eapply Rle_trans; [exact ED |].
      assert (lD * 1 <= lD * T) by (apply Rmult_le_compat_l; auto). lra. }
    lra. }
  assert (0 < D) by (eapply Rlt_le_trans; [| exact DB]; apply Rmult_lt_0_compat; lra).
  replace (N / D - o) with ((N - o * D) / D) by (field; lra).
  rewrite Rabs_div_pos by lra. apply div_le; [lra |]. eapply Rle_trans; [exact Hnum |].
  set (B := S + gN * M + gD * om + lD * (M + om)) in *.
  assert (S0 : 0 <= S).
  { pose proof (weights_nonempty n p P). eapply Rle_trans; [apply Rabs_pos | apply (HS O); lia]. }
  assert (B0 : 0 <= B).
  { unfold B. assert (0 <= gN * M) by (apply Rmult_le_pos; auto).
    assert (0 <= gD * om) by (apply Rmult_le_pos; lra).
    assert (0 <= lD * (M + om)) by (apply Rmult_le_pos; lra). lra. }
  apply Rle_trans with (B / (1 - gD - lD) * ((1 - gD - lD) * T)); [right; field; lra |].
  apply Rmult_le_compat_l; [| auto]. apply le_div; lra.
Qed.

End Interval.

(** A rounding that is monotone keeps what is within B of o between the rounded ends. *)
Theorem fp_kernel_interval (fl : R -> R) x o B : (forall y z, y <= z -> fl y <= fl z) ->
  Rabs (x - o) <= B -> fl (o - B) <= fl x <= fl (o + B).
Proof. intros M H. apply Rabs_bounds in H. split; apply M; lra. Qed.

(** * Where the errors of a sum come from *)

(** Terms that are off by a factor leave the exact sum of a tree off by it: any order, with rescaling. *)
Lemma exact_off u lost x t s p R : computes u lost x t s -> 0 <= R ->
  (forall j, Rabs (x j - p j) <= R * Rabs (p j)) ->
  Rabs (exact x t - exact p t) <= R * exact (fun j => Rabs (p j)) t
    /\ 0 <= exact (fun j => Rabs (p j)) t
    /\ exact (fun j => Rabs (x j)) t <= (1 + R) * exact (fun j => Rabs (p j)) t.
Proof.
  intros C HR H. induction C as [j | l r x0 y0 delta Hd Cl [Al [Bl Dl]] Cr [Ar [Br Dr]]
    | f t x0 delta e Hf Hd He Ct [At [Bt Dt]]]; simpl.
  - repeat split; [apply H | apply Rabs_pos |].
    replace (x j) with (p j + (x j - p j)) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. specialize (H j). lra.
  - repeat split; try lra.
    replace (exact x l + exact x r - (exact p l + exact p r))
      with (exact x l - exact p l + (exact x r - exact p r)) by ring.
    eapply Rle_trans; [apply Rabs_triang | lra].
  - repeat split.
    + rewrite <- Rmult_minus_distr_l, Rabs_mult, (Rabs_right f) by lra.
      replace (R * (f * exact (fun j => Rabs (p j)) t))
        with (f * (R * exact (fun j => Rabs (p j)) t)) by ring.
      apply Rmult_le_compat_l; lra.
    + apply Rmult_le_pos; lra.
    + replace ((1 + R) * (f * exact (fun j => Rabs (p j)) t))
        with (f * ((1 + R) * exact (fun j => Rabs (p j)) t)) by ring.
      apply Rmult_le_compat_l; lra.
Qed.

(** A sum of terms x_j, each of p_j rounded to up to three formats, in any order and blocking, with at most k
    roundings a term: g = b_kernel_factor. *)
Theorem fp_kernel_sum k u lost r1 r2 r3 x p t s :
  0 <= u -> 0 <= lost -> INR k * u < 1 -> 0 <= r1 -> 0 <= r2 -> 0 <= r3 ->
  (forall j, Rabs (x j - p j) <= ((1 + r1) * (1 + r2) * (1 + r3) - 1) * Rabs (p j)) ->
  computes u lost x t s -> (roundings t <= k)%nat ->
  Rabs (s - exact p t) <= b_kernel_factor k u r1 r2 r3 * exact (fun j => Rabs (p j)) t
    + (1 + gamma k u) * (INR (products t) * lost).
Proof.
  intros Hu Hlost Hk H1 H2 H3 Hx C Ht.
  set (R := (1 + r1) * (1 + r2) * (1 + r3) - 1) in *.
  assert (HR : 0 <= R).
  { unfold R. assert (1 <= (1 + r1) * (1 + r2)) by nra. nra. }
  destruct (exact_off u lost x t s p R C HR Hx) as (A & B & Dx).
  pose proof (fp_sum u lost x t s k Hu Hlost Hk C Ht) as F.
  pose proof (gamma_nonneg k u Hu Hk) as G.
  replace (s - exact p t) with ((s - exact x t) + (exact x t - exact p t)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  assert (gamma k u * exact (fun j => Rabs (x j)) t
    <= gamma k u * ((1 + R) * exact (fun j => Rabs (p j)) t)) by (apply Rmult_le_compat_l; auto).
  replace (b_kernel_factor k u r1 r2 r3) with ((1 + R) * (1 + gamma k u) - 1).
  2: { pose proof (kernel_factor_form k u r1 r2 r3 Hk). unfold R. lra. }
  nra.
Qed.

(** Splits: a part's output is off by delta, the weight that it is merged with by e^eps; the merged sums are
    those of all keys, with the errors of the parts passed on to their keys. *)
Theorem fp_kernel_split n parts owner W v eta eta' (M Z eps delta : nat -> R) :
  (forall j, (j < n)%nat -> (owner j < parts)%nat) ->
  (forall a, (a < parts)%nat -> Z a <> 0) ->
  (forall a, (a < parts)%nat -> M a = fsum n (on (of_part owner a) (fun j => W j * v j * (1 + eta j)))) ->
  (forall a, (a < parts)%nat -> Z a = fsum n (on (of_part owner a) (fun j => W j * (1 + eta' j)))) ->
  fsum parts (fun a => Z a * exp (eps a) * (M a / Z a * (1 + delta a)))
    = fsum n (fun j => W j * exp (eps (owner j)) * v j * ((1 + eta j) * (1 + delta (owner j))))
  /\ fsum parts (fun a => Z a * exp (eps a))
    = fsum n (fun j => W j * exp (eps (owner j)) * (1 + eta' j)).
Proof.
  intros Ho HZ HM HZs. split.
  - rewrite <- (fsum_parts n parts owner) by auto. apply fsum_ext. intros a Ha.
    replace (Z a * exp (eps a) * (M a / Z a * (1 + delta a)))
      with (exp (eps a) * (1 + delta a) * M a) by (field; auto).
    rewrite (HM a Ha), <- fsum_scale. apply fsum_ext. intros j _.
    unfold on, of_part. destruct (Nat.eqb_spec (owner j) a) as [-> |]; ring.
  - rewrite <- (fsum_parts n parts owner) by auto. apply fsum_ext. intros a Ha.
    rewrite (HZs a Ha) at 1. rewrite <- fsum_scale_r. apply fsum_ext. intros j _.
    unfold on, of_part. destruct (Nat.eqb_spec (owner j) a) as [-> |]; ring.
Qed.

(** Queries and keys that are rounded: every product is off by two roundings. *)
Theorem fp_kernel_inputs r a b q k : 0 <= r -> Rabs a <= r -> Rabs b <= r ->
  Rabs (q * (1 + a) * (k * (1 + b)) - q * k) <= ((1 + r) * (1 + r) * (1 + 0) - 1) * Rabs (q * k).
Proof.
  intros Hr Ha Hb.
  replace (q * (1 + a) * (k * (1 + b)) - q * k) with (((1 + a) * (1 + b) - 1) * (q * k)) by ring.
  rewrite Rabs_mult. apply Rmult_le_compat_r; [apply Rabs_pos |].
  replace ((1 + r) * (1 + r) * (1 + 0) - 1) with ((1 + r) * (1 + r) - 1) by ring.
  apply factors_off; auto; [replace (1 + a - 1) with a by ring | replace (1 + b - 1) with b by ring];
    auto.
Qed.

(** A score that is rounded once more. *)
Theorem fp_kernel_rounded r d lost e s S : 0 <= r -> Rabs d <= r -> Rabs e <= lost ->
  Rabs (s * (1 + d) + e - S) <= (1 + r) * Rabs (s - S) + r * Rabs S + lost.
Proof.
  intros Hr Hd He. replace (s * (1 + d) + e - S) with (s * (1 + d) - S + e) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  pose proof (rounding_step s S d r (Rabs (s - S)) Hr Hd (Rle_refl _)). lra.
Qed.

(** * Products of matrices *)

Lemma matmul_form E V : 0 <= E -> 0 <= V -> b_kernel_deviation E V = sqrt (E * V).
Proof. intros. unfold b_kernel_deviation. rewrite sqrt_mult by auto. ring. Qed.

Theorem fp_kernel_matmul n p theta v E V : weights n p ->
  (forall j, (j < n)%nat -> 0 <= theta j) ->
  fsum n (fun j => p j * (exp (theta j) - 1) ^ 2) <= E ->
  fsum n (fun j => p j * v j ^ 2) - mean n p v ^ 2 <= V ->
  fsum n (fun j => p j * (exp (theta j) - 1) * Rabs (v j - mean n p v)) <= b_kernel_deviation E V.
Proof.
  intros P Ht HE HV. set (o := mean n p v) in *.
  assert (Var : fsum n (fun j => p j * (v j - o) ^ 2) = fsum n (fun j => p j * v j ^ 2) - o ^ 2).
  { rewrite (fsum_ext n _ (fun j => p j * v j ^ 2 - (2 * o * (p j * v j) - o ^ 2 * p j)))
      by (intros; ring).
    rewrite fsum_minus, fsum_minus, !fsum_scale, (proj2 P).
    replace (fsum n (fun j => p j * v j)) with o by reflexivity. ring. }
  assert (C := cauchy_schwarz n (fun j => sqrt (p j) * (exp (theta j) - 1))
    (fun j => sqrt (p j) * (v j - o))).
  assert (E0 : 0 <= fsum n (fun j => p j * (exp (theta j) - 1) ^ 2)).
  { apply fsum_nonneg. intros j Hj. apply Rmult_le_pos; [apply (proj1 P j Hj) | apply pow2_ge_0]. }
  assert (V0 : 0 <= fsum n (fun j => p j * (v j - o) ^ 2)).
  { apply fsum_nonneg. intros j Hj. apply Rmult_le_pos; [apply (proj1 P j Hj) | apply pow2_ge_0]. }
  rewrite matmul_form by lra.
  eapply Rle_trans; [eapply Rle_trans; [right | exact C] |].
  - apply fsum_ext. intros j Hj. pose proof (proj1 P j Hj) as Pj.
    pose proof (exp_ge_1 (theta j) (Ht j Hj)).
    replace (sqrt (p j) * (exp (theta j) - 1) * (sqrt (p j) * (v j - o)))
      with (sqrt (p j) * sqrt (p j) * (exp (theta j) - 1) * (v j - o)) by ring.
    rewrite sqrt_sqrt, !Rabs_mult, (Rabs_right (p j)), (Rabs_right (exp (theta j) - 1)) by lra.
    ring.
  - cbv beta. rewrite (fsum_ext n (fun l => (sqrt (p l) * (exp (theta l) - 1)) ^ 2)
      (fun j => p j * (exp (theta j) - 1) ^ 2))
      by (intros j Hj; rewrite Rpow_mult_distr, pow2_sqrt by apply (proj1 P j Hj); reflexivity).
    rewrite (fsum_ext n (fun l => (sqrt (p l) * (v l - o)) ^ 2) (fun j => p j * (v j - o) ^ 2))
      by (intros j Hj; rewrite Rpow_mult_distr, pow2_sqrt by apply (proj1 P j Hj); reflexivity).
    rewrite <- sqrt_mult by auto. apply sqrt_le_1_alt. apply Rmult_le_compat; auto. lra.
Qed.

(** * The largest mean *)

(** The larger of a term's two ends. *)
Definition tilted (theta x : R) : R := Rmax (exp theta * x) (exp (- theta) * x).

Lemma tilted_largest theta xi x : Rabs xi <= theta -> exp xi * x <= tilted theta x.
Proof.
  intros H. apply Rabs_bounds in H. unfold tilted.
  pose proof (exp_le xi theta ltac:(lra)). pose proof (exp_le (- theta) xi ltac:(lra)).
  destruct (Rle_dec 0 x).
  - eapply Rle_trans; [| apply Rmax_l]. apply Rmult_le_compat_r; auto.
  - eapply Rle_trans; [| apply Rmax_r]. nra.
Qed.

Theorem fp_kernel_shift n p theta W v lambda excess ss : weights n p -> kernel_weights n p theta W ->
  0 <= excess -> 0 < ss -> ss <= fsum n (fun j => p j * exp (- theta j)) ->
  fsum n (fun j => p j * tilted (theta j) (v j - mean n p v - lambda)) <= excess ->
  fsum n (fun j => W j * v j) / fsum n W - mean n p v <= b_kernel_shift lambda excess ss.
Proof.
  intros P K He Hs Hss HR. set (o := mean n p v) in *.
  replace (b_kernel_shift lambda excess ss) with (lambda + excess / ss)
    by (unfold b_kernel_shift; field; lra).
  assert (Z : ss <= fsum n W).
  { eapply Rle_trans; [exact Hss |]. apply fsum_le. intros j Hj.
    apply (weight_between n p theta W P K j Hj). }
  assert (A : fsum n (fun j => W j * (v j - o - lambda)) <= excess).
  { eapply Rle_trans; [| exact HR]. apply fsum_le. intros j Hj. destruct K as [xi H].
    destruct (H j Hj) as [Hx ->]. rewrite Rmult_assoc.
    apply Rmult_le_compat_l; [apply (proj1 P j Hj) | apply tilted_largest; auto]. }
  rewrite (fsum_ext n _ (fun j => W j * v j - W j * (o + lambda))) in A by (intros; ring).
  rewrite fsum_minus, fsum_scale_r in A.
  apply (Rplus_le_reg_r (o - lambda)).
  replace (fsum n (fun j => W j * v j) / fsum n W - o + (o - lambda))
    with ((fsum n (fun j => W j * v j) - fsum n W * (o + lambda)) / fsum n W + o) by (field; lra).
  replace (lambda + excess / ss + (o - lambda)) with (excess / ss + o) by ring.
  apply Rplus_le_compat_r. apply Rle_trans with (excess / fsum n W).
  - unfold Rdiv. apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; lra | auto].
  - unfold Rdiv. apply Rmult_le_compat_l; [auto | apply Rinv_le_contravar; lra].
Qed.

(** Where the excess is 0, weights within e^(+-theta) reach the bound. *)
Theorem fp_kernel_shift_attained n p theta v lambda ss : weights n p ->
  (forall j, (j < n)%nat -> 0 <= theta j) -> 0 < ss ->
  fsum n (fun j => p j * tilted (theta j) (v j - mean n p v - lambda)) = 0 ->
  exists W, kernel_weights n p theta W /\
    fsum n (fun j => W j * v j) / fsum n W - mean n p v = b_kernel_shift lambda 0 ss.
Proof.
  intros P Ht Hs HR. set (o := mean n p v) in *.
  set (xi := fun j => if Rle_dec 0 (v j - o - lambda) then theta j else - theta j).
  exists (fun j => p j * exp (xi j)).
  assert (Kw : kernel_weights n p theta (fun j => p j * exp (xi j))).
  { exists xi. intros j Hj. split; auto. unfold xi. specialize (Ht j Hj).
    destruct (Rle_dec 0 (v j - o - lambda)); [| rewrite Rabs_Ropp]; rewrite Rabs_right; lra. }
  split; auto.
  replace (b_kernel_shift lambda 0 ss) with lambda by (unfold b_kernel_shift; field; lra).
  set (W := fun j => p j * exp (xi j)) in *.
  assert (Z : 0 < fsum n W).
  { destruct (Rle_lt_or_eq_dec 0 (fsum n W)) as [H | H]; auto.
    - apply fsum_nonneg. intros j Hj. apply (weight_nonneg n p theta W P Kw j Hj).
    - exfalso. assert (Q : fsum n p = 0).
      { apply fsum_zero. intros j Hj.
        assert (W j <= 0).
        { rewrite H. apply fsum_term; auto. intros i Hi. apply (weight_nonneg n p theta W P Kw i Hi). }
        unfold W in H0. pose proof (exp_pos (xi j)). pose proof (proj1 P j Hj). nra. }
      rewrite (proj2 P) in Q. lra. }
  assert (A : fsum n (fun j => W j * (v j - o - lambda)) = 0).
  { rewrite <- HR. apply fsum_ext. intros j Hj. unfold W. rewrite Rmult_assoc. f_equal.
    unfold xi, tilted. specialize (Ht j Hj). pose proof (exp_le (- theta j) (theta j) ltac:(lra)).
    destruct (Rle_dec 0 (v j - o - lambda)) as [L | L].
    - rewrite Rmax_left; auto. apply Rmult_le_compat_r; auto.
    - rewrite Rmax_right; auto. nra. }
  rewrite (fsum_ext n _ (fun j => W j * v j - W j * (o + lambda))) in A by (intros; ring).
  rewrite fsum_minus, fsum_scale_r in A.
  change (fsum n (fun j => W j * v j) / fsum n W - o = lambda).
  replace (fsum n (fun j => W j * v j)) with (fsum n W * (o + lambda)) by lra. field. lra.
Qed.
