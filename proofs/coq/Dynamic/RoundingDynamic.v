(** Rounding in dynamic attention (claim FP.dynamic).

    A row begins with rounded sums of w_s v_s and of w_s.  When a token changes, the sums gain its
    new term and lose its old one, as two *events* w1 v1 and - w0 v0 or as the pair of
    (w1 - w0) v1 and w0 (v1 - v0), whose differences are rounded too.  A weight is computed from its
    key, or is the last one times exp (delta q), rounded.  The answer is the quotient of the sums.

    Steps: (1) the logarithm of a weight errs by that of its logit and shift and by a few u for each
    factor ([fp_dynamic_weight]); (2) a sum errs by gamma times the *mass*, all that was ever added
    or subtracted, and by what its weights err; (3) judged after the fact, by the sums that were
    computed,
          N / Dn - N' / D' = (N - N') / Dn + (N' / D') (D' - Dn) / Dn,
    and |N' / D'| is at most the largest value, which needs no bound on the errors; (4) where logits
    say nothing any more, |N| is at most (1 + gamma) times the mass ([fp_dynamic_output]).

    NOTE That the exact sums of all that was added and subtracted are the sums over the present
    tokens is P1.correct; here it is a hypothesis,
    which [fp_dynamic_telescopes] provides.  A product delta q that underflows
    fits [renewed] too: its exponential is 1, so p = step and kappa = exp (- step) - 1 will do. *)

Require Import Reals Lra Lia List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Rounding Require Import Rounding RoundingSoftmax.
Open Scope R_scope.

(** * FP.dynamic: a computed weight *)

(** w was computed from a logit s, then multiplied by [factors] exponentials of exact steps. *)
Definition renewed (u exp_relative reach s m : R) (factors : nat) (step : nat -> R) (w : R)
    : Prop :=
  exists a kappa0 (p kappa delta : nat -> R),
    Rabs (s - m) <= reach /\ Rabs (a - (s - m)) <= u * Rabs (s - m) /\
    Rabs kappa0 <= exp_relative /\
    (forall f, (f < factors)%nat -> Rabs (p f - step f) <= 3 * u * Rabs (step f) /\
      Rabs (kappa f) <= exp_relative /\ Rabs (delta f) <= u) /\
    w = exp a * (1 + kappa0)
      * fprod factors (fun f => exp (p f) * (1 + kappa f) * (1 + delta f)).

Lemma ln_fprod n f : (forall i, (i < n)%nat -> 0 < f i) ->
  0 < fprod n f /\ ln (fprod n f) = fsum n (fun i => ln (f i)).
Proof.
  induction n; simpl; intros H; [rewrite ln_1; split; lra |].
  destruct IHn as [P E]; [auto |]. split; [apply Rmult_lt_0_compat; auto |].
  rewrite ln_mult, E; auto.
Qed.

Lemma dynamic_weight_form rho u reach e k steps : (1 + e) * u < 1 ->
  b_dynamic_weight rho u reach e k steps
    = rho + u * reach + (INR k + 1) * ((1 + e) * u / (1 - (1 + e) * u)) + 3 * u * steps.
Proof. intros. unfold b_dynamic_weight. field. lra. Qed.

(** The logarithm of a factor 1 + kappa, and of one that is rounded. *)
Lemma ln_factor k d e u : 0 <= u -> 0 <= e -> (1 + e) * u < 1 -> Rabs k <= e * u -> Rabs d <= u ->
  0 < 1 + k /\ 0 < 1 + d /\ Rabs (ln (1 + k) + ln (1 + d)) <= (1 + e) * u / (1 - (1 + e) * u).
Proof.
  intros Hu He H Hk Hd. assert (0 <= e * u) by (apply Rmult_le_pos; auto).
  pose proof (ln_error k (e * u) Hk ltac:(lra)) as Lk.
  pose proof (ln_error d u Hd ltac:(lra)) as Ld.
  assert (Mk : e * u / (1 - e * u) <= e * u / (1 - (1 + e) * u)).
  { apply Rmult_le_compat_l; auto. apply Rinv_le_contravar; lra. }
  assert (Md : u / (1 - u) <= u / (1 - (1 + e) * u)).
  { apply Rmult_le_compat_l; auto. apply Rinv_le_contravar; lra. }
  apply Rabs_bounds in Hk. apply Rabs_bounds in Hd. repeat split; try lra.
  eapply Rle_trans; [apply Rabs_triang |].
  replace ((1 + e) * u / (1 - (1 + e) * u))
    with (e * u / (1 - (1 + e) * u) + u / (1 - (1 + e) * u)) by (field; lra). lra.
