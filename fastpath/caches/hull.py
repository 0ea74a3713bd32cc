r"""The exact hull of attention over a box of logits and values: the oracle of every other certificate.

With u and l the largest and smallest weights, the largest output is the level at which the function
:math:`g(\lambda) = \sum u (v + e - \lambda)_+ - \sum l (\lambda - v - e)_+` vanishes.  Newton's method
comes from below; at whatever level it stops, the output is at most
:math:`\lambda + g(\lambda)_+ / \sum l`, which is what is reported.
"""

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.caches import hull_output
from fastpath.core.bounds.softmax import ARITHMETIC, rounding_weight
from fastpath.core.certified import Certified
from fastpath.core.directed import UNIT_ROUNDOFF, above, below, library_down, library_up, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.norms import TINY, lengths, sum_above
from fastpath.core.semantics import Semantics
from fastpath.exact.attention import attend_heads
from fastpath.exact.blocks import block_of, scores_of
from fastpath.exact.prepared import PreparedHead

CLAIMS = ("Q.hull", "FP.sum")

#: Newton's method doubles digits at every step; on real heads it ends after 4 to 9.
_NEWTON_STEPS = 40

#: Queries whose weights are held at once.
_ROWS = 16

#: Beyond it, radii are taken for this.
LARGEST_RADIUS = np.finfo(np.float64).max / 4


class Scored:
    """The weights of some queries of one head, and how far the originals' may be from them.

    Attributes
    ----------
    lower, upper : arrays of shape (rows, n)
        The originals' weights lie between, up to a factor a row; zeros of what is hidden.
    sink : array of shape (rows, 2) or None
        The same of the sink.
    """

    def __init__(
        self,
        q: Matrix,
        side: PreparedHead,
        radius: NDArray[np.float32],
        options: Semantics,
        index: int,
        rows: NDArray[np.intp],
    ) -> None:
        block = block_of(q, side, options, index, rows)
        known = scores_of(block)
        scores = (q * options.scale if options.scale != 1 else q) @ side.k.T
        if options.softcap is not None:
            scores = options.softcap * np.tanh(scores / options.softcap)
        if block.bias is not None:
            scores = scores + np.maximum(block.bias, -1e300)
        hidden = block.hidden(slice(0, len(q)), slice(0, len(side.k)))
        seen = np.ones(scores.shape, bool) if hidden is None else ~hidden
        if block.bias is not None:
            seen &= block.bias > -np.inf
        shift = np.max(np.where(seen, scores, -np.inf), axis=1, keepdims=True)
        if block.sink is not None:
            shift = np.maximum(shift, block.sink)
        shift[np.isneginf(shift)] = 0
        reach = up(np.abs(shift) + up(known.magnitude + known.error))
        if block.bias is not None:
            # What is far below its row's largest has a score of any size.
            reach = np.maximum(
                reach, up(np.abs(np.where(seen, scores - shift, 0)).max(axis=1, keepdims=True))
            )
        slack = rounding_weight(
            known.error, UNIT_ROUNDOFF, reach, ARITHMETIC["float64"]["exp_error"], 1
        )
        if block.bias is not None:
            slack = up(slack + up(np.where(seen, np.abs(scores), 0) * (4 * UNIT_ROUNDOFF)))
        moved = up(up(lengths(q) * abs(options.scale))[:, None] * radius.astype(np.float64))
        weights = np.where(seen, np.exp(scores - shift), 0)
        #: Floats in proportion to the weights that are known, and what rounding did to their logarithms.
        self.weights, self.slack = weights, np.broadcast_to(slack, weights.shape)
        #: What each logit may be off by, rounding included.
        self.radii = np.where(seen, up(moved + slack), 0)
        self.seen = seen
        exponents, off = np.where(seen, scores - shift, -np.inf), self.radii
        if block.sink is not None:
            exponents = np.concatenate([exponents, block.sink - shift], axis=1)
            off = np.concatenate([off, slack[:, :1]], axis=1)
        lower, upper = ends_of_weights(exponents, off)
        count = scores.shape[1]
        self.lower, self.upper, self.sink = lower[:, :count], upper[:, :count], None
        if block.sink is not None:
            self.sink = np.concatenate([lower[:, count:], upper[:, count:]], axis=1)


