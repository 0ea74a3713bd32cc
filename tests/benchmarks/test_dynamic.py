"""Dynamic attention against its peers: same data, same process, interleaved, medians of one run.

``make bench`` runs these with one BLAS thread.  They print and record ratios, and assert nothing about
time.  A cell is a mix of updates of key entries and reads; peers are what one would write by hand.
"""

import statistics
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm, dger

from fastpath import DynamicAttention
from tests.benchmarks.interleaved import clock, medians

Array = NDArray[Any]

ROUNDS = 15

#: Tokens of which a hot mix updates only these many.
HOT = 32


class Recomputed:
    """Nothing kept: a row is computed when it is read."""

    def __init__(self, Q: Array, K: Array, V: Array) -> None:
        self.Q, self.K, self.V = Q.copy(), K.copy(), V.copy()
        self.V_by_column = np.ascontiguousarray(V.T)
        self.weights = np.empty(len(K))

    def update_key(self, i: int, j: int, delta: float) -> None:
        self.K[i, j] += delta

    def _weights(self, i: int) -> Array:
        weights = np.matmul(self.K, self.Q[i], out=self.weights)
        weights -= weights.max()
        return np.exp(weights, out=weights)

    def query(self, i: int, j: int) -> Any:
        weights = self._weights(i)
        return weights.dot(self.V_by_column[j]) / weights.sum()

    def query_row(self, i: int) -> Array:
        weights = self._weights(i)
        row: Array = (weights @ self.V) / weights.sum()
        return row


class Eager:
    """The weights and the output kept: every update changes all of both, by numpy or by dger."""

    def __init__(self, Q: Array, K: Array, V: Array, blas: bool) -> None:
        self.K, self.V, self.blas = K.copy(), V.copy(), blas
        self.Q_by_column = np.ascontiguousarray(Q.T)
        self.A = self.K @ self.Q_by_column
        self.A -= self.A.max(axis=0)
        np.exp(self.A, out=self.A)
        self.D = self.A.sum(axis=0)
        self.C = np.ascontiguousarray((self.V.T @ self.A).T)
        self.new, self.change = np.empty(len(Q)), np.empty(len(Q))
        self.outer = np.empty((1024, V.shape[1]))

    def update_key(self, i: int, j: int, delta: float) -> None:
        self.K[i, j] += delta
        weights, new, change = self.A[i], self.new, self.change
        np.multiply(self.Q_by_column[j], delta, out=new)
        np.exp(new, out=new)
        np.multiply(new, weights, out=new)
        np.subtract(new, weights, out=change)
        weights[:] = new
        self.D += change
        if self.blas:
            dger(1.0, self.V[i], change, a=self.C.T, overwrite_a=1)
        else:
            for start in range(0, len(change), 1024):
                rows = slice(start, start + 1024)
                part = change[rows, None]
                self.C[rows] += np.multiply(part, self.V[i], out=self.outer[: len(part)])

    def query(self, i: int, j: int) -> Any:
        return self.C[i, j] / self.D[i]

    def query_row(self, i: int) -> Array:
        row: Array = self.C[i] / self.D[i]
        return row


def _inputs(n: int, d: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((n, d)) for _ in range(3))
    return Q / np.sqrt(d), K, V


def _peers(n: int, d: int, names: str) -> dict[str, Any]:
    Q, K, V = _inputs(n, d)
    make: dict[str, Callable[[], Any]] = {
        "row": lambda: Recomputed(Q, K, V),
        "numpy": lambda: Eager(Q, K, V, blas=False),
        "dger": lambda: Eager(Q, K, V, blas=True),
        "cached": lambda: DynamicAttention(Q, K, V, mode="cached"),
        "dirty": lambda: DynamicAttention(Q, K, V, mode="dirty"),
        "auto": lambda: DynamicAttention(Q, K, V),
    }
    return {name: make[name]() for name in names.split()}


def _mix(
    rng: np.random.Generator, n: int, d: int, groups: int, updates: int, reads: int, hot: bool
) -> list[Any]:
    tokens = rng.integers(HOT if hot else n, size=(groups, updates)).tolist()
    columns = rng.integers(d, size=(groups, updates)).tolist()
    deltas = (0.05 * rng.standard_normal((groups, updates))).tolist()
    rows = rng.integers(n, size=(groups, reads)).tolist()
    entries = rng.integers(d, size=(groups, reads)).tolist()
    return list(zip(tokens, columns, deltas, rows, entries, strict=True))


