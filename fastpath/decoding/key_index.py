r"""An index of keys for decoding: a query reads the few that matter, and is told what the others can change.

Keys lie sorted in small clusters.  For a query, the box of a cluster bounds the logits of its keys (I.box),
and its count and that bound what it can weigh.  The lightest clusters stay closed; of those that are opened
every key is read.  Attention on those is off by its own rounding and

.. math:: \frac{\rho}{1 + \rho} \max_j |v_j - y|, \qquad \rho = \sum_{closed} e^{bound} / \sum_{open} e^{s},

in each column (I.unopened).  It holds for every query and every run; which keys are closed costs time only.

What the theorems cover of this program: I.box, that a logit is at most what was computed for its box plus
the slack, given the lengths of what rounding made of both images (FP.product) and that of the computed
product (FP.softmax); I.unopened, the formula above and that of the log-sum-exp, given an upper bound of every
closed logit and a lower one of the sum that was opened; FP.softmax and FP.lse, attention on opened keys;
FP.sum, the sums of bounds, and FP.exp, which is measured, their exponentials.
What they do not see is here: that every key lies in just one cluster, or waits and is read; that boxes are
taken of the images of the very rows that lie in their cluster, and rounded outward (``Boxes.of``); that what
overflowed opens its cluster, or ends in a bound that is no number and is refused; and that the range of the
values is that of all of them.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.decoding import unopened_log, unopened_output
from fastpath.core.certified import Certified
from fastpath.core.directed import down, up
from fastpath.core.inputs import Matrix, exact_floats, generator, open_unit
from fastpath.core.locked import Locked
from fastpath.core.norms import longest_row, sum_above
from fastpath.core.offers import Refusal
from fastpath.core.shown import shown
from fastpath.core.state_files import load, write_arrays
from fastpath.decoding.boxes import Boxes, Rotation, slack_of
from fastpath.decoding.closable import Closable, attend_to
from fastpath.decoding.products import MOST_QUERIES, largest, products, weighted_sums
from fastpath.decoding.sampled import attend_by_samples
from fastpath.exact.attention import attend_prepared
from fastpath.exact.prepared import (
    PreparedHead,
    check_rows,
    keys_and_values,
    rows_after,
)
from fastpath.exact.scaled_values import ScaledValues

_KIND = "key index, 1"

#: In a file boxes stand side by side, coordinate below coordinate.
_TRANSPOSED = ("middles", "halves")

CLAIMS = ("I.box", "I.unopened", "FP.product", "FP.sum")

#: Appended keys that are read by every query until there are so many, and are sorted in.
WAITING = 512

#: Blocks of one size that are merged: a key is sorted once for each power of three that its index grows by.
MERGED = 3

#: Fewer keys are all read: that takes no longer than to choose among them.
FEWEST = 16384

#: Of more than this share of the keys, reading them where they lie takes longer than reading all.
LARGEST_SHARE = 0.5

#: Sums of squares that neither overflow nor lose anything to underflow.
_SAFE_SQUARES = 1e-200, 1e200


@dataclass(frozen=True, kw_only=True)
class Decoded(Certified):
    """Attention of a few queries, and how much of the index was read for them.

    Attributes
    ----------
    method : str
        ``"clusters"`` where the bounds of those that stayed closed sufficed, ``"samples"`` where a sample
        of the values did but with a probability, or ``"exact"``.
    reason : str
        Why every key was read, in a sentence; empty where not.
    keys_read : int
        How many keys were read; of a sample all were, and of so many the values.
    failure_probability : float
        The probability that an entry of the group errs by more; 0 but of a sample.
    """

    __repr__ = shown

    method: str
    reason: str
    keys_read: int
    failure_probability: float = 0.0


@standard_arithmetic
class KeyIndex(Locked):
    """Keep keys and values so that a query reads those that matter, and certify each answer.

    One key head: of several each has an index, and the queries that read it are a group.

    Parameters
    ----------
    K : array_like, shape (n, d)
        Keys, of a type that :func:`fastpath.attention` reads; copied.
    V : array_like, shape (n, d_v)
        Values, likewise; mixed types are promoted.

    Attributes
    ----------
    nbytes : int
        What is stored, with what the certificates need.

    Raises
    ------
    TypeError, ValueError
        As :func:`fastpath.attention`, for K and V; or if they are of several heads.

    Notes
    -----
    Cost: n keys are sorted in O(n^(3/2)) operations; one is appended in O(n^(1/2)) on average, since blocks
    of keys are sorted again when three of a size have come together.  A query looks at the boxes of all
    clusters, which hold 8 keys each of up to a million, and more as the root of their number; it reads the
    clusters that are opened.  It pays where attention is sharp: where weights are spread every key is read,
    as it is of fewer than 16,384.

    Claims: I.box, I.unopened, I.sampled; FP.softmax, FP.exp, FP.lse, FP.sum, FP.product.
    """

    _rotation: Rotation
    _middles: Growing
    _halves: Growing
    _sizes: Growing
    _starts: Growing

    def __init__(self, K: ArrayLike, V: ArrayLike) -> None:
        super().__init__()
        k, v = keys_and_values(K, V)
        for name, x, columns in (("K", k, "d"), ("V", v, "d_v")):
            if x.ndim != 2:
                raise ValueError(
                    f"{name} must have shape (n, {columns}), got {x.shape}: of several heads each has an "
                    "index of its own."
                )
            _check_size(name, x)
        self._keys, self._values = Growing(k), Growing(v)
        self._blocks: list[_Block] = []
        #: How many keys lie in clusters; those after them are read by every query.
        self._sorted = 0
        #: What exact attention needs of the first keys, in whatever order.
        self._known: PreparedHead | None = None
        self._sort(_level(len(k)))

    def __len__(self) -> int:
        """How many keys there are."""
        with self._lock:
            return int(self._keys.count)

    def __repr__(self) -> str:
        with self._lock:
            k, v = self._keys.array, self._values.array
            return f"KeyIndex(K of shape {k.shape}, V of shape {v.shape}, {k.dtype})"

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            self._known = None  # made anew from the keys, which it would copy
            return super().__getstate__()

    @property
    def nbytes(self) -> int:
        """What is stored, in bytes."""
        with self._lock:
            return sum(x.array.nbytes for x in self._arrays().values())

    def append(self, K: ArrayLike, V: ArrayLike) -> None:
        """Append a key and its value, or several.

        Parameters
        ----------
        K : array_like, shape (d,) or (m, d)
            Of a type that the keys' type holds exactly.
        V : array_like, shape (d_v,) or (m, d_v)
            Likewise.

        Raises
        ------
        TypeError, ValueError
            If a type is wider than the keys' type, shapes do not fit, or an entry is not finite or too
            large; nothing has changed then.
        """
        with self._lock:
            k = rows_after("K", K, self._keys.array)
            v = rows_after("V", V, self._values.array)
            if len(k) != len(v):
                raise ValueError(
                    f"K and V must have the same number of rows, got {len(k)} and {len(v)}."
                )
            for name, rows in (("K", k), ("V", v)):
                check_rows(name, rows)
                _check_size(name, rows)
            self._keys.put(self._keys.count, k)
            self._values.put(self._values.count, v)
            waiting = self._keys.count - self._sorted
            if waiting >= WAITING:
                self._sort(_level(waiting))

    def attend(
        self,
        q: ArrayLike,
        tolerance: float,
        *,
        failure_probability: float | None = None,
        rng: np.random.Generator | None = None,
    ) -> Decoded:
        """Attend to all keys, reading those that the tolerance asks for.

        Parameters
        ----------
        q : array_like, shape (d,) or (g, d)
            A query, or a group that reads the same keys; scaled as it is meant, of a type that the keys'
            type holds exactly.
        tolerance : float
            In (0, 1): what each entry may err by, relative to the largest magnitude of a value.
        failure_probability : float, optional
            In (0, 1): where clusters do not suffice, a sample of the values may, whose answer errs by more
            with at most this probability (I.sampled); none by default.
        rng : numpy.random.Generator, optional
            What draws the sample; to be given with a failure probability.

        Returns
        -------
        Decoded
            ``output`` of shape (d_v,) or (g, d_v), and ``error_bound`` likewise, at most the tolerance
            unless ``method`` is ``"exact"``; then it is the rounding of exact attention.  With
            ``log_sum_exp`` over all keys.

        Raises
        ------
        TypeError, ValueError
            If the type of q is wider than the keys', its shape does not fit, an entry is not finite, or a
            logit could overflow; or if another argument is not as above.
        """
        if (failure_probability is None) != (rng is None):
            missing = "rng" if rng is None else "failure_probability"
            raise ValueError(
                f"failure_probability and rng must be given together, got no {missing}."
            )
        chance = None
        if failure_probability is not None:
            chance = open_unit("failure_probability", failure_probability), generator(rng)
        with self._lock:
            queries = _queries(q, self._keys.array)
            found = self._attend(
                queries if queries.ndim > 1 else queries[None],
                open_unit("tolerance", tolerance),
                chance,
            )
        return found if queries.ndim > 1 else _of_one(found)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        with self._lock:
            write_arrays(path, _KIND, self._contents())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KeyIndex:
        """Return the index that a file holds, bit for bit.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it was truncated or changed, or holds something else.
        """
        return load(path, (_KIND,), cls._from_contents, cls._contents)

    def _contents(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        blocks = [(b.start, b.first, b.level) for b in self._blocks]
        sizes = [(b.longest_key, b.extent) for b in self._blocks]
        arrays = {name: x.array for name, x in self._arrays().items()}
        return {name: x.T if name in _TRANSPOSED else x for name, x in arrays.items()} | {
            "rotation": self._rotation.matrix,
            "blocks": np.array(blocks, np.int64),
            "lengths": np.array(sizes),
        }

    @classmethod
    def _from_contents(cls, arrays: dict[str, NDArray[Any]]) -> KeyIndex:
        """Return the index that has these contents."""
        new = object.__new__(cls)
        Locked.__init__(new)
        new._rotation = Rotation(arrays.pop("rotation"))
        new._blocks = [
            _Block(start=start, first=first, level=level, longest_key=longest, extent=extent)
            for (start, first, level), (longest, extent) in zip(
                arrays.pop("blocks").tolist(), arrays.pop("lengths").tolist(), strict=True
            )
        ]
        for name, array in arrays.items():
            setattr(new, f"_{name}", Growing(array.T if name in _TRANSPOSED else array))
        new._sorted = int(arrays["sizes"].sum())
        new._known = None
        new._check_contents()
        return new

    def _check_contents(self) -> None:
        """Refuse arrays that no index has: of other shapes, or of clusters that leave keys out."""
        parts = {name: x.array for name, x in self._arrays().items()}
        keys, values, sizes, starts = (
            parts[name] for name in ("keys", "values", "sizes", "starts")
        )
        d, clusters = keys.shape[1], len(sizes)
        bounds = [*(b.first for b in self._blocks), clusters]
        rows = [*(b.start for b in self._blocks), self._sorted]
        sound = (
            keys.ndim == values.ndim == 2
            and len(keys) == len(values) >= self._sorted
            and keys.dtype == values.dtype == parts["middles"].dtype == parts["halves"].dtype
            and self._rotation.matrix.shape == (d, d)
            and parts["middles"].shape == parts["halves"].shape == (clusters, d)
            and starts.shape == sizes.shape == (clusters,)
            and bool((sizes > 0).all() and (parts["halves"] >= 0).all())
            and bool((starts == np.cumsum(sizes) - sizes).all())
            and bounds[0] == rows[0] == 0
            and bounds == sorted(bounds)
            and rows == [*starts[bounds[:-1]].tolist(), self._sorted]
            and all(np.isfinite(x).all() for x in (keys, values, self._rotation.matrix))
        )
        if not sound:
            raise ValueError("contents must be those of an index.")

    def _arrays(self) -> dict[str, Growing]:
        names = ("keys", "values", "middles", "halves", "sizes", "starts")
        return {name: getattr(self, f"_{name}") for name in names}

    # ------------------------------------------------------------------------------ sorting

    def _sort(self, level: int) -> None:
        """Make a block of the keys that wait, and of blocks before them that are not larger."""
        start, kept = self._sorted, list(self._blocks)
        first = self._sizes.count if kept else 0
        while kept:
            if kept[-1].level < level:
                taken = 1
            elif [b.level for b in kept[1 - MERGED :]] == [level] * (MERGED - 1):
                taken, level = MERGED - 1, level + 1
            else:
                break
            start, first = kept[-taken].start, kept[-taken].first
            del kept[-taken:]
        rows = slice(start, self._keys.count)
        k = self._keys.array[rows]
        rotation = self._rotation if kept else Rotation.of(k)
        boxes, order = Boxes.of(k, rotation)
        block = _Block(
            start=start,
            first=first,
            level=level,
            longest_key=boxes.longest_key,
            extent=boxes.extent,
        )
        starts = start + np.cumsum(boxes.sizes) - boxes.sizes
        parts = {
            "middles": boxes.middles,
            "halves": boxes.halves,
            "sizes": boxes.sizes,
            "starts": starts,
        }
        k, v = k[order], self._values.array[rows][order]
        # Of all rows, since those that were last may come first.
        known = None if self._known is None else self._whole()
        # All is made: from here on nothing fails.
        self._keys.put(start, k)
        self._values.put(start, v)
        for name, new in parts.items():
            if kept:
                getattr(self, f"_{name}").put(first, new)
            else:
                setattr(self, f"_{name}", Growing(new))
        self._rotation, self._blocks, self._sorted = rotation, [*kept, block], rows.stop
        if known is not None:
            # Norms and ranges are of a set; what was scaled of the values has their order.
            self._known = PreparedHead(
                self._keys.array,
                self._values.array,
                norms=known.norms,
                whole=known.values.whole,
            )

    # ---------------------------------------------------------------------------- attending

    def _attend(
        self, q: Matrix, tolerance: float, chance: tuple[float, np.random.Generator] | None
    ) -> Decoded:
        side = self._whole()
        found: Decoded | Refusal = Refusal(
            reason=f"{self._keys.count} keys are read as fast as chosen among"
        )
        if self._keys.count >= FEWEST:
            found = self._by_clusters(q, side, tolerance)
            if isinstance(found, Refusal) and chance is not None and len(q) <= MOST_QUERIES:
                found = _by_samples(q, side, tolerance, *chance, found.reason)
        if isinstance(found, Refusal):
            return _decoded(_exact(q, side), "exact", f"{found.reason}.", len(side.k))
        return found

    def _whole(self) -> PreparedHead:
        """Return what exact attention needs of all keys."""
        k, v = self._keys.array, self._values.array
        if self._known is None:
            self._known = PreparedHead(k, v)
        elif len(self._known.k) < len(k):
            self._known = self._known.extended(k, v)
        return self._known

    def _by_clusters(
        self, q: Matrix, side: PreparedHead, tolerance: float, guess: Matrix | None = None
    ) -> Decoded | Refusal:
        """Attend to the keys that can matter, or say why all are to be read.

        ``guess`` is the log-sum-exp that a first try found for each query, where it had guessed too high.
        """
        lower, upper = (x[0].astype(np.float64) for x in side.values.whole)
        allowed = _allowed(side, tolerance)
        spread = float(up(upper - lower).max())
        share = min(0.5, allowed / spread) if spread else 0.5
        images = q @ self._rotation.matrix
        # The longest of each: all queries of a group are served alike.
        length, image_length = _longest(q), _longest(images)
        clusters = self._clusters(images, length, image_length, guess)
        opened = clusters.opened(share)
        sizes = self._sizes.array[opened]
        waiting = self._keys.count - self._sorted
        read = int(sizes.sum()) + waiting
        if not read <= LARGEST_SHARE * self._keys.count:
            return Refusal(
                reason=f"the clusters' bounds leave {read / self._keys.count:.0%} of the keys to be read"
            )
        rows = _rows(self._starts.array[opened], sizes, self._sorted, waiting)
        reach = float(up(length * side.largest_key))
        values = ScaledValues(
            self._values.array.take(rows, axis=0), keep_moderate=True, whole=side.values.whole
        )
        answer = attend_to(
            q, self._keys.array.take(rows, axis=0), values.scaled, side.values, reach
        )
        logarithm, log_bound = answer.log_sum_exp, answer.log_sum_exp_bound
        assert logarithm is not None
        assert log_bound is not None
        ratio = clusters.closed(opened, logarithm, log_bound)
        output = answer.output.astype(np.float64)
        farthest = up(np.maximum(np.maximum(upper - output, output - lower), 0))
        bound = unopened_output(answer.error_bound, ratio[:, None], farthest)
        worst = float(bound.max())
        if not worst <= allowed:
            if guess is None:
                return self._by_clusters(q, side, tolerance, logarithm.astype(q.dtype))
            return Refusal(
                reason=f"the keys that matter certify {worst:.3g}, and {allowed:.3g} is allowed"
            )
        return Decoded(
            output=answer.output,
            error_bound=bound,
            claims=(*CLAIMS, *answer.claims),
            log_sum_exp=logarithm,
            log_sum_exp_bound=unopened_log(log_bound, ratio),
            method="clusters",
            reason="",
            keys_read=read,
        )

    def _clusters(
        self, images: Matrix, length: float, image_length: float, shift: Matrix | None
    ) -> Closable:
        """Bound what the keys of each cluster weigh."""
        logits = products(images, self._middles.array)
        upper = products(np.abs(images), self._halves.array)
        upper += logits
        counts = self._sizes.array.astype(images.dtype)
        if shift is None:
            # A guess at the log-sum-exp, were all keys in the middles of their boxes.
            shift = largest(logits)
            logits -= shift[:, None]
            np.exp(logits, out=logits)
            shift += np.log(weighted_sums(logits, counts[:, None])[:, 0]).astype(shift.dtype)
        slack, reach = slack_of(
            self._rotation, length, image_length, self._longest_key, self._extent
        )
        return Closable.of(upper, shift, counts, slack, reach)

    @property
    def _longest_key(self) -> float:
        return max(block.longest_key for block in self._blocks)

    @property
    def _extent(self) -> float:
        return max(block.extent for block in self._blocks)


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Keys that were sorted together: rows from ``start``, clusters from ``first``, to the next block's."""

    start: int
    first: int
    level: int
    longest_key: float
    extent: float


