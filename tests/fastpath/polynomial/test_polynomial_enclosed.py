"""Polynomial attention against the reference: within its certificate, which an adversary reaches."""

import types
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath import Certified, MomentState
from fastpath.polynomial.attention import CAUSAL_BLOCK
from fastpath.polynomial.minimax import CELLS, bounds_on_values, certify, minimax
from fastpath.polynomial.moments import (
    Block,
    Moments,
    Queries,
    query_roundings,
    rounding_bound,
    sum_roundings,
)
from proofs.evidence import conformance
from proofs.evidence.conformance import Case
from reference import Enclosure, Verdict, attention, attention_verdict, evaluate
from reference.polynomials import extremes, kappa, levelled_ratio
from specs import CLAIMS

BITS = 192

#: How much of its certificate the adversary's error must reach (issue: "reaches >= 0.999 of the bound").
REACHED = Fraction(999, 1000)


def _module(tolerance: float) -> types.ModuleType:
    """Return polynomial attention under the interface that the suite judges."""

    def of(Q: Any, K: Any, V: Any, *, causal: bool = False) -> Certified:
        return fastpath.polynomial_attention(Q, K, V, tolerance=tolerance, causal=causal)

    module = types.ModuleType("polynomial")
    module.attention = of  # type: ignore[attr-defined]
    return module


def _holds_its_certificate(implementation: types.ModuleType, case: Case) -> None:
    """Assert that every entry is within its own bound: how large that may be is not the question here."""
    result = implementation.attention(case.Q, case.K, case.V, causal=case.causal)
    bound = np.broadcast_to(result.error_bound, result.output.shape)
    verdict, truth = attention_verdict(
        case.Q, case.K, case.V, result.output, bound, causal=case.causal
    )
    largest = float(truth.distance(result.output).largest()[1])
    assert verdict is Verdict.WITHIN, f"{case.name}: the error is up to {largest:.6g}"


def _certifies(case: Case, tolerance: float) -> bool:
    try:
        _module(tolerance).attention(case.Q, case.K, case.V, causal=case.causal)
    except fastpath.ExpansionError:
        return False
    return True


LOOSE, TIGHT = 1e-2, 1e-6
CASES = [
    (case, tolerance)
    for case in conformance.plain_cases()
    for tolerance in (LOOSE, TIGHT)
    if _certifies(case, tolerance)
]


def test_every_edge_is_certified_but_where_logits_are_huge() -> None:
    """Real heads have logits of 5 to 80 in 32 dimensions; subnormal values leave no digits to certify."""
    refused = {case.name for case in conformance.plain_cases()} - {case.name for case, _ in CASES}
    reasons = ("minilm", "smollm", "logits", "a maximum that", "takes all", "subnormal values")
    assert [name for name in refused if not any(reason in name for reason in reasons)] == []


@pytest.mark.parametrize(
    ("case", "tolerance"), CASES, ids=lambda x: x.name if isinstance(x, Case) else f"{x:g}"
)
def test_every_entry_is_within_its_certificate(case: Case, tolerance: float) -> None:
    _holds_its_certificate(_module(tolerance), case)


def _bounded(n: int, d: int, half_range: float, dtype: type[Any]) -> tuple[Any, Any, Any]:
    """Draw keys and queries in balls, the outermost on the sphere, so that logits reach half_range."""
    rng = np.random.default_rng(n + d)

    def ball() -> Any:
        x = rng.standard_normal((n, d))
        return x / np.linalg.norm(x, axis=1).max() * np.sqrt(half_range)

    return ball().astype(dtype), ball().astype(dtype), rng.standard_normal((n, 2)).astype(dtype)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("d", "half_range", "tolerance"),
    [(1, 0.01, 1e-6), (1, 8.0, 1e-2), (2, 1.0, 1e-3), (3, 4.0, 1e-3), (6, 1.0, 1e-4)],
)
def test_every_entry_is_within_its_certificate_at_every_range(
    d: int, half_range: float, tolerance: float, dtype: type[Any], causal: bool
) -> None:
    Q, K, V = _bounded(CAUSAL_BLOCK + 40 if causal else 60, d, half_range, dtype)
    _holds_its_certificate(
        _module(tolerance), Case("bounded logits", "a wrong polynomial", Q, K, V, causal)
    )