def _seconds(dynamic: Any, mix: list[Any], read: str) -> float:
    """Return the seconds of one group of updates and reads."""
    update, row, entry = dynamic.update_key, dynamic.query_row, dynamic.query
    start = clock()
    for tokens, columns, deltas, rows, entries in mix:
        for i, j, delta in zip(tokens, columns, deltas, strict=True):
            update(i, j, delta)
        if read == "row":
            for i in rows:
                row(i)
        else:
            for i, j in zip(rows, entries, strict=True):
                entry(i, j)
    return (clock() - start) / len(mix)


def _cell(
    peers: dict[str, Any], n: int, d: int, updates: int, reads: int, read: str, hot: bool
) -> dict[str, float]:
    """Return the median seconds of a group, peers in turn, after the mix has been met for a while."""
    rng = np.random.default_rng(1)
    longest = max(updates, reads)
    if "auto" in peers:
        # Six reviews: a choice needs two, and moving up must first be earned.
        for _ in range(6):
            groups = 1 + 1024 // updates
            _seconds(peers["auto"], _mix(rng, n, d, groups, updates, reads, hot), read)
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(ROUNDS):
        # Long enough for each peer to have its own arrays in the cache again.
        groups = 8 + min(2048, 2**29 // (n * d)) // longest
        mix = _mix(rng, n, d, groups, updates, reads, hot)
        for name, peer in peers.items():
            seconds[name].append(_seconds(peer, mix, read))
    return {name: statistics.median(times) for name, times in seconds.items()}


def _report(benchmark: Any, times: dict[str, float], ours: str, **more: Any) -> None:
    benchmark.extra_info.update({f"{name} (us)": 1e6 * t for name, t in times.items()})
    for name, time in times.items():
        if name != ours:
            benchmark.extra_info[f"{name} / {ours}"] = time / times[ours]
    benchmark.extra_info.update(more)
    shown = ", ".join(
        f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}"
        for k, v in benchmark.extra_info.items()
    )
    print(f"\n{benchmark.name}: {shown}")


@pytest.mark.parametrize(
    ("n", "d", "updates", "reads", "hot"),
    [
        (4096, 64, 1, 1, False),
        (4096, 128, 1, 1, False),
        (2048, 2048, 1, 1, False),
        (4096, 64, 1, 10, False),
        (8192, 64, 1, 10, False),
        (4096, 64, 10, 1, True),
    ],
)
def test_rows(benchmark: Any, n: int, d: int, updates: int, reads: int, hot: bool) -> None:
    peers = _peers(n, d, "row numpy dger cached dirty auto")
    times = _cell(peers, n, d, updates, reads, "row", hot)
    _report(benchmark, times, "auto")
    benchmark(peers["auto"].query_row, 0)


@pytest.mark.parametrize("hot", [False, True], ids=["uniform", "hot"])
@pytest.mark.parametrize("read", ["entry", "row"])
@pytest.mark.parametrize(("updates", "reads"), [(1, 100), (1, 10), (1, 1), (10, 1), (100, 1)])
def test_auto_against_the_best_fixed_strategy(
    benchmark: Any, updates: int, reads: int, read: str, hot: bool
) -> None:
    peers = _peers(4096, 64, "row dger cached dirty auto")
    times = _cell(peers, 4096, 64, updates, reads, read, hot)
    best = min((t, name) for name, t in times.items() if name != "auto")
    _report(benchmark, times, "auto", best=best[1], ratio=times["auto"] / best[0])
    benchmark(peers["auto"].query, 0, 0)


def test_columns_and_everything(benchmark: Any) -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional peer: pip install .[peers]")
    torch.set_num_threads(1)
    Q, K, V = _inputs(4096, 64)
    dynamic = DynamicAttention(Q, K, V, mode="cached")
    q, k, v = (torch.from_numpy(x)[None, None] for x in (Q, K, V))
    rng = np.random.default_rng(2)

    def pair() -> None:
        dynamic.update_key(int(rng.integers(4096)), 3, 0.01)
        dynamic.query_row(7)

    def column() -> Array:
        weights = Q @ K.T
        weights -= weights.max(axis=1, keepdims=True)
        np.exp(weights, out=weights)
        found: Array = weights @ V[:, 3] / weights.sum(axis=1)
        return found

    sdpa = torch.nn.functional.scaled_dot_product_attention
    calls: dict[str, Callable[[], Any]] = {
        "column": lambda: dynamic.query_column(3),
        "column recomputed": column,
        "pair": lambda: [pair() for _ in range(64)],
        "torch": lambda: sdpa(q, k, v, scale=1.0),
    }
    times = medians(calls, ROUNDS)
    _report(
        benchmark,
        times,
        "column",
        column_ratio=times["column recomputed"] / times["column"],
        torch_ratio=times["torch"] / times["pair"] * 64,
    )
    benchmark(dynamic.query_column, 3)


