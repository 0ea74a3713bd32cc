"""What a claim assumes is what its theorems assume: no hypothesis on one side alone.

That a hypothesis of Python stands for one of Coq is said by name (docs/architecture.md); claims that say so
of any hypothesis say so of all.
"""

import re
from typing import Any

import pytest

from proofs.evidence.coq_checker import statements
from specs import CLAIMS
from specs.claim import Bound, Claim
from tests.proofs.test_satisfiability import hypotheses

MIRRORED = [c for c in CLAIMS.values() if any(h.mirrors for h in c.assumes)]

#: Hypotheses of these claims that no theorem has, and why.
PYTHON_ALONE = {
    "P4.kantorovich": "the instance's critical point is the one that the theorem finds",
    "P4.conjugate": "of an error of 0 there is no share",
}


def name(hypothesis: str) -> str:
    """Return a predicate by its name, and a relation as Coq prints it, both without names of modules."""
    text = re.sub(r"\b[A-Z]\w*\.(?=\w)", "", hypothesis).replace("%nat", "")
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    if text.startswith("forall "):
        inner, conclusion = hypotheses(text)
        text = text[conclusion:] if inner else text.partition(", ")[2]
    return text if re.search(r"[<=]", text) else text.split()[0]


def assumed(bound: Bound[Any]) -> set[str]:
    return {name(h) for h in hypotheses(statements()[bound.theorem])[0]}


def linked(claim: Claim[Any]) -> list[Bound[Any]]:
    return [b for b in claim.bounds if b.theorem in statements()]


def test_a_name_is_a_predicate_or_a_relation() -> None:
    assert name("Newton.smooth n z (Vectors.distance n x z) M gradient hessian") == "smooth"
    assert name("(0 < key_count g)%nat") == "0 < key_count g"
    assert name("M * Vectors.distance n x z < mu") == "M * distance n x z < mu"
    assert (
        name("(forall i : nat, (i < n)%nat -> Newton.image n A s i = b i)") == "image n A s i = b i"
    )
    assert (
        name("(forall j : nat, Descent.gradient_step n tau g (x j) (x (S j)))") == "gradient_step"
    )


@pytest.mark.parametrize("claim", MIRRORED, ids=lambda c: c.id)
def test_coq_assumes_nothing_that_python_does_not(claim: Claim[Any]) -> None:
    mirrored = {m for h in claim.assumes for m in h.mirrors}
    for bound in linked(claim):
        assert assumed(bound) <= mirrored | set(bound.given)


@pytest.mark.parametrize("claim", MIRRORED, ids=lambda c: c.id)
def test_python_assumes_nothing_that_coq_does_not(claim: Claim[Any]) -> None:
    bounds = linked(claim)
    if len(bounds) < len(claim.bounds):
        pytest.skip("a theorem is not in the snapshot yet")
    in_coq = set().union(*map(assumed, bounds))
    for hypothesis in claim.assumes:
        assert set(hypothesis.mirrors) <= in_coq
        assert hypothesis.mirrors or claim.id in PYTHON_ALONE
    for bound in bounds:
        assert set(bound.given) <= assumed(bound)
