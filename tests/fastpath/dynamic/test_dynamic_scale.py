"""Changing tokens with a scale: whatever changes, rows are those of the definition, within their bounds."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from fastpath import DynamicAttention
from fastpath.core.scaling import scaled
from fastpath.dynamic.certificate import row_error_bound
from fastpath.dynamic.recomputed import Recomputed
from fastpath.dynamic.tokens import Tokens
from reference import Verdict, attention_verdict

D, D_V = 3, 2
STATES: dict[str, dict[str, Any]] = {
    "cached": {"mode": "cached"},
    "dirty": {"mode": "dirty"},
    "kept": {"mode": "kept"},
    "worst case": {"mode": "cached", "worst_case": True},
    "auto": {},
}


class Followed:
    """Tokens as they are given, and a state that is to follow them."""

    def __init__(self, dtype: Any, scale: float, size: float, causal: bool, **given: Any) -> None:
        rng = np.random.default_rng(1)
        self.Q, self.K, self.V = (
            rng.standard_normal((9, width)).astype(dtype) for width in (D, D, D_V)
        )
        self.Q *= dtype(size)
        self.scale, self.causal, self.size = scale, causal, size
        self.state = DynamicAttention(
            self.Q, self.K, self.V, scale=scale, causal=causal, rebuild_every=3, **given
        )

    def change(self, rng: np.random.Generator) -> None:
        dtype, i = self.Q.dtype, int(rng.integers(len(self.Q)))
        kind = int(rng.integers(6))
        if kind < 2:
            name, rows, size = (("query", self.Q, self.size), ("key", self.K, 1.0))[kind]
            j, delta = int(rng.integers(D)), float(rng.standard_normal()) * size
            getattr(self.state, f"update_{name}")(i, j, delta)
            rows[i, j] = float(rows[i, j]) + delta
        elif kind < 5:
            name, rows = (("query", self.Q), ("key", self.K), ("value", self.V))[kind - 2]
            size = self.size if name == "query" else 1.0
            row = (size * rng.standard_normal(rows.shape[1])).astype(dtype)
            getattr(self.state, f"set_{name}")(i, row)
            rows[i] = row
        else:
            q, k, v = (rng.standard_normal(width).astype(dtype) for width in (D, D, D_V))
            q *= dtype.type(self.size)
            self.state.append(q, k, v)
            self.Q, self.K, self.V = (np.vstack(x) for x in ((self.Q, q), (self.K, k), (self.V, v)))

    def verdict(self) -> Any:
        found = self.state.output()
        bound = np.broadcast_to(found.error_bound, found.output.shape)
        assert "FP.scores" in found.claims
        return attention_verdict(
            self.Q, self.K, self.V, found.output, bound, scale=self.scale, causal=self.causal
        )[0]


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("scale", "size"), [(1 / 3, 1.0), (-0.7, 20.0), (1e-3, 1e3), (1e20, 1e-20), (0.0, 1.0)]
)
def test_rows_are_those_of_the_definition_whatever_changes(
    kind: str, dtype: Any, scale: float, size: float
) -> None:
    tokens = Followed(dtype, scale, size, scale < 0, **STATES[kind])
    rng = np.random.default_rng(2)
    for _ in range(14):
        tokens.change(rng)
    assert tokens.verdict() is Verdict.WITHIN


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_scale_of_one_changes_no_bit(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((7, 3)).astype(dtype) for _ in range(3))
    plain, scaled = DynamicAttention(Q, K, V), DynamicAttention(Q, K, V, scale=1)
    for state in (plain, scaled):
        state.update_query(2, 1, 0.5)
    assert plain.output().claims == scaled.output().claims
    np.testing.assert_array_equal(plain.output().output, scaled.output().output)
    np.testing.assert_array_equal(plain.output().error_bound, scaled.output().error_bound)


def test_the_rounding_of_a_scale_is_in_the_bound_of_a_row() -> None:
    query, keys = np.array([3.0, 5.0], np.float32), [2.0, 7.0]
    known: dict[str, Any] = {
        "magnitude": 1.0,
        "denominator": 1.0,
        "mass": 1.0,
        "roundings": 1,
        "events": 1,
        "factors": 0,
        "steps": 0.0,
    }
    plain = row_error_bound(query, keys, scaled=False, **known)
    scaled = row_error_bound(query, keys, scaled=True, **known)
    # Two more roundings of a logit of 41, and each counts twice: in the numerator and the denominator.
    assert scaled - plain >= 2 * 2 * 2.0**-24 * 41


@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "recomputed"])
def test_every_strategy_counts_the_rounding_of_a_scale(mode: Any) -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((7, 3)).astype(np.float32) for _ in range(3))
    made = scaled(Q, 0.3).queries
    rounded, exact = (
        (
            Recomputed(Tokens(q, K, V, False, scale))
            if mode == "recomputed"
            else DynamicAttention(q, K, V, mode=mode, scale=scale)
        )
        for q, scale in ((Q, 0.3), (made, 1.0))
    )

    def compare() -> None:
        for i in range(7):
            np.testing.assert_array_equal(
                rounded.row(i) if mode == "recomputed" else rounded.query_row(i),  # type: ignore[union-attr]
                exact.row(i) if mode == "recomputed" else exact.query_row(i),  # type: ignore[union-attr]
            )
            magnitude = float(np.abs(made[i].astype(float)) @ np.abs(K.astype(float)).max(axis=0))
            # Two more roundings of its logits.
            assert (
                rounded.error_bound(i)
                >= exact.error_bound(i) + 4 * 2.0**-24 * magnitude * np.abs(V).max() * 0.99
            )

    compare()  # as they were computed
    if mode != "recomputed":
        for state in (rounded, exact):
            state.set_value(0, V[1])  # type: ignore[call-arg, arg-type]
        compare()


def test_a_copy_and_what_is_unpickled_keep_the_scale() -> None:
    tokens = Followed(np.float64, 0.3, 1.0, False)
    for made in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        tokens.state = made(tokens.state)
        for seed in range(6):
            tokens.change(np.random.default_rng(seed))
        assert tokens.verdict() is Verdict.WITHIN


def test_what_was_pickled_before_there_was_a_scale_had_none() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((7, 3)) for _ in range(3))
    state = DynamicAttention(Q, K, V)
    old = state.__getstate__()
    for name in ("scale", "_given"):
        vars(old["_tokens"]).pop(name)
    revived = DynamicAttention.__new__(DynamicAttention)
    revived.__setstate__(pickle.loads(pickle.dumps(old)))
    revived.update_query(1, 1, 0.5)
    state.update_query(1, 1, 0.5)
    np.testing.assert_array_equal(revived.output().output, state.output().output)


@pytest.mark.parametrize(
    ("scale", "error", "says"),
    [
        ("1", TypeError, "scale must be a number"),
        (True, TypeError, "scale must be a number"),
        (None, TypeError, "scale must be a number"),
        (np.nan, ValueError, "scale must be finite"),
        (np.inf, ValueError, "scale must be finite"),
        (2**53 + 1, ValueError, "scale must be a number that float64 holds exactly"),
        (2.0**60, ValueError, "Q must keep scale times a query at most"),
    ],
)
def test_a_scale_that_makes_no_sense_is_refused(scale: Any, error: Any, says: str) -> None:
    ones = np.ones((3, 2), np.float32)
    with pytest.raises(error, match=says):
        DynamicAttention(ones, ones, ones, scale=scale)


def test_a_query_that_is_too_large_once_scaled_leaves_the_state_as_it_was() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((5, 2)).astype(np.float32) for _ in range(3))
    state = DynamicAttention(Q, K, V, scale=2.0**20)
    before = state.output()
    for name, call in (
        ("delta", lambda: state.update_query(1, 0, 2.0**40)),
        ("row", lambda: state.set_query(1, [2.0**40, 0])),
        ("q", lambda: state.append([2.0**40, 0], [0, 0], [0, 0])),
    ):
        with pytest.raises(ValueError, match=f"{name} must keep scale times a query at most"):
            call()
    np.testing.assert_array_equal(state.output().output, before.output)
    assert len(state.live) == 5
