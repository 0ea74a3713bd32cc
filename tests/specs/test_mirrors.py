"""What a claim assumes is what its theorems assume: no hypothesis on one side alone, but where said why.

That a hypothesis of Python stands for a premise of Coq is said by name (docs/architecture.md).
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import proofs
from proofs.evidence.coq_checker import statements
from specs import CLAIMS
from specs.claim import Bound, Claim
from tests.proofs.test_satisfiability import LINKED, at_top, hypotheses

_PREMISES = tomllib.loads((Path(proofs.__path__[0]) / "premises.toml").read_text())

#: Premises that every instance of every claim satisfies.
ALWAYS = frozenset(_PREMISES.pop("always"))

#: Premises of single theorems that no instance can break, by reason and theorem.
GIVEN: dict[str, dict[str, list[str]]] = _PREMISES

PROVED = [c for c in CLAIMS.values() if any(b.theorem in statements() for b in c.bounds)]


def named(premise: str) -> list[str]:
    """Name what a premise concludes: a predicate by its name, a relation as Coq prints it.

    Both are without names of modules and scopes, and each part of a conjunction for itself.
    """
    text = re.sub(r"\b[A-Z]\w*\.(?=\w)|%\w+", "", premise).strip()
    while text.startswith("(") and at_top(text, 0, ")") == len(text) - 1:
        text = text[1:-1]
    _, conclusion = hypotheses(text)
    if conclusion:
        return named(text[conclusion:])
    for opening, closing in (("forall ", ","), ("let ", " in ")):
        if text.startswith(opening):
            return named(text[at_top(text, 0, closing) + len(closing) :])
    if re.match(r"exists |~ |if ", text):
        return [text]
    conjunction = at_top(text, 0, " /\\ ")
    if conjunction >= 0:
        return named(text[:conjunction]) + named(text[conjunction + 4 :])
    return [text if at_top(text, 0, "<", "=") >= 0 else text.split()[0]]


def premises(theorem: str) -> set[str]:
    """Return the names of a theorem's premises, but for those that every instance satisfies.

    The second premise of one name is another one: it has (2).
    """
    found: list[str] = []
    for premise in hypotheses(statements()[theorem])[0]:
        found += [name for name in named(premise) if name not in ALWAYS]
    return {
        name if found.index(name) == at else f"{name} ({found[: at + 1].count(name)})"
        for at, name in enumerate(found)
    }


def given(theorem: str) -> list[str]:
    return [premise for reason in GIVEN.values() for premise in reason.get(theorem, [])]


def linked(claim: Claim[Any]) -> list[Bound[Any]]:
    return [b for b in claim.bounds if b.theorem in statements()]


def test_a_name_is_a_predicate_or_a_relation() -> None:
    assert named("Newton.smooth n z (Vectors.distance n x z) M gradient hessian") == ["smooth"]
    assert named("(0 < Regression.key_count g)%nat") == ["0 < key_count g"]
    assert named("Rounding.computes u lost (fun l : nat => q l * k l) t s") == ["computes"]
    assert named("M * Vectors.distance n x z < mu") == ["M * distance n x z < mu"]
    assert named("forall i : nat, (i < n)%nat -> Newton.image n A s i = b i") == [
        "image n A s i = b i"
    ]
    assert named("forall j : nat, 0 < rho j /\\ (Heap.sparse n k (r j))") == ["0 < rho j", "sparse"]
    assert named("(let out := f x in Rabs (out - 1) <= E)") == ["Rabs (out - 1) <= E"]
    assert named("(length (ball k center) <= volume)%nat") == ["length (ball k center) <= volume"]


def test_premises_of_one_name_are_told_apart() -> None:
    assert {"in_ball", "in_ball (2)", "in_ball (3)"} <= premises("p4_hessian_lipschitz")
    assert "in_ball (4)" not in premises("p4_hessian_lipschitz")


@pytest.mark.parametrize("claim", PROVED, ids=lambda c: c.id)
def test_coq_assumes_nothing_that_python_does_not(claim: Claim[Any]) -> None:
    mirrored = {m for h in claim.assumes for m in h.mirrors}
    for bound in linked(claim):
        assert premises(bound.theorem) <= mirrored.union(given(bound.theorem))


@pytest.mark.parametrize("claim", PROVED, ids=lambda c: c.id)
def test_python_assumes_nothing_that_coq_does_not(claim: Claim[Any]) -> None:
    if len(linked(claim)) < len([b for b in claim.bounds if b.theorem]):
        pytest.skip("a theorem is not in the snapshot yet")
    in_coq = set().union(*(premises(b.theorem) for b in linked(claim)))
    for hypothesis in claim.assumes:
        assert bool(in_coq.intersection(hypothesis.mirrors)) != bool(hypothesis.alone)


def test_what_a_hypothesis_stands_for_is_a_premise_of_some_claim_that_has_it() -> None:
    in_coq: dict[int, set[str]] = {}
    for claim in PROVED:
        for hypothesis in claim.assumes:
            of_claim = (premises(b.theorem) for b in linked(claim))
            in_coq.setdefault(id(hypothesis), set()).update(*of_claim)
    for claim in PROVED:
        for hypothesis in claim.assumes:
            assert set(hypothesis.mirrors) <= in_coq[id(hypothesis)]


def test_what_is_given_is_a_premise_for_which_the_claim_has_no_hypothesis() -> None:
    theorems = {t for reason in GIVEN.values() for t in reason}
    mirrored: dict[str, set[str]] = {}
    for claim in PROVED:
        for bound in linked(claim):
            mirrored.setdefault(bound.theorem, set()).update(*(h.mirrors for h in claim.assumes))
    assert theorems <= LINKED
    for theorem in theorems & mirrored.keys():
        found = given(theorem)
        assert len(found) == len(set(found))
        assert set(found) <= premises(theorem) - mirrored[theorem]


@pytest.mark.parametrize(
    ("claim", "breaking"),
    [
        # 0 < c, 0 < a i, 0 <= M, spectral_bound, norm ... <= e i: signs that squares and sizes hide.
        ("FP.scores", lambda i: replace(i, softcap=-i.softcap)),
        ("FP.gradient", lambda i: replace(i, softcap=-i.softcap)),
        ("Q.tv_hard", lambda i: replace(i, numbers=(0, 4, 5))),
        ("Q.tv_hard", lambda i: replace(i, numbers=(-1, 4, 6))),
        ("P4.newton", lambda i: replace(i, lipschitz=-i.lipschitz)),
        ("P4.descent", lambda i: replace(i, cubic=replace(i.cubic, lipschitz=-i.cubic.lipschitz))),
        ("FP.drop", lambda i: replace(i, radius=-i.radius)),
        ("P4.local", lambda i: replace(i, spectral_norm=-i.spectral_norm)),
        ("L.leverage", lambda i: replace(i, errors=tuple(-e for e in i.errors))),
    ],
)
def test_an_instance_that_a_premise_excludes_breaks_a_hypothesis(
    claim: str, breaking: Callable[[Any], Any]
) -> None:
    assert CLAIMS[claim].broken_hypotheses(breaking(CLAIMS[claim].witness()))


def test_few_roundings_are_asked_where_the_theorem_asks_them() -> None:
    value = CLAIMS["FP.polynomial"].witness()
    many = type("Many", (type(value),), {"roundings": 2**52})(value.x, value.coefficients)
    assert CLAIMS["FP.polynomial"].broken_hypotheses(many) == ("(4 degree + 16) u <= 1/4",)
    wide = replace(CLAIMS["P3.gram"].witness(), X=np.broadcast_to(np.float32(1), (1, 2**24)))
    assert not CLAIMS["P3.gram"].assumes[-1].holds(wide)


def test_every_premise_of_all_is_one_of_some_theorem() -> None:
    found = {
        name
        for claim in PROVED
        for bound in linked(claim)
        for premise in hypotheses(statements()[bound.theorem])[0]
        for name in named(premise)
    }
    assert found >= ALWAYS
