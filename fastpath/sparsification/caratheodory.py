"""Reweighted columns without any error: Carathéodory's theorem for the cone of the x xᵀ."""

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from fastpath.core.inputs import Array
from fastpath.sparsification.feature_matrix import (
    FeatureMatrix,
    by_columns,
    nonzero_columns,
    take_columns,
)


def caratheodory_columns(X: FeatureMatrix, whitening: Array) -> tuple[NDArray[np.intp], Array]:
    r"""Choose and weight at most k(k + 1)/2 columns that have X's Gram matrix exactly, k the rank.

    The matrices :math:`x_j x_j^\top` span at most k(k + 1)/2 dimensions, so a nonnegative combination of
    more of them can lose one: along a null vector z of the matrix whose columns are the
    :math:`x_j x_j^\top`, weights w - αz keep the sum, and at the right α the first one vanishes.

    Parameters
    ----------
    X : FeatureMatrix, shape (n, d)
    whitening : float64 array, shape (k, n)
        W with W X Xᵀ Wᵀ = I, from :func:`fastpath.sparsification.certificate.range_factor`.

    Returns
    -------
    columns : int array, shape (m,), m <= k(k + 1)/2
        In increasing order.
    weights : float64 array, shape (m,)
        Positive.

    Notes
    -----
    Columns are grouped into 2D groups, D = k(k + 1)/2, the groups are reduced to D, and so on with their
    members: half of the columns go in each round (Maalouf, Jubran and Feldman).
    Cost: k n d + log2(d/D) (k² d + 6 D³), which is k⁶: seconds at k = 32.  Memory: 6 D².

    Claims: P3.caratheodory.

    References
    ----------
    A. Maalouf, I. Jubran, D. Feldman, Fast and accurate least-mean-squares solvers, NeurIPS 2019.
    """
    X = by_columns(X)
    columns = nonzero_columns(X)
    weights = np.ones(len(columns))
    rank = len(whitening)
    dimension = rank * (rank + 1) // 2
    while len(columns) > dimension:
        groups = np.array_split(np.arange(len(columns)), min(2 * dimension, len(columns)))
        moments = np.empty((dimension, len(groups)))
        for g, members in enumerate(groups):
            moments[:, g] = _moment(X, whitening, columns[members], weights[members])
        multipliers = _reduced(moments)
        weights = np.concatenate(
            [weights[members] * multipliers[g] for g, members in enumerate(groups)]
        )
        columns, weights = columns[weights > 0], weights[weights > 0]
    return columns, _refined(X, whitening, columns, weights)


def _moment(X: FeatureMatrix, whitening: Array, columns: NDArray[np.intp], weights: Array) -> Array:
    """Return the upper triangle of the sum of weighted v vᵀ, v = W x, as an isometric vector."""
    v = whitening @ take_columns(X, columns)
    matrix = (v * weights) @ v.T
    i, j = np.triu_indices(len(v))
    scales = np.where(i == j, 1.0, np.sqrt(2.0))
    vector: Array = matrix[i, j] * scales
    return vector


def _reduced(moments: Array) -> Array:
    """Return nonnegative multipliers, as many zero as can be, that keep the sum of the columns."""
    count = moments.shape[1]
    q, r, _ = sl.qr(moments.T, pivoting=True)
    pivots = np.abs(np.diag(r))
    rank = int(np.count_nonzero(pivots > pivots[0] * count * np.finfo(np.float64).eps))
    # Orthonormal null vectors.  They stay so, since each step applies a reflection: eliminating with
    # pivots instead lets errors grow, and saves nothing.
    null = np.ascontiguousarray(q[:, rank:])
    multipliers = np.ones(count)
    while null.shape[1]:
        direction = null[:, 0]
        # Of the two ways along the vector, the one that ends at its larger entry.
        first, last = (
            _first_to_vanish(multipliers, direction),
            _first_to_vanish(multipliers, -direction),
        )
        vanishing = first if abs(direction[first]) >= abs(direction[last]) else last
        multipliers -= multipliers[vanishing] / direction[vanishing] * direction
        np.maximum(multipliers, 0.0, out=multipliers)
        multipliers[vanishing] = 0.0
        # Reflect so that only the first null vector moves the vanished one, and leave that one out.
        mirror = null[vanishing].copy()
        mirror[0] += np.copysign(np.linalg.norm(mirror), mirror[0])
        null -= np.outer(null @ mirror, mirror * (2 / (mirror @ mirror)))
        null = null[:, 1:]
        null[vanishing] = 0.0
    return multipliers


def _first_to_vanish(multipliers: Array, direction: Array) -> int:
    """Return the index at which multipliers - alpha direction first reaches zero, alpha >= 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(direction > 0, multipliers / direction, np.inf)
    return int(np.argmin(steps))


def _refined(
    X: FeatureMatrix, whitening: Array, columns: NDArray[np.intp], weights: Array
) -> Array:
    """Solve for the weights once more on the columns that are left, unless one would turn negative."""
    v = whitening @ take_columns(X, columns)
    i, j = np.triu_indices(len(v))
    scales = np.where(i == j, 1.0, np.sqrt(2.0))
    moments = v[i] * v[j] * scales[:, None]
    target = (i == j).astype(np.float64)
    correction: Array = np.linalg.lstsq(moments, target - moments @ weights, rcond=None)[0]
    refined = weights + correction
    return refined if (refined > 0).all() else weights
