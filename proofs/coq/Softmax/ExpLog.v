(** exp for every argument and log: [exp_real] and [log_positive] of reference/exponential.py, built
    on the kernel of claim K.exp, are within one unit.

    exp of a positive z = x / 2^bits is the reciprocal of exp (-z), computed with enough extra bits
    that exp (2 z) <= 2^extra / 4: the kernel's error then moves the reciprocal by less than half a
    unit, and rounding to the nearest adds half.
    log is checked, not derived: whatever y Newton's iteration arrives at, x exp (-y) - 1 was seen
    to be small, and ln x - y = ln (1 + (x exp (-y) - 1)).  That the iteration arrives is not
    proved; it returns nothing otherwise. *)

Require Import Reals Lra Lia ZArith.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums.
From Attest.Softmax Require Import ExpKernel.
Open Scope R_scope.

(** * exp *)

Definition exp_real (x bits : Z) : Z :=
  if (x <=? 0)%Z then exp_kernel x bits else
  let extra := (3 * (Z.shiftr x bits + 1) + 2)%Z in
  let reciprocal := exp_kernel (Z.shiftl (- x) extra) (bits + extra) in
  Z.shiftr (Z.shiftl 1 (2 * bits + extra + 1) / reciprocal + 1) 1.

Lemma exp_times n x : exp (INR n * x) = exp x ^ n.
Proof.
  induction n; [simpl; rewrite Rmult_0_l; apply exp_0 |].
  rewrite S_INR, Rmult_plus_distr_r, exp_plus, IHn, Rmult_1_l. simpl. ring.
Qed.

(** exp 2 <= 8, as exp (-1/16) >= 15/16 *)
Lemma exp_2_upper : exp 2 <= 8.
Proof.
  assert (L : (15 / 16) ^ 32 <= exp (- (1 / 16)) ^ 32)
    by (apply pow_incr; pose proof (exp_ineq1_le (- (1 / 16))); lra).
  rewrite <- exp_times in L.
  replace (INR 32 * - (1 / 16)) with (- (2)) in L by (simpl; lra).
  rewrite exp_Ropp in L. pose proof (exp_pos 2).
  apply Rmult_le_reg_r with (/ exp 2); [apply Rinv_0_lt_compat; auto |].
  rewrite Rinv_r by lra. lra.
Qed.

(** z <= c gives exp (2 z) <= 2^(3 c). *)
Lemma exp_square_upper z c : (0 <= c)%Z -> z <= IZR c -> exp z * exp z <= two (3 * c).
Proof.
  intros Hc Hz. rewrite <- exp_double.
  apply Rle_trans with (exp (INR (Z.to_nat c) * 2)).
  - apply exp_le. rewrite INR_IZR_INZ, Z2Nat.id by auto. lra.
  - rewrite exp_times. apply Rle_trans with (8 ^ Z.to_nat c).
    + apply pow_incr. split; [left; apply exp_pos | apply exp_2_upper].
    + right. unfold two. rewrite Z.pow_mul_r by lia. rewrite <- (Z2Nat.id c) at 2 by auto.
      now rewrite <- pow_IZR.
Qed.

(** (a / R + 1) >> 1 rounds half of a / R to the nearest. *)
Lemma round_half a b : (0 < b)%Z ->
  Rabs (IZR (Z.shiftr (a / b + 1) 1) - IZR a / IZR b / 2) <= 1 / 2.
Proof.
  intros Hb. pose proof (div_floor a b Hb) as F. set (q := (a / b)%Z) in *.
  rewrite Z.shiftr_div_pow2 by lia. change (2 ^ 1)%Z with 2%Z.
  pose proof (Z.div_mod (q + 1) 2 ltac:(lia)) as D.
  pose proof (Z.mod_pos_bound (q + 1) 2 ltac:(lia)) as [M0 M1].
  assert (M : (((q + 1) mod 2 = 0) \/ ((q + 1) mod 2 = 1))%Z) by lia.
  set (h := ((q + 1) / 2)%Z) in *.
  assert (E : (q = 2 * h - 1 \/ q = 2 * h)%Z) by lia.
  apply Rabs_le. destruct E as [E | E]; rewrite E in F;
    [rewrite minus_IZR, mult_IZR in F | rewrite mult_IZR in F]; lra.
Qed.

Theorem k_exp_real x bits : (16 <= bits)%Z ->
  Rabs (IZR (exp_real x bits) - IZR (2 ^ bits) * exp (IZR x / IZR (2 ^ bits))) <= 1.
