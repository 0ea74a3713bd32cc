r"""P3.sketch and P3.composed: what rounding adds to a sketch, and what two approximations in a row keep.

A sketch Y = X S adds columns of X into buckets, each column with a sign ±1/√s into s of them.  Where
(1 − ε) G ⪯ Y Yᵀ ⪯ (1 + ε) G holds of the exact Y (P3.randomised), the computed one needs a slack as
well, in the sense of P3.certificate.

The computation, in one floating-point type: the terms of a bucket summed in any order; the sum stored or
added to a zero; the root of s, its reciprocal, that converted; the product.  No term passes through more
than t + 5 roundings, the first of which a sign needs not: a program may pay with it for what underflows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure
from reference.arithmetic.gram import gram, semidefinite
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC, gamma
from specs.sparsification.loewner import Matrix
from specs.symbols import epsilon, n, second_epsilon, second_slack, slack, terms, unit_roundoff

#: The error of a row of a sketch, relative to the row of X.
_ROW_ERROR = gamma(terms + 5) * sympy.sqrt(terms)

_THIRD, _HUNDREDTH = sympy.Rational(1, 3), sympy.Rational(1, 100)


def within(G: Matrix, H: Matrix, epsilon: Fraction, slack: Fraction = Fraction(0)) -> bool:
    """Decide (1 - epsilon) G - slack diag(G) <= H <= (1 + epsilon) G + slack diag(G) exactly."""
    more = np.diag(slack * G.diagonal())
    return semidefinite((1 + epsilon) * G + more - H) and semidefinite(H - (1 - epsilon) * G + more)


def least(holds: Callable[[Fraction], bool], bits: int) -> Enclosure:
    """Enclose the least number, from 0 on, with which a condition holds that then stays true."""
    low, high = Fraction(0), Fraction(1)
    if holds(low):
        return lift(0, bits)
    while not holds(high):
        high *= 2
    while high - low > Fraction(1, 1 << bits):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return lift(low, bits) + Enclosure(np.array(0, object), 1, bits)


def least_slack(G: Matrix, H: Matrix, epsilon: Fraction, bits: int) -> Enclosure:
    """Enclose the least slack with which H is within epsilon of G."""
    return least(lambda slack: within(G, H, epsilon, slack), bits)


# ------------------------------------------------------------------------------------- P3.sketch


@dataclass(frozen=True)
class Sketch:
    """X, the signs and places of its columns in each of s blocks of buckets, and the computed sketch.

    ``signs`` and ``places`` have shape (s, d), ``computed`` has shape (n, s, buckets in a block).
    """

    X: Matrix
    signs: NDArray[Any]
    places: NDArray[Any]
    computed: Matrix
    epsilon: Fraction

    @property
    def unit_roundoff(self) -> Fraction:
        """The unit roundoff of the computation's type."""
        return ARITHMETIC[self.X.dtype.name].unit_roundoff

    @property
    def terms(self) -> int:
        """The largest number of entries of a row that fall into one bucket, zeros not counted."""
        filled = _buckets((self.X != 0).astype(int), abs(self.signs), self.places)
        return max(1, int(filled.max()))

    @property
    def exact_gram(self) -> Matrix:
        """The Gram matrix of the sketch without rounding."""
        numbers = np.array([[Fraction(float(x)) for x in row] for row in self.X], object)
        unscaled: Matrix = gram(_flat(_buckets(numbers, self.signs, self.places)))
        return unscaled / len(self.signs)

    @property
    def computed_gram(self) -> Matrix:
        """The exact Gram matrix of the computed sketch."""
        return gram(_flat(self.computed))


def _flat(sums: Matrix) -> Matrix:
    return sums.reshape(len(sums), -1)


def _buckets(X: Matrix, signs: NDArray[Any], places: NDArray[Any]) -> Matrix:
    """Return the bucket sums in X's own arithmetic, taken from left to right."""
    sums = np.zeros((len(X), len(signs), int(places.max()) + 1), X.dtype)
    for block, (sign, place) in enumerate(zip(signs, places, strict=True)):
        for c in range(X.shape[1]):
            sums[:, block, place[c]] += X[:, c] * sign[c].astype(X.dtype)
    return sums


def sketched(X: Matrix, signs: NDArray[Any], places: NDArray[Any], epsilon: Fraction) -> Sketch:
    """Compute a sketch: sums, root, reciprocal and product in X's own arithmetic."""
    number = X.dtype.type
    scale = number(1) / np.sqrt(number(len(signs)))
    return Sketch(X, signs, places, _buckets(X, signs, places) * scale, epsilon)


def _nothing_underflows(i: Sketch) -> bool:
    """Whether the last digit of every entry, and so every sum, is in the normal range once scaled."""
    least = float(np.finfo(i.X.dtype).tiny / i.unit_roundoff) * np.sqrt(len(i.signs))
    return bool((abs(i.X) >= least)[i.X != 0].all())