def test_a_state_is_within_its_certificate_after_moves_and_merges() -> None:
    Q, K, V = _bounded(60, 2, 1.0, np.float64)
    K = K + np.array([2.0, -1.0])

    def of(Q: Any, K: Any, V: Any, *, causal: bool = False) -> Certified:
        states = [MomentState(2, 2, 6, centre=[i, -i]) for i in range(3)]
        for i, state in enumerate(states):
            state.update(K[i::3], V[i::3])
        for state in states[1:]:
            states[0].merge(state.recentred(states[0].centre))
        return states[0].recentred([5.0, 5.0]).query(Q)

    module = types.ModuleType("state")
    module.attention = of  # type: ignore[attr-defined]
    _holds_its_certificate(
        module, Case("moved and merged", "a move that rounds more than it says", Q, K, V)
    )


# ------------------------------------------------------------------------- the certificate is sharp


@pytest.mark.parametrize("half_range", [0.75, 1.0, 2.0])
def test_an_adversary_reaches_the_certificate(half_range: float) -> None:
    """The best even polynomial is as much too large at one end as too small at the other.

    Two groups of keys there, of equal weight together and with values +-1, lose all of it.
    """
    copies = round(1000 * np.exp(2 * half_range * (1 - 2.0**-20)))
    Q = np.array([[half_range * (1 - 2.0**-20)]])
    K = np.repeat([[1.0], [-1.0]], [1000, copies], axis=0)
    V = K.copy()
    result = fastpath.polynomial_attention(Q, K, V, tolerance=1e-3)
    assert result.expansion.degree % 2 == 0
    (error,) = attention(Q, K, V, precision=BITS).distance(result.output).bounds()[0].flat
    assert REACHED * Fraction(float(result.error_bound.item())) <= error


def _total_variation(ratio: Enclosure) -> tuple[Fraction, Fraction]:
    (bound,) = CLAIMS["S.kappa"].bounds
    low, high = evaluate(bound.expression, {"kappa": ratio}, BITS).bounds()
    return Fraction(low.item()), Fraction(high.item())


def _taylor(degree: int) -> Any:
    return np.cumprod([1.0, *(1 / np.arange(1, degree + 1))])


