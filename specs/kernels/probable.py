r"""FP.kernel_probable: what independent roundings of mean 0 add up to, but for a given probability.

The model: every rounding of a weight, of a logit and of an output moves a result by a number of mean 0
between -c_r and c_r, independently of all others.  Sums of these are then below c_r-independent multiples
of the root of sum c_r^2 (Hoeffding, J.  Amer.  Statist.  Assoc. 58, 1963).

NOTE Roundings are no chance: the same input is rounded in the same way.  Keys of equal scores are rounded
alike, so they count as one rounding with the sum of their coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.symbols import INSIDE_UNIT, entries, failure_probability, square_sum


@dataclass(frozen=True)
class Roundings:
    """What each rounding may move a result by, one way or the other alike, and a failure probability."""

    sizes: NDArray[np.float64]
    failure_probability: Fraction


def _sums(i: Roundings) -> list[Fraction]:
    """Return the sums of all choices of signs, without signs of their own, in order."""
    sizes = [Fraction(float(c)) for c in i.sizes]
    return sorted(
        abs(sum((s * c for s, c in zip(signs, sizes, strict=True)), Fraction(0)))
        for signs in product((-1, 1), repeat=len(sizes))
    )


def _quantile(i: Roundings, bits: int) -> Enclosure:
    """Enclose the least number that the sum passes with at most the failure probability."""
    sums = _sums(i)
    beyond = int(i.failure_probability * len(sums))
    return lift(sums[len(sums) - 1 - beyond], bits)


def _parameters(i: Roundings, bits: int) -> Mapping[str, Value]:
    return {
        "entries": 1,
        "failure_probability": i.failure_probability,
        "square_sum": sum((Fraction(float(c)) ** 2 for c in i.sizes), Fraction(0)),
    }


def _sample(rng: np.random.Generator) -> Roundings:
    return Roundings(
        rng.random(int(rng.integers(1, 11))), Fraction(1, int(rng.choice([2, 10, 100, 500])))
    )


FP_KERNEL_PROBABLE = Claim[Roundings](
    id="FP.kernel_probable",
    where="ours",
    statement=(
        "Of N sums of independent roundings of mean 0, |rounding r| <= c_r, all are at most sqrt(2 "
        "ln(2N/delta) sum c_r^2) but with probability delta."
    ),
    not_stated="That the roundings of a kernel are independent and of mean 0: that is the model's.",
    assumes=(
        Hypothesis(
            "no size is negative, and there are few enough to try all signs",
            lambda i: bool((i.sizes >= 0).all() and 1 <= len(i.sizes) <= 12),
            mirrors=("rounding",),
        ),
        Hypothesis(
            "the failure probability lies between 0 and 1",
            lambda i: 0 < i.failure_probability < 1,
            mirrors=("0 < delta < 1",),
        ),
    ),
    bounds=(
        Bound(
            name="kernel_probable",
            meaning="sums of independent roundings of mean 0, but with the failure probability",
            arguments=(entries, failure_probability, square_sum),
            expression=sympy.sqrt(2 * square_sum * sympy.log(2 * entries / failure_probability)),
            domain={failure_probability: INSIDE_UNIT},
            points=((1, sympy.Rational(1, 2), 3),),
            quantity=_quantile,
            parameters=_parameters,
            trivial=lambda i, bits: lift(
                sum((abs(Fraction(float(c))) for c in i.sizes), Fraction(0)), bits
            ),
            extremal=lambda: Roundings(np.ones(1), Fraction(999, 1000)),
            theorem="fp_kernel_probable",
        ),
    ),
    witness=lambda: Roundings(np.ones(12), Fraction(1, 100)),
    sample=_sample,
)

CLAIMS = (FP_KERNEL_PROBABLE,)
