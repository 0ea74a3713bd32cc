"""S: how far a softmax moves when its logits or its weights move.  Every later bound rests on these.

Throughout, p and q are the softmax weights of two logit vectors u and v (or the normalisations of
two positive weight vectors b and a), eta bounds ``|u_i - v_i|``, and w is a vector of values, so
that ``<p, w>`` is one entry of an attention output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, evaluate, softmax
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.symbols import (
    AT_LEAST_ONE,
    BELOW_ONE,
    degree,
    epsilon,
    eta,
    kappa,
    logit_bound,
    magnitude,
    n,
    radius,
    scale,
    spread,
    x,
)

Vector = NDArray[np.float64]


_HALF, _THIRD = sympy.Rational(1, 2), sympy.Rational(1, 3)


# ------------------------------------------------------------------------------ shared arithmetic


def _lift(values: Vector, bits: int) -> Enclosure:
    return Enclosure.exact(values, bits)


def _uniform(count: int, bits: int) -> Enclosure:
    """Enclose the answer that ignores the data: every weight 1/count."""
    return softmax(np.zeros(count), precision=bits)


def _total_variation(p: Enclosure, q: Enclosure) -> Enclosure:
    """Enclose max over subsets S of |p(S) - q(S)|, which is half the l1 distance."""
    return abs(p - q).sum() / _lift(np.array(2.0), p.bits)


def _normalised(weights: Enclosure) -> Enclosure:
    return weights / weights.sum()


def _inner(p: Enclosure, w: Vector) -> Enclosure:
    return (p * _lift(w, p.bits)).sum()


def _spread(w: Vector) -> Fraction:
    return Fraction(float(w.max())) - Fraction(float(w.min()))


def _magnitude(w: Vector) -> Fraction:
    return Fraction(float(np.abs(w).max()))


# ------------------------------------------------------------------------------------- S.range


@dataclass(frozen=True)
class BoundedLogits:
    """Logits v with ``|v_i| <= logit_bound``."""

    v: Vector
    logit_bound: Fraction


def _range_parameters(i: BoundedLogits, bits: int) -> Mapping[str, Value]:
    return {"n": len(i.v), "logit_bound": i.logit_bound}


S_RANGE = Claim[BoundedLogits](
    id="S.range",
    where="ours",
    statement="|v_i| <= r implies 1/(1 + (n-1)e^{2r}) <= p_i <= e^{2r}/(e^{2r} + n - 1).",
    not_stated="",
    assumes=(
        Hypothesis(
            "every |v_i| <= logit_bound",
            lambda i: all(abs(Fraction(float(v))) <= i.logit_bound for v in i.v),
            mirrors=("bounded",),
        ),
    ),
    bounds=(
        Bound(
            name="softmax_range_upper",
            meaning="the largest softmax weight",
            arguments=(n, logit_bound),
            expression=sympy.exp(2 * logit_bound) / (sympy.exp(2 * logit_bound) + n - 1),
            points=((5, sympy.Rational(3, 2)), (1, _HALF), (1000, sympy.Rational(1, 10))),
            quantity=lambda i, bits: softmax(i.v, precision=bits).max(),
            parameters=_range_parameters,
            trivial=lambda i, bits: _lift(np.array(1.0), bits),
            extremal=lambda: BoundedLogits(np.array([1.5, -1.5, -1.5, -1.5, -1.5]), Fraction(3, 2)),
            theorem="s_range_upper",
            attained="s_range_upper_attained",
        ),
        Bound(
            name="softmax_range_inverse",
            meaning="the reciprocal of the smallest softmax weight",
            arguments=(n, logit_bound),
            expression=1 + (n - 1) * sympy.exp(2 * logit_bound),
            points=((5, sympy.Rational(3, 2)), (1, _HALF)),
            quantity=lambda i, bits: (
                _lift(np.array(1.0), bits) / softmax(i.v, precision=bits)
            ).max(),
            parameters=_range_parameters,
            # An answer that sharpens the logits threefold forgets the hypothesis.
            trivial=lambda i, bits: (
                _lift(np.array(1.0), bits) / softmax(3 * i.v, precision=bits)
            ).max(),
            extremal=lambda: BoundedLogits(np.array([-1.5, 1.5, 1.5, 1.5, 1.5]), Fraction(3, 2)),
            theorem="s_range_inverse",
            attained="s_range_inverse_attained",
        ),
    ),
    witness=lambda: BoundedLogits(np.array([0.5, -1.0, 0.25, 1.0]), Fraction(5, 4)),
    sample=lambda rng: BoundedLogits(rng.uniform(-2, 2, rng.integers(2, 9)), Fraction(2)),
)


# ----------------------------------------------------------------- S.ratio, S.tv, S.output


@dataclass(frozen=True)
class Perturbation:
    """Logits u and v with ``|u_i - v_i| <= eta``, and values w."""

    u: Vector
    v: Vector
    w: Vector
    eta: Fraction


def _perturbation_sample(rng: np.random.Generator) -> Perturbation:
    size = int(rng.integers(2, 9))
    v = rng.normal(0, 3, size)
    u = v + rng.choice([-1.0, 1.0, 0.0], size) * 0.37
    distance = max(abs(Fraction(float(a)) - Fraction(float(b))) for a, b in zip(u, v, strict=True))
    return Perturbation(u, v, rng.normal(0, 1, size), distance + Fraction(1, 1 << 20))


_WITHIN_ETA = Hypothesis[Perturbation](
    "every |u_i - v_i| <= eta",
    lambda i: all(
        abs(Fraction(float(a)) - Fraction(float(b))) <= i.eta for a, b in zip(i.u, i.v, strict=True)
    ),
    mirrors=("within",),
)


def _perturbation_witness() -> Perturbation:
    v = np.array([0.0, 2.0, -1.0])
    return Perturbation(
        v + np.array([0.125, -0.125, 0.0]), v, np.array([1.0, -2.0, 0.5]), Fraction(1, 4)
    )


def _pair(i: Perturbation, bits: int) -> tuple[Enclosure, Enclosure]:
    return softmax(i.u, precision=bits), softmax(i.v, precision=bits)


def _uniform_pair(i: Perturbation, bits: int) -> tuple[Enclosure, Enclosure]:
    return _uniform(len(i.v), bits), softmax(i.v, precision=bits)


def _largest_ratio(p: Enclosure, q: Enclosure) -> Enclosure:
    return (p / q).max()


def _relative_change(p: Enclosure, q: Enclosure) -> Enclosure:
    return (abs(p - q) / q).max()


def _output_change(p: Enclosure, q: Enclosure, w: Vector) -> Enclosure:
    return abs(_inner(p - q, w))


_FAR_KEYS = Perturbation(
    np.array([-39.5, -0.5]), np.array([-40.0, 0.0]), np.array([1.0, 0.0]), Fraction(1, 2)
)
_TWO_KEYS = Perturbation(
    np.array([0.5, 0.0]), np.array([0.0, 0.5]), np.array([1.0, -1.0]), Fraction(1, 2)
)

S_RATIO = Claim[Perturbation](
    id="S.ratio",
    where="ours",
    statement="|u_i - v_i| <= eta implies p_i <= e^{2 eta} q_i and |p_i - q_i| <= (e^{2 eta} - 1) q_i.",
    not_stated="",
    assumes=(_WITHIN_ETA,),
    bounds=(
        Bound(
            name="softmax_ratio",
            meaning="the largest ratio p_i / q_i of two softmax weights",
            arguments=(eta,),
            expression=sympy.exp(2 * eta),
            points=((_THIRD,), (sympy.Rational(7, 2),)),
            quantity=lambda i, bits: _largest_ratio(*_pair(i, bits)),
            parameters=lambda i, bits: {"eta": i.eta},
            trivial=lambda i, bits: _largest_ratio(*_uniform_pair(i, bits)),
            extremal=lambda: _FAR_KEYS,
            theorem="s_ratio",
            relation=Relation.RELATIVE,
            approached="s_ratio_sharp",
        ),
        Bound(
            name="softmax_entry",
            meaning="the largest relative change |p_i - q_i| / q_i of a softmax weight",
            arguments=(eta,),
            expression=sympy.exp(2 * eta) - 1,
            points=((_THIRD,), (sympy.Rational(1, 1000),)),
            quantity=lambda i, bits: _relative_change(*_pair(i, bits)),
            parameters=lambda i, bits: {"eta": i.eta},
            trivial=lambda i, bits: _relative_change(*_uniform_pair(i, bits)),
            extremal=lambda: _FAR_KEYS,
            theorem="s_entry",
            relation=Relation.RELATIVE,
            approached="s_entry_sharp",
        ),
    ),
    witness=_perturbation_witness,
    sample=_perturbation_sample,
)

S_TV = Claim[Perturbation](
    id="S.tv",
    where="ours",
    statement=(
        "|u_i - v_i| <= eta implies |p(S) - q(S)| <= tanh(eta/2) for every subset S of keys; "
        "for positive weights with b_i a_j <= s^2 a_i b_j the bound is (s-1)/(s+1)."
    ),
    not_stated="",
    assumes=(_WITHIN_ETA,),
    bounds=(
        Bound(
            name="softmax_tv",
            meaning="the total variation between two softmax vectors",
            arguments=(eta,),
            expression=sympy.tanh(eta / 2),
            points=((sympy.Rational(2, 7),), (sympy.Rational(9, 2),)),
            quantity=lambda i, bits: _total_variation(*_pair(i, bits)),
            parameters=lambda i, bits: {"eta": i.eta},
            trivial=lambda i, bits: _total_variation(*_uniform_pair(i, bits)),
            extremal=lambda: _TWO_KEYS,
            theorem="s_tv",
            attained="s_tv_attained",
        ),
        Bound(
            name="hilbert_tv",
            meaning="the total variation between weights at Hilbert distance 2 ln(scale)",
            arguments=(scale,),
            expression=(scale - 1) / (scale + 1),
            domain={scale: AT_LEAST_ONE},
            points=((sympy.Rational(5, 4),), (7,)),
            quantity=lambda i, bits: _total_variation(*_pair(i, bits)),
            parameters=lambda i, bits: {"scale": evaluate(sympy.exp(eta), {"eta": i.eta}, bits)},
            trivial=lambda i, bits: _total_variation(*_uniform_pair(i, bits)),
            extremal=lambda: _TWO_KEYS,
            theorem="s_tv_hilbert",
            attained="s_tv_hilbert_attained",
        ),
    ),
    witness=_perturbation_witness,
    sample=_perturbation_sample,
)

S_OUTPUT = Claim[Perturbation](
    id="S.output",
    where="ours",
    statement=(
        "|<p - q, w>| <= tanh(eta/2) (max w - min w) <= 2 tanh(eta/2) max|w|: "
        "an attention output moves by at most this when its logits move by eta."
    ),
    not_stated="",
    assumes=(_WITHIN_ETA,),
    bounds=(
        Bound(
            name="softmax_output",
            meaning="the change of an attention output, from the spread of its values",
            arguments=(eta, spread),
            expression=spread * sympy.tanh(eta / 2),
            points=((sympy.Rational(1, 5), sympy.Rational(7, 2)),),
            quantity=lambda i, bits: _output_change(*_pair(i, bits), i.w),
            parameters=lambda i, bits: {"eta": i.eta, "spread": _spread(i.w)},
            trivial=lambda i, bits: _output_change(*_uniform_pair(i, bits), i.w),
            extremal=lambda: _TWO_KEYS,
            theorem="s_output",
            attained="s_output_attained",
        ),
        Bound(
            name="softmax_output_magnitude",
            meaning="the change of an attention output, from the largest value",
            arguments=(eta, magnitude),
            expression=2 * magnitude * sympy.tanh(eta / 2),
            points=((sympy.Rational(1, 5), sympy.Rational(7, 2)),),
            quantity=lambda i, bits: _output_change(*_pair(i, bits), i.w),
            parameters=lambda i, bits: {"eta": i.eta, "magnitude": _magnitude(i.w)},
            trivial=lambda i, bits: _output_change(*_uniform_pair(i, bits), i.w),
            extremal=lambda: _TWO_KEYS,
            theorem="s_output_magnitude",
            attained="s_output_magnitude_attained",
        ),
    ),
    witness=_perturbation_witness,
    sample=_perturbation_sample,
)


# ----------------------------------------------------------------------------------- S.weights


@dataclass(frozen=True)
class Reweighting:
    """Positive weights a and b with ``(1-epsilon) a_i <= b_i <= (1+epsilon) a_i``, and values w."""

    a: Vector
    b: Vector
    w: Vector
    epsilon: Fraction


def _reweighting_holds(i: Reweighting) -> bool:
    return 0 <= i.epsilon < 1 and all(
        Fraction(float(a)) > 0
        and (1 - i.epsilon) * Fraction(float(a))
        <= Fraction(float(b))
        <= (1 + i.epsilon) * Fraction(float(a))
        for a, b in zip(i.a, i.b, strict=True)
    )


def _reweighting_sample(rng: np.random.Generator) -> Reweighting:
    size = int(rng.integers(1, 9))
    a = rng.exponential(1, size) + 2.0**-10
    b = a * (1 + rng.uniform(-0.4, 0.4, size))
    return Reweighting(a, b, rng.normal(0, 1, size), Fraction(2, 5) + Fraction(1, 1 << 20))


def _weights_pair(i: Reweighting, bits: int) -> tuple[Enclosure, Enclosure]:
    return _normalised(_lift(i.b, bits)), _normalised(_lift(i.a, bits))


def _weights_trivial(i: Reweighting, bits: int) -> tuple[Enclosure, Enclosure]:
    return _uniform(len(i.a), bits), _normalised(_lift(i.a, bits))


# TV is largest where the first weight has mass 1/(1+s), s^2 = (1+eps)/(1-eps) = 3.
_SKEWED = Reweighting(
    np.array([1.0, 3.0**0.5]), np.array([1.5, 3.0**0.5 / 2]), np.array([1.0, -1.0]), Fraction(1, 2)
)

S_WEIGHTS = Claim[Reweighting](
    id="S.weights",
    where="ours",
    statement=(
        "b_i in [(1-eps) a_i, (1+eps) a_i] implies total variation <= eps/(1 + sqrt(1-eps^2)) and "
        "output change <= 2 eps/(1 + sqrt(1-eps^2)) max|w|: about eps, where the usual argument gives 2 eps."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "a > 0, 0 <= epsilon < 1 and every b_i in [(1-epsilon) a_i, (1+epsilon) a_i]",
            _reweighting_holds,
            mirrors=("0 <= epsilon < 1", "positive", "relative_error"),
        ),
    ),
    bounds=(
        Bound(
            name="weights_tv",
            meaning="the total variation between two normalised weight vectors",
            arguments=(epsilon,),
            expression=epsilon / (1 + sympy.sqrt(1 - epsilon**2)),
            domain={epsilon: BELOW_ONE},
            points=((_THIRD,), (sympy.Rational(99, 100),)),
            quantity=lambda i, bits: _total_variation(*_weights_pair(i, bits)),
            parameters=lambda i, bits: {"epsilon": i.epsilon},
            trivial=lambda i, bits: _total_variation(*_weights_trivial(i, bits)),
            extremal=lambda: _SKEWED,
            theorem="s_weights_tv",
            attained="s_weights_tv_attained",
        ),
        Bound(
            name="weights_output",
            meaning="the change of an attention output when its weights change relatively",
            arguments=(epsilon, magnitude),
            expression=2 * epsilon * magnitude / (1 + sympy.sqrt(1 - epsilon**2)),
            domain={epsilon: BELOW_ONE},
            points=((_THIRD, sympy.Rational(5, 2)),),
            quantity=lambda i, bits: _output_change(*_weights_pair(i, bits), i.w),
            parameters=lambda i, bits: {"epsilon": i.epsilon, "magnitude": _magnitude(i.w)},
            trivial=lambda i, bits: _output_change(*_weights_trivial(i, bits), i.w),
            extremal=lambda: _SKEWED,
            theorem="s_weights_output",
            attained="s_weights_output_attained",
        ),
    ),
    witness=lambda: Reweighting(
        np.array([1.0, 8.0]), np.array([1.0625, 7.5]), np.array([1.0, -1.0]), Fraction(1, 8)
    ),
    sample=_reweighting_sample,
)


# ------------------------------------------------------------------------------------- S.kappa


@dataclass(frozen=True)
class PolynomialWeights:
    """Logits and a polynomial, positive there, used in place of exp (constant term first)."""

    logits: Vector
    coefficients: Vector


def _polynomial(i: PolynomialWeights, bits: int) -> Enclosure:
    """Enclose P at every logit by Horner's rule."""
    points = _lift(i.logits, bits)
    value = _lift(np.zeros_like(i.logits), bits)
    for coefficient in i.coefficients[::-1]:
        value = value * points + _lift(np.full_like(i.logits, coefficient), bits)
    return value


