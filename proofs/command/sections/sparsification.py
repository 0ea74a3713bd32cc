"""P3 on feature matrices as a section of ``attest check``: how far attention moves when X becomes Y."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proofs.command.report import Section, Table, fields_of, rows_left, table, up
from proofs.judging.hypotheses import LARGEST_R
from proofs.judging.sparsification import GUARANTEES, MatrixExamination, SparsifyJudgement

__all__ = ["section"]

_LEGEND = (
    "The Gram error is that of YY^T, in the sense of the guarantee: entrywise, the largest "
    "|YY^T - XX^T|_ij / (|x_i| |x_j|); else |v^T (YY^T - XX^T) v| / (v^T XX^T v) in the worst direction v "
    "found. Its bound is epsilon, slack included. Entries and rows are those of the difference of the "
    "attention matrices of X and Y: the largest magnitude, and the largest sum of magnitudes in a row, which "
    "is at most 2. P3's goal as printed asks no more of Y than Y = 0 achieves (claim P3.goal)."
)


def section(examinations: Sequence[MatrixExamination], subject: str) -> Section:
    """Return what was found on at least one matrix; ``subject`` says of which implementation on what."""
    return Section(
        name="matrices",
        function="sparsify",
        judgements=tuple(run for examination in examinations for run in examination.judgements),
        tables=(_hypotheses(examinations), *(_errors(found, subject) for found in examinations)),
        remarks=(_LEGEND, _moved(examinations)),
        findings=_hypothesis(examinations),
        document=[_document(examination) for examination in examinations],
    )


def _hypotheses(examinations: Sequence[MatrixExamination]) -> Table:
    return table(
        "Whether P3's hypothesis holds: max|XX^T| < r for some r in (0, 0.1), and d >> n",
        examinations,
        (
            ("matrix", lambda e: e.name),
            ("n", lambda e: str(e.shape[0])),
            ("d", lambda e: str(e.shape[1])),
            ("max\n|XX^T|", lambda e: f"{e.scales[0].logit_bound[1]:.3g}"),
            ("X scale\nfor 0.1", lambda e: f"{e.scales[-1].scale:.3g}"),
            ("max|XX^T|\nscaled", lambda e: f"{e.scales[-1].logit_bound[1]:.3g}"),
            ("max|XX^T| < 0.1", lambda e: "holds" if e.scales[0].hypothesis_holds else "fails"),
            ("d > n", lambda e: "holds" if e.shape[1] > e.shape[0] else "fails"),
        ),
        labels=1,
        numbers=5,
    )


def _errors(examination: MatrixExamination, subject: str) -> Table:
    rows: list[tuple[str, ...]] = []
    for scaled in examination.scales:
        scale, entry, row = f"{scaled.scale:.3g}", up(scaled.zero_entry[1]), up(scaled.zero_row[1])
        rows.append((scale, "-", "Y = 0", "0", "-", "-", entry, "-", row, "-", "-"))
        rows += [(scale, *_answered(run)) for run in examination.at(scaled)]
    return Table(
        title=f"{examination.name}: {subject}",
        headings=(
            *("X\nscale", "guarantee", "method", "columns\nof Y"),
            *("Gram\nerror", "\nbound", "entry\nerror", "\nbound", "row\nerror", "\nbound"),
            "verdict",
        ),
        labels=3,
        numbers=7,
        rows=tuple(rows),
    )


def _answered(run: SparsifyJudgement) -> tuple[str, ...]:
    figures = ["-"] * 6
    if run.quantities is not None:
        shown = [run.quantities[name] for name in ("gram", "entry", "row")]
        figures = [x for q in shown for x in (up(q.error[1]) if q.error else "inf", up(q.bound))]
    columns = "-" if run.columns is None else str(run.columns)
    return run.guarantee, run.method or "-", columns, *figures, run.outcome


def _hypothesis(examinations: Sequence[MatrixExamination]) -> str:
    meeting = sum(e.scales[0].hypothesis_holds for e in examinations)
    smallest = min(e.scales[0].logit_bound[1] for e in examinations)
    return (
        f"P3 needs max|XX^T| < {LARGEST_R}, which {meeting} of {len(examinations)} meet; the smallest is "
        f"{smallest:.3g}."
    )


def _moved(examinations: Sequence[MatrixExamination]) -> str:
    """Say how far a row of attention moves where the hypothesis holds: at the last scale."""
    small = [e.scales[-1] for e in examinations]
    moved = {"Y = 0": max(scaled.zero_row[1] for scaled in small)}
    for guarantee in GUARANTEES:
        errors = [
            run.quantities["row"].error
            for e in examinations
            for run in e.at(e.scales[-1])
            if run.guarantee == guarantee and run.quantities is not None
        ]
        if errors:
            moved[guarantee] = max(error[1] for error in errors if error)
    return "Scaled down to meet it, a row of attention moves by at most " + (
        ", ".join(f"{up(error)} with {what}" for what, error in moved.items()) + "."
    )


def _document(examination: MatrixExamination) -> dict[str, Any]:
    (n, d), first = examination.shape, examination.judgements[0]
    return {
        "name": examination.name,
        "dtype": examination.dtype,
        "n": n,
        "d": d,
        "rows_checked": len(first.rows),
        "rows": rows_left(first),
        "passed": examination.passed,
        "scales": [
            {
                "scale": scaled.scale,
                "logit_bound": scaled.logit_bound,
                "hypothesis_holds": scaled.hypothesis_holds,
                "zero_entry_error": scaled.zero_entry,
                "zero_row_error": scaled.zero_row,
                "runs": [
                    fields_of(run, quantities=run.quantities or {})
                    for run in examination.at(scaled)
                ],
            }
            for scaled in examination.scales
        ],
    }
