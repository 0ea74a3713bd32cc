(** What scale, cap and bias cost in rounding; masks and sinks cost nothing (claims FP.scores, FP.lse).

    A score is  cap (scale q.k) + bias,  cap x = softcap tanh (x / softcap).

    Steps: (1) factors within 1 - a and 1 / (1 - a) multiply, and their a add up ([near_mult]); so a
    scaled logit is a dot product whose terms pass two roundings more ([fp_scores_scaled]);
    (2) a cap is 1-Lipschitz, so it passes an error of its argument on, and a rounding of its argument
    is one of its result ([fp_scores_capped]); (3) a bias is added ([fp_scores_biased]);
    (4) a key that is hidden is no term of any sum, so the sums are those of the visible keys in their
    order ([masked_softmax]); a sink is one more key, of value 0 ([sink_is_a_key]): what is proved of
    keys and values holds of either;
    (5) FP.softmax with scores for logits ([fp_attention]); (6) the logarithm of the denominator
    ([fp_lse]). *)

Require Import Reals Lra Lia List.
From Attest Require Import Bounds.
From Attest.Foundations Require Import Sums Vectors.
From Attest.Softmax Require Import Softmax TotalVariation Tanh.
From Attest.Rounding Require Import Rounding RoundingSoftmax.
Open Scope R_scope.

(** * Factors near 1 *)

Definition near (a x : R) : Prop := 1 - a <= x /\ x * (1 - a) <= 1.

Lemma near_rounding a e : a < 1 -> Rabs e <= a -> near a (1 + e).
Proof. intros Ha H. apply Rabs_bounds in H. split; nra. Qed.

Lemma near_mult a b x y : 0 <= a -> 0 <= b -> a + b < 1 -> near a x -> near b y ->
  near (a + b) (x * y).
Proof.
  intros Ha Hb Hab [X1 X2] [Y1 Y2]. split.
  - assert ((1 - a) * (1 - b) <= x * y) by (apply Rmult_le_compat; lra). nra.
  - assert (x * (1 - a) * (y * (1 - b)) <= 1 * 1)
      by (apply Rmult_le_compat; auto; apply Rmult_le_pos; lra).
    assert (0 <= x * y * (a * b)) by (repeat apply Rmult_le_pos; lra). nra.
Qed.

Lemma near_between a x y z : a <= 1 -> near a x -> near a y -> x <= z <= y -> near a z.
Proof.
  intros Ha [X _] [_ Y] [Hx Hy]. split; [lra |].
  eapply Rle_trans; [apply Rmult_le_compat_r; [lra | exact Hy] | lra].
Qed.

Lemma near_weaken a b x : a <= b <= 1 -> near a x -> near b x.
Proof. intros H [L U]. split; [lra |]. destruct (Rle_dec 0 x); nra. Qed.

Lemma near_error a x : 0 <= a < 1 -> near a x -> Rabs (x - 1) <= a / (1 - a).
Proof.
  intros Ha [X1 X2]. assert (a <= a / (1 - a)) by (apply le_div; nra).
  assert (x - 1 <= a / (1 - a)) by (apply le_div; nra). apply Rabs_le. lra.
Qed.

(** * FP.scores: a scaled logit *)

Lemma scaled_logit_form d u A tiny B : INR (d + 2) * u < 1 ->
  b_scaled_logit d u A tiny B
    = gamma (d + 2) u * A + INR d * tiny + 2 * INR d * u * tiny * B.
Proof.
  rewrite plus_INR. simpl INR. intros. unfold b_scaled_logit, gamma. rewrite plus_INR. simpl INR.
  field. lra.
Qed.

(** [d0] rounds the scale, [delta] and [e] the scaled entries of q, which may lose u tiny to
    underflow. *)
Definition computed_logit (d : nat) (u lost tiny scale : R) (q k : nat -> R) (s : R) : Prop :=
  exists d0 delta e t, Rabs d0 <= u /\
    (forall l, (l < d)%nat -> Rabs (delta l) <= u /\ Rabs (e l) <= u * tiny) /\ adds d t /\
    computes u lost (fun l => (scale * (1 + d0) * q l * (1 + delta l) + e l) * k l) t s.

Theorem fp_scores_scaled d u lost tiny scale q k s A B :
  0 <= u -> 0 <= lost -> 2 * lost <= tiny -> INR d * u <= 1 / 2 -> INR (d + 2) * u < 1 ->
  computed_logit d u lost tiny scale q k s ->
  fsum d (fun l => Rabs (scale * (q l * k l))) <= A -> bounded d k B ->
  Rabs (s - scale * fsum d (fun l => q l * k l)) <= b_scaled_logit d u A tiny B.
