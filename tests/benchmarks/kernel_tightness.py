"""How far tolerances of kernels lie above what kernels err: the largest bound over the largest error.

    python -m tests.benchmarks.kernel_tightness

Forwards on the heads that ship and two random ones, float32 in blocks of 64; backwards torch's flash
attention on a CPU in bfloat16, given the blocks of queries that it has and the shortest.
"""

from pathlib import Path
from typing import Any

import numpy as np

from fastpath.kernels import (
    FORMATS,
    RoundingModel,
    judge_attention_backward,
    tolerance,
    torch_flash_cpu,
)
from tests.fastpath.kernels.simulated import simulate

HEADS = Path(__file__).parents[2] / "proofs" / "data" / "qkv.npz"


def forwards() -> None:
    """Print a line a head, and the median."""
    stored, rng = np.load(HEADS), np.random.default_rng(3)
    heads = {
        name: [stored[f"{name}/{x}"].astype(np.float32) for x in "QKV"]
        for name in sorted({key.split("/")[0] for key in stored})
    }
    for name, size in (("diffuse", 0.5), ("sharp", 3.0)):
        shapes = ((32, size), (2048, 1.0), (2048, 1.0))
        heads[name] = [(s * rng.standard_normal((n, 64))).astype(np.float32) for n, s in shapes]
    model, found = RoundingModel(out="float32", block=64), []
    for name, (Q, K, V) in heads.items():
        rows = Q[-64:] if len(Q) > 128 else Q
        options: dict[str, Any] = {"scale": Q.shape[1] ** -0.5}
        if "smollm" in name:
            options["causal"] = "lower-right"
        output = simulate(rows, K, V, model, order="forwards", rng=rng, **options)
        allowed = tolerance(rows, K, V, model, **options)
        found.append(allowed.bound.max() / np.abs(output - allowed.centre).max())
        print(f"{name:24s} {found[-1]:.1f}")
    print(f"float32, blocks of 64: median {np.median(found):.1f} of {len(found)} heads")


def backwards() -> None:
    """Print the medians for each gradient, and how many entries refute the model."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    torch.set_num_threads(1)
    stored, rng, low = np.load(HEADS), np.random.default_rng(2), FORMATS["bfloat16"].nearest
    names = ("minilm_L2H2_n256", "smollm2_L12H4_n256", "minilm_L4H2_n512")
    heads = [[low(stored[f"{name}/{x}"]) for x in "QKV"] for name in names]
    for size, n in ((0.5, 512), (3.0, 512), (0.5, 2048)):
        shapes = ((n, size), (256, 1.0), (256, 1.0))
        heads.append([low(s * rng.standard_normal((rows, 64))) for rows, s in shapes])
    for declared in ("the blocks that torch has", "blocks of 32"):
        ratios: dict[str, list[float]] = {"dQ": [], "dK": [], "dV": []}
        violations = 0
        for Q, K, V in heads:
            dO = low(np.random.default_rng(9).standard_normal((len(Q), V.shape[1])))
            q, k, v = (torch.tensor(x).bfloat16()[None, None].requires_grad_() for x in (Q, K, V))
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                output = torch.nn.functional.scaled_dot_product_attention(q, k, v)
            output.backward(torch.tensor(dO).bfloat16()[None, None])
            gradients = [x.grad[0, 0].float().numpy() for x in (q, k, v)]  # type: ignore[union-attr]
            own = output[0, 0].detach().float().numpy()
            model = torch_flash_cpu(queries=len(Q) if declared.startswith("the") else None)
            judged = judge_attention_backward(
                gradients, own, dO, Q, K, V, model, scale=Q.shape[1] ** -0.5
            )
            for (name, judgement), gradient in zip(judged.items(), gradients, strict=True):
                allowed = judgement.tolerance
                ends = np.maximum(allowed.upper - allowed.centre, allowed.centre - allowed.lower)
                ratios[name].append(float(ends.max() / np.abs(gradient - allowed.centre).max()))
                violations += judgement.violations
        medians = ", ".join(f"{name} {np.median(found):.1f}" for name, found in ratios.items())
        print(f"flash backward in bfloat16, {declared}: {medians}; {violations} violations")


if __name__ == "__main__":
    forwards()
    backwards()
