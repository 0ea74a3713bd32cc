"""Quantised caches: certificates against the enclosed truth on the originals, edits, files and refusals."""

from collections.abc import Callable
from copy import deepcopy
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastpath import QuantisedCache, attention
from fastpath.caches.formats import FORMATS
from fastpath.core.certified import Certified
from proofs.judging.heads import shipped_heads
from reference import Verdict, attention_verdict, log_sum_exp, weights
from reference.arithmetic.decide import decide

#: Formats of keys and of values, columns of a group, whether keys are grouped by channel.
LAYOUTS: tuple[tuple[Any, Any, int, bool], ...] = (
    (8, 8, 32, False),
    (4, 4, 32, False),
    (4, 8, 2, True),
    (8, 4, 4, False),
    ("fp8", "fp8", 32, False),
    ("bfloat16", "bfloat16", 32, False),
    ("fp8", 8, 1, True),
)


def cache_of(K: Any, V: Any, layout: tuple[Any, Any, int, bool]) -> QuantisedCache:
    keys, values, group, channels = layout
    if group < 32:
        group = gcd(group, np.shape(K)[-1], np.shape(V)[-1])
    return QuantisedCache(K, V, key_bits=keys, value_bits=values, group=group, per_channel=channels)


def assert_certified(Q: Any, K: Any, V: Any, found: Certified, **options: Any) -> None:
    assert np.isfinite(found.error_bound).all()
    verdict, _ = attention_verdict(
        Q, K, V, found.output, found.error_bound, precision=192, **options
    )
    assert verdict is Verdict.WITHIN


def structured() -> list[Any]:
    rng = np.random.default_rng(5)
    normal = rng.standard_normal
    ties = np.tile(np.r_[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, 63.5, 0.0], (4, 1))
    outlier = normal((6, 8))
    outlier[:, 0] = 100
    sparse = np.where(np.arange(6)[:, None] % 2, normal((6, 8)), 0)
    small = np.float32(1e-42)
    cases = {
        "zeros": (np.zeros((2, 4)), np.zeros((3, 4)), np.zeros((3, 2))),
        "constant columns": (np.ones((2, 4)), np.full((3, 4), 1.001), np.full((3, 2), -7.77)),
        "zero rows": (normal((2, 8)), sparse, sparse[:, :4]),
        "an outlying column": (0.1 * normal((2, 8)), outlier, outlier[:, ::-1]),
        "ties at half a step": (0.01 * normal((2, 8)), ties, ties[:, :2]),
        "subnormal numbers": (
            np.ones((2, 4), np.float32),
            small * np.arange(12, dtype=np.float32).reshape(3, 4),
            small * np.arange(6, dtype=np.float32).reshape(3, 2),
        ),
        "2^100": (2.0**-100 * normal((2, 4)), 2.0**100 * normal((3, 4)), 2.0**100 * normal((3, 2))),
        "2^-100": (
            2.0**100 * normal((2, 4)),
            2.0**-100 * normal((3, 4)),
            2.0**-100 * normal((3, 2)),
        ),
        "equal keys": (normal((2, 8)), np.full((5, 8), 0.3), normal((5, 2))),
        "one key": (normal((1, 1)), normal((1, 1)), normal((1, 1))),
        "float32": tuple(normal(s).astype(np.float32) for s in ((2, 8), (9, 8), (9, 4))),
    }
    return [pytest.param(*case, id=name) for name, case in cases.items()]


@pytest.mark.parametrize(("Q", "K", "V"), structured())
def test_the_truth_on_the_originals_is_within_both_bounds(Q: Any, K: Any, V: Any) -> None:
    for layout in LAYOUTS:
        cache = cache_of(K, V, layout)
        augmented, hull = cache.attention(Q), cache.attention(Q, bound="hull")
        assert_certified(Q, K, V, augmented)
        assert_certified(Q, K, V, hull)
        assert np.array_equal(augmented.output, hull.output)


@pytest.mark.parametrize(("Q", "K", "V"), structured())
def test_total_variation_is_within_its_bound(Q: Any, K: Any, V: Any) -> None:
    for layout in LAYOUTS:
        cache = cache_of(K, V, layout)
        read, _ = cache.read()

        def truth(bits: int, read: Any = read) -> Any:
            return abs(weights(Q, K, precision=bits) - weights(Q, read, precision=bits)).sum(axis=1)

        found = cache.variation(Q)
        verdict, _ = decide(truth, np.zeros(len(Q)), 2 * found + np.finfo(float).tiny)
        assert verdict is Verdict.WITHIN


