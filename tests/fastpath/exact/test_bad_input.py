"""Input that makes no sense is refused by the same sentence at every door, and nothing changes."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastpath

DOORS: dict[str, Callable[..., Any]] = {
    "attention": lambda Q, K, V, output, rng, **options: fastpath.attention(Q, K, V, **options),
    "attention_gradient": lambda Q, K, V, output, rng, **options: fastpath.attention_gradient(
        Q, K, V, output, **options
    ),
    "certify": lambda Q, K, V, output, rng, **options: fastpath.certify(
        Q, K, V, output, rng=rng, **options
    ),
    "certified_attention": lambda Q, K, V, output, rng, **options: fastpath.certified_attention(
        Q, K, V, tolerance=0.1, rng=rng, **options
    ),
}

SHAPES = {"Q": (4, 6, 3), "K": (2, 8, 3), "V": (2, 8, 2)}
WHOLE = (4, 6, 8)
NAN = {"K": (1, 3, 0), "V": (1, 3, 1)}


def _with(fill: Any, value: Any, *index: int) -> Any:
    array = np.full(WHOLE, fill)
    array[index] = value
    return array


#: True but for key 3 of the query heads that read the second key head.
HIDING = np.ones(WHOLE, bool)
HIDING[2:, :, 3] = False

#: What is wrong: shapes that replace ours, which of K and V holds a NaN, the options, and the sentence.
BAD: dict[str, tuple[dict[str, Any], str | None, dict[str, Any], str]] = {
    "a row that a mask hides": (
        {},
        None,
        {"mask": ~(_with(False, True, 2, 5))},
        "query 5 of head (2,) must see a key or a sink, but all 8 keys are hidden from it: pass "
        "empty_rows='zeros' for zeros.",
    ),
    "a row that a bias hides": (
        {},
        None,
        {"bias": _with(0.0, -np.inf, 3, 1)},
        "query 1 of head (3,) must see a key or a sink, but all 8 keys are hidden from it: pass "
        "empty_rows='zeros' for zeros.",
    ),
    "a mask of another shape": (
        {},
        None,
        {"mask": np.ones((5, 8), bool)},
        "mask must broadcast to (4, 6, 8), got shape (5, 8).",
    ),
    "a bias of another shape": (
        {},
        None,
        {"bias": np.zeros((6, 7))},
        "bias must broadcast to (4, 6, 8), got shape (6, 7).",
    ),
    "heads that do not divide": (
        {"Q": (3, 6, 3)},
        None,
        {},
        "Q must have a multiple of K's 2 heads, got 3.",
    ),
    "heads of values that are not those of keys": (
        {"V": (1, 8, 2)},
        None,
        {},
        "Q, K and V must have the same leading axes, and K and V the same heads, got shapes (4, 6, 3), "
        "(2, 8, 3) and (1, 8, 2).",
    ),
    "columns that differ": (
        {"K": (2, 8, 2)},
        None,
        {},
        "Q and K must have the same number of columns, got 3 and 2.",
    ),
    "a NaN key behind a mask": (
        {},
        "K",
        {"mask": HIDING},
        "K must be finite, got 1 NaN or infinite of 48 entries, the first in row 3, which is hidden from "
        "every query but read all the same.",
    ),
    "a NaN value behind a mask": (
        {},
        "V",
        {"mask": HIDING},
        "V must be finite, got 1 NaN or infinite of 32 entries, the first in row 3, which is hidden from "
        "every query but read all the same.",
    ),
    "a NaN that is seen": ({}, "K", {}, "K must be finite, got 1 NaN or infinite of 48 entries."),
    "a NaN bias behind a mask": (
        {},
        None,
        {"bias": _with(0.0, np.nan, 1, 2, 3), "mask": _with(True, False, 1, 2, 3)},
        "bias must be finite or -inf, got NaN, which is hidden by the mask but read all the same: set it "
        "to 0.",
    ),
    "a softcap of 0": ({}, None, {"softcap": 0.0}, "softcap must be positive, got 0.0."),
    "a negative softcap": ({}, None, {"softcap": -1.0}, "softcap must be positive, got -1.0."),
    "a NaN softcap": ({}, None, {"softcap": np.nan}, "softcap must be finite, got nan."),
    "a window of negative width to the left": (
        {},
        None,
        {"window": (-1, None)},
        "window's left width must be at least 0, got -1.",
    ),
    "a window of negative width to the right": (
        {},
        None,
        {"window": (None, -2)},
        "window's right width must be at least 0, got -2.",
    ),
    "a bias of +inf": (
        {},
        None,
        {"bias": _with(0.0, np.inf, 0, 2, 3)},
        "bias must not hold +inf: it would leave nothing to the other keys.",
    ),
    "sinks of NaN": (
        {},
        None,
        {"sinks": np.array([0.0, np.nan, 0.0, 0.0])},
        "sinks must be finite, got nan.",
    ),
    "sinks of infinity": ({}, None, {"sinks": np.inf}, "sinks must be finite, got inf."),
    "sinks that are not one a head": (
        {},
        None,
        {"sinks": np.zeros(2)},
        "sinks must have shape (4,), one a head, got (2,).",
    ),
    "no worker": ({}, None, {"workers": 0}, "workers must be at least 1, got 0."),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_by_one_sentence_at_every_door(what: str, door: str) -> None:
    shapes, missing, options, sentence = BAD[what]
    rng = np.random.default_rng(0)
    given = {name: rng.standard_normal(shapes.get(name, shape)) for name, shape in SHAPES.items()}
    if missing is not None:
        given[missing][NAN[missing]] = np.nan
    given["output"] = np.zeros((*given["Q"].shape[:-1], given["V"].shape[-1]))
    arrays = {**given, **{k: x for k, x in options.items() if isinstance(x, np.ndarray)}}
    before = {name: x.tobytes() for name, x in arrays.items()}
    state = rng.bit_generator.state
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        DOORS[door](*given.values(), rng=rng, **options)
    assert {name: x.tobytes() for name, x in arrays.items()} == before
    assert rng.bit_generator.state == state
