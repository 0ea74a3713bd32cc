"""Attention on real heads, whose logits no polynomial reaches: fast, and certified afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.costs import exact_cost, rows_cost
from fastpath.core.directed import down, up
from fastpath.core.head import Head, Heads
from fastpath.core.inputs import Array, generator, open_unit
from fastpath.core.norms import lengths, longest_row
from fastpath.core.offers import Offer, Refusal, take_cheapest
from fastpath.core.scaling import CLAIMS as SCALE_CLAIMS
from fastpath.core.scaling import Scaled, scaled
from fastpath.core.semantics import Causal, EmptyRows
from fastpath.core.shown import shown
from fastpath.exact.prepared import Prepared, arrays_of
from fastpath.polynomial.attention import polynomial_offer
from fastpath.real_heads.certify import certified_rows, checked_heads, fewest_rows
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
        The fraction of rows, of each head, that may err by more than ``error_bound``; 0 where it holds for
        all.
    failure_probability : float
        The probability that more than that fraction do in any head; 0 where it is certain.
    method : str
        ``"exact"``, ``"polynomial"``, ``"dropped keys"`` or ``"clusters"``; where heads differ, the names
        of all that were used, with commas.
    reason : str
        Why that method, in a sentence: why others were refused, or what they would have taken.  Of several
        heads: which took which, and why.
    predicted_cost : float
        What it was predicted to take, planning and certificate included, relative to exact attention.
    """

    __repr__ = shown

    uncovered: float
    failure_probability: float
    method: str
    reason: str
    predicted_cost: float


#: Why nothing else is tried on a head with options.
ONLY_EXACT = "taken by exact attention only"

#: The most of what is allowed that rounding scale times Q may take.
SCALING_ROOM = 0.1


