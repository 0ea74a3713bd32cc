"""What ``attest check`` prints: tables for people, one JSON document for programs.

At a terminal the tables fold to its width; piped, they are plain aligned ASCII, as wide as they need to
be, and nothing is cut.  Errors and bounds are rounded upward, to the digits shown too.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Context
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from proofs.examine import Examination, Run
from proofs.heads import Head
from proofs.hypotheses import LARGEST_R, PAPERS

__all__ = ["Check", "as_json", "console", "print_check", "summary", "track"]

#: Where output is not a terminal nothing is folded: no table comes near this width.
UNFOLDED = 1000


@dataclass(frozen=True)
class Check:
    """What was checked: an implementation's name, where the heads come from, and what was found."""

    implementation: str
    source: str
    examinations: tuple[Examination, ...]

    @property
    def passed(self) -> bool:
        """Whether every error is inside its certificate."""
        return all(examination.passed for examination in self.examinations)


def console(*, stderr: bool = False) -> Console:
    """Return a console that folds at a terminal's width, and not at all elsewhere."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    return made if made.is_terminal else Console(stderr=stderr, width=UNFOLDED, highlight=False)


def track(heads: Sequence[Head]) -> Iterator[Head]:
    """Yield the heads, with a progress bar on stderr that is gone at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(
        *(*columns, TimeElapsedColumn()),
        console=console(stderr=True),
        transient=True,
        disable=not console(stderr=True).is_terminal,
    )
    with bar:
        task = bar.add_task("", total=len(heads))
        for head in heads:
            bar.update(task, description=head.name)
            yield head
            bar.advance(task)


# ----------------------------------------------------------------------------------------- tables


def print_check(check: Check) -> None:
    """Print the certificates, the hypotheses in numbers, the papers, and a summary."""
    out = console()
    plain = not out.is_terminal
    what = f"{check.implementation}.attention on {check.source}"
    sections = (
        (f"Certified bound against enclosed error: {what}", _certificates),
        ("The numbers that the papers' hypotheses are about", _measurements),
        ("Which paper's hypotheses hold", _papers),
    )
    for title, fill in sections:
        out.print(Text(title, style="bold"))
        out.print(fill(check.examinations, plain))
        out.print()
    for paragraph in (*_asked(check.examinations), *_failures(check), summary(check)):
        out.print(Text(textwrap.fill(paragraph, 100) if plain else paragraph))
        out.print()


def summary(check: Check) -> str:
    """Return the result in a few sentences."""
    runs = [run for examination in check.examinations for run in examination.runs]
    failed = [e.name for e in check.examinations if not e.passed]
    count = len(check.examinations)
    sentences = [
        f"{_counted(count, 'head')} checked, {_counted(len(runs), 'run')}: "
        + (
            f"not every error is inside its certificate, see {', '.join(failed)}."
            if failed
            else "every error is inside its certificate."
        )
    ]
    ratios = [
        f"{_ratio(median(found))} in {dtype}"
        for dtype in ("float32", "float64")
        if (found := [r.ratio for r in runs if r.dtype == dtype and r.ratio is not None])
    ]
    if ratios:
        sentences.append(
            f"Largest bound over largest error, a head at a time: median {' and '.join(ratios)}."
        )
    meeting = [
        f"{paper} by {sum(e.papers[k].holds for e in check.examinations)}"
        for k, paper in enumerate(PAPERS)
    ]
    smallest = min(e.measurements.logit_bound for e in check.examinations)
    sentences.append(
        f"Hypotheses are met: {', '.join(meeting)}, of {_counted(count, 'head')}; "
        f"the smallest max|q.k| is {smallest:.3g}, and P3 needs less than {LARGEST_R}."
    )
    return " ".join(sentences)


def _table(plain: bool, *headings: str, numbers: int) -> Table:
    """Return a table whose first column is text, the next ``numbers`` figures, the others text."""
    # Both ways two blanks stand between columns: at a terminal the box adds one.
    table = Table(
        box=None if plain else box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 2 if plain else 1, 0, 0),
    )
    for k, heading in enumerate(headings):
        justify: Any = "right" if 1 <= k <= numbers else "left"
        table.add_column(heading, justify=justify, vertical="top", overflow="fold")
    return table


def _certificates(examinations: Iterable[Examination], plain: bool) -> Table:
    table = _table(
        plain,
        *("head", "largest\nerror", "largest\nbound", "bound /\nerror", "rows\nchecked", "type"),
        "verdict",
        numbers=3,
    )
    for examination in examinations:
        checked, rows = len(examination.rows), examination.measurements.n_q
        for run in examination.runs:
            table.add_row(
                examination.name,
                _up(run.error and run.error[1]),
                _up(run.bound),
                _ratio(run.ratio),
                f"{checked} of {rows}",
                run.dtype,
                _verdict(run),
            )
    return table


def _measurements(examinations: Iterable[Examination], plain: bool) -> Table:
    table = _table(
        plain,
        *("head", "n", "d", "max\n|q.k|", "half row\nrange", "Q scale\nfor 0.1"),
        *("max\n|Q|", "max\n|K|", "max\n|V|", "max\n|Q-K|", "rank\nQK^T"),
        numbers=10,
    )
    for examination in examinations:
        m = examination.measurements
        table.add_row(
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
    return table


def _papers(examinations: Iterable[Examination], plain: bool) -> Table:
    table = _table(plain, "head", *PAPERS, numbers=0)
    for examination in examinations:
        cells = []
        for paper in examination.papers:
            # Of a paper that does not apply, the conditions that fail are the reason.
            shown = [c.measured for c in paper.conditions if c.holds == paper.holds]
            between = "\n       " if plain else "\n"
            cells.append(("holds: " if paper.holds else "fails: ") + between.join(shown))
        table.add_row(examination.name, *cells)
    return table


def _asked(examinations: Sequence[Examination]) -> Iterator[str]:
    """Say what was tested for each paper, and which part of it is our reading."""
    for paper in examinations[0].papers:
        conditions = "; ".join(
            c.statement + (f" ({c.reading})" if c.reading else "") for c in paper.conditions
        )
        yield f"{paper.id} asks: {conditions}. {paper.remark}"


def _failures(check: Check) -> Iterator[str]:
    for examination in check.examinations:
        for run in examination.runs:
            if not run.passed:
                yield f"{examination.name} in {run.dtype}: {_verdict(run)}. {run.failure}"


def _verdict(run: Run) -> str:
    return run.verdict.name if run.verdict else "NO ANSWER"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _ratio(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if 100 <= value < 10**6 else f"{value:.3g}"


def _up(value: float | None) -> str:
    """Return three significant digits, rounded up."""
    if value is None:
        return "-"
    return f"{Context(prec=3, rounding=ROUND_CEILING).create_decimal(value):.2e}"


# ------------------------------------------------------------------------------------------- JSON


def as_json(check: Check) -> str:
    """Return everything that the tables show, and the versions that it was found with."""
    document = {
        "attest": _version(),
        "numpy": np.__version__,
        "blas": _blas(),
        "implementation": check.implementation,
        "source": check.source,
        "passed": check.passed,
        "summary": summary(check),
        "heads": [_head(examination) for examination in check.examinations],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _head(examination: Examination) -> dict[str, Any]:
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
                "verdict": _verdict(run),
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


def _version() -> str:
    try:
        return version("attest-attention")
    except PackageNotFoundError:
        return "not installed"


def _blas() -> str:
    """Name the BLAS that numpy was built with."""
    configuration: Any = np.show_config(mode="dicts")
    blas = configuration.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
