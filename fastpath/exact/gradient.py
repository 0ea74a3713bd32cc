"""The gradient of attention, in blocks, with a rounding certificate a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import (
    ARITHMETIC,
    gradient_exponent,
    gradient_mean,
    gradient_result,
    gradient_score,
    gradient_slope,
    gradient_sum,
    gradient_unknown,
    gradient_weight,
    positive_sum,
    rounding_logit,
    rounding_weight,
    weights_underflow,
)
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.directed import UNIT_ROUNDOFF, library_down, up
from fastpath.core.inputs import Matrix, exact_floats, heads_inputs
from fastpath.core.norms import row_norms
from fastpath.core.semantics import Causal, EmptyRows, Semantics, semantics
from fastpath.core.shown import shown
from fastpath.exact.blocks import (
    Block,
    block_of,
    check_factors,
    check_finite,
    scaled_queries,
    scores_of,
)
from fastpath.exact.blocks import (
    empty_rows as rows_that_see_nothing,
)
from fastpath.exact.prepared import Prepared, PreparedHead, arrays_of

#: Tile of the matrix of weights, and the most queries of a block, which keeps all of its tiles.  Short
#: sides keep the sums over them, and so the certificate, tight.
QUERY_BLOCK, KEY_BLOCK = 512, 256

#: A block has so few queries that its matrix of weights has about this many entries, but no fewer queries
#: than the second: products of flatter matrices take half as long again.  Weights and products of so few take
#: as much memory as keys and values of 128 columns do.
BLOCK_ENTRIES, FEWEST_QUERIES = 2**20, 128

#: What the queries give to dK and dV is added up in about so many parts, each by one thread: few, as each
#: takes the memory of dK and dV.
PARTS = 8

#: Scores of at most this size need no shift: exp neither overflows nor underflows, nor does a sum of
#: fewer than 2^60 terms, nor what is normalised.
UNSHIFTED = 300.0

#: No two numbers between -1 and 1 are further apart.
LARGEST_TANGENT_ERROR = 2.0

CLAIMS = ("FP.gradient", "FP.scores", "FP.softmax", "FP.exp", "FP.sum", "FP.underflow")

TINY = ARITHMETIC["float64"]["tiny"]

Column = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """Derivatives of a loss by the arguments of attention, each of its argument's shape.

    It unpacks as ``dQ, dK, dV``, which there always are.  There is none by the bias: of one as large as the
    scores it would be the very matrix that is never kept.

    Attributes
    ----------
    dQ, dK, dV : Certified
    dsinks : Certified or None
        None without sinks.
    """

    __repr__ = shown

    dQ: Certified
    dK: Certified
    dV: Certified
    dsinks: Certified | None = None

    def __iter__(self) -> Iterator[Certified]:
        return iter((self.dQ, self.dK, self.dV))


@standard_arithmetic
def attention_gradient(
    Q: ArrayLike,
    K: ArrayLike | Prepared,
    V: ArrayLike | None,
    dO: ArrayLike,
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
) -> Gradient:
    """Compute the derivatives of sum(dO * attention(Q, K, V)) by Q, K, V and sinks, and bound their errors.

    Parameters
    ----------
    Q, K, V, scale, causal, window, mask, bias, softcap, sinks, empty_rows, workers
        As for :func:`fastpath.attention`; V is None where K is a Prepared.
    dO : array_like of the output's shape
        Derivatives of the loss by the output.

    Returns
    -------
    Gradient
        ``dQ``, ``dK``, ``dV`` and, where there are sinks, ``dsinks``, each Certified, of its argument's shape
        and in the type of the inputs, computed in float64.  What a key head gets is the sum over the query
        heads that read it.

    Raises
    ------
    TypeError, ValueError
        As :func:`fastpath.attention`; also if dO does not fit or a derivative is beyond the largest float.

    Notes
    -----
    Cost: n_q n_k (3 d + 2 d_v) multiply-adds and n_q n_k exponentials a head, with one worker; of causal
    attention about half, and of a window, or a mask that hides whole tiles, what is visible.  Memory beyond
    the result: two numbers for each key and each query of a block, of which there are 512 at most and fewer
    the more keys there are, a worker.  Certificate: five products of the tiles with vectors.

    Claims: FP.gradient, FP.scores, FP.softmax, FP.exp, FP.sum, FP.underflow; FP.tanh where scores are capped.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V, dO = np.random.default_rng(0).standard_normal((4, 50, 8))
    >>> found = fastpath.attention_gradient(Q, K, V, dO, causal=True)
    >>> found.dQ.output.shape, bool((found.dK.error_bound < 1e-11).all())
    ((50, 8), True)
    >>> dQ, dK, dV = (x.output for x in found)
    """
    keys, values, _ = arrays_of(K, V)
    q, k, v = heads_inputs(Q, keys, values)
    g = exact_floats("dO", dO)
    if g.shape != (*q.shape[:-1], v.shape[-1]):
        raise ValueError(
            f"dO must have the output's shape {(*q.shape[:-1], v.shape[-1])}, got {g.shape}."
        )
    if not np.isfinite(g).all():
        raise ValueError(
            f"dO must be finite, got {np.count_nonzero(~np.isfinite(g))} NaN or infinite of {g.size} "
            "entries."
        )
    dtype, given = np.result_type(q, g), q.dtype
    # A derivative is a sum of n terms that cancel, so that a bound in float32 would be thousands of times
    # the error; in float64 it is below the rounding of the result.
    q, k, v, g = (x.astype(np.float64, copy=False) for x in (q, k, v, g))
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
    # What attention refuses in the type of its inputs has no derivatives there.
    check_factors(options, given)
    found = _backward(q, k, v, g, options, worker_count(workers), given)
    return Gradient(**{name: _returned(name, *x, options, dtype) for name, x in found.items()})


def _returned(
    name: str,
    computed: Matrix,
    error: Column,
    options: Semantics,
    dtype: np.dtype[np.floating],
) -> Certified:
    """Return what was computed in float64 in the type of the inputs, its rounding included in the bound."""
    with np.errstate(over="ignore"):
        output = computed.astype(dtype)
    if dtype != np.float64:
        u, tiny = (ARITHMETIC[dtype.name][constant] for constant in ("unit_roundoff", "tiny"))
        error = gradient_result(error, np.abs(output.astype(np.float64)), u, tiny)
    if not (np.isfinite(output).all() and np.isfinite(error).all()):
        raise ValueError(
            f"Q, K, V and dO must be so small that no derivative by {name[1:]}, nor what bounds its error, "
            f"passes the largest {dtype}."
        )
    return Certified(
        output=output,
        error_bound=np.broadcast_to(error, output.shape),
        claims=CLAIMS if options.softcap is None else (*CLAIMS, "FP.tanh"),
    )


def _backward(
    q: Matrix,
    k: Matrix,
    v: Matrix,
    g: Matrix,
    options: Semantics,
    workers: int,
    dtype: np.dtype[np.floating],
) -> dict[str, tuple[Matrix, Column]]:
    """Go back over blocks of queries, and add up what they give to keys and values.

    Scores must be as small as they must be in ``dtype``.
    """
    queries, keys, values, gradients = (x.reshape(-1, *x.shape[-2:]) for x in (q, k, v, g))
    group, n_q, n_k = len(queries) // len(keys), q.shape[-2], k.shape[-2]
    sides = run([partial(_Side, *side) for side in zip(keys, values, strict=True)], workers)
    dQ, dQ_bound = np.empty(queries.shape), np.empty((*queries.shape[:-1], 1))
    # Of every query: the derivative by its sink, and what it errs.
    by_sinks = np.zeros((len(queries), n_q, 2))
    # Which blocks a thread adds up, and in which order, depends on shapes alone.
    rows, width = _block_shape(options)
    blocks = [(member, start) for member in range(group) for start in range(0, n_q, rows)]
    size = -(-len(blocks) // max(1, min(len(blocks), PARTS // len(keys))))
    # What is given to a key is added up within a block, and then from block to block.
    terms = rows + len(blocks)
    # Allocated once: tiles that are allocated anew take half of the time in page faults.
    pool: SimpleQueue[_Buffers] = SimpleQueue()
    for _ in range(workers):
        pool.put(_Buffers(rows, width, options.softcap is not None))

    def compute(head: int, first: int) -> _Sums:
        sums = _Sums(n_k, keys.shape[2], values.shape[2])
        buffers = pool.get()
        try:
            for member, start in blocks[first : first + size]:
                index, of = head * group + member, slice(start, min(start + rows, n_q))
                at = np.arange(of.start, of.stop)
                block = block_of(queries[index, of], sides[head].prepared, options, index, at)
                back = _Back(block, sides[head], gradients[index, of], buffers, dtype)
                dQ[index, of], dQ_bound[index, of] = back.add_to(sums, terms)
                by_sinks[index, of] = back.by_sink()
        finally:
            pool.put(buffers)
        return sums

    tasks: list[Callable[[], _Sums]] = [
        partial(compute, head, first)
        for head in range(len(keys))
        for first in range(0, len(blocks), size)
    ]
    found = run(tasks, workers)
    parts = len(found) // len(keys)
    dK, dK_bound = np.empty(keys.shape), np.empty((*keys.shape[:-1], 1))
    dV, dV_bound = np.empty(values.shape), np.empty((*keys.shape[:-1], 1))
    for head in range(len(keys)):
        total = found[head * parts]
        for other in found[head * parts + 1 : (head + 1) * parts]:
            total.add(other)
        dK[head], dK_bound[head] = total.of_keys(options.scale, terms, group * n_q)
        dV[head], dV_bound[head] = total.of_values(terms, group * n_q)
    results = {
        "dQ": (dQ.reshape(q.shape), dQ_bound.reshape(*q.shape[:-1], 1)),
        "dK": (dK.reshape(k.shape), dK_bound.reshape(*k.shape[:-1], 1)),
        "dV": (dV.reshape(v.shape), dV_bound.reshape(*k.shape[:-1], 1)),
    }
    if options.sinks is not None:
        results["dsinks"] = _of_sinks(by_sinks, options)
    return results


def _of_sinks(by_sinks: Column, options: Semantics) -> tuple[Column, Column]:
    """Add up what queries give to sinks, to the shape of the sinks, with a bound."""
    assert options.sinks is not None
    heads = by_sinks.reshape(-1, *options.heads[-1:], *by_sinks.shape[1:])
    axes = tuple(range(heads.ndim - 1)) if options.sinks.ndim == 0 else (0, heads.ndim - 2)
    if not options.heads:
        axes = (0, 1)
    sums, magnitudes = (f(heads).sum(axis=axes) for f in (np.asarray, np.abs))
    count = heads[..., 0].size // max(1, sums[..., 0].size)
    error, magnitude = (
        positive_sum(magnitudes[..., i], count, count, UNIT_ROUNDOFF, TINY) for i in (1, 0)
    )
    shape = options.sinks.shape
    bound = gradient_sum(error, magnitude, count, UNIT_ROUNDOFF, up(count * TINY))
    return sums[..., 0].reshape(shape), np.reshape(bound, shape)


def _block_shape(options: Semantics) -> tuple[int, int]:
    """Return how many queries a block has at most, and how many keys its tiles."""
    width = options.keys
    seen = width
    if options.left is not None and options.right is not None:
        seen = min(width, options.left + options.right + KEY_BLOCK)
    rows = min(options.queries, QUERY_BLOCK, max(FEWEST_QUERIES, BLOCK_ENTRIES // seen))
    return rows, min(width, seen + rows)


class _Side:
    """The keys and values of one head, with the largest of every key and the norm of the longest value."""

    def __init__(self, k: Matrix, v: Matrix) -> None:
        self.prepared, self.v = PreparedHead(k, v), v
        self.largest = np.abs(k).max(axis=1, keepdims=True)
        norms, exponent = row_norms(v)
        self.longest_value = float(up(np.ldexp(norms.max(), exponent)))


class _Buffers:
    """What a block keeps of its tiles: weights, products, slopes; and room for one tile more."""

    def __init__(self, rows: int, width: int, slopes: bool) -> None:
        self.weights, self.products = np.empty(rows * width), np.empty(rows * width)
        self.slopes = np.empty(rows * width) if slopes else None
        self.scratch = np.empty(rows * KEY_BLOCK)
        self.ones = np.ones((KEY_BLOCK, 1))


# --------------------------------------------------------------------------------------- sums


class _Sums:
    """What queries give to dK and dV of one head, and the sums that bound the errors."""

    def __init__(self, n: int, d: int, d_v: int) -> None:
        self.keys = np.zeros((n, d))
        #: With the weights: dV, its errors, errors of dK.
        self.by_weights = np.zeros((n, d_v + 2))
        #: With the derivatives by scores: errors of dK.
        self.by_scores = np.zeros((n, 1))
        #: What errs in every row alike.
        self.lost_keys, self.lost_values = 0.0, 0.0

    def add(self, other: _Sums) -> None:
        """Add what other queries give."""
        self.keys += other.keys
        self.by_weights += other.by_weights
        self.by_scores += other.by_scores
        self.lost_keys = up(self.lost_keys + other.lost_keys)
        self.lost_values = up(self.lost_values + other.lost_values)

    def of_keys(self, scale: float, terms: int, queries: int) -> tuple[Column, Column]:
        """Return the derivatives by keys, and their bound."""
        error = up(
            _raised(self.by_weights[:, -1:], terms, queries)
            + _raised(self.by_scores, terms, queries)
        )
        bound = up(up(abs(scale) * up(error + self.lost_keys)) + _lost(scale, queries))
        return scale * self.keys, bound

    def of_values(self, terms: int, queries: int) -> tuple[Column, Column]:
        """Return the derivatives by values, and their bound."""
        error = up(_raised(self.by_weights[:, -2:-1], terms, queries) + self.lost_values)
        return self.by_weights[:, :-2], up(error + _lost(1.0, queries))


def _raised(sums: Column, terms: int, count: int) -> Column:
    """Bound sums of so many nonnegative products, whose terms passed so many roundings, from above."""
    raised: Column = positive_sum(sums, count, terms, UNIT_ROUNDOFF, TINY)
    return raised


def _lost(scale: float, count: int) -> float:
    """Bound what underflow takes from a sum of so many products that is multiplied by a scale."""
    return float(up(up(up(abs(scale) * count) + 1) * TINY))


# ------------------------------------------------------------------------ one block of queries


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """What some queries of a block make of some keys: weights, products and slopes are in buffers."""

    seeing: slice
    keys: slice
    weights: Column
    products: Column
    slopes: Column | None


class _Back:
    """A block of queries: on its way forth, and what is needed on the way back."""

    def __init__(
        self,
        block: Block,
        side: _Side,
        gradient: Matrix,
        buffers: _Buffers,
        dtype: np.dtype[np.floating],
    ) -> None:
        self.block, self.side, self.gradient, self.buffers = block, side, gradient, buffers
        self.scores = scores_of(block, dtype)
        self.queries = scaled_queries(block, dtype)
        reach = up(self.scores.magnitude + self.scores.error)
        self.small = bool(np.max(reach) <= UNSHIFTED)
        self.tiles: list[_Tile] = []
        # Columns: the sums of exponentials, of exponentials times products, and of their magnitudes.
        self.sums = np.zeros((len(block.queries), 3))
        shift = self._go_forth()
        sink = np.zeros((len(block.queries), 1))
        if block.sink is not None:
            sink = np.exp(block.sink - shift)
            self.sums[:, :1] += sink
        empty = rows_that_see_nothing(block, self.sums[:, :1])
        self.sums[empty, 0] = 1
        self.reciprocal = 1 / self.sums[:, :1]
        self.sink = sink * self.reciprocal
        self.mean = self.sums[:, 1:2] * self.reciprocal
        self.count = len(side.v) + (block.sink is not None)
        #: How many roundings a term of a sum over keys passes: its product, the additions of its tile, and
        #: one addition for every other tile and the sink.
        self.terms = min(KEY_BLOCK, len(side.v)) + len(self.tiles)
        self._certify(0.0 if self.small else 2 * reach)
        for bound in (self.relative, self.absolute, self.smallest, self.once, self.of_weight):
            bound[empty] = 0
        self.smallest_weight[empty], self.once_weight[empty] = 0, 0

    # ---------------------------------------------------------------------------- forth

    def _go_forth(self) -> Column:
        """Compute the tiles' exponentials and products, and the sums over them; return the shift."""
        block = self.block
        shift = np.zeros((len(block.queries), 1))
        if not self.small:
            shift[:] = -np.inf if block.sink is None else block.sink
        for tile in self._scored():
            self.tiles.append(tile)
            if self.small:
                self._weigh(tile)
            else:
                largest = tile.weights.max(axis=1, keepdims=True)
                shift[tile.seeing] = np.maximum(shift[tile.seeing], largest)
        if not self.small:
            shift[np.isneginf(shift)] = 0
            for tile in self.tiles:
                np.subtract(tile.weights, shift[tile.seeing], out=tile.weights)
                self._weigh(tile)
        return shift

    def _weigh(self, tile: _Tile) -> None:
        weights, products = tile.weights, tile.products
        scratch = self.buffers.scratch[: weights.size].reshape(weights.shape)
        # A product with ones: numpy's own row sum takes twice as long.
        ones = self.buffers.ones[: weights.shape[1]]
        sums = self.sums[tile.seeing]
        np.exp(weights, out=weights)
        sums[:, :1] += weights @ ones
        np.matmul(self.gradient[tile.seeing], self.side.v[tile.keys].T, out=products)
        np.multiply(weights, products, out=scratch)
        sums[:, 1:2] += scratch @ ones
        np.abs(scratch, out=scratch)
        sums[:, 2:] += scratch @ ones

    def _scored(self) -> Iterator[_Tile]:
        """Yield, for every block of keys of which some query sees any, a tile with its scores."""
        block, softcap, negligible = self.block, self.block.options.softcap, self.scores.negligible
        q = self.queries
        first_key, stop_key = block.keys
        used = 0
        for first in range(first_key - first_key % KEY_BLOCK, stop_key, KEY_BLOCK):
            keys = slice(first, min(first + KEY_BLOCK, stop_key))
            seeing = block.seeing(first, keys.stop)
            hidden = block.hidden(seeing, keys) if seeing.stop > seeing.start else None
            if seeing.stop == seeing.start or (hidden is not None and hidden.all()):
                continue
            shape = seeing.stop - seeing.start, keys.stop - first
            part = slice(used, used + shape[0] * shape[1])
            used = part.stop
            scores, products = (
                x[part].reshape(shape) for x in (self.buffers.weights, self.buffers.products)
            )
            np.matmul(q[seeing], self.side.prepared.k[keys].T, out=scores)
            slopes = None
            if softcap is not None:
                assert self.buffers.slopes is not None
                slopes = self.buffers.slopes[part].reshape(shape)
                scores /= softcap
                np.tanh(scores, out=scores)
                np.multiply(scores, scores, out=slopes)
                np.subtract(1, slopes, out=slopes)
                scores *= softcap
            if block.bias is not None and negligible is not None:
                bias = block.bias[seeing, keys]
                scores += np.where(bias < negligible[seeing], -np.inf, bias)
            if hidden is not None:
                np.copyto(scores, -np.inf, where=hidden)
            yield _Tile(seeing=seeing, keys=keys, weights=scores, products=products, slopes=slopes)

    # -------------------------------------------------------------------- the certificate

    def _certify(self, reach: Column | float) -> None:
        """Bound what a weight and a derivative by a logit err, in terms of what was computed of them."""
        u, d_v, scores = UNIT_ROUNDOFF, self.side.v.shape[1], self.scores
        lightest = library_down(np.exp(-UNSHIFTED)) if self.small else 1.0
        theta = gradient_exponent(
            rounding_weight(scores.error, u, reach, ARITHMETIC["float64"]["exp_error"], 1),
            self.terms,
            u,
            weights_underflow(self.count, 1, TINY, lightest),
        )
        # Beyond, little is known of a weight but that none passes 1, nor their sum.
        vague = theta > 1
        known = np.minimum(theta, 1)
        share = np.where(vague, gradient_unknown(theta, 1.0, 0.0), gradient_weight(known, 1.0, 0.0))
        # A weight is a product of an exponential and a reciprocal, each of which may underflow.
        tiny = np.where(
            vague,
            gradient_unknown(theta, 2 * TINY, 2 * TINY),
            gradient_weight(known, 0.0, 2 * TINY),
        )
        # With weights that are vague, the share of the exact ones: 1 altogether.
        once = np.where(vague, share, 0.0)
        norms, exponent = row_norms(self.gradient)
        products = up(up(np.ldexp(norms, exponent))[:, None] * self.side.longest_value)
        product_error = rounding_logit(d_v, u, products, TINY)
        largest = up(products + product_error)
        lost = up(
            up(once * largest)
            + up(
                up(up(tiny * self.count) * largest)
                + up(up(up(self.reciprocal * self.count) + 1) * TINY)
            )
        )
        mean_error = gradient_mean(
            share,
            up(_raised(self.sums[:, 2:], self.terms, self.count) * self.reciprocal),
            self.terms,
            u,
            product_error,
            lost,
        )
        # What a computed difference is at most.
        difference = up(up(up(largest + np.abs(self.mean))))
        slope_error: Column | float = 0.0
        softcap = self.block.options.softcap
        if softcap is not None and scores.capped_error is not None:
            slope_error = gradient_slope(
                np.minimum(up(scores.capped_error / softcap), LARGEST_TANGENT_ERROR), u, TINY
            )
        # The bound is linear in what was computed, and in what is not known.
        part = partial(gradient_score, share)
        self.relative = part(0.0, slope_error, 0.0, 0.0, 1.0, 0.0, 0.0, u, 0.0)
        self.absolute = part(0.0, 0.0, product_error, mean_error, 0.0, 1.0, 0.0, u, 0.0)
        self.smallest = part(tiny, 0.0, product_error, mean_error, 0.0, 0.0, difference, u, TINY)
        self.once = part(once, 0.0, product_error, mean_error, 0.0, 0.0, difference, u, 0.0)
        self.of_weight, self.smallest_weight, self.once_weight = share, tiny, once
        # A sink is a key of product 0.
        by_sink = self.sink * -self.mean
        error = part(
            up(tiny + once),
            0.0,
            0.0,
            mean_error,
            np.abs(by_sink),
            self.sink,
            np.abs(self.mean),
            u,
            TINY,
        )
        self._by_sink = np.hstack([by_sink, error])

    def by_sink(self) -> Column:
        """Return the derivatives by the queries' sink, and what they err."""
        return self._by_sink

    # ----------------------------------------------------------------------------- back

    def add_to(self, sums: _Sums, terms: int) -> tuple[Column, Column]:
        """Add to dK and dV, whose terms pass so many roundings; return dQ and its bound."""
        block, side, u = self.block, self.side, UNIT_ROUNDOFF
        q, k, g = block.queries, side.prepared.k, self.gradient
        dQ, by_keys = np.zeros(q.shape), np.zeros((len(q), 2))
        largest_query, largest_gradient = (np.abs(x).max(axis=1, keepdims=True) for x in (q, g))
        with_weights = np.hstack(
            [
                g,
                up(gradient_sum(self.of_weight, 1.0, terms, u, 0.0) * largest_gradient),
                up(self.absolute * largest_query),
            ]
        )
        with_scores = up(gradient_sum(self.relative, 1.0, terms, u, 0.0) * largest_query)
        for tile in self.tiles:
            seeing, keys, weights, derivatives = tile.seeing, tile.keys, tile.weights, tile.products
            largest_key = side.largest[keys]
            weights *= self.reciprocal[seeing]
            sums.by_weights[keys] += weights.T @ with_weights[seeing]
            by_keys[seeing, 1:] += weights @ largest_key
            derivatives -= self.mean[seeing]
            derivatives *= weights
            np.abs(derivatives, out=weights)
            sums.by_scores[keys] += weights.T @ with_scores[seeing]
            by_keys[seeing, :1] += weights @ largest_key
            if tile.slopes is not None:
                derivatives *= tile.slopes
            dQ[seeing] += derivatives @ k[keys]
            sums.keys[keys] += derivatives.T @ q[seeing]
        sums.lost_keys = up(
            sums.lost_keys + _total(up(up(self.smallest + self.once) * largest_query))
        )
        sums.lost_values = up(
            sums.lost_values
            + _total(up(up(self.smallest_weight + self.once_weight) * largest_gradient))
        )
        by_keys = _raised(by_keys, self.terms, self.count)
        lost = up(up(up(self.smallest * self.count) + self.once) * float(side.largest.max()))
        error = up(
            up(up(self.relative * by_keys[:, :1]) + up(self.absolute * by_keys[:, 1:])) + lost
        )
        scale = block.options.scale
        bound: Column = gradient_sum(
            up(abs(scale) * error),
            up(abs(scale) * by_keys[:, :1]),
            self.terms,
            u,
            _lost(scale, self.count),
        )
        return scale * dQ, bound


def _total(x: Column) -> float:
    """Bound a sum of nonnegative numbers from above."""
    return float(_raised(x.sum(), x.size, x.size))
