"""What ``attest audit``, ``attest show`` and ``attest conform`` print."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sympy
from rich import box
from rich.table import Table
from rich.text import Text

from proofs.command.report import console
from proofs.evidence import coq_checker as check
from proofs.evidence.audit import Audit, AuditReport, Finding, shown
from proofs.evidence.conformance import Case, Outcome
from specs import CLAIMS
from specs.claim import Claim
from specs.ledger import Record

#: Scopes are sentences; wider than this they would push the figures off the screen.
SCOPE_WIDTH = 48


def print_audit(report: AuditReport) -> None:
    """Print a row for every claim, every difference, and what was not run."""
    out = console()
    table = Table(box=box.SIMPLE_HEAD if out.is_terminal else box.SIMPLE, pad_edge=False)
    for heading in ("claim", "verdict", "scope", "assurance", "sharpness = extremal/bound"):
        table.add_column(heading)
    for audited in report.claims:
        table.add_row(*_row(audited))
    out.print(table)
    for audited in report.claims:
        for difference in audited.differences:
            out.print(Text(f"{audited.record.id}: {difference}", style="bold red"))
    for difference in report.differences:
        out.print(Text(difference, style="bold red"))
    for sentence in report.not_run:
        out.print(Text(f"Not run. {sentence}"))
    count = len(report.claims)
    out.print(
        f"{count} claims audited: "
        + ("the ledger says exactly what was found." if report.agrees else "the ledger differs.")
    )


def _row(audited: Audit) -> tuple[str, ...]:
    record, finding = audited.record, audited.finding
    sharpness = [f"{name} {shown(value)}" for name, value in finding.sharpness.items()]
    scope = textwrap.fill(record.scope, SCOPE_WIDTH)
    found = replace(
        record,
        verdict=finding.verdict,
        vacuous_where=finding.vacuous_where,
        refuted_where=finding.refuted_where,
    )
    return record.id, found.shown, scope, finding.assurance, "\n".join(sharpness)


def print_findings(findings: Mapping[str, Finding]) -> None:
    """Print what was found of claims of which no ledger says anything, and what is wrong with them."""
    out = console()
    table = Table(box=box.SIMPLE_HEAD if out.is_terminal else box.SIMPLE, pad_edge=False)
    for heading in ("claim", "verdict", "assurance", "sharpness = extremal/bound"):
        table.add_column(heading)
    for id_, finding in findings.items():
        sharpness = [f"{name} {shown(value)}" for name, value in finding.sharpness.items()]
        table.add_row(id_, finding.verdict, finding.assurance, "\n".join(sharpness))
    out.print(table)
    for id_, finding in findings.items():
        for fault in finding.faults:
            out.print(Text(f"{id_}: {fault}", style="bold red"))
    out.print(f"{len(findings)} claims audited; no ledger says anything of them.")


def print_outsider(claim: Claim[Any]) -> None:
    """Print a claim from outside the project."""
    out = console()
    out.print(Text(f"{claim.id}  ({claim.where})", style="bold"))
    _print_rows(_executable(claim))


def print_claim(record: Record) -> None:
    """Print what is claimed, under which hypotheses, with which evidence, and where each is."""
    out = console()
    out.print(Text(f"{record.id}  ({record.where})", style="bold"))
    out.print(Text(record.quote))
    rows: list[tuple[str, str]] = [("verdict", record.shown), ("assurance", record.assurance)]
    if record.refuted_where:
        rows.append(("refuted where", record.refuted_where))
    rows += [
        ("vacuous where", f"{where} ({name})")
        for name, where in (record.vacuous_where or {}).items()
    ]
    rows += [
        (name, text)
        for name, text in (
            ("scope", record.scope),
            ("repaired by", ", ".join(record.repaired_by)),
            ("not stated", record.not_stated),
        )
        if text
    ]
    if record.id in CLAIMS:
        rows += _executable(CLAIMS[record.id])
    else:
        rows.append(("evidence", "none: no executable claim stands behind this record yet"))
    _print_rows(rows)


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, text in rows:
        table.add_row(name, Text(text))
    console().print(table)


def _executable(claim: Any) -> list[tuple[str, str]]:
    statements = check.statements()
    rows = [("statement", claim.statement), ("not stated", claim.not_stated or "nothing")]
    rows += [("assumes", h.statement) for h in claim.assumes]
    for bound in claim.bounds:
        arguments = ", ".join(a.name for a in bound.arguments)
        rows.append(("bound", f"{bound.meaning} <= {bound.name}({arguments})"))
        rows.append(("", f"= {sympy.sstr(bound.expression)}"))
        for theorem in (bound.theorem, bound.attained, bound.approached):
            if theorem:
                rows.append(("Coq", f"{theorem}: {' '.join(statements.get(theorem, '?').split())}"))
    rows.append(("where", _where(claim)))
    return rows


def _where(claim: Any) -> str:
    if claim.id not in CLAIMS:
        return str(inspect.getsourcefile(claim.witness))
    source = claim.witness.__module__.replace(".", "/") + ".py"
    return (
        f"{source}; fastpath/core/bounds, proofs/coq/Bounds.v and docs/claims are generated from it"
    )


def print_conformance(name: str, outcomes: Sequence[Outcome]) -> None:
    """Print a row for every case, the failures whole, and the count."""
    out = console()
    table = Table(box=box.SIMPLE_HEAD if out.is_terminal else box.SIMPLE, pad_edge=False)
    for heading in ("case", "catches", "error", "bound", ""):
        table.add_column(heading)
    for outcome in outcomes:
        case = outcome.case
        figures = (
            (f"{float(outcome.error):.2e}", f"{outcome.bound:.2e}")
            if isinstance(case, Case) and not (outcome.failure or outcome.missing)
            else ("", "")
        )
        what = case.catches if isinstance(case, Case) else f"must raise {case.error.__name__}"
        table.add_row(case.name, what, *figures, _verdict(outcome))
    out.print(table)
    failures = [o for o in outcomes if o.failure]
    for outcome in failures:
        out.print(Text(outcome.failure, style="bold red"))
    run = [outcome for outcome in outcomes if not outcome.missing]
    out.print(f"{name}: {len(run) - len(failures)} of {len(run)} cases conform.")
    if len(run) < len(outcomes):
        missing = sorted({option for outcome in outcomes for option in outcome.missing})
        out.print(
            f"Not run: {len(outcomes) - len(run)} cases with options that {name} does not take: "
            f"{', '.join(missing)}."
        )


def _verdict(outcome: Outcome) -> str:
    return "not run" if outcome.missing else "FAILS" if outcome.failure else "conforms"
