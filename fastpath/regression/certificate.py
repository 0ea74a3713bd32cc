"""Newton-Kantorovich certificates: an exact critical point lies within this distance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from fastpath._bounds import (
    ARITHMETIC,
    cholesky_residual,
    computed_deviation,
    critical_radius,
    deviation_nearby,
    kantorovich_number,
    local_lipschitz,
    mean_nearby,
    regression_gradient_error,
    regression_hessian_error,
    regression_row_error,
    residual_nearby,
    rounding_logit,
    rounding_weight,
    value_radius_nearby,
)
from fastpath.regression.curvature import Products, hessian
from fastpath.regression.model import Array, Point

Floats = NDArray[Any]

CLAIMS = ("P4.kantorovich", "P4.local", "P4.nearby", "FP.regression", "P3.certificate", "FP.exp")

FLOAT64 = ARITHMETIC["float64"]

#: Beyond this exp could underflow, which the error bounds leave out.  Below it the weights' errors and the
#: roundings stay where FP.regression speaks, whatever fits in a memory.
LARGEST_LOGIT = 300.0

#: The roundoff of numpy's longest floats, in which the gradient is evaluated once more; where they are
#: no longer than float64 the radius is larger, and where they are longer nothing is gained.
WIDE_ROUNDOFF = max(float(np.finfo(np.longdouble).eps), 2.0**-63) / 2


@dataclass(frozen=True)
class Certificate:
    """What has been proved about exact critical points near a point.

    Attributes
    ----------
    radius : float or None
        An exact critical point, and a strict local minimum, lies within this Frobenius distance of
        (X, Y).  None where nothing could be proved.
    h : float or None
        Kantorovich's number, M |gradient| / least_eigenvalue²; a proof needs h <= ½.
    least_eigenvalue : float
        Proved lower bound on the least eigenvalue of the Hessian.
    gradient_norm : float
        Proved upper bound on the norm of the exact gradient.
    lipschitz : float or None
        M: the Hessian's Lipschitz constant in the ball where the proof works.
    reason : str or None
        Where there is no radius: why.
    claims : tuple of str
        The ids of the claims that the numbers rest on.
    """

    radius: float | None
    h: float | None
    least_eigenvalue: float
    gradient_norm: float
    lipschitz: float | None
    reason: str | None
    claims: tuple[str, ...] = CLAIMS


def certify(here: Point, products: Products) -> Certificate:
    """Try to prove that an exact critical point lies near this one."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return _certify(_Sizes(here, products), products)


def _certify(sizes: "_Sizes", products: Products) -> Certificate:
    gradient_norm = sizes.gradient_norm()
    curvature = sizes.least_eigenvalue(products)
    if not sizes.logit <= LARGEST_LOGIT:
        reason = f"Logits are only known to stay below {sizes.logit:.3g}, not {LARGEST_LOGIT:g}."
        return Certificate(None, None, curvature, gradient_norm, None, reason)
    if not curvature > 0:
        reason = (
            "The Hessian could not be proved positive definite: its least eigenvalue is only known "
            f"to be at least {curvature:.3g}.  The point may be a saddle, or minima may not be isolated."
        )
        return Certificate(None, None, curvature, gradient_norm, None, reason)
    # Kantorovich's radius is at most twice the length of the first Newton step.
    lipschitz = sizes.lipschitz(_above(2 * gradient_norm / curvature))
    h = float(kantorovich_number(gradient_norm, curvature, lipschitz))
    if not h <= 0.5:
        reason = (
            f"The point is too far from critical: h = {h:.3g} is not at most 1/2, with gradient norm "
            f"{gradient_norm:.3g}, least eigenvalue {curvature:.3g} and Lipschitz constant {lipschitz:.3g}."
        )
        h_known = h if np.isfinite(h) else None
        return Certificate(None, h_known, curvature, gradient_norm, None, reason)
    radius = float(critical_radius(gradient_norm, curvature, lipschitz))
    return Certificate(radius, h, curvature, gradient_norm, lipschitz, None)


