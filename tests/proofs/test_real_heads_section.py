"""`attest check` convicts a certificate of too many rows that lies, and certifies anybody's output."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import comb
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastpath
from proofs.command.sections.real_heads import section
from proofs.evidence.conformance import run
from proofs.judging.heads import Head, shipped_heads
from proofs.judging.judgement import checked_rows
from proofs.judging.real_heads import (
    FALSE_ALARM,
    LEAST_ROWS,
    CertifiedJudgement,
    _chance,
    examine,
    judge,
)
from reference import Verdict, attention
from tests.proofs.checking import install, run_check, write_heads

ROOT = Path(__file__).parents[2]
Array = NDArray[Any]
Function = Callable[..., Any]

(REAL,) = (head for head in shipped_heads() if head.name == "minilm_L2H2_n256")

#: Of so few keys that every row is enclosed; one row is a hundredth of them.
FEW = Head("few", REAL.Q[:100], REAL.K[:9], REAL.V[:9, :3])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A .npz with that head."""
    return write_heads(tmp_path / "heads.npz", FEW)


def _changed(change: Callable[[Any], dict[str, Any]]) -> Function:
    """Return an implementation that takes fastpath's answer and changes some fields of it."""

    def of(*arrays: Array, **asked: Any) -> Any:
        honest = fastpath.certified_attention(*arrays, **asked)
        return replace(honest, **change(honest))

    return of


def _bfloat16(x: Array) -> Array:
    """Round float32 to the nearest numbers of 8 significant bits, ties to even."""
    bits = x.astype(np.float32).view(np.uint32)
    rounded: Array = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)
    return rounded


def _certified(rounded: Callable[[Array], Array]) -> Function:
    """Return the adapter of an implementation that computes what ``rounded`` leaves of attention."""

    def of(Q: Array, K: Array, V: Array, *, rng: np.random.Generator, **asked: Any) -> Any:
        output = rounded(fastpath.attention(Q, K, V).output)
        return fastpath.certify(Q, K, V, output, rng=rng)

    return of


# ---------------------------------------------------------------------------- an honest answer


def test_an_honest_implementation_passes_and_json_says_what_the_table_says(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, "other", certified_attention=_certified(_bfloat16))
    for implementation, method in (("fastpath", "exact"), ("other", "-")):
        status, out, err = run_check(capsys, file, "--impl", implementation, "--verbose")
        assert (status, err) == (0, "")
        told = " ".join(out.split())
        assert "certified_attention, 1 run: every error is inside its certificate" in told
        assert "max|V| in all but 1% of the rows" in told
        document = json.loads(run_check(capsys, file, "--impl", implementation, "--json")[1])
        (head,) = document["real_heads"]
        section = out[out.index("Certified attention: ") :].split("P4's regression: fastpath")[0]
        table = section.splitlines()
        (row,) = [line.replace(" of ", "/").split() for line in table if line.startswith("few ")]
        name, shown, keys, bound, relative, uncovered, chance, error, outside, checked = row[:10]
        assert (name, shown, keys, checked) == ("few", method, "9", "100/100")
        certificate = head["certificate"]
        assert _rounds_up_to(certificate["bound"], bound)
        assert _rounds_up_to(head["bound_over_largest_value"], relative)
        assert head["bound_over_largest_value"] == certificate["bound"] / np.abs(FEW.V).max()
        assert float(uncovered) == certificate["uncovered"]
        assert float(chance) == certificate["failure_probability"] == 0
        assert _rounds_up_to(head["error"][1], error)
        assert int(outside) == len(head["rows_outside"]) <= 1
        assert row[-1] == head["verdict"] == "WITHIN"
        assert float(row[-2]) > 0 < head["speed"]


def _rounds_up_to(value: float, shown: str) -> bool:
    """Whether ``shown`` is the least three-digit number that is at least ``value``."""
    number = Decimal(shown)
    unit = Decimal(1).scaleb(number.adjusted() - 2)
    return number - unit < Decimal(value) <= number


def test_why_a_method_was_chosen_is_said_once() -> None:
    found = [examine(head, fastpath.certified_attention) for head in (FEW, replace(FEW, name="b"))]
    (reason,) = (
        remark for remark in section(found, "a test").remarks if remark.startswith("exact")
    )
    assert reason == ("exact for 2 heads: with so few queries and keys exact attention is as fast.")


