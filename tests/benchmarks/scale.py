"""What distribution moves and holds, on paper and measured: ``python -m tests.benchmarks.scale``.

``--rows`` keys are made where they are absorbed, so that there is nothing to move but moments; attention and
a Gram matrix follow over fewer, made where they are used too.  Workers are processes of this machine, so
bytes and memory are what would be seen anywhere, and times are not.
"""

import argparse
import math
import resource
import time
from functools import partial
from typing import Any

import distributed
import numpy as np
from dask import delayed

import fastpath
from fastpath.distributed import merged_answers, merged_grams, merged_states
from fastpath.streaming.distributed import FAN_IN

#: Columns of keys and of values, and the highest power of a logit, of the moments.
D, D_V, DEGREE = 4, 2, 4

#: Rows of a partition.
PARTITION = 250_000

#: Queries, columns and keys of a partition, of attention; all in float64.
QUERIES, WIDTH, KEYS = 256, 64, 20_000

#: Rows and columns of a block, of the Gram matrix.
FEATURES, BLOCK = 256, 20_000

#: Partitions of attention and blocks of the Gram matrix, for each worker.
SHARES = 8


def moments_bytes() -> int:
    """Return what one state of moments takes."""
    return 8 * math.comb(D + DEGREE, DEGREE) * (D_V + 1)


def answer_bytes() -> int:
    """Return what one partition's answer takes: output, logarithm, and a bound of each."""
    return 2 * 8 * QUERIES * (WIDTH + 1)


def gram_bytes() -> int:
    """Return what one block's Gram matrix takes."""
    return 8 * FEATURES**2


def depth(parts: int) -> int:
    """Return how many sums follow each other."""
    levels = 0
    while parts > 1:
        parts, levels = -(-parts // FAN_IN), levels + 1
    return levels


def moved(parts: int, workers: int, size: int, sent: int = 0) -> int:
    """Return the most bytes that move: each part to whoever sums it, and what is sent to each worker."""
    sums, left = 0, parts
    while left > 1:
        sums += left
        left = -(-left // FAN_IN)
    return (sums + 1) * size + workers * sent


def _state(partition: int) -> Any:
    rng = np.random.default_rng(partition)
    state = fastpath.MomentState(D, D_V, DEGREE)
    state.update(rng.uniform(-0.5, 0.5, (PARTITION, D)), rng.uniform(-0.5, 0.5, (PARTITION, D_V)))
    return state


def _rows(seed: int, rows: int, columns: int) -> Any:
    return np.random.default_rng(seed).standard_normal((rows, columns))


def _answer(partition: int, Q: Any) -> Any:
    keys, values = _rows(2 * partition, KEYS, WIDTH), _rows(2 * partition + 1, KEYS, WIDTH)
    return fastpath.attention(Q, keys, values, workers=1)


def _gram(block: int) -> Any:
    return fastpath.gram(_rows(block, FEATURES, BLOCK), workers=1)


def _transferred(dask_worker: Any) -> int:
    return int(dask_worker.transfer_outgoing_bytes_total)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Measured:
    """A cluster of processes, and what work on it moves and holds."""

    def __init__(self, client: Any, workers: int) -> None:
        self.client, self.workers = client, workers

    def line(self, what: str, parts: int, size: int, work: Any, sent: int = 0) -> Any:
        """Do some work, print what it took, and return its result."""
        before = sum(self.client.run(_transferred).values())
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        found = sum(self.client.run(_transferred).values()) - before
        peak = max(self.client.run(_peak).values())
        said = _on_paper(f"{self.workers} workers, {what}", parts, self.workers, size, sent)
        print(f"{said}{found / 1e6:9.3f} MB{peak / 1e6:12.0f} MB{seconds:8.1f}", flush=True)
        return result

    def moments(self, parts: int) -> None:
        """Absorb keys where they are made."""
        states = [delayed(_state)(i) for i in range(parts)]
        what = f"{parts * PARTITION:.0e} keys, moments"
        state = self.line(what, parts, moments_bytes(), lambda: merged_states(states))
        assert state.count == parts * PARTITION
        bound = state.query(_rows(0, 4, D) / 8).error_bound.max()
        print(f"  a query's largest certified error: {bound:.2g}")

    def attention(self) -> None:
        """Attend to shards of keys."""
        count = SHARES * self.workers
        Q = _rows(1, QUERIES, WIDTH) / WIDTH
        what = f"{KEYS * count:.0e} keys, attention"
        queries = delayed(Q, traverse=False)
        work = partial(merged_answers, [delayed(_answer)(i, queries) for i in range(count)])
        answer = self.line(what, count, answer_bytes(), work, Q.nbytes)
        print(f"  largest certified error: {np.max(answer.error_bound):.2g}")

    def gram(self) -> None:
        """Multiply blocks of columns."""
        count = SHARES * self.workers
        grams = [delayed(_gram)(i) for i in range(count)]
        what = f"{BLOCK * count:.0e} columns, Gram matrix"
        G = self.line(what, count, gram_bytes(), partial(merged_grams, grams))
        print(f"  certified relative error: {G.error:.2g}")


def _on_paper(what: str, parts: int, workers: int, size: int, sent: int) -> str:
    most = moved(parts, workers, size, sent)
    return f"{what:36}{parts:6}{depth(parts):6}{most / 1e6:13.3f} MB"


def main() -> None:
    """Print what is measured with some workers, and the model for 1,000."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale")
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    chosen = parser.parse_args()
    parts = -(-chosen.rows // PARTITION)
    print(f"{'':36}{'parts':>6}{'depth':>6}{'moves at most':>16}", end="")
    print(f"{'moved':>12}{'peak a worker':>15}{'s':>8}")
    for workers in chosen.workers:
        with (
            distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            idle = max(client.run(_peak).values())
            print(f"{workers} workers, before any work: {idle / 1e6:.0f} MB each")
            measured = Measured(client, workers)
            measured.moments(max(1, parts // 10))
            measured.moments(parts)
            measured.attention()
            measured.gram()
    print("1000 workers with 8 parts each, on paper:")
    for what, size, sent in (
        ("moments", moments_bytes(), 0),
        ("attention", answer_bytes(), 8 * QUERIES * WIDTH),
        ("Gram matrix", gram_bytes(), 0),
    ):
        held = (FAN_IN + 1) * size / 1e6
        print(f"{_on_paper(what, 8000, 1000, size, sent)}   a sum holds {held:.3f} MB")


if __name__ == "__main__":
    main()
