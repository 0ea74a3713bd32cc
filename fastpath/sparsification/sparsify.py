"""Fewer feature columns: Y with Y Yᵀ close to X Xᵀ, in one of four senses, with a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import ARITHMETIC
from fastpath.core.bounds.sparsification import (
    composed_epsilon,
    composed_slack,
    largest_logit,
    loewner_entry,
    loewner_logit,
    loewner_row,
    logit_difference,
    sketch_slack,
)
from fastpath.core.directed import UNIT_ROUNDOFF, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.offers import Refusal, take_cheapest
from fastpath.core.shown import shown
from fastpath.sparsification.barriers import barrier_columns
from fastpath.sparsification.caratheodory import caratheodory_columns
from fastpath.sparsification.certificate import certified_closeness, entrywise_error, range_factor
from fastpath.sparsification.choice import SPARSITY, Asked, Guarantee, Method, Plan, ways
from fastpath.sparsification.feature_matrix import (
    FeatureMatrix,
    by_columns,
    feature_matrix,
    magnitude_fault,
    nonzero_columns,
    take_columns,
)
from fastpath.sparsification.gram import Gram, gram_of
from fastpath.sparsification.leverage import leverage_scores, poisson_columns
from fastpath.sparsification.sketches import johnson_lindenstrauss, osnap

#: Draws of a randomised method before it gives up, and by how much each is wider than the last.
ATTEMPTS, GROWTH = 8, 1.5

#: A sketch in float32 loses at most 2^-149 an entry to underflow: for rows as long as this, under 2^-25 of
#: one rounding.
SHORTEST = 2.0**-100

#: Methods that sample or select columns up to a width, and keep all where that reaches them.
KEEPING = ("bss", "leverage")

#: What each method rests on; the bounds on attention rest on P3.loewner in every case.
CLAIMS = {
    "copy": ("P3.loewner",),
    "gram": ("P3.gram", "P3.loewner"),
    "gram-of-sketch": ("P3.sketches", "P3.gram", "P3.loewner"),
    "osnap": ("P3.sketches", "P3.loewner"),
    "countsketch": ("P3.sketches", "P3.loewner"),
    "leverage": ("P3.randomised", "P3.loewner"),
    "jl": ("P3.jl", "P3.loewner"),
    "bss": ("P3.deterministic", "P3.loewner"),
    "caratheodory": ("P3.caratheodory", "P3.loewner"),
}

#: What the certificates rest on besides.
CERTIFICATE_CLAIMS = {
    "cholesky": ("P3.certificate", "P3.entries"),
    "entries": ("P3.entries",),
}

#: What the rounding of sketches that are not certified rests on.
ROUNDING_CLAIMS = {
    "gram-of-sketch": ("P3.sketch", "P3.certificate", "P3.composed"),
    "osnap": ("P3.sketch",),
    "countsketch": ("P3.sketch",),
}


@dataclass(frozen=True, kw_only=True)
class Sparsified:
    """Y with Y Yᵀ close to G = X Xᵀ, and how close.

    Attributes
    ----------
    Y : array, shape (n, m)
        In X's type.
    columns : int array, shape (m,), or None
        For methods that keep columns: which.
    weights : float64 array, shape (m,), or None
        For methods that keep columns: ``Y = X[:, columns] * sqrt(weights)``.
    epsilon : float
        (1 - epsilon) G - slack diag(G) <= Y Yᵀ <= (1 + epsilon) G + slack diag(G) in the Loewner order;
        for ``guarantee="entrywise"``: |Y Yᵀ - G|_ij <= epsilon sqrt(G_ii G_jj).  Rounding is included.
    slack : float
        Zero unless G is singular or nearly so; then a few times the rounding error.
    certificate : str
        How epsilon is known: ``"copy"`` (Y holds all columns of X that are not zero), ``"cholesky"``
        (proved by two factorisations), ``"entries"`` (all entries compared) or ``"probability"``.
    failure_probability : float or None
        Where the certificate is ``"probability"``: of epsilon being exceeded.
    logit_error : float
        Bound on max |Y Yᵀ - G|.
    entry_error : float
        Bound on the entries of the difference of the two attention matrices.
    row_error : float
        Bound on the row sums of that difference's magnitudes.
    method : str
        What was done.
    claims : tuple of str
        The ids of the claims that the numbers rest on.
    """

    __repr__ = shown

    Y: Matrix
    columns: NDArray[np.intp] | None
    weights: Array | None
    epsilon: float
    slack: float
    certificate: str
    failure_probability: float | None
    logit_error: float
    entry_error: float
    row_error: float
    method: str
    claims: tuple[str, ...]


@standard_arithmetic
def sparsify(
    X: ArrayLike | Any,
    *,
    guarantee: Guarantee = "exact",
    epsilon: float | None = None,
    failure_probability: float | None = None,
    method: Method = "auto",
    width: int | None = None,
    rng: np.random.Generator | None = None,
) -> Sparsified:
    r"""Replace X by Y with fewer columns that gives nearly the same attention exp(X Xᵀ).

    ================  ===============================================  ==============================
    guarantee         meaning, G = X Xᵀ, H = Y Yᵀ                      methods
    ================  ===============================================  ==============================
    ``"exact"``       H = G up to rounding, m = rank X <= n            gram
    ``"loewner"``     (1 - ε) G <= H <= (1 + ε) G                      gram, gram-of-sketch, osnap,
                                                                       countsketch, leverage
    ``"entrywise"``   \|H - G\|_ij <= ε sqrt(G_ii G_jj)                jl, gram
    ``"columns"``     as loewner, and Y = X[:, columns] sqrt(weights)  bss, leverage, caratheodory
    ================  ===============================================  ==============================

    Parameters
    ----------
    X : array_like or sparse matrix, shape (n, d), float32, float64, integers or booleans
        Never changed; sparse X is never made dense beyond a block of columns.
    guarantee : {"exact", "loewner", "entrywise", "columns"}
        In which sense Y is close.
    epsilon : float in (0, 1), optional
        The error allowed.  Without it, ``width`` sets the size, or a method without error is taken.
    failure_probability : float in (0, 1), optional
        Accept that a randomised method fails this often, if that saves forming X Xᵀ.  Without it,
        every answer is certified, and randomised methods draw again, wider, until theirs is.
    method : str
        One of the table's, or ``"auto"``.  *loewner*: the factor of the Gram matrix, which has no error
        and m <= n columns, unless a failure probability is given and an OSNAP sketch of the width that the
        claim asks for, with its Gram matrix, is cheaper.  *entrywise*: jl where it takes fewer
        columns than n.  *columns*: Carathéodory up to 32 rows, without epsilon or where the others would
        keep more; else BSS while its n⁴ steps take less than 10 s or ten Gram matrices; else leverage
        sampling.
    width : int in [1, d], optional
        m, or for sampling its mean, for gram-of-sketch the width of the sketch.
    rng : numpy.random.Generator, optional
        The only source of randomness; a fresh one where left out.

    Returns
    -------
    Sparsified
        Y, how close it is, and how that is known.

    Raises
    ------
    TypeError
        If X, ``rng`` or a number has a wrong type.
    ValueError
        If X is refused (see :func:`fastpath.sparsification.feature_matrix.feature_matrix`), a choice is not
        allowed, or more columns would be needed than X has.
    RuntimeError
        If a randomised method was not certified in eight draws, rounding defeats the certificate, or Y
        would overflow X's type.

    Notes
    -----
    Cost: *gram* X Xᵀ and n³/3; *osnap* 2 nnz(X), *countsketch* nnz(X), *jl* X Xᵀ and n² m,
    *leverage* X Xᵀ and 16 nnz(X), *bss* twice X Xᵀ and 10 n³ m, *caratheodory* k⁶ log(d).
    A certificate: X Xᵀ, n² m and some 30 factorisations of n x n.

    Claims: P3.gram, P3.loewner, P3.randomised, P3.sketches, P3.deterministic, P3.jl, P3.caratheodory,
    P3.certificate, P3.entries, P3.sketch, P3.composed.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((20, 2000)) / 50
    >>> exact = fastpath.sparsify(X)
    >>> exact.Y.shape, exact.method, exact.epsilon < 1e-9
    ((20, 20), 'gram', True)
    >>> columns = fastpath.sparsify(X, guarantee="columns", epsilon=0.5, rng=rng)
    >>> columns.Y.shape[1] < 300, columns.epsilon <= 0.5, columns.certificate
    (True, True, 'cholesky')
    """
    features = feature_matrix(X)
    if rng is None:
        rng = np.random.default_rng()
    elif not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator or None, got {rng!r}.")
    asked = Asked.of(features, guarantee, epsilon, failure_probability, method, width)
    may_copy = guarantee == "exact" or (method == "auto" and width is None)

    def carried_out(plan: Plan) -> Sparsified | Refusal:
        if may_copy and _is_narrow(features):
            return _copy(features)
        return (_certified if plan.certified else _vouched)(features, plan, rng)

    taken = take_cheapest(ways(features, asked, carried_out))
    if isinstance(taken, Refusal):
        raise taken.error(f"{taken.reason}.")
    return taken.answer


def _is_narrow(X: FeatureMatrix) -> bool:
    """Whether no more columns than X has rows are nonzero; dense X is not looked through."""
    n, d = X.shape
    return bool(d <= n or (X.is_sparse and len(nonzero_columns(X)) <= n))


def _copy(X: FeatureMatrix) -> Sparsified:
    """Return the columns of X that are not zero."""
    columns = nonzero_columns(X)
    # One zero column stands for none: a matrix without columns is none that others accept.
    columns = columns if len(columns) else np.zeros(1, dtype=np.intp)
    Y, weights = take_columns(X, columns), np.ones(len(columns))
    return Sparsified(
        Y=Y,
        columns=columns,
        weights=weights,
        epsilon=0.0,
        slack=0.0,
        certificate="copy",
        failure_probability=None,
        logit_error=0.0,
        entry_error=0.0,
        row_error=0.0,
        method="copy",
        claims=CLAIMS["copy"],
    )


def _certified(X: FeatureMatrix, plan: Plan, rng: np.random.Generator) -> Sparsified | Refusal:
    """Draw until the certificate is good enough; deterministic methods draw once."""
    G = gram_of(X)
    factor, whitening = range_factor(G)
    X = by_columns(X) if plan.guarantee == "columns" or plan.method == "leverage" else X
    useful = X.shape[1]
    width = plan.first_width(len(G.matrix), len(whitening), useful)
    if isinstance(width, Refusal):
        return width
    if plan.method in KEEPING and width >= useful:
        # Every column would be kept as it is, which no rounding needs to be allowed for.
        return _copy(X)
    if plan.method == "bss" and width <= len(whitening):
        return Refusal(
            reason=f"width must exceed the rank of X, {len(whitening)}, for method='bss', got {width}"
        )
    attempts = ATTEMPTS if plan.method in (*SPARSITY, "jl", "leverage") and plan.epsilon else 1
    for _ in range(attempts):
        # What overflows is refused by _result_gram.
        with np.errstate(over="ignore", invalid="ignore"):
            drawn = _draw(X, plan.method, width, factor, whitening, rng)
        if isinstance(drawn, Refusal):
            return drawn
        result = measured(plan.guarantee, plan.method, G, *drawn)
        if isinstance(result, Refusal):
            return result
        if result.epsilon + result.slack <= (plan.epsilon or np.finfo(np.float64).max):
            return result
        refusal = _uncertified(plan, result, attempts)
        if plan.width is None:
            grown = int(width * GROWTH) // 2 * 2 + 2
            width = min(grown, useful // 2 * 2)
    return refusal


def _uncertified(plan: Plan, result: Sparsified, attempts: int) -> Refusal:
    return Refusal(
        reason=f"method={plan.method!r} with {result.Y.shape[1]} columns could be certified to "
        f"epsilon={result.epsilon + result.slack:.3g} only after {attempts} "
        f"draw{'s' if attempts > 1 else ''}, not to "
        f"{'any' if plan.epsilon is None else plan.epsilon}: allow a larger epsilon or width, or use "
        "guarantee='exact'",
        error=RuntimeError,
    )


def _draw(
    X: FeatureMatrix,
    method: str,
    width: int,
    factor: Array,
    whitening: Array,
    rng: np.random.Generator,
) -> tuple[Matrix, NDArray[np.intp] | None, Array | None] | Refusal:
    """Run one method once: Y, and the columns and weights of methods that keep columns."""
    if method == "gram":
        return _stored(factor, X.dtype), None, None
    if method == "jl":
        # The factor has the inner products of X's rows in at most n columns.
        return (
            _stored(johnson_lindenstrauss(FeatureMatrix(entries=factor), width, rng), X.dtype),
            None,
            None,
        )
    if method in SPARSITY:
        sketch = osnap(X, width, rng, sparsity=SPARSITY[method])
        if method == "gram-of-sketch":
            G = _result_gram(sketch)
            if isinstance(G, Refusal):
                return G
            sketch = _stored(range_factor(G)[0], X.dtype)
        return sketch, None, None
    if method == "caratheodory":
        columns, weights = caratheodory_columns(X, whitening)
    elif method == "leverage":
        scores = leverage_scores(X, rng, whitening=whitening)
        columns, weights = poisson_columns(scores, width, rng)
    else:
        columns = nonzero_columns(X)
        if width < len(columns):
            selected = barrier_columns(X, whitening, width)
            if isinstance(selected, Refusal):
                return selected
            columns, weights = selected
        else:
            weights = np.ones(len(columns))
    if not len(columns):
        columns, weights = np.zeros(1, dtype=np.intp), np.ones(1)
    Y = take_columns(X, columns) * np.sqrt(weights).astype(X.dtype)
    return Y, columns, weights


def _stored(Y: Array, dtype: Any) -> Matrix:
    """Return Y in X's type, with one zero column where it has none."""
    stored = (Y if Y.shape[1] else np.zeros((len(Y), 1))).astype(dtype, copy=False)
    return stored


