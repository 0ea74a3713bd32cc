"""The sketch of U₂ᵀV, our reading of how P2 compresses keys and values, beside what it would replace."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.inputs import integer, matrix
from fastpath.polynomial.monomials import monomial_count, monomials

#: No product of powers overflows.
LARGEST_POWER = 2.0**400


@standard_arithmetic
class ValueSketch:
    r"""A sketch Ψ of the rows of U₂ and V, from which U₂ᵀV is estimated: costlier than U₂ᵀV itself.

    Row j of U₂ holds the monomials :math:`k_j^\alpha`, :math:`|\alpha|` at most ``degree``; V has a column of
    ones besides.  ΨU₂ and ΨV are kept, where Ψ adds row j with a random sign to one random row of
    ``sketch_rows``, and (ΨU₂)ᵀ(ΨV) has U₂ᵀV, the moments of :class:`MomentState`, as its mean.

    Here for comparison only, without a certificate: with more rows than V has columns it keeps more numbers
    than the moments, which have no error (P2.space).  ``numbers`` and ``exact_numbers`` say how many.

    Parameters
    ----------
    d, d_v : int
        Columns of K and V.
    degree : int
        The highest power of a logit.
    sketch_rows : int
        Rows of Ψ.
    rng : numpy.random.Generator
        Draws Ψ.

    Notes
    -----
    A key costs t ``sketch_rows`` multiply-adds, t = C(d + degree, degree).  Threads must take turns.
    """

    def __init__(
        self, d: int, d_v: int, degree: int, sketch_rows: int, *, rng: np.random.Generator
    ) -> None:
        self._d, self._d_v = integer("d", d, 1), integer("d_v", d_v, 1)
        self._degree = integer("degree", degree, 0)
        rows = integer("sketch_rows", sketch_rows, 1)
        self._features = np.zeros((monomial_count(d, degree), rows))
        self._values = np.zeros((rows, d_v + 1))
        self._rng = rng

    def __copy__(self) -> ValueSketch:
        # Neither sums nor the generator are shared.
        return deepcopy(self)

    @property
    def numbers(self) -> int:
        """The numbers that are kept."""
        return self._features.size + self._values.size

    @property
    def exact_numbers(self) -> int:
        """The numbers of the exact U₂ᵀV."""
        return len(self._features) * (self._d_v + 1)

    def absorb(self, K: ArrayLike, V: ArrayLike) -> None:
        """Take in keys and values.

        Raises
        ------
        TypeError, ValueError
            If a type or shape does not fit, an array is empty or not finite, or powers of keys pass 2^400.
        """
        keys, values = (matrix(name, x).astype(np.float64) for name, x in (("K", K), ("V", V)))
        if keys.shape != (len(values), self._d) or values.shape[1] != self._d_v:
            raise ValueError(
                f"K and V must have {self._d} and {self._d_v} columns and as many rows as each other, "
                f"got shapes {keys.shape} and {values.shape}."
            )
        largest = float(np.abs(keys).max())
        if largest > 1 and not largest <= LARGEST_POWER ** (1 / max(self._degree, 1)):
            raise ValueError(
                f"K must keep its powers of degree {self._degree} below 2^400, got {largest:.3g}."
            )
        if not np.abs(values).max() <= LARGEST_POWER:
            raise ValueError(f"V must not exceed 2^400, got {np.abs(values).max():.3g}.")
        count, rows = len(keys), len(self._values)
        signs = 1.0 - 2.0 * self._rng.integers(0, 2, count)
        psi = sp.csc_array(
            (signs, self._rng.integers(0, rows, count), np.arange(count + 1)), shape=(rows, count)
        )
        basis = monomials(self._d, self._degree)
        basis.add(np.ascontiguousarray(keys.T), psi.toarray(), self._features)
        self._values += psi @ np.column_stack((values, np.ones(count)))

    def estimate(self) -> NDArray[np.float64]:
        """Return the estimate of U₂ᵀV, (t, d_v + 1), with monomials in the order of ``Monomials``."""
        product: NDArray[np.float64] = self._features @ self._values
        return product
