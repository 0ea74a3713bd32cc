"""Measure every constant of ``fastpath.core.costs`` anew: ``python -m tests.benchmarks.calibrate``.

Prints the processor, and for each constant what was measured and what stands there, in its unit.  A line that
is off by a factor of two deserves a look; choices seldom depend on less.  One thread; the processor's time,
the least of several rounds; half a minute.
"""

import os

# Before numpy is loaded, which asks once.
os.environ.update(
    dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)

import platform
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import nnls

import fastpath
from fastpath.core import costs
from fastpath.core.head import Head
from fastpath.core.offers import Refusal
from fastpath.exact.attention import KEY_BLOCK, QUERY_BLOCK
from fastpath.polynomial.attention import polynomial_offer
from fastpath.real_heads.causal_clusters import CausalClusteredHead
from fastpath.real_heads.causal_dropping import CausalDroppedKeys
from fastpath.real_heads.clustered_head import PILOT_CLUSTERS, PILOT_ROWS, ClusteredHead
from fastpath.real_heads.dropped_keys import TOGETHER, DroppedKeys
from fastpath.real_heads.exact_rows import exact_rows
from fastpath.real_heads.own_blocks import block_size, own_block
from fastpath.real_heads.sampled_keys import SampledKeys
from fastpath.sparsification import gram
from fastpath.sparsification.barriers import barrier_columns
from fastpath.sparsification.certificate import range_factor
from fastpath.sparsification.feature_matrix import FeatureMatrix, feature_matrix
from fastpath.sparsification.sketches import osnap
from tests.benchmarks.interleaved import seconds

ROUNDS = 3

Measured = Iterator[tuple[str, float]]


def least(call: Callable[[], Any], times: int = 1) -> float:
    """Return the least seconds of a call, over some rounds of so many."""

    def repeated() -> None:
        for _ in range(times):
            call()

    repeated()
    return min(seconds(repeated) for _ in range(ROUNDS)) / times


def fitted(rows: list[list[float]], taken: list[float]) -> Any:
    """Return the coefficients, none negative, with which the rows add up to what was taken, relatively."""
    scale = np.array(taken)[:, None]
    return nnls(np.array(rows) / scale, np.ones(len(taken)))[0]


def unit() -> float:
    """Return the seconds of a multiply-add in the product of a tile of exact attention of 32 columns."""
    q, k = np.random.default_rng(0).standard_normal((2, QUERY_BLOCK, 32)).astype(np.float32)
    k, tile = k[:KEY_BLOCK], np.empty((QUERY_BLOCK, KEY_BLOCK), np.float32)
    return least(lambda: np.matmul(q, k.T, out=tile), 50) / (tile.size * 32)


def head(n: int, d: int, size: float) -> Head:
    rng = np.random.default_rng(0)
    K, V = rng.standard_normal((2, n, d)).astype(np.float32)
    noise = rng.standard_normal((n, d)) / 20
    Q = (size * (K[rng.integers(0, 200, n)] + noise)).astype(np.float32)
    return Head.of(Q, K, V, causal=False)


def attention(one: float) -> Measured:
    given = head(4096, 32, 0.1)
    taken = least(lambda: fastpath.attention(given.queries, given.keys, given.values)) / one
    yield "LOGIT", taken / 4096**2 - 64
    low = head(20_000, 3, 0.05)
    offer = polynomial_offer(low, 1e-3)
    assert not isinstance(offer, Refusal)
    products = offer.cost / costs.FEATURE_PRODUCT
    planned = least(lambda: polynomial_offer(low, 1e-3))
    yield "FEATURE_PRODUCT", (least(offer.take) + planned) / one / products


