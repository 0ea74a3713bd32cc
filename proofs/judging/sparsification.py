"""An implementation's ``sparsify`` beside its exact errors, for one feature matrix.

Each guarantee is asked for on X as it is and, where the logits X Xᵀ are too large for P3's hypothesis, on X
scaled down until they are not.  Gram matrices are compared exactly, attention matrices are enclosed, and
beside them stands what Y = 0 achieves, which meets P3's goal as printed (claim P3.goal).
"""

from __future__ import annotations

import math
import warnings
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
from reference import Enclosure, Verdict, decide, logits, softmax

__all__ = ["GUARANTEES", "Examination", "Quantity", "Run", "Scaled", "examine"]

ObjectArray = NDArray[Any]  # of Python integers
Sparsify = Callable[..., Any]

#: The guarantees of ``sparsify``, and the error asked for: 0.8 is what four columns a row buy.
GUARANTEES: dict[str, float | None] = {
    "exact": None,
    "loewner": 0.8,
    "entrywise": 0.8,
    "columns": 0.8,
}

#: Seed of the generator that ``sparsify`` is given.
SEED = 0

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

Ends = tuple[float, float]


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Run:
    """What an implementation answered to one guarantee, judged.

    Attributes
    ----------
    guarantee, epsilon
        What was asked.
    method, columns, claims
        What was done, the number of Y's columns, and the claims named for it; None and empty if there was
        no usable answer.
    quantities
        The errors by name, see ``QUANTITIES``.
    failure
        What is wrong, in sentences; empty if every error is within its bound.
    """

    guarantee: str
    epsilon: float | None
    method: str | None = None
    columns: int | None = None
    claims: tuple[str, ...] = ()
    quantities: dict[str, Quantity] | None = None
    failure: str = ""

    @property
    def verdict(self) -> Verdict | None:
        """Whether every error is within its bound; None if there was no usable answer."""
        if self.quantities is None:
            return None
        return Verdict.combine([quantity.verdict for quantity in self.quantities.values()])


@dataclass(frozen=True)
class Scaled:
    """The answers on X times a number.

    Attributes
    ----------
    scale
        The number; the products are rounded to X's type.
    logit_bound
        max |X Xᵀ| of the scaled matrix, an enclosure.
    zero_entry, zero_row
        How far Y = 0 moves the entries and rows of the attention matrix, enclosures.
    runs
        One for each guarantee.
    """

    scale: float
    logit_bound: Ends
    zero_entry: Ends
    zero_row: Ends
    runs: tuple[Run, ...]

    @property
    def hypothesis_holds(self) -> bool:
        """Whether max |X Xᵀ| < r for some r in (0, 0.1), for certain."""
        return self.logit_bound[1] < LARGEST_R


@dataclass(frozen=True)
class Examination:
    """Everything the command says about one matrix; X as it is comes first."""

    name: str
    dtype: str
    shape: tuple[int, int]
    rows: tuple[int, ...]
    scales: tuple[Scaled, ...]

    @property
    def passed(self) -> bool:
        """Whether every error is within its bound, for certain."""
        return all(run.verdict is Verdict.WITHIN for scaled in self.scales for run in scaled.runs)


