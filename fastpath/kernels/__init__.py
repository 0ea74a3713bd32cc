"""The tolerance of attention kernels: what a declared arithmetic may return."""

from fastpath.kernels.backward import assert_attention_backward, judge_attention_backward
from fastpath.kernels.fingerprint import Fingerprint, Run, fingerprint, run_kernel
from fastpath.kernels.formats import FORMATS, Format
from fastpath.kernels.judge import Judgement, Violation, assert_attention, judge_attention
from fastpath.kernels.model import (
    PRESETS,
    RoundingModel,
    flash_attention_2,
    float32_throughout,
    naive_low_precision,
    onnx_function,
    torch_flash_cpu,
    torch_sdpa_math,
)
from fastpath.kernels.tolerance import Tolerance, tolerance

__all__ = [
    "FORMATS",
    "PRESETS",
    "Fingerprint",
    "Format",
    "Judgement",
    "RoundingModel",
    "Run",
    "Tolerance",
    "Violation",
    "assert_attention",
    "assert_attention_backward",
    "fingerprint",
    "flash_attention_2",
    "float32_throughout",
    "judge_attention",
    "judge_attention_backward",
    "naive_low_precision",
    "onnx_function",
    "run_kernel",
    "tolerance",
    "torch_flash_cpu",
    "torch_sdpa_math",
]
