"""What ways of attention cost, in multiply-adds, so that the cheapest can be chosen before any is taken.

Every other operation counts as the multiply-adds that take as long, measured on real heads of 65,536 keys
in float32 with one thread (a multiply-add took 0.025 ns); float64 is slower alike.
"""

from fastpath.core.inputs import Matrix

#: One exponential, and all else that is done once for a logit.
EXPONENTIAL = 24


def pair_cost(k: Matrix, v: Matrix) -> float:
    """Return what one query and one key take."""
    return float(k.shape[1] + v.shape[1] + EXPONENTIAL)


def exact_cost(q: Matrix, k: Matrix, v: Matrix) -> float:
    """Return what exact attention takes."""
    return len(q) * len(k) * pair_cost(k, v)
