"""Keys dropped under a causal mask: every entry within its certificate, whatever band and keys it is of."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import certified_attention
from fastpath.core.costs import pair_cost
from fastpath.core.head import Head
from fastpath.core.offers import Refusal
from fastpath.real_heads import attention as real_heads
from fastpath.real_heads import causal_dropping
from fastpath.real_heads import dropped_keys as dropping
from fastpath.real_heads.causal_dropping import CausalDroppedKeys
from reference import Verdict, attention
from tests.strategies import attention_inputs


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small heads have clusters of many queries, and several bands and blocks of keys."""
    monkeypatch.setattr(dropping, "CLUSTERS", 0.8)
    monkeypatch.setattr(dropping, "KEPT_KEY_BLOCK", 3)
    monkeypatch.setattr(dropping, "COMPARED_KEY_BLOCK", 5)
    monkeypatch.setattr(dropping, "CENTRE_BLOCK", 4)
    monkeypatch.setattr(dropping, "TOGETHER", 2)
    monkeypatch.setattr(causal_dropping, "BANDS", (0.2, 0.4, 1.0))


def planned(Q: Any, K: Any, V: Any, allowed: float, seed: int = 0) -> Any:
    head = Head.of(Q, K, V, causal=True)
    return CausalDroppedKeys.planned(head, allowed, np.random.default_rng(seed))


def certified(Q: Any, K: Any, V: Any, tolerance: float, seed: int = 0) -> Any:
    """Return the least share of its keys that a batch of clusters keeps, where no band refuses."""
    allowed = tolerance * float(np.abs(V).max())
    with np.errstate(all="ignore"):
        made = planned(Q, K, V, allowed, seed)
        if isinstance(made, Refusal):
            return None
        result = made.attend()
        kept = [1.0]
        for band in made._bands:
            kept += [x.kept.mean() for x in map(band._weigh, band._batches())]
    assert (result.error_bound <= allowed).all()
    verdicts = attention(Q, K, V, causal=True, precision=256).verdict(
        result.output, result.error_bound
    )
    assert all(v is Verdict.WITHIN for v in verdicts.flat)
    return float(np.min(kept))