OPTIONS: dict[str, dict[str, Any]] = {
    "scale": {"scale": 0.125},
    "causal": {"causal": "lower-right"},
    "window": {"window": (2, 1)},
    "mask": {"mask": np.arange(9) % 3 > 0},
    "bias": {"bias": np.where(np.arange(9) % 4, np.linspace(-2, 2, 9), -np.inf)},
    "far bias": {"bias": np.where(np.arange(9) % 4, 0.0, -1e9)},
    "softcap": {"softcap": 3.0},
    "sinks": {"sinks": 0.5},
    "all": {
        "scale": 0.5,
        "causal": "lower-right",
        "window": (5, None),
        "softcap": 2.0,
        "sinks": -1.0,
    },
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("bound", ["augmented", "hull"])
def test_every_option_is_certified(options: dict[str, Any], bound: str) -> None:
    rng = np.random.default_rng(7)
    Q, K, V = (rng.standard_normal(s).astype(np.float32) for s in ((4, 8), (9, 8), (9, 4)))
    for layout in LAYOUTS[:3]:
        found = cache_of(K, V, layout).attention(Q, bound=bound, **options)
        assert_certified(Q, K, V, found, **options)
        assert found.log_sum_exp is not None
        assert found.log_sum_exp_bound is not None
        verdict, _ = decide(
            lambda bits: log_sum_exp(Q, K, precision=bits, **options),
            found.log_sum_exp,
            found.log_sum_exp_bound,
        )
        assert verdict is Verdict.WITHIN


@pytest.mark.parametrize("bound", ["augmented", "hull"])
def test_a_row_that_sees_nothing_is_zero_and_exact(bound: str) -> None:
    rng = np.random.default_rng(8)
    Q, K, V = (rng.standard_normal(s) for s in ((2, 4), (3, 4), (3, 2)))
    mask = np.array([[False] * 3, [True] * 3])
    found = QuantisedCache(K, V).attention(Q, mask=mask, empty_rows="zeros", bound=bound)
    assert not found.output[0].any()
    assert not found.error_bound[0].any()
    assert found.log_sum_exp is not None
    assert found.log_sum_exp_bound is not None
    assert np.isneginf(found.log_sum_exp[0])
    assert found.log_sum_exp_bound[0] == 0
    verdict, _ = attention_verdict(Q[1:], K, V, found.output[1:], found.error_bound[1:])
    assert verdict is Verdict.WITHIN


def test_query_heads_share_key_heads() -> None:
    rng = np.random.default_rng(9)
    Q, K, V = (rng.standard_normal(s) for s in ((2, 4, 3, 8), (2, 2, 7, 8), (2, 2, 7, 4)))
    # Heads of different sizes have units of their own.
    K[:, 1] *= 2.0**20
    Q[:, 2:] *= 2.0**-20
    V[0, 1] *= 2.0**-30
    for layout in LAYOUTS:
        cache = cache_of(K, V, layout)
        for bound in ("augmented", "hull"):
            assert_certified(Q, K, V, cache.attention(Q, bound=bound))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_appended_and_evicted_is_what_is_attended_to(layout: Any) -> None:
    rng = np.random.default_rng(10)
    Q, K, V = (rng.standard_normal(s) for s in ((2, 8), (20, 8), (20, 4)))
    cache = cache_of(K[:5], V[:5], layout)
    assert cache.append(K[5], V[5]).tolist() == [5]
    assert cache.append(K[6:16], V[6:16]).tolist() == list(range(6, 16))
    kept = list(range(16))
    for key in (0, 15, 7, 8, 6, 9):
        cache.evict(key)
        kept.remove(key)
    for key in range(16, 20):
        kept += cache.append(K[key], V[key]).tolist()
    assert len(cache) == len(kept)
    assert kept[-1] == 19
    assert_certified(Q, K[kept], V[kept], cache.attention(Q))
    assert_certified(Q, K[kept], V[kept], cache.attention(Q, bound="hull"))


def test_a_radius_is_at_least_the_distance_of_what_is_read_and_little_more() -> None:
    rng = np.random.default_rng(14)
    columns = rng.standard_normal(8)
    K = np.concatenate([np.tile(columns, (4, 1)), rng.standard_normal((60, 8))])
    for layout in LAYOUTS:
        cache = cache_of(K[:1], K[:1], layout)
        for key in K[1:]:  # by channel they wait in bfloat16 until their group is full
            cache.append(key, key)
        read, values = (x.astype(float) for x in cache.read())
        radius, error = cache.radii()
        assert (radius >= np.linalg.norm(K - read, axis=1) * (1 - 1e-12)).all()
        assert (error[:, None] >= np.abs(K - values) * (1 - 1e-12)).all()
        if not layout[3]:
            assert (radius <= 1.3 * np.linalg.norm(K - read, axis=1) + 2.0**-9).all()


def test_a_cache_that_is_emptied_refuses_and_is_filled_again() -> None:
    cache = QuantisedCache(np.ones((1, 4)), np.ones((1, 4)))
    cache.evict(0)
    assert len(cache) == 0
    with pytest.raises(ValueError, match="must hold a key to attend to"):
        cache.attention(np.ones((1, 4)))
    assert cache.append(np.ones(4), np.full(4, 3.0)).tolist() == [1]
    assert_certified(
        np.ones((1, 4)), np.ones((1, 4)), np.full((1, 4), 3.0), cache.attention(np.ones((1, 4)))
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_holds_the_cache_bit_for_bit(layout: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    K, V, Q = (rng.standard_normal(s) for s in ((2, 9, 8), (2, 9, 4), (2, 2, 8)))
    cache = cache_of(K, V, layout)
    cache.evict(3)
    cache.save(tmp_path / "cache")
    again = QuantisedCache.load(tmp_path / "cache")
    assert state(again) == state(cache)
    for other in (again, deepcopy(cache)):
        assert np.array_equal(other.attention(Q).error_bound, cache.attention(Q).error_bound)
        other.append(K[:, 0], V[:, 0])
        other.evict(4)
    assert len(cache) == 8
    cache.append(K[:, 0], V[:, 0])
    cache.evict(4)
    assert state(again) == state(other) == state(cache)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_file_that_was_changed_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    QuantisedCache(np.ones((2, 4)), np.ones((2, 4))).save(path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-40]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="digest is wrong"):
        QuantisedCache.load(path)


def state(cache: QuantisedCache) -> list[Any]:
    """Return everything that a cache holds, by its bytes."""
    found: list[Any] = []
    for name, value in sorted(vars(cache).items()):
        if name.endswith("_lock"):
            continue
        if hasattr(value, "codes"):
            arrays = (value.codes, value.scales, value.zeros, value.radii, value.lengths)
            found.append((name, [None if a is None else (a.shape, a.tobytes()) for a in arrays]))
        else:
            found.append((name, value.tobytes() if isinstance(value, np.ndarray) else value))
    return found


ONES = np.ones((3, 4))

REFUSED: dict[str, tuple[Callable[[QuantisedCache], Any], str]] = {
    "evicting twice": (
        lambda c: c.evict(1),
        r"key must be one that is in the cache, got 1: it was evicted\.",
    ),
    "evicting what never was": (lambda c: c.evict(3), r"key must be in \[-3, 3\), got 3\."),
    "evicting half a key": (lambda c: c.evict(0.5), "key must be an integer, got 0.5"),  # type: ignore[arg-type]
    "appending NaN": (
        lambda c: c.append(np.full(4, np.nan), ONES[0]),
        r"K must be finite .* got nan\.",
    ),
    "appending infinity": (
        lambda c: c.append(ONES[0], np.full(4, np.inf)),
        r"V must be finite .* got inf\.",
    ),
    "appending too much": (
        lambda c: c.append(np.full(4, 1e300), ONES[0]),
        r"K must be .* at most 2\^120",
    ),
    "appending other columns": (
        lambda c: c.append(np.ones(5), ONES[0]),
        r"K must have the cache's shape \(n, 4\)",
    ),
    "appending keys without values": (
        lambda c: c.append(ONES, ONES[:2]),
        "K and V must have shapes",
    ),
    "appending nothing": (lambda c: c.append(ONES[:0], ONES[:0]), "K must not be empty"),
    "asking with NaN": (lambda c: c.attention(np.full((1, 4), np.nan)), "Q must be finite"),
    "asking with other columns": (lambda c: c.attention(np.ones((1, 5))), "same number of columns"),
    "another bound": (
        lambda c: c.attention(ONES, bound="best"),
        "bound must be 'augmented' or 'hull', got 'best'",
    ),
}


@pytest.mark.parametrize(("call", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_leaves_the_state_as_it_was(
    call: Callable[[QuantisedCache], Any], says: str
) -> None:
    for layout in LAYOUTS:
        cache = cache_of(ONES, ONES, layout)
        cache.evict(1)
        before = state(cache)
        with pytest.raises((ValueError, TypeError, IndexError), match=says):
            call(cache)
        assert state(cache) == before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"group": 3}, "group of K must divide 4, got 3"),
        ({"group": 0}, "group must be at least 1, got 0"),
        ({"key_bits": 5}, "key_bits must be one of 8, 4, 'fp8', 'bfloat16', got 5"),
        ({"value_bits": "int8"}, "value_bits must be one of"),
        ({"key_bits": "bfloat16", "per_channel": True}, "per_channel needs keys with scales"),
        ({"per_channel": 1}, "per_channel must be True or False"),
    ],
)
def test_a_format_that_there_is_not_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        QuantisedCache(np.ones((2, 4)), np.ones((2, 4)), **given)


