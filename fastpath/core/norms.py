"""Sums, norms and products of matrices on the way to a certificate: each counts its own roundings.

All are bounds from above on what is exact for the floats that are given, for any order of summation
(FP.sum, FP.product), computed in float64.
"""

from typing import Any

import numpy as np

from fastpath.core.bounds.softmax import ARITHMETIC, positive_sum, product_error
from fastpath.core.directed import UNIT_ROUNDOFF, up
from fastpath.core.inputs import Array, Matrix

TINY = ARITHMETIC["float64"]["tiny"]

#: Rows that are converted to float64 at once.
CONVERTED_ROWS = 1024


def sum_above(computed: Any, terms: int) -> Any:
    """Bound a sum of so many floats or products that are not negative, from the computed one."""
    return positive_sum(computed, terms, terms, UNIT_ROUNDOFF, TINY)


def product_loss(left_norm: Any, right_norm: Any, terms: int, entries: int) -> Any:
    """Bound the Frobenius norm of what a float64 product of matrices lost to rounding.

    The norms bound those of the factors; ``terms`` is how many products are added up for each entry, and
    ``entries`` how many entries the product has.
    """
    return product_error(terms, UNIT_ROUNDOFF, left_norm, right_norm, entries, TINY)


def norm(x: Matrix) -> float:
    """Bound the Euclidean norm of all entries (of a matrix: the Frobenius norm)."""
    return float(lengths(x.reshape(1, -1))[0])


def longest_row(x: Matrix) -> float:
    """Bound the largest Euclidean norm of a row."""
    return float(lengths(x).max())


def lengths(x: Matrix) -> Array:
    """Bound the Euclidean norm of every row."""
    norms, exponent = row_norms(x)
    # A product with a power of two is exact unless it is subnormal.
    bounds: Array = up(np.ldexp(norms, exponent)) if norms.any() else norms
    return bounds


def row_norms(x: Matrix) -> tuple[Array, int]:
    """Bound the Euclidean norm of every row, in units of a power of two.

    The unit is near the largest entry, so that no square overflows.  What scaling takes from entries
    far below it, 2^-1075 each, is less than what the sum's bound adds for underflow.
    """
    largest = np.abs(x).max()
    exponent = int(np.frexp(largest)[1])
    squares = np.empty(len(x))
    for start in range(0, len(x), CONVERTED_ROWS):
        rows = np.ldexp(x[start : start + CONVERTED_ROWS].astype(np.float64), -exponent)
        squares[start : start + CONVERTED_ROWS] = np.einsum("ij,ij->i", rows, rows)
    if largest == 0:  # not where it is NaN: other rows may still be asked for
        return squares, exponent
    norms: Array = up(np.sqrt(sum_above(squares, x.shape[1])))
    return norms, exponent
