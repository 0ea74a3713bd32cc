r"""FP: what rounding does to polynomial attention by moments, and to the grid that certifies its kappa.

The model is that of ``rounding``: ``fl(a op b) = (a op b)(1 + delta)``, |delta| <= u, any order of summation.
With P_abs(x) = Σ_m |c_m| x^m, every sum of products here errs by a share of the sum of its terms'
absolute values, at most P_abs(|q| reach) for one key, reach = max_j |k_j − c|; relative to the denominator
that is the ``amplification``, about e^(2b), which is why float32 is of no use for a large half-range b.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import comb, factorial, prod
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure
from reference.moments import exponents
from reference.polynomials import evaluated, rational
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.polynomial.weights import Coefficients, taylor
from specs.softmax.rounding import ARITHMETIC, gamma
from specs.symbols import (
    BELOW_ONE,
    absolute,
    amplification,
    magnitude,
    quotient,
    rounding,
    roundings,
    tiny,
    underflow,
    unit_roundoff,
)

Array = NDArray[Any]


_U = ARITHMETIC["float64"].unit_roundoff

# --------------------------------------------------------------------------------- FP.polynomial


@dataclass(frozen=True)
class FloatValue:
    """A point and float coefficients; what numpy makes of P(x)e^(−x) there, by Horner's rule."""

    x: np.float64
    coefficients: tuple[float, ...]

    def value(self, coefficients: tuple[float, ...]) -> np.float64:
        """Compute in float64 what is wanted, with these coefficients at |x| or at x."""
        total = np.float64(0.0)
        x = self.x if coefficients is self.coefficients else abs(self.x)
        for c in reversed(coefficients):
            total = total * x + np.float64(c)
        return np.float64(total * np.exp(-self.x))

    @property
    def roundings(self) -> int:
        """4 degree + 16."""
        return 4 * len(self.coefficients) + 12

    @property
    def absolute(self) -> np.float64:
        """P_abs(|x|) e^(−x), as computed."""
        return self.value(tuple(abs(c) for c in self.coefficients))


def _value_error(i: FloatValue, computed: float, bits: int) -> Enclosure:
    x = lift(Fraction(float(i.x)), bits)
    truth = evaluated(rational(i.coefficients), x) * (-x).exp()
    return abs(lift(Fraction(computed), bits) - truth)


def _float_value_sample(rng: np.random.Generator) -> FloatValue:
    order = int(rng.integers(0, 20))
    c = tuple(float(f) * (1 + rng.normal(0, 0.1)) for f in taylor(order))
    return FloatValue(np.float64(rng.uniform(-6, 6)), c)


FP_POLYNOMIAL = Claim[FloatValue](
    id="FP.polynomial",
    where="ours",
    statement=(
        "P(x)e^{-x} computed by Horner's rule and one exp errs by at most gamma_k times the computed "
        "P_abs(|x|)e^{-x}, k = 4 degree + 16 in float64: 2 degree + 3 roundings of the value, as many of the "
        "yardstick, and room for an exp within FP.exp."
    ),
    not_stated="That numpy's exp errs by at most 2 u, which is FP.exp.",
    assumes=(
        Hypothesis(
            "the value is finite and normal",
            lambda i: bool(
                np.isfinite(i.absolute) and i.absolute >= float(ARITHMETIC["float64"].tiny)
            ),
            mirrors=("evaluates", "evaluates (2)"),
        ),
        Hypothesis(
            "(4 degree + 16) u <= 1/4",
            lambda i: i.roundings * _U <= Fraction(1, 4),
            mirrors=("INR k * u < 1",),
        ),
    ),
    bounds=(
        Bound(
            name="grid_value_error",
            meaning="the error of a computed value of P(x)e^{-x}",
            arguments=(absolute, roundings, unit_roundoff),
            expression=absolute * gamma(roundings),
            provided=roundings * unit_roundoff < 1,
            points=((3, 40, sympy.Rational(1, 2**53)),),
            quantity=lambda i, bits: _value_error(i, float(i.value(i.coefficients)), bits),
            parameters=lambda i, bits: {
                "absolute": Fraction(float(i.absolute)),
                "roundings": i.roundings,
                "unit_roundoff": _U,
            },
            # Zero.
            trivial=lambda i, bits: _value_error(i, 0.0, bits),
            extremal=lambda: FloatValue(np.float64(-1.0), (1.0, 1.0, 0.5)),
            theorem="fp_grid_value",
        ),
    ),
    witness=lambda: FloatValue(np.float64(-0.75), (1.0, 1.0, 0.5)),
    sample=_float_value_sample,
)

