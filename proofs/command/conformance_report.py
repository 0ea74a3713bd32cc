"""What ``attest conform`` and ``attest fingerprint`` tell: a table, one JSON document, a JUnit file."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofs.command.layout import print_table, styled
from proofs.evidence.conformance import Case, Outcome
from proofs.evidence.kernel_cases import KernelOutcome
from proofs.judging.heads import InputError

#: Characters that no XML document may hold.
FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is told of a case: ``figures`` are by the names of their columns."""

    name: str
    catches: str
    figures: dict[str, float | int | None]
    findings: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Return a word or two on the case."""
        return "not run" if self.missing else "FAILS" if self.findings else "conforms"


def rows_of(outcomes: Sequence[Outcome | KernelOutcome]) -> list[Row]:
    """Return what is told of every case."""
    return [_row(outcome) for outcome in outcomes]


def passed(rows: Sequence[Row]) -> bool:
    """Whether no case that was run fails, and one was run."""
    return not any(row.findings for row in rows) and any(not row.missing for row in rows)


def _row(outcome: Outcome | KernelOutcome) -> Row:
    case = outcome.case
    figures: dict[str, float | int | None]
    if isinstance(outcome, KernelOutcome):
        findings = outcome.findings
        figures = {
            "ratio": outcome.ratio,
            "entries": outcome.entries,
            "unjudged": outcome.unjudged,
        }
    else:
        findings = (outcome.failure,) if outcome.failure else ()
        told = isinstance(case, Case) and not (findings or outcome.missing)
        figures = {
            "error": float(outcome.error) if told else None,
            "bound": outcome.bound if told else None,
        }
    catches = case.catches if isinstance(case, Case) else f"must raise {case.error.__name__}"
    return Row(
        name=case.name, catches=catches, figures=figures, findings=findings, missing=outcome.missing
    )


def print_rows(name: str, model: Any, rows: Sequence[Row]) -> None:
    """Print a row for every case of a kernel, what was found whole, and the count."""
    told = []
    for row in rows:
        ratio = row.figures["ratio"]
        shown = "" if ratio is None else f"{ratio:.2f}" if ratio < 100 else f"{ratio:.3g}"
        entries = str(row.figures["entries"] or "")
        told.append((row.name, row.catches, shown, entries, row.verdict))
    print_table(("case", "catches", "of the tolerance", "entries", ""), told, range(2, 4))
    print()
    for row in rows:
        for finding in row.findings:
            print(styled(f"{row.name}: {finding}", "wrong"))
    run = [row for row in rows if not row.missing]
    held = sum(not row.findings for row in run)
    print(f"{name}: {held} of {len(run)} cases conform to {model}.")
    unjudged = sum(int(row.figures["unjudged"] or 0) for row in run)
    if unjudged:
        print(f"Not judged: {unjudged} entries, on the way to which that may overflow.")
    if len(run) < len(rows):
        missing = sorted({option for row in rows for option in row.missing})
        print(
            f"Not run: {len(rows) - len(run)} cases with options that {name} does not take: "
            f"{', '.join(missing)}."
        )


def rows_as_json(name: str, model: Any, rows: Sequence[Row]) -> str:
    """Return one JSON document; a figure that is not finite, or that there is not, is null."""
    document = {
        "subject": name,
        "model": None if model is None else str(model),
        "passed": passed(rows),
        "cases": [
            {
                "name": row.name,
                "catches": row.catches,
                "verdict": row.verdict,
                **{key: _finite(value) for key, value in row.figures.items()},
                "findings": list(row.findings),
                "missing": list(row.missing),
            }
            for row in rows
        ],
    }
    return json.dumps(document, indent=1, allow_nan=False)


def write_junit(path: Path, name: str, model: Any, rows: Sequence[Row]) -> None:
    """Write a JUnit file: a test case for every case, a failure for every one that fails."""
    suite = ElementTree.Element(
        "testsuite",
        name=_text(name if model is None else f"{name} as {model}"),
        tests=str(len(rows)),
        failures=str(sum(bool(row.findings) for row in rows)),
        skipped=str(sum(bool(row.missing) for row in rows)),
        errors="0",
    )
    for row in rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_text(name), name=_text(row.name)
        )
        if row.missing:
            said = f"{name} does not take {', '.join(row.missing)}."
            ElementTree.SubElement(case, "skipped", message=_text(said))
        elif row.findings:
            whole = _text("\n".join(row.findings))
            failure = ElementTree.SubElement(case, "failure", message=whole.partition("\n")[0])
            failure.text = whole
    document = ElementTree.ElementTree(suite)
    try:
        document.write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise InputError(
            f"--junit must be a file that can be written, got {path}: {error}."
        ) from None


def print_fingerprint(name: str, found: Any) -> None:
    """Print a row for every model, what else is wrong, and the strongest that is not refuted."""
    rows = []
    for model, by in found.refuted.items():
        ratio = f"{found.ratios[model]:.3g}"
        if by is None:
            rows.append((model, "not refuted", ratio, "", ""))
        else:
            entry = ", ".join(map(str, by[1].entry))
            rows.append((model, "refuted", ratio, f"output[{entry}]", by[0]))
    print_table(("model", "", "of the tolerance", "entry", "of the probe"), rows, range(2, 3))
    print()
    for finding in found.findings:
        print(styled(finding, "wrong"))
    strongest = found.strongest
    print(
        f"{name} is of no model that has a name."
        if strongest is None
        else f"{name} returned nothing that could be judged."
        if not any(found.ratios.values())
        else f"{name}: the strongest model that nothing refutes is {strongest}, in {found.out}; that "
        "proves no model."
    )


def fingerprint_as_json(name: str, found: Any) -> str:
    """Return one JSON document on a fingerprint."""
    models = [
        {
            "name": model,
            "refuted": by is not None,
            "ratio": _finite(found.ratios[model]),
            "probe": None if by is None else by[0],
            "entry": None if by is None else list(by[1].entry),
            "value": None if by is None else _finite(by[1].value),
            "lower": None if by is None else _finite(by[1].lower),
            "upper": None if by is None else _finite(by[1].upper),
        }
        for model, by in found.refuted.items()
    ]
    document = {
        "subject": name,
        "format": found.out,
        "strongest": found.strongest,
        "models": models,
        "findings": list(found.findings),
    }
    return json.dumps(document, indent=1, allow_nan=False)


def _finite(value: float | int | None) -> float | int | None:
    return value if value is not None and math.isfinite(value) else None


def _text(said: str) -> str:
    return FORBIDDEN.sub("?", said)
