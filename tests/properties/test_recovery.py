"""Heaps and sketches of long columns: what is kept, in any order and over any shards."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath._bounds import recovery_failure, recovery_row_failure
from fastpath.recovery import (
    BUCKETS_PER_ENTRY,
    DIGIT_BITS,
    DIGITS,
    FAILURE_PROBABILITY,
    HASHES,
    LARGEST_ROWS,
    CountSketch,
    TopEntries,
    _digits,
)
from reference import Enclosure, Verdict
from reference.streaming import best_sparse
from tests.judging import most_failures, recovery_verdict
from tests.strategies import matrices


def dense(kept: TopEntries | CountSketch, column: int, length: int) -> Any:
    rows, values = kept.entries(column)
    y = np.zeros(length)
    y[rows] = values
    return y


def best(column: Any, sparsity: int) -> Any:
    kept = best_sparse(column, sparsity)
    y = np.zeros(len(column))
    y[kept] = column[kept]
    return y


# ------------------------------------------------------------------------------------- heaps


@st.composite
def parts(draw: st.DrawFn) -> tuple[Any, list[Any], int, int]:
    """Draw a matrix, its rows in disjoint blocks in any order, a sparsity and a split of the blocks."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    n, columns = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    Y = draw(matrices(n, columns, dtype))
    order = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).permutation(n)
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=4)))
    blocks = [rows for rows in np.split(order, cuts) if len(rows)]
    return Y, blocks, draw(st.integers(1, 45)), draw(st.integers(0, len(blocks)))


@given(drawn=parts())
@settings(max_examples=300)
def test_a_heap_keeps_exactly_the_best_sparse_column_in_any_order_and_over_shards(
    drawn: Any,
) -> None:
    Y, blocks, sparsity, split = drawn
    shards = [TopEntries(Y.shape[1], sparsity) for _ in range(2)]
    for shard, mine in zip(shards, (blocks[:split], blocks[split:]), strict=True):
        for rows in mine:
            shard.add(rows, Y[rows])
    shards[0].merge(shards[1])
    for column in range(Y.shape[1]):
        assert np.array_equal(dense(shards[0], column, len(Y)), best(Y[:, column], sparsity))


def test_a_heap_keeps_two_numbers_an_entry() -> None:
    assert TopEntries(3, 7).nbytes == 3 * 7 * 2 * 8


# ---------------------------------------------------------------------------------- sketches


def sketch(seed: int, columns: int = 1, sparsity: int = 4) -> CountSketch:
    return CountSketch(columns, sparsity, rng=np.random.default_rng(seed))


def same(one: CountSketch, other: CountSketch) -> bool:
    a, b = one.contents(), other.contents()
    return all(np.array_equal(a[name], b[name]) for name in a if name != "roundings")


@given(seed=st.integers(0, 2**32 - 1), shards=st.integers(1, 5))
@settings(max_examples=40)
def test_a_sketch_is_linear(seed: int, shards: int) -> None:
    """Integers are added without rounding: shards that add to the same rows merge bit for bit."""
    rng = np.random.default_rng(seed)
    whole, total = sketch(seed, 2), sketch(seed, 2)
    for _ in range(shards):
        rows = rng.integers(0, LARGEST_ROWS, 30)
        values = rng.integers(-9, 10, (30, 2))
        part = sketch(seed, 2)
        part.add(rows, values)
        whole.add(rows, values)
        total.merge(part)
    assert same(whole, total)


def test_what_is_taken_away_again_leaves_nothing() -> None:
    rng = np.random.default_rng(0)
    s = sketch(1)
    rows, values = rng.integers(0, LARGEST_ROWS, 500), rng.integers(-99, 100, (500, 1))
    s.add(rows, values)
    assert len(s.entries(0)[0]) == 4
    s.add(rows[::-1], -values[::-1])
    assert not any(level.sums.any() for level in s._levels)
    assert len(s.entries(0)[0]) == 0


def test_a_row_that_is_corrected_is_found_with_its_last_value() -> None:
    s = sketch(2)
    s.add([5, 70_000, 2**32 - 1], [[8.0], [4.0], [2.0]])
    s.add([70_000], [[-20.0]])
    rows, values = s.entries(0)
    assert rows.tolist() == [5, 70_000, 2**32 - 1]
    assert values.tolist() == [8.0, -16.0, 2.0]


