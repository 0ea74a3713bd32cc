r"""FP.regression: what rounding does to a residual, a gradient and a Hessian of attention regression.

The computation: weights ŵ from somewhere, with |ln ŵ_ij − s_ij − c_i| ≤ η = ``weight_error`` for some c_i
(FP.softmax says how large that is); then the formulas of P4.gradient and P4.hessian, sums in any order.
A term on its way to the result passes through at most k = ``terms`` roundings, those of a sum of weights
counted twice, as they divide.

The bounds have two parts.  Exact softmax of ln ŵ moves an output by at most 2 tanh(η/2) max|h_j| (S.tv).  On
the way from s to ln ŵ the product Cov(A₂, h) r changes by E[(ε−Eε)(a−Ea)(h−Eh)] r and by
Cov(A₂, h) Cov(ε, h), with |ε| ≤ η, so at most by 2 η sd(a) sd(h) |r| + η sd(a) sd(h)²; and standard
deviations grow by e^η, for which the factors 2 leave room.  What then is computed errs by γ_k, relative
to the sum of the magnitudes of its terms: at most four weights, off by e^2η each, in one of the Hessian.

NOTE No digit of the sharpness of the gradient's and the Hessian's is claimed: norms of norms of roundings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import sympy

from reference import Enclosure
from reference.regression import Regression, gradient, hessian, residual
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.regression.curvature import largest_deviation
from specs.regression.derivatives import Line, Matrix, sampled_sizes
from specs.softmax.rounding import ARITHMETIC, gamma
from specs.symbols import (
    covariance_norm,
    feature_deviation,
    feature_norm,
    frobenius_norm,
    key_deviation,
    key_norm,
    mean_norm,
    outputs,
    queries,
    residual_norm,
    row_norm,
    spectral_norm,
    target_norm,
    terms,
    unit_roundoff,
    value_deviation,
    value_norm,
    weight_error,
)

_gamma = gamma(terms)


@dataclass(frozen=True)
class Computed:
    """A problem of float64, computed weights before they are normalised, and η."""

    problem: Regression
    weights: Matrix
    weight_error: Fraction

    def normalised(self) -> Matrix:
        """Return the weights, divided by their computed sums."""
        quotient: Matrix = self.weights / self.weights.sum(axis=1)[:, None]
        return quotient

    def roundings(self) -> int:
        """Return a number that no path exceeds.

        A mean passes through 3 sums over keys, two of them as its divisor, a weight through 2.  Longest is
        Q Qᵀ: twice two means, a weight and a sum, with products by Y.
        """
        p = self.problem
        return 18 * len(p.A2) + len(p.A1) + 2 * int(p.A2.shape[1] + p.Y.size) + 32


def _computed(line: Line, error: float = 0.0, signs: Matrix | None = None) -> Computed:
    """Give weights with the errors of numpy, and with errors of a given size on top."""
    p = Regression(*(np.asarray(A, float) for A in line.problem()))
    logits = p.A1 @ p.X @ p.A2.T
    weights = np.exp(logits - logits.max(axis=1)[:, None])
    if signs is not None:
        weights = weights * np.exp(error * signs)
    # What numpy itself errs by, with the logits of every instance here.
    return Computed(p, weights, Fraction(error) + Fraction(1, 1 << 40))


def _log_errors(i: Computed, bits: int) -> Enclosure:
    """Enclose the largest |ln ŵ − s − c|, c in the middle, over the rows."""
    p = i.problem.lifted(bits)
    logits = (p.A1 @ p.X) @ p.A2.T
    error = lift(i.weights, bits).log() - logits
    halved: Enclosure = (error.max(axis=1) - error.min(axis=1)) / 2
    return halved.max()


def _nothing_underflows(i: Computed) -> bool:
    """Whether no product of four weights and eight entries is below the normal range.

    So many make a term of Q Qᵀ, and none has more.  A float of at least 2^-k is a multiple of 2^-(k + 52),
    and so are sums: what is computed of the smallest is zero or at least 2^-(12 * 52) of their product.
    """
    entries = np.concatenate([np.ravel(np.abs(A)) for A in i.problem])
    weight = np.minimum(i.weights, i.normalised()).min()
    entry = entries.min(where=entries > 0, initial=1.0)
    return bool(weight > 0 and 4 * np.log2(weight) + 8 * np.log2(entry) >= 12 * 52 - 1021)


def _length(*parts: Enclosure) -> Enclosure:
    squares = [(part * part).sum() for part in parts]
    return sum(squares[1:], squares[0]).sqrt()


def _longest_row(rows: Enclosure) -> Enclosure:
    return (rows * rows).sum(axis=1).max().sqrt()


def _residual_error(i: Computed, bits: int) -> Enclosure:
    found = residual(i.normalised(), i.problem)
    exact = residual(i.problem.weights(bits), i.problem.lifted(bits))
    return _longest_row(exact - lift(found, bits))


def _gradient_error(i: Computed, bits: int) -> Enclosure:
    found, exact = gradient(i.normalised(), i.problem), i.problem.gradient(bits)
    return _length(*(e - lift(f, bits) for e, f in zip(exact, found, strict=True)))


def _hessian_error(i: Computed, bits: int) -> Enclosure:
    found, exact = hessian(i.normalised(), i.problem), i.problem.hessian(bits)
    xx, xy, yy = (e - lift(f, bits) for e, f in zip(exact, found, strict=True))
    return _length(xx, xy, xy, yy)


def _parameters(i: Computed, bits: int) -> Mapping[str, Value]:
    p, P = i.problem.lifted(bits), i.problem.weights(2 * bits)
    lifted = i.problem.lifted(2 * bits)
    F = P @ lifted.A3
    frobenius = _length(p.A1)
    return {
        "queries": len(p.A1),
        "outputs": p.B.shape[1],
        "terms": i.roundings(),
        "unit_roundoff": ARITHMETIC["float64"].unit_roundoff,
        "weight_error": i.weight_error,
        # At least the spectral norm.
        "spectral_norm": frobenius,
        "frobenius_norm": frobenius,
        "key_norm": _longest_row(p.A2),
        "feature_norm": _longest_row(p.A3),
        "value_norm": _longest_row(abs(p.A3) @ abs(p.Y)),
        "target_norm": _longest_row(p.B),
        "residual_norm": _longest_row(residual(P, lifted)),
        "key_deviation": largest_deviation(P, lifted.A2),
        "value_deviation": largest_deviation(P, lifted.A3 @ lifted.Y),
        "feature_deviation": largest_deviation(P, lifted.A3),
        "mean_norm": _length(F),
    }


def _computed_covariance(i: Computed) -> Matrix:
    """Return the keys' covariance under the weights of the first row, as computed."""
    p, keys = i.normalised()[0], i.problem.A2
    mean = p @ keys
    covariance: Matrix = (keys * p[:, None]).T @ keys - np.multiply.outer(mean, mean)
    return covariance


