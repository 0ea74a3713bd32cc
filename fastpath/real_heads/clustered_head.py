"""Attention by clusters on both sides, corrected by a sample of the keys; it is certified elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from math import sqrt
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastpath.core.cores import run, worker_count
from fastpath.core.costs import (
    CLUSTERS_FETCHED,
    CLUSTERS_PAIR,
    CLUSTERS_ROW,
    CLUSTERS_SAMPLED,
    CLUSTERS_SUMMED,
    pair_cost,
    rows_cost,
)
from fastpath.core.head import Head
from fastpath.core.inputs import Matrix, source
from fastpath.core.offers import Refusal
from fastpath.real_heads.balanced_clusters import Clusters, balancing
from fastpath.real_heads.exact_rows import exact_rows
from fastpath.real_heads.pilot import PILOT_ROWS as PILOT_COUNT
from fastpath.real_heads.pilot import Pilot, pilot_rows

Answer = TypeVar("Answer")

#: Clusters on either side, in units of the square root of the number of rows.
CLUSTERS = 1.0

#: Query clusters whose sums over all keys are taken at once.
TOGETHER = 64

#: Sampled keys that are weighed at once.
SAMPLED_KEY_BLOCK = 512

#: Of how many clusters the pilot tries some rows at most, and how many.
PILOT_CLUSTERS = 32
PILOT_ROWS = PILOT_COUNT // PILOT_CLUSTERS

#: Of these, how many a thread takes at once.
PILOT_TOGETHER = 8

#: Rows with the largest predicted errors, which may be computed exactly in the end.
REPAIRED = 0.02

#: Logits are kept this far from where exp overflows or underflows.
LARGEST_LOGIT = 60.0


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Sums over each key cluster with the weights of some query clusters: (key, query clusters, columns).

    ``weights`` are e^(centre . k_j - shift); ``sums`` those of (v_j, 1), ``means`` the weighted means of the
    keys.
    """

    weights: Matrix
    shifts: Matrix
    sums: Matrix
    means: Matrix


#: A scale of probabilities that float32 holds.
LARGEST_SCALE = float(np.finfo(np.float32).max)


