"""Exact attention against its peers: same data, same process, interleaved, medians of one run.

``make bench`` runs these with one BLAS thread; they report and assert nothing about time.
"""

import time
from typing import Any

import numpy as np
import pytest

import fastpath
from tests.benchmarks.interleaved import medians

ROUNDS = 15


def _inputs(n: int, d: int, size: float) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((n, d)).astype(np.float32) for _ in range(3))
    return Q * np.float32(size / np.sqrt(d)), K, V


def _three_lines(Q: Any, K: Any, V: Any) -> Any:
    S = Q @ K.T
    S = np.exp(S - S.max(axis=1, keepdims=True))
    return (S @ V) / S.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("size", "causal"),
    [(1.0, False), (8.0, False), (1.0, True)],
    ids=["logits need no shift", "logits need a shift", "causal"],
)
def test_attention_4096_by_64_float32(benchmark: Any, size: float, causal: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional peer: pip install .[peers]")
    torch.set_num_threads(1)
    Q, K, V = _inputs(4096, 64, size)
    q, k, v = (torch.from_numpy(x)[None, None] for x in (Q, K, V))
    sdpa = torch.nn.functional.scaled_dot_product_attention
    times = medians(
        {
            "fastpath": lambda: fastpath.attention(Q, K, V, causal=causal),
            "torch": lambda: sdpa(q, k, v, scale=1.0, is_causal=causal),
            "numpy": lambda: _three_lines(Q, K, V),
        },
        ROUNDS,
    )
    benchmark.extra_info["fastpath / torch"] = times["fastpath"] / times["torch"]
    benchmark.extra_info["fastpath / numpy three lines"] = times["fastpath"] / times["numpy"]
    print(f"\n{benchmark.extra_info}")
    benchmark(fastpath.attention, Q, K, V, causal=causal)


@pytest.mark.parametrize("keys", [2_000, 20_000, 200_000])
def test_one_query(benchmark: Any, keys: int) -> None:
    q, K, V = _inputs(keys, 64, 1.0)
    q = q[:1]
    prepared = fastpath.Prepared(K, V)
    times = medians(
        {
            "numpy": lambda: _three_lines(q, K, V),
            "prepared": lambda: fastpath.attention(q, prepared, workers=1),
            "not prepared": lambda: fastpath.attention(q, K, V, workers=1),
        },
        60,
    )
    for name in ("prepared", "not prepared"):
        benchmark.extra_info[f"{name} / numpy"] = times[name] / times["numpy"]
    print(f"\n{benchmark.extra_info}")
    benchmark.pedantic(lambda: None)


@pytest.mark.parametrize("workers", [1, 2])
def test_eight_heads(benchmark: Any, workers: int) -> None:
    """One thread by the processor's time of this process, two by the clock on the wall."""
    pytest.importorskip("torch", reason="torch is an optional peer: pip install .[peers]")
    from tests.benchmarks.attention_speeds import against_torch

    clock = time.process_time if workers == 1 else time.perf_counter
    benchmark.extra_info.update(against_torch(workers, clock))
    print(f"\n{benchmark.extra_info}")
    benchmark.pedantic(lambda: None)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", [2048, 4096])
def test_gradient_n_by_64_float32(benchmark: Any, n: int, causal: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional peer: pip install .[peers]")
    torch.set_num_threads(1)
    Q, K, V = _inputs(n, 64, 1.0)
    dO = np.random.default_rng(1).standard_normal(V.shape).astype(np.float32)
    q, k, v = (torch.tensor(x[None, None], requires_grad=True) for x in (Q, K, V))
    sdpa = torch.nn.functional.scaled_dot_product_attention
    output = sdpa(q, k, v, scale=1.0, is_causal=causal)
    of_output = torch.from_numpy(dO)[None, None]

    def ours() -> Any:
        return fastpath.attention_gradient(Q, K, V, dO, causal=causal, workers=1)

    times = medians(
        {
            "fastpath": ours,
            "torch": lambda: torch.autograd.grad(output, (q, k, v), of_output, retain_graph=True),
        },
        ROUNDS,
    )
    benchmark.extra_info["fastpath / torch, backward alone"] = times["fastpath"] / times["torch"]
    print(f"\n{benchmark.extra_info}")
    benchmark(ours)
