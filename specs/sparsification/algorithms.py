r"""P3's two algorithms: how many columns they need, with constants, and what dominates them; P3.jl.

The two sketch or select columns of X so that (1 − ε) G ⪯ Y Yᵀ ⪯ (1 + ε) G, the guarantee that P3.loewner
turns into an error.  Only the abstract was read: its O and Õ are read with the constants that the
classical arguments give, and those arguments (matrix Bernstein, second moments, Chernoff, barriers)
are cited; what is checked here is that the stated width is never less than what is needed.

Probabilities are tested elsewhere, by counting failures, with a stated rate of false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise, product
from math import ceil, comb, factorial, floor, prod
from typing import Any

import numpy as np
import sympy

from reference import Enclosure, Verdict
from reference.arithmetic.gram import gram, gram_rank, independent_rows, inverted, leverage_scores
from reference.sparsification import barrier_selection, loewner_epsilon, loewner_verdict
from specs.claim import Bound, Claim, Hypothesis, Rival, Value
from specs.exponents import POSSIBLE, Exponent, quoted
from specs.lifting import lift
from specs.sparsification.loewner import Factored, Matrix, gram_products, operation_parameters
from specs.symbols import (
    AT_LEAST_ONE,
    INSIDE_UNIT,
    MORE_THAN_ONE,
    UP_TO_ONE,
    buckets,
    columns,
    epsilon,
    failure_probability,
    n,
    overestimate,
    oversampling,
    rank,
)

_THIRD, _HUNDREDTH = sympy.Rational(1, 3), sympy.Rational(1, 100)


def _probability_holds(epsilon: Fraction, failure_probability: Fraction) -> bool:
    return 0 < epsilon < 1 and 0 < failure_probability < 1


# --------------------------------------------------------------------------------- P3.randomised


@dataclass(frozen=True)
class Sampling:
    """X, n × d, whose column c is drawn with probability p_c ≥ l_c / (overestimate · rank)."""

    X: Matrix
    probabilities: tuple[Fraction, ...]
    overestimate: Fraction
    epsilon: Fraction
    failure_probability: Fraction


def _overestimates(i: Sampling) -> bool:
    share = i.overestimate * gram_rank(i.X)
    scores = leverage_scores(i.X)
    return (
        min(i.probabilities) > 0
        and sum(i.probabilities) == 1
        and all(p * share >= s for p, s in zip(i.probabilities, scores, strict=True))
    )


#: Draws of m columns that are gone through, up to their order.
_MOST_OUTCOMES = 250


def _draws(columns: int, m: int) -> Iterator[tuple[int, ...]]:
    """Yield how often each column is drawn in m draws, in every way."""
    for bars in combinations(range(m + columns - 1), columns - 1):
        ends = (-1, *bars, m + columns - 1)
        yield tuple(high - low - 1 for low, high in pairwise(ends))


def sampling_failure(i: Sampling, m: int) -> Fraction:
    """Return the exact probability that m columns drawn by ``probabilities`` break the sandwich."""
    failure = Fraction(0)
    for drawn in _draws(len(i.probabilities), m):
        weights = [Fraction(c, m) / p for c, p in zip(drawn, i.probabilities, strict=True)]
        if loewner_verdict(i.X, i.X, i.epsilon, weights=weights) is Verdict.OUTSIDE:
            orders = factorial(m) // prod(factorial(c) for c in drawn)
            failure += orders * prod(p**c for p, c in zip(i.probabilities, drawn, strict=True))
    return failure


def _most_too_few(fails: Callable[[int], bool], low: int, most: int) -> int:
    """Return a number up to ``most`` that fails, as ``low`` is taken to, and of which the next does not."""
    high = low + 1
    while high < most and fails(high):
        low, high = high, min(2 * high, most)
    if high == most and fails(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fails(middle) else (low, middle)
    return low


def _columns_needed(i: Sampling, bits: int) -> Enclosure:
    """Count the columns that are needed at least for a failure probability as small as it shall be.

    As many as the rank: of fewer, every draw fails.  Where the outcomes can be gone through, one more
    than a number for which failure is more probable than that.
    """
    d, too_few = i.X.shape[1], gram_rank(i.X) - 1
    most = max(m for m in range(_MOST_OUTCOMES) if comb(m + d - 1, d - 1) <= _MOST_OUTCOMES)
    if most > too_few:
        too_few = _most_too_few(
            lambda m: sampling_failure(i, m) > i.failure_probability, too_few, most
        )
    return lift(too_few + 1, bits)


def _sampling_parameters(i: Sampling) -> Mapping[str, Value]:
    return {
        "rank": gram_rank(i.X),
        "n": len(i.X),
        "epsilon": i.epsilon,
        "failure_probability": i.failure_probability,
        "overestimate": i.overestimate,
        "columns": i.X.shape[1],
    }


def _by_leverage(X: Matrix, epsilon: Fraction, delta: Fraction, tilt: Fraction) -> Sampling:
    """Draw columns by a mixture of their leverage scores and the uniform distribution."""
    scores, k, d = leverage_scores(X), gram_rank(X), X.shape[1]
    mixture = tuple((1 - tilt) * s / k + tilt / d for s in scores)
    return Sampling(X, mixture, 1 / (1 - tilt), epsilon, delta)


def _sampling_sample(rng: np.random.Generator) -> Sampling:
    """Draw a few columns, of which all draws can be gone through, or more.

    As many rows as a power of two: of these the rival's products can be counted.
    """
    few = bool(rng.integers(2))
    n, d = 2 ** int(rng.integers(0, 2 if few else 4)), int(rng.integers(1, 4 if few else 40))
    X = rng.integers(-3, 4, (n, d)).astype(float)
    X[0, 0] += 10  # never the zero matrix
    e, most = Fraction(int(rng.integers(10 if few else 1, 20)), 20), 10 ** int(rng.integers(1, 9))
    delta = Fraction(1, int(rng.integers(2, most + 2)))
    return _by_leverage(X, e, delta, Fraction(int(rng.integers(1, 9)), 10))


def _repeated(repetitions: int) -> Matrix:
    """Give columns (1, 1) and (1, -1) many times over: every leverage score is 2/d."""
    return np.tile(np.array([[1.0, 1.0], [1.0, -1.0]]), (1, repetitions))


def _repeated_rows(columns: int) -> Sampling:
    """Give one row of ones."""
    return _by_leverage(np.ones((1, columns)), Fraction(1, 2), Fraction(1, 10), Fraction(1, 5))


_LEVERAGE_WIDTH = (
    (2 + 2 * epsilon / 3)
    * overestimate
    * rank
    * sympy.log(2 * rank / failure_probability)
    / epsilon**2
)
P3_RANDOMISED = Claim[Sampling](
    id="P3.randomised",
    where="P3, sentence 10",
    statement=(
        "m = O(n log(n/delta)) columns, in time nnz(X) + n^omega up to logarithms, with probability "
        "1 - delta. Our reading: leverage-score sampling needs m = (2 + 2 eps/3) beta k ln(2k/delta)/eps^2 "
        "columns, k the rank, beta the overestimate of the scores. Sketches: P3.sketches."
    ),
    not_stated=(
        "Matrix Bernstein (Tropp 2012) is cited; how the scores are approximated in nnz(X) time is the "
        "implementation's, and no time is counted: a factor of G (P3.gram) has fewer columns and no error, "
        "but takes d n^{omega-1} products or column by column, which may be more. The probability of "
        "leverage sampling is exact where the draws can be gone through, and tested by counting failures "
        "elsewhere."
    ),
    assumes=(
        Hypothesis(
            "0 < epsilon < 1 and 0 < failure_probability < 1",
            lambda i: _probability_holds(i.epsilon, i.failure_probability),
        ),
        Hypothesis(
            "the probabilities add up to 1, p_c >= l_c / (overestimate rank)", _overestimates
        ),
    ),
    bounds=(
        Bound(
            name="leverage_width",
            meaning="the columns that leverage-score sampling needs at least, counted on few outcomes",
            arguments=(rank, epsilon, failure_probability, overestimate),
            expression=_LEVERAGE_WIDTH,
            domain={
                epsilon: INSIDE_UNIT,
                failure_probability: UP_TO_ONE,
                overestimate: AT_LEAST_ONE,
            },
            points=((5, _THIRD, _HUNDREDTH, sympy.Rational(3, 2)),),
            quantity=_columns_needed,
            parameters=lambda i, bits: _sampling_parameters(i),
            trivial=lambda i, bits: lift(i.X.shape[1], bits),
            extremal=lambda: _by_leverage(
                _repeated(1), Fraction(19, 20), Fraction(1, 1 << 20), Fraction(1, 1 << 40)
            ),
            vacuous_where=columns <= _LEVERAGE_WIDTH,
            edges=lambda: (_repeated_rows(34), _repeated_rows(35)),
        ),
    ),
    witness=lambda: _by_leverage(_repeated(128), Fraction(9, 10), Fraction(1, 10), Fraction(1, 4)),
    sample=_sampling_sample,
)

# ----------------------------------------------------------------------------------- P3.sketches


@dataclass(frozen=True)
class Sketching:
    """X, n × d, to be sketched by CountSketch with that many buckets; few columns."""

    X: Matrix
    epsilon: Fraction
    failure_probability: Fraction
    buckets: int = 2


def _groupings(columns: int) -> Iterator[tuple[int, ...]]:
    """Yield which columns fall into the same bucket, in every way: places, numbered as they appear."""
    if columns == 0:
        yield ()
        return
    for places in _groupings(columns - 1):
        for place in range(max(places, default=-1) + 2):
            yield (*places, place)


def _sketches(columns: int) -> Iterator[tuple[Matrix, int]]:
    """Yield every CountSketch up to the buckets' names and one sign, and how many buckets it fills."""
    for places in _groupings(columns):
        for signs in product((1, -1), repeat=columns - 1):
            S = np.zeros((columns, max(places) + 1), int)
            S[np.arange(columns), places] = (1, *signs)
            yield S, S.shape[1]


