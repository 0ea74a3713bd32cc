"""Certificates for other people's caches: layouts, served answers, and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastpath import Certified, Codes, QuantisedCache, attention, certify_quantised
from reference import Verdict, attention_verdict

RNG = np.random.default_rng(3)
Q, K, V = (RNG.standard_normal(s).astype(np.float32) for s in ((3, 8), (12, 8), (12, 8)))


def certified(found: Certified, K_: Any = K, V_: Any = V) -> bool:
    verdict, _ = attention_verdict(Q, K_, V_, found.output, found.error_bound, precision=192)
    return verdict is Verdict.WITHIN


def measured(x: Any, codes: Codes) -> tuple[Any, Any]:
    """Return what rounding did to each row: its norm, and its largest entry."""
    residual = np.abs(x - codes.numbers) * (1 + 2.0**-40)
    return np.linalg.norm(residual, axis=-1) * (1 + 2.0**-40), residual.max(axis=-1)


def per_tensor(x: Any) -> Codes:
    scale = np.float32(np.abs(x).max() / 127)
    return Codes.of(np.rint(x / scale).astype(np.int8), scale)


def per_token(x: Any) -> Codes:
    scale = (np.abs(x).max(axis=1, keepdims=True) / 127).astype(np.float32)
    return Codes.of(np.clip(np.rint(x / scale), -128, 127).astype(np.int8), scale)


def per_channel(x: Any) -> Codes:
    scale = np.abs(x).max(axis=0) / 127  # float64, as torch's scales are
    return Codes.of(np.clip(np.rint(x / scale), -128, 127).astype(np.int8), scale)


def gptq(x: Any) -> Codes:
    """Four bits, groups of four rows a column, with zero points."""
    grouped = x.reshape(3, 4, 8)
    low, high = grouped.min(axis=1), grouped.max(axis=1)
    scale = ((high - low) / 15).astype(np.float16)
    zero = np.clip(np.rint(-low / scale.astype(float)), 0, 15).astype(np.uint8)
    wide = np.repeat(scale.astype(float), 4, axis=0)
    codes = np.clip(np.rint(x / wide) + np.repeat(zero, 4, axis=0), 0, 15).astype(np.uint8)
    return Codes.of(codes, scale, zero, group=4, rows=True)


def grouped_columns(x: Any) -> Codes:
    scale = (np.abs(x.reshape(12, 2, 4)).max(axis=2) / 127).astype(np.float32)
    codes = np.rint(x / np.repeat(scale, 4, axis=1)).astype(np.int8)
    return Codes.of(codes, scale, group=4)


def float8(x: Any) -> Codes:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    scale = np.float32(np.abs(x).max() / 448)
    return Codes.of((x / scale).astype(ml_dtypes.float8_e4m3fn), scale)


LAYOUTS: list[Callable[[Any], Codes]] = [
    per_tensor,
    per_token,
    per_channel,
    gptq,
    grouped_columns,
    float8,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("bound", ["augmented", "hull"])
def test_codes_as_others_hold_them_are_certified(layout: Any, bound: str) -> None:
    keys, values = layout(K), layout(V)
    radius, error = measured(K, keys)[0], measured(V, values)[1]
    assert certified(certify_quantised(Q, keys, values, radius, error, bound=bound))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_half_a_step_bounds_what_rounding_to_nearest_does(layout: Any) -> None:
    codes = layout(K)
    inside = np.abs(codes.numbers - K) <= np.maximum(codes.steps, 0) * (1 + 2.0**-20)
    # Zero points are rounded, so that ends may be clipped.
    assert inside.all() or layout is gptq
    norm, largest = measured(K, codes)
    if layout is not gptq:
        assert (codes.radius() >= norm * (1 - 2.0**-19)).all()
        assert (codes.error() >= largest * (1 - 2.0**-19)).all()


@pytest.mark.slow
def test_tensors_of_torch_are_read() -> None:
    torch = pytest.importorskip("torch")
    scale = float(np.abs(K).max() / 127)
    codes = torch.clamp(torch.round(torch.tensor(K) / scale), -128, 127).to(torch.int8)
    keys = Codes.of(codes, torch.tensor(scale, dtype=torch.float64), torch.tensor(0))
    eight = Codes.of((torch.tensor(V) / 0.01).to(torch.float8_e4m3fn), 0.01)
    found = certify_quantised(Q, keys, eight, measured(K, keys)[0], measured(V, eight)[1])
    assert certified(found)


def test_a_served_answer_is_certified_in_place_of_ours() -> None:
    keys, values = per_token(K), per_token(V)
    radius, error = measured(K, keys)[0], measured(V, values)[1]
    exact = attention(Q, K, V).output
    served = exact.astype(np.float16)
    found = certify_quantised(Q, keys, values, radius, error, output=served)
    assert np.array_equal(found.output, served)
    assert certified(found)
    far = certify_quantised(Q, keys, values, radius, error, output=served + np.float16(1))
    assert certified(far)
    assert (far.error_bound > 0.9).all()


def test_radii_may_be_one_number_or_of_each_row_or_entry() -> None:
    keys, values = per_token(K), per_token(V)
    radius, error = measured(K, keys)[0], measured(V, values)[1]
    entries = np.abs(V - values.numbers) * (1 + 2.0**-40)
    by_row = certify_quantised(Q, keys, values, radius, error)
    by_entry = certify_quantised(Q, keys, values, radius, entries)
    one = certify_quantised(Q, keys, values, radius.max(), error.max())
    assert np.array_equal(by_row.error_bound, by_entry.error_bound)
    assert (one.error_bound >= by_row.error_bound).all()
    assert certified(one)


def test_with_no_radius_the_bound_is_that_of_rounding_and_little_more() -> None:
    found, exact = certify_quantised(Q, K, V, 0, 0), attention(Q, K, V)
    assert certified(found)
    assert (found.error_bound <= 2 * exact.error_bound).all()


def test_a_radius_too_large_for_anything_gives_the_range_of_the_values() -> None:
    found = certify_quantised(Q, K, V, 1e30, 0)
    assert np.isfinite(found.error_bound).all()
    assert certified(found)
    assert (found.error_bound <= np.ptp(V, axis=0) * (1 + 2.0**-20)).all()
    assert np.isfinite(found.log_sum_exp_bound).all()  # type: ignore[arg-type]


CODES = np.ones((12, 8), np.int8)

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "scales that do not fit": (
        lambda: Codes.of(CODES, np.ones(5)),
        "scales must broadcast against the codes' shape",
    ),
    "a NaN scale": (
        lambda: Codes.of(CODES, [np.nan] * 8),
        r"scales must be positive and finite, got nan\.",
    ),
    "a negative scale": (
        lambda: Codes.of(CODES, -1.0),
        r"scales must be positive and finite, got -1\.0\.",
    ),
    "a zero point outside its type": (
        lambda: Codes.of(CODES, 1.0, 200),
        r"zero_points must lie in \[-128, 127\] as the codes do, got 200\.",
    ),
    "a zero point that is none": (
        lambda: Codes.of(CODES, 1.0, 0.5),
        "zero_points must be integers",
    ),
    "a group that does not divide": (
        lambda: Codes.of(CODES, np.ones((12, 3)), group=3),
        r"group must divide 8, got 3\.",
    ),
    "groups of another number": (
        lambda: Codes.of(CODES, np.ones((12, 3)), group=4),
        r"scales must have shape \(12, 2\), got \(12, 3\)\.",
    ),
    "codes of another type": (
        lambda: Codes.of(CODES.astype(np.int64), 1.0),
        "codes must be int8, uint8, int16 or float8, got int64",
    ),
    "scales too large": (lambda: Codes.of(CODES, 1e300), "at most 2\\^120 in magnitude"),
    "a negative radius": (
        lambda: certify_quantised(Q, K, V, -1, 0),
        r"key_radius must not be negative, got -1\.0\.",
    ),
    "a NaN error": (
        lambda: certify_quantised(Q, K, V, 0, np.nan),
        r"value_error must not be negative, got nan\.",
    ),
    "an infinite radius": (
        lambda: certify_quantised(Q, K, V, np.inf, 0),
        "key_radius must be finite",
    ),
    "radii that do not fit": (
        lambda: certify_quantised(Q, K, V, np.ones(5), 0),
        r"key_radius must broadcast to \(12,\), got shape \(5,\)\.",
    ),
    "an output of another shape": (
        lambda: certify_quantised(Q, K, V, 0, 0, output=V),
        "output must be finite and have attention's shape",
    ),
    "an output of NaN": (
        lambda: certify_quantised(Q, K, V, 0, 0, output=np.full((3, 8), np.nan)),
        "output must be finite",
    ),
    "another bound": (
        lambda: certify_quantised(Q, K, V, 0, 0, bound=None),
        "bound must be 'augmented' or 'hull'",
    ),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("call", "says"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(call: Callable[[], Any], says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        call()


@pytest.mark.parametrize("bound", ["augmented", "hull"])
@pytest.mark.parametrize(
    ("q", "radius", "error"),
    [
        (1e300, 1e30, 0.0),
        (1.7e308, 4.0, 0.0),
        (0.0, 1e39, 0.0),
        (1.0, 1e300, 0.0),
        (1.0, 0.0, 1e300),
    ],
)
def test_radii_that_allow_any_logit_are_refused_in_a_sentence(
    bound: str, q: float, radius: float, error: float
) -> None:
    """Catches: a bound that is infinite or NaN, which a fuzzer found."""
    zeros = np.zeros((2, 3), np.float32)
    with pytest.raises(
        ValueError, match=r"must keep \|scale\| \|q\| times a radius, and both in float32, finite"
    ):
        certify_quantised(np.full((1, 3), q), zeros, zeros, radius, error, bound=bound)
    cache = QuantisedCache(np.full((2, 3), 1e-39), zeros)
    with pytest.raises(ValueError, match=r"must keep"):
        cache.attention(np.full((1, 3), -1.7e308), bound=bound)
