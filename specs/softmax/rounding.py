r"""FP: what rounding does to softmax attention in IEEE arithmetic, summed in any order.

The computation.  For one query row: logits ``s_j = fl(q . k_j)``; weights ``w_j = fl(exp(fl(s_j -
m)))`` with a shift m (the running maximum, or 0 where the logits are known to be small), possibly
rescaled when m grows; ``quotient = fl(fl(sum w_j v_j) / fl(sum w_j))``.  Sums may run in any order
and in any blocking, with or without fused multiply-add: only the number k of roundings that a term
passes through matters.

The model.  ``fl(a op b) = (a op b)(1 + delta)``, ``|delta| <= u``; a product or quotient may lose
``tiny`` more to underflow, an addition may not; ``np.exp`` errs by at most ``exp_error`` u
(claim FP.exp) above the underflow threshold.  Same shape as Blanchard, Higham and Higham, Accurately
computing the log-sum-exp and softmax functions, IMA J. Numer. Anal. 41(4), 2021; their bounds are
to first order in u, ours have every term.

NOTE The shift costs nothing by itself: it cancels in the quotient.  What it costs is the rounding
of ``s_j - m``, which is relative to that difference: u times the reach ``m - min s_j``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, attention
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.symbols import (
    dimension,
    exp_error,
    exponentials,
    logit_error,
    logit_magnitude,
    magnitude,
    quotient,
    reach,
    spread,
    terms,
    tiny,
    underflow,
    unit_roundoff,
    weight_error,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class Arithmetic:
    """The constants of one floating-point type.

    Attributes
    ----------
    unit_roundoff
        u, half the distance from 1 to the next number.
    tiny
        The smallest normal number.  Gradual underflow loses less than half of it (fp_model_tiny),
        an exponential that is flushed to zero at most all of it.
    exp_error
        Bound on numpy's exp error, in units of u relative to the result (claim FP.exp).
    tanh_error
        Bound on numpy's tanh error, likewise (claim FP.tanh).
    """

    unit_roundoff: Fraction
    tiny: Fraction
    exp_error: Fraction
    tanh_error: Fraction


#: numpy documents 0.77 ulp (float64) and 2.52 ulp (float32) for its own SIMD kernels, at most 1.54 u
#: and 5.04 u; see EXP_WORST_ARGUMENT for the largest errors seen.
ARITHMETIC = {
    "float32": Arithmetic(Fraction(1, 2**24), Fraction(1, 2**126), Fraction(6), Fraction(6)),
    "float64": Arithmetic(Fraction(1, 2**53), Fraction(1, 2**1022), Fraction(2), Fraction(6)),
}


def gamma(roundings: sympy.Expr) -> sympy.Expr:
    """Return ku/(1 - ku), which bounds the relative effect of k roundings."""
    return roundings * unit_roundoff / (1 - roundings * unit_roundoff)


# -------------------------------------------------------------------------------------- FP.exp


@dataclass(frozen=True)
class ExpPoint:
    """An argument of numpy's exp in one floating-point type."""

    argument: np.floating[Any]

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the argument's type."""
        return ARITHMETIC[self.argument.dtype.name]


#: The worst of 40 million random float32 arguments in [-87, 80] with numpy 2.4 on AVX-512: 3.57 u.
#: The worst of 4 million float64 arguments in [-700, 88], -0x1.709c6c7adadc8p+6, errs by 1.18 u.
EXP_WORST_ARGUMENT = float.fromhex("-0x1.f03c6ep+5")


def _exp_exactly(argument: Array, bits: int) -> Enclosure:
    return Enclosure.exact(argument, bits).exp()


def _exp_relative_error(i: ExpPoint, bits: int) -> Enclosure:
    exact = _exp_exactly(np.array(i.argument), bits)
    return abs(Enclosure.exact(np.array(np.exp(i.argument)), bits) - exact) / exact


