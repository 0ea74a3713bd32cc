"""Dropped keys: every entry is within its certificate, whatever the head, and keys are indeed dropped."""

from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import attention as exact_attention
from fastpath import certified_attention
from fastpath.core.directed import up
from fastpath.core.head import Head
from fastpath.core.offers import Refusal
from fastpath.core.semantics import Semantics
from fastpath.real_heads import attention as real_heads
from fastpath.real_heads import dropped_keys as dropping
from fastpath.real_heads.dropped_keys import DroppedKeys
from reference import Verdict, attention
from reference.attention import logits
from tests.strategies import attention_inputs


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small heads have clusters of many queries, and several blocks of keys and of clusters."""
    monkeypatch.setattr(dropping, "CLUSTERS", 0.8)
    monkeypatch.setattr(dropping, "KEPT_KEY_BLOCK", 3)
    monkeypatch.setattr(dropping, "COMPARED_KEY_BLOCK", 5)
    monkeypatch.setattr(dropping, "CENTRE_BLOCK", 4)
    monkeypatch.setattr(dropping, "TOGETHER", 2)


def planned(Q: Any, K: Any, V: Any, allowed: float, seed: int = 0) -> Any:
    head = Head.of(Q, K, V, causal=False)
    return DroppedKeys.planned(head, allowed, np.random.default_rng(seed))


def _each(head: Any) -> Any:
    """Yield every cluster with the keys that it keeps."""
    return chain.from_iterable(map(head._clusters_of, head._batches()))


def dropped(Q: Any, K: Any, V: Any, tolerance: float, seed: int = 0) -> Any:
    with np.errstate(all="ignore"):
        head = planned(Q, K, V, tolerance * float(np.abs(V).max()), seed)
        return head, None if isinstance(head, Refusal) else head.attend()


def assert_certified(Q: Any, K: Any, V: Any, tolerance: float, result: Any) -> None:
    assert (result.error_bound <= tolerance * float(np.abs(V).max())).all()
    verdicts = attention(Q, K, V, precision=256).verdict(result.output, result.error_bound)
    assert all(v is Verdict.WITHIN for v in verdicts.flat)


def sharp(rng: np.random.Generator, n_q: int, n_k: int, d: int, size: float, dtype: Any) -> Any:
    """Draw queries around few centres and keys, with logits of some size, and values that tell keys apart."""
    Q = size * rng.standard_normal((2, d))[rng.integers(0, 2, n_q)]
    Q += rng.uniform(0.1, 2) * rng.standard_normal((n_q, d))
    K = rng.standard_normal((n_k, d)) + rng.standard_normal(d)
    V = np.where(K[:, :1] > np.median(K[:, 0]), 1.0, -1.0) * rng.uniform(0.5, 1, (n_k, 2))
    return tuple(x.astype(dtype) for x in (Q, K, V))


@given(
    seed=st.integers(0, 10**6),
    n_q=st.integers(2, 12),
    n_k=st.integers(2, 40),
    d=st.integers(1, 3),
    size=st.sampled_from([1.0, 4.0, 8.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    tolerance=st.sampled_from([1e-3, 0.03, 0.3]),
)
def test_every_entry_of_a_sharp_head_is_within_its_certificate(
    seed: int, n_q: int, n_k: int, d: int, size: float, dtype: Any, tolerance: float
) -> None:
    Q, K, V = sharp(np.random.default_rng(seed), n_q, n_k, d, size, dtype)
    _, result = dropped(Q, K, V, tolerance, seed)
    assert_certified(Q, K, V, tolerance, result)


@given(inputs=attention_inputs(), tolerance=st.sampled_from([1e-3, 0.3]))
def test_every_entry_of_an_odd_head_is_within_its_certificate_or_refused(
    inputs: Any, tolerance: float
) -> None:
    Q, K, V, _ = inputs
    Q, K = np.vstack([Q, Q]), np.vstack([K, K])  # a covariance takes two rows
    V = np.vstack([V, V[::-1]])
    _, result = dropped(Q, K, V, tolerance)
    if result is not None:
        assert_certified(Q, K, V, tolerance, result)


def two_sided(distance: float, tolerance: float, dtype: Any) -> Any:
    """Give two queries, and keys of which those on the far side weigh ``tolerance`` for one query alone."""
    Q = np.array([[3.0], [5.0]], dtype)
    K = np.array([[0.0]] * 20 + [[-distance]], dtype)
    V = np.array([[-1.0]] * 20 + [[1.0]], dtype)
    return Q, K, V


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_key_that_one_query_of_a_cluster_weighs_is_kept(dtype: Any) -> None:
    """At the centre, 4, the far key has e^-8 of the weight of a near one; at 3 it has e^-6."""
    Q, K, V = two_sided(2.0, 0.0, dtype)
    share = np.exp(-6.0) / (20 + np.exp(-6.0))
    for factor, all_kept in ((0.5, True), (50.0, False)):
        head, result = dropped(Q, K, V, 2 * factor * share * len(K))
        kept = np.concatenate([batch[1] for batch in _each(head)])
        assert (20 in kept) == all_kept
        assert_certified(Q, K, V, 2 * factor * share * len(K), result)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("causal", [False, True])
def test_a_light_key_is_light_for_every_query_that_sees_it(dtype: Any, causal: bool) -> None:
    """And a key that is light for all but one query of eight, or of the last few, is heavy."""
    rng = np.random.default_rng(6)
    Q, K, V = sharp(rng, 60, 70, 3, 4.0, dtype)
    options = Semantics(heads=(), queries=60, keys=70, right=0, offset=10) if causal else None
    head = Head(queries=Q, keys=K, values=V, options=options)
    with np.errstate(all="ignore"):
        made = DroppedKeys.planned(head, 0.03 * float(np.abs(V).max()), rng)
        light = 0
        for a, kept, weighed, j in _each(made):
            shift = made._shift(a, weighed, j)
            heavy = made._heavy(a, kept, shift)
            rows = made._clusters.order[made._clusters.rows(a)]
            above = Q[rows].astype(float) @ K[kept].T.astype(float) - shift[:, None]
            if causal:
                above[kept > 10 + rows[:, None]] = -np.inf
            largest = above.max(axis=0)
            error = made._weight_error(up(made._query_lengths.max() * made._longest_key), 100.0)
            heavy_ones = np.isin(kept, heavy.keys)
            assert (largest[~heavy_ones] <= heavy.threshold + error).all()
            assert (largest[heavy_ones] > heavy.threshold - error).all()
            light += np.count_nonzero(~heavy_ones)
    assert light > 20


@pytest.mark.parametrize("size", [1.0, 2.0**120])
def test_a_key_whose_logit_is_no_number_is_heavy(size: float) -> None:
    """Catches: a comparison that is false, and so lets the key go."""
    Q, K, V = sharp(np.random.default_rng(7), 9, 20, 2, 4.0, np.float32)
    with np.errstate(all="ignore"):
        made = planned(Q, K, V, 0.3)
        made._with_ones = made._with_ones * np.float32(size)
        shift = np.full(len(Q), np.nan if size == 1.0 else -np.inf, np.float32)
        for a, kept, _, _ in _each(made):
            rows = made._clusters.rows(a)
            assert np.array_equal(made._heavy(a, kept, shift[rows]).keys, kept)


@pytest.fixture
def no_row_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a row was computed exactly")

    monkeypatch.setattr(dropping, "exact_rows", refuse)


@pytest.mark.usefixtures("no_row_exactly")
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_few_keys_are_kept_where_few_matter(offset: float) -> None:
    """The same for keys with something in common, which every row's sum of weights has too."""
    rng = np.random.default_rng(0)
    K = rng.standard_normal((4000, 8))
    Q = 12 * K[rng.integers(0, 8, 400)] + rng.standard_normal((400, 8)) / 20
    K[:, 0] += offset
    head, result = dropped(Q, K, rng.standard_normal((4000, 3)), 1e-3)
    kept = [len(batch[1]) for batch in _each(head)]
    # A query's own key has all but 1e-3 of the weight.
    assert np.mean(kept) < len(K) / 4
    assert (result.error_bound > 0).all()


