r"""P3.certificate and P3.entries: what floating point proves about G = X Xᵀ and H = Y Yᵀ.

A floating-point Cholesky factorisation that runs to completion proves that its matrix is nearly
semidefinite (Demmel; Higham, Accuracy and Stability of Numerical Algorithms, theorem 10.3; Rump, BIT 46,
2006).  Shifted beforehand by what rounding can fake, and applied to (1 + ε) G − H and
to H − (1 − ε) G, it proves the sandwich that P3.loewner starts from.

The computation, in one floating-point type: Gram matrices Ĝ and Ĥ, a term of which passes through g and
h roundings; A = s (f Ĝ − Ĥ) + slack diag(Ĝ) − shift I with s = 1 or −1, operation by operation; and L
from A, sums in any order.  An error of γ_k = ku/(1 − ku) relative to exact squares is one of
γ_k/(1 − γ_k) = ku/(1 − 2ku) relative to computed ones: ``relative(k)``.

NOTE The model is of rounding without underflow, so no product and no quotient may be below the normal range:
where float32's squares are, both claims fail, by any factor.  Scaling rows by powers of two beforehand
changes no rounding and keeps underflow away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from reference import Enclosure
from reference.arithmetic.gram import gram, semidefinite
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC, gamma
from specs.sparsification.loewner import (
    Matrix,
    gram_is_normal,
    products_are_normal,
    sequential_gram,
)
from specs.symbols import (
    difference,
    factor,
    first_largest,
    first_roundings,
    first_trace,
    n,
    ratio,
    relative_difference,
    second_largest,
    second_roundings,
    second_trace,
    shifted_trace,
    slack,
    unit_roundoff,
)

_U = sympy.Rational(1, 2**24)


def relative(roundings: sympy.Expr) -> sympy.Expr:
    """Return ku/(1 - 2ku): the effect of k roundings, relative to the computed result."""
    return roundings * unit_roundoff / (1 - 2 * roundings * unit_roundoff)


def _squares(X: Matrix) -> list[Fraction]:
    """Return the squared lengths of the rows, exactly."""
    return [Fraction(gram(row[None, :]).item()) for row in X]


def _of_floats(A: Matrix) -> Matrix:
    return np.array([[Fraction(float(a)) for a in row] for row in A], object)


def _trace(A: Matrix) -> Fraction:
    return sum((Fraction(float(a)) for a in A.diagonal()), Fraction(0))


def _largest_relative(E: Matrix, squares: list[Fraction], bits: int) -> Enclosure:
    """Enclose max |E_ij| / sqrt(s_i s_j) for positive squares s."""
    s = np.array(squares, object)
    return lift((E**2 / (s[:, None] * s)).max(), 2 * bits).sqrt()


# -------------------------------------------------------------------------------- P3.certificate


@dataclass(frozen=True)
class Factorisation:
    """X and Y with everything that was computed from them on the way to a certificate.

    ``X``, ``Y``, ``factor``, ``sign``, ``slack`` and ``shift`` are exact; ``first`` and ``second`` are
    the computed Gram matrices, ``shifted`` is A and ``lower`` is L.
    """

    X: Matrix
    Y: Matrix
    factor: float
    sign: int
    slack: float
    shift: np.floating[Any]
    first: Matrix
    second: Matrix
    shifted: Matrix
    lower: Matrix

    @property
    def unit_roundoff(self) -> Fraction:
        """The unit roundoff of the computation's type."""
        return ARITHMETIC[self.shifted.dtype.name].unit_roundoff


def sequential_cholesky(A: Matrix) -> Matrix | None:
    """Return L in A's own arithmetic, subtracting from left to right; None if a pivot fails."""
    L = np.zeros_like(A)
    for j in range(len(A)):
        column = A[j:, j].copy()
        for k in range(j):
            column -= L[j:, k] * L[j, k]
        if not column[0] > 0:
            return None
        L[j, j] = np.sqrt(column[0])
        L[j + 1 :, j] = column[1:] / L[j, j]
    return L


def lapack_cholesky(A: Matrix) -> Matrix | None:
    """Return L as LAPACK orders the operations."""
    try:
        return np.linalg.cholesky(A)
    except np.linalg.LinAlgError:
        return None


