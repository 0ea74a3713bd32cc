"""Units in which the matrices of a regression are of size one: no method overflows in them.

Powers of two change no digit: with A1 = 2^a A1', ..., B = 2^b B' the loss is 2^(2b) times the one of the
primed matrices at X' = 2^(a1 + a2) X and Y' = 2^(a3 - b) Y.
"""

import numpy as np

from fastpath.core.inputs import Array
from fastpath.regression.model import Data, Point, point

#: Matrices whose largest entry lies within 2^±20 are left as they are.
ORDINARY = 20


class Units:
    """The exponents of the units of one problem, and the problem in them.

    Attributes
    ----------
    data : Data
        The matrices in these units, whose points have gradient norms in the units of the problem.
    ordinary : bool
        Whether all units are 1, and ``data`` is the problem itself.
    """

    def __init__(self, problem: Data, *, ones: bool = False) -> None:
        matrices = (problem.A1, problem.A2, problem.A3, problem.B)
        a1, a2, a3, b = (0 if ones else _exponent(A) for A in matrices)
        self.X, self.Y, self.loss = a1 + a2, a3 - b, 2 * b
        self.ordinary = not (a1 or a2 or a3 or b)
        self.problem = self.data = problem
        if not self.ordinary:
            exponents = (a1, a2, a3, b)
            A1, A2, A3, B = (np.ldexp(A, -e) for A, e in zip(matrices, exponents, strict=True))
            self.data = Data(A1, A2, A3, B, units=(self.X, self.Y, self.loss))

    def enter(self, here: Point) -> Point:
        """Return a point of the problem in these units."""
        if self.ordinary:
            return here
        return point(self.data, np.ldexp(here.X, self.X), np.ldexp(here.Y, self.Y))

    def matrices(self, here: Point) -> tuple[Array, Array]:
        """Return the X and Y of the problem that a point in these units stands for."""
        if self.ordinary:
            return here.X, here.Y
        return np.ldexp(here.X, -self.X), np.ldexp(here.Y, -self.Y)

    def leave(self, here: Point) -> Point:
        """Return a point in these units as one of the problem."""
        return here if self.ordinary else point(self.problem, *self.matrices(here))


def _exponent(A: Array) -> int:
    exponent = int(np.frexp(np.abs(A).max())[1])
    return exponent if abs(exponent) > ORDINARY else 0
