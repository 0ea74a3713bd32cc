"""What an implementation's ``AttentionRegression`` proves of a critical point, on one head.

A head is an instance of P4 of which the solution is known: with A1, A2, A3 = Q, K, V and B its output,
X = Y = 1 fits B up to the rounding of B.  The implementation starts a tenth away, solves, and certifies where
it ends and where the instance was planted.  A gradient norm and a least eigenvalue that it states are decided
against enclosures.  That a critical point exists cannot be seen; but each of two certified balls holds the
one of the neighbourhood, so that they overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from proofs.judging.heads import Head, Matrix
from proofs.judging.hypotheses import rounded_up
from proofs.judging.implementation import Unanswered, ask
from proofs.judging.judgement import SEED, Examination, Judgement, ends, unusable
from reference import Enclosure, Verdict, attention, decide
from reference.arithmetic.gram import semidefinite
from reference.regression import Regression

__all__ = [
    "COLUMNS_KEPT",
    "PERTURBATION",
    "TOKENS_KEPT",
    "Proof",
    "RegressionJudgement",
    "examine",
]

#: What is kept of a head, so that its Hessian of 32 variables is enclosed in 0.2 s.
TOKENS_KEPT, COLUMNS_KEPT = 48, 3

#: How far the start is from the planted point, relative to that.
PERTURBATION = 0.1

#: On the gradient's norm relative to 1 + |B|, asked of the solver.
TOLERANCE = 1e-12

#: Whatever a gradient's norm is, it is less: entries are at most 2^500 and floats hold the loss.
LARGEST = float(np.finfo(np.float64).max)

#: Bits to decide with, in turn.
BITS = (128, 512)


#: A1, A2, A3 and B.
_Problem = tuple[Matrix, Matrix, Matrix, Matrix]


class _Stated(NamedTuple):
    """What an implementation states of a point, as read."""

    gradient_norm: float | None
    least_eigenvalue: float | None
    h: float | None
    radius: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What an implementation states of a point, judged.

    Attributes
    ----------
    gradient_norm, least_eigenvalue, h, radius
        As stated; None where it states nothing.
    enclosed_norm
        Ends of an enclosure of the gradient's norm, rounded outward.
    reason
        Why there is no radius, as stated; empty where there is one.
    verdict
        Whether the gradient's norm and the least eigenvalue are so.
    """

    gradient_norm: float | None
    least_eigenvalue: float | None
    h: float | None
    radius: float | None
    enclosed_norm: tuple[float, float]
    reason: str
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class RegressionJudgement(Judgement):
    """What an implementation proved of an instance; error and bound are those of the gradient's norm.

    Attributes
    ----------
    steps
        How many the solver took; None if there was no usable answer.
    distance_from_planted
        From the end to the planted point, rounded upward.
    solution, planted
        What is stated of the end and of the planted point; None if there was no usable answer.
    """

    steps: int | None = None
    distance_from_planted: float | None = None
    solution: Proof | None = None
    planted: Proof | None = None

    @property
    def proved(self) -> bool:
        """Whether a critical point near the solution was proved."""
        return self.passed and self.solution is not None and self.solution.radius is not None


def examine(head: Head, regression: Callable[..., Any]) -> Examination[RegressionJudgement]:
    """Plant an instance in a head, let an implementation solve it, and judge what it states.

    Parameters
    ----------
    head
        The head.
    regression
        ``AttentionRegression`` of the implementation under test; it is given copies.  Where it cannot treat
        an instance it raises a ValueError.
    """
    Q, K, V = (x[:TOKENS_KEPT, :COLUMNS_KEPT].astype(np.float64) for x in head.matrices)
    return Examination(
        name=head.name,
        dtype=Q.dtype.name,
        shape=(len(K), K.shape[1], V.shape[1]),
        judgements=(_judged(head.name, (Q, K, V, attention(Q, K, V).midpoint()), regression),),
    )


def _judged(name: str, problem: _Problem, regression: Callable[..., Any]) -> RegressionJudgement:
    Q, K, V, _ = problem
    X, Y = np.eye(K.shape[1]), np.eye(V.shape[1])
    asked = RegressionJudgement(name=name, dtype=Q.dtype.name, row_count=len(Q))
    found = ask("AttentionRegression", lambda: _solved(regression, problem, X, Y))
    if isinstance(found, Unanswered):
        return replace(asked, failure=found.failure)
    if isinstance(found, str):
        return replace(asked, refusal=found)
    end, stated, steps = found
    problems = [
        unusable("X", end[0], X.shape),
        unusable("Y", end[1], Y.shape),
        *(_inconsistent(proof) for proof in stated),
    ]
    failure = " ".join(filter(None, problems))
    if failure:
        return replace(asked, failure=failure)
    solution = _decided(Regression(*problem, *end), stated[0])
    planted = _decided(Regression(*problem, X, Y), stated[1])
    # A root has half the bits of its square.
    distance = _norm(*(Enclosure.exact(M, 512) - N for M, N in zip(end, (X, Y), strict=True)))
    problems = [
        _failure("the solution", solution),
        _failure("the planted point", planted),
        _apart(distance, solution, planted),
    ]
    failure = " ".join(filter(None, problems))
    verdict = Verdict.combine([solution.verdict, planted.verdict])
    return replace(
        asked,
        verdict=Verdict.OUTSIDE if failure and verdict is Verdict.WITHIN else verdict,
        error=solution.enclosed_norm,
        bound=solution.gradient_norm,
        rows=tuple(range(len(Q))),
        refusal=solution.reason if solution.radius is None else "",
        failure=failure,
        steps=steps,
        distance_from_planted=rounded_up(distance.largest()[1]),
        solution=solution,
        planted=planted,
    )


