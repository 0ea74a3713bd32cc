"""Work on several cores: the same bits, no waiting for one another, in forks and beside a busy core too."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_info

import fastpath
from fastpath.core import cores
from fastpath.core.cores import run, run_in_order
from fastpath.core.once import once
from fastpath.polynomial import attention as polynomial
from fastpath.polynomial import moments, monomials
from fastpath.sparsification import gram as gramming

RNG = np.random.default_rng(0)
Q, K, V = (RNG.standard_normal((700, 3)) / 4 for _ in range(3))
WIDE, TALL = RNG.standard_normal((20, 5000)), RNG.standard_normal((150, 70))
SPARSE = sp.csr_array(sp.random(90, 400, 0.02, format="csr", random_state=RNG))
SPARSEST = sp.csr_array((np.ones(60), (np.arange(60), np.arange(60))), shape=(90, 4000))


def _polynomial(causal: bool, workers: int) -> list[Any]:
    found = fastpath.polynomial_attention(Q, K, V, tolerance=1e-3, causal=causal, workers=workers)
    return [found.output, found.error_bound]


def _gram(X: Any, workers: int) -> list[Any]:
    found = fastpath.gram(X, workers=workers)
    return [found.matrix, found.roundings]


CALLS: dict[str, Callable[[int], list[Any]]] = {
    "polynomial": lambda workers: _polynomial(False, workers),
    "causal polynomial": lambda workers: _polynomial(True, workers),
    "gram of few rows": lambda workers: _gram(WIDE, workers),
    "gram of many rows": lambda workers: _gram(TALL, workers),
    "gram of sparse rows": lambda workers: _gram(SPARSE, workers),
    "gram of the sparsest rows": lambda workers: _gram(SPARSEST, workers),
    "certify": lambda workers: [
        fastpath.certify(Q, K, V, V, rng=np.random.default_rng(0), workers=workers).error_bound
    ],
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small inputs have several tasks."""
    monkeypatch.setattr(gramming, "STRIP", 64)
    monkeypatch.setattr(gramming, "SPARSE_STRIP", 32)
    monkeypatch.setattr(gramming, "SHARED_ENTRIES", 0)
    for module in (polynomial, moments):
        monkeypatch.setattr(module, "block_columns", lambda *sizes: 64)
    monkeypatch.setattr(monomials, "LEAST_COLUMNS", 64)
    monkeypatch.setattr(polynomial, "CAUSAL_BLOCK", 32)


@pytest.mark.parametrize("name", CALLS)
def test_no_bit_depends_on_the_number_of_workers(name: str) -> None:
    first = CALLS[name](1)
    for workers in (2, 7):
        for one, other in zip(first, CALLS[name](workers), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("X", [WIDE, TALL, SPARSE, SPARSEST], ids=["wide", "tall", "sparse", "few"])
def test_a_gram_matrix_of_several_tasks_is_within_its_bound(X: Any) -> None:
    found = fastpath.gram(X, workers=3)
    dense = X.toarray() if sp.issparse(X) else X
    exact = dense.astype(np.longdouble) @ dense.T.astype(np.longdouble)
    size = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert (np.abs(found.matrix - exact) <= found.error * size + np.longdouble(1e-18)).all()
    np.testing.assert_array_equal(found.matrix, found.matrix.T)


def test_results_come_in_order_and_few_are_held() -> None:
    held, most, lock = 0, 0, threading.Lock()

    def task(number: int) -> Callable[[], int]:
        def work() -> int:
            nonlocal held, most
            with lock:
                held += 1
                most = max(most, held)
            return number

        return work

    found = []
    for number in run_in_order((task(i) for i in range(20)), 4, 6):
        found.append(number)
        held -= 1
    assert found == list(range(20))
    assert most <= 6


def test_the_first_task_that_fails_is_raised_and_blas_gets_its_threads_back() -> None:
    before = [library["num_threads"] for library in threadpool_info()]

    def fail(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ValueError, match="first"):
        run([lambda: fail("first"), lambda: fail("second"), lambda: None], 2)
    assert [library["num_threads"] for library in threadpool_info()] == before
    assert (cores._Blas.calls, cores._Blas.before) == (0, None)


def test_every_thread_holds_blas_to_one_thread_and_gives_the_threads_back() -> None:
    """Also beside one that has set the number of threads before, and is the first to leave."""
    library = cores._libraries()[0]
    before, left, inside = library.get_num_threads(), threading.Event(), threading.Event()
    seen: list[list[int]] = []

    def beside() -> int:
        inside.set()
        left.wait()
        return int(library.get_num_threads())

    try:
        cores._set(library, 2)
        library.set_num_threads(2)  # from now on this thread's, if threadpoolctl has its way
        alone = threading.Thread(target=lambda: seen.append(run([library.get_num_threads], 1)))
        alone.start()
        alone.join()
        other = threading.Thread(target=lambda: seen.append(run([beside], 1)))
        run([other.start, inside.wait], 1)
        left.set()
        other.join()
        assert (seen, library.get_num_threads()) == ([[1], [1]], 2)
    finally:
        cores._set(library, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_workers_run_answers_as_its_parent() -> None:
    expected = fastpath.attention(Q, K, V, workers=2).output
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            fastpath.attention(Q, K, V, workers=2)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            child = os.fork()
            if not child:
                same = np.array_equal(fastpath.attention(Q, K, V, workers=2).output, expected)
                threads_back = cores._Blas.before is None and cores._Blas.calls == 0
                os._exit(0 if same and threads_back else 1)
            ended, status = 0, -1
            for _ in range(3000):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    break
                time.sleep(0.01)
            else:
                os.kill(child, 9)
                os.waitpid(child, 0)
            assert (ended, status) == (child, 0)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 4], ids=["they are set", "they are given back"])
