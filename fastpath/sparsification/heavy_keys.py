"""The few keys that can have a share of epsilon of some query, where a weight is a power of |q·k|."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import scipy.linalg as sl
from numpy.typing import ArrayLike, NDArray

from fastpath.core import norms
from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import product_error
from fastpath.core.bounds.sparsification import leverage_certificate, power_weight
from fastpath.core.directed import UNIT_ROUNDOFF, float_at_most, library_down, library_up, up
from fastpath.core.inputs import Array, Matrix, integer, matrix
from fastpath.core.shown import shown
from fastpath.sparsification.exact_leverage import (
    distinct_rows,
    exact_leverages,
    spanning_columns,
)

#: Rows whose products are computed at a time: 64 columns of them take 8 MiB.
ROWS = 1 << 14

#: A certificate this much larger than the leverages is good enough; else a costlier way is tried.
GOOD = 1 + 1 / 64

#: A certificate this much larger is better than what takes much longer.
ENOUGH = 2.0

#: What counts as rank of a computed Gram matrix, in a choice of columns that is certified later.
SEEN = 2.0**-40

#: Powers of two between the entries of a column, up to which none is rounded where the largest becomes 1.
EXACTLY_SCALED = 900

#: The exponent of a column of zeros, below that of any float.
ZERO_COLUMN = -1100

#: Rounds of the iteration l -> leverages of the rows multiplied by l^(1/2 - 1/p), towards Lewis's weights.
ROUNDS = 8

#: The least of Lewis's weights beside the mean of all, and the bits kept of its root.
LEAST, KEPT = 2.0**-30, 8

#: Roundings of a row's factor and of its product with an entry: of 4 ulp and of half a one.
FACTOR_ROUNDINGS = 16


@dataclass(frozen=True, kw_only=True)
class KeyGram:
    """The Gram matrix of keys, KᵀK, as one pass over them leaves it; those of shards can be merged.

    Attributes
    ----------
    matrix : float64 array, shape (d, d)
        Computed from columns divided by 2^exponent.
    exponents : int array, shape (d,)
        So that no entry of a column exceeds 1.
    loss : float
        Bound on the Frobenius norm of what rounding did to ``matrix``.
    keys : int
        How many keys there were.
    """

    __repr__ = shown

    matrix: Array
    exponents: NDArray[np.int64]
    loss: float
    keys: int

    @standard_arithmetic
    def merge(self, other: KeyGram) -> KeyGram:
        """Return the Gram matrix of both sets of keys.

        Raises
        ------
        TypeError, ValueError
            If the other is none, or has another number of columns.
        """
        if not isinstance(other, KeyGram):
            raise TypeError(f"other must be a KeyGram, got {other!r}.")
        if len(self.exponents) != len(other.exponents):
            raise ValueError(
                f"other must have as many columns, {len(self.exponents)}, got {len(other.exponents)}."
            )
        exponents = np.maximum(self.exponents, other.exponents)
        parts = [np.ldexp(g.matrix, _shifts(g.exponents - exponents)) for g in (self, other)]
        total = parts[0] + parts[1]
        # The sum's rounding, and what scaling takes from entries far below the others.
        added = product_error(1, UNIT_ROUNDOFF, norms.norm(total), 1.0, 4 * total.size, norms.TINY)
        return KeyGram(
            matrix=total,
            exponents=exponents,
            loss=float(up(up(self.loss + other.loss) + added)),
            keys=self.keys + other.keys,
        )


@dataclass(frozen=True, kw_only=True)
class HeavyKeys:
    """Keys that hold every weight of ``epsilon`` or more of every query.

    Attributes
    ----------
    keys : int array
        Their indices, in increasing order.
    scores : float64 array, shape (n,)
        For every key a bound on its weight, whatever the query.
    epsilon : float
        As asked for, rounded down.
    missed : float
        The largest of the scores of the keys left out, less than ``epsilon``; 0 if none is.
    most : float
        The sum of all scores, divided by ``epsilon``: no more keys than this.  For ``power=2`` the scores add
        up to rank(K), rounding and equal shares apart, where ``method`` is not ``"none"``.
    power : int
        As asked for.
    method : str
        How the scores were found: from the Gram matrix (``"gram"``), a QR factorisation (``"qr"``), exact
        integers (``"exact"``), or not at all (``"none"``: only that equal keys have equal weights was used).
    claims : tuple of str
        The ids of the claims that the scores rest on.
    """

    __repr__ = shown

    keys: NDArray[np.intp]
    scores: Array
    epsilon: float
    missed: float
    most: float
    power: int
    method: str
    claims: tuple[str, ...]


@standard_arithmetic
def key_gram(K: ArrayLike) -> KeyGram:
    """Compute KᵀK in one pass, for :func:`heavy_keys`.

    Parameters
    ----------
    K : array_like, shape (n, d)
        Keys, or a shard of them.

    Raises
    ------
    TypeError, ValueError
        If K is no matrix of finite floats or integers.

    Notes
    -----
    Cost: n d² multiply-adds.  Memory: d², and 2^14 rows in float64.
    """
    return _gram(matrix("K", K), None)


@standard_arithmetic
def heavy_keys(
    K: ArrayLike, epsilon: float, *, power: int = 2, gram: KeyGram | None = None
) -> HeavyKeys:
    r"""Return a set of keys that holds every weight of epsilon or more of every query.

    Weights are :math:`|q \cdot k_j|^p / \sum_l |q \cdot k_l|^p`, p even; a query that is orthogonal to every
    key gives none.  For p = 2 the largest weight of key j is its leverage
    :math:`k_j^\top (K^\top K)^+ k_j`, and leverages add up to rank(K) ≤ d: no more than d/ε keys have ε or
    more, rounding apart.  For p = 2h the bounds are those of L.powers, which Lewis's weights would make add
    up to rank(K)^h.  Softmax has no such set (L.softmax).

    Parameters
    ----------
    K : array_like, shape (n, d)
        Keys; not modified.
    epsilon : float
        In (0, 1].
    power : int
        p, even and at least 2.
    gram : KeyGram, optional
        The merged Gram matrix of more keys, of which K are some: then only K is looked at, and weights are
        shares among all of them.  For ``power=2``.

    Returns
    -------
    HeavyKeys

    Raises
    ------
    TypeError, ValueError
        If K is no matrix of finite floats or integers, epsilon not in (0, 1], power not even and at least 2,
        or gram of another width, of fewer keys, or given for another power.

    Notes
    -----
    Cost: for p = 2 one pass for KᵀK, n d² multiply-adds, and one look, 2 n d² more; a QR factorisation where
    the columns of K are nearly dependent, and integers where they are dependent.  For other p ``ROUNDS``
    times as much.  Memory: n, d², and 2^14 rows; for QR and integers a copy of K.

    NOTE Where neither floats nor integers prove a bound, as for a large K whose columns are nearly but not
    exactly dependent, every key that is not zero is returned, or 1/m is its score where it occurs m times;
    ``method`` says so.

    Claims: L.heavy, L.powers, L.leverage, FP.product, FP.sum.

    References
    ----------
    R. Kannan, C. Bhattacharyya, P. Kacham, D. P. Woodruff, LevAttention: time, space, and streaming
    efficient algorithm for heavy attentions, arXiv 2410.05462.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> rng = np.random.default_rng(0)
    >>> K = rng.standard_normal((1000, 8))
    >>> K[[3, 500]] *= 50
    >>> heavy = fastpath.heavy_keys(K, 0.1)
    >>> heavy.keys.tolist(), heavy.missed < 0.1
    ([3, 500], True)
    >>> shares = np.square(rng.standard_normal((100, 8)) @ K.T)
    >>> shares /= shares.sum(axis=1, keepdims=True)
    >>> bool((shares <= heavy.scores).all())
    True
    """
    k = matrix("K", K)
    least = _share("epsilon", epsilon)
    p = integer("power", power, 2)
    if p % 2:
        raise ValueError(f"power must be even, got {p}.")
    if gram is not None:
        _check_gram(gram, k, p)
    looked = _Look(k)
    scores, method = looked.leverages(None, gram)
    if p > 2:
        scores, method = _powers(looked, scores, method, p // 2)
    heavy = np.flatnonzero(scores >= least)
    out = scores[scores < least]
    return HeavyKeys(
        keys=heavy,
        scores=scores,
        epsilon=least,
        missed=float(out.max(initial=0.0)),
        most=float(up(norms.sum_above(scores.sum(), len(scores)) / least)),
        power=p,
        method=method,
        claims=("L.heavy", *(("L.powers",) if p > 2 else ()), *_CLAIMS[method]),
    )


_FLOATS = ("L.leverage", "FP.product", "FP.sum")

#: What the scores of each method rest on besides.
_CLAIMS: dict[str, tuple[str, ...]] = {"gram": _FLOATS, "qr": _FLOATS, "exact": (), "none": ()}


def _share(name: str, value: Any) -> float:
    """Return a number in (0, 1], rounded down, or refuse what is none."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not 0 < value <= 1 or float_at_most(value) <= 0:  # type: ignore[operator]
        raise ValueError(f"{name} must be in (0, 1], got {value!r}.")
    return float_at_most(value)


