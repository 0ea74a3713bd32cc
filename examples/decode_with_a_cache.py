"""Decode over a quantised cache, and say at every step how wrong the answer may be.

    python examples/decode_with_a_cache.py [FILE [HEAD]] [--tolerance 0.05] [--first 64]

Token t asks with its query for attention over the keys and values of tokens 0 ... t, of which the cache
keeps int8.  Where the certified bound exceeds the tolerance, the answer is computed again from the
originals: a server would fetch them.  A ledger audits a share of the answers as if nothing were known of
how they are made, and states how many of all can have erred; its statement holds at every step.

By default the heads of SmolLM2-135M that ship, one after another.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import fastpath
from proofs.judging.heads import Head, read_file, shipped_heads

COLUMNS = "{:>6} {:>9} {:>9} {:>9} {:>8} {:>7} {:>7} {:>9}"


def decode(head: Head, tolerance: float, first: int) -> Iterator[str]:
    """Yield a report, a line at every power of two, of decoding one head token by token."""
    rng = np.random.default_rng(0)
    largest = float(np.abs(head.V).max())
    cache = fastpath.QuantisedCache(head.K[:first], head.V[:first])
    ledger = fastpath.AuditLedger(0.05, 1e-6, tolerance * largest, audit_probability=0.25)
    fallbacks, worst, widest = 0, 0.0, 0.0
    yield f"{head.name}: errors and bounds relative to max |V|, tolerance {tolerance}"
    yield COLUMNS.format(
        "keys", "bound", "widest", "audited", "at most", "audits", "errors", "fallbacks"
    )
    steps = range(first, len(head.Q))
    for count, token in enumerate(steps, 1):
        cache.append(head.K[token], head.V[token])
        query = head.Q[token : token + 1]
        answer = cache.attention(query)
        bound = float(answer.error_bound.max()) / largest
        output = answer.output
        if bound > tolerance:
            fallbacks += 1
            output = fastpath.attention(query, head.K[: token + 1], head.V[: token + 1]).output
        widest = max(widest, bound)
        # The answer is fixed: only now the coin falls.
        if ledger.audit(rng):
            exact = fastpath.attention(
                query.astype(float),
                head.K[: token + 1].astype(float),
                head.V[: token + 1].astype(float),
            )
            error = float((np.abs(output - exact.output) + exact.error_bound).max())
            worst = max(worst, error / largest)
            ledger.record(error)
        if count & (count - 1) == 0 or token == steps[-1]:
            said = ledger.bound()
            yield COLUMNS.format(
                len(cache),
                f"{bound:.2e}",
                f"{widest:.2e}",
                f"{worst:.2e}",
                f"{100 * said.uncovered:.1f} %",
                said.audits,
                said.errors,
                f"{100 * fallbacks / count:.0f} %",
            )
    yield (
        f"memory {cache.nbytes / (head.K.astype(np.float32).nbytes * 2):.3f} of float32; "
        f"{fallbacks} of {len(steps)} steps in full precision\n"
    )


def main() -> None:
    """Decode the heads of a file, or those that ship."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?")
    parser.add_argument("head", nargs="?")
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--first", type=int, default=64)
    options = parser.parse_args()
    heads = read_file(Path(options.file)).heads if options.file else shipped_heads()
    named = options.head or ("" if options.file else "smollm2")
    for head in heads:
        if len(head.Q) <= options.first or len(head.Q) != len(head.K) or named not in head.name:
            continue
        for line in decode(head, options.tolerance, options.first):
            print(line)


if __name__ == "__main__":
    main()