Proof.
  intros Hb. unfold exp_real. destruct (Z.leb_spec x 0) as [Hx | Hx].
  { eapply Rle_trans; [apply k_exp; auto |]. unfold b_kernel_exp. lra. }
  assert (Hc : (0 <= Z.shiftr x bits)%Z) by (apply Z.shiftr_nonneg; lia).
  pose proof (shift_floor x bits ltac:(lia)) as [F _].
  set (c := (Z.shiftr x bits + 1)%Z). set (extra := (3 * c + 2)%Z).
  assert (Hextra : (5 <= extra)%Z) by (unfold extra, c; lia).
  pose proof (two_pos bits ltac:(lia)) as Pb. pose proof (two_pos extra ltac:(lia)) as Pe.
  fold (two bits). set (z := IZR x / two bits) in *. set (E := exp z).
  assert (HE : E * E <= two extra / 4).
  { unfold extra. rewrite two_plus by (unfold c; lia). change (two 2) with 4.
    pose proof (exp_square_upper z c ltac:(unfold c; lia)
      ltac:(unfold c; rewrite plus_IZR; lra)). fold E in H. lra. }
  assert (HE1 : 1 <= E).
  { apply exp_ge_1, le_div; auto. apply IZR_lt in Hx. lra. }
  assert (H16 : 65536 <= two bits) by (apply (two_le 16); lia).
  pose proof (k_exp (Z.shiftl (- x) extra) (bits + extra) ltac:(lia)) as K.
  set (r := exp_kernel (Z.shiftl (- x) extra) (bits + extra)) in *.
  fold (two (bits + extra)) in K.
  rewrite Z.shiftl_mul_pow2, mult_IZR, opp_IZR in K by lia. fold (two extra) in K.
  rewrite two_plus in K by lia.
  replace (- IZR x * two extra / (two bits * two extra)) with (- z) in K
    by (unfold z; field; lra).
  rewrite exp_Ropp in K. fold E in K.
  assert (K1 : Rabs (IZR r - two bits * two extra / E) <= 1).
  { eapply Rle_trans; [apply K |]; [nia |]. unfold b_kernel_exp. lra. }
  clear K. pose proof (Rabs_bounds _ _ K1) as K2.
  (* r is at least 2 2^bits E *)
  assert (HP : 4 * (two bits * E) <= two bits * two extra / E).
  { apply le_div; [lra |]. nra. }
  assert (HbE : 65536 <= two bits * E) by nra.
  assert (Hr : 2 * (two bits * E) <= IZR r) by lra.
  assert (Hr0 : (0 < r)%Z) by (apply lt_IZR; lra).
  pose proof (round_half (Z.shiftl 1 (2 * bits + extra + 1)) r Hr0) as G.
  rewrite shift_one in G by lia.
  replace (2 * bits + extra + 1)%Z with (bits + (bits + (extra + 1)))%Z in * by lia.
  rewrite !two_plus in G by lia. change (two 1) with 2 in G.
  set (out := Z.shiftr _ 1) in *.
  assert (D : Rabs (two bits * (two bits * (two extra * 2)) / IZR r / 2 - two bits * E) <= 1 / 2).
  { replace (two bits * (two bits * (two extra * 2)) / IZR r / 2 - two bits * E)
      with (two bits * E * - (IZR r - two bits * two extra / E) / IZR r) by (field; lra).
    rewrite Rabs_div_pos, Rabs_mult, Rabs_Ropp, (Rabs_right (two bits * E)) by lra.
    apply div_le; [lra |].
    apply Rle_trans with (two bits * E * 1); [apply Rmult_le_compat_l; lra | lra]. }
  replace (IZR out - two bits * E)
    with ((IZR out - two bits * (two bits * (two extra * 2)) / IZR r / 2)
          + (two bits * (two bits * (two extra * 2)) / IZR r / 2 - two bits * E)) by ring.
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

(** * log *)

(** The rho of [log_positive]: x exp (-y) - 1, in units 2^-work. *)
Definition log_residual (x bits y : Z) : Z :=
  let work := (bits + GUARD)%Z in
  let head := Z.max 0 (bit_length x - bits) in
  (Z.shiftr (x * exp_real (Z.shiftl (- y) head) (work + head)) (bits + head)
    - Z.shiftl 1 work)%Z.

(** What it returns for a y that it accepts. *)
Definition log_result (y : Z) : Z := Z.shiftr (y + Z.shiftl 1 (GUARD - 1)) GUARD.

Theorem k_log x bits y : (16 <= bits)%Z -> (0 < x)%Z -> (Z.abs (log_residual x bits y) <= 8)%Z ->
  Rabs (IZR (log_result y) - IZR (2 ^ bits) * ln (IZR x / IZR (2 ^ bits))) <= 1.
