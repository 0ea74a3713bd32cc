"""Work on several cores: what holds BLAS to one thread, in every thread and beside forks, left out."""

from functools import partial

from tests.mutants.runner import Mutant

_CORES = "tests/fastpath/core/test_cores.py::"
EVERY_THREAD = f"{_CORES}test_every_thread_holds_blas_to_one_thread_and_gives_the_threads_back"
FORK = f"{_CORES}test_a_fork_while_threads_change_holds_blas_to_one_thread"

_planted = partial(Mutant, file="fastpath/core/cores.py")

MUTANTS = (
    _planted(
        before="before=_hold, after_in_parent=_go_on, ",
        after="",
        tests=FORK,
        catches="that no fork comes while threads are set",
    ),
    _planted(
        before="        _Blas.calls += 1\n",
        after="        _Blas.calls = 1\n",
        tests=EVERY_THREAD,
        catches="how many calls overlap",
    ),
    _planted(
        before="    release(force=True)\n    try:\n",
        after="    try:\n",
        tests=EVERY_THREAD,
        catches="that another thread's hold on the number is undone",
    ),
    _planted(
        before="                    _set(library, threads)\n",
        after="                    pass\n",
        tests=EVERY_THREAD,
        catches="that threads are given back",
    ),
    Mutant(
        file="fastpath/core/once.py",
        before="vars(instance).setdefault(self.name, self.compute(instance))",
        after="self.compute(instance)",
        tests=f"{_CORES}test_no_thread_waits_for_another_to_compute_an_attribute",
        catches="that what was computed is kept",
    ),
)
