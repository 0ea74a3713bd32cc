r"""What is kept of a long matrix whose rows come and go: the k largest entries of every column.

Where a row is final when it comes, :class:`TopEntries` keeps the best k-sparse vector of each column, with
2k numbers and no doubt (P2.heap).  Where rows are corrected later, or are sums over shards,
:class:`CountSketch` keeps sums from which the large entries can be told (P2.recovery).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from fastpath._bounds import (
    heap_excess,
    recovery_error,
    recovery_failure,
    recovery_ratio,
    recovery_row_failure,
)
from fastpath.arithmetic import standard_arithmetic
from fastpath.inputs import matrix
from fastpath.rounding import UNIT_ROUNDOFF, UPWARD
from fastpath.state_files import Arrays

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Digits = list[Rows]

#: An index has four digits of a byte each.  More and smaller digits are slower to add and to decode.
DIGIT_BITS, DIGITS = 8, 4
LARGEST_ROWS = 1 << (DIGIT_BITS * DIGITS)

#: With these, k entries are told from 2^32 with a ratio of 2.7 and from 10^7 with 2.0, except with the
#: probability below.
HASHES, BUCKETS_PER_ENTRY = 15, 256
FAILURE_PROBABILITY = 0.01

#: For prefixes, of which only the heaviest few are looked into.
PREFIX_HASHES, PREFIXES_PER_ENTRY = 7, 4

#: No sum of 2^32 such values overflows.
LARGEST_VALUE = 2.0**960

#: The most memory that a sketch may take.
LARGEST_BYTES = 2**30


@dataclass(frozen=True)
class RecoveryBound:
    """How far sparse columns T may lie from the exact columns y.

    ``‖T - y‖₂ <= ratio * tail(y) + excess``, column by column, where tail(y) is the ℓ₂ norm of y without
    its ``sparsity`` largest entries: what the best sparse vector misses.

    Attributes
    ----------
    ratio : float
        1 for a heap.
    excess : array, shape (columns,)
        From the largest error of the column's entries.
    failure_probability : float or None
        How likely the bound is false, for one column, over the draws of the hash functions; None where
        nothing was drawn.
    claims : tuple of str
        The ids of the claims that it rests on (``attest show <id>``).
    """

    ratio: float
    excess: Floats
    failure_probability: float | None
    claims: tuple[str, ...]


@standard_arithmetic
class TopEntries:
    """The k entries of largest magnitude of every column, of rows that each come once.

    Of equal entries the one with the smaller row is kept.  An empty place holds 0 in row -1.

    Parameters
    ----------
    columns : int
        How many.
    sparsity : int
        k.

    Notes
    -----
    16 k bytes a column; a comparison an entry, and k where one enters.  Claim: P2.heap.
    """

    def __init__(self, columns: int, sparsity: int) -> None:
        self._values = np.zeros((columns, sparsity))
        self._rows = np.full((columns, sparsity), -1, np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return self._values.nbytes + self._rows.nbytes

    def add(self, rows: Rows, values: NDArray[Any]) -> None:
        """Take in rows, in any order, each of which comes only once.

        Parameters
        ----------
        rows : (b,) array of int
            Their indices.
        values : (b, columns) array
            The rows, finite.
        """
        magnitudes = np.abs(values)
        least = np.abs(self._values).min(axis=1)
        for column in np.flatnonzero(magnitudes.max(axis=0) >= least).tolist():
            large = np.flatnonzero(magnitudes[:, column] >= least[column])
            self._enter(column, rows[large], values[large, column])

    def merge(self, other: TopEntries) -> None:
        """Take in the entries of other rows."""
        for column in range(len(self._rows)):
            self._enter(column, other._rows[column], other._values[column])

    def entries(self, column: int) -> tuple[Rows, Floats]:
        """Return rows and values of the entries of a column that are not 0, by rising row."""
        kept = np.flatnonzero(self._values[column])
        kept = kept[np.argsort(self._rows[column, kept])]
        return self._rows[column, kept], self._values[column, kept]

    def bound(self, entry_error: Floats, length: int) -> RecoveryBound:
        """Bound the error of the columns where entries err by at most ``entry_error``, (columns,)."""
        sparsity = min(self._values.shape[1], max(length, 1))
        return RecoveryBound(1.0, heap_excess(sparsity, entry_error), None, ("P2.heap",))

    def contents(self) -> Arrays:
        """Return all that is kept."""
        return {"values": self._values, "rows": self._rows}

    @classmethod
    def from_contents(cls, contents: Arrays) -> TopEntries:
        """Return what :meth:`contents` was taken from."""
        kept = cls(0, 0)
        kept._values, kept._rows = contents["values"], contents["rows"]
        return kept

    def _enter(self, column: int, rows: Rows, values: NDArray[Any]) -> None:
        values = np.concatenate((self._values[column], values))
        rows = np.concatenate((self._rows[column], rows))
        # Rows of empty places come last, so that a zero may take one but no entry loses to one.
        order = np.lexsort((rows.view(np.uint64), -np.abs(values)))[: self._values.shape[1]]
        self._values[column], self._rows[column] = values[order], rows[order]


@standard_arithmetic
class CountSketch:
    r"""Sums from which the large entries of long columns can be told, linear in all that was added.

    Each of 15 hash rows adds :math:`s(i) y_i` to bucket :math:`h(i)`; the estimate of :math:`y_i` is the
    median over rows of :math:`s(i)` times the bucket.  Indices have four digits, and three more tables
    keep such sums for prefixes of one, two and three digits: decoding follows the heaviest prefixes, a
    digit at a time, and looks at thousands of estimates instead of all.

    Signs and buckets are linear maps of the bits of i over the field of two elements, drawn at random: a
    pair of indices collides for a share of exactly 1/B of all draws and its signs cancel, which is what
    P2.recovery asks.

    Parameters
    ----------
    columns : int
        How many.
    sparsity : int
        k, the entries of each column to tell.
    rng : numpy.random.Generator
        Draws the hash functions.  Sketches merge if they were drawn from generators in one state.

    Raises
    ------
    ValueError
        If the sketch would take more than LARGEST_BYTES.

    Notes
    -----
    With B = 256 k rounded up to a power of two: 8 (15 + 3 7) B bytes a column, whatever the length.  An entry
    costs 36 additions; decoding a column about 1024 k (15 + 3 7) reads.

    Claim: P2.recovery.  That the digits lead to all entries that a full scan would find is tested, not
    proved.

    References
    ----------
    M. Charikar, K. Chen, M. Farach-Colton, Finding frequent items in data streams, 2002.
    """

    def __init__(self, columns: int, sparsity: int, *, rng: np.random.Generator) -> None:
        self._sparsity = sparsity
        buckets = BUCKETS_PER_ENTRY << (sparsity - 1).bit_length()
        size = 8 * (HASHES + (DIGITS - 1) * PREFIX_HASHES) * buckets * columns
        if size > LARGEST_BYTES:
            raise ValueError(
                f"sparsity must leave the sketch at most {LARGEST_BYTES} bytes, got {sparsity} for "
                f"{columns} columns: {size} bytes."
            )
        self._levels = [
            _Level.drawn(digit, PREFIX_HASHES if digit else HASHES, buckets, columns, rng)
            for digit in range(DIGITS)
        ]
        self._length = 0
        self._roundings = 0
        self._absolute = np.zeros(columns)

    @property
    def nbytes(self) -> int:
        """Bytes of the sums and of the hash functions."""
        return sum(level.sums.nbytes + level.tables.nbytes for level in self._levels)

    def add(self, rows: ArrayLike, values: ArrayLike) -> None:
        """Add to entries; what is negative takes away again.

        Parameters
        ----------
        rows : array_like of int, shape (b,)
            Indices in [0, 2^32), in any order; one may come again.
        values : array_like, shape (b, columns)
            What to add: float32, float64 or integers.

        Raises
        ------
        TypeError, ValueError
            If a type or shape does not fit, an index is out of range, or a value is not finite or beyond
            2^960.  The sketch is then as before.
        """
        y = matrix("values", values).astype(np.float64, copy=False)
        indices = np.asarray(rows)
        if indices.dtype.kind not in "iu":
            raise TypeError(f"rows must hold integers, got {indices.dtype}.")
        if indices.shape != (len(y),) or y.shape[1] != len(self._absolute):
            raise ValueError(
                f"rows must have shape ({len(y)},) and values {len(self._absolute)} columns, got "
                f"{indices.shape} and {y.shape[1]}."
            )
        if indices.min() < 0 or indices.max() >= LARGEST_ROWS:
            raise ValueError(f"rows must be in [0, 2^32), got {indices.min()} to {indices.max()}.")
        largest = np.abs(y).max()
        if not largest <= LARGEST_VALUE:
            raise ValueError(f"values must not exceed 2^960 in magnitude, got {largest:.3g}.")
        digits = _digits(indices.astype(np.int64))
        for level in self._levels:
            level.add(digits, y)
        self._length = max(self._length, int(indices.max()) + 1)
        self._roundings += len(y) + 1
        self._absolute += np.abs(y).sum(axis=0)

    def merge(self, other: CountSketch) -> None:
        """Add all that another sketch has added.

        Raises
        ------
        ValueError
            If sizes or hash functions differ; the sketch is then as before.
        """
        for name, one, another in (
            ("columns", len(self._absolute), len(other._absolute)),
            ("sparsity", self._sparsity, other._sparsity),
        ):
            if one != another:
                raise ValueError(f"other must have {name} = {one}, got {another}.")
        for mine, theirs in zip(self._levels, other._levels, strict=True):
            if not np.array_equal(mine.tables, theirs.tables):
                raise ValueError(
                    "other must have the same hash functions, got others: "
                    "draw both from generators with one seed."
                )
        for mine, theirs in zip(self._levels, other._levels, strict=True):
            mine.sums += theirs.sums
        self._length = max(self._length, other._length)
        self._roundings += other._roundings + 1
        self._absolute += other._absolute

    def estimate(self, rows: ArrayLike, column: int) -> Floats:
        """Return the estimates of entries of one column."""
        read = self._levels[0].read(_digits(np.asarray(rows, np.int64)), column)
        return np.asarray(np.median(read, axis=1))

    def entries(self, column: int) -> tuple[Rows, Floats]:
        """Return rows and estimates of the k entries of a column that look largest, by rising row."""
        most = PREFIXES_PER_ENTRY * self._sparsity
        prefixes = np.zeros(1, np.int64)
        for digit in reversed(range(DIGITS)):
            prefixes = (prefixes[:, None] << DIGIT_BITS | np.arange(1 << DIGIT_BITS)).ravel()
            prefixes = prefixes[prefixes << (DIGIT_BITS * digit) < self._length]
            if digit and len(prefixes) > most:
                digits = _digits(prefixes << (DIGIT_BITS * digit))
                read = np.abs(self._levels[digit].read(digits, column))
                # Entries of one prefix may cancel in most rows, but not in nearly all; a heavy entry
                # elsewhere may share a bucket in one row, but hardly in two.
                weights = np.partition(read, -2, axis=1)[:, -2]
                prefixes = prefixes[np.argpartition(-weights, most)[:most]]
        estimates = self.estimate(prefixes, column)
        order = np.lexsort((prefixes, -np.abs(estimates)))[: self._sparsity]
        order = order[estimates[order] != 0]
        order = order[np.argsort(prefixes[order])]
        return prefixes[order], estimates[order]

    def bound(self, entry_error: Floats, length: int) -> RecoveryBound:
        """Bound the error of columns of that length whose entries err by at most ``entry_error``.

        The ratio is the one that fails with a probability of FAILURE_PROBABILITY, over all entries.
        """
        half = HASHES // 2
        buckets = len(self._levels[0].sums) // HASHES
        n = max(length, 1)
        row_failure = (FAILURE_PROBABILITY / (n * math.comb(HASHES, half + 1))) ** (1 / (half + 1))
        accuracy = 1 / math.sqrt(row_failure * buckets / self._sparsity - 1)
        ratio = recovery_ratio(accuracy)
        failure = recovery_failure(half, recovery_row_failure(self._sparsity, buckets, accuracy))
        # The sums are rounded.  Where estimates are off by a fixed amount besides, the k largest are by
        # no more than what a heap of entries off by that amount is, since
        # sqrt(t² + 4 t s + 5 s²) = |(t + 2 s, s)| is a norm.
        relative = self._roundings * UNIT_ROUNDOFF
        rounding = relative / (1 - relative) ** 2 * self._absolute * UPWARD
        excess = recovery_error(ratio, 0.0, n, entry_error) + heap_excess(self._sparsity, rounding)
        return RecoveryBound(
            float(ratio),
            np.nextafter(excess, np.inf),
            min(1.0, float(np.nextafter(n * failure, 1.0))),
            ("P2.recovery", "P2.heap"),
        )

    def contents(self) -> Arrays:
        """Return all that is kept."""
        arrays = {
            "sparsity": np.array(self._sparsity),
            "length": np.array(self._length),
            "roundings": np.array(self._roundings),
            "absolute": self._absolute,
        }
        for digit, level in enumerate(self._levels):
            arrays[f"sums{digit}"] = level.sums
            arrays[f"tables{digit}"] = level.tables
        return arrays

    @classmethod
    def from_contents(cls, contents: Arrays) -> CountSketch:
        """Return what :meth:`contents` was taken from."""
        sketch = cls.__new__(cls)
        sketch._sparsity = contents["sparsity"].item()
        sketch._length = contents["length"].item()
        sketch._roundings = contents["roundings"].item()
        sketch._absolute = contents["absolute"]
        sketch._levels = [
            _Level(contents[f"tables{digit}"], contents[f"sums{digit}"]) for digit in range(DIGITS)
        ]
        return sketch


@dataclass
class _Level:
    """Hash functions of the leading digits of an index, with a sign of the whole index, and their sums.

    Attributes
    ----------
    tables : (DIGITS, 256, hashes) array
        What each digit of an index contributes, by exclusive or, to 2 * place + (1 if negative); the
        place counts buckets, row after row.
    sums : (hashes * buckets, columns) array
        Of what was added, with signs.
    """

    tables: NDArray[np.int32]
    sums: Floats

    @classmethod
    def drawn(
        cls, digit: int, hashes: int, buckets: int, columns: int, rng: np.random.Generator
    ) -> _Level:
        """Draw hash functions that ignore the last ``digit`` digits but for the sign."""
        words = rng.integers(0, 2 * buckets, size=(DIGITS, DIGIT_BITS, hashes), dtype=np.int32)
        words[:digit] &= 1
        tables = np.zeros((DIGITS, 1 << DIGIT_BITS, hashes), np.int32)
        for bit in range(DIGIT_BITS):
            half = 1 << bit
            tables[:, half : 2 * half] = tables[:, :half] ^ words[:, bit, None]
        # A power of two of buckets: the place of a row's first bucket joins by exclusive or as well.
        tables[0] ^= np.arange(hashes, dtype=np.int32) * (2 * buckets)
        return cls(tables, np.zeros((hashes * buckets, columns)))

    def add(self, digits: Digits, values: Floats) -> None:
        """Add rows to the sums."""
        places, signs = self._hash(digits)
        starts = np.arange(0, places.size + 1, places.shape[1])
        shape = (len(self.sums), len(places))
        self.sums += sp.csc_array((signs.ravel(), places.ravel(), starts), shape=shape) @ values

    def read(self, digits: Digits, column: int) -> Floats:
        """Return what each hash row says of each index, of shape (b, hashes)."""
        places, signs = self._hash(digits)
        read: Floats = self.sums[:, column].take(places) * signs
        return read

    def _hash(self, digits: Digits) -> tuple[NDArray[np.int32], Floats]:
        hashed = self.tables[0].take(digits[0], axis=0)
        for table, digit in zip(self.tables[1:], digits[1:], strict=True):
            hashed ^= table.take(digit, axis=0)
        return hashed >> 1, 1.0 - 2.0 * (hashed & 1)


def _digits(indices: Rows) -> Digits:
    """Return the digits of indices, the last one first."""
    return [(indices >> (DIGIT_BITS * digit)) & ((1 << DIGIT_BITS) - 1) for digit in range(DIGITS)]
