"""What the ways of the fast path take, in one unit, so that the cheapest can be chosen before any is taken.

The unit is a multiply-add of a large matrix product in float32, with one thread: UNIT seconds where this was
measured.  Everything else counts as the units that take as long, in the type that it is done in.  Only
ratios decide, and nothing that is certified depends on them.

``python -m tests.benchmarks.calibrate`` measures every number anew, and prints what it found beside what
stands here, and the processor.  The numbers are of an AMD EPYC: those of attention from real heads of 65,536
keys, of feature matrices from 512 rows, of changing tokens from 4,096.  On heads of 1,024 to 8,192 keys the
command finds UNIT 1.8e-11 s and LOGIT 47, so that a pair of 32 and 32 columns takes 2.0 ns where these
numbers say 2.2; others are within a factor of 2.6, but for an entry of a sparse result (5).
"""

from fastpath.core.head import Head

#: Seconds: what makes costs of a promise in seconds.
UNIT = 2.5e-11

# ------------------------------------------------------------------------------------- attention

#: One exponential, and all else that is done once for a logit.
LOGIT = 24.0

#: One of a polynomial's products, with all that it takes to build features.
FEATURE_PRODUCT = 20.0

#: Dropping keys: a row's share in planning, weighing a key for a cluster, fetching one that is kept; and,
#: relative to a pair of exact attention, a logit that is looked at, and a pair of a heavy key.
DROPPING_ROW, DROPPING_KEY, DROPPING_FETCHED = 1.5e5, 400.0, 1000.0
DROPPING_TESTED, DROPPING_PAIR = 0.3, 1.35

#: Clusters on both sides: a row's share in planning; a key of a query cluster or a query of a key cluster,
#: and that once more where keys are sampled; preparing a sampled key for a cluster; and a pair, relative to
#: exact attention.
CLUSTERS_ROW, CLUSTERS_SUMMED, CLUSTERS_SAMPLED = 7e4, 210.0, 360.0
CLUSTERS_FETCHED, CLUSTERS_PAIR = 9000.0, 1.6

#: Dropping keys under a causal mask: a row's share in planning.
CAUSAL_DROPPING_ROW = 2.5e5

#: The same of clusters under a causal mask, a sampled key being seen by half of the rows; and a pair within
#: a block of time, relative to exact attention.
CAUSAL_ROW, CAUSAL_SUMMED, CAUSAL_SAMPLED = 1.2e5, 900.0, 430.0
CAUSAL_FETCHED, CAUSAL_PAIR, CAUSAL_OWN = 6000.0, 1.6, 1.5

#: Few keys for all queries: a row, besides its pairs; and a call of exact attention, besides its rows.
SAMPLED_ROW, EXACT_CALL = 2e4, 4e7

# ------------------------------------------------------------------------- features, in float64

#: A multiply-add of a symmetric product, of which half are done.
SYMMETRIC_PRODUCT = 1.04

#: Of outer products: a pair of entries, a column that has one, an entry, and an entry of the result.
OUTER_PAIR, OUTER_COLUMN, OUTER_ENTRY, OUTER_RESULT = 208.0, 1200.0, 400.0, 840.0

#: Of scipy's sparse product: an entry, a pair, and an entry of the result.
SPARSE_ENTRY, SPARSE_PAIR, SPARSE_RESULT = 1600.0, 320.0, 120.0

#: What OSNAP spends on a stored entry, and BSS on n^4.
SKETCHED_ENTRY, BARRIERS = 720.0, 40.0

# --------------------------------------------------------------------- changing tokens, in float64

#: A multiply-add of a matrix product, and of a matrix times a vector, which waits for memory.
PRODUCT, STREAMED_PRODUCT = 2.2, 5.8

#: An exponential, and one pass over a long array: of an entry each.
EXPONENTIAL, PASS = 38.0, 18.0

#: An entry of a long row of a matrix that is stored by column: each is in a cache line of its own.
STRIDED = 100.0

#: A call of numpy on a small array, and a read of single numbers.
CALL, LOOK = 28_000.0, 16_000.0


def pair_cost(head: Head) -> float:
    """Return what one query and one key take in exact attention."""
    return float(head.keys.shape[1] + head.values.shape[1] + LOGIT)


def rows_cost(head: Head, rows: int) -> float:
    """Return what exact attention of so many rows takes, if they see every key."""
    return rows * len(head.keys) * pair_cost(head)


def exact_cost(head: Head) -> float:
    """Return what exact attention takes; under a causal mask half of the pairs are computed."""
    return rows_cost(head, len(head.queries)) / (2 if head.causal else 1)
