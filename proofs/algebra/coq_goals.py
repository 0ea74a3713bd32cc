"""Emit a Coq goal about formulas, and let Coq close it.

A goal is an inequality between two formulas for all values in their domains.  Integer symbols are
generalised to reals where the formula makes sense there, which only makes the goal stronger.  The
tactics (``goals.v``) follow the structure of the two sides; where they fail, nothing is said.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import sympy

from specs.printing.coq import coq

#: What may close a goal, in the order in which it is tried.
TACTICS = ("monotone", "same", "exponentials; nra", "unfold tanh, sinh, cosh; interval")


def close(
    lesser: sympy.Expr,
    greater: sympy.Expr,
    domains: Mapping[sympy.Symbol, sympy.Set],
    provided: Iterable[sympy.Basic] = (),
    *,
    seconds: float = 60,
) -> str:
    """Return the source of the goal ``lesser <= greater`` if Coq closes it, else nothing.

    Parameters
    ----------
    lesser, greater
        The two sides.
    domains
        The numbers that each symbol may be.
    provided
        Relations that may be assumed besides.
    seconds
        When to give up: then the goal is not decided.
    """
    if shutil.which("coqc") is None:
        return ""
    try:
        source = _goal(lesser, greater, domains, tuple(provided))
    except NotImplementedError:
        return ""  # no translation of some function
    preamble = files("proofs.algebra").joinpath("goals.v").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "goal.v").write_text(f"{preamble}\n{source}", encoding="utf-8")
        try:
            told = subprocess.run(
                ["coqc", "-q", "goal.v"], cwd=directory, capture_output=True, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return ""
    return source if told.returncode == 0 else ""


def _goal(
    lesser: sympy.Expr,
    greater: sympy.Expr,
    domains: Mapping[sympy.Symbol, sympy.Set],
    provided: tuple[sympy.Basic, ...],
) -> str:
    counted = set().union(*(_counts(side) for side in (lesser, greater)))
    real = {s: sympy.Symbol(s.name, real=True) for s in domains if s not in counted}
    binders = " ".join(f"({s.name} : {'nat' if s in counted else 'R'})" for s in domains)
    hypotheses = [
        h for s, numbers in domains.items() for h in _belongs(coq(real.get(s, s)), numbers)
    ]
    hypotheses += [h for relation in provided for h in _relations(relation.xreplace(real))]
    sides = " <= ".join(coq(side.xreplace(real)) for side in (lesser, greater))
    premises = "".join(f"  {h} ->\n" for h in hypotheses)
    tactics = " | ".join(f"solve [{tactic}]" for tactic in TACTICS)
    return (
        f"Goal forall {binders},\n{premises}  {sides}.\nProof. intros; first [{tactics}]. Qed.\n"
        if domains
        else f"Goal {sides}.\nProof. first [{tactics}]. Qed.\n"
    )


def _counts(expression: sympy.Expr) -> set[sympy.Symbol]:
    """Return the symbols that have to be natural numbers: in exponents, factorials and ranges of sums."""
    found: set[sympy.Symbol] = set()
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, sympy.factorial | sympy.binomial | sympy.Sum):
            found |= node.free_symbols
        elif isinstance(node, sympy.Pow) and node.base is not sympy.E:
            found |= node.exp.free_symbols
    return found


def _belongs(symbol: str, numbers: sympy.Set) -> Iterable[str]:
    if numbers.inf != -sympy.oo:
        yield (
            f"{coq(numbers.inf)} {'<' if numbers.left_open else '<='} {symbol}"
            if isinstance(numbers, sympy.Interval)
            else f"{coq(numbers.inf)} <= {symbol}"
        )
    if numbers.sup != sympy.oo:
        strict = isinstance(numbers, sympy.Interval) and numbers.right_open
        yield f"{symbol} {'<' if strict else '<='} {coq(numbers.sup)}"


def _relations(relation: sympy.Basic) -> Iterable[str]:
    if relation == sympy.true:
        return
    if isinstance(relation, sympy.And):
        for part in relation.args:
            yield from _relations(part)
        return
    if not isinstance(relation, sympy.core.relational._Inequality):
        raise NotImplementedError(f"no Coq premise for {relation}")
    strict = isinstance(relation, sympy.StrictGreaterThan | sympy.StrictLessThan)
    yield f"{coq(relation.lts)} {'<' if strict else '<='} {coq(relation.gts)}"
