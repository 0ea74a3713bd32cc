"""Causal attention by clusters on both sides: sums over the past, and a block's own keys exactly."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.cores import run, worker_count
from fastpath.core.costs import (
    CAUSAL_FETCHED,
    CAUSAL_OWN,
    CAUSAL_PAIR,
    CAUSAL_ROW,
    CAUSAL_SAMPLED,
    CAUSAL_SUMMED,
    pair_cost,
    rows_cost,
)
from fastpath.core.head import Head
from fastpath.core.inputs import Matrix
from fastpath.core.offers import Refusal
from fastpath.real_heads.balanced_clusters import Clusters, balancing
from fastpath.real_heads.clustered_head import (
    CLUSTERS,
    LARGEST_LOGIT,
    PILOT_CLUSTERS,
    PILOT_ROWS,
    REPAIRED,
    batches,
    systematic_sample,
)
from fastpath.real_heads.exact_rows import exact_rows
from fastpath.real_heads.own_blocks import block_size, own_block
from fastpath.real_heads.pilot import Pilot

#: Query clusters whose sums over all keys are taken at once.
TOGETHER = 32

#: A sum over the past below this, relative to the heaviest key of all time, may hold nothing but weights
#: that were raised to it: the row is computed exactly.
LIGHTEST_PAST = float(np.exp(-40.0))


#: What keeps a quotient from dividing by nothing: a weight is at least e^-LARGEST_LOGIT = 2^-87.
LIGHTEST_SUM, LEAST_WEIGHT = 2.0**-100, 2.0**-60


@dataclass(frozen=True, kw_only=True)
class _Own:
    """Attention over the keys of a row's own block up to itself: output, and logarithm of the sum."""

    output: Matrix
    logarithms: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Prefixes:
    """Sums over each key cluster up to the end of each block, with the weights of some query clusters.

    ``sums`` has the shape (time, key, query clusters, columns): those of (v_j, 1), and the weighted means
    of the keys.
    """

    weights: Matrix
    shifts: Matrix
    sums: Matrix


class _Scratch:
    """Arrays that one thread works in: fresh ones cost ten times as much as what is computed in them."""

    def __init__(self, keys: int, rows: int, clusters: int) -> None:
        self.by_key = np.empty((2, keys), np.float32)
        self.cumulated = np.empty(keys)
        self.factors = np.empty((rows, clusters), np.float32)
        self.squares = np.empty((rows, clusters), np.float32)


