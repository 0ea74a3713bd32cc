r"""FP: what rounding does to the gradient of attention, judged from what was computed.

For a loss of which dO is the derivative by one row of the output, with weights p, the row o and values v:

    dP_j = dO . v_j,   D = dO . o,   ds_j = p_j (dP_j - D),   dx_j = ds_j (1 - tanh^2(x_j / softcap)),

and dV, dQ and dK are sums of p dO, scale dx k and scale dx q (:mod:`reference.gradient`; proved for symbols
in ``proofs/symbolic``).

The computation.  ``w_j = fl(exp(fl(score_j - ell)))`` with a computed log-sum-exp ``ell``; ``D = fl(dO . o)``
with a computed output; ``ds_j = fl(w_j fl(dP_j - D))``; ``dx_j = fl(ds_j slope_j)``.  No n x n matrix
is kept, and a program need not know the exact one: every bound is in what it computed, and linear in
it, so that sums over rows of |ds| and of w bound what sums over keys or queries are off by.

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
from reference.attention import attention, log_sum_exp, weights
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.softmax.rounding import ARITHMETIC, Arithmetic, gamma
from specs.symbols import (
    difference,
    dimension,
    error_sum,
    gradient_length,
    lost,
    magnitude_sum,
    mean_error,
    mean_magnitude,
    output_error,
    product_error,
    score_gradient,
    slope_error,
    terms,
    tiny,
    unit_roundoff,
    weight,
    weight_error,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class GradientRow:
    """One query row on its way back: the inputs are exact, the rest is what floating point gave."""

    query: Array
    keys: Array
    values: Array
    output_gradient: Array
    log_sum_exp: np.floating[Any]
    output: Array
    weights: Array
    products: Array
    mean: np.floating[Any]
    differences: Array
    score_gradient: Array
    query_gradient: Array

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the row's type."""
        return ARITHMETIC[self.query.dtype.name]


def gradient_row(
    query: Array, keys: Array, values: Array, output_gradient: Array, mistake: float = 0.0
) -> GradientRow:
    """Go forth and back with every sum from left to right; ``mistake`` is added to the log-sum-exp."""
    kind = query.dtype.type

    def dot(x: Array, y: Array) -> Array:
        return np.asarray(np.cumsum(x * y, axis=-1, dtype=kind)[..., -1])

    logits = dot(keys, query)
    forth = np.exp(logits - logits.max())
    output = dot(values.T, forth) / kind(forth.sum())
    ell = kind(logits.max() + np.log(forth.sum()) + mistake)
    computed = np.exp(logits - ell)
    products, mean = dot(values, output_gradient), kind(dot(output_gradient, output))
    differences = products - mean
    backward = computed * differences
    return GradientRow(
        query,
        keys,
        values,
        output_gradient,
        ell,
        output,
        computed,
        products,
        mean,
        differences,
        backward,
        dot(keys.T, backward),
    )


def _exact(x: Any, bits: int) -> Enclosure:
    return Enclosure.exact(np.array(x), bits)


def _weights(i: GradientRow, bits: int) -> Enclosure:
    return weights(i.query[None], i.keys, precision=bits)[0]


def _products(i: GradientRow, bits: int) -> Enclosure:
    return _exact(i.values, bits) @ _exact(i.output_gradient, bits)


def _output(i: GradientRow, bits: int) -> Enclosure:
    return attention(i.query[None], i.keys, i.values, precision=bits)[0]


def _mean(i: GradientRow, bits: int) -> Enclosure:
    return (_exact(i.output_gradient, bits) * _output(i, bits)).sum()


def _score_gradient(i: GradientRow, bits: int) -> Enclosure:
    return _weights(i, bits) * (_products(i, bits) - _mean(i, bits))


def _weight_error(i: GradientRow, bits: int) -> Enclosure:
    """Enclose max_j |ln(computed weight) - (logit - log-sum-exp)|."""
    logits = _exact(i.keys, bits) @ _exact(i.query, bits)
    exact = logits - log_sum_exp(i.query[None], i.keys, precision=bits)[0]
    return abs(_exact(i.weights, bits).log() - exact).max()


