(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude.

    Most instances are those of DynamicWitness.v.  Nothing is rounded: an error of 0 is one of the errors
    that the model allows. *)

Require Import Reals Lra Lia List.
From Attest.Foundations Require Import Sums.
From Attest.Softmax Require Import Softmax.
From Attest.Rounding Require Import Rounding RoundingSatisfiable.
From Attest.Dynamic Require Import Tokens Pending Cached Slots Dynamic RoundingDynamic HintedMv.
From Attest.Dynamic Require Import FastBlocks PrintedPair DynamicWitness.
Import ListNotations.
Open Scope R_scope.

Definition in_slices : settings := Settings 1 false true 1 (fun _ _ => 0) (le_n 1).

Definition two_tokens : tokens := Tokens 2 (fun _ => true) (fun _ _ => 1) (fun _ _ => 0) (fun _ _ => 1).

Definition everywhere (_ _ : nat) : bool := true.

Lemma one_listed : lists_ones 1 everywhere [(0%nat, 0%nat)].
Proof.
  intros l k. unfold everywhere. simpl. split.
  - intros [E | []]. injection E as <- <-. auto.
  - intros (H & H' & _). left. f_equal; lia.
Qed.

Lemma no_pair_waits n tau : INR (@limit one_by_one) - 1 <= power n tau.
Proof. simpl. rewrite Rminus_diag_eq by reflexivity. left. apply exp_pos. Qed.

Lemma lone_power tau : INR (length [(0%nat, 0%nat)]) <= power 1 tau.
Proof. unfold power. simpl. rewrite ln_1, Rmult_0_r, exp_0. lra. Qed.

Lemma lazily_computed : lazy_sum (/ 8) (/ 8) 1 3 one 1.
Proof.
  exists one, (Leaf 0). split; [intros e _; unfold one; rewrite Rminus_diag_eq, Rabs_R0, Rabs_R1; lra |].
  split; [exact leaf_adds | split; [cbn; lia | apply leaf_computes; unfold one; lra]].
Qed.

Theorem fp_dynamic_weight_satisfiable :
  ~ (forall (u exp_error reach logit_error s S0 S m : R) (factors k : nat) (step : nat -> R)
    (steps w : R), 0 <= u -> 0 <= exp_error -> (1 + exp_error) * u < 1 -> Rabs (s - S0) <=
    logit_error -> S = S0 + Sums.fsum factors step -> Sums.fsum factors (fun f : nat => Rabs
    (step f)) <= steps -> (factors <= k)%nat -> RoundingDynamic.renewed u (exp_error * u) reach
    s m factors step w -> False).
Proof.
  intros N. apply (N (/ 8) 1 0 0 0 0 0 0 1%nat 1%nat zero 0 1); try lia; try plain.
  exists 0, 0, zero, zero, zero. repeat (split; [plain |]).
  unfold zero. cbn [RoundingSoftmax.fprod]. rewrite exp_0. lra.
Qed.

Theorem fp_dynamic_output_satisfiable :
  ~ (forall (n : nat) (S v : nat -> R) (A : nat) (sign w W y : nat -> R) (E depth : nat) (pN pD
    : nat -> R) (N Dn theta gone mass M u lost rho underflow smallest scale out : R), (0 <
    n)%nat -> 0 <= u -> 0 <= lost -> 0 <= gone -> INR depth * u < 1 -> 0 <= theta -> 1 <= rho ->
    0 < Dn -> 0 <= underflow -> 0 < scale -> Softmax.bounded n v M -> Softmax.bounded A y M ->
    Sums.fsum A (fun a : nat => sign a * W a * y a) = scale * Vectors.dot n (fun j : nat => exp
    (S j)) v -> Sums.fsum A (fun a : nat => sign a * W a) = scale * Sums.fsum n (fun j : nat =>
    exp (S j)) -> (forall a : nat, (a < A)%nat -> Rabs (sign a) <= 1 /\ 0 <= w a) -> (exp theta
    < 2 -> forall a : nat, (a < A)%nat -> Rabs (w a - W a) <= w a * (exp theta - 1) + gone) ->
    Sums.fsum A (fun a : nat => Rabs (sign a) * w a) <= mass -> mass <= rho * Dn -> Sums.fsum E
    pN = Sums.fsum A (fun a : nat => sign a * w a * y a) -> Sums.fsum E (fun e : nat => Rabs (pN
    e)) <= mass * M -> Sums.fsum E pD = Sums.fsum A (fun a : nat => sign a * w a) -> Sums.fsum E
    (fun e : nat => Rabs (pD e)) <= mass -> RoundingDynamic.lazy_sum u lost E depth pN N ->
    RoundingDynamic.lazy_sum u lost E depth pD Dn -> INR A * gone * M + (1 + Rounding.gamma
    depth u) * (INR E * lost) <= underflow * Dn * M -> INR A * gone + (1 + Rounding.gamma depth
    u) * (INR E * lost) <= underflow * Dn -> Rabs (out - N / Dn) <= u * Rabs out + smallest ->
    False).
Proof.
  intros N. set (g := gamma 3 (/ 8)).
  assert (G : 0 <= g) by (apply gamma_nonneg; cbn [INR]; lra).
  apply (N 1%nat zero one 1%nat one one one one 1%nat 3%nat one one 1 1 0 0 1 1 (/ 8) (/ 8) 1
    ((1 + g) * / 8) 0 1 1); try exact lazily_computed; fold g; try lia; try plain.
  intros _. plain.
Qed.

Theorem p1_update_exact_satisfiable :
  ~ (forall (options : Pending.settings) (value_columns : nat) (T : Tokens.tokens) (room : nat)
    (us : list (nat * nat * R)), Pending.sliced = false -> (Tokens.count T <= room)%nat ->
    List.Forall (fun u : nat * nat * R => (snd (fst u) < Pending.dimension)%nat /\ Tokens.live T
    (fst (fst u)) = true) us -> DynamicCost.apart nil (List.map (fun u : nat * nat * R => fst
    (fst u)) us) -> False).
Proof.
  intros N. apply (N one_by_one 1%nat one_token 1%nat [(0%nat, 0%nat, 1)]); repeat constructor; auto.
Qed.

Theorem p1_slots_sliced_satisfiable :
  ~ (forall (options : Pending.settings) (value_columns : nat) (T : Tokens.tokens) (ops : list
    Dynamic.operation) (T' : Tokens.tokens) (s : Slots.slots) (e : Tokens.edit), Pending.sliced
    = true -> List.Forall Dynamic.valid ops -> Dynamic.run T Dynamic.Slot_mode ops = (T',
    Dynamic.InSlots s) -> DynamicCost.fits T' (Slots.s_room s) e -> False).
Proof.
  intros N.
  apply (N in_slices 1%nat one_token [] one_token (@s_build in_slices one_token 1) (Evict 0));
    repeat constructor.
Qed.

Theorem p1_blocks_amortised_satisfiable :
  ~ (forall (options : Pending.settings) (value_columns m : nat), Pending.limit = (2 ^ m)%nat ->
    forall (T : Tokens.tokens) (w : R), Pending.sliced = false -> ln 7 <= w * ln 2 ->
    Tokens.count T mod Pending.limit = 0%nat -> (value_columns + 1) mod Pending.limit = 0%nat ->
    False).
Proof.
  intros N. apply (N one_by_one 1%nat 0%nat eq_refl one_token (28074 / 10000)); try reflexivity.
  exact p1_blocks_exponent.
Qed.

Theorem p1_pair_update_satisfiable :
  ~ (forall (options : Pending.settings) (T : Tokens.tokens) (room : nat) (us : list (nat * nat
    * R)) (tau : R), Pending.sliced = false -> (0 < Tokens.count T)%nat -> (Tokens.count T <=
    room)%nat -> List.Forall (fun u : nat * nat * R => (snd (fst u) < Pending.dimension)%nat) us
    -> False).
Proof.
  intros N. apply (N one_by_one one_token 1%nat [(0%nat, 0%nat, 1)] 1); repeat constructor.
Qed.

Theorem p1_pair_query_satisfiable :
  ~ (forall (options : Pending.settings) (columns : nat) (T : Tokens.tokens) (ops : list
    Dynamic.operation) (T' : Tokens.tokens) (s : Cached.cached) (i j : nat) (tau : R),
    Pending.sliced = false -> List.Forall Dynamic.valid ops -> Dynamic.run T Dynamic.Cache ops =
    (T', Dynamic.InCache s) -> (0 < Tokens.count T')%nat -> INR Pending.limit - 1 <=
    PrintedPair.power (Tokens.count T') tau -> False).
Proof.
  intros N. apply (N one_by_one 1%nat one_token [] one_token (c_build one_token 1) 0%nat 0%nat 1);
    try apply no_pair_waits; repeat constructor.
Qed.

Theorem p1_entries_query_satisfiable :
  ~ (forall (options : Pending.settings) (columns : nat) (T : Tokens.tokens) (ops : list
    Dynamic.operation) (T' : Tokens.tokens) (s : Cached.cached) (i j n : nat) (tau : R),
    Pending.sliced = false -> List.Forall Dynamic.valid ops -> Dynamic.run T Dynamic.Cache ops =
    (T', Dynamic.InCache s) -> INR Pending.limit - 1 <= PrintedPair.power n tau -> False).
Proof.
  intros N. apply (N one_by_one 1%nat one_token [] one_token (c_build one_token 1) 0%nat 0%nat 1%nat 1);
    try apply no_pair_waits; repeat constructor.
Qed.

Theorem p1_columns_query_satisfiable :
  ~ (forall (options : Pending.settings) (columns : nat) (T : Tokens.tokens) (ops : list
    Dynamic.operation) (T' : Tokens.tokens) (s : Cached.cached) (j n : nat) (tau : R),
    Pending.sliced = false -> List.Forall Dynamic.valid ops -> Dynamic.run T Dynamic.Cache ops =
    (T', Dynamic.InCache s) -> Tokens.count T' = S n -> INR Pending.limit - 1 <=
    PrintedPair.power n tau -> False).
Proof.
  intros N. apply (N one_by_one 1%nat two_tokens [] two_tokens (c_build two_tokens 2) 0%nat 1%nat 1);
    try apply no_pair_waits; repeat constructor.
Qed.

Theorem p1_hardness_refuted_satisfiable :
  ~ (forall gap w tau : R, 0 < gap -> gap < tau -> gap < 1 - tau -> 2 <= w -> False).
Proof.
  intros N. apply (N (1 / 4) 2 (1 / 2)); lra.
Qed.

Theorem p1_reduction_error_satisfiable :
  ~ (forall (n : nat) (c : R) (M P V : nat -> nat -> bool) (ones : list (nat * nat)) (j i : nat)
    (E u read_i read_n quotient difference : R), 0 < c -> HintedMv.lists_ones n P ones -> (j <
    n)%nat -> (i < n)%nat -> 0 <= u -> E * (INR n + exp (c * INR (length ones))) < 1 -> let out
    := Tokens.attention_of n false (HintedMv.prepared n c M V ones) j in Rabs (read_i - out i)
    <= E -> Rabs (read_n - out n) <= E -> Rabs (quotient - read_i / read_n) <= u * Rabs (read_i
    / read_n) -> Rabs (difference - (quotient - HintedMv.column_sum n V i)) <= u * Rabs
    (quotient - HintedMv.column_sum n V i) -> False).
Proof.
  intros N. destruct (p1_reduction_satisfied 1 Rlt_0_1)
    as (n & M & P & V & ones & E & u & read & quotient & difference & t & answers & L & U & S & H & R & _).
  destruct (R 0%nat 0%nat H H) as (I & D & Q & X & _).
  exact (N n 1 M P V ones 0%nat 0%nat E u _ _ _ _ Rlt_0_1 L H H U S I D Q X).
Qed.

Theorem p1_reduction_mistakes_satisfiable :
  ~ (forall (n : nat) (c : R) (M P V : nat -> nat -> bool) (ones : list (nat * nat)) (E u : R)
    (read quotient difference : nat -> nat -> R) (threshold : R) (answers : nat -> nat -> bool),
    0 < c -> HintedMv.lists_ones n P ones -> 0 <= u -> E * (INR n + exp (c * INR (length ones)))
    < 1 -> (forall j i : nat, (j < n)%nat -> (i < n)%nat -> let out := Tokens.attention_of n
    false (HintedMv.prepared n c M V ones) j in Rabs (read j i - out i) <= E /\ Rabs (read j n -
    out n) <= E /\ Rabs (quotient j i - read j i / read j n) <= u * Rabs (read j i / read j n)
    /\ Rabs (difference j i - (quotient j i - HintedMv.column_sum n V i)) <= u * Rabs (quotient
    j i - HintedMv.column_sum n V i) /\ (answers j i = true <-> threshold < difference j i)) ->
    Bounds.b_reduction_error n c (length ones) E u < threshold -> threshold < exp c - 1 -
    Bounds.b_reduction_error n c (length ones) E u -> False).
Proof.
  intros N. destruct (p1_reduction_satisfied 1 Rlt_0_1)
    as (n & M & P & V & ones & E & u & read & quotient & difference & t & answers & L & U & S & _ & R & B & T).
  exact (N n 1 M P V ones E u read quotient difference t answers Rlt_0_1 L U S R B T).
Qed.

Theorem p1_entries_phase_two_satisfiable :
  ~ (forall (S : PrintedPair.structure) (n : nat) (c : R) (M P V : nat -> nat -> bool) (ones :
    list (nat * nat)), HintedMv.lists_ones n P ones -> forall U tau : R, 0 <= U ->
    PrintedPair.amortised S n U -> INR (length ones) <= PrintedPair.power n tau -> False).
Proof.
  intros N. destruct (p1_entries_satisfied 1) as (A & _).
  apply (N _ 1%nat 1 everywhere everywhere everywhere _ one_listed _ 1) with (2 := A);
    [simpl; lra | apply lone_power].
Qed.

Theorem p1_columns_phase_two_satisfiable :
  ~ (forall (S : PrintedPair.structure) (n : nat) (c : R) (M P V : nat -> nat -> bool) (ones :
    list (nat * nat)), HintedMv.lists_ones n P ones -> forall U tau : R, 0 <= U ->
    PrintedPair.amortised S n U -> INR (length ones) <= PrintedPair.power n tau -> False).
Proof.
  intros N. destruct (p1_entries_satisfied 1) as (A & _).
  apply (N _ 1%nat 1 everywhere everywhere everywhere _ one_listed _ 1) with (2 := A);
    [simpl; lra | apply lone_power].
Qed.

Theorem p1_entries_phase_three_satisfiable :
  ~ (forall (S : PrintedPair.structure) (n : nat) (c : R) (M P V : nat -> nat -> bool) (ones :
    list (nat * nat)), 0 < c -> HintedMv.lists_ones n P ones -> forall (i : nat) (E : R), (i <
    n)%nat -> PrintedPair.answers_entries S n -> PrintedPair.entries_within S n E -> False).
Proof.
  intros N. destruct (p1_entries_satisfied 1) as (_ & A & W & _).
  exact (N _ 1%nat 1 everywhere everywhere everywhere _ Rlt_0_1 one_listed 0%nat _ (le_n 1) A W).
Qed.

Theorem p1_columns_phase_three_satisfiable :
  ~ (forall (S : PrintedPair.structure) (n : nat) (c : R) (M P V : nat -> nat -> bool) (ones :
    list (nat * nat)), 0 < c -> HintedMv.lists_ones n P ones -> forall (i : nat) (C : R), (i <
    n)%nat -> PrintedPair.answers_columns S n -> PrintedPair.columns_within S n C -> False).
Proof.
  intros N. destruct (p1_entries_satisfied 1) as (_ & _ & _ & A & W).
  exact (N _ 1%nat 1 everywhere everywhere everywhere _ Rlt_0_1 one_listed 0%nat _ (le_n 1) A W).
Qed.
