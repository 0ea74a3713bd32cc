"""The hull of attention over a box: corners by exact enumeration, no radius, and what is refused."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from reference import Enclosure, Verdict, attention, attention_box, softmax
from reference.arithmetic.decide import decide

RNG = np.random.default_rng(2)


def corner(scores: Any, values: Any, bits: int) -> Enclosure:
    weights = softmax(scores, precision=bits)
    return (weights.reshape(-1, 1) * Enclosure.exact(values, bits)).sum(axis=0)


@pytest.mark.parametrize("case", range(6))
def test_the_ends_are_the_extreme_corners(case: int) -> None:
    n = case + 1
    scores, values = RNG.integers(-9, 9, n) / 4, RNG.integers(-2, 3, (n, 1)).astype(float)
    radii, errors = RNG.integers(0, 9, n) / 8, RNG.integers(0, 3, n) / 4
    low, high = attention_box(scores, radii, values, errors, precision=160)
    for sign, end in ((1, high), (-1, low)):
        corners = [
            corner(scores + np.array(signs) * radii, values + sign * errors[:, None], 160)
            for signs in product((-1, 1), repeat=n)
        ]
        best = corners[0]
        for other in corners[1:]:
            best = best.maximum(other) if sign > 0 else best.minimum(other)
        difference = abs(best - end)
        assert difference.bounds()[1].max() < Fraction(1, 2**120)


def test_without_radii_both_ends_are_attention() -> None:
    Q, K, V = (RNG.standard_normal(s) for s in ((1, 4), (7, 4), (7, 3)))
    scores = (Q @ K.T)[0]
    exact = attention(np.ones((1, 1)), scores[:, None], V, precision=160)[0]
    for end in attention_box(scores, np.zeros(7), V, np.zeros(7), precision=160):
        assert abs(exact - end).bounds()[1].max() < Fraction(1, 2**120)


def test_large_radii_reach_the_ends_of_the_values() -> None:
    values = np.array([[1.0, 5.0], [2.0, -5.0], [0.5, 0.0]])
    low, high = attention_box(np.zeros(3), np.full(3, 60.0), values, np.zeros(3))
    assert decide(lambda bits: high, np.array([2.0, 5.0]), 1e-40)[0] is Verdict.WITHIN
    assert decide(lambda bits: low, np.array([0.5, -5.0]), 1e-40)[0] is Verdict.WITHIN


def test_entries_may_have_errors_of_their_own() -> None:
    values, errors = np.zeros((2, 2)), np.array([[0.25, 0.0], [0.25, 0.5]])
    low, high = attention_box(np.zeros(2), np.zeros(2), values, errors)
    assert high.contains(np.array([0.25, 0.25])).all()
    assert low.contains(np.array([-0.25, -0.25])).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((np.zeros(2), np.zeros(3), np.zeros((2, 1)), np.zeros(2)), r"must have shape \(n,\)"),
        ((np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2)), r"values \(n, d_v\)"),
        (
            (np.zeros(2), -np.ones(2), np.zeros((2, 1)), np.zeros(2)),
            "radii must not be negative, got -1",
        ),
        ((np.zeros(2), np.zeros(2), np.zeros((2, 1)), -np.ones(2)), "errors must not be negative"),
        ((np.zeros(2), np.zeros(2), np.zeros((2, 1)), np.zeros(3)), "errors must have shape"),
        ((np.array([np.nan, 0]), np.zeros(2), np.zeros((2, 1)), np.zeros(2)), "scores"),
    ],
)
def test_what_is_no_box_is_refused(arguments: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        attention_box(*arguments)
