"""A certificate for anyone's attention output, from rows drawn after it was fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from math import ceil, log, log1p
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.real_heads import certify_failure
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.directed import up
from fastpath.core.head import Head, Heads
from fastpath.core.inputs import Matrix, exact_floats, generator, integer, open_unit
from fastpath.core.semantics import Causal, EmptyRows
from fastpath.core.shown import shown
from fastpath.exact.blocks import check_factors, check_finite
from fastpath.exact.prepared import Prepared, arrays_of
from fastpath.real_heads.exact_rows import exact_rows

#: More errors than this are never skipped: with a hundred times as many rows drawn, the certified quantile
#: is within a few tenths of the uncovered fraction, and the binomials stay floats.
LARGEST_SKIPPED = 32

#: Differences of larger outputs could overflow.
LARGEST_OUTPUT = 2.0**1022


@dataclass(frozen=True, kw_only=True)
class CertifiedRows(Certified):
    """An output of which all rows but a fraction are within a bound, with a stated probability.

    Attributes
    ----------
    uncovered : float
        The fraction of rows that may err by more than ``error_bound``; 0 where every row was checked.
    failure_probability : float
        The probability, over the rows drawn, that more than that fraction do; 0 where every row was
        checked.
    rows_checked : int
        How many rows were drawn, repeats included, and computed exactly; or that every row was.
    rows_skipped : int
        How many of the largest errors drawn ``error_bound`` leaves out.
    """

    __repr__ = shown

    uncovered: float
    failure_probability: float
    rows_checked: int
    rows_skipped: int


@standard_arithmetic
def certify(
    Q: ArrayLike,
    K: ArrayLike | Prepared,
    V: ArrayLike | None,
    output: ArrayLike,
    *,
    scale: float = 1.0,
    causal: Causal = False,
    window: tuple[int | None, int | None] | None = None,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    softcap: float | None = None,
    sinks: ArrayLike | None = None,
    empty_rows: EmptyRows = "refuse",
    uncovered: float = 0.01,
    failure_probability: float = 1e-9,
    rows: int | None = None,
    rng: np.random.Generator,
    workers: int | None = None,
) -> CertifiedRows:
    r"""Certify an attention output, whoever computed it, from the exact error of a few of its rows.

    Draws m rows uniformly with replacement, of all heads together, and compares them with exact attention,
    rounding included.
    The (k+1)-th largest error :math:`\varepsilon` bounds that of all rows but a fraction f, except with
    probability :math:`P(\mathrm{Bin}(m, f) \le k)`.  No assumption is made on the head or on the
    method.  Where that would take no fewer rows than there are, every row is checked once, and the
    largest error bounds them all for certain.

    Parameters
    ----------
    Q : array_like, shape (n_q, d) or (..., h_q, n_q, d)
        Queries, as :func:`fastpath.attention` takes them.
    K : array_like, shape (n_k, d) or (..., h_k, n_k, d); or Prepared
        Keys; h_q is a multiple of h_k, and query head h reads key head h // (h_q / h_k).  Or keys and values,
        and V is None.
    V : array_like, shape (n_k, d_v) or (..., h_k, n_k, d_v), or None
        Values.
    output : array_like, shape (n_q, d_v) or (..., h_q, n_q, d_v)
        What is to be certified: float16, float32, float64 or integers, taken as exact numbers (bfloat16
        numbers are float32 numbers).
    causal : {False, True, "upper-left", "lower-right"}
        Whether query i sees only the keys j <= i (True needs n_q = n_k), or how the diagonal is aligned.
    scale, window, mask, bias, softcap, sinks, empty_rows
        The options of :func:`fastpath.attention`.
    uncovered : float
        The fraction f of rows that may err by more; in (0, 1).  Of the rows of all heads: a head that is
        wrong throughout counts as the share that its rows are.
    failure_probability : float
        The largest probability that more than that fraction do; in (0, 1).
    rows : int, optional
        How many rows to draw, m.  The fewest by default: ln(failure_probability)/ln(1 - uncovered), 2062
        with the default probabilities, or every row once if there are no more.  With more, the largest
        errors are skipped (k = 8 of 4096), so that :math:`\varepsilon` is smaller.
    rng : numpy.random.Generator
        Draws the rows.  It must know nothing of how ``output`` was made.
    workers : int, optional
        Threads; by default every core that the process may use.  No bit of the result depends on it.

    Returns
    -------
    CertifiedRows
        ``output`` as given, and ``error_bound``, one float: in all rows but the fraction ``uncovered``
        no entry errs by more, except with ``failure_probability`` (which states what was reached).  Both
        are 0 where every row was checked.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If a probability is not in (0, 1), ``rows`` are too few for it or more than exist, or ``output`` is
        of another shape than attention's, holds NaN or infinity (the row is named) or exceeds 2^1022.

    Notes
    -----
    Cost: 2 m n_k (d + d_v) multiply-adds and m n_k exponentials, so linear in n_k; about half when causal.

    The theorem is about rows drawn with replacement, and repeats count as often as they were drawn.  It is
    about any rows whatever, so that a mask changes nothing but what is exact for a row, and that rows of
    several heads are as good as those of one: one statement for the whole output, for the rows that one head
    takes.  To say it of every head, certify each with ``failure_probability`` over their number.

    The rows must be drawn after the output is fixed.  An output that was improved on rows from the same
    generator, or that was chosen for its certificate, has none.

    Claims: R.certify unless every row was checked, and those of :func:`fastpath.attention`.

    References
    ----------
    S. S. Wilks, Determination of sample sizes for setting tolerance limits, Annals of Mathematical
    Statistics 12(1), 1941.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> rng = np.random.default_rng(0)
    >>> Q, K, V = rng.standard_normal((3, 100, 16)) / 2
    >>> weights = np.exp(Q @ K.T)
    >>> mine = (weights @ V / weights.sum(axis=1, keepdims=True)).astype(np.float16)
    >>> checked = fastpath.certify(Q, K, V, mine, rng=rng)
    >>> checked.rows_checked, bool(checked.error_bound < 2e-4)
    (100, True)
    """
    keys, values, _ = arrays_of(K, V)
    heads = checked_heads(
        Q,
        keys,
        values,
        causal=causal,
        scale=scale,
        window=window,
        mask=mask,
        bias=bias,
        softcap=softcap,
        sinks=sinks,
        empty_rows=empty_rows,
    )
    given = _checked_output(output, heads.shape)
    uncovered = open_unit("uncovered", uncovered)
    failure_probability = open_unit("failure_probability", failure_probability)
    rng, threads = generator(rng), worker_count(workers)
    n = len(heads) * heads.shape[-2]
    fewest = fewest_rows(uncovered, failure_probability, n)
    drawn = fewest if rows is None else integer("rows", rows, 1)
    if not fewest <= drawn <= n:
        raise ValueError(
            f"rows must be in [{fewest}, {n}] for uncovered={uncovered:g} and "
            f"failure_probability={failure_probability:g}, got {drawn}."
        )
    found = certified_rows(
        list(heads.each(max(1, threads // len(heads)))),
        given.reshape(len(heads), *heads.shape[-2:]),
        uncovered,
        failure_probability,
        drawn,
        rng,
        threads,
    )
    return replace(found, output=given)


def checked_heads(Q: ArrayLike, K: ArrayLike, V: ArrayLike, **options: Any) -> Heads:
    """Check heads and the options of attention, or refuse as :func:`fastpath.attention` does."""
    heads = Heads.of(Q, K, V, **options)
    check_finite(heads.queries, heads.keys, heads.values, heads.options)
    check_factors(heads.options, heads.queries.dtype)
    heads.options.check_rows()
    return heads


def certified_rows(
    heads: Sequence[Head],
    output: Matrix,
    uncovered: float,
    failure_probability: float,
    drawn: int,
    rng: np.random.Generator,
    workers: int,
) -> CertifiedRows:
    """Certify an output (heads, n_q, d_v) as :func:`certify` does, from so many rows, which are enough."""
    n = output.shape[0] * output.shape[1]
    if drawn == n:
        errors, claims = _row_errors(heads, output, np.arange(n), workers)
        return CertifiedRows(
            output=output,
            error_bound=errors.max(),
            claims=claims,
            uncovered=0.0,
            failure_probability=0.0,
            rows_checked=drawn,
            rows_skipped=0,
        )
    different, repeats = np.unique(rng.integers(0, n, drawn), return_inverse=True)
    skipped, reached = most_skipped(drawn, uncovered, failure_probability)
    errors, claims = _row_errors(heads, output, different, workers)
    return CertifiedRows(
        output=output,
        error_bound=np.sort(errors[repeats])[drawn - 1 - skipped],
        claims=("R.certify", *claims),
        uncovered=uncovered,
        failure_probability=reached,
        rows_checked=drawn,
        rows_skipped=skipped,
    )


def _row_errors(
    heads: Sequence[Head], output: Matrix, rows: NDArray[np.intp], workers: int
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Bound the largest error of each row: its distance from exact attention, and that one's bound.

    ``rows`` ascend, and count through the heads one after another.
    """
    n = output.shape[1]
    ends = np.searchsorted(rows, n * np.arange(len(heads) + 1))
    errors = np.empty(len(rows))

    def compute(index: int) -> tuple[str, ...]:
        part = slice(ends[index], ends[index + 1])
        of_head = rows[part] - n * index
        exact = exact_rows(heads[index], of_head)
        errors[part] = largest_errors(output[index, of_head], exact)
        return exact.claims

    drawn = np.flatnonzero(np.diff(ends)).tolist()
    claims = run([partial(compute, index) for index in drawn], workers)
    return errors, tuple(dict.fromkeys(chain.from_iterable(claims)))


