"""The INDEX problem as a stream of tokens: why keys and values must come before queries."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from reference.arithmetic.exact_numbers import ObjectArray, entries
from reference.polynomial_weights import _fractions

__all__ = ["index_answer", "index_stream"]


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
