"""certify against the definition where every row can be enclosed, and by counting failures where not.

With a single key attention is that key's value in every row, so an output errs by just what the test adds.
"""

from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

import fastpath
from reference import Verdict, attention
from tests.judging import FALSE_ALARM, most_failures
from tests.strategies import attention_inputs


def head(
    n: int = 40, n_k: int = 9, d: int = 4, d_v: int = 3, seed: int = 0
) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape) for shape in ((n, d), (n_k, d), (n_k, d_v)))  # type: ignore[return-value]


def one_key(errors: Any) -> tuple[Any, Any, Any, Any]:
    """Return a head and an output whose rows err by integers, which floats hold."""
    n = len(errors)
    return np.ones((n, 1)), np.ones((1, 1)), np.zeros((1, 1)), np.asarray(errors, float)[:, None]


def rows_outside(Q: Any, K: Any, V: Any, result: fastpath.CertifiedRows) -> int:
    """Return in how many rows an entry exceeds the bound, every entry decided."""
    verdicts = attention(Q, K, V, precision=256).verdict(result.output, result.error_bound)
    assert not any(v is Verdict.UNDECIDED for v in verdicts.flat)
    return sum(any(v is Verdict.OUTSIDE for v in row) for row in verdicts)


@given(
    inputs=attention_inputs(),
    noise=st.sampled_from([0.0, 1e-3, 1.0]),
    uncovered=st.floats(1e-6, 0.99),
)
def test_where_every_row_is_checked_no_more_than_the_uncovered_fraction_exceed_the_bound(
    inputs: Any, noise: float, uncovered: float
) -> None:
    Q, K, V, _ = inputs
    rng = np.random.default_rng(0)
    output = fastpath.attention(Q, K, V).output
    output = output * (1 + noise * rng.uniform(-1, 1, output.shape)).astype(output.dtype)
    result = fastpath.certify(Q, K, V, output, uncovered=uncovered, rows=len(Q), rng=rng)
    assert result.failure_probability == 0
    assert rows_outside(Q, K, V, result) <= Fraction(uncovered) * len(Q)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_rounded_output_is_certified_at_its_rounding(dtype: type[Any]) -> None:
    Q, K, V = head()
    exact = fastpath.attention(Q, K, V)
    output = exact.output.astype(dtype)
    result = fastpath.certify(Q, K, V, output, rng=np.random.default_rng(1))
    assert rows_outside(Q, K, V, result) == 0
    # Half a unit of the type at the largest value, and what exact attention itself may err.
    rounding = float(np.spacing(np.abs(output).max())) / 2
    assert result.error_bound <= np.nextafter(rounding + 2 * exact.error_bound.max(), np.inf)
    assert result.output.dtype == dtype


def test_the_bound_is_the_largest_error_but_for_those_skipped() -> None:
    errors = np.arange(40)
    for uncovered, expected in ((0.01, 39), (0.025, 38), (0.1, 35), (0.0999, 36)):
        result = fastpath.certify(
            *one_key(errors), uncovered=uncovered, rows=40, rng=np.random.default_rng(0)
        )
        assert expected <= result.error_bound < expected + 1
        assert result.rows_skipped == 39 - expected


def failures(errors: Any, trials: int, rows: int | None, uncovered: float, allowed: float) -> int:
    """Count how often more than the uncovered fraction err by more than certified."""
    head = one_key(errors)
    rng = np.random.default_rng(7)
    count = 0
    for _ in range(trials):
        result = fastpath.certify(
            *head, uncovered=uncovered, failure_probability=allowed, rows=rows, rng=rng
        )
        assert result.failure_probability <= allowed
        count += int((errors > result.error_bound).sum() > Fraction(uncovered) * len(errors))
    return count


