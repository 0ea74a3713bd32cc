"""The implementation under test: loaded by name, asked with copies, and never trusted to be silent."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from proofs.judging.heads import InputError

__all__ = ["Unanswered", "ask", "implementation", "kernel", "rounding_model"]

Answered = TypeVar("Answered")


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """There is no answer to judge; ``failure`` is the sentence that says why."""

    failure: str


def implementation(name: str, *functions: str) -> ModuleType:
    """Load the implementation under test, a module with at least one of ``functions``, by name or file.

    Raises
    ------
    InputError
        If there is no such module, it fails to load, or it has no function of these names.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            module = _load(name)
    except Exception as error:
        raise InputError(
            f"--impl must name an importable module, got {name!r}: {type(error).__name__}: {error}."
        ) from None
    if not any(callable(getattr(module, function, None)) for function in functions):
        raise InputError(
            f"--impl must name a module with a function {' or '.join(functions)}, got {name!r}."
        )
    return module


def ask(
    function: str, call: Callable[[], Answered], when: Callable[[], str] = lambda: ""
) -> Answered | Unanswered:
    """Return what ``call`` gets from an implementation, or what it raised, and ``when``, in a sentence.

    Whatever is read of an answer is read inside the call: what that raises is the implementation's fault.
    Its warnings do not reach the reader.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return call()
    except Exception as error:
        return Unanswered(
            failure=f"{function} raised {type(error).__name__}{when()}: {error}",
        )


def kernel(name: str, option: str = "--kernel") -> Callable[..., Any]:
    """Load a bare function, ``module:function`` or ``path/to/file.py:function``.

    Raises
    ------
    InputError
        If the name has another form, there is no such module, or it has no such function.
    """
    found = _attribute(option, name)
    if not callable(found):
        module, _, function = name.rpartition(":")
        raise InputError(f"{option} must name a function of {module}, got {function!r}.")
    result: Callable[..., Any] = found
    return result


def rounding_model(name: str) -> Any:
    """Return a rounding model: a preset, ``NAME`` or ``NAME:FORMAT``, or one's own, ``module:name``.

    Raises
    ------
    InputError
        If there is none of that name, or what is there is no model.
    """
    kernels = importlib.import_module("fastpath.kernels")
    preset, _, out = name.partition(":")
    try:
        if preset in kernels.PRESETS:
            return kernels.PRESETS[preset](out) if out else kernels.PRESETS[preset]()
        if not out:
            raise InputError(
                f"--model must be one of {', '.join(kernels.PRESETS)}, alone or with :FORMAT, or "
                f"MODULE:NAME of a RoundingModel, got {name!r}."
            )
        found = _attribute("--model", name)
        model = found() if callable(found) else found
    except InputError:
        raise
    except Exception as error:  # whatever one's own model raises
        raise InputError(f"--model must be a RoundingModel, got {name!r}: {error}") from None
    if not isinstance(model, kernels.RoundingModel):
        raise InputError(f"--model must name a RoundingModel, got {name!r}, which is {model!r}.")
    return model


def _attribute(option: str, name: str) -> Any:
    """Return what stands in a module under a name, None if nothing does."""
    module, _, attribute = name.rpartition(":")
    if not module or not attribute or "/" in attribute:
        raise InputError(
            f"{option} must be MODULE:FUNCTION or path/to/file.py:FUNCTION, got {name!r}."
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            return getattr(_load(module), attribute, None)
    except Exception as error:
        raise InputError(
            f"{option} must name an importable module, got {module!r}: {type(error).__name__}: {error}."
        ) from None


def _load(name: str) -> ModuleType:
    """Import a module by its name or, where the name ends in .py, from that file.

    The command does not look for modules in the current folder.  What stands beside the file can be
    imported by it, after everything that is installed.
    """
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {name}")
    # A name of its own: a file may be called as something that is installed, such as torch.py.
    key = f"_attest_{path.stem}_{abs(hash(str(path)))}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module