def test_the_error_is_that_of_the_reference() -> None:
    answer = fastpath.attention(*FEW.matrices)
    lower, upper = attention(*FEW.matrices).distance(answer.output).largest()
    found = judge(FEW, fastpath.certified_attention)
    assert found.error is not None
    assert found.error[0] <= lower <= upper <= found.error[1]
    assert found.certificate is not None
    assert found.certificate.bound == answer.error_bound.max()


@pytest.mark.parametrize("rounded", [lambda x: x.astype(np.float16), _bfloat16])
def test_an_output_of_half_precision_is_certified_at_its_rounding(
    rounded: Callable[[Array], Array],
) -> None:
    found = judge(FEW, _certified(rounded))
    assert found.passed, found.failure
    exact = fastpath.attention(*FEW.matrices)
    worst = np.abs(rounded(exact.output).astype(float) - exact.output).max()
    assert found.certificate is not None
    assert found.certificate.bound <= worst + 2 * exact.error_bound.max()
    assert found.certificate.bound > exact.error_bound.max()
    assert found.certificate.uncovered == 0
    assert not found.rows_outside


def _of_the_documents() -> Function:
    pytest.importorskip("torch", reason="an optional peer, of the extra peers (R.certify)")
    page = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```py\n(# sdpa.py.*?)```", page, re.DOTALL)
    module: dict[str, Any] = {}
    exec(compile(source, "sdpa.py", "exec"), module)
    adapter: Function = module["certified_attention"]
    return adapter


#: The cases that docs/adapters.md says its adapter fails.
BEYOND_BFLOAT16 = {
    "huge values in float64",
    "the largest float as every value in float64",
    "subnormal values in float64",
    "tiny queries against huge keys in float64",
}
BELOW_8_BITS = {
    "a maximum that falls block by block in float32",
    "a maximum that falls block by block in float64",
    "logits below -2^30 in float64",
    "logits below -2^30 in float64, causal",
}


@pytest.mark.slow
def test_the_adapter_of_the_documents_conforms_but_where_they_say() -> None:
    outcomes = run(SimpleNamespace(certified_attention=_of_the_documents()))  # type: ignore[arg-type]
    assert {o.case.name for o in outcomes if o.failure} == BEYOND_BFLOAT16 | BELOW_8_BITS
    page = " ".join((ROOT / "docs" / "adapters.md").read_text(encoding="utf-8").split())
    asked = [o for o in outcomes if not o.missing]
    assert f"of {len(asked)} edge cases it fails four" in page


def test_the_adapter_of_the_documents_runs_where_torch_is(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, "other", certified_attention=_of_the_documents())
    status, out, _ = run_check(capsys, file, "--impl", "other", "--json")
    (head,) = json.loads(out)["real_heads"]
    assert (status, head["verdict"]) == (0, "WITHIN")
    # bfloat16 has 8 significant bits, so a unit of the last place is 2^-7 of a number or less.
    assert 2.0**-14 < head["bound_over_largest_value"] < 2.0**-4


# ------------------------------------------------------------------------------ an answer that lies


def _spoilt(rows: int, **more: Any) -> Function:
    """Return an implementation that is off in some rows and covers all but a hundredth."""

    def change(honest: Any) -> dict[str, Any]:
        output = honest.output.copy()
        output[:rows, 1] += 1
        return {"output": output, "uncovered": 0.01, **more}

    return _changed(change)


@pytest.mark.parametrize(("rows", "passes"), [(0, True), (1, True), (2, False)])
def test_the_uncovered_fraction_of_the_rows_may_be_off_and_no_more(rows: int, passes: bool) -> None:
    found = judge(FEW, _spoilt(rows))
    assert (found.passed, found.rows_outside) == (passes, tuple(range(rows)))
    assert not judge(FEW, _spoilt(1, uncovered=0.0)).passed


def _drops_last_key(Q: Array, K: Array, V: Array, **asked: Any) -> Any:
    return fastpath.certified_attention(Q, K[:-1], V[:-1], **asked)


LIARS = {
    "zero bound": _changed(lambda honest: {"error_bound": honest.error_bound * 0}),
    "a thousandth of the bound": _changed(
        lambda honest: {"error_bound": honest.error_bound / 1000, "uncovered": 0.01}
    ),
    "two rows of a hundred": _spoilt(2),
    "dropped key": _drops_last_key,
}


