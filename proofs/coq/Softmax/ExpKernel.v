(** The integer kernel for exp of reference/exponential.py: its error is at most 33/64 of a unit
    (claim K.exp).

    [exp_kernel x bits] mirrors the Python function line by line: x <= 0 and the result are integers
    in units 2^-bits; shifts and divisions round down.  Write W = work and z = y / 2^W, so that
    z = x / 2^(bits + halvings) exactly, and E = exp z.

    Steps, with errors in units 2^-W:
    (1) reduction: |z| <= 2^-r with r = isqrt bits, since halvings - r bits hold |x| / 2^bits;
    (2) Horner's rule: a step maps the error e to at most e |z| + 1, so e <= 2 at the end; the terms
        that are left out add at most 1/2, as r (terms + 1) > W;
    (3) 0 <= t <= 2^W throughout, so a squaring maps e to at most 2 e + 1: after the halvings
        e <= 7/2 2^halvings - 1, that is 7/512 of a unit 2^-bits;
    (4) the last shift rounds to the nearest and adds 1/2; and below the cut-off exp is itself less
        than a unit.
    The sum is 1/2 + 7/512, less than the 33/64 of [k_exp]; below 16 bits one unit serves
    ([k_exp_low_precision]). *)

Require Import Reals Lra Lia ZArith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Softmax Require Import Taylor.
Open Scope R_scope.

(** * The function *)

Definition GUARD : Z := 8.

Definition bit_length (n : Z) : Z := if (n =? 0)%Z then 0%Z else (Z.log2 n + 1)%Z.

