"""Decode over a quantised cache or an index of keys, and say at every step how wrong the answer may be.

    python examples/decode_with_a_cache.py [FILE [HEAD]] [--over index] [--tolerance 0.05] [--first 64]

Token t asks with its query for attention over the keys and values of tokens 0 ... t.  A cache keeps int8 of
them; where the certified bound exceeds the tolerance, the answer is computed again from the originals: a
server would fetch them.  An index reads the keys that matter; where its clusters' bounds do not suffice,
and always among fewer than 16,384 keys, it reads all.  A ledger audits a share of the answers as if nothing
were known of how they are made, and states how many of all can have erred, at every step.

By default the heads of SmolLM2-135M that ship, one after another.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastpath
from proofs.judging.heads import Head, read_file, shipped_heads

COLUMNS = "{:>6} {:>9} {:>9} {:>9} {:>8} {:>7} {:>7} {:>9}"


class Answer(NamedTuple):
    """An output, a bound on its error, and whether every original was read for it."""

    output: np.ndarray
    bound: float
    in_full: bool


class Cached:
    """Answers over an int8 cache, and over the originals where those may be too far off."""

    def __init__(self, head: Head, first: int) -> None:
        self._head, self._cache = head, fastpath.QuantisedCache(head.K[:first], head.V[:first])
        self.nbytes = 0

    def answer(self, token: int, allowed: float) -> Answer:
        """Append a token's key and value, and answer its query."""
        head, query = self._head, self._head.Q[token : token + 1]
        self._cache.append(head.K[token], head.V[token])
        self.nbytes = self._cache.nbytes
        found = self._cache.attention(query)
        bound = float(found.error_bound.max())
        if bound <= allowed:
            return Answer(found.output, bound, False)
        full = fastpath.attention(query, head.K[: token + 1], head.V[: token + 1])
        return Answer(full.output, bound, True)


class Indexed:
    """Answers over an index, which reads all keys where it must."""

    def __init__(self, head: Head, first: int) -> None:
        self._head, self._index = head, fastpath.KeyIndex(head.K[:first], head.V[:first])
        self._largest = float(np.abs(head.V).max())
        self.nbytes = 0

    def answer(self, token: int, allowed: float) -> Answer:
        """Append a token's key and value, and answer its query."""
        self._index.append(self._head.K[token], self._head.V[token])
        self.nbytes = self._index.nbytes
        # Relative to the values that there are, which may be smaller than the largest to come.
        found = self._index.attend(self._head.Q[token : token + 1], allowed / self._largest)
        return Answer(found.output, float(found.error_bound.max()), found.method == "exact")


def decode(head: Head, over: str, tolerance: float, first: int) -> Iterator[str]:
    """Yield a report, a line at every power of two, of decoding one head token by token."""
    rng = np.random.default_rng(0)
    largest = float(np.abs(head.V).max())
    server = {"cache": Cached, "index": Indexed}[over](head, first)
    ledger = fastpath.AuditLedger(0.05, 1e-6, tolerance * largest, audit_probability=0.25)
    in_full, worst, widest = 0, 0.0, 0.0
    yield f"{head.name}: errors and bounds relative to max |V|, tolerance {tolerance}, over {over}"
    yield COLUMNS.format(
        "keys", "bound", "widest", "audited", "at most", "audits", "errors", "in full"
    )
    steps = range(first, len(head.Q))
    for count, token in enumerate(steps, 1):
        answer = server.answer(token, tolerance * largest)
        in_full += answer.in_full
        bound = answer.bound / largest
        widest = max(widest, bound)
        # The answer is fixed: only now the coin falls.
        if ledger.audit(rng):
            exact = fastpath.attention(
                head.Q[token : token + 1].astype(float),
                head.K[: token + 1].astype(float),
                head.V[: token + 1].astype(float),
            )
            error = float((np.abs(answer.output - exact.output) + exact.error_bound).max())
            worst = max(worst, error / largest)
            ledger.record(error)
        if count & (count - 1) == 0 or token == steps[-1]:
            said = ledger.bound()
            yield COLUMNS.format(
                token + 1,
                f"{bound:.2e}",
                f"{widest:.2e}",
                f"{worst:.2e}",
                f"{100 * said.uncovered:.1f} %",
                said.audits,
                said.errors,
                f"{100 * in_full / count:.0f} %",
            )
    yield (
        f"memory {server.nbytes / (head.K.astype(np.float32).nbytes * 2):.3f} of float32; "
        f"{in_full} of {len(steps)} steps in full precision\n"
    )


def main() -> None:
    """Decode the heads of a file, or those that ship."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?")
    parser.add_argument("head", nargs="?")
    parser.add_argument("--over", choices=("cache", "index"), default="cache")
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--first", type=int, default=64)
    options = parser.parse_args()
    heads = read_file(Path(options.file)).heads if options.file else shipped_heads()
    named = options.head or ("" if options.file else "smollm2")
    for head in heads:
        if len(head.Q) <= options.first or len(head.Q) != len(head.K) or named not in head.name:
            continue
        for line in decode(head, options.over, options.tolerance, options.first):
            print(line)


if __name__ == "__main__":
    main()
