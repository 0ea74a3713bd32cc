"""Certificates of heads with options, and states with a scale: fastpath conforms, planted mistakes do not."""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastpath
from proofs.evidence import conformance
from proofs.evidence.conformance import (
    Case,
    NonConformanceError,
    StateCase,
    judge_certificate,
    judge_options,
    judge_state,
    run,
)

OPTIONS = [case for case in conformance.cases() if case.semantics]
ALONE = {case.name: case for case in conformance.feature_cases()}
STATES = {case.name: case for case in conformance.states()}


def _each(cases: Iterable[Case]) -> list[Any]:
    """Return the cases; in float64 those of several heads are quick, and the others slow."""
    return [
        pytest.param(
            case,
            id=case.name,
            marks=pytest.mark.slow
            if case.Q.dtype == np.float64 and "heads" not in case.name
            else (),
        )
        for case in cases
    ]


@pytest.mark.parametrize("case", _each(OPTIONS))
def test_certified_attention_with_options_is_within_its_certificate(case: Case) -> None:
    judge_options(fastpath, case)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", _each(ALONE.values()))
def test_an_error_in_the_last_head_is_certified_and_no_more(case: Case) -> None:
    judge_certificate(fastpath, case)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", STATES.values(), ids=lambda c: c.name)
def test_a_state_with_a_scale_is_within_its_certificate(case: StateCase) -> None:
    judge_state(fastpath, case)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ planted mistakes


def _without(option: str) -> Callable[..., Any]:
    """Return what forgets an option, and certifies that."""

    def certified_attention(*arrays: Any, **options: Any) -> Any:
        options.pop(option, None)
        return fastpath.certified_attention(*arrays, **options)

    return certified_attention


FORGOTTEN = {
    "a scale": "scale",
    "causal to the last key": "causal",
    "a window to the left": "window",
    "a mask": "mask",
    "a bias": "bias",
    "a softcap": "softcap",
    "a sink": "sinks",
}