class _Sizes:
    """Upper bounds on the norms of a problem and a point that the claims ask for."""

    def __init__(self, here: Point, products: Products) -> None:
        data = self.data = here.data
        self.here = here
        self.queries, self.keys = len(data.A1), len(data.A2)
        self.query, self.key, self.feature, self.target = (
            _longest_row(A) for A in (data.A1, data.A2, data.A3, data.B)
        )
        self.value = _longest_row(np.abs(data.A3) @ np.abs(here.Y))
        self.frobenius = _norm(data.A1)
        self.logit = self.query * _norm(here.X) * self.key
        (p, q), (r, s) = data.X_shape, data.Y_shape
        self.terms = 3 * self.keys + self.queries + 2 * (p + q + r + s) + 16
        self.weight_error = self._weight_error(FLOAT64["unit_roundoff"])
        self.spectral = _spectral_norm(data.A1)
        features_off = np.sqrt(self.queries) * self._row_error(self.feature, 0.0)
        self.mean = _above(_spectral_norm(here.features) + features_off)
        residual_off = self._row_error(self.value, self.target)
        self.residual = _above(_longest_row(here.residual) + residual_off)
        self.key_radius, self.feature_radius = (_radius(A) for A in (data.A2, data.A3))
        self.value_radius = _above(_radius(here.values) + self._row_error(self.value, 0.0))
        self.key_deviation, self.feature_deviation, self.value_deviation = (
            self._deviation(A, norm)
            for A, norm in ((data.A2, self.key), (data.A3, self.feature), (here.values, self.value))
        )

    def _weight_error(self, unit_roundoff: float) -> float:
        """Bound the error of the logarithm of a weight, logits computed with this roundoff."""
        logit_error = rounding_logit(
            sum(self.data.X_shape), unit_roundoff, self.logit, FLOAT64["tiny"]
        )
        # The shift rounds too, and exp does in float64, to second order in the logit's rest.
        reach = 2 * self.logit * unit_roundoff / FLOAT64["unit_roundoff"]
        logit_error += _above(2 * self.logit * FLOAT64["unit_roundoff"]) ** 2
        return float(
            rounding_weight(logit_error, FLOAT64["unit_roundoff"], reach, FLOAT64["exp_error"], 1)
        )

    def _row_error(self, value: float, target: float) -> float:
        """Bound the error of a row of weighted values less the target, as computed in float64."""
        return float(
            regression_row_error(
                self.terms, FLOAT64["unit_roundoff"], self.weight_error, value, target
            )
        )

    def _deviation(self, A: Array, norm: float) -> float:
        """Bound the standard deviation of the rows of A, in any direction, under any row's weights."""
        weights = self.here.weights
        first, second = np.triu_indices(A.shape[1])
        A = A - A.mean(axis=0)
        means = weights @ A
        covariance = weights @ (A[:, first] * A[:, second]) - means[:, first] * means[:, second]
        full = np.empty((self.queries, A.shape[1], A.shape[1]))
        full[:, first, second] = full[:, second, first] = covariance
        # |C|^4 <= |C^4|_F: at d = 16 half the Frobenius norm of C.
        fourth = full @ full
        fourth = fourth @ fourth
        rounding = 1 + len(fourth.T) * 2.0**-48
        largest = float(np.sqrt((fourth**2).sum(axis=(1, 2)).max()) * rounding) ** 0.25
        return float(
            computed_deviation(
                _above(largest), 2 * norm, self.terms, FLOAT64["unit_roundoff"], self.weight_error
            )
        )

    def gradient_norm(self) -> float:
        """Bound the norm of the exact gradient, computed in numpy's longest floats."""
        gradient, longest_sum = wide_gradient(self.here)
        (_, _), (r, s) = self.data.X_shape, self.data.Y_shape
        weight_error = self._weight_error(WIDE_ROUNDOFF)
        error = regression_gradient_error(
            self.queries,
            4 * longest_sum + 2 * (r + s) + 16,
            WIDE_ROUNDOFF,
            weight_error,
            self.spectral,
            self.frobenius,
            self.key,
            self.feature,
            self.value,
            self.target,
            self.residual,
            self.key_deviation,
            self.value_deviation,
            self.feature_deviation,
            self.mean,
        )
        return _above(_norm(gradient) + float(error))

    def least_eigenvalue(self, products: Products) -> float:
        """Bound the least eigenvalue of the exact Hessian from below."""
        error = regression_hessian_error(
            self.queries,
            self.data.Y_shape[1],
            self.terms,
            FLOAT64["unit_roundoff"],
            self.weight_error,
            self.frobenius,
            self.key,
            self.feature,
            self.value,
            self.target,
        )
        H = hessian(self.here, products, gauss_newton=False)
        return float(np.nextafter(least_eigenvalue(H) - float(error), -np.inf))

    def lipschitz(self, distance: float) -> float:
        """Bound the Lipschitz constant of the Hessian on the ball of this radius."""
        value_radius = value_radius_nearby(self.value_radius, self.feature_radius, distance)
        value_deviation = _above(self.value_deviation + self.feature_deviation * distance)
        deviations = (
            deviation_nearby(deviation, self.query, self.key_radius, distance)
            for deviation in (self.key_deviation, value_deviation, self.feature_deviation)
        )
        return float(
            local_lipschitz(
                self.spectral,
                self.query,
                self.key_radius,
                value_radius,
                self.feature_radius,
                mean_nearby(
                    self.mean, self.spectral, self.key_radius, self.feature_radius, distance
                ),
                residual_nearby(
                    self.residual,
                    self.query,
                    self.key_radius,
                    value_radius,
                    self.feature,
                    distance,
                ),
                *deviations,
            )
        )


