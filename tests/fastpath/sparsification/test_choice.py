"""What sparsify chooses, that X is checked once whatever it does, and what follows a way that fails."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import fastpath
from fastpath.core import inputs
from fastpath.core.offers import Offer, Refusal
from fastpath.sparsification import feature_matrix
from fastpath.sparsification.choice import METHODS, Asked, ways


@contextmanager
def counted_checks() -> Iterator[Counter[str]]:
    """Count how often features are checked, and by name how often an array is."""
    counts: Counter[str] = Counter()

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            if frame.f_code is feature_matrix.feature_matrix.__code__:
                counts["features"] += 1
            elif frame.f_code is inputs.exact_floats.__code__:
                counts[frame.f_locals["name"]] += 1

    sys.setprofile(watch)
    try:
        yield counts
    finally:
        sys.setprofile(None)


def asked(guarantee: str, method: str) -> dict[str, Any]:
    choices: dict[str, Any] = {"guarantee": guarantee, "method": method}
    if method not in ("auto", "gram", "caratheodory"):
        choices["epsilon"] = 0.9
    return choices


CASES = [(g, m) for g in METHODS for m in ("auto", *METHODS[g])]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("guarantee", "method"), CASES)
def test_features_are_checked_once_whatever_is_asked(
    guarantee: str, method: str, sparse: bool
) -> None:
    X: Any = np.random.default_rng(0).standard_normal((4, 900))
    if sparse:
        X = sp.csr_array(X)
    with counted_checks() as counts:
        fastpath.sparsify(X, rng=np.random.default_rng(0), **asked(guarantee, method))
    assert counts == {"features": 1, "X.data" if sparse else "X": 1}


@pytest.mark.parametrize("method", ["gram-of-sketch", "osnap", "countsketch"])
def test_features_are_checked_once_where_a_claim_alone_vouches(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastpath.sparsification.choice.gram_cost", lambda X: np.inf)
    with counted_checks() as counts:
        result = fastpath.sparsify(
            np.ones((2, 4000)),
            guarantee="loewner",
            method=method,
            epsilon=0.5,
            failure_probability=0.5,
            rng=np.random.default_rng(0),
        )
    assert result.certificate == "probability"
    assert counts == {"features": 1, "X": 1}


def offers(X: Any, **choices: Any) -> tuple[dict[str, float], list[str]]:
    """Return what is offered, with its cost, and why the rest is not."""
    given = {
        "guarantee": "loewner",
        "epsilon": None,
        "failure_probability": None,
        "method": "auto",
        "width": None,
    } | choices
    given_x = feature_matrix.FeatureMatrix(entries=X)
    found = ways(given_x, Asked.of(given_x, **given), lambda plan: plan)
    return (
        {way.way: way.cost for way in found if isinstance(way, Offer)},
        [way.reason for way in found if isinstance(way, Refusal)],
    )


WIDE = np.broadcast_to(np.ones((1, 1)), (40, 4000))

CHOICES: list[tuple[dict[str, Any], set[str]]] = [
    ({"guarantee": "exact"}, {"gram"}),
    ({}, {"gram"}),
    ({"width": 60}, {"osnap"}),
    ({"epsilon": 0.5, "failure_probability": 0.5}, {"gram"}),
    ({"guarantee": "entrywise", "epsilon": 0.9}, {"gram"}),
    ({"guarantee": "entrywise", "width": 20}, {"jl"}),
    ({"guarantee": "columns", "epsilon": 0.5}, {"bss"}),
    ({"guarantee": "columns", "width": 83}, {"bss"}),
    ({"guarantee": "columns", "epsilon": 0.5, "failure_probability": 0.1}, {"leverage"}),
    ({"guarantee": "columns"}, set()),
]


@pytest.mark.parametrize(("choices", "offered"), CHOICES)
def test_what_is_offered_for_what_is_asked(choices: dict[str, Any], offered: set[str]) -> None:
    found, refusals = offers(WIDE, **choices)
    assert set(found) == offered
    assert all(refusals)


def test_a_sketch_is_offered_beside_the_gram_matrix_where_its_claim_asks_for_fewer_columns() -> (
    None
):
    X = np.broadcast_to(np.ones((1, 1)), (8, 4_000_000))
    found, _ = offers(X, epsilon=0.9, failure_probability=0.9)
    assert set(found) == {"gram", "gram-of-sketch"}
    assert min(found, key=lambda way: found[way]) == "gram"


def test_where_bss_would_take_too_long_columns_are_sampled() -> None:
    X = np.broadcast_to(np.ones((1, 1)), (2000, 60_000))
    found, refusals = offers(X, guarantee="columns", epsilon=0.1)
    assert set(found) == {"leverage"}
    assert any("BSS would take some" in reason for reason in refusals)


def test_where_a_sketch_fails_after_it_began_the_gram_matrix_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sketch of so short a row could underflow, which it says when it has seen them."""
    monkeypatch.setattr("fastpath.sparsification.choice.gram_cost", lambda X: 1e300)
    X = np.ones((2, 4000), np.float32)
    choices: dict[str, Any] = {"guarantee": "loewner", "epsilon": 0.9, "failure_probability": 0.9}
    assert fastpath.sparsify(X, **choices).method == "gram-of-sketch"
    X[0] = 2.0**-110
    with pytest.raises(RuntimeError, match="could underflow"):
        fastpath.sparsify(X, method="gram-of-sketch", **choices)
    assert fastpath.sparsify(X, **choices).method == "gram"


