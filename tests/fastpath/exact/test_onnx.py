"""ONNX's own cases of its Attention operator: through the reference and the fast path."""

import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastpath
from reference import Verdict, attention_verdict

onnx = pytest.importorskip("onnx", reason="the cases are those of onnx's backend tests")


def _cases() -> dict[str, Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():  # of other operators' cases, which overflow on purpose
        warnings.simplefilter("ignore")
        return {
            case.name: case
            for case in collect_testcases("Attention")
            if case.model is not None and not case.name.endswith("_expanded")
        }


CASES = _cases()


def stated(case: Any) -> tuple[Any, Any, Any, dict[str, Any], Any]:
    """Return Q, K, V, our options and the output that ONNX expects, heads apart."""
    node = case.model.graph.node[0]
    told = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    arrays = iter(np.asarray(x) for x in case.data_sets[0][0])
    names = ("Q", "K", "V", "mask", "past_key", "past_value", "nonpad")
    given = {name: next(arrays) for name, there in zip(names, node.input, strict=False) if there}
    expected = np.asarray(case.data_sets[0][1][0])

    def heads(x: Any, count: int | None) -> Any:
        return x if x.ndim == 4 else x.reshape(*x.shape[:2], count, -1).transpose(0, 2, 1, 3)

    Q, K, V = given["Q"], given["K"], given["V"]
    q_heads, kv_heads = told.get("q_num_heads"), told.get("kv_num_heads")
    Q, K, V = heads(Q, q_heads), heads(K, kv_heads), heads(V, kv_heads)
    expected = heads(expected, q_heads)
    past = 0
    if "past_key" in given:
        past = given["past_key"].shape[2]
        K, V = (
            np.concatenate([given[name], x], axis=2)
            for name, x in (("past_key", K), ("past_value", V))
        )
    n_q, n_k = Q.shape[2], K.shape[2]
    offset = np.full((len(Q), 1, 1, 1), past)
    distance = np.arange(n_k) - np.arange(n_q)[:, None] - offset
    visible = np.ones((len(Q), 1, n_q, n_k), bool)
    if "nonpad" in given:
        length = given["nonpad"].reshape(-1, 1, 1, 1)
        visible &= np.arange(n_k) < length
        distance = np.arange(n_k) - np.arange(n_q)[:, None] - (length - n_q)
    if told.get("is_causal"):
        visible &= distance <= 0
    if told.get("left_window_size", -1) >= 0:
        visible &= distance >= -told["left_window_size"]
    if told.get("right_window_size", -1) >= 0:
        visible &= distance <= told["right_window_size"]
    options: dict[str, Any] = {"scale": float(told.get("scale", Q.shape[-1] ** -0.5))}
    if told.get("softcap", 0.0) > 0:
        options["softcap"] = float(told["softcap"])
    if "mask" in given:
        mask = given["mask"]
        missing = n_k - mask.shape[-1] if mask.shape[-1] > 1 else 0
        padding = [(0, 0)] * (mask.ndim - 1) + [(0, missing)]
        if mask.dtype == bool:
            visible = visible & np.pad(mask, padding)
        else:
            bias = np.pad(mask.astype(np.float64), padding, constant_values=-np.inf)
            options["bias"] = np.where(visible, bias, -np.inf)
    options["mask"] = visible
    return Q, K, V, options, expected


#: Cases whose expected output is farther from the truth than half a unit of its type and the fast path's
#: bound together: ONNX's evaluator sums in the type of the inputs, and an enclosure shows it.
ROUNDED = {
    "test_attention_4d_fp16",
    "test_attention_4d_gqa_with_past_and_present_fp16",
    "test_attention_4d_causal_bf16",
    "test_attention_4d_causal_fp16",
    "test_attention_4d_padded_kv_bf16",
    "test_attention_4d_causal_padded_kv_bf16",
    "test_attention_4d_attn_mask_causal_bf16",
    "test_attention_3d_causal_bf16",
    "test_attention_4d_gqa_causal_nonpad_decode_fp16",
    "test_attention_24_qk_matmul_output_mode3_softmax_precision",
}


def test_there_are_93_cases() -> None:
    assert len(CASES) >= 93
    assert CASES.keys() >= ROUNDED


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_stated_and_certified(name: str) -> None:
    Q, K, V, options, expected = stated(CASES[name])
    result = fastpath.attention(Q, K, V, empty_rows="zeros", **options)
    # No enclosure decides 0 <= 0, as of rows that see nothing.
    bound = np.maximum(result.error_bound, 2.0**-1000)
    verdict, _ = attention_verdict(Q, K, V, result.output, bound, empty_rows="zeros", **options)
    assert verdict is Verdict.WITHIN
    given = expected.astype(np.float64)
    half_a_unit = np.abs(given) * float(ml_dtypes.finfo(expected.dtype).eps) / 2
    verdict, _ = attention_verdict(
        Q, K, V, given, bound + half_a_unit, empty_rows="zeros", **options
    )
    assert verdict is (Verdict.OUTSIDE if name in ROUNDED else Verdict.WITHIN)
