"""Few keys for all queries: causal rows count their own block once, and what is certified holds."""

from typing import Any

import numpy as np
import pytest

from fastpath import attention, certified_attention
from fastpath.core.head import Head
from fastpath.core.offers import Refusal
from fastpath.real_heads import attention as real_heads
from fastpath.real_heads import own_blocks
from fastpath.real_heads.own_blocks import block_size
from fastpath.real_heads.sampled_keys import SampledKeys

N = 800


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_blocks, "TIME_BLOCKS", 5)


def inputs(heads: int = 2, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((heads, N, 4)) / 2
    K, V = rng.standard_normal((N, 4)), rng.standard_normal((N, 3))
    return tuple(x.astype(np.float32) for x in (Q, K, V))


def made(Q: Any, K: Any, V: Any, causal: bool) -> SampledKeys:
    heads = [Head.of(q, K, V, causal=causal, workers=1) for q in Q]
    planned = SampledKeys.planned(heads, np.random.default_rng(0))
    assert isinstance(planned, SampledKeys)
    return planned


def errors(Q: Any, K: Any, V: Any, causal: bool, found: Any) -> Any:
    exact = np.stack([attention(q, K, V, causal=causal).output for q in Q])
    return np.abs(found - exact).max(axis=-1)


def test_the_output_is_attention_over_one_key_of_each_run() -> None:
    Q, K, V = inputs()
    planned = made(Q, K, V, False)
    chosen = planned._sample(100, np.random.default_rng(3))
    assert np.array_equal(chosen // 8, np.arange(100))
    found = planned.output(100, 0.0, np.random.default_rng(3))
    for head, q in enumerate(Q):
        assert np.array_equal(found[head], attention(q, K[chosen], V[chosen], workers=1).output)


def test_a_causal_row_is_its_own_block_and_the_sampled_past_each_as_many_keys() -> None:
    Q, K, V = inputs(1)
    found = made(Q, K, V, True).output(100, 0.0, np.random.default_rng(3))[0]
    chosen = made(Q, K, V, True)._sample(100, np.random.default_rng(3))
    size = block_size(N)
    for row in range(3, N, 50):
        first = row // size * size
        past = chosen[chosen < first]
        counts = np.r_[np.full(len(past), first / max(1, len(past))), np.ones(row + 1 - first)]
        keys = np.r_[past, np.arange(first, row + 1)]
        weights = counts * np.exp(K[keys].astype(float) @ Q[0, row])
        expected = weights @ V[keys] / weights.sum()
        # Either is within a few roundings of the exact value.
        rounding = attention(Q[0], K, V, causal=True).error_bound[row]
        assert (np.abs(found[row] - expected) <= 4 * rounding).all()


@pytest.mark.parametrize("causal", [False, True])
def test_all_keys_are_exact_attention_and_errors_fall_until_then(causal: bool) -> None:
    Q, K, V = inputs()
    planned = made(Q, K, V, causal)
    means = []
    for samples in (50, 200, N):
        found = planned.output(samples, 0.0, np.random.default_rng(1))
        means.append(errors(Q, K, V, causal, found).mean())
    assert means == sorted(means, reverse=True)
    rounding = attention(Q[0], K, V, causal=causal).error_bound.max()
    assert means[-1] <= 4 * rounding


@pytest.mark.parametrize("causal", [False, True])
def test_the_pilots_errors_are_those_of_the_output(causal: bool) -> None:
    Q, K, V = inputs()
    planned = made(Q, K, V, causal)
    pilot = planned.pilot(100, np.random.default_rng(3))
    found = planned.output(100, 0.0, np.random.default_rng(3))
    of_all = errors(Q, K, V, causal, found)
    expected = np.concatenate([of_all[i, rows] for i, rows in enumerate(planned._rows)])
    rounding = attention(Q[0], K, V, causal=causal).error_bound.max()
    assert np.abs(pilot.errors - expected).max() <= 4 * rounding
    assert pilot.sampled == 100


@pytest.mark.parametrize("causal", [False, True])
def test_rows_that_are_tried_are_those_of_the_output(causal: bool) -> None:
    Q, K, V = inputs()
    planned = made(Q, K, V, causal)
    some = [np.array([0, 3, 400]), np.arange(100, N, 7)]
    tried = planned.rows(100, some, np.random.default_rng(3))
    found = planned.output(100, 0.0, np.random.default_rng(3))
    rounding = attention(Q[0], K, V, causal=causal).error_bound.max()
    for head, rows, of_head in zip(found, some, tried, strict=True):
        assert np.abs(head[rows] - of_head).max() <= 4 * rounding


def every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_heads, "LARGE", 0)
    monkeypatch.setattr(real_heads, "exact_cost", lambda head: np.inf)
    monkeypatch.setattr(real_heads, "polynomial_offer", lambda *_: Refusal(reason=""))


def without_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in (real_heads.ClusteredHead, real_heads.CausalClusteredHead):
        monkeypatch.setattr(way, "planning_cost", lambda heads: np.inf)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("way", ["sampled keys", "clusters"])
def test_heads_that_share_keys_take_a_way_together_and_are_certified_each(
    way: str, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_way(monkeypatch)
    if way == "clusters":
        monkeypatch.setattr(real_heads.SampledKeys, "planned", lambda *_: Refusal(reason="no"))
    else:
        without_clusters(monkeypatch)
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((h, 3000, 4)).astype(np.float32) for h in (4, 2, 2))
    Q[3] *= 12  # a sharp one goes its own way
    found = [
        certified_attention(
            Q,
            K,
            V,
            tolerance=0.2,
            rows="quantile",
            causal=causal,
            scale=0.5,
            rng=np.random.default_rng(0),
            workers=workers,
        )
        for workers in (1, 2)
    ]
    assert np.array_equal(found[0].output, found[1].output)
    assert f"{way} for heads 0, 1: " in found[0].reason
    assert "for 2 heads together" in found[0].reason
    assert "heads 3" not in found[0].reason.split(way)[1]
    exact = attention(Q, K, V, causal=causal, scale=0.5)
    off = np.abs(found[0].output.astype(float) - exact.output) > (
        found[0].error_bound + exact.error_bound
    )
    assert (off.any(axis=-1).mean(axis=-1) <= 0.01).all()
    of_head = np.abs(V).max(axis=(1, 2)).repeat(2)[:3]
    assert (found[0].error_bound[:3].max(axis=(1, 2)) <= 0.2 * of_head).all()


@pytest.mark.parametrize("causal", [False, True])
def test_a_tolerance_far_below_any_error_leaves_exact_attention(
    causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The square of what the pilot misses is no float."""
    every_way(monkeypatch)
    Q, K, V = inputs(1)
    found = certified_attention(
        Q[0], K, V, tolerance=1e-300, rows="quantile", causal=causal, rng=np.random.default_rng(0)
    )
    assert found.method == "exact"
    assert "that pays meets the tolerance on the pilot's rows" in found.reason


def test_a_group_whose_samples_are_refused_goes_head_by_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every_way(monkeypatch)
    planned: list[int] = []

    def refusing(heads: Any, rng: Any) -> Refusal:
        planned.append(len(heads))
        return Refusal(reason=f"no way for {len(heads)} heads")

    monkeypatch.setattr(real_heads.SampledKeys, "planned", refusing)
    monkeypatch.setattr(real_heads.ClusteredHead, "planned", refusing)
    Q, K, V = inputs()
    found = certified_attention(
        Q, K[None], V[None], tolerance=0.1, rows="quantile", rng=np.random.default_rng(0)
    )
    assert (found.method, planned) == ("exact", [2, 2])
    assert "no way for 2 heads" in found.reason
    assert np.array_equal(found.output, attention(Q, K[None], V[None]).output)


def test_the_certificate_of_a_group_is_that_of_its_worst_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One head whose output is spoiled is not certified by the other's."""
    every_way(monkeypatch)
    without_clusters(monkeypatch)
    compute = SampledKeys.output
    spoiled: list[Any] = []

    def spoiling(self: SampledKeys, *given: Any) -> Any:
        found = compute(self, *given)
        if not spoiled:
            found[1] += np.float32(1)
        spoiled.append(found)
        return found

    monkeypatch.setattr(SampledKeys, "output", spoiling)
    Q, K, V = inputs()
    found = certified_attention(
        Q, K[None], V[None], tolerance=0.2, rows="quantile", rng=np.random.default_rng(0)
    )
    assert found.method == "sampled keys", found.reason
    assert len(spoiled) == 2
    assert (found.error_bound <= 0.2 * np.abs(V).max()).all()