FP_EXP = Claim[ExpPoint](
    id="FP.exp",
    where="ours",
    statement=(
        "numpy's exp errs by at most exp_error u relative to e^t where the result is a normal "
        "number: exp_error = 2 in float64, 6 in float32."
    ),
    not_stated=(
        "A property of a library on a machine: measured, with margin, not proved. Below the normal "
        "range only an absolute error of tiny is used."
    ),
    assumes=(
        Hypothesis(
            "exp(t) lies in the normal range",
            lambda i: i.arithmetic.tiny <= Fraction(float(np.exp(i.argument))) < Fraction(2) ** 120,
        ),
    ),
    bounds=(
        Bound(
            name="rounding_exp",
            meaning="the relative error of numpy's exp",
            arguments=(exp_error, unit_roundoff),
            expression=exp_error * unit_roundoff,
            points=((6, sympy.Rational(1, 2**24)),),
            quantity=_exp_relative_error,
            parameters=lambda i, bits: {
                "exp_error": i.arithmetic.exp_error,
                "unit_roundoff": i.arithmetic.unit_roundoff,
            },
            trivial=lambda i, bits: (
                abs(Enclosure.exact(np.array(1.0), bits) - _exp_exactly(np.array(i.argument), bits))
                / _exp_exactly(np.array(i.argument), bits)
            ),
            extremal=lambda: ExpPoint(np.float32(EXP_WORST_ARGUMENT)),
        ),
    ),
    witness=lambda: ExpPoint(np.float32(-1.75)),
    sample=lambda rng: ExpPoint(
        (np.float32, np.float64)[rng.integers(2)](
            rng.choice([-1, 1, -30, 30, -80, 80]) * rng.random()
        )
    ),
)

# ---------------------------------------------------------------------------------- FP.softmax


@dataclass(frozen=True)
class FloatRow:
    """One query row and one value column with everything that was computed on the way.

    The inputs are exact; ``logits``, ``weights`` and ``quotient`` are what floating point gave.
    """

    query: Array
    keys: Array
    values: Array
    logits: Array
    weights: Array
    quotient: np.floating[Any]

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the row's type."""
        return ARITHMETIC[self.query.dtype.name]

    @property
    def shift(self) -> np.floating[Any]:
        """The row maximum that was subtracted."""
        largest: np.floating[Any] = self.logits.max()
        return largest


def numpy_row(query: Array, keys: Array, values: Array) -> FloatRow:
    """Compute a row as numpy users do: BLAS order, max shift."""
    logits = keys @ query
    weights = np.exp(logits - logits.max())
    return FloatRow(query, keys, values, logits, weights, (weights @ values) / weights.sum())


def sequential_row(query: Array, keys: Array, values: Array) -> FloatRow:
    """Compute a row with every sum taken from left to right: the order that loses most."""
    logits = np.cumsum(keys * query, axis=1, dtype=query.dtype)[:, -1]
    weights = np.exp(logits - logits.max())
    numerator = np.cumsum(weights * values, dtype=query.dtype)[-1]
    denominator = np.cumsum(weights, dtype=query.dtype)[-1]
    return FloatRow(query, keys, values, logits, weights, numerator / denominator)


def _exact_logits(i: FloatRow, bits: int) -> Enclosure:
    return Enclosure.exact(i.keys, bits) @ Enclosure.exact(i.query, bits)


def _logit_error(i: FloatRow, bits: int) -> Enclosure:
    return abs(Enclosure.exact(i.logits, bits) - _exact_logits(i, bits)).max()


def _logit_parameters(i: FloatRow, bits: int) -> Mapping[str, Value]:
    products = Enclosure.exact(np.abs(i.keys), bits) @ Enclosure.exact(np.abs(i.query), bits)
    return {
        "dimension": len(i.query),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "logit_magnitude": products.max(),
        "tiny": i.arithmetic.tiny,
    }


def _weight_error(i: FloatRow, bits: int) -> Enclosure:
    """Enclose max_j |ln(computed weight) - (exact logit - shift)| over weights that are normal."""
    normal = i.weights >= float(i.arithmetic.tiny)
    # The radius is absolute, and the smallest weight may be tiny.
    bits += i.arithmetic.tiny.denominator.bit_length()
    exact = _exact_logits(i, bits)[normal] - Enclosure.exact(np.array(i.shift), bits)
    return abs(Enclosure.exact(i.weights[normal], bits).log() - exact).max()


