"""SECURITY.md is true of the sources: nothing that comes from data is executed."""

import ast
import re
from pathlib import Path

import pytest
import sympy

from reference import evaluate

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for room in ("fastpath", "proofs", "reference", "specs")
    for path in sorted((ROOT / room).rglob("*.py"))
]

#: Modules that run what they read.
RUNNING = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy", "yaml"}

#: Functions that evaluate text.
EVALUATING = {"eval", "exec", "compile", "__import__", "parse_expr", "system", "popen"}


def faults(source: str) -> list[str]:
    """Return what in a source could execute data, in words."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                # An error's type reads nothing.
                errors = all(name.endswith("Error") for name in names)
                names = [] if errors else [str(node.module)]
            found += [f"imports {n}" for n in names if n.partition(".")[0] in RUNNING]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        last = called.rpartition(".")[2]
        # re.compile compiles no Python.
        if last in EVALUATING and called not in ("re.compile",):
            found.append(f"calls {called}")
        if keywords.get("shell", "False") != "False":
            found.append(f"calls {called} with a shell")
        if called == "np.load" and keywords.get("allow_pickle") != "False":
            found.append("reads pickles")
        if last in ("sympify", "S") and keywords.get("strict") != "True":
            found.append(f"calls {called}, which evaluates strings")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_executes_data(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import loads",
        "eval(text)",
        "builtins.exec(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "sympy.sympify(text)",
        "parse_expr(text)",
    ],
)
def test_what_executes_data_is_found(source: str) -> None:
    assert len(faults(source)) == 1


def test_an_expression_is_not_a_string() -> None:
    """Catches: text that SymPy evaluates as Python."""
    with pytest.raises(sympy.SympifyError):
        evaluate("1 + 1", {}, 64)  # type: ignore[arg-type]


def test_the_files_that_parse_are_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:fastpath|proofs|tests)/[\w./]+)`", text)
    assert len(named) >= 5
    assert all((ROOT / name).exists() for name in named)
