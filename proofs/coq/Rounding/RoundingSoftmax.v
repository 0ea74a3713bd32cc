(** Floating-point softmax attention (claim FP.softmax, second part).

    The computation: logits s_j; weights b_j, each a product of at most c computed exponentials
    whose arguments are rounded differences that telescope from s_j to the last shift m (a running
    maximum that grew c - 1 times; c = 1 without rescaling); sums N of b_j v_j and Dn of b_j; the
    quotient q; and out, the quotient in the units of v.

    Steps: (1) ln b_j is s_j - m up to u |differences| and the c errors of exp ([fp_weight]), so the
    b_j, normalised, are the softmax of logits that are off by eta at most: S.output applies;
    (2) the rounding of both sums is judged after the fact, from the quotient that was computed,
          N / Dn - B / Z = (N / Dn) (Z - Dn) / Z + (N - B) / Z,
    which needs no bound on N and no denominator 1 - gamma ([fp_output]);
    (3) the truth is an average of the values, so projecting on their range only helps
    ([fp_output_clipped]);
    (4) [fp_softmax] puts these and the two theorems of Rounding.v together. *)

Require Import Reals Lra Lia.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax TotalVariation Weights.
From Attest.Rounding Require Import Rounding.
Open Scope R_scope.

(** * Products *)

Fixpoint fprod (n : nat) (f : nat -> R) : R :=
  match n with O => 1 | S m => fprod m f * f m end.

Lemma fprod_nonneg n f : (forall i, (i < n)%nat -> 0 <= f i) -> 0 <= fprod n f.
Proof.
  induction n; simpl; intros H; [lra |]. apply Rmult_le_pos; [apply IHn; intros |]; apply H; lia.
Qed.

Lemma fprod_le_pow n f G : (forall i, (i < n)%nat -> 0 <= f i <= G) -> fprod n f <= G ^ n.
Proof.
  induction n; simpl; intros H; [lra |]. rewrite Rmult_comm. apply Rmult_le_compat.
  - apply H; lia.
  - apply fprod_nonneg. intros; apply H; lia.
  - apply H; lia.
  - apply IHn. intros; apply H; lia.
Qed.

Lemma fprod_exp n x : fprod n (fun i => exp (x i)) = exp (fsum n x).
Proof. induction n; simpl; [now rewrite exp_0 | rewrite IHn, exp_plus; ring]. Qed.

Lemma fprod_ext n f g : (forall i, (i < n)%nat -> f i = g i) -> fprod n f = fprod n g.
Proof. induction n; simpl; intros H; auto. rewrite IHn, H; auto. Qed.

(** What underflow loses in a product of factors in [0, 1]; without it they are at most G. *)
Lemma fprod_lost n f g lost G : 1 <= G ->
  (forall i, (i < n)%nat -> 0 <= f i <= 1 /\ 0 <= g i <= G /\ Rabs (f i - g i) <= lost) ->
  Rabs (fprod n f - fprod n g) <= INR n * G ^ n * lost.
Proof.
  intros HG. induction n; intros H.
  - simpl. rewrite Rminus_diag_eq, Rabs_R0 by auto. lra.
  - assert (IH : Rabs (fprod n f - fprod n g) <= INR n * G ^ n * lost)
      by (apply IHn; intros; apply H; lia).
    destruct (H n ltac:(lia)) as [[Hf0 Hf1] [[Hg0 Hg1] Hl]].
    assert (0 <= lost) by (eapply Rle_trans; [apply Rabs_pos | exact Hl]).
    assert (Pf : fprod n f <= 1).
    { rewrite <- (pow1 n). apply fprod_le_pow. intros; apply H; lia. }
    assert (0 <= fprod n f) by (apply fprod_nonneg; intros; apply H; lia).
    assert (1 <= G ^ n) by (apply pow_R1_Rle; auto). pose proof (pos_INR n).
    rewrite S_INR. simpl.
    replace (fprod n f * f n - fprod n g * g n)
      with (fprod n f * (f n - g n) + (fprod n f - fprod n g) * g n) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    rewrite !Rabs_mult, (Rabs_right (fprod n f)), (Rabs_right (g n)) by lra.
    apply Rle_trans with (1 * lost + INR n * G ^ n * lost * G).
    + apply Rplus_le_compat; apply Rmult_le_compat; try apply Rabs_pos; auto.
    + assert (1 * lost <= G * G ^ n * lost) by (apply Rmult_le_compat_r; nra). lra.
