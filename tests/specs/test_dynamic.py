"""What the claims of P1 say beyond their bounds: exponents, scopes, and conditions that are needed."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from proofs.evidence.audit import decide_bound
from reference import Verdict, evaluate
from reference.hinted import boolean_product
from specs import CLAIMS
from specs.dynamic.hardness import HintedRead, decided, exact_reads, mistakes
from specs.dynamic.problem import same_key_changes
from specs.dynamic.rounding import Change, lazy_row

BOUNDS = {b.name: b for c in CLAIMS.values() for b in c.bounds}


def value(name, **parameters):
    """Enclose a bound at given parameters."""
    return evaluate(BOUNDS[name].expression, parameters, 256)


def at(name, **some):
    """Return a bound's expression with some arguments replaced."""
    bound = BOUNDS[name]
    return bound.expression.subs({a: some[a.name] for a in bound.arguments if a.name in some})


def lower(enclosure):
    return enclosure.bounds()[0].item()


def upper(enclosure):
    return enclosure.bounds()[1].item()


# ------------------------------------------------------------------------------------ exponents


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_classical_updates_cost_the_same_amortised_whatever_k_is(k):
    structure = same_key_changes(4, 1, 2, 8, k).lazy()
    before = structure.products
    structure.run(same_key_changes(4, 1, 2, 8, k).log)
    assert structure.products - before == 8 * upper(
        value("amortised_products", n=4, value_columns=2)
    )


def test_with_strassens_exponent_the_amortised_cost_falls_as_k_grows():
    costs = []
    for k in (2, 4, 8):
        changes = same_key_changes(8, 1, 7, 8, k)
        structure = changes.lazy(strassen=True)
        before = structure.products
        structure.run(changes.log)
        costs.append(structure.products - before)
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == 3


def test_a_column_costs_n_entries_and_a_sliced_one_no_more_than_an_unsliced_one():
    n, k = 7, 5
    column = upper(value("column_products", n=n, pending=k))
    assert column == n * upper(value("entry_products", pending=k))
    assert upper(value("sliced_column_products", n=n, rebuild_every=k)) == column


def test_the_worst_update_exceeds_the_amortised_one_by_k_minus_1_rows():
    n, k, v = 100, 7, 3
    worst = upper(value("sliced_update_products", n=n, rebuild_every=k, value_columns=v))
    amortised = upper(value("amortised_products", n=n, value_columns=v))
    assert worst - amortised == (k - 1) * (v + 1)


# -------------------------------------------------------------------------------------- hardness


def test_the_refuted_range_ends_at_ln_4_over_5_ln_10():
    """0.12041 is refuted, 0.12042 is not."""
    threshold = evaluate(sympy.log(4) / (5 * sympy.log(10)), {}, 256)
    claim = CLAIMS["P1.conjecture"]
    for tau, refuted in ((Fraction(12041, 10**5), True), (Fraction(12042, 10**5), False)):
        assert (upper(threshold) > tau) is refuted
        assert claim.refutation.reaches(replace(claim.witness(), tau=tau)) is refuted


# ------------------------------------------------------------------------------------- reduction


@given(n=st.integers(1, 256), data=st.data())
def test_one_over_the_number_of_ones_is_a_safe_step(n, data):
    """As P1.reduction says: while read_error (n + e)^2 <= 1/(4s) and n s <= 2^45."""
    ones = data.draw(st.integers(1, n * n))
    e = upper(evaluate(sympy.E, {}, 256))
    error = value(
        "reduction_error",
        n=n,
        step=Fraction(1, ones),
        ones=ones,
        read_error=1 / (4 * ones * (n + e) ** 2),
        unit_roundoff=Fraction(1, 2**53),
    )
    half = evaluate((sympy.exp(sympy.Symbol("c")) - 1) / 2, {"c": Fraction(1, ones)}, 256)
    assert upper(error) < lower(half)


def test_in_exact_arithmetic_the_error_is_zero():
    assert at("reduction_error", read_error=0, unit_roundoff=0) == 0


@pytest.mark.parametrize(("zero", "decision"), [(True, True), (False, False)])
def test_beyond_the_condition_reads_within_their_error_decide_wrongly(zero, decision):
    """Reads that err towards the other answer, by as much as g W < (e^c - 1)/2 does not allow."""
    n, c, error = 4, Fraction(1, 64), Fraction(1, 256)
    full, P = np.ones((n, n), bool), np.zeros((n, n), bool)
    P[0, 0] = True
    V = full.copy()
    V[0] = not zero
    i = HintedRead(full, V, P, 0, 0, c, 0.0, 0.0, error)
    read, reciprocal = exact_reads(i, 128).midpoint()
    push = 0.999 * float(error) * (1 if zero else -1)
    i = replace(i, read=read + push, reciprocal=reciprocal - push)
    assert CLAIMS["P1.reduction"].broken_hypotheses(i) == (
        "read_error W < 1 and g W < (e^c - 1)/2",
    )
    assert boolean_product(full, P, V)[0, 0] != decision
    assert decided(i, 128) is decision
    assert mistakes(i, decided(i, 128)) == 1
    assert decide_bound(BOUNDS["reduction_error"], i) is Verdict.WITHIN


