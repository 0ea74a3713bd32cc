"""Fingerprints: which arithmetics a kernel is not of, and what else is wrong with it."""

from typing import Any

import numpy as np
import pytest

from fastpath.kernels import FORMATS, PRESETS, RoundingModel, fingerprint, run_kernel
from tests.fastpath.kernels.simulated import simulate
from tests.fastpath.kernels.test_tolerance import head


def _kernel(model: RoundingModel) -> Any:
    return lambda Q, K, V, **options: simulate(Q, K, V, model, **options)


@pytest.mark.parametrize(
    ("name", "strongest"),
    [
        ("float32_throughout", "float32_throughout"),
        ("flash_attention_2", "flash_attention_2"),
        ("naive_low_precision", "naive_low_precision"),
    ],
)
@pytest.mark.parametrize("out", ["bfloat16", "float16"])
def test_a_kernel_is_not_of_any_stronger_model_than_its_own(
    name: str, strongest: str, out: str
) -> None:
    found = fingerprint(_kernel(PRESETS[name](out)), out)
    assert found.strongest == strongest, str(found)
    assert found.findings == ()
    for stronger in list(PRESETS)[: list(PRESETS).index(strongest)]:
        refuted = found.refuted[stronger]
        assert refuted is not None
        assert refuted[1].excess > 1


def test_an_exponential_that_is_off_is_read_through_a_low_output() -> None:
    def kernel(Q: Any, K: Any, V: Any, *, scale: float = 1.0, causal: bool | str = False) -> Any:
        scores = (Q @ K.T) * np.float32(scale)
        if causal:
            scores[~np.tri(*scores.shape, len(K) - len(Q), dtype=bool)] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights = np.where(weights < 1, weights * np.float32(1 + 1.1e-4), weights)
        low = FORMATS["bfloat16"].nearest(weights).astype(np.float32)
        output = (low @ V) / weights.sum(axis=1, keepdims=True)
        return FORMATS["bfloat16"].nearest(output)

    found = fingerprint(kernel, "bfloat16")
    assert found.refuted["flash_attention_2"] is not None
    assert found.refuted["flash_attention_2"][0].startswith("weights of")
    assert found.refuted["torch_flash_cpu"] is None


def test_what_is_wrong_whatever_the_arithmetic_is_a_sentence_and_the_run_goes_on() -> None:
    Q, K, V = head("float32", 0)
    calls = []

    def raises(Q: Any, K: Any, V: Any, **options: Any) -> Any:
        raise RuntimeError("no kernel image\nis available")

    def changes(Q: Any, K: Any, V: Any, **options: Any) -> Any:
        K *= 2
        return V[: len(Q)]

    def wavers(Q: Any, K: Any, V: Any, **options: Any) -> Any:
        calls.append(1)
        return np.full((len(Q), V.shape[1]), float(len(calls)))

    def said(kernel: Any) -> str:
        return " ".join(run_kernel(kernel, Q, K, V).findings)

    assert said(raises) == "The kernel raises RuntimeError: no kernel image."
    assert said(lambda Q, K, V: V.T) == (
        "The kernel returns shape (8, 150) where the output has shape (12, 8)."
    )
    assert said(lambda Q, K, V: None).startswith("The kernel returns no array of floats")
    assert said(changes) == "The kernel changes K, which is its caller's."
    assert said(wavers) == (
        "The kernel is not deterministic: output[0, 0] is 1.0, then 2.0, of the same input."
    )
    found = fingerprint(raises)
    assert len(found.findings) > 5
    assert found.findings[0].endswith("The kernel raises RuntimeError: no kernel image.")
    broken = fingerprint(lambda Q, K, V, **o: np.full((len(Q), V.shape[1]), np.nan))
    assert broken.strongest is None


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(TypeError, match="kernel must be callable, got 3"):
        fingerprint(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"out must be one of float64, .*, got 'half'"):
        fingerprint(lambda Q, K, V: V, "half")
    with pytest.raises(TypeError, match="models must map names to RoundingModels, got 'x' for 'y'"):
        fingerprint(lambda Q, K, V: V, models={"y": "x"})  # type: ignore[dict-item]
