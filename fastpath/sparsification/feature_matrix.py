"""The feature matrix X, dense or sparse: checked once, read in blocks of columns, never changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fastpath.core.inputs import Matrix, exact_floats

#: A dense array, a csr_array or a csc_array.
Entries: TypeAlias = Any

#: Row maxima of float64 input lie in [2^-250, 2^250] (or are zero).  Then every diagonal entry of the
#: Gram matrix is at least 2^-500, and what products lose to underflow, at most 2^-1022 each, is
#: under 2^-400 of any rounding term.  float32 input always fits.
LARGEST_EXPONENT = 250

#: Columns in one block: the product of a block of 2048 with its transpose runs at the speed of the
#: whole, and a sum of d terms then passes through 2048 + d/2048 roundings at most instead of d.
BLOCK = 2048

#: Numbers of a dense copy of some columns of a CSR matrix, 64 MiB.
FILLED = 1 << 23

#: Entries looked at in one pass: one large temporary would cost 4 times as much.
PIECE = 1 << 16


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureMatrix:
    """Features that :func:`feature_matrix` has checked, or that were computed from such.

    Whatever takes one relies on that, and checks nothing again.

    Attributes
    ----------
    entries : array, csr_array or csc_array, shape (n, d)
        In float32 or float64, finite, and so large that squares stay in range.
    """

    entries: Entries

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
        n, d = self.entries.shape
        return int(n), int(d)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the entries."""
        dtype: np.dtype[Any] = self.entries.dtype
        return dtype

    @property
    def is_sparse(self) -> bool:
        """Whether only some entries are stored."""
        return bool(sp.issparse(self.entries))

    @property
    def stored(self) -> int:
        """How many entries are stored."""
        return int(self.entries.nnz if self.is_sparse else self.entries.size)

    def part(self, start: int, stop: int) -> "FeatureMatrix":
        """Return some columns, sharing memory where that can be."""
        return FeatureMatrix(entries=self.entries[:, start:stop])


def feature_matrix(X: Any, name: str = "X") -> FeatureMatrix:
    """Check X, and return it dense or as a sparse array, which shares its memory where that can be.

    Parameters
    ----------
    X : array_like or sparse matrix or array, shape (n, d)
        float32 or float64; integers become float64, which must hold them exactly, and arrays of booleans 0
        and 1.  Of a sparse format other than CSR and CSC, and of one with unsorted indices, a copy is taken.
    name : str
        What error messages call it.

    Returns
    -------
    FeatureMatrix
        The same numbers in the same floating-point type.

    Raises
    ------
    TypeError
        If entries are neither float32, float64, integers nor booleans, or X means more than its entries (a
        masked array, say).
    ValueError
        If X is not a matrix, is empty, holds NaN or infinity or integers that float64 does not hold, has
        float64 rows whose largest entry is outside 2^-250 to 2^250, or has sparse indices that are
        duplicate, as their sum would be rounded, or out of range.

    Notes
    -----
    Cost: two passes over the entries, and a copy where indices are to be sorted or a format to be changed.
    """
    entries = _sparse(X, name) if sp.issparse(X) else _dense(X, name)
    fault = magnitude_fault(entries, name)
    if fault:
        raise ValueError(f"{fault}.")
    return FeatureMatrix(entries=entries)


def _dense(X: Any, name: str) -> Matrix:
    if getattr(X, "dtype", None) == np.bool_ and not np.ma.isMaskedArray(X):
        X = np.asarray(X, np.float64)
    array = exact_floats(name, X)
    _check_shape(array.shape, name)
    return array


def _sparse(X: Any, name: str) -> Entries:
    _check_shape(X.shape, name)
    if X.format not in ("csr", "csc"):
        X = _by_rows(X, name)
    if X.dtype == np.bool_:
        X = X.astype(np.float64)
    data = exact_floats(f"{name}.data", X.data)
    _check_starts(X, name)
    kind = sp.csr_array if X.format == "csr" else sp.csc_array
    # A new object on the same arrays: scipy notes what it finds out on the object, not on the user's.
    entries = kind((data, X.indices, X.indptr), shape=X.shape, copy=False)
    if _descents(entries).any():
        entries = kind((data, X.indices, X.indptr), shape=X.shape, copy=True)
        entries.sort_indices()
        if _descents(entries).any():
            raise ValueError(
                f"{name} must have no duplicate indices: call {name}.sum_duplicates() first."
            )
    _check_range(entries, name)
    return entries