Proof.
  intros Hu Hlost Htiny Hd Hd2 (d0 & delta & e & t & H0 & Hl & Ht & Hs) HA HB.
  rewrite scaled_logit_form by auto.
  set (sq := fun l => scale * (1 + d0) * q l * (1 + delta l) + e l).
  change (computes u lost (fun l => sq l * k l) t s) in Hs.
  pose proof (pos_INR d) as Nd.
  assert (Htiny0 : 0 <= tiny) by lra.
  assert (Hu1 : u < 1 / 2).
  { rewrite plus_INR in Hd2. simpl INR in Hd2. nra. }
  pose proof (adds_length d t Ht) as Len. pose proof (proj1 Ht) as Hun.
  set (p := fun l => scale * (q l * k l)) in *.
  set (a := fsum d (fun l => Rabs (p l))) in *.
  set (g := (1 + u) ^ d).
  assert (G : g * (1 + u) ^ 2 <= 1 + gamma (d + 2) u).
  { unfold g. rewrite <- pow_add. apply pow_up; auto. }
  assert (Gd : g <= 2).
  { apply Rle_trans with (1 + gamma d u); [apply pow_up; lra |].
    assert (gamma d u <= 1) by (apply div_le; lra). lra. }
  assert (G1 : 1 <= g) by (apply pow_ge_1; auto).
  (* one term *)
  assert (T : forall l, (l < d)%nat ->
    Rabs (sq l * k l - p l) <= ((1 + u) ^ 2 - 1) * Rabs (p l) + u * tiny * Rabs (k l)).
  { intros l Hld. destruct (Hl l Hld) as [Hdl Hel]. unfold sq, p.
    replace ((scale * (1 + d0) * q l * (1 + delta l) + e l) * k l - scale * (q l * k l))
      with (scale * (q l * k l) * ((1 + d0) * (1 + delta l) - 1) + e l * k l) by ring.
    eapply Rle_trans; [apply Rabs_triang |]. apply Rplus_le_compat.
    - rewrite Rabs_mult, Rmult_comm. apply Rmult_le_compat_r; [apply Rabs_pos |].
      apply Rabs_bounds in H0, Hdl. apply Rabs_le. nra.
    - rewrite Rabs_mult. apply Rmult_le_compat_r; [apply Rabs_pos | auto]. }
  assert (a0 : 0 <= a) by (apply fsum_nonneg; intros; apply Rabs_pos).
  assert (KB : fsum d (fun l => u * tiny * Rabs (k l)) <= u * tiny * (INR d * B)).
  { rewrite fsum_scale, <- fsum_const. apply Rmult_le_compat_l; [nra |]. apply fsum_le. auto. }
  set (U := u * tiny * (INR d * B)) in *.
  assert (U0 : 0 <= U).
  { eapply Rle_trans; [| exact KB]. apply fsum_nonneg. intros.
    apply Rmult_le_pos; [nra | apply Rabs_pos]. }
  assert (E1 : Rabs (fsum d (fun l => sq l * k l) - fsum d p) <= ((1 + u) ^ 2 - 1) * a + U).
  { rewrite <- fsum_minus. eapply Rle_trans; [apply fsum_abs |].
    eapply Rle_trans; [apply (fsum_le d _ _ T) |].
    rewrite fsum_plus, fsum_scale. fold a. lra. }
  assert (E2 : fsum d (fun l => Rabs (sq l * k l)) <= (1 + u) ^ 2 * a + U).
  { apply Rle_trans with (fsum d (fun l => Rabs (p l)
      + (((1 + u) ^ 2 - 1) * Rabs (p l) + u * tiny * Rabs (k l)))).
    - apply fsum_le. intros l Hld. specialize (T l Hld).
      replace (sq l * k l) with (p l + (sq l * k l - p l)) by ring.
      eapply Rle_trans; [apply Rabs_triang | lra].
    - rewrite !fsum_plus, fsum_scale. fold a. lra. }
  assert (E3 : Rabs (s - fsum d (fun l => sq l * k l))
    <= (g - 1) * ((1 + u) ^ 2 * a + U) + g * (INR d * lost)).
  { pose proof (sum_error u lost _ t s Hu Hlost Hs) as E. cbv zeta in E.
    rewrite !(adds_exact d t), unscaled_products, Len in E by auto.
    assert (P : (1 + u) ^ roundings t <= g).
    { apply pow_mono; auto. rewrite <- Len. apply unscaled_roundings; auto. }
    assert (0 <= fsum d (fun l => Rabs (sq l * k l)))
      by (apply fsum_nonneg; intros; apply Rabs_pos).
    eapply Rle_trans; [exact E |]. apply Rplus_le_compat.
    - apply Rmult_le_compat; try lra. pose proof (pow_ge_1 u (roundings t) Hu). lra.
    - apply Rmult_le_compat_r; [apply Rmult_le_pos; auto | auto]. }
  rewrite <- fsum_scale. fold p.
  replace (s - fsum d p)
    with ((s - fsum d (fun l => sq l * k l)) + (fsum d (fun l => sq l * k l) - fsum d p)) by ring.
  eapply Rle_trans; [apply Rabs_triang |].
  assert (F1 : (g * (1 + u) ^ 2 - 1) * a <= gamma (d + 2) u * A).
  { apply Rmult_le_compat; auto; [| lra]. pose proof (pow_ge_1 u 2 Hu). nra. }
  assert (F2 : g * U <= 2 * U) by (apply Rmult_le_compat_r; auto).
  assert (F3 : g * (INR d * lost) <= INR d * tiny).
  { apply Rle_trans with (2 * (INR d * lost)); [apply Rmult_le_compat_r; nra | nra]. }
  unfold U in *. nra.
