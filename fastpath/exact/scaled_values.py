"""Values scaled by powers of two, so that weighted sums neither overflow nor underflow."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastpath.core.directed import up
from fastpath.core.inputs import Matrix

#: The first key that each of some queries sees, and the one after the last; None: all of them.
Ranges = tuple[NDArray[np.intp], NDArray[np.intp]] | None


class ScaledValues:
    """The values scaled by a power of two a column, with what the certificate needs of them.

    ``scaled`` has a largest magnitude in [1, 2) in every column that is not zero, so that neither the
    weighted sums overflow nor their products underflow, whatever the size of V.
    """

    def __init__(self, v: Matrix) -> None:
        self._v = v
        self._whole = v.min(axis=0, keepdims=True), v.max(axis=0, keepdims=True)
        largest = np.maximum(-self._whole[0][0], self._whole[1][0])
        if v.dtype == np.float64 and largest.max() > 2.0**1021:
            raise ValueError(
                f"V must not exceed 2^1021 in magnitude in float64, got {largest.max():.3g}: "
                "its spread could overflow."
            )
        self._exponent = np.frexp(largest)[1] - 1
        # Two factors, since 2^149 is no float32; multiplying is 20 times faster than np.ldexp.
        half = -self._exponent // 2
        self.scaled = v * np.ldexp(v.dtype.type(1), half)
        self.scaled *= np.ldexp(v.dtype.type(1), -self._exponent - half)

    @cached_property
    def _running(self) -> tuple[Matrix, Matrix]:
        """The range of the values from the first key to each."""
        return np.minimum.accumulate(self._v, axis=0), np.maximum.accumulate(self._v, axis=0)

    def range(self, ranges: Ranges, *, sink: bool = False) -> tuple[Matrix, Matrix]:
        """Return the least and the largest value that each query may see, 0 included where it sees a sink.

        Of queries that do not see the first key, those of all keys that any of them sees.
        """
        if ranges is None:
            lower, upper = self._whole
        elif ranges[0][-1] == 0:
            last = np.maximum(ranges[1] - 1, 0)
            lower, upper = (x[last] for x in self._running)
        else:
            first = min(int(ranges[0][0]), len(self._v) - 1)
            seen = self._v[first : max(int(ranges[1][-1]), first + 1)]
            lower, upper = seen.min(axis=0, keepdims=True), seen.max(axis=0, keepdims=True)
        return (np.minimum(lower, 0), np.maximum(upper, 0)) if sink else (lower, upper)

    def spread_and_magnitude(
        self, lower: Matrix, upper: Matrix
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bound max v - min v and max |v| of a range, in units of ``scaled``."""
        low, high = (np.ldexp(x.astype(np.float64), -self._exponent) for x in (lower, upper))
        return up(high - low), np.maximum(high, -low)

    @property
    def smallest(self) -> NDArray[np.float64]:
        """What one underflow can lose in units of ``scaled``, restoring the scale included.

        Far more than gradual underflow does lose, which also covers bits that scaling a large column
        down takes from its smallest entries.
        """
        information = np.finfo(self.scaled.dtype)
        restored = np.frexp(information.smallest_subnormal)[1] - 1 - self._exponent
        smallest: NDArray[np.float64] = np.maximum(float(information.tiny), np.ldexp(1.0, restored))
        return smallest

    def restore(self, quotient: Matrix, lower: Matrix, upper: Matrix) -> Matrix:
        """Return averages in the units of V, projected on the range of the visible values."""
        restored: Matrix = quotient * np.ldexp(quotient.dtype.type(1), self._exponent)
        return np.clip(restored, lower, upper, out=restored)

    def restore_bound(self, bound: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return an error bound in the units of V, rounded upward."""
        restored: NDArray[np.float64] = up(bound * np.ldexp(1.0, self._exponent))
        return restored
