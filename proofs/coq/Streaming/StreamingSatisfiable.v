(** Each theorem of this folder with more than three hypotheses has something to say: there is an
    instance that satisfies all of them at once.  The statements are those of the theorems, with
    False in place of what they conclude.

    A column of ones, as sparse as it is long, which a sketch has without any error; and the cache of
    StreamingWitness.v that keeps the bit of its only key. *)

Require Import Reals Lra Lia List Permutation.
From Attest.Foundations Require Import Lists Vectors Probability.
From Attest.Rounding Require Import RoundingSatisfiable.
From Attest.Streaming Require Import CacheFloor IndexBits StreamingWitness.
From Attest.Streaming Require Import Heap CountSketch Median Decoder.
Import ListNotations.
Open Scope R_scope.

Lemma one_sparse n : sparse n n one.
Proof.
  exists (seq 0 n). rewrite seq_length. split; [lia |]. intros i Hi H. exfalso. apply H, in_seq. lia.
Qed.

Lemma keeps_everything y k rows : (length rows <= k)%nat -> keeps y k rows rows.
Proof.
  intros H. exists []. rewrite app_nil_r. split; [apply Permutation_refl |].
  split; [lia | intros i j []].
Qed.

Lemma at_most_itself x : at_most x x = true.
Proof. unfold at_most. destruct (Rle_dec x x); [reflexivity | lra]. Qed.

Lemma lone_median x : is_median 0 [x] x.
Proof. split; [reflexivity |]. cbn. rewrite at_most_itself. cbn. lia. Qed.

Lemma looked_at_few L bits half draw tables l n sets t :
  (length (looked_at L bits half draw tables l n sets t) <= n)%nat.
Proof.
  rewrite <- (seq_length n 0) at 2. apply NoDup_incl_length; [apply NoDup_nodup |].
  intros i H. apply nodup_In, filter_In in H as [_ H]. apply andb_prop in H as [H _].
  apply Nat.ltb_lt in H. apply in_seq. lia.
Qed.

Theorem p2_onepass_states_satisfiable :
  ~ (forall (n : nat) (last : R) (states : nat) (state : list bool -> nat) (answer : nat -> nat
    -> R) (error : R), (1 < n)%nat -> INR n <= exp last -> error < (INR n - 1) / (4 * (INR n +
    1)) -> (forall w : list bool, length w = n -> (state w < states)%nat) -> (forall (w : list
    bool) (i : nat), length w = n -> (i < n)%nat -> Rabs (answer (state w) i -
    Onepass.index_output n last (List.nth i w false)) <= error) -> False).
Proof.
  intros N. destruct p2_onepass_satisfied as (n & last & states & state & answer & e & H & L & E & W & A).
  exact (N n last states state answer e H L (proj2 E) W A).
Qed.

Theorem p2_floor_states_satisfiable :
  ~ (forall (d v : nat) (c : R) (keys : list (list bool)), (forall a : list bool, List.In a keys
    -> length a = d) -> List.NoDup keys -> INR d * exp (- (2 * c)) <= 1 / 4 -> forall (coin :
    Type) (coins : list coin) (states : nat) (success error : R) (state : coin -> list bool ->
    nat) (answer : coin -> nat -> nat -> nat -> R) (good : coin -> list bool -> bool), coins <>
    nil -> error < 1 / 4 -> (forall (r : coin) (w : list bool), length w = (length keys * v)%nat
    -> (state r w < states)%nat) -> (forall (r : coin) (w : list bool) (i l : nat), length w =
    (length keys * v)%nat -> good r w = true -> (i < length keys)%nat -> (l < v)%nat -> Rabs
    (answer r (state r w) i l - CacheFloor.cache_output v c keys w i l) <= error) -> (forall w :
    list bool, length w = (length keys * v)%nat -> success <= Probability.probability coins (fun
    r : coin => good r w)) -> False).
