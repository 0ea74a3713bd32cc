"""An implementation's ``sparsify`` beside its exact errors, for one feature matrix.

Each guarantee is asked for on X as it is and, where the logits X Xᵀ are too large for P3's hypothesis, on X
scaled down until they are not.  Gram matrices are compared exactly, attention matrices are enclosed, and
beside them stands what Y = 0 achieves, which meets P3's goal as printed (claim P3.goal).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Context
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.judging.heads import FeatureMatrix, Matrix
from proofs.judging.hypotheses import LARGEST_R, rounded_up
from proofs.judging.implementation import Unanswered, ask
from proofs.judging.judgement import (
    SEED,
    Ends,
    Examination,
    Judgement,
    checked_rows,
    ends,
    unusable,
)
from reference import Enclosure, Verdict, decide, logits, softmax

__all__ = [
    "GUARANTEES",
    "MatrixExamination",
    "Quantity",
    "Scaled",
    "SparsifyJudgement",
    "examine",
]

ObjectArray = NDArray[Any]  # of Python integers
Sparsify = Callable[..., Any]

#: The guarantees of ``sparsify``, and the error asked for: 0.8 is what four columns a row buy.
GUARANTEES: dict[str, float | None] = {
    "exact": None,
    "loewner": 0.8,
    "entrywise": 0.8,
    "columns": 0.8,
}

#: Work for one attention matrix: an entry costs d products and an exponential, which is worth 512.
#: Half a second to two, by the length of the integers; of a larger matrix a random subset of rows is checked.
BUDGET = 1 << 25
EXPONENTIAL = 512

#: What is compared, in words, and the fields of the answer whose sum bounds it.
QUANTITIES = {
    "gram": ("error of YY^T in the sense of the guarantee", ("epsilon", "slack")),
    "logit": ("largest |YY^T - XX^T|_ij", ("logit_error",)),
    "entry": ("largest entry of the difference of the attention matrices", ("entry_error",)),
    "row": ("largest row sum of that difference's magnitudes", ("row_error",)),
}


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One error beside its certified bound.

    Attributes
    ----------
    error
        Ends of an enclosure of it over the checked rows, rounded outward; None if it is infinite, YYᵀ
        not being zero where XXᵀ is.
    bound
        The bound on it.
    verdict
        Whether it is within.
    """

    error: Ends | None
    bound: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class SparsifyJudgement(Judgement):
    """What an implementation answered to one guarantee; its error and bound are those of the Gram matrix.

    Attributes
    ----------
    scale
        What X was multiplied by.
    guarantee, epsilon_asked
        What was asked.
    method, columns
        What was done, and the number of Y's columns; None if there was no usable answer.
    quantities
        The errors by name, see ``QUANTITIES``.
    """

    scale: float
    guarantee: str
    epsilon_asked: float | None
    method: str | None = None
    columns: int | None = None
    quantities: dict[str, Quantity] | None = None


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """What is known of X times a number without any answer.

    Attributes
    ----------
    scale
        The number; the products are rounded to X's type.
    logit_bound
        max |X Xᵀ| of the scaled matrix, an enclosure.
    zero_entry, zero_row
        How far Y = 0 moves the entries and rows of the attention matrix, enclosures.
    """

    scale: float
    logit_bound: Ends
    zero_entry: Ends
    zero_row: Ends

    @property
    def hypothesis_holds(self) -> bool:
        """Whether max |X Xᵀ| < r for some r in (0, 0.1), for certain."""
        return self.logit_bound[1] < LARGEST_R


@dataclass(frozen=True, kw_only=True)
class MatrixExamination(Examination[SparsifyJudgement]):
    """What was found about a matrix, as it is and, where that is too large, scaled down."""

    scales: tuple[Scaled, ...]

    def at(self, scaled: Scaled) -> tuple[SparsifyJudgement, ...]:
        """Return the answers at one scale."""
        return tuple(run for run in self.judgements if run.scale == scaled.scale)


