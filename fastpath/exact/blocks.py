"""One block of queries of one head: what they see, how large their scores are and how far these are off."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.softmax import (
    biased_score,
    capped_score,
    rounding_logit,
    scaled_logit,
)
from fastpath.core.directed import up
from fastpath.core.inputs import Matrix
from fastpath.core.semantics import Indices, Semantics
from fastpath.exact.prepared import PreparedHead, RowNorms, constants_of
from fastpath.exact.scaled_values import Ranges


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of queries of one head, with what they see."""

    queries: Matrix
    side: PreparedHead
    ranges: Ranges
    mask: NDArray[np.bool_] | None
    bias: Matrix | None
    options: Semantics
    sink: float | None
    head: tuple[int, ...]
    rows: Indices

    @property
    def keys(self) -> tuple[int, int]:
        """The first key that any query may see, and the one after the last."""
        if self.ranges is None:
            return 0, len(self.side.k)
        return int(self.ranges[0][0]), int(self.ranges[1][-1])

    def seeing(self, first: int, stop: int) -> slice:
        """Return the queries that may see some of these keys."""
        if self.ranges is None:
            return slice(0, len(self.queries))
        earliest = int(np.searchsorted(self.ranges[1], first, side="right"))
        return slice(earliest, max(earliest, int(np.searchsorted(self.ranges[0], stop))))

    def hidden(self, queries: slice, keys: slice) -> NDArray[np.bool_] | None:
        """Return which of these keys each of these queries does not see, but for its bias; None: none."""
        hidden = None if self.mask is None else ~self.mask[queries, keys]
        if self.ranges is not None:
            first, stop = (x[queries, None] for x in self.ranges)
            # Both ascend.
            if keys.start < first[-1] or keys.stop > stop[0]:
                key = np.arange(keys.start, keys.stop)
                outside = (key < first) | (key >= stop)
                hidden = outside if hidden is None else hidden | outside
        return hidden if hidden is not None and hidden.any() else None

    def hide(self, scores: Matrix, queries: slice, keys: slice) -> None:
        """Set the scores of keys that a query does not see, but for its bias, to -inf.

        Without a mask only rows at the ends of a range are looked at: of causal attention a corner.
        """
        if self.mask is not None:
            hidden = self.hidden(queries, keys)
            if hidden is not None:
                np.copyto(scores, -np.inf, where=hidden)
            return
        if self.ranges is None:
            return
        # Both ascend.
        first, stop = (x[queries] for x in self.ranges)
        ending = int(np.searchsorted(stop, keys.stop))
        if ending:
            key = np.arange(max(int(stop[0]), keys.start), keys.stop)
            corner = scores[:ending, key[0] - keys.start :]
            np.copyto(corner, -np.inf, where=key >= stop[:ending, None])
        beginning = int(np.searchsorted(first, keys.start, side="right"))
        if beginning < len(first):
            key = np.arange(keys.start, min(int(first[-1]), keys.stop))
            corner = scores[beginning:, : len(key)]
            np.copyto(corner, -np.inf, where=key < first[beginning:, None])


def block_of(
    queries: Matrix, side: PreparedHead, options: Semantics, index: int, rows: Indices
) -> Block:
    """Return some queries of the head of that index, with what their rows see."""
    head = tuple(int(i) for i in np.unravel_index(index, options.heads)) if options.heads else ()
    return Block(
        queries=queries,
        side=side,
        ranges=options.ranges(rows),
        mask=None if options.mask is None else options.mask[head][_contiguous(rows)],
        bias=None if options.bias is None else options.bias[head][_contiguous(rows)],
        options=options,
        sink=options.sink(head),
        head=head,
        rows=rows,
    )


