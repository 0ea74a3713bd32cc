"""A polynomial in place of exp: how unevenly it does so, enclosed.

    f(x) = P(x) e^(−x),   κ = max f / min f  on [−r, r].

f is largest and smallest at an end or where f' = (P' − P) e^(−x) vanishes.  Those points are found
from exact signs: a polynomial whose Bernstein coefficients on an interval have one sign has that
sign there, and halving the interval sharpens them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import comb, lcm
from typing import Any

from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import entries, ratios

__all__ = [
    "derived",
    "evaluated",
    "extremes",
    "is_positive",
    "kappa",
    "levelled_ratio",
    "rational",
]

LARGEST_DEGREE = 64
DEEPEST = 1 << 10  # halvings after which a polynomial that is not negative is taken to touch zero


def kappa(coefficients: Any, radius: Any, *, precision: int = 128) -> Enclosure:
    """Enclose  κ = max P(x) e^(−x) / min P(x) e^(−x)  over |x| ≤ radius.

    Parameters
    ----------
    coefficients : (degree + 1,) array_like
        Of P, constant term first: floats, integers or Fractions; degree at most 64.
    radius : float, int or Fraction
        At least 0.
    precision : int
        Fractional bits to work with, at least 16.

    Returns
    -------
    Enclosure of shape ()

    Raises
    ------
    TypeError, ValueError
        If a number is not finite, a shape does not fit, or P is not positive on the interval.
    ArithmeticError
        If the precision is too low to certify that P is positive.

    Notes
    -----
    Cost: for each point where f' vanishes, ``precision`` halvings of degree² / 2 additions.
    """
    f = _positive_extremes(coefficients, radius, precision)
    return f.max() / f.min()


def levelled_ratio(coefficients: Any, radius: Any, *, precision: int = 128) -> Enclosure:
    """Enclose M / m, if P(x) e^(−x) is alternately at least M and at most m at degree + 2 points.

    The points are both ends and the zeros of P' − P.  No polynomial of the same degree has a κ below
    M / m (P2.minimax); the relative minimax polynomial has κ = M / m.

    Parameters and other errors are those of :func:`kappa`.

    Raises
    ------
    ValueError
        If P' − P has fewer than ``degree`` zeros inside the interval.
    """
    f = _positive_extremes(coefficients, radius, precision)
    degree = len(rational(coefficients)) - 1
    if len(f) != degree + 2:
        raise ValueError(
            f"P(x) e^(-x) must turn {degree} times inside the interval, it does {len(f) - 2} times."
        )
    even, odd = f[::2], f[1::2]
    if (even.sum() / len(even)).midpoint() > (odd.sum() / len(odd)).midpoint():
        return even.min() / odd.max()
    return odd.min() / even.max()


def extremes(coefficients: Any, radius: Any, *, precision: int = 128) -> Enclosure:
    """Enclose f = P(x) e^(−x) at −radius, wherever f' vanishes between, and at radius, in this order.

    Parameters and cost are those of :func:`kappa`; P may have any sign.

    Returns
    -------
    Enclosure of shape (m,), m at least 2
    """
    P, r = rational(coefficients), _radius(radius)
    points = Enclosure.exact([-r, *_zeros(derived(P), r, precision), r], precision)
    # A zero lies within one unit of the middle of its cell.
    x = Enclosure(points.mid, points.radius + 1, precision)
    return evaluated(P, x) * (-x).exp()


def derived(coefficients: Sequence[Fraction]) -> list[Fraction]:
    """Return the coefficients of P' − P: the derivative of P(x) e^(−x) is (P' − P)(x) e^(−x)."""
    slope = [*((k + 1) * c for k, c in enumerate(coefficients[1:])), Fraction(0)]
    return [a - b for a, b in zip(slope, coefficients, strict=True)]


def is_positive(coefficients: Any, radius: Any) -> bool:
    """Decide whether P(x) > 0 for all |x| ≤ radius; parameters and errors as in :func:`kappa`.

    Raises
    ------
    ArithmeticError
        If P comes so near to zero that a thousand halvings do not tell.
    """
    cells = [_bernstein(rational(coefficients), _radius(radius))]
    for _ in range(DEEPEST):
        if any(c[0] <= 0 or c[-1] <= 0 for c in cells):
            return False
        cells = [half for c in cells if min(c) <= 0 for half in _halves(c)]
        if not cells:
            return True
    raise ArithmeticError(f"P is not certified to differ from zero after {DEEPEST} halvings.")


def evaluated(coefficients: Sequence[Fraction], x: Enclosure) -> Enclosure:
    """Enclose P(x), entry by entry, by Horner's rule."""
    value = x * 0
    for c in reversed(coefficients):
        value = value * x + Enclosure.exact(c, x.bits)
    return value


