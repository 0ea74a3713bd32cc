(** The hypotheses of the theorems on what must be remembered hold together (claims P2.order,
    P2.floor).

    Two queries before the only key, all four words of bits told apart; and one key with one bit, by
    a cache that keeps it. *)

Require Import Reals Lra Lia List.
From Attest.Foundations Require Import Probability.
From Attest.Streaming Require Import Onepass CacheFloor.
Import ListNotations.
Open Scope R_scope.

Definition number (b : bool) : nat := if b then 1 else 0.

(** Of p2_onepass_states. *)
Theorem p2_onepass_satisfied : exists n last states state answer error,
  (1 < n)%nat /\ INR n <= exp last /\ 0 <= error < (INR n - 1) / (4 * (INR n + 1)) /\
  (forall w : list bool, length w = n -> (state w < states)%nat) /\
  (forall w i, length w = n -> (i < n)%nat ->
     Rabs (answer (state w) i - index_output n last (nth i w false)) <= error).
Proof.
  set (state := fun w : list bool => (number (nth 0 w false) + 2 * number (nth 1 w false))%nat).
  set (bit := fun s i : nat => Nat.odd (match i with O => s | S _ => s / 2 end)).
  exists 2%nat, 1, 4%nat, state, (fun s i => index_output 2 1 (bit s i)), 0.
  assert (E : 2 <= exp 1) by (pose proof (exp_ineq1_le 1); lra).
  split; [lia | split; [simpl; lra | split; [simpl; lra | split]]].
  - intros w _. unfold state. destruct (nth 0 w false), (nth 1 w false); simpl; lia.
  - intros w i L Hi. replace (bit (state w) i) with (nth i w false).
    + rewrite Rminus_diag_eq, Rabs_R0 by reflexivity. lra.
    + unfold bit, state. destruct i as [| [| i]]; [| | lia];
        destruct (nth 0 w false), (nth 1 w false); reflexivity.
Qed.

(** Of p2_floor_states, with one coin that always falls on the same side. *)
Theorem p2_floor_satisfied : exists d v c keys (coins : list unit) states success error
    (state : unit -> list bool -> nat) (answer : unit -> nat -> nat -> nat -> R)
    (good : unit -> list bool -> bool),
  (forall a, In a keys -> length a = d) /\ NoDup keys /\ INR d * exp (- (2 * c)) <= 1 / 4 /\
  coins <> [] /\ 0 <= error < 1 / 4 /\
  (forall r w, length w = (length keys * v)%nat -> (state r w < states)%nat) /\
  (forall r w i l, length w = (length keys * v)%nat -> good r w = true ->
     (i < length keys)%nat -> (l < v)%nat ->
     Rabs (answer r (state r w) i l - cache_output v c keys w i l) <= error) /\
  0 < success /\
  (forall w, length w = (length keys * v)%nat ->
     success <= probability coins (fun r => good r w)).
Proof.
  set (state := fun (_ : unit) (w : list bool) => number (nth 0 w false)).
  exists 1%nat, 1%nat, 2, [[true]], [tt], 2%nat, 1, 0, state,
    (fun _ s i l => cache_output 1 2 [[true]] [Nat.eqb s 1] i l), (fun _ _ => true).
  split; [intros a [H | []]; subst a; reflexivity |].
  split; [repeat constructor; auto |]. split; [| split; [discriminate | split; [lra | split]]].
  - simpl (INR 1). rewrite Rmult_1_l, exp_Ropp. pose proof (exp_ineq1_le (2 * 2)).
    apply Rle_trans with (/ 4); [apply Rinv_le_contravar; lra | lra].
  - intros r w _. unfold state. destruct (nth 0 w false); simpl; lia.
  - split; [| split; [lra |]].
    + intros [] w i l L _ Hi Hl. simpl in L, Hi.
      destruct w as [| b [| b' w]]; try discriminate L.
      replace [Nat.eqb (state tt [b]) 1] with [b] by (destruct b; reflexivity).
      rewrite Rminus_diag_eq, Rabs_R0 by reflexivity. lra.
    + intros w _. unfold probability. rewrite (expect_const [tt] 1) by discriminate. lra.
Qed.