def _share(columns: int, filled: int, buckets: int) -> Fraction:
    """Return the probability of a sketch that fills so many buckets, whatever their names."""
    ways = prod(range(buckets - filled + 1, buckets + 1))
    return Fraction(ways, buckets**columns * 2 ** (columns - 1))


def _mean_square(i: Sketching, bits: int) -> Enclosure:
    """Enclose the mean of ‖UᵀSSᵀU − I‖_F² over all sketches, U an orthonormal basis of the row space.

    With B rows of X that span its row space, that is the trace of the square of (BBᵀ)⁻¹ BSSᵀBᵀ − I.
    """
    B = independent_rows(i.X)
    inverse = inverted(gram(B))
    d, total = i.X.shape[1], Fraction(0)
    for S, filled in _sketches(d):
        E = inverse.dot(gram(B.dot(S))) - np.eye(len(B), dtype=int)
        total += _share(d, filled, i.buckets) * Fraction((E * E.T).sum())
    return lift(total, bits)


def most_failing_buckets(i: Sketching) -> int:
    """Return the largest number of buckets with which a sketch breaks the sandwich too often.

    Only where two columns meet can it fail: with more than d² / (2 delta) buckets that is rare enough.
    """
    d = i.X.shape[1]
    failing: dict[int, int] = {}
    for S, filled in _sketches(d):
        if loewner_verdict(i.X, i.X.astype(object).dot(S), i.epsilon) is Verdict.OUTSIDE:
            failing[filled] = failing.get(filled, 0) + 1
    for m in range(ceil(d * d / (2 * i.failure_probability)), 0, -1):
        probability = sum(count * _share(d, filled, m) for filled, count in failing.items())
        if probability > i.failure_probability:
            return m
    return 0


