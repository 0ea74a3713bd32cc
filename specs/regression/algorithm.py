r"""P4, sentences 10 and 11: an algorithm that trains to ε, and the exponent of matrix multiplication.

The abstract trains "up to ε" and names no condition on the start.  Refuted: a problem with least loss 0 (its
targets are a layer's output) has a strict local minimum with a loss of 0.1995, and a method whose steps are a
multiple of the gradient stays there.  That there is one, within 10⁻¹¹ of the floats that ship, is proved by
Newton and Kantorovich (P4.kantorovich, P4.lipschitz, P4.nearby), all of whose numbers are enclosed here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, cached_property

import numpy as np
import sympy

from reference import Enclosure, evaluate
from reference.arithmetic.gram import semidefinite
from reference.regression import Regression
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.exponents import POSSIBLE, Exponent, quoted
from specs.lifting import lift
from specs.regression.curvature import (
    P4_LIPSCHITZ,
    P4_NEARBY,
    Bounded,
    parameters_nearby,
    parameters_of,
)
from specs.regression.derivatives import Line, Matrix, fractions
from specs.regression.newton import P4_KANTOROVICH
from specs.symbols import POSITIVE, accuracy

# ---------------------------------------------------------------------------------- P4.algorithm


@dataclass(frozen=True)
class Minimum:
    """What Newton and Kantorovich prove at a point, upper bounds but for the eigenvalue.

    Attributes
    ----------
    gradient_norm, least_eigenvalue, lipschitz : at the point, and on the ball
    number : h
    radius : within which a critical point lies; None where h is not proved to be at most 1/2
    """

    gradient_norm: Fraction
    least_eigenvalue: Fraction
    lipschitz: Fraction
    number: Fraction
    radius: Fraction | None

    @property
    def is_strict(self) -> bool:
        """Whether the Hessian stays positive definite up to the critical point."""
        return self.radius is not None and self.lipschitz * self.radius < self.least_eigenvalue


@dataclass(frozen=True)
class Trained:
    """A problem with targets that a layer has, and a point near which a method ends.

    Attributes
    ----------
    A1, A2, A3, B : the problem
    planted : X and Y of the layer whose outputs, rounded, are B
    X, Y : the point
    distance : of a ball around it in which constants of P4.lipschitz are taken
    accuracy : ε
    """

    A1: Matrix
    A2: Matrix
    A3: Matrix
    B: Matrix
    planted: tuple[Matrix, Matrix]
    X: Matrix
    Y: Matrix
    distance: Fraction
    accuracy: Fraction

    def problem(self) -> Regression:
        """Return the problem at the point."""
        return Regression(self.A1, self.A2, self.A3, self.B, self.X, self.Y)

    @cached_property
    def minimum(self) -> Minimum:
        """What is proved of a strict local minimum near the point."""
        return _minimum(self, 128)

    def least_loss(self, bits: int) -> Enclosure:
        """Enclose the loss of the layer that was planted."""
        X, Y = self.planted
        return self.problem()._replace(X=X, Y=Y).loss(bits)


def _upper(x: Enclosure) -> Fraction:
    return Fraction(x.bounds()[1].item())


def _bounded(i: Trained) -> Bounded:
    """Return the problem with a direction as long as the ball's radius."""
    U, V = np.zeros(np.shape(i.X)), np.zeros(np.shape(i.Y))
    V[0, 0] = float(i.distance)
    A1, A2, A3, B, X, Y = (np.asarray(a, float) for a in i.problem())
    square = Fraction((fractions(i.A1) ** 2).sum())
    norm = _upper(lift(square, 256).sqrt())
    return Bounded(Line(A1, A2, A3, B, X, Y, U, V), norm)


def _lipschitz(i: Trained, bits: int) -> Fraction:
    """Bound the Lipschitz constant of the Hessian on the ball, from the numbers at its centre."""
    line = _bounded(i)
    here, ball = dict(parameters_of(line, bits)), dict(parameters_nearby(line, bits))
    _, mean, residual = P4_NEARBY.bounds
    ball["mean_norm"] = evaluate(mean.expression, here, bits)
    ball["residual_norm"] = evaluate(residual.expression, ball, bits)
    constant = P4_LIPSCHITZ.bounds[3]
    return _upper(evaluate(constant.expression, ball, bits))


def _hessian(i: Trained, bits: int) -> tuple[Matrix, Fraction]:
    """Enclose the Hessian by Fractions, each within a radius."""
    H = i.problem().hessian(bits)
    bits = min(block.bits for block in H)
    xx, xy, yy = (block.at(bits) for block in H)
    unit = Fraction(1, 1 << bits)
    mid = np.block([[xx.mid, xy.mid], [xy.mid.T, yy.mid]])
    # The Hessian is symmetric; of its enclosure's midpoints so is the mean with the transpose.
    return fractions(mid + mid.T) * unit / 2, max(b.radius for b in (xx, xy, yy)) * unit


