"""Replace a wide feature matrix by a narrow one that gives nearly the same attention exp(X X^T).

    python examples/compress_features.py

Three real matrices ship: activations, hidden states and a bag of words.  Each is scaled to logits within 4,
since how far attention moves grows with their size.  `sparsify` is asked for any Y, and for weighted columns
of X; each answer proves its epsilon by factorisations, and with it how far a row of attention may be off.
Observed: the attention matrices of X and Y, in float64.  Y = 0 is the answer that looks at nothing.
"""

import numpy as np

import fastpath
from proofs.judging.heads import shipped_matrices


def attention_matrix(X):
    """Return the softmax weights of queries X on keys X."""
    logits = X @ X.T
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def largest_row_sum(X, Y):
    """Return by how much a row of attention is off, all its entries together."""
    return float(np.abs(attention_matrix(X) - attention_matrix(Y)).sum(axis=1).max())


print("a row of attention is off by, its entries added up")
print(
    f"{'matrix':<26} {'guarantee':<11} {'columns':>13} {'method':<13} {'epsilon':>8} "
    f"{'certified':>10} {'observed':>9}"
)
for matrix in shipped_matrices():
    X = matrix.X.astype(float)
    X *= 2 / np.linalg.norm(X, axis=1).max()
    for options in ({"guarantee": "exact"}, {"guarantee": "columns", "epsilon": 0.5}):
        found = fastpath.sparsify(X, rng=np.random.default_rng(0), **options)
        error = largest_row_sum(X, found.Y)
        # An observed sum is computed in float64: what that is off by, some n u, is nothing beside these.
        assert error <= found.row_error + 1e-9
        print(
            f"{matrix.name:<26} {options['guarantee']:<11} "
            f"{found.Y.shape[1]:>4} of {X.shape[1]:>5} {found.method:<13} {found.epsilon:>8.1e} "
            f"{found.row_error:>10.1e} {error:>9.1e}"
        )
    nothing = largest_row_sum(X, np.zeros((len(X), 1)))
    print(
        f"{'':<26} {'Y = 0':<11} {1:>4} of {X.shape[1]:>5} {'':<13} {'':>8} {'':>10} {nothing:>9.1e}"
    )