def _first_deviation(i: Computed, bits: int) -> Enclosure:
    """Enclose the standard deviation of the first key entry, under the weights of the first row."""
    P, p = i.problem.weights(2 * bits), i.problem.lifted(2 * bits)
    return largest_deviation(P[:1], p.A2[:, :1])


def _deviation_parameters(i: Computed, bits: int) -> Mapping[str, Value]:
    return {
        **_parameters(i, bits),
        "covariance_norm": _length(lift(_computed_covariance(i), 2 * bits)),
        "row_norm": _parameters(i, bits)["key_norm"],
    }


#: A row of the residual, with whatever it errs by at any stage.
_residual_row = residual_norm + 2 * (
    _gamma * (value_norm + target_norm) + weight_error * value_deviation
)
_moved_row = _gamma * (value_norm + target_norm) + weight_error * value_deviation
_key_row = (
    2 * key_deviation * value_deviation * (_moved_row + 2 * weight_error * _residual_row)
    + 2 * _gamma * key_norm * value_norm * _residual_row
)

_GRADIENT_ARGUMENTS = (
    queries,
    terms,
    unit_roundoff,
    weight_error,
    spectral_norm,
    frobenius_norm,
    key_norm,
    feature_norm,
    value_norm,
    target_norm,
    residual_norm,
    key_deviation,
    value_deviation,
    feature_deviation,
    mean_norm,
)
_HESSIAN_ARGUMENTS = (
    queries,
    outputs,
    terms,
    unit_roundoff,
    weight_error,
    frobenius_norm,
    key_norm,
    feature_norm,
    value_norm,
    target_norm,
)
_POINT = {
    queries: 9,
    outputs: 2,
    terms: 100,
    unit_roundoff: sympy.Rational(1, 2**53),
    weight_error: sympy.Rational(1, 2**40),
    spectral_norm: 3,
    frobenius_norm: 4,
    key_norm: 2,
    feature_norm: sympy.Rational(5, 4),
    value_norm: 7,
    target_norm: 6,
    residual_norm: sympy.Rational(1, 3),
    key_deviation: sympy.Rational(3, 2),
    value_deviation: sympy.Rational(5, 3),
    feature_deviation: sympy.Rational(1, 2),
    mean_norm: 11,
    covariance_norm: 5,
    row_norm: 3,
}


def _line(rng: np.random.Generator, size: float = 1.0) -> Line:
    return Line(**{k: size * rng.standard_normal(s) for k, s in sampled_sizes(rng).items()})


def _sample(rng: np.random.Generator) -> Computed:
    line = _line(rng)
    signs = rng.uniform(-1, 1, (len(line.A1), len(line.A2)))
    return _computed(line, float(rng.choice([0, 1e-9, 0.06])), signs)


def _opposite(logit: float, error: float) -> Computed:
    """Give two opposite keys, of which the weights err by e^±error."""
    A2 = np.array([[1.0], [-1.0]])
    one = np.ones((1, 1))
    line = Line(one, A2, A2, 0 * one, logit * one, one, one, one)
    return _computed(line, error, np.array([[1.0, -1.0]]))


def _uniformly(i: Computed) -> Computed:
    """Return the problem with weights that ignore the data."""
    return Computed(i.problem, np.ones_like(i.weights), i.weight_error)


