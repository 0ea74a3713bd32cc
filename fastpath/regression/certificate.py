"""Newton-Kantorovich certificates: an exact critical point lies within this distance.

The theorem is applied in coordinates (X, Z) with Y = S Z, in which the features F S are orthogonal and of
such a length that Z's block of the Hessian is as large as that of X: the problem is the same, with A3 S in
place of A3.  At (256, 16) that makes h forty times smaller.  P4.affine gives the radius in (X, Y).
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl

from fastpath.core.bounds.regression import (
    affine_radius,
    computed_deviation,
    deviation_nearby,
    gradient_steps,
    kantorovich_number,
    local_lipschitz,
    mean_nearby,
    regression_gradient_error,
    regression_hessian_error,
    regression_row_error,
    residual_nearby,
    value_radius_nearby,
)
from fastpath.core.bounds.softmax import ARITHMETIC, rounding_logit, rounding_weight
from fastpath.core.bounds.sparsification import cholesky_residual
from fastpath.core.directed import below, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.norms import lengths, longest_row, norm, product_loss, sum_above
from fastpath.core.once import once
from fastpath.regression.curvature import Products, hessian
from fastpath.regression.model import Point

CLAIMS = (
    "P4.kantorovich",
    "P4.affine",
    "P4.local",
    "P4.nearby",
    "FP.regression",
    "P3.certificate",
    "FP.exp",
)

FLOAT64 = ARITHMETIC["float64"]
U = FLOAT64["unit_roundoff"]

#: The roundoff of numpy's longest floats, in which the gradient is evaluated once more; where they are
#: no longer than float64 the radius is larger, and where they are longer nothing is gained.
WIDE_ROUNDOFF = max(float(np.finfo(np.longdouble).eps), 2.0**-63) / 2

#: Below it no weight underflows.
LARGEST_LOGIT = 300.0

#: Up to it, whatever underflows on the way to a row, a gradient or a Hessian is far less than LOST, by which
#: the bounds on their errors are raised.
LARGEST_NORM, LOST = 2.0**100, 2.0**-500

#: More gradient steps than anybody takes.
MOST_STEPS = 1e15

#: Where FP.regression stops.
LARGEST_WEIGHT_ERROR = 1 / 16
LARGEST_ROUNDING = 1 / 4


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What has been proved about exact critical points near a point.

    Attributes
    ----------
    radius : float or None
        An exact critical point, and a strict local minimum, lies within this Frobenius distance of
        (X, Y).  None where nothing could be proved.
    h : float or None
        Kantorovich's number, which bounds the relative change of the Hessian over Newton's step; a proof
        needs h < 1/2.
    least_eigenvalue : float or None
        Proved lower bound on the least eigenvalue of the Hessian.
    gradient_norm : float or None
        Proved upper bound on the norm of the exact gradient.
    lipschitz : float or None
        The Hessian's Lipschitz constant in the ball where the proof works, both in the coordinates that
        make the features orthogonal: h is this times |gradient| / least_eigenvalue² there.
    reason : str or None
        Where there is no radius: why.
    claims : tuple of str
        The ids of the claims that the numbers rest on.
    """

    radius: float | None
    h: float | None
    least_eigenvalue: float | None
    gradient_norm: float | None
    lipschitz: float | None
    reason: str | None
    claims: tuple[str, ...] = CLAIMS


