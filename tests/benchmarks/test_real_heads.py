"""Certified attention on long real heads against exact attention: interleaved medians, certificates included.

The heads are not in the repository: ATTEST_LONG_HEADS names a folder of ``.npz`` files, each with arrays
``<name>/Q``, ``<name>/K`` and ``<name>/V`` of one head, Q scaled by 1/sqrt(d).  The figures in
BENCHMARKS.md are of two heads of a six-layer encoder, ``minilm_L2H2_n65536`` (diffuse) and
``minilm_L0H2_n65536`` (sharp), with 65,536 queries and keys of 32 columns.  What is absent is skipped.

Peers: torch's SDPA, blocked numpy, the mean of the values, and what the user names in ATTEST_KDEFORMER as
``module:function``, called with (Q, K, V) and returning an approximate output.  The process has one thread;
times are the processor's.
"""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastpath
from tests.benchmarks.interleaved import medians, seconds

ROUNDS = 3

#: The rows from which the 99 % quantile of a peer's errors is estimated.
ROWS = 2062

DIFFUSE, SHARP = "minilm_L2H2_n65536", "minilm_L0H2_n65536"

CASES = [
    (DIFFUSE, 0.06, "quantile"),
    (DIFFUSE, 0.02, "quantile"),
    (SHARP, 0.1, "quantile"),
    (SHARP, 1e-3, "all"),
    (DIFFUSE, 0.02, "all"),
]

SEEDS = 20


def long_head(name: str, n: int | None = None) -> Any:
    folder = os.environ.get("ATTEST_LONG_HEADS")
    path = Path(folder or "") / f"{name}.npz"
    if not folder or not path.exists():
        pytest.skip(f"the long head {name} is not there: set ATTEST_LONG_HEADS to its folder")
    with np.load(path, allow_pickle=False) as file:
        return tuple(
            np.ascontiguousarray(file[f"{name}/{x}"][:n].astype(np.float32)) for x in "QKV"
        )


def blocked_numpy(Q: Any, K: Any, V: Any, rows: int = 1024, keys: int = 256) -> Any:
    """Attention in tiles of the size that was fastest of five, shifted by each row's first maximum."""
    output = np.empty((len(Q), V.shape[1]), np.float32)
    with_ones = np.concatenate([V, np.ones((len(V), 1), np.float32)], axis=1)
    buffer = np.empty((rows, keys), np.float32)
    for first in range(0, len(Q), rows):
        q = Q[first : first + rows]
        sums, shift = np.zeros((len(q), with_ones.shape[1]), np.float32), None
        for start in range(0, len(K), keys):
            k = K[start : start + keys]
            tile = np.matmul(q, k.T, out=buffer[: len(q), : len(k)])
            if shift is None:
                shift = tile.max(axis=1, keepdims=True)
            tile -= shift
            np.exp(tile, out=tile)
            sums += tile @ with_ones[start : start + keys]
        output[first : first + rows] = sums[:, :-1] / sums[:, -1:]
    return output


def sdpa_of(dtype: str) -> Callable[..., Any]:
    torch = pytest.importorskip("torch", reason="torch is an optional peer: pip install .[peers]")
    torch.set_num_threads(1)

    def sdpa(Q: Any, K: Any, V: Any) -> Any:
        q, k, v = (torch.from_numpy(x)[None, None].to(getattr(torch, dtype)) for x in (Q, K, V))
        found = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
        return found[0, 0].float().numpy()

    return sdpa


def kdeformer() -> Callable[..., Any] | None:
    """Return the approximation that the user supplies, if one is."""
    named = os.environ.get("ATTEST_KDEFORMER")
    if not named:
        return None
    module, function = named.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def report(benchmark: Any, **figures: Any) -> None:
    benchmark.extra_info.update(figures)
    shown = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
    print(f"\n{benchmark.name}: {', '.join(shown)}")


def quantile(head: Any, output: Any) -> float:
    """Return the 99 % quantile of the errors of an output over drawn rows, relative to max |V|."""
    Q, K, V = head
    rows = np.random.default_rng(99).integers(0, len(Q), ROWS)
    exact = fastpath.attention(Q[rows], K, V).output
    errors = np.abs(output[rows] - exact).max(axis=1)
    return float(np.quantile(errors, 0.99) / np.abs(V).max())


