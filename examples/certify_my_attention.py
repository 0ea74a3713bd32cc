"""How wrong is my attention?  Certify what was computed in half precision, beside the truth.

    python examples/certify_my_attention.py [FILE]

The heads are real: those of two language models that ship, or those of FILE (arrays `<name>/Q`, `<name>/K`,
`<name>/V`).  Each is computed as one would write it, in float32 and in float16.  `certify` knows nothing of
how: it computes the rows again with a bound on its own error, and adds what it saw to that.  The observed
error is decided apart from it, by enclosures of the exact answer on every eighth row.
"""

import sys
from pathlib import Path

import numpy as np

import fastpath
import reference
from proofs.judging.heads import read_file, shipped_heads


def my_attention(Q, K, V):
    """Compute attention in the type of the inputs: three lines, and no bound."""
    logits = Q @ K.T
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights @ V / weights.sum(axis=1, keepdims=True)


def observed(Q, K, V, output):
    """Return an upper bound on the error of every eighth row, from enclosures of the exact answer."""
    exact = reference.attention(Q[::8], K, V)
    return float(exact.distance(output[::8].astype(float)).largest()[1])


heads = read_file(Path(sys.argv[1])).heads if len(sys.argv) > 1 else shipped_heads()[:7]
print("errors of an entry, relative to the largest |V|")
print(f"{'head':<20} {'type':<8} {'certified':>10} {'observed':>10}   rows checked")
for head in heads:
    for dtype in (np.float32, np.float16):
        Q, K, V = (x.astype(dtype) for x in head.matrices)
        output = my_attention(Q, K, V)
        # What is asked is how far the output is from attention on the head itself, not on the head as
        # float16 holds it.
        checked = fastpath.certify(*head.matrices, output, rng=np.random.default_rng(0))
        largest = float(np.abs(head.V).max())
        error = observed(*head.matrices, output)
        assert error <= checked.error_bound, "a certificate that does not hold is a defect of ours"
        print(
            f"{head.name:<20} {np.dtype(dtype).name:<8} {checked.error_bound / largest:>10.1e} "
            f"{error / largest:>10.1e}   {checked.rows_checked} of {len(Q)}"
        )
print("every observed error lies inside its certificate")
