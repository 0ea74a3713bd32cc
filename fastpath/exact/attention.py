"""Exact softmax attention, in blocks, with a rounding certificate on every entry."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from queue import SimpleQueue

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import (
    ARITHMETIC,
    log_sum_exp,
    rounding_output,
    rounding_weight,
    weights_underflow,
)
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.directed import UNIT_ROUNDOFF, library_down, library_up, up
from fastpath.core.inputs import Matrix, heads_inputs
from fastpath.core.semantics import Indices, Semantics, semantics
from fastpath.exact.blocks import Block, block_of, check_factors, check_finite, scores_of
from fastpath.exact.prepared import PreparedHead

#: Tile of the logit matrix, 1 MiB in float32.  At n = 4096, d = 64, 256 x 512 takes 14 % longer and
#: 512 x 512 5 %; short key blocks also keep the sums, and so the certificate, tight.
QUERY_BLOCK, KEY_BLOCK = 1024, 256


#: Scores of at most this size need no shift: exp neither overflows nor underflows, nor does a sum of
#: fewer than 2^60 terms.
UNSHIFTED_LOGITS = {"float32": 40.0, "float64": 300.0}


#: An output whose values are all equal is exact, but no enclosure can decide an error bound of zero,
#: and one of 2^-1074 takes a thousand bits.  Certificates go no lower than this, relative to a power
#: of two near the column's largest value.
DECIDABLE = 2.0**-100


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
    K: ArrayLike,
    V: ArrayLike,
    *,
    scale: float = 1.0,
    causal: bool | str = False,
    window: tuple[int | None, int | None] | None = None,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    softcap: float | None = None,
    sinks: ArrayLike | None = None,
    empty_rows: str = "refuse",
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
    K : array_like, shape (n_k, d) or (..., h_k, n_k, d)
        Keys, with the same leading axes; h_q is a multiple of h_k, and query head h reads key head
        h // (h_q / h_k).
    V : array_like, shape (n_k, d_v) or (..., h_k, n_k, d_v)
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
    result: one scaled copy of V, and one tile of 1024 x 256 a worker.  Certificate: O(n (d + d_v)).

    The logit error uses the Cauchy-Schwarz bound :math:`|q_i| \max_j |k_j|`, about 1.5 times
    :math:`\max_j \sum_l |q_{il} k_{jl}|` on real heads, since the latter would cost another product.

    A bias so far below a row's largest that its key can weigh no more than the smallest normal number, as
    masks written in numbers are, hides the key, and is counted as underflow.

    The truth is an average of values (of 0 too, where there is a sink), so the output is projected on their
    range: that never increases an error, and keeps values next to the largest float from rounding to
    infinity.

    Claims: FP.softmax, FP.exp, S.output, FP.lse; FP.scores and FP.tanh where scores are scaled, capped or
    biased.
    """
    q, k, v = heads_inputs(Q, K, V)
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
    check_finite(q, k, v, options)
    return attend_heads(q, k, v, options, worker_count(workers))