def certify(here: Point, products: Products) -> Certificate:
    """Try to prove that an exact critical point lies near this one."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return _certify(here, products)


def _certify(here: Point, products: Products) -> Certificate:
    sizes = _Sizes(here)
    reason = sizes.refusal()
    if reason is not None:
        return Certificate(
            radius=None,
            h=None,
            least_eigenvalue=None,
            gradient_norm=None,
            lipschitz=None,
            reason=reason,
        )
    H = hessian(here, products, gauss_newton=False)
    curvature = float(below(least_eigenvalue(H) - sizes.hessian_error()))
    gradient, roundings = wide_gradient(here)
    error = sizes.gradient_error(roundings, WIDE_ROUNDOFF)
    gradient_norm = float(up(norm(_narrow(gradient)) + error))
    if not curvature > 0:
        reason = (
            "The Hessian could not be proved positive definite: its least eigenvalue is only known "
            f"to be at least {curvature:.3g}.  The point may be a saddle, or minima may not be isolated."
        )
        return Certificate(
            radius=None,
            h=None,
            least_eigenvalue=curvature,
            gradient_norm=gradient_norm,
            lipschitz=None,
            reason=reason,
        )
    basis = _Basis(H, here)
    there_norm = float(up(basis.gradient_norm(gradient) + up(basis.stretch * error)))
    lost = up(up(up(basis.stretch * basis.stretch) * sizes.hessian_error()) + basis.lost)
    there_curvature = float(below(least_eigenvalue(basis.hessian) - lost))
    h, lipschitz = np.inf, np.inf
    if there_curvature > 0:
        # Kantorovich's radius is at most twice the length of the first Newton step.
        distance = float(up(2 * there_norm / there_curvature))
        lipschitz = sizes.lipschitz(distance, basis)
        h = float(kantorovich_number(there_norm, there_curvature, lipschitz))
    if not h < 0.5:
        reason = (
            f"The point is too far from critical: h = {h:.3g} is not less than 1/2, with gradient norm "
            f"{gradient_norm:.3g}, least eigenvalue {curvature:.3g} and Lipschitz constant {lipschitz:.3g}."
        )
        h_known = h if np.isfinite(h) else None
        return Certificate(
            radius=None,
            h=h_known,
            least_eigenvalue=curvature,
            gradient_norm=gradient_norm,
            lipschitz=None,
            reason=reason,
        )
    radius = float(affine_radius(gradient_norm, curvature, h))
    return Certificate(
        radius=radius,
        h=h,
        least_eigenvalue=curvature,
        gradient_norm=gradient_norm,
        lipschitz=lipschitz,
        reason=None,
    )


@dataclass(frozen=True, kw_only=True)
class Promise:
    """How many gradient steps bring a point nearer to a critical point by a factor.

    Attributes
    ----------
    steps : int or None
        Gradient steps of this rate, without rounding, after which the distance is surely less by the factor.
        None where nothing could be proved.
    rate : float or None
        By which the gradient is multiplied: about one over the largest eigenvalue of the Hessian.
    distance : float or None
        Within which of the point the critical point lies.
    least_eigenvalue, lipschitz : float or None
        Bounds on the Hessian's least eigenvalue at the critical point and on its Lipschitz constant around
        it: from every distance below 2 least_eigenvalue / lipschitz such steps come nearer.
    reason : str or None
        Where there are no steps: why.
    claims : tuple of str
        The ids of the claims that the numbers rest on.
    """

    steps: int | None
    rate: float | None
    distance: float | None
    least_eigenvalue: float | None
    lipschitz: float | None
    reason: str | None
    claims: tuple[str, ...] = ("P4.descent", *CLAIMS)


def promise(here: Point, products: Products, reduction: float) -> Promise:
    """Bound the gradient steps that reduce the distance of a critical point near this one by a factor."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return _promise(here, products, reduction)


def _promise(here: Point, products: Products, reduction: float) -> Promise:
    certificate = _certify(here, products)
    distance, least = certificate.radius, certificate.least_eigenvalue
    if distance is None or least is None:
        return _no_promise(certificate.reason)
    sizes = _Sizes(here)
    H = hessian(here, products, gauss_newton=False)
    # On the ball around the critical point that reaches to here.
    lipschitz = sizes.lipschitz(float(up(2 * distance)), _Unchanged(len(here.Y)))
    moved = float(up(lipschitz * distance))
    least = float(below(least - moved))
    largest = float(up(up(sizes.hessian_error() - least_eigenvalue(-H)) + moved))
    if not moved < least:
        return _no_promise(
            f"The point is too far from critical: at a distance of {distance:.3g} the least eigenvalue is "
            f"only known to be at least {least:.3g}, with a Lipschitz constant of {lipschitz:.3g}."
        )
    # At most 2 / (largest + least), as least <= largest.
    rate = float(below(1 / largest))
    steps = float(gradient_steps(distance, reduction, rate, least, lipschitz))
    if not (steps < MOST_STEPS and rate > 0):
        return _no_promise(
            f"The number of steps is only known to be at most {steps:.3g}, which is not less than "
            f"{MOST_STEPS:.3g}."
        )
    return Promise(
        # The last step after which it may be as far, and one more.
        steps=int(np.floor(steps)) + 1,
        rate=rate,
        distance=distance,
        least_eigenvalue=least,
        lipschitz=lipschitz,
        reason=None,
    )


