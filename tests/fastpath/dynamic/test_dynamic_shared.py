"""A DynamicAttention that threads share, that is copied, or that another process goes on with."""

import contextlib
import copy
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastpath import DynamicAttention
from fastpath.dynamic import sums
from fastpath.dynamic.choice import Plan
from fastpath.dynamic.hinted import HintedMv
from reference import Verdict, attention_verdict

Array = NDArray[Any]

THREADS = 4

MODES = ("cached", "dirty", "kept", "auto", "recomputed")


def _dynamic(mode: Any, n: int = 12, d: int = 4, d_v: int = 3, **options: Any) -> DynamicAttention:
    rng = np.random.default_rng(n)
    # Multiples of 1/4, so that changes of them add up in any order.
    Q, K, V = (rng.integers(-4, 5, (n, columns)) / 4 for columns in (d, d, d_v))
    dynamic = DynamicAttention(Q, K, V, mode="auto" if mode == "recomputed" else mode, **options)
    if mode == "recomputed":
        dynamic._begin(Plan(strategy="recomputed", limit=0))
    return dynamic


def _change(dynamic: DynamicAttention, steps: range, seed: int = 0) -> None:
    """Change, append, evict and read, the same for the same seed."""
    rng = np.random.default_rng(seed)
    for step in steps:
        i = int(rng.choice(dynamic.live))
        dynamic.update_key(i, 0, float(rng.standard_normal()))
        dynamic.update_value(i, 1, 0.25)
        dynamic.query_row(int(rng.choice(dynamic.live)))
        if step % 3 == 0:
            dynamic.set_query(i, rng.standard_normal(4))
            dynamic.set_key(i, rng.standard_normal(4))
        if step % 5 == 4:
            dynamic.append(rng.standard_normal(4), rng.standard_normal(4), rng.standard_normal(3))
            dynamic.evict(int(rng.choice(dynamic.live)))


def _reads(dynamic: DynamicAttention) -> list[Any]:
    """Return the bits of every read, as they come in this order, and the counts after them."""
    live = dynamic.live.tolist()
    entries = [dynamic.query(i, j) for i in live for j in range(3)]
    rows = [(dynamic.query_row(i).tobytes(), dynamic.error_bound(i)) for i in live]
    columns = [dynamic.query_column(j).tobytes() for j in range(3)]
    result = dynamic.output()
    whole = result.output.tobytes(), result.error_bound.tobytes()
    return [live, entries, rows, columns, whole, dynamic.stats]


# ------------------------------------------------------------------------------------- threads


