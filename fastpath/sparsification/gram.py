"""The Gram matrix X Xᵀ, dense or sparse, by the cheapest of three ways, with a count of its roundings."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.sparsification import gram_rounding
from fastpath.core.cores import run, run_in_order, worker_count
from fastpath.core.costs import (
    OUTER_COLUMN,
    OUTER_ENTRY,
    OUTER_PAIR,
    OUTER_RESULT,
    SPARSE_ENTRY,
    SPARSE_PAIR,
    SPARSE_RESULT,
    SYMMETRIC_PRODUCT,
)
from fastpath.core.directed import UNIT_ROUNDOFF
from fastpath.core.inputs import Matrix
from fastpath.core.shown import shown
from fastpath.sparsification.feature_matrix import (
    BLOCK,
    Entries,
    FeatureMatrix,
    by_columns,
    column_blocks,
    feature_matrix,
)

#: Pairs accumulated at a time, at least: their keys and products then stay in the last-level cache.
PAIRS = 1 << 18

#: Of more rows than this a block's product is taken strip by strip, so many rows each; with fewer, threads
#: share the blocks.
STRIP = 512

#: Rows of scipy's product that are one task, where there are so many entries: with fewer, what it takes to
#: cut them and to start threads is more than they save.
SPARSE_STRIP, SHARED_ENTRIES = 256, 2**20

#: Products that wait to be added, and blocks made dense for them, take no more than this.
HELD_BYTES = 2**28


@standard_arithmetic
@dataclass(frozen=True, kw_only=True)
class Gram:
    """A computed Gram matrix that knows how wrong it can be.

    ``|matrix - X Xᵀ|_ij <= gamma sqrt((X Xᵀ)_ii (X Xᵀ)_jj)`` with ``gamma`` = :attr:`error`.

    Attributes
    ----------
    matrix : float64 array, shape (n, n)
        Symmetric to the bit.
    roundings : int
        The most roundings that a term of any of its sums has passed through.
    """

    __repr__ = shown

    matrix: NDArray[np.float64]
    roundings: int

    @property
    def error(self) -> float:
        """The bound gamma_k = ku/(1 - ku), k the roundings, on the entrywise relative error."""
        # One rounding more than counted pays for underflow (features.LARGEST_EXPONENT).
        return float(gram_rounding(self.roundings + 1, UNIT_ROUNDOFF))


@standard_arithmetic
def gram(X: Any, *, workers: int | None = None) -> Gram:
    r"""Compute X Xᵀ in float64, with an error bound that counts its roundings.

    Any order of summation satisfies :math:`|\hat G - G| \le \gamma_k |X||X|^\top`, k the number of
    roundings that a term passes through, and by Cauchy-Schwarz the right side is at most
    :math:`\gamma_k \sqrt{G_{ii} G_{jj}}`.

    Parameters
    ----------
    X : array_like or sparse matrix, shape (n, d), float32, float64, integers or booleans
        Never changed, and a sparse X, of which formats other than CSR and CSC are converted, never made dense
        beyond blocks of 2048 columns, one a worker.
    workers : int, optional
        Threads for products of matrices, dense or scipy's; by default every core that the process may use.
        No bit of the result depends on it.

    Returns
    -------
    Gram
        ``matrix`` of shape (n, n), float64, and ``roundings``.

    Raises
    ------
    TypeError, ValueError
        As :func:`fastpath.sparsification.feature_matrix.feature_matrix`.

    Notes
    -----
    Three ways.  *Dense blocks*: n² d / 2 multiply-adds at BLAS speed.  *Outer products*: k_j(k_j + 1)/2
    additions for each column j with k_j entries, columns grouped by k_j so that numpy runs the loops.
    *scipy*'s sparse product: the sum of k_j².  Columns with many entries go the first way, the others
    the second, each column where it is cheaper; scipy's serves where hardly any column has two entries.
    Memory: n², one block, and for CSR input at most one copy in CSC; with more workers up to 256 MiB more.
    Outer products, whose sums Python lets no two threads take at once, are one worker's.

    Claims: P3.gram.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> X = np.random.default_rng(0).standard_normal((10, 500))
    >>> G = fastpath.gram(X)
    >>> G.matrix.shape, G.error < 1e-12
    ((10, 10), True)
    """
    return gram_of(feature_matrix(X), worker_count(workers))


def gram_of(X: FeatureMatrix, workers: int | None = None) -> Gram:
    """Compute X Xᵀ of a matrix that has been checked; without ``workers`` BLAS is left as it is."""
    n, d = X.shape
    if X.stored == n * d:
        return _dense_blocks(X, workers)
    entries = _column_counts(X.entries)
    columns_with = np.bincount(entries)
    outer, product, sparse = _costs(n, len(columns_with))
    results = (OUTER_RESULT - SPARSE_RESULT) * n**2
    if columns_with @ sparse <= columns_with @ np.minimum(outer, product) + results:
        return _scipy_product(X.entries, workers)
    # Decided for counts, not for columns: there may be millions of those.
    light = outer <= product
    light_columns, heavy_columns = columns_with[light][1:].any(), columns_with[~light].any()
    if not light_columns:
        return _dense_blocks(X, workers)
    columns = by_columns(X).entries
    if not heavy_columns:
        return _outer_products(columns, entries)
    some = _outer_products(columns, np.where(light[entries], entries, 0))
    heavy = FeatureMatrix(entries=columns[:, np.flatnonzero(~light[entries])])
    others = _dense_blocks(heavy, workers)
    return Gram(
        matrix=some.matrix + others.matrix, roundings=max(some.roundings, others.roundings) + 1
    )


def gram_cost(X: FeatureMatrix) -> float:
    """Predict what :func:`gram_of` takes (``fastpath.core.costs``), for choosing between methods."""
    n, d = X.shape
    if not X.is_sparse:
        return float(SYMMETRIC_PRODUCT * n**2 * d)
    columns_with = np.bincount(_column_counts(X.entries))
    ways = _costs(n, len(columns_with))
    return float(columns_with @ np.minimum(*ways[:2]))


def _column_counts(X: Entries) -> NDArray[np.intp]:
    if X.format == "csc":
        counts: NDArray[np.intp] = np.diff(X.indptr).astype(np.intp)
        return counts
    return np.bincount(X.indices, minlength=X.shape[1])


def _costs(n: int, counts: int) -> NDArray[np.float64]:
    """Return what a column with 0, 1, ... entries costs by outer product, in a block, in scipy."""
    entries = np.arange(float(counts))
    pairs = entries * (entries - 1) / 2
    outer = OUTER_ENTRY * entries + OUTER_COLUMN * (entries > 1) + OUTER_PAIR * pairs
    sparse = SPARSE_ENTRY * entries + SPARSE_PAIR * entries**2
    return np.stack([outer, np.full(counts, SYMMETRIC_PRODUCT * n**2), sparse])


def _dense_blocks(X: FeatureMatrix, workers: int | None) -> Gram:
    n, d = X.shape
    total = np.zeros((n, n))
    if n > STRIP:
        for block in column_blocks(X):
            # The longest first.
            starts = range((n - 1) // STRIP * STRIP, -1, -STRIP)
            strips = [partial(_add_strip, block, start, total) for start in starts]
            for _ in run_in_order(strips, workers, len(strips)):
                pass
        # Only what lies left of the diagonal has been summed, but for squares on it.
        for start in range(0, n, STRIP):
            total[:start, start : start + STRIP] = total[start : start + STRIP, :start].T
    else:
        products = (partial(_square, block) for block in column_blocks(X))
        waiting = 1 if workers is None else min(4 * workers, HELD_BYTES // (8 * n * max(n, BLOCK)))
        for product in run_in_order(products, workers, waiting):
            total += product
    return Gram(matrix=total, roundings=min(d, BLOCK) + -(-d // BLOCK))


def _square(block: Matrix) -> Matrix:
    product: Matrix = block @ block.T
    return product


def _add_strip(block: Matrix, start: int, total: Matrix) -> None:
    """Add the rows from ``start`` on of the Gram matrix of a block, up to the square on the diagonal."""
    rows = slice(start, start + STRIP)
    total[rows, :start] += block[rows] @ block[:start].T
    total[rows, rows] += block[rows] @ block[rows].T


def _outer_products(X: sp.csc_array, entries: NDArray[np.intp]) -> Gram:
    """Add x xᵀ for every column of CSC X that has ``entries`` > 0, group by group of equal counts."""
    n = X.shape[0]
    squares = X.data.astype(np.float64, copy=False) ** 2
    held = np.diff(X.indptr)
    if (entries < held).any():
        squares *= np.repeat(entries > 0, held)
    diagonal = np.bincount(X.indices, squares, n)
    upper = np.zeros(n * n)
    # Counts as the smallest type sort by radix, 10 times faster than int64.
    paired = np.flatnonzero(entries > 1)
    counts = entries[paired].astype(np.min_scalar_type(int(entries.max())))
    order = paired[np.argsort(counts, kind="stable")]
    ends = np.cumsum(np.bincount(counts))
    capacity = max(PAIRS, n * n, int(entries.max()) ** 2)
    keys, products = np.empty(capacity, np.int64), np.empty(capacity)
    filled = additions = 0
    for count in np.flatnonzero(np.diff(ends)) + 1:
        columns = order[ends[count - 1] : ends[count]]
        pairs = count * (count - 1) // 2
        while len(columns):
            fitting = min(len(columns), (capacity - filled) // pairs)
            if not fitting:
                upper += np.bincount(keys[:filled], products[:filled], n * n)
                filled, additions = 0, additions + 1
                continue
            end = filled + fitting * pairs
            _pairs(X, columns[:fitting], int(count), keys[filled:end], products[filled:end])
            columns, filled = columns[fitting:], end
    upper += np.bincount(keys[:filled], products[:filled], n * n)
    matrix = upper.reshape(n, n)
    matrix += matrix.T
    np.fill_diagonal(matrix, diagonal)
    # A column meets a sum at most once, so no sum has more terms than the fullest row has entries.
    longest = int(np.bincount(X.indices, minlength=1).max())
    return Gram(matrix=matrix, roundings=longest + additions + 2)


def _pairs(
    X: sp.csc_array,
    columns: NDArray[np.intp],
    count: int,
    keys: NDArray[np.int64],
    products: NDArray[np.float64],
) -> None:
    """Write keys i n + j and products x_i x_j, i < j, of columns that have ``count`` entries each."""
    # Entries first, columns second: every operation below then runs along the columns.
    places = X.indptr[columns] + np.arange(count)[:, None]
    rows = X.indices[places].astype(np.int64)
    values = X.data[places].astype(np.float64, copy=False)
    keys, products = keys.reshape(-1, len(columns)), products.reshape(-1, len(columns))
    scaled = rows * X.shape[0]
    end = 0
    for first in range(count - 1):
        start, end = end, end + count - first - 1
        np.add(scaled[first], rows[first + 1 :], out=keys[start:end])
        np.multiply(values[first], values[first + 1 :], out=products[start:end])


def _scipy_product(X: Entries, workers: int | None) -> Gram:
    X = X.astype(np.float64, copy=False)
    if workers is None or workers == 1 or X.nnz < SHARED_ENTRIES:
        matrix = np.asarray((X @ X.T).toarray())
    else:
        # The same sums, some rows of the result at a time.
        rows = X.tocsr()
        columns = rows.T.tocsr()
        starts = range(0, X.shape[0], SPARSE_STRIP)
        matrix = np.concatenate(
            run([partial(_sparse_strip, rows, columns, start) for start in starts], workers)
        )
    # An entry and its mirror image add the same products in the same order: symmetric to the bit.
    terms = np.diff(X.indptr) if X.format == "csr" else np.bincount(X.indices, minlength=1)
    return Gram(matrix=matrix, roundings=int(terms.max()) + 1)


def _sparse_strip(rows: sp.csr_array, columns: sp.csr_array, start: int) -> Matrix:
    strip: Matrix = (rows[start : start + SPARSE_STRIP] @ columns).toarray()
    return strip