def _no_promise(reason: str | None) -> Promise:
    return Promise(
        steps=None, rate=None, distance=None, least_eigenvalue=None, lipschitz=None, reason=reason
    )


class _Sizes:
    """Upper bounds on the norms of a problem and a point, and on what rounding did to them.

    ``value`` bounds the rows of |A3| |Y|, and ``logit`` the entries of |A1| |X| |A2|ᵀ.
    """

    def __init__(self, here: Point) -> None:
        data = self.data = here.data
        self.here = here
        self.queries, self.keys = len(data.A1), len(data.A2)
        self.query, self.key, self.feature, self.target = (
            longest_row(A) for A in (data.A1, data.A2, data.A3, data.B)
        )
        self.value = longest_row(sum_above(np.abs(data.A3) @ np.abs(here.Y), len(here.Y)))
        self.frobenius = norm(data.A1)
        self.logit = float(up(up(self.query * norm(here.X)) * self.key))
        self.weight_error = self._weight_error(U)
        r, s = data.Y_shape
        # A mean is a sum over keys with weights, each of them divided by another sum: that counts twice.
        # A covariance has two means in a term and the Hessian four.
        self.mean_roundings = 3 * self.keys + r + 8
        self.deviation_roundings = 2 * self.mean_roundings
        self.hessian_roundings = 4 * self.mean_roundings + self.queries + 2 * s

    def refusal(self) -> str | None:
        """Say which hypothesis of the error bounds does not hold, if one does not."""
        if not self.logit <= LARGEST_LOGIT:
            return f"Logits are only known to stay below {self.logit:.3g}, not {LARGEST_LOGIT:g}."
        norms = (self.query, self.key, self.feature, self.target, self.value, self.frobenius)
        largest = max(*norms, norm(self.here.X), norm(self.here.Y))
        if not largest <= LARGEST_NORM:
            return f"A norm of the data is {largest:.3g}; at most {LARGEST_NORM:.3g} is allowed."
        rounding = self.hessian_roundings * U
        if not (self.weight_error <= LARGEST_WEIGHT_ERROR and rounding <= LARGEST_ROUNDING):
            return (
                f"Rounding may change a weight by a factor of 1 + {self.weight_error:.3g}, and a sum of 1 + "
                f"{rounding:.3g}; {LARGEST_WEIGHT_ERROR:g} and {LARGEST_ROUNDING:g} are allowed."
            )
        return None

    def _weight_error(self, unit_roundoff: float) -> float:
        """Bound the error of the logarithm of a weight, logits computed with this roundoff."""
        logit_error = rounding_logit(
            sum(self.data.X_shape), unit_roundoff, self.logit, FLOAT64["tiny"]
        )
        # The shift rounds a difference of two computed logits.
        shifted = 2 * up(self.logit + logit_error)
        # exp is float64's, at the rounded logit, times 1 + the rest: two roundings and the rest squared.
        reach = up(up(shifted + 4) * (unit_roundoff / U))
        rest = up(shifted * U)
        logit_error = up(logit_error + up(rest * rest))
        return float(rounding_weight(logit_error, U, reach, FLOAT64["exp_error"], 1))

    def row_error(self, value: float, target: float) -> float:
        """Bound the error of a row of weighted values less the target, as computed in float64."""
        error = regression_row_error(self.mean_roundings, U, self.weight_error, value, target)
        return float(up(error + LOST))

    @once
    def spectral(self) -> float:
        """Of A1."""
        return _spectral_norm(self.data.A1)

    @once
    def features_error(self) -> float:
        """Of the computed features."""
        return float(up(up(np.sqrt(self.queries)) * self.row_error(self.feature, 0.0)))

    @once
    def residual(self) -> float:
        """Of the longest row of the exact residual."""
        error = self.row_error(self.value, self.target)
        return float(up(longest_row(self.here.residual) + error))

    @once
    def key_radius(self) -> float:
        """Of a ball that holds the keys."""
        return _radius(self.data.A2)

    @once
    def value_radius(self) -> float:
        """Of a ball that holds the exact values."""
        return float(up(_radius(self.here.values) + self.row_error(self.value, 0.0)))

    @once
    def key_deviation(self) -> float:
        """Of the keys under any row's weights."""
        return self.deviation(self.data.A2)

    @once
    def value_deviation(self) -> float:
        """Of the values under any row's weights."""
        return self.deviation(self.here.values, self.value)

    def deviation(self, A: Array, made_of: float = 0.0) -> float:
        """Bound the standard deviation of the rows of A, in any direction, under any row's weights.

        Where A is a product, ``made_of`` bounds the rows of that of the magnitudes.
        """
        weights = self.here.weights
        first, second = np.triu_indices(A.shape[1])
        A = A - A.mean(axis=0)
        row_norm = up(longest_row(A) + made_of)
        # So that what underflows, 2^-1074 a product, is nothing beside the roundings of rows of length one.
        exponent = int(np.frexp(row_norm)[1])
        A, row_norm = np.ldexp(A, -exponent), np.ldexp(row_norm, -exponent)
        means = weights @ A
        covariance = weights @ (A[:, first] * A[:, second]) - means[:, first] * means[:, second]
        # So that their powers do not underflow.
        unit = np.ldexp(1.0, np.frexp(np.abs(covariance).max())[1])
        full = np.empty((self.queries, A.shape[1], A.shape[1]))
        full[:, first, second] = full[:, second, first] = covariance / unit
        # |C|^4 <= |C^4|_F: at d = 16 half the Frobenius norm of C.
        largest = up(unit * up(np.sqrt(up(np.sqrt(_fourth_powers(full).max())))))
        roundings, error = self.deviation_roundings, self.weight_error
        scaled = computed_deviation(largest, row_norm, roundings, U, error)
        return float(up(np.ldexp(scaled, exponent)))

    def gradient_error(self, roundings: int, unit_roundoff: float) -> float:
        """Bound the error of a gradient whose terms pass through so many roundings."""
        error = regression_gradient_error(
            self.queries,
            roundings,
            unit_roundoff,
            self._weight_error(unit_roundoff),
            self.spectral,
            self.frobenius,
            self.key,
            self.feature,
            self.value,
            self.target,
            self.residual,
            self.key_deviation,
            self.value_deviation,
            self.deviation(self.data.A3),
            up(_spectral_norm(self.here.features) + self.features_error),
        )
        return float(up(error + LOST))

    def hessian_error(self) -> float:
        """Bound the error of the Hessian, as computed in float64."""
        error = regression_hessian_error(
            self.queries,
            self.data.Y_shape[1],
            self.hessian_roundings,
            U,
            self.weight_error,
            self.frobenius,
            self.key,
            self.feature,
            self.value,
            self.target,
        )
        return float(up(error + LOST))

    def lipschitz(self, distance: float, basis: "_Basis | _Unchanged") -> float:
        """Bound the Lipschitz constant of the Hessian by (X, Z) on the ball of this radius."""
        S, features = basis.S, self.data.A3 @ basis.S
        made_of = float(up(self.feature * norm(S)))
        row_error = product_loss(self.feature, norm(S), len(S), len(S))
        feature_radius = float(up(_radius(features) + row_error))
        feature_deviation = float(up(self.deviation(features, made_of) + row_error))
        means = self.here.features @ S
        mean = up(
            _spectral_norm(means)
            + product_loss(norm(self.here.features), norm(S), len(S), means.size)
        )
        mean = up(mean + up(self.features_error * basis.stretch))
        value_radius = float(value_radius_nearby(self.value_radius, feature_radius, distance))
        value_deviation = float(up(self.value_deviation + up(feature_deviation * distance)))
        deviations = (
            deviation_nearby(deviation, self.query, self.key_radius, distance)
            for deviation in (self.key_deviation, value_deviation, feature_deviation)
        )
        return float(
            local_lipschitz(
                self.spectral,
                self.query,
                self.key_radius,
                value_radius,
                feature_radius,
                mean_nearby(mean, self.spectral, self.key_radius, feature_radius, distance),
                residual_nearby(
                    self.residual,
                    self.query,
                    self.key_radius,
                    value_radius,
                    up(longest_row(features) + row_error),
                    distance,
                ),
                *deviations,
            )
        )


