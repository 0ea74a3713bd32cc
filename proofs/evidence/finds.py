"""Instances that a search found and nobody had thought of, kept as exact data and audited ever after.

Each entry of ``finds.json`` names a claim, a bound, what the instance catches, and the instance by its
fields: floats in hexadecimal, fractions as quotients.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from specs.claim import Claim


def finds(claim: Claim[Any]) -> list[tuple[str, str, Any]]:
    """Return what each kept instance of a claim catches, the bound's name, and the instance."""
    text = files("proofs").joinpath("data/finds.json").read_text(encoding="utf-8")
    return [
        (entry["catches"], entry["bound"], decoded(entry["instance"], claim.witness()))
        for entry in json.loads(text)
        if entry["claim"] == claim.id
    ]


@cache
def unconfirmed() -> dict[str, str]:
    """Return the bounds said to be sharp that no search from samples alone confirms, and why."""
    text = files("proofs").joinpath("data/unconfirmed.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text))


def encoded(value: Any) -> Any:
    """Return what JSON holds of an instance or a part of one, exactly.

    Raises
    ------
    TypeError
        If a part is no number, text, array, tuple or record of such, or None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        held = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return {name: encoded(part) for name, part in held.items()}
    if isinstance(value, np.ndarray):
        numbers = [encoded(number) for number in value.ravel().tolist()]
        return {"array": value.dtype.name, "shape": [*value.shape], "numbers": numbers}
    if isinstance(value, np.generic):
        return {"scalar": value.dtype.name, "number": encoded(value.item())}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, Fraction):
        return {"fraction": str(value)}
    if type(value) is tuple:
        return {"tuple": [encoded(part) for part in value]}
    raise TypeError(f"an instance cannot be kept that holds {type(value).__name__}.")


def decoded(kept: Any, like: Any) -> Any:
    """Return what was encoded; records are of the types of those at the same places of ``like``."""
    if not isinstance(kept, dict):
        return kept
    if "array" in kept:
        numbers = [decoded(number, None) for number in kept["numbers"]]
        return np.array(numbers, kept["array"]).reshape(kept["shape"])
    if "scalar" in kept:
        return np.dtype(kept["scalar"]).type(decoded(kept["number"], None))
    if "float" in kept:
        return float.fromhex(kept["float"])
    if "fraction" in kept:
        return Fraction(kept["fraction"])
    if "tuple" in kept:
        first = like[0] if isinstance(like, tuple) and like else None
        return tuple(decoded(part, first) for part in kept["tuple"])
    return type(like)(**{name: decoded(part, getattr(like, name)) for name, part in kept.items()})
