"""What a case of the conformance suite shows, and what decides it, whichever function was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.evidence.cases import Case, Refusal
from proofs.judging.bars import (
    rounding_bar,
    rounding_bar_of_heads,
    trivial_error,
    trivial_error_of_heads,
)
from reference import Enclosure, Verdict, decide
from reference.heads import heads

__all__ = [
    "NonConformanceError",
    "Outcome",
    "bars",
    "require",
    "seen_keys",
    "sees_nothing",
    "usable_bound",
    "within",
]

Array = NDArray[Any]


class NonConformanceError(AssertionError):
    """An implementation broke its contract; the message says where, by how much, and how to repeat it."""


@dataclass(frozen=True)
class Outcome:
    """What one case showed: the largest error (an upper bound on it) beside the largest bound."""

    case: Case | Refusal
    error: Fraction
    bound: float
    failure: str = ""
    missing: tuple[str, ...] = ()


def bars(case: Case, truth: Enclosure) -> tuple[Fraction | None, Array]:
    """Return what a trivial answer errs and what rounding explains."""
    if not case.semantics and case.Q.ndim == 2 and isinstance(case.causal, bool):
        trivial = trivial_error([truth], case.V, causal=case.causal)
        return trivial, rounding_bar(case.Q, case.K, case.V, causal=case.causal)
    return (
        trivial_error_of_heads(truth, case.V, seen_keys(case)),
        rounding_bar_of_heads(case.Q, case.K, case.V, causal=case.causal, **case.semantics),
    )


def seen_keys(case: Case) -> NDArray[np.bool_]:
    """Return which keys each query of each head sees."""
    options = {name: value for name, value in case.semantics.items() if name != "empty_rows"}
    found = heads(case.Q, case.K, case.V, causal=case.causal, **options)
    seen = np.ones((*case.Q.shape[:-1], case.K.shape[-2]), bool)
    for index, head in found.items():
        if head.seen is not None:
            seen[index] = head.seen
    return seen


def sees_nothing(case: Case) -> NDArray[np.bool_]:
    """Return which queries see neither a key nor a sink."""
    if case.semantics.get("empty_rows") != "zeros" or case.semantics.get("sinks") is not None:
        return np.zeros(case.Q.shape[:-1], bool)
    return np.asarray(~seen_keys(case).any(axis=-1))


def within(
    case: Case,
    truth: Callable[[int], Enclosure],
    output: Array,
    bound: Array,
    what: str,
    call: str = "attention(case.Q, case.K, case.V, causal=case.causal, **case.semantics)",
) -> None:
    """Require that every error is at most ``bound``, which is ``what``, or say where it is not."""
    verdict, enclosure = decide(truth, output, bound)
    if verdict is Verdict.WITHIN:
        return
    each = enclosure.verdict(output, bound)
    at = tuple(int(x[0]) for x in np.nonzero(each != Verdict.WITHIN))
    observed = enclosure[at].distance(output[at]).largest()[1]
    raise NonConformanceError(
        f"{case.name}: the error at {list(at)} is {float(observed):.6g}, {what} "
        f"{float(bound[at]):.6g} ({verdict.name.lower()}); {np.count_nonzero(each != Verdict.WITHIN)} "
        f"of {each.size} entries fail.  This case catches {case.catches}.  To repeat it: "
        f"case = proofs.evidence.conformance.case({case.name!r}); implementation.{call}"
    )


def require(condition: bool, case: Case | Refusal, message: str) -> None:
    """Fail a case with a message unless a condition holds."""
    if not condition:
        raise NonConformanceError(f"{case.name}: {message}.")


def usable_bound(case: Case, stated: Any, shape: tuple[int, ...], half: Any) -> Array:
    """Return a stated bound for every entry, or say why it says nothing."""
    bound = np.asarray(stated, dtype=np.float64)
    require(
        bool(np.isfinite(bound).all() and (bound >= 0).all()), case, "error_bound is not finite"
    )
    bound = np.broadcast_to(bound[..., None] if bound.shape == shape[:-1] else bound, shape)
    require(
        bool((bound <= half).all()),
        case,
        f"error_bound reaches {bound.max():.6g} and must not exceed {half:.6g}, half of what an answer "
        "errs that looks at no query: it says nothing",
    )
    return bound