Qed.

(** * FP.scores: a cap *)

Definition cap (c x : R) : R := c * tanh (x / c).

Lemma cap_lipschitz c x y : 0 < c -> Rabs (cap c x - cap c y) <= Rabs (x - y).
Proof.
  intros Hc. unfold cap. rewrite <- Rmult_minus_distr_l, Rabs_mult, (Rabs_right c) by lra.
  apply Rle_trans with (c * Rabs (x / c - y / c)).
  - apply Rmult_le_compat_l; [lra | apply tanh_lipschitz].
  - replace (x / c - y / c) with ((x - y) / c) by (field; lra).
    rewrite Rabs_div_pos by auto. right. field. lra.
Qed.

Lemma cap_range c x : 0 < c -> Rabs (cap c x) <= Rmin (Rabs x) c.
Proof.
  intros Hc. apply Rmin_glb.
  - pose proof (cap_lipschitz c x 0 Hc) as L.
    replace (cap c 0) with 0 in L; [now rewrite !Rminus_0_r in L |].
    unfold cap. replace (0 / c) with 0 by (field; lra). rewrite tanh_at_0. ring.
  - unfold cap. rewrite Rabs_mult, (Rabs_right c) by lra. pose proof (tanh_range (x / c)).
    assert (Rabs (tanh (x / c)) <= 1) by (apply Rabs_le; lra). nra.
Qed.

Lemma capped_score_form rho u te C c tiny : (4 + te) * u < 1 ->
  b_capped_score rho u te C c tiny
    = rho + (4 + te) * u / (1 - (4 + te) * u) * C + 3 * (1 + c) * tiny.
Proof. intros. unfold b_capped_score. field. lra. Qed.