def _result_gram(Y: Matrix) -> Gram | Refusal:
    """Return the Gram matrix of what would stand for X, or refuse what left the type of X."""
    if magnitude_fault(Y):
        return Refusal(
            reason="X is so large or so small that the columns which would stand for it, or their squares, "
            f"leave {Y.dtype}: scale X by a power of two{_or_double(Y)}",
            error=RuntimeError,
        )
    return gram_of(FeatureMatrix(entries=Y))


def _or_double(Y: Matrix) -> str:
    return ", or give it in float64" if Y.dtype == np.float32 else ""


def measured(
    guarantee: str,
    method: str,
    G: Gram,
    Y: Matrix,
    columns: NDArray[np.intp] | None,
    weights: Array | None,
) -> Sparsified | Refusal:
    """Prove how close Y Yᵀ is to G, in the sense of a guarantee, whatever the method that found Y."""
    H = _result_gram(Y)
    if isinstance(H, Refusal):
        return H
    if guarantee == "entrywise":
        epsilon, slack, how = entrywise_error(G, H), 0.0, "entries"
    else:
        closeness = certified_closeness(G, H)
        epsilon, slack, how = closeness.epsilon, closeness.slack, "cholesky"
    squares, others = G.matrix.diagonal().max(), H.matrix.diagonal().max()
    difference = np.abs(H.matrix - G.matrix).max()
    # As in Gram.error, one rounding more than counted pays for underflow.
    roundings = (G.roundings + 1, H.roundings + 1)
    logit_error = float(logit_difference(difference, squares, others, *roundings, UNIT_ROUNDOFF))
    largest = float(largest_logit(squares, roundings[0], UNIT_ROUNDOFF))
    logit_error = min(logit_error, float(loewner_logit(epsilon + slack, largest)))
    entry_error, row_error = _attention_errors(len(Y), largest, logit_error)
    return Sparsified(
        Y=Y,
        columns=columns,
        weights=weights,
        epsilon=epsilon,
        slack=slack,
        certificate=how,
        failure_probability=None,
        logit_error=logit_error,
        entry_error=entry_error,
        row_error=row_error,
        method=method,
        claims=CLAIMS[method] + CERTIFICATE_CLAIMS[how],
    )


