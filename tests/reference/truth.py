"""Truths that owe nothing to the code under test: Fractions, and Arb balls compared with certainty.

An Arb comparison is true only if it holds for every pair of numbers in the two balls, so "not
shown" counts as a failure and no tolerance is needed anywhere.
"""

from fractions import Fraction

import numpy as np
from flint import arb, fmpq
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reference import Enclosure

FLOATS = (np.float16, np.float32, np.float64)


def encloses(enclosure, truth):
    """Whether every exact rational truth lies in its ball, by the definition and in Fractions."""
    truth = np.asarray(truth, dtype=object)
    unit = Fraction(2) ** -enclosure.bits
    return enclosure.shape == truth.shape and all(
        abs(t - m * unit) <= enclosure.radius * unit
        for t, m in zip(truth.ravel(), enclosure.mid.ravel(), strict=True)
    )


def encloses_arb(enclosure, truth):
    """Whether every number in each Arb ball lies in its ball."""
    truth = np.asarray(truth, dtype=object)
    radius = dyadic(enclosure.radius, enclosure.bits)
    return enclosure.shape == truth.shape and all(
        abs(t - dyadic(m, enclosure.bits)) <= radius
        for t, m in zip(truth.ravel(), enclosure.mid.ravel(), strict=True)
    )


def dyadic(value, bits):
    """The exact Arb number value / 2^bits."""
    return arb((value, -bits))


def to_arb(x):
    """Arb balls of an array of Fractions or floats."""
    return apply(lambda f: arb(fmpq(*f.as_integer_ratio())), x)


def apply(function, x):
    """The object array of function values."""
    x = np.asarray(x, dtype=object)
    result = np.empty(x.shape, dtype=object)
    for index in np.ndindex(x.shape):
        result[index] = function(x[index])
    return result


def fractions(x):
    """The exact values of an array of floats or integers."""
    return apply(lambda entry: Fraction(entry), np.asarray(x).astype(object))


@st.composite
def balls(draw, shape=None, *, least=None, most=None, bits=None):
    """An enclosure and a truth in it, at the very ends of the balls as often as inside.

    Midpoints are small, huge, zero or anything; ``least`` and ``most`` confine the truth and the
    midpoints.
    """
    bits = draw(st.integers(-8, 160)) if bits is None else bits
    shape = draw(shapes()) if shape is None else shape
    low = -(2 ** max(bits + 12, 4)) if least is None else -(-least * 2**bits // 1)
    high = 2 ** max(bits + 12, 4) if most is None else most * 2**bits // 1
    size = int(np.prod(shape, dtype=int))
    mid = np.empty(shape, dtype=object)
    mid.ravel()[:] = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
    radius = draw(st.sampled_from([0, 1, 2, 7, 2 ** max(bits, 0) // 3]))
    offsets = st.sampled_from([-1, 1, 0, Fraction(1, 3), Fraction(-9, 11)])
    offset = np.empty(shape, dtype=object)
    offset.ravel()[:] = draw(st.lists(offsets, min_size=size, max_size=size))
    unit = Fraction(2) ** -bits
    truth = apply(Fraction, (mid + radius * offset) * unit)
    if least is not None:
        truth = np.asarray(np.maximum(truth, Fraction(least)), dtype=object)
    if most is not None:
        truth = np.asarray(np.minimum(truth, Fraction(most)), dtype=object)
    return Enclosure(mid, int(radius), bits), truth


def shapes():
    """Scalars, one entry, one row, one column, and a small rectangle."""
    return st.sampled_from([(), (1,), (4,), (1, 1), (1, 3), (3, 1), (2, 3)])


@st.composite
def plain_arrays(draw, shape=None):
    """Numbers that are taken as exact: each dtype, zeros, denormals, huge; each memory order."""
    dtype = draw(st.sampled_from([*FLOATS, np.int8, np.int64, np.uint64]))
    shape = draw(shapes()) if shape is None else shape
    elements = (
        hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
        if dtype in FLOATS
        else None
    )
    array = draw(hnp.arrays(dtype, shape, elements=elements))
    order = draw(st.sampled_from(["C", "F", "reversed"]))
    if order == "reversed" and array.ndim:
        return array[::-1]
    return np.asfortranarray(array) if order == "F" and array.ndim else array