(** [d0] rounds softcap, [d1] and [d2] the ratio (by a quotient, or by a reciprocal and a product),
    [kappa] is tanh's error, [d3] rounds the product; the e are what underflow takes. *)
Definition computed_cap (c u te lost tiny x out : R) : Prop :=
  exists d0 d1 d2 d3 kappa e1 e2 e3,
    Rabs d0 <= u /\ Rabs d1 <= u /\ Rabs d2 <= u /\ Rabs d3 <= u /\ Rabs kappa <= te * u /\
    Rabs e1 <= lost /\ Rabs e2 <= tiny /\ Rabs e3 <= lost /\
    let cc := c * (1 + d0) in
    let y := x * (/ cc * (1 + d1)) * (1 + d2) + e1 in
    out = cc * (tanh y * (1 + kappa) + e2) * (1 + d3) + e3.

Theorem fp_scores_capped c x xc rho u te lost tiny out C :
  0 < c -> 0 <= u -> 0 <= te -> (4 + te) * u <= 1 / 2 -> 0 <= lost -> 2 * lost <= tiny ->
  Rabs (xc - x) <= rho -> Rabs (cap c xc) <= C -> computed_cap c u te lost tiny xc out ->
  Rabs (out - cap c x) <= b_capped_score rho u te C c tiny.
Proof.
  intros Hc Hu Hte Hsmall Hlost Htiny Hx HC
    (d0 & d1 & d2 & d3 & kappa & e1 & e2 & e3 & H0 & H1 & H2 & H3 & Hk & He1 & He2 & He3 & Hout).
  cbv zeta in Hout. set (cc := c * (1 + d0)) in *.
  set (y := xc * (/ cc * (1 + d1)) * (1 + d2) + e1) in *.
  assert (Htu0 : 0 <= te * u) by (apply Rmult_le_pos; auto).
  assert (Hu8 : u <= 1 / 8) by lra. assert (Htu : te * u <= 1 / 2) by lra.
  assert (B0 := Rabs_bounds _ _ H0). assert (B1 := Rabs_bounds _ _ H1).
  assert (B2 := Rabs_bounds _ _ H2). assert (B3 := Rabs_bounds _ _ H3).
  assert (Bk := Rabs_bounds _ _ Hk).
  rewrite capped_score_form by lra.
  set (f := (1 + d1) * (1 + d2) / (1 + d0)).
  assert (F : 0 < f) by (apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat |]; lra).
  set (z := xc / c * f).
  assert (Y : y = z + e1) by (unfold y, z, f, cc; field; lra).
  destruct (tanh_factor (xc / c) f F) as (g & Eg & Bg). fold z in Eg.
  (* a rounding of the argument is one of the result *)
  assert (N1 : near u (1 + d0)) by (apply near_rounding; lra).
  assert (N12 : near (u + u) ((1 + d1) * (1 + d2)))
    by (apply near_mult; try lra; apply near_rounding; lra).
  assert (N0 : near (u + u) ((1 + d0) * g)).
  { assert (M1 : (1 + d0) * f = (1 + d1) * (1 + d2)) by (unfold f; field; lra).
    assert (N01 : near (u + u) (1 + d0)) by (destruct N1; split; nra).
    destruct (Rle_dec 1 f) as [H | H];
      [rewrite Rmin_left, Rmax_right in Bg by lra;
        apply (near_between _ (1 + d0) ((1 + d1) * (1 + d2)))
      | rewrite Rmin_right, Rmax_left in Bg by lra;
        apply (near_between _ ((1 + d1) * (1 + d2)) (1 + d0))];
      auto; try lra; split; nra. }
  set (h := (1 + d0) * g * (1 + kappa) * (1 + d3)).
  assert (N : near ((4 + te) * u) h).
  { assert (near (u + u + te * u + u) h).
    { unfold h. apply near_mult; [lra | lra | lra | | apply near_rounding; lra].
      apply near_mult; [lra | lra | lra | exact N0 | apply near_rounding; lra]. }
    apply (near_weaken (u + u + te * u + u)); auto; lra. }
  assert (Eh := near_error ((4 + te) * u) h ltac:(nra) N).
  set (a := (4 + te) * u / (1 - (4 + te) * u)) in *.
  (* out - cap x in three parts *)
  replace (out - cap c x) with
    ((h - 1) * cap c xc + (cc * (1 + d3) * ((1 + kappa) * (tanh y - tanh z) + e2) + e3)
      + (cap c xc - cap c x)).
  2: { rewrite Hout. unfold h, cc. replace (cap c xc) with (c * tanh (xc / c)) by reflexivity.
       rewrite Eg. ring. }
  eapply Rle_trans; [apply Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |].
  assert (P1 : Rabs ((h - 1) * cap c xc) <= a * C).
  { rewrite Rabs_mult. apply Rmult_le_compat; auto; apply Rabs_pos. }
  assert (P3 : Rabs (cap c xc - cap c x) <= rho)
    by (eapply Rle_trans; [apply cap_lipschitz |]; auto).
  assert (P2 : Rabs (cc * (1 + d3) * ((1 + kappa) * (tanh y - tanh z) + e2) + e3)
    <= 3 * (1 + c) * tiny).
  { assert (T : Rabs (tanh y - tanh z) <= lost).
    { eapply Rle_trans; [apply tanh_lipschitz |]. rewrite Y.
      replace (z + e1 - z) with e1 by ring. auto. }
    assert (K : Rabs ((1 + kappa) * (tanh y - tanh z) + e2) <= 3 / 2 * lost + tiny).
    { eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_mult.
      assert (Rabs (1 + kappa) <= 3 / 2) by (apply Rabs_le; lra).
      pose proof (Rabs_pos (tanh y - tanh z)). pose proof (Rabs_pos (1 + kappa)). nra. }
    eapply Rle_trans; [apply Rabs_triang |]. rewrite Rabs_mult.
    assert (Q : Rabs (cc * (1 + d3)) <= 3 / 2 * c).
    { unfold cc. rewrite Rmult_assoc, Rabs_mult, (Rabs_right c), Rmult_comm by lra.
      apply Rmult_le_compat_r; [lra |]. apply Rabs_le. nra. }
    assert (Rabs (cc * (1 + d3)) * Rabs ((1 + kappa) * (tanh y - tanh z) + e2)
      <= 3 / 2 * c * (3 / 2 * lost + tiny)) by (apply Rmult_le_compat; auto; apply Rabs_pos).
    assert (0 <= c * tiny) by (apply Rmult_le_pos; lra).
    assert (c * lost <= c * tiny / 2) by nra. nra. }
  lra.