def _kappa(i: PolynomialWeights, bits: int) -> Enclosure:
    ratio = _polynomial(i, bits) * (-_lift(i.logits, bits)).exp()
    return ratio.max() / ratio.min()


def _positive(i: PolynomialWeights) -> bool:
    points = [Fraction(float(v)) for v in i.logits]
    powers = [Fraction(float(c)) for c in i.coefficients]
    return all(sum(c * p**k for k, c in enumerate(powers)) > 0 for p in points)


_TAYLOR_2 = np.array([1.0, 1.0, 0.5])

S_KAPPA = Claim[PolynomialWeights](
    id="S.kappa",
    where="ours",
    statement=(
        "For weights P(x_i) in place of e^{x_i}, only kappa = max(P(x)e^{-x}) / min(P(x)e^{-x}) on "
        "the logits matters: total variation <= tanh(ln(kappa)/4).  ln kappa adds over products; "
        "a factor common to a row cancels."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "P is positive at every logit",
            _positive,
            mirrors=("0 < m", "positive", "comparable"),
        ),
    ),
    bounds=(
        Bound(
            name="kappa_tv",
            meaning="the total variation when a polynomial replaces exp",
            arguments=(kappa,),
            expression=sympy.tanh(sympy.log(kappa) / 4),
            domain={kappa: AT_LEAST_ONE},
            points=((sympy.Rational(5, 4),), (30,)),
            quantity=lambda i, bits: _total_variation(
                _normalised(_polynomial(i, bits)), softmax(i.logits, precision=bits)
            ),
            parameters=lambda i, bits: {"kappa": _kappa(i, bits)},
            trivial=lambda i, bits: _total_variation(
                _uniform(len(i.logits), bits), softmax(i.logits, precision=bits)
            ),
            # P(x)e^{-x} is e/2 at -1 and 5/(2e) at 1; 79 : 13 keys bring the odds to the optimum.
            extremal=lambda: PolynomialWeights(np.repeat([-1.0, 1.0], [79, 13]), _TAYLOR_2),
            theorem="s_kappa_tv",
            attained="s_kappa_tv_attained",
        ),
    ),
    witness=lambda: PolynomialWeights(np.array([-0.5, 0.0, 0.5]), _TAYLOR_2),
    sample=lambda rng: PolynomialWeights(rng.uniform(-1, 1, rng.integers(2, 9)), _TAYLOR_2),
)


