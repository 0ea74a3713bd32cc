"""The README's commands run as a user types them, in a folder that has a ``specs`` and more of its own."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")

#: What stands in the README for something of the user's own, and what that is here.
OWN = {"FILE": "mine.npz", "MODULE": "folder/mine.py"}

#: An attention that refuses most cases, so that the others are judged in little time.
SMALL = """
import fastpath
from beside import LARGEST

def attention(Q, K, V, **options):
    if Q.ndim > 2 or Q.size > LARGEST:
        raise ValueError("Q is too large.")
    return fastpath.attention(Q, K, V, **options)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of somebody's own, whose packages are called as ours are and cannot be imported."""
    for name in ("specs", "reference", "proofs", "fastpath", "tests"):
        for place in (tmp_path / name, tmp_path / "folder" / name):
            place.mkdir(parents=True)
            (place / "__init__.py").write_text("raise SystemExit('not ours')\n")
    (tmp_path / "folder" / "mine.py").write_text(SMALL)
    (tmp_path / "folder" / "beside.py").write_text("LARGEST = 8\n")
    rng = np.random.default_rng(0)
    arrays = {f"head/{role}": rng.standard_normal((6, 4)) for role in "QKV"}
    np.savez(tmp_path / "mine.npz", **arrays)  # type: ignore[arg-type]
    return tmp_path


def attest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command that is installed or, where none is, what it runs."""
    script = Path(sysconfig.get_path("scripts")) / "attest"
    command = [str(script)] if script.exists() else [sys.executable, "-P", "-m", "proofs"]
    # Only a checkout that is not installed needs PYTHONPATH.
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_readmes_commands_run_in_a_folder_with_packages_called_as_ours(folder: Path) -> None:
    named = dict.fromkeys(re.findall(r"`attest ([^`]+)`", README))
    commands = [c for c in named if c not in ("audit", "conform")]  # other tests run these in full
    assert {"check FILE", "conform --impl MODULE"} <= set(commands)
    for command in commands:
        found = attest(folder, *(OWN.get(word, word) for word in command.split()))
        assert found.returncode in (0, 1), (command, found.stderr)
        assert found.stderr == "", (command, found.stderr)
        last = {"check": "PASS: of", "conform": "cases conform"}[command.split()[0]]
        assert last in found.stdout, (command, found.stdout)
        if "MODULE" in command:
            conforming = re.search(r"mine.py: (\d+) of \d+ cases conform", found.stdout)
            assert conforming is not None
            assert int(conforming[1]) > 0


@pytest.mark.slow
def test_what_is_called_as_ours_is_not_imported_for_it(folder: Path) -> None:
    found = attest(folder, "show", "S.tv")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("S.tv  (ours)")
