"""What decoding over an index of keys takes: ``python -m tests.benchmarks.decoding``.

For both lengths and both heads of which ``ATTEST_LONG_HEADS`` names the folder, and for a group of one and
of four queries: the time of a full read by that of ``attend``, medians of groups that are drawn at random,
the calls in turn in one process so that none finds another's data in the caches.  A full read is, by name:

numpy
    three lines of float32 on K and V as given: ``q @ K.T``, the exponentials of what lies below each row's
    largest, ``weights @ V`` by their sum.  It bounds nothing.
prepared
    ``fastpath.attention`` on prepared keys and values, with its certificate.
exact
    the index's own way to read all keys, with its certificate.

Then what one appended key takes, a share of the sorts included.
"""

import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np

import fastpath
from fastpath.decoding import key_index
from tests.benchmarks.interleaved import clock, medians

ROUNDS, GROUPS, TOLERANCE, APPENDED = 7, 12, 0.02, 8192


def full_read(q: Any, K: Any, V: Any) -> Any:
    """Attend as numpy does, and bound nothing."""
    weights = q @ K.T
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    return (weights @ V) / weights.sum(axis=1, keepdims=True)


def attending(Q: Any, K: Any, V: Any, group: int) -> str:
    """Return what a group takes, in a line."""
    index, prepared = fastpath.KeyIndex(K, V), fastpath.Prepared(K, V)
    rng, side = np.random.default_rng(0), index._whole()
    times: dict[str, list[float]] = {}
    found = []
    for _ in range(GROUPS):
        q = Q[rng.integers(0, len(Q), group)]
        calls = {
            "ours": lambda q=q: index.attend(q, TOLERANCE),
            "numpy": lambda q=q: full_read(q, K, V),
            "prepared": lambda q=q: fastpath.attention(q, prepared, workers=1),
            "exact": lambda q=q: key_index._exact(q, side),
        }
        for name, taken in medians(calls, ROUNDS).items():
            times.setdefault(name, []).append(taken)
        found.append(index.attend(q, TOLERANCE))
    middle = {name: statistics.median(x) for name, x in times.items()}
    ratios = ", ".join(
        f"{name} {middle[name] / middle['ours']:.2f}" for name in middle if name != "ours"
    )
    certified = max(float(x.error_bound.max()) for x in found) / float(np.abs(V).max())
    read = statistics.median(x.keys_read for x in found) / len(K)
    methods = " or ".join(sorted({x.method for x in found}))
    return (
        f"{1e3 * middle['ours']:.2f} ms; times as long: {ratios}; {methods}, {read:.1%} read, "
        f"{certified:.2g} certified. {found[-1].reason}"
    )


def appending(K: Any, V: Any) -> str:
    """Return what an appended key takes, in a line."""
    index = fastpath.KeyIndex(K[:-APPENDED], V[:-APPENDED])
    start = clock()
    for k, v in zip(K[-APPENDED:], V[-APPENDED:], strict=True):
        index.append(k, v)
    return f"{1e6 * (clock() - start) / APPENDED:.1f} us a key"


def main() -> None:
    """Print a line for each length, head and group."""
    folder = Path(os.environ.get("ATTEST_LONG_HEADS", ""))
    for keys in (65536, 1048576):
        for head in ("minilm_L0H2", "minilm_L2H2"):
            name = f"{head}_n{keys}"
            if not (folder / f"{name}.npz").exists():
                print(f"{name}: not in the folder that ATTEST_LONG_HEADS names")
                continue
            with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
                Q, K, V = (
                    np.ascontiguousarray(file[f"{name}/{x}"].astype(np.float32)) for x in "QKV"
                )
            for group in (1, 4):
                print(f"{name}, {group}: {attending(Q, K, V, group)}", flush=True)
            print(f"{name}, append: {appending(K, V)}", flush=True)


if __name__ == "__main__":
    main()