def factorised(
    X: Matrix,
    Y: Matrix,
    factor: float,
    *,
    sign: int = 1,
    slack: float = 0.0,
    cholesky: Callable[[Matrix], Matrix | None] = sequential_cholesky,
) -> Factorisation:
    """Factor A with the largest shift, to 40 bisections, with which that succeeds."""
    first, second = sequential_gram(X), sequential_gram(Y)
    number = X.dtype.type
    diagonal = np.diag_indices_from(first)

    def subtracted(shift: np.floating[Any]) -> Matrix:
        A: Matrix = number(sign) * (number(factor) * first - second)
        A[diagonal] = A[diagonal] + number(slack) * first[diagonal] - shift
        return A

    shift, failing = number(0), subtracted(number(0))[diagonal].max()
    for _ in range(40):
        middle = (shift + failing) / number(2)
        completes = cholesky(subtracted(middle)) is not None
        shift, failing = (middle, failing) if completes else (shift, middle)
    A = subtracted(shift)
    L = cholesky(A)
    if L is None:
        raise ValueError(
            "the matrix must have a Cholesky factor in floating point, got one without."
        )
    return Factorisation(X, Y, factor, sign, slack, shift, first, second, A, L)


def _residual(i: Factorisation, lower: Matrix, bits: int) -> Enclosure:
    A = _of_floats(i.shifted)
    return _largest_relative(A - gram(lower), list(A.diagonal()), bits)


def _excess(i: Factorisation, shift: Fraction, bits: int) -> Enclosure:
    """Enclose by how much a shift exceeds the least eigenvalue of s (f G − H) + slack diag(G)."""
    G = gram(i.X)
    target = i.sign * (Fraction(i.factor) * G - gram(i.Y))
    target[np.diag_indices_from(target)] += Fraction(i.slack) * G.diagonal()
    identity = np.eye(len(G), dtype=int)
    # No eigenvalue is larger in magnitude than the sum of the entries' magnitudes.
    high = abs(target).sum() + 1
    low = -high
    while high - low > Fraction(1, 1 << bits):
        middle = (low + high) / 2
        low, high = (middle, high) if semidefinite(target - middle * identity) else (low, middle)
    return lift(shift - low, bits) + Enclosure(np.array(0, object), 1, bits)


def _nothing_underflows(i: Factorisation) -> bool:
    """Whether no product, and no quotient of the factorisation in any order, is below the normal range."""
    number = i.shifted.dtype.type
    diagonal = i.first.diagonal()
    return (
        gram_is_normal(i.X)
        and gram_is_normal(i.Y)
        and products_are_normal(i.first, number(i.factor))
        and products_are_normal(diagonal, number(i.slack))
        and all(_pivots_are_normal(i, j) for j in range(len(i.shifted)))
    )


def _pivots_are_normal(i: Factorisation, column: int) -> bool:
    """Whether what a column of L is computed from is so large that its products and quotients are normal.

    A sum of floats is a multiple of the last digit of the smallest.  Where that, divided by the pivot, is in
    the normal range, so is every quotient, unless it is zero.
    """
    before, below = i.lower[column, :column], i.lower[column + 1 :, :column]
    if not (products_are_normal(before, before) and products_are_normal(below, before)):
        return False
    least = float(np.finfo(before.dtype).tiny / i.unit_roundoff)
    least *= max(1.0, float(i.lower[column, column]))
    summed = np.hstack([i.shifted[column + 1 :, column : column + 1], below * before])
    return bool((np.abs(summed) >= least)[summed != 0].all())


def _shift_parameters(i: Factorisation, bits: int) -> Mapping[str, Value]:
    return {
        "factor": Fraction(i.factor),
        "slack": Fraction(i.slack),
        "first_roundings": i.X.shape[1],
        "second_roundings": i.Y.shape[1],
        "n": len(i.X),
        "unit_roundoff": i.unit_roundoff,
        "first_trace": _trace(i.first),
        "second_trace": _trace(i.second),
        "shifted_trace": _trace(i.shifted),
    }


def _factorisation_sample(rng: np.random.Generator) -> Factorisation:
    """Give matrices with more rows than columns, repeated rows, or rows that nearly coincide, too."""
    n, d = int(rng.integers(1, 6)), int(rng.integers(1, 8))
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-2, 3)
    kind = rng.integers(3)
    if kind == 1:
        X[-1] = X[0]
    if kind == 2:
        X = X[:1] * (1 + 1e-3 * rng.standard_normal(X.shape))
    X = X.astype((np.float32, np.float64)[rng.integers(2)])
    Y = X * (1 + 0.1 * rng.uniform(-1, 1, d)).astype(X.dtype)
    sign = int(rng.choice([1, -1]))
    cholesky = (sequential_cholesky, lapack_cholesky)[rng.integers(2)]
    return factorised(X, Y, 1 + sign / 4, sign=sign, slack=2.0**-6, cholesky=cholesky)


