"""The implementation under test: loaded by name, asked with copies, and never trusted to be silent."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from proofs.judging.heads import InputError

__all__ = ["Unanswered", "ask", "implementation", "kernel"]

Answered = TypeVar("Answered")


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """There is no answer to judge; ``failure`` is the sentence that says why."""

    failure: str


def implementation(name: str, *functions: str) -> ModuleType:
    """Load the implementation under test, a module with at least one of ``functions``, by name.

    Raises
    ------
    InputError
        If there is no such module, it fails to load, or it has no function of these names.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            module = importlib.import_module(name)
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


def kernel(name: str) -> Callable[..., Any]:
    """Load a bare function, ``module:function``.

    Raises
    ------
    InputError
        If the name has another form, there is no such module, or it has no such function.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise InputError(f"--kernel must be MODULE:FUNCTION, got {name!r}.")
    try:
        with warnings.catch_warnings(action="ignore"):
            found = getattr(importlib.import_module(module), function, None)
    except Exception as error:
        raise InputError(
            f"--kernel must name an importable module, got {module!r}: {type(error).__name__}: {error}."
        ) from None
    if not callable(found):
        raise InputError(f"--kernel must name a function of {module}, got {function!r}.")
    result: Callable[..., Any] = found
    return result
