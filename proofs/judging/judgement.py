"""What every judge finds: an answer of an implementation beside the truth, and how to see it again.

Each judge asks one function of an implementation about one thing, a head or a feature matrix, in one or
several ways, and answers with an :class:`Examination` of :class:`Judgement` s.  What is particular to a
stem is in a subclass of its own; how outputs of attention are judged, row by row, is here, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from proofs.judging.heads import Matrix
from proofs.judging.hypotheses import rounded_up
from reference import Enclosure, Verdict, attention, decide

__all__ = [
    "SEED",
    "Answer",
    "Ends",
    "Examination",
    "Judgement",
    "Truth",
    "checked_rows",
    "enclosed",
    "ends",
    "exceeding",
    "head_call",
    "judge_rows",
    "unusable",
]

#: Seed of what an implementation is given: generators, starts and the rows that it is asked to read.  A
#: second run asks the same; which rows of an answer are checked nobody can foresee.
SEED = 0

#: Ends of an enclosure, rounded outward.
Ends = tuple[float, float]

#: What encloses some rows of the truth, at given bits.
Truth = Callable[[int], Enclosure]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One answer of an implementation, judged.

    Attributes
    ----------
    name
        The head, matrix or history that it was asked about.
    asked
        In which way, in words; empty where there is one.
    dtype
        The floating-point type that it was asked in.
    verdict
        Whether every checked error is within its bound; None if there was no usable answer.
    error
        Ends of an enclosure of the largest error that was checked, rounded outward; None if there is
        none, or it is infinite.
    bound
        The largest certified bound on what was checked.
    rows, row_count
        The rows that were checked, and how many there are.
    claims
        The ids of the claims that the implementation names for its bound.
    refusal
        Why the implementation declined, in numbers, if it did; that is no failure.
    failure
        What is wrong, in sentences; empty if every error is within its bound.
    call
        What to evaluate to see it.
    """

    name: str
    asked: str = ""
    dtype: str
    verdict: Verdict | None = None
    error: Ends | None = None
    bound: float | None = None
    rows: tuple[int, ...] = ()
    row_count: int
    claims: tuple[str, ...] = ()
    refusal: str = ""
    failure: str = ""
    call: str = ""

    @property
    def passed(self) -> bool:
        """Whether every checked error is within its bound, for certain, or nothing was certified."""
        return not self.failure and (self.verdict is Verdict.WITHIN or bool(self.refusal))

    @property
    def outcome(self) -> str:
        """The verdict in a word or two."""
        if self.refusal and not self.failure:
            return "REFUSED"
        return self.verdict.name if self.verdict else "NO ANSWER"

    @property
    def ratio(self) -> float | None:
        """Largest bound over largest error (its upper end); None where the error may be zero."""
        if self.error is None or self.bound is None or self.error[0] <= 0:
            return None
        return self.bound / self.error[1]

    @property
    def where(self) -> str:
        """What was asked of what, in words."""
        return f"{self.name} {self.asked}".rstrip()

    @property
    def sentences(self) -> str:
        """What is wrong, and how to see it."""
        again = f" Reproduce with {self.call}." if self.call and self.verdict else ""
        return self.failure and self.failure + again


Found = TypeVar("Found", bound=Judgement)


@dataclass(frozen=True, kw_only=True)
class Examination(Generic[Found]):
    """Everything that was found about one head, feature matrix or history of replacements.

    Attributes
    ----------
    name, dtype, shape
        What was examined.
    judgements
        The answers, in the order in which they were asked for.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    judgements: tuple[Found, ...]

    @property
    def passed(self) -> bool:
        """Whether every answer passed."""
        return all(judgement.passed for judgement in self.judgements)


def ends(lower: Fraction, upper: Fraction) -> Ends:
    """Return two floats that enclose a magnitude."""
    return max(0.0, -rounded_up(-lower)), rounded_up(upper)


def exceeding(
    failing: int, total: int, things: str, worst: str, verdict: Verdict, figures: Ends
) -> str:
    """Say how many things are not within their bounds, and by how much the worst is not.

    Parameters
    ----------
    failing, total
        How many are not, of how many.
    things
        What they are, in the plural.
    worst
        The worst of them.
    verdict
        Whether some bound is exceeded, or none is decided to be.
    figures
        Its error and its bound.
    """
    fails = "is not decided to be within its" if verdict is Verdict.UNDECIDED else "exceeds its"
    return (
        f"{failing} of {total} {things} {'are' if failing > 1 else 'is'} not within "
        f"{'their bounds' if failing > 1 else 'the bound'}; the error of {worst} {fails} bound most: "
        f"{figures[0]:.3g} against {figures[1]:.3g}."
    )


# ------------------------------------------------------------------------- the outputs of attention


class Answer(NamedTuple):
    """What is judged of an output of attention."""

    output: Matrix
    error_bound: Matrix
    claims: tuple[str, ...]

    @classmethod
    def of(cls, answer: Any) -> Answer:
        """Read the fields; what they raise is the implementation's fault."""
        return cls(
            np.asarray(answer.output),
            np.asarray(answer.error_bound),
            tuple(str(claim) for claim in answer.claims),
        )


