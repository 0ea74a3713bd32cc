r"""P3: a narrower Y in place of X, and what the attention softmax(X Xᵀ) keeps of it.

Throughout, X is n × d, Y is n × m, G = X Xᵀ, H = Y Yᵀ, |G_ij| ≤ r = ``logit_bound``, and A(X) is the
matrix D(X)⁻¹ exp(X Xᵀ).  ‖·‖_∞ may mean the largest entry or the largest row sum: both are stated.

What the paper asks of Y (P3.goal) is true of Y = 0.  What it should ask (P3.loewner, P3.rows) is
(1 − ε) G ⪯ H ⪯ (1 + ε) G, under which the error falls with ε.  What it should cost (P3.gram) is a
factor of G.  The paper's two algorithms are in ``p3_algorithms``, with what dominates them.

NOTE |G_ij| ≤ r is the same as ‖x_i‖² ≤ r for every row, as |x_i·x_j| ≤ ‖x_i‖ ‖x_j‖.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, Verdict, distance, evaluate, loewner_verdict, weights
from reference.arithmetic.gram import gram, gram_rank, lifted_rank
from reference.models.counted_products import Tally
from specs.claim import Bound, Claim, Hypothesis, Relation, Rival, Value
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC, gamma
from specs.symbols import (
    MATRIX_EXPONENT,
    column_squares,
    columns,
    epsilon,
    exponent,
    largest_norm,
    logit_bound,
    n,
    row_norm,
    unit_roundoff,
)

Matrix = NDArray[Any]


_TENTH, _THIRD = sympy.Rational(1, 10), sympy.Rational(1, 3)


def blocks(first: int, second: int, size: float) -> Matrix:
    """Return the column (size, ..., size, -size, ..., -size): logits size² within a block, else −size²."""
    return np.repeat([size, -size], [first, second])[:, None]


def _nothing(X: Matrix) -> Matrix:
    """Return the cheapest Y: one column of zeros."""
    return np.zeros((len(X), 1))


# -------------------------------------------------------------------------------------- P3.goal


@dataclass(frozen=True)
class SmallLogits:
    """A matrix with ``|(X Xᵀ)_ij| < logit_bound``."""

    X: Matrix
    logit_bound: Fraction


_JUST_ABOVE_A_SIXTEENTH = Fraction(1, 16) + Fraction(1, 1 << 40)


def _small_sample(rng: np.random.Generator) -> SmallLogits:
    n, d = int(rng.integers(2, 9)), int(rng.integers(1, 30))
    X = rng.standard_normal((n, d))
    r = Fraction(int(rng.integers(1, 100)), 1000)
    return SmallLogits(X * (0.999 * float(r)) ** 0.5 / np.linalg.norm(X, axis=1).max(), r)


def _largest_logit(X: Matrix) -> Fraction:
    return Fraction(abs(gram(X)).max())


P3_GOAL = Claim[SmallLogits](
    id="P3.goal",
    where="P3, sentence 7",
    statement=(
        "|X Xᵀ| < r with r in (0, 0.1) implies that some Y with m << d columns has "
        "||A(Y) - A(X)||_inf = O(r). Our reading: entries within (n-1)(e^{2r}-1)/(n(e^{2r}+n-1)) <= 2.5 r/n, "
        "row sums within 2 tanh(r/2) <= r. Y = 0 with m = 1 is such, for any r: the goal says nothing "
        "about a Y that was computed from X."
    ),
    not_stated="That d is much larger than n: nothing here needs it.",
    assumes=(
        Hypothesis(
            "every |(X Xᵀ)_ij| < logit_bound",
            lambda i: _largest_logit(i.X) < i.logit_bound,
            mirrors=("small_logits",),
        ),
        Hypothesis(
            "0 < logit_bound < 1/10",
            lambda i: 0 < i.logit_bound < Fraction(1, 10),
            alone="the abstract's; the theorem is of any bound of the logits",
        ),
    ),
    bounds=(
        Bound(
            name="p3_goal_entry",
            meaning="the largest entry of A(X) - A(0)",
            arguments=(n, logit_bound),
            # b(r) - b(0) for the largest softmax weight b(r) = e^{2r}/(e^{2r} + n - 1), without
            # the cancellation.
            expression=(n - 1)
            * (sympy.exp(2 * logit_bound) - 1)
            / (n * (sympy.exp(2 * logit_bound) + n - 1)),
            points=((5, _TENTH), (1, _TENTH)),
            quantity=lambda i, bits: distance(i.X, _nothing(i.X), precision=bits).entry,
            parameters=lambda i, bits: {"n": len(i.X), "logit_bound": i.logit_bound},
            trivial=lambda i, bits: distance(i.X, _nothing(i.X), precision=bits).entry,
            extremal=lambda: SmallLogits(blocks(1, 63, 0.25), _JUST_ABOVE_A_SIXTEENTH),
            vacuous_where=sympy.true,
            theorem="p3_goal_entry_vacuous",
            # Attained where a logit may be r; the abstract has them less.
            approached="p3_goal_entry_attained",
        ),
        Bound(
            name="p3_goal_row",
            meaning="the largest row sum of |A(X) - A(0)|",
            arguments=(logit_bound,),
            expression=2 * sympy.tanh(logit_bound / 2),
            points=((_TENTH,),),
            quantity=lambda i, bits: distance(i.X, _nothing(i.X), precision=bits).row,
            parameters=lambda i, bits: {"logit_bound": i.logit_bound},
            trivial=lambda i, bits: distance(i.X, _nothing(i.X), precision=bits).row,
            # e^{1/16} is nearly 33/31.
            extremal=lambda: SmallLogits(blocks(31, 33, 0.25), _JUST_ABOVE_A_SIXTEENTH),
            vacuous_where=sympy.true,
            theorem="p3_goal_row_vacuous",
            approached="p3_goal_row_attained",
        ),
    ),
    witness=lambda: SmallLogits(np.array([[0.25, 0.125], [-0.125, 0.25]]), Fraction(9, 100)),
    sample=_small_sample,
)

# ----------------------------------------------------------------------- P3.loewner and P3.rows


@dataclass(frozen=True)
class Sandwich:
    """X and Y with ``(1 − epsilon) G ⪯ H ⪯ (1 + epsilon) G`` and ``|G_ij| <= logit_bound``; a row."""

    X: Matrix
    Y: Matrix
    epsilon: Fraction
    logit_bound: Fraction
    row: int = 0


def _sandwich_sample(rng: np.random.Generator) -> Sandwich:
    """Change the columns' squared lengths by less than epsilon, exactly; some X have not full rank.

    The row is not zero: of one that is, 0 <= 0 is all that is claimed, which no enclosure decides.
    """
    n, d = int(rng.integers(1, 7)), int(rng.integers(1, 10))
    X = rng.integers(-8, 9, (n, d)) * 2.0 ** -int(rng.integers(3, 8))
    X[0, 0] = X[0, 0] or 2.0**-8
    e = Fraction(int(rng.integers(1, 100)), 100)
    stretch = np.sqrt(1 + rng.uniform(-1, 1, d) * float(e)) - 1
    Y = X * (1 + np.trunc(64 * stretch) / 64)
    return Sandwich(X, Y, e, _largest_logit(X), int(rng.choice(np.flatnonzero(X.any(axis=1)))))


_WITHIN_EPSILON = Hypothesis[Sandwich](
    "0 <= epsilon and (1 - epsilon) X Xᵀ <= Y Yᵀ <= (1 + epsilon) X Xᵀ in Loewner's order",
    lambda i: i.epsilon >= 0 and loewner_verdict(i.X, i.Y, i.epsilon) is Verdict.WITHIN,
    mirrors=("0 <= eps", "loewner"),
)


def _logit_change(X: Matrix, Y: Matrix, bits: int) -> Enclosure:
    return lift(abs(gram(X) - gram(Y)).max(), bits)


def _scaled(X: Matrix) -> Sandwich:
    """Y = (5/4) X, so that H = (1 + 9/16) G."""
    return Sandwich(X, 1.25 * X, Fraction(9, 16), _largest_logit(X))


def _sandwich_witness() -> Sandwich:
    X = np.array([[0.25, 0.125, 0.0], [-0.125, 0.25, 0.0], [0.0, 0.125, 0.25]])
    return Sandwich(X, X * np.array([1.03125, 0.96875, 1.0]), Fraction(1, 10), Fraction(1, 10))


P3_LOEWNER = Claim[Sandwich](
    id="P3.loewner",
    where="ours, in place of P3.goal",
    statement=(
        "(1-eps) G <= H <= (1+eps) G (Loewner) and |G_ij| <= r imply |H_ij - G_ij| <= eps sqrt(G_ii G_jj) "
        "<= eps r; entries of A(Y) - A(X) are at most tanh(eps r)/(1 + (n-1)/(e^{2r}(e^{2 eps r}+1))), about "
        "2 eps r/n; row sums of |A(Y) - A(X)| at most 2 tanh(eps r/2).  For any r, any rank."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "every |(X Xᵀ)_ij| <= logit_bound",
            lambda i: _largest_logit(i.X) <= i.logit_bound,
            mirrors=("small_logits",),
        ),
        _WITHIN_EPSILON,
    ),
    bounds=(
        Bound(
            name="loewner_logit",
            meaning="the change of a logit",
            arguments=(epsilon, logit_bound),
            expression=epsilon * logit_bound,
            points=((_THIRD, _TENTH),),
            quantity=lambda i, bits: _logit_change(i.X, i.Y, bits),
            parameters=lambda i, bits: {"epsilon": i.epsilon, "logit_bound": i.logit_bound},
            trivial=lambda i, bits: _logit_change(i.X, _nothing(i.X), bits),
            extremal=lambda: _scaled(blocks(1, 3, 0.25)),
            theorem="p3_loewner_logit",
            attained="p3_loewner_logit_attained",
        ),
        Bound(
            name="loewner_entry",
            meaning="the largest entry of A(Y) - A(X)",
            arguments=(n, logit_bound, epsilon),
            # The odds of one key change by at most e^{2 eps r}, from a weight of at most b(r).
            expression=sympy.tanh(epsilon * logit_bound)
            / (
                1
                + (n - 1)
                / (sympy.exp(2 * logit_bound) * (sympy.exp(2 * epsilon * logit_bound) + 1))
            ),
            points=((5, _TENTH, _THIRD), (100, 3, _TENTH)),
            quantity=lambda i, bits: distance(i.X, i.Y, precision=bits).entry,
            parameters=lambda i, bits: {
                "n": len(i.X),
                "logit_bound": i.logit_bound,
                "epsilon": i.epsilon,
            },
            trivial=lambda i, bits: distance(i.X, _nothing(i.X), precision=bits).entry,
            extremal=lambda: _scaled(blocks(1, 63, 0.25)),
            theorem="p3_loewner_entry",
            approached="p3_loewner_entry_approached",
        ),
        Bound(
            name="loewner_row",
            meaning="the largest row sum of |A(Y) - A(X)|",
            arguments=(epsilon, logit_bound),
            expression=2 * sympy.tanh(epsilon * logit_bound / 2),
            points=((_THIRD, _TENTH),),
            quantity=lambda i, bits: distance(i.X, i.Y, precision=bits).row,
            parameters=lambda i, bits: {"epsilon": i.epsilon, "logit_bound": i.logit_bound},
            trivial=lambda i, bits: distance(i.X, _nothing(i.X), precision=bits).row,
            # e^{(2 + 9/16)/16} is nearly 27/23.
            extremal=lambda: _scaled(blocks(23, 27, 0.25)),
            theorem="p3_loewner_row",
            attained="p3_loewner_row_attained",
        ),
    ),
    witness=_sandwich_witness,
    sample=_sandwich_sample,
)


def _row_change(i: Sandwich, Y: Matrix, bits: int) -> Enclosure:
    """Enclose the row sum of |A(Y) - A(X)| in one row, from the logits of that row only."""
    one = slice(i.row, i.row + 1)
    return abs(weights(Y[one], Y, precision=bits) - weights(i.X[one], i.X, precision=bits)).sum()


def _norms(i: Sandwich, bits: int) -> Mapping[str, Value]:
    squares = [Fraction(g) for g in gram(i.X).diagonal()]
    return {
        "epsilon": i.epsilon,
        "row_norm": lift(squares[i.row], bits).sqrt(),
        "largest_norm": lift(max(squares), bits).sqrt(),
    }


P3_ROWS = Claim[Sandwich](
    id="P3.rows",
    where="ours, in place of P3.goal",
    statement=(
        "(1-eps) G <= H <= (1+eps) G (Loewner) implies that row i of A(Y) is within "
        "2 tanh(eps ||x_i|| max_j ||x_j|| / 2) of row i of A(X) in l1: every row pays for its own length, "
        "and no bound on the logits is assumed."
    ),
    not_stated="",
    assumes=(
        _WITHIN_EPSILON,
        Hypothesis(
            "the row is one of X",
            lambda i: 0 <= i.row < len(i.X),
            alone="a row is a natural number below n in Coq, which is no relation of reals",
        ),
    ),
    bounds=(
        Bound(
            name="loewner_row_norms",
            meaning="the l1 change of one row of A(X)",
            arguments=(epsilon, row_norm, largest_norm),
            expression=2 * sympy.tanh(epsilon * row_norm * largest_norm / 2),
            points=((_THIRD, 2, 5),),
            quantity=lambda i, bits: _row_change(i, i.Y, bits),
            parameters=_norms,
            trivial=lambda i, bits: _row_change(i, _nothing(i.X), bits),
            # Logits up to 1; e^{2 + 9/16} is nearly 13.
            extremal=lambda: _scaled(blocks(2, 26, 1.0)),
            theorem="p3_rows",
            attained="p3_rows_attained",
        ),
    ),
    witness=lambda: _scaled(np.array([[0.25], [4.0], [-4.0]])),
    sample=_sandwich_sample,
)

# -------------------------------------------------------------------------------------- P3.gram


@dataclass(frozen=True)
class Factored:
    """A float matrix X, n × d with n a power of two and d a multiple of it.

    ``strassen`` says which product the cost is counted with.
    """

    X: Matrix
    strassen: bool = False


def gram_products(i: Factored) -> int:
    """Count the scalar products of forming G, the cheaper way, and factoring it by Cholesky."""
    by_columns, by_blocks, factor = Tally(), Tally(i.strassen), Tally(i.strassen)
    G = by_columns.gram_of_columns(i.X)
    by_blocks.gram_of_blocks(i.X)
    # The count does not depend on the numbers; a dominant diagonal keeps the roots real.
    factor.cholesky(G + np.eye(len(G)) * (1 + abs(G).sum()))
    return min(by_columns.products, by_blocks.products) + factor.products


def operation_parameters(X: Matrix, strassen: bool, bits: int) -> Mapping[str, Value]:
    """Return what the cost of P3's algorithms is stated in."""
    counts = [int(np.count_nonzero(column)) for column in X.T]
    omega = lift(7, bits).log() / lift(2, bits).log() if strassen else 3
    return {
        "n": len(X),
        "columns": X.shape[1],
        "column_squares": sum(c * c for c in counts),
        "exponent": omega,
    }


