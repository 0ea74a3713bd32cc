"""Bounds as the printer writes them, those too that nothing calls."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import sympy

from fastpath.core import directed
from specs.printing.catalogue import bounds
from specs.printing.python import function_source

BOUNDS = {bound.name: bound for _, bound in bounds()}


def compiled(arguments: Sequence[sympy.Symbol], expression: sympy.Expr) -> Callable[..., Any]:
    """Return an expression as a function that rounds upward, or refuse as the printer does."""
    names: dict[str, Any] = {"Any": Any, "math": math, "np": np, **vars(directed)}
    exec(function_source("printed", arguments, expression, "A bound."), names)
    function: Callable[..., Any] = names["printed"]
    return function


@cache
def printed(name: str) -> Callable[..., Any]:
    """Return the bound of that name."""
    return compiled(BOUNDS[name].arguments, BOUNDS[name].expression)
