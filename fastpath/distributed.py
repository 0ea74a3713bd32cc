"""Work over shards, with dask: the public names of what is distributed.

Moments (:mod:`fastpath.streaming.distributed`), and exact attention, Gram matrices and fewer columns
(:mod:`fastpath.integrations.dask`).
"""

from fastpath.integrations.dask import attention, gram, merged_answers, merged_grams, sparsify
from fastpath.streaming.distributed import attend, merged_states, moment_state

__all__ = [
    "attend",
    "attention",
    "gram",
    "merged_answers",
    "merged_grams",
    "merged_states",
    "moment_state",
    "sparsify",
]
