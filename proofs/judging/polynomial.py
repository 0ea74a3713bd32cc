"""An implementation's ``polynomial_attention`` beside its exact errors, for one head.

A polynomial of degree g in place of exp takes C(d + g, g) features.  Where the implementation refuses a head
because they are too many, it is asked for the head cut to its first columns of Q and K, so that its
certificate meets real numbers all the same.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from proofs.judging.bars import trivial_error
from proofs.judging.heads import Head
from proofs.judging.hypotheses import measure
from proofs.judging.implementation import Unanswered, ask
from proofs.judging.judgement import (
    Answer,
    Examination,
    Judgement,
    checked_rows,
    enclosed,
    judge_rows,
)
from reference.arithmetic.decide import PRECISIONS

__all__ = ["COLUMNS_KEPT", "TOLERANCE", "Expansion", "PolynomialJudgement", "examine"]

PolynomialAttention = Callable[..., Any]

#: The error asked for, relative to the largest |V|.
TOLERANCE = 1e-3

#: How many columns of Q and K are kept of a head that is refused.
COLUMNS_KEPT = 4

#: Logits enclosed for one head: 0.3 s.  Of a larger head a random subset of rows is checked.
BUDGET = 1 << 14


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class PolynomialJudgement(Judgement):
    """What an implementation answered on the first d columns of Q and K.

    Attributes
    ----------
    columns_kept
        How many.
    half_row_range
        Half of the largest difference of two logits in one row, rounded upward: the least bound on the
        logits that centring can reach.
    expansion
        Its cost; None if there was no usable answer.
    """

    columns_kept: int
    half_row_range: float
    expansion: Expansion | None = None

    @property
    def feasible(self) -> bool:
        """Whether there was a usable answer."""
        return self.verdict is not None


def examine(
    head: Head,
    polynomial_attention: PolynomialAttention,
    *,
    budget: int = BUDGET,
    rng: np.random.Generator | None = None,
) -> Examination[PolynomialJudgement]:
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
    found = [_judged(head, d, polynomial_attention, budget, rng)]
    if found[0].refusal and d > COLUMNS_KEPT:
        found.append(_judged(head, COLUMNS_KEPT, polynomial_attention, budget, rng))
    return Examination(
        name=head.name, dtype=head.K.dtype.name, shape=(len(head.Q), d), judgements=tuple(found)
    )


def _judged(
    head: Head,
    d: int,
    polynomial_attention: PolynomialAttention,
    budget: int,
    rng: np.random.Generator,
) -> PolynomialJudgement:
    """Judge an answer by the truth, and its bound by the tolerance and trivial answers too."""
    cut = Head(head.name, head.Q[:, :d], head.K[:, :d], head.V)
    asked = PolynomialJudgement(
        name=head.name,
        asked=f"with d = {d}",
        dtype=head.V.dtype.name,
        row_count=len(head.Q),
        call=(
            f"polynomial_attention(*(arrays[f'{head.name}/{{x}}'].astype('{head.V.dtype}')[:, :columns] "
            f"for x, columns in (('Q', {d}), ('K', {d}), ('V', None))), tolerance={TOLERANCE})"
        ),
        columns_kept=d,
        half_row_range=measure(cut).half_row_range,
    )
    found = ask("polynomial_attention", lambda: _asked(polynomial_attention, cut))
    if isinstance(found, Unanswered):
        return replace(asked, failure=found.failure)
    answer, expansion = found
    problem = _unusable(expansion, d)
    if problem:
        return replace(asked, failure=problem)
    asked = replace(asked, expansion=expansion)
    if answer is None:
        return replace(
            asked,
            refusal=f"A polynomial of degree {expansion.degree} takes {expansion.features:.3g} features, "
            f"{expansion.bytes:.3g} bytes, or more.",
        )
    rows = checked_rows(len(cut.Q), len(cut.K), budget, rng)
    truth = enclosed(cut.Q[rows], cut.K, cut.V)
    run = judge_rows(asked, answer, rows, truth)
    # One unit more: the product is rounded, and a bound on an error of zero may be the least float.
    allowed = math.nextafter(TOLERANCE * float(np.abs(head.V).max()), math.inf)
    if run.bound is not None and run.bound > allowed:
        problem = f"error_bound must be at most {allowed:.3g}, got {run.bound:.3g}."
        return replace(run, verdict=None, error=None, bound=None, failure=problem)
    trivial = trivial_error([truth(PRECISIONS[0])], head.V)
    if run.bound is not None and trivial is not None and run.bound >= trivial:
        problem = (
            f"error_bound must be less than {float(trivial):.3g}, which an answer errs that looks at no "
            f"query, got {run.bound:.3g}."
        )
        return replace(run, verdict=None, error=None, bound=None, failure=problem)
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
    degree, features, size = counts
    return Expansion(
        logit_bound=float(stated.logit_bound), degree=degree, features=features, bytes=size
    )


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