Proof.
  intros N. destruct p2_floor_satisfied as (d & v & c & keys & coins & states & success & e & state &
    answer & good & D & U & S & C & E & W & A & _ & P).
  exact (N d v c keys D U S unit coins states success e state answer good C (proj2 E) W A P).
Qed.

Theorem p2_floor_index_satisfiable :
  ~ (forall (coin : Type) (d v : nat) (c : R) (keys : list (list bool)) (coins : list coin)
    (states volume k : nat) (delta error : R) (state : coin -> list bool -> nat) (answer : coin
    -> nat -> nat -> nat -> R) (good : coin -> list bool -> nat -> nat -> bool), (forall a :
    list bool, List.In a keys -> length a = d) -> List.NoDup keys -> INR d * exp (- (2 * c)) <=
    1 / 4 -> coins <> nil -> error < 1 / 4 -> 2 * delta * INR (length keys * v) <= INR k + 1 ->
    (forall (r : coin) (w : list bool), length w = (length keys * v)%nat -> (state r w <
    states)%nat) -> (forall (r : coin) (w : list bool) (i l : nat), length w = (length keys *
    v)%nat -> good r w i l = true -> (i < length keys)%nat -> (l < v)%nat -> Rabs (answer r
    (state r w) i l - CacheFloor.cache_output v c keys w i l) <= error) -> (forall (w : list
    bool) (i l : nat), length w = (length keys * v)%nat -> (i < length keys)%nat -> (l < v)%nat
    -> Probability.probability coins (fun r : coin => negb (good r w i l)) <= delta) -> (forall
    center : nat -> bool, (length (IndexBits.ball (length keys * v) k center) <= volume)%nat) ->
    False).
