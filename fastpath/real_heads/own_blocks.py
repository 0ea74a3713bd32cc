"""Causal rows over the keys of their own block of time, exactly: what ways that approximate the past add."""

from functools import partial
from math import ceil

import numpy as np
from numpy.typing import NDArray

from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.head import Head
from fastpath.core.inputs import Array, Matrix
from fastpath.real_heads.exact_rows import exact_rows

#: Blocks of time.
TIME_BLOCKS = 16


def block_size(keys: int) -> int:
    """Return the number of keys of a block of time."""
    return ceil(keys / TIME_BLOCKS)


def own_block(head: Head, rows: NDArray[np.intp]) -> tuple[Matrix, Array]:
    """Return attention of some ascending rows over their own blocks, and the logarithms of its sums."""
    size = block_size(len(head.keys))
    output = np.empty((len(rows), head.values.shape[1]), head.dtype)
    logarithms = np.empty(len(rows))

    def compute(some: NDArray[np.intp]) -> None:
        first = int(rows[some[0]] // size * size)
        block = slice(first, first + size)
        own = Head(
            queries=head.queries[block],
            keys=head.keys[block],
            values=head.values[block],
            causal=True,
            workers=1,
        )
        output[some], logarithms[some] = with_logarithms(exact_rows(own, rows[some] - first))

    parts = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows // size)) + 1)
    run([partial(compute, some) for some in parts], worker_count(head.workers))
    return output, logarithms


def with_logarithms(found: Certified) -> tuple[Matrix, Array]:
    """Return exact attention, and the logarithms of its sums."""
    assert found.log_sum_exp is not None
    return found.output, found.log_sum_exp
