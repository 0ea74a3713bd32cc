"""``attest compose``, ``compare``, ``limit``, ``monotone``, ``graph`` and ``claims``: what they print."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy

from proofs.algebra import graph
from proofs.algebra.compare import compare
from proofs.algebra.compose import compose
from proofs.algebra.formula import Finding, Formula, Standing, bound_named
from proofs.algebra.limits import limit, series
from proofs.algebra.monotone import monotone
from proofs.judging.heads import InputError
from specs.ledger import ledger


def add_commands(commands: Any) -> None:
    """Add the sub-commands to the parser's."""

    def add(name: str, run: Callable[[argparse.Namespace], int], says: str) -> Any:
        parser = commands.add_parser(name, help=says, description=says)
        parser.set_defaults(run=_told(run))
        return parser

    bound = {"metavar": "BOUND", "help": "a bound, or a claim that has only one"}
    listed = add("claims", _claims, "list every claim with its verdict, assurance and bounds")
    listed.add_argument("prefix", metavar="PREFIX", nargs="?", default="", help="such as P3 or FP")

    composed = add("compose", _compose, "put one claim's bound in the place of another's argument")
    composed.add_argument("inner", **bound)
    composed.add_argument("outer", **bound)
    composed.add_argument(
        "--into", metavar="SYMBOL", required=True, help="an argument of the outer bound"
    )

    compared = add("compare", _compare, "find where one bound lies below another")
    compared.add_argument("first", **bound)
    compared.add_argument("second", **bound)

    limited = add("limit", _limit, "find what a bound tends to, or its series")
    limited.add_argument("bound", **bound)
    limited.add_argument("symbol", metavar="SYMBOL", help="the argument that tends")
    limited.add_argument("at", metavar="AT", help="a number, or oo for infinity")
    limited.add_argument(
        "--series", metavar="ORDER", type=int, help="the series about AT up to that order instead"
    )

    rising = add("monotone", _monotone, "find whether a bound rises or falls with an argument")
    rising.add_argument("bound", **bound)
    rising.add_argument("symbol", metavar="SYMBOL", help="the argument that grows")
    for parser in (composed, compared, limited, rising):
        parser.add_argument(
            "--seconds",
            type=float,
            default=60,
            help="when to give up a step, which then decides nothing (default: 60)",
        )

    drawn = add("graph", _graph, "show what claims and programs rest on, down to the axioms")
    drawn.add_argument("names", metavar="NAME", nargs="*", help="claims or programs; default: all")
    drawn.add_argument(
        "--format", choices=("text", "dot", "svg"), default="text", help="default: text"
    )


def _told(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Turn what is refused into the sentence that the command prints."""

    def told(arguments: argparse.Namespace) -> int:
        if not getattr(arguments, "seconds", 1) > 0:
            raise InputError(f"--seconds must be more than 0, got {arguments.seconds:g}.")
        try:
            return run(arguments)
        except ValueError as error:
            raise InputError(str(error)) from None

    return told


def _formula(name: str) -> Formula:
    return Formula.of(bound_named(name))


def _print(*findings: Finding) -> int:
    """Print findings, each with the goal that Coq closed; 1 if any is not decided."""
    for finding in findings:
        print(finding)
        if finding.goal:
            print("  " + finding.goal.rstrip().replace("\n", "\n  "))
    return int(any(f.standing is Standing.UNDECIDED for f in findings))


def _claims(arguments: argparse.Namespace) -> int:
    from specs import CLAIMS

    records = [r for r in ledger().records.values() if r.id.startswith(arguments.prefix)]
    if not records:
        raise ValueError(f"no claim's id begins with {arguments.prefix!r}.")
    for record in records:
        bounds = CLAIMS[record.id].bounds if record.id in CLAIMS else ()
        names = ", ".join(b.name for b in bounds) or "no bound"
        print(f"{record.id}  {record.shown}, {record.assurance}: {names}")
    return 0


def _compose(arguments: argparse.Namespace) -> int:
    inner, outer = _formula(arguments.inner), _formula(arguments.outer)
    into = outer.symbol(arguments.into)
    composition = compose(inner, outer, into, seconds=arguments.seconds)
    formula = composition.formula
    print(f"{formula.name}\n  = {sympy.sstr(formula.expression)}")
    print(f"where {composition.hypothesis}")
    for symbol, numbers in formula.domains.items():
        print(f"      {symbol.name} in {numbers}")
    if formula.provided != sympy.true:
        print(f"      {sympy.sstr(formula.provided)}")
    return _print(composition.rests_on)


def _compare(arguments: argparse.Namespace) -> int:
    first, second = _formula(arguments.first), _formula(arguments.second)
    return _print(compare(first, second, seconds=arguments.seconds))


def _limit(arguments: argparse.Namespace) -> int:
    formula = _formula(arguments.bound)
    symbol, at = formula.symbol(arguments.symbol), _end(arguments.at)
    if arguments.series is None:
        return _print(limit(formula, symbol, at, seconds=arguments.seconds))
    if arguments.series < 1 or at == sympy.oo:
        raise ValueError("--series must be at least 1, about a number.")
    return _print(series(formula, symbol, at, arguments.series, seconds=arguments.seconds))


def _end(text: str) -> sympy.Expr:
    if text == "oo":
        return sympy.oo
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"AT must be a number or oo, got {text!r}.") from None
    return sympy.Rational(value.numerator, value.denominator)


def _monotone(arguments: argparse.Namespace) -> int:
    formula = _formula(arguments.bound)
    symbol = formula.symbol(arguments.symbol)
    return _print(monotone(formula, symbol, seconds=arguments.seconds)[1])


def _graph(arguments: argparse.Namespace) -> int:
    part = graph.beneath(*arguments.names) if arguments.names else graph.edges()
    print({"text": graph.text, "dot": graph.dot, "svg": graph.svg}[arguments.format](part))
    return 0
