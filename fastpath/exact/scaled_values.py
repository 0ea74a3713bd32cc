"""Values scaled by powers of two, so that weighted sums neither overflow nor underflow."""

import numpy as np
from numpy.typing import NDArray

from fastpath.core.directed import up
from fastpath.core.inputs import Matrix
from fastpath.core.once import once

#: The first key that each of some queries sees, and the one after the last; None: all of them.
Ranges = tuple[NDArray[np.intp], NDArray[np.intp]] | None

#: Columns whose largest magnitudes lie between 2^-8 and 2^9 need no scaling: it would take a copy, and as
#: long as a query does.
MODERATE = 8

#: Rows that stand side by side while minima and maxima are taken: along the short axis of a tall matrix
#: numpy takes ten times as long.
ROWS_ABREAST = 64

#: Bytes beyond which values are looked at by so many rows at a time, which stay in cache.
LARGE, ROWS_AT_ONCE = 2**23, 2048


def column_range(v: Matrix) -> tuple[Matrix, Matrix]:
    """Return the least and the largest entry of every column, as two rows; NaN where there is any."""
    if v.nbytes <= LARGE:
        least, most = _column_range(v)
    else:
        parts = []
        for start in range(0, len(v), ROWS_AT_ONCE):
            block = v[start : start + ROWS_AT_ONCE]
            block.max()  # fetches the block twice as fast as what follows would
            parts.append(_column_range(block))
        least = np.minimum.reduce([low for low, _ in parts])
        most = np.maximum.reduce([high for _, high in parts])
    # Which zero is the least depends on the order; this one has no sign.
    return least + 0, most + 0


def _column_range(v: Matrix) -> tuple[Matrix, Matrix]:
    whole = len(v) - len(v) % ROWS_ABREAST
    if not v.flags.c_contiguous or not whole:
        return v.min(axis=0, keepdims=True), v.max(axis=0, keepdims=True)
    abreast = v[:whole].reshape(-1, ROWS_ABREAST * v.shape[1])
    least = abreast.min(axis=0).reshape(ROWS_ABREAST, -1).min(axis=0, keepdims=True)
    most = abreast.max(axis=0).reshape(ROWS_ABREAST, -1).max(axis=0, keepdims=True)
    if whole < len(v):
        least = np.minimum(least, v[whole:].min(axis=0))
        most = np.maximum(most, v[whole:].max(axis=0))
    return least, most


class ScaledValues:
    """The values scaled by a power of two a column, with what the certificate needs of them.

    ``scaled`` has a largest magnitude in [1, 2) in every column that is not zero, so that neither the
    weighted sums overflow nor their products underflow, whatever the size of V.  With ``keep_moderate``
    values of which no column's largest lies outside of [2^-8, 2^9) are kept as they are.

    ``whole`` is the range of all values, where it is known.
    """

    def __init__(
        self,
        v: Matrix,
        *,
        keep_moderate: bool = False,
        whole: tuple[Matrix, Matrix] | None = None,
    ) -> None:
        self._v = v
        self.whole = column_range(v) if whole is None else whole
        largest = np.maximum(-self.whole[0][0], self.whole[1][0])
        if v.dtype == np.float64 and largest.max() > 2.0**1021:
            raise ValueError(
                f"V must not exceed 2^1021 in magnitude in float64, got {largest.max():.3g}: "
                "its spread could overflow."
            )
        self._exponent = np.frexp(largest)[1] - 1
        if keep_moderate and np.abs(self._exponent).max() <= MODERATE:
            self._exponent = np.zeros_like(self._exponent)

    @property
    def columns(self) -> int:
        """How many columns the values have."""
        return int(self._v.shape[1])

    @once
    def scaled(self) -> Matrix:
        """The values times 2^-exponent."""
        if not self._exponent.any():
            return self._v
        # Two factors, since 2^149 is no float32; multiplying is 20 times faster than np.ldexp.
        half = -self._exponent // 2
        scaled: Matrix = self._v * np.ldexp(self._v.dtype.type(1), half)
        scaled *= np.ldexp(scaled.dtype.type(1), -self._exponent - half)
        return scaled

    def range(self, ranges: Ranges, *, sink: bool = False) -> tuple[Matrix, Matrix]:
        """Return the least and the largest value that each query may see, 0 included where it sees a sink.

        Of queries that do not see the first key, those of all keys that any of them sees.
        """
        if ranges is None:
            lower, upper = self.whole
        elif ranges[0][-1] == 0:
            lower, upper = self._range_up_to(ranges[1])
        else:
            first = min(int(ranges[0][0]), len(self._v) - 1)
            lower, upper = column_range(self._v[first : max(int(ranges[1][-1]), first + 1)])
        return (np.minimum(lower, 0), np.maximum(upper, 0)) if sink else (lower, upper)

    def _range_up_to(self, stop: NDArray[np.intp]) -> tuple[Matrix, Matrix]:
        """Return the range of the values before each of some ascending indices, at least of the first."""
        least, most = max(int(stop[0]), 1), max(int(stop[-1]), 1)
        if least == len(self._v):
            return self.whole
        lower, upper = column_range(self._v[:least])
        if least == most:
            return lower, upper
        rows = np.maximum(stop, 1) - least
        return (
            np.minimum.accumulate(np.concatenate([lower, self._v[least:most]]))[rows],
            np.maximum.accumulate(np.concatenate([upper, self._v[least:most]]))[rows],
        )

    def spread_and_magnitude(
        self, lower: Matrix, upper: Matrix
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bound max v - min v and max |v| of a range, in units of ``scaled``."""
        if lower is self.whole[0] and upper is self.whole[1]:
            return self._of_all
        return self._spread_and_magnitude(lower, upper)

    @once
    def _of_all(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._spread_and_magnitude(*self.whole)

    def _spread_and_magnitude(
        self, lower: Matrix, upper: Matrix
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        low, high = (x.astype(np.float64) for x in (lower, upper))
        if self._exponent.any():
            low, high = (np.ldexp(x, -self._exponent) for x in (low, high))
        return up(high - low), np.maximum(high, -low)

    @once
    def smallest(self) -> NDArray[np.float64]:
        """What one underflow can lose in units of ``scaled``, restoring the scale included.

        Far more than gradual underflow does lose, which also covers bits that scaling a large column
        down takes from its smallest entries.
        """
        information = np.finfo(self._v.dtype)
        restored = np.frexp(information.smallest_subnormal)[1] - 1 - self._exponent
        smallest: NDArray[np.float64] = np.maximum(float(information.tiny), np.ldexp(1.0, restored))
        return smallest

    def restore(self, quotient: Matrix, lower: Matrix, upper: Matrix) -> Matrix:
        """Return averages in the units of V, projected on the range of the visible values."""
        restored: Matrix = quotient * self._unit.astype(quotient.dtype)
        np.maximum(restored, lower, out=restored)
        return np.minimum(restored, upper, out=restored)

    def restore_bound(self, bound: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return an error bound in the units of V, rounded upward."""
        restored: NDArray[np.float64] = up(bound * self._unit)
        return restored

    @once
    def _unit(self) -> NDArray[np.float64]:
        """The units of ``scaled``."""
        unit: NDArray[np.float64] = np.ldexp(1.0, self._exponent)
        return unit
