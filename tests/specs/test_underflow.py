"""Claims whose model of rounding knows no underflow: where products underflow they fail, and say so."""

from fractions import Fraction

import numpy as np
import pytest

from specs import CLAIMS
from specs.regression.derivatives import Line
from specs.regression.rounding import _computed
from specs.sparsification.certificate import Computed, factorised
from specs.sparsification.loewner import Factored
from specs.sparsification.sketch import sketched

#: Enough for a difference of products of subnormal numbers.
BITS = 5000

#: Entries whose squares are 4.5 and 0.72 times the smallest number of float32, which computes 4 and 1.
LARGER, SMALLER = (np.full((1, 1), x * 2.0**-75, np.float32) for x in (3.0, 1.2))


def _coherent() -> np.ndarray:
    """Give rows whose products are subnormal, so that those of a factor's entries are as well."""
    return np.array([[3.0, 0.3, 0.2], [2.9, 0.7, 0.1], [3.1, 0.2, 0.9]], np.float32) * np.float32(
        2.0**-68
    )


def _regression() -> object:
    """Give values, and squares of keys and features, that are products of 2^-536."""
    rng = np.random.default_rng(0)
    A1, A2, A3, B, X, Y = (
        rng.standard_normal(s) for s in ((3, 1), (3, 1), (3, 1), (3, 1), (1, 1), (1, 1))
    )
    tiny = 2.0**-536
    return _computed(Line(A1, tiny * A2, tiny * A3, 0 * B, X, tiny * Y, X, Y))


INSTANCES = {
    "P3.gram": (lambda: Factored(LARGER), ("gram_rounding",)),
    "P3.entries": (
        lambda: Computed(LARGER, SMALLER),
        ("entry_difference", "logit_difference", "largest_logit"),
    ),
    "P3.certificate": (
        lambda: factorised(_coherent(), 0 * _coherent(), 1.25),
        ("cholesky_residual", "certificate_shift"),
    ),
    "P3.sketch": (
        lambda: sketched(
            LARGER * np.float32(2.0**-74), np.ones((2, 1), int), np.zeros((2, 1), int), Fraction(0)
        ),
        ("sketch_slack",),
    ),
    "FP.regression": (
        _regression,
        (
            "regression_row_error",
            "regression_gradient_error",
            "regression_hessian_error",
            "computed_deviation",
        ),
    ),
}


@pytest.mark.parametrize(
    ("claim", "bound"), [(c, b) for c, (_, bounds) in INSTANCES.items() for b in bounds]
)
def test_a_bound_that_underflow_breaks_has_a_hypothesis_that_excludes_it(claim, bound):
    instance = INSTANCES[claim][0]()
    broken = CLAIMS[claim].broken_hypotheses(instance)
    assert len(broken) == 1
    assert "normal range" in broken[0] or "underflow" in broken[0]
    (found,) = (b for b in CLAIMS[claim].bounds if b.name == bound)
    exceeds = found.quantity(instance, BITS) - found.value(instance, BITS)
    assert exceeds.bounds()[0].item() > 0
