"""`attest check` convicts a `polynomial_attention` whose numbers lie, and shows what a refusal costs."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastpath
from proofs.command.sections.polynomial import section
from proofs.judging.heads import Head, shipped_heads
from proofs.judging.judgement import Examination
from proofs.judging.polynomial import COLUMNS_KEPT, TOLERANCE, PolynomialJudgement, examine
from reference import Verdict, attention
from tests.proofs.checking import install, run_check, write_heads

Array = NDArray[Any]
Function = Callable[..., Any]

(REAL,) = (head for head in shipped_heads(64) if head.name == "minilm_L2H2_n64")

#: So few columns that the method is feasible.
NARROW = Head("few", REAL.Q[:, :3], REAL.K[:, :3], REAL.V[:, :2])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A .npz with one real head as it is and one of few columns."""
    return write_heads(tmp_path / "heads.npz", NARROW, REAL)


def _changed(change: Callable[[Any], dict[str, Any]]) -> Function:
    """Return an implementation that takes fastpath's answer and changes some fields of it."""

    def of(*arrays: Array, **choices: Any) -> Any:
        honest = fastpath.polynomial_attention(*arrays, **choices)
        return replace(honest, **change(honest))

    return of


def _restated(**changes: Any) -> Function:
    """Return an implementation that answers like fastpath, but states another expansion."""
    return _changed(lambda honest: {"expansion": replace(honest.expansion, **changes)})


def _refuses(**changes: Any) -> Function:
    """Return an implementation that refuses whatever it is given."""

    def refuse(Q: Array, *_: Array, tolerance: float) -> Any:
        stated = {"logit_bound": 9.0, "degree": 1, "features": 1 + Q.shape[1], "bytes": 8}
        raise fastpath.ExpansionError("no", fastpath.Expansion(**(stated | changes)))

    return refuse


# ---------------------------------------------------------------------------- an honest answer


