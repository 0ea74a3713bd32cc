"""A sample of the values: how often it errs by more than it says, and what its bound holds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastpath import AuditLedger, KeyIndex, attention
from fastpath.core.bounds.decoding import sampled_error, sampled_moment
from fastpath.core.bounds.softmax import ARITHMETIC
from fastpath.decoding import closable, key_index, sampled

TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few keys be sampled, in several tiles, and no cluster be chosen."""
    monkeypatch.setattr(key_index, "FEWEST", 1)
    monkeypatch.setattr(key_index, "LARGEST_SHARE", 0.0)
    monkeypatch.setattr(sampled, "PART_A_COLUMN", 1.0)
    monkeypatch.setattr(closable, "TILE", 1500)


def rare(n: int, dtype: Any) -> Any:
    """Give weights that are spread, and values of which few lie far off: a sample seldom holds one."""
    rng = np.random.default_rng(n)
    K = rng.standard_normal((n, 2)).astype(dtype)
    V = np.where(rng.random((n, 2)) < 0.003, 1.0, 0.01 * rng.standard_normal((n, 2)))
    return np.array([[1.0, 0.5], [-0.5, 1.0]], dtype), K, V.astype(dtype)


@TYPES
def test_errors_exceed_what_is_said_no_more_often_than_is_said(dtype: Any) -> None:
    Q, K, V = rare(3000, dtype)
    index = KeyIndex(K, V)
    exact = attention(Q.astype(float), K.astype(float), V.astype(float)).output
    rng, failed, ratios = np.random.default_rng(3), 0, []
    for _ in range(150):
        found = index.attend(Q, 0.2, failure_probability=0.1, rng=rng)
        assert found.method == "samples"
        assert found.failure_probability == 0.1
        assert found.error_bound.max() <= 0.2
        assert 0 < found.keys_read < 3000
        assert "I.sampled" in found.claims
        off = np.abs(found.output - exact)
        failed += bool((off > found.error_bound).any())
        ratios.append((off / found.error_bound).max())
    assert failed <= 0.1 * 150
    # A bound that is ten times too large would be seen to be.
    assert max(ratios) > 0.1


