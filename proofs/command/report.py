"""What ``attest check`` prints: tables for people, one JSON document for programs.

A module of ``sections`` hands over a :class:`Section` a stem, and this one prints it, laid out by ``layout``.
Errors and bounds are rounded upward, to the digits shown too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from decimal import ROUND_CEILING, Context
from importlib.metadata import PackageNotFoundError, version
from math import inf
from statistics import median
from typing import Any, TypeVar

import numpy as np

from proofs.command.layout import print_paragraph, print_table, styled
from proofs.judging.judgement import Judgement

__all__ = [
    *("BOUND", "ERROR", "NAME", "RATIO", "ROWS", "VERDICT"),
    *("Check", "Column", "Section", "Table"),
    *("as_json", "counted", "fields_of", "print_check", "ratio", "refusals"),
    *("rows_left", "table", "up"),
]

Told = TypeVar("Told", contravariant=True)

#: A heading, and what stands below it of one thing that was found.
Column = tuple[str, Callable[[Told], str]]

#: What failures of one kind may differ in.
FIGURE = re.compile(r"\d[\d.]*(?:e[+-]?\d+)?")

#: How many heads are named that fail likewise.
NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first ``labels`` columns are text, the next ``numbers`` figures, the others text."""

    title: str
    headings: tuple[str, ...]
    labels: int
    numbers: int
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """What was found about one capability of the implementation.

    Attributes
    ----------
    name, function
        Its name in the JSON document, and the function that was asked.
    judgements
        Every answer, judged.
    tables, remarks
        What ``--verbose`` prints, in this order: figures, then what they mean.
    hypotheses
        A row a head, which ``--hypotheses`` prints, and what was asked of each.
    refused
        What was refused and why, in numbers; empty if nothing was.
    findings
        What else is always said, in a sentence.
    document
        Everything that the tables show, for JSON.
    """

    name: str
    function: str
    judgements: tuple[Judgement, ...]
    tables: tuple[Table, ...]
    remarks: tuple[str, ...]
    hypotheses: tuple[Table, tuple[str, ...]] | None = None
    refused: str = ""
    findings: str = ""
    document: list[dict[str, Any]]

    @property
    def passed(self) -> bool:
        """Whether every error is inside its certificate."""
        return all(judgement.passed for judgement in self.judgements)

    @property
    def summary(self) -> str:
        """The result in a few sentences."""
        failed = dict.fromkeys(j.name for j in self.judgements if not j.passed)
        inside = (
            f"not every error is inside its certificate, see {', '.join(failed)}."
            if failed
            else "every error is inside its certificate."
        )
        sentences = f"{self.function}, {counted(len(self.judgements), 'run')}: {inside}"
        ratios = [j.ratio for j in self.judgements if j.ratio is not None]
        if ratios:
            sentences += f" Largest bound over largest error: median {ratio(median(ratios))}."
        return " ".join(filter(None, (sentences, self.findings, self.refused)))

    @property
    def failures(self) -> tuple[str, ...]:
        """Every failure, whole."""
        return tuple(map(_failure, (j for j in self.judgements if not j.passed)))

    @property
    def grouped_failures(self) -> tuple[str, ...]:
        """The first failure of each kind, whole, and where others of it are.

        They are of a kind if their sentences are the same but for figures.
        """
        kinds: dict[str, list[Judgement]] = {}
        for judgement in self.judgements:
            if not judgement.passed:
                kind = f"{judgement.outcome} {FIGURE.sub('#', judgement.failure)}"
                kinds.setdefault(kind, []).append(judgement)
        return tuple(
            _failure(first) + (f" Likewise of {_some(rest)}." if rest else "")
            for first, *rest in kinds.values()
        )


def _failure(judgement: Judgement) -> str:
    return f"{judgement.where}: {judgement.outcome}. {judgement.sentences}"


def _some(judgements: Sequence[Judgement]) -> str:
    """Name judgements, the first few of many."""
    names = [judgement.where for judgement in judgements[:NAMED]]
    if len(judgements) > len(names):
        names.append(f"{len(judgements) - len(names)} others (--verbose)")
    return ", ".join(names)


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was checked: an implementation's name, where the data come from, and what was found.

    ``seed`` drew the rows that were checked where those are not all.
    ``unchecked`` says in sentences what the implementation has no function for, ``not_run`` what else was
    left out.
    """

    implementation: str
    source: str
    seed: int
    sections: tuple[Section, ...]
    unchecked: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every error is inside its certificate."""
        return all(section.passed for section in self.sections)

    @property
    def summaries(self) -> tuple[str, ...]:
        """The result, a paragraph for each section and for what was not checked."""
        return (*(section.summary for section in self.sections), *self.unchecked)


def print_check(check: Check, *, verbose: bool = False, hypotheses: bool = False) -> None:
    """Print a line a section, what was refused, the failures whole or PASS, and what was not run.

    Before that, where ``verbose``, the tables of every section and what they mean; and where
    ``hypotheses``, which papers' hypotheses hold, a row a head.
    """
    for section in check.sections:
        if verbose:
            _print_tables(section.tables)
            _print_paragraphs(section.remarks)
        elif hypotheses and section.hypotheses:
            table, asked = section.hypotheses
            _print_tables((table,))
            _print_paragraphs(asked)
    if verbose:
        _print_paragraphs(check.summaries)
    _print_tables((_overview(check),))
    found = [
        sentence for section in check.sections for sentence in (section.findings, section.refused)
    ]
    _print_paragraphs(list(filter(None, found)), apart=False)
    judgements = [judgement for section in check.sections for judgement in section.judgements]
    failures = [failure for section in check.sections for failure in section.failures]
    grouped = [failure for section in check.sections for failure in section.grouped_failures]
    _print_paragraphs(failures if verbose else grouped)
    asked_for = counted(len(judgements), "run")
    refused = sum(judgement.outcome == "REFUSED" for judgement in judgements)
    print(
        f"FAIL: {len(failures)} of {asked_for} did not pass."
        if failures
        else f"PASS: of {asked_for} every error is inside its certificate"
        + (f"; {refused} certify none." if refused else ".")
    )
    seed = f"Rows that were drawn at random: --seed {check.seed} draws them again."
    _print_paragraphs([*check.unchecked, *check.not_run, seed], apart=False)


