"""Every planted fault is noticed, and nothing else is: the original passes the same tests."""

import pytest

from tests.mutants.runner import ROOT, Mutant, Outcome, control, judge, mutants, stems

EVERY = [
    pytest.param(mutant, id=f"{stem}: {mutant.catches}")
    for stem in stems()
    for mutant in mutants(stem)
]

#: Found by a review to be missed by nobody; judged in the quick loop too, at a second each.
ONCE_MISSED = (
    "attention: gamma, in fact",
    "attention: the logits' error, in fact",
    "attention: the reach of the shifted exponent, in fact",
    "attention: the finiteness test of the denominator",
    "reference: the last term of exp's series",
    "reference: the last three terms of exp's series",
)


@pytest.mark.parametrize("mutant", EVERY)
def test_a_mutants_text_stands_once_and_its_edit_compiles(mutant: Mutant) -> None:
    compile(mutant.source(), mutant.file, "exec")


@pytest.mark.parametrize("mutant", EVERY)
def test_a_mutants_tests_exist(mutant: Mutant) -> None:
    for test in mutant.ids:
        file, _, name = test.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name.partition('[')[0]}(" in text, test


def test_no_two_mutants_are_alike() -> None:
    edits = [(m.file, m.before, m.after) for s in stems() for m in mutants(s)]
    assert len(edits) == len(set(edits))


def test_a_text_that_is_gone_is_refused() -> None:
    gone = Mutant(
        file="fastpath/core/directed.py", before="no such text", after="", tests="", catches=""
    )
    with pytest.raises(
        ValueError, match=r"exactly once in fastpath/core/directed\.py, found 0 times"
    ):
        gone.source()


@pytest.mark.slow
@pytest.mark.parametrize("stem", stems())
def test_with_nothing_planted_all_tests_pass(stem: str) -> None:
    outcome, said = control(stem)
    assert outcome is Outcome.SURVIVED, said


@pytest.mark.parametrize("mutant", [every for every in EVERY if every.id in ONCE_MISSED])
def test_a_fault_that_was_once_missed_is_noticed(mutant: Mutant) -> None:
    outcome, said = judge(mutant)
    assert outcome is Outcome.KILLED, said


def test_the_faults_that_were_once_missed_are_still_planted() -> None:
    assert set(ONCE_MISSED) <= {every.id for every in EVERY}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [every for every in EVERY if every.id not in ONCE_MISSED])
def test_a_planted_fault_is_noticed(mutant: Mutant) -> None:
    if not mutant.can_be_judged:
        pytest.skip(f"its tests need {mutant.needs}, of the extra peers")
    outcome, said = judge(mutant)
    assert outcome in (Outcome.KILLED, Outcome.ENDLESS), said
