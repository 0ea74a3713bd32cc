"""No result depends on what the caller has set, and what bounds assume of the processor is asked."""

import copy
import ctypes
import ctypes.util
import dataclasses
import decimal
import inspect
import pickle
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import fastpath
from fastpath import kernels
from fastpath.core.offers import Refusal
from fastpath.dynamic import attention as dynamic
from fastpath.dynamic.choice import Plan
from fastpath.dynamic.hinted import HintedMv, safe_steps
from fastpath.real_heads import attention as real_heads
from fastpath.streaming.attention import sufficient_degree
from fastpath.streaming.count_sketch import CountSketch
from fastpath.streaming.top_entries import TopEntries
from fastpath.streaming.value_sketch import ValueSketch


def drawn(*shape: int, size: float = 1.0, dtype: Any = np.float64) -> Any:
    return (size * np.random.default_rng(sum(shape)).standard_normal(shape)).astype(dtype)


#: Logits to 1000, of which exp overflows and underflows, and values from subnormal numbers to 1e30.
WIDE = (
    drawn(40, 3, size=15),
    drawn(50, 3, size=15),
    drawn(50, 2) * 10.0 ** np.linspace(-320, 30, 50)[:, None],
)
WIDE_FLOAT32 = tuple(x.astype(np.float32) for x in (*WIDE[:2], WIDE[2] * 1e-5))
NARROW = drawn(40, 3, size=0.2), drawn(50, 3, size=0.2), WIDE[2]

TINY = tuple(1e-310 * x for x in NARROW)


def _sharp(method: str) -> Any:
    """Take a head that is planned for although it is small; which way is taken is the head's to say."""
    rng = np.random.default_rng(0)
    centres = 12 * rng.standard_normal((8, 3))
    q = centres[rng.integers(0, 8, 600)] + 0.01 * rng.standard_normal((600, 3))
    k, v = rng.standard_normal((700, 3)), rng.standard_normal((700, 2))
    if method == "clusters":
        q /= 12
    kwargs: dict[str, Any] = (
        {"tolerance": 0.03}
        if method != "clusters"
        else {
            "tolerance": 0.3,
            "rows": "quantile",
            "uncovered": 0.3,
            "failure_probability": 0.5,
        }
    )
    with pytest.MonkeyPatch.context() as patched:
        if method == "clusters":
            patched.setattr(real_heads.SampledKeys, "planned", lambda *_: Refusal(reason="no"))
        return fastpath.certified_attention(q, k, v, rng=np.random.default_rng(1), **kwargs)


def _dynamic(mode: str) -> Any:
    n = 12
    q, k, v = (x[:n] for x in (drawn(n, 3, size=12), drawn(n, 3, size=12), WIDE[2][:n]))
    state = fastpath.DynamicAttention(q, k, v, mode=mode, rebuild_every=3)
    found: list[Any] = []
    for step in range(12):
        state.update_key(step, step % 3, 40.0 * (-1) ** step)
        state.update_value(step, 0, 1e-200)
        state.update_query(step, 1, -3.0)
        found += [state.query(step, 0), state.query_row(step), state.error_bound(step)]
    state.set_key(0, np.full(3, -30.0))
    state.set_value(1, np.full(2, 1e-310))
    state.set_query(2, np.full(3, 30.0))
    state.append(np.full(3, 20.0), np.full(3, -20.0), np.full(2, 1e-300))
    state.evict(3)
    return [*found, state.query_column(1), state.output(), state.live]


def _hinted() -> Any:
    bits = drawn(6, 6) > 0
    hinted = HintedMv(bits, bits.T)
    hinted.hint(~bits)
    return hinted.signals(0), hinted.column(0), safe_steps(6, 3, 1e-9)


def _prepared() -> Any:
    q, k, v = WIDE
    prepared = fastpath.Prepared(k[:2], v[:2])
    prepared.append(k[2:], v[2:])
    prepared.append(1e-200 * k[0], v[-1])
    copied = pickle.loads(pickle.dumps(copy.copy(prepared)))
    return fastpath.attention(q, copied), fastpath.attention(1e-250 * q, copied), copied.values


