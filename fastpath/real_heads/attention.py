"""Attention on real heads, whose logits no polynomial reaches: fast, and certified afterwards."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.costs import exact_cost, rows_cost
from fastpath.core.head import Head
from fastpath.core.inputs import generator, open_unit
from fastpath.core.offers import Offer, Refusal, take_cheapest
from fastpath.exact.prepared import Prepared, arrays_of
from fastpath.polynomial.attention import polynomial_offer
from fastpath.real_heads.certify import certified_rows, fewest_rows
from fastpath.real_heads.clustered_head import ClusteredHead
from fastpath.real_heads.dropped_keys import DroppedKeys
from fastpath.real_heads.exact_rows import exact_head

#: Where exact attention takes less (3500 queries and keys, 30 ms) nothing is planned: it is as fast.
LARGE = 1e9

#: The most that planning a way may be predicted to take, and then the way, of what exact attention takes.
PLANNING, WORTHWHILE = 0.15, 0.7

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
        Why that method, in a sentence: why others were refused, or what they would have taken.
    predicted_cost : float
        What it was predicted to take, planning and certificate included, relative to exact attention.
    """

    uncovered: float
    failure_probability: float
    method: str
    reason: str
    predicted_cost: float


#: Why nothing else is tried on a head with options.
ONLY_EXACT = "scales, windows, masks, biases, caps and sinks are taken by exact attention only"