def _check_gram(gram: Any, k: Matrix, power: int) -> None:
    if not isinstance(gram, KeyGram):
        raise TypeError(f"gram must be a KeyGram, got {gram!r}.")
    if power != 2:
        raise ValueError(f"gram must be None for a power other than 2, got power={power}.")
    if len(gram.exponents) != k.shape[1]:
        raise ValueError(
            f"gram must have as many columns as K, {k.shape[1]}, got {len(gram.exponents)}."
        )
    if gram.keys < len(k):
        raise ValueError(f"gram must be of K's {len(k)} keys at least, got one of {gram.keys}.")
    larger = np.flatnonzero(_exponents(k) > gram.exponents)
    if len(larger):
        raise ValueError(
            f"gram must be of K's keys among others, got one of smaller entries in column {larger[0]}."
        )


def _shifts(exponents: NDArray[np.int64]) -> NDArray[np.int64]:
    shifts: NDArray[np.int64] = exponents[:, None] + exponents[None, :]
    return shifts


def _exponents(k: Matrix) -> NDArray[np.int64]:
    """Return for every column the power of two that is above its entries; the least one for zeros."""
    largest = np.abs(k).max(axis=0)
    return np.where(largest > 0, np.frexp(largest)[1], ZERO_COLUMN).astype(np.int64)


