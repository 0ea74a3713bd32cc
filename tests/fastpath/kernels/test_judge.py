"""Judging outputs: faults are named by entry and key, and the two lines repeat; clean kernels never fail."""

import re
from typing import Any

import numpy as np
import pytest

from fastpath.kernels import (
    FORMATS,
    RoundingModel,
    assert_attention,
    flash_attention_2,
    judge_attention,
    tolerance,
)
from tests.fastpath.kernels.simulated import family, simulate
from tests.fastpath.kernels.test_tolerance import Array, head, numbers

FLASH = RoundingModel(out="bfloat16", weights="bfloat16", block=64)


def _without(key: int, row: int, output: Array, Q: Array, K: Array, V: Array, scale: float) -> Any:
    """Return an output in which a row has lost a key."""
    scores = scale * (Q[row].astype(np.float64) @ K.T.astype(np.float64))
    p = np.exp(scores - scores.max())
    p /= p.sum()
    lost = output.astype(np.float64).copy()
    lost[row] += p[key] / (1 - p[key]) * (p @ V - V[key])
    return FORMATS["bfloat16"].nearest(lost), p[key]


def test_a_lost_key_is_named_with_its_row_and_two_lines_that_repeat_it() -> None:
    Q, K, V = head("bfloat16", 1)
    output = simulate(Q, K, V, FLASH, scale=0.25, causal="lower-right")
    assert_attention(output, Q, K, V, FLASH, scale=0.25, causal="lower-right")
    key = int(np.argmax(Q[11] @ K.T))
    lost, weight = _without(key, 11, output, Q, K, V, 0.25)
    with pytest.raises(AssertionError, match=r"^output\[11, ") as caught:
        assert_attention(lost, Q, K, V, FLASH, scale=0.25, causal="lower-right")
    text = str(caught.value)
    assert f"key {key}, of weight {weight:.3g}, explains it best" in text
    found = re.search(r"repeat it:\n    (t = .*)\n    (assert .*)$", text)
    assert found
    names: dict[str, Any] = {
        "tolerance": tolerance,
        "RoundingModel": RoundingModel,
        "Q": Q,
        "K": K,
        "V": V,
        "output": lost,
    }
    exec(found[1], names)
    with pytest.raises(AssertionError):
        exec(found[2], names)
    names["output"] = output
    exec(found[2], names)


def test_heads_and_rows_keep_their_places_in_what_is_said() -> None:
    rng = np.random.default_rng(3)
    Q, K, V = (numbers("bfloat16", rng.standard_normal((4, n, 16))) for n in (9, 70, 70))
    output = np.stack([simulate(Q[h], K[h], V[h], FLASH, scale=0.25) for h in range(4)])
    output[2, 5, 3] += 1
    judged = judge_attention(output, Q, K, V, FLASH, scale=0.25)
    assert judged.worst is not None
    assert judged.worst.entry == (2, 5, 3)
    assert judged.violations == 1
    assert judged.worst.excess > 1
    some = judge_attention(output[:, [1, 5]], Q, K, V, FLASH, scale=0.25, rows=[1, 5])
    assert some.worst is not None
    assert some.worst.entry == (2, 5, 3)


def test_a_wrong_arithmetic_is_refuted_and_the_right_one_is_not() -> None:
    Q, K, V = head("bfloat16", 1, queries=64, keys=300, d=32, columns=32, size=4.0)
    models = family("bfloat16")
    low = simulate(Q, K, V, models["low logits"], scale=0.2)
    assert judge_attention(low, Q, K, V, models["low weights"], scale=0.2).refuted
    assert judge_attention(low, Q, K, V, models["float32 weights, blocks"], scale=0.2).refuted
    assert not judge_attention(low, Q, K, V, models["low logits"], scale=0.2).refuted
    assert not judge_attention(low, Q, K, V, models["all low"], scale=0.2).refuted


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_where_the_truth_is_refutes(value: float) -> None:
    Q, K, V = head("bfloat16", 1)
    output = simulate(Q, K, V, FLASH, scale=0.25)
    output[4, 2] = value
    judged = judge_attention(output, Q, K, V, FLASH, scale=0.25)
    assert judged.worst is not None
    assert judged.worst.entry == (4, 2)
    assert judge_attention(output, Q, K, V, FLASH, 1e-9, scale=0.25).refuted