def _vouched(X: FeatureMatrix, plan: Plan, rng: np.random.Generator) -> Sparsified | Refusal:
    """Sketch X as wide as the claim asks, without ever forming X Xᵀ."""
    n, d = X.shape
    width = plan.first_width(n, n, d)
    if isinstance(width, Refusal):
        return width
    epsilon, failure_probability = plan.epsilon or 0.0, plan.failure_probability
    with np.errstate(over="ignore", invalid="ignore"):
        Y = osnap(X, width, rng, sparsity=SPARSITY[plan.method])
    if not np.isfinite(Y).all():
        return Refusal(
            reason=f"X is so large that its sketch overflows {Y.dtype}: scale X by a power of "
            f"two{_or_double(Y)}",
            error=RuntimeError,
        )
    entries = X.entries
    if X.is_sparse:
        by_rows = entries.format == "csr"
        counts = np.diff(entries.indptr) if by_rows else np.bincount(entries.indices)
        terms = int(counts.max(initial=1))
    else:
        # No two columns of a run share a bucket.
        terms = -(-d // (width // SPARSITY[plan.method]))
    slack = float(sketch_slack(n, epsilon, terms, ARITHMETIC[X.dtype.name]["unit_roundoff"]))
    if plan.method == "gram-of-sketch":
        sketch = _result_gram(Y)
        if isinstance(sketch, Refusal):
            return sketch
        with np.errstate(over="ignore"):
            Y = _stored(range_factor(sketch)[0], X.dtype)
        factored = _result_gram(Y)
        if isinstance(factored, Refusal):
            return factored
        closeness = certified_closeness(sketch, factored)
        slack = float(composed_slack(epsilon, slack, closeness.epsilon, closeness.slack))
        epsilon = float(composed_epsilon(epsilon, closeness.epsilon))
    if X.is_sparse:
        doubled = entries.astype(np.float64)
        squares = doubled.multiply(doubled).sum(axis=1)
    else:
        squares = np.einsum("ij,ij->i", entries, entries, dtype=np.float64)
    if X.dtype == np.float32 and squares.min(initial=1.0, where=squares > 0) < SHORTEST**2:
        return Refusal(
            reason=f"X has float32 rows shorter than {SHORTEST:.3g}, whose sketch could underflow: give X "
            "in float64, or leave failure_probability out",
            error=RuntimeError,
        )
    largest = float(largest_logit(squares.max(), d + 1, UNIT_ROUNDOFF))
    logit_error = float(loewner_logit(epsilon + slack, largest))
    entry_error, row_error = _attention_errors(n, largest, logit_error)
    return Sparsified(
        Y=Y,
        columns=None,
        weights=None,
        epsilon=epsilon,
        slack=slack,
        certificate="probability",
        failure_probability=failure_probability,
        logit_error=logit_error,
        entry_error=entry_error,
        row_error=row_error,
        method=plan.method,
        claims=CLAIMS[plan.method] + ROUNDING_CLAIMS[plan.method],
    )


def _attention_errors(n: int, largest: float, logit_error: float) -> tuple[float, float]:
    """Bound entries and rows of attention, from G's largest entry and the logits' error."""
    if not largest:
        return 0.0, 0.0
    relative = float(up(logit_error / largest))
    entry_error = min(1.0, float(loewner_entry(n, largest, relative)))
    return entry_error, min(2.0, float(loewner_row(relative, largest)))
