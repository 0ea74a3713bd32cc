"""A call of DynamicAttention or HintedMv that is refused says which argument, and changes nothing."""

import copy
import pickle
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from fastpath import DynamicAttention
from fastpath.dynamic.choice import Plan
from fastpath.dynamic.hinted import HintedMv

N, D, D_V = 5, 3, 2

#: The token that every instance has evicted.
GONE = 3

MODES = ("cached", "dirty", "kept", "auto", "recomputed")

INDICES: list[Any] = [
    *(True, False, np.True_, 0.0, 1.5, np.float64(1), "1", b"1", None, 1j, Decimal(1)),
    *([1], (1,), slice(1), ..., np.nan, 10**30, -(10**30), 2**63, np.uint64(2**63)),
    *(np.array(2), np.array([1]), np.array(True), np.ma.masked, np.ma.array(2, mask=True)),
]

DELTAS: list[Any] = [
    *(
        True,
        False,
        np.True_,
        "1",
        b"1",
        None,
        1j,
        Decimal(1),
        [1.0],
        np.array(0.5),
        np.array([0.5]),
    ),
    *(np.nan, np.inf, -np.inf, np.float32(np.nan), np.float64(np.inf), np.ma.masked),
    *(1e300, -1e300, 10**400, -(10**400)),
    *(
        2**53 + 1,
        np.int64(2**53 + 1),
        np.uint64(2**64 - 1),
        np.longdouble(1) + np.longdouble(2) ** -60,
    ),
]


def _vectors(length: int) -> list[Any]:
    good = np.linspace(0.5, 1, length)
    entries = [np.nan, np.inf, -np.inf, 1e300, -1e300]
    bad = [np.append(good[1:], entry) for entry in entries]
    return [
        *(None, True, 1.0, "abc", b"abc", {}, set(), object(), [], np.empty(0), good[:-1]),
        *(np.append(good, 1.0), good[None], good[:, None], [*good[1:], [1.0]], [*good[1:], "1"]),
        *(
            good.astype(str),
            good.astype(object),
            good.astype(complex),
            good > 0,
            good.astype("M8[s]"),
        ),
        *(np.ma.array(good), np.ma.array(good, mask=good > 0.7), [*good[1:], np.ma.masked]),
        *(
            [*good[1:], 2**53 + 1],
            np.full(length, 2**53 + 1),
            np.full(length, 2**64 - 1, np.uint64),
        ),
        *([2**70] * length, [*good[1:], None], [*good[1:], True], good.astype(np.longdouble)),
        *bad,
        *(list(row) for row in bad),
    ]


def _calls(count: int) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Yield every method with one argument at a time that is bad, and that argument's name."""
    tokens = [*INDICES, count, -count - 1, GONE, GONE - count]
    columns = {"key": D, "query": D, "value": D_V}
    for what, width in columns.items():
        update, change = f"update_{what}", f"set_{what}"
        for i in tokens:
            yield update, "i", (i, 0, 0.5)
            yield change, "i", (i, np.ones(width))
        for j in (*INDICES, width, -width - 1):
            yield update, "j", (0, j, 0.5)
        for delta in DELTAS:
            yield update, "delta", (0, 0, delta)
        for row in _vectors(width):
            yield change, "row", (0, row)
    good = (np.ones(D), np.ones(D), np.ones(D_V))
    for place, (name, width) in enumerate((("q", D), ("k", D), ("v", D_V))):
        for row in _vectors(width):
            yield "append", name, (*good[:place], row, *good[place + 1 :])
    for i in tokens:
        for name in ("evict", "query_row", "error_bound"):
            yield name, "i", (i,)
        yield "query", "i", (i, 0)
    for j in (*INDICES, D_V, -D_V - 1):
        yield "query", "j", (0, j)
        yield "query_column", "j", (j,)


