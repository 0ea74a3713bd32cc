"""Every unit of every radius is one that something depends on: small integers, all of them.

Where a unit is only room (three kernel calls are counted one unit each, and err by 33/64), the radius is
compared with what its docstring counts.
"""

import itertools
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
import sympy
from flint import arb, ctx

from reference import Enclosure, evaluate
from reference.arithmetic import elementary, exponential
from reference.arithmetic.exponential import GUARD, exp_nonpositive, exp_real, log_positive
from tests.reference.truth import dyadic

ONE = 1 << 16

#: Points near which a kernel loses most, at the fewest bits or where the series is shortest for them.
POINTS = {
    "exp of small integers": (exp_nonpositive, arb.exp, 16, range(-3 * ONE, 0, 13)),
    "exp near 1": (exp_nonpositive, arb.exp, 16, range(-ONE, -ONE + 8000)),
    "exp of 2^-16": (exp_nonpositive, arb.exp, 16, range(-12 * ONE, -9 * ONE, 97)),
    # Found by search: two guard bits fewer would not do.
    "exp by its guard bits": (exp_nonpositive, arb.exp, 36, [-4943436451]),
    **{
        f"exp with the shortest series of {bits} bits": (
            exp_nonpositive,
            arb.exp,
            bits,
            [-(1 << bits) + 1 + k for k in range(300)],
        )
        for bits in (19, 26, 81, 101, 123)
    },
    "exp of positive numbers": (exp_real, arb.exp, 16, range(ONE - 8000, ONE)),
    "exp of 12": (exp_real, arb.exp, 16, range(12 * ONE, 12 * ONE + 300)),
    "log": (log_positive, arb.log, 16, range(1, 4 * ONE, 37)),
    "log where its start is near": (log_positive, arb.log, 50, [10**30 + 7**k for k in range(40)]),
    "log where its start is far": (log_positive, arb.log, 64, [10**30 + k for k in range(300)]),
}

#: What their docstrings say, in units of the last place; that of exp is K.exp.
LARGEST_ERROR = {
    exp_nonpositive: Fraction(33, 64),
    exp_real: Fraction(1, 2) + Fraction(26, 100),
    log_positive: Fraction(1, 2) + Fraction(1, 8),
}


@pytest.mark.parametrize("points", POINTS)
def test_a_kernel_errs_by_no_more_than_its_docstring_says(points):
    kernel, function, bits, arguments = POINTS[points]
    limit = LARGEST_ERROR[kernel]
    with ctx.workprec(3 * bits + 64):
        allowed = arb(limit.numerator) / limit.denominator
        for x in arguments:
            error = abs(function(dyadic(x, bits)) * (1 << bits) - kernel(x, bits))
            assert error <= allowed, (x, bits)


def test_the_series_of_exp_is_as_long_as_its_proof_takes(monkeypatch):
    """Catches one term short, which no result shows: N! hides it.  The proof has y^N <= 2^-work."""
    lengths = []
    monkeypatch.setattr(
        exponential,
        "range",
        lambda first, *rest: lengths.append(first) or range(first, *rest),
        raising=False,
    )
    for bits in range(16, 400):
        for x in (-1, -(1 << bits) + 1, -5 << bits):
            lengths.clear()
            exp_nonpositive(x, bits)
            reduction = isqrt(bits)
            halvings = (-x >> bits).bit_length() + reduction
            assert lengths[0] * reduction >= bits + halvings + GUARD


def test_the_radii_of_elementary_functions_count_a_unit_a_kernel_call():
    for bits, a, radius in itertools.product((16, 40), (3, 7 << 14, 1 << 20), (1, 2, 100)):
        mid = np.array([a + radius + 1, a + 3 * radius + 5], dtype=object)
        least, top = mid.tolist()
        assert elementary.exp(mid, radius, bits)[1] == (
            exp_real(top + radius, bits) - exp_real(top, bits) + 3
        )
        assert elementary.log(mid, radius, bits)[1] == (
            log_positive(least, bits) - log_positive(least - radius, bits) + 3
        )
        assert elementary.tanh(mid, radius, bits)[1] == radius + 3
        assert elementary.exp(mid, 0, bits)[1] == elementary.log(mid, 0, bits)[1] == 1


