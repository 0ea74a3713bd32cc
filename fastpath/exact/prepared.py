"""Keys and values with what exact attention computes of them, whatever the queries are."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastpath.core.inputs import Matrix
from fastpath.core.norms import row_norms
from fastpath.exact.scaled_values import Ranges, ScaledValues


class PreparedHead:
    """The keys and values of one head, checked."""

    def __init__(self, k: Matrix, v: Matrix) -> None:
        self.k = k
        self.values = ScaledValues(v)
        self.norms, self.exponent = row_norms(k)
        self.largest_key = max(float(k.max()), -float(k.min()))

    def longest(self, ranges: Ranges) -> NDArray[np.float64]:
        """Bound the norm of the longest key that each query may see, in units of 2^exponent."""
        longest: NDArray[np.float64]
        if ranges is None:
            longest = self.norms.max(keepdims=True)
        elif ranges[0][-1] == 0:
            longest = self._running_norms[np.maximum(ranges[1] - 1, 0)]
        else:
            first = min(int(ranges[0][0]), len(self.norms) - 1)
            longest = self.norms[first : max(int(ranges[1][-1]), first + 1)].max(keepdims=True)
        return longest

    @cached_property
    def _running_norms(self) -> NDArray[np.float64]:
        running: NDArray[np.float64] = np.maximum.accumulate(self.norms)
        return running
