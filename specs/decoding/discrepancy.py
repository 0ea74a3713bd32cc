r"""I.discrepancy, I.coreset: what keys and values that stand for others can do to attention.

Some keys were thrown away and the weights of others raised.  With w_j = v_j of a key that is gone, and
v_j (1 - weight) of one that was kept, the numerator is off by Σ_j w_j e^{q·k_j}, for every query at once.  In
degree m of the exponential's series

    (Σ_j w_j (q·x_j)^m)² <= |q|^{2m} Σ_ij w_i w_j (x_i·x_j)^m,

by Cauchy and Schwarz in the space of tensors, where Σ_j w_j x_j ⊗ ... ⊗ x_j has the length that the right
side squares: m applications in d dimensions each, and no tensor.  What the degrees up to g leave is bounded
key by key, as is what a logit differs from the product q·x_j of rounded images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import factorial
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, softmax
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC, Arithmetic
from specs.symbols import (
    BELOW_ONE,
    degree,
    denominator_share,
    gram_computed,
    gram_norm,
    logit_error,
    magnitude,
    mass,
    numerator_share,
    power_sum,
    query_length,
    reach,
    rounding,
    underflow,
)

Array = NDArray[Any]


def _exactly(x: Array) -> Array:
    return np.array([Fraction(float(a)) for a in x.flat], object).reshape(x.shape)


def _gram(vectors: Array, weights: Array, power: int) -> Fraction:
    x, w = _exactly(vectors), _exactly(weights)
    return Fraction(w @ (x @ x.T) ** power @ w)


def _length(x: Array, bits: int) -> Enclosure:
    return lift((x**2).sum(), 2 * bits).sqrt()


# ------------------------------------------------------------------------------------ I.discrepancy


@dataclass(frozen=True)
class Discrepancy:
    """A query, vectors with weights of either sign, logits near their products, and a degree.

    ``slack`` bounds how far each logit is from the product.
    """

    query: Array
    vectors: Array
    weights: Array
    logits: Array
    slack: float
    degree: int

    @property
    def products(self) -> Array:
        """The exact q·x_j."""
        found: Array = _exactly(self.vectors) @ _exactly(self.query)
        return found

    def gram(self, power: int) -> Fraction:
        """Return Σ_ij w_i w_j (x_i·x_j)^m."""
        return _gram(self.vectors, self.weights, power)

    def terms(self, power: int) -> Array:
        """Return w_j (q·x_j)^m / m!."""
        found: Array = _exactly(self.weights) * self.products**power / factorial(power)
        return found


def _gram_norm(i: Discrepancy, power: int, bits: int) -> Enclosure:
    return lift(i.gram(power), 2 * bits).sqrt()


def _power_sum(i: Discrepancy, bits: int) -> Enclosure:
    length, total = _length(_exactly(i.query), bits), lift(0, bits)
    for m in range(i.degree + 1):
        total = total + length**m * _gram_norm(i, m, bits) / lift(factorial(m), bits)
    return total


def _series_parameters(i: Discrepancy, bits: int) -> Mapping[str, Value]:
    longest = max((x**2).sum() for x in _exactly(i.vectors))
    return {
        "power_sum": _power_sum(i, bits),
        "mass": Fraction(abs(_exactly(i.weights)).sum()),
        "reach": _length(_exactly(i.query), bits) * lift(longest, 2 * bits).sqrt(),
        "degree": i.degree,
        "logit_error": Fraction(i.slack),
    }


def _series(i: Discrepancy, bits: int) -> Enclosure:
    """Enclose the size of the sum of exponentials."""
    return abs((lift(i.weights, bits) * lift(i.logits, bits).exp()).sum())


def _near(i: Discrepancy) -> bool:
    return all(abs(x) <= Fraction(i.slack) for x in _exactly(i.logits) - i.products)


def _discrepancy(query: Array, vectors: Array, weights: Array, degree: int) -> Discrepancy:
    logits = vectors @ query
    return Discrepancy(
        query, vectors, weights, logits + 2.0**-40 * np.sign(logits + 0.5), 2.0**-39, degree
    )


def _sample_discrepancy(rng: np.random.Generator) -> Discrepancy:
    n, d = int(rng.integers(2, 7)), int(rng.integers(2, 4))
    weights = rng.choice([-1.0, 1.0], n) * rng.choice([0.5, 1.0, 3.0], n)
    return _discrepancy(
        rng.normal(0, 0.7, d), rng.normal(0, 0.7, (n, d)), weights, int(rng.integers(1, 5))
    )


I_DISCREPANCY = Claim[Discrepancy](
    id="I.discrepancy",
    where="ours",
    statement=(
        "For vectors x_j with weights w_j of either sign and every q, the part of degree m of "
        "Σ w_j e^{q·x_j} is at most |q|^m/m! times the root of Σ_ij w_i w_j (x_i·x_j)^m; and the whole, of "
        "logits within η of q·x_j, the sum of these up to degree g and "
        "Σ|w_j| e^r (r^{g+1}/(g+1)! + η e^η), r the largest |q| |x_j|."
    ),
    not_stated=(
        "That it is small: it is for all queries of a length at once, and by the coreset bounds cited beside "
        "P2 no set of s keys does for all of them where e^r exceeds s."
    ),
    assumes=(
        Hypothesis(
            "every logit is within the slack of its product",
            _near,
            mirrors=("near_products",),
        ),
    ),
    bounds=(
        Bound(
            name="power_discrepancy",
            meaning="the part of one degree of a sum of exponentials with weights of either sign",
            arguments=(query_length, gram_norm, degree),
            expression=query_length**degree * gram_norm / sympy.factorial(degree),
            points=((3, sympy.Rational(5, 7), 4),),
            quantity=lambda i, bits: lift(abs(i.terms(i.degree).sum()), bits),
            parameters=lambda i, bits: {
                "query_length": _length(_exactly(i.query), bits),
                "gram_norm": _gram_norm(i, i.degree, bits),
                "degree": i.degree,
            },
            # Each term for itself.
            trivial=lambda i, bits: lift(abs(i.terms(i.degree)).sum(), bits),
            extremal=lambda: _discrepancy(
                np.array([1.0, 2.0]), np.array([[0.5, 1.0 + 2.0**-20]]), np.array([-3.0]), 3
            ),
            theorem="i_power",
            attained="i_power_attained",
        ),
        Bound(
            name="series_discrepancy",
            meaning="a sum of exponentials with weights of either sign",
            arguments=(power_sum, mass, reach, degree, logit_error),
            expression=power_sum
            + mass
            * sympy.exp(reach)
            * (
                reach ** (degree + 1) / sympy.factorial(degree + 1)
                + logit_error * sympy.exp(logit_error)
            ),
            points=((sympy.Rational(1, 3), 20, sympy.Rational(1, 2), 3, sympy.Rational(1, 10)),),
            quantity=_series,
            parameters=_series_parameters,
            trivial=lambda i, bits: (abs(lift(i.weights, bits)) * lift(i.logits, bits).exp()).sum(),
            extremal=lambda: _discrepancy(
                np.array([0.25]), np.array([[0.5], [0.5]]), np.array([1.0, 2.0]), 12
            ),
            theorem="i_series",
        ),
    ),
    witness=lambda: _discrepancy(
        np.array([0.5, -0.25]),
        np.array([[1.0, 0.5], [0.75, 0.5], [-0.5, 1.0]]),
        np.array([1.0, -1.0, 0.5]),
        2,
    ),
    sample=_sample_discrepancy,
)

# ---------------------------------------------------------------------------------------- I.coreset


@dataclass(frozen=True)
class Coreset:
    """Logits and values of all keys, a few with weights in their place, and what is taken for the output.

    ``slack`` is by which factor what both sums lack is known too large.
    """

    logits: Array
    values: Array
    kept_logits: Array
    kept_values: Array
    kept_weights: Array
    answer: float
    slack: float

    def sums(self, bits: int) -> tuple[Enclosure, Enclosure]:
        """Enclose numerator and denominator over all keys."""
        weights = lift(self.logits, bits).exp()
        return (weights * lift(self.values, bits)).sum(), weights.sum()

    def kept(self, bits: int) -> tuple[Enclosure, Enclosure]:
        """Enclose the same over those that were kept, with their weights."""
        weights = lift(self.kept_logits, bits).exp() * lift(self.kept_weights, bits)
        return (weights * lift(self.kept_values, bits)).sum(), weights.sum()


def _coreset_error(i: Coreset, bits: int) -> Enclosure:
    weights = softmax(i.logits, precision=bits)
    return abs((weights * lift(i.values, bits)).sum() - lift(i.answer, bits))


def _coreset_parameters(i: Coreset, bits: int) -> Mapping[str, Value]:
    (numerator, denominator), (kept, total) = i.sums(bits), i.kept(bits)
    known = lift(1 + Fraction(i.slack), bits)
    return {
        "rounding": abs(kept / total - lift(i.answer, bits)),
        "numerator_share": known * abs(numerator - kept) / total,
        "denominator_share": known * abs(denominator - total) / total,
        "magnitude": lift(abs(Fraction(i.answer)), bits),
    }


def _missing_less_than_all(i: Coreset) -> bool:
    kept = (np.exp(i.kept_logits) * i.kept_weights).sum()
    return bool(abs(np.exp(i.logits).sum() - kept) < 0.99 * kept)


def _coreset(logits: Array, values: Array, slack: float) -> Coreset:
    """Keep every other key, with twice the weight, and let rounding move the output a little."""
    weights = np.full(len(logits[::2]), 2.0)
    products = np.exp(logits[::2]) * weights
    answer = float(products @ values[::2] / products.sum()) + 2.0**-30
    return Coreset(logits, values, logits[::2], values[::2], weights, answer, slack)


def _sample_coreset(rng: np.random.Generator) -> Coreset:
    n = 2 * int(rng.integers(1, 6))
    return _coreset(rng.normal(0, 0.3, n), rng.normal(0, 1, n), 2.0**-10)


#: A key that is lighter than the one that stands for it, of a value so large that both errors add up.
_LARGE = _coreset(np.array([0.0, -1.0]), np.array([1.0, 4.0]), 0.0)

I_CORESET = Claim[Coreset](
    id="I.coreset",
    where="ours",
    statement=(
        "Attention on weighted keys lies within r of y, and numerator and denominator are off by α and β < 1 "
        "times its denominator: attention on all keys lies within r + (α + (|y| + r) β)/(1 - β) of y."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "the denominator is off by less than itself",
            _missing_less_than_all,
            mirrors=("Rabs (fsum n (fun j : nat => exp (s j)) - D) / D < 1",),
        ),
    ),
    bounds=(
        Bound(
            name="coreset_output",
            meaning="the distance of attention on all keys from what attention on weighted ones gave",
            arguments=(rounding, numerator_share, denominator_share, magnitude),
            expression=rounding
            + (numerator_share + (magnitude + rounding) * denominator_share)
            / (1 - denominator_share),
            domain={denominator_share: BELOW_ONE},
            points=(
                (
                    sympy.Rational(1, 2**20),
                    sympy.Rational(1, 50),
                    sympy.Rational(1, 30),
                    sympy.Rational(3, 2),
                ),
            ),
            quantity=_coreset_error,
            parameters=_coreset_parameters,
            # The distance of the farthest value, which looks at no weight.
            trivial=lambda i, bits: abs(lift(i.values, bits) - lift(i.answer, bits)).max(),
            extremal=lambda: _LARGE,
            theorem="i_coreset",
            attained="i_coreset_attained",
        ),
    ),
    witness=lambda: _coreset(
        np.array([0.0, 0.25, -0.5, 0.5]), np.array([1.0, -2.0, 3.0, 0.5]), 2.0**-10
    ),
    sample=_sample_coreset,
)

# ----------------------------------------------------------------------------------- FP.discrepancy


@dataclass(frozen=True)
class ComputedGram:
    """Vectors with weights of either sign, and what was computed of Σ_ij w_i w_j (x_i·x_j)^m."""

    vectors: Array
    weights: Array
    power: int
    computed: float

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the type."""
        return ARITHMETIC[self.vectors.dtype.name]

    @property
    def rounding(self) -> Fraction:
        """The sum of the unit roundoffs that a term passes through."""
        n, d = self.vectors.shape
        return Fraction((self.power * (d + 1) + 2 * n + 2) * self.arithmetic.unit_roundoff)

    def exact(self) -> Fraction:
        """Return the exact sum."""
        return _gram(self.vectors, self.weights, self.power)

    def magnitude(self, bits: int) -> Enclosure:
        """Enclose Σ_j |w_j| |x_j|^m."""
        lengths = lift((_exactly(self.vectors) ** 2).sum(axis=1), 2 * bits).sqrt()
        return (lift(abs(_exactly(self.weights)), bits) * lengths**self.power).sum()


