"""Exact softmax attention, in blocks, with a rounding certificate on every entry."""

from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import (
    ARITHMETIC,
    rounding_logit,
    rounding_output,
    rounding_weight,
    weights_underflow,
)
from fastpath.core.certified import Certified
from fastpath.core.directed import library_down, up
from fastpath.core.inputs import Matrix, attention_inputs
from fastpath.core.norms import row_norms
from fastpath.exact.scaled_values import ScaledValues

#: Tile of the logit matrix, 1 MiB in float32.  At n = 4096, d = 64, 256 x 512 takes 14 % longer and
#: 512 x 512 5 %; short key blocks also keep the sums, and so the certificate, tight.
QUERY_BLOCK, KEY_BLOCK = 1024, 256


#: Logits of at most this size need no shift: exp neither overflows nor underflows, nor does a sum of
#: fewer than 2^60 terms.
UNSHIFTED_LOGITS = {"float32": 40.0, "float64": 300.0}


#: An output whose values are all equal is exact, but no enclosure can decide an error bound of zero,
#: and one of 2^-1074 takes a thousand bits.  Certificates go no lower than this, relative to a power
#: of two near the column's largest value.
DECIDABLE = 2.0**-100


CLAIMS = ("FP.softmax", "FP.exp", "S.output")


class _Shift(Enum):
    """What is subtracted from the logits of a row, cheapest first (n = 4096, d = 64, float32)."""

    NOTHING = "nothing"
    #: The largest logit over the first key block: 7 % longer.  On real heads no later logit passes
    #: it by 88; where one does the weights overflow, and the running maximum is called in.
    FIRST_MAXIMUM = "the largest logit over the first key block"
    #: The largest logit so far, of every block: 18 % longer.
    RUNNING_MAXIMUM = "the running maximum"


@standard_arithmetic
def attention(Q: ArrayLike, K: ArrayLike, V: ArrayLike, *, causal: bool = False) -> Certified:
    r"""Compute softmax attention, and bound its rounding error entry by entry.

    Computes :math:`D^{-1} \exp(QK^\top) V` with :math:`D = \mathrm{diag}(\exp(QK^\top)\mathbf 1)`; with
    ``causal`` the sums of row i run over the keys j <= i.  There is no scaling by 1/sqrt(d): scale Q.

    Parameters
    ----------
    Q : array_like, shape (n_q, d)
        Queries: float32, float64 or integers (taken as float64); mixed types are promoted.
    K : array_like, shape (n_k, d)
        Keys.
    V : array_like, shape (n_k, d_v)
        Values.
    causal : bool
        Whether query i sees only the keys j <= i; needs n_q = n_k.

    Returns
    -------
    Certified
        ``output`` of shape (n_q, d_v) in the type of the inputs and ``error_bound`` of the same shape
        in float64: ``rounding_output`` of FP.softmax, and never more than the spread of the values
        (plus 2^-100 of the largest, so that an enclosure can decide it where they are all equal).

    Raises
    ------
    TypeError
        If an input holds anything but float32, float64 or integers.
    ValueError
        If shapes do not fit, an array is empty, an entry is not finite, or logits or values are so
        large that an intermediate result could overflow.

    Notes
    -----
    Cost: 2 n_q n_k (d + d_v) multiply-adds and n_q n_k exponentials (about half when causal); memory
    beyond the result: one scaled copy of V and one tile of 1024 x 256.  Certificate: O(n (d + d_v)).

    The logit error uses the Cauchy-Schwarz bound :math:`|q_i| \max_j |k_j|`, about 1.5 times
    :math:`\max_j \sum_l |q_{il} k_{jl}|` on real heads, since the latter would cost another product.

    The truth is an average of values, so the output is projected on their range: that never increases
    an error, and keeps values next to the largest float from rounding to infinity.

    Claims: FP.softmax, FP.exp, S.output.
    """
    q, k, v = attention_inputs(Q, K, V, causal=causal)
    return attend(q, k, v, np.arange(len(q)) if causal else None)


