"""Every term of polynomial attention's certificate is one that something depends on."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastpath.polynomial.minimax
from fastpath.polynomial.attention import CAUSAL_BLOCK, _causal_roundings
from fastpath.polynomial.minimax import CELLS, bounds_on_values, certify, minimax, widened
from fastpath.polynomial.moments import (
    Block,
    Queries,
    certified_error,
    query_roundings,
    rounding_bound,
    sum_roundings,
)
from reference import Enclosure, Verdict, attention_verdict, evaluate
from reference.polynomials import kappa
from specs import CLAIMS

BITS = 512
UNIT = Fraction(1, 2**53)

#: What UPWARD leaves of a certificate: every term that is left out weighs far more.
ROUNDED = 1 - Fraction(1, 2**38)

#: What the ends of an interval round, relative to its width: an ulp of a value to 44 of its roundings.
ENDS = Fraction(1, 32)


def _claimed(amplification: Fraction, roundings: int, unit: Fraction) -> Fraction:
    (bound,) = CLAIMS["FP.moments"].bounds
    values = {
        "magnitude": 1,
        "rounding": roundings * UNIT,
        "amplification": amplification,
        "underflow": 0,
        "quotient": 1,
        "unit_roundoff": unit,
        "tiny": 0,
    }
    return Fraction(evaluate(bound.expression, values, BITS).bounds()[0].item())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-11], ids=["polynomial", "rounding"])
def test_the_certificate_is_the_claims_bound_term_by_term(
    dtype: type[Any], tolerance: float
) -> None:
    """One variable, so that a logit's bound is the logit; a tolerance that leaves all to rounding too."""
    if tolerance < 2.0**-24 and dtype is np.float32:
        tolerance = 2.0**-23
    half = dtype(1.5)
    K = np.linspace(-1, 1, 65, dtype=dtype)[:, None]
    Q = np.linspace(-1, 1, 9, dtype=dtype)[:, None] * half
    V = np.concatenate([K, dtype(1) + K / 8], axis=1)
    result = fastpath.polynomial_attention(Q, K, V, tolerance=tolerance)
    degree = result.expansion.degree
    polynomial = minimax(degree, widened(result.expansion.logit_bound))
    absolute = sum(
        abs(Fraction(float(c))) * Fraction(float(half)) ** m
        for m, c in enumerate(polynomial.coefficients)
    )
    x = Q.astype(float) @ K.astype(float).T
    least = np.polynomial.polynomial.polyval(x, polynomial.coefficients).mean(axis=1).min()
    # Powers and centring; 65 keys; multinomials, coefficient and sum; the query's powers.
    roundings = 2 * degree + 65 + (2 * degree + 2 + 2) + degree
    unit = UNIT + (Fraction(1, 2**24) if dtype is np.float32 else 0)
    rounding = _claimed(absolute / Fraction(float(least)), roundings, unit)
    for i, query in enumerate(Q[:, 0]):
        cell = min(int(np.ceil(abs(float(query)) / polynomial.radius * CELLS)), CELLS)
        variation = Fraction(float(polynomial.total_variations[cell]))
        for column, (spread, magnitude) in enumerate(((2, 1), (Fraction(1, 4), Fraction(9, 8)))):
            claimed = variation * spread + magnitude * rounding
            claimed = min(claimed, Fraction(spread)) * ROUNDED
            assert Fraction(float(result.error_bound[i, column])) >= claimed


def test_subnormal_averages_err_by_half_of_the_smallest_number() -> None:
    """Catches: the underflow of the output left out."""
    smallest = np.finfo(np.float32).smallest_subnormal
    V = np.array([[1, smallest], [-1, 2 * smallest]], np.float32)
    Q, K = np.zeros((1, 1), np.float32), np.array([[0], [1]], np.float32)
    result = fastpath.polynomial_attention(Q, K, V, tolerance=0.75)
    verdict, _ = attention_verdict(Q, K, V, result.output, result.error_bound)
    assert verdict is Verdict.WITHIN


def test_a_denominator_that_may_vanish_certifies_nothing() -> None:
    assert rounding_bound(minimax(2, 1.0), 1.0, 10, 0.0, np.dtype(np.float64)) == np.inf
    assert rounding_bound(minimax(2, 1.0), 1.0, 10, -0.5, np.dtype(np.float64)) == np.inf


def test_the_error_known_beforehand_covers_a_denominator_that_rounds() -> None:
    """Catches: its rounding left out, which shows where rounding is most of what is certified."""
    polynomial, dtype = minimax(30, 12.0), np.dtype(np.float64)
    K, V = np.array([[-1.0], [1.0]]), np.array([[-1.0], [1.0]])
    ranges = Block.of(K, V).ranges
    queries = Queries.of(np.array([[11.5]]), ranges)
    roundings = 50_000
    rounding = rounding_bound(polynomial, queries.reach, roundings, polynomial.lowest, dtype)
    assert 0.01 < rounding < 0.5
    worst = rounding_bound(
        polynomial, queries.reach, roundings, polynomial.lowest * (1 - rounding), dtype
    )
    least = 2 * polynomial.total_variation + worst
    assert certified_error(polynomial, queries, ranges, roundings, dtype) >= least
    # Of values that are next to nothing, only what underflows is left.
    tiny = Block.of(K, V * 1e-320).ranges
    assert certified_error(polynomial, queries, tiny, 1, dtype) >= np.finfo(float).tiny


