"""The loss of attention regression at a point: softmax weights, residual, first and second derivatives."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl

from fastpath.core.inputs import Array
from fastpath.core.once import once

#: Logits of one tile, 512 KiB: at n = 1024, d = 8 a whole matrix at a time takes 1.4 times as long.
TILE = 1 << 16

#: Features are told apart down to this part of the largest.  Y grows by its inverse, and with it what
#: rounding does to the loss: at 2^-46 Y of 2^46 drowned steps that lower the loss by a hundredth.
INDEPENDENT = 2.0**-36

#: X and Y of a search in other units stay within 2^±1000 in those of the problem.
LARGEST_EXPONENT = 1000

#: Within 2^±400 squares neither overflow nor underflow.
PLAIN_EXPONENT = 400


class Data:
    """The four matrices of a regression and what is computed from them once.

    ``units`` are the exponents (x, y, f) of units of X, Y and the loss: the problem's are 2^-x X, 2^-y Y and
    2^f times the loss.
    """

    def __init__(
        self, A1: Array, A2: Array, A3: Array, B: Array, units: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        self.units = units
        self.A1, self.A2, self.A3, self.B = A1, A2, A3, B
        self.X_shape = A1.shape[1], A2.shape[1]
        self.Y_shape = A3.shape[1], B.shape[1]
        self.X_size = A1.shape[1] * A2.shape[1]
        self.size = self.X_size + A3.shape[1] * B.shape[1]
        self.ones = np.ones((len(A2), 1))
        self.keys_transposed = np.ascontiguousarray(A2.T)
        self.keys_values = np.hstack([A2, A3])
        step = max(8, TILE // len(A2))
        self.tiles = [slice(i, min(i + step, len(A1))) for i in range(0, len(A1), step)]

    def holds(self, X: Array, Y: Array) -> bool:
        """Whether float64 holds X and Y in the problem's own units, far from its ends."""
        sizes = (np.frexp(np.abs(M).max())[1] - e for M, e in zip((X, Y), self.units, strict=False))
        return not any(self.units) or all(
            abs(size) <= LARGEST_EXPONENT or not M.any()
            for size, M in zip(sizes, (X, Y), strict=True)
        )

    def split(self, z: Array) -> tuple[Array, Array]:
        """Return the matrices X and Y that a vector holds row by row."""
        return z[: self.X_size].reshape(self.X_shape), z[self.X_size :].reshape(self.Y_shape)


def joined(X: Array, Y: Array) -> Array:
    """Return X and Y, row by row, in one vector."""
    return np.concatenate([X.ravel(), Y.ravel()])


def length(*parts: Array) -> float:
    """Return the Frobenius norm of matrices together, without overflow or underflow of their squares."""
    vector = np.concatenate([part.ravel() for part in parts])
    largest = float(np.abs(vector).max())
    if not 0 < largest < np.inf:
        return largest
    exponent = int(np.frexp(largest)[1])
    if abs(exponent) <= PLAIN_EXPONENT:
        return float(np.linalg.norm(vector))
    scaled = np.linalg.norm(np.ldexp(vector, -exponent))
    return float(np.ldexp(scaled, exponent))


