"""Heaps and sketches of long columns: what is kept, in any order and over any shards."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.streaming import count_sketch as recovery
from fastpath.streaming.count_sketch import (
    BUCKETS_PER_ENTRY,
    FAILURE_PROBABILITY,
    HASHES,
    LARGEST_ROWS,
    ROWS_IN_COMMON,
    CountSketch,
)
from fastpath.streaming.top_entries import TopEntries
from reference import Enclosure, Verdict
from reference.sparse_tail import best_sparse
from tests.judging import most_failures, recovery_verdict
from tests.printed import printed
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
    assert not s._sums.any()
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


def _scanned(s: CountSketch, length: int) -> tuple[Any, Any]:
    """Return rows and estimates of the k largest, by looking at every row."""
    estimates = s.estimate(np.arange(length), 0)
    rows = np.lexsort((np.arange(length), -np.abs(estimates)))[: s._sparsity]
    rows = np.sort(rows[estimates[rows] != 0])
    return rows, estimates[rows]


COLUMNS = {
    "spiked": _spiked,
    "normal": lambda rng, n, k: rng.standard_normal(n),
    "constant": lambda rng, n, k: np.ones(n),
    "alternating": lambda rng, n, k: np.where(np.arange(n) % 2, 1.0, -1.0),
    "of small integers": lambda rng, n, k: rng.integers(-1, 2, n) * 1.0,
    "of few entries": lambda rng, n, k: np.where(rng.random(n) < 9 / n, rng.integers(1, 9, n), 0.0),
    "of fewer entries than are kept": lambda rng, n, k: np.where(np.arange(n) < k - 1, 3.0, 0.0),
    "zero": lambda rng, n, k: np.zeros(n),
}


#: Hash rows are not looked at by threes where all buckets are heavy: there are too many threes of them.
FEW = ["of few entries", "of fewer entries than are kept", "zero"]


@pytest.mark.parametrize(
    ("column", "way"),
    [(column, way) for column in COLUMNS for way in (0, 1, 2, None)] + [(few, 3) for few in FEW],
)
def test_the_decoder_finds_exactly_what_a_look_at_every_row_finds(
    column: str, way: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties included, whichever rows the hash rows have in common, in parts small and large."""
    if way is not None:
        monkeypatch.setattr(recovery, "ROWS_IN_COMMON", [ROWS_IN_COMMON[way]])
    rng = np.random.default_rng(4)
    for trial, n in enumerate((1, 2, 255, 256, 257, 1500)):
        monkeypatch.setattr(recovery, "PART", 1 << (6 + 6 * (trial % 3)))
        k = 1 if way == 2 else int(rng.integers(1, 6))
        s = sketch(trial, sparsity=k)
        s.add(np.arange(n), COLUMNS[column](rng, n, min(k, n))[:, None])
        rows, values = s.entries(0)
        expected, estimates = _scanned(s, n)
        assert np.array_equal(rows, expected)
        assert np.array_equal(values, estimates)


@pytest.mark.parametrize("way", range(len(ROWS_IN_COMMON)))
def test_hash_rows_that_are_most_contain_one_of_the_sets(way: int) -> None:
    masks = [sum(1 << row for row in rows) for rows in ROWS_IN_COMMON[way]]
    for most in range(1 << HASHES):
        if most.bit_count() > HASHES // 2:
            assert any(most & mask == mask for mask in masks)


@pytest.mark.parametrize("length", [1, 2, 3, 257, 1000])
def test_where_every_bucket_is_heavy_each_row_is_looked_at_and_no_other(length: int) -> None:
    hashes = sketch(0, sparsity=1)._hashes
    heavy = np.ones((HASHES, hashes.buckets), bool)
    assert np.array_equal(
        np.unique(np.concatenate(list(hashes.mostly(heavy, length)))), np.arange(length)
    )


