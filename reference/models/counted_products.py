"""How many scalar products a matrix computation takes, counted while it runs.

The algorithms are the textbook's, on numbers of any kind: nothing here is fast.  ``product`` is
the schoolbook's, with n³ scalar products, or Strassen's, with 7^k = n^(log₂ 7) for n = 2^k; every
other computation is reduced to it, so that one exponent serves all.  Quotients and square roots
are counted as products; additions are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tally"]

Matrix = NDArray[Any]


@dataclass
class Tally:
    """Matrix computations that count their scalar products.

    Attributes
    ----------
    strassen : bool
        Whether square products are Strassen's.
    products : int
        Scalar products so far.
    """

    strassen: bool = False
    products: int = 0

    def product(self, A: Matrix, B: Matrix) -> Matrix:
        """Return A B for square matrices; of order a power of two, if the products are Strassen's."""
        n = len(A)
        if not self.strassen or n == 1:
            self.products += A.shape[0] * A.shape[1] * B.shape[1]
            return A @ B
        if n % 2:
            raise ValueError(f"Strassen's product needs a power of two as order, got {n}.")
        (a, b, c, d), (e, f, g, h) = _quarters(A), _quarters(B)
        p = self.product
        m1, m2, m3 = p(a + d, e + h), p(c + d, e), p(a, f - h)
        m4, m5, m6, m7 = p(d, g - e), p(a + b, h), p(c - a, e + f), p(b - d, g + h)
        return np.block([[m1 + m4 - m5 + m7, m3 + m5], [m2 + m4, m1 - m2 + m3 + m6]])

    def gram_of_columns(self, X: Matrix) -> Matrix:
        """Return X Xᵀ as a sum over columns, from their nonzero entries only.

        Column c takes z (z + 1) / 2 ≤ z² products, z = nnz(X_c).
        """
        G = np.zeros((len(X), len(X)), X.dtype)
        for column in X.T:
            (rows,) = np.nonzero(column)
            for k, i in enumerate(rows):
                for j in rows[: k + 1]:
                    G[i, j] += column[i] * column[j]
                    self.products += 1
        return np.tril(G) + np.tril(G, -1).T

    def gram_of_blocks(self, X: Matrix) -> Matrix:
        """Return X Xᵀ as a sum of d / n products of order n: d n^(ω − 1) scalar products."""
        n, d = X.shape
        if d % n:
            raise ValueError(f"the number of columns must be a multiple of {n}, got {d}.")
        G = np.zeros((n, n), X.dtype)
        for k in range(0, d, n):
            block = X[:, k : k + n]
            G = G + self.product(block, block.T)
        return G

    def monomials(self, X: Matrix, degree: int) -> Matrix:
        """Return the monomials of each row of X up to a degree: one product each, of degree 2 on."""
        n, d = X.shape
        blocks = [[np.ones(n, X.dtype)], list(X.T)] if degree else [[np.ones(n, X.dtype)]]
        starts = list(
            range(d)
        )  # where, in the last block, monomials without earlier variables begin
        for _ in range(2, degree + 1):
            block: list[Matrix] = []
            last, starts_of_last, starts = blocks[-1], starts, []
            for i in range(d):
                starts.append(len(block))
                block += [X[:, i] * monomial for monomial in last[starts_of_last[i] :]]
            self.products += n * len(block)
            blocks.append(block)
        return np.stack([monomial for block in blocks for monomial in block], axis=1)

    def cholesky(self, G: Matrix) -> tuple[Matrix, Matrix]:
        """Return the lower triangular L with L Lᵀ = G, and its inverse; the order a power of two.

        Halves recursively, C(n) = 2 C(n/2) + 4 M(n/2) ≤ M(n) scalar products where M(n) = n^ω,
        ω ≥ log₂ 6.

        Raises
        ------
        ValueError
            If the order is no power of two.
        """
        n = len(G)
        if n == 1:
            self.products += 1
            root = sqrt(G[0, 0])
            return np.array([[root]]), np.array([[1 / root]])
        if n % 2:
            raise ValueError(f"the recursion needs a power of two as order, got {n}.")
        upper, _, across, lower = _quarters(G)
        L, L_inverse = self.cholesky(upper)
        below = self.product(across, L_inverse.T)
        R, R_inverse = self.cholesky(lower - self.product(below, below.T))
        corner = -self.product(R_inverse, self.product(below, L_inverse))
        empty = np.zeros_like(below)
        return np.block([[L, empty], [below, R]]), np.block(
            [[L_inverse, empty], [corner, R_inverse]]
        )


def _quarters(A: Matrix) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    half = len(A) // 2
    return A[:half, :half], A[:half, half:], A[half:, :half], A[half:, half:]
