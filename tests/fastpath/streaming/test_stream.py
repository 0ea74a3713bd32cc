"""What holds of StreamingAttention on any stream: order, shards, files, memory and refusals."""

import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastpath import Certified, StreamingAttention, attention
from fastpath.polynomial.minimax import minimax, widened
from fastpath.polynomial.monomials import monomials
from fastpath.streaming.attention import ROOM, sufficient_degree
from fastpath.streaming.value_sketch import ValueSketch
from tests.judging import most_failures
from tests.strategies import matrices

TOLERANCE = 1e-3

#: What shards that merge may differ by from one pass, relative to the largest value.
SHARDS_DIFFER = 1e-14


def stream(d: int = 2, d_v: int = 2, **arguments: Any) -> StreamingAttention:
    given = {"logit_bound": 1.0, "tolerance": TOLERANCE, "sparsity": 3} | arguments
    if given.get("recovery") == "sketch":
        given.setdefault("rng", np.random.default_rng(0))
    return StreamingAttention(d, d_v, **given)


def rows(n: int, d: int = 2, seed: int = 0) -> Any:
    """Draw rows in a ball of radius 1: logits stay within 1."""
    x = np.random.default_rng(seed).uniform(-1, 1, (n, d))
    return x / np.sqrt(d)


def contents(state: StreamingAttention, path: Path) -> bytes:
    state.save(path)
    return path.read_bytes()


def agree(a: Certified, b: Certified) -> bool:
    """Whether two outputs for the same truth differ by no more than both bounds together."""
    return all(
        abs(Fraction(float(x)) - Fraction(float(y))) <= Fraction(float(p)) + Fraction(float(q))
        for x, y, p, q in zip(
            a.output.flat, b.output.flat, a.error_bound.flat, b.error_bound.flat, strict=True
        )
    )


