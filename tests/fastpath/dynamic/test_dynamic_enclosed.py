"""DynamicAttention does what its claims count, and refuses what it cannot do, by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastpath import DynamicAttention
from fastpath.dynamic import sums
from fastpath.dynamic.certificate import row_error_bound
from fastpath.dynamic.choice import Workload, costs
from fastpath.dynamic.kept import Kept
from reference import Verdict, attention_verdict
from specs import CLAIMS

BOUNDS = {bound.name: bound for claim in CLAIMS.values() for bound in claim.bounds}

N, D, D_V, K = 23, 5, 3, 8


def _claimed(name: str, **sizes: int) -> int:
    """Return a count as its claim states it."""
    bound = BOUNDS[name]
    return int(bound.expression.subs({symbol: sizes[symbol.name] for symbol in bound.arguments}))


def _dynamic(mode: Any, **options: Any) -> DynamicAttention:
    rng = np.random.default_rng(0)
    Q, K_, V = (rng.standard_normal((N, columns)) for columns in (D, D, D_V))
    return DynamicAttention(Q, K_, V, mode=mode, rebuild_every=K, **options)


def _taken(dynamic: DynamicAttention, call: Callable[[], Any]) -> tuple[int, int]:
    """Return the products and exponentials that a call takes."""
    before = dynamic.stats
    call()
    after = dynamic.stats
    return tuple(after[what] - before[what] for what in ("multiplications", "exponentials"))  # type: ignore[return-value]


@pytest.mark.parametrize("pending", [0, 1, 5, K - 1])
def test_cached_takes_what_is_claimed(pending: int) -> None:
    dynamic = _dynamic("cached")
    for i in range(pending):
        taken = _taken(dynamic, lambda i=i: dynamic.update_key(i, 0, 0.1))
        assert taken == (_claimed("update_products", n=N), _claimed("update_exponentials", n=N))
    sizes = {"pending": pending, "value_columns": D_V, "n": N}
    assert _taken(dynamic, lambda: dynamic.query(1, 1)) == (_claimed("entry_products", **sizes), 0)
    assert _taken(dynamic, lambda: dynamic.query_row(1)) == (_claimed("row_products", **sizes), 0)
    column = _claimed("column_products", **sizes)
    assert _taken(dynamic, lambda: dynamic.query_column(1)) == (column, 0)


def test_kept_takes_what_is_claimed() -> None:
    dynamic = _dynamic("kept")
    entry = _claimed("kept_entry_products", n=N)
    for i in range(2 * K):
        taken = _taken(dynamic, lambda i=i: dynamic.update_key(i, 0, 0.1))
        assert taken == (
            _claimed("kept_update_products", n=N),
            _claimed("update_exponentials", n=N),
        )
        assert _taken(dynamic, lambda i=i: dynamic.update_value(i, 0, 0.1)) == (0, 0)
        assert _taken(dynamic, lambda: dynamic.query(1, 1)) == (entry, 0)
    assert _taken(dynamic, lambda: dynamic.query_row(1)) == (D_V * entry, 0)
    assert dynamic.stats["rebuilds"] == 0


@pytest.mark.parametrize("n", [32, 128, 1024])
def test_kept_and_lazy_weights_take_what_is_claimed_of_as_many_columns_as_tokens(n: int) -> None:
    """The printed pair has d = d_v = n; the counts do not depend on d."""
    tokens, values = np.full((n, 2), 0.5), np.ones((n, n), np.float32)
    limit = int(n**0.5)
    lazy = DynamicAttention(tokens, tokens, values, mode="cached", rebuild_every=limit)
    kept = DynamicAttention(tokens, tokens, values, mode="kept")
    updates = 2 * limit + limit // 2
    for dynamic, most in ((lazy, "amortised_products"), (kept, "kept_update_products")):
        taken = sum(
            _taken(dynamic, lambda i=i: dynamic.update_key(i % n, 0, 0.01))[0]  # noqa: B023
            for i in range(updates)
        )
        assert taken <= updates * _claimed(most, n=n, value_columns=n)
    assert _taken(lazy, lambda: lazy.query(1, 1))[0] == _claimed(
        "entry_products", pending=updates % limit
    )
    assert _taken(kept, lambda: kept.query(1, 1))[0] == _claimed("kept_entry_products", n=n)
    # As printed, 2 n k a query: both are below, the kept one by an exponent in the update too.
    assert _claimed("kept_update_products", n=n) < _claimed(
        "amortised_products", n=n, value_columns=n
    )


def test_cached_rebuilds_within_the_kth_update_and_shares_out_what_is_claimed() -> None:
    dynamic = _dynamic("cached")
    products = 0
    for i in range(2 * K):
        products += _taken(dynamic, lambda i=i: dynamic.update_key(i, 0, 0.1))[0]
        assert dynamic.stats["rebuilds"] == (i + 1) // K
    assert products == 2 * K * _claimed("amortised_products", n=N, value_columns=D_V)


def test_a_whole_key_and_a_stale_row_take_what_is_claimed() -> None:
    dynamic = _dynamic("cached")
    taken = _taken(dynamic, lambda: dynamic.set_key(2, np.ones(D)))
    assert taken == (_claimed("key_products", n=N, dimension=D), N)
    dynamic = _dynamic("cached")
    assert _taken(dynamic, lambda: dynamic.set_query(2, np.ones(D))) == (0, 0)
    refresh = _claimed("refresh_products", n=N, dimension=D, value_columns=D_V)
    assert _taken(dynamic, lambda: dynamic.query_row(2)) == (refresh, N)
    assert _taken(dynamic, lambda: dynamic.query_row(2)) == (0, 0)


@pytest.mark.parametrize("slots", [0, 1, 5, K - 1])
def test_dirty_takes_what_is_claimed(slots: int) -> None:
    dynamic = _dynamic("dirty")
    for i in range(slots):
        assert _taken(dynamic, lambda i=i: dynamic.update_key(i, 0, 0.1)) == (0, 0)
        assert _taken(dynamic, lambda i=i: dynamic.update_value(i, 0, 0.1)) == (0, 0)
    sizes = {"pending": slots, "value_columns": D_V, "dimension": D}
    exponentials = _claimed("slot_exponentials", **sizes)
    entry, row = (_claimed(f"slot_{what}_products", **sizes) for what in ("entry", "row"))
    assert _taken(dynamic, lambda: dynamic.query(1, 1)) == (entry, exponentials)
    assert _taken(dynamic, lambda: dynamic.query_row(1)) == (row, exponentials)
    assert _taken(dynamic, lambda: dynamic.query_column(1)) == (N * entry, N * exponentials)


def test_a_dirty_rebuild_takes_what_is_claimed() -> None:
    dynamic = _dynamic("dirty")
    for i in range(K - 1):
        dynamic.update_key(i, 0, 0.1)
    rebuild = _claimed("slot_rebuild_products", n=N, pending=K, value_columns=D_V, dimension=D)
    exponentials = N * _claimed("slot_exponentials", pending=K)
    assert _taken(dynamic, lambda: dynamic.update_key(K, 0, 0.1)) == (rebuild, exponentials)


def test_no_sliced_update_takes_more_than_is_claimed() -> None:
    dynamic = _dynamic("cached", worst_case=True)
    sizes = {"n": N, "value_columns": D_V, "rebuild_every": K}
    entry, column = (_claimed(f"sliced_{what}_products", **sizes) for what in ("entry", "column"))
    update = _claimed("sliced_update_products", **sizes)
    rng = np.random.default_rng(1)
    total = 0
    for step in range(6 * K):
        taken = _taken(dynamic, lambda step=step: dynamic.update_key(step % N, 0, 0.01))[0]
        assert taken <= update
        total += taken
        assert _taken(dynamic, lambda: dynamic.query(int(rng.integers(N)), 1))[0] <= entry
        assert _taken(dynamic, lambda: dynamic.query_column(0))[0] <= column
    # The last rebuild is still to come.
    assert total == (6 * K * 2 * N) + 5 * _claimed("rebuild_products", pending=K, **sizes)


def test_no_sliced_update_of_slots_takes_more_than_is_claimed() -> None:
    dynamic = _dynamic("dirty", worst_case=True)
    sizes = {"n": N, "dimension": D, "value_columns": D_V}
    update = _claimed("sliced_slot_products", rebuild_every=K, **sizes)
    total = 0
    for step in range(6 * K):
        taken = _taken(dynamic, lambda step=step: dynamic.update_key(step % N, 0, 0.01))[0]
        assert taken <= update
        total += taken
    # The last rebuild is still to come.
    assert total == 5 * _claimed("slot_rebuild_products", pending=K, **sizes)


@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_tokens_that_are_appended_change_nothing_of_a_slice(mode: Any) -> None:
    """Every second change is an append, and the frozen rows are done before the next freeze."""
    rng = np.random.default_rng(4)
    dynamic = _dynamic(mode, worst_case=True)
    dynamic.append(*(np.zeros(columns) for columns in (D, D, D_V)))  # makes room
    name = {"cached": "sliced_update_products", "dirty": "sliced_slot_products"}[mode]
    for step in range(N // 8 + 7):
        sizes = {"n": N + 1 + step, "rebuild_every": K, "dimension": D, "value_columns": D_V}
        taken = _taken(dynamic, lambda step=step: dynamic.update_key(step, 0, 0.01))[0]
        assert taken <= _claimed(name, **sizes)
        dynamic.append(*(rng.standard_normal(columns) for columns in (D, D, D_V)))


def test_a_rebuild_counts_the_magnitudes_of_all_its_pairs() -> None:
    """With no queries every weight is 1: a changed value counts twice, an evicted key once."""
    values, pairs = 12, 20
    dynamic = DynamicAttention(
        np.zeros((N, D)), np.ones((N, D)), np.ones((N, D_V)), mode="cached", rebuild_every=pairs
    )
    for i in range(values):
        dynamic.update_value(i, 0, 1.0)
    for i in range(values, pairs):
        dynamic.evict(i)
    assert dynamic.stats["rebuilds"] == 1
    assert (dynamic._strategy.mass[:N] == N + 2 * values + (pairs - values)).all()


@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_a_certificate_remembers_what_passed_through(mode: Any, monkeypatch: Any) -> None:
    """No enclosure can see a forgotten term: a rounding bound is far above a typical error."""
    dynamic = _dynamic(mode)
    given: dict[str, Any] = {}

    def spy(query: Any, largest_keys: Any, **named: Any) -> float:
        given.update(named, query=query, largest_keys=largest_keys)
        return row_error_bound(query, largest_keys, **named)

    monkeypatch.setattr(sums, "row_error_bound", spy)
    for sign in (1, -1):
        dynamic.update_key(3, 1, sign * 50.0)
        dynamic.update_value(4, 2, sign * 70.0)
    for i in range(4 * K):
        dynamic.update_key(i % N, 0, 1e-3)
    i = next(i for i in range(N) if dynamic._strategy.mass[i] <= sums.TURNOVER)
    dynamic.error_bound(i)
    rebuilds = dynamic.stats["rebuilds"]
    assert rebuilds >= 4
    # A term passes through n roundings at first, one a rebuild, and 2k of either set of pairs.
    assert given["roundings"] >= N + 4 * K + 5
    assert given["events"] >= N + 4 * K
    # A stale row may have been computed anew, but the sizes are of all that ever was.
    assert given["largest_keys"][1] > 45
    assert given["magnitude"] > 65
    assert given["mass"] >= 4 * float(dynamic._strategy.mass[i])
    kept = mode == "cached"
    assert (given["factors"] >= 2) is kept
    assert (given["steps"] > 0) is kept


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("error", "says", "options"),
    [
        (ValueError, "^mode must be", {"mode": "lazy"}),
        (TypeError, "^worst_case must be", {"worst_case": 1}),
        (TypeError, "^causal must be", {"causal": "yes"}),
        (TypeError, "^rebuild_every must be an integer", {"rebuild_every": 2.5}),
        (ValueError, "^rebuild_every must be at least 1", {"rebuild_every": 0}),
    ],
)
def test_a_bad_option_is_refused_by_name(error: Any, says: str, options: Any) -> None:
    with pytest.raises(error, match=says):
        DynamicAttention(np.ones((2, 1)), np.ones((2, 1)), np.ones((2, 1)), **options)


def test_tokens_need_a_query_each() -> None:
    with pytest.raises(ValueError, match=r"^Q must have as many rows as K, 2, got 3"):
        DynamicAttention(np.ones((3, 1)), np.ones((2, 1)), np.ones((2, 1)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_entry_that_could_overflow_is_refused(dtype: Any) -> None:
    large = np.full((2, 1), np.finfo(dtype).max / 2, dtype)
    with pytest.raises(ValueError, match=r"^V must not exceed"):
        DynamicAttention(np.ones((2, 1), dtype), np.ones((2, 1), dtype), large)


def test_the_tokens_of_float32_are_at_most_2_to_the_21(monkeypatch: Any) -> None:
    ones = np.ones((3, 1), np.float32)
    dynamic = DynamicAttention(ones, ones, ones)
    assert dynamic._most == 2**21
    monkeypatch.setattr(dynamic, "_most", 4)
    assert dynamic.append([1.0], [1.0], [1.0]) == 3
    row, stats = dynamic.query_row(3), dynamic.stats
    with pytest.raises(ValueError, match=r"^append must keep the tokens at most 4 in float32"):
        dynamic.append([1.0], [1.0], [1.0])
    assert dynamic.stats == stats
    assert (dynamic.query_row(3) == row).all()


@pytest.mark.parametrize(
    ("n", "d", "columns", "reads", "cheapest"),
    [
        (4096, 64, 64, 0, "recomputed"),
        (4096, 64, 64, 512, "kept"),
        (4096, 64, 512, 2048, "kept"),
        (4096, 64, 64, 16384, "cached"),
    ],
)
def test_kept_weights_are_the_cheapest_offer_between_recomputing_and_sums(
    n: int, d: int, columns: int, reads: int, cheapest: str
) -> None:
    work = Workload(updates=1024, distinct=900, rows=0, entries=reads)
    found = costs(n, d, columns + 1, 64, work)
    assert min(found, key=lambda plan: found[plan]).strategy == cheapest


def test_auto_keeps_weights_where_entries_are_read_about_as_often_as_updated() -> None:
    rng = np.random.default_rng(2)
    Q, K_, V = (rng.standard_normal((256, columns)) / 8 for columns in (256, 256, 512))
    dynamic = DynamicAttention(Q, K_, V)
    for step in range(5000):
        dynamic.update_key(step * 7 % 256, step % 16, 0.01 * (-1) ** step)
        dynamic.query(step * 5 % 256, step % 512)
    assert isinstance(dynamic._strategy, Kept)
    row, bound = dynamic.query_row(3)[:4], dynamic.error_bound(3)
    tokens = dynamic._tokens
    verdict, _ = attention_verdict(
        tokens.queries[3:4], tokens.keys[:256], tokens.values[:4, :256].T, row[None], bound
    )
    assert verdict is Verdict.WITHIN
