"""Which tests run which lines of ours: ``python -m tests.mutants.reached FILE TEST...``.

A test that never reaches a line cannot notice a fault in it.  Every function, and every block of it that
may be skipped, says its name as it is entered: modules are loaded from a source to which that is added,
and nothing on disk changes.  What a fixture or a cache has computed once counts for every test that uses
it.  What runs in another process, or while a module is loaded, is not seen.
"""

import ast
import functools
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from tests.mutants.runner import PRELOADED

ROOT = Path(__file__).parents[2]

#: What is asked about.
ROOMS = ("reference", "specs", "fastpath", "proofs")

#: What modules call the set of what was entered.
SEEN = "_functions_entered"


def place(file: str, function: str, block: int) -> str:
    """Return the name of a block of a function: that which begins at a line, or its body where that is 0."""
    return f"{file}::{function}" + (f":{block}" if block else "")


class Reached:
    """A plugin of pytest that notes of each test its seconds and the blocks that it enters.

    Attributes
    ----------
    seconds : dict of str to float
        Processor time of each test that passed.
    functions : dict of str to list of str
        The tests that enter a function or a block of one, by its :func:`place`.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.functions: dict[str, list[str]] = defaultdict(list)
        self.entered: set[str] = set()
        self._failed: set[str] = set()
        self._by_fixture: dict[object, set[str]] = defaultdict(set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.entered.clear()
        start = time.process_time()
        try:
            return (yield)  # type: ignore[no-any-return]
        finally:
            if item.nodeid not in self._failed:
                self.seconds[item.nodeid] = time.process_time() - start
                used = getattr(item, "_fixtureinfo", None)
                for definitions in used.name2fixturedefs.values() if used else ():
                    for definition in definitions:
                        self.entered |= self._by_fixture[definition]
                for name in tuple(self.entered):
                    self.functions[name].append(item.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: object) -> Iterator[None]:
        with _noted(self.entered, self._by_fixture[fixturedef]):
            return (yield)  # type: ignore[no-any-return]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self._failed.add(report.nodeid)


@contextmanager
def _noted(entered: set[str], also: set[str]) -> Iterator[None]:
    """Add what is entered meanwhile to another set as well."""
    before = set(entered)
    entered.clear()
    try:
        yield
    finally:
        also |= entered
        entered |= before


def _remembering(entered: set[str]) -> Callable[..., Any]:
    """Return an ``lru_cache`` by which what was entered to compute a value is so whenever it is found."""
    kept = functools.lru_cache

    def lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
        if callable(maxsize):
            return lru_cache()(maxsize)

        def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
            cached = kept(maxsize, typed)(function)
            noted: dict[object, set[str]] = defaultdict(set)

            @functools.wraps(function)
            def found(*arguments: Any, **named: Any) -> Any:
                those = noted[arguments, tuple(named.items())]
                with _noted(entered, those):
                    value = cached(*arguments, **named)
                entered.update(those)
                return value

            found.cache_clear, found.cache_info = cached.cache_clear, cached.cache_info  # type: ignore[attr-defined]
            return found

        return decorated

    return lru_cache


class _Teller(ast.NodeTransformer):
    """Adds to every function, and to every block of one, that it says its name."""

    def __init__(self, file: str) -> None:
        self._file, self._names = file, [""]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node, node.name)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        said = self._said(node.name)
        self._inside(node, f"{node.name}.<locals>")
        body = ast.parse(said).body
        first = ast.get_docstring(node) is not None
        node.body = [*node.body[:first], *body, *node.body[first:]]
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        lines = {
            field: value[0].lineno
            for field, value in ast.iter_fields(node)
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt)
        }
        super().generic_visit(node)
        inside = self._names[-1].endswith("<locals>.")
        if inside and not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            function = self._names[-1].removesuffix(".<locals>.")
            for field, line in lines.items():
                said = ast.parse(f"{SEEN}.add({place(self._file, function, line)!r})").body
                setattr(node, field, [*said, *getattr(node, field)])
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        said = ast.parse(self._said("<lambda>"), mode="eval").body
        self._inside(node, "<lambda>.<locals>")
        node.body = ast.BoolOp(ast.Or(), [said, node.body])  # set.add returns None
        return node

    def _said(self, name: str) -> str:
        return f"{SEEN}.add({place(self._file, self._names[-1] + name, 0)!r})"

    def _inside(self, node: ast.AST, name: str) -> ast.AST:
        self._names.append(f"{self._names[-1]}{name}.")
        self.generic_visit(node)
        self._names.pop()
        return node


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, entered: set[str]) -> None:
        super().__init__(name, path)
        self._entered = entered

    def get_code(self, fullname: str) -> CodeType:
        path = Path(self.path)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        told = _Teller(path.relative_to(ROOT).as_posix()).visit(tree)
        return compile(ast.fix_missing_locations(told), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, SEEN, self._entered)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def __init__(self, entered: set[str]) -> None:
        self._entered = entered

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in ROOMS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            spec.loader = _Loader(fullname, spec.origin, self._entered)
        return spec


def main(file: str, tests: list[str]) -> int:
    """Run tests, and add what they reach to a file."""
    plugin = Reached()
    for name in PRELOADED:
        import_module(name)
    functools.lru_cache = remembering = _remembering(plugin.entered)
    functools.cache = remembering(maxsize=None)
    sys.meta_path.insert(0, _Finder(plugin.entered))
    code = pytest.main(
        ["-n", "0", "-p", "no:cacheprovider", "--assert=plain", *tests], plugins=[plugin]
    )
    path = Path(file)
    known: dict[str, Any] = read(path) if path.exists() else {"seconds": {}, "functions": {}}
    known["seconds"] |= plugin.seconds
    for name, those in plugin.functions.items():
        known["functions"][name] = sorted({*known["functions"].get(name, ()), *those})
    # A test's id is long, and stands at hundreds of functions.
    places = {test: k for k, test in enumerate(known["seconds"])}
    for name, those in known["functions"].items():
        known["functions"][name] = [places[test] for test in those]
    path.write_text(json.dumps(known), encoding="utf-8")
    return int(code)


def read(path: Path) -> dict[str, Any]:
    """Return what is in a file: the seconds of each test, and the tests that enter each block."""
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    tests = [*known["seconds"]]
    known["functions"] = {
        name: [tests[k] for k in those] for name, those in known["functions"].items()
    }
    return known


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
