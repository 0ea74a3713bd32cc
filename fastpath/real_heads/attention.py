"""Attention on real heads, whose logits no polynomial reaches: fast, and certified afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from math import ceil
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.costs import exact_cost, rows_cost
from fastpath.core.directed import down, up
from fastpath.core.head import Head, Heads
from fastpath.core.inputs import Array, Matrix, generator, open_unit, source
from fastpath.core.norms import lengths, longest_row
from fastpath.core.offers import Offer, Refusal, take_cheapest
from fastpath.core.scaling import CLAIMS as SCALE_CLAIMS
from fastpath.core.scaling import Scaled, scaled
from fastpath.core.semantics import Causal, EmptyRows
from fastpath.core.shown import shown
from fastpath.exact.prepared import Prepared, arrays_of
from fastpath.polynomial.attention import polynomial_offer
from fastpath.real_heads.causal_clusters import CausalClusteredHead
from fastpath.real_heads.causal_dropping import CausalDroppedKeys
from fastpath.real_heads.certify import certified_rows, checked_heads, rows_skipping
from fastpath.real_heads.clustered_head import ClusteredHead
from fastpath.real_heads.dropped_keys import DroppedKeys
from fastpath.real_heads.exact_rows import exact_head
from fastpath.real_heads.pilot import Pilot
from fastpath.real_heads.sampled_keys import SampledKeys

#: Where exact attention takes less (3500 queries and keys, 30 ms) nothing is planned: it is as fast.
LARGE = 1e9

#: The most that planning a way may be predicted to take, and then the way, of what exact attention takes.
PLANNING, WORTHWHILE = 0.15, 0.7

#: Rows that tell how sharp a head is, and the share of the keys that they may need where dropping pays.
SHARPNESS_ROWS, SHARP = 32, 0.1

#: The fraction of the tolerance that the pilot's errors must meet.
PILOT_ROOM = 0.7

#: So many errors of the rows drawn are skipped: a third more rows, and the largest of a few thousand errors,
#: which may be twice the pilot's, decides nothing.
SKIPPED = 2

#: A pilot that misses its aim by more is counted as missing it by this.
MOST_MISSED = 1e9

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
        ``"exact"``, ``"polynomial"``, ``"dropped keys"``, ``"clusters"`` or ``"sampled keys"``; where heads
        differ, the names of all that were used, with commas.
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
      their sum W and weighted mean :math:`\kappa`, and so next to nothing (R.drop), and then those whose
      logits are light for each of its queries; under a causal mask by bands of rows, W and
      :math:`\kappa` being those of the keys that all rows of a band see;
    - else by exact attention.

    ``rows="quantile"`` bounds that of all but a fraction of the rows, with a probability, on heads that are
    not sharp.  Queries and keys are clustered in balanced coordinates.  For a query cluster's mean
    :math:`q_a`, a key cluster b counts as one key at its weighted mean :math:`\mu_b`:

    .. math:: D_i = \sum_b e^{(q_i - q_a) \cdot \mu_b} \sum_{j \in b} w_j

    and likewise the numerator (R.expansion, order 0).  What that leaves out is estimated from a sample of the
    keys, as large as a pilot finds necessary.  Under a causal mask the sums are over the blocks of time
    before a row's own, whose keys are exact.  Where the tolerance is loose a few keys, the same for all
    queries, may do.  :func:`fastpath.certify` has the last word, on rows drawn afresh.

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
        As for :func:`fastpath.attention`.  With more keys than queries, or fewer, exact attention is taken.
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
    - clusters under a causal mask: 900 in place of 210 and 1330 of 570, half of the pairs, and 0.75 n/16
      pairs a query for its own block;
    - s sampled keys: 20,000 and s pairs a query, and those of the certificate's rows;
    - dropping: 400 for each of n_k keys and 4 sqrt(n_q) clusters, 0.3 times the pairs that are kept, and
      1.35 times those of keys that some query of a cluster weighs;
    - a polynomial: 40 features (d_v + 1) a row.

    Only what is predicted to take at most 0.7 of exact attention, and at most 0.15 to plan, is begun.  A
    certificate that fails although the pilot passed costs what was spent until then.

    The pilot's 512 rows certify nothing; each certificate draws its own, and each spends half of the
    failure probability that is left.

    Heads that share keys and are not sharp are clustered and sampled together; each has a certificate of its
    own, and what its tolerance takes all of them take.

    Claims: R.drop, R.jensen, R.balance, FP.drop, FP.softmax and FP.lse vouch for dropped keys; R.certify
    alone for clusters and sampled keys.  With a scale that is no power of two S.output and FP.scores join
    them.

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
    sources = [rng] if len(heads) == 1 else [source(rng) for _ in range(len(heads))]
    # Heads that share keys may share clusters.
    together = _sharing(heads) if rows == "quantile" else 1
    workers_each = max(1, threads * together // len(heads))
    asked = [
        (
            head,
            _Asked(
                tolerance=tolerance,
                allowed=tolerance * float(np.abs(head.values).max()),
                quantile=rows == "quantile",
                uncovered=uncovered,
                failure_probability=chance,
                rng=own,
            ),
        )
        for head, own in zip(heads.each(workers_each), sources, strict=True)
    ]
    tasks = [
        partial(_certified_heads, asked[first : first + together])
        for first in range(0, len(asked), together)
    ]
    found = list(chain.from_iterable(run(tasks, threads)))
    return _together(heads, found, uncovered, failure_probability)


def _sharing(heads: Heads) -> int:
    """Return how many heads, one after another, have the same keys and values."""
    return len(heads) // int(np.prod(heads.keys.shape[:-2], dtype=int))


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


def _certified_heads(asked: Sequence[tuple[Head, _Asked]]) -> list[CertifiedHead]:
    """Take the cheapest way of heads that share keys: those that only samples serve together."""
    if len(asked) == 1:
        return [_certified_head(*asked[0])]
    plain = [_only_sampled(head, of_head) for head, of_head in asked]
    some = [index for index, found in enumerate(plain) if found is not None]
    refused: tuple[Refusal, ...] = ()
    together: list[CertifiedHead] = []
    if len(some) > 1:
        taken = take_cheapest(
            _sampled_ways(
                [asked[index][0] for index in some],
                [head for head in plain if head is not None],
                [asked[index][1] for index in some],
            )
        )
        if isinstance(taken, Refusal):
            refused = (taken,)
        else:
            together = [
                replace(answer, reason=f"{'; '.join((*taken.refusals, answer.reason))}.")
                for answer in taken.answer
            ]
    answers = dict(zip(some, together, strict=False))
    return [
        answers[index]
        if index in answers
        else _certified_head(head, of_head, refused if index in some else ())
        for index, (head, of_head) in enumerate(asked)
    ]


def _only_sampled(head: Head, asked: _Asked) -> Head | None:
    """Return the head without its scale where it is large and not sharp, and no polynomial serves it."""
    if (head.options is not None and head.options.asked) or rows_cost(
        head, len(head.queries)
    ) < LARGE:
        return None
    plain = _plain(head, asked)
    if isinstance(plain, Refusal) or not isinstance(_polynomial(plain, asked), Refusal):
        return None
    # What the head itself draws stays the same.
    drawn = replace(asked, rng=np.random.default_rng(0))
    return plain.head if _needed_keys(plain.head, drawn) > SHARP else None


def _certified_head(head: Head, asked: _Asked, refused: tuple[Refusal, ...] = ()) -> CertifiedHead:
    """Take the cheapest way of one head, of which sampled keys and clusters may have been refused before."""
    taken = take_cheapest(_ways(head, asked, refused))
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


def _ways(
    head: Head, asked: _Asked, refused: tuple[Refusal, ...]
) -> list[Offer[CertifiedHead] | Refusal]:
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
    needed = _needed_keys(plain.head, asked)
    found.append(_dropping(plain, asked, needed))
    if not asked.quantile:
        found.append(Refusal(reason="neither clusters nor sampled keys certify every row"))
    elif needed <= SHARP:
        found.append(Refusal(reason="neither clusters nor sampled keys serve a sharp head"))
    elif refused:
        found += refused
    else:
        for way in _sampled_ways([head], [plain.head], [asked]):
            found.append(way if isinstance(way, Refusal) else _first(way))
    return [*found, exact]


def _first(offer: Offer[list[CertifiedHead]]) -> Offer[CertifiedHead]:
    """Return the offer of one head alone."""

    def take() -> CertifiedHead | Refusal:
        found = offer.take()
        return found if isinstance(found, Refusal) else found[0]

    return Offer(way=offer.way, cost=offer.cost, certifies=offer.certifies, take=take)


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


def _too_dear(what: str, cost: float, exact: float, most: float) -> Refusal | None:
    """Refuse what takes more than a part of exact attention's time."""
    relative = cost / exact
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

    return _too_dear("a polynomial", offer.cost, exact_cost(head), WORTHWHILE) or Offer(
        way=offer.way, cost=offer.cost, certifies=offer.certifies, take=take
    )


