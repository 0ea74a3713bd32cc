"""A verdict is about a hypothesis set: no witness decides it, and each region ends where it is said to."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from types import FrameType
from typing import Any

import numpy as np
import pytest
import sympy

from proofs.evidence.audit import decide_bound, find, instances, judge, lies_in, observe
from reference import Verdict
from specs import CLAIMS
from specs.claim import Bound, Claim, Status
from specs.dynamic.hardness import HintedRead
from specs.dynamic.problem import same_key_changes
from specs.ledger import ledger
from specs.lifting import lift
from specs.sparsification.heavy_keys import Keys
from specs.streaming.stream import P2_COLUMNS, P2_DOUBLINGS, Growing, Sketches
from specs.symbols import n, pending

BOUNDS = [pytest.param(c, b, id=b.name) for c in CLAIMS.values() for b in c.bounds]

#: How many witnesses the nightly test samples of claims whose enclosures are dear, where every other claim
#: has a thousand; the quick test leaves the dearest out.
DEAR = {
    **dict.fromkeys(
        (
            *("P1.update", "P1.query", "P1.slots", "P1.correct", "P1.worstcase", "P1.space"),
            *("P1.tokens", "P1.exponentials", "P1.conjecture", "P1.reduction", "P1.blocks"),
            *(
                "P1.kept",
                "P1.pair",
                "P1.hardness",
                "P1.optimal",
                "P1.entries",
                "P1.columns",
                "P2.floor",
            ),
            *("P2.cost", "P2.onepass", "P2.order", "P2.recentre", "P2.storage", "P2.quadratic"),
            *("P2.compressibility", "FP.moments", "FP.polynomial", "P3.goal", "P3.loewner"),
            *("P3.rows", "P3.gram", "P3.entries", "R.drop", "P4.kantorovich", "P4.newton"),
        ),
        250,
    ),
    "P2.poly": 50,
    "P3.composed": 50,
    "P3.randomised": 50,
    "P3.sketches": 50,
    "L.powers": 100,
    "L.leverage": 100,
    "P3.certificate": 50,
    "P3.sketch": 50,
    "P3.jl": 50,
    "FP.softmax": 50,
    "P4.lipschitz": 50,
    "FP.regression": 50,
    "P4.cost": 100,
    "P4.local": 100,
    "P2.recovery": 100,
    "FP.dynamic": 100,
    "P3.deterministic": 100,
    "P4.psd": 100,
    "FP.drop": 100,
    "P2.kappa": 100,
    "P2.minimax": 100,
    "P2.space": 100,
    "P2.error": 100,
    "P4.nearby": 100,
    "R.expansion": 100,
}


def _verdicts_change(claim: Claim[Any], pool: int, samples: int) -> list[str]:
    """Judge a claim with each of so many samples for witness; return what differs from the ledger."""
    others = [observe(claim, *named) for named in instances(claim, pool)[1:]]
    recorded = ledger().records[claim.id].verdict
    rng, differs = np.random.default_rng(3), []
    for k in range(samples):
        witness = observe(claim, f"witness {k}", claim.sample(rng), claim.bounds)
        verdict, faults = judge(claim, [witness, *others])
        if verdict is not recorded or faults:
            differs.append(f"{k}: {verdict}. {faults}")
    return differs


@pytest.mark.parametrize(
    "claim", [c for c in CLAIMS.values() if DEAR.get(c.id, 1000) > 100], ids=lambda c: c.id
)
def test_no_verdict_changes_with_the_witness(claim: Claim[Any]) -> None:
    assert _verdicts_change(claim, 4, 5) == []


@pytest.mark.nightly
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_no_verdict_changes_with_any_of_many_witnesses(claim: Claim[Any]) -> None:
    assert _verdicts_change(claim, 25, DEAR.get(claim.id, 1000)) == []


HEAVY = CLAIMS["L.heavy"].bounds[0]

#: Four keys of leverage 3/4 each: 4 = 3/(3/4), whose quotient no binary number is.
SIMPLEX = Keys(np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]), Fraction(3, 4))


@pytest.mark.parametrize(
    "attains",
    [SIMPLEX, Keys(np.eye(3), Fraction(1)), Keys(np.vstack([np.eye(3), np.zeros(3)]), Fraction(1))],
    ids=["a simplex", "a basis", "a basis and zero"],
)
def test_a_count_that_attains_its_bound_for_witness_changes_no_verdict(attains: Keys) -> None:
    assert decide_bound(HEAVY, attains) is Verdict.WITHIN
    for less in (1, Fraction(1, 10**500)):  # which 1280 bits do not tell from 0
        smaller = replace(HEAVY, expression=HEAVY.expression - sympy.Rational(less))
        assert decide_bound(smaller, attains) is Verdict.OUTSIDE
    found = find(replace(CLAIMS["L.heavy"], witness=lambda: attains), _proved)
    assert (found.verdict, found.faults) == (ledger().records["L.heavy"].verdict, ())


def test_what_attains_a_bound_of_numbers_that_are_not_told_exactly_is_not_decided() -> None:
    enclosed = replace(
        HEAVY,
        parameters=lambda i, bits: (
            HEAVY.parameters(i, bits) | {"rank": lift(Fraction(9), bits).sqrt()}
        ),
    )
    assert decide_bound(enclosed, SIMPLEX) is Verdict.UNDECIDED


def _proved(theorem: str, bound: str, relation: Any) -> bool:
    return True


def test_a_larger_exponent_for_witness_leaves_the_conjecture_refuted_below_and_open_above() -> None:
    claim = CLAIMS["P1.conjecture"]
    assert claim.refutation is not None
    _, above = claim.refutation.edges()
    half = replace(above, tau=Fraction(1, 2))
    found = find(replace(claim, witness=lambda: half), _proved)
    assert found.verdict is Status.HYPOTHESIS_REFUTED
    assert found.refuted_where == "5*tau*log(10) < log(4)"
    assert found.faults == ()


def test_many_columns_for_witness_leave_the_error_of_p2_vacuous_where_memory_is_larger() -> None:
    claim = CLAIMS["P2.error"]
    rng = np.random.default_rng(0)
    Q, K, V = (rng.uniform(-0.2, 0.2, (size, 4)) for size in (1, 64, 64))
    wide = Growing(Q, K, V, 6, Fraction(1))
    numbers = claim.bounds[1]
    assert lies_in(numbers.vacuous_where, numbers.parameters, wide)
    found = find(replace(claim, witness=lambda: wide), _proved)
    assert found.verdict is Status.HOLDS
    assert found.faults == ()


def test_the_sentences_of_p2_are_witnessed_at_one_degree() -> None:
    error, space = CLAIMS["P2.error"].witness(), CLAIMS["P2.space"].witness()
    assert isinstance(error, Growing)
    assert isinstance(space, Sketches)
    assert error.doublings == space.degree == P2_DOUBLINGS
    assert len(error.K) == space.n
    assert error.K.shape[1] == space.d == P2_COLUMNS


# -------------------------------------------------------------------------------------- regions


def _query(**changed: Any) -> tuple[str, ...]:
    claim = CLAIMS["P1.query"]
    entry = replace(claim.bounds[0], **changed)
    return find(replace(claim, bounds=(entry,)), _proved).faults


def test_a_region_that_is_too_large_is_a_fault() -> None:
    faults = _query(vacuous_where=2 * pending >= n - 1)
    assert any("is not met by the cheapest answer" in fault for fault in faults)


def test_a_region_that_is_too_small_is_a_fault() -> None:
    faults = _query(vacuous_where=2 * pending >= n + 1)
    assert any("is met by the cheapest answer at edge 0" in fault for fault in faults)


@pytest.mark.parametrize("edges", [(), (3, 2), (2, 2)], ids=["none", "reversed", "both inside"])
def test_edges_that_are_not_on_both_sides_are_a_fault(edges: tuple[int, ...]) -> None:
    given = tuple(same_key_changes(tokens, 1, 2, 1, 4) for tokens in edges)
    faults = _query(edges=lambda: given)
    assert any("must lie inside and outside" in fault for fault in faults)


def test_a_bound_said_to_be_vacuous_everywhere_is_a_fault_where_it_is_not() -> None:
    faults = _query(vacuous_where=sympy.true)
    assert any("is not met by the cheapest answer" in fault for fault in faults)


def test_a_refutation_that_reaches_further_than_its_region_is_a_fault() -> None:
    claim = CLAIMS["P1.conjecture"]
    assert claim.refutation is not None
    further = replace(claim.refutation, reaches=lambda i: i.tau < Fraction(1, 2))
    faults = find(replace(claim, refutation=further), _proved).faults
    assert any("reaches edge 1 of the refutation" in fault for fault in faults)


# ------------------------------------------------------------------------------------- quantities


def _called(run: Callable[[], object]) -> set[tuple[str, str]]:
    """Return module and name of every function that was called."""
    calls = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls.add((frame.f_globals.get("__name__", ""), frame.f_code.co_name))

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


#: Quantities that evaluate an expression, and what for.
EVALUATED = {
    "reduction_mistakes": "the threshold by which an answer is read, not the bound",
    "trained_loss": "how near a strict local minimum is (P4.kantorovich), and its curvature, not the bound",
}


def _forget() -> None:
    """Empty the caches of the claims: what an earlier test has left there would not be called again."""
    for name, module in list(sys.modules.items()):
        if name.startswith("specs."):
            for value in vars(module).values():
                getattr(value, "cache_clear", lambda: None)()


@pytest.mark.parametrize(("claim", "bound"), BOUNDS)
def test_no_quantity_is_a_formula(claim: Claim[Any], bound: Bound[Any]) -> None:
    _forget()
    calls = _called(lambda: bound.quantity(claim.witness(), 256))
    assert (("reference.arithmetic.expression", "evaluate") in calls) == (bound.name in EVALUATED)


#: Quantities that are a size, where it is the other side that is found on the instance.
SIZES = {
    "cache_numbers": "the numbers that outputs reveal, a rank",
    "onepass_states": "the streams that outputs tell apart, one by one",
    "stated_exponent": "a published number, which nothing here computes",
    "multiplication_exponent": "a published number, which nothing here computes",
    "floor_index_states": "the words of bits that outputs spell out one by one",
}

#: Where numbers are enclosed, which is not yet to find something.
ARITHMETIC = {"balls", "enclosure", "exact_numbers", "exponential", "elementary", "expression"}


@pytest.mark.parametrize(("claim", "bound"), BOUNDS)
def test_every_quantity_is_found_not_read_off(claim: Claim[Any], bound: Bound[Any]) -> None:
    instance = claim.witness()
    found = {
        (module, name)
        for module, name in _called(lambda: bound.quantity(instance, 256))
        if module.partition(".")[0] in ("reference", "specs")
        and module.rpartition(".")[2] not in ARITHMETIC
        and name not in ("<lambda>", "lift")
        and not isinstance(getattr(type(instance), name, None), property)
    }
    assert bool(found) == (bound.name not in SIZES)


def _changed(value: Any) -> Iterator[Any]:
    """Yield a value with other data of the same sizes."""
    if isinstance(value, np.ndarray):
        yield from (value[::-1].copy(), value[..., ::-1].copy(), np.zeros_like(value))
    elif isinstance(value, tuple):
        yield value[::-1]
        if value and isinstance(value[0], Fraction):
            yield (value[0] / 2, *value[1:])
        if value and isinstance(value[0], int):
            yield (value[0] + 1, *value[1:])
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            for other in _changed(getattr(value, field.name)):
                yield replace(value, **{field.name: other})


def _enclosed(bound: Bound[Any], instance: Any) -> tuple[Fraction, Fraction]:
    low, high = bound.quantity(instance, 256).bounds()
    return low.item(), high.item()


@pytest.mark.parametrize(
    ("claim", "bound"), [p for p in BOUNDS if not isinstance(p.values[0].witness(), HintedRead)]
)
def test_a_quantity_that_is_no_count_changes_with_the_data(
    claim: Claim[Any], bound: Bound[Any]
) -> None:
    instance = claim.sample(np.random.default_rng(1))
    before = _enclosed(bound, instance)
    if not list(_changed(instance)):
        return  # numbers only, of which the quantity is a function
    counted = before[0] == before[1] and before[0].denominator == 1
    if counted or bound.name in ("amortised_products", "fast_amortised_products"):
        return  # a count, of what runs on sizes, or a mean of counts
    for other in _changed(instance):
        try:
            if _enclosed(bound, other) != before:
                return
        except (ArithmeticError, AttributeError, IndexError, ValueError):
            return  # it was read, and refused
    pytest.fail(f"{bound.name} does not read {sorted(f.name for f in fields(instance))}")
