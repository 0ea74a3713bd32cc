"""Leverages in integers: for keys whose columns are dependent, which no rounding can tell from nearly so."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import lcm

import numpy as np
from numpy.typing import NDArray

from fastpath.core.directed import up
from fastpath.core.inputs import Array, Matrix

#: Products of integers that are taken: some seconds.
PRODUCTS = 1 << 21

#: Bits of a slice, slices of an entry, and columns, up to which dependent columns are looked for.
SLICE, MOST_SLICES, MOST_COLUMNS = 18, 8, 128


def exact_leverages(k: Matrix, roots: Array | None, half: int) -> Array | None:
    """Return the leverage of every row, rounded up, or None where that would take too long.

    Parameters
    ----------
    k : array, shape (n, d)
        No row and no column zero.
    roots : float64 array, shape (n,), or None
        Rows are multiplied by ``roots**(half - 1)``, exactly; None: by 1.
    half : int

    Notes
    -----
    Columns that span all others are found by an elimination without remainders (Bareiss); leverages depend
    on what is spanned only.  Equal rows are taken together.
    """
    first, places, counts = distinct_rows(k)
    if roots is not None:
        first, places, counts = np.arange(len(k)), np.arange(len(k)), np.ones(len(k), np.intp)
    n, d = len(first), k.shape[1]
    if (n + d) * d * d > PRODUCTS:
        return None
    M = _integers(k[first])
    if roots is not None:
        multipliers = [Fraction(float(r)) ** (half - 1) for r in roots]
        unit = lcm(*(m.denominator for m in multipliers))
        M = M * np.array([int(m * unit) for m in multipliers], object)[:, None]
    weighted = M * counts.astype(object)[:, None]
    chosen = _spanning(M.T.dot(weighted), d)
    part = M[:, chosen]
    adjugate, determinant = _adjugate(part.T.dot(weighted[:, chosen]))
    numerators = (part.dot(adjugate) * part).sum(axis=1)
    leverages = np.array([_at_least(Fraction(int(m), determinant)) for m in numerators])
    scores: Array = leverages[places]
    return scores


def spanning_columns(blocks: Iterable[Array], order: Sequence[int], most: int) -> list[int] | None:
    """Return columns that span all, at most so many; None where there are none or it is too dear.

    Parameters
    ----------
    blocks : iterable of float64 arrays, shape (rows, d)
        Rows with entries below 1 in magnitude, no more than 2^17 in a block.
    order : sequence of int
        The columns, those first that floats think independent.
    most : int
        How many floats think independent.

    Notes
    -----
    Rows are cut into slices of 18 bits, whose products a float64 sum of 2^17 holds exactly: the Gram matrix
    costs so many products of matrices, whatever the order of their sums.  An elimination follows, whose
    pivots are of as many columns as the rank.
    """
    d = len(order)
    if d > MOST_COLUMNS:
        return None
    total = np.zeros((d, d), object)
    for block in blocks:
        slices: list[Array] = []
        rest = block[:, order]
        while rest.any():
            if len(slices) == MOST_SLICES:
                return None
            rest = np.ldexp(rest, SLICE)
            slices.append(np.trunc(rest))
            rest = rest - slices[-1]
        for i, left in enumerate(slices):
            for j, right in enumerate(slices[i:], start=i):
                product = (left.T @ right).astype(np.int64).astype(object)
                both = product if i == j else product + product.T
                total += both * (1 << (SLICE * (2 * MOST_SLICES - i - j)))
    chosen = _spanning(total, most)
    return None if chosen is None else sorted(order[k] for k in chosen)


def distinct_rows(k: Matrix) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return where each distinct row occurs first, which of them every row is, and how often they occur."""
    # Adding 0 makes -0 equal to 0 in every byte; bytes sort ten times faster than rows of numbers.
    rows = np.ascontiguousarray(k + k.dtype.type(0))
    _, first, places, counts = np.unique(
        rows.view(np.dtype((np.void, rows.strides[0]))).reshape(-1),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    return first, places.reshape(-1), counts


def _at_least(number: Fraction) -> float:
    rounded = float(number)
    return rounded if rounded >= number else float(up(rounded))


def _integers(rows: Matrix) -> Matrix:
    """Return the rows with every column multiplied by the power of two that makes it whole."""
    columns = []
    for column in rows.T:
        ratios = [float(x).as_integer_ratio() for x in column]
        unit = max(denominator for _, denominator in ratios)
        columns.append([numerator * (unit // denominator) for numerator, denominator in ratios])
    integers: Matrix = np.array(columns, object).T
    return integers


def _spanning(A: Matrix, most: int) -> list[int] | None:
    """Return indices of columns that span the range of a semidefinite matrix of integers, or None if more."""
    indices, last = list(range(len(A))), 1
    chosen: list[int] = []
    while indices and A.any():
        if len(chosen) == most:
            return None
        k = int(np.argmax(A.diagonal() > 0))
        chosen.append(indices.pop(k))
        column, pivot = np.delete(A[k], k), A[k, k]
        rest = np.delete(np.delete(A, k, axis=0), k, axis=1)
        A = (pivot * rest - np.multiply.outer(column, column)) // last
        last = pivot
    return sorted(chosen)


def _adjugate(A: Matrix) -> tuple[Matrix, int]:
    """Return adj(A) and det(A) of a positive definite matrix of integers, by Bareiss and Jordan."""
    n, last = len(A), 1
    T = np.concatenate([A, np.eye(n, dtype=int).astype(object)], axis=1)
    for k in range(n):
        pivot, row = T[k, k], T[k].copy()
        column = T[:, k].copy()
        T = (pivot * T - np.multiply.outer(column, row)) // last
        T[k] = row
        last = pivot
    return T[:, n:], int(last)
