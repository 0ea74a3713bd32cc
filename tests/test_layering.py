"""Who may import whom, in one table."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: The architecture: a room may import itself, the standard library and what stands here.
MAY_IMPORT = {
    "reference": {"numpy", "sympy", "mpmath"},
    "specs": {"numpy", "sympy", "reference"},
    "fastpath": {"numpy", "scipy"},
    "proofs": {"numpy", "sympy", "rich", "safetensors", "reference", "specs"},
}

#: What one module besides may import, which nothing else of its room imports.
EXTRAS = {"fastpath/distributed.py": {"dask"}, "proofs/long_heads.py": {"scipy"}}


def _imports(source: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source} has a relative import"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    sources = sorted((ROOT / room).rglob("*.py"))
    assert sources, f"{room} has no source"
    for source in sources:
        name = source.relative_to(ROOT).as_posix()
        allowed = {room} | MAY_IMPORT[room] | EXTRAS.get(name, set()) | set(sys.stdlib_module_names)
        foreign = _imports(source) - allowed
        assert not foreign, f"{name} imports {', '.join(sorted(foreign))}"


def test_every_package_stands_in_the_table() -> None:
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == set(MAY_IMPORT)
