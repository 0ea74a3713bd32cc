"""States that several threads use, and copies of them: nothing is lost, and nothing is shared."""

import copy
import multiprocessing
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fastpath import MomentState, StreamingAttention, attention
from fastpath.polynomial.moments import Moments
from fastpath.streaming.count_sketch import CountSketch
from fastpath.streaming.top_entries import TopEntries
from fastpath.streaming.value_sketch import ValueSketch

THREADS = 4


@pytest.fixture
def switching() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def rows(n: int, seed: int) -> Any:
    """Draw rows in a ball of radius 1: logits stay within 1."""
    return np.random.default_rng(seed).uniform(-1, 1, (n, 2)) / np.sqrt(2)


def together(*tasks: Callable[[], None]) -> None:
    """Run each task in a thread of its own, and raise what one raises."""
    problems: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread waits for ever"
    for problem in problems:
        raise problem


def within(a: Any, b: Any) -> bool:
    """Whether two certified outputs may have one truth."""
    return all(
        abs(Fraction(float(x)) - Fraction(float(y))) <= Fraction(float(p)) + Fraction(float(q))
        for x, y, p, q in zip(
            a.output.flat, b.output.flat, a.error_bound.flat, b.error_bound.flat, strict=True
        )
    )


def moment_state() -> MomentState:
    return MomentState(2, 2, 4)


def stream(recovery: str = "heap") -> StreamingAttention:
    return StreamingAttention(
        2,
        2,
        logit_bound=1.0,
        tolerance=1e-3,
        sparsity=3,
        recovery=recovery,
        rng=np.random.default_rng(0),
    )


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize(
    ("make", "absorb", "answer"),
    [
        (moment_state, MomentState.update, MomentState.query),
        (stream, StreamingAttention.absorb, StreamingAttention.attend),
    ],
)
def test_four_threads_absorb_every_key_once(
    make: Any, absorb: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, K, V = make(), rows(1200, 1), rows(1200, 2)
    merged = Moments.merged

    def merged_slowly(one: Moments, other: Moments) -> Moments:
        sums = merged(one, other)
        time.sleep(1e-4)  # others have their turn between what is read and what is written
        return sums

    monkeypatch.setattr(Moments, "merged", merged_slowly)

    def feed(part: int) -> None:
        for start in range(part * 300, part * 300 + 300, 3):
            absorb(state, K[start : start + 3], V[start : start + 3])

    together(*[lambda part=part: feed(part) for part in range(THREADS)])
    assert getattr(state, "_moments", state).count == 1200
    Q = rows(20, 3)
    assert within(answer(state, Q), attention(Q, K, V))


@pytest.mark.usefixtures("switching")
def test_every_query_is_answered_over_keys_of_one_moment() -> None:
    """Keys that reach further and further, so that the moments about the middle move with each."""
    state, Q = moment_state(), rows(3, 3)
    blocks = [
        (rows(4, t) * (1 + t) / 60 + t / 60, 2.0 ** (t % 7) * rows(4, 99 - t)) for t in range(60)
    ]
    state.update(*blocks[0])
    state.query(Q)
    written = 1
    answers: list[tuple[int, Any]] = []

    def read() -> None:
        for _ in range(40):
            least = written
            answers.append((least, state.query(Q)))

    def write() -> None:
        nonlocal written
        for block in blocks[1:]:
            state.update(*block)
            written += 1

    together(write, read, read, read)
    assert len(answers) == 120
    prefixes = [
        attention(Q, *(np.concatenate(x) for x in zip(*blocks[:t], strict=True)))
        for t in range(1, len(blocks) + 1)
    ]
    for least, answer in [*answers, (len(blocks), state.query(Q))]:
        assert any(within(answer, prefix) for prefix in prefixes[least - 1 :])


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("make", [moment_state, stream])
def test_states_that_merge_into_each_other_do_not_wait_for_ever(make: Any) -> None:
    one, other = make(), make()
    for state in (one, other):
        (state.update if make is moment_state else state.absorb)(rows(3, 1), rows(3, 2))

    def merge(into: Any, source: Any) -> None:
        for _ in range(500):
            into.merge(source)

    together(lambda: merge(one, other), lambda: merge(other, one))


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("recovery", ["heap", "sketch"])
def test_four_threads_attend_every_row_once(recovery: str) -> None:
    one, many, Q = stream(recovery), stream(recovery), rows(400, 3)
    for state in (one, many):
        state.absorb(rows(30, 1), rows(30, 2))
    Q[::5] = [0.6, 0.6]  # all blocks reach as far, so that one polynomial serves them
    for start in range(0, 400, 5):
        one.attend(Q[start : start + 5])

    def feed(part: int) -> None:
        for start in range(part * 100, part * 100 + 100, 5):
            many.attend(Q[start : start + 5], first_row=start)

    together(*[lambda part=part: feed(part) for part in range(THREADS)])
    columns, bound = many.decode()
    assert columns.shape == (400, 2)
    assert np.array_equal(columns.indices, one.decode().columns.indices)
    assert (bound.excess > 0).all()
    together(*[lambda: [many.attend(Q[:1]) for _ in range(9)] and None for _ in range(THREADS)])
    assert many.decode().columns.shape == (400 + 9 * THREADS, 2)


# -------------------------------------------------------------------------------------- copies


def absorbed(state: Any) -> Any:
    state.update(rows(9, 1), rows(9, 2))
    return state


def attended(recovery: str) -> StreamingAttention:
    state = stream(recovery)
    state.absorb(rows(9, 1), rows(9, 2))
    state.attend(rows(9, 3))
    return state


def value_sketch() -> ValueSketch:
    state = ValueSketch(2, 2, 2, 5, rng=np.random.default_rng(0))
    state.absorb(rows(9, 1), rows(9, 2))
    return state


def added(kept: Any) -> Any:
    kept.add(np.arange(9), rows(9, 1))
    return kept


#: What is made, what is done to it, and all that it then holds.
STATES = {
    "MomentState": (
        lambda: absorbed(MomentState(2, 2, 3, centre=[0.1, 0.2])),
        lambda s: s.update(rows(5, 7), rows(5, 8)),
        lambda s: s.contents(),
    ),
    "StreamingAttention, heap": (
        lambda: attended("heap"),
        lambda s: s.attend(rows(5, 7)),
        lambda s: s._contents(),
    ),
    "StreamingAttention, sketch": (
        lambda: attended("sketch"),
        lambda s: s.attend(rows(5, 7)),
        lambda s: s._contents(),
    ),
    "TopEntries": (
        lambda: added(TopEntries(2, 3)),
        lambda s: s.add(np.arange(9, 12), 9 * rows(3, 4)),
        lambda s: s.contents(),
    ),
    "CountSketch": (
        lambda: added(CountSketch(2, 3, rng=np.random.default_rng(0))),
        lambda s: s.add(np.arange(9, 12), rows(3, 4)),
        lambda s: s.contents(),
    ),
    "ValueSketch": (
        value_sketch,
        lambda s: s.absorb(rows(5, 7), rows(5, 8)),
        lambda s: {
            "features": s._features,
            "values": s._values,
            "next": s._rng.bit_generator.state,
        },
    ),
}

WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda state: pickle.loads(pickle.dumps(state)),
}