def _gram(k: Matrix, factors: Array | None) -> KeyGram:
    """Compute the Gram matrix of keys, their rows multiplied by factors up to 1."""
    exponents = _exponents(k)
    total = np.zeros((k.shape[1], k.shape[1]))
    for rows in _blocks(k, exponents, factors):
        total += rows.T @ rows
    size = up(np.sqrt(norms.sum_above(float(np.trace(total)), sum(k.shape))))
    loss = norms.product_loss(size, size, len(k) + 2, total.size)
    return KeyGram(matrix=total, exponents=exponents, loss=float(loss), keys=len(k))


def _blocks(k: Matrix, exponents: NDArray[np.int64], factors: Array | None) -> Any:
    """Yield the rows as float64, columns divided by powers of two and rows multiplied by factors."""
    for start in range(0, len(k), ROWS):
        rows = np.ldexp(k[start : start + ROWS].astype(np.float64), -exponents)
        if factors is not None:
            rows *= factors[start : start + ROWS, None]
        yield rows


def _powers(looked: _Look, scores: Array, method: str, half: int) -> tuple[Array, str]:
    """Bound weights of the power 2 half: the best of what several multipliers give (L.powers)."""
    n = len(scores)
    best: Array = np.minimum(power_weight(scores, 1.0, float(n), half), 1.0)
    leverages = scores
    for _ in range(ROUNDS):
        floor = LEAST * max(float(leverages.mean()), LEAST)
        roots = _shortened(np.maximum(leverages, floor) ** (1 / (2 * half)))
        computed = library_up(np.power(roots, 2 * half))
        total = float(norms.sum_above(computed.sum(), n))
        leverages, found = looked.leverages(roots, None, half)
        if found == "none":
            break
        method = found
        factors = library_down(np.power(roots, half - 1))
        best = np.minimum(best, np.asarray(power_weight(leverages, factors, total, half)))
    return best, method