def _rows(
    starts: NDArray[np.intp], sizes: NDArray[np.intp], first: int, waiting: int
) -> NDArray[np.intp]:
    """Return the rows of some clusters, and those from the first that waits on."""
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    rows = np.ones(total + waiting, np.intp)
    # One step from row to row, but for the first row of a cluster: numpy.repeat takes twice as long.
    rows[0] = starts[0]
    rows[ends[:-1]] = starts[1:] - starts[:-1] - sizes[:-1] + 1
    if waiting:
        rows[total] = first - starts[-1] - sizes[-1] + 1
    return np.cumsum(rows, out=rows)


def _queries(q: ArrayLike, k: Matrix) -> Matrix:
    """Return one query or several of the keys' type, or refuse."""
    queries = exact_floats("q", q)
    if np.result_type(queries, k) != k.dtype:
        raise TypeError(
            f"q must be of a type that {k.dtype} holds, as the index's keys are, got {queries.dtype}."
        )
    if queries.ndim not in (1, 2) or queries.shape[-1] != k.shape[1]:
        raise ValueError(
            f"q must have shape ({k.shape[1]},) or (g, {k.shape[1]}), as the index's keys, got "
            f"{queries.shape}."
        )
    if queries.size == 0:
        raise ValueError(f"q must not be empty, got shape {queries.shape}.")
    check_rows("q", queries)
    return np.ascontiguousarray(queries, k.dtype)


