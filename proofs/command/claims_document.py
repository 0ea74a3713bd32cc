"""What is known of the claims as one JSON document, for programs and for the page.

The same document stands behind an audit, which recomputed what it says, and beside a check, where it says
what the ledger records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import sympy

from proofs.evidence import coq_checker
from proofs.evidence.audit import PRECISIONS, AuditReport, Finding, shown
from proofs.judging.hypotheses import rounded_up
from reference import Enclosure
from specs import CLAIMS
from specs.claim import Bound, Claim, Value
from specs.ledger import Ledger, Record, ledger

__all__ = ["ROOT", "claims_document"]

#: Where the rooms stand; files are named from here on.
ROOT = Path(__file__).resolve().parents[2]

#: So many characters of an instance's field are shown.
LONGEST_FIELD = 160


def claims_document(
    ids: Sequence[str] = (), *, report: AuditReport | None = None, book: Ledger | None = None
) -> dict[str, Any]:
    """Return what is known of the named claims, or of every claim.

    Parameters
    ----------
    ids
        Claim ids of the ledger; none means all of them.  Where there is a report, its claims are taken.
    report
        What an audit found; without one, verdict, assurance and sharpness are what the ledger says.
    book
        The ledger; the one that ships by default.
    """
    book = ledger() if book is None else book
    if report is None:
        claims = [_claim(book.records[id_], None, (), book) for id_ in ids or book.records]
    else:
        claims = [_claim(a.record, a.finding, a.differences, book) for a in report.claims]
    return {
        "audited": report is not None,
        "agrees": None if report is None else report.agrees,
        "claims": claims,
        "differences": [] if report is None else [*report.differences],
        "not_run": [] if report is None else [*report.not_run],
        "axioms": coq_checker.axioms(),
    }


def _claim(
    record: Record, finding: Finding | None, differences: Sequence[str], book: Ledger
) -> dict[str, Any]:
    claim = CLAIMS.get(record.id)
    said: Any = record if finding is None else finding
    if finding is None:
        sharpness = dict(record.sharpness or {})
    else:
        sharpness = {name: shown(value) for name, value in finding.sharpness.items()}
    return {
        "id": record.id,
        "where": record.where,
        "quote": record.quote,
        "sentences": [
            {"paper": paper.id, "title": paper.title, "number": s.number, "text": s.text}
            for paper in book.papers
            for s in paper.sentences
            if record.id in s.claims
        ],
        "statement": claim.statement if claim else "",
        "verdict": str(said.verdict),
        "assurance": str(said.assurance),
        "scope": record.scope,
        "vacuous_where": dict(said.vacuous_where or {}),
        "refuted_where": said.refuted_where,
        "sharpness": sharpness,
        "assumes": [h.statement for h in claim.assumes] if claim else [],
        "bounds": [_bound(bound) for bound in claim.bounds] if claim else [],
        "repaired_by": [*record.repaired_by],
        "not_stated": [
            *dict.fromkeys(t for t in (claim.not_stated if claim else "", record.not_stated) if t)
        ],
        "source": _source(claim) if claim else None,
        "ledger": _line("specs/papers.toml", f'^id = "{re.escape(record.id)}"'),
        "faults": [] if finding is None else [*finding.faults],
        "differences": [*differences],
    }


def _bound(bound: Bound[Any]) -> dict[str, Any]:
    return {
        "name": bound.name,
        "meaning": bound.meaning,
        "relation": str(bound.relation),
        "formula": sympy.sstr(bound.expression),
        "domain": {argument.name: sympy.sstr(domain) for argument, domain in bound.domain.items()},
        "provided": None if bound.provided == sympy.true else sympy.sstr(bound.provided),
        "theorem": _theorem(bound.theorem),
        "attained": _theorem(bound.attained),
        "approached": _theorem(bound.approached),
        "tightest": _tightest(bound),
    }


def _tightest(bound: Bound[Any]) -> dict[str, Any]:
    """Return both sides of a bound at its extremal instance, enclosed, and what the instance is."""
    instance, bits = bound.extremal(), PRECISIONS[0]
    parameters = bound.parameters(instance, bits)
    return {
        "arguments": {a.name: _ends(parameters[a.name]) for a in bound.arguments},
        "quantity": _ends(bound.quantity(instance, bits)),
        "bound": _ends(bound.value(instance, bits)),
        "instance": _told(instance),
    }


def _ends(value: Value) -> list[float] | None:
    """Return floats that enclose a number; none if floats do not reach it."""
    if isinstance(value, Enclosure):
        lower, upper = (Fraction(end.item()) for end in value.bounds())
    else:
        lower = upper = Fraction(value)
    ends = [-rounded_up(-lower), rounded_up(upper)]
    return ends if all(map(isfinite, ends)) else None


def _told(instance: Any) -> dict[str, str]:
    """Return an instance by its fields, long ones cut."""
    if is_dataclass(instance) and not isinstance(instance, type):
        named = {f.name: getattr(instance, f.name) for f in fields(instance)}
    else:
        named = {type(instance).__name__: instance}
    with np.printoptions(threshold=8, edgeitems=3, precision=8, linewidth=1000):
        texts = {name: " ".join(_text(value).split()) for name, value in named.items()}
    return {
        name: text if len(text) <= LONGEST_FIELD else f"{text[:LONGEST_FIELD]} …"
        for name, text in texts.items()
    }


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        rows = " x ".join(map(str, value.shape))
        return f"{value}" if value.size <= 8 else f"{value} ({rows})"
    return str(value)


def _theorem(name: str) -> dict[str, Any] | None:
    """Return a theorem's name, its statement as Coq prints it, and where it is."""
    if not name:
        return None
    statement = coq_checker.statements().get(name, "")
    return {"name": name, "statement": statement, "source": _theorems().get(name)}


def _source(claim: Claim[Any]) -> dict[str, Any]:
    """Return where a claim is stated."""
    file = claim.witness.__module__.replace(".", "/") + ".py"
    return _line(file, f'id="{re.escape(claim.id)}"')


def _line(file: str, pattern: str) -> dict[str, Any]:
    """Return a file and the first line that a pattern is found in, or the first of all."""
    lines = (n for n, line in enumerate(_lines(file), 1) if re.search(pattern, line))
    return {"file": file, "line": next(lines, 1)}


@cache
def _lines(file: str) -> Sequence[str]:
    return (ROOT / file).read_text(encoding="utf-8").splitlines()


@cache
def _theorems() -> Mapping[str, dict[str, Any]]:
    """Return for each theorem the file and line that begin its statement."""
    return dict(_stated())


def _stated() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((ROOT / "proofs" / "coq").rglob("*.v")):
        file = path.relative_to(ROOT).as_posix()
        for number, line in enumerate(_lines(file), 1):
            if found := re.match(r"(?:Theorem|Lemma|Corollary)\s+(\w+)", line):
                yield found[1], {"file": file, "line": number}
