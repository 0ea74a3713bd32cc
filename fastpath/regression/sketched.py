"""Our reading of P4's step: Newton's method on a sketched Hessian, with the exact gradient.

Only the abstract was read; it says that the algorithm is iterative and greedy, and no more of the step.
"""

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.regression import regulariser_weight
from fastpath.core.inputs import Array
from fastpath.regression.model import Data, Point, joined, point


class Sketched:
    r"""A model in X and Y whose Hessian is a sketch, and is regularised by P4.psd.

    The Gauss-Newton Hessian is :math:`J^\top J`, where query i and output column k give J the row
    :math:`(a_i \otimes Q_{i,k}, F_i \otimes e_k)`.  Its place is taken by :math:`(SJ)^\top SJ` with m rows,
    plus :math:`w^2 (A_1 \otimes A_2)^\top(A_1 \otimes A_2)`, with P4.psd's w², which makes the whole
    Hessian positive semidefinite.

    NOTE The abstract's time has room for a sketch of :math:`A_1 \otimes A_2` alone; the Hessian weighs its
    rows by n x n blocks that are no tensor product, so the sketch has to be applied to the weighted rows,
    which costs more than the exact
    Hessian: n_q s p q log(n_q s) operations against n_q (p q)² / 4.
    """

    def __init__(self, data: Data, kind: str, rows: int, rng: np.random.Generator) -> None:
        self._data, self._kind, self._rows, self._rng = data, kind, rows, rng
        # Keys count from their mean, which changes no weight.
        keys = data.A2 - data.A2.mean(axis=0)
        self._regulariser = np.kron(data.A1.T @ data.A1, keys.T @ keys)

    def gradient(self, here: Point) -> Array:
        """Return the derivative by both."""
        return joined(*here.gradient)

    def hessian(self, here: Point, *, gauss_newton: bool, rough: bool) -> Array:
        """Return a fresh sketch of the Hessian, regularised; never exact second derivatives."""
        sketch = tensor_srht if self._kind == "srht" else tensor_sketch
        rows = sketch(jacobian(here), self._rows, self._rng)
        H = rows.T @ rows
        C = here.residual @ here.values.T
        shortfall = max(0.0, float((here.mean_products[:, None] - C).max()))
        x = slice(0, self._data.X_size)
        H[x, x] += regulariser_weight(shortfall) * self._regulariser
        return H

    def moved(self, here: Point, step: Array) -> Point:
        """Return the point after a step of both."""
        U, V = self._data.split(step)
        return point(self._data, here.X + U, here.Y + V)


def jacobian(here: Point) -> Array:
    """Return the derivative of the outputs, shape (n_q, s, p q + r s)."""
    data = here.data
    n, (r, s) = len(data.A1), data.Y_shape
    keys_values = np.einsum("jb,jk->jbk", data.A2, here.values).reshape(len(data.A2), -1)
    Q = (here.weights @ keys_values).reshape(n, -1, s)
    Q -= here.mean_keys[:, :, None] * here.output[:, None, :]
    J = np.zeros((n, s, data.size))
    J[:, :, : data.X_size] = np.einsum("ia,ibk->ikab", data.A1, Q).reshape(n, s, -1)
    by_Y = J[:, :, data.X_size :].reshape(n, s, r, s)
    for k in range(s):
        by_Y[:, k, :, k] = here.features
    J[:, :, data.X_size :] = by_Y.reshape(n, s, -1)
    return J


def tensor_srht(J: Array, rows: int, rng: np.random.Generator) -> Array:
    """Apply random signs and a Hadamard transform to queries and to outputs, and sample rows."""
    for axis in (0, 1):
        J = np.moveaxis(J, axis, 0)
        J = _hadamard(J * rng.choice([-1.0, 1.0], (len(J), 1, 1)))
        J = np.moveaxis(J, 0, axis)
    J = J.reshape(-1, J.shape[2])
    sampled: Array = J[rng.integers(0, len(J), rows)] / np.sqrt(rows)
    return sampled


def _hadamard(J: Array) -> Array:
    """Transform the first axis, filled with zeros to a power of two; no scaling."""
    size = 1 << (len(J) - 1).bit_length()
    J = np.concatenate([J, np.zeros((size - len(J), *J.shape[1:]))])
    half = 1
    while half < size:
        pairs = J.reshape(size // (2 * half), 2, half, *J.shape[1:])
        J = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        J = J.reshape(size, *J.shape[3:])
        half *= 2
    return J


def tensor_sketch(J: Array, rows: int, rng: np.random.Generator) -> Array:
    """Add the rows, with random signs, to the buckets h1(query) + h2(output) modulo ``rows``."""
    buckets: NDArray[np.intp] = np.zeros(J.shape[:2], np.intp)
    signs = np.ones(J.shape[:2])
    for axis, length in enumerate(J.shape[:2]):
        shape = (-1, 1) if axis == 0 else (1, -1)
        buckets = buckets + rng.integers(0, rows, length).reshape(shape)
        signs = signs * rng.choice([-1.0, 1.0], length).reshape(shape)
    sketch = np.zeros((rows, J.shape[2]))
    np.add.at(sketch, (buckets % rows).ravel(), (J * signs[:, :, None]).reshape(-1, J.shape[2]))
    return sketch
