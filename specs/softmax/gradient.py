r"""FP: what rounding does to the gradient of attention, judged from what was computed.

For a loss of which dO is the derivative by one row of the output, with weights p, the row o and values v:

    dP_j = dO . v_j,   D = dO . o = sum_j p_j dP_j,   ds_j = p_j (dP_j - D),
    dx_j = ds_j (1 - tanh^2(x_j / softcap)),

and dV, dQ and dK are sums of p dO, scale dx k and scale dx q; dbias is ds, and dsink the ds of a key whose
dP is 0 (:mod:`reference.gradient`; proved for symbols in ``proofs/symbolic``).

The computation.  ``e_j = fl(exp(fl(score_j - m)))`` with a shift m; ``w_j = fl(e_j z)`` with ``z = fl(1 /
fl(sum e))``; ``D = fl(fl(sum e_j dP_j) z)``; ``ds_j = fl(w_j fl(dP_j - D))``; ``slope_j = fl(1 - fl(t_j^2))``
with a computed tanh t; ``dx_j = fl(ds_j slope_j)``; what is returned is rounded to the type of the inputs.
A block of rows is kept, never the n x n matrix, and a program need not know the exact one: every bound is in
what it computed, and linear in it, so that sums over rows of |ds| and of w bound what sums over keys or
queries are off by.

A weight errs by (e^theta - 1) w and what underflow takes; where theta is large, as where scores are beyond
what their type can tell apart, by 2 tanh(theta/2) at most, since no weight passes 1.  Both are of the form
``relative w + absolute``, which is all that follows asks for.

The model is that of ``rounding``.
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
from reference.attention import log_sum_exp
from reference.scores import scores
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.softmax.rounding import ARITHMETIC, Arithmetic, gamma
from specs.symbols import (
    absolute_weight_error,
    computation_error,
    difference,
    error_sum,
    largest_weight,
    lost,
    magnitude_sum,
    mean_error,
    mean_magnitude,
    product_error,
    relative_weight_error,
    result_magnitude,
    score_gradient,
    slope_error,
    tangent_error,
    terms,
    tiny,
    underflow,
    unit_roundoff,
    weight,
    weight_error,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class GradientRow:
    """One query row on its way back: the inputs are exact, the rest is what floating point gave.

    ``exponentials`` are of scores less ``shift``; ``results`` are the query's derivatives in the next type,
    float32 of float64 and float16 of float32.
    """

    query: Array
    keys: Array
    values: Array
    output_gradient: Array
    softcap: float | None
    shift: np.floating[Any]
    exponentials: Array
    reciprocal: np.floating[Any]
    weights: Array
    products: Array
    mean: np.floating[Any]
    differences: Array
    score_gradient: Array
    tangents: Array
    slopes: Array
    logit_gradient: Array
    query_gradient: Array
    results: Array

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the row's type."""
        return ARITHMETIC[self.query.dtype.name]


#: The next type of each, in which results are returned: unit roundoff and smallest normal number.
NARROWER = {
    "float64": (np.float32, Fraction(1, 2**24), Fraction(1, 2**126)),
    "float32": (np.float16, Fraction(1, 2**11), Fraction(1, 2**14)),
}


def gradient_row(
    query: Array,
    keys: Array,
    values: Array,
    output_gradient: Array,
    softcap: float | None = None,
    *,
    score_mistakes: Array | float = 0.0,
    total_mistake: float = 0.0,
) -> GradientRow:
    """Go forth and back with every sum from left to right.

    The mistakes are added to the logits, and to the logarithm of the sum of the exponentials.
    """
    kind = query.dtype.type

    def dot(x: Array, y: Array) -> Array:
        return np.asarray(np.cumsum(x * y, axis=-1, dtype=kind)[..., -1])

    logits = (dot(keys, query) + score_mistakes).astype(kind)
    tangents, slopes, computed = np.zeros_like(logits), np.ones_like(logits), logits
    if softcap is not None:
        tangents = np.tanh(logits / kind(softcap))
        slopes, computed = 1 - tangents * tangents, tangents * kind(softcap)
    shift = computed.max()
    exponentials = np.exp(computed - shift)
    total = np.cumsum(exponentials, dtype=kind)[-1] * kind(np.exp(total_mistake))
    reciprocal = kind(1) / total
    products = dot(values, output_gradient)
    mean = kind(dot(exponentials, products) * reciprocal)
    normalised = exponentials * reciprocal
    differences = products - mean
    by_scores = normalised * differences
    by_logits = by_scores * slopes
    by_query = dot(keys.T, by_logits)
    return GradientRow(
        query,
        keys,
        values,
        output_gradient,
        softcap,
        shift,
        exponentials,
        reciprocal,
        normalised,
        products,
        mean,
        differences,
        by_scores,
        tangents,
        slopes,
        by_logits,
        by_query,
        by_query.astype(NARROWER[query.dtype.name][0]),
    )