def test_input_in_any_memory_order_is_read_and_left_as_it_is() -> None:
    rng = np.random.default_rng(12)
    K, V = rng.standard_normal((9, 8)), rng.standard_normal((9, 4))
    orders = [K, np.asfortranarray(K), np.repeat(K, 2, axis=0)[::2], K[:, ::-1][:, ::-1]]
    states = []
    for keys in orders:
        keys.flags.writeable = False
        states.append(state(QuantisedCache(keys, V)))
    assert all(s == states[0] for s in states)


@pytest.mark.parametrize("bits", FORMATS)
def test_memory_with_int8_is_at_most_27_percent_of_float32(bits: Any) -> None:
    most = {8: 0.27, 4: 0.161, "fp8": 0.27, "bfloat16": 0.54}[bits]
    for d in (32, 64, 128):
        K, V = np.ones((4096, d), np.float32), np.ones((4096, d), np.float32)
        cache = QuantisedCache(K, V, key_bits=bits, value_bits=bits)
        assert cache.nbytes <= most * (K.nbytes + V.nbytes)


def test_every_real_head_is_certified_and_bfloat16_closely() -> None:
    for head in shipped_heads(64):
        Q = head.Q[::16]
        for layout in LAYOUTS[:2]:
            assert_certified(Q, head.K, head.V, cache_of(head.K, head.V, layout).attention(Q))


