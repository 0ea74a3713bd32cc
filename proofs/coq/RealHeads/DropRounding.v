(** What rounding does where keys are dropped (claim FP.drop).

    Steps: (1) an image fl(fl(q - c) M) errs by the rounding of the difference and of sums of d products,
    entry by entry, hence by Frobenius norms as a whole; (2) a mean of keys under computed weights is a
    quotient of two rounded sums, (1 + gamma_k) / (1 - gamma_k) = 1 + gamma_2k, that is rounded twice;
    weights that were raised are a part of the sum that is known, and move the mean by that part of a
    diameter; (3) what is computed on the kept keys errs by its rounding, and by what they lack.

    What the logarithm of a share lacks is in ShareSlack.v. *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax TotalVariation.
From Attest.Rounding Require Import Rounding.
From Attest.RealHeads Require Import RealHeads.
Open Scope R_scope.

(** One more rounding. *)
Lemma gamma_next k u : 0 <= u -> INR (S k) * u < 1 -> gamma k u * (1 + u) + u <= gamma (S k) u.
Proof.
  intros Hu H. rewrite S_INR in H. pose proof (pos_INR k).
  assert (0 <= INR k * u) by (apply Rmult_le_pos; auto).
  assert (E : gamma k u * (1 + u) + u = (1 + u) / (1 - INR k * u) - 1) by (unfold gamma; field; lra).
  assert (F : gamma (S k) u = 1 / (1 - INR (S k) * u) - 1)
    by (unfold gamma; rewrite S_INR; field; lra).
  rewrite E, F, S_INR. apply Rplus_le_compat_r.
  apply div_le; [lra |]. replace (1 / (1 - (INR k + 1) * u) * (1 - INR k * u))
    with (1 + u / (1 - (INR k + 1) * u)) by (field; lra).
  apply Rplus_le_compat_l, le_div; [lra |]. nra.
Qed.

Lemma root_le_count d : sqrt (INR d) <= INR d.
Proof.
  destruct d; [simpl; rewrite sqrt_0; lra |].
  assert (1 <= INR (S d)) by (apply (le_INR 1); lia).
  apply square_le; [lra |]. rewrite pow2_sqrt by lra. nra.
Qed.

(** Entries that err by a multiple of something and by a constant. *)
Lemma norm_affine d e c x : 0 <= c -> (forall a, (a < d)%nat -> Rabs (e a) <= x a + c) ->
  norm d e <= norm d x + INR d * c.
Proof.
  intros Hc H. eapply Rle_trans; [apply (norm_le d e (fun a => x a + c) H) |].
  eapply Rle_trans; [apply norm_triangle |]. apply Rplus_le_compat_l.
  eapply Rle_trans; [apply (norm_entries d (fun _ => c) c); auto |].
  - intros. rewrite Rabs_right by lra. lra.
  - apply Rmult_le_compat_r; [auto | apply root_le_count].
Qed.

(** * Images *)

Theorem fp_image_error d u lost tiny v step M image : 0 <= u -> 0 <= lost -> 2 * lost <= tiny ->
  INR (d + 2) * u <= 1 / 4 ->
  (forall l, (l < d)%nat -> Rabs (step l - v l) <= u * Rabs (v l)) ->
  (forall a, (a < d)%nat -> exists t, adds d t /\
     computes u lost (fun l => step l * M l a) t (image a)) ->
  norm d (fun a => image a - fsum d (fun l => v l * M l a))
    <= b_image_error d u (norm d v) (frobenius d d M) tiny.
Proof.
  intros Hu Hlost Htiny Hd Hv H. rewrite plus_INR in Hd. simpl (INR 2) in Hd.
  pose proof (pos_INR d). assert (0 <= INR d * u) by (apply Rmult_le_pos; auto).
  pose proof (gamma_nonneg d u Hu ltac:(lra)) as G. set (c := INR d * tiny).
  assert (0 <= c) by (apply Rmult_le_pos; lra).
  assert (Row : forall a, (a < d)%nat ->
    Rabs (image a - fsum d (fun l => v l * M l a))
      <= gamma (S d) u * norm d v * norm d (fun l => M l a) + c).
  { intros a Ha. destruct (H a Ha) as (t & Ht & Hs).
    set (A := fsum d (fun l => Rabs (v l * M l a))).
    assert (HA : 0 <= A) by (apply fsum_nonneg; intros; apply Rabs_pos).
    assert (HN : A <= norm d v * norm d (fun l => M l a)) by apply cauchy_schwarz.
    assert (B : fsum d (fun l => Rabs (step l * M l a)) <= (1 + u) * A).
    { unfold A. rewrite <- fsum_scale. apply fsum_le. intros l Hl. rewrite !Rabs_mult.
      rewrite <- Rmult_assoc. apply Rmult_le_compat_r; [apply Rabs_pos |].
      replace (step l) with (step l - v l + v l) by ring.
      eapply Rle_trans; [apply Rabs_triang |]. specialize (Hv l Hl). lra. }
    pose proof (fp_logit d u lost tiny step (fun l => M l a) t (image a) _ Hu Hlost Htiny
      ltac:(lra) Ht Hs B) as E. rewrite logit_form in E by lra.
    assert (F : Rabs (fsum d (fun l => step l * M l a) - fsum d (fun l => v l * M l a)) <= u * A).
    { rewrite <- fsum_minus. eapply Rle_trans; [apply fsum_abs |]. unfold A. rewrite <- fsum_scale.
      apply fsum_le. intros l Hl. replace (step l * M l a - v l * M l a)
        with ((step l - v l) * M l a) by ring. rewrite !Rabs_mult, <- Rmult_assoc.
      apply Rmult_le_compat_r; [apply Rabs_pos | auto]. }
    replace (image a - fsum d (fun l => v l * M l a)) with
      (image a - fsum d (fun l => step l * M l a)
       + (fsum d (fun l => step l * M l a) - fsum d (fun l => v l * M l a))) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    pose proof (gamma_next d u Hu ltac:(rewrite S_INR; lra)) as Next.
    apply Rle_trans with ((gamma d u * (1 + u) + u) * A + c); [unfold c; lra |].
    apply Rplus_le_compat_r. rewrite Rmult_assoc. apply Rle_trans with (gamma (S d) u * A).
    - apply Rmult_le_compat_r; auto.
    - apply Rmult_le_compat_l; [apply gamma_nonneg; auto; rewrite S_INR; lra | auto]. }
  eapply Rle_trans; [apply (norm_affine d _ c _ ltac:(lra) Row) |].
  rewrite norm_scale_nonneg
    by (apply Rmult_le_pos; [apply gamma_nonneg; auto; rewrite S_INR; lra | apply norm_nonneg]).
  rewrite (frobenius_columns d d M).
  unfold b_image_error, gamma, frobenius, c. rewrite S_INR. right. field. lra.
Qed.

(** * Means under computed weights *)

(** A quotient of sums that each err by gamma_k, rounded twice. *)
Lemma twice_rounded_quotient k u lost Z A m l N D q mean : 0 <= u -> 0 <= lost -> 0 <= l ->
  INR (2 * S k) * u <= 1 / 4 -> 0 < Z -> 0 <= m -> Rabs A <= m * Z ->
  Rabs (N - A) <= gamma k u * (m * Z) + l -> Rabs (D - Z) <= gamma k u * Z ->
  Rabs (q - N / D) <= u * Rabs (N / D) + lost -> Rabs (mean - q) <= u * Rabs q + lost ->
  Rabs (mean - A / Z) <= gamma (2 * S k) u * m + 3 / 2 * (l / Z) + 3 * lost.
Proof.
  intros Hu Hlost Hl Hk HZ Hm HA HN HD Hq Hmean.
  replace (2 * S k)%nat with (S (S (2 * k))) in * by lia. rewrite !S_INR in Hk.
  pose proof (pos_INR (2 * k)). assert (K2 : INR (2 * k) = 2 * INR k) by (rewrite mult_INR; simpl; lra).
  assert (C0 : 0 <= INR k * u) by (apply Rmult_le_pos; [apply pos_INR | auto]).
  set (c := INR k * u) in *. assert (C1 : 2 * c + 2 * u <= 1 / 4) by (unfold c; nra).
  assert (Gk : gamma k u = c / (1 - c)) by reflexivity.
  assert (G : gamma k u * (1 - c) = c) by (rewrite Gk; field; lra).
  assert (G0 : 0 <= gamma k u) by (apply gamma_nonneg; auto; fold c; lra).
  assert (G1 : gamma k u <= 1 / 7) by (rewrite Gk; apply div_le; lra).
  set (g := gamma k u) in *.
  apply Rabs_bounds in HD. assert (D1 : (1 - g) * Z <= D) by lra.
  assert (P : 0 < (1 - g) * Z) by (apply Rmult_lt_0_compat; lra). assert (HD0 : 0 < D) by lra.
  set (kappa := A / Z). assert (Hkappa : Rabs kappa <= m).
  { unfold kappa. rewrite Rabs_div_pos by auto. apply div_le; auto. }
  assert (AZ : A = kappa * Z) by (unfold kappa; field; lra).
  set (L := l / Z). assert (HL : 0 <= L) by (apply le_div; lra).
  assert (lL : l = L * Z) by (unfold L; field; lra).
  assert (Q2 : gamma (2 * k) u = 2 * g / (1 - g)).
  { rewrite Gk. unfold gamma. rewrite K2. replace (2 * INR k * u) with (2 * c)
      by (unfold c; ring). field. lra. }
  (* The quotient of the sums. *)
  assert (E0 : Rabs (N / D - kappa) <= gamma (2 * k) u * m + L / (1 - g)).
  { replace (N / D - kappa) with ((N - A + kappa * (Z - D)) / D) by (rewrite AZ; field; lra).
    rewrite Rabs_div_pos by auto. apply div_le; [auto |].
    apply Rle_trans with ((2 * g * m + L) * Z).
    - eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_mult.
      assert (Rabs (Z - D) <= g * Z) by (apply Rabs_le; lra).
      assert (Rabs kappa * Rabs (Z - D) <= m * (g * Z))
        by (apply Rmult_le_compat; auto; apply Rabs_pos). lra.
    - rewrite Q2. replace (2 * g / (1 - g) * m + L / (1 - g)) with ((2 * g * m + L) / (1 - g))
        by (field; lra).
      apply Rle_trans with ((2 * g * m + L) / (1 - g) * ((1 - g) * Z)); [right; field; lra |].
      apply Rmult_le_compat_l; [| lra]. apply le_div; [lra |].
      assert (0 <= g * m) by (apply Rmult_le_pos; auto). lra. }
  (* Each rounding of it. *)
  assert (Step : forall x y e, Rabs (y - x) <= u * Rabs x + lost -> Rabs (x - kappa) <= e ->
    Rabs (y - kappa) <= (1 + u) * e + u * m + lost).
  { intros x y e Hy Hx. replace (y - kappa) with (y - x + (x - kappa)) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    assert (Rabs x <= e + m).
    { replace x with (x - kappa + kappa) by ring. eapply Rle_trans; [apply Rabs_triang | lra]. }
    assert (u * Rabs x <= u * (e + m)) by (apply Rmult_le_compat_l; auto). lra. }
  pose proof (Step _ _ _ Hq E0) as E1. pose proof (Step _ _ _ Hmean E1) as E2.
  eapply Rle_trans; [exact E2 |].
  pose proof (gamma_next (2 * k) u Hu ltac:(rewrite S_INR; lra)) as N1.
  pose proof (gamma_next (S (2 * k)) u Hu ltac:(rewrite !S_INR; lra)) as N2.
  set (g2 := gamma (2 * k) u) in *. set (g3 := gamma (S (2 * k)) u) in *.
  set (g4 := gamma (S (S (2 * k))) u) in *.
  assert (M1 : (g2 * (1 + u) + u) * (1 + u) * m <= g3 * (1 + u) * m).
  { apply Rmult_le_compat_r; auto. apply Rmult_le_compat_r; lra. }
  assert (M2 : (g3 * (1 + u) + u) * m <= g4 * m) by (apply Rmult_le_compat_r; auto).
  assert (U : u <= 1 / 8) by lra.
  assert (L1 : L / (1 - g) <= 7 / 6 * L) by (apply div_le; [lra |]; nra).
  assert (L2 : (1 + u) * (1 + u) * (L / (1 - g)) <= 3 / 2 * L).
  { apply Rle_trans with (81 / 64 * (7 / 6 * L)); [| lra].
    apply Rmult_le_compat; [nra | apply le_div; lra | nra | auto]. }
  assert (L3 : (1 + u) * lost + lost <= 3 * lost) by nra.
  assert (Hm1 : (1 + u) * (u * m) + u * m = (u * (1 + u) + u) * m) by ring.
  nra.
Qed.

(** The mean of the first n of m keys under computed weights w: [light] were raised to [lightest]. *)
Theorem fp_centre_mean_error n m d k u lost tiny lightest K w light largest N D q mean : 0 <= u ->
  0 <= lost -> 2 * lost <= tiny -> INR (2 * S k) * u <= 1 / 4 -> (0 < n <= m)%nat ->
  positive n w -> 0 <= lightest -> (forall j, (j < n)%nat -> light j = true -> w j <= lightest) ->
  1 / 2 <= fsum n (off light w) ->
  (forall j a, (j < n)%nat -> (a < d)%nat -> Rabs (K j a) <= largest a) ->
  (exists t, adds n t /\ (roundings t <= k)%nat /\ computes u 0 w t D) ->
  (forall a, (a < d)%nat -> exists t, adds n t /\ (roundings t <= k)%nat /\
     computes u lost (fun j => w j * K j a) t (N a)) ->
  (forall a, (a < d)%nat -> Rabs (q a - N a / D) <= u * Rabs (N a / D) + lost) ->
  (forall a, (a < d)%nat -> Rabs (mean a - q a) <= u * Rabs (q a) + lost) ->
  norm d (fun a => mean a - kept_average n light w (fun j => K j a))
    <= b_centre_mean_error d (S k) m u lightest (norm d largest) tiny.
Proof.
  intros Hu Hlost Htiny Hk [n0 Hnm] P Hl0 Hlight Heavy HK (td & Htd & Hrd & HD) HN Hq Hmean.
  pose proof (pos_INR n). pose proof (pos_INR k). pose proof (le_INR n m Hnm) as NM.
  assert (Hk' : 2 * (INR k * u) + 2 * u <= 1 / 4) 
    by (rewrite mult_INR, (S_INR k) in Hk; simpl (INR 2) in Hk; lra).
  assert (C0 : 0 <= INR k * u) by (apply Rmult_le_pos; auto).
  pose proof (gamma_nonneg k u Hu ltac:(lra)) as G0.
  assert (G1 : gamma k u <= 1 / 7) by (apply div_le; lra).
  set (Z := fsum n w). set (Y := fsum n (off light w)) in *. set (r := fsum n (on light w)).
  assert (HZ : Z = r + Y) by apply fsum_split.
  assert (Hr : 0 <= r) by (apply fsum_on_nonneg; intros j Hj; left; auto).
  assert (Hr' : r <= INR n * lightest).
  { unfold r. rewrite <- fsum_const. apply fsum_le. intros j Hj. unfold on.
    destruct (light j) eqn:E; auto. }
  assert (Dz : Rabs (D - Z) <= gamma k u * Z).
  { pose proof (fp_sum u 0 w td D k Hu (Rle_refl 0) ltac:(lra) HD Hrd) as E.
    rewrite !(adds_exact n td) in E by auto.
    rewrite (fsum_ext n (fun j => Rabs (w j)) w) in E
      by (intros j Hj; apply Rabs_right, Rle_ge, Rlt_le, P; auto).
    rewrite !Rmult_0_r, Rplus_0_r in E. exact E. }
  assert (T0 : 0 <= INR n * lost) by (apply Rmult_le_pos; auto).
  assert (Row : forall a, (a < d)%nat ->
    Rabs (mean a - kept_average n light w (fun j => K j a))
      <= (gamma (2 * S k) u + 4 * (INR m * lightest)) * largest a + 2 * (INR m + 1) * tiny).
  { intros a Ha. destruct (HN a Ha) as (t & Ht & Hrt & Hs).
    assert (Hm : 0 <= largest a) by (eapply Rle_trans; [apply Rabs_pos | apply (HK 0%nat a n0 Ha)]).
    set (x := fun j => w j * K j a). set (A := fsum n x).
    assert (Term : forall j, (j < n)%nat -> Rabs (x j) <= largest a * w j).
    { intros j Hj. unfold x. rewrite Rabs_mult, (Rabs_right (w j)) by (apply Rle_ge, Rlt_le, P; auto).
      rewrite Rmult_comm. apply Rmult_le_compat_r; [apply Rlt_le, P | apply HK]; auto. }
    assert (Sum : fsum n (fun j => Rabs (x j)) <= largest a * Z)
      by (unfold Z; rewrite <- fsum_scale; apply fsum_le; auto).
    assert (Na : Rabs (N a - A) <= gamma k u * (largest a * Z) + (1 + gamma k u) * (INR n * lost)).
    { pose proof (fp_sum u lost x t (N a) k Hu Hlost ltac:(lra) Hs Hrt) as E.
      rewrite !(adds_exact n t) in E by auto.
      rewrite (unscaled_products t), (adds_length n t) in E by (auto; apply Ht).
      eapply Rle_trans; [exact E |]. apply Rplus_le_compat_r, Rmult_le_compat_l; auto. }
    assert (Q : Rabs (mean a - A / Z) <= gamma (2 * S k) u * largest a
      + 3 / 2 * ((1 + gamma k u) * (INR n * lost) / Z) + 3 * lost).
    { apply (twice_rounded_quotient k u lost Z A (largest a) _ (N a) D (q a)); auto; try lra.
      - apply Rmult_le_pos; lra.
      - eapply Rle_trans; [apply fsum_abs | exact Sum]. }
    assert (Loss : (1 + gamma k u) * (INR n * lost) / Z <= 8 / 7 * (INR n * tiny)).
    { apply div_le; [lra |]. apply Rle_trans with (8 / 7 * (INR n * tiny) * (1 / 2)).
      - assert (INR n * lost <= INR n * tiny / 2) by nra. nra.
      - apply Rmult_le_compat_l; [| lra]. assert (INR n * lost <= INR n * tiny / 2) by nra. lra. }
    assert (Kept : Rabs (A / Z - kept_average n light w (fun j => K j a))
      <= 4 * (INR n * lightest) * largest a).
    { unfold kept_average. fold x Y. unfold A. rewrite (fsum_split n light x).
      set (Al := fsum n (on light x)). set (Ah := fsum n (off light x)).
      assert (Bl : Rabs Al <= largest a * r).
      { unfold Al, r. rewrite <- fsum_scale. eapply Rle_trans; [apply fsum_abs |].
        apply fsum_le. intros j Hj. unfold on. destruct (light j); auto.
        rewrite Rabs_R0. lra. }
      assert (Bh : Rabs Ah <= largest a * Y).
      { unfold Ah, Y. rewrite <- fsum_scale. eapply Rle_trans; [apply fsum_abs |].
        apply fsum_le. intros j Hj. unfold off. destruct (light j); auto.
        rewrite Rabs_R0. lra. }
      replace ((Al + Ah) / Z - Ah / Y) with ((Al - Ah / Y * r) / Z)
        by (rewrite HZ; field; lra).
      rewrite Rabs_div_pos by lra. apply div_le; [lra |].
      assert (Rabs (Ah / Y) <= largest a) by (rewrite Rabs_div_pos by lra; apply div_le; lra).
      apply Rle_trans with (2 * (largest a * r)).
      - unfold Rminus. eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp, Rabs_mult, (Rabs_right r)
          by lra. assert (Rabs (Ah / Y) * r <= largest a * r) by (apply Rmult_le_compat_r; auto). lra.
      - apply Rle_trans with (2 * (largest a * (INR n * lightest))).
        + assert (largest a * r <= largest a * (INR n * lightest)) by (apply Rmult_le_compat_l; auto). lra.
        + assert (0 <= largest a * (INR n * lightest)) by (repeat apply Rmult_le_pos; auto). nra. }
    replace (mean a - kept_average n light w (fun j => K j a)) with
      (mean a - A / Z + (A / Z - kept_average n light w (fun j => K j a))) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    assert (0 <= INR n * tiny) by (apply Rmult_le_pos; lra).
    assert (INR n * tiny <= INR m * tiny) by (apply Rmult_le_compat_r; lra).
    assert (INR n * lightest * largest a <= INR m * lightest * largest a)
      by (apply Rmult_le_compat_r; [auto | apply Rmult_le_compat_r; auto]).
    lra. }
  eapply Rle_trans; [apply (norm_affine d _ (2 * (INR m + 1) * tiny) _
    ltac:(apply Rmult_le_pos; lra) Row) |].
  rewrite norm_scale_nonneg.
  - unfold b_centre_mean_error, gamma. rewrite mult_INR in *. simpl (INR 2) in *. right. field. lra.
  - assert (0 <= INR m * lightest) by (apply Rmult_le_pos; lra).
    pose proof (gamma_nonneg (2 * S k) u Hu ltac:(lra)). lra.
Qed.

(** * What is computed on the kept keys *)

Theorem fp_dropped_keys_output n S a v lo hi rounding share out : positive n a -> ranges n v lo hi ->
  0 < fsum n (off S a) -> Rabs (out - kept_average n S a v) <= rounding ->
  mass n S (normalize n a) <= share ->
  Rabs (out - dot n (normalize n a) v) <= b_dropped_keys_output rounding share (hi - lo).
Proof.
  intros P V K E M. pose proof (kept_gap n S a v lo hi P V K) as G.
  assert (lo <= hi).
  { destruct n; [simpl in K; lra |]. destruct (V 0%nat); [lia | lra]. }
  replace (out - dot n (normalize n a) v) with (out - kept_average n S a v
    + (kept_average n S a v - dot n (normalize n a) v)) by ring.
  eapply Rle_trans; [apply Rabs_triang |]. unfold b_dropped_keys_output.
  assert (mass n S (normalize n a) * (hi - lo) <= share * (hi - lo))
    by (apply Rmult_le_compat_r; lra). lra.
Qed.
