"""Columns drawn by leverage: scores in input-sparsity time, and sampling that keeps heavy columns exactly."""

import numpy as np
from numpy.typing import NDArray

from fastpath.core.inputs import Array
from fastpath.sparsification.certificate import range_factor
from fastpath.sparsification.feature_matrix import FeatureMatrix, by_columns
from fastpath.sparsification.gram import gram_of
from fastpath.sparsification.sketches import osnap

#: Random projections a score is estimated from: its relative standard deviation is sqrt(2/16) = 0.35.
PROJECTIONS = 16

#: Columns scored at a time: their projections take 8 MiB.
SCORED = 1 << 16

#: Directions between it and its inverse are kept in float32, and their products stay far from its ends.
SMALLEST_SINGLE = 2.0**-60

#: Columns of the sketch that stands for X when nothing better is at hand, in units of its rows.
SKETCH_OVERSAMPLING = 8


def leverage_scores(
    X: FeatureMatrix, rng: np.random.Generator, *, whitening: Array | None = None
) -> Array:
    r"""Estimate the leverage of every column, :math:`\ell_j = x_j^\top (XX^\top)^+ x_j`.

    With W the whitening of X Xᵀ and Ω a small Gaussian matrix, :math:`\ell_j \approx \|\Omega W x_j\|^2`.

    Parameters
    ----------
    X : FeatureMatrix, shape (n, d)
    rng : numpy.random.Generator
        The only source of randomness.
    whitening : float64 array, shape (k, n), optional
        W with W X Xᵀ Wᵀ = I, from :func:`fastpath.sparsification.certificate.range_factor`; without it,
        that of an OSNAP sketch of X with 8 n columns.

    Returns
    -------
    float64 array, shape (d,)
        Within a factor of about 2 of the scores, almost all of them; zero for zero columns.

    Notes
    -----
    Cost: 16 nnz(X) multiply-adds, and without ``whitening`` 2 nnz(X) + 8 n³ for the sketch.  Memory: d,
    and for CSR input a copy in CSC.

    Claims: P3.randomised (the factor enters ``leverage_width`` as ``overestimate``).
    """
    if whitening is None:
        width = SKETCH_OVERSAMPLING * X.shape[0]
        whitening = range_factor(gram_of(FeatureMatrix(entries=osnap(X, width + width % 2, rng))))[
            1
        ]
    directions = rng.standard_normal((PROJECTIONS, len(whitening))) @ whitening
    directions /= np.sqrt(PROJECTIONS)
    # X of type float32 stays float32 in the product, where that holds the directions: a score needs no
    # digits, but X of 2^-149 has directions of 2^149.
    sizes = np.abs(directions).max(axis=0, initial=0.0)
    sizes = sizes[sizes > 0]
    if len(sizes) and sizes.min() > SMALLEST_SINGLE and sizes.max() < 1 / SMALLEST_SINGLE:
        directions = directions.astype(X.dtype)
    columns, scores = by_columns(X).entries, np.empty(X.shape[1])
    for start in range(0, X.shape[1], SCORED):
        part = columns[:, start : start + SCORED]
        projected = (part.T @ directions.T).T if X.is_sparse else directions @ part
        scores[start : start + SCORED] = np.einsum("ij,ij->j", projected, projected)
    return scores


def poisson_columns(
    scores: Array, expected: float, rng: np.random.Generator
) -> tuple[NDArray[np.intp], Array]:
    r"""Keep every column by its own coin, with probability :math:`\pi_j = \min(1, c\,\ell_j)`.

    c is such that ``expected`` columns are kept on average.  Columns with :math:`\pi_j = 1` are kept as
    they are: where few columns matter much, that more than halves the error of drawing with replacement.

    Parameters
    ----------
    scores : float64 array, shape (d,)
        Not negative.
    expected : float
        Mean number of columns, at least 1.
    rng : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    columns : int array, shape (m,)
        In increasing order.
    weights : float64 array, shape (m,)
        :math:`1/\pi_j`, so that the mean of the weighted Gram matrix is X Xᵀ.

    Notes
    -----
    Cost: d log d.  Claims: P3.randomised.
    """
    descending = np.sort(scores[scores > 0])[::-1]
    if expected >= len(descending):
        probabilities = (scores > 0).astype(np.float64)
    else:
        # With the h largest kept for sure, c = (expected - h) / (sum of the others).
        others = np.cumsum(descending[::-1])[::-1]
        heavy = np.arange(len(descending))
        factors = np.maximum(expected - heavy, 0) / others
        # The right h is the first at which no other column is to be kept for sure.
        factor = factors[np.argmax(factors * descending <= 1)]
        probabilities = np.minimum(1.0, factor * scores)
    columns = np.flatnonzero(rng.random(len(scores)) < probabilities)
    return columns, 1 / probabilities[columns]