def test_where_rounding_defeats_the_barriers_that_is_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastpath.sparsification.barriers._inverse", lambda *_: None)
    X = np.random.default_rng(0).standard_normal((4, 900))
    with pytest.raises(RuntimeError, match=r"past a barrier: X is too ill-conditioned .*\.$"):
        fastpath.sparsify(X, guarantee="columns", method="bss", epsilon=0.9)


def test_a_certificate_names_the_matrix_that_it_refuses() -> None:
    X, Y = np.ones((2, 3)), np.full((2, 3), np.nan)
    for certify in (fastpath.certified_closeness, fastpath.entrywise_error):
        with pytest.raises(ValueError, match="Y must be finite"):
            certify(X, Y)
        with pytest.raises(ValueError, match="X must be finite"):
            certify(Y, X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "rank"), [(2, 2), (12, 12), (12, 3), (20, 20)])
def test_a_small_epsilon_gets_the_columns_without_error_where_they_are_fewer(
    n: int, rank: int, dtype: Any
) -> None:
    rng = np.random.default_rng(n)
    X = (rng.standard_normal((n, rank)) @ rng.standard_normal((rank, 500))).astype(dtype)
    result = fastpath.sparsify(X, guarantee="columns", epsilon=0.05)
    assert result.method == "caratheodory"
    assert result.Y.shape[1] <= rank * (rank + 1) // 2 < 500
    assert result.epsilon + result.slack <= 0.05
    # A larger epsilon lets others keep fewer columns still, but of two rows.
    large = fastpath.sparsify(X, guarantee="columns", epsilon=0.9)
    assert (large.method == "caratheodory") == (n == 2)


def test_where_rounding_defeats_the_columns_without_error_all_are_kept() -> None:
    X = np.random.default_rng(0).standard_normal((4, 90))
    result = fastpath.sparsify(X, guarantee="columns", epsilon=1e-300)
    assert (result.method, result.Y.shape) == ("copy", (4, 90))


def test_a_width_that_does_not_serve_is_called_width() -> None:
    X = np.random.default_rng(0).standard_normal((20, 90))
    with pytest.raises(ValueError, match="width must exceed the rank of X, 20") as refused:
        fastpath.sparsify(X, guarantee="columns", width=5)
    assert "count" not in str(refused.value)
