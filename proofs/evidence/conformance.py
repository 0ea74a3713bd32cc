"""The conformance suite: any implementation of the public API, judged by the reference.

An implementation is a module with ``attention``, or with ``certified_attention``: one that states no bound
of its own comes as an adapter that certifies its output, or returns the bare output.  Where it has
``certify``, ``DynamicAttention`` or ``StreamingAttention``, these are asked too.  Each case names the
mistake that it is there to catch; the output is lifted exactly, the reference encloses the truth, and
``|output - truth| <= error_bound`` is decided entry by entry, or for all rows but the fraction that a
certificate leaves out.  How large a bound may be is the judge's to say (``proofs.judging.bars``):
``attention`` must be right but for rounding in its type, ``certified_attention`` to the tolerance that
it is asked for, and nothing conforms that says no more than an answer which looks at no query.
The project's own tests run these cases on ``fastpath``; authors run them on their module with
``attest conform --impl MODULE``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from inspect import Parameter, signature
from itertools import chain
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.evidence.cases import Case, Refusal, edges, real_heads, refusals
from proofs.evidence.certificates import judge_certificate, judge_options, judge_state
from proofs.evidence.feature_cases import alone, together
from proofs.evidence.outcome import (
    NonConformanceError,
    Outcome,
    bars,
    require,
    sees_nothing,
    usable_bound,
    within,
)
from proofs.evidence.state_cases import StateCase, states
from proofs.judging.heads import Head
from proofs.judging.hypotheses import rounded_up
from proofs.judging.real_heads import judge as judged_head
from reference import attention
from reference.arithmetic.decide import PRECISIONS

__all__ = [
    "Case",
    "NonConformanceError",
    "Outcome",
    "Refusal",
    "StateCase",
    "case",
    "cases",
    "judge",
    "judge_certificate",
    "judge_certified",
    "judge_options",
    "judge_refusal",
    "judge_state",
    "plain_cases",
    "refusals",
    "run",
    "run_kernel",
    "states",
]

Array = NDArray[Any]


# --------------------------------------------------------------------------------------- judging


def judge(implementation: ModuleType, case: Case) -> Outcome:
    """Run one case through ``attention``, which may return an output with its bound, or the bare output.

    Raises
    ------
    NonConformanceError
        If an input was changed, a shape or type is wrong, an error exceeds its bound or what rounding in
        the type explains, or a bound says no more than a trivial answer.
    """
    inputs = tuple(x.copy(order="K") for x in (case.Q, case.K, case.V))
    result = implementation.attention(case.Q, case.K, case.V, causal=case.causal, **case.semantics)
    for name, before, after in zip("QKV", inputs, (case.Q, case.K, case.V), strict=True):
        require(before.tobytes() == after.tobytes(), case, f"{name} was modified")
    stated = hasattr(result, "error_bound")
    output = np.asarray(result.output if stated else result)
    shape = (*case.Q.shape[:-1], case.V.shape[-1])
    require(output.shape == shape, case, f"output has shape {output.shape}, not {shape}")
    require(
        output.dtype == np.result_type(case.Q, case.K, case.V),
        case,
        f"output has type {output.dtype}; the inputs' types give another",
    )
    require(bool(np.isfinite(output).all()), case, "output is not finite")
    truth = cache(
        lambda bits: attention(
            case.Q, case.K, case.V, causal=case.causal, precision=bits, **case.semantics
        )
    )
    trivial, rounding = bars(case, truth(PRECISIONS[0]))
    half = np.inf if trivial is None else rounded_up(trivial / 2)
    rounding = np.minimum(rounding, half)
    # A row that sees nothing is zero by definition, and no enclosure decides that 0 <= 0.
    defined = sees_nothing(case)[..., None] & (output == 0)
    explained = f"what rounding in {output.dtype} explains"
    within(case, truth, output, np.where(defined, 1.0, rounding), explained)
    bound = rounding
    if stated:
        bound = usable_bound(case, result.error_bound, shape, half)
        within(case, truth, output, np.where(defined, 1.0, bound), "its bound")
    error = truth(PRECISIONS[0]).distance(output).reshape(-1).largest()[1]
    return Outcome(case, error, float(bound.max()))


def judge_certified(implementation: ModuleType, case: Case) -> Outcome:
    """Run one case through ``certified_attention``, whose bound may leave out a fraction of the rows.

    Raises
    ------
    NonConformanceError
        If there is no usable answer, the certificate is not for what was asked, or more rows exceed the
        bound than it allows.
    """
    head = Head(case.name, case.Q, case.K, case.V)
    found = judged_head(
        head,
        implementation.certified_attention,
        causal=case.causal is True,
        budget=len(case.Q) * len(case.K),
        repeats=1,
    )
    if found.bound is None or found.error is None or not found.passed:
        raise NonConformanceError(
            f"{case.name}: {found.failure} This case catches {case.catches}. To repeat it: "
            f"case = proofs.evidence.conformance.case({case.name!r}); "
            f"implementation.certified_attention(case.Q, case.K, case.V, {found.choices})"
        )
    return Outcome(case, Fraction(found.error[1]), found.bound)


def judge_refusal(implementation: ModuleType, case: Refusal) -> Outcome:
    """Check that bad arguments raise the stated exception, with a message naming the argument."""
    try:
        implementation.attention(case.Q, case.K, case.V, causal=case.causal)
    except case.error as refusal:
        require(
            case.argument in str(refusal),
            case,
            f"the message must name {case.argument}, got {str(refusal)!r}",
        )
        return Outcome(case, Fraction(0), 0.0)
    except Exception as other:
        raise NonConformanceError(
            f"{case.name}: must raise {case.error.__name__}, raised {type(other).__name__}: {other}"
        ) from other
    raise NonConformanceError(f"{case.name}: must raise {case.error.__name__}, was accepted")


def run(
    implementation: ModuleType, on_case: Callable[[Case | Refusal], None] = lambda _: None
) -> list[Outcome]:
    """Run every case on the functions that there are; failures are recorded in the outcomes, not raised.

    A case with options that ``attention`` does not take by name is not run; its outcome names them.
    """
    work: list[tuple[Callable[[ModuleType, Any], Outcome], Case | Refusal]] = []
    if callable(getattr(implementation, "attention", None)):
        work += [(judge, case) for case in cases()]
        work += [(judge_refusal, case) for case in refusals()]
    if callable(getattr(implementation, "certified_attention", None)):
        work += [(judge_certified, case) for case in cases() if _plain(case)]
        work += [(judge_options, case) for case in cases() if not _plain(case)]
    if callable(getattr(implementation, "certify", None)):
        work += [(judge_certificate, case) for case in feature_cases()]
    work += [(judge_state, case) for case in states() if hasattr(implementation, case.state)]
    return [_outcome(judged, implementation, case, on_case) for judged, case in work]


def run_kernel(
    kernel: Callable[..., Any], on_case: Callable[[Case | Refusal], None] = lambda _: None
) -> list[Outcome]:
    """Run every case on a bare callable (Q, K, V, **options) -> array, of which no refusal is asked."""
    implementation = SimpleNamespace(attention=kernel)
    return [_outcome(judge, implementation, case, on_case) for case in cases()]


def _outcome(
    judged: Callable[[Any, Any], Outcome],
    implementation: Any,
    case: Case | Refusal,
    on_case: Callable[[Case | Refusal], None],
) -> Outcome:
    on_case(case)
    missing = missing_options(_asked(judged, implementation, case), case, judged is judge)
    if missing:
        return Outcome(case, Fraction(0), 0.0, missing=missing)
    try:
        return judged(implementation, case)
    except Exception as failure:  # whatever the implementation raises is a finding
        return Outcome(case, Fraction(0), 0.0, f"{type(failure).__name__}: {failure}")


def _asked(judged: Any, implementation: Any, case: Case | Refusal) -> Any:
    """Return what a case calls of an implementation with its options by name; None: it calls without."""
    if isinstance(case, StateCase):
        return getattr(implementation, case.state)
    name = {judge: "attention", judge_options: "certified_attention", judge_certificate: "certify"}
    return getattr(implementation, name[judged]) if judged in name else None


def missing_options(
    function: Any, case: Case | Refusal, by_keyword: bool = False
) -> tuple[str, ...]:
    """Return the options of a case that a function has no parameter for.

    Where a certificate is asked for, ``**asked`` takes what every certificate is asked for, and no options.
    """
    if function is None or not isinstance(case, Case):
        return ()
    try:
        parameters = signature(function).parameters
    except (TypeError, ValueError):  # a builtin, of which nothing is known
        return ()
    if by_keyword and any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        return ()
    return tuple(name for name in case.semantics if name not in parameters)


def _plain(case: Case) -> bool:
    """Whether a case is one head without options."""
    return not case.semantics and case.Q.ndim == 2 and isinstance(case.causal, bool)


def plain_cases() -> Iterator[Case]:
    """Yield the inputs of one head without options, the real heads first."""
    yield from real_heads()
    for dtype in (np.float32, np.float64):
        yield from edges(np.dtype(dtype))


def cases() -> Iterator[Case]:
    """Yield every accepted input: one head without options, then options alone and together."""
    yield from plain_cases()
    for dtype in (np.float32, np.float64):
        yield from alone(np.dtype(dtype))
        yield from together(np.dtype(dtype))


def feature_cases() -> Iterator[Case]:
    """Yield a case for every option, and for heads, alone."""
    for dtype in (np.float32, np.float64):
        yield from alone(np.dtype(dtype))


def case(name: str) -> Case:
    """Return the case of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    for candidate in chain(states(), cases()):
        if candidate.name == name:
            return candidate
    raise ValueError(f"unknown conformance case {name!r}.")
