"""How unevenly a polynomial follows exp: enclosed, compared with Arb, and decided where it is exact."""

from fractions import Fraction
from math import factorial

import numpy as np
import pytest
import sympy
from flint import arb, ctx, fmpq, fmpq_poly, fmpz_poly
from hypothesis import assume, given
from hypothesis import strategies as st

from reference import Enclosure, kappa
from reference.models.counted_products import Tally
from reference.moments import exponents
from reference.polynomials import (
    LARGEST_DEGREE,
    derived,
    evaluated,
    extremes,
    is_positive,
    levelled_ratio,
    rational,
)
from tests.reference.truth import encloses, encloses_arb, to_arb

coefficients = st.lists(st.integers(-9, 9), min_size=1, max_size=7)
radii = st.fractions(Fraction(1, 8), 4, max_denominator=8)


def taylor(degree):
    return [Fraction(1, factorial(k)) for k in range(degree + 1)]


def arb_extremes(P, radius):
    """P(x)e^{-x} at both ends and at every real zero of P' − P in the interval, by Arb's own roots."""
    P = [Fraction(c) for c in P]
    D = fmpq_poly([fmpq(*c.as_integer_ratio()) for c in derived(P)])
    integers = fmpz_poly([int(c * D.denom()) for c in D.coeffs()])
    end = arb(fmpq(*radius.as_integer_ratio()))
    points = [-end, end]
    for root, _ in integers.complex_roots():
        if root.imag.contains(0) and not abs(root.real) > end:
            points.append(root.real)

    def f(x):
        value = arb(0)
        for c in reversed(P):
            value = value * x + arb(fmpq(*c.as_integer_ratio()))
        return value * (-x).exp()

    return [f(x) for x in points]


@given(P=coefficients, radius=radii)
def test_the_largest_and_the_least_value_are_those_at_arbs_roots(P, radius):
    assume(any(P))
    f = extremes(P, radius, precision=96)
    with ctx.workprec(600):
        values = arb_extremes(P, radius)
        top, low = values[0], values[0]
        for v in values[1:]:
            top, low = top.max(v), low.min(v)
        assert encloses_arb(f.max(), top)
        assert encloses_arb(f.min(), low)


@given(degree=st.integers(1, 6), radius=st.fractions(Fraction(1, 8), 2, max_denominator=8))
def test_kappa_of_an_even_taylor_polynomial_has_a_closed_form(degree, radius):
    """P(x)e^{-x} falls from end to end, as its derivative is −x^g e^{-x}/g!."""
    P, x = taylor(2 * degree), sympy.Symbol("x")
    at = [sum(c * (s * radius) ** k for k, c in enumerate(P)) for s in (-1, 1)]
    with ctx.workprec(600):
        left, right = to_arb(at)
        truth = left / right * (2 * to_arb(radius)[()]).exp()
        assert encloses_arb(kappa(P, radius), truth)
    slope = sum(sympy.Rational(c.numerator, c.denominator) * x**k for k, c in enumerate(derived(P)))
    assert sympy.expand(slope + x ** (2 * degree) / sympy.factorial(2 * degree)) == 0


@given(P=coefficients, radius=radii, points=st.lists(st.fractions(-1, 1), min_size=2, max_size=5))
def test_no_two_points_have_a_larger_ratio_than_kappa(P, radius, points):
    P = [20 * sum(abs(c) * radius**k for k, c in enumerate(P)) + 1, *P[1:]]
    assume(is_positive(P, radius))
    x = Enclosure.exact([p * radius for p in points], 200)
    f = evaluated(rational(P), x) * (-x).exp()
    assert (f.max() / f.min()).bounds()[0].item() <= kappa(P, radius).bounds()[1].item()


@given(radius=st.fractions(0, 20, max_denominator=64))
def test_kappa_of_a_constant_is_exp_of_the_whole_range(radius):
    with ctx.workprec(600):
        assert encloses_arb(kappa([3], radius), (2 * to_arb(radius)[()]).exp())


def test_more_bits_make_kappa_narrower():
    P = [1.0, 1.0, 0.5, 0.17]
    widths = [kappa(P, 1, precision=p).width() for p in (64, 128, 256)]
    assert widths == sorted(widths, reverse=True)
    assert widths[2] < Fraction(1, 2**240)


# ----------------------------------------------------------------------------------- positivity


@given(P=coefficients, radius=radii)
def test_positive_means_no_root_and_a_positive_end_by_sympys_count(P, radius):
    x = sympy.Symbol("x")
    poly = sympy.Poly(P[::-1], x)
    assume(not poly.is_zero)
    r = sympy.Rational(radius.numerator, radius.denominator)
    truth = bool(poly.count_roots(-r, r) == 0 and poly.eval(r) > 0)
    try:
        assert is_positive(P, radius) is truth
    except ArithmeticError:
        assert not truth
        assert not poly.is_sqf