Qed.

(** * FP.softmax: a computed weight *)

(** w is the product of c computed exponentials.  Exponential i has the argument a i, which stands
    for the exact difference D i: |a i - D i| <= u far i, with far i = |D i| where the difference is
    rounded and 0 where nothing is subtracted.  Its relative error is at most [exp_relative]. *)
Definition computed_weight (c : nat) (u exp_relative reach difference w : R) : Prop :=
  exists D a far kappa : nat -> R,
    fsum c D = difference /\ fsum c far <= reach /\
    (forall i, (i < c)%nat -> Rabs (a i - D i) <= u * far i /\ Rabs (kappa i) <= exp_relative) /\
    w = fprod c (fun i => exp (a i) * (1 + kappa i)).

Lemma weight_form rho u reach e c : e * u < 1 ->
  b_rounding_weight rho u reach e c = rho + u * reach + INR c * (e * u / (1 - e * u)).
Proof. intros. unfold b_rounding_weight. field. lra. Qed.

Theorem fp_weight c u exp_error reach logit_error s S m w :
  0 <= u -> exp_error * u < 1 -> Rabs (s - S) <= logit_error ->
  computed_weight c u (exp_error * u) reach (s - m) w ->
  exists xi, w = exp (S - m) * exp xi /\
    Rabs xi <= b_rounding_weight logit_error u reach exp_error c.
Proof.
  intros Hu He Hs (D & a & far & kappa & HD & Hreach & Herr & Hw). rewrite weight_form by auto.
  exists ((s - S) + fsum c (fun i => a i - D i) + fsum c (fun i => ln (1 + kappa i))). split.
  - rewrite <- exp_plus.
    replace (S - m + ((s - S) + fsum c (fun i => a i - D i) + fsum c (fun i => ln (1 + kappa i))))
      with (fsum c a + fsum c (fun i => ln (1 + kappa i)))
      by (rewrite fsum_minus, HD; ring).
    rewrite <- fsum_plus, <- fprod_exp, Hw. apply fprod_ext. intros i Hi.
    destruct (Herr i Hi) as [_ Hk]. apply Rabs_bounds in Hk.
    rewrite exp_plus, exp_ln by lra. reflexivity.
  - assert (A : Rabs (fsum c (fun i => a i - D i)) <= u * reach).
    { eapply Rle_trans; [apply fsum_abs |].
      apply Rle_trans with (u * fsum c far); [| apply Rmult_le_compat_l; auto].
      rewrite <- fsum_scale. apply fsum_le. intros i Hi. apply Herr; auto. }
    assert (B : Rabs (fsum c (fun i => ln (1 + kappa i)))
      <= INR c * (exp_error * u / (1 - exp_error * u))).
    { eapply Rle_trans; [apply fsum_abs |]. rewrite <- fsum_const. apply fsum_le.
      intros i Hi. apply ln_error; auto. apply Herr; auto. }
    eapply Rle_trans; [apply Rabs_triang |]. apply Rplus_le_compat; auto.
    eapply Rle_trans; [apply Rabs_triang |]. apply Rplus_le_compat; auto.
Qed.

(** * FP.softmax: the output *)

(** Weights whose logarithms are within eta of logits S, up to a constant, are the softmax of
    logits that are within eta of S. *)
Lemma weights_are_softmax n b m : positive n b ->
  forall w, dot n (normalize n b) w = dot n (softmax n (fun j => ln (b j) - m)) w.
