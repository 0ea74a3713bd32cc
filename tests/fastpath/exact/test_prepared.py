"""Prepared keys and values: the bits of keys and values, however they came together, and read by whomever."""

import copy
import pickle
import threading
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.exact.prepared import LEAST_SQUARE, RowNorms, Rows
from fastpath.exact.scaled_values import column_range
from reference import Verdict, attention_verdict

D, D_V = 3, 2


def _equal(one: Any, other: Any) -> None:
    """Compare two results bit for bit."""
    for name in ("output", "error_bound", "log_sum_exp", "log_sum_exp_bound"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes(), name


def _sides(kind: str, n: int, dtype: type[Any]) -> Any:
    """Return keys and values whose sizes call for another arithmetic, all over or after a while."""
    rng = np.random.default_rng(n)
    K, V = rng.standard_normal((n, D)), rng.standard_normal((n, D_V))
    small, large = (1e-30, 1e30) if dtype is np.float32 else (2.0**-700, 2.0**700)
    if kind == "zeros":
        K[:], V[:] = 0, 0
    elif kind == "equal":
        K[:], V[:] = K[0], V[0]
    elif kind == "subnormal":
        K[:], V[:] = np.finfo(dtype).smallest_subnormal * np.array([1, -3, 0]), -0.0
        V[0] = np.finfo(dtype).smallest_subnormal
    elif kind == "zeros of both signs":
        V[:] = np.where(V > 0, 0.0, -0.0)
    elif kind == "small":
        K, V = K * small, V * small
    elif kind == "large":
        K, V = K * large, V * np.sqrt(large)
    elif kind == "small, then large":
        K[: n // 2], V[: n // 2] = K[: n // 2] * small, V[: n // 2] * small
        K[-1], V[-1] = K[-1] * large, V[-1] * np.sqrt(large)
    elif kind == "doubling":
        V *= 2.0 ** np.arange(n)[:, None]
    return K.astype(dtype), V.astype(dtype)


KINDS = (
    "normal",
    "zeros",
    "equal",
    "subnormal",
    "zeros of both signs",
    "small",
    "large",
    "small, then large",
    "doubling",
)

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"causal": "lower-right"},
    {"window": (3, 2), "empty_rows": "zeros"},
    {"scale": 0.5, "sinks": 0.25},
    {"softcap": 3.0},
    {"mask": np.arange(9) % 3 > 0},
    {"bias": np.array([0.0, -np.inf, 1, 2, -2, 0.5, 0, 0, 3])},
)

#: How nine rows may come together.
SPLITS = ((9,), (1,) * 9, (1, 8), (8, 1), (4, 5), (2, 3, 4))


def _grown(K: Any, V: Any, split: tuple[int, ...]) -> fastpath.Prepared:
    ends = np.cumsum(split)
    prepared = fastpath.Prepared(K[: ends[0]], V[: ends[0]])
    for start, stop in pairwise(ends):
        if stop - start == 1:
            prepared.append(K[start], V[start])
        else:
            prepared.append(K[start:stop], V[start:stop])
    return prepared


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_grown_in_any_way_and_not_prepared_at_all_have_the_same_bits(
    dtype: type[Any], kind: str
) -> None:
    K, V = _sides(kind, 9, dtype)
    K_size = float(np.abs(K).max()) or 1.0
    Q = (np.random.default_rng(1).standard_normal((4, D)) / max(K_size, 1)).astype(dtype)
    with np.errstate(all="raise"):
        grown = [_grown(K, V, split) for split in SPLITS]
        for options in OPTIONS:
            expected = fastpath.attention(Q, K, V, **options)
            for prepared in grown:
                _equal(fastpath.attention(Q, prepared, **options), expected)
            wide = np.asfortranarray(np.hstack([K, K]))[:, :D]
            _equal(fastpath.attention(Q, wide, V, **options), expected)
    for options in OPTIONS[:3]:
        found = fastpath.attention(Q, grown[1], **options)
        verdict, _ = attention_verdict(Q, K, V, found.output, found.error_bound, **options)
        assert verdict is Verdict.WITHIN, options