def examine(
    matrix: FeatureMatrix,
    sparsify: Sparsify,
    *,
    budget: int = BUDGET,
    rng: np.random.Generator | None = None,
) -> Examination:
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
    affordable = max(1, budget // (n * (d + EXPONENTIAL)))
    rows = np.arange(n)
    if affordable < n:
        rng = np.random.default_rng() if rng is None else rng
        rows = np.sort(rng.choice(n, affordable, replace=False))
    scales = [_scaled(matrix, 1.0, rows, sparsify)]
    if not scales[0].hypothesis_holds:
        scales.append(_scaled(matrix, _scale_for_r(scales[0].logit_bound[1]), rows, sparsify))
    return Examination(matrix.name, X.dtype.name, (n, d), tuple(rows.tolist()), tuple(scales))


def _scale_for_r(logit_bound: float) -> float:
    """Return the scale that brings max |X Xᵀ| just below 0.1, rounded down to three digits."""
    # Less by a millionth than the root: no rounding of the scaled entries undoes that.
    scale = math.sqrt(LARGEST_R / logit_bound) * (1 - 2.0**-20)
    return float(Context(prec=3, rounding=ROUND_DOWN).create_decimal(scale))


def _scaled(
    matrix: FeatureMatrix, scale: float, rows: NDArray[np.intp], sparsify: Sparsify
) -> Scaled:
    X = (matrix.X.astype(np.float64) * scale).astype(matrix.X.dtype)
    lifted = Enclosure.exact(X)
    squares = Enclosure((lifted.mid**2).sum(axis=1), 0, 2 * lifted.bits)
    truth = _Truth(logits(lifted[rows], lifted), squares, rows)
    nothing = truth.gap(logits(np.zeros((len(rows), 1)), np.zeros((len(X), 1))))
    return Scaled(
        scale,
        _ends(*squares.largest()),
        _ends(*nothing(128).largest()),
        _ends(*nothing(128).sum(axis=1).largest()),
        tuple(
            _run(sparsify, X, scale, guarantee, epsilon, truth)
            for guarantee, epsilon in GUARANTEES.items()
        ),
    )


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


def _run(
    sparsify: Sparsify,
    X: Matrix,
    scale: float,
    guarantee: str,
    epsilon: float | None,
    truth: _Truth,
) -> Run:
    try:
        # An implementation may warn, or overwrite its argument: neither reaches the reader or the truth.
        with warnings.catch_warnings(action="ignore"):
            answer = sparsify(
                X.copy(),
                guarantee=guarantee,
                epsilon=epsilon,
                rng=np.random.default_rng(SEED),
            )
            Y, method = np.asarray(answer.Y), str(answer.method)
            claims = tuple(str(claim) for claim in answer.claims)
            bounds = {
                quantity: tuple(float(getattr(answer, field)) for field in fields)
                for quantity, (_, fields) in QUANTITIES.items()
            }
    except Exception as error:
        failure = f"sparsify raised {type(error).__name__}: {error}"
        return Run(guarantee, epsilon, failure=failure)
    problem = _unusable(Y, len(X), bounds)
    if problem:
        return Run(guarantee, epsilon, method, claims=claims, failure=problem)
    other = logits(Y[truth.rows], Y)
    gap = truth.gap(other)
    of_gram = _entrywise if guarantee == "entrywise" else _loewner
    quantities = {
        "gram": of_gram(truth, other, *map(Fraction, bounds["gram"])),
        "logit": _quantity(lambda bits: abs(other - truth.gram), *bounds["logit"]),
        "entry": _quantity(gap, *bounds["entry"]),
        "row": _quantity(lambda bits: gap(bits).sum(axis=1), *bounds["row"]),
    }
    beyond = ""
    if epsilon is not None and bounds["gram"][0] > epsilon:
        # Y = 0 has an error of 1 whatever X is.
        quantities["gram"] = replace(quantities["gram"], verdict=Verdict.OUTSIDE)
        beyond = f"epsilon must be at most the {epsilon} asked for, got {bounds['gram'][0]:.6g}. "
    asked = (
        f"sparsify((X.astype('float64') * {scale!r}).astype('{X.dtype}'), guarantee={guarantee!r}, "
        f"epsilon={epsilon}, rng=numpy.random.default_rng({SEED}))"
    )
    return Run(
        guarantee,
        epsilon,
        method,
        Y.shape[1],
        claims,
        quantities,
        beyond + _failure(quantities, asked),
    )


def _unusable(Y: Matrix, n: int, bounds: dict[str, tuple[float, ...]]) -> str:
    """Say why an answer cannot be judged, if it cannot."""
    if Y.dtype.type not in (np.float32, np.float64):
        return f"Y must hold float32 or float64, got {Y.dtype}."
    if Y.ndim != 2 or len(Y) != n or not Y.size:
        return f"Y must have shape ({n}, m) with m at least 1, got {Y.shape}."
    if not np.isfinite(Y).all():
        return f"Y holds {np.count_nonzero(~np.isfinite(Y))} NaN or infinite entries."
    for quantity, (_, fields) in QUANTITIES.items():
        for field, value in zip(fields, bounds[quantity], strict=True):
            if not (math.isfinite(value) and value >= 0):
                return f"{field} must be finite and at least 0, got {value}."
    return ""


def _quantity(enclose: Callable[[int], Enclosure], bound: float) -> Quantity:
    verdict, enclosure = decide(enclose, 0, bound)
    return Quantity(_ends(*enclosure.largest()), bound, verdict)


def _entrywise(truth: _Truth, other: Enclosure, epsilon: Fraction, slack: Fraction) -> Quantity:
    """Judge |H − G|_ij ≤ (ε + slack) sqrt(G_ii G_jj) for all entries of the checked rows, exactly."""
    difference = other - truth.gram
    squares = truth.squares.at(difference.bits).mid
    products = np.multiply.outer(squares[truth.rows], squares)
    pairs = zip(difference.mid.ravel().tolist(), products.ravel().tolist(), strict=True)
    return _judged(_largest((x * x, y) for x, y in pairs), epsilon + slack, root=True)


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
    return _judged(_largest(pairs), epsilon + slack)


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


def _judged(error: Fraction | None, bound: Fraction, *, root: bool = False) -> Quantity:
    """Judge an error that is known exactly, or whose square is."""
    if error is None:
        return Quantity(None, rounded_up(bound), Verdict.OUTSIDE)
    verdict = Verdict.WITHIN if error <= (bound**2 if root else bound) else Verdict.OUTSIDE
    return Quantity(_root(error) if root else _ends(error, error), rounded_up(bound), verdict)


def _root(square: Fraction) -> Ends:
    """Return two floats that enclose a square root."""
    numerator, denominator = square.numerator, square.denominator
    # Half of these bits, at least 64, are left in the root.
    bits = 2 * max(0, 64 + denominator.bit_length() - numerator.bit_length())
    root = math.isqrt((numerator << bits) // denominator)
    above = root if root * root * denominator == numerator << bits else root + 1
    return _ends(Fraction(root, 1 << bits // 2), Fraction(above, 1 << bits // 2))


def _ends(lower: Fraction, upper: Fraction) -> Ends:
    return max(0.0, -rounded_up(-lower)), rounded_up(upper)


def _failure(quantities: dict[str, Quantity], asked: str) -> str:
    """Say which errors are not within their bounds, by how much, and how to see it."""
    sentences = []
    for name, quantity in quantities.items():
        if quantity.verdict is not Verdict.WITHIN:
            exceeds = quantity.verdict is Verdict.OUTSIDE
            words, fields = QUANTITIES[name]
            sentences.append(
                f"The {words} {'exceeds' if exceeds else 'is not decided to be within'} "
                f"{' + '.join(fields)}: {quantity.error[0] if quantity.error else math.inf:.3g} "
                f"against {quantity.bound:.3g}."
            )
    if sentences:
        sentences.append(f"Reproduce with {asked}.")
    return " ".join(sentences)