def test_the_predicted_cost_counts_the_keys_that_are_kept_and_those_that_are_heavy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dropping, "TESTED", dropping.PILOT)
    rng = np.random.default_rng(1)
    Q, K, V = sharp(rng, 200, 300, 3, 8.0, np.float64)
    costs = []
    for tolerance in (1e-9, 1e-3, 0.3):
        head, _ = dropped(Q, K, V, tolerance)
        sizes = head._clusters.sizes
        pairs = sum(len(kept) * sizes[a] for a, kept, _, _ in _each(head))
        keys = sum(len(kept) for _, kept, _, _ in _each(head))
        heavy = sum(
            len(head._heavy(a, kept, head._shift(a, weighed, j)).keys) * sizes[a]
            for a, kept, weighed, j in _each(head)
        )
        expected = (
            dropping.DROPPING_KEY * len(sizes) * len(K)
            + dropping.DROPPING_FETCHED * keys
            + (dropping.DROPPING_TESTED * pairs + dropping.DROPPING_PAIR * heavy) * (3 + 2 + 24)
        )
        with np.errstate(all="ignore"):
            costs.append(head.cost(np.random.default_rng(0)))
        assert costs[-1] == pytest.approx(expected)
    assert costs[0] > costs[1] > costs[2]


def test_no_key_is_dropped_for_rounding() -> None:
    """Give a thousand keys the share at which they are dropped, but for less than float32 tells apart."""
    rng = np.random.default_rng(5)
    q, light = np.array([300.0, 200.0]), -4.0
    for _ in range(2):  # what each key may have is known once there is a head
        second = rng.uniform(-1, 1, 1000)
        first = (light - q[1] * second) / q[0]
        K = np.vstack([np.zeros((100, 2)), np.column_stack([first, second])]).astype(np.float32)
        Q = np.array([q, -q] * 50, np.float32)
        head, _ = dropped(Q, K, np.sign(K[:, :1]) + np.float32(0.5), 0.3)
        part = head._share / len(K)
        light = float(np.log(100 * part / (1 - 1000 * part)))
    logits = Q.astype(np.float64) @ K.T.astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert (shares[0, 100:] < part).any()
    assert (shares[0, 100:] > part).any()
    for a, kept, _, _ in _each(head):
        row = head._clusters.order[head._clusters.starts[a]]
        assert (np.delete(shares[row], kept) <= part).all()