def examine(
    matrix: FeatureMatrix,
    sparsify: Sparsify,
    *,
    budget: int = BUDGET,
    rng: np.random.Generator | None = None,
) -> MatrixExamination:
    """Ask an implementation for every guarantee on a matrix, as it is and scaled down, and judge it.

    Parameters
    ----------
    matrix
        The matrix.
    sparsify
        That function of the implementation under test; it is given copies.
    budget
        The most work for one attention matrix, see ``BUDGET``.
    rng
        Draws the rows that are checked of a large matrix; by default one that nobody can foresee.
    """
    X = matrix.X
    n, d = X.shape
    rng = np.random.default_rng() if rng is None else rng
    rows = checked_rows(n, n * (d + EXPONENTIAL), budget, rng)
    scales = [_scaled(matrix, 1.0, rows, sparsify)]
    original = scales[0][0]
    if not original.hypothesis_holds:
        scales.append(_scaled(matrix, _scale_for_r(original.logit_bound[1]), rows, sparsify))
    return MatrixExamination(
        name=matrix.name,
        dtype=X.dtype.name,
        shape=(n, d),
        judgements=tuple(run for _, runs in scales for run in runs),
        scales=tuple(scaled for scaled, _ in scales),
    )


def _scale_for_r(logit_bound: float) -> float:
    """Return the scale that brings max |X Xᵀ| just below 0.1, rounded down to three digits."""
    # Less by a millionth than the root: no rounding of the scaled entries undoes that.
    scale = math.sqrt(LARGEST_R / logit_bound) * (1 - 2.0**-20)
    return float(Context(prec=3, rounding=ROUND_DOWN).create_decimal(scale))


def _scaled(
    matrix: FeatureMatrix, scale: float, rows: NDArray[np.intp], sparsify: Sparsify
) -> tuple[Scaled, list[SparsifyJudgement]]:
    X = (matrix.X.astype(np.float64) * scale).astype(matrix.X.dtype)
    lifted = Enclosure.exact(X)
    squares = Enclosure((lifted.mid**2).sum(axis=1), 0, 2 * lifted.bits)
    truth = _Truth(logits(lifted[rows], lifted), squares, rows)
    nothing = truth.gap(logits(np.zeros((len(rows), 1)), np.zeros((len(X), 1))))
    scaled = Scaled(
        scale=scale,
        logit_bound=ends(*squares.largest()),
        zero_entry=ends(*nothing(128).largest()),
        zero_row=ends(*nothing(128).sum(axis=1).largest()),
    )
    asked = (
        SparsifyJudgement(
            name=matrix.name,
            asked=f"times {scale:.3g}, {guarantee}",
            dtype=X.dtype.name,
            rows=tuple(rows.tolist()),
            row_count=len(X),
            call=f"sparsify((X.astype('float64') * {scale!r}).astype('{X.dtype}'), "
            f"guarantee={guarantee!r}, epsilon={epsilon}, rng=numpy.random.default_rng({SEED}))",
            scale=scale,
            guarantee=guarantee,
            epsilon_asked=epsilon,
        )
        for guarantee, epsilon in GUARANTEES.items()
    )
    return scaled, [_judged(sparsify, X, run, truth) for run in asked]


class _Truth:
    """The checked rows of X Xᵀ, exactly, and of its attention matrix, enclosed once a precision."""

    def __init__(self, gram: Enclosure, squares: Enclosure, rows: NDArray[np.intp]) -> None:
        self.gram, self.squares, self.rows = gram, squares, rows
        self.attention = cache(lambda bits: softmax(gram, precision=bits))

    def gap(self, other: Enclosure) -> Callable[[int], Enclosure]:
        """Return what encloses, at given bits, the distance to the attention of other logits."""
        if not (other - self.gram).mid.any():
            # Equal logits give equal attention, which enclosures of both cannot tell.
            return lambda bits: Enclosure.exact(np.zeros(other.shape))
        return cache(lambda bits: abs(self.attention(bits) - softmax(other, precision=bits)))


