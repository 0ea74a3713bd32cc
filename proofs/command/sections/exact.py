"""Attention on heads as a section of ``attest check``: certificates, and the hypotheses of the papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from proofs.command import report
from proofs.command.report import Column, Section, Table, counted, fields_of, rows_left, table
from proofs.judging.exact import HeadExamination
from proofs.judging.hypotheses import LARGEST_R, PAPERS, Measurements

__all__ = ["section"]


def section(examinations: Sequence[HeadExamination], subject: str) -> Section:
    """Return what was found on at least one head.

    ``subject`` says of which implementation on which data.
    """
    runs = tuple(run for examination in examinations for run in examination.judgements)
    certificates = table(
        f"Certified bound against enclosed error: {subject}",
        runs,
        (
            *(report.NAME, report.ERROR, report.BOUND, report.RATIO, report.ROWS),
            ("type", lambda run: run.dtype),
            report.VERDICT,
        ),
        labels=1,
        numbers=3,
    )
    asked = tuple(_asked(examinations))
    return Section(
        name="heads",
        function="attention",
        judgements=runs,
        tables=(certificates, _measurements(examinations), _papers(examinations)),
        remarks=asked,
        hypotheses=(_measurements(examinations, papers=True), asked),
        findings=_hypotheses(examinations),
        document=[_document(examination) for examination in examinations],
    )


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


def _measurements(examinations: Sequence[HeadExamination], *, papers: bool = False) -> Table:
    """Return the numbers of each head and, beside them, which hypotheses they meet."""
    figures: tuple[Column[Measurements], ...] = (
        ("n", lambda m: str(m.n_k) if m.n_q == m.n_k else f"{m.n_q}, {m.n_k}"),
        ("d", lambda m: str(m.d) if m.d == m.d_v else f"{m.d}, {m.d_v}"),
        ("max\n|q.k|", lambda m: f"{m.logit_bound:.3g}"),
        ("half row\nrange", lambda m: f"{m.half_row_range:.3g}"),
        ("Q scale\nfor 0.1", lambda m: _figure(m.scale_for_r, "any")),
        ("max\n|Q|", lambda m: f"{m.largest_entries[0]:.3g}"),
        ("max\n|K|", lambda m: f"{m.largest_entries[1]:.3g}"),
        ("max\n|V|", lambda m: f"{m.largest_entries[2]:.3g}"),
        ("max\n|Q-K|", lambda m: _figure(m.query_key_distance, "-")),
        ("rank\nQK^T", lambda m: str(m.rank)),
    )
    return Table(
        title="The numbers that the papers' hypotheses are about",
        headings=("head", *(heading for heading, _ in figures), *(PAPERS if papers else ())),
        labels=1,
        numbers=len(figures),
        rows=tuple(
            (
                e.name,
                *(cell(e.measurements) for _, cell in figures),
                *(("fails", "holds")[paper.holds] for paper in e.papers if papers),
            )
            for e in examinations
        ),
    )


def _figure(number: float | None, without: str) -> str:
    return without if number is None else f"{number:.3g}"


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
        "runs": [fields_of(run) for run in examination.judgements],
        "measurements": examination.measurements,
        "papers": [{**asdict(paper), "holds": paper.holds} for paper in examination.papers],
    }
