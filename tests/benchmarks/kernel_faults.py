"""Faults of attention kernels: which rule catches how many, on random inputs and by the suite's own probes.

    python -m tests.benchmarks.kernel_faults [--clean RUNS]

Every fault is planted into one kernel of low weights, in four lengths, with diffuse and with sharp weights.
Beside the usual tolerances stand ours: on the very same input, by the worst case and by chance, and, as
``attest conform --kernel`` judges, on probes of that length too.  ``HELD_OUT`` were written when all else
was done.  A miss is a fault that moves no entry out of what the declared arithmetic may return.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.kernels import FORMATS, RoundingModel, judge_attention, naive_low_precision
from fastpath.kernels.fingerprint import judge_probe
from fastpath.kernels.probes import exact_probes
from tests.fastpath.kernels.simulated import simulate

Array = NDArray[Any]

MODEL = RoundingModel(out="bfloat16", weights="bfloat16", block=64)
FAILURE_PROBABILITY = 1e-9
LENGTHS, SHAPES = (128, 512, 2048, 4096), {"diffuse": 0.5, "sharp": 3.0}
QUERIES, COLUMNS, BLOCK = 64, 64, 64

#: Faults that the probes were made with in sight.
FAULTS = (
    "a scale that is 1 % off",
    "a scale by the wrong dimension",
    "log2(e) in bfloat16",
    "a value row copied",
    "two key rows swapped",
    "the query of the next row",
    "columns of values rolled in a block",
    "a block of values that is stale",
    "a block of values of another head",
    "a dimension of the keys dropped",
    "a dimension of the queries twice",
    "8 keys of padding",
    "the last block skipped by the last row",
    "a key hidden from all",
    "8 keys hidden from a row",
    "a key too many",
    "the diagonal hidden",
    "the exponent in bfloat16",
    "weights truncated",
    "a key lacking in the denominator",
    "a key lacking in the numerator",
    "a key counted twice",
    "a denominator that is not rescaled",
    "a denominator in bfloat16",
    "an accumulator in bfloat16",
    "an output truncated",
    "a reciprocal in bfloat16",
    "every 64th key skipped",
    "weights below 2^-8 flushed",
    "weights in float8",
    "two query rows swapped",
    "an accumulator in float16",
    "a rescaling factor in bfloat16",
    "a numerator that is not rescaled",
    "an epsilon in the denominator",
    "a block read twice",
    "a column of values copied",
    "an exponential by a short table",
    "two parts merged by a wrong logarithm",
)
#: Faults written afterwards.
HELD_OUT = (
    "a value lost where the maximum grows",
    "a tail of keys that is read from the start",
    "values in float8",
    "scores in bfloat16",
    "a score clamped at 6",
    "an odd query that looks at the key before",
    "a window that is left on",
    "a denominator of the row before",
    "a last column that is not written",
    "exp by four terms",
)

#: Some that random inputs of these sizes hide.
HIDDEN = (
    "log2(e) in bfloat16",
    "the exponent in bfloat16",
    "weights truncated",
    "an output truncated",
    "a reciprocal in bfloat16",
    "an accumulator in float16",
    "an epsilon in the denominator",
    "8 keys of padding",
    "weights below 2^-8 flushed",
    "an exponential by a short table",
    "two parts merged by a wrong logarithm",
)


def low(x: Array, name: str = "bfloat16") -> Array:
    """Round to a format."""
    return FORMATS[name].nearest(x).astype(np.float32)


def truncated(x: Array) -> Array:
    """Cut to bfloat16."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def kernel(
    Q: Array, K: Array, V: Array, *, scale: float = 1.0, causal: Any = False, fault: str = ""
) -> Array:
    """Return attention of the model, by online softmax over blocks of keys, with the fault asked for."""
    Q, K, V = (np.array(x, np.float32) for x in (Q, K, V))
    (rows, d), n, rng = Q.shape, len(K), np.random.default_rng(99)
    key, row, block = n // 3, rows // 2, n // BLOCK // 2 * BLOCK
    seen = np.ones((rows, n), bool)
    if causal:
        seen = np.arange(n) <= np.arange(rows)[:, None] + n - rows
    match fault:
        case "a scale that is 1 % off":
            scale *= 1.01
        case "a scale by the wrong dimension":
            scale *= (d / (d + 1)) ** 0.5
        case "log2(e) in bfloat16":
            scale *= 1.4453125 / 1.4426950408889634
        case "a value row copied":
            V[key] = V[key - 1]
        case "two key rows swapped":
            K[[key, key + 1]] = K[[key + 1, key]]
        case "the query of the next row":
            Q[row] = Q[(row + 1) % rows]
        case "two query rows swapped":
            Q[[row, row - 3]] = Q[[row - 3, row]]
        case "columns of values rolled in a block":
            V[:BLOCK] = np.roll(V[:BLOCK], 1, axis=1)
        case "a column of values copied":
            V[:, -1] = V[:, 0]
        case "a block of values that is stale":
            V[BLOCK : 2 * BLOCK] = V[:BLOCK]
        case "a block read twice":
            K[block : block + BLOCK], V[block : block + BLOCK] = K[:BLOCK], V[:BLOCK]
        case "a block of values of another head":
            V[-BLOCK:] = low(rng.standard_normal(V[-BLOCK:].shape))
        case "a dimension of the keys dropped":
            K[:, -1] = 0
        case "a dimension of the queries twice":
            Q[:, 1] = Q[:, 0]
        case "the last block skipped by the last row":
            seen[-1, -BLOCK:] = False
        case "a key hidden from all":
            seen[:, key] = False
        case "every 64th key skipped":
            seen[:, 63::64] = False
        case "8 keys hidden from a row":
            seen[row, key : key + 8] = False
        case "a key too many":
            seen |= np.arange(n) == np.arange(rows)[:, None] + n - rows + 1
        case "a tail of keys that is read from the start":
            K[-8:], V[-8:] = K[:8], V[:8]
        case "values in float8":
            V = low(V, "float8_e4m3fn")
        case "an odd query that looks at the key before":
            K = np.where(np.arange(n)[:, None] == key, np.roll(K, 1, axis=0), K)
        case "a window that is left on":
            seen &= np.arange(n) >= np.arange(rows)[:, None] - n // 2 + n - rows - n // 4
        case "the diagonal hidden":
            seen &= np.arange(n) != np.arange(rows)[:, None] + n - rows
    scores = (Q @ K.T) * np.float32(scale)
    if fault == "scores in bfloat16":
        scores = low(scores)
    if fault == "a score clamped at 6":
        scores = np.minimum(scores, np.float32(6))
    if fault == "8 keys of padding":
        scores = np.concatenate([scores, np.zeros((rows, 8), np.float32)], axis=1)
        V = np.concatenate([V, np.zeros((8, V.shape[1]), np.float32)])
        seen = np.concatenate([seen, np.ones((rows, 8), bool)], axis=1)
    scores = np.where(seen, scores, np.float32(-np.inf))
    if fault == "two parts merged by a wrong logarithm":
        parts = [
            _online(scores[:, part], V[part], key, "")
            for part in (slice(0, n // 2), slice(n // 2, n))
        ]
        first, second = (largest + np.log(total) for _, total, largest in parts)
        share = 1 / (1 + np.exp((second - first) * np.float32(0.99)))
        outputs = [output / total for output, total, _ in parts]
        return low(share * outputs[0] + (1 - share) * outputs[1])
    output, total, _ = _online(scores, V, key, fault)
    if fault == "an epsilon in the denominator":
        total = total + np.float32(1e-2)
    if fault == "a denominator of the row before":
        total[row] = total[row - 1]
    if fault == "a last column that is not written":
        output[row, -1] = 0
    if fault == "an output truncated":
        return truncated(output / total)
    if fault == "a reciprocal in bfloat16":
        return low(output * low(1 / total))
    return low(output / total)


def _online(scores: Array, V: Array, key: int, fault: str) -> tuple[Array, Array, Array]:
    """Return numerator, denominator and maximum."""
    rows = len(scores)
    largest = np.full((rows, 1), -np.inf, np.float32)
    total, output = np.zeros((rows, 1), np.float32), np.zeros((rows, V.shape[1]), np.float32)
    for first in range(0, scores.shape[1], BLOCK):
        tile, values = scores[:, first : first + BLOCK], V[first : first + BLOCK]
        larger = np.maximum(largest, tile.max(axis=1, keepdims=True))
        finite = np.where(np.isfinite(larger), larger, 0)
        with np.errstate(invalid="ignore"):
            rescale = np.where(np.isfinite(largest), np.exp(largest - finite), 0)
        rescale = rescale.astype(np.float32)
        exponent = tile - finite
        if fault == "the exponent in bfloat16":
            exponent = low(exponent)
        weights = np.exp(exponent).astype(np.float32)
        if fault == "an exponential by a short table":
            weights = np.exp2(np.round(exponent * np.float32(1.4426950408889634) * 64) / 64)
            weights = weights.astype(np.float32)
        if fault == "exp by four terms":
            whole = np.floor(exponent * np.float32(1.4426950408889634))
            rest = exponent - np.where(np.isfinite(whole), whole, 0) * np.float32(np.log(2))
            rest = np.where(np.isfinite(rest), rest, 0)
            series = 1 + rest * (1 + rest / 2 * (1 + rest / 3 * (1 + rest / 4)))
            weights = (np.exp2(whole) * series).astype(np.float32)
        rounded, counted = low(weights), weights.copy()
        if fault == "a value lost where the maximum grows":
            rounded[:, 0] = np.where((larger > largest)[:, 0] & (first > 0), 0, rounded[:, 0])
        if fault == "weights truncated":
            rounded = truncated(weights)
        if fault == "weights in float8":
            rounded = low(weights, "float8_e4m3fn")
        if fault == "weights below 2^-8 flushed":
            rounded = np.where(weights < 2.0**-8, np.float32(0), rounded)
        if first <= key < first + BLOCK:
            if fault == "a key lacking in the denominator":
                counted[:, key - first] = 0
            if fault == "a key lacking in the numerator":
                rounded[:, key - first] = 0
            if fault == "a key counted twice":
                rounded[:, key - first] *= 2
                counted[:, key - first] *= 2
        if fault == "a rescaling factor in bfloat16":
            rescale = low(rescale)
        once = first == BLOCK
        kept = np.ones_like(rescale) if once and fault.endswith("is not rescaled") else rescale
        in_total = kept if fault.startswith("a denominator") else rescale
        in_output = kept if fault.startswith("a numerator") else rescale
        total = total * in_total + counted.sum(axis=1, keepdims=True)
        output = output * in_output + rounded @ values
        if fault == "a denominator in bfloat16":
            total = low(total)
        if fault == "an accumulator in bfloat16":
            output = low(output)
        if fault == "an accumulator in float16":
            output = low(output, "float16")
        largest = larger
    return output, total, largest


#: What stands in the table: the rules of others, and ours.
RULES = ("atol 1e-2", "assert_close", "FlashAttention", "worst case", "by chance", "conform")


def random_input(keys: int, size: float, seed: int) -> tuple[Array, Array, Array]:
    """Return queries of a size, keys and values."""
    rng = np.random.default_rng(seed)
    shapes = ((size, QUERIES), (1.0, keys), (1.0, keys))
    Q, K, V = (low(s * rng.standard_normal((rows, COLUMNS))) for s, rows in shapes)
    return Q, K, V


def caught(run: Callable[..., Array], keys: int, size: float, seed: int, causal: Any) -> list[bool]:
    """Return which rules catch a kernel on a random input of a length, and by the probes of that length."""
    Q, K, V = random_input(keys, size, seed)
    options = {"scale": COLUMNS**-0.5, **({"causal": causal} if causal else {})}
    output = run(Q, K, V, **options)
    judged = judge_attention(output, Q, K, V, MODEL, **options)
    exact = judged.tolerance.centre
    error, size_of = np.abs(output - exact), np.abs(exact)
    near = np.abs(output - FORMATS["bfloat16"].nearest(exact))
    naive = simulate(Q, K, V, naive_low_precision(), **options)
    chance = judged.refuted or (
        judge_attention(output, Q, K, V, MODEL, FAILURE_PROBABILITY, **options).refuted
    )
    return [
        bool((error > 1e-2 + 1.6e-2 * size_of).any()),
        bool((near > 1e-5 + 1.6e-2 * size_of).any()),
        bool(error.max() > 2 * np.abs(naive - exact).max() + 1e-5),
        judged.refuted,
        chance,
        chance or probed(run, keys),
    ]


def probed(run: Callable[..., Array], keys: int) -> bool:
    """Return whether a probe of a length refutes the model of a kernel: of the shape that conform has."""
    return any(
        judge_probe(run(probe.Q, probe.K, probe.V, **probe.options), probe, MODEL).refuted
        for probe in exact_probes("bfloat16", 16, keys, COLUMNS, 16)
    )


def main() -> None:
    """Print a line a fault, the shares, and how often clean kernels alarm."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--clean", type=int, default=0, help="clean runs")
    parser.add_argument("--seed", type=int, default=20)
    given = parser.parse_args()
    for title, faults in (("in sight", FAULTS), ("held out", HELD_OUT)):
        found = []
        for number, fault in enumerate(faults):
            causal = "lower-right" if fault in ("a key too many", "the diagonal hidden") else False
            run = partial(kernel, fault=fault)
            rows = [
                caught(run, keys, size, given.seed + 100 * number + keys, causal)
                for size in SHAPES.values()
                for keys in LENGTHS
            ]
            found += rows
            marks = (
                "".join("x" if row[rule] else "." for row in rows) for rule in range(len(RULES))
            )
            print(f"{fault:42s}", " ".join(marks), flush=True)
        shares = np.mean(found, axis=0)
        line = ", ".join(f"{name} {share:.2f}" for name, share in zip(RULES, shares, strict=True))
        print(f"{title}: {line}; {len(found)} runs of {len(faults)} kinds", flush=True)
    alarms = 0
    rng = np.random.default_rng(given.seed)
    for _ in range(given.clean):
        keys = int(rng.choice([16, 64, 100, 300]))
        Q, K, V = random_input(keys, float(rng.choice([0.5, 3.0])), int(rng.integers(2**31)))
        Q, options = Q[:8], {"scale": COLUMNS**-0.5}
        output = kernel(Q, K, V, **options)
        alarms += judge_attention(output, Q, K, V, MODEL, FAILURE_PROBABILITY, **options).refuted
    alarms += sum(probed(kernel, keys) for keys in LENGTHS)
    print(
        f"alarms: {alarms} of {given.clean} clean runs and of the probes of {len(LENGTHS)} lengths"
    )


if __name__ == "__main__":
    main()
