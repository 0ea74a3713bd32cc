"""Attention on real heads, whose logits no polynomial reaches: fast, and certified afterwards."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.inputs import Matrix, attention_inputs, generator, open_unit
from fastpath.exact.attention import attention
from fastpath.polynomial.attention import (
    CAUSAL_BLOCK,
    ExpansionError,
    affordable_expansion,
    polynomial_attention,
)
from fastpath.real_heads.certify import certify, fewest_rows
from fastpath.real_heads.clustered_head import ClusteredHead
from fastpath.real_heads.costs import exact_cost, pair_cost
from fastpath.real_heads.dropped_keys import DroppedKeys, DroppingError

#: With fewer multiply-adds (3500 queries and keys, 30 ms) nothing is planned: exact attention is as fast.
LARGE = 1e9

#: The most that planning a way may be predicted to take, and then the way, of what exact attention takes.
PLANNING, WORTHWHILE = 0.15, 0.7

#: Multiply-adds that take as long as one of the polynomial's, with all that it takes to build features.
POLYNOMIAL = 20

#: Rows that tell how sharp a head is, and the share of the keys that they may need where dropping pays.
SHARPNESS_ROWS, SHARP = 32, 0.1

#: Rows with the largest predicted errors, which may be computed exactly in the end.
REPAIRED = 0.02

#: The fraction of the tolerance that the pilot's errors must meet.
PILOT_ROOM = 0.5

#: The samples that a pilot starts with, and how often it tries.
FIRST_SAMPLES, PILOTS = 512, 7


@dataclass(frozen=True, kw_only=True)
class CertifiedHead(Certified):
    """Attention with a certificate, and the way it came about.

    Attributes
    ----------
    uncovered : float
        The fraction of rows that may err by more than ``error_bound``; 0 where it holds for all.
    failure_probability : float
        The probability that more than that fraction do; 0 where it is certain.
    method : str
        ``"exact"``, ``"polynomial"``, ``"dropped keys"`` or ``"clusters"``.
    reason : str
        Why that method, in a sentence.
    predicted_cost : float
        What it was predicted to take, planning and certificate included, relative to exact attention.
    """

    uncovered: float
    failure_probability: float
    method: str
    reason: str
    predicted_cost: float


@standard_arithmetic
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
    r"""Compute attention to a tolerance on any head, by the way that is predicted to be the fastest.

    ``rows="all"`` bounds the error of every row for certain:

    - by a polynomial, where one is affordable (:func:`fastpath.polynomial_attention`);
    - on sharp heads by dropping, for each cluster of queries around c, the keys whose share of the weight
      is at most :math:`w_j e^{\max_i |q_i - c| |k_j - \kappa|} / W`, with :math:`w_j = e^{c \cdot k_j}`,
      their sum W and weighted mean :math:`\kappa`, and so next to nothing (R.drop);
    - else by exact attention.

    ``rows="quantile"`` bounds that of all but a fraction of the rows, with a probability, on heads that are
    not sharp.  Queries and keys are clustered in balanced coordinates.  For a query cluster's mean
    :math:`q_a`, a key cluster b counts as one key at its weighted mean :math:`\mu_b`:

    .. math:: D_i = \sum_b e^{(q_i - q_a) \cdot \mu_b} \sum_{j \in b} w_j

    and likewise the numerator (R.expansion, order 0).  What that leaves out is estimated from a sample of the
    keys, as large as a pilot finds necessary.  :func:`fastpath.certify` has the last word, on rows drawn
    afresh.

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
        Whether query i sees only the keys j <= i; needs n_q = n_k.  Keys are then neither dropped nor
        clustered.
    rng : numpy.random.Generator, optional
        Needed with ``rows="quantile"``.  With ``rows="all"`` only the time depends on it, and a fixed seed
        will do.

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
    Cost, in multiply-adds of which a pair of query and key takes d + d_v + 24 exactly
    (``fastpath.real_heads.costs``):

    - clusters: 210 (sqrt(n_q) n_k + n_q sqrt(n_k)); with s samples 570 instead, 9000 s sqrt(n_q) and 1.6 s
      pairs a query; where rows are repaired 2 % of all pairs; and those of the certificate's rows;
    - dropping: 400 for each of n_k keys and 4 sqrt(n_q) clusters, and 1.35 times the pairs that are kept;
    - a polynomial: 40 features (d_v + 1) a row.

    Only what is predicted to take at most 0.7 of exact attention, and at most 0.15 to plan, is begun.  A
    certificate that fails although the pilot passed costs what was spent until then.

    The pilot's 512 rows certify nothing; each certificate draws its own, and each spends half of the
    failure probability that is left.

    Claims: R.drop, R.jensen, R.balance, FP.drop and FP.softmax vouch for dropped keys; R.certify alone for
    clusters.
    """
    q, k, v = attention_inputs(Q, K, V, causal=causal)
    tolerance = open_unit("tolerance", tolerance)
    uncovered = open_unit("uncovered", uncovered)
    failure_probability = open_unit("failure_probability", failure_probability)
    if rows not in ("all", "quantile"):
        raise ValueError(f"rows must be 'all' or 'quantile', got {rows!r}.")
    if rows == "all" and rng is None:
        rng = np.random.default_rng(0)
    rng = generator(rng)
    try:
        if len(q) * len(k) * pair_cost(k, v) < LARGE:
            raise _NotWorthwhileError("with so few queries and keys exact attention is as fast")
        try:
            return _by_polynomial(q, k, v, tolerance, causal)
        except _NotWorthwhileError as error:
            if causal:
                raise _NotWorthwhileError(
                    f"{error}, and keys are neither dropped nor clustered under a causal mask"
                ) from error
        allowed = tolerance * float(np.abs(v).max())
        if _is_sharp(q, k, v, allowed, rng):
            return _by_dropping(q, k, v, allowed, rng)
        if rows == "quantile":
            return _by_clusters(q, k, v, allowed, uncovered, failure_probability, rng)
        raise _NotWorthwhileError("no polynomial is affordable and the head is not sharp")
    except _NotWorthwhileError as error:
        exact = attention(q, k, v, causal=causal)
        return CertifiedHead(
            output=exact.output,
            error_bound=exact.error_bound,
            claims=exact.claims,
            uncovered=0.0,
            failure_probability=0.0,
            method="exact",
            reason=f"{error}.",
            predicted_cost=1.0,
        )


class _NotWorthwhileError(Exception):
    """A way is not taken, for the reason stated."""


def _worthwhile(what: str, cost: float, q: Matrix, k: Matrix, v: Matrix, most: float) -> float:
    """Return the cost relative to exact attention, if it is no more than ``most``."""
    relative = cost / exact_cost(q, k, v)
    if not relative <= most:
        raise _NotWorthwhileError(f"{what} would take {relative:.2g} of exact attention's time")
    return relative


def _by_polynomial(
    q: Matrix, k: Matrix, v: Matrix, tolerance: float, causal: bool
) -> CertifiedHead:
    try:
        expansion = affordable_expansion(q, k, v, tolerance, causal)
    except ExpansionError as error:
        raise _NotWorthwhileError("no polynomial is affordable") from error
    products = 2 * expansion.features * (v.shape[1] + 1) * (len(q) + len(k))
    if causal:
        products += CAUSAL_BLOCK * (k.shape[1] + v.shape[1] + expansion.degree) * len(q)
    # Causal attention takes half of the pairs.
    most = WORTHWHILE / 2 if causal else WORTHWHILE
    cost = _worthwhile("a polynomial", POLYNOMIAL * products, q, k, v, most)
    found = polynomial_attention(q, k, v, tolerance=tolerance, causal=causal)
    return CertifiedHead(
        output=found.output,
        error_bound=found.error_bound,
        claims=found.claims,
        uncovered=0.0,
        failure_probability=0.0,
        method="polynomial",
        reason=(
            f"a polynomial of degree {expansion.degree} with {expansion.features} features certifies "
            "every row."
        ),
        predicted_cost=2 * cost if causal else cost,
    )


def _is_sharp(q: Matrix, k: Matrix, v: Matrix, allowed: float, rng: np.random.Generator) -> bool:
    """Whether few keys would be kept if each row could choose its own."""
    weights = q[rng.integers(0, len(q), SHARPNESS_ROWS)] @ k.T
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    spread = float(np.ptp(v, axis=0).max())
    needed = weights * spread > allowed / len(k) * weights.sum(axis=1, keepdims=True)
    return float(needed.mean()) <= SHARP


def _by_dropping(
    q: Matrix, k: Matrix, v: Matrix, allowed: float, rng: np.random.Generator
) -> CertifiedHead:
    planning = _worthwhile(
        "planning which keys to drop", DroppedKeys.planning_cost(q), q, k, v, PLANNING
    )
    try:
        head = DroppedKeys(q, k, v, allowed, rng)
    except DroppingError as error:
        raise _NotWorthwhileError(str(error)) from error
    cost = _worthwhile("dropping keys", head.cost(rng), q, k, v, WORTHWHILE)
    found = head.attend()
    return CertifiedHead(
        output=found.output,
        error_bound=found.error_bound,
        claims=found.claims,
        uncovered=0.0,
        failure_probability=0.0,
        method="dropped keys",
        reason="the head is sharp, and dropping keys of little weight certifies every row.",
        predicted_cost=planning + cost,
    )


def _by_clusters(
    q: Matrix,
    k: Matrix,
    v: Matrix,
    allowed: float,
    uncovered: float,
    failure_probability: float,
    rng: np.random.Generator,
) -> CertifiedHead:
    spent = _worthwhile(
        "planning clusters", ClusteredHead.planning_cost(q, k, v), q, k, v, PLANNING
    )
    try:
        head = ClusteredHead(q, k, v, rng)
    except np.linalg.LinAlgError as error:
        raise _NotWorthwhileError("there is no covariance to balance") from error
    chance, aim = failure_probability, PILOT_ROOM * allowed
    while True:
        chance /= 2
        certificate = fewest_rows(uncovered, chance, len(q)) * len(k) * pair_cost(k, v)
        most = (WORTHWHILE - spent) * exact_cost(q, k, v) - certificate
        samples, repaired, cost = _sample_size(head, aim, most, rng)
        spent += _worthwhile("certified clusters", cost + certificate, q, k, v, WORTHWHILE - spent)
        output = head.output(samples, repaired, rng)
        found = certify(q, k, v, output, uncovered=uncovered, failure_probability=chance, rng=rng)
        if found.error_bound <= allowed:
            break
        aim *= min(PILOT_ROOM, allowed / float(found.error_bound))
    return CertifiedHead(
        output=output,
        error_bound=found.error_bound,
        claims=found.claims,
        uncovered=uncovered,
        failure_probability=failure_probability,
        method="clusters",
        reason=f"{samples} samples a cluster and {repaired:.0%} of the rows repaired met the tolerance on "
        f"{found.rows_checked} rows.",
        predicted_cost=spent,
    )


def _sample_size(
    head: ClusteredHead, aim: float, most: float, rng: np.random.Generator
) -> tuple[int, float, float]:
    """Return how many keys to sample and which fraction of the rows to repair, and what that costs.

    Errors fall like one by the square root of the samples.
    """
    samples = 0
    for _ in range(PILOTS):
        pilot = head.pilot(samples, rng)
        kept = np.argsort(pilot.predicted)[: len(pilot.errors) - ceil(REPAIRED * len(pilot.errors))]
        choices = []
        for repaired, errors in ((0.0, pilot.errors), (REPAIRED, pilot.errors[kept])):
            # NaN is the largest error.
            error = float(np.max(np.nan_to_num(errors, nan=np.inf)))
            # Of the least numbers a share may be 0.
            missed = error / aim if aim else np.inf
            more = max(1.0, missed) ** 2
            choices.append((head.cost(pilot.sampled * more, repaired), repaired, missed))
        cost, repaired, missed = min(choices)
        if missed <= 1:
            return samples, repaired, cost
        if not cost < most:
            break
        samples = int(samples * max(1.5, missed**2)) if samples else FIRST_SAMPLES
    raise _NotWorthwhileError(
        "no number of samples that pays meets the tolerance on the pilot's rows"
    )