Qed.

Theorem fp_dynamic_weight u exp_error reach logit_error s S0 S m factors k step steps w :
  0 <= u -> 0 <= exp_error -> (1 + exp_error) * u < 1 -> Rabs (s - S0) <= logit_error ->
  S = S0 + fsum factors step -> fsum factors (fun f => Rabs (step f)) <= steps ->
  (factors <= k)%nat -> renewed u (exp_error * u) reach s m factors step w ->
  0 < w /\ Rabs (ln w - (S - m)) <= b_dynamic_weight logit_error u reach exp_error k steps.
Proof.
  intros Hu He Hc Hs HS Hsteps Hk (a & kappa0 & p & kappa & delta & Hreach & Ha & H0 & Hf & ->).
  rewrite dynamic_weight_form by auto.
  set (c := (1 + exp_error) * u / (1 - (1 + exp_error) * u)).
  assert (Hc0 : 0 <= c) by (apply le_div; nra).
  destruct (ln_factor kappa0 0 exp_error u Hu He Hc H0) as (P0 & _ & L0).
  { rewrite Rabs_R0. auto. }
  rewrite Rplus_0_r, ln_1, Rplus_0_r in L0. fold c in L0.
  set (g := fun f => exp (p f) * (1 + kappa f) * (1 + delta f)).
  assert (F : forall f, (f < factors)%nat -> 0 < g f /\
    Rabs (ln (g f) - step f) <= 3 * u * Rabs (step f) + c).
  { intros f Hlt. destruct (Hf f Hlt) as (Hp & Hka & Hd).
    destruct (ln_factor _ _ exp_error u Hu He Hc Hka Hd) as (Pk & Pd & L). fold c in L.
    pose proof (exp_pos (p f)).
    assert (0 < exp (p f) * (1 + kappa f)) by (apply Rmult_lt_0_compat; auto).
    split; [apply Rmult_lt_0_compat; auto |].
    unfold g. rewrite !ln_mult, ln_exp by auto.
    replace (p f + ln (1 + kappa f) + ln (1 + delta f) - step f)
      with ((p f - step f) + (ln (1 + kappa f) + ln (1 + delta f))) by ring.
    eapply Rle_trans; [apply Rabs_triang | lra]. }
  destruct (ln_fprod factors g) as [Pg Lg]; [intros; apply F; auto |].
  pose proof (exp_pos a). assert (0 < exp a * (1 + kappa0)) by (apply Rmult_lt_0_compat; auto).
  split; [apply Rmult_lt_0_compat; auto |].
  rewrite !ln_mult, ln_exp, Lg by auto. rewrite HS.
  replace (a + ln (1 + kappa0) + fsum factors (fun i => ln (g i)) - (S0 + fsum factors step - m))
    with ((s - S0) + (a - (s - m)) + ln (1 + kappa0)
      + fsum factors (fun f => ln (g f) - step f)) by (rewrite fsum_minus; ring).
  assert (A : Rabs (a - (s - m)) <= u * reach).
  { eapply Rle_trans; [exact Ha | apply Rmult_le_compat_l; auto]. }
  assert (B : Rabs (fsum factors (fun f => ln (g f) - step f)) <= 3 * u * steps + INR k * c).
  { eapply Rle_trans; [apply fsum_abs |].
    apply Rle_trans with (fsum factors (fun f => 3 * u * Rabs (step f) + c)).
    - apply fsum_le. intros f Hlt. apply F; auto.
    - rewrite fsum_plus, fsum_const, fsum_scale. apply le_INR in Hk.
      apply Rplus_le_compat; [apply Rmult_le_compat_l; lra | apply Rmult_le_compat_r; auto]. }
  eapply Rle_trans; [apply Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rplus_le_compat_r, Rabs_triang |]. lra.
Qed.

(** The error relative to the computed weight. *)
Lemma weight_close w W theta : 0 < w -> 0 < W -> Rabs (ln w - ln W) <= theta ->
  Rabs (w - W) <= w * (exp theta - 1).
