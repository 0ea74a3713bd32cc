r"""I.box: the logit of a key of which only a box is known that holds its image, rounding included.

A query q and a key k are turned by a matrix M near a rotation, each with its rounding: q̃ = qM + e_q and
k̃ = kM + e_k.  The key's image k̃ lies within h of m in each coordinate, so that

    q·k = qM·kM + q (I - MMᵀ) k,  qM·kM = q̃·k̃ - q̃·e_k - e_q·kM,  q̃·k̃ <= q̃·m + |q̃|·h,

and |kM| <= |k̃| + |e_k| <= ||m| + h| + |e_k|.  What is computed for the box is that last sum of 2 d products.
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
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC, Arithmetic
from specs.symbols import (
    box_extent,
    defect,
    image_length,
    key_image_error,
    key_length,
    logit_error,
    query_image_error,
    query_length,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class Boxed:
    """A query, a key, the matrix M that both are turned by, and a box: all floats of one type."""

    query: Array
    key: Array
    rotation: Array
    middle: Array
    half: Array

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the type."""
        return ARITHMETIC[self.query.dtype.name]

    def image(self, x: Array) -> Array:
        """Compute x M."""
        found: Array = x @ self.rotation
        return found

    def computed(self) -> float:
        """Compute what a logit of the box is at most, but for rounding."""
        image = self.image(self.query)
        return float(np.abs(image) @ self.half + image @ self.middle)


def _exactly(x: Array) -> Array:
    return np.array([Fraction(float(a)) for a in x.flat], object).reshape(x.shape)


def _length(x: Array, bits: int) -> Enclosure:
    return lift((_exactly(x) ** 2).sum() if x.dtype != object else (x**2).sum(), 2 * bits).sqrt()


def _missing(i: Boxed, bits: int) -> Enclosure:
    """Enclose by how much the logit exceeds what was computed for the box."""
    return lift(_exactly(i.query) @ _exactly(i.key) - Fraction(i.computed()), bits)


def _image_error(i: Boxed, x: Array, bits: int) -> Enclosure:
    return _length(_exactly(i.image(x)) - _exactly(x) @ _exactly(i.rotation), bits)


def _parameters(i: Boxed, bits: int) -> Mapping[str, Value]:
    image, middle, half = (_exactly(x) for x in (i.image(i.query), i.middle, i.half))
    M = _exactly(i.rotation)
    exact = image @ middle + abs(image) @ half
    return {
        "logit_error": lift(abs(Fraction(i.computed()) - exact), bits),
        "defect": _length(M @ M.T - np.eye(len(M), dtype=int), bits),
        "query_length": _length(i.query, bits),
        "key_length": _length(i.key, bits),
        "image_length": _length(i.image(i.query), bits),
        "key_image_error": _image_error(i, i.key, bits),
        "query_image_error": _image_error(i, i.query, bits),
        "box_extent": _length(abs(middle) + half, bits),
    }


def _by_lengths(i: Boxed, bits: int) -> Enclosure:
    """Enclose what is missing where a logit is bounded by the lengths alone."""
    return _length(i.query, bits) * _length(i.key, bits) - lift(Fraction(i.computed()), bits)


def _within(i: Boxed) -> bool:
    return bool((abs(_exactly(i.image(i.key)) - _exactly(i.middle)) <= _exactly(i.half)).all())


def _boxed(query: Array, key: Array, rotation: Array, half: Array) -> Boxed:
    """Take a box about the key's image, or one at whose corner it lies."""
    image = key @ rotation
    return Boxed(query, key, rotation, image - half, np.nextafter(2 * half, half.dtype.type(1e9)))


def _sample(rng: np.random.Generator) -> Boxed:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    d = int(rng.integers(2, 6))
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0].astype(dtype)
    query, key = (size * rng.standard_normal(d).astype(dtype) for size in (3, 10))
    return _boxed(query.astype(dtype), key.astype(dtype), rotation, rng.random(d).astype(dtype))


def _shrunk() -> Boxed:
    """Give one coordinate, of which the matrix takes a part that is no rounding."""
    one = np.ones(1)
    return Boxed(3 * one, 5 * one, one[:, None] * (1 - 2.0**-12), 5 * one * (1 - 2.0**-12), 0 * one)


I_BOX = Claim[Boxed](
    id="I.box",
    where="ours",
    statement=(
        "Turned by a matrix M, a query's image is q̃ and a key's lies within h of m: their logit exceeds what "
        "is computed of q̃·m + |q̃|·h by at most its rounding, |MMᵀ - I| |q| |k|, |q̃| times the error of the "
        "key's image, and that of the query's times the length of |m| + h and the former."
    ),
    not_stated="That boxes are small: an algorithm's choice, which is measured.",
    assumes=(
        Hypothesis(
            "the image of the key lies in the box",
            _within,
            mirrors=("within",),
        ),
    ),
    bounds=(
        Bound(
            name="box_slack",
            meaning="by how much a logit may exceed what is computed for the box of its key",
            arguments=(
                logit_error,
                defect,
                query_length,
                key_length,
                image_length,
                key_image_error,
                query_image_error,
                box_extent,
            ),
            expression=logit_error
            + defect * query_length * key_length
            + image_length * key_image_error
            + query_image_error * (box_extent + key_image_error),
            points=(
                (
                    sympy.Rational(1, 1000),
                    sympy.Rational(1, 2**18),
                    3,
                    12,
                    sympy.Rational(31, 10),
                    sympy.Rational(1, 500),
                    sympy.Rational(1, 700),
                    13,
                ),
            ),
            quantity=_missing,
            parameters=_parameters,
            trivial=_by_lengths,
            extremal=_shrunk,
            theorem="i_box",
        ),
    ),
    witness=lambda: _boxed(
        np.array([1.0, 2.0]),
        np.array([0.5, -1.0]),
        np.array([[0.6, 0.8], [-0.8, 0.6]]),
        np.array([0.25, 0.5]),
    ),
    sample=_sample,
)

CLAIMS = (I_BOX,)
