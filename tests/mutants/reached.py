"""Which tests run which functions of ours: ``python -m tests.mutants.reached FILE TEST...``.

A test that never enters a function cannot notice a fault in it.  Every function says its name as it is
entered: modules are loaded from a source to which that is added, and nothing on disk changes.  What runs
in another process, or while a module is loaded, is not seen.
"""

import ast
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

#: What is asked about.
ROOMS = ("reference", "specs", "fastpath", "proofs")

#: What functions call the set of those entered.
SEEN = "_functions_entered"


class Reached:
    """A plugin of pytest that notes of each test its seconds and the functions that it enters.

    Attributes
    ----------
    seconds : dict of str to float
        Processor time of each test that passed.
    functions : dict of str to list of str
        The tests that enter a function, by ``<file>::<qualified name>``.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.functions: dict[str, list[str]] = defaultdict(list)
        self.entered: set[str] = set()
        self._failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.entered.clear()
        start = time.process_time()
        try:
            return (yield)  # type: ignore[no-any-return]
        finally:
            if item.nodeid not in self._failed:
                self.seconds[item.nodeid] = time.process_time() - start
                for name in tuple(self.entered):
                    self.functions[name].append(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self._failed.add(report.nodeid)


class _Teller(ast.NodeTransformer):
    """Adds to every function that it says its name."""

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

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        said = ast.parse(self._said("<lambda>"), mode="eval").body
        self._inside(node, "<lambda>.<locals>")
        node.body = ast.BoolOp(ast.Or(), [said, node.body])  # set.add returns None
        return node

    def _said(self, name: str) -> str:
        return f"{SEEN}.add({f'{self._file}::{self._names[-1]}{name}'!r})"

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
    sys.meta_path.insert(0, _Finder(plugin.entered))
    code = pytest.main(["-n", "0", "-p", "no:cacheprovider", *tests], plugins=[plugin])
    path = Path(file)
    known: dict[str, Any] = {"seconds": {}, "functions": {}}
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
    known["seconds"] |= plugin.seconds
    for name, those in plugin.functions.items():
        known["functions"][name] = sorted({*known["functions"].get(name, ()), *those})
    path.write_text(json.dumps(known), encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
