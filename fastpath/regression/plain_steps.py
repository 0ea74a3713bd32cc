"""Plain steps for where a method's own lower the loss no more: the best Y, and steps along the gradient.

A search ends at its floor only when none of these lowers the loss by more than its rounding, so that what it
says then is so.
"""

import numpy as np

from fastpath.core.inputs import Array
from fastpath.regression.model import Point, length, point
from fastpath.regression.search import EPSILON, Search

#: Lengths of a step along the gradient are tried from this multiple of Cauchy's down, by SHORTER.
LONGEST, SHORTER = 16.0, 4.0

#: No step is longer than this multiple of the point's own size.
FARTHEST = 2.0**20

#: Lengths that are tried in one direction, at most.
LENGTHS = 64


def measurable_step(here: Point, search: Search) -> Point | None:
    """Return a point of measurably less loss: of the refused ones, or by a plain step; None if none is."""
    search.rounding = loss_rounding(here)
    enough = here.loss - search.rounding
    lowest = search.lowest
    if lowest is not None and _is_below(lowest, enough):
        return lowest
    basis, T = here.feature_basis
    there = search.tried(point(here.data, here.X, here.Y - T @ (basis.T @ here.residual)))
    if _is_below(there, enough):
        return there
    by_X, by_Y = here.gradient
    still_X, still_Y = np.zeros_like(by_X), np.zeros_like(by_Y)
    found = [
        _along(here, U, V, enough, search)
        for U, V in ((by_X, by_Y), (by_X, still_Y), (still_X, by_Y))
    ]
    return min((p for p in found if p is not None), key=lambda p: p.loss, default=None)


def loss_rounding(here: Point) -> float:
    """Estimate what rounding does to the computed loss: four standard deviations of <R, dR>.

    Every entry of dR is taken to be independent, and as large as a rounding of the largest term in it, or
    as what roundings of the logits move the weights by.
    """
    data = here.data
    residual = np.abs(here.residual)
    terms = here.weights @ (np.abs(data.A3) @ np.abs(here.Y)) + np.abs(data.B) + residual
    logits = (np.abs(data.A1) @ np.abs(here.X)) @ np.abs(data.A2).max(axis=0)
    squares = here.weights @ here.values**2 - here.output**2
    terms += logits[:, None] * np.sqrt(np.maximum(squares, 0))
    return 4 * EPSILON * length(residual * terms)


def _is_below(there: Point, loss: float) -> bool:
    """Whether a point has a smaller loss, and a gradient that float64 holds: a step can start there."""
    return there.loss < loss and bool(np.isfinite(there.gradient_norm))


def _along(here: Point, U: Array, V: Array, enough: float, search: Search) -> Point | None:
    """Return the lowest point that was tried along -(U, V), if it is below ``enough``."""
    slope = length(U, V)
    if not 0 < slope < np.inf:
        return None
    U, V = U / slope, V / slope
    HU, HV = here.product(U, V)
    search.hessian_products += 1
    curvature = float(np.vdot(U, HU) + np.vdot(V, HV))
    size = 1 + length(here.X, here.Y)
    step = size
    if curvature > 0:
        step = min(max(step, LONGEST * slope / curvature), FARTHEST * size)
    best: Point | None = None
    for _ in range(LENGTHS):
        # A shorter step lowers the loss by less than rounding.
        if step * slope <= search.rounding:
            break
        there = search.tried(point(here.data, here.X - step * U, here.Y - step * V))
        if _is_below(there, enough if best is None else best.loss):
            best = there
        elif best is not None:
            break
        step /= SHORTER
    return best
