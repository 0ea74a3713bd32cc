"""Damped Newton steps that lower the loss from any start: projected on X, joint in X and Y, or sketched."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import scipy.linalg as sl

from fastpath.core.inputs import Array
from fastpath.regression.curvature import Products, hessian, schur
from fastpath.regression.model import Data, Point, joined, point
from fastpath.regression.plain_steps import measurable_step
from fastpath.regression.search import EPSILON, Search

#: A step is taken when the loss falls by this part of what the quadratic model predicts.
SUFFICIENT = 1e-4

#: Damping, relative to the mean eigenvalue of the model: at the start, and below which it is dropped.
FIRST_DAMPING, LEAST_DAMPING = 3e-4, 1e-10

#: Exact second derivatives once the gradient has fallen to this part of the first one; Gauss-Newton
#: before, which is positive semidefinite everywhere.
NEAR = 0.1

#: Above this part of the first gradient a Hessian in float32 is good for a step; its steps still shrink
#: the gradient by orders of magnitude, and they lead to where the gradient, in float64, says.
ROUGH = 1e-7

#: Dampings tried for one step: each is larger than the last by more than two.
ATTEMPTS = 40

#: Lengths tried of a step by which the loss falls by less than it rounds: one a little shorter rounds
#: otherwise, and still halves the gradient.
UNMEASURABLE = 1 - np.arange(14) / 32


class Model(Protocol):
    """A quadratic model of the loss in a vector of variables."""

    def gradient(self, here: Point) -> Array:
        """Return the derivative by the variables."""

    def hessian(self, here: Point, *, gauss_newton: bool, rough: bool) -> Array:
        """Return the model's second derivative, symmetric; if rough, in less than float64."""

    def moved(self, here: Point, step: Array) -> Point:
        """Return the point after a step."""


class Projected:
    """The loss as a function of X alone, Y by least squares: variable projection.

    The Schur complement of the Hessian on X is the exact second derivative of this function.
    """

    def __init__(self, data: Data, products: Callable[[], Products]) -> None:
        self._data, self._products = data, products
        self._rough_products = Products(data, np.float32)

    def gradient(self, here: Point) -> Array:
        """Return the derivative by X; the one by Y is zero."""
        return here.gradient[0].ravel()

    def hessian(self, here: Point, *, gauss_newton: bool, rough: bool) -> Array:
        """Return the Schur complement; its products in float32 if rough."""
        products = self._rough_products if rough else self._products()
        return schur(here, products, gauss_newton=gauss_newton)

    def moved(self, here: Point, step: Array) -> Point:
        """Return the point after a step of X, with the best Y."""
        return point(self._data, here.X + step.reshape(here.X.shape))


class Joint:
    """The loss as a function of X and Y."""

    def __init__(self, data: Data, products: Products) -> None:
        self._data, self._products = data, products

    def gradient(self, here: Point) -> Array:
        """Return the derivative by both."""
        return joined(*here.gradient)

    def hessian(self, here: Point, *, gauss_newton: bool, rough: bool) -> Array:
        """Return the whole Hessian, always in float64."""
        return hessian(here, self._products, gauss_newton=gauss_newton)

    def moved(self, here: Point, step: Array) -> Point:
        """Return the point after a step of both."""
        U, V = self._data.split(step)
        return point(self._data, here.X + U, here.Y + V)


def descend(here: Point, model: Model, search: Search) -> Point:
    """Take damped Newton steps until the search ends; the loss never rises.

    The damping follows the ratio of actual to predicted decrease (Nielsen's rule), and more is tried
    until the model is positive definite and the loss falls.  Where no damping gives a step, a plain one is
    taken; where none of those lowers the loss measurably either, the search has reached its floor.

    A Hessian of float32 is trusted until a step that it gave is refused.  Where the last step shrank the
    gradient so much that its Hessian will do for one step more, and that for convergence, it is used again.
    """
    damping, growth = FIRST_DAMPING, 2.0
    first_slope = here.slope
    shrunk, trusted, old = 1.0, True, False
    while not search.finished(here):
        gradient = model.gradient(here)
        gauss_newton = here.slope > NEAR * first_slope
        rough = trusted and here.slope > ROUGH * first_slope
        # An old Hessian errs by about twice what shrunk the gradient; as much again for safety.
        old = not old and 4 * shrunk * here.gradient_norm <= search.threshold
        if not old:
            H = model.hessian(here, gauss_newton=gauss_newton, rough=rough)
            search.hessians += 1
            diagonal = H.diagonal().copy()
        doubtful = old or rough
        there: Point | None = None
        for _ in range(ATTEMPTS):
            scale = float(np.abs(diagonal).mean())
            H.ravel()[:: len(H) + 1] = diagonal + damping * scale
            step = _solution(H, gradient)
            if step is not None:
                # With (H + damping) step = -gradient the predicted decrease needs no product with H.
                slope = -float(gradient @ step)
                predicted = 0.5 * (slope + damping * scale * float(step @ step))
                if predicted <= EPSILON * here.loss:
                    there, lowered = _unmeasured(here, model, step, search), predicted
                    break
                tried = search.tried(model.moved(here, step))
                lowered = here.loss - tried.loss
                if lowered >= SUFFICIENT * predicted and np.isfinite(tried.gradient_norm):
                    there = tried
                    break
            if doubtful:
                doubtful = trusted = old = False
                H = model.hessian(here, gauss_newton=gauss_newton, rough=False)
                search.hessians += 1
                diagonal = H.diagonal().copy()
            else:
                damping = max(damping, LEAST_DAMPING) * growth
                growth *= 2
        if there is None:
            there = measurable_step(here, search)
            if there is None:
                search.status = "floor"
                return here
            damping, trusted, old, shrunk = FIRST_DAMPING, False, False, 1.0
        else:
            quality = lowered / predicted if predicted > 0 else 1.0
            damping *= max(1 / 30 if quality > 0.9 else 1 / 10, 1 - (2 * quality - 1) ** 3)
            damping = damping if damping > LEAST_DAMPING else 0.0
            shrunk = there.slope / here.slope
        growth = 2.0
        here = there
        search.iterations += 1
        search.gradients += 1
    return here


def _unmeasured(here: Point, model: Model, step: Array, search: Search) -> Point | None:
    """Take a step whose decrease the computed loss is too coarse to show, but the gradient is not."""
    for length in UNMEASURABLE:
        there = search.tried(model.moved(here, length * step))
        if there.loss <= here.loss and there.slope <= here.slope / 2:
            return there
    return None


def _solution(H: Array, gradient: Array) -> Array | None:
    """Return -H⁻¹ gradient if H is positive definite."""
    factor, info = sl.lapack.dpotrf(H.T, lower=0, clean=0)
    if info:
        return None
    step: Array = -sl.lapack.dpotrs(factor, gradient, lower=0)[0]
    return step if np.isfinite(step).all() else None
