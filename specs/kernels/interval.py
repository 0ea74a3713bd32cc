r"""FP.kernel: what an attention kernel of a declared arithmetic may return.

The computation.  From scores s_j a kernel makes weights ``W_j = C p_j e^{xi_j}``, p the softmax of the s_j
and C whatever it shifts by, with |xi_j| <= theta_j; its numerator is ``sum_j W_j v_j (1 + eta_j)``, its
denominator ``sum_j W_j (1 + eta'_j)``, with |eta_j| <= g_N and |eta'_j| <= g_D < 1.  What rounds to which
format decides theta, g_N and g_D; the order of sums, blocks and splits only decide how many roundings a
term passes through.
With o = sum p v the numerator less o times the denominator is

    sum W_j (v_j - o) + sum eta_j W_j v_j - o sum eta'_j W_j,      and      sum p_j (v_j - o) = 0,

so that the first sum is one of W_j - C p_j.  Rounding to the output's format is monotone: a kernel of that
arithmetic returns a number of [fl(o - B), fl(o + B)], and one that does not is not of that arithmetic.

NOTE Lost to underflow are absolute amounts, in units of the sum of the W_j = C p_j e^{xi_j} with C = 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.symbols import (
    POSITIVE,
    UP_TO_HALF,
    denominator_error,
    denominator_lost,
    deviation_sum,
    error_squares,
    excess,
    first_roundoff,
    largest_sum,
    magnitude,
    numerator_error,
    numerator_lost,
    output_magnitude,
    second_roundoff,
    shift,
    smallest_sum,
    spread,
    terms,
    third_roundoff,
    unit_roundoff,
    value_sum,
    variance,
)

Array = NDArray[Any]

#: The unit roundoffs of formats, by their names.
UNIT_ROUNDOFF = {
    "float32": Fraction(1, 2**24),
    "tf32": Fraction(1, 2**11),
    "float16": Fraction(1, 2**11),
    "bfloat16": Fraction(1, 2**8),
    "float8_e4m3fn": Fraction(1, 2**4),
    "float8_e5m2": Fraction(1, 2**3),
}


@dataclass(frozen=True)
class KernelRow:
    """One query row and one value column of a kernel, with everything that was computed on the way.

    Scores and values are exact; ``weights`` are exponentials in float32, ``rounded`` the same in ``low``, or
    the same where that is None; ``quotient`` is what float32 gave for their sums.
    """

    scores: Array
    values: Array
    weights: Array
    rounded: Array
    numerator: np.float32
    denominator: np.float32
    quotient: np.float32
    low: str | None

    @property
    def low_roundoff(self) -> Fraction:
        """The unit roundoff of the weights' format."""
        return Fraction(0) if self.low is None else UNIT_ROUNDOFF[self.low]


