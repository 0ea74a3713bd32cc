"""An implementation's ``DynamicAttention`` beside its exact errors, while tokens of a head are replaced.

After each replacement the replaced token's row and a few others are read, after the last one all rows.
The truth is the definition, on the tokens as they are at that moment (``reference.tokens``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from proofs.judging.bars import trivial_error
from proofs.judging.heads import Matrix, Replacements
from proofs.judging.implementation import Unanswered, ask
from proofs.judging.judgement import (
    SEED,
    Examination,
    Judgement,
    Truth,
    enclosed,
    ends,
    exceeding,
    head_call,
    unusable,
)
from reference import Verdict, decide
from reference.arithmetic.decide import PRECISIONS
from reference.tokens import SetRow, replay

__all__ = ["MODES", "OPERATIONS", "DynamicJudgement", "Read", "examine"]

MODES = ("cached", "dirty", "auto")

#: The counts of ``stats`` that are shown.
OPERATIONS = ("multiplications", "exponentials", "rebuilds", "refreshed_rows")

#: Rows read after each replacement beside that of the replaced token: to enclose all takes a second.
OTHER_ROWS = 3


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class DynamicJudgement(Judgement):
    """What an implementation answered in one mode and type; its error is the largest of any read.

    Attributes
    ----------
    mode
        What was asked.
    reads
        Every row that was read, in order; empty if there was an answer that cannot be judged.
    operations
        What the implementation counted, see ``OPERATIONS``.
    """

    mode: str
    reads: tuple[Read, ...] = ()
    operations: dict[str, int] | None = None

    @property
    def worst(self) -> Read | None:
        """The read with the largest error, if any."""
        return max(self.reads, key=lambda read: read.error[1], default=None)


def examine(history: Replacements, dynamic: Callable[..., Any]) -> Examination[DynamicJudgement]:
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
        _run(history, moments, dynamic, mode, dtype)
        for mode in MODES
        for dtype in ("float32", "float64")
    )
    return Examination(
        name=history.name,
        dtype=history.head.K.dtype.name,
        shape=history.head.K.shape,
        judgements=tuple(runs),
    )


@dataclass(frozen=True, kw_only=True)
class _Moment:
    """A replacement, the rows that are read after it, what encloses them, and what a trivial answer errs."""

    token: int
    new: tuple[Matrix, Matrix, Matrix]
    rows: list[int]
    truth: Truth
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
        truth = enclosed(tokens.query[rows], tokens.key.copy(), tokens.value.copy())
        trivial = trivial_error([truth(PRECISIONS[0])], tokens.value)
        yield _Moment(
            token=token,
            new=(query, key, value),
            rows=rows.tolist(),
            truth=truth,
            trivial=trivial,
        )


def _run(
    history: Replacements,
    moments: list[_Moment],
    dynamic: Callable[..., Any],
    mode: str,
    dtype: str,
) -> DynamicJudgement:
    asked = DynamicJudgement(
        name=history.name,
        asked=f"in mode {mode} in {dtype}",
        dtype=dtype,
        row_count=len(moments) * len(history.head.K),
        mode=mode,
    )
    answers: list[list[tuple[Matrix, float]]] = []

    def replayed() -> dict[str, int]:
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
        return {name: int(state.stats[name]) for name in OPERATIONS}

    operations = ask(
        "DynamicAttention",
        replayed,
        lambda: f" when {len(answers)} replacements had been answered",
    )
    if isinstance(operations, Unanswered):
        return replace(asked, failure=operations.failure)
    asked = replace(asked, operations=operations)
    reads = []
    for replaced, (moment, answer) in enumerate(zip(moments, answers, strict=True), start=1):
        for place, (row, (output, bound)) in enumerate(zip(moment.rows, answer, strict=True)):
            problem = unusable("query_row", output, history.head.V.shape[1:])
            if not problem and not (math.isfinite(bound) and bound >= 0):
                problem = f"error_bound must be finite and at least 0, got {bound}."
            if not problem and moment.trivial is not None and bound >= moment.trivial:
                problem = (
                    f"error_bound must be less than {float(moment.trivial):.3g}, which an answer errs "
                    f"that looks at no query, got {bound:.3g}."
                )
            if problem:
                return replace(asked, failure=f"Row {row} after {replaced} replacements: {problem}")
            reads.append(_judged(replaced, row, output, bound, moment.truth, place))
    return _told(asked, history.head.name, reads)


def _judged(
    replaced: int, row: int, output: Matrix, bound: float, truth: Truth, place: int
) -> Read:
    verdict, enclosure = decide(lambda bits: truth(bits)[place], output, bound)
    error = ends(*enclosure.distance(output).largest())
    return Read(replaced=replaced, row=row, error=error, bound=bound, verdict=verdict)


def _told(asked: DynamicJudgement, head: str, reads: list[Read]) -> DynamicJudgement:
    """Say how many rows are not within their bound, which exceeds it most, and how to see it."""
    found = replace(
        asked,
        reads=tuple(reads),
        rows=tuple(read.row for read in reads),
        verdict=Verdict.combine([read.verdict for read in reads]),
        error=max((read.error for read in reads), key=lambda error: error[1]),
        bound=max(read.bound for read in reads),
    )
    failing = [read for read in reads if read.verdict is not Verdict.WITHIN]
    if not failing:
        return found
    worst = max(failing, key=lambda read: Fraction(read.error[1]) - Fraction(read.bound))
    call = head_call("DynamicAttention", head, asked.dtype, f"mode={asked.mode!r}")
    return replace(
        found,
        failure=exceeding(
            len(failing),
            len(reads),
            "rows",
            f"row {worst.row} after {worst.replaced} replacements",
            worst.verdict,
            (worst.error[1], worst.bound),
        ),
        call=f"{call}, the first {worst.replaced} replacements of upd_*, and query_row({worst.row})",
    )