Proof.
  intros Hb Hx Hrho. unfold log_residual in Hrho.
  set (work := (bits + GUARD)%Z) in *. set (head := Z.max 0 (bit_length x - bits)) in *.
  assert (Hwork : (24 <= work)%Z) by (unfold work, GUARD; lia).
  assert (Hhead : (0 <= head)%Z) by (unfold head; lia).
  pose proof (two_pos bits ltac:(lia)) as Pb. pose proof (two_pos work ltac:(lia)) as Pw.
  pose proof (two_pos head Hhead) as Ph.
  assert (Ew : two work = two bits * 256).
  { unfold work. rewrite two_plus by (unfold GUARD; lia). reflexivity. }
  fold (two bits). set (X := IZR x / two bits). set (Y := IZR y / two work).
  assert (HX0 : 0 < X) by (apply Rdiv_lt_0_compat; auto; apply IZR_lt; auto).
  assert (HX : X <= two head).
  { apply div_le; auto. rewrite <- two_plus by lia. apply IZR_le.
    pose proof (bit_length_spec x ltac:(lia)) as [_ B].
    assert (2 ^ bit_length x <= 2 ^ (head + bits))%Z
      by (apply Z.pow_le_mono_r; unfold head; lia). lia. }
  (* the exponential, then the floor of the product *)
  pose proof (k_exp_real (Z.shiftl (- y) head) (work + head) ltac:(lia)) as K.
  fold (two (work + head)) in K. rewrite two_plus in K by lia.
  set (e := exp_real (Z.shiftl (- y) head) (work + head)) in *.
  rewrite Z.shiftl_mul_pow2, mult_IZR, opp_IZR in K by lia. fold (two head) in K.
  replace (- IZR y * two head / (two work * two head)) with (- Y) in K
    by (unfold Y; field; lra).
  pose proof (shift_floor (x * e) (bits + head) ltac:(lia)) as F.
  rewrite mult_IZR, two_plus in F by lia.
  replace (IZR x * IZR e / (two bits * two head)) with (X * (IZR e / two head)) in F
    by (unfold X; field; lra).
  set (p := Z.shiftr (x * e) (bits + head)) in *.
  assert (R8 : Rabs (IZR p - two work) <= 8).
  { rewrite <- (shift_one work), <- minus_IZR, Rabs_Zabs by lia. apply IZR_le. auto. }
  assert (D : Rabs (X * (IZR e / two head) - two work * (X * exp (- Y))) <= 1).
  { replace (X * (IZR e / two head) - two work * (X * exp (- Y)))
      with ((IZR e - two work * two head * exp (- Y)) * (X / two head)) by (field; lra).
    rewrite Rabs_mult, (Rabs_right (X / two head))
      by (apply Rle_ge, Rlt_le, Rdiv_lt_0_compat; auto).
    assert (X / two head <= 1) by (apply div_le; lra).
    assert (0 <= X / two head) by (apply Rlt_le, Rdiv_lt_0_compat; auto).
    pose proof (Rabs_pos (IZR e - two work * two head * exp (- Y))). nra. }
  (* X exp (-Y) is 1 up to 10 units *)
  set (rho := X * exp (- Y) - 1).
  assert (Hrel : Rabs rho <= 10 / two work).
  { apply le_div; auto. rewrite <- (Rabs_right (two work)) at 1 by lra. rewrite <- Rabs_mult.
    apply Rabs_bounds in D. apply Rabs_bounds in R8. unfold rho. apply Rabs_le. lra. }
  assert (H24 : 16777216 <= two work) by (apply (two_le 24); lia).
  assert (Hsmall : 10 / two work <= 1 / 2) by (apply div_le; lra).
  pose proof (ln_error rho _ Hrel ltac:(lra)) as L.
  replace (1 + rho) with (X * exp (- Y)) in L by (unfold rho; ring).
  rewrite ln_mult, ln_exp in L by (auto; apply exp_pos).
  assert (L2 : Rabs (ln X - Y) <= 20 / two work).
  { replace (ln X - Y) with (ln X + - Y) by ring. eapply Rle_trans; [exact L |].
    assert (0 < 10 / two work) by (apply Rdiv_lt_0_compat; lra).
    replace (20 / two work) with (2 * (10 / two work)) by (field; lra).
    apply div_le; [lra |]. nra. }
  (* in units of the result, and rounded *)
  pose proof (round_shift y GUARD ltac:(unfold GUARD; lia)) as G. fold (log_result y) in G.
  change (two GUARD) with 256 in G.
  replace (IZR (log_result y) - two bits * ln X)
    with ((IZR (log_result y) - IZR y / 256) - two bits * (ln X - Y))
    by (unfold Y; rewrite Ew; field; lra).
  eapply Rle_trans; [apply Rabs_triang |].
  rewrite Rabs_Ropp, Rabs_mult, (Rabs_right (two bits)) by lra.
  assert (two bits * Rabs (ln X - Y) <= two bits * (20 / two work))
    by (apply Rmult_le_compat_l; lra).
  replace (two bits * (20 / two work)) with (20 / 256) in * by (rewrite Ew; field; lra). lra.
Qed.
