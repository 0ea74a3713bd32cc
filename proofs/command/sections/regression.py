"""P4 on heads as a section of ``attest check``: solved from a tenth away, with what is proved of the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import ROUND_FLOOR, Context
from typing import Any

from proofs.command.report import Section, Table, all_inside, common_fields, counted, refusals, up
from proofs.judging.judgement import Examination
from proofs.judging.regression import (
    COLUMNS_KEPT,
    PERTURBATION,
    TOKENS_KEPT,
    Proof,
    RegressionJudgement,
)

__all__ = ["section"]

_LEGEND = (
    f"The first {TOKENS_KEPT} tokens and {COLUMNS_KEPT} columns of a head, not the head's attention, "
    "make an instance of P4 that X = Y = 1 solves, up to the rounding of its output. The solver "
    f"starts {PERTURBATION:.0%} away from there. Of its end and the planted point the norm of the gradient "
    "and the least eigenvalue of the Hessian are decided against enclosures. With h < 1/2 a critical point "
    "lies within the radius (claims P4.kantorovich, P4.affine, FP.regression). That is a theorem and cannot "
    "be seen, but the two balls hold the same point and have to meet. REFUSED means that none was proved."
)


def section(examinations: Sequence[Examination[RegressionJudgement]], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    runs = tuple(run for examination in examinations for run in examination.judgements)
    return Section(
        name="regression",
        function="AttentionRegression",
        judgements=runs,
        tables=(_table(runs, subject),),
        remarks=(
            _LEGEND,
            *(f"{run.where}: {run.outcome}. {run.refusal}" for run in runs if run.refusal),
        ),
        refused=refusals("P4's regression", runs),
        summary=_summary(runs),
        document=[_document(e.shape, run) for e in examinations for run in e.judgements],
    )


def _table(runs: Sequence[RegressionJudgement], subject: str) -> Table:
    return Table(
        title=f"P4's regression: {subject}",
        headings=(
            *("head", "steps", "gradient\nnorm", "its\nbound", "least\neigenvalue", "h", "radius"),
            *("distance from\nplanted", "planted\nradius", "verdict"),
        ),
        labels=1,
        numbers=8,
        rows=tuple(_row(run) for run in runs),
    )


def _row(run: RegressionJudgement) -> tuple[str, ...]:
    solution, planted = run.solution, run.planted
    if solution is None or planted is None:
        return (run.name, *("-",) * 8, run.outcome)
    return (
        run.name,
        str(run.steps),
        up(solution.enclosed_norm[1]),
        up(solution.gradient_norm),
        _down(solution.least_eigenvalue),
        up(solution.h),
        up(solution.radius),
        up(run.distance),
        up(planted.radius),
        run.outcome,
    )


def _down(value: float | None) -> str:
    """Return three significant digits, rounded down."""
    if value is None:
        return "-"
    return f"{Context(prec=3, rounding=ROUND_FLOOR).create_decimal(value):.2e}"


def _summary(runs: Sequence[RegressionJudgement]) -> str:
    failed = [run.name for run in runs if not run.passed]
    proved = [run.solution.radius for run in runs if run.solution and run.proved]
    radii = [radius for radius in proved if radius is not None]
    sentences = [
        f"P4's regression, on {counted(len(runs), 'head')} cut to {TOKENS_KEPT} tokens and "
        f"{COLUMNS_KEPT} columns: {all_inside(failed, 'certificate')}",
        f"From {PERTURBATION:.0%} away a critical point is proved for {len(radii)} of "
        f"{len(runs)}" + (f", within {up(max(radii))}." if radii else "."),
    ]
    return " ".join(sentences)


def _document(shape: tuple[int, ...], run: RegressionJudgement) -> dict[str, Any]:
    n, d, d_v = shape
    return common_fields(run) | {
        "name": run.name,
        "tokens_kept": n,
        "columns_kept": [d, d_v],
        "perturbation": PERTURBATION,
        "steps": run.steps,
        "distance_from_planted": run.distance,
        "solution": _stated(run.solution),
        "planted": _stated(run.planted),
    }


def _stated(proof: Proof | None) -> dict[str, Any] | None:
    return None if proof is None else asdict(proof) | {"verdict": proof.verdict.name}
