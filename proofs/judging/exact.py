"""An implementation's certificate beside its enclosed error, for one head.

The truth is ``reference.attention`` on the head's floats taken as exact; float32 lifts to float64 exactly,
so one enclosure judges both types.  Every verdict is decided exactly, and one that no precision decides
counts as a failure.  So does an output that is further off than rounding in its type explains, and a bound
that says no more than a trivial answer (``proofs.judging.bars``).
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proofs.judging.bars import rounding_bar, trivial_error
from proofs.judging.heads import Head, InputError, Matrix
from proofs.judging.hypotheses import Measurements, Paper, measure, papers, rounded_up
from reference import Enclosure, Verdict, attention, decide
from reference.arithmetic.decide import PRECISIONS

__all__ = [
    "BUDGET",
    "Answer",
    "Attention",
    "Examination",
    "Run",
    "checked_rows",
    "examine",
    "implementation",
    "judged",
    "unusable",
]

Attention = Callable[[Matrix, Matrix, Matrix], Any]

#: Logits enclosed for one head: 4 s at 128 bits.  Of a larger head a random subset of rows is checked.
BUDGET = 1 << 18

#: Seed of the generator that an implementation is given.
SEED = 0


@dataclass(frozen=True)
class Run:
    """What an implementation answered in one floating-point type, judged.

    Attributes
    ----------
    dtype
        The type it ran in.
    verdict
        Whether every checked entry is within its own bound; None if there was no usable answer.
    error
        Ends of an enclosure of the largest error over the checked rows, rounded outward.
    bound
        The largest certified bound over the checked rows.
    claims
        The ids of the claims that the implementation names for its bound.
    failure
        What is wrong, in sentences; empty if every error is within its bound.
    """

    dtype: str
    verdict: Verdict | None
    error: tuple[float, float] | None = None
    bound: float | None = None
    claims: tuple[str, ...] = ()
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether every checked error is within its bound, for certain."""
        return self.verdict is Verdict.WITHIN

    @property
    def ratio(self) -> float | None:
        """Largest bound over largest error (its upper end); None where the error may be zero."""
        if self.error is None or self.bound is None or self.error[0] <= 0:
            return None
        return self.bound / self.error[1]


class Answer(NamedTuple):
    """What is judged of an implementation's answer."""

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


@dataclass(frozen=True)
class Examination:
    """Everything the command says about one head."""

    name: str
    dtype: str
    rows: tuple[int, ...]
    measurements: Measurements
    papers: tuple[Paper, ...]
    runs: tuple[Run, ...]

    @property
    def passed(self) -> bool:
        """Whether every run passed."""
        return all(run.passed for run in self.runs)


