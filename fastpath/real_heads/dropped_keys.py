"""Attention on sharp heads: keys that no query of a cluster weighs are dropped, with a bound on every row."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce
from math import ceil, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.real_heads import (
    centre_mean_error,
    dropped_keys_output,
    dropped_mass,
    image_error,
    share_slack,
)
from fastpath.core.bounds.softmax import (
    ARITHMETIC,
    log_sum_exp,
    positive_sum,
    rounding_logit,
    rounding_output,
    rounding_weight,
    weights_underflow,
)
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.costs import (
    DROPPING_FETCHED,
    DROPPING_KEY,
    DROPPING_PAIR,
    DROPPING_ROW,
    DROPPING_TESTED,
    exact_cost,
    pair_cost,
)
from fastpath.core.directed import (
    UNIT_ROUNDOFF,
    above,
    below,
    down,
    library_down,
    library_up,
    up,
)
from fastpath.core.head import Head
from fastpath.core.inputs import Matrix
from fastpath.core.norms import lengths, longest_row, norm, product_loss
from fastpath.core.offers import Refusal
from fastpath.exact.attention import DECIDABLE, LOG_ERROR
from fastpath.exact.scaled_values import ScaledValues
from fastpath.real_heads.balanced_clusters import Clusters, balancing
from fastpath.real_heads.exact_rows import exact_rows

CLAIMS = (
    "R.drop",
    "R.jensen",
    "R.balance",
    "FP.drop",
    "FP.softmax",
    "FP.exp",
    "FP.lse",
    "S.output",
)

#: Clusters of queries, in units of the square root of their number: 64 queries each of 65,536.
CLUSTERS = 4.0

#: Clusters whose keys are weighed at once.
TOGETHER = 16

#: Keys whose weights are summed at once: few, so that the certificate of a sum stays tight.
KEPT_KEY_BLOCK = 1024

#: Keys whose logits are compared at once.
COMPARED_KEY_BLOCK = 2048

#: Queries that one comparison of words tells of: each has a byte.
ABREAST, ALL_LIGHT = 8, np.uint64(0x0101010101010101)

#: Keys whose weights are summed at once about a centre, where a looser certificate will do.
CENTRE_BLOCK = 4096

#: About a centre, logits this far below the largest count as this far: exp slows down on its underflow.
LOWEST_LOGIT = -60.0

#: Rounding of the logarithm of a share beyond which a cluster's rows are computed exactly.
LARGEST_SHARE_SLACK = 3.0

#: No sum of products of two images overflows where that of their lengths is at most this: one that went to
#: -inf would be taken for no distance at all.
LARGEST_PRODUCT = {"float32": 2.0**124, "float64": 2.0**1020}

#: Clusters from which the cost is predicted, and of which light keys are looked for.
PILOT, TESTED = 32, 4

#: The kept weights of a row add up to this at least, relative to e^shift, or the row is computed exactly:
#: half the sum, which is at least e^-LARGEST_SHARE_SLACK, as a shift's rounding is part of the slack.
LIGHTEST_SUM = 1 / 64


@dataclass(frozen=True, kw_only=True)
class _Weighed:
    """What a batch of query clusters says about the keys.

    ``kept`` is a mask (clusters, keys); ``logarithms`` and ``means`` of the weights at the centre give
    a lower bound on a row's sum of weights (R.jensen); ``certain`` says where rounding is small.
    """

    kept: NDArray[np.bool_]
    logarithms: NDArray[np.float64]
    means: Matrix
    certain: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class _Heavy:
    """Keys that some query of a cluster weighs: no other is above its shift by more than ``threshold``."""

    keys: NDArray[np.intp]
    threshold: float


class _Rows:
    """What was computed for some rows: quotients, sums of weights, shifts; and what is known of light keys.

    There are ``light`` of them, each with a logit of at most ``thresholds`` above the shift.
    """

    def __init__(self, rows: int, columns: int, dtype: "np.dtype[Any]") -> None:
        self.quotients = np.empty((rows, columns), dtype)
        self.denominators, self.shifts, self.light, self.thresholds = np.empty((4, rows, 1))

    def set(self, some: slice, found: tuple[Any, ...]) -> None:
        """Set quotients, denominators, shifts, light and thresholds of some rows, in this order."""
        self.quotients[some] = found[0]
        columns = self.denominators, self.shifts, self.light, self.thresholds
        for column, values in zip(columns, found[1:], strict=True):
            column[some, 0] = values


class DroppedKeys:
    r"""Attention that drops keys cluster by cluster, certified for every row before it is computed.

    For a cluster of queries around c, with :math:`w_j = e^{c \cdot k_j}`, :math:`W = \sum_j w_j` and the
    weighted mean :math:`\kappa`, key j has at most the share

    .. math:: w_j \, e^{\max_i |(q_i - c) M| \, |(k_j - \kappa) N|} / W, \qquad M N^\top = I,

    of any of its queries' weight (R.drop, in the coordinates of R.balance).  Keys below an even part of
    what the tolerance allows are dropped.  The logits of the others are computed, and those of which each
    query has a logit that light are left out before any exponential is taken (R.drop, each query its own
    centre): nine of ten, as lengths bound a product of 32 columns from far.  Attention on the rest is exact
    but for rounding.

    W and :math:`\kappa` are of the keys that every query sees.  A query that sees more has a larger sum of
    weights, so that any key has at most that share of it, whether all queries see it or not.

    Parameters
    ----------
    head : Head
        Every query sees the keys up to one of them, and some key: options ask for nothing else.
    allowed : float
        The absolute error that each entry may have.
    """

    @classmethod
    def planned(
        cls, head: Head, allowed: float, rng: np.random.Generator
    ) -> "DroppedKeys | Refusal":
        """Cluster a head, or refuse where rounding alone may exceed what is allowed, or clusters cannot be.

        ``rng`` draws the sample from which clusters are made; no bound depends on it.
        """
        made = cls(head, allowed)
        return made._allow() or made._cluster(rng) or made

    def __init__(self, head: Head, allowed: float) -> None:
        q, k, v = head.queries, head.keys, head.values
        constants = ARITHMETIC[q.dtype.name]
        self._unit_roundoff, self._tiny = constants["unit_roundoff"], constants["tiny"]
        self._exp_error = constants["exp_error"]
        self._head, self._allowed = head, allowed
        self._values = ScaledValues(v)
        self._spread, magnitude = self._values.spread_and_magnitude(*self._values.range(None))
        self._magnitude = np.maximum(magnitude, 2.0**-40)
        self._terms = min(KEPT_KEY_BLOCK, len(k)) + ceil(len(k) / KEPT_KEY_BLOCK)
        self._longest_key = longest_row(k)
        self._query_lengths = lengths(q)
        ranges = head.seen.ranges(np.arange(len(q)))
        # How many keys each query sees, and how many all of them do.
        self._stops = None if ranges is None else ranges[1]
        self._past = len(k) if ranges is None else int(ranges[1].min())

    def _allow(self) -> Refusal | None:
        """Set the share of its weight that a row may lose twice, what rounding may cost set aside."""
        reach = self._query_lengths.max() * self._longest_key
        # No lower bound on a sum of weights is further from zero.
        lowest = 4 * reach + log(len(self._head.keys)) + 1
        rounding = self._rounding(self._weight_error(reach, lowest), self._magnitude)
        worst = float(np.max(self._values.restore_bound(rounding)))
        spread = float(np.max(self._values.restore_bound(self._spread)))
        room = float(down(self._allowed - worst))
        if not room > 0:
            return Refusal(
                reason=f"the rounding of attention on some keys may reach {worst:.3g}, which leaves nothing "
                f"of the allowed {self._allowed:.3g}"
            )
        # Half to keys that a cluster drops, half to those that are light for each of its queries.
        self._share = min(0.25, float(down(room / spread)) / 2) if spread else 0.25
        return None

    def _weight_error(
        self, reach: NDArray[np.float64], shift: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Bound the error of the logarithm of a weight."""
        u = self._unit_roundoff
        logit_error = rounding_logit(self._head.keys.shape[1], u, reach, self._tiny)
        error: NDArray[np.float64] = rounding_weight(
            logit_error, u, up(up(reach + logit_error) + shift), self._exp_error, 1
        )
        return error

    @property
    def _underflow(self) -> float:
        """What underflow takes from a sum of weights, relative to it."""
        return float(weights_underflow(len(self._head.keys), 1, self._tiny, LIGHTEST_SUM))

    def _rounding(self, weight_error: NDArray[np.float64], quotient: Matrix) -> NDArray[np.float64]:
        """Bound the rounding of attention on the kept keys, in units of the scaled values."""
        bound: NDArray[np.float64] = rounding_output(
            weight_error,
            self._spread,
            self._magnitude,
            quotient.astype(np.float64),
            self._terms,
            self._unit_roundoff,
            up(self._underflow / self._magnitude),
            self._values.smallest,
        )
        return bound

    def _light_share(
        self,
        rows: "_Rows",
        reach: NDArray[np.float64],
        weight_error: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Bound the share of its weight that a row loses with light keys, by that of heavy ones (R.drop).

        The shift is one more term of the product that is compared with the threshold.
        """
        u = self._unit_roundoff
        shift = up(np.abs(rows.shifts))
        logit_error = rounding_logit(self._head.keys.shape[1] + 1, u, up(reach + shift), self._tiny)
        logarithms = np.log(rows.denominators)
        log_error = log_sum_exp(
            weight_error,
            self._terms,
            u,
            self._underflow,
            library_up(np.abs(logarithms)),
            LOG_ERROR,
            UNIT_ROUNDOFF,
        )
        heaviest = library_up(np.exp(above(rows.thresholds + logit_error)))
        heavy = library_down(np.exp(below(logarithms - log_error)))
        share: NDArray[np.float64] = dropped_mass(up(rows.light * heaviest), heavy)
        return share

    def _cluster(self, rng: np.random.Generator) -> Refusal | None:
        """Cluster the queries, balance what is left of them, and measure it."""
        q, k = self._head.queries, self._head.keys
        coordinates = balancing(q, k, rng)
        if coordinates is None:
            return Refusal(reason="the queries or the keys have no covariance to balance")
        M, N = coordinates
        images, count = q @ M.astype(q.dtype), int(CLUSTERS * sqrt(len(q)))
        self._clusters = Clusters.of(images, count, rng, worker_count(self._head.workers))
        self._q = q[self._clusters.order]
        self._centres = self._clusters.means(self._q)
        self._steps = self._q - self._centres[self._clusters.labels]
        # Where all queries of a cluster are equal there is nothing left to balance.
        M, N = balancing(self._steps, k, rng) or coordinates
        for_queries, for_keys = M.astype(q.dtype), N.astype(q.dtype)
        self._for_keys, self._origin = for_keys, k.mean(axis=0)
        self._images = (k - self._origin) @ for_keys
        self._longest_image = longest_row(self._images)
        self._squares = (self._images * self._images).sum(axis=1)
        self._keys_in_columns = np.ascontiguousarray(k.T)
        self._images_in_columns = np.ascontiguousarray(self._images.T)
        self._with_ones = np.concatenate([k, np.ones((len(k), 1), k.dtype)], axis=1)
        ones = np.ones((len(k), 1), self._values.scaled.dtype)
        # Numerator and denominator in one product, and keys beside them: what is kept is fetched once.
        self._fetched = np.concatenate([k, self._values.scaled, ones], axis=1)
        self._measure(for_queries, for_keys)
        return None

    def _measure(self, for_queries: Matrix, for_keys: Matrix) -> None:
        """Bound the radius of every cluster, and the rounding of the logarithm of a share."""
        u, tiny = self._unit_roundoff, self._tiny
        k = self._head.keys
        n, d = k.shape
        starts = self._clusters.starts[:-1]
        # A computed difference errs by u relative to itself.
        length = positive_sum(lengths(self._steps), 1, 1, u, tiny)
        wide_M, wide_N = for_queries.astype(np.float64), for_keys.astype(np.float64)
        size_M, size_N = norm(wide_M), norm(wide_N)
        defect = norm(up(np.abs(wide_M @ wide_N.T - np.eye(d))))
        defect = float(up(defect + product_loss(size_M, size_N, d, d * d)))
        changed = up(lengths(self._steps @ for_queries) + image_error(d, u, length, size_M, tiny))
        self._radius = np.maximum.reduceat(changed, starts)
        reach = up(lengths(self._centres) * self._longest_key)
        logit_error = rounding_logit(d, u, reach, tiny)
        step = np.maximum.reduceat(length, starts)
        # Those of a product and of the sums within blocks and of blocks, and one more.
        terms = min(CENTRE_BLOCK, n) + n // CENTRE_BLOCK + 1
        lightest = library_up(np.exp(LOWEST_LOGIT))
        largest_key = norm(np.abs(k).max(axis=0))
        mean_error = centre_mean_error(d, terms, n, u, lightest, largest_key, tiny)
        farthest = up(up(self._longest_key + norm(self._origin)) + mean_error)
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
        shifts = logits[:, : self._past].max(axis=1, keepdims=True)
        logits -= shifts
        weights = np.maximum(logits[:, : self._past], LOWEST_LOGIT)
        np.exp(weights, out=weights)
        sums = np.zeros((len(some), self._with_ones.shape[1]))
        for first in range(0, self._past, CENTRE_BLOCK):
            block = slice(first, min(first + CENTRE_BLOCK, self._past))
            sums += weights[:, block] @ self._with_ones[block]
        means = (sums[:, :-1] / sums[:, -1:]).astype(centres.dtype)
        logarithms = np.log(sums[:, -1])
        images = (means - self._origin) @ self._for_keys
        reused = weights if self._past == len(self._with_ones) else None
        shares = np.matmul(-2 * images, self._images_in_columns, out=reused)
        shares += self._squares
        shares += (images * images).sum(axis=1, keepdims=True)
        np.maximum(shares, 0, out=shares)
        np.sqrt(shares, out=shares)
        shares *= self._radius[some, None].astype(shares.dtype)
        shares += logits
        even = log(self._share / len(self._head.keys))
        thresholds = (logarithms + even - self._slack[some]).astype(shares.dtype)
        # Where anything overflowed the comparison is false, and the key is kept.
        dropped = shares <= thresholds[:, None]
        certain = np.isfinite(means).all(axis=1) & (self._slack[some] <= LARGEST_SHARE_SLACK)
        products = up(lengths(images) * self._longest_image)
        certain &= products <= LARGEST_PRODUCT[images.dtype.name]
        return _Weighed(
            kept=~dropped, logarithms=logarithms + shifts[:, 0], means=means, certain=certain
        )

    @staticmethod
    def planning_cost(head: Head) -> float:
        """Predict what making this object takes (``fastpath.core.costs``)."""
        return DROPPING_ROW * len(head.queries)

    @staticmethod
    def likely_cost(head: Head, kept: float) -> float:
        """Predict what :meth:`attend` takes where a fraction of the keys is kept, before planning."""
        weighed = int(CLUSTERS * sqrt(len(head.queries))) * len(head.keys)
        return DROPPING_KEY * weighed + DROPPING_PAIR * kept * exact_cost(head)

    def cost(self, rng: np.random.Generator) -> float:
        """Predict what :meth:`attend` takes, from clusters drawn at random."""
        sizes = self._clusters.sizes
        drawn = rng.permutation(len(sizes))[:PILOT]
        kept = np.empty(len(drawn))
        past = np.empty(len(drawn))
        tested, heavy = 0, 0
        for first in range(0, len(drawn), TOGETHER):
            some = drawn[first : first + TOGETHER]
            weighed = self._weigh(some)
            batch = slice(first, first + len(some))
            kept[batch] = np.count_nonzero(weighed.kept, axis=1)
            past[batch] = np.count_nonzero(weighed.kept[:, : self._past], axis=1)
            for j, a in list(enumerate(some))[: max(0, TESTED - first)]:
                keys, count = np.flatnonzero(weighed.kept[j]), int(sizes[a])
                of_cluster = self._heavy(int(a), keys, self._shift(int(a), weighed, j))
                tested, heavy = tested + count * len(keys), heavy + count * len(of_cluster.keys)
        # Of the keys that not all queries see, each sees about half.
        pairs = (kept + past) / 2 * sizes[drawn] * pair_cost(self._head)
        pairs *= DROPPING_TESTED + DROPPING_PAIR * (heavy / tested if tested else 0)
        each = DROPPING_KEY * len(self._head.keys) + DROPPING_FETCHED * kept + pairs
        return float(each.mean() * len(sizes))

    def attend(self) -> Certified:
        """Return attention, each entry certified within what is allowed."""
        dtype, order = self._head.dtype, self._clusters.order
        output = np.empty((len(order), self._head.values.shape[1]), dtype)
        error_bound = np.empty(output.shape)
        certain = np.ones(len(order), bool)

        def compute(some: NDArray[np.intp]) -> None:
            rows = slice(*self._clusters.starts[[some[0], some[-1] + 1]].tolist())
            found = _Rows(rows.stop - rows.start, output.shape[1], dtype)
            for a, kept, weighed, j in self._clusters_of(some):
                of_cluster = self._clusters.rows(a)
                shift = self._shift(a, weighed, j)
                heavy = self._heavy(a, kept, shift)
                sums = self._sums(self._q[of_cluster], heavy.keys, shift, self._stops_of(a))
                # Of a sum that overflows the share of light keys is no number, and nor is the bound.
                normal = sums[:, -1] >= LIGHTEST_SUM
                certain[of_cluster] = weighed.certain[j] & normal
                light = len(kept) - len(heavy.keys)
                found.set(
                    slice(of_cluster.start - rows.start, of_cluster.stop - rows.start),
                    (sums[:, :-1] / sums[:, -1:], sums[:, -1], shift, light, heavy.threshold),
                )
            at = order[rows]
            output[at], error_bound[at] = self._certified(found, at)

        tasks = [partial(compute, some) for some in self._batches()]
        run(tasks, worker_count(self._head.workers))
        certain &= (error_bound[order] <= self._allowed).all(axis=1)
        again = np.sort(order[~certain])
        if len(again):
            exact = exact_rows(self._head, again)
            output[again], error_bound[again] = exact.output, exact.error_bound
        return Certified(output=output, error_bound=error_bound, claims=CLAIMS)

    def _certified(self, rows: "_Rows", at: NDArray[np.intp]) -> tuple[Matrix, NDArray[np.float64]]:
        """Return output and error bound of some rows of the head."""
        reach = self._query_lengths[at, None] * self._longest_key
        weight_error = self._weight_error(reach, np.abs(rows.shifts))
        rounding = self._rounding(weight_error, rows.quotients)
        share = up(self._share + self._light_share(rows, reach, weight_error))
        bound = dropped_keys_output(rounding, share, self._spread)
        bound = np.minimum(bound, self._spread + DECIDABLE)
        restored = self._values.restore(rows.quotients, *self._values.range(None))
        return restored, self._values.restore_bound(bound)

    def _batches(self) -> list[NDArray[np.intp]]:
        clusters = np.arange(len(self._centres))
        return [clusters[first : first + TOGETHER] for first in range(0, len(clusters), TOGETHER)]

    def _clusters_of(
        self, some: NDArray[np.intp]
    ) -> Iterator[tuple[int, NDArray[np.intp], _Weighed, int]]:
        """Yield the clusters of a batch: the keys that each keeps, what was weighed, its place there."""
        weighed = self._weigh(some)
        for j, a in enumerate(some):
            yield int(a), np.flatnonzero(weighed.kept[j]), weighed, j

    def _shift(self, a: int, weighed: _Weighed, j: int) -> Matrix:
        """Return for each query of a cluster a lower bound on the logarithm of its sum of weights."""
        steps = self._steps[self._clusters.rows(a)].astype(np.float64)
        shift: Matrix = (weighed.logarithms[j] + steps @ weighed.means[j]).astype(self._head.dtype)
        return shift

    def _stops_of(self, a: int) -> NDArray[np.intp] | None:
        """Return how many keys each query of a cluster sees, which ascend; None: all."""
        return (
            None
            if self._stops is None
            else self._stops[self._clusters.order[self._clusters.rows(a)]]
        )

    def _heavy(self, a: int, kept: NDArray[np.intp], shift: Matrix) -> "_Heavy":
        """Leave out the keys that are light for every query of a cluster that sees them.

        Together they weigh no more than a share of each query's sum, if that is as large as its lower bound.
        """
        q, stops = self._q[self._clusters.rows(a)], self._stops_of(a)
        n, d = q.shape
        even = log(self._share / max(1, len(kept))) - self._slack[a]
        threshold = self._head.dtype.type(even)
        if stops is not None:
            kept = kept[: np.searchsorted(kept, stops[-1])]
        columns = np.zeros((d + 1, -(-n // ABREAST) * ABREAST), q.dtype)
        columns[:d, :n], columns[d, :n] = q.T, -shift
        # What stands beside the queries is as light as can be.
        columns[d, n:] = threshold
        size = min(COMPARED_KEY_BLOCK, len(kept)) * columns.shape[1]
        logits, light, found = np.empty(size, q.dtype), np.empty(size, bool), [kept[:0]]
        for first in range(0, len(kept), COMPARED_KEY_BLOCK):
            keys = kept[first : first + COMPARED_KEY_BLOCK]
            unseeing, partly = _seeing(stops, keys)
            start = unseeing - unseeing % ABREAST
            shape = len(keys), columns.shape[1] - start
            tile, below_threshold = (
                x[: shape[0] * shape[1]].reshape(shape) for x in (logits, light)
            )
            # Keys in rows: the product is twice as fast as with few queries in rows.
            np.matmul(self._with_ones.take(keys, axis=0), columns[:, start:], out=tile)
            if stops is not None and start < partly:
                hidden = keys[:, None] >= stops[start:partly]
                tile[:, : partly - start][hidden] = -np.inf
            # Where anything overflowed the comparison is false, and the key is heavy.
            np.less_equal(tile, threshold, out=below_threshold)
            words = below_threshold.view(np.uint64)
            found.append(keys[reduce(np.bitwise_and, words.T) != ALL_LIGHT])
        return _Heavy(keys=np.concatenate(found), threshold=float(threshold))

    def _sums(
        self, q: Matrix, kept: NDArray[np.intp], shift: Matrix, stops: NDArray[np.intp] | None
    ) -> Matrix:
        """Return sum_j w_j [v_j, 1] over the kept keys, values scaled; weights are relative to e^shift.

        Query i sees the keys below stops[i]; these ascend.
        """
        d = q.shape[1]
        queries_in_columns = np.ascontiguousarray(q.T)
        sums = np.zeros((len(q), self._fetched.shape[1] - d), q.dtype)
        buffer = np.empty((min(KEPT_KEY_BLOCK, len(kept)), len(q)), q.dtype)
        for first in range(0, len(kept), KEPT_KEY_BLOCK):
            keys = kept[first : first + KEPT_KEY_BLOCK]
            unseeing, partly = _seeing(stops, keys)
            tile = buffer[: len(keys), : len(q) - unseeing]
            fetched = self._fetched.take(keys, axis=0)
            # Keys in rows: the product is twice as fast as with few queries in rows.  And take is four
            # times as fast as indexing.
            np.matmul(fetched[:, :d], queries_in_columns[:, unseeing:], out=tile)
            tile -= shift[unseeing:]
            if stops is not None and unseeing < partly:
                hidden = keys[:, None] >= stops[unseeing:partly]
                tile[:, : partly - unseeing][hidden] = -np.inf
            np.exp(tile, out=tile)
            sums[unseeing:] += tile.T @ fetched[:, d:]
        return sums


def _seeing(stops: NDArray[np.intp] | None, keys: NDArray[np.intp]) -> tuple[int, int]:
    """Return how many queries, which stand first, see none of some keys, and how many do not see all."""
    if stops is None:
        return 0, 0
    unseeing, partly = np.searchsorted(stops, keys[[0, -1]], side="right").tolist()
    return unseeing, partly