def dropping(one: float) -> Measured:
    given = head(8192, 32, 3.0)

    def plan() -> Any:
        return DroppedKeys.planned(given, 0.01, np.random.default_rng(0))

    yield "DROPPING_ROW", least(plan) / one / len(given.queries)
    planned, n = plan(), len(given.keys)
    some = np.arange(TOGETHER)
    yield "DROPPING_KEY", least(lambda: planned._weigh(some)) / one / (TOGETHER * n)
    rows, taken, rng = [], [], np.random.default_rng(0)
    for kept in (256, 1024, 4096):
        for queries in (8, 64, 256):
            keys, q = np.sort(rng.permutation(n)[:kept]), given.queries[:queries]
            shift = (q @ given.keys.T).max(axis=1)
            rows.append([kept, kept * queries * costs.pair_cost(given)])
            taken.append(least(lambda q=q, k=keys, s=shift: planned._sums(q, k, s, None)) / one)
    yield from zip(("DROPPING_FETCHED", "DROPPING_PAIR"), fitted(rows, taken), strict=True)
    a = int(np.argmax(planned._clusters.sizes))
    shift, every = planned._shift(a, planned._weigh(np.array([a])), 0), np.arange(n)
    pairs = n * len(shift) * costs.pair_cost(given)
    yield "DROPPING_TESTED", least(lambda: planned._heavy(a, every, shift)) / one / pairs


def clusters(one: float) -> Measured:
    given = head(8192, 32, 0.2)

    def plan() -> Any:
        return ClusteredHead.planned([given], np.random.default_rng(0))

    pilot = costs.rows_cost(given, PILOT_CLUSTERS * PILOT_ROWS)
    n = len(given.queries)
    yield "CLUSTERS_ROW", (least(plan) / one - pilot) / (2 * n)
    planned = plan()
    yield "CLUSTERS_SUMMED", _output(planned, 0) / one / _summed(planned)
    rows, more = [], []
    # Of two sizes, since clusters are as many as the root of the rows.
    small = ClusteredHead.planned([head(1024, 32, 0.2)], np.random.default_rng(0))
    for clustered in (planned, small):
        assert isinstance(clustered, ClusteredHead)
        without = _output(clustered, 0)
        for samples in (64, 256, 1024):
            sampled = clustered.pilot(samples, np.random.default_rng(0)).sampled
            queries, centres = len(clustered._head.queries), len(clustered._centres)
            pairs = queries * sampled * costs.pair_cost(given)
            rows.append([_summed(clustered), centres * sampled, pairs])
            more.append((_output(clustered, samples) - without) / one)
    names = "CLUSTERS_SAMPLED", "CLUSTERS_FETCHED", "CLUSTERS_PAIR"
    yield from zip(names, fitted(rows, more), strict=True)


def causal(one: float) -> Measured:
    given = replace(head(8192, 32, 0.2), causal=True)
    own = one * costs.pair_cost(given) * block_size(len(given.keys)) / 2
    rows = np.arange(len(given.keys))
    yield "CAUSAL_OWN", least(lambda: own_block(given, rows)) / own / len(rows)

    sharp = replace(head(8192, 32, 3.0), causal=True)
    planning = least(lambda: CausalDroppedKeys.planned(sharp, 0.01, np.random.default_rng(0)))
    yield "CAUSAL_DROPPING_ROW", planning / one / len(sharp.queries)

    def plan() -> Any:
        return CausalClusteredHead.planned([given], np.random.default_rng(0))

    pilot = costs.rows_cost(given, PILOT_CLUSTERS * PILOT_ROWS) / 2
    yield "CAUSAL_ROW", (least(plan) / one - pilot) / (2 * len(rows))
    planned = plan()
    of_own = least(lambda: planned._own(rows))
    without = _output(planned, 0)
    n_k, centres = len(given.keys), len(planned._centres)
    summed = float(centres * n_k + len(rows) * len(planned._keys.sizes))
    yield "CAUSAL_SUMMED", (without - of_own) / one / summed
    counts, more = [], []
    for samples in (64, 256, 1024):
        sampled = planned.pilot(samples, np.random.default_rng(0)).sampled
        pairs = len(rows) * sampled * costs.pair_cost(given) / 2
        counts.append([summed, centres * sampled, pairs])
        more.append((_output(planned, samples) - without) / one)
    names = "CAUSAL_SAMPLED", "CAUSAL_FETCHED", "CAUSAL_PAIR"
    yield from zip(names, fitted(counts, more), strict=True)


def sampled(one: float) -> Measured:
    given = head(8192, 32, 0.2)
    planned = SampledKeys([given], np.random.default_rng(0))
    few = Head(queries=given.queries[:4], keys=given.keys[:4], values=given.values[:4])
    yield "EXACT_CALL", least(lambda: exact_rows(few, np.arange(4))) / one
    pairs = 64 * costs.pair_cost(given)
    yield "SAMPLED_ROW", _output(planned, 64) / one / len(given.queries) - pairs


