"""Clusters that are weighed by their bounds and opened or left closed, and the keys of opened ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.softmax import (
    log_sum_exp,
    positive_sum,
    rounding_logit,
    rounding_output,
    rounding_weight,
    weights_underflow,
)
from fastpath.core.certified import Certified
from fastpath.core.directed import UNIT_ROUNDOFF, above, library_up, up
from fastpath.core.inputs import Array, Matrix
from fastpath.decoding.products import largest, products, roundings, totals, weighted_sums
from fastpath.exact.attention import (
    CLAIMS,
    DECIDABLE,
    KEY_BLOCK,
    LOG_ERROR,
    product_by_blocks,
    sums_by_blocks,
)
from fastpath.exact.prepared import constants_of
from fastpath.exact.scaled_values import ScaledValues

#: Logits of keys that are weighed at once: more than the second cache holds take a third longer.
TILE = 65536


@dataclass(frozen=True, kw_only=True)
class Closable:
    """Clusters, of which the lightest are closed.

    Attributes
    ----------
    weights : array, shape (m,)
        What each weighs at most for any of the queries, relative to e^shift: a count times a weight.  NaN or
        infinite where something overflowed.
    shift : array of the same type, shape (g,)
    keys : float
        At least how many keys there are.
    error : float
        By how much the logarithm of a weight may exceed what was computed.
    """

    weights: Matrix
    shift: Matrix
    keys: float
    error: float

    @classmethod
    def of(
        cls, logits: Matrix, shift: Matrix, counts: Matrix, logit_error: float, reach: float
    ) -> Closable:
        """Weigh by logits in blocks, which are spent, of at most ``reach`` and an error."""
        constants = constants_of(logits)
        logits -= shift[:, None]
        weights = logits.max(axis=1).reshape(-1)[: len(counts)]
        np.exp(weights, out=weights)
        weights *= counts
        reach = float(up(up(reach + logit_error) + float(np.abs(shift).max())))
        error = rounding_weight(
            logit_error, constants["unit_roundoff"], reach, constants["exp_error"], 1
        )
        return cls(
            weights=weights,
            shift=shift,
            keys=float(up(counts.sum(dtype=np.float64))),
            error=float(error),
        )

    def opened(self, share: float) -> NDArray[np.intp]:
        """Return which to open, ascending: the others weigh at most a share of e^shift, as computed.

        What overflowed is opened.
        """
        weights = self.weights
        total = weights.sum(dtype=np.float64)
        # What is far below the threshold needs no sort.
        for times in (16, 0.5):
            candidates = np.flatnonzero(~(weights <= times * share / len(weights)))
            heavy = weights[candidates]
            light = total - heavy.sum(dtype=np.float64)
            if light <= share:
                break
        ascending = np.sort(heavy)
        fits = int(np.cumsum(ascending, dtype=np.float64).searchsorted(share - light, "right"))
        if fits == len(candidates):
            # All would fit, as far as is guessed: something is read.
            return np.atleast_1d(weights.argmax())
        opened: NDArray[np.intp] = candidates[~(heavy < ascending[fits])]
        return opened

    def closed(self, opened: NDArray[np.intp], logarithm: Array, log_bound: Array) -> Array:
        """Bound what the others weigh relative to e^logarithm, known within a bound, for each query.

        Whichever were opened, and whatever the shift is.  The weights of those that were are spent.
        """
        constants, m = constants_of(self.weights), len(self.weights)
        self.weights[opened] = 0
        # A count, its product and each addition of the sum are at most a rounding each.
        computed = float(self.weights.sum(dtype=np.float64))
        total = positive_sum(computed, m, m + 2, constants["unit_roundoff"], constants["tiny"])
        # What underflow took from each weight, for each key.
        total = up(total + up(self.keys * constants["tiny"]))
        shift = self.shift.astype(np.float64)
        exponent = above(above(above(shift - logarithm) + log_bound) + self.error)
        ratio: Array = up(total * library_up(np.exp(exponent)))
        return ratio


def attend_to(
    q: Matrix, k: Matrix, scaled: Matrix, values: ScaledValues, reach: float
) -> Certified:
    """Attend to some keys, of which no logit exceeds ``reach``.

    ``scaled`` are their values in units of ``values``, which has the range of these and others.  Keys are
    weighed a tile at a time, relative to its heaviest for each query.
    """
    constants, m = constants_of(q), len(k)
    u, whole = constants["unit_roundoff"], values.whole
    logit_error = rounding_logit(q.shape[1], u, reach, constants["tiny"])
    top = float(up(reach + logit_error))
    error = float(rounding_weight(logit_error, u, 2 * top, constants["exp_error"], 1))
    tile, tiles = max(1, TILE // len(q)), []
    for start in range(0, m, tile):
        weights = products(q, k[start : start + tile])
        shift = largest(weights)
        weights -= shift[:, None]
        np.exp(weights, out=weights)
        sums = weighted_sums(weights, scaled[start : start + tile])
        tiles.append((shift.astype(np.float64), totals(weights), sums, roundings(weights)))
    shift, denominator, numerator, terms = tiles[0]
    if len(tiles) > 1:
        shifts = np.stack([part[0] for part in tiles])
        shift = shifts.max(axis=0)
        scale = np.exp(shifts - shift)
        denominator = (scale * [part[1] for part in tiles]).sum(axis=0)
        numerator = (scale[:, :, None] * [part[2] for part in tiles]).sum(axis=0)
        # The exponential of a difference and a product, of float64 numbers, and a sum.
        error = float(up(error + rounding_weight(0, UNIT_ROUNDOFF, 2 * top, LOG_ERROR, 1)))
        terms += 2 + (len(tiles) if q.dtype == np.float64 else 0)
    quotient = numerator / denominator[:, None]
    lost = weights_underflow(m, min(2, len(tiles)), constants["tiny"], 1.0)
    spread, magnitude = values.spread_and_magnitude(*whole)
    magnitude = np.maximum(magnitude, max(2.0**-40, 4 * lost))
    bound = rounding_output(
        error,
        spread,
        magnitude,
        quotient,
        terms,
        u,
        up(lost / np.minimum(magnitude, 1)),
        values.smallest,
    )
    log_denominator = np.log(denominator)
    log_bound = log_sum_exp(
        error,
        terms,
        u,
        lost,
        up(top + library_up(float(np.abs(log_denominator).max()))),
        LOG_ERROR,
        UNIT_ROUNDOFF,
    )
    # Rounded to the values' type only now, between values of that type.
    output = values.restore(quotient, *whole).astype(scaled.dtype, copy=False)
    return Certified(
        output=output,
        error_bound=values.restore_bound(np.minimum(bound, spread + DECIDABLE)),
        claims=CLAIMS,
        log_sum_exp=shift + log_denominator,
        log_sum_exp_bound=np.full(len(quotient), float(log_bound)),
    )


@dataclass(frozen=True, kw_only=True)
class WeighedKeys:
    """The weights of some keys for each query of a group.

    Attributes
    ----------
    weights : array, shape (g, m)
        Relative to e^shift, which makes the largest of each query 1.
    shift : array of the same type, shape (g, 1)
    error : float
        What rounding makes of the logarithm of a weight at most.
    largest : float
        No logit is larger, nor a computed one.
    """

    weights: Matrix
    shift: Matrix
    error: float
    largest: float

    def attend(self, kept: NDArray[np.intp], v: Matrix, values: ScaledValues) -> Certified:
        """Attend to those that are kept, of which v holds the values.

        ``values`` knows the range of these and others.  Among the kept is the heaviest key of each query.
        """
        weights = (
            self.weights if len(kept) == self.weights.shape[1] else self.weights.take(kept, axis=1)
        )
        constants, m = constants_of(weights), len(kept)
        u, whole = constants["unit_roundoff"], values.whole
        scaled = ScaledValues(v, keep_moderate=True, whole=whole).scaled
        denominator = sums_by_blocks(weights, np.ones((min(KEY_BLOCK, m), 1), weights.dtype))
        quotient = product_by_blocks(weights, scaled) / denominator
        # A product and the additions of its block, then those of the blocks.
        terms = min(KEY_BLOCK, m) + -(-m // KEY_BLOCK)
        lost = weights_underflow(m, 1, constants["tiny"], 1.0)
        spread, magnitude = values.spread_and_magnitude(*whole)
        magnitude = np.maximum(magnitude, max(2.0**-40, 4 * lost))
        bound = rounding_output(
            self.error,
            spread,
            magnitude,
            quotient.astype(np.float64),
            terms,
            u,
            up(lost / np.minimum(magnitude, 1)),
            values.smallest,
        )
        log_denominator = np.log(denominator[:, 0].astype(np.float64))
        log_bound = log_sum_exp(
            self.error,
            terms,
            u,
            lost,
            up(self.largest + library_up(float(np.abs(log_denominator).max()))),
            LOG_ERROR,
            UNIT_ROUNDOFF,
        )
        return Certified(
            output=values.restore(quotient, *whole),
            error_bound=values.restore_bound(np.minimum(bound, spread + DECIDABLE)),
            claims=CLAIMS,
            log_sum_exp=self.shift[:, 0].astype(np.float64) + log_denominator,
            log_sum_exp_bound=np.full(len(weights), float(log_bound)),
        )
