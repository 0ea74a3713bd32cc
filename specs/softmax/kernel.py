"""K: the integer exp kernel on which every enclosure rests."""

from dataclasses import dataclass

import numpy as np
import sympy

from reference import Enclosure
from reference.arithmetic.exponential import exp_nonpositive
from specs.claim import Bound, Claim, Hypothesis


@dataclass(frozen=True)
class KernelPoint:
    """An argument ``x 2^-bits`` of the kernel, as the integers that it takes."""

    x: int
    bits: int


def _truth(i: KernelPoint, bits: int) -> Enclosure:
    """Enclose 2^i.bits e^(x 2^-i.bits), with what the claim itself allows at ``bits`` more bits."""
    return Enclosure(np.array(exp_nonpositive(i.x << bits, i.bits + bits), object), 1, bits)


def _units_of_error(i: KernelPoint, bits: int) -> Enclosure:
    return abs(Enclosure.exact(exp_nonpositive(i.x, i.bits), bits) - _truth(i, bits))


def _sample(rng: np.random.Generator) -> KernelPoint:
    bits = int(rng.integers(16, 200))
    return KernelPoint(-int(rng.integers(0, 2**62)) << int(rng.integers(0, bits)) >> 40, bits)


K_EXP = Claim[KernelPoint](
    id="K.exp",
    where="ours",
    statement=(
        "The integer exp kernel of `reference.arithmetic.exponential` errs by at most 33/64 of a unit in the "
        "last place, for every nonpositive argument and every precision of at least 16 bits."
    ),
    not_stated="That CPython's integers add, multiply, divide and shift as Coq's do.",
    assumes=(
        Hypothesis(
            "x <= 0 and bits >= 16",
            lambda i: i.x <= 0 and i.bits >= 16,
            mirrors=("16 <= bits", "x <= 0"),
        ),
    ),
    bounds=(
        Bound(
            name="kernel_exp",
            meaning="the error of the integer exp kernel, in units of the last place",
            # Half a unit from the final rounding, the rest from floors below the guard bits.
            expression=sympy.Rational(33, 64),
            quantity=_units_of_error,
            trivial=_truth,
            extremal=lambda: KernelPoint(WORST_ARGUMENT, 16),
            theorem="k_exp",
        ),
    ),
    witness=lambda: KernelPoint(-(3 << 62), 64),
    sample=_sample,
)

#: The worst of all arguments in [-12, 0] at 16 bits.
WORST_ARGUMENT = -5599

CLAIMS = (K_EXP,)
