"""`attest check` convicts an `AttentionRegression` whose certificates lie, and shows what one refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastpath
from proofs.judging.heads import Head, shipped_heads
from proofs.judging.regression import COLUMNS_KEPT, TOKENS_KEPT, RegressionJudgement, examine
from reference import Verdict
from tests.proofs.checking import install, run_check, write_heads

Array = NDArray[Any]

(REAL,) = (head for head in shipped_heads(64) if head.name == "minilm_L2H11_n64")

#: A head of so few tokens and columns that nothing is cut, and that is enclosed at once.
SMALL = Head("small", REAL.Q[:9, :2], REAL.K[:12, :2], REAL.V[:12, :1])

#: One token has no logit to learn.
ALONE = Head("alone", REAL.Q[:1], REAL.K[:1], REAL.V[:1])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A .npz with the small head and the one of a single token."""
    return write_heads(tmp_path / "heads.npz", SMALL, ALONE)


def judge(head: Head, regression: Callable[..., Any]) -> RegressionJudgement:
    """Return the one judgement on a head."""
    (found,) = examine(head, regression).judgements
    return found


def _certifying(change: Callable[[Any], Any]) -> Any:
    """Return an implementation whose every certificate is fastpath's, changed."""

    class Changed(fastpath.AttentionRegression):
        def certify(self, X: Any, Y: Any) -> Any:
            return change(super().certify(X, Y))

        def solve(self, *arguments: Any, **choices: Any) -> Any:
            found = super().solve(*arguments, **choices)
            certificate = change(found.certificate)
            return SimpleNamespace(X=found.X, Y=found.Y, nit=found.nit, certificate=certificate)

    return Changed


def _stating(**fields: Any) -> Any:
    return _certifying(lambda honest: replace(honest, **fields))


# ---------------------------------------------------------------------------- an honest answer


