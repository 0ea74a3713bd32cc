"""What becomes of a formula at the ends of an argument: SymPy's limits and series, checked by enclosures."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

import sympy

from proofs.algebra.formula import Finding, Formula, Standing
from reference import evaluate

#: Arguments at which a limit is looked at, as distances from a point or reciprocals of them.
DISTANCES = (Fraction(1, 10**3), Fraction(1, 10**6), Fraction(1, 10**9))

#: Fractional bits.
BITS = 512


def limit(
    formula: Formula, symbol: sympy.Symbol, at: sympy.Expr, *, seconds: float = 60
) -> Finding:
    """Find the limit of a formula as a symbol tends to a number or to infinity.

    SymPy finds it.  It is certified on three points that approach the end, where all other symbols are 1
    or nearby: there an enclosure of the distance to the limit (of the reciprocal, where that is infinite)
    shrinks.  Else it is not decided.
    """
    found = within_seconds(_limit, (formula.expression, symbol, at), seconds)
    name = f"{formula.name} as {symbol.name} -> {at}"
    if found is None:
        return Finding(
            statement=f"{name}: SymPy finds no limit in {seconds:g} s",
            standing=Standing.UNDECIDED,
        )
    statement = f"{name} tends to {sympy.sstr(found)}"
    try:
        distances = [_distance(formula, symbol, at, found, step) for step in DISTANCES]
    except (ArithmeticError, ValueError, TypeError, NotImplementedError, MemoryError):
        distances = []
    if distances and all(b <= a for a, b in pairwise(distances)):
        points = ", ".join(str(_point(symbol, at, step)) for step in DISTANCES)
        return Finding(
            statement=statement, standing=Standing.CERTIFIED, on=f"{symbol.name} = {points}"
        )
    return Finding(statement=f"{statement} by SymPy", standing=Standing.UNDECIDED)


def series(
    formula: Formula, symbol: sympy.Symbol, at: sympy.Expr, order: int, *, seconds: float = 60
) -> Finding:
    """Find the first terms of a formula about a point, up to an order.

    Certified where the remainder over the distance to that power stays bounded at three points.
    """
    found = within_seconds(_series, (formula.expression, symbol, at, order), seconds)
    name = f"{formula.name} about {symbol.name} = {at}"
    if found is None:
        return Finding(
            statement=f"{name}: SymPy finds no series in {seconds:g} s", standing=Standing.UNDECIDED
        )
    statement = f"{name} is {sympy.sstr(found)} + O(({symbol.name} - {at})^{order})"
    statement = statement.replace(f"({symbol.name} - 0)", symbol.name)
    try:
        remainders = [
            _distance(formula, symbol, at, found, step) / step**order for step in DISTANCES
        ]
    except (ArithmeticError, ValueError, TypeError, NotImplementedError):
        remainders = []
    if remainders and max(remainders) <= 4 * remainders[0] + 1:
        points = ", ".join(str(_point(symbol, at, step)) for step in DISTANCES)
        return Finding(
            statement=statement, standing=Standing.CERTIFIED, on=f"{symbol.name} = {points}"
        )
    return Finding(statement=f"{statement} by SymPy", standing=Standing.UNDECIDED)


def _limit(expression: sympy.Expr, symbol: sympy.Symbol, at: sympy.Expr) -> sympy.Expr | None:
    free = sympy.Symbol(symbol.name, positive=symbol.is_positive, real=True)
    found = sympy.limit(expression.xreplace({symbol: free}), free, at)
    return None if found.has(sympy.Limit, sympy.AccumBounds, sympy.nan) else found


def _series(
    expression: sympy.Expr, symbol: sympy.Symbol, at: sympy.Expr, order: int
) -> sympy.Expr | None:
    free = sympy.Symbol(symbol.name, real=True)
    found = sympy.series(expression.xreplace({symbol: free}), free, at, order).removeO()
    return None if found.has(sympy.nan, sympy.zoo) else found.xreplace({free: symbol})


def _point(symbol: sympy.Symbol, at: sympy.Expr, step: Fraction) -> Fraction | int:
    if at == sympy.oo:
        value = 1 / step
        return int(value) if symbol.is_integer else value
    return Fraction(int(at.p), int(at.q)) + step


def _distance(
    formula: Formula, symbol: sympy.Symbol, at: sympy.Expr, found: sympy.Expr, step: Fraction
) -> Fraction:
    """Enclose from above how far the formula is from its limit, or 1 / |formula| where that is infinite."""
    point: dict[sympy.Symbol, Any] = {
        s: _sample(numbers) for s, numbers in formula.domains.items() if s != symbol
    }
    point[symbol] = _point(symbol, at, step)
    value = evaluate(formula.expression, point, BITS)
    if found.is_infinite:
        lower, _ = abs(value).bounds()
        return 1 / Fraction(lower.item())
    _, upper = abs(value - evaluate(found, point, BITS)).bounds()
    return Fraction(upper.item())


def _sample(numbers: sympy.Set) -> Fraction | int:
    """Return a number inside a domain, 1 where it holds that."""
    if numbers.contains(sympy.Integer(1)) == sympy.true:
        return 1
    middle = (numbers.inf + numbers.sup) / 2 if numbers.sup != sympy.oo else numbers.inf + 1
    return Fraction(int(middle.p), int(middle.q))


def within_seconds(
    function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float
) -> Any | None:
    """Return what a function returns, or None if it raises or takes longer: a SymPy that may not end."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(seconds) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        sender.send(function(*arguments))
    except Exception:
        sender.send(None)
