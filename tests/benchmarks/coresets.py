"""Coresets of causal heads: errors, certificates, bytes and times, beside peers.

    ATTEST_LONG_HEADS=folder python -m tests.benchmarks.coresets [size ...]

The first half of a head's keys is absorbed, in pieces, and queries of the second half, which see all of
them, are asked: what they see of later keys is the same for all, and left out.  Heads are the shipped ones of
a causal model, and those of the folder, as ``tests/benchmarks/test_real_heads.py`` says, where it is named.

Peers are re-stated here from their ideas, in numpy.  "BalanceKV-like": keys halved one by one by a
self-balancing walk on the features of keys and values, those of one sign kept, the last keys and the first
four as they are.  "Thinformer-like" and "WildCat-like" are those of ``peer_rules.py``; the latter is not
made larger than 1,024, for which it takes minutes.  Ours is told queries of the first half, never those that
are asked.  All keep as many keys; bytes are keys, values and
weights, and of ours what the certificates need too.  Errors are of the worst column of a row, relative to
the largest value.  What 99 % of the rows are certified by is :func:`fastpath.certify` with a failure
probability of 1 %, which needs all keys and values; what is certified for every query needs none of them.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastpath
from proofs.judging.heads import shipped_heads
from tests.benchmarks import peer_rules
from tests.benchmarks.interleaved import clock

SIZES = (128, 256, 512, 1024, 2048, 4096)

#: Queries that are asked, and keys that are absorbed at once.
ROWS, PIECE = 1024, 1024

#: The largest of WildCat's, whose time grows with the square.
LARGEST_CHOLESKY = 1024


def heads() -> Iterator[tuple[str, Any]]:
    """Yield the shipped heads of a causal model that are long enough, and the long ones of the folder."""
    for head in shipped_heads():
        if head.name.startswith("smollm2") and len(head.K) >= 256:
            yield head.name, (head.Q, head.K, head.V)
    folder = os.environ.get("ATTEST_LONG_HEADS")
    for path in sorted(Path(folder).glob("*.npz")) if folder else ():
        with np.load(path, allow_pickle=False) as file:
            yield path.stem, tuple(file[f"{path.stem}/{x}"].astype(np.float32) for x in "QKV")


def seen(head: Any) -> tuple[Any, Any, Any, Any]:
    """Return queries of the second half, keys and values of the first, and queries of that half too."""
    Q, K, V = head
    half = len(K) // 2
    rows = np.sort(np.random.default_rng(0).permutation(half)[:ROWS])
    asked, keys, values, before = (
        np.ascontiguousarray(x) for x in (Q[rows + half], K[:half], V[:half], Q[rows])
    )
    return asked, keys, values, before


def ours(size: int, K: Any, V: Any, before: Any) -> Any:
    """Absorb keys and values; queries that were asked before choose coordinates."""
    made = fastpath.BalancedCoreset(
        K.shape[1], V.shape[1], size=size, rng=np.random.default_rng(0), queries=before
    )
    for start in range(0, len(K), PIECE):
        made.absorb(K[start : start + PIECE], V[start : start + PIECE])
    return made


def balance_kv(Q: Any, K: Any, V: Any, size: int, rng: np.random.Generator) -> Any:
    """Keep the signs of one kind, batch by batch; the first keys and the last quarter stay exact."""
    first, last = 4, size // 4
    left, level = np.arange(first, len(K) - last), 0
    while len(left) > size - first - last:
        kept = []
        for start in range(0, len(left), 256):
            part = left[start : start + 256]
            k = K[part].astype(float)
            kernel = np.exp(k @ k.T - (k**2).sum(axis=1).max()) * (V[part] @ V[part].T + 1)
            limit = max(float(np.diagonal(kernel).max()), 1e-300)
            along, signs = np.zeros(len(part)), np.empty(len(part))
            for i, drawn in enumerate(rng.random(len(part))):
                signs[i] = 1 if drawn < 0.5 - along[i] / (2 * limit) else -1
                along += signs[i] * kernel[i]
            kept.append(part[signs > 0])
        left, level = np.concatenate(kept), level + 1
    rows = np.r_[np.arange(first), left, np.arange(len(K) - last, len(K))]
    logarithms = np.zeros(len(rows))
    logarithms[first : len(rows) - last] = level * np.log(2)
    return fastpath.attention(Q, K[rows], V[rows], bias=logarithms[None].astype(np.float32)).output


def peers(size: int) -> dict[str, Callable[..., Any]]:
    found = {
        "uniform": peer_rules.uniform,
        "BalanceKV-like": balance_kv,
        "Thinformer-like": peer_rules.halving,
        "WildCat-like": peer_rules.coreset,
    }
    if size > LARGEST_CHOLESKY:
        del found["WildCat-like"]
    return found


def measured(head: Any, size: int) -> dict[str, Any]:
    """Return errors, certificates, bytes and seconds of ours and of every peer."""
    Q, K, V, before = seen(head)
    exact, largest = fastpath.attention(Q, K, V), float(np.abs(V).max())

    def said(name: str, output: Any, taken: float) -> dict[str, Any]:
        errors = np.abs(output - exact.output).max(axis=1) / largest
        rows = fastpath.certify(
            Q,
            K,
            V,
            output,
            failure_probability=0.01,
            rows=min(459, len(Q)),
            rng=np.random.default_rng(1),
        )
        return {
            f"{name}, median": float(np.median(errors)),
            f"{name}, 99 %": float(np.quantile(errors, 0.99)),
            f"{name}, 99 % certified from K and V": float(np.max(rows.error_bound)) / largest,
            f"{name}, seconds": taken,
        }

    start = clock()
    made = ours(size, K, V, before)
    absorbed = clock() - start
    found = made.attend(Q)
    figures = said("ours", found.output, clock() - start)
    assert (np.abs(found.output - exact.output) <= found.error_bound + exact.error_bound).all()
    bounds = found.error_bound.max(axis=1) / largest
    ranges = np.maximum(V.max(axis=0) - found.output, found.output - V.min(axis=0))
    figures |= {
        "certified, median": float(np.median(bounds)),
        "certified, 10 %": float(np.quantile(bounds, 0.1)),
        "range, median": float(np.median(ranges.max(axis=1))) / largest,
        "entries certified below the range": float(found.by_discrepancy.mean()),
        "kept": len(made),
        "bytes": made.nbytes,
        "bytes of all": K.nbytes + V.nbytes,
        "seconds to absorb": absorbed,
    }
    for name, peer in peers(size).items():
        start = clock()
        output = peer(Q, K, V, size, np.random.default_rng(0))
        figures |= said(name, output, clock() - start)
        figures[f"{name}, bytes"] = size * (4 * (K.shape[1] + V.shape[1]) + 4)
        figures[f"{name} / ours, 99 %"] = figures[f"{name}, 99 %"] / figures["ours, 99 %"]
    return figures


def main(sizes: list[int]) -> None:
    for name, head in heads():
        half = len(head[1]) // 2
        for size in sizes:
            if not 64 <= size <= half // 2:
                continue
            f = measured(head, size)
            print(
                f"{name}, {half} keys in {f['kept']} of at most {size}: {f['bytes'] / 1024:.0f} KiB of "
                f"{f['bytes of all'] / 1024:.0f}; every query certified {f['certified, median']:.3f} "
                f"(median; 10 % of rows {f['certified, 10 %']:.3f}; the range alone "
                f"{f['range, median']:.3f}; {f['entries certified below the range']:.0%} of entries below it)"
            )
            for method in ("ours", *peers(size)):
                bytes_ = f.get(f"{method}, bytes", f["bytes"])
                print(
                    f"    {method}: error {f[f'{method}, median']:.4f} (median), {f[f'{method}, 99 %']:.4f} "
                    f"(99 %), 99 % certified from K and V {f[f'{method}, 99 % certified from K and V']:.4f}; "
                    f"{bytes_ / 1024:.0f} KiB, {f[f'{method}, seconds']:.2f} s"
                )
            sys.stdout.flush()


if __name__ == "__main__":
    main([int(x) for x in sys.argv[1:]] or [64, *SIZES])