def _output(planned: Any, samples: int) -> float:
    return least(lambda: planned.output(samples, 0.0, np.random.default_rng(0)))


def _summed(planned: Any) -> float:
    head = planned._head
    keys = len(planned._centres) * len(head.keys)
    return float(keys + len(head.queries) * len(planned._keys.sizes))


def features(one: float) -> Measured:
    n = 512
    dense = np.random.default_rng(0).standard_normal((n, 8192))
    blocks = least(lambda: gram._dense_blocks(FeatureMatrix(entries=dense)))
    yield "SYMMETRIC_PRODUCT", blocks / one / (n * n * 8192)
    outer, sparse, outer_taken, sparse_taken = [], [], [], []
    single = sp.csc_array(
        (np.ones(200_000), np.arange(200_000) % n, np.arange(200_001)), shape=(n, 200_000)
    )
    several = [
        sp.random(n, d, held / n, format="csc", random_state=0)
        for d, held in ((200, 1), (20_000, 1), (200_000, 1), (20_000, 8), (4000, 32))
    ]
    for X in (single, *several):
        entries = np.diff(X.indptr)
        pairs = float((entries * (entries - 1)).sum() / 2)
        outer.append([pairs, float((entries > 1).sum()), float(X.nnz), n * n])
        outer_taken.append(least(lambda X=X, e=entries: gram._outer_products(X, e)) / one)
        sparse.append([float(X.nnz), float((entries**2).sum()), n * n])
        sparse_taken.append(least(lambda X=X: gram._scipy_product(X)) / one)
    names = "OUTER_PAIR", "OUTER_COLUMN", "OUTER_ENTRY", "OUTER_RESULT"
    yield from zip(names, fitted(outer, outer_taken), strict=True)
    names = "SPARSE_ENTRY", "SPARSE_PAIR", "SPARSE_RESULT"
    yield from zip(names, fitted(sparse, sparse_taken), strict=True)
    X = feature_matrix(sp.random(n, 200_000, 0.02, format="csr", random_state=0))
    sketch = least(lambda: osnap(X, 8192, np.random.default_rng(0)))
    yield "SKETCHED_ENTRY", sketch / one / X.stored
    n, oversampling = 64, 4
    X = FeatureMatrix(entries=np.random.default_rng(0).standard_normal((n, 8000)))
    whitening = range_factor(gram.gram_of(X))[1]
    barriers = least(lambda: barrier_columns(X, whitening, oversampling * n))
    yield "BARRIERS", barriers / one / (oversampling * n**4)


def tokens(one: float) -> Measured:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1024, 1024))
    yield "PRODUCT", least(lambda: a @ b) / one / 1024**3
    K, q = rng.standard_normal((4096, 64)), rng.standard_normal(64)
    yield "STREAMED_PRODUCT", least(lambda: K @ q, 200) / one / K.size
    x, y = -np.abs(rng.standard_normal((2, 4096)))
    yield "EXPONENTIAL", least(lambda: np.exp(x, out=y), 200) / one / x.size
    yield "PASS", least(lambda: np.add(x, y, out=y), 200) / one / x.size
    weights, token = np.ones((4096, 4104)), iter(np.tile(rng.permutation(4096), 2).tolist())
    yield "STRIDED", least(lambda: x.dot(weights[:, next(token)]), 200) / one / x.size
    small = rng.standard_normal(64)
    yield "CALL", least(lambda: small * small, 1000) / one
    dynamic = fastpath.DynamicAttention(K[:64, :8], K[:64, :8], K[:64, :8], mode="cached")
    yield "LOOK", least(lambda: dynamic.query(3, 1), 1000) / one


def processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Print what was measured beside what stands in ``fastpath.core.costs``."""
    one = unit()
    print(f"{processor()}, one thread")
    print(f"UNIT               {one:10.3g} s, {costs.UNIT:g} there")
    for measured in (attention, dropping, clusters, causal, sampled, features, tokens):
        # As public doors do, so that no warning is taken for time.
        with np.errstate(all="ignore"):
            for name, value in measured(one):
                print(f"{name:18s} {value:10.4g}, {getattr(costs, name):g} there", flush=True)


if __name__ == "__main__":
    main()
