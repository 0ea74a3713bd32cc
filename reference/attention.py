"""Softmax attention on floats taken as exact numbers, enclosed.

    weights = D⁻¹ exp(Q Kᵀ),  D = diag(row sums of exp(Q Kᵀ)),  attention = weights V.

There is no 1/√d: scale Q.  With ``causal``, query i sees keys 0 … i.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.arithmetic.decide import PRECISIONS, decide
from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import entries
from reference.arithmetic.verdict import Verdict

__all__ = ["attention", "attention_verdict", "logits", "softmax", "weights"]

LARGEST_SIZE = 1 << 20  # of n_q · n_k: a reference is for checking, not for work
LEAST_PRECISION = 16


def attention(Q: Any, K: Any, V: Any, *, causal: bool = False, precision: int = 128) -> Enclosure:
    """Enclose softmax(Q Kᵀ) V, of width at most 40 n_k 2^−precision max|V| at any scale.

    output_i = Σ_j e^(q_i·k_j) v_j / Σ_j e^(q_i·k_j)

    Parameters
    ----------
    Q : (n_q, d) array_like or Enclosure
        Queries: floats or integers, taken as exact.
    K : (n_k, d) array_like or Enclosure
        Keys, likewise.
    V : (n_k, d_v) array_like or Enclosure
        Values, likewise.
    causal : bool
        Let query i see keys j ≤ i only; needs n_q = n_k.
    precision : int
        Bits of the weights, at least 16.

    Returns
    -------
    Enclosure of shape (n_q, d_v)

    Raises
    ------
    TypeError
        If an argument holds something else than numbers.
    ValueError
        If a number is not finite, shapes do not fit, or n_q · n_k exceeds 2^20.

    Notes
    -----
    Cost: n_q n_k exponentials and n_q n_k (d + d_v) integer products.  For n = 256, d = d_v = 32
    and precision 128 this is about one second (``pytest -m slow tests/reference --durations=5``).
    """
    S = logits(Q, K)
    values = _matrix(V, "V")
    if len(values) != S.shape[1]:
        raise ValueError(f"V must have as many rows as K, {S.shape[1]}, got {len(values)}.")
    E = _exponentials(S, _seen(S, causal), precision)
    largest = max(entries(abs(values.mid)), default=0)
    exponent = largest.bit_length() - values.bits  # max|V| < 2^exponent
    return (E @ values.at(precision - exponent)) / E.sum(axis=1, keepdims=True)


def weights(Q: Any, K: Any, *, causal: bool = False, precision: int = 128) -> Enclosure:
    """Enclose the softmax matrix  p_ij = e^(q_i·k_j) / Σ_l e^(q_i·k_l).

    Parameters, errors and cost are those of :func:`attention`.

    Returns
    -------
    Enclosure of shape (n_q, n_k)
    """
    S = logits(Q, K)
    return _normalised(_exponentials(S, _seen(S, causal), precision))


def softmax(v: Any, *, precision: int = 128) -> Enclosure:
    """Enclose  p_j = e^(v_j) / Σ_l e^(v_l)  along the last axis.

    Parameters
    ----------
    v : (..., n) array_like or Enclosure
        Logits; floats and integers are taken as exact.
    precision : int
        Bits of the weights, at least 16.

    Returns
    -------
    Enclosure of the shape of ``v``

    Raises
    ------
    TypeError, ValueError
        If ``v`` holds something else than finite numbers, or none.
    """
    v = v if isinstance(v, Enclosure) else Enclosure.exact(v, name="v")
    if v.mid.ndim == 0 or v.mid.size == 0:
        raise ValueError(f"v must have an axis and an entry, got shape {v.shape}.")
    return _normalised(_exponentials(v, None, precision))


def logits(Q: Any, K: Any) -> Enclosure:
    """Return Q Kᵀ with nothing rounded: the radius is 0 where Q and K are plain arrays.

    Parameters and errors are those of :func:`attention`.

    Returns
    -------
    Enclosure of shape (n_q, n_k)
    """
    queries, keys = _matrix(Q, "Q"), _matrix(K, "K")
    (n_q, d), (n_k, d_k) = queries.shape, keys.shape
    if d != d_k:
        raise ValueError(f"Q and K must have equally many columns, got {d} and {d_k}.")
    if n_q * n_k > LARGEST_SIZE:
        raise ValueError(f"n_q * n_k must be at most {LARGEST_SIZE}, got {n_q} * {n_k}.")
    return queries.dot(keys.T)


def attention_verdict(
    Q: Any,
    K: Any,
    V: Any,
    output: Any,
    error_bound: Any,
    *,
    causal: bool = False,
    precision: int = 128,
) -> tuple[Verdict, Enclosure]:
    """Decide |output − attention| ≤ error_bound for all entries, raising the precision as needed.

    Parameters
    ----------
    Q, K, V, causal
        As in :func:`attention`.
    output : (n_q, d_v) array_like
        The output that is judged, taken as exact.
    error_bound : float, (n_q,) or (n_q, d_v) array_like
        The claimed bound: for all entries, for each row, or for each entry.
    precision : int
        The precision to begin with; the higher ones of PRECISIONS follow.

    Returns
    -------
    verdict : Verdict
        UNDECIDED only if it still is at the last precision.
    enclosure : Enclosure
        The one that decided.

    Raises
    ------
    TypeError, ValueError
        As :func:`attention`, or if the shape of ``output`` or ``error_bound`` does not fit.
    """
    queries, keys, values = _matrix(Q, "Q"), _matrix(K, "K"), _matrix(V, "V")
    shape = (len(queries), values.shape[1])
    if np.shape(output) != shape:
        raise ValueError(f"output must have shape {shape}, got {np.shape(output)}.")
    bound = np.asarray(error_bound)
    if bound.shape not in ((), shape[:1], shape):
        raise ValueError(
            f"error_bound must have shape (), {shape[:1]} or {shape}, got {bound.shape}."
        )
    return decide(
        lambda bits: attention(queries, keys, values, causal=causal, precision=bits),
        output,
        bound[:, None] if bound.ndim == 1 else bound,
        precisions=(precision, *(higher for higher in PRECISIONS if higher > precision)),
    )


def _exponentials(S: Enclosure, seen: NDArray[np.bool_] | None, precision: int) -> Enclosure:
    """e^(s_ij − c_i), where c_i is the largest midpoint of row i: exact, so it cancels later."""
    if precision < LEAST_PRECISION:
        raise ValueError(f"precision must be at least {LEAST_PRECISION}, got {precision}.")
    if seen is None:
        shifted = S.mid - S.mid.max(axis=-1, keepdims=True)
    else:
        first = S.mid[:, :1]  # every query sees key 0, so it may stand in for the unseen
        shifted = S.mid - np.where(seen, S.mid, first).max(axis=-1, keepdims=True)
        # So far below the kernel's cut that 0 comes back, which is what an unseen key contributes.
        shifted = np.where(seen, shifted, -(precision + 1) << max(S.bits, 0))
    return Enclosure(shifted, S.radius, S.bits).at(precision).exp()


def _normalised(E: Enclosure) -> Enclosure:
    return E / E.sum(axis=-1, keepdims=True)


def _seen(S: Enclosure, causal: bool) -> NDArray[np.bool_] | None:
    if not causal:
        return None
    if S.shape[0] != S.shape[1]:
        raise ValueError(
            f"causal needs as many queries as keys, got n_q = {S.shape[0]} and n_k = {S.shape[1]}."
        )
    return np.tri(S.shape[0], dtype=bool)


def _matrix(X: Any, name: str) -> Enclosure:
    matrix = X if isinstance(X, Enclosure) else Enclosure.exact(X, name=name)
    if matrix.ndim != 2 or len(matrix) == 0:
        raise ValueError(f"{name} must be a matrix with at least one row, got {matrix.shape}.")
    return matrix