# ------------------------------------------------------------------------------------ FP.moments


@dataclass(frozen=True)
class ComputedQuotient:
    """One query, keys and a value column, and what some arithmetic made of both sums and the quotient.

    ``rounding`` bounds the sum of the unit roundoffs that a term passes through.
    """

    q: Array
    K: Array
    v: Array
    coefficients: Coefficients
    centre: Array
    rounding: Fraction
    numerator: Fraction
    denominator: Fraction
    quotient: Fraction

    @property
    def logits(self) -> list[Fraction]:
        """The exact q·(k_j − c)."""
        return [_inner(self.q, k, self.centre) for k in self.K]

    @property
    def weights(self) -> list[Fraction]:
        """The exact P(q·(k_j − c))."""
        return [_value(self.coefficients, x) for x in self.logits]

    @property
    def size(self) -> Fraction:
        """A = Σ_j P_abs(Σ_l |q_l| |k_jl − c_l|)."""
        c = tuple(abs(a) for a in self.coefficients)
        return sum(
            (
                _value(
                    c,
                    sum(
                        (
                            abs(Fraction(float(a)) * (Fraction(float(b)) - Fraction(float(o))))
                            for a, b, o in zip(self.q, k, self.centre, strict=True)
                        ),
                        Fraction(0),
                    ),
                )
                for k in self.K
            ),
            Fraction(0),
        )

    @property
    def magnitude(self) -> Fraction:
        """The largest |v_j|."""
        return max(abs(Fraction(float(x))) for x in self.v)


def _inner(q: Array, k: Array, centre: Array) -> Fraction:
    return sum(
        (
            Fraction(float(a)) * (Fraction(float(b)) - Fraction(float(c)))
            for a, b, c in zip(q, k, centre, strict=True)
        ),
        Fraction(0),
    )


def _value(coefficients: Coefficients, x: Fraction) -> Fraction:
    return sum((c * x**m for m, c in enumerate(coefficients)), Fraction(0))


def _sums(i: ComputedQuotient) -> tuple[Fraction, Fraction]:
    """Return the exact numerator and denominator."""
    values = [Fraction(float(x)) for x in i.v]
    return (
        sum((w * x for w, x in zip(i.weights, values, strict=True)), Fraction(0)),
        sum(i.weights, Fraction(0)),
    )


def _obeys_the_model(i: ComputedQuotient) -> bool:
    N, D = _sums(i)
    reach = i.rounding / (1 - i.rounding) * i.size
    small = ARITHMETIC["float64"].tiny
    return (
        i.denominator > 0
        and abs(i.denominator - D) <= reach
        and abs(i.numerator - N) <= reach * i.magnitude
        and abs(i.quotient - i.numerator / i.denominator) <= _U * abs(i.quotient) + small
    )


def _quotient_error(i: ComputedQuotient, computed: Fraction, bits: int) -> Enclosure:
    N, D = _sums(i)
    return lift(abs(computed - N / D), bits)


def _moment_parameters(i: ComputedQuotient, bits: int) -> Mapping[str, Value]:
    return {
        "magnitude": i.magnitude,
        "rounding": i.rounding,
        "amplification": i.size / i.denominator,
        "underflow": 0,
        "quotient": i.quotient,
        "unit_roundoff": _U,
        "tiny": ARITHMETIC["float64"].tiny,
    }


def computed_by_moments(
    q: Array, K: Array, v: Array, order: int, centre: Array
) -> ComputedQuotient:
    """Compute one output by moments in float64, monomial after monomial, as numpy users would.

    A term of degree m passes through m subtractions, m - 1 products of the key's monomial, one with the
    value, n - 1 additions over keys, m - 1 products of the query's monomial, three with multinomial,
    coefficient and moment, and t - 1 additions over monomials: fewer than 3 order + n + t + 4.
    """
    coefficients = np.array([float(c) for c in taylor(order)])
    from_centre, extended = K - centre, np.stack([v, np.ones_like(v)], axis=1)
    total, t = np.zeros(2), comb(len(q) + order, order)
    for a in exponents(len(q), order):
        moment = (np.prod(from_centre**a, axis=1)[:, None] * extended).sum(axis=0)
        multinomial = factorial(sum(a)) // prod(factorial(m) for m in a)
        total += coefficients[sum(a)] * multinomial * np.prod(q**a) * moment
    return ComputedQuotient(
        q,
        K,
        v,
        tuple(Fraction(c) for c in coefficients),
        centre,
        (3 * order + len(v) + t + 4) * _U,
        Fraction(total[0]),
        Fraction(total[1]),
        Fraction(total[0] / total[1]),
    )


