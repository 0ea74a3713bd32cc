"""certify against the definition where every row can be enclosed, and by counting failures where not.

With a single key attention is that key's value in every row, so an output errs by just what the test adds.
"""

from fractions import Fraction
from itertools import product
from math import comb, floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

import fastpath
from fastpath.core.bounds.real_heads import certify_failure
from fastpath.core.semantics import semantics
from fastpath.exact.attention import attend_heads
from fastpath.real_heads.certify import LARGEST_SKIPPED, fewest_rows, rows_skipping
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


def rows_outside(
    Q: Any, K: Any, V: Any, result: fastpath.CertifiedRows, *, causal: bool = False
) -> int:
    """Return in how many rows an entry exceeds the bound, every entry decided."""
    truth = attention(Q, K, V, causal=causal, precision=256)
    verdicts = truth.verdict(result.output, result.error_bound)
    assert not any(v is Verdict.UNDECIDED for v in verdicts.flat)
    return sum(any(v is Verdict.OUTSIDE for v in row) for row in verdicts)


@given(
    inputs=attention_inputs(),
    noise=st.sampled_from([0.0, 1e-3, 1.0]),
    uncovered=st.floats(1e-6, 0.99),
)
def test_where_every_row_is_checked_none_exceeds_the_bound(
    inputs: Any, noise: float, uncovered: float
) -> None:
    Q, K, V, causal = inputs
    rng = np.random.default_rng(0)
    output = fastpath.attention(Q, K, V, causal=causal).output
    output = output * (1 + noise * rng.uniform(-1, 1, output.shape)).astype(output.dtype)
    result = fastpath.certify(
        Q, K, V, output, causal=causal, uncovered=uncovered, rows=len(Q), rng=rng
    )
    assert (result.uncovered, result.failure_probability, result.rows_skipped) == (0, 0, 0)
    assert result.claims == fastpath.attention(Q, K, V, causal=causal).claims
    assert rows_outside(Q, K, V, result, causal=causal) == 0


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


def test_checked_rows_are_all_covered() -> None:
    errors = np.arange(300) * 2.0**-17
    for rows in (None, 300):
        result = fastpath.certify(*one_key(errors), rows=rows, rng=np.random.default_rng(0))
        assert (result.rows_checked, result.rows_skipped) == (300, 0)
        assert (result.uncovered, result.failure_probability) == (0, 0)
        assert errors[-1] <= result.error_bound < errors[-1] + 2.0**-17
        assert "R.certify" not in result.claims


