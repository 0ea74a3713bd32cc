"""Each term of a cache's certificate where it is what holds: originals in the corners of their box."""

from typing import Any

import numpy as np
import pytest

from fastpath import attention, certify_quantised
from fastpath.core.certified import Certified
from reference import Verdict, attention_verdict, log_sum_exp
from reference.arithmetic.decide import decide

QUERY = np.ones((1, 1))

BOUNDS = pytest.mark.parametrize("bound", ["augmented", "hull"])


def assert_holds(found: Certified, K: Any, V: Any, largest_ratio: float) -> None:
    """The truth on originals K, V is within the bound, and the bound no larger than so many times that."""
    verdict, exact = attention_verdict(QUERY, K, V, found.output, found.error_bound, precision=192)
    assert verdict is Verdict.WITHIN
    error = np.abs(exact.midpoint() - found.output)
    assert (found.error_bound <= largest_ratio * error).all()


def logits(*weights: float) -> Any:
    return np.log(np.array(weights))[:, None]


@BOUNDS
def test_keys_that_move_apart_move_the_output(bound: str) -> None:
    """Catches: a radius that is left out, or halved."""
    K_hat, V = np.zeros((2, 1)), np.array([[1.0], [-1.0]])
    radius = 2.0**-7
    found = certify_quantised(QUERY, K_hat, V, radius, 0, bound=bound)
    assert_holds(found, np.array([[radius], [-radius]]), V, 1.02)


@BOUNDS
def test_a_large_radius_of_a_light_key_counts_by_its_exponential(bound: str) -> None:
    """Catches: c in place of e^c - 1."""
    K_hat, V = logits(2.0**-12, 1.0), np.array([[1.0], [0.0]])
    found = certify_quantised(QUERY, K_hat, V, [2.0, 0.0], 0, bound=bound)
    assert_holds(found, K_hat + np.array([[2.0], [0.0]]), V, 1.01)


@BOUNDS
def test_values_that_move_one_way_move_the_output_as_far(bound: str) -> None:
    """Catches: the values' errors, left out."""
    K_hat, V_hat = np.zeros((2, 1)), np.array([[1.0], [-1.0]])
    found = certify_quantised(QUERY, K_hat, V_hat, 0, 0.25, bound=bound)
    assert_holds(found, K_hat, V_hat + 0.25, 1.01)


@BOUNDS
def test_a_value_counts_with_the_weight_that_its_key_may_have(bound: str) -> None:
    """Catches: the product of radius and error."""
    K_hat, V_hat = logits(2.0**-12, 1.0), np.zeros((2, 1))
    found = certify_quantised(QUERY, K_hat, V_hat, [2.0, 0.0], [1.0, 0.0], bound=bound)
    assert_holds(found, K_hat + np.array([[2.0], [0.0]]), np.array([[1.0], [0.0]]), 1.01)


@BOUNDS
def test_a_value_counts_more_where_all_other_keys_weigh_less(bound: str) -> None:
    """Catches: the factor for the smallest denominator."""
    K_hat, V_hat = logits(2.0**-12, 1.0), np.zeros((2, 1))
    found = certify_quantised(QUERY, K_hat, V_hat, [0.0, 2.0], [1.0, 0.0], bound=bound)
    assert_holds(found, K_hat - [[0.0], [2.0]], np.array([[1.0], [0.0]]), 1.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_kernels_own_rounding_is_part_of_the_bound(dtype: Any) -> None:
    """Catches: the error of the answer, and of what it is an average of."""
    rng = np.random.default_rng(1)
    Q, K, V = (rng.standard_normal(s).astype(dtype) for s in ((3, 8), (40, 8), (40, 4)))
    found, exact = certify_quantised(Q, K, V, 0, 0), attention(Q, K, V)
    verdict, _ = attention_verdict(Q, K, V, found.output, found.error_bound)
    assert verdict is Verdict.WITHIN
    # Blocks and their order are the same, and so is what each column errs.
    assert (found.error_bound >= 0.5 * exact.error_bound).all()


@BOUNDS
def test_keys_that_all_move_up_move_the_logarithm_as_far(bound: str) -> None:
    """Catches: the radii in the bound of the log-sum-exp."""
    K_hat, V = np.zeros((3, 1)), np.zeros((3, 1))
    found = certify_quantised(QUERY, K_hat, V, 0.25, 0, bound=bound)
    K = np.full((3, 1), 0.25)
    assert found.log_sum_exp is not None
    assert found.log_sum_exp_bound is not None
    verdict, _ = decide(
        lambda bits: log_sum_exp(QUERY, K, precision=bits),
        found.log_sum_exp,
        found.log_sum_exp_bound,
    )
    assert verdict is Verdict.WITHIN


@BOUNDS
def test_a_scale_enlarges_what_a_key_moves(bound: str) -> None:
    """Catches: a scale that the radii do not feel."""
    K_hat, V = np.zeros((2, 1)), np.array([[1.0], [-1.0]])
    found = certify_quantised(QUERY, K_hat, V, 2.0**-10, 0, bound=bound, scale=-8.0)
    K = np.array([[2.0**-10], [-(2.0**-10)]])
    verdict, _ = attention_verdict(
        QUERY, K, V, found.output, found.error_bound, precision=192, scale=-8.0
    )
    assert verdict is Verdict.WITHIN


def test_codes_are_read_exactly_or_their_rounding_is_counted() -> None:
    """Catches: what float32 takes from a product of a code and a scale."""
    from fastpath import Codes

    scale = np.float32(1 / 3) * np.float32(1.1)
    values = Codes.of(np.array([[101], [101]], np.int8), scale)
    Q = np.ones((1, 1), np.float32)
    found = certify_quantised(Q, np.zeros((2, 1), np.float32), values, 0, 0)
    exact = 101 * float(scale)
    assert abs(exact - float(found.output[0, 0])) <= found.error_bound[0, 0]
    assert float(found.output[0, 0]) != exact