class _Unchanged:
    """The coordinates (X, Y) themselves."""

    def __init__(self, size: int) -> None:
        self.S: Array = np.eye(size)
        self.stretch = 1.0


class _Basis:
    """Coordinates (X, Z) with Y = S Z, in which the Hessian's block of Z is about a multiple of 1.

    ``hessian`` is the computed one in them, and has lost at most ``lost`` to rounding; ``stretch`` bounds the
    norm of (X, Z) -> (X, Y).
    """

    def __init__(self, H: Array, here: Point) -> None:
        (r, s), k = here.data.Y_shape, here.data.X_size
        self._X_size = k
        size = np.sqrt(H[:k, :k].trace() / k)
        factor = np.linalg.cholesky(H[k::s, k::s])
        self.S: Array = size * sl.solve_triangular(factor, np.eye(r), lower=True).T
        self.stretch = max(1.0, _spectral_norm(self.S))
        wide = np.kron(self.S, np.eye(s))
        self.hessian = H.copy()
        self.hessian[:k, k:] = H[:k, k:] @ wide
        self.hessian[k:, :k] = self.hessian[:k, k:].T
        self.hessian[k:, k:] = wide.T @ H[k:, k:] @ wide
        self.lost = self._lost(H, wide)

    def _lost(self, H: Array, wide: Array) -> float:
        """Bound what the products with S lost, in the block beside that of Z, twice, and in that of Z."""
        beside, block, k = (
            H[: self._X_size, self._X_size :],
            H[self._X_size :, self._X_size :],
            len(wide),
        )
        stretch, first = norm(wide), wide.T @ block
        once = product_loss(norm(beside), stretch, k, beside.size)
        twice = up(
            up(stretch * product_loss(stretch, norm(block), k, k * k))
            + product_loss(norm(first), stretch, k, k * k)
        )
        return float(up(2 * once + twice))

    def gradient_norm(self, gradient: Matrix) -> float:
        """Bound the norm of a gradient by (X, Y) in the coordinates (X, Z)."""
        k, r = self._X_size, len(self.S)
        by_X, by_Y = gradient[:k], gradient[k:].reshape(r, -1)
        by_Z = self.S.T @ by_Y
        lost = product_loss(norm(self.S), norm(_narrow(by_Y)), r, by_Y.size)
        return float(up(norm(_narrow(np.concatenate([by_X, by_Z.ravel()]))) + lost))


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
    trace = sum_above(diagonal.sum(), len(H))
    # The diagonal was rounded when it was shifted.
    lost = up(up(trace * cholesky_residual(len(H), U)) + 2 * U * diagonal.max())
    return float(below(shift - lost))