@pytest.fixture
def switching() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _at_once(work: Callable[[int], Any]) -> list[Any]:
    """Run work(0), work(1), ... in threads that begin together; raise what any of them raises."""
    begin = Barrier(THREADS)

    def started(thread: int) -> Any:
        begin.wait()
        return work(thread)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(started, range(THREADS)))


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("worst_case", [False, True], ids=["at once", "sliced"])
@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "auto"])
def test_threads_that_only_read_read_what_one_would(mode: str, worst_case: bool) -> None:
    """A read computes a stale row anew, in place, in a buffer that it shares with all others."""
    n = 96
    dynamic = _dynamic(mode, n, rebuild_every=8, worst_case=worst_case)
    for i in range(n):
        dynamic.update_key(i % 29, 1, 0.25)
        dynamic.update_query(i, 0, 0.25)
    twin = copy.copy(dynamic)
    # When it is read again, a row that was stale may differ in its last bits, and then no more.
    rows = [[twin.query_row(i) for _ in range(3)] for i in range(n)]
    bounds = [twin.error_bound(i) for i in range(n)]
    column = twin.query_column(1)

    def read(thread: int) -> None:
        for i in (*range(n), *range(n)):
            assert dynamic.query_row(i).tobytes() in [row.tobytes() for row in rows[i]]
            assert abs(dynamic.query(i, 1) - rows[i][0][1]) <= 2 * bounds[i]
            if i % 16 == thread:
                assert (np.abs(dynamic.query_column(1) - column) <= 2 * np.array(bounds)).all()
                assert dynamic.error_bound(i) == bounds[i]

    _at_once(read)


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("worst_case", [False, True], ids=["at once", "sliced"])
@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "auto"])
def test_threads_that_change_and_read_lose_nothing(mode: str, worst_case: bool) -> None:
    n, rounds = 16, 60
    dynamic = _dynamic(mode, n, rebuild_every=4, worst_case=worst_case)
    Q, K, V = dynamic._tokens.queries.copy(), dynamic._tokens.keys.copy(), dynamic._tokens.values
    V = V[:-1, :n].T.copy()
    new = np.arange(4) / 4

    def work(thread: int) -> list[int]:
        appended = []
        for step in range(rounds):
            for i in range(n):
                dynamic.update_key(i, thread, 0.25 if step % 2 else -0.5)
                assert np.isfinite(dynamic.query_row((i + 5 * thread) % n)).all()
                assert np.isfinite(dynamic.query(i, thread % 3))
            dynamic.update_query(step % n, thread, 0.25)
            dynamic.update_value(step % n, thread % 3, 0.25)
            if step % 20 == 0:
                appended.append(dynamic.append(new, new, new[:3]))
                dynamic.evict(appended[-1])
                assert np.isfinite(dynamic.query_column(0)).all()
                assert dynamic.error_bound(step % n) < 1
        return appended

    appended = [i for indices in _at_once(work) for i in indices]
    assert sorted(appended) == list(range(n, n + len(appended)))
    for thread in range(THREADS):
        K[:, thread] += (rounds // 2) * (0.25 - 0.5)
        for step in range(rounds):
            Q[step % n, thread] += 0.25
            V[step % n, thread % 3] += 0.25
    assert list(dynamic.live) == list(range(n))
    assert (dynamic._tokens.keys[:n] == K).all()
    assert (dynamic._tokens.queries[:n] == Q).all()
    assert (dynamic._tokens.values[:-1, :n] == V.T).all()
    result = dynamic.output()
    bound = np.broadcast_to(result.error_bound, result.output.shape)
    assert attention_verdict(Q, K, V, result.output, bound)[0] is Verdict.WITHIN


@pytest.mark.usefixtures("switching")
def test_hints_and_columns_of_threads_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    M, V, *hints = (rng.random((8, 8)) < 0.4 for _ in range(2 + THREADS))
    truths = [(M.astype(int) @ P.astype(int) @ V.astype(int) > 0)[:, 3].tolist() for P in hints]
    hinted = HintedMv(M, V, mode="cached")
    hinted.hint(hints[0])

    def work(thread: int) -> None:
        for _ in range(20):
            hinted.hint(hints[thread])
            assert hinted.column(3).tolist() in truths

    _at_once(work)


# -------------------------------------------------------------------------------------- copies


def _pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, _pickled])
@pytest.mark.parametrize("worst_case", [False, True], ids=["at once", "sliced"])
@pytest.mark.parametrize("mode", MODES)
def test_a_copy_goes_on_as_the_original_would_and_shares_nothing(
    mode: str, worst_case: bool, copied: Callable[[Any], Any]
) -> None:
    for changes in (0, 2, 7, 30):
        dynamic, witness, other = (
            _dynamic(mode, rebuild_every=5, worst_case=worst_case) for _ in range(3)
        )
        for one in (dynamic, witness, other):
            _change(one, range(changes))
        first, second = copied(dynamic), copied(dynamic)
        _change(first, range(40), seed=1)
        _change(other, range(40), seed=1)
        assert _reads(first) == _reads(other)
        # The original has seen nothing of that, nor will the second copy see what happens to it.
        _change(dynamic, range(40), seed=2)
        assert _reads(second) == _reads(witness)
        for one in (second, witness):
            _change(one, range(40), seed=2)
        assert _reads(second) == _reads(witness)


def test_results_are_copied_too() -> None:
    result = _dynamic("cached").output()
    for copied in (copy.copy, copy.deepcopy, _pickled):
        twin = copied(result)
        assert twin.output.tobytes() == result.output.tobytes()
        assert twin.error_bound.tobytes() == result.error_bound.tobytes()
        assert twin.claims == result.claims


def test_a_copy_of_a_hint_answers_what_the_original_does() -> None:
    rng = np.random.default_rng(1)
    M, P, V = (rng.random((5, 5)) < 0.4 for _ in range(3))
    hinted = HintedMv(M, V)
    hinted.hint(P)
    for copied in (copy.copy, copy.deepcopy, _pickled):
        twin = copied(hinted)
        assert all((twin.signals(i) == hinted.signals(i)).all() for i in range(5))
        twin.hint(~P)
        assert all((hinted.column(i) == copied(hinted).column(i)).all() for i in range(5))
        assert (twin.column(0) == (M.astype(int) @ ~P @ V > 0)[:, 0]).all()