def test_a_causal_rows_own_keys_are_counted() -> None:
    """A product and a sum a variable for each logit, twice a degree, and the sum of one more block."""
    for d, degree, count in ((1, 4, 10), (3, 7, 1000)):
        by_moments = 2 * degree + min(count, CAUSAL_BLOCK) + -(-count // CAUSAL_BLOCK)
        assert sum_roundings(degree, count, CAUSAL_BLOCK) >= by_moments
        one_by_one = d * degree + 2 * degree + degree + min(count, CAUSAL_BLOCK) + 1
        total = _causal_roundings(d, degree, count) + query_roundings(d, degree)
        assert total >= by_moments + query_roundings(d, degree)
        assert _causal_roundings(d, degree, count) >= one_by_one


def _derivative(coefficients: Any, order: int) -> list[Fraction]:
    """Return the exact coefficients of (d/dx - 1)^order P."""
    exact = [Fraction(float(c)) for c in coefficients]
    for _ in range(order):
        slope = [*(m * c for m, c in enumerate(exact) if m), Fraction(0)]
        exact = [s - c for s, c in zip(slope, exact, strict=True)]
    return exact


@pytest.mark.parametrize("derivative", [0, 2, 4])
@pytest.mark.parametrize(("degree", "radius"), [(4, 1.0), (14, 8.0)])
def test_derivatives_on_the_grid_err_by_their_coefficients(
    degree: int, radius: float, derivative: int
) -> None:
    """Catches: their rounding left out of the width, though what was lost is less here."""
    coefficients = minimax(degree, radius).coefficients
    x = np.array([-radius, 0.0, radius / 3])
    low, high = bounds_on_values(coefficients, x, derivative)
    exact = _derivative(coefficients, derivative)
    absolute = [abs(c) for c in exact]
    for point, below, above in zip(x, low, high, strict=True):
        t = Fraction(float(point))
        decay = Fraction((-Enclosure.exact(np.array(point), BITS)).exp().bounds()[0].item())
        value = sum(c * t**m for m, c in enumerate(exact)) * decay
        allowance = Fraction(1, 2**200)
        assert Fraction(float(below)) <= value + allowance
        assert Fraction(float(above)) >= value - allowance
        # Horner's rule, exp and the product, and two roundings a derivative of every coefficient.
        size = sum(c * abs(t) ** m for m, c in enumerate(absolute)) * decay
        roundings = (4 * (degree + 1) + 40 + 4 * derivative) * UNIT
        assert Fraction(float(above)) - Fraction(float(below)) >= 2 * roundings * size * (1 - ENDS)


def test_the_curvature_is_bounded_between_grid_points() -> None:
    """Catches: curvature of one sign only.  P e^-x = 1 - (x - step/2)^2, nearly, is largest off the grid."""
    radius = 0.5
    step = radius / CELLS
    coefficients = (
        np.polynomial.chebyshev.Chebyshev.interpolate(
            lambda x: (1 - (x - step / 2) ** 2) * np.exp(x), 14, [-radius, radius]
        )
        .convert(kind=np.polynomial.Polynomial)
        .coef
    )
    (bound,) = CLAIMS["S.kappa"].bounds
    exact = evaluate(bound.expression, {"kappa": kappa(coefficients, radius, precision=BITS)}, BITS)
    certified = certify(coefficients, radius).total_variation
    assert Fraction(exact.bounds()[1].item()) <= Fraction(certified)


def test_each_derivative_bounds_the_last_and_the_sixth_is_bounded_by_its_coefficients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []

    def recording(name: str) -> Any:
        bound = getattr(fastpath.polynomial.minimax, name)

        def record(*arguments: Any) -> Any:
            calls.append((arguments, bound(*arguments)))
            return calls[-1][1]

        return record

    for name in ("grid_curvature", "kappa_grid"):
        monkeypatch.setattr(fastpath.polynomial.minimax, name, recording(name))
    coefficients, radius = np.array([1.0, 1.0, 0.5, 0.25]), 3.0
    certify(coefficients, radius)
    ((_, sixth, first), fourth), ((_, given, second), curvature), ((_, _, last, third), _) = calls
    size = sum(abs(c) * Fraction(3) ** m for m, c in enumerate(_derivative(coefficients, 6)))
    growth = Fraction(Enclosure.exact(3, BITS).exp().bounds()[0].item())
    assert Fraction(sixth) >= size * growth
    assert (given, last) == (fourth, curvature)
    step = max(
        Fraction(b) - Fraction(a) for a, b in pairwise(np.linspace(0, 3, CELLS + 1).tolist())
    )
    assert min(map(Fraction, (first, second, third))) >= step


def test_logits_beyond_the_reach_are_out_of_range_at_any_degree() -> None:
    K, V = np.array([[-1.0], [1.0]]), np.array([[-1.0], [1.0]])
    ranges = Block.of(K, V).ranges
    within = [Queries.of(np.array([[x]]), ranges).within_range(0) for x in (31.0, 33.0)]
    assert within == [True, False]