def _solved(
    regression: Callable[..., Any], problem: _Problem, X: Matrix, Y: Matrix
) -> tuple[tuple[Matrix, Matrix], tuple[_Stated, _Stated], int] | str:
    """Return where a solver ends, what is stated of there and of X and Y, and its steps; or its refusal."""
    rng = np.random.default_rng(SEED)
    try:
        asked = regression(*(A.copy() for A in problem))
        found = asked.solve(_away(X, rng), _away(Y, rng), tolerance=TOLERANCE)
        end = np.array(found.X, np.float64), np.array(found.Y, np.float64)
        stated = _stated(found.certificate), _stated(asked.certify(X.copy(), Y.copy()))
        return end, stated, int(found.nit)
    except ValueError as refusal:
        return str(refusal) or "ValueError"


def _away(M: Matrix, rng: np.random.Generator) -> Matrix:
    direction = rng.standard_normal(M.shape)
    moved: Matrix = M + PERTURBATION * np.linalg.norm(M) / np.linalg.norm(direction) * direction
    return moved


def _stated(certificate: Any) -> _Stated:
    """Read the fields; what they raise is the implementation's fault."""
    names = ("gradient_norm", "least_eigenvalue", "h", "radius")
    numbers = (getattr(certificate, name) for name in names)
    g, mu, h, radius = (None if number is None else float(number) for number in numbers)
    return _Stated(g, mu, h, radius, str(certificate.reason or ""))


def _inconsistent(stated: _Stated) -> str:
    """Say why a certificate cannot be judged, if it cannot."""
    g, mu, h, radius, reason = stated
    if g is not None and not g >= 0:
        return f"gradient_norm must be at least 0, got {g}."
    if mu is not None and math.isnan(mu):
        return "least_eigenvalue must be a number, got nan."
    if radius is None:
        return "" if reason else "A certificate without a radius must give a reason."
    if not 0 <= radius < math.inf:
        return f"radius must be finite and at least 0, got {radius}."
    if g is None or mu is None or not mu > 0 or h is None or not 0 <= h <= 0.5:
        return f"A radius needs a gradient norm, a least eigenvalue > 0 and h <= 1/2, got {g}, {mu}, {h}."
    return ""


def _decided(problem: Regression, stated: _Stated) -> Proof:
    """Decide the gradient's norm and the least eigenvalue."""
    g, mu = stated.gradient_norm, stated.least_eigenvalue
    norm_verdict, norm = decide(
        lambda bits: _norm(*problem.gradient(bits)),
        0.0,
        LARGEST if g is None else min(g, LARGEST),
        precisions=BITS,
    )
    # Where no norm is stated there is nothing to judge, and it may exceed every float.
    stated_norm = Verdict.WITHIN if g is None else norm_verdict
    verdict = Verdict.combine([stated_norm, _eigenvalue_verdict(problem, mu)])
    return Proof(**stated._asdict(), enclosed_norm=ends(*norm.largest()), verdict=verdict)


def _norm(*parts: Enclosure) -> Enclosure:
    """Enclose the root of the sum of all squares."""
    squares = [(part * part).sum() for part in parts]
    return sum(squares[1:], squares[0]).sqrt()


def _eigenvalue_verdict(problem: Regression, stated: float | None) -> Verdict:
    """Decide whether no eigenvalue of the Hessian is less than stated."""
    if stated is None or stated == -math.inf:
        return Verdict.WITHIN
    for bits in BITS:
        H = problem.hessian(bits)
        ends = [block.bounds() for block in (H.XX, H.XY, H.YY)]
        xx, xy, yy = ((lower + upper) / 2 for lower, upper in ends)
        middle = np.block([[(xx + xx.T) / 2, xy], [xy.T, (yy + yy.T) / 2]])
        # The norm of what the enclosure leaves open is at most the sum of its entries.
        radius = sum((upper - lower).sum() for lower, upper in ends)
        identity = np.eye(len(middle), dtype=int)
        if semidefinite(middle - (Fraction(stated) + radius) * identity):
            return Verdict.WITHIN
        if not semidefinite(middle - (Fraction(stated) - radius) * identity):
            return Verdict.OUTSIDE
    return Verdict.UNDECIDED


def _failure(point: str, proof: Proof) -> str:
    if proof.verdict is Verdict.WITHIN:
        return ""
    found = "is not so" if proof.verdict is Verdict.OUTSIDE else "is not decided"
    return (
        f"Of {point} it {found} that the gradient's norm is at most {proof.gradient_norm} and no eigenvalue "
        f"of the Hessian below {proof.least_eigenvalue}; the norm is {proof.enclosed_norm[1]:.3g}."
    )


def _apart(distance: Enclosure, solution: Proof, planted: Proof) -> str:
    """Say that the two balls do not overlap, if they do not."""
    if solution.radius is None or planted.radius is None:
        return ""
    reach = Fraction(solution.radius) + Fraction(planted.radius)
    if distance.largest()[1] <= reach:
        return ""
    return (
        f"The solution is {float(distance.largest()[1]):.3g} from the planted point, and the certified balls "
        f"around them, which hold one critical point, reach {float(reach):.3g}."
    )
