"""An implementation's ``polynomial_attention`` beside its exact errors, for one head.

A polynomial of degree g in place of exp takes C(d + g, g) features.  Where the implementation refuses a head
because they are too many, it is asked for the head cut to its first columns of Q and K, so that its
certificate meets real numbers all the same.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.judging.bars import trivial_error
from proofs.judging.exact import Answer, Run, checked_rows, judged
from proofs.judging.heads import Head
from proofs.judging.hypotheses import measure
from reference import attention
from reference.arithmetic.decide import PRECISIONS

__all__ = ["COLUMNS_KEPT", "TOLERANCE", "Examination", "Expansion", "Instance", "examine"]

PolynomialAttention = Callable[..., Any]

#: The error asked for, relative to the largest |V|.
TOLERANCE = 1e-3

#: How many columns of Q and K are kept of a head that is refused.
COLUMNS_KEPT = 4

#: Logits enclosed for one head: 0.3 s.  Of a larger head a random subset of rows is checked.
BUDGET = 1 << 14


@dataclass(frozen=True)
class Expansion:
    """What replacing exp by a polynomial takes, as the implementation states it.

    Attributes
    ----------
    logit_bound
        Bound on the logits after centring.
    degree
        Of the polynomial; of a refusal, the least that might do.
    features
        How many monomials of the d variables there are up to it.
    bytes
        Of their moments.
    """

    logit_bound: float
    degree: int
    features: int
    bytes: int


@dataclass(frozen=True)
class Instance:
    """What an implementation answered on the first d columns of Q and K.

    Attributes
    ----------
    d
        How many.
    half_row_range
        Half of the largest difference of two logits in one row, rounded upward: the least bound on the
        logits that centring can reach.
    rows
        The rows that were checked; none where there was no answer.
    expansion
        Its cost; None if there was no usable answer.
    run
        The answer, judged; None if the head was refused.
    """

    d: int
    half_row_range: float
    rows: tuple[int, ...]
    expansion: Expansion | None
    run: Run | None

    @property
    def feasible(self) -> bool:
        """Whether there was a usable answer."""
        return self.run is not None and self.run.verdict is not None

    @property
    def passed(self) -> bool:
        """Whether every checked error is within its bound, for certain, or the head was refused."""
        return self.run is None or self.run.passed


@dataclass(frozen=True)
class Examination:
    """Everything the command says about one head; the head as it is comes first."""

    name: str
    dtype: str
    shape: tuple[int, int]
    instances: tuple[Instance, ...]

    @property
    def passed(self) -> bool:
        """Whether no answer was wrong."""
        return all(instance.passed for instance in self.instances)


def examine(
    head: Head,
    polynomial_attention: PolynomialAttention,
    *,
    budget: int = BUDGET,
    rng: np.random.Generator | None = None,
) -> Examination:
    """Ask an implementation for a head and, where it refuses, for its first columns; judge it.

    Parameters
    ----------
    head
        The head.
    polynomial_attention
        That function of the implementation under test; it is given copies.  A refusal is a ValueError
        with an attribute ``expansion``.
    budget
        The most logits to enclose.  Where the head has more, ``budget // n_k`` random rows are checked.
    rng
        Draws those rows, when the answer is fixed; by default one that nobody can foresee.
    """
    d = head.Q.shape[1]
    rng = np.random.default_rng() if rng is None else rng
    instances = [_instance(head, d, polynomial_attention, budget, rng)]
    if instances[0].run is None and d > COLUMNS_KEPT:
        instances.append(_instance(head, COLUMNS_KEPT, polynomial_attention, budget, rng))
    return Examination(head.name, head.K.dtype.name, (len(head.Q), d), tuple(instances))


def _instance(
    head: Head,
    d: int,
    polynomial_attention: PolynomialAttention,
    budget: int,
    rng: np.random.Generator,
) -> Instance:
    cut = Head(head.name, head.Q[:, :d], head.K[:, :d], head.V)
    half_row_range = measure(cut).half_row_range
    try:
        # An implementation may warn, or overwrite its arguments: neither reaches the reader or the truth.
        with warnings.catch_warnings(action="ignore"):
            answer, expansion = _asked(polynomial_attention, cut)
        problem = _unusable(expansion, d)
    except Exception as error:
        problem = f"polynomial_attention raised {type(error).__name__}: {error}"
    if problem:
        run = Run(cut.V.dtype.name, None, failure=problem)
        return Instance(d, half_row_range, (), None, run)
    if answer is None:
        return Instance(d, half_row_range, (), expansion, None)
    rows = checked_rows(cut, budget, rng)
    run = _judged(answer, cut, rows)
    return Instance(d, half_row_range, tuple(rows.tolist()), expansion, run)


def _judged(answer: Answer, head: Head, rows: NDArray[np.intp]) -> Run:
    """Judge an answer by the truth, and its bound by the tolerance too."""
    dtype, d = head.V.dtype, head.Q.shape[1]
    truth = cache(lambda bits: attention(head.Q[rows], head.K, head.V, precision=bits))
    asked = (
        f"polynomial_attention(*(arrays[f'{head.name}/{{x}}'].astype('{dtype}')[:, :columns] "
        f"for x, columns in (('Q', {d}), ('K', {d}), ('V', None))), tolerance={TOLERANCE})"
    )
    run = judged(answer, head, dtype, rows, truth, asked)
    # One unit more: the product is rounded, and a bound on an error of zero may be the least float.
    allowed = math.nextafter(TOLERANCE * float(np.abs(head.V).max()), math.inf)
    if run.bound is not None and run.bound > allowed:
        problem = f"error_bound must be at most {allowed:.3g}, got {run.bound:.3g}."
        return Run(dtype.name, None, claims=run.claims, failure=problem)
    trivial = trivial_error([truth(PRECISIONS[0])], head.V)
    if run.bound is not None and trivial is not None and run.bound >= trivial:
        problem = (
            f"error_bound must be less than {float(trivial):.3g}, which an answer errs that looks at no "
            f"query, got {run.bound:.3g}."
        )
        return Run(dtype.name, None, claims=run.claims, failure=problem)
    return run


def _asked(
    polynomial_attention: PolynomialAttention, head: Head
) -> tuple[Answer | None, Expansion]:
    """Return the answer, None if it is a refusal, and the expansion that it states."""
    try:
        answer = polynomial_attention(*(x.copy() for x in head.matrices), tolerance=TOLERANCE)
    except ValueError as refusal:
        if not hasattr(refusal, "expansion"):
            raise
        return None, _expansion(refusal.expansion)
    return Answer.of(answer), _expansion(answer.expansion)


def _expansion(stated: Any) -> Expansion:
    counts = (operator.index(getattr(stated, name)) for name in ("degree", "features", "bytes"))
    return Expansion(float(stated.logit_bound), *counts)


def _unusable(expansion: Expansion, d: int) -> str:
    """Say what an expansion states that cannot be."""
    degree = expansion.degree
    if not (math.isfinite(expansion.logit_bound) and expansion.logit_bound >= 0):
        return f"logit_bound must be finite and at least 0, got {expansion.logit_bound}."
    if degree < 0 or expansion.features != math.comb(d + degree, d):
        return (
            f"features must be C({d} + degree, {d}), got {expansion.features} for degree {degree}."
        )
    return ""