def _weight_parameters(i: FloatRow, bits: int) -> Mapping[str, Value]:
    return {
        "logit_error": _logit_error(i, bits),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "reach": Fraction(float(i.shift)) - Fraction(float(i.logits.min())),
        "exp_error": i.arithmetic.exp_error,
        "exponentials": 1,
    }


def _row_output(i: FloatRow, bits: int) -> Enclosure:
    return attention(i.query[None, :], i.keys, i.values[:, None], precision=bits)


def _output_parameters(i: FloatRow, bits: int) -> Mapping[str, Value]:
    values = [Fraction(float(v)) for v in i.values]
    return {
        "weight_error": _weight_error(i, bits),
        "spread": max(values) - min(values),
        "magnitude": max(abs(v) for v in values),
        "quotient": Fraction(float(i.quotient)),
        "terms": len(values),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        # One lost exp and one lost product a key, in the sum of values and in the sum of weights.
        "underflow": 8 * len(values) * i.arithmetic.tiny,
        "tiny": i.arithmetic.tiny,
    }


def _mid_range(i: FloatRow, bits: int) -> Enclosure:
    """Enclose the error of the answer that ignores query and keys: the middle of the values."""
    middle = (
        Enclosure.exact(np.array(float(i.values.max())), bits)
        + Enclosure.exact(np.array(float(i.values.min())), bits)
    ) / Enclosure.exact(np.array(2.0), bits)
    return abs(middle - _row_output(i, bits)).max()


def _lost_products() -> FloatRow:
    """Give a dot product 1 + u + u + ... that loses every term but the first, from left to right."""
    query = np.full(512, 2.0**-24, np.float32)
    query[0] = 1
    return sequential_row(query, np.ones((1, 512), np.float32), np.ones(1, np.float32))


def rounded_shift() -> tuple[Array, Array, Array]:
    """Return a query, keys and values of which a logit difference is just above 512.

    Its rounding error is nearly u times itself.
    """
    query = np.array([1.0, 2.0**-44])
    keys = np.array([[0.0, 1.0], [-512.0, 0.0]])
    return query, keys, np.array([1.0, -1.0])


def lost_weights(count: int) -> tuple[Array, Array, Array]:
    """Return a query, keys and values of weights 1, u, u, ...: sums from the left keep only the first."""
    query = np.array([1.0], np.float32)
    keys = np.full((count, 1), np.log(2.0**-24) - 1e-5, np.float32)
    keys[0] = 0
    values = np.ones(count, np.float32)
    values[0] = -1 - 2.0**-12  # just beyond 1, where the numbers lie twice as far apart
    return query, keys, values


def _sample_row(rng: np.random.Generator) -> FloatRow:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n, d = int(rng.integers(1, 40)), int(rng.integers(1, 40))
    size = rng.choice([0.1, 1.0, 4.0])
    query = (size * rng.standard_normal(d)).astype(dtype)
    keys = rng.standard_normal((n, d)).astype(dtype)
    return numpy_row(query, keys, rng.standard_normal(n).astype(dtype))


def _finite_row(i: FloatRow) -> bool:
    arrays = (i.query, i.keys, i.values, i.logits, i.weights, np.array(i.quotient))
    return all(bool(np.isfinite(a).all()) for a in arrays)


def _few_roundings(i: FloatRow) -> bool:
    return Fraction(max(i.keys.shape)) * i.arithmetic.unit_roundoff <= Fraction(1, 4)


