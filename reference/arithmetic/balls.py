"""Arrays of balls: what an enclosure is, how exact numbers become one, and what it can be asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reference.arithmetic.exact_numbers import ObjectArray, as_objects, entries, entrywise, ratios
from reference.arithmetic.verdict import Verdict

__all__ = ["Balls"]


@dataclass(frozen=True, eq=False, repr=False)
class Balls:
    """Array of unknown real numbers, each known to within one shared radius.

    |truth − mid · 2^−bits| ≤ radius · 2^−bits  for every entry.

    Parameters
    ----------
    mid : object array of int, any shape
        Midpoints in units of 2^−bits.
    radius : int
        Shared radius in units of 2^−bits, at least 0.
    bits : int
        Number of fractional bits; may be negative.
    """

    mid: ObjectArray
    radius: int
    bits: int

    def __post_init__(self) -> None:
        """Check the fields and hold ``mid`` as a view that cannot be written to."""
        mid = as_objects(self.mid).view()
        mid.flags.writeable = False
        object.__setattr__(self, "mid", mid)
        if not all(type(value) is int for value in (self.radius, self.bits, *entries(mid))):
            raise TypeError("mid, radius and bits must be Python integers.")  # int64 would wrap
        if self.radius < 0:
            raise ValueError(f"radius must be at least 0, got {self.radius}.")

    @classmethod
    def exact(cls, x: Any, bits: int | None = None, *, name: str = "x") -> Self:
        """Lift numbers that are taken as exact.

        Parameters
        ----------
        x : array_like, any shape
            Finite float16, float32, float64, integers, Fractions.
        bits : int, optional
            Fractional bits of the result.  By default as many as ``x`` needs.
        name : str
            What the error messages call ``x``.

        Returns
        -------
        Enclosure
            Of radius 0 where every entry is a multiple of 2^−bits, else of radius 1: one floor.

        Raises
        ------
        TypeError
            If an entry is no number of these types.
        ValueError
            If an entry is not finite, or is no binary fraction and ``bits`` is not given.
        """
        numerators, denominators = ratios(x, name)
        if bits is None:
            bits = _bits_needed(denominators)
        if bits is None:
            raise ValueError(f"{name} holds a fraction that is not binary: bits must be given.")
        return cls._floor(numerators, denominators, bits)

    def at(self, bits: int) -> Self:
        """Return the same truth at ``bits`` fractional bits, exactly unless these are fewer."""
        shift = self.bits - bits
        if shift <= 0:
            return type(self)(self.mid << -shift, self.radius << -shift, bits)
        mid = as_objects(self.mid >> shift)
        lost = np.any(mid << shift != self.mid)  # a floor moves a midpoint by less than one unit
        return type(self)(mid, -(-self.radius >> shift) + int(lost), bits)

    # Shape: nothing here touches a number.

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.mid.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.mid.ndim

    @property
    def T(self) -> Self:  # noqa: N802 - numpy's name
        """The transpose."""
        return type(self)(self.mid.T, self.radius, self.bits)

    def __len__(self) -> int:
        """Length of the first axis."""
        return len(self.mid)

    def __getitem__(self, index: Any) -> Self:
        """Entries picked as numpy picks them."""
        return type(self)(self.mid[index], self.radius, self.bits)

    def reshape(self, *shape: int) -> Self:
        """Return the same entries in another shape, in C order."""
        return type(self)(self.mid.reshape(*shape), self.radius, self.bits)

    def __repr__(self) -> str:
        """Show the midpoints to the digits that are known, if there are few, and the radius."""
        name = type(self).__name__
        if self.mid.size > _FEW:
            return f"{name}(shape={self.shape}, bits={self.bits}, radius={self.radius})"
        radius = float(_fraction(self.radius, self.bits))
        digits = min(max(8, -_exponent(self.radius, self.bits)), 50)
        values = ", ".join(_decimal(_fraction(m, self.bits), digits) for m in entries(self.mid))
        held = values if self.mid.ndim == 0 else f"[{values}]"
        return f"{name}({held} ± {radius:.1e})"

    # Questions, all answered exactly

    def width(self) -> Fraction:
        """Full width of every entry: 2 radius 2^−bits."""
        return _fraction(2 * self.radius, self.bits)

    def bounds(self) -> tuple[ObjectArray, ObjectArray]:
        """Lower and upper ends of every entry, as object arrays of Fraction."""
        lower = entrywise(lambda m: _fraction(m - self.radius, self.bits), self.mid)
        upper = entrywise(lambda m: _fraction(m + self.radius, self.bits), self.mid)
        return lower, upper

    def largest(self) -> tuple[Fraction, Fraction]:
        """Lower and upper end of an enclosure of the largest entry."""
        top = max(entries(self.mid))
        return _fraction(top - self.radius, self.bits), _fraction(top + self.radius, self.bits)

    def midpoint(self) -> NDArray[np.float64]:
        """Midpoints rounded to the nearest float64: a convenience, not an enclosure."""
        nearest = entrywise(lambda m: float(_fraction(m, self.bits)), self.mid)
        return nearest.astype(np.float64)

    def contains(self, x: Any) -> NDArray[np.bool_]:
        """Whether |x − mid 2^−bits| ≤ radius 2^−bits, for every entry of ``x``, taken as exact."""
        a, distance, units = self._distance(x)
        return np.asarray(distance <= a.radius * units, dtype=bool)

    def verdict(self, x: Any, bound: Any) -> ObjectArray:
        """Decide |x − truth| ≤ bound for every entry.

        Parameters
        ----------
        x, bound : array_like of floats, integers or Fractions, taken as exact
            Broadcast against the enclosure.

        Returns
        -------
        object array of Verdict
            WITHIN where every truth in the ball satisfies it, OUTSIDE where none does, else
            UNDECIDED.

        Raises
        ------
        TypeError, ValueError
            If an entry of ``x`` or ``bound`` is not a finite number.
        """
        a, distance, units = self._distance(x)
        numerators, denominators = ratios(bound, "bound")
        allowed = (numerators << a.bits) * units
        reach = a.radius * units
        within = np.asarray((distance + reach) * denominators <= allowed, dtype=bool)
        outside = np.asarray((distance - reach) * denominators > allowed, dtype=bool)
        outside |= np.asarray(allowed < 0, dtype=bool)  # no distance is below a negative bound
        verdicts = np.full(within.shape, Verdict.UNDECIDED, dtype=object)
        verdicts[within] = Verdict.WITHIN
        verdicts[outside] = Verdict.OUTSIDE
        return verdicts

    # Helpers

    @classmethod
    def _floor(cls, numerators: ObjectArray, denominators: ObjectArray, bits: int) -> Self:
        scaled = as_objects(numerators << max(bits, 0))
        units = as_objects(denominators << max(-bits, 0))
        mid = as_objects(scaled // units)
        return cls(mid, int(np.any(mid * units != scaled)), bits)

    def _lifted(self, other: Any) -> Self:
        """Other as balls: exactly, or to the bits of self where no number of bits would do."""
        if isinstance(other, type(self)):
            return other
        numerators, denominators = ratios(other, "an operand")
        bits = _bits_needed(denominators)
        return self._floor(numerators, denominators, max(self.bits, 0) if bits is None else bits)

    def _distance(self, x: Any) -> tuple[Self, ObjectArray, ObjectArray]:
        """Self at bits ≥ 0, and |x − A| as integers over units · 2^bits; units are x's own."""
        a = self.at(max(self.bits, 0))
        numerators, units = ratios(x, "x")
        return a, as_objects(abs((numerators << a.bits) - a.mid * units)), units


def _bits_needed(denominators: ObjectArray) -> int | None:
    """Fractional bits that hold fractions of these denominators exactly; None if none do."""
    largest = 1
    for denominator in entries(denominators):
        if denominator & (denominator - 1):
            return None
        largest = max(largest, denominator)
    return largest.bit_length() - 1


#: Entries that a representation shows one by one.
_FEW = 6


def _exponent(radius: int, bits: int) -> int:
    """Return the power of ten at which a radius lies, or that of one unit if it is 0."""
    return math.floor((max(radius, 1).bit_length() - 1 - bits) * math.log10(2))


def _decimal(value: Fraction, digits: int) -> str:
    """Round to a number of decimals."""
    units = round(value * 10**digits)
    whole, rest = divmod(abs(units), 10**digits)
    shown = f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")
    return f"-{shown}" if units < 0 else shown


def _fraction(value: int, bits: int) -> Fraction:
    return Fraction(value << max(-bits, 0), 1 << max(bits, 0))
