"""sparsify and its parts against their peers: same data, same process, interleaved, medians of one run.

``make bench`` runs these with one BLAS thread; they report and assert nothing about time.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import fastpath
from fastpath.core.bounds.sparsification import bss_epsilon
from fastpath.sparsification.barriers import barrier_columns
from fastpath.sparsification.certificate import range_factor
from fastpath.sparsification.feature_matrix import FeatureMatrix, feature_matrix, take_columns
from fastpath.sparsification.leverage import leverage_scores, poisson_columns
from fastpath.sparsification.sketches import osnap
from tests.benchmarks.interleaved import medians


def _report(benchmark: Any, seconds: dict[str, float], **more: Any) -> None:
    """Say how many times as long as ours every peer takes."""
    ours = seconds["fastpath"]
    for name, time in seconds.items():
        if name != "fastpath":
            benchmark.extra_info[f"{name} / fastpath"] = round(time / ours, 2)
    benchmark.extra_info.update(more)
    print(f"\n{benchmark.extra_info}")
    benchmark.pedantic(lambda: None)


def _dense_product(X: Any) -> Any:
    whole = X.toarray()
    return whole @ whole.T


def _scipy_product(X: Any) -> Any:
    return (X @ X.T).toarray()


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize(
    ("d", "density"),
    [
        (1_000_000, 1e-3),
        (1_000_000, 1e-2),
        (100_000, 1e-3),
        (100_000, 1e-2),
        (100_000, 3e-2),
        (100_000, 0.1),
        (30_000, 0.3),
        (20_000, 0.6),
        (20_000, 1.0),
    ],
)
def test_gram_of_512_sparse_rows(benchmark: Any, d: int, density: float, layout: str) -> None:
    X = sp.random(512, d, density, format=layout, random_state=0)
    peers = {"fastpath": partial(fastpath.gram, X)}
    # At density 1 scipy's product takes minutes, at a million columns the dense array 4 GB.
    if density < 0.5:
        peers["scipy X @ X.T"] = partial(_scipy_product, X)
    if d <= 100_000:
        peers["densified GEMM"] = partial(_dense_product, X)
    _report(benchmark, medians(peers, 3))


@pytest.mark.parametrize(
    ("n", "d", "density"), [(128, 1_000_000, 1e-2), (512, 1_000_000, 1e-3), (512, 200_000, 1e-2)]
)
def test_osnap_with_16_columns_a_row(benchmark: Any, n: int, d: int, density: float) -> None:
    """OSNAP draws its matrix on every call, which scikit-learn does in ``fit``."""
    projection = pytest.importorskip("sklearn.random_projection")
    X = sp.random(n, d, density, format="csr", random_state=0)
    features, width = feature_matrix(X), 16 * n
    peer = projection.SparseRandomProjection(width, random_state=0, dense_output=True)
    fitted = peer.fit(X)
    _report(
        benchmark,
        medians(
            {
                "fastpath": lambda: osnap(features, width, np.random.default_rng(0)),
                "SparseRandomProjection.fit_transform": lambda: peer.fit_transform(X),
                "SparseRandomProjection.transform alone": lambda: fitted.transform(X),
            },
            3,
        ),
    )


def test_exact_factor_of_512_by_200000(benchmark: Any) -> None:
    extmath = pytest.importorskip("sklearn.utils.extmath")
    X = np.random.default_rng(0).standard_normal((512, 200_000))
    _report(
        benchmark,
        medians(
            {
                "fastpath": lambda: range_factor(fastpath.gram(X)),
                "sparsify, certificate included": lambda: fastpath.sparsify(X),
                "scikit-learn randomized_svd": lambda: extmath.randomized_svd(
                    X, 512, random_state=0
                ),
            },
            1,
        ),
    )


def test_certificate_at_512_rows(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((512, 4096))
    G, H = fastpath.gram(X), fastpath.gram(X + 1e-3 * rng.standard_normal(X.shape))
    epsilon = fastpath.certified_closeness(G, H).epsilon
    assert fastpath.certify_loewner(G, H, epsilon)
    benchmark(fastpath.certify_loewner, G, H, epsilon)


def test_barrier_columns_of_128_by_50000(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((128, 50_000))
    G = fastpath.gram(X)
    whitening = range_factor(G)[1]
    count = 4 * 128
    columns, weights = barrier_columns(FeatureMatrix(entries=X), whitening, count)

    def epsilon(columns: Any, weights: Any) -> float:
        Y = take_columns(FeatureMatrix(entries=X), columns) * np.sqrt(weights)
        return fastpath.certified_closeness(G, fastpath.gram(Y)).epsilon

    achieved = epsilon(columns, weights)
    needed = count
    while True:  # The least width, in steps of a tenth, whose median of 5 draws is as good.
        scores = leverage_scores(FeatureMatrix(entries=X), rng, whitening=whitening)
        draws = [epsilon(*poisson_columns(scores, needed, rng)) for _ in range(5)]
        if np.median(draws) <= achieved:
            break
        needed = int(needed * 1.1)
    # A tenth of the steps: a full scan costs the same in each.
    _report(
        benchmark,
        medians(
            {
                "fastpath": lambda: barrier_columns(FeatureMatrix(entries=X), whitening, count),
                "full scan": lambda: barrier_columns(
                    FeatureMatrix(entries=X), whitening, count, block=X.shape[1]
                ),
            },
            1,
        ),
        epsilon=round(achieved, 3),
        of_its_guarantee=round(achieved / float(bss_epsilon(4.0)), 3),
        columns=len(columns),
        leverage_columns_for_the_same=needed,
    )


def _slope(sizes: list[int], seconds: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


@pytest.mark.parametrize("what", ["gram in d", "gram in n", "osnap in nnz", "barriers in n"])
def test_how_cost_grows(benchmark: Any, what: str) -> None:
    """Log-log slopes beside the claims: nd n (dense Gram), nnz (sketch), n⁴ (barriers at 4 n)."""
    rng = np.random.default_rng(0)
    sizes = {
        "gram in d": [20_000, 40_000, 80_000, 160_000],
        "gram in n": [128, 256, 512, 1024],
        "osnap in nnz": [50_000, 100_000, 200_000, 400_000],
        "barriers in n": [48, 96, 192],
    }[what]
    seconds = []
    for size in sizes:
        if what == "gram in d":
            X = rng.standard_normal((256, size))
            call = partial(fastpath.gram, X)
        elif what == "gram in n":
            X = rng.standard_normal((size, 20_000))
            call = partial(fastpath.gram, X)
        elif what == "osnap in nnz":
            Z = feature_matrix(sp.random(128, size, 0.05, format="csr", random_state=0))
            call = partial(osnap, Z, 2048, rng)
        else:
            X = rng.standard_normal((size, 50 * size))
            W = range_factor(fastpath.gram(X))[1]
            call = partial(barrier_columns, FeatureMatrix(entries=X), W, 4 * size)
        seconds.append(medians({"fastpath": call}, 3)["fastpath"])
    benchmark.extra_info["slope"] = round(_slope(sizes, seconds), 2)
    print(f"\n{what}: {benchmark.extra_info}")
    benchmark.pedantic(lambda: None)
