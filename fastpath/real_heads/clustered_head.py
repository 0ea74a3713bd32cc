"""Attention by clusters on both sides, corrected by a sample of the keys; it is certified elsewhere."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

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
from fastpath.core.inputs import Matrix
from fastpath.core.offers import Refusal
from fastpath.real_heads.balanced_clusters import Clusters, balancing
from fastpath.real_heads.exact_rows import exact_rows

#: Clusters on either side, in units of the square root of the number of rows.
CLUSTERS = 1.0

#: Query clusters whose sums over all keys are taken at once.
TOGETHER = 64

#: Sampled keys that are weighed at once.
SAMPLED_KEY_BLOCK = 512

#: Of how many clusters the pilot tries some rows, and how many.
PILOT_CLUSTERS, PILOT_ROWS = 32, 16

#: Logits are kept this far from where exp overflows or underflows.
LARGEST_LOGIT = 60.0


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """Some rows by clusters: their errors, those predicted, and how many keys a cluster sampled."""

    errors: NDArray[np.float64]
    predicted: Matrix
    sampled: float


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
    r"""A head in balanced coordinates, clustered on both sides.

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
        Not causal.
    coordinates : pair of (d, d) arrays
        Those of :func:`balancing`, for queries and for keys less their mean.
    rng : numpy.random.Generator
        Draws the samples from which clusters are made, and the pilot's rows.
    """

    @classmethod
    def planned(cls, head: Head, rng: np.random.Generator) -> "ClusteredHead | Refusal":
        """Cluster a head, or say why that cannot be."""
        q, k = _narrowed(head)
        coordinates = balancing(q, k, rng)
        if coordinates is None:
            return Refusal(reason="there is no covariance to balance")
        return cls(head, coordinates, rng)

    def __init__(
        self, head: Head, coordinates: tuple[Matrix, Matrix], rng: np.random.Generator
    ) -> None:
        self._head = head
        q, k = _narrowed(head)
        v = head.values.astype(np.float32, copy=False)
        M, N = (x.astype(np.float32) for x in coordinates)
        q, k = q @ M, k @ N
        self._queries = Clusters.of(q, int(CLUSTERS * sqrt(len(q))), rng)
        self._keys = Clusters.of(k, int(CLUSTERS * sqrt(len(k))), rng)
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
        # Fresh arrays cost ten times as much as what is computed in them.
        self._tile = np.empty((SAMPLED_KEY_BLOCK, self._queries.sizes.max()), np.float32)
        self._scratch = np.empty((2, len(k)), np.float32)
        self._cumulated = np.empty(len(k))
        self._pilot_rows = self._draw_pilot(rng)
        pilot = self._queries.order[np.concatenate(list(self._pilot_rows.values()))]
        self._pilot_exact = exact_rows(head, pilot).output
        self._pilot_sums = self._sums(np.array(list(self._pilot_rows)))

    @staticmethod
    def planning_cost(head: Head) -> float:
        """Predict what making this object takes (``fastpath.core.costs``)."""
        rows = len(head.queries) + len(head.keys)
        return CLUSTERS_ROW * rows + rows_cost(head, PILOT_CLUSTERS * PILOT_ROWS)

    @staticmethod
    def least_cost(head: Head) -> float:
        """Predict what :meth:`output` takes without samples, before clusters are made."""
        n_q, n_k = len(head.queries), len(head.keys)
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

    def _draw_pilot(self, rng: np.random.Generator) -> dict[int, NDArray[np.intp]]:
        """Return some rows of some clusters, each row equally likely to be among them."""
        labels = self._queries.labels[rng.integers(0, len(self._steps), PILOT_CLUSTERS)]
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
        outputs, predictions, sampled = [], [], []
        for j, (a, rows) in enumerate(self._pilot_rows.items()):
            output, predicted, count = self._cluster(rows, a, self._pilot_sums, j, samples, rng)
            outputs.append(output)
            predictions.append(predicted)
            sampled.append(count)
        error = np.abs(np.concatenate(outputs) - self._pilot_exact).max(axis=1)
        return Pilot(
            errors=error, predicted=np.concatenate(predictions), sampled=float(np.mean(sampled))
        )

    def output(self, samples: int, repaired: float, rng: np.random.Generator) -> Matrix:
        """Return attention by clusters, a fraction of the rows exactly: those of largest predicted error."""
        v, order = self._head.values, self._queries.order
        output = np.empty((len(order), v.shape[1]), v.dtype)
        predicted = np.empty(len(order), np.float32)
        for first in range(0, len(self._centres), TOGETHER):
            some = np.arange(first, min(first + TOGETHER, len(self._centres)))
            sums = self._sums(some)
            for j, a in enumerate(some):
                rows = np.arange(self._queries.starts[a], self._queries.starts[a + 1])
                output[order[rows]], predicted[rows], _ = self._cluster(
                    rows, int(a), sums, j, samples, rng
                )
        predicted[~np.isfinite(output[order]).all(axis=1)] = np.inf
        np.clip(output, v.min(axis=0), v.max(axis=0), out=output)
        exactly = max(int(repaired * len(order)), int(np.count_nonzero(np.isinf(predicted))))
        if exactly:
            worst = order[np.argsort(-predicted)[:exactly]]
            output[worst] = exact_rows(self._head, worst).output
        return output

    def _cluster(
        self,
        rows: NDArray[np.intp],
        a: int,
        over: _Sums,
        j: int,
        samples: int,
        rng: np.random.Generator,
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
            chosen, probabilities, scale = self._systematic_sample(weights, typical, samples, rng)
        if len(chosen):
            # Where many rows are picked, take is four times as fast as indexing.
            values = self._values.take(chosen, axis=0)
            values /= probabilities[:, None]
            total = self._sampled_sums(steps + self._centres[a], over.shifts[j], chosen, values)
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
        self, q: Matrix, shift: np.float32, chosen: NDArray[np.intp], values: Matrix
    ) -> Matrix:
        """Return sum_j e^(q . k_j - shift) values_j over the chosen keys."""
        queries_in_columns = np.ascontiguousarray(q.T)
        sums = np.zeros((len(q), values.shape[1]), np.float32)
        for first in range(0, len(chosen), SAMPLED_KEY_BLOCK):
            keys = chosen[first : first + SAMPLED_KEY_BLOCK]
            # Keys in rows: the product is twice as fast as with few queries in rows.
            tile = self._tile[: len(keys), : len(q)]
            np.matmul(self._k.take(keys, axis=0), queries_in_columns, out=tile)
            tile -= shift
            np.minimum(tile, LARGEST_LOGIT, out=tile)
            np.exp(tile, out=tile)
            sums += tile.T @ values[first : first + SAMPLED_KEY_BLOCK]
        return sums

    def _systematic_sample(
        self, weights: Matrix, typical: Matrix, samples: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.intp], Matrix, float]:
        """Draw keys with probabilities min(1, scale score), and return these and the scale.

        One random number, then every whole step of the sums of probabilities: keys of a cluster stand side
        by side, so that the sample is spread over the clusters.  Where all scores are zero, or an overflow
        left none, no key is drawn.
        """
        probabilities, by_key = self._scratch
        np.multiply(weights, self._scores, out=probabilities)
        probabilities *= np.take(typical, self._labels, out=by_key, mode="clip")
        total = float(probabilities.sum())
        if not 0 < total < np.inf:
            return np.empty(0, np.intp), np.empty(0, np.float32), 1.0
        # Where what is left to sample is next to nothing, a float32 would not hold the scale.
        scale = min(samples / total, LARGEST_SCALE)
        probabilities *= np.float32(scale)
        np.minimum(probabilities, 1, out=probabilities)
        np.cumsum(probabilities, dtype=np.float64, out=self._cumulated)
        at = np.arange(rng.random(), self._cumulated[-1], 1.0)
        chosen = np.searchsorted(self._cumulated, at, side="right")
        return chosen, probabilities.take(chosen), scale


def _narrowed(head: Head) -> tuple[Matrix, Matrix]:
    """Return queries, and keys less their mean, in float32."""
    keys = head.keys - head.keys.mean(axis=0)
    return head.queries.astype(np.float32, copy=False), keys.astype(np.float32, copy=False)