def test_another_shape_and_other_types_are_refused() -> None:
    Q, K, V = head("bfloat16", 1)
    with pytest.raises(AssertionError, match=r"output must have shape \(12, 8\), got \(8, 12\)"):
        assert_attention(np.zeros((8, 12)), Q, K, V, FLASH)
    with pytest.raises(TypeError, match="output must hold floats"):
        assert_attention(np.zeros((12, 8), complex), Q, K, V, FLASH)
    with pytest.raises(ValueError, match=r"failure_probability must be in \(0, 1\), got 2"):
        assert_attention(np.zeros((12, 8)), Q, K, V, FLASH, 2)


# ------------------------------------------------------------------------------- by chance


def test_by_chance_a_key_ten_times_lighter_is_noticed_and_named() -> None:
    Q, K, V = head("bfloat16", 2, queries=8, keys=2048, d=64, columns=64, size=0.5)
    plain = RoundingModel(out="float32", weights="bfloat16", block=64)
    exact = simulate(Q, K, V, plain, scale=0.125)
    output = FORMATS["bfloat16"].nearest(exact)
    assert_attention(output, Q, K, V, FLASH, 1e-9, scale=0.125)
    scores = 0.125 * (Q[3].astype(np.float64) @ K.T.astype(np.float64))
    p = np.exp(scores - scores.max())
    key = int(np.argmin(np.abs(np.log(p / p.sum() / 4e-4))))
    lost, weight = _without(key, 3, exact, Q, K, V, 0.125)
    assert not judge_attention(lost, Q, K, V, FLASH, scale=0.125).refuted
    judged = judge_attention(lost, Q, K, V, FLASH, 1e-9, scale=0.125)
    assert judged.worst is not None
    assert judged.worst.key == key
    assert judged.worst.weight == pytest.approx(weight)
    assert judged.worst.entry[0] == 3
    assert "but with probability 1e-09" in judged.sentence


