"""Attention with a polynomial in place of the exponential.

    weights_ij = P(q_i·(k_j − c)),   output = weights V / row sums,   P(x) = Σ_m c_m x^m.

The centre c costs nothing, as softmax does not see it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import ObjectArray, as_objects, entries, entrywise, ratios
from reference.attention import logits
from reference.polynomials import evaluated, rational

__all__ = ["centred_logits", "half_range", "polynomial_attention", "polynomial_weights"]


def polynomial_weights(
    Q: Any,
    K: Any,
    coefficients: Any,
    *,
    centre: Any = None,
    causal: bool = False,
    precision: int = 128,
) -> Enclosure:
    """Enclose P(q_i·(k_j − c)), not normalised; with ``causal``, 0 for j > i.

    Parameters
    ----------
    Q : (n_q, d) array_like
        Queries: floats or integers, taken as exact.
    K : (n_k, d) array_like
        Keys, likewise.
    coefficients : (degree + 1,) array_like
        Of P, constant term first: floats, integers or Fractions; degree at most 64.
    centre : (d,) array_like, optional
        The point c; the origin by default.
    causal : bool
        Let query i see keys j ≤ i only; needs n_q = n_k.
    precision : int
        Fractional bits to work with, at least 16.

    Returns
    -------
    Enclosure of shape (n_q, n_k)

    Raises
    ------
    TypeError, ValueError
        If a number is not finite or shapes do not fit.

    Notes
    -----
    Cost: n_q n_k (d + degree) integer products.
    """
    x = centred_logits(Q, K, centre).at(precision)
    W = evaluated(rational(coefficients), x)
    if not causal:
        return W
    if W.shape[0] != W.shape[1]:
        raise ValueError(f"causal needs as many queries as keys, got {W.shape[0]}, {W.shape[1]}.")
    return W * np.tri(len(W), dtype=np.int64)


def polynomial_attention(
    Q: Any,
    K: Any,
    V: Any,
    coefficients: Any,
    *,
    centre: Any = None,
    causal: bool = False,
    precision: int = 128,
) -> Enclosure:
    """Enclose  Σ_j P(q_i·(k_j − c)) v_j / Σ_j P(q_i·(k_j − c)).

    Parameters and cost are those of :func:`polynomial_weights`, and

    V : (n_k, d_v) array_like
        Values, taken as exact.

    Returns
    -------
    Enclosure of shape (n_q, d_v)

    Raises
    ------
    TypeError, ValueError
        As :func:`polynomial_weights`, or if V has not one row a key.
    ZeroDivisionError
        If a row's weights are not certified to have a sum that differs from zero.
    """
    W = polynomial_weights(Q, K, coefficients, centre=centre, causal=causal, precision=precision)
    values = Enclosure.exact(V, name="V")
    if values.ndim != 2 or len(values) != W.shape[1]:
        raise ValueError(f"V must be a matrix with {W.shape[1]} rows, got {values.shape}.")
    largest = max(entries(abs(values.mid)), default=0)
    exponent = largest.bit_length() - values.bits  # max|V| < 2^exponent
    return (W @ values.at(precision - exponent)) / W.sum(axis=1, keepdims=True)


def half_range(Q: Any, K: Any, *, centre: Any = None) -> Fraction:
    """Return max_ij |q_i·(k_j − c)|, exactly; parameters as in :func:`polynomial_weights`."""
    return abs(centred_logits(Q, K, centre)).largest()[0]


def centred_logits(Q: Any, K: Any, centre: Any) -> Enclosure:
    """Return q_i·(k_j − c) with nothing rounded; parameters as in :func:`polynomial_weights`."""
    S = logits(Q, K)
    return S if centre is None else S - logits(Q, np.asarray(centre)[None, :])


def _fractions(x: Any, name: str) -> ObjectArray:
    numerators, denominators = ratios(x, name)
    return as_objects(numerators * entrywise(lambda q: Fraction(1, q), denominators))