def sequential_gram(X: Matrix) -> Matrix:
    """Return X Xᵀ in X's own arithmetic, with every sum taken from left to right."""
    return np.cumsum(X[:, None, :] * X[None, :, :], axis=2, dtype=X.dtype)[:, :, -1]


def products_are_normal(X: Matrix, Y: Matrix) -> bool:
    """Whether no product of two entries that are not zero is below the normal range of their type."""
    products = np.abs(X.astype(np.float64) * Y)
    return bool((products > np.finfo(X.dtype).tiny)[(X != 0) & (Y != 0)].all())


def gram_is_normal(X: Matrix) -> bool:
    """Whether no product of two entries of a column is below the normal range."""
    return products_are_normal(X[:, None, :], X[None, :, :])


def _relative_rounding(i: Factored, computed: Matrix, bits: int) -> Enclosure:
    exact, magnitude = gram(i.X), gram(np.abs(i.X))
    relative = [
        abs(Fraction(float(c)) - e) / m
        for c, e, m in zip(computed.flat, exact.ravel(), magnitude.ravel(), strict=True)
    ]
    return lift(max(relative), bits)


def _factored_sample(rng: np.random.Generator) -> Factored:
    n = 2 ** int(rng.integers(1, 4))
    X = rng.standard_normal((n, n * int(rng.integers(1, 6))))
    X *= rng.random(X.shape) < rng.choice([0.2, 1.0])
    X[:, 0] = 1  # no entry of |X||X|ᵀ vanishes
    return Factored(X.astype((np.float32, np.float64)[rng.integers(2)]), bool(rng.integers(2)))