def test_by_chance_a_key_is_named_in_the_last_of_heads_that_share_keys_under_a_mask() -> None:
    made = [head("bfloat16", s, queries=8, keys=1024, d=64, columns=64, size=0.5) for s in range(4)]
    Q = np.stack([each[0] for each in made])
    # Of kinds that are not taken for each other.
    K, V = (np.stack([8 * made[0][i], made[1][i]]) for i in (1, 2))
    plain = RoundingModel(out="float32", weights="bfloat16", block=64)
    options: dict[str, Any] = {"scale": 0.125, "causal": "lower-right"}
    exact = np.stack([simulate(Q[h], K[h // 2], V[h // 2], plain, **options) for h in range(4)])
    output = FORMATS["bfloat16"].nearest(exact)
    clean = judge_attention(output, Q, K, V, FLASH, 1e-9, **options)
    assert not clean.refuted, clean.sentence
    seen = len(K[1]) - 8 + 3 + 1
    keys, values = K[1, :seen], V[1, :seen]
    scores = 0.125 * (Q[3, 3].astype(np.float64) @ keys.T.astype(np.float64))
    p = np.exp(scores - scores.max())
    key = int(np.argmin(np.abs(np.log(p / p.sum() / 1e-3))))
    lost = exact.copy()
    lost[3], _ = _without(key, 3, exact[3], Q[3], keys, values, 0.125)
    lost[:3] = output[:3]
    judged = judge_attention(lost, Q, K, V, FLASH, 1e-9, **options)
    assert judged.worst is not None
    assert judged.worst.entry[:2] == (3, 3)
    assert (judged.worst.test, judged.worst.key) == ("FP.kernel_probable", key)


def test_by_chance_a_scale_that_is_off_by_half_a_percent_is_noticed() -> None:
    Q, K, V = head("bfloat16", 2, queries=64, keys=512, d=64, columns=64, size=0.5)
    output = simulate(Q, K, V, FLASH, scale=0.125 * 1.005)
    assert not judge_attention(output, Q, K, V, FLASH, scale=0.125).refuted
    judged = judge_attention(output, Q, K, V, FLASH, 1e-9, scale=0.125)
    assert judged.refuted
    assert judged.worst is not None
    assert judged.worst.test in ("scale", "key signature", "FP.kernel_probable")


def test_by_chance_no_clean_kernel_fails_where_much_is_rounded_alike() -> None:
    rng = np.random.default_rng(5)
    Q, K, V = head("bfloat16", 4, queries=32, keys=256, d=16, columns=16)
    few = np.tile(K[:16], (16, 1))
    cases = {
        "16 keys": (Q, few, np.tile(V[:16], (16, 1))),
        "16 keys, values above 0": (Q, few, np.abs(V)),
        "no query": (0 * Q, K, np.abs(V)),
        "signs": (np.sign(Q), np.sign(K), np.abs(V)),
        "one query": (np.tile(Q[:1], (32, 1)), K, V),
        "one column": (Q, K, np.tile(V[:, :1], (1, 16))),
        "one value": (Q, K, np.ones_like(V)),
        "opposite columns": (Q, K, np.concatenate([V[:, :8], -2 * V[:, :8]], axis=1)),
    }
    for name, (q, k, v) in cases.items():
        for model in family("bfloat16").values():
            output = simulate(q, k, v, model, rng=rng, scale=0.25)
            judged = judge_attention(output, q, k, v, model, 1e-9, scale=0.25)
            assert not judged.refuted, (name, judged.sentence)


def test_by_chance_weights_that_a_sink_makes_subnormal_lose_what_they_may() -> None:
    rng = np.random.default_rng(8)
    models = family("float16")
    for seed in range(20):
        Q, K, V = head("float16", seed, queries=8, keys=9, d=2, columns=2)
        for name in ("low normalised weights", "low inputs and logits", "all low"):
            options: dict[str, Any] = {"sinks": 16.0, "scale": 1.0}
            output = simulate(Q, K, V, models[name], rng=rng, **options)
            judged = judge_attention(output, Q, K, V, models[name], 1e-9, **options)
            assert not judged.refuted, (name, judged.sentence)


@pytest.mark.nightly
def test_by_chance_no_clean_kernel_fails_in_ten_thousand_runs() -> None:
    rng = np.random.default_rng(6)
    models = list(family("bfloat16").values())
    for run in range(10_000):
        Q, K, V = head("bfloat16", run, queries=8, keys=int(rng.integers(1, 200)), columns=16)
        model = models[run % len(models)]
        output = simulate(Q, K, V, model, rng=rng, scale=0.25)
        judged = judge_attention(output, Q, K, V, model, 1e-9, scale=0.25)
        assert not judged.refuted, judged.sentence


def test_what_is_said_repeats_by_chance_too() -> None:
    Q, K, V = head("bfloat16", 2, queries=64, keys=512, d=64, columns=64, size=0.5)
    output = simulate(Q, K, V, FLASH, scale=0.125 * 1.005)
    with pytest.raises(AssertionError) as caught:
        assert_attention(output, Q, K, V, FLASH, 1e-9, scale=0.125)
    found = re.search(r"repeat it:\n    (model = .*)\n    (assert_.*)$", str(caught.value))
    assert found
    names: dict[str, Any] = {
        "assert_attention": assert_attention,
        "RoundingModel": RoundingModel,
        "Q": Q,
        "K": K,
        "V": V,
        "output": output,
    }
    exec(found[1], names)
    with pytest.raises(AssertionError):
        exec(found[2], names)


# ------------------------------------------------------------------------------ real kernels


@pytest.mark.slow
@pytest.mark.parametrize("out", ["bfloat16", "float16"])
def test_torch_on_a_cpu_is_of_the_models_that_carry_its_name(out: str) -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from fastpath.kernels import torch_flash_cpu, torch_sdpa_math

    Q, K, V = head(out, 1, queries=64, keys=300, d=64, columns=64)
    q, k, v = (torch.tensor(x).to(getattr(torch, out))[None, None] for x in (Q, K, V))
    for backend, model in (
        (SDPBackend.MATH, torch_sdpa_math(out)),
        (SDPBackend.FLASH_ATTENTION, torch_flash_cpu(out)),
    ):
        with sdpa_kernel(backend):
            output = torch.nn.functional.scaled_dot_product_attention(q, k, v)[0, 0]
        assert_attention(output, Q, K, V, model, scale=0.125)
    judged = judge_attention(output, Q, K, V, torch_sdpa_math(out), scale=0.125)
    assert judged.refuted
    assert not judge_attention(output, Q, K, V, flash_attention_2(out), scale=0.125).refuted