Proof.
  intros Hb w. apply fsum_ext. intros i Hi. f_equal.
  rewrite <- (s_kappa_scale n b (exp (- m)) i) by apply exp_pos.
  assert (E : forall j, (j < n)%nat -> exp (- m) * b j = exp (ln (b j) - m)).
  { intros j Hj. unfold Rminus. rewrite exp_plus, exp_ln by auto. ring. }
  unfold softmax, normalize. rewrite E by auto. f_equal. apply fsum_ext. auto.
Qed.

Lemma dot_normalize n b v : dot n (normalize n b) v = dot n b v / fsum n b.
Proof.
  unfold dot. rewrite <- fsum_div. apply fsum_ext. intros. unfold normalize, Rdiv. ring.
Qed.

Lemma dot_magnitude n b v M : positive n b -> bounded n v M ->
  Rabs (dot n b v) <= M * fsum n b.
Proof.
  intros Hb Hv. eapply Rle_trans; [apply fsum_abs |]. rewrite <- fsum_scale. apply fsum_le.
  intros i Hi. pose proof (Hb i Hi). rewrite Rabs_mult, (Rabs_right (b i)), Rmult_comm by lra.
  apply Rmult_le_compat_r; auto. lra.
Qed.

(** The quotient of two sums with errors a M Z and a Z, from the quotient that was computed. *)
Lemma quotient_error N Dn B Z M a : 0 < Z -> 0 < Dn ->
  Rabs (N - B) <= a * (M * Z) -> Rabs (Dn - Z) <= a * Z ->
  Rabs (N / Dn - B / Z) <= a * (M + Rabs (N / Dn)).
Proof.
  intros HZ HD HN HDn.
  replace (N / Dn - B / Z) with (N / Dn * ((Z - Dn) / Z) + (N - B) / Z) by (field; lra).
  eapply Rle_trans; [apply Rabs_triang |].
  rewrite Rabs_mult, (Rabs_div_pos (Z - Dn)), (Rabs_div_pos (N - B)), (Rabs_minus_sym Z) by auto.
  assert (Rabs (Dn - Z) / Z <= a) by (apply div_le; auto).
  assert (Rabs (N - B) / Z <= a * M) by (apply div_le; auto; lra).
  pose proof (Rabs_pos (N / Dn)). nra.
Qed.

Lemma rounding_output_form eta spread M q k u underflow tiny : INR k * u < 1 ->
  b_rounding_output eta spread M q k u underflow tiny
    = b_softmax_output eta spread + (gamma k u + underflow) * (M + (1 + u) * Rabs q)
      + u * Rabs q + 3 * tiny.
Proof.
  intros. rewrite output_form. unfold b_rounding_output, b_softmax_tv, gamma.
  argument tanh (eta / 2). field. lra.
Qed.

Theorem fp_output n S b v lo hi M eta m k u underflow tiny N Dn q out :
  (0 < n)%nat -> positive n b -> ranges n v lo hi -> bounded n v M ->
  0 <= u -> 0 <= tiny -> 0 <= underflow -> INR k * u < 1 -> gamma k u + underflow <= 1 ->
  (forall j, (j < n)%nat -> Rabs (ln (b j) - m - S j) <= eta) ->
  Rabs (N - dot n b v) <= (gamma k u + underflow) * (M * fsum n b) ->
  Rabs (Dn - fsum n b) <= (gamma k u + underflow) * fsum n b -> 0 < Dn ->
  Rabs (q - N / Dn) <= u * Rabs q + tiny -> Rabs (out - q) <= tiny ->
  Rabs (out - dot n (softmax n S) v) <= b_rounding_output eta (hi - lo) M q k u underflow tiny.
