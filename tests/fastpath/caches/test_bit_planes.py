"""Bit planes: as few bits as certify a tolerance, the enclosed truth, and refusals."""

from typing import Any

import numpy as np
import pytest

from fastpath import BitPlaneCache
from fastpath.caches.bit_planes import PLANES
from proofs.judging.heads import shipped_heads
from reference import Verdict, attention_verdict


def assert_certified(Q: Any, K: Any, V: Any, found: Any, **options: Any) -> None:
    verdict, _ = attention_verdict(
        Q, K, V, found.output, found.error_bound, precision=192, **options
    )
    assert verdict is Verdict.WITHIN


def test_real_heads_are_answered_to_the_tolerance_with_fewer_bits_for_less() -> None:
    for head in shipped_heads(64):
        Q = head.Q[:2]
        cache = BitPlaneCache(head.K, head.V)
        read = []
        for tolerance in (0.2, 0.02):
            found = cache.attention(Q, tolerance)
            assert found.reached.all()
            assert found.error_bound.max() <= tolerance * np.abs(head.V).max()
            assert_certified(Q, head.K, head.V, found)
            read.append(found.bits_read.mean())
        assert read[0] < read[1] < PLANES


@pytest.mark.parametrize("size", [1.0, 2.0**-100, 2.0**50])
@pytest.mark.parametrize(("n", "d", "width"), [(1, 1, 1), (5, 8, 3), (9, 32, 4)])
def test_any_size_is_certified(size: float, n: int, d: int, width: int) -> None:
    rng = np.random.default_rng(3)
    K, V, Q = (
        rng.standard_normal((n, d)) * size,
        rng.standard_normal((n, width)) * size,
        rng.standard_normal((2, d)) / size,
    )
    for tolerance in (0.5, 0.01, 1e-9):
        found = BitPlaneCache(K, V).attention(Q, tolerance, scale=0.5)
        assert np.isfinite(found.error_bound).all()
        assert np.isfinite(found.output).all()
        assert_certified(Q, K, V, found, scale=0.5)
        assert found.reached.all() or tolerance < 2.0**-PLANES


def test_zeros_ties_and_constant_rows_are_certified() -> None:
    for K, V in (
        (np.zeros((3, 4)), np.zeros((3, 2))),
        (np.ones((3, 4)), np.full((3, 2), -7.0)),
        (np.tile([0.5, -0.5, 1.0, -1.0], (3, 1)), np.tile([1.0, -1.0], (3, 1))),
        (np.full((3, 4), 1e-42), np.full((3, 2), 1e-44)),
    ):
        found = BitPlaneCache(K, V).attention(np.ones((1, 4)), 0.1)
        assert np.isfinite(found.error_bound).all()
        assert_certified(np.ones((1, 4)), K, V, found)


def test_query_heads_share_key_heads() -> None:
    rng = np.random.default_rng(4)
    Q, K, V = (rng.standard_normal(s) for s in ((2, 4, 2, 8), (2, 2, 7, 8), (2, 2, 7, 4)))
    found = BitPlaneCache(K, V).attention(Q, 0.05)
    assert found.bits_read.shape == found.reached.shape == (2, 4, 2)
    assert_certified(Q, K, V, found)


def test_memory_is_half_of_float32() -> None:
    K = np.ones((256, 32), np.float32)
    assert BitPlaneCache(K, K).nbytes <= 0.45 * 2 * K.nbytes


@pytest.mark.parametrize("tolerance", [0, 1, -0.1, np.nan])
def test_a_tolerance_outside_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"tolerance must be in \(0, 1\)"):
        BitPlaneCache(np.ones((2, 4)), np.ones((2, 4))).attention(np.ones((1, 4)), tolerance)


def test_what_does_not_fit_is_refused() -> None:
    ones = np.ones((2, 4))
    for call, says in (
        (lambda: BitPlaneCache(ones * np.nan, ones), "K must be finite and at most"),
        (lambda: BitPlaneCache(ones, ones[:1]), "K and V must have the same number of rows"),
        (lambda: BitPlaneCache(ones, ones, group=3), "group of K must divide 4, got 3"),
        (lambda: BitPlaneCache(ones, ones).attention(ones * np.inf, 0.1), "Q must be finite"),
        (lambda: BitPlaneCache(ones, ones).attention(ones[:, :3], 0.1), "same number of columns"),
    ):
        with pytest.raises(ValueError, match=says):
            call()


@pytest.mark.parametrize(
    ("q", "scale", "message"),
    [
        (1e300, 1.0, "Q and K must keep"),
        (1e200, 1e200, "Q and K must keep"),
        (1.0, 5e-324, "scale must lie in"),
        (1.0, 1e308, "scale must lie in"),
    ],
)
def test_logits_that_overflow_are_refused(q: float, scale: float, message: str) -> None:
    """Catches: weights that are no numbers, of which numpy says that there is none."""
    cache = BitPlaneCache(np.full((2, 3), 1e30), np.eye(2))
    with pytest.raises(ValueError, match=message):
        cache.attention(np.full((1, 3), q), 0.1, scale=scale)