def _minimum(i: Trained, bits: int) -> Minimum:
    """Prove that a strict local minimum lies near the point, or fail to."""
    gradient = i.problem().gradient(bits)
    square = (gradient.X * gradient.X).sum() + (gradient.Y * gradient.Y).sum()
    norm = _upper(square.sqrt())
    mid, radius = _hessian(i, bits)
    least = Fraction(float(np.linalg.eigvalsh(mid.astype(float))[0])) * Fraction(1023, 1024)
    shift = least + len(mid) * radius
    if not (least > 0 and semidefinite(mid - shift * np.eye(len(mid), dtype=int))):
        return Minimum(norm, Fraction(0), Fraction(0), Fraction(1), None)
    M = _lipschitz(i, bits)
    values: dict[str, Value] = {"gradient_norm": norm, "least_eigenvalue": least, "lipschitz": M}
    number, ball = P4_KANTOROVICH.bounds
    h = _upper(evaluate(number.expression, values, bits))
    if 2 * h > 1:
        return Minimum(norm, least, M, h, None)
    found = _upper(evaluate(ball.expression, values, bits))
    return Minimum(norm, least, M, h, found if found <= i.distance else None)


def loss_there(i: Trained, bits: int) -> Enclosure:
    """Enclose the loss at the minimum: that of every point of the ball in which it lies."""
    radius = i.minimum.radius
    if radius is None:
        raise ArithmeticError("no critical point was proved to lie near the point.")
    around = []
    for point in (i.X, i.Y):
        centre = lift(point, bits)
        reach = -(-radius.numerator * (1 << bits) // radius.denominator)
        around.append(Enclosure(centre.mid, centre.radius + reach, bits))
    p = Regression(*(lift(a, bits) for a in (i.A1, i.A2, i.A3, i.B)), *around)
    return p.loss(bits)


def _quarters(*numbers: int) -> Matrix:
    quarters: Matrix = np.array(numbers, float).reshape(-1, 2) / 4
    return quarters


def _outputs(A1: Matrix, A2: Matrix, A3: Matrix, X: Matrix, Y: Matrix) -> Matrix:
    """Return a layer's outputs in float64, from their enclosures."""
    zero = np.zeros((len(A1), Y.shape[1]))
    p = Regression(A1, A2, A3, zero, X, Y)
    outputs = (p.weights(128) @ lift(A3, 128)) @ lift(Y, 128)
    rounded: Matrix = np.vectorize(lambda m: float(Fraction(m, 1 << outputs.bits)))(outputs.mid)
    return rounded


@cache
def spurious() -> Trained:
    """Give the problem of 24 rows and two columns, with the end of Newton's steps from X0 and Y0.

    X0 = ((1/2, 1/2), (−1, 0)), Y0 = ((3, 3/4), (0, 5/2)).
    """
    A1 = _quarters(
        *(7, -12, 4, 0, 5, 2, 7, 0, -2, 2, 2, -1, -1, 3, 3, -2, -1, -7, 7, -1, 5, 2, 8, 6),
        *(1, 6, -4, 5, -6, 1, 4, 1, -1, -3, -1, 4, 4, -1, -5, 3, -6, -2, -3, 3, 1, 2, 1, -3),
    )
    A2 = _quarters(
        *(2, 6, 0, 3, -1, 4, 3, 4, 1, 7, -1, -1, -2, 2, -2, -3, 3, 5, 2, -11, -4, -4, -5, -2),
        *(7, -1, -3, 3, 0, 0, -3, 0, 2, -8, -6, 4, 3, -2, -4, -1, -5, -1, 7, 1, 5, -1, 1, 6),
    )
    A3 = _quarters(
        *(-5, -1, -1, 1, 6, 3, -6, -1, -4, -4, 8, -4, 1, -3, 3, 1, 1, 0, 5, -4, -3, -4, 5, -1),
        *(-4, -2, 10, 0, 3, 2, 0, -3, -1, -1, -9, 10, 4, 0, -1, -3, 4, -1, 2, -6, 2, 8, -1, 3),
    )
    planted = (_quarters(0, 4, 4, 0), _quarters(-2, 1, 0, -2))
    X = np.array(
        [[0.19043544002969132, 0.3844414039191314], [-1.182448141801201, 0.6277930667744548]]
    )
    Y = np.array(
        [[-1.2902834989570098, 1.771667319181776], [-0.7226307233162972, 1.2576323919208585]]
    )
    return Trained(
        A1,
        A2,
        A3,
        _outputs(A1, A2, A3, *planted),
        planted,
        X,
        Y,
        Fraction(1, 1 << 20),
        Fraction(1, 100),
    )


@cache
def _reordered(seed: int) -> Trained:
    """Take the rows of queries and of keys in another order, with other signs: the same loss."""
    i, n, rng = spurious(), 24, np.random.default_rng(seed)
    rows, keys = rng.permutation(n), rng.permutation(n)
    sign = float(rng.choice([-1, 1]))
    X, Y = i.planted
    return replace(
        i,
        A1=sign * i.A1[rows],
        B=i.B[rows],
        A2=sign * i.A2[keys],
        A3=sign * i.A3[keys],
        planted=(X, sign * Y),
        Y=sign * i.Y,
        accuracy=Fraction(1, int(rng.integers(6, 100))),
    )


@cache
def _four_rows() -> Trained:
    """Give the problem of P4.stuck at its minimum, log 3 rounded."""
    A1, A2, A3, B = (
        np.array(numbers, float)[:, None]
        for numbers in ((0, 1, 0, 1), (0, 1, 2, 3), (-1, 6, -3, 2), (20, 22, 20, 22))
    )
    planted = (np.array([[1.0986122886681098]]), np.array([[20.0]]))
    point = (np.array([[0.0]]), np.array([[21.0]]))
    return Trained(A1, A2, A3, B, planted, *point, Fraction(1, 1 << 20), Fraction(1))


P4_ALGORITHM = Claim[Trained](
    id="P4.algorithm",
    where="P4, sentences 3 and 10",
    statement=(
        "A greedy iteration from any start trains the loss to within eps of the least one.  Refuted, as no "
        "start is excluded: the targets of the witness (24 rows, two columns) are a layer's outputs, and the "
        "iteration may start at a strict local minimum, with loss 0.1995, least eigenvalue above 0.258 and "
        "Kantorovich's number below 1e-6, proved within 1e-11 of the floats that ship; there the gradient is "
        "0.  P4.stuck has another, with a proof that reaches a half plane; P4.neuron a reason why no method "
        "in polynomial time does better from every start.  In a basin P4.descent and P4.conjugate repair it."
    ),
    not_stated=(
        "The paper's conditions, unread by us, if its body has some: the abstract has none. Its time is not "
        "refuted: the gradient takes it (P4.cost), a Hessian as far as we know does not."
    ),
    assumes=(
        Hypothesis(
            "the targets are a layer's outputs: the least loss is below a thousandth of the accuracy",
            lambda i: 1000 * _upper(i.least_loss(128)) < i.accuracy,
        ),
        Hypothesis(
            "Newton and Kantorovich prove a strict local minimum near the point",
            lambda i: i.minimum.is_strict,
        ),
    ),
    bounds=(
        Bound(
            name="trained_loss",
            meaning="the loss at which an iteration ends, above the least one",
            arguments=(accuracy,),
            expression=accuracy,
            domain={accuracy: POSITIVE},
            points=((sympy.Rational(1, 100),),),
            quantity=lambda i, bits: loss_there(i, bits) - i.least_loss(bits),
            parameters=lambda i, bits: {"accuracy": i.accuracy},
            # No values at all.
            trivial=lambda i, bits: i.problem()._replace(Y=0 * i.Y).loss(bits),
            extremal=_four_rows,
        ),
    ),
    witness=spurious,
    sample=lambda rng: _reordered(int(rng.integers(3))),
)

# -------------------------------------------------------------------------------------- P4.omega

#: ω < 2.371339: Alman, Duan, Vassilevska Williams, Xu, Xu, Zhou, arXiv 2404.16349.
PUBLISHED = Fraction(2371339, 10**6)


P4_OMEGA = Claim[Exponent](
    id="P4.omega",
    where="P4, sentence 11",
    statement=(
        "The exponent of matrix multiplication is at most 2.375, the largest number that rounds to 2.37 (or "
        "to an even digit from above): omega < 2.371339 (Alman, Duan, Vassilevska Williams, Xu, Xu, Zhou, "
        "arXiv 2404.16349)."
    ),
    not_stated=(
        "omega itself, of which only 2 <= omega < 2.371339 is known. No claim of ours takes less than "
        "classical products, or Strassen's."
    ),
    assumes=(POSSIBLE,),
    bounds=(quoted("multiplication_exponent", sympy.Rational(19, 8), PUBLISHED),),
    witness=lambda: Exponent(PUBLISHED),
    # Bounds that were published later than the one that the abstract rounds.
    sample=lambda rng: Exponent(
        [Fraction(2371552, 10**6), Fraction(2371866, 10**6), PUBLISHED][int(rng.integers(3))]
    ),
    source="arXiv 2404.16349",
)

CLAIMS = (P4_ALGORITHM, P4_OMEGA)
