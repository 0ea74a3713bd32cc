r"""I.sampled: attention on a sample of keys, each kept by chance and weighed by the inverse of that.

Key j of share p_j = w_j / Σ w and value v_j is kept with probability P_j, independently of the others; P_j is
at least m p_j, or the key is kept always.  The sum over kept keys of p_j (v_j - y) / P_j has the mean
Σ p_j (v_j - y), by which the output lies off y, whatever y was fixed before.  Where |v_j - y| <= D its terms
are at most D/m and their second moments add up to M/m at most, M = Σ p_j (v_j - y)^2 (Bernstein; Boucheron,
Lugosi and Massart, Concentration Inequalities, 2013, section 2.8).  Of M the sample holds an estimate, of
terms that are not negative: it is too low only by their second moments, which add up to at most D^2 M/m.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.symbols import (
    AT_LEAST_ONE,
    INSIDE_UNIT,
    entries,
    estimate,
    failure_probability,
    samples,
    second_moment,
    value_distance,
)


@dataclass(frozen=True)
class Sampled:
    """Shares and probabilities of keys, multiples of 2^-10, and how far their values lie off y.

    ``samples`` is m, ``distance`` is D.
    """

    shares: NDArray[np.int64]
    kept: NDArray[np.int64]
    distances: NDArray[np.int64]
    samples: Fraction
    distance: int
    failure_probability: Fraction


_UNIT = 1024


def _exactly(i: Sampled) -> list[tuple[Fraction, Fraction, Fraction]]:
    """Return each key's share, probability and distance."""
    return [
        (Fraction(int(p), _UNIT), Fraction(int(P), _UNIT), Fraction(int(y)))
        for p, P, y in zip(i.shares, i.kept, i.distances, strict=True)
    ]


def _outcomes(i: Sampled, term: Callable[[Fraction], Fraction]) -> list[tuple[Fraction, Fraction]]:
    """Return every sample's sum of shares of a term by their probabilities, and its own probability."""
    keys, found = _exactly(i), []
    for choice in product((False, True), repeat=len(keys)):
        sum_, chance = Fraction(0), Fraction(1)
        for kept, (p, P, y) in zip(choice, keys, strict=True):
            chance *= P if kept else 1 - P
            sum_ += p * term(y) / P if kept else 0
        if chance:
            found.append((sum_, chance))
    return found


def _mean(i: Sampled) -> Fraction:
    return sum((p * y for p, _, y in _exactly(i)), Fraction(0))


def _moment(i: Sampled) -> Fraction:
    return sum((p * y**2 for p, _, y in _exactly(i)), Fraction(0))


def _errors(i: Sampled) -> list[tuple[Fraction, Fraction]]:
    return sorted((abs(sum_ - _mean(i)), chance) for sum_, chance in _outcomes(i, lambda y: y))


def _quantile(i: Sampled, bits: int) -> Enclosure:
    """Enclose the least number that the error passes with at most the failure probability."""
    beyond, found = Fraction(0), Fraction(0)
    for error, chance in reversed(_errors(i)):
        beyond += chance
        if beyond > i.failure_probability:
            found = error
            break
    return lift(found, bits)


def _least_estimate(i: Sampled) -> Fraction:
    """Return the least estimate that no more than the failure probability lies at or below without it."""
    at_most = Fraction(0)
    for found, chance in sorted(_outcomes(i, lambda y: y**2)):
        at_most += chance
        if at_most > i.failure_probability:
            return found
    return _moment(i)


def _parameters(i: Sampled, bits: int) -> Mapping[str, Value]:
    return {
        "entries": 1,
        "failure_probability": i.failure_probability,
        "second_moment": _moment(i),
        "samples": i.samples,
        "value_distance": i.distance,
    }


def _moment_parameters(i: Sampled, bits: int) -> Mapping[str, Value]:
    return {
        "entries": 1,
        "failure_probability": i.failure_probability,
        "estimate": _least_estimate(i),
        "samples": i.samples,
        "value_distance": i.distance,
    }


def _enough(i: Sampled) -> bool:
    return all(P == 1 or (0 < P < 1 and i.samples * p <= P) for p, P, _ in _exactly(i))


