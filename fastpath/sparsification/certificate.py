"""Certificates that Y Yᵀ is close to X Xᵀ, proved by floating-point Cholesky factorisations."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import scipy.linalg as sl

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.sparsification import certificate_shift, entry_difference
from fastpath.core.directed import UNIT_ROUNDOFF, down, float_at_most, up
from fastpath.core.inputs import Array
from fastpath.sparsification.feature_matrix import feature_matrix
from fastpath.sparsification.gram import Gram, gram_of

#: Without slack, rounding may widen the certified epsilon by this much; beyond it slack serves better.
WELL_CONDITIONED = 2.0**-20

#: A certificate with more slack than this says too little to be given.
LARGEST_SLACK = 2.0**-6


#: H beyond this, where G has 1 on its diagonal, is refused: its sums could overflow.  A larger epsilon or
#: slack is replaced by this one, which implies it, for the same reason.
LARGEST_ENTRY = 2.0**1000


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """What has been proved: (1 - epsilon) G - slack diag(G) <= Y Yᵀ <= (1 + epsilon) G + slack diag(G).

    ``slack`` is zero where G is well enough conditioned for float64; otherwise it is a small multiple
    of the rounding errors.  Either way ``|Y Yᵀ - G|_ij <= (epsilon + slack) sqrt(G_ii G_jj)``.
    """

    epsilon: float
    slack: float


@standard_arithmetic
def certify_loewner(X: Any, Y: Any, epsilon: float, *, slack: float = 0.0) -> bool:
    r"""Try to prove (1 - epsilon) G <= Y Yᵀ <= (1 + epsilon) G for G = X Xᵀ, rounding included.

    With :math:`\hat G, \hat H` the computed Gram matrices, equilibrated by powers of two, a
    floating-point Cholesky factorisation of :math:`(1+\varepsilon)\hat G - \hat H - cI` that runs to
    completion proves :math:`(1+\varepsilon)G - YY^\top \succeq 0`, where c, P3.certificate's bound, is a
    few traces times the roundings of the Gram matrices, of their difference and of the factorisation;
    the other side likewise.

    Parameters
    ----------
    X : array_like or sparse, shape (n, d), or Gram
        The matrix, or its Gram matrix from :func:`fastpath.gram` where it is at hand.
    Y : array_like or sparse, shape (n, m), or Gram
        What should stand for it.
    epsilon : float
        At least 0; from 1 on the left inequality says nothing.
    slack : float
        Prove only (1 - epsilon) G - slack diag(G) <= Y Yᵀ <= (1 + epsilon) G + slack diag(G).
        Singular G need a slack above the rounding error: no float64 computation proves a null space.

    Returns
    -------
    bool
        True is a proof.  False proves nothing: epsilon may be too small, or too close for float64.

    Raises
    ------
    TypeError
        If epsilon or slack is no number.
    ValueError
        If the numbers of rows differ or epsilon or slack is negative or not finite.

    Notes
    -----
    Cost: two factorisations, 2 n³/3 operations, besides the Gram matrices.

    Claims: P3.certificate, P3.loewner.

    References
    ----------
    S. M. Rump, Verification of positive definiteness, BIT Numerical Mathematics 46 (2006) 433-452.
    """
    allowed = _at_most("epsilon", epsilon), _at_most("slack", slack)
    return _Pair(_as_gram("X", X), _as_gram("Y", Y)).proves(*allowed)


@standard_arithmetic
def certified_closeness(X: Any, Y: Any) -> Closeness:
    """Find the smallest epsilon, to about seven digits, that :func:`certify_loewner` proves.

    A generalised eigenvalue problem says where to look; only the Cholesky certificates count.
    Where G is singular or nearly so, a slack a little above the rounding error comes with it.

    Parameters
    ----------
    X, Y : array_like, sparse or Gram
        As :func:`certify_loewner`.

    Returns
    -------
    Closeness
        ``epsilon`` (``inf`` where nothing could be proved) and ``slack``.

    Notes
    -----
    Cost: O(n³): an eigenvalue problem and 10 to 50 factorisations.  Claims: P3.certificate.
    """
    return _Pair(_as_gram("X", X), _as_gram("Y", Y)).closest()


@standard_arithmetic
def entrywise_error(X: Any, Y: Any) -> float:
    r"""Bound max |Y Yᵀ - G|_ij / sqrt(G_ii G_jj) over all pairs of rows, rounding included.

    Parameters
    ----------
    X, Y : array_like, sparse or Gram
        As :func:`certify_loewner`.

    Returns
    -------
    float
        The bound; ``inf`` where Y has a row that X has not, or one 2^500 times as long.

    Notes
    -----
    Cost: O(n²) besides the Gram matrices.  Claims: P3.entries.
    """
    pair = _Pair(_as_gram("X", X), _as_gram("Y", Y))
    if not pair.comparable:
        return float("inf")
    diagonal = pair.G.diagonal()
    lengths = np.sqrt(diagonal)
    relative = np.abs(pair.H - pair.G) / lengths[:, None] / lengths
    ratio = pair.H.diagonal() / diagonal
    return float(
        entry_difference(
            relative.max(initial=0.0),
            ratio.max(initial=0.0),
            pair.first_roundings,
            pair.second_roundings,
            UNIT_ROUNDOFF,
        )
    )


def range_factor(G: Gram) -> tuple[Array, Array]:
    """Return F (n x k) and W (k x n) with F Fᵀ = G and W G Wᵀ = I up to rounding, k the numerical rank.

    Cholesky where G is well conditioned, otherwise the eigenvectors of the equilibrated G whose
    eigenvalues exceed what rounding can fake.  Cost: n³/3, or about 9 n³.  Claims: P3.gram.
    """
    pair = _Pair(G, G)
    part = pair.cholesky()
    if part is not None:
        inverse = sl.solve_triangular(part, np.eye(pair.n), lower=True)
    else:
        values, vectors = pair.significant()
        part, inverse = vectors * np.sqrt(values), (vectors / np.sqrt(values)).T
    factor = np.zeros((len(G.matrix), part.shape[1]))
    whitening = np.zeros((part.shape[1], len(G.matrix)))
    factor[pair.kept] = np.ldexp(part, pair.exponents[:, None])
    whitening[:, pair.kept] = np.ldexp(inverse, -pair.exponents)
    return factor, whitening


def _at_most(name: str, value: Any) -> float:
    """Return a float that is no more than a number, and no more than LARGEST_ENTRY, or refuse."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    number: Any = value
    if not 0 <= number < np.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {value!r}.")
    if number >= LARGEST_ENTRY:
        return LARGEST_ENTRY
    # What is proved for a number that float rounds up need not be so for the number.
    return float_at_most(number)