def least_eigenvalue(H: Array) -> float:
    """Bound the least eigenvalue of a symmetric matrix from below, proved by a Cholesky factorisation."""
    if not np.isfinite(H).all():
        return -np.inf
    estimate = float(sl.eigvalsh(H, subset_by_index=[0, 0])[0])
    # Below the estimate by more than it and the shifted diagonal round, also where H is zero.
    spread = max(abs(estimate), float(np.abs(H.diagonal()).max()) * 2.0**-40, 2.0**-900)
    shift = estimate - spread / 64
    shifted = H.copy()
    shifted.ravel()[:: len(H) + 1] -= shift
    diagonal = shifted.diagonal().copy()
    if sl.lapack.dpotrf(shifted.T, lower=0, clean=0, overwrite_a=1)[1]:
        return -np.inf
    unit_roundoff = FLOAT64["unit_roundoff"]
    residual = float(cholesky_residual(len(H), unit_roundoff))
    # The diagonal was rounded when it was shifted.
    lost = _above(_above(float(diagonal.sum()) * (1 + len(H) * 2.0**-52)) * residual)
    return float(np.nextafter(shift - lost - 2 * unit_roundoff * diagonal.max(), -np.inf))


def wide_gradient(here: Point) -> tuple[Floats, int]:
    """Return the gradient in one vector, in longest floats, and the most roundings in one of its sums.

    The exponential is numpy's in float64, at the rounded logit, times 1 + the rest of the logit.
    """
    data = here.data
    A1, A2, A3, B, X, Y = (
        M.astype(np.longdouble) for M in (data.A1, data.A2, data.A3, data.B, here.X, here.Y)
    )
    logits = _product(_product(A1, X), A2.T)
    logits -= logits.max(axis=1, keepdims=True)
    rounded = logits.astype(np.float64)
    weights = np.exp(rounded) * (1 + (logits - rounded))
    total = _product(weights, np.ones((len(A2), 1), np.longdouble))
    features = _product(weights, A3) / total
    output = _product(features, Y)
    residual = output - B
    change = _product(residual, _product(A3, Y).T)
    change -= (residual * output).sum(axis=1, keepdims=True)
    change *= weights / total
    by_X = _product(A1.T, _product(change, A2))
    by_Y = _product(features.T, residual)
    longest = max(_roundings(len(A1)), _roundings(len(A2)))
    return np.concatenate([by_X.ravel(), by_Y.ravel()]), longest


def _product(A: Floats, B: Floats) -> Floats:
    """Multiply in blocks of about the square root of the terms, which rounds each of them less often."""
    step = _block(len(B))
    return sum(  # type: ignore[return-value]
        A[:, i : i + step] @ B[i : i + step] for i in range(0, len(B), step)
    )


def _block(terms: int) -> int:
    return int(np.ceil(np.sqrt(terms)))


def _roundings(terms: int) -> int:
    return _block(terms) + -(-terms // _block(terms))


def _spectral_norm(A: Array) -> float:
    """Bound the largest singular value from above."""
    gram = A.T @ A
    rounding = (len(A) + 2) * 2.0**-52 * _norm(A) ** 2
    return _above(np.sqrt(max(-least_eigenvalue(-gram), 0.0) + rounding))


def _radius(A: Array) -> float:
    """Bound the radius of a ball that holds the rows of A, with their mean as its centre."""
    return _longest_row(A - A.mean(axis=0))


def _longest_row(A: Array) -> float:
    """Bound the largest Euclidean norm of a row from above."""
    return _above(np.sqrt(np.einsum("ij,ij->i", A, A).max()) * (1 + A.shape[1] * 2.0**-52))


def _norm(A: Floats) -> float:
    """Bound the Frobenius norm from above."""
    return _above(float(np.sqrt((A * A).sum())) * (1 + A.size * 2.0**-52))


def _above(value: Any) -> float:
    """Round up past the roundings of a few operations, and past underflow of squares."""
    return float(value) * (1 + 2.0**-49) + 2.0**-500
