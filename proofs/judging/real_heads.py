"""An implementation's ``certified_attention`` beside its exact errors, for one head.

Its certificate may leave a fraction of the rows out, and hold with a probability; so what is judged is how
many rows err by more than it says, and whether it is the certificate that was asked for.  One that
leaves out none holds for every row.  The rows are drawn by the judge when the answer is fixed, from what
no implementation knows; the size that a bound must have is the judge's (``proofs.judging.bars``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import comb, floor, inf, nextafter
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.judging.bars import rounding_bar, tolerance_below, trivial_error
from proofs.judging.heads import Head, Matrix
from proofs.judging.implementation import Unanswered, ask, implementation
from proofs.judging.judgement import (
    SEED,
    Answer,
    Ends,
    Examination,
    Judgement,
    checked_rows,
    ends,
    head_call,
    unusable,
)
from reference import Enclosure, Verdict, attention
from reference.arithmetic.decide import PRECISIONS
from reference.scores import LARGEST_SIZE

__all__ = [
    "FAILURE_PROBABILITY",
    "TOLERANCE",
    "UNCOVERED",
    "Certificate",
    "CertifiedJudgement",
    "examine",
    "judge",
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
EXACT_PEER = "fastpath"

#: Times that both are run in turn, and the seconds after which no further time is.
REPEATS, LONG = 9, 0.5


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class CertifiedJudgement(Judgement):
    """What an implementation certified of one head, to a tolerance in all rows but a fraction.

    Attributes
    ----------
    keys, largest_value
        The number of keys, and max |V|.
    causal, tolerance
        What was asked for.
    certificate
        What was certified; None if there was no usable answer.
    rows_outside
        The checked rows that are not within their bounds, for certain.
    seconds, exact_seconds
        Median times of this one and of exact attention, run in turn.
    """

    keys: int
    largest_value: float
    causal: bool
    tolerance: float
    certificate: Certificate | None = None
    rows_outside: tuple[int, ...] = ()
    seconds: float | None = None
    exact_seconds: float | None = None

    @property
    def speed(self) -> float | None:
        """Time of exact attention over that of this one."""
        if self.seconds is None or self.exact_seconds is None:
            return None
        return self.exact_seconds / self.seconds

    @property
    def choices(self) -> str:
        """What was asked for, as arguments."""
        return (
            f"tolerance={self.tolerance!r}, rows='quantile', uncovered={UNCOVERED}, "
            f"failure_probability={FAILURE_PROBABILITY}, causal={self.causal}, "
            f"rng=np.random.default_rng({SEED})"
        )


def examine(
    head: Head,
    certified_attention: CertifiedAttention,
    *,
    causal: bool = False,
    rng: np.random.Generator | None = None,
) -> Examination[CertifiedJudgement]:
    """Ask an implementation for a head and judge the answer; ``rng`` as of :func:`judge`."""
    return Examination(
        name=head.name,
        dtype=head.V.dtype.name,
        shape=(len(head.Q), len(head.K)),
        judgements=(judge(head, certified_attention, causal=causal, rng=rng),),
    )


def judge(
    head: Head,
    certified_attention: CertifiedAttention,
    *,
    causal: bool = False,
    budget: int = BUDGET,
    repeats: int = REPEATS,
    rng: np.random.Generator | None = None,
) -> CertifiedJudgement:
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
    n_q, n_k = len(head.Q), len(head.K)
    every = causal or n_q * n_k <= budget
    few = n_q * n_k if every else max(budget, LEAST_ROWS // 4 * n_k)
    budget = few if every else max(budget, LEAST_ROWS * len(head.K))
    pieces = _Rows(head, checked_rows(n_q, n_k, few, rng), causal)
    trivial = trivial_error(
        pieces.truths(PRECISIONS[0]),
        head.V,
        causal=causal,
        left_out=floor(Fraction(UNCOVERED) * len(pieces.rows)),
    )
    largest_value = float(np.abs(head.V).max())
    found = CertifiedJudgement(
        name=head.name,
        dtype=head.V.dtype.name,
        row_count=n_q,
        keys=n_k,
        largest_value=largest_value,
        causal=causal,
        tolerance=tolerance_below(trivial, largest_value, TOLERANCE),
    )
    found = replace(
        found, call=head_call("certified_attention", head.name, found.dtype, found.choices)
    )
    answered = ask("certified_attention", lambda: _timed(head, certified_attention, found, repeats))
    if isinstance(answered, Unanswered):
        return replace(found, failure=answered.failure)
    (output, bound, claims), certificate, (seconds, exact_seconds) = answered
    if output.dtype == np.float16:
        output = output.astype(np.float32)  # which holds the same numbers
    shape = n_q, head.V.shape[1]
    problem = unusable("output", output, shape)
    problem = problem or unusable("error_bound", bound, (), shape[:1], shape)
    for name, value, allowed in (
        ("uncovered", certificate.uncovered, UNCOVERED),
        ("failure_probability", certificate.failure_probability, FAILURE_PROBABILITY),
    ):
        if not problem and not 0 <= value <= allowed:
            problem = f"{name} must be in [0, {allowed:g}], got {value:g}."
    if problem:
        return replace(found, claims=claims, failure=problem)
    if not every:
        pieces = _Rows(head, checked_rows(n_q, n_k, budget, rng), causal)
    rows = pieces.rows
    bound = np.broadcast_to(bound[:, None] if bound.ndim == 1 else bound, output.shape)[rows]
    outside, error = _judged(pieces, output[rows], bound)
    problems = (
        _too_large(head, certificate, found, trivial),
        _too_many(head, certificate, outside, len(rows)),
    )
    failure = " ".join(filter(None, problems))
    return replace(
        found,
        verdict=Verdict.OUTSIDE if failure else Verdict.WITHIN,
        error=error,
        bound=certificate.bound,
        rows=tuple(rows.tolist()),
        claims=claims,
        certificate=certificate,
        rows_outside=outside,
        seconds=seconds,
        exact_seconds=exact_seconds,
        failure=failure,
        call=found.call + (f".output[{outside[0]}]" if outside else ""),
    )


def _timed(
    head: Head, certified_attention: CertifiedAttention, found: CertifiedJudgement, repeats: int
) -> tuple[Answer, Certificate, tuple[float, float]]:
    """Return the answer, and the seconds that it and exact attention took, run in turn."""
    exact = implementation(EXACT_PEER, "attention").attention
    times: dict[str, list[float]] = {"exact": [], "certified": []}
    answer: Any = None
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
    read = Answer.of(answer)
    certificate = Certificate(
        bound=float(read.error_bound.max()),
        uncovered=float(answer.uncovered),
        failure_probability=float(answer.failure_probability),
        method=str(getattr(answer, "method", "")),
        reason=str(getattr(answer, "reason", "")),
        claims=read.claims,
    )
    return read, certificate, (median(times["certified"]), median(times["exact"]))


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


def _judged(pieces: _Rows, output: Matrix, bound: Matrix) -> tuple[tuple[int, ...], Ends]:
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
    lower, upper = (max(each) for each in zip(*errors, strict=True))
    outside = pieces.rows[(verdicts != Verdict.WITHIN).any(axis=1)]
    return tuple(outside.tolist()), ends(lower, upper)


def _too_large(
    head: Head, certificate: Certificate, found: CertifiedJudgement, trivial: Fraction | None
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
