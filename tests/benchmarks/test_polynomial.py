"""Polynomial attention against exact attention and kernel features: interleaved, medians of one run.

``make bench`` runs these with one BLAS thread; they report and assert nothing about time.  Exact
attention of all queries would take minutes: it is timed on ``SAMPLE`` of them against all keys, and
the times stated are n / SAMPLE times as long (half of that where attention is causal).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastpath
from tests.benchmarks.interleaved import medians, seconds

ROUNDS = 5
KEYS = 2**18
SAMPLE = 512

#: Tiles of exact attention, of which the fastest is taken.
TILES = [(128, 512), (256, 1024), (512, 256)]


def _inputs(d: int, half_range: float) -> tuple[Any, Any, Any]:
    """Draw queries and keys in balls whose product bounds the logits by half_range."""
    rng = np.random.default_rng(0)

    def ball() -> Any:
        x = rng.standard_normal((KEYS, d))
        x *= rng.random((KEYS, 1)) ** (1 / d) / np.linalg.norm(x, axis=1, keepdims=True)
        return (np.sqrt(half_range) * x).astype(np.float32)

    return ball(), ball(), rng.standard_normal((KEYS, d)).astype(np.float32)


def _blocked(Q: Any, K: Any, V: Any, tile: tuple[int, int]) -> Any:
    """Return exact attention in numpy, tile by tile, as fast as it goes where no logit needs a shift."""
    weights = np.ones((len(K), V.shape[1] + 1), Q.dtype)
    weights[:, :-1] = V
    keys = np.ascontiguousarray(K.T)
    output = np.empty((len(Q), V.shape[1]), Q.dtype)
    logits = np.empty(tile, Q.dtype)
    for i in range(0, len(Q), tile[0]):
        q = Q[i : i + tile[0]]
        total = np.zeros((len(q), weights.shape[1]), Q.dtype)
        for j in range(0, len(K), tile[1]):
            s = logits[: len(q), : len(K[j : j + tile[1]])]
            np.matmul(q, keys[:, j : j + tile[1]], out=s)
            np.exp(s, out=s)
            total += s @ weights[j : j + tile[1]]
        output[i : i + tile[0]] = total[:, :-1] / total[:, -1:]
    return output


def _error(output: Any, Q: Any, K: Any, V: Any) -> float:
    """Return the largest error over the sample, relative to the largest value."""
    q, k, v = (x.astype(np.float64) for x in (Q[:SAMPLE], K, V))
    exact = _blocked(q, k, v, (64, 4096))
    return float(np.abs(output[:SAMPLE] - exact).max() / np.abs(V).max())


@pytest.mark.parametrize(
    ("d", "half_range", "tolerance", "causal"),
    [
        (2, 1.0, 1e-3, False),
        (4, 1.0, 1e-3, False),
        (4, 2.0, 1e-3, False),
        (4, 8.0, 1e-2, False),
        (8, 1.0, 1e-3, False),
        (8, 2.0, 1e-3, False),
        (4, 1.0, 1e-3, True),
    ],
)
def test_polynomial_attention_of_262144_keys_in_float32(
    benchmark: Any, d: int, half_range: float, tolerance: float, causal: bool
) -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional peer: pip install .[peers]")
    torch.set_num_threads(1)
    Q, K, V = _inputs(d, half_range)
    few = Q[:SAMPLE]
    tile = min(
        TILES, key=lambda tile: min(seconds(lambda: _blocked(few, K, V, tile)) for _ in "ab")
    )
    q, k, v = (torch.from_numpy(x)[None, None] for x in (few, K, V))
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def run() -> Any:
        return fastpath.polynomial_attention(Q, K, V, tolerance=tolerance, causal=causal)

    times = medians(
        {
            "fastpath": run,
            "numpy": lambda: _blocked(few, K, V, tile),
            "torch": lambda: sdpa(q, k, v, scale=1.0),
        },
        ROUNDS,
    )
    times_longer = KEYS / SAMPLE / (2 if causal else 1) / times["fastpath"]
    result = run()
    benchmark.extra_info |= {
        "numpy, extrapolated / fastpath": times["numpy"] * times_longer,
        "torch, extrapolated / fastpath": times["torch"] * times_longer,
        "degree": result.expansion.degree,
        "certified error / max|V|": float(result.error_bound.max() / np.abs(V).max()),
    }
    if not causal:
        benchmark.extra_info["observed error / max|V|"] = _error(result.output, Q, K, V)
    print(f"\n{benchmark.extra_info}")
    benchmark.pedantic(run, rounds=ROUNDS)


@pytest.mark.parametrize("n", [2**k for k in range(7, 15)])
def test_time_against_n(benchmark: Any, n: int) -> None:
    """Where linear time begins to pay: d = 4, logits within 1, 1e-3 of the largest value."""
    torch = pytest.importorskip("torch", reason="torch is an optional peer: pip install .[peers]")
    torch.set_num_threads(1)
    Q, K, V = (x[:n] for x in _inputs(4, 1.0))
    q, k, v = (torch.from_numpy(x)[None, None] for x in (Q, K, V))
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def run() -> Any:
        return fastpath.polynomial_attention(Q, K, V, tolerance=1e-3, workers=1)

    times = medians(
        {
            "fastpath": run,
            "attention": lambda: fastpath.attention(Q, K, V, workers=1),
            "torch": lambda: sdpa(q, k, v, scale=1.0),
        },
        ROUNDS,
    )
    benchmark.extra_info |= {
        "fastpath, ms": 1e3 * times["fastpath"],
        "attention / fastpath": times["attention"] / times["fastpath"],
        "torch / fastpath": times["torch"] / times["fastpath"],
    }
    print(f"\n{benchmark.extra_info}")
    benchmark.pedantic(lambda: None)


def _by_features(features: Callable[[Any], Any], Q: Any, K: Any, V: Any, weights: Any) -> Any:
    """Return attention with the kernel features(q).features(k) times the weight of a key."""
    ones = np.concatenate((V, np.ones((len(V), 1), V.dtype)), axis=1)
    total = features(Q) @ (features(K).T @ (ones * weights[:, None]))
    return total[:, :-1] / total[:, -1:]


def _nystroem(Q: Any, K: Any, V: Any, components: int) -> Any:
    """Return attention by scikit-learn's Nystroem features of the Gaussian kernel.

    e^(q.k) is that kernel times e^(|q|^2/2), which cancels in a row, and e^(|k|^2/2).
    """
    from sklearn.kernel_approximation import Nystroem

    approximation = Nystroem(gamma=0.5, n_components=components, random_state=0).fit(K[::64])
    return _by_features(approximation.transform, Q, K, V, np.exp(np.square(K).sum(axis=1) / 2))


def _random_features(Q: Any, K: Any, V: Any, count: int) -> Any:
    """Return attention by Performer-style positive features e^(w.x - |x|^2/2), w orthogonal in blocks."""
    rng, d = np.random.default_rng(0), Q.shape[1]
    blocks = [np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(-(-count // d))]
    directions = np.concatenate(blocks)[:count]
    lengths = np.linalg.norm(rng.standard_normal((count, d)), axis=1)
    w = (directions * lengths[:, None]).T.astype(Q.dtype)

    def features(x: Any) -> Any:
        return np.exp(x @ w - np.square(x).sum(axis=1, keepdims=True) / 2)

    return _by_features(features, Q, K, V, np.ones(len(K), Q.dtype))


@pytest.mark.parametrize("d", [4, 8])
def test_kernel_features_at_equal_error(benchmark: Any, d: int) -> None:
    """Time the least Nystroem approximation that errs no more than polynomial attention does.

    Random features never get there; they stand beside it with their error.
    """
    pytest.importorskip("sklearn", reason="scikit-learn is an optional peer: pip install .[peers]")
    Q, K, V = _inputs(d, 1.0)

    def run() -> Any:
        return fastpath.polynomial_attention(Q, K, V, tolerance=1e-3)

    error = _error(run().output, Q, K, V)
    for components in (16, 32, 64, 128, 256, 512):
        nystroem_error = _error(_nystroem(Q[:SAMPLE], K, V, components), Q, K, V)
        if nystroem_error <= error:
            break
    times = medians(
        {
            "fastpath": run,
            "nystroem": lambda: _nystroem(Q, K, V, components),
            "random features": lambda: _random_features(Q, K, V, 256),
        },
        ROUNDS,
    )
    benchmark.extra_info |= {
        "error / max|V|": error,
        f"Nystroem of {components} components, error / max|V|": nystroem_error,
        "Nystroem / fastpath": times["nystroem"] / times["fastpath"],
        "256 positive random features, error / max|V|": _error(
            _random_features(Q[:SAMPLE], K, V, 256), Q, K, V
        ),
        "random features / fastpath": times["random features"] / times["fastpath"],
    }
    print(f"\n{benchmark.extra_info}")
    benchmark.pedantic(run, rounds=ROUNDS)
