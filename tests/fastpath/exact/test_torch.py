"""Attention and its gradient beside torch's in float64, over random combinations of what both offer.

Torch has no sinks: they are written for it as one key more, of value 0 and with the sink for its bias.  It is
given alignments, windows and masks as one mask, and soft caps through flex_attention, which on a processor
has no way back: there autograd differentiates the definition.
"""

from typing import Any

import numpy as np
import pytest

import fastpath
from tests.fastpath.exact.test_semantics import empty_rows

torch = pytest.importorskip("torch")
flex = pytest.importorskip("torch.nn.attention.flex_attention")

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let flex_attention run as it is written: it takes a second to compile for each shape."""
    monkeypatch.setattr(flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True, raising=False)


def _drawn(seed: int, capped: bool) -> Any:
    """Return Q, K, V, dO and options, with 1 to 8 query heads a key head; ``capped``: soft caps too."""
    rng = np.random.default_rng(seed)
    dtype = (np.float32, np.float64)[rng.integers(2)]
    group, key_heads, batch = (
        int(rng.integers(1, 9)),
        int(rng.integers(1, 3)),
        int(rng.integers(1, 3)),
    )
    n_q, n_k, d, d_v = (int(x) for x in rng.integers(1, (24, 32, 17, 17)))
    Q = rng.choice([0.3, 1.0, 4.0]) * rng.standard_normal((batch, group * key_heads, n_q, d))
    K = rng.standard_normal((batch, key_heads, n_k, d))
    V = rng.standard_normal((batch, key_heads, n_k, d_v))
    dO = rng.standard_normal((batch, group * key_heads, n_q, d_v))

    def width() -> int | None:
        return None if rng.random() < 0.3 else int(rng.integers(12))

    heads = (batch, group * key_heads)
    every = {
        "causal": lambda: ["upper-left", "lower-right"][rng.integers(2)],
        "window": lambda: (width(), width()),
        "mask": lambda: rng.random((*heads, n_q, n_k)) < rng.choice([0.1, 0.5, 0.9]),
        "bias": lambda: 3 * rng.standard_normal((*heads, n_q, n_k)),
        "softcap": lambda: float(rng.choice([0.7, 5.0, 30.0])),
        "sinks": lambda: rng.standard_normal(heads[-1:]),
    }
    options = {name: draw() for name, draw in every.items() if rng.random() < 0.4}
    if not capped:
        options.pop("softcap", None)
    options["scale"] = float(rng.choice([1.0, d**-0.5, -0.3]))
    return (*(x.astype(dtype) for x in (Q, K, V, dO)), options)


def _added(Q: Any, K: Any, options: Any) -> Any:
    """Return what is added to scores: bias, -inf for what is hidden, and the sinks' column."""
    shape = (*Q.shape[:-1], K.shape[-2])
    rows, keys = np.arange(shape[-2])[:, None], np.arange(shape[-1])
    causal, (left, right) = options.get("causal", False), options.get("window", (None, None))
    distance = keys - rows - (0 if causal == "upper-left" else shape[-1] - shape[-2])
    seen = np.broadcast_to(options.get("mask", True), shape).copy()
    if causal:
        seen &= distance <= 0
    if left is not None:
        seen &= distance >= -left
    if right is not None:
        seen &= distance <= right
    added = np.where(seen, options.get("bias", 0.0), -np.inf)
    if "sinks" in options:
        column = np.broadcast_to(options["sinks"][:, None, None], (*shape[:-1], 1))
        added = np.concatenate([added, column], axis=-1)
    return torch.tensor(added)


def _of_torch(Q: Any, K: Any, V: Any, dO: Any, options: Any) -> Any:
    """Return torch's output and its derivatives by Q, K and V, in float64."""
    q, k, v = (torch.tensor(x.astype(np.float64), requires_grad=True) for x in (Q, K, V))
    added, keys, values = _added(Q, K, options), k, v
    if "sinks" in options:
        keys, values = (torch.nn.functional.pad(x, (0, 0, 0, 1)) for x in (k, v))
    if "softcap" not in options:
        output = torch.nn.functional.scaled_dot_product_attention(
            q, keys, values, attn_mask=added, scale=options["scale"], enable_gqa=True
        )
        output.backward(torch.tensor(dO.astype(np.float64)))
        return tuple(x.detach().numpy() for x in (output, q.grad, k.grad, v.grad))
    softcap = options["softcap"]

    def modified(score: Any, b: Any, h: Any, i: Any, j: Any) -> Any:
        return softcap * torch.tanh(score / softcap) + added[b, h, i, j]

    empty = torch.isneginf(added).all(dim=-1)
    added[empty] = 0  # torch gives such rows NaN
    given = (x.detach() for x in (q, keys, values))
    output = flex.flex_attention(
        *given, score_mod=modified, scale=options["scale"], enable_gqa=True
    )
    output[empty] = 0
    group = Q.shape[1] // K.shape[1]
    keys, values = (x.repeat_interleave(group, dim=1) for x in (keys, values))
    scores = softcap * torch.tanh(options["scale"] * (q @ keys.transpose(-1, -2)) / softcap) + added
    (torch.softmax(scores, -1) @ values).backward(torch.tensor(dO.astype(np.float64)))
    return tuple(x.detach().numpy() for x in (output, q.grad, k.grad, v.grad))


def _agrees(seed: int, *, capped: bool) -> None:
    """Compare with torch, which is granted the rounding of float64 as the claims bound it."""
    Q, K, V, dO, options = _drawn(seed, capped)
    # What a row that sees nothing is given is a convention; torch's derivatives of one are NaN.
    dO[empty_rows(Q, K, options)] = 0
    output, *derivatives = _of_torch(Q, K, V, dO, options)
    exact = tuple(x.astype(np.float64) for x in (Q, K, V, dO))
    options |= {"empty_rows": "zeros", "workers": 1}
    found = (
        fastpath.attention(Q, K, V, **options),
        *fastpath.attention_gradient(Q, K, V, dO, **options),
    )
    fine = (
        fastpath.attention(*exact[:3], **options),
        *fastpath.attention_gradient(*exact, **options),
    )
    for ours, of_float64, theirs in zip(found, fine, (output, *derivatives), strict=True):
        assert np.isfinite(theirs).all()
        allowed = ours.error_bound + of_float64.error_bound
        assert (np.abs(ours.output - theirs) <= allowed).all(), options


@pytest.mark.parametrize("seed", range(20))
def test_attention_and_its_gradient_are_torchs_up_to_the_two_bounds(seed: int) -> None:
    _agrees(seed, capped=False)  # flex_attention takes five seconds to import


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=pytest.mark.slow if first < 220 else pytest.mark.nightly)
        for first in range(20, 520, 50)
    ],
)
def test_attention_and_its_gradient_are_torchs_over_many_draws(first: int) -> None:
    for seed in range(first, first + 50):
        _agrees(seed, capped=True)