Proof.
  intros Hw HW H. apply Rabs_bounds in H.
  assert (U : W <= w * exp theta).
  { rewrite <- (exp_ln W), <- (exp_ln w), <- exp_plus by auto. apply exp_le. lra. }
  assert (L : w * exp (- theta) <= W).
  { rewrite <- (exp_ln W), <- (exp_ln w), <- exp_plus by auto. apply exp_le. lra. }
  pose proof (exp_opp_mult theta). pose proof (exp_pos theta). pose proof (exp_pos (- theta)).
  (* 1 - 1/t <= t - 1 *)
  assert (2 - exp theta <= exp (- theta)).
  { apply Rmult_le_reg_l with (exp theta); auto. pose proof (pow2_ge_0 (exp theta - 1)). nra. }
  assert (w * (2 - exp theta) <= w * exp (- theta)) by (apply Rmult_le_compat_l; lra).
  apply Rabs_le. lra.
Qed.

(** * FP.dynamic: a sum *)

(** Terms p, differences in them rounded to p', added up in any order. *)
Definition lazy_sum (u lost : R) (E depth : nat) (p : nat -> R) (s : R) : Prop :=
  exists p' t, (forall e, (e < E)%nat -> Rabs (p' e - p e) <= ((1 + u) ^ 2 - 1) * Rabs (p e)) /\
    adds E t /\ (roundings t + 2 <= depth)%nat /\ computes u lost p' t s.

Lemma lazy_sum_error u lost E depth p s mass : 0 <= u -> 0 <= lost -> INR depth * u < 1 ->
  lazy_sum u lost E depth p s -> fsum E (fun e => Rabs (p e)) <= mass ->
  Rabs (s - fsum E p) <= gamma depth u * mass + (1 + gamma depth u) * (INR E * lost).
