"""Exact attention of some rows of a head: what certifies, what repairs, and what a pilot is held against."""

import numpy as np
from numpy.typing import NDArray

from fastpath.core.certified import Certified
from fastpath.core.cores import worker_count
from fastpath.core.head import Head
from fastpath.exact.attention import attend_heads


def exact_rows(head: Head, rows: NDArray[np.intp]) -> Certified:
    """Compute exact attention of some rows, which ascend where the head is causal or has options."""
    workers = worker_count(head.workers)
    return attend_heads(head.queries[rows], head.keys, head.values, head.seen, workers, rows)


def exact_head(head: Head) -> Certified:
    """Compute exact attention of every row."""
    workers = worker_count(head.workers)
    return attend_heads(head.queries, head.keys, head.values, head.seen, workers)