FP_REGRESSION = Claim[Computed](
    id="FP.regression",
    where="ours",
    statement=(
        "From computed weights whose logarithms err by eta, up to a constant a row: rows of the residual, "
        "the gradient and the Hessian, and standard deviations under the exact weights from a computed "
        "covariance. A term passes through at most k roundings.  residual_norm and the deviations are of "
        "exact quantities."
    ),
    not_stated=(
        "What underflows, for which a program adds what it can lose. That a given BLAS obeys the model, and "
        "that k counts every rounding of a given program."
    ),
    assumes=(
        Hypothesis(
            "eta <= 1/16", lambda i: i.weight_error <= Fraction(1, 16), mirrors=("eta <= 1 / 16",)
        ),
        Hypothesis(
            "logarithms of the weights err by at most eta, up to a constant a row",
            lambda i: _log_errors(i, 256).bounds()[1].item() <= i.weight_error,
            mirrors=("weights_within",),
        ),
        Hypothesis(
            "so that no product underflows: the smallest weight to the fourth power, times the smallest "
            "entry that is not zero to the eighth, is at least 2^-397",
            _nothing_underflows,
            alone="the theorem's sums are a model of rounding without underflow",
        ),
        Hypothesis(
            "k u <= 1/4",
            lambda i: i.roundings() * ARITHMETIC["float64"].unit_roundoff <= Fraction(1, 4),
            mirrors=("INR k * u < 1",),
        ),
    ),
    bounds=(
        Bound(
            name="regression_row_error",
            meaning="the error of a computed row of the residual",
            arguments=(terms, unit_roundoff, weight_error, value_norm, target_norm),
            expression=2 * sympy.tanh(weight_error / 2) * value_norm
            + _gamma * (value_norm + target_norm),
            provided=terms * unit_roundoff < 1,
            points=((100, _POINT[unit_roundoff], _POINT[weight_error], 7, 6),),
            quantity=_residual_error,
            parameters=_parameters,
            trivial=lambda i, bits: _residual_error(_uniformly(i), bits),
            extremal=lambda: _opposite(0.0, 2.0**-6),
            theorem="fp_regression_row",
        ),
        Bound(
            name="regression_gradient_error",
            meaning="the error of a computed gradient, in the Frobenius norm",
            arguments=_GRADIENT_ARGUMENTS,
            expression=sympy.sqrt(queries)
            * (
                spectral_norm * _key_row
                + 2 * _gamma * frobenius_norm * key_norm * value_norm * _residual_row
                + 2 * mean_norm * _moved_row
            )
            + queries
            * _residual_row
            * (2 * weight_error * feature_deviation + 3 * _gamma * feature_norm),
            provided=terms * unit_roundoff < 1,
            points=(tuple(_POINT[a] for a in _GRADIENT_ARGUMENTS),),
            quantity=_gradient_error,
            parameters=_parameters,
            trivial=lambda i, bits: _gradient_error(_uniformly(i), bits),
            extremal=lambda: _opposite(0.0, 2.0**-6),
            theorem="fp_regression_gradient",
        ),
        Bound(
            name="regression_hessian_error",
            meaning="the error of a computed Hessian, in the Frobenius norm",
            arguments=_HESSIAN_ARGUMENTS,
            expression=(12 * weight_error + 2 * _gamma)
            * (
                frobenius_norm**2
                * key_norm**2
                * (4 * value_norm**2 + 8 * value_norm * (value_norm + target_norm))
                + 4
                * frobenius_norm
                * sympy.sqrt(queries)
                * key_norm
                * feature_norm
                * (2 * value_norm + target_norm)
                + sympy.sqrt(outputs) * queries * feature_norm**2
            ),
            provided=terms * unit_roundoff < 1,
            points=(tuple(_POINT[a] for a in _HESSIAN_ARGUMENTS),),
            quantity=_hessian_error,
            parameters=_parameters,
            trivial=lambda i, bits: _hessian_error(_uniformly(i), bits),
            extremal=lambda: _opposite(0.0, 2.0**-6),
            theorem="fp_regression_hessian",
        ),
        Bound(
            name="computed_deviation",
            meaning="a standard deviation under exact weights, from the norm of a computed covariance",
            arguments=(covariance_norm, row_norm, terms, unit_roundoff, weight_error),
            expression=sympy.exp(weight_error)
            * sympy.sqrt(covariance_norm + 2 * _gamma * row_norm**2),
            provided=terms * unit_roundoff < 1,
            points=((5, 3, 100, _POINT[unit_roundoff], _POINT[weight_error]),),
            quantity=_first_deviation,
            parameters=_deviation_parameters,
            # The length of the longest key.
            trivial=lambda i, bits: _longest_row(i.problem.lifted(bits).A2),
            extremal=lambda: _opposite(5.0, 2.0**-6),
            theorem="fp_computed_deviation",
            relation=Relation.RELATIVE,
        ),
    ),
    witness=lambda: _computed(_line(np.random.default_rng(5), 2.0)),
    sample=_sample,
)

CLAIMS = (FP_REGRESSION,)