@pytest.mark.parametrize("name", LIARS)
def test_too_many_rows_above_their_bounds_give_exit_1(
    name: str, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, "other", certified_attention=LIARS[name])
    status, out, _ = run_check(capsys, file, "--impl", "other", "--json")
    document = json.loads(out)
    (head,) = document["real_heads"]
    assert (status, document["passed"], head["verdict"]) == (1, False, "OUTSIDE")
    assert "not every error is inside its certificate, see few" in document["summary"]
    told = " ".join(run_check(capsys, file, "--impl", "other")[1].split())
    outside = head["rows_outside"]
    assert f"few: OUTSIDE. {len(outside)} of 100 rows checked are not within their bounds" in told
    assert told.count(f"Reproduce with {head['call']}.") == 1
    arrays = {f"few/{r}": x for r, x in zip("QKV", FEW.matrices, strict=True)}
    scope = {"arrays": arrays, "certified_attention": LIARS[name], "np": np}
    exact = fastpath.attention(*FEW.matrices).output[outside[0]]
    assert not np.array_equal(eval(head["call"], scope), exact) or name.endswith("bound")


def _raises(*_: Any, **asked: Any) -> Any:
    raise RuntimeError("out of luck")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (_raises, "certified_attention raised RuntimeError: out of luck"),
        (lambda Q, K, V, **_: V, "certified_attention raised AttributeError"),
        (lambda *_, **__: SimpleNamespace(), "certified_attention raised AttributeError"),
        (_changed(lambda x: {"output": x.output[:3]}), "output must have shape (100, 3)"),
        (_changed(lambda x: {"output": x.output * np.nan}), "output holds 300 NaN"),
        (_changed(lambda x: {"output": x.output.astype(int)}), "output must hold float32"),
        (_changed(lambda x: {"error_bound": np.inf}), "error_bound holds 1 NaN or infinite"),
        (_changed(lambda x: {"uncovered": 0.5}), "uncovered must be in [0, 0.01], got 0.5"),
        (_changed(lambda x: {"uncovered": np.nan}), "uncovered must be in [0, 0.01], got nan"),
        (
            _changed(lambda x: {"failure_probability": 0.1}),
            "failure_probability must be in [0, 1e-09], got 0.1",
        ),
    ],
)
def test_an_answer_that_cannot_be_judged_gives_exit_1(
    function: Function,
    says: str,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "other", certified_attention=function)
    status, out, err = run_check(capsys, file, "--impl", "other")
    assert (status, err) == (1, "")
    assert f"few: NO ANSWER. {says}" in " ".join(out.split())
    assert json.loads(run_check(capsys, file, "--impl", "other", "--json")[1])["passed"] is False


def test_an_implementation_that_writes_to_its_arguments_cannot_move_the_truth() -> None:
    def overwrites(Q: Array, K: Array, V: Array, **asked: Any) -> Any:
        answer = fastpath.certified_attention(Q, K, V, **asked)
        V[:] = 0
        return replace(answer, output=np.zeros_like(answer.output))

    assert judge(FEW, overwrites).verdict is Verdict.OUTSIDE


# ------------------------------------------------------------------------------- what is checked


def test_of_a_large_head_some_rows_are_checked() -> None:
    def spoilt(row: int) -> CertifiedJudgement:
        def change(honest: Any) -> dict[str, Any]:
            output = honest.output.copy()
            output[row] += 1
            return {"output": output}

        return judge(FEW, _changed(change), budget=4 * 9 + 8, rng=np.random.default_rng(0))

    found = judge(FEW, fastpath.certified_attention, budget=4 * 9, rng=np.random.default_rng(0))
    assert len(found.rows) == len(set(found.rows)) == LEAST_ROWS
    some = found.rows[:3]
    assert all(spoilt(row).rows_outside == (row,) for row in some)
    assert not any(spoilt(row).passed for row in some)  # certain of every row, and wrong
    assert spoilt(next(iter(set(range(100)) - set(found.rows)))).passed