def _exact(x: Any, bits: int) -> Enclosure:
    return Enclosure.exact(np.array(x), bits)


def _scores(i: GradientRow, bits: int) -> Enclosure:
    return scores(i.query[None], i.keys, softcap=i.softcap, precision=bits)[0]


def _logarithm(i: GradientRow, bits: int) -> Enclosure:
    return log_sum_exp(i.query[None], i.keys, softcap=i.softcap, precision=bits)[0]


def _weights(i: GradientRow, bits: int) -> Enclosure:
    return (_scores(i, bits) - _logarithm(i, bits)).exp()


def _products(i: GradientRow, bits: int) -> Enclosure:
    return _exact(i.values, bits) @ _exact(i.output_gradient, bits)


def _mean(i: GradientRow, bits: int) -> Enclosure:
    return (_weights(i, bits) * _products(i, bits)).sum()


def _tangents(i: GradientRow, bits: int) -> Enclosure:
    if i.softcap is None:
        return _exact(np.zeros(len(i.keys)), bits)
    return _scores(i, bits) * (1 / Fraction(i.softcap))


def _slopes(i: GradientRow, bits: int) -> Enclosure:
    tangents = _tangents(i, bits)
    return _exact(1.0, bits) - tangents * tangents


def _logit_gradient(i: GradientRow, bits: int) -> Enclosure:
    return _weights(i, bits) * (_products(i, bits) - _mean(i, bits)) * _slopes(i, bits)


def _weight_error(i: GradientRow, bits: int) -> Enclosure:
    """Enclose max_j |ln(computed weight) - (score - log-sum-exp)|, rounded to its type and not."""
    exact = _scores(i, bits) - _logarithm(i, bits)
    normalised = abs(_exact(i.weights, bits).log() - exact).max()
    product = _exact(i.exponentials, bits) * _exact(i.reciprocal, bits)
    return normalised.maximum(abs(product.log() - exact).max())


def _exponential_error(i: GradientRow, bits: int) -> Enclosure:
    """Enclose max_j |ln(computed exponential) - (score - shift)|."""
    exact = _scores(i, bits) - _exact(i.shift, bits)
    return abs(_exact(i.exponentials, bits).log() - exact).max()


def _relative(i: GradientRow, bits: int) -> Enclosure:
    return _weight_error(i, bits).exp() - 1


def _absolute(i: GradientRow, bits: int) -> Enclosure:
    return _weight_error(i, bits).exp() * i.arithmetic.tiny


def _heaviest(i: GradientRow) -> int:
    return int(i.weights.argmax())


def _steepest(i: GradientRow) -> int:
    return int(np.abs(i.score_gradient).argmax())


def _weight_difference(i: GradientRow, bits: int) -> Enclosure:
    at = _heaviest(i)
    return abs(_exact(i.weights[at], bits) - _weights(i, bits)[at])


def _uniform_difference(i: GradientRow, bits: int) -> Enclosure:
    uniform = _exact(Fraction(1, len(i.keys)), bits)
    return abs(uniform - _weights(i, bits)[_heaviest(i)])


def _mean_error(i: GradientRow, bits: int) -> Enclosure:
    return abs(_exact(i.mean, bits) - _mean(i, bits))


def _logit_errors(i: GradientRow, bits: int) -> Enclosure:
    return abs(_exact(i.logit_gradient, bits) - _logit_gradient(i, bits))


def _query_gradient(i: GradientRow, bits: int) -> Enclosure:
    """Enclose the first entry of dQ."""
    return (_logit_gradient(i, bits) * _exact(i.keys[:, 0], bits)).sum()


def _query_error(i: GradientRow, bits: int) -> Enclosure:
    return abs(_exact(i.query_gradient[0], bits) - _query_gradient(i, bits))


def _product_error(i: GradientRow, bits: int) -> Enclosure:
    return abs(_exact(i.products, bits) - _products(i, bits)).max()


def _slope_errors(i: GradientRow, bits: int) -> Enclosure:
    return abs(_exact(i.slopes, bits) - _slopes(i, bits))


def _exponent_parameters(i: GradientRow, bits: int) -> Mapping[str, Value]:
    return {
        "weight_error": _exponential_error(i, bits),
        "terms": len(i.keys),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "underflow": 8 * len(i.keys) * i.arithmetic.tiny,
    }


