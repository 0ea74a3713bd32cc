"""What the search for broken bounds reaches: `python -m tests.proofs.search_figures planted|cold [NAME ...]`.

``planted``: of the false claims of ``planted.py``, which it breaks, and in how much of the processor's time.
``cold``: of the bounds that are said to be attained, approached or met to 0.999 and more, which it confirms
from samples alone, without the claim's witness or extremal instance.  Names are claims, or planted ones.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from time import process_time
from typing import Any

from proofs.algebra.falsify import Find, falsify
from proofs.evidence.audit import APPROACHED, ATTAINED
from proofs.evidence.finds import unconfirmed
from specs import CLAIMS
from specs.claim import Bound
from specs.ledger import ledger
from tests.proofs.planted import PLANTED

#: Instances for each planted claim and, from each of so many seeds, for each sharp bound.
NIGHTLY, COLD, SEEDS = 2000, 6000, 3

#: The processor's seconds for each sharp bound and seed.
SECONDS = 12.0

#: What confirms a bound that Coq proves to be attained or approached.
NEAR = 0.999


def broken(name: str) -> Find:
    """Return what the search finds about a planted claim."""
    (found,) = falsify(PLANTED[name](), budget=NIGHTLY)
    return found


def wanted(bound: Bound[Any], said: str) -> float | None:
    """Return the part of a bound that confirms what the ledger says; None where that is below 0.999."""
    if said == ATTAINED and not bound.attained:
        return 1 - 1e-12  # of counts
    if said in (ATTAINED, APPROACHED):
        return NEAR
    return float(said) if float(said) >= NEAR else None


def sharp(id_: str) -> Iterator[tuple[Bound[Any], float]]:
    """Yield the bounds of a claim that are said to be sharp, and what confirms each."""
    for bound in CLAIMS[id_].bounds:
        need = wanted(bound, (ledger().records[id_].sharpness or {})[bound.name])
        if need is not None:
            yield bound, need


def from_cold(id_: str, bound: Bound[Any], need: float) -> Find:
    """Search for what confirms a bound, from samples alone, with one seed after another."""
    alone = replace(CLAIMS[id_], bounds=(bound,))
    best = None
    for seed in range(SEEDS):
        (found,) = falsify(
            alone, seed=seed, budget=COLD, seconds=SECONDS, witness=False, enough=need
        )
        best = found if best is None or found.sharpness > best.sharpness else best
        if found.broken or found.sharpness >= need:
            return found
    assert best is not None
    return best


def main(what: str, names: list[str]) -> None:
    """Print the figures."""
    begun, good, every = process_time(), 0, 0
    if what == "planted":
        for name in names or PLANTED:
            found = broken(name)
            good, every = good + found.broken, every + 1
            seen = "broken" if found.broken else f"NOT BROKEN, {found.sharpness:.4f} of the bound"
            print(f"{name}: {seen}; {found.spent} instances", flush=True)
        spent = f" in {process_time() - begun:.0f} s of the processor"
        print(f"{good} of {every} planted false claims broken{spent}")
        return
    for id_ in names or CLAIMS:
        for bound, need in sharp(id_):
            found = from_cold(id_, bound, need)
            confirmed = found.sharpness >= need  # what is refuted is broken, too
            good, every = good + confirmed, every + 1
            if not confirmed:
                why = unconfirmed().get(bound.name, "no reason is known")
                print(f"{id_} {bound.name}: {found.sharpness:.6f} of {need:g}; {why}", flush=True)
    print(f"{good} of {every} sharp bounds confirmed from a cold start")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
