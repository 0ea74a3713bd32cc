"""What an answer must reach to say anything: bars that the judge sets, from the input and its own truth.

A certificate can be honest and say nothing: zeros, with the bound by which zeros err.  So the size of a
bound is judged too, by two numbers that no implementation has a say in:

- ``trivial_error``: what the best trivial answer errs.  One is trivial that looks at no query.
- ``rounding_bar``: FP.softmax's bound for attention in the input's own type, keys taken in short blocks.
  Whoever computes exactly meets it; who computes in fewer digits is held to the tolerance asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from math import fsum
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from proofs.judging.heads import Matrix
from reference import Enclosure
from reference.heads import Head, heads
from specs import CLAIMS
from specs.softmax.rounding import ARITHMETIC

__all__ = [
    "rounding_bar",
    "rounding_bar_of_heads",
    "tolerance_below",
    "trivial_error",
    "trivial_error_of_heads",
]

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
    return _least_error(truths, V, _trivial_answers(V, causal), left_out)


def trivial_error_of_heads(truth: Enclosure, V: Matrix, seen: NDArray[np.bool_]) -> Fraction | None:
    """Return :func:`trivial_error` of attention as it is run: of the best answer over all heads.

    Parameters
    ----------
    truth : Enclosure of shape (..., h_q, n_q, d_v)
    V : array, shape (..., h_k, n_k, d_v)
    seen : bool array, shape (..., h_q, n_q, n_k)
        Which keys a query sees.
    """
    values = V.astype(np.float64)
    if V.ndim > 2:
        values = np.repeat(values, seen.shape[-3] // V.shape[-3], axis=-3)
    exponent = int(np.frexp(np.abs(values).max())[1])
    scaled = np.where(seen[..., None], np.ldexp(values, -exponent)[..., None, :, :], np.nan)
    empty = ~seen.any(axis=-1, keepdims=True)
    with warnings.catch_warnings(action="ignore"):  # of rows that see nothing
        upper, lower = (np.where(empty, 0, f(scaled, axis=-2)) for f in (np.nanmax, np.nanmin))
        mean = np.where(empty, 0, np.nanmean(scaled, axis=-2))
    answers = (
        np.zeros_like(mean),
        np.ldexp(mean, exponent),
        np.ldexp((lower + upper) / 2, exponent),
    )
    width = V.shape[-1]
    rows = truth.reshape(-1, width)
    flat = V.reshape(-1, width)
    return _least_error([rows], flat, (answer.reshape(-1, width) for answer in answers), 0)


def _least_error(
    truths: Sequence[Enclosure], V: Matrix, answers: Iterable[Matrix], left_out: int
) -> Fraction | None:
    """Return the least of the answers' errors, those that are the truth but for rounding excepted."""
    least = Fraction(float(np.finfo(V.dtype).smallest_subnormal))
    query, keys = (np.zeros((n, 1), V.dtype) for n in (1, len(V)))
    summed = Fraction(float(rounding_bar(query, keys, V).max()))
    underflow = UNDERFLOWS * ARITHMETIC[V.dtype.name].tiny
    right = max(Fraction(0), summed - underflow) + RIGHT_ROUNDINGS * least
    errors = []
    for answer in answers:
        rows = []
        start = 0
        for truth in truths:
            piece = answer[start : start + len(truth)] if len(answer) > 1 else answer
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
    u, tiny = float(arithmetic.unit_roundoff), float(arithmetic.tiny)
    logit = _expressions("FP.softmax")[0]
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
        return _output_bar(
            V.dtype, logit_error, magnitude + logit_error, seen, blocks, upper, lower, exponent
        )


