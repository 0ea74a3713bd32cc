"""Where one bound lies below another."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from proofs.algebra import coq_goals
from proofs.algebra.boxes import Box, box_of, grid, nonnegative_on, shown
from proofs.algebra.formula import Finding, Formula, Standing
from proofs.algebra.limits import within_seconds
from reference import evaluate

#: Points of the grid on which a region is checked, and fractional bits.
POINTS, BITS = 400, 320


def compare(
    first: Formula, second: Formula, *, box: Box | None = None, seconds: float = 60
) -> Finding:
    """Find where the first formula is at most the second.

    Coq is asked whether one is below the other everywhere; then enclosures, on a box; then SymPy's
    solvers for a region, which enclosures check on a grid.

    Parameters
    ----------
    first, second
        What is compared; symbols of the same name are the same quantity.
    box
        Where enclosures look; by default a box inside both domains.
    seconds
        When to give up each step.
    """
    domains = dict(first.domains)
    for symbol, numbers in second.domains.items():
        domains[symbol] = numbers.intersect(domains[symbol]) if symbol in domains else numbers
    provided = [first.provided, second.provided]
    inside = box_of(domains) if box is None else dict(box)
    pairs = ((first, second), (second, first))
    for lesser, greater in pairs:
        goal = coq_goals.close(
            lesser.expression, greater.expression, domains, provided, seconds=seconds
        )
        if goal:
            return Finding(
                statement=f"{lesser.name} <= {greater.name} wherever both speak",
                standing=Standing.PROVED,
                goal=goal,
            )
    for lesser, greater in pairs:
        if nonnegative_on(greater.expression - lesser.expression, inside):
            return Finding(
                statement=f"{lesser.name} <= {greater.name}",
                standing=Standing.CERTIFIED,
                on=shown(inside),
            )
    return _region(first, second, domains, inside, seconds)


def _region(
    first: Formula,
    second: Formula,
    domains: dict[sympy.Symbol, sympy.Set],
    inside: Box,
    seconds: float,
) -> Finding:
    relation = sympy.Le(first.expression, second.expression)
    below = {}
    for point in grid(inside, POINTS):
        difference = _difference(first, second, point)
        if difference is not None:
            below[tuple(point.items())] = difference
    region = within_seconds(_solved, (relation, tuple(domains)), seconds)
    name = f"{first.name} <= {second.name}"
    if region is not None and below:
        agrees = all(_holds(region, dict(point)) is is_below for point, is_below in below.items())
        if agrees:
            return Finding(
                statement=f"{name} exactly where {sympy.sstr(region)}",
                standing=Standing.CERTIFIED,
                on=f"{len(below)} points of {shown(inside)}",
            )
    share = f"{sum(below.values())} of {len(below)} points of {shown(inside)}"
    return Finding(
        statement=f"{name} at {share}, and no region that SymPy finds agrees with them",
        standing=Standing.UNDECIDED,
    )


def _difference(
    first: Formula, second: Formula, point: Mapping[sympy.Symbol, object]
) -> bool | None:
    try:
        difference = evaluate(second.expression - first.expression, point, BITS)
    except (ArithmeticError, ValueError, NotImplementedError, TypeError):
        return None
    lower, upper = (end.item() for end in difference.bounds())
    return True if lower >= 0 else False if upper < 0 else None


def _holds(region: sympy.Basic, point: Mapping[sympy.Symbol, object]) -> bool:
    exact = {s: sympy.Rational(str(v)) for s, v in point.items()}
    return bool(region.subs(exact))


def _solved(relation: sympy.Basic, symbols: tuple[sympy.Symbol, ...]) -> sympy.Basic | None:
    """Solve an inequality for the one symbol that it has, or for one in which it is linear."""
    free = [s for s in symbols if s in relation.free_symbols]
    if len(free) == 1:
        (symbol,) = free
        real = sympy.Symbol(symbol.name, real=True)
        low = (
            1 if symbol.is_integer and symbol.is_positive else 0 if symbol.is_nonnegative else None
        )
        numbers = sympy.Reals if low is None else sympy.Interval(low, sympy.oo)
        solved = sympy.solve_univariate_inequality(
            relation.subs(symbol, real), real, relational=False, domain=numbers
        )
        return solved.as_relational(real).subs(real, symbol)
    numerator, denominator = sympy.fraction(sympy.together(relation.gts - relation.lts))
    if not denominator.is_positive:
        return None
    for symbol in free:
        if not numerator.is_polynomial(symbol) or sympy.degree(numerator, symbol) != 1:
            continue
        slope, rest = sympy.Poly(numerator, symbol).all_coeffs()
        edge = sympy.simplify(-rest / slope)
        if slope.is_positive:
            return sympy.Ge(symbol, edge)
        if slope.is_negative:
            return sympy.Le(symbol, edge)
    return None