def _sketching_sample(rng: np.random.Generator) -> Sketching:
    """Draw four columns at most: all their sketches are gone through."""
    n, d = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    X = rng.integers(-3, 4, (n, d)).astype(float)
    X[0, 0] = X[0, 0] or 1
    e, delta = (Fraction(int(k), 20) for k in rng.integers(1, 20, 2))
    return Sketching(X, e, delta, int(rng.integers(1, 9)))


_OSNAP_WIDTH = n * (n + 1) / (epsilon**2 * failure_probability)


def _ones(columns: int, failure: Fraction = Fraction(1, 2), buckets: int = 2) -> Sketching:
    """Give one row of ones."""
    return Sketching(np.ones((1, columns)), Fraction(19, 20), failure, buckets)


def _sketching_parameters(i: Sketching) -> Mapping[str, Value]:
    return {
        "rank": gram_rank(i.X),
        "n": len(i.X),
        "columns": i.X.shape[1],
        "buckets": i.buckets,
        "epsilon": i.epsilon,
        "failure_probability": i.failure_probability,
    }


P3_SKETCHES = Claim[Sketching](
    id="P3.sketches",
    where="ours, for P3.randomised",
    statement=(
        "CountSketch: every column of X is added, with a random sign, into one of m random buckets. The "
        "mean of ||UᵀSSᵀU - I||_F^2, U an orthonormal basis of X's row space, is at most k(k+1)/m, k the "
        "rank; so m >= n(n+1)/(eps^2 delta) buckets break (1-eps) G <= Y Yᵀ <= (1+eps) G with probability "
        "delta at most."
    ),
    not_stated=(
        "OSNAP with more signs a column, whose mean square is no larger: tested by counting failures."
    ),
    assumes=(
        Hypothesis(
            "0 < epsilon < 1 and 0 < failure_probability < 1",
            lambda i: _probability_holds(i.epsilon, i.failure_probability),
            mirrors=("0 < eps", "0 < delta"),
        ),
        Hypothesis("X is not zero", lambda i: bool(i.X.any()), mirrors=("orthonormal",)),
        Hypothesis("at least one bucket", lambda i: i.buckets >= 1, mirrors=("0 < m",)),
    ),
    bounds=(
        Bound(
            name="sketch_mean_square",
            meaning="the mean of ||UᵀSSᵀU - I||_F^2 over all sketches",
            arguments=(rank, buckets),
            expression=rank * (rank + 1) / buckets,
            points=((5, 64),),
            quantity=_mean_square,
            parameters=lambda i, bits: _sketching_parameters(i),
            # S = 0.
            trivial=lambda i, bits: lift(gram_rank(i.X), bits),
            extremal=lambda: _ones(5),
            vacuous_where=buckets <= rank + 1,
            edges=lambda: (_ones(3), _ones(3, buckets=3)),
            theorem="p3_sketch_mean_square",
            approached="p3_sketch_mean_square_approached",
        ),
        Bound(
            name="osnap_width",
            meaning="the buckets with which CountSketch breaks the sandwich too often",
            arguments=(n, epsilon, failure_probability),
            expression=_OSNAP_WIDTH,
            domain={epsilon: INSIDE_UNIT, failure_probability: UP_TO_ONE},
            points=((5, _THIRD, _HUNDREDTH),),
            quantity=lambda i, bits: lift(most_failing_buckets(i), bits),
            parameters=lambda i, bits: _sketching_parameters(i),
            trivial=lambda i, bits: lift(i.X.shape[1], bits),
            extremal=lambda: _ones(2, Fraction(499, 1000)),
            vacuous_where=columns <= _OSNAP_WIDTH,
            edges=lambda: (_ones(4), _ones(5)),
            theorem="p3_sketches",
        ),
    ),
    witness=lambda: Sketching(np.array([[1.0, 1, 1, 1, 2]]), Fraction(19, 20), Fraction(19, 20), 4),
    sample=_sketching_sample,
)

