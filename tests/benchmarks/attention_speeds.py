"""Exact attention against torch's SDPA and against three lines of numpy, as issues state it: one command.

    OPENBLAS_NUM_THREADS=1 python -m tests.benchmarks.attention_speeds

Everything takes turns in one process.  One thread is timed by the processor's time of this process, two by
the clock on the wall: take a quiet machine for those.  For a processor without AVX-512, torch included::

    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \\
    OPENBLAS_NUM_THREADS=1 python tests/older_processor.py python -m tests.benchmarks.attention_speeds
"""

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_info

import fastpath

ROUNDS = 7

Timed = dict[str, Callable[[], Any]]


def _medians(functions: Timed, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            start = clock()
            function()
            times[name].append(clock() - start)
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def _inputs(*shape: int) -> list[Any]:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal(shape).astype(np.float32) for _ in range(3))
    return [Q / np.float32(np.sqrt(shape[-1])), K, V]


def against_torch(workers: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return ratios to SDPA of 8 heads, n = 4096, d = 64, at as many threads."""
    torch.set_num_threads(workers)
    arrays = _inputs(8, 4096, 64)
    tensors = [torch.from_numpy(x)[None] for x in arrays]
    sdpa = torch.nn.functional.scaled_dot_product_attention
    times = _medians(
        {
            "full": lambda: fastpath.attention(*arrays, workers=workers),
            "full torch": lambda: sdpa(*tensors, scale=1.0),
            "causal": lambda: fastpath.attention(*arrays, causal=True, workers=workers),
            "causal torch": lambda: sdpa(*tensors, scale=1.0, is_causal=True),
        },
        ROUNDS,
        clock,
    )
    return {name: times[name] / times[f"{name} torch"] for name in ("full", "causal")}


def _window() -> float:
    """Return what a window of 512 takes of the whole, n = 16384, d = 64."""
    arrays = _inputs(16_384, 64)
    times = _medians(
        {
            "window": lambda: fastpath.attention(*arrays, window=(511, 0), workers=1),
            "full": lambda: fastpath.attention(*arrays, workers=1),
        },
        3,
        time.process_time,
    )
    return times["window"] / times["full"]


def _three_lines(Q: Any, K: Any, V: Any) -> Any:
    S = Q @ K.T
    S = np.exp(S - S.max(axis=1, keepdims=True))
    return (S @ V) / S.sum(axis=1, keepdims=True)


def _one_query(keys: int) -> dict[str, float]:
    """Return ratios to three lines of numpy, and of that and of the rest the seconds."""
    q, K, V = _inputs(keys, 64)
    q = q[:1]
    prepared = fastpath.Prepared(K, V)
    times = _medians(
        {
            "numpy": lambda: _three_lines(q, K, V),
            "prepared": lambda: fastpath.attention(q, prepared, workers=1),
            "not prepared": lambda: fastpath.attention(q, K, V, workers=1),
        },
        60,
        time.process_time,
    )
    ratios = {name: times[name] / times["numpy"] for name in ("prepared", "not prepared")}
    return {**ratios, "numpy, microseconds": 1e6 * times["numpy"]}


def _say(what: str, ratios: dict[str, float]) -> None:
    print(f"{what:<58}" + "  ".join(f"{name} {x:.2f}" for name, x in ratios.items()), flush=True)


def main() -> None:
    """Print every figure."""
    names = {info.get("architecture") for info in threadpool_info() if "architecture" in info}
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    print(
        f"{platform.processor() or platform.machine()}; OpenBLAS kernels {', '.join(sorted(names))}; "
        f"numpy's instructions up to {found[-1] if found else 'the baseline'}; "
        f"torch {torch.__version__} {torch.backends.cpu.get_cpu_capability()}"
    )
    _say("one thread, to SDPA", against_torch(1, time.process_time))
    _say("two threads, to SDPA", against_torch(2, time.perf_counter))
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        _say("two threads beside one busy process, to SDPA", against_torch(2, time.perf_counter))
    finally:
        busy.kill()
        busy.wait()
    _say("window of 512 of 16384", {"of the whole": _window()})
    for keys in (2_000, 20_000, 200_000):
        _say(f"one query on {keys} keys, to three lines of numpy", _one_query(keys))


if __name__ == "__main__":
    main()