def test_an_update_and_a_rebuild(benchmark: Any) -> None:
    """An update in sweeps of exp over n, and a rebuild against the matrix product that it is."""
    n, d, k = 4096, 64, 64
    Q, K, V = _inputs(n, d)
    dynamic = DynamicAttention(Q, K, V, mode="cached", rebuild_every=k + 1)
    strategy = dynamic._strategy
    exponents, weights = np.full(n, -0.5), np.empty(n)
    a, b = (np.random.default_rng(3).standard_normal(s) for s in ((n, k), (k, d + 1)))
    # The faster orientation of the two.
    product = np.zeros((n, d + 1), order="F")
    a, b = np.asfortranarray(a), np.asfortranarray(b)

    def updates() -> None:
        for i in range(k):
            dynamic.update_key(i, i % d, 0.01)

    times = medians(
        {
            "64 updates": updates,
            "rebuild": strategy.rebuild,
            "64 exp": lambda: [np.exp(exponents, out=weights) for _ in range(k)],
            "gemm": lambda: dgemm(1.0, a, b, beta=1.0, c=product, overwrite_c=1),
        },
        ROUNDS,
    )
    _report(
        benchmark,
        times,
        "rebuild",
        sweeps=times["64 updates"] / times["64 exp"],
        gemm_share=times["gemm"] / times["rebuild"],
    )
    benchmark(dynamic.update_key, 0, 0, 0.01)


@pytest.mark.parametrize("square", [False, True], ids=["d = 64", "d = n"])
def test_the_slope_of_an_update(benchmark: Any, square: bool) -> None:
    """How the amortised cost of an update, rebuilds included, grows with n."""
    sizes = [256, 512, 1024, 2048] if square else [1024, 2048, 4096, 8192]
    states = {n: DynamicAttention(*_inputs(n, n if square else 64), mode="cached") for n in sizes}
    rng = np.random.default_rng(4)

    def updates(n: int) -> None:
        for i in rng.integers(n, size=256).tolist():
            states[n].update_key(i, i % 64, 0.01)

    times = medians({str(n): lambda n=n: updates(n) for n in sizes}, ROUNDS)
    slope = np.polyfit(np.log(sizes), np.log(list(times.values())), 1)[0]
    _report(benchmark, times, str(sizes[0]), slope=float(slope))
    benchmark(states[sizes[0]].query_row, 0)


@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_the_worst_update(benchmark: Any, mode: Any) -> None:
    n, d = 4096, 64
    inputs = _inputs(n, d)
    sliced = DynamicAttention(*inputs, mode=mode, worst_case=True)
    at_once = DynamicAttention(*inputs, mode=mode)
    rng = np.random.default_rng(5)
    seconds: dict[str, list[float]] = {"sliced": [], "at once": []}
    for i in rng.integers(n, size=4096).tolist():
        for name, dynamic in (("sliced", sliced), ("at once", at_once)):
            start = clock()
            dynamic.update_key(i, i % d, 0.01)
            seconds[name].append(clock() - start)
    times = np.array(seconds["sliced"][256:])
    mean = float(times.mean())
    _report(
        benchmark,
        {"sliced": mean, "at once": float(np.mean(seconds["at once"][256:]))},
        "sliced",
        max_by_mean=float(times.max() / mean),
        p99_by_p50=float(np.percentile(times, 99) / np.median(times)),
        mean_by_amortised=mean / float(np.mean(seconds["at once"][256:])),
    )
    benchmark(sliced.update_key, 0, 0, 0.01)


@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_updates_allocate_nothing(benchmark: Any, mode: Any) -> None:
    """No update asks for as much as one row of the pending pairs, rebuilds apart."""
    n = 4096
    dynamic = DynamicAttention(*_inputs(n, 64), mode=mode, rebuild_every=64)
    tracemalloc.start()
    for i in range(63):
        dynamic.update_key(i, 0, 0.01)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for i in range(63):
        dynamic.update_key(i, 1, 0.01)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    _report(benchmark, {mode: 0.0}, mode, peak_bytes=peak)
    assert peak < 8 * n
    benchmark(dynamic.update_key, 0, 0, 0.01)
