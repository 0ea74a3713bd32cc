"""The one result type: an output that says how wrong it can be."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.shown import shown


@dataclass(frozen=True, kw_only=True)
class Certified:
    """An output with a bound on its error.

    ``|output - exact| <= error_bound`` entrywise, where ``exact`` is the definition applied to the
    given floats taken as exact numbers; rounding is included.

    Attributes
    ----------
    output : array
        What was computed, in the type of the inputs.
    error_bound : float64 scalar or array that broadcasts against ``output``
        Bound on the absolute error.
    claims : tuple of str
        The ids of the claims that the bound rests on (``attest show <id>``).
    log_sum_exp : float64 array of ``output``'s shape without its last axis, or None
        The logarithm of attention's denominator, sinks included, where it was computed: -inf of a row that
        sees nothing.
    log_sum_exp_bound : float64 array of the same shape, or None
        Bound on its absolute error.
    """

    __repr__ = shown

    output: NDArray[Any]
    error_bound: NDArray[np.float64]
    claims: tuple[str, ...]
    log_sum_exp: NDArray[np.float64] | None = field(default=None, kw_only=True)
    log_sum_exp_bound: NDArray[np.float64] | None = field(default=None, kw_only=True)
