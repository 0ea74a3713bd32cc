"""Which hypotheses of the four papers hold for a head, in numbers.

Only the abstracts were read.  A condition that an abstract states is tested as it stands; where it is
asymptotic (``d >> n``, entries ``o(sqrt(log n))``), or is needed but not stated, the condition tested is our
reading of it, is the weakest that we can defend, and is labelled so.

NOTE Logits are computed in float64 and their rounding error, bounded by claim FP.softmax, is added to
every figure that is compared with a threshold: "holds" is certain.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from proofs.judging.heads import Head
from reference import evaluate
from specs.softmax.rounding import ARITHMETIC, FP_SOFTMAX

__all__ = ["PAPERS", "Condition", "Measurements", "Paper", "measure", "papers", "rounded_up"]

PAPERS = ("P1", "P2", "P3", "P4")

#: P3 asks for max|q.k| < r with some r in (0, 0.1).
LARGEST_R = 0.1

#: P2 speaks of contexts much longer than 128K.
LONG_CONTEXT = 128 * 1024

#: Logits held at a time: 32 MiB.
LOGITS_HELD = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """The numbers on which the papers' hypotheses depend.

    Attributes
    ----------
    n_q, n_k, d, d_v
        Numbers of queries and keys, dimensions of keys and values.
    logit_bound
        max |q.k|, rounded upward.
    half_row_range
        Half of the largest difference of two logits in one row, rounded upward: the least logit bound
        that shifting the logits of each row can reach, and softmax does not see such a shift.  Subtracting
        one vector from every key is such a shift, so it leaves this number as it is.
    scale_for_r
        What Q must be multiplied by to bring max |q.k| to 0.1; None if all logits are zero.
    largest_entries
        max |Q|, max |K|, max |V|.
    query_key_distance
        max |Q - K|, 0 exactly where the logit matrix is X X^T with X = Q; None if shapes differ.
    rank
        Numerical rank of Q K^T: singular values above max(n_q, n_k) 2^-52 times the largest.
    """

    n_q: int
    n_k: int
    d: int
    d_v: int
    logit_bound: float
    half_row_range: float
    scale_for_r: float | None
    largest_entries: tuple[float, float, float]
    query_key_distance: float | None
    rank: int


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition of a paper, and what it comes to on a head.

    Attributes
    ----------
    statement
        The condition that was tested.
    measured
        The same with the head's numbers: a true sentence whether it holds or not.
    holds
        Whether it does.
    reading
        Why the statement is ours and not the abstract's; empty where the abstract states it.
    """

    statement: str
    measured: str
    holds: bool
    reading: str = ""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The conditions of one paper on one head; its guarantees apply where all of them hold.

    Attributes
    ----------
    id
        P1 to P4.
    conditions
        What was tested.
    remark
        What the abstract asks, or does not ask, beyond that.
    """

    id: str
    conditions: tuple[Condition, ...]
    remark: str

    @property
    def holds(self) -> bool:
        """Whether every condition holds."""
        return all(condition.holds for condition in self.conditions)


def measure(head: Head) -> Measurements:
    """Measure a head.

    Cost: 2 n_q n_k d operations and 32 MiB.
    """
    Q, K, V = (x.astype(np.float64) for x in head.matrices)
    largest = tuple(float(np.abs(x).max()) for x in (Q, K, V))
    absolute = spread = 0.0
    rows = max(1, LOGITS_HELD // len(K))
    for start in range(0, len(Q), rows):
        logits = Q[start : start + rows] @ K.T
        upper, lower = logits.max(axis=1), logits.min(axis=1)
        absolute = max(absolute, float(upper.max()), -float(lower.min()))
        spread = max(spread, float((upper - lower).max()))
    rounding = logit_rounding(Q.shape[1], largest[0], largest[1])
    logit_bound = rounded_up(Fraction(absolute) + rounding)
    return Measurements(
        n_q=len(Q),
        n_k=len(K),
        d=Q.shape[1],
        d_v=V.shape[1],
        logit_bound=logit_bound,
        # The difference of two floats is rounded once more; 2^-52 of it covers that.
        half_row_range=rounded_up(Fraction(spread) * (1 + Fraction(1, 2**52)) / 2 + rounding),
        scale_for_r=LARGEST_R / logit_bound if absolute else None,
        largest_entries=largest,  # type: ignore[arg-type]
        query_key_distance=float(np.abs(Q - K).max()) if Q.shape == K.shape else None,
        rank=_rank(Q, K),
    )


def papers(m: Measurements) -> tuple[Paper, ...]:
    """Return the conditions of P1 to P4 on a head of these measurements."""
    conditions = zip(PAPERS, (_p1, _p2, _p3, _p4), strict=True)
    return tuple(
        Paper(id=id_, conditions=tuple(of(m)), remark=_REMARKS[id_]) for id_, of in conditions
    )


def rounded_up(value: Fraction) -> float:
    """Return the least float64 that is at least ``value``, infinity beyond the largest finite one."""
    try:
        nearest = float(value)
    except OverflowError:
        return math.inf if value > 0 else -sys.float_info.max
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


# ----------------------------------------------------------------------------------- the abstracts


_REMARKS = {
    "P1": "The abstract asks nothing of the entries of K and V, which change one at a time; its bounds "
    "are stated in n for n^tau pending updates, and their optimality rests on the hinted "
    "matrix-vector conjecture, which is no property of a head.",
    "P2": "The abstract bounds no logit; the numbers that decide whether a polynomial can be afforded "
    "are d and the half row range.",
    "P3": "Scaling Q brings the logits below 0.1, but changes what the head computes.",
    "P4": "The abstract states no condition on the data; A1, A2, A3 were taken to be Q, K, V.",
}


def _p1(m: Measurements) -> Iterator[Condition]:
    """P1 maintains D^-1 A V while single entries of K and V change."""
    yield _one_shape(m)


def _p2(m: Measurements) -> Iterator[Condition]:
    """P2 treats one stream of n >> 2^d tokens, n much greater than 128K, by the polynomial method."""
    yield _one_shape(m)
    much_greater = "our reading: at least greater, where the abstract says much greater"
    yield Condition(
        statement="n > 2^d",
        **_compare("log2 n", math.log2(m.n_k), ">", "d", m.d),
        reading=much_greater,
    )
    yield Condition(
        statement="n > 128K",
        **_compare("n", m.n_k, ">", "128K", LONG_CONTEXT),
        reading=much_greater,
    )
    yield Condition(
        statement="every entry of Q, K, V is at most sqrt(ln n)",
        **_compare(
            "max entry", max(m.largest_entries), "<=", "sqrt(ln n)", math.sqrt(math.log(m.n_k))
        ),
        reading="our reading: the polynomial method needs entries o(sqrt(log n)) (Alman and Song), which "
        "the abstract does not say",
    )


def _p3(m: Measurements) -> Iterator[Condition]:
    """P3 takes symmetric logits X X^T with max|XX^T| < r, r in (0, 0.1), and d >> n."""
    yield Condition(
        statement="Q = K, so that the logits are X X^T",
        measured="Q and K have different shapes"
        if m.query_key_distance is None
        else f"max|Q-K| = {m.query_key_distance:.3g}",
        holds=m.query_key_distance == 0,
    )
    yield Condition(
        statement="max|q.k| < r for some r in (0, 0.1)",
        **_compare("max|q.k|", m.logit_bound, "<", "", LARGEST_R),
        reading="our reading: the norm is the largest entry",
    )
    yield Condition(
        statement="d > n",
        **_compare("d", m.d, ">", "n", m.n_k),
        reading="our reading: at least d > n, where the abstract says d >> n",
    )


def _p4(m: Measurements) -> Iterator[Condition]:
    """P4 learns X and Y (d x d) from B (n x d)."""
    yield _one_shape(m)
    yield Condition(
        statement="n >= 2d",
        **_compare("n", m.n_k, ">=", "2d", 2 * m.d),
        reading="our reading: so that n d equations can determine the 2 d^2 unknowns of X and Y",
    )


def _one_shape(m: Measurements) -> Condition:
    same = m.n_q == m.n_k and m.d == m.d_v
    shapes = f"{m.n_q}x{m.d}, {m.n_k}x{m.d}, {m.n_k}x{m.d_v}"
    return Condition(
        statement="Q, K and V are n x d",
        measured=f"Q, K, V are {m.n_k}x{m.d}" if same else f"Q, K, V are {shapes}",
        holds=same,
    )


class _Compared(TypedDict):
    """What a comparison adds to a condition."""

    measured: str
    holds: bool


_COMPARE: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "<": (operator.lt, ">="),
    ">": (operator.gt, "<="),
    "<=": (operator.le, ">"),
    ">=": (operator.ge, "<"),
}


def _compare(left: str, value: float, relation: str, right: str, threshold: float) -> _Compared:
    """Return what is true of ``value relation threshold`` in words, and whether it holds."""
    test, otherwise = _COMPARE[relation]
    holds = test(value, threshold)
    shown = [f"{x:.3g}" if isinstance(x, float) else str(x) for x in (value, threshold)]
    if shown[0] == shown[1] and value != threshold:
        shown = [repr(value), repr(threshold)]
    label = f"{right} = " if right else ""
    measured = f"{left} = {shown[0]} {relation if holds else otherwise} {label}{shown[1]}"
    return {"measured": measured, "holds": holds}


# -------------------------------------------------------------------------------------- arithmetic


def logit_rounding(d: int, largest_query: float, largest_key: float) -> Fraction:
    """Bound the rounding error of a float64 logit by claim FP.softmax, sum_l |q_l k_l| taken as d max max."""
    bound = next(b for b in FP_SOFTMAX.bounds if b.name == "rounding_logit")
    arithmetic = ARITHMETIC["float64"]
    magnitude = d * Fraction(largest_query) * Fraction(largest_key)
    # Enough bits for the term d tiny, tiny = 2^-1022, not to vanish.
    bits = 1280
    values: dict[str, Any] = {
        "dimension": d,
        "unit_roundoff": arithmetic.unit_roundoff,
        "logit_magnitude": magnitude,
        "tiny": arithmetic.tiny,
    }
    _, upper = evaluate(bound.expression, values, bits).bounds()
    return Fraction(upper.item())


def _rank(Q: NDArray[np.float64], K: NDArray[np.float64]) -> int:
    """Numerical rank of Q K^T from the triangular factors of Q and K: never an n x n matrix."""
    first, second = (_triangle(x) for x in (Q, K))
    singular = np.linalg.svdvals(first @ second.T)
    threshold = singular[0] * max(len(Q), len(K)) * np.finfo(np.float64).eps
    return int(np.count_nonzero(singular > threshold))


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.qr(x, mode="r")  # type: ignore[return-value]
