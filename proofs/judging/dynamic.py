"""An implementation's ``DynamicAttention`` beside its exact errors, while tokens of a head are replaced.

After each replacement the replaced token's row and a few others are read, after the last one all rows.
The truth is the definition, on the tokens as they are at that moment (``reference.tokens``).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.judging.bars import trivial_error
from proofs.judging.heads import Matrix, Replacements
from proofs.judging.hypotheses import rounded_up
from reference import Enclosure, Verdict, attention, decide
from reference.arithmetic.decide import PRECISIONS
from reference.tokens import SetRow, replay

__all__ = ["MODES", "OPERATIONS", "Examination", "Read", "Run", "examine"]

MODES = ("cached", "dirty", "auto")

#: The counts of ``stats`` that are shown.
OPERATIONS = ("multiplications", "exponentials", "rebuilds", "refreshed_rows")

#: Rows read after each replacement beside that of the replaced token: to enclose all takes a second.
OTHER_ROWS = 3

#: Seed of those rows, so that a second run checks the same.
SEED = 0


@dataclass(frozen=True)
class Read:
    """One row as it was read, judged.

    Attributes
    ----------
    replaced
        How many tokens had been replaced.
    row
        Its index.
    error
        Ends of an enclosure of its largest error, rounded outward.
    bound
        The certified bound on it.
    verdict
        Whether every entry is within the bound.
    """

    replaced: int
    row: int
    error: tuple[float, float]
    bound: float
    verdict: Verdict


@dataclass(frozen=True)
class Run:
    """What an implementation answered in one mode and type.

    Attributes
    ----------
    mode, dtype
        What was asked.
    reads
        Every row that was read, in order; empty if there was an answer that cannot be judged.
    operations
        What the implementation counted, see ``OPERATIONS``.
    failure
        What is wrong, in sentences; empty if every error is within its bound.
    """

    mode: str
    dtype: str
    reads: tuple[Read, ...] = ()
    operations: dict[str, int] | None = None
    failure: str = ""

    @property
    def verdict(self) -> Verdict | None:
        """Whether every error is within its bound; None if there was no usable answer."""
        return Verdict.combine([read.verdict for read in self.reads]) if self.reads else None

    @property
    def worst(self) -> Read | None:
        """The read with the largest error, if any."""
        return max(self.reads, key=lambda read: read.error[1], default=None)

    @property
    def largest_bound(self) -> float | None:
        """The largest bound of any read, if any."""
        return max((read.bound for read in self.reads), default=None)


@dataclass(frozen=True)
class Examination:
    """Everything the command says about one head whose tokens are replaced."""

    name: str
    shape: tuple[int, int]
    replacements: int
    runs: tuple[Run, ...]

    @property
    def passed(self) -> bool:
        """Whether every error is within its bound, for certain."""
        return all(run.verdict is Verdict.WITHIN for run in self.runs)


def examine(history: Replacements, dynamic: Callable[..., Any]) -> Examination:
    """Replay the replacements in every mode and both types, and judge every row that is read.

    Parameters
    ----------
    history
        The head, float32, and its replacements.
    dynamic
        ``DynamicAttention`` of the implementation under test; it is given copies.
    """
    moments = list(_moments(history))
    runs = (
        _run(history, moments, dynamic, mode, np.dtype(dtype))
        for mode in MODES
        for dtype in (np.float32, np.float64)
    )
    return Examination(history.name, history.head.K.shape, len(moments), tuple(runs))


@dataclass(frozen=True)
class _Moment:
    """A replacement, the rows that are read after it, what encloses them, and what a trivial answer errs."""

    token: int
    new: tuple[Matrix, Matrix, Matrix]
    rows: list[int]
    truth: Callable[[int], Enclosure]
    trivial: Fraction | None


def _moments(history: Replacements) -> Iterator[_Moment]:
    tokens = replay(*history.head.matrices, ())
    indices = np.arange(len(tokens.key))
    rng = np.random.default_rng(SEED)
    last = len(history.tokens) - 1
    for number, (token, query, key, value) in enumerate(
        zip(history.tokens.tolist(), *history.rows, strict=True)
    ):
        tokens.apply(SetRow("query", token, query))
        tokens.apply(SetRow("key", token, key))
        tokens.apply(SetRow("value", token, value))
        others = np.delete(indices, token)
        drawn = rng.choice(others, min(OTHER_ROWS, len(others)), replace=False)
        rows = indices if number == last else np.append(token, drawn)
        truth = _truth(tokens.query[rows], tokens.key.copy(), tokens.value.copy())
        trivial = trivial_error([truth(PRECISIONS[0])], tokens.value)
        yield _Moment(token, (query, key, value), rows.tolist(), truth, trivial)


def _truth(Q: Matrix, K: Matrix, V: Matrix) -> Callable[[int], Enclosure]:
    return cache(lambda bits: attention(Q, K, V, precision=bits))


def _run(
    history: Replacements,
    moments: list[_Moment],
    dynamic: Callable[..., Any],
    mode: str,
    dtype: np.dtype[Any],
) -> Run:
    answers: list[list[tuple[Matrix, float]]] = []
    try:
        # An implementation may warn, or overwrite its arguments: neither reaches the reader or the truth.
        with warnings.catch_warnings(action="ignore"):
            state = dynamic(*(x.astype(dtype) for x in history.head.matrices), mode=mode)
            for moment in moments:
                query, key, value = (row.astype(dtype) for row in moment.new)
                state.set_query(moment.token, query)
                state.set_key(moment.token, key)
                state.set_value(moment.token, value)
                # The bound is that of the row as it was read last.
                answers.append(
                    [
                        (np.array(state.query_row(row)), float(state.error_bound(row)))
                        for row in moment.rows
                    ]
                )
            operations = {name: int(state.stats[name]) for name in OPERATIONS}
    except Exception as error:
        failure = (
            f"DynamicAttention raised {type(error).__name__} when {len(answers)} replacements "
            f"had been answered: {error}"
        )
        return Run(mode, dtype.name, failure=failure)
    reads = []
    for replaced, (moment, answer) in enumerate(zip(moments, answers, strict=True), start=1):
        for place, (row, (output, bound)) in enumerate(zip(moment.rows, answer, strict=True)):
            problem = _unusable(output, bound, history.head.V.shape[1:])
            if not problem and moment.trivial is not None and bound >= moment.trivial:
                problem = (
                    f"error_bound must be less than {float(moment.trivial):.3g}, which an answer errs "
                    f"that looks at no query, got {bound:.3g}."
                )
            if problem:
                failure = f"Row {row} after {replaced} replacements: {problem}"
                return Run(mode, dtype.name, operations=operations, failure=failure)
            reads.append(_judged(replaced, row, output, bound, moment.truth, place))
    failure = _failure(history.head.name, mode, dtype, reads)
    return Run(mode, dtype.name, tuple(reads), operations, failure)


def _unusable(output: NDArray[Any], bound: float, shape: tuple[int, ...]) -> str:
    """Say why an answer cannot be judged, if it cannot."""
    if output.dtype.type not in (np.float32, np.float64):
        return f"query_row must return float32 or float64, got {output.dtype}."
    if output.shape != shape:
        return f"query_row must return shape {shape}, got {output.shape}."
    if not np.isfinite(output).all():
        return (
            f"query_row returned {np.count_nonzero(~np.isfinite(output))} NaN or infinite entries."
        )
    if not (math.isfinite(bound) and bound >= 0):
        return f"error_bound must be finite and at least 0, got {bound}."
    return ""


def _judged(
    replaced: int,
    row: int,
    output: Matrix,
    bound: float,
    truth: Callable[[int], Enclosure],
    place: int,
) -> Read:
    verdict, enclosure = decide(lambda bits: truth(bits)[place], output, bound)
    lower, upper = enclosure.distance(output).largest()
    ends = max(0.0, -rounded_up(-lower)), rounded_up(upper)
    return Read(replaced, row, ends, bound, verdict)


def _failure(head: str, mode: str, dtype: np.dtype[Any], reads: list[Read]) -> str:
    """Say how many rows are not within their bound, which exceeds it most, and how to see it."""
    failing = [read for read in reads if read.verdict is not Verdict.WITHIN]
    if not failing:
        return ""
    worst = max(failing, key=lambda read: Fraction(read.error[1]) - Fraction(read.bound))
    fails = "exceeds its" if worst.verdict is Verdict.OUTSIDE else "is not decided to be within its"
    return (
        f"{len(failing)} of {len(reads)} rows {'are' if len(failing) > 1 else 'is'} not within "
        f"{'their bounds' if len(failing) > 1 else 'the bound'}; the error of row {worst.row} after "
        f"{worst.replaced} replacements {fails} bound most: {worst.error[1]:.3g} against "
        f"{worst.bound:.3g}. Reproduce with DynamicAttention(*(arrays[f'{head}/{{x}}'].astype('{dtype}') "
        f"for x in 'QKV'), mode={mode!r}), the first {worst.replaced} replacements of upd_*, and "
        f"query_row({worst.row})."
    )
