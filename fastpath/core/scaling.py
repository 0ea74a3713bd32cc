r"""Queries times a scale, in their own type, and what its one rounding does to attention.

With :math:`q' = \mathrm{fl}(scale\; q)` every logit moves by at most :math:`\eta = \sum_l |q'_l -
scale\; q_l| |k_l|`, which FP.scores bounds, and an output by at most :math:`\tanh(\eta / 2)` of the spread of
its values (S.output).
"""

from dataclasses import dataclass
from math import frexp
from typing import Any

import numpy as np

from fastpath.core.bounds.softmax import ARITHMETIC, scaled_logit, softmax_output
from fastpath.core.directed import up
from fastpath.core.inputs import Array, Matrix

CLAIMS = ("S.output", "FP.scores")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaled:
    """Queries times a scale, rounded to a type.

    Attributes
    ----------
    queries : array, shape (n, d)
    exact : bool
        Whether nothing was rounded.
    """

    queries: Matrix
    exact: bool

    @property
    def finite(self) -> bool:
        """Whether no entry overflowed."""
        return bool(np.isfinite(self.queries).all())

    def logit_shift(self, magnitude: Any, largest_key: float) -> Any:
        r"""Bound how far a logit lies from the scale times that of the given queries.

        ``magnitude`` bounds :math:`\sum_l |q'_l k_l|`, ``largest_key`` the entries of the keys.
        """
        if self.exact:
            return np.zeros_like(magnitude)
        return logit_shift(self.queries.shape[1], self.queries.dtype, magnitude, largest_key)

    def output_shift(self, magnitude: Array, largest_key: float, spread: Array) -> Array:
        """Bound the same of the outputs, shape (n, d_v), of values with that spread in each column."""
        shift = self.logit_shift(magnitude, largest_key)
        bound: Array = softmax_output(shift[:, None], spread[None, :])
        return bound


def scaled(q: Any, scale: float, dtype: Any = None) -> Scaled:
    """Multiply queries by a scale; rounded once in float64, and then to ``dtype``, theirs by default."""
    dtype = np.dtype(q.dtype if dtype is None else dtype)
    with np.errstate(over="ignore", under="ignore"):
        queries = np.multiply(q, scale, dtype=np.float64).astype(dtype)
    power_of_two = scale == 0 or abs(frexp(scale)[0]) == 0.5
    exact = False
    if power_of_two:
        # Dividing by a power of two gives back what was not rounded.
        with np.errstate(over="ignore", under="ignore"):
            exact = scale == 0 or bool((queries.astype(np.float64) / scale == q).all())
    return Scaled(queries=queries, exact=exact)


def logit_shift(d: int, dtype: np.dtype[Any], magnitude: Any, largest_key: float) -> Any:
    r"""Bound :math:`\sum_l |q'_l - scale\; q_l| |k_l|`, from a bound on :math:`\sum_l |q'_l k_l|`.

    FP.scores counts two roundings of a scaled query besides those of the product: without products they
    are all that is left, and without magnitude what underflow takes.
    """
    constants = ARITHMETIC[dtype.name]
    u, tiny = constants["unit_roundoff"], constants["tiny"]
    relative = scaled_logit(0, u, magnitude, 0.0, 0.0)
    return up(relative + scaled_logit(d, u, 0.0, tiny, largest_key))
