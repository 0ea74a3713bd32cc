"""Quantised caches of heads as a section of ``attest check``: certificates against the originals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proofs.command import report
from proofs.command.report import Section, fields_of, rows_left, table
from proofs.judging.caches import FORMATS
from proofs.judging.judgement import Examination, Judgement

__all__ = ["section"]


def section(examinations: Sequence[Examination[Judgement]], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    runs = tuple(run for examination in examinations for run in examination.judgements)
    certificates = table(
        f"Quantised caches, certified against the originals: {subject}",
        runs,
        (
            *(report.NAME, report.ERROR, report.BOUND, report.RATIO, report.ROWS),
            ("format", lambda run: run.asked.removeprefix("in ")),
            report.VERDICT,
        ),
        labels=1,
        numbers=3,
    )
    return Section(
        name="caches",
        function="QuantisedCache",
        judgements=runs,
        tables=(certificates,),
        remarks=(
            f"Keys and values are kept in {' and '.join(FORMATS)}; errors are against attention on what "
            "was given (claims Q.augmented, FP.augmented).",
        ),
        document=[_document(examination) for examination in examinations],
    )


def _document(examination: Examination[Judgement]) -> dict[str, Any]:
    first = examination.judgements[0]
    return {
        "name": examination.name,
        "dtype": examination.dtype,
        "rows": rows_left(first),
        "passed": examination.passed,
        "runs": [
            fields_of(run, format=run.asked.removeprefix("in ")) for run in examination.judgements
        ],
    }
