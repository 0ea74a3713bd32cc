"""Certified attention on heads as a section of ``attest check``: what is certified, how, and how fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from proofs.command.report import Section, Table, all_inside, counted, ratio, up, verdict_name
from proofs.judging.real_heads import EXACT, FAILURE_PROBABILITY, TOLERANCE, UNCOVERED, Examination

__all__ = ["section"]

_LEGEND = (
    f"Asked for is an error of {TOLERANCE:g} max|V| in all rows but the fraction {UNCOVERED:g}, except with "
    f"probability {FAILURE_PROBABILITY:g} (claim R.certify), and at most half of what the best answer errs "
    "that looks at no query (zeros, the mean, the middle of the values). The bound must be within that, "
    "or of the size of rounding. A probability of 0 means for certain, and a fraction of 0 every row. The "
    "method exact is chosen where nothing else pays, as with few keys; its bound is that of rounding. The "
    "rows outside are those checked that err by more than the bound, of which the uncovered fraction may. "
    f"The speed is the time of {EXACT}.attention over that of this one, run in turn."
)


def section(examinations: Sequence[Examination], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    return Section(
        "real_heads",
        all(examination.passed for examination in examinations),
        (_table(examinations, subject),),
        (_LEGEND, *_lowered(examinations), *_reasons(examinations), *_failures(examinations)),
        _summary(examinations),
        [_document(examination) for examination in examinations],
    )


def _table(examinations: Sequence[Examination], subject: str) -> Table:
    return Table(
        f"Certified attention: {subject}",
        (
            *("head", "method", "keys", "certified\nbound", "bound /\nmax|V|"),
            *("fraction\nuncovered", "failure\nprobability", "largest\nerror", "rows\noutside"),
            *("rows\nchecked", "speed /\nexact", "verdict"),
        ),
        labels=2,
        numbers=9,
        rows=tuple(_row(examination) for examination in examinations),
    )


def _row(examination: Examination) -> tuple[str, ...]:
    n_q, n_k = examination.shape
    certificate = examination.certificate
    figures = ("-",) * 8
    if certificate is not None:
        figures = (
            up(certificate.bound),
            up(_relative(examination)),
            f"{certificate.uncovered:g}",
            up(certificate.failure_probability) if certificate.failure_probability else "0",
            up(examination.error and examination.error[1]),
            str(len(examination.outside)),
            f"{len(examination.rows)} of {n_q}",
            ratio(examination.speed),
        )
    method = (certificate and certificate.method) or "-"
    return (examination.name, method, str(n_k), *figures, verdict_name(examination.verdict))


def _relative(examination: Examination) -> float | None:
    """Return the bound in units of the largest |V|; none where there is none."""
    if examination.certificate is None or examination.largest_value == 0:
        return None
    return examination.certificate.bound / examination.largest_value


def _reasons(examinations: Sequence[Examination]) -> Iterator[str]:
    """Say once for all heads that share it why a method was chosen."""
    given = Counter(
        (e.certificate.method, e.certificate.reason)
        for e in examinations
        if e.certificate is not None and e.certificate.reason
    )
    for (method, reason), count in given.items():
        yield f"{method} for {counted(count, 'head')}: {reason}"


def _lowered(examinations: Sequence[Examination]) -> list[str]:
    """Say where less was asked for than of the others."""
    return [
        f"Of {e.name} {up(e.tolerance)} max|V| was asked for."
        for e in examinations
        if e.tolerance < TOLERANCE
    ]


def _failures(examinations: Sequence[Examination]) -> list[str]:
    return [
        f"{e.name}: {verdict_name(e.verdict)}. {e.failure} Reproduce with {e.call}."
        for e in examinations
        if not e.passed
    ]


def _summary(examinations: Sequence[Examination]) -> str:
    failed = [e.name for e in examinations if not e.passed]
    answered = [e.certificate for e in examinations if e.certificate is not None]
    methods = Counter(certificate.method for certificate in answered if certificate.method)
    sentences = [
        f"Certified attention, to {TOLERANCE:g} max|V| in all but {UNCOVERED:.0%} of the rows, on "
        f"{counted(len(examinations), 'head')}: {all_inside(failed, 'certificate')}"
    ]
    if methods:
        chosen = ", ".join(f"{method} for {count}" for method, count in methods.items())
        sentences.append(f"Methods: {chosen}.")
    relative = [r for e in examinations if (r := _relative(e)) is not None]
    if relative:
        sentences.append(f"The largest bound is {up(max(relative))} max|V|.")
    return " ".join(sentences)


def _document(examination: Examination) -> dict[str, Any]:
    n_q, n_k = examination.shape
    return {
        "name": examination.name,
        "dtype": examination.dtype,
        "queries": n_q,
        "keys": n_k,
        "passed": examination.passed,
        "verdict": verdict_name(examination.verdict),
        "tolerance": examination.tolerance,
        "certificate": examination.certificate and asdict(examination.certificate),
        "bound_over_largest_value": _relative(examination),
        "rows_checked": len(examination.rows),
        # The list tells only where some rows were left out.
        "rows": None if len(examination.rows) == n_q else examination.rows,
        "error": examination.error,
        "rows_outside": examination.outside,
        "speed": examination.speed,
        "failure": examination.failure,
        "call": examination.call,
    }
