"""Causal clusters: sums over the past are the definition's, the own block is exact, no later key counts."""

from typing import Any

import numpy as np
import pytest

from fastpath import attention, certified_attention
from fastpath.core.head import Head
from fastpath.core.offers import Refusal
from fastpath.real_heads import attention as real_heads
from fastpath.real_heads import causal_clusters, own_blocks
from fastpath.real_heads.causal_clusters import CausalClusteredHead
from fastpath.real_heads.own_blocks import block_size

N, D = 600, 4


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small heads have several blocks of time and of clusters."""
    monkeypatch.setattr(own_blocks, "TIME_BLOCKS", 5)
    monkeypatch.setattr(causal_clusters, "TOGETHER", 8)


def head(seed: int = 0, heads: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((heads, N, D))
    K = rng.standard_normal((N, D)) + rng.standard_normal(D)
    V = rng.standard_normal((N, 3)) + np.abs(K[:, :3])
    return tuple(x.astype(np.float32) for x in (Q, K, V))


def made(Q: Any, K: Any, V: Any, workers: int = 1) -> CausalClusteredHead:
    heads = [Head.of(q, K, V, causal=True, workers=workers) for q in Q]
    with np.errstate(all="ignore"):
        planned = CausalClusteredHead.planned(heads, np.random.default_rng(0))
    assert isinstance(planned, CausalClusteredHead)
    return planned


def output(planned: CausalClusteredHead, samples: int, repaired: float = 0.0, seed: int = 0) -> Any:
    with np.errstate(all="ignore"):
        return planned.output(samples, repaired, np.random.default_rng(seed))


def exact(Q: Any, K: Any, V: Any) -> Any:
    return np.stack([attention(q, K, V, causal=True).output for q in Q])


def errors(inputs: Any, found: Any) -> Any:
    return np.abs(found - exact(*inputs)).max(axis=-1)


def expansion(planned: CausalClusteredHead, V: Any, place: int) -> Any:
    """Return a row by the definition: each cluster's past as one key, and the keys of its own block."""
    order, keys = planned._queries.order, planned._keys
    a, row = planned._queries.labels[place], order[place]
    k = planned._k.astype(float)
    centre, step = planned._centres[a].astype(float), planned._steps[place].astype(float)
    first = row // block_size(N) * block_size(N)
    sums = np.zeros(V.shape[1] + 1)
    for b in range(len(keys.sizes)):
        past = np.flatnonzero((keys.labels == b) & (keys.order < first))
        if len(past):
            weights = np.exp(k[past] @ centre)
            factor = np.exp(step @ (weights @ k[past]) / weights.sum())
            sums += factor * (weights @ np.c_[V[keys.order[past]], np.ones(len(past))])
    own = np.flatnonzero((keys.order >= first) & (keys.order <= row))
    weights = np.exp(k[own] @ (centre + step))
    sums += weights @ np.c_[V[keys.order[own]], np.ones(len(own))]
    return sums[:-1] / sums[-1]


def test_without_samples_a_row_is_the_expansion_of_its_past_and_its_own_block() -> None:
    inputs = head()
    planned = made(*inputs)
    found = output(planned, 0)[0]
    for place in range(0, N, 30):
        row = planned._queries.order[place]
        expected = expansion(planned, inputs[2], place)
        if row < block_size(N):
            assert np.array_equal(found[row], exact(*inputs)[0, row])
            continue
        gap = np.abs(expected - exact(*inputs)[0, row]).max()
        assert np.abs(found[row] - expected).max() < gap / 8


def test_no_row_knows_a_value_of_a_later_block() -> None:
    Q, K, V = head()
    before = output(made(Q, K, V), 0)
    later = V.copy()
    first = 3 * block_size(N)
    later[first:] += np.float32(100)
    after = output(made(Q, K, later), 0)
    assert np.array_equal(before[:, :first], after[:, :first])
    assert not np.array_equal(before[:, first:], after[:, first:])


def test_a_key_of_the_future_moves_no_row_by_more_than_clusters_do() -> None:
    """With every key sampled the rows are those of exact attention: of the past and the own block alone."""
    inputs = head()
    everything = errors(inputs, output(made(*inputs), 10**9))
    assert everything.max() < errors(inputs, output(made(*inputs), 80)).max() / 100


def test_errors_fall_with_the_samples() -> None:
    inputs = head()
    planned = made(*inputs)
    means = [errors(inputs, output(planned, s)).mean() for s in (0, 80, 320, 1280)]
    assert means == sorted(means, reverse=True)


def test_the_mean_of_many_samples_errs_less_than_one_by_far() -> None:
    inputs = head()
    planned = made(*inputs)
    draws = np.array([output(planned, 60, seed=seed) for seed in range(32)])
    single = np.mean([errors(inputs, draw).mean() for draw in draws])
    assert errors(inputs, draws.mean(axis=0)).mean() < single / 3


def test_the_pilots_errors_are_those_of_the_output() -> None:
    inputs = head()
    planned = made(*inputs)
    rows = planned._queries.order[np.concatenate(list(planned._pilot_rows.values()))]
    with np.errstate(all="ignore"):
        pilot = planned.pilot(0, np.random.default_rng(0))
        more = planned.pilot(40, np.random.default_rng(0))
    difference = pilot.errors - errors(inputs, output(planned, 0))[0, rows]
    # Products of other shapes are rounded otherwise.
    assert np.abs(difference).max() <= attention(inputs[0][0], *inputs[1:]).error_bound.max()
    assert more.sampled <= 41