FP_SOFTMAX = Claim[FloatRow](
    id="FP.softmax",
    where="ours",
    statement=(
        "Floating-point softmax attention, any order of summation: logits err by gamma_d |q|.|k| + d tiny; "
        "weights by e^{+-theta}, theta = logit error + u reach + c exp_error u/(1 - exp_error u); outputs by "
        "spread tanh(theta/2) + (gamma_k + underflow)(max|V| + (1+u)|quotient|) + u|quotient| + 3 tiny."
    ),
    not_stated=(
        "That a given BLAS obeys the model: conformance tests it on every output. Fused multiply-add "
        "and extended accumulators only help. Strassen-like products are outside the model."
    ),
    assumes=(
        Hypothesis(
            "every input is finite, and so is what rounded arithmetic, sums in any order, made of them",
            _finite_row,
            mirrors=(
                "adds",
                "computes",
                "computed_weight",
                "Rabs (N - dot n b v) <= (gamma k u + underflow) * (M * fsum n b)",
                "Rabs (Dn - fsum n b) <= (gamma k u + underflow) * fsum n b",
                "Rabs (q - N / Dn) <= u * Rabs q + tiny",
                "Rabs (out - q) <= tiny",
            ),
        ),
        Hypothesis(
            "max(n, d) u <= 1/4",
            _few_roundings,
            mirrors=(
                "INR d * u <= 1 / 2",
                "exp_error * u < 1",
                "INR k * u < 1",
                "gamma k u + underflow <= 1",
            ),
        ),
    ),
    bounds=(
        Bound(
            name="rounding_logit",
            meaning="the error of a computed logit",
            arguments=(dimension, unit_roundoff, logit_magnitude, tiny),
            expression=gamma(dimension) * logit_magnitude + dimension * tiny,
            provided=dimension * unit_roundoff < 1,
            points=((64, sympy.Rational(1, 2**24), 12, sympy.Rational(1, 2**126)),),
            quantity=_logit_error,
            parameters=_logit_parameters,
            trivial=lambda i, bits: abs(_exact_logits(i, bits)).max(),
            extremal=_lost_products,
            theorem="fp_logit",
        ),
        Bound(
            name="rounding_weight",
            meaning="the error of the logarithm of a computed weight",
            arguments=(logit_error, unit_roundoff, reach, exp_error, exponentials),
            expression=logit_error
            + unit_roundoff * reach
            + exponentials * exp_error * unit_roundoff / (1 - exp_error * unit_roundoff),
            provided=exp_error * unit_roundoff < 1,
            points=((sympy.Rational(1, 1000), sympy.Rational(1, 2**24), 30, 6, 2),),
            quantity=_weight_error,
            parameters=_weight_parameters,
            trivial=lambda i, bits: abs(
                _exact_logits(i, bits) - Enclosure.exact(np.array(i.shift), bits)
            ).max(),
            extremal=lambda: sequential_row(*rounded_shift()),
            theorem="fp_weight",
        ),
        Bound(
            name="rounding_output",
            meaning="the error of a computed attention output",
            arguments=(
                weight_error,
                spread,
                magnitude,
                quotient,
                terms,
                unit_roundoff,
                underflow,
                tiny,
            ),
            expression=spread * sympy.tanh(weight_error / 2)
            + (gamma(terms) + underflow) * (magnitude + (1 + unit_roundoff) * sympy.Abs(quotient))
            + unit_roundoff * sympy.Abs(quotient)
            + 3 * tiny,
            provided=terms * unit_roundoff < 1,
            points=(
                (
                    sympy.Rational(1, 1000),
                    3,
                    2,
                    sympy.Rational(-7, 5),
                    256,
                    sympy.Rational(1, 2**24),
                    sympy.Rational(1, 2**60),
                    sympy.Rational(1, 2**126),
                ),
            ),
            quantity=lambda i, bits: abs(
                Enclosure.exact(np.array(i.quotient), bits) - _row_output(i, bits)
            ).max(),
            parameters=_output_parameters,
            trivial=_mid_range,
            extremal=lambda: sequential_row(*lost_weights(4096)),
            theorem="fp_output",
        ),
    ),
    witness=lambda: numpy_row(
        np.array([1.0, -0.5]),
        np.array([[1.0, 0.25], [0.3, 2.0], [-1.0, 0.7]]),
        np.array([1.0, -2.0, 0.7]),
    ),
    sample=_sample_row,
    recomputed=lambda i: sequential_row(i.query, i.keys, i.values),
)

CLAIMS = (FP_EXP, FP_SOFTMAX)
