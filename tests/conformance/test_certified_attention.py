"""certified_attention: what it chooses, that it says so, and that every row is what it certified."""

from typing import Any

import numpy as np
import pytest

import fastpath
from reference import Verdict, attention


def head(
    n: int, d: int = 8, d_v: int = 3, size: float = 1.5, seed: int = 0
) -> tuple[Any, Any, Any]:
    """Draw float32 queries and keys around a few centres, as real heads have them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((2, 20, d))
    Q, K = (c[rng.integers(0, 20, n)] + rng.standard_normal((n, d)) / 4 for c in centres)
    V = rng.standard_normal((n, d_v)) + K[:, :d_v]
    return tuple((x * s).astype(np.float32) for x, s in ((Q, size), (K, 1), (V, 1)))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def large() -> Any:
    Q, K, V = head(8000)
    return Q, K, V, fastpath.attention(Q, K, V)


@pytest.mark.parametrize("seed", range(3))
def test_clusters_keep_all_but_the_uncovered_rows_within_the_certificate(
    large: Any, seed: int
) -> None:
    Q, K, V, exact = large
    result = fastpath.certified_attention(
        Q, K, V, tolerance=0.02, rows="quantile", rng=np.random.default_rng(seed)
    )
    assert result.method == "clusters", result.reason
    assert result.error_bound <= 0.02 * np.abs(V).max()
    # A row is outside for certain if it is by more than exact attention itself may err.
    off = (
        np.abs(result.output.astype(float) - exact.output) > result.error_bound + exact.error_bound
    )
    assert off.any(axis=1).sum() <= result.uncovered * len(Q)


def test_clusters_are_closer_than_the_mean_of_the_values(large: Any) -> None:
    Q, K, V, _ = large
    rng = np.random.default_rng(0)
    result = fastpath.certified_attention(Q, K, V, tolerance=0.02, rows="quantile", rng=rng)
    uniform = np.repeat(V.mean(axis=0)[None], len(Q), axis=0)
    assert result.error_bound < fastpath.certify(Q, K, V, uniform, rng=rng).error_bound


def test_a_tolerance_that_only_exact_attention_meets_is_met_by_it(large: Any) -> None:
    Q, K, V, exact = large
    result = fastpath.certified_attention(
        Q, K, V, tolerance=1e-12, rows="quantile", rng=np.random.default_rng(0)
    )
    assert (result.method, result.failure_probability, result.uncovered) == ("exact", 0, 0)
    assert result.reason == "no number of near keys that pays was certified."
    assert np.array_equal(result.output, exact.output)


@pytest.mark.parametrize(
    ("rows", "size", "method"),
    [("all", 0.05, "polynomial"), ("all", 60.0, "exact"), ("quantile", 1.5, "exact")],
)
def test_every_entry_of_a_small_head_is_within_its_certificate(
    rows: str, size: float, method: str
) -> None:
    Q, K, V = head(50, d=3, size=size)
    result = fastpath.certified_attention(
        Q, K, V, tolerance=1e-3, rows=rows, rng=np.random.default_rng(0)
    )
    assert result.method == method
    verdicts = attention(Q, K, V).verdict(result.output, result.error_bound)
    assert all(v is Verdict.WITHIN for v in verdicts.flat)


def test_a_causal_head_is_exact_and_says_why() -> None:
    Q, K, V = head(50)
    result = fastpath.certified_attention(
        Q, K, V, tolerance=1e-3, rows="quantile", causal=True, rng=np.random.default_rng(0)
    )
    assert np.array_equal(result.output, fastpath.attention(Q, K, V, causal=True).output)
    assert "causal" in result.reason


@pytest.mark.parametrize("kind", ["equal keys", "huge", "one direction"])
def test_heads_that_cannot_be_balanced_are_finite_and_certified(kind: str) -> None:
    Q, K, V = (x.astype(np.float64) for x in head(4500, d=4))
    if kind == "equal keys":
        K[:] = K[0]
    elif kind == "huge":
        K *= 1e150
    else:
        Q[:, 1:] = 0
    result = fastpath.certified_attention(
        Q, K, V, tolerance=0.05, rows="quantile", rng=np.random.default_rng(0)
    )
    exact = fastpath.attention(Q, K, V)
    off = np.abs(result.output - exact.output) > result.error_bound + exact.error_bound
    assert off.any(axis=1).sum() <= result.uncovered * len(Q)


BAD = {
    "tolerance": ({"tolerance": 1.0}, ValueError, r"tolerance must be in \(0, 1\), got 1.0"),
    "rows": ({"rows": "most"}, ValueError, "rows must be 'all' or 'quantile', got 'most'"),
    "no generator": (
        {"rows": "quantile"},
        TypeError,
        "rng must be a numpy.random.Generator, got None",
    ),
    "uncovered": ({"uncovered": 0}, ValueError, r"uncovered must be in \(0, 1\), got 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case: str) -> None:
    changed, error, message = BAD[case]
    with pytest.raises(error, match=message):
        fastpath.certified_attention(*head(5), **({"tolerance": 0.1} | changed))