def _lost_products() -> Factored:
    """Give a product 1 + u + u + ... that loses every term but the first, from left to right."""
    X = np.full((2, 2048), 2.0**-24, np.float32)
    X[0], X[:, 0] = 1, 1
    return Factored(X)


def _sparse_columns() -> Factored:
    """Give one entry a column but for one column: hardly more than one product a column."""
    X = np.zeros((2, 4096))
    X[0], X[1, 0] = 1, 1
    return Factored(X)


P3_GRAM = Claim[Factored](
    id="P3.gram",
    where="ours, in place of P3.randomised and P3.deterministic",
    statement=(
        "A factor of G, G = L Lᵀ, is a Y with m = rank(X) <= n columns and no error at all.  It takes "
        "min(sum_c nnz(X_c)^2, d n^{omega-1}) + n^omega scalar products; no smaller m has zero error. In "
        "floating point, the computed G errs by at most gamma_d |X||X|ᵀ."
    ),
    not_stated=(
        "The rounding of the factorisation, which an implementation certifies afterwards (P3.certificate). "
        "Additions are not counted. The count is for n a power of two, products by halves and omega >= log2 "
        "6: what is proved of it are the recurrences of reference/models/counted_products.py."
    ),
    assumes=(
        Hypothesis(
            "|X||X|ᵀ has no zero entry",
            lambda i: bool((gram(np.abs(i.X)) > 0).all()),
            alone="the quantity is relative to it",
        ),
        Hypothesis(
            "n is a power of two and d a multiple of n",
            lambda i: len(i.X).bit_count() == 1 and i.X.shape[1] % len(i.X) == 0,
            alone="the sizes of the theorem are a power of two and a multiple of it, by their form",
        ),
        Hypothesis(
            "every entry of G is finite, and no product of two entries is below the normal range",
            lambda i: gram_is_normal(i.X) and bool(np.isfinite(sequential_gram(i.X)).all()),
            alone="the theorem's sums are `computes`, a model of rounding without underflow",
        ),
        Hypothesis(
            "d u <= 1/2",
            lambda i: i.X.shape[1] * ARITHMETIC[i.X.dtype.name].unit_roundoff <= Fraction(1, 2),
            mirrors=("INR d * u <= 1 / 2",),
        ),
    ),
    bounds=(
        Bound(
            name="gram_columns",
            meaning="the columns of Y",
            arguments=(n,),
            expression=n,
            points=((5,),),
            quantity=lambda i, bits: lift(gram_rank(i.X), bits),
            parameters=lambda i, bits: {"n": len(i.X), "columns": i.X.shape[1]},
            trivial=lambda i, bits: lift(i.X.shape[1], bits),
            extremal=lambda: Factored(np.eye(4) + 1),
            vacuous_where=n >= columns,
            edges=lambda: (Factored(np.eye(2) + 1), Factored(np.ones((2, 4)))),
            theorem="p3_gram_columns",
        ),
        Bound(
            name="gram_rounding",
            meaning="the error of a computed entry of G, relative to |X||X|ᵀ",
            arguments=(columns, unit_roundoff),
            expression=gamma(columns),
            provided=columns * unit_roundoff < 1,
            points=((64, sympy.Rational(1, 2**24)),),
            quantity=lambda i, bits: _relative_rounding(i, sequential_gram(i.X), bits),
            parameters=lambda i, bits: {
                "columns": i.X.shape[1],
                "unit_roundoff": ARITHMETIC[i.X.dtype.name].unit_roundoff,
            },
            trivial=lambda i, bits: _relative_rounding(i, np.zeros((len(i.X),) * 2), bits),
            extremal=_lost_products,
            theorem="p3_gram_rounding",
            relation=Relation.RELATIVE,
        ),
        Bound(
            name="gram_operations",
            meaning="the scalar products of forming and factoring G",
            arguments=(column_squares, columns, n, exponent),
            expression=sympy.Min(column_squares, columns * sympy.exp((exponent - 1) * sympy.log(n)))
            + sympy.exp(exponent * sympy.log(n)),
            domain={exponent: MATRIX_EXPONENT},
            points=((900, 128, 4, 3), (100, 128, 4, sympy.Rational(5, 2))),
            quantity=lambda i, bits: lift(gram_products(i), bits),
            parameters=lambda i, bits: operation_parameters(i.X, i.strassen, bits),
            # What the dense way costs with every product of entries taken.
            trivial=lambda i, bits: lift(i.X.shape[1] * len(i.X) ** 2 + len(i.X) ** 3, bits),
            extremal=_sparse_columns,
            vacuous_where=sympy.And(
                column_squares >= columns * n**2, sympy.Or(exponent >= 3, n <= 1)
            ),
            edges=lambda: (Factored(np.ones((2, 4))), Factored(np.array([[1.0, 1], [1, 0]]))),
            theorem="p3_gram_operations",
        ),
    ),
    witness=lambda: Factored(
        np.array([[1.0, 1.0, 0.0, 0.25, 0, 0, 0, 0], [1.0, 0.0, 0.3, 0.0, 0, 0, 0, 0]]) / 3
    ),
    sample=_factored_sample,
)

