r"""Polynomials that stand in for exp, with a certificate of how well, computed at run time.

Weights that are normalised forgive a common factor, so a polynomial P serves logits in [-r, r] as
well as :math:`\kappa(r) = \max P(x)e^{-x} / \min P(x)e^{-x}` is close to 1 (S.kappa).  The best one has
the least relative error: Remez's exchange finds it.  What it found is not believed but checked:
:math:`\kappa` is bounded from the values on a grid and a bound on the curvature between its points
(P2.kappa).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from numpy.typing import NDArray

from fastpath.core.bounds.polynomial import grid_curvature, grid_value_error, kappa_grid
from fastpath.core.bounds.softmax import kappa_tv
from fastpath.core.directed import UNIT_ROUNDOFF, down, library_down, library_up, up
from fastpath.core.inputs import Array
from fastpath.core.norms import sum_above

#: The widest interval for which coefficients are sought: float64 has long lost e^(2 radius) u by then.
LARGEST_RADIUS = 32.0

#: Cells of the certificate's grid on either side of zero.  What may happen between its points is 1e-5
#: of kappa - 1 at degree 4 and radius 1, and 1e-3 at degree 13 and radius 8.
CELLS = 1024

#: Points a peak of the error in Remez's exchange, and how much higher than the level the highest may
#: be: both lose at most 1e-4 of the least error.
PEAK_POINTS, LEVEL = 128, 1 + 2.0**-14


@dataclass(frozen=True, kw_only=True)
class Polynomial:
    """A polynomial, and how well it stands in for exp on the intervals within [-radius, radius].

    Attributes
    ----------
    coefficients : (degree + 1,) array
        Of 1, x, x², ...
    radius : float
        Half the width of the widest interval.
    total_variations : (CELLS + 1,) array
        Bounds on the total variation between its normalised weights and those of exp, for logits in
        [-r, r], r = 0, radius/CELLS, ..., radius.  At least 1 where it may not be positive.
    lowest : float
        Lower bound on P(x) over the widest interval; 0 where it may not be positive.
    """

    coefficients: Array
    radius: float
    total_variations: Array
    lowest: float

    @property
    def degree(self) -> int:
        """The highest power that has a coefficient."""
        return len(self.coefficients) - 1

    @property
    def total_variation(self) -> float:
        """The bound for the widest interval."""
        return float(self.total_variations[-1])

    def total_variation_within(self, logit_bounds: Array) -> Array:
        """Bound the total variation of rows whose logits lie within -+logit_bounds <= radius."""
        # Rounded up to the next point of the grid, or the one after it where the product is close.
        cells = up(logit_bounds * up(CELLS / self.radius)).astype(np.intp) + 1
        within: Array = self.total_variations[np.minimum(cells, CELLS)]
        return within

    def absolute(self, z: float) -> float:
        """Bound sum_m |c_m| z^m from above."""
        return float(_horner(z, np.abs(self.coefficients)))


def widened(logit_bound: float) -> float:
    """Round a radius up, by at most 1/64 or to 2^-10, so that inputs alike share coefficients."""
    fraction, exponent = math.frexp(max(logit_bound, 2.0**-10))
    return math.ldexp(math.ceil(fraction * 128) / 128, exponent)


@lru_cache(maxsize=256)
def minimax(degree: int, radius: float) -> Polynomial:
    """Return the best polynomial of at most that degree for logits in [-radius, radius], certified.

    Beyond the degree whose error rounding hides, more coefficients only add rounding.

    Cost: some milliseconds, once for a degree and a radius.
    """
    return certify(_remez(min(degree, largest_useful_degree(radius)), radius), radius)


def likely_degree(radius: float, relative_error: float) -> int:
    """Guess the least degree that errs by no more, from the asymptotic error 2 (r/2)^(g+1) / (g+1)!."""
    logarithm, degree = math.log(radius), 0
    while logarithm > math.log(relative_error):
        degree += 1
        logarithm += math.log(radius / 2 / (degree + 1))
    return degree


def largest_useful_degree(radius: float) -> int:
    """Return a degree whose error is lost in what rounding does to its values, e^(2r) u relative."""
    return likely_degree(radius, math.exp(2 * radius) * UNIT_ROUNDOFF)


def certify(coefficients: Array, radius: float) -> Polynomial:
    r"""Bound what any polynomial loses in place of exp on the intervals within [-radius, radius].

    With :math:`f = Pe^{-x}` on grid points at most ``step`` apart, :math:`\max f \le \max_i f(x_i) +
    \sup|f''|\,step^2/8`, so for the minimum, and so in turn for the second and the fourth derivative;
    the sixth is bounded by absolute values: P2.kappa.
    """
    x = np.linspace(0.0, radius, CELLS + 1)
    step = float(up(np.diff(x).max()))
    x = np.concatenate((-x[::-1], x))
    sixth, rounding = _coefficients(coefficients, 6)
    largest = _horner(radius, up(np.abs(sixth) + rounding))
    curvature = up(largest * library_up(math.exp(radius)))
    for derivative in (4, 2):
        low, high = bounds_on_values(coefficients, x, derivative)
        curvature = grid_curvature(max(high.max(), -low.min()), curvature, step)
    low, high = bounds_on_values(coefficients, x)
    # From the middle outward, both sides at once.
    top = np.maximum.accumulate(np.maximum(high[CELLS::-1], high[CELLS + 1 :]))
    bottom = np.minimum.accumulate(np.minimum(low[CELLS::-1], low[CELLS + 1 :]))
    kappa = kappa_grid(top, np.maximum(bottom, 0.0), curvature, step)
    lowest = down(bottom[-1] - up(curvature * up(step * step)))
    lowest = float(down(lowest * library_down(math.exp(-radius))))
    return Polynomial(
        coefficients=coefficients, radius=radius, total_variations=kappa_tv(kappa), lowest=lowest
    )


def _coefficients(coefficients: Array, derivative: int) -> tuple[Array, Array]:
    """Return those of (d/dx - 1)^k P and bounds on their rounding: f's k-th derivative is that by e^-x."""
    value, absolute = coefficients, np.abs(coefficients)
    for _ in range(derivative):
        value = np.append(polynomial.polyder(value), 0.0)[: len(value)] - value
        absolute = np.append(polynomial.polyder(absolute), 0.0)[: len(value)] + absolute
    return value, grid_value_error(absolute, 4 * derivative, UNIT_ROUNDOFF)


