"""fastpath conforms, and the suite catches implementations that do not."""

import dataclasses
import types
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath import Certified
from proofs.evidence import conformance
from proofs.evidence.conformance import (
    Case,
    NonConformanceError,
    Refusal,
    judge,
    judge_certified,
    judge_refusal,
    run,
)

CASES = list(conformance.plain_cases())
REFUSALS = list(conformance.refusals())


@pytest.mark.parametrize("case", list(conformance.cases()), ids=lambda c: c.name)
def test_every_entry_is_within_its_certificate(case: Case) -> None:
    judge(fastpath, case)


@pytest.mark.parametrize("case", REFUSALS, ids=lambda c: c.name)
def test_a_bad_argument_is_refused_by_name(case: Refusal) -> None:
    judge_refusal(fastpath, case)


# ------------------------------------------------------------------------------- planted faults


def _module(attention: Callable[..., Certified]) -> types.ModuleType:
    module = types.ModuleType("planted")
    module.attention = attention  # type: ignore[attr-defined]
    return module


def _with_output(change: Callable[..., Any]) -> types.ModuleType:
    """Return fastpath with another output under the same certificate."""

    def attention(Q: Any, K: Any, V: Any, *, causal: bool = False) -> Certified:
        honest = fastpath.attention(Q, K, V, causal=causal)
        return Certified(
            output=change(honest.output, Q, K, V, causal),
            error_bound=honest.error_bound,
            claims=honest.claims,
        )

    return _module(attention)


def _weights(Q: Any, K: Any, causal: bool) -> Any:
    logits = Q @ K.T
    if causal:
        logits = np.where(np.tri(*logits.shape, dtype=bool), logits, -np.inf)
    return np.exp(logits - logits.max(axis=1, keepdims=True))


def _float32_exp(output: Any, Q: Any, K: Any, V: Any, causal: bool) -> Any:
    weights = _weights(Q, K, causal).astype(np.float32).astype(Q.dtype)
    return weights @ V / weights.sum(axis=1, keepdims=True)