def _contiguous(rows: Indices) -> Indices | slice:
    """Return ascending indices as a slice where that takes no copy."""
    first, stop = int(rows[0]), int(rows[-1]) + 1
    return slice(first, stop) if stop - first == len(rows) else rows


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What is known of the scores of each query, in columns.

    Attributes
    ----------
    error
        Bounds what rounding makes of a score.
    magnitude
        Bounds the magnitude of the scores that are seen, the sink's included.
    negligible
        A key with a smaller bias weighs no more than the smallest normal number beside another; None
        without a bias.
    capped_error
        Bounds what rounding makes of a score before its bias; None without a cap.
    """

    error: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    negligible: NDArray[np.float64] | None
    capped_error: NDArray[np.float64] | None


def scores_of(block: Block, dtype: "np.dtype[Any] | None" = None) -> Scores:
    """Bound the scores of a block of queries and their errors, or refuse what could overflow.

    ``dtype`` is the type in which nothing may; that of the queries by default.
    """
    options, dtype = block.options, block.queries.dtype if dtype is None else dtype
    constants = constants_of(block.queries)
    u, tiny = constants["unit_roundoff"], constants["tiny"]
    d, most = block.queries.shape[1], np.finfo(dtype).max / 8
    magnitude: Any = logit_magnitude(block.queries, block.side, block.ranges)
    if len(magnitude) == 1:
        magnitude = magnitude.item()
    if options.scale == 1:
        error = rounding_logit(d, u, magnitude, tiny)
    else:
        magnitude = up(magnitude * abs(options.scale))
        error = scaled_logit(d, u, magnitude, tiny, block.side.largest_key)
    if not (magnitude + error <= most).all():
        factor = "" if options.scale == 1 else "|scale| "
        raise ValueError(
            f"Q and K must keep {factor}|q|.|k| at most {most:.3g} in {dtype}, "
            f"got up to {np.max(magnitude):.3g}: a logit could overflow."
        )
    magnitude, error = (np.reshape(x, (-1, 1)) for x in (magnitude, error))
    capped_error = None
    if options.softcap is not None:
        capped = np.minimum(up(magnitude + error), options.softcap)
        error = capped_score(error, u, constants["tanh_error"], capped, options.softcap, tiny)
        capped_error = error
        magnitude = np.minimum(magnitude, options.softcap)
    negligible = None
    if block.bias is not None:
        negligible, largest = _biases(block, up(magnitude + error), tiny)
        # Rounded to the type of the computation, a bias may lose half of the smallest number.
        error = biased_score(up(error + tiny), u, magnitude, largest)
        magnitude = up(magnitude + largest)
    if block.sink is not None:
        error = np.maximum(error, up(abs(block.sink) * u) + tiny)
        magnitude = np.maximum(magnitude, abs(block.sink))
    if not (magnitude + error <= most).all():
        raise ValueError(
            f"bias and sinks must keep scores at most {most:.3g} in {dtype}, got up to "
            f"{np.max(magnitude):.3g}: a score could overflow."
        )
    return Scores(
        error=error, magnitude=magnitude, negligible=negligible, capped_error=capped_error
    )


def scaled_queries(block: Block, dtype: "np.dtype[Any] | None" = None) -> Matrix:
    """Return the queries times the scale, or refuse what overflows, in that type too."""
    scale = block.options.scale
    if scale == 1:
        return block.queries
    q: Matrix = block.queries * block.queries.dtype.type(scale)
    dtype = q.dtype if dtype is None else dtype
    if not np.isfinite(q.astype(dtype, copy=False)).all():
        raise ValueError(f"scale and Q must keep scale Q finite in {dtype}, got scale = {scale!r}.")
    return q


def empty_rows(block: Block, denominator: Matrix) -> Indices:
    """Return which queries of a block see neither key nor sink, or refuse them, as the options say."""
    empty = np.flatnonzero(denominator == 0)
    if empty.size and not block.options.zeros:
        of_head = f" of head {block.head}" if block.head else ""
        raise ValueError(
            f"query {block.rows[empty[0]]}{of_head} must see a key or a sink, but all {len(block.side.k)} "
            "keys are hidden from it: pass empty_rows='zeros' for zeros."
        )
    return empty


def logit_magnitude(q: Matrix, side: PreparedHead, ranges: Ranges) -> NDArray[np.float64]:
    """Bound sum_l |q_il k_jl| over the keys j that every query i may see, rounded upward."""
    queries, keys = RowNorms(q), side.norms
    norms: Any = queries.of_rows()
    longest: Any = keys.longest(ranges)
    if len(q) == 1:  # a step takes a quarter of the time with a number
        norms, longest = norms[0], longest[0]
    products = up(norms * longest)
    if queries.exponent or keys.exponent:
        products = up(np.ldexp(products, queries.exponent + keys.exponent))
    bounds: NDArray[np.float64] = np.atleast_1d(products)
    return bounds


def _biases(
    block: Block, magnitude: NDArray[np.float64], tiny: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each query, the bias below which a key is negligible, and the largest |bias| of the rest.

    With scores of at most ``magnitude`` before their bias, the largest of a row is at least the largest
    bias less ``magnitude``, or the sink; a key weighs at most e^(bias + magnitude) beside it.
    """
    keys = slice(*block.keys)
    assert block.bias is not None
    bias = block.bias[:, keys].astype(np.float64)
    hidden = block.hidden(slice(0, len(bias)), keys)
    if hidden is not None:
        bias[hidden] = -np.inf
    largest = bias.max(axis=1, keepdims=True, initial=-np.inf) - magnitude
    if block.sink is not None:
        largest = np.maximum(largest, block.sink)
    # One more than rounding can undo, as long as no score overflows; e^-1 of the smallest normal number.
    negligible = largest - magnitude + np.log(tiny) - 1 - (np.abs(largest) + magnitude) * 2.0**-20
    negligible[np.isneginf(largest)] = -np.inf
    counted = np.where(bias >= negligible, np.abs(bias), 0)
    counted[np.isneginf(bias)] = 0
    return negligible, counted.max(axis=1, keepdims=True, initial=0)


def check_finite(q: Matrix, k: Matrix, v: Matrix, options: Semantics) -> None:
    """Refuse what is not finite, and say so where no query would have seen it."""
    for name, array in (("Q", q), ("K", k), ("V", v)):
        finite = np.isfinite(array)
        if finite.all():
            continue
        count = np.count_nonzero(~finite)
        message = f"{name} must be finite, got {count} NaN or infinite of {array.size} entries"
        if name != "Q":
            *head, row, _ = (int(i) for i in np.argwhere(~finite)[0])
            group = q.shape[-3] // k.shape[-3] if head else 1
            readers = [(*head[:-1], head[-1] * group + g) for g in range(group)] if head else [()]
            if all(options.hides(reader, row) for reader in readers):
                message += f", the first in row {row}, which is hidden from every query but read all the same"
        raise ValueError(f"{message}.")


def check_factors(options: Semantics, dtype: np.dtype[np.floating]) -> None:
    """Refuse factors that the type of the computation would round without a relative error."""
    information = np.finfo(dtype)
    for name, factor in (("scale", options.scale), ("softcap", options.softcap)):
        if factor and not information.tiny <= abs(factor) <= information.max / 8:
            raise ValueError(
                f"{name} must lie in [{information.tiny:.3g}, {information.max / 8:.3g}] in magnitude in "
                f"{dtype}, got {factor!r}."
            )
