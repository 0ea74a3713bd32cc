"""The tolerance of kernels: the theorem's bound, never too narrow, on simulated kernels of every model."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastpath.kernels import (
    FORMATS,
    RoundingModel,
    flash_attention_2,
    judge_attention,
    sums,
    tolerance,
)
from fastpath.kernels.exponents import OWN_ROUNDINGS
from reference import Enclosure, attention
from tests.fastpath.kernels.formulas import exact_bound, written_bound
from tests.fastpath.kernels.simulated import ORDERS, family, simulate

Array = NDArray[np.float32]

#: What Cauchy and Schwarz may cost, 1.36 at most here in the middle, and the logarithm of the denominator in
#: place of the maximum, 1.98 where exponentials are low.
LOOSEST = 2.0

MODELS = [(out, name) for out in ("bfloat16", "float16", "float32") for name in family(out)]


def numbers(out: str, x: Any) -> Array:
    """Return numbers of a format."""
    return FORMATS[out].nearest(x).astype(np.float32)


def head(
    out: str,
    seed: int,
    queries: int = 12,
    keys: int = 150,
    d: int = 16,
    columns: int = 8,
    size: float = 1.0,
) -> tuple[Array, Array, Array]:
    """Return random queries, keys and values of a format."""
    rng = np.random.default_rng(seed)
    return (
        numbers(out, size * rng.standard_normal((queries, d))),
        numbers(out, rng.standard_normal((keys, d))),
        numbers(out, rng.standard_normal((keys, columns))),
    )


@pytest.mark.parametrize(("out", "name"), [each for each in MODELS if each[1] != "float8"])
def test_the_bound_is_the_theorem_with_its_first_term_by_cauchy_and_schwarz(
    out: str, name: str
) -> None:
    model = family(out)[name]
    for size, options in (
        (0.5, {"scale": 0.25}),
        (2.0, {"scale": 0.3, "softcap": 4.0}),
        (1.0, {"scale": 1.0}),
    ):
        Q, K, V = head(out, 3, size=size)
        bias = np.random.default_rng(4).standard_normal((len(Q), len(K)))
        for more in ({}, {"bias": bias.astype(np.float32)}):
            options_now: dict[str, Any] = {**options, **more}
            found = tolerance(Q, K, V, model, **options_now).bound
            exact = exact_bound(Q, K, V, model, **options_now)
            # No looser than what Cauchy and Schwarz, and underflow in the narrowest formats, cost.
            assert (found >= exact).all()
            if "float8" not in name:
                assert np.median(found / exact) <= LOOSEST


#: Models of which one thing is large: what they tolerate is then little but that.
ALONE = {
    "splits, key by key": RoundingModel(out="float32", splits=8, block=1),
    "sums in float16": RoundingModel(out="float16", accumulate="float16", block=4),
    "all in float64": RoundingModel(out="float64", accumulate="float64", block=1),
    "exponentials": RoundingModel(out="float64", accumulate="float64", exponentials="bfloat16"),
    "logits": RoundingModel(out="float64", accumulate="float64", logits="float16"),
    "inputs": RoundingModel(out="float64", accumulate="float64", inputs="tf32"),
    "an exponential": RoundingModel(out="float64", accumulate="float64", exp_error=2.0**30),
    "weights in their sum": RoundingModel(
        out="float64", accumulate="float64", weights="float16", denominator="rounded"
    ),
    "float16 after division": RoundingModel(
        out="float64", accumulate="float64", weights="float16", denominator="normalised"
    ),
    "exponentials in float16": RoundingModel(
        out="float64", accumulate="float64", exponentials="float16"
    ),
    "parts": RoundingModel(out="float64", accumulate="float64", splits=4, partials="float16"),
}

#: Options, and how large queries are: sinks heavier and lighter than all keys, caps, scores all 0.
SITUATIONS: list[tuple[float, dict[str, Any]]] = [
    (0.5, {"scale": 0.25, "sinks": 1.0}),
    (2.0, {"scale": 0.3, "softcap": 4.0, "sinks": 8.0}),
    (1.0, {"sinks": -3.0}),
    (3.0, {}),
    (0.0, {"sinks": 12.0}),
    (0.0, {}),
    (6.0, {"scale": 0.5}),
]


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
def test_a_lever_is_at_least_that_of_its_exponent(dtype: np.dtype[Any]) -> None:
    theta = np.concatenate([np.linspace(0, 1, 500), np.geomspace(1e-9, 1, 500)]).astype(dtype)
    computed = dtype.type(1 + sums._lever_slack(dtype)) - np.exp(-theta)
    exact = Enclosure.exact(1, 192) - Enclosure.exact(-theta, 192).exp()
    least, most = exact.bounds()
    found = np.array([Fraction(float(x)) for x in computed])
    assert (found >= most).all()
    # And by no more than is allowed for where it has to be at most that.
    assert (found - 2 * Fraction(sums._lever_slack(dtype)) <= least).all()


@pytest.mark.parametrize(
    "model",
    [family(out)[name] for out, name in MODELS if name != "float8"] + list(ALONE.values()),
    ids=str,
)
def test_a_bound_has_every_term_sinks_and_underflow_included(model: RoundingModel) -> None:
    for seed, (size, options) in enumerate(SITUATIONS):
        out = "float32" if model.out == "float64" else model.out
        Q, K, V = head(out, seed, size=size, queries=6)
        bias = numbers(out, 2 * np.random.default_rng(4).standard_normal((len(Q), len(K))))
        for more in ({}, {"bias": bias}):
            options_now: dict[str, Any] = {**options, **more}
            found = tolerance(Q, K, V, model, **options_now).bound
            assert (found >= written_bound(Q, K, V, model, **options_now)).all()


def _cases(out: str) -> list[tuple[tuple[Array, Array, Array], dict[str, Any]]]:
    Q, K, V = head(out, 0)
    rng = np.random.default_rng(1)
    mask = rng.random((len(Q), len(K))) < 0.5
    mask[:, 3] = True
    tied = np.repeat(K[:25], 6, axis=0)
    return [
        ((Q, K, V), {"scale": 0.25}),
        ((Q, K, np.abs(V)), {"scale": -0.3, "causal": "lower-right"}),
        ((Q, tied, V), {"scale": 0.25, "mask": mask}),
        ((0 * Q, K, V), {"scale": 0.25, "window": (5, 40)}),
        ((Q, K, V), {"scale": 1.0, "softcap": 2.0, "sinks": 1.0}),
        ((Q, K, V), {"scale": 0.25, "bias": numbers(out, 3 * rng.standard_normal(mask.shape))}),
        ((Q[:1], K[:1], V[:1]), {}),
        ((Q[:, :1], K[:2, :1], V[:2, :1]), {}),
        ((Q, K, numbers(out, V * 2.0**-12)), {"scale": 0.25}),
        ((numbers(out, 6 * Q), K, V), {"scale": 0.25}),
    ]


@pytest.mark.parametrize(("out", "name"), MODELS)
def test_no_kernel_of_a_model_leaves_its_tolerance(out: str, name: str) -> None:
    model = family(out)[name]
    rng = np.random.default_rng(7)
    for number, ((Q, K, V), options) in enumerate(_cases(out)):
        output = simulate(
            Q, K, V, model, order=ORDERS[number % len(ORDERS)], rng=rng, rounds_exp=True, **options
        )
        judgement = judge_attention(output, Q, K, V, model, **options)
        assert not judgement.refuted, judgement.sentence


@pytest.mark.slow
@pytest.mark.parametrize("out", ["bfloat16", "float16", "float32"])
def test_no_kernel_of_a_model_leaves_its_tolerance_in_many_runs(out: str) -> None:
    rng = np.random.default_rng(11)
    for seed in range(12):
        for model in family(out).values():
            Q, K, V = head(
                out, seed, keys=int(rng.integers(1, 400)), size=float(rng.choice([0.3, 3]))
            )
            output = simulate(
                Q, K, V, model, order=str(rng.choice(ORDERS)), rng=rng, rounds_exp=True, scale=0.25
            )
            judgement = judge_attention(output, Q, K, V, model, scale=0.25)
            assert not judgement.refuted, judgement.sentence


@pytest.mark.nightly
@pytest.mark.parametrize("out", ["bfloat16", "float16", "float32"])
def test_no_kernel_of_a_model_leaves_its_tolerance_in_a_million_entries(out: str) -> None:
    rng = np.random.default_rng(13)
    for name, model in family(out).items():
        entries = 0
        while entries < 10**6:
            Q, K, V = head(
                out,
                entries,
                queries=64,
                keys=int(rng.choice([1, 64, 65, 700])),
                d=int(rng.choice([1, 16, 64])),
                columns=64,
                size=float(rng.choice([0.1, 1, 3])),
            )
            output = simulate(
                Q,
                K,
                V,
                model,
                order="pairwise",
                rng=rng,
                rounds_exp=bool(rng.integers(2)),
                scale=0.25,
            )
            judgement = judge_attention(output, Q, K, V, model, scale=0.25)
            assert not judgement.refuted, (name, judgement.sentence)
            entries += output.size


def test_weights_that_are_all_rounded_up_reach_nearly_all_of_the_bound() -> None:
    u, n = 2.0**-8, 32
    weight = 0.5 * (1 + u) * (1 + u / 512)
    Q = np.array([[1.0, 2.0**-8, 2.0**-16, 2.0**-24]], np.float32)
    rest, K = np.full(n, np.log(weight)), np.zeros((n, 4), np.float32)
    rest[0] = 0
    for column in range(4):
        K[:, column] = numbers("bfloat16", rest / Q[0, column])
        rest = rest - K[:, column].astype(np.float64) * Q[0, column]
    V = np.ones((n, 1), np.float32)
    V[0] = 0
    model = RoundingModel(out="float32", weights="bfloat16", block=64)
    output = simulate(Q, K, V, model)
    found = tolerance(Q, K, V, model)
    ratio = np.abs(output - found.centre) / found.bound
    assert 0.95 <= ratio.max() <= 1


def test_lost_weights_reach_nearly_all_of_the_bound_in_float32() -> None:
    n = 4096
    K = np.full((n, 1), np.log(2.0**-24) - 1e-5, np.float32)
    K[0] = 0
    V = np.ones((n, 1), np.float32)
    V[0] = -1 - 2.0**-12
    model = RoundingModel(out="float32")
    Q = np.ones((1, 1), np.float32)
    output = simulate(Q, K, V, model, order="forwards")
    found = tolerance(Q, K, V, model)
    assert 0.95 <= (np.abs(output - found.centre) / found.bound).max() <= 1


def test_the_centre_is_attention_within_its_part_of_the_bound() -> None:
    Q, K, V = head("float32", 5, queries=3, keys=20)
    options: dict[str, Any] = {"scale": 0.3, "softcap": 3.0, "causal": "lower-right"}
    found = tolerance(Q, K, V, RoundingModel(out="float32"), **options)
    lower, upper = attention(Q, K, V, precision=200, **options).bounds()
    assert (lower >= found.lower).all()
    assert (upper <= found.upper).all()


def test_heads_share_keys_and_rows_may_be_asked_for() -> None:
    rng = np.random.default_rng(8)
    Q, K, V = (
        numbers("float16", rng.standard_normal((2, h, n, 8)))
        for h, n in ((6, 10), (3, 30), (3, 30))
    )
    model = flash_attention_2("float16")
    whole = tolerance(Q, K, V, model, causal="lower-right", sinks=np.arange(6.0))
    assert whole.lower.shape == (2, 6, 10, 8)
    for b, h in ((0, 0), (1, 5)):
        one = tolerance(
            Q[b, h], K[b, h // 2], V[b, h // 2], model, causal="lower-right", sinks=float(h)
        )
        np.testing.assert_array_equal(one.lower, whole.lower[b, h])
    some = tolerance(Q, K, V, model, causal="lower-right", sinks=np.arange(6.0), rows=[2, 7])
    np.testing.assert_array_equal(some.upper, whole.upper[:, :, [2, 7]])


def test_tiles_in_single_precision_say_what_those_in_double_say() -> None:
    Q, K, V = head("bfloat16", 2, keys=600, size=2.0)
    for model in family("bfloat16").values():
        single = tolerance(Q, K, V, model, scale=0.25).bound
        double = tolerance(Q.astype(np.float64), K, V, model, scale=0.25).bound
        assert (np.abs(single / double - 1) < 2.0**-6).all()
        exact = exact_bound(Q, K, V, model, scale=0.25)
        assert (single >= exact).all()


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1e8, 1e30])
def test_values_of_any_size_have_a_bound_of_their_size(size: float) -> None:
    Q, K, V = head("float32", 6)
    model = RoundingModel(out="float32", block=64)
    plain = tolerance(Q, K, V, model, scale=0.25)
    scaled = tolerance(Q, K, (V * size).astype(np.float32), model, scale=0.25)
    assert np.isfinite(scaled.bound).all()
    assert (scaled.bound <= 1.01 * size * plain.bound + 1e-32).all()


def test_scores_of_any_size_leave_a_bound_that_is_finite() -> None:
    Q, K, V = head("float32", 6)
    for size in (1e3, 1e8, 1e15):
        found = tolerance(Q * np.float32(size), K, V, RoundingModel(out="float32"))
        assert np.isfinite(found.bound).all()
        # Whatever the weights, outputs lie among the values, up to what sums are off by; so does the centre.
        assert (found.bound <= 6 * np.abs(V).max()).all()


@pytest.mark.parametrize("sink", [{}, {"sinks": 0.5}], ids=["no sink", "a sink"])
def test_keys_that_a_row_does_not_see_round_nothing(sink: dict[str, float]) -> None:
    Q, K, V = head("float32", 9)
    seen = np.zeros((len(Q), len(K)), bool)
    seen[:, :20] = True
    for model in (RoundingModel(out="float32"), RoundingModel(out="float32", block=256)):
        alone = tolerance(Q, K[:20], V[:20], model, scale=0.25, **sink)
        for hidden in ({"mask": seen}, {"window": (0, 19 + len(Q))}):
            found = tolerance(Q, K, V, model, scale=0.25, **hidden, **sink)
            if "mask" in hidden:
                assert (found.bound >= alone.bound).all()
            whole = tolerance(Q, K, V, model, scale=0.25, **sink)
            assert np.median(found.bound / alone.bound) <= LOOSEST
            assert np.median(whole.bound / alone.bound) > LOOSEST


def test_a_bias_that_hides_by_a_large_number_hides() -> None:
    Q, K, V = head("bfloat16", 9)
    hidden = np.random.default_rng(2).random((len(Q), len(K))) < 0.5
    hidden[:, 0] = False
    for model in family("bfloat16").values():
        by_mask = tolerance(Q, K, V, model, scale=0.25, mask=~hidden)
        for number in (-1e9, -3e38, -np.inf):
            bias = np.where(hidden, number, 0).astype(np.float32)
            found = tolerance(Q, K, V, model, scale=0.25, bias=bias)
            assert np.isfinite(found.bound).all()
            apart = np.abs(found.centre - by_mask.centre)
            assert (apart <= found.centre_bound + by_mask.centre_bound).all()


def test_a_row_that_sees_nothing_is_zeros() -> None:
    Q, K, V = head("bfloat16", 9, queries=4)
    mask = np.ones((4, len(K)), bool)
    mask[2] = False
    found = tolerance(Q, K, V, flash_attention_2(), mask=mask, empty_rows="zeros")
    assert (found.lower[2] == 0).all()
    assert (found.upper[2] == 0).all()
    with pytest.raises(ValueError, match="query 2 must see a key or a sink"):
        tolerance(Q, K, V, flash_attention_2(), mask=mask)


def test_where_the_arithmetic_may_overflow_nothing_is_allowed_or_refused() -> None:
    Q, K, V = head("float16", 9)
    model = RoundingModel(
        out="float16", weights="float16", denominator="normalised", logits="float16"
    )
    found = tolerance(Q * np.float32(1e4), K * np.float32(10), V, model, scale=1e-5)
    assert np.isinf(found.lower).all()
    nothing = np.full(found.lower.shape, np.nan)
    judged = judge_attention(nothing, Q * np.float32(1e4), K * np.float32(10), V, model, scale=1e-5)
    assert not judged.refuted
    assert judged.unjudged == judged.entries
    V = np.full_like(V, 65504.0)
    ends = tolerance(Q, K, V, flash_attention_2("float16"), scale=0.25)
    assert np.isinf(ends.upper).all()
    assert (ends.lower < 65504).all()


def _wide(**fields: Any) -> RoundingModel:
    return RoundingModel(out="float64", accumulate="float64", **fields)


#: Models, sizes of queries, keys and values, and options with which one step overflows and no other.
OVERFLOWING: dict[str, tuple[RoundingModel, tuple[float, float, float], dict[str, Any]]] = {
    "a scaled query": (RoundingModel(out="float32"), (2.0**120, 2.0**-120, 1.0), {"scale": 256.0}),
    "a scaled key": (RoundingModel(out="float32"), (2.0**-120, 2.0**120, 1.0), {"scale": 256.0}),
    "a rounded query": (_wide(inputs="float16"), (2.0**14, 2.0**-14, 1.0), {"scale": 4.0}),
    "a rounded key": (_wide(inputs="float16"), (2.0**-14, 2.0**14, 1.0), {"scale": 4.0}),
    "a sum of exponentials": (_wide(exponentials="float8_e4m3fn"), (1.0, 1.0, 1.0), {}),
    "a value": (_wide(values="float8_e4m3fn"), (1.0, 1.0, 480.0), {}),
    "a part's output": (_wide(splits=2, partials="float16"), (1.0, 1.0, 65535.0), {}),
    "a sum of values": (RoundingModel(out="float32"), (1.0, 1.0, 2.0**120), {}),
    "a bias": (_wide(logits="float16"), (1.0, 1.0, 1.0), {"bias": np.full((1, 300), 65535.0)}),
    "a quotient by a cap": (_wide(logits="float16"), (32.0, 32.0, 1.0), {"softcap": 2.0**-7}),
    "a row that sees nothing": (
        _wide(values="float16", weights="float16", denominator="normalised"),
        (1.0, 1.0, 65535.0),
        {"mask": np.zeros((1, 300), bool), "empty_rows": "zeros"},
    ),
}


@pytest.mark.parametrize("step", OVERFLOWING)
def test_where_a_step_overflows_every_output_is_allowed(step: str) -> None:
    model, sizes, options = OVERFLOWING[step]
    Q, K, V = (np.full(s, x) for s, x in zip(((1, 1), (300, 1), (300, 1)), sizes, strict=True))
    judgement = judge_attention(np.full((1, 1), np.nan), Q, K, V, model, **options)
    assert not judgement.refuted, judgement.sentence
    assert judgement.unjudged == 1
    assert judgement.ratio == 0
    small = {**options, "scale": min(options.get("scale", 1.0), 1.0)}
    if "bias" in small:
        small["bias"] = np.ones((1, 300))
    if "softcap" in small:
        small["softcap"] = 1.0
    K, V = (x[:100] for x in (K, V / 2.0**10))
    small |= {name: small[name][:, :100] for name in ("bias", "mask") if name in small}
    assert np.isfinite(tolerance(Q, K, V, model, **small).bound).all()


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"model": "flash"}, TypeError, "model must be a RoundingModel, got 'flash'"),
    ({"rows": [3, 1]}, ValueError, "rows must ascend, each once"),
    ({"rows": [3, 3]}, ValueError, "rows must ascend, each once"),
    ({"rows": []}, TypeError, "rows must be a sequence of integers, one at least"),
    ({"rows": [12]}, IndexError, r"rows must be in \[-12, 12\), got 12"),
    ({"rows": [0.5]}, TypeError, "rows must be a sequence of integers"),
    ({"softcap": -1.0}, ValueError, "softcap must be positive"),
    (
        {"model": RoundingModel(out="bfloat16", accumulate="bfloat16")},
        ValueError,
        "model must let a term pass through at most 64 roundings of bfloat16",
    ),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), REFUSED)
def test_what_is_not_allowed_is_refused_in_a_sentence(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    Q, K, V = head("float32", 0)
    arguments = {"model": RoundingModel(out="float32"), **arguments}
    with pytest.raises(kind, match=message):
        tolerance(Q, K, V, **arguments)


def test_inputs_are_read_as_they_are_and_left_as_they_are() -> None:
    Q, K, V = head("float32", 0)
    model = RoundingModel(out="float32")
    plain = tolerance(Q, K, V, model)
    copies = [np.asfortranarray(x) for x in (Q, K, V)]
    for x in copies:
        x.setflags(write=False)
    ordered = tolerance(*copies, model)
    # Sums of another order differ in last bits, as the tiles' own rounding has it.
    own = 2 * OWN_ROUNDINGS * FORMATS["float32"].unit_roundoff
    assert (np.abs(plain.bound - ordered.bound) <= own * plain.bound).all()
