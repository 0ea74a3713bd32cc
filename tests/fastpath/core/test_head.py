"""Arguments are checked once, at the public door, whichever way is taken from there."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.core import inputs
from fastpath.core.offers import Refusal
from fastpath.real_heads import attention as real_heads


@contextmanager
def counted_checks() -> Iterator[Counter[str]]:
    """Count, by name, how often an array's type is checked and how often its entries are."""
    counts: Counter[str] = Counter()

    def watch(frame: Any, event: str, _: Any) -> None:
        if event != "call":
            return
        if frame.f_code in (inputs.attention_inputs.__code__, inputs.heads_inputs.__code__):
            counts["heads"] += 1
        elif frame.f_code is inputs.exact_floats.__code__:
            counts[frame.f_locals["name"]] += 1

    sys.setprofile(watch)
    try:
        yield counts
    finally:
        sys.setprofile(None)


def head(n: int, d: int, size: float, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    K, V = rng.standard_normal((2, n, d))
    Q = size * K[rng.integers(0, 4, n)] + rng.standard_normal((n, d)) / 20
    return Q, K, V


WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "exact": (head(40, 3, 0.1), {"tolerance": 0.01}),
    "polynomial": (head(400, 2, 0.1), {"tolerance": 0.01}),
    "dropped keys": (head(600, 3, 30.0), {"tolerance": 0.01}),
    "clusters": (head(600, 8, 1.0), {"tolerance": 0.9, "rows": "quantile", "uncovered": 0.4}),
}


@pytest.mark.parametrize("method", WAYS)
def test_certified_attention_checks_a_head_once_whatever_way_it_takes(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method != "exact":
        monkeypatch.setattr(real_heads, "LARGE", 0)
        monkeypatch.setattr(real_heads, "exact_cost", lambda head: np.inf)
    if method == "clusters":
        monkeypatch.setattr(real_heads.SampledKeys, "planned", lambda *_: Refusal(reason="no"))
    given, asked = WAYS[method]
    with counted_checks() as counts:
        result = fastpath.certified_attention(*given, rng=np.random.default_rng(0), **asked)
    assert result.method == method, result.reason
    assert counts == {"heads": 1, "Q": 1, "K": 1, "V": 1}


CALLS: dict[str, tuple[Callable[..., Any], dict[str, int]]] = {
    "attention": (fastpath.attention, {}),
    "causal attention": (lambda *x: fastpath.attention(*x, causal=True), {}),
    "polynomial_attention": (lambda *x: fastpath.polynomial_attention(*x, tolerance=0.01), {}),
    "certify": (
        lambda *x: fastpath.certify(*x, np.zeros((40, 2)), rng=np.random.default_rng(0)),
        {"output": 1},
    ),
    "DynamicAttention": (fastpath.DynamicAttention, {}),
}


def test_a_state_checks_its_queries_once() -> None:
    q, k, v = head(40, 2, 0.1)
    state = fastpath.StreamingAttention(2, 2, logit_bound=9.0, tolerance=0.1, sparsity=2)
    with counted_checks() as counts:
        state.absorb(k, v)
        state.attend(q / 10)
    assert counts == {"Q": 1, "K": 1, "V": 1}


@pytest.mark.parametrize("name", CALLS)
def test_every_public_door_checks_a_head_once(name: str) -> None:
    call, besides = CALLS[name]
    with counted_checks() as counts:
        call(*head(40, 2, 0.1))
    assert counts == {"heads": 1, "Q": 1, "K": 1, "V": 1} | besides