def _moments(path: Path) -> Any:
    q, k, v = NARROW
    state, other = (fastpath.MomentState(3, 2, 5) for _ in range(2))
    state.update(k[:25], v[:25])
    other.update(k[25:] * 1e-200, v[25:])
    state.merge(other)
    state = state.recentred(np.full(3, 1e-3))
    state.save(path / "state.npz")
    state = fastpath.MomentState.load(path / "state.npz")
    restored = fastpath.MomentState.from_contents(state.contents())
    return (
        state.query(q),
        restored.query(1e-250 * q),
        state.centre,
        state.nbytes,
        (state.d, state.d_v, state.degree, state.count),
    )


def _streaming(recovery: Any, path: Path) -> Any:
    q, k, v = NARROW

    def shard(part: slice) -> Any:
        state = fastpath.StreamingAttention(
            3,
            2,
            logit_bound=2.0,
            tolerance=0.01,
            sparsity=2,
            recovery=recovery,
            rng=np.random.default_rng(3),
        )
        state.absorb(k[part], v[part])
        return state

    state = shard(slice(0, 20))
    state.merge(shard(slice(20, 50)))
    answer = state.attend(q)
    state.save(path / "stream.npz")
    state = fastpath.StreamingAttention.load(path / "stream.npz")
    return answer, state.decode(), state.degree, state.nbytes


def _kept() -> Any:
    heap = TopEntries(1, 2)
    heap.add(np.arange(4), np.array([[1e-320], [2.0], [3.0], [1e300]]))
    other = TopEntries.from_contents(heap.contents())
    heap.merge(TopEntries(1, 2))
    sketch = CountSketch(1, 2, rng=np.random.default_rng(0))
    sketch.add(np.arange(4), np.array([[1e-320], [2.0], [3.0], [1e200]]))
    twin = CountSketch.from_contents(sketch.contents())
    twin.merge(CountSketch.from_contents(sketch.contents()))
    rows = np.arange(4)
    return (
        heap.entries(0), other.bound(np.zeros(1), 4), sketch.entries(0), twin.estimate(rows, 0),
        sketch.bound(np.zeros(1), 4), heap.nbytes, sketch.nbytes,
    )  # fmt: skip


def _value_sketch() -> Any:
    sketch = ValueSketch(2, 1, 3, 5, rng=np.random.default_rng(0))
    sketch.absorb(drawn(9, 2) * 1e-160, drawn(9, 1))
    return sketch.estimate(), sketch.numbers, sketch.exact_numbers


def _regression() -> Any:
    a1, a2, a3, b = drawn(12, 2, size=9), drawn(12, 2, size=9), drawn(12, 3), drawn(12, 2)
    problem = fastpath.AttentionRegression(a1, a2, a3, b)
    x, y = drawn(2, 2, size=6), drawn(3, 2)
    found: list[Any] = [
        problem.loss(x, y),
        problem.gradient(x, y),
        problem.hvp(x, y, x, y),
        problem.hessian(x, y),
        problem.schur(x, y),
    ]
    for method in ("varpro", "newton", "newton-cg", "gradient", "sketched"):
        found.append(
            problem.solve(x / 9, method=method, max_iterations=5, rng=np.random.default_rng(0)).X
        )
    result = problem.solve_from_many(2, rng=np.random.default_rng(0), max_iterations=5)
    return found, result.certificate, problem.certify(x / 9, y)


def _sparsified() -> Any:
    X = drawn(6, 40) * 2.0 ** np.linspace(-240, 0, 40)
    found = [
        fastpath.sparsify(X, rng=np.random.default_rng(0), **kwargs)
        for kwargs in (
            {},
            {"guarantee": "columns", "epsilon": 0.9, "method": "bss"},
            {"guarantee": "columns", "method": "caratheodory"},
            {"guarantee": "entrywise", "width": 30, "method": "jl"},
        )
    ]
    other = fastpath.gram(sp.csr_array(X))
    return (
        found, other, other.error, fastpath.certified_closeness(X, 1.01 * X),
        fastpath.certify_loewner(X, X, 0.1), fastpath.entrywise_error(X, X * (1 + 1e-3)),
    )  # fmt: skip


def _certified() -> Any:
    q, k, v = WIDE
    output = fastpath.attention(q, k, v).output
    return fastpath.certify(
        q, k, v, output, uncovered=0.3, failure_probability=0.1, rng=np.random.default_rng(0)
    )