def test_an_honest_implementation_passes_and_json_says_what_the_table_says(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run_check(capsys, file, "--verbose")
    assert (status, err) == (0, "")
    told = " ".join(out.split())
    assert "to 0.001 max|V|, was refused for 1 of 2 heads: it takes" in told
    assert "columns of Q and K, 1 of 1 head is feasible" in told
    assert "polynomial_attention, 3 runs: every error is inside its certificate" in told
    document = json.loads(run_check(capsys, file, "--json")[1])
    assert document["passed"]
    assert document["summary"] in told
    table = out[
        out.index("P2's polynomial method: fastpath") : out.index("Certified attention: fastpath")
    ].splitlines()
    rows = [x.replace(" of ", "/").split() for x in table if x.startswith(("few ", REAL.name))]
    for head in document["polynomial"]:
        for instance in head["instances"]:
            name, d, half_range, *cost, error, bound, ratio, checked, verdict = rows.pop(0)
            assert (name, verdict) == (head["name"], instance["verdict"])
            assert d.split("/")[0] == str(instance["columns_kept"])
            assert d.split("/")[-1] == str(head["d"])
            assert half_range == f"{instance['half_row_range']:.3g}"
            stated = instance["expansion"]
            assert cost[:2] == [f"{stated['logit_bound']:.3g}", str(stated["degree"])]
            for count, shown in zip((stated["features"], stated["bytes"]), cost[2:], strict=True):
                if count < 10**6:
                    assert shown == str(count)
                else:
                    assert len(shown) == len("1.23e+45")
                    assert _rounds_up_to(count, shown)
            if verdict == "REFUSED":
                assert (error, bound, ratio, checked) == ("-",) * 4
                assert instance["error"] is instance["bound"] is instance["claims"] is None
            else:
                assert checked == "64/64"
                assert _rounds_up_to(instance["error"][1], error)
                assert _rounds_up_to(instance["bound"], bound)
                assert ratio == f"{instance['bound'] / instance['error'][1]:.3g}"
                assert "P2.poly" in instance["claims"]
    assert rows == []


def _rounds_up_to(value: float, shown: str) -> bool:
    """Whether ``shown`` is the least three-digit number that is at least ``value``."""
    number = Decimal(shown)
    unit = Decimal(1).scaleb(number.adjusted() - 2)
    return number - unit < Decimal(value) <= number


def test_no_shipped_head_is_feasible_and_each_is_when_cut() -> None:
    for head in shipped_heads():
        whole, cut = examine(head, fastpath.polynomial_attention, budget=1).judgements
        assert (whole.columns_kept, cut.columns_kept) == (head.Q.shape[1], COLUMNS_KEPT)
        assert not whole.feasible
        assert cut.feasible
        assert cut.passed
        for instance in (whole, cut):
            stated = instance.expansion
            assert stated is not None
            assert instance.half_row_range <= stated.logit_bound
            assert stated.features == math.comb(
                instance.columns_kept + stated.degree, stated.degree
            )
            assert stated.bytes == 8 * stated.features * (head.V.shape[1] + 1)
        assert whole.expansion is not None
        assert whole.expansion.bytes > fastpath.polynomial.attention.LARGEST_BYTES


def test_the_error_is_that_of_the_reference_on_the_columns_that_are_kept() -> None:
    d = COLUMNS_KEPT
    Q, K, V = REAL.Q[:, :d], REAL.K[:, :d], REAL.V
    answer = fastpath.polynomial_attention(Q, K, V, tolerance=TOLERANCE)
    lower, upper = attention(Q, K, V).distance(answer.output).largest()
    run = examine(REAL, fastpath.polynomial_attention).judgements[1]
    assert run.error is not None
    assert run.error[0] <= lower <= upper <= run.error[1]
    assert run.error[1] <= np.nextafter(run.error[0], 1.0)
    assert run.bound == answer.error_bound.max()


@pytest.mark.parametrize(
    "head",
    [
        Head("one", *(np.ones((1, 1)),) * 3),
        Head("equal values", REAL.Q, REAL.K, np.full_like(REAL.V, 0.1)),
        Head("zeros", NARROW.Q, NARROW.K, np.zeros_like(NARROW.V)),
        Head("equal logits", np.zeros_like(REAL.Q), REAL.K, REAL.V),
        Head("one query", NARROW.Q[:1], NARROW.K, NARROW.V),
        Head("fortran", *(np.asfortranarray(x.astype(np.float64)) for x in NARROW.matrices)),
    ],
    ids=lambda head: head.name,
)
def test_a_feasible_head_is_not_cut(head: Head) -> None:
    found = examine(head, fastpath.polynomial_attention)
    (instance,) = found.judgements
    assert instance.feasible
    assert found.passed, instance.failure
    assert section([found], "a test").refused == ""


def test_huge_logits_in_few_columns_are_refused_and_no_more_is_asked() -> None:
    head = Head("huge", NARROW.Q.astype(float) * 2.0**480, NARROW.K.astype(float), NARROW.V)
    found = examine(head, fastpath.polynomial_attention)
    (instance,) = found.judgements
    assert (found.passed, instance.feasible, instance.rows) == (True, False, ())


# ------------------------------------------------------------------------------ an answer that lies


def _offset(*arrays: Array, **choices: Any) -> Any:
    answer = fastpath.polynomial_attention(*arrays, **choices)
    answer.output[7, 1] += 3 * TOLERANCE * np.abs(arrays[2]).max()
    return answer


def _drops_last_key(Q: Array, K: Array, V: Array, **choices: Any) -> Any:
    return fastpath.polynomial_attention(Q, K[:-1], V[:-1], **choices)


#: Each lies wherever it answers; what the failure must say.
LIARS: dict[str, tuple[Function, str]] = {
    "zero bound": (
        _changed(lambda honest: {"error_bound": honest.error_bound * 0}),
        "not within their bounds",
    ),
    "negative bound": (
        _changed(lambda honest: {"error_bound": -honest.error_bound}),
        "not within their bounds",
    ),
    "a hundredth of the bound": (
        _changed(lambda honest: {"error_bound": honest.error_bound / 100}),
        "not within their bounds",
    ),
    "offset": (_offset, "the error of entry [7, 1] exceeds its bound most"),
    "half of the output": (
        _changed(lambda honest: {"output": honest.output / 2}),
        "not within their bounds",
    ),
    "dropped key": (_drops_last_key, "not within the"),
}


@pytest.mark.parametrize("name", LIARS)
def test_an_error_above_its_bound_gives_exit_1(
    name: str, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    function, says = LIARS[name]
    install(monkeypatch, polynomial_attention=function)
    status, out, _ = run_check(capsys, file, "--impl", "liar", "--json")
    document = json.loads(out)
    assert (status, document["passed"]) == (1, False)
    assert f"inside its certificate, see few, {REAL.name}" in document["summary"]
    found = [(head["name"], x) for head in document["polynomial"] for x in head["instances"]]
    verdicts = [instance["verdict"] for _, instance in found]
    assert verdicts == ["OUTSIDE", "REFUSED", "OUTSIDE"]
    _, out, _ = run_check(capsys, file, "--impl", "liar", "--verbose")
    told = " ".join(out.split())
    for head, instance in found:
        if instance["verdict"] == "OUTSIDE":
            assert says in instance["failure"]
            d = instance["columns_kept"]
            assert f"{head} with d = {d}: OUTSIDE. {instance['failure']}" in told


def test_a_failure_says_how_to_see_it() -> None:
    run = examine(REAL, _offset).judgements[1]
    call = run.sentences.partition("Reproduce with ")[2].rstrip(".")
    assert call == run.call
    arrays = {f"{REAL.name}/{r}": x for r, x in zip("QKV", REAL.matrices, strict=True)}
    seen = eval(call, {"arrays": arrays, "polynomial_attention": _offset})
    d = COLUMNS_KEPT
    asked = (REAL.Q[:, :d], REAL.K[:, :d], REAL.V)
    assert seen == _offset(*asked, tolerance=TOLERANCE).output[7, 1]


def _raises(*_: Any, **choices: Any) -> Any:
    raise RuntimeError("out of luck")


def _refuses_without_counts(*_: Any, **choices: Any) -> Any:
    raise ValueError("too much")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (_raises, "polynomial_attention raised RuntimeError: out of luck"),
        (_refuses_without_counts, "polynomial_attention raised ValueError: too much"),
        (lambda Q, K, V: V, "polynomial_attention raised TypeError"),
        (lambda *_, **__: SimpleNamespace(), "polynomial_attention raised AttributeError"),
        (_restated(features=1), "features must be C(3 + degree, 3), got 1 for degree"),
        (
            _restated(degree=-1, features=0),
            "features must be C(3 + degree, 3), got 0 for degree -1",
        ),
        (_restated(bytes=0.5), "polynomial_attention raised TypeError"),
        (_restated(logit_bound=math.inf), "logit_bound must be finite and at least 0, got inf"),
        (_restated(logit_bound=math.nan), "logit_bound must be finite"),
        (_refuses(logit_bound=-1.0), "logit_bound must be finite and at least 0, got -1.0"),
        (_refuses(features=5), "features must be C(3 + degree, 3), got 5 for degree 1"),
        (_changed(lambda x: {"output": x.output[:3]}), "output must have shape (64, 2)"),
        (_changed(lambda x: {"output": x.output * np.nan}), "output holds 128 NaN"),
        (
            _changed(lambda x: {"error_bound": x.error_bound.astype(str)}),
            "error_bound must hold float32 or float64",
        ),
        (_changed(lambda x: {"error_bound": x.error_bound * 1e9}), "error_bound must be at most"),
    ],
)
def test_an_answer_that_cannot_be_judged_gives_exit_1(
    function: Function,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, polynomial_attention=function)
    file = write_heads(tmp_path / "f.npz", NARROW)
    status, out, err = run_check(capsys, file, "--impl", "liar")
    assert (status, err) == (1, "")
    assert f"few with d = 3: NO ANSWER. {says}" in " ".join(out.split())
    document = json.loads(run_check(capsys, file, "--impl", "liar", "--json")[1])
    assert "not every error is inside its certificate, see few" in document["summary"]
    assert document["passed"] is False


