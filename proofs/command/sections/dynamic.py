"""P1 on a head whose tokens are replaced as a section of ``attest check``: certificates after each change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proofs.command.report import Section, Table, all_inside, counted, up, verdict_name
from proofs.judging.dynamic import OPERATIONS, Examination, Run

__all__ = ["section"]

_LEGEND = (
    "Each replacement gives a token another query, key and value. After each one the rows of that token and "
    "of a few others are read and compared with attention of the tokens as they are then, by definition; "
    "after the last one all rows are. Operations are those that the object counts itself, its construction "
    "and all reads included (claims P1.correct, FP.dynamic, P1.tokens)."
)


def section(examinations: Sequence[Examination], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    return Section(
        "replacements",
        all(examination.passed for examination in examinations),
        tuple(_errors(examination, subject) for examination in examinations),
        (_LEGEND, *_failures(examinations)),
        " ".join(_summary(examination) for examination in examinations),
        [_document(examination) for examination in examinations],
    )


def _errors(examination: Examination, subject: str) -> Table:
    return Table(
        f"{examination.name}: {subject}",
        (
            *("mode", "type"),
            *(
                "tokens\nreplaced",
                "rows\nchecked",
                "largest\nerror",
                "its\nbound",
                "largest\nbound",
            ),
            *("products", "exponentials", "rebuilds", "rows\nrecomputed"),
            "verdict",
        ),
        labels=2,
        numbers=9,
        rows=tuple(_figures(examination, run) for run in examination.runs),
    )


def _figures(examination: Examination, run: Run) -> tuple[str, ...]:
    worst, counts = run.worst, run.operations
    return (
        run.mode,
        run.dtype,
        str(examination.replacements) if worst else "-",
        str(len(run.reads)),
        up(worst.error[1] if worst else None),
        up(worst.bound if worst else None),
        up(run.largest_bound),
        *(str(counts[name]) if counts else "-" for name in OPERATIONS),
        verdict_name(run.verdict),
    )


def _failures(examinations: Sequence[Examination]) -> list[str]:
    return [
        f"{examination.name}, {run.mode} in {run.dtype}: {verdict_name(run.verdict)}. {run.failure}"
        for examination in examinations
        for run in examination.runs
        if run.failure
    ]


def _summary(examination: Examination) -> str:
    failed = [f"{run.mode} in {run.dtype}" for run in examination.runs if run.failure]
    sentence = (
        f"{examination.name}, {counted(len(examination.runs), 'run')} of "
        f"{counted(max(len(run.reads) for run in examination.runs), 'row')} read: {all_inside(failed)}"
    )
    if failed:
        return sentence
    errors = [
        max(run.worst.error[1] for run in examination.runs if run.worst and run.dtype == dtype)
        for dtype in ("float32", "float64")
    ]
    return f"{sentence} The largest error is {up(errors[0])} in float32 and {up(errors[1])} in float64 (P1)."


def _document(examination: Examination) -> dict[str, Any]:
    n, d = examination.shape
    return {
        "name": examination.name,
        "n": n,
        "d": d,
        "replacements": examination.replacements,
        "passed": examination.passed,
        "runs": [
            {
                "mode": run.mode,
                "dtype": run.dtype,
                "verdict": verdict_name(run.verdict),
                "rows_checked": len(run.reads),
                "error_lower": run.worst.error[0] if run.worst else None,
                "error_upper": run.worst.error[1] if run.worst else None,
                "bound": run.worst.bound if run.worst else None,
                "largest_bound": run.largest_bound,
                "operations": run.operations,
                "failure": run.failure,
            }
            for run in examination.runs
        ],
    }