def implementation(name: str, *functions: str) -> ModuleType:
    """Load the implementation under test, a module with at least one of ``functions``, by name.

    Raises
    ------
    InputError
        If there is no such module, it fails to load, or it has no function of these names.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            module = importlib.import_module(name)
    except Exception as error:
        raise InputError(
            f"--impl must name an importable module, got {name!r}: {type(error).__name__}: {error}."
        ) from None
    if not any(callable(getattr(module, function, None)) for function in functions):
        raise InputError(
            f"--impl must name a module with a function {' or '.join(functions)}, got {name!r}."
        )
    return module


def examine(
    head: Head,
    attend: Attention,
    *,
    budget: int = BUDGET,
    rng: np.random.Generator | None = None,
) -> Examination:
    """Measure a head, run an implementation on it in every type that holds it, and judge the answers.

    A float64 head runs in float32 too only if float32 holds all of its entries exactly: else that
    would be another head, with another truth.

    Parameters
    ----------
    head
        The head.
    attend
        ``attention`` of the implementation under test; it is given copies.
    budget
        The most logits to enclose.  Where the head has more, ``budget // n_k`` random rows are checked.
    rng
        Draws those rows; by default one that nobody can foresee.
    """
    types = [np.float32, np.float64]
    with np.errstate(over="ignore", under="ignore"):
        if not all(np.array_equal(x.astype(np.float32), x) for x in head.matrices):
            types.remove(np.float32)
    answers = [_asked(attend, head, np.dtype(t)) for t in types]
    # Drawn when the answers are fixed.
    rows = checked_rows(head, budget, np.random.default_rng() if rng is None else rng)
    Q, K, V = head.Q[rows], head.K, head.V
    truth = cache(lambda bits: attention(Q, K, V, precision=bits))
    runs = tuple(
        answer if isinstance(answer, Run) else _judged(answer, head, np.dtype(t), rows, truth)
        for t, answer in zip(types, answers, strict=True)
    )
    measurements = measure(head)
    return Examination(
        head.name, head.K.dtype.name, tuple(rows.tolist()), measurements, papers(measurements), runs
    )


def checked_rows(head: Head, budget: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the rows with ``budget`` logits, at least one: all of them, or a random subset."""
    affordable = max(1, budget // len(head.K))
    if affordable >= len(head.Q):
        return np.arange(len(head.Q))
    return np.sort(rng.choice(len(head.Q), affordable, replace=False))


def _asked(attend: Attention, head: Head, dtype: np.dtype[Any]) -> Answer | Run:
    """Return the answer in a type, or what to say where there is none."""
    try:
        # An implementation may warn, or overwrite its arguments: neither reaches the reader or the truth.
        with warnings.catch_warnings(action="ignore"):
            return Answer.of(attend(*(x.astype(dtype) for x in head.matrices)))
    except Exception as error:
        return Run(dtype.name, None, failure=f"attention raised {type(error).__name__}: {error}")


def _judged(
    answer: Answer,
    head: Head,
    dtype: np.dtype[Any],
    rows: NDArray[np.intp],
    truth: Callable[[int], Enclosure],
) -> Run:
    """Judge an answer by its own bound, then by what rounding and trivial answers reach."""
    call = f"attention(*(arrays[f'{head.name}/{{x}}'].astype('{dtype}') for x in 'QKV'))"
    run = judged(answer, head, dtype, rows, truth, call)
    if not run.passed or run.bound is None:
        return run
    Q, K, V = (x.astype(dtype) for x in head.matrices)
    trivial = trivial_error([truth(PRECISIONS[0])], V)
    half = np.inf if trivial is None else rounded_up(trivial / 2)
    rounding = np.minimum(rounding_bar(Q[rows], K, V), half)
    if decide(truth, answer.output[rows], rounding)[0] is not Verdict.WITHIN:
        problem = (
            f"The largest error, {run.error[1] if run.error else np.inf:.3g}, is inside its bound, but more "
            f"than rounding in {dtype} explains, which is {rounding.max():.3g}. Reproduce with {call}."
        )
    elif run.bound > half:
        problem = (
            f"error_bound reaches {run.bound:.3g} and must not exceed {half:.3g}, half of what an answer "
            f"errs that looks at no query: it says nothing. Reproduce with {call}."
        )
    else:
        return run
    return replace(run, verdict=Verdict.OUTSIDE, failure=problem)


def judged(
    answer: Answer,
    head: Head,
    dtype: np.dtype[Any],
    rows: NDArray[np.intp],
    truth: Callable[[int], Enclosure],
    asked: str,
) -> Run:
    """Judge an answer on a head: whether all entries of ``rows`` are within their bounds of the truth.

    Parameters
    ----------
    answer, head, dtype, rows
        What was answered on which head, in which type, and the rows to check.
    truth
        What encloses those rows of the output, at given bits.
    asked
        The call that gave the answer, for a reader to repeat.
    """
    output, bound, claims = answer
    shape = (len(head.Q), head.V.shape[1])
    problem = unusable(output, bound, shape)
    if problem:
        return Run(dtype.name, None, claims=claims, failure=problem)
    bound = np.broadcast_to(bound[:, None] if bound.ndim == 1 else bound, shape)
    output, bound = output[rows], bound[rows]
    verdict, enclosure = decide(truth, output, bound)
    lower, upper = enclosure.distance(output).largest()
    return Run(
        dtype.name,
        verdict,
        error=(max(0.0, -rounded_up(-lower)), rounded_up(upper)),
        bound=float(bound.max()),
        claims=claims,
        failure=_failure(asked, rows, output, bound, verdict, enclosure),
    )


def unusable(output: Matrix, bound: Matrix, shape: tuple[int, int]) -> str:
    """Say why an answer cannot be judged, if it cannot."""
    for name, array, shapes in (
        ("output", output, (shape,)),
        ("error_bound", bound, ((), shape[:1], shape)),
    ):
        if array.dtype.type not in (np.float32, np.float64):
            return f"{name} must hold float32 or float64, got {array.dtype}."
        if array.shape not in shapes:
            allowed = " or ".join(str(s) for s in shapes)
            return f"{name} must have shape {allowed}, got {array.shape}."
        if not np.isfinite(array).all():
            return f"{name} holds {np.count_nonzero(~np.isfinite(array))} NaN or infinite entries."
    return ""


def _failure(
    asked: str,
    rows: NDArray[np.intp],
    output: Matrix,
    bound: Matrix,
    verdict: Verdict,
    enclosure: Enclosure,
) -> str:
    """Say how many entries are not within their bound, which exceeds it most, and how to see it."""
    if verdict is Verdict.WITHIN:
        return ""
    failing = np.argwhere(enclosure.verdict(output, bound) != Verdict.WITHIN)
    _, upper = enclosure.distance(output).bounds()
    excess, i, column = max((upper[i, j] - Fraction(float(bound[i, j])), i, j) for i, j in failing)
    error = rounded_up(excess + Fraction(float(bound[i, column])))
    fails = "is not decided to be within its" if verdict is Verdict.UNDECIDED else "exceeds its"
    return (
        f"{len(failing)} of {output.size} entries {'are' if len(failing) > 1 else 'is'} not within "
        f"{'their bounds' if len(failing) > 1 else 'the bound'}; the error of entry "
        f"[{rows[i]}, {column}] {fails} bound most: {error:.3g} against {bound[i, column]:.3g}. "
        f"Reproduce with {asked}.output[{rows[i]}, {column}]."
    )