def attend(q: Matrix, k: Matrix, v: Matrix, last: NDArray[np.intp] | None) -> Certified:
    """Compute :func:`attention` of checked matrices; query i sees the keys up to ``last[i]``, ascending."""
    options = Semantics(heads=(), queries=len(q), keys=len(k), right=None if last is None else 0)
    rows = np.arange(len(q)) if last is None else last
    return attend_heads(q, k, v, options, worker_count(None), rows)


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
    constants = ARITHMETIC[q.dtype.name]
    most = int(0.25 / constants["unit_roundoff"])
    n_q, n_k, d = q.shape[-2], k.shape[-2], q.shape[-1]
    if max(d, int(_roundings(np.array(n_k), np.array(-(-n_k // KEY_BLOCK))))) > most:
        raise ValueError(
            f"Q, K and V must need at most {most} roundings a term in {q.dtype} (FP.softmax), got "
            f"{d} columns of Q and {n_k} keys."
        )
    check_factors(options, q.dtype)
    rows = np.arange(n_q) if rows is None else rows
    queries, keys, values = (x.reshape(-1, *x.shape[-2:]) for x in (q, k, v))
    group = len(queries) // len(keys)
    sides = run([partial(PreparedHead, *side) for side in zip(keys, values, strict=True)], workers)
    output = np.empty((*q.shape[:-1], v.shape[-1]), q.dtype)
    error_bound = np.empty(output.shape)
    logarithm, log_bound = np.empty(q.shape[:-1]), np.empty(q.shape[:-1])
    results = [
        x.reshape(len(queries), n_q, *x.shape[q.ndim - 1 :])
        for x in (output, error_bound, logarithm, log_bound)
    ]
    # Allocated once: a fresh half-megabyte tile a block costs 5 % in page faults.
    buffers: SimpleQueue[Matrix] = SimpleQueue()
    for _ in range(workers):
        buffers.put(np.empty((min(QUERY_BLOCK, n_q), min(KEY_BLOCK, n_k)), q.dtype))

    def compute(index: int, start: int) -> None:
        stop = min(start + QUERY_BLOCK, n_q)
        block = block_of(
            queries[index, start:stop], sides[index // group], options, index, rows[start:stop]
        )
        buffer = buffers.get()
        try:
            found = _attend_block(block, buffer)
        finally:
            buffers.put(buffer)
        for result, part in zip(results, found, strict=True):
            result[index, start:stop] = part

    tasks: list[Callable[[], None]] = [
        partial(compute, index, start)
        for index in range(len(queries))
        for start in range(0, n_q, QUERY_BLOCK)
    ]
    run(tasks, workers)
    return Certified(
        output=output,
        error_bound=error_bound,
        claims=_claims(options),
        log_sum_exp=logarithm,
        log_sum_exp_bound=log_bound,
    )


def _claims(options: Semantics) -> tuple[str, ...]:
    if options.softcap is not None:
        return (*CLAIMS, "FP.scores", "FP.tanh")
    return CLAIMS if options.scale == 1 and options.bias is None else (*CLAIMS, "FP.scores")


def _roundings(keys: NDArray[np.int_], blocks: NDArray[np.int_]) -> NDArray[np.int_]:
    """Bound the roundings that a term of either sum passes through.

    One as a product and the additions of its block, then at most one addition and one rescaling for
    every later block.
    """
    return np.minimum(KEY_BLOCK, keys) + 2 * (blocks - 1)


def _attend_block(
    block: Block, buffer: Matrix
) -> tuple[Matrix, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return output, error bound, log-sum-exp and its bound for one block of queries."""
    queries, values = block.queries, block.side.values
    constants = ARITHMETIC[queries.dtype.name]
    scores = scores_of(block)
    small = bool(
        np.max(up(scores.magnitude + scores.error)) <= UNSHIFTED_LOGITS[queries.dtype.name]
    )
    shifts = (_Shift.NOTHING,) if small else (_Shift.FIRST_MAXIMUM, _Shift.RUNNING_MAXIMUM)
    sums = _finite_sums(block, scores.negligible, shifts, buffer)
    empty = np.flatnonzero(sums.denominator == 0)
    if empty.size and not block.options.zeros:
        of_head = f" of head {block.head}" if block.head else ""
        raise ValueError(
            f"query {block.rows[empty[0]]}{of_head} must see a key or a sink, but all {len(block.side.k)} "
            "keys are hidden from it: pass empty_rows='zeros' for zeros."
        )
    sums.denominator[empty] = 1
    quotient = sums.numerator / sums.denominator
    # What differs from row to row stands in a column.
    visible, blocks = _counts(block)
    lower, upper = values.range(block.ranges, sink=block.sink is not None)
    spread, value_magnitude = values.spread_and_magnitude(lower, upper)
    exponentials = 1 if small else blocks
    terms = _roundings(visible, blocks)
    # What underflow takes from a sum, relative to the sum of the weights.
    lightest = library_down(np.exp(-UNSHIFTED_LOGITS[queries.dtype.name])) if small else 1.0
    lost = weights_underflow(visible, exponentials, constants["tiny"], lightest)
    # The first rows of causal attention may see values far below the column's largest, which set
    # the scale; FP.softmax needs gamma + underflow < 1.
    value_magnitude = np.maximum(value_magnitude, np.maximum(2.0**-40, 4 * lost))
    weight_error = rounding_weight(
        scores.error,
        constants["unit_roundoff"],
        0.0 if small else 2 * up(scores.magnitude + scores.error),
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
        up(lost / value_magnitude),
        values.smallest,
    )
    log_denominator = np.log(sums.denominator.astype(np.float64))
    shift = sums.shift.astype(np.float64)
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
    output = values.restore(quotient, lower, upper)
    error_bound = values.restore_bound(np.minimum(bound, spread + DECIDABLE))
    log_bound = np.broadcast_to(log_bound, logarithm.shape).copy()
    output[empty], error_bound[empty] = 0, 0
    logarithm[empty], log_bound[empty] = -np.inf, 0
    return output, error_bound, logarithm[:, 0], log_bound[:, 0]


def _counts(block: Block) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Return how many keys each query may see, a sink included, and in how many blocks they lie."""
    sink = int(block.sink is not None)
    if block.ranges is None:
        keys = np.array(len(block.side.k))
        return keys + sink, -(-keys // KEY_BLOCK) + sink
    first, stop = (x[:, None] for x in block.ranges)
    blocks = -(-stop // KEY_BLOCK) - first // KEY_BLOCK
    return np.maximum(stop - first + sink, 1), np.maximum(blocks + sink, 1)


# ------------------------------------------------------------------------------------- scores


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
) -> _Sums:
    """Return the sums of one block of queries, by the first shift that serves."""
    for shift in shifts:
        sums = _sums(block, negligible, shift, buffer)
        if np.isfinite(sums.denominator).all() and np.isfinite(sums.numerator).all():
            break
    return sums


def _sums(
    block: Block, negligible: NDArray[np.float64] | None, shifted_by: _Shift, buffer: Matrix
) -> _Sums:
    """Return the sums, key block by key block."""
    side, dtype = block.side, block.queries.dtype
    q = (
        block.queries
        if block.options.scale == 1
        else block.queries * dtype.type(block.options.scale)
    )
    if not np.isfinite(q).all():
        raise ValueError(
            f"scale and Q must keep scale Q finite in {dtype}, got scale = {block.options.scale!r}."
        )
    numerator = np.zeros((len(q), side.values.scaled.shape[1]), dtype)
    denominator = np.zeros((len(q), 1), dtype)
    shift = np.full((len(q), 1), 0 if shifted_by is _Shift.NOTHING else -np.inf, dtype)
    if block.sink is not None:
        sink = dtype.type(block.sink)
        denominator[:] = np.exp(sink) if shifted_by is _Shift.NOTHING else 1
        if shifted_by is not _Shift.NOTHING:
            shift[:] = sink
    #: The rows whose shift may still change.
    waiting = np.full((len(q), 1), shifted_by is not _Shift.NOTHING)
    ones = np.ones((buffer.shape[1], 1), dtype)
    for seeing, keys, tile in _tiles(block, q, negligible, buffer):
        if waiting[seeing].any():
            largest = tile.max(axis=1, keepdims=True)
            larger = np.where(waiting[seeing], np.maximum(shift[seeing], largest), shift[seeing])
            # Of rows that have seen nothing -inf is left, which is no number to subtract.
            rescale = np.exp(shift[seeing] - np.where(np.isneginf(larger), 0, larger))
            numerator[seeing] *= rescale
            denominator[seeing] *= rescale
            shift[seeing] = larger
            if shifted_by is _Shift.FIRST_MAXIMUM:
                waiting[seeing] &= np.isneginf(largest)
        if shifted_by is not _Shift.NOTHING:
            tile -= np.where(np.isneginf(shift[seeing]), 0, shift[seeing])
        np.exp(tile, out=tile)
        numerator[seeing] += tile @ side.values.scaled[keys]
        # A product with ones: numpy's own row sum takes twice as long.
        denominator[seeing] += tile @ ones[: tile.shape[1]]
    shift[np.isneginf(shift)] = 0
    return _Sums(numerator=numerator, denominator=denominator, shift=shift)


def _tiles(
    block: Block, q: Matrix, negligible: NDArray[np.float64] | None, buffer: Matrix
) -> Iterator[tuple[slice, slice, Matrix]]:
    """Yield, for every block of keys of which some query sees any: queries, keys, and their scores.

    Scores of hidden keys are -inf.
    """
    first_key, stop_key = block.keys
    softcap = None if block.options.softcap is None else q.dtype.type(block.options.softcap)
    for first in range(first_key - first_key % KEY_BLOCK, stop_key, KEY_BLOCK):
        keys = slice(first, min(first + KEY_BLOCK, stop_key))
        seeing = block.seeing(first, keys.stop)
        hidden = block.hidden(seeing, keys) if seeing.stop > seeing.start else None
        if seeing.stop == seeing.start or (hidden is not None and hidden.all()):
            continue
        tile = buffer[: seeing.stop - seeing.start, : keys.stop - first]
        np.matmul(q[seeing], block.side.k[keys].T, out=tile)
        if softcap is not None:
            tile /= softcap
            np.tanh(tile, out=tile)
            tile *= softcap
        if block.bias is not None and negligible is not None:
            bias = block.bias[seeing, keys]
            below = bias < negligible[seeing]
            tile += np.where(below, -np.inf, bias).astype(q.dtype)
        if hidden is not None:
            np.copyto(tile, -np.inf, where=hidden)
        yield seeing, keys, tile
