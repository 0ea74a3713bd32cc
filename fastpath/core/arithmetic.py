"""The arithmetic that every bound assumes, whatever its caller has set: asked for at each public door.

A bound counts roundings to the nearest number and underflow that is gradual, and lets what overflows go
on as infinity, which is looked at where it matters.  What numpy does at such an event, and how long its
buffers are, belongs to the caller's context; how the processor rounds, to the thread.
"""

from collections.abc import Callable
from contextvars import Context
from functools import update_wrapper
from typing import Any, TypeVar

import numpy as np

from fastpath.core.once import once

Public = TypeVar("Public", bound=Callable[..., Any])

#: An empty context, where numpy and decimal are as they start, but that numpy goes on after any event.
#: Each call runs in a copy, which takes 0.3 microseconds; entering numpy.errstate takes 1.
_STANDARD = Context()
_STANDARD.run(np.seterr, all="ignore")
_fresh_context = _STANDARD.copy

# Names, since Python would compute what it can of constants when it compiles.
_ONE, _HALF, _U, _FOUR_U = 1.0, 0.5, 2.0**-53, 2.0**-51
_ABOVE_ONE, _SUBNORMAL = 1 + 2.0**-52, 3 * 2.0**-1074


def standard_arithmetic(public: Public) -> Public:
    """Let a function, or every public method of a class, run in the arithmetic that bounds assume.

    Results then depend neither on ``numpy.seterr`` nor on ``numpy.setbufsize``.  The number of BLAS threads
    may change the order of sums, and so bits, but no bound; threads whose processor mode differs from
    their caller's cannot be told.

    Raises
    ------
    RuntimeError
        In the call, if the processor flushes subnormal numbers to zero or does not round to nearest.
    """
    if isinstance(public, type):
        for name, member in list(vars(public).items()):
            if name == "__init__" or not name.startswith("_"):
                setattr(public, name, _guarded_member(member))
        return public
    return _guarded(public)  # type: ignore[return-value]


def unguarded(method: Public) -> Public:
    """Exempt a method from the guard of its class: one that is called so often that a guard doubles it.

    For a method that computes with Python's floats alone, which numpy's settings do not reach, and calls
    for all else what is guarded itself.  The processor's mode is then asked for where the object is made
    and changed, and where more is computed than a method that is exempt does itself.
    """
    method.unguarded = True  # type: ignore[attr-defined]
    return method


def _guarded_member(member: Any) -> Any:
    if getattr(member, "unguarded", False):
        return member
    if isinstance(member, (classmethod, staticmethod)):
        return type(member)(_guarded(member.__func__))
    if isinstance(member, property) and member.fget:
        return property(_guarded(member.fget), member.fset, member.fdel)
    if isinstance(member, once):
        member.compute = _guarded(member.compute)
        return member
    return _guarded(member) if callable(member) else member


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        # To nearest, 1 + 2u + u is a tie that rounds up and 1 + u one that rounds down; no other mode does
        # both.  Flushed, inputs or results, the product is 0.
        if _SUBNORMAL * _HALF and (_ABOVE_ONE + _U) - (_ONE + _U) == _FOUR_U:
            return _fresh_context().run(function, *args, **kwargs)
        raise RuntimeError(_foreign_mode())

    return update_wrapper(guarded, function)


def _foreign_mode() -> str:
    if not _SUBNORMAL * _HALF:
        return (
            "The processor must keep subnormal numbers, which every bound counts on, but it flushes them to "
            "zero in this thread (as torch.set_flush_denormal(True) makes it do)."
        )
    return (
        "The processor must round to nearest, which every bound counts on, but it rounds in another "
        "direction in this thread (as C's fesetround makes it do)."
    )
