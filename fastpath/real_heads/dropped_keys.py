"""Attention on sharp heads: keys that no query of a cluster weighs are dropped, with a bound on every row."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import ceil, log, sqrt

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.real_heads import (
    centre_mean_error,
    dropped_keys_output,
    image_error,
    share_slack,
)
from fastpath.core.bounds.softmax import (
    ARITHMETIC,
    rounding_logit,
    rounding_output,
    rounding_weight,
)
from fastpath.core.certified import Certified
from fastpath.core.directed import UPWARD
from fastpath.core.inputs import Matrix
from fastpath.core.norms import row_norms
from fastpath.exact.attention import DECIDABLE, attention
from fastpath.exact.scaled_values import ScaledValues
from fastpath.real_heads.balanced_clusters import Clusters, balancing
from fastpath.real_heads.costs import pair_cost

CLAIMS = ("R.drop", "R.jensen", "R.balance", "FP.drop", "FP.softmax", "FP.exp", "S.output")

#: Clusters of queries, in units of the square root of their number: 64 queries each of 65,536.
CLUSTERS = 4.0

#: Clusters whose keys are weighed at once.
TOGETHER = 16

#: Keys whose weights are summed at once: few, so that the certificate of a sum stays tight.
KEY_BLOCK = 1024

#: Keys whose weights are summed at once about a centre, where a looser certificate will do.
CENTRE_BLOCK = 4096

#: About a centre, logits this far below the largest count as this far: exp slows down on its underflow.
LOWEST_LOGIT = -60.0

#: Rounding of the logarithm of a share beyond which a cluster's rows are computed exactly.
LARGEST_SLACK = 3.0

#: Multiply-adds that take as long as a row's share in planning, as weighing a key for a cluster, and as
#: fetching one that is kept; and what a pair takes in such narrow tiles, relative to exact attention.
PLANNED_ROW, WEIGHED, FETCHED, NARROW = 1.5e5, 400, 1000, 1.35

#: No sum of products of two images overflows where that of their lengths is at most this: one that went to
#: -inf would be taken for no distance at all.
LARGEST_PRODUCT = {"float32": 2.0**124, "float64": 2.0**1020}

#: Clusters from which the cost is predicted.
PILOT = 64

#: The kept weights of a row add up to this at least, relative to e^shift, or the row is computed exactly:
#: half the sum, which is at least e^-LARGEST_SLACK, as what a shift's rounding may be is part of the slack.
LIGHTEST_SUM = 1 / 64


class DroppingError(ValueError):
    """Keys cannot be dropped: the tolerance is at rounding, or the head has no covariance."""


@dataclass(frozen=True)
class _Weighed:
    """What a batch of query clusters says about the keys.

    ``kept`` is a mask (clusters, keys); ``logarithms`` and ``means`` of the weights at the centre give
    a lower bound on a row's sum of weights (R.jensen); ``certain`` says where rounding is small.
    """

    kept: NDArray[np.bool_]
    logarithms: NDArray[np.float64]
    means: Matrix
    certain: NDArray[np.bool_]


class DroppedKeys:
    r"""Attention that drops keys cluster by cluster, certified for every row before it is computed.

    For a cluster of queries around c, with :math:`w_j = e^{c \cdot k_j}`, :math:`W = \sum_j w_j` and the
    weighted mean :math:`\kappa`, key j has at most the share

    .. math:: w_j \, e^{\max_i |(q_i - c) M| \, |(k_j - \kappa) N|} / W, \qquad M N^\top = I,

    of any of its queries' weight (R.drop, in the coordinates of R.balance).  Keys below an even part of
    what the tolerance allows are dropped, and attention on the others is exact but for rounding.

    Parameters
    ----------
    q, k, v : arrays
        The head.
    allowed : float
        The absolute error that each entry may have.
    rng : numpy.random.Generator
        Draws the sample from which clusters are made; no bound depends on it.

    Raises
    ------
    DroppingError
        If rounding alone may exceed what is allowed, or clusters cannot be made.
    """

    def __init__(
        self, q: Matrix, k: Matrix, v: Matrix, allowed: float, rng: np.random.Generator
    ) -> None:
        constants = ARITHMETIC[q.dtype.name]
        self._unit_roundoff, self._tiny = constants["unit_roundoff"], constants["tiny"]
        self._exp_error = constants["exp_error"]
        self._given, self._allowed = (q, k, v), allowed
        self._values = ScaledValues(v)
        self._spread, magnitude = self._values.spread_and_magnitude(*self._values.range(None))
        self._magnitude = np.maximum(magnitude, 2.0**-40)
        self._terms = min(KEY_BLOCK, len(k)) + ceil(len(k) / KEY_BLOCK)
        self._longest_key = _largest_norm(k)
        self._query_lengths = np.ldexp(*row_norms(q))
        self._share = self._allowed_share()
        self._cluster(rng)

    def _allowed_share(self) -> float:
        """Return the share of its weight that a row may lose, what rounding may cost set aside."""
        reach = self._query_lengths.max() * self._longest_key
        # No lower bound on a sum of weights is further from zero.
        lowest = 4 * reach + log(len(self._given[1])) + 1
        rounding = self._rounding(reach, lowest, self._magnitude)
        worst = float(np.max(self._values.restore_bound(rounding)))
        spread = float(np.max(self._values.restore_bound(self._spread)))
        room = (self._allowed - worst) / UPWARD
        if not room > 0:
            raise DroppingError(
                f"the rounding of attention on some keys may reach {worst:.3g}, which leaves nothing of the "
                f"allowed {self._allowed:.3g}"
            )
        return min(0.5, room / spread) if spread else 0.5

    def _rounding(
        self, reach: NDArray[np.float64], shift: NDArray[np.float64], quotient: Matrix
    ) -> NDArray[np.float64]:
        """Bound the rounding of attention on the kept keys, in units of the scaled values."""
        u = self._unit_roundoff
        logit_error = rounding_logit(self._given[1].shape[1], u, reach, self._tiny)
        weight_error = rounding_weight(
            logit_error, u, (reach + logit_error + shift) * UPWARD, self._exp_error, 1
        )
        underflow = 8 * len(self._given[1]) * self._tiny / LIGHTEST_SUM
        bound: NDArray[np.float64] = rounding_output(
            weight_error,
            self._spread,
            self._magnitude,
            quotient.astype(np.float64),
            self._terms,
            u,
            underflow / self._magnitude,
            self._values.smallest,
        )
        return bound

    def _cluster(self, rng: np.random.Generator) -> None:
        """Cluster the queries, balance what is left of them, and measure it."""
        q, k, _ = self._given
        try:
            M, N = balancing(q, k, rng)
        except np.linalg.LinAlgError as error:
            raise DroppingError("the queries or the keys have no covariance to balance") from error
        self._clusters = Clusters.of(q @ M.astype(q.dtype), int(CLUSTERS * sqrt(len(q))), rng)
        self._q = q[self._clusters.order]
        self._centres = self._clusters.means(self._q)
        self._steps = self._q - self._centres[self._clusters.labels]
        # Where all queries of a cluster are equal there is nothing left to balance.
        with suppress(np.linalg.LinAlgError):
            M, N = balancing(self._steps, k, rng)
        for_queries, for_keys = M.astype(q.dtype), N.astype(q.dtype)
        self._for_keys, self._origin = for_keys, k.mean(axis=0)
        self._images = (k - self._origin) @ for_keys
        self._longest_image = _largest_norm(self._images)
        self._squares = (self._images * self._images).sum(axis=1)
        self._keys_in_columns = np.ascontiguousarray(k.T)
        self._images_in_columns = np.ascontiguousarray(self._images.T)
        self._with_ones = np.concatenate([k, np.ones((len(k), 1), k.dtype)], axis=1)
        ones = np.ones((len(k), 1), self._values.scaled.dtype)
        # Numerator and denominator in one product.
        self._summed = np.concatenate([self._values.scaled, ones], axis=1)
        self._measure(for_queries, for_keys)

    def _measure(self, for_queries: Matrix, for_keys: Matrix) -> None:
        """Bound the radius of every cluster, and the rounding of the logarithm of a share."""
        u, tiny = self._unit_roundoff, self._tiny
        _, k, _ = self._given
        n, d = k.shape
        starts = self._clusters.starts[:-1]
        # A computed difference errs by u relative to itself.
        length = np.ldexp(*row_norms(self._steps)) * (1 + 4 * u)
        wide_M, wide_N = for_queries.astype(np.float64), for_keys.astype(np.float64)
        size_M, size_N = (float(np.linalg.norm(x)) * UPWARD for x in (wide_M, wide_N))
        defect = float(np.linalg.norm(wide_M @ wide_N.T - np.eye(d))) * UPWARD
        defect += d * 2.0**-50 * size_M * size_N
        changed = np.ldexp(*row_norms(self._steps @ for_queries))
        changed += image_error(d, u, length, size_M, tiny)
        self._radius = np.maximum.reduceat(changed, starts) * UPWARD
        reach = np.ldexp(*row_norms(self._centres)) * self._longest_key * UPWARD
        logit_error = rounding_logit(d, u, reach, tiny)
        step = np.maximum.reduceat(length, starts) * UPWARD
        # Those of a product and of the sums within blocks and of blocks, and one more.
        terms = min(CENTRE_BLOCK, n) + n // CENTRE_BLOCK + 1
        lightest = np.exp(LOWEST_LOGIT)
        largest_key = _largest_norm(np.abs(k).max(axis=0)[None])
        mean_error = centre_mean_error(d, terms, n, u, lightest, largest_key, tiny)
        farthest = (self._longest_key + _largest_norm(self._origin[None]) + mean_error) * UPWARD
        self._slack = share_slack(
            d,
            terms,
            n,
            u,
            self._exp_error,
            tiny,
            lightest,
            reach,
            logit_error,
            step,
            self._radius,
            defect,
            self._longest_key,
            mean_error,
            size_N,
            image_error(d, u, farthest, size_N, tiny),
            self._longest_image,
            self._share,
        )

    def _weigh(self, some: NDArray[np.intp]) -> _Weighed:
        """Decide for some clusters which keys they keep."""
        centres = self._centres[some]
        logits = centres @ self._keys_in_columns
        shifts = logits.max(axis=1, keepdims=True)
        logits -= shifts
        weights = np.maximum(logits, LOWEST_LOGIT)
        np.exp(weights, out=weights)
        sums = np.zeros((len(some), self._with_ones.shape[1]))
        for first in range(0, len(self._with_ones), CENTRE_BLOCK):
            block = slice(first, first + CENTRE_BLOCK)
            sums += weights[:, block] @ self._with_ones[block]
        means = (sums[:, :-1] / sums[:, -1:]).astype(centres.dtype)
        logarithms = np.log(sums[:, -1])
        images = (means - self._origin) @ self._for_keys
        shares = np.matmul(-2 * images, self._images_in_columns, out=weights)
        shares += self._squares
        shares += (images * images).sum(axis=1, keepdims=True)
        np.maximum(shares, 0, out=shares)
        np.sqrt(shares, out=shares)
        shares *= self._radius[some, None].astype(shares.dtype)
        shares += logits
        even = log(self._share / len(self._given[1]))
        thresholds = (logarithms + even - self._slack[some]).astype(shares.dtype)
        # Where anything overflowed the comparison is false, and the key is kept.
        dropped = shares <= thresholds[:, None]
        certain = np.isfinite(means).all(axis=1) & (self._slack[some] <= LARGEST_SLACK)
        products = np.ldexp(*row_norms(images)) * self._longest_image
        certain &= products <= LARGEST_PRODUCT[images.dtype.name]
        return _Weighed(~dropped, logarithms + shifts[:, 0], means, certain)

    @staticmethod
    def planning_cost(q: Matrix) -> float:
        """Predict what making this object takes, in multiply-adds."""
        return PLANNED_ROW * len(q)

    def cost(self, rng: np.random.Generator) -> float:
        """Predict what :meth:`attend` takes, in multiply-adds, from clusters drawn at random."""
        _, k, v = self._given
        sizes = self._clusters.sizes
        drawn = rng.permutation(len(sizes))[:PILOT]
        kept = np.concatenate(
            [
                np.count_nonzero(self._weigh(drawn[first : first + TOGETHER]).kept, axis=1)
                for first in range(0, len(drawn), TOGETHER)
            ]
        )
        pairs = NARROW * pair_cost(k, v) * kept * sizes[drawn]
        each = WEIGHED * len(k) + FETCHED * kept + pairs
        return float(each.mean() * len(sizes))

    def attend(self) -> Certified:
        """Return attention, each entry certified within what is allowed."""
        q, k, v = self._given
        order = self._clusters.order
        quotients = np.empty((len(q), v.shape[1]), q.dtype)
        shifts = np.empty(len(q))
        certain = np.ones(len(q), bool)
        for a, kept, weighed, j in self._batches():
            rows = self._clusters.rows(a)
            steps = self._steps[rows]
            shift = weighed.logarithms[j] + steps.astype(np.float64) @ weighed.means[j]
            shift = shift.astype(q.dtype)
            sums = self._sums(self._q[rows], kept, shift)
            quotients[rows] = sums[:, :-1] / sums[:, -1:]
            # A sum that overflows makes quotients of zero, so it is the sums that are looked at.
            normal = np.isfinite(sums).all(axis=1) & (sums[:, -1] >= LIGHTEST_SUM)
            shifts[rows], certain[rows] = np.abs(shift), weighed.certain[j] & normal
        reach = self._query_lengths[order, None] * self._longest_key
        rounding = self._rounding(reach, shifts[:, None], quotients)
        bound = dropped_keys_output(rounding, self._share, self._spread)
        bound = np.minimum(bound, self._spread + DECIDABLE)
        output, error_bound = np.empty_like(quotients), np.empty(quotients.shape)
        error_bound[order] = self._values.restore_bound(bound)
        output[order] = self._values.restore(quotients, *self._values.range(None))
        certain &= (error_bound[order] <= self._allowed).all(axis=1)
        again = order[~certain]
        if len(again):
            exact = attention(q[again], k, v)
            output[again], error_bound[again] = exact.output, exact.error_bound
        return Certified(output, error_bound, CLAIMS)

    def _batches(self) -> Iterator[tuple[int, NDArray[np.intp], _Weighed, int]]:
        for first in range(0, len(self._centres), TOGETHER):
            some = np.arange(first, min(first + TOGETHER, len(self._centres)))
            weighed = self._weigh(some)
            for j, a in enumerate(some):
                yield int(a), np.flatnonzero(weighed.kept[j]), weighed, j

    def _sums(self, q: Matrix, kept: NDArray[np.intp], shift: Matrix) -> Matrix:
        """Return sum_j w_j [v_j, 1] over the kept keys, values scaled; weights are relative to e^shift."""
        k = self._given[1]
        queries_in_columns = np.ascontiguousarray(q.T)
        sums = np.zeros((len(q), self._summed.shape[1]), q.dtype)
        buffer = np.empty((min(KEY_BLOCK, len(kept)), len(q)), q.dtype)
        for first in range(0, len(kept), KEY_BLOCK):
            keys = kept[first : first + KEY_BLOCK]
            # Keys in rows: the product is twice as fast as with few queries in rows.  And take is four
            # times as fast as indexing.
            tile = np.matmul(k.take(keys, axis=0), queries_in_columns, out=buffer[: len(keys)])
            tile -= shift
            np.exp(tile, out=tile)
            sums += tile.T @ self._summed.take(keys, axis=0)
        return sums


def _largest_norm(x: Matrix) -> float:
    norms, exponent = row_norms(x)
    return float(np.ldexp(norms.max(), exponent)) * UPWARD
