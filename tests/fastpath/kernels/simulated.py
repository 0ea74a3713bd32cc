"""Kernels of declared arithmetics, simulated in float32 with every rounding that a model names."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.semantics import semantics
from fastpath.kernels import FORMATS, RoundingModel

Array = NDArray[Any]

#: How sums over keys may be made.
ORDERS = ("forwards", "backwards", "shuffled", "pairwise")


def rounded(x: Array, name: str | None) -> Array:
    """Round to a format and return float32; what overflows is infinite."""
    if name is None:
        return x
    return FORMATS[name].nearest(x).astype(np.float32)


def summed(x: Array, order: str, rng: np.random.Generator) -> Array:
    """Sum over the last axis in float32."""
    if order == "pairwise":
        return np.add.reduce(np.ascontiguousarray(x), axis=-1)
    if order == "shuffled":
        x = x[..., rng.permutation(x.shape[-1])]
    elif order == "backwards":
        x = x[..., ::-1]
    return np.cumsum(x, axis=-1, dtype=np.float32)[..., -1]


def product(a: Array, b: Array, order: str, rng: np.random.Generator) -> Array:
    """Multiply matrices in float32, the sums in some order."""
    if order == "pairwise":
        return a @ b
    keys = range(a.shape[1])
    steps = {"forwards": keys, "backwards": reversed(keys), "shuffled": rng.permutation(a.shape[1])}
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for j in steps[order]:
        total = total + a[:, j, None] * b[j]
    return total


def simulate(
    Q: Array,
    K: Array,
    V: Array,
    model: RoundingModel,
    *,
    order: str = "pairwise",
    rng: np.random.Generator | None = None,
    rounds_exp: bool = False,
    **options: Any,
) -> Array:
    """Return what a kernel of a model returns: matrices, any options of attention.

    ``rounds_exp``: exponentials are off by what the model allows, at random.
    """
    rng = rng or np.random.default_rng(0)
    seen = semantics((), len(Q), len(K), **options)
    q, k, v = (np.asarray(x, np.float32) for x in (Q, K, V))
    v = rounded(v, model.values)
    scale = np.float32(seen.scale)
    if model.inputs is None:
        scores = rounded(product(q, k.T, order, rng), model.logits)
        if seen.scale != 1:
            scores = rounded(scores * scale, model.logits)
    else:
        root = np.sqrt(np.abs(scale))
        q, k = rounded(q * root, model.inputs), rounded(k * root * np.sign(scale), model.inputs)
        scores = rounded(product(q, k.T, order, rng), model.logits)
    if seen.softcap is not None:
        cap = np.float32(seen.softcap)
        ratio = rounded(np.tanh(rounded(scores / cap, model.logits)), model.logits)
        scores = rounded(cap * ratio, model.logits)
    if seen.bias is not None:
        scores = rounded(scores + rounded(seen.bias.astype(np.float32), model.logits), model.logits)
    hidden = np.zeros(scores.shape, bool) if seen.mask is None else ~seen.mask
    ranges = seen.ranges(np.arange(len(Q)))
    if ranges is not None:
        key = np.arange(len(K))
        hidden = hidden | (key < ranges[0][:, None]) | (key >= ranges[1][:, None])
    scores = np.where(hidden, np.float32(-np.inf), scores)
    if seen.sinks is not None:
        sink = rounded(np.float32(seen.sinks).reshape(()), model.logits)
        scores = np.concatenate([scores, np.full((len(q), 1), sink, np.float32)], axis=1)
        v = np.concatenate([v, np.zeros((1, v.shape[1]), np.float32)])

    def exponential(x: Array) -> Array:
        with np.errstate(invalid="ignore"):
            x = rounded(x, model.exponentials)
            weights = np.exp(np.where(np.isnan(x), -np.inf, x)).astype(np.float32)
            if rounds_exp:
                most = model.exp_error * 2.0**-24 - 2.0**-21
                off = 1 + max(most, 0.0) * rng.choice([-1.0, 1.0], weights.shape)
                weights = (weights.astype(np.float64) * off).astype(np.float32)
        return rounded(weights, model.exponentials)

    def part(s: Array, values: Array) -> tuple[Array, Array, Array]:
        """Return numerator, denominator and maximum over some keys."""
        count = s.shape[1]
        if model.denominator == "normalised":
            largest = s.max(axis=1, keepdims=True)
            weights = exponential(s - np.where(np.isfinite(largest), largest, 0))
            total = np.zeros((len(s), 1), np.float32)
            size = model.block or count
            for first in range(0, count, size):
                some = summed(weights[:, first : first + size], order, rng)[:, None]
                total = total + some
            total = rounded(total, model.exponentials)
            weights = rounded(weights / np.where(total > 0, total, 1), model.weights)
            output = np.zeros((len(s), values.shape[1]), np.float32)
            for first in range(0, count, size):
                rows = slice(first, first + size)
                output = output + product(weights[:, rows], values[rows], order, rng)
            return output, np.ones_like(total), largest
        size = model.block or count
        blocks = list(range(0, count, size))
        if order == "backwards":
            blocks = blocks[::-1]
        largest = np.full((len(s), 1), -np.inf, np.float32)
        total = np.zeros((len(s), 1), np.float32)
        output = np.zeros((len(s), values.shape[1]), np.float32)
        for first in blocks:
            tile = s[:, first : first + size]
            larger = np.maximum(largest, tile.max(axis=1, keepdims=True))
            finite = np.where(np.isfinite(larger), larger, 0).astype(np.float32)
            with np.errstate(invalid="ignore"):
                rescale = np.where(np.isfinite(largest), exponential(largest - finite), 0)
            weights = exponential(tile - finite)
            low = rounded(weights, model.weights)
            counted = low if model.denominator == "rounded" else weights
            total = total * rescale.astype(np.float32) + summed(counted, order, rng)[:, None]
            more = product(low, values[first : first + size], order, rng)
            output = output * rescale.astype(np.float32) + more
            largest = larger
        return output, total, largest

    if model.splits == 1:
        numerator, denominator, _ = part(scores, v)
        with np.errstate(invalid="ignore", divide="ignore"):
            pre = np.where(denominator > 0, numerator / denominator, 0)
        return rounded(pre.astype(np.float32), model.out)
    cuts = np.linspace(0, scores.shape[1], model.splits + 1).astype(int)
    outputs, logarithms = [], []
    for first, stop in pairwise(cuts):
        if first == stop:
            continue
        numerator, denominator, largest = part(scores[:, first:stop], v[first:stop])
        some = np.where(denominator > 0, denominator, 1)
        outputs.append(rounded(numerator / some, model.partials))
        with np.errstate(invalid="ignore"):
            found = np.where(denominator > 0, largest + np.log(some), -np.inf)
        logarithms.append(found.astype(np.float32))
    together = np.stack(logarithms)
    largest = together.max(axis=0)
    with np.errstate(invalid="ignore"):
        shares = np.exp(together - np.where(np.isfinite(largest), largest, 0)).astype(np.float32)
    numerator = np.zeros_like(outputs[0])
    denominator = np.zeros_like(largest)
    for share, output in zip(shares, outputs, strict=True):
        numerator, denominator = numerator + share * output, denominator + share
    with np.errstate(invalid="ignore", divide="ignore"):
        pre = np.where(denominator > 0, numerator / denominator, 0)
    return rounded(pre.astype(np.float32), model.out)


def family(out: str) -> dict[str, RoundingModel]:
    """Return the models that are simulated, by what they are called."""
    low = None if out == "float32" else out
    models = {
        "float32 weights, blocks": RoundingModel(out=out, block=64),
        "float32 weights, any order": RoundingModel(out=out),
    }
    if low is None:
        return models | {
            "tf32 inputs": RoundingModel(out=out, inputs="tf32", block=64),
            "tf32 all": RoundingModel(
                out=out, inputs="tf32", weights="tf32", values="tf32", block=64
            ),
            "split": RoundingModel(out=out, block=64, splits=4),
        }
    return models | {
        "low weights": RoundingModel(out=out, weights=low, block=64),
        "low weights, slow exp": RoundingModel(out=out, weights=low, block=64, exp_error=2048),
        "low weights, their sum": RoundingModel(
            out=out, weights=low, denominator="rounded", block=64
        ),
        "low normalised weights": RoundingModel(out=out, weights=low, denominator="normalised"),
        "low logits": RoundingModel(out=out, weights=low, denominator="normalised", logits=low),
        "low inputs and logits": RoundingModel(
            out=out, weights=low, denominator="normalised", logits=low, inputs=low
        ),
        "all low": RoundingModel(
            out=out,
            weights=low,
            denominator="normalised",
            logits=low,
            inputs=low,
            exponentials=low,
        ),
        "split, low parts": RoundingModel(out=out, weights=low, block=64, splits=4, partials=low),
        "float8 weights": RoundingModel(out=out, weights="float8_e4m3fn", block=64),
        "float8": RoundingModel(
            out=out,
            weights="float8_e4m3fn",
            values="float8_e4m3fn",
            inputs="float8_e4m3fn",
            block=64,
        ),
        "float8_e5m2 weights": RoundingModel(out=out, weights="float8_e5m2", block=64),
    }