@st.composite
def streams(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    """Draw queries, keys and values of one type with logits within 1."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    sizes = st.sampled_from([1, 1, 2, 5, 17])
    n_q, n_k, d, d_v = draw(sizes), draw(sizes), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    Q, K = draw(matrices(n_q, d, dtype)), draw(matrices(n_k, d, dtype))
    for x in (Q, K):
        length = float(np.linalg.norm(x.astype(np.float64), axis=1).max())
        x *= dtype(min(1.0, 0.999 / max(length, 1e-30)))
    return Q, K, draw(matrices(n_k, d_v, dtype))


@given(drawn=streams(), size=st.integers(1, 9))
@settings(max_examples=150)
def test_any_stream_within_its_logit_bound_is_answered_within_the_tolerance(
    drawn: Any, size: int
) -> None:
    Q, K, V = drawn
    # A tolerance of subnormal values is less than the least bound that is ever given.
    assume(not 0 < np.abs(V).max() < np.finfo(V.dtype).tiny * 2**10)
    tolerance = 1e-2
    state = stream(Q.shape[1], V.shape[1], tolerance=tolerance)
    for start in range(0, len(K), size):
        state.absorb(K[start : start + size], V[start : start + size])
    result = state.attend(Q)
    assert agree(result, attention(Q, K, V))
    assert result.output.dtype == Q.dtype
    if (V.min(axis=0) < V.max(axis=0)).any():
        assert result.error_bound.max() <= tolerance * np.abs(V).max().astype(np.float64)
    columns, bound = state.decode()
    assert columns.shape == result.output.shape
    assert bound.ratio == 1
    kept = columns.toarray()
    assert ((kept == 0) | (kept == result.output)).all()
    assert np.isfinite(bound.excess).all()


@pytest.mark.parametrize("recovery", ["heap", "sketch"])
def test_blocks_of_queries_make_no_difference_to_what_is_kept(recovery: str) -> None:
    """All blocks reach as far, so that one polynomial serves them."""
    Q, K, V = rows(120), rows(50, seed=1), rows(50, seed=2)
    Q[::10] = [0.6, 0.6]
    one, many = stream(recovery=recovery), stream(recovery=recovery)
    for state in (one, many):
        state.absorb(K, V)
    whole = one.attend(Q)
    parts = [many.attend(Q[start : start + 10]) for start in range(0, 120, 10)]
    both = Certified(
        output=np.concatenate([p.output for p in parts]),
        error_bound=np.concatenate([p.error_bound for p in parts]),
        claims=whole.claims,
    )
    assert agree(whole, both)
    assert np.array_equal(one.decode().columns.indices, many.decode().columns.indices)


# ----------------------------------------------------------------------------------- the order


def test_queries_before_keys_are_refused_with_the_reason() -> None:
    state = stream()
    with pytest.raises(RuntimeError, match=r"attend must come after absorb: .* \(P2\.order\)"):
        state.attend(rows(3))
    with pytest.raises(RuntimeError, match="decode must come after attend"):
        state.decode()


def test_keys_after_queries_are_refused_with_the_reason(tmp_path: Path) -> None:
    state = stream()
    state.absorb(rows(5), rows(5))
    state.attend(rows(3))
    before = contents(state, tmp_path / "a")
    with pytest.raises(RuntimeError, match=r"absorb must come before attend: .* \(P2\.order\)"):
        state.absorb(rows(5), rows(5))
    assert contents(state, tmp_path / "b") == before


# --------------------------------------------------------------------------------------- shards


@pytest.mark.parametrize("recovery", ["heap", "sketch"])
def test_shards_of_keys_answer_as_one_pass_does(recovery: str) -> None:
    Q, K, V = rows(40), rows(800, seed=1), rows(800, seed=2)
    whole, total = stream(recovery=recovery), stream(recovery=recovery)
    whole.absorb(K, V)
    for start in range(0, 800, 100):
        shard = stream(recovery=recovery)
        shard.absorb(K[start : start + 100], V[start : start + 100])
        total.merge(shard)
    one, merged = whole.attend(Q), total.attend(Q)
    assert agree(one, merged)
    # The same polynomial of the same keys: what differs is rounding.
    assert np.abs(one.output - merged.output).max() <= SHARDS_DIFFER * np.abs(V).max()


@pytest.mark.parametrize("recovery", ["heap", "sketch"])
def test_shards_of_queries_keep_what_one_pass_keeps(recovery: str, tmp_path: Path) -> None:
    K, V, Q = rows(30, seed=1), rows(30, seed=2), rows(80)
    whole, total = stream(recovery=recovery), stream(recovery=recovery)
    whole.absorb(K, V)
    total.absorb(K, V)
    whole.save(tmp_path / "keys")
    for first in (60, 0, 40, 20):
        shard = StreamingAttention.load(tmp_path / "keys")
        shard.attend(Q[first : first + 20], first_row=first)
        total.merge(shard)
    for first in (0, 20, 40, 60):
        whole.attend(Q[first : first + 20])
    one, merged = whole.decode(), total.decode()
    if recovery == "heap":
        assert np.array_equal(one.columns.toarray(), merged.columns.toarray())
    assert np.array_equal(one.columns.indices, merged.columns.indices)
    assert np.array_equal(one.columns.shape, merged.columns.shape)
    assert one.bound.ratio == merged.bound.ratio
    assert (merged.bound.excess >= one.bound.excess).all()
    with pytest.raises(ValueError, match="first_row must be one that was not attended before"):
        total.merge(shard)
    with pytest.raises(ValueError, match="first_row must be one that was not attended before"):
        total.attend(Q[:1], first_row=79)
    total.attend(Q[:1])
    assert total.decode().columns.shape == (81, 2)


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (stream(3), ValueError, "other must have d = 2, got 3"),
        (stream(d_v=1), ValueError, "other must have d_v = 2, got 1"),
        (stream(logit_bound=0.5), ValueError, "other must have logit_bound = 1.0, got 0.5"),
        (stream(tolerance=1e-2), ValueError, "other must have tolerance = 0.001, got 0.01"),
        (stream(sparsity=2), ValueError, "other must have sparsity = 3, got 2"),
        (stream(recovery="sketch"), ValueError, "other must have recovery = TopEntries, got Count"),
        (stream(), ValueError, "other must have absorbed the same keys"),
        (None, TypeError, "other must be a StreamingAttention, got NoneType"),
    ],
)
def test_states_that_differ_are_not_merged(
    other: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    state = stream()
    state.absorb(rows(5), rows(5))
    state.attend(rows(3))
    before = contents(state, tmp_path / "a")
    with pytest.raises(error, match=message):
        state.merge(other)
    assert contents(state, tmp_path / "b") == before


def test_sketches_of_other_seeds_are_not_merged() -> None:
    state = stream(recovery="sketch")
    with pytest.raises(ValueError, match="hash functions"):
        state.merge(stream(recovery="sketch", rng=np.random.default_rng(1)))


# ---------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("recovery", ["heap", "sketch"])
@pytest.mark.parametrize("phase", ["new", "absorbed", "attended"])
def test_a_saved_state_goes_on_as_the_first_bit_for_bit(
    recovery: str, phase: str, tmp_path: Path
) -> None:
    state = stream(recovery=recovery)
    if phase != "new":
        state.absorb(rows(30), rows(30, seed=1))
    if phase == "attended":
        state.attend(rows(20))
    state.save(tmp_path / "state")
    other = StreamingAttention.load(tmp_path / "state")
    for one in (state, other):
        if phase != "attended":
            one.absorb(rows(9, seed=2), rows(9, seed=3))
        one.attend(rows(7, seed=4))
    assert contents(state, tmp_path / "a") == contents(other, tmp_path / "b")
    assert state.decode().columns.data.tobytes() == other.decode().columns.data.tobytes()


def test_a_file_of_another_state_is_refused(tmp_path: Path) -> None:
    state = stream()
    state._moments.save(tmp_path / "moments")
    with pytest.raises(
        ValueError,
        match=r"of StreamingAttention 3 or StreamingAttention 2, got .* of MomentState 1",
    ):
        StreamingAttention.load(tmp_path / "moments")


def test_a_truncated_or_changed_file_is_refused(tmp_path: Path) -> None:
    state = stream()
    state.absorb(rows(5), rows(5))
    whole = contents(state, tmp_path / "state")
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 50).tolist():
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        for broken in (bytes(changed), whole[:place]):
            (tmp_path / "broken").write_bytes(broken)
            with pytest.raises(ValueError, match="its digest is wrong"):
                StreamingAttention.load(tmp_path / "broken")


# --------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("recovery", ["heap", "sketch"])
def test_neither_the_state_nor_the_peak_of_memory_grows_with_the_stream(recovery: str) -> None:
    """Ten times as many blocks; sizes up to 10^7 rows are in the benchmarks."""
    block = rows(500)

    def peak(blocks: int) -> tuple[int, int]:
        state = stream(recovery=recovery)
        tracemalloc.start()
        try:
            for _ in range(blocks):
                state.absorb(block, block)
            for _ in range(blocks):
                state.attend(block)
            return state.nbytes, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    (small, low), (large, high) = peak(4), peak(40)
    assert small == large
    assert high <= 1.2 * low


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tolerance": 0.0}, ValueError, r"tolerance must be in \(0, 1\), got 0.0"),
        ({"tolerance": "a"}, TypeError, "tolerance must be a number"),
        ({"tolerance": 1e-17}, ValueError, "tolerance must be one that can be certified"),
        ({"logit_bound": 0.0}, ValueError, r"logit_bound must be in \(0, 32\], got 0.0"),
        ({"logit_bound": np.inf}, ValueError, r"logit_bound must be in \(0, 32\], got inf"),
        ({"logit_bound": np.nan}, ValueError, r"logit_bound must be in \(0, 32\], got nan"),
        ({"logit_bound": True}, TypeError, "logit_bound must be a number, got True"),
        ({"logit_bound": 16.0}, ValueError, "tolerance must be one that can be certified"),
        ({"sparsity": 0}, ValueError, "sparsity must be at least 1, got 0"),
        ({"sparsity": 1.5}, TypeError, "sparsity must be an integer, got 1.5"),
        ({"recovery": "hash"}, ValueError, "recovery must be 'heap' or 'sketch', got 'hash'"),
        ({"recovery": "sketch", "rng": None}, TypeError, "rng must be a numpy.random.Generator"),
        ({"recovery": "sketch", "rng": 7}, TypeError, "rng must be a numpy.random.Generator"),
        ({"d": 0}, ValueError, "d must be at least 1, got 0"),
        ({"d_v": 0}, ValueError, "d_v must be at least 1, got 0"),
        ({"d": 500}, ValueError, "2656615626 features and 63758775024 bytes"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stream(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.attend(rows(3, 3)), ValueError, "Q must have 2 columns, got 3"),
        (lambda s: s.attend([[np.nan, 0]]), ValueError, "Q must be finite"),
        (lambda s: s.attend(np.zeros((0, 2))), ValueError, "Q must not be empty"),
        (lambda s: s.attend([["a", "b"]]), TypeError, "Q must hold"),
        (lambda s: s.attend(rows(1), first_row=-1), ValueError, "first_row must be at least 0"),
        (lambda s: s.attend(rows(1), first_row=2**32), ValueError, r"rows below 2\^32"),
        (
            lambda s: s.attend(3 * rows(9)),
            ValueError,
            r"within tolerance = 0.001 by degree 4, .* logit_bound = 1: tolerance must be at least",
        ),
        (
            lambda s: s.attend(1e300 * rows(9)),
            ValueError,
            "logit_bound = 1: Q must keep logits",
        ),
        (lambda s: s.absorb(rows(3, 3), rows(3)), ValueError, "K must have 2 columns, got 3"),
        (lambda s: s.absorb(rows(3), rows(3, 3)), ValueError, "V must have 2 columns, got 3"),
        (lambda s: s.absorb(rows(3), rows(4)), ValueError, "same number of rows, got 3 and 4"),
        (lambda s: s.absorb(rows(3), [[0, np.inf]] * 3), ValueError, "V must be finite"),
    ],
)
@pytest.mark.parametrize("recovery", ["heap", "sketch"])
def test_a_refused_call_is_explained_and_changes_nothing(
    recovery: str, call: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    state = stream(recovery=recovery)
    state.absorb(rows(50, seed=1), rows(50, seed=2))
    before = contents(state, tmp_path / "a")
    with pytest.raises(error, match=message):
        call(state)
    assert contents(state, tmp_path / "b") == before
    state.attend(rows(3))


def test_logits_beyond_the_bound_are_never_silently_wrong() -> None:
    """Longer and longer queries: each answer is within the tolerance, or refused."""
    K, V = rows(50, seed=1), rows(50, seed=2)
    refused = []
    for scale in np.linspace(0.5, 4, 30):
        state = stream()
        state.absorb(K, V)
        Q = scale * rows(9)
        try:
            result = state.attend(Q)
        except ValueError:
            refused.append(scale)
            continue
        assert not refused
        assert agree(result, attention(Q, K, V))
        assert result.error_bound.max() <= TOLERANCE * np.abs(V).max()
    assert refused


def test_equal_values_are_answered_exactly() -> None:
    state = stream()
    state.absorb(rows(50), np.full((50, 2), 0.1))
    assert (state.attend(rows(3)).output == 0.1).all()


@pytest.mark.parametrize("tolerance", [1e-8, 1e-3, 0.3])
@pytest.mark.parametrize("bound", [0.1, 0.5, 1.0, 1.7, 2.0, 3.3])
def test_what_reaches_the_logit_bound_with_values_of_both_signs_is_not_refused(
    bound: float, tolerance: float
) -> None:
    state = stream(1, 1, logit_bound=bound, tolerance=tolerance)
    state.absorb([[1.0], [-1.0]], [[1.0], [-1.0]])
    assert state.attend([[bound], [-bound]]).error_bound.max() <= tolerance


def test_the_degree_leaves_room_for_outputs_in_float32() -> None:
    """A tolerance that a degree just fails to leave room in: rounding to float32 takes more than is left."""
    polynomial = minimax(2, widened(1 + 2.0**-30))
    just = 2 * polynomial.total_variation * (1 + 2.0**-24)
    state = stream(1, 1, tolerance=just)
    ones = np.array([[1.0], [-1.0]], np.float32)
    state.absorb(ones, ones)
    assert state.attend(ones).error_bound.max() <= just


def test_the_degree_leaves_room_for_the_rounding_of_logits_at_the_bound() -> None:
    """A tolerance that degree 2 meets up to the bound itself, but not up to what rounding makes of it."""
    narrow, wide = (2 * minimax(2, widened(x)).total_variation for x in (1.0, 1 + 2.0**-30))
    tolerance = (narrow / (1 - ROOM) + wide) / 2
    assert narrow / (1 - ROOM) < tolerance < wide
    state = stream(1, 1, tolerance=tolerance)
    state.absorb([[1.0], [-1.0]], [[1.0], [-1.0]])
    assert state.attend([[1.0], [-1.0]]).error_bound.max() <= tolerance


def test_a_tolerance_that_many_keys_would_break_is_refused_before_the_first() -> None:
    """Some 2^14 roundings are 2e-12: far above those of one key and one query."""
    with pytest.raises(ValueError, match="rounding alone could exceed it"):
        stream(1, 1, logit_bound=0.1, tolerance=1e-12)


def test_the_degree_is_the_least_that_certifies() -> None:
    assert [sufficient_degree(4, logit_bound=b, tolerance=1e-3) for b in (0.25, 1.0, 2.0)] == [
        2,
        4,
        6,
    ]
    assert sufficient_degree(4, logit_bound=8.0, tolerance=1e-2) == 12
    # A little more tolerance never needs more.
    degrees = [sufficient_degree(2, logit_bound=1.0, tolerance=t) for t in (1e-10, 1e-6, 1e-3, 0.5)]
    assert degrees == sorted(degrees, reverse=True)


# --------------------------------------------------------------------- the paper's own sketch


def _moments(K: Any, V: Any, degree: int) -> Any:
    basis = monomials(K.shape[1], degree)
    powers = np.prod(K[:, None, :] ** basis.exponents[None], axis=2)
    return powers.T @ np.column_stack((V, np.ones(len(V))))


def test_the_papers_sketch_is_exact_where_no_two_keys_meet() -> None:
    """One key, of small integers: one row of the sketch has all of it, and the sign cancels."""
    K, V = np.array([[2.0, -1.0]]), np.array([[3.0, 0.0]])
    sketch = ValueSketch(2, 2, 3, 5, rng=np.random.default_rng(0))
    sketch.absorb(K, V)
    assert np.array_equal(sketch.estimate(), _moments(K, V, 3))


def test_the_papers_sketch_is_right_in_the_mean() -> None:
    """Two keys in one row: the products of one's features and the other's value have either sign."""
    K, V = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    exact = _moments(K, V, 1)
    above = 0
    for seed in range(400):
        sketch = ValueSketch(2, 2, 1, 1, rng=np.random.default_rng(seed))
        sketch.absorb(K, V)
        error = sketch.estimate() - exact
        assert abs(error[0, 0]) == 1
        above += error[0, 0] > 0
    assert max(above, 400 - above) <= most_failures(400, 1 / 2)


def test_the_papers_sketch_errs_and_costs_more_than_the_moments_do() -> None:
    """P2.space: as soon as it has more rows than V has columns."""
    K, V = rows(500), rows(500, seed=1)
    exact = _moments(K, V, 4)
    errors = []
    for sketch_rows in (1, 2, 3, 4, 64):
        sketch = ValueSketch(2, 2, 4, sketch_rows, rng=np.random.default_rng(sketch_rows))
        for start in range(0, 500, 100):
            sketch.absorb(K[start : start + 100], V[start : start + 100])
        assert sketch.exact_numbers == exact.size
        assert (sketch.numbers > exact.size) == (sketch_rows > 2)
        errors.append(np.linalg.norm(sketch.estimate() - exact))
    # Twenty times the numbers, and still an error of the order of the moments themselves.
    assert sketch.numbers > 20 * sketch.exact_numbers
    assert errors[-1] > 0.01 * np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("K", "V", "message"),
    [
        (rows(3, 3), rows(3), r"must have 2 and 2 columns"),
        (rows(3), rows(4), "as many rows"),
        (1e60 * rows(3), rows(3), r"powers of degree 4 below 2\^400"),
        (rows(3), 1e200 * rows(3), r"V must not exceed 2\^400"),
    ],
)
def test_the_papers_sketch_refuses_what_does_not_fit(K: Any, V: Any, message: str) -> None:
    sketch = ValueSketch(2, 2, 4, 5, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        sketch.absorb(K, V)
    assert not sketch.estimate().any()
