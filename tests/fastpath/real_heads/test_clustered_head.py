"""Clusters corrected by a sample: order 0 is the definition's, the sample is unbiased, repairs are exact."""

from typing import Any

import numpy as np
import pytest

from fastpath import attention
from fastpath.core import costs
from fastpath.core.head import Head
from fastpath.core.offers import Refusal
from fastpath.real_heads import clustered_head
from fastpath.real_heads.clustered_head import ClusteredHead
from fastpath.real_heads.exact_rows import exact_rows
from reference.models.clustered_query import ClusteredQuery


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small heads have several blocks of keys and of clusters."""
    monkeypatch.setattr(clustered_head, "SAMPLED_KEY_BLOCK", 16)
    monkeypatch.setattr(clustered_head, "TOGETHER", 8)


def head(n: int = 600, n_k: int = 500, d: int = 4, d_v: int = 3, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((n, d))
    K = rng.standard_normal((n_k, d)) + rng.standard_normal(d)
    V = rng.standard_normal((n_k, d_v)) + np.abs(K[:, :d_v])
    return tuple(x.astype(np.float32) for x in (Q, K, V))


def made(inputs: Any, seed: int = 0) -> ClusteredHead:
    with np.errstate(all="ignore"):
        planned = ClusteredHead.planned(
            [Head.of(*inputs, causal=False)], np.random.default_rng(seed)
        )
    assert isinstance(planned, ClusteredHead)
    return planned


def output(made: ClusteredHead, samples: int, repaired: float = 0.0, seed: int = 0) -> Any:
    with np.errstate(all="ignore"):
        return made.output(samples, repaired, np.random.default_rng(seed))[0]


def largest_errors(inputs: Any, output: Any) -> Any:
    return np.abs(output - attention(*inputs).output).max(axis=1)


def test_without_samples_a_row_is_closer_to_the_expansion_of_order_0_than_to_attention() -> None:
    inputs = head()
    made_head = made(inputs)
    found = output(made_head, 0)
    labels = np.empty(500, int)
    labels[made_head._keys.order] = made_head._keys.labels
    keys = np.empty_like(made_head._k)
    keys[made_head._keys.order] = made_head._k
    for place in range(0, 600, 100):
        a = made_head._queries.labels[place]
        row = made_head._queries.order[place]
        query = ClusteredQuery(
            made_head._centres[a],
            made_head._steps[place],
            keys,
            inputs[2][:, 0],
            tuple(int(b) for b in labels),
            256,
        )
        expansion, exact = (
            float(np.mean(x.midpoint())) for x in (query.expansion(0), query.output)
        )
        assert abs(found[row, 0] - expansion) < abs(expansion - exact) / 2


def test_the_mean_of_many_samples_errs_less_than_one_by_far() -> None:
    inputs = head()
    made_head = made(inputs)
    draws = np.array([output(made_head, 40, seed=seed) for seed in range(64)])
    single = np.mean([largest_errors(inputs, draw).mean() for draw in draws])
    # One by the square root of 64, were it not for the ratio's own bias.
    assert largest_errors(inputs, draws.mean(axis=0)).mean() < single / 4
    assert single < largest_errors(inputs, output(made_head, 0)).mean()


def test_errors_fall_with_the_samples_until_every_key_is_taken() -> None:
    inputs = head()
    made_head = made(inputs)
    errors = [np.mean(largest_errors(inputs, output(made_head, s))) for s in (0, 80, 320, 1280)]
    assert errors == sorted(errors, reverse=True)
    # Certainly sampled, keys are as in exact attention, but for float32.
    everything = largest_errors(inputs, output(made_head, 10**9))
    assert everything.max() < errors[-1] / 100


def test_the_pilots_errors_are_those_of_the_output() -> None:
    inputs = head()
    made_head = made(inputs)
    rows = made_head._queries.order[np.concatenate(list(made_head._pilot_rows.values()))]
    pilot = made_head.pilot(0, np.random.default_rng(0))
    difference = pilot.errors - largest_errors(inputs, output(made_head, 0))[rows]
    # Products of other shapes are rounded otherwise.
    assert np.abs(difference).max() <= attention(*inputs).error_bound.max()
    assert made_head.pilot(40, np.random.default_rng(0)).sampled <= 41


def test_the_rows_of_the_largest_predicted_errors_are_exact() -> None:
    inputs = head()
    made_head = made(inputs)
    found = output(made_head, 40, repaired=0.25)
    without = largest_errors(inputs, output(made_head, 40))
    errors = largest_errors(inputs, found)
    exact = errors <= 2 * attention(*inputs).error_bound.max()
    assert 150 <= exact.sum() <= 160
    # The prediction is of use: these are not any rows.
    assert without[exact].mean() > without[~exact].mean()


def test_rows_that_are_not_finite_are_computed_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = head()
    made_head = made(inputs)
    cluster = ClusteredHead._cluster

    def overflowing(self: Any, rows: Any, *arguments: Any) -> Any:
        found, predicted, count = cluster(self, rows, *arguments)
        found[self._queries.order[rows] == 123] = np.nan
        return found, predicted, count

    monkeypatch.setattr(ClusteredHead, "_cluster", overflowing)
    errors = largest_errors(inputs, output(made_head, 40))
    assert errors[123] <= 2 * attention(*inputs).error_bound[123].max()


@pytest.mark.parametrize("samples", [0, 40])
@pytest.mark.parametrize("kind", ["few keys", "equal values", "two keys", "float64", "huge"])
def test_odd_heads_have_finite_outputs_in_the_range_of_the_values(kind: str, samples: int) -> None:
    Q, K, V = head()
    if kind == "few keys":
        K = K[np.arange(500) % 7]
    elif kind == "equal values":
        V[:] = 3.0
    elif kind == "two keys":
        K, V = K[:2], V[:2]
    elif kind == "float64":
        Q, K, V = (x.astype(np.float64) for x in (Q, K, V))
    else:
        Q[:300] *= 2.0**60
    found = output(made((Q, K, V)), samples)
    assert found.dtype == Q.dtype
    assert (found >= V.min(axis=0)).all()
    assert (found <= V.max(axis=0)).all()


def test_a_head_without_covariance_is_refused() -> None:
    Q, K, V = head()
    equal_keys = Head.of(Q, K[:1].repeat(500, axis=0), V, causal=False)
    refusal = ClusteredHead.planned([equal_keys], np.random.default_rng(0))
    assert refusal == Refusal(reason="there is no covariance to balance")


def test_keys_of_next_to_no_weight_are_sampled_without_overflow() -> None:
    """Equal keys have all the weight and leave no error; of 1e-39 in all, 64 are more than 2^128 times."""
    q, k, v = head()
    q[:, 0] += 70
    k[:4], k[4:] = [1, 0, 0, 0], 1e-18 * k[4:]
    found = output(made((q, k, v)), samples=64)
    assert (found >= v.min(axis=0)).all()
    assert (found <= v.max(axis=0)).all()


def test_the_predicted_cost_grows_with_samples_and_repairs() -> None:
    Q, K, V = head()
    made_head = made((Q, K, V))
    pair = 4 + 3 + 24
    base, sampled, repaired = (made_head.cost(*x) for x in ((0, 0.0), (100.0, 0.0), (100.0, 0.5)))
    assert base == costs.CLUSTERS_SUMMED * (
        len(made_head._centres) * len(K) + len(Q) * len(made_head._keys.sizes)
    )
    more = costs.CLUSTERS_SAMPLED / costs.CLUSTERS_SUMMED * base
    more += 100 * costs.CLUSTERS_FETCHED * len(made_head._centres)
    assert sampled == pytest.approx(base + more + 100 * costs.CLUSTERS_PAIR * len(Q) * pair)
    assert repaired == pytest.approx(sampled + len(Q) * len(K) / 2 * pair)


@pytest.mark.parametrize("samples", [0, 64])
def test_rows_whose_sum_of_weights_overflows_are_repaired(samples: int) -> None:
    inputs = head()
    made_head = made(inputs)
    made_head._values[:, -1] = 3e38  # so do the weights of keys that no query is near
    every = exact_rows(Head.of(*inputs, causal=False), np.arange(len(inputs[0])))
    assert np.array_equal(output(made_head, samples), every.output)
