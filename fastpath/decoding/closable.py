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
from fastpath.exact.attention import CLAIMS, DECIDABLE, LOG_ERROR
from fastpath.exact.prepared import constants_of
from fastpath.exact.scaled_values import ScaledValues


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


@dataclass(frozen=True, kw_only=True)
class WeighedKeys:
    """The weights of some keys for each query of a group.

    Attributes
    ----------
    weights : array, shape (blocks, g, size)
        Relative to e^shift, which makes the largest of each query 1; 0 beyond the keys.
    shift : array of the same type, shape (g,)
    error : float
        What rounding makes of the logarithm of a weight at most.
    largest : float
        No logit is larger, nor a computed one.
    """

    weights: Matrix
    shift: Matrix
    error: float
    largest: float

    @classmethod
    def of(cls, q: Matrix, k: Matrix, reach: float) -> WeighedKeys:
        """Weigh keys of which no logit exceeds ``reach``."""
        constants = constants_of(q)
        logit_error = rounding_logit(
            q.shape[1], constants["unit_roundoff"], reach, constants["tiny"]
        )
        top = float(up(reach + logit_error))
        weights = products(q, k)
        shift = largest(weights)
        weights -= shift[:, None]
        np.exp(weights, out=weights)
        error = rounding_weight(
            logit_error, constants["unit_roundoff"], 2 * top, constants["exp_error"], 1
        )
        return cls(weights=weights, shift=shift, error=float(error), largest=top)

    def attend(self, scaled: Matrix, values: ScaledValues) -> Certified:
        """Attend to these keys, given their values in units of ``values``, which has the range of all."""
        weights, m = self.weights, len(scaled)
        constants = constants_of(weights)
        u, whole = constants["unit_roundoff"], values.whole
        denominator = totals(weights)
        quotient = weighted_sums(weights, scaled) / denominator[:, None]
        terms = roundings(weights)
        lost = weights_underflow(m, 1, constants["tiny"], 1.0)
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
        log_denominator = np.log(denominator)
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
        output = values.restore(quotient, *whole).astype(scaled.dtype, copy=False)
        return Certified(
            output=output,
            error_bound=values.restore_bound(np.minimum(bound, spread + DECIDABLE)),
            claims=CLAIMS,
            log_sum_exp=self.shift.astype(np.float64) + log_denominator,
            log_sum_exp_bound=np.full(len(quotient), float(log_bound)),
        )
