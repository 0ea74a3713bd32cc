"""P4 on heads as a section of ``attest check``: solved from a tenth away, with what is proved of the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import ROUND_FLOOR, Context
from typing import Any

from proofs.command.report import Section, Table, all_inside, counted, up, verdict_name
from proofs.judging.regression import COLUMNS_KEPT, PERTURBATION, TOKENS_KEPT, Examination, Proof

__all__ = ["section"]

_LEGEND = (
    f"The first {TOKENS_KEPT} tokens and {COLUMNS_KEPT} columns of a head, not the head's attention, "
    "make an instance of P4 that X = Y = 1 solves, up to the rounding of its output. The solver "
    f"starts {PERTURBATION:.0%} away from there. Of its end and the planted point the norm of the gradient "
    "and the least eigenvalue of the Hessian are decided against enclosures. With h < 1/2 a critical point "
    "lies within the radius (claims P4.kantorovich, P4.affine, FP.regression). That is a theorem and cannot "
    "be seen, but the two balls hold the same point and have to meet. REFUSED means that none was proved."
)


def section(examinations: Sequence[Examination], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    return Section(
        "regression",
        all(examination.passed for examination in examinations),
        (_table(examinations, subject),),
        (_LEGEND, *_notes(examinations)),
        _summary(examinations),
        [_document(examination) for examination in examinations],
    )


def _table(examinations: Sequence[Examination], subject: str) -> Table:
    return Table(
        f"P4's regression: {subject}",
        (
            *("head", "steps", "gradient\nnorm", "its\nbound", "least\neigenvalue", "h", "radius"),
            *("distance from\nplanted", "planted\nradius", "verdict"),
        ),
        labels=1,
        numbers=8,
        rows=tuple(_row(examination) for examination in examinations),
    )


def _row(examination: Examination) -> tuple[str, ...]:
    solution, planted = examination.solution, examination.planted
    if solution is None or planted is None:
        return (examination.name, *("-",) * 8, _verdict(examination))
    return (
        examination.name,
        str(examination.steps),
        up(solution.enclosed_norm[1]),
        up(solution.gradient_norm),
        _down(solution.least_eigenvalue),
        up(solution.h),
        up(solution.radius),
        up(examination.distance),
        up(planted.radius),
        _verdict(examination),
    )


def _down(value: float | None) -> str:
    """Return three significant digits, rounded down."""
    if value is None:
        return "-"
    return f"{Context(prec=3, rounding=ROUND_FLOOR).create_decimal(value):.2e}"


def _verdict(examination: Examination) -> str:
    """Name what is known of what was stated, or that no critical point was proved."""
    if examination.passed and not examination.proved:
        return "REFUSED"
    return verdict_name(examination.verdict)


def _notes(examinations: Sequence[Examination]) -> list[str]:
    notes = []
    for examination in examinations:
        solution = examination.solution
        told = examination.failure or examination.refusal or (solution.reason if solution else "")
        if told:
            notes.append(f"{examination.name}: {_verdict(examination)}. {told}")
    return notes


def _summary(examinations: Sequence[Examination]) -> str:
    failed = [examination.name for examination in examinations if not examination.passed]
    proved = [e.solution.radius for e in examinations if e.solution and e.proved]
    radii = [radius for radius in proved if radius is not None]
    sentences = [
        f"P4's regression, on {counted(len(examinations), 'head')} cut to {TOKENS_KEPT} tokens and "
        f"{COLUMNS_KEPT} columns: {all_inside(failed, 'certificate')}",
        f"From {PERTURBATION:.0%} away a critical point is proved for {len(radii)} of "
        f"{len(examinations)}" + (f", within {up(max(radii))}." if radii else "."),
    ]
    return " ".join(sentences)


def _document(examination: Examination) -> dict[str, Any]:
    n, d, d_v = examination.shape
    return {
        "name": examination.name,
        "tokens_kept": n,
        "columns_kept": [d, d_v],
        "perturbation": PERTURBATION,
        "verdict": _verdict(examination),
        "steps": examination.steps,
        "distance_from_planted": examination.distance,
        "solution": _stated(examination.solution),
        "planted": _stated(examination.planted),
        "refusal": examination.refusal,
        "failure": examination.failure,
    }


def _stated(proof: Proof | None) -> dict[str, Any] | None:
    return None if proof is None else asdict(proof) | {"verdict": proof.verdict.name}
