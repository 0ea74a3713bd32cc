"""An implementation's certificate beside its enclosed error, for one head.

The truth is ``reference.attention`` on the head's floats taken as exact; float32 lifts to float64 exactly,
so one enclosure judges both types.  Every verdict is decided exactly, and one that no precision decides
counts as a failure.  So does an output that is further off than rounding in its type explains, and a bound
that says no more than a trivial answer (``proofs.judging.bars``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.judging.bars import (
    rounding_bar,
    rounding_bar_of_heads,
    trivial_error,
    trivial_error_of_heads,
)
from proofs.judging.heads import Head
from proofs.judging.hypotheses import Measurements, Paper, measure, papers, rounded_up
from proofs.judging.implementation import Unanswered, ask
from proofs.judging.judgement import (
    Answer,
    Examination,
    Judgement,
    Truth,
    checked_rows,
    enclosed,
    head_call,
    judge_rows,
)
from reference import Verdict, decide
from reference.arithmetic.decide import PRECISIONS
from reference.visibility import visible

__all__ = ["BUDGET", "Attention", "HeadExamination", "examine"]

Attention = Callable[..., Any]

#: Logits enclosed for one head: 4 s at 128 bits.  Of a larger head a random subset of rows is checked.
BUDGET = 1 << 18


@dataclass(frozen=True, kw_only=True)
class HeadExamination(Examination[Judgement]):
    """What was found about a head, and which papers' hypotheses hold for it."""

    measurements: Measurements
    papers: tuple[Paper, ...]


def examine(
    head: Head,
    attend: Attention,
    *,
    causal: bool = False,
    budget: int = BUDGET,
    rng: np.random.Generator | None = None,
) -> HeadExamination:
    """Measure a head, run an implementation on it in every type that holds it, and judge the answers.

    A float64 head runs in float32 too only if float32 holds all of its entries exactly: else that
    would be another head, with another truth.

    Parameters
    ----------
    head
        The head.
    attend
        ``attention`` of the implementation under test; it is given copies.
    causal
        Whether to ask for causal attention, of as many queries as keys.
    budget
        The most logits to enclose.  Where the head has more, ``budget // n_k`` random rows are checked.
    rng
        Draws those rows; by default one that nobody can foresee.
    """
    types = ["float32", "float64"]
    with np.errstate(over="ignore", under="ignore"):
        if not all(np.array_equal(x.astype(np.float32), x) for x in head.matrices):
            types.remove("float32")

    def answered(dtype: str) -> Answer:
        asked = {"causal": True} if causal else {}
        return Answer.of(attend(*(x.astype(dtype) for x in head.matrices), **asked))

    answers = [ask("attention", partial(answered, dtype)) for dtype in types]
    # Drawn when the answers are fixed.
    rng = np.random.default_rng() if rng is None else rng
    rows = checked_rows(len(head.Q), len(head.K), budget, rng)
    seen = visible(len(head.Q), len(head.K), causal=True)[rows] if causal else None
    truth = enclosed(head.Q[rows], head.K, head.V, mask=seen)
    measurements = measure(head)
    return HeadExamination(
        name=head.name,
        dtype=head.K.dtype.name,
        shape=(len(head.Q), len(head.K)),
        judgements=tuple(
            _judged(answer, head, dtype, rows, truth, seen)
            for dtype, answer in zip(types, answers, strict=True)
        ),
        measurements=measurements,
        papers=papers(measurements),
    )


def _judged(
    answer: Answer | Unanswered,
    head: Head,
    dtype: str,
    rows: NDArray[np.intp],
    truth: Truth,
    seen: NDArray[np.bool_] | None,
) -> Judgement:
    """Judge an answer by its own bound, then by what rounding and trivial answers reach.

    ``seen`` says which keys the rows see, if not all.
    """
    call = head_call("attention", head.name, dtype, "" if seen is None else "causal=True")
    asked = Judgement(
        name=head.name,
        asked=f"in {dtype}",
        dtype=dtype,
        rows=tuple(rows.tolist()),
        row_count=len(head.Q),
        call=call,
    )
    if isinstance(answer, Unanswered):
        return replace(asked, failure=answer.failure)
    run = judge_rows(asked, answer, rows, truth)
    if not run.passed or run.bound is None:
        return run
    Q, K, V = (x.astype(dtype) for x in head.matrices)
    if seen is None:
        trivial, bar = trivial_error([truth(PRECISIONS[0])], V), rounding_bar(Q[rows], K, V)
    else:
        trivial = trivial_error_of_heads(truth(PRECISIONS[0]), V, seen)
        bar = rounding_bar_of_heads(Q[rows], K, V, mask=seen)
    half = np.inf if trivial is None else rounded_up(trivial / 2)
    rounding = np.minimum(bar, half)
    if decide(truth, answer.output[rows], rounding)[0] is not Verdict.WITHIN:
        problem = (
            f"The largest error, {run.error[1] if run.error else np.inf:.3g}, is inside its bound, but more "
            f"than rounding in {dtype} explains, which is {rounding.max():.3g}."
        )
    elif run.bound > half:
        problem = (
            f"error_bound reaches {run.bound:.3g} and must not exceed {half:.3g}, half of what an answer "
            "errs that looks at no query: it says nothing."
        )
    else:
        return run
    return replace(run, verdict=Verdict.OUTSIDE, failure=problem)
