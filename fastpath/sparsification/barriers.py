"""A few reweighted columns, deterministically: the two barriers of Batson, Spielman and Srivastava."""

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from fastpath.core.inputs import Array
from fastpath.core.offers import Refusal
from fastpath.sparsification.feature_matrix import FeatureMatrix, by_columns, dense_block
from fastpath.sparsification.gram import gram_of

#: Numbers that the tree of block Gram matrices may hold: 256 MiB.
TREE_NUMBERS = 1 << 25


def barrier_columns(
    X: FeatureMatrix, whitening: Array, count: int, *, block: int | None = None
) -> tuple[NDArray[np.intp], Array] | Refusal:
    r"""Choose and weight at most ``count`` columns so that X's Gram matrix barely changes.

    With v_j = W x_j the whitened columns, :math:`\sum_j v_j v_j^\top = I`.  A sum A of weighted
    :math:`v_j v_j^\top` grows column by column between two barriers that move up,
    :math:`\ell I \prec A \prec u I`.  The column of a step is one with L(v) >= U(v), where

    .. math:: L = \frac{M_\ell^2}{\Delta_\ell} - M_\ell, \quad U = \frac{M_u^2}{\Delta_u} + M_u,
        \quad M_\ell = (A - \ell' I)^{-1}, \quad M_u = (u' I - A)^{-1},

    L(v) = vᵀLv, Δ the change of the trace of M as its barrier moves; its weight is between 1/L(v) and
    1/U(v).  Afterwards :math:`\lambda_{\max}/\lambda_{\min} \le ((\sqrt q+1)/(\sqrt q-1))^2`, and scaling
    by their mean leaves :math:`\varepsilon \le 2\sqrt q/(q+1)`, q = count/k.

    Parameters
    ----------
    X : FeatureMatrix, shape (n, d)
    whitening : float64 array, shape (k, n)
        W with W X Xᵀ Wᵀ = I, from :func:`fastpath.sparsification.certificate.range_factor`.
    count : int
        More than k; steps, and so the most columns that can be kept.
    block : int, optional
        Columns in a leaf of the tree; d makes every step scan every column.

    Returns
    -------
    columns : int array, shape (m,), m <= count
        In increasing order.
    weights : float64 array, shape (m,)
        Positive.  Or a refusal, where rounding pushes an eigenvalue past a barrier.

    Notes
    -----
    Cost: the block Gram matrices once, about as much as X Xᵀ; then 10 n³ + 2 n² block a step: a sum over
    all columns of vᵀ(L-U)v is an inner product of L-U with a Gram matrix, so walking down a binary tree of
    block Gram matrices towards the larger sum, then taking the best column of the leaf, needs no scan
    of X.  Memory: 2 n² d / block, which sets the block where it would exceed 256 MiB.

    Claims: P3.deterministic.

    References
    ----------
    J. Batson, D. A. Spielman, N. Srivastava, Twice-Ramanujan sparsifiers, SIAM J. Comput. 41 (2012).
    """
    rank, n = whitening.shape
    d = X.shape[1]
    if count <= rank:
        raise ValueError(f"count must exceed the rank of X, {rank}, got {count}.")
    tree = _Tree(by_columns(X), block or min(d, max(n, -(-2 * n * n * d // TREE_NUMBERS))))
    root = np.sqrt(count / rank)
    low_pace, high_pace = 1.0, (root + 1) / (root - 1)
    low, high = -rank * root, rank * (root**2 + root) / (root - 1)
    total = np.zeros((rank, rank))
    low_trace, high_trace = rank / -low, rank / high
    chosen: dict[int, float] = {}
    for _ in range(count):
        low, high = low + low_pace, high + high_pace
        below, above = _inverse(total, -low), _inverse(-total, high)
        if below is None or above is None:
            return Refusal(
                reason="rounding pushed an eigenvalue past a barrier: X is too ill-conditioned for float64",
                error=RuntimeError,
            )
        low_next, high_next = float(np.trace(below)), float(np.trace(above))
        lower = below @ below.T / (low_next - low_trace) - below
        upper = above @ above.T / (high_trace - high_next) + above
        column, x = tree.best(whitening.T @ (lower - upper) @ whitening)
        v = whitening @ x
        weight = 2 / float(v @ lower @ v + v @ upper @ v)
        if not 0 < weight < np.inf:
            return Refusal(
                reason=f"the barrier method found no column with a positive weight after {len(chosen)} "
                "columns: X is too ill-conditioned for float64",
                error=RuntimeError,
            )
        chosen[column] = chosen.get(column, 0.0) + weight
        total += weight * np.outer(v, v)
        # The traces after a rank-one change (Sherman and Morrison).
        low_part, high_part = below @ v, above @ v
        low_trace = low_next - weight * (low_part @ low_part) / (1 + weight * (v @ low_part))
        high_trace = high_next + weight * (high_part @ high_part) / (1 - weight * (v @ high_part))
    values = sl.eigvalsh(total)
    columns = np.array(sorted(chosen), dtype=np.intp)
    weights = np.array([chosen[int(column)] for column in columns])
    return columns, weights * (2 / float(values[0] + values[-1]))


def _inverse(matrix: Array, shift: float) -> Array | None:
    """Invert a symmetric matrix + shift I; None where that is not positive definite."""
    shifted = matrix + shift * np.eye(len(matrix))
    factor, failed = sl.lapack.dpotrf(shifted.T, lower=0, overwrite_a=1)
    if failed:
        return None
    half = sl.lapack.dpotri(factor, lower=0, overwrite_c=1)[0]
    inverse: Array = np.triu(half) + np.triu(half, 1).T
    return inverse


class _Tree:
    """A binary tree of Gram matrices of blocks of columns: every node holds its children's sum."""

    def __init__(self, X: FeatureMatrix, block: int) -> None:
        self._X, self._block = X, block
        leaves = -(-X.shape[1] // block)
        self._first = 1 << (leaves - 1).bit_length()
        nodes: list[Array | None] = [None] * (2 * self._first)
        if leaves > 1:
            for leaf in range(leaves):
                part = X.part(leaf * block, (leaf + 1) * block)
                nodes[self._first + leaf] = gram_of(part).matrix
            for node in range(self._first - 1, 1, -1):
                left, right = nodes[2 * node], nodes[2 * node + 1]
                nodes[node] = left if right is None or left is None else left + right
        self._nodes = nodes

    def best(self, form: Array) -> tuple[int, Array]:
        """Return a column x with large xᵀ form x, never below the mean over all columns."""
        node = 1
        while node < self._first:
            left, right = self._nodes[2 * node], self._nodes[2 * node + 1]
            node *= 2
            if (
                left is not None
                and right is not None
                and np.vdot(form, left) < np.vdot(form, right)
            ):
                node += 1
        start = (node - self._first) * self._block
        columns = dense_block(self._X, start, start + self._block)
        values = np.einsum("ij,ij->j", columns, form @ columns)
        # A zero column would be chosen where all others are slightly negative by rounding.
        filled = columns.any(axis=0)
        position = int(np.argmax(np.where(filled, values, -np.inf)))
        return start + position, np.ascontiguousarray(columns[:, position])
