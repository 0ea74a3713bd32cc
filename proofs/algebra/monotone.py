"""Whether a formula rises or falls with one of its symbols."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import sympy

from proofs.algebra import coq_goals
from proofs.algebra.boxes import Box, box_of, nonnegative_on, shown
from proofs.algebra.formula import Finding, Formula, Standing


class Direction(StrEnum):
    """What a formula does as a symbol grows; neither is strict."""

    RISES = "does not fall"
    FALLS = "does not rise"
    NEITHER = "is not seen to be monotone"


def monotone(
    formula: Formula, symbol: sympy.Symbol, *, box: Box | None = None, seconds: float = 60
) -> tuple[Direction, Finding]:
    """Find whether a formula rises or falls with a symbol, all others fixed.

    Coq is asked first, for all values at once: the formula at a smaller value is at most the formula at
    a larger one.  Where its tactics fail, enclosures decide the sign of the derivative on a box.

    Parameters
    ----------
    formula
        What is looked at.
    symbol
        One of its symbols.
    box
        Where enclosures are tried; by default a box inside the domains.
    seconds
        When to give up a goal.
    """
    for direction in (Direction.RISES, Direction.FALLS):
        goal = _proved(formula, symbol, direction, seconds)
        if goal:
            return direction, _found(formula, symbol, direction, Standing.PROVED, goal=goal)
    if not symbol.is_integer:
        derivative = sympy.diff(formula.expression, symbol)
        inside = box_of(formula.domains) if box is None else box
        for direction, slope in ((Direction.RISES, derivative), (Direction.FALLS, -derivative)):
            if nonnegative_on(slope, inside):
                return direction, _found(
                    formula, symbol, direction, Standing.CERTIFIED, on=shown(inside)
                )
        tried = f"(Coq, and enclosures on {shown(inside)})"
    else:
        tried = "(Coq)"
    statement = f"{formula.name} {Direction.NEITHER} in {symbol.name} {tried}"
    return Direction.NEITHER, Finding(statement=statement, standing=Standing.UNDECIDED)


def _found(
    formula: Formula,
    symbol: sympy.Symbol,
    direction: Direction,
    standing: Standing,
    on: str = "",
    goal: str = "",
) -> Finding:
    statement = f"{formula.name} {direction} as {symbol.name} grows"
    return Finding(statement=statement, standing=standing, on=on, goal=goal)


def _proved(formula: Formula, symbol: sympy.Symbol, direction: Direction, seconds: float) -> str:
    larger = sympy.Symbol(f"{symbol.name}_larger", **symbol.assumptions0)
    domains = {**formula.domains, larger: formula.domains[symbol]}
    provided = [
        symbol <= larger,
        formula.provided,
        sympy.sympify(formula.provided, strict=True).subs(symbol, larger),
    ]
    for expression in _forms(formula.expression, symbol):
        sides = expression, expression.subs(symbol, larger)
        lesser, greater = sides if direction is Direction.RISES else sides[::-1]
        goal = coq_goals.close(lesser, greater, domains, provided, seconds=seconds)
        if goal and expression != formula.expression:
            # What was proved is about another way to write it; that they are equal is a goal too.
            both = (formula.expression, expression)
            same = [
                coq_goals.close(a, b, formula.domains, [formula.provided], seconds=seconds)
                for a, b in (both, both[::-1])
            ]
            goal = "\n".join([goal, *same]) if all(same) else ""
        if goal:
            return goal
    return ""


def _forms(expression: sympy.Expr, symbol: sympy.Symbol) -> Iterator[sympy.Expr]:
    """Yield an expression, and as partial fractions where the symbol stands above and below a line."""
    yield expression
    for generator in (symbol, sympy.exp(symbol), sympy.exp(2 * symbol)):
        stand_in = sympy.Dummy(positive=True)
        replaced = expression.subs(generator, stand_in)
        if symbol in replaced.free_symbols or not replaced.is_rational_function(stand_in):
            continue
        apart = sympy.apart(replaced, stand_in).subs(stand_in, generator)
        if apart != expression:
            yield apart