def _by_rows(X: Any, name: str) -> sp.csr_array:
    """Return X in CSR format; nothing is added up, so that duplicates are found as in any other."""
    try:
        if X.format in ("lil", "bsr"):
            if X.format == "bsr":
                X.copy().check_format(full_check=True)
            return sp.csr_array(X.tocsr())
        entries = sp.coo_array(X.tocoo(), copy=True)
        entries.has_canonical_format = True
        return entries.tocsr()
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"{name} must be a well-formed {X.format.upper()} matrix: {error}."
        ) from None


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) != 2:
        raise ValueError(f"{name} must be a matrix (2 dimensions), got shape {shape}.")
    if 0 in shape:
        raise ValueError(f"{name} must not be empty, got shape {shape}.")


def _check_starts(X: Any, name: str) -> None:
    major = X.shape[0 if X.format == "csr" else 1]
    starts, indices = X.indptr, X.indices
    if (
        len(starts) != major + 1
        or starts[0] != 0
        or starts[-1] != len(indices)
        or len(indices) != len(X.data)
        or (starts[1:] < starts[:-1]).any()
    ):
        raise ValueError(
            f"{name} must be a well-formed {X.format.upper()} matrix, but its indptr does not rise "
            f"from 0 to the {len(indices)} stored entries."
        )


def _inner_starts(X: Entries) -> NDArray[Any]:
    """Return where rows begin (of CSC: columns) between the first stored entry and the last."""
    starts, stored = X.indptr, len(X.indices)
    inner: NDArray[Any] = starts[
        np.searchsorted(starts, 0, "right") : np.searchsorted(starts, stored)
    ]
    return inner


def _descents(X: Entries) -> NDArray[np.bool_]:
    """Return where an index inside a row does not exceed the one before it."""
    # Found by comparing all neighbours and forgiving those between rows.
    descents: NDArray[np.bool_] = X.indices[1:] <= X.indices[:-1]
    descents[_inner_starts(X) - 1] = False
    return descents


def _check_range(X: Entries, name: str) -> None:
    indices, minor = X.indices, X.shape[1 if X.format == "csr" else 0]
    if not len(indices):
        return
    lows = highs = indices
    inner = _inner_starts(X)
    if len(inner) < len(indices) // 4:
        # Sorted rows: their ends tell the range.
        lows, highs = indices[np.append(inner, 0)], indices[np.append(inner, len(indices)) - 1]
    if lows.min() < 0 or highs.max() >= minor:
        raise ValueError(
            f"{name} must have indices in [0, {minor}), got {lows.min()} to {highs.max()}."
        )


def magnitude_fault(X: Entries, name: str = "X") -> str | None:
    """Say what is wrong with the size of X's entries; None where they are finite and in range."""
    entries = X.data if sp.issparse(X) else X
    if not entries.size or _plainly_in_range(X, entries):
        return None
    magnitudes = row_magnitudes(X)
    largest = float(magnitudes.max())
    if not np.isfinite(largest):
        return f"{name} must be finite, but it holds NaN or infinite entries"
    smallest = float(magnitudes.min(where=magnitudes > 0, initial=1.0))
    if entries.dtype == np.float64 and (
        largest > 2.0**LARGEST_EXPONENT or smallest < 2.0**-LARGEST_EXPONENT
    ):
        return (
            f"{name} must have rows whose largest entries are zero or between 2^-{LARGEST_EXPONENT} "
            f"and 2^{LARGEST_EXPONENT} in magnitude, got {smallest:.3g} to {largest:.3g}: squares "
            "could underflow or overflow. Scale it by a power of two"
        )
    return None


