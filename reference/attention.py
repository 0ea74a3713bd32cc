"""Softmax attention as it is run, on floats taken as exact numbers, enclosed.

    o_i = Σ_j e^(s_ij) v_j / (Σ_j e^(s_ij) + e^(sink)),   over the keys j that query i sees,

with the scores s of ``scores`` and the keys that ``visibility`` lets it see.  Without options this is
D⁻¹ exp(Q Kᵀ) V, the papers' definition: there is no 1/√d.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reference.arithmetic.decide import PRECISIONS, decide
from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.verdict import Verdict
from reference.heads import Head, arranged, checked_precision, head_shape, heads, lifted
from reference.scores import logits, matrix

__all__ = [
    "attention",
    "attention_verdict",
    "log_sum_exp",
    "logits",
    "softmax",
    "weights",
]


def attention(
    Q: Any,
    K: Any,
    V: Any,
    *,
    scale: Any = 1,
    causal: bool | str = False,
    window: tuple[int | None, int | None] | None = None,
    mask: Any = None,
    bias: Any = None,
    softcap: Any = None,
    sinks: Any = None,
    empty_rows: str = "refuse",
    precision: int = 128,
) -> Enclosure:
    """Enclose attention, of width at most 40 n_k 2^−precision max|V| at any size of the logits.

    output_i = Σ_j e^(s_ij) v_j / (Σ_j e^(s_ij) + e^(sink)) over the visible keys j,
    s_ij = cap(scale · q_i·k_j) + bias_ij, cap(x) = softcap · tanh(x / softcap).

    Parameters
    ----------
    Q : (n_q, d) or (..., h_q, n_q, d) array_like, or (n_q, d) Enclosure
        Queries: floats or integers, taken as exact.
    K : (n_k, d) or (..., h_k, n_k, d) array_like, or (n_k, d) Enclosure
        Keys; h_q is a multiple of h_k, and query head h reads key head h // (h_q / h_k).
    V : (n_k, d_v) or (..., h_k, n_k, d_v) array_like, or (n_k, d_v) Enclosure
        Values, likewise.
    scale : float, int or Fraction
        Factor of q_i·k_j, taken as exact.
    causal : {False, True, "upper-left", "lower-right"}
    window : pair of (int or None), optional
        Which keys a query sees, as :func:`reference.visibility.visible` says.
    mask : array_like of bool, optional
        True where a key is visible; broadcasts to (..., h_q, n_q, n_k).
    bias : array_like, optional
        Added to the scores; −inf hides the key.  Broadcasts likewise.
    softcap : float, int or Fraction, optional
        Positive.
    sinks : number, or (h_q,) array_like, optional
        A logit a head that only the denominator sees.
    empty_rows : {"refuse", "zeros"}
        What a query that sees neither key nor sink gets: an error that names it, or zeros.
    precision : int
        Bits of the weights, at least 16.

    Returns
    -------
    Enclosure of shape (n_q, d_v) or (..., h_q, n_q, d_v)

    Raises
    ------
    TypeError
        If an argument holds something else than it should.
    ValueError
        If a number is not finite, shapes do not fit, n_q · n_k exceeds 2^20, or a row is empty and
        ``empty_rows`` is "refuse".

    Notes
    -----
    Cost: n_q n_k exponentials and n_q n_k (d + d_v) integer products a head.  For n = 256, d = d_v = 32
    and precision 128 this is about one second (``pytest -m slow tests/reference --durations=5``).

    Examples
    --------
    >>> import numpy as np
    >>> import reference
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 5, 4))
    >>> exact = reference.attention(Q, K, V)
    >>> exact.shape, float(exact.width()) < 1e-30
    ((5, 4), True)
    >>> weights = np.exp(Q @ K.T)
    >>> mine = weights @ V / weights.sum(axis=1, keepdims=True)
    >>> lower, upper = exact.distance(mine).largest()  # of the error, as fractions
    >>> lower <= upper, float(upper) < 1e-14
    (True, True)
    """
    if empty_rows not in ("refuse", "zeros"):
        raise ValueError(f"empty_rows must be 'refuse' or 'zeros', got {empty_rows!r}.")
    found = heads(
        Q,
        K,
        V,
        scale=scale,
        causal=causal,
        window=window,
        mask=mask,
        bias=bias,
        softcap=softcap,
        sinks=sinks,
    )
    return _stacked(found, lambda head: head.output(empty_rows, precision))


def log_sum_exp(
    Q: Any,
    K: Any,
    *,
    scale: Any = 1,
    causal: bool | str = False,
    window: tuple[int | None, int | None] | None = None,
    mask: Any = None,
    bias: Any = None,
    softcap: Any = None,
    sinks: Any = None,
    precision: int = 128,
) -> Enclosure:
    """Enclose ln(Σ_j e^(s_ij) + e^(sink)), the logarithm of attention's denominator.

    Parameters and errors are those of :func:`attention`; a row that sees nothing is refused, as its
    logarithm is −∞.

    Returns
    -------
    Enclosure of shape (n_q,) or (..., h_q, n_q)
    """
    found = heads(
        Q,
        K,
        K,
        scale=scale,
        causal=causal,
        window=window,
        mask=mask,
        bias=bias,
        softcap=softcap,
        sinks=sinks,
    )
    return _stacked(found, lambda head: head.log_sum_exp(precision))


def weights(
    Q: Any, K: Any, *, causal: bool | str = False, precision: int = 128, **semantics: Any
) -> Enclosure:
    """Enclose the softmax matrix  p_ij = e^(s_ij) / (Σ_l e^(s_il) + e^(sink))  of one head.

    Parameters, errors and cost are those of :func:`attention`; a row that sees nothing is refused.

    Returns
    -------
    Enclosure of shape (n_q, n_k)
    """
    ((_, head),) = heads(
        matrix(Q, "Q"), matrix(K, "K"), matrix(K, "K"), causal=causal, **semantics
    ).items()
    return head.weights("refuse", precision)


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

    Examples
    --------
    >>> import reference
    >>> lower, upper = reference.softmax([0.0, 0.0, 0.0]).bounds()
    >>> [float(x) == 1 / 3 for x in upper]
    [True, True, True]
    """
    v = v if isinstance(v, Enclosure) else Enclosure.exact(v, name="v")
    if v.mid.ndim == 0 or v.mid.size == 0:
        raise ValueError(f"v must have an axis and an entry, got shape {v.shape}.")
    shifted = Enclosure(v.mid - v.mid.max(axis=-1, keepdims=True), v.radius, v.bits)
    E = shifted.at(checked_precision(precision)).exp()
    return E / E.sum(axis=-1, keepdims=True)


