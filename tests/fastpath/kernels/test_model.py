"""Rounding models: what they refuse, what they are called, and the formats that they name."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastpath.kernels import FORMATS, PRESETS, RoundingModel

REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"out": "bf16"}, ValueError, "out must be one of float64, .* got 'bf16'"),
    ({"out": None}, TypeError, "out must be the name of a format, got None"),
    ({"out": "float32", "weights": 8}, TypeError, "weights must be the name of a format, got 8"),
    (
        {"out": "float32", "denominator": "low"},
        ValueError,
        "denominator must be one of unrounded, rounded, normalised, got 'low'",
    ),
    (
        {"out": "float32", "denominator": "rounded"},
        ValueError,
        "denominator must be .* where weights is None",
    ),
    (
        {"out": "float16", "weights": "float64"},
        ValueError,
        "weights must be no finer than accumulate, float32",
    ),
    (
        {"out": "float16", "accumulate": "float16", "logits": "float32"},
        ValueError,
        "logits must be no finer than accumulate, float16",
    ),
    (
        {"out": "float16", "weights": "float16", "denominator": "normalised", "splits": 2},
        ValueError,
        "denominator must be .* where the keys are split",
    ),
    ({"out": "float16", "partials": "float16"}, ValueError, "partials must be None where"),
    ({"out": "float16", "splits": 0}, ValueError, "splits must be at least 1, got 0"),
    ({"out": "float16", "splits": 2.0}, TypeError, "splits must be an integer, got 2.0"),
    ({"out": "float16", "block": 0}, ValueError, "block must be at least 1, got 0"),
    ({"out": "float16", "exp_error": -1}, ValueError, "exp_error must lie in"),
    ({"out": "float16", "exp_error": np.nan}, ValueError, "exp_error must lie in"),
    ({"out": "float16", "exp_error": "6"}, TypeError, "exp_error must be a number"),
    ({"out": "float16", "gradient_sums": "float16"}, ValueError, "must be given together"),
    ({"out": "float16", "query_block": 32}, ValueError, "must be given together"),
]


@pytest.mark.parametrize(("fields", "kind", "message"), REFUSED)
def test_a_model_that_is_no_arithmetic_is_refused_in_a_sentence(
    fields: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        RoundingModel(**fields)


def test_a_model_takes_its_fields_by_name_only_and_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RoundingModel("float32")  # type: ignore[misc]
    with pytest.raises(AttributeError):
        RoundingModel(out="float32").out = "float16"  # type: ignore[misc]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("out", ["float32", "bfloat16", "float16"])
def test_a_named_model_is_the_call_that_it_prints(name: str, out: str) -> None:
    model = PRESETS[name](out)
    assert eval(str(model), {"RoundingModel": RoundingModel}) == model


def test_a_term_passes_through_a_rounding_a_key_or_through_those_of_blocks() -> None:
    assert RoundingModel(out="float32").roundings(4096) == 4096
    assert RoundingModel(out="float32", block=64).roundings(4096) == 64 + 2 * 63
    assert RoundingModel(out="float32", block=64).roundings(5) == 5


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("float32", np.float32),
        ("float16", np.float16),
        ("bfloat16", ml_dtypes.bfloat16),
        ("float8_e4m3fn", ml_dtypes.float8_e4m3fn),
        ("float8_e5m2", ml_dtypes.float8_e5m2),
    ],
)
def test_a_format_rounds_as_its_type_does(name: str, dtype: Any) -> None:
    fmt, information = FORMATS[name], ml_dtypes.finfo(dtype)
    assert fmt.largest == float(information.max)
    assert fmt.tiny == float(information.smallest_normal)
    assert fmt.unit_roundoff == float(information.eps) / 2
    rng = np.random.default_rng(1)
    x = rng.standard_normal(20000) * 2.0 ** rng.integers(-30, 8, 20000)
    x = np.clip(x, -0.9 * fmt.largest, 0.9 * fmt.largest).astype(np.float32).astype(np.float64)
    with np.errstate(under="ignore"):
        np.testing.assert_array_equal(fmt.nearest(x), x.astype(dtype).astype(np.float64))
    assert (np.abs(x - fmt.nearest(x)) <= fmt.half_gap(x)).all()
    beyond = fmt.nearest(np.array([fmt.largest, -1.1 * fmt.largest, np.inf, np.nan]))
    np.testing.assert_array_equal(beyond, [fmt.largest, -np.inf, np.inf, np.nan])