def test_the_bound_is_the_largest_error_drawn_but_for_those_skipped() -> None:
    errors = np.arange(400)
    repeated = False
    for (rows, skipped), seed in product(((230, 0), (399, 2)), range(9)):
        result = fastpath.certify(
            *one_key(errors), uncovered=0.0249, failure_probability=0.01, rows=rows,
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        drawn = np.sort(np.random.default_rng(seed).integers(0, 400, rows))[::-1]
        assert result.rows_skipped == skipped
        assert drawn[skipped] <= result.error_bound < drawn[skipped] + 1
        assert result.uncovered == 0.0249
        assert "R.certify" in result.claims
        repeated |= drawn[skipped] != np.unique(drawn)[-1 - skipped]
    assert repeated


def missed(rows: int, skipped: int, bad: int, existing: int) -> Fraction:
    """Return the probability that at most ``skipped`` of the rows drawn are among the bad ones."""
    return sum(
        (
            comb(rows, i) * Fraction(bad, existing) ** i * Fraction(existing - bad, existing) ** (rows - i)
            for i in range(skipped + 1)
        ),
        Fraction(0),
    )  # fmt: skip


@pytest.mark.parametrize("most", [16, pytest.param(80, marks=pytest.mark.slow)])
@pytest.mark.parametrize("nudged", [0, 1, -1], ids=["k of n", "just above", "just below"])
def test_no_number_of_bad_rows_is_missed_more_often_than_stated(nudged: int, most: int) -> None:
    """Every n, fractions at which a row more is uncovered, the adversary's best number of rows."""
    tried = 0
    for existing, part, allowed in product(range(2, most), range(1, 9), (0.5, 0.1, 1e-3)):
        if part >= existing:
            continue
        uncovered = float(np.nextafter(part / existing, part / existing + nudged))
        fewest = fewest_rows(uncovered, allowed, existing)
        bad = floor(Fraction(uncovered) * existing) + 1
        for rows in {fewest, (fewest + existing) // 2, existing - 1} - {existing}:
            if rows < fewest:
                continue
            result = fastpath.certify(
                *one_key(np.arange(existing) >= existing - bad), uncovered=uncovered,
                failure_probability=allowed, rows=rows, rng=np.random.default_rng(0),
            )  # fmt: skip
            stated = Fraction(result.failure_probability)
            assert missed(rows, result.rows_skipped, bad, existing) <= stated <= Fraction(allowed)
            tried += 1
    assert tried > 6 * most


def test_a_probability_below_every_float_is_not_stated_as_certainty() -> None:
    head = one_key(np.zeros(5000))
    result = fastpath.certify(
        *head, uncovered=0.5, rows=4000, failure_probability=0.1, rng=np.random.default_rng(0)
    )
    assert result.rows_checked < 5000
    assert result.failure_probability > 0


@pytest.mark.parametrize("n", [1, 2, 3, 255, 256, 257, 700])
def test_causal_rows_are_compared_with_what_they_may_see(n: int) -> None:
    Q, K, V = head(n, n)
    exact = fastpath.attention(Q, K, V, causal=True)
    asked: dict[str, Any] = {"uncovered": 0.5, "failure_probability": 0.6, "causal": True}
    for rows in (1, n):
        result = fastpath.certify(
            Q, K, V, exact.output, rows=rows, rng=np.random.default_rng(2), **asked
        )
        assert result.rows_checked == rows
        assert result.error_bound <= 2 * exact.error_bound.max()


def test_a_causal_row_that_sees_a_key_too_many_or_too_few_is_found() -> None:
    n = 600
    Q, K, V = (np.ones((n, 1)), np.zeros((n, 1)), np.arange(n)[:, None] * 1.0)
    for seen in (1, -1):
        # Equal weights: the mean of the keys 0 ... i is i/2, and a key more moves it by a half.
        output = np.maximum(np.arange(n) + seen, 0)[:, None] / 2
        result = fastpath.certify(Q, K, V, output, causal=True, rng=np.random.default_rng(0))
        assert 0.5 <= result.error_bound < 0.5 + 2.0**-30
        some = fastpath.certify(
            Q, K, V, output, causal=True, rows=50, uncovered=0.1, failure_probability=0.1,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        assert 0.5 <= some.error_bound < 0.5 + 2.0**-30


def test_what_is_exact_for_a_causal_row_is_the_same_whichever_others_are_drawn() -> None:
    Q, K, V = (x.astype(np.float32) for x in head(900, 900))
    whole = fastpath.attention(Q, K, V, causal=True)
    rows = np.array([0, 3, 255, 256, 300, 899])
    options = semantics((), len(Q), len(K), causal=True)
    some = attend_heads(Q[rows], K, V, options, 1, rows)
    for i, output, bound in zip(rows, some.output, some.error_bound, strict=True):
        truth = attention(Q[i : i + 1], K[: i + 1], V[: i + 1])
        assert all(v is Verdict.WITHIN for v in truth.verdict(output[None], bound[None]).flat)
    assert (some.error_bound <= 2 * whole.error_bound[rows]).all()


def test_a_difference_that_rounds_down_is_covered() -> None:
    Q, K, V, output = one_key([0])
    V, output = V + 1, output - 2.0**-60  # the error is 1 + 2^-60, and its float 1
    result = fastpath.certify(Q, K, V, output, rng=np.random.default_rng(0))
    assert rows_outside(Q, K, V, result) == 0


def test_no_more_than_a_few_errors_are_skipped_however_many_rows_are_drawn() -> None:
    head = one_key(np.zeros(9000))
    result = fastpath.certify(*head, uncovered=0.1, rows=8000, rng=np.random.default_rng(0))
    assert result.rows_skipped == LARGEST_SKIPPED


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
    probability = float(missed(drawn.rows_checked, drawn.rows_skipped, 5, 200))
    found = failures(errors, trials, rows, uncovered, allowed)
    assert drawn.rows_skipped == skipped
    assert (
        int(binom.ppf(FALSE_ALARM, trials, probability)) <= found <= most_failures(trials, allowed)
    )
    assert found <= most_failures(trials, probability)


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
    failed = sum(
        failures(DISTRIBUTIONS[kind](rng, 300), 1, rows, 0.055, 0.05)
        for rows in rng.choice([None, 100, 200], trials)
    )
    assert failed <= most_failures(trials, 0.05)


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
    "complex numbers": (
        {"output": np.zeros((40, 3), complex)},
        TypeError,
        "floats of at most 64 bits or integers, got complex128",
    ),
    "a mask": (
        {"output": np.ma.masked_array(np.zeros((40, 3)), mask=np.ones((40, 3)))},
        TypeError,
        "output must be a plain array",
    ),
    "causal": ({"causal": True}, ValueError, "causal=True needs as many queries as keys, got 40"),
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


def test_rows_of_which_some_errors_may_be_skipped_are_enough_and_few() -> None:
    for skipped in range(4):
        rows = rows_skipping(skipped, 0.01, 1e-9, 10**6)
        assert certify_failure(rows, skipped, 0.01) <= 1e-9
        assert certify_failure(rows - rows // 32, skipped, 0.01) > 1e-9 or not skipped
    assert rows_skipping(0, 0.01, 1e-9, 10**6) == fewest_rows(0.01, 1e-9, 10**6)
    assert rows_skipping(2, 0.01, 1e-9, 2500) == 2500


@pytest.mark.parametrize("chance", [0.0, 5e-324, 1e-323])
@pytest.mark.parametrize("uncovered", [1e-9, 0.01, 0.999])
def test_for_the_least_failure_probabilities_there_are_rows_enough(
    chance: float, uncovered: float
) -> None:
    """Half of the least is 0, and what is rounded upward never falls below it: every row will do."""
    assert 0 < fewest_rows(uncovered, chance, 5000) <= 5000
    assert 0 < rows_skipping(2, uncovered, chance, 5000) <= 5000
