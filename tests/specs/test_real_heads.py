"""R: certificates against every list of errors, and each expansion against its definition."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.core.bounds.real_heads import certify_failure
from proofs.evidence.audit import decide_bound
from reference import Enclosure, Verdict, attention
from reference.models.clustered_query import ClusteredQuery
from specs import CLAIMS
from specs.real_heads.expansion import Clusters, Drawing, Dropped

(FAILURE,) = CLAIMS["R.certify"].bounds
(BALANCE,) = CLAIMS["R.balance"].bounds
(JENSEN,) = CLAIMS["R.jensen"].bounds
REMAINDER, FIRST, ZEROTH = CLAIMS["R.expansion"].bounds
MASS, OUTPUT = CLAIMS["R.drop"].bounds


@given(
    errors=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    rows=st.integers(1, 5),
    data=st.data(),
    sixteenths=st.integers(1, 15),
)
def test_no_list_of_errors_makes_the_certificate_fail_more_often(errors, rows, data, sixteenths):
    skipped = data.draw(st.integers(0, rows - 1))
    i = Drawing(tuple(errors), rows, skipped, Fraction(sixteenths, 16))
    assert decide_bound(FAILURE, i) is not Verdict.OUTSIDE


def test_skipping_one_error_more_is_outside_the_bound():
    i = FAILURE.extremal()
    more = replace(
        FAILURE, parameters=lambda i, bits: {**FAILURE.parameters(i, bits), "skipped": 0}
    )
    assert decide_bound(more, i) is Verdict.OUTSIDE


def test_two_thousand_and_sixty_two_rows_are_what_one_in_a_billion_takes():
    assert certify_failure(2062, 0, 0.01) <= 1e-9 < certify_failure(2061, 0, 0.01)
    assert certify_failure(4096, 8, 0.01) <= 1e-9 < certify_failure(4096, 9, 0.01)


def clustered(seed, n, d, clusters):
    rng = np.random.default_rng(seed)
    return Clusters(
        rng.standard_normal(d),
        rng.standard_normal(d) / 2,
        rng.standard_normal((n, d)),
        rng.standard_normal(n),
        tuple(int(b) for b in rng.integers(0, clusters, n)),
    )


@given(
    seed=st.integers(0, 10**6), n=st.integers(1, 6), d=st.integers(1, 3), clusters=st.integers(1, 4)
)
def test_clusters_of_any_shape_are_within_every_bound(seed, n, d, clusters):
    """Single keys and single dimensions included, where some bounds are attained."""
    i = clustered(seed, n, d, clusters)
    for bound in (JENSEN, REMAINDER, FIRST, ZEROTH):
        assert decide_bound(bound, i) is not Verdict.OUTSIDE


def test_a_query_at_its_centre_is_within_every_bound():
    i = replace(CLAIMS["R.expansion"].witness(), step=np.zeros(2))
    assert not CLAIMS["R.expansion"].broken_hypotheses(i)
    for bound in (JENSEN, REMAINDER, FIRST, ZEROTH):
        assert decide_bound(bound, i) is not Verdict.OUTSIDE


def test_keys_that_are_their_own_means_make_every_expansion_exact():
    i = clustered(3, 5, 2, 2)
    # Binary fractions, so that the sum of centre and step is exact.
    i = replace(i, centre=np.array([0.75, -0.5]), step=np.array([0.25, 0.125]))
    c = replace(i, labels=tuple(range(5))).at(256)
    truth = attention((i.centre + i.step)[None], i.keys, i.values[:, None], precision=256)[0, 0]
    for found in (c.output, c.expansion(0), c.expansion(1)):
        assert overlap(found, truth)
    assert overlap(c.denominator, c.exact_denominator)
    assert not overlap(i.at(256).expansion(0), truth)
    assert not overlap(i.at(256).expansion(1), truth)


def overlap(first, second):
    (a, b), (c, d) = first.bounds(), second.bounds()
    return a.item() <= d.item() and c.item() <= b.item()


@pytest.mark.parametrize("bound", [JENSEN, FIRST, ZEROTH], ids=lambda b: b.name)
def test_an_expansion_around_another_point_is_outside(bound):
    """Jensen, and the terms of first order that cancel, need the weighted mean."""
    i = CLAIMS["R.jensen"].witness()
    allowed = bound.value(i, 256)

    class AroundAnotherPoint(ClusteredQuery):
        means = Enclosure.exact(i.keys.max(axis=0) * np.ones((len(i.keys), 1)), 256)

    class Mistaken(Clusters):
        def at(self, bits):
            return AroundAnotherPoint(i.centre, i.step, i.keys, i.values, i.labels, bits)

    mistaken = Mistaken(i.centre, i.step, i.keys, i.values, i.labels)
    assert bound.quantity(mistaken, 256).bounds()[0].item() > allowed.bounds()[1].item()


@pytest.mark.parametrize("bound", [MASS, OUTPUT], ids=lambda b: b.name)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 6), d=st.integers(1, 3))
def test_any_dropped_keys_are_within_the_bound(bound, seed, n, d):
    c = clustered(seed, n, d, 1)
    drawn = np.random.default_rng(seed).random(n - 2) < 0.5
    i = Dropped(c.centre, c.step, c.keys, c.values, (True, False, *drawn.tolist()))
    assert decide_bound(bound, i) is Verdict.WITHIN
    for past in range(1, n):
        assert decide_bound(bound, replace(i, past=past)) is Verdict.WITHIN


def test_a_mean_of_other_keys_than_are_summed_is_outside_the_bound():
    """A heavy key beyond the past would hide what is dropped, were it in the sum."""
    i = Dropped(
        np.array([1.0]),
        np.array([-1.0]),
        np.array([[0.0], [-1.0], [9.0]]),
        np.array([0.0, 1.0, 0.0]),
        (False, True, False),
        past=1,
    )
    assert decide_bound(MASS, i) is Verdict.WITHIN
    mistaken = i.at(256).weights.sum().bounds()[0].item()
    dropped = MASS.parameters(i, 256)["dropped_weight"].bounds()[1].item()
    assert MASS.quantity(i, 256).bounds()[0].item() > dropped / mistaken


def test_dropping_by_weights_at_the_centre_alone_is_outside_the_bound():
    """Without e^{|δ||k-κ|} the mass at the centre is taken for the mass at the query."""
    i = MASS.extremal()
    at_centre = i.at(256).weights
    forgetful = replace(
        MASS,
        parameters=lambda i, bits: {
            **MASS.parameters(i, bits),
            "dropped_weight": at_centre[np.array(i.dropped)].sum(),
        },
    )
    assert decide_bound(forgetful, i) is Verdict.OUTSIDE


def test_an_inverse_that_is_not_transposed_is_outside_unless_its_defect_is_counted():
    i = CLAIMS["R.balance"].witness()
    wrong = replace(i, for_keys=i.for_keys + np.array([[0, 0.5], [0, 0]]))
    assert decide_bound(BALANCE, wrong) is Verdict.WITHIN
    counted = replace(BALANCE, parameters=lambda _, bits: BALANCE.parameters(i, bits))
    assert decide_bound(counted, wrong) is Verdict.OUTSIDE
