"""Exact attention with options on the heads that ship: every combination and narrow types, enclosed."""

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastpath
from proofs.judging.heads import Head, shipped_heads
from reference import Verdict, attention_verdict
from reference.visibility import visible

HEADS = {head.name: head for head in shipped_heads(largest=512)}
SMALLEST = ("minilm_L2H11_n64", "smollm2_L12H4_n64")

#: What an option may be; the first of each is to leave it out.
VALUES: dict[str, tuple[Any, ...]] = {
    "type": (np.float32, np.float64, np.float16, ml_dtypes.bfloat16),
    "causal": (False, "upper-left", "lower-right"),
    "window": (None, (9, None), (30, 5)),
    "mask": (False, True),
    "bias": (False, True),
    "softcap": (None, 5.0),
    "sinks": (False, True),
    "scale": (1.0, 0.3),
    "groups": (1, 2),
}


def covering(strength: int) -> Iterator[dict[str, Any]]:
    """Yield combinations of which any so many options have any of their values together in one."""
    rng = np.random.default_rng(14)

    def parts(row: tuple[int, ...]) -> set[Any]:
        return set(combinations(enumerate(row), strength))

    sizes = [len(values) for values in VALUES.values()]
    missing = set().union(*map(parts, product(*map(range, sizes))))
    while missing:
        drawn = [tuple(int(rng.integers(size)) for size in sizes) for _ in range(64)]
        row = max(drawn, key=lambda r: len(missing & parts(r)))
        if missing & parts(row):
            missing -= parts(row)
            yield _named(row)


def _named(row: tuple[int, ...]) -> dict[str, Any]:
    return {name: values[index] for (name, values), index in zip(VALUES.items(), row, strict=True)}


def stated(head: Head, asked: dict[str, Any], rng: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return the head's arrays and options as asked for: in two groups, the second half of its queries
    is a query head of its own.
    """
    groups = asked["groups"]
    Q, K, V = (x.astype(asked["type"]) for x in (head.Q, head.K, head.V))
    if groups > 1:
        Q, K, V = Q.reshape(groups, -1, Q.shape[1]), K[None], V[None]
    options = {
        name: asked[name]
        for name in ("causal", "window", "softcap", "scale")
        if asked[name] != VALUES[name][0]
    }
    shape = (*Q.shape[:-1], K.shape[-2])
    if asked["mask"]:
        options["mask"] = rng.random(shape[-2:]) < 0.7
    if asked["bias"]:
        bias = rng.standard_normal(shape)
        bias[rng.random(shape) < 0.1] = -np.inf
        options["bias"] = bias
    if asked["sinks"]:
        options["sinks"] = 3 * rng.standard_normal(groups) if groups > 1 else 1.5
    return Q, K, V, options


def of_rows(rows: Any, Q: Any, K: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return these queries and what the definition makes of the options for them alone."""
    n_q, n_k = Q.shape[-2], K.shape[-2]
    looked_at = {name: options[name] for name in ("causal", "window", "mask") if name in options}
    rest = {name: x for name, x in options.items() if name not in looked_at}
    if "bias" in rest:
        rest["bias"] = rest["bias"][..., rows, :]
    seen = np.broadcast_to(visible(n_q, n_k, **looked_at), (n_q, n_k))
    return Q[..., rows, :], {**rest, "mask": seen[rows]}


def judged(head: Head, asked: dict[str, Any], count: int) -> None:
    """Decide that the answer to some queries, the first and the last among them, is within its bound."""
    rng = np.random.default_rng(5)
    Q, K, V, options = stated(head, asked, rng)
    found = fastpath.attention(Q, K, V, empty_rows="zeros", **options)
    rows = np.unique([0, Q.shape[-2] - 1, *rng.integers(Q.shape[-2], size=count - 2)])
    queries, same = of_rows(rows, Q, K, options)
    output = found.output[..., rows, :]
    # No enclosure decides 0 <= 0, as of rows that see nothing.
    bound = np.maximum(found.error_bound[..., rows, :], 2.0**-1000)
    verdict, _ = attention_verdict(queries, K, V, output, bound, empty_rows="zeros", **same)
    assert verdict is Verdict.WITHIN, asked


@pytest.mark.parametrize("name", SMALLEST)
def test_any_two_options_are_within_the_certificate_of_a_small_head(name: str) -> None:
    for asked in covering(2):
        judged(HEADS[name], asked, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_any_two_options_are_within_the_certificate_of_every_head(name: str) -> None:
    for asked in covering(2):
        judged(HEADS[name], asked, 6)


@pytest.mark.nightly
@pytest.mark.parametrize("given", range(len(VALUES["type"])))
@pytest.mark.parametrize("name", SMALLEST)
def test_every_combination_of_options_is_within_the_certificate(name: str, given: int) -> None:
    for row in product([given], *(range(len(values)) for values in list(VALUES.values())[1:])):
        judged(HEADS[name], _named(row), 2)
