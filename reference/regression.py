r"""Attention regression: the loss of one layer with its first and second derivatives, enclosed.

    P = softmax of the rows of A₁ X A₂ᵀ,   F = P A₃,   H = A₃ Y,   R = F Y − B,   f(X, Y) = ½ ‖R‖²

A₁ is n × d₁, A₂ is m × d₂, A₃ is m × d₃, B is n × d_out, X is d₁ × d₂ and Y is d₃ × d_out.

The definition is :func:`along_line`: it puts X + tU, Y + tV into f and expands in t, by arithmetic of
truncated power series alone.  The formulas of ``gradient`` and ``hessian`` are judged by it.  Functions
that take ``P`` hold for numbers of any kind: enclosures, or Fractions when weights are rational.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from reference.arithmetic.enclosure import Enclosure
from reference.attention import weights
from reference.models.counted_products import Tally

__all__ = [
    "Gradient",
    "Hessian",
    "Regression",
    "along_line",
    "gradient",
    "hessian",
    "hessian_product",
    "residual",
]

#: An enclosure, or an object array of numbers.
Numbers = Any


class Regression(NamedTuple):
    """A problem and a point: everything that the loss takes.

    Attributes
    ----------
    A1, A2, A3 : (n, d1), (m, d2), (m, d3) array_like
        Finite floats or integers, taken as exact.
    B : (n, d_out) array_like
    X, Y : (d1, d2) and (d3, d_out) array_like
    """

    A1: Any
    A2: Any
    A3: Any
    B: Any
    X: Any
    Y: Any

    def weights(self, precision: int = 128) -> Enclosure:
        """Enclose P.

        Raises
        ------
        TypeError
            If an array holds something else than numbers.
        ValueError
            If a number is not finite, or the shapes do not fit.
        """
        p = self.lifted(precision)
        return weights(p.A1.dot(p.X), p.A2, precision=precision)

    def loss(self, precision: int = 128) -> Enclosure:
        """Enclose f = ½ ‖softmax(A₁ X A₂ᵀ) A₃ Y − B‖²; the paper's L is twice that.

        Parameters
        ----------
        precision : int
            Bits of the weights, at least 16.
        """
        R = residual(self.weights(precision), self.lifted(precision))
        loss: Enclosure = (R * R).sum() / 2
        return loss

    def gradient(self, precision: int = 128) -> Gradient:
        """Enclose the gradient; parameters and errors are those of :meth:`loss`."""
        return gradient(self.weights(precision), self.lifted(precision))

    def hessian(self, precision: int = 128) -> Hessian:
        """Enclose the Hessian; parameters and errors are those of :meth:`loss`.

        Notes
        -----
        Cost: P4.cost.  For n = m = 256 and all d = 8 about ten seconds.
        """
        return hessian(self.weights(precision), self.lifted(precision))

    def lifted(self, precision: int = 128) -> Regression:
        """Return the same with every array as an enclosure of radius 0, of so many bits or more.

        Raises
        ------
        TypeError, ValueError
            As :meth:`weights`.
        """
        fields = zip(self._fields, self, strict=True)
        lifted = {name: _matrix(array, name, precision) for name, array in fields}
        p = Regression(**lifted)
        required = {
            "X": (p.A1.shape[1], p.A2.shape[1]),
            "A3": (len(p.A2), p.A3.shape[1]),
            "Y": (p.A3.shape[1], p.B.shape[1]),
            "B": (len(p.A1), p.B.shape[1]),
        }
        for name, shape in required.items():
            if lifted[name].shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {lifted[name].shape}.")
        return p


def residual(P: Numbers, p: Regression, tally: Tally | None = None) -> Numbers:
    """Return R = P A₃ Y − B.

    Parameters
    ----------
    P : (n, m) Enclosure or object array
        The weights.
    p : Regression
        Arrays that P can be multiplied with.
    tally : Tally, optional
        Counts the scalar products.
    """
    count = tally or Tally()
    return count.product(count.product(P, p.A3), p.Y) - p.B


# ----------------------------------------------------------------------------------- derivatives


class Gradient(NamedTuple):
    """The derivatives of f by X, of its shape, and by Y, of its shape."""

    X: Numbers
    Y: Numbers


class Hessian(NamedTuple):
    """The second derivatives of f, X and Y read row by row: ``YX`` is the transpose of ``XY``."""

    XX: Numbers
    XY: Numbers
    YY: Numbers

    def times(self, U: Numbers, V: Numbers) -> Gradient:
        """Return the product with the direction (U, V)."""
        u, v = U.reshape(U.shape[0] * U.shape[1]), V.reshape(V.shape[0] * V.shape[1])
        x = self.XX @ u + self.XY @ v
        y = self.XY.T @ u + self.YY @ v
        return Gradient(x.reshape(*U.shape), y.reshape(*V.shape))


def gradient(P: Numbers, p: Regression, tally: Tally | None = None) -> Gradient:
    """Return ∇_X f = A₁ᵀ G A₂ and ∇_Y f = Fᵀ R, with G_ij = p_ij r_i·(h_j − o_i) and O = F Y.

    Parameters are those of :func:`residual`.
    """
    count = tally or Tally()
    F = count.product(P, p.A3)
    O = count.product(F, p.Y)  # noqa: E741 - the formula's letter
    R = O - p.B
    G = _slopes(P, R, O, count.product(p.A3, p.Y), count)
    x = count.product(p.A1.T, count.product(G, p.A2))
    return Gradient(x, count.product(F.T, R))


def hessian(P: Numbers, p: Regression, tally: Tally | None = None) -> Hessian:
    """Return the blocks of the Hessian, without any n m × d₁ d₂ matrix.

    With μ_i = Σ_j p_ij a2_j, K_i = Σ_j p_ij (a2_j − μ_i)(a3_j − f_i)ᵀ, Q_i = K_i Y:

        H_XX = Σ_i a_i a_iᵀ ⊗ (Q_i Q_iᵀ + Σ_j g_ij (a2_j − μ_i)(a2_j − μ_i)ᵀ)
        H_XY[(a, b), (c, k)] = Σ_i a_ia (Q_i[b, k] f_ic + K_i[b, c] r_ik)
        H_YY = Fᵀ F ⊗ I

    Parameters are those of :func:`residual`.
    """
    count = tally or Tally()
    F, mean = count.product(P, p.A3), count.product(P, p.A2)
    O = count.product(F, p.Y)  # noqa: E741 - the formula's letter
    R = O - p.B
    G = _slopes(P, R, O, count.product(p.A3, p.Y), count)
    (d1, d2), (d3, d_out) = p.X.shape, p.Y.shape
    xx: Numbers = 0
    xy: Numbers = 0
    for i in range(len(p.A1)):
        keys, a = p.A2 - mean[i], p.A1[i]
        K = count.product(_scaled(keys, P[i], count), p.A3 - F[i])
        Q = count.product(K, p.Y)
        M = count.product(Q, Q.T) + count.product(_scaled(keys, G[i], count), keys)
        aa = _outer(a, a, count)
        xx = xx + _outer(aa.reshape(d1 * d1), M.reshape(d2 * d2), count)
        across = _outer(Q.reshape(d2 * d_out), F[i], count).reshape(d2, d_out, d3)
        other = _outer(K.reshape(d2 * d3), R[i], count).reshape(d2, d3, d_out)
        both = _moved(across, (0, 2, 1)) + other
        xy = xy + _outer(a, both.reshape(d2 * d3 * d_out), count)
    xx = _moved(xx.reshape(d1, d1, d2, d2), (0, 2, 1, 3)).reshape(d1 * d2, d1 * d2)
    gram = count.product(F.T, F)
    yy = gram[:, None, :, None] * np.eye(d_out, dtype=int)[:, None, :]
    return Hessian(xx, xy.reshape(d1 * d2, d3 * d_out), yy.reshape(d3 * d_out, d3 * d_out))


def hessian_product(
    P: Numbers, p: Regression, U: Numbers, V: Numbers, tally: Tally | None = None
) -> Gradient:
    """Return the Hessian's product with the direction (U, V), without the Hessian.

    It is the derivative of the gradient along the direction: with S′ = A₁ U A₂ᵀ the weights change by
    P′ = P ∘ (S′ − s̄), the outputs by O′ = P′ A₃ Y + F V, and C = R Hᵀ by C′ = O′ Hᵀ + R (A₃ V)ᵀ.

    Parameters are those of :func:`residual`, and U and V of the shapes of X and Y.
    """
    count = tally or Tally()
    F, mean = count.product(P, p.A3), count.product(P, p.A2)
    O, H = count.product(F, p.Y), count.product(p.A3, p.Y)  # noqa: E741 - the formula's letters
    R = O - p.B
    moved = count.product(p.A1, U)
    slope = count.product(moved, p.A2.T) - _row_dots(moved, mean, count)
    moved_P = _entrywise(P, slope, count)
    moved_F = count.product(moved_P, p.A3)
    moved_O = count.product(moved_F, p.Y) + count.product(F, V)
    C = count.product(R, H.T) - _row_dots(R, O, count)
    moved_C = count.product(moved_O, H.T) + count.product(R, count.product(p.A3, V).T)
    moved_C = moved_C - _row_dots(moved_O, O, count) - _row_dots(R, moved_O, count)
    moved_G = _entrywise(moved_P, C, count) + _entrywise(P, moved_C, count)
    return Gradient(
        count.product(p.A1.T, count.product(moved_G, p.A2)),
        count.product(moved_F.T, R) + count.product(F.T, moved_O),
    )


def _row_dots(A: Numbers, B: Numbers, count: Tally) -> Numbers:
    """Return the inner product of each pair of rows, as a column."""
    count.products += A.shape[0] * A.shape[1]
    return (A * B).sum(axis=1)[:, None]


def _entrywise(A: Numbers, B: Numbers, count: Tally) -> Numbers:
    count.products += A.shape[0] * A.shape[1]
    return A * B


def _slopes(P: Numbers, R: Numbers, O: Numbers, H: Numbers, count: Tally) -> Numbers:  # noqa: E741
    """Return the derivative of f by the logits: p_ij (r_i·h_j − r_i·o_i)."""
    count.products += R.shape[0] * R.shape[1] + P.shape[0] * P.shape[1]
    return P * (count.product(R, H.T) - (R * O).sum(axis=1)[:, None])


def _scaled(rows: Numbers, factors: Numbers, count: Tally) -> Numbers:
    """Return the transpose of the rows, each times its factor."""
    count.products += rows.shape[0] * rows.shape[1]
    return (rows * factors[:, None]).T


def _outer(a: Numbers, b: Numbers, count: Tally) -> Numbers:
    count.products += a.shape[0] * b.shape[0]
    return a[:, None] * b[None, :]


def _moved(array: Numbers, axes: tuple[int, ...]) -> Numbers:
    """Return the array with its axes in another order."""
    if isinstance(array, Enclosure):
        return Enclosure(array.mid.transpose(axes), array.radius, array.bits)
    return array.transpose(axes)


# ------------------------------------------------------------------------------------ definition


def along_line(W: Numbers, p: Regression, U: Numbers, V: Numbers, order: int = 3) -> list[Numbers]:
    """Return f, f′, f″, … at t = 0 of f(X + tU, Y + tV), from the definition.

    The weight e^(s + ts′) is e^s (1 + ts′ + t²s′²/2 + …), s′ an entry of A₁ U A₂ᵀ; sums, products and
    quotients of the definition are those of power series, cut off after t^order.

    Parameters
    ----------
    W : (n, m) Enclosure or object array
        The weights e^s at t = 0, or any positive multiple of each row.
    p : Regression
        Arrays that W can be multiplied with.
    U, V : arrays of the shapes of X and Y
    order : int
        How many derivatives.
    """
    slope = (p.A1 @ U) @ p.A2.T
    rows = [W]
    for k in range(1, order + 1):
        rows.append(rows[-1] * slope / k)
    sums = [row.sum(axis=1)[:, None] for row in rows]
    P: list[Numbers] = []
    for k in range(order + 1):
        rest = rows[k]
        for j in range(k):
            rest = rest - P[j] * sums[k - j]
        P.append(rest / sums[0])
    H = [p.A3 @ p.Y, p.A3 @ V]
    R = [P[0] @ H[0] - p.B]
    R += [P[k] @ H[0] + P[k - 1] @ H[1] for k in range(1, order + 1)]
    derivatives, factorial = [], 1
    for k in range(order + 1):
        factorial *= max(k, 1)
        square = sum(((R[j] * R[k - j]).sum() for j in range(1, k + 1)), (R[0] * R[k]).sum())
        derivatives.append(square * factorial / 2)
    return derivatives


def _matrix(array: Any, name: str, precision: int) -> Enclosure:
    matrix = array if isinstance(array, Enclosure) else Enclosure.exact(array, name=name)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"{name} must be a matrix without an empty side, got {matrix.shape}.")
    # A product of two matrices is floored to their bits.
    return matrix.at(max(matrix.bits, precision))