@standard_arithmetic
def certified_attention(
    Q: ArrayLike,
    K: ArrayLike | Prepared,
    V: ArrayLike | None = None,
    *,
    tolerance: float,
    rows: Literal["all", "quantile"] = "all",
    uncovered: float = 0.01,
    failure_probability: float = 1e-9,
    scale: float = 1.0,
    causal: Causal = False,
    window: tuple[int | None, int | None] | None = None,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    softcap: float | None = None,
    sinks: ArrayLike | None = None,
    empty_rows: EmptyRows = "refuse",
    rng: np.random.Generator | None = None,
    workers: int | None = None,
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
    Q : array_like, shape (n_q, d) or (..., h_q, n_q, d)
        Queries, as :func:`fastpath.attention` takes them.
    K : array_like, shape (n_k, d) or (..., h_k, n_k, d); or Prepared
        Keys; h_q is a multiple of h_k, and query head h reads key head h // (h_q / h_k).  Or keys and values,
        and V is left out.
    V : array_like, shape (n_k, d_v) or (..., h_k, n_k, d_v), optional
        Values.
    tolerance : float
        The largest error that the certificate may show, relative to the largest ``|V|`` of the head; in
        (0, 1).
    rows : {"all", "quantile"}
        Of which rows.
    uncovered, failure_probability : float
        As for :func:`fastpath.certify`, but that the fraction is of each head's rows, for all heads at once:
        heads share the failure probability evenly; used with ``rows="quantile"``.
    scale : float
        Factor of q.k.  Every way takes it: Q times it is rounded, which the certificate includes (S.output),
        unless it is a power of two.
    causal : {False, True, "upper-left", "lower-right"}
        As for :func:`fastpath.attention`.  Keys are then neither dropped nor clustered; with more keys than
        queries, or fewer, exact attention is taken.
    window, mask, bias, softcap, sinks, empty_rows
        The options of :func:`fastpath.attention`; with any of the first five exact attention is taken.
    rng : numpy.random.Generator, optional
        Needed with ``rows="quantile"``.  With ``rows="all"`` only the time depends on it, and a fixed seed
        will do.
    workers : int, optional
        Threads; by default every core that the process may use.  No bit of the result depends on it.

    Returns
    -------
    CertifiedHead
        ``error_bound`` is at most ``tolerance`` times the largest ``|V|`` unless ``method`` is
        ``"exact"``, whose error is that of rounding; of several heads, of the output's shape.  With exact
        attention throughout ``log_sum_exp`` is there too.

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
    clusters.  With a scale that is no power of two S.output and FP.scores join them.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 200, 16)) / 2
    >>> found = fastpath.certified_attention(Q, K, V, tolerance=0.01)
    >>> found.method, found.reason
    ('exact', 'with so few queries and keys exact attention is as fast.')
    >>> bool((found.error_bound <= 0.01 * np.abs(V).max()).all())
    True
    """
    keys, values, _ = arrays_of(K, V)
    heads = checked_heads(
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
    if not isinstance(rows, str) or rows not in ("all", "quantile"):
        raise ValueError(f"rows must be 'all' or 'quantile', got {rows!r}.")
    rng = generator(np.random.default_rng(0) if rows == "all" and rng is None else rng)
    threads, chance = worker_count(workers), failure_probability / len(heads)
    if not chance > 0:
        raise ValueError(
            f"failure_probability must leave more than 0 for each of {len(heads)} heads, got "
            f"{failure_probability!r}."
        )
    # Each head draws from a source of its own, so that it does not matter which comes first.
    sources = [rng] if len(heads) == 1 else [_source(rng) for _ in range(len(heads))]
    tasks = [
        partial(
            _certified_head,
            head,
            _Asked(
                tolerance=tolerance,
                allowed=tolerance * float(np.abs(head.values).max()),
                quantile=rows == "quantile",
                uncovered=uncovered,
                failure_probability=chance,
                rng=source,
            ),
        )
        for head, source in zip(heads.each(max(1, threads // len(heads))), sources, strict=True)
    ]
    found = run(tasks, threads)
    return _together(heads, found, uncovered, failure_probability)


def _source(rng: np.random.Generator) -> np.random.Generator:
    return np.random.default_rng(rng.integers(0, 2**32, 4, dtype=np.uint32))


def _together(
    heads: Heads, found: Sequence[CertifiedHead], uncovered: float, failure_probability: float
) -> CertifiedHead:
    """Return the answers of all heads as one."""
    if not heads.options.heads:
        return found[0]
    methods = tuple(dict.fromkeys(answer.method for answer in found))
    reasons: dict[tuple[str, str], list[str]] = {}
    for head, answer in zip(np.ndindex(*heads.options.heads), found, strict=True):
        reasons.setdefault((answer.method, answer.reason), []).append(
            str(head[0] if len(head) == 1 else head)
        )
    told = (
        f"{method} for {'head' if len(which) == 1 else 'heads'} {', '.join(which)}: {reason}"
        for (method, reason), which in reasons.items()
    )
    certain = all(answer.uncovered == 0 for answer in found)
    shape = heads.shape
    rows = shape[-2:]
    exact = [
        (answer.log_sum_exp, answer.log_sum_exp_bound)
        for answer in found
        if answer.log_sum_exp is not None and answer.log_sum_exp_bound is not None
    ]
    logarithm = bound = None
    if len(exact) == len(found):
        logarithm, bound = (np.stack(x).reshape(shape[:-1]) for x in zip(*exact, strict=True))
    return CertifiedHead(
        output=np.stack([answer.output for answer in found]).reshape(shape),
        error_bound=np.stack(
            [np.broadcast_to(answer.error_bound, rows) for answer in found]
        ).reshape(shape),
        claims=tuple(dict.fromkeys(chain.from_iterable(answer.claims for answer in found))),
        log_sum_exp=logarithm,
        log_sum_exp_bound=bound,
        uncovered=0.0 if certain else uncovered,
        failure_probability=0.0 if certain else failure_probability,
        method=", ".join(methods),
        reason=" ".join(told),
        predicted_cost=float(np.mean([answer.predicted_cost for answer in found])),
    )


def _certified_head(head: Head, asked: _Asked) -> CertifiedHead:
    """Take the cheapest way of one head."""
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
    if head.options is not None and head.options.asked:
        return [exact, Refusal(reason=f"{', '.join(head.options.asked)}: {ONLY_EXACT}")]
    if rows_cost(head, len(head.queries)) < LARGE:
        return [exact, Refusal(reason="with so few queries and keys exact attention is as fast")]
    plain = _plain(head, asked)
    if isinstance(plain, Refusal):
        return [exact, plain]
    found = [_polynomial(plain, asked)]
    if plain.head.causal:
        found += [Refusal(reason="keys are neither dropped nor clustered under a causal mask")]
    else:
        needed = _needed_keys(plain.head, asked)
        found += [_dropping(plain, asked, needed), _clusters(head, plain, asked, needed)]
    return [*found, exact]


@dataclass(frozen=True, kw_only=True)
class _Plain:
    """A head whose queries were multiplied by the scale.

    Attributes
    ----------
    head : Head
        Without options.
    allowed : float
        What the error of its output may be, so that with ``shift`` it is what was asked for.
    shift : array, shape (n_q, d_v), or None
        Bounds what the rounding of scale times Q does to the output (S.output); None: nothing.
    """

    head: Head
    allowed: float
    shift: Array | None

    def certain(self, found: Certified, method: str, reason: str, cost: float) -> CertifiedHead:
        """Return what was found for every row, for the head as it was given."""
        answer = _certain(found, method, reason, cost)
        if self.shift is None:
            return answer
        return replace(
            answer,
            error_bound=up(answer.error_bound + self.shift),
            claims=tuple(dict.fromkeys((*answer.claims, *SCALE_CLAIMS))),
        )


def _plain(head: Head, asked: _Asked) -> _Plain | Refusal:
    """Multiply the queries by the scale, or refuse where rounding that takes too much of what is allowed."""
    if head.options is None:
        return _Plain(head=head, allowed=asked.allowed, shift=None)
    made = scaled(head.queries, head.options.scale)
    if not made.finite:
        return Refusal(reason="scale times Q is no longer finite")
    plain = replace(head, queries=made.queries, causal=bool(head.options.only_causal), options=None)
    if made.exact:
        return _Plain(head=plain, allowed=asked.allowed, shift=None)
    shift = _shift(made, plain)
    most = float(shift.max())
    if not most <= SCALING_ROOM * asked.allowed:
        return Refusal(
            reason=f"rounding scale times Q may move an output by {most:.2g} of the allowed "
            f"{asked.allowed:.2g}"
        )
    # What the ways find and the shift are added, and rounded upward.
    allowed = float(down(down(down(asked.allowed) - most)))
    return _Plain(head=plain, allowed=allowed, shift=shift)


def _shift(made: Scaled, head: Head) -> Array:
    """Bound what the rounding of scaled queries does to each entry of the output."""
    magnitude = up(lengths(made.queries) * longest_row(head.keys))
    values = head.values.astype(np.float64)
    spread = up(values.max(axis=0) - values.min(axis=0))
    largest = max(float(head.keys.max()), -float(head.keys.min()))
    return made.output_shift(magnitude, largest, spread)


def _certain(found: Certified, method: str, reason: str, cost: float) -> CertifiedHead:
    """Return what is certified of every row."""
    return CertifiedHead(
        output=found.output,
        error_bound=found.error_bound,
        claims=found.claims,
        log_sum_exp=found.log_sum_exp,
        log_sum_exp_bound=found.log_sum_exp_bound,
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


def _polynomial(plain: _Plain, asked: _Asked) -> Offer[CertifiedHead] | Refusal:
    head = plain.head
    tolerance = asked.tolerance
    if plain.shift is not None:
        tolerance = plain.allowed / float(np.abs(head.values).max())
    offer = polynomial_offer(head, tolerance)
    if isinstance(offer, Refusal):
        return Refusal(reason="no polynomial is affordable")

    def take() -> CertifiedHead | Refusal:
        found = offer.take()
        if isinstance(found, Refusal):
            return found
        return plain.certain(found, offer.way, offer.certifies, offer.cost / exact_cost(head))

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


def _dropping(plain: _Plain, asked: _Asked, needed: float) -> Offer[CertifiedHead] | Refusal:
    head = plain.head
    if needed > SHARP:
        return Refusal(reason="the head is not sharp")
    planning = DroppedKeys.planning_cost(head)

    def take() -> CertifiedHead | Refusal:
        planned = DroppedKeys.planned(head, plain.allowed, asked.rng)
        if isinstance(planned, Refusal):
            return planned
        cost = planned.cost(asked.rng)
        return _too_dear("dropping keys", cost, head, WORTHWHILE) or plain.certain(
            planned.attend(), "dropped keys", sharp, (planning + cost) / exact_cost(head)
        )

    sharp = "the head is sharp, and dropping keys of little weight certifies every row"
    return _too_dear("planning which keys to drop", planning, head, PLANNING) or Offer(
        way="dropped keys",
        cost=planning + DroppedKeys.likely_cost(head, needed),
        certifies=sharp,
        take=take,
    )


def _clusters(
    given: Head, plain: _Plain, asked: _Asked, needed: float
) -> Offer[CertifiedHead] | Refusal:
    head = plain.head
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
            take=lambda: _by_clusters(given, head, asked, planning),
        )
    )


def _certificate_cost(head: Head, asked: _Asked, chance: float) -> float:
    return rows_cost(head, fewest_rows(asked.uncovered, chance, len(head.queries)))


def _by_clusters(given: Head, head: Head, asked: _Asked, spent: float) -> CertifiedHead | Refusal:
    """Take as many samples as a pilot finds necessary, and more after each certificate that fails.

    What is certified is the head as it was given, whose scale exact attention takes itself.
    """
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
        found = certified_rows([given], output[None], asked.uncovered, chance, drawn, asked.rng, 1)
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
