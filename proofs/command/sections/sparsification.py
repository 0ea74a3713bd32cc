"""P3 on feature matrices as a section of ``attest check``: how far attention moves when X becomes Y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from proofs.command.report import Section, Table, all_inside, counted, up, verdict_name
from proofs.judging.hypotheses import LARGEST_R
from proofs.judging.sparsification import GUARANTEES, Examination, Run

__all__ = ["section"]

_LEGEND = (
    "The Gram error is that of YY^T, in the sense of the guarantee: entrywise, the largest "
    "|YY^T - XX^T|_ij / (|x_i| |x_j|); else |v^T (YY^T - XX^T) v| / (v^T XX^T v) in the worst direction v "
    "found. Its bound is epsilon, slack included. Entries and rows are those of the difference of the "
    "attention matrices of X and Y: the largest magnitude, and the largest sum of magnitudes in a row, which "
    "is at most 2. P3's goal as printed asks no more of Y than Y = 0 achieves (claim P3.goal)."
)


def section(examinations: Sequence[Examination], subject: str) -> Section:
    """Return what was found on at least one matrix; ``subject`` says of which implementation on what."""
    return Section(
        "matrices",
        all(examination.passed for examination in examinations),
        (_hypotheses(examinations), *(_errors(found, subject) for found in examinations)),
        (_LEGEND, *_failures(examinations)),
        _summary(examinations),
        [_document(examination) for examination in examinations],
    )


def _hypotheses(examinations: Sequence[Examination]) -> Table:
    rows = []
    for examination in examinations:
        (n, d), original, small = examination.shape, examination.scales[0], examination.scales[-1]
        rows.append(
            (
                examination.name,
                str(n),
                str(d),
                f"{original.logit_bound[1]:.3g}",
                f"{small.scale:.3g}",
                f"{small.logit_bound[1]:.3g}",
                "holds" if original.hypothesis_holds else "fails",
                "holds" if d > n else "fails",
            )
        )
    return Table(
        "Whether P3's hypothesis holds: max|XX^T| < r for some r in (0, 0.1), and d >> n",
        (
            *("matrix", "n", "d", "max\n|XX^T|", "X scale\nfor 0.1", "max|XX^T|\nscaled"),
            *("max|XX^T| < 0.1", "d > n"),
        ),
        labels=1,
        numbers=5,
        rows=tuple(rows),
    )


def _errors(examination: Examination, subject: str) -> Table:
    rows: list[tuple[str, ...]] = []
    for scaled in examination.scales:
        scale, entry, row = f"{scaled.scale:.3g}", up(scaled.zero_entry[1]), up(scaled.zero_row[1])
        rows.append((scale, "-", "Y = 0", "0", "-", "-", entry, "-", row, "-", "-"))
        rows += [(scale, *_answered(run)) for run in scaled.runs]
    return Table(
        f"{examination.name}: {subject}",
        (
            *("X\nscale", "guarantee", "method", "columns\nof Y"),
            *("Gram\nerror", "\nbound", "entry\nerror", "\nbound", "row\nerror", "\nbound"),
            "verdict",
        ),
        labels=3,
        numbers=7,
        rows=tuple(rows),
    )


def _answered(run: Run) -> tuple[str, ...]:
    figures = ["-"] * 6
    if run.quantities is not None:
        shown = [run.quantities[name] for name in ("gram", "entry", "row")]
        figures = [x for q in shown for x in (up(q.error[1]) if q.error else "inf", up(q.bound))]
    columns = "-" if run.columns is None else str(run.columns)
    return run.guarantee, run.method or "-", columns, *figures, verdict_name(run.verdict)


def _failures(examinations: Sequence[Examination]) -> list[str]:
    return [
        f"{examination.name} times {scaled.scale:.3g}, {run.guarantee}: {verdict_name(run.verdict)}. "
        f"{run.failure}"
        for examination in examinations
        for scaled in examination.scales
        for run in scaled.runs
        if run.failure
    ]


def _summary(examinations: Sequence[Examination]) -> str:
    count, failed = len(examinations), [e.name for e in examinations if not e.passed]
    runs = sum(len(scaled.runs) for e in examinations for scaled in e.scales)
    meeting = sum(e.scales[0].hypothesis_holds for e in examinations)
    smallest = min(e.scales[0].logit_bound[1] for e in examinations)
    # The last scale is the one at which the hypothesis holds.
    small = [e.scales[-1] for e in examinations]
    moved = {"Y = 0": max(scaled.zero_row[1] for scaled in small)}
    for guarantee in GUARANTEES:
        errors = [
            run.quantities["row"].error
            for scaled in small
            for run in scaled.runs
            if run.guarantee == guarantee and run.quantities is not None
        ]
        if errors:
            moved[guarantee] = max(error[1] for error in errors if error)
    return (
        f"{counted(count, 'feature matrix', 'feature matrices')} checked, {counted(runs, 'run')}: "
        f"{all_inside(failed)} P3 needs max|XX^T| < {LARGEST_R}, which {meeting} of {count} meet; "
        f"the smallest is {smallest:.3g}. Scaled down to meet it, a row of attention moves by at most "
        + ", ".join(f"{up(error)} with {what}" for what, error in moved.items())
        + "."
    )


def _document(examination: Examination) -> dict[str, Any]:
    n, d = examination.shape
    return {
        "name": examination.name,
        "dtype": examination.dtype,
        "n": n,
        "d": d,
        "rows_checked": len(examination.rows),
        # The list tells only where some rows were left out.
        "rows": None if len(examination.rows) == n else examination.rows,
        "passed": examination.passed,
        "scales": [
            {
                "scale": scaled.scale,
                "logit_bound": scaled.logit_bound,
                "hypothesis_holds": scaled.hypothesis_holds,
                "zero_entry_error": scaled.zero_entry,
                "zero_row_error": scaled.zero_row,
                "runs": [
                    {
                        "guarantee": run.guarantee,
                        "epsilon_asked": run.epsilon,
                        "method": run.method,
                        "columns": run.columns,
                        "verdict": verdict_name(run.verdict),
                        "quantities": {
                            name: asdict(quantity) | {"verdict": quantity.verdict.name}
                            for name, quantity in (run.quantities or {}).items()
                        },
                        "claims": run.claims,
                        "failure": run.failure,
                    }
                    for run in scaled.runs
                ],
            }
            for scaled in examination.scales
        ],
    }