# ------------------------------------------------------------------------------ P3.deterministic


@dataclass(frozen=True)
class Selection:
    """X, n × d, of which ⌈oversampling · n⌉ columns shall be kept; as in :class:`Factored`."""

    X: Matrix
    oversampling: Fraction

    @property
    def columns(self) -> int:
        """How many columns are kept."""
        return ceil(self.oversampling * len(self.X))


def _selection_epsilon(i: Selection, bits: int) -> Enclosure:
    """Enclose the Loewner error of the columns that the two barriers select, reweighted."""
    selected, weights = barrier_selection(i.X, i.columns)
    found = loewner_epsilon(i.X, i.X[:, selected], weights=weights)
    assert found is not None, "selected columns have no direction that X has not"
    return found.at(bits)


def _selection_prices(i: Selection, bits: int) -> Mapping[str, tuple[Enclosure, Enclosure]]:
    """Compare with a factor of G: rank(X) columns, no error, one power of n less.

    NOTE Õ(min{Σ nnz(X_c)², d n^(ω−1)} + n^(ω+1)) is read with the constant 1 and no logarithm.
    """
    values: dict[str, Any] = dict(operation_parameters(i.X, False, bits))
    rows, d = len(i.X), i.X.shape[1]
    claimed = min(values["column_squares"], d * rows**2) + rows**4
    return {
        "columns": (lift(i.columns, bits), lift(gram_rank(i.X), bits)),
        "epsilon": (P3_DETERMINISTIC.bounds[0].value(i, bits), lift(0, bits)),
        "operations": (lift(claimed, bits), lift(gram_products(Factored(i.X)), bits)),
    }