def _judged(
    sparsify: Sparsify, X: Matrix, asked: SparsifyJudgement, truth: _Truth
) -> SparsifyJudgement:
    guarantee, epsilon = asked.guarantee, asked.epsilon_asked

    def answered() -> tuple[Matrix, str, tuple[str, ...], dict[str, tuple[float, ...]]]:
        rng = np.random.default_rng(SEED)
        answer = sparsify(X.copy(), guarantee=guarantee, epsilon=epsilon, rng=rng)
        bounds = {
            quantity: tuple(float(getattr(answer, field)) for field in fields)
            for quantity, (_, fields) in QUANTITIES.items()
        }
        claims = tuple(str(claim) for claim in answer.claims)
        return np.asarray(answer.Y), str(answer.method), claims, bounds

    answer = ask("sparsify", answered)
    if isinstance(answer, Unanswered):
        return replace(asked, failure=answer.failure)
    Y, method, claims, bounds = answer
    asked = replace(asked, method=method, claims=claims)
    problem = _unusable(Y, len(X), bounds)
    if problem:
        return replace(asked, failure=problem)
    other = logits(Y[truth.rows], Y)
    gap = truth.gap(other)
    of_gram = _entrywise if guarantee == "entrywise" else _loewner
    quantities = {
        "gram": of_gram(truth, other, *map(Fraction, bounds["gram"])),
        "logit": _quantity(lambda bits: abs(other - truth.gram), *bounds["logit"]),
        "entry": _quantity(gap, *bounds["entry"]),
        "row": _quantity(lambda bits: gap(bits).sum(axis=1), *bounds["row"]),
    }
    failures = _failures(quantities)
    if epsilon is not None and bounds["gram"][0] > epsilon:
        # Y = 0 has an error of 1 whatever X is.
        quantities["gram"] = replace(quantities["gram"], verdict=Verdict.OUTSIDE)
        failures.insert(
            0, f"epsilon must be at most the {epsilon} asked for, got {bounds['gram'][0]:.6g}."
        )
    return replace(
        asked,
        verdict=Verdict.combine([quantity.verdict for quantity in quantities.values()]),
        error=quantities["gram"].error,
        bound=quantities["gram"].bound,
        columns=Y.shape[1],
        quantities=quantities,
        failure=" ".join(failures),
    )


def _unusable(Y: Matrix, n: int, bounds: dict[str, tuple[float, ...]]) -> str:
    """Say why an answer cannot be judged, if it cannot."""
    if Y.ndim != 2 or len(Y) != n or not Y.size:
        return f"Y must have shape ({n}, m) with m at least 1, got {Y.shape}."
    for quantity, (_, fields) in QUANTITIES.items():
        for field, value in zip(fields, bounds[quantity], strict=True):
            if not (math.isfinite(value) and value >= 0):
                return f"{field} must be finite and at least 0, got {value}."
    return unusable("Y", Y)


def _quantity(enclose: Callable[[int], Enclosure], bound: float) -> Quantity:
    verdict, enclosure = decide(enclose, 0, bound)
    return Quantity(error=ends(*enclosure.largest()), bound=bound, verdict=verdict)


def _entrywise(truth: _Truth, other: Enclosure, epsilon: Fraction, slack: Fraction) -> Quantity:
    """Judge |H − G|_ij ≤ (ε + slack) sqrt(G_ii G_jj) for all entries of the checked rows, exactly."""
    difference = other - truth.gram
    squares = truth.squares.at(difference.bits).mid
    products = np.multiply.outer(squares[truth.rows], squares)
    pairs = zip(difference.mid.ravel().tolist(), products.ravel().tolist(), strict=True)
    return _compared(_largest((x * x, y) for x, y in pairs), epsilon + slack, root=True)