def _dynamic(mode: Any, dtype: Any, worst_case: bool) -> DynamicAttention:
    """Return an instance in the middle of everything: pending pairs, a stale row, a token gone."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((N, columns)).astype(dtype) for columns in (D, D, D_V))
    named = "auto" if mode == "recomputed" else mode
    dynamic = DynamicAttention(Q, K, V, mode=named, rebuild_every=3, worst_case=worst_case)
    if mode == "recomputed":
        dynamic._begin(Plan(strategy="recomputed", limit=0))
    for i in range(4):
        dynamic.update_key(i, 0, 0.25)
    dynamic.set_value(1, np.ones(D_V))
    dynamic.evict(GONE)
    dynamic.append(np.ones(D), np.ones(D), np.ones(D_V))
    dynamic.update_query(2, 1, 0.5)
    return dynamic


def _reads(dynamic: DynamicAttention) -> list[Any]:
    live = dynamic.live.tolist()
    rows = [(dynamic.query_row(i).tobytes(), dynamic.error_bound(i)) for i in live]
    entries = [dynamic.query(i, j) for i in live for j in range(D_V)]
    return [rows, entries, *(dynamic.query_column(j).tobytes() for j in range(D_V)), dynamic.stats]


def _refused(thing: Any, call: Callable[[], Any], name: str) -> None:
    before = pickle.dumps(thing)
    with pytest.raises((TypeError, ValueError, IndexError), match=rf"^{name}\b"):
        call()
    assert pickle.dumps(thing) == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("mode", "worst_case"),
    [*((mode, False) for mode in MODES), ("cached", True), ("dirty", True)],
)
def test_no_refused_call_changes_a_bit(mode: str, worst_case: bool, dtype: Any) -> None:
    dynamic = _dynamic(mode, dtype, worst_case)
    twin = copy.copy(dynamic)
    for method, name, arguments in _calls(N + 1):
        _refused(dynamic, lambda m=method, a=arguments: getattr(dynamic, m)(*a), name)
    dynamic.update_key(0, 1, -0.5)
    twin.update_key(0, 1, -0.5)
    assert _reads(dynamic) == _reads(twin)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64])
@pytest.mark.parametrize("mode", MODES)
def test_numpys_integers_are_indices_like_any_other(mode: str, kind: Any) -> None:
    dynamic, twin = _dynamic(mode, np.float64, False), _dynamic(mode, np.float64, False)
    for what in ("key", "query", "value"):
        getattr(dynamic, f"update_{what}")(kind(1), kind(0), np.float64(0.5))
        getattr(twin, f"update_{what}")(1, 0, 0.5)
        getattr(dynamic, f"set_{what}")(kind(2), np.zeros(D_V if what == "value" else D))
        getattr(twin, f"set_{what}")(2, np.zeros(D_V if what == "value" else D))
    assert dynamic.query(kind(1), kind(1)) == twin.query(1, 1)
    assert dynamic.error_bound(kind(4)) == twin.error_bound(4)
    dynamic.evict(kind(0))
    twin.evict(0)
    assert _reads(dynamic) == _reads(twin)


@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "auto"])
def test_no_refused_call_changes_a_bit_of_a_hint(mode: Any) -> None:
    rng = np.random.default_rng(1)
    M, P, V = (rng.random((4, 4)) < 0.5 for _ in range(3))
    hinted = HintedMv(M, V, mode=mode)
    hinted.hint(P)
    truth = M.astype(int) @ P.astype(int) @ V.astype(int) > 0
    numbers = [0, -1.0, 1e-400, 701.0, 1e200, 1e300, 10**400, np.nan, np.inf, -np.inf]
    for step in (
        *numbers,
        True,
        np.True_,
        "1",
        b"1",
        1j,
        Decimal(1),
        [1.0],
        np.array(0.5),
        np.ma.masked,
    ):
        _refused(hinted, lambda s=step: hinted.hint(P.T, step=s), "step")
    for matrix in (P.astype(float), P[:3], P[0], None, "P", np.ma.array(P, mask=P), [[True]]):
        _refused(hinted, lambda p=matrix: hinted.hint(p), "P")
    for i in (*INDICES, 4, -5):
        _refused(hinted, lambda i=i: hinted.column(i), "i")
        _refused(hinted, lambda i=i: hinted.signals(i), "i")
    for i in range(-4, 4):
        assert (hinted.column(i) == truth[:, i]).all()


@pytest.mark.parametrize(
    ("error", "says", "options"),
    [
        (TypeError, "^rebuild_every must be an integer", {"rebuild_every": True}),
        (TypeError, "^rebuild_every must be an integer", {"rebuild_every": np.array(2)}),
        (ValueError, "^rebuild_every must be at most 262144", {"rebuild_every": 2**18 + 1}),
        (ValueError, "^mode must be", {"mode": np.array(["auto", "dirty"])}),
        (ValueError, "^mode must be", {"mode": None}),
    ],
)
def test_a_bad_option_is_refused(error: Any, says: str, options: Any) -> None:
    ones = np.ones((2, 1), np.float32)
    with pytest.raises(error, match=says):
        DynamicAttention(ones, ones, ones, **options)
