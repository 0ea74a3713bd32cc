"""Is my kernel of the arithmetic that it declares?  Judge one that is, and two that are not.

    python examples/judge_my_kernel.py

A kernel in bfloat16 says what it rounds; from that follows an interval for every entry of its output, by a
theorem (FP.kernel).  An entry outside it proves that the kernel computes something else.  The two faults are
of the kinds that kernels have had in public: a key that is lost, and a sum that is kept in too few bits.
"""

import numpy as np

from fastpath.kernels import FORMATS, RoundingModel, judge_attention
from proofs.judging.heads import shipped_heads

low = FORMATS["bfloat16"].nearest


def kernel(Q, K, V):
    """Compute attention: scores and sums in float32, weights and output rounded to bfloat16."""
    scores = Q @ K.T
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return low(low(weights).astype(np.float32) @ V / weights.sum(axis=1, keepdims=True))


def loses_the_last_key(Q, K, V):
    """Compute the same without the last key, as a loop that ends one tile early does."""
    return kernel(Q, K[:-1], V[:-1])


def sums_in_bfloat16(Q, K, V):
    """Compute the same with a denominator that is rounded after each addition, and so stalls."""
    scores = Q @ K.T
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    total = np.zeros((len(Q), 1), np.float32)
    for column in weights.T:
        total = low(total + column[:, None]).astype(np.float32)
    return low(low(weights).astype(np.float32) @ V / total)


declared = RoundingModel(out="bfloat16", weights="bfloat16")
print(f"declared: {declared}")
print(f"{'head':<20} {'kernel':<20} {'off by':>14}   entries that refute it")
for head in shipped_heads():
    if not head.name.endswith("n256"):
        continue
    # The kernel reads bfloat16: the very numbers that it is given are those that it is judged by.
    Q, K, V = (low(x).astype(np.float32) for x in head.matrices)
    for candidate in (kernel, loses_the_last_key, sums_in_bfloat16):
        found = judge_attention(candidate(Q, K, V), Q, K, V, declared)
        print(
            f"{head.name:<20} {candidate.__name__:<20} {found.ratio:>6.2f} allowed   "
            f"{found.violations} of {found.entries}"
        )
        if candidate is kernel:
            assert not found.refuted, "a kernel of the model is never refuted: that is the theorem"
        worst = found.sentence or "nothing refutes it"
print("\nthe last one, in words:")
print(worst)