def lost_squares(count: int) -> Matrix:
    """Give a row whose computed sum of squares 1 + u + u + ..., from left to right, is 1."""
    row = np.full((1, count), np.nextafter(np.sqrt(2.0**-53), 0))
    row[0, 0] = 1
    return row


def _late_pivot() -> Factorisation:
    """Give a last pivot 1 + 2mu whose n - 1 subtractions all lose u and whose root rounds up by u."""
    u, order = 2.0**-24, 64
    m = int(np.sqrt(2 / u)) // 2 * 2
    X = np.zeros((order, order + 1), np.float32)
    X[-1, 0], X[-1, 1] = 1, np.sqrt(2 * m * u)
    X[-1, 2:] = np.nextafter(np.float32(np.sqrt(u)), np.float32(0))
    X[:-1, 2:] = np.eye(order - 1)
    first = sequential_gram(X)
    lower = sequential_cholesky(first)
    assert lower is not None
    nothing = np.zeros_like(X[:, :1])
    zero = np.float32(0)
    return Factorisation(
        X, nothing, 1.0, 1, 0.0, zero, first, sequential_gram(nothing), first, lower
    )


P3_CERTIFICATE = Claim[Factorisation](
    id="P3.certificate",
    where="ours",
    statement=(
        "Let A be the computed s (f G - H) + slack diag(G) - c I, s = 1 or -1.  If a floating-point Cholesky "
        "factorisation of A, in any order of summation, runs to completion, then |A - L Lᵀ|_ij <= "
        "(n+1)u/(1-2(n+1)u) sqrt(a_ii a_jj), and c exceeds the least eigenvalue of the exact "
        "s (f G - H) + slack diag(G) by at most certificate_shift.  So a shift c of that size proves "
        "s (f G - H) + slack diag(G) >= 0: with f = 1 + eps, s = 1 and with f = 1 - eps, s = -1, it is "
        "(1-eps) G - slack diag(G) <= H <= (1+eps) G + slack diag(G), under which |H - G|_ij <= "
        "(eps + slack) sqrt(G_ii G_jj)."
    ),
    not_stated=(
        "What underflows, for which an implementation that bounds it charges a rounding more. That a given "
        "LAPACK obeys the model."
    ),
    assumes=(
        Hypothesis(
            "every number, computed by rounded sums in any order, is finite, and no product or quotient is "
            "below the normal range",
            lambda i: (
                all(np.isfinite(a).all() for a in (i.first, i.second, i.shifted, i.lower))
                and _nothing_underflows(i)
            ),
            mirrors=("computed_gram", "computed_gram (2)", "assembled", "cholesky"),
        ),
        Hypothesis(
            "L has a positive diagonal and zeros above it",
            lambda i: bool((i.lower.diagonal() > 0).all() and not np.triu(i.lower, 1).any()),
            mirrors=("cholesky",),
        ),
        Hypothesis(
            "shift >= 0, slack >= 0, factor >= 0",
            lambda i: bool(i.shift >= 0 and i.slack >= 0 and i.factor >= 0),
            mirrors=("0 <= slack", "0 <= c"),
        ),
        Hypothesis(
            "(max(n, d, m) + 4) u <= 1/4",
            lambda i: (max(*i.X.shape, *i.Y.shape) + 4) * i.unit_roundoff <= Fraction(1, 4),
            mirrors=(
                "INR (n + 1) * u < 1 / 2",
                "INR (g + 4) * u < 1 / 2",
                "INR (h + 3) * u < 1 / 2",
            ),
        ),
    ),
    bounds=(
        Bound(
            name="cholesky_residual",
            meaning="an entry of A - L Lᵀ, relative to sqrt(a_ii a_jj)",
            arguments=(n, unit_roundoff),
            expression=relative(n + 1),
            provided=(2 * n + 2) * unit_roundoff < 1,
            points=((64, _U),),
            quantity=lambda i, bits: _residual(i, i.lower, bits),
            parameters=lambda i, bits: {"n": len(i.X), "unit_roundoff": i.unit_roundoff},
            trivial=lambda i, bits: _residual(i, np.zeros_like(i.lower), bits),
            extremal=_late_pivot,
            theorem="p3_cholesky_residual",
            relation=Relation.RELATIVE,
        ),
        Bound(
            name="certificate_shift",
            meaning="the shift beyond the least eigenvalue with which a factorisation completes",
            arguments=(
                factor,
                slack,
                first_roundings,
                second_roundings,
                n,
                unit_roundoff,
                first_trace,
                second_trace,
                shifted_trace,
            ),
            # Four more roundings a term of G, three of H: product, difference, slack and shift.
            expression=(factor + slack) * relative(first_roundings + 4) * first_trace
            + relative(second_roundings + 3) * second_trace
            + relative(n + 1) * shifted_trace,
            provided=sympy.Max(2 * n + 2, 2 * first_roundings + 8, 2 * second_roundings + 6)
            * unit_roundoff
            < 1,
            points=((sympy.Rational(9, 8), sympy.Rational(1, 64), 100, 20, 64, _U, 64, 65, 9),),
            quantity=lambda i, bits: _excess(i, Fraction(float(i.shift)), bits),
            parameters=_shift_parameters,
            # Without a factorisation every shift passes.
            trivial=lambda i, bits: _excess(i, _trace(i.shifted), bits),
            # The computed H is 1, and H is not.
            extremal=lambda: factorised(np.ones((1, 1)), lost_squares(1 << 16), 1 + 2.0**-40),
            theorem="p3_certificate_shift",
            relation=Relation.RELATIVE,
        ),
    ),
    witness=lambda: factorised(
        np.array([[1.0, 0.5, 0.25], [0.5, 1.0, 0.0]]) / 3,
        np.array([[1.0, 0.5, 0.25], [0.5, 1.0, 0.0]]) / 3.125,
        1.25,
    ),
    sample=_factorisation_sample,
    recomputed=lambda i: factorised(i.X, i.Y, i.factor, sign=i.sign, slack=i.slack),
)

