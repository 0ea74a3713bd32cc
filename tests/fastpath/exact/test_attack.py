"""Certificates of attention and its gradient, attacked: entries and options where floats end or cancel.

Every verdict is by enclosure.  The caller's numpy raises at each event, which must change nothing.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastpath
from reference import Verdict, attention, attention_gradient, log_sum_exp
from reference.arithmetic.decide import decide

Array = NDArray[Any]

#: Bits that decide a gradient of entries of 2^-100 to 10^15.
BITS = (300, 2000)


def _entries(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    x = rng.standard_normal(shape)
    kinds = (
        x,
        np.sign(x),
        x * 10.0 ** rng.uniform(-30, 15),
        np.where(rng.random(shape) < 0.3, 0, x) * 10,
        np.round(2 * x) / 2,
        x * 2.0 ** rng.integers(-100, 20),
        1 + x * 2.0**-20,
    )
    return kinds[rng.integers(len(kinds))].astype(dtype)


def _bias(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    bias = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 5)
    if rng.random() < 0.5:
        bias[rng.random(shape) < 0.3] = rng.choice([-np.inf, -1e4, -1e9, -1e30])
    return bias.astype(dtype)


def _options(rng: np.random.Generator, n_q: int, n_k: int, dtype: Any) -> dict[str, Any]:
    def width() -> int | None:
        return None if rng.random() < 0.3 else int(rng.integers(4))

    every = {
        "scale": lambda: float(rng.choice([1e-3, 0.3, 7.0, -1.0, 2.0**-30])),
        "window": lambda: (width(), width()),
        "mask": lambda: rng.random((n_q, n_k)) < rng.choice([0.2, 0.7]),
        "bias": lambda: _bias(rng, (n_q, n_k), dtype),
        "softcap": lambda: float(rng.choice([1e-6, 0.5, 30.0, 1e6])),
        "sinks": lambda: float(rng.choice([-1e4, 0.0, 1.5, 80.0, 1e4])),
    }
    asked = {name: draw() for name, draw in every.items() if rng.random() < 0.4}
    causal = (False, "upper-left", "lower-right")[rng.integers(3)]
    return {"causal": causal, "empty_rows": "zeros", **asked}


def _drawn(seed: int, count: int) -> Iterator[tuple[Array, Array, Array, Array, dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        dtype = (np.float32, np.float64)[rng.integers(2)]
        n_q, n_k, d, d_v = (int(x) for x in rng.integers(1, 9, 4))
        shapes = ((n_q, d), (n_k, d), (n_k, d_v), (n_q, d_v))
        Q, K, V, dO = (_entries(rng, shape, dtype) for shape in shapes)
        yield Q, K, V, dO, _options(rng, n_q, n_k, dtype)


def _attention_holds(Q: Array, K: Array, V: Array, options: dict[str, Any]) -> None:
    found = fastpath.attention(Q, K, V, **options)
    sees = np.isfinite(found.log_sum_exp)
    assert np.isfinite(found.error_bound).all()
    assert (found.output[~sees] == 0).all()
    if sees.any():
        verdict, _ = decide(
            lambda bits: attention(Q, K, V, precision=bits, **options)[sees],
            found.output[sees],
            found.error_bound[sees],
        )
        assert verdict is Verdict.WITHIN, options
    if sees.all():
        seen = {name: value for name, value in options.items() if name != "empty_rows"}
        verdict, _ = decide(
            lambda bits: log_sum_exp(Q, K, precision=bits, **seen),
            found.log_sum_exp,
            found.log_sum_exp_bound,
        )
        assert verdict is Verdict.WITHIN, options


def _gradient_holds(Q: Array, K: Array, V: Array, dO: Array, options: dict[str, Any]) -> None:
    found = fastpath.attention_gradient(Q, K, V, dO, **options)
    for name, part in zip(("dQ", "dK", "dV"), found, strict=True):
        verdict, _ = decide(
            lambda bits, name=name: getattr(
                attention_gradient(Q, K, V, dO, precision=bits, **options), name
            ),
            part.output,
            np.broadcast_to(part.error_bound, part.output.shape),
            precisions=BITS,
        )
        assert verdict is Verdict.WITHIN, (name, options)


def test_no_certificate_breaks_at_the_edges() -> None:
    with np.errstate(all="raise"):
        for Q, K, V, dO, options in _drawn(0, 60):
            _attention_holds(Q, K, V, options)
            _gradient_holds(Q, K, V, dO, options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_no_certificate_breaks_at_the_edges_over_many_draws(seed: int) -> None:
    with np.errstate(all="raise"):
        for Q, K, V, dO, options in _drawn(seed, 700):
            _attention_holds(Q, K, V, options)
            _gradient_holds(Q, K, V, dO, options)
