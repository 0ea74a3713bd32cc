"""A stream with a scale: certified by the definition, kept in files, and merged only with its like."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastpath import StreamingAttention
from fastpath.core.state_files import write_arrays
from fastpath.polynomial.moment_state import MomentState, answer
from fastpath.streaming.attention import sufficient_degree
from reference import Verdict, attention_verdict

TOLERANCE = 1e-3


def rows(n: int, width: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, (n, width))


def stream(scale: float, **changed: Any) -> StreamingAttention:
    asked: dict[str, Any] = {"logit_bound": 2.0, "tolerance": TOLERANCE, "sparsity": 2} | changed
    return StreamingAttention(3, 3, scale=scale, **asked)


@pytest.mark.parametrize("scale", [0.3, -0.5, 1e-3, 0.0, 2.0**-80])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_those_of_the_definition(dtype: Any, scale: float) -> None:
    Q, K, V = (rows(12, seed=seed).astype(dtype) for seed in range(3))
    state, shard = stream(scale), stream(scale)
    state.absorb(K[:5], V[:5])
    shard.absorb(K[5:], V[5:])
    state.merge(shard)
    found = state.attend(Q)
    verdict, _ = attention_verdict(Q, K, V, found.output, found.error_bound, scale=scale)
    assert verdict is Verdict.WITHIN
    assert found.error_bound.max() <= TOLERANCE * np.abs(V).max()
    assert found.output.dtype == dtype
    assert {"S.output", "FP.scores"} <= set(found.claims)
    assert {"S.output", "FP.scores"} <= set(state.decode().bound.claims)


def test_the_rounding_of_a_scale_is_in_the_certificate() -> None:
    K, V = np.array([[2.0**20, 1.0], [2.0**20, -1.0]]), np.array([[1.0], [-1.0]])
    state = MomentState(2, 1, 6, centre=[2.0**20, 0.0])
    state.update(K, V)
    q = np.array([[1.0, 3.0]])
    scaled, plain = answer(state, q, None, 1 / 3), answer(state, q * (1 / 3), None)
    assert not hasattr(scaled, "reason")
    assert not hasattr(plain, "reason")
    np.testing.assert_array_equal(scaled.output, plain.output)  # type: ignore[union-attr]
    # A logit of 1 from the centre, a unit of rounding or two; values from -1 to 1.
    added = scaled.error_bound - plain.error_bound  # type: ignore[union-attr]
    assert (added >= 2.0**-53).all()
    assert (added <= 2.0**-50).all()


def test_a_scale_of_one_changes_no_bit() -> None:
    found = []
    for state in (
        stream(1.0),
        StreamingAttention(3, 3, logit_bound=2.0, tolerance=TOLERANCE, sparsity=2),
    ):
        state.absorb(rows(9), rows(9, seed=1))
        found.append(state.attend(rows(4, seed=2)))
    assert found[0].claims == found[1].claims
    np.testing.assert_array_equal(found[0].error_bound, found[1].error_bound)


def test_a_degree_leaves_room_for_the_rounding_of_a_scale() -> None:
    """The tolerance that one degree just reaches is not reached by it where queries are scaled."""
    asked: dict[str, Any] = {"logit_bound": 0.5}
    low, high = 1e-11, 1e-9
    degree = sufficient_degree(3, tolerance=high, **asked)
    while high / low > 1 + 1e-7:
        middle = (low * high) ** 0.5
        try:
            reached = sufficient_degree(3, tolerance=middle, **asked) <= degree
        except ValueError:
            reached = False
        low, high = (low, middle) if reached else (middle, high)
    try:
        more = sufficient_degree(3, tolerance=high, scale=0.3, **asked)
    except ValueError:
        more = degree + 1
    assert more > degree


@pytest.mark.parametrize(
    "made", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_keeps_the_scale(made: Any) -> None:
    state = stream(0.3)
    state.absorb(rows(9), rows(9, seed=1))
    other = made(state)
    Q = rows(4, seed=2)
    np.testing.assert_array_equal(other.attend(Q).output, state.attend(Q).output)


def test_a_file_keeps_the_scale(tmp_path: Path) -> None:
    state = stream(0.3)
    state.absorb(rows(9), rows(9, seed=1))
    state.save(tmp_path / "state")
    loaded = StreamingAttention.load(tmp_path / "state")
    Q = rows(4, seed=2)
    np.testing.assert_array_equal(loaded.attend(Q).error_bound, state.attend(Q).error_bound)
    loaded.save(tmp_path / "again")
    state.save(tmp_path / "state")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "state").read_bytes()


def test_a_file_of_the_version_without_a_scale_has_none(tmp_path: Path) -> None:
    state = stream(1.0)
    state.absorb(rows(9), rows(9, seed=1))
    contents = {name: x for name, x in state._contents().items() if name != "scale"}
    write_arrays(tmp_path / "old", "StreamingAttention 2", contents)
    old = StreamingAttention.load(tmp_path / "old")
    Q = rows(4, seed=2)
    np.testing.assert_array_equal(old.attend(Q).output, state.attend(Q).output)
    stream(1.0).merge(StreamingAttention.load(tmp_path / "old"))
    pickled = state.__getstate__()
    del pickled["_scale"]
    revived = StreamingAttention.__new__(StreamingAttention)
    revived.__setstate__(pickled)
    np.testing.assert_array_equal(revived.attend(Q).output, state.attend(Q).output)
    with pytest.raises(ValueError, match="other must have scale"):
        stream(0.5).merge(StreamingAttention.load(tmp_path / "old"))


def test_states_of_different_scales_are_not_merged() -> None:
    state, other = stream(0.3), stream(0.4)
    for each in (state, other):
        each.absorb(rows(9), rows(9, seed=1))
    with pytest.raises(ValueError, match=r"other must have scale = 0\.3, got 0\.4"):
        state.merge(other)
    assert state._moments.count == other._moments.count == 9


@pytest.mark.parametrize(
    ("scale", "error"),
    [("1", TypeError), (True, TypeError), (np.nan, ValueError), (10**400, ValueError)],
)
def test_a_scale_that_makes_no_sense_is_refused(scale: Any, error: Any) -> None:
    with pytest.raises(error, match="scale must be"):
        stream(scale)


def test_queries_that_overflow_once_scaled_are_refused_and_nothing_is_kept() -> None:
    state = stream(1e200)
    state.absorb(rows(9), rows(9, seed=1))
    with pytest.raises(ValueError, match="scale times Q must be finite"):
        state.attend(1e200 * rows(2))
    assert state._attended == []
