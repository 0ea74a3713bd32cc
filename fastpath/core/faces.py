"""A face of a package whose names bring their modules when they are first used, not before."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Parameters
    ----------
    package : str
        The package's name.
    homes : mapping of str to tuple of str
        The modules, and the public names that each holds.  The folders that they stand in are names too.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    folders = {home.removeprefix(f"{package}.").partition(".")[0] for home in homes}

    def get(name: str) -> Any:
        if name in home_of:
            value = getattr(import_module(home_of[name]), name)
        elif name in folders:
            value = import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of, *folders})

    return get, listed
