"""Quantised caches against their peers: what certificates cost, and how many answers each of them covers.

``make bench`` runs these with one BLAS thread; they report and assert nothing about time.  WitCert's two
closed tiers (arXiv 2607.28699) are stated again here as they were reported to us, unread: with c a
bound on what each logit is off by and p the weights on what is read, the total variation is at most
((sum p e^c)^2 - 1)/2, and at most tanh(max c); an output moves by that times the spread of the values.
"""

from typing import Any

import numpy as np
import pytest

import fastpath
from proofs.judging.heads import shipped_heads
from tests.benchmarks.interleaved import medians

ROUNDS = 5

#: (n, d) of the cost, and how many queries come at once.
KEYS, COLUMNS, QUERIES = 65536, 32, 1024

FORMATS: dict[str, dict[str, Any]] = {
    "int8": {"key_bits": 8, "value_bits": 8},
    "fp8": {"key_bits": "fp8", "value_bits": "fp8"},
    "int4 values": {"key_bits": 8, "value_bits": 4},
    "int4": {"key_bits": 4, "value_bits": 4},
    "bfloat16": {"key_bits": "bfloat16", "value_bits": "bfloat16"},
}


def witcert_e_form(weights: Any, radii: Any) -> float:
    """Return half of (E e^c)^2 - 1."""
    with np.errstate(over="ignore"):
        return float(((weights @ np.exp(radii)) ** 2 - 1) / 2)


def witcert_tanh(radii: Any) -> float:
    """Return tanh of the largest radius."""
    return float(np.tanh(radii.max()))


def test_cost_of_a_certificate(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (
        rng.standard_normal(s).astype(np.float32)
        for s in ((QUERIES, COLUMNS), (KEYS, COLUMNS), (KEYS, COLUMNS))
    )
    cache = fastpath.QuantisedCache(K, V)
    times = medians(
        {
            "certified": lambda: cache.attention(Q),
            "read and attended to": lambda: fastpath.attention(Q, *cache.read()),
            "float32": lambda: fastpath.attention(Q, K, V),
        },
        ROUNDS,
    )
    plain = times["read and attended to"]
    benchmark.extra_info["certificate / attention on what is read"] = times["certified"] / plain
    benchmark.extra_info["int8 / float32"] = plain / times["float32"]
    benchmark.extra_info["certified / float32"] = times["certified"] / times["float32"]
    benchmark.extra_info["memory / float32"] = cache.nbytes / (K.nbytes + V.nbytes)
    few = Q[:4]
    ratio = cache.attention(few).error_bound.max(axis=1) / cache.attention(
        few, bound="hull"
    ).error_bound.max(axis=1)
    benchmark.extra_info["bound / hull"] = float(np.median(ratio))
    print(f"\n{benchmark.extra_info}")
    benchmark(cache.attention, few)


def covered(name: str, form: dict[str, Any], queries: int) -> dict[str, Any]:
    """Return what each certificate says of some queries of every shipped head, relative to max |V|."""
    found: dict[str, list[float]] = {}
    rng = np.random.default_rng(0)
    for head in shipped_heads():
        if len(head.K) <= 64:
            continue
        rows = rng.choice(len(head.Q), queries, replace=False)
        Q, largest = head.Q[rows], np.abs(head.V).max()
        cache = fastpath.QuantisedCache(head.K, head.V, **form)
        read, values = (x.astype(float) for x in cache.read())
        radius, error = cache.radii()
        spread = (np.ptp(values, axis=0)).max()
        ours = {
            "TV relaxed": cache.variation(Q),
            "augmented": cache.attention(Q).error_bound.max(axis=1) / largest,
            "hull": cache.attention(Q, bound="hull").error_bound.max(axis=1) / largest,
        }
        for key, values_ in ours.items():
            found.setdefault(key, []).extend(values_.tolist())
        for query in Q.astype(float):
            logits = read @ query
            weights = np.exp(logits - logits.max())
            weights /= weights.sum()
            radii = np.linalg.norm(query) * radius.astype(float)
            average = float(weights @ np.exp(np.minimum(radii, 300)))
            closed = 1 - 1 / average if average <= 2 else average**2 / (average**2 + 4)
            for key, variation in (
                ("closed", closed),
                ("WitCert's e-form", witcert_e_form(weights, radii)),
                ("WitCert's tanh", witcert_tanh(radii)),
                ("S.tv", float(np.tanh(radii.max() / 2))),
            ):
                found.setdefault(f"TV {key}", []).append(variation)
                output = (min(variation, 1) * spread + error.max()) / largest
                found.setdefault(f"output by {key}", []).append(output)
    return {key: np.array(x) for key, x in found.items()}


@pytest.mark.parametrize("form", FORMATS)
def test_coverage_on_real_heads(benchmark: Any, form: str) -> None:
    found = covered(form, FORMATS[form], 60)
    print(f"\n{form}, {len(found['hull'])} queries: percent covered")
    for key, values in found.items():
        limits = (0.2,) if key.startswith("TV") else (0.05, 0.01)
        shares = ", ".join(f"{100 * np.mean(values <= limit):.0f} at {limit}" for limit in limits)
        benchmark.extra_info[key] = shares
        print(f"  {key}: {shares}")
    benchmark(lambda: None)
