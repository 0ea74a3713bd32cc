r"""Polynomial attention: softmax attention in time linear in n where logits are bounded and d is small."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.costs import FEATURE_PRODUCT
from fastpath.core.head import Head
from fastpath.core.inputs import Array, open_unit
from fastpath.core.offers import Offer, Refusal
from fastpath.core.shown import shown
from fastpath.polynomial.minimax import (
    Polynomial,
    largest_useful_degree,
    likely_degree,
    minimax,
    widened,
)
from fastpath.polynomial.moments import (
    CONVERTED,
    LARGEST_REACH,
    Block,
    Moments,
    Queries,
    Ranges,
    Result,
    certified_error,
    parts,
    query_roundings,
    sum_roundings,
    sums_of,
    waiting,
)
from fastpath.polynomial.monomials import block_columns, monomial_count, monomials

#: The most memory that the moments may take.
LARGEST_BYTES = 2**28

#: The logits for which a refusal states the degree; beyond them it states this one's, as "or more".
LARGEST_STATED = 2.0**10

#: Rows of causal attention taken at once: their own keys one by one, all earlier ones by moments.
CAUSAL_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """What replacing exp by a polynomial takes.

    Attributes
    ----------
    logit_bound : float
        Bound on the logits after centring: half their range, where it is symmetric.
    degree : int
        Of the polynomial.
    features : int
        How many monomials of the d variables there are up to it.
    bytes : int
        Of their moments.
    """

    logit_bound: float
    degree: int
    features: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class CertifiedExpansion(Certified):
    """An output with a bound on its error, and the expansion that it came from."""

    __repr__ = shown

    expansion: Expansion


class ExpansionError(ValueError):
    """No affordable expansion certifies the tolerance; ``expansion`` is the least that might."""

    def __init__(self, message: str, expansion: Expansion) -> None:
        super().__init__(message)
        self.expansion = expansion


@standard_arithmetic
def polynomial_attention(
    Q: ArrayLike,
    K: ArrayLike,
    V: ArrayLike,
    *,
    tolerance: float,
    causal: bool = False,
    workers: int | None = None,
) -> CertifiedExpansion:
    r"""Compute softmax attention to a certified tolerance, in time linear in the number of keys.

    With :math:`x_{ij} = q_i \cdot (k_j - c)` and a polynomial P of degree g in place of exp, the output
    :math:`\sum_j P(x_{ij}) v_j / \sum_j P(x_{ij})` follows from the moments :math:`\sum_j (k_j - c)^\alpha
    [v_j, 1]`, :math:`|\alpha| \le g`.  The centre c, half-way between the smallest and the largest key in
    each variable, leaves the softmax as it is and makes logits small.  P has the least relative error of
    its degree, and g is the least degree that certifies the tolerance.

    Parameters
    ----------
    Q : array_like, shape (n_q, d)
        Queries: float32, float64 or integers (taken as float64); mixed types are promoted.
    K : array_like, shape (n_k, d)
        Keys.
    V : array_like, shape (n_k, d_v)
        Values.
    tolerance : float
        The largest error that the certificate may show, relative to the largest ``|V|``; in (0, 1).
    causal : bool
        Whether query i sees only the keys j <= i; needs n_q = n_k.
    workers : int, optional
        Threads; by default every core that the process may use.  No bit of the result depends on it.

    Returns
    -------
    CertifiedExpansion
        ``output`` of shape (n_q, d_v) in the type of the inputs, and ``error_bound`` of the same shape
        in float64: at most ``tolerance`` times the largest ``|V|``, rounding included, and smaller in
        rows whose own logits :math:`|x_{ij}| \le \min(|q_i| \max_j |k_j - c|, \sum_l |q_{il}| \max_j
        |k_{jl} - c_l|)` are.  ``expansion`` states the degree and its cost.

    Raises
    ------
    TypeError
        If an input holds anything but float32, float64 or integers, or ``tolerance`` is no number.
    ValueError
        If shapes do not fit, an array is empty, an entry is not finite or too large (keys beyond 2^1010,
        values beyond 2^1021), or ``tolerance`` is not in (0, 1).
    ExpansionError
        A ValueError: rounding could exceed the tolerance, or the moments would take more than
        LARGEST_BYTES.  It states the degree, the features and the bytes.

    Notes
    -----
    Cost: with t = C(d + g, g) features, 2 t (d_v + 1) multiply-adds a query and a key, 8 t (d_v + 1)
    bytes of moments, and copies of Q, K and V.  Causal attention adds 256 (d + g + d_v) multiply-adds a
    query, and copies in float64.  For logits within -+1 of the centre's and a tolerance of 1e-3 the
    degree is 4; within -+2, 6; within -+8, for 1e-2, 12.

    All is computed in float64, since rounding grows like e^(2b) u where logits reach b.

    Claims: P2.poly, P2.kappa, FP.moments, FP.polynomial, FP.exp.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).uniform(-0.7, 0.7, (3, 5000, 2))
    >>> found = fastpath.polynomial_attention(Q, K, V, tolerance=1e-3)
    >>> found.expansion.degree, found.expansion.features
    (4, 15)
    >>> bool((found.error_bound <= 1e-3 * np.abs(V).max()).all())
    True
    """
    head = Head.of(Q, K, V, causal=causal, workers=worker_count(workers))
    planned = _planned(head, open_unit("tolerance", tolerance))
    if isinstance(planned, UnaffordableExpansion):
        raise ExpansionError(f"{planned.reason}.", planned.expansion)
    return planned.attend()


@dataclass(frozen=True, kw_only=True)
class UnaffordableExpansion(Refusal):
    """Why no expansion is affordable, and the least that might certify the tolerance."""

    expansion: Expansion


def polynomial_offer(
    head: Head, tolerance: float
) -> Offer[CertifiedExpansion] | UnaffordableExpansion:
    """Offer :func:`polynomial_attention` of a head, or refuse as it does, in O(n d) time."""
    planned = _planned(head, tolerance)
    if isinstance(planned, UnaffordableExpansion):
        return planned
    expansion = planned.expansion
    return Offer(
        way="polynomial",
        cost=planned.cost,
        certifies=f"a polynomial of degree {expansion.degree} with {expansion.features} features "
        "certifies every row",
        take=planned.attend,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Planned:
    """A head, and the polynomial that certifies the tolerance on it."""

    head: Head
    block: Block
    queries: Queries
    polynomial: Polynomial

    @property
    def expansion(self) -> Expansion:
        return _expansion(self.queries, self.block.ranges, self.polynomial.degree)

    @property
    def cost(self) -> float:
        """What :meth:`attend` is predicted to take (``fastpath.core.costs``)."""
        rows, keys = len(self.head.queries), len(self.head.keys)
        d, d_v = self.head.keys.shape[1], self.head.values.shape[1]
        products = 2 * self.expansion.features * (d_v + 1) * (rows + keys)
        if self.head.causal:
            products += CAUSAL_BLOCK * (d + d_v + self.polynomial.degree) * rows
        return float(FEATURE_PRODUCT * products)

    def attend(self) -> CertifiedExpansion:
        dtype, workers = self.head.dtype, worker_count(self.head.workers)
        if self.head.causal:
            found = _causal(self.block, self.queries, self.polynomial, dtype, workers)
        else:
            moments = Moments.of(self.block, self.polynomial.degree, workers)
            found = moments.attend(self.queries, self.polynomial, dtype, workers)
        return CertifiedExpansion(
            output=found.output,
            error_bound=found.error_bound,
            claims=found.claims,
            expansion=self.expansion,
        )


def _planned(head: Head, tolerance: float) -> _Planned | UnaffordableExpansion:
    """Find the polynomial of least degree that certifies the tolerance."""
    block = Block.of(head.keys, head.values)
    if (block.ranges.value_low < block.ranges.value_high).any():
        queries = Queries.of(head.queries, block.ranges)
        polynomial = _least(
            queries, block.ranges, len(head.keys), head.causal, tolerance, head.dtype
        )
        if isinstance(polynomial, UnaffordableExpansion):
            return polynomial
    else:
        # Every average is the one value, however large the logits.
        queries = Queries.of(np.zeros_like(head.queries), block.ranges)
        polynomial = minimax(0, widened(0.0))
    return _Planned(head=head, block=block, queries=queries, polynomial=polynomial)


def _least(
    queries: Queries,
    ranges: Ranges,
    count: int,
    causal: bool,
    tolerance: float,
    dtype: np.dtype[Any],
) -> Polynomial | UnaffordableExpansion:
    """Return the polynomial of least degree that certifies the tolerance, or refuse."""
    d, d_v = len(ranges.key_low), len(ranges.value_low)
    allowed = tolerance * float(ranges.magnitude.max())
    radius = widened(min(queries.largest, LARGEST_STATED))
    share = min(1.0, 2 * allowed / float(ranges.spread.max()))
    # Of subnormal values nothing may be left to allow.
    degree = likely_degree(radius, share) if share else 0

    def certifies(degree: int) -> bool:
        roundings = query_roundings(d, degree) + (
            _causal_roundings(d, degree, count)
            if causal
            else sum_roundings(degree, count, block_columns(d, degree, d_v + 1))
        )
        if not queries.within_range(degree):
            return False
        polynomial = minimax(degree, radius)
        return certified_error(polynomial, queries, ranges, roundings, dtype) <= allowed

    def refusal(reason: str) -> UnaffordableExpansion:
        least = _expansion(queries, ranges, degree)
        return UnaffordableExpansion(
            reason=f"tolerance must be one that can be certified, got {tolerance:g}: {reason}.  Logits lie "
            f"up to {least.logit_bound:.3g} from their centre, which takes degree {degree} or more, so "
            f"{Decimal(least.features):.4g} features and {Decimal(least.bytes):.4g} bytes of moments.  "
            "fastpath.attention has no such limit",
            expansion=least,
        )

    if not queries.reach <= LARGEST_REACH:
        return refusal("rounding alone could exceed it")
    useful = largest_useful_degree(radius)
    while not certifies(degree):
        if _expansion(queries, ranges, degree).bytes > LARGEST_BYTES:
            break
        if not queries.within_range(degree):
            return refusal("powers of its scaled queries could leave the range of float64")
        if degree >= useful:
            return refusal("rounding alone could exceed it")
        degree += 1
    while degree and certifies(degree - 1):
        degree -= 1
    if _expansion(queries, ranges, degree).bytes > LARGEST_BYTES:
        return refusal(f"the moments may take {LARGEST_BYTES} bytes")
    return minimax(degree, radius)


def _expansion(queries: Queries, ranges: Ranges, degree: int) -> Expansion:
    features = monomial_count(len(ranges.key_low), degree)
    size = 8 * features * (len(ranges.value_low) + 1)
    return Expansion(logit_bound=queries.largest, degree=degree, features=features, bytes=size)


def _causal(
    block: Block, queries: Queries, polynomial: Polynomial, dtype: np.dtype[Any], workers: int
) -> Certified:
    """Return causal attention: in each block of rows, earlier keys by moments and its own one by one.

    Threads share what a block adds to the moments, and then what its rows are; the moments grow in order.
    """
    (d, n), degree = block.keys.shape, polynomial.degree
    basis = monomials(d, degree)
    sums = np.zeros((basis.count, len(block.values) + 1))
    seen = np.triu(np.ones((CAUSAL_BLOCK, CAUSAL_BLOCK)))
    # All at once: such short blocks would spend more on the calls than on the arithmetic.
    everything = slice(0, n)
    all_keys, all_weights = block.scaled_keys(everything), block.weights(everything)
    all_queries, totals = queries.scaled(everything), np.empty_like(all_weights)

    def compute(rows: slice, earlier: Array) -> None:
        keys, x, weights = all_keys[:, rows], all_queries[:, rows], all_weights[:, rows]
        logits = keys.T @ x
        tile = np.full_like(logits, polynomial.coefficients[-1])
        for coefficient in polynomial.coefficients[-2::-1]:
            tile *= logits
            tile += coefficient
        tile *= seen[: len(tile), : len(tile)]
        np.matmul(weights, tile, out=totals[:, rows])
        if rows.start:
            totals[:, rows] += basis.evaluate(x, basis.operators(polynomial.coefficients, earlier))

    blocks = parts(n, CAUSAL_BLOCK)
    while wave := list(islice(blocks, max(1, waiting(workers, sums)))):
        added = run(
            [
                partial(
                    sums_of,
                    basis,
                    lambda rows: all_keys[:, rows],
                    lambda rows: all_weights[:, rows],
                    rows,
                )
                for rows in wave
            ],
            workers,
        )
        tasks = []
        for rows, of_block in zip(wave, added, strict=True):
            tasks.append(partial(compute, rows, sums))
            sums = sums + of_block
        run(tasks, workers)
    value_low, value_high = (
        extreme.accumulate(block.values, axis=1).astype(np.float64)
        for extreme in (np.minimum, np.maximum)
    )
    roundings = query_roundings(d, degree) + _causal_roundings(d, degree, n)
    result = Result(queries, polynomial, roundings, block.ranges.value_units, dtype)
    run(
        [
            partial(
                result.put,
                rows,
                totals[:, rows],
                np.arange(rows.start + 1, rows.stop + 1),
                value_low[:, rows],
                value_high[:, rows],
            )
            for rows in parts(n, CONVERTED)
        ],
        workers,
    )
    return result.certified


def _causal_roundings(d: int, degree: int, count: int) -> int:
    """Bound the roundings of a term before it is in the sums, or in those of its own block.

    For the latter a product of d and its sum a logit (d degree), Horner's rule (2 degree), centring
    (degree), the sum over the block and one more.
    """
    return sum_roundings(degree, count, CAUSAL_BLOCK) + (d + 1) * degree + 1
