"""Every term and every factor of the bounds that the fast path calls would be missed.

Each is left out of the claim's expression, one at a time, and what remains is printed as Python: at some
point the value is below the exact bound, or far above it, while the function that is called is neither.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

from fastpath.core import directed
from reference import evaluate
from specs.claim import Bound
from specs.printing.python import called
from tests.printed import BOUNDS, compiled, printed

ROOT = Path(__file__).parents[2]

#: What directed rounding may add, relative to a bound (tests/specs/test_printing.py).
RELATIVE_ALLOWANCE = Fraction(1, 2**40)

#: Fractional bits; no value at the points is below 2^-500.
BITS = 1000

#: How many points are tried until each term has shown.
POINTS = 200

#: The least and the largest logarithm of 2 of an argument, where not -12 to 6; integers are 1 to 64.
EXPONENTS = {
    "unit_roundoff": (-24, -10),
    "underflow": (-24, -1),
    "rounding": (-12, -1),
    "epsilon": (-10, -1),
    "second_epsilon": (-10, -1),
    "relative_change": (-10, -2),
    "relative_difference": (-10, -2),
    "failure_probability": (-10, -1),
    "uncovered": (-6, -1),
    "share": (-12, -1),
    "slack": (-12, -2),
    "second_slack": (-12, -2),
    "kappa": (0, 6),
    "ratio": (0, 6),
    "mass_ratio": (0, 6),
    "overestimate": (0, 6),
    "oversampling": (1, 6),
    "distance": (-12, -1),
    "weight_error": (-12, 1),
    "bottom": (-1, 0),
    "step": (-12, -2),
    "curvature": (-12, 0),
    "row_failure": (-12, -2),
}


CALLED = [BOUNDS[name] for name in sorted(called(ROOT / "fastpath")) if name in BOUNDS]


def _left_out(e: sympy.Basic) -> Iterator[sympy.Basic]:
    """Yield the expression without one term of a sum or one factor of a product, for each of them."""
    for i, argument in enumerate(e.args):
        rest = [*e.args[:i], *e.args[i + 1 :]]
        if e.is_Add or (e.is_Mul and argument != -1):
            yield e.func(*rest)
        if isinstance(e, sympy.Sum) and i:
            continue  # the range of the index
        for other in _left_out(argument):
            yield e.func(*e.args[:i], other, *e.args[i + 1 :])


def _code(bound: Bound[Any], e: sympy.Basic) -> Any:
    """Compile an expression as the printer would write it, or return None where it has no code."""
    try:
        return compiled(bound.arguments, e)
    except (NotImplementedError, IndexError):  # nothing is left to print: a sum without a sum
        return None


def _points(bound: Bound[Any]) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for _ in range(POINTS):
        point: dict[str, Any] = {}
        for argument in bound.arguments:
            if argument.is_integer:
                point[argument.name] = int(2 ** rng.uniform(0, 6))
            else:
                point[argument.name] = float(
                    2 ** rng.uniform(*EXPONENTS.get(argument.name, (-12, 6)))
                )
        yield point


def _exactly(bound: Bound[Any], point: dict[str, Any]) -> tuple[Fraction, Fraction] | None:
    """Enclose the bound at a point; None where it has no value there."""
    values = {k: v if isinstance(v, int) else Fraction(v) for k, v in point.items()}
    try:
        low, high = evaluate(bound.expression, values, BITS).bounds()
    except ArithmeticError:
        return None
    least, most = Fraction(low.item()), Fraction(high.item())
    return (least, most) if least > 0 else None


def _accepted(value: float, exact: tuple[Fraction, Fraction]) -> bool:
    """Whether a value is at least the exact bound, and close."""
    least, most = exact
    return math.isfinite(value) and most <= Fraction(value) <= least * (1 + RELATIVE_ALLOWANCE)


@pytest.mark.parametrize("bound", CALLED, ids=lambda b: b.name)
def test_every_term_and_factor_of_a_bound_that_is_called_shows(bound: Bound[Any]) -> None:
    unseen = {e: code for e in _left_out(bound.expression) if (code := _code(bound, e)) is not None}
    assert bound.expression not in unseen
    seen_at = 0
    for point in _points(bound):
        exact = _exactly(bound, point)
        value = float(printed(bound.name)(**point))
        if exact is None or math.isinf(value):
            continue
        seen_at += 1
        assert _accepted(value, exact), point
        with np.errstate(all="ignore"):
            for e, code in list(unseen.items()):
                try:
                    other = float(code(**point))
                except (ValueError, ZeroDivisionError):
                    other = math.nan
                if not _accepted(other, exact):
                    del unseen[e]
        if not unseen:
            break
    assert seen_at
    # C(2h + 1, h) is C(2h + 1, h + 1).
    missed = [e for e in unseen if sympy.combsimp(e / bound.expression) != 1]
    assert not missed, f"nothing shows where {bound.expression} is {missed}"


def test_the_fast_path_calls_bounds() -> None:
    assert len(CALLED) >= 40


def test_what_is_subtracted_from_is_rounded_downward() -> None:
    """Catches: a denominator rounded to nearest, where only it is rounded: 1 / (1 - k u), at many k."""
    for terms in range(1, 400, 7):
        for unit in (0.001, 0.0017):
            value = Fraction(float(directed.down(1 - terms * unit)))
            assert value <= 1 - terms * Fraction(unit)


def test_a_function_of_a_library_is_rounded_past_its_error() -> None:
    x = sympy.Symbol("x", positive=True)
    for point in np.random.default_rng(0).uniform(0.1, 4, 200).tolist():
        exact = evaluate(sympy.exp(x), {"x": Fraction(point)}, 200)
        low, high = (Fraction(end.item()) for end in exact.bounds())
        assert Fraction(float(directed.library_down(np.exp(point)))) <= low
        assert Fraction(float(directed.library_up(np.exp(point)))) >= high


def test_a_sum_of_many_terms_is_rounded_upward() -> None:
    terms = [1.0] + [2.0**-54] * 100  # to nearest, every one is lost
    assert Fraction(float(directed.total_up(terms))) >= sum(map(Fraction, terms))
