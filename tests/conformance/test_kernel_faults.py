"""Public faults of attention kernels: each planted, each refuted by the case that is drawn from it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastpath.kernels import FORMATS, RoundingModel
from proofs.evidence import kernel_cases as kernel_cases_module
from proofs.evidence.kernel_cases import faults, judge_kernel, kernel_case, kernel_cases

Array = NDArray[Any]


def kernel(
    Q: Array,
    K: Array,
    V: Array,
    *,
    scale: float = 1.0,
    causal: Any = False,
    window: Any = None,
    mask: Any = None,
    softcap: float | None = None,
    sinks: Any = None,
    empty_rows: str = "refuse",
    out: str = "bfloat16",
    fault: str = "",
) -> Array:
    """Return attention in float32 over blocks of 16 keys, its output rounded, with the fault asked for."""
    n_q, n_k = Q.shape[-2], K.shape[-2]
    low = FORMATS[out].nearest
    if fault == "a view that is not contiguous":
        Q = np.ravel(Q, order="K").reshape(Q.shape)
    if Q.ndim > 2:
        copies = Q.shape[0] // K.shape[0]
        spread = np.tile if fault == "query heads that read the wrong key head" else _repeat
        K, V = (spread(x, (copies, 1, 1)) for x in (K, V))
    if fault == "keys that no part reads":
        n_k = n_k // 4 * 4
        K, V = K[..., :n_k, :], V[..., :n_k, :]
    products = Q @ np.swapaxes(K, -1, -2)
    if fault == "products that overflow before they are scaled":
        products = FORMATS["float16"].nearest(products).astype(np.float32)
    scores = products * np.float32(1.0 if fault == "a scale that is left out" else scale)
    if softcap is not None and fault != "a soft cap that is left out":
        scores = np.float32(softcap) * np.tanh(scores / np.float32(softcap))
    row, key = np.arange(n_q)[:, None], np.arange(n_k)
    offset = n_k - n_q if causal == "lower-right" else 0
    if fault == "causal with more keys than queries":
        offset = 0
    seen = np.ones((n_q, n_k), bool) if mask is None else np.array(mask)
    if causal:
        seen &= key <= row + offset
    if window is not None:
        left, right = window
        left += fault == "a window off by one"
        seen &= (key >= row - left) & (key <= row + right)
    if fault == "a mask that adds -1e4":
        scores = np.where(seen, scores, scores - np.float32(1e4))
    else:
        scores = np.where(seen, scores, np.float32(-np.inf))
    if fault == "keys that fill the last block":
        more = [(0, 0)] * (scores.ndim - 1) + [(0, -n_k % 16)]
        scores = np.pad(scores, more)
        V = np.pad(V, [(0, 0)] * (V.ndim - 2) + [(0, -n_k % 16), (0, 0)])
    return _summed(scores.astype(np.float32), V, sinks, fault, low)


def _repeat(x: Array, copies: tuple[int, ...]) -> Array:
    return np.repeat(x, copies[0], axis=0)


def _summed(scores: Array, V: Array, sinks: Any, fault: str, low: Callable[..., Array]) -> Array:
    """Return the output of scores, by online softmax."""
    start = -5e4 if fault == "a running maximum that starts at -5e4" else -np.inf
    largest = np.full((*scores.shape[:-1], 1), start, np.float32)
    total = np.zeros_like(largest)
    output = np.zeros((*scores.shape[:-1], V.shape[-1]), np.float32)
    for first in range(0, scores.shape[-1], 16):
        part, values = scores[..., first : first + 16], V[..., first : first + 16, :]
        larger = np.maximum(largest, part.max(axis=-1, keepdims=True))
        shift = larger
        if fault not in (
            "a first block of keys that is hidden whole",
            "a padded row that sees nothing",
        ):
            shift = np.where(np.isneginf(larger), np.float32(0), larger)
        weights, rescale = np.exp(part - shift), np.exp(largest - shift)
        if fault == "a denominator that stalls":
            total = total * rescale
            for column in range(weights.shape[-1]):
                total = low(total + weights[..., column : column + 1]).astype(np.float32)
        else:
            total = total * rescale + weights.sum(axis=-1, keepdims=True)
        output = output * rescale + weights @ values
        if fault == "an output that is summed in low precision":
            output = low(output).astype(np.float32)
        largest = larger
    if sinks is not None and fault != "a sink that is left out":
        rows = scores.shape[-2]
        sink = np.reshape(np.asarray(sinks, np.float32), (-1, 1, 1))
        if fault == "the sink of another head":
            sink = sink[np.arange(rows) % len(sink)][:, 0].reshape(1, rows, 1)
        sink = sink if scores.ndim > 2 else sink[0]
        larger = np.maximum(largest, sink)
        rescale = np.exp(largest - larger)
        counted = 2 if fault == "a sink that is counted twice" else 1
        total = total * rescale + counted * np.exp(sink - larger)
        output = output * rescale
    if not fault:
        total = np.where(total == 0, np.float32(1), total)
    return low(output / total)


def _format(fault: str) -> str:
    """Return the format in which a fault is planted: one that is narrow enough for it."""
    return "float16" if "overflow" in fault else "bfloat16"


@pytest.mark.parametrize("fault", [fault.name for fault in faults()])
def test_a_public_fault_is_refuted_by_the_case_drawn_from_it(fault: str) -> None:
    out = _format(fault)
    model, case = RoundingModel(out=out), kernel_case(fault, out)
    honest = judge_kernel(partial(kernel, out=out), case, model)
    assert honest.findings == ()
    assert honest.unjudged == 0
    found = judge_kernel(partial(kernel, out=out, fault=fault), case, model)
    assert found.missing == ()
    (sentence,) = found.findings
    assert "lies outside" in sentence
    assert f"    repeat(kernel, {fault!r}, {model})" in sentence


def test_the_file_says_what_where_and_how_of_every_fault() -> None:
    names = [fault.name for fault in faults()]
    assert len(set(names)) == len(names)
    for fault in faults():
        assert fault.what.endswith(".")
        assert fault.reported
        for address in fault.reported:
            assert address.startswith("https://github.com/")
            assert len(address.split("/")) == 7, address
            assert address.split("/")[5] in ("issues", "pull")


@pytest.mark.parametrize("out", list(FORMATS))
def test_names_of_cases_are_unique_and_their_numbers_those_of_the_format(
    out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_cases_module, "LENGTHS", (64, 65))
    cases = list(kernel_cases(out))
    assert len({case.name for case in cases}) == len(cases)
    assert {fault.name for fault in faults()} - {case.name for case in cases} <= BEYOND.get(
        out, set()
    )
    for case in cases:
        for x in (case.Q, case.K, case.V):
            assert (FORMATS[out].nearest(x) == x).all()


#: Cases with numbers that a format does not hold.
BEYOND = {
    "float8_e4m3fn": {
        "a running maximum that starts at -5e4",
        "a mask that adds -1e4",
        "products that overflow before they are scaled",
    },
    "float8_e5m2": {"a mask that adds -1e4"},
}


def test_a_case_is_repeated_as_its_finding_says() -> None:
    for name in ("the sink of another head", "a padded row that sees nothing"):
        broken = partial(kernel, fault=name)
        case = kernel_case(name, "bfloat16")
        (sentence,) = judge_kernel(broken, case, RoundingModel(out="bfloat16")).findings
        _, _, lines = sentence.partition("These two lines repeat it:\n")
        assert lines.count("\n") == 1
        run = "\n".join(map(str.strip, lines.splitlines()))
        with pytest.raises(AssertionError, match="lies outside"):
            exec(run, {"kernel": broken})
        exec(run, {"kernel": kernel})