def test_who_refuses_everything_errs_nowhere(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, polynomial_attention=_refuses())
    status, out, _ = run_check(capsys, file, "--impl", "liar")
    assert status == 0
    assert (
        "P2's polynomial method, to 0.001 max|V|, was refused for 2 of 2 heads: it takes 4 features, "
        "8 bytes, or more. PASS: of 3 runs every error is inside its certificate; 3 certify none."
    ) in " ".join(out.split())
    told = json.loads(run_check(capsys, file, "--impl", "liar", "--json")[1])["summary"]
    assert "0 of 1 head is feasible" in told


def test_a_bound_may_reach_the_tolerance_and_no_further() -> None:
    allowed = Fraction(TOLERANCE) * Fraction(float(np.abs(NARROW.V).max()))
    reached = float(allowed)
    far = np.nextafter(np.nextafter(reached, 9), 9)
    for bound, verdict in ((reached, Verdict.WITHIN), (far, None)):
        function = _changed(lambda honest, b=bound: {"error_bound": np.float64(b)})
        (instance,) = examine(NARROW, function).judgements
        assert instance.verdict is verdict


def test_an_implementation_that_writes_to_its_arguments_cannot_move_the_truth() -> None:
    def overwrites(Q: Array, K: Array, V: Array, **choices: Any) -> Any:
        answer = fastpath.polynomial_attention(Q, K, V, **choices)
        V[:] = 0
        return replace(answer, output=V, error_bound=np.float64(0))

    head = Head("h", *(x.copy() for x in NARROW.matrices))
    (instance,) = examine(head, overwrites).judgements
    assert instance.verdict is Verdict.OUTSIDE
    assert head.V.any()


