"""Attention over disjoint sets of keys, merged, is attention over all of them, within its bound."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.core.certified import Certified
from proofs.judging.heads import Head, shipped_heads
from reference import Verdict, attention_verdict
from reference.arithmetic.decide import decide
from reference.attention import log_sum_exp


def _drawn(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    dtype = (np.float32, np.float64)[rng.integers(2)]
    sizes = rng.integers(1, 6, rng.integers(1, 5))
    n = int(sizes.sum())
    Q = rng.choice([0.1, 1.0, 30.0, 300.0]) * rng.standard_normal((3, 2))
    K, V = rng.standard_normal((n, 2)), rng.standard_normal((n, 2))
    mask = rng.random((3, n)) < 0.8
    mask[:, 0] = True
    return (*(x.astype(dtype) for x in (Q, K, V)), mask, np.cumsum(sizes)[:-1])


def _parts(Q: Any, K: Any, V: Any, mask: Any, cuts: Any) -> list[Any]:
    return [
        fastpath.attention(Q, k, v, mask=m, empty_rows="zeros")
        for k, v, m in zip(
            np.split(K, cuts), np.split(V, cuts), np.split(mask, cuts, axis=1), strict=True
        )
    ]


def _judge(result: Any, Q: Any, K: Any, V: Any, mask: Any) -> None:
    verdict, _ = attention_verdict(Q, K, V, result.output, result.error_bound, mask=mask)
    assert verdict is Verdict.WITHIN
    verdict, _ = decide(
        lambda bits: log_sum_exp(Q, K, mask=mask, precision=bits),
        result.log_sum_exp,
        result.log_sum_exp_bound,
    )
    assert verdict is Verdict.WITHIN


@pytest.mark.parametrize("seed", range(60))
def test_what_is_merged_is_within_its_bound_in_any_tree(seed: int) -> None:
    Q, K, V, mask, cuts = _drawn(seed)
    parts = _parts(Q, K, V, mask, cuts)
    _judge(fastpath.merge(parts), Q, K, V, mask)
    merged = parts[-1]
    for part in parts[-2::-1]:
        merged = fastpath.merge([merged, part])
    _judge(merged, Q, K, V, mask)


def test_errors_of_the_parts_are_counted() -> None:
    """Catches: the errors of outputs, or of logarithms, left out: parts that are off by their bounds."""
    for seed in range(20):
        Q, K, V, mask, cuts = _drawn(seed)
        parts = _parts(Q, K, V, mask, cuts)
        outputs = [
            replace(
                p, output=p.output + p.output.dtype.type(2**-4), error_bound=p.error_bound + 2**-3
            )
            for p in parts
        ]
        _judge(fastpath.merge(outputs), Q, K, V, mask)
        logarithms = [
            replace(
                p,
                log_sum_exp=p.log_sum_exp + (-1) ** a * 2.0**-4,
                log_sum_exp_bound=p.log_sum_exp_bound + 2.0**-4 + 2.0**-40,
            )
            for a, p in enumerate(parts)
        ]
        _judge(fastpath.merge(logarithms), Q, K, V, mask)


def test_the_rounding_of_what_is_returned_is_counted() -> None:
    """Catches: the last rounding left out: 1 + 2^-24, the mean of two exact parts, is no float32."""
    parts = [
        Certified(
            output=np.full((1, 1), value, np.float32),
            error_bound=np.zeros((1, 1)),
            claims=(),
            log_sum_exp=np.zeros(1),
            log_sum_exp_bound=np.zeros(1),
        )
        for value in (1.0, 1 + 2.0**-23)
    ]
    result = fastpath.merge(parts)
    assert result.output.dtype == np.float32
    error = abs(float(result.output.item()) - (1 + 2.0**-24))
    assert error == 2.0**-24
    assert error <= result.error_bound.item() < 1.01 * error


def test_rows_that_no_part_sees_are_zeros() -> None:
    X = np.ones((2, 1))
    part = fastpath.attention(X, X, X, mask=[[True, True], [False, False]], empty_rows="zeros")
    result = fastpath.merge([part, part])
    assert result.output.tolist() == [[1.0], [0.0]]
    assert result.error_bound[1] == 0
    assert result.log_sum_exp[1] == -np.inf


def test_eight_shards_cost_the_certificate_little() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((4096, 16)).astype(np.float32) for _ in range(3))
    Q = Q[:64]
    whole = fastpath.attention(Q, K, V)
    parts = [fastpath.attention(Q, K[i::8], V[i::8]) for i in range(8)]
    assert fastpath.merge(parts).error_bound.max() <= 1.1 * whole.error_bound.max()


#: Heads of which some row has its weight in one shard: the spread of the parts' outputs, which what the
#: parts weigh is not looked at for, counts whole there, beside each part's own error.
SHARP = {"smollm2_L12H4_n256", "smollm2_L8H3_n256"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("head", shipped_heads(largest=512), ids=lambda head: head.name)
def test_eight_shards_of_a_head_that_ships_cost_the_certificate_little(
    head: Head, dtype: Any
) -> None:
    Q, K, V = (x.astype(dtype) for x in (head.Q, head.K, head.V))
    whole = fastpath.attention(Q, K, V)
    shards = zip(np.array_split(K, 8), np.array_split(V, 8), strict=True)
    merged = fastpath.merge([fastpath.attention(Q, *shard) for shard in shards])
    little = merged.error_bound.max() <= 1.1 * whole.error_bound.max()
    assert little == (head.name not in SHARP)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_sum_exp": None}, r"parts\[1\] must have a log_sum_exp"),
        ({"output": np.ones((3, 1))}, r"parts\[1\].output must have the shape of the first"),
        ({"output": np.full((2, 1), np.nan)}, r"parts\[1\].output must be finite"),
        ({"error_bound": np.full((2, 1), np.nan)}, r"parts\[1\] must have bounds"),
        ({"log_sum_exp": np.array([0.0, np.inf])}, r"parts\[1\].log_sum_exp must be finite"),
        ({"log_sum_exp_bound": np.ones(3)}, r"parts\[1\].log_sum_exp_bound must have shape"),
    ],
)
def test_a_part_that_cannot_be_merged_is_refused(change: Any, message: str) -> None:
    X = np.ones((2, 1))
    part = fastpath.attention(X, X, X)
    with pytest.raises(ValueError, match=message):
        fastpath.merge([part, replace(part, **change)])
    with pytest.raises(ValueError, match="at least one part"):
        fastpath.merge([])
