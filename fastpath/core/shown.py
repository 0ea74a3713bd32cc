"""What a result shows of itself: types and shapes of its arrays and how large a bound gets, no entries."""

from dataclasses import fields
from decimal import ROUND_CEILING, Context
from typing import Any

import numpy as np

#: Rounds upward: what is shown of a bound is a bound.
SHORTENED = Context(prec=3, rounding=ROUND_CEILING)


def shown(result: Any) -> str:
    """Return a dataclass in a line or two; what is None, or kept out of its repr, is left out."""
    told = ((f.name, getattr(result, f.name)) for f in fields(result) if f.repr)
    parts = ", ".join(f"{name}={_value(name, x)}" for name, x in told if x is not None)
    return f"{type(result).__name__}({parts})"


def _value(name: str, value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, np.ndarray):
        return repr(value)
    kind = f"{value.dtype} {value.shape}"
    if value.size and name.endswith(("bound", "error")):
        most = float(SHORTENED.create_decimal(float(value.max())))
        return f"<{kind}, at most {most:.3g}>"
    return f"<{kind}>"
