"""Claims from outside the project: a module with ``CLAIMS``, named, by its path, or installed.

An installed package offers its module as an entry point of the group ``attest.claims``; its name is free, its
value the module.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import sympy

from specs import CLAIMS
from specs.claim import Claim

#: The group of entry points that offer claims.
GROUP = "attest.claims"


def claims_of(source: str) -> dict[str, Claim[Any]]:
    """Return the claims of a module outside the project, by their ids.

    Parameters
    ----------
    source
        The path of a Python file, which ends in ``.py``, or the name of an importable module.  Whatever
        stands beside a file can be imported from it.

    Raises
    ------
    ValueError
        If there is no such module, it fails to load, or its ``CLAIMS`` are not claims that can be audited.
    """
    try:
        module = _loaded(Path(source)) if source.endswith(".py") else _imported(source)
    except Exception as error:
        raise ValueError(
            f"{source!r} must be a Python file or an importable module: {type(error).__name__}: {error}."
        ) from None
    offered = getattr(module, "CLAIMS", None)
    if isinstance(offered, Mapping):
        offered = tuple(offered.values())
    if not isinstance(offered, list | tuple) or not offered:
        raise ValueError(f"{source!r} must have CLAIMS, a tuple of claims that is not empty.")
    found: dict[str, Claim[Any]] = {}
    for claim in offered:
        _examine(claim, source)
        if claim.id in found or claim.id in CLAIMS:
            raise ValueError(f"{claim.id} of {source!r} is the id of another claim.")
        found[claim.id] = claim
    return found


def installed() -> dict[str, Claim[Any]]:
    """Return the claims that installed packages offer, in the order of their entry points' names."""
    found: dict[str, Claim[Any]] = {}
    for point in sorted(entry_points(group=GROUP)):
        offered = claims_of(point.value)
        for id_ in offered.keys() & found.keys():
            raise ValueError(f"{id_} is the id of two installed claims, one in {point.value!r}.")
        found |= offered
    return found


def _imported(name: str) -> ModuleType:
    return importlib.import_module(name)


def _loaded(path: Path) -> ModuleType:
    """Load a file under a name of its own, so that it hides no module, once."""
    path = path.resolve()
    name = f"attest_claims_{path.stem}_{abs(hash(str(path))):x}"
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None or not path.is_file():
        raise FileNotFoundError(f"no such file {str(path)!r}")
    module = importlib.util.module_from_spec(specification)
    sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


def _examine(claim: object, source: str) -> None:
    """Refuse what cannot be audited, in a sentence."""
    if not isinstance(claim, Claim):
        raise ValueError(f"{source!r} has {type(claim).__name__} among its CLAIMS, not a Claim.")
    if not claim.bounds:
        raise ValueError(f"{claim.id} of {source!r} has no bound.")
    for bound in claim.bounds:
        free = (
            sympy.sympify(bound.expression, strict=True).free_symbols | bound.provided.free_symbols
        )
        strange = sorted(str(symbol) for symbol in free - set(bound.arguments))
        if strange:
            raise ValueError(
                f"{bound.name} of {claim.id} has the free symbol {strange[0]}, which is no argument of it."
            )