def test_a_polynomial_that_touches_zero_is_not_positive():
    assert not is_positive([0, 0, 1], 1)
    assert not is_positive([1, 2, 1], 1)
    with pytest.raises(ArithmeticError, match="not certified to differ from zero"):
        is_positive([4, 0, -4, 0, 1], 2)  # (x² − 2)²


def test_a_polynomial_just_above_zero_is_positive():
    assert is_positive([Fraction(1, 2**400), 0, 1], 1)


# --------------------------------------------------------------------------------------- levels


def test_a_polynomial_that_turns_too_seldom_has_no_levels():
    with pytest.raises(ValueError, match="must turn 1 times inside the interval, it does 0 times"):
        levelled_ratio([3, 1], 1)


def test_the_levels_are_the_least_high_and_the_largest_low_extreme():
    """Of 1 + 9x/10 on [-1, 1]: low at both ends, high at -1/9."""
    with ctx.workprec(600):
        high, low = arb(9) / 10 * (arb(1) / 9).exp(), arb(19) / 10 * arb(-1).exp()
        assert encloses_arb(levelled_ratio([1, Fraction(9, 10)], 1), high / low)


def test_the_levels_are_found_where_the_first_extreme_is_high():
    """A constant is high at -1 and low at 1."""
    with ctx.workprec(600):
        assert encloses_arb(levelled_ratio([5], 1), arb(2).exp())


def test_of_two_high_and_two_low_extremes_the_nearest_count():
    """Near the minimax polynomial of degree 2, but not level."""
    P = [Fraction(104, 100), Fraction(111, 100), Fraction(47, 100)]
    f = extremes(P, 1)
    nearest = f[::2].min() / f[1::2].max()
    furthest = f[::2].max() / f[1::2].min()
    assert abs(levelled_ratio(P, 1) - nearest).bounds()[0] <= 0
    assert abs(levelled_ratio(P, 1) - furthest).bounds()[0] > 0


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("P", "radius", "says"),
    [
        ([], 1, "coefficients must be a vector of 1 to 65 numbers, got shape \\(0,\\)"),
        (np.ones(66), 1, "got shape \\(66,\\)"),
        ([[1.0]], 1, "got shape \\(1, 1\\)"),
        ([np.inf], 1, "coefficients must be finite"),
        ([1.0], -1, "radius must be one number, at least 0, got -1"),
        ([1.0], [1.0], "radius must be one number"),
        ([1.0, -2.0], 1, "P must be positive"),
    ],
)
def test_what_has_no_kappa_is_refused(P, radius, says):
    with pytest.raises(ValueError, match=says):
        kappa(P, radius)


def test_the_derivative_of_the_product_is_that_of_sympy():
    x = sympy.Symbol("x")
    P = [Fraction(k + 2, 3) for k in range(5)]

    def poly(c):
        return sum(sympy.Rational(a.numerator, a.denominator) * x**k for k, a in enumerate(c))

    slope = sympy.diff(poly(P) * sympy.exp(-x), x)
    assert sympy.simplify(slope - poly(derived(P)) * sympy.exp(-x)) == 0


@given(st.integers(1, 4), st.integers(0, 5), st.integers(1, 3))
def test_counted_monomials_are_all_of_them_at_one_product_each(variables, degree, rows):
    X = np.arange(2, 2 + rows * variables).reshape(rows, variables).astype(object)
    tally = Tally()
    found = tally.monomials(X, degree)
    wanted = [np.prod(X ** np.array(a, dtype=object), axis=1) for a in exponents(variables, degree)]
    assert sorted(found.T.tolist()) == sorted(w.tolist() for w in wanted)
    plain = 1 + (variables if degree else 0)
    assert tally.products == rows * (len(wanted) - plain)


def test_evaluated_is_horners_rule_on_balls():
    x = Enclosure.exact([Fraction(1, 2), -3], 64)
    P = [Fraction(1), Fraction(-2), Fraction(1, 3)]
    truth = [sum(c * t**k for k, c in enumerate(P)) for t in (Fraction(1, 2), -3)]
    assert encloses(evaluated(P, x), truth)


def test_a_polynomial_of_the_largest_degree_is_taken():
    """Catches: a limit that refuses what its message allows."""
    assert rational([1.0] * (LARGEST_DEGREE + 1)) == [1] * (LARGEST_DEGREE + 1)