def _dropped_key(output: Any, Q: Any, K: Any, V: Any, causal: bool) -> Any:
    weights = _weights(Q, K, causal)
    if len(K) > 1:
        weights[:, len(K) // 2] = 0
        weights[:, 0] += weights.sum(axis=1) == 0
    return weights @ V / weights.sum(axis=1, keepdims=True)


def _wrong_shift(output: Any, Q: Any, K: Any, V: Any, causal: bool) -> Any:
    """Shift the denominator by another maximum than the numerator: that of half the keys."""
    logits = Q @ K.T
    if causal:
        logits = np.where(np.tri(*logits.shape, dtype=bool), logits, -np.inf)
    half = logits[:, : (len(K) + 1) // 2].max(axis=1, keepdims=True)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights @ V / np.exp(np.minimum(logits - half, 80)).sum(axis=1, keepdims=True)


def _offset(output: Any, Q: Any, K: Any, V: Any, causal: bool) -> Any:
    return output + output.dtype.type(1e-11) * np.abs(V).max()


def _unmasked(output: Any, Q: Any, K: Any, V: Any, causal: bool) -> Any:
    weights = _weights(Q, K, False)
    return weights @ V / weights.sum(axis=1, keepdims=True)


#: (the fault, the floating-point type whose certificate it must not fit, how many cases at least).
FAULTS = {
    "exp in float32 inside float64": (_float32_exp, "float64", 20),
    "one dropped key": (_dropped_key, "float32", 20),
    "a wrong shift": (_wrong_shift, "float32", 20),
    "an offset of 1e-11 max|V|": (_offset, "float64", 20),
    "no mask": (_unmasked, "float32, causal", 7),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str) -> None:
    change, where, least = FAULTS[name]
    planted = _with_output(change)
    caught = []
    for case in CASES:
        if not case.name.endswith(where):
            continue
        try:
            with np.errstate(all="ignore"):
                judge(planted, case)
        except NonConformanceError:
            caught.append(case.name)
    assert len(caught) >= least, f"{name} passes all but {caught}"


def _honest(Q: Any, K: Any, V: Any, causal: bool = False) -> Certified:
    return fastpath.attention(Q, K, V, causal=causal)


def _modifying(Q: Any, K: Any, V: Any, causal: bool = False) -> Certified:
    result = _honest(Q, K, V, causal)
    Q[0, 0] += 1
    return result


def _infinite(Q: Any, K: Any, V: Any, causal: bool = False) -> Certified:
    result = _honest(Q, K, V, causal)
    return Certified(
        output=result.output, error_bound=np.full_like(result.error_bound, np.inf), claims=()
    )


def _vacuous(Q: Any, K: Any, V: Any, causal: bool = False) -> Certified:
    result = _honest(Q, K, V, causal)
    return Certified(
        output=result.output, error_bound=result.error_bound + 10 * np.abs(V).max(), claims=()
    )


def _cast(Q: Any, K: Any, V: Any, causal: bool = False) -> Certified:
    result = _honest(Q, K, V, causal)
    return Certified(
        output=result.output.astype(np.float16), error_bound=result.error_bound, claims=()
    )


def _transposed(Q: Any, K: Any, V: Any, causal: bool = False) -> Certified:
    result = _honest(Q, K, V, causal)
    return Certified(output=result.output.T, error_bound=result.error_bound.T, claims=())


@pytest.mark.parametrize(
    ("attention", "says"),
    [
        (_modifying, "Q was modified"),
        (_infinite, "error_bound is not finite"),
        (_vacuous, "an answer errs that looks at no query: it says nothing"),
        (_cast, "output has type float16"),
        (_transposed, "output has shape"),
    ],
)
def test_a_broken_contract_is_named(attention: Callable[..., Certified], says: str) -> None:
    case = next(c for c in conformance.cases() if c.name == "more queries than keys in float64")
    with pytest.raises(NonConformanceError, match=says):
        judge(_module(attention), case)


def test_a_failure_says_where_how_much_and_how_to_repeat_it() -> None:
    planted = _with_output(_offset)
    case = conformance.case("one column in float64")
    with pytest.raises(
        NonConformanceError,
        match=r"at \[\d, \d\] is .*, what rounding in float64 explains .*outside.*To repeat",
    ):
        judge(planted, case)


def test_an_error_inside_a_wide_bound_is_told_from_rounding() -> None:
    """The bound is honest, and less than half of what zeros err."""

    def attention(Q: Any, K: Any, V: Any, *, causal: bool = False) -> Certified:
        honest = fastpath.attention(Q, K, V, causal=causal)
        wide = honest.error_bound + 1e-3
        return Certified(
            output=honest.output + np.float64(1e-9), error_bound=wide, claims=honest.claims
        )

    case = conformance.case("one column in float64")
    with pytest.raises(NonConformanceError, match="what rounding in float64 explains"):
        judge(_module(attention), case)


def test_an_error_above_a_bound_below_rounding_is_told() -> None:
    """The output is right but for rounding, and the bound is smaller still."""

    def attention(Q: Any, K: Any, V: Any, *, causal: bool = False) -> Certified:
        honest = fastpath.attention(Q, K, V, causal=causal)
        return Certified(
            output=honest.output, error_bound=honest.error_bound / 1e6, claims=honest.claims
        )

    with pytest.raises(NonConformanceError, match=r"is .*, its bound .*outside"):
        judge(_module(attention), conformance.case("one column in float64"))


def test_a_bare_output_is_judged_by_rounding_alone() -> None:
    case = conformance.case("one column in float32")
    honest = fastpath.attention(case.Q, case.K, case.V)
    outcome = judge(_module(lambda Q, K, V, causal=False: honest.output), case)  # type: ignore[arg-type, return-value]
    assert outcome.error <= Fraction(float(honest.error_bound.max())) <= Fraction(outcome.bound)


def test_running_the_suite_records_failures_and_goes_on() -> None:
    outcomes = run(_module(_cast))
    assert len(outcomes) == len(list(conformance.cases())) + len(REFUSALS)
    assert all(o.failure or o.missing for o in outcomes if isinstance(o.case, Case))


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown conformance case 'nothing'"):
        conformance.case("nothing")


def test_an_accepted_bad_argument_is_a_failure() -> None:
    def accepting(Q: Any, K: Any, V: Any, causal: bool = False) -> Certified:
        return Certified(output=np.zeros((1, 1)), error_bound=np.zeros((1, 1)), claims=())

    with pytest.raises(NonConformanceError, match="must raise ValueError, was accepted"):
        judge_refusal(_module(accepting), REFUSALS[0])


# ------------------------------------------------------- implementations that state no bound


def _adapter(change: Callable[[Any], Any]) -> types.ModuleType:
    """Return an adapter that certifies what ``change`` makes of attention's output."""

    def certified_attention(
        Q: Any, K: Any, V: Any, *, tolerance: float, rows: str, causal: bool, **asked: Any
    ) -> Any:
        output = change(fastpath.attention(Q, K, V, causal=causal).output)
        return fastpath.certify(Q, K, V, output, causal=causal, **asked)

    module = types.ModuleType("adapter")
    module.certified_attention = certified_attention  # type: ignore[attr-defined]
    return module


def _bfloat16(x: Any) -> Any:
    """Round to the nearest numbers of 8 significant bits."""
    with np.errstate(over="ignore"):
        bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


def _reached_by_bfloat16(case: Case) -> bool:
    """Whether the values are within bfloat16's range, above as below."""
    largest = np.abs(case.V.astype(float)).max()
    normal = np.finfo(np.float32).smallest_normal / np.finfo(case.V.dtype).eps
    return bool(not largest or min(normal, 1e-30) < largest < np.finfo(np.float32).max)


@pytest.mark.slow
def test_an_adapter_of_low_precision_conforms_wherever_its_type_reaches() -> None:
    outcomes = run(_adapter(_bfloat16))
    asked = [o for o in outcomes if not o.missing]
    assert [o.case.name for o in asked] == [c.name for c in CASES]
    for outcome in asked:
        assert isinstance(outcome.case, Case)
        if _reached_by_bfloat16(outcome.case):
            assert not outcome.failure
            assert outcome.error <= Fraction(outcome.bound)


@pytest.mark.parametrize("case", [c for c in CASES if len(c.Q) <= 64], ids=lambda c: c.name)
def test_a_bound_of_a_third_is_caught_in_every_case_that_rounds(case: Case) -> None:
    if not _reached_by_bfloat16(case):
        pytest.skip("bfloat16 does not hold these values (R.certify)")
    honest = _adapter(_bfloat16)
    rounded = judge_certified(honest, case).error
    exact = fastpath.attention(case.Q, case.K, case.V, causal=case.causal).error_bound.max()

    def certified_attention(*arrays: Any, **asked: Any) -> Any:
        found = honest.certified_attention(*arrays, **asked)
        return dataclasses.replace(found, error_bound=found.error_bound / 3, uncovered=0.0)

    lying = types.ModuleType("lying")
    lying.certified_attention = certified_attention  # type: ignore[attr-defined]
    if rounded > Fraction(float(exact)):
        with pytest.raises(NonConformanceError, match=r"not within their bounds.*To repeat"):
            judge_certified(lying, case)


def test_every_asked_for_quantity_is_asked_for_and_held_to() -> None:
    case = conformance.case("minilm_L2H2_n64 in float32, causal")
    asked: list[dict[str, Any]] = []

    def certified_attention(Q: Any, K: Any, V: Any, **arguments: Any) -> Any:
        asked.append(arguments)
        return fastpath.certified_attention(Q, K, V, **arguments)

    module = types.ModuleType("asked")
    module.certified_attention = certified_attention  # type: ignore[attr-defined]
    judge_certified(module, case)
    (arguments,) = asked
    assert (arguments["causal"], arguments["uncovered"]) == (True, 0.01)
    assert arguments["failure_probability"] == 1e-9
    largest = float(np.abs(case.V).max())

    def answered(change: dict[str, Any]) -> types.ModuleType:
        other = types.ModuleType("answered")
        other.certified_attention = lambda *arrays, **a: dataclasses.replace(  # type: ignore[attr-defined]
            fastpath.certified_attention(*arrays, **a), **change
        )
        return other

    within = np.float64(arguments["tolerance"] * largest)
    judge_certified(answered({"error_bound": within}), case)
    for change, says in (
        ({"error_bound": within * (1 + 2.0**-51)}, "asked for was 0.05"),
        ({"error_bound": np.float64(largest), "method": "exact"}, "asked for was 0.05"),
        ({"uncovered": 0.0101}, "uncovered must be in"),
        ({"failure_probability": 1.1e-9}, "failure_probability must be in"),
    ):
        with pytest.raises(NonConformanceError, match=says):
            judge_certified(answered(change), case)
