"""Faults are drawn from all that a source could have, and none that no test could notice by its kind."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import reached, sampled
from tests.mutants.explained import EXPLAINED, Kind
from tests.mutants.mutations import mutations
from tests.mutants.runner import ROOT

SOURCE = '''"""A docstring with 1 < 2."""

from typing import Any

LIMIT: int = 3


def halved(x: Any, *, steps: int = 2) -> Any:
    """Return 1."""
    if x < 0 and steps:
        raise ValueError(f"x must be at least {0}, got {x}.")
    total = 0
    for i in range(x, steps):
        total += i * 2
    x = max(x, 1)
    return [not_halved(total, y) for y in (x,)]
'''


def _edits(source: str) -> set[tuple[str, str]]:
    return {(m.before, m.after) for m in mutations(source)}


def test_every_kind_of_fault_is_found_and_what_says_nothing_is_left_alone() -> None:
    assert _edits(SOURCE) == {
        ("3", "(4)"),
        ("3", "(2)"),
        ("2", "(3)"),
        ("2", "(1)"),
        ("x < 0 and steps", "(x < 0 or steps)"),
        ("x < 0 and steps", "(not (x < 0 and steps))"),
        ("x < 0", "(x <= 0)"),
        ("0", "(1)"),
        ("0", "(-1)"),
        ('raise ValueError(f"x must be at least {0}, got {x}.")', "pass"),
        ("range(x, steps)", "(range(steps, x))"),
        ("total += i * 2", "pass"),
        ("i * 2", "(i / 2)"),
        ("x = max(x, 1)", "pass"),
        ("1", "(2)"),
        ("1", "(0)"),
        ("return [not_halved(total, y) for y in (x,)]", "return None"),
        ("not_halved(total, y)", "(not_halved(y, total))"),
    }
    functions = {m.function for m in mutations(SOURCE)}
    assert functions == {"", "halved"}


def test_positions_are_counted_in_bytes() -> None:
    source = 'ε = "⌊é⌋"; x = 1 + 2\n'
    (plus,) = (m for m in mutations(source) if m.before == "1 + 2")
    assert plus.planted(source) == 'ε = "⌊é⌋"; x = (1 - 2)\n'


@pytest.mark.nightly
@pytest.mark.parametrize("room", sampled.WANTED)
def test_the_faults_of_a_room_compile(room: str) -> None:
    found = sampled.sites(room)
    assert len(found) > 1000
    for file, mutation in found[:: len(found) // 40]:
        text = (ROOT / file).read_text(encoding="utf-8")
        ast.parse(mutation.planted(text))
        assert not file.startswith("fastpath/core/bounds/")


def test_what_is_explained_could_still_be_drawn() -> None:
    """Catches: an explanation that outlives what it explains."""
    for known in EXPLAINED:
        text = (ROOT / known.file).read_text(encoding="utf-8")
        assert any(sampled.explains(known, known.file, text, m) for m in mutations(text)), known
        assert len(known.why) > 20
        assert bool(known.before) == bool(known.after)
        assert known.before or known.kind is Kind.CHOICE


def test_the_tests_of_a_function_are_those_that_enter_it_the_most_special_first() -> None:
    found = {
        "seconds": {"a::1": 0.1, "a::2": 0.05, "b::1": 0.01, "b::2": 9.0, "c::1": 0.01},
        "functions": {
            "m.py::f": ["a::1", "a::2", "b::1", "b::2"],
            "m.py::g": ["b::1", "c::1"],
        },
    }
    tests = sampled.Tests(found)  # type: ignore[arg-type]
    assert [stage for stage, _ in tests.of("m.py", "f")] == [["a::2", "a::1", "b::1"], ["b::2"]]
    # What is evaluated as the module is loaded may be seen by whatever enters any of its functions.
    (first, *_) = (stage for stage, _ in tests.of("m.py", ""))
    assert set(first) == {"a::1", "a::2", "b::1", "c::1"}
    assert list(tests.of("n.py", "f")) == []


def test_the_tests_of_a_block_are_those_that_enter_it_or_else_its_function() -> None:
    found = {
        "seconds": {"a::1": 0.1, "a::2": 0.1},
        "functions": {"m.py::f": ["a::1", "a::2"], "m.py::f:7": ["a::2"]},
    }
    tests = sampled.Tests(found)  # type: ignore[arg-type]
    assert [stage for stage, _ in tests.of("m.py", "f", 7)] == [["a::2"]]
    assert [stage for stage, _ in tests.of("m.py", "f", 9)] == [["a::1", "a::2"]]


def test_a_fault_is_in_the_block_whose_first_line_it_names() -> None:
    assert {(m.before, m.block) for m in mutations(SOURCE) if "total" in m.before} == {
        ("total += i * 2", 14),
        ("return [not_halved(total, y) for y in (x,)]", 0),
        ("not_halved(total, y)", 0),
    }


@pytest.mark.nightly
def test_functions_say_which_tests_enter_them(tmp_path: Path) -> None:
    """Run in an interpreter of its own, as the modules of this one are loaded."""
    script = (
        "import sys; from tests.mutants import reached; "
        f"sys.exit(reached.main({str(tmp_path / 'reached.json')!r}, "
        "['tests/reference/test_symbolic.py']))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
    found = reached.read(tmp_path / "reached.json")
    assert found["seconds"]
    assert any(name.startswith("reference/symbolic.py::") for name in found["functions"])
    # Blocks say their names too, and what a cache or a fixture computed is of all tests that use it.
    assert any(name.rpartition(":")[2].isdigit() for name in found["functions"])


@pytest.mark.nightly
def test_a_fault_is_killed_by_the_tests_that_enter_its_function_and_by_no_others() -> None:
    file = "fastpath/core/directed.py"
    text = (ROOT / file).read_text(encoding="utf-8")
    (fault,) = (
        m
        for m in mutations(text)
        if m.function == "total_up" and m.before == "return total" and m.after == "return None"
    )
    entering = ["tests/mutants/test_bounds.py::test_a_sum_of_many_terms_is_rounded_upward"]
    others = ["tests/mutants/test_bounds.py::test_the_fast_path_calls_bounds"]
    seconds = dict.fromkeys((*entering, *others), 0.1)
    for tests, outcome in ((entering, "killed"), (others, "survived")):
        found = {"seconds": seconds, "functions": {f"{file}::total_up": tests}}
        assert sampled.judged(file, fault, sampled.Tests(found)) == outcome  # type: ignore[arg-type]


def test_the_last_tests_are_slow_ones_of_files_that_import_the_module() -> None:
    found = sampled.slow_files("proofs.evidence.audit")
    assert "tests/proofs/test_audit.py" in found
    assert "tests/proofs/test_symbolic.py" not in found
    assert sampled.slow_files("fastpath.kernels.probable") == []
