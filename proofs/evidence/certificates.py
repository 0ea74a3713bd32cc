"""Judges of what certifies, beside ``attention``: certificates of outputs, options of ways, and states."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.evidence.cases import Case
from proofs.evidence.outcome import (
    Outcome,
    bars,
    require,
    sees_nothing,
    usable_bound,
    within,
)
from proofs.evidence.state_cases import StateCase
from proofs.judging.hypotheses import rounded_up
from reference import Enclosure, attention
from reference.arithmetic.decide import PRECISIONS

__all__ = ["judge_certificate", "judge_options", "judge_state"]

Array = NDArray[Any]

#: What is asked for of a certificate, relative to the largest value.
TOLERANCE = 0.05

#: What is planted in an output that is to be certified, relative to the largest value.
PLANTED = 0.25


def judge_options(implementation: ModuleType, case: Case) -> Outcome:
    """Ask ``certified_attention`` for heads with options, every row, and judge it by the definition.

    Raises
    ------
    NonConformanceError
        If there is no usable answer, or its bound is larger than what was asked for and than rounding
        explains, or an error is larger than its bound.
    """
    found = implementation.certified_attention(
        case.Q.copy(),
        case.K.copy(),
        case.V.copy(),
        tolerance=TOLERANCE,
        rows="all",
        causal=case.causal,
        **case.semantics,
    )
    require(found.uncovered == 0, case, "every row was asked for, and some are left out")
    call = (
        f"certified_attention(case.Q, case.K, case.V, tolerance={TOLERANCE}, causal=case.causal, "
        "**case.semantics)"
    )
    allowed = TOLERANCE * float(np.abs(case.V).max())
    return _judged(case, found, allowed, call)


def judge_certificate(implementation: ModuleType, case: Case) -> Outcome:
    """Let ``certify`` find an error planted in the last row of the last head, and how large it is.

    Raises
    ------
    NonConformanceError
        If the bound leaves the error out, or says more than the error and what rounding explains.
    """
    truth = _truth(case)
    exact = truth(PRECISIONS[0])
    output = exact.midpoint().astype(np.result_type(case.Q, case.K, case.V))
    output[(*(-1 for _ in output.shape),)] += PLANTED * float(np.abs(case.V).max())
    found = implementation.certify(
        case.Q.copy(),
        case.K.copy(),
        case.V.copy(),
        output.copy(),
        causal=case.causal,
        rng=np.random.default_rng(0),
        **case.semantics,
    )
    bound = float(np.max(found.error_bound))
    least, most = exact.distance(output).reshape(-1).largest()
    explained = float(np.max(bars(case, exact)[1]))
    # Of so few rows one is more than the fraction that may be left out.
    require(
        Fraction(bound) >= least,
        case,
        f"certify bounds errors by {bound:.6g}, and one is {float(least):.6g}",
    )
    require(
        Fraction(bound) <= most + 2 * Fraction(explained),
        case,
        f"certify bounds errors by {bound:.6g}, the largest is {float(most):.6g}, and rounding explains no "
        f"more than {2 * explained:.6g} besides",
    )
    return Outcome(case, most, bound)


def judge_state(implementation: ModuleType, case: StateCase) -> Outcome:
    """Make a state, change it or let keys stream in, and judge what it answers in the end.

    Raises
    ------
    NonConformanceError
        As :func:`judge_options`.
    """
    made = getattr(implementation, case.state)
    if case.state == "DynamicAttention":
        assert case.start is not None
        state = made(*(x.copy() for x in case.start), causal=case.causal, **case.semantics)
        for method, arguments in case.changes:
            getattr(state, method)(*arguments)
        return _judged(case, state.output(), np.inf, f"{case.state}(*case.start, ...)")
    d, d_v = case.K.shape[1], case.V.shape[1]
    state, other = (
        made(d, d_v, logit_bound=1.0, tolerance=TOLERANCE, sparsity=1, **case.semantics)
        for _ in range(2)
    )
    half = len(case.K) // 2
    state.absorb(case.K[:half], case.V[:half])
    other.absorb(case.K[half:], case.V[half:])
    state.merge(other)
    allowed = TOLERANCE * float(np.abs(case.V).max())
    return _judged(case, state.attend(case.Q), allowed, f"{case.state}(...).attend(case.Q)")


def _judged(case: Case, found: Any, allowed: float, call: str) -> Outcome:
    """Judge an output with its bound, which may be ``allowed`` or what rounding explains."""
    output = np.asarray(found.output)
    shape = (*case.Q.shape[:-1], case.V.shape[-1])
    require(output.shape == shape, case, f"output has shape {output.shape}, not {shape}")
    require(bool(np.isfinite(output).all()), case, "output is not finite")
    truth = _truth(case)
    trivial, rounding = bars(case, truth(PRECISIONS[0]))
    half = np.inf if trivial is None else rounded_up(trivial / 2)
    bound = usable_bound(case, found.error_bound, shape, half)
    most = np.maximum(allowed, rounding)
    require(
        bool((bound <= most).all()),
        case,
        f"error_bound reaches {bound.max():.6g}, and {float(np.max(most)):.6g} was asked for",
    )
    defined = sees_nothing(case)[..., None] & (output == 0)
    within(case, truth, output, np.where(defined, 1.0, bound), "its bound", call)
    error = truth(PRECISIONS[0]).distance(output).reshape(-1).largest()[1]
    return Outcome(case, error, float(bound.max()))


def _truth(case: Case) -> Any:
    def enclosed(bits: int) -> Enclosure:
        return attention(
            case.Q, case.K, case.V, causal=case.causal, precision=bits, **case.semantics
        )

    return cache(enclosed)
