"""Which way to keep answers ready is cheapest: what each takes (``fastpath.core.costs``), and when to move.

Costs are those of float64; the ratios of float32 are nearly the same.
"""

from dataclasses import dataclass

from fastpath.core.costs import (
    CALL,
    EXPONENTIAL,
    LOOK,
    PASS,
    PRODUCT,
    STREAMED_PRODUCT,
    STRIDED,
)

#: The numbers of pending pairs at which the cached strategy may rebuild, beside the one asked for.
LIMITS = (1, 4, 16)

#: Updates, or reads of one kind, after which the choice is reviewed.
REVIEW_UPDATES, REVIEW_READS = 1024, 16384

#: A move must gain this share of what was spent since the last review.
PATIENCE = 0.25


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What was asked since the last review: updates, of how many tokens, and reads."""

    updates: int
    distinct: int
    rows: int
    entries: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A strategy by name, with the number of pairs or slots at which it rebuilds."""

    strategy: str
    limit: int


def costs(n: int, d: int, width: int, most: int, work: Workload) -> dict[Plan, float]:
    """Return what each plan would have taken for a workload.

    ``width`` is d_v + 1, and ``most`` the largest number of pairs or slots that may be pending.
    Changes of any part of a token count as changes of an entry of a key.
    """
    weights = n * (EXPONENTIAL + 3 * PASS)
    found = {
        Plan(strategy="recomputed", limit=0): (
            work.updates * LOOK
            + work.rows * (n * (d + width) * STREAMED_PRODUCT + weights + 8 * CALL)
            + work.entries * (n * (d + 6) * STREAMED_PRODUCT + weights + 8 * CALL)
        )
    }
    rebuilt, pending = _pending(work, most)
    found[Plan(strategy="dirty", limit=most)] = (
        work.updates * 2 * LOOK
        + rebuilt * n * (2 * (d + width) * PRODUCT + 2 * EXPONENTIAL + 6 * PASS)
        + work.rows * (10 * CALL + pending * 2 * (d + width) * STREAMED_PRODUCT)
        + work.entries * (9 * CALL + pending * 2 * (d + 4) * STREAMED_PRODUCT)
    )
    found[Plan(strategy="kept", limit=1)] = (
        work.updates * (n * (EXPONENTIAL + 2 * PASS) + 4 * CALL)
        + work.rows * (n * (width * STREAMED_PRODUCT + STRIDED) + 5 * CALL)
        + work.entries * (n * 2 * STRIDED + 3 * CALL)
    )
    for limit in sorted({most, *(fewer for fewer in LIMITS if fewer < most)}):
        rebuilt, pending = _pending(work, limit)
        found[Plan(strategy="cached", limit=limit)] = (
            work.updates * (n * (EXPONENTIAL + 4 * PASS) + 6 * CALL)
            + rebuilt * n * (width * PRODUCT + 2 * PASS)
            + rebuilt / limit * n * width * STREAMED_PRODUCT
            + work.rows * (2 * CALL + (2 * CALL + pending * width * PRODUCT if pending else 0.0))
            + work.entries * (LOOK + (3 * CALL + pending * 2 * PRODUCT if pending else 0.0))
        )
    return found


def _pending(work: Workload, limit: int) -> tuple[float, float]:
    """Return how many pairs a workload would have rebuilt, and how many were pending at a read."""
    if work.distinct < limit:
        return 0.0, work.distinct
    return work.updates * (1 - (limit - 1) / (2 * work.distinct)), (limit - 1) / 2


class Chooser:
    """Move to another plan once staying has cost more than moving would have.

    So a workload that changes costs at most about twice the best plan in hindsight, and one that
    does not is served by the best plan of the model after a while.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._regret: dict[Plan, float] = {}

    def review(self, found: dict[Plan, float], build: float) -> Plan:
        """Return the plan to follow, given what each would have taken since the last review.

        ``build`` is what it takes to compute all rows: what moving takes, unless sums are at hand.
        """
        current = found[self.plan]
        best, most = self.plan, current * PATIENCE
        for plan, cost in found.items():
            regret = max(0.0, self._regret.get(plan, 0.0) + current - cost)
            self._regret[plan] = regret
            gain = regret - (0.0 if self._at_hand(plan) else build)
            if gain > most:
                best, most = plan, gain
        if best != self.plan:
            self.plan = best
            self._regret.clear()
        return best

    def _at_hand(self, plan: Plan) -> bool:
        """Whether what a plan needs is kept by the present one, or is nothing."""
        return plan.strategy in (self.plan.strategy, "recomputed") or (
            (self.plan.strategy, plan.strategy) == ("cached", "dirty")
        )


def build_cost(n: int, d: int, width: int) -> float:
    """Return what computing all rows takes."""
    return n * n * ((d + width) * PRODUCT + EXPONENTIAL + 3 * PASS)