def _allowed(side: PreparedHead, tolerance: float) -> float:
    """Return what an entry may err by."""
    lower, upper = (x[0].astype(np.float64) for x in side.values.whole)
    return float(down(tolerance * np.maximum(-lower, upper).max()))


def _by_samples(
    q: Matrix,
    side: PreparedHead,
    tolerance: float,
    failure_probability: float,
    rng: np.random.Generator,
    reason: str,
) -> Decoded | Refusal:
    """Attend to a sample of the values, or say why all are to be read, after why clusters did not do."""
    reach = float(up(_longest(q) * side.largest_key))
    found = attend_by_samples(
        q, side.k, side.values, reach, _allowed(side, tolerance), failure_probability, rng
    )
    if isinstance(found, Refusal):
        return Refusal(reason=f"{reason}; {found.reason}")
    answer, read = found
    return replace(_decoded(answer, "samples", "", read), failure_probability=failure_probability)


def _longest(rows: Matrix) -> float:
    """Bound the largest Euclidean norm of few rows."""
    wide = rows.astype(np.float64)
    square = float(np.einsum("ij,ij->i", wide, wide).max())
    if not _SAFE_SQUARES[0] < square < _SAFE_SQUARES[1]:
        return longest_row(rows)
    return float(up(math.sqrt(sum_above(square, rows.shape[1]))))


