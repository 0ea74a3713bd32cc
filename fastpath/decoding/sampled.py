r"""Attention on all keys and a sample of the values: each is read by chance, and counts by what that was.

Every logit is computed.  The value of a key of share p_j is read with a probability P_j of at least m p_j for
each query of a group, or 1; weighed by its inverse, what was read stands for all (I.sampled).  The sum is
off by Bernstein's inequality, of which the sample holds the second moment, about a point fixed before.

What the theorems cover: I.sampled, of shares and probabilities as they are; FP.softmax, weights and sums of
all keys, were all values read.  What they do not see is here: that a number of 24 random bits lies below p
with probability ceil(2^24 p)/2^24, that p is at least m times a share but for roundings, of which m is
cleared, and that shares which underflow count as lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.decoding import sampled_error, sampled_moment
from fastpath.core.bounds.softmax import weights_underflow
from fastpath.core.certified import Certified
from fastpath.core.directed import down, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.offers import Refusal
from fastpath.decoding.closable import weigh
from fastpath.exact.prepared import constants_of
from fastpath.exact.scaled_values import ScaledValues

CLAIMS = ("I.sampled",)

#: Random numbers are multiples of 2^-24.
_STEPS = 2.0**24

#: Where a sample holds at most this part of the values for each of their columns it is read as fast as all
#: values are: to draw it takes as long as to read some 60 columns, measured.
PART_A_COLUMN = 1 / 3072

#: Values of which a point near the output and their mean square distance are guessed.
_GUESSED = 1024

#: Keys of which the sum of all weights is guessed.
WEIGHED_FIRST = 16384

#: Logits up to which exponents in float64 err by less than what is cleared for them.
LARGEST_LOGIT, _OF_EXPONENTS = 2.0**14, 2.0**-32

#: The least exponent of a factor: what is multiplied by it is never too small a probability.
_LEAST = -64.0

#: Rows that are added up at once.
_BLOCK = 256


def attend_by_samples(
    q: Matrix,
    k: Matrix,
    values: ScaledValues,
    reach: float,
    allowed: float,
    failure_probability: float,
    rng: np.random.Generator,
) -> tuple[Certified, int] | Refusal:
    """Attend to all keys within ``allowed`` but with a probability, and count the values read.

    Refuses where that does not pay, and where the sample turns out not to suffice.
    """
    scaled, unit = values.scaled, values.restore_bound(np.ones(values.columns))
    if allowed <= 0:
        return Refusal(reason="nothing is allowed")
    if not failure_probability / 2:
        return Refusal(reason="half of that failure probability is none")
    some = scaled[:: -(-len(scaled) // _GUESSED)]
    centre = some.mean(axis=0, dtype=np.float64).astype(scaled.dtype)
    np.clip(centre, some.min(axis=0), some.max(axis=0), out=centre)
    spread, magnitude = values.spread_and_magnitude(*values.whole)
    distance = up(np.minimum(spread, magnitude + np.abs(centre.astype(np.float64))))
    distance = np.maximum(distance, 2.0**-40)
    entries, half = len(q) * scaled.shape[1], failure_probability / 2
    second = np.square(some - centre, dtype=np.float64).mean(axis=0)
    samples = _needed(entries, half, second, distance, 0.9 * allowed / unit)
    part = len(q) * samples / len(k)
    if not part <= PART_A_COLUMN * values.columns:
        return Refusal(
            reason=f"a sample would hold {min(part, 1):.1%} of the values, which takes longer than all"
        )
    if not reach <= LARGEST_LOGIT:
        return Refusal(reason="logits of such a size are not sampled")
    # What the weights add up to is guessed of some: the samples are fewer by as much as it was too large.
    guess, _ = weigh(q, k[:: -(-len(k) // WEIGHED_FIRST)], reach, None)
    logarithm = guess.shift + np.log(guess.denominator * (len(k) / guess.keys))
    drawn = _Drawn(samples, logarithm, rng)
    weighed, _ = weigh(q, k, reach, None, drawn.look)
    rows, weights = drawn.all_of(weighed.scale)
    sums = _Sums.of(weights, scaled, rows, centre)
    shares = sums.distances / weighed.denominator[:, None]
    found = weighed.attention(centre + shares, values)
    constants = constants_of(q)
    u, lost = constants["unit_roundoff"], weights_underflow(len(k), 3, constants["tiny"], 1.0)
    # Of a sum of a block, of a weight, a distance and their product, and of the denominator.
    blocks = len(weights) // _BLOCK if q.dtype == np.float64 else 1
    relative = float(up(2 * (_BLOCK + blocks + weighed.terms + 16) * u))
    factor = np.exp(weighed.shift + np.log(weighed.denominator) - logarithm)
    surely = down(samples * factor * (1 - relative - 8 * len(q) * u - _OF_EXPONENTS))[:, None]
    total = up(sums.weights / weighed.denominator * (1 + 2 * relative))[:, None]
    estimate = up(sums.squares / weighed.denominator[:, None] * (1 + 2 * relative))
    estimate = up(estimate + up(lost * up(distance * distance)))
    moment = sampled_moment(entries, half, estimate, surely, distance)
    chance = sampled_error(entries, half, moment, surely, distance)
    rounding = up(up(up(total * relative) + lost) * distance)
    bound = up(found.error_bound + values.restore_bound(up(rounding + chance)))
    worst = float(bound.max())
    if not worst <= allowed:
        return Refusal(reason=f"a sample certifies {worst:.3g}, and {allowed:.3g} is allowed")
    return replace(found, error_bound=bound, claims=(*CLAIMS, *found.claims)), len(rows)


def _needed(entries: int, failure: float, second: Array, distance: Array, allowed: Array) -> int:
    """Return about how many samples certify what is allowed, where values spread as is guessed."""
    logarithm = math.log(2 * entries / failure)
    root = np.sqrt(2 * second * logarithm)
    rest = distance * (7 / 3) * logarithm
    # The root of r n^2 + a n = allowed, n = 1/sqrt(samples).
    inverse = (np.sqrt(root * root + 4 * rest * allowed) - root) / (2 * rest)
    return int(np.ceil(1 / float(inverse.min()) ** 2)) if inverse.min() > 0 else 2**62


class _Drawn:
    """Keys that were drawn, tile by tile, and their weights by the inverse of their probability."""

    def __init__(self, samples: int, logarithm: Array, rng: np.random.Generator) -> None:
        self._start, self._rng = 0, rng
        self._shift = math.log(samples) - logarithm
        self._rows: list[NDArray[np.intp]] = []
        self._weights: list[Matrix] = []

    def look(self, weights: Matrix, shift: Matrix, count: int) -> None:
        """Draw keys of a tile of so many, of which these are the weights relative to e^shift."""
        size = weights.shape[2]
        # At least that of each query: their sum takes less time than the largest.
        factors = np.exp(np.clip(shift + self._shift, _LEAST, -_LEAST)).astype(weights.dtype)
        shares = (factors @ weights).reshape(-1)[:count]
        kept = np.flatnonzero(self._rng.random(count, np.float32) < shares)
        chance = np.minimum(np.ceil(shares[kept] * _STEPS) / _STEPS, 1)
        self._weights.append(weights[kept // size, :, kept % size] / chance[:, None])
        self._rows.append(kept + self._start)
        self._start += count

    def all_of(self, scale: Array) -> tuple[NDArray[np.intp], Matrix]:
        """Return which were drawn, and their weights relative to what all tiles' are."""
        weights = [
            (part * of).astype(part.dtype) for part, of in zip(self._weights, scale, strict=True)
        ]
        return np.concatenate(self._rows), np.concatenate(weights)


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Sums over what was drawn for each query: of weights, of distances, and of their squares."""

    weights: Array
    distances: Array
    squares: Array

    @classmethod
    def of(cls, weights: Matrix, scaled: Matrix, rows: NDArray[np.intp], centre: Matrix) -> _Sums:
        rest = -len(rows) % _BLOCK
        weights = np.pad(weights, ((0, rest), (0, 0))).reshape(-1, _BLOCK, weights.shape[1])
        distances = scaled.take(np.pad(rows, (0, rest)), axis=0)
        distances -= centre
        distances = distances.reshape(-1, _BLOCK, distances.shape[1])
        by_query = np.ascontiguousarray(weights.transpose(0, 2, 1))
        first = (by_query @ distances).sum(axis=0, dtype=np.float64)
        distances *= distances
        return cls(
            weights=weights.sum(axis=1).sum(axis=0, dtype=np.float64),
            distances=first,
            squares=(by_query @ distances).sum(axis=0, dtype=np.float64),
        )