def _sketch_sample(rng: np.random.Generator) -> Sketch:
    """Give rows that repeat, sparse rows and zero rows, too; epsilon is the least multiple of 2^-10."""
    n, d, s = (int(rng.integers(1, high)) for high in (5, 12, 4))
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < rng.choice([0.4, 1.0]))
    X[-1] = X[0] * rng.choice([0, 1, 2])
    X = X.astype((np.float32, np.float64)[rng.integers(2)])
    signs, places = rng.choice([-1, 1], (s, d)), rng.integers(0, rng.integers(1, 2 * d + 1), (s, d))
    i = sketched(X, signs, places, Fraction(0))
    G, H = gram(X), i.exact_gram
    enough = least(lambda epsilon: within(G, H, epsilon), 10).bounds()[1].item()
    return sketched(X, signs, places, Fraction(enough))


def _rounded_up() -> Sketch:
    """Give two numbers and 71 buckets: sum, reciprocal root and product are all rounded up, by much."""
    X = np.array([[1.0540734529495239, 1.0545132160186768]], np.float32)
    signs = np.ones((71, 2), int)
    i = sketched(X, signs, 0 * signs, Fraction(0))
    return replace(i, epsilon=(i.exact_gram / gram(X) - 1).item())


P3_SKETCH = Claim[Sketch](
    id="P3.sketch",
    where="ours",
    statement=(
        "Let Y = X S add every column of X, with a sign and divided by sqrt(s), into s buckets, and let "
        "(1-eps) G <= Y Yᵀ <= (1+eps) G. If no more than t entries of a row that are not zero fall into one "
        "bucket, the computed sketch H, with sums in any order, has (1-eps) G - slack diag(G) <= H <= "
        "(1+eps) G + slack diag(G), where slack = n (2 sqrt(1+eps) + rho) rho and rho = gamma_{t+5} sqrt(t): "
        "row i of Y errs by at most rho ||x_i||."
    ),
    not_stated=(
        "What underflows, for which an implementation that bounds it charges the rounding that a sign needs "
        "not. That the exact sketch is within epsilon, which P3.randomised says with a probability."
    ),
    assumes=(
        Hypothesis(
            "every computed number, by rounded sums in any order, is finite, and every entry of X zero or so "
            "large that nothing else is below the normal range",
            lambda i: bool(np.isfinite(i.computed).all()) and _nothing_underflows(i),
            mirrors=("computed_sketch",),
        ),
        Hypothesis(
            "every sign is 1 or -1", lambda i: bool((abs(i.signs) == 1).all()), mirrors=("spreads",)
        ),
        Hypothesis(
            "0 <= epsilon and (1 - epsilon) X Xᵀ <= Y Yᵀ <= (1 + epsilon) X Xᵀ for the exact sketch Y",
            lambda i: i.epsilon >= 0 and within(gram(i.X), i.exact_gram, i.epsilon),
            mirrors=("0 <= eps", "loewner"),
        ),
        Hypothesis(
            "(terms + 5) u <= 1/4",
            lambda i: (i.terms + 5) * i.unit_roundoff <= Fraction(1, 4),
            mirrors=("INR (terms + 5) * u < 1",),
        ),
    ),
    bounds=(
        Bound(
            name="sketch_slack",
            meaning="the slack that rounding adds to a sketch",
            arguments=(n, epsilon, terms, unit_roundoff),
            expression=n * (2 * sympy.sqrt(1 + epsilon) + _ROW_ERROR) * _ROW_ERROR,
            provided=(terms + 5) * unit_roundoff < 1,
            points=((5, _THIRD, 100, sympy.Rational(1, 2**24)),),
            quantity=lambda i, bits: least_slack(gram(i.X), i.computed_gram, i.epsilon, bits),
            parameters=lambda i, bits: {
                "n": len(i.X),
                "epsilon": i.epsilon,
                "terms": i.terms,
                "unit_roundoff": i.unit_roundoff,
            },
            trivial=lambda i, bits: least_slack(gram(i.X), 0 * gram(i.X), i.epsilon, bits),
            extremal=_rounded_up,
            theorem="p3_sketch",
            relation=Relation.TERM,
        ),
    ),
    witness=lambda: sketched(
        np.array([[1.0, 0.5, 0.25], [0.5, 1.0, 0.0]]) / 3,
        np.array([[1, -1, 1], [1, 1, -1]]),
        np.array([[0, 1, 2], [0, 1, 1]]),
        Fraction(3, 4),
    ),
    sample=_sketch_sample,
    recomputed=lambda i: sketched(i.X, i.signs, i.places, i.epsilon),
)

# ----------------------------------------------------------------------------------- P3.composed


@dataclass(frozen=True)
class Chain:
    """X, Y close to it and Z close to Y, with both errors in the sense of P3.certificate."""

    X: Matrix
    Y: Matrix
    Z: Matrix
    epsilon: Fraction
    slack: Fraction
    second_epsilon: Fraction
    second_slack: Fraction


def _chain_parameters(i: Chain, bits: int) -> Mapping[str, Value]:
    return {
        "epsilon": i.epsilon,
        "slack": i.slack,
        "second_epsilon": i.second_epsilon,
        "second_slack": i.second_slack,
    }


