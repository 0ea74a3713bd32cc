"""Certified attention on heads as a section of ``attest check``: what is certified, how, and how fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from proofs.command import report
from proofs.command.report import Section, Table, counted, fields_of, ratio, table, up
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
        findings=_findings(runs),
        document=[
            fields_of(
                run,
                queries=run.row_count,
                bound_over_largest_value=_relative(run),
                speed=run.speed,
            )
            for run in runs
        ],
    )


def _table(runs: Sequence[CertifiedJudgement], subject: str) -> Table:
    def method(run: CertifiedJudgement) -> str:
        return (run.certificate and run.certificate.method) or "-"

    def uncovered(run: CertifiedJudgement) -> str:
        return f"{run.certificate.uncovered:g}" if run.certificate else "-"

    def probability(run: CertifiedJudgement) -> str:
        chance = run.certificate.failure_probability if run.certificate else None
        return "0" if chance == 0 else up(chance)

    return table(
        f"Certified attention: {subject}",
        runs,
        (
            report.NAME,
            ("method", method),
            ("keys", lambda run: str(run.keys)),
            ("certified\nbound", lambda run: up(run.bound)),
            ("bound /\nmax|V|", lambda run: up(_relative(run))),
            ("fraction\nuncovered", uncovered),
            ("failure\nprobability", probability),
            report.ERROR,
            ("rows\noutside", lambda run: str(len(run.rows_outside)) if run.certificate else "-"),
            report.ROWS,
            ("speed /\nexact", lambda run: ratio(run.speed)),
            report.VERDICT,
        ),
        labels=2,
        numbers=9,
    )


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


def _findings(runs: Sequence[CertifiedJudgement]) -> str:
    """Say how the outputs were computed, and how near they are."""
    answered = [run.certificate for run in runs if run.certificate is not None]
    methods = Counter(certificate.method for certificate in answered if certificate.method)
    relative = [r for run in runs if (r := _relative(run)) is not None]
    if not relative:
        return ""
    chosen = ", ".join(f"{method} for {count}" for method, count in methods.items())
    return (
        f"Certified attention is within {up(max(relative))} max|V| in all but {UNCOVERED:.0%} of the rows"
        + (f" (methods: {chosen})." if chosen else ".")
    )
