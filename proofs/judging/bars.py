"""What an answer must reach to say anything: bars that the judge sets, from the input and its own truth.

A certificate can be honest and say nothing: zeros, with the bound by which zeros err.  So the size of a
bound is judged too, by two numbers that no implementation has a say in:

- ``trivial_error``: what the best trivial answer errs.  One is trivial that looks at no query.
- ``rounding_bar``: FP.softmax's bound for attention in the input's own type, keys taken in short blocks.
  Whoever computes exactly meets it; who computes in fewer digits is held to the tolerance asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from math import fsum
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from proofs.judging.heads import Matrix
from reference import Enclosure
from specs import CLAIMS
from specs.softmax.rounding import ARITHMETIC

__all__ = ["rounding_bar", "tolerance_below", "trivial_error"]

#: Keys in a block of the slowest summation that is allowed for; kernels take 16 or more.
BLOCK = 16

#: Values below this fraction of their column's largest may round like ones of this size.
LEAST_MAGNITUDE = 2.0**-40

#: Logits up to this size, a type, may be left unshifted: exp neither overflows nor underflows.
UNSHIFTED = {"float32": 40.0, "float64": 300.0}

#: What underflow may take from an output, in units of the smallest normal number.
UNDERFLOWS = 8

#: An answer that is nearer to the truth than what the sums round where all logits are zero, and so many
#: units of the last subnormal place, is the truth, rounded.
RIGHT_ROUNDINGS = 4


def tolerance_below(trivial: Fraction | None, largest_value: float, most: float) -> float:
    """Return the tolerance to ask for: ``most``, or half of what a trivial answer reaches if that is less."""
    if trivial is None or not largest_value:
        return most
    half = float(trivial / (2 * Fraction(largest_value)))
    return min(most, float(np.nextafter(half, 0.0)))


def trivial_error(
    truths: Sequence[Enclosure],
    V: Matrix,
    *,
    causal: bool = False,
    left_out: int = 0,
) -> Fraction | None:
    """Return the least error of a trivial answer that is not the truth itself, up to rounding.

    The trivial answers are zeros, the mean of the values that a query may see and the middle of their range.

    Parameters
    ----------
    truths
        Enclosures of the judged rows, in pieces; of every row where ``causal``.
    V : array, shape (n_k, d_v)
        The values.
    causal : bool
        Whether query i sees only the keys j <= i.
    left_out : int
        How many of the largest row errors to leave out, as a certificate of all but a fraction may.

    Returns
    -------
    Fraction or None
        The largest error of the best of them over the other rows; None where each is right.
    """
    least = Fraction(float(np.finfo(V.dtype).smallest_subnormal))
    no_logits = (np.zeros((n, 1), V.dtype) for n in (1, len(V)))
    query, keys = no_logits
    summed = Fraction(float(rounding_bar(query, keys, V).max()))
    underflow = UNDERFLOWS * ARITHMETIC[V.dtype.name].tiny
    right = max(Fraction(0), summed - underflow) + RIGHT_ROUNDINGS * least
    errors = []
    for answer in _trivial_answers(V, causal):
        rows = []
        start = 0
        for truth in truths:
            piece = answer[start : start + len(truth)] if causal else answer
            start += len(truth)
            rows += (
                truth.distance(np.broadcast_to(piece, truth.shape)).bounds()[0].max(axis=1).tolist()
            )
        error = Fraction(sorted(rows, reverse=True)[left_out])
        if error > right:
            errors.append(error)
    return min(errors, default=None)


def _trivial_answers(V: Matrix, causal: bool) -> Iterator[Matrix]:
    """Yield zeros, means and middles of the visible values: one row for all queries, or one for each."""
    values = V.astype(np.float64)
    exponent = int(np.frexp(np.abs(values).max())[1])
    scaled = np.ldexp(values, -exponent)  # neither a sum nor a difference overflows
    counts = range(1, len(V) + 1) if causal else [len(V)]
    means = [[fsum(column[:count]) / count for column in scaled.T] for count in counts]
    upper, lower = (
        sign * (np.maximum.accumulate(sign * scaled) if causal else (sign * scaled).max(axis=0))
        for sign in (1, -1)
    )
    yield np.zeros((len(means), V.shape[1]))
    yield np.ldexp(np.array(means), exponent)
    yield np.ldexp(np.atleast_2d(lower / 2 + upper / 2), exponent)


def rounding_bar(Q: Matrix, K: Matrix, V: Matrix, *, causal: bool = False) -> NDArray[np.float64]:
    """Return, entry by entry, FP.softmax's bound for attention in the type of the inputs.

    It allows for a shift by any running maximum, a rescaling every BLOCK keys and sums in any order.  The
    logits' magnitude is that of Cauchy and Schwarz.

    Parameters
    ----------
    Q, K, V, causal
        As for ``reference.attention``, in one type.

    Returns
    -------
    array, shape (n_q, d_v)
    """
    arithmetic = ARITHMETIC[V.dtype.name]
    u, tiny, exp_error = map(
        float, (arithmetic.unit_roundoff, arithmetic.tiny, arithmetic.exp_error)
    )
    logit, weight, output = _expressions()
    over_keys = np.maximum.accumulate if causal else np.max
    seen = (np.arange(1, len(K) + 1) if causal else np.full(len(Q), len(K)))[:, None]
    with np.errstate(all="ignore"):
        magnitude = _norms(Q)[:, None] * np.atleast_2d(over_keys(_norms(K)[:, None], axis=0))
        logit_error = logit(
            dimension=K.shape[1], unit_roundoff=u, logit_magnitude=magnitude, tiny=tiny
        )
        blocks = 1 + seen // BLOCK
        values = V.astype(np.float64)
        exponent = np.frexp(np.abs(values).max(axis=0))[1]
        values = np.ldexp(values, -exponent)
        upper, lower = (sign * np.atleast_2d(over_keys(sign * values, axis=0)) for sign in (1, -1))
        in_units = output(
            weight_error=weight(
                logit_error=logit_error,
                unit_roundoff=u,
                reach=2 * (magnitude + logit_error),
                exp_error=exp_error,
                exponentials=blocks,
            ),
            spread=upper - lower,
            magnitude=np.maximum(np.maximum(upper, -lower), LEAST_MAGNITUDE),
            quotient=np.maximum(np.maximum(upper, -lower), LEAST_MAGNITUDE),
            terms=seen + 2 * blocks,
            unit_roundoff=u,
            underflow=8 * seen * blocks * tiny * np.exp(UNSHIFTED[V.dtype.name]),
            tiny=0.0,
        )
        bar: NDArray[np.float64] = np.ldexp(in_units, exponent) + UNDERFLOWS * tiny
    return np.where(np.isnan(bar), np.inf, bar)


@cache
def _expressions() -> list[Any]:
    """Return FP.softmax's bounds on logits, weights and outputs, as functions of named arrays."""
    return [
        sympy.lambdify(bound.arguments, bound.expression, "numpy")
        for bound in CLAIMS["FP.softmax"].bounds
    ]


def _norms(X: Matrix) -> NDArray[np.float64]:
    """Return the Euclidean norms of the rows; no square over- or underflows that matters."""
    rows = X.astype(np.float64)
    exponent = np.frexp(np.abs(rows).max(axis=1))[1]
    lengths: NDArray[np.float64] = np.ldexp(
        np.sqrt((np.ldexp(rows, -exponent[:, None]) ** 2).sum(axis=1)), exponent
    )
    return lengths
