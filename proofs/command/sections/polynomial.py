"""The polynomial method of P2 on heads as a section of ``attest check``: its cost, and its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
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
    return Section(
        name="polynomial",
        function="polynomial_attention",
        judgements=tuple(run for e in examinations for run in e.judgements),
        tables=(_table(examinations, subject),),
        remarks=(_LEGEND,),
        refused=_refused(examinations),
        summary=_summary(examinations),
        document=[_document(examination) for examination in examinations],
    )


def _table(examinations: Sequence[Examination[PolynomialJudgement]], subject: str) -> Table:
    return Table(
        title=f"P2's polynomial method: {subject}",
        headings=(
            *("head", "d", "half row\nrange", "logit\nbound", "degree", "features", "bytes"),
            *("largest\nerror", "largest\nbound", "bound /\nerror", "rows\nchecked", "verdict"),
        ),
        labels=2,
        numbers=8,
        rows=tuple(_row(e.shape[1], run) for e in examinations for run in e.judgements),
    )


def _row(d: int, run: PolynomialJudgement) -> tuple[str, ...]:
    expansion, cost = run.expansion, ("-",) * 4
    if expansion is not None:
        cost = (
            f"{expansion.logit_bound:.3g}",
            str(expansion.degree),
            _count(expansion.features),
            _count(expansion.bytes),
        )
    checked = f"{len(run.rows)} of {run.row_count}"
    return (
        run.name,
        str(d) if run.d == d else f"{run.d} of {d}",
        f"{run.half_row_range:.3g}",
        *cost,
        up(run.error and run.error[1]),
        up(run.bound),
        ratio(run.ratio),
        "-" if run.refusal else checked,
        run.outcome,
    )


def _count(number: int) -> str:
    return str(number) if number < 10**6 else up(number)


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


def _summary(examinations: Sequence[Examination[PolynomialJudgement]]) -> str:
    whole = [e.judgements[0] for e in examinations]
    cut = [run for e in examinations for run in e.judgements[1:]]
    runs = [run for run in (*whole, *cut) if not run.refusal]
    failed = [e.name for e in examinations if not e.passed]
    sentences = [
        f"P2's polynomial method, to {TOLERANCE:g} max|V|: feasible for "
        f"{sum(run.feasible for run in whole)} of {counted(len(whole), 'head')}."
    ]
    refused = _refused(examinations)
    if refused:
        sentences.append(f"What was refused takes {refused.partition(' takes ')[2]}")
    if cut:
        sentences.append(
            f"Cut to the first {COLUMNS_KEPT} columns of Q and K, {sum(run.feasible for run in cut)} of "
            f"{len(cut)} are feasible."
        )
    if runs:
        sentences.append(f"{counted(len(runs), 'run')}: {all_inside(failed)}")
    ratios = [run.ratio for run in runs if run.ratio is not None]
    if ratios:
        sentences.append(f"Largest bound over largest error: median {ratio(median(ratios))}.")
    return " ".join(sentences)


def _document(examination: Examination[PolynomialJudgement]) -> dict[str, Any]:
    return {
        "name": examination.name,
        "dtype": examination.dtype,
        "d": examination.shape[1],
        "tolerance": TOLERANCE,
        "passed": examination.passed,
        "instances": [
            common_fields(run)
            | {
                "columns_kept": run.d,
                "half_row_range": run.half_row_range,
                "expansion": run.expansion and asdict(run.expansion),
                "rows": rows_left(run),
                "error": run.error,
                "bound": run.bound,
                "bound_over_error": run.ratio,
                "claims": None if run.refusal else run.claims,
            }
            for run in examination.judgements
        ],
    }