# ------------------------------------------------------------------------------------ P3.entries


@dataclass(frozen=True)
class Computed:
    """X and Y in one floating-point type, no row of X zero: what their computed Gram matrices show."""

    X: Matrix
    Y: Matrix

    @property
    def first(self) -> Matrix:
        """The computed X Xᵀ."""
        return sequential_gram(self.X)

    @property
    def second(self) -> Matrix:
        """The computed Y Yᵀ."""
        return sequential_gram(self.Y)

    @property
    def unit_roundoff(self) -> Fraction:
        """The unit roundoff of the type."""
        return ARITHMETIC[self.X.dtype.name].unit_roundoff


def _normal_entries(i: Computed) -> bool:
    """Whether no product and no quotient that the bounds are computed from is below the normal range."""
    if not (gram_is_normal(i.X) and gram_is_normal(i.Y)):
        return False
    tiny, G, H = np.finfo(i.X.dtype).tiny, i.first, i.second
    lengths = np.sqrt(G.diagonal())
    seen = abs(H - G)
    with np.errstate(
        divide="ignore", invalid="ignore", under="ignore"
    ):  # another hypothesis: no row is zero
        quotients = seen / lengths[:, None]
        relative_seen = quotients / lengths
        ratios = H.diagonal() / G.diagonal()
    return bool(
        (np.minimum(quotients, relative_seen) > tiny)[seen > 0].all()
        and (ratios > tiny)[H.diagonal() > 0].all()
    )


def _entry_parameters(i: Computed, bits: int) -> Mapping[str, Value]:
    """Return what the bounds take, every float computed in the instance's type."""
    G, H = i.first, i.second
    lengths = np.sqrt(G.diagonal())
    seen = abs(H - G)
    return {
        "relative_difference": Fraction(float((seen / lengths[:, None] / lengths).max())),
        "difference": Fraction(float(seen.max())),
        "ratio": Fraction(float((H.diagonal() / G.diagonal()).max())),
        "first_largest": Fraction(float(G.diagonal().max())),
        "second_largest": Fraction(float(H.diagonal().max())),
        "first_roundings": i.X.shape[1],
        "second_roundings": i.Y.shape[1],
        "unit_roundoff": i.unit_roundoff,
    }


def _computed_sample(rng: np.random.Generator) -> Computed:
    n, d = int(rng.integers(1, 7)), int(rng.integers(1, 12))
    X = rng.standard_normal((n, d)).astype((np.float32, np.float64)[rng.integers(2)])
    return Computed(
        X, X * (1 + rng.uniform(-0.5, 0.5, d) * rng.choice([0, 1e-6, 1])).astype(X.dtype)
    )


