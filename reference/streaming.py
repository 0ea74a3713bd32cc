"""Attention from a stream: polynomial weights, moments, what k entries keep, and the INDEX stream.

    weights_ij = P(q_i·(k_j − c)),   output = weights V / row sums,   P(x) = Σ_m c_m x^m.

P replaces exp; the centre c costs nothing, as softmax does not see it.  The moments

    S_α = Σ_j (k_j − c)^α [v_j, 1],   |α| ≤ degree,

are all that the output needs of keys and values, so one pass over them is enough, if it comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product
from math import comb, factorial, prod
from typing import Any

import numpy as np

from reference.attention import logits
from reference.enclosure import Enclosure
from reference.exact_numbers import ObjectArray, as_objects, entries, entrywise, ratios
from reference.polynomials import evaluated, rational

__all__ = [
    "best_sparse",
    "centred_logits",
    "exponents",
    "half_range",
    "index_answer",
    "index_stream",
    "moment_attention",
    "moments",
    "polynomial_attention",
    "polynomial_weights",
    "recentred",
    "sparse_tail",
]

Moments = Mapping[tuple[int, ...], ObjectArray]

LARGEST_FEATURES = 1 << 16  # monomials: a reference is for checking, not for work


# --------------------------------------------------------------------------- polynomial attention


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


# ---------------------------------------------------------------------------------------- moments


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


def _fractions(x: Any, name: str) -> ObjectArray:
    numerators, denominators = ratios(x, name)
    return as_objects(numerators * entrywise(lambda q: Fraction(1, q), denominators))


# ------------------------------------------------------------------------------- sparse recovery


def best_sparse(x: Any, sparsity: int) -> list[int]:
    """Return the indices of the ``sparsity`` largest |x_i|, the first ones where some are equal."""
    magnitudes = entries(abs(_fractions(x, "x")))
    return sorted(sorted(range(len(magnitudes)), key=lambda i: -magnitudes[i])[:sparsity])


def sparse_tail(column: Any, sparsity: int, *, precision: int = 128) -> Enclosure:
    """Enclose  min ‖y' − y‖₂  over y' with at most ``sparsity`` nonzero entries.

    That is the ℓ₂ norm of y without its ``sparsity`` entries of largest magnitude.

    Parameters
    ----------
    column : (n,) array_like or Enclosure
        The vector y.
    sparsity : int
        At least 0.

    Notes
    -----
    The k-th largest of n numbers moves by no more than the numbers do, so that sorted midpoints
    enclose the sorted truth with the same radius.
    """
    y = (
        column
        if isinstance(column, Enclosure)
        else Enclosure.exact(column, precision, name="column")
    )
    if y.ndim != 1 or sparsity < 0:
        raise ValueError(
            f"a vector and a sparsity of at least 0 are needed, got {y.shape}, {sparsity}."
        )
    ranked = abs(y).at(max(y.bits, precision))
    rest = Enclosure(np.sort(ranked.mid)[: max(len(y) - sparsity, 0)], ranked.radius, ranked.bits)
    return (rest * rest).sum().sqrt()


# ------------------------------------------------------------------------------- the INDEX stream


def index_stream(bits: Sequence[int]) -> tuple[ObjectArray, ObjectArray, ObjectArray]:
    """Return tokens (Q, K, V), in their order, whose non-causal attention spells out ``bits``.

    Token i asks with q_i = bits_i and has no key and no value; one last token has a key and the value
    1.  Output i is 1 / (1 + n) for a 0 and at least 1/2 for a 1: whoever answers after the last token
    remembers all bits.  (INDEX: to answer for one i that is named later takes Ω(n) bits too, even with
    errors of probability below 1/2.)

    Parameters
    ----------
    bits : sequence of n numbers 0 or 1

    Returns
    -------
    Q, K, V : (n + 1, 1) arrays of int
    """
    n = len(bits)
    last = n.bit_length()  # e^last > 2^last > n
    Q = [[b] for b in bits] + [[0]]
    K = [[0]] * n + [[last]]
    V = [[0]] * n + [[1]]
    return tuple(np.array(X, dtype=object) for X in (Q, K, V))  # type: ignore[return-value]


def index_answer(output: Any) -> list[int]:
    """Return the bits that an output of :func:`index_stream` spells.

    Right if each entry errs by less than (n − 1) / (4 (n + 1)), half the distance of 1/2 from 1/(n + 1).

    Parameters
    ----------
    output : (n + 1, 1) array_like
        Floats or Fractions.
    """
    column = entries(_fractions(output, "output"))[:-1]
    n = len(column)
    middle = (Fraction(1, 2) + Fraction(1, n + 1)) / 2
    return [int(y > middle) for y in column]
