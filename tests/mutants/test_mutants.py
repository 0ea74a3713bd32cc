"""Every planted fault is noticed, and nothing else is: the original passes the same tests."""

from zlib import crc32

import pytest

from tests.mutants.runner import ROOT, Mutant, Outcome, control, judge, mutants, stems

NAMED = {f"{stem}: {mutant.catches}": mutant for stem in stems() for mutant in mutants(stem)}
EVERY = [pytest.param(mutant, id=name) for name, mutant in NAMED.items()]

#: Found by a review to be missed by nobody; judged in the quick loop too, at a second each.
ONCE_MISSED = (
    "attention: gamma, in fact",
    "attention: the logits' error, in fact",
    "attention: the reach of the shifted exponent, in fact",
    "attention: the finiteness test of the denominator",
    "reference: the last term of exp's series",
    "reference: the last three terms of exp's series",
)

#: `make test` judges one fault in so many, chosen by its name and so the same ones at each run, with
#: one stem as the control; `make test-all` judges all of them, with every stem.
ONE_IN = 3
DAILY_CONTROL = "cores"


def _run(*, daily: bool) -> pytest.MarkDecorator:
    """Return the mark of what `make test` runs, or only `make test-all`."""
    return pytest.mark.slow if daily else pytest.mark.nightly


JUDGED = [
    pytest.param(mutant, id=name, marks=_run(daily=crc32(name.encode()) % ONE_IN == 0))
    for name, mutant in NAMED.items()
    if name not in ONCE_MISSED
]


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


@pytest.mark.parametrize(
    "stem", [pytest.param(stem, marks=_run(daily=stem == DAILY_CONTROL)) for stem in stems()]
)
def test_with_nothing_planted_all_tests_pass(stem: str) -> None:
    outcome, said = control(stem)
    assert outcome is Outcome.SURVIVED, said


@pytest.mark.parametrize("mutant", [pytest.param(NAMED[name], id=name) for name in ONCE_MISSED])
def test_a_fault_that_was_once_missed_is_noticed(mutant: Mutant) -> None:
    outcome, said = judge(mutant)
    assert outcome is Outcome.KILLED, said


def test_no_two_mutants_of_a_stem_catch_the_same() -> None:
    assert len(NAMED) == sum(len(mutants(stem)) for stem in stems())


@pytest.mark.parametrize("mutant", JUDGED)
def test_a_planted_fault_is_noticed(mutant: Mutant) -> None:
    if not mutant.can_be_judged:
        pytest.skip(f"its tests need {mutant.needs}, of the extra peers")
    outcome, said = judge(mutant)
    assert outcome in (Outcome.KILLED, Outcome.ENDLESS), said