def rounding_bar_of_heads(
    Q: Matrix, K: Matrix, V: Matrix, *, causal: bool | str = False, **semantics: Any
) -> NDArray[np.float64]:
    """Return, entry by entry, the bound of FP.softmax over scores as FP.scores bounds them.

    Parameters
    ----------
    Q, K, V, causal, **semantics
        As for ``reference.attention``, in one type.

    Returns
    -------
    array, shape (n_q, d_v) or (..., h_q, n_q, d_v)
    """
    bar = np.empty((*Q.shape[:-1], V.shape[-1]))
    shape = (*Q.shape[:-2], Q.shape[-2], K.shape[-2])
    bias = semantics.get("bias")
    added = None if bias is None else np.broadcast_to(np.where(bias == -np.inf, 0, bias), shape)
    semantics = {name: value for name, value in semantics.items() if name != "empty_rows"}
    for index, head in heads(Q, K, V, causal=causal, **semantics).items():
        group = (*index[:-1], index[-1] // (Q.shape[-3] // K.shape[-3])) if index else ()
        bar[index] = _bar_of_head(
            Q[index], K[group], V[group], head, None if added is None else added[index]
        )
    return bar


def _bar_of_head(
    Q: Matrix, K: Matrix, V: Matrix, head: Head, bias: Matrix | None
) -> NDArray[np.float64]:
    arithmetic = ARITHMETIC[V.dtype.name]
    u, tiny = float(arithmetic.unit_roundoff), float(arithmetic.tiny)
    logit = _expressions("FP.softmax")[0]
    scaled_logit, capped_score, biased_score = _expressions("FP.scores")
    seen = np.ones((len(Q), len(K)), bool) if head.seen is None else head.seen
    empty = ~seen.any(axis=1, keepdims=True)
    sink = None if head.sink is None else float(head.sink.midpoint())

    def largest(entries: Matrix) -> Matrix:
        """Return the largest visible entry of every row; 0 where nothing is visible."""
        return np.where(empty, 0, np.where(seen, entries, -np.inf).max(axis=1, keepdims=True))

    with np.errstate(all="ignore"):
        magnitude = abs(float(head.scale)) * _norms(Q)[:, None] * largest(_norms(K)[None, :])
        if head.scale == 1:
            error = logit(
                dimension=K.shape[1], unit_roundoff=u, logit_magnitude=magnitude, tiny=tiny
            )
        else:
            error = scaled_logit(
                dimension=K.shape[1],
                unit_roundoff=u,
                logit_magnitude=magnitude,
                tiny=tiny,
                largest_key=_norms(K).max(),
            )
        size = magnitude + error
        if head.softcap is not None:
            cap = float(head.softcap)
            size = np.minimum(size, cap)
            error = capped_score(
                score_error=error,
                unit_roundoff=u,
                tanh_error=float(arithmetic.tanh_error),
                cap_magnitude=size,
                softcap=cap,
                tiny=tiny,
            )
            size = size + error
        if bias is not None:
            farthest = largest(np.abs(bias.astype(np.float64)))
            error = biased_score(
                score_error=error,
                unit_roundoff=u,
                score_magnitude=size,
                bias_magnitude=farthest,
            )
            size = size + farthest + error
        if sink is not None:
            size = np.maximum(size, abs(sink))
        count = seen.sum(axis=1, keepdims=True) + 1
        blocks = 1 + -(-len(K) // BLOCK)
        values = V.astype(np.float64)
        exponent = np.frexp(np.abs(values).max(axis=0))[1]
        values = np.ldexp(values, -exponent)
        upper, lower = (
            np.concatenate([sign * largest(sign * column[None, :]) for column in values.T], axis=1)
            for sign in (1, -1)
        )
        if sink is not None:
            upper, lower = np.maximum(upper, 0), np.minimum(lower, 0)
        return _output_bar(V.dtype, error, size, count, blocks, upper, lower, exponent)


def _output_bar(
    dtype: np.dtype[Any],
    score_error: Matrix,
    size: Matrix,
    terms: Matrix,
    blocks: Any,
    upper: Matrix,
    lower: Matrix,
    exponent: Matrix,
) -> NDArray[np.float64]:
    """Return the bound on outputs of scores up to ``size``; values are in units of 2^exponent a column."""
    arithmetic = ARITHMETIC[dtype.name]
    u, tiny = float(arithmetic.unit_roundoff), float(arithmetic.tiny)
    _, weight, output = _expressions("FP.softmax")
    largest = np.maximum(np.maximum(upper, -lower), LEAST_MAGNITUDE)
    in_units = output(
        weight_error=weight(
            logit_error=score_error,
            unit_roundoff=u,
            reach=2 * size,
            exp_error=float(arithmetic.exp_error),
            exponentials=blocks,
        ),
        spread=upper - lower,
        magnitude=largest,
        quotient=largest,
        terms=terms + 2 * blocks,
        unit_roundoff=u,
        underflow=8 * terms * blocks * tiny * np.exp(UNSHIFTED[dtype.name]),
        tiny=0.0,
    )
    bar: NDArray[np.float64] = np.ldexp(in_units, exponent) + UNDERFLOWS * tiny
    return np.where(np.isnan(bar), np.inf, bar)


@cache
def _expressions(claim: str) -> list[Any]:
    """Return a claim's bounds as functions of named arrays: of logits, weights and outputs; or of scores."""
    return [
        sympy.lambdify(bound.arguments, bound.expression, "numpy") for bound in CLAIMS[claim].bounds
    ]


def _norms(X: Matrix) -> NDArray[np.float64]:
    """Return the Euclidean norms of the rows; no square over- or underflows that matters."""
    rows = X.astype(np.float64)
    exponent = np.frexp(np.abs(rows).max(axis=1))[1]
    lengths: NDArray[np.float64] = np.ldexp(
        np.sqrt((np.ldexp(rows, -exponent[:, None]) ** 2).sum(axis=1)), exponent
    )
    return lengths