def _heaviest(i: GradientRow) -> int:
    return int(i.weights.argmax())


def _steepest(i: GradientRow) -> int:
    return int(np.abs(i.score_gradient).argmax())


def _mean_error(i: GradientRow, bits: int) -> Enclosure:
    return abs(_exact(i.mean, bits) - _mean(i, bits))


def _score_errors(i: GradientRow, bits: int) -> Enclosure:
    return abs(_exact(i.score_gradient, bits) - _score_gradient(i, bits))


def _query_gradient(i: GradientRow, bits: int) -> Enclosure:
    """Enclose the first entry of dQ."""
    return (_score_gradient(i, bits) * _exact(i.keys[:, 0], bits)).sum()


def _mean_parameters(i: GradientRow, bits: int) -> Mapping[str, Value]:
    return {
        "dimension": len(i.output),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "mean_magnitude": abs(_exact(i.output_gradient, bits) * _exact(i.output, bits)).sum(),
        "output_error": abs(_exact(i.output, bits) - _output(i, bits)).max(),
        "gradient_length": abs(_exact(i.output_gradient, bits)).sum(),
        "tiny": i.arithmetic.tiny,
    }


def _score_parameters(i: GradientRow, bits: int) -> Mapping[str, Value]:
    return {
        "weight_error": _weight_error(i, bits),
        "slope_error": 0,
        "product_error": abs(_exact(i.products, bits) - _products(i, bits)).max(),
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
        "error_sum": (_score_errors(i, bits) * abs(column)).sum(),
        "magnitude_sum": abs(_exact(i.score_gradient, bits) * column).sum(),
        "terms": len(i.keys),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "lost": 4 * len(i.keys) * i.arithmetic.tiny,
    }


def _lost_products() -> GradientRow:
    """Give D = 1 + u + u + ... of which a sum from the left keeps only the first term."""
    gradient = np.full(512, 2.0**-24, np.float32)
    gradient[0] = 1
    one = np.ones((1, 1), np.float32)
    return gradient_row(one[0], one, np.ones((1, 512), np.float32), gradient)


def _mistaken_logarithm() -> GradientRow:
    """Give two keys of equal weight, opposite in all, and a log-sum-exp that is too large by 1/2."""
    keys = np.array([[1.0], [-1.0]])
    return gradient_row(np.zeros(1), keys, keys, np.ones(1), mistake=0.5)


def _sample_row(rng: np.random.Generator) -> GradientRow:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n, d, d_v = (int(size) for size in rng.integers(2, 20, 3))
    return gradient_row(
        (rng.choice([0.1, 1.0, 3.0]) * rng.standard_normal(d)).astype(dtype),
        rng.standard_normal((n, d)).astype(dtype),
        rng.standard_normal((n, d_v)).astype(dtype),
        rng.standard_normal(d_v).astype(dtype),
    )


def _usual(i: GradientRow) -> bool:
    arrays = (i.query, i.keys, i.values, i.output_gradient, i.output, i.score_gradient)
    return all(bool(np.isfinite(x).all()) for x in arrays) and bool(
        (i.weights >= float(i.arithmetic.tiny)).all()
    )