def attend_hull(
    q: Matrix,
    k: Matrix,
    v: Matrix,
    radius: NDArray[np.float32],
    error: NDArray[np.float32],
    options: Semantics,
    workers: int,
) -> Certified:
    """Attend to approximate keys and values, and bound the answer by the hull of what was meant.

    Parameters are those of :func:`fastpath.caches.augmented.attend_augmented`.
    """
    answer = attend_heads(q, k, v, options, workers)
    queries, keys, values = (x.reshape(-1, *x.shape[-2:]).astype(np.float64) for x in (q, k, v))
    radii, errors = (x.reshape(-1, x.shape[-1]) for x in (radius, error))
    group = len(queries) // len(keys)
    output = answer.output.reshape(*queries.shape[:2], -1).astype(np.float64)
    bound = np.zeros(output.shape)
    moved = np.zeros(output.shape[:2])
    for index in range(len(queries)):
        held = index // group
        side = PreparedHead(keys[held], values[held])
        spread = errors[held].astype(np.float64)[:, None]
        high, low = above(values[held] + spread), below(values[held] - spread)
        for start in range(0, queries.shape[1], _ROWS):
            rows = np.arange(start, min(start + _ROWS, queries.shape[1]))
            scored = Scored(queries[index, rows], side, radii[held], options, index, rows)
            for place, row in enumerate(rows):
                if not scored.seen[place].any():
                    continue
                lower, upper = scored.lower[place], scored.upper[place]
                top, bottom = high, low
                if scored.sink is not None:
                    lower = np.append(lower, scored.sink[place, 0])
                    upper = np.append(upper, scored.sink[place, 1])
                    nothing = np.zeros((1, high.shape[1]))
                    top, bottom = np.concatenate([high, nothing]), np.concatenate([low, nothing])
                centre = output[index, row]
                bound[index, row] = np.maximum(
                    farthest_above(lower, upper, top, centre),
                    farthest_above(lower, upper, -bottom, -centre),
                )
                moved[index, row] = scored.radii[place].max()
    shape = answer.output.shape
    logarithm, kernel = answer.log_sum_exp, answer.log_sum_exp_bound
    assert logarithm is not None
    assert kernel is not None
    return Certified(
        output=answer.output,
        error_bound=bound.reshape(shape),
        claims=(*CLAIMS, *answer.claims),
        log_sum_exp=logarithm,
        log_sum_exp_bound=np.where(
            np.isfinite(logarithm), up(kernel + moved.reshape(shape[:-1])), 0
        ),
    )


def ends_of_weights(exponents: Array, radii: Array) -> tuple[Array, Array]:
    """Return what weights lie between, up to a factor common to a row, of their logarithms and radii.

    The largest that any can be is 1.  An exponential of a radius is never multiplied with one of a logit: of
    two large ones the product may be 1, where one is 0 and the other infinite.  Hidden keys have -inf.

    Parameters
    ----------
    exponents, radii : arrays of shape (..., n)
        Of some key finite; differences of numbers of at most an eighth of the largest.
    """
    # So large a radius undoes any difference.
    off = np.minimum(radii, LARGEST_RADIUS)
    hidden = np.isneginf(exponents)
    known = np.where(hidden, 0, exponents)
    high = np.where(hidden, -np.inf, above(known + off))
    top = high.max(axis=-1, keepdims=True)
    top[np.isneginf(top)] = 0
    upper = library_up(np.exp(above(np.where(hidden, 0, high - top)))) + TINY
    lower = library_down(np.exp(below(below(known - off) - top)))
    return np.where(hidden, 0, lower), np.where(hidden, 0, upper)


def farthest_above(
    lower: Array, upper: Array, values: Array, centre: Array, *, steps: int = _NEWTON_STEPS
) -> Array:
    """Bound how far an average of values lies above a centre, whatever weights lie between two.

    Parameters
    ----------
    lower, upper : arrays of shape (n,)
        Not negative, and not all 0.
    values : array of shape (n, d)
    centre : array of shape (d,)
    steps : int
        How many of Newton's method at most: with fewer the bound is larger.
    """
    ceiling = values[upper > 0].max(axis=0)
    middle = (lower + upper) @ values / (lower + upper).sum()
    level = middle
    for _ in range(steps):
        weights = np.where(values > level, upper[:, None], lower[:, None])
        total = weights.sum(axis=0)
        new = np.einsum("ij,ij->j", weights, values) / np.where(total > 0, total, 1)
        new = np.minimum(np.where(total > 0, new, ceiling), ceiling)
        if not (new > level).any():
            break
        level = np.maximum(level, new)
    count = len(values)
    gaps = values - level
    gained = sum_above((upper[:, None] * up(np.maximum(gaps, 0))).sum(axis=0), count)
    lost = _sum_below((lower[:, None] * np.maximum(-gaps, 0)).sum(axis=0), count)
    lightest = _sum_below(lower.sum(), count)
    excess = up(np.maximum(gained - lost, 0))
    distance = level - centre
    # Below the centre nothing is to be bounded on this side.
    found = hull_output(np.maximum(above(distance), 0), excess, lightest)
    trivial = np.maximum(above(ceiling - centre), 0)
    nearer: Array = np.where(found < trivial, found, trivial)
    return nearer


def _sum_below(computed: Array, terms: int) -> Array:
    """Return at most the exact sum of so many products of floats that are not negative.

    Each term passes through at most terms + 2 roundings, of the difference and the product too, and a
    product may lose TINY.
    """
    lost = up((terms + 4) * (2 * UNIT_ROUNDOFF))
    least: Array = np.maximum(below(computed * (1 - lost)) - up(terms * TINY), 0)
    return least