def _needed_keys(head: Head, asked: _Asked) -> float:
    """Return the fraction of the keys that would be kept if each row could choose its own."""
    drawn = asked.rng.integers(0, len(head.queries), SHARPNESS_ROWS)
    weights = head.queries[drawn] @ head.keys.T
    if head.causal:
        weights[np.arange(len(head.keys)) > drawn[:, None]] = -np.inf
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
    way = CausalDroppedKeys if head.causal else DroppedKeys
    planning = way.planning_cost(head)

    def take() -> CertifiedHead | Refusal:
        planned = way.planned(head, plain.allowed, asked.rng)
        if isinstance(planned, Refusal):
            return planned
        cost = planned.cost(asked.rng)
        return _too_dear("dropping keys", cost, exact_cost(head), WORTHWHILE) or plain.certain(
            planned.attend(), "dropped keys", sharp, (planning + cost) / exact_cost(head)
        )

    sharp = "the head is sharp, and dropping keys of little weight certifies every row"
    return _too_dear("planning which keys to drop", planning, exact_cost(head), PLANNING) or Offer(
        way="dropped keys",
        cost=planning + way.likely_cost(head, needed),
        certifies=sharp,
        take=take,
    )


def _sampled_ways(
    given: Sequence[Head], heads: Sequence[Head], asked: Sequence[_Asked]
) -> list[Offer[list[CertifiedHead]] | Refusal]:
    """Offer what certifies all but a fraction of the rows of each of some heads, which share keys.

    What is certified are the heads as they were given, whose scale exact attention takes itself.
    """
    exact = sum(map(exact_cost, heads))
    chance = asked[0].failure_probability / 2
    certificate = sum(_certificate_cost(head, asked[0], chance) for head in heads)
    found: list[Offer[list[CertifiedHead]] | Refusal] = []
    cheapest = WORTHWHILE * exact
    clusters: type[_Sampling] = CausalClusteredHead if heads[0].causal else ClusteredHead
    ways: tuple[tuple[type[_Sampling], str], ...] = (
        (clusters, "clusters"),
        (SampledKeys, "sampled keys"),
    )
    for way, name in ways:
        planning, least = way.planning_cost(heads), way.least_cost(heads)
        refusal = _too_dear(f"planning {name}", planning, exact, PLANNING) or _too_dear(
            f"certified {name}", planning + least + certificate, exact, WORTHWHILE
        )
        if refusal:
            found.append(refusal)
            continue
        most = cheapest
        found.append(
            Offer(
                way=name,
                cost=planning + least + certificate,
                certifies=f"{name} certify all but {asked[0].uncovered:g} of the rows",
                take=partial(_by_samples, way, name, given, heads, asked, planning, most),
            )
        )
        cheapest = min(cheapest, planning + least + certificate)
    return found


