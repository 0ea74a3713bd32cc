r"""FP.kernel_backward: gradients of an attention kernel, given what it returned itself.

The computation.  From its own output o_i, which is known, a kernel makes ``D_i = dO_i . o_i``, weights
``p_ij`` anew from its log-sum-exp, ``dS_ij = p_ij (dP_ij - D_i)`` with ``dP = dO V^T``, and with these ``dQ
= scale dS K``, ``dK = scale dS^T Q``, ``dV = P^T dO``.  FP.gradient says what dS and p are off by; rounded
to a low format, they are off by a rounding more; sums over queries may be rounded to it too, block by
block.

NOTE Given the kernel's output its error is no error of D: the interval's centre is made of that output, so a
low output does not widen it.
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
from specs.kernels.interval import UNIT_ROUNDOFF, factor, nearest
from specs.lifting import lift
from specs.symbols import (
    carried_error,
    error_sum,
    first_roundoff,
    half_gap,
    lost,
    magnitude_sum,
    partial_sum,
    sum_error,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class GradientSum:
    """A sum of products of which one factor is rounded to bfloat16, added up from the left in float32."""

    factors: Array
    others: Array
    rounded: Array
    computed: np.float32


def gradient_sum(factors: Array, others: Array) -> GradientSum:
    """Compute such a sum."""
    rounded = nearest(factors, 8).astype(np.float32)
    computed = np.cumsum(rounded * others.astype(np.float32), dtype=np.float32)[-1]
    return GradientSum(factors, others, rounded, computed)


def _exact(x: Any) -> list[Fraction]:
    return [Fraction(float(entry)) for entry in x]


def _sum_error(i: GradientSum, bits: int) -> Enclosure:
    exact = sum(
        (a * b for a, b in zip(_exact(i.factors), _exact(i.others), strict=True)), Fraction(0)
    )
    return lift(abs(Fraction(float(i.computed)) - exact), bits)


def _sum_parameters(i: GradientSum, bits: int) -> Mapping[str, Value]:
    rows = list(zip(_exact(i.factors), _exact(i.rounded), _exact(i.others), strict=True))
    return {
        "error_sum": sum((abs(c - a) * abs(b) for a, c, b in rows), Fraction(0)),
        "magnitude_sum": sum((abs(a * b) for a, _, b in rows), Fraction(0)),
        "sum_error": factor(len(rows), UNIT_ROUNDOFF["float32"]),
        "lost": Fraction(0),
    }


@dataclass(frozen=True)
class PartialSum:
    """A partial sum, what it is off by where it was computed, and its format."""

    exact: float
    off: float
    low: str

    @property
    def precision(self) -> int:
        """The significant bits of the format."""
        return UNIT_ROUNDOFF[self.low].denominator.bit_length() - 1

    def rounded(self) -> Fraction:
        """Return what stands in the format."""
        return Fraction(float(nearest(np.array(self.exact + self.off), self.precision)))

    def carried(self) -> Fraction:
        """Return what the sum was off by before."""
        return abs(Fraction(self.exact + self.off) - Fraction(self.exact))

    def half_gap(self) -> Fraction:
        """Return half the distance between the format's numbers about the largest that may be rounded."""
        size = abs(Fraction(self.exact)) + self.carried()
        exponent = -self.precision
        while size >= Fraction(2) ** (exponent + self.precision + 1):
            exponent += 1
        while size < Fraction(2) ** (exponent + self.precision):
            exponent -= 1
        return Fraction(2) ** exponent


def _partial_parameters(i: PartialSum, bits: int) -> Mapping[str, Value]:
    return {
        "carried_error": i.carried(),
        "partial_sum": abs(Fraction(i.exact)),
        "first_roundoff": UNIT_ROUNDOFF[i.low],
    }


def _sample_sum(rng: np.random.Generator) -> GradientSum:
    n = int(rng.integers(1, 60))
    return gradient_sum(rng.standard_normal(n), rng.standard_normal(n).astype(np.float32))


def _sample_partial(rng: np.random.Generator) -> PartialSum:
    low = ("bfloat16", "float16", "tf32")[rng.integers(3)]
    return PartialSum(float(rng.standard_normal()), float(1e-3 * rng.standard_normal()), low)


def _rounded_up() -> GradientSum:
    """Give factors just above the middle between two numbers."""
    u = 2.0**-8
    return gradient_sum(np.full(8, 1 + u * (1 + 2.0**-10)), np.ones(8))


