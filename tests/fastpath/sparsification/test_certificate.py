"""fastpath's certificate is the claim's bound: never below it at the exact parameters of the input.

Conformance alone cannot see a dropped term, since a rounding bound is a few hundred times a typical error.
"""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.exact.attention import KEY_BLOCK
from reference import Enclosure, Verdict, attention_verdict, evaluate
from specs import CLAIMS
from specs.softmax.rounding import ARITHMETIC

#: A query of 1e-170 against keys of 1e170 must keep its digits.
BITS = 1400
LOGIT, WEIGHT, OUTPUT = (bound.expression for bound in CLAIMS["FP.softmax"].bounds)


#: What underflow and rounding upward may add to the certificate, relative to it.
RELATIVE_ALLOWANCE = Fraction(1, 2**32)


def _bounds(
    Q: Any, K: Any, V: Any, output: Any, row: int, column: int, visible: int, shifted: bool
) -> tuple[Fraction, Fraction]:
    """Enclose what FP.softmax allows one entry at least, and what fastpath may make of it at most.

    At least: the largest sum of |q_l k_jl|, the logits' own range, one exponential.  At most: the
    Cauchy-Schwarz bound with the roundings of two norms (FP.sum), twice that as the range, a rescaling for
    every block.
    """
    blocks = -(-visible // KEY_BLOCK)
    keys, query = (Enclosure.exact(np.abs(x), BITS) for x in (K[:visible], Q[row]))
    magnitude = (keys @ query).max()
    logits = Enclosure.exact(K[:visible], BITS) @ Enclosure.exact(Q[row], BITS)
    reach = logits.max() - logits.min() if shifted else 0
    block = min(KEY_BLOCK, visible)
    least = _bound(Q, V, output, row, column, visible, magnitude, reach, 1, block + blocks - 1)
    magnitude = (query * query).sum().sqrt() * (keys * keys).sum(axis=1).max().sqrt()
    lost = Q.shape[1] * ARITHMETIC[Q.dtype.name].unit_roundoff
    magnitude = magnitude * ((1 + lost) / (1 - 2 * lost))
    reach = 2 * magnitude * (1 + Fraction(1, 2**10)) if shifted else 0
    exponentials = blocks if shifted else 1
    roundings = block + 2 * (blocks - 1)
    most = _bound(Q, V, output, row, column, visible, magnitude, reach, exponentials, roundings)
    return Fraction(least.bounds()[0].item()), Fraction(most.bounds()[1].item())


def _bound(
    Q: Any,
    V: Any,
    output: Any,
    row: int,
    column: int,
    visible: int,
    magnitude: Any,
    reach: Any,
    exponentials: int,
    roundings: int,
) -> Enclosure:
    """Evaluate FP.softmax's expressions, nothing rounded, underflow left out."""
    arithmetic = ARITHMETIC[Q.dtype.name]
    logit_error = evaluate(
        LOGIT,
        {
            "dimension": Q.shape[1],
            "unit_roundoff": arithmetic.unit_roundoff,
            "logit_magnitude": magnitude,
            "tiny": 0,
        },
        BITS,
    )
    weight_error = evaluate(
        WEIGHT,
        {
            "logit_error": logit_error,
            "unit_roundoff": arithmetic.unit_roundoff,
            "reach": reach,
            "exp_error": arithmetic.exp_error,
            "exponentials": exponentials,
        },
        BITS,
    )
    exact_values = [Fraction(float(v)) for v in V[:visible, column]]
    return evaluate(
        OUTPUT,
        {
            "weight_error": weight_error,
            "spread": max(exact_values) - min(exact_values),
            "magnitude": max(abs(v) for v in exact_values),
            "quotient": Fraction(float(output[row, column])),
            "terms": roundings,
            "unit_roundoff": arithmetic.unit_roundoff,
            "underflow": 0,
            "tiny": 0,
        },
        BITS,
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n_k", [1, 7, KEY_BLOCK, KEY_BLOCK + 1, 3 * KEY_BLOCK])
@pytest.mark.parametrize("size", [0.3, 30.0], ids=["small logits", "large logits"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_certificate_is_the_claims_bound(
    dtype: type[Any], size: float, n_k: int, causal: bool
) -> None:
    rng = np.random.default_rng(n_k)
    n_q = n_k if causal else 3
    Q = (size * rng.standard_normal((n_q, 6))).astype(dtype)
    K, V = (rng.standard_normal((n_k, d)).astype(dtype) for d in (6, 2))
    K *= dtype(4 if dtype is np.float64 else 1)
    V[:, 1] = dtype(1) + V[:, 1] / 16  # a column whose spread is far below its magnitude
    result = fastpath.attention(Q, K, V, causal=causal)
    for row in {0, n_q // 2, n_q - 1}:
        visible = row + 1 if causal else n_k
        if visible == 1:
            continue  # the only value, exactly
        for column in range(2):
            least, most = _bounds(Q, K, V, result.output, row, column, visible, size > 1)
            certified = Fraction(float(result.error_bound[row, column]))
            spread = Fraction(float(np.ptp(V[:visible, column].astype(float))))
            assert min(least, spread) <= certified <= most * (1 + RELATIVE_ALLOWANCE)


def test_a_tiny_query_beside_a_large_one_keeps_its_certificate() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((n, 3)) for n in (2, 9, 9))
    Q[0] *= 1e-170  # its square underflows beside the other's
    K *= 1e170
    result = fastpath.attention(Q, K, V)
    least, _ = _bounds(Q, K, V, result.output, 0, 1, 9, shifted=True)
    assert Fraction(float(result.error_bound[0, 1])) >= least


def test_equal_values_are_decided_at_once() -> None:
    Q, K = np.ones((2, 3)), np.ones((5, 3))
    V = np.full((5, 2), 0.1)
    result = fastpath.attention(Q, K, V)
    verdict, enclosure = attention_verdict(Q, K, V, result.output, result.error_bound)
    assert verdict is Verdict.WITHIN
    assert enclosure.bits <= 256


def test_the_certificate_never_passes_the_spread_of_the_values() -> None:
    huge = np.full((1, 1), 1e4, np.float32)
    keys, values = np.array([[1.0], [-1.0]], np.float32), np.array([[1.0], [1.25]], np.float32)
    (bound,) = fastpath.attention(huge, keys, values).error_bound.flat
    assert bound <= np.nextafter(0.25, 1)