Qed.

(** * FP.scores: a bias *)

Lemma biased_score_form rho u S B : 2 * u < 1 ->
  b_biased_score rho u S B = rho + 2 * u / (1 - 2 * u) * (S + rho + B).
Proof. intros. unfold b_biased_score. field. lra. Qed.

(** [bc] is the bias, rounded: by u times itself where it is a normal number or 0, and in every case if
    [B] is at least the smallest normal number.  [d1] rounds the sum. *)
Definition computed_bias (u B s b out : R) : Prop :=
  exists bc d1, Rabs (bc - b) <= u * B /\ Rabs d1 <= u /\ out = (s + bc) * (1 + d1).

Theorem fp_scores_biased s sc b rho u out S B :
  0 <= u -> u <= 1 / 4 -> Rabs (sc - s) <= rho -> Rabs s <= S -> Rabs b <= B ->
  computed_bias u B sc b out -> Rabs (out - (s + b)) <= b_biased_score rho u S B.
Proof.
  intros Hu Hu4 Hs HS HB (bc & d1 & Hbc & H1 & ->). rewrite biased_score_form by lra.
  set (a := 2 * u / (1 - 2 * u)).
  assert (A1 : 2 * u + u * u <= a) by (apply le_div; nra).
  replace ((sc + bc) * (1 + d1) - (s + b))
    with ((sc - s) + (bc - b) + (sc + b + (bc - b)) * d1) by ring.
  assert (B0 : 0 <= B) by (eapply Rle_trans; [apply Rabs_pos | exact HB]).
  assert (R0 : 0 <= rho) by (eapply Rle_trans; [apply Rabs_pos | exact Hs]).
  assert (S0 : 0 <= S) by (eapply Rle_trans; [apply Rabs_pos | exact HS]).
  assert (T : Rabs (sc + b + (bc - b)) <= S + rho + B + u * B).
  { replace (sc + b + (bc - b)) with (s + (sc - s) + b + (bc - b)) by ring.
    eapply Rle_trans; [apply Rabs_triang |].
    eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |].
    pose proof (Rabs_triang s (sc - s)). lra. }
  assert (P : Rabs ((sc + b + (bc - b)) * d1) <= (S + rho + B + u * B) * u)
    by (rewrite Rabs_mult; apply Rmult_le_compat; auto; apply Rabs_pos).
  eapply Rle_trans; [apply Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |].
  assert ((2 * u + u * u) * (S + rho + B) <= a * (S + rho + B))
    by (apply Rmult_le_compat_r; lra).
  assert (0 <= u * (S + rho)) by (apply Rmult_le_pos; lra).
  assert (0 <= u * u * (S + rho)) by (repeat apply Rmult_le_pos; lra). lra.
Qed.

(** * Masks and sinks *)

(** The visible keys in their order. *)
Definition visible_keys (n : nat) (visible : nat -> bool) : list nat := filter visible (seq 0 n).

Definition visible_key (n : nat) (visible : nat -> bool) (i : nat) : nat :=
  nth i (visible_keys n visible) 0%nat.

Lemma fsum_visible n visible f :
  fsum n (on visible f)
    = fsum (length (visible_keys n visible)) (fun i => f (visible_key n visible i)).
Proof.
  unfold visible_key, visible_keys. induction n; [reflexivity |].
  rewrite fsum_S, seq_S, filter_app, app_length, IHn. unfold on. simpl.
  set (l := filter visible (seq 0 n)). destruct (visible n); simpl.
  - rewrite Nat.add_1_r, fsum_S, nth_middle. f_equal. apply fsum_ext.
    intros i Hi. rewrite app_nth1 by auto. reflexivity.
  - rewrite Nat.add_0_r, app_nil_r. ring.
Qed.

(** Attention under a mask is attention over the visible keys alone. *)
Theorem masked_softmax n visible S v :
  let m := length (visible_keys n visible) in
  fsum n (on visible (fun j => exp (S j) * v j)) / fsum n (on visible (fun j => exp (S j)))
    = dot m (softmax m (fun i => S (visible_key n visible i)))
        (fun i => v (visible_key n visible i)).
