r"""P4, sentence 10: what the abstract promises from no start in particular fails from some start.

Two things stand in its way.  A problem of four rows and one column has loss 0 at X = log 3, Y = 20, and a
strict local minimum of loss 2 at X = 0, Y = 21, which no point with X ≤ log 2 undercuts: with z = e^X a
query 1 has the output Y (1 + (z − 1)² (z − 2)/(1 + z + z² + z³)), at most Y up to z = 2.  A method that steps
by a multiple of the gradient, whatever the matrix, never leaves it.

And where keys and values are e₁ or 0, half each, a layer is one logistic neuron: its output is Y₁ σ(a_i·X₁).
To train that within 1 of the least squared error is NP-hard (Šíma, Neural Computation 14(11), 2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import sympy

from reference import Enclosure
from reference.regression import Regression, residual
from specs.claim import Bound, Claim, Hypothesis, Relation
from specs.lifting import lift
from specs.regression.derivatives import Matrix, fractions

# -------------------------------------------------------------------------------------- P4.stuck


@dataclass(frozen=True)
class Stuck:
    """The problem of four rows and one column, and a point."""

    X: Fraction
    Y: Fraction

    def problem(self) -> Regression:
        """Return the problem at the point."""
        return _four_rows(self.X, self.Y)


def _column(*numbers: int) -> Matrix:
    return fractions(np.array(numbers)[:, None])


def _four_rows(X: Fraction, Y: Fraction) -> Regression:
    return Regression(
        _column(0, 1, 0, 1),
        _column(0, 1, 2, 3),
        _column(-1, 6, -3, 2),
        _column(20, 22, 20, 22),
        np.array([[X]], object),
        np.array([[Y]], object),
    )


def _loss(i: Stuck, bits: int) -> Enclosure:
    p = Regression(*(lift(array, bits) for array in i.problem()))
    return p.loss(bits)


def _planted(bits: int) -> Enclosure:
    """Enclose the loss at X = log 3, Y = 20."""
    p = _four_rows(Fraction(0), Fraction(20)).lifted(bits)
    X = lift(np.array([[3]], object), 2 * bits).log()
    R = residual(p._replace(X=X).weights(bits), p)
    loss: Enclosure = (R * R).sum() / 2
    return loss


P4_STUCK = Claim[Stuck](
    id="P4.stuck",
    where="ours, beside P4, sentence 10",
    statement=(
        "With A1 = (0, 1, 0, 1), A2 = (0, 1, 2, 3), A3 = (-1, 6, -3, 2) and B = (20, 22, 20, 22) the loss "
        "f is 0 at X = log 3, Y = 20; where X <= log 2 it is at least 2, and for X < log 2 only at X = 0, "
        "Y = 21 no more: a strict local minimum, at which the gradient is 0."
    ),
    not_stated="How many starts end there: of random problems tests count some.",
    assumes=(
        Hypothesis(
            "X is at most log 2",
            lambda i: Fraction(i.X) <= Fraction(69, 100),
            mirrors=("X 0 0 <= ln 2",),
        ),
    ),
    bounds=(
        Bound(
            name="stuck_loss",
            meaning="what the loss at a point lacks to 2",
            expression=sympy.Integer(0),
            quantity=lambda i, bits: 2 - _loss(i, bits),
            # The planted point.
            trivial=lambda i, bits: 2 - _planted(bits),
            extremal=lambda: Stuck(Fraction(0), Fraction(21)),
            theorem="p4_stuck_loss",
            attained="p4_stuck_loss_attained",
        ),
    ),
    witness=lambda: Stuck(Fraction(1, 2), Fraction(20)),
    sample=lambda rng: Stuck(
        Fraction(int(rng.integers(-300, 69)) or 1, 100), Fraction(int(rng.integers(150, 300)), 10)
    ),
)

# ------------------------------------------------------------------------------------- P4.neuron


@dataclass(frozen=True)
class Neuron:
    """Inputs, a first column of X, a row of Y, targets, and half the number of keys; all integers."""

    inputs: Matrix
    weights: Matrix
    slopes: Matrix
    targets: Matrix
    half: int

    def problem(self) -> Regression:
        """Return the layer."""
        keys = np.zeros((2 * self.half, self.inputs.shape[1]), int)
        keys[: self.half, 0] = 1
        X, Y = np.zeros((2, len(self.weights), len(self.weights)), int)
        X[:, 0] = self.weights
        Y = np.zeros((len(self.weights), len(self.slopes)), int)
        Y[0] = self.slopes
        arrays = (self.inputs, keys, keys, self.targets, X, Y)
        return Regression(*(fractions(A) for A in arrays))


def _powers(exponents: Matrix) -> Matrix:
    powers: Matrix = np.vectorize(lambda s: Fraction(2) ** int(s), otypes=[object])(exponents)
    return powers


def _neuron_difference(i: Neuron, bits: int, *, normalised: bool = True) -> Enclosure:
    """Enclose the largest difference of residuals, with powers of two in place of e^s."""
    p = i.problem()
    W = _powers(p.A1.dot(p.X).dot(p.A2.T))
    layer = residual(W / W.sum(axis=1)[:, None] if normalised else W, p)
    power = _powers(fractions(i.inputs).dot(fractions(i.weights)))
    neuron = np.multiply.outer(power / (1 + power), fractions(i.slopes)) - fractions(i.targets)
    return lift(abs(layer - neuron).max(), bits)


def _neuron_sample(rng: np.random.Generator) -> Neuron:
    n, d, c = (int(rng.integers(1, most)) for most in (6, 4, 3))
    draw = rng.integers
    return Neuron(
        draw(-3, 4, (n, d)),
        draw(-3, 4, d),
        draw(1, 4, c),
        draw(0, 2, (n, c)),
        int(draw(1, 4)),
    )


def _neuron_witness() -> Neuron:
    return Neuron(
        np.array([[1, 2], [0, 1], [-1, 1]]),
        np.array([1, -1]),
        np.array([1]),
        np.array([[1], [0], [1]]),
        2,
    )


P4_NEURON = Claim[Neuron](
    id="P4.neuron",
    where="ours, beside P4, sentence 10",
    statement=(
        "With rows of A2 and of A3 that are e_1 in one half and 0 in the other, row i of the output is "
        "Y_1 sigma(a_i.X_1): one logistic neuron, X_1 the first column of X and Y_1 the first row of Y.  "
        "NOTE Minimising the squared error of such a neuron within 1 is NP-hard (Sima, Neural Computation "
        "14(11), 2002), where Y_1 = 1; rows a_i = 0 with the target 1/2, repeated often enough, pin it "
        "there.  So no polynomial method trains from every start, unless P = NP."
    ),
    not_stated=(
        "The hardness, which is cited, and how often the rows that pin Y_1 must be repeated.  Instances have "
        "weights 2^s in place of e^s, so that they are rational."
    ),
    assumes=(
        Hypothesis("there is a key in each half", lambda i: i.half >= 1, mirrors=("0 < half",)),
    ),
    bounds=(
        Bound(
            name="neuron_difference",
            meaning="a residual of the layer less that of the neuron",
            expression=sympy.Integer(0),
            quantity=_neuron_difference,
            # Weights that are not normalised.
            trivial=lambda i, bits: _neuron_difference(i, bits, normalised=False),
            extremal=_neuron_witness,
            theorem="p4_neuron",
            relation=Relation.EQUALS,
        ),
    ),
    witness=_neuron_witness,
    sample=_neuron_sample,
)

CLAIMS = (P4_STUCK, P4_NEURON)