def test_many_rows_grow_as_they_are() -> None:
    """Catches: another order of sums where tiles, blocks, room and heads meet."""
    rng = np.random.default_rng(0)
    K, V = (rng.standard_normal((2, 700, x)).astype(np.float32) for x in (8, 5))
    prepared = fastpath.Prepared(K[:, :255], V[:, :255])
    ends = (255, 256, 257, 300, 511, 512, 700)
    for start, stop in pairwise(ends):
        prepared.append(K[:, start:stop], V[:, start:stop])
        for n_q in (1, 3, 40):
            Q = rng.standard_normal((4, n_q, 8)).astype(np.float32)
            for size, causal in product((1, 30), (False, "lower-right")):
                _equal(
                    fastpath.attention(size * Q, prepared, causal=causal, workers=2),
                    fastpath.attention(
                        size * Q, K[:, :stop], V[:, :stop], causal=causal, workers=1
                    ),
                )


def test_queries_of_another_type_have_the_bits_they_had() -> None:
    K, V = _sides("normal", 9, np.float32)
    for keys, queries in product((np.float32, np.float64), (np.float16, np.float32, np.float64)):
        Q = np.ones((2, D), queries) / 3
        prepared = fastpath.Prepared(K.astype(keys), V)
        _equal(fastpath.attention(Q, prepared), fastpath.attention(Q, K.astype(keys), V))


def test_every_function_of_keys_and_values_takes_them_prepared() -> None:
    rng = np.random.default_rng(0)
    Q, K, V, dO = (rng.standard_normal((20, 4)) for _ in range(4))
    prepared = fastpath.Prepared(K, V)
    for one, other in zip(
        fastpath.attention_gradient(Q, prepared, None, dO, causal=True),
        fastpath.attention_gradient(Q, K, V, dO, causal=True),
        strict=True,
    ):
        assert one.output.tobytes() == other.output.tobytes()
        assert one.error_bound.tobytes() == other.error_bound.tobytes()
    certified = fastpath.certify(Q, prepared, None, V, rng=rng)
    assert certified.error_bound == fastpath.certify(Q, K, V, V, rng=rng).error_bound
    ways = [
        fastpath.certified_attention(Q, *sides, tolerance=0.01) for sides in ((prepared,), (K, V))
    ]
    assert ways[0].output.tobytes() == ways[1].output.tobytes()