(** for i in range(terms, 0, -1): t = (1 << work) + ((y * t) >> work) // i *)
Fixpoint horner (work y : Z) (i : nat) (t : Z) : Z :=
  match i with
  | O => t
  | S j => horner work y j
             (Z.shiftl 1 work + Z.shiftr (y * t) work / Z.of_nat i)%Z
  end.

(** for _ in range(halvings): t = (t * t) >> work *)
Fixpoint squarings (work : Z) (halvings : nat) (t : Z) : Z :=
  match halvings with
  | O => t
  | S j => squarings work j (Z.shiftr (t * t) work)
  end.

Definition exp_kernel (x bits : Z) : Z :=
  if (x <? - Z.shiftl bits bits)%Z then 0%Z else
  let halvings := (bit_length (Z.shiftr (- x) bits) + Z.sqrt bits)%Z in
  let work := (bits + halvings + GUARD)%Z in
  let y := Z.shiftl x GUARD in
  let terms := (work / Z.sqrt bits + 1)%Z in
  let t := horner work y (Z.to_nat terms) (Z.shiftl 1 work) in
  let t := squarings work (Z.to_nat halvings) t in
  Z.shiftr (t + Z.shiftl 1 (halvings + GUARD - 1)) (halvings + GUARD).

(** * Integers and powers of two *)

(** 2^k as a real *)
Definition two (k : Z) : R := IZR (2 ^ k).

Lemma two_pos k : (0 <= k)%Z -> 0 < two k.
Proof. intros. apply IZR_lt, Z.pow_pos_nonneg; lia. Qed.

Lemma two_plus j k : (0 <= j)%Z -> (0 <= k)%Z -> two (j + k) = two j * two k.
Proof. intros. unfold two. rewrite Z.pow_add_r, mult_IZR; auto. Qed.

Lemma two_le j k : (0 <= j <= k)%Z -> two j <= two k.
Proof. intros. apply IZR_le, Z.pow_le_mono_r; lia. Qed.

Lemma two_nat n : two (Z.of_nat n) = 2 ^ n.
Proof. unfold two. now rewrite <- pow_IZR. Qed.

(** Division rounds down. *)
Lemma div_floor a b : (0 < b)%Z -> IZR a / IZR b - 1 < IZR (a / b) <= IZR a / IZR b.
Proof.
  intros Hb. assert (0 < IZR b) by (apply IZR_lt; auto).
  pose proof (Z.div_mod a b ltac:(lia)) as E. pose proof (Z.mod_pos_bound a b Hb) as [L U].
  apply IZR_le in L. apply IZR_lt in U.
  apply (f_equal IZR) in E. rewrite plus_IZR, mult_IZR in E.
  split.
  - apply Rmult_lt_reg_r with (IZR b); auto.
    replace ((IZR a / IZR b - 1) * IZR b) with (IZR a - IZR b) by (field; lra). lra.
  - apply le_div; auto. lra.
Qed.

Lemma shift_floor a k : (0 <= k)%Z -> IZR a / two k - 1 < IZR (Z.shiftr a k) <= IZR a / two k.
Proof. intros. rewrite Z.shiftr_div_pow2 by auto. apply div_floor, Z.pow_pos_nonneg; lia. Qed.

(** Two divisions that round down are one. *)
Lemma shift_div_floor a k i : (0 <= k)%Z -> (0 < i)%Z ->
  IZR a / two k / IZR i - 1 < IZR (Z.shiftr a k / i) <= IZR a / two k / IZR i.
Proof.
  intros Hk Hi. assert (0 < 2 ^ k)%Z by (apply Z.pow_pos_nonneg; lia).
  rewrite Z.shiftr_div_pow2, Z.div_div by lia.
  replace (IZR a / two k / IZR i) with (IZR a / IZR (2 ^ k * i)).
  - apply div_floor. nia.
  - rewrite mult_IZR. unfold two. field. split; apply not_0_IZR; lia.
Qed.

Lemma shift_one k : (0 <= k)%Z -> IZR (Z.shiftl 1 k) = two k.
Proof. intros. rewrite Z.shiftl_mul_pow2, Z.mul_1_l by auto. reflexivity. Qed.

Lemma bit_length_spec n : (0 <= n)%Z -> (0 <= bit_length n)%Z /\ (n < 2 ^ bit_length n)%Z.
Proof.
  intros Hn. unfold bit_length. destruct (Z.eqb_spec n 0) as [-> | Hne]; [simpl; lia |].
  pose proof (Z.log2_nonneg n). pose proof (Z.log2_spec n ltac:(lia)). rewrite Z.add_1_r. lia.
Qed.

(** * Horner's rule *)

Section Horner.

Variables (W : Z) (y : Z).
Hypothesis HW : (0 <= W)%Z.

Let z : R := IZR y / two W.

(** The step of index i, in real numbers. *)
Definition exact_step (i : nat) (T : R) : R := 1 + z * T / INR i.

Fixpoint exact_horner (i : nat) (T : R) : R :=
  match i with O => T | S j => exact_horner j (exact_step i T) end.

Lemma exact_horner_taylor i T :
  exact_horner (S i) T = taylor i z + next_term i z * T.
Proof.
  revert T. induction i; intros T.
  - unfold taylor, next_term. simpl. unfold exact_step. simpl. field.
  - change (exact_horner (S (S i)) T) with (exact_horner (S i) (exact_step (S (S i)) T)).
    rewrite IHi. unfold taylor, next_term, exact_step.
    rewrite (fsum_S (S i)), (fact_simpl (S i)), mult_INR, <- (tech_pow_Rmult z (S i)).
    field. split; [apply INR_fact_neq_0 | apply not_0_INR; lia].
Qed.

Hypothesis Hz : - (1 / 2) <= z <= 0.

(** t approximates 2^W T with error at most 2, and lies in [0, 2^W]. *)
Definition near (t : Z) (T : R) (e : R) : Prop :=
  Rabs (IZR t - two W * T) <= e /\ (0 <= t <= 2 ^ W)%Z.

Lemma horner_step i t T : (0 < i)%nat -> near t T 2 ->
  near (Z.shiftl 1 W + Z.shiftr (y * t) W / Z.of_nat i) (exact_step i T) 2.
Proof.
  intros Hi [He [Ht0 Ht1]]. pose proof (two_pos W HW) as H2.
  assert (Hi' : 1 <= INR i) by (apply (le_INR 1); auto).
  assert (Hinv : 0 < / INR i <= 1).
  { split; [apply Rinv_0_lt_compat; lra |]. rewrite <- Rinv_1. apply Rinv_le_contravar; lra. }
  assert (Hyt : (y * t <= 0)%Z).
  { apply Z.mul_nonpos_nonneg; auto. apply le_IZR.
    replace (IZR y) with (z * two W) by (unfold z; field; lra). nra. }
  pose proof (shift_div_floor (y * t) W (Z.of_nat i) HW ltac:(lia)) as F.
  rewrite mult_IZR, <- INR_IZR_INZ in F.
  replace (IZR y * IZR t / two W / INR i) with (z * IZR t * / INR i) in F
    by (unfold z; field; lra).
  apply Rabs_bounds in He. apply IZR_le in Ht0. apply IZR_le in Ht1. fold (two W) in Ht1.
  set (q := (Z.shiftr (y * t) W / Z.of_nat i)%Z) in *.
  assert (P : 0 <= - z * IZR t * / INR i <= two W / 2).
  { assert (0 <= - z * IZR t <= two W / 2) by nra. split; [apply Rmult_le_pos |]; nra. }
  unfold near.
  repeat split.
  - rewrite plus_IZR, shift_one by auto. unfold exact_step.
    assert (D : Rabs (z * (IZR t - two W * T) * / INR i) <= 1).
    { rewrite !Rabs_mult, (Rabs_right (/ INR i)), (Rabs_left1 z) by lra.
      assert (Rabs (IZR t - two W * T) <= 2) by (apply Rabs_le; lra).
      pose proof (Rabs_pos (IZR t - two W * T)).
      replace 1 with (1 / 2 * 2 * 1) by field.
      apply Rmult_le_compat; try lra; [apply Rmult_le_pos; lra |].
      apply Rmult_le_compat; lra. }
    replace (two W + IZR q - two W * (1 + z * T / INR i))
      with ((IZR q - z * IZR t * / INR i) + z * (IZR t - two W * T) * / INR i)
      by (field; lra).
    apply Rabs_bounds in D. apply Rabs_le. lra.
  - (* t' >= 2^W - 2^W / 2 - 1, an integer more than -1 *)
    apply Z.lt_succ_r. rewrite <- Z.add_1_r. apply lt_IZR.
    rewrite !plus_IZR, shift_one by auto. lra.
  - rewrite Z.shiftl_mul_pow2, Z.mul_1_l by auto.
    assert (q <= 0)%Z; [| lia].
    apply le_IZR. lra.
Qed.

Lemma horner_near i t T : near t T 2 -> near (horner W y i t) (exact_horner i T) 2.
Proof.
  revert t T. induction i; intros t T H; auto.
  apply IHi. apply horner_step; [lia | auto].
Qed.

(** Horner's rule from t = 2^W: the error of the floors, and the remainder of the series. *)
Lemma horner_exp i r : (0 <= r)%Z -> Rabs z <= / two r -> (W + r <= r * Z.of_nat (S (S i)))%Z ->
  (1 <= r)%Z -> near (horner W y (S i) (Z.shiftl 1 W)) (exp z) (5 / 2).
Proof.
  intros Hr Hzr Hterms Hr1. pose proof (two_pos W HW).
  assert (H0 : near (Z.shiftl 1 W) 1 2).
  { unfold near. rewrite shift_one, Z.shiftl_mul_pow2 by auto. split.
    - rewrite Rmult_1_r, Rminus_diag_eq, Rabs_R0; lra.
    - pose proof (Z.pow_nonneg 2 W ltac:(lia)). lia. }
  destruct (horner_near (S i) _ _ H0) as [He Hrange]. split; auto.
  rewrite exact_horner_taylor, Rmult_1_r in He.
  assert (Rest : Rabs (exp z - taylor (S i) z) <= / two (W + r)).
  { eapply Rle_trans; [apply s_taylor_absolute |].
    rewrite absolute_form, Rmax_left, exp_0, Rmult_1_r by lra.
    apply Rle_trans with (Rabs z ^ S (S i)).
    - unfold next_term. apply div_le; [apply INR_fact_lt_0 |].
      rewrite <- (Rmult_1_r (Rabs z ^ _)) at 1. apply Rmult_le_compat_l.
      + apply pow_le, Rabs_pos.
      + apply (le_INR 1), lt_O_fact.
    - apply Rle_trans with ((/ two r) ^ S (S i)).
      { apply pow_incr. split; [apply Rabs_pos | auto]. }
      rewrite pow_inv. apply Rinv_le_contravar; [apply two_pos; lia |].
      replace (two r ^ S (S i)) with (two (r * Z.of_nat (S (S i)))).
      + apply two_le. lia.
      + unfold two. rewrite Z.pow_mul_r, pow_IZR by lia. reflexivity. }
  rewrite two_plus, Rinv_mult in Rest by lia.
  assert (2 <= two r) by (apply (two_le 1 r); lia).
  assert (/ two r <= / 2) by (apply Rinv_le_contravar; lra).
  unfold taylor in Rest. rewrite fsum_S in Rest. fold (taylor i z) (next_term i z) in Rest.
  replace (IZR (horner W y (S i) (Z.shiftl 1 W)) - two W * exp z)
    with ((IZR (horner W y (S i) (Z.shiftl 1 W)) - two W * (taylor i z + next_term i z))
          - two W * (exp z - (taylor i z + next_term i z))) by ring.
  assert (Rabs (two W * (exp z - (taylor i z + next_term i z))) <= 1 / 2).
  { rewrite Rabs_mult, (Rabs_right (two W)) by lra.
    apply Rle_trans with (two W * (/ two W * / two r)); [apply Rmult_le_compat_l; lra |].
    rewrite <- Rmult_assoc, Rinv_r by lra. lra. }
  eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp. lra.
Qed.

(** * Squarings *)

Lemma squaring t E e : 0 <= E <= 1 -> near t E e -> near (Z.shiftr (t * t) W) (E * E) (2 * e + 1).
Proof.
  intros HE [He [Ht0 Ht1]]. pose proof (two_pos W HW) as H2.
  pose proof (shift_floor (t * t) W HW) as F. rewrite mult_IZR in F.
  split.
  - apply IZR_le in Ht0. apply IZR_le in Ht1. fold (two W) in Ht1.
    assert (D : Rabs (IZR t * IZR t / two W - two W * (E * E)) <= 2 * e).
    { replace (IZR t * IZR t / two W - two W * (E * E))
        with ((IZR t - two W * E) * ((IZR t + two W * E) / two W)) by (field; lra).
      rewrite Rabs_mult, (Rmult_comm 2). apply Rmult_le_compat; try apply Rabs_pos; auto.
      assert (0 <= two W * E <= two W) by nra.
      rewrite Rabs_right.
      - apply div_le; auto. lra.
      - apply Rle_ge, le_div; auto. lra. }
    apply Rabs_bounds in D. apply Rabs_le. lra.
  - rewrite Z.shiftr_div_pow2 by auto.
    assert (0 < 2 ^ W)%Z by (apply Z.pow_pos_nonneg; lia). split.
    + apply Z.div_pos; nia.
    + apply Z.div_le_upper_bound; nia.
Qed.

Lemma squarings_exp h : forall t x e, x <= 0 -> near t (exp x) e ->
  near (squarings W h t) (exp (2 ^ h * x)) (2 ^ h * (e + 1) - 1).
Proof.
  induction h; intros t x e Hx H.
  - simpl. rewrite Rmult_1_l. replace (1 * (e + 1) - 1) with e by ring. auto.
  - simpl. replace (2 * 2 ^ h * x) with (2 ^ h * (2 * x)) by ring.
    replace (2 * 2 ^ h * (e + 1) - 1) with (2 ^ h * ((2 * e + 1) + 1) - 1) by ring.
    apply IHh; [lra |]. rewrite exp_double. apply squaring; auto.
    split; [left; apply exp_pos | rewrite <- exp_0; apply exp_le; auto].
Qed.

End Horner.

(** * The whole kernel *)

Lemma sqrt_bits bits : (1 <= bits)%Z -> (1 <= Z.sqrt bits)%Z.
Proof. intros. apply (Z.sqrt_le_mono 1 bits). lia. Qed.

(** |x| / 2^bits < 2^L with L the bit length of its integer part *)
Lemma reduction x bits : (0 <= bits)%Z -> (x <= 0)%Z ->
  (- x < 2 ^ (bit_length (Z.shiftr (- x) bits) + bits))%Z.
Proof.
  intros Hb Hx. assert (0 < 2 ^ bits)%Z by (apply Z.pow_pos_nonneg; lia).
  assert (0 <= - x / 2 ^ bits)%Z by (apply Z.div_pos; lia).
  rewrite Z.shiftr_div_pow2 by lia.
  destruct (bit_length_spec (- x / 2 ^ bits)) as [HL HU]; auto.
  rewrite Z.pow_add_r by lia.
  pose proof (Z.mul_succ_div_gt (- x) (2 ^ bits) ltac:(lia)). nia.
Qed.

(** Adding half a unit before a shift rounds to the nearest. *)
Lemma round_shift t k : (1 <= k)%Z ->
  Rabs (IZR (Z.shiftr (t + Z.shiftl 1 (k - 1)) k) - IZR t / two k) <= 1 / 2.
Proof.
  intros Hk. pose proof (shift_floor (t + Z.shiftl 1 (k - 1)) k ltac:(lia)) as F.
  rewrite plus_IZR, shift_one in F by lia.
  assert (E : two k = 2 * two (k - 1)).
  { replace k with (1 + (k - 1))%Z at 1 by lia. rewrite two_plus by lia. reflexivity. }
  pose proof (two_pos (k - 1) ltac:(lia)).
  replace ((IZR t + two (k - 1)) / two k) with (IZR t / two k + 1 / 2) in F
    by (rewrite E; field; lra).
  apply Rabs_le. lra.
Qed.

(** Above the cut-off: everything but the 1/2 of the last rounding is 7/512. *)
Lemma kernel_error x bits : (1 <= bits)%Z -> (x <= 0)%Z -> (- Z.shiftl bits bits <= x)%Z ->
  Rabs (IZR (exp_kernel x bits) - two bits * exp (IZR x / two bits)) <= 1 / 2 + 7 / 512.
Proof.
  intros Hb Hx Hcut. unfold exp_kernel.
  destruct (Z.ltb_spec x (- Z.shiftl bits bits)) as [? | _]; [lia |].
  set (L := bit_length (Z.shiftr (- x) bits)). set (r := Z.sqrt bits).
  set (h := (L + r)%Z). set (W := (bits + h + GUARD)%Z). set (y := Z.shiftl x GUARD).
  assert (Hr : (1 <= r)%Z) by (apply sqrt_bits; auto).
  assert (HL : (0 <= L)%Z).
  { apply bit_length_spec. rewrite Z.shiftr_div_pow2 by lia.
    apply Z.div_pos; [lia | apply Z.pow_pos_nonneg; lia]. }
  assert (Hh : (0 <= h)%Z) by (unfold h; lia).
  assert (HW : (0 <= W)%Z) by (unfold W, GUARD; lia).
  pose proof (two_pos bits ltac:(lia)) as Pb. pose proof (two_pos h Hh) as Ph.
  pose proof (two_pos r ltac:(lia)) as Pr. pose proof (two_pos L HL) as PL.
  assert (EW : two W = two bits * two h * 256).
  { unfold W. rewrite !two_plus by (unfold GUARD; lia). reflexivity. }
  (* (1) the reduced argument *)
  set (z := IZR y / two W).
  assert (Ez : z = IZR x / (two bits * two h)).
  { unfold z, y. rewrite Z.shiftl_mul_pow2, mult_IZR, EW by (unfold GUARD; lia).
    change (IZR (2 ^ GUARD)) with 256. field. lra. }
  assert (Hz : - / two r <= z <= 0).
  { rewrite Ez. pose proof (reduction x bits ltac:(lia) Hx) as B. fold L in B.
    apply IZR_lt in B. rewrite opp_IZR in B. fold (two (L + bits)) in B.
    rewrite two_plus in B by lia. apply IZR_le in Hx.
    unfold h. rewrite two_plus by lia. split.
    - apply le_div; [repeat apply Rmult_lt_0_compat; auto |].
      replace (- / two r * (two bits * (two L * two r))) with (- (two L * two bits))
        by (field; lra). lra.
    - apply div_le; [repeat apply Rmult_lt_0_compat; auto | lra]. }
  assert (H2r : 2 <= two r) by (apply (two_le 1 r); lia).
  assert (/ two r <= / 2) by (apply Rinv_le_contravar; lra).
  (* (2) Horner's rule *)
  assert (Hdiv : (0 <= W / r)%Z) by (apply Z.div_pos; lia).
  replace (Z.to_nat (W / r + 1)) with (S (Z.to_nat (W / r))) by lia.
  assert (Hterms : (W + r <= r * Z.of_nat (S (S (Z.to_nat (W / r)))))%Z).
  { rewrite !Nat2Z.inj_succ, Z2Nat.id by auto.
    pose proof (Z.mul_succ_div_gt W r ltac:(lia)). nia. }
  assert (N0 : near W (horner W y (S (Z.to_nat (W / r))) (Z.shiftl 1 W)) (exp z) (5 / 2)).
  { apply horner_exp with (r := r); auto; try lia; fold z; try lra. apply Rabs_le. lra. }
  (* (3) squarings *)
  pose proof (squarings_exp W HW (Z.to_nat h) _ z _ ltac:(lra) N0) as N1.
  rewrite <- two_nat, Z2Nat.id in N1 by auto.
  set (t := squarings W (Z.to_nat h) (horner W y (S (Z.to_nat (W / r))) (Z.shiftl 1 W))) in *.
  destruct N1 as [N1 _].
  replace (two h * z) with (IZR x / two bits) in N1 by (rewrite Ez; field; lra).
  (* (4) the last rounding *)
  pose proof (round_shift t (h + GUARD) ltac:(unfold GUARD; lia)) as R.
  assert (EG : two (h + GUARD) = two h * 256) by (rewrite two_plus by (unfold GUARD; lia); auto).
  set (out := Z.shiftr (t + Z.shiftl 1 (h + GUARD - 1)) (h + GUARD)) in *.
  assert (Q : Rabs (IZR t / two (h + GUARD) - two bits * exp (IZR x / two bits)) <= 7 / 512).
  { replace (IZR t / two (h + GUARD) - two bits * exp (IZR x / two bits))
      with ((IZR t - two W * exp (IZR x / two bits)) / two (h + GUARD))
      by (rewrite EW, EG; field; lra).
    rewrite Rabs_div_pos by (rewrite EG; lra). apply div_le; rewrite EG; lra. }
  replace (IZR out - two bits * exp (IZR x / two bits))
    with ((IZR out - IZR t / two (h + GUARD))
          + (IZR t / two (h + GUARD) - two bits * exp (IZR x / two bits))) by ring.
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

(** exp 1 >= 9/4, from exp (1/2) >= 3/2 *)
Lemma exp_1_lower : 9 / 4 <= exp 1.
Proof.
  assert (3 / 2 <= exp (1 / 2)) by (pose proof (exp_ineq1 (1 / 2)); lra).
  replace (exp 1) with (exp (1 / 2) * exp (1 / 2)) by (rewrite <- exp_double; f_equal; field). nra.
Qed.

(** Below the cut-off 2^bits exp (x / 2^bits) <= (2 / e)^bits <= (8/9)^bits. *)
Lemma cutoff_error x bits : (0 <= bits)%Z -> (x < - Z.shiftl bits bits)%Z ->
  0 <= two bits * exp (IZR x / two bits) <= (8 / 9) ^ Z.to_nat bits.
Proof.
  intros Hb Hx. pose proof (two_pos bits Hb) as Pb.
  split; [apply Rmult_le_pos; [lra | left; apply exp_pos] |].
  rewrite Z.shiftl_mul_pow2 in Hx by auto. apply IZR_lt in Hx. rewrite opp_IZR, mult_IZR in Hx.
  fold (two bits) in Hx.
  apply Rle_trans with (two bits * exp (- IZR bits)).
  - apply Rmult_le_compat_l; [lra |]. apply exp_le, div_le; lra.
  - rewrite <- (Z2Nat.id bits) by auto. set (n := Z.to_nat bits).
    rewrite two_nat, <- INR_IZR_INZ, Nat2Z.id. clearbody n. clear.
    induction n; [simpl; rewrite Ropp_0, exp_0; lra |].
    rewrite S_INR, Ropp_plus_distr, exp_plus, <- !tech_pow_Rmult.
    assert (0 < 2 ^ n * exp (- INR n))
      by (apply Rmult_lt_0_compat; [apply pow_lt; lra | apply exp_pos]).
    assert (2 * exp (- (1)) <= 8 / 9).
    { pose proof exp_1_lower. rewrite exp_Ropp.
      apply Rmult_le_reg_r with (exp 1); [lra |]. rewrite Rmult_assoc, Rinv_l; lra. }
    pose proof (exp_pos (- (1))). nra.
Qed.

(** * K.exp *)

Lemma exp_kernel_cut x bits : (x < - Z.shiftl bits bits)%Z -> exp_kernel x bits = 0%Z.
Proof. intros H. unfold exp_kernel. apply Z.ltb_lt in H. now rewrite H. Qed.

(** 2^bits * exp (x / 2^bits), within little more than the half unit of any rounding. *)
Theorem k_exp x bits : (16 <= bits)%Z -> (x <= 0)%Z ->
  Rabs (IZR (exp_kernel x bits) - IZR (2 ^ bits) * exp (IZR x / IZR (2 ^ bits))) <= b_kernel_exp.
Proof.
  intros Hb Hx. unfold b_kernel_exp. fold (two bits).
  destruct (Z_lt_le_dec x (- Z.shiftl bits bits)) as [H | H].
  - rewrite exp_kernel_cut by auto. pose proof (cutoff_error x bits ltac:(lia) H) as C.
    assert ((8 / 9) ^ Z.to_nat bits <= (8 / 9) ^ 8 * 1).
    { replace (Z.to_nat bits) with (8 + (Z.to_nat bits - 8))%nat by lia. rewrite pow_add.
      apply Rmult_le_compat_l; [apply pow_le; lra |].
      rewrite <- (pow1 (Z.to_nat bits - 8)). apply pow_incr. lra. }
    apply Rabs_le. lra.
  - pose proof (kernel_error x bits ltac:(lia) Hx H). lra.
Qed.

(** One unit suffices at any precision. *)
Theorem k_exp_low_precision x bits : (1 <= bits)%Z -> (x <= 0)%Z ->
  Rabs (IZR (exp_kernel x bits) - IZR (2 ^ bits) * exp (IZR x / IZR (2 ^ bits))) <= 1.
Proof.
  intros Hb Hx. fold (two bits). destruct (Z_lt_le_dec x (- Z.shiftl bits bits)) as [H | H].
  - rewrite exp_kernel_cut by auto. pose proof (cutoff_error x bits ltac:(lia) H) as C.
    assert ((8 / 9) ^ Z.to_nat bits <= 1).
    { rewrite <- (pow1 (Z.to_nat bits)). apply pow_incr. lra. }
    apply Rabs_le. lra.
  - pose proof (kernel_error x bits Hb Hx H). lra.
Qed.