def attend(q: Matrix, k: Matrix, v: Matrix, last: NDArray[np.intp] | None) -> Certified:
    """Compute :func:`attention` of checked inputs; query i sees the keys up to ``last[i]``, which ascend."""
    constants = ARITHMETIC[q.dtype.name]
    most = int(0.25 / constants["unit_roundoff"])
    if max(k.shape[1], _roundings(np.array(len(k)))) > most:
        raise ValueError(
            f"Q, K and V must need at most {most} roundings a term in {q.dtype} (FP.softmax), got "
            f"{k.shape[1]} columns of Q and {len(k)} keys."
        )
    values = ScaledValues(v, causal=last is not None)
    magnitude = _logit_magnitude(q, k, last)
    logit_error = rounding_logit(
        k.shape[1], constants["unit_roundoff"], magnitude, constants["tiny"]
    )
    largest = float(np.max(magnitude + logit_error))
    if not largest <= np.finfo(q.dtype).max / 8:
        raise ValueError(
            f"Q and K must keep |q|.|k| at most {np.finfo(q.dtype).max / 8:.3g} in {q.dtype}, "
            f"got up to {np.max(magnitude):.3g}: a logit could overflow."
        )
    small = largest <= UNSHIFTED_LOGITS[q.dtype.name]
    shifts = (_Shift.NOTHING,) if small else (_Shift.FIRST_MAXIMUM, _Shift.RUNNING_MAXIMUM)
    output = np.empty((len(q), v.shape[1]), q.dtype)
    error_bound = np.empty(output.shape)
    # Allocated once: a fresh half-megabyte tile a block costs 5 % in page faults.
    buffer = np.empty((min(QUERY_BLOCK, len(q)), min(KEY_BLOCK, len(k))), q.dtype)
    for start in range(0, len(q), QUERY_BLOCK):
        rows = slice(start, min(start + QUERY_BLOCK, len(q)))
        seen = None if last is None else last[rows]
        keys = k if seen is None else k[: seen[-1] + 1]
        quotient = _quotient(q[rows], keys, values.scaled, seen, shifts, buffer)
        # What differs from row to row stands in a column.
        visible = np.array(len(k)) if seen is None else seen[:, None] + 1
        spread, value_magnitude = values.spread_and_magnitude(seen)
        exponentials = 1 if small else -(-visible // KEY_BLOCK)
        # What underflow takes from a sum, relative to the sum of the weights.
        lightest = library_down(np.exp(-UNSHIFTED_LOGITS[q.dtype.name])) if small else 1.0
        lost = weights_underflow(visible, exponentials, constants["tiny"], lightest)
        # The first rows of causal attention may see values far below the column's largest, which set
        # the scale; FP.softmax needs gamma + underflow < 1.
        value_magnitude = np.maximum(value_magnitude, np.maximum(2.0**-40, 4 * lost))
        weight_error = rounding_weight(
            logit_error[rows, None],
            constants["unit_roundoff"],
            0.0 if small else 2 * up(magnitude + logit_error)[rows, None],
            constants["exp_error"],
            exponentials,
        )
        bound = rounding_output(
            weight_error,
            spread,
            value_magnitude,
            quotient.astype(np.float64),
            _roundings(visible),
            constants["unit_roundoff"],
            up(lost / value_magnitude),
            values.smallest,
        )
        output[rows] = values.restore(quotient, seen)
        error_bound[rows] = values.restore_bound(np.minimum(bound, spread + DECIDABLE))
    return Certified(output=output, error_bound=error_bound, claims=CLAIMS)


def _roundings(keys: NDArray[np.int_]) -> NDArray[np.int_]:
    """Bound the roundings that a term of either sum passes through.

    One as a product and the additions of its block, then at most one addition and one rescaling for
    every later block.
    """
    return np.minimum(KEY_BLOCK, keys) + 2 * (-(-keys // KEY_BLOCK) - 1)


def _quotient(
    q: Matrix,
    k: Matrix,
    values: Matrix,
    seen: NDArray[np.intp] | None,
    shifts: Sequence[_Shift],
    buffer: Matrix,
) -> Matrix:
    """Return sum_j w_j v_j / sum_j w_j for one block of queries, by the first shift that serves.

    ``seen`` is the index of the last key that each query sees, where attention is causal.
    """
    for shift in shifts:
        numerator, denominator = _sums(q, k, values, seen, shift, buffer)
        if np.isfinite(denominator).all() and np.isfinite(numerator).all():
            break
    numerator /= denominator
    return numerator


def _sums(
    q: Matrix,
    k: Matrix,
    values: Matrix,
    seen: NDArray[np.intp] | None,
    shifted_by: _Shift,
    buffer: Matrix,
) -> tuple[Matrix, Matrix]:
    """Return sum_j w_j v_j and sum_j w_j, with w_j = exp(logit_j - shift), key block by key block."""
    numerator = np.zeros((len(q), values.shape[1]), q.dtype)
    denominator = np.zeros((len(q), 1), q.dtype)
    shift = np.full((len(q), 1), -np.inf, q.dtype)
    ones = np.ones((buffer.shape[1], 1), q.dtype)
    for first in range(0, len(k), KEY_BLOCK):
        keys = slice(first, min(first + KEY_BLOCK, len(k)))
        # Earlier queries see none of these keys.
        seeing = slice(0 if seen is None else int(np.searchsorted(seen, first)), len(q))
        tile = buffer[: seeing.stop - seeing.start, : keys.stop - first]
        np.matmul(q[seeing], k[keys].T, out=tile)
        if seen is not None and keys.stop > seen[seeing.start] + 1:
            tile[np.arange(first, keys.stop) > seen[seeing, None]] = -np.inf
        if shifted_by is _Shift.RUNNING_MAXIMUM or (
            shifted_by is _Shift.FIRST_MAXIMUM and not first
        ):
            larger = np.maximum(shift[seeing], tile.max(axis=1, keepdims=True))
            if first:
                rescale = np.exp(shift[seeing] - larger)
                numerator[seeing] *= rescale
                denominator[seeing] *= rescale
            shift[seeing] = larger
        if shifted_by is not _Shift.NOTHING:
            tile -= shift[seeing]
        np.exp(tile, out=tile)
        numerator[seeing] += tile @ values[keys]
        # A product with ones: numpy's own row sum takes twice as long.
        denominator[seeing] += tile @ ones[: tile.shape[1]]
    return numerator, denominator


def _logit_magnitude(q: Matrix, k: Matrix, last: NDArray[np.intp] | None) -> NDArray[np.float64]:
    """Bound sum_l |q_il k_jl| over the visible keys j, for every query i, rounded upward."""
    query_norms, query_exponent = row_norms(q)
    key_norms, key_exponent = row_norms(k)
    longest = key_norms.max() if last is None else np.maximum.accumulate(key_norms)[last]
    bounds: NDArray[np.float64] = up(
        np.ldexp(up(query_norms * longest), query_exponent + key_exponent)
    )
    return bounds
