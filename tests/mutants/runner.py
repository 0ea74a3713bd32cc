"""Faults planted one at a time, each with the tests that must notice it.

A mutant is one edit of one module.  A process that has loaded nothing of ours serves the edited text to
the import system, nothing on disk changes, and runs the named tests there.  What survives is a term or
a guard that the tests would not miss.
"""

import atexit
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from types import CodeType, ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

#: Seconds of processor time, not of the clock, after which a run that has not ended never will.
LONGEST = 60

#: What a run needs of others, loaded once.
PRELOADED = (
    "numpy",
    "scipy.sparse.linalg",
    "scipy.stats",
    "sympy",
    "mpmath",
    "flint",
    "hypothesis.extra.numpy",
)


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One fault.

    Attributes
    ----------
    file : str
        The module, from the root of the checkout.
    before, after : str
        The exact text that stands there once, and what is planted in its place.
    tests : str or tuple of str
        pytest ids from the root, one of which must fail.
    catches : str
        What is then missing, in words.
    needs : str
        An optional package without which the tests cannot be collected.
    """

    file: str
    before: str
    after: str
    tests: str | tuple[str, ...]
    catches: str
    needs: str = ""

    @property
    def can_be_judged(self) -> bool:
        """Whether what its tests need is installed."""
        return not self.needs or find_spec(self.needs) is not None

    @property
    def ids(self) -> tuple[str, ...]:
        """The tests, always as a tuple."""
        return (self.tests,) if isinstance(self.tests, str) else self.tests

    @property
    def module(self) -> str:
        """The dotted name of the module."""
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def source(self) -> str:
        """Return the text of the module with the fault in it.

        Raises
        ------
        ValueError
            If the text to replace does not stand there exactly once, or the fault changes nothing.
        """
        text = (ROOT / self.file).read_text(encoding="utf-8")
        count = text.count(self.before)
        if count != 1:
            raise ValueError(
                f"before must stand exactly once in {self.file}, found {count} times: {self.before!r}."
            )
        if self.before == self.after:
            raise ValueError(f"after must differ from before, got {self.after!r} for both.")
        return text.replace(self.before, self.after)


class Outcome(Enum):
    """What the tests said of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    #: It ran for LONGEST seconds: red too, for tests that do not end do not pass.
    ENDLESS = "endless"
    #: pytest found no such test, or could not collect it: nothing is shown.
    BROKEN = "broken"


def stems() -> list[str]:
    """Return the modules beside this one that hold a list."""
    return sorted(
        path.stem for path in HERE.glob("*.py") if "\nMUTANTS" in path.read_text(encoding="utf-8")
    )


def mutants(stem: str) -> tuple[Mutant, ...]:
    """Return the list of one stem."""
    found: tuple[Mutant, ...] = import_module(f"tests.mutants.{stem}").MUTANTS
    return found


def judge(mutant: Mutant) -> tuple[Outcome, str]:
    """Run the tests of a mutant in an interpreter of its own; return what they said."""
    return planted(mutant.module, mutant.source(), mutant.ids)


def control(stem: str) -> tuple[Outcome, str]:
    """Run all tests of a stem's mutants that can be judged with nothing planted: they must survive."""
    listed = (mutant for mutant in mutants(stem) if mutant.can_be_judged)
    return planted("", "", {test for mutant in listed for test in mutant.ids})


def planted(
    module: str, text: str, tests: Iterable[str], *, marked: str = "", longest: int = LONGEST
) -> tuple[Outcome, str]:
    """Run tests in an interpreter of its own, where a module has another text; return what they said.

    Parameters
    ----------
    module, text : str
        The module's dotted name and what it is loaded from; nothing is planted where both are empty.
    tests : iterable of str
        pytest ids from the root, run in the order of a sequence, or sorted, until one fails.
    marked : str
        Which of them by their marks, as for ``pytest -m``.
    longest : int
        Seconds of processor time.
    """
    listed = list(tests) if isinstance(tests, Sequence) else sorted(tests)
    try:
        host = _idle.get_nowait()
    except Empty:
        host = _Host()
    code, said = host.run(module, text, listed, marked, longest)
    _idle.put(host)
    if code == -signal.SIGXCPU:
        return Outcome.ENDLESS, said
    return {0: Outcome.SURVIVED, 1: Outcome.KILLED}.get(code, Outcome.BROKEN), said


def judged(several: Iterable[Mutant]) -> Iterator[tuple[Mutant, Outcome, str]]:
    """Judge mutants, as many at once as there are cores."""
    listed = tuple(several)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for mutant, (outcome, said) in zip(listed, pool.map(judge, listed), strict=True):
            yield mutant, outcome, said


class _Host:
    """An interpreter that has loaded what tests need of others, and forks for each run.

    To load numpy, scipy, sympy and pytest takes longer than most of the runs.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.runner"],
            cwd=ROOT,
            # A worker of xdist would hand down what only a worker knows.
            env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._close)

    def run(self, *what: object) -> tuple[int, str]:
        """Return the exit code, or the negative number of a signal, and what pytest printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(what), file=self._process.stdin, flush=True)
        code, said = json.loads(self._process.stdout.readline())
        return code, said

    def _close(self) -> None:
        self._process.communicate()


_idle: SimpleQueue[_Host] = SimpleQueue()


class _Planted(SourceFileLoader):
    """Loads a module from a text instead of its file."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.path, "exec", dont_inherit=True)


class _Planter(MetaPathFinder):
    """Finds one module with its fault in it, and leaves all others to those that come after."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Planted(fullname, spec.origin, self._text)
        return spec


def _run(module: str, text: str, tests: list[str], marked: str, longest: int) -> int:
    """Run tests in this process, with another text for a module if one is named."""
    if module:
        assert module not in sys.modules, f"{module} was loaded too early"
        sys.meta_path.insert(0, _Planter(module, text))
    resource.setrlimit(resource.RLIMIT_CPU, (longest, longest))
    addopts = (
        "--import-mode=importlib --strict-markers --strict-config --benchmark-skip -p no:xdist"
    )
    options = ["-x", "-q", "--no-header", "--tb=line", "--assert=plain", "-p", "no:cacheprovider"]
    return int(pytest.main([*options, "-m", marked, "-o", f"addopts={addopts}", *tests]))


def _serve() -> None:
    """Answer each line of standard input by a run in a fork; nothing of ours is loaded here."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for name in PRELOADED:
        import_module(name)
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as said:
            child = os.fork()
            if not child:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                code = 4
                try:
                    code = _run(*json.loads(line))
                except BaseException:
                    traceback.print_exc()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said.seek(0)
            print(json.dumps((code, said.read())), flush=True)


if __name__ == "__main__":
    _serve()
