"""Polynomial attention over Dask: what one machine answers, whatever the partitions and whoever dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("dask", reason="fastpath.distributed needs the extra attest-attention[dask]")

import dask.array as da
from dask import delayed

from fastpath import MomentState
from fastpath.streaming.distributed import _merged, attend, moment_state

DEGREE = 5

#: What one machine and many may differ by, relative to the largest value.
MACHINES_DIFFER = 1e-12


def _rows(n: int, d: int, seed: int) -> Any:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n, d))


def _one_machine(K: Any, V: Any, Q: Any, size: int, **arguments: Any) -> tuple[Any, Any]:
    """Return output and error bound of one state for queries in blocks of a size."""
    state = MomentState(K.shape[1], V.shape[1], DEGREE)
    state.update(K, V)
    results = [state.query(Q[i : i + size], **arguments) for i in range(0, len(Q), size)]
    return tuple(
        np.concatenate([getattr(result, name) for result in results])
        for name in ("output", "error_bound")
    )


def _assert_same(result: Any, expected: tuple[Any, Any], V: Any) -> None:
    output, error_bound = result.output.compute(), result.error_bound.compute()
    assert np.abs(output - expected[0]).max() <= MACHINES_DIFFER * np.abs(V).max()
    # Certificates differ by the roundings of the two orders; both cover the same truth.
    for x, y, p, q in zip(
        output.flat, expected[0].flat, error_bound.flat, expected[1].flat, strict=True
    ):
        assert abs(Fraction(x) - Fraction(y)) <= Fraction(p) + Fraction(q)
    assert np.abs(error_bound - expected[1]).max() <= MACHINES_DIFFER * np.abs(V).max()


@given(n=st.integers(1, 60), keys=st.integers(1, 20), queries=st.integers(1, 20))
@settings(max_examples=25)
def test_any_partitions_give_what_one_machine_does(n: int, keys: int, queries: int) -> None:
    K, V, Q = _rows(n, 3, 0), _rows(n, 2, 1), _rows(31, 3, 2)
    state = moment_state(
        da.from_array(K, chunks=(keys, 3)), da.from_array(V, chunks=(keys, 2)), DEGREE
    )
    assert state.count == n
    result = attend(state, da.from_array(Q, chunks=(queries, 3)), tolerance=1e-3)
    assert isinstance(result.output, da.Array)
    assert result.output.shape == result.error_bound.shape == (31, 2)
    assert result.claims == MomentState.query(state, Q).claims
    _assert_same(result, _one_machine(K, V, Q, queries), V)


def test_delayed_and_plain_blocks_are_partitions() -> None:
    K, V, Q = _rows(20, 3, 0), _rows(20, 2, 1), _rows(9, 3, 2)
    keys, values = [delayed(K[:7]), K[7:]], [V[:7], delayed(V[7:])]
    state = moment_state(keys, values, DEGREE)
    _assert_same(attend(state, da.from_array(Q, chunks=(4, 3))), _one_machine(K, V, Q, 4), V)


def test_partitions_without_rows_are_passed_over() -> None:
    K, V, Q = _rows(6, 3, 0), _rows(6, 2, 1), _rows(5, 3, 2)
    state = moment_state([K[:0], K, K[:0]], [V[:0], V, V[:0]], DEGREE)
    assert state.count == 6
    result = attend(state, da.from_array(Q, chunks=((2, 0, 3), 3)))
    first, second = (_one_machine(K, V, part, len(part)) for part in (Q[:2], Q[2:]))
    _assert_same(result, tuple(map(np.concatenate, zip(first, second, strict=True))), V)


def test_float32_stays_float32() -> None:
    K, V, Q = (x.astype(np.float32) for x in (_rows(6, 3, 0), _rows(6, 2, 1), _rows(5, 3, 2)))
    result = attend(moment_state([K], [V], DEGREE), da.from_array(Q, chunks=(2, 3)))
    assert result.output.dtype == result.output.compute().dtype == np.float32
    assert result.error_bound.compute().dtype == np.float64


def test_the_states_of_tasks_are_left_as_they_were() -> None:
    """A task may run again."""
    states = [moment_state([_rows(6, 3, i)], [_rows(6, 2, 9)], DEGREE) for i in range(3)]
    assert _merged(states).count == _merged(states).count == 18
    assert [state.count for state in states] == [6, 6, 6]


@pytest.mark.parametrize(
    ("K", "V", "error", "message"),
    [
        ([], [], ValueError, "K must have a partition, got none"),
        ([_rows(3, 2, 0)], [], ValueError, "same number of partitions, got 1 and 0"),
        (_rows(3, 2, 0), [_rows(3, 2, 0)], TypeError, "K must be a dask array or a sequence"),
        ("ab", [_rows(3, 2, 0)] * 2, TypeError, "K must be a dask array or a sequence .* got str"),
        ([np.zeros(3)], [_rows(3, 2, 0)], ValueError, "K must have matrices as partitions"),
        ([_rows(3, 2, 0)], [_rows(4, 2, 0)], ValueError, "same number of rows, got 3 and 4"),
        ([_rows(3, 2, 0), _rows(3, 1, 0)], [_rows(3, 2, 0)] * 2, ValueError, "d = 2, got 1"),
        (da.zeros((4, 4), chunks=(2, 2)), [np.zeros((2, 1))] * 2, ValueError, "by rows only"),
    ],
)
def test_partitions_that_do_not_fit_are_refused(
    K: Any, V: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        moment_state(K, V, DEGREE)


def test_queries_that_do_not_fit_are_refused() -> None:
    state = moment_state([_rows(6, 3, 0)], [_rows(6, 2, 1)], 1)
    with pytest.raises(TypeError, match="dask array, got ndarray"):
        attend(state, _rows(4, 3, 0))
    with pytest.raises(ValueError, match="Q must not be empty"):
        attend(state, da.zeros((0, 3)))
    with pytest.raises(ValueError, match="by rows only"):
        attend(state, da.zeros((4, 3), chunks=(2, 1)))
    loose = attend(state, da.from_array(_rows(4, 3, 0)), tolerance=1e-6)
    with pytest.raises(ValueError, match="got 1e-06"):
        loose.output.compute()


def test_without_dask_the_import_says_what_to_install() -> None:
    script = "import sys; sys.modules['dask'] = None; import fastpath; import fastpath.distributed"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert (
        "ImportError: fastpath.distributed needs dask: pip install 'attest-attention[dask]'."
        in (done.stderr)
    )


# ------------------------------------------------------------------------------- a worker dies

PARTITIONS, KEYS = 24, 2000


def _keys(partition: int, marks: str) -> Any:
    """Leave a mark with the worker's process id, then draw the keys of a partition, slowly."""
    Path(marks, f"{partition}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(0.5)
    return _rows(KEYS, 3, partition)


def _values(partition: int) -> Any:
    return _rows(KEYS, 2, 1000 + partition)


def _kill_one(marks: Path, killed: list[int]) -> None:
    """Kill the worker that began with a partition last, once half of them have begun."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = sorted(marks.iterdir(), key=lambda mark: int(mark.name.split("-")[2]))
        if len(found) >= PARTITIONS // 2:
            killed.append(int(found[-1].name.split("-")[1]))
            os.kill(killed[0], signal.SIGKILL)
            return
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of dask's and tornado's own, on the way down
def test_a_worker_that_is_killed_half_way_takes_no_partition_with_it(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs attest-attention[dask]")
    K = np.concatenate([_rows(KEYS, 3, i) for i in range(PARTITIONS)])
    V = np.concatenate([_values(i) for i in range(PARTITIONS)])
    Q = _rows(400, 3, 7)
    keys = [delayed(_keys)(i, str(tmp_path)) for i in range(PARTITIONS)]
    values = [delayed(_values)(i) for i in range(PARTITIONS)]
    killed: list[int] = []
    with (
        distributed.LocalCluster(
            n_workers=4, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster),
    ):
        killer = threading.Thread(target=_kill_one, args=(tmp_path, killed))
        killer.start()
        state = moment_state(keys, values, DEGREE)
        killer.join()
        result = attend(state, da.from_array(Q, chunks=(100, 3)), tolerance=1e-3)
        _assert_same(result, _one_machine(K, V, Q, 100), V)
    assert len(killed) == 1
    assert state.count == PARTITIONS * KEYS
    # What it was at was done again, by another.
    partitions = [mark.name.split("-")[0] for mark in tmp_path.iterdir()]
    assert len(partitions) > len(set(partitions)) == PARTITIONS
