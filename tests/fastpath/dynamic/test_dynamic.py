"""What holds of DynamicAttention after any operations: the definition, within its own bound."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray

from fastpath import DynamicAttention
from fastpath.dynamic.certificate import row_error_bound
from reference import Verdict, attention, attention_verdict

Array = NDArray[Any]

#: Steps that toggle a weight by e^300 and more, lose all digits, overflow a shift, or do nothing.
DELTAS = st.sampled_from([0.0, 1.0, -1.0, 0.1, 300.0, -300.0, 1e-3, -7.5, 1e5, -1e5, 2.0**-60])


class Tokens:
    """The definition's side: what the tokens should be, each with its query, key and value."""

    def __init__(self, Q: Array, K: Array, V: Array, causal: bool) -> None:
        self.rows = {"query": list(Q.copy()), "key": list(K.copy()), "value": list(V.copy())}
        self.live = list(range(len(K)))
        self.causal = causal

    def add(self, what: str, i: int, j: int, delta: float) -> None:
        row = self.rows[what][i]
        row[j] = row.dtype.type(float(row[j]) + delta)

    def matrices(self, tokens: list[int]) -> tuple[Array, Array, Array]:
        """Return Q, K, V of some tokens."""
        Q, K, V = (np.array([rows[i] for i in tokens]) for rows in self.rows.values())
        return Q, K, V

    def row_verdict(self, i: int, row: Array, bound: float) -> Verdict:
        seen = [j for j in self.live if j <= i or not self.causal]
        _, K, V = self.matrices(seen)
        return attention_verdict(self.rows["query"][i][None], K, V, row[None], bound)[0]


def _bits(thing: Any) -> Any:
    """Return everything that an object holds, down to the bits of its arrays."""
    if isinstance(thing, np.ndarray):
        return thing.tobytes()
    if isinstance(thing, (memoryview, np.dtype)) or callable(thing):
        return None
    if isinstance(thing, (list, tuple)):
        return [_bits(x) for x in thing]
    if isinstance(thing, dict):
        return {key: _bits(x) for key, x in thing.items()}
    if hasattr(thing, "__dict__"):
        return {name: _bits(x) for name, x in vars(thing).items()}
    return thing