def _exact(q: Matrix, side: PreparedHead) -> Certified:
    """Attend to all keys."""
    if len(q) <= MOST_QUERIES:
        reach = float(up(_longest(q) * side.largest_key))
        found = attend_to(q, side.k, side.values.scaled, side.values, reach)
        assert found.log_sum_exp_bound is not None
        if np.isfinite(found.log_sum_exp_bound).all() and np.isfinite(found.error_bound).all():
            return found
    # Which also refuses what overflows.
    return attend_prepared(q, side)


def _level(keys: int) -> int:
    """Return how often blocks of the least size were merged in one of so many keys."""
    level = 0
    while keys >= WAITING * MERGED ** (level + 1):
        level += 1
    return level


def _check_size(name: str, rows: Matrix) -> None:
    """Refuse values whose spread could overflow."""
    if name == "V" and rows.dtype == np.float64:
        largest = np.abs(rows).max()
        if largest > 2.0**1021:
            raise ValueError(
                f"V must not exceed 2^1021 in magnitude in float64, got {largest:.3g}: its spread could "
                "overflow."
            )


def _decoded(answer: Certified, method: str, reason: str, read: int) -> Decoded:
    return Decoded(
        output=answer.output,
        error_bound=answer.error_bound,
        claims=answer.claims,
        log_sum_exp=answer.log_sum_exp,
        log_sum_exp_bound=answer.log_sum_exp_bound,
        method=method,
        reason=reason,
        keys_read=read,
    )


def _of_one(found: Decoded) -> Decoded:
    """Return the answer of a group of one without its axis."""
    assert found.log_sum_exp is not None
    assert found.log_sum_exp_bound is not None
    return replace(
        found,
        output=found.output[0],
        error_bound=found.error_bound[0],
        log_sum_exp=found.log_sum_exp[0],
        log_sum_exp_bound=found.log_sum_exp_bound[0],
    )


class Growing:
    """An array that grows at its end, from any row on."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._buffer, self.count = np.array(array, order="C"), len(array)

    @property
    def array(self) -> NDArray[Any]:
        """What it holds."""
        return self._buffer[: self.count]

    def put(self, start: int, new: NDArray[Any]) -> None:
        """Let this stand from a row on, and end there."""
        stop = start + len(new)
        if stop > len(self._buffer):
            buffer = np.empty((max(stop, 2 * start), *new.shape[1:]), self._buffer.dtype)
            buffer[:start] = self._buffer[:start]
            self._buffer = buffer
        self._buffer[start:stop] = new
        self.count = stop