P3_ENTRIES = Claim[Computed](
    id="P3.entries",
    where="ours",
    statement=(
        "The exact G and H differ by no more than the computed ones do and their roundings, g and h a term, "
        "allow: entry by entry relative to sqrt(G_ii G_jj), where the computed difference is divided by "
        "computed lengths, and absolutely.  A squared length is at most the computed one times "
        "(1-gu)/(1-2gu)."
    ),
    not_stated="What underflows, for which an implementation that bounds it charges a rounding more.",
    assumes=(
        Hypothesis(
            "no row of X is zero",
            lambda i: min(_squares(i.X)) > 0,
            mirrors=("0 < gram d X i i", "0 < gram d X j j"),
        ),
        Hypothesis(
            "no product of two entries of X, or of Y, and no quotient is below the normal range",
            _normal_entries,
            alone="the theorem's sums are `computes`, a model of rounding without underflow",
        ),
        Hypothesis(
            "(max(d, m) + 5) u <= 1/4",
            lambda i: (max(i.X.shape[1], i.Y.shape[1]) + 5) * i.unit_roundoff <= Fraction(1, 4),
            mirrors=("INR (g + 5) * u < 1 / 2", "INR h * u < 1 / 2", "INR g * u < 1 / 2"),
        ),
    ),
    bounds=(
        Bound(
            name="entry_difference",
            meaning="the largest |H - G|_ij / sqrt(G_ii G_jj)",
            arguments=(
                relative_difference,
                ratio,
                first_roundings,
                second_roundings,
                unit_roundoff,
            ),
            # One difference, two roots, two quotients.
            expression=relative_difference / (1 - (first_roundings + 5) * unit_roundoff)
            + gamma(first_roundings)
            + ratio * relative(second_roundings) / (1 - (first_roundings + 1) * unit_roundoff),
            provided=sympy.Max(first_roundings + 5, 2 * second_roundings) * unit_roundoff < 1,
            points=((_U * 1000, 2, 100, 20, _U),),
            quantity=lambda i, bits: _largest_relative(gram(i.Y) - gram(i.X), _squares(i.X), bits),
            parameters=_entry_parameters,
            trivial=lambda i, bits: _largest_relative(gram(i.X), _squares(i.X), bits),
            extremal=lambda: Computed(np.ones((1, 1)), lost_squares(1 << 16)),
            theorem="p3_entry_difference",
            relation=Relation.RELATIVE,
        ),
        Bound(
            name="logit_difference",
            meaning="the largest |H - G|_ij",
            arguments=(
                difference,
                first_largest,
                second_largest,
                first_roundings,
                second_roundings,
                unit_roundoff,
            ),
            expression=difference / (1 - unit_roundoff)
            + relative(first_roundings) * first_largest
            + relative(second_roundings) * second_largest,
            provided=2 * sympy.Max(first_roundings, second_roundings) * unit_roundoff < 1,
            points=((_U * 1000, 2, 3, 100, 20, _U),),
            quantity=lambda i, bits: lift(abs(gram(i.Y) - gram(i.X)).max(), bits),
            parameters=_entry_parameters,
            trivial=lambda i, bits: lift(abs(gram(i.X)).max(), bits),
            extremal=lambda: Computed(np.ones((1, 1)), lost_squares(1 << 16)),
            theorem="p3_logit_difference",
        ),
        Bound(
            name="largest_logit",
            meaning="the largest G_ii, and so the largest |G_ij|",
            arguments=(first_largest, first_roundings, unit_roundoff),
            expression=first_largest
            * (1 - first_roundings * unit_roundoff)
            / (1 - 2 * first_roundings * unit_roundoff),
            provided=2 * first_roundings * unit_roundoff < 1,
            points=((3, 100, _U),),
            quantity=lambda i, bits: lift(max(_squares(i.X)), bits),
            parameters=_entry_parameters,
            # No squared length is larger than all of them together.
            trivial=lambda i, bits: lift(sum(_squares(i.X)), bits),
            extremal=lambda: Computed(lost_squares(1 << 10), np.ones((1, 1))),
            theorem="p3_largest_logit",
        ),
    ),
    witness=lambda: Computed(
        np.array([[1.0, 0.5, 0.25], [0.5, 1.0, 0.0]]) / 3,
        np.array([[1.0, 0.5, 0.25], [0.5, 1.0, 0.0]]) / 3.125,
    ),
    sample=_computed_sample,
)

CLAIMS = (P3_CERTIFICATE, P3_ENTRIES)
