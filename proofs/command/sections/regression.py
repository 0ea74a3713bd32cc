"""P4 on heads as a section of ``attest check``: solved from a tenth away, with what is proved of the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_FLOOR, Context

from proofs.command import report
from proofs.command.report import Column, Section, counted, fields_of, refusals, table, up
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

#: What is stated of the end.
_SOLUTION: tuple[Column[Proof], ...] = (
    ("gradient\nnorm", lambda proof: up(proof.enclosed_norm[1])),
    ("its\nbound", lambda proof: up(proof.gradient_norm)),
    ("least\neigenvalue", lambda proof: _down(proof.least_eigenvalue)),
    ("h", lambda proof: up(proof.h)),
    ("radius", lambda proof: up(proof.radius)),
)


def section(examinations: Sequence[Examination[RegressionJudgement]], subject: str) -> Section:
    """Return what was found on at least one head; ``subject`` says of which implementation on what."""
    runs = tuple(run for examination in examinations for run in examination.judgements)
    columns: list[Column[RegressionJudgement]] = [
        report.NAME,
        ("steps", lambda run: "-" if run.steps is None else str(run.steps)),
        *((heading, _of_solution(cell)) for heading, cell in _SOLUTION),
        ("distance from\nplanted", lambda run: up(run.distance_from_planted)),
        ("planted\nradius", lambda run: up(run.planted.radius if run.planted else None)),
        report.VERDICT,
    ]
    reasons = (f"{run.where}: {run.outcome}. {run.refusal}" for run in runs if run.refusal)
    return Section(
        name="regression",
        function="AttentionRegression",
        judgements=runs,
        tables=(table(f"P4's regression: {subject}", runs, columns, labels=1, numbers=8),),
        remarks=(_LEGEND, *reasons),
        findings=_findings(runs),
        refused=refusals("P4's regression", runs),
        document=[
            fields_of(
                run,
                tokens_kept=e.shape[0],
                columns_kept=e.shape[1:],
                perturbation=PERTURBATION,
            )
            for e in examinations
            for run in e.judgements
        ],
    )


def _of_solution(cell: Callable[[Proof], str]) -> Callable[[RegressionJudgement], str]:
    return lambda run: cell(run.solution) if run.solution else "-"


def _down(value: float | None) -> str:
    """Return three significant digits, rounded down."""
    if value is None:
        return "-"
    return f"{Context(prec=3, rounding=ROUND_FLOOR).create_decimal(value):.2e}"


def _findings(runs: Sequence[RegressionJudgement]) -> str:
    proved = [run.solution.radius for run in runs if run.solution and run.proved]
    radii = [radius for radius in proved if radius is not None]
    within = f" within {up(max(radii))}" if radii else ""
    return (
        f"P4, cut to {TOKENS_KEPT} tokens and {COLUMNS_KEPT} columns: a critical point is proved{within} for "
        f"{len(radii)} of {counted(len(runs), 'head')}."
    )