def test_an_exact_argument_still_has_a_kernel_that_errs():
    for function in (Enclosure.exp, Enclosure.log, Enclosure.sqrt):
        assert function(Enclosure.exact(2, 16)).radius == 1


def test_roots_of_all_small_balls_enclose():
    for a, radius in itertools.product(range(-3, 60), range(5)):
        if a + radius < 0:
            with pytest.raises(ArithmeticError, match="certified negative"):
                elementary.sqrt(np.array([a], dtype=object), radius, 0)
            continue
        (root,), error = elementary.sqrt(np.array([a], dtype=object), radius, 0)
        assert (root + error) ** 2 >= a + radius
        assert root - error <= 0 or (root - error) ** 2 <= max(a - radius, 0)


def test_logarithms_of_balls_that_reach_zero_are_refused():
    for a, radius in ((3, 3), (3, 4), (0, 0), (-1, 0)):
        with pytest.raises(ArithmeticError, match="not certified positive"):
            elementary.log(np.array([a], dtype=object), radius, 16)


def _scalars(least, most, radii):
    for mid, radius in itertools.product(range(least, most + 1), range(radii + 1)):
        yield Enclosure(np.array(mid, dtype=object), radius, 0)


def _ends(ball):
    return {ball.mid.item() - ball.radius, ball.mid.item() + ball.radius}


def _within(ball, truth):
    return abs(truth * Fraction(2) ** ball.bits - ball.mid.item()) <= ball.radius


def test_sums_products_and_maxima_of_all_small_balls_enclose():
    for a, b in itertools.product(_scalars(-3, 3, 2), repeat=2):
        for x, y in itertools.product(_ends(a), _ends(b)):
            assert _within(a + b, x + y)
            assert _within(a * b, x * y)
            assert _within(a.maximum(b), max(x, y))


def test_quotients_of_all_small_balls_enclose_or_are_refused():
    for a, b in itertools.product(_scalars(-5, 9, 2), _scalars(1, 7, 3)):
        if b.mid.item() <= b.radius:
            with pytest.raises(ZeroDivisionError, match="not certified to differ from zero"):
                a / b
            continue
        quotient = a / b
        for x, y in itertools.product(_ends(a), _ends(b)):
            assert _within(quotient, Fraction(x, y))


def test_the_radius_of_a_quotient_counts_the_floors():
    """Catches: |A/B| taken as its floor, and the last floor; each is hidden by the other's unit."""
    a, b = (Enclosure(np.array(x, dtype=object), 5, 0) for x in (199, 100))
    assert (a / b).radius == -(-(5 + (1 + 1) * 5) // 95) + 1


def test_fewer_bits_of_all_small_balls_enclose():
    for ball in _scalars(-9, 9, 5):
        fewer = Enclosure(ball.mid, ball.radius, 3).at(1)
        assert all(_within(fewer, Fraction(end, 8)) for end in _ends(ball))


def test_numbers_that_do_not_fit_enclose():
    for numerator in range(-9, 10):
        assert _within(Enclosure.exact(Fraction(numerator, 8), 1), Fraction(numerator, 8))
        assert _within(Enclosure.exact(Fraction(numerator, 3), 1), Fraction(numerator, 3))


@pytest.mark.parametrize("power", [Fraction(1, 3), Fraction(2, 3)])
def test_other_powers_than_half_integers_are_refused(power):
    x = sympy.Symbol("x", positive=True)
    with pytest.raises(NotImplementedError, match="powers must be integers or half-integers"):
        evaluate(x ** sympy.Rational(power.numerator, power.denominator), {"x": 2})
