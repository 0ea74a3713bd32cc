"""What the algebra works on, and how it says what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sympy

from specs import CLAIMS
from specs.claim import Bound


class Standing(StrEnum):
    """How a finding is known, strongest first."""

    #: A Coq goal that states it was emitted, and Coq closed it.
    PROVED = "proved"
    #: Enclosures decide it everywhere on a stated box, or at stated points.
    CERTIFIED = "certified"
    #: What was tried does not decide it, which says nothing about whether it is so.
    UNDECIDED = "not decided"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence, how it is known, and on what.

    Attributes
    ----------
    statement
        What was found, as a formula or a sentence.
    standing
        How it is known.
    on
        The box or the points on which it is certified, or what was tried where it is not decided.
    goal
        The Coq source of the goal that was closed.
    """

    statement: str
    standing: Standing
    on: str = ""
    goal: str = ""

    def __str__(self) -> str:
        """Return the sentence with its standing."""
        return f"{self.statement}: {self.standing}" + (f" on {self.on}" if self.on else "")


@dataclass(frozen=True, kw_only=True)
class Formula:
    """An expression with the numbers for which it speaks: of a bound, or composed of bounds.

    Attributes
    ----------
    name
        What it is called.
    expression
        The expression itself.
    domains
        The numbers that each of its symbols may be.
    provided
        A relation between several symbols without which it says nothing.
    """

    name: str
    expression: sympy.Expr
    domains: Mapping[sympy.Symbol, sympy.Set]
    provided: sympy.Basic = sympy.true

    @classmethod
    def of(cls, bound: Bound[Any]) -> Formula:
        """Return the formula of a claim's bound."""
        return cls(
            name=bound.name,
            expression=bound.expression,
            domains=bound.domains,
            provided=bound.provided,
        )

    def symbol(self, name: str) -> sympy.Symbol:
        """Return the symbol of that name.

        Raises
        ------
        ValueError
            If the formula has none.
        """
        for symbol in self.domains:
            if symbol.name == name:
                return symbol
        known = ", ".join(sorted(s.name for s in self.domains))
        raise ValueError(f"{self.name} has no symbol {name!r}; its symbols are {known}.")


def bound_named(name: str) -> Bound[Any]:
    """Return the bound of that name, or the only bound of the claim of that id.

    Raises
    ------
    ValueError
        If there is none, or the claim has several.
    """
    if name in CLAIMS:
        bounds = CLAIMS[name].bounds
        if len(bounds) > 1:
            raise ValueError(
                f"{name} has {len(bounds)} bounds; name one: {', '.join(b.name for b in bounds)}."
            )
        return bounds[0]
    for claim in CLAIMS.values():
        for bound in claim.bounds:
            if bound.name == name:
                return bound
    raise ValueError(f"no claim and no bound is called {name!r}; `attest claims` lists them.")
