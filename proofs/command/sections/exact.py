"""Attention on heads as a section of ``attest check``: certificates, and the hypotheses of the papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from proofs.command.report import (
    Section,
    Table,
    all_inside,
    common_fields,
    counted,
    ratio,
    rows_left,
    up,
)
from proofs.judging.exact import HeadExamination
from proofs.judging.hypotheses import LARGEST_R, PAPERS
from proofs.judging.judgement import Judgement

__all__ = ["section"]


def section(examinations: Sequence[HeadExamination], subject: str) -> Section:
    """Return what was found on at least one head.

    ``subject`` says of which implementation on which data.
    """
    runs = tuple(run for examination in examinations for run in examination.judgements)
    asked = tuple(_asked(examinations))
    return Section(
        name="heads",
        function="attention",
        judgements=runs,
        tables=(_certificates(runs, subject), _measurements(examinations), _papers(examinations)),
        remarks=asked,
        hypotheses=(_measurements(examinations, papers=True), asked),
        findings=_hypotheses(examinations),
        summary=_summary(examinations, runs),
        document=[_document(examination) for examination in examinations],
    )


def _summary(examinations: Sequence[HeadExamination], runs: Sequence[Judgement]) -> str:
    failed = [e.name for e in examinations if not e.passed]
    sentences = [
        f"{counted(len(examinations), 'head')} checked, {counted(len(runs), 'run')}: "
        f"{all_inside(failed, 'certificate')}"
    ]
    ratios = [
        f"{ratio(median(found))} in {dtype}"
        for dtype in ("float32", "float64")
        if (found := [r.ratio for r in runs if r.dtype == dtype and r.ratio is not None])
    ]
    if ratios:
        sentences.append(
            f"Largest bound over largest error, a head at a time: median {' and '.join(ratios)}."
        )
    return " ".join((*sentences, _hypotheses(examinations)))


def _hypotheses(examinations: Sequence[HeadExamination]) -> str:
    meeting = [
        f"{paper} by {sum(e.papers[k].holds for e in examinations)}"
        for k, paper in enumerate(PAPERS)
    ]
    smallest = min(e.measurements.logit_bound for e in examinations)
    return (
        f"Hypotheses are met: {', '.join(meeting)}, of {counted(len(examinations), 'head')}; "
        f"the smallest max|q.k| is {smallest:.3g}, and P3 needs less than {LARGEST_R}."
    )


def _certificates(runs: Sequence[Judgement], subject: str) -> Table:
    return Table(
        title=f"Certified bound against enclosed error: {subject}",
        headings=(
            *("head", "largest\nerror", "largest\nbound", "bound /\nerror"),
            *("rows\nchecked", "type", "verdict"),
        ),
        labels=1,
        numbers=3,
        rows=tuple(
            (
                run.name,
                up(run.error and run.error[1]),
                up(run.bound),
                ratio(run.ratio),
                f"{len(run.rows)} of {run.row_count}",
                run.dtype,
                run.outcome,
            )
            for run in runs
        ),
    )


def _measurements(examinations: Sequence[HeadExamination], *, papers: bool = False) -> Table:
    """Return the numbers of each head and, beside them, which hypotheses they meet."""
    return Table(
        title="The numbers that the papers' hypotheses are about",
        headings=(
            *("head", "n", "d", "max\n|q.k|", "half row\nrange", "Q scale\nfor 0.1"),
            *("max\n|Q|", "max\n|K|", "max\n|V|", "max\n|Q-K|", "rank\nQK^T"),
            *(PAPERS if papers else ()),
        ),
        labels=1,
        numbers=10,
        rows=tuple(
            (*_figures(e), *(("fails", "holds")[paper.holds] for paper in e.papers if papers))
            for e in examinations
        ),
    )


def _figures(examination: HeadExamination) -> tuple[str, ...]:
    m = examination.measurements
    return (
        examination.name,
        str(m.n_k) if m.n_q == m.n_k else f"{m.n_q}, {m.n_k}",
        str(m.d) if m.d == m.d_v else f"{m.d}, {m.d_v}",
        f"{m.logit_bound:.3g}",
        f"{m.half_row_range:.3g}",
        "any" if m.scale_for_r is None else f"{m.scale_for_r:.3g}",
        *(f"{x:.3g}" for x in m.largest_entries),
        "-" if m.query_key_distance is None else f"{m.query_key_distance:.3g}",
        str(m.rank),
    )


def _papers(examinations: Sequence[HeadExamination]) -> Table:
    rows = []
    for examination in examinations:
        cells = []
        for paper in examination.papers:
            # Of a paper that does not apply, the conditions that fail are the reason.
            shown = [c.measured for c in paper.conditions if c.holds == paper.holds]
            cells.append(("holds: " if paper.holds else "fails: ") + "\n       ".join(shown))
        rows.append((examination.name, *cells))
    headings = ("head", *PAPERS)
    return Table(
        title="Which paper's hypotheses hold",
        headings=headings,
        labels=1,
        numbers=0,
        rows=tuple(rows),
    )


def _asked(examinations: Sequence[HeadExamination]) -> Iterator[str]:
    """Say what was tested for each paper, and which part of it is our reading."""
    for paper in examinations[0].papers:
        conditions = "; ".join(
            c.statement + (f" ({c.reading})" if c.reading else "") for c in paper.conditions
        )
        yield f"{paper.id} asks: {conditions}. {paper.remark}"


def _document(examination: HeadExamination) -> dict[str, Any]:
    first = examination.judgements[0]
    return {
        "name": examination.name,
        "dtype": examination.dtype,
        "rows_checked": len(first.rows),
        "rows": rows_left(first),
        "passed": examination.passed,
        "runs": [
            common_fields(run)
            | {
                "dtype": run.dtype,
                "error_lower": run.error[0] if run.error else None,
                "error_upper": run.error[1] if run.error else None,
                "bound": run.bound,
                "bound_over_error": run.ratio,
            }
            for run in examination.judgements
        ],
        "measurements": asdict(examination.measurements),
        "papers": [{**asdict(paper), "holds": paper.holds} for paper in examination.papers],
    }
