r"""FP: what rounding does to the sums, norms and products from which certificates are put together.

Between a bound and a certificate stands arithmetic on floats: sums of squares, norms, products of
matrices.  Each of its results is turned into a bound on the exact one by counting its own terms, in any
order of summation; the model is that of FP.softmax.  What underflow takes is a term of every bound.
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
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC, Arithmetic, gamma
from specs.symbols import (
    POSITIVE,
    computed,
    entries,
    exponentials,
    keys,
    left_norm,
    lightest,
    right_norm,
    roundings,
    terms,
    tiny,
    unit_roundoff,
)

Array = NDArray[Any]

# -------------------------------------------------------------------------------------- FP.sum


@dataclass(frozen=True)
class SumOfSquares:
    """Numbers, and the sum of their squares as it was computed."""

    numbers: Array
    computed: np.floating[Any]

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the numbers' type."""
        return ARITHMETIC[self.numbers.dtype.name]

    def exact(self) -> Fraction:
        """Return the sum without any rounding."""
        return sum((Fraction(float(x)) ** 2 for x in self.numbers), Fraction(0))


def _from_the_left(numbers: Array) -> SumOfSquares:
    squares = numbers * numbers
    return SumOfSquares(numbers, np.cumsum(squares, dtype=numbers.dtype)[-1])


def _lost_squares() -> SumOfSquares:
    """Give 1 + u + u + ..., which from the left stays 1: so that every term but one is lost."""
    numbers = np.full(512, 2.0**-12, np.float32)
    numbers[0] = 1
    return _from_the_left(numbers)


def _sample_numbers(rng: np.random.Generator) -> SumOfSquares:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    size = float(rng.choice([1e-20, 1.0, 1e10]))
    return _from_the_left((size * rng.standard_normal(rng.integers(1, 60))).astype(dtype))


FP_SUM = Claim[SumOfSquares](
    id="FP.sum",
    where="ours",
    statement=(
        "A floating-point sum s of n products that are not negative, each of which passes through k "
        "roundings at most: the exact one is at most (s + n tiny) / (1 - 2 k u). In any order k is at most n."
    ),
    not_stated="That a given BLAS or numpy.sum obeys the model.",
    assumes=(
        Hypothesis(
            "the sum, of rounded squares in any order, is finite",
            lambda i: bool(np.isfinite(i.computed)),
            mirrors=("adds", "roundings t <= k", "computes"),
        ),
        Hypothesis(
            "n u <= 1/4",
            lambda i: len(i.numbers) * i.arithmetic.unit_roundoff <= Fraction(1, 4),
            mirrors=("INR k * u <= 1 / 4",),
        ),
    ),
    bounds=(
        Bound(
            name="positive_sum",
            meaning="the exact sum of products that are not negative, from the computed one",
            arguments=(computed, terms, roundings, unit_roundoff, tiny),
            expression=(computed + terms * tiny) / (1 - 2 * roundings * unit_roundoff),
            points=((3, 4096, 60, sympy.Rational(1, 2**53), sympy.Rational(1, 2**1022)),),
            quantity=lambda i, bits: lift(i.exact(), bits),
            parameters=lambda i, bits: {
                "computed": Fraction(float(i.computed)),
                "terms": len(i.numbers),
                "roundings": len(i.numbers),
                "unit_roundoff": i.arithmetic.unit_roundoff,
                "tiny": i.arithmetic.tiny,
            },
            # As many terms as there are, each the largest.
            trivial=lambda i, bits: lift(
                len(i.numbers) * Fraction(float(np.abs(i.numbers).max())) ** 2, bits
            ),
            extremal=_lost_squares,
            theorem="fp_positive_sum",
        ),
    ),
    witness=lambda: _from_the_left(np.array([1.0, -0.5, 0.3])),
    sample=_sample_numbers,
    recomputed=lambda i: _from_the_left(i.numbers),
)

# ---------------------------------------------------------------------------------- FP.product


@dataclass(frozen=True)
class MatrixProduct:
    """Two matrices and their product as it was computed."""

    left: Array
    right: Array
    product: Array

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the matrices' type."""
        return ARITHMETIC[self.left.dtype.name]


def _multiplied(left: Array, right: Array) -> MatrixProduct:
    """Multiply with every sum taken from left to right, the order that loses most."""
    each = left[:, :, None] * right[None]
    return MatrixProduct(left, right, np.cumsum(each, axis=1, dtype=left.dtype)[:, -1])


def _frobenius(x: Enclosure) -> Enclosure:
    return (x * x).sum().sqrt()


def _exact_product(i: MatrixProduct, bits: int) -> Enclosure:
    return Enclosure.exact(i.left, bits) @ Enclosure.exact(i.right, bits)


def _product_parameters(i: MatrixProduct, bits: int) -> Mapping[str, Value]:
    return {
        "terms": i.left.shape[1],
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "left_norm": _frobenius(Enclosure.exact(i.left, bits)),
        "right_norm": _frobenius(Enclosure.exact(i.right, bits)),
        "entries": i.product.size,
        "tiny": i.arithmetic.tiny,
    }