@dataclass
class Point:
    """A pair (X, Y) with the quantities that loss and derivatives share.

    ``weights`` P = softmax(A1 X A2ᵀ), ``features`` F = P A3, ``mean_keys`` P A2, ``values`` H = A3 Y,
    ``output`` O = F Y and ``residual`` R = O - B.  O is kept: R + B would carry the roundings of B, however
    large.  The loss is infinite where a step has left what floats can hold.
    """

    data: Data
    X: Array
    Y: Array
    weights: Array
    mean_keys: Array
    features: Array
    values: Array
    output: Array
    residual: Array
    loss: float

    @once
    def mean_products(self) -> Array:
        """The means <p_i, C_i> of C = R Hᵀ: they are <r_i, o_i>, without a pass over all pairs."""
        products: Array = np.einsum("ij,ij->i", self.residual, self.output)
        return products

    @property
    def logit_gradient(self) -> Array:
        """The derivative of the loss by the logits: G_ij = P_ij (C_ij - <p_i, C_i>), C = R Hᵀ."""
        return self._slopes[0]

    @property
    def pulled_keys(self) -> Array:
        """G A2, from which the gradient by X is A1ᵀ G A2."""
        return self._slopes[1]

    @once
    def _slopes(self) -> tuple[Array, Array]:
        mean = self.mean_products[:, None]
        transposed = np.ascontiguousarray(self.values.T)
        G, pulled = np.empty_like(self.weights), np.empty_like(self.mean_keys)
        for rows in self.data.tiles:
            tile = G[rows]
            np.matmul(self.residual[rows], transposed, out=tile)
            tile -= mean[rows]
            tile *= self.weights[rows]
            np.matmul(tile, self.data.A2, out=pulled[rows])
        return G, pulled

    @once
    def gradient(self) -> tuple[Array, Array]:
        """The derivatives by X and by Y."""
        return self.data.A1.T @ self.pulled_keys, self.features.T @ self.residual

    @once
    def gradient_norm(self) -> float:
        """The Frobenius norm of the problem's gradient, infinite where it overflows."""
        x, y, f = self.data.units
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            by_X, by_Y = self.gradient
            if any(self.data.units):
                by_X, by_Y = np.ldexp(by_X, f + x), np.ldexp(by_Y, f + y)
            norm = length(by_X, by_Y)
        return norm if np.isfinite(norm) else np.inf

    @once
    def slope(self) -> float:
        """The Frobenius norm of the gradient in the units of the search, by which steps are judged."""
        with np.errstate(over="ignore", invalid="ignore"):
            return length(*self.gradient) if any(self.data.units) else self.gradient_norm

    @once
    def feature_basis(self) -> tuple[Array, Array]:
        """An orthonormal basis of the range of F, and T with F T equal to it."""
        return orthonormal(self.features)

    def product(self, U: Array, V: Array) -> tuple[Array, Array]:
        """Apply the Hessian to a direction (U, V), in O(n_q n_k d)."""
        data = self.data
        moved = data.A1 @ U
        moved_mean = np.einsum("ij,ij->i", moved, self.mean_keys)[:, None]
        moved_values = data.A3 @ V
        mean = self.mean_products[:, None]
        feature_change = np.empty_like(self.features)
        pulled = np.empty_like(self.mean_keys)
        output_change = np.empty_like(self.output)
        both_values = np.ascontiguousarray(np.hstack([self.values, moved_values]).T)
        half = len(self.values.T)
        for rows in data.tiles:
            weights, residual = self.weights[rows], self.residual[rows]
            # Change of the weights: P (S' - <p, S'>).
            logit_change = moved[rows] @ data.keys_transposed
            logit_change -= moved_mean[rows]
            feature_change[rows] = (logit_change * weights) @ data.A3
            through_weights = feature_change[rows] @ self.Y
            through_values = self.features[rows] @ V
            output_change[rows] = through_weights + through_values
            # Change of G = P (C - <p, C>); the means are inner products of outputs again.
            change = residual @ both_values[:half]
            change -= mean[rows]
            change *= logit_change
            change += np.hstack([output_change[rows], residual]) @ both_values
            change -= (
                np.einsum("ij,ij->i", residual, output_change[rows])
                + np.einsum("ij,ij->i", output_change[rows], self.output[rows])
            )[:, None]
            change *= weights
            pulled[rows] = change @ data.A2
        return (
            data.A1.T @ pulled,
            self.features.T @ output_change + feature_change.T @ self.residual,
        )


def point(data: Data, X: Array, Y: Array | None = None) -> Point:
    """Evaluate the loss at (X, Y); without Y at the least-squares Y for X.

    Cost: n_q n_k exponentials and n_q n_k (2 q + r) multiply-adds.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        weights, means = _weights(data, X)
        columns = data.A2.shape[1]
        mean_keys, features = np.ascontiguousarray(means[:, :columns]), means[:, columns:]
        features = np.ascontiguousarray(features)
        basis = None
        if Y is None:
            Y = np.zeros(data.Y_shape)
            if np.isfinite(features).all():
                basis = orthonormal(features)
                Y = basis[1] @ (basis[0].T @ data.B)
        values = data.A3 @ Y
        output = features @ Y
        residual = output - data.B
        loss = 0.5 * float(np.vdot(residual, residual))
    if not (np.isfinite(loss) and data.holds(X, Y)):
        loss = np.inf
    here = Point(data, X, Y, weights, mean_keys, features, values, output, residual, loss)
    if basis is not None:
        here.feature_basis = basis
    return here


def _weights(data: Data, X: Array) -> tuple[Array, Array]:
    """Return the softmax of A1 X A2ᵀ row by row, and the means of keys and values under it."""
    projected = data.A1 @ X
    weights = np.empty((len(data.A1), len(data.A2)))
    means = np.empty((len(data.A1), data.keys_values.shape[1]))
    for rows in data.tiles:
        tile = weights[rows]
        np.matmul(projected[rows], data.keys_transposed, out=tile)
        tile -= tile.max(axis=1, keepdims=True)
        np.exp(tile, out=tile)
        tile *= 1 / (tile @ data.ones)
        np.matmul(tile, data.keys_values, out=means[rows])
    return weights, means


def orthonormal(F: Array) -> tuple[Array, Array]:
    """Return an orthonormal basis of F's numerical range and T with F T equal to it."""
    basis, upper, order = sl.qr(F, mode="economic", pivoting=True, check_finite=False)
    diagonal = np.abs(upper.diagonal())
    rank = int(np.count_nonzero(diagonal > INDEPENDENT * diagonal[0]))
    T = np.zeros((F.shape[1], rank))
    T[order[:rank]] = sl.solve_triangular(upper[:rank, :rank], np.eye(rank), check_finite=False)
    return basis[:, :rank], T