def bounds_on_values(coefficients: Array, x: Array, derivative: int = 0) -> tuple[Array, Array]:
    """Bound a derivative of P(x) e^-x from below and above at every x: FP.polynomial."""
    value, rounding = _coefficients(coefficients, derivative)
    decay = np.exp(-x)
    roundings = 4 * len(coefficients) + 40
    middle = polynomial.polyval(x, value) * decay
    absolute = polynomial.polyval(np.abs(x), np.abs(value) + rounding) * decay
    error = grid_value_error(absolute, roundings, UNIT_ROUNDOFF)
    error = up(error + up(_horner(np.abs(x), rounding) * library_up(decay)))
    return middle - error, middle + error


def _horner(x: Array | float, coefficients: Array) -> Any:
    """Bound a polynomial from above where neither its coefficients nor x are negative."""
    return sum_above(polynomial.polyval(x, coefficients), 2 * len(coefficients))


def _remez(degree: int, radius: float) -> Array:
    """Return the coefficients that minimise max |P(x) e^-x - 1| on [-radius, radius], nearly.

    Each exchange solves P(x_i) - (-1)^i E e^(x_i) = e^(x_i) at degree + 2 points and moves them to the
    peaks of the error.  Source: E. Ya. Remez, 1934; in every text on approximation.
    """
    t = -np.cos(np.linspace(0.0, np.pi, PEAK_POINTS * (degree + 2) + 1))
    basis, growth = chebyshev.chebvander(t, degree), np.exp(radius * t)
    basis /= growth[:, None]
    signs = (-1.0) ** np.arange(degree + 2)
    points = np.linspace(0, len(t) - 1, degree + 2).round().astype(int)
    best, least = np.ones(1), np.inf
    for _ in range(30):
        try:
            solution = np.linalg.solve(
                np.column_stack((basis[points], -signs)), np.ones(degree + 2)
            )
        except np.linalg.LinAlgError:
            break
        error = basis @ solution[:-1] - 1
        height = np.abs(error)
        if height.max() < least:
            best, least = solution[:-1], float(height.max())
        points = _peaks(error, height, degree + 2)
        if len(points) < degree + 2 or least <= abs(solution[-1]) * LEVEL:
            break
    return chebyshev.cheb2poly(best) / radius ** np.arange(len(best))


def _peaks(error: NDArray[Any], height: NDArray[Any], wanted: int) -> NDArray[np.intp]:
    """Return the highest point between any two changes of sign, the lower outer ones left out."""
    negative = np.signbit(error)
    first = np.flatnonzero(np.diff(negative, prepend=not negative[0]))
    peaks = [
        a + np.argmax(height[a:b]) for a, b in zip(first, [*first[1:], len(error)], strict=True)
    ]
    while len(peaks) > wanted:
        peaks.pop(0 if height[peaks[0]] < height[peaks[-1]] else -1)
    return np.array(peaks)