RUNS: dict[str, Callable[[Path], Any]] = {
    "attention": lambda _: fastpath.attention(*WIDE),
    "attention in float32": lambda _: fastpath.attention(*WIDE_FLOAT32),
    "causal attention": lambda _: fastpath.attention(WIDE[1], WIDE[1], WIDE[2], causal=True),
    "attention of numbers near underflow": lambda _: fastpath.attention(*TINY),
    "polynomial_attention": lambda _: fastpath.polynomial_attention(*NARROW, tolerance=1e-3),
    "polynomial_attention of small numbers": lambda _: fastpath.polynomial_attention(
        1e200 * NARROW[0], 1e-200 * NARROW[1], NARROW[2], tolerance=1e-3
    ),
    "causal polynomial_attention": lambda _: fastpath.polynomial_attention(
        NARROW[1], NARROW[1], NARROW[2], tolerance=1e-3, causal=True
    ),
    "certified_attention that drops keys": lambda _: _sharp("dropped keys"),
    "certified_attention by clusters": lambda _: _sharp("clusters"),
    "certify": lambda _: _certified(),
    "DynamicAttention, cached": lambda _: _dynamic("cached"),
    "DynamicAttention, dirty": lambda _: _dynamic("dirty"),
    "DynamicAttention, kept": lambda _: _dynamic("kept"),
    "DynamicAttention, auto": lambda _: _dynamic("auto"),
    "HintedMv": lambda _: _hinted(),
    "Prepared": lambda _: _prepared(),
    "MomentState": _moments,
    "StreamingAttention with a heap": lambda path: _streaming("heap", path),
    "StreamingAttention with a sketch": lambda path: _streaming("sketch", path),
    "TopEntries and CountSketch": lambda _: _kept(),
    "ValueSketch": lambda _: _value_sketch(),
    "AttentionRegression": lambda _: _regression(),
    "sparsify and gram": lambda _: _sparsified(),
    "sufficient_degree": lambda _: sufficient_degree(3, logit_bound=2.0, tolerance=0.01),
}


@pytest.fixture(autouse=True)
def planned_for_small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_heads, "LARGE", 0)
    monkeypatch.setattr(real_heads, "exact_cost", lambda head: np.inf)
    monkeypatch.setattr(real_heads, "polynomial_offer", lambda *_: Refusal(reason="none"))


def bits(result: Any) -> list[Any]:
    """Return every number of a result, to the bit."""
    if dataclasses.is_dataclass(result):
        return bits([getattr(result, field.name) for field in dataclasses.fields(result)])
    if sp.issparse(result):
        return bits([result.data, result.indices, result.indptr])
    if isinstance(result, (list, tuple)):
        return [number for part in result for number in bits(part)]
    if isinstance(result, (np.ndarray, np.generic)):
        return [result.dtype.str, result.shape, result.tobytes()]
    if isinstance(result, float):
        return [result.hex()]
    return [result] if isinstance(result, (int, str, bool)) else []


@contextmanager
def _decimal_traps() -> Iterator[None]:
    context = decimal.Context(prec=2)
    for signal in context.traps:
        context.traps[signal] = True
    with decimal.localcontext(context):
        yield


@contextmanager
def _small_buffers() -> Iterator[None]:
    with np.errstate():
        np.setbufsize(16)
        yield


def _stop(*_: Any) -> None:
    raise AssertionError("the caller's function was called")


SETTINGS: dict[str, Callable[[], Any]] = {
    "errors raise": lambda: np.errstate(all="raise"),
    "errors warn": lambda: np.errstate(all="warn"),
    "errors call": lambda: np.errstate(all="call", call=_stop),
    "errors are ignored": lambda: np.errstate(all="ignore"),
    "buffers are short": _small_buffers,
    "decimal numbers trap": _decimal_traps,
}


@pytest.mark.parametrize("name", RUNS)
def test_no_bit_depends_on_what_the_caller_has_set(name: str, tmp_path: Path) -> None:
    expected = bits(RUNS[name](tmp_path))
    assert expected
    for setting in SETTINGS.values():
        with setting(), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert bits(RUNS[name](tmp_path)) == expected


