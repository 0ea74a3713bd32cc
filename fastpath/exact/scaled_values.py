"""Values scaled by powers of two, so that weighted sums neither overflow nor underflow."""

import numpy as np
from numpy.typing import NDArray

from fastpath.core.directed import up
from fastpath.core.inputs import Matrix


class ScaledValues:
    """The values scaled by a power of two a column, with what the certificate needs of them.

    ``scaled`` has a largest magnitude in [1, 2) in every column that is not zero, so that neither the
    weighted sums overflow nor their products underflow, whatever the size of V.
    """

    def __init__(self, v: Matrix, causal: bool) -> None:
        largest = np.abs(v).max(axis=0)
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
        over_keys = np.maximum.accumulate if causal else np.max
        self._upper = np.atleast_2d(over_keys(v, axis=0))
        self._lower = -np.atleast_2d(over_keys(-v, axis=0))

    def _range(self, last: NDArray[np.intp] | None) -> tuple[Matrix, Matrix]:
        if last is None:
            return self._lower, self._upper
        return self._lower[last], self._upper[last]

    def spread_and_magnitude(
        self, last: NDArray[np.intp] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bound max v - min v and max |v| over the keys up to ``last``, in units of ``scaled``."""
        lower, upper = (np.ldexp(x.astype(np.float64), -self._exponent) for x in self._range(last))
        return up(upper - lower), np.maximum(upper, -lower)

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

    def restore(self, quotient: Matrix, last: NDArray[np.intp] | None) -> Matrix:
        """Return averages in the units of V, projected on the range of the visible values."""
        restored: Matrix = quotient * np.ldexp(quotient.dtype.type(1), self._exponent)
        return np.clip(restored, *self._range(last), out=restored)

    def restore_bound(self, bound: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return an error bound in the units of V, rounded upward."""
        restored: NDArray[np.float64] = up(bound * np.ldexp(1.0, self._exponent))
        return restored