class Machine(RuleBasedStateMachine):
    """Every operation in any order; after each, one row against the definition."""

    mode: Any
    worst_case = False

    @initialize(
        seed=st.integers(0, 2**32 - 1),
        n=st.sampled_from([1, 2, 5, 9]),
        d=st.sampled_from([1, 3]),
        d_v=st.sampled_from([1, 2]),
        dtype=st.sampled_from([np.float32, np.float64]),
        causal=st.booleans(),
        rebuild_every=st.sampled_from([1, 2, 3, 7]),
        size=st.sampled_from([0.0, 1e-300, 0.5, 30.0]),
        fortran=st.booleans(),
    )
    def build(
        self,
        seed: int,
        n: int,
        d: int,
        d_v: int,
        dtype: Any,
        causal: bool,
        rebuild_every: int,
        size: float,
        fortran: bool,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        Q, K = ((size * self.rng.standard_normal((n, d))).astype(dtype) for _ in range(2))
        V = self.rng.standard_normal((n, d_v)).astype(dtype)
        self.shape = {"query": d, "key": d, "value": d_v}
        self.dtype = dtype
        self.tokens = Tokens(Q, K, V, causal)
        order = np.asfortranarray if fortran else np.asarray
        self.attention = DynamicAttention(
            order(Q),
            order(K),
            order(V),
            mode=self.mode,
            causal=causal,
            rebuild_every=rebuild_every,
            worst_case=self.worst_case,
        )

    def _pick(self) -> int:
        return int(self.rng.choice(self.tokens.live))

    def _draw(self, what: str, size: float = 1.0) -> Array:
        return (size * self.rng.standard_normal(self.shape[what])).astype(self.dtype)

    @rule(what=st.sampled_from(["key", "key", "value", "query"]), delta=DELTAS)
    def update(self, what: str, delta: float) -> None:
        i, j = self._pick(), int(self.rng.integers(self.shape[what]))
        getattr(self.attention, f"update_{what}")(i, j, delta)
        self.tokens.add(what, i, j, delta)

    @rule(delta=st.sampled_from([300.0, -300.0, 40.0, 3.0]), times=st.integers(1, 12))
    def toggle(self, delta: float, times: int) -> None:
        i, j = self._pick(), int(self.rng.integers(self.shape["key"]))
        for sign in (1, -1) * times:
            self.attention.update_key(i, j, sign * delta)
            self.tokens.add("key", i, j, sign * delta)

    @rule(what=st.sampled_from(["key", "value", "query"]), size=st.sampled_from([1.0, 50.0, 1e-30]))
    def replace(self, what: str, size: float) -> None:
        i, row = self._pick(), self._draw(what, size)
        getattr(self.attention, f"set_{what}")(i, row)
        self.tokens.rows[what][i] = row

    @rule()
    def append(self) -> None:
        q, k, v = (self._draw(what) for what in self.shape)
        count = len(self.tokens.rows["key"])
        assert self.attention.append(q, k, v) == count
        for what, row in zip(self.shape, (q, k, v), strict=True):
            self.tokens.rows[what].append(row)
        self.tokens.live.append(count)

    @precondition(lambda self: hasattr(self, "tokens") and len(self.tokens.live) > 1)
    @rule()
    def evict(self) -> None:
        i = self._pick()
        self.attention.evict(i)
        self.tokens.live.remove(i)

    @rule()
    def read_everything(self) -> None:
        result = self.attention.output()
        Q, K, V = self.tokens.matrices(self.tokens.live)
        bound = np.broadcast_to(result.error_bound, result.output.shape)
        verdict, _ = attention_verdict(Q, K, V, result.output, bound, causal=self.tokens.causal)
        assert verdict is Verdict.WITHIN
        for j in range(V.shape[1]):
            column = V.copy()
            column[:] = V[:, j : j + 1]
            read = np.repeat(self.attention.query_column(j)[:, None], V.shape[1], axis=1)
            verdict, _ = attention_verdict(Q, K, column, read, bound, causal=self.tokens.causal)
            assert verdict is Verdict.WITHIN

    @precondition(lambda self: hasattr(self, "tokens"))
    @rule(which=st.integers(0, 12))
    def refused(self, which: int) -> None:
        a, n, d = self.attention, len(self.tokens.rows["key"]), self.shape["key"]
        i, good = self._pick(), {what: self._draw(what) for what in self.shape}
        dead = next((t for t in range(n) if t not in self.tokens.live), None)
        calls = [
            (IndexError, "^i must be in", lambda: a.update_key(n, 0, 1.0)),
            (IndexError, "^j must be in", lambda: a.update_key(i, -d - 1, 1.0)),
            (IndexError, "^j must be in", lambda: a.query(i, self.shape["value"])),
            (ValueError, "^delta must be finite", lambda: a.update_key(i, 0, np.nan)),
            (ValueError, "^delta must be finite", lambda: a.update_value(i, 0, -np.inf)),
            (ValueError, "^delta must leave", lambda: a.update_query(i, 0, 1e300)),
            (TypeError, "^delta must be a real", lambda: a.update_key(i, 0, "1")),  # type: ignore[arg-type]
            (ValueError, "^row must have shape", lambda: a.set_key(i, good["key"][:-1])),
            (ValueError, "^row must be finite", lambda: a.set_value(i, good["value"] * np.nan)),
            (
                ValueError,
                "^v must be finite",
                lambda: a.append(good["query"], good["key"], good["value"] / 0),
            ),
            (TypeError, "^i must be an integer", lambda: a.query_row(0.5)),  # type: ignore[arg-type]
        ]
        if dead is not None:
            calls.append((ValueError, "not evicted", lambda: a.query_row(dead)))
        error, says, call = calls[which % len(calls)]
        before = _bits(a)
        with np.errstate(all="ignore"), pytest.raises(error, match=says):
            call()
        assert _bits(a) == before

    @precondition(lambda self: hasattr(self, "tokens") and len(self.tokens.live) == 1)
    @rule()
    def the_last_token_stays(self) -> None:
        before = _bits(self.attention)
        with pytest.raises(ValueError, match="evict must leave a token"):
            self.attention.evict(self.tokens.live[0])
        assert _bits(self.attention) == before

    @invariant()
    def a_row_is_within_its_bound(self) -> None:
        if not hasattr(self, "tokens"):
            return
        i = self._pick()
        bound = self.attention.error_bound(i)
        row = self.attention.query_row(i - len(self.tokens.rows["key"]))  # as numpy counts
        assert row.dtype == self.dtype
        assert self.tokens.row_verdict(i, row, bound) is Verdict.WITHIN
        entries = np.array([self.attention.query(i, j) for j in range(self.shape["value"])])
        assert self.tokens.row_verdict(i, entries, bound) is Verdict.WITHIN
        assert list(self.attention.live) == self.tokens.live


@pytest.mark.parametrize("worst_case", [False, True], ids=["at once", "sliced"])
@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "auto"])
def test_every_read_is_the_definition_within_its_bound(mode: str, worst_case: bool) -> None:
    machine = type("Drawn", (Machine,), {"mode": mode, "worst_case": worst_case})
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=25))


