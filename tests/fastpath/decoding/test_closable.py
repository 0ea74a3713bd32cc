"""What is closed, and attention on what is kept: certificates as sharp and as complete as attention's."""

from typing import Any

import numpy as np
import pytest

from fastpath.core.bounds.softmax import ARITHMETIC
from fastpath.decoding import closable
from fastpath.decoding.closable import TILE, Closable, attend_to
from fastpath.exact.attention import attend_prepared
from fastpath.exact.prepared import PreparedHead
from reference import Verdict, attention_verdict, log_sum_exp
from reference.arithmetic.decide import decide

TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def head(dtype: Any, m: int, size: float) -> Any:
    rng = np.random.default_rng(m)
    return tuple(
        (scale * rng.standard_normal(s)).astype(dtype)
        for scale, s in ((1, (3, 4)), (size, (m, 4)), (2.0**12, (m, 2)))
    )


@TYPES
@pytest.mark.parametrize("tile", [TILE, 100])
@pytest.mark.parametrize(("m", "size"), [(1, 1.0), (7, 30.0), (300, 0.1), (600, 3.0)])
def test_attention_on_kept_keys_is_certified_as_attention_is(
    dtype: Any, m: int, size: float, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bounds are those of exact attention on the same keys, but that a group has one for all."""
    monkeypatch.setattr(closable, "TILE", tile)
    q, k, v = head(dtype, m, size)
    side = PreparedHead(k, v)
    lengths = [np.linalg.norm(x.astype(float), axis=1).max() for x in (q, k)]
    reach = float(np.nextafter(lengths[0] * lengths[1], np.inf))
    found = attend_to(q, k, side.values.scaled, side.values, reach)
    exact = attend_prepared(q, side)
    wide = [x.astype(float) for x in (q, k, v)]
    verdict, _ = attention_verdict(*wide, found.output, found.error_bound, precision=192)
    assert verdict is Verdict.WITHIN
    assert found.log_sum_exp is not None
    assert found.log_sum_exp_bound is not None
    verdict, _ = decide(
        lambda bits: log_sum_exp(*wide[:2], precision=bits),
        found.log_sum_exp,
        found.log_sum_exp_bound,
    )
    assert verdict is Verdict.WITHIN
    assert exact.log_sum_exp_bound is not None
    # A row's own length may be a third of the longest; few logits need no shift, here there always is one.
    if tile == TILE:  # blocks of smaller tiles hold fewer keys, and round less often
        assert (found.error_bound >= 0.95 * exact.error_bound.min()).all()
        assert (found.log_sum_exp_bound >= 0.95 * exact.log_sum_exp_bound).all()
    assert (found.error_bound <= 4 * exact.error_bound.max()).all()


@TYPES
def test_weights_that_underflow_are_counted(dtype: Any) -> None:
    tiny = ARITHMETIC[np.dtype(dtype).name]["tiny"]
    logits, shift = np.array([[[0.0, -800.0]]], dtype), np.zeros(1, dtype)
    some = Closable.of(logits, shift, np.array([1, 1000], dtype), 0.0, 800.0)
    ratio = some.closed(np.array([0]), np.zeros(1), np.zeros(1))
    assert (ratio >= 1000 * tiny).all()


@TYPES
def test_something_is_always_opened(dtype: Any) -> None:
    weights = np.array([0.25, 0.125, 0.25], dtype) / 16
    some = Closable(weights=weights, shift=np.zeros(1, dtype), keys=3.0, error=0.0)
    assert some.opened(0.5).tolist() == [0]
    assert some.opened(1 / 64).tolist() == [0, 2]
    assert some.opened(1e-9).tolist() == [0, 1, 2]
    weights[1] = np.nan
    assert some.opened(0.5).tolist() == [1]


@TYPES
def test_all_that_overflowed_is_opened_with_what_matters_beside_it(dtype: Any) -> None:
    """Catches: what is light as a difference of sums, which are no numbers where a weight is none."""
    weights = np.array([0, np.inf, 0, np.nan, 2, np.inf], dtype)
    some = Closable(weights=weights, shift=np.zeros(1, dtype), keys=6.0, error=0.0)
    assert some.opened(0.5).tolist() == [1, 3, 4, 5]
