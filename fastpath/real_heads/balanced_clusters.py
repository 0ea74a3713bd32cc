"""Balanced coordinates and clusters of rows: what makes the residual logits of a real head small.

Nothing here is certified: a bad choice costs time or accuracy, and what is returned in the end is certified.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fastpath.core.cores import run
from fastpath.core.inputs import Matrix

#: Rows from which covariances are estimated, and rows a cluster from which centres are.
COVARIANCE_ROWS, ROWS_A_CENTRE = 4096, 8

#: Rows whose nearest centres are found at once: tiles stay in the cache, and of 8192 rows, which do not, it
#: takes three times as long.
ROWS_AT_ONCE = 1024

#: Rounds of Lloyd's iteration: a third changes the residual logits of real heads by 1 %.
ROUNDS = 2

#: What is added to a covariance, relative to its trace, so that it has a Cholesky factor.
RIDGE = 1e-9


def balancing(q: Matrix, k: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix] | None:
    r"""Return M and N with M Nᵀ = I, so that q M and k N have equal diagonal covariances.

    With covariances :math:`L_q L_q^\top` and :math:`L_k L_k^\top` and :math:`L_q^\top L_k = U s W^\top`,
    :math:`M = L_q^{-\top} U s^{1/2}` and :math:`N = M^{-\top} = L_k^{-\top} W s^{1/2}` (R.balance).

    None where a covariance has no Cholesky factor, as that of one row.
    """
    if min(len(q), len(k)) == 1:
        return None
    try:
        for_queries, for_keys = (_covariance_factor(x, rng) for x in (q, k))
        left, singular, right = np.linalg.svd(for_queries.T @ for_keys)
        root = np.sqrt(singular)
        M = np.linalg.solve(for_queries.T, left) * root
        N = np.linalg.solve(for_keys.T, right.T) * root
    except np.linalg.LinAlgError:
        return None
    return M, N


def _covariance_factor(x: Matrix, rng: np.random.Generator) -> Matrix:
    sample = x if len(x) <= COVARIANCE_ROWS else x[rng.integers(0, len(x), COVARIANCE_ROWS)]
    covariance = np.atleast_2d(np.cov(sample.T, dtype=np.float64))
    covariance = covariance + RIDGE * np.trace(covariance) * np.eye(len(covariance))
    return np.linalg.cholesky(covariance)


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Rows sorted by cluster: cluster b has the rows ``order[starts[b]:starts[b + 1]]``, at least one."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """The number of rows of each cluster."""
        return np.diff(self.starts)

    @property
    def labels(self) -> NDArray[np.intp]:
        """The cluster of each row, rows in the clusters' order."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def rows(self, cluster: int) -> slice:
        """Return where the rows of a cluster are in the clusters' order."""
        return slice(self.starts[cluster], self.starts[cluster + 1])

    def means(self, in_order: Matrix) -> Matrix:
        """Return the mean of each cluster, of rows in the clusters' order."""
        sums = np.add.reduceat(in_order, self.starts[:-1], axis=0)
        means: Matrix = sums / self.sizes[:, None].astype(in_order.dtype)
        return means

    @classmethod
    def of(cls, x: Matrix, count: int, rng: np.random.Generator, workers: int = 1) -> "Clusters":
        """Cluster rows by Lloyd's iteration on a sample; empty clusters are left out."""
        sample = x[rng.permutation(len(x))[: max(count * ROWS_A_CENTRE, COVARIANCE_ROWS)]]
        centres = sample[:count]
        for _ in range(ROUNDS):
            clusters = cls._sorted(_nearest(sample, centres, workers))
            centres = clusters.means(sample[clusters.order])
        return cls._sorted(_nearest(x, centres, workers))

    @classmethod
    def _sorted(cls, labels: NDArray[np.intp]) -> "Clusters":
        sizes = np.bincount(labels)
        starts = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
        return cls(order=np.argsort(labels, kind="stable"), starts=starts)


def _nearest(x: Matrix, centres: Matrix, workers: int) -> NDArray[np.intp]:
    half_squares = (centres * centres).sum(axis=1) / 2

    def label(start: int) -> NDArray[np.intp]:
        products = x[start : start + ROWS_AT_ONCE] @ centres.T
        products -= half_squares
        labels: NDArray[np.intp] = products.argmax(axis=1)
        return labels

    tasks = [partial(label, start) for start in range(0, len(x), ROWS_AT_ONCE)]
    return np.concatenate(run(tasks, workers))