@pytest.mark.parametrize(("name", "tolerance", "rows"), CASES)
def test_certified_attention_against_exact(
    benchmark: Any, name: str, tolerance: float, rows: str
) -> None:
    head = long_head(name)
    Q, _, V = head
    results: list[Any] = []
    outputs: dict[str, Any] = {}

    def ours() -> None:
        rng = np.random.default_rng(len(results))
        results.append(fastpath.certified_attention(*head, tolerance=tolerance, rows=rows, rng=rng))

    sdpa = sdpa_of("float32")
    peers: dict[str, Callable[[], Any]] = {
        "ours": ours,
        "torch": lambda: sdpa(*head),
        "numpy": lambda: blocked_numpy(*head),
    }
    supplied = kdeformer()
    if supplied:
        peers["kdeformer"] = lambda: outputs.update(kdeformer=supplied(*head))
    times = medians(peers, ROUNDS)
    outputs["ours"] = results[-1].output
    outputs["uniform"] = np.repeat(V.mean(axis=0)[None], len(Q), axis=0)
    report(
        benchmark,
        **{f"{peer} / ours": t / times["ours"] for peer, t in times.items() if peer != "ours"},
        **{f"99 % error of {peer}": quantile(head, output) for peer, output in outputs.items()},
        seconds=times["ours"],
        certified=max(float(np.max(r.error_bound)) for r in results) / float(np.abs(V).max()),
        predicted=results[-1].predicted_cost,
        methods=sorted({r.method for r in results}),
        reason=results[-1].reason,
    )
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.parametrize(("name", "tolerance", "rows"), CASES[:4])
def test_the_ratio_grows_with_the_number_of_keys(
    benchmark: Any, name: str, tolerance: float, rows: str
) -> None:
    sizes, sdpa = [8192, 16384, 32768, 65536], sdpa_of("float32")
    heads = {n: long_head(name, n) for n in sizes}
    methods: dict[int, str] = {}

    def ours(n: int) -> None:
        methods[n] = fastpath.certified_attention(
            *heads[n], tolerance=tolerance, rows=rows, rng=np.random.default_rng(n)
        ).method

    calls: dict[str, Callable[[], Any]] = {}
    for n in sizes:
        calls[f"ours {n}"] = lambda n=n: ours(n)
        calls[f"torch {n}"] = lambda n=n: sdpa(*heads[n])
    times = medians(calls, ROUNDS)
    report(
        benchmark,
        **{f"torch / ours, {n}": times[f"torch {n}"] / times[f"ours {n}"] for n in sizes},
        slope=float(np.polyfit(np.log(sizes), np.log([times[f"ours {n}"] for n in sizes]), 1)[0]),
        slope_where_faster=float(
            np.polyfit(np.log(sizes[1:]), np.log([times[f"ours {n}"] for n in sizes[1:]]), 1)[0]
        ),
        methods=methods,
    )
    benchmark.pedantic(lambda: ours(8192), rounds=1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_certify_takes_a_small_part_of_what_it_certifies(benchmark: Any, dtype: str) -> None:
    head = long_head(DIFFUSE)
    sdpa, rng = sdpa_of(dtype), np.random.default_rng(0)
    output = sdpa(*head)
    bounds: list[Any] = []
    times = medians(
        {
            "certify": lambda: bounds.append(fastpath.certify(*head, output, rng=rng).error_bound),
            "torch": lambda: sdpa_of("float32")(*head),
        },
        ROUNDS,
    )
    corrupted = output.copy()
    corrupted[rng.permutation(len(output))[: len(output) // 50]] += np.float32(0.125)
    report(
        benchmark,
        share=times["certify"] / times["torch"],
        certified=float(max(bounds)),
        corrupted=float(fastpath.certify(*head, corrupted, rng=rng).error_bound),
    )
    benchmark.pedantic(lambda: fastpath.certify(*head, output, rng=rng), rounds=1)


@pytest.mark.parametrize("name", [DIFFUSE, SHARP])
@pytest.mark.parametrize("rows", ["all", "quantile"])
@pytest.mark.parametrize("tolerance", [0.3, 1e-2, 1e-5])
def test_never_much_slower_than_exact(
    benchmark: Any, name: str, rows: str, tolerance: float
) -> None:
    """Sizes at which planning costs most, and tolerances that a pilot may take long to refuse."""
    worst = 0.0
    for n in (1024, 4096, 8192, 16384):
        head = long_head(name, n)
        times = medians(
            {
                "ours": lambda head=head: fastpath.certified_attention(
                    *head, tolerance=tolerance, rows=rows, rng=np.random.default_rng(0)
                ),
                "exact": lambda head=head: fastpath.attention(*head),
            },
            ROUNDS,
        )
        worst = max(worst, times["ours"] / times["exact"])
    report(benchmark, worst=worst)
    benchmark.pedantic(lambda: None, rounds=1)


@pytest.mark.parametrize(("name", "tolerance", "rows"), CASES[:4])
def test_no_certificate_is_violated(benchmark: Any, name: str, tolerance: float, rows: str) -> None:
    """Every certificate of twenty seeds against every exact row."""
    head = long_head(name)
    exact = fastpath.attention(*head)
    outside, taken, methods = [], [], set()

    def ours(seed: int) -> None:
        rng = np.random.default_rng(seed)
        result = fastpath.certified_attention(*head, tolerance=tolerance, rows=rows, rng=rng)
        # A row is outside for certain if it is by more than exact attention itself may err.
        off = np.abs(result.output - exact.output) > result.error_bound + exact.error_bound
        outside.append(float(off.any(axis=1).mean()))
        assert outside[-1] <= result.uncovered
        methods.add(result.method)

    for seed in range(SEEDS):
        taken.append(seconds(lambda seed=seed: ours(seed)))
    report(
        benchmark,
        largest_share_outside=max(outside),
        methods=sorted(methods),
        slowest_by_median=float(max(taken) / np.median(taken)),
    )
    benchmark.pedantic(lambda: None, rounds=1)
