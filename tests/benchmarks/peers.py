"""What peers' rules state, and what they do, on real heads beside what is certified here.

    OPENBLAS_NUM_THREADS=1 ATTEST_LONG_HEADS=folder python -m tests.benchmarks.peers [part ...] [--keys n]

Parts, all by default:

- ``stated``: vAttention's epsilon and delta, by ``tests.benchmarks.peer_rules``, which re-states its rule:
  how often a query misses them, over queries and draws.
- ``each``: rules that look at keys anew for each query: which error at how many keys read.
- ``every``: how many keys, the same for all queries, every row's error within a tolerance with probability
  1 - 1e-9 would take at least, if estimates were as good as normal.
- ``all``: rules that choose keys once, and ours: certified attention at the same 99 % error, and the time.

The folder is that of ``tests.benchmarks.chooser``; each head is cut to ``--keys``.  A rule for each query is
not timed: in numpy it would be slow for no reason of its own.  One thread, this process's time.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtri

import fastpath
from fastpath.core.head import Head
from fastpath.real_heads.probe import DEVIATIONS, Probe
from tests.benchmarks import peer_rules
from tests.benchmarks.chooser import real
from tests.benchmarks.interleaved import medians

#: Queries that a rule for each query is tried on, how often, and how many a rule for all is judged on.
QUERIES, DRAWS, JUDGED = 32, 20, 2062

EPSILON, DELTAS = 0.05, (0.1, 0.05, 0.01)

#: What a rule for all may choose from, and the tolerances that ours is asked for.
SIZES, TOLERANCES = (256, 512, 1024, 2048, 4096), (0.15, 0.06)


def _some(Q: Any, count: int) -> Any:
    return Q[np.random.default_rng(99).integers(0, len(Q), count)]


def stated(name: str, Q: Any, K: Any, V: Any) -> None:
    """Try vAttention's rule: the share of answers that miss epsilon, of all queries and of the worst."""
    q = _some(Q, QUERIES)
    exact = fastpath.attention(q, K, V, workers=1)
    assert exact.log_sum_exp is not None
    for of_output in (False, True):
        for delta in DELTAS:
            missed, read = [], []
            for draw in range(DRAWS):
                output, logarithms, keys = peer_rules.budgeted(
                    q, K, V, EPSILON, delta, np.random.default_rng(draw), output=of_output
                )
                if of_output:
                    distance = np.linalg.norm(output - exact.output, axis=1)
                    missed.append(distance > EPSILON * np.linalg.norm(exact.output, axis=1))
                else:
                    missed.append(np.abs(np.expm1(logarithms - exact.log_sum_exp)) > EPSILON)
                read.append(keys.mean() / len(K))
            rates, what = np.mean(missed, axis=0), "output" if of_output else "denominator"
            print(
                f"stated | {name} | {what} {EPSILON:g}, {delta:g} | misses {rates.mean():.1%} | worst query "
                f"{rates.max():.0%} | reads {np.mean(read):.0%} of the keys"
                f"{' | BROKEN' if rates.mean() > delta else ''}",
                flush=True,
            )


def each(name: str, Q: Any, K: Any, V: Any) -> None:
    """Give rules for each query several sizes, and show the largest errors of queries."""
    q = _some(Q, QUERIES)
    exact = fastpath.attention(q, K, V, workers=1).output
    rules: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
        "Quest-like": (peer_rules.pages, (len(K) // 64, len(K) // 16, len(K) // 4)),
        "MagicPIG-like": (peer_rules.hashes, (20, 75, 150)),
    }
    for peer, (rule, sizes) in rules.items():
        for size in sizes:
            output, read = rule(q, K, V, size, np.random.default_rng(0))
            errors = np.abs(output - exact).max(axis=1) / np.abs(V).max()
            print(
                f"each | {name} | {peer} | reads {read.mean() / len(K):.1%} of the keys | median error "
                f"{np.median(errors):.4f} | 99 % {np.quantile(errors, 0.99):.4f} | states nothing"
            )


def every(name: str, Q: Any, K: Any, V: Any) -> None:
    """Say what a statement on every row takes: as many deviations as a union over all entries asks for."""
    head, told = Head.of(Q, K, V, causal=False), []
    deviations = float(ndtri(1 - 1e-9 / (2 * Q.shape[0] * V.shape[1])))
    for tolerance in (0.15, 0.06, 0.02, 0.01):
        allowed = tolerance * float(np.abs(V).max())
        sampled = Probe.of(head, allowed, np.random.default_rng(0)).sampled
        sampled *= (deviations / DEVIATIONS) ** 2
        told.append(f"{tolerance:g}: {sampled / (1 + sampled):.0%}")
    print(f"every | {name} | of the keys at least, by tolerance | {', '.join(told)}", flush=True)


def all_queries(name: str, Q: Any, K: Any, V: Any) -> None:
    """Give each rule for all queries the least size at which its 99 % error is that of ours."""
    some = np.random.default_rng(99).integers(0, len(Q), JUDGED)
    exact = fastpath.attention(Q[some], K, V, workers=1).output

    def quantile(output: Any) -> float:
        return float(np.quantile(np.abs(output - exact).max(axis=1), 0.99) / np.abs(V).max())

    for tolerance in TOLERANCES:
        results: list[Any] = []

        def ours(tolerance: float = tolerance, results: list[Any] = results) -> None:
            results.append(
                fastpath.certified_attention(
                    Q,
                    K,
                    V,
                    tolerance=tolerance,
                    rows="quantile",
                    rng=np.random.default_rng(0),
                    workers=1,
                )
            )

        ours()
        target = quantile(results[-1].output[some])
        timed: dict[str, Callable[[], Any]] = {
            "ours": ours,
            "exact": lambda: fastpath.attention(Q, K, V, workers=1),
        }
        reached = {}
        for peer, rule in peer_rules.RULES.items():
            # A pivot looks at every key, and a coreset of k costs k^2 of them.
            sizes = SIZES[:3] if peer == "WildCat-like" else SIZES
            for size in sizes:
                error = quantile(rule.rule(Q[some], K, V, size, np.random.default_rng(0)))
                if error <= target:
                    break
            met = error <= target
            reached[peer] = f"{error:.4f} with {size} keys{'' if met else ', not met'}"
            timed[peer] = lambda r=rule.rule, s=size: r(Q, K, V, s, np.random.default_rng(1))
        times = medians(timed, 1)
        print(
            f"all | {name} | {tolerance:g} | ours ({results[-1].method}) "
            f"{times['ours'] / times['exact']:.2f} of exact, 99 % error {target:.4f}, certified | "
            + " | ".join(
                f"{peer} {times[peer] / times['ours']:.2f} of ours, {error}"
                for peer, error in reached.items()
            ),
            flush=True,
        )


PARTS = {"stated": stated, "each": each, "every": every, "all": all_queries}


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=[*PARTS])
    parser.add_argument("--keys", type=int, default=16384)
    parser.add_argument("--only", nargs="+", default=[""])
    options = parser.parse_args()
    for name, head in real():
        if any(part in name for part in options.only):
            for part in options.parts:
                PARTS[part](name, *(x[: options.keys] for x in head))


if __name__ == "__main__":
    main()
