r"""P3's two algorithms: how many columns they need, with constants, and what dominates them; P3.jl.

The two sketch or select columns of X so that (1 − ε) G ⪯ Y Yᵀ ⪯ (1 + ε) G, the guarantee that P3.loewner
turns into an error.  Only the abstract was read: its O and Õ are read with the constants that the
classical arguments give, and those arguments (matrix Bernstein, second moments, Chernoff, barriers)
are cited; what is checked here is the arithmetic between them and the stated width.

Probabilities are tested elsewhere, by counting failures, with a stated rate of false alarms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, log
from typing import Any

import numpy as np
import sympy

from reference import Enclosure, evaluate
from reference.gram import gram_rank, leverage_scores
from reference.operations import Tally
from specs.claim import Bound, Claim, Hypothesis, Rival, Value
from specs.p3_sparsification import Factored, Matrix, gram_products, lift, operation_parameters
from specs.softmax import epsilon, n

rank = sympy.Symbol("rank", integer=True, positive=True)
failure_probability, overestimate, oversampling = sympy.symbols(
    "failure_probability overestimate oversampling", positive=True
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


def _bernstein_width(i: Sampling, bits: int) -> Enclosure:
    """Enclose the m that matrix Bernstein asks for, with L = max l_c / p_c for norm and variance."""
    largest = max(s / p for s, p in zip(leverage_scores(i.X), i.probabilities, strict=True))
    e, delta, norm = sympy.symbols("e delta norm", positive=True)
    return evaluate(
        2 * (norm + norm * e / 3) * sympy.log(2 * rank / delta) / e**2,
        {
            **_sampling_parameters(i),
            "e": i.epsilon,
            "delta": i.failure_probability,
            "norm": largest,
        },
        bits,
    )


def _sampling_parameters(i: Sampling) -> Mapping[str, Value]:
    return {
        "rank": gram_rank(i.X),
        "n": len(i.X),
        "epsilon": i.epsilon,
        "failure_probability": i.failure_probability,
        "overestimate": i.overestimate,
    }


def _second_moment_width(i: Sampling, bits: int) -> Enclosure:
    """Enclose the m at which CountSketch's mean squared error ‖UᵀSᵀSU − I‖_F² is epsilon² delta.

    That mean is (k² + k − 2 Σ_c l_c²) / m, U an orthonormal basis of the row space, k its dimension.
    """
    k = gram_rank(i.X)
    moment = k * k + k - 2 * sum(s * s for s in leverage_scores(i.X))
    return lift(moment / (i.epsilon**2 * i.failure_probability), bits)


def _by_leverage(X: Matrix, epsilon: Fraction, delta: Fraction, tilt: Fraction) -> Sampling:
    """Draw columns by a mixture of their leverage scores and the uniform distribution."""
    scores, k, d = leverage_scores(X), gram_rank(X), X.shape[1]
    mixture = tuple((1 - tilt) * s / k + tilt / d for s in scores)
    return Sampling(X, mixture, 1 / (1 - tilt), epsilon, delta)


def _sampling_sample(rng: np.random.Generator) -> Sampling:
    n = 2 ** int(rng.integers(0, 3))
    X = rng.integers(-3, 4, (n, n * int(rng.integers(1, 9)))).astype(float)
    X[:, 0] += 10  # never the zero matrix
    e, delta = Fraction(int(rng.integers(1, 10)), 10), Fraction(1, int(rng.integers(10, 1000)))
    return _by_leverage(X, e, delta, Fraction(int(rng.integers(1, 9)), 10))


def _repeated(repetitions: int) -> Matrix:
    """Give columns (1, 1) and (1, -1) many times over: every leverage score is 2/d."""
    return np.tile(np.array([[1.0, 1.0], [1.0, -1.0]]), (1, repetitions))


def _sketch_prices(i: Sampling, bits: int) -> Mapping[str, tuple[Enclosure, Enclosure]]:
    """Compare with the Cholesky factor of the sketch's Gram matrix: the same H from n columns.

    NOTE Õ(nnz(X) + n^ω) is read as (nnz(X) + n³)(2 + ln(n/δ)), O(n log(n/δ)) as leverage_width; the
    factor is counted, one product for each nonzero entry that CountSketch moves included.
    """
    n = len(i.X)
    width = n * max(1, ceil(log(n / i.failure_probability)))
    tally = Tally()
    G = tally.gram_of_blocks(np.ones((n, width)))
    tally.cholesky(G + np.eye(n))
    nonzeros = int(np.count_nonzero(i.X))
    claimed = evaluate(
        (nonzeros + n**3) * (2 + sympy.log(n / failure_probability)),
        {"failure_probability": i.failure_probability},
        bits,
    )
    return {
        "columns": (P3_RANDOMISED.bounds[0].value(i, bits), lift(n, bits)),
        "operations": (claimed, lift(nonzeros + tally.products, bits)),
    }


P3_RANDOMISED = Claim[Sampling](
    id="P3.randomised",
    where="P3, sentence 10",
    statement=(
        "m = O(n log(n/delta)) columns, in time nnz(X) + n^omega up to logarithms, with probability "
        "1 - delta. Our reading: leverage-score sampling needs m = (2 + 2 eps/3) beta k ln(2k/delta)/eps^2 "
        "columns, k the rank, beta the overestimate of the scores; CountSketch and OSNAP "
        "n(n+1)/(eps^2 delta)."
    ),
    not_stated=(
        "Matrix Bernstein (Tropp 2012) and Markov's inequality are cited; how the scores are approximated "
        "in nnz(X) time is the implementation's; the probability is tested by counting failures."
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
            meaning="the columns that matrix Bernstein asks of leverage-score sampling",
            arguments=(rank, epsilon, failure_probability, overestimate),
            expression=(2 + 2 * epsilon / 3)
            * overestimate
            * rank
            * sympy.log(2 * rank / failure_probability)
            / epsilon**2,
            points=((5, _THIRD, _HUNDREDTH, sympy.Rational(3, 2)),),
            quantity=_bernstein_width,
            parameters=lambda i, bits: _sampling_parameters(i),
            trivial=lambda i, bits: lift(i.X.shape[1], bits),
            extremal=lambda: _by_leverage(
                _repeated(8), Fraction(1, 2), Fraction(1, 10), Fraction(1, 1 << 40)
            ),
        ),
        Bound(
            name="osnap_width",
            meaning="the rows that the second moment asks of CountSketch, and of OSNAP with any sparsity",
            arguments=(n, epsilon, failure_probability),
            expression=n * (n + 1) / (epsilon**2 * failure_probability),
            points=((5, _THIRD, _HUNDREDTH),),
            quantity=_second_moment_width,
            parameters=lambda i, bits: _sampling_parameters(i),
            trivial=lambda i, bits: lift(i.X.shape[1], bits),
            extremal=lambda: _by_leverage(
                _repeated(1024), Fraction(1, 2), Fraction(1, 10), Fraction(1, 2)
            ),
        ),
    ),
    witness=lambda: _by_leverage(_repeated(128), Fraction(9, 10), Fraction(1, 10), Fraction(1, 4)),
    sample=_sampling_sample,
    rival=Rival("P3.gram", _sketch_prices),
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


def _barrier_epsilon(i: Selection, bits: int) -> Enclosure:
    """Enclose (b - a)/(b + a) for the barriers a, b of Batson, Spielman, Srivastava at the end.

    They start at -n sqrt(q) and n (q + sqrt(q))/(sqrt(q) - 1), and move by 1 and by
    (sqrt(q) + 1)/(sqrt(q) - 1) a step; every eigenvalue stays between them.
    """
    rows = len(i.X)
    q = lift(i.oversampling, bits)
    root = q.sqrt()
    low, high = -root * rows, (q + root) * rows / (root - 1)
    pace = (root + 1) / (root - 1)
    for _ in range(i.columns):
        low, high = low + 1, high + pace
    return (high - low) / (high + low)


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
    n = 2 ** int(rng.integers(0, 4))
    X = rng.standard_normal((n, n * int(rng.integers(1, 6))))
    return Selection(X, 1 + Fraction(int(rng.integers(1, 1000)), 101))


P3_DETERMINISTIC = Claim[Selection](
    id="P3.deterministic",
    where="P3, sentence 15",
    statement=(
        "m = O(n) columns, deterministically, in time min(sum_c nnz(X_c)^2, d n^{omega-1}) + n^{omega+1} "
        "up to logarithms. Our reading: q n reweighted columns of X have eps = 2 sqrt(q)/(q+1), for q > 1."
    ),
    not_stated=(
        "That every step finds a column (Batson, Spielman, Srivastava 2012) is cited: the barriers are "
        "computed here, and implementations are certified on instances, by exact LDLᵀ. The cost is "
        "taken from the abstract, not counted."
    ),
    assumes=(
        Hypothesis("oversampling > 1", lambda i: i.oversampling > 1),
        Hypothesis(
            "n is a power of two and d a multiple of n",
            lambda i: len(i.X).bit_count() == 1 and i.X.shape[1] % len(i.X) == 0,
        ),
    ),
    bounds=(
        Bound(
            name="bss_epsilon",
            meaning="the Loewner error of oversampling n reweighted columns, by the two barriers",
            arguments=(oversampling,),
            expression=2 * sympy.sqrt(oversampling) / (oversampling + 1),
            points=((4,), (sympy.Rational(5, 2),)),
            quantity=_barrier_epsilon,
            parameters=lambda i, bits: {"oversampling": i.oversampling},
            # Y = 0: H = 0 is within (1 ± 1) G.
            trivial=lambda i, bits: lift(1, bits),
            extremal=lambda: Selection(np.eye(2), Fraction(9)),
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


def _chernoff_width(i: Projection, bits: int) -> Enclosure:
    """Enclose the m at which n² chi-square tails, both sides, add up to the failure probability.

    P(χ²_m > (1 + ε) m) <= exp(−m (ε − ln(1 + ε))/2); the lower tail is smaller.
    """
    e = sympy.Symbol("e", positive=True)
    return evaluate(
        2 * sympy.log(2 * n**2 / failure_probability) / (e - sympy.log(1 + e)),
        {"n": i.rows, "failure_probability": i.failure_probability, "e": i.epsilon},
        bits,
    )


P3_JL = Claim[Projection](
    id="P3.jl",
    where="ours, in place of P3.randomised where only entries matter",
    statement=(
        "Y = X S / sqrt(m), S with independent Gaussian entries and m >= ln(2n^2/delta)/(eps^2/4 - eps^3/6), "
        "has |H_ij - G_ij| <= eps ||x_i|| ||x_j|| for all i, j with probability 1 - delta: all that "
        "P3.loewner's entries and rows use, from a number of columns that grows with log n only."
    ),
    not_stated=(
        "Chernoff's bound for chi-square and the union over the n^2 vectors x_i and x_i ± x_j (rows scaled "
        "to length 1) are cited; the probability is tested by counting failures."
    ),
    assumes=(
        Hypothesis(
            "0 < epsilon < 1 and 0 < failure_probability < 1",
            lambda i: _probability_holds(i.epsilon, i.failure_probability),
        ),
    ),
    bounds=(
        Bound(
            name="jl_width",
            meaning="the columns that Chernoff's bound asks of a Gaussian projection",
            arguments=(n, epsilon, failure_probability),
            expression=sympy.log(2 * n**2 / failure_probability)
            / (epsilon**2 / 4 - epsilon**3 / 6),
            points=((5, _THIRD, _HUNDREDTH),),
            quantity=_chernoff_width,
            parameters=lambda i, bits: {
                "n": i.rows,
                "epsilon": i.epsilon,
                "failure_probability": i.failure_probability,
            },
            trivial=lambda i, bits: lift(i.columns, bits),
            extremal=lambda: Projection(8, 10**6, Fraction(1, 50), Fraction(1, 100)),
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

CLAIMS = (P3_RANDOMISED, P3_DETERMINISTIC, P3_JL)