Proof. intros m. rewrite !fsum_visible. symmetry. apply dot_normalize. Qed.

(** One key more, with index n. *)
Definition extended (n : nat) (f : nat -> R) (last : R) (j : nat) : R :=
  if Nat.eqb j n then last else f j.

Lemma fsum_extended n f last g :
  fsum (S n) (fun j => g (extended n f last j)) = fsum n (fun j => g (f j)) + g last.
Proof.
  rewrite fsum_S. unfold extended. rewrite Nat.eqb_refl. f_equal. apply fsum_ext.
  intros j Hj. destruct (Nat.eqb_spec j n); [lia | reflexivity].
Qed.

(** A sink is a key of value 0. *)
Theorem sink_is_a_key n S v sink :
  dot n (fun j => exp (S j)) v / (fsum n (fun j => exp (S j)) + exp sink)
    = dot (Datatypes.S n) (softmax (Datatypes.S n) (extended n S sink)) (extended n v 0).
Proof.
  unfold softmax. rewrite dot_normalize, (fsum_extended n S sink exp). f_equal. unfold dot.
  rewrite fsum_S. unfold extended at 3 4. rewrite Nat.eqb_refl, Rmult_0_r, Rplus_0_r.
  apply fsum_ext. intros j Hj. unfold extended. destruct (Nat.eqb_spec j n); [lia | reflexivity].
Qed.

(** * FP.softmax over scores *)

(** The three steps together. *)
Theorem fp_scores d u lost tiny te scale c q k b x y s A B C S D :
  0 <= u -> 0 <= lost -> 2 * lost <= tiny -> INR d * u <= 1 / 2 -> INR (d + 2) * u < 1 ->
  0 <= te -> (4 + te) * u <= 1 / 2 -> 0 < c ->
  computed_logit d u lost tiny scale q k x -> computed_cap c u te lost tiny x y ->
  computed_bias u D y b s ->
  fsum d (fun l => Rabs (scale * (q l * k l))) <= A -> bounded d k B ->
  let capped := cap c (scale * fsum d (fun l => q l * k l)) in
  Rabs (cap c x) <= C -> Rabs capped <= S -> Rabs b <= D ->
  Rabs (s - (capped + b)) <=
    b_biased_score (b_capped_score (b_scaled_logit d u A tiny B) u te C c tiny) u S D.
Proof.
  intros Hu Hlost Htiny Hd Hd2 Hte Hsmall Hc Hx Hy Hs HA HB capped HC HS HD.
  assert (0 <= te * u) by (apply Rmult_le_pos; auto).
  apply (fp_scores_biased capped y b); auto; [lra |].
  apply (fp_scores_capped c _ x _ u te lost); auto.
  apply (fp_scores_scaled d u lost tiny scale q k); auto.
Qed.

(** From scores to the output, as [fp_softmax] has it from logits.  The keys are the visible ones, and a
    sink where there is one; it may be left out of the sum of values. *)
