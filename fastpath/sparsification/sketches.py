"""Oblivious sketches Y = X S: OSNAP, CountSketch and Johnson-Lindenstrauss, for dense or sparse X."""

from typing import Literal

import numpy as np
import scipy.sparse as sp

from fastpath.core.inputs import Matrix
from fastpath.sparsification.feature_matrix import FeatureMatrix, by_columns

#: Random signs held at a time by a Johnson-Lindenstrauss projection.
RANDOM_ENTRIES = 1 << 22

#: Entries sketched at a time: with their temporaries they stay in a second-level cache of 1 MiB.
CACHED = 1 << 15


def osnap(X: FeatureMatrix, width: int, rng: np.random.Generator, *, sparsity: int = 2) -> Matrix:
    r"""Sketch X with ``sparsity`` random signs for each of its columns: OSNAP, or CountSketch.

    :math:`Y = XS`, where S has s blocks of m/s columns, and in every block one entry ±1/√s in each row,
    at a random place.  Then :math:`E[YY^\top] = XX^\top`, and with probability 1 - δ the two are within ε
    in the Loewner order when m ≥ n(n+1)/(ε²δ), whatever s.

    Parameters
    ----------
    X : FeatureMatrix, shape (n, d)
    width : int
        m, a multiple of ``sparsity``.
    rng : numpy.random.Generator
        The only source of randomness.
    sparsity : int
        s, at least 1; 1 is CountSketch.  On X = [I, 0] CountSketch loses rank whenever two of the n
        columns that matter collide, s = 2 only when both their places do.

    Returns
    -------
    array, shape (n, width), of X's type

    Raises
    ------
    ValueError
        If ``width`` is no positive multiple of ``sparsity``.

    Notes
    -----
    Cost: s nnz(X) additions; for sparse X one gather and one bincount of nnz(X) numbers a block.

    NOTE For dense X runs of m/s columns are turned cyclically by a random amount, instead of each column
    drawing its place.  Columns of one run never collide, others with probability s/m, and all signs are
    independent, which is all that the second moment uses.

    Claims: P3.sketches.

    References
    ----------
    J. Nelson and H. L. Nguyen, OSNAP: faster numerical linear algebra algorithms via sparser subspace
    embeddings, FOCS 2013.
    """
    if sparsity < 1 or width < 1 or width % sparsity:
        raise ValueError(
            f"width must be a positive multiple of sparsity={sparsity}, got width={width}."
        )
    places, entries = width // sparsity, X.entries
    dense_by_columns = not X.is_sparse and not entries.flags.c_contiguous
    Y = np.zeros((X.shape[0], width), X.dtype, order="F" if dense_by_columns else "C")
    parts = [Y[:, start : start + places] for start in range(0, width, places)]
    signs = [_signs(X.shape[1], rng) for _ in parts]
    if X.is_sparse:
        buckets = _buckets_by_row if entries.format == "csr" else _buckets_by_column
        for part, sign in zip(parts, signs, strict=True):
            # Place and sign of a column in one 32-bit number, -1 - place for a minus: one gather
            # instead of two is 1.8 times faster where d exceeds the cache.
            signed = (sign >> 1).astype(np.int64 if places >= 2**31 else np.int32)
            signed = signed ^ rng.integers(0, places, X.shape[1], dtype=signed.dtype)
            buckets(entries, signed, part)
    else:
        turns = [rng.integers(0, places, -(-X.shape[1] // places)) for _ in parts]
        _rolled(entries, [sign.astype(X.dtype) for sign in signs], turns, parts)
    if sparsity > 1:
        Y *= Y.dtype.type(1 / np.sqrt(sparsity))
    return Y


def _signs(count: int, rng: np.random.Generator) -> Matrix:
    """Return random signs as int8, from one random bit each."""
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-count // 8)), np.uint8), count=count)
    signs: Matrix = bits.view(np.int8) * np.int8(2) - np.int8(1)
    return signs


def _buckets_by_row(X: sp.csr_array, signed: Matrix, Y: Matrix) -> None:
    """Write the CountSketch of CSR X to Y, some rows at a time so that all stays in the cache."""
    n, places = Y.shape
    first = 0
    while first < n:
        # As many rows as hold CACHED entries, but one row at least.
        enough = int(np.searchsorted(X.indptr, X.indptr[first] + CACHED, side="right")) - 1
        last = min(max(enough, first + 1), first + max(1, 8 * CACHED // places), n)
        entries = slice(X.indptr[first], X.indptr[last])
        base = np.arange(0, (last - first) * places, places)
        base = np.repeat(base, np.diff(X.indptr[first : last + 1]))
        keys, data = _signed_terms(signed[X.indices[entries]], base, X.data[entries])
        Y[first:last] = np.bincount(keys, data, (last - first) * places).reshape(-1, places)
        first = last


def _buckets_by_column(X: sp.csc_array, signed: Matrix, Y: Matrix) -> None:
    """Write the CountSketch of CSC X to Y."""
    n, places = Y.shape
    keys, data = np.empty(X.nnz, np.int64), np.empty(X.nnz)
    step = max(1, CACHED * X.shape[1] // max(1, X.nnz))
    for first in range(0, X.shape[1], step):
        bounds = X.indptr[first : first + step + 1]
        entries = slice(bounds[0], bounds[-1])
        terms = np.repeat(signed[first : first + step], np.diff(bounds))
        base = X.indices[entries].astype(np.int64) * places
        keys[entries], data[entries] = _signed_terms(terms, base, X.data[entries])
    Y[:] = np.bincount(keys, data, n * places).reshape(n, places)


def _signed_terms(signed: Matrix, base: Matrix, data: Matrix) -> tuple[Matrix, Matrix]:
    """Return base + place and ± data, where ``signed`` is place, or -1 - place for a minus."""
    # Arithmetic on the sign bit: selecting with a mask takes 1.5 times as long.
    minus = signed >> (8 * signed.itemsize - 1)
    return (signed ^ minus) + base, data * (minus | 1)


def _rolled(X: Matrix, signs: list[Matrix], turns: list[Matrix], parts: list[Matrix]) -> None:
    """Write sketches of dense X, a run of as many signed columns as a part has at a time."""
    (n, d), places = X.shape, parts[0].shape[1]
    # A tile stays in the cache while every part reads it; contiguous columns are kept whole.
    by_rows = X.flags.c_contiguous
    height = min(n, max(1, CACHED // places)) if by_rows else n
    order: Literal["C", "F"] = "C" if by_rows else "F"
    buffer = np.empty((height, places), X.dtype, order=order)
    for top in range(0, n, height):
        rows = slice(top, min(top + height, n))
        # Twice as wide as needed: turned runs need no cutting, and one fold at the end is enough.
        sums = [np.zeros((rows.stop - top, 2 * places), X.dtype, order=order) for _ in parts]
        for run in range(len(turns[0])):
            columns = slice(run * places, min((run + 1) * places, d))
            size = columns.stop - columns.start
            signed = buffer[: rows.stop - top, :size]
            for total, sign, turn in zip(sums, signs, turns, strict=True):
                np.multiply(X[rows, columns], sign[columns], out=signed)
                total[:, turn[run] : turn[run] + size] += signed
        for total, part in zip(sums, parts, strict=True):
            np.add(total[:, :places], total[:, places:], out=part[rows])


def johnson_lindenstrauss(X: FeatureMatrix, width: int, rng: np.random.Generator) -> Matrix:
    r"""Project X on random directions of signs, which keeps every inner product of rows.

    :math:`Y = XS/\sqrt m`, S of independent signs.  With probability 1 - δ every
    :math:`|YY^\top - XX^\top|_{ij} \le \varepsilon\sqrt{G_{ii}G_{jj}}` when
    :math:`m \ge \ln(2n^2/\delta)/(\varepsilon^2/4 - \varepsilon^3/6)`.

    Parameters
    ----------
    X : FeatureMatrix, shape (n, d)
    width : int
        m, at least 1.
    rng : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    array, shape (n, width), of X's type

    Notes
    -----
    Cost: d m random bits and nnz(X) m multiply-adds.  Given a factor F of the Gram matrix, project F
    instead: F Fᵀ = X Xᵀ keeps all inner products, at n² m multiply-adds.

    Claims: P3.jl.
    """
    n, d = X.shape
    columns = by_columns(X).entries
    Y = np.zeros((n, width))
    step = max(1, RANDOM_ENTRIES // width)
    for start in range(0, d, step):
        count = min(step, d - start)
        directions = _signs(count * width, rng).reshape(count, width).astype(np.float64)
        Y += columns[:, start : start + step] @ directions
    Y /= np.sqrt(width)
    return Y.astype(X.dtype, copy=False)