def _selection_sample(rng: np.random.Generator) -> Selection:
    """Draw a matrix, dense, sparse or of low rank."""
    n = 2 ** int(rng.integers(0, 3))
    X = rng.standard_normal((n, n * int(rng.integers(1, 6))))
    kind = rng.integers(3)
    if kind == 1:
        X *= rng.random(X.shape) < 0.3
        X[0, 0] = 1  # never the zero matrix
    if kind == 2:
        X[n // 2 :] = X[: n - n // 2]
    return Selection(X, 1 + Fraction(int(rng.integers(1, 400)), 101))


P3_DETERMINISTIC = Claim[Selection](
    id="P3.deterministic",
    where="P3, sentence 15",
    statement=(
        "m = O(n) columns, deterministically, in time min(sum_c nnz(X_c)^2, d n^{omega-1}) + n^{omega+1} "
        "up to logarithms. Our reading: q n reweighted columns of X have eps = 2 sqrt(q)/(q+1), for q > 1."
    ),
    not_stated=(
        "The cost, which is taken from the abstract and not counted. Floating point: what is proved is that "
        "some column gains what it costs at every step, that any weight between keeps both barriers, and "
        "what T >= q rank(X) steps leave; the error of columns that were selected is enclosed, by exact "
        "LDLᵀ."
    ),
    assumes=(
        Hypothesis("oversampling > 1", lambda i: i.oversampling > 1, mirrors=("1 < q",)),
        Hypothesis(
            "n is a power of two and d a multiple of n",
            lambda i: len(i.X).bit_count() == 1 and i.X.shape[1] % len(i.X) == 0,
            alone="so that the rival's products can be counted",
        ),
        Hypothesis("X is not zero", lambda i: bool(i.X.any()), mirrors=("0 < m",)),
    ),
    bounds=(
        Bound(
            name="bss_epsilon",
            meaning="the Loewner error of oversampling n reweighted columns that the two barriers select",
            arguments=(oversampling,),
            expression=2 * sympy.sqrt(oversampling) / (oversampling + 1),
            domain={oversampling: MORE_THAN_ONE},
            points=((4,), (sympy.Rational(5, 2),)),
            quantity=_selection_epsilon,
            parameters=lambda i, bits: {"oversampling": i.oversampling},
            # Y = 0: H = 0 is within (1 ± 1) G.
            trivial=lambda i, bits: lift(1, bits),
            extremal=lambda: Selection(
                np.array(
                    [
                        [2.0, -1, 0, -1, 2, 2, 0, 1],
                        [-1, 2, -2, -2, -1, -2, -2, 2],
                        [-1, 0, -1, 0, -1, -1, -2, 0],
                        [-2, -2, -1, 2, 0, 0, -2, -2],
                    ]
                ),
                Fraction(123, 100),
            ),
            theorem="p3_deterministic",
        ),
    ),
    witness=lambda: Selection(
        np.array([[1.0, 0.5, 0.0, 2.0], [0.0, 1.0, 1.0, -1.0]]), Fraction(33, 8)
    ),
    sample=_selection_sample,
    rival=Rival("P3.gram", _selection_prices),
)

# ---------------------------------------------------------------------------------------- P3.jl


@dataclass(frozen=True)
class Projection:
    """n rows with d columns, projected so that |ΔG_ij| <= epsilon ‖x_i‖ ‖x_j‖ for all pairs."""

    rows: int
    columns: int
    epsilon: Fraction
    failure_probability: Fraction


#: Numbers of columns up to which failures are looked for, and ones in each row that is projected.
_MOST_COLUMNS, _ONES = 128, 4


def length_failure(m: int, epsilon: Fraction, ones: int) -> Fraction:
    """Return P(| |y|² - |x|² | > epsilon |x|²) for a row of so many ones, projected to m columns of signs.

    The square of a sum of signs is a number of known distribution, and there are m of them: a power of its
    generating polynomial, of which all coefficients stand in one integer.
    """
    # In units of the least square beside 0, by which all are divisible for 1, 2 and 4 ones.
    unit = 1 if ones == 1 else 4
    bits = m * ones + 1
    power = sum(
        comb(ones, minus) << (bits * ((ones - 2 * minus) ** 2 // unit)) for minus in range(ones + 1)
    )
    least, most = ((1 - epsilon) * m * ones / unit, (1 + epsilon) * m * ones / unit)
    lowest, count = ceil(least), floor(most) - ceil(least) + 1
    coefficients = (power**m >> (bits * lowest)) & ((1 << (bits * count)) - 1)
    # The sum of the coefficients: of the digits in base 2^bits.
    right = coefficients % ((1 << bits) - 1)
    return 1 - Fraction(right, 1 << (ones * m))


def _projection_needed(i: Projection, bits: int) -> Enclosure:
    """Return a number of columns with which orthogonal rows fail too often; with one more they do not.

    The rows have ones in places of their own, so that their projected lengths are independent and one of
    them errs with probability 1 - (1 - p)^n.
    """
    ones = _ONES if i.columns >= _ONES * i.rows else 1
    rows = min(i.rows, i.columns)

    def fails(m: int) -> bool:
        all_right = lift(1 - length_failure(m, i.epsilon, ones), bits)
        return bool((all_right**rows).bounds()[1].item() < 1 - i.failure_probability)

    return lift(_most_too_few(fails, 0, _MOST_COLUMNS), bits)


_JL_WIDTH = sympy.log(2 * n**2 / failure_probability) / (epsilon**2 / 4 - epsilon**3 / 6)

P3_JL = Claim[Projection](
    id="P3.jl",
    where="ours, in place of P3.randomised where only entries matter",
    statement=(
        "Y = X S / sqrt(m), S with independent signs as entries and m >= ln(2n^2/delta)/(eps^2/4 - eps^3/6), "
        "has |H_ij - G_ij| <= eps ||x_i|| ||x_j|| for all i, j with probability 1 - delta: all that "
        "P3.loewner's entries and rows use, from a number of columns that grows with log n only."
    ),
    not_stated="Gaussian entries, of which the same is true.",
    assumes=(
        Hypothesis(
            "0 < epsilon < 1 and 0 < failure_probability < 1",
            lambda i: _probability_holds(i.epsilon, i.failure_probability),
            mirrors=("0 < eps < 1", "0 < delta"),
        ),
    ),
    bounds=(
        Bound(
            name="jl_width",
            meaning="the columns with which a projection by signs errs too often in some entry",
            arguments=(n, epsilon, failure_probability),
            expression=_JL_WIDTH,
            domain={epsilon: INSIDE_UNIT, failure_probability: UP_TO_ONE},
            points=((5, _THIRD, _HUNDREDTH),),
            quantity=_projection_needed,
            parameters=lambda i, bits: {
                "n": i.rows,
                "columns": i.columns,
                "epsilon": i.epsilon,
                "failure_probability": i.failure_probability,
            },
            trivial=lambda i, bits: lift(i.columns, bits),
            extremal=lambda: Projection(1, 10**6, Fraction(1, 2), Fraction(1, 10**4)),
            vacuous_where=columns <= _JL_WIDTH,
            edges=lambda: (
                Projection(8, 226, Fraction(1, 2), Fraction(1, 100)),
                Projection(8, 227, Fraction(1, 2), Fraction(1, 100)),
            ),
            theorem="p3_jl",
        ),
    ),
    witness=lambda: Projection(8, 1000, Fraction(1, 2), Fraction(1, 100)),
    sample=lambda rng: Projection(
        int(rng.integers(1, 1000)),
        int(rng.integers(1, 10**6)),
        Fraction(int(rng.integers(1, 100)), 100),
        Fraction(1, int(rng.integers(2, 10**9))),
    ),
)

# ------------------------------------------------------------------------------------- P3.omega

#: omega < 2.37188: Duan, Wu, Zhou, arXiv 2210.10173, half a year before the abstract.
PUBLISHED_BEFORE = Fraction(237188, 10**5)


P3_OMEGA = Claim[Exponent](
    id="P3.omega",
    where="P3, sentence 13",
    statement=(
        "Currently omega is approximately 2.373. Our reading: 2.373 is the least upper bound published. It "
        "is an upper bound (2.3728596: Alman and Vassilevska Williams, arXiv 2010.05846), and was not the "
        "least: omega < 2.37188 (Duan, Wu, Zhou, arXiv 2210.10173), and since then 2.371339 (arXiv "
        "2404.16349)."
    ),
    not_stated="omega itself, of which only 2 <= omega is known beside the upper bounds.",
    assumes=(POSSIBLE,),
    bounds=(quoted("stated_exponent", sympy.Rational(2373, 1000), Fraction(23728639, 10**7)),),
    witness=lambda: Exponent(PUBLISHED_BEFORE),
    # From arXiv 1401.7714 to 2404.16349.
    sample=lambda rng: Exponent(
        [
            Fraction(23728639, 10**7),
            Fraction(23728596, 10**7),
            PUBLISHED_BEFORE,
            Fraction(2371552, 10**6),
            Fraction(2371339, 10**6),
        ][int(rng.integers(5))]
    ),
    rival=Rival(
        "P4.omega",
        lambda i, bits: {
            "exponent": (lift(Fraction(2373, 1000), bits), lift(PUBLISHED_BEFORE, bits))
        },
    ),
    source="arXiv 2210.10173",
)

CLAIMS = (P3_RANDOMISED, P3_SKETCHES, P3_DETERMINISTIC, P3_JL, P3_OMEGA)
