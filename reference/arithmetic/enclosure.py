"""Arithmetic on arrays of balls: exact integer arithmetic, then at most one floor.

Each docstring states the inequality that makes the result an enclosure, so every enclosure is a
theorem about integers.  There a, b are the true entries, A, B the midpoints, ra, rb the radii; |A|
under a bound is the largest magnitude in the array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reference.arithmetic import elementary
from reference.arithmetic.balls import Balls
from reference.arithmetic.exact_numbers import ObjectArray, as_objects, entries

__all__ = ["Enclosure"]

LEAST_BITS = 16  # what the exponential kernel asks for

Axis = int | tuple[int, ...] | None


class Enclosure(Balls):
    """Array of unknown real numbers, each known to within one shared radius, to compute with.

    |truth − mid · 2^−bits| ≤ radius · 2^−bits  for every entry; fields, lifting and questions are
    those of :class:`Balls`.

    Two enclosures broadcast as numpy does, and the result has the finer of their two ``bits``.  A
    plain number or array is lifted exactly first; a fraction that is not binary, to the bits of
    the enclosure it meets.  So an input is best lifted to the bits that the result shall have.
    """

    __array_ufunc__ = None  # an ndarray on the left leaves the operation to us

    def __neg__(self) -> Enclosure:
        """Return −a, exactly."""
        return Enclosure(-self.mid, self.radius, self.bits)

    def __abs__(self) -> Enclosure:
        """Enclose |a|: ||a| − |A|| ≤ |a − A|, so the radius stays."""
        return Enclosure(abs(self.mid), self.radius, self.bits)

    def __add__(self, other: Any) -> Enclosure:
        """Enclose a + b: the radii add, nothing is rounded."""
        a, b = self._aligned(other)
        return Enclosure(a.mid + b.mid, a.radius + b.radius, a.bits)

    def __sub__(self, other: Any) -> Enclosure:
        """Enclose a − b: the radii add, nothing is rounded."""
        return self + -self._lifted(other)

    def __rsub__(self, other: Any) -> Enclosure:
        """Enclose b − a for a plain number or array b."""
        return self._lifted(other) - self

    def __mul__(self, other: Any) -> Enclosure:
        """Enclose the products ab: |ab − AB| ≤ |A| rb + |B| ra + ra rb, then one floor."""
        b = self._lifted(other)
        radius = (
            _largest(self.mid) * b.radius + _largest(b.mid) * self.radius + self.radius * b.radius
        )
        product = Enclosure(self.mid * b.mid, radius, self.bits + b.bits)
        return product.at(max(self.bits, b.bits))

    def dot(self, other: Any) -> Enclosure:
        """Enclose the matrix product with the bits of both factors added up: nothing is rounded.

        |Σ_k a_ik b_kj − Σ_k A_ik B_kj| ≤ (max_i Σ_k |A_ik|) rb + (max_j Σ_k |B_kj|) ra + n ra rb,
        with n the inner dimension.
        """
        b = self._lifted(other)
        if self.ndim == 0 or b.ndim == 0:
            raise ValueError("a matrix product needs two arrays, got a scalar: use *.")
        rows = abs(self.mid).sum(axis=-1)
        columns = abs(b.mid).sum(axis=-2 if b.ndim > 1 else -1)
        radius = (
            _largest(rows) * b.radius
            + _largest(columns) * self.radius
            + self.shape[-1] * self.radius * b.radius
        )
        return Enclosure(self.mid @ b.mid, radius, self.bits + b.bits)

    def __matmul__(self, other: Any) -> Enclosure:
        """Enclose the matrix product: :meth:`dot`, then one floor."""
        b = self._lifted(other)
        return self.dot(b).at(max(self.bits, b.bits))

    def __rmatmul__(self, other: Any) -> Enclosure:
        """Enclose the matrix product with a plain array on the left."""
        return self._lifted(other) @ self

    def __truediv__(self, other: Any) -> Enclosure:
        """Enclose the quotients a/b: |a/b − A/B| ≤ (ra + |A/B| rb) / (|B| − rb), then one floor.

        For a/b − A/B = ((a − A) − (A/B)(b − B)) / b, and |b| ≥ |B| − rb.

        Raises
        ------
        ZeroDivisionError
            If some denominator is not certified to differ from zero.
        """
        b = self._lifted(other)
        least = min(entries(abs(b.mid)), default=b.radius + 1) - b.radius
        if least <= 0:
            raise ZeroDivisionError(
                f"a denominator is not certified to differ from zero at {b.bits} bits: "
                "it is zero, or the precision is too low."
            )
        bits = max(self.bits, b.bits)
        scale = (
            bits + b.bits - self.bits
        )  # (A 2^-self.bits) / (B 2^-b.bits) = (A 2^scale / B) 2^-bits
        up, down = max(scale, 0), max(-scale, 0)
        quotient = as_objects((self.mid << up) // (b.mid << down))
        # |A/B| is at most |quotient| + 1 units, and the quotient was floored: the + 1 at the end.
        error = (self.radius << up) + ((_largest(quotient) + 1) * b.radius << down)
        return Enclosure(quotient, -(-error // (least << down)) + 1, bits)

    def __rtruediv__(self, other: Any) -> Enclosure:
        """Enclose b/a for a plain number or array b."""
        return self._lifted(other) / self

    def __pow__(self, exponent: int) -> Enclosure:
        """Enclose an integer power by repeated squaring; a negative one is 1 over the positive."""
        if type(exponent) is not int:
            raise TypeError(f"exponent must be an int, got {exponent!r}.")
        if exponent < 0:
            return 1 / self**-exponent
        if exponent == 0:
            return Enclosure.exact(np.ones(self.shape, dtype=np.int64), max(self.bits, 0))
        half = self ** (exponent // 2)
        return half * half * self if exponent % 2 else half * half

    __radd__ = __add__
    __rmul__ = __mul__

    # Reductions and maxima

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Enclosure:
        """Enclose the sum over ``axis``: as many radii as there are summands, nothing rounded."""
        total = as_objects(self.mid.sum(axis=axis, keepdims=keepdims))
        summands = self.mid.size // max(total.size, 1)
        return Enclosure(total, self.radius * summands, self.bits)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Enclosure:
        """Enclose the maximum over ``axis``; the radius stays."""
        return Enclosure(self.mid.max(axis=axis, keepdims=keepdims), self.radius, self.bits)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Enclosure:
        """Enclose the minimum over ``axis``; the radius stays."""
        return Enclosure(self.mid.min(axis=axis, keepdims=keepdims), self.radius, self.bits)

    def maximum(self, other: Any) -> Enclosure:
        """Enclose max(a, b), within the larger of the two radii."""
        a, b = self._aligned(other)
        return Enclosure(np.maximum(a.mid, b.mid), max(a.radius, b.radius), a.bits)

    def minimum(self, other: Any) -> Enclosure:
        """Enclose min(a, b), within the larger of the two radii."""
        a, b = self._aligned(other)
        return Enclosure(np.minimum(a.mid, b.mid), max(a.radius, b.radius), a.bits)

    # Elementary functions, with 16 fractional bits or more; see ``elementary`` for their radii.

    def exp(self) -> Enclosure:
        """Enclose e^a; OverflowError if an entry may exceed 65536."""
        return self._mapped(elementary.exp)

    def log(self) -> Enclosure:
        """Enclose ln a; ArithmeticError if an entry is not certified positive."""
        return self._mapped(elementary.log)

    def sqrt(self) -> Enclosure:
        """Enclose √a, a ≥ 0 in the ball; ArithmeticError if an entry is negative for certain."""
        return self._mapped(elementary.sqrt)

    def tanh(self) -> Enclosure:
        """Enclose tanh a."""
        return self._mapped(elementary.tanh)

    def distance(self, x: Any) -> Enclosure:
        """Enclose |x − truth| for floats ``x`` taken as exact; the radius stays."""
        return abs(self - self._lifted(x))

    def _aligned(self, other: Any) -> tuple[Enclosure, Enclosure]:
        b = self._lifted(other)
        bits = max(self.bits, b.bits)
        return self.at(bits), b.at(bits)

    def _mapped(
        self, function: Callable[[ObjectArray, int, int], tuple[ObjectArray, int]]
    ) -> Enclosure:
        a = self.at(max(self.bits, LEAST_BITS))
        mid, radius = function(a.mid, a.radius, a.bits)
        return Enclosure(mid, radius, a.bits)


def _largest(mid: Any) -> int:
    return max(entries(abs(mid)), default=0)