@pytest.mark.parametrize(("rows", "skipped"), [(None, 0), (199, 4)])
def test_planted_rows_are_missed_at_just_the_rate_of_the_claim(
    rows: int | None, skipped: int
) -> None:
    errors = np.zeros(200)
    errors[-5:] = 1 + np.arange(5)  # 2.5 %, the adversary's best against 2.49 %
    trials, uncovered, allowed = 1500, 0.0249, 0.5
    drawn = fastpath.certify(
        *one_key(errors), uncovered=uncovered, failure_probability=allowed, rows=rows,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    missed = float(binom.cdf(drawn.rows_skipped, drawn.rows_checked, 0.025))
    found = failures(errors, trials, rows, uncovered, allowed)
    assert drawn.rows_skipped == skipped
    assert int(binom.ppf(FALSE_ALARM, trials, missed)) <= found <= most_failures(trials, allowed)
    assert found <= most_failures(trials, missed)


DISTRIBUTIONS = {
    "one magnitude, just above the uncovered fraction": lambda rng, n: (
        (rng.permutation(n) < 0.06 * n) * 9.0
    ),
    "all different": lambda rng, n: rng.permutation(n).astype(float),
    "heavy tail": lambda rng, n: np.floor(rng.pareto(0.5, n).clip(0, 1e12)),
    "ties": lambda rng, n: rng.integers(0, 3, n).astype(float),
    "blocks": lambda rng, n: np.repeat(rng.integers(0, 9, n // 10), 10).astype(float),
}


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
@pytest.mark.parametrize("trials", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_no_distribution_of_errors_is_missed_more_often_than_stated(kind: str, trials: int) -> None:
    rng = np.random.default_rng(3)
    missed = sum(
        failures(DISTRIBUTIONS[kind](rng, 300), 1, rows, 0.055, 0.05)
        for rows in rng.choice([None, 100, 200], trials)
    )
    assert missed <= most_failures(trials, 0.05)


def test_two_percent_of_corrupted_rows_are_found() -> None:
    Q, K, V = head(n=4000, n_k=16)
    exact = fastpath.attention(Q, K, V)
    corrupted = exact.output.copy()
    corrupted[::50, 1] += 1
    honest = fastpath.certify(Q, K, V, exact.output, rng=np.random.default_rng(5))
    result = fastpath.certify(Q, K, V, corrupted, rng=np.random.default_rng(5))
    assert honest.rows_checked == 2062
    assert honest.error_bound <= 2 * exact.error_bound.max()
    assert result.error_bound >= 1 - 2 * exact.error_bound.max()


def test_nothing_is_modified_and_the_draw_is_the_generators() -> None:
    Q, K, V = head(n=3000)
    output = fastpath.attention(Q, K, V).output + np.arange(3000)[:, None] * 2.0**-20
    copies = [x.copy() for x in (Q, K, V, output)]
    first, again, other = (
        fastpath.certify(Q, K, V, output, rng=np.random.default_rng(s)).error_bound
        for s in (1, 1, 2)
    )
    assert first == again != other
    assert all(np.array_equal(a, b) for a, b in zip(copies, (Q, K, V, output), strict=True))


def test_so_rare_a_failure_that_all_rows_would_not_do_checks_every_row() -> None:
    for extreme in ({"uncovered": 5e-324}, {"failure_probability": 5e-324}):
        Q, K, V, output = one_key(np.arange(50))
        result = fastpath.certify(Q, K, V, output, rng=np.random.default_rng(0), **extreme)
        assert (result.rows_checked, result.failure_probability) == (50, 0)


NAN_ROW = np.zeros((40, 3))
NAN_ROW[17, 2] = np.nan

BAD = {
    "uncovered 0": ({"uncovered": 0.0}, ValueError, r"uncovered must be in \(0, 1\), got 0.0"),
    "uncovered 1": ({"uncovered": 1}, ValueError, r"uncovered must be in \(0, 1\), got 1"),
    "uncovered NaN": ({"uncovered": np.nan}, ValueError, "uncovered must be in"),
    "uncovered text": ({"uncovered": "1%"}, TypeError, "uncovered must be a number, got '1%'"),
    "probability 0": ({"failure_probability": 0.0}, ValueError, "failure_probability must be in"),
    "too many rows": ({"rows": 41}, ValueError, r"rows must be in \[40, 40\] .*, got 41"),
    "too few rows": (
        {"rows": 3, "uncovered": 0.5, "failure_probability": 0.1},
        ValueError,
        r"rows must be in \[4, 40\] .*, got 3",
    ),
    "rows no integer": ({"rows": 20.0}, TypeError, "rows must be an integer, got 20.0"),
    "no generator": ({"rng": 0}, TypeError, "rng must be a numpy.random.Generator, got 0"),
    "shape": ({"output": np.zeros((40, 2))}, ValueError, r"shape \(40, 3\), got \(40, 2\)"),
    "NaN": ({"output": NAN_ROW}, ValueError, "NaN or infinity in row 17"),
    "integers": (
        {"output": np.zeros((40, 3), int)},
        TypeError,
        "float16, float32 or float64, got int64",
    ),
    "too large": (
        {"output": np.full((40, 3), 1e308)},
        ValueError,
        r"exceed 2\^1022 .*, got 1e\+308",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case: str) -> None:
    changed, error, message = BAD[case]
    Q, K, V = head()
    arguments = {"output": np.zeros((40, 3)), "rng": np.random.default_rng(0)} | changed
    with pytest.raises(error, match=message):
        fastpath.certify(Q, K, V, **arguments)


def test_an_output_that_is_exact_attentions_is_certified_at_its_bound() -> None:
    """Catches: the error of exact attention left out of that of an output."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((30, 3)) for _ in range(3))
    exact = fastpath.attention(Q, K, V)
    found = fastpath.certify(Q, K, V, exact.output, uncovered=1e-3, rng=rng)
    assert found.error_bound >= exact.error_bound.max()


def test_so_many_rows_are_drawn_as_the_probability_takes() -> None:
    """Catches: one row too few, or one more skipped, by the tail of the binomial distribution."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((400, 1)) for _ in range(3))
    output = fastpath.attention(Q, K, V).output
    for rows in (None, 120, 250):
        found = fastpath.certify(
            Q, K, V, output, uncovered=0.1, failure_probability=1e-3, rows=rows, rng=rng
        )
        tail = sum(
            comb(found.rows_checked, i)
            * Fraction(0.1) ** i
            * (1 - Fraction(0.1)) ** (found.rows_checked - i)
            for i in range(found.rows_skipped + 1)
        )
        assert tail <= Fraction(found.failure_probability) <= Fraction(1e-3)