def computed_gram(vectors: Array, weights: Array, power: int) -> ComputedGram:
    """Compute the sum as the fast path does, and round it up to 0 where it is negative."""
    products = vectors @ vectors.T
    powers = np.ones_like(products)
    for _ in range(power):
        powers = powers * products
    return ComputedGram(vectors, weights, power, max(float(weights @ (powers @ weights)), 0.0))


def _sample_gram(rng: np.random.Generator) -> ComputedGram:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n, d = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    return computed_gram(
        rng.standard_normal((n, d)).astype(dtype),
        rng.standard_normal(n).astype(dtype),
        int(rng.integers(0, 5)),
    )


FP_DISCREPANCY = Claim[ComputedGram](
    id="FP.discrepancy",
    where="ours",
    statement=(
        "Σ_ij w_i w_j (x_i·x_j)^m, computed in floating point in any order, is at most what was computed "
        "plus R/(1 - R) (Σ_j |w_j| |x_j|^m)² and what underflow took, R the sum of the unit roundoffs that a "
        "term passes through."
    ),
    not_stated="That a given BLAS obeys the model. The algorithm counts its own R.",
    assumes=(
        Hypothesis(
            "m is at least 0",
            lambda i: i.power >= 0,
            alone="a degree is a natural number in Coq",
        ),
        Hypothesis(
            "R is at most a quarter",
            lambda i: i.rounding <= Fraction(1, 4),
            mirrors=("rho < 1", "roundings_total e <= rho"),
        ),
        Hypothesis(
            "the sum was computed in floating point, and is finite",
            lambda i: bool(
                np.isfinite(i.computed)
                and i.computed == computed_gram(i.vectors, i.weights, i.power).computed
            ),
            mirrors=("evaluates", "value e = gram n d m w x"),
        ),
    ),
    bounds=(
        Bound(
            name="gram_sum",
            meaning="the square of the length of a discrepancy in one degree, from what was computed",
            arguments=(gram_computed, rounding, magnitude, underflow),
            expression=gram_computed + rounding / (1 - rounding) * magnitude**2 + underflow,
            domain={rounding: BELOW_ONE},
            points=((3, sympy.Rational(1, 2**20), 7, sympy.Rational(1, 2**60)),),
            quantity=lambda i, bits: lift(i.exact(), bits),
            parameters=lambda i, bits: {
                "gram_computed": Fraction(i.computed),
                "rounding": i.rounding,
                "magnitude": i.magnitude(bits),
                "underflow": len(i.vectors) ** 2 * i.arithmetic.tiny,
            },
            # As if no two terms cancelled.
            trivial=lambda i, bits: i.magnitude(bits) ** 2,
            extremal=lambda: computed_gram(
                np.array([[1.0, 0.5], [0.3, -0.7]]), np.array([1.0, -0.5]), 2
            ),
            theorem="fp_gram_sum",
        ),
    ),
    witness=lambda: computed_gram(np.array([[1.0, 0.5], [0.3, -0.7]]), np.array([1.0, -0.5]), 2),
    sample=_sample_gram,
    recomputed=lambda i: computed_gram(i.vectors, i.weights, i.power),
)

CLAIMS = (I_DISCREPANCY, I_CORESET, FP_DISCREPANCY)
