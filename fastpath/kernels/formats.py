"""Floating-point formats as a rounding model names them: their constants, and rounding to the nearest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.inputs import Array


@dataclass(frozen=True, kw_only=True)
class Format:
    """A binary floating-point format.

    Attributes
    ----------
    name : str
    precision : int
        Significant bits, the hidden one included.
    least_exponent : int
        The smallest normal number is 2 to this power.
    largest : float
        The largest finite number.
    infinite : bool
        Whether it has infinities; where it has none, what overflows becomes the largest number or NaN.
    gradual : bool
        Whether underflow is counted as gradual.  Units for the wide formats may flush subnormal numbers.
    """

    name: str
    precision: int
    least_exponent: int
    largest: float
    infinite: bool = True
    gradual: bool = False

    @property
    def unit_roundoff(self) -> float:
        """Half the distance from 1 to the next number, u."""
        return 2.0**-self.precision

    @property
    def tiny(self) -> float:
        """The smallest normal number."""
        return 2.0**self.least_exponent

    @property
    def lost(self) -> float:
        """What underflow may take from a result."""
        return self.tiny * self.unit_roundoff if self.gradual else self.tiny

    @standard_arithmetic
    def half_gap(self, x: Any) -> Array:
        """Return half the distance between the numbers of the format about a number."""
        exponent = np.maximum(np.frexp(np.asarray(x, np.float64))[1] - 1, self.least_exponent)
        half: Array = np.ldexp(1.0, exponent - self.precision)
        return half

    @standard_arithmetic
    def nearest(self, x: Any) -> Array:
        """Return the nearest numbers of the format, ties to even, as float64.

        What overflows is infinite, whether or not the format has infinities: rounding is monotone.
        """
        return self._integral(x, np.rint)

    @standard_arithmetic
    def within(self, lower: Any, upper: Any) -> tuple[Array, Array]:
        """Return the least number of the format from ``lower`` on and the largest up to ``upper``."""
        return self._integral(lower, np.ceil), self._integral(upper, np.floor)

    def _integral(self, x: Any, integer: Callable[[Any], Any]) -> Array:
        """Return x in units of its last place made an integer."""
        values = np.asarray(x, np.float64)
        if self.name == "float64":
            return values
        exponent = np.maximum(np.frexp(values)[1] - 1, self.least_exponent) - self.precision + 1
        rounded: Array = np.ldexp(integer(np.ldexp(values, -exponent)), exponent)
        rounded = np.where(np.isfinite(values), rounded, values)
        return np.where(np.abs(rounded) > self.largest, np.copysign(np.inf, rounded), rounded)


FORMATS = {
    each.name: each
    for each in (
        Format(
            name="float64", precision=53, least_exponent=-1022, largest=float(np.finfo(float).max)
        ),
        Format(
            name="float32",
            precision=24,
            least_exponent=-126,
            largest=float(np.finfo(np.float32).max),
        ),
        Format(name="tf32", precision=11, least_exponent=-126, largest=(2 - 2.0**-10) * 2.0**127),
        Format(name="bfloat16", precision=8, least_exponent=-126, largest=(2 - 2.0**-7) * 2.0**127),
        Format(name="float16", precision=11, least_exponent=-14, largest=65504.0, gradual=True),
        Format(
            name="float8_e4m3fn",
            precision=4,
            least_exponent=-6,
            largest=448.0,
            infinite=False,
            gradual=True,
        ),
        Format(name="float8_e5m2", precision=3, least_exponent=-14, largest=57344.0, gradual=True),
    )
}
