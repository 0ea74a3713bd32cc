"""Attention as it is run: every option, alone, in pairs and in any combination, within its certificate."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.exact import attention as module
from reference import Verdict, attention_verdict
from reference.arithmetic.decide import decide
from reference.attention import log_sum_exp
from reference.visibility import visible


def _scale(rng: Any, shape: Any) -> Any:
    return float(rng.choice([0.3, -1.7, 2.0**-120, 0.0, 4.0]))


def _causal(rng: Any, shape: Any) -> Any:
    return ["upper-left", "lower-right"][rng.integers(2)]


def _window(rng: Any, shape: Any) -> Any:
    return tuple(None if rng.random() < 0.3 else int(rng.integers(4)) for _ in range(2))


def _mask(rng: Any, shape: Any) -> Any:
    return rng.random(_broadcastable(rng, shape)) < rng.choice([0.1, 0.5, 0.9])


def _bias(rng: Any, shape: Any) -> Any:
    size = rng.choice([0.1, 3.0, 60.0])
    bias = size * rng.standard_normal(_broadcastable(rng, shape))
    bias[rng.random(bias.shape) < 0.3] = rng.choice([-np.inf, -1e4, -1e30, 0.0])
    return bias.astype((np.float32, np.float64)[rng.integers(2)])


def _softcap(rng: Any, shape: Any) -> Any:
    return float(rng.choice([0.7, 15.0, 50.0]))


def _sinks(rng: Any, shape: Any) -> Any:
    sinks = rng.choice([0.3, 5.0, 200.0]) * rng.standard_normal(shape[:-2][-1:])
    return sinks if sinks.ndim else float(sinks)


def _heads(rng: Any, shape: Any) -> Any:
    raise AssertionError("heads are no argument")


OPTIONS = {
    "scale": _scale,
    "causal": _causal,
    "window": _window,
    "mask": _mask,
    "bias": _bias,
    "softcap": _softcap,
    "sinks": _sinks,
    "heads": _heads,
}


def _broadcastable(rng: Any, shape: Any) -> Any:
    """Return a shape that broadcasts to the shape."""
    return tuple(n if rng.random() < 0.7 else 1 for n in shape)


def drawn(rng: Any, names: Any) -> Any:
    """Return Q, K, V and the options of those names."""
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n_q, n_k, d, d_v = (int(x) for x in rng.integers(1, (8, 11, 5, 4)))
    heads, key_heads = ((2, 4), (2, 2)) if "heads" in names else ((), ())
    size = rng.choice([0.1, 1.0, 5.0, 30.0])
    Q = size * rng.standard_normal((*heads, n_q, d))
    K = rng.standard_normal((*key_heads, n_k, d))
    V = rng.choice([1.0, 1e-20, 1e20]) * rng.standard_normal((*key_heads, n_k, d_v))
    options = {name: OPTIONS[name](rng, (*heads, n_q, n_k)) for name in names if name != "heads"}
    return (*(x.astype(dtype) for x in (Q, K, V)), options)


def empty_rows(Q: Any, K: Any, options: Any) -> Any:
    """Which queries see neither key nor sink, by the definition."""
    given = {name: options[name] for name in ("causal", "window", "mask") if name in options}
    shape = (*Q.shape[:-1], K.shape[-2])
    seen = np.broadcast_to(visible(Q.shape[-2], K.shape[-2], **given), shape)
    if "bias" in options:
        seen = seen & (options["bias"] > -np.inf)
    return ~seen.any(axis=-1) & ("sinks" not in options)


def judged(Q: Any, K: Any, V: Any, options: Any) -> Any:
    """Return the result after every entry of it was decided to lie within its bound."""
    result = fastpath.attention(Q, K, V, empty_rows="zeros", **options)
    empty = empty_rows(Q, K, options)
    assert (result.output[empty] == 0).all()
    assert (result.error_bound[empty] == 0).all()
    assert (result.log_sum_exp[empty] == -np.inf).all()
    # No enclosure decides 0 <= 0.
    bound = np.where(empty[..., None], 2.0**-1000, result.error_bound)
    verdict, _ = attention_verdict(Q, K, V, result.output, bound, empty_rows="zeros", **options)
    assert verdict is Verdict.WITHIN
    if empty.any():
        with pytest.raises(ValueError, match=f"^query {int(np.argwhere(empty)[0][-1])} .*must see"):
            fastpath.attention(Q, K, V, **options)
    else:
        verdict, _ = decide(
            lambda bits: log_sum_exp(Q, K, precision=bits, **options),
            result.log_sum_exp,
            result.log_sum_exp_bound,
        )
        assert verdict is Verdict.WITHIN
    return result


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let heads of a few keys have several blocks."""
    monkeypatch.setattr(module, "KEY_BLOCK", 3)
    monkeypatch.setattr(module, "QUERY_BLOCK", 2)


@pytest.mark.parametrize(
    "names", [(name,) for name in OPTIONS] + list(combinations(OPTIONS, 2)), ids="-".join
)
def test_every_option_and_every_pair_is_within_its_certificate(names: Any) -> None:
    for seed in range(6):
        judged(*drawn(np.random.default_rng(seed), names))


@pytest.mark.parametrize("seed", range(150))
def test_any_combination_of_options_is_within_its_certificate(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    judged(*drawn(rng, [name for name in OPTIONS if rng.random() < 0.5]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000))
def test_any_of_many_combinations_is_within_its_certificate(seed: int) -> None:
    rng = np.random.default_rng(10_000 + seed)
    judged(*drawn(rng, [name for name in OPTIONS if rng.random() < 0.5]))
