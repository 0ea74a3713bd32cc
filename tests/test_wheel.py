"""The distribution carries what the command needs, and fastpath imports as light as it claims."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_command_works_from_an_installed_wheel(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = tmp_path / "source"  # a build leaves its own folders behind
    left_out = shutil.ignore_patterns(".*", "build", "*.egg-info", "tests")
    shutil.copytree(ROOT, source, ignore=left_out)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("attest_attention-*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    for command in (
        ["show", "S.tv"],
        ["audit", "S.tv", "--html", "audit.html"],
        ["check", "--json"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "proofs", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert "softmax_tv" in (tmp_path / "audit.html").read_text(encoding="utf-8")
    where = subprocess.run(
        [sys.executable, "-c", "import proofs; print(proofs.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)


@pytest.mark.slow
def test_a_source_distribution_has_the_files_that_its_tests_need_and_no_link_that_leads_nowhere(
    tmp_path: Path,
) -> None:
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    left_out = shutil.ignore_patterns(
        *(".git", ".venv", ".*_cache", ".hypothesis", ".benchmarks", "__pycache__", "*.egg-info"),
        *("build", "dist", "*.vo", "*.vok", "*.vos", "*.glob", ".*.aux"),
    )
    shutil.copytree(ROOT, source, ignore=left_out)
    folders = ("docs", "examples", "fastpath", "proofs", "reference", "specs", "tests")
    wanted = {
        path.relative_to(source).as_posix()
        for folder in folders
        for path in (source / folder).rglob("*")
        if path.is_file()
    } | {path.name for path in [*source.glob("*.md"), source / "Makefile"]}
    build = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    subprocess.run(
        [sys.executable, "-c", build], cwd=source, check=True, capture_output=True, text=True
    )
    (archive,) = (source / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        held = {name.partition("/")[2] for name in packed.getnames()}
        top = packed.getnames()[0].partition("/")[0]
        described = packed.extractfile(f"{top}/PKG-INFO")
        assert described is not None
        told = described.read().decode("utf-8")
    assert wanted <= held
    assert {"tests/conftest.py", "proofs/data/qkv.npz", "docs/tutorial.md"} <= held
    assert "How wrong is *my* attention?" in told
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", told) == []


def test_importing_fastpath_brings_neither_our_other_rooms_nor_sympy() -> None:
    script = (
        "import sys; from fastpath import *; "
        "print([m for m in ('reference', 'specs', 'proofs', 'sympy', 'mpmath') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
