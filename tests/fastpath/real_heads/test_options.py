"""Certificates of outputs of attention as it is run, and certified attention with options."""

from typing import Any

import numpy as np
import pytest

import fastpath
from reference import Verdict, attention, attention_verdict

N_Q, N_K = 40, 50


def _head() -> Any:
    rng = np.random.default_rng(5)
    return tuple(rng.standard_normal(size) for size in ((N_Q, 4), (N_K, 4), (N_K, 3)))


def _options() -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(6)
    seen = rng.random((N_Q, N_K)) < 0.6
    seen[:, -1] = True
    return {
        "scale": {"scale": 0.5},
        "upper-left": {"causal": "upper-left"},
        "lower-right": {"causal": "lower-right"},
        "window": {"window": (7, 3)},
        "mask": {"mask": seen},
        "bias": {"bias": rng.standard_normal((N_Q, N_K))},
        "softcap": {"softcap": 1.5},
        "sinks": {"sinks": 0.5},
        "all": {
            "scale": 0.5,
            "causal": "lower-right",
            "window": (9, None),
            "mask": seen,
            "bias": rng.standard_normal((N_Q, N_K)),
            "softcap": 1.5,
            "sinks": 0.5,
            "empty_rows": "zeros",
        },
    }


@pytest.mark.parametrize("name", _options())
def test_the_largest_error_of_an_output_with_options_is_found_and_no_more(name: str) -> None:
    Q, K, V = _head()
    options = _options()[name]
    exact = attention(Q, K, V, **options)
    output = exact.midpoint()
    planted = np.zeros(output.shape)
    planted[17, 1] = 0.25
    found = fastpath.certify(Q, K, V, output + planted, rng=np.random.default_rng(0), **options)
    largest = float(exact.distance(output + planted).reshape(-1).largest()[1])
    assert largest <= found.error_bound
    own = fastpath.attention(Q, K, V, **options).error_bound.max()
    assert found.error_bound <= np.nextafter(largest + 2 * own, 1)


@pytest.mark.parametrize("name", _options())
def test_certified_attention_with_options_is_exact_and_says_why(name: str) -> None:
    Q, K, V = _head()
    options = _options()[name]
    found = fastpath.certified_attention(Q, K, V, tolerance=0.01, **options)
    verdict, _ = attention_verdict(Q, K, V, found.output, found.error_bound, **options)
    assert verdict is Verdict.WITHIN
    assert found.method == "exact"
    assert ("taken by exact attention only" in found.reason) == (name != "scale")


def test_some_rows_of_a_masked_head_are_certified_like_all() -> None:
    """Rows that are drawn are looked up in mask and bias by their own numbers."""
    rng = np.random.default_rng(7)
    n = 3000
    Q, K, V = (rng.standard_normal((n, 2)) for _ in range(3))
    bias = rng.standard_normal((n, 1)) * np.arange(n) / n
    options: dict[str, Any] = {"window": (5, 5), "bias": bias}
    exact = fastpath.attention(Q, K, V, **options)
    found = fastpath.certify(Q, K, V, exact.output, rng=rng, **options)
    assert found.rows_checked < n
    assert found.error_bound <= np.nextafter(2 * exact.error_bound.max(), 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": np.zeros((N_Q, N_K), bool)}, ValueError, "must see a key or a sink"),
        ({"softcap": 0.0}, ValueError, "softcap"),
        ({"window": (-1, 0)}, ValueError, "window"),
        ({"causal": "left"}, TypeError, "causal"),
        ({"causal": True}, ValueError, "causal"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    Q, K, V = _head()
    with pytest.raises(error, match=message):
        fastpath.certify(Q, K, V, np.zeros((N_Q, 3)), rng=np.random.default_rng(0), **options)