def largest_errors(output: Matrix, exact: Certified) -> NDArray[np.float64]:
    """Bound the largest error of each row: its distance from exact attention, and that one's bound."""
    with np.errstate(all="ignore"):
        distance = np.abs(output.astype(np.float64) - exact.output)
        error = up(up(distance) + exact.error_bound)
    errors: NDArray[np.float64] = error.max(axis=1)
    return errors


def rows_skipping(skipped: int, uncovered: float, failure_probability: float, existing: int) -> int:
    """Return about the fewest rows of which so many errors may be skipped, or every row."""
    rows = fewest_rows(uncovered, failure_probability, existing)
    while rows < existing and certify_failure(rows, skipped, uncovered) > failure_probability:
        rows += max(1, rows // 64)
    return min(rows, existing)


def fewest_rows(uncovered: float, failure_probability: float, existing: int) -> int:
    """Return the least m with (1 - f)^m <= the failure probability, or every row."""
    if not failure_probability:  # half of the least number
        return existing
    with np.errstate(over="ignore"):
        needed = float(np.divide(log(failure_probability), log1p(-uncovered)))
    if not needed < existing:
        return existing
    fewest = max(1, ceil(needed))
    # Rounded upward, it may exceed the least numbers however many rows there are.
    while fewest < existing and certify_failure(fewest, 0, uncovered) > failure_probability:
        fewest += 1
    return min(fewest, existing)


def most_skipped(drawn: int, uncovered: float, failure_probability: float) -> tuple[int, float]:
    """Return the largest k that the failure probability allows, and the probability reached."""
    skipped = 0
    while (
        skipped < LARGEST_SKIPPED
        and certify_failure(drawn, skipped + 1, uncovered) <= failure_probability
    ):
        skipped += 1
    return skipped, float(certify_failure(drawn, skipped, uncovered))


def _checked_output(output: Any, shape: tuple[int, ...]) -> Matrix:
    array = exact_floats("output", output, halves=True)
    if array.shape != shape:
        raise ValueError(f"output must have attention's shape {shape}, got {array.shape}.")
    finite = np.isfinite(array).all(axis=-1)
    if not finite.all():
        *head, row = (int(i) for i in np.argwhere(~finite)[0])
        of_head = f" of head {tuple(head)}" if head else ""
        raise ValueError(f"output must be finite, got NaN or infinity in row {row}{of_head}.")
    largest = float(np.abs(array).max())
    if largest > LARGEST_OUTPUT:
        raise ValueError(f"output must not exceed 2^1022 in magnitude, got {largest:.3g}.")
    return array
