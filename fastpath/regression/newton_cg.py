"""Newton's method by conjugate gradients: Hessian-vector products only, for problems with large d."""

from collections.abc import Callable

import numpy as np
import scipy.linalg as sl

from fastpath.core.inputs import Array
from fastpath.regression.model import Point, joined, point
from fastpath.regression.newton import SUFFICIENT
from fastpath.regression.plain_steps import measurable_step
from fastpath.regression.search import EPSILON, Search

Operator = Callable[[Array], Array]

#: Queries whose blocks stand for all of them in the preconditioner, as a multiple of X's columns.
SAMPLED = 4

#: A trust region this much smaller than the first is given up.
SMALLEST_REGION = 1e-14

#: Regions tried for one step, at most: more than lie between the largest and the smallest.
REGIONS = 100

#: What is added to a block of the preconditioner, relative to its mean eigenvalue; and what the latter is
#: at least, relative to the terms that it is a difference of.
RIDGE, NOISE = 1e-8, 2.0**-40


def descend_by_products(here: Point, search: Search) -> Point:
    """Take truncated Newton steps in a trust region until the search ends; the loss never rises.

    Steihaug's conjugate gradients, preconditioned by Kronecker products: A1ᵀA1 ⊗ M for X, M the
    Gauss-Newton block of a typical query, and FᵀF ⊗ I for Y.  Cost: one Hessian-vector product,
    O(n_q n_k d), an inner iteration.
    """
    first_slope = here.slope
    region = first_region = 0.0
    while not search.finished(here):
        gradient = joined(*here.gradient)
        precondition = _preconditioner(here)
        forcing = min(0.1, float(np.sqrt(here.slope / first_slope)))
        if not first_region:
            steepest = float(np.sqrt(gradient @ precondition(gradient)))
            region = first_region = 10 * steepest
        there: Point | None = None
        for _ in range(REGIONS):
            step, predicted, at_edge = _truncated(
                here, gradient, precondition, region, forcing, search
            )
            U, V = here.data.split(step)
            tried = search.tried(point(here.data, here.X + U, here.Y + V))
            lowered = here.loss - tried.loss
            # A comparison with NaN is false, so that what overflowed shrinks the region too.
            if not lowered >= 0.25 * predicted:
                region /= 4
            elif lowered > 0.75 * predicted and at_edge:
                region *= 2.5
            negligible = predicted <= EPSILON * here.loss
            if np.isfinite(tried.gradient_norm) and (
                lowered >= SUFFICIENT * predicted
                or (lowered >= 0 and negligible and tried.slope <= here.slope / 2)
            ):
                there = tried
                break
            if negligible or not region >= SMALLEST_REGION * first_region:
                break
        if there is None:
            there = measurable_step(here, search)
            if there is None:
                search.status = "floor"
                return here
            # The region says nothing of where a plain step led.
            first_region = 0.0
        here = there
        search.iterations += 1
        search.gradients += 1
    return here


def _truncated(
    here: Point,
    gradient: Array,
    precondition: Operator,
    region: float,
    forcing: float,
    search: Search,
) -> tuple[Array, float, bool]:
    """Return Steihaug's step, the decrease it predicts and whether it ends on the region's edge."""
    step, curved = np.zeros_like(gradient), np.zeros_like(gradient)
    residual = gradient.copy()
    direction = -precondition(residual)
    size = -float(residual @ direction)
    enough = forcing * np.sqrt(size)
    # Squares and product of step and direction in the preconditioner's norm.
    step_square, step_direction, direction_square = 0.0, 0.0, size
    at_edge = False
    for _ in range(2 * len(gradient)):
        image = joined(*here.product(*here.data.split(direction)))
        search.hessian_products += 1
        curvature = float(direction @ image)
        length = size / curvature if curvature > 0 else np.inf
        # Products, not powers: of Python's floats those raise where they overflow.
        reach = step_square + 2 * length * step_direction + length * length * direction_square
        at_edge = not reach < region * region
        if at_edge:
            room = step_direction * step_direction
            room += direction_square * (region * region - step_square)
            length = (-step_direction + np.sqrt(max(room, 0.0))) / direction_square
        step += length * direction
        curved += length * image
        if at_edge:
            break
        residual += length * image
        correction = precondition(residual)
        previous, size = size, float(residual @ correction)
        if np.sqrt(max(size, 0.0)) <= enough:
            break
        step_square = reach
        ratio = size / previous
        step_direction = ratio * (step_direction + length * direction_square)
        direction_square = size + ratio * ratio * direction_square
        direction = ratio * direction - correction
    return step, -float(gradient @ step) - 0.5 * float(step @ curved), at_edge


def _preconditioner(here: Point) -> Operator:
    data = here.data
    stride = max(1, len(data.A1) // (SAMPLED * data.X_shape[1]))
    keys = data.A2 - here.mean_keys[::stride, None]
    # Cov_p(A2, H) for the sampled queries.
    blocks = (keys * here.weights[::stride, :, None]).transpose(0, 2, 1) @ here.values
    typical = np.einsum("iab,icb->ac", blocks, blocks) / len(blocks)
    # Where all keys or values are equal their covariance is rounding, not a block to be inverted.
    covariance = float((data.A2**2).sum(axis=1).max() * (here.values**2).sum(axis=1).max())
    queries, keys_factor, features = (
        _factor(gram, least)
        for gram, least in (
            (data.A1.T @ data.A1, 0.0),
            (typical, NOISE * covariance),
            (here.features.T @ here.features, 0.0),
        )
    )

    def precondition(z: Array) -> Array:
        U, V = data.split(z)
        return joined(
            sl.cho_solve(keys_factor, sl.cho_solve(queries, U).T).T, sl.cho_solve(features, V)
        )

    return precondition


def _factor(gram: Array, least: float) -> tuple[Array, bool]:
    """Factor a Gram matrix, made definite where it is not; 1 in its place where it has overflowed."""
    size = max(float(gram.trace()) / len(gram), least) or 1.0
    definite = gram + RIDGE * size * np.eye(len(gram))
    if not np.isfinite(definite).all():
        definite = np.eye(len(gram))
    factor: tuple[Array, bool] = sl.cho_factor(definite, check_finite=False)
    return factor
