"""Norms on the way to a certificate: each counts its own roundings."""

import numpy as np
from numpy.typing import NDArray

from fastpath.core.inputs import Matrix

#: Rows that are converted to float64 at once.
CONVERTED_ROWS = 1024


def row_norms(x: Matrix) -> tuple[NDArray[np.float64], int]:
    """Bound the Euclidean norm of every row from above, in units of a power of two.

    The unit is near the largest entry, so that no square overflows; what the squares lose to
    underflow is added back.
    """
    largest = np.abs(x).max()
    exponent = int(np.frexp(largest)[1])
    squares = np.empty(len(x))
    for start in range(0, len(x), CONVERTED_ROWS):
        rows = np.ldexp(x[start : start + CONVERTED_ROWS].astype(np.float64), -exponent)
        squares[start : start + CONVERTED_ROWS] = np.einsum("ij,ij->i", rows, rows)
    if largest != 0:  # also where it is NaN: other rows may still be asked for
        squares *= 1 + (x.shape[1] + 2) * 2.0**-52
        squares += x.shape[1] * np.finfo(np.float64).tiny
    return np.sqrt(squares) * (1 + 2.0**-51), exponent
