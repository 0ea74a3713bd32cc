"""Expressions evaluate to enclosures of their values, and what cannot be enclosed is named."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import sympy
from flint import arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import Enclosure, evaluate
from tests.reference.truth import encloses, encloses_arb, to_arb

x, y, g = sympy.symbols("x y g")

CASES = {
    "sum": (x + y + sympy.Rational(1, 3), lambda a, b: a + b + arb(1) / 3),
    "product": (-3 * x * y / 7, lambda a, b: -3 * a * b / 7),
    "quotient": (x / (1 + y**2), lambda a, b: a / (1 + b * b)),
    "integer power": (x**5, lambda a, b: a**5),
    "reciprocal power": ((2 + sympy.Abs(x)) ** -3, lambda a, b: (2 + abs(a)) ** -3),
    "root": (sympy.sqrt(sympy.Abs(x)), lambda a, b: abs(a).sqrt()),
    "half-integer power": (
        (1 + x**2) ** sympy.Rational(3, 2),
        lambda a, b: (1 + a * a).sqrt() ** 3,
    ),
    "inverse root": (1 / sympy.sqrt(1 + x**2), lambda a, b: 1 / (1 + a * a).sqrt()),
    "exp": (sympy.exp(x - y), lambda a, b: (a - b).exp()),
    "e": (sympy.E + x, lambda a, b: arb(1).exp() + a),
    "log": (sympy.log(1 + sympy.Abs(x)), lambda a, b: (1 + abs(a)).log()),
    "tanh": (2 * sympy.tanh(x / 2), lambda a, b: 2 * (a / 2).tanh()),
    "Abs": (sympy.Abs(x - y), lambda a, b: abs(a - b)),
    "Max": (sympy.Max(x, y, 1), lambda a, b: a.max(b).max(arb(1))),
    "Min": (sympy.Min(x, y, 1), lambda a, b: a.min(b).min(arb(1))),
    "Sum": (
        sympy.Sum(sympy.binomial(4, g) * x**g, (g, 0, 2)),
        lambda a, b: 1 + 4 * a + 6 * a**2,
    ),
    "a sum of nothing": (sympy.Sum(x**g, (g, 1, 0)) + y, lambda a, b: b),
    "a constant": (sympy.Integer(7), lambda a, b: arb(7)),
    "artanh": (
        sympy.log((1 + x / 10) / (1 - x / 10)) / 2,
        lambda a, b: (a / 10).atanh(),
    ),
}

values = st.fractions(-9, 9, max_denominator=1000)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=40)
@given(values, values, st.sampled_from([32, 128, 200]))
def test_each_node_encloses_the_truth_from_arb(name, a, b, bits):
    expression, truth = CASES[name]
    with ctx.workprec(600):
        result = evaluate(expression, {x: a, "y": b}, bits)
        assert encloses_arb(result, truth(to_arb(a)[()], to_arb(b)[()]))


@given(values, st.integers(0, 12))
def test_integer_symbols_may_stand_in_exponents_and_factorials(a, degree):
    remainder = sympy.exp(sympy.Abs(x)) * sympy.Abs(x) ** (g + 1) / sympy.factorial(g + 1)
    with ctx.workprec(600):
        z = abs(to_arb(a)[()])
        truth = z.exp() * z ** (degree + 1) / arb(degree + 1).gamma() / (degree + 1)
        assert encloses_arb(evaluate(remainder, {x: a, g: degree}), truth)


@given(st.integers(0, 12), st.integers(0, 12))
def test_binomial_coefficients_are_exact(variables, degree):
    result = evaluate(sympy.binomial(x + g, g), {x: variables, g: degree})
    assert result.radius == 0
    assert encloses(result, comb(variables + degree, degree))


def test_a_binomial_coefficient_of_no_integers_is_refused():
    with pytest.raises(ValueError, match="binomial needs integers at least 0, got -1"):
        evaluate(sympy.binomial(x, g), {x: 3, g: -1})


def test_enclosures_are_taken_with_their_radius():
    ball = Enclosure(np.array([3, 4]), 1, 0)
    result = evaluate(x**2 + y, {x: ball, y: 1}, 32)
    for ends in ([2, 3], [4, 5], [3, 4]):
        assert encloses(result, [Fraction(end * end + 1) for end in ends])


def test_enclosures_of_few_bits_do_not_lower_the_precision():
    coarse = Enclosure.exact(2)
    assert coarse.bits == 0
    assert evaluate(sympy.sqrt(x), {x: coarse}, 128).width() <= Fraction(1, 2**127)


def test_arrays_broadcast():
    result = evaluate(x * y, {x: np.array([[1.0], [2.0]]), y: np.array([3, 5])})
    assert encloses(result, [[Fraction(3), Fraction(5)], [Fraction(6), Fraction(10)]])


def test_small_quotients_of_large_numbers_stay_sharp():
    """Catches a reciprocal rounded before it meets a large factor."""
    result = evaluate(x**40 / sympy.factorial(40) / y, {x: 2**10, y: 2**400}, 128)
    assert result.radius <= 2


def test_halving_the_unit_halves_the_width():
    coarse, fine = (evaluate(sympy.exp(x), {x: Fraction(-1, 3)}, bits) for bits in (64, 65))
    assert fine.width() * 2 == coarse.width()


@pytest.mark.parametrize(
    ("expression", "node"),
    [
        (sympy.sin(x), "sin"),
        (sympy.pi * x, "Pi"),
        (x * 0.5, "Float"),
        (sympy.I * x, "ImaginaryUnit"),
        (sympy.Sum(x, (g, 0, 3), (y, 0, 3)), "Sum"),
        (x ** sympy.Rational(1, 3), "powers must be integers or half-integers"),
        (2 ** sympy.sin(y), "sin"),
    ],
)
def test_other_nodes_are_refused_by_name(expression, node):
    with pytest.raises(NotImplementedError, match=node):
        evaluate(expression, {x: 2, y: 1, g: 1})


def test_a_symbol_without_value_is_named():
    with pytest.raises(KeyError, match="symbol y has no value"):
        evaluate(x + y, {"x": 1})


def test_a_symbol_in_an_exponent_must_be_an_integer():
    with pytest.raises(TypeError, match="g stands in an exponent, factorial or binomial"):
        evaluate(x**g, {x: 2, g: Enclosure.exact(3)})
    with pytest.raises(ValueError, match="factorial needs integers at least 0, got 1/2"):
        evaluate(sympy.factorial(g), {g: Fraction(1, 2)})


def test_arguments_outside_the_domain_are_refused():
    with pytest.raises(ZeroDivisionError, match="not certified to differ from zero"):
        evaluate(1 / x, {x: 0})
    with pytest.raises(ArithmeticError, match="not certified positive"):
        evaluate(sympy.log(x), {x: 0})
    with pytest.raises(ArithmeticError, match="certified negative"):
        evaluate(sympy.sqrt(x), {x: -1})
    with pytest.raises(ValueError, match="bits must be at least 16, got 8"):
        evaluate(x, {x: 1}, 8)
