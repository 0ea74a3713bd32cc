"""What a few rows say about a head: which keys matter, and how many of them serve all rows."""

from typing import Any

import numpy as np
import pytest

from fastpath import attention
from fastpath.core.head import Head
from fastpath.real_heads import probe
from fastpath.real_heads.own_blocks import block_size
from fastpath.real_heads.probe import Probe

N = 256


def head(causal: bool = False) -> Head:
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, N, 4))
    return Head.of(Q, K, V, causal=causal)


def probed(given: Head, allowed: float) -> Probe:
    return Probe.of(given, allowed, np.random.default_rng(1))


@pytest.mark.parametrize("causal", [False, True])
def test_the_share_sampled_is_that_of_the_definition(causal: bool) -> None:
    given, allowed = head(causal), 0.05
    deviations = []
    for row in np.random.default_rng(1).integers(0, N, probe.ROWS):
        seen = row + 1 if causal else N
        past = row // block_size(N) * block_size(N) if causal else N
        weights = np.exp(given.keys[:seen] @ given.queries[row])
        shares = weights / weights.sum()
        off = given.values[:seen] - shares @ given.values[:seen]
        variance = ((shares[:, None] * off)[:past] ** 2).sum(axis=0)
        deviations.append(np.sqrt(N * variance.max()))
    third = sorted(deviations)[-probe.COUNTS]
    expected = (probe.DEVIATIONS * third / allowed) ** 2 / N
    assert probed(given, allowed).sampled == pytest.approx(expected)


def test_a_mean_over_so_many_sampled_keys_errs_by_so_many_deviations() -> None:
    given, allowed = head(), 0.1
    count, exact = (
        N * probed(given, allowed).sampled,
        attention(given.queries, given.keys, given.values),
    )
    errors = []
    for seed in range(12):
        some = np.random.default_rng(seed).integers(0, N, int(count))
        found = attention(given.queries, given.keys[some], given.values[some]).output
        errors.append(np.abs(found - exact.output).max(axis=1))
    # Two deviations of a row in ten, among others that err less.
    outside = np.mean(np.array(errors) > allowed)
    assert 0.001 < outside < 0.2


@pytest.mark.parametrize("kind", ["equal values", "huge", "one key", "subnormal", "far logits"])
def test_odd_heads_have_a_probe(kind: str) -> None:
    given = head()
    Q, K, V = (x.copy() for x in (given.queries, given.keys, given.values))
    if kind == "equal values":
        V[:] = 3.0
    elif kind == "huge":
        V *= 1e300
    elif kind == "one key":
        K, V = K[:1], V[:1]
    elif kind == "subnormal":
        V *= 1e-310
    else:
        Q *= 1e150
        K *= 1e150
    with np.errstate(all="ignore"):
        found: Any = Probe.of(
            Head.of(Q, K, V, causal=False), 0.1 * float(np.abs(V).max()), np.random.default_rng(0)
        )
    assert 0 <= found.needed <= 1
    assert found.sampled >= 0
    if kind in ("equal values", "one key"):
        assert found.sampled < 1e-6
