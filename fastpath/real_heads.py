"""Attention on real heads, whose logits no polynomial reaches: fast, and certified afterwards."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.attention import attention
from fastpath.certified import Certified
from fastpath.certify import certify
from fastpath.clusters import Clusters, balance
from fastpath.inputs import Matrix, attention_inputs, generator, open_unit
from fastpath.polynomial import ExpansionError, polynomial_attention

#: Clusters on either side, in units of the square root of the number of rows.
CLUSTERS = 1.5

#: Query clusters whose sums over all keys are taken at once.
TOGETHER = 64

#: The keys that are taken exactly for each query cluster, fewest first; the pilot picks one.
NEAR_KEYS = (512, 1024, 2048, 4096, 6144, 8192, 12288, 16384)

#: Rows with the largest predicted errors, which are computed exactly in the end.
REPAIRED = 0.02

#: Rows that the pilot tries, and the fraction of the tolerance that all but the repaired must meet.
PILOT_ROWS, PILOT_ROOM = 512, 0.8

#: Logits are kept this far from where exp overflows or underflows.
LARGEST_LOGIT = 60.0

#: Multiply-adds that take as long as one exponential, float32 and float64 alike within a factor of 2.
EXPONENTIAL = 24

#: The most that a way other than exact attention may take, of what exact attention takes.
WORTHWHILE = 0.7


@dataclass(frozen=True)
class CertifiedHead(Certified):
    """Attention with a certificate, and the way it came about.

    Attributes
    ----------
    uncovered : float
        The fraction of rows that may err by more than ``error_bound``; 0 where it holds for all.
    failure_probability : float
        The probability that more than that fraction do; 0 where it is certain.
    method : str
        ``"exact"``, ``"polynomial"`` or ``"clusters"``.
    reason : str
        Why that method, in a sentence.
    """

    uncovered: float
    failure_probability: float
    method: str
    reason: str


def certified_attention(
    Q: ArrayLike,
    K: ArrayLike,
    V: ArrayLike,
    *,
    tolerance: float,
    rows: str = "all",
    uncovered: float = 0.01,
    failure_probability: float = 1e-9,
    causal: bool = False,
    rng: np.random.Generator | None = None,
) -> CertifiedHead:
    r"""Compute attention to a tolerance on any head, by the fastest way that certifies it.

    ``rows="all"`` bounds the error of every row for certain: by a polynomial where one is affordable,
    else by exact attention.

    ``rows="quantile"`` bounds that of all but a fraction of the rows, with a probability.  Queries and
    keys are clustered in balanced coordinates.  With :math:`w_j = e^{q_a \cdot k_j}` for a query cluster's
    mean :math:`q_a`, a key cluster b counts as one key at its weighted mean :math:`\mu_b`:

    .. math:: D_i = \sum_b e^{(q_i - q_a) \cdot \mu_b} \sum_{j \in b} w_j

    and likewise the numerator (R.jensen, R.expansion); the keys of the clusters that matter most are
    taken one by one.  The rows with the largest predicted errors are then computed exactly, and
    :func:`fastpath.certify` has the last word on rows drawn afresh.

    Parameters
    ----------
    Q : array_like, shape (n_q, d)
        Queries: float32, float64 or integers (taken as float64); mixed types are promoted.
    K : array_like, shape (n_k, d)
        Keys.
    V : array_like, shape (n_k, d_v)
        Values.
    tolerance : float
        The largest error that the certificate may show, relative to the largest ``|V|``; in (0, 1).
    rows : {"all", "quantile"}
        Of which rows.
    uncovered, failure_probability : float
        As for :func:`fastpath.certify`; used with ``rows="quantile"``.
    causal : bool
        Whether query i sees only the keys j <= i; needs n_q = n_k.
    rng : numpy.random.Generator, optional
        Needed with ``rows="quantile"``.

    Returns
    -------
    CertifiedHead
        ``error_bound`` is at most ``tolerance`` times the largest ``|V|`` unless ``method`` is
        ``"exact"``, whose error is that of rounding.

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed, as :func:`fastpath.attention` and :func:`fastpath.certify` say.

    Notes
    -----
    Cost of clusters: 1.5 (sqrt(n_q) n_k + n_q sqrt(n_k)) (2 d + d_v) multiply-adds, the near keys of
    every row, 2 % of the rows exactly, and a certificate.  Where that is predicted to exceed 0.7 of exact
    attention, or no choice of near keys is certified, exact attention is computed instead.

    A pilot on 512 rows picks the near keys.  Its rows certify nothing; each certificate draws its own, and
    each spends half of the failure probability that is left.

    Claims: R.certify alone vouches for clusters; R.balance, R.jensen and R.expansion say what they do.
    """
    q, k, v = attention_inputs(Q, K, V, causal=causal)
    tolerance = open_unit("tolerance", tolerance)
    uncovered = open_unit("uncovered", uncovered)
    failure_probability = open_unit("failure_probability", failure_probability)
    if rows == "all":
        return _every_row(q, k, v, tolerance, causal)
    if rows != "quantile":
        raise ValueError(f"rows must be 'all' or 'quantile', got {rows!r}.")
    rng = generator(rng)
    if causal:
        return _exact(q, k, v, causal, "the clusters of keys do not know the causal mask")
    return _by_clusters(q, k, v, tolerance, uncovered, failure_probability, rng)


def _exact(q: Matrix, k: Matrix, v: Matrix, causal: bool, reason: str) -> CertifiedHead:
    exact = attention(q, k, v, causal=causal)
    return CertifiedHead(
        exact.output, exact.error_bound, exact.claims, 0.0, 0.0, "exact", f"{reason}."
    )


def _every_row(q: Matrix, k: Matrix, v: Matrix, tolerance: float, causal: bool) -> CertifiedHead:
    try:
        found = polynomial_attention(q, k, v, tolerance=tolerance, causal=causal)
    except ExpansionError as refusal:
        return _exact(q, k, v, causal, str(refusal))
    reason = f"a polynomial with {found.expansion.features} features certifies the tolerance."
    return CertifiedHead(
        found.output, found.error_bound, found.claims, 0.0, 0.0, "polynomial", reason
    )


def _by_clusters(
    q: Matrix,
    k: Matrix,
    v: Matrix,
    tolerance: float,
    uncovered: float,
    failure_probability: float,
    rng: np.random.Generator,
) -> CertifiedHead:
    """Return attention by clusters, certified, or exactly and why."""
    if _relative_cost(q, k, v, NEAR_KEYS[0]) > WORTHWHILE:
        reason = f"clusters do not pay with {len(q)} queries and {len(k)} keys"
        return _exact(q, k, v, False, reason)
    allowed = tolerance * float(np.abs(v).max())
    chance = failure_probability
    # What overflows is repaired.
    with np.errstate(all="ignore"):
        try:
            head = _ClusteredHead(q, k, v, rng)
        except np.linalg.LinAlgError:
            reason = "the queries or the keys have no covariance to balance"
            return _exact(q, k, v, False, reason)
        pilot = rng.integers(0, len(q), PILOT_ROWS)
        for near in NEAR_KEYS:
            if _relative_cost(q, k, v, near) > WORTHWHILE:
                break
            if head.pilot_error(pilot, near) > PILOT_ROOM * allowed:
                continue
            chance /= 2
            output = head.output(near)
            found = certify(
                q, k, v, output, uncovered=uncovered, failure_probability=chance, rng=rng
            )
            if found.error_bound <= allowed:
                return CertifiedHead(
                    output,
                    found.error_bound,
                    found.claims,
                    uncovered,
                    failure_probability,
                    "clusters",
                    f"{near} near keys met the tolerance on {found.rows_checked} rows.",
                )
    return _exact(q, k, v, False, "no number of near keys that pays was certified")


def _relative_cost(q: Matrix, k: Matrix, v: Matrix, near: int) -> float:
    """Predict the time by clusters, relative to that of exact attention."""
    (n_q, d), (n_k, d_v) = q.shape, v.shape
    pair = d + d_v + EXPONENTIAL
    query_clusters, key_clusters = CLUSTERS * sqrt(n_q), CLUSTERS * sqrt(n_k)
    sums = query_clusters * n_k * (pair + d) + n_q * key_clusters * pair
    clustering = (n_q * query_clusters + n_k * key_clusters) * d
    certificate = (REPAIRED * n_q + 2062) * n_k * pair
    total = sums + clustering + certificate + n_q * near * pair
    return float(total / (n_q * n_k * pair))


class _ClusteredHead:
    """A head in balanced coordinates, sorted by clusters on both sides, and the sums over key clusters."""

    def __init__(self, q: Matrix, k: Matrix, v: Matrix, rng: np.random.Generator) -> None:
        self._given = q, k, v
        balanced_q, balanced_k = balance(q, k - k.mean(axis=0), rng)
        self._queries = Clusters.of(balanced_q, int(CLUSTERS * sqrt(len(q))), rng)
        self._keys = Clusters.of(balanced_k, int(CLUSTERS * sqrt(len(k))), rng)
        self._q = balanced_q[self._queries.order]
        self._k = balanced_k[self._keys.order]
        ones = np.ones((len(k), 1), v.dtype)
        # Numerator and denominator in one product.
        self._values = np.concatenate([v[self._keys.order], ones], axis=1)
        self._centres = self._queries.means(self._q)
        means = self._keys.means(self._k)
        squares = np.add.reduceat((self._k * self._k).sum(axis=1), self._keys.starts[:-1])
        variance = squares / self._keys.sizes - (means * means).sum(axis=1)
        self._spread = np.sqrt(np.maximum(variance, 0)).astype(k.dtype)
        self._sums, self._shifts = self._centre_sums()

    def _centre_sums(self) -> tuple[Matrix, Matrix]:
        """Return sum_j w_j (v_j, 1, k_j) over each key cluster, (query clusters, key clusters, columns).

        w_j = exp(centre . k_j - shift); the last columns become the weighted means of the keys.
        """
        starts, columns = self._keys.starts, self._values.shape[1]
        summed = np.concatenate([self._values, self._k], axis=1)
        keys_in_columns = np.ascontiguousarray(self._k.T)
        shape = (len(starts) - 1, len(self._centres), summed.shape[1])
        sums, shifts = np.empty(shape, summed.dtype), np.empty(len(self._centres), summed.dtype)
        for first in range(0, len(self._centres), TOGETHER):
            some = slice(first, min(first + TOGETHER, len(self._centres)))
            weights = self._centres[some] @ keys_in_columns
            shifts[some] = weights.max(axis=1)
            weights -= shifts[some, None]
            np.maximum(weights, -LARGEST_LOGIT, out=weights)
            np.exp(weights, out=weights)
            for b in range(len(starts) - 1):
                keys = slice(starts[b], starts[b + 1])
                np.matmul(weights[:, keys], summed[keys], out=sums[b, some])
        sums[..., columns:] /= sums[..., columns - 1 : columns]
        return sums, shifts

    def pilot_error(self, rows: NDArray[np.intp], near: int) -> float:
        """Return the largest error of these rows, but for the share that would be repaired."""
        q, k, v = self._given
        output, predicted = self._expanded(near, np.isin(self._queries.order, rows))
        done = self._queries.order[np.isin(self._queries.order, rows)]
        error = np.abs(output - attention(q[done], k, v).output).max(axis=1)
        kept = np.argsort(predicted)[: len(done) - int(REPAIRED * len(done))]
        return float(np.max(np.nan_to_num(error[kept], nan=np.inf)))

    def output(self, near: int) -> Matrix:
        """Return attention by clusters, repaired where the predicted errors are largest."""
        q, k, v = self._given
        expanded, predicted = self._expanded(near, np.ones(len(q), bool))
        output = np.empty_like(expanded)
        output[self._queries.order] = np.clip(expanded, v.min(axis=0), v.max(axis=0))
        predicted[~np.isfinite(expanded).all(axis=1)] = np.inf
        repaired = max(int(REPAIRED * len(q)), int(np.count_nonzero(np.isinf(predicted))))
        worst = self._queries.order[np.argsort(-predicted)[:repaired]]
        output[worst] = attention(q[worst], k, v).output
        return output

    def _expanded(self, near: int, wanted: NDArray[np.bool_]) -> tuple[Matrix, Matrix]:
        """Return output and predicted error of the rows wanted, in the order of the clusters."""
        outputs, predictions = [], []
        for a, centre in enumerate(self._centres):
            members = slice(self._queries.starts[a], self._queries.starts[a + 1])
            if wanted[members].any():
                output, predicted = self._cluster(
                    self._q[members] - centre, wanted[members], a, near
                )
                outputs.append(output)
                predictions.append(predicted)
        return np.concatenate(outputs), np.concatenate(predictions)

    def _cluster(
        self, steps: Matrix, wanted: NDArray[np.bool_], a: int, near: int
    ) -> tuple[Matrix, Matrix]:
        """Return the output of one cluster's rows, and their predicted error: far mass times |step|."""
        sizes, starts, columns = self._keys.sizes, self._keys.starts, self._values.shape[1]
        sums = self._sums[:, a]
        exponents = np.minimum(steps @ sums[:, columns:].T, LARGEST_LOGIT)
        # A key cluster matters by its weight a key and its spread, for the query where it is largest.
        score = self._spread * sums[:, columns - 1] / sizes * np.exp(exponents.max(axis=0))
        by_score = np.argsort(-score)
        count = int(np.searchsorted(np.cumsum(sizes[by_score]), near)) + 1
        close, far = np.sort(by_score[:count]), by_score[count:]
        keys = np.concatenate([np.arange(starts[b], starts[b + 1]) for b in close])
        steps, exponents = steps[wanted], exponents[wanted][:, far]
        tile = (steps + self._centres[a]) @ self._k[keys].T
        tile -= self._shifts[a]
        np.clip(tile, -LARGEST_LOGIT, LARGEST_LOGIT, out=tile)
        np.exp(tile, out=tile)
        expanded = np.exp(exponents, out=exponents) @ sums[far, :columns]
        total = tile @ self._values[keys] + expanded
        predicted = expanded[:, -1] / total[:, -1] * np.sqrt((steps * steps).sum(axis=1))
        return total[:, :-1] / total[:, -1:], predicted
