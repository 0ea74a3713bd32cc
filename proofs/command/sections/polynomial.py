"""The polynomial method of P2 on heads as a section of ``attest check``: its cost, and its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from proofs.command.report import Section, Table, all_inside, counted, ratio, up, verdict_name
from proofs.judging.polynomial import COLUMNS_KEPT, TOLERANCE, Examination, Instance

__all__ = ["section"]

_LEGEND = (
    f"A polynomial of the degree g that is shown replaces exp, certified to {TOLERANCE:g} max|V|. It takes "
    "C(d + g, g) features, and their moments take the bytes. The logit bound, on logits after centring, "
    "decides the degree; no centring makes it less than the half row range. REFUSED means that the moments "
    "would be too large or that rounding alone could exceed the tolerance; what is shown then is the least "
    f"that might do. Rows with d = {COLUMNS_KEPT} of more are made from the data: only the first "
    f"{COLUMNS_KEPT} columns of Q and K are kept, which is another attention than the head's."
)


def section(examinations: Sequence[Examination], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    return Section(
        "polynomial",
        all(examination.passed for examination in examinations),
        (_table(examinations, subject),),
        (_LEGEND, *_failures(examinations)),
        _summary(examinations),
        [_document(examination) for examination in examinations],
    )


def _table(examinations: Sequence[Examination], subject: str) -> Table:
    return Table(
        f"P2's polynomial method: {subject}",
        (
            *("head", "d", "half row\nrange", "logit\nbound", "degree", "features", "bytes"),
            *("largest\nerror", "largest\nbound", "bound /\nerror", "rows\nchecked", "verdict"),
        ),
        labels=2,
        numbers=8,
        rows=tuple(_row(e, instance) for e in examinations for instance in e.instances),
    )


def _row(examination: Examination, instance: Instance) -> tuple[str, ...]:
    (n, d), expansion, run = examination.shape, instance.expansion, instance.run
    cost, judged = ("-",) * 4, ("-",) * 4
    if expansion is not None:
        cost = (
            f"{expansion.logit_bound:.3g}",
            str(expansion.degree),
            _count(expansion.features),
            _count(expansion.bytes),
        )
    if run is not None:
        checked = f"{len(instance.rows)} of {n}"
        judged = (up(run.error and run.error[1]), up(run.bound), ratio(run.ratio), checked)
    return (
        examination.name,
        str(d) if instance.d == d else f"{instance.d} of {d}",
        f"{instance.half_row_range:.3g}",
        *cost,
        *judged,
        _verdict(instance),
    )


def _count(number: int) -> str:
    return str(number) if number < 10**6 else up(number)


def _verdict(instance: Instance) -> str:
    return "REFUSED" if instance.run is None else verdict_name(instance.run.verdict)


def _failures(examinations: Sequence[Examination]) -> list[str]:
    return [
        f"{examination.name} with d = {instance.d}: {_verdict(instance)}. {instance.run.failure}"
        for examination in examinations
        for instance in examination.instances
        if instance.run is not None and not instance.run.passed
    ]


def _summary(examinations: Sequence[Examination]) -> str:
    whole = [e.instances[0] for e in examinations]
    cut = [instance for e in examinations for instance in e.instances[1:]]
    runs = [instance.run for instance in (*whole, *cut) if instance.run is not None]
    failed = [e.name for e in examinations if not e.passed]
    feasible = sum(instance.feasible for instance in whole)
    sentences = [
        f"P2's polynomial method, to {TOLERANCE:g} max|V|: feasible for {feasible} of "
        f"{counted(len(whole), 'head')}."
    ]
    refused = [i.expansion for i in whole if i.run is None and i.expansion is not None]
    if refused:
        least = min(refused, key=lambda expansion: expansion.features)
        sentences.append(
            f"What was refused takes {_count(least.features)} features, {_count(least.bytes)} bytes, "
            "or more."
        )
    if cut:
        feasible = sum(instance.feasible for instance in cut)
        sentences.append(
            f"Cut to the first {COLUMNS_KEPT} columns of Q and K, {feasible} of {len(cut)} are feasible."
        )
    if runs:
        sentences.append(f"{counted(len(runs), 'run')}: {all_inside(failed)}")
    ratios = [run.ratio for run in runs if run.ratio is not None]
    if ratios:
        sentences.append(f"Largest bound over largest error: median {ratio(median(ratios))}.")
    return " ".join(sentences)


def _document(examination: Examination) -> dict[str, Any]:
    n, d = examination.shape
    return {
        "name": examination.name,
        "dtype": examination.dtype,
        "d": d,
        "tolerance": TOLERANCE,
        "passed": examination.passed,
        "instances": [
            {
                "columns_kept": instance.d,
                "half_row_range": instance.half_row_range,
                "expansion": instance.expansion and asdict(instance.expansion),
                "verdict": _verdict(instance),
                "rows_checked": len(instance.rows),
                # The list tells only where some rows were left out.
                "rows": None if len(instance.rows) == n else instance.rows,
                "error": instance.run and instance.run.error,
                "bound": instance.run and instance.run.bound,
                "bound_over_error": instance.run and instance.run.ratio,
                "claims": instance.run and instance.run.claims,
                "failure": instance.run.failure if instance.run else "",
            }
            for instance in examination.instances
        ],
    }