def test_a_fork_while_threads_change_holds_blas_to_one_thread(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """The fork comes while another thread is inside of the call that sets the number of threads."""
    setting, forked, parent = threading.Event(), threading.Event(), os.getpid()

    class Library:
        threads = 4
        lock = threading.Lock()

        def get_num_threads(self) -> int:
            return self.threads

        def set_num_threads(self, count: int) -> None:
            # A child has no other thread: what is held there will not be released.
            if not self.lock.acquire(blocking=os.getpid() == parent):
                os._exit(2)
            first = count == threads and not setting.is_set()
            if first and count > 1:
                self.threads = count
            if first:
                setting.set()
                # Of a fork that waits for this call nothing is heard.
                forked.wait(0.1)
            self.threads = count
            self.lock.release()

    library = Library()
    monkeypatch.setattr(cores, "_libraries", lambda: [library])
    other = threading.Thread(target=lambda: run([lambda: None], 1))
    other.start()
    setting.wait()
    child = os.fork()
    if not child:
        seen = run([library.get_num_threads], 1)
        os._exit(0 if (seen, library.threads, cores._Blas.before) == ([1], 4, None) else 1)
    forked.set()
    assert os.waitpid(child, 0) == (child, 0)
    other.join()
    assert (library.threads, cores._Blas.calls, cores._Blas.before) == (4, 0, None)


def test_no_thread_waits_for_another_to_compute_an_attribute() -> None:
    """A child of a fork would wait for ever: the other thread is not its own."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        waits = True

        @once
        def number(self) -> int:
            """Seven."""
            if self.waits:
                inside.set()
                go_on.wait()
            return 7

    slow, quick = Slow(), Slow()
    quick.waits = False
    other = threading.Thread(target=lambda: slow.number)
    other.start()
    inside.wait()
    found: list[int] = []
    reader = threading.Thread(target=lambda: found.append(quick.number), daemon=True)
    reader.start()
    reader.join(5)
    go_on.set()
    other.join()
    assert found == [7]
    assert (vars(slow)["number"], Slow.number.__doc__) == (7, "Seven.")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no process can be kept to a core")
@pytest.mark.slow
def test_workers_beside_a_busy_process_on_one_core_end_with_the_same_bits() -> None:
    """All on one core, which another process keeps busy."""
    program = (
        "import os, sys, numpy as np; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import fastpath; Q, K, V = np.random.default_rng(0).standard_normal((3, 4, 900, 8))\n"
        "found = fastpath.certified_attention(Q, K, V, tolerance=0.1, scale=0.3, workers=int(sys.argv[1]))\n"
        "print(found.output.sum().hex(), found.error_bound.sum().hex())"
    )
    busy = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass",
        ]
    )
    try:
        one, many = (
            subprocess.run(
                [sys.executable, "-c", program, workers],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for workers in ("1", "6")
        )
    finally:
        busy.kill()
        busy.wait()
    assert one == many != ""


@pytest.mark.parametrize(("counted", "workers"), [(None, 1), (7, 7)])
def test_where_affinity_is_unknown_all_cores_are_taken(
    counted: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches: a system without affinities that is given one worker, or none at all."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert cores.worker_count(None) == workers