def _loewner(truth: _Truth, other: Enclosure, epsilon: Fraction, slack: Fraction) -> Quantity:
    """Judge |vᵀ(H − G)v| ≤ ε vᵀGv + slack vᵀ diag(G) v in the two worst directions v that are found.

    The error is the left side over the right, times ε + slack; without slack this is the Loewner error in
    those directions.  They are found in floating point, among the checked rows, but judged exactly.
    """
    difference = (other - truth.gram)[:, truth.rows]
    gram = truth.gram[:, truth.rows].at(difference.bits)
    # An answer that claims no error must have none: any yardstick shows whether it has.
    of_gram, of_diagonal = (epsilon, slack) if epsilon + slack else (Fraction(1), Fraction(0))
    E, G, diagonal = difference.mid, gram.mid, gram.mid.diagonal()
    pairs = [
        (
            (of_gram + of_diagonal) * abs(v @ E @ v),
            of_gram * (v @ G @ v) + of_diagonal * (v * diagonal @ v),
        )
        for v in _worst_directions(difference, gram, float(of_gram), float(of_diagonal))
    ]
    return _compared(_largest(pairs), epsilon + slack)


def _worst_directions(
    difference: Enclosure, gram: Enclosure, of_gram: float, of_diagonal: float
) -> list[ObjectArray]:
    """Return, as integers, two v that nearly extremize vᵀ(H − G)v over vᵀ(of_gram G + of_diagonal D)v."""
    E, G = difference.midpoint(), gram.midpoint()
    largest = G.max() or 1.0
    allowed = of_gram / (of_gram + of_diagonal) * G / largest
    allowed += of_diagonal / (of_gram + of_diagonal) * np.diag(G.diagonal()) / largest
    values, vectors = np.linalg.eigh(allowed)
    # Directions in which nothing is allowed are weighed like rounding, so that they are looked at first.
    floor = len(values) * np.finfo(np.float64).eps * (values[-1] or 1.0)
    whitening = vectors / np.sqrt(np.maximum(values, floor))
    _, found = np.linalg.eigh(whitening.T @ (E / largest) @ whitening)
    return [Enclosure.exact(whitening @ found[:, k]).mid for k in (0, -1)]


def _largest(pairs: Iterable[tuple[Any, Any]]) -> Fraction | None:
    """Return the largest quotient, 0/0 being 0; None if it is infinite."""
    largest = Fraction(0)
    for numerator, denominator in pairs:
        if denominator:
            largest = max(largest, Fraction(numerator, denominator))
        elif numerator:
            return None
    return largest


def _compared(error: Fraction | None, bound: Fraction, *, root: bool = False) -> Quantity:
    """Judge an error that is known exactly, or whose square is."""
    if error is None:
        return Quantity(error=None, bound=rounded_up(bound), verdict=Verdict.OUTSIDE)
    verdict = Verdict.WITHIN if error <= (bound**2 if root else bound) else Verdict.OUTSIDE
    enclosure = _root(error) if root else ends(error, error)
    return Quantity(error=enclosure, bound=rounded_up(bound), verdict=verdict)


def _root(square: Fraction) -> Ends:
    """Return two floats that enclose a square root."""
    numerator, denominator = square.numerator, square.denominator
    # Half of these bits, at least 64, are left in the root.
    bits = 2 * max(0, 64 + denominator.bit_length() - numerator.bit_length())
    root = math.isqrt((numerator << bits) // denominator)
    above = root if root * root * denominator == numerator << bits else root + 1
    return ends(Fraction(root, 1 << bits // 2), Fraction(above, 1 << bits // 2))


def _failures(quantities: dict[str, Quantity]) -> list[str]:
    """Say which errors are not within their bounds, and by how much."""
    return [
        f"The {QUANTITIES[name][0]} "
        f"{'exceeds' if quantity.verdict is Verdict.OUTSIDE else 'is not decided to be within'} "
        f"{' + '.join(QUANTITIES[name][1])}: {quantity.error[0] if quantity.error else math.inf:.3g} "
        f"against {quantity.bound:.3g}."
        for name, quantity in quantities.items()
        if quantity.verdict is not Verdict.WITHIN
    ]
