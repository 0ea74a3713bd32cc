"""Rounding upward: the arithmetic between floats and a certificate, in float64, in one direction.

Every function returns at least (``down``: at most) the exact value at the floats that it is given.
"""

from typing import Any

import numpy as np

UNIT_ROUNDOFF = 2.0**-53

#: A product or quotient with this factor is at least the exact one after up to 4096 roundings of terms
#: that are not negative, since (1 + u)^k <= 1 + 2 k u for k u <= 1.
UPWARD = 1 + 2 * 4096 * UNIT_ROUNDOFF

_MORE, _LESS = 1 + 2.0**-52, 1 - 2.0**-52
_LIBRARY_MORE, _LIBRARY_LESS = 1 + 2.0**-49, 1 - 2.0**-49
_SMALLEST = 2.0**-1074


def up(value: Any) -> Any:
    """Return at least the next float above a nonnegative value."""
    return value * _MORE + _SMALLEST


def down(value: Any) -> Any:
    """Return at most the next float below a value, and never less than zero."""
    return np.maximum(value * _LESS - _SMALLEST, 0.0)


def library_up(value: Any) -> Any:
    """Round up past the 4 ulp that a library function may err."""
    return value * _LIBRARY_MORE + _SMALLEST


def library_down(value: Any) -> Any:
    """Round down past the 4 ulp that a library function may err."""
    return np.maximum(value * _LIBRARY_LESS - _SMALLEST, 0.0)


def total_up(terms: Any) -> Any:
    """Return at least the sum of nonnegative terms."""
    total = 0.0
    for term in terms:
        total = up(total + term)
    return total