@pytest.mark.parametrize(
    ("coefficients", "radius"),
    [
        (minimax(4, 1.0).coefficients, 1.0),
        (minimax(5, 1.0).coefficients, 1.0),
        (minimax(9, 4.0).coefficients, 4.0),
        (minimax(14, 8.0).coefficients, 8.0),
        (minimax(0, 0.5).coefficients, 0.5),
        (_taylor(2), 1.0),
        (_taylor(11), 3.0),
        (
            np.polynomial.chebyshev.Chebyshev.interpolate(np.exp, 6, [-2, 2])
            .convert(kind=np.polynomial.Polynomial)
            .coef,
            2.0,
        ),
        (np.array([3.0, 2.0, 1.5, 0.5]), 1.5),
    ],
    ids=["4", "5", "9", "14", "constant", "Taylor 2", "Taylor 11", "Chebyshev", "any cubic"],
)
def test_the_total_variations_bound_those_of_exact_kappa_closely(
    coefficients: Any, radius: float
) -> None:
    certified = certify(coefficients, radius)
    for cell in (CELLS // 64, CELLS // 3, CELLS // 2 + 1, CELLS):
        within = float(np.linspace(0.0, radius, CELLS + 1)[cell])
        low, high = _total_variation(kappa(coefficients, within, precision=BITS))
        given = Fraction(float(certified.total_variations[cell]))
        assert high <= given
        if cell == CELLS:
            assert given <= low * Fraction(51, 50)  # a coarser certificate would cost a degree


@pytest.mark.parametrize(("degree", "radius"), [(4, 1.0), (9, 4.0), (14, 8.0)])
def test_the_lowest_value_is_below_the_polynomial(degree: int, radius: float) -> None:
    certified = minimax(degree, radius)
    assert certified.lowest > 0
    ratio = extremes(certified.coefficients, radius, precision=BITS)
    decay = (-Enclosure.exact(np.array(radius), BITS)).exp()
    assert Fraction(certified.lowest) <= Fraction((ratio.min() * decay).bounds()[0].item())


@pytest.mark.parametrize("radius", [2.0**-10, 0.3, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5, 8, 11])
def test_no_polynomial_of_the_degree_is_much_better(degree: int, radius: float) -> None:
    """The levels of the error between its sign changes are a floor for every polynomial: P2.minimax."""
    found = minimax(degree, radius)
    if found.degree < degree or found.total_variation >= 1:
        assert found.total_variation < 2.0**-44 or degree < radius  # rounding, or hopeless
        return
    floor, _ = _total_variation(levelled_ratio(found.coefficients, radius, precision=BITS))
    assert Fraction(found.total_variation) <= floor * Fraction(51, 50) + Fraction(1, 2**44)


@pytest.mark.parametrize(
    ("half_range", "tolerance"),
    [
        *product([0.25, 1.0, 2.0, 4.0, 7.0], [0.5, 1e-1, 1e-2, 1e-3, 1e-5]),
        *product([8.0, 9.0], [0.5, 1e-2]),  # where the first guess is two too high
    ],
)
def test_the_degree_is_at_most_one_above_the_least_that_certifies(
    half_range: float, tolerance: float
) -> None:
    """Two degrees less cannot certify, whatever the polynomial: its kappa has a floor."""
    Q, K = np.array([[half_range]]), np.array([[1.0], [-1.0], [0.3]])
    V = K.copy()
    degree = fastpath.polynomial_attention(Q, K, V, tolerance=tolerance).expansion.degree
    if degree < 2:
        return
    best = minimax(degree - 2, half_range)
    floor, _ = _total_variation(levelled_ratio(best.coefficients, half_range, precision=BITS))
    spread, magnitude = 2, 1
    assert floor * spread > Fraction(tolerance) * magnitude


# ---------------------------------------------------------------------------------- rounding is in it


@pytest.mark.parametrize(("degree", "radius"), [(4, 1.0), (9, 4.0), (18, 11.0)])
def test_the_rounding_of_a_value_on_the_grid_is_the_claims_bound(
    degree: int, radius: float
) -> None:
    """Two roundings a degree, of the absolute value: the least that Horner's rule may lose."""
    coefficients = minimax(degree, radius).coefficients
    x = np.array([-radius, -radius / 3, 0.0, radius])
    low, high = bounds_on_values(coefficients, x)
    (bound,) = CLAIMS["FP.polynomial"].bounds
    for point, below, above in zip(x, low, high, strict=True):
        decay = (-Enclosure.exact(np.array(point), BITS)).exp()
        size = sum(
            abs(Fraction(float(c))) * abs(Fraction(float(point))) ** m
            for m, c in enumerate(coefficients)
        )
        claimed = evaluate(
            bound.expression,
            {
                "absolute": decay * size,
                "roundings": 2 * degree + 3,
                "unit_roundoff": Fraction(1, 2**53),
            },
            BITS,
        )
        width = Fraction(float(above)) - Fraction(float(below))
        assert 2 * Fraction(claimed.bounds()[1].item()) <= width


def test_merges_and_moves_are_counted() -> None:
    K, V = np.array([[1.0, 0.0], [-1.0, 2.0]]), np.ones((2, 1))
    block = Moments.of(Block.of(K, V, np.zeros(2)), 3)
    assert block.merged(block).roundings == block.roundings + 1
    shift = np.array([3.0, -4.0])
    there = block.about(shift)
    back = there.about(-shift)
    assert block.moved == 0 < 5 <= there.moved < 10 <= back.moved
    # A power of each variable takes 3 differences of a product and a sum, of a shift that was rounded.
    assert there.roundings >= block.roundings + 2 * 3 * 3
    # Both moves add to what rounding is relative to: |q| (|k - c| + 2 * 10).
    assert Queries.of(np.ones((1, 2)), back.ranges, back.moved).reach >= 20 * np.sqrt(2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_rounding_in_a_certificate_is_the_claims_bound(dtype: type[Any]) -> None:
    """Conformance alone cannot see a dropped term: rounding is thousands of times less than its bound."""
    polynomial, degree, d, count = minimax(8, 4.0), 8, 3, 5000
    roundings = sum_roundings(degree, count, 1024) + query_roundings(d, degree)
    # Shifts, products, one block and five in a row; multinomial, coefficient and sum; the query's.
    least = (degree + degree + 1024 + 5) + (2 * degree + 2 + 2) + degree + (45 + 9)
    assert roundings >= least
    (bound,) = CLAIMS["FP.moments"].bounds
    unit = Fraction(1, 2**53)
    absolute = sum(abs(Fraction(float(c))) * 4**m for m, c in enumerate(polynomial.coefficients))
    claimed = evaluate(
        bound.expression,
        {
            "magnitude": 1,
            "rounding": least * unit,
            "amplification": absolute / Fraction(1, 8),
            "underflow": 0,
            "quotient": 1,
            "unit_roundoff": unit + (Fraction(1, 2**24) if dtype is np.float32 else 0),
            "tiny": 0,
        },
        BITS,
    )
    given = rounding_bound(polynomial, 4.0, roundings, 0.125, np.dtype(dtype))
    assert Fraction(claimed.bounds()[1].item()) <= Fraction(given)


def test_more_keys_and_moves_make_the_certified_rounding_grow() -> None:
    K, V, Q = np.array([[1.0], [-1.0]]), np.array([[1.0], [-1.0]]), np.array([[1.0]])
    state = MomentState(1, 1, 18)
    state.update(K, V)
    once = state.query(Q).error_bound.item()
    for _ in range(200):
        state.update(K, V)
    often = state.query(Q).error_bound.item()
    far = state.recentred([3.0]).query(Q).error_bound.item()
    assert once < often < far


# ----------------------------------------------------------------------------------- planted faults


def _faulty(change: Any) -> types.ModuleType:
    def of(Q: Any, K: Any, V: Any, *, causal: bool = False) -> Certified:
        honest = fastpath.polynomial_attention(Q, K, V, tolerance=1e-5, causal=causal)
        logits = Q @ (K - (K.min(axis=0) + K.max(axis=0)) / 2).T
        weights = change(logits)
        output = weights @ V / weights.sum(axis=1, keepdims=True)
        return Certified(
            output=output.astype(Q.dtype), error_bound=honest.error_bound, claims=honest.claims
        )

    module = types.ModuleType("planted")
    module.attention = of  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(
    "fault",
    [
        lambda x: np.polynomial.polynomial.polyval(x, _taylor(3)),
        lambda x: np.exp(x * (1 + 1e-4)),
        lambda x: np.exp(x) + 1e-3 * (np.arange(x.shape[1]) == 3),
        lambda x: np.exp(np.minimum(x, 0.9)),
    ],
    ids=["Taylor of degree 3", "logits too large", "one weight too large", "logits clipped"],
)
def test_a_planted_fault_is_caught(fault: Any) -> None:
    Q, K, V = _bounded(60, 2, 1.0, np.float64)
    _holds_its_certificate(_faulty(np.exp), Case("no fault", "nothing", Q, K, V))
    with pytest.raises(AssertionError, match="the error is"):
        _holds_its_certificate(_faulty(fault), Case("a fault", "itself", Q, K, V))


def test_rows_that_see_only_what_is_tiny_in_the_unit_of_the_values_say_so() -> None:
    """Their sums lose all but a few bits to underflow, where later values make the unit large."""
    Q, K = np.array([[0.5], [0.25], [0.5]]), np.array([[0.3], [-0.4], [0.1]])
    V = np.array([[1.3 * 2.0**-60], [1.7 * 2.0**-60], [2.0**1000]])
    result = fastpath.polynomial_attention(Q, K, V, tolerance=1e-12, causal=True)
    verdict, _ = attention_verdict(Q, K, V, result.output, result.error_bound, causal=True)
    assert verdict is Verdict.WITHIN
