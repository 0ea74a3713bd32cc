"""Queries times a scale: what the one rounding may do to a logit is bounded, and nearly done."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fastpath.core.scaling import scaled
from reference import Verdict, attention

SCALES = [1 / 3, 0.1, -0.7, 1e-20, 3.3]


def exactly(x: Any) -> Any:
    return np.vectorize(Fraction, otypes=[object])(x.astype(np.float64))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [1.0, 2.0**-30, 2.0**-120, 2.0**-126])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_logit_moves_further_than_is_said(dtype: Any, size: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    q, k = ((rng.standard_normal((20, 5)) * size).astype(dtype), rng.standard_normal((20, 5)))
    if size == 2.0**-126:
        q = np.full((20, 5), 2.0**-149 if dtype == np.float32 else 2.0**-1074, dtype)
        q[1::2] *= 3
    made = scaled(q, scale)
    moved = np.abs(exactly(made.queries) - Fraction(scale) * exactly(q)) @ np.abs(exactly(k)).T
    magnitude = np.abs(made.queries.astype(np.float64)) @ np.abs(k).T * (1 + 1e-12)
    bound = made.logit_shift(magnitude, float(np.abs(k).max()))
    assert (moved <= exactly(bound)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_said_is_within_a_factor_of_eight_of_what_happens(dtype: Any) -> None:
    """Two roundings are allowed for, of up to one unit where one of half a unit is usual."""
    q = np.random.default_rng(0).uniform(1, 2, (2000, 1)).astype(dtype)
    made = scaled(q, 1 / 3)
    moved = np.abs(exactly(made.queries) - Fraction(1 / 3) * exactly(q)).max()
    largest = float(np.abs(made.queries).max())
    assert made.logit_shift(largest, 1.0) <= 8 * float(moved)


@pytest.mark.parametrize("scale", [0.25, -2.0, 0.0])
def test_a_power_of_two_moves_nothing_unless_it_underflows(scale: float) -> None:
    q = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    made = scaled(q, scale)
    assert made.exact
    assert made.logit_shift(np.ones(5), 1.0).max() == 0
    if scale == 0.25:
        assert not scaled(np.full((1, 1), 3 * 2.0**-149, np.float32), scale).exact


def test_an_output_moves_by_no_more_than_is_said() -> None:
    """One key is much more likely than the other, and every logit is off in one direction."""
    q = np.full((1, 1), 1.9, np.float32)
    k, v = np.array([[20.0], [19.9]], np.float32), np.array([[1.0], [-1.0]], np.float32)
    made = scaled(q, 1 / 3)
    before = attention(q, k, v, scale=1 / 3)
    after = attention(made.queries, k, v)
    bound = made.output_shift(np.array([20.0 * float(made.queries[0, 0])]), 20.0, np.array([2.0]))
    assert before.verdict(after.midpoint(), bound + 1e-15) == Verdict.WITHIN
