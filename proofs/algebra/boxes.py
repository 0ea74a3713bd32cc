"""Decide the sign of an expression everywhere on a box, by enclosures of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import sympy

from reference import Enclosure, evaluate

#: An interval of values for each symbol.
Box = Mapping[sympy.Symbol, tuple[Fraction, Fraction]]

#: Where a domain has no end, how far a box goes; and how far from an end that a domain leaves out.
REACH, MARGIN = Fraction(4), Fraction(1, 64)

#: Parts that a box is cut into at most, and fractional bits.
PARTS, BITS = 3000, 160


def box_of(
    domains: Mapping[sympy.Symbol, sympy.Set],
) -> dict[sympy.Symbol, tuple[Fraction, Fraction]]:
    """Return a box inside the domains that does not touch zero or an end that is left out."""
    return {symbol: _interval(symbol, numbers) for symbol, numbers in domains.items()}


def _interval(symbol: sympy.Symbol, numbers: sympy.Set) -> tuple[Fraction, Fraction]:
    low = -REACH if numbers.inf == -sympy.oo else _fraction(numbers.inf)
    high = max(low, Fraction(0)) + REACH if numbers.sup == sympy.oo else _fraction(numbers.sup)
    if symbol.is_integer:
        return low, high
    margin = min(MARGIN, (high - low) / 8)
    if low == 0 or getattr(numbers, "left_open", False):
        low += margin
    if getattr(numbers, "right_open", False) and numbers.sup != sympy.oo:
        high -= margin
    return low, high


def _fraction(number: sympy.Expr) -> Fraction:
    rational = sympy.nsimplify(number)
    return Fraction(int(rational.p), int(rational.q))


def nonnegative_on(expression: sympy.Expr, box: Box) -> bool:
    """Return whether enclosures decide that an expression is at least 0 on a whole box.

    Counts are taken one by one where the expression needs natural numbers, else as reals.
    """
    pending: list[dict[sympy.Symbol, tuple[Fraction, Fraction]]] = [dict(box)]
    for _ in range(PARTS):
        if not pending:
            return True
        part = pending.pop()
        try:
            lower, upper = evaluate(expression, _balls(part), BITS).bounds()
        except (ArithmeticError, TypeError, NotImplementedError, ValueError):
            lower, upper = np.array(Fraction(-1)), np.array(Fraction(1))
        if lower.item() >= 0:
            continue
        if upper.item() < 0:
            return False
        widest = max(part, key=lambda s: part[s][1] - part[s][0], default=None)
        if widest is None or part[widest][0] == part[widest][1]:
            return False
        low, high = part[widest]
        middle = (low + high) / 2
        pending += [{**part, widest: (low, middle)}, {**part, widest: (middle, high)}]
    return False


def _balls(part: Box) -> dict[sympy.Symbol, Any]:
    return {symbol: _ball(low, high) for symbol, (low, high) in part.items()}


def _ball(low: Fraction, high: Fraction) -> Enclosure:
    unit = 1 << BITS
    middle = round((low + high) / 2 * unit)
    radius = max(abs(-(-high * unit // 1) - middle), abs(low * unit // 1 - middle))
    return Enclosure(np.array(middle, dtype=object), int(radius), BITS)


def grid(box: Box, points: int) -> Iterator[dict[sympy.Symbol, Fraction | int]]:
    """Yield a grid of about that many points of a box; counts are natural numbers."""
    each = max(2, round(points ** (1 / max(1, len(box)))))
    axes: list[list[Fraction | int]] = []
    for symbol, (low, high) in box.items():
        axis = [low + (high - low) * Fraction(k, each - 1) for k in range(each)]
        counts: list[Fraction | int] = [*sorted({round(a) for a in axis})]
        axes.append(counts if symbol.is_integer else [*axis])
    for values in product(*axes):
        yield dict(zip(box, values, strict=True))


def shown(box: Box) -> str:
    """Return a box in words."""
    return ", ".join(f"{s.name} in [{low}, {high}]" for s, (low, high) in box.items())