def nearest(x: Array, precision: int) -> Array:
    """Round numbers of the normal range to so many significant bits, ties to even."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    rounded: Array = np.ldexp(np.rint(np.ldexp(mantissa, precision)), exponent - precision)
    return rounded


def kernel_row(scores: Array, values: Array, low: str | None) -> KernelRow:
    """Compute a row with sums from left to right in float32, and weights rounded to ``low``."""
    with np.errstate(under="ignore"):
        weights = np.exp((scores - scores.max()).astype(np.float32))
    return weighted_row(scores, values, weights, low)


def weighted_row(scores: Array, values: Array, weights: Array, low: str | None) -> KernelRow:
    """Compute a row of which the weights are given."""
    rounded = weights
    if low is not None:
        precision = UNIT_ROUNDOFF[low].denominator.bit_length() - 1
        rounded = nearest(weights, precision).astype(np.float32)
    numerator = np.cumsum(rounded * values.astype(np.float32), dtype=np.float32)[-1]
    denominator = np.cumsum(weights, dtype=np.float32)[-1]
    return KernelRow(
        scores, values, weights, rounded, numerator, denominator, numerator / denominator, low
    )


def _softmax(i: KernelRow, bits: int) -> Enclosure:
    weights = (Enclosure.exact(i.scores, bits) - _number(i.scores.max(), bits)).exp()
    return weights / weights.sum()


def _number(x: Any, bits: int) -> Enclosure:
    return Enclosure.exact(np.array(float(x)), bits)


def _output(i: KernelRow, bits: int) -> Enclosure:
    return (_softmax(i, bits) * Enclosure.exact(i.values, bits)).sum()


def _thetas(i: KernelRow, bits: int) -> Enclosure:
    """Enclose |xi_j|: what the logarithms of the weights are off by."""
    shifted = Enclosure.exact(i.scores, bits) - _number(i.scores.max(), bits)
    return abs(Enclosure.exact(i.weights, bits).log() - shifted)


def _kernel_error(i: KernelRow, bits: int) -> Enclosure:
    return abs(_number(i.quotient, bits) - _output(i, bits))


def factor(roundings: int, u: Fraction, *others: Fraction) -> Fraction:
    """Return what so many roundings, and one to each of other formats, make of a factor at most."""
    grown = 1 / (1 - roundings * u)
    for other in others:
        grown *= 1 + other
    return grown - 1


def _errors(i: KernelRow) -> tuple[Fraction, Fraction]:
    """Return g_N and g_D; the quotient is one rounding of every term of the numerator."""
    u = UNIT_ROUNDOFF["float32"]
    return factor(len(i.values) + 1, u, i.low_roundoff), factor(len(i.values), u)


def _output_parameters(i: KernelRow, bits: int) -> Mapping[str, Value]:
    p, theta = _softmax(i, bits), _thetas(i, bits)
    values, grown, one = Enclosure.exact(i.values, bits), theta.exp(), _number(1.0, bits)
    numerator, denominator = _errors(i)
    return {
        "deviation_sum": (p * (grown - one) * abs(values - _output(i, bits))).sum(),
        "value_sum": (p * grown * abs(values)).sum(),
        "largest_sum": (p * grown).sum(),
        "smallest_sum": (p / grown).sum(),
        "numerator_error": numerator,
        "denominator_error": denominator,
        "output_magnitude": abs(_output(i, bits)),
        "numerator_lost": Fraction(0),
        "denominator_lost": Fraction(0),
    }


def _range_parameters(i: KernelRow, bits: int) -> Mapping[str, Value]:
    numerator, denominator = _errors(i)
    o = _output(i, bits)
    return {
        "spread": abs(Enclosure.exact(i.values, bits) - o).max(),
        "magnitude": Fraction(float(np.abs(i.values).max())),
        "output_magnitude": abs(o),
        "numerator_error": numerator,
        "denominator_error": denominator,
        "denominator_lost": Fraction(0),
    }


def _factor_error(i: KernelRow, bits: int) -> Enclosure:
    """Enclose what the numerator is off by from the weights' own, relative to the sum of the terms' sizes."""
    terms_of = Enclosure.exact(i.weights, bits) * Enclosure.exact(i.values, bits)
    return abs(_number(i.numerator, bits) - terms_of.sum()) / abs(terms_of).sum()


def _factor_parameters(i: KernelRow, bits: int) -> Mapping[str, Value]:
    return {
        "terms": len(i.values),
        "unit_roundoff": UNIT_ROUNDOFF["float32"],
        "first_roundoff": i.low_roundoff,
        "second_roundoff": Fraction(0),
        "third_roundoff": Fraction(0),
    }


def _mid_range(i: KernelRow, bits: int) -> Enclosure:
    """Enclose the error of the answer that ignores the scores: the middle of the values."""
    middle = (Fraction(float(i.values.max())) + Fraction(float(i.values.min()))) / 2
    return abs(lift(middle, bits) - _output(i, bits))


def _weights_rounded_up() -> KernelRow:
    """Give weights just above the middle between two bfloat16 numbers: all are rounded up by nearly u."""
    u = 2.0**-8
    scores = np.full(32, np.log(0.5 * (1 + u) * (1 + u / 1024)))
    scores[0] = 0
    values = np.ones(32)
    values[0] = 0
    return kernel_row(scores, values, "bfloat16")


def lost_weights() -> KernelRow:
    """Give weights 1, u, u, ... of which the sums keep the first only."""
    scores = np.full(4096, np.log(2.0**-24) - 1e-5)
    scores[0] = 0
    values = np.ones(4096)
    values[0] = -1 - 2.0**-12
    return kernel_row(scores, values, None)


def _sample_row(rng: np.random.Generator) -> KernelRow:
    n = int(rng.integers(1, 40))
    scores = rng.choice([0.1, 1.0, 4.0]) * rng.standard_normal(n)
    offset = rng.choice([0.0, 9.0])  # values far from 0 beside their spread, too
    values = (offset + rng.standard_normal(n)).astype(np.float32).astype(np.float64)
    low = (None, "bfloat16", "float16", "tf32", "float8_e4m3fn", "float8_e5m2")[rng.integers(6)]
    return kernel_row(scores, values, low)


def _mistaken() -> KernelRow:
    """Give weights that are those of other scores altogether."""
    return weighted_row(
        np.array([0.0, -60.0]),
        np.array([1.0, -1.0]),
        np.array([2.0**-100, 1.0], np.float32),
        None,
    )


def _normal_row(i: KernelRow) -> bool:
    products = np.abs(i.rounded.astype(np.float64) * i.values)
    normal = (i.weights >= 2.0**-126).all() and ((i.values == 0) | (products >= 2.0**-126)).all()
    return bool(normal) and all(
        bool(np.isfinite(x).all())
        for x in (i.scores, i.values, i.weights, i.rounded, np.array(i.quotient))
    )


_finite = Hypothesis[KernelRow](
    "every input and every intermediate result is finite, and no weight, nor one times a value other than 0, "
    "is below the normal range",
    _normal_row,
    mirrors=(
        "kernel_weights",
        "Rabs (N - fsum n (fun j : nat => W j * v j)) <= gN * fsum n (fun j : nat => "
        "W j * Rabs (v j)) + lN",
        "Rabs (D - fsum n W) <= gD * fsum n W + lD",
    ),
)
_single = Hypothesis[KernelRow](
    "every value is 0 or a normal number of float32",
    lambda i: bool(
        (i.values == i.values.astype(np.float32)).all()
        and ((i.values == 0) | (np.abs(i.values) >= 2.0**-60)).all()
    ),
    mirrors=("lN <= lD * M",),
)
_few = Hypothesis[KernelRow](
    "(n + 1) u <= 1/4",
    lambda i: (len(i.values) + 1) * UNIT_ROUNDOFF["float32"] <= Fraction(1, 4),
    mirrors=("INR k * u < 1", "0 <= gD < 1"),
)

_eighth = sympy.Rational(1, 8)
_tiny_points = (sympy.Rational(1, 2**100), sympy.Rational(1, 2**101))

FP_KERNEL = Claim[KernelRow](
    id="FP.kernel",
    where="ours",
    statement=(
        "A kernel whose weights are p_j e^{xi_j} up to a factor, |xi_j| <= theta_j, whose numerator's "
        "terms err by g_N and whose denominator's err by g_D returns a number of [fl(o - B), fl(o + "
        "B)], B = [sum p_j (e^theta_j - 1)|v_j - o| + g_N sum p_j e^theta_j |v_j| + g_D |o| sum p_j "
        "e^theta_j + what underflow takes] / [(1 - g_D) sum p_j e^-theta_j - what underflow takes]; "
        "and never leaves (max|v - o| + g_N max|v| + g_D |o|)/(1 - g_D), whatever theta. k roundings "
        "in any order and one to each of three formats are a g of (1 + r1)(1 + r2)(1 + r3)/(1 - k u) "
        "- 1."
    ),
    not_stated=(
        "That a kernel is of an arithmetic: a violation proves that it is not, the absence of one proves "
        "nothing. Matrix units that truncate are outside it."
    ),
    assumes=(_finite, _single, _few),
    bounds=(
        Bound(
            name="kernel_factor",
            meaning="the relative effect of roundings, of which three are to other formats",
            arguments=(terms, unit_roundoff, first_roundoff, second_roundoff, third_roundoff),
            # (1 + r1)(1 + r2)(1 + r3)/(1 - k u) - 1, with nothing that cancels.
            expression=(
                terms * unit_roundoff
                + first_roundoff
                + (1 + first_roundoff) * second_roundoff
                + (1 + first_roundoff) * (1 + second_roundoff) * third_roundoff
            )
            / (1 - terms * unit_roundoff),
            provided=terms * unit_roundoff < 1,
            points=((64, sympy.Rational(1, 2**24), sympy.Rational(1, 2**8), 0, 0),),
            quantity=_factor_error,
            parameters=_factor_parameters,
            trivial=lambda i, bits: _number(1.0, bits),
            extremal=_weights_rounded_up,
            theorem="fp_kernel_factor",
        ),
        Bound(
            name="kernel_output",
            meaning="the error of a kernel's output before it is rounded",
            arguments=(
                deviation_sum,
                value_sum,
                largest_sum,
                smallest_sum,
                numerator_error,
                denominator_error,
                output_magnitude,
                numerator_lost,
                denominator_lost,
            ),
            expression=(
                deviation_sum
                + numerator_error * value_sum
                + numerator_lost
                + output_magnitude * (denominator_error * largest_sum + denominator_lost)
            )
            / ((1 - denominator_error) * smallest_sum - denominator_lost),
            domain={denominator_error: UP_TO_HALF, smallest_sum: POSITIVE},
            provided=4 * denominator_lost <= smallest_sum,
            points=(
                (
                    sympy.Rational(1, 100),
                    3,
                    sympy.Rational(101, 100),
                    sympy.Rational(99, 100),
                    sympy.Rational(1, 200),
                    sympy.Rational(1, 1000),
                    2,
                    *_tiny_points,
                ),
            ),
            quantity=_kernel_error,
            parameters=_output_parameters,
            trivial=_mid_range,
            extremal=lost_weights,
            theorem="fp_kernel_output",
        ),
        Bound(
            name="kernel_range",
            meaning="the error of a kernel's output, whatever its weights",
            arguments=(
                spread,
                magnitude,
                output_magnitude,
                numerator_error,
                denominator_error,
                denominator_lost,
            ),
            expression=(
                spread
                + numerator_error * magnitude
                + denominator_error * output_magnitude
                + denominator_lost * (magnitude + output_magnitude)
            )
            / (1 - denominator_error - denominator_lost),
            provided=denominator_lost < 1 - denominator_error,
            points=((3, 2, 1, sympy.Rational(1, 200), sympy.Rational(1, 1000), _tiny_points[0]),),
            quantity=_kernel_error,
            parameters=_range_parameters,
            trivial=lambda i, bits: abs(_output(i, bits)),
            extremal=_mistaken,
            theorem="fp_kernel_range",
        ),
    ),
    witness=lambda: kernel_row(np.array([0.3, -1.2, 2.0]), np.array([9.0, 8.0, 9.75]), "bfloat16"),
    sample=_sample_row,
    recomputed=lambda i: weighted_row(
        i.scores, i.values.astype(np.float32).astype(np.float64), i.weights, i.low
    ),
)

# --------------------------------------------------------------------- FP.kernel_matmul, .kernel_exact


@dataclass(frozen=True)
class Exponents:
    """Logarithms of weights, values, and what each logarithm may be off by."""

    scores: Array
    values: Array
    theta: Array


def _centred(i: Exponents, bits: int) -> tuple[Enclosure, Enclosure, Enclosure]:
    """Enclose p, v - o and e^theta."""
    weights = Enclosure.exact(i.scores, bits).exp()
    p, values = weights / weights.sum(), Enclosure.exact(i.values, bits)
    return p, values - (p * values).sum(), Enclosure.exact(i.theta, bits).exp()


def _first_term(i: Exponents, bits: int) -> Enclosure:
    p, off, grown = _centred(i, bits)
    return (p * (grown - _number(1.0, bits)) * abs(off)).sum()


def _matmul_parameters(i: Exponents, bits: int) -> Mapping[str, Value]:
    p, off, grown = _centred(i, bits)
    lever = grown - _number(1.0, bits)
    return {"error_squares": (p * lever * lever).sum(), "variance": (p * off * off).sum()}


def _sample_exponents(rng: np.random.Generator) -> Exponents:
    n = int(rng.integers(2, 30))
    return Exponents(
        2 * rng.standard_normal(n),
        rng.standard_normal(n),
        float(rng.choice([1e-3, 0.1, 1.0])) * rng.random(n),
    )


_nonnegative = Hypothesis[Exponents](
    "no theta is negative, and all is finite",
    lambda i: bool(
        (i.theta >= 0).all() and all(np.isfinite(x).all() for x in (i.scores, i.values, i.theta))
    ),
    mirrors=("0 <= theta j", "kernel_weights"),
)

FP_KERNEL_MATMUL = Claim[Exponents](
    id="FP.kernel_matmul",
    where="ours",
    statement=(
        "sum p_j (e^theta_j - 1)|v_j - o| <= sqrt(sum p_j (e^theta_j - 1)^2) sqrt(sum p_j v_j^2 - o^2): "
        "products of matrices bound the first term of FP.kernel."
    ),
    not_stated="",
    assumes=(_nonnegative,),
    bounds=(
        Bound(
            name="kernel_deviation",
            meaning="what errors of scores make of an output, by products of matrices",
            arguments=(error_squares, variance),
            expression=sympy.sqrt(error_squares * variance),
            points=((sympy.Rational(1, 9), 4),),
            quantity=_first_term,
            parameters=_matmul_parameters,
            trivial=lambda i, bits: (_centred(i, bits)[0] * abs(_centred(i, bits)[1])).sum(),
            extremal=lambda: Exponents(np.zeros(2), np.array([1.0, -1.0]), np.full(2, 0.25)),
            theorem="fp_kernel_matmul",
        ),
    ),
    witness=lambda: Exponents(
        np.array([0.0, 1.0, -0.5]), np.array([1.0, -2.0, 0.5]), np.array([0.1, 0.0, 0.2])
    ),
    sample=_sample_exponents,
)


def _mean(i: Exponents, exponents: Array) -> float:
    weights = np.exp(i.scores - i.scores.max() + exponents)
    return float(weights @ i.values / weights.sum())


def _moved(i: Exponents) -> float:
    """Return the largest mean: of weights e^theta above it and e^-theta below."""
    mean = _mean(i, np.zeros(len(i.theta)))
    for _ in range(60):
        mean = _mean(i, np.where(i.values > mean, i.theta, -i.theta))
    return mean


def _extreme(i: Exponents) -> Array:
    """Return the exponents that raise the mean most."""
    return np.where(i.values > _moved(i), i.theta, -i.theta)


def _largest_shift(i: Exponents, bits: int) -> Enclosure:
    """Enclose what the mean of the values moves by where exponents are the worst."""
    p, off, _ = _centred(i, bits)
    tilted = p * Enclosure.exact(_extreme(i), bits).exp()
    return (tilted * off).sum() / tilted.sum()


def _shift_parameters(i: Exponents, bits: int) -> Mapping[str, Value]:
    p, off, grown = _centred(i, bits)
    # Any number will do for the shift at which the excess is taken; the nearer the root, the better.
    at = Fraction(max(_moved(i) - _mean(i, np.zeros(len(i.theta))), 0.0))
    left = off - lift(at, bits)
    up, down = left * grown, left / grown
    return {
        "shift": at,
        "excess": (p * up.maximum(down)).sum().maximum(Fraction(0)),
        "smallest_sum": (p / grown).sum(),
    }


FP_KERNEL_EXACT = Claim[Exponents](
    id="FP.kernel_exact",
    where="ours",
    statement=(
        "Of weights p_j e^{xi_j}, |xi_j| <= theta_j, the mean of the values exceeds o by at most lambda + "
        "max(R, 0)/sum p_j e^-theta_j, R = sum p_j e^{+-theta_j}(v_j - o - lambda) with the sign of each "
        "term, whatever lambda >= 0; where R is 0 it reaches that."
    ),
    not_stated="How the root is found.",
    assumes=(_nonnegative,),
    bounds=(
        Bound(
            name="kernel_shift",
            meaning="how far errors of scores move an output to one side",
            arguments=(shift, excess, smallest_sum),
            expression=shift + excess / smallest_sum,
            domain={smallest_sum: POSITIVE},
            points=((sympy.Rational(1, 3), sympy.Rational(1, 100), sympy.Rational(9, 10)),),
            quantity=_largest_shift,
            parameters=_shift_parameters,
            trivial=lambda i, bits: _centred(i, bits)[1].max(),
            extremal=lambda: Exponents(np.zeros(2), np.array([1.0, -1.0]), np.full(2, 0.25)),
            theorem="fp_kernel_shift",
            attained="fp_kernel_shift_attained",
        ),
    ),
    witness=lambda: Exponents(
        np.array([0.0, 1.0, -0.5]), np.array([1.0, -2.0, 0.5]), np.array([0.1, 0.0, 0.2])
    ),
    sample=_sample_exponents,
)

CLAIMS = (FP_KERNEL, FP_KERNEL_MATMUL, FP_KERNEL_EXACT)
