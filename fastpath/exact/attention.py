"""Exact softmax attention, in blocks, with a rounding certificate on every entry.

What the theorem (FP.softmax) covers of this program: logits as dot products of d terms in any order, weights
as so many exponentials, and the quotient of two sums in any order, of which it asks how many roundings a term
passes through.  What it does not see is here: that `_roundings` counts those of the loop in `_sums`, that the
shift and the scale of the values are the same for numerator and denominator, that what is hidden weighs
nothing, and that no sum that overflowed is divided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import (
    log_sum_exp,
    rounding_output,
    rounding_weight,
    weights_underflow,
)
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.directed import UNIT_ROUNDOFF, library_down, library_up, up
from fastpath.core.inputs import Matrix, heads_inputs
from fastpath.core.semantics import Causal, EmptyRows, Indices, Semantics, semantics
from fastpath.exact.blocks import (
    Block,
    Scores,
    block_of,
    check_factors,
    check_finite,
    empty_rows,
    scaled_queries,
    scores_of,
)
from fastpath.exact.prepared import (
    NotFiniteError,
    Prepared,
    PreparedHead,
    RowNorms,
    arrays_of,
    constants_of,
    name_of,
)
from fastpath.exact.scaled_values import column_range

#: Tile of the logit matrix, 1 MiB in float32.  At n = 4096, d = 64, 256 x 512 takes 14 % longer and
#: 512 x 512 5 %; short key blocks also keep the sums, and so the certificate, tight.  Tiles of fewer
#: queries are so many key blocks wider.
QUERY_BLOCK, KEY_BLOCK = 1024, 256

#: Multiply-adds that no second thread is woken for: it would take longer to come.
ONE_THREAD = 2**22


#: Scores of at most this size need no shift: exp neither overflows nor underflows, nor does a sum of
#: fewer than 2^60 terms.
UNSHIFTED_LOGITS = {"float32": 40.0, "float64": 300.0}


#: An output whose values are all equal is exact, but no enclosure can decide an error bound of zero,
#: and one of 2^-1074 takes a thousand bits.  Certificates go no lower than this, relative to a power
#: of two near the column's largest value.
DECIDABLE = 2.0**-100


#: The smallest weight without a shift.
LIGHTEST = {name: library_down(np.exp(-largest)) for name, largest in UNSHIFTED_LOGITS.items()}


#: What float64's logarithm may err, in units of u (FP.lse): the 4 ulp that every bound allows.
LOG_ERROR = 8


CLAIMS = ("FP.softmax", "FP.exp", "S.output", "FP.lse")


class _Shift(Enum):
    """What is subtracted from the scores of a row, cheapest first (n = 4096, d = 64, float32)."""

    NOTHING = "nothing"
    #: The largest score over the first key block that the row sees anything of: 7 % longer.  On real heads
    #: no later score passes it by 88; where one does the weights overflow, and the running maximum is
    #: called in.
    FIRST_MAXIMUM = "the largest score over the first key block"
    #: The largest score so far, of every block: 18 % longer.
    RUNNING_MAXIMUM = "the running maximum"


@standard_arithmetic
def attention(
    Q: ArrayLike,
    K: ArrayLike | Prepared,
    V: ArrayLike | None = None,
    *,
    scale: float = 1.0,
    causal: Causal = False,
    window: tuple[int | None, int | None] | None = None,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    softcap: float | None = None,
    sinks: ArrayLike | None = None,
    empty_rows: EmptyRows = "refuse",
    workers: int | None = None,
) -> Certified:
    r"""Compute softmax attention, and bound its rounding error entry by entry.

    Computes :math:`o_i = \sum_j e^{s_{ij}} v_j / (\sum_j e^{s_{ij}} + e^{sink})` over the keys j that query
    i sees, with :math:`s_{ij} = \mathrm{cap}(scale\; q_i \cdot k_j) + bias_{ij}` and :math:`\mathrm{cap}(x) =
    softcap \tanh(x / softcap)`.  Without options that is :math:`D^{-1} \exp(QK^\top) V` with :math:`D =
    \mathrm{diag}(\exp(QK^\top)\mathbf 1)`.

    Parameters
    ----------
    Q : array_like, shape (n_q, d) or (..., h_q, n_q, d)
        Queries: floats of at most 64 bits or integers (taken as float64); mixed types are promoted, and
        float16, bfloat16 and float8 are computed in float32.  Whatever has ``__array__`` or ``__dlpack__``,
        as tensors do, is read.
    K : array_like, shape (n_k, d) or (..., h_k, n_k, d); or Prepared
        Keys, with the same leading axes; h_q is a multiple of h_k, and query head h reads key head
        h // (h_q / h_k).  A :class:`fastpath.Prepared` is keys and values: V is then left out.
    V : array_like, shape (n_k, d_v) or (..., h_k, n_k, d_v), optional
        Values.
    scale : float
        Factor of q.k.  1 by default, as in the papers; torch's default is 1/sqrt(d).
    causal : {False, True, "upper-left", "lower-right"}
        ``"upper-left"``: query i sees the keys j <= i.  ``"lower-right"``: j <= i + n_k - n_q.  True is
        either, and needs n_q = n_k.
    window : pair of (int or None), optional
        (left, right): keys i - left ... i + right around the diagonal of the alignment, the lower-right one
        where ``causal`` is False; None: unbounded on that side.
    mask : array_like of bool, optional
        True where a key is seen; broadcasts to (..., h_q, n_q, n_k).
    bias : array_like, optional
        Added to the scores; -inf hides the key.  Broadcasts likewise.
    softcap : float, optional
        Positive.
    sinks : float, or array_like of shape (h_q,), optional
        A score a head that only the denominator sees.
    empty_rows : {"refuse", "zeros"}
        What a query that sees neither key nor sink gets: an error that names it, or zeros.
    workers : int, optional
        Threads; by default every core that the process may use.  No bit of the result depends on it.

    Returns
    -------
    Certified
        ``output`` of shape (n_q, d_v) or (..., h_q, n_q, d_v) in the type of the computation and
        ``error_bound`` of the same shape in float64: ``rounding_output`` of FP.softmax, and never more than
        the spread of the values (plus 2^-100 of the largest, so that an enclosure can decide it where they
        are all equal).  ``log_sum_exp``, the logarithm of the denominator, and ``log_sum_exp_bound``.

    Raises
    ------
    TypeError
        If an argument holds something else than it should.
    ValueError
        If shapes do not fit, an array is empty, an entry is not finite, a query sees nothing and
        ``empty_rows`` is "refuse", or scores or values are so large that an intermediate result could
        overflow.

    Notes
    -----
    Cost: 2 n_q n_k (d + d_v) multiply-adds and n_q n_k exponentials a head; of causal attention about half,
    and of a window, or a mask that hides whole blocks of 1024 x 256, what is visible.  Memory beyond the
    result: one tile of 1024 x 256 a worker, or of fewer queries and more keys; a scaled copy of V where the
    largest of some column lies outside of [2^-8, 2^9).  Certificate: O(n (d + d_v)), of which
    :class:`fastpath.Prepared` keeps what concerns K and V alone: a query reads either once, the certificate
    K once more and V twice.

    The logit error uses the Cauchy-Schwarz bound :math:`|q_i| \max_j |k_j|`, about 1.5 times
    :math:`\max_j \sum_l |q_{il} k_{jl}|` on real heads, since the latter would cost another product.

    A bias so far below a row's largest that its key can weigh no more than the smallest normal number, as
    masks written in numbers are, hides the key, and is counted as underflow.

    The truth is an average of values (of 0 too, where there is a sink), so the output is projected on their
    range: that never increases an error, and keeps values next to the largest float from rounding to
    infinity.

    Claims: FP.softmax, FP.exp, S.output, FP.lse; FP.scores and FP.tanh where scores are scaled, capped or
    biased.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 100, 16))
    >>> found = fastpath.attention(Q, K, V, scale=1 / 4, causal=True)
    >>> found.output.shape, found.error_bound.shape
    ((100, 16), (100, 16))
    >>> bool((found.error_bound < 1e-12).all())
    True
    >>> found.claims[0]  # what that rests on: attest show FP.softmax
    'FP.softmax'
    """
    keys, values, sides = arrays_of(K, V)
    q, k, v = heads_inputs(Q, keys, values)
    options = semantics(
        q.shape[:-2],
        q.shape[-2],
        k.shape[-2],
        scale=scale,
        causal=causal,
        window=window,
        mask=mask,
        bias=bias,
        softcap=softcap,
        sinks=sinks,
        empty_rows=empty_rows,
    )
    count = worker_count(workers)
    if sides is None or sides[0].k.dtype != q.dtype:
        try:
            sides = _prepared(k, v, count)
        except NotFiniteError:
            check_finite(q, k, v, options)
            raise
    if not np.isfinite(q).all():
        check_finite(q, k, v, options)
    return _attend(q, sides, options, count)


def attend_heads(
    q: Matrix,
    k: Matrix,
    v: Matrix,
    options: Semantics,
    workers: int,
    rows: Indices | None = None,
) -> Certified:
    """Compute :func:`attention` of checked heads.

    ``rows`` are the indices, which ascend, of the queries that ``q`` holds, where it does not hold all.
    """
    return _attend(q, _prepared(k, v, workers), options, workers, rows)


def attend_prepared(q: Matrix, side: PreparedHead) -> Certified:
    """Compute :func:`attention` of checked queries that see all keys of one head, on one thread."""
    return _attend(q, (side,), Semantics(heads=(), queries=len(q), keys=len(side.k)), 1)


def _prepared(k: Matrix, v: Matrix, workers: int) -> tuple[PreparedHead, ...]:
    """Return what attention needs of each head's keys and values.

    The order of BLAS's sums, and so bits, may depend on how rows lie in memory: they lie one after another.
    """
    keys, values = (np.ascontiguousarray(x).reshape(-1, *x.shape[-2:]) for x in (k, v))
    workers = workers if keys.size > ONE_THREAD else 1
    tasks: list[Callable[[], Any]] = [partial(RowNorms, x) for x in keys]
    tasks += [partial(column_range, x) for x in values]
    found = run(tasks, workers)
    return tuple(
        PreparedHead(k, v, norms=norms, whole=whole)
        for k, v, norms, whole in zip(
            keys, values, found[: len(keys)], found[len(keys) :], strict=True
        )
    )


def _attend(
    q: Matrix,
    sides: Sequence[PreparedHead],
    options: Semantics,
    workers: int,
    rows: Indices | None = None,
) -> Certified:
    n_q, n_k, d = q.shape[-2], len(sides[0].k), q.shape[-1]
    d_v = sides[0].values.columns
    most = int(0.25 / constants_of(q)["unit_roundoff"])
    if max(d, int(_roundings(n_k, -(-n_k // KEY_BLOCK)))) > most:
        raise ValueError(
            f"Q, K and V must need at most {most} roundings a term in {q.dtype} (FP.softmax), got "
            f"{d} columns of Q and {n_k} keys."
        )
    check_factors(options, q.dtype)
    # A few rows are to keep several threads busy, whatever their number is; of a window they would see less
    # than their tiles, which are wider.
    block_rows = QUERY_BLOCK
    if rows is not None and options.left is None:
        block_rows = max(1, QUERY_BLOCK // 4)
    rows = np.arange(n_q) if rows is None else rows
    queries = np.ascontiguousarray(q).reshape(-1, n_q, d)
    group = len(queries) // len(sides)
    output = np.empty((*q.shape[:-1], d_v), q.dtype)
    error_bound = np.empty(output.shape)
    logarithm, log_bound = np.empty(q.shape[:-1]), np.empty(q.shape[:-1])
    results = [
        x.reshape(len(queries), n_q, *x.shape[q.ndim - 1 :])
        for x in (output, error_bound, logarithm, log_bound)
    ]
    workers = workers if len(queries) * n_q * n_k * (d + d_v) > ONE_THREAD else 1
    width = _tile_width(min(block_rows, n_q), n_k, options)
    # Allocated once: a fresh half-megabyte tile a block costs 5 % in page faults.
    buffers: SimpleQueue[Matrix] = SimpleQueue()
    for _ in range(workers):
        buffers.put(np.empty(min(block_rows, n_q) * width, q.dtype))

    def compute(index: int, start: int) -> None:
        stop = min(start + block_rows, n_q)
        block = block_of(
            queries[index, start:stop], sides[index // group], options, index, rows[start:stop]
        )
        buffer = buffers.get()
        try:
            _attend_block(block, buffer, width, [x[index, start:stop] for x in results])
        finally:
            buffers.put(buffer)

    tasks: list[Callable[[], None]] = [
        partial(compute, index, start)
        for index in range(len(queries))
        for start in range(0, n_q, block_rows)
    ]
    run(tasks, workers)
    return Certified(
        output=output,
        error_bound=error_bound,
        claims=_claims(options),
        log_sum_exp=logarithm,
        log_sum_exp_bound=log_bound,
    )


def _tile_width(queries: int, keys: int, options: Semantics) -> int:
    """Return how many keys a tile has: the fewer queries the more, but a block where blocks may be masked."""
    blocks = 1 if options.mask is not None else max(1, QUERY_BLOCK // queries)
    return min(blocks * KEY_BLOCK, -(-keys // KEY_BLOCK) * KEY_BLOCK)


def _claims(options: Semantics) -> tuple[str, ...]:
    if options.softcap is not None:
        return (*CLAIMS, "FP.scores", "FP.tanh")
    return CLAIMS if options.scale == 1 and options.bias is None else (*CLAIMS, "FP.scores")


def _roundings(keys: Any, blocks: Any, tiles: Any = None) -> Any:
    """Bound the roundings that a term of either sum passes through.

    One as a product and the additions of its block, then at most one addition for every other block and one
    rescaling for every other tile, which is as many blocks as it likes.
    """
    tiles = blocks if tiles is None else tiles
    return np.minimum(KEY_BLOCK, keys) + (blocks - 1) + (tiles - 1)


def _attend_block(block: Block, buffer: Matrix, width: int, results: Sequence[Matrix]) -> None:
    """Write output, error bound, log-sum-exp and its bound for one block of queries."""
    queries = block.queries
    scores = scores_of(block)
    small = bool(up(scores.magnitude + scores.error).max() <= UNSHIFTED_LOGITS[name_of(queries)])
    shifts = (_Shift.NOTHING,) if small else (_Shift.FIRST_MAXIMUM, _Shift.RUNNING_MAXIMUM)
    sums = _finite_sums(block, scores.negligible, shifts, buffer, width)
    empty = empty_rows(block, sums.denominator)
    if empty.size:
        sums.denominator[empty] = 1
    for result, found in zip(results, _certified(block, scores, sums, small, width), strict=True):
        result[...] = found
    if empty.size:
        for result, nothing in zip(results, (0, 0, -np.inf, 0), strict=True):
            result[empty] = nothing


def _certified(
    block: Block, scores: Scores, sums: _Sums, small: bool, width: int
) -> tuple[Matrix, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return output, error bound, log-sum-exp and its bound for a block of queries."""
    values, constants = block.side.values, constants_of(block.queries)
    columns: list[Any] = [scores.error, scores.magnitude, sums.denominator, sums.shift]
    columns = [x.astype(np.float64, copy=False) for x in columns]
    quotient = sums.numerator / sums.denominator
    if len(quotient) == 1:
        # A step takes a quarter of the time with Python's numbers.
        columns = [x.item() for x in columns]
    score_error, score_magnitude, denominator, shift = columns
    # What differs from row to row stands in a column.
    visible, blocks, tiles = _counts(block, width)
    lower, upper = values.range(block.ranges, sink=block.sink is not None)
    spread, value_magnitude = values.spread_and_magnitude(lower, upper)
    exponentials = 1 if small else tiles
    terms = _roundings(visible, blocks, tiles)
    # What underflow takes from a sum, relative to the sum of the weights.
    lightest = LIGHTEST[name_of(block.queries)] if small else 1.0
    lost = weights_underflow(visible, exponentials, constants["tiny"], lightest)
    # The first rows of causal attention may see values far below the column's largest, which set
    # the scale; FP.softmax needs gamma + underflow < 1.
    value_magnitude = np.maximum(value_magnitude, np.maximum(2.0**-40, 4 * lost))
    weight_error = rounding_weight(
        score_error,
        constants["unit_roundoff"],
        0.0 if small else 2 * up(score_magnitude + score_error),
        constants["exp_error"],
        exponentials,
    )
    bound = rounding_output(
        weight_error,
        spread,
        value_magnitude,
        quotient.astype(np.float64),
        terms,
        constants["unit_roundoff"],
        # Products lose as much whatever the values are, weights as much as the values times it.
        up(lost / np.minimum(value_magnitude, 1)),
        values.smallest,
    )
    log_denominator = np.log(denominator)
    logarithm = shift + log_denominator
    log_bound = log_sum_exp(
        weight_error,
        terms,
        constants["unit_roundoff"],
        lost,
        up(np.abs(shift) + library_up(np.abs(log_denominator))),
        LOG_ERROR,
        UNIT_ROUNDOFF,
    )
    return (
        values.restore(quotient, lower, upper),
        values.restore_bound(np.minimum(bound, spread + DECIDABLE)),
        np.ravel(logarithm),
        np.ravel(log_bound),
    )


