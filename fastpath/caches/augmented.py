r"""Attention over approximate keys and values with more columns, which certify the answer.

The keys are within r_j of the keys that were meant, and the values within e_j; a logit moves by at most
:math:`c_j = \kappa r_j`, :math:`\kappa = |scale| |q|`.  Attention itself is asked for the averages
of r, r v, r v², e and r e beside those of v, with its own certificate on each, and of them

.. math:: |o - y| \le \Big[ F \sqrt{\textstyle\sum \hat p c \sum \hat p c (\hat v - y)^2} + b +
          \sum \hat p e + F \sum \hat p c e \Big] e^{\sum \hat p c}, \qquad F = (e^{\bar c} - 1)/\bar c

is computed, y being the answer and b what rounding did to it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.caches import augmented_log, augmented_output, augmented_scatter
from fastpath.core.bounds.softmax import ARITHMETIC
from fastpath.core.certified import Certified
from fastpath.core.directed import above, below, down, library_up, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.norms import lengths
from fastpath.core.semantics import Semantics
from fastpath.exact.attention import attend_heads

CLAIMS = ("Q.augmented", "FP.augmented")

#: Columns are scaled to at most 1 in magnitude, and pass through at most three roundings.
_COLUMN_ROUNDINGS = 4


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
    scaled_values, value_unit = _scaled(v, axis=-2)
    radii, radius_unit = _scaled(radius[..., None].astype(q.dtype), axis=-2)
    errors, error_unit = _scaled(error[..., None].astype(q.dtype), axis=-2)
    columns = np.empty((*v.shape[:-1], 3 * width + 3), q.dtype)
    columns[..., :width] = v
    np.multiply(radii, scaled_values, out=columns[..., width : 2 * width])
    np.multiply(
        columns[..., width : 2 * width], scaled_values, out=columns[..., 2 * width : 3 * width]
    )
    columns[..., 3 * width :] = np.concatenate([radii, errors, radii * errors], axis=-1)
    answer = attend_heads(q, k, columns, options, workers)
    found = answer.output.astype(np.float64)
    found_error = answer.error_bound
    output, rounding = answer.output[..., :width], found_error[..., :width]
    # In units in which every column is at most 1 from here on.
    column_error = up(found_error + _COLUMN_ROUNDINGS * unit)
    highest = np.minimum(up(np.maximum(found, 0) + column_error), 1.0)
    # Averages are at most the largest, which may be 0.
    largest = np.concatenate(
        [x.max(axis=-2, keepdims=True).astype(np.float64) for x in (radii, errors)], axis=-1
    )
    group = q.shape[-3] // k.shape[-3] if q.ndim > 2 else 1
    value_unit, radius_unit, error_unit, largest = (
        np.repeat(x, group, axis=-3) if q.ndim > 2 else x
        for x in (value_unit, radius_unit, error_unit, largest)
    )
    largest_radius, largest_error = largest[..., :1], largest[..., 1:]
    radius_mean, error_mean, both_mean = (
        np.minimum(highest[..., 3 * width + i : 3 * width + i + 1], most)
        for i, most in enumerate(
            (largest_radius, largest_error, _rounded_up(largest_radius * largest_error))
        )
    )
    centre = np.ldexp(found[..., :width], -value_unit)
    cross = centre * found[..., width : 2 * width]
    scatter = augmented_scatter(
        highest[..., 2 * width : 3 * width],
        radius_mean,
        up(np.abs(centre)),
        column_error[..., width : 2 * width],
        up(np.maximum(-cross, 0)),
        down(np.maximum(cross, 0)),
    )
    # What a logit moves by at most.
    lengths_ = lengths(q.reshape(-1, q.shape[-1])).reshape(*q.shape[:-1], 1)
    reach = np.where(
        largest_radius > 0, up(np.ldexp(up(lengths_ * abs(options.scale)), radius_unit)), 0
    )
    growth = _growth(reach)
    with np.errstate(over="ignore", invalid="ignore"):
        relative = augmented_output(
            up(reach * radius_mean),
            up(reach * scatter),
            up(np.ldexp(error_mean, error_unit - value_unit)),
            up(np.ldexp(up(reach * both_mean), error_unit - value_unit)),
            growth,
            up(np.ldexp(rounding, -value_unit)),
        )
        bound = up(np.ldexp(relative, value_unit))
        moved = np.fmin(augmented_log(up(reach * radius_mean), growth), reach)[..., 0]
    # Rows that see nothing are exact.
    assert answer.log_sum_exp is not None
    seen = np.isfinite(answer.log_sum_exp)
    bound = np.where(seen[..., None], _at_most_trivial(bound, found, v, error, options, group), 0)
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


def _scaled(x: Matrix, axis: int) -> tuple[Matrix, NDArray[np.intp]]:
    """Return an array times powers of two that bring its magnitudes to at most 1, and their exponents."""
    exponent = np.frexp(np.abs(x).max(axis=axis, keepdims=True).astype(np.float64))[1]
    half = -exponent // 2
    scaled = x * np.ldexp(x.dtype.type(1), half)
    scaled *= np.ldexp(x.dtype.type(1), -exponent - half)
    return scaled, exponent


def _at_most_trivial(
    bound: Array, found: Array, v: Matrix, error: Matrix, options: Semantics, group: int
) -> Array:
    """Return bounds none of which is more than the distance to the end of the values' range."""
    width = v.shape[-1]
    spread = error[..., None].astype(np.float64)
    lower = below(v - spread).min(axis=-2, keepdims=True)
    upper = above(v + spread).max(axis=-2, keepdims=True)
    if v.ndim > 2:
        lower, upper = (np.repeat(x, group, axis=-3) for x in (lower, upper))
    if options.sinks is not None:
        lower, upper = np.minimum(lower, 0), np.maximum(upper, 0)
    answer = found[..., :width]
    farthest = np.maximum(up(np.maximum(upper - answer, 0)), up(np.maximum(answer - lower, 0)))
    return np.where(bound < farthest, bound, farthest)