def _mean_parameters(i: GradientRow, bits: int) -> Mapping[str, Value]:
    products = _exact(i.exponentials, bits) * _exact(i.reciprocal, bits) * _exact(i.products, bits)
    return {
        "relative_weight_error": _relative(i, bits),
        "mean_magnitude": abs(products).sum(),
        "terms": len(i.keys),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "product_error": _product_error(i, bits),
        "lost": _absolute(i, bits) * abs(_exact(i.products, bits)).sum()
        + 2 * len(i.keys) * i.arithmetic.tiny,
    }


def _slope_parameters(i: GradientRow, bits: int) -> Mapping[str, Value]:
    errors = abs(_exact(i.tangents, bits) - _tangents(i, bits))
    return {
        "tangent_error": errors.max(),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "tiny": i.arithmetic.tiny,
    }


def _score_parameters(i: GradientRow, bits: int) -> Mapping[str, Value]:
    return {
        "relative_weight_error": _relative(i, bits),
        "absolute_weight_error": _absolute(i, bits),
        "slope_error": _slope_errors(i, bits).max(),
        "product_error": _product_error(i, bits),
        "mean_error": _mean_error(i, bits),
        "score_gradient": abs(Fraction(float(i.score_gradient[_steepest(i)]))),
        "weight": Fraction(float(i.weights[_steepest(i)])),
        "difference": abs(Fraction(float(i.differences[_steepest(i)]))),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "tiny": i.arithmetic.tiny,
    }


def _sum_parameters(i: GradientRow, bits: int) -> Mapping[str, Value]:
    column = _exact(i.keys[:, 0], bits)
    return {
        "error_sum": (_logit_errors(i, bits) * abs(column)).sum(),
        "magnitude_sum": abs(_exact(i.logit_gradient, bits) * column).sum(),
        "terms": len(i.keys),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "lost": 4 * len(i.keys) * i.arithmetic.tiny,
    }


def _result_parameters(i: GradientRow, bits: int) -> Mapping[str, Value]:
    _, narrow_roundoff, narrow_tiny = NARROWER[i.query.dtype.name]
    return {
        "computation_error": _query_error(i, bits),
        "result_magnitude": abs(Fraction(float(i.results[0]))),
        "unit_roundoff": narrow_roundoff,
        "tiny": narrow_tiny,
    }


def _light_key_of_opposite_error() -> GradientRow:
    """Give scores that err one way, and that of a light key the other."""
    keys = np.array([[0.0], [0.0], [-20.0]])
    mistakes = np.array([2.0**-7, 2.0**-7, -(2.0**-7)])
    return gradient_row(np.ones(1), keys, np.ones((3, 1)), np.ones(1), score_mistakes=mistakes)


def _one_key_whose_sum_is_mistaken() -> GradientRow:
    """Give one key of weight 1, and a sum of exponentials that is too large by e^(1/64)."""
    one = np.ones((1, 1))
    return gradient_row(np.zeros(1), one, one, np.ones(1), total_mistake=2.0**-6)


def _mistaken_sum() -> GradientRow:
    """Give two keys of equal weight, opposite in all, and a sum that is too large by e^(1/2)."""
    keys = np.array([[1.0], [-1.0]])
    return gradient_row(np.zeros(1), keys, keys, np.ones(1), total_mistake=0.5)


def _mistaken_tangent() -> GradientRow:
    """Give a score near its cap that errs toward it."""
    keys = np.array([[3.0], [0.0]])
    return gradient_row(
        np.ones(1), keys, keys, np.ones(1), softcap=1.0, score_mistakes=np.array([1.0, 0.0])
    )


def _rounded_half_a_last_place() -> GradientRow:
    """Give derivatives 1 / 4 + 2^-26, half way to the next float32 and less 2^-28 from it."""
    keys = np.array([[1.0], [-1.0]])
    value = 1.0 + 2.0**-24
    return gradient_row(np.zeros(1), keys, keys * value / 2, np.ones(1))


def _sample_row(rng: np.random.Generator) -> GradientRow:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n, d, d_v = (int(size) for size in rng.integers(2, 20, 3))
    return gradient_row(
        (rng.choice([0.1, 1.0, 3.0]) * rng.standard_normal(d)).astype(dtype),
        rng.standard_normal((n, d)).astype(dtype),
        rng.standard_normal((n, d_v)).astype(dtype),
        rng.standard_normal(d_v).astype(dtype),
        (None, 0.7, 15.0)[rng.integers(3)],
    )


def _usual(i: GradientRow) -> bool:
    arrays = (i.query, i.keys, i.values, i.output_gradient, i.score_gradient, i.results)
    return all(bool(np.isfinite(x).all()) for x in arrays) and bool(
        (i.weights >= float(i.arithmetic.tiny)).all() and (i.softcap is None or i.softcap > 0)
    )


