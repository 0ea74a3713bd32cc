"""What ``attest audit``, ``attest show`` and ``attest conform`` print."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sympy

from proofs.command.claims_document import claims_document
from proofs.command.layout import print_paragraph, print_table, styled
from proofs.command.report import counted
from proofs.evidence import coq_checker as check
from proofs.evidence.audit import Audit, AuditReport, Finding, shown
from proofs.evidence.conformance import Case, Outcome
from proofs.evidence.finds import unconfirmed
from specs import CLAIMS
from specs.claim import Claim
from specs.ledger import Record

#: Scopes are sentences; wider than this they would push the figures off the screen.
SCOPE_WIDTH = 48


def print_audit(report: AuditReport) -> None:
    """Print a row for every claim, every difference, and what was not run."""
    headings = ("claim", "verdict", "scope", "assurance", "sharpness = extremal/bound")
    print_table(headings, [_row(audited) for audited in report.claims])
    print()
    for audited in report.claims:
        for difference in audited.differences:
            print(styled(f"{audited.record.id}: {difference}", "wrong"))
    for difference in report.differences:
        print(styled(difference, "wrong"))
    for sentence in report.not_run:
        print(f"Not run. {sentence}")
    for audited in report.claims:
        for bound in audited.finding.sharpness.keys() & unconfirmed().keys():
            print(f"No search finds by itself how sharp {bound} is. {unconfirmed()[bound]}")
    print(
        f"{counted(len(report.claims), 'claim')} audited: "
        + ("the ledger says exactly what was found." if report.agrees else "the ledger differs.")
    )


def audit_as_json(report: AuditReport) -> str:
    """Return what the table, the sentences below it and the page say."""
    return json.dumps(claims_document(report=report), indent=2, allow_nan=False)


def findings_as_json(findings: Mapping[str, Finding]) -> str:
    """Return what was found of claims of which no ledger says anything."""
    return json.dumps({"claims": [_found(*item) for item in findings.items()]}, indent=2)


def _found(id_: str, finding: Finding) -> dict[str, Any]:
    return {
        "id": id_,
        "verdict": finding.verdict,
        "assurance": finding.assurance,
        "sharpness": {name: shown(value) for name, value in finding.sharpness.items()},
        "vacuous_where": dict(finding.vacuous_where),
        "refuted_where": finding.refuted_where,
        "faults": list(finding.faults),
    }


def _row(audited: Audit) -> tuple[str, ...]:
    record, finding = audited.record, audited.finding
    scope = textwrap.fill(record.scope, SCOPE_WIDTH)
    found = replace(
        record,
        verdict=finding.verdict,
        vacuous_where=finding.vacuous_where,
        refuted_where=finding.refuted_where,
    )
    return record.id, found.shown, scope, finding.assurance, _sharpness(finding)


def _sharpness(finding: Finding) -> str:
    return "\n".join(f"{name} {shown(value)}" for name, value in finding.sharpness.items())


def print_findings(findings: Mapping[str, Finding]) -> None:
    """Print what was found of claims of which no ledger says anything, and what is wrong with them."""
    rows = [
        (id_, finding.verdict, finding.assurance, _sharpness(finding))
        for id_, finding in findings.items()
    ]
    print_table(("claim", "verdict", "assurance", "sharpness = extremal/bound"), rows)
    print()
    for id_, finding in findings.items():
        for fault in finding.faults:
            print(styled(f"{id_}: {fault}", "wrong"))
    print(f"{counted(len(findings), 'claim')} audited; no ledger says anything of them.")


def print_outsider(claim: Claim[Any]) -> None:
    """Print a claim from outside the project."""
    print(styled(f"{claim.id}  ({claim.where})", "bold"))
    print_table((), _executable(claim))


def print_claim(record: Record) -> None:
    """Print what is claimed, under which hypotheses, with which evidence, and where each is."""
    print(styled(f"{record.id}  ({record.where})", "bold"))
    print_paragraph(record.quote)
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
    print_table((), rows)


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
    rows = []
    for outcome in outcomes:
        case = outcome.case
        figures = (
            (f"{float(outcome.error):.2e}", f"{outcome.bound:.2e}")
            if isinstance(case, Case) and not (outcome.failure or outcome.missing)
            else ("", "")
        )
        what = case.catches if isinstance(case, Case) else f"must raise {case.error.__name__}"
        rows.append((case.name, what, *figures, _verdict(outcome)))
    print_table(("case", "catches", "error", "bound", ""), rows, range(2, 4))
    print()
    failures = [o for o in outcomes if o.failure]
    for outcome in failures:
        print(styled(outcome.failure, "wrong"))
    run = [outcome for outcome in outcomes if not outcome.missing]
    print(f"{name}: {len(run) - len(failures)} of {len(run)} cases conform.")
    if len(run) < len(outcomes):
        missing = sorted({option for outcome in outcomes for option in outcome.missing})
        print(
            f"Not run: {len(outcomes) - len(run)} cases with options that {name} does not take: "
            f"{', '.join(missing)}."
        )


def _verdict(outcome: Outcome) -> str:
    return "not run" if outcome.missing else "FAILS" if outcome.failure else "conforms"
