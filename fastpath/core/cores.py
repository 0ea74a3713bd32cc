"""Work on several cores, whose results do not depend on how many."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from itertools import islice
from threading import RLock
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from fastpath.core.inputs import integer

Result = TypeVar("Result")


def worker_count(workers: int | None) -> int:
    """Return how many threads to work with: every core that the process may use by default."""
    if workers is not None:
        return integer("workers", workers, 1)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(tasks: Sequence[Callable[[], Result]], workers: int) -> list[Result]:
    """Return the results of all tasks in their order, or raise what the first of them that fails raises.

    BLAS is held to one thread meanwhile: its threads wait for each other whenever another process takes
    a core, and the order of its sums, and so the bits of a result, would depend on their number.
    """
    with _blas_on_one_thread():
        if workers == 1 or len(tasks) <= 1:
            return [task() for task in tasks]
        with ThreadPoolExecutor(min(workers, len(tasks))) as pool:
            # numpy's treatment of floating-point events is the context's.
            futures = [pool.submit(copy_context().run, task) for task in tasks]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()


def run_in_order(
    tasks: Iterable[Callable[[], Result]], workers: int | None, waiting: int
) -> Iterator[Result]:
    """Yield the results of tasks in their order, of which at most ``waiting`` are held at once.

    With None each is done when its turn comes, by this thread, and BLAS is left as it is.
    """
    remaining = iter(tasks)
    if workers is None:
        for task in remaining:
            yield task()
        return
    while wave := list(islice(remaining, max(1, waiting))):
        yield from run(wave, workers)


class _Blas:
    """How many calls need BLAS on one thread at the moment, and how many threads its libraries had before.

    A fork while they run copies calls that will not end: the child starts anew, and its next call gives the
    threads back.  None happens while threads are set or given back, which other threads do outside of the
    interpreter's lock: the child would have some libraries on one thread and others not, and inside of a
    library a lock that nobody will release.
    """

    #: A signal's handler may fork while its own thread holds it.
    lock = RLock()
    calls = 0
    before: tuple[tuple[Any, int], ...] | None = None


def _hold() -> None:
    _Blas.lock.acquire()


def _go_on() -> None:
    _Blas.lock.release()


def _start_anew() -> None:
    _Blas.lock, _Blas.calls = RLock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_go_on, after_in_child=_start_anew)


@contextmanager
def _blas_on_one_thread() -> Iterator[None]:
    """Hold BLAS to one thread, once for all calls that overlap: the setting is the process's."""
    with _Blas.lock:
        if _Blas.before is None:
            found = [(library, library.get_num_threads()) for library in _libraries()]
            _Blas.before = tuple(pair for pair in found if pair[1] not in (None, 1))
        if not _Blas.calls:
            for library, _ in _Blas.before:
                _set(library, 1)
        _Blas.calls += 1
    try:
        yield
    finally:
        with _Blas.lock:
            _Blas.calls -= 1
            if not _Blas.calls:
                for library, threads in _Blas.before or ():
                    _set(library, threads)
                _Blas.before = None


def _set(library: Any, threads: int) -> None:
    """Set how many threads a library has.

    From version 3.8 on threadpoolctl lets one thread of the process do so, and ignores the others as long as
    that one lives; here it does not matter which, and who had it can have it back.
    """
    release = getattr(library, "clear_controlling_thread", lambda force: None)
    release(force=True)
    try:
        library.set_num_threads(threads)
    finally:
        release(force=True)


@cache
def _libraries() -> list[Any]:
    """Return the BLAS libraries of the process; looking for them takes milliseconds."""
    controllers: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return controllers