def _as_gram(name: str, X: Any) -> Gram:
    return X if isinstance(X, Gram) else gram_of(feature_matrix(X, name))


class _Pair:
    """Two Gram matrices, scaled so that G has a diagonal in [1/2, 2), without G's zero rows."""

    def __init__(self, g: Gram, h: Gram) -> None:
        if g.matrix.shape != h.matrix.shape:
            raise ValueError(
                f"X and Y must have the same number of rows, got {len(g.matrix)} and {len(h.matrix)}."
            )
        diagonal = g.matrix.diagonal()
        # A computed sum of squares is zero only if the row is (features.LARGEST_EXPONENT).
        self.kept = np.flatnonzero(diagonal)
        self.n = len(self.kept)
        self.exponents = np.frexp(diagonal[self.kept])[1] // 2
        self.G, self.H = self._scaled(g.matrix), self._scaled(h.matrix)
        same_rows = not h.matrix.diagonal()[diagonal == 0].any()
        # LAPACK may factor a matrix with a NaN to completion: what overflowed would count as a proof.
        self.comparable = same_rows and all(
            bool(np.abs(part).max(initial=0.0) < LARGEST_ENTRY) for part in (self.G, self.H)
        )
        self.first_trace = _above(self.G.diagonal())
        self.second_trace = _above(self.H.diagonal()) if self.comparable else np.inf
        # A rounding more pays for underflow in each Gram matrix, and one for all that comes after.
        self.first_roundings, self.second_roundings = g.roundings + 2, h.roundings + 1

    def _scaled(self, matrix: Array) -> Array:
        part = matrix[np.ix_(self.kept, self.kept)] if len(self.kept) < len(matrix) else matrix
        # In C order, so that the diagonal of a copy is a view of it.
        part = np.ascontiguousarray(part)
        if not self.exponents.any():
            return part
        scales = np.ldexp(1.0, -self.exponents)
        with np.errstate(under="ignore", over="ignore"):
            scaled: Array = part * scales[:, None] * scales
        return scaled

    def shift(self, factor: float, slack: float, shifted_trace: float) -> float:
        """Bound what rounding can add to the least eigenvalue that a factorisation proves."""
        return self._shift(factor, slack, self.second_trace, shifted_trace)

    def noise(self) -> float:
        """Bound what rounding can do to an eigenvalue of the computed G."""
        return self._shift(1.0, 0.0, 0.0, self.first_trace)

    def _shift(
        self, factor: float, slack: float, second_trace: float, shifted_trace: float
    ) -> float:
        return float(
            certificate_shift(
                factor,
                slack,
                self.first_roundings,
                self.second_roundings,
                self.n,
                UNIT_ROUNDOFF,
                self.first_trace,
                second_trace,
                shifted_trace,
            )
        )

    def proves(self, epsilon: float, slack: float) -> bool:
        """Run the two factorisations."""
        if not self.comparable:
            return False
        # Rounded inward: a proof for these factors is a proof for the given epsilon.
        upper = float(down(1 + epsilon)) if epsilon else 1.0
        lower = (float(up(1 - epsilon)) if epsilon < 1 else 0.0) if epsilon else 1.0
        # Y Yᵀ >= 0 is no news.
        return self._definite(upper, 1, slack) and (
            lower == 0.0 or self._definite(lower, -1, slack)
        )

    def _definite(self, factor: float, sign: int, slack: float) -> bool:
        """Prove sign (factor G - Y Yᵀ) + slack diag(G) >= 0."""
        if not self.n:
            return True
        # In place, one pass at a time: at n = 512 a fresh 2 MB array costs as much as its arithmetic.
        difference = self.G * (sign * factor)
        difference -= self.H if sign > 0 else -self.H
        diagonal = difference.ravel()[:: self.n + 1]
        diagonal += slack * self.G.diagonal()
        # The claim asks for the trace after the shift, which is smaller.
        diagonal -= self.shift(factor, slack, _above(diagonal))
        return _cholesky(difference)[1] == 0

    def cholesky(self) -> Array | None:
        """Return the factor of the scaled G, or None where rounding could matter more than it may."""
        if not self.n:
            return None
        shifted = self.G.copy()
        # H has as much noise as G.
        shifted.ravel()[:: self.n + 1] -= 2 * self.noise() / WELL_CONDITIONED
        if _cholesky(shifted)[1]:
            return None
        lower: Array = np.tril(_cholesky(self.G.copy())[0])
        return lower

    def significant(self) -> tuple[Array, Array]:
        """Return the eigenpairs of the scaled G that rounding cannot fake."""
        if not self.n:
            return np.zeros(0), np.zeros((0, 0))
        values, vectors = sl.eigh(self.G)
        large = values > self.noise()
        return values[large], vectors[:, large]

    def closest(self) -> Closeness:
        """Return the smallest epsilon that can be proved, without slack where that is possible."""
        if not self.comparable:
            return Closeness(epsilon=float("inf"), slack=0.0)
        if not self.n:
            return Closeness(epsilon=0.0, slack=0.0)
        factor = self.cholesky()
        if factor is not None:
            half = sl.solve_triangular(factor, self.H, lower=True)
            epsilon = self._smallest(_spread(sl.solve_triangular(factor, half.T, lower=True)), 0.0)
            if np.isfinite(epsilon):
                return Closeness(epsilon=epsilon, slack=0.0)
        values, vectors = self.significant()
        whitened = vectors / np.sqrt(values)
        start = _spread(whitened.T @ self.H @ whitened)
        slack = 2 * self.shift(1.0, 0.0, self.first_trace + self.second_trace)
        best = Closeness(epsilon=float("inf"), slack=0.0)
        while slack <= LARGEST_SLACK:
            epsilon = self._smallest(start, slack)
            # More slack forgives small eigenvalues: worth it while it lowers the sum of the two.
            if epsilon + slack > 0.9 * (best.epsilon + best.slack):
                break
            if np.isfinite(epsilon):
                best = Closeness(epsilon=epsilon, slack=slack)
            if epsilon <= slack:
                break
            slack *= 4
        return best

    def _smallest(self, start: float, slack: float) -> float:
        """Return the smallest epsilon that is proved, from an estimate; inf where none near it is."""
        refused, epsilon = start, start
        step = max(2 * self.shift(1.0, 0.0, 0.0), 8 * UNIT_ROUNDOFF)
        if slack and self.proves(start / 2, slack):
            epsilon = start / 2
            while epsilon > slack / 8 and self.proves(epsilon / 4, slack):
                epsilon /= 4
            refused = epsilon / 4
        else:
            while not self.proves(epsilon, slack):
                if step > 4 * WELL_CONDITIONED + start / 4:
                    return float("inf")
                refused, epsilon = epsilon, start + step
                step *= 4
        while epsilon - refused > 2.0**-24 * epsilon and epsilon > max(2.0**-44, slack / 8):
            middle = (refused + epsilon) / 2
            if self.proves(middle, slack):
                epsilon = middle
            else:
                refused = middle
        return epsilon


def _above(diagonal: Array) -> float:
    """Return at least the sum of a diagonal."""
    return float(up(math.fsum(diagonal)))


def _cholesky(matrix: Array) -> tuple[Array, int]:
    """Factor a symmetric C-ordered matrix in place; return its lower factor and LAPACK's info."""
    # Fortran's upper triangle of the transpose is C's lower one: no copy.
    factor, info = sl.lapack.dpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
    return factor.T, int(info)


def _spread(ratio: Array) -> float:
    """Return max |lambda - 1| over the eigenvalues of a nearly symmetric matrix."""
    if not len(ratio):
        return 0.0
    values = sl.eigvalsh((ratio + ratio.T) / 2)
    return float(max(values[-1] - 1, 1 - values[0], 0.0))