# ------------------------------------------------------------------------------- P3.caratheodory


@dataclass(frozen=True)
class Columns:
    """A matrix of which only columns may be kept, reweighted."""

    X: Matrix


def _pairs(order: int) -> Columns:
    """Give the columns e_i and e_i + e_j: no two reweightings of them have the same Gram matrix."""
    unit = np.eye(order)
    return Columns(
        np.stack([unit[i] + (i != j) * unit[j] for i in range(order) for j in range(i + 1)], 1)
    )


P3_CARATHEODORY = Claim[Columns](
    id="P3.caratheodory",
    where="ours, in place of P3.deterministic",
    statement=(
        "Some reweighting of at most n(n+1)/2 columns of X has G exactly.  (Carathéodory's theorem for the "
        "cone of the x_c x_cᵀ, in the space of symmetric matrices: no column more, as the weights need not "
        "add up to anything.)  The columns e_i and e_i + e_j need all n(n+1)/2."
    ),
    not_stated="",
    assumes=(),
    bounds=(
        Bound(
            name="caratheodory_columns",
            meaning="the dimension of the span of the x_c x_cᵀ, which is as many columns as can be needed",
            arguments=(n,),
            expression=n * (n + 1) / 2,
            points=((5,),),
            quantity=lambda i, bits: lift(lifted_rank(i.X), bits),
            parameters=lambda i, bits: {"n": len(i.X), "columns": i.X.shape[1]},
            trivial=lambda i, bits: lift(i.X.shape[1], bits),
            extremal=lambda: _pairs(4),
            vacuous_where=n * (n + 1) / 2 >= columns,
            edges=lambda: (_pairs(2), Columns(np.ones((2, 4)))),
            theorem="p3_caratheodory",
        ),
    ),
    witness=lambda: Columns(np.array([[1.0, 2.0, 0.5, -1.0, 3.0], [0.0, 1.0, 2.0, 1.0, -1.0]])),
    sample=lambda rng: Columns(
        rng.integers(-2, 3, (rng.integers(1, 6), rng.integers(1, 24))).astype(float)
    ),
)