def _computed_sample(rng: np.random.Generator) -> ComputedQuotient:
    n, d, order = int(rng.integers(1, 9)), int(rng.integers(1, 4)), 2 * int(rng.integers(1, 4))
    q, K = rng.uniform(-1, 1, d), rng.uniform(-1, 1, (n, d))
    return computed_by_moments(q, K, rng.normal(0, 1, n), order, K.mean(axis=0))


def _worst_sums() -> ComputedQuotient:
    """Give one key of weight 1 and value 1, its two sums off by all that the model allows."""
    share = Fraction(1, 2**12)
    off = share / (1 - share)
    N, D = 1 + off, 1 - off
    return ComputedQuotient(
        np.zeros(1), np.zeros((1, 1)), np.ones(1), taylor(2), np.zeros(1), share, N, D, N / D
    )


FP_MOMENTS = Claim[ComputedQuotient](
    id="FP.moments",
    where="ours",
    statement=(
        "Both sums of polynomial attention, by moments or directly, in any order, err by at most R/(1-R) "
        "times the sum of their terms' magnitudes, R the sum of the unit roundoffs that a term passes "
        "through; the output by 2 max|V| (R/(1-R) amplification + underflow) + u|quotient| + tiny, with "
        "amplification = sum_j P_abs(|q|.|k_j - c|) / computed denominator <= n P_abs(|q| reach) / "
        "computed denominator: about e^{2 half_range} R."
    ),
    not_stated=(
        "That a given BLAS obeys the model: conformance tests it on every output. Each algorithm counts its "
        "own R."
    ),
    assumes=(
        Hypothesis(
            "P is positive at every logit", lambda i: min(i.weights) > 0, mirrors=("positive",)
        ),
        Hypothesis(
            "0 <= rounding <= 1/4",
            lambda i: 0 <= i.rounding <= Fraction(1, 4),
            mirrors=("rho < 1",),
        ),
        Hypothesis(
            "both sums and the quotient obey the model of rounding",
            _obeys_the_model,
            mirrors=(
                "evaluates",
                "evaluates (2)",
                "0 < D",
                "Rabs (out - N / D) <= u * Rabs out + tiny",
            ),
        ),
    ),
    bounds=(
        Bound(
            name="moments_output",
            meaning="the error of polynomial attention, as computed",
            arguments=(
                magnitude,
                rounding,
                amplification,
                underflow,
                quotient,
                unit_roundoff,
                tiny,
            ),
            expression=2 * magnitude * (rounding / (1 - rounding) * amplification + underflow)
            + unit_roundoff * sympy.Abs(quotient)
            + tiny,
            domain={rounding: BELOW_ONE},
            points=(
                (
                    2,
                    sympy.Rational(1, 1000),
                    3,
                    sympy.Rational(1, 2**60),
                    sympy.Rational(-7, 5),
                    sympy.Rational(1, 2**53),
                    sympy.Rational(1, 2**1022),
                ),
            ),
            quantity=lambda i, bits: _quotient_error(i, i.quotient, bits),
            parameters=_moment_parameters,
            # Zero.
            trivial=lambda i, bits: _quotient_error(i, Fraction(0), bits),
            extremal=_worst_sums,
            theorem="fp_moments_output",
        ),
    ),
    witness=lambda: computed_by_moments(
        np.array([0.5, -0.25]),
        np.array([[1.0, 0.3], [0.2, -1.0], [-0.7, 0.1]]),
        np.array([1.0, -2.0, 0.7]),
        4,
        np.array([0.1, 0.0]),
    ),
    sample=_computed_sample,
)

CLAIMS = (FP_POLYNOMIAL, FP_MOMENTS)
