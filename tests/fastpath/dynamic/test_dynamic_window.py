"""A window of tokens that moves on: evicted tokens are forgotten, and what is read stays the definition."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastpath import DynamicAttention
from fastpath.dynamic.attention import DynamicAttention as Door
from fastpath.dynamic.certificate import row_error_bound
from reference import Verdict, attention_verdict
from tests.fastpath.dynamic.test_dynamic import _bits

MODES = ["cached", "dirty", "kept", "auto"]


def _drawn(rng: np.random.Generator, n: int, dtype: Any = np.float64) -> tuple[NDArray[Any], ...]:
    return tuple(rng.standard_normal((n, 3)).astype(dtype) for _ in range(3))


@pytest.mark.parametrize("oldest", [True, False], ids=["the oldest goes", "any goes"])
@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_every_read_of_a_window_is_the_definition_under_the_tokens_own_indices(
    mode: Any, causal: bool, scale: float, oldest: bool
) -> None:
    rng = np.random.default_rng(5)
    Q, K, V = (list(x) for x in _drawn(rng, 6))
    dynamic = DynamicAttention(
        np.array(Q),
        np.array(K),
        np.array(V),
        mode=mode,
        causal=causal,
        scale=scale,
        rebuild_every=4,
    )
    live = list(range(6))
    for step in range(70):
        q, k, v = (x[0] for x in _drawn(rng, 1))
        assert dynamic.append(q, k, v) == 6 + step
        live.append(6 + step)
        for rows, row in zip((Q, K, V), (q, k, v), strict=True):
            rows.append(row)
        gone = live.pop(0 if oldest else int(rng.integers(7)))
        dynamic.evict(gone)
        changed = live[step % 6]
        dynamic.update_key(changed, 1, 0.25)
        K[changed] = K[changed] + [0, 0.25, 0]
        assert list(dynamic.live) == live
        for index in (gone, gone - 7 - step):
            with pytest.raises(ValueError, match=f"not evicted, got {gone}, which was"):
                dynamic.query_row(index)
        result = dynamic.output()
        bound = np.broadcast_to(result.error_bound, result.output.shape)
        q, k, v = (np.array(x)[live] for x in (Q, K, V))
        verdict = attention_verdict(q, k, v, result.output, bound, causal=causal, scale=scale)[0]
        assert verdict is Verdict.WITHIN
        here = live.index(changed)
        allowed = 2 * bound[here]
        assert (np.abs(dynamic.query_row(changed) - result.output[here]) <= allowed).all()
        assert abs(dynamic.query(changed, 2) - result.output[here, 2]) <= allowed[2]
        assert (np.abs(dynamic.query_column(2) - result.output[:, 2]) <= 2 * bound[:, 2]).all()


@pytest.mark.parametrize("worst_case", [False, True], ids=["at once", "sliced"])
@pytest.mark.parametrize("mode", MODES)
def test_a_window_takes_the_same_for_a_token_however_long_it_moves(
    mode: Any, worst_case: bool
) -> None:
    """471 microseconds a token had become 1,745 after 12,000: all that were evicted were computed too."""
    rng = np.random.default_rng(0)
    dynamic = DynamicAttention(*_drawn(rng, 32), mode=mode, worst_case=worst_case)
    products, rooms, counted = [], [dynamic._tokens], 0
    for step in range(640):
        assert dynamic.stats["multiplications"] >= counted
        counted = dynamic.stats["multiplications"]
        dynamic.append(*(x[0] for x in _drawn(rng, 1)))
        dynamic.evict(step)
        dynamic.query_row(step + 32)
        if step % 128 == 127:
            products.append(dynamic.stats["multiplications"])
        tokens = dynamic._tokens
        assert tokens.count <= 2 * 32 + 8
        assert len(tokens.places) == 32
        if tokens is not rooms[-1]:
            rooms.append(tokens)
    spent = np.diff(products)
    assert spent.max() <= 1.25 * spent.min() or mode == "auto"
    assert spent[-1] <= spent[0]
    assert len(rooms) <= 640 // 32 + 5


def test_tokens_that_come_and_never_go_are_computed_anew_as_often_as_before() -> None:
    dynamic = DynamicAttention(*_drawn(np.random.default_rng(0), 16), mode="cached")
    rooms = []
    for _ in range(40):
        dynamic.append([0.0] * 3, [0.0] * 3, [0.0] * 3)
        rooms.append(dynamic._room)
    assert rooms == [26] * 10 + [37] * 11 + [49] * 12 + [63] * 7


@pytest.mark.parametrize("mode", MODES)
def test_where_memory_does_not_suffice_nothing_is_forgotten(
    mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    dynamic = DynamicAttention(*_drawn(rng, 8), mode=mode)
    for i in range(3):
        dynamic.evict(i)
    before = _bits(dynamic)

    def fails(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Door, "_begin", fails)
        with pytest.raises(MemoryError):
            dynamic.append(*(x[0] for x in _drawn(rng, 1)))
    assert _bits(dynamic) == before
    assert dynamic.append(*(x[0] for x in _drawn(rng, 1))) == 8
    assert list(dynamic.live) == [3, 4, 5, 6, 7, 8]
    assert dynamic._tokens.count == 6


def test_a_full_object_takes_tokens_again_once_others_were_evicted() -> None:
    dynamic = DynamicAttention(*_drawn(np.random.default_rng(1), 8), mode="dirty")
    dynamic._most = 8
    with pytest.raises(ValueError, match="append must keep the tokens at most 8"):
        dynamic.append([0.0] * 3, [0.0] * 3, [0.0] * 3)
    for i in range(5):
        dynamic.evict(i)
        assert dynamic.append([0.0] * 3, [0.0] * 3, [0.0] * 3) == 8 + i
        assert dynamic._tokens.count <= 8


# -------------------------------------------------------------------------- bounds before any update


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["cached", "dirty", "kept"])
def test_before_any_update_no_bound_allows_for_what_updates_might_do(mode: Any, dtype: Any) -> None:
    """It was 34 to 83 times that of attention: five masses, and pairs and factors that there never were."""
    Q, K, V = _drawn(np.random.default_rng(2), 64, dtype)
    dynamic = DynamicAttention(Q, K, V, mode=mode)
    bounds = [dynamic.error_bound(i) for i in range(64)]
    largest_keys = np.abs(K).max(axis=0).tolist()
    for i, bound in enumerate(bounds):
        denominator = float(dynamic._strategy._row_sums(i)[-1])  # type: ignore[union-attr]
        expected = row_error_bound(
            Q[i],
            largest_keys,
            scaled=False,
            magnitude=float(np.abs(V).max()),
            denominator=denominator,
            mass=denominator,
            roundings=65,
            events=64,
            factors=0,
            steps=0.0,
        )
        assert bound == expected
    dynamic.set_value(5, V[5])
    dynamic.update_key(5, 0, 0.0)
    dynamic.query_row(3)
    grown = dynamic.error_bound(3)
    assert grown > bounds[3]


def test_a_row_that_was_rebuilt_is_not_taken_for_one_as_computed() -> None:
    """Nothing is pending after a rebuild, and other terms than those of now passed through the sums."""
    Q, K, V = _drawn(np.random.default_rng(2), 8)
    dynamic = DynamicAttention(Q, K, V, mode="cached", rebuild_every=1)
    before = dynamic.error_bound(3)
    dynamic.set_key(5, K[5] + 1)
    dynamic.set_key(5, K[5])
    assert dynamic._strategy.settled  # type: ignore[union-attr]
    assert dynamic.error_bound(3) > 2 * before
    dynamic.set_query(3, Q[3])
    dynamic.query_row(3)
    assert dynamic.error_bound(3) < 2 * before
