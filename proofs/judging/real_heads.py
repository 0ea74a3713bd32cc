"""An implementation's ``certified_attention`` beside its exact errors, for one head.

Its certificate may leave a fraction of the rows out, and hold with a probability; so what is judged is how
many rows err by more than it says, and whether it is the certificate that was asked for.  One that
leaves out none holds for every row.  The rows are drawn by the judge when the answer is fixed, from what
no implementation knows; the size that a bound must have is the judge's (``proofs.judging.bars``).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import comb, floor, inf, nextafter
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.judging.bars import rounding_bar, tolerance_below, trivial_error
from proofs.judging.exact import SEED, Answer, checked_rows, implementation, unusable
from proofs.judging.heads import Head, Matrix
from proofs.judging.hypotheses import rounded_up
from reference import Enclosure, Verdict, attention
from reference.arithmetic.decide import PRECISIONS
from reference.scores import LARGEST_SIZE

__all__ = [
    "FAILURE_PROBABILITY",
    "TOLERANCE",
    "UNCOVERED",
    "Certificate",
    "Examination",
    "examine",
]

CertifiedAttention = Callable[..., Any]

#: The error asked for, relative to the largest |V|, where no trivial answer comes within twice of it; of all
#: rows but this fraction, with this probability.
TOLERANCE, UNCOVERED, FAILURE_PROBABILITY = 0.05, 0.01, 1e-9

#: Logits enclosed for one head: 0.3 s.  Of a larger head a random subset of rows is checked.
BUDGET = 1 << 14

#: Rows that are checked at least (20 s with 65,536 keys): so many tell a certificate that lies.  Before
#: it is asked for, a quarter of them tells what trivial answers reach.
LEAST_ROWS = 16

#: The probability at most with which a certificate that is right is convicted by rows that were drawn.
FALSE_ALARM = Fraction(1, 10**6)

#: Whose exact attention speed is told against.
EXACT = "fastpath"

#: Times that both are run in turn, and the seconds after which no further time is.
REPEATS, LONG = 9, 0.5


@dataclass(frozen=True)
class Certificate:
    """What an implementation certifies of its output.

    Attributes
    ----------
    bound
        The largest error that it allows any entry.
    uncovered
        The fraction of rows that may err by more.
    failure_probability
        The probability that more rows do.
    method
        How the output was computed, if it says.
    reason
        Why so, if it says.
    claims
        The ids of the claims that it names.
    """

    bound: float
    uncovered: float
    failure_probability: float
    method: str
    reason: str
    claims: tuple[str, ...]


@dataclass(frozen=True)
class Examination:
    """Everything the command says about one head.

    Attributes
    ----------
    name, dtype, shape
        The head's name, its type, and its numbers of queries and keys.
    largest_value
        max |V|.
    causal
        Whether causal attention was asked for.
    tolerance
        The tolerance that was asked for.
    rows
        The rows that were checked; none where there was no usable answer.
    certificate
        What was certified.
    error
        Ends of an enclosure of the largest error over the checked rows, rounded outward.
    outside
        The checked rows that are not within their bounds, for certain.
    speed
        Time of exact attention over that of this one.
    failure
        What is wrong, in sentences; empty if the certificate is right about the rows checked.
    """

    name: str
    dtype: str
    shape: tuple[int, int]
    largest_value: float
    causal: bool = False
    tolerance: float = TOLERANCE
    rows: tuple[int, ...] = ()
    certificate: Certificate | None = None
    error: tuple[float, float] | None = None
    outside: tuple[int, ...] = ()
    speed: float | None = None
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether no more rows are outside than the certificate allows."""
        return not self.failure

    @property
    def call(self) -> str:
        """What to evaluate to see the first row that is outside, or the whole answer."""
        return (
            f"certified_attention(*(arrays[f'{self.name}/{{x}}'].astype('{self.dtype}') for x in 'QKV'), "
            f"{self.asked})" + (f".output[{self.outside[0]}]" if self.outside else "")
        )

    @property
    def asked(self) -> str:
        """What was asked for, as arguments."""
        return (
            f"tolerance={self.tolerance!r}, rows='quantile', uncovered={UNCOVERED}, "
            f"failure_probability={FAILURE_PROBABILITY}, causal={self.causal}, "
            f"rng=np.random.default_rng({SEED})"
        )

    @property
    def verdict(self) -> Verdict | None:
        """WITHIN if the certificate is right about the rows checked; None if there is none to judge."""
        if self.certificate is None:
            return None
        return Verdict.WITHIN if self.passed else Verdict.OUTSIDE


