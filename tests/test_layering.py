"""Who may import whom, in two tables: the rooms, and the folders inside each."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: The architecture: a room may import itself, the standard library and what stands here.
MAY_IMPORT = {
    "reference": {"numpy", "sympy", "mpmath"},
    "specs": {"numpy", "sympy", "reference"},
    "fastpath": {"numpy", "scipy", "threadpoolctl"},
    "proofs": {"numpy", "sympy", "safetensors", "reference", "specs"},
}

#: What one module besides may import, which nothing else of its room imports.
EXTRAS = {
    "fastpath/streaming/distributed.py": {"dask"},
    "fastpath/integrations/dask.py": {"dask"},
    "fastpath/integrations/torch.py": {"torch"},
    "proofs/command/check.py": {"threadpoolctl"},
    "proofs/command/long_heads.py": {"scipy"},
    "proofs/command/pytest_plugin.py": {"pytest"},
    "proofs/page/figures.py": {"matplotlib", "markupsafe"},
    "proofs/page/formulas.py": {"markupsafe"},
    "proofs/page/pages.py": {"jinja2", "markupsafe"},
}

#: Inside a room: a folder may import itself and the folders that stand beside it.  "" holds the modules
#: that stand in the room itself, its face (``__init__``) excepted.
INSIDE = {
    "reference": {
        "arithmetic": set(),
        "": {"arithmetic"},
        "models": {"arithmetic", ""},
    },
    "specs": {
        "": set(),
        "softmax": {""},
        "kernels": {"", "softmax"},
        "dynamic": {"", "softmax"},
        "polynomial": {"", "softmax"},
        "streaming": {"", "softmax", "polynomial"},
        "sparsification": {"", "softmax"},
        "regression": {"", "softmax"},
        "real_heads": {"", "softmax"},
        "caches": {"", "softmax"},
        "decoding": {"", "softmax"},
        "printing": {"", "softmax"},
    },
    "fastpath": {
        "core": set(),
        "exact": {"core"},
        "kernels": {"core", "exact"},
        "integrations": {"core", "exact", "kernels", "sparsification", "streaming"},
        "polynomial": {"core"},
        "streaming": {"core", "polynomial"},
        "sparsification": {"core"},
        "dynamic": {"core"},
        "regression": {"core"},
        "real_heads": {"core", "exact", "polynomial"},
        "caches": {"core", "exact"},
        "decoding": {"core", "exact", "real_heads"},
        "": {"dynamic", "integrations", "streaming"},
    },
    "proofs": {
        "symbolic": set(),
        "judging": set(),
        "evidence": {"judging"},
        "algebra": {"evidence"},
        "attack": {"judging", "evidence", "algebra"},
        "command": {"judging", "evidence", "algebra", "attack"},
        "page": {"judging", "evidence", "command"},
        "": {"judging", "evidence", "command", "page"},
    },
}

#: Imports that a table forbids and that stand, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("specs.printing.catalogue", "specs"): "what is printed is every claim",
    ("specs.printing.markdown", "specs"): "what is printed is every claim",
    (
        "reference.regression",
        "reference.models.counted_products",
    ): "where asked, the definition counts its own products (P4.cost)",
}

#: The same for Coq: a folder may require itself, the generated bounds and what stands here.
COQ = {
    "": set(),
    "Foundations": {""},
    "Softmax": {"", "Foundations"},
    "Rounding": {"", "Foundations", "Softmax"},
    "Kernels": {"", "Foundations", "Softmax", "Rounding"},
    "Dynamic": {"", "Foundations", "Softmax", "Rounding"},
    "Polynomial": {"", "Foundations", "Softmax", "Rounding"},
    "Sparsification": {"", "Foundations", "Softmax", "Rounding"},
    "Regression": {"", "Foundations", "Softmax", "Rounding"},
    "Streaming": {"", "Foundations", "Softmax", "Rounding"},
    "RealHeads": {"", "Foundations", "Softmax", "Rounding"},
    "Caches": {"", "Foundations", "Softmax", "Rounding"},
    "Decoding": {"", "Foundations", "Softmax", "Rounding", "RealHeads"},
}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for room in MAY_IMPORT
    for path in sorted((ROOT / room).rglob("*.py"))
}


def _imports(source: Path) -> set[str]:
    """Return the modules that a source imports, with all dots."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source} has a relative import"
            module = node.module or ""
            found |= {
                name if (name := f"{module}.{alias.name}") in MODULES else module
                for alias in node.names
            }
    return found