Proof.
  intros Hn Hb Hv HM Hu Htiny Hunder Hk Ha HS HN HD HDpos Hq Hout.
  rewrite rounding_output_form by auto.
  set (a := gamma k u + underflow) in *.
  assert (Ha0 : 0 <= a) by (pose proof (gamma_nonneg k u Hu Hk); unfold a; lra).
  assert (HZ : 0 < fsum n b) by (apply fsum_pos; auto).
  pose proof (quotient_error N Dn (dot n b v) (fsum n b) M a HZ HDpos HN HD) as E.
  rewrite <- dot_normalize, (weights_are_softmax n b m) in E by auto.
  pose proof (s_output n _ S v eta lo hi Hn HS Hv) as T. cbv beta in T.
  set (truth := dot n (softmax n S) v) in *.
  set (close := dot n (softmax n (fun j => ln (b j) - m)) v) in *.
  assert (Q : Rabs (N / Dn) <= (1 + u) * Rabs q + tiny).
  { replace (N / Dn) with (q - (q - N / Dn)) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_Ropp. lra. }
  assert (a * (M + Rabs (N / Dn)) <= a * (M + (1 + u) * Rabs q) + tiny).
  { assert (a * Rabs (N / Dn) <= a * ((1 + u) * Rabs q + tiny)) by (apply Rmult_le_compat_l; auto).
    assert (a * tiny <= 1 * tiny) by (apply Rmult_le_compat_r; auto). lra. }
  replace (out - truth)
    with ((out - q) + (q - N / Dn) + (N / Dn - close) + (close - truth)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rplus_le_compat_r, Rabs_triang |]. lra.
Qed.

(** Projection on [lo, hi]. *)
Definition clip (lo hi x : R) : R := Rmax lo (Rmin hi x).

Lemma clip_closer lo hi x y : lo <= y <= hi -> Rabs (clip lo hi x - y) <= Rabs (x - y).
Proof.
  intros Hy. unfold clip, Rmax, Rmin.
  destruct (Rle_dec hi x); destruct (Rle_dec lo _);
    unfold Rabs; repeat destruct (Rcase_abs _); lra.
Qed.

Lemma softmax_average n S v lo hi : (0 < n)%nat -> ranges n v lo hi ->
  lo <= dot n (softmax n S) v <= hi.
Proof.
  intros Hn Hv. assert (T : fsum n (softmax n S) = 1).
  { apply (normalize_total n (fun j => exp (S j))). apply exp_sum_pos; auto. }
  assert (P : forall i, 0 < softmax n S i) by (intros; apply softmax_pos; auto).
  rewrite <- (Rmult_1_r lo), <- (Rmult_1_r hi), <- T, <- !fsum_scale.
  split; apply fsum_le; intros i Hi; specialize (P i); specialize (Hv i Hi); nra.
Qed.

Theorem fp_output_clipped n S v lo hi out : (0 < n)%nat -> ranges n v lo hi ->
  Rabs (clip lo hi out - dot n (softmax n S) v) <= Rabs (out - dot n (softmax n S) v).
Proof. intros. apply clip_closer, softmax_average; auto. Qed.

(** * FP.softmax: all of it *)

(** Sums over the weights: leaf j of [t] carries a float x j, and the factors above it make its
    weight b j.  The tree of the numerator and that of the denominator may differ. *)
Definition weighs (n : nat) (t : tree) (x b : nat -> R) : Prop :=
  forall f, exact (fun j => x j * f j) t = dot n b f.

Lemma weighs_total n t x b : weighs n t x b -> exact x t = fsum n b.
Proof.
  intros H. specialize (H (fun _ => 1)). unfold dot in H.
  rewrite (fsum_ext n (fun i => b i * 1) b) in H by (intros; ring). rewrite <- H.
  clear H. induction t; simpl; [ring | rewrite IHt1, IHt2; auto | rewrite IHt; auto].
Qed.