class CausalClusteredHead:
    r"""Causal heads that share keys and values, in balanced coordinates, clustered on both sides once.

    Time is cut into blocks.  A row of block t weighs the keys of its own block exactly.  Those of earlier
    blocks count by clusters as in :class:`ClusteredHead`: for a query :math:`q_a + \delta`, cluster b is one
    key at its mean over the past, :math:`\mu_{bt}`, and what that leaves out is estimated from sampled keys:

    .. math:: \sum_b e^{\delta \cdot \mu_{bt}} \sum_{j \in b, t_j < t} w_j v_j
              + \sum_{j \text{ sampled}, t_j < t}
                \frac{w_j v_j}{\pi_j} (e^{\delta \cdot k_j} - e^{\delta \cdot \mu_{bt}})

    The sums are prefix sums over the blocks.  One sample serves all rows of a query cluster, each as far
    as it is past: :math:`\pi_j` is proportional to what the key may matter to all later rows of the cluster.

    Everything about the past is computed in float32, since what vouches for it is computed apart.

    Parameters
    ----------
    heads : sequence of Head
        Causal, without options; of one shape, with the same keys and values.
    coordinates : pair of (d, d) arrays
        Those of :func:`balancing`, for queries and for keys less their mean.
    rng : numpy.random.Generator
        Draws the samples from which clusters are made, and the pilot's rows.
    """

    #: The fewest keys that are sampled, and which fractions of rows may be repaired.
    fewest, repairs = 0, (0.0, REPAIRED)

    #: No exact rows of the pilot are kept: next to all that is spent here they are few.
    known = None

    @classmethod
    def planned(
        cls, heads: Sequence[Head], rng: np.random.Generator
    ) -> "CausalClusteredHead | Refusal":
        """Cluster heads, or say why that cannot be."""
        q, k = _narrowed(heads)
        coordinates = balancing(q, k, rng)
        if coordinates is None:
            return Refusal(reason="there is no covariance to balance")
        return cls(heads, coordinates, rng)

    def __init__(
        self,
        heads: Sequence[Head],
        coordinates: tuple[Matrix, Matrix],
        rng: np.random.Generator,
    ) -> None:
        self._heads, head = heads, heads[0]
        # Rows in the order of time, those of all heads at one time side by side.
        q, k = _narrowed(heads)
        v = head.values.astype(np.float32, copy=False)
        self._block = block_size(len(k))
        self._blocks = ceil(len(k) / self._block)
        # What the mean of the keys, which is left out, adds to all logits of a row.
        mean = head.keys.mean(axis=0, dtype=np.float64)
        self._offsets = _together([x.queries @ mean for x in heads]).astype(np.float64)
        M, N = (x.astype(np.float32) for x in coordinates)
        q, k = q @ M, k @ N
        workers = worker_count(head.workers)
        self._queries = Clusters.of(q, int(CLUSTERS * sqrt(len(q))), rng, workers)
        self._keys = Clusters.of(k, int(CLUSTERS * sqrt(len(k))), rng, workers)
        q, self._k, v = q[self._queries.order], k[self._keys.order], v[self._keys.order]
        # Rows and keys of a cluster stay in the order of time.
        self._times = self._queries.order // len(heads) // self._block
        self._centres = self._queries.means(q)
        self._steps = q - self._centres[self._queries.labels]
        ones = np.ones((len(k), 1), np.float32)
        self._values = np.concatenate([v, ones], axis=1)
        self._summed = np.concatenate([self._values, self._k], axis=1)
        self._columns = self._values.shape[1]
        self._keys_in_columns = np.ascontiguousarray(self._k.T)
        labels = self._keys.labels
        self._segments = (labels * self._blocks + self._keys.order // self._block).astype(np.intp)
        self._segment_starts = np.searchsorted(
            self._segments, np.arange(len(self._keys.sizes) * self._blocks + 1)
        )
        offsets = self._k - self._keys.means(self._k)[labels]
        from_mean = ((v - v.mean(axis=0)) ** 2).sum(axis=1)
        self._scores = np.sqrt((offsets**2).sum(axis=1) * (from_mean + from_mean.mean()))
        self._pilot_rows = self._draw_pilot(rng)
        pilot = np.concatenate(list(self._pilot_rows.values()))
        tasks: list[Callable[[], Any]] = [
            partial(self._exact, self._queries.order[pilot]),
            partial(self._prefixes, np.array(list(self._pilot_rows))),
            partial(self._own, self._queries.order[pilot]),
        ]
        self._pilot_exact, self._pilot_sums, self._pilot_own = run(tasks, workers)

    @staticmethod
    def planning_cost(heads: Sequence[Head]) -> float:
        """Predict what making this object takes (``fastpath.core.costs``)."""
        head = heads[0]
        rows = len(heads) * len(head.queries) + len(head.keys)
        columns = float(head.keys.shape[1] + head.values.shape[1])
        pilot = rows_cost(head, PILOT_CLUSTERS * PILOT_ROWS) / 2
        return CAUSAL_ROW * rows * max(1.0, columns / 64) + pilot

    @staticmethod
    def least_cost(heads: Sequence[Head]) -> float:
        """Predict what :meth:`output` takes without samples, before clusters are made."""
        head = heads[0]
        n_q, n_k = len(heads) * len(head.queries), len(head.keys)
        summed = int(CLUSTERS * sqrt(n_q)) * n_k + n_q * int(CLUSTERS * sqrt(n_k))
        own = CAUSAL_OWN * n_q * block_size(n_k) / 2 * pair_cost(head)
        return CAUSAL_SUMMED * summed + own

    def cost(self, sampled: float, repaired: float) -> float:
        """Predict what :meth:`output` takes with so many keys sampled a cluster."""
        head, n_q = self._heads[0], len(self._steps)
        n_k = len(head.keys)
        summed = len(self._centres) * n_k + n_q * len(self._keys.sizes)
        overhead = CAUSAL_SUMMED + (CAUSAL_SAMPLED if sampled else 0)
        pairs = n_q * (CAUSAL_PAIR * sampled + repaired * n_k + CAUSAL_OWN * self._block) / 2
        fetched = CAUSAL_FETCHED * len(self._centres) * sampled
        return summed * overhead + fetched + pairs * pair_cost(head)

    def pilot_cost(self, samples: int) -> float:
        """Predict what :meth:`pilot` takes."""
        head, clusters = self._heads[0], len(self._pilot_rows)
        pairs = sum(map(len, self._pilot_rows.values())) * CAUSAL_PAIR * samples / 2
        each = CAUSAL_SAMPLED * len(head.keys) + CAUSAL_FETCHED * samples
        return clusters * each + pairs * pair_cost(head)

    def _draw_pilot(self, rng: np.random.Generator) -> dict[int, NDArray[np.intp]]:
        """Return some rows of some clusters in the order of time: each row is as likely as any other."""
        labels = self._queries.labels[rng.integers(0, len(self._steps), PILOT_CLUSTERS)]
        return {
            int(a): np.sort(
                self._queries.starts[a]
                + rng.permutation(self._queries.sizes[a])[
                    : PILOT_ROWS * np.count_nonzero(labels == a)
                ]
            )
            for a in np.unique(labels)
        }

    def _exact(self, rows: NDArray[np.intp]) -> Matrix:
        """Return exact attention of some rows."""
        output = np.empty((len(rows), self._columns - 1), self._heads[0].dtype)
        for head, some in self._of_heads(rows):
            output[some] = exact_rows(head, rows[some] // len(self._heads)).output
        return output

    def _own(self, rows: NDArray[np.intp]) -> _Own:
        """Return attention of some rows over their own block."""
        output = np.empty((len(rows), self._columns - 1), self._heads[0].dtype)
        logarithms = np.empty(len(rows))
        for head, some in self._of_heads(rows):
            times = rows[some] // len(self._heads)
            output[some], logarithms[some] = own_block(head, times)
        return _Own(output=output, logarithms=logarithms)

    def _of_heads(self, rows: NDArray[np.intp]) -> Iterator[tuple[Head, NDArray[np.intp]]]:
        """Yield each head that some rows are of, and which are, in the order of time."""
        for index, head in enumerate(self._heads):
            some = np.flatnonzero(rows % len(self._heads) == index)
            if len(some):
                yield head, some[np.argsort(rows[some])]

    def _prefixes(self, some: NDArray[np.intp]) -> _Prefixes:
        """Take the sums of some query clusters."""
        blocks, starts = self._blocks, self._segment_starts
        weights = self._centres[some] @ self._keys_in_columns
        shifts = weights.max(axis=1)
        weights -= shifts[:, None]
        np.maximum(weights, -LARGEST_LOGIT, out=weights)
        np.exp(weights, out=weights)
        clusters = len(self._keys.sizes)
        # No row looks back upon the last block.
        sums = np.zeros(
            (max(1, blocks - 1), clusters, len(some), self._summed.shape[1]), np.float32
        )
        for segment in range(clusters * blocks):
            b, t = divmod(segment, blocks)
            keys = slice(starts[segment], starts[segment + 1])
            if t < blocks - 1 and keys.start < keys.stop:
                np.matmul(weights[:, keys], self._summed[keys], out=sums[t, b])
        for t in range(1, blocks - 1):
            sums[t] += sums[t - 1]
        # A cluster that no key has come to yet has no mean, and weighs nothing.
        count = sums[..., self._columns - 1 : self._columns]
        sums[..., self._columns :] /= np.maximum(count, np.float32(LIGHTEST_SUM))
        return _Prefixes(weights=weights, shifts=shifts, sums=sums)

    def pilot(self, samples: int, rng: np.random.Generator) -> Pilot:
        """Try some rows with as many samples at most a cluster."""
        outputs, predictions, sampled, first = [], [], [], 0
        longest = max(len(rows) for rows in self._pilot_rows.values())
        scratch = self._scratch(longest)
        for j, (a, rows) in enumerate(self._pilot_rows.items()):
            of_cluster = slice(first, first + len(rows))
            own = _Own(
                output=self._pilot_own.output[of_cluster],
                logarithms=self._pilot_own.logarithms[of_cluster],
            )
            output, predicted, count = self._cluster(
                rows, a, self._pilot_sums, j, samples, own, rng, scratch
            )
            outputs.append(output)
            predictions.append(predicted)
            sampled.append(count)
            first += len(rows)
        error = np.abs(np.concatenate(outputs) - self._pilot_exact).max(axis=1)
        return Pilot(
            errors=error, predicted=np.concatenate(predictions), sampled=float(np.mean(sampled))
        )

    def output(self, samples: int, repaired: float, rng: np.random.Generator) -> Matrix:
        """Return attention of all heads, a fraction of the rows exactly: those of largest predicted error."""
        v, order = self._heads[0].values, self._queries.order
        output = np.empty((len(order), v.shape[1]), v.dtype)
        predicted = np.empty(len(order), np.float32)
        own = self._own(np.arange(len(order)))

        def compute(some: NDArray[np.intp], source: np.random.Generator) -> None:
            prefixes = self._prefixes(some)
            scratch = self._scratch(int(self._queries.sizes[some].max()))
            for j, a in enumerate(some):
                rows = np.arange(self._queries.starts[a], self._queries.starts[a + 1])
                of_rows = _Own(
                    output=own.output[order[rows]], logarithms=own.logarithms[order[rows]]
                )
                output[order[rows]], predicted[rows], _ = self._cluster(
                    rows, int(a), prefixes, j, samples, of_rows, source, scratch
                )

        workers = worker_count(self._heads[0].workers)
        run(batches(compute, len(self._centres), TOGETHER, rng), workers)
        predicted[~np.isfinite(output[order]).all(axis=1)] = np.inf
        np.clip(output, v.min(axis=0), v.max(axis=0), out=output)
        exactly = max(int(repaired * len(order)), int(np.count_nonzero(np.isinf(predicted))))
        if exactly:
            worst = order[np.argsort(-predicted)[:exactly]]
            output[worst] = self._exact(worst)
        return output.reshape(-1, len(self._heads), v.shape[1]).swapaxes(0, 1)

    def _scratch(self, rows: int) -> _Scratch:
        return _Scratch(len(self._k), rows, len(self._keys.sizes))

    def _cluster(
        self,
        rows: NDArray[np.intp],
        a: int,
        over: _Prefixes,
        j: int,
        samples: int,
        own: _Own,
        rng: np.random.Generator,
        scratch: _Scratch,
    ) -> tuple[Matrix, Matrix, int]:
        """Return the output of rows of cluster a, their predicted errors, and the number of keys sampled.

        The error predicted is the standard deviation of the estimate, up to one factor for all rows: with
        residual logits of size |step| times the key's distance.
        """
        columns, times, steps = self._columns, self._times[rows], self._steps[rows]
        edges = np.searchsorted(times, np.arange(self._blocks + 1))
        # The rows of each block that has a past.
        parts = [
            (t, slice(edges[t], edges[t + 1]))
            for t in range(1, self._blocks)
            if edges[t] < edges[t + 1]
        ]
        factors = scratch.factors[: len(rows)]
        factors[: edges[1]] = 0
        for t, part in parts:
            np.matmul(steps[part], over.sums[t - 1, :, j, columns:].T, out=factors[part])
        np.minimum(factors, LARGEST_LOGIT, out=factors)
        np.exp(factors[edges[1] :], out=factors[edges[1] :])
        total = np.zeros((len(rows), columns), np.float32)
        for t, part in parts:
            np.matmul(factors[part], over.sums[t - 1, :, j, :columns], out=total[part])
        # What the own block weighs, relative to the shift of the past.
        offsets = own.logarithms - self._offsets[self._queries.order[rows]] - over.shifts[j]
        past = total[:, -1].astype(np.float64)
        predicted = np.sqrt((steps**2).sum(axis=1))
        drawn = 0
        if samples and parts:
            squares = scratch.squares[: len(rows)]
            np.divide(factors, (past + np.exp(np.minimum(offsets, 80.0)))[:, None], out=squares)
            squares *= squares
            drawn = self._correct(
                total, predicted, factors, squares, rows, a, over, j, samples, parts, rng, scratch
            )
        # Rows of the first block have no past.
        merged, later = own.output.copy(), slice(edges[1], None)
        sums = total[later].astype(np.float64)
        sums[~((sums[:, -1] >= LIGHTEST_PAST) & (sums[:, -1] < np.inf))] = np.nan
        share = 1 / (1 + np.exp(np.minimum(offsets[later] - np.log(sums[:, -1]), 700.0)))
        merged[later] += share[:, None] * (sums[:, :-1] / sums[:, -1:] - merged[later])
        predicted[later] *= share
        predicted[: edges[1]] = 0
        return merged, predicted, drawn

    def _correct(
        self,
        total: Matrix,
        predicted: Matrix,
        factors: Matrix,
        squares: Matrix,
        rows: NDArray[np.intp],
        a: int,
        over: _Prefixes,
        j: int,
        samples: int,
        parts: list[tuple[int, slice]],
        rng: np.random.Generator,
        scratch: _Scratch,
    ) -> int:
        """Add to the sums what a sample of keys says that clusters leave out, and return its size."""
        blocks, clusters = self._blocks, len(self._keys.sizes)
        # What a key of a cluster and a block weighs in all later rows, if as much as its mean.
        later = np.zeros((blocks, clusters), np.float32)
        for t, part in parts:
            later[t - 1] = squares[part].sum(axis=0)
        later = np.cumsum(later[::-1], axis=0)[::-1]
        typical = np.sqrt(np.ascontiguousarray(later.T))
        weights = over.weights[j]
        chosen, probabilities, scale = self._systematic_sample(
            weights, typical, samples, rng, scratch
        )
        if not len(chosen):
            return 0
        values = self._values.take(chosen, axis=0)
        values /= probabilities[:, None]
        labels, sampled_times = np.divmod(self._segments.take(chosen), blocks)
        # Sums of the sampled keys as if each were its cluster's mean: up to the end of each block.
        places = sampled_times * clusters + labels
        summed = np.zeros((blocks * clusters, self._columns), np.float32)
        firsts = np.flatnonzero(np.diff(places, prepend=-1))
        weighed = values * weights.take(chosen)[:, None]
        summed[places[firsts]] = np.add.reduceat(weighed, firsts, axis=0)
        rest = summed.reshape(blocks, clusters, -1)
        # A key that is sampled for certain leaves no error.
        uncertain = np.bincount(places[probabilities < 1], minlength=blocks * clusters)
        each = uncertain.reshape(blocks, clusters) / np.maximum(typical.T, LEAST_WEIGHT) ** 2
        for t in range(1, blocks):
            rest[t] += rest[t - 1]
            each[t] += each[t - 1]
        for t, part in parts:
            total[part] -= factors[part] @ rest[t - 1]
            predicted[part] *= np.sqrt(squares[part] @ each[t - 1]) / scale
        # Sampled keys in the order of time: each serves the rows of all later blocks.
        in_time = np.argsort(sampled_times, kind="stable")
        ends = np.searchsorted(sampled_times[in_time], np.arange(blocks + 1))
        k, values = self._k.take(chosen[in_time], axis=0), values[in_time]
        queries_in_columns = np.ascontiguousarray((self._steps[rows] + self._centres[a]).T)
        for t, part in zip(range(blocks), self._later(rows), strict=True):
            keys = slice(ends[t], ends[t + 1])
            if keys.start == keys.stop or part.start == len(rows):
                continue
            # Keys in rows: the product is twice as fast as with few queries in rows.
            tile = k[keys] @ queries_in_columns[:, part]
            tile -= over.shifts[j]
            np.minimum(tile, LARGEST_LOGIT, out=tile)
            np.exp(tile, out=tile)
            total[part] += tile.T @ values[keys]
        return len(chosen)

    def _later(self, rows: NDArray[np.intp]) -> list[slice]:
        """Return for each block which of some rows are in later ones."""
        starts = np.searchsorted(self._times[rows], np.arange(self._blocks), side="right")
        return [slice(start, len(rows)) for start in starts]

    def _systematic_sample(
        self,
        weights: Matrix,
        typical: Matrix,
        samples: int,
        rng: np.random.Generator,
        scratch: _Scratch,
    ) -> tuple[NDArray[np.intp], Matrix, float]:
        """Draw keys with probabilities min(1, scale score), and return these and the scale."""
        scores = np.multiply(weights, self._scores, out=scratch.by_key[0])
        scores *= np.take(typical.ravel(), self._segments, out=scratch.by_key[1], mode="clip")
        return systematic_sample(scores, samples, rng, scratch.cumulated)


def _narrowed(heads: Sequence[Head]) -> tuple[Matrix, Matrix]:
    """Return queries, and keys less their mean, in float32."""
    keys = heads[0].keys - heads[0].keys.mean(axis=0)
    q = _together([head.queries for head in heads])
    return q.astype(np.float32, copy=False), keys.astype(np.float32, copy=False)


def _together(rows: Sequence[Matrix]) -> Matrix:
    """Return the rows of several heads as one, those of one time side by side."""
    if len(rows) == 1:
        return rows[0]
    stacked = np.stack(rows, axis=1)
    together: Matrix = stacked.reshape(-1, *stacked.shape[2:])
    return together
