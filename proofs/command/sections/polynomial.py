"""The polynomial method of P2 on heads as a section of ``attest check``: its cost, and its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proofs.command import report
from proofs.command.report import Section, counted, fields_of, table, up
from proofs.judging.judgement import Examination
from proofs.judging.polynomial import COLUMNS_KEPT, TOLERANCE, PolynomialJudgement

__all__ = ["section"]

_LEGEND = (
    f"A polynomial of the degree g that is shown replaces exp, certified to {TOLERANCE:g} max|V|. It takes "
    "C(d + g, g) features, and their moments take the bytes. The logit bound, on logits after centring, "
    "decides the degree; no centring makes it less than the half row range. REFUSED means that the moments "
    "would be too large or that rounding alone could exceed the tolerance; what is shown then is the least "
    f"that might do. Rows with d = {COLUMNS_KEPT} of more are made from the data: only the first "
    f"{COLUMNS_KEPT} columns of Q and K are kept, which is another attention than the head's."
)


def section(examinations: Sequence[Examination[PolynomialJudgement]], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    runs = tuple(run for examination in examinations for run in examination.judgements)
    columns = {examination.name: examination.shape[1] for examination in examinations}

    def kept(run: PolynomialJudgement) -> str:
        d = columns[run.name]
        return str(d) if run.columns_kept == d else f"{run.columns_kept} of {d}"

    figures = table(
        f"P2's polynomial method: {subject}",
        runs,
        (
            report.NAME,
            ("d", kept),
            ("half row\nrange", lambda run: f"{run.half_row_range:.3g}"),
            (
                "logit\nbound",
                lambda run: f"{run.expansion.logit_bound:.3g}" if run.expansion else "-",
            ),
            ("degree", lambda run: str(run.expansion.degree) if run.expansion else "-"),
            ("features", lambda run: _count(run.expansion.features) if run.expansion else "-"),
            ("bytes", lambda run: _count(run.expansion.bytes) if run.expansion else "-"),
            *(report.ERROR, report.BOUND, report.RATIO, report.ROWS, report.VERDICT),
        ),
        labels=2,
        numbers=8,
    )
    return Section(
        name="polynomial",
        function="polynomial_attention",
        judgements=runs,
        tables=(figures,),
        remarks=(_LEGEND,),
        findings=_findings(examinations),
        refused=_refused(examinations),
        document=[_document(examination) for examination in examinations],
    )


def _count(number: int) -> str:
    return str(number) if number < 10**6 else up(number)


def _findings(examinations: Sequence[Examination[PolynomialJudgement]]) -> str:
    cut = [run for e in examinations for run in e.judgements[1:]]
    if not cut:
        return ""
    return (
        f"Cut to the first {COLUMNS_KEPT} columns of Q and K, {sum(run.feasible for run in cut)} of "
        f"{counted(len(cut), 'head')} {'is' if len(cut) == 1 else 'are'} feasible for P2's polynomial method."
    )


def _refused(examinations: Sequence[Examination[PolynomialJudgement]]) -> str:
    """Return the sentence about the refusal of the head as it is that takes the fewest features."""
    refused = [e.judgements[0].expansion for e in examinations if e.judgements[0].refusal]
    if not refused:
        return ""
    least = min((x for x in refused if x is not None), key=lambda expansion: expansion.features)
    return (
        f"P2's polynomial method, to {TOLERANCE:g} max|V|, was refused for {len(refused)} of "
        f"{counted(len(examinations), 'head')}: it takes {_count(least.features)} features, "
        f"{_count(least.bytes)} bytes, or more."
    )


def _document(examination: Examination[PolynomialJudgement]) -> dict[str, Any]:
    return {
        "name": examination.name,
        "dtype": examination.dtype,
        "d": examination.shape[1],
        "tolerance": TOLERANCE,
        "passed": examination.passed,
        "instances": [
            fields_of(run, claims=None if run.refusal else run.claims)
            for run in examination.judgements
        ],
    }