def _elsewhere(pipe: Any, several: list[DynamicAttention]) -> None:
    """Read, change and read again in another process."""
    before = [_reads(dynamic) for dynamic in several]
    for dynamic in several:
        _change(dynamic, range(10), seed=3)
    pipe.send((before, [_reads(dynamic) for dynamic in several], several))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_another_process_reads_the_same_bits(start: Any) -> None:
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {start} a process")
    several = [_dynamic(m, rebuild_every=5, worst_case=w) for m in MODES for w in (False, True)]
    for dynamic in several:
        _change(dynamic, range(7))
    context = multiprocessing.get_context(start)
    here, there = context.Pipe()
    process = context.Process(target=_elsewhere, args=(there, several))
    process.start()
    before, after, returned = here.recv()
    process.join()
    assert process.exitcode == 0
    assert before == [_reads(dynamic) for dynamic in several]
    for dynamic in several:
        _change(dynamic, range(10), seed=3)
    assert after == [_reads(dynamic) for dynamic in several]
    assert [_reads(x) for x in returned] == [_reads(dynamic) for dynamic in several]


# --------------------------------------------------------------------------------- error state


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("worst_case", [False, True], ids=["at once", "sliced"])
@pytest.mark.parametrize("mode", MODES)
def test_numpys_error_state_changes_nothing(mode: str, worst_case: bool, dtype: Any) -> None:
    """Weights underflow, and so do quotients: values are subnormal, and tokens far apart."""

    def played(state: contextlib.AbstractContextManager[Any]) -> list[Any]:
        rng = np.random.default_rng(0)
        Q, K, V = (
            (size * rng.standard_normal((12, columns))).astype(dtype)
            for size, columns in ((20, 4), (10, 4), (np.finfo(dtype).tiny, 3))
        )
        with state:
            named: Any = "auto" if mode == "recomputed" else mode
            dynamic = DynamicAttention(Q, K, V, mode=named, rebuild_every=5, worst_case=worst_case)
            if mode == "recomputed":
                dynamic._begin(Plan(strategy="recomputed", limit=0))
            first = _reads(dynamic)
            _change(dynamic, range(30))
            dynamic.update_key(int(dynamic.live[0]), 1, 300.0)
            dynamic.update_value(int(dynamic.live[0]), 1, 1e-310)
            return [first, _reads(dynamic)]

    assert played(np.errstate(all="raise")) == played(np.errstate(all="ignore"))


# ------------------------------------------------------------------------- how many roundings


@pytest.mark.parametrize("worst_case", [False, True], ids=["at once", "sliced"])
@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_no_row_is_older_than_the_roundings_that_the_claim_covers(
    mode: str, worst_case: bool, monkeypatch: Any
) -> None:
    """A key that weighs nothing can change for ever, and no mass tells how often it was rebuilt."""
    monkeypatch.setattr(sums, "OLDEST", 8)
    dynamic = _dynamic(mode, rebuild_every=1, worst_case=worst_case)
    dynamic.update_value(0, 0, 0.0)
    young = [dynamic.error_bound(i) for i in range(12)]
    for step in range(1, 100):
        dynamic.update_value(step % 12, 0, 0.0)
        dynamic.query_row(3)
        strategy = dynamic._strategy
        assert strategy.rebuilds - strategy._computed_at[3] <= 8  # type: ignore[union-attr]
    assert dynamic.stats["rebuilds"] == 100
    assert max(dynamic.error_bound(i) for i in range(12)) <= 4 * max(young)


def test_the_oldest_row_the_most_tokens_and_pairs_are_within_what_the_claim_covers() -> None:
    ones = np.ones((1, 1), np.float32)
    most = DynamicAttention(ones, ones, ones)._most
    roundings = most + sums.OLDEST + 4 * (most // 8) + 5
    assert roundings * 2.0**-24 <= 1 / 4
    with pytest.raises(ValueError, match=r"^rebuild_every must be at most"):
        DynamicAttention(ones, ones, ones, mode="dirty", rebuild_every=most // 8 + 1)
    wide = np.zeros((1, 2 * most + 1), np.float32)
    with pytest.raises(ValueError, match=r"^K must have at most 4194304 columns in float32"):
        DynamicAttention(wide, wide, ones)