# ------------------------------------------------------------------------------- P3.implication


@dataclass(frozen=True)
class Wide:
    """A matrix of two rows or more that is not zero, as wide as you like."""

    X: Matrix


def _row_bound(X: Matrix, bits: int) -> Enclosure:
    """Enclose what the paper's goal allows the row sums of |A(Y) - A(X)|: 2 tanh(r/2)."""
    row = P3_GOAL.bounds[1].expression
    return evaluate(row, {"logit_bound": _largest_logit(X)}, bits)


def _implication_prices(i: Wide, bits: int) -> Mapping[str, tuple[Enclosure, Enclosure]]:
    """Compare with a factor of G: rank(X) columns, where the goal of sentence 7 allows an error of O(r)."""
    return {
        "columns": (P3_IMPLICATION.bounds[0].value(i, bits), lift(gram_rank(i.X), bits)),
        "error": (_row_bound(i.X, bits), lift(0, bits)),
    }


def _wide_sample(rng: np.random.Generator) -> Wide:
    n, d = int(rng.integers(2, 7)), int(rng.integers(1, 40))
    X = rng.integers(-2, 3, (n, d)).astype(float)
    X[0, 0] = X[0, 0] or 1
    return Wide(X)


_IMPLIED = n * (1 + sympy.log(n))