FP_GRADIENT = Claim[GradientRow](
    id="FP.gradient",
    where="ours",
    statement=(
        "The gradient of attention in floating point, weights w computed anew from a log-sum-exp: with theta "
        "the error of a weight's logarithm, ds errs by about (e^theta - 1 + 4u + slope error) |ds| + e^theta "
        "(error of dP + error of D) w, each as computed; a sum of products by the sum of such errors and "
        "gamma_(k+2) of its terms' magnitudes."
    ),
    not_stated=(
        "That a given BLAS obeys the model.  What the slope's error is where scores are capped: a capped "
        "score's, twice, over softcap, and its own rounding."
    ),
    assumes=(
        Hypothesis(
            "everything is finite and rounded, sums in any order, and every weight a normal number",
            _usual,
        ),
        Hypothesis(
            "(max(n, d_v) + 2) u <= 1/4",
            lambda i: (max(i.values.shape) + 2) * i.arithmetic.unit_roundoff <= Fraction(1, 4),
        ),
    ),
    bounds=(
        Bound(
            name="gradient_weight",
            meaning="the error of a weight that was computed from a log-sum-exp",
            arguments=(weight_error, weight, tiny),
            expression=(sympy.exp(weight_error) - 1) * weight + sympy.exp(weight_error) * tiny,
            points=((sympy.Rational(1, 1000), sympy.Rational(1, 3), sympy.Rational(1, 2**126)),),
            quantity=lambda i, bits: abs(
                _exact(i.weights[_heaviest(i)], bits) - _weights(i, bits)[_heaviest(i)]
            ),
            parameters=lambda i, bits: {
                "weight_error": _weight_error(i, bits),
                "weight": Fraction(float(i.weights[_heaviest(i)])),
                "tiny": i.arithmetic.tiny,
            },
            trivial=lambda i, bits: abs(
                _exact(1.0, bits) / _exact(float(len(i.keys)), bits)
                - _weights(i, bits)[_heaviest(i)]
            ),
            extremal=_mistaken_logarithm,
            theorem="fp_gradient_weight",
        ),
        Bound(
            name="gradient_mean",
            meaning="the error of D = dO . o from a computed output",
            arguments=(
                dimension,
                unit_roundoff,
                mean_magnitude,
                output_error,
                gradient_length,
                tiny,
            ),
            expression=gamma(dimension) * mean_magnitude
            + dimension * tiny
            + output_error * gradient_length,
            points=(
                (
                    64,
                    sympy.Rational(1, 2**24),
                    5,
                    sympy.Rational(1, 1000),
                    7,
                    sympy.Rational(1, 2**126),
                ),
            ),
            quantity=_mean_error,
            parameters=_mean_parameters,
            trivial=lambda i, bits: abs(_mean(i, bits)),
            extremal=_lost_products,
            theorem="fp_gradient_mean",
        ),
        Bound(
            name="gradient_score",
            meaning="the error of a computed derivative by a logit",
            arguments=(
                weight_error,
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
                (1 + gamma(sympy.Integer(4))) * (sympy.exp(weight_error) - 1)
                + gamma(sympy.Integer(4))
                + (1 + unit_roundoff) * slope_error
            )
            * score_gradient
            + sympy.exp(weight_error) * (product_error + mean_error) * weight
            + sympy.exp(weight_error) * tiny * (2 * difference + product_error + mean_error + 2)
            + 2 * tiny,
            points=(
                (
                    sympy.Rational(1, 1000),
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
            quantity=lambda i, bits: _score_errors(i, bits)[_steepest(i)],
            parameters=_score_parameters,
            trivial=lambda i, bits: abs(_score_gradient(i, bits)[_steepest(i)]),
            extremal=_mistaken_logarithm,
            theorem="fp_gradient_score",
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
            quantity=lambda i, bits: abs(
                _exact(i.query_gradient[0], bits) - _query_gradient(i, bits)
            ),
            parameters=_sum_parameters,
            trivial=lambda i, bits: abs(_query_gradient(i, bits)),
            extremal=_mistaken_logarithm,
            theorem="fp_gradient_sum",
        ),
    ),
    witness=lambda: gradient_row(
        np.array([1.0, -0.5]),
        np.array([[1.0, 0.25], [0.3, 2.0], [-1.0, 0.7]]),
        np.array([[1.0], [-2.0], [0.7]]),
        np.array([1.5]),
    ),
    sample=_sample_row,
    recomputed=lambda i: gradient_row(i.query, i.keys, i.values, i.output_gradient),
)

CLAIMS = (FP_GRADIENT,)