@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "auto"])
def test_nothing_of_an_evicted_token_can_be_changed_or_read(mode: Any) -> None:
    ones = np.ones((4, 2))
    dynamic = DynamicAttention(ones, ones, ones, mode=mode)
    dynamic.evict(1)
    before = _bits(dynamic)
    for i in (1, -3):
        for what in ("key", "value", "query"):
            with pytest.raises(ValueError, match="not evicted"):
                getattr(dynamic, f"update_{what}")(i, 0, 1.0)
            with pytest.raises(ValueError, match="not evicted"):
                getattr(dynamic, f"set_{what}")(i, [1.0, 2.0])
        for call in (dynamic.evict, dynamic.query_row, dynamic.error_bound):
            with pytest.raises(ValueError, match="not evicted"):
                call(i)
        with pytest.raises(ValueError, match="not evicted"):
            dynamic.query(i, 0)
    assert _bits(dynamic) == before


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "auto"])
def test_a_hundred_thousand_updates_leave_no_drift(mode: Any) -> None:
    rng = np.random.default_rng(0)
    n, d = 48, 4
    Q, K, V = (rng.standard_normal((n, d)) for _ in range(3))
    tokens = Tokens(Q, K, V, False)
    dynamic = DynamicAttention(Q, K, V, mode=mode)
    for step in range(1, 100_001):
        i, j = int(rng.integers(n)), int(rng.integers(d))
        what = ("key", "key", "key", "value", "query")[rng.integers(5)]
        # A step back to where the entry began keeps it from walking away.
        back = float((Q, K, V)[("query", "key", "value").index(what)][i, j])
        delta = back + rng.standard_normal() - float(tokens.rows[what][i][j])
        for change in (300.0, -300.0, delta) if step % 7 == 0 else (delta,):
            getattr(dynamic, f"update_{what}")(i, j, change)
            tokens.add(what, i, j, change)
        if step % 3 == 0:
            dynamic.query_row(int(rng.integers(n)))
        if step % 20_000 == 0:
            now = tokens.matrices(tokens.live)
            result = dynamic.output()
            bound = np.broadcast_to(result.error_bound, result.output.shape)
            assert attention_verdict(*now, result.output, bound)[0] is Verdict.WITHIN
            truth = attention(*now)
            error = truth.distance(result.output).largest()[1]
            fresh = truth.distance(_fresh(*now)).largest()[0]
            assert error <= 50 * fresh, f"{float(error):.3g} after {step}, fresh {float(fresh):.3g}"


def _fresh(Q: Array, K: Array, V: Array) -> Array:
    weights = Q @ K.T
    weights = np.exp(weights - weights.max(axis=1, keepdims=True))
    fresh: Array = weights @ V / weights.sum(axis=1, keepdims=True)
    return fresh