def _keys(
    shares: NDArray[np.int64], distances: NDArray[np.int64], samples: Fraction, chance: Fraction
) -> Sampled:
    kept = np.array([min(_UNIT, max(1, -int(-samples * int(p) // 1))) for p in shares])
    return Sampled(shares, kept, distances, samples, int(np.abs(distances).max()), chance)


def _sample(rng: np.random.Generator) -> Sampled:
    """Draw keys near y, and a light one far off: whoever keeps none but that one errs most."""
    n, light = int(rng.integers(6, 9)), int(rng.integers(2, 13))
    cuts = np.sort(rng.choice(np.arange(64, _UNIT - light, 64), n - 2, replace=False))
    shares = np.diff(np.r_[0, cuts, _UNIT - light, _UNIT])
    distances = rng.integers(-2, 3, n)
    distances[-1] = rng.choice([-1, 1]) * rng.integers(9, 31)
    return _keys(
        shares,
        distances,
        Fraction(int(rng.integers(16, 25)), 4),
        Fraction(1, int(rng.choice([2, 2, 3, 10]))),
    )


#: Keys of one share and two values.
_EVEN = _keys(np.full(8, 128), np.array([1, -1] * 4), Fraction(4), Fraction(1, 4))

#: The same of nine keys, and a light one of a value that lies far off.
_FAR = _keys(
    np.array([112] * 9 + [16]), np.array([1, -1] * 4 + [1, 9]), Fraction(5), Fraction(1, 2)
)

I_SAMPLED = Claim[Sampled](
    id="I.sampled",
    where="ours",
    statement=(
        "Keys are kept independently, each with at least m times its share of the weights or always; values "
        "lie within D of y, their mean square distance by the weights is M.  Of N sums of what is kept, by "
        "the inverse of its probability, all lie within sqrt(2 M L/m) + D L/(3m), L = ln(2N/delta), of their "
        "means but with probability delta; and of N estimates of M none is so low that M exceeds "
        "(sqrt(estimate + D^2 l/(2m)) + D sqrt(l/(2m)))^2, l = ln(N/delta), but with probability delta."
    ),
    not_stated="That a generator's numbers are independent: it is taken at its word.",
    assumes=(
        Hypothesis(
            "each key is kept with at least m times its share, or always",
            _enough,
            mirrors=("drawn",),
        ),
        Hypothesis(
            "no value lies farther off than D",
            lambda i: bool((np.abs(i.distances) <= i.distance).all()),
            mirrors=("drawn",),
        ),
        Hypothesis(
            "the failure probability lies between 0 and 1",
            lambda i: 0 < i.failure_probability < 1,
            mirrors=("0 < delta < 1",),
        ),
        Hypothesis(
            "some value lies off y",
            lambda i: _moment(i) > 0,
            mirrors=("0 < moment p y n",),
        ),
        Hypothesis(
            "m is at least 1",
            lambda i: i.samples >= 1,
            mirrors=("0 < m",),
        ),
    ),
    bounds=(
        Bound(
            name="sampled_error",
            meaning="the distance of a sample's sum from its mean, but with the failure probability",
            arguments=(entries, failure_probability, second_moment, samples, value_distance),
            expression=sympy.sqrt(
                2 * second_moment * sympy.log(2 * entries / failure_probability) / samples
            )
            + value_distance * sympy.log(2 * entries / failure_probability) / (3 * samples),
            domain={failure_probability: INSIDE_UNIT, samples: AT_LEAST_ONE},
            points=((1, sympy.Rational(1, 2), 3, 7, 2),),
            quantity=_quantile,
            parameters=_parameters,
            trivial=lambda i, bits: lift(_errors(i)[-1][0], bits),
            extremal=lambda: _EVEN,
            theorem="i_sampled",
        ),
        Bound(
            name="sampled_moment",
            meaning="the mean square distance of the values, but with the failure probability",
            arguments=(entries, failure_probability, estimate, samples, value_distance),
            expression=(
                sympy.sqrt(
                    estimate
                    + value_distance**2 * sympy.log(entries / failure_probability) / (2 * samples)
                )
                + value_distance
                * sympy.sqrt(sympy.log(entries / failure_probability) / (2 * samples))
            )
            ** 2,
            domain={failure_probability: INSIDE_UNIT, samples: AT_LEAST_ONE},
            points=((1, sympy.Rational(1, 2), 3, 7, 2),),
            quantity=lambda i, bits: lift(_moment(i), bits),
            parameters=_moment_parameters,
            trivial=lambda i, bits: lift(Fraction(i.distance) ** 2, bits),
            extremal=lambda: _EVEN,
            theorem="i_sampled_moment",
        ),
    ),
    witness=lambda: _FAR,
    sample=_sample,
)

CLAIMS = (I_SAMPLED,)
