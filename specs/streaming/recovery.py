r"""Which entries of a long output column k numbers can keep: by sketch, by heap, and how little they say.

y is a column of the exact output, ỹ the one that was computed, |ỹ_i − y_i| ≤ ``entry_error``.  tail_k(y) is
the ℓ₂ norm of y without its k largest entries: what the best k-sparse vector misses.

A CountSketch row adds s_i ỹ_i to bucket h(i) for independent hashes h and signs s, and estimates ỹ_i by
s_i times the bucket; a coordinate's estimate is the median over an odd number of rows.

NOTE The paper's error is a factor times tail_k plus ε₂, with 4 TV max|V| √n for ε₂ where the factor is 1.
For a heap √5 √k entry_error is enough, and no n is in it (P2.heap).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from heapq import heappush, heappushpop
from itertools import product
from math import comb
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, attention, evaluate
from reference.polynomial_weights import half_range
from reference.sparse_tail import best_sparse, sparse_tail
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.symbols import (
    AT_LEAST_ONE,
    POSITIVE,
    SHARE,
    accuracy,
    buckets,
    entry_error,
    half_rows,
    logit_bound,
    n,
    queries,
    ratio,
    row_failure,
    sparsity,
    tail,
    values,
)

Matrix = NDArray[Any]
Column = tuple[Fraction, ...]


def _square(x: Column) -> Fraction:
    return sum((a * a for a in x), Fraction(0))


def _tail_square(x: Column, k: int) -> Fraction:
    kept = set(best_sparse(x, k))
    return _square(tuple(a for i, a in enumerate(x) if i not in kept))


def _sparse(x: Column, k: int) -> Column:
    """Return x with only its k largest entries."""
    kept = set(best_sparse(x, k))
    return tuple(a if i in kept else Fraction(0) for i, a in enumerate(x))


def _distance(x: Column, y: Column, bits: int) -> Enclosure:
    return lift(_square(tuple(a - b for a, b in zip(x, y, strict=True))), bits).sqrt()


def _drawn(rng: np.random.Generator, scale: float, size: int) -> Column:
    return tuple(Fraction(float(x)) for x in rng.uniform(-scale, scale, size))


def _added(x: Column, y: Column) -> Column:
    return tuple(a + b for a, b in zip(x, y, strict=True))


# ----------------------------------------------------------------------------------- P2.recovery


@dataclass(frozen=True)
class Recovered:
    """A column y, ỹ as it was computed, and estimates of ỹ, within ``accuracy`` tail_k(ỹ)/√k of it.

    The sketch has ``buckets`` buckets in each of 2 ``half_rows`` + 1 rows.
    """

    exact: Column
    computed: Column
    estimates: Column
    sparsity: int
    accuracy: Fraction
    entry_error: Fraction
    buckets: int
    half_rows: int


def _estimates_hold(i: Recovered) -> bool:
    allowed = i.accuracy**2 * _tail_square(i.computed, i.sparsity) / i.sparsity
    return all((a - b) ** 2 <= allowed for a, b in zip(i.estimates, i.computed, strict=True))


def miss_probabilities(i: Recovered) -> list[Fraction]:
    """Return the probability, for each coordinate, that one row's estimate misses by accuracy tail/√k.

    Exact, by enumeration: every other coordinate falls into the bucket with probability 1/buckets, with
    either sign.
    """
    B, allowed = i.buckets, i.accuracy**2 * _tail_square(i.computed, i.sparsity)

    def missed(others: Column) -> Fraction:
        others = tuple(x for x in others if x)  # zeros do no harm, wherever they fall
        chance = Fraction(0)
        for signs in product((-1, 0, 1), repeat=len(others)):
            error = sum((s * x for s, x in zip(signs, others, strict=True)), Fraction(0))
            if i.sparsity * error**2 >= allowed:
                hits = sum(map(abs, signs))
                chance += Fraction(1, 2 * B) ** hits * Fraction(B - 1, B) ** (len(signs) - hits)
        return chance

    return [missed(i.computed[:j] + i.computed[j + 1 :]) for j in range(len(i.computed))]


def misses(i: Recovered) -> Fraction:
    """Return the largest of these probabilities."""
    return max(miss_probabilities(i))


def majority_misses(p: Fraction, half: int) -> Fraction:
    """Return P(Bin(2 half + 1, p) > half): the median of so many rows misses at most then."""
    rows = 2 * half + 1
    return sum(
        (comb(rows, m) * p**m * (1 - p) ** (rows - m) for m in range(half + 1, rows + 1)),
        Fraction(0),
    )


def expected_misses(i: Recovered) -> Fraction:
    """Return how many coordinates the median over 2 half_rows + 1 rows misses in the mean."""
    return sum(
        (majority_misses(p, i.half_rows) for p in miss_probabilities(i)),
        Fraction(0),
    )


def _recovery_parameters(i: Recovered, bits: int) -> Mapping[str, Value]:
    return {
        "accuracy": i.accuracy,
        "sparsity": i.sparsity,
        "buckets": i.buckets,
        "half_rows": i.half_rows,
        "row_failure": misses(i),
        "n": len(i.exact),
        "entry_error": i.entry_error,
        "tail": sparse_tail(i.exact, i.sparsity, precision=bits),
        "ratio": evaluate(_RATIO, {"accuracy": i.accuracy}, bits),
    }


def _recovered_sample(rng: np.random.Generator) -> Recovered:
    size, k = int(rng.integers(3, 6)), int(rng.integers(1, 3))
    computed, a = _drawn(rng, 1, size), Fraction(int(rng.integers(1, 8)), 8)
    # 3/5 < 1/√2 and k <= 2: a float below the tail's square root will do.
    error = float(a) * 0.999 * float(_tail_square(computed, k)) ** 0.5 / k**0.5
    noise = Fraction(1, 16)
    return Recovered(
        _added(computed, _drawn(rng, 1 / 16, size)),
        computed,
        _added(computed, _drawn(rng, error, size)),
        k,
        a,
        noise,
        int(rng.integers(8, 2000)),
        int(rng.integers(1, 5)),
    )


def _wrongly_ranked() -> Recovered:
    """Let the estimates prefer 1 to 1 + 2 accuracy, and overrate it as far as they may."""
    a = Fraction(1, 4)
    y = (Fraction(1), 1 + 2 * a)
    return Recovered(y, y, (1 + a, 1 + a), 1, a, Fraction(0), 64, 1)


def _wide_row() -> Recovered:
    """Let the coordinate 0 be missed when 10, which is heavy, or 1, all of the tail, falls upon it."""
    y = (Fraction(0), Fraction(10), Fraction(1))
    return Recovered(y, y, y, 1, Fraction(1), Fraction(0), 1 << 20, 1)


def _wide_column() -> Recovered:
    """Let the same happen to all coordinates but two."""
    y = (*(Fraction(0),) * 200, Fraction(10), Fraction(1))
    return Recovered(y, y, y, 1, Fraction(1), Fraction(0), 1 << 20, 1)


_ROW_FAILURE = sparsity * (1 + 1 / accuracy**2) / buckets

_RATIO = sympy.sqrt(1 + 4 * accuracy + 5 * accuracy**2)

P2_RECOVERY = Claim[Recovered](
    id="P2.recovery",
    where="P2, inside (unread)",
    statement=(
        "T is k-sparse with ||T - y||_2 <= (1 + eps1) tail_k(y) + eps2, with probability 0.99. Our reading: "
        "one row of B buckets misses a coordinate of the computed column by accuracy tail_k/sqrt(k) with "
        "probability p <= (k/B)(1 + 1/accuracy^2); the median of 2h+1 rows with C(2h+1, h+1) p^{h+1}, and n "
        "times that for all coordinates; then T, the k largest estimates, has 1 + eps1 = "
        "sqrt(1 + 4 accuracy + 5 accuracy^2), attained, and eps2 = (2 + eps1) entry_error sqrt(n): with "
        "entry_error = 2 TV max|V| and eps1 = 0 this is the paper's 4 TV max|V| sqrt(n). Hashes and signs "
        "that are linear over two elements are enough, and then T is found without a look at all n: "
        "whatever reaches a threshold solves linear equations for the buckets that do. The theorem includes "
        "that decoder, and sums that were rounded."
    ),
    not_stated=(
        "On instances, probabilities are computed for independent hashes and signs; the theorem is about the "
        "linear ones that run, drawn uniformly, which a generator only imitates. That the decoder's loop "
        "ends is argued, and how many rows it looks at is measured. The constant of sqrt(n) is not the "
        "least one."
    ),
    assumes=(
        Hypothesis(
            "0 < accuracy, 0 < sparsity < n, 0 < buckets, and tail_k of the computed column is not 0",
            lambda i: (
                i.accuracy > 0
                and 0 < i.sparsity < len(i.computed)
                and i.buckets > 0
                and _tail_square(i.computed, i.sparsity) > 0
            ),
            mirrors=("0 <= accuracy", "0 < k", "0 < B", "0 < accuracy"),
        ),
        Hypothesis(
            "every estimate is within accuracy tail_k/sqrt(k) of the computed column",
            _estimates_hold,
            mirrors=("Rabs (estimate i - y i) <= accuracy * distance n y z / sqrt (INR k)",),
        ),
        Hypothesis(
            "the computed column is within entry_error of the exact one",
            lambda i: all(
                abs(a - b) <= i.entry_error for a, b in zip(i.computed, i.exact, strict=True)
            ),
            mirrors=("Rabs (x i - y i) <= entry_error", "Rabs (x i - y i) <= e"),
        ),
    ),
    bounds=(
        Bound(
            name="recovery_ratio",
            meaning="the error of the k largest estimates, relative to the best k-sparse vector's",
            arguments=(accuracy,),
            expression=_RATIO,
            domain={accuracy: POSITIVE},
            points=((sympy.Rational(1, 4),),),
            quantity=lambda i, bits: (
                _distance(_sparse(i.estimates, i.sparsity), i.computed, bits)
                / sparse_tail(i.computed, i.sparsity, precision=bits)
            ),
            parameters=_recovery_parameters,
            # T = 0.
            trivial=lambda i, bits: (
                lift(_square(i.computed), bits).sqrt()
                / sparse_tail(i.computed, i.sparsity, precision=bits)
            ),
            extremal=_wrongly_ranked,
            theorem="p2_recovery_ratio",
            relation=Relation.RELATIVE,
            attained="p2_recovery_ratio_attained",
        ),
        Bound(
            name="recovery_row_failure",
            meaning="the probability that one row misses a coordinate by accuracy tail_k/sqrt(k) or more",
            arguments=(sparsity, buckets, accuracy),
            expression=_ROW_FAILURE,
            domain={accuracy: POSITIVE},
            points=((3, 1000, sympy.Rational(1, 4)),),
            quantity=lambda i, bits: lift(misses(i), bits),
            parameters=_recovery_parameters,
            # Every estimate 0.
            trivial=lambda i, bits: lift(1, bits),
            extremal=_wide_row,
            theorem="p2_recovery_row_failure",
        ),
        Bound(
            name="recovery_failure",
            meaning="the probability that the median over 2 half_rows + 1 rows misses a coordinate",
            arguments=(half_rows, row_failure),
            expression=sympy.binomial(2 * half_rows + 1, half_rows + 1)
            * row_failure ** (half_rows + 1),
            domain={row_failure: SHARE},
            points=((3, sympy.Rational(1, 20)), (0, sympy.Rational(1, 3))),
            quantity=lambda i, bits: lift(majority_misses(misses(i), i.half_rows), bits),
            parameters=_recovery_parameters,
            # One row.
            trivial=lambda i, bits: lift(misses(i), bits),
            extremal=_wide_row,
            theorem="p2_recovery_failure",
        ),
        Bound(
            name="recovery_column_failure",
            # A column fails only if a coordinate is missed; that probability is what is proved.
            meaning="the mean number of missed coordinates, so the probability of a failed column",
            arguments=(n, half_rows, sparsity, buckets, accuracy),
            expression=n
            * sympy.binomial(2 * half_rows + 1, half_rows + 1)
            * _ROW_FAILURE ** (half_rows + 1),
            domain={accuracy: POSITIVE},
            points=((5, 3, 2, 1000, sympy.Rational(1, 4)), (2, 0, 1, 64, 1)),
            quantity=lambda i, bits: lift(expected_misses(i), bits),
            parameters=_recovery_parameters,
            # Every estimate 0.
            trivial=lambda i, bits: lift(len(i.computed), bits),
            extremal=_wide_column,
            theorem="p2_recovery_decoded",
        ),
        Bound(
            name="recovery_error",
            meaning="the distance of T from the exact column",
            arguments=(ratio, tail, n, entry_error),
            expression=ratio * tail + (1 + ratio) * entry_error * sympy.sqrt(n),
            domain={ratio: AT_LEAST_ONE},
            points=((sympy.Rational(3, 2), 2, 100, sympy.Rational(1, 1000)),),
            quantity=lambda i, bits: _distance(_sparse(i.estimates, i.sparsity), i.exact, bits),
            parameters=_recovery_parameters,
            # T = 0.
            trivial=lambda i, bits: lift(_square(i.exact), bits).sqrt(),
            extremal=_wrongly_ranked,
            theorem="p2_recovery_error",
        ),
    ),
    witness=lambda: Recovered(
        exact=(Fraction(5), Fraction(1, 16), Fraction(-1, 8), Fraction(1, 10)),
        computed=(Fraction(5), Fraction(1, 16), Fraction(-1, 8), Fraction(3, 32)),
        estimates=(Fraction(5), Fraction(1, 8), Fraction(-1, 8), Fraction(1, 16)),
        sparsity=1,
        accuracy=Fraction(1, 2),
        entry_error=Fraction(1, 100),
        buckets=64,
        half_rows=2,
    ),
    sample=_recovered_sample,
)

# --------------------------------------------------------------------------------------- P2.heap


@dataclass(frozen=True)
class Kept:
    """A matrix of exact output columns, and what was computed of it, each row once; k entries a column."""

    exact: tuple[Column, ...]
    computed: tuple[Column, ...]
    sparsity: int
    entry_error: Fraction


def kept_by_heap(column: Column, k: int) -> list[tuple[int, Fraction]]:
    """Return what a heap of k entries, fed row after row, ends with: index and value."""
    heap: list[tuple[Fraction, int]] = []
    for row, value in enumerate(column):
        entry = (abs(value), -row)  # of equal entries, the first is kept
        if len(heap) < k:
            heappush(heap, entry)
        else:
            heappushpop(heap, entry)
    return sorted((-row, column[-row]) for _, row in heap)


def _excess(i: Kept, kept: tuple[Column, ...], bits: int) -> Enclosure:
    """Enclose the largest ‖T − y‖₂ − tail_k(y) over columns."""
    gaps = [
        _distance(t, y, bits) - sparse_tail(y, i.sparsity, precision=bits)
        for t, y in zip(kept, i.exact, strict=True)
    ]
    worst = gaps[0]
    for gap in gaps[1:]:
        worst = worst.maximum(gap)
    return worst


def _heaped(i: Kept) -> tuple[Column, ...]:
    columns = []
    for column in i.computed:
        kept = dict(kept_by_heap(column, i.sparsity))
        columns.append(tuple(kept.get(row, Fraction(0)) for row in range(len(column))))
    return tuple(columns)


def _kept_sample(rng: np.random.Generator) -> Kept:
    size, k = int(rng.integers(1, 24)), int(rng.integers(1, 9))
    exact = tuple(_drawn(rng, 1, size) for _ in range(int(rng.integers(1, 4))))
    noise = Fraction(1, int(rng.integers(2, 64)))
    computed = tuple(_added(y, _drawn(rng, float(noise) * 0.999, size)) for y in exact)
    return Kept(exact, computed, k, noise)


def _deceived() -> Kept:
    """Let every entry err so that k zeros look as large as the k that are not."""
    e = Fraction(1, 8)
    return Kept(((Fraction(0),) * 2 + (2 * e,) * 2,), ((e,) * 4,), 2, e)


P2_HEAP = Claim[Kept](
    id="P2.heap",
    where="ours, in place of P2.space and P2.recovery where rows are final",
    statement=(
        "A heap of k entries a column, fed with rows that are final, ends with the k largest entries: the "
        "best k-sparse vector of what was computed, deterministically, with 2 k numbers a column. From the "
        "exact column it is no further than tail_k(y) + sqrt(5 k) entry_error: no n, and attained."
    ),
    not_stated="Rows that change later, or that are sums over shards: those need P2.recovery.",
    assumes=(
        Hypothesis(
            "sparsity >= 1", lambda i: i.sparsity >= 1, alone="numbers are counted of any sparsity"
        ),
        Hypothesis(
            "every computed entry is within entry_error of the exact one",
            lambda i: all(
                abs(a - b) <= i.entry_error
                for y, t in zip(i.exact, i.computed, strict=True)
                for a, b in zip(y, t, strict=True)
            ),
            mirrors=("Rabs (x i - y i) <= e",),
        ),
    ),
    bounds=(
        Bound(
            name="heap_excess",
            meaning="how much further T is from the exact column than the best k-sparse vector",
            arguments=(sparsity, entry_error),
            expression=sympy.sqrt(5 * sparsity) * entry_error,
            points=((3, sympy.Rational(1, 100)),),
            quantity=lambda i, bits: _excess(i, _heaped(i), bits),
            parameters=lambda i, bits: {"sparsity": i.sparsity, "entry_error": i.entry_error},
            # T = 0.
            trivial=lambda i, bits: _excess(
                i, tuple((Fraction(0),) * len(y) for y in i.exact), bits
            ),
            extremal=_deceived,
            theorem="p2_heap_excess",
            relation=Relation.TERM,
            attained="p2_heap_excess_attained",
        ),
        Bound(
            name="heap_numbers",
            meaning="the numbers kept of the output",
            arguments=(sparsity, values),
            expression=2 * sparsity * values,
            points=((3, 4),),
            quantity=lambda i, bits: lift(
                sum(2 * len(kept_by_heap(column, i.sparsity)) for column in i.computed), bits
            ),
            parameters=lambda i, bits: {
                "sparsity": i.sparsity,
                "values": len(i.computed),
                "n": len(i.computed[0]),
            },
            # The whole output.
            trivial=lambda i, bits: lift(sum(map(len, i.computed)), bits),
            extremal=_deceived,
            vacuous_where=2 * sparsity >= n,
            edges=lambda: (_deceived(), replace(_deceived(), sparsity=1)),
            theorem="p2_heap_numbers",
        ),
    ),
    witness=lambda: Kept(
        ((Fraction(3), Fraction(-1), Fraction(1, 2), Fraction(0), Fraction(1, 5)),),
        ((Fraction(3), Fraction(-1), Fraction(1, 2), Fraction(1, 99), Fraction(1, 5)),),
        2,
        Fraction(1, 64),
    ),
    sample=_kept_sample,
)

# ---------------------------------------------------------------------------- P2.compressibility


@dataclass(frozen=True)
class NonnegativeValues:
    """Queries, keys and one column of nonnegative values, of which k outputs would be kept."""

    Q: Matrix
    K: Matrix
    v: Matrix
    logit_bound: Fraction
    sparsity: int


def _column(i: NonnegativeValues, bits: int) -> Enclosure:
    return attention(i.Q, i.K, i.v[:, None], precision=bits)[:, 0]


def _column_ratio(y: Enclosure) -> Enclosure:
    return y.max() / y.min()


def _share(i: NonnegativeValues, bits: int) -> Enclosure:
    """Enclose the share of ‖y‖² that the k largest entries have."""
    y = _column(i, bits)
    missed = sparse_tail(y, i.sparsity, precision=bits)
    return 1 - missed * missed / (y * y).sum()


def _compressibility_parameters(i: NonnegativeValues, bits: int) -> Mapping[str, Value]:
    bound: dict[str, Value] = {"n": len(i.K), "logit_bound": i.logit_bound}
    return {
        **bound,
        "queries": len(i.Q),
        "sparsity": i.sparsity,
        "ratio": evaluate(_COLUMN_RATIO, bound, bits),
    }


def _nonnegative_sample(rng: np.random.Generator) -> NonnegativeValues:
    n_q, n_k, d = (int(rng.integers(2, 7)) for _ in range(3))
    Q, K = rng.uniform(-1, 1, (n_q, d)), rng.uniform(-1, 1, (n_k, d))
    v = rng.random(n_k) + 2.0**-10
    return NonnegativeValues(Q, K, v, half_range(Q, K), int(rng.integers(1, n_q)))


def _one_value(heavy: int, rows: int, keys: int) -> NonnegativeValues:
    """Let so many queries like the one key that has a value as much as they may, the others as little."""
    Q = np.repeat([1.0, -1.0], [heavy, rows - heavy])[:, None]
    K = np.repeat([0.5, -0.5], [1, keys - 1])[:, None]
    return NonnegativeValues(Q, K, np.eye(keys)[0], Fraction(1, 2), heavy)


_COLUMN_RATIO = (
    sympy.exp(2 * logit_bound)
    * (1 + (n - 1) * sympy.exp(2 * logit_bound))
    / (sympy.exp(2 * logit_bound) + n - 1)
)

P2_COMPRESSIBILITY = Claim[NonnegativeValues](
    id="P2.compressibility",
    where="ours",
    statement=(
        "If V >= 0 and |logits| <= r, no entry of an output column is more than rho = "
        "e^{2r} (1 + (n-1)e^{2r}) / (e^{2r}+n-1) <= e^{4r} times another, and the k largest of N entries "
        "have no more than the share k rho^2/(k rho^2 + N - k) of its square: no column is nearly k-sparse "
        "once N is much more than k e^{8r}."
    ),
    not_stated=(
        "Values of both signs: a column may then be sparse. On real heads that is measured, not bounded."
    ),
    assumes=(
        Hypothesis(
            "V >= 0, and not all of it is 0",
            lambda i: bool((i.v >= 0).all() and (i.v > 0).any()),
            mirrors=("0 <= v l", "0 <= y i"),
        ),
        Hypothesis(
            "every |q.k| <= logit_bound",
            lambda i: half_range(i.Q, i.K) <= i.logit_bound,
            mirrors=("bounded", "bounded (2)", "y i <= ratio * y j"),
        ),
        Hypothesis(
            "1 <= sparsity <= N",
            lambda i: 1 <= i.sparsity <= len(i.Q),
            mirrors=("0 < m", "k <= m"),
        ),
    ),
    bounds=(
        Bound(
            name="compressibility_ratio",
            meaning="the largest ratio of two entries of an output column",
            arguments=(n, logit_bound),
            expression=_COLUMN_RATIO,
            points=((5, sympy.Rational(1, 2)),),
            quantity=lambda i, bits: _column_ratio(_column(i, bits)),
            parameters=_compressibility_parameters,
            # Each of two weights within e^{2r} of the other, however many keys there are.
            trivial=lambda i, bits: lift(4 * i.logit_bound, bits).exp(),
            extremal=lambda: _one_value(1, 5, 8),
            theorem="p2_compressibility_ratio",
            relation=Relation.RELATIVE,
            attained="p2_compressibility_ratio_attained",
        ),
        Bound(
            name="compressibility_share",
            meaning="the share of the k largest entries in the square of an output column",
            arguments=(queries, sparsity, ratio),
            expression=sparsity * ratio**2 / (sparsity * ratio**2 + queries - sparsity),
            domain={ratio: AT_LEAST_ONE},
            provided=sparsity <= queries,
            points=((1000, 5, 3),),
            quantity=_share,
            parameters=_compressibility_parameters,
            # A column that is k-sparse.
            trivial=lambda i, bits: lift(1, bits),
            extremal=lambda: _one_value(2, 6, 8),
            theorem="p2_compressibility_share",
            relation=Relation.RELATIVE,
        ),
    ),
    witness=lambda: NonnegativeValues(
        np.array([[1.0], [-1.0], [0.5]]),
        np.array([[0.5], [-0.5]]),
        np.array([1.0, 0.25]),
        Fraction(9, 16),
        1,
    ),
    sample=_nonnegative_sample,
)

CLAIMS = (P2_RECOVERY, P2_HEAP, P2_COMPRESSIBILITY)