#: Columns that many tables have: a heading, and what stands below it of a judgement.
NAME: Column[Judgement] = ("head", lambda found: found.name)
ERROR: Column[Judgement] = ("largest\nerror", lambda found: up(found.error and found.error[1]))
BOUND: Column[Judgement] = ("largest\nbound", lambda found: up(found.bound))
RATIO: Column[Judgement] = ("bound /\nerror", lambda found: ratio(found.ratio))
ROWS: Column[Judgement] = (
    "rows\nchecked",
    lambda found: f"{len(found.rows)} of {found.row_count}" if found.rows else "-",
)
VERDICT: Column[Judgement] = ("verdict", lambda found: found.outcome)


def table(
    title: str, found: Sequence[Told], columns: Sequence[Column[Told]], *, labels: int, numbers: int
) -> Table:
    """Return a table with a row for everything that was found."""
    return Table(
        title=title,
        headings=tuple(heading for heading, _ in columns),
        labels=labels,
        numbers=numbers,
        rows=tuple(tuple(cell(one) for _, cell in columns) for one in found),
    )


def _overview(check: Check) -> Table:
    return Table(
        title=f"The errors nearest to their bounds: {check.implementation} on {check.source}",
        headings=(
            *("\nfunction", "\nruns", "\nrefused", "rows\nchecked", "worst\nerror", "its\nbound"),
            *("bound /\nerror", "\nwhere"),
        ),
        labels=1,
        numbers=6,
        rows=tuple(_line(section) for section in check.sections),
    )


def _line(section: Section) -> tuple[str, ...]:
    """Return how many runs there were, and the one whose error comes nearest to its bound."""
    judgements = section.judgements
    certified = [j for j in judgements if j.outcome != "REFUSED"]
    worst = min(certified, key=_margin, default=None)
    rows = sum(len(j.rows) for j in certified)
    return (
        section.function,
        str(len(judgements)),
        str(len(judgements) - len(certified)),
        f"{rows} of {sum(j.row_count for j in certified)}",
        up(worst.error and worst.error[1] if worst else None),
        up(worst.bound if worst else None),
        ratio(worst.ratio if worst else None),
        worst.where if worst else "-",
    )


def _margin(judgement: Judgement) -> tuple[bool, float]:
    """Sort failures first, then by bound over error."""
    return judgement.passed, inf if judgement.ratio is None else judgement.ratio


def refusals(section: str, judgements: Sequence[Judgement]) -> str:
    """Say how many were refused, and why the first was; ``--verbose`` tells of each."""
    refused = [judgement for judgement in judgements if judgement.outcome == "REFUSED"]
    if not refused:
        return ""
    reasons = {judgement.refusal for judgement in refused}
    others = f" {len(reasons) - 1} other reasons: --verbose." if len(reasons) > 1 else ""
    return (
        f"{section} certifies nothing in {len(refused)} of {counted(len(judgements), 'run')}, as of "
        f"{refused[0].where}: {refused[0].refusal}{others}"
    )


def as_json(check: Check) -> str:
    """Return everything that the tables show, and the versions that it was found with."""
    document = {
        "attest": _version(),
        "numpy": np.__version__,
        "blas": _blas(),
        "implementation": check.implementation,
        "source": check.source,
        "seed": check.seed,
        "passed": check.passed,
        "summary": " ".join(check.summaries),
    } | {section.name: section.document for section in check.sections}
    return json.dumps(document, indent=2, allow_nan=False, default=_plain)


def fields_of(judgement: Judgement, *left_out: str, **more: Any) -> dict[str, Any]:
    """Return what the document says of an answer: what it says of every one, and what is its stem's own."""
    error = judgement.error or (None, None)
    common = {field.name for field in fields(Judgement)}
    found = {
        "name": judgement.name,
        "dtype": judgement.dtype,
        "passed": judgement.passed,
        "verdict": judgement.outcome,
        "error": judgement.error,
        "error_lower": error[0],
        "error_upper": error[1],
        "bound": judgement.bound,
        "bound_over_error": judgement.ratio,
        "rows_checked": len(judgement.rows),
        "rows": rows_left(judgement),
        "claims": judgement.claims,
        "refusal": judgement.refusal,
        "failure": judgement.sentences,
        "call": judgement.call,
    }
    own = {field.name: getattr(judgement, field.name) for field in fields(judgement)}
    found |= {name: value for name, value in own.items() if name not in common}
    return {name: value for name, value in found.items() if name not in left_out} | more


def rows_left(judgement: Judgement) -> tuple[int, ...] | None:
    """Return the rows that were checked, where some were left out: only there the list tells anything."""
    return None if len(judgement.rows) == judgement.row_count else judgement.rows


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a record or a verdict."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value.name


# ---------------------------------------------------------------------------------- words and figures


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


def _print_tables(tables: Sequence[Table]) -> None:
    for table in tables:
        print(styled(table.title, "bold"))
        print_table(table.headings, table.rows, range(table.labels, table.labels + table.numbers))
        print()


def _print_paragraphs(paragraphs: Sequence[str], *, apart: bool = True) -> None:
    for paragraph in paragraphs:
        print_paragraph(paragraph)
        if apart:
            print()


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
