"""Scores: what a query and a key add up to before the exponential.

s_ij = cap(scale · q_i·k_j) + bias_ij,   cap(x) = softcap · tanh(x / softcap).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import as_objects

__all__ = ["capped", "logits", "scaled", "scores"]

LARGEST_SIZE = 1 << 20  # of n_q · n_k: a reference is for checking, not for work


def scores(
    Q: Any,
    K: Any,
    *,
    scale: Any = 1,
    bias: Any = None,
    softcap: Any = None,
    precision: int = 128,
) -> Enclosure:
    """Enclose  s_ij = cap(scale · q_i·k_j) + bias_ij  of one head.

    Parameters
    ----------
    Q : (n_q, d) array_like or Enclosure
        Queries, taken as exact.
    K : (n_k, d) array_like or Enclosure
        Keys, likewise.
    scale : float, int or Fraction
        Any number, taken as exact: Fraction(1, 3) is a third.
    bias : (n_q, n_k) array_like, optional
        Finite numbers, or what broadcasts to them; what hides a key is no score (``visibility``).
    softcap : float, int or Fraction, optional
        Positive; without it nothing is capped.
    precision : int
        Bits behind the point where something has to be rounded.

    Returns
    -------
    Enclosure of shape (n_q, n_k)
        Of radius 0 where Q and K are plain, scale is a binary fraction and nothing is capped.

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed or shapes do not fit.
    """
    S = scaled(logits(Q, K), number(scale, "scale"), precision)
    if softcap is not None:
        cap = number(softcap, "softcap")
        if cap <= 0:
            raise ValueError(f"softcap must be positive, got {softcap!r}.")
        S = capped(S, cap, precision)
    if bias is not None:
        added = bias if isinstance(bias, Enclosure) else Enclosure.exact(bias, name="bias")
        if np.broadcast_shapes(added.shape, S.shape) != S.shape:
            raise ValueError(f"bias must broadcast to {S.shape}, got shape {added.shape}.")
        S = S + added
    return S


def logits(Q: Any, K: Any) -> Enclosure:
    """Return Q Kᵀ with nothing rounded: the radius is 0 where Q and K are plain arrays.

    Parameters
    ----------
    Q : (n_q, d) array_like or Enclosure
    K : (n_k, d) array_like or Enclosure

    Returns
    -------
    Enclosure of shape (n_q, n_k)

    Raises
    ------
    TypeError, ValueError
        If an entry is no finite number, shapes do not fit, or n_q · n_k exceeds 2^20.
    """
    queries, keys = matrix(Q, "Q"), matrix(K, "K")
    (n_q, d), (n_k, d_k) = queries.shape, keys.shape
    if d != d_k:
        raise ValueError(f"Q and K must have equally many columns, got {d} and {d_k}.")
    if n_q * n_k > LARGEST_SIZE:
        raise ValueError(f"n_q * n_k must be at most {LARGEST_SIZE}, got {n_q} * {n_k}.")
    return queries.dot(keys.T)


def scaled(S: Enclosure, scale: Fraction, precision: int) -> Enclosure:
    """Enclose scale · s: exactly for a binary fraction, else to ``precision`` bits behind the point.

    |a/b · s − a/b · S| ≤ |a| r / b, then one floor where b is no power of two.
    """
    numerator, denominator = scale.numerator, scale.denominator
    if not denominator & (denominator - 1):
        bits = S.bits + denominator.bit_length() - 1
        return Enclosure(S.mid * numerator, S.radius * abs(numerator), bits)
    fine = S.at(max(S.bits, precision))
    mid = as_objects(fine.mid * numerator // denominator)
    return Enclosure(mid, -(-fine.radius * abs(numerator) // denominator) + 1, fine.bits)


def capped(S: Enclosure, softcap: Fraction, precision: int) -> Enclosure:
    """Enclose softcap · tanh(s / softcap); it never exceeds softcap, and its slope never 1."""
    magnitude = max(0, softcap.numerator.bit_length() - softcap.denominator.bit_length() + 1)
    ratio = scaled(S, 1 / softcap, precision + magnitude)
    return scaled(ratio.at(max(precision + magnitude, 16)).tanh(), softcap, precision)


def number(x: Any, name: str) -> Fraction:
    """Return one number, exactly.

    Raises
    ------
    TypeError
        If it is none.
    ValueError
        If it is not finite.
    """
    if isinstance(x, (bool, np.bool_)):
        raise TypeError(f"{name} must be a number, got {x!r}.")
    if isinstance(x, Fraction):
        return x
    if isinstance(x, (int, np.integer)):
        return Fraction(int(x))
    if isinstance(x, (float, np.float16, np.float32)):
        if not np.isfinite(x):
            raise ValueError(f"{name} must be finite, got {x!r}.")
        return Fraction(float(x))
    raise TypeError(f"{name} must be a number, got {x!r}.")


def matrix(X: Any, name: str) -> Enclosure:
    """Return a matrix with at least one row, taken as exact."""
    given = X if isinstance(X, Enclosure) else Enclosure.exact(X, name=name)
    if given.ndim != 2 or len(given) == 0:
        raise ValueError(f"{name} must be a matrix with at least one row, got {given.shape}.")
    return given