def test_few_entries_are_found_exactly_wherever_they_are() -> None:
    """With nothing else in the columns, only the failure probability stands in the way."""
    rng = np.random.default_rng(3)
    for seed in range(20):
        s = sketch(seed, 2)
        rows = np.unique(rng.integers(0, LARGEST_ROWS, 4))
        values = rng.integers(1, 1000, (len(rows), 2)) * 1.0
        s.add(rows, values)
        for column in range(2):
            found, estimates = s.entries(column)
            assert np.array_equal(found, rows)
            assert np.array_equal(estimates, values[:, column])


def _spiked(rng: np.random.Generator, n: int, sparsity: int) -> Any:
    """Draw a normal column with entries as large, together, as its tail."""
    y = rng.standard_normal(n)
    heavy = rng.choice(n, sparsity, replace=False)
    y[heavy] = rng.choice([-1, 1], sparsity) * rng.uniform(1, 2, sparsity) * np.sqrt(n / sparsity)
    return y


def test_the_digits_lead_to_what_a_full_scan_finds() -> None:
    rng = np.random.default_rng(4)
    for seed in range(10):
        n = 70_000
        s = sketch(seed)
        s.add(np.arange(n), _spiked(rng, n, 4)[:, None])
        estimates = s.estimate(np.arange(n), 0)
        scanned = np.sort(np.argsort(-np.abs(estimates), kind="stable")[:4])
        rows, values = s.entries(0)
        assert np.array_equal(rows, scanned)
        assert np.array_equal(values, estimates[scanned])


def test_the_bound_is_exceeded_no_more_often_than_claimed() -> None:
    """P2.recovery: 100 draws of hash functions, each for a column that is spiked and a normal one."""
    n, sparsity, trials = 300, 4, 100
    rng = np.random.default_rng(5)
    failures = 0
    for seed in range(trials):
        Y = np.column_stack((_spiked(rng, n, sparsity), rng.standard_normal(n)))
        s = sketch(seed, 2, sparsity)
        s.add(np.arange(n), Y)
        bound = s.bound(np.zeros(2), n)
        for column, y in enumerate(Y.T):
            T = dense(s, column, n)
            verdict = recovery_verdict(T, y, sparsity, bound.ratio, bound.excess[column])
            assert verdict is not Verdict.UNDECIDED
            failures += verdict is Verdict.OUTSIDE
    assert failures <= most_failures(2 * trials, bound.failure_probability)


@pytest.mark.parametrize("accuracy", [1 / 8, 1 / 4, 1.0])
def test_a_hash_row_misses_no_more_often_than_claimed(accuracy: float) -> None:
    """P2.recovery's row_failure, for a coordinate beside the heavy ones: 15 rows of 200 sketches."""
    n, sparsity = 500, 2
    y = np.ones(n)
    y[:sparsity] = 1000.0
    allowed = accuracy * np.sqrt(n - sparsity) / np.sqrt(sparsity)
    misses = 0
    for seed in range(200):
        s = sketch(seed, sparsity=sparsity)
        s.add(np.arange(n), y[:, None])
        read = s._levels[0].read(_digits(np.array([n - 1])), 0)
        misses += int((np.abs(read - y[n - 1]) >= allowed).sum())
    probability = recovery_row_failure(sparsity, BUCKETS_PER_ENTRY * sparsity, accuracy)
    assert misses <= most_failures(200 * HASHES, float(probability))


@pytest.mark.parametrize(
    ("one", "other"), [(0, 1), (1, 2), (255, 256), (0, 2**32 - 1), (2**16, 2**24)]
)
def test_pairs_collide_and_their_signs_agree_as_often_as_claimed(one: int, other: int) -> None:
    """P2.recovery's family: a share of 1/B and of 1/2, over 15 rows of 2000 draws, from both sides."""
    collisions = agreements = 0
    for seed in range(2000):
        level = sketch(seed, sparsity=1)._levels[0]
        places, signs = level._hash(_digits(np.array([one, other])))
        collisions += int((places[0] == places[1]).sum())
        agreements += int((signs[0] == signs[1]).sum())
    trials = 2000 * HASHES
    for count, share in (
        (collisions, 1 / BUCKETS_PER_ENTRY),
        (agreements, 1 / 2),
    ):
        assert count <= most_failures(trials, share)
        assert trials - count <= most_failures(trials, 1 - share)


