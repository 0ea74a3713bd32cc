"""P3.sketch on what osnap computes, dense and sparse, and P3.composed at each of its two ends."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from fastpath.sparsification.feature_matrix import feature_matrix
from fastpath.sparsification.sketches import osnap
from proofs.evidence.audit import decide_bound
from reference import Verdict
from reference.arithmetic.gram import gram
from specs import CLAIMS
from specs.sparsification.sketch import Sketch, least, within

(SLACK,) = CLAIMS["P3.sketch"].bounds

FORMATS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "CSR": sp.csr_array,
    "CSC": sp.csc_array,
}


def sketch_of(X, given_x, blocks, buckets, seed):
    """Return what osnap computes, with the signs and places that it drew: those of the identity."""
    width = blocks * buckets

    def computed(matrix):
        Y = osnap(feature_matrix(matrix), width, np.random.default_rng(seed), sparsity=blocks)
        return np.asarray(Y).reshape(-1, blocks, buckets)

    identity = np.eye(X.shape[1])
    drawn = computed(type(given_x)(identity) if sp.issparse(given_x) else identity)
    places = abs(drawn).argmax(axis=2).T
    signs = np.sign(drawn.sum(axis=2)).T.astype(int)
    i = Sketch(X, signs, places, computed(given_x), Fraction(0))
    G, H = gram(X), i.exact_gram
    epsilon = least(lambda epsilon: within(G, H, epsilon), 10).bounds()[1].item()
    return replace(i, epsilon=Fraction(epsilon))


@pytest.mark.parametrize("given_as", FORMATS)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 4),
    columns=st.integers(1, 20),
    blocks=st.integers(1, 3),
    buckets=st.integers(1, 5),
    single=st.booleans(),
)
def test_what_osnap_computes_is_within_the_slack(
    given_as, seed, rows, columns, blocks, buckets, single
):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.8)
    X = X.astype(np.float32 if single else np.float64)
    i = sketch_of(X, FORMATS[given_as](X), blocks, buckets, seed)
    assert CLAIMS["P3.sketch"].broken_hypotheses(i) == ()
    assert decide_bound(SLACK, i) is Verdict.WITHIN


def test_a_sketch_that_forgets_one_entry_is_outside_the_slack():
    X = np.random.default_rng(0).standard_normal((3, 12))
    i = sketch_of(X, X, 2, 30, 1)
    forgetful = X.copy()
    forgetful[0, 5] = 0
    wrong = sketch_of(forgetful, forgetful, 2, 30, 1).computed
    assert decide_bound(SLACK, replace(i, computed=wrong)) is Verdict.OUTSIDE


@pytest.mark.parametrize("name", ["epsilon", "slack", "second_epsilon", "second_slack"])
def test_every_part_of_a_chain_is_used_up_by_the_one_that_scales(name):
    """With any of the four errors a little smaller, the chain at the bound breaks a hypothesis."""
    claim = CLAIMS["P3.composed"]
    i = claim.bounds[0].extremal()
    assert claim.broken_hypotheses(i) == ()
    smaller = replace(i, **{name: getattr(i, name) - Fraction(1, 2**40)})
    assert claim.broken_hypotheses(smaller)