def frozen(contents: Any) -> dict[str, Any]:
    return {name: pickle.dumps(x) for name, x in contents.items()}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", STATES)
def test_a_copy_is_equal_and_shares_nothing(state: str, way: str) -> None:
    make, change, contents = STATES[state]
    for changed in (0, 1):
        first = make()
        second = WAYS[way](first)
        assert type(second) is type(first)
        before = frozen(contents(first))
        assert frozen(contents(second)) == before
        pair = (first, second)
        change(pair[changed])
        assert frozen(contents(pair[1 - changed])) == before
        assert frozen(contents(pair[changed])) != before
        # Both go on alike.
        change(pair[1 - changed])
        assert frozen(contents(first)) == frozen(contents(second))


@pytest.mark.parametrize("recovery", ["heap", "sketch"])
def test_what_is_written_is_of_one_moment(recovery: str) -> None:
    """A file is written after the lock is given back, while other threads may attend."""
    state = attended(recovery)
    contents = state._contents()
    before = frozen(contents)
    state.attend(rows(5, 7))
    assert frozen(contents) == before


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"
)
def test_a_state_goes_on_in_a_fork() -> None:
    state, Q = absorbed(moment_state()), rows(3, 3)
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        state.update(rows(5, 7), rows(5, 8))
        sender.send((state.count, state.query(Q)))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    count, answer = receiver.recv()
    process.join()
    assert (count, state.count) == (14, 9)
    state.update(rows(5, 7), rows(5, 8))
    assert np.array_equal(answer.output, state.query(Q).output)