def sharp(rng: np.random.Generator, n: int, d: int, size: float, dtype: Any) -> Any:
    Q = size * rng.standard_normal((2, d))[rng.integers(0, 2, n)]
    Q += rng.uniform(0.1, 2) * rng.standard_normal((n, d))
    K = rng.standard_normal((n, d)) + rng.standard_normal(d)
    V = np.where(K[:, :1] > np.median(K[:, 0]), 1.0, -1.0) * rng.uniform(0.5, 1, (n, 2))
    return tuple(x.astype(dtype) for x in (Q, K, V))


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 40),
    d=st.integers(1, 3),
    size=st.sampled_from([1.0, 4.0, 8.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    tolerance=st.sampled_from([1e-3, 0.03, 0.3]),
)
def test_every_entry_of_a_sharp_head_is_within_its_certificate(
    seed: int, n: int, d: int, size: float, dtype: Any, tolerance: float
) -> None:
    certified(*sharp(np.random.default_rng(seed), n, d, size, dtype), tolerance, seed)


@given(inputs=attention_inputs(), tolerance=st.sampled_from([1e-3, 0.3]))
def test_every_entry_of_an_odd_head_is_within_its_certificate_or_refused(
    inputs: Any, tolerance: float
) -> None:
    Q, K, V, _ = inputs
    n = 3 * min(len(Q), len(K))
    Q, K, V = (np.resize(x, (n, x.shape[1])) for x in (Q, K, V))
    certified(Q, K, V, tolerance)


def structured(kind: str, dtype: Any) -> Any:
    """Give heads whose past says little of what a later row may see."""
    n = 40
    Q, K, V = sharp(np.random.default_rng(5), n, 2, 6.0, np.float64)
    if kind == "sink":
        K[0] = 3 * Q.mean(axis=0) / np.abs(Q).max()
    elif kind == "own keys outweigh the past":
        K[n // 2 :] = Q[n // 2 :]
    elif kind == "the past outweighs own keys":
        K[: n // 2] = Q[: n // 2]
    elif kind == "each row sees itself":
        Q = K = np.repeat(8 * np.eye(2), n // 2, axis=0) + np.arange(n)[:, None] / 64
    elif kind == "ties":
        K = K[np.arange(n) % 2]
    elif kind == "a value at the last key":
        V[:], V[-1] = 1.0, -1.0
        K[-1] = Q[-1]
    elif kind == "large":
        Q, K = Q * 2.0**40, K * 2.0**-40
    return tuple(np.asarray(x, dtype) for x in (Q, K, V))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "kind",
    [
        "sink",
        "own keys outweigh the past",
        "the past outweighs own keys",
        "each row sees itself",
        "ties",
        "a value at the last key",
        "large",
    ],
)
def test_structured_heads_are_within_their_certificates(kind: str, dtype: Any) -> None:
    for tolerance in (1e-3, 0.3):
        certified(*structured(kind, dtype), tolerance)


def test_keys_are_dropped_of_the_past_and_of_the_own_band() -> None:
    kept = certified(*structured("the past outweighs own keys", np.float64), 0.3)
    assert kept is not None
    assert kept < 0.6


@pytest.mark.parametrize("last", [100.0, 43.2])
def test_what_a_row_sees_is_weighed_against_keys_that_all_rows_of_its_band_see(last: float) -> None:
    """A last key outweighs all; what earlier rows see is next to nothing beside it, and not to be dropped.

    Were the sum that of all keys, or its weights relative to the last, so that those of the past were raised,
    31 keys would be below the threshold, of which a row has four percent of its weight.
    """
    n = 60
    raised = 40 + np.log(25)
    K = np.arange(n)[:, None] * 2.0**-20
    K[25:56] = raised + np.log(0.0025 / n) - 0.5
    K[56], K[-1] = raised - np.log(50), last
    V = np.where(np.arange(n) == 56, 1.0, -1.0)[:, None]
    Q = 1 + np.arange(n)[:, None] * 2.0**-30
    assert certified(Q, K, V, 0.01) is not None


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_rows_are_certified_or_refused(n: int) -> None:
    certified(*sharp(np.random.default_rng(n), n, 2, 4.0, np.float64), 0.3)


def test_the_cost_is_that_of_the_bands_and_of_the_exact_rows() -> None:
    Q, K, V = structured("ties", np.float64)
    head, made = Head.of(Q, K, V, causal=True), planned(Q, K, V, 0.3)
    with np.errstate(all="ignore"):
        of_bands = sum(band.cost(np.random.default_rng(0)) for band in made._bands)
        expected = 8**2 / 2 * pair_cost(head) + of_bands
        assert made.cost(np.random.default_rng(0)) == pytest.approx(expected)
    assert CausalDroppedKeys.likely_cost(head, 0.5) > CausalDroppedKeys.likely_cost(head, 0.1)


def test_a_sharp_causal_head_is_certified_by_dropping_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_heads, "LARGE", 0)
    monkeypatch.setattr(real_heads, "exact_cost", lambda head: np.inf)
    monkeypatch.setattr(real_heads, "polynomial_offer", lambda *_: Refusal(reason=""))
    monkeypatch.setattr(dropping, "CLUSTERS", 4.0)
    rng = np.random.default_rng(3)
    K = rng.standard_normal((200, 3))
    Q = 30 * K[rng.integers(0, 4, 200)] + rng.standard_normal(K.shape) / 20
    V = rng.standard_normal((200, 2))
    for scale in (1.0, 0.3):
        found = certified_attention(Q, K, V, tolerance=0.01, causal=True, scale=scale)
        assert found.method == "dropped keys", found.reason
        assert (found.error_bound <= 0.01 * np.abs(V).max()).all()
        verdicts = attention(Q, K, V, causal=True, scale=scale).verdict(
            found.output, found.error_bound
        )
        assert all(v is Verdict.WITHIN for v in verdicts.flat)
