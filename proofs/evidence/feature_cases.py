"""Cases for attention as it is run: every option alone, and every pair of options together.

Alone, an option's case names the mistake that is usually made with it.  Together, the cases are a covering
array: any two values of any two options occur in one of them, drawn greedily from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.evidence.cases import Case

__all__ = ["OPTIONS", "alone", "together"]

Array = NDArray[Any]

#: The values of each option that the covering array combines.
OPTIONS: dict[str, tuple[str, ...]] = {
    "heads": ("one", "two", "grouped"),
    "shape": ("square", "more keys", "more queries"),
    "scale": ("1", "1/sqrt(d)"),
    "causal": ("no", "upper-left", "lower-right"),
    "window": ("no", "left", "both sides"),
    "mask": ("no", "scattered", "first block", "one row for all"),
    "bias": ("no", "by distance", "hides"),
    "softcap": ("no", "5"),
    "sinks": ("no", "yes"),
}

#: Keys in the block that a mask hides whole.
HIDDEN = 33

_SIZES = {"square": (41, 41), "more keys": (19, 41), "more queries": (41, 19)}
_HEADS = {"one": (), "two": (2,), "grouped": (4,)}


def alone(dtype: np.dtype[Any]) -> Iterator[Case]:
    """Yield a case for every option by itself, each with its usual mistake."""
    rng = np.random.default_rng(14)

    def case(
        name: str, catches: str, shape: str = "square", heads: str = "one", **given: Any
    ) -> Case:
        Q, K, V = _arrays(rng, shape, heads, dtype)
        causal = given.pop("causal", False)
        given.setdefault("scale", 1.0)  # an option by name, so that who takes none is not asked
        return Case(f"{name} in {dtype.name}", catches, Q, K, V, causal, given)

    n_k = _SIZES["square"][1]
    yield case("two heads", "heads that are mixed up", heads="two")
    yield case(
        "grouped heads", "query head h reading key head h modulo the number", heads="grouped"
    )
    yield case("a scale", "a scale that is left out, or applied twice", scale=0.25)
    yield case("a scale that no float holds", "a scale rounded where it should not be", scale=1 / 3)
    yield case(
        "causal from the first key",
        "the last query aligned with the last key",
        "more keys",
        causal="upper-left",
    )
    yield case(
        "causal to the last key",
        "the first query aligned with the first key",
        "more keys",
        causal="lower-right",
    )
    yield case("a window to the left", "a window off by one", window=(3, 0))
    yield case("a window to both sides", "a window of one side", window=(2, 5))
    yield case("a window to one side", "no bound read as a bound of 0", window=(None, 2))
    yield case(
        "a causal window over more keys",
        "a window around the other diagonal",
        "more keys",
        causal="lower-right",
        window=(4, None),
    )
    yield case("a mask", "a mask read the other way round", mask=_mask("scattered", rng, n_k, n_k))
    yield case(
        "a mask that hides the first keys",
        "a maximum of nothing: NaN, or a shift of minus infinity",
        mask=_mask("first block", rng, n_k, n_k),
    )
    yield case(
        "a bias", "a bias added after the weights", bias=_bias("by distance", rng, n_k, n_k, dtype)
    )
    yield case(
        "a bias that hides keys",
        "minus infinity minus itself",
        bias=_bias("hides", rng, n_k, n_k, dtype),
    )
    yield case("a softcap", "a cap that is left out", softcap=2.0)
    yield case("a softcap and a scale", "a cap before the scale", softcap=2.0, scale=0.25)
    yield case(
        "a softcap and a bias",
        "a bias that is capped too",
        softcap=2.0,
        bias=_bias("by distance", rng, n_k, n_k, dtype),
    )
    yield case("a sink", "a sink that is left out, or has a value", sinks=np.array([1.5], dtype))
    yield case(
        "a sink above all logits",
        "a maximum that does not look at the sink",
        sinks=np.array([60.0], dtype),
    )
    yield case(
        "a sink a head",
        "one sink for all heads",
        heads="grouped",
        sinks=np.array([-2.0, 0.0, 1.0, 3.0], dtype),
    )
    yield case(
        "a row that sees nothing",
        "NaN, or the mean of all values, where there is nothing to see",
        mask=_with_empty_row(n_k),
        empty_rows="zeros",
    )
    yield case(
        "a row that sees only the sink",
        "a sum of nothing",
        mask=_with_empty_row(n_k),
        sinks=np.array([0.5], dtype),
    )


def together(dtype: np.dtype[Any]) -> Iterator[Case]:
    """Yield a covering array: any two values of any two options occur together."""
    rng = np.random.default_rng(15)
    for number, row in enumerate(_covering(rng)):
        Q, K, V = _arrays(rng, row["shape"], row["heads"], dtype)
        n_q, n_k = Q.shape[-2], K.shape[-2]
        given: dict[str, Any] = {"empty_rows": "zeros"}
        if row["scale"] != "1":
            given["scale"] = float(Q.shape[-1]) ** -0.5
        if row["window"] != "no":
            given["window"] = (9, None) if row["window"] == "left" else (11, 7)
        if row["mask"] != "no":
            given["mask"] = _mask(row["mask"], rng, n_q, n_k)
        if row["bias"] != "no":
            given["bias"] = _bias(row["bias"], rng, n_q, n_k, dtype)
        if row["softcap"] != "no":
            given["softcap"] = float(row["softcap"])
        if row["sinks"] != "no":
            given["sinks"] = rng.standard_normal(_HEADS[row["heads"]] or 1).astype(dtype)
        said = ", ".join(f"{option}: {value}" for option, value in row.items())
        causal = False if row["causal"] == "no" else row["causal"]
        yield Case(
            f"options together, {number}, in {dtype.name}",
            f"two options that get in each other's way ({said})",
            Q,
            K,
            V,
            causal,
            given,
        )


def _covering(rng: np.random.Generator) -> list[dict[str, str]]:
    """Return rows in which every pair of values of two options occurs, found greedily."""
    missing = {
        ((a, x), (b, y))
        for a, b in combinations(OPTIONS, 2)
        for x, y in product(OPTIONS[a], OPTIONS[b])
    }
    rows = []
    while missing:
        drawn = [
            {option: str(rng.choice(values)) for option, values in OPTIONS.items()}
            for _ in range(64)
        ]
        row = max(drawn, key=lambda r: len(missing & _pairs(r)))
        if missing & _pairs(row):
            missing -= _pairs(row)
            rows.append(row)
    return rows


def _pairs(row: dict[str, str]) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    return set(combinations(row.items(), 2))


def _arrays(
    rng: np.random.Generator, shape: str, heads: str, dtype: np.dtype[Any]
) -> tuple[Array, Array, Array]:
    n_q, n_k = _SIZES[shape]
    query_heads = _HEADS[heads]
    key_heads = (2,) if heads == "grouped" else query_heads
    sizes = ((*query_heads, n_q, 4), (*key_heads, n_k, 4), (*key_heads, n_k, 3))
    Q, K, V = (rng.standard_normal(size).astype(dtype) for size in sizes)
    return 2 * Q, K, V


def _mask(kind: str, rng: np.random.Generator, n_q: int, n_k: int) -> NDArray[np.bool_]:
    if kind == "one row for all":
        seen = rng.random((1, n_k)) < 0.6
        seen[:, -1] = True
        return seen
    if kind == "first block":
        seen = np.ones((n_q, n_k), bool)
        seen[:, : min(HIDDEN, n_k - 1)] = False
        return seen
    return np.asarray(rng.random((n_q, n_k)) < 0.6)


def _bias(kind: str, rng: np.random.Generator, n_q: int, n_k: int, dtype: np.dtype[Any]) -> Array:
    bias = -0.25 * np.abs(np.arange(n_k) - np.arange(n_q)[:, None])
    if kind == "hides":
        bias = np.where(rng.random(bias.shape) < 0.3, -np.inf, bias)
        bias[:, 0] = 0
    typed: Array = bias.astype(dtype)
    return typed


def _with_empty_row(n: int) -> NDArray[np.bool_]:
    seen = np.tri(n, dtype=bool)
    seen[5] = False
    return seen