def rational(coefficients: Any) -> list[Fraction]:
    """Return a polynomial's coefficients as fractions.

    Raises
    ------
    TypeError, ValueError
        If they are no vector of 1 to 65 finite numbers.
    """
    numerators, denominators = ratios(coefficients, "coefficients")
    if numerators.ndim != 1 or not 1 <= len(numerators) <= LARGEST_DEGREE + 1:
        raise ValueError(
            f"coefficients must be a vector of 1 to {LARGEST_DEGREE + 1} numbers, "
            f"got shape {numerators.shape}."
        )
    return [Fraction(p, q) for p, q in zip(entries(numerators), entries(denominators), strict=True)]


# --------------------------------------------------------------------------------------- helpers


def _positive_extremes(coefficients: Any, radius: Any, precision: int) -> Enclosure:
    if not is_positive(coefficients, radius):
        raise ValueError(f"P must be positive on [-{radius}, {radius}].")
    return extremes(coefficients, radius, precision=precision)


def _zeros(coefficients: Sequence[Fraction], r: Fraction, precision: int) -> list[Fraction]:
    """Return the middles of cells, of at most 2^−precision, that hold every zero in (−r, r)."""
    if r == 0 or not any(coefficients):
        return []
    cells = [(0, _bernstein(coefficients, r))]
    halvings = precision + (r.numerator // r.denominator + 1).bit_length() + 1
    for _ in range(halvings):
        cells = [
            (2 * k + side, half)
            for k, c in cells
            for side, half in enumerate(_halves(c))
            if min(half) <= 0 <= max(half)
        ]
    return [r * (Fraction(2 * k + 1, 1 << halvings) - 1) for k, _ in cells]


def _bernstein(coefficients: Sequence[Fraction], r: Fraction) -> list[int]:
    """Return positive multiples of the Bernstein coefficients of P on [−r, r].

    With x = r (2 y − 1), Σ_m a_m y^m has the Bernstein coefficients Σ_{m ≤ j} C(j,m)/C(g,m) a_m.
    """
    g = len(coefficients) - 1
    scaled = [c * r**k for k, c in enumerate(coefficients)]
    powers = [
        2**m * sum(comb(k, m) * (-1) ** (k - m) * scaled[k] for k in range(m, g + 1))
        for m in range(g + 1)
    ]
    values = [
        sum((Fraction(comb(j, m), comb(g, m)) * powers[m] for m in range(j + 1)), Fraction(0))
        for j in range(g + 1)
    ]
    unit = lcm(*(v.denominator for v in values))
    return [int(v * unit) for v in values]


def _halves(c: list[int]) -> tuple[list[int], list[int]]:
    """Return the Bernstein coefficients on both halves, times 2^degree: de Casteljau's scheme."""
    g = len(c) - 1
    left, right, row = [c[0] << g], [c[-1] << g], c
    for k in range(1, g + 1):
        row = [a + b for a, b in pairwise(row)]
        left.append(row[0] << (g - k))
        right.append(row[-1] << (g - k))
    return left, right[::-1]


def _radius(radius: Any) -> Fraction:
    numerators, denominators = ratios(radius, "radius")
    if numerators.shape != () or numerators.item() < 0:
        raise ValueError(f"radius must be one number, at least 0, got {radius}.")
    return Fraction(numerators.item(), denominators.item())