class ClusteredHead:
    r"""Heads that share keys and values, in balanced coordinates, clustered on both sides.

    For a query :math:`q = q_a + \delta` of cluster a, with :math:`w_j = e^{q_a \cdot k_j}`, a key cluster b
    counts as one key at its weighted mean :math:`\mu_b` (R.expansion, order 0).  What that leaves out is
    estimated, without bias, from keys sampled with probabilities :math:`\pi_j`:

    .. math:: \sum_b e^{\delta \cdot \mu_b} \sum_{j \in b} w_j v_j
              + \sum_{j \text{ sampled}} \frac{w_j v_j}{\pi_j} (e^{\delta \cdot k_j} - e^{\delta \cdot \mu_b})

    and likewise the denominator.  :math:`\pi_j` is proportional to the key's weight for the cluster's
    queries, its distance from the mean and the size of its value, and at most 1: the keys that matter most
    are taken exactly.

    Everything is computed in float32, since what vouches for it is computed apart.

    Parameters
    ----------
    head : Head
        Not causal; with the queries of all heads, one head after the other.
    count : int
        Of how many heads.
    coordinates : pair of (d, d) arrays
        Those of :func:`balancing`, for queries and for keys less their mean.
    rng : numpy.random.Generator
        Draws the samples from which clusters are made, and the pilot's rows.
    """

    #: The fewest keys that are sampled, and which fractions of rows may be repaired.
    fewest, repairs = 0, (0.0, REPAIRED)

    @classmethod
    def planned(cls, heads: Sequence[Head], rng: np.random.Generator) -> "ClusteredHead | Refusal":
        """Cluster heads that share keys and values, or say why that cannot be."""
        head = _stacked(heads)
        q, k = _narrowed(head)
        coordinates = balancing(q, k, rng)
        if coordinates is None:
            return Refusal(reason="there is no covariance to balance")
        return cls(head, len(heads), coordinates, rng)

    def __init__(
        self,
        head: Head,
        count: int,
        coordinates: tuple[Matrix, Matrix],
        rng: np.random.Generator,
    ) -> None:
        self._head, self._count = head, count
        q, k = _narrowed(head)
        v = head.values.astype(np.float32, copy=False)
        M, N = (x.astype(np.float32) for x in coordinates)
        q, k = q @ M, k @ N
        workers = worker_count(head.workers)
        self._queries = Clusters.of(q, int(CLUSTERS * sqrt(len(q))), rng, workers)
        self._keys = Clusters.of(k, int(CLUSTERS * sqrt(len(k))), rng, workers)
        q, self._k, v = q[self._queries.order], k[self._keys.order], v[self._keys.order]
        self._centres = self._queries.means(q)
        self._steps = q - self._centres[self._queries.labels]
        # Numerator and denominator in one product.
        self._values = np.concatenate([v, np.ones((len(k), 1), np.float32)], axis=1)
        self._keys_in_columns = np.ascontiguousarray(self._k.T)
        self._labels = self._keys.labels
        offsets = self._k - self._keys.means(self._k)[self._labels]
        from_mean = ((v - v.mean(axis=0)) ** 2).sum(axis=1)
        self._scores = np.sqrt((offsets**2).sum(axis=1) * (from_mean + from_mean.mean()))
        self._pilot_rows = self._draw_pilot(rng)
        pilot = self._queries.order[np.concatenate(list(self._pilot_rows.values()))]
        tasks: list[Callable[[], Any]] = [
            partial(exact_rows, head, pilot),
            partial(self._sums, np.array(list(self._pilot_rows))),
        ]
        exact, self._pilot_sums = run(tasks, workers)
        #: The pilot's rows, and their exact attention.
        self.known = pilot, exact
        self._pilot_exact = exact.output

    @staticmethod
    def planning_cost(heads: Sequence[Head]) -> float:
        """Predict what making this object takes (``fastpath.core.costs``)."""
        queries = len(heads) * len(heads[0].queries)
        pilot = rows_cost(heads[0], pilot_rows(queries))
        return CLUSTERS_ROW * (queries + len(heads[0].keys)) + pilot

    @staticmethod
    def least_cost(heads: Sequence[Head]) -> float:
        """Predict what :meth:`output` takes without samples, before clusters are made."""
        n_q, n_k = len(heads) * len(heads[0].queries), len(heads[0].keys)
        summed = int(CLUSTERS * sqrt(n_q)) * n_k + n_q * int(CLUSTERS * sqrt(n_k))
        return CLUSTERS_SUMMED * summed

    def cost(self, sampled: float, repaired: float) -> float:
        """Predict what :meth:`output` takes with so many keys sampled a cluster."""
        n_q, n_k = len(self._head.queries), len(self._head.keys)
        summed = len(self._centres) * n_k + n_q * len(self._keys.sizes)
        overhead = CLUSTERS_SUMMED + (CLUSTERS_SAMPLED if sampled else 0)
        pairs = n_q * (CLUSTERS_PAIR * sampled + repaired * n_k)
        fetched = CLUSTERS_FETCHED * len(self._centres) * sampled
        return summed * overhead + fetched + pairs * pair_cost(self._head)

    def pilot_cost(self, samples: int) -> float:
        """Predict what :meth:`pilot` takes."""
        clusters, n_k = len(self._pilot_rows), len(self._head.keys)
        pairs = sum(map(len, self._pilot_rows.values())) * CLUSTERS_PAIR * samples
        each = CLUSTERS_SAMPLED * n_k + CLUSTERS_FETCHED * samples
        return clusters * each + pairs * pair_cost(self._head)

    def _draw_pilot(self, rng: np.random.Generator) -> dict[int, NDArray[np.intp]]:
        """Return some rows of some clusters, each row equally likely to be among them."""
        clusters = pilot_rows(len(self._steps)) // PILOT_ROWS
        labels = self._queries.labels[rng.integers(0, len(self._steps), clusters)]
        return {
            int(a): self._queries.starts[a]
            + rng.permutation(self._queries.sizes[a])[: PILOT_ROWS * np.count_nonzero(labels == a)]
            for a in np.unique(labels)
        }

    def _sums(self, some: NDArray[np.intp]) -> _Sums:
        """Take the sums of some query clusters."""
        starts, columns = self._keys.starts, self._values.shape[1]
        weights = self._centres[some] @ self._keys_in_columns
        shifts = weights.max(axis=1)
        weights -= shifts[:, None]
        np.maximum(weights, -LARGEST_LOGIT, out=weights)
        np.exp(weights, out=weights)
        shape = len(starts) - 1, len(some)
        sums = np.empty((*shape, columns), np.float32)
        means = np.empty((*shape, self._k.shape[1]), np.float32)
        for b in range(len(starts) - 1):
            keys = self._keys.rows(b)
            np.matmul(weights[:, keys], self._values[keys], out=sums[b])
            np.matmul(weights[:, keys], self._k[keys], out=means[b])
        means /= sums[..., -1:]
        return _Sums(weights=weights, shifts=shifts, sums=sums, means=means)

    def pilot(self, samples: int, rng: np.random.Generator) -> Pilot:
        """Try some rows with as many samples at most a cluster."""
        rows = list(self._pilot_rows.items())

        def compute(
            some: NDArray[np.intp], own: np.random.Generator
        ) -> list[tuple[Matrix, Matrix, int]]:
            scratch = self._scratch()
            return [
                self._cluster(rows[j][1], rows[j][0], self._pilot_sums, j, samples, own, scratch)
                for j in some
            ]

        tasks = batches(compute, len(rows), PILOT_TOGETHER, rng)
        found = chain.from_iterable(run(tasks, worker_count(self._head.workers)))
        outputs, predictions, sampled = zip(*found, strict=True)
        error = np.abs(np.concatenate(outputs) - self._pilot_exact).max(axis=1)
        return Pilot(
            errors=error, predicted=np.concatenate(predictions), sampled=float(np.mean(sampled))
        )

    def output(self, samples: int, repaired: float, rng: np.random.Generator) -> Matrix:
        """Return attention of all heads, a fraction of the rows exactly: those of largest predicted error."""
        v, order = self._head.values, self._queries.order
        output = np.empty((len(order), v.shape[1]), v.dtype)
        predicted = np.empty(len(order), np.float32)

        def compute(some: NDArray[np.intp], source: np.random.Generator) -> None:
            sums, scratch = self._sums(some), self._scratch()
            for j, a in enumerate(some):
                rows = np.arange(self._queries.starts[a], self._queries.starts[a + 1])
                output[order[rows]], predicted[rows], _ = self._cluster(
                    rows, int(a), sums, j, samples, source, scratch
                )

        run(batches(compute, len(self._centres), TOGETHER, rng), worker_count(self._head.workers))
        predicted[~np.isfinite(output[order]).all(axis=1)] = np.inf
        np.clip(output, v.min(axis=0), v.max(axis=0), out=output)
        exactly = max(int(repaired * len(order)), int(np.count_nonzero(np.isinf(predicted))))
        if exactly:
            worst = order[np.argsort(-predicted)[:exactly]]
            output[worst] = exact_rows(self._head, worst).output
        return output.reshape(self._count, -1, v.shape[1])

    def _cluster(
        self,
        rows: NDArray[np.intp],
        a: int,
        over: _Sums,
        j: int,
        samples: int,
        rng: np.random.Generator,
        scratch: "_Scratch",
    ) -> tuple[Matrix, Matrix, int]:
        """Return the output of rows of cluster a, their predicted errors, and the number of keys sampled.

        The error predicted is the standard deviation of the estimate, up to one factor for all rows: with
        residual logits of size |step| times the key's distance.
        """
        steps, sums, weights = self._steps[rows], over.sums[:, j], over.weights[j]
        factors = np.minimum(steps @ over.means[:, j].T, LARGEST_LOGIT)
        np.exp(factors, out=factors)
        total = factors @ sums
        predicted = np.sqrt((steps**2).sum(axis=1))
        chosen = np.empty(0, np.intp)
        if samples:
            shares = factors / total[:, -1:]
            typical = np.sqrt((shares**2).mean(axis=0))
            chosen, probabilities, scale = self._systematic_sample(
                weights, typical, samples, rng, scratch
            )
        if len(chosen):
            # Where many rows are picked, take is four times as fast as indexing.
            values = self._values.take(chosen, axis=0)
            values /= probabilities[:, None]
            total = self._sampled_sums(
                steps + self._centres[a], over.shifts[j], chosen, values, scratch
            )
            values *= weights.take(chosen)[:, None]
            clusters, firsts = np.unique(self._labels.take(chosen), return_index=True)
            rest = sums.copy()
            rest[clusters] -= np.add.reduceat(values, firsts, axis=0)
            total += factors @ rest
            # A key that is sampled for certain leaves no error; another stands for 1 / scale in its cluster.
            uncertain = np.add.reduceat((probabilities < 1).astype(np.float32), firsts)
            shares = shares[:, clusters] / typical[clusters]
            predicted *= np.sqrt(shares**2 @ uncertain / scale)
        # A denominator that overflows would make zeros, which nobody repairs.
        total[~np.isfinite(total[:, -1]), -1] = np.nan
        return total[:, :-1] / total[:, -1:], predicted, len(chosen)

    def _sampled_sums(
        self,
        q: Matrix,
        shift: np.float32,
        chosen: NDArray[np.intp],
        values: Matrix,
        scratch: "_Scratch",
    ) -> Matrix:
        """Return sum_j e^(q . k_j - shift) values_j over the chosen keys."""
        queries_in_columns = np.ascontiguousarray(q.T)
        sums = np.zeros((len(q), values.shape[1]), np.float32)
        for first in range(0, len(chosen), SAMPLED_KEY_BLOCK):
            keys = chosen[first : first + SAMPLED_KEY_BLOCK]
            # Keys in rows: the product is twice as fast as with few queries in rows.
            tile = scratch.tile[: len(keys), : len(q)]
            np.matmul(self._k.take(keys, axis=0), queries_in_columns, out=tile)
            tile -= shift
            np.minimum(tile, LARGEST_LOGIT, out=tile)
            np.exp(tile, out=tile)
            sums += tile.T @ values[first : first + SAMPLED_KEY_BLOCK]
        return sums

    def _systematic_sample(
        self,
        weights: Matrix,
        typical: Matrix,
        samples: int,
        rng: np.random.Generator,
        scratch: "_Scratch",
    ) -> tuple[NDArray[np.intp], Matrix, float]:
        """Draw keys with probabilities min(1, scale score), and return these and the scale.

        One random number, then every whole step of the sums of probabilities: keys of a cluster stand side
        by side, so that the sample is spread over the clusters.  Where all scores are zero, or an overflow
        left none, no key is drawn.
        """
        probabilities = np.multiply(weights, self._scores, out=scratch.by_key[0])
        probabilities *= np.take(typical, self._labels, out=scratch.by_key[1], mode="clip")
        return systematic_sample(probabilities, samples, rng, scratch.cumulated)

    def _scratch(self) -> "_Scratch":
        return _Scratch(len(self._k), int(self._queries.sizes.max()))


