"""Judging gradients, given the kernel's own output: simulated passes of every option, and planted faults."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.core.directed import UNIT_ROUNDOFF
from fastpath.core.semantics import semantics
from fastpath.kernels import (
    FORMATS,
    RoundingModel,
    assert_attention_backward,
    judge_attention_backward,
)
from fastpath.kernels.backward import _half_gap
from tests.fastpath.kernels.simulated import rounded
from tests.fastpath.kernels.test_tolerance import Array, head, numbers

FLASH = RoundingModel(
    out="bfloat16",
    weights="bfloat16",
    score_gradients="bfloat16",
    gradient_sums="bfloat16",
    query_block=8,
)
PLAIN = RoundingModel(out="bfloat16", weights="bfloat16", score_gradients="bfloat16")
KEPT = RoundingModel(
    out="bfloat16",
    weights="bfloat16",
    denominator="normalised",
    logits="bfloat16",
    score_gradients="bfloat16",
)
SINGLE = RoundingModel(out="float32")


def backward(
    Q: Array, K: Array, V: Array, dO: Array, model: RoundingModel, **options: Any
) -> tuple[tuple[Array, Array, Array], Array]:
    """Return the gradients of a kernel of a model, and its output: matrices, float32 and what it rounds."""
    seen = semantics((), len(Q), len(K), **options)
    single = np.float32
    q, k, v, g = (np.asarray(x, single) for x in (Q, K, V, dO))
    raw = rounded(rounded(q @ k.T, model.logits) * single(seen.scale), model.logits)
    scores, slope = raw, np.ones_like(raw)
    if seen.softcap is not None:
        cap = single(seen.softcap)
        tanh = rounded(np.tanh(rounded(raw / cap, model.logits)), model.logits)
        scores, slope = rounded(cap * tanh, model.logits), 1 - tanh * tanh
    if seen.bias is not None:
        scores = rounded(scores + seen.bias.astype(single), model.logits)
    hidden = np.zeros(scores.shape, bool) if seen.mask is None else ~seen.mask
    ranges = seen.ranges(np.arange(len(q)))
    if ranges is not None:
        key = np.arange(len(k))
        hidden = hidden | (key < ranges[0][:, None]) | (key >= ranges[1][:, None])
    scores = np.where(hidden, single(-np.inf), scores)
    largest = scores.max(axis=1, keepdims=True)
    sink = None if seen.sinks is None else single(seen.sinks.item())
    if sink is not None:
        largest = np.maximum(largest, sink)
    weights = np.exp(scores - largest)
    total = weights.sum(axis=1, keepdims=True)
    if sink is not None:
        total = total + np.exp(sink - largest)
    logarithm = largest + np.log(total)
    kept = model.denominator == "normalised" and model.weights is not None
    p = rounded(weights / total, model.weights) if kept else np.exp(scores - logarithm)
    low = rounded(p if kept else weights, model.weights)
    output = rounded(low @ v if kept else (low @ v) / total, model.out)
    product = rounded(g @ v.T, model.logits)
    mean = (p * product if kept else g * output).sum(axis=1, keepdims=True)
    score = rounded(p * (product - mean) * slope, model.score_gradients)
    scaled = score * single(seen.scale)
    if model.logits:
        scaled = rounded(scaled, model.logits)
    size = model.query_block or len(q)
    dK, dV = np.zeros_like(k), np.zeros_like(v)
    for first in range(0, len(q), size):
        rows = slice(first, first + size)
        dK = rounded(dK + scaled[rows].T @ q[rows], model.gradient_sums)
        dV = rounded(dV + rounded(p, model.weights)[rows].T @ g[rows], model.gradient_sums)
    dQ = scaled @ k
    return tuple(rounded(x, model.out) for x in (dQ, dK, dV)), output  # type: ignore[return-value]


def _given(model: RoundingModel, seed: int, **sizes: Any) -> tuple[Array, Array, Array, Array]:
    Q, K, V = head(model.out, seed, **sizes)
    dO = np.random.default_rng(seed + 100).standard_normal((len(Q), V.shape[1]))
    return Q, K, V, numbers(model.out, dO)


CASES: list[dict[str, Any]] = [
    {"scale": 0.25},
    {"scale": 0.25, "causal": "lower-right"},
    {"scale": 0.3, "softcap": 3.0, "window": (9, 9)},
    {"scale": 0.25, "sinks": 0.5, "causal": "upper-left"},
    {"scale": 1.0, "bias": np.linspace(-2, 2, 24 * 40).reshape(24, 40).astype(np.float32)},
]


@pytest.mark.parametrize("model", [FLASH, PLAIN, KEPT, SINGLE], ids=str)
@pytest.mark.parametrize("options", CASES, ids=lambda options: ", ".join(options))
def test_gradients_of_a_model_stay_within_their_intervals(
    model: RoundingModel, options: dict[str, Any]
) -> None:
    for seed, size in ((0, 1.0), (1, 3.0)):
        Q, K, V, dO = _given(model, seed, queries=24, keys=40, size=size)
        gradients, output = backward(Q, K, V, dO, model, **options)
        found = judge_attention_backward(gradients, output, dO, Q, K, V, model, **options)
        for judgement in found.values():
            assert not judgement.refuted, judgement.sentence
            assert np.isfinite(judgement.tolerance.bound).all()


@pytest.mark.parametrize("options", CASES, ids=lambda options: ", ".join(options))
def test_the_centres_are_the_gradient_where_the_output_is_attention(
    options: dict[str, Any],
) -> None:
    Q, K, V, dO = (x.astype(np.float64) for x in _given(SINGLE, 2, queries=24, keys=40))
    output = fastpath.attention(Q, K, V, **options)
    truth = fastpath.attention_gradient(Q, K, V, dO, **options)
    gradients = [x.output for x in truth]
    model = RoundingModel(out="float64", accumulate="float64")
    found = judge_attention_backward(gradients, output.output, dO, Q, K, V, model, **options)
    for judgement, exact in zip(found.values(), truth, strict=True):
        off = np.abs(judgement.tolerance.centre - exact.output)
        assert (off <= judgement.tolerance.bound + exact.error_bound).all()


@pytest.mark.parametrize(
    "values",
    [np.ones((40, 8)), np.zeros((40, 8)), np.eye(40, 8)],
    ids=["equal values", "no values", "unit values"],
)
def test_gradients_of_values_that_cancel_stay_within(values: Any) -> None:
    Q, K, _, dO = _given(FLASH, 3, queries=24, keys=40)
    V = values.astype(np.float32)
    gradients, output = backward(Q, K, V, dO, FLASH, scale=0.25)
    assert_attention_backward(gradients, output, dO, Q, K, V, FLASH, scale=0.25)


def test_sums_that_stand_in_a_low_format_refute_a_model_without_them() -> None:
    Q, K, V, dO = _given(FLASH, 4, queries=512, keys=8)
    gradients, output = backward(Q, K, V, np.abs(dO), FLASH, scale=0.25)
    found = judge_attention_backward(gradients, output, np.abs(dO), Q, K, V, PLAIN, scale=0.25)
    assert found["dV"].refuted
    assert_attention_backward(gradients, output, np.abs(dO), Q, K, V, FLASH, scale=0.25)


def test_gradients_that_stand_in_the_format_of_the_output_are_not_rounded_again() -> None:
    Q, K, V, dO = _given(FLASH, 4, queries=64, keys=8)
    gradients, output = backward(Q, K, V, dO, FLASH, scale=0.25)
    found = judge_attention_backward(gradients, output, dO, Q, K, V, FLASH, scale=0.25)
    for name in ("dK", "dV"):
        assert not found[name].refuted, found[name].sentence
        allowed = found[name].tolerance
        assert (allowed.centre - allowed.lower <= allowed.bound).all()
        assert (allowed.upper - allowed.centre <= allowed.bound).all()


@pytest.mark.parametrize("scale", [0.25, 0.3, 1.7])
def test_a_number_that_is_scaled_before_it_is_rounded_is_within_its_half_gap(scale: float) -> None:
    low = FORMATS["bfloat16"]
    x = np.random.default_rng(8).standard_normal(4096)
    gap = _half_gap(low, np.abs(x), scale)
    assert (np.abs(low.nearest(x) - x) <= gap).all()
    # Both are exact but for the roundings of float64, of which there are three.
    scaled = np.abs(low.nearest(x * scale) / scale - x)
    assert (scaled <= gap + 4 * UNIT_ROUNDOFF * np.abs(x)).all()


def test_a_fault_names_its_gradient_and_entry_and_repeats() -> None:
    Q, K, V, dO = _given(FLASH, 5, queries=24, keys=40)
    gradients, output = backward(Q, K, V, dO, FLASH, scale=0.25)
    faulty = [x.copy() for x in gradients]
    faulty[1][7] *= 1.5
    with pytest.raises(AssertionError, match=r"^dK\[7, ") as caught:
        assert_attention_backward(faulty, output, dO, Q, K, V, FLASH, scale=0.25)
    found = re.search(r"repeat it:\n    (model = .*)\n    (assert_.*)$", str(caught.value))
    assert found
    names: dict[str, Any] = {
        "assert_attention_backward": assert_attention_backward,
        "RoundingModel": RoundingModel,
        **dict(zip(("dQ", "dK", "dV"), faulty, strict=True)),
        **{"output": output, "dO": dO, "Q": Q, "K": K, "V": V},
    }
    exec(found[1], names)
    with pytest.raises(AssertionError):
        exec(found[2], names)


def test_heads_that_share_keys_add_up() -> None:
    rng = np.random.default_rng(6)
    Q, dO = (numbers("bfloat16", rng.standard_normal((4, 24, 16))) for _ in range(2))
    K, V = (numbers("bfloat16", rng.standard_normal((2, 40, 16))) for _ in range(2))
    parts = [backward(Q[h], K[h // 2], V[h // 2], dO[h], FLASH, scale=0.25) for h in range(4)]
    output = np.stack([part[1] for part in parts])
    dQ = np.stack([part[0][0] for part in parts])
    dK, dV = (
        np.stack(
            [
                FORMATS["bfloat16"].nearest(parts[2 * h][0][i] + parts[2 * h + 1][0][i])
                for h in range(2)
            ]
        )
        for i in (1, 2)
    )
    assert_attention_backward(
        {"dQ": dQ, "dK": dK, "dV": dV}, output, dO, Q, K, V, FLASH, scale=0.25
    )
    swapped = {"dQ": dQ, "dK": dK[::-1], "dV": dV}
    with pytest.raises(AssertionError, match=r"^dK"):
        assert_attention_backward(swapped, output, dO, Q, K, V, FLASH, scale=0.25)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gradients": (1, 2)}, "gradients must be dQ, dK and dV, got 2 arrays"),
        ({"gradients": {"dQ": 1}}, "gradients must be named dQ, dK and dV, got dQ"),
        ({"dO": np.zeros((3, 8))}, r"dO must have shape \(24, 8\), got \(3, 8\)"),
        ({"dO": np.full((24, 8), np.inf)}, "dO must be finite"),
        ({"output": np.full((24, 8), np.nan)}, "output must be finite"),
    ],
)
def test_what_is_not_allowed_is_refused(change: dict[str, Any], message: str) -> None:
    Q, K, V, dO = _given(FLASH, 5, queries=24, keys=40)
    gradients, output = backward(Q, K, V, dO, FLASH)
    arguments: dict[str, Any] = {"gradients": gradients, "output": output, "dO": dO, **change}
    with pytest.raises(ValueError, match=message):
        assert_attention_backward(**arguments, Q=Q, K=K, V=V, model=FLASH)


@pytest.mark.slow
def test_torch_on_a_cpu_is_of_the_models_that_carry_its_name() -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from fastpath.kernels import torch_flash_cpu, torch_sdpa_math

    for backend, model, queries in (
        (SDPBackend.MATH, torch_sdpa_math(), 300),
        *((SDPBackend.FLASH_ATTENTION, torch_flash_cpu(), n) for n in (300, 800)),
        *(
            (SDPBackend.FLASH_ATTENTION, torch_flash_cpu(queries=n), n)
            for n in (191, 192, 767, 768)
        ),
    ):
        Q, K, V, dO = _given(model, 7, queries=queries, keys=150, d=64, columns=64)
        # Sums that grow are rounded most.
        dO = np.abs(dO)
        tensors = [torch.tensor(x).bfloat16()[None, None].requires_grad_() for x in (Q, K, V)]
        with sdpa_kernel(backend):
            output = torch.nn.functional.scaled_dot_product_attention(*tensors)
        output.backward(torch.tensor(dO).bfloat16()[None, None])
        gradients = [x.grad[0, 0] for x in tensors]
        own = output[0, 0].detach()
        assert_attention_backward(gradients, own, dO, Q, K, V, model, scale=0.125)
        if queries in (191, 767):
            coarser = replace(model, query_block=8 * (model.query_block or 1))
            with pytest.raises(AssertionError, match=r"^dV"):
                assert_attention_backward(gradients, own, dO, Q, K, V, coarser, scale=0.125)
