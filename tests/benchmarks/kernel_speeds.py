"""What judging kernels takes, as issues state it: one command.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python -m tests.benchmarks.kernel_speeds [FOLDER]

A tolerance over a float32 attention of ours, and what `watch` adds to a forward pass at 64 rows a call: of
encoders with random weights, and of MiniLM where FOLDER is the model of the package that docs/kernels.md
names.  Everything takes turns in one process, on one thread, timed by the processor's time of this process.
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fastpath
from fastpath.integrations.torch import watch
from fastpath.kernels import PRESETS, RoundingModel, tolerance, torch_flash_cpu
from proofs.command.long_heads import read_encoder
from tests.benchmarks.interleaved import clock, medians

ROUNDS = 5
functional = torch.nn.functional


def tolerances(n: int = 4096, d: int = 64) -> dict[str, float]:
    """Return the ratios of tolerances to a float32 attention of the same head."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((n, d)).astype(np.float32) for _ in range(3))
    models = {
        name: make("bfloat16") for name, make in PRESETS.items() if name != "float32_throughout"
    }
    models["float32_throughout"] = PRESETS["float32_throughout"]("float32")
    models["float32, blocks of 64"] = RoundingModel(out="float32", block=64)
    calls: dict[str, Callable[[], Any]] = {
        name: lambda model=model: tolerance(Q, K, V, model, scale=d**-0.5, workers=1)
        for name, model in models.items()
    }
    calls["attention"] = lambda: fastpath.attention(Q, K, V, scale=d**-0.5, workers=1)
    times = medians(calls, ROUNDS)
    return {name: times[name] / times["attention"] for name in models}


class Layer(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A layer of an encoder, of given weights."""

    def __init__(self, weights: dict[str, Any], heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.given = weights

    def _linear(self, x: Any, name: str) -> Any:
        return functional.linear(x, self.given[f"{name}.weight"], self.given[f"{name}.bias"])

    def _normed(self, x: Any, name: str) -> Any:
        weight, bias = (self.given[f"{name}.{part}"] for part in ("weight", "bias"))
        return functional.layer_norm(x, weight.shape, weight, bias, 1e-12)

    def forward(self, x: Any) -> Any:
        """Return what the layer makes of tokens."""
        q, k, v = (
            self._linear(x, f"attention.self.{role}")
            .unflatten(-1, (self.heads, -1))
            .transpose(1, 2)
            for role in ("query", "key", "value")
        )
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self._normed(
            x + self._linear(seen, "attention.output.dense"), "attention.output.LayerNorm"
        )
        inner = functional.gelu(self._linear(x, "intermediate.dense"))
        return self._normed(x + self._linear(inner, "output.dense"), "output.LayerNorm")


def random_weights(heads: int, d: int, seed: int) -> dict[str, Any]:
    """Return the weights of a layer, drawn at random."""
    torch.manual_seed(seed)
    width = heads * d
    shapes = {f"attention.self.{role}": (width, width) for role in ("query", "key", "value")}
    shapes |= {"attention.output.dense": (width, width), "intermediate.dense": (4 * width, width)}
    shapes["output.dense"] = (width, 4 * width)
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.randn(shape) / shape[1] ** 0.5
        weights[f"{name}.bias"] = torch.zeros(shape[0])
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        weights |= {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}
    return weights


def minilm(folder: Path) -> tuple[list[dict[str, Any]], Callable[[int, int], Any]]:
    """Return MiniLM's layers, and what makes token embeddings of so many texts of so many tokens."""
    encoder = read_encoder(folder)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in encoder.weights.items()}
    layers = []
    for index in range(encoder.layers):
        prefix = f"encoder.layer.{index}."
        layers.append(
            {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
        )

    def tokens(texts: int, length: int) -> Any:
        words = tensors["embeddings.word_embeddings.weight"]
        x = torch.stack([words[2000 + 37 * i : 2000 + 37 * i + length] for i in range(texts)])
        x = x + tensors["embeddings.position_embeddings.weight"][:length]
        x = x + tensors["embeddings.token_type_embeddings.weight"][0]
        norm = [tensors[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")]
        return functional.layer_norm(x, norm[0].shape, *norm, encoder.epsilon)

    return layers, tokens


def watched(layers: list[dict[str, Any]], heads: int, x: Any, dtype: Any) -> float:
    """Return what watching adds to a forward pass, as a share of it: the median over pairs of passes."""
    given = [{name: w.to(dtype) for name, w in layer.items()} for layer in layers]
    model = torch.nn.Sequential(*(Layer(layer, heads) for layer in given))
    x, added = x.to(dtype), []
    for _ in range(2 * ROUNDS + 1):
        start = clock()
        model(x)
        middle = clock()
        with watch(model, torch_flash_cpu, rows=64) as seen:
            model(x)
        added.append((clock() - middle) / (middle - start) - 1)
    assert seen.calls == len(layers)
    assert not seen.refuted, str(seen)
    return statistics.median(added[1:])


def main() -> None:
    """Print every figure."""
    torch.set_num_threads(1)
    print("a tolerance over a float32 attention, n = 4096, d = 64, one thread (4):")
    for name, ratio in tolerances().items():
        print(f"    {name:28} {ratio:.2f}", flush=True)
    print("what watch adds at 64 rows a call, one thread (15 %):")
    with torch.no_grad():
        for dtype in (torch.bfloat16, torch.float32):
            if len(sys.argv) > 1:
                layers, tokens = minilm(Path(sys.argv[1]))
                for texts, length in ((1, 128), (1, 512), (8, 128), (8, 512)):
                    added = watched(layers, 12, tokens(texts, length), dtype)
                    what = f"MiniLM, {texts} x {length} tokens, {dtype}"
                    print(f"    {what:52} +{100 * added:.0f} %", flush=True)
            for heads, length in ((8, 1024), (16, 1024), (8, 4096)):
                layers = [random_weights(heads, 64, seed) for seed in range(2)]
                added = watched(layers, heads, torch.randn(1, length, 64 * heads), dtype)
                what = f"{heads} heads of 64, {length} tokens, {dtype}"
                print(f"    {what:52} +{100 * added:.0f} %", flush=True)


if __name__ == "__main__":
    main()
