"""What ``attest check`` prints: tables for people, one JSON document for programs.

A module that examines something hands over a :class:`Section`, and this one lays it out.  At a terminal the
tables fold to its width; piped, they are plain aligned ASCII, as wide as they need to be, and nothing is
cut.  Errors and bounds are rounded upward, to the digits shown too.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeVar

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable
from rich.text import Text

from reference import Verdict

__all__ = [
    "Check",
    "Section",
    "Table",
    "all_inside",
    "as_json",
    "console",
    "counted",
    "print_check",
    "ratio",
    "track",
    "up",
    "verdict_name",
]

#: Where output is not a terminal nothing is folded: no table comes near this width.
UNFOLDED = 1000


@dataclass(frozen=True)
class Table:
    """A table whose first ``labels`` columns are text, the next ``numbers`` figures, the others text."""

    title: str
    headings: tuple[str, ...]
    labels: int
    numbers: int
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """What was found about one capability of the implementation.

    Attributes
    ----------
    name
        Its name in the JSON document.
    passed
        Whether every error is inside its certificate.
    tables, remarks
        What is printed, in this order: figures, then what they mean and what failed.
    summary
        The result in a few sentences.
    document
        Everything that the tables show, for JSON.
    """

    name: str
    passed: bool
    tables: tuple[Table, ...]
    remarks: tuple[str, ...]
    summary: str
    document: list[dict[str, Any]]


@dataclass(frozen=True)
class Check:
    """What was checked: an implementation's name, where the data come from, and what was found.

    ``unchecked`` says in sentences what the implementation has no function for.
    """

    implementation: str
    source: str
    sections: tuple[Section, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every error is inside its certificate."""
        return all(section.passed for section in self.sections)

    @property
    def summaries(self) -> tuple[str, ...]:
        """The result, a paragraph for each section and for what was not checked."""
        return (*(section.summary for section in self.sections), *self.unchecked)


def all_inside(failed: Sequence[str], what: str = "bound") -> str:
    """Return the sentence that says whether every error is inside, and where not."""
    if failed:
        return f"not every error is inside its {what}, see {', '.join(failed)}."
    return f"every error is inside its {what}."


def console(*, stderr: bool = False) -> Console:
    """Return a console that folds at a terminal's width, and not at all elsewhere."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    return made if made.is_terminal else Console(stderr=stderr, width=UNFOLDED, highlight=False)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Item = TypeVar("Item", bound=_Named)


def track(items: Sequence[Item]) -> Iterator[Item]:
    """Yield the items, with a progress bar on stderr that is gone at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(
        *(*columns, TimeElapsedColumn()),
        console=console(stderr=True),
        transient=True,
        disable=not console(stderr=True).is_terminal,
    )
    with bar:
        task = bar.add_task("", total=len(items))
        for item in items:
            bar.update(task, description=item.name)
            yield item
            bar.advance(task)


def print_check(check: Check) -> None:
    """Print the tables and remarks of every section, then the result."""
    out = console()
    plain = not out.is_terminal
    for section in check.sections:
        for table in section.tables:
            out.print(Text(table.title, style="bold"))
            out.print(_laid_out(table, plain))
            out.print()
        _print_paragraphs(out, section.remarks)
    _print_paragraphs(out, check.summaries)


def as_json(check: Check) -> str:
    """Return everything that the tables show, and the versions that it was found with."""
    document = {
        "attest": _version(),
        "numpy": np.__version__,
        "blas": _blas(),
        "implementation": check.implementation,
        "source": check.source,
        "passed": check.passed,
        "summary": " ".join(check.summaries),
    } | {section.name: section.document for section in check.sections}
    return json.dumps(document, indent=2, allow_nan=False)


# ---------------------------------------------------------------------------------- words and figures


def verdict_name(verdict: Verdict | None) -> str:
    """Return the name of a verdict; there is none on an implementation that gave no answer."""
    return verdict.name if verdict else "NO ANSWER"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number of things in words."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def ratio(value: float | None) -> str:
    """Return a ratio without digits that would mean nothing."""
    if value is None:
        return "-"
    return f"{value:.0f}" if 100 <= value < 10**6 else f"{value:.3g}"


def up(value: float | None) -> str:
    """Return three significant digits, rounded up."""
    if value is None:
        return "-"
    return f"{Context(prec=3, rounding=ROUND_CEILING).create_decimal(value):.2e}"


# --------------------------------------------------------------------------------------------- layout


def _laid_out(table: Table, plain: bool) -> RichTable:
    # Both ways two blanks stand between columns: at a terminal the box adds one.
    laid_out = RichTable(
        box=None if plain else box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 2 if plain else 1, 0, 0),
    )
    figures = range(table.labels, table.labels + table.numbers)
    for k, heading in enumerate(table.headings):
        justify: Any = "right" if k in figures else "left"
        laid_out.add_column(heading, justify=justify, vertical="top", overflow="fold")
    for row in table.rows:
        laid_out.add_row(*row)
    return laid_out


def _print_paragraphs(out: Console, paragraphs: Sequence[str]) -> None:
    for paragraph in paragraphs:
        out.print(Text(paragraph if out.is_terminal else textwrap.fill(paragraph, 100)))
        out.print()


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