def _certificate_cost(head: Head, asked: _Asked, chance: float) -> float:
    rows = rows_skipping(SKIPPED, asked.uncovered, chance, len(head.queries))
    drawn = rows_cost(head, rows)
    return drawn / 2 if head.causal else drawn


def _by_samples(
    way: type[_Sampling],
    name: str,
    given: Sequence[Head],
    heads: Sequence[Head],
    asked: Sequence[_Asked],
    spent: float,
    most: float,
) -> list[CertifiedHead] | Refusal:
    """Take as many samples as a pilot finds necessary, and more after each certificate that fails."""
    first, exact = asked[0], sum(map(exact_cost, heads))
    planned = way.planned(heads, first.rng)
    if isinstance(planned, Refusal):
        return planned
    chance, aim = first.failure_probability, PILOT_ROOM * first.allowed
    while True:
        chance /= 2
        certificate = sum(_certificate_cost(head, first, chance) for head in heads)
        sized = _sample_size(name, planned, aim, most - spent - certificate, first.rng)
        if isinstance(sized, Refusal):
            return sized
        samples, repaired, cost = sized
        refusal = _too_dear(f"certified {name}", spent + cost + certificate, exact, WORTHWHILE)
        if refusal:
            return refusal
        spent += cost + certificate
        output = planned.output(samples, repaired, first.rng)
        drawn = rows_skipping(SKIPPED, first.uncovered, chance, len(heads[0].queries))
        found = [
            certified_rows(
                [head], output[i : i + 1], first.uncovered, chance, drawn, of_head.rng, 1
            )
            for i, (head, of_head) in enumerate(zip(given, asked, strict=True))
        ]
        worst = max(float(head.error_bound) for head in found)
        if worst <= first.allowed:
            break
        aim *= min(PILOT_ROOM, first.allowed / worst)
    per = "" if name == "sampled keys" else " a cluster"
    shared = f", for {len(heads)} heads together" if len(heads) > 1 else ""
    return [
        CertifiedHead(
            output=output[i],
            error_bound=head.error_bound,
            claims=head.claims,
            uncovered=first.uncovered,
            failure_probability=first.failure_probability,
            method=name,
            reason=f"{samples} samples{per} and {repaired:.0%} of the rows repaired met the tolerance on "
            f"{head.rows_checked} rows{shared}",
            predicted_cost=spent / exact,
        )
        for i, head in enumerate(found)
    ]


