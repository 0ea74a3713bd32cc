r"""Hinted matrix–vector multiplication, the problem from which P1's lower bound comes, and its translation.

Boolean M and V, then a sparse Boolean P, then an index i: the answer is column i of M P V.  Translated into
tokens and updates, dynamic attention answers it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.tokens import Array, UpdateEntry

__all__ = ["boolean_product", "hinted_tokens", "hinted_updates"]


def boolean_product(*factors: Any) -> NDArray[np.bool_]:
    """Return the Boolean product of matrices: whether some path of ones leads from row to column.

    Raises
    ------
    ValueError
        If an entry is neither 0 nor 1, or shapes do not fit.
    """
    result: Array = _booleans(factors[0], "factor 0")
    for number, factor in enumerate(factors[1:], start=1):
        right = _booleans(factor, f"factor {number}")
        if result.shape[1] != len(right):
            raise ValueError(
                f"factor {number} must have {result.shape[1]} rows, got shape {right.shape}."
            )
        result = result @ right
    return result


def hinted_tokens(M: Any, V: Any) -> tuple[Array, Array, Array]:
    """Return the queries, keys and values that stand for M and V before P is known.

    The queries are the rows of M, all keys are 0, the values are the rows of V.  One token more has
    query and key 0, and one column more of values is 1 at that token and 0 elsewhere: attention's last
    column is the reciprocal of the denominator, whatever the keys become.

    Parameters
    ----------
    M, V : (n, n) array_like
        Booleans.

    Returns
    -------
    Q, K : (n + 1, n) arrays of Python's integers
    V : (n + 1, n + 1) array of Python's integers
    """
    left, right = _booleans(M, "M"), _booleans(V, "V")
    if left.shape != right.shape or left.shape[0] != left.shape[1]:
        raise ValueError(f"M and V must be square and alike, got {left.shape} and {right.shape}.")
    n = len(left)
    Q, values = (np.zeros((n + 1, n + more), object) for more in (0, 1))
    Q[:n] = left.astype(int)
    values[:n, :n] = right.astype(int)
    values[n, n] = 1
    return Q, np.zeros_like(Q), values


def hinted_updates(P: Any, step: Any) -> list[UpdateEntry]:
    """Return the updates that stand for P: ``step`` is added to entry l of key k where P_lk = 1."""
    ones = np.argwhere(_booleans(P, "P")).tolist()
    return [UpdateEntry("key", key, column, step) for column, key in ones]


def _booleans(x: Any, name: str) -> NDArray[np.bool_]:
    array = np.asarray(x)
    if array.ndim != 2 or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be a matrix of zeros and ones, got shape {array.shape}.")
    return array.astype(bool)