# ------------------------------------------------------------------------------- what is checked


def test_a_bound_above_what_a_trivial_answer_errs_does_not_pass() -> None:
    """All values are so near to one that their mean is within the tolerance."""
    flat = replace(NARROW, V=(1 + NARROW.V / 2**14).astype(np.float32))
    bound = np.float64(np.ptp(flat.V, axis=0).max())

    def mean(honest: Any) -> dict[str, Any]:
        output = np.repeat(flat.V.mean(axis=0)[None], len(honest.output), axis=0)
        return {"output": output, "error_bound": bound}

    (instance,) = examine(flat, _changed(mean)).judgements
    assert bound < TOLERANCE * np.abs(flat.V).max()
    assert "which an answer errs that looks at no query" in instance.failure
    assert not instance.passed


def test_of_a_large_head_some_rows_are_checked() -> None:
    def spoilt(row: int) -> Examination[PolynomialJudgement]:
        def change(honest: Any) -> dict[str, Any]:
            output = honest.output.copy()
            output[row] += 1
            return {"output": output}

        return examine(NARROW, _changed(change), budget=4 * 64 + 63, rng=np.random.default_rng(0))

    found = examine(
        NARROW, fastpath.polynomial_attention, budget=4 * 64, rng=np.random.default_rng(0)
    )
    (rows,) = (instance.rows for instance in found.judgements)
    assert len(rows) == len(set(rows)) == 4
    assert all(not spoilt(row).passed for row in rows)
    assert spoilt(next(iter(set(range(64)) - set(rows)))).passed
    (document,) = section([found], "a test").document
    (instance,) = document["instances"]
    assert (instance["rows_checked"], instance["rows"]) == (4, rows)
