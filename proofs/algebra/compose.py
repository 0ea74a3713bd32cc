"""Put one claim's bound in the place of another's argument."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import sympy

from proofs.algebra.formula import Finding, Formula
from proofs.algebra.monotone import Direction, monotone

#: Powers of two at which hypotheses are tried, all arguments at one of them, and so many mixtures.
EXPONENTS = (0, -4, -16, -40, 4, 16)
MIXED = 64


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A bound that two claims imply together.

    Attributes
    ----------
    formula
        The composed bound; its domains and ``provided`` are the hypotheses on its symbols.
    rests_on
        That the outer bound does not fall as the argument grows, and how that is known.
    hypothesis
        What the outer claim has to be given: its argument is what the inner claim bounds.
    """

    formula: Formula
    rests_on: Finding
    hypothesis: str


def compose(
    inner: Formula, outer: Formula, into: sympy.Symbol, *, seconds: float = 60
) -> Composition:
    """Return the bound ``outer`` with ``inner`` in the place of the symbol ``into``.

    If ``quantity <= outer(x)`` and ``x <= inner``, then ``quantity <= outer(inner)``, as ``outer`` does not
    fall as x grows and inner lies in the domain of x.

    Raises
    ------
    ValueError
        If the outer bound is not seen to rise with the symbol: then what is below its argument says nothing.
    """
    if into not in outer.domains:
        outer.symbol(into.name)
    direction, finding = monotone(outer, into, seconds=seconds)
    if direction is not Direction.RISES:
        raise ValueError(
            f"{outer.name} cannot take {inner.name} for {into.name}: {finding}; the bound of an argument "
            "bounds the whole only where that does not fall."
        )
    domains = dict(inner.domains)
    for symbol, numbers in outer.domains.items():
        if symbol != into:
            domains[symbol] = numbers.intersect(domains[symbol]) if symbol in domains else numbers
    expression = outer.expression.subs(into, inner.expression)
    provided = sympy.And(
        inner.provided,
        sympy.sympify(outer.provided, strict=True).subs(into, inner.expression),
        _inside(inner.expression, outer.domains[into]),
    )
    if not _satisfiable(provided, domains):
        raise ValueError(
            f"{outer.name} never speaks where {inner.name} stands for {into.name}: nothing that was tried "
            f"satisfies {sympy.sstr(provided)}."
        )
    return Composition(
        formula=Formula(
            name=f"{outer.name}({into.name} = {inner.name})",
            expression=expression,
            domains={s: domains[s] for s in domains if s in expression.free_symbols},
            provided=provided,
        ),
        rests_on=finding,
        hypothesis=f"{into.name} of {outer.name} is at most {inner.name}",
    )


def _satisfiable(provided: sympy.Basic, domains: Mapping[sympy.Symbol, sympy.Set]) -> bool:
    """Return whether a point of every domain, small, large or mixed, satisfies the hypotheses."""
    draw = random.Random(0)
    alike = [dict.fromkeys(domains, exponent) for exponent in EXPONENTS]
    mixed = [{s: draw.choice(EXPONENTS) for s in domains} for _ in range(MIXED)]
    for exponents in (*alike, *mixed):
        point = {s: _near_the_least(s, domains[s], exponents[s]) for s in domains}
        if sympy.sympify(provided, strict=True).subs(point) == sympy.true:
            return True
    return False


def _near_the_least(symbol: sympy.Symbol, numbers: sympy.Set, exponent: int) -> sympy.Rational:
    if symbol.is_integer:
        return max(numbers.inf, sympy.Integer(2) ** max(0, exponent))
    low = numbers.inf if numbers.inf != -sympy.oo else sympy.Integer(0)
    value = low + sympy.Rational(2) ** exponent
    return value if numbers.sup == sympy.oo or value < numbers.sup else (low + numbers.sup) / 2


def _inside(expression: sympy.Expr, numbers: sympy.Set) -> sympy.Basic:
    """Return that a bound is no larger than what an argument may be."""
    if numbers.sup == sympy.oo:
        return sympy.true
    if isinstance(numbers, sympy.Interval) and numbers.right_open:
        return sympy.Lt(expression, numbers.sup)
    return sympy.Le(expression, numbers.sup)
