"""Clusters that are weighed by their bounds and opened or left closed, and the keys of opened ones."""

from __future__ import annotations

from collections.abc import Callable
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
from fastpath.exact.attention import CLAIMS, DECIDABLE, LOG_ERROR
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
        # What is far below the threshold needs no sort.
        for times in (16, 0.5):
            closed = weights <= times * share / len(weights)
            candidates = np.flatnonzero(~closed)
            heavy = weights[candidates]
            # Not a difference of sums: beside what overflowed that is no number.
            light = weights.sum(dtype=np.float64, where=closed)
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

    ``scaled`` are their values in units of ``values``, which has the range of these and others.
    """
    weighed, numerator = weigh(q, k, reach, scaled)
    return weighed.attention(numerator / weighed.denominator[:, None], values)


def weigh(
    q: Matrix,
    k: Matrix,
    reach: float,
    scaled: Matrix | None,
    look: Callable[[Matrix, Matrix, int], None] | None = None,
) -> tuple[Weighed, NDArray[np.float64]]:
    """Weigh keys a tile at a time, relative to its heaviest for each query, and add up their values.

    What is to be done with the weights of a tile, of shape (blocks, g, size), gets them, what they are
    relative to, and how many keys they are of: the last block may have room for more.
    """
    constants, tile = constants_of(q), max(1, TILE // len(q))
    u = constants["unit_roundoff"]
    logit_error = rounding_logit(q.shape[1], u, reach, constants["tiny"])
    top = float(up(reach + logit_error))
    error = float(rounding_weight(logit_error, u, 2 * top, constants["exp_error"], 1))
    parts = []
    for start in range(0, len(k), tile):
        weights = products(q, k[start : start + tile])
        shift = largest(weights)
        weights -= shift[:, None]
        np.exp(weights, out=weights)
        sums = np.zeros((len(q), 0))
        if look is not None:
            look(weights, shift, min(tile, len(k) - start))
        if scaled is not None:
            sums = weighted_sums(weights, scaled[start : start + tile])
        parts.append((shift.astype(np.float64), totals(weights), sums, roundings(weights)))
    shift, denominator, numerator, terms = parts[0]
    scale = np.ones((1, len(q)))
    if len(parts) > 1:
        shifts = np.stack([part[0] for part in parts])
        shift = shifts.max(axis=0)
        scale = np.exp(shifts - shift)
        denominator = (scale * [part[1] for part in parts]).sum(axis=0)
        numerator = (scale[:, :, None] * [part[2] for part in parts]).sum(axis=0)
        # The exponential of a difference and a product, of float64 numbers, and a sum.
        error = float(up(error + rounding_weight(0, UNIT_ROUNDOFF, 2 * top, LOG_ERROR, 1)))
        terms += 2 + (len(parts) if q.dtype == np.float64 else 0)
    weighed = Weighed(
        keys=len(k),
        scale=scale,
        shift=shift,
        denominator=denominator,
        error=error,
        largest=top,
        terms=terms,
    )
    return weighed, numerator


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """The sum of the weights of some keys for each query of a group.

    Attributes
    ----------
    keys : int
        How many there are.
    scale : array, shape (tiles, g)
        What a tile's weights are to be multiplied by.
    shift, denominator : arrays, shape (g,)
        The weights add up to the denominator, relative to e^shift.
    error : float
        What rounding makes of the logarithm of a weight at most.
    largest : float
        No logit is larger, nor a computed one.
    terms : int
        How many roundings a term of a sum and its quotient have at most.
    """

    keys: int
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    denominator: NDArray[np.float64]
    error: float
    largest: float
    terms: int

    def attention(self, quotient: NDArray[np.float64], values: ScaledValues) -> Certified:
        """Certify the mean of the values by these weights, in units of ``values``."""
        dtype = values.whole[0].dtype
        constants, whole, terms = constants_of(values.whole[0]), values.whole, self.terms
        u = constants["unit_roundoff"]
        lost = weights_underflow(self.keys, min(2, len(self.scale)), constants["tiny"], 1.0)
        spread, magnitude = values.spread_and_magnitude(*whole)
        magnitude = np.maximum(magnitude, max(2.0**-40, 4 * lost))
        bound = rounding_output(
            self.error,
            spread,
            magnitude,
            quotient,
            terms,
            u,
            up(lost / np.minimum(magnitude, 1)),
            values.smallest,
        )
        log_denominator = np.log(self.denominator)
        log_bound = log_sum_exp(
            self.error,
            terms,
            u,
            lost,
            up(self.largest + library_up(float(np.abs(log_denominator).max()))),
            LOG_ERROR,
            UNIT_ROUNDOFF,
        )
        # Rounded to the values' type only now, between values of that type.
        output = values.restore(quotient, *whole).astype(dtype, copy=False)
        return Certified(
            output=output,
            error_bound=values.restore_bound(np.minimum(bound, spread + DECIDABLE)),
            claims=CLAIMS,
            log_sum_exp=self.shift + log_denominator,
            log_sum_exp_bound=np.full(len(quotient), float(log_bound)),
        )