def _shortened(x: Array) -> Array:
    """Round to few bits, so that integers that hold a power of it stay short."""
    mantissa, exponent = np.frexp(x)
    rounded: Array = np.ldexp(np.rint(np.ldexp(mantissa, KEPT)), exponent - KEPT)
    return rounded


class _Look:
    """Keys without their zero rows and columns, and ways to bound the leverages of their rows."""

    def __init__(self, k: Matrix) -> None:
        self._k = k
        self._shares: Array | None = None

    def equal_shares(self) -> Array:
        """Return 1/m, rounded up, for a key that occurs m times, and 0 for a key that is zero."""
        if self._shares is None:
            _, places, counts = distinct_rows(self._k)
            once = np.where(counts == 1, 1.0, up(1 / counts))
            self._shares = np.where(self._k.any(axis=1), once[places], 0.0)
        return self._shares

    def leverages(
        self, roots: Array | None, gram: KeyGram | None, half: int = 1
    ) -> tuple[Array, str]:
        """Bound the leverage of every row among all rows, multiplied by roots^(half - 1)."""
        rows = np.flatnonzero(self._k.any(axis=1))
        if len(rows) == 0:
            return np.zeros(len(self._k)), "gram"
        if gram is not None:
            columns = np.flatnonzero(gram.exponents > ZERO_COLUMN)
        else:
            columns = np.flatnonzero(self._k.any(axis=0))
        whole = len(rows) == len(self._k) and len(columns) == self._k.shape[1]
        part = self._k if whole else self._k[np.ix_(rows, columns)]
        part_roots = None if roots is None else roots[rows]
        if gram is not None:
            found, method = _with_gram(part, gram, columns), "gram"
        else:
            found, method = _certified(part, part_roots, half)
        scores = np.zeros(len(self._k))
        if found is None:
            if gram is None:
                return self.equal_shares(), "none"
            found = np.ones(len(rows))
            method = "none"
        scores[rows] = np.minimum(found, 1.0)
        return scores, method


def _with_gram(k: Matrix, gram: KeyGram, columns: NDArray[np.intp]) -> Array | None:
    """Bound leverages among all keys of a Gram matrix, or not: B = K T exactly, and BᵀB = Tᵀ G T."""
    G, exponents = gram.matrix[np.ix_(columns, columns)], gram.exponents[columns]
    T = _whitening(G)
    if T is None:
        return None
    size, order = norms.norm(T), len(T)
    left, right = T.T @ G, norms.norm(G)
    lost = norms.product_loss(size, right, order, G.size)
    lost = up(up(lost * size) + norms.product_loss(norms.norm(left), size, order, G.size))
    defect = up(
        up(norms.norm(left @ T - np.eye(order))) + up(lost + up(up(size * size) * gram.loss))
    )
    lengths, errors = _products(k, exponents, None, T)[:2]
    if not defect < 1:
        return None
    bounds: Array = leverage_certificate(up(lengths + errors), 0.0, defect, 0.0)
    return bounds