def examine(
    head: Head,
    certified_attention: CertifiedAttention,
    *,
    causal: bool = False,
    budget: int = BUDGET,
    repeats: int = REPEATS,
    rng: np.random.Generator | None = None,
) -> Examination:
    """Ask an implementation for a head to a tolerance in all rows but UNCOVERED, and judge the answer.

    Parameters
    ----------
    head
        The head.
    certified_attention
        That function of the implementation under test; it is given copies.  What it returns must have
        ``output``, ``error_bound``, ``claims``, ``uncovered`` and ``failure_probability``.
    causal
        Whether to ask for causal attention.
    budget
        The most logits to enclose.  Where the head has more, ``budget // n_k`` random rows are checked, or
        LEAST_ROWS if those are more; all rows where ``causal``.
    repeats
        How often at most it is asked, to tell its speed.
    rng
        Draws those rows; by default one that nobody can foresee.
    """
    rng = np.random.default_rng() if rng is None else rng
    every = causal or len(head.Q) * len(head.K) <= budget
    few = len(head.Q) * len(head.K) if every else max(budget, LEAST_ROWS // 4 * len(head.K))
    budget = few if every else max(budget, LEAST_ROWS * len(head.K))
    pieces = _Rows(head, checked_rows(head, few, rng), causal)
    trivial = trivial_error(
        pieces.truths(PRECISIONS[0]),
        head.V,
        causal=causal,
        left_out=floor(Fraction(UNCOVERED) * len(pieces.rows)),
    )
    largest_value = float(np.abs(head.V).max())
    found = Examination(
        head.name,
        head.V.dtype.name,
        (len(head.Q), len(head.K)),
        largest_value,
        causal,
        tolerance_below(trivial, largest_value, TOLERANCE),
    )
    try:
        # An implementation may warn, or overwrite its arguments: neither reaches the reader or the truth.
        with warnings.catch_warnings(action="ignore"):
            answer, speed = _timed(head, certified_attention, found, repeats)
            output, bound, claims = Answer.of(answer)
            uncovered, chance = float(answer.uncovered), float(answer.failure_probability)
    except Exception as raised:
        failure = f"certified_attention raised {type(raised).__name__}: {raised}"
        return replace(found, failure=failure)
    if output.dtype == np.float16:
        output = output.astype(np.float32)  # which holds the same numbers
    problem = unusable(output, bound, (len(head.Q), head.V.shape[1]))
    for name, value, allowed in (
        ("uncovered", uncovered, UNCOVERED),
        ("failure_probability", chance, FAILURE_PROBABILITY),
    ):
        if not problem and not 0 <= value <= allowed:
            problem = f"{name} must be in [0, {allowed:g}], got {value:g}."
    if problem:
        return replace(found, failure=problem)
    certificate = Certificate(
        float(bound.max()),
        uncovered,
        chance,
        str(getattr(answer, "method", "")),
        str(getattr(answer, "reason", "")),
        claims,
    )
    if not every:
        pieces = _Rows(head, checked_rows(head, budget, rng), causal)
    rows = pieces.rows
    bound = np.broadcast_to(bound[:, None] if bound.ndim == 1 else bound, output.shape)[rows]
    outside, error = _judged(pieces, output[rows], bound)
    problems = (
        _too_large(head, certificate, found, trivial),
        _too_many(head, certificate, outside, len(rows)),
    )
    return replace(
        found,
        rows=tuple(rows.tolist()),
        certificate=certificate,
        error=error,
        outside=outside,
        speed=speed,
        failure=" ".join(filter(None, problems)),
    )


def _timed(
    head: Head, certified_attention: CertifiedAttention, found: Examination, repeats: int
) -> tuple[Any, float]:
    """Return the answer, and by how much it came faster than exact attention, run in turn."""
    exact = implementation(EXACT, "attention").attention
    times: dict[str, list[float]] = {"exact": [], "certified": []}
    answer = None
    for _ in range(repeats):
        asked = {
            "tolerance": found.tolerance,
            "rows": "quantile",
            "uncovered": UNCOVERED,
            "failure_probability": FAILURE_PROBABILITY,
            "causal": found.causal,
            # The same generator each time, so that all answers are the same.
            "rng": np.random.default_rng(SEED),
        }
        for name, call, choices in (
            ("exact", exact, {"causal": found.causal}),
            ("certified", certified_attention, asked),
        ):
            matrices = [x.copy() for x in head.matrices]
            start = time.perf_counter()
            answer = call(*matrices, **choices)
            times[name].append(time.perf_counter() - start)
        if sum(map(sum, times.values())) > LONG:
            break
    return answer, median(times["exact"]) / median(times["certified"])


class _Rows:
    """Some rows of a head, and what encloses their outputs, in pieces that the reference can take."""

    def __init__(self, head: Head, rows: NDArray[np.intp], causal: bool) -> None:
        self.rows, self._head, self._causal = rows, head, causal
        self._enclosed: dict[int, list[Enclosure]] = {}

    def truths(self, bits: int) -> list[Enclosure]:
        """Enclose the outputs of the rows, computed once a precision."""
        if bits not in self._enclosed:
            Q, K, V = self._head.matrices
            size = len(self.rows) if self._causal else max(1, LARGEST_SIZE // len(K))
            self._enclosed[bits] = [
                attention(Q[self.rows[i : i + size]], K, V, causal=self._causal, precision=bits)
                for i in range(0, len(self.rows), size)
            ]
        return self._enclosed[bits]


def _judged(
    pieces: _Rows, output: Matrix, bound: Matrix
) -> tuple[tuple[int, ...], tuple[float, float]]:
    """Return which rows are not within their bounds for certain, and the largest error, enclosed."""
    for precision in PRECISIONS:
        truths, each, errors, start = pieces.truths(precision), [], [], 0
        for truth in truths:
            part = slice(start, start + len(truth))
            each.append(truth.verdict(output[part], bound[part]))
            errors.append(truth.distance(output[part]).largest())
            start = part.stop
        verdicts = np.concatenate(each)
        if not (verdicts == Verdict.UNDECIDED).any():
            break
    lower, upper = (max(ends) for ends in zip(*errors, strict=True))
    error = max(0.0, -rounded_up(-lower)), rounded_up(upper)
    return tuple(pieces.rows[(verdicts != Verdict.WITHIN).any(axis=1)].tolist()), error


def _too_large(
    head: Head, certificate: Certificate, found: Examination, trivial: Fraction | None
) -> str:
    """Say that a bound is neither to the tolerance asked for nor one of rounding, where that is so."""
    bound = certificate.bound
    # One unit more, since who compares with the product rounds it.
    asked = nextafter(found.tolerance * found.largest_value, inf)
    if bound <= asked:
        return ""
    bar = Fraction(float(rounding_bar(*head.matrices, causal=found.causal).max()))
    if trivial is not None:
        bar = min(bar, trivial / 2)
    if Fraction(bound) <= bar:
        return ""
    return (
        f"error_bound reaches {bound:.3g}, and asked for was {found.tolerance:.3g} max|V| = "
        f"{asked:.3g}; rounding in {found.dtype} explains {float(bar):.3g}."
    )


def _too_many(head: Head, certificate: Certificate, outside: tuple[int, ...], checked: int) -> str:
    """Say how many rows are outside, where that is too many."""
    allowed = floor(Fraction(certificate.uncovered) * len(head.Q))
    if checked < len(head.Q):
        convicted = _chance(len(head.Q), allowed, checked, len(outside)) <= FALSE_ALARM
    else:
        convicted = len(outside) > allowed
    if not convicted:
        return ""
    return (
        f"{len(outside)} of {checked} rows checked are not within their bounds, and of all {len(head.Q)} "
        f"no more than the fraction {certificate.uncovered:g} may be."
    )


def _chance(existing: int, outside: int, drawn: int, found: int) -> Fraction:
    """Return the probability of finding so many rows outside, or more, among those drawn."""
    ways = sum(
        comb(outside, i) * comb(existing - outside, drawn - i) for i in range(found, drawn + 1)
    )
    return Fraction(ways, comb(existing, drawn))