def test_an_honest_implementation_passes_and_json_says_what_the_table_says(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run_check(capsys, file, "--verbose")
    assert (status, err) == (0, "")
    document = json.loads(run_check(capsys, file, "--json")[1])
    assert document["passed"]
    table = out[out.index("P4's regression: fastpath") :].splitlines()
    rows = {words[0]: words for words in map(str.split, table) if words and len(words) == 10}
    for head in document["regression"]:
        _, steps, *figures, verdict = rows[head["name"]]
        assert (steps, verdict) == (str(head["steps"]), head["verdict"])
        solution, planted = head["solution"], head["planted"]
        assert solution["enclosed_norm"][1] <= solution["gradient_norm"]
        shown = [
            solution["enclosed_norm"][1],
            solution["gradient_norm"],
            solution["least_eigenvalue"],
            solution["h"],
            solution["radius"],
            head["distance_from_planted"],
            planted["radius"],
        ]
        for place, (value, figure) in enumerate(zip(shown, figures, strict=True)):
            assert (figure == "-") == (value is None)
            if value:
                assert float(figure) >= value or place == 2
                assert abs(float(figure) - value) <= abs(value) / 99
    small, alone = sorted(document["regression"], key=lambda head: -head["tokens_kept"])
    assert (small["verdict"], small["tokens_kept"], small["columns_kept"]) == ("WITHIN", 12, [2, 1])
    assert small["solution"]["radius"] < small["solution"]["least_eigenvalue"]
    assert alone["verdict"] == "REFUSED"
    assert "could not be proved positive definite" in alone["solution"]["reason"]
    told = " ".join(out.split())
    assert f"alone: REFUSED. {alone['solution']['reason']}".replace("  ", " ") in told
    assert "AttentionRegression, 2 runs: every error is inside its certificate" in told
    assert "P4, cut to 48 tokens and 3 columns: a critical point is proved within" in told
    assert "for 1 of 2 heads." in told


def test_a_real_head_is_cut_solved_and_certified() -> None:
    found = judge(REAL, fastpath.AttentionRegression)
    assert examine(REAL, fastpath.AttentionRegression).shape == (
        TOKENS_KEPT,
        COLUMNS_KEPT,
        COLUMNS_KEPT,
    )
    assert found.proved
    assert found.solution is not None
    assert found.solution.enclosed_norm[0] <= found.solution.enclosed_norm[1]
    assert found.solution.enclosed_norm[1] <= (found.solution.gradient_norm or 0.0)
    assert found.solution.enclosed_norm[1] > 0
    assert found.planted is not None
    assert found.distance_from_planted is not None
    reach = (found.solution.radius or 0.0) + (found.planted.radius or 0.0)
    assert 0 < found.distance_from_planted <= reach


# ------------------------------------------------------------------------------ an answer that lies


@pytest.mark.parametrize(
    "liar",
    [
        _certifying(lambda c: replace(c, gradient_norm=c.gradient_norm / 2**20)),
        _certifying(lambda c: replace(c, least_eigenvalue=c.least_eigenvalue * 1.05)),
        _stating(radius=0.0),
    ],
    ids=["gradient", "eigenvalue", "radius"],
)
def test_a_number_that_is_not_so_gives_exit_1(
    liar: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_heads(tmp_path / "small.npz", SMALL)
    install(monkeypatch, AttentionRegression=liar)
    status, out, _ = run_check(capsys, path, "--impl", "liar", "--json")
    document = json.loads(out)
    assert (status, document["passed"]) == (1, False)
    (head,) = document["regression"]
    assert head["verdict"] == "OUTSIDE"
    assert "not every error is inside its certificate, see small" in document["summary"]
    told = " ".join(run_check(capsys, path, "--impl", "liar")[1].split())
    assert f"small: OUTSIDE. {head['failure']}" in told


def test_a_failure_says_of_which_point() -> None:
    class Solution(fastpath.AttentionRegression):
        """Is wrong about the planted point only."""

        def certify(self, X: Any, Y: Any) -> Any:
            return replace(super().certify(X, Y), gradient_norm=0.0)

    found = judge(SMALL, Solution)
    assert found.solution is not None
    assert found.planted is not None
    assert (found.solution.verdict, found.planted.verdict) == (Verdict.WITHIN, Verdict.OUTSIDE)
    assert found.failure.startswith("Of the planted point it is not so that the gradient's norm is")


def test_balls_that_do_not_meet_are_told() -> None:
    found = judge(SMALL, _stating(radius=0.0))
    assert found.solution is not None
    assert (found.solution.verdict, found.verdict) == (Verdict.WITHIN, Verdict.OUTSIDE)
    assert "which hold one critical point, reach 0." in found.failure


# ------------------------------------------------------------------- an answer that is none


def _raises(error: Exception) -> Any:
    def construct(*_: Any) -> Any:
        raise error

    return construct


@pytest.mark.parametrize(
    ("liar", "says"),
    [
        (_raises(RuntimeError("out of luck")), "AttentionRegression raised RuntimeError: out of"),
        (lambda *_: None, "AttentionRegression raised AttributeError"),
        (_stating(gradient_norm=np.nan), "gradient_norm must be at least 0, got nan"),
        (_stating(least_eigenvalue=np.nan), "least_eigenvalue must be a number, got nan"),
        (_stating(radius=np.inf), "radius must be finite and at least 0, got inf"),
        (_stating(radius=None), "A certificate without a radius must give a reason"),
        (_stating(h=0.6), "A radius needs a gradient norm"),
        (_stating(h=None), "A radius needs a gradient norm"),
        (_stating(least_eigenvalue=0.0), "A radius needs a gradient norm"),
    ],
)
def test_an_answer_that_cannot_be_judged_fails(liar: Any, says: str) -> None:
    found = judge(SMALL, liar)
    assert not found.passed
    assert found.verdict is None
    assert says in found.failure


@pytest.mark.parametrize("spoilt", [lambda M: M[:1], lambda M: M * np.nan])
def test_a_solution_that_is_none_fails(spoilt: Any) -> None:
    class Spoilt(fastpath.AttentionRegression):
        def solve(self, *arguments: Any, **choices: Any) -> Any:
            found = super().solve(*arguments, **choices)
            return replace(found, X=spoilt(found.X))

    found = judge(SMALL, Spoilt)
    assert not found.passed
    assert found.failure.startswith("X ")


def test_a_refusal_is_told_and_no_failure() -> None:
    found = judge(SMALL, _raises(ValueError("too large")))
    assert (found.passed, found.proved, found.refusal) == (True, False, "too large")


def test_huge_entries_are_refused_or_judged() -> None:
    huge = Head("huge", *(np.ldexp(x.astype(np.float64), 400) for x in SMALL.matrices))
    assert examine(huge, fastpath.AttentionRegression).passed


def test_an_implementation_cannot_move_the_truth() -> None:
    class Overwrites(fastpath.AttentionRegression):
        def __init__(self, *matrices: Array) -> None:
            super().__init__(*matrices)
            for M in matrices:
                M[:] = 0

        def certify(self, X: Any, Y: Any) -> Any:
            found = super().certify(X, Y)
            X[:] = Y[:] = 0
            return found

    before = [x.copy() for x in SMALL.matrices]
    assert judge(SMALL, Overwrites).proved
    for kept, now in zip(before, SMALL.matrices, strict=True):
        np.testing.assert_array_equal(kept, now)
