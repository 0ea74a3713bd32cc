"""A theorem whose hypotheses contradict each other says nothing: every long list of them has a witness.

The witness of a theorem t is the theorem ``t_satisfiable``, which says of the same hypotheses that they do
not imply False: the statement of t with False in place of its conclusion, denied.
"""

import re

import pytest

from proofs.evidence.coq_checker import SOURCES, statements
from proofs.evidence.coq_sources import read_project
from specs import CLAIMS

#: Up to so many hypotheses are taken in at a glance.
FEW = 3

LINKED = {b.theorem for claim in CLAIMS.values() for b in claim.bounds if b.theorem}
DECLARED = frozenset(read_project(SOURCES).theorems)


def at_top(text: str, start: int, *wanted: str) -> int:
    """Return where the first of some words stands outside all brackets, or -1."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0 and text.startswith(wanted, at):
            return at
    return -1


def hypotheses(statement: str) -> tuple[list[str], int]:
    """Return the premises of a statement as Coq prints it, and where its conclusion starts."""
    found: list[str] = []
    at = conclusion = 0
    while True:
        at += len(statement) - at - len(statement[at:].lstrip())
        if statement.startswith("forall ", at):
            at = at_top(statement, at, ",") + 1
            continue
        if statement.startswith("let ", at):
            at = at_top(statement, at, " in ") + 4
            continue
        arrow = at_top(statement, at, " -> ")
        binder = at_top(statement, at, "forall ", "exists ", "fun ")
        if arrow < 0 or 0 <= binder < arrow:
            return found, conclusion
        found.append(statement[at:arrow])
        at = conclusion = arrow + 4


def test_hypotheses_are_those_before_the_last_arrow_outside_brackets() -> None:
    statement = (
        "forall (n : nat) (f : nat -> R), (0 < n)%nat -> (forall i : nat, (i < n)%nat -> 0 < f i) -> "
        "let s := fsum n f in forall t : R, 0 < t -> exists g : nat -> R, t <= g 0 * s"
    )
    found, conclusion = hypotheses(statement)
    assert found == ["(0 < n)%nat", "(forall i : nat, (i < n)%nat -> 0 < f i)", "0 < t"]
    assert statement[conclusion:].startswith("exists g")


LONG = sorted(t for t in LINKED & statements().keys() if len(hypotheses(statements()[t])[0]) > FEW)


@pytest.mark.parametrize("theorem", LONG)
def test_many_hypotheses_are_satisfied_by_some_instance(theorem: str) -> None:
    assert f"{theorem}_satisfiable" in DECLARED


WITNESSED = sorted(t for t in DECLARED & statements().keys() if t.endswith("_satisfiable"))


def is_a_type(premise: str) -> bool:
    """Tell whether a premise is the type of a variable that no other premise has in it."""
    return set(re.findall(r"\w+", premise)) <= {"nat", "R", "bool"}


@pytest.mark.parametrize("witness", WITNESSED)
def test_a_witness_is_of_the_hypotheses_of_its_theorem(witness: str) -> None:
    expected, _ = hypotheses(statements()[witness.removesuffix("_satisfiable")])
    denied = re.fullmatch(r"~ \((.*)\)", statements()[witness])
    assert denied is not None
    found, conclusion = hypotheses(denied[1])
    assert denied[1][conclusion:] == "False"
    assert [h for h in found if not is_a_type(h)] == expected