def test_an_answer_is_attention_on_what_is_read() -> None:
    rng = np.random.default_rng(13)
    Q, K, V = (rng.standard_normal(s).astype(np.float32) for s in ((3, 8), (9, 8), (9, 4)))
    cache = QuantisedCache(K, V)
    found, exact = cache.attention(Q), attention(Q, *cache.read())
    assert (np.abs(found.output - exact.output) <= 2 * exact.error_bound).all()
    assert np.isin(("Q.augmented", "FP.augmented", "FP.softmax"), found.claims).all()


@pytest.mark.nightly
def test_of_ten_thousands_of_answers_on_real_heads_none_exceeds_its_bound() -> None:
    """The truth is exact attention in float64, whose own bound is added; a thousand are enclosed."""
    wrong = count = enclosed = 0
    for head in shipped_heads():
        Q, K, V = (x.astype(np.float64) for x in head.matrices)
        exact = attention(Q, K, V)
        for layout in LAYOUTS:
            cache = cache_of(head.K, head.V, layout)
            found = cache.attention(head.Q)
            error = np.abs(found.output - exact.output)
            wrong += int((error > found.error_bound + exact.error_bound).any(axis=1).sum())
            count += len(Q)
            rows = slice(0, None, len(Q) // 11)
            verdict, _ = attention_verdict(
                head.Q[rows], head.K, head.V, found.output[rows], found.error_bound[rows]
            )
            assert verdict is Verdict.WITHIN
            enclosed += len(head.Q[rows])
    assert wrong == 0
    assert count > 15_000
    assert enclosed > 1_000
