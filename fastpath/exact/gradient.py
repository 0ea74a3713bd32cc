"""The gradient of attention, in blocks, with a rounding certificate a row."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import (
    ARITHMETIC,
    capped_score,
    gradient_mean,
    gradient_score,
    gradient_sum,
    gradient_weight,
    rounding_logit,
    rounding_weight,
)
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.directed import UNIT_ROUNDOFF, up
from fastpath.core.inputs import Matrix, exact_floats, heads_inputs
from fastpath.core.norms import row_norms
from fastpath.core.semantics import Semantics, semantics
from fastpath.exact.attention import attend_heads
from fastpath.exact.blocks import Block, block_of, check_finite, scores_of
from fastpath.exact.prepared import Prepared, PreparedHead, arrays_of

#: Tile of the matrix of weights.  Short sides keep the sums over them, and so the certificate, tight.
QUERY_BLOCK, KEY_BLOCK = 512, 256

#: What the queries give to dK and dV is added up in about so many parts, each by one thread: few, as each
#: takes the memory of dK and dV.
PARTS = 8

CLAIMS = ("FP.gradient", "FP.scores", "FP.softmax", "FP.exp", "FP.lse", "S.output")

TINY = ARITHMETIC["float64"]["tiny"]

Column = NDArray[np.float64]


class Gradient(NamedTuple):
    """Derivatives of a loss by Q, K and V."""

    dQ: Certified
    dK: Certified
    dV: Certified


@standard_arithmetic
def attention_gradient(
    Q: ArrayLike,
    K: ArrayLike | Prepared,
    V: ArrayLike | None,
    dO: ArrayLike,
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
) -> Gradient:
    """Compute the derivatives of sum(dO * attention(Q, K, V)) by Q, K and V, and bound their errors.

    Parameters
    ----------
    Q, K, V, scale, causal, window, mask, bias, softcap, sinks, empty_rows, workers
        As for :func:`fastpath.attention`; V is None where K is a Prepared.
    dO : array_like of the output's shape
        Derivatives of the loss by the output.

    Returns
    -------
    Gradient
        ``dQ``, ``dK`` and ``dV``, each Certified, of its argument's shape and in the type of the inputs,
        computed in float64.  What a key head gets is the sum over the query heads that read it.

    Raises
    ------
    TypeError, ValueError
        As :func:`fastpath.attention`; also if dO does not fit or a derivative is beyond the largest float.

    Notes
    -----
    Cost: attention, then 2 n_q n_k (3 d + 2 d_v) multiply-adds and n_q n_k exponentials a head; nothing of
    size n_q n_k is kept.  Certificate: seven products of the tiles with vectors.

    Claims: FP.gradient, FP.scores, FP.softmax, FP.exp, FP.lse, S.output; FP.tanh where scores are capped.
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
    dtype = np.result_type(q, g)
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
    count = worker_count(workers)
    found = _backward(q, k, v, g, options, attend_heads(q, k, v, options, count), count)
    return Gradient(*(_rounded(name, x, dtype) for name, x in zip("QKV", found, strict=True)))


