r"""P4: a critical point's distance in one basis, from a proof in another.

Newton and Kantorovich's theorem holds in every basis, but its numbers depend on it: where the features are
nearly dependent, |g|/μ² is much smaller once they are orthogonal.  A radius in that basis is of no use in
the first one, as a change of basis may stretch it; what carries over is how little the Hessian changes,
relative to itself.

With z the start, z* the critical point, H̄ the mean Hessian between them and S the basis, SᵀH̄S differs from
SᵀHS by at most M r/2, r the radius in that basis, so that H̄ ⪰ (1 − M r/(2μ)) H in every basis.  There
M r/(2μ) = (1 − √(1 − 2h))/2, and z* − z = −H̄⁻¹ g.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import sympy

from reference import Enclosure
from reference.arithmetic.gram import semidefinite
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.regression.derivatives import Matrix, fractions
from specs.regression.newton import P4_KANTOROVICH, Cubic
from specs.symbols import POSITIVE, UP_TO_HALF, gradient_norm, least_eigenvalue, relative_change


@dataclass(frozen=True)
class Rescaled:
    """A cubic with what is known of it in its own basis, and in another.

    Attributes
    ----------
    cubic : with a lower bound on the least eigenvalue at the start
    basis : S, a diagonal of Fractions; the cubic in the other basis is that of S z
    least_eigenvalue, lipschitz : of the cubic in the other basis
    """

    cubic: Cubic
    basis: Matrix
    least_eigenvalue: Fraction
    lipschitz: Fraction

    def rescaled(self) -> Cubic:
        """Return the cubic in the other basis."""
        i, S = self.cubic, self.basis
        return Cubic(
            i.quadratic * np.multiply.outer(S, S),
            i.coefficient,
            i.direction * S,
            i.start / S,
            self.least_eigenvalue,
            self.lipschitz,
        )


def _length(v: Matrix, bits: int) -> Enclosure:
    return lift(Fraction(v.dot(v)), 2 * bits).sqrt()


def _parameters(i: Rescaled, bits: int) -> Mapping[str, Value]:
    number, _ = P4_KANTOROVICH.bounds
    return {
        "gradient_norm": _length(i.cubic.gradient(), bits),
        "least_eigenvalue": i.cubic.least_eigenvalue,
        "relative_change": number.value(i.rescaled(), bits),
    }


def _sample(rng: np.random.Generator) -> Rescaled:
    """Draw one of P4.kantorovich's cubics, nearer to 0, and a basis in which its constants are known too."""
    i = P4_KANTOROVICH.sample(rng)
    i = replace(i, start=i.start / 1024)
    # The largest factor stretches the Lipschitz constant, the smallest one the eigenvalue.
    S = fractions(rng.integers(1, 4, len(i.start)))
    return Rescaled(i, S, i.least_eigenvalue * min(S) ** 2, i.lipschitz * max(S) ** 3)


def _one_variable() -> Rescaled:
    """Give a cubic that attains P4.kantorovich's radius, in another unit."""
    i = P4_KANTOROVICH.bounds[1].extremal()
    return Rescaled(i, fractions(np.array([2])), 4 * i.least_eigenvalue, 8 * i.lipschitz)


def _witness() -> Rescaled:
    """Give a cubic that is flat along its second variable, and a basis in which it is not."""
    w = np.array([Fraction(1), Fraction(1, 4)], object)
    start = np.array([Fraction(1, 64), Fraction(1, 64)], object)
    i = Cubic(fractions(np.diag([80, 2])), Fraction(1), w, start, Fraction(3, 2), Fraction(2))
    # |(1, 3/2)|^3 = 5.86.
    return Rescaled(i, fractions(np.array([1, 6])), Fraction(70), Fraction(6))


P4_AFFINE = Claim[Rescaled](
    id="P4.affine",
    where="ours",
    statement=(
        "Newton-Kantorovich in one basis, with h <= 1/2, proves a critical point within 2 (|g|/mu)/(1 + "
        "sqrt(1 - 2h)) in every other basis, g and the least eigenvalue mu at the start taken in that one: "
        "h says how much the Hessian changes relative to itself, which no basis alters."
    ),
    not_stated="As P4.kantorovich: existence cannot be seen on an instance. Bases of instances are diagonal.",
    assumes=(
        Hypothesis(
            "in the other basis P4.kantorovich applies",
            lambda i: not P4_KANTOROVICH.broken_hypotheses(i.rescaled()),
            mirrors=(
                "smooth",
                "0 <= M",
                "eigenvalues_from (2)",
                "0 < mu'",
                "b_kantorovich_number G' mu' M <= 1 / 2",
            ),
        ),
        Hypothesis(
            "the least eigenvalue at the start is at least that of the claim, and that > 0",
            lambda i: (
                i.cubic.least_eigenvalue > 0
                and semidefinite(
                    i.cubic.hessian() - i.cubic.least_eigenvalue * np.eye(len(i.basis), dtype=int)
                )
            ),
            mirrors=("eigenvalues_from", "0 < mu"),
        ),
        Hypothesis(
            "the basis is one: no entry of the diagonal is 0",
            lambda i: all(i.basis),
            mirrors=("v i = 0",),
        ),
    ),
    bounds=(
        Bound(
            name="affine_radius",
            meaning="the distance of a critical point from the start, in any basis",
            arguments=(gradient_norm, least_eigenvalue, relative_change),
            expression=2
            * gradient_norm
            / (least_eigenvalue * (1 + sympy.sqrt(1 - 2 * relative_change))),
            domain={least_eigenvalue: POSITIVE, relative_change: UP_TO_HALF},
            points=((sympy.Rational(1, 10), 4, sympy.Rational(1, 3)),),
            quantity=lambda i, bits: _length(i.cubic.start, bits),
            parameters=_parameters,
            # A step as long as the gradient.
            trivial=lambda i, bits: _length(i.cubic.gradient(), bits),
            extremal=_one_variable,
            theorem="p4_affine_radius",
            attained="p4_affine_radius_attained",
        ),
    ),
    witness=_witness,
    sample=_sample,
)

CLAIMS = (P4_AFFINE,)
