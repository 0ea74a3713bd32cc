r"""P4, repaired: how many steps an accuracy takes, where each takes no longer than the abstract allows.

No Hessian is formed.  A gradient step x ← x − τ g(x) from a distance e of a critical point ends within
e (1 − τ μ + τ M e/2), so that e falls from every start in the basin e < 2 μ/M, and no larger one will do.
With θ = M e/(2μ) that reads e (1 − τ μ (1 − θ)), and e/(1 − θ) shrinks by 1 − τ μ/(1 + τ μ θ) or more: the
number of steps to ε is (1/(τμ) + θ) log(e/((1 − θ) ε)) at most, κ log(1/ε) with τ = 1/L.

Conjugate gradients solve the linear equations of a Newton step by products with the Hessian alone.  Their
error is the least over a Krylov space, hence at most that of Chebyshev's polynomials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import sympy

from reference import Enclosure
from reference.arithmetic.gram import semidefinite
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.regression.derivatives import Matrix, fractions
from specs.regression.newton import Cubic
from specs.symbols import (
    BELOW_ONE,
    MORE_THAN_ONE,
    POSITIVE,
    accuracy,
    condition,
    distance,
    iterations,
    least_eigenvalue,
    lipschitz,
    rate,
    reduction,
)

# ----------------------------------------------------------------------------------- P4.descent


@dataclass(frozen=True)
class Descent:
    """A cubic with its critical point 0, a start, and a rate.

    Attributes
    ----------
    cubic : with a lower bound on the least eigenvalue at 0
    largest_eigenvalue : at least that of the Hessian at 0
    rate : τ
    accuracy : ε
    """

    cubic: Cubic
    largest_eigenvalue: Fraction
    rate: Fraction
    accuracy: Fraction

    def after_a_step(self) -> Matrix:
        """Return where a gradient step from the start leads."""
        there: Matrix = self.cubic.start - self.rate * self.cubic.gradient()
        return there


def _square(v: Matrix) -> Fraction:
    return Fraction(v.dot(v))


def _length(v: Matrix, bits: int) -> Enclosure:
    return lift(_square(v), 2 * bits).sqrt()


def _surely_within(v: Enclosure, largest: Fraction) -> bool:
    return Fraction((v * v).sum().bounds()[1].item()) <= largest**2


def _gradient_steps(i: Descent, bits: int, rate_used: Fraction) -> Enclosure:
    """Count the steps after the last of which the distance may still be larger than the accuracy."""
    H, w, z = (lift(part, bits) for part in (i.cubic.quadratic, i.cubic.direction, i.cubic.start))
    half, tau = lift(i.cubic.coefficient / 2, bits), lift(rate_used, bits)
    steps = 0
    while True:
        along = (w * z).sum()
        z = z - tau * (H @ z + half * along * along * w)
        if _surely_within(z, i.accuracy):
            return lift(steps, bits)
        steps += 1


def _no_nearer(i: Descent, bits: int) -> Enclosure:
    """Enclose the reciprocal distance of a start from which a step comes no nearer, else 0."""
    if _square(i.after_a_step()) < _square(i.cubic.start):
        return lift(0, bits)
    return 1 / _length(i.cubic.start, bits)


def _parameters(i: Descent, bits: int) -> Mapping[str, Value]:
    return {
        "distance": _length(i.cubic.start, bits),
        "least_eigenvalue": i.cubic.least_eigenvalue,
        "lipschitz": i.cubic.lipschitz,
        "rate": i.rate,
        "reduction": _length(i.cubic.start, bits) / lift(i.accuracy, bits),
    }


def _between(i: Descent) -> bool:
    H, one = i.cubic.quadratic, np.eye(len(i.cubic.start), dtype=int)
    return (
        0 < i.cubic.least_eigenvalue <= i.largest_eigenvalue
        and semidefinite(H - i.cubic.least_eigenvalue * one)
        and semidefinite(i.largest_eigenvalue * one - H)
    )


def _on_a_line(start: Fraction, rate_used: Fraction, epsilon: Fraction) -> Descent:
    """Give x − x²/2, the gradient of one variable that attains the bounds."""
    one = np.array([Fraction(1)], object)
    i = Cubic(one[None], Fraction(-1), one, start * one, Fraction(1), Fraction(1))
    return Descent(i, Fraction(1), rate_used, epsilon)


def _slow() -> Descent:
    """Give a start so near, and a rate so low, that the number of steps is nearly the bound."""
    return _on_a_line(Fraction(1, 1 << 12), Fraction(1, 64), Fraction(1, 1 << 14))


def _sample(rng: np.random.Generator) -> Descent:
    """Draw a cubic of two variables, a start in the basin, near its edge or far from it, and a rate."""
    root, w = fractions(rng.integers(-1, 2, (2, 2))), fractions(rng.integers(1, 3, 2))
    H = root.dot(root.T) + 2 * np.eye(2, dtype=int)
    # The sum of w's entries is at least |w|; the basin is 2 mu/M = 4/(sum w)^3.
    M, mu, L = sum(w.tolist()) ** 3, Fraction(2), Fraction(H[0, 0] + H[1, 1]) - 2
    start = fractions(rng.integers(1, 9, 2)) * rng.choice([-1, 1]) * mu / M
    start = start / (6 * 2 ** int(rng.integers(0, 6)))
    cubic = Cubic(H, Fraction(int(rng.choice([-1, 1]))), w, start, mu, M)
    highest = 2 / (L + mu)
    return Descent(
        cubic,
        L,
        highest * Fraction(int(rng.integers(4, 9)), 8),
        Fraction(int(max(abs(start)) * (1 << 20)), 1 << 20) / int(rng.integers(2, 16)),
    )


#: What an instance is: symmetric, with 0 its critical point, and a step of its gradient taken.
_A_STEP = ("critical", "symmetric_matrix", "gradient_step")

#: θ: the share of the basin that the start's distance is.
_used = lipschitz * distance / (2 * least_eigenvalue)

P4_DESCENT = Claim[Descent](
    id="P4.descent",
    where="ours, repairs P4, sentence 10",
    statement=(
        "Where the Hessian at a critical point has its eigenvalues in [mu, L] and the Lipschitz constant "
        "M, gradient steps of a rate tau <= 2/(L + mu) from any distance e < 2 mu/M come nearer, and to eps "
        "in (1/(tau mu) + theta) log(e/((1 - theta) eps)) steps, theta = M e/(2 mu): kappa log(1/eps) with "
        "tau = 1/L.  Each takes P4.cost's products, which is the abstract's T_mat(n,n,d) + T_mat(n,d,d).  "
        "For attention regression L and M are read off the data (P4.lipschitz, P4.nearby, and "
        "p4_regression_descent in Coq)."
    ),
    not_stated=(
        "That a start lies in the basin: P4.kantorovich certifies it. The d^(2 omega) of the abstract is "
        "not used."
    ),
    assumes=(
        Hypothesis(
            "the Hessian is Lipschitz with this constant",
            lambda i: (
                i.cubic.lipschitz >= 0
                and i.cubic.coefficient**2 * _square(i.cubic.direction) ** 3 <= i.cubic.lipschitz**2
            ),
            mirrors=("smooth", "0 <= M"),
        ),
        Hypothesis(
            "the eigenvalues at the critical point lie between two positive numbers",
            _between,
            mirrors=("eigenvalues_from", "eigenvalues_to", "0 < mu", "mu <= L"),
        ),
        Hypothesis(
            "the rate is positive, and at most 2 over the sum of these",
            lambda i: 0 < i.rate * (i.largest_eigenvalue + i.cubic.least_eigenvalue) <= 2,
            mirrors=("0 <= tau", "0 < tau", "tau * (L + mu) <= 2"),
        ),
        Hypothesis(
            "the start is not the critical point, and not beyond the basin 2 mu/M",
            lambda i: (
                0 < i.cubic.lipschitz**2 * _square(i.cubic.start) <= 4 * i.cubic.least_eigenvalue**2
            ),
            mirrors=("distance n (x 0) z * b_gradient_basin_reciprocal mu M < 1",),
        ),
        Hypothesis(
            "the accuracy is positive, and less than the distance of the start",
            lambda i: 0 < i.accuracy**2 < _square(i.cubic.start) and i.accuracy > 0,
            mirrors=("0 < accuracy < distance n (x k) z",),
        ),
    ),
    bounds=(
        Bound(
            name="gradient_step_error",
            meaning="the distance of a critical point after a gradient step",
            arguments=(distance, rate, least_eigenvalue, lipschitz),
            expression=distance * (1 - rate * least_eigenvalue + rate * lipschitz * distance / 2),
            domain={rate: POSITIVE, least_eigenvalue: POSITIVE},
            provided=rate * least_eigenvalue <= 1,
            points=((sympy.Rational(1, 10), sympy.Rational(1, 7), 4, 3),),
            quantity=lambda i, bits: _length(i.after_a_step(), bits),
            parameters=_parameters,
            trivial=lambda i, bits: _length(i.cubic.start, bits),
            extremal=lambda: _on_a_line(Fraction(1, 4), Fraction(1, 2), Fraction(1, 8)),
            theorem="p4_gradient_step_error",
            attained="p4_gradient_step_attained",
        ),
        Bound(
            name="gradient_basin_reciprocal",
            meaning="one over the distance of a start from which a gradient step comes no nearer",
            arguments=(least_eigenvalue, lipschitz),
            expression=lipschitz / (2 * least_eigenvalue),
            domain={least_eigenvalue: POSITIVE},
            points=((4, 3),),
            quantity=_no_nearer,
            parameters=_parameters,
            # To expect it of every start.
            trivial=lambda i, bits: 1 / _length(i.cubic.start, bits),
            extremal=lambda: _on_a_line(Fraction(2), Fraction(1, 2), Fraction(1)),
            theorem="p4_gradient_basin",
            attained="p4_gradient_basin_attained",
        ),
        Bound(
            name="gradient_steps",
            meaning="the gradient steps after which the distance is not yet less by a factor",
            arguments=(distance, reduction, rate, least_eigenvalue, lipschitz),
            expression=(1 / (rate * least_eigenvalue) + _used) * sympy.log(reduction / (1 - _used)),
            domain={rate: POSITIVE, least_eigenvalue: POSITIVE, reduction: MORE_THAN_ONE},
            provided=lipschitz * distance < 2 * least_eigenvalue,
            points=((sympy.Rational(1, 10), 5, sympy.Rational(1, 7), 4, 3),),
            quantity=lambda i, bits: _gradient_steps(i, bits, i.rate),
            parameters=_parameters,
            # A rate that is safe whatever the curvature.
            trivial=lambda i, bits: _gradient_steps(i, bits, i.rate / 64),
            extremal=_slow,
            theorem="p4_gradient_steps",
        ),
    ),
    witness=lambda: Descent(
        Cubic(
            fractions(np.array([[5, 1], [1, 6]])),
            Fraction(1),
            fractions(np.array([1, -2])),
            np.array([Fraction(1, 4), Fraction(-1, 4)], object),
            Fraction(4),
            Fraction(12),
        ),
        Fraction(7),
        Fraction(1, 7),
        Fraction(1, 64),
    ),
    sample=_sample,
)

# --------------------------------------------------------------------------------- P4.conjugate


@dataclass(frozen=True)
class Linear:
    """A x = b with the eigenvalues of A between two positive numbers, in Fractions; the start is 0.

    Attributes
    ----------
    matrix, right_hand_side : A and b
    least, largest : the two numbers
    iterations : steps of conjugate gradients
    accuracy : of the energy of the error, relative to that of the solution
    """

    matrix: Matrix
    right_hand_side: Matrix
    least: Fraction
    largest: Fraction
    iterations: int
    accuracy: Fraction

    def energies(self, steps: int) -> list[Fraction]:
        """Return the squared energies of the error after 0, 1, … steps of conjugate gradients.

        They end early where the error is 0.
        """
        A, b = self.matrix, self.right_hand_side
        x, r = 0 * b, b
        direction, square = r, r.dot(r)
        # <e, A e> falls by α <r, r> in every step, to 0 in the end.
        falls: list[Fraction] = []
        while square:
            if len(falls) == len(b):
                raise ArithmeticError("conjugate gradients end after n steps: A is not symmetric.")
            image = A.dot(direction)
            alpha = square / direction.dot(image)
            falls.append(alpha * square)
            x, r = x + alpha * direction, r - alpha * image
            last, square = square, r.dot(r)
            direction = r + square / last * direction
        left = [sum(falls[k:], Fraction(0)) for k in range(len(falls) + 1)]
        return left[: steps + 1]


def _relative_energy(i: Linear, bits: int) -> Enclosure:
    energies = i.energies(i.iterations)
    left = energies[-1] if len(energies) == i.iterations + 1 else Fraction(0)
    return lift(left / energies[0], 2 * bits).sqrt()


def _conjugate_steps(i: Linear, bits: int) -> Enclosure:
    energies = i.energies(len(i.right_hand_side))
    farther = [k for k, e in enumerate(energies) if e > i.accuracy**2 * energies[0]]
    return lift(farther[-1], bits)


def _descent_steps(i: Linear, bits: int) -> Enclosure:
    """Count the gradient steps after which the energy may still be above the accuracy."""
    # A step may widen an enclosure by two bits or three.
    bits = 32 * bits
    A, b, tau = lift(i.matrix, bits), lift(i.right_hand_side, bits), 2 / (i.least + i.largest)
    most = i.accuracy**2 * i.energies(0)[0]
    x, steps = 0 * b, 0
    # The energy of the error is 2 (f(x) − f(solution)), f(x) = <x, A x>/2 − <b, x>.
    least = i.energies(0)[0]
    while True:
        x = x - lift(tau, bits) * (A @ x - b)
        energy = (x * (A @ x)).sum() - 2 * (b * x).sum() + lift(least, bits)
        low, high = (Fraction(end.item()) for end in energy.bounds())
        if high <= most:
            return lift(steps, bits)
        if low <= most:
            raise ArithmeticError(f"the energy after {steps} steps is undecided with {bits} bits.")
        steps += 1


def _linear_parameters(i: Linear, bits: int) -> Mapping[str, Value]:
    return {
        "condition": i.largest / i.least,
        "iterations": i.iterations,
        "accuracy": i.accuracy,
    }


def _worst(kappa: int, k: int, share: Fraction) -> Linear:
    """Give the problem that is hardest for k steps: eigenvalues where Chebyshev's polynomial is ±1.

    With ω(λ) = Π_j (λ − λ_j) the error's components are 1/(λ_j √|ω′(λ_j)|), rounded.
    """
    nodes = [
        Fraction(round((kappa + 1 - (kappa - 1) * float(np.cos(np.pi * j / k))) * 2**29), 2**30)
        for j in range(k + 1)
    ]
    nodes[0], nodes[-1] = Fraction(1), Fraction(kappa)
    slopes = [abs(np.prod([float(a - b) for b in nodes if b is not a])) for a in nodes]
    b = np.array([Fraction(round(2**30 / np.sqrt(s / max(slopes)))) for s in slopes], object)
    i = Linear(fractions(np.diag(nodes)), b, Fraction(1), Fraction(kappa), k, Fraction(1, 2))
    # The error after k steps, less a share of it.
    return replace(i, accuracy=Fraction(float(_relative_energy(i, 64).bounds()[0].item())) * share)


def _two_eigenvalues() -> Linear:
    return Linear(
        fractions(np.diag([1, 9])),
        fractions(np.array([1, 1])),
        Fraction(1),
        Fraction(9),
        1,
        Fraction(1, 2),
    )


def _linear_sample(rng: np.random.Generator) -> Linear:
    k = int(rng.integers(2, 6))
    root = fractions(rng.integers(-3, 4, (k, k)))
    A = root.dot(root.T) + np.eye(k, dtype=int)
    b = fractions(rng.integers(1, 9, k))
    trace = Fraction(sum(A.diagonal().tolist()))
    return Linear(
        A,
        b,
        Fraction(1),
        trace + 1,
        int(rng.integers(1, k + 2)),
        Fraction(1, int(rng.integers(2, 99))),
    )


#: A s = b, and the points of conjugate gradients.
_A_SOLUTION = ("image n A s i = b i", "conjugate_point")

P4_CONJUGATE = Claim[Linear](
    id="P4.conjugate",
    where="ours, repairs P4, sentence 10",
    statement=(
        "For A x = b with the eigenvalues of A in [mu, L] and kappa = L/mu, k steps of conjugate gradients "
        "leave at most 2 delta^k/(1 + delta^(2k)) of the energy of the error, delta = (sqrt kappa - 1)/(sqrt "
        "kappa + 1), so that (sqrt kappa/2) log(2/eta) steps suffice for a share eta.  For a Newton step "
        "each takes one product with the Hessian, in T_mat(n,n,d) + T_mat(n,d,d); from e <= mu/(3M) a step "
        "with sqrt kappa eta <= 1/5 halves the distance (p4_newton_cg), so that sqrt kappa log(kappa) "
        "log(1/eps) products take it to eps."
    ),
    not_stated=(
        "Rounding, which delays conjugate gradients. The theorem is of the point of least energy in the "
        "Krylov space; that the recurrence computes it is Hestenes' and Stiefel's, and runs here exactly."
    ),
    assumes=(
        Hypothesis(
            "the eigenvalues lie between two positive numbers, which differ",
            lambda i: (
                0 < i.least < i.largest
                and semidefinite(i.matrix - i.least * np.eye(len(i.matrix), dtype=int))
                and semidefinite(i.largest * np.eye(len(i.matrix), dtype=int) - i.matrix)
            ),
            mirrors=("symmetric_matrix", "eigenvalues_from", "eigenvalues_to", "0 < mu", "mu < L"),
        ),
        Hypothesis(
            "the right-hand side is not 0",
            lambda i: any(i.right_hand_side),
            alone="of an error of 0 there is no share",
        ),
        Hypothesis(
            "the accuracy lies between 0 and 1",
            lambda i: 0 < i.accuracy < 1,
            mirrors=("0 < accuracy", "accuracy * energy n A s < energy n A (displacement s x)"),
        ),
    ),
    bounds=(
        Bound(
            name="conjugate_error",
            meaning="the energy norm of the error of conjugate gradients, relative to the first",
            arguments=(condition, iterations),
            expression=2
            * ((sympy.sqrt(condition) - 1) / (sympy.sqrt(condition) + 1)) ** iterations
            / (1 + ((sympy.sqrt(condition) - 1) / (sympy.sqrt(condition) + 1)) ** (2 * iterations)),
            domain={condition: MORE_THAN_ONE},
            points=((5, 3), (9, 0)),
            quantity=_relative_energy,
            parameters=_linear_parameters,
            # No step at all.
            trivial=lambda i, bits: lift(1, bits),
            extremal=_two_eigenvalues,
            theorem="p4_conjugate_error",
            relation=Relation.RELATIVE,
            attained="p4_conjugate_error_attained",
        ),
        Bound(
            name="conjugate_steps",
            meaning="the steps of conjugate gradients after which the error is still above a share",
            arguments=(condition, accuracy),
            expression=sympy.sqrt(condition) / 2 * sympy.log(2 / accuracy),
            domain={condition: MORE_THAN_ONE, accuracy: BELOW_ONE & POSITIVE},
            points=((5, sympy.Rational(1, 3)),),
            quantity=_conjugate_steps,
            parameters=_linear_parameters,
            # Gradient steps.
            trivial=_descent_steps,
            extremal=lambda: _worst(25, 8, Fraction(999, 1000)),
            theorem="p4_conjugate_steps",
        ),
    ),
    witness=lambda: replace(
        _worst(16, 4, Fraction(999, 1000)), iterations=3, accuracy=Fraction(1, 9)
    ),
    sample=_linear_sample,
)

CLAIMS = (P4_DESCENT, P4_CONJUGATE)
