r"""What is kept of a long matrix whose rows come and go: the k largest entries of every column.

Where a row is final when it comes, :class:`TopEntries` keeps the best k-sparse vector of each column, with
2k numbers and no doubt (P2.heap).  Where rows are corrected later, or are sums over shards,
:class:`CountSketch` keeps sums from which the large entries can be told (P2.recovery).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.streaming import (
    heap_excess,
    recovery_column_failure,
    recovery_error,
    recovery_ratio,
)
from fastpath.core.directed import UNIT_ROUNDOFF, down, up
from fastpath.core.inputs import matrix
from fastpath.core.state_files import Arrays

Floats = NDArray[np.float64]


Rows = NDArray[np.int64]


#: An index has four digits of a byte each.  More and smaller digits are slower to add.
DIGIT_BITS, DIGITS = 8, 4


LARGEST_ROWS = 1 << (DIGIT_BITS * DIGITS)


#: With these, k entries are told from 2^32 with a ratio of 2.7 and from 10^7 with 2.0, except with the
#: probability below.
HASHES, BUCKETS_PER_ENTRY = 15, 256


FAILURE_PROBABILITY = 0.01


#: Whatever more than half of the hash rows are, they contain all rows of one of these sets, in each list:
#: no row at all; one of any 8; two of one of 4 threes, as otherwise 4 + 3 are the most; three of one of
#: 3 fives, as otherwise 6 are.
ROWS_IN_COMMON: list[list[tuple[int, ...]]] = [
    [()],
    [(row,) for row in range(HASHES // 2 + 1)],
    [pair for first in range(0, 12, 3) for pair in combinations(range(first, first + 3), 2)],
    [three for first in range(0, 15, 5) for three in combinations(range(first, first + 5), 3)],
]


#: Indices that are looked at together.
PART = 1 << 18


#: No value beyond the first, nor magnitudes of all that was added to a column beyond the second: no sum
#: overflows.
LARGEST_VALUE, LARGEST_TOTAL = 2.0**960, 2.0**1000


#: The most memory that a sketch may take.
LARGEST_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
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
class CountSketch:
    r"""Sums from which the large entries of long columns can be told, linear in all that was added.

    Each of 15 hash rows adds :math:`s(i) y_i` to bucket :math:`h(i)`; the estimate of :math:`y_i` is the
    median over rows of :math:`s(i)` times the bucket.  Signs and buckets are linear maps of the bits of i
    over the field of two elements, drawn at random: a pair of indices collides for a share of exactly 1/B
    of all draws and its signs cancel, which is what P2.recovery asks.

    Decoding finds exactly what a look at all indices would, of which P2.recovery is proved.  An estimate of
    magnitude t has buckets of at least t in more than half of the hash rows, hence in both of some pair out
    of twelve; and those whose buckets in a pair are given solve linear equations.

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
    With B = 256 k rounded up to a power of two: 8 · 15 B bytes a column, whatever the length.  An entry
    costs 15 additions.  Decoding a column of n rows looks at about n / 1000 + 10^4 k of them where k entries
    stand out, and at a good part of them where fewer do.  Threads must take turns.

    Claim: P2.recovery.

    References
    ----------
    M. Charikar, K. Chen, M. Farach-Colton, Finding frequent items in data streams, 2002.
    """

    def __init__(self, columns: int, sparsity: int, *, rng: np.random.Generator) -> None:
        self._sparsity = sparsity
        buckets = BUCKETS_PER_ENTRY << (sparsity - 1).bit_length()
        size = 8 * HASHES * buckets * columns
        if size > LARGEST_BYTES:
            raise ValueError(
                f"sparsity must leave the sketch at most {LARGEST_BYTES} bytes, got {sparsity} for "
                f"{columns} columns: {size} bytes."
            )
        self._hashes = _Hashes.drawn(buckets, rng)
        self._sums = np.zeros((HASHES * buckets, columns))
        self._length = 0
        self._roundings = 0
        self._absolute = np.zeros(columns)

    @property
    def nbytes(self) -> int:
        """Bytes of the sums and of the hash functions."""
        return self._sums.nbytes + self._hashes.tables.nbytes

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
            If a type or shape does not fit, an index is out of range, a value is not finite or beyond
            2^960, or the magnitudes of all that was added beyond 2^1000.  The sketch is then as before.
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
        absolute = self._added("values", np.abs(y).sum(axis=0))
        places, signs = self._hashes(indices.astype(np.int64))
        starts = np.arange(0, places.size + 1, places.shape[1])
        shape = (len(self._sums), len(places))
        self._sums += sp.csc_array((signs.ravel(), places.ravel(), starts), shape=shape) @ y
        self._length = max(self._length, int(indices.max()) + 1)
        self._roundings += len(y) + 1
        self._absolute = absolute

    def merge(self, other: CountSketch) -> None:
        """Add all that another sketch has added.

        Raises
        ------
        ValueError
            If sizes or hash functions differ, or the magnitudes of all that was added would pass 2^1000;
            the sketch is then as before.
        """
        for name, one, another in (
            ("columns", len(self._absolute), len(other._absolute)),
            ("sparsity", self._sparsity, other._sparsity),
        ):
            if one != another:
                raise ValueError(f"other must have {name} = {one}, got {another}.")
        if not np.array_equal(self._hashes.tables, other._hashes.tables):
            raise ValueError(
                "other must have the same hash functions, got others: "
                "draw both from generators with one seed."
            )
        absolute = self._added("other", other._absolute)
        self._sums += other._sums
        self._length = max(self._length, other._length)
        self._roundings += other._roundings + 1
        self._absolute = absolute

    def estimate(self, rows: ArrayLike, column: int) -> Floats:
        """Return the estimates of entries of one column."""
        places, signs = self._hashes(np.asarray(rows, np.int64))
        return np.asarray(np.median(self._sums[:, column].take(places) * signs, axis=1))

    def entries(self, column: int) -> tuple[Rows, Floats]:
        """Return rows and estimates of the k entries of a column that look largest, by rising row.

        Of equal estimates the one with the smaller row is kept; none is 0.
        """
        magnitudes = np.abs(self._sums[:, column]).reshape(HASHES, -1)
        least = magnitudes[magnitudes > 0].min(initial=np.inf)
        rows, estimates = np.zeros(0, np.int64), np.zeros(0)
        threshold, reached, candidates = np.inf, 0.0, self._sparsity
        # Once k estimates reach the threshold, or every one but 0 would, no others can be larger.
        while reached < threshold and threshold > least:
            candidates *= 2
            threshold = max(_middle_of_largest(magnitudes, candidates), reached, least)
            rows, estimates = self._reaching(magnitudes >= threshold, column)
            reached = float(np.abs(estimates).min()) if len(rows) == self._sparsity else 0.0
        return rows, estimates

    def _reaching(self, heavy: NDArray[np.bool_], column: int) -> tuple[Rows, Floats]:
        """Return the k largest estimates with heavy buckets in more than half of the rows."""
        rows, estimates = np.zeros(0, np.int64), np.zeros(0)
        for part in self._hashes.mostly(heavy, self._length):
            rows = np.union1d(rows, part)
            estimates = self.estimate(rows, column)
            order = np.lexsort((rows, -np.abs(estimates)))[: self._sparsity]
            order = np.sort(order[estimates[order] != 0])
            rows, estimates = rows[order], estimates[order]
        return rows, estimates

    def bound(self, entry_error: Floats, length: int) -> RecoveryBound:
        """Bound the error of columns of that length whose entries err by at most ``entry_error``.

        The ratio is the one that fails with a probability of FAILURE_PROBABILITY, over all entries.
        """
        half = HASHES // 2
        buckets = len(self._sums) // HASHES
        n = max(length, 1)
        row_failure = (FAILURE_PROBABILITY / (n * math.comb(HASHES, half + 1))) ** (1 / (half + 1))
        accuracy = 1 / math.sqrt(row_failure * buckets / self._sparsity - 1)
        ratio = recovery_ratio(accuracy)
        failure = float(recovery_column_failure(n, half, self._sparsity, buckets, accuracy))
        # The sums are rounded.  Where estimates are off by a fixed amount besides, the k largest are by
        # no more than what a heap of entries off by that amount is, since
        # sqrt(t² + 4 t s + 5 s²) = |(t + 2 s, s)| is a norm.
        relative = self._roundings * UNIT_ROUNDOFF
        if relative < 1:
            least = down(1 - relative)
            rounding = up(up(relative / down(least * least)) * self._absolute)
        else:
            rounding = np.full_like(self._absolute, np.inf)
        excess = recovery_error(ratio, 0.0, n, entry_error) + heap_excess(self._sparsity, rounding)
        return RecoveryBound(
            ratio=float(ratio),
            excess=up(excess),
            failure_probability=min(1.0, failure),
            claims=("P2.recovery", "P2.heap"),
        )

    def contents(self) -> Arrays:
        """Return all that is kept."""
        return {
            "sparsity": np.array(self._sparsity),
            "length": np.array(self._length),
            "roundings": np.array(self._roundings),
            "absolute": self._absolute,
            "sums": self._sums,
            "tables": self._hashes.tables,
        }

    @classmethod
    def from_contents(cls, contents: Arrays) -> CountSketch:
        """Return what :meth:`contents` was taken from."""
        sketch = cls.__new__(cls)
        sketch._sparsity = contents["sparsity"].item()
        sketch._length = contents["length"].item()
        sketch._roundings = contents["roundings"].item()
        sketch._absolute = contents["absolute"]
        sketch._sums = contents["sums"]
        sketch._hashes = _Hashes(tables=contents["tables"], buckets=len(sketch._sums) // HASHES)
        return sketch

    def __copy__(self) -> CountSketch:
        return self.from_contents({name: x.copy() for name, x in self.contents().items()})

    def _added(self, name: str, absolute: Floats) -> Floats:
        """Return the magnitudes of all that was added once so much more is, or refuse."""
        total = self._absolute + absolute
        if not total.max() <= LARGEST_TOTAL:
            raise ValueError(
                f"{name} must leave the magnitudes of all that was added to a column at most 2^1000 "
                f"together, got {total.max():.3g}."
            )
        return total


@dataclass(frozen=True, kw_only=True)
class _Hashes:
    """Hash functions from indices to buckets and signs, linear over the field of two elements.

    Attributes
    ----------
    tables : (DIGITS, 256, HASHES) array
        What each digit of an index contributes, by exclusive or, to 2 * place + (1 if negative); the
        place counts buckets, row after row.
    buckets : int
        In each row; a power of two.
    """

    tables: NDArray[np.int32]
    buckets: int

    @classmethod
    def drawn(cls, buckets: int, rng: np.random.Generator) -> _Hashes:
        """Draw them: a word, bucket and sign, for each bit of an index and each row."""
        words = rng.integers(0, 2 * buckets, size=(DIGITS, DIGIT_BITS, HASHES), dtype=np.int32)
        tables = np.zeros((DIGITS, 1 << DIGIT_BITS, HASHES), np.int32)
        for bit in range(DIGIT_BITS):
            half = 1 << bit
            tables[:, half : 2 * half] = tables[:, :half] ^ words[:, bit, None]
        # A power of two of buckets: the place of a row's first bucket joins by exclusive or as well.
        tables[0] ^= np.arange(HASHES, dtype=np.int32) * (2 * buckets)
        return cls(tables=tables, buckets=buckets)

    def __call__(self, indices: Rows) -> tuple[NDArray[Any], Floats]:
        """Return places and signs, of shape (b, HASHES)."""
        hashed = _hashed(self.tables, indices)
        return hashed >> 1, 1.0 - 2.0 * (hashed & 1).astype(np.float64)

    def bucket(self, row: int, indices: Rows) -> NDArray[Any]:
        """Return their buckets in one row, without the place of its first."""
        return _hashed(self.tables[:, :, row], indices) >> 1 & (self.buckets - 1)

    def mostly(self, heavy: NDArray[np.bool_], length: int) -> Iterator[Rows]:
        """Yield all indices below ``length`` with heavy buckets, (HASHES, buckets), in most rows, in parts.

        An index may come again.
        """
        counts: list[int] = np.count_nonzero(heavy, axis=1).tolist()

        def cost(sets: Sequence[tuple[int, ...]]) -> float:
            return sum(
                math.prod(counts[row] for row in rows)
                * max(1.0, length / float(self.buckets) ** len(rows))
                for rows in sets
            )

        bits = self.buckets.bit_length() - 1
        fitting = [sets for sets in ROWS_IN_COMMON if bits * len(sets[0]) < 63]
        for rows in min(fitting, key=cost):
            for indices in self._all(rows, [np.flatnonzero(heavy[row]) for row in rows], length):
                misses = np.zeros(len(indices), np.int8)
                for row in set(range(HASHES)).difference(rows):
                    misses += ~heavy[row].take(self.bucket(row, indices))
                    still = misses <= HASHES // 2
                    indices, misses = indices[still], misses[still]
                yield indices

    def _all(self, rows: tuple[int, ...], wanted: list[Rows], length: int) -> Iterator[Rows]:
        """Yield all indices below ``length`` whose bucket in each row is one of those wanted there.

        Linear equations: Gauss's algorithm splits the space of the indices into a kernel, which changes
        no bucket, and one index for each pivot.
        """
        pieces = math.prod(map(len, wanted)) // PART
        if pieces and len(wanted[0]) > 1:
            for piece in np.array_split(wanted[0], min(pieces + 1, len(wanted[0]))):
                yield from self._all(rows, [piece, *wanted[1:]], length)
            return
        bits = self.buckets.bit_length() - 1
        pivots: list[tuple[int, int, int]] = []
        kernel: list[int] = []
        for bit in range((length - 1).bit_length()):
            index = 1 << bit
            word = sum(
                int(self.bucket(row, np.array(index))) << bits * i for i, row in enumerate(rows)
            )
            for pivot, pivot_word, pivot_index in pivots:
                if word >> pivot & 1:
                    word, index = word ^ pivot_word, index ^ pivot_index
            if word:
                pivots.append((word.bit_length() - 1, word, index))
            else:
                kernel.append(index)
        words = np.zeros(1, np.int64)
        for i, buckets in enumerate(wanted):
            words = (words[:, None] | buckets << bits * i).ravel()
        indices = np.zeros(len(words), np.int64)
        for pivot, pivot_word, pivot_index in pivots:
            chosen = -(words >> pivot & 1)
            words, indices = words ^ (chosen & pivot_word), indices ^ (chosen & pivot_index)
        indices = indices[words == 0]
        near = np.zeros(1, np.int64)
        while kernel and len(near) < PART:
            near = np.concatenate((near, near ^ kernel.pop()))
        step = PART // len(near)
        for far in _combined(kernel):
            for start in range(0, len(indices), step):
                found = (indices[start : start + step, None] ^ far ^ near).ravel()
                yield found[found < length]


def _hashed(tables: NDArray[np.int32], indices: Rows) -> NDArray[np.int32]:
    """Return what all digits of indices contribute, by exclusive or."""
    hashed = np.zeros((), np.int32)
    for digit, table in enumerate(tables):
        hashed = hashed ^ table.take(
            indices >> (DIGIT_BITS * digit) & ((1 << DIGIT_BITS) - 1), axis=0
        )
    return hashed


def _combined(vectors: list[int]) -> Iterator[int]:
    """Yield the exclusive or of every subset."""
    for subset in range(1 << len(vectors)):
        combination = 0
        for i, vector in enumerate(vectors):
            if subset >> i & 1:
                combination ^= vector
        yield combination


def _middle_of_largest(magnitudes: Floats, count: int) -> float:
    """Return the median over rows of what so many entries of a row reach; 0 if it has fewer."""
    if count > magnitudes.shape[1]:
        return 0.0
    reached: Floats = np.partition(magnitudes, -count, axis=1)[:, -count]
    return float(np.median(reached))
