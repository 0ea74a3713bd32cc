"""Mistakes with the options of attention, each planted, each rejected by the case that is named after it."""

import importlib
import re
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from proofs.evidence.conformance import NonConformanceError, cases, judge, run_kernel
from proofs.evidence.feature_cases import OPTIONS, alone, together

Array = NDArray[Any]
FEATURES = {
    case.name: case
    for dtype in (np.float32, np.float64)
    for kind in (alone, together)
    for case in kind(np.dtype(dtype))
}


def kernel(
    Q: Array,
    K: Array,
    V: Array,
    *,
    scale: float = 1.0,
    causal: bool | str = False,
    window: tuple[int | None, int | None] | None = None,
    mask: Array | None = None,
    bias: Array | None = None,
    softcap: float | None = None,
    sinks: Array | None = None,
    empty_rows: str = "refuse",
    group: Callable[[Array, int], Array] = lambda x, g: np.repeat(x, g, axis=-3),
    align: Callable[[Any], Any] = lambda causal: causal,
    widths: Callable[[Any], Any] = lambda window: window,
    order: str = "scale cap bias",
    hidden: float = -np.inf,
    sink_value: float = 0.0,
    shared_sink: bool = False,
    looks_at_sink: bool = True,
    inverted: bool = False,
    empty: str = "zeros",
    capped_by: Callable[[Array], Array] = np.tanh,
) -> Array:
    """Return attention as it is run, with the mistakes asked for."""
    dtype = Q.dtype.type
    if Q.ndim > 2:
        K, V = (group(x, Q.shape[-3] // K.shape[-3]) for x in (K, V))
    S = Q @ np.swapaxes(K, -1, -2)
    for step in order.split():
        if step == "scale":
            S = S * dtype(scale)
        elif step == "cap" and softcap is not None:
            S = dtype(softcap) * capped_by(S / dtype(softcap))
        elif step == "bias" and bias is not None:
            S = S + bias
    seen = _seen(S.shape[-2], S.shape[-1], align(causal), widths(window))
    if mask is not None:
        seen = seen & (~mask if inverted else mask)
    S = np.where(seen, S, dtype(hidden))
    shift = S.max(axis=-1, keepdims=True)
    sink = None
    if sinks is not None:
        given = np.asarray(sinks, Q.dtype)[:1] if shared_sink else np.asarray(sinks, Q.dtype)
        sink = given[:, None, None] if Q.ndim > 2 else given
        shift = np.maximum(shift, sink) if looks_at_sink else shift
    if empty == "zeros":
        shift = np.where(np.isinf(shift), 0, shift)
    with np.errstate(all="ignore"):
        W = np.exp(S - shift)
        D, N = W.sum(axis=-1, keepdims=True), W @ V
        if sink is not None:
            weight = np.exp(sink - shift)
            D, N = D + weight, N + weight * dtype(sink_value)
        output = N / D
    return np.where(D > 0, output, 0) if empty == "zeros" else output


def _seen(n_q: int, n_k: int, causal: Any, window: Any) -> Array:
    offset = 0 if causal in (True, "upper-left") else n_k - n_q
    distance = np.arange(n_k) - (np.arange(n_q)[:, None] + offset)
    left, right = window or (None, None)
    seen = distance <= 0 if causal else np.ones((n_q, n_k), bool)
    seen = seen & (distance >= -left) if left is not None else seen
    return seen & (distance <= right) if right is not None else seen


def planted(**mistakes: Any) -> Any:
    def attention(Q: Array, K: Array, V: Array, **options: Any) -> Array:
        return kernel(Q, K, V, **{**options, **mistakes})

    return SimpleNamespace(attention=attention)


def test_a_kernel_without_mistakes_conforms_in_every_case() -> None:
    failures = [outcome.failure for outcome in run_kernel(kernel) if outcome.failure]
    assert failures == []


def _wider(window: Any) -> Any:
    return window and tuple(None if side is None else side + 1 for side in window)


MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("two heads", {"group": lambda x, g: np.flip(x, axis=-3)}),
    ("grouped heads", {"group": lambda x, g: np.concatenate([x] * g, axis=-3)}),
    ("a scale", {"order": "cap bias"}),
    ("a scale", {"order": "scale scale cap bias"}),
    ("causal from the first key", {"align": lambda c: "lower-right"}),
    ("causal to the last key", {"align": lambda c: "upper-left"}),
    ("a window to the left", {"widths": _wider}),
    ("a window to both sides", {"widths": lambda w: (w[0], None)}),
    ("a window to one side", {"widths": lambda w: (0, w[1])}),
    ("a causal window over more keys", {"align": lambda c: "upper-left"}),
    ("a mask", {"inverted": True}),
    ("a mask that hides the first keys", {"hidden": -1.0}),
    ("a bias", {"order": "scale cap"}),
    ("a bias that hides keys", {"order": "scale cap"}),
    ("a softcap", {"order": "scale bias"}),
    ("a softcap", {"capped_by": lambda x: np.clip(x, -1, 1)}),
    ("a softcap and a scale", {"order": "cap scale bias"}),
    ("a softcap and a bias", {"order": "scale bias cap"}),
    ("a sink", {"sinks": None}),
    ("a sink", {"sink_value": 1.0}),
    ("a sink above all logits", {"sinks": None}),
    ("a sink a head", {"shared_sink": True}),
    ("a row that sees nothing", {"empty": "NaN"}),
    ("a row that sees nothing", {"hidden": -1e4}),
    ("a row that sees only the sink", {"sinks": None}),
]


@pytest.mark.parametrize(("name", "mistakes"), MISTAKES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mistake_is_rejected_by_the_case_named_after_it(
    name: str, mistakes: dict[str, Any], dtype: str
) -> None:
    case = FEATURES[f"{name} in {dtype}"]
    judge(planted(), case)
    with pytest.raises(NonConformanceError):
        judge(planted(**mistakes), case)


def test_any_two_values_of_two_options_occur_together() -> None:
    said = [case.catches for case in together(np.dtype(np.float64))]
    for (a, first), (b, second) in combinations(OPTIONS.items(), 2):
        for x, y in product(first, second):
            assert any(f"{a}: {x}" in text and f"{b}: {y}" in text for text in said), (a, x, b, y)


def test_a_kernel_is_not_judged_on_options_that_it_does_not_take() -> None:
    def plain(Q: Array, K: Array, V: Array, *, causal: bool = False) -> Array:
        raise AssertionError("not called where an option is asked for")

    outcomes = run_kernel(plain)
    asked = {case.name for case in cases() if case.semantics}
    assert {o.case.name for o in outcomes if o.missing} == asked
    assert {option for o in outcomes for option in o.missing} == {
        option for case in cases() for option in case.semantics
    }


@pytest.mark.slow
def test_torch_as_the_adapters_page_has_it_conforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the adapter of torch needs torch, of the extra peers")
    page = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text("utf-8")
    (source,) = re.findall(r"```py\n(# torch_sdpa\.py\n.*?)```", page, flags=re.DOTALL)
    (tmp_path / "torch_sdpa.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    outcomes = run_kernel(importlib.import_module("torch_sdpa").kernel)
    assert [outcome.failure for outcome in outcomes if outcome.failure] == []
    assert sum(not outcome.missing for outcome in outcomes) > len(outcomes) / 2
