"""P1 on a head whose tokens are replaced as a section of ``attest check``: certificates after each change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proofs.command import report
from proofs.command.report import Section, Table, fields_of, table, up
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
        document=[_document(examination) for examination in examinations],
    )


def _errors(examination: Examination[DynamicJudgement], subject: str) -> Table:
    def counted(run: DynamicJudgement, operation: str) -> str:
        return str(run.operations[operation]) if run.operations else "-"

    replaced = str(_replaced(examination))
    products, exponentials, rebuilds, rows = OPERATIONS
    return table(
        f"{examination.name}: {subject}",
        examination.judgements,
        (
            ("mode", lambda run: run.mode),
            ("type", lambda run: run.dtype),
            ("tokens\nreplaced", lambda run: replaced if run.reads else "-"),
            ("rows\nchecked", lambda run: str(len(run.reads))),
            report.ERROR,
            ("its\nbound", lambda run: up(run.worst.bound if run.worst else None)),
            report.BOUND,
            ("products", lambda run: counted(run, products)),
            ("exponentials", lambda run: counted(run, exponentials)),
            ("rebuilds", lambda run: counted(run, rebuilds)),
            ("rows\nrecomputed", lambda run: counted(run, rows)),
            report.VERDICT,
        ),
        labels=2,
        numbers=9,
    )


def _replaced(examination: Examination[DynamicJudgement]) -> int:
    """Return how many tokens were replaced: each time there were all rows to read."""
    return examination.judgements[0].row_count // examination.shape[0]


def _document(examination: Examination[DynamicJudgement]) -> dict[str, Any]:
    n, d = examination.shape
    return {
        "name": examination.name,
        "n": n,
        "d": d,
        "replacements": _replaced(examination),
        "passed": examination.passed,
        "runs": [
            fields_of(
                run,
                *("rows", "reads"),
                bound=run.worst.bound if run.worst else None,
                largest_bound=run.bound,
            )
            for run in examination.judgements
        ],
    }
