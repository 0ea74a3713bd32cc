"""A hypothesis that a proof does not need is found, and those of the linked theorems are needed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from proofs.evidence.coq_sources import read_project
from tests.proofs.weakened import Weakening, hypotheses, judged, main, weakenings

PLAIN = "Theorem t n (u : nat -> R) eta : (0 < n)%nat -> within n u eta -> Rabs (u n) <= b eta."
BOUND = "Theorem t : forall (n : nat) x, (forall j, p j -> q j) -> let u := f x in a u -> c u."
LATER = "Theorem t n : 0 < n -> exists x, a x -> b x."
NONE = "Theorem t x : f x = x."


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (PLAIN, ["(0 < n)%nat", "within n u eta"]),
        (BOUND, ["(forall j, p j -> q j)", "a u"]),
        (LATER, ["0 < n"]),
        (NONE, []),
    ],
)
def test_hypotheses_are_what_stands_before_the_arrows(statement: str, expected: list[str]) -> None:
    assert [statement[a:b].strip() for a, b in hypotheses(statement)] == expected


@pytest.mark.slow
def test_the_hypotheses_of_every_linked_theorem_are_found() -> None:
    every = weakenings()
    assert len({w.name for w in every}) > 200
    assert len(every) > 1000
    assert all(w.hypothesis.count("(") == w.hypothesis.count(")") for w in every)
    (closeness,) = (w for w in every if w.name == "s_tv" and w.hypothesis == "within n u v eta")
    program = " ".join(closeness.program(dropped=True).split())
    assert "Theorem s_tv_weakened n u v eta S : (0 < n)%nat -> True ->" in program
    assert "Require Import Attest.Softmax.TotalVariation." in program
    assert "within n u v eta ->" in closeness.program(dropped=False)


@pytest.mark.proofs
def test_an_idle_hypothesis_is_told_from_one_that_is_needed(tmp_path: Path) -> None:
    (tmp_path / "_CoqProject").write_text("-R . Attest\nIdle.v\n", encoding="utf-8")
    (tmp_path / "Idle.v").write_text(
        """
Theorem t (n : nat) : n = 1 -> n = 2 -> n = 1.
Proof. intros one two. exact one. Qed.
Section Assumed.
Variable m : nat.
Hypothesis positive : 0 < m.
Theorem inside : m = 3 -> 0 < m.
Proof. intros three. exact positive. Qed.
End Assumed.
""",
        encoding="utf-8",
    )
    command = ["coqc", "-q", "-R", ".", "Attest", "Idle.v"]
    subprocess.run(command, cwd=tmp_path, check=True)
    (source,) = read_project(tmp_path).sources
    every = [
        Weakening(source, sentence, *place)
        for sentence in source.sentences
        if sentence.command == "Theorem"
        for place in hypotheses(sentence.text)
    ]
    found = [(w.hypothesis, outcome) for w, outcome in judged(every, tmp_path)]
    assert found == [("n = 1", "broken"), ("n = 2", "idle"), ("m = 3", "idle")]


@pytest.mark.nightly
def test_no_hypothesis_of_a_sample_is_idle() -> None:
    if shutil.which("coqc") is None:
        pytest.skip("needs coqc")
    assert main(["--seed", "0", "--count", "12"]) == 0