def _backward(
    q: Matrix,
    k: Matrix,
    v: Matrix,
    g: Matrix,
    options: Semantics,
    forward: Certified,
    workers: int,
) -> tuple[Certified, Certified, Certified]:
    """Go back over blocks of queries, and add up what they give to keys and values."""
    queries, keys, values, gradients, outputs, bounds = (
        x.reshape(-1, *x.shape[-2:]) for x in (q, k, v, g, forward.output, forward.error_bound)
    )
    assert forward.log_sum_exp is not None
    assert forward.log_sum_exp_bound is not None
    logarithms, log_bounds = (
        x.reshape(len(queries), -1, 1) for x in (forward.log_sum_exp, forward.log_sum_exp_bound)
    )
    group, n_q = len(queries) // len(keys), q.shape[-2]
    sides = [_Side(k_head, v_head) for k_head, v_head in zip(keys, values, strict=True)]
    dQ, dQ_bound = np.empty(queries.shape), np.empty((*queries.shape[:-1], 1))
    # Which blocks a thread adds up, and in which order, depends on shapes alone.
    blocks = [(g, start) for g in range(group) for start in range(0, n_q, QUERY_BLOCK)]
    size = -(-len(blocks) // max(1, min(len(blocks), PARTS // len(keys))))

    def compute(head: int, first: int) -> _Sums:
        sums = _Sums(keys.shape[1], keys.shape[2], values.shape[2])
        buffers = tuple(np.empty((min(QUERY_BLOCK, n_q), KEY_BLOCK)) for _ in range(3))
        for member, start in blocks[first : first + size]:
            index, rows = head * group + member, slice(start, min(start + QUERY_BLOCK, n_q))
            at = np.arange(rows.start, rows.stop)
            block = block_of(queries[index, rows], sides[head].prepared, options, index, at)
            back = _Back(
                block,
                sides[head],
                *(x[index, rows] for x in (gradients, outputs, bounds, logarithms, log_bounds)),
            )
            dQ[index, rows], dQ_bound[index, rows] = back.add_to(sums, buffers)
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
    terms = min(QUERY_BLOCK, n_q) + len(blocks)
    for head in range(len(keys)):
        total = found[head * parts]
        for other in found[head * parts + 1 : (head + 1) * parts]:
            total.add(other)
        dK[head], dK_bound[head] = total.of_keys(options.scale, terms, group * n_q)
        dV[head], dV_bound[head] = total.of_values(terms, group * n_q)
    claims = CLAIMS if options.softcap is None else (*CLAIMS, "FP.tanh")
    return (
        Certified(
            output=dQ.reshape(q.shape),
            error_bound=dQ_bound.reshape(*q.shape[:-1], 1),
            claims=claims,
        ),
        Certified(
            output=dK.reshape(k.shape),
            error_bound=dK_bound.reshape(*k.shape[:-1], 1),
            claims=claims,
        ),
        Certified(
            output=dV.reshape(v.shape),
            error_bound=dV_bound.reshape(*v.shape[:-1], 1),
            claims=claims,
        ),
    )


def _rounded(name: str, found: Certified, dtype: np.dtype[np.floating]) -> Certified:
    """Return what was computed in float64 in another type, its rounding included in the bound."""
    with np.errstate(over="ignore"):
        output = found.output.astype(dtype)
    bound = found.error_bound
    if dtype != np.float64:
        u, tiny = (ARITHMETIC[dtype.name][constant] for constant in ("unit_roundoff", "tiny"))
        bound = up(up(bound + tiny) + u * np.abs(output.astype(np.float64)))
    if not (np.isfinite(output).all() and np.isfinite(bound).all()):
        raise ValueError(
            f"Q, K, V and dO must be so small that no derivative by {name} passes the largest {dtype}."
        )
    return Certified(
        output=output, error_bound=np.broadcast_to(bound, output.shape), claims=found.claims
    )


class _Side:
    """The keys and values of one head, with the largest of every key and the norm of the longest value."""

    def __init__(self, k: Matrix, v: Matrix) -> None:
        self.prepared, self.v = PreparedHead(k, v), v
        self.largest = np.abs(k).max(axis=1, keepdims=True)
        norms, exponent = row_norms(v)
        self.longest_value = float(np.ldexp(norms.max(), exponent))


# --------------------------------------------------------------------------------------- sums


class _Sums:
    """What queries give to dK and dV of one head, and the sums that bound the errors."""

    def __init__(self, n: int, d: int, d_v: int) -> None:
        self.keys, self.values = np.zeros((n, d)), np.zeros((n, d_v))
        #: With the weights: errors of dV, their magnitude, errors of dK.
        self.by_weights = np.zeros((n, 3))
        #: With the derivatives by scores: errors of dK, their magnitude.
        self.by_scores = np.zeros((n, 2))
        #: What underflow takes from every row.
        self.lost_keys, self.lost_values = 0.0, 0.0

    def add(self, other: "_Sums") -> None:
        """Add what other queries give."""
        self.keys += other.keys
        self.values += other.values
        self.by_weights += other.by_weights
        self.by_scores += other.by_scores
        self.lost_keys = up(self.lost_keys + other.lost_keys)
        self.lost_values = up(self.lost_values + other.lost_values)

    def of_keys(self, scale: float, terms: int, queries: int) -> tuple[Column, Column]:
        """Return the derivatives by keys, and their bound."""
        weights = _raised(self.by_weights, terms, queries)
        scores = _raised(self.by_scores, terms, queries)
        error = up(up(weights[:, 2:] + scores[:, :1]) + self.lost_keys)
        return _finished(self.keys, scale, error, scores[:, 1:], terms, queries)

    def of_values(self, terms: int, queries: int) -> tuple[Column, Column]:
        """Return the derivatives by values, and their bound."""
        weights = _raised(self.by_weights, terms, queries)
        error = up(weights[:, :1] + self.lost_values)
        return _finished(self.values, 1.0, error, weights[:, 1:2], terms, queries)


def _raised(sums: Column, terms: int, count: int) -> Column:
    """Bound sums of so many nonnegative products, whose terms passed so many roundings, from above.

    s (1 - gamma_k) <= fl(s) gives s <= fl(s) (1 + gamma_2k).
    """
    raised: Column = gradient_sum(sums, sums, 2 * terms, UNIT_ROUNDOFF, 2 * count * TINY)
    return raised


def _finished(
    total: Column, scale: float, error: Column, magnitude: Column, terms: int, count: int
) -> tuple[Column, Column]:
    """Return a sum times the scale, and its bound."""
    size = abs(scale)
    lost = up(up(size * count + 1) * 4 * TINY)
    bound: Column = gradient_sum(up(size * error), up(size * magnitude), terms, UNIT_ROUNDOFF, lost)
    return scale * total, bound


# ------------------------------------------------------------------------ one block of queries


class _Back:
    """A block of queries on its way back."""

    def __init__(
        self,
        block: Block,
        side: _Side,
        gradient: Matrix,
        output: Matrix,
        output_bound: Column,
        logarithm: Column,
        log_bound: Column,
    ) -> None:
        self.block, self.side, self.gradient = block, side, gradient
        d_v, u = side.v.shape[1], UNIT_ROUNDOFF
        scores = scores_of(block)
        self.negligible = scores.negligible
        # A row that sees nothing has no logarithm.
        seen = np.isfinite(logarithm)
        self.logarithm = np.where(seen, logarithm, 0)
        reach = up(up(scores.magnitude + scores.error) + np.abs(self.logarithm))
        theta = up(
            rounding_weight(scores.error, u, reach, ARITHMETIC["float64"]["exp_error"], 1)
            + np.where(seen, log_bound, 0)
        )
        # Beyond, where a weight errs by a factor of e, the bounds are those of weights between 0 and 1.
        vague = theta > 1
        theta = np.minimum(theta, 1)
        self.mean = np.einsum("ij,ij->i", gradient, output)[:, None]
        # What the output's entries err, each times dO's.
        mean_error = gradient_mean(
            d_v, u, _lengths(gradient, output), _lengths(gradient, output_bound), 1.0, TINY
        )
        norms, exponent = row_norms(gradient)
        products = up(np.ldexp(norms, exponent)[:, None] * side.longest_value)
        product_error = rounding_logit(d_v, u, products, TINY)
        bound = partial(
            gradient_score,
            theta,
            self._slope_error(scores.error),
            product_error,
            mean_error,
        )
        difference = up(2 * up(up(products + product_error) + np.abs(self.mean)))
        # The bound is linear in what was computed, and in what underflow takes.
        self.relative = np.where(vague, 2, bound(1.0, 0.0, difference, u, 0.0))
        self.absolute = np.where(vague, 0, bound(0.0, 1.0, difference, u, 0.0))
        self.smallest = np.where(vague, difference, bound(0.0, 0.0, difference, u, TINY))
        self.of_weight = np.where(vague, 1, gradient_weight(theta, 1.0, 0.0))
        self.smallest_weight = np.where(vague, 1, gradient_weight(theta, 0.0, TINY))

    def _slope_error(self, score_error: Column) -> Column | float:
        """Bound the error of 1 - tanh^2: twice that of tanh, and the roundings of numbers up to 1."""
        softcap = self.block.options.softcap
        if softcap is None:
            return 0.0
        # The error of the score before its cap is at most that after its bias.
        tanh_error = ARITHMETIC["float64"]["tanh_error"]
        capped = capped_score(score_error, UNIT_ROUNDOFF, tanh_error, softcap, softcap, TINY)
        slope: Column = np.asarray(up(up(2 * up(capped / softcap)) + 3 * UNIT_ROUNDOFF))
        return slope

    def add_to(self, sums: _Sums, buffers: tuple[Column, ...]) -> tuple[Column, Column]:
        """Add to dK and dV; return dQ and its bound.

        The buffers hold a tile each: allocated anew, tiles take half of the time in page faults.
        """
        block = self.block
        q, k, g = block.queries, block.side.k, self.gradient
        dQ, by_keys = np.zeros(q.shape), np.zeros((len(q), 2))
        largest_query, largest_gradient = (np.abs(x).max(axis=1, keepdims=True) for x in (q, g))
        with_weights = np.hstack(
            [
                up(self.of_weight * largest_gradient),
                largest_gradient,
                up(self.absolute * largest_query),
            ]
        )
        with_scores = np.hstack([up(self.relative * largest_query), largest_query])
        blocks = 0
        for seeing, keys, weights, slope in self._tiles(*buffers[:2]):
            blocks += 1
            largest_key = self.side.largest[keys]
            sums.values[keys] += weights.T @ g[seeing]
            sums.by_weights[keys] += weights.T @ with_weights[seeing]
            by_keys[seeing, 1:] += weights @ largest_key
            derivatives = buffers[2][: len(weights), : weights.shape[1]]
            np.matmul(g[seeing], self.side.v[keys].T, out=derivatives)
            derivatives -= self.mean[seeing]
            derivatives *= weights
            np.abs(derivatives, out=weights)
            sums.by_scores[keys] += weights.T @ with_scores[seeing]
            by_keys[seeing, :1] += weights @ largest_key
            if slope is not None:
                derivatives *= slope
            dQ[seeing] += derivatives @ k[keys]
            sums.keys[keys] += derivatives.T @ q[seeing]
        sums.lost_keys = up(sums.lost_keys + _total(up(self.smallest * largest_query)))
        sums.lost_values = up(
            sums.lost_values + _total(up(self.smallest_weight * largest_gradient))
        )
        terms, count = KEY_BLOCK + blocks, len(k)
        by_keys = _raised(by_keys, terms, count)
        lost = up(up(self.smallest * count) * float(self.side.largest.max()))
        error = up(
            up(up(self.relative * by_keys[:, :1]) + up(self.absolute * by_keys[:, 1:])) + lost
        )
        return _finished(dQ, block.options.scale, error, by_keys[:, :1], terms, count)

    def _tiles(
        self, buffer: Column, slopes: Column
    ) -> Iterator[tuple[slice, slice, Column, Column | None]]:
        """Yield, for every block of keys of which some query sees any: queries, keys, weights, slopes."""
        block, options = self.block, self.block.options
        q = block.queries if options.scale == 1 else block.queries * options.scale
        first_key, stop_key = block.keys
        for first in range(first_key - first_key % KEY_BLOCK, stop_key, KEY_BLOCK):
            keys = slice(first, min(first + KEY_BLOCK, stop_key))
            seeing = block.seeing(first, keys.stop)
            hidden = block.hidden(seeing, keys) if seeing.stop > seeing.start else None
            if seeing.stop == seeing.start or (hidden is not None and hidden.all()):
                continue
            part = slice(0, seeing.stop - seeing.start), slice(0, keys.stop - first)
            tile = buffer[part]
            np.matmul(q[seeing], block.side.k[keys].T, out=tile)
            slope = None
            if options.softcap is not None:
                tile /= options.softcap
                np.tanh(tile, out=tile)
                slope = slopes[part]
                np.multiply(tile, tile, out=slope)
                np.subtract(1, slope, out=slope)
                tile *= options.softcap
            if block.bias is not None and self.negligible is not None:
                bias = block.bias[seeing, keys]
                below = bias < self.negligible[seeing]
                tile += np.where(below, -np.inf, bias)
            if hidden is not None:
                np.copyto(tile, -np.inf, where=hidden)
            tile -= self.logarithm[seeing]
            yield seeing, keys, np.exp(tile, out=tile), slope


def _lengths(x: Column, y: Column) -> Column:
    """Bound sum_l |x_il y_il| from above."""
    sums = np.einsum("ij,ij->i", np.abs(x), np.abs(y))[:, None]
    return _raised(sums, x.shape[1], x.shape[1])


def _total(x: Column) -> float:
    """Bound a sum of nonnegative numbers from above."""
    return float(_raised(x.sum(keepdims=True), x.size, x.size).item())