def test_what_was_handed_out_stays_and_cannot_be_written_to() -> None:
    K, V = _sides("normal", 9, np.float64)
    given = K[:4].copy()
    prepared = fastpath.Prepared(given, V[:4])
    given[:] = 7
    before, bytes_before = prepared.keys, prepared.keys.tobytes()
    prepared.append(K[4:], V[4:])
    assert before.tobytes() == bytes_before == K[:4].tobytes()
    assert prepared.keys.tobytes() == K.tobytes()
    assert prepared.values.tobytes() == V.tobytes()
    assert len(prepared) == 9
    for array in (prepared.keys, prepared.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        prepared.keys = K  # type: ignore[misc]


def test_copies_share_nothing_that_changes() -> None:
    K, V = _sides("small, then large", 9, np.float32)
    prepared = fastpath.Prepared(K[:5], V[:5])
    copies = [copy.copy(prepared), copy.deepcopy(prepared), pickle.loads(pickle.dumps(prepared))]
    prepared.append(-K[5:], -V[5:])
    Q = np.ones((1, D), np.float32) * np.float32(1e-20)
    for other in copies:
        assert len(other) == 5
        other.append(K[5:], V[5:])
        _equal(fastpath.attention(Q, other), fastpath.attention(Q, K, V))
    assert len(prepared) == 9


def test_two_that_grew_from_one_do_not_meet() -> None:
    """Catches: room that is written to twice."""
    first = Rows(np.zeros((2, 1))).extended(np.ones((1, 1)))
    one, other = (first.extended(np.full((1, 1), x)) for x in (2.0, 3.0))
    assert np.shares_memory(first.array, one.array)
    assert one.array.ravel().tolist() == [0, 0, 1, 2]
    assert other.array.ravel().tolist() == [0, 0, 1, 3]
    assert first.array.ravel().tolist() == [0, 0, 1]


def test_rows_are_copied_seldom() -> None:
    """Catches: an append that takes as long as what is there."""
    rows, buffers = Rows(np.zeros((1, 4))), set()
    for _ in range(1000):
        rows = rows.extended(np.zeros((1, 4)))
        buffers.add(rows.array.base.ctypes.data)
    assert len(buffers) <= 11


def test_readers_beside_one_that_appends_see_some_moment() -> None:
    rng = np.random.default_rng(0)
    K, V = (rng.standard_normal((300, x)).astype(np.float32) for x in (8, 2))
    Q = rng.standard_normal((2, 8)).astype(np.float32)
    prepared = fastpath.Prepared(K[:1], V[:1])
    moments = [fastpath.attention(Q, K[:n], V[:n]).output.tobytes() for n in range(1, 301)]
    wrong: list[int] = []
    done = threading.Event()

    def read() -> None:
        at = 0
        while not done.is_set():
            found = fastpath.attention(Q, prepared, workers=1).output.tobytes()
            if found not in moments[at:]:
                wrong.append(at)
                return
            at = moments.index(found)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(1, 300):
        prepared.append(K[n], V[n])
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(np.float32, 2.0**x) for x in (-130, -9, 9, 120)]
    + [(np.float64, 2.0**x) for x in (-1030, -9, 9, 1015)],
)
def test_values_of_any_size_have_bounds_of_their_size(dtype: type[Any], size: float) -> None:
    """Catches: values far from 1 that are kept as they are, so that sums overflow or underflow."""
    Q, K = np.full((1, 1), 30, dtype), np.linspace(1, 0, 50, dtype=dtype)[:, None]
    V = (size * (1 + np.arange(50)[:, None] / 50)).astype(dtype)
    found = fastpath.attention(Q, fastpath.Prepared(K, V))
    verdict, _ = attention_verdict(Q, K, V, found.output, found.error_bound)
    assert verdict is Verdict.WITHIN
    information = np.finfo(dtype)
    steps = 2**10 * float(information.eps) * size + 4 * float(information.smallest_subnormal)
    assert found.error_bound.item() <= steps


