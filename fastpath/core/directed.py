"""Rounding in one direction: the only place that knows how far a float64 may lie from what it stands for.

Between a bound and a certificate every operation is followed by one of these steps, upward or downward;
sums and products of matrices, which round more than once, are in :mod:`fastpath.core.norms`.
"""

import math
from typing import Any

import numpy as np

UNIT_ROUNDOFF = 2.0**-53

_ULP = 2.0**-52
_MORE, _LESS = 1 + _ULP, 1 - _ULP
_LIBRARY_MORE, _LIBRARY_LESS = 1 + 2.0**-49, 1 - 2.0**-49
_SMALLEST = 2.0**-1074


def up(value: Any) -> Any:
    """Return at least the next float above a nonnegative value."""
    return value * _MORE + _SMALLEST


def down(value: Any) -> Any:
    """Return at most the next float below a value, and never less than zero."""
    return np.maximum(value * _LESS - _SMALLEST, 0.0)


def above(value: Any) -> Any:
    """Return at least the next float above a value of either sign."""
    return value + (np.abs(value) * _ULP + _SMALLEST)


def below(value: Any) -> Any:
    """Return at most the next float below a value of either sign."""
    return value - (np.abs(value) * _ULP + _SMALLEST)


def library_up(value: Any) -> Any:
    """Round up past the 4 ulp that a library function may err."""
    return value * _LIBRARY_MORE + _SMALLEST


def library_down(value: Any) -> Any:
    """Round down past the 4 ulp that a library function may err."""
    return np.maximum(value * _LIBRARY_LESS - _SMALLEST, 0.0)


def float_at_most(number: Any) -> float:
    """Return the largest float that is no more than a number of any type."""
    rounded = float(number)
    return rounded if rounded <= number else math.nextafter(rounded, -math.inf)


def float32_above(value: Any) -> Any:
    """Return float32 numbers of at least these that are not negative; 0 stays."""
    exact = np.asarray(value)
    nearest = exact.astype(np.float32)
    return np.where(nearest < exact, np.nextafter(nearest, np.float32(np.inf)), nearest)


def float32_below(value: Any) -> Any:
    """Return float32 numbers of at most these that are not negative."""
    exact = np.asarray(value)
    nearest = exact.astype(np.float32)
    return np.where(nearest > exact, np.nextafter(nearest, np.float32(0)), nearest)


def total_up(terms: Any) -> Any:
    """Return at least the sum of nonnegative terms."""
    total = 0.0
    for term in terms:
        total = up(total + term)
    return total