def _plainly_in_range(X: Entries, entries: Matrix) -> bool:
    """Whether sums of squares, in one pass, show that X is finite and of moderate size."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if sp.issparse(X):
            largest = float(np.dot(entries, entries))
            pieces = (entries[i : i + PIECE] for i in range(0, entries.size, PIECE))
            smallest = min(float(np.abs(piece).min()) for piece in pieces) ** 2
        else:
            squares = np.einsum("ij,ij->i", X, X)
            largest, smallest = float(squares.max()), float(squares.min()) / X.shape[1]
    exponent = LARGEST_EXPONENT if entries.dtype == np.float64 else 50
    return 2.0 ** (-2 * exponent + 20) < smallest and largest < 2.0 ** (2 * exponent - 20)


def row_magnitudes(X: Entries) -> NDArray[np.float64]:
    """Return the largest magnitude in every row, NaN where a row holds one."""
    if not sp.issparse(X):
        largest: NDArray[np.float64] = np.maximum(X.max(axis=1), -X.min(axis=1)).astype(np.float64)
        return largest
    magnitudes = np.zeros(X.shape[0])
    if X.format == "csr":
        filled = np.flatnonzero(np.diff(X.indptr))
        if len(filled):
            magnitudes[filled] = np.maximum.reduceat(np.abs(X.data), X.indptr[filled])
    else:
        np.maximum.at(magnitudes, X.indices, np.abs(X.data))
    return magnitudes


def nonzero_columns(X: FeatureMatrix) -> NDArray[np.intp]:
    """Return the indices of the columns that are not zero."""
    entries = X.entries
    if not X.is_sparse:
        return np.flatnonzero(entries.any(axis=0))
    held = np.zeros(X.shape[1], dtype=bool)
    if entries.format == "csr":
        held[entries.indices[entries.data != 0]] = True
    else:
        counts = np.diff(entries.indptr)
        held[np.repeat(np.arange(X.shape[1]), counts)[entries.data != 0]] = True
    return np.flatnonzero(held)


def by_columns(X: FeatureMatrix) -> FeatureMatrix:
    """Return X in a form whose columns are cheap to take: CSR becomes CSC, all else stays."""
    by_rows = X.is_sparse and X.entries.format == "csr"
    return FeatureMatrix(entries=X.entries.tocsc()) if by_rows else X


def take_columns(X: FeatureMatrix, columns: NDArray[np.intp]) -> Matrix:
    """Return some columns of X as a dense array in its own type."""
    taken = X.entries[:, columns]
    dense: Matrix = taken.toarray() if X.is_sparse else taken
    return dense


def column_blocks(X: FeatureMatrix, width: int = BLOCK) -> Iterator[Matrix]:
    """Yield X as dense float64 blocks of at most ``width`` columns, views where it can."""
    (n, d), entries = X.shape, X.entries
    if X.is_sparse and X.stored == n * d:
        # Sorted without duplicates and full: the stored entries are the matrix.
        by_rows = entries.format == "csr"
        X = FeatureMatrix(
            entries=entries.data.reshape(n, d) if by_rows else entries.data.reshape(d, n).T
        )
    if X.is_sparse and entries.format == "csr":
        yield from _blocks_of_rows(entries, width)
        return
    for start in range(0, d, width):
        yield dense_block(X, start, start + width)


def dense_block(X: FeatureMatrix, start: int, stop: int) -> Matrix:
    """Return columns start to stop as float64, a view where X is dense float64; X must not be CSR."""
    entries = X.entries
    if not X.is_sparse:
        block: Matrix = entries[:, start:stop].astype(np.float64, copy=False)
        return block
    bounds = entries.indptr[start : stop + 1]
    held = slice(bounds[0], bounds[-1])
    part = sp.csr_array(
        (
            entries.data[held].astype(np.float64, copy=False),
            entries.indices[held],
            bounds - bounds[0],
        ),
        shape=(len(bounds) - 1, X.shape[0]),
    )
    transposed: Matrix = part.toarray()
    return transposed.T


def _blocks_of_rows(X: sp.csr_array, width: int) -> Iterator[Matrix]:
    """Yield the blocks of a CSR matrix: its sorted rows are cut, so that no copy in CSC is needed."""
    n, d = X.shape
    # Several blocks are filled at a time: a row is cut by a loop in Python.
    span = max(1, FILLED // (n * width)) * width
    edges = np.append(np.arange(0, d, span), d)
    rows = [slice(*X.indptr[i : i + 2]) for i in range(n)]
    cuts = [r.start + np.searchsorted(X.indices[r], edges) for r in rows]
    for k, start in enumerate(edges[:-1]):
        columns = int(edges[k + 1] - start)
        # Rows a power of two apart would meet in the cache: BLAS then takes 1.4 times as long.
        padded = np.zeros((n, columns + 8))
        for row, cut in zip(padded, cuts, strict=True):
            part = slice(cut[k], cut[k + 1])
            row[X.indices[part] - start] = X.data[part]
        for first in range(0, columns, width):
            yield padded[:, first : min(first + width, columns)]