def test_toggles_while_a_row_is_not_read_leave_no_trace() -> None:
    rng = np.random.default_rng(1)
    Q, K, V = (rng.standard_normal((6, 2)) for _ in range(3))
    for mode in ("cached", "dirty", "kept", "auto"):
        tokens = Tokens(Q, K, V, False)
        dynamic = DynamicAttention(Q, K, V, mode=mode, rebuild_every=2)
        for i in range(6):
            for delta in (300.0, -300.0):
                dynamic.update_key(i, 0, delta)
                tokens.add("key", i, 0, delta)
        now = tokens.matrices(tokens.live)
        truth = attention(*now)
        error = truth.distance(dynamic.output().output).largest()[1]
        assert error <= 50 * truth.distance(_fresh(*now)).largest()[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_1e5_neither_overflow_nor_lose_the_row(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    Q, K, V = (rng.standard_normal((5, 3)).astype(dtype) for _ in range(3))
    for mode in ("cached", "dirty", "kept", "auto"):
        tokens = Tokens(Q, K, V, False)
        dynamic = DynamicAttention(Q, K, V, mode=mode)
        for i, delta in ((0, 1e5), (1, -1e5), (2, 1e5), (0, -1e5)):
            dynamic.update_key(i, 1, delta)
            tokens.add("key", i, 1, delta)
            for row in range(5):
                read = dynamic.query_row(row)
                assert np.isfinite(read).all()
                assert tokens.row_verdict(row, read, dynamic.error_bound(row)) is Verdict.WITHIN


def test_the_bound_grows_with_all_that_it_counts() -> None:
    query, keys = np.ones(3, np.float32), [1.0, 2.0, 3.0]
    counted = {"magnitude": 1.0, "mass": 2.0, "roundings": 10, "factors": 4, "steps": 4.0}

    def bound(**changed: Any) -> float:
        arguments = {"largest_keys": keys, "denominator": 1.0, "events": 10} | counted | changed
        return row_error_bound(query, scaled=False, **arguments)

    for name, count in counted.items():
        assert bound(**{name: 2 * count}) > bound(), name
    assert bound(largest_keys=[2 * key for key in keys]) > bound()
    assert bound(denominator=0.5) > bound()
    # What underflows is seen beside sums that are nearly as small.
    small = {"mass": 2e-30, "denominator": 1e-30}
    assert bound(**small, events=20) > bound(**small)


def test_inputs_are_copied() -> None:
    Q, K, V = (np.ones((3, 2)) for _ in range(3))
    dynamic = DynamicAttention(Q, K, V)
    dynamic.update_key(0, 0, 1.0)
    dynamic.update_value(0, 0, 1.0)
    dynamic.update_query(0, 0, 1.0)
    for matrix in (Q, K, V):
        assert (matrix == 1).all()


def test_the_bound_says_something_after_any_number_of_rebuilds() -> None:
    """A bound that grew with every rebuild would be true and useless."""
    rng = np.random.default_rng(3)
    Q, K, V = (rng.standard_normal((16, 4)) for _ in range(3))
    for mode in ("cached", "dirty"):
        dynamic = DynamicAttention(Q, K, V, mode=mode, rebuild_every=1)
        fresh = max(dynamic.error_bound(i) for i in range(16))
        for step in range(4000):
            dynamic.update_key(step % 16, step % 4, 0.5 * (-1) ** (step // 16))
        assert dynamic.stats["rebuilds"] >= 4000
        grown = max(Fraction(dynamic.error_bound(i)) for i in range(16))
        # 2 T / D + 1 with T <= 32 D, and the rebuilds among the roundings of a term.
        assert grown <= (2 * 32 + 1) * (1 + Fraction(4000 + 16, 16 + 4)) * Fraction(fresh)


@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_what_leaves_again_before_a_slice_comes_by_leaves_no_trace(mode: Any) -> None:
    """A frozen pair may add what a pending one takes away: both are large, their sum is not."""
    rng = np.random.default_rng(4)
    Q, K, V = (rng.standard_normal((12, 2)) for _ in range(3))
    tokens = Tokens(Q, K, V, False)
    dynamic = DynamicAttention(Q, K, V, mode=mode, rebuild_every=4, worst_case=True)
    for i, delta in ((0, 40.0), (1, 0.1), (2, 0.1), (3, 0.1), (0, -40.0)):
        dynamic.update_key(i, 0, delta)
        tokens.add("key", i, 0, delta)
    result, column = dynamic.output(), dynamic.query_column(1)
    for i in range(12):
        entries = np.array([dynamic.query(i, 0), dynamic.query(i, 1)])
        bound = dynamic.error_bound(i)
        for row in (result.output[i], np.array([entries[0], column[i]]), entries):
            assert tokens.row_verdict(i, row, bound) is Verdict.WITHIN
        assert tokens.row_verdict(i, dynamic.query_row(i), bound) is Verdict.WITHIN


def test_numbers_of_a_narrower_type_change_wider_tokens() -> None:
    """Warnings are errors here: numpy casts the other side of a comparison with a float32."""
    tokens = DynamicAttention(np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 2)))
    tokens.set_key(0, np.full(2, 0.25, np.float32))
    tokens.set_value(0, np.full(2, 0.5, np.float32))
    tokens.update_key(0, 1, np.float32(0.25))
    tokens.update_query(1, 0, np.int64(1))
    wider = DynamicAttention([[1.0, 1.0], [2.0, 1.0]], [[0.25, 0.5], [1, 1]], [[0.5, 0.5], [1, 1]])
    allowed = tokens.error_bound(1) + wider.error_bound(1)
    assert (np.abs(tokens.query_row(1) - wider.query_row(1)) <= allowed).all()
