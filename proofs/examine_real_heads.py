"""An implementation's ``certified_attention`` beside its exact errors, for one head.

Its certificate may leave a fraction of the rows out, and hold with a probability; so what is judged is how
many rows err by more than it says.  One that leaves out none holds for every row.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.examine import SEED, Answer, checked_rows, implementation, unusable
from proofs.heads import Head, Matrix
from proofs.hypotheses import rounded_up
from reference import Verdict, attention
from reference.verdict import PRECISIONS

__all__ = [
    "FAILURE_PROBABILITY",
    "TOLERANCE",
    "UNCOVERED",
    "Certificate",
    "Examination",
    "examine",
]

CertifiedAttention = Callable[..., Any]

#: The error asked for, relative to the largest |V|; of all rows but this fraction, with this probability.
TOLERANCE, UNCOVERED, FAILURE_PROBABILITY = 0.05, 0.01, 1e-9

#: Logits enclosed for one head: 0.3 s.  Of a larger head a random subset of rows is checked.
BUDGET = 1 << 14

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
            f"tolerance={TOLERANCE}, rows='quantile', rng=np.random.default_rng({SEED}))"
            + (f".output[{self.outside[0]}]" if self.outside else "")
        )

    @property
    def verdict(self) -> Verdict | None:
        """WITHIN if the certificate is right about the rows checked; None if there is none to judge."""
        if self.certificate is None:
            return None
        return Verdict.WITHIN if self.passed else Verdict.OUTSIDE


def examine(
    head: Head, certified_attention: CertifiedAttention, *, budget: int = BUDGET
) -> Examination:
    """Ask an implementation for a head to TOLERANCE in all rows but UNCOVERED, and judge the answer.

    Parameters
    ----------
    head
        The head.
    certified_attention
        That function of the implementation under test; it is given copies.  What it returns must have
        ``output``, ``error_bound``, ``claims``, ``uncovered`` and ``failure_probability``.
    budget
        The most logits to enclose.  Where the head has more, ``budget // n_k`` random rows are checked.
    """
    found = Examination(
        head.name,
        head.V.dtype.name,
        (len(head.Q), len(head.K)),
        float(np.abs(head.V).max()),
    )
    try:
        # An implementation may warn, or overwrite its arguments: neither reaches the reader or the truth.
        with warnings.catch_warnings(action="ignore"):
            answer, speed = _timed(head, certified_attention)
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
    rows = checked_rows(head, budget)
    bound = np.broadcast_to(bound[:, None] if bound.ndim == 1 else bound, output.shape)[rows]
    outside, error = _judged(head, rows, output[rows], bound)
    return replace(
        found,
        rows=tuple(rows.tolist()),
        certificate=certificate,
        error=error,
        outside=outside,
        speed=speed,
        failure=_failure(head, certificate, outside, len(rows)),
    )


def _timed(head: Head, certified_attention: CertifiedAttention) -> tuple[Any, float]:
    """Return the answer, and by how much it came faster than exact attention, run in turn."""
    exact = implementation(EXACT, "attention").attention
    times: dict[str, list[float]] = {"exact": [], "certified": []}
    answer = None
    for _ in range(REPEATS):
        # The same generator each time, so that all answers are the same.
        asked = {"tolerance": TOLERANCE, "rows": "quantile", "rng": np.random.default_rng(SEED)}
        for name, call, choices in (
            ("exact", exact, {}),
            ("certified", certified_attention, asked),
        ):
            matrices = [x.copy() for x in head.matrices]
            start = time.perf_counter()
            answer = call(*matrices, **choices)
            times[name].append(time.perf_counter() - start)
        if sum(map(sum, times.values())) > LONG:
            break
    return answer, median(times["exact"]) / median(times["certified"])


def _judged(
    head: Head, rows: NDArray[np.intp], output: Matrix, bound: Matrix
) -> tuple[tuple[int, ...], tuple[float, float]]:
    """Return which rows are not within their bounds for certain, and the largest error, enclosed."""
    for precision in PRECISIONS:
        truth = attention(head.Q[rows], head.K, head.V, precision=precision)
        each = truth.verdict(output, bound)
        if not (each == Verdict.UNDECIDED).any():
            break
    lower, upper = truth.distance(output).largest()
    error = max(0.0, -rounded_up(-lower)), rounded_up(upper)
    return tuple(rows[(each != Verdict.WITHIN).any(axis=1)].tolist()), error


def _failure(head: Head, certificate: Certificate, outside: tuple[int, ...], checked: int) -> str:
    """Say how many rows are outside, where that is too many."""
    if len(outside) <= Fraction(certificate.uncovered) * len(head.Q):
        return ""
    return (
        f"{len(outside)} of {checked} rows checked are not within their bounds, and of all {len(head.Q)} "
        f"no more than the fraction {certificate.uncovered:g} may be."
    )