def wide_gradient(here: Point) -> tuple[Matrix, int]:
    """Return the gradient in one vector, in longest floats, and the most roundings that a term passes.

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
    # <r, o> has two means in it, of three sums over keys each, as a divisor counts twice; the weight is
    # divided too, and two more sums follow.
    r, s = Y.shape
    roundings = 9 * _roundings(len(A2)) + _roundings(len(A1)) + 2 * (r + s) + 16
    return np.concatenate([by_X.ravel(), by_Y.ravel()]), roundings


def _product(A: Matrix, B: Matrix) -> Matrix:
    """Multiply in blocks of about the square root of the terms, which rounds each of them less often."""
    step = _block(len(B))
    return sum(  # type: ignore[return-value]
        A[:, i : i + step] @ B[i : i + step] for i in range(0, len(B), step)
    )


def _block(terms: int) -> int:
    return int(np.ceil(np.sqrt(terms)))


def _roundings(terms: int) -> int:
    return _block(terms) + -(-terms // _block(terms))


def _fourth_powers(C: Array) -> Array:
    """Bound the Frobenius norm of C C C C for each of several square matrices, C as given."""
    n, d, _ = C.shape
    square = C @ C
    fourth = square @ square
    size, size_of_square, size_of_fourth = (lengths(x.reshape(n, -1)) for x in (C, square, fourth))
    lost = product_loss(size, size, d, d * d)
    lost_later = product_loss(size_of_square, size_of_square, d, d * d)
    # (square + E)² = square² + square E + E square + E².
    change = up(up(2 * size_of_square + lost) * lost)
    powers: Array = up(up(size_of_fourth + lost_later) + change)
    return powers


def _spectral_norm(A: Array) -> float:
    """Bound the largest singular value from above."""
    gram, size = A.T @ A, norm(A)
    lost = product_loss(size, size, len(A), gram.size)
    return float(up(np.sqrt(up(max(-least_eigenvalue(-gram), 0.0) + lost))))


def _radius(A: Array) -> float:
    """Bound the radius of a ball that holds the rows of A, with about their mean as its centre."""
    return longest_row(up(np.abs(A - A.mean(axis=0))))


def _narrow(A: Matrix) -> Array:
    """Return float64 numbers that are at least the magnitudes of longer ones."""
    magnitudes: Array = up(np.abs(A).astype(np.float64))
    return magnitudes
