"""Certified attention on heads as a section of ``attest check``: what is certified, how, and how fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from proofs.command.report import (
    Section,
    Table,
    all_inside,
    common_fields,
    counted,
    ratio,
    rows_left,
    up,
)
from proofs.judging.judgement import Examination
from proofs.judging.real_heads import (
    EXACT_PEER,
    FAILURE_PROBABILITY,
    TOLERANCE,
    UNCOVERED,
    CertifiedJudgement,
)

__all__ = ["section"]

_LEGEND = (
    f"Asked for is an error of {TOLERANCE:g} max|V| in all rows but the fraction {UNCOVERED:g}, except with "
    f"probability {FAILURE_PROBABILITY:g} (claim R.certify), and at most half of what the best answer errs "
    "that looks at no query (zeros, the mean, the middle of the values). The bound must be within that, "
    "or of the size of rounding. A probability of 0 means for certain, and a fraction of 0 every row. The "
    "method exact is chosen where nothing else pays, as with few keys; its bound is that of rounding. The "
    "rows outside are those checked that err by more than the bound, of which the uncovered fraction may. "
    f"The speed is the time of {EXACT_PEER}.attention over that of this one, run in turn."
)


def section(examinations: Sequence[Examination[CertifiedJudgement]], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    runs = tuple(run for examination in examinations for run in examination.judgements)
    return Section(
        name="real_heads",
        function="certified_attention",
        judgements=runs,
        tables=(_table(runs, subject),),
        remarks=(_LEGEND, *_lowered(runs), *_reasons(runs)),
        summary=_summary(runs),
        document=[_document(run) for run in runs],
    )


def _table(runs: Sequence[CertifiedJudgement], subject: str) -> Table:
    return Table(
        title=f"Certified attention: {subject}",
        headings=(
            *("head", "method", "keys", "certified\nbound", "bound /\nmax|V|"),
            *("fraction\nuncovered", "failure\nprobability", "largest\nerror", "rows\noutside"),
            *("rows\nchecked", "speed /\nexact", "verdict"),
        ),
        labels=2,
        numbers=9,
        rows=tuple(_row(run) for run in runs),
    )


def _row(run: CertifiedJudgement) -> tuple[str, ...]:
    certificate = run.certificate
    figures = ("-",) * 8
    if certificate is not None:
        figures = (
            up(run.bound),
            up(_relative(run)),
            f"{certificate.uncovered:g}",
            up(certificate.failure_probability) if certificate.failure_probability else "0",
            up(run.error and run.error[1]),
            str(len(run.outside)),
            f"{len(run.rows)} of {run.row_count}",
            ratio(run.speed),
        )
    method = (certificate and certificate.method) or "-"
    return (run.name, method, str(run.keys), *figures, run.outcome)


def _relative(run: CertifiedJudgement) -> float | None:
    """Return the bound in units of the largest |V|; none where there is none."""
    if run.bound is None or run.largest_value == 0:
        return None
    return run.bound / run.largest_value


def _reasons(runs: Sequence[CertifiedJudgement]) -> Iterator[str]:
    """Say once for all heads that share it why a method was chosen."""
    given = Counter(
        (run.certificate.method, run.certificate.reason)
        for run in runs
        if run.certificate is not None and run.certificate.reason
    )
    for (method, reason), count in given.items():
        yield f"{method} for {counted(count, 'head')}: {reason}"


def _lowered(runs: Sequence[CertifiedJudgement]) -> list[str]:
    """Say where less was asked for than of the others."""
    return [
        f"Of {run.name} {up(run.tolerance)} max|V| was asked for."
        for run in runs
        if run.tolerance < TOLERANCE
    ]


def _summary(runs: Sequence[CertifiedJudgement]) -> str:
    failed = [run.name for run in runs if not run.passed]
    answered = [run.certificate for run in runs if run.certificate is not None]
    methods = Counter(certificate.method for certificate in answered if certificate.method)
    sentences = [
        f"Certified attention, to {TOLERANCE:g} max|V| in all but {UNCOVERED:.0%} of the rows, on "
        f"{counted(len(runs), 'head')}: {all_inside(failed, 'certificate')}"
    ]
    if methods:
        chosen = ", ".join(f"{method} for {count}" for method, count in methods.items())
        sentences.append(f"Methods: {chosen}.")
    relative = [r for run in runs if (r := _relative(run)) is not None]
    if relative:
        sentences.append(f"The largest bound is {up(max(relative))} max|V|.")
    return " ".join(sentences)


def _document(run: CertifiedJudgement) -> dict[str, Any]:
    return common_fields(run) | {
        "name": run.name,
        "dtype": run.dtype,
        "queries": run.row_count,
        "keys": run.keys,
        "passed": run.passed,
        "tolerance": run.tolerance,
        "certificate": run.certificate and asdict(run.certificate),
        "bound_over_largest_value": _relative(run),
        "rows": rows_left(run),
        "error": run.error,
        "rows_outside": run.outside,
        "speed": run.speed,
    }
