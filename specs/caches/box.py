r"""Q: attention of which every logit and every value is known only to within a radius.

With p the softmax of the logits that are known, the true weights are p_j ρ_j / Σ p ρ with ρ_j in
[e^{-c_j}, e^{c_j}], and the true values lie within e_j of the known v_j.  Write u_j = p_j e^{c_j} and l_j =
p_j e^{-c_j}.

* The largest output is the λ at which g(λ) = Σ u (v + e - λ)₊ - Σ l (λ - v - e)₊ is 0: weights u on values
  above λ and l on those below.  At any λ the output is at most λ + g(λ)₊ / Σ l.
* Averages that attention itself computes bound the output less sharply: |ρ - 1| <= e^c - 1 <= F c with F =
  (e^{c̄} - 1)/c̄, Σ p c |v - y| <= √(Σ p c²) √(Σ p (v - y)²) (Cauchy and Schwarz), and Σ p ρ >= Σ p e^{-c} >=
  e^{-Σ p c} (Jensen).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, softmax
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.symbols import (
    AT_LEAST_ONE,
    POSITIVE,
    centre,
    centre_error,
    distance,
    excess,
    growth,
    lightest,
    radius_mean,
    radius_square,
    radius_value_error,
    scatter,
    second_moment,
    value_error,
)

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """Logits and values with their radii, how far they are moved, and where the hull is looked at.

    ``centre`` is what is taken for the output of the logits and values that are known.
    """

    logits: Vector
    radii: Vector
    values: Vector
    errors: Vector
    moves: Vector
    shifts: Vector
    centre: float
    level: float


def _fractions(x: Vector) -> list[Fraction]:
    return [Fraction(float(a)) for a in x]


def _moved_sums(x: Vector, by: Vector, bits: int) -> Enclosure:
    return lift(x, bits) + lift(by, bits)


def output(i: Box, bits: int) -> Enclosure:
    """Enclose the output of the moved logits and values."""
    weights = softmax(_moved_sums(i.logits, i.moves, bits), precision=bits)
    return (weights * _moved_sums(i.values, i.shifts, bits)).sum()


def _known(i: Box, bits: int) -> Enclosure:
    """Enclose the weights of the known logits."""
    return softmax(i.logits, precision=bits)


def _mean(i: Box, of: Enclosure | Vector, bits: int) -> Enclosure:
    of = of if isinstance(of, Enclosure) else lift(of, bits)
    return (_known(i, bits) * of).sum()


def _within(i: Box) -> bool:
    return all(
        abs(m) <= r
        for moved, radii in ((i.moves, i.radii), (i.shifts, i.errors))
        for m, r in zip(_fractions(moved), _fractions(radii), strict=True)
    )


WITHIN = Hypothesis[Box](
    "logits are moved by at most c and values by at most e",
    _within,
    mirrors=("near", "near (2)"),
)


def _hull_parameters(i: Box, bits: int) -> Mapping[str, Value]:
    p = _known(i, bits)
    heavy, light = p * lift(i.radii, bits).exp(), p * lift(-i.radii, bits).exp()
    gaps = _moved_sums(i.values, i.errors, bits) - lift(i.level, bits)
    zero = lift(np.zeros(len(i.values)), bits)
    g = (heavy * gaps.maximum(zero)).sum() - (light * (-gaps).maximum(zero)).sum()
    return {
        "distance": Fraction(i.level) - Fraction(i.centre),
        "excess": g.maximum(lift(0, bits)),
        "lightest": light.sum(),
    }


def _above(i: Box, bits: int) -> Enclosure:
    return output(i, bits) - lift(i.centre, bits)


def _top(i: Box, bits: int) -> Enclosure:
    """Enclose the answer that looks at no weight: the largest value there may be."""
    return _moved_sums(i.values, i.errors, bits).max() - lift(i.centre, bits)


def _box_of(rng: np.random.Generator, radius: float, error: float) -> Box:
    n = int(rng.integers(2, 9))
    logits, values = rng.normal(0, 2, n), rng.normal(0, 1, n)
    radii, errors = radius * rng.random(n), error * rng.random(n)
    p = np.exp(logits - logits.max())
    p /= p.sum()
    mean = float(p @ values)
    ends = rng.choice([-1.0, 1.0], (2, n))
    level = mean + float(rng.random()) * (values.max() + error - mean)
    return Box(logits, radii, values, errors, ends[0] * radii, ends[1] * errors, mean, level)


def _box_sample(rng: np.random.Generator) -> Box:
    return _box_of(rng, float(rng.choice([0.01, 0.3, 2.0])), float(rng.choice([0.0, 0.1])))


_TWO = Box(
    logits=np.zeros(2),
    radii=np.array([0.5, 0.5]),
    values=np.array([1.0, -1.0]),
    errors=np.zeros(2),
    moves=np.array([0.5, -0.5]),
    shifts=np.zeros(2),
    centre=0.0,
    level=float(np.tanh(0.5)),
)

_WITNESS = Box(
    logits=np.array([0.0, 1.0, -1.0]),
    radii=np.array([0.25, 0.125, 0.5]),
    values=np.array([1.0, -2.0, 3.0]),
    errors=np.array([0.125, 0.0, 0.25]),
    moves=np.array([0.25, -0.125, 0.5]),
    shifts=np.array([0.125, 0.0, -0.25]),
    centre=-0.875,
    level=-0.5,
)

Q_HULL = Claim[Box](
    id="Q.hull",
    where="ours",
    statement=(
        "Logits within c and values within e of what is known: the output is at most λ + g(λ)₊ / Σ l at "
        "every λ, g(λ) = Σ u (v + e - λ)₊ - Σ l (λ - v - e)₊, u = p e^c, l = p e^-c; where g(λ) = 0 it is "
        "attained."
    ),
    not_stated=(
        "That a λ with g(λ) <= 0 is found: Newton's method comes from below, and what is missing is added."
    ),
    assumes=(WITHIN,),
    bounds=(
        Bound(
            name="hull_output",
            meaning="how far an output of the box lies above a centre",
            arguments=(distance, excess, lightest),
            expression=distance + excess / lightest,
            domain={distance: sympy.S.Reals, lightest: POSITIVE},
            points=((sympy.Rational(1, 3), sympy.Rational(1, 7), sympy.Rational(4, 5)),),
            quantity=_above,
            parameters=_hull_parameters,
            trivial=_top,
            extremal=lambda: _TWO,
            theorem="q_hull",
            attained="q_hull_attained",
        ),
    ),
    witness=lambda: _WITNESS,
    sample=_box_sample,
)

# ---------------------------------------------------------------------------------- Q.augmented


def _distance(i: Box, bits: int) -> Enclosure:
    return abs(output(i, bits) - lift(i.centre, bits))


def _growth_of(i: Box, bits: int) -> Enclosure:
    largest = lift(float(i.radii.max()), bits)
    return (largest.exp() - 1) / largest


def _augmented_parameters(i: Box, bits: int) -> Mapping[str, Value]:
    gaps = lift(i.values, bits) - lift(i.centre, bits)
    return {
        "radius_mean": _mean(i, i.radii, bits),
        "radius_square": _mean(i, lift(i.radii, bits) * lift(i.radii, bits), bits),
        "scatter": _mean(i, gaps * gaps, bits),
        "value_error": _mean(i, i.errors, bits),
        "radius_value_error": _mean(i, lift(i.radii, bits) * lift(i.errors, bits), bits),
        "growth": _growth_of(i, bits),
        "centre_error": abs(_mean(i, i.values, bits) - lift(i.centre, bits)),
    }


def _farthest(i: Box, bits: int) -> Enclosure:
    """Enclose the distance to the farther end of the values, which looks at no weight."""
    above = _moved_sums(i.values, i.errors, bits).max() - lift(i.centre, bits)
    below = lift(i.centre, bits) - _moved_sums(i.values, -i.errors, bits).min()
    return above.maximum(below)


def _logarithm_change(i: Box, bits: int) -> Enclosure:
    known, moved = lift(i.logits, bits), _moved_sums(i.logits, i.moves, bits)
    return abs(moved.exp().sum().log() - known.exp().sum().log())


def _logarithm_parameters(i: Box, bits: int) -> Mapping[str, Value]:
    return {"radius_mean": _mean(i, i.radii, bits), "growth": _growth_of(i, bits)}


#: Two keys, radii of 2^-12: e^c is nearly linear.
_TWO_SMALL = replace(_TWO, radii=_TWO.radii * 2.0**-11, moves=_TWO.moves * 2.0**-11)

_ALL_UP = replace(_TWO_SMALL, moves=_TWO_SMALL.radii)

_SMALL_WITNESS = replace(_WITNESS, radii=_WITNESS.radii / 8, moves=_WITNESS.moves / 8)


def _augmented_sample(rng: np.random.Generator) -> Box:
    i = _box_of(rng, float(rng.choice([0.001, 0.03])), float(rng.choice([0.0, 0.01])))
    return replace(i, radii=i.radii + 2.0**-20)


Q_AUGMENTED = Claim[Box](
    id="Q.augmented",
    where="ours",
    statement=(
        "Logits within c and values within e of what is known, and any y: the output lies within (F √(Σpc² "
        "Σp(v - y)²) + |Σpv - y| + Σpe + FΣpce) e^{Σpc} of y, F >= (e^c - 1)/c for every c; the log-sum-exp "
        "within F Σpc of what is known."
    ),
    not_stated="",
    assumes=(
        WITHIN,
        Hypothesis(
            "some radius is positive",
            lambda i: bool(i.radii.max() > 0),
            alone="the growth is found as a quotient by the largest",
        ),
    ),
    bounds=(
        Bound(
            name="augmented_output",
            meaning="the distance of an output from a centre, by averages of augmented values",
            arguments=(
                radius_mean,
                radius_square,
                scatter,
                value_error,
                radius_value_error,
                growth,
                centre_error,
            ),
            expression=(
                growth * sympy.sqrt(radius_square * scatter)
                + centre_error
                + value_error
                + growth * radius_value_error
            )
            * sympy.exp(radius_mean),
            domain={growth: AT_LEAST_ONE},
            points=(
                (
                    sympy.Rational(1, 10),
                    sympy.Rational(1, 50),
                    sympy.Rational(1, 5),
                    sympy.Rational(1, 100),
                    sympy.Rational(1, 1000),
                    sympy.Rational(21, 20),
                    sympy.Rational(1, 3000),
                ),
            ),
            quantity=_distance,
            parameters=_augmented_parameters,
            trivial=_farthest,
            extremal=lambda: _TWO_SMALL,
            theorem="q_augmented",
            attained="q_augmented_attained",
        ),
        Bound(
            name="augmented_log",
            meaning="the change of a log-sum-exp, by the average of the radii",
            arguments=(radius_mean, growth),
            expression=radius_mean * growth,
            domain={growth: AT_LEAST_ONE},
            points=((sympy.Rational(1, 10), sympy.Rational(21, 20)),),
            quantity=_logarithm_change,
            parameters=_logarithm_parameters,
            # The largest radius, and twice that to be sure.
            trivial=lambda i, bits: lift(2 * float(i.radii.max()), bits),
            extremal=lambda: _ALL_UP,
            theorem="q_augmented_log",
        ),
    ),
    witness=lambda: _SMALL_WITNESS,
    sample=_augmented_sample,
)

# --------------------------------------------------------------------------------- FP.augmented


@dataclass(frozen=True)
class Moments:
    """Averages of v and v² as they were computed; the first is the centre."""

    logits: Vector
    values: Vector
    centre: float
    centre_error: float
    second_moment: float


def _exact_mean(i: Moments, power: int, bits: int) -> Enclosure:
    values = lift(i.values, bits)
    return (softmax(i.logits, precision=bits) * (values if power == 1 else values * values)).sum()


def _moments_hold(i: Moments) -> bool:
    bits = 512
    (first,) = _exact_mean(i, 1, bits).verdict(i.centre, i.centre_error).reshape(1)
    second: Fraction = _exact_mean(i, 2, bits).bounds()[1].item()
    return first.name == "WITHIN" and Fraction(i.second_moment) >= second


def _scatter(i: Moments, bits: int) -> Enclosure:
    gaps = lift(i.values, bits) - lift(i.centre, bits)
    return (softmax(i.logits, precision=bits) * gaps * gaps).sum()


def _scatter_parameters(i: Moments, bits: int) -> Mapping[str, Value]:
    return {
        "second_moment": Fraction(i.second_moment),
        "centre": abs(Fraction(i.centre)),
        "centre_error": Fraction(i.centre_error),
    }


def _moments(logits: Vector, values: Vector, error: float, sign: float) -> Moments:
    p = np.exp(logits - logits.max())
    p = p / p.sum()
    slack = (error + 2.0**-40) * float(p @ np.abs(values)) + 2.0**-60
    return Moments(
        logits=logits,
        values=values,
        centre=float(p @ values) + sign * slack * (1 - 2.0**-6),
        centre_error=slack,
        second_moment=float(p @ values**2) * (1 + error + 2.0**-40),
    )


def _moments_sample(rng: np.random.Generator) -> Moments:
    n = int(rng.integers(2, 9))
    return _moments(
        rng.normal(0, 2, n),
        rng.normal(0, 1, n),
        float(rng.choice([0.0, 1e-7, 1e-3])),
        float(rng.choice([-1.0, 0.0, 1.0])),
    )


FP_AUGMENTED = Claim[Moments](
    id="FP.augmented",
    where="ours",
    statement=(
        "Of averages that were computed (y of v within an error, one of v² within nothing below) the average "
        "of (v - y)² is at most second - y² + 2 |y| error."
    ),
    not_stated=(
        "The errors of the averages themselves: FP.softmax bounds each, as an output of attention whose "
        "columns were rounded before."
    ),
    assumes=(
        Hypothesis(
            "the averages are what they are said to be",
            _moments_hold,
            mirrors=(
                "mean n p (fun j : nat => v j ^ 2) <= second",
                "Rabs (y - mean n p v) <= first_error",
            ),
        ),
    ),
    bounds=(
        Bound(
            name="augmented_scatter",
            meaning="the average of (v - y)², by averages that were computed",
            arguments=(second_moment, centre, centre_error),
            expression=second_moment - centre**2 + 2 * centre * centre_error,
            points=((3, sympy.Rational(3, 2), sympy.Rational(1, 1000)),),
            quantity=_scatter,
            parameters=_scatter_parameters,
            # About the farther end of the values, with the whole weight.
            trivial=lambda i, bits: lift(
                max((Fraction(float(v)) - Fraction(i.centre)) ** 2 for v in i.values) * 2, bits
            ),
            extremal=lambda: _moments(np.zeros(2), np.array([1.0, -1.0]), 2.0**-20, -1.0),
            theorem="fp_augmented",
        ),
    ),
    witness=lambda: _moments(np.array([0.0, 1.0]), np.array([1.0, -0.5]), 2.0**-20, 1.0),
    sample=_moments_sample,
)

CLAIMS = (Q_HULL, Q_AUGMENTED, FP_AUGMENTED)