def attention_verdict(
    Q: Any,
    K: Any,
    V: Any,
    output: Any,
    error_bound: Any,
    *,
    precision: int = 128,
    **semantics: Any,
) -> tuple[Verdict, Enclosure]:
    """Decide |output − attention| ≤ error_bound for all entries, raising the precision as needed.

    Parameters
    ----------
    Q, K, V, **semantics
        As in :func:`attention`.
    output : array_like of the shape of the truth
        The output that is judged, taken as exact.
    error_bound : float or array_like
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
    Q, K, V = (lifted(X, name) for X, name in ((Q, "Q"), (K, "K"), (V, "V")))
    head_shape(Q, K, V)
    shape = (*Q.shape[:-1], V.shape[-1])
    if np.shape(output) != shape:
        raise ValueError(f"output must have shape {shape}, got {np.shape(output)}.")
    bound = np.asarray(error_bound)
    if bound.shape not in ((), shape[:-1], shape):
        raise ValueError(
            f"error_bound must have shape (), {shape[:-1]} or {shape}, got {bound.shape}."
        )
    return decide(
        lambda bits: attention(Q, K, V, precision=bits, **semantics),
        output,
        bound[..., None] if bound.shape == shape[:-1] else bound,
        precisions=(precision, *(higher for higher in PRECISIONS if higher > precision)),
    )


def _stacked(found: dict[tuple[int, ...], Head], enclose: Callable[[Head], Enclosure]) -> Enclosure:
    """Return what is enclosed of every head, as one array with the heads' axes first."""
    return arranged({index: enclose(head) for index, head in found.items()})
