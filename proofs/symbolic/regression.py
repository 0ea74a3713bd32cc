r"""P4: that the formulas of attention regression are its derivatives, for symbols in all places.

Each function yields differences that are zero if the claim is true; ``PROOFS`` lists them.  Two kinds:

- small shapes, all entries symbols: in the field of rational functions of the entries and of the weights
  w_ij = e^(s_ij) the loss is differentiated by the rule ∂w_ij/∂X_ab = w_ij a_ia k_jb, and what
  ``reference.regression`` computes on the same symbols is subtracted;
- any number of keys: sums to a symbol m, whose derivatives are the cumulants that P4.lipschitz rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, product
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy.polys.fields import field

from reference.regression import Regression, gradient, hessian

Array = NDArray[np.object_]

#: n, m, d₁, d₂, d₃, d_out: every sum of the formulas has two terms in some shape.
Shape = tuple[int, int, int, int, int, int]
SHAPES: tuple[Shape, ...] = (
    (1, 2, 1, 1, 1, 1),
    (2, 2, 1, 1, 1, 1),
    (1, 3, 1, 1, 1, 1),
    (1, 2, 2, 1, 1, 1),
    (1, 2, 1, 2, 1, 1),
    (1, 2, 1, 1, 2, 1),
    (1, 2, 1, 1, 1, 2),
    (1, 2, 2, 2, 2, 2),
)


class SymbolicRegression:
    """A regression of symbols, in a field where differences of equal expressions are 0.

    Parameters
    ----------
    shape
        n, m, d₁, d₂, d₃, d_out.
    """

    def __init__(self, shape: Shape) -> None:
        n, m, d1, d2, d3, outputs = shape
        shapes = {
            "A1": (n, d1),
            "A2": (m, d2),
            "A3": (m, d3),
            "B": (n, outputs),
            "X": (d1, d2),
            "Y": (d3, outputs),
            "w": (n, m),
        }
        names = {k: [f"{k}_{i}_{j}" for i, j in np.ndindex(*s)] for k, s in shapes.items()}
        generators = iter(field([*chain.from_iterable(names.values())], sympy.QQ)[1:])
        arrays = {k: _array([next(generators) for _ in names[k]], s) for k, s in shapes.items()}
        self.weights = arrays.pop("w")
        self.problem = Regression(**arrays)

    def softmax(self) -> Array:
        """Return P."""
        sums = [sum(row[1:], row[0]) for row in self.weights]
        P: Array = self.weights / np.array(sums, object)[:, None]
        return P

    def twice_the_loss(self) -> Any:
        """Return Σ (Σ_j p_ij h_jc − b_ic)², the paper's L."""
        p = self.problem
        R = self.softmax().dot(p.A3.dot(p.Y)) - p.B
        return sum((r * r for r in R.ravel()[1:]), R.ravel()[0] ** 2)

    def by_x(self, expression: Any) -> Array:
        """Return the derivatives by the entries of X, which only the weights know."""
        p, W = self.problem, self.weights
        slopes = _array([expression.diff(w) * w for w in W.ravel()], W.shape)
        found: Array = p.A1.T.dot(slopes).dot(p.A2)
        return found

    def by_y(self, expression: Any) -> Array:
        """Return the derivatives by the entries of Y."""
        Y = self.problem.Y
        return _array([expression.diff(y) for y in Y.ravel()], Y.shape)


def _array(entries: list[Any], shape: tuple[int, ...]) -> Array:
    flat = np.empty(len(entries), object)
    flat[:] = entries
    return flat.reshape(shape)


def gradient_differences(shape: Shape) -> Iterator[Any]:
    """Yield twice P4.gradient's formula less the derivatives of the paper's L."""
    s = SymbolicRegression(shape)
    loss, formula = s.twice_the_loss(), gradient(s.softmax(), s.problem)
    yield from (2 * formula.X - s.by_x(loss)).ravel()
    yield from (2 * formula.Y - s.by_y(loss)).ravel()


def hessian_differences(shape: Shape) -> Iterator[Any]:
    """Yield twice P4.hessian's formula less the second derivatives of the paper's L."""
    s = SymbolicRegression(shape)
    loss, formula = s.twice_the_loss(), hessian(s.softmax(), s.problem)
    for row, first in enumerate(s.by_x(loss).ravel()):
        yield from 2 * formula.XX[row] - s.by_x(first).ravel()
        yield from 2 * formula.XY[row] - s.by_y(first).ravel()
    for row, first in enumerate(s.by_y(loss).ravel()):
        yield from 2 * formula.YY[row] - s.by_y(first).ravel()


def tensor_differences(shape: Shape) -> Iterator[Any]:
    """Yield (A₁ ⊗ A₂) vec(X) − vec(A₁ X A₂ᵀ), with vec row by row."""
    p = SymbolicRegression(shape).problem
    yield from np.kron(p.A1, p.A2).dot(p.X.ravel()) - p.A1.dot(p.X).dot(p.A2.T).ravel()


def cumulant_differences() -> Iterator[sympy.Expr]:
    """Yield the derivatives of a softmax mean of any number m of keys, less its cumulants.

    With weights proportional to e^(s_j + t u_j) the mean of h has the derivatives Cov(u, h),
    E[(u−Eu)² (h−Eh)] and E[(u−Eu)³ (h−Eh)] − 3 Var(u) Cov(u, h).
    """
    m, j = sympy.symbols("m j", integer=True, positive=True)
    t = sympy.Symbol("t", real=True)
    s, u, h = (sympy.IndexedBase(name, real=True) for name in "suh")

    def total(power: int, factor: sympy.Expr) -> sympy.Expr:
        return sympy.Sum(u[j] ** power * factor * sympy.exp(s[j] + t * u[j]), (j, 1, m))

    one = sympy.Integer(1)
    names = {total(k, f): sympy.Symbol(f"{f}_{k}") for k, f in product(range(4), (one, h[j]))}
    U, H = ([total(k, f) / total(0, one) for k in range(4)] for f in (one, h[j]))
    variance, covariance = U[2] - U[1] ** 2, H[1] - U[1] * H[0]
    third = H[2] - 2 * U[1] * H[1] + 2 * U[1] ** 2 * H[0] - U[2] * H[0]
    mixed = H[3] - 3 * U[1] * H[2] + 3 * U[1] ** 2 * H[1] - U[1] ** 3 * H[0]
    alone = U[3] - 3 * U[1] * U[2] + 2 * U[1] ** 3
    fourth = mixed - alone * H[0] - 3 * variance * covariance
    for order, cumulant in enumerate((covariance, third, fourth), start=1):
        yield sympy.cancel((sympy.diff(H[0], t, order) - cumulant).xreplace(names))


#: Claim id, and what must be zero of it.
PROOFS: dict[str, tuple[Callable[[], Iterable[Any]], ...]] = {
    "P4.tensor": (
        partial(tensor_differences, (2, 3, 2, 2, 1, 1)),
        partial(tensor_differences, (3, 2, 1, 3, 1, 1)),
    ),
    "P4.gradient": tuple(partial(gradient_differences, shape) for shape in SHAPES),
    "P4.hessian": tuple(partial(hessian_differences, shape) for shape in SHAPES),
    "P4.cumulant": (cumulant_differences,),
}