def test_the_rows_are_drawn_when_the_answer_is_fixed_from_what_nobody_knows() -> None:
    state = np.random.default_rng(0)

    def knowing(*arrays: Array, rng: np.random.Generator, **asked: Any) -> Any:
        """Be right in the rows that the generator given would draw, and in those drawn before."""
        honest = fastpath.certified_attention(*arrays, rng=rng, **asked)
        output = np.zeros_like(honest.output)
        for seed in (rng, np.random.default_rng(0), state):
            rows = checked_rows(len(FEW.Q), 9, LEAST_ROWS * 9, seed)
            output[rows] = honest.output[rows]
        return replace(honest, output=output, uncovered=0.01)

    found = [judge(FEW, knowing, budget=9) for _ in range(9)]
    # Some third of the rows is right, so that most of those drawn are outside.
    assert sum(not f.passed for f in found) > 6
    assert len({f.rows for f in found}) > 1


def test_a_right_certificate_is_convicted_by_few_rows_no_more_often_than_stated() -> None:
    """Of all heads with so many rows, the worst number outside that a certificate allows."""
    for existing, drawn in product((100, 1000, 65_536), (1, 4, LEAST_ROWS)):
        allowed = existing // 100
        least = next(
            x for x in range(drawn + 2) if _chance(existing, allowed, drawn, x) <= FALSE_ALARM
        )
        convicted = sum(
            Fraction(comb(allowed, x) * comb(existing - allowed, drawn - x), comb(existing, drawn))
            for x in range(least, drawn + 1)
        )
        assert convicted <= FALSE_ALARM
        assert _chance(existing, 0, drawn, 1) == 0  # nothing may be outside: one row convicts
        if drawn == LEAST_ROWS:
            assert least <= drawn // 3


def test_rounding_that_explains_everything_excuses_nothing() -> None:
    huge = Head("huge", *(x.astype(np.float64) for x in (FEW.Q * 1e30, FEW.K, FEW.V)))
    for function in (fastpath.certified_attention, _certified(lambda x: 0 * x)):
        found = judge(huge, function)
        assert not found.passed
        assert "asked for was 0.05 max|V|" in found.failure


def test_no_more_is_asked_than_half_of_what_trivial_answers_err() -> None:
    flat = Head("flat", FEW.Q, FEW.K, 1 + FEW.V / 64)
    mean = np.repeat(flat.V.mean(axis=0)[None], len(flat.Q), axis=0)
    examined = examine(flat, _certified(lambda _: mean))
    (found,) = examined.judgements
    exact = fastpath.attention(*flat.matrices)
    middle = (flat.V.max(axis=0) + flat.V.min(axis=0)) / 2
    # A hundredth of the rows may be left out, which is one.
    best = min(np.sort(np.abs(exact.output - x).max(axis=1))[-2] for x in (mean, middle))
    assert found.tolerance < 0.05
    asked = found.tolerance * np.abs(flat.V).max()
    assert abs(asked - best / 2) <= exact.error_bound.max()
    assert not found.passed
    assert judge(flat, fastpath.certified_attention).passed
    (remark,) = (r for r in section([examined], "a test").remarks if r.startswith("Of flat"))
    assert remark.endswith("max|V| was asked for.")


def test_zeros_with_no_bound_are_convicted_however_many_the_rows() -> None:
    Q = np.repeat(FEW.Q, 700, axis=0)
    long = Head("long", Q, FEW.K, FEW.V)

    def zeros(Q: Array, K: Array, V: Array, **asked: Any) -> Any:
        answer = fastpath.certify(
            Q, K, V, np.zeros((len(Q), V.shape[1]), V.dtype), rng=asked["rng"]
        )
        return replace(answer, error_bound=np.float64(1e-6))

    found = judge(long, zeros, budget=9)
    assert (len(found.rows), found.passed) == (LEAST_ROWS, False)
    assert "16 of 16 rows checked are not within their bounds" in found.failure


@pytest.mark.parametrize(
    "head",
    [
        Head("one", *(np.ones((1, 1)),) * 3),
        Head("zeros", FEW.Q, FEW.K, np.zeros_like(FEW.V)),
        Head("equal values", FEW.Q, FEW.K, np.full_like(FEW.V, 0.1)),
        Head("double", *(np.asfortranarray(x.astype(np.float64)) for x in FEW.matrices)),
    ],
    ids=lambda head: head.name,
)
def test_the_edges_are_judged_and_printed(head: Head) -> None:
    found = examine(head, fastpath.certified_attention)
    assert found.passed, found.judgements[0].failure
    (row,) = section([found], "a test").tables[0].rows
    assert row[-1] == "WITHIN"