@pytest.mark.parametrize("name", FORGOTTEN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_forgotten_option_is_seen_in_either_certificate(name: str, dtype: str) -> None:
    case = ALONE[f"{name} in {dtype}"]
    option = FORGOTTEN[name]
    with pytest.raises(NonConformanceError, match="To repeat it"):
        judge_options(SimpleNamespace(certified_attention=_without(option)), case)  # type: ignore[arg-type]

    def certify(*arrays: Any, **options: Any) -> Any:
        options.pop(option, None)
        return fastpath.certify(*arrays, **options)

    with pytest.raises(NonConformanceError, match="certify bounds errors by"):
        judge_certificate(SimpleNamespace(certify=certify), case)  # type: ignore[arg-type]


def test_a_certificate_of_the_first_head_alone_is_seen() -> None:
    def certify(Q: Any, K: Any, V: Any, output: Any, **options: Any) -> Any:
        return fastpath.certify(Q[0], K[0], V[0], output[0], **options)

    for dtype in ("float32", "float64"):
        for name in ("two heads", "grouped heads"):
            case = ALONE[f"{name} in {dtype}"]
            with pytest.raises(NonConformanceError, match="bounds errors by"):
                judge_certificate(SimpleNamespace(certify=certify), case)  # type: ignore[arg-type]


def test_rows_that_were_asked_for_may_not_be_left_out() -> None:
    def certified_attention(*arrays: Any, **options: Any) -> Any:
        found = fastpath.certified_attention(*arrays, **options)
        return SimpleNamespace(output=found.output, error_bound=found.error_bound, uncovered=0.01)

    with pytest.raises(NonConformanceError, match="every row was asked for"):
        judge_options(
            SimpleNamespace(certified_attention=certified_attention),  # type: ignore[arg-type]
            ALONE["a scale in float64"],
        )


def _dynamic(**mistakes: Any) -> Any:
    """Return tokens that change, with one mistake in what the scale is applied to."""

    class Changing(fastpath.DynamicAttention):
        def __init__(self, Q: Any, K: Any, V: Any, *, scale: float, causal: bool = False) -> None:
            self._factor = mistakes.get("factor", lambda s: s)(scale)
            super().__init__(Q, K, V, scale=self._factor, causal=causal)

        def update_query(self, i: int, j: int, delta: float) -> None:
            by = 1 / self._factor if mistakes.get("unscaled") else 1.0
            super().update_query(i, j, delta * by)

        def set_query(self, i: int, row: Any) -> None:
            super().set_query(i, row / self._factor if mistakes.get("unscaled") else row)

        def append(self, q: Any, k: Any, v: Any) -> int:
            return super().append(q / self._factor if mistakes.get("unscaled") else q, k, v)

        def update_key(self, i: int, j: int, delta: float) -> None:
            by = 1 / self._factor if mistakes.get("unscaled") else 1.0
            super().update_key(i, j, delta * by)

    return SimpleNamespace(DynamicAttention=Changing)


def _stream(factor: Callable[[float], float]) -> Any:
    def made(d: int, d_v: int, *, scale: float, **asked: Any) -> Any:
        return fastpath.StreamingAttention(d, d_v, scale=factor(scale), **asked)

    return SimpleNamespace(StreamingAttention=made)


MISTAKEN: list[tuple[str, Any]] = [
    ("changing tokens with a scale", _dynamic(factor=lambda s: 1.0)),
    ("changing tokens with a scale", _dynamic(factor=lambda s: s * s)),
    ("changing causal tokens with a scale", _dynamic(factor=lambda s: 1.0)),
    ("changing tokens with a negative scale", _dynamic(factor=abs)),
    ("one entry of a query under a scale", _dynamic(unscaled=True)),
    ("a new query under a scale", _dynamic(unscaled=True)),
    ("one entry of a key under a scale", _dynamic(unscaled=True)),
    ("a token appended under a scale", _dynamic(unscaled=True)),
    ("a stream with a scale", _stream(lambda s: 1.0)),
    ("a stream with a scale", _stream(lambda s: s * s)),
    ("a stream with a negative scale", _stream(abs)),
    ("a stream with a scale above 1", _stream(lambda s: 1.0)),
]


@pytest.mark.parametrize(("name", "planted"), MISTAKEN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scale_that_goes_wrong_is_rejected_by_the_case_named_after_it(
    name: str, planted: Any, dtype: str
) -> None:
    with pytest.raises(NonConformanceError, match=r"its bound|says nothing"):
        judge_state(planted, STATES[f"{name} in {dtype}"])


def test_a_module_without_options_or_scale_is_seen_to_lack_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conformance, "cases", lambda: iter(OPTIONS))

    def certified_attention(
        Q: Any, K: Any, V: Any, *, tolerance: float, rows: str, causal: bool, **asked: Any
    ) -> Any:
        raise AssertionError("not called where an option is asked for")

    def certify(Q: Any, K: Any, V: Any, output: Any, *, causal: bool, rng: Any) -> Any:
        raise AssertionError("not called where an option is asked for")

    class DynamicAttention:
        def __init__(self, Q: Any, K: Any, V: Any, *, causal: bool = False) -> None:
            raise AssertionError("not made where a scale is asked for")

    module = SimpleNamespace(certify=certify, DynamicAttention=DynamicAttention)
    outcomes = run(module)  # type: ignore[arg-type]
    changing = {name for name, case in STATES.items() if case.state == "DynamicAttention"}
    assert {o.case.name for o in outcomes} == set(ALONE) | changing
    assert all("scale" in o.missing for o in outcomes)
    module = SimpleNamespace(certified_attention=certified_attention)
    lacking = {o.case.name for o in run(module) if o.missing}  # type: ignore[arg-type]
    assert lacking == {case.name for case in OPTIONS}


def test_a_case_of_a_state_is_found_by_its_name() -> None:
    name = next(iter(STATES))
    assert isinstance(conformance.case(name), StateCase)
    np.testing.assert_array_equal(conformance.case(name).Q, STATES[name].Q)
