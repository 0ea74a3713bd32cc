r"""Attention over approximate keys and values with more columns, which certify the answer.

The keys are within r_j of the keys that were meant, and the values within e_j; a logit moves by at most
:math:`c_j = \kappa r_j`, :math:`\kappa = |scale| |q|`.  Attention itself is asked for the averages
of v², r, r², e and r e beside those of v, with its own certificate on each, and of them

.. math:: |o - y| \le \Big[ F \sqrt{\textstyle\sum \hat p c^2 \sum \hat p (\hat v - y)^2} + b +
          \sum \hat p e + F \sum \hat p c e \Big] e^{\sum \hat p c}, \qquad F = (e^{\bar c} - 1)/\bar c

is computed, y being the answer and b what rounding did to it.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.caches import augmented_log, augmented_output, augmented_scatter
from fastpath.core.bounds.softmax import ARITHMETIC
from fastpath.core.certified import Certified
from fastpath.core.cores import run
from fastpath.core.directed import above, below, library_up, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.norms import lengths
from fastpath.core.semantics import Semantics
from fastpath.exact.attention import attend_heads

CLAIMS = ("Q.augmented", "FP.augmented")

#: Rows of which columns are made at once, so that they stay in a core's cache.
_ROWS = 2048

#: Columns are scaled to at most 1 in magnitude, and products of two are rounded, and may underflow.
_COLUMN_ROUNDINGS = 2


def attend_augmented(
    q: Matrix,
    k: Matrix,
    v: Matrix,
    radius: NDArray[np.float32],
    error: NDArray[np.float32],
    options: Semantics,
    workers: int,
) -> Certified:
    """Attend to approximate keys and values, and certify the answer for those that were meant.

    Parameters
    ----------
    q, k, v : arrays of one type, shapes (..., h_q, n_q, d), (..., h_k, n, d), (..., h_k, n, d_v)
        Checked; k and v are what stands for the keys and values.
    radius, error : float32 arrays, shape (..., h_k, n)
        Bounds on the norm of a key's error, and on the error of each entry of a value.
    """
    width = v.shape[-1]
    unit = ARITHMETIC[q.dtype.name]["unit_roundoff"]
    heads = v[..., 0, 0].size
    columns = np.empty((heads, v.shape[-2], 2 * width + 4), q.dtype)
    parts = (x.reshape(heads, *x.shape[v.ndim - 2 :]) for x in (v, radius, error))
    sides = run(
        [partial(_Side, *part) for part in zip(columns, *parts, strict=True)],
        workers,
    )
    answer = attend_heads(q, k, columns.reshape(*v.shape[:-1], -1), options, workers)
    found = answer.output.astype(np.float64)
    found_error = answer.error_bound

    def of_queries(name: str) -> Any:
        """Return what each query's head holds."""
        held = np.stack([getattr(side, name) for side in sides])
        return np.repeat(held, q[..., 0, 0].size // heads, axis=0).reshape(*q.shape[:-2], 1, -1)

    # In units in which every column is at most 1 from here on.
    column_error = up(found_error + _COLUMN_ROUNDINGS * unit)
    highest = np.minimum(up(np.maximum(found, 0) + column_error), 1.0)
    value_unit, radius_unit, error_unit = (
        of_queries(name) for name in ("value_unit", "radius_unit", "error_unit")
    )
    # Averages are at most the largest, which may be 0.
    largest_radius, largest_error = of_queries("largest_radius"), of_queries("largest_error")
    largest = (
        largest_radius,
        _rounded_up(largest_radius * largest_radius),
        largest_error,
        _rounded_up(largest_radius * largest_error),
    )
    radius_mean, square_mean, error_mean, both_mean = (
        np.minimum(highest[..., column : column + 1], ceiling)
        for column, ceiling in enumerate(largest, 2 * width)
    )
    centre = found[..., :width]
    scatter = augmented_scatter(
        highest[..., width : 2 * width], np.abs(centre), found_error[..., :width]
    )
    # What a logit moves by at most.
    lengths_ = lengths(q.reshape(-1, q.shape[-1])).reshape(*q.shape[:-1], 1)
    reach = np.where(
        largest_radius > 0, up(np.ldexp(up(lengths_ * abs(options.scale)), radius_unit)), 0
    )
    most = up(reach * largest_radius)
    growth = _growth(most)
    with np.errstate(over="ignore", invalid="ignore"):
        relative = augmented_output(
            up(reach * radius_mean),
            up(up(reach * reach) * square_mean),
            scatter,
            up(np.ldexp(error_mean, error_unit - value_unit)),
            up(np.ldexp(up(reach * both_mean), error_unit - value_unit)),
            growth,
            found_error[..., :width],
        )
        bound = up(np.ldexp(relative, value_unit))
        moved = np.fmin(augmented_log(up(reach * radius_mean), growth), most)[..., 0]
    # Exact, but for subnormal numbers.
    exact = np.ldexp(centre, value_unit)
    output = exact.astype(q.dtype)
    bound = up(bound + up(np.abs(output - exact)))
    # Rows that see nothing are exact.
    assert answer.log_sum_exp is not None
    seen = np.isfinite(answer.log_sum_exp)
    lower, upper = of_queries("lower"), of_queries("upper")
    if options.sinks is not None:
        lower, upper = np.minimum(lower, 0), np.maximum(upper, 0)
    served = output.astype(np.float64)
    farthest = np.maximum(up(np.maximum(upper - served, 0)), up(np.maximum(served - lower, 0)))
    bound = np.where(seen[..., None], np.where(bound < farthest, bound, farthest), 0)
    return Certified(
        output=output,
        error_bound=bound,
        claims=(*CLAIMS, *answer.claims),
        log_sum_exp=answer.log_sum_exp,
        log_sum_exp_bound=np.where(seen, up(answer.log_sum_exp_bound + moved), 0),
    )


def _rounded_up(product: Any) -> Array:
    """Return at least a product, which is 0 where it is."""
    rounded: Array = np.where(product > 0, up(product), 0)
    return rounded


def _growth(reach: Array) -> Array:
    """Bound (e^c - 1)/c, which grows with c and is 1 at 0."""
    small = np.maximum(reach, 2.0**-40)
    growth: Array = np.maximum(up(library_up(np.expm1(small)) / small), 1.0)
    return growth


class _Side:
    """The columns v, v^2, r, r^2, e, r e of a head, each scaled by a power of two to at most 1."""

    def __init__(
        self,
        columns: Matrix,
        v: Matrix,
        radius: NDArray[np.float32],
        error: NDArray[np.float32],
    ) -> None:
        low, high = v.min(axis=0), v.max(axis=0)
        self.value_unit = np.frexp(np.maximum(high, -low).astype(np.float64))[1]
        radii, self.radius_unit, self.largest_radius = _scaled_column(radius, v.dtype)
        errors, self.error_unit, self.largest_error = _scaled_column(error, v.dtype)
        width = v.shape[1]
        # Two factors, since 2^149 is no float32.
        half = -self.value_unit // 2
        first = np.ldexp(v.dtype.type(1), half)
        second = np.ldexp(v.dtype.type(1), -self.value_unit - half)
        for start in range(0, len(v), _ROWS):
            rows = slice(start, start + _ROWS)
            values = v[rows] * first
            values *= second
            part = columns[rows]
            part[:, :width] = values
            np.multiply(values, values, out=part[:, width : 2 * width])
        extra = (radii, radii * radii, errors, radii * errors)
        for column, averaged in enumerate(extra, 2 * width):
            columns[:, column] = averaged
        spread = error.max().astype(np.float64)
        self.lower, self.upper = below(low - spread), above(high + spread)


def _scaled_column(
    x: NDArray[np.float32], dtype: np.dtype[Any]
) -> tuple[Matrix, NDArray[np.intp], Array]:
    """Return a column times a power of two that brings it to at most 1, the exponent and the largest."""
    exponent = np.frexp(x.max().astype(np.float64))[1]
    half = -exponent // 2
    scaled = x.astype(dtype) * np.ldexp(dtype.type(1), half)
    scaled *= np.ldexp(dtype.type(1), -exponent - half)
    return scaled, exponent, scaled.max().astype(np.float64)