Proof.
  intros Hu Hl HR (p' & t & Hp & Ht & Hr & Hs) HM.
  pose proof (sum_error u lost p' t s Hu Hl Hs) as S. cbv zeta in S.
  rewrite (adds_exact E t p' Ht), (adds_exact E t _ Ht) in S.
  rewrite unscaled_products, (adds_length E t Ht) in S by apply Ht.
  set (r := roundings t) in *. set (P := fsum E (fun e => Rabs (p e))) in *.
  pose proof (pow_ge_1 u r Hu) as G. pose proof (pos_INR E).
  assert (P0 : 0 <= P) by (apply fsum_nonneg; intros; apply Rabs_pos).
  assert (A : fsum E (fun j => Rabs (p' j)) <= (1 + u) ^ 2 * P).
  { unfold P. rewrite <- fsum_scale. apply fsum_le. intros e He. specialize (Hp e He).
    replace (p' e) with (p e + (p' e - p e)) by ring.
    eapply Rle_trans; [apply Rabs_triang | lra]. }
  assert (B : Rabs (fsum E p' - fsum E p) <= ((1 + u) ^ 2 - 1) * P).
  { rewrite <- fsum_minus. eapply Rle_trans; [apply fsum_abs |].
    unfold P. rewrite <- fsum_scale. apply fsum_le. auto. }
  assert (U : (1 + u) ^ (r + 2) <= 1 + gamma depth u).
  { eapply Rle_trans; [apply pow_mono; eauto | apply pow_up; auto]. }
  assert (V : (1 + u) ^ r <= 1 + gamma depth u).
  { eapply Rle_trans; [| exact U]. apply pow_mono; auto. lia. }
  rewrite pow_add in U.
  replace (s - fsum E p) with ((s - fsum E p') + (fsum E p' - fsum E p)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  assert (C : ((1 + u) ^ r - 1) * fsum E (fun j => Rabs (p' j))
    <= ((1 + u) ^ r - 1) * ((1 + u) ^ 2 * P)) by (apply Rmult_le_compat_l; lra).
  assert (D : ((1 + u) ^ r * (1 + u) ^ 2 - 1) * P <= gamma depth u * P)
    by (apply Rmult_le_compat_r; lra).
  assert (F : gamma depth u * P <= gamma depth u * mass).
  { apply Rmult_le_compat_l; auto. apply gamma_nonneg; auto. }
  assert (I : (1 + u) ^ r * (INR E * lost) <= (1 + gamma depth u) * (INR E * lost)).
  { apply Rmult_le_compat_r; auto. apply Rmult_le_pos; auto. }
  lra.
Qed.

(** * FP.dynamic: the answer *)

Lemma dynamic_output_form theta rho depth M q underflow smallest u : INR depth * u < 1 ->
  b_dynamic_output theta rho depth M q underflow smallest u
    = 2 * M * (rho * (Rmin 1 (exp theta - 1) + gamma depth u) + underflow) + u * Rabs q + smallest.
Proof. intros. unfold b_dynamic_output, gamma. field. lra. Qed.

(** Weights w, exactly W, with their signs and values y: A of them, each event or present token one.
    Terms pN and pD: E of them, what is added to the numerator and to the denominator.  The row has
    the present tokens j < n with logits S j and values v j. *)
Theorem fp_dynamic_output n S v A sign w W y E depth pN pD N Dn
    theta gone mass M u lost rho underflow smallest scale out :
  (0 < n)%nat -> 0 <= u -> 0 <= lost -> 0 <= gone -> INR depth * u < 1 -> 0 <= theta ->
  1 <= rho -> 0 < Dn -> 0 <= underflow -> 0 < scale ->
  bounded n v M -> bounded A y M ->
  (* telescopes: the exact sums of all that was added and subtracted are those of the tokens *)
  fsum A (fun a => sign a * W a * y a) = scale * dot n (fun j => exp (S j)) v ->
  fsum A (fun a => sign a * W a) = scale * fsum n (fun j => exp (S j)) ->
  (* the computed weights *)
  (forall a, (a < A)%nat -> Rabs (sign a) <= 1 /\ 0 <= w a) ->
  (exp theta < 2 -> forall a, (a < A)%nat -> Rabs (w a - W a) <= w a * (exp theta - 1) + gone) ->
  fsum A (fun a => Rabs (sign a) * w a) <= mass -> mass <= rho * Dn ->
  (* both sums *)
  fsum E pN = fsum A (fun a => sign a * w a * y a) -> fsum E (fun e => Rabs (pN e)) <= mass * M ->
  fsum E pD = fsum A (fun a => sign a * w a) -> fsum E (fun e => Rabs (pD e)) <= mass ->
  lazy_sum u lost E depth pN N -> lazy_sum u lost E depth pD Dn ->
  INR A * gone * M + (1 + gamma depth u) * (INR E * lost) <= underflow * Dn * M ->
  INR A * gone + (1 + gamma depth u) * (INR E * lost) <= underflow * Dn ->
  (* the quotient *)
  Rabs (out - N / Dn) <= u * Rabs out + smallest ->
  Rabs (out - dot n (softmax n S) v) <= b_dynamic_output theta rho depth M out underflow smallest u.
Proof.
  intros Hn Hu Hl Hgone HR Htheta Hrho HD Hunder Hscale Hv Hy TN TD Hw Hclose Hmass Hrho'
    HpN HmN HpD HmD LN LD UN UD Hout.
  rewrite dynamic_output_form by auto.
  assert (HM : 0 <= M) by (eapply bounded_nonneg; eauto).
  pose proof (gamma_nonneg depth u Hu HR) as HG. set (g := gamma depth u) in *.
  pose proof (lazy_sum_error u lost E depth pN N _ Hu Hl HR LN HmN) as EN.
  pose proof (lazy_sum_error u lost E depth pD Dn _ Hu Hl HR LD HmD) as ED. fold g in EN, ED.
  assert (HZ : 0 < fsum n (fun j => exp (S j))) by (apply exp_sum_pos; auto).
  set (truth := dot n (softmax n S) v).
  assert (HT : truth = dot n (fun j => exp (S j)) v / fsum n (fun j => exp (S j)))
    by (unfold truth, softmax; apply dot_normalize).
  assert (HTM : Rabs truth <= M).
  { rewrite HT, Rabs_div_pos by auto. apply div_le; auto.
    apply dot_magnitude; auto. intros j _. apply exp_pos. }
  assert (HmD0 : 0 <= mass).
  { eapply Rle_trans; [| exact HmD]. apply fsum_nonneg. intros; apply Rabs_pos. }
  assert (K : Rabs (N / Dn - truth)
    <= 2 * M * (rho * (Rmin 1 (exp theta - 1) + g) + underflow)).
  { destruct (Rlt_le_dec (exp theta) 2) as [Hsmall | Hlarge].
    - rewrite Rmin_right by lra. specialize (Hclose Hsmall).
      assert (Hx : 0 <= exp theta - 1) by (pose proof (exp_ge_1 theta Htheta); lra).
      set (x := exp theta - 1) in *.
      (* what the weights err *)
      assert (W0 : forall f F, 0 <= F -> (forall a, (a < A)%nat -> Rabs (f a) <= F) ->
        Rabs (fsum A (fun a => sign a * w a * f a) - fsum A (fun a => sign a * W a * f a))
          <= (x * mass + INR A * gone) * F).
      { intros f F HF Hf. rewrite <- fsum_minus. eapply Rle_trans; [apply fsum_abs |].
        apply Rle_trans with (fsum A (fun a => (Rabs (sign a) * w a * x + gone) * F)).
        - apply fsum_le. intros a Ha. destruct (Hw a Ha) as [Hs Hw0].
          replace (sign a * w a * f a - sign a * W a * f a)
            with (sign a * (w a - W a) * f a) by ring.
          rewrite !Rabs_mult. pose proof (Rabs_pos (sign a)). pose proof (Rabs_pos (w a - W a)).
          apply Rmult_le_compat; auto using Rabs_pos; [apply Rmult_le_pos; auto |].
          apply Rle_trans with (Rabs (sign a) * (w a * x + gone)).
          + apply Rmult_le_compat_l; auto.
          + nra.
        - rewrite fsum_scale_r, fsum_plus, fsum_const, fsum_scale_r.
          apply Rmult_le_compat_r; auto. apply Rplus_le_compat_r.
          rewrite Rmult_comm. apply Rmult_le_compat_l; auto. }
      pose proof (W0 y M HM Hy) as WN. rewrite <- HpN, TN in WN.
      assert (H1 : forall a, (a < A)%nat -> Rabs 1 <= 1) by (intros; rewrite Rabs_R1; lra).
      pose proof (W0 (fun _ => 1) 1 ltac:(lra) H1) as WD. cbv beta in WD.
      rewrite (fsum_ext A (fun a => sign a * w a * 1) (fun a => sign a * w a)) in WD
        by (intros; ring).
      rewrite (fsum_ext A (fun a => sign a * W a * 1) (fun a => sign a * W a)) in WD
        by (intros; ring).
      rewrite <- HpD, TD in WD.
      set (B := dot n (fun j => exp (S j)) v) in *. set (Z := fsum n (fun j => exp (S j))) in *.
      set (alpha := rho * (x + g) + underflow).
      assert (Mass : (x + g) * mass <= rho * (x + g) * Dn).
      { apply Rle_trans with ((x + g) * (rho * Dn)); [apply Rmult_le_compat_l; lra | lra]. }
      assert (QN : Rabs (N - scale * B) <= alpha * M * Dn).
      { replace (N - scale * B) with ((N - fsum E pN) + (fsum E pN - scale * B)) by ring.
        eapply Rle_trans; [apply Rabs_triang |]. unfold alpha.
        assert ((x + g) * mass * M <= rho * (x + g) * Dn * M) by (apply Rmult_le_compat_r; auto).
        lra. }
      assert (QD : Rabs (Dn - scale * Z) <= alpha * Dn).
      { replace (Dn - scale * Z) with ((Dn - fsum E pD) + (fsum E pD - scale * Z)) by ring.
        eapply Rle_trans; [apply Rabs_triang |]. unfold alpha. lra. }
      assert (Ha : 0 <= alpha)
        by (unfold alpha; assert (0 <= rho * (x + g)) by (apply Rmult_le_pos; lra); lra).
      replace (N / Dn - truth)
        with ((N - scale * B) / Dn + truth * ((scale * Z - Dn) / Dn)) by (rewrite HT; field; lra).
      eapply Rle_trans; [apply Rabs_triang |].
      rewrite Rabs_mult, !Rabs_div_pos, (Rabs_minus_sym (scale * Z)) by auto.
      assert (Rabs (N - scale * B) / Dn <= alpha * M) by (apply div_le; auto; lra).
      assert (Rabs (Dn - scale * Z) / Dn <= alpha) by (apply div_le; auto).
      assert (Rabs truth * (Rabs (Dn - scale * Z) / Dn) <= M * alpha).
      { apply Rmult_le_compat; auto using Rabs_pos. apply le_div; auto.
        rewrite Rmult_0_l. apply Rabs_pos. }
      fold alpha. lra.
    - rewrite Rmin_left by lra.
      assert (QN : Rabs N <= ((1 + g) * rho + underflow) * M * Dn).
      { replace N with ((N - fsum E pN) + fsum E pN) by ring.
        eapply Rle_trans; [apply Rabs_triang |].
        assert (Rabs (fsum E pN) <= mass * M) by (eapply Rle_trans; [apply fsum_abs | auto]).
        assert ((1 + g) * (mass * M) <= (1 + g) * (rho * Dn * M)).
        { apply Rmult_le_compat_l; [lra |]. apply Rmult_le_compat_r; auto. }
        assert (0 <= INR A * gone * M) by (repeat apply Rmult_le_pos; auto using pos_INR).
        lra. }
      assert (Rabs (N / Dn) <= ((1 + g) * rho + underflow) * M)
        by (rewrite Rabs_div_pos by auto; apply div_le; auto).
      replace (N / Dn - truth) with (N / Dn + - truth) by ring.
      eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp.
      assert (1 <= (1 + g) * rho) by nra.
      assert (M * 1 <= M * ((1 + g) * rho)) by (apply Rmult_le_compat_l; auto).
      assert (0 <= M * underflow) by (apply Rmult_le_pos; auto). lra. }
  replace (out - truth) with ((out - N / Dn) + (N / Dn - truth)) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. lra.
Qed.

(** From the floats of q, K and V to the answer.  Weight a was computed from the key [key a], then
    renewed until its logit was [logit a]; [b] is it before underflow took at most [gone] / 2. *)
Theorem fp_dynamic n S v A sign w y E depth pN pD N Dn d q key logit
    tiny exp_error reach factors steps m gone mass M logit_magnitude u lost
    rho underflow smallest out :
  (0 < n)%nat -> 0 <= u -> 0 <= lost -> 2 * lost <= tiny -> 0 <= gone -> 0 <= exp_error ->
  INR depth * u < 1 -> INR d * u <= 1 / 2 -> (1 + exp_error) * u < 1 ->
  1 <= rho -> 0 < Dn -> 0 <= underflow -> bounded n v M -> bounded A y M ->
  (* telescopes *)
  fsum A (fun a => sign a * exp (logit a - m) * y a)
    = exp (- m) * dot n (fun j => exp (S j)) v ->
  fsum A (fun a => sign a * exp (logit a - m)) = exp (- m) * fsum n (fun j => exp (S j)) ->
  (* the computed weights *)
  (forall a, (a < A)%nat -> Rabs (sign a) <= 1 /\ 0 <= w a /\
    fsum d (fun l => Rabs (q l * key a l)) <= logit_magnitude /\
    exists t s count step b, adds d t /\ computes u lost (fun l => q l * key a l) t s /\
      logit a = fsum d (fun l => q l * key a l) + fsum count step /\
      fsum count (fun f => Rabs (step f)) <= steps /\ (count <= factors)%nat /\
      renewed u (exp_error * u) reach s m count step b /\ Rabs (w a - b) <= gone / 2) ->
  fsum A (fun a => Rabs (sign a) * w a) <= mass -> mass <= rho * Dn ->
  (* both sums *)
  fsum E pN = fsum A (fun a => sign a * w a * y a) -> fsum E (fun e => Rabs (pN e)) <= mass * M ->
  fsum E pD = fsum A (fun a => sign a * w a) -> fsum E (fun e => Rabs (pD e)) <= mass ->
  lazy_sum u lost E depth pN N -> lazy_sum u lost E depth pD Dn ->
  INR A * gone * M + (1 + gamma depth u) * (INR E * lost) <= underflow * Dn * M ->
  INR A * gone + (1 + gamma depth u) * (INR E * lost) <= underflow * Dn ->
  (* the quotient *)
  Rabs (out - N / Dn) <= u * Rabs out + smallest ->
  let theta := b_dynamic_weight (b_rounding_logit d u logit_magnitude tiny) u reach exp_error
    factors steps in
  Rabs (out - dot n (softmax n S) v) <= b_dynamic_output theta rho depth M out underflow smallest u.
Proof.
  intros Hn Hu Hl Htiny Hgone He HR Hd Hc Hrho HD Hunder Hv Hy TN TD Hw Hmass Hrho'
    HpN HmN HpD HmD LN LD UN UD Hout theta.
  assert (Close : forall a, (a < A)%nat -> exists b, 0 < b /\
    Rabs (ln b - (logit a - m)) <= theta /\ Rabs (w a - b) <= gone / 2).
  { intros a Ha.
    destruct (Hw a Ha)
      as (_ & _ & HA & t & s & count & step & b & Ht & Hs & HS & Hst & Hco & Hb & Hg).
    exists b.
    pose proof (fp_logit d u lost tiny q (key a) t s _ Hu Hl Htiny Hd Ht Hs HA) as L.
    destruct (fp_dynamic_weight u exp_error reach _ s _ (logit a) m count factors step steps b
      Hu He Hc L HS Hst Hco Hb) as [Pb Lb]. auto. }
  assert (HZ : 0 < exp (- m) * fsum n (fun j => exp (S j)))
    by (apply Rmult_lt_0_compat; [apply exp_pos | apply exp_sum_pos; auto]).
  assert (Htheta : 0 <= theta).
  { destruct A as [| A']; [simpl in TD; lra |].
    destruct (Close 0%nat ltac:(lia)) as (b & _ & H & _).
    eapply Rle_trans; [apply Rabs_pos | exact H]. }
  apply (fp_dynamic_output n S v A sign w (fun a => exp (logit a - m)) y E depth pN pD N Dn
    theta gone mass M u lost rho underflow smallest (exp (- m)) out); auto using exp_pos.
  - intros a Ha. destruct (Hw a Ha) as (H1 & H2 & _). auto.
  - intros Hsmall a Ha. destruct (Close a Ha) as (b & Hb & L & G).
    rewrite <- (ln_exp (logit a - m)) in L.
    pose proof (weight_close b _ theta Hb (exp_pos _) L) as C.
    pose proof (exp_ge_1 theta Htheta). pose proof (Rabs_bounds _ _ G).
    replace (w a - exp (logit a - m)) with ((w a - b) + (b - exp (logit a - m))) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    assert (b * (exp theta - 1) <= (w a + gone / 2) * (exp theta - 1))
      by (apply Rmult_le_compat_r; lra).
    assert (gone / 2 * (exp theta - 1) <= gone / 2 * 1) by (apply Rmult_le_compat_l; lra). lra.
Qed.

(** * What telescopes *)

(** The weight and the value of every token after some changes, of token t to x. *)
Fixpoint changed (row : nat -> R * R) (changes : list (nat * (R * R))) : nat -> R * R :=
  match changes with
  | nil => row
  | (t, x) :: rest => changed (fun s => if Nat.eqb s t then x else row s) rest
  end.

(** What the changes add and subtract. *)
Fixpoint gained (row : nat -> R * R) (changes : list (nat * (R * R))) : R :=
  match changes with
  | nil => 0
  | (t, x) :: rest => fst x * snd x - fst (row t) * snd (row t)
      + gained (fun s => if Nat.eqb s t then x else row s) rest
  end.

(** After any number of changes, to exact weights or to computed ones. *)
Theorem fp_dynamic_telescopes n changes : forall row,
  (forall t x, In (t, x) changes -> (t < n)%nat) ->
  fsum n (fun s => fst (row s) * snd (row s)) + gained row changes
    = fsum n (fun s => fst (changed row changes s) * snd (changed row changes s)).
Proof.
  induction changes as [| [t x] changes IH]; simpl; intros row H; [ring |].
  set (row' := fun s => if Nat.eqb s t then x else row s).
  rewrite <- (IH row') by (intros; eapply H; eauto).
  assert (Ht : (t < n)%nat) by (apply (H t x); auto).
  assert (D : fsum n (fun s => fst (row' s) * snd (row' s))
      - fsum n (fun s => fst (row s) * snd (row s))
    = fst x * snd x - fst (row t) * snd (row t)).
  { rewrite <- fsum_minus.
    rewrite (fsum_ext n _ (fun s => if Nat.eqb s t
      then fst x * snd x - fst (row t) * snd (row t) else 0)).
    - rewrite fsum_one by auto. ring.
    - intros s _. unfold row'. destruct (Nat.eqb_spec s t) as [-> |]; ring. }
  lra.
Qed.