def _lost_products() -> MatrixProduct:
    numbers = _lost_squares().numbers
    return _multiplied(numbers[None], numbers[:, None])


def _sample_matrices(rng: np.random.Generator) -> MatrixProduct:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    m, k, n = (int(x) for x in rng.integers(1, 7, 3))
    return _multiplied(
        rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    )


FP_PRODUCT = Claim[MatrixProduct](
    id="FP.product",
    where="ours",
    statement=(
        "A floating-point product of matrices with k products an entry, in any order, errs in the Frobenius "
        "norm by gamma_k |A| |B| + sqrt(entries) k tiny."
    ),
    not_stated="That a given BLAS obeys the model. Strassen-like products are outside it.",
    assumes=(
        Hypothesis(
            "every entry of the product, a rounded sum in any order, is finite",
            lambda i: bool(np.isfinite(i.product).all()),
            mirrors=(
                "exists t : tree, adds d t /\\ computes u lost (fun l : nat => A i l * B l j) "
                "t (C i j)",
            ),
        ),
        Hypothesis(
            "k u <= 1/4",
            lambda i: i.left.shape[1] * i.arithmetic.unit_roundoff <= Fraction(1, 4),
            mirrors=("INR d * u <= 1 / 4",),
        ),
    ),
    bounds=(
        Bound(
            name="product_error",
            meaning="the Frobenius norm of the error of a computed product of matrices",
            arguments=(terms, unit_roundoff, left_norm, right_norm, entries, tiny),
            expression=gamma(terms) * left_norm * right_norm + sympy.sqrt(entries) * terms * tiny,
            points=((64, sympy.Rational(1, 2**53), 12, 7, 4096, sympy.Rational(1, 2**1022)),),
            quantity=lambda i, bits: _frobenius(
                Enclosure.exact(i.product, bits) - _exact_product(i, bits)
            ),
            parameters=_product_parameters,
            trivial=lambda i, bits: _frobenius(_exact_product(i, bits)),
            extremal=_lost_products,
            theorem="fp_product",
        ),
    ),
    witness=lambda: _multiplied(np.array([[1.0, 0.3], [-0.7, 2.0]]), np.array([[0.1], [3.0]])),
    sample=_sample_matrices,
    recomputed=lambda i: _multiplied(i.left, i.right),
)

# -------------------------------------------------------------------------------- FP.underflow


@dataclass(frozen=True)
class Flushed:
    """Logits relative to their shift, of which exponentials below the normal numbers count as 0."""

    logits: Array

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the logits' type."""
        return ARITHMETIC[self.logits.dtype.name]


def _flushed_share(i: Flushed, bits: int) -> Enclosure:
    """Enclose what is lost with the weights below tiny, relative to the sum of all."""
    bits += 2 * i.arithmetic.tiny.denominator.bit_length()
    weights = Enclosure.exact(i.logits, bits).exp()
    gone = np.exp(i.logits.astype(np.float64)) < float(i.arithmetic.tiny)
    return (weights * Enclosure.exact(gone.astype(np.float64), bits)).sum() / weights.sum()


def _sample_logits(rng: np.random.Generator) -> Flushed:
    logits = rng.uniform(-120, -80, int(rng.integers(2, 40))).astype(np.float32)
    logits[0] = 0
    return Flushed(logits)


FP_UNDERFLOW = Claim[Flushed](
    id="FP.underflow",
    where="ours",
    statement=(
        "Of a sum of n weights, each a product of c exponentials, underflow takes at most 8 n c tiny, over a "
        "lower bound on the sum: so from the sum of the weights, and from that of values of at most 2."
    ),
    not_stated="Exponentials that lose more than tiny below the normal numbers (FP.exp).",
    assumes=(
        Hypothesis(
            "some weight is at least 1",
            lambda i: bool((i.logits >= 0).any()),
            mirrors=("0 < lightest <= total",),
        ),
        Hypothesis(
            "no weight is above 1", lambda i: bool((i.logits <= 0).all()), mirrors=("0 <= M <= 2",)
        ),
    ),
    bounds=(
        Bound(
            name="weights_underflow",
            meaning="what underflow takes from a sum of weights, relative to it",
            arguments=(keys, exponentials, tiny, lightest),
            expression=8 * keys * exponentials * tiny / lightest,
            domain={lightest: POSITIVE},
            points=((4096, 2, sympy.Rational(1, 2**126), sympy.Rational(1, 64)),),
            quantity=_flushed_share,
            parameters=lambda i, bits: {
                "keys": len(i.logits),
                "exponentials": 1,
                "tiny": i.arithmetic.tiny,
                "lightest": 1,
            },
            trivial=lambda i, bits: Enclosure.exact(np.array(1.0), bits),
            # Just below the logarithm of tiny, -87.3366.
            extremal=lambda: Flushed(np.array([0.0] + [-87.34] * 200, np.float32)),
            theorem="fp_underflow",
            relation=Relation.RELATIVE,
        ),
    ),
    witness=lambda: Flushed(np.array([0.0, -100.0], np.float32)),
    sample=_sample_logits,
)

CLAIMS = (FP_SUM, FP_PRODUCT, FP_UNDERFLOW)
