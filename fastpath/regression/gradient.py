"""Gradient steps at a rate of one over the largest curvature: no Hessian is formed, and no product of d^4.

P4.descent says how many it takes from a start in the basin of a critical point.
"""

import numpy as np

from fastpath.core.inputs import Array
from fastpath.regression.model import Point, joined, length, point
from fastpath.regression.newton import UNMEASURABLE
from fastpath.regression.plain_steps import measurable_step
from fastpath.regression.search import EPSILON, Search

#: Products with the Hessian that the largest curvature is estimated from, and what it is raised by, as such
#: an estimate comes from below.
PRODUCTS, SAFETY = 16, 1.0625

#: Rates tried for one step, each half the last.
HALVINGS = 60

#: A decrease below so many roundings of the loss is judged by the gradient.
ROUNDINGS = 64


def descend_by_gradient(here: Point, search: Search) -> Point:
    """Take gradient steps until the search ends; the loss never rises, and the rate never does.

    A rate of at most one over the largest curvature lowers the loss by half of rate |gradient|²: where a step
    does not, its rate is halved.  Cost: a gradient a step, O(n_q n_k d).
    """
    rate = 0.0
    while not search.finished(here):
        gradient = joined(*here.gradient)
        rate = rate or _first_rate(here, gradient, search)
        there: Point | None = None
        for _ in range(HALVINGS):
            predicted = 0.5 * rate * float(gradient @ gradient)
            if predicted <= ROUNDINGS * EPSILON * here.loss:
                there = _unmeasured(here, gradient, rate, search)
                break
            tried = search.tried(_moved(here, gradient, rate))
            if here.loss - tried.loss >= predicted and np.isfinite(tried.gradient_norm):
                there = tried
                break
            rate /= 2
        if there is None:
            there = measurable_step(here, search)
            if there is None:
                search.status = "floor"
                return here
            # The rate says nothing of where a plain step led.
            rate = 0.0
        here = there
        search.iterations += 1
        search.gradients += 1
    return here


def _moved(here: Point, gradient: Array, rate: float) -> Point:
    U, V = here.data.split(gradient)
    return point(here.data, here.X - rate * U, here.Y - rate * V)


def _unmeasured(here: Point, gradient: Array, rate: float, search: Search) -> Point | None:
    """Take a step whose decrease the computed loss is too coarse to show, but the gradient is not."""
    for share in UNMEASURABLE:
        there = search.tried(_moved(here, gradient, share * rate))
        if there.loss <= here.loss and there.slope < here.slope:
            return there
    return None


def _first_rate(here: Point, gradient: Array, search: Search) -> float:
    """Return one over the largest curvature, by power iteration from the gradient and a fixed direction."""
    slope = length(gradient)
    farthest = (1 + length(here.X, here.Y)) / slope
    # No eigenvector is orthogonal to a gradient and to this one too.
    direction = gradient / slope + np.cos(np.arange(len(gradient))) / np.sqrt(len(gradient))
    largest = 0.0
    for _ in range(PRODUCTS):
        direction = direction / length(direction)
        image = joined(*here.product(*here.data.split(direction)))
        search.hessian_products += 1
        size = length(image)
        if not 0 < size < np.inf:
            break
        largest, direction = max(largest, size), image
    return min(farthest, 1 / (SAFETY * largest)) if largest > 0 else farthest
