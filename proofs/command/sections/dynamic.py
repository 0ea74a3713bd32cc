"""P1 on a head whose tokens are replaced as a section of ``attest check``: certificates after each change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proofs.command.report import Section, Table, all_inside, common_fields, counted, up
from proofs.judging.dynamic import OPERATIONS, DynamicJudgement
from proofs.judging.judgement import Examination

__all__ = ["section"]

_LEGEND = (
    "Each replacement gives a token another query, key and value. After each one the rows of that token and "
    "of a few others are read and compared with attention of the tokens as they are then, by definition; "
    "after the last one all rows are. Operations are those that the object counts itself, its construction "
    "and all reads included (claims P1.correct, FP.dynamic, P1.tokens)."
)


def section(examinations: Sequence[Examination[DynamicJudgement]], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    return Section(
        name="replacements",
        function="DynamicAttention",
        judgements=tuple(run for examination in examinations for run in examination.judgements),
        tables=tuple(_errors(examination, subject) for examination in examinations),
        remarks=(_LEGEND,),
        summary=" ".join(_summary(examination) for examination in examinations),
        document=[_document(examination) for examination in examinations],
    )


def _errors(examination: Examination[DynamicJudgement], subject: str) -> Table:
    return Table(
        title=f"{examination.name}: {subject}",
        headings=(
            *("mode", "type", "tokens\nreplaced", "rows\nchecked"),
            *("largest\nerror", "its\nbound", "largest\nbound"),
            *("products", "exponentials", "rebuilds", "rows\nrecomputed", "verdict"),
        ),
        labels=2,
        numbers=9,
        rows=tuple(_figures(run, _replaced(examination)) for run in examination.judgements),
    )


def _replaced(examination: Examination[DynamicJudgement]) -> int:
    """Return how many tokens were replaced: each time there were all rows to read."""
    return examination.judgements[0].row_count // examination.shape[0]


def _figures(run: DynamicJudgement, replaced: int) -> tuple[str, ...]:
    worst, counts = run.worst, run.operations
    return (
        run.mode,
        run.dtype,
        str(replaced) if worst else "-",
        str(len(run.rows)),
        up(run.error and run.error[1]),
        up(worst.bound if worst else None),
        up(run.bound),
        *(str(counts[name]) if counts else "-" for name in OPERATIONS),
        run.outcome,
    )


def _summary(examination: Examination[DynamicJudgement]) -> str:
    runs = examination.judgements
    failed = [f"{run.mode} in {run.dtype}" for run in runs if not run.passed]
    sentence = (
        f"{examination.name}, {counted(len(runs), 'run')} of "
        f"{counted(max(len(run.rows) for run in runs), 'row')} read: {all_inside(failed)}"
    )
    if failed:
        return sentence
    errors = [
        max(run.error[1] for run in runs if run.error and run.dtype == dtype)
        for dtype in ("float32", "float64")
    ]
    return f"{sentence} The largest error is {up(errors[0])} in float32 and {up(errors[1])} in float64 (P1)."


def _document(examination: Examination[DynamicJudgement]) -> dict[str, Any]:
    n, d = examination.shape
    return {
        "name": examination.name,
        "n": n,
        "d": d,
        "replacements": _replaced(examination),
        "passed": examination.passed,
        "runs": [
            common_fields(run)
            | {
                "mode": run.mode,
                "dtype": run.dtype,
                "error_lower": run.error[0] if run.error else None,
                "error_upper": run.error[1] if run.error else None,
                "bound": run.worst.bound if run.worst else None,
                "largest_bound": run.bound,
                "operations": run.operations,
            }
            for run in examination.judgements
        ],
    }
