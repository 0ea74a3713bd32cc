"""What a few rows say about a head at next to no cost, before any way is planned."""

from dataclasses import dataclass

import numpy as np

from fastpath.core.head import Head
from fastpath.real_heads.own_blocks import block_size

#: Rows that are looked at, and which of their deviations counts: the third largest, as one may be of the
#: hundredth of the rows that the tolerance leaves out.
ROWS, COUNTS = 32, 3

#: What a row errs by at least where a few keys serve all rows, in standard deviations of its worst column.
DEVIATIONS = 2.0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What some rows, drawn at random, say about all.

    Attributes
    ----------
    needed : float
        The fraction of the keys that would be kept if each row could choose its own.
    sampled : float
        Of keys drawn with replacement, the same for all rows, fewer will not do; relative to all keys.
    reach : float
        The largest magnitude of a logit.
    """

    needed: float
    sampled: float
    reach: float

    @classmethod
    def of(cls, head: Head, allowed: float, rng: np.random.Generator) -> "Probe":
        """Weigh all keys for a few rows; entries may err by ``allowed``."""
        n = len(head.keys)
        drawn = rng.integers(0, len(head.queries), ROWS)
        weights = head.queries[drawn] @ head.keys.T
        reach = max(float(weights.max()), -float(weights.min()))
        if head.causal:
            weights[np.arange(n) > drawn[:, None]] = -np.inf
        weights -= weights.max(axis=1, keepdims=True)
        np.exp(weights, out=weights)
        sums = weights.sum(axis=1, keepdims=True)
        spread = float(np.ptp(head.values, axis=0).max())
        needed = weights * spread > allowed / n * sums
        # The variance of a mean over sampled keys: that of w (v - o) / W, n^2 times, of one key.
        size = float(np.abs(head.values).max()) or 1.0
        values = head.values / size
        weights /= sums
        output = weights @ values
        if head.causal:
            # A row's own block is taken exactly.
            weights[np.arange(n) >= (drawn // block_size(n) * block_size(n))[:, None]] = 0
        np.square(weights, out=weights)
        variance = weights @ values**2 - 2 * output * (weights @ values)
        variance += output**2 * weights.sum(axis=1, keepdims=True)
        deviation = np.sort(np.sqrt(n * np.maximum(variance, 0)).max(axis=1))[-COUNTS]
        missed = DEVIATIONS * size * float(deviation) / allowed if allowed else np.inf
        sampled = missed * missed / n
        return cls(
            needed=float(needed.mean()),
            # What overflowed is not known: nothing is refused for it.
            sampled=0.0 if np.isnan(sampled) else sampled,
            reach=reach,
        )
