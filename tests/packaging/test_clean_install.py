"""A wheel and a source distribution work where there is no source tree, and the lower bounds are true."""

import re
import shutil
import subprocess
import tomllib
import venv
from pathlib import Path

import pytest

from tests.packaging import licences

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).with_name("smoke.py")

#: Tests that meet every dependency, and take a minute.
QUICK = (
    "tests/reference/test_enclosure.py",
    "tests/fastpath/core/test_inputs.py",
    "tests/fastpath/exact/test_merge.py",
    "tests/fastpath/integrations/test_dask.py",
    "tests/fastpath/streaming/test_distributed.py",
    "tests/fastpath/sparsification/test_sparsify.py",
    "tests/packaging/test_face.py",
)


def _environment(folder: Path) -> Path:
    """Return the interpreter of a new environment."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def _installed(python: Path, *what: str | Path) -> None:
    """Install, or skip where no index can be reached."""
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    done = subprocess.run([*pip, *what], capture_output=True, text=True, check=False)
    if re.search("No matching distribution|Failed to establish|Could not fetch", done.stderr):
        pytest.skip(f"needs a package index: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    # A build leaves its own folders behind.
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    python = _environment(folder / "builder")
    _installed(python, "build")
    done = subprocess.run(
        [python, "-m", "build", "--outdir", folder / "dist", folder / "source"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    shutil.rmtree(folder / "source")
    return folder / "dist"


@pytest.mark.nightly
@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_what_is_distributed_works_without_the_source_tree(
    pattern: str, built: Path, tmp_path: Path
) -> None:
    (distribution,) = built.glob(pattern)
    python = _environment(tmp_path / "clean")
    _installed(python, f"{distribution}[report]")
    script = shutil.copy(SMOKE, tmp_path)
    done = subprocess.run(
        [python, "-I", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("installed and working\n")


@pytest.mark.nightly
def test_the_lower_bounds_of_dependencies_suffice(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["report"], *extras["tests"], *extras["dask"]]
    python = _environment(tmp_path / "oldest")
    _installed(python, *(line.replace(">=", "==") for line in lines if ">=" in line))
    done = subprocess.run(
        [python, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *QUICK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]


def test_every_dependency_has_its_licence_on_the_page() -> None:
    rows = dict(
        re.findall(r"^\| (\S+) \| (.+?) \|", licences.PAGE.read_text(encoding="utf-8"), re.M)
    )
    for extra, names in licences.required().items():
        assert set(names) <= set(rows), f"{extra}: run python -m tests.packaging.licences"
    assert "not said" not in rows.values()
    # What is installed says what the page says; elsewhere than with all extras there is less to compare.
    for name in ("numpy", "hypothesis", "pytest"):
        assert rows[name] == licences.licence(name)


def test_a_dependency_of_an_extra_of_a_dependency_is_listed() -> None:
    if not licences._installed("distributed"):
        pytest.skip("needs the extra dask")
    assert "distributed" in licences.required()["dask"]
