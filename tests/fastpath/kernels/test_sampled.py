"""Sampled queries of all heads, judged at once: each is allowed what it is by itself, but for a slack."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastpath.kernels import (
    RoundingModel,
    float32_throughout,
    judge_attention,
    tolerance,
    torch_flash_cpu,
    torch_sdpa_math,
)
from fastpath.kernels.formats import FORMATS
from fastpath.kernels.sampled import Found, Scratch, Sums, found_of, sampled_sums
from tests.fastpath.kernels.formulas import written_bound
from tests.fastpath.kernels.simulated import simulate
from tests.fastpath.kernels.test_tolerance import numbers

MODELS = {
    "flash, bfloat16": torch_flash_cpu("bfloat16"),
    "flash, float16": torch_flash_cpu("float16"),
    "math, bfloat16": torch_sdpa_math("bfloat16"),
    "float32": float32_throughout("float32"),
    "float32, blocks": RoundingModel(out="float32", block=16),
    "float32, parts": RoundingModel(out="float32", splits=3),
    "weights in their sum": RoundingModel(
        out="bfloat16", weights="bfloat16", denominator="rounded"
    ),
    "values and parts": RoundingModel(
        out="bfloat16", weights="bfloat16", values="bfloat16", splits=2, partials="bfloat16"
    ),
    "coarse exponentials": RoundingModel(out="float32", exp_error=2.0**12),
}

#: Heads, key heads, queries, keys, d, d_v; how large queries are, and what values have in common.
SHAPES = [
    ((4, 2), 5, 40, 16, 8, 1.0, 0.0),
    ((2, 2), 3, 300, 32, 16, 3.0, 2.0),
    ((3, 1), 4, 1, 1, 1, 1.0, 0.0),
    ((1, 1), 2, 600, 4, 3, 0.0625, -1.0),
    ((2, 1), 6, 70, 64, 4, 12.0, 0.0),
]


def heads_of(out: str, shape: Any, seed: int) -> tuple[Any, Any, Any, float]:
    (heads, groups), rows, keys, d, d_v, size, common = shape
    rng = np.random.default_rng(seed)
    q = numbers(out, size * rng.standard_normal((heads, rows, d)))
    k = numbers(out, rng.standard_normal((groups, keys, d)))
    v = numbers(out, rng.standard_normal((groups, keys, d_v)) + common)
    return q, k, v, d**-0.5


def outputs(q: Any, k: Any, v: Any, model: RoundingModel, scale: float, mask: Any) -> Any:
    group = len(q) // len(k)
    found = [
        simulate(q[h], k[h // group], v[h // group], model, scale=scale, mask=mask)
        for h in range(len(q))
    ]
    return np.array(found).astype(np.float32)


def passed(
    output: Any, q: Any, k: Any, v: Any, model: RoundingModel, scale: float, mask: Any
) -> Any:
    hidden = None if mask is None else ~mask[None]
    found = sampled_sums(output, q, k, v, model, scale, hidden, 1, Scratch())
    assert found is not None
    return found


def slack(q: Any, k: Any, v: Any, model: RoundingModel, scale: float, mask: Any) -> Any:
    """Return what the centre may be off by, twice, of heads whose queries are all as long as the longest.

    That of the arithmetic in which it is computed: float32 in blocks of 256 where outputs have fewer bits.
    """
    own = "float64" if model.out == "float32" else "float32"
    arithmetic = RoundingModel(out="float64", accumulate=own, block=256)
    return 2 * tolerance(q, k, v, arithmetic, scale=scale, mask=mask).bound


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_all_heads_at_once_are_judged_as_each_for_itself(name: str, masked: bool) -> None:
    model, judged = MODELS[name], 0
    for seed, shape in enumerate(SHAPES):
        q, k, v, scale = heads_of(model.out, shape, seed)
        mask = None
        if masked:
            mask = np.random.default_rng(seed).random((q.shape[1], k.shape[1])) < 0.6
            mask[:, 0] = True
        output = outputs(q, k, v, model, scale, mask)
        sums, near = passed(output, q, k, v, model, scale, mask)
        (found,) = found_of([sums])
        each = judge_attention(output, q, k, v, model, scale=scale, mask=mask)
        allowed = each.tolerance
        assert not each.refuted
        more = slack(q, k, v, model, scale, mask)
        group = len(q) // len(k)
        for h in np.flatnonzero(~near):
            judged += 1
            at = h, found.row[h], found.column[h]
            distance = np.abs(output[h].astype(np.float64) - allowed.centre[h])
            assert allowed.centre_bound is not None
            # Certified, and no more than the centre's own error beyond what is so.
            assert found.error[h] >= (distance - allowed.centre_bound[h]).max()
            longest = np.linalg.norm(q[h], axis=1)
            unequal = 1 + longest.max() / longest.min()
            assert found.error[h] <= (distance + unequal * more[h]).max() * (1 + 2.0**-16)
            # Nothing is refused that is allowed: the bound is the theorem's.
            written = (
                written_bound(
                    *(x[i] for x, i in ((q, h), (k, h // group), (v, h // group))), model, scale
                )
                if mask is None
                else 0 * allowed.bound[h]
            )
            assert found.upper[h] >= found.lower[h]
            assert found.bound[h] >= written[at[1:]]
            assert found.bound[h] <= unequal * (allowed.bound[at] + more[at])
            assert found.lower[h] <= output[at] <= found.upper[h]
    assert judged >= 4


def test_the_centre_is_attention_but_for_what_its_own_arithmetic_takes() -> None:
    model = MODELS["flash, bfloat16"]
    for seed in range(8):
        q, k, v, scale = heads_of("bfloat16", ((2, 1), 6, 12, 64, 4, 24.0, 0.0), seed)
        exact = tolerance(q, k, v, model, scale=scale).centre
        sums, _ = passed(np.zeros(exact.shape, np.float32), q, k, v, model, scale, None)
        sums, _ = passed(sums.centre, q, k, v, model, scale, None)
        assert not sums.distance.any()
        (found,) = found_of([sums])
        off = np.abs(sums.centre - exact).max(axis=(1, 2))
        assert (off <= found.error).all()
        # No less than FP.kernel has for that arithmetic, of which the scale may be one rounding less.
        own = tolerance(q, k, v, RoundingModel(out="float64", block=256), scale=scale).bound
        assert (found.error >= own.max(axis=(1, 2)) * 64 / (64 + 4)).all()


def test_a_head_that_is_far_from_its_tolerance_is_told_apart() -> None:
    for model in MODELS.values():
        q, k, v, scale = heads_of(model.out, SHAPES[1], 7)
        output = outputs(q, k, v, model, scale, None)
        allowed = tolerance(q, k, v, model, scale=scale)
        wrong = output.copy()
        wrong[1, 2, 3] = np.nextafter(np.float32(allowed.upper[1, 2, 3]), np.float32(np.inf))
        wrong[1, 2, 3] = numbers(model.out, wrong[1, 2, 3] * (1 + 2.0**-5))
        _, near = passed(wrong, q, k, v, model, scale, None)
        assert near[1]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seen", [1, 2, 7])
def test_a_row_that_sees_few_keys_is_allowed_the_roundings_of_those(name: str, seen: int) -> None:
    """What each head for itself refutes is told apart, however many keys there are that it does not see."""
    model = MODELS[name]
    q, k, v, scale = heads_of(model.out, ((3, 1), 4, 400, 16, 8, 1.0, 0.0), seen)
    mask = np.arange(400) < seen * np.arange(1, 5)[:, None]
    allowed = tolerance(q, k, v, model, scale=scale, mask=mask)
    middle = numbers(model.out, allowed.centre)
    apart = 2 * FORMATS[model.out].unit_roundoff
    for row in range(4):
        for head, side, away in ((0, allowed.lower, -1), (1, allowed.upper, 1)):
            wrong = middle.copy()
            edge = side[head, row, 0]
            wrong[head, row, 0] = numbers(model.out, edge + away * 2 * apart * np.abs(edge))
            assert judge_attention(wrong, q, k, v, model, scale=scale, mask=mask).refuted
            _, near = passed(wrong, q, k, v, model, scale, mask)
            assert near[head]


def test_calls_together_are_what_each_call_is() -> None:
    model = MODELS["float32"]
    calls = []
    for seed in range(3):
        q, k, v, scale = heads_of("float32", SHAPES[0], seed)
        output = outputs(q, k, v, model, scale, None)
        calls.append(passed(output, q, k, v, model, scale, None)[0])
    calls.insert(1, replace(calls[0], scale=0.25))  # of another kind
    together = found_of(calls)
    for sums, found in zip(calls, together, strict=True):
        (alone,) = found_of([sums])
        for field in Found.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(found, field), getattr(alone, field))


def test_no_bit_depends_on_how_many_threads_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastpath.kernels.sampled.SEVERAL", 1)
    monkeypatch.setattr("fastpath.kernels.sampled.HELD", 1)
    for model in (MODELS["float32"], MODELS["flash, bfloat16"]):
        q, k, v, scale = heads_of(model.out, ((8, 4), 5, 300, 16, 8, 1.0, 0.0), 1)
        output = outputs(q, k, v, model, scale, None)
        one, two = (
            sampled_sums(output, q, k, v, model, scale, None, workers, Scratch())
            for workers in (1, 3)
        )
        assert one is not None
        assert two is not None
        for name in ("centre", "sizes", "squares", "distance", "logarithm"):
            np.testing.assert_array_equal(getattr(one[0], name), getattr(two[0], name))


NOT_SIMPLE: list[tuple[str, dict[str, Any]]] = [
    ("a value that is none", {"v": np.nan}),
    ("an infinite key", {"k": np.inf}),
    ("a query that is none", {"q": np.nan}),
    ("large scores", {"q": 2.0**22}),
    ("queries of zeros", {"q": 0.0}),
    ("large values", {"v": 2.0**22}),
    ("logits in a low format", {"model": RoundingModel(out="bfloat16", logits="bfloat16")}),
    ("inputs in a low format", {"model": RoundingModel(out="bfloat16", inputs="bfloat16")}),
    ("sums in float64", {"model": RoundingModel(out="float32", accumulate="float64")}),
    (
        "weights divided and then in float16",
        {"model": RoundingModel(out="float16", weights="float16", denominator="normalised")},
    ),
    ("a row that sees nothing", {"hidden": np.ones((1, 5, 40), bool)}),
]


@pytest.mark.parametrize(("_", "changed"), NOT_SIMPLE)
def test_what_is_not_simple_is_left_to_others(_: str, changed: dict[str, Any]) -> None:
    q, k, v, scale = heads_of("bfloat16", SHAPES[0], 0)
    model = changed.get("model", RoundingModel(out="bfloat16"))
    arrays = {"q": q, "k": k, "v": v}
    for name, array in arrays.items():
        if name in changed:
            array[0] = changed[name]
    output = np.zeros((*q.shape[:-1], v.shape[-1]), np.float32)
    found = sampled_sums(
        output,
        **arrays,
        model=model,
        scale=scale,
        hidden=changed.get("hidden"),
        workers=1,
        scratch=Scratch(),
    )
    assert found is None


def test_what_is_left_refers_to_nothing_that_was_given() -> None:
    q, k, v, scale = heads_of("float32", SHAPES[0], 0)
    model = MODELS["float32"]
    output = outputs(q, k, v, model, scale, None)
    sums, _ = passed(output, q, k, v, model, scale, None)
    for name in Sums.__dataclass_fields__:
        held = getattr(sums, name)
        for array in held if isinstance(held, tuple) else (held,):
            if isinstance(array, np.ndarray):
                assert not any(np.shares_memory(array, x) for x in (output, q, k, v))
