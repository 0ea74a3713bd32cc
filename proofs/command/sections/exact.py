"""Attention on heads as a section of ``attest check``: certificates, and the hypotheses of the papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from proofs.command.report import Section, Table, all_inside, counted, ratio, up, verdict_name
from proofs.judging.exact import Examination
from proofs.judging.hypotheses import LARGEST_R, PAPERS

__all__ = ["section"]


def section(examinations: Sequence[Examination], subject: str) -> Section:
    """Return what was found on at least one head.

    ``subject`` says of which implementation on which data.
    """
    return Section(
        "heads",
        all(examination.passed for examination in examinations),
        (_certificates(examinations, subject), _measurements(examinations), _papers(examinations)),
        (*_asked(examinations), *_failures(examinations)),
        _summary(examinations),
        [_document(examination) for examination in examinations],
    )


def _summary(examinations: Sequence[Examination]) -> str:
    runs = [run for examination in examinations for run in examination.runs]
    failed = [e.name for e in examinations if not e.passed]
    count = len(examinations)
    sentences = [
        f"{counted(count, 'head')} checked, {counted(len(runs), 'run')}: "
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
    meeting = [
        f"{paper} by {sum(e.papers[k].holds for e in examinations)}"
        for k, paper in enumerate(PAPERS)
    ]
    smallest = min(e.measurements.logit_bound for e in examinations)
    sentences.append(
        f"Hypotheses are met: {', '.join(meeting)}, of {counted(count, 'head')}; "
        f"the smallest max|q.k| is {smallest:.3g}, and P3 needs less than {LARGEST_R}."
    )
    return " ".join(sentences)


def _certificates(examinations: Sequence[Examination], subject: str) -> Table:
    return Table(
        f"Certified bound against enclosed error: {subject}",
        (
            *(
                "head",
                "largest\nerror",
                "largest\nbound",
                "bound /\nerror",
                "rows\nchecked",
                "type",
            ),
            "verdict",
        ),
        labels=1,
        numbers=3,
        rows=tuple(
            (
                examination.name,
                up(run.error and run.error[1]),
                up(run.bound),
                ratio(run.ratio),
                f"{len(examination.rows)} of {examination.measurements.n_q}",
                run.dtype,
                verdict_name(run.verdict),
            )
            for examination in examinations
            for run in examination.runs
        ),
    )


def _measurements(examinations: Sequence[Examination]) -> Table:
    return Table(
        "The numbers that the papers' hypotheses are about",
        (
            *("head", "n", "d", "max\n|q.k|", "half row\nrange", "Q scale\nfor 0.1"),
            *("max\n|Q|", "max\n|K|", "max\n|V|", "max\n|Q-K|", "rank\nQK^T"),
        ),
        labels=1,
        numbers=10,
        rows=tuple(_figures(examination) for examination in examinations),
    )


def _figures(examination: Examination) -> tuple[str, ...]:
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


def _papers(examinations: Sequence[Examination]) -> Table:
    rows = []
    for examination in examinations:
        cells = []
        for paper in examination.papers:
            # Of a paper that does not apply, the conditions that fail are the reason.
            shown = [c.measured for c in paper.conditions if c.holds == paper.holds]
            cells.append(("holds: " if paper.holds else "fails: ") + "\n       ".join(shown))
        rows.append((examination.name, *cells))
    headings = ("head", *PAPERS)
    return Table("Which paper's hypotheses hold", headings, labels=1, numbers=0, rows=tuple(rows))


def _asked(examinations: Sequence[Examination]) -> Iterator[str]:
    """Say what was tested for each paper, and which part of it is our reading."""
    for paper in examinations[0].papers:
        conditions = "; ".join(
            c.statement + (f" ({c.reading})" if c.reading else "") for c in paper.conditions
        )
        yield f"{paper.id} asks: {conditions}. {paper.remark}"


def _failures(examinations: Sequence[Examination]) -> Iterator[str]:
    for examination in examinations:
        for run in examination.runs:
            if not run.passed:
                yield f"{examination.name} in {run.dtype}: {verdict_name(run.verdict)}. {run.failure}"


def _document(examination: Examination) -> dict[str, Any]:
    return {
        "name": examination.name,
        "dtype": examination.dtype,
        "rows_checked": len(examination.rows),
        # The list tells only where some rows were left out.
        "rows": None if len(examination.rows) == examination.measurements.n_q else examination.rows,
        "passed": examination.passed,
        "runs": [
            {
                "dtype": run.dtype,
                "verdict": verdict_name(run.verdict),
                "error_lower": run.error[0] if run.error else None,
                "error_upper": run.error[1] if run.error else None,
                "bound": run.bound,
                "bound_over_error": run.ratio,
                "claims": list(run.claims),
                "failure": run.failure,
            }
            for run in examination.runs
        ],
        "measurements": asdict(examination.measurements),
        "papers": [{**asdict(paper), "holds": paper.holds} for paper in examination.papers],
    }
