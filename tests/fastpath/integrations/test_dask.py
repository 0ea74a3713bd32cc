"""Attention, Gram matrices and sparsification over shards: right whatever the partitions and whoever dies."""

import os
import signal
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("dask", reason="fastpath.distributed needs the extra attest-attention[dask]")

import dask.array as da
from dask import delayed
from dask.sizeof import sizeof

import fastpath
from fastpath.distributed import (
    attention,
    gram,
    merged_answers,
    merged_grams,
    merged_states,
    sparsify,
)
from fastpath.integrations.dask import _gram_sum
from reference import Verdict, attention_verdict
from reference.arithmetic.decide import decide
from reference.attention import log_sum_exp


def _drawn(*shape: int, seed: int, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def _judge(result: Any, Q: Any, K: Any, V: Any, scale: float) -> None:
    verdict, _ = attention_verdict(Q, K, V, result.output, result.error_bound, scale=scale)
    assert verdict is Verdict.WITHIN
    verdict, _ = decide(
        lambda bits: log_sum_exp(Q, K, scale=scale, precision=bits),
        result.log_sum_exp,
        result.log_sum_exp_bound,
    )
    assert verdict is Verdict.WITHIN


# -------------------------------------------------------------------------------------- attention


@given(
    n=st.integers(1, 25),
    size=st.integers(1, 6),
    scale=st.sampled_from([0.5, 1.0, 40.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=12)
def test_attention_over_any_partitions_is_within_its_bound(
    n: int, size: int, scale: float, dtype: Any
) -> None:
    Q, K, V = (_drawn(*s, seed=i, dtype=dtype) for i, s in enumerate([(3, 2), (n, 2), (n, 2)]))
    shards = (da.from_array(K, chunks=(size, 2)), da.from_array(V, chunks=(size, 2)))
    result = attention(Q, *shards, scale=scale)
    assert result.output.dtype == dtype
    assert set(fastpath.attention(Q, K, V, scale=scale).claims) <= set(result.claims)
    _judge(result, Q, K, V, scale)


def test_more_partitions_than_one_task_takes_are_merged_in_a_tree() -> None:
    Q, K, V = _drawn(2, 3, seed=0), _drawn(70, 3, seed=1), _drawn(70, 1, seed=2)
    result = attention(Q, [*K[:, None]], [*V[:, None]])
    one = fastpath.attention(Q, K, V)
    assert (np.abs(result.output - one.output) <= result.error_bound + one.error_bound).all()
    assert "FP.merge" in result.claims


def test_partitions_without_rows_are_passed_over() -> None:
    Q, K, V = _drawn(2, 3, seed=0), _drawn(4, 3, seed=1), _drawn(4, 2, seed=2)
    result = attention(Q, [K[:0], delayed(K), K[:0]], [V[:0], V, V[:0]])
    one = fastpath.attention(Q, K, V)
    for field in ("output", "error_bound", "log_sum_exp", "log_sum_exp_bound"):
        assert np.array_equal(getattr(result, field), getattr(one, field))
    with pytest.raises(ValueError, match="K must have a key, got partitions without rows"):
        attention(Q, [K[:0]] * 2, [V[:0]] * 2)


@pytest.mark.parametrize(
    ("Q", "K", "V", "message"),
    [
        (np.ones(3), [np.ones((2, 3))], [np.ones((2, 1))], "Q must be a matrix"),
        (np.full((1, 3), np.nan), [np.ones((2, 3))], [np.ones((2, 1))], "Q must be finite"),
        (np.ones((1, 3)), [np.ones((2, 3))], [], "same number of partitions, got 1 and 0"),
        (np.ones((1, 3)), [np.full((2, 3), np.inf)], [np.ones((2, 1))], "K must be finite"),
        (np.ones((1, 3)), [np.ones((0, 3))], [np.ones((2, 1))], "K must not be empty"),
        (np.ones((1, 3)), da.ones((4, 3), chunks=(2, 1)), [np.ones((2, 1))], "by rows only"),
    ],
)
def test_what_does_not_fit_is_refused(Q: Any, K: Any, V: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention(Q, K, V)


def test_what_tasks_of_ones_own_have_made_is_put_together() -> None:
    Q, K, V = _drawn(2, 3, seed=0), _drawn(20, 3, seed=1), _drawn(20, 2, seed=2)
    cuts = [slice(i, i + 2) for i in range(0, 20, 2)]
    answer = merged_answers([delayed(fastpath.attention)(Q, K[cut], V[cut]) for cut in cuts])
    one = fastpath.attention(Q, K, V)
    assert (np.abs(answer.output - one.output) <= answer.error_bound + one.error_bound).all()
    G = merged_grams([delayed(fastpath.gram)(K[cut].T) for cut in cuts])
    assert np.array_equal(G.matrix, gram([K[cut].T for cut in cuts]).matrix)
    for function in (merged_answers, merged_grams, merged_states):
        with pytest.raises(ValueError, match="got none"):
            function([])


# ------------------------------------------------------------------------------------ Gram matrix


def _exactly(X: Any) -> Any:
    rows = [[Fraction(x) for x in row] for row in X.tolist()]
    return [[sum(map(lambda x, y: x * y, a, b), Fraction(0)) for b in rows] for a in rows]


@given(d=st.integers(1, 30), size=st.integers(1, 5), sparse=st.booleans())
@settings(max_examples=12)
def test_the_gram_matrix_of_any_blocks_is_within_its_error(d: int, size: int, sparse: bool) -> None:
    X = _drawn(3, d, seed=d)
    blocks = [X[:, i : i + size] for i in range(0, d, size)]
    G = gram([sp.csc_array(b) for b in blocks] if sparse else da.from_array(X, chunks=(3, size)))
    exact = _exactly(X)
    for i in range(3):
        for j in range(3):
            off = Fraction(G.matrix[i, j]) - exact[i][j]
            assert off**2 <= Fraction(G.error) ** 2 * exact[i][i] * exact[j][j]


def test_every_sum_of_blocks_is_a_rounding_and_leaves_its_terms_as_they_were() -> None:
    """Catches: sums of blocks whose roundings are not counted: 1 + 2^-53 a hundred times over."""
    one, other = fastpath.gram(np.ones((1, 1))), fastpath.gram(np.full((1, 1), 2.0**-26.5))
    total = _gram_sum([one, *[other] * 100])
    assert total.roundings == one.roundings + 100
    exact = 1 + 100 * Fraction(other.matrix[0, 0])
    assert exact - Fraction(total.matrix[0, 0]) <= Fraction(total.error) * exact
    assert one.matrix[0, 0] == 1.0
    deep = fastpath.Gram(matrix=np.ones((1, 1)), roundings=40)
    assert _gram_sum([one, deep, one]).roundings == 42


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.ones((2, 2)), TypeError, "X must be a dask array or a sequence .* got ndarray"),
        ("ab", TypeError, "got str"),
        ([], ValueError, "X must have a block of columns, got none"),
        (da.ones((4, 4), chunks=(2, 2)), ValueError, "partitioned by columns only"),
        ([np.ones((2, 1)), np.ones((3, 1))], ValueError, "same number of rows, got 2 and 3"),
        ([np.full((2, 1), np.nan)], ValueError, "X"),
    ],
)
def test_features_that_do_not_fit_are_refused(X: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gram(X)


def test_dask_knows_how_large_results_are() -> None:
    """Catches: results that Dask takes for a few bytes each, and moves or hoards."""
    assert sizeof(fastpath.gram(np.eye(100))) == 80_000
    answer = fastpath.attention(np.ones((10, 2)), np.ones((3, 2)), np.ones((3, 5)))
    assert sizeof(answer) == 8 * 10 * (5 + 5 + 1 + 1)
    state = fastpath.MomentState(3, 2, 4)
    assert sizeof(state) == state.nbytes == 8 * 35 * 3


# ---------------------------------------------------------------------------------- fewer columns


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
def test_columns_kept_over_blocks_are_certified_against_the_whole(dtype: Any, sparse: bool) -> None:
    X = _drawn(4, 900, seed=3, dtype=dtype)
    blocks: Any = da.from_array(X, chunks=(4, 130))
    if sparse:
        blocks = [sp.csc_array(X[:, i : i + 130]) for i in range(0, 900, 130)]
    result = sparsify(blocks, 400, rng=np.random.default_rng(5))
    assert result.Y.dtype == dtype
    assert result.columns is not None
    assert result.weights is not None
    assert np.array_equal(result.Y, X[:, result.columns] * np.sqrt(result.weights).astype(dtype))
    assert 300 < len(result.columns) < 500
    assert result.certificate == "cholesky"
    assert result.epsilon < 0.5
    assert fastpath.certify_loewner(X, result.Y, result.epsilon * (1 + 2.0**-20))
    again = sparsify(blocks, 400, rng=np.random.default_rng(5))
    assert np.array_equal(again.columns, result.columns)


def test_a_heavy_column_of_any_block_is_kept() -> None:
    X = np.full((2, 60), 2.0**-20)
    X[0, 17], X[1, 51] = 1.0, -1.0
    result = sparsify([X[:, i : i + 10] for i in range(0, 60, 10)], 20)
    assert result.columns is not None
    assert {17, 51} <= set(result.columns.tolist())


def test_a_width_or_generator_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be"):
        sparsify([np.ones((2, 3))], 0)
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator or None, got 3"):
        sparsify([np.ones((2, 3))], 2, rng=3)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------- workers that die

PARTITIONS, ROWS = 16, 500


def _slowly(partition: int, columns: int, marks: str) -> Any:
    """Leave a mark with the worker's process id, then draw a partition."""
    Path(marks, f"{partition}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(0.3)
    return _drawn(ROWS, columns, seed=partition)


def _kill_at_random(marks: Path, rng: np.random.Generator, killed: list[int]) -> None:
    """Kill the worker that began last, once a random number of partitions have begun, twice over."""
    deadline = time.monotonic() + 120
    for when in np.sort(rng.choice(np.arange(2, PARTITIONS), 2, replace=False)):
        while time.monotonic() < deadline:
            found = sorted(marks.iterdir(), key=lambda mark: int(mark.name.split("-")[2]))
            process = int(found[-1].name.split("-")[1]) if found else 0
            if len(found) >= when and process not in killed:
                os.kill(process, signal.SIGKILL)
                killed.append(process)
                break
            time.sleep(0.02)


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")  # of dask's and tornado's own, on the way down
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("what", ["attention", "gram", "sparsify"])
def test_workers_killed_at_random_take_nothing_with_them(
    what: str, seed: int, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed", reason="needs attest-attention[dask]")
    parts = [delayed(_slowly)(i, 3, str(tmp_path)) for i in range(PARTITIONS)]
    whole = np.concatenate([_drawn(ROWS, 3, seed=i) for i in range(PARTITIONS)])
    killed: list[int] = []
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster),
    ):
        killer = threading.Thread(
            target=_kill_at_random, args=(tmp_path, np.random.default_rng(seed), killed)
        )
        killer.start()
        if what == "attention":
            Q = _drawn(5, 3, seed=99)
            result = attention(Q, parts, [part[:, :2] for part in parts])
            one = fastpath.attention(Q, whole, whole[:, :2])
            off = np.abs(result.output - one.output)
            assert (off <= result.error_bound + one.error_bound).all()
            assert "FP.merge" in result.claims
        else:
            blocks = [part.T for part in parts]
            if what == "gram":
                G = gram(blocks)
                assert fastpath.certified_closeness(whole.T, G).epsilon < 2.0**-30
            else:
                kept = sparsify(blocks, 600, rng=np.random.default_rng(seed))
                assert kept.certificate == "cholesky"
                assert fastpath.certify_loewner(whole.T, kept.Y, kept.epsilon * (1 + 2.0**-20))
        killer.join()
    assert len(killed) == 2