def head_call(function: str, head: str, dtype: object, choices: str = "") -> str:
    """Return the call of a function on a head of a file, for a reader to repeat."""
    matrices = f"*(arrays[f'{head}/{{x}}'].astype('{dtype}') for x in 'QKV')"
    return f"{function}({matrices}{choices and ', ' + choices})"


def checked_rows(
    row_count: int, cost: int, budget: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Return the rows that ``budget`` affords at ``cost`` each, at least one: all, or a random subset."""
    affordable = max(1, budget // cost)
    if affordable >= row_count:
        return np.arange(row_count)
    return np.sort(rng.choice(row_count, affordable, replace=False))


def enclosed(Q: Matrix, K: Matrix, V: Matrix, **semantics: Any) -> Truth:
    """Return what encloses attention of these floats, computed once a precision."""
    return cache(lambda bits: attention(Q, K, V, precision=bits, **semantics))


def judge_rows(asked: Found, answer: Answer, rows: NDArray[np.intp], truth: Truth) -> Found:
    """Judge an answer: whether all entries of ``rows`` are within their bounds of the truth.

    Parameters
    ----------
    asked
        What was asked, to be completed; its call is that of the whole answer.
    answer
        What was answered.
    rows, truth
        The rows to check, and what encloses them.
    """
    output, bound, claims = answer
    shape = (asked.row_count, truth(128).shape[1])
    problem = unusable("output", output, shape)
    problem = problem or unusable("error_bound", bound, (), shape[:1], shape)
    if problem:
        return replace(asked, rows=tuple(rows.tolist()), claims=claims, failure=problem)
    bound = np.broadcast_to(bound[:, None] if bound.ndim == 1 else bound, shape)
    output, bound = output[rows], bound[rows]
    verdict, enclosure = decide(truth, output, bound)
    found = replace(
        asked,
        verdict=verdict,
        error=ends(*enclosure.distance(output).largest()),
        bound=float(bound.max()),
        rows=tuple(rows.tolist()),
        claims=claims,
    )
    if verdict is Verdict.WITHIN:
        return found
    failing = np.argwhere(enclosure.verdict(output, bound) != Verdict.WITHIN)
    _, upper = enclosure.distance(output).bounds()
    excess, i, column = max((upper[i, j] - Fraction(float(bound[i, j])), i, j) for i, j in failing)
    error = rounded_up(excess + Fraction(float(bound[i, column])))
    entry = f"[{rows[i]}, {column}]"
    figures = error, float(bound[i, column])
    return replace(
        found,
        failure=exceeding(len(failing), output.size, "entries", f"entry {entry}", verdict, figures),
        call=f"{asked.call}.output{entry}",
    )


def unusable(name: str, array: NDArray[Any], *shapes: tuple[int, ...]) -> str:
    """Say why an array of an answer cannot be judged, if it cannot; without shapes, any will do."""
    if array.dtype.type not in (np.float32, np.float64):
        return f"{name} must hold float32 or float64, got {array.dtype}."
    if shapes and array.shape not in shapes:
        return f"{name} must have shape {' or '.join(map(str, shapes))}, got {array.shape}."
    if not np.isfinite(array).all():
        return f"{name} holds {np.count_nonzero(~np.isfinite(array))} NaN or infinite entries."
    return ""