def _supports(n: int, size: int) -> dict[str, Any]:
    """Return rows in which a column of length n may have its entries, by what they are."""
    base = n // 2 & -(1 << 14)
    steps = np.arange(size)
    return {
        "a run": base + 1000 + steps,
        "an aligned block": base + steps,
        "the last rows": n - size + steps,
        "every other row": base + 2 * steps,
        "a progression of step 3": base + 7 + 3 * steps,
        "a progression of step 255": base + 255 * steps,
        "one row a block": base + 256 * steps + 5,
        "one row in each of a few parts": (n // size & -256) * steps,
        "bits set one by one": np.unique(base + (1 << steps % 14)),
    }


VALUES = {
    "equal": lambda size: np.ones(size),
    "of alternating signs": lambda size: np.where(np.arange(size) % 2, 1.0, -1.0),
    "that cancel": lambda size: (
        np.append(np.ones(size - 1), 1.0 - size) if size > 1 else np.ones(1)
    ),
    "that double": lambda size: 2.0 ** np.arange(size % 40),
}


def _failures(n: int, sparsity: int, size: int, seeds: int) -> tuple[int, int, float]:
    """Count columns outside their bound, over supports, values and draws; return trials too."""
    failures = trials = 0
    for place, support in _supports(n, size).items():
        for kind, values in VALUES.items():
            rows = support[: len(values(len(support)))]
            y = values(len(support))
            for seed in range(seeds):
                s = sketch(1000 * trials + seed, sparsity=sparsity)
                s.add(np.append(rows, n - 1), np.append(y, 0.0)[:, None])
                found, estimates = s.entries(0)
                bound = s.bound(np.zeros(1), n)
                # In all other rows both columns are 0.
                union = np.union1d(rows, found)
                T, exact = np.zeros((2, len(union)))
                T[np.searchsorted(union, found)] = estimates
                exact[np.searchsorted(union, rows)] = y
                missed = T - exact
                if missed.any():
                    verdict = recovery_verdict(T, exact, sparsity, bound.ratio, bound.excess[0])
                    assert verdict is not Verdict.UNDECIDED, (place, kind, seed)
                    failures += verdict is Verdict.OUTSIDE
                trials += 1
    assert bound.failure_probability is not None
    return failures, trials, bound.failure_probability


@pytest.mark.parametrize("size", [2, 16])
def test_structured_columns_fail_no_more_often_than_claimed(size: int) -> None:
    """Neighbours whose signs depend on each other must not cancel where the decoder looks."""
    failures, trials, probability = _failures(100_096, 16, size, 2)
    assert failures <= most_failures(trials, probability)


@pytest.mark.nightly
@pytest.mark.parametrize("size", [1, 2, 4, 8, 16, 64, 100])
def test_structured_columns_fail_no_more_often_than_claimed_over_many_draws(size: int) -> None:
    failures, trials, probability = _failures(100_096, 64, size, 40)
    assert failures <= most_failures(trials, probability)


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
        places, signs = s._hashes(np.array([n - 1]))
        read = s._sums[places, 0] * signs
        misses += int((np.abs(read - y[n - 1]) >= allowed).sum())
    probability = printed("recovery_row_failure")(sparsity, BUCKETS_PER_ENTRY * sparsity, accuracy)
    assert misses <= most_failures(200 * HASHES, float(probability))


@pytest.mark.parametrize(
    ("one", "other"), [(0, 1), (1, 2), (255, 256), (0, 2**32 - 1), (2**16, 2**24)]
)
def test_pairs_collide_and_their_signs_agree_as_often_as_claimed(one: int, other: int) -> None:
    """P2.recovery's family: a share of 1/B and of 1/2, over 15 rows of 2000 draws, from both sides."""
    collisions = agreements = 0
    for seed in range(2000):
        places, signs = sketch(seed, sparsity=1)._hashes(np.array([one, other]))
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
    buckets = len(s._sums) // HASHES
    assert buckets >= BUCKETS_PER_ENTRY * sparsity
    accuracy = (-2 + np.sqrt(5 * bound.ratio**2 - 1)) / 5  # the root of recovery_ratio
    row = printed("recovery_row_failure")(sparsity, buckets, accuracy)
    failure = n * printed("recovery_failure")(HASHES // 2, row)
    assert bound.failure_probability is not None
    assert failure * (1 - 2.0**-30) <= bound.failure_probability <= failure * (1 + 2.0**-30)
    assert bound.failure_probability <= FAILURE_PROBABILITY * (1 + 2.0**-30)


def test_a_hash_is_linear_in_the_bits() -> None:
    """The decoder solves its equations, and P2.recovery's family is linear."""
    rng = np.random.default_rng(8)
    i, j = rng.integers(0, LARGEST_ROWS, (2, 100))
    hashes = sketch(0)._hashes
    (_, one), (_, other), (_, both) = (hashes(x) for x in (i, j, i ^ j))
    assert np.array_equal(one * other, both)
    for row in range(HASHES):
        buckets = [hashes.bucket(row, x) for x in (i, j, i ^ j)]
        assert np.array_equal(buckets[0] ^ buckets[1], buckets[2])
        assert np.array_equal(hashes(i)[0][:, row], buckets[0] + row * hashes.buckets)


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


def test_every_rounding_of_a_bucket_is_counted() -> None:
    """A thousand halves of the last bit are lost, one after the other, in one call and in many."""
    half, count = Fraction(1, 2**53), 1000
    s, t = sketch(0, sparsity=1), sketch(0, sparsity=1)
    s.add([7] * (count + 1), [[1.0]] + [[float(half)]] * count)
    t.add([7], [[1.0]])
    for _ in range(count):
        t.add([7], [[float(half)]])
    for one in (s, t):
        ((estimate,), lost) = one.estimate([7], 0), count * half
        assert Fraction(estimate) == 1
        assert lost <= Fraction(one.bound(np.zeros(1), 8).excess[0])


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
    before = s._sums.copy()
    with pytest.raises(ValueError, match=message):
        s.merge(other)
    assert np.array_equal(before, s._sums)


@pytest.mark.parametrize("other", ["values", "other"])
def test_sums_that_could_overflow_are_refused(other: str) -> None:
    """2^40 merges of a sketch with itself, or so many additions, without making them."""
    s = sketch(0)
    s.add([3], [[2.0**960]])
    for _ in range(40):
        s.merge(s)
    before = {name: x.copy() for name, x in s.contents().items()}
    with pytest.raises(ValueError, match=rf"{other} must leave the magnitudes .* at most 2\^1000"):
        s.merge(s) if other == "other" else s.add([3] * 2**16, np.full((2**16, 1), 2.0**960))
    assert all(np.array_equal(before[name], x) for name, x in s.contents().items())


def test_a_sketch_whose_sums_have_been_rounded_too_often_claims_nothing() -> None:
    for added in (1.0, 0.0):  # of zeros too, where infinity times nothing would be NaN
        s = sketch(0)
        s.add([3], [[added]])
        for _ in range(54):
            s.merge(s)
        assert s.bound(np.zeros(1), 4).excess[0] == np.inf


def test_a_sketch_that_would_not_fit_is_refused_with_its_bytes() -> None:
    with pytest.raises(
        ValueError, match=r"sparsity must leave .* got 1048576 .* 32212254720 bytes"
    ):
        sketch(0, sparsity=1 << 20)