Lemma dot_close n b b' v M lost : bounded n v M -> 0 <= lost ->
  (forall j, (j < n)%nat -> Rabs (b' j - b j) <= lost) ->
  Rabs (dot n b' v - dot n b v) <= INR n * lost * M.
Proof.
  intros Hv Hlost H. unfold dot. rewrite <- fsum_minus.
  eapply Rle_trans; [apply fsum_abs |]. rewrite Rmult_assoc, <- fsum_const. apply fsum_le.
  intros j Hj. replace (b' j * v j - b j * v j) with ((b' j - b j) * v j) by ring.
  rewrite Rabs_mult. apply Rmult_le_compat; try apply Rabs_pos; auto.
Qed.

Lemma exact_ext p p' t : (forall j, p j = p' j) -> exact p t = exact p' t.
Proof. intros H. induction t; simpl; [auto | rewrite IHt1, IHt2; auto | rewrite IHt; auto]. Qed.

Lemma computes_ext u lost p p' t s : (forall j, p j = p' j) -> computes u lost p t s ->
  computes u lost p' t s.
Proof.
  intros E H. induction H; [rewrite E; apply computes_leaf | apply computes_add |
    apply computes_scale]; auto.
Qed.

(** A rounded sum of b' j f j, where b' is b up to what underflow took away.  Its tree need only weigh f
    and |f| right: a key of value 0 may be left out of it. *)
