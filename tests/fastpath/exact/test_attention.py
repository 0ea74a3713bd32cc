"""What holds of fastpath.attention on any input."""

import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastpath
from fastpath.exact.attention import KEY_BLOCK, QUERY_BLOCK
from reference import Verdict, attention_verdict
from tests.strategies import attention_inputs


@given(inputs=attention_inputs())
@settings(max_examples=300)
def test_every_entry_is_within_its_certificate(inputs: Any) -> None:
    Q, K, V, causal = inputs
    result = fastpath.attention(Q, K, V, causal=causal)
    verdict, _ = attention_verdict(Q, K, V, result.output, result.error_bound, causal=causal)
    assert verdict is Verdict.WITHIN


def _within_both(a: fastpath.Certified, b: fastpath.Certified) -> bool:
    """Whether two outputs for the same truth differ by no more than both bounds together."""
    return all(
        abs(Fraction(float(x)) - Fraction(float(y))) <= Fraction(float(p)) + Fraction(float(q))
        for x, y, p, q in zip(
            a.output.flat, b.output.flat, a.error_bound.flat, b.error_bound.flat, strict=True
        )
    )


@given(inputs=attention_inputs(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_keys_does_not_matter(inputs: Any, seed: int) -> None:
    Q, K, V, _ = inputs
    order = np.random.default_rng(seed).permutation(len(K))
    assert _within_both(fastpath.attention(Q, K, V), fastpath.attention(Q, K[order], V[order]))


@given(inputs=attention_inputs())
def test_the_last_row_of_causal_attention_sees_every_key(inputs: Any) -> None:
    Q, K, V, _ = inputs
    Q = np.repeat(Q[:1], len(K), axis=0)
    causal = fastpath.attention(Q, K, V, causal=True)
    full = fastpath.attention(Q[-1:], K, V)
    last = fastpath.Certified(
        output=causal.output[-1:], error_bound=causal.error_bound[-1:], claims=causal.claims
    )
    assert _within_both(last, full)


@given(inputs=attention_inputs())
def test_the_output_stays_between_the_smallest_and_the_largest_value(inputs: Any) -> None:
    Q, K, V, causal = inputs
    output = fastpath.attention(Q, K, V, causal=causal).output
    assert (output >= V.min(axis=0)).all()
    assert (output <= V.max(axis=0)).all()


def test_the_same_input_gives_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((70, 9)) for _ in range(3))
    first, second = fastpath.attention(Q, K, V), fastpath.attention(Q, K, V)
    assert first.output.tobytes() == second.output.tobytes()
    assert first.error_bound.tobytes() == second.error_bound.tobytes()


def test_integers_become_float64_and_mixed_types_are_promoted() -> None:
    integers = np.arange(6).reshape(3, 2)
    assert fastpath.attention(integers, integers, integers).output.dtype == np.float64
    single = integers.astype(np.float32)
    assert fastpath.attention(single, single, single).output.dtype == np.float32
    assert fastpath.attention(single, integers, single).output.dtype == np.float64


def test_a_result_cannot_be_reassigned() -> None:
    result = fastpath.attention(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))
    with pytest.raises(AttributeError):
        result.output = np.zeros((1, 1))  # type: ignore[misc]


def test_no_n_by_n_array_is_made() -> None:
    n = 4 * QUERY_BLOCK
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((n, 8)).astype(np.float32) for _ in range(3))
    fastpath.attention(Q[:8], K[:8], V[:8])
    tracemalloc.start()
    try:
        fastpath.attention(Q, K, V)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    tile = QUERY_BLOCK * KEY_BLOCK * Q.itemsize
    per_row = 40 * n * V.shape[1] * 8  # inputs, results and the certificate's temporaries
    assert peak < tile + per_row < n * n * Q.itemsize


def test_more_columns_than_the_claim_covers_are_refused() -> None:
    wide = np.zeros((1, 2**22 + 1), np.float32)
    with pytest.raises(ValueError, match="at most 4194304 roundings a term in float32"):
        fastpath.attention(wide, wide, np.zeros((1, 1), np.float32))


@pytest.mark.parametrize("name", ["Q", "K", "V"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_is_counted_and_named(name: str, value: float) -> None:
    arrays = {n: np.ones((3, 2)) for n in "QKV"}
    arrays[name][1, 1] = value
    with pytest.raises(ValueError, match=f"^{name} must be finite, got 1 NaN or infinite of 6"):
        fastpath.attention(*arrays.values())