_SCORE_FACTOR = gamma(sympy.Integer(4))

FP_GRADIENT = Claim[GradientRow](
    id="FP.gradient",
    where="ours",
    statement=(
        "The gradient of attention in floating point: with theta the error of a weight's logarithm, twice "
        "a computed exponential's and that of their sum, a weight errs by (e^theta - 1) w or "
        "2 tanh(theta/2), D by that share of sum w |dP| and the error of dP, dx by about (e^theta - 1 + 4u "
        "+ slope error) |ds| + e^theta (error of dP + error of D) w, each as computed; a sum of products by "
        "the sum of such errors and gamma_(k+2) of its terms' magnitudes; what is returned by its own "
        "rounding besides."
    ),
    not_stated="That a given BLAS obeys the model.",
    assumes=(
        Hypothesis(
            "everything is finite and rounded, sums in any order, every weight a normal number, and a "
            "softcap > 0",
            _usual,
            mirrors=(
                "positive",
                "0 < b",
                "adds",
                "computes",
                "computed_cap",
                "Rabs (Dn - fsum n b) <= (gamma k u + underflow) * fsum n b",
                "0 < c",
            ),
        ),
        Hypothesis(
            "(max(n, d_v) + 2) u <= 1/4",
            lambda i: (max(i.values.shape) + 2) * i.arithmetic.unit_roundoff <= Fraction(1, 4),
            mirrors=(
                "2 * u < 1",
                "INR k * u < 1",
                "gamma k u + underflow < 1",
                "INR (k + 2) * u < 1",
                "(4 + te) * u <= 1 / 2",
                "u <= 1 / 8",
            ),
        ),
    ),
    bounds=(
        Bound(
            name="gradient_exponent",
            meaning="the error of the logarithm of a computed weight",
            arguments=(weight_error, terms, unit_roundoff, underflow),
            expression=2 * weight_error
            + (gamma(terms) + underflow) / (1 - gamma(terms) - underflow)
            + gamma(sympy.Integer(2)),
            points=(
                (
                    sympy.Rational(1, 1000),
                    256,
                    sympy.Rational(1, 2**24),
                    sympy.Rational(1, 2**100),
                ),
            ),
            quantity=_weight_error,
            parameters=_exponent_parameters,
            trivial=lambda i, bits: abs(
                _scores(i, bits)
                - _logarithm(i, bits)
                - _exact(Fraction(1, len(i.keys)), bits).log()
            ).max(),
            extremal=_light_key_of_opposite_error,
            theorem="fp_gradient_exponent",
        ),
        Bound(
            name="gradient_weight",
            meaning="the error of a computed weight",
            arguments=(weight_error, weight, tiny),
            expression=(sympy.exp(weight_error) - 1) * weight + sympy.exp(weight_error) * tiny,
            points=((sympy.Rational(1, 1000), sympy.Rational(1, 3), sympy.Rational(1, 2**126)),),
            quantity=_weight_difference,
            parameters=lambda i, bits: {
                "weight_error": _weight_error(i, bits),
                "weight": Fraction(float(i.weights[_heaviest(i)])),
                "tiny": i.arithmetic.tiny,
            },
            trivial=_uniform_difference,
            extremal=_mistaken_sum,
            theorem="fp_gradient_weight",
        ),
        Bound(
            name="gradient_unknown",
            meaning="the error of a computed weight, however little is known of it",
            arguments=(weight_error, largest_weight, lost),
            expression=2 * sympy.tanh(weight_error / 2) * largest_weight + lost,
            points=((sympy.Rational(1, 1000), sympy.Rational(3, 2), sympy.Rational(1, 2**126)),),
            quantity=_weight_difference,
            parameters=lambda i, bits: {
                "weight_error": _weight_error(i, bits),
                "largest_weight": _weights(i, bits)[_heaviest(i)].maximum(
                    _exact(i.weights[_heaviest(i)], bits)
                ),
                "lost": i.arithmetic.tiny,
            },
            trivial=_uniform_difference,
            extremal=_one_key_whose_sum_is_mistaken,
            theorem="fp_gradient_unknown",
        ),
        Bound(
            name="gradient_mean",
            meaning="the error of D = sum_j p_j dP_j",
            arguments=(
                relative_weight_error,
                mean_magnitude,
                terms,
                unit_roundoff,
                product_error,
                lost,
            ),
            expression=(relative_weight_error + gamma(terms + 2)) * mean_magnitude
            + product_error
            + lost,
            points=(
                (
                    sympy.Rational(1, 1000),
                    5,
                    256,
                    sympy.Rational(1, 2**24),
                    sympy.Rational(1, 500),
                    sympy.Rational(1, 2**126),
                ),
            ),
            quantity=_mean_error,
            parameters=_mean_parameters,
            trivial=lambda i, bits: abs(_mean(i, bits)),
            extremal=_one_key_whose_sum_is_mistaken,
            theorem="fp_gradient_mean",
        ),
        Bound(
            name="gradient_slope",
            meaning="the error of a computed derivative of the soft cap, 1 - tanh^2",
            arguments=(tangent_error, unit_roundoff, tiny),
            expression=(1 + unit_roundoff)
            * (
                2 * tangent_error
                + tangent_error**2
                + unit_roundoff * (1 + tangent_error) ** 2
                + tiny
            )
            + unit_roundoff,
            points=(
                (sympy.Rational(1, 1000), sympy.Rational(1, 2**24), sympy.Rational(1, 2**126)),
            ),
            quantity=lambda i, bits: _slope_errors(i, bits).max(),
            parameters=_slope_parameters,
            trivial=lambda i, bits: abs(_exact(0.5, bits) - _slopes(i, bits)).max(),
            extremal=_mistaken_tangent,
            theorem="fp_gradient_slope",
        ),
        Bound(
            name="gradient_score",
            meaning="the error of a computed derivative by a logit",
            arguments=(
                relative_weight_error,
                absolute_weight_error,
                slope_error,
                product_error,
                mean_error,
                score_gradient,
                weight,
                difference,
                unit_roundoff,
                tiny,
            ),
            expression=(
                (1 + _SCORE_FACTOR) * relative_weight_error
                + _SCORE_FACTOR
                + (1 + unit_roundoff) * slope_error
            )
            * score_gradient
            + (1 + relative_weight_error) * (product_error + mean_error) * weight
            + absolute_weight_error * (2 * difference + product_error + mean_error)
            + (2 + relative_weight_error) * tiny,
            points=(
                (
                    sympy.Rational(1, 1000),
                    sympy.Rational(1, 3000),
                    sympy.Rational(1, 2000),
                    sympy.Rational(1, 500),
                    sympy.Rational(1, 700),
                    2,
                    sympy.Rational(1, 3),
                    5,
                    sympy.Rational(1, 2**24),
                    sympy.Rational(1, 2**126),
                ),
            ),
            quantity=lambda i, bits: _logit_errors(i, bits)[_steepest(i)],
            parameters=_score_parameters,
            trivial=lambda i, bits: abs(_logit_gradient(i, bits)[_steepest(i)]),
            extremal=_mistaken_sum,
            theorem="fp_gradient_row",
        ),
        Bound(
            name="gradient_sum",
            meaning="the error of a sum of products, of which one factor has an error",
            arguments=(error_sum, magnitude_sum, terms, unit_roundoff, lost),
            expression=error_sum + gamma(terms + 2) * magnitude_sum + lost,
            points=(
                (
                    sympy.Rational(1, 1000),
                    12,
                    256,
                    sympy.Rational(1, 2**24),
                    sympy.Rational(1, 2**120),
                ),
            ),
            quantity=_query_error,
            parameters=_sum_parameters,
            trivial=lambda i, bits: abs(_query_gradient(i, bits)),
            extremal=_mistaken_sum,
            theorem="fp_gradient_sum",
        ),
        Bound(
            name="gradient_result",
            meaning="the error of a derivative that is returned in a narrower type",
            arguments=(computation_error, result_magnitude, unit_roundoff, tiny),
            expression=computation_error + unit_roundoff * (result_magnitude + tiny),
            points=(
                (sympy.Rational(1, 1000), 12, sympy.Rational(1, 2**24), sympy.Rational(1, 2**126)),
            ),
            quantity=lambda i, bits: abs(
                _exact(float(i.results[0]), bits) - _query_gradient(i, bits)
            ),
            parameters=_result_parameters,
            trivial=lambda i, bits: abs(_query_gradient(i, bits)),
            extremal=_rounded_half_a_last_place,
            theorem="fp_gradient_result",
        ),
    ),
    witness=lambda: gradient_row(
        np.array([1.0, -0.5]),
        np.array([[1.0, 0.25], [0.3, 2.0], [-1.0, 0.7]]),
        np.array([[1.0], [-2.0], [0.7]]),
        np.array([1.5]),
        1.5,
    ),
    sample=_sample_row,
    recomputed=lambda i: gradient_row(i.query, i.keys, i.values, i.output_gradient),
)

CLAIMS = (FP_GRADIENT,)
