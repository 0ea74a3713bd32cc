"""The INDEX problem as tokens: why keys and values must come before queries, and what a cache must hold."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import islice, product
from typing import Any

import numpy as np

from reference.arithmetic.exact_numbers import ObjectArray, entries
from reference.polynomial_weights import _fractions

__all__ = ["cache_answer", "cache_tokens", "index_answer", "index_stream"]


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


def cache_tokens(
    bits: Sequence[int], keys: int, dimension: int
) -> tuple[ObjectArray, ObjectArray, ObjectArray]:
    """Return keys and values that spell out ``bits``, and queries that read them one token at a time.

    The keys are corners of the cube {-1, 1}^d, the values the bits, so many a key as there are columns,
    and query i is key i times c with e^{2c} >= 4d.  Corner i then has 1/(1 + e^{-2c})^d of the weight of all
    2^d corners, at least 3/4: output i is at least 3/4 for a 1 and at most 1/4 for a 0.

    Parameters
    ----------
    bits : sequence of keys × columns numbers 0 or 1
    keys : int
        At most 2^dimension.
    dimension : int

    Returns
    -------
    Q, K : (keys, dimension) arrays of Fractions and ints
    V : (keys, columns) array of int

    Raises
    ------
    ValueError
        If the cube has not so many corners, or the bits are not as many for each key.
    """
    if not 1 <= keys <= 2**dimension:
        raise ValueError(f"keys must be from 1 to 2^{dimension}, got {keys}.")
    if not bits or len(bits) % keys:
        raise ValueError(f"bits must be a multiple of {keys}, as many a key, got {len(bits)}.")
    corners = [list(corner) for corner in islice(product((-1, 1), repeat=dimension), keys)]
    scale = Fraction((4 * dimension - 1).bit_length(), 2)
    columns = len(bits) // keys
    V = [[int(b) for b in bits[i * columns : (i + 1) * columns]] for i in range(keys)]
    return (
        np.array([[scale * x for x in corner] for corner in corners], dtype=object),
        np.array(corners, dtype=object),
        np.array(V, dtype=object),
    )


def cache_answer(output: Any) -> list[int]:
    """Return the bits that an output of :func:`cache_tokens` spells: right if entries err by less than 1/4.

    Parameters
    ----------
    output : (keys, columns) array_like
        Floats or Fractions.
    """
    return [int(y > Fraction(1, 2)) for y in entries(_fractions(output, "output"))]