def test_the_rows_of_the_largest_predicted_errors_are_exact() -> None:
    inputs = head()
    planned = made(*inputs)
    without = errors(inputs, output(planned, 40))[0]
    found = errors(inputs, output(planned, 40, repaired=0.25))[0]
    rounding = 2 * attention(inputs[0][0], *inputs[1:], causal=True).error_bound.max()
    repaired = (found <= rounding) & (without > rounding)
    assert 140 <= repaired.sum() <= 155
    assert without[repaired].mean() > 2 * without[~repaired].mean()


def test_heads_that_share_keys_are_each_their_own() -> None:
    Q, K, V = head(heads=3)
    Q[1] *= 2
    found = output(made(Q, K, V), 10**9)
    assert found.shape == (3, N, 3)
    everything = errors((Q, K, V), found)
    assert everything.max() < errors((Q, K, V), output(made(Q, K, V), 80)).max() / 100
    with np.errstate(all="ignore"):
        pilot = made(Q, K, V).pilot(10**9, np.random.default_rng(0))
    assert pilot.errors.max() <= 2 * everything.max()


def test_no_bit_depends_on_the_number_of_threads() -> None:
    inputs = head(heads=2)
    one, two = (output(made(*inputs, workers=workers), 80, 0.02) for workers in (1, 2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("samples", [0, 40])
@pytest.mark.parametrize(
    "kind",
    ["few keys", "equal values", "sink", "late key", "float64", "huge", "tiny", "one cluster"],
)
def test_odd_heads_have_finite_outputs_in_the_range_of_the_values(kind: str, samples: int) -> None:
    Q, K, V = head()
    if kind == "few keys":
        K = K[np.arange(N) % 7]
    elif kind == "equal values":
        V[:] = 3.0
    elif kind == "sink":
        K[0] *= 40
    elif kind == "late key":
        K[-1] = 100 * Q[0].mean(axis=0)
    elif kind == "float64":
        Q, K, V = (x.astype(np.float64) for x in (Q, K, V))
    elif kind == "huge":
        Q[:, :300] *= 2.0**60
    elif kind == "tiny":
        K, V = K * np.float32(1e-30), V * np.float32(1e-30)
    else:
        Q[:] = Q[:, :1] + np.float32(2.0**-12) * Q
    found = output(made(Q, K, V), samples)
    assert found.dtype == Q.dtype
    assert (found >= V.min(axis=0)).all()
    assert (found <= V.max(axis=0)).all()


def test_rows_whose_past_is_next_to_nothing_are_computed_exactly() -> None:
    """A late key that outweighs the past by e^60 for every row leaves only raised weights of it."""
    Q, K, V = head()
    Q[..., 0] = 5
    K[-1, 0] = 40
    found = errors((Q, K, V), output(made(Q, K, V), 0))
    assert found.max() <= 2 * attention(Q[0], K, V, causal=True).error_bound.max()


def test_a_head_without_covariance_is_refused() -> None:
    Q, K, V = head()
    equal = Head.of(Q[0], K[:1].repeat(N, axis=0), V, causal=True)
    refusal = CausalClusteredHead.planned([equal], np.random.default_rng(0))
    assert refusal == Refusal(reason="there is no covariance to balance")


def test_the_predicted_cost_grows_with_samples_and_repairs() -> None:
    planned = made(*head())
    base, sampled, repaired = (planned.cost(*x) for x in ((0, 0.0), (100.0, 0.0), (100.0, 0.5)))
    assert base < sampled < repaired
    assert repaired - sampled == pytest.approx(N * N / 4 * (D + 3 + 24))
    assert CausalClusteredHead.least_cost(planned._heads) == pytest.approx(base)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_a_causal_head_is_certified_by_clusters(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row against the certificate: no more than the uncovered share is outside."""
    monkeypatch.setattr(real_heads, "LARGE", 0)
    monkeypatch.setattr(real_heads, "exact_cost", lambda head: np.inf)
    monkeypatch.setattr(real_heads, "polynomial_offer", lambda *_: Refusal(reason=""))
    monkeypatch.setattr(real_heads.SampledKeys, "planned", lambda *_: Refusal(reason=""))
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((3000, 4)).astype(np.float32) for _ in range(3))
    found = certified_attention(
        Q, K, V, tolerance=0.1, rows="quantile", causal=True, scale=scale, rng=rng
    )
    assert found.method == "clusters", found.reason
    exact = attention(Q, K, V, causal=True, scale=scale)
    off = np.abs(found.output.astype(float) - exact.output) > found.error_bound + exact.error_bound
    assert off.any(axis=1).mean() <= found.uncovered
    assert found.error_bound <= 0.1 * np.abs(V).max()


def test_the_past_of_a_row_is_that_of_its_own_time() -> None:
    planned = made(*head(heads=2))
    assert np.array_equal(planned._times, planned._queries.order // 2 // block_size(N))
    for a in range(len(planned._centres)):
        rows = planned._queries.rows(a)
        assert (np.diff(planned._queries.order[rows]) > 0).all()