@standard_arithmetic
def certified_attention(
    Q: ArrayLike,
    K: ArrayLike | Prepared,
    V: ArrayLike | None = None,
    *,
    tolerance: float,
    rows: str = "all",
    uncovered: float = 0.01,
    failure_probability: float = 1e-9,
    scale: float = 1.0,
    causal: bool | str = False,
    window: tuple[int | None, int | None] | None = None,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    softcap: float | None = None,
    sinks: ArrayLike | None = None,
    empty_rows: str = "refuse",
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
    K : array_like, shape (n_k, d); or Prepared
        Keys; or keys and values, and V is left out.
    V : array_like, shape (n_k, d_v), optional
        Values.
    tolerance : float
        The largest error that the certificate may show, relative to the largest ``|V|``; in (0, 1).
    rows : {"all", "quantile"}
        Of which rows.
    uncovered, failure_probability : float
        As for :func:`fastpath.certify`; used with ``rows="quantile"``.
    causal : bool
        Whether query i sees only the keys j <= i; needs n_q = n_k.  Keys are then neither dropped nor
        clustered.  ``"upper-left"`` and ``"lower-right"`` count as options.
    scale, window, mask, bias, softcap, sinks, empty_rows
        The options of :func:`fastpath.attention`, for one head; with any of them exact attention is taken.
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
    (``fastpath.core.costs``):

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
    keys, values, _ = arrays_of(K, V)
    head = Head.of(
        Q,
        keys,
        values,
        causal=causal,
        scale=scale,
        window=window,
        mask=mask,
        bias=bias,
        softcap=softcap,
        sinks=sinks,
        empty_rows=empty_rows,
    )
    tolerance = open_unit("tolerance", tolerance)
    uncovered = open_unit("uncovered", uncovered)
    failure_probability = open_unit("failure_probability", failure_probability)
    if rows not in ("all", "quantile"):
        raise ValueError(f"rows must be 'all' or 'quantile', got {rows!r}.")
    if rows == "all" and rng is None:
        rng = np.random.default_rng(0)
    if head.options is not None:
        return _certain(exact_head(head), "exact", f"{ONLY_EXACT}.", 1.0)
    asked = _Asked(
        tolerance=tolerance,
        allowed=tolerance * float(np.abs(head.values).max()),
        quantile=rows == "quantile",
        uncovered=uncovered,
        failure_probability=failure_probability,
        rng=generator(rng),
    )
    taken = take_cheapest(_ways(head, asked))
    assert not isinstance(taken, Refusal)  # exact attention never refuses
    others = (
        f"{offer.certifies} at {offer.cost / exact_cost(head):.2g} of exact attention's time"
        for offer in taken.dearer
        if offer.way != "exact"
    )
    told = (*taken.refusals, *others, *([taken.answer.reason] if taken.answer.reason else []))
    return replace(taken.answer, reason=f"{'; '.join(told)}.")


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a certificate must show: of all rows, or with a probability of all but a fraction."""

    tolerance: float
    allowed: float
    quantile: bool
    uncovered: float
    failure_probability: float
    rng: np.random.Generator


def _ways(head: Head, asked: _Asked) -> list[Offer[CertifiedHead] | Refusal]:
    exact = Offer(
        way="exact",
        cost=exact_cost(head),
        certifies="exact attention certifies every row",
        take=lambda: _certain(exact_head(head), "exact", "", 1.0),
    )
    if rows_cost(head, len(head.queries)) < LARGE:
        return [exact, Refusal(reason="with so few queries and keys exact attention is as fast")]
    found = [_polynomial(head, asked)]
    if head.causal:
        found += [Refusal(reason="keys are neither dropped nor clustered under a causal mask")]
    else:
        needed = _needed_keys(head, asked)
        found += [_dropping(head, asked, needed), _clusters(head, asked, needed)]
    return [*found, exact]


def _certain(found: Certified, method: str, reason: str, cost: float) -> CertifiedHead:
    """Return what is certified of every row."""
    return CertifiedHead(
        output=found.output,
        error_bound=found.error_bound,
        claims=found.claims,
        uncovered=0.0,
        failure_probability=0.0,
        method=method,
        reason=reason,
        predicted_cost=cost,
    )


def _too_dear(what: str, cost: float, head: Head, most: float) -> Refusal | None:
    """Refuse what takes more than a part of exact attention's time."""
    relative = cost / exact_cost(head)
    if relative <= most:
        return None
    return Refusal(reason=f"{what} would take {relative:.2g} of exact attention's time")


def _polynomial(head: Head, asked: _Asked) -> Offer[CertifiedHead] | Refusal:
    offer = polynomial_offer(head, asked.tolerance)
    if isinstance(offer, Refusal):
        return Refusal(reason="no polynomial is affordable")

    def take() -> CertifiedHead | Refusal:
        found = offer.take()
        if isinstance(found, Refusal):
            return found
        return _certain(found, offer.way, offer.certifies, offer.cost / exact_cost(head))

    return _too_dear("a polynomial", offer.cost, head, WORTHWHILE) or Offer(
        way=offer.way, cost=offer.cost, certifies=offer.certifies, take=take
    )


def _needed_keys(head: Head, asked: _Asked) -> float:
    """Return the fraction of the keys that would be kept if each row could choose its own."""
    drawn = asked.rng.integers(0, len(head.queries), SHARPNESS_ROWS)
    weights = head.queries[drawn] @ head.keys.T
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    spread = float(np.ptp(head.values, axis=0).max())
    even = asked.allowed / len(head.keys)
    needed = weights * spread > even * weights.sum(axis=1, keepdims=True)
    return float(needed.mean())


def _dropping(head: Head, asked: _Asked, needed: float) -> Offer[CertifiedHead] | Refusal:
    if needed > SHARP:
        return Refusal(reason="the head is not sharp")
    planning = DroppedKeys.planning_cost(head)

    def take() -> CertifiedHead | Refusal:
        planned = DroppedKeys.planned(head, asked.allowed, asked.rng)
        if isinstance(planned, Refusal):
            return planned
        cost = planned.cost(asked.rng)
        return _too_dear("dropping keys", cost, head, WORTHWHILE) or _certain(
            planned.attend(), "dropped keys", sharp, (planning + cost) / exact_cost(head)
        )

    sharp = "the head is sharp, and dropping keys of little weight certifies every row"
    return _too_dear("planning which keys to drop", planning, head, PLANNING) or Offer(
        way="dropped keys",
        cost=planning + DroppedKeys.likely_cost(head, needed),
        certifies=sharp,
        take=take,
    )


def _clusters(head: Head, asked: _Asked, needed: float) -> Offer[CertifiedHead] | Refusal:
    if not asked.quantile:
        return Refusal(reason="clusters do not certify every row")
    if needed <= SHARP:
        return Refusal(reason="clusters do not serve a sharp head")
    planning = ClusteredHead.planning_cost(head)
    least = ClusteredHead.least_cost(head) + _certificate_cost(
        head, asked, asked.failure_probability / 2
    )
    return (
        _too_dear("planning clusters", planning, head, PLANNING)
        or _too_dear("certified clusters", planning + least, head, WORTHWHILE)
        or Offer(
            way="clusters",
            cost=planning + least,
            certifies=f"clusters certify all but {asked.uncovered:g} of the rows",
            take=lambda: _by_clusters(head, asked, planning),
        )
    )


def _certificate_cost(head: Head, asked: _Asked, chance: float) -> float:
    return rows_cost(head, fewest_rows(asked.uncovered, chance, len(head.queries)))


def _by_clusters(head: Head, asked: _Asked, spent: float) -> CertifiedHead | Refusal:
    """Take as many samples as a pilot finds necessary, and more after each certificate that fails."""
    clustered = ClusteredHead.planned(head, asked.rng)
    if isinstance(clustered, Refusal):
        return clustered
    chance, aim = asked.failure_probability, PILOT_ROOM * asked.allowed
    while True:
        chance /= 2
        certificate = _certificate_cost(head, asked, chance)
        most = WORTHWHILE * exact_cost(head) - spent
        sized = _sample_size(clustered, aim, most - certificate, asked.rng)
        if isinstance(sized, Refusal):
            return sized
        samples, repaired, cost = sized
        refusal = _too_dear("certified clusters", spent + cost + certificate, head, WORTHWHILE)
        if refusal:
            return refusal
        spent += cost + certificate
        output = clustered.output(samples, repaired, asked.rng)
        drawn = fewest_rows(asked.uncovered, chance, len(head.queries))
        found = certified_rows(head, output, asked.uncovered, chance, drawn, asked.rng)
        if found.error_bound <= asked.allowed:
            break
        aim *= min(PILOT_ROOM, asked.allowed / float(found.error_bound))
    return CertifiedHead(
        output=output,
        error_bound=found.error_bound,
        claims=found.claims,
        uncovered=asked.uncovered,
        failure_probability=asked.failure_probability,
        method="clusters",
        reason=f"{samples} samples a cluster and {repaired:.0%} of the rows repaired met the tolerance on "
        f"{found.rows_checked} rows",
        predicted_cost=spent / exact_cost(head),
    )


def _sample_size(
    clustered: ClusteredHead, aim: float, most: float, rng: np.random.Generator
) -> tuple[int, float, float] | Refusal:
    """Return how many keys to sample and which fraction of the rows to repair, and what that costs.

    Errors fall like one by the square root of the samples.
    """
    samples = 0
    for _ in range(PILOTS):
        pilot = clustered.pilot(samples, rng)
        kept = np.argsort(pilot.predicted)[: len(pilot.errors) - ceil(REPAIRED * len(pilot.errors))]
        choices = []
        for repaired, errors in ((0.0, pilot.errors), (REPAIRED, pilot.errors[kept])):
            # NaN is the largest error.
            error = float(np.max(np.nan_to_num(errors, nan=np.inf)))
            # Of the least numbers a share may be 0.
            missed = error / aim if aim else np.inf
            more = max(1.0, missed) ** 2
            choices.append((clustered.cost(pilot.sampled * more, repaired), repaired, missed))
        cost, repaired, missed = min(choices)
        if missed <= 1:
            return samples, repaired, cost
        if not cost < most:
            break
        samples = int(samples * max(1.5, missed**2)) if samples else FIRST_SAMPLES
    return Refusal(reason="no number of samples that pays meets the tolerance on the pilot's rows")
