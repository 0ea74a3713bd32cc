"""fastpath's certificate is the claim's bound: never below it at the exact parameters of the input.

Conformance alone cannot see a dropped term, since a rounding bound is a few hundred times a typical error.
"""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.attention import KEY_BLOCK
from reference import Enclosure, evaluate
from specs import CLAIMS
from specs.rounding import ARITHMETIC

BITS = 200
LOGIT, WEIGHT, OUTPUT = (bound.expression for bound in CLAIMS["FP.softmax"].bounds)


def _exact_bound(
    Q: Any, K: Any, V: Any, output: Any, row: int, column: int, visible: int, shifted: bool
) -> Fraction:
    """Return a lower bound on FP.softmax's bound for one entry, nothing rounded or estimated."""
    arithmetic = ARITHMETIC[Q.dtype.name]
    q, keys, values = Q[row], K[:visible], V[:visible, column]
    lifted = [Enclosure.exact(np.abs(x), BITS) for x in (keys, q)]
    logits = Enclosure.exact(keys, BITS) @ Enclosure.exact(q, BITS)
    logit_error = evaluate(
        LOGIT,
        {
            "dimension": len(q),
            "unit_roundoff": arithmetic.unit_roundoff,
            "logit_magnitude": (lifted[0] @ lifted[1]).max(),
            "tiny": 0,
        },
        BITS,
    )
    weight_error = evaluate(
        WEIGHT,
        {
            "logit_error": logit_error,
            "unit_roundoff": arithmetic.unit_roundoff,
            "reach": logits.max() - logits.min() if shifted else 0,
            "exp_error": arithmetic.exp_error,
            "exponentials": 1,
        },
        BITS,
    )
    exact_values = [Fraction(float(v)) for v in values]
    blocks = -(-visible // KEY_BLOCK)
    bound = evaluate(
        OUTPUT,
        {
            "weight_error": weight_error,
            "spread": max(exact_values) - min(exact_values),
            "magnitude": max(abs(v) for v in exact_values),
            "quotient": Fraction(float(output[row, column])),
            # A product, the additions of its block, and one addition for every later block.
            "terms": min(KEY_BLOCK, visible) + blocks - 1,
            "unit_roundoff": arithmetic.unit_roundoff,
            "underflow": 0,
            "tiny": 0,
        },
        BITS,
    )
    return Fraction(bound.bounds()[0].item())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n_k", [1, 7, KEY_BLOCK, KEY_BLOCK + 1, 3 * KEY_BLOCK])
@pytest.mark.parametrize("size", [0.3, 30.0], ids=["small logits", "large logits"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_certificate_is_at_least_the_claims_bound(
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
            exact = _exact_bound(Q, K, V, result.output, row, column, visible, size > 1)
            assert Fraction(float(result.error_bound[row, column])) >= exact


def test_the_certificate_never_passes_the_spread_of_the_values() -> None:
    huge = np.full((1, 1), 1e4, np.float32)
    keys, values = np.array([[1.0], [-1.0]], np.float32), np.array([[1.0], [1.25]], np.float32)
    (bound,) = fastpath.attention(huge, keys, values).error_bound.flat
    assert bound <= np.nextafter(0.25, 1)