@pytest.mark.parametrize("sparsity", [1, 3, 4, 100])
@pytest.mark.parametrize("n", [1, 1000, 10**7, LARGEST_ROWS])
def test_the_ratio_and_its_probability_are_the_claims(n: int, sparsity: int) -> None:
    """The ratio is that of an accuracy at which all n medians together fail with the stated probability."""
    s = sketch(0, sparsity=sparsity)
    bound = s.bound(np.zeros(1), n)
    buckets = len(s._levels[0].sums) // HASHES
    assert buckets >= BUCKETS_PER_ENTRY * sparsity
    accuracy = (-2 + np.sqrt(5 * bound.ratio**2 - 1)) / 5  # the root of recovery_ratio
    row = recovery_row_failure(sparsity, buckets, accuracy)
    failure = n * recovery_failure(HASHES // 2, row)
    assert bound.failure_probability is not None
    assert failure * (1 - 2.0**-30) <= bound.failure_probability <= failure * (1 + 2.0**-30)
    assert bound.failure_probability <= FAILURE_PROBABILITY * (1 + 2.0**-30)


def test_a_hash_is_linear_in_the_bits_and_prefixes_share_buckets() -> None:
    rng = np.random.default_rng(8)
    i, j = rng.integers(0, LARGEST_ROWS, (2, 100))
    for digit, level in enumerate(sketch(0)._levels):
        places = [level._hash(_digits(x))[0] for x in (i, j, i ^ j, 0 * i)]
        assert np.array_equal(places[0] ^ places[1], places[2] ^ places[3])
        prefix = i >> (DIGIT_BITS * digit) << (DIGIT_BITS * digit)
        assert np.array_equal(level._hash(_digits(prefix))[0], places[0])
        signs = [level._hash(_digits(x))[1] for x in (i, j, i ^ j)]
        assert np.array_equal(signs[0] * signs[1], signs[2])
    assert len(sketch(0)._levels) == DIGITS


def test_a_sketch_does_not_grow() -> None:
    s = sketch(0)
    before = s.nbytes
    for start in (0, 10**6, 2**32 - 1000):
        s.add(np.arange(start, start + 1000), np.ones((1000, 1)))
    assert s.nbytes == before


def test_rounding_in_the_sums_is_covered_by_the_excess() -> None:
    """A large value that is taken away again leaves its rounding behind."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal((200, 1))
    y[7] = 100 / 3
    s = sketch(0, sparsity=4)
    s.add(np.arange(200), y)
    s.add(np.full(200, 7), np.full((200, 1), 2.0**40))
    s.add(np.full(200, 7), np.full((200, 1), -(2.0**40)))
    clean = sketch(0, sparsity=4)
    clean.add(np.arange(200), y)
    # The same hash functions without the large value: what the estimates differ by is rounding.
    moved = Enclosure.exact(dense(s, 0, 200)) - Enclosure.exact(dense(clean, 0, 200))
    assert Verdict.combine(moved.verdict(0, 0)) is Verdict.OUTSIDE
    rounding = s.bound(np.zeros(1), 200).excess[0]
    assert Verdict.combine(moved.verdict(0, rounding)) is Verdict.WITHIN


@pytest.mark.parametrize(
    ("rows", "values", "error", "message"),
    [
        ([0.5], [[1.0]], TypeError, "rows must hold integers"),
        ([-1], [[1.0]], ValueError, r"rows must be in \[0, 2\^32\), got -1"),
        ([2**32], [[1.0]], ValueError, r"rows must be in \[0, 2\^32\)"),
        ([0, 1], [[1.0]], ValueError, r"rows must have shape \(1,\)"),
        ([0], [[1.0, 2.0]], ValueError, "and values 1 columns"),
        ([0], [[np.nan]], ValueError, "values must be finite"),
        ([0], [["a"]], TypeError, "values must hold"),
        ([0], [[2.0**961]], ValueError, r"values must not exceed 2\^960"),
    ],
)
def test_a_refused_row_is_explained_and_changes_nothing(
    rows: Any, values: Any, error: type[Exception], message: str
) -> None:
    s = sketch(0)
    s.add([3], [[1.0]])
    before = {name: x.copy() for name, x in s.contents().items()}
    with pytest.raises(error, match=message):
        s.add(rows, values)
    assert all(np.array_equal(before[name], x) for name, x in s.contents().items())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (sketch(1), "hash functions"),
        (sketch(0, columns=2), "columns = 1, got 2"),
        (sketch(0, sparsity=3), "sparsity = 4, got 3"),
    ],
)
def test_sketches_that_differ_are_not_merged(other: CountSketch, message: str) -> None:
    s = sketch(0)
    s.add([3], [[1.0]])
    before = s._levels[0].sums.copy()
    with pytest.raises(ValueError, match=message):
        s.merge(other)
    assert np.array_equal(before, s._levels[0].sums)


def test_a_sketch_that_would_not_fit_is_refused_with_its_bytes() -> None:
    with pytest.raises(
        ValueError, match=r"sparsity must leave .* got 1048576 .* 77309411328 bytes"
    ):
        sketch(0, sparsity=1 << 20)
