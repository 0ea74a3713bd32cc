"""Products in blocks: what they hold, and how much their sums round, against exact fractions."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fastpath.core.bounds.softmax import ARITHMETIC
from fastpath.decoding.products import (
    block_size,
    largest,
    products,
    roundings,
    totals,
    weighted_sums,
)

TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@TYPES
@pytest.mark.parametrize(
    ("g", "n"), [(1, 1), (1, 1025), (3, 7), (4, 256), (4, 513), (16, 200), (2000, 3)]
)
def test_blocks_are_the_products_of_all(dtype: Any, g: int, n: int) -> None:
    """Small integers, which no arithmetic rounds."""
    rng = np.random.default_rng(n)
    q, rows, values = (rng.integers(-4, 5, (s, 3)).astype(dtype) for s in (g, n, n))
    rows[-1] = 5 * np.sign(q[0])
    found, size = products(q, rows), block_size(g, n)
    assert found.shape == (-(-n // size), g, size)
    flat = found.transpose(1, 0, 2).reshape(g, -1)
    assert np.array_equal(flat[:, :n], q @ rows.T)
    assert (flat[:, n:] == -np.inf).all()
    assert np.array_equal(largest(found), (q @ rows.T).max(axis=1))
    weights = np.where(np.isfinite(found), found, 0)
    assert np.array_equal(totals(weights), flat[:, :n].astype(float).sum(axis=1))
    assert np.array_equal(weighted_sums(weights, values), flat[:, :n].astype(float) @ values)


@TYPES
def test_sums_err_by_no_more_than_their_roundings(dtype: Any) -> None:
    """A large first term, to which each smaller one adds a rounding of its own."""
    n = 1025
    weights = np.zeros((2, 1, 1024), dtype)
    weights.reshape(-1)[:n] = 1 + np.finfo(dtype).eps
    weights[0, 0, 0] = 512
    exact = sum((Fraction(float(x)) for x in weights.flat), Fraction(0))
    u = Fraction(ARITHMETIC[np.dtype(dtype).name]["unit_roundoff"])
    for found in (totals(weights), weighted_sums(weights, np.ones((n, 1), dtype))[:, 0]):
        assert abs(Fraction(float(found[0])) - exact) <= roundings(weights) * u * exact
    assert roundings(weights) >= 1024 + 2
