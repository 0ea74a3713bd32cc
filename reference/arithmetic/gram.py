"""Gram matrices of floats, exactly: their entries, rank and order, and what their columns weigh.

Floats are rational numbers, so are the entries of X Xᵀ, and whether a rational matrix is semidefinite
is decided by an elimination that never divides with a remainder.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from reference.arithmetic.exact_numbers import ObjectArray, as_objects, entries, ratios

__all__ = [
    "gram",
    "gram_rank",
    "independent_rows",
    "inverted",
    "leverage_scores",
    "lifted_rank",
    "semidefinite",
]

LARGEST_ORDER = 128  # of a matrix to eliminate in: its integers grow with its order


def gram(X: Any, weights: Any = None, *, name: str = "X") -> ObjectArray:
    """Return X diag(w) Xᵀ as an array of Fractions: G_ij = Σ_c w_c x_ic x_jc.

    Parameters
    ----------
    X : (n, d) array_like
        Floats, integers or Fractions; n at most 128, d may be 0.
    weights : (d,) array_like, optional
        Nonnegative column weights; 1 by default.
    name : str
        What the error messages call ``X``.

    Raises
    ------
    TypeError, ValueError
        If X is no finite matrix with 1 to 128 rows, or the weights do not fit or are negative.
    """
    M, unit = _integers(X, name)
    if weights is None:
        return _fractions(M.dot(M.T), unit * unit)
    if np.shape(weights) != (M.shape[1],):
        raise ValueError(
            f"weights must have shape {(M.shape[1],)}, one a column, got {np.shape(weights)}."
        )
    w, part = _common(*ratios(weights, "weights"))
    if min(entries(w), default=0) < 0:
        raise ValueError("weights must not be negative.")
    return _fractions((M * w).dot(M.T), unit * unit * part)


def gram_rank(X: Any) -> int:
    """Return the rank of X, which is the least m for which some (n, m) matrix has X's Gram matrix.

    Parameters and errors are those of :func:`gram`.
    """
    M, _ = _integers(X, "X")
    return len(_pivots(M.dot(M.T)))


def lifted_rank(X: Any) -> int:
    """Return the dimension of the span of the rank-one matrices x_c x_cᵀ, c over the columns of X.

    By Carathéodory's theorem for cones, that many reweighted columns of X give X Xᵀ exactly.  The
    inner products of the x_c x_cᵀ are (x_c·x_e)², so this is the rank of (XᵀX) ∘ (XᵀX).

    Parameters
    ----------
    X : (n, d) array_like
        As in :func:`gram`, and with at most 128 columns.
    """
    M, _ = _integers(X, "X")
    _cap(M.shape[1], "X must have at most {} columns, got {}.")
    return len(_pivots(M.T.dot(M) ** 2))


def leverage_scores(X: Any) -> list[Fraction]:
    """Return l_c = x_cᵀ G⁺ x_c for each column; they lie in [0, 1] and add up to the rank.

    Parameters and errors are those of :func:`gram`.

    Notes
    -----
    Rows of X that span its row space serve as well as all of them: l is the diagonal of the
    projection onto that space.
    """
    M, _ = _integers(X, "X")
    B = M[_pivots(M.dot(M.T))]
    solved = _solve(B.dot(B.T), B)
    return [Fraction(s) for s in (solved * B).sum(axis=0)] if len(B) else [Fraction(0)] * M.shape[1]


def independent_rows(X: Any) -> ObjectArray:
    """Return rows of X that span its row space, as many as its rank, as Fractions.

    Parameters and errors are those of :func:`gram`.
    """
    M, unit = _integers(X, "X")
    return _fractions(M[_pivots(M.dot(M.T))], unit)


def inverted(A: ObjectArray) -> ObjectArray:
    """Return the inverse of a positive definite matrix of rational numbers."""
    return _solve(A, np.eye(len(A), dtype=int).astype(object))


def semidefinite(A: Any) -> bool:
    """Decide whether a symmetric matrix of rational numbers has no negative eigenvalue.

    Fraction-free LDLᵀ with diagonal pivots: A ⪰ 0 if and only if every pivot that is met is
    positive, until what remains is zero.

    Parameters
    ----------
    A : (n, n) array_like
        Floats, integers or Fractions; n at most 128.

    Raises
    ------
    ValueError
        If A is not square, or not symmetric.
    """
    M = _common(*ratios(A, "A"))[0]
    if M.ndim != 2 or M.shape[0] != M.shape[1] or (M != M.T).any():
        raise ValueError(f"A must be square and symmetric, got a matrix of shape {M.shape}.")
    _cap(len(M), "A must have at most {} rows, got {}.")
    return _eliminate(M)[1]


def _pivots(A: ObjectArray) -> list[int]:
    """Return the indices of rows that span the range of a semidefinite matrix of integers."""
    return _eliminate(A)[0]


def _eliminate(A: ObjectArray) -> tuple[list[int], bool]:
    """Return the pivots' indices, and whether A is semidefinite; the first is for those that are.

    Bareiss: after k pivots each entry is a minor of order k + 1, so that the division by the last
    pivot leaves no remainder.  The pivots are positive: no sign of a Schur complement changes.
    """
    indices, last = list(range(len(A))), 1
    chosen: list[int] = []
    while indices:
        diagonal = A.diagonal()
        if min(diagonal) < 0:
            return chosen, False
        k = int(np.argmax(diagonal > 0))
        if diagonal[k] == 0:
            return chosen, not A.any()
        chosen.append(indices.pop(k))
        column, pivot = np.delete(A[k], k), A[k, k]
        rest = np.delete(np.delete(A, k, axis=0), k, axis=1)
        A = (pivot * rest - np.multiply.outer(column, column)) // last
        last = pivot
    return chosen, True


def _solve(A: ObjectArray, B: ObjectArray) -> ObjectArray:
    """Return A⁻¹ B for a positive definite A, by Gauss–Jordan elimination in Fractions."""
    T = np.concatenate([A, B], axis=1) * Fraction(1)
    for k in range(len(A)):
        T[k] = T[k] / T[k, k]
        others = np.arange(len(A)) != k
        T[others] = T[others] - np.multiply.outer(T[others, k], T[k])
    return as_objects(T[:, len(A) :])


def _integers(X: Any, name: str) -> tuple[ObjectArray, int]:
    """Return a matrix as integers over one denominator."""
    if np.ndim(X) != 2 or len(X) == 0:
        raise ValueError(f"{name} must be a matrix with at least one row, got {np.shape(X)}.")
    _cap(len(X), name + " must have at most {} rows, got {}.")
    return _common(*ratios(X, name))


def _common(numerators: ObjectArray, denominators: ObjectArray) -> tuple[ObjectArray, int]:
    unit = lcm(*entries(denominators))
    return as_objects(numerators * (unit // denominators)), unit


def _fractions(M: ObjectArray, unit: int) -> ObjectArray:
    return as_objects(M * Fraction(1, unit))


def _cap(order: int, message: str) -> None:
    if order > LARGEST_ORDER:
        raise ValueError(message.format(LARGEST_ORDER, order))
