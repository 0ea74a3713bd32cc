"""The judge's bars: what trivial answers err, and what rounding in a type explains."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import fastpath
from proofs.judging.bars import rounding_bar, tolerance_below, trivial_error
from reference import Enclosure
from tests.strategies import attention_inputs

V = np.array([[1.0], [2], [3], [10]])


def truth(*outputs: float) -> list[Enclosure]:
    return [Enclosure.exact(np.array(outputs)[:, None])]


@pytest.mark.parametrize(
    ("output", "least"),
    [(0.25, 0.25), (4.5, 0.5), (5.25, 0.25)],
    ids=["zeros", "the mean", "the middle"],
)
def test_the_best_of_the_trivial_answers_counts(output: float, least: float) -> None:
    assert trivial_error(truth(output), V) == Fraction(least)


def test_the_row_that_errs_most_counts_but_for_those_left_out() -> None:
    outputs = truth(4.25, 4.5, 4.75)
    assert [trivial_error(outputs, V, left_out=k) for k in range(3)] == [0.75, 0.5, 0.25]
    assert trivial_error(truth(4.25) + truth(4.5) + truth(4.75), V) == Fraction(3, 4)


def test_an_answer_that_is_right_but_for_rounding_is_not_trivial() -> None:
    for dtype in (np.float32, np.float64):
        values = V.astype(dtype)
        unit = float(np.spacing(dtype(4)))
        assert trivial_error(truth(4.0 + unit), values) == Fraction(1.5) - Fraction(unit)
        assert trivial_error(truth(4.0 + 1024 * unit), values) == Fraction(1024 * unit)
    assert trivial_error(truth(0.0), np.zeros((3, 1))) is None


def test_under_a_mask_every_query_has_its_own_mean_and_middle() -> None:
    means = np.array([1.0, 1.5, 2.0, 4.0])
    assert trivial_error(truth(*(means + 0.25)), V, causal=True) == Fraction(1, 4)
    middles = np.array([1.0, 1.5, 2.0, 5.5])
    assert trivial_error(truth(*(middles + 0.125)), V, causal=True) == Fraction(1, 8)


def test_values_next_to_the_largest_float_have_a_mean() -> None:
    largest = np.finfo(np.float64).max
    values = np.array([[largest], [largest], [largest / 2]])
    found = trivial_error(truth(largest / 2), values)
    assert found is not None
    assert abs(found - Fraction(largest) / 4) <= Fraction(float(np.spacing(largest / 2)))


def test_no_more_than_half_of_what_a_trivial_answer_errs_is_asked_for() -> None:
    assert tolerance_below(Fraction(1), 2.0, 0.05) == 0.05
    asked = tolerance_below(Fraction(1, 100), 2.0, 0.05)
    assert Fraction(asked) <= Fraction(1, 400) <= Fraction(float(np.nextafter(asked, 1)) * 2)
    assert tolerance_below(None, 2.0, 0.05) == 0.05


@given(inputs=attention_inputs())
def test_what_rounding_explains_is_no_less_than_exact_attention_certifies(inputs: Any) -> None:
    Q, K, values, causal = inputs
    certified = fastpath.attention(Q, K, values, causal=causal)
    Q, K, values = (x.astype(certified.output.dtype) for x in (Q, K, values))
    bar = rounding_bar(Q, K, values, causal=causal)
    assert bar.shape == certified.output.shape
    assert (certified.error_bound <= bar).all()