def test_no_key_is_dropped_for_what_underflow_takes_from_a_mean_of_many_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weight times key is just over half the smallest number, and counts as all of it, millions of times."""
    monkeypatch.setattr(dropping, "CENTRE_BLOCK", 4096)
    n, centre, logit = 3_000_000, 0.93 * 2.0**127, 18.93623024181073
    near, far, lightest = 0.0, -logit / centre, -1.5 * logit / centre
    K = np.full((n, 1), far, np.float32)
    K[::10], K[0] = lightest, near
    Q = np.array([[centre + 0.5 / far], [centre - 0.5 / far]], np.float32)
    V = np.where(K == 0, 1, -1).astype(np.float32)
    with np.errstate(all="ignore"):
        head = planned(Q, K, V, 0.3)
        # Less than the share that a far key has for the query that weighs it most.
        keys, counts = np.unique(K, return_counts=True)
        weights = logits(Q.min()[None, None], keys[:, None])[0].at(128).exp()
        share = weights[1] / (weights * counts).sum()
        part = float(share.midpoint()) * 0.999
        assert part < share.bounds()[0].item()
        head._share = part * n
        kept = head._weigh(np.array([0])).kept[0]
    assert kept[1]


@pytest.mark.parametrize("size", [50.0, 2000.0])
def test_weights_that_overflow_between_queries_far_apart_are_computed_exactly(size: float) -> None:
    Q = np.array([[size], [-size]], np.float32)
    K = np.array([[2.0], [-2.0], [1.0]], np.float32)
    V = np.array([[1.0], [-1.0], [0.5]], np.float32)
    _, result = dropped(Q, K, V, 0.3)
    assert_certified(Q, K, V, 0.3, result)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_of_weights_that_overflows_by_itself_is_not_taken_for_quotients_of_zero(
    dtype: Any,
) -> None:
    """Each weight is finite, and so is their sum with small values: only the sum of weights is infinite."""
    overflow = float(np.log(np.finfo(dtype).max))
    last = np.linspace(100 + overflow - 1, 100 + overflow - 0.1, 4) / 30
    Q = np.column_stack([np.full(64, 20.0), np.append(np.zeros(60), last)]).astype(dtype)
    K = np.array([[5, 0], [5, 0], [0, 30], [0, 30], [0, 30]], dtype)
    V = np.array([[1.0], [-1.0], [0.0625], [0.0625], [0.0625]], dtype)
    _, result = dropped(Q, K, V, 0.03)
    assert_certified(Q, K, V, 0.03, result)


@pytest.mark.slow
def test_a_sharp_head_with_few_rows_far_from_their_cluster_is_within_its_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The head on which this was found: far keys take all the weight of 300 rows, and have small values."""
    rng = np.random.default_rng(0)
    n, d = 16384, 16
    directions = rng.standard_normal((64, d))
    directions[:, -1] = 0
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    Q, K = (
        size * directions[rng.integers(0, 64, n)] + 0.02 * rng.standard_normal((n, d))
        for size in (20, 5)
    )
    Q[:, -1] = K[:, -1] = 0
    far = rng.permutation(n)[:10]
    K[far], K[far, -1] = 0, 30
    Q[rng.permutation(n)[:300], -1] = np.linspace(6.36, 6.46, 300)
    V = 0.05 + 0.05 * rng.random((n, 32))
    V[0] = 1
    Q, K, V = (x.astype(np.float32) for x in (Q, K, V))
    # It has too few keys for this way to be the cheapest.
    monkeypatch.setattr(real_heads, "exact_cost", lambda head: np.inf)
    found = certified_attention(Q, K, V, tolerance=0.03)
    assert found.method == "dropped keys"
    exact = exact_attention(*(x.astype(np.float64) for x in (Q, K, V)))
    assert (np.abs(found.output - exact.output) <= found.error_bound + exact.error_bound).all()