def _folder(module: str) -> str | None:
    """Return the folder of its room that a module stands in; None for the room's face."""
    path = MODULES[module].relative_to(ROOT)
    if path.name == "__init__.py" and len(path.parts) == 2:
        return None
    return path.parts[1] if len(path.parts) > 2 else ""


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    sources = sorted((ROOT / room).rglob("*.py"))
    assert sources, f"{room} has no source"
    for source in sources:
        name = source.relative_to(ROOT).as_posix()
        allowed = {room} | MAY_IMPORT[room] | EXTRAS.get(name, set()) | set(sys.stdlib_module_names)
        foreign = {module.partition(".")[0] for module in _imports(source)} - allowed
        assert not foreign, f"{name} imports {', '.join(sorted(foreign))}"


def test_every_package_stands_in_the_table() -> None:
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == set(MAY_IMPORT) == set(INSIDE)


@pytest.mark.parametrize("room", INSIDE)
def test_a_folder_imports_only_what_the_table_allows(room: str) -> None:
    table = INSIDE[room]
    folders = {_folder(module) for module in MODULES if module.partition(".")[0] == room} - {None}
    assert folders == set(table), f"{room} has folders that the table does not name, or lacks some"
    for module, path in MODULES.items():
        folder = _folder(module)
        if module.partition(".")[0] != room or folder is None:
            continue
        for imported in _imports(path) & MODULES.keys():
            if imported.partition(".")[0] != room or (module, imported) in EXCEPTIONS:
                continue
            target = _folder(imported)
            assert target == folder or target in table[folder], (
                f"{module} imports {imported}: {folder or room} may not import "
                f"{'the face of its room' if target is None else target or 'what stands beside it'}"
            )


def test_every_exception_is_needed() -> None:
    for module, imported in EXCEPTIONS:
        assert imported in _imports(MODULES[module]), f"{module} no longer imports {imported}"


def test_no_circle_of_modules() -> None:
    graph = {m: (_imports(path) & MODULES.keys()) - {m} for m, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"a circle: {' -> '.join((*trail, module))}"
        if module not in done:
            for imported in sorted(graph[module]):
                visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_faces_hold_imports_only() -> None:
    for path in MODULES.values():
        if path.name == "__init__.py":
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                allowed = isinstance(
                    node, (ast.Import, ast.ImportFrom, ast.Expr, ast.Assign, ast.AnnAssign)
                ) or (  # what a type checker reads of names that are loaded when they are used
                    isinstance(node, ast.If)
                    and ast.unparse(node.test) == "TYPE_CHECKING"
                    and all(isinstance(inner, ast.ImportFrom) for inner in node.body)
                    and not node.orelse
                )
                assert allowed, f"{path.relative_to(ROOT)} holds a body in line {node.lineno}"


def test_coq_folders_require_only_what_the_table_allows() -> None:
    sources = ROOT / "proofs" / "coq"
    folder_of = {
        path.stem: (path.parent.name if path.parent != sources else "")
        for path in sources.rglob("*.v")
    }
    assert set(folder_of.values()) == set(COQ)
    for path in sources.rglob("*.v"):
        folder = folder_of[path.stem]
        for command in re.findall(
            r"\bRequire\b([^.]*(?:\.\w[^.]*)*)\.(?=\s)", path.read_text("utf-8")
        ):
            for name in re.findall(r"[\w.]+", command):
                target = folder_of.get(name.rpartition(".")[2])
                if (path.stem, name) == ("BoundsCheck", "ExpKernel"):
                    continue  # it pins the kernel's values beside the bounds'
                assert target is None or target == folder or target in COQ[folder], (
                    f"{path.name} of {folder} requires {name} of {target}"
                )


def test_records_of_the_fast_path_are_made_by_keyword_only() -> None:
    for path in (ROOT / "fastpath").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for decorator in getattr(node, "decorator_list", ()):
                text = ast.unparse(decorator)
                if text.startswith("dataclass(") and "frozen=True" in text:
                    assert "kw_only=True" in text, f"{path.relative_to(ROOT)}: {node.name}"  # type: ignore[attr-defined]
