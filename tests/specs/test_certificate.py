"""P3.certificate on LAPACK's factorisations and our own: what it allows holds, and a wrong L is caught."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.evidence.audit import decide_bound
from reference import Verdict, loewner_verdict
from reference.arithmetic.gram import gram, semidefinite
from specs import CLAIMS
from specs.sparsification.certificate import factorised, lapack_cholesky, sequential_cholesky

RESIDUAL, SHIFT = CLAIMS["P3.certificate"].bounds

#: X with more columns than rows, or fewer; one row; repeated rows; rows that nearly coincide.
KINDS = {
    "wide": lambda rng: rng.standard_normal((6, 12)),
    "tall": lambda rng: rng.standard_normal((6, 3)),
    "one row": lambda rng: rng.standard_normal((1, 5)),
    "repeated": lambda rng: np.repeat(rng.standard_normal((3, 8)), 2, axis=0),
    "coherent": lambda rng: 1 + 1e-4 * rng.standard_normal((5, 9)),
}


def factorisation(kind, seed, dtype, sign, cholesky, slack=2.0**-6):
    rng = np.random.default_rng(seed)
    X = KINDS[kind](rng).astype(dtype)
    Y = X * (1 + 0.1 * rng.uniform(-1, 1, X.shape[1])).astype(dtype)
    return factorised(X, Y, 1 + sign / 4, sign=sign, slack=slack, cholesky=cholesky)


def shift_allowed(i):
    """Return at most the bound, which makes the claim's inequality stricter."""
    return SHIFT.value(i, 128).bounds()[0].item()


def least_eigenvalue_is_at_least(i, level):
    form = i.sign * (Fraction(i.factor) * gram(i.X) - gram(i.Y))
    form[np.diag_indices_from(form)] += Fraction(i.slack) * gram(i.X).diagonal() - level
    return semidefinite(form)


@pytest.mark.parametrize(
    "cholesky", [sequential_cholesky, lapack_cholesky], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6), single=st.booleans(), sign=st.sampled_from([1, -1]))
def test_a_completed_factorisation_is_within_both_bounds(kind, cholesky, seed, single, sign):
    i = factorisation(kind, seed, np.float32 if single else np.float64, sign, cholesky)
    assert decide_bound(RESIDUAL, i) is Verdict.WITHIN
    assert least_eigenvalue_is_at_least(i, Fraction(float(i.shift)) - shift_allowed(i))


def test_two_factorisations_without_slack_prove_the_hypothesis_of_p3_loewner():
    upper, lower = (factorisation("wide", 2, np.float64, s, lapack_cholesky, 0.0) for s in (1, -1))
    for i in (upper, lower):
        assert Fraction(float(i.shift)) >= shift_allowed(i)
    assert loewner_verdict(upper.X, upper.Y, 0.25) is Verdict.WITHIN


def test_a_factor_that_forgets_one_product_is_outside_the_residual():
    i = factorisation("wide", 3, np.float64, 1, sequential_cholesky)
    lower = i.lower.copy()
    lower[-1, -1] = np.hypot(lower[-1, -1], lower[-1, 0])
    assert decide_bound(RESIDUAL, replace(i, lower=lower)) is Verdict.OUTSIDE


def test_a_shift_that_no_factorisation_allowed_is_outside_the_bound():
    i = factorisation("wide", 4, np.float64, 1, sequential_cholesky)
    assert decide_bound(SHIFT, replace(i, shift=i.shift * (1 + 2.0**-20))) is Verdict.OUTSIDE
