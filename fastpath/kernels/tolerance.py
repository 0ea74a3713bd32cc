"""The tolerance of an attention kernel: what its declared arithmetic may return, entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.kernels import kernel_factor, kernel_output, kernel_range
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.directed import above, below, library_down, library_up, up
from fastpath.core.inputs import Array, Matrix, heads_inputs, in_range, plain_array
from fastpath.core.norms import TINY
from fastpath.core.once import once
from fastpath.core.semantics import Causal, EmptyRows, Indices, Semantics, semantics
from fastpath.exact.attention import attend_heads
from fastpath.exact.blocks import Block, block_of, check_finite, logit_magnitude, scores_of
from fastpath.exact.prepared import PreparedHead
from fastpath.kernels.exponents import Exponents
from fastpath.kernels.formats import FORMATS
from fastpath.kernels.model import RoundingModel
from fastpath.kernels.sums import QUERY_BLOCK, SINGLE, RowSums, Values, own_error, row_sums

#: How many times less than the rounding of the weights theta must be for one bound a row.
COARSE = 16

CLAIMS = ("FP.kernel", "FP.kernel_matmul", "FP.softmax", "FP.exp", "S.output", "FP.lse")


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What a kernel of a rounding model may return.

    Attributes
    ----------
    lower, upper : float64 array, shape (..., n_q, d_v)
        Numbers of the output's format, infinite where it or the arithmetic before it may overflow: a kernel
        of that model returns what lies between, ends included.
    centre : float64 array of that shape
        Attention, computed in float64.
    bound : float64 array of that shape
        B of FP.kernel plus what ``centre`` may be off by, before the output is rounded.
    centre_bound : float64 array of that shape, or None
        What ``centre`` may be off by; None of gradients, where it is part of ``bound`` only.
    claims : tuple of str
        What it rests on.
    """

    lower: Array
    upper: Array
    centre: Array
    bound: Array
    claims: tuple[str, ...]
    centre_bound: Array | None = None