def _certified(k: Matrix, roots: Array | None, half: int) -> tuple[Array | None, str]:
    """Bound the leverages of rows multiplied by roots^(half - 1) by the cheapest way that proves enough."""
    factors = None if roots is None else np.power(roots, half - 1)
    G = _gram(k, factors)
    best: Array | None = None
    method, slack = "none", np.inf
    for way in ("gram", "qr"):
        gram = way == "gram"
        T = _whitening(G.matrix) if gram else _triangular_inverse(k, G.exponents, factors)
        for _ in range(2):
            if T is None:
                break
            lengths, errors, E = _products(k, G.exponents, factors, T)
            found, above = _bounds(lengths, errors, E, len(k))
            if above < slack:
                best, slack, method = found, above, way
            if slack <= GOOD:
                return best, method
            # K T is nearly orthonormal, or not yet: once more, for it.
            again = _whitening(E)
            T = None if again is None else T @ again
        if slack <= ENOUGH:
            return best, method
    exact = exact_leverages(k, roots, half)
    if exact is not None:
        return exact, "exact"
    # Leverages depend on what the columns span only: leave out those that depend on others.
    R, order = sl.qr(G.matrix, mode="r", pivoting=True)
    seen = int(np.count_nonzero(np.abs(np.diag(R)) > SEEN * abs(R[0, 0])))
    exponents = _exponents(k)
    smallest = np.where(k != 0, np.frexp(k)[1], exponents).min(axis=0)
    if (smallest < exponents - EXACTLY_SCALED).any():
        return best, method
    spanning = spanning_columns(_blocks(k, exponents, None), order.tolist(), seen)
    if spanning is None or len(spanning) == k.shape[1]:
        return best, method
    return _certified(np.ascontiguousarray(k[:, spanning]), roots, half)


def _whitening(G: Array) -> Array | None:
    """Return T with Tᵀ G T near I, or None where Cholesky's factorisation finds no such."""
    if not np.isfinite(G).all():
        return None
    factor, failed = sl.lapack.dpotrf(G, lower=0)
    if failed:
        return None
    inverse, failed = sl.lapack.dtrtri(factor, lower=0)
    T: Array = np.triu(inverse)
    return T if not failed and np.isfinite(T).all() else None


def _triangular_inverse(
    k: Matrix, exponents: NDArray[np.int64], factors: Array | None
) -> Array | None:
    """Return T with K T near orthonormal columns, from a QR factorisation; None where rank is missing."""
    if k.shape[0] < k.shape[1]:
        return None
    rows = np.concatenate(list(_blocks(k, exponents, factors)))
    # Long rows first, which keeps the errors of short ones short.
    rows = rows[np.argsort(-np.abs(rows).max(axis=1), kind="stable")]
    R, pivots = sl.qr(rows, mode="r", pivoting=True)
    inverse, failed = sl.lapack.dtrtri(R[: k.shape[1]], lower=0)
    if failed or not np.isfinite(inverse).all():
        return None
    T: Array = np.empty(inverse.shape)
    T[pivots] = np.triu(inverse)
    return T


def _products(
    k: Matrix, exponents: NDArray[np.int64], factors: Array | None, T: Array
) -> tuple[Array, Array, Array]:
    """Return bounds on the lengths of the rows of B, computed for K T, on their errors, and BᵀB computed."""
    size = norms.norm(T)
    terms = T.shape[0] + (0 if factors is None else FACTOR_ROUNDINGS)
    lengths, errors = np.empty(len(k)), np.empty(len(k))
    E = np.zeros((T.shape[1], T.shape[1]))
    start = 0
    for rows in _blocks(k, exponents, factors):
        with np.errstate(over="ignore", invalid="ignore"):
            B = rows @ T
        part = slice(start, start + len(rows))
        start += len(rows)
        if not np.isfinite(B).all():
            lengths[part], errors[part], E[:] = np.inf, np.inf, np.inf
            continue
        lengths[part] = norms.lengths(B)
        # Beside the product's roundings, what scaling columns and multiplying rows lose to underflow.
        lost = product_error(
            terms, UNIT_ROUNDOFF, norms.lengths(rows), size, T.shape[1], norms.TINY
        )
        errors[part] = up(lost + up(up(size * norms.TINY) * up(2.0 * T.shape[0])))
        E += B.T @ B
    return lengths, errors, E


def _bounds(lengths: Array, errors: Array, E: Array, n: int) -> tuple[Array, float]:
    """Return bounds on the leverages, and how much larger than a computed leverage they may be."""
    if not np.isfinite(E).all():
        return np.full(len(lengths), np.inf), np.inf
    size = norms.norm(lengths)
    lost = norms.product_loss(size, size, n, E.size)
    defect = up(up(norms.norm(E - np.eye(len(E)))) + lost)
    error = norms.norm(errors)
    bounds: Array = leverage_certificate(lengths, errors, defect, error)
    return bounds, float(bounds.sum()) / max(float(len(E)), 1.0)