# ------------------------------------------------------------------------------------ S.taylor


@dataclass(frozen=True)
class TaylorPoint:
    """A point and the degree of the Taylor polynomial of exp at 0."""

    x: float
    degree: int


def _taylor(i: TaylorPoint, bits: int) -> Enclosure:
    point = _lift(np.array(i.x), bits)
    value = _lift(np.array(1.0), bits)
    for k in range(i.degree, 0, -1):
        value = value * point / _lift(np.array(float(k)), bits) + _lift(np.array(1.0), bits)
    return value


def _exp(i: TaylorPoint, bits: int) -> Enclosure:
    return _lift(np.array(i.x), bits).exp()


_SMALL_POINT = TaylorPoint(2.0**-12, 3)

S_TAYLOR = Claim[TaylorPoint](
    id="S.taylor",
    where="ours",
    statement=(
        "|e^x - sum_{k<=g} x^k/k!| <= e^{max(0,x)} |x|^{g+1}/(g+1)!, and relative to e^x it is "
        "<= e^{|x|} |x|^{g+1}/(g+1)!."
    ),
    not_stated="",
    assumes=(),
    bounds=(
        Bound(
            name="taylor_absolute",
            meaning="the error of the Taylor polynomial of exp",
            arguments=(degree, x),
            expression=sympy.exp(sympy.Max(0, x))
            * sympy.Abs(x) ** (degree + 1)
            / sympy.factorial(degree + 1),
            points=((6, sympy.Rational(3, 2)), (3, sympy.Rational(-5, 4))),
            quantity=lambda i, bits: abs(_exp(i, bits) - _taylor(i, bits)),
            parameters=lambda i, bits: {"degree": i.degree, "x": Fraction(i.x)},
            trivial=lambda i, bits: _exp(i, bits),
            extremal=lambda: _SMALL_POINT,
            theorem="s_taylor_absolute",
            approached="s_taylor_absolute_sharp",
        ),
        Bound(
            name="taylor_relative",
            meaning="the error of the Taylor polynomial relative to exp, for |x| <= radius",
            arguments=(degree, radius),
            expression=sympy.exp(radius) * radius ** (degree + 1) / sympy.factorial(degree + 1),
            points=((6, sympy.Rational(3, 2)),),
            quantity=lambda i, bits: abs(_exp(i, bits) - _taylor(i, bits)) / _exp(i, bits),
            parameters=lambda i, bits: {"degree": i.degree, "radius": abs(Fraction(i.x))},
            trivial=lambda i, bits: _lift(np.array(1.0), bits),
            extremal=lambda: _SMALL_POINT,
            theorem="s_taylor_relative",
            relation=Relation.RELATIVE,
            approached="s_taylor_relative_sharp",
        ),
    ),
    witness=lambda: TaylorPoint(-0.75, 5),
    sample=lambda rng: TaylorPoint(float(rng.uniform(-4, 4)), int(rng.integers(0, 12))),
)

CLAIMS = (S_RANGE, S_RATIO, S_TV, S_OUTPUT, S_WEIGHTS, S_KAPPA, S_TAYLOR)
