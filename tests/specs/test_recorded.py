"""Evidence is what was recorded when somebody last looked at it: ``python -m tests.specs.recorded``."""

import json
from typing import Any

import pytest

from specs import CLAIMS
from specs.claim import Claim
from tests.specs.recorded import (
    FILE,
    agree,
    broken,
    changed,
    declared,
    instances,
    rounds,
    starts,
    values,
)

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))

EVERY = pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)


def test_every_claim_is_recorded() -> None:
    assert [*RECORDED] == [*CLAIMS]


@EVERY
def test_a_bound_says_of_itself_what_was_recorded(claim: Claim[Any]) -> None:
    assert {b.name: declared(b) for b in claim.bounds} == RECORDED[claim.id]["declared"]


@EVERY
def test_instances_have_the_values_that_were_recorded(claim: Claim[Any]) -> None:
    recorded = RECORDED[claim.id]["values"]
    seen = []
    for name, instance, bounds in instances(claim):
        seen.append(name)
        found = values(claim, name, instance, bounds)
        assert found.keys() == recorded[name].keys()
        for what, those in found.items():
            for one, other in zip(those, recorded[name][what], strict=True):
                same = agree(one, other, rounded=rounds(claim.id))
                assert same, (name, what, those, recorded[name][what])
    assert seen == [*recorded]


@EVERY
def test_hypotheses_break_where_was_recorded(claim: Claim[Any]) -> None:
    """Catches: a comparison that leaves its edge out, or takes it in; a condition that is gone."""
    bases = starts(claim)
    for base, path, moved, those in RECORDED[claim.id]["edges"]:
        way = tuple(tuple(step) if isinstance(step, list) else step for step in path)
        found = broken(claim, changed(bases[base], way, moved))
        assert found == tuple(those), (base, way, moved)