def test_heads_go_the_ways_that_they_stand_for() -> None:
    assert _sharp("dropped keys").method == "dropped keys"
    assert _sharp("clusters").method == "clusters"


@pytest.mark.parametrize("rows", ["all", "quantile"])
@pytest.mark.parametrize("values", [drawn(700, 2), np.ones((700, 2))])
@pytest.mark.parametrize("queries", [1, 2])
def test_the_fewest_queries_and_values_without_spread_warn_of_nothing(
    queries: int, values: Any, rows: str
) -> None:
    q, k = drawn(queries, 3, size=9), drawn(700, 3)
    found = fastpath.certified_attention(
        q, k, values, tolerance=0.1, rows=rows, rng=np.random.default_rng(0)
    )
    exact = fastpath.attention(q, k, values)
    assert (np.abs(found.output - exact.output) <= found.error_bound + exact.error_bound).all()


def test_values_of_which_a_tolerance_is_no_float_are_answered_exactly() -> None:
    q, k, v = drawn(600, 3), drawn(700, 3), drawn(700, 2, size=2.0**-1070)
    found = fastpath.certified_attention(
        q, k, v, tolerance=1e-5, rows="quantile", uncovered=0.3, rng=np.random.default_rng(0)
    )
    assert found.method == "exact"


def test_what_the_caller_has_set_is_left_as_it_was() -> None:
    with np.errstate(over="raise", under="call"):
        before = np.geterr(), np.getbufsize()
        fastpath.attention(*WIDE)
        assert (np.geterr(), np.getbufsize()) == before


def _guarded(function: Any) -> bool:
    return getattr(function, "__qualname__", "") != "" and (
        inspect.unwrap(function) is not function
    )


class _InTurn:
    """Chooses plans one after the other, whatever they cost."""

    def __init__(self, plans: list[Plan]) -> None:
        self.plan, self._plans = plans[0], plans

    def review(self, *_: Any) -> Plan:
        self._plans = self._plans[1:] + self._plans[:1]
        self.plan = self._plans[0]
        return self.plan


#: Functions and methods without a guard of their own, and why that is right.
UNGUARDED = {
    **dict.fromkeys(kernels.PRESETS, "an arithmetic by its name, which computes nothing"),
    "assert_attention": "all is done by a guarded judge",
    "assert_attention_backward": "all is done by a guarded judge",
    "run_kernel": "a kernel runs as its author has it run",
    "Format.unit_roundoff": "a power of two as a Python float",
    "Format.tiny": "a power of two as a Python float",
    "Format.lost": "a power of two as a Python float",
    "DynamicAttention.query": "a settled entry is a quotient of Python's floats; all else is guarded",
}


def test_every_public_function_and_method_is_guarded() -> None:
    unguarded: set[str] = set()
    classes, functions = (
        [HintedMv, TopEntries, CountSketch, ValueSketch],
        [safe_steps, sufficient_degree],
    )
    for face in (fastpath, kernels):
        for name in face.__all__:
            public = getattr(face, name)
            # The records of kernels compute with Python's floats, but for the formats.
            if inspect.isclass(public) and (face is fastpath or public is kernels.Format):
                classes.append(public)
            elif inspect.isfunction(public):
                functions.append(public)
    unguarded |= {f.__name__ for f in functions if not _guarded(f)}
    for kind in classes:
        if issubclass(kind, Exception):
            continue
        for name, member in vars(kind).items():
            function = getattr(member, "fget", None) or getattr(member, "func", None) or member
            function = getattr(function, "__func__", function)
            if inspect.isfunction(function) and not name.startswith("_") and not _guarded(function):
                unguarded.add(function.__qualname__)
    assert unguarded == set(UNGUARDED)


