"""The licence of everything that an installation brings: ``python -m tests.packaging.licences``.

Rewrites docs/licences.md from the metadata of what is installed here, which must be all extras: what
pyproject.toml names, and what that needs in turn.
"""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "licences.md"

HEAD = """# Licences of what is needed

Attest is under the [BSD 3-Clause Licence](../LICENSE). What an installation brings besides is not part of
it and is under licences of its own, which `python -m tests.packaging.licences` reads from the packages'
metadata:

| package | licence | needed by |
|---|---|---|
"""

#: Names of classifiers, where a package has no expression.
SHORT = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


#: What stands in the licence file of packages whose metadata do not say it.
SAID = {"atheris": "Apache-2.0"}


def required() -> dict[str, list[str]]:
    """Return the packages that pyproject.toml names, by what needs them: all, or an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    several = {"all": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, list[str]] = {}
    for extra, lines in several.items():
        found[extra] = []
        for line in lines:
            if (name := _name(line)) != project["name"]:
                found[extra].append(name)
                if parts := re.match(r"[\w.-]+\[(.*?)\]", line):
                    # dask[distributed] brings distributed.
                    found[extra] += [part for part in parts[1].split(",") if _installed(part)]
    return found


def closure() -> dict[str, set[str]]:
    """Return every package, and what needs it: all, an extra, or ``via`` another package."""
    found: dict[str, set[str]] = {}
    for extra, names in required().items():
        for name in names:
            found.setdefault(name, set()).add(extra)
    left = list(found)
    while left:
        package = left.pop()
        for line in distribution(package).requires or ():
            # Optional parts are not installed by being mentioned.
            if "extra ==" not in line and _installed(name := _name(line)) and name not in found:
                left.append(name)
                found[name] = {f"via {package}"}
    return found


def licence(package: str) -> str:
    """Return what a package's metadata says, as short as it says it."""
    metadata = distribution(package).metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    kinds = [
        value.rpartition(" :: ")[2]
        for value in metadata.get_all("Classifier") or ()
        if value.startswith("License :: ") and not value.endswith("OSI Approved")
    ]
    if kinds:
        return " AND ".join(SHORT.get(kind, kind) for kind in kinds)
    said = metadata.get("License") or SAID.get(package) or "not said"
    return str(said).splitlines()[0]


def page() -> str:
    """Return the whole of docs/licences.md."""
    rows = (
        f"| {package} | {licence(package)} | {', '.join(sorted(needed))} |\n"
        for package, needed in sorted(closure().items())
    )
    return HEAD + "".join(rows)


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    if missing := [n for names in required().values() for n in names if not _installed(n)]:
        sys.exit(f"Install {', '.join(missing)} first.")
    PAGE.write_text(page(), encoding="utf-8")