Proof.
  intros N. set (state := fun (_ : unit) (w : list bool) => number (nth 0 w false)).
  apply (N unit 1%nat 1%nat 2 [[true]] [tt] 2%nat 1%nat 0%nat (1 / 2) 0 state
    (fun _ s i l => cache_output 1 2 [[true]] [Nat.eqb s 1] i l) (fun _ _ _ _ => true)); try lra.
  - intros a [H | []]. subst a. reflexivity.
  - repeat constructor; auto.
  - simpl (INR 1). rewrite Rmult_1_l, exp_Ropp. pose proof (exp_ineq1_le (2 * 2)).
    apply Rle_trans with (/ 4); [apply Rinv_le_contravar; lra | lra].
  - discriminate.
  - cbn. lra.
  - intros r w _. unfold state. destruct (nth 0 w false); simpl; lia.
  - intros [] w i l L _ Hi Hl. simpl in L, Hi. destruct w as [| b [| b' w]]; try discriminate L.
    replace [Nat.eqb (state tt [b]) 1] with [b] by (destruct b; reflexivity).
    rewrite Rminus_diag_eq, Rabs_R0 by reflexivity. lra.
  - intros w i l _ _ _. rewrite probability_never; [lra | discriminate | reflexivity].
  - intros center. unfold ball, wrong_bits, wrong_bit. cbn. destruct (center 0%nat); cbn; lia.
Qed.

Theorem p2_compressibility_ratio_satisfiable :
  ~ (forall (n : nat) (S : nat -> nat -> R) (v : nat -> R) (r : R) (i j : nat), (0 < n)%nat ->
    Softmax.bounded n (S i) r -> Softmax.bounded n (S j) r -> (forall l : nat, (l < n)%nat -> 0
    <= v l) -> False).
Proof.
  intros N. apply (N 1%nat (fun _ => zero) one 0 0%nat 0%nat); try lia; intros i _; plain.
Qed.

Theorem p2_compressibility_share_satisfiable :
  ~ (forall (m k : nat) (y z : nat -> R) (ratio : R), 1 <= ratio -> (0 < m)%nat -> (k <= m)%nat
    -> Heap.sparse m k z -> (forall i : nat, (i < m)%nat -> 0 <= y i) -> (forall i j : nat, (i <
    m)%nat -> (j < m)%nat -> y i <= ratio * y j) -> False).
Proof.
  intros N. apply (N 2%nat 2%nat one one 1); try lia; try lra; try exact (one_sparse 2); intros;
    unfold one; lra.
Qed.

Theorem p2_heap_excess_satisfiable :
  ~ (forall (n k : nat) (x y z : nat -> R) (e : R) (kept : list nat), 0 <= e -> (forall i : nat,
    (i < n)%nat -> Rabs (x i - y i) <= e) -> Heap.keeps x k (List.seq 0 n) kept -> Heap.sparse n
    k z -> False).
Proof.
  intros N. apply (N 2%nat 2%nat one one one 0 [0; 1]%nat); try lra; try exact (one_sparse 2).
  - intros i _. plain.
  - apply keeps_everything. cbn. lia.
Qed.

Theorem p2_recovery_error_satisfiable :
  ~ (forall (n k : nat) (T x y : nat -> R) (ratio e : R) (z : nat -> R), 0 <= e -> 0 <= ratio ->
    (forall i : nat, (i < n)%nat -> Rabs (x i - y i) <= e) -> Heap.sparse n k z -> (forall z' :
    nat -> R, Heap.sparse n k z' -> Vectors.distance n x T <= ratio * Vectors.distance n x z')
    -> False).
Proof.
  intros N. apply (N 2%nat 2%nat one one one 1 0 one); try lra; try exact (one_sparse 2).
  - intros i _. plain.
  - intros z _. rewrite distance_self. pose proof (distance_nonneg 2 one z). lra.
Qed.

Theorem p2_recovery_ratio_satisfiable :
  ~ (forall (n k : nat) (estimate y z : nat -> R) (accuracy : R) (kept : list nat), 0 <=
    accuracy -> (0 < k)%nat -> (forall i : nat, (i < n)%nat -> Rabs (estimate i - y i) <=
    accuracy * Vectors.distance n y z / sqrt (INR k)) -> Heap.keeps estimate k (List.seq 0 n)
    kept -> Heap.sparse n k z -> False).
Proof.
  intros N. apply (N 2%nat 2%nat one one one 1 [0; 1]%nat); try lra; try lia; try exact (one_sparse 2).
  - intros i _. rewrite distance_self. unfold one. rewrite Rminus_diag_eq, Rabs_R0 by reflexivity.
    unfold Rdiv. rewrite Rmult_0_r, Rmult_0_l. lra.
  - apply keeps_everything. cbn. lia.
Qed.

Theorem p2_recovery_row_failure_satisfiable :
  ~ (forall (A : Type) (seeds : list A) (h : A -> nat -> nat) (s : A -> nat -> R) (n B : nat) (y
    z : nat -> R) (k i : nat) (accuracy : R) (far : R -> bool), seeds <> nil -> (i < n)%nat ->
    (0 < B)%nat -> (0 < k)%nat -> 0 < accuracy -> CountSketch.universal seeds h n B ->
    CountSketch.cancelling seeds h s n -> Heap.sparse n k z -> (forall x : R, far x = true -> 0
    < x /\ accuracy * Vectors.distance n y z / sqrt (INR k) <= x) -> False).
Proof.
  intros N. apply (N (list nat) (xor_seeds 1 1) (bucket_of 1) (sign_of 1) 2%nat 2%nat one one 2%nat 0%nat 1
    (less_than 0)); try lia; try lra; try exact (one_sparse 2).
  - discriminate.
  - exact (p2_sketch_universal 1 1 2 (le_n 2)).
  - exact (p2_sketch_cancelling 1 1 2 (le_n 2)).
  - intros x H. rewrite distance_self. unfold less_than in H. destruct (Rlt_dec 0 x); [| discriminate].
    unfold Rdiv. rewrite !Rmult_0_r, Rmult_0_l. lra.
Qed.

Theorem p2_recovery_failure_satisfiable :
  ~ (forall (A : Type) (seeds : list A) (h : nat) (estimate : A -> R) (median : list A -> R) (y
    : R) (far : R -> bool) (p : R), seeds <> nil -> Median.monotone far -> (forall l : list A,
    List.In l (Probability.tuples (2 * h + 1) seeds) -> Median.is_median h (List.map estimate l)
    (median l)) -> Probability.probability seeds (CountSketch.misses far estimate y) <= p ->
    False).
Proof.
  intros N. apply (N bool [true; false] 0%nat (fun a => if a then 1 else -1)
    (fun l => if hd true l then 1 else -1) 1 (less_than 1) (1 / 2)); [discriminate | | |].
  - intros x x' H. unfold less_than. destruct (Rlt_dec 1 x), (Rlt_dec 1 x'); auto; lra.
  - intros l [<- | [<- | []]]; apply lone_median.
  - unfold probability, expect, lsum, misses, less_than. cbn.
    destruct (Rlt_dec 1 (Rabs (1 - 1))) as [H | _]; [| destruct (Rlt_dec _ _); lra].
    rewrite Rminus_diag_eq, Rabs_R0 in H by reflexivity. lra.
Qed.

Theorem p2_recovery_decoded_satisfiable :
  ~ (forall (L bits half l n k : nat) (sets : list (list nat)) (accuracy rounding entry_error :
    R) (x y z : nat -> R) (tables : list (list nat) -> nat -> nat -> R) (median : list (list
    nat) -> nat -> R) (threshold : list (list nat) -> R) (kept : list (list nat) -> list nat),
    let draws := Probability.tuples (2 * half + 1) (Median.xor_seeds L bits) in (n <= 2 ^ L)%nat
    -> (n <= 2 ^ l)%nat -> (0 < k)%nat -> 0 < accuracy -> 0 <= rounding -> 0 <= entry_error ->
    Decoder.in_common half sets -> Heap.sparse n k z -> (forall i : nat, (i < n)%nat -> Rabs (x
    i - y i) <= entry_error) -> (forall (draw : list (list nat)) (r b : nat), List.In draw draws
    -> List.In r (Decoder.hash_rows half) -> Rabs (tables draw r b - Decoder.sum_in_bucket L n x
    (Decoder.seed_of draw r) b) <= rounding) -> (forall (draw : list (list nat)) (i : nat),
    List.In draw draws -> (i < n)%nat -> Median.is_median half (List.map (Decoder.row_reading L
    draw (tables draw) i) (Decoder.hash_rows half)) (median draw i)) -> (forall draw : list
    (list nat), List.In draw draws -> Heap.keeps (median draw) k (Decoder.looked_at L bits half
    draw (tables draw) l n sets (threshold draw)) (kept draw) /\ Decoder.ended (tables draw) k
    (median draw) (kept draw) (threshold draw)) -> False).
Proof.
  intros N. set (tables := fun draw r b => sum_in_bucket 1 2 one (seed_of draw r) b).
  apply (N 1%nat 1%nat 0%nat 1%nat 2%nat 2%nat [[]] 1 0 0 one one one tables
    (fun draw i => row_reading 1 draw (tables draw) i 0) (fun _ => 0)
    (fun draw => looked_at 1 1 0 draw (tables draw) 1 2 [[]] 0)); try lia; try lra;
    try exact (one_sparse 2).
  - cbn. lia.
  - cbn. lia.
  - intros P _. exists []. split; [now left | intros r []].
  - intros i _. plain.
  - intros draw r b _ _. unfold tables. rewrite Rminus_diag_eq, Rabs_R0 by reflexivity. lra.
  - intros draw i _ _. apply lone_median.
  - intros draw _. split; [apply keeps_everything, looked_at_few |].
    right. intros r b _. apply Rabs_pos.
Qed.