@standard_arithmetic
def tolerance(
    Q: ArrayLike,
    K: ArrayLike,
    V: ArrayLike,
    model: RoundingModel,
    *,
    scale: float = 1.0,
    causal: Causal = False,
    window: tuple[int | None, int | None] | None = None,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    softcap: float | None = None,
    sinks: ArrayLike | None = None,
    empty_rows: EmptyRows = "refuse",
    rows: ArrayLike | None = None,
    workers: int | None = None,
) -> Tolerance:
    """Bound what a kernel of a rounding model may return, entry by entry.

    Parameters
    ----------
    Q, K, V, scale, causal, window, mask, bias, softcap, sinks, empty_rows, workers
        As for :func:`fastpath.attention`; the very numbers that the kernel is given, in whatever type.  The
        kernel reads them as they are: give what it was given, not what was rounded to it.
    model : RoundingModel
        What the kernel rounds.
    rows : sequence of int, optional
        The queries that are asked for; all by default.

    Returns
    -------
    Tolerance

    Raises
    ------
    TypeError, ValueError
        As :func:`fastpath.attention`; also if the model's sums pass through so many roundings that it says
        nothing about so many keys.

    Notes
    -----
    The interval is [fl(o - B), fl(o + B)] with o attention of the given numbers, computed in float64 together
    with what that may be off by, and B from FP.kernel with its first term by Cauchy and Schwarz
    (FP.kernel_matmul).  B itself is computed upward, in float32 tiles where these are good enough.

    Cost: attention in float64, then 2 n_q n_k (2 d + 2 d_v) multiply-adds a head.  Memory beyond the result:
    a few tiles of 1024 x 256 a worker.

    Claims: FP.kernel, FP.kernel_matmul, and those of :func:`fastpath.attention`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastpath import kernels
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 50, 16)).astype(np.float16)
    >>> allowed = kernels.tolerance(Q, K, V, kernels.RoundingModel(out="float16"), scale=1 / 4)
    >>> allowed.lower.shape, bool((allowed.upper - allowed.lower < 0.01).all())
    ((50, 16), True)
    """
    task = prepare(
        Q,
        K,
        V,
        model,
        scale=scale,
        causal=causal,
        window=window,
        mask=mask,
        bias=bias,
        softcap=softcap,
        sinks=sinks,
        empty_rows=empty_rows,
        rows=rows,
    )
    count = worker_count(workers)
    return tolerance_of(task, exact_of(task, count), count)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Checked heads with a model: what :func:`tolerance` was asked.

    ``q`` holds the rows that were asked for; arrays are of float64.  ``single``: float32 holds them.
    ``exact_weights``: weights relative to the largest are numbers of the weights' format but for that
    relative error, so that rounding gives these very numbers.
    """

    q: Matrix
    k: Matrix
    v: Matrix
    options: Semantics
    rows: Indices
    model: RoundingModel
    single: bool
    exact_weights: float | None = None

    @property
    def group(self) -> int:
        """How many query heads read a key head."""
        return int(self.q.shape[-3] // self.k.shape[-3]) if self.q.ndim > 2 else 1


def prepare(
    Q: ArrayLike,
    K: ArrayLike,
    V: ArrayLike,
    model: RoundingModel,
    *,
    rows: ArrayLike | None = None,
    **options: Any,
) -> Task:
    """Check what :func:`tolerance` is given."""
    if not isinstance(model, RoundingModel):
        raise TypeError(f"model must be a RoundingModel, got {model!r}.")
    q, k, v = heads_inputs(Q, K, V)
    checked = semantics(q.shape[:-2], q.shape[-2], k.shape[-2], **options)
    check_finite(q, k, v, checked)
    single = q.dtype == np.float32
    q, k, v = (x.astype(np.float64, copy=False) for x in (q, k, v))
    chosen = _rows(rows, q.shape[-2])
    _check_sums(model, k.shape[-2], q.shape[-1])
    if rows is not None:
        q = np.ascontiguousarray(q[..., chosen, :])
    return Task(q=q, k=k, v=v, options=checked, rows=chosen, model=model, single=single)


def _rows(rows: ArrayLike | None, count: int) -> Indices:
    """Return the queries that are asked for, ascending."""
    if rows is None:
        return np.arange(count)
    array = plain_array("rows", rows)
    if array.dtype.kind not in "iu" or array.ndim != 1 or not array.size:
        raise TypeError(f"rows must be a sequence of integers, one at least, got {rows!r}.")
    found = np.array([in_range("rows", int(row), count) for row in array])
    if (np.diff(found) <= 0).any():
        raise ValueError("rows must ascend, each once.")
    return found


def _check_sums(model: RoundingModel, keys: int, dimension: int) -> None:
    """Refuse a model of which no bound says anything."""
    u = model.unit.unit_roundoff
    terms = max(model.roundings(keys + 1) + 8 + model.splits, dimension + 4)
    if not terms * u <= 1 / 4:
        raise ValueError(
            f"model must let a term pass through at most {int(0.25 / u)} roundings of {model.accumulate} "
            f"(FP.kernel), got {terms} with {keys} keys, {dimension} columns and block={model.block}."
        )


def exact_of(task: Task, workers: int) -> Certified:
    """Return attention in float64 of the rows that are asked for, with bounds on its error."""
    return attend_heads(task.q, task.k, task.v, task.options, workers, task.rows)


def tolerance_of(task: Task, exact: Certified, workers: int) -> Tolerance:
    """Bound what a kernel may return, of checked arguments and their attention."""
    assert exact.log_sum_exp is not None
    assert exact.log_sum_exp_bound is not None
    count, n_q = int(np.prod(task.q.shape[:-2])), task.q.shape[-2]
    queries, keys, values, centre, centre_bound = (
        x.reshape(-1, *x.shape[-2:])
        for x in (task.q, task.k, task.v, exact.output, exact.error_bound)
    )
    logarithm, log_bound = (
        x.reshape(count, n_q, 1) for x in (exact.log_sum_exp, exact.log_sum_exp_bound)
    )
    sides = run(
        [partial(Side, k, v, task.single) for k, v in zip(keys, values, strict=True)], workers
    )
    bound = np.empty(centre.shape)

    def compute(index: int, start: int) -> None:
        part = slice(start, min(start + QUERY_BLOCK, n_q))
        bound[index, part] = kernel_bound(
            task,
            sides[index // task.group],
            queries[index, part],
            index,
            task.rows[part],
            centre[index, part],
            centre_bound[index, part],
            logarithm[index, part],
            log_bound[index, part],
        )

    tasks: list[Callable[[], None]] = [
        partial(compute, index, start)
        for index in range(count)
        for start in range(0, n_q, QUERY_BLOCK)
    ]
    run(tasks, workers)
    total = up(bound + centre_bound).reshape(exact.output.shape)
    lower, upper = interval(exact.output, total, task.model)
    return Tolerance(
        lower=lower,
        upper=upper,
        centre=exact.output,
        bound=total,
        centre_bound=exact.error_bound,
        claims=_claims(task.options),
    )


def interval(centre: Array, bound: Array, model: RoundingModel) -> tuple[Array, Array]:
    """Return [fl(centre - bound), fl(centre + bound)], which monotone rounding does not leave."""
    out = FORMATS[model.out]
    with np.errstate(invalid="ignore"):
        lower, upper = out.nearest(below(centre - bound)), out.nearest(above(centre + bound))
    return lower, upper


def _claims(options: Semantics) -> tuple[str, ...]:
    extra = (
        ()
        if options.scale == 1 and options.bias is None and options.softcap is None
        else ("FP.scores",)
    )
    return (*CLAIMS, *extra, *(() if options.softcap is None else ("FP.tanh",)))


class Side:
    """Keys and values of one head, in the types that tiles may have."""

    def __init__(self, k: Matrix, v: Matrix, single: bool) -> None:
        self._k, self._v = k, v
        self.single = None
        if single:
            k, v = k.astype(np.float32), v.astype(np.float32)
            self.single = PreparedHead(k, v), Values(v)

    @once
    def double(self) -> tuple[PreparedHead, Values]:
        """Keys and values in float64, where they are needed."""
        return PreparedHead(self._k, self._v), Values(self._v)


def kernel_bound(
    task: Task,
    side: Side,
    queries: Matrix,
    index: int,
    rows: Indices,
    centre: Array,
    centre_bound: Array,
    logarithm: Array,
    log_bound: Array,
) -> Array:
    """Return B of FP.kernel for a block of queries of one head."""
    empty = np.isneginf(logarithm)
    logarithm = np.where(empty, 0, logarithm)
    block, values, exponents, sums = _sums(
        task, side, queries, index, rows, centre, centre_bound, logarithm, log_bound
    )
    off = None
    if task.exact_weights is not None:
        # Their rounding undoes what the exponential is off by, if they are nearer to their number than to the
        # middle between two.
        off = float(up(library_up(np.expm1(exponents.most.max())) * 2 + task.exact_weights))
        if 4 * off > roundoff(task.model, "weights"):
            off = None
    bound = _assembled(task.model, block, values, sums, centre, centre_bound, off)
    bound[empty[:, 0]] = 0
    # Of a row that sees nothing too: weights of 0 times values that have overflowed are no numbers.
    return np.where(may_overflow(task.model, block, values, logarithm), np.inf, bound)


def _sums(
    task: Task,
    side: Side,
    queries: Matrix,
    index: int,
    rows: Indices,
    centre: Array,
    centre_bound: Array,
    logarithm: Array,
    log_bound: Array,
) -> tuple[Block, Values, Exponents, RowSums]:
    """Make the sums, in single precision where that is good enough."""
    model, found = task.model, None
    if side.single is not None:
        prepared, values = side.single
        block = block_of(queries.astype(np.float32), prepared, task.options, index, rows)
        try:
            scores = scores_of(block)
        except ValueError:  # a score could overflow in single precision
            pass
        else:
            own = own_error(scores, logarithm, log_bound, block.queries.dtype)
            if own.max() <= SINGLE and model.unit.precision <= 24:
                found = block, values, scores
    if found is None:
        prepared, values = side.double
        block = block_of(queries, prepared, task.options, index, rows)
        found = block, values, scores_of(block)
    block, values, scores = found
    exponents = Exponents(model, block, scores, logarithm, log_bound)
    weights = model.format("weights")
    sums = row_sums(
        block,
        scores,
        values,
        exponents,
        weights if model.denominator == "normalised" else None,
        0.0 if weights is None else weights.unit_roundoff / COARSE,
        np.ldexp(centre, -values.exponent),
        up(np.ldexp(centre_bound, -values.exponent)),
        logarithm,
        log_bound,
    )
    return block, values, exponents, sums


def roundoff(model: RoundingModel, name: str) -> float:
    """Return the unit roundoff of the format that a field names, 0 where it names none."""
    chosen = model.format(name)
    return 0.0 if chosen is None else chosen.unit_roundoff


def sum_errors(
    model: RoundingModel, keys: int, *, weights: float | None = None, seen: Any = None
) -> tuple[Any, Any]:
    """Return g_N and g_D of FP.kernel: what a term of either sum may be off by, relatively.

    ``weights`` is the unit roundoff of the weights, where it is not the model's; ``seen`` are the keys that
    are not hidden, where that differs by row.
    """
    u, terms = model.unit.unit_roundoff, model.roundings(keys, seen)
    if model.splits > 1:
        terms = terms + model.splits + 4
    if weights is None:
        weights = 0.0 if model.denominator == "rounded" else roundoff(model, "weights")
    # The quotient, or the reciprocal and its product, are two roundings of every term.
    numerator = kernel_factor(
        terms + 2, u, weights, roundoff(model, "values"), roundoff(model, "partials")
    )
    denominator = kernel_factor(terms, u, roundoff(model, "exponentials"), 0.0, 0.0)
    return numerator, denominator


def _seen(block: Block) -> Any:
    """Return how many keys each query sees, the sink included, in a column; None where all see all."""
    if block.mask is not None:
        seen = np.count_nonzero(block.mask, axis=1)
    elif block.ranges is not None:
        seen = np.maximum(block.ranges[1] - block.ranges[0], 0)
    else:
        return None
    return seen[:, None] + (block.sink is not None)


def _assembled(
    model: RoundingModel,
    block: Block,
    values: Values,
    sums: RowSums,
    centre: Array,
    centre_bound: Array,
    weights_off: float | None,
) -> Array:
    """Put B together; ``weights_off``: what rounding makes of a weight, where that is known."""
    keys = len(block.side.k) + (block.sink is not None)
    numerator, denominator = sum_errors(model, keys, weights=weights_off, seen=_seen(block))
    size = up(np.abs(centre) + centre_bound)
    unit_size = up(np.ldexp(size, -values.exponent))
    # What underflow takes: of weights and products, at every rescaling, relative to the largest weight.
    steps = up(8.0 * keys * (model.blocks(keys) + 2 * model.splits))
    lost = up(up(steps * model.unit.lost) * sums.heaviest)
    lost_values = up(up(lost * values.unit_largest) + sums.small)
    weights = model.format("weights")
    exponentials = model.format("exponentials")
    for low in (weights, exponentials):
        if low is not None:
            lost_low = up(low.lost * sums.heaviest)
            lost_values = up(lost_values + up(lost_low * values.total(block.ranges)))
            if low is exponentials or model.denominator == "rounded":
                lost = up(lost + up(lost_low * keys))
    bound = np.ldexp(
        kernel_output(
            sums.deviation,
            sums.values,
            sums.largest,
            sums.smallest,
            numerator,
            denominator,
            unit_size,
            lost_values,
            lost,
        ),
        values.exponent,
    )
    absolute = absolute_loss(model, keys, sums.largest, sums.smallest)
    largest = np.maximum(values.largest, 0)
    # The largest weight is 1, up to what exp errs at 0; what underflow takes is relative to it.
    gone = up(2 * steps * model.unit.lost)
    for low in (weights, exponentials):
        if low is not None:
            gone = up(gone + 2 * keys * low.lost)
    capped = kernel_range(up(largest + size), largest, size, numerator, denominator, gone)
    assembled: Array = up(np.minimum(np.where(np.isnan(bound), np.inf, bound), capped) + absolute)
    return assembled


def absolute_loss(model: RoundingModel, keys: int, largest: Array, smallest: Array) -> Array:
    """Return what underflow takes from an output whatever the size of its values.

    ``largest`` and ``smallest`` bound the kernel's sum of weights.
    """
    steps = up(8.0 * keys * (model.blocks(keys) + 2 * model.splits))
    absolute = up(steps * model.unit.lost)
    kept, partials = model.format("values"), model.format("partials")
    if kept is not None:
        absolute = up(absolute + up(2 * kept.lost) * up(largest / down_positive(smallest)))
    if partials is not None:
        absolute = up(absolute + 2 * partials.lost)
    out = FORMATS[model.out]
    total: Array = up(up(4 * absolute) + 2 * model.unit.lost + (0.0 if out.gradual else out.lost))
    return total


def down_positive(x: Array) -> Array:
    """Return x where it is positive, else the smallest number: to divide by."""
    positive: Array = np.maximum(library_down(x), TINY)
    return positive


def may_overflow(
    model: RoundingModel, block: Block, values: Values, logarithm: Array
) -> NDArray[np.bool_]:
    """Return where the model's arithmetic may overflow, so that nothing is known of what it returns.

    Sizes are by Cauchy and Schwarz, and twice what is exact.
    """
    options, keys = block.options, len(block.side.k) + 1
    raw = up(2 * logit_magnitude(block.queries, block.side, block.ranges))[:, None]
    scaled = up(raw * abs(options.scale))
    scores = np.maximum(scaled, raw) if model.inputs is None else scaled
    if options.softcap is not None:
        scores = up(np.maximum(scores, scaled / min(options.softcap, 1.0)))
    # A bias beyond what a format holds is one that hides, or the logarithm is as large.
    scores = np.maximum(scores, up(4 * np.abs(logarithm)))
    if block.bias is not None:
        scores = np.maximum(scores, 2 * block.bias.max(initial=0))
    overflows: NDArray[np.bool_] = scores > model.unit.largest
    low = model.format("logits")
    if low is not None:
        overflows = overflows | (scores > low.largest)
    inputs = model.format("inputs")
    scale = max(1.0, abs(options.scale))
    largest_query = np.abs(block.queries).max(axis=1, keepdims=True).astype(np.float64)
    # The scale may stand on either side before the product; where it is no more than 1, nothing grows.
    grown = 1.0 if scale == 1 else 2 * scale
    overflows = overflows | (grown * largest_query > model.unit.largest)
    largest_key = np.reshape(block.side.largest_key, (-1, 1))
    overflows = overflows | (grown * largest_key > model.unit.largest)
    if inputs is not None:
        overflows = overflows | (2 * scale * largest_query > inputs.largest)
        overflows = overflows | (2 * scale * largest_key > inputs.largest)
    exponentials = model.format("exponentials")
    if exponentials is not None:
        overflows = overflows | bool(2 * keys > exponentials.largest)
    counted = 2 if model.denominator == "normalised" else 2 * keys
    with np.errstate(over="ignore"):
        columns = counted * values.largest > model.unit.largest
    for name in ("values", "partials"):
        chosen = model.format(name)
        if chosen is not None:
            columns = columns | (2 * values.largest > chosen.largest)
    return overflows | columns