Theorem fp_attention n c k u lost tiny exp_error score_error S v lo hi M
    s m reach b b' gone x tN tD N Dn underflow quotient out :
  (0 < n)%nat -> 0 <= u -> 0 <= lost -> 0 <= tiny -> 0 <= gone -> INR k * u < 1 ->
  exp_error * u < 1 -> ranges n v lo hi -> bounded n v M ->
  (* scores, and weights before and after underflow *)
  (forall j, (j < n)%nat -> Rabs (s j - S j) <= score_error) ->
  (forall j, (j < n)%nat -> computed_weight c u (exp_error * u) reach (s j - m) (b j)) ->
  (forall j, (j < n)%nat -> Rabs (b' j - b j) <= gone) ->
  (* the two sums *)
  (forall j, 0 <= x j) -> weighs n tD x b' ->
  (forall f, (forall j, v j = 0 -> f j = 0) -> exact (fun j => x j * f j) tN = dot n b' f) ->
  (roundings tN <= k)%nat -> (roundings tD <= k)%nat ->
  computes u lost (fun j => x j * v j) tN N -> computes u lost x tD Dn ->
  (1 + gamma k u) * (INR n * gone * M + INR (products tN) * lost) <= underflow * (M * fsum n b) ->
  (1 + gamma k u) * (INR n * gone + INR (products tD) * lost) <= underflow * fsum n b ->
  0 <= underflow -> gamma k u + underflow < 1 ->
  (* the quotient, and its way back to the units of v *)
  Rabs (quotient - N / Dn) <= u * Rabs quotient + tiny -> Rabs (out - quotient) <= tiny ->
  Rabs (out - dot n (softmax n S) v)
    <= b_rounding_output (b_rounding_weight score_error u reach exp_error c) (hi - lo) M quotient
         k u underflow tiny.
Proof.
  intros Hn Hu Hlost Htiny Hgone Hk He Hv HM Hs Hb Hb' Hx HwD HwN HrN HrD HN HD HuN HuD Hunder Ha
    Hq Hout.
  set (eta := b_rounding_weight score_error u reach exp_error c).
  assert (HM0 : 0 <= M) by (eapply bounded_nonneg; eauto).
  assert (W : forall j, (j < n)%nat -> 0 < b j /\ Rabs (ln (b j) - - m - S j) <= eta).
  { intros j Hj.
    destruct (fp_weight c u exp_error reach _ (s j) (S j) m (b j) Hu He (Hs j Hj) (Hb j Hj))
      as [xi [E B]].
    pose proof (exp_pos (S j - m)). pose proof (exp_pos xi). split.
    - rewrite E. apply Rmult_lt_0_compat; auto.
    - rewrite E, ln_mult, !ln_exp by auto.
      replace (S j - m + xi - - m - S j) with xi by ring. exact B. }
  assert (Hpos : positive n b) by (intros j Hj; apply W; auto).
  assert (HZ : 0 < fsum n b) by (apply fsum_pos; auto).
  assert (EN := weighted_sum_error n tN x b b' v u lost gone k M N Hu Hlost Hgone Hk Hpos HM HM0 Hx
    Hb' (HwN v (fun j H => H))
    (HwN _ (fun j H => eq_trans (f_equal Rabs H) Rabs_R0)) HrN HN).
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

(** * FP.lse *)

Lemma log_sum_exp_form theta k u underflow L e v :
  INR k * u < 1 -> gamma k u + underflow < 1 -> (e + 2) * v < 1 ->
  b_log_sum_exp theta k u underflow L e v
    = theta + (gamma k u + underflow) / (1 - (gamma k u + underflow))
      + (e + 2) * v / (1 - (e + 2) * v) * L.
Proof.
  intros Hk Ha Hv. unfold b_log_sum_exp.
  replace (u * INR k / (1 - u * INR k)) with (gamma k u) by (unfold gamma; field; lra).
  field. split; lra.
Qed.

(** Weights whose logarithms are off by theta have a sum whose logarithm is. *)
Lemma ln_sum_close n S b m theta : (0 < n)%nat -> positive n b ->
  (forall j, (j < n)%nat -> Rabs (ln (b j) - (S j - m)) <= theta) ->
  Rabs (m + ln (fsum n b) - ln (fsum n (fun j => exp (S j)))) <= theta.
Proof.
  intros Hn Hb H.
  assert (HS : 0 < fsum n (fun j => exp (S j))) by (apply exp_sum_pos; auto).
  assert (HB : 0 < fsum n b) by (apply fsum_pos; auto).
  assert (E : forall j, (j < n)%nat ->
    exp (- theta) * exp (S j) <= exp m * b j <= exp theta * exp (S j)).
  { intros j Hj. specialize (H j Hj). apply Rabs_bounds in H.
    rewrite <- (exp_ln (b j)), <- !exp_plus by auto. split; apply exp_le; lra. }
  assert (U : exp m * fsum n b <= exp theta * fsum n (fun j => exp (S j))).
  { rewrite <- !fsum_scale. apply fsum_le. intros j Hj. apply E; auto. }
  assert (L : exp (- theta) * fsum n (fun j => exp (S j)) <= exp m * fsum n b).
  { rewrite <- !fsum_scale. apply fsum_le. intros j Hj. apply E; auto. }
  assert (ln_mono : forall x y, 0 < x -> x <= y -> ln x <= ln y).
  { intros x y Hx [Hxy | ->]; [left; apply ln_increasing; auto | lra]. }
  pose proof (exp_pos m). pose proof (exp_pos theta). pose proof (exp_pos (- theta)).
  apply ln_mono in U; [| apply Rmult_lt_0_compat; auto].
  apply ln_mono in L; [| apply Rmult_lt_0_compat; auto].
  rewrite !ln_mult, !ln_exp in U, L by auto. apply Rabs_le. lra.
Qed.

(** [m] is the shift, off by [d0] where it is taken; [kappa] is the logarithm's error, [d1] rounds the
    sum. *)
Theorem fp_lse n S b m theta k u underflow Dn e v d0 kappa d1 L :
  (0 < n)%nat -> positive n b -> 0 <= u -> INR k * u < 1 -> 0 <= underflow ->
  gamma k u + underflow < 1 -> 0 <= e -> 0 <= v -> (e + 2) * v < 1 ->
  (forall j, (j < n)%nat -> Rabs (ln (b j) - (S j - m)) <= theta) ->
  Rabs (Dn - fsum n b) <= (gamma k u + underflow) * fsum n b ->
  Rabs d0 <= v -> Rabs kappa <= e * v -> Rabs d1 <= v -> Rabs m + Rabs (ln Dn) <= L ->
  Rabs ((m * (1 + d0) + ln Dn * (1 + kappa)) * (1 + d1) - ln (fsum n (fun j => exp (S j))))
    <= b_log_sum_exp theta k u underflow L e v.
Proof.
  intros Hn Hb Hu Hk Hunder Ha He Hv Hev HS HD H0 Hkappa H1 HL.
  rewrite log_sum_exp_form by auto. pose proof (gamma_nonneg k u Hu Hk).
  set (a := gamma k u + underflow) in *. set (g := (e + 2) * v / (1 - (e + 2) * v)).
  assert (HZ : 0 < fsum n b) by (apply fsum_pos; auto).
  pose proof (ln_sum_close n S b m theta Hn Hb HS) as T.
  (* the sum *)
  set (r := Dn / fsum n b - 1).
  assert (R : Rabs r <= a).
  { unfold r. replace (Dn / fsum n b - 1) with ((Dn - fsum n b) / fsum n b) by (field; lra).
    rewrite Rabs_div_pos by auto. apply div_le; auto. }
  assert (D : ln Dn = ln (fsum n b) + ln (1 + r)).
  { pose proof (Rabs_bounds _ _ R). rewrite <- ln_mult by lra. f_equal. unfold r. field. lra. }
  pose proof (ln_error r a R Ha) as LR.
  (* the logarithm *)
  assert (ev0 : 0 <= e * v) by (apply Rmult_le_pos; auto).
  assert (E2 : forall p, Rabs p <= (e + 1) * v -> Rabs ((1 + p) * (1 + d1) - 1) <= g).
  { intros p Hp. apply (near_error ((e + 2) * v)); [lra |].
    apply (near_weaken ((e + 1) * v + v)); [lra |].
    apply near_mult; try lra; apply near_rounding; lra. }
  assert (P0 := E2 d0 ltac:(lra)). assert (P1 := E2 kappa ltac:(lra)).
  replace ((m * (1 + d0) + ln Dn * (1 + kappa)) * (1 + d1) - ln (fsum n (fun j => exp (S j))))
    with ((m + ln (fsum n b) - ln (fsum n (fun j => exp (S j)))) + ln (1 + r)
      + (m * ((1 + d0) * (1 + d1) - 1) + ln Dn * ((1 + kappa) * (1 + d1) - 1))) by (rewrite D; ring).
  assert (Q : Rabs (m * ((1 + d0) * (1 + d1) - 1) + ln Dn * ((1 + kappa) * (1 + d1) - 1)) <= g * L).
  { eapply Rle_trans; [apply Rabs_triang |]. rewrite !Rabs_mult.
    assert (0 <= g) by (eapply Rle_trans; [apply Rabs_pos | exact P0]).
    apply Rle_trans with (g * (Rabs m + Rabs (ln Dn))); [| apply Rmult_le_compat_l; auto].
    pose proof (Rmult_le_compat_l _ _ _ (Rabs_pos m) P0).
    pose proof (Rmult_le_compat_l _ _ _ (Rabs_pos (ln Dn)) P1). lra. }
  eapply Rle_trans; [apply Rabs_triang |].
  eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang |]. lra.
Qed.

(** Without rounding, scores that are all too large by theta attain it. *)
Theorem fp_lse_attained n S theta : (0 < n)%nat ->
  ln (fsum n (fun j => exp (S j + theta))) - ln (fsum n (fun j => exp (S j)))
    = b_log_sum_exp theta 0 0 0 0 0 0.
Proof.
  intros Hn. rewrite log_sum_exp_form; unfold gamma; simpl; try lra.
  rewrite (fsum_ext n _ (fun j => exp (S j) * exp theta)) by (intros; apply exp_plus).
  rewrite fsum_scale_r, ln_mult, ln_exp; [field | apply exp_sum_pos; auto | apply exp_pos].
Qed.