@pytest.mark.parametrize(
    "strategies",
    [["cached"], ["dirty"], ["kept"], ["recomputed"], ["cached", "dirty"]],
    ids="-".join,
)
def test_no_entry_depends_on_what_the_caller_has_set(
    strategies: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settled, pending and between strategies, of values so small that numpy would tell of every sum."""
    monkeypatch.setattr(dynamic, "REVIEW_READS", 5)
    tiny = drawn(12, 3), drawn(12, 3), drawn(12, 2, size=2.0**-1070)

    def read() -> list[str]:
        found = []
        state = fastpath.DynamicAttention(*tiny, rebuild_every=3)
        with np.errstate(all="ignore"):
            state._begin(Plan(strategy=strategies[0], limit=3))
        state._chooser = _InTurn([Plan(strategy=strategy, limit=3) for strategy in strategies])
        for step in range(40):
            if step % 4:
                state.update_key(step % 12, 0, 30.0 * (-1) ** step)
            found += [state.query(i, 1).hex() for i in (step % 12, np.int64(step % 5))]
        return found

    expected = read()
    for setting in SETTINGS.values():
        with setting():
            assert read() == expected


# ------------------------------------------------------------------------------- the processor


GLIBC = platform.libc_ver()[0] == "glibc" and platform.machine() == "x86_64"

#: Of C's fesetround, and bits of the control register for SSE.
DOWNWARD, UPWARD, TOWARD_ZERO = 0x400, 0x800, 0xC00
FLUSH_RESULTS, FLUSH_INPUTS = 0x8000, 0x40


@contextmanager
def processor(rounding: int = 0, bits: int = 0) -> Iterator[None]:
    """Set how this thread rounds and what it flushes to zero, and set it back."""
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    before, changed = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
    library.fegetenv(before)
    library.fesetround(rounding)
    library.fegetenv(changed)
    changed[7] |= bits  # glibc's fenv_t for x86-64 ends with that register
    library.fesetenv(changed)
    try:
        yield
    finally:
        library.fesetenv(before)


@pytest.mark.skipif(not GLIBC, reason="sets the processor through glibc for x86-64")
@pytest.mark.parametrize(
    "name", ["attention", "MomentState", "AttentionRegression", "sparsify and gram"]
)
@pytest.mark.parametrize(
    ("rounding", "bits", "says"),
    [
        (DOWNWARD, 0, "round to nearest"),
        (UPWARD, 0, "round to nearest"),
        (TOWARD_ZERO, 0, "round to nearest"),
        (0, FLUSH_RESULTS, "keep subnormal numbers"),
        (0, FLUSH_INPUTS, "keep subnormal numbers"),
        (UPWARD, FLUSH_RESULTS | FLUSH_INPUTS, "keep subnormal numbers"),
    ],
)
def test_a_processor_in_another_mode_is_refused(
    name: str, rounding: int, bits: int, says: str, tmp_path: Path
) -> None:
    problem: Exception | None = None
    with processor(rounding, bits):
        try:
            RUNS[name](tmp_path)
        except RuntimeError as error:
            problem = error
    assert says in str(problem)
    RUNS[name](tmp_path)


@pytest.mark.skipif(not GLIBC, reason="sets the processor through glibc for x86-64")
@pytest.mark.parametrize("mode", ["cached", "dirty"])
@pytest.mark.parametrize(
    ("rounding", "bits"), [(UPWARD, 0), (0, FLUSH_RESULTS | FLUSH_INPUTS)], ids=["up", "flushing"]
)
def test_a_processor_in_another_mode_reads_no_more_than_settled_entries(
    mode: Any, rounding: int, bits: int
) -> None:
    state = fastpath.DynamicAttention(*(drawn(6, k) for k in (3, 3, 2)), mode=mode)
    entry = state.query(0, 1)
    refused: list[Callable[[], Any]] = [
        lambda: state.update_key(0, 0, 0.5),
        lambda: state.evict(0),
        lambda: state.query_row(0),
        lambda: state.error_bound(0),
        lambda: state.output(),
    ]
    with processor(rounding, bits):
        wrong = [x for x in refused if not _is_refused(x)]
        read = state.query(0, 1)
    assert not wrong
    assert abs(read - entry) <= np.spacing(abs(entry))
    state.update_key(0, 0, 0.5)
    with processor(rounding, bits):
        assert _is_refused(lambda: state.query(0, 1))


def _is_refused(call: Callable[[], Any]) -> bool:
    try:
        call()
    except RuntimeError:
        return True
    return False


@pytest.mark.slow
def test_torch_that_flushes_is_refused() -> None:
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("torch cannot flush subnormal numbers on this processor")
    try:
        with pytest.raises(RuntimeError, match="set_flush_denormal"):
            fastpath.attention(*NARROW)
    finally:
        torch.set_flush_denormal(False)
