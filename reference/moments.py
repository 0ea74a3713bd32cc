"""Moments of keys and values: all that polynomial attention needs of them.

    S_α = Σ_j (k_j − c)^α [v_j, 1],   |α| ≤ degree.

One pass over keys and values is enough, if it comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import product
from math import comb, factorial, prod
from typing import Any

import numpy as np

from reference.arithmetic.exact_numbers import ObjectArray, as_objects, entries
from reference.polynomial_weights import _fractions
from reference.polynomials import rational

__all__ = ["exponents", "moment_attention", "moments", "recentred"]

Moments = Mapping[tuple[int, ...], ObjectArray]


LARGEST_FEATURES = 1 << 16  # monomials: a reference is for checking, not for work


def exponents(variables: int, degree: int) -> list[tuple[int, ...]]:
    """Return the C(variables + degree, degree) exponents α with |α| ≤ degree, by rising |α|.

    Raises
    ------
    ValueError
        If there are more than 65 536.
    """
    if comb(variables + degree, degree) > LARGEST_FEATURES:
        raise ValueError(
            f"at most {LARGEST_FEATURES} monomials can be listed, {variables} variables of degree "
            f"{degree} have {comb(variables + degree, degree)}."
        )

    def of_degree(total: int, left: int) -> list[tuple[int, ...]]:
        if left == 1:
            return [(total,)]
        return [
            (first, *rest)
            for first in range(total, -1, -1)
            for rest in of_degree(total - first, left - 1)
        ]

    return [a for total in range(degree + 1) for a in of_degree(total, variables)]


def moments(K: Any, V: Any, degree: int, *, centre: Any = None) -> Moments:
    """Return  S_α = Σ_j (k_j − c)^α [v_j, 1]  for |α| ≤ degree, exactly.

    Parameters
    ----------
    K : (n, d) array_like
        Keys: floats, integers or Fractions.
    V : (n, d_v) array_like
        Values, likewise.
    degree : int
        At least 0.
    centre : (d,) array_like, optional
        The point c; the origin by default.

    Returns
    -------
    dict from exponents to (d_v + 1,) object arrays of Fraction

    Raises
    ------
    TypeError, ValueError
        If a number is not finite, shapes do not fit, or there are more than 65 536 monomials.

    Notes
    -----
    Moments of two sets of keys add up to those of their union: that is how shards merge.
    """
    keys, values = _fractions(K, "K"), _fractions(V, "V")
    if keys.ndim != 2 or values.ndim != 2 or len(keys) != len(values):
        raise ValueError(
            f"K and V must be matrices of equally many rows, got {keys.shape}, {values.shape}."
        )
    if centre is not None:
        keys = keys - _fractions(centre, "centre")
    extended = np.concatenate([values, np.full((len(values), 1), Fraction(1))], axis=1)
    return {
        a: (np.prod(keys**a, axis=1)[:, None] * extended).sum(axis=0)
        for a in exponents(keys.shape[1], degree)
    }


def recentred(state: Moments, shift: Any) -> Moments:
    """Return the moments about c + shift of the same keys and values, from those about c.

    S'_α = Σ_{β ≤ α} Π_l C(α_l, β_l) (−shift_l)^(α_l − β_l) S_β

    Parameters
    ----------
    state : mapping
        As :func:`moments` returns.
    shift : (d,) array_like
        Floats, integers or Fractions.
    """
    s = [-f for f in entries(_fractions(shift, "shift"))]

    def moved(a: tuple[int, ...]) -> ObjectArray:
        total = 0 * state[a]
        for b in product(*(range(m + 1) for m in a)):
            factors = (comb(m, k) * t ** (m - k) for m, k, t in zip(a, b, s, strict=True))
            total = total + prod(factors, start=Fraction(1)) * state[b]
        return as_objects(total)

    return {a: moved(a) for a in state}


def moment_attention(state: Moments, Q: Any, coefficients: Any) -> ObjectArray:
    """Return polynomial attention from the moments alone, exactly: an array of Fractions.

    Σ_j P(q·(k_j − c)) [v_j, 1] = Σ_α c_|α| (|α|! / α!) q^α S_α

    Parameters
    ----------
    state : mapping
        As :func:`moments` returns, of degree at least that of P.
    Q : (n_q, d) array_like
        Queries.
    coefficients : (degree + 1,) array_like
        As in :func:`polynomial_weights`.
    """
    c, queries = rational(coefficients), _fractions(Q, "Q")
    sums = sum(
        c[sum(a)]
        * Fraction(factorial(sum(a)), prod(factorial(m) for m in a))
        * np.prod(queries**a, axis=1)[:, None]
        * S
        for a, S in state.items()
        if sum(a) < len(c)
    )
    return as_objects(sums[:, :-1] / sums[:, -1:])