# ------------------------------------------------------------------------------------- rounding


def came_and_went(distance, by_factors):
    """Give two keys, one of which gains e^distance in weight and loses it again, ten times."""
    query, keys = np.array([1.0, 0.0], np.float32), np.zeros((2, 2), np.float32)
    keys[0, 0] = -0.37  # a weight of many digits, most of which a large sum drops
    changes = [Change(1, 0, delta, -1.0) for delta in (distance, -distance)] * 10
    values = np.array([1.0, -1.0], np.float32)
    return lazy_row(query, keys, values, changes, by_factors=by_factors)


@pytest.mark.parametrize("by_factors", [False, True])
@pytest.mark.parametrize("distance", [0.3, 3.0, 9.7])
def test_what_came_and_went_leaves_an_error_within_the_bound(distance, by_factors):
    row = came_and_went(distance, by_factors)
    assert not CLAIMS["FP.dynamic"].broken_hypotheses(row)
    assert decide_bound(BOUNDS["dynamic_weight"], row) is Verdict.WITHIN
    assert decide_bound(BOUNDS["dynamic_output"], row) is Verdict.WITHIN


@pytest.mark.parametrize("by_factors", [False, True])
def test_a_row_is_of_the_tokens_as_they_were_changed(by_factors):
    """Catches: a change of a value, or of a key, that the row never carries out."""
    query, keys = np.array([1.0, 0.5], np.float32), np.zeros((2, 2), np.float32)
    values = np.array([1.0, -1.0], np.float32)
    changes = [Change(1, 0, 0.25, 3.0), Change(0, 1, -0.5, 2.0), Change(1, 1, 1.0, 5.0)]
    row = lazy_row(query, keys, values, changes, by_factors=by_factors)
    assert row.values.tolist() == [2.0, 5.0]
    assert row.keys.tolist() == [[0.0, -0.5], [0.25, 1.0]]
    assert values.tolist() == [1.0, -1.0]
    assert not keys.any()
    assert decide_bound(BOUNDS["dynamic_output"], row) is Verdict.WITHIN


def test_the_bound_needs_the_mass_and_not_the_present_weights_alone():
    row = came_and_went(9.7, True)
    present = replace(row, mass=Fraction(float(row.denominator)))
    assert decide_bound(BOUNDS["dynamic_output"], present) is Verdict.OUTSIDE


def renewed(query, steps):
    """Give one key whose weight is renewed by factors e^step, in float32."""
    query, keys = np.array([query], np.float32), np.zeros((1, 1), np.float32)
    changes = [Change(0, 0, float(step / query[0]), 1.0) for step in steps]
    return lazy_row(query, keys, np.ones(1, np.float32), changes, by_factors=True)


def test_the_bound_of_a_renewed_weight_needs_its_factors():
    """Three hundred small renewals err by more than one exponential may."""
    row = renewed(1.0, [0.003] * 300)
    assert decide_bound(BOUNDS["dynamic_weight"], row) is Verdict.WITHIN
    forgotten = replace(row, factors=0)
    assert decide_bound(BOUNDS["dynamic_weight"], forgotten) is Verdict.OUTSIDE


def test_the_bound_of_a_renewed_weight_needs_its_steps():
    """The product of a step just above 32 is rounded by as much as two exponentials may err."""
    rows = [renewed(query, [33.0]) for query in np.linspace(1, 2, 40)]
    decide = [decide_bound(BOUNDS["dynamic_weight"], row) for row in rows]
    assert set(decide) == {Verdict.WITHIN}
    forgotten = [replace(row, steps=Fraction(0)) for row in rows]
    assert Verdict.OUTSIDE in [decide_bound(BOUNDS["dynamic_weight"], row) for row in forgotten]


def test_where_the_weights_say_nothing_the_bound_is_twice_the_mass():
    """The logarithm of a weight may err by anything: an average stays an average."""
    mass_ratio, magnitude = (BOUNDS["dynamic_output"].arguments[k] for k in (1, 3))
    for weight_error in (1, 40, sympy.oo):
        least = at(
            "dynamic_output",
            weight_error=weight_error,
            roundings=0,
            underflow=0,
            smallest=0,
            unit_roundoff=0,
        )
        assert least == 2 * magnitude * mass_ratio
