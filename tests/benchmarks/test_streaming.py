"""Streaming at sizes where it matters: memory, and sketches decoded; minutes to an hour.

``make bench`` runs these with one BLAS thread; they report and assert nothing about time.
"""

import time
import tracemalloc
from statistics import median
from typing import Any

import numpy as np
import pytest

from fastpath import StreamingAttention
from fastpath.streaming.count_sketch import CountSketch

BLOCK = 8192
D, D_V, SPARSITY = 4, 2, 16


def _stream(n: int, recovery: str) -> StreamingAttention:
    """Absorb and attend n rows, drawn block by block."""
    state = StreamingAttention(
        D,
        D_V,
        logit_bound=1.0,
        tolerance=1e-3,
        sparsity=SPARSITY,
        recovery=recovery,
        rng=np.random.default_rng(0),
    )
    for take in (lambda x, v: state.absorb(x, v), lambda x, v: state.attend(x)):
        for start in range(0, n, BLOCK):
            rng = np.random.default_rng(start)
            rows = min(BLOCK, n - start)
            take(rng.uniform(-0.5, 0.5, (rows, D)), rng.standard_normal((rows, D_V)))
    state.decode()
    return state


def _peak(n: int, recovery: str) -> tuple[int, int]:
    """Return the state's bytes and the peak of all that was allocated on the way."""
    tracemalloc.start()
    try:
        state = _stream(n, recovery)
        return state.nbytes, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("recovery", ["heap", "sketch"])
def test_memory_of_a_stream(benchmark: Any, recovery: str) -> None:
    """Neither the state nor the peak of all that is allocated grows with the stream."""
    _peak(10**4, recovery)  # what is made once
    sizes = {n: _peak(n, recovery) for n in (10**4, 10**5, 10**6, 10**7)}
    benchmark.extra_info |= {str(n): f"state {s} B, peak {p} B" for n, (s, p) in sizes.items()}
    print(f"\n{recovery}: {benchmark.extra_info}")
    benchmark.pedantic(lambda: None)
    assert len({state for state, _ in sizes.values()}) == 1
    assert sizes[10**7][1] <= 1.2 * sizes[10**6][1]


def _column(n: int, trial: int) -> tuple[Any, Any]:
    """Draw a normal column and sparse entries in it that are as long together as the rest, or twice."""
    rng = np.random.default_rng([n, trial])
    y = rng.standard_normal(n)
    heavy = rng.choice(n, SPARSITY, replace=False)
    sizes = rng.uniform(1, 2, SPARSITY) * np.sqrt(n / SPARSITY)
    y[heavy] = rng.choice([-1, 1], SPARSITY) * sizes
    return y, rng


def _seconds(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def test_decoding(benchmark: Any) -> None:
    """The share of columns recovered to 1.1 of the best, and the time beside a scan of all rows."""
    n, trials = 10**7, 100
    ratios = []
    for trial in range(trials):
        y, rng = _column(n, trial)
        sketch = CountSketch(1, SPARSITY, rng=rng)
        for start in range(0, n, BLOCK):
            rows = np.arange(start, min(start + BLOCK, n))
            sketch.add(rows, y[rows, None])
        rows, values = sketch.entries(0)
        squares = np.square(y)
        tail = np.partition(squares, n - SPARSITY)[: n - SPARSITY].sum()
        missed = squares.sum() - squares[rows].sum() + np.square(values - y[rows]).sum()
        ratios.append(float(np.sqrt(missed / tail)))
    decode = median(_seconds(lambda: sketch.entries(0)) for _ in range(9))
    scan = _seconds(
        lambda: [sketch.estimate(np.arange(i, min(i + BLOCK, n)), 0) for i in range(0, n, BLOCK)]
    )
    benchmark.extra_info |= {
        "ratio at most 1.1": f"{sum(ratio <= 1.1 for ratio in ratios)} of {trials}",
        "worst ratio": round(max(ratios), 5),
        "scan / decode": round(scan / decode),
    }
    print(f"\n{benchmark.extra_info}")
    benchmark.pedantic(lambda: None)
