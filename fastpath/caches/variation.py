r"""The total variation between weights that are known within radii and those that were meant.

A share of at least t asks :math:`\sum_S p h_t \ge t \sum l`, :math:`h_t = (1 - t) e^c + t e^{-c}`;
by weak duality the set then weighs at least :math:`\lambda t \sum l - \sum p (\lambda h_t - 1)_+`.
Keys are counted in bins of c, by the largest c of each, which only widens the box.
"""

import numpy as np
from numpy.typing import NDArray

from fastpath.caches.hull import Scored
from fastpath.core.bounds.caches import variation_closed, variation_light, variation_relaxed
from fastpath.core.bounds.softmax import softmax_tv
from fastpath.core.directed import UNIT_ROUNDOFF, down, library_down, library_up, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.norms import sum_above
from fastpath.core.semantics import Semantics
from fastpath.exact.prepared import PreparedHead

_BINS, _LEVELS, _ROUNDS, _PARTS, _TOLERANCE = 192, 33, 6, 6, 2e-4

#: Radii with larger exponentials say nothing that tanh does not.
_LARGEST_RADIUS = 300.0

#: Queries whose weights are held at once.
_ROWS = 16


def weights_variation(
    q: Matrix, k: Matrix, v: Matrix, radius: NDArray[np.float32], options: Semantics
) -> Array:
    """Bound the total variation of every query, (..., h_q, n_q)."""
    queries, keys, values = (x.reshape(-1, *x.shape[-2:]).astype(np.float64) for x in (q, k, v))
    radii = radius.reshape(-1, radius.shape[-1])
    group = len(queries) // len(keys)
    found = np.zeros(queries.shape[:2])
    for index in range(len(queries)):
        held = index // group
        side = PreparedHead(keys[held], values[held])
        for start in range(0, queries.shape[1], _ROWS):
            rows = np.arange(start, min(start + _ROWS, queries.shape[1]))
            scored = Scored(queries[index, rows], side, radii[held], options, index, rows)
            for place, row in enumerate(rows):
                seen = scored.seen[place]
                if seen.any():
                    rounding = softmax_tv(scored.slack[place, seen].max())
                    moved = variation_bound(scored.weights[place, seen], scored.radii[place, seen])
                    found[index, row] = min(float(up(moved + rounding)), 1.0)
    return found.reshape(q.shape[:-1])


def variation_bound(weights: Array, radii: Array) -> float:
    """Bound the total variation between weights in proportion to these and those moved by at most c.

    Parameters
    ----------
    weights : array, shape (n,)
        Not negative, the largest about 1.  What underflow took from a weight is counted.
    radii : array, shape (n,)
        Not negative.
    """
    top = float(radii.max())
    if top == 0 or len(radii) == 1:
        return 0.0
    largest = float(softmax_tv(top))
    if top > _LARGEST_RADIUS:
        return min(largest, 1.0)
    # Normalised, weights are off by this share, as rounded sums of positive terms are.
    share = (len(radii) + 16) * (4 * UNIT_ROUNDOFF)
    sizes, heights = _binned(weights / weights.sum(), radii)
    average = sum_above(float(sizes @ library_up(np.exp(heights))), len(sizes))
    amplification = float(up(average * (1 + 2 * share)))
    closed = float(variation_closed(amplification))
    if 1 <= amplification <= 2:
        closed = min(closed, float(variation_light(amplification)))
    return min(largest, float(up(closed + share)), _relaxed(sizes, heights, share))


def _binned(weights: Array, radii: Array) -> tuple[Array, Array]:
    """Return the weight of each bin of radii that has any, and the largest radius of each."""
    if len(radii) <= _BINS:
        return weights, radii
    low, high = radii.min(), radii.max()
    if high == low:
        return weights.sum(keepdims=True), radii[:1]
    place = np.minimum(((radii - low) / (high - low) * _BINS).astype(np.intp), _BINS - 1)
    sizes: Array = np.bincount(place, weights, _BINS).astype(np.float64)
    heights = np.zeros(_BINS)
    np.maximum.at(heights, place, radii)
    kept = np.bincount(place, minlength=_BINS) > 0
    return sizes[kept], heights[kept]


def _relaxed(sizes: Array, heights: Array, share: float) -> float:
    """Bound the total variation by levels, refined where the bound is largest."""
    levels = np.linspace(0, 1, _LEVELS)
    low, high = levels[:-1], levels[1:]
    duals = _duals(low, sizes, heights, share)
    best = 0.0
    for _ in range(_ROUNDS):
        gaps = np.asarray(variation_relaxed(high, duals))
        # What any set of this relaxation reaches, but for rounding, is not to be undercut.
        best = max(best, float((low - duals).max()))
        open_ = gaps > best + _TOLERANCE
        if not open_.any():
            break
        # Neighbours share their ends, so that no share falls between.
        ends = low[open_][:, None] + (high - low)[open_][:, None] * np.linspace(0, 1, _PARTS + 1)
        ends[:, -1] = high[open_]
        new_low, new_high = ends[:, :-1].ravel(), ends[:, 1:].ravel()
        low = np.concatenate([low[~open_], new_low])
        high = np.concatenate([high[~open_], new_high])
        duals = np.concatenate([duals[~open_], _duals(new_low, sizes, heights, share)])
    return float(np.max(variation_relaxed(high, duals)))


def _duals(levels: Array, sizes: Array, heights: Array, share: float) -> Array:
    """Return at most what a set weighs whose share is at least each level."""
    t = levels[:, None]
    heavy, light = np.exp(heights), np.exp(-heights)
    h = (1 - t) * heavy + t * light
    order = np.argsort(-h, axis=1)
    filled = np.cumsum(np.take_along_axis(h * sizes, order, 1), axis=1)
    needed = levels * float(sizes @ light)
    last = np.minimum((filled < needed[:, None]).sum(axis=1), len(sizes) - 1)
    at = np.take_along_axis(order, last[:, None], 1)[:, 0]
    multiplier = (1 / np.take_along_axis(h, at[:, None], 1))[:, 0]
    # Any multiplier will do; what follows is rounded toward less.
    least = down(multiplier * levels * down(float(sizes @ library_down(light)) * (1 - 2 * share)))
    upper = library_up(up(up(1 - t) * library_up(heavy)) + up(t * library_up(light)))
    gains = np.maximum(up(multiplier[:, None] * upper) - 1, 0)
    lost = sum_above((gains * sizes).sum(axis=1), len(sizes)) * (1 + 2 * share)
    floor: Array = np.asarray(least) - up(up(lost) + share)
    return floor
