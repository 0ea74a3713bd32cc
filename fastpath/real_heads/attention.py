"""Attention on real heads, whose logits no polynomial reaches: fast, and certified afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from math import ceil, sqrt
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.costs import exact_cost, rows_cost
from fastpath.core.directed import down, up
from fastpath.core.head import Head, Heads
from fastpath.core.inputs import Array, Matrix, generator, open_unit, seed_of, source
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
from fastpath.real_heads.certify import checked_heads, most_skipped, rows_skipping
from fastpath.real_heads.clustered_head import ClusteredHead
from fastpath.real_heads.drawn_rows import DrawnRows, completed
from fastpath.real_heads.dropped_keys import DroppedKeys
from fastpath.real_heads.pilot import Pilot
from fastpath.real_heads.probe import Probe
from fastpath.real_heads.sampled_keys import SampledKeys

#: Where exact attention takes less (3500 queries and keys, 30 ms) nothing is planned: it is as fast.
LARGE = 1e9

#: The most that a way may be predicted to take, and what may be spent on ways that come to nothing, of what
#: exact attention takes.
WORTHWHILE, IN_VAIN = 0.7, 0.12

#: The part of what may be in vain that may be gone once rows are drawn for a certificate, which is work in
#: many small pieces.
TRYING = 0.7

#: The share of the keys that a few rows may need where dropping pays: where it does they need 0.02 at most,
#: and with 0.07 clusters of queries need more keys than there are.
SHARP = 0.04

#: Where a logit is larger, of more columns than these, no polynomial is looked for: of degree 4, the least
#: that might do, it has more features than attention has keys.
POLYNOMIAL_REACH, POLYNOMIAL_COLUMNS = 4.0, 24

#: Where more keys would have to be sampled, relative to all, clusters do not help: of 12 real heads of two
#: models they helped none.
CLUSTERED = 5.0

#: The most that all certificates of an output may take of what exact attention takes.
CERTIFICATES = 0.7

#: The fraction of the tolerance that the pilot's errors must meet.
PILOT_ROOM = 0.7

#: So many errors of the rows drawn are skipped: a third more rows, and the largest of a few thousand errors,
#: which may be twice the pilot's, decides nothing.
SKIPPED = 2

#: A pilot that misses its aim by more is counted as missing it by this.
MOST_MISSED = 1e9

#: So many times the fewest keys that may do are likely to be needed where the same serve all queries: of real
#: heads 5 to 17.
LIKELY = 8

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
        What it was predicted to take, relative to exact attention: planning, certificates, and what was
        spent on ways that came to nothing included.
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

    Only what is predicted to take at most 0.7 of exact attention is begun, and only while at most 0.12 may
    have been spent in vain.  32 rows tell which ways need not be planned; rows that were computed exactly,
    for pilots or certificates, are not computed again; sampled keys are tried on a certificate's rows before
    all are computed.  Where few rows err too much more are drawn, as then more may err.  Clusters whose
    certificate fails all the same cost what was spent until then.

    The pilot's rows certify nothing; each certificate draws its own, and each spends half of the failure
    probability that is left.

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
    spent = _Spent()
    if len(some) > 1:
        sampled = [found for found in plain if found is not None]
        taken = take_cheapest(
            _sampled_ways(
                [asked[index][0] for index in some],
                [head for head, _ in sampled],
                [asked[index][1] for index in some],
                max(probe.sampled for _, probe in sampled),
                spent,
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
        else _certified_head(
            head, of_head, refused if index in some else (), spent.vain / len(some)
        )
        if index in some
        else _certified_head(head, of_head)
        for index, (head, of_head) in enumerate(asked)
    ]


def _only_sampled(head: Head, asked: _Asked) -> tuple[Head, Probe] | None:
    """Return the head without its scale where it is large and not sharp, and no polynomial serves it."""
    if (head.options is not None and head.options.asked) or rows_cost(
        head, len(head.queries)
    ) < LARGE:
        return None
    plain = _plain(head, asked)
    if isinstance(plain, Refusal):
        return None
    # What the head itself draws stays the same.
    probe = Probe.of(plain.head, asked.allowed, np.random.default_rng(0))
    if probe.needed <= SHARP or not isinstance(_polynomial(plain, asked, probe), Refusal):
        return None
    return plain.head, probe


def _certified_head(
    head: Head, asked: _Asked, refused: tuple[Refusal, ...] = (), vain: float = 0.0
) -> CertifiedHead:
    """Take the cheapest way of one head, of which sampled keys and clusters may have been refused before."""
    taken = take_cheapest(_ways(head, asked, refused, _Spent(vain=vain)))
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


@dataclass(kw_only=True)
class _Spent:
    """What was spent on ways of some heads that may come to nothing, and what of it exact attention can use.

    Attributes
    ----------
    vain : float
        Costs that nothing comes of if the way that they were spent on fails.
    known : list
        Rows and their exact attention, of one head alone.
    unspent : float
        The part of the failure probability that no certificate has spent, of whatever way.
    """

    vain: float = 0.0
    unspent: float = 1.0
    known: list[tuple[NDArray[np.intp], Certified]] = field(default_factory=list)

    def refused(self, what: str, more: float, exact: float, most: float = 1) -> Refusal | None:
        """Refuse what would bring all that may be in vain beyond a part of what is allowed."""
        return _too_dear(what, self.vain + more, exact, most * IN_VAIN)


def _ways(
    head: Head, asked: _Asked, refused: tuple[Refusal, ...], spent: _Spent
) -> list[Offer[CertifiedHead] | Refusal]:
    exact = Offer(
        way="exact",
        cost=exact_cost(head),
        certifies="exact attention certifies every row",
        take=lambda: _certain(
            completed(head, spent.known), "exact", "", 1 + spent.vain / exact_cost(head)
        ),
    )
    if head.options is not None and head.options.asked:
        return [exact, Refusal(reason=f"{', '.join(head.options.asked)}: {ONLY_EXACT}")]
    if rows_cost(head, len(head.queries)) < LARGE:
        return [exact, Refusal(reason="with so few queries and keys exact attention is as fast")]
    plain = _plain(head, asked)
    if isinstance(plain, Refusal):
        return [exact, plain]
    probe = Probe.of(plain.head, asked.allowed, asked.rng)
    found = [_polynomial(plain, asked, probe), _dropping(plain, asked, probe.needed, spent)]
    if not asked.quantile:
        found.append(Refusal(reason="neither clusters nor sampled keys certify every row"))
    elif probe.needed <= SHARP:
        found.append(Refusal(reason="neither clusters nor sampled keys serve a sharp head"))
    elif refused:
        found += refused
    else:
        for way in _sampled_ways([head], [plain.head], [asked], probe.sampled, spent):
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


def _polynomial(plain: _Plain, asked: _Asked, probe: Probe) -> Offer[CertifiedHead] | Refusal:
    head = plain.head
    if probe.reach > POLYNOMIAL_REACH and head.keys.shape[1] > POLYNOMIAL_COLUMNS:
        return Refusal(reason="no polynomial is affordable")
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


def _dropping(
    plain: _Plain, asked: _Asked, needed: float, spent: _Spent
) -> Offer[CertifiedHead] | Refusal:
    head = plain.head
    if needed > SHARP:
        return Refusal(reason="the head is not sharp")
    way = CausalDroppedKeys if head.causal else DroppedKeys
    planning = way.planning_cost(head)

    def take() -> CertifiedHead | Refusal:
        spent.vain += planning
        planned = way.planned(head, plain.allowed, asked.rng)
        if isinstance(planned, Refusal):
            return planned
        cost = planned.cost(asked.rng)
        return _too_dear("dropping keys", cost, exact_cost(head), WORTHWHILE) or plain.certain(
            planned.attend(), "dropped keys", sharp, (spent.vain + cost) / exact_cost(head)
        )

    sharp = "the head is sharp, and dropping keys of little weight certifies every row"
    likely = planning + way.likely_cost(head, needed)
    return (
        spent.refused("planning which keys to drop", planning, exact_cost(head))
        or _too_dear("dropping keys", likely, exact_cost(head), WORTHWHILE)
    ) or Offer(
        way="dropped keys",
        cost=likely,
        certifies=sharp,
        take=take,
    )


def _sampled_ways(
    given: Sequence[Head],
    heads: Sequence[Head],
    asked: Sequence[_Asked],
    sampled: float,
    spent: _Spent,
) -> list[Offer[list[CertifiedHead]] | Refusal]:
    """Offer what certifies all but a fraction of the rows of each of some heads, which share keys.

    What is certified are the heads as they were given, whose scale exact attention takes itself.  Of keys
    sampled with replacement ``sampled`` are needed at least, relative to all.
    """
    exact, n = sum(map(exact_cost, heads)), len(heads[0].keys)
    fewest = n if np.isinf(sampled) else int(n * sampled / (1 + sampled))
    chance = asked[0].failure_probability / 2
    likely_keys = min(n, LIKELY * fewest)
    certificate = sum(_certificate_cost(head, asked[0], chance) for head in heads)
    found: list[Offer[list[CertifiedHead]] | Refusal] = []
    clusters: type[_Sampling] = CausalClusteredHead if heads[0].causal else ClusteredHead
    ways: tuple[tuple[type[_Sampling], str, float], ...] = (
        (clusters, "clusters", clusters.least_cost(heads)),
        (SampledKeys, "sampled keys", SampledKeys.least_cost(heads, likely_keys)),
    )
    for way, name, likely in ways:
        planning = way.planning_cost(heads)
        cost = planning + likely + certificate
        refusal = spent.refused(f"planning {name}", planning, exact) or _too_dear(
            f"certified {name}", cost, exact, WORTHWHILE
        )
        if way is SampledKeys:
            # All that is spent before an output is begun: where that is too much, nothing is.
            rows = rows_skipping(SKIPPED, asked[0].uncovered, chance, len(heads[0].queries))
            trying = SampledKeys.trying_cost(heads, rows, likely_keys)
            refusal = refusal or spent.refused("trying sampled keys", trying, exact, TRYING)
            other = found[0]
            if isinstance(other, Offer) and spent.refused(
                "", trying + clusters.planning_cost(heads), exact
            ):
                # What would leave nothing to spend on clusters comes after them.
                cost = max(cost, other.cost)
        if way is clusters and sampled > CLUSTERED:
            refusal = Refusal(reason="the weights vary too much for clusters")
        found.append(
            refusal
            or Offer(
                way=name,
                cost=cost,
                certifies=f"{name} certify all but {asked[0].uncovered:g} of the rows",
                take=_Samples(
                    way=way,
                    name=name,
                    given=given,
                    heads=heads,
                    asked=asked,
                    # Fewer would be tried in vain.
                    fewest=min(n, LIKELY // 2 * fewest) if way is SampledKeys else 0,
                    spent=spent,
                ).taken,
            )
        )
    return found


def _certificate_cost(head: Head, asked: _Asked, chance: float) -> float:
    return _drawn_cost(head, rows_skipping(SKIPPED, asked.uncovered, chance, len(head.queries)))


def _drawn_cost(head: Head, rows: int) -> float:
    drawn = rows_cost(head, rows)
    return drawn / 2 if head.causal else drawn


@dataclass(kw_only=True)
class _Samples:
    """A way by samples: as many as a pilot finds necessary, and a certificate that may be drawn again.

    Attributes
    ----------
    way : type
        Which.
    name : str
        What it is called.
    given, heads : sequences of Head
        As they were given, and without their scale.
    asked : sequence of _Asked
        Of each head.
    fewest : int
        The number of samples to begin with.
    spent : _Spent
        What comes to nothing is added there.
    """

    way: type[_Sampling]
    name: str
    given: Sequence[Head]
    heads: Sequence[Head]
    asked: Sequence[_Asked]
    fewest: int
    spent: _Spent

    def __post_init__(self) -> None:
        self._first, self._exact = self.asked[0], sum(map(exact_cost, self.heads))
        self._certificates = 0.0

    def taken(self) -> list[CertifiedHead] | Refusal:
        """Take as many samples as a pilot finds necessary, and more where no certificate holds."""
        planning = self.way.planning_cost(self.heads)
        # Of another way, which has failed since this one was offered.
        refusal = self.spent.refused(f"planning {self.name}", planning, self._exact)
        if refusal:
            return refusal
        self.spent.vain += planning
        planned = self.way.planned(self.heads, self._first.rng)
        if isinstance(planned, Refusal):
            return planned
        if planned.known is not None and len(self.heads) == 1 and self.given[0].options is None:
            # The pilot's rows are of use whatever comes.
            self.spent.known.append(planned.known)
            rows = _drawn_cost(self.heads[0], len(planned.known[0]))
            self.spent.vain -= rows
            self._certificates += rows
        aim, samples = PILOT_ROOM * self._first.allowed, max(planned.fewest, self.fewest)
        while True:
            sized = self._sized(planned, samples, aim)
            if isinstance(sized, Refusal):
                return sized
            samples, repaired, cost = sized
            count = rows_skipping(SKIPPED, self._first.uncovered, self._chance / 2, self._rows)
            if isinstance(planned, SampledKeys):
                trying = planned.rows_cost(count, samples)
                refusal = self.spent.refused("trying sampled keys", trying, self._exact, TRYING)
                if refusal:
                    return refusal
                self.spent.vain += trying
            drawn = self._drawn(count)
            tried = self._tried(planned, samples, repaired)
            while True:
                errors = [rows.errors(x) for rows, x in zip(drawn, tried.of(drawn), strict=True)]
                bounds = [rows.bound(x) for rows, x in zip(drawn, errors, strict=True)]
                if max(bounds) <= self._first.allowed:
                    if tried.output is not None:
                        return self._certified(tried.output, drawn, bounds, sized)
                    # The rows that were tried are those of the output, but for the rounding of other tiles.
                    tried.compute()
                    continue
                again = self._rows_again(errors, cost)
                if again is None:
                    break
                drawn = self._drawn(again)
            self.spent.vain += cost if tried.output is not None else 0
            aim *= min(PILOT_ROOM, self._first.allowed / max(bounds))

    @property
    def _rows(self) -> int:
        return len(self.heads[0].queries)

    @property
    def _chance(self) -> float:
        """The failure probability that is left, the certificates of ways that failed before counted."""
        return self._first.failure_probability * self.spent.unspent

    def _sized(
        self, planned: _Sampling, samples: int, aim: float
    ) -> tuple[int, float, float] | Refusal:
        """Return how many keys to sample and which fraction of the rows to repair, and what that costs.

        Errors fall like one by the square root of the samples.
        """
        certificate = sum(
            _certificate_cost(head, self._first, self._chance / 2) for head in self.heads
        )
        certificate += self._certificates
        samples_of = "samples" if self.name == "clusters" else self.name
        refused = Refusal(
            reason=f"no number of {samples_of} that pays meets the tolerance on the pilot's rows"
        )
        for _ in range(PILOTS):
            trying = planned.pilot_cost(samples)
            if self.spent.refused("", trying, self._exact):
                return refused
            self.spent.vain += trying
            pilot = planned.pilot(samples, self._first.rng)
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
            refusal = _too_dear(
                f"certified {self.name}",
                self.spent.vain + cost + certificate,
                self._exact,
                WORTHWHILE,
            )
            if missed <= 1:
                return refusal or (samples, repaired, cost)
            if refusal:
                return refused
            samples = int(samples * max(1.5, missed**2)) if samples else FIRST_SAMPLES
        return refused

    def _drawn(self, count: int) -> list[DrawnRows]:
        """Draw rows for a certificate of each head, with half of the failure probability that is left."""
        self.spent.unspent /= 2
        drawn = [
            DrawnRows.of(head, of_head.uncovered, self._chance, count, of_head.rng)
            for head, of_head in zip(self.given, self.asked, strict=True)
        ]
        self._certificates += sum(_drawn_cost(head, count) for head in self.heads)
        if len(drawn) == 1:
            self.spent.known.append((drawn[0].rows, drawn[0].exact))
        return drawn

    def _tried(self, planned: _Sampling, samples: int, repaired: float) -> _Tried:
        """Return the output, or what computes any of its rows where that is cheaper."""
        tried = _Tried(
            planned=planned, samples=samples, repaired=repaired, source=seed_of(self._first.rng)
        )
        if not isinstance(planned, SampledKeys):
            tried.compute()
        return tried

    def _rows_again(self, errors: Sequence[NDArray[np.float64]], cost: float) -> int | None:
        """Return of how many rows another certificate would hold where few of these rows err too much.

        The more rows are drawn the more may err, up to the uncovered fraction: enough that it holds
        though rows err as often as chance may have hidden.
        """
        drawn = len(errors[0])
        outside = max(int(np.count_nonzero(~(x <= self._first.allowed))) for x in errors)
        likely = (outside + sqrt(outside) + 1) / drawn
        count = drawn
        while True:
            count += max(1, count // 4)
            certificates = self._certificates + sum(_drawn_cost(head, count) for head in self.heads)
            if count >= self._rows or not (
                certificates <= CERTIFICATES * self._exact
                and self.spent.vain + cost + certificates <= self._exact
            ):
                return None
            skipped, _ = most_skipped(count, self._first.uncovered, self._chance / 2)
            if skipped >= likely * count:
                return count

    def _certified(
        self,
        output: Matrix,
        drawn: Sequence[DrawnRows],
        bounds: Sequence[float],
        sized: tuple[int, float, float],
    ) -> list[CertifiedHead]:
        samples, repaired, cost = sized
        per = "" if self.name == "sampled keys" else " a cluster"
        shared = f", for {len(self.heads)} heads together" if len(self.heads) > 1 else ""
        return [
            CertifiedHead(
                output=output[i],
                error_bound=np.asarray(bounds[i]),
                claims=rows.claims,
                uncovered=self._first.uncovered,
                failure_probability=self._first.failure_probability,
                method=self.name,
                reason=f"{samples} samples{per} and {repaired:.0%} of the rows repaired met the tolerance on "
                f"{len(rows.repeats)} rows{shared}",
                predicted_cost=(self.spent.vain + cost + self._certificates) / self._exact,
            )
            for i, rows in enumerate(drawn)
        ]


@dataclass(kw_only=True)
class _Tried:
    """An output that is settled, whether it was computed or not: no row drawn has a part in it."""

    planned: _Sampling
    samples: int
    repaired: float
    source: NDArray[np.uint32]
    output: Matrix | None = None

    def compute(self) -> None:
        """Compute every row."""
        self.output = self.planned.output(
            self.samples, self.repaired, np.random.default_rng(self.source)
        )

    def of(self, drawn: Sequence[DrawnRows]) -> list[Matrix]:
        """Return the rows drawn of each head."""
        if self.output is not None:
            return [head[of_head.rows] for head, of_head in zip(self.output, drawn, strict=True)]
        assert isinstance(self.planned, SampledKeys)
        return self.planned.rows(
            self.samples, [of_head.rows for of_head in drawn], np.random.default_rng(self.source)
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

    @property
    def known(self) -> tuple[NDArray[np.intp], Certified] | None:
        """The pilot's rows of the first head, and their exact attention, if they are kept."""

    def cost(self, sampled: float, repaired: float) -> float: ...

    def pilot_cost(self, samples: int) -> float: ...

    def pilot(self, samples: int, rng: np.random.Generator) -> Pilot: ...

    def output(self, samples: int, repaired: float, rng: np.random.Generator) -> Matrix: ...