def _sample_size(
    name: str, planned: _Sampling, aim: float, most: float, rng: np.random.Generator
) -> tuple[int, float, float] | Refusal:
    """Return how many keys to sample and which fraction of the rows to repair, and what that costs.

    Errors fall like one by the square root of the samples.
    """
    samples = planned.fewest
    for _ in range(PILOTS):
        pilot = planned.pilot(samples, rng)
        choices = []
        for repaired in planned.repairs:
            kept = len(pilot.errors) - ceil(repaired * len(pilot.errors))
            errors = pilot.errors[np.argsort(pilot.predicted, kind="stable")[:kept]]
            # NaN is the largest error.
            error = float(np.max(np.nan_to_num(errors, nan=np.inf)))
            # Of the least numbers a share may be 0; and the square of what is missed stays a number.
            missed = min(error / aim, MOST_MISSED) if aim else MOST_MISSED
            more = max(1.0, missed) ** 2
            choices.append((planned.cost(pilot.sampled * more, repaired), repaired, missed))
        cost, repaired, missed = min(choices)
        if missed <= 1:
            return samples, repaired, cost
        if not cost < most:
            break
        samples = int(samples * max(1.5, missed**2)) if samples else FIRST_SAMPLES
    samples_of = "samples" if name == "clusters" else name
    return Refusal(
        reason=f"no number of {samples_of} that pays meets the tolerance on the pilot's rows"
    )


class _Sampling(Protocol):
    """A way that approximates heads by samples: how it is planned, tried and taken."""

    @property
    def fewest(self) -> int:
        """The fewest samples that are tried."""

    @property
    def repairs(self) -> tuple[float, ...]:
        """Which fractions of the rows may be computed exactly in the end."""

    @staticmethod
    def planning_cost(heads: Sequence[Head]) -> float: ...

    @staticmethod
    def least_cost(heads: Sequence[Head]) -> float: ...

    @classmethod
    def planned(cls, heads: Sequence[Head], rng: np.random.Generator) -> _Sampling | Refusal: ...

    def cost(self, sampled: float, repaired: float) -> float: ...

    def pilot(self, samples: int, rng: np.random.Generator) -> Pilot: ...

    def output(self, samples: int, repaired: float, rng: np.random.Generator) -> Matrix: ...