FP_KERNEL_BACKWARD = Claim[GradientSum](
    id="FP.kernel_backward",
    where="ours",
    statement=(
        "A sum of n products of which one factor is off by e_j, within a relative g of the sum of "
        "their sizes, is off by (1 + g) sum e_j |b_j| + g sum |a_j b_j| and what underflow takes: "
        "with the dS and P of FP.gradient, rounded, and D made of the kernel's own output, so are dQ, "
        "dK and dV."
    ),
    not_stated="What dS and P are off by: FP.gradient.",
    assumes=(
        Hypothesis(
            "all is finite and of the normal range, and n u <= 1/4",
            lambda i: bool(
                all(
                    np.isfinite(x).all() and ((x == 0) | (np.abs(x) >= 2.0**-60)).all()
                    for x in (i.factors, i.others, i.rounded)
                )
                and np.isfinite(i.computed)
                and len(i.factors) * UNIT_ROUNDOFF["float32"] <= Fraction(1, 4)
            ),
            mirrors=(
                "Rabs (s - fsum n (fun j : nat => a' j * b j)) <= g * fsum n (fun j : nat => "
                "Rabs (a' j * b j)) + L",
            ),
        ),
    ),
    bounds=(
        Bound(
            name="kernel_gradient",
            meaning="the error of a kernel's sum of products, of which one factor has an error",
            arguments=(error_sum, magnitude_sum, sum_error, lost),
            expression=(1 + sum_error) * error_sum + sum_error * magnitude_sum + lost,
            points=((sympy.Rational(1, 100), 3, sympy.Rational(1, 200), sympy.Rational(1, 2**40)),),
            quantity=_sum_error,
            parameters=_sum_parameters,
            trivial=lambda i, bits: lift(
                abs(
                    sum(
                        (a * b for a, b in zip(_exact(i.factors), _exact(i.others), strict=True)),
                        Fraction(0),
                    )
                ),
                bits,
            ),
            extremal=_rounded_up,
            theorem="fp_kernel_gradient",
        ),
    ),
    witness=lambda: gradient_sum(np.array([1.3, -0.7, 0.2]), np.array([1.0, 0.5, 2.0])),
    sample=_sample_sum,
    recomputed=lambda i: gradient_sum(i.factors, i.others.astype(np.float32)),
)

FP_KERNEL_BLOCKS = Claim[PartialSum](
    id="FP.kernel_blocks",
    where="ours",
    statement=(
        "A partial sum that is off by e and rounded to a format of unit roundoff r is off by (1 + r) "
        "e + r |sum|, and by e and half the gap between the format's numbers about |sum| + e: so "
        "gradients that are added up in a low format, block of queries by block of queries."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "the sum is 0 or of the normal range",
            lambda i: i.exact + i.off == 0 or 2.0**-12 <= abs(i.exact + i.off) <= 2.0**12,
            mirrors=("Rabs delta <= r", "Rabs (fl y - y) <= h (Rabs y)"),
        ),
    ),
    bounds=(
        Bound(
            name="kernel_partial",
            meaning="the error of a sum so far that stands in a low format",
            arguments=(carried_error, partial_sum, first_roundoff),
            expression=(1 + first_roundoff) * carried_error + first_roundoff * partial_sum,
            points=((sympy.Rational(1, 100), 3, sympy.Rational(1, 256)),),
            quantity=lambda i, bits: lift(abs(i.rounded() - Fraction(i.exact)), bits),
            parameters=_partial_parameters,
            trivial=lambda i, bits: lift(abs(Fraction(i.exact)), bits),
            extremal=lambda: PartialSum(1 + 2.0**-8, 2.0**-20, "bfloat16"),
            theorem="fp_kernel_partial",
        ),
        Bound(
            name="kernel_standing",
            meaning="the error of a sum so far that stands in a low format, by the gap between its numbers",
            arguments=(carried_error, half_gap),
            expression=carried_error + half_gap,
            points=((sympy.Rational(1, 100), sympy.Rational(1, 256)),),
            quantity=lambda i, bits: lift(abs(i.rounded() - Fraction(i.exact)), bits),
            parameters=lambda i, bits: {"carried_error": i.carried(), "half_gap": i.half_gap()},
            trivial=lambda i, bits: lift(abs(Fraction(i.exact)), bits),
            extremal=lambda: PartialSum(1 + 2.0**-8, 2.0**-20, "bfloat16"),
            theorem="fp_kernel_standing",
        ),
    ),
    witness=lambda: PartialSum(1.3, 1e-3, "bfloat16"),
    sample=_sample_partial,
)

CLAIMS = (FP_KERNEL_BACKWARD, FP_KERNEL_BLOCKS)
