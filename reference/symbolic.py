"""Attention as SymPy expressions: the definition, small enough to differentiate and to expand.

Identities that hold for all inputs, such as the Jacobian of softmax, are proved from these by
simplification; nothing here is numerical.
"""

from collections.abc import Sequence

import sympy

__all__ = ["attention", "attention_entry", "softmax", "softmax_jacobian", "symbols_matrix"]


def softmax(v: Sequence[sympy.Expr]) -> sympy.Matrix:
    """Return the column  p_i = e^(v_i) / Σ_j e^(v_j).

    Parameters
    ----------
    v : sequence of n expressions, n at least 1

    Returns
    -------
    (n, 1) Matrix
    """
    exponentials = [sympy.exp(entry) for entry in v]
    return sympy.Matrix([exponential / sympy.Add(*exponentials) for exponential in exponentials])


def softmax_jacobian(v: Sequence[sympy.Expr]) -> sympy.Matrix:
    """Return what the derivative of softmax is:  ∂p_i/∂v_j = p_i (δ_ij − p_j).

    Parameters
    ----------
    v : sequence of n expressions, n at least 1

    Returns
    -------
    (n, n) Matrix
    """
    p = softmax(v)
    return sympy.diag(*p) - p * p.T


def attention_entry(
    Q: sympy.Matrix, K: sympy.Matrix, V: sympy.Matrix, i: int, c: int, *, causal: bool = False
) -> sympy.Expr:
    """Return one entry  Σ_j e^(q_i·k_j) v_jc / Σ_j e^(q_i·k_j);  parameters as in :func:`attention`.

    Parameters
    ----------
    i, c : int
        Row and column of the entry.
    """
    seen = i + 1 if causal else K.rows
    p = softmax(K[:seen, :] * Q[i, :].T)
    return (p.T * V[:seen, c])[0]


def attention(
    Q: sympy.Matrix, K: sympy.Matrix, V: sympy.Matrix, *, causal: bool = False
) -> sympy.Matrix:
    """Return softmax(Q Kᵀ) V, row by row.

    Parameters
    ----------
    Q : (n_q, d) Matrix
        Queries.
    K : (n_k, d) Matrix
        Keys.
    V : (n_k, d_v) Matrix
        Values.
    causal : bool
        Let query i see keys j ≤ i only.

    Returns
    -------
    (n_q, d_v) Matrix
    """
    return sympy.Matrix(
        Q.rows, V.cols, lambda i, c: attention_entry(Q, K, V, int(i), int(c), causal=causal)
    )


def symbols_matrix(name: str, rows: int, columns: int) -> sympy.Matrix:
    """Return the matrix of real symbols  name_0_0, name_0_1, ….

    Parameters
    ----------
    name : str
    rows, columns : int
    """
    return sympy.Matrix(rows, columns, lambda i, j: sympy.Symbol(f"{name}_{i}_{j}", real=True))