@TYPES
def test_a_sample_is_certified_by_every_term(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is the theorem's on the sample's own sums, and no less than the rounding beside it."""
    Q, K, V = rare(3000, dtype)
    seen: dict[str, Any] = {}

    def moment(*arguments: Any) -> Any:
        seen["moment"] = arguments
        return sampled_moment(*arguments)

    def error(*arguments: Any) -> Any:
        seen["error"] = arguments
        return sampled_error(*arguments)

    monkeypatch.setattr(sampled, "sampled_moment", moment)
    monkeypatch.setattr(sampled, "sampled_error", error)
    found = KeyIndex(K, V).attend(Q, 0.2, failure_probability=0.1, rng=np.random.default_rng(3))
    entries, half, estimate, samples, distance = seen["moment"]
    assert (entries, half) == (4, 0.05)
    assert seen["error"][:2] == (4, 0.05)
    assert (seen["error"][2] == sampled_moment(*seen["moment"])).all()
    # Beside it stand the roundings of the sample's own sums, and what all values would be off by.
    own = sampled._BLOCK * ARITHMETIC[np.dtype(dtype).name]["unit_roundoff"] * distance
    assert (found.error_bound - sampled_error(*seen["error"]) >= own).all()
    attended = closable.Weighed.attention

    def worse(*arguments: Any) -> Any:
        answer = attended(*arguments)
        return replace(answer, error_bound=answer.error_bound + 2.0**-10)

    monkeypatch.setattr(closable.Weighed, "attention", worse)
    again = KeyIndex(K, V).attend(Q, 0.2, failure_probability=0.1, rng=np.random.default_rng(3))
    assert (again.error_bound >= found.error_bound + 2.0**-10).all()
    # Some values lie at the distance, and the estimate is of squares about the centre.
    assert (distance >= V.max(axis=0) - 0.1).all()
    logits = Q.astype(float) @ K.T.astype(float)
    weights = np.exp(logits)
    weights /= weights.sum(axis=1, keepdims=True)
    true = weights @ (V.astype(float) - V.mean(axis=0)) ** 2
    assert (sampled_moment(*seen["moment"]) >= true).all()
    assert ((estimate > true / 20) & (estimate < 20 * true)).all()
    assert (samples > 0).all()


@TYPES
def test_drawn_keys_stand_for_all(dtype: Any) -> None:
    """Keys that weigh much are always drawn; by the inverse of their probability weights keep their sum."""
    rng = np.random.default_rng(0)
    weights = rng.random((3, 2, 100)).astype(dtype) ** 4
    weights[0, :, 0] = 1
    logarithm = np.log(weights.sum(axis=(0, 2), dtype=float))
    sums = []
    for _ in range(200):
        drawn = sampled._Drawn(40, logarithm, rng)
        drawn.look(weights, np.zeros(2, dtype), 290)
        rows, found = drawn.all_of(np.ones((1, 2)))
        assert rows.max() < 290
        assert (found >= weights[rows // 100, :, rows % 100]).all()
        # Of m samples none counts for more than 1/m of all.
        flat = weights[rows // 100, :, rows % 100]
        light = found[:, 0] > flat[:, 0]
        assert (found[light] <= np.exp(logarithm) / 40 * (1 + 8 * np.finfo(dtype).eps)).all()
        sums.append(found.sum(axis=0))
    whole = weights.transpose(1, 0, 2).reshape(2, -1)[:, :290].sum(axis=1)
    spread = np.std(sums, axis=0) / np.sqrt(200)
    assert (np.abs(np.mean(sums, axis=0) - whole) <= 5 * spread).all()


@TYPES
@pytest.mark.parametrize("group", [1, 2, 3, 5, 7, 11, 16])
def test_every_key_has_its_own_value_however_tiles_and_blocks_fit(
    group: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tile need be no multiple of a block; of a sample a key that weighs nearly all is always one."""
    monkeypatch.setattr(sampled, "PART_A_COLUMN", np.inf)
    monkeypatch.setattr(sampled, "_needed", lambda *_: 400)
    rng = np.random.default_rng(group)
    K, V = 0.01 * rng.standard_normal((4000, 2)), 0.01 * rng.standard_normal((4000, 1))
    Q = np.tile([[8.0, 8.0]], (group, 1))
    for place in (0, 1499, 2999, 3999):
        k, v = K.copy(), V.copy()
        k[place], v[place] = 2.0, 1.0
        q, k, v = (x.astype(dtype) for x in (Q, k, v))
        index = KeyIndex(k, v)
        found = index.attend(q, 0.5, failure_probability=0.1, rng=rng)
        exact = attention(q.astype(float), k.astype(float), v.astype(float)).output
        assert found.method == "samples"
        assert (np.abs(found.output - exact) <= found.error_bound).all()


def test_what_does_not_pay_is_read_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    Q, K, V = rare(3000, np.float32)
    index, rng = KeyIndex(K, V), np.random.default_rng(0)
    few = index.attend(Q, 1e-3, failure_probability=1e-9, rng=rng)
    assert few.method == "exact"
    assert few.failure_probability == 0
    assert few.reason.endswith(
        "a sample would hold 100.0% of the values, which takes longer than all."
    )
    monkeypatch.setattr(sampled, "_needed", lambda *_: 50)
    few = index.attend(Q, 0.2, failure_probability=1e-9, rng=rng)
    assert few.method == "exact"
    assert "a sample certifies" in few.reason
    least = index.attend(Q, 0.2, failure_probability=5e-324, rng=rng)
    assert "half of that failure probability is none" in least.reason
    large = index.attend(2.0**20 * Q, 0.2, failure_probability=1e-9, rng=rng)
    assert "logits of such a size are not sampled" in large.reason


def test_failure_probabilities_add_up_over_a_stream() -> None:
    """So many steps, each with its share, and what a ledger states of the answers that were audited."""
    Q, K, V = rare(3000, np.float32)
    index, rng, steps = KeyIndex(K, V), np.random.default_rng(1), 40
    ledger = AuditLedger(0.1, 1e-3, tolerance=0.2, audit_probability=0.5)
    failure = 0.0
    for step in range(steps):
        q = Q[:1] * (1 + step / steps)
        found = index.attend(q, 0.2, failure_probability=0.01 / steps, rng=rng)
        failure += found.failure_probability
        if ledger.audit(rng):
            exact = attention(q.astype(float), K.astype(float), V.astype(float)).output
            ledger.record(float(np.abs(found.output - exact).max()))
    assert 0 < failure <= 0.01 * (1 + 2.0**-40)
    said = ledger.bound()
    assert (said.steps, said.errors) == (steps, 0)