def test_images_whose_product_overflows_are_not_taken_for_no_distance() -> None:
    """2 a.b is infinite although a.a and b.b are finite: what is left of the square would be -inf."""
    K = np.array([[1.0], [-1.0], [1.0], [-1.0]], np.float32)
    Q = np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)
    with np.errstate(all="ignore"):
        head = planned(Q, K, K, 0.5)
        for_keys = np.array([[1.4e19]], np.float32)
        head._images, head._for_keys = (K - head._origin) @ for_keys, for_keys
        head._images_in_columns = np.ascontiguousarray(head._images.T)
        head._squares = (head._images * head._images).sum(axis=1)
        head._longest_image = dropping.longest_row(head._images)
        assert np.isfinite(head._squares).all()
        assert not head._weigh(np.arange(len(head._centres))).certain.any()


def test_rows_whose_rounding_says_nothing_are_computed_exactly() -> None:
    rng = np.random.default_rng(2)
    Q, K, V = sharp(rng, 12, 30, 3, 2.0**14, np.float32)
    Q[:6] /= 2.0**14
    head, result = dropped(Q, K, V, 0.5)
    for a, _, weighed, j in _each(head):
        assert weighed.certain[j] == (head._slack[a] <= dropping.LARGEST_SHARE_SLACK)
    assert (head._slack > dropping.LARGEST_SHARE_SLACK).any()
    assert_certified(Q, K, V, 0.5, result)


def test_a_tolerance_at_rounding_is_refused_with_what_rounding_may_cost() -> None:
    Q, K, V = sharp(np.random.default_rng(3), 12, 30, 3, 4.0, np.float32)
    refusal, _ = dropped(Q, K, V, 1e-7)
    assert "which leaves nothing of the allowed" in refusal.reason


def test_the_input_is_not_modified_and_no_bound_depends_on_the_clusters() -> None:
    Q, K, V = sharp(np.random.default_rng(4), 40, 50, 2, 6.0, np.float64)
    copies = [x.copy() for x in (Q, K, V)]
    exact = exact_attention(Q, K, V)
    for seed in range(5):
        _, result = dropped(Q, K, V, 0.01, seed)
        assert (
            np.abs(result.output - exact.output) <= result.error_bound + exact.error_bound
        ).all()
    assert all(np.array_equal(a, b) for a, b in zip(copies, (Q, K, V), strict=True))
