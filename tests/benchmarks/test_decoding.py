"""An index of keys against full reads: groups of four queries, certificates included, one thread.

The heads are not in the repository: ATTEST_LONG_HEADS names a folder of ``.npz`` files as
``test_real_heads.py`` says.  Those with 1,048,576 keys are what ``attest long-heads --windows 2048`` makes of
the same encoder and of 1.05 million tokens of English text.  A group is four queries drawn at random, which
ask for more different keys than heads that share a token's key would.

Peers: numpy, which reads K and V once and bounds nothing, and exact attention on prepared keys, with its
certificate.
"""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastpath
from tests.benchmarks.interleaved import clock, medians, seconds
from tests.benchmarks.test_real_heads import long_head, report

ROUNDS, GROUPS, GROUP = 5, 12, 4

#: Appends, of which the index sorts in as many blocks as it does on average.
APPENDED = 8192

CASES = [
    (name, keys, tolerance)
    for keys in (65536, 1048576)
    for name, tolerance in (("minilm_L0H2", 0.02), ("minilm_L0H2", 0.1), ("minilm_L2H2", 0.02))
]


def full_read(q: Any, K: Any, V: Any) -> Any:
    weights = q @ K.T
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    return (weights @ V) / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("group", [1, GROUP])
@pytest.mark.parametrize(("name", "keys", "tolerance"), CASES)
def test_a_group_of_queries_against_full_reads(
    benchmark: Any, name: str, keys: int, tolerance: float, group: int
) -> None:
    Q, K, V = long_head(f"{name}_n{keys}")
    rng = np.random.default_rng(0)
    groups = [Q[rng.integers(0, len(Q), group)] for _ in range(GROUPS)]
    start = clock()
    index = fastpath.KeyIndex(K, V)
    built = clock() - start
    prepared = fastpath.Prepared(K, V)
    times: dict[str, list[float]] = {}
    found = []
    for q in groups:
        calls: dict[str, Callable[[], Any]] = {
            "ours": lambda q=q: index.attend(q, tolerance),
            "numpy": lambda q=q: full_read(q, K, V),
            "prepared": lambda q=q: fastpath.attention(q, prepared, workers=1),
        }
        for peer, taken in medians(calls, ROUNDS).items():
            times.setdefault(peer, []).append(taken)
        answer = index.attend(q, tolerance)
        exact = fastpath.attention(q.astype(float), K.astype(float), V.astype(float))
        error = np.abs(answer.output - exact.output)
        assert (error <= answer.error_bound + exact.error_bound).all()
        found.append((answer, float(error.max())))
    middle = {peer: statistics.median(x) for peer, x in times.items()}
    largest = float(np.abs(V).max())
    report(
        benchmark,
        milliseconds=1e3 * middle["ours"],
        **{f"{x} / ours": middle[x] / middle["ours"] for x in ("numpy", "prepared")},
        read=statistics.median(a.keys_read for a, _ in found) / keys,
        certified=max(float(a.error_bound.max()) for a, _ in found) / largest,
        observed=max(error for _, error in found) / largest,
        methods=sorted({a.method for a, _ in found}),
        reason=found[-1][0].reason,
        built_seconds=built,
        memory=index.nbytes / (K.nbytes + V.nbytes),
    )
    benchmark.pedantic(lambda: index.attend(groups[0], tolerance), rounds=1)


@pytest.mark.parametrize("keys", [65536, 1048576])
def test_appending_a_key(benchmark: Any, keys: int) -> None:
    _, K, V = long_head(f"minilm_L0H2_n{keys}")
    index = fastpath.KeyIndex(K[:-APPENDED], V[:-APPENDED])

    def append() -> None:
        for k, v in zip(K[-APPENDED:], V[-APPENDED:], strict=True):
            index.append(k, v)

    taken = seconds(append)
    # What the sorts to come will take, a share of which each key owes: all keys, once for each power of four.
    report(benchmark, microseconds=1e6 * taken / APPENDED, blocks=len(index._blocks))
    benchmark.pedantic(lambda: index.append(K[0], V[0]), rounds=1)