P3_IMPLICATION = Claim[Wide](
    id="P3.implication",
    where="P3, sentence 17",
    statement=(
        "For any super large feature dimension, we can reduce it down to the size nearly linear in length of "
        "sentence. Our reading: n (1 + ln n) columns, with the error that sentence 7 allows."
    ),
    not_stated="The applied LLMs task.",
    assumes=(
        Hypothesis(
            "X is not zero",
            lambda i: bool(i.X.any()),
            alone="the theorem is of any X, and of one row too",
        ),
        Hypothesis(
            "X has two rows or more",
            lambda i: len(i.X) >= 2,
            alone="the theorem is of any X, and of one row too",
        ),
    ),
    bounds=(
        Bound(
            name="implied_columns",
            meaning="the columns of a Y that has X's Gram matrix exactly",
            arguments=(n,),
            expression=_IMPLIED,
            points=((5,),),
            quantity=lambda i, bits: lift(gram_rank(i.X), bits),
            parameters=lambda i, bits: {"n": len(i.X), "columns": i.X.shape[1]},
            trivial=lambda i, bits: lift(i.X.shape[1], bits),
            extremal=lambda: Wide(np.eye(2, 5)),
            vacuous_where=columns <= _IMPLIED,
            edges=lambda: (Wide(np.ones((2, 3))), Wide(np.ones((2, 4)))),
            theorem="p3_implication",
        ),
    ),
    witness=lambda: Wide(np.array([[1.0, 0.5, 2, 1, 0, 3], [0.0, 1.0, 1, -1, 2, 1]])),
    sample=_wide_sample,
    rival=Rival("P3.gram", _implication_prices),
)

CLAIMS = (P3_GOAL, P3_LOEWNER, P3_ROWS, P3_GRAM, P3_CARATHEODORY, P3_IMPLICATION)