def _counts(block: Block, width: int) -> tuple[Any, Any, Any]:
    """Return how many keys each query may see, and in how many blocks and tiles; a sink is one of each."""
    sink = int(block.sink is not None)
    if block.ranges is None:
        keys = len(block.side.k)
        return keys + sink, -(-keys // KEY_BLOCK) + sink, -(-keys // width) + sink
    first, stop = (x[:, None] for x in block.ranges)
    begin = _first_tile(block)
    blocks, tiles = (
        np.maximum(-((begin - stop) // of) - (first - begin) // of + sink, 1)
        for of in (KEY_BLOCK, width)
    )
    return np.maximum(stop - first + sink, 1), blocks, tiles


def _first_tile(block: Block) -> int:
    """Return where the first tile begins."""
    first = block.keys[0]
    return first - first % KEY_BLOCK


# --------------------------------------------------------------------------------------- sums


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """sum_j w_j v_j and sum_j w_j with w_j = exp(score_j - shift), for every query of a block."""

    numerator: Matrix
    denominator: Matrix
    shift: Matrix


def _finite_sums(
    block: Block,
    negligible: NDArray[np.float64] | None,
    shifts: Sequence[_Shift],
    buffer: Matrix,
    width: int,
) -> _Sums:
    """Return the sums of one block of queries, by the first shift that serves."""
    for shift in shifts:
        sums = _sums(block, negligible, shift, buffer, width)
        if np.isfinite(sums.denominator).all() and np.isfinite(sums.numerator).all():
            break
    return sums


def _sums(
    block: Block,
    negligible: NDArray[np.float64] | None,
    shifted_by: _Shift,
    buffer: Matrix,
    width: int,
) -> _Sums:
    """Return the sums, tile by tile."""
    values, dtype = block.side.values.scaled, block.queries.dtype
    q = scaled_queries(block)
    numerator = np.zeros((len(q), values.shape[1]), dtype)
    denominator = np.zeros((len(q), 1), dtype)
    shift = np.full((len(q), 1), 0 if shifted_by is _Shift.NOTHING else -np.inf, dtype)
    if block.sink is not None:
        sink = dtype.type(block.sink)
        denominator[:] = np.exp(sink) if shifted_by is _Shift.NOTHING else 1
        if shifted_by is not _Shift.NOTHING:
            shift[:] = sink
    #: The rows whose shift may still change.
    waiting = np.full((len(q), 1), shifted_by is not _Shift.NOTHING)
    ones = np.ones((min(width, KEY_BLOCK), 1), dtype)
    for seeing, keys, tile in _tiles(block, q, negligible, buffer, width):
        if shifted_by is not _Shift.NOTHING:
            if waiting[seeing].any():
                largest = tile.max(axis=1, keepdims=True)
                larger = np.where(
                    waiting[seeing], np.maximum(shift[seeing], largest), shift[seeing]
                )
                # Of rows that have seen nothing -inf is left, which is no number to subtract.
                rescale = np.exp(shift[seeing] - np.where(np.isneginf(larger), 0, larger))
                numerator[seeing] *= rescale
                denominator[seeing] *= rescale
                shift[seeing] = larger
                if shifted_by is _Shift.FIRST_MAXIMUM:
                    waiting[seeing] &= np.isneginf(largest)
            tile -= np.where(np.isneginf(shift[seeing]), 0, shift[seeing])
        np.exp(tile, out=tile)
        numerator[seeing] += product_by_blocks(tile, values[keys])
        # A product with ones: numpy's own row sum takes twice as long.
        denominator[seeing] += sums_by_blocks(tile, ones)
    shift[np.isneginf(shift)] = 0
    return _Sums(numerator=numerator, denominator=denominator, shift=shift)


def product_by_blocks(weights: Matrix, values: Matrix) -> Matrix:
    """Return the product of a tile of weights and its values, added up by blocks and then the blocks."""
    rows, keys = weights.shape
    if keys <= KEY_BLOCK:
        found: Matrix = weights @ values
        return found
    blocks, rest = divmod(keys, KEY_BLOCK)
    whole = keys - rest
    left = weights[:, :whole].reshape(rows, blocks, KEY_BLOCK).transpose(1, 0, 2)
    total: Matrix = (left @ values[:whole].reshape(blocks, KEY_BLOCK, -1)).sum(axis=0)
    if rest:
        total += weights[:, whole:] @ values[whole:]
    return total


def sums_by_blocks(weights: Matrix, ones: Matrix) -> Matrix:
    """Return the sum of every row of a tile, likewise."""
    rows, keys = weights.shape
    if keys <= KEY_BLOCK:
        found: Matrix = weights @ ones[:keys]
        return found
    blocks, rest = divmod(keys, KEY_BLOCK)
    whole = keys - rest
    total: Matrix = (weights[:, :whole].reshape(rows, blocks, KEY_BLOCK) @ ones).sum(axis=1)
    if rest:
        total += weights[:, whole:] @ ones[:rest]
    return total


def _tiles(
    block: Block, q: Matrix, negligible: NDArray[np.float64] | None, buffer: Matrix, width: int
) -> Iterator[tuple[slice, slice, Matrix]]:
    """Yield, for every tile of keys of which some query sees any: queries, keys, and their scores.

    Scores of hidden keys are -inf.
    """
    stop_key = block.keys[1]
    softcap = None if block.options.softcap is None else q.dtype.type(block.options.softcap)
    for first in range(_first_tile(block), stop_key, width):
        keys = slice(first, min(first + width, stop_key))
        seeing = block.seeing(first, keys.stop)
        shape = seeing.stop - seeing.start, keys.stop - first
        if not shape[0]:
            continue
        if block.mask is not None and not block.mask[seeing, keys].any():
            continue
        tile = buffer[: shape[0] * shape[1]].reshape(shape)
        np.matmul(q[seeing], block.side.k[keys].T, out=tile)
        if softcap is not None:
            tile /= softcap
            np.tanh(tile, out=tile)
            tile *= softcap
        if block.bias is not None and negligible is not None:
            bias = block.bias[seeing, keys]
            below = bias < negligible[seeing]
            tile += np.where(below, -np.inf, bias).astype(q.dtype)
        block.hide(tile, seeing, keys)
        yield seeing, keys, tile