Lemma weighted_sum_error n t x b b' f u lost gone k M s :
  0 <= u -> 0 <= lost -> 0 <= gone -> INR k * u < 1 -> positive n b -> bounded n f M -> 0 <= M ->
  (forall j, 0 <= x j) -> (forall j, (j < n)%nat -> Rabs (b' j - b j) <= gone) ->
  exact (fun j => x j * f j) t = dot n b' f ->
  exact (fun j => x j * Rabs (f j)) t = dot n b' (fun j => Rabs (f j)) ->
  (roundings t <= k)%nat -> computes u lost (fun j => x j * f j) t s ->
  Rabs (s - dot n b f) <= gamma k u * (M * fsum n b)
    + (1 + gamma k u) * (INR n * gone * M + INR (products t) * lost).
Proof.
  intros Hu Hlost Hgone Hk Hb Hf HM Hx Hb' Ht Ht' Hround Hs.
  pose proof (fp_sum u lost _ t s k Hu Hlost Hk Hs Hround) as E. rewrite Ht in E.
  pose proof (gamma_nonneg k u Hu Hk).
  pose proof (dot_close n b b' f M gone Hf Hgone Hb') as C.
  rewrite (exact_ext _ (fun j => x j * Rabs (f j))) in E
    by (intros; rewrite Rabs_mult, (Rabs_right (x j)); [reflexivity | apply Rle_ge, Hx]).
  rewrite Ht' in E.
  assert (Hf' : bounded n (fun j => Rabs (f j)) M)
    by (intros j Hj; rewrite Rabs_Rabsolu; apply Hf; auto).
  pose proof (dot_close n b b' _ M gone Hf' Hgone Hb') as C'.
  pose proof (dot_magnitude n b _ M Hb Hf') as D.
  assert (A : dot n b' (fun j => Rabs (f j)) <= M * fsum n b + INR n * gone * M).
  { apply Rabs_bounds in C'. apply Rabs_bounds in D. lra. }
  assert (gamma k u * dot n b' (fun j => Rabs (f j))
    <= gamma k u * (M * fsum n b + INR n * gone * M)) by (apply Rmult_le_compat_l; auto).
  replace (s - dot n b f) with ((s - dot n b' f) + (dot n b' f - dot n b f)) by ring.
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

(** From the floats of q, K and v to the output: the error of rows computed as the header says.
    [gone] bounds what underflow takes from a weight: c (1 + exp_error u)^c tiny, by [fprod_lost].
    [underflow] bounds what it takes from either sum, relative to the sum of the weights. *)
Theorem fp_softmax n d c k u lost tiny exp_error q K v lo hi M A
    s m reach b b' gone x tN tD N Dn underflow quotient out :
  (* sizes and values *)
  (0 < n)%nat -> 0 <= u -> 0 <= lost -> 2 * lost <= tiny -> 0 <= gone ->
  INR d * u <= 1 / 2 -> INR k * u < 1 -> exp_error * u < 1 ->
  ranges n v lo hi -> bounded n v M ->
  (forall j, (j < n)%nat -> fsum d (fun l => Rabs (q l * K j l)) <= A) ->
  (* logits *)
  (forall j, (j < n)%nat ->
     exists t, adds d t /\ computes u lost (fun l => q l * K j l) t (s j)) ->
  (* weights, before and after underflow *)
  (forall j, (j < n)%nat -> computed_weight c u (exp_error * u) reach (s j - m) (b j)) ->
  (forall j, (j < n)%nat -> Rabs (b' j - b j) <= gone) ->
  (* the two sums *)
  (forall j, 0 <= x j) -> weighs n tN x b' -> weighs n tD x b' ->
  (roundings tN <= k)%nat -> (roundings tD <= k)%nat ->
  computes u lost (fun j => x j * v j) tN N -> computes u lost x tD Dn ->
  (1 + gamma k u) * (INR n * gone * M + INR (products tN) * lost) <= underflow * (M * fsum n b) ->
  (1 + gamma k u) * (INR n * gone + INR (products tD) * lost) <= underflow * fsum n b ->
  0 <= underflow -> gamma k u + underflow < 1 ->
  (* the quotient, and its way back to the units of v *)
  Rabs (quotient - N / Dn) <= u * Rabs quotient + tiny -> Rabs (out - quotient) <= tiny ->
  let S := fun j => fsum d (fun l => q l * K j l) in
  let eta := b_rounding_weight (b_rounding_logit d u A tiny) u reach exp_error c in
  Rabs (out - dot n (softmax n S) v)
    <= b_rounding_output eta (hi - lo) M quotient k u underflow tiny.
Proof.
  intros Hn Hu Hlost Htiny Hgone Hd Hk He Hv HM HA Hs Hb Hb' Hx HwN HwD HrN HrD HN HD
    HuN HuD Hunder Ha Hq Hout S eta.
  assert (HM0 : 0 <= M) by (eapply bounded_nonneg; eauto).
  assert (W : forall j, (j < n)%nat -> 0 < b j /\ Rabs (ln (b j) - - m - S j) <= eta).
  { intros j Hj. destruct (Hs j Hj) as [t [Ht Hc]].
    pose proof (fp_logit d u lost tiny q (K j) t (s j) A Hu Hlost Htiny Hd Ht Hc (HA j Hj)) as L.
    destruct (fp_weight c u exp_error reach _ (s j) (S j) m (b j) Hu He L (Hb j Hj)) as [xi [E B]].
    pose proof (exp_pos (S j - m)). pose proof (exp_pos xi). split.
    - rewrite E. apply Rmult_lt_0_compat; auto.
    - rewrite E, ln_mult, !ln_exp by auto.
      replace (S j - m + xi - - m - S j) with xi by ring. exact B. }
  assert (Hpos : positive n b) by (intros j Hj; apply W; auto).
  assert (HZ : 0 < fsum n b) by (apply fsum_pos; auto).
  assert (EN := weighted_sum_error n tN x b b' v u lost gone k M N
    Hu Hlost Hgone Hk Hpos HM HM0 Hx Hb' (HwN _) (HwN _) HrN HN).
  assert (H1 : bounded n (fun _ => 1) 1) by (intros j _; rewrite Rabs_R1; lra).
  assert (HD1 : computes u lost (fun j => x j * 1) tD Dn)
    by (apply (computes_ext u lost x); auto; intros; ring).
  assert (ED := weighted_sum_error n tD x b b' _ u lost gone k 1 Dn
    Hu Hlost Hgone Hk Hpos H1 ltac:(lra) Hx Hb' (HwD _) (HwD _) HrD HD1).
  unfold dot in ED. rewrite (fsum_ext n (fun j => b j * 1) b) in ED by (intros; ring).
  assert (ED' : Rabs (Dn - fsum n b) <= (gamma k u + underflow) * fsum n b) by lra.
  apply (fp_output n S b v lo hi M eta (- m) k u underflow tiny N Dn); auto; try lra.
  - intros j Hj. apply W; auto.
  - apply Rabs_bounds in ED'. nra.
Qed.