@pytest.mark.parametrize("n", [2, 3, 64, 67, 5000])
def test_the_range_of_a_column_is_its_range(n: int) -> None:
    """Catches: rows that are left out, NaN that is lost, zeros whose sign depends on the order."""
    rng = np.random.default_rng(n)
    for shape in ((n, 1), (n, 3), (n, 500)):
        v = rng.standard_normal(shape).astype(np.float32)
        for array in (v, np.asfortranarray(v), v[::-1]):
            least, most = column_range(array)
            assert (least == v.min(axis=0)).all()
            assert (most == v.max(axis=0)).all()
        zeros = np.where(v > 0, np.float32(0), np.float32(-0.0))
        for array in (zeros, zeros[::-1].copy()):
            assert not any(np.signbit(end).any() for end in column_range(array))
        for row in (0, n // 2, n - 1):
            spoilt = v.copy()
            spoilt[row] = np.nan
            assert all(np.isnan(end).all() for end in column_range(spoilt))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norms_bound_whatever_the_arithmetic(dtype: type[Any]) -> None:
    """Catches: squares that overflow, or underflow, where the largest says that none does."""
    information = np.finfo(dtype)
    least = LEAST_SQUARE[dtype.__name__]
    sizes = [
        float(information.smallest_subnormal),
        float(information.tiny),
        float(np.sqrt(least)) * 0.99,
        float(np.sqrt(least)) * 1.01,
        1.0,
        float(np.sqrt(information.max)) * 0.99,
        float(np.sqrt(information.max)) * 1.01,
        float(information.max),
    ]
    for low, high in product(sizes, sizes):
        x = np.array([[low, high, low, high], [low] * 4, [high] * 4], dtype)
        norms = RowNorms(x[:2]).extended(x)
        for row, bound in zip(x, norms.of_rows().tolist(), strict=True):
            square = sum(Fraction(float(entry)) ** 2 for entry in row)
            assert (Fraction(bound) * Fraction(2) ** norms.exponent) ** 2 >= square
            if square == max(sum(Fraction(float(e)) ** 2 for e in r) for r in x):
                excess = (Fraction(bound) * Fraction(2) ** norms.exponent) ** 2 / square
                assert excess <= 1 + 16 * Fraction(float(information.eps))


def test_refused_appends_leave_everything() -> None:
    K, V = np.ones((2, 2, 3)), np.ones((2, 2, 1))
    prepared = fastpath.Prepared(K, V)
    bad: list[tuple[Any, Any, type[Exception], str]] = [
        (K[:, :1, :2], V[:, :1], ValueError, r"K must have shape \(2, m, 3\), or that without m"),
        (K[0, 0], V[0, 0], ValueError, "K must have shape"),
        (K, V[:, :1], ValueError, "K and V must have the same number of rows, got 2 and 1"),
        (K[:, :0], V[:, :0], ValueError, "K must not be empty"),
        (K * np.nan, V, ValueError, "K must be finite, got 12 NaN"),
        (K, V * np.inf, ValueError, "V must be finite, got 4 NaN or infinite"),
        (K, V * 1e308, ValueError, r"V must not exceed 2\^1021"),
        (K, V.astype(complex), TypeError, "V must hold floats"),
        (K, None, TypeError, "V must hold floats"),
    ]
    Q = np.ones((2, 1, 3))
    before = fastpath.attention(Q, prepared)
    for k, v, kind, message in bad:
        with pytest.raises(kind, match=message):
            prepared.append(k, v)
        assert len(prepared) == 2
        _equal(fastpath.attention(Q, prepared), before)
    prepared.append(2 * K, -V)
    K, V = np.concatenate([K, 2 * K], axis=1), np.concatenate([V, -V], axis=1)
    _equal(fastpath.attention(Q, prepared), fastpath.attention(Q, K, V))
    narrow = fastpath.Prepared(np.ones((1, 3), np.float32), np.ones((1, 1), np.float32))
    with pytest.raises(TypeError, match=r"K must be of a type that float32 holds.*got float64"):
        narrow.append(np.ones((1, 3)), np.ones((1, 1), np.float32))
    narrow.append(np.ones((1, 3), np.float16), np.ones((1, 1), np.float32))
    assert len(narrow) == 2


def test_what_cannot_be_prepared_is_refused() -> None:
    K, V = np.ones((2, 3)), np.ones((2, 1))
    bad: list[tuple[Any, Any, type[Exception], str]] = [
        (K[0], V, ValueError, "K must be a matrix"),
        (K, V[:1], ValueError, "K and V must have the same number of rows"),
        (K, V[None], ValueError, "K and V must have the same number of rows"),
        (K[:0], V[:0], ValueError, "K must not be empty"),
        (K * np.inf, V, ValueError, "K must be finite"),
        (K, V * np.nan, ValueError, "V must be finite"),
        (K.astype(str), V, TypeError, "K must hold floats"),
        (K, V * 1e308, ValueError, r"V must not exceed 2\^1021"),
    ]
    for k, v, kind, message in bad:
        with pytest.raises(kind, match=message):
            fastpath.Prepared(k, v)
    prepared = fastpath.Prepared(K, V)
    with pytest.raises(TypeError, match="V must be None where K is a Prepared"):
        fastpath.attention(np.ones((1, 3)), prepared, V)
    with pytest.raises(TypeError, match="V must be given beside K"):
        fastpath.attention(np.ones((1, 3)), K)
    with pytest.raises(ValueError, match="Q and K must have the same number of columns"):
        fastpath.attention(np.ones((1, 2)), prepared)


def test_repr_is_short() -> None:
    prepared = fastpath.Prepared(np.ones((2, 7, 3), np.float32), np.ones((2, 7, 1), np.float32))
    assert repr(prepared) == "Prepared(K of shape (2, 7, 3), V of shape (2, 7, 1), float32)"
