"""The pages themselves: a template, filled from the documents that ``--json`` prints."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_CEILING, Context, Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from proofs.command.claims_document import ROOT, claims_document
from proofs.command.report import Check, as_json, counted, ratio
from proofs.evidence.audit import AuditReport
from proofs.judging.heads import InputError
from proofs.page.answers import Answer, Item, items_of, look_up
from proofs.page.figures import figures_of_check, figures_of_claims
from proofs.page.formulas import coq, mathml, tex
from specs import CLAIMS

__all__ = ["check_path", "write_audit", "write_check"]

#: What stands where there is no number.
NOTHING = Markup('<span class="none">–</span>')

#: Characters of a region that stands beside a verdict; longer ones stand with the bound.
LONGEST_REGION = 24

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def check_path(path: Path) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises
    ------
    InputError
        If it is a folder, or has none that it could be written to.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--html must name a file in a folder that exists, got {path}.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"--html must name a file that can be written, got {path}.")


def write_check(path: Path, check: Check, claims: Mapping[str, Any] | None = None) -> None:
    """Write what was checked as a page.

    Parameters
    ----------
    path
        The file; one that exists is overwritten.
    check
        What was found.
    claims
        What is known of the claims: by default, what the ledger records of all of them.
    """
    document = json.loads(as_json(check))
    items = items_of(document, {s.name: s.function for s in check.sections})
    answers = [answer for item in items for answer in item.answers]
    _write(
        path,
        claims_document() if claims is None else claims,
        verdict=_verdict(answers),
        passed=document["passed"],
        document=document,
        check=check,
        items=items,
        functions=[_function(s.function, answers) for s in check.sections],
        ways=_ways(items),
        outcomes=Counter(answer.outcome for answer in answers),
        named={claim for answer in answers for claim in answer.found["claims"] or ()},
        figures=figures_of_check(items),
    )


def write_audit(path: Path, report: AuditReport) -> None:
    """Write what an audit found as a page."""
    claims = claims_document(report=report)
    count = counted(len(claims["claims"]), "claim")
    differing = sum(bool(claim["differences"]) for claim in claims["claims"])
    differences = differing + len(claims["differences"])
    _write(
        path,
        claims,
        verdict=f"Of {count} the ledger says exactly what was found."
        if report.agrees
        else f"The ledger differs from what was found, in {counted(differences, 'place')}.",
        passed=report.agrees,
        document=None,
        named=set(),
        figures=figures_of_claims(claims["claims"]),
    )


def _write(path: Path, claims: Mapping[str, Any], **told: Any) -> None:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("proofs.page", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = files("proofs.page")
    text = environment.get_template("page.html").render(
        claims=claims,
        style=Markup(folder.joinpath("style.css").read_text(encoding="utf-8")),
        script=Markup(folder.joinpath("script.js").read_text(encoding="utf-8")),
        number=_Numbers({"check": told["document"], "claims": claims}),
        bounds={b.name: b for claim in CLAIMS.values() for b in claim.bounds},
        refutations={c.id: c.refutation for c in CLAIMS.values() if c.refutation is not None},
        present={claim["id"] for claim in claims["claims"]},
        link=lambda source: _link(path, source),
        verdicts=Counter(claim["verdict"] for claim in claims["claims"]),
        assurances=Counter(claim["assurance"] for claim in claims["claims"]),
        nothing=NOTHING,
        longest_region=LONGEST_REGION,
        breakable=_breakable,
        counted=counted,
        mathml=mathml,
        tex=tex,
        coq=coq,
        **told,
    )
    # Markup needs no indentation; what Coq and the script say keeps theirs.
    lines = (
        line.strip() if line.lstrip().startswith("<") else line.rstrip()
        for line in text.splitlines()
    )
    try:
        text = "\n".join(filter(None, lines)) + "\n"
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"--html {path} cannot be written: {error.strerror}.") from None


def _verdict(answers: Sequence[Answer]) -> str:
    failed = sum(answer.outcome == "failed" for answer in answers)
    if failed:
        return f"{failed} of {counted(len(answers), 'run')} did not pass."
    return "Every error is inside its certificate."


def _function(name: str, answers: Sequence[Answer]) -> dict[str, Any]:
    """Return how many runs there were of a function, and the one nearest to its bound."""
    runs = tuple(answer for answer in answers if answer.function == name)
    refused = sum(answer.outcome == "refused" for answer in runs)
    nearest = Item(name, "function", "", {}, runs).nearest
    return {"name": name, "runs": len(runs), "refused": refused, "nearest": nearest}


def _ways(items: Sequence[Item]) -> dict[str, dict[str, Answer]]:
    """Return for each way in which something was asked of heads its answers, by the heads' names."""
    ways: dict[str, dict[str, Answer]] = {}
    for item in items:
        if item.kind != "head":
            continue
        for answer in item.answers:
            kept = answer.found.get("columns_kept")
            if not isinstance(kept, int):
                detail = str(answer.found.get("format", ""))
            elif kept == item.found.get("measurements", item.found).get("d"):
                detail = "whole"
            else:
                detail = f"d = {kept}"
            way = ways.setdefault(" ".join(filter(None, (answer.function, detail))), {})
            if item.name not in way or answer.outcome == "failed":
                way[item.name] = answer
    return ways


def _breakable(name: str) -> Markup:
    """Return a name that may be broken between its words."""
    return Markup("<wbr>").join(
        escape(part) for part in re.split(r"(?<=_)|(?<=[a-z])(?=[A-Z])", name)
    )


def _link(page: Path, source: Mapping[str, Any]) -> Markup:
    """Return a link to a line of a file, from where the page is."""
    file = ROOT / source["file"]
    try:
        target = Path(os.path.relpath(file, page.resolve().parent)).as_posix()
    except ValueError:  # on another drive
        target = file.as_uri()
    told = f"{source['file']}, line {source['line']}"
    return Markup('<a href="{}#L{}">{}</a>').format(target, source["line"], told)


class _Numbers:
    """Sets numbers of the documents: what is shown, beside the value whole and its place."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self._documents = documents

    def __call__(self, place: str, kind: str = "up", document: str = "check") -> Markup:
        """Set the number at a place.

        Parameters
        ----------
        place
            Where it is in the document.
        kind
            ``up``: three digits, rounded upward; ``near``: six, to the nearest; ``ratio``; ``count``.
        document
            ``check`` or ``claims``.
        """
        value = look_up(self._documents[document], place)
        if value is None:
            return NOTHING
        ways: dict[str, Callable[[Any], str]] = {"ratio": ratio, "near": _near, "count": str}
        shown = ways.get(kind, _up)(value)
        return Markup('<data value="{}" data-in="{}" data-place="{}">{}</data>').format(
            json.dumps(value), document, place, shown
        )


def _up(value: float) -> str:
    """Return three significant digits, rounded up."""
    return _digits(Context(prec=3, rounding=ROUND_CEILING).create_decimal(value))


def _near(value: float) -> str:
    """Return six significant digits at most, and no noughts behind them."""
    return _digits(Context(prec=6).create_decimal(value).normalize())


def _digits(value: Decimal) -> str:
    if not value:
        return "0"
    exponent = value.adjusted()
    if -3 <= exponent < 5:
        return f"{value:f}"
    digits = value.scaleb(-exponent)
    return f"{digits:f}×10{str(exponent).translate(_SUPERSCRIPTS)}"