def _composed(i: Chain) -> tuple[Fraction, Fraction]:
    """Return epsilon and slack of Z against X."""
    epsilon = i.epsilon + i.second_epsilon * (1 + i.epsilon)
    slack = i.slack + i.second_epsilon * i.slack + i.second_slack * (1 + i.epsilon + i.slack)
    return epsilon, slack


def _needed_epsilon(i: Chain, Z: Matrix, bits: int) -> Enclosure:
    G, H, slack = gram(i.X), gram(Z), _composed(i)[1]
    return least(lambda epsilon: within(G, H, epsilon, slack), bits)


def _needed_slack(i: Chain, Z: Matrix, bits: int) -> Enclosure:
    return least_slack(gram(i.X), gram(Z), _composed(i)[0], bits)


def _measured(X: Matrix, Y: Matrix, slack: Fraction) -> Fraction:
    """Return an epsilon, a multiple of 2^-10, with which Y is close to X."""
    G, H = gram(X), gram(Y)
    epsilon = least(lambda epsilon: within(G, H, epsilon, slack), 10)
    return Fraction(epsilon.bounds()[1].item())


def _chain_sample(rng: np.random.Generator) -> Chain:
    """Change the columns' lengths twice, exactly; some X have not full rank."""
    n, d = int(rng.integers(1, 5)), int(rng.integers(1, 9))
    X = rng.integers(-8, 9, (n, d)) / 8
    Y, Z = (X * (1 + rng.integers(-20, 21, d) / 64) for _ in range(2))
    slack, second_slack = (Fraction(int(k), 64) for k in rng.integers(0, 9, 2))
    return Chain(
        X, Y, Z, _measured(X, Y, slack), slack, _measured(Y, Z, second_slack), second_slack
    )


def _scaled_twice() -> Chain:
    """Give one number, scaled by 5/4 and again: squares grow by 1/2 + 1/16 each time."""
    half, slack = Fraction(1, 2), Fraction(1, 16)
    X = np.array([[1.0]])
    return Chain(X, 1.25 * X, 1.25 * 1.25 * X, half, slack, half, slack)


P3_COMPOSED = Claim[Chain](
    id="P3.composed",
    where="ours",
    statement=(
        "If (1-eps) G - s diag(G) <= H <= (1+eps) G + s diag(G), and K is as close to H with eps' and s', "
        "then K is as close to G with eps + eps' (1+eps) and s + eps' s + s' (1+eps+s)."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "every epsilon and slack is at least 0",
            lambda i: min(i.epsilon, i.slack, i.second_epsilon, i.second_slack) >= 0,
            mirrors=("0 <= eps'", "0 <= slack'"),
        ),
        Hypothesis(
            "H = Y Yᵀ is within epsilon and slack of G = X Xᵀ",
            lambda i: within(gram(i.X), gram(i.Y), i.epsilon, i.slack),
            mirrors=("loewner_up_to",),
        ),
        Hypothesis(
            "K = Z Zᵀ is within second_epsilon and second_slack of H",
            lambda i: within(gram(i.Y), gram(i.Z), i.second_epsilon, i.second_slack),
            mirrors=("loewner_up_to (2)",),
        ),
    ),
    bounds=(
        Bound(
            name="composed_epsilon",
            meaning="the epsilon of K against G, given composed_slack",
            arguments=(epsilon, second_epsilon),
            expression=epsilon + second_epsilon * (1 + epsilon),
            points=((_THIRD, _HUNDREDTH),),
            quantity=lambda i, bits: _needed_epsilon(i, i.Z, bits),
            parameters=_chain_parameters,
            trivial=lambda i, bits: _needed_epsilon(i, 0 * i.X, bits),
            extremal=_scaled_twice,
            theorem="p3_composed",
            relation=Relation.TERM,
        ),
        Bound(
            name="composed_slack",
            meaning="the slack of K against G, given composed_epsilon",
            arguments=(epsilon, slack, second_epsilon, second_slack),
            expression=slack + second_epsilon * slack + second_slack * (1 + epsilon + slack),
            points=((_THIRD, _HUNDREDTH, _HUNDREDTH / 3, _HUNDREDTH / 7),),
            quantity=lambda i, bits: _needed_slack(i, i.Z, bits),
            parameters=_chain_parameters,
            trivial=lambda i, bits: _needed_slack(i, 0 * i.X, bits),
            extremal=_scaled_twice,
            theorem="p3_composed",
            relation=Relation.TERM,
        ),
    ),
    witness=lambda: Chain(
        np.array([[1.0, 0.5], [0.5, 1.0]]),
        np.array([[1.0, 0.5], [0.5, 1.0]]) * 1.0625,
        np.array([[1.0, 0.5], [0.5, 1.0]]) * 0.9375,
        Fraction(1, 8),
        Fraction(1, 64),
        Fraction(1, 4),
        Fraction(1, 64),
    ),
    sample=_chain_sample,
)

CLAIMS = (P3_SKETCH, P3_COMPOSED)
