r"""Exact second derivatives of attention regression, as sums of small blocks over the queries.

With :math:`K_i = \mathrm{Cov}_{p_i}(A_2, A_3)`, :math:`Q_i = K_i Y`, :math:`\mu_i` the mean key and G the
derivative by the logits,

.. math::
    H_{XX} &= \sum_i a_i a_i^\top \otimes \Big(Q_i Q_i^\top + \sum_j G_{ij}(k_j-\mu_i)(k_j-\mu_i)^\top\Big) \\
    H_{XY} &= \sum_i a_i \otimes (Q_i \text{ with } F_i + K_i \text{ with } R_i), \qquad
    H_{YY} = F^\top F \otimes I .

Gauss-Newton leaves out the two terms with G and R, which vanish with the residual.  No matrix with
:math:`n_q n_k` rows and :math:`pq` columns is ever formed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.inputs import Array, Matrix
from fastpath.regression.model import Data, Point


class Products:
    """Products of columns that every Hessian of one problem needs.

    In float32 keys and values count from their means, which changes no covariance and keeps its digits.
    """

    def __init__(self, data: Data, dtype: type[Any] = np.float64) -> None:
        self.dtype = dtype
        self.key_mean, self.value_mean = np.zeros(data.X_shape[1]), np.zeros(data.Y_shape[0])
        if dtype is np.float32:
            self.key_mean, self.value_mean = data.A2.mean(axis=0), data.A3.mean(axis=0)
        self.A1 = data.A1.astype(dtype)
        A2 = (data.A2 - self.key_mean).astype(dtype)
        A3 = (data.A3 - self.value_mean).astype(dtype)
        #: Columns k_b v_c of all keys and values, and k_b k_b' for b <= b'.
        self.keys_values = _row_products(A2, A3)
        self.key_pairs = np.triu_indices(A2.shape[1])
        self.keys_keys = A2[:, self.key_pairs[0]] * A2[:, self.key_pairs[1]]
        query_pairs = np.triu_indices(self.A1.shape[1])
        self.queries_queries = np.ascontiguousarray(
            (self.A1[:, query_pairs[0]] * self.A1[:, query_pairs[1]]).T
        )
        self.query_place, self.key_place = (
            _places(pairs, A.shape[1])
            for pairs, A in ((query_pairs, self.A1), (self.key_pairs, A2))
        )


def blocks(here: Point, products: Products, *, gauss_newton: bool) -> tuple[Array, Array, Array]:
    """Return H_XX, H_XY and Fᵀ F; H_YY is Fᵀ F ⊗ I.

    Cost: n_q n_k (q r + q² / 2) + n_q p q (p q / 4 + 2 r s) multiply-adds.
    """
    HXX, HXY = _blocks(here, products, here.features, None, gauss_newton)
    return HXX, HXY, here.features.T @ here.features


def hessian(here: Point, products: Products, *, gauss_newton: bool) -> Array:
    """Return the whole Hessian by X and Y, both row by row."""
    data = here.data
    H = np.empty((data.size, data.size))
    HXX, HXY, gram = blocks(here, products, gauss_newton=gauss_newton)
    H[: data.X_size, : data.X_size] = HXX
    H[: data.X_size, data.X_size :] = HXY
    H[data.X_size :, : data.X_size] = HXY.T
    H[data.X_size :, data.X_size :] = np.kron(gram, np.eye(data.Y_shape[1]))
    return H


def schur(here: Point, products: Products, *, gauss_newton: bool) -> Array:
    """Return H_XX - H_XY H_YY⁺ H_YX, the Hessian by X where Y follows by least squares.

    On an orthonormal basis of the features H_YY is the identity.  Directions of Y that do not change the
    output (F rank deficient) are left out.
    """
    basis, T = here.feature_basis
    HXX, HXY = _blocks(here, products, basis, T, gauss_newton)
    reduced: Array = (HXX - HXY @ HXY.T).astype(np.float64, copy=False)
    return reduced


def _blocks(
    here: Point, products: Products, features: Array, T: Array | None, gauss_newton: bool
) -> tuple[Matrix, Matrix]:
    """Return H_XX, and H_XY for Y given in the coordinates Y = T Z (T None: the identity)."""
    (p, q), (r, s) = here.data.X_shape, here.data.Y_shape
    n, c = features.shape

    def cast(A: Array) -> Matrix:
        return A.astype(products.dtype, copy=False)

    mean_keys, Y = cast(here.mean_keys - products.key_mean), cast(here.Y)
    K = (cast(here.weights) @ products.keys_values).reshape(n, q, r)
    K -= mean_keys[:, :, None] * cast(here.features - products.value_mean)[:, None, :]
    Q = (K.reshape(-1, r) @ Y).reshape(n, q, s)
    first, second = products.key_pairs
    M = (Q @ Q.transpose(0, 2, 1))[:, first, second]
    HXY = (_row_products(products.A1, cast(features)).T @ Q.reshape(n, -1)).reshape(p, c, q, s)
    HXY = HXY.transpose(0, 2, 1, 3)
    if not gauss_newton:
        M += cast(here.logit_gradient) @ products.keys_keys
        # G's rows sum to zero, so that it pulls centred keys alike.
        pulled = cast(here.pulled_keys)
        M -= pulled[:, first] * mean_keys[:, second]
        M -= mean_keys[:, first] * pulled[:, second]
        if T is not None:
            K = K.reshape(-1, r) @ cast(T)
        residual = _row_products(products.A1, cast(here.residual))
        through_residual = residual.T @ K.reshape(n, -1)
        HXY = HXY + through_residual.reshape(p, s, q, c).transpose(0, 2, 3, 1)
    HXX = (products.queries_queries @ M)[products.query_place[:, :, None, None], products.key_place]
    return HXX.transpose(0, 2, 1, 3).reshape(p * q, -1), HXY.reshape(p * q, -1)


def _row_products(first: Matrix, second: Matrix) -> Matrix:
    """Return the columns first_a second_b, a slow and b fast."""
    return (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)


def _places(pairs: tuple[NDArray[np.intp], NDArray[np.intp]], size: int) -> NDArray[np.intp]:
    """Return where each pair (a, b), in either order, stands among the pairs a <= b."""
    places = np.empty((size, size), np.intp)
    places[pairs] = places[pairs[::-1]] = np.arange(len(pairs[0]))
    return places
