"""What an implementation's ``AttentionRegression`` proves of a critical point, on one head.

A head is an instance of P4 of which the solution is known: with A1, A2, A3 = Q, K, V and B its output,
X = Y = 1 fits B up to the rounding of B.  The implementation starts a tenth away, solves, and certifies where
it ends and where the instance was planted.  A gradient norm and a least eigenvalue that it states are decided
against enclosures.  That a critical point exists cannot be seen; but each of two certified balls holds the
one of the neighbourhood, so that they overlap.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.judging.heads import Head
from proofs.judging.hypotheses import rounded_up
from reference import Enclosure, Verdict, attention, decide
from reference.arithmetic.gram import semidefinite
from reference.regression import Regression

__all__ = ["COLUMNS_KEPT", "PERTURBATION", "TOKENS_KEPT", "Examination", "Proof", "examine"]

Matrix = NDArray[Any]

#: What is kept of a head, so that its Hessian of 32 variables is enclosed in 0.2 s.
TOKENS_KEPT, COLUMNS_KEPT = 48, 3

#: How far the start is from the planted point, relative to that.
PERTURBATION = 0.1

#: Seed of the start, so that a second run checks the same.
SEED = 0

#: On the gradient's norm relative to 1 + |B|, asked of the solver.
TOLERANCE = 1e-12

#: Whatever a gradient's norm is, it is less: entries are at most 2^500 and floats hold the loss.
LARGEST = float(np.finfo(np.float64).max)

#: Bits to decide with, in turn.
PRECISIONS = (128, 512)


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Examination:
    """Everything the command says about one head, cut to its first tokens and columns.

    Attributes
    ----------
    name, shape
        The head, and the kept n_k, d and d_v.
    steps
        How many the solver took; None if there was no usable answer.
    distance
        From the end to the planted point, rounded upward.
    solution, planted
        What is stated of the end and of the planted point; None if there was no usable answer.
    refusal
        Why the instance was refused, if it was.
    failure
        What is wrong, in sentences.
    """

    name: str
    shape: tuple[int, int, int]
    steps: int | None = None
    distance: float | None = None
    solution: Proof | None = None
    planted: Proof | None = None
    refusal: str = ""
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing that was stated is wrong."""
        return not self.failure

    @property
    def verdict(self) -> Verdict | None:
        """Whether what was stated is so; None if nothing was."""
        if self.solution is None or self.planted is None:
            return None
        found = Verdict.combine([self.solution.verdict, self.planted.verdict])
        return Verdict.OUTSIDE if self.failure and found is Verdict.WITHIN else found

    @property
    def proved(self) -> bool:
        """Whether a critical point near the solution was proved."""
        return self.passed and self.solution is not None and self.solution.radius is not None


def examine(head: Head, regression: Callable[..., Any]) -> Examination:
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
    shape = (len(K), K.shape[1], V.shape[1])
    problem = (Q, K, V, attention(Q, K, V).midpoint())
    X, Y = np.eye(K.shape[1]), np.eye(V.shape[1])
    rng = np.random.default_rng(SEED)
    try:
        # An implementation may warn, or overwrite its arguments: neither reaches the reader or the truth.
        with warnings.catch_warnings(action="ignore"):
            asked = regression(*(A.copy() for A in problem))
            found = asked.solve(_away(X, rng), _away(Y, rng), tolerance=TOLERANCE)
            end = np.array(found.X, np.float64), np.array(found.Y, np.float64)
            stated = _stated(found.certificate), _stated(asked.certify(X.copy(), Y.copy()))
            steps = int(found.nit)
    except ValueError as refusal:
        return Examination(head.name, shape, refusal=str(refusal))
    except Exception as error:
        failure = f"AttentionRegression raised {type(error).__name__}: {error}"
        return Examination(head.name, shape, failure=failure)
    problems = [_unusable(*end, X, Y), *(_inconsistent(proof) for proof in stated)]
    failure = " ".join(filter(None, problems))
    if failure:
        return Examination(head.name, shape, failure=failure)
    solution = _judged(Regression(*problem, *end), stated[0])
    planted = _judged(Regression(*problem, X, Y), stated[1])
    # A root has half the bits of its square.
    distance = _norm(*(Enclosure.exact(M, 512) - N for M, N in zip(end, (X, Y), strict=True)))
    problems = [
        _failure("the solution", solution),
        _failure("the planted point", planted),
        _apart(distance, solution, planted),
    ]
    return Examination(
        head.name,
        shape,
        steps,
        rounded_up(distance.largest()[1]),
        solution,
        planted,
        failure=" ".join(filter(None, problems)),
    )


def _away(M: Matrix, rng: np.random.Generator) -> Matrix:
    direction = rng.standard_normal(M.shape)
    moved: Matrix = M + PERTURBATION * np.linalg.norm(M) / np.linalg.norm(direction) * direction
    return moved


_Stated = tuple[float | None, float | None, float | None, float | None, str]


def _stated(certificate: Any) -> _Stated:
    """Read the fields; what they raise is the implementation's fault."""
    names = ("gradient_norm", "least_eigenvalue", "h", "radius")
    numbers = (getattr(certificate, name) for name in names)
    g, mu, h, radius = (None if number is None else float(number) for number in numbers)
    return g, mu, h, radius, str(certificate.reason or "")


def _unusable(end_X: Matrix, end_Y: Matrix, X: Matrix, Y: Matrix) -> str:
    """Say why a solution cannot be judged, if it cannot."""
    for name, M, shape in (("X", end_X, X.shape), ("Y", end_Y, Y.shape)):
        if M.shape != shape:
            return f"{name} must have shape {shape}, got {M.shape}."
        if not np.isfinite(M).all():
            return f"{name} has {np.count_nonzero(~np.isfinite(M))} NaN or infinite entries."
    return ""


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


def _judged(problem: Regression, stated: _Stated) -> Proof:
    """Decide the gradient's norm and the least eigenvalue."""
    g, mu, h, radius, reason = stated
    norm_verdict, norm = decide(
        lambda bits: _norm(*problem.gradient(bits)),
        0.0,
        LARGEST if g is None else min(g, LARGEST),
        precisions=PRECISIONS,
    )
    lower, upper = norm.largest()
    ends = max(0.0, -rounded_up(-lower)), rounded_up(upper)
    # Where no norm is stated there is nothing to judge, and it may exceed every float.
    stated_norm = Verdict.WITHIN if g is None else norm_verdict
    verdict = Verdict.combine([stated_norm, _eigenvalue_verdict(problem, mu)])
    return Proof(g, mu, h, radius, ends, reason, verdict)


def _norm(*parts: Enclosure) -> Enclosure:
    """Enclose the root of the sum of all squares."""
    squares = [(part * part).sum() for part in parts]
    return sum(squares[1:], squares[0]).sqrt()


def _eigenvalue_verdict(problem: Regression, stated: float | None) -> Verdict:
    """Decide whether no eigenvalue of the Hessian is less than stated."""
    if stated is None or stated == -math.inf:
        return Verdict.WITHIN
    for bits in PRECISIONS:
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