class _Scratch:
    """Arrays that one thread works in: fresh ones cost ten times as much as what is computed in them."""

    def __init__(self, keys: int, rows: int) -> None:
        self.tile = np.empty((SAMPLED_KEY_BLOCK, rows), np.float32)
        self.by_key = np.empty((2, keys), np.float32)
        self.cumulated = np.empty(keys)


def systematic_sample(
    scores: Matrix, samples: int, rng: np.random.Generator, cumulated: NDArray[np.float64]
) -> tuple[NDArray[np.intp], Matrix, float]:
    """Draw keys with probabilities min(1, scale score), which replace the scores; return these and the scale.

    One random number, then every whole step of the sums of probabilities: keys of a cluster stand side
    by side, so that the sample is spread over the clusters.  Where all scores are zero, or an overflow
    left none, no key is drawn.
    """
    total = float(scores.sum())
    if not 0 < total < np.inf:
        return np.empty(0, np.intp), np.empty(0, np.float32), 1.0
    # Where what is left to sample is next to nothing, a float32 would not hold the scale.
    scale = min(samples / total, LARGEST_SCALE)
    scores *= np.float32(scale)
    np.minimum(scores, 1, out=scores)
    np.cumsum(scores, dtype=np.float64, out=cumulated)
    at = np.arange(rng.random(), cumulated[-1], 1.0)
    chosen = np.searchsorted(cumulated, at, side="right")
    return chosen, scores.take(chosen), scale


def batches(
    compute: Callable[[NDArray[np.intp], np.random.Generator], Answer],
    clusters: int,
    together: int,
    rng: np.random.Generator,
) -> list[Callable[[], Answer]]:
    """Return a task for each batch of clusters, with a source of its own: their order does not matter."""
    firsts = range(0, clusters, together)
    return [
        partial(compute, np.arange(first, min(first + together, clusters)), source(rng))
        for first in firsts
    ]


def _stacked(heads: Sequence[Head]) -> Head:
    """Return heads that share keys and values as one, with the queries of all."""
    if len(heads) == 1:
        return heads[0]
    return replace(heads[0], queries=np.concatenate([head.queries for head in heads]))


def _narrowed(head: Head) -> tuple[Matrix, Matrix]:
    """Return queries, and keys less their mean, in float32."""
    keys = head.keys - head.keys.mean(axis=0)
    return head.queries.astype(np.float32, copy=False), keys.astype(np.float32, copy=False)
