"""What holds of polynomial attention and of its state on any input."""

import os
import signal
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastpath
from fastpath import Certified, ExpansionError, MomentState
from fastpath.polynomial.attention import CAUSAL_BLOCK, LARGEST_BYTES
from fastpath.polynomial.minimax import minimax, widened
from fastpath.polynomial.moments import query_roundings, rounding_bound, sum_roundings
from fastpath.polynomial.monomials import Monomials, block_columns
from tests.strategies import attention_inputs, matrices


def _agree(a: Certified, b: Certified) -> bool:
    """Whether two outputs for the same truth differ by no more than both bounds together."""
    return all(
        abs(Fraction(float(x)) - Fraction(float(y))) <= Fraction(float(p)) + Fraction(float(q))
        for x, y, p, q in zip(
            a.output.flat, b.output.flat, a.error_bound.flat, b.error_bound.flat, strict=True
        )
    )


def _certified(Q: Any, K: Any, V: Any, tolerance: float, causal: bool) -> Certified | None:
    """Return the result, or None where the tolerance is refused; no other refusal is expected."""
    try:
        return fastpath.polynomial_attention(Q, K, V, tolerance=tolerance, causal=causal)
    except ValueError as refusal:
        if "tolerance must be one that can be certified" not in str(refusal):
            raise
    return None


@st.composite
def states(draw: st.DrawFn) -> tuple[MomentState, Any, Any, Any]:
    """Draw a state with its queries, keys and values: ranges that degree 0 to 7 can serve."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    d, d_v = draw(st.sampled_from([1, 1, 2, 3, 5])), draw(st.sampled_from([1, 1, 2, 4]))
    n_q, n_k = draw(st.sampled_from([1, 3, 8])), draw(st.sampled_from([1, 2, 9, 40]))
    Q, K, V = (draw(matrices(r, c, dtype)) for r, c in ((n_q, d), (n_k, d), (n_k, d_v)))
    # Logits within about half a unit, whatever the scale of the keys.
    with np.errstate(over="ignore"):
        reach = np.abs(Q).astype(float).max() * np.abs(K).astype(float).max() * d
    if reach > 0.5:
        Q = (Q * (0.5 / reach)).astype(dtype)
    state = MomentState(d, d_v, draw(st.integers(2, 7)))
    state.update(K, V)
    return state, Q, K, V


# ------------------------------------------------------------------------------------- the function


@given(inputs=attention_inputs(), tolerance=st.sampled_from([1e-1, 1e-3, 1e-5]))
def test_what_is_not_refused_is_within_the_tolerance_and_agrees_with_exact_attention(
    inputs: Any, tolerance: float
) -> None:
    Q, K, V, causal = inputs
    result = _certified(Q, K, V, tolerance, causal)
    if result is None:
        return
    allowed = Fraction(tolerance) * Fraction(float(np.abs(V).max()))
    least = Fraction(1, 2**1000)  # a bound of zero is never certified
    assert Fraction(float(result.error_bound.max())) <= max(allowed, least)
    assert np.isfinite(result.output).all()
    assert result.output.dtype == Q.dtype
    assert _agree(result, fastpath.attention(Q, K, V, causal=causal))


def test_small_logits_are_never_refused() -> None:
    rng, tolerance = np.random.default_rng(0), 1e-3
    for d in (1, 2, 4, 8):
        Q, K, V = (rng.uniform(-1, 1, (50, d)) / np.sqrt(d) for _ in range(3))
        result = fastpath.polynomial_attention(Q, K, V, tolerance=tolerance)
        assert result.error_bound.max() <= tolerance * np.abs(V).max()


@given(inputs=attention_inputs())
def test_the_output_stays_between_the_smallest_and_the_largest_value(inputs: Any) -> None:
    Q, K, V, causal = inputs
    Q = Q * Q.dtype.type(2.0**-20)
    result = _certified(Q, K, V, 0.1, causal)
    if result is not None:
        assert (result.output >= V.min(axis=0)).all()
        assert (result.output <= V.max(axis=0)).all()


@pytest.mark.parametrize("n", [1, 2, CAUSAL_BLOCK, CAUSAL_BLOCK + 1, 3 * CAUSAL_BLOCK + 7])
def test_causal_attention_across_blocks_agrees_with_exact_attention(n: int) -> None:
    rng = np.random.default_rng(n)
    Q, K, V = (rng.uniform(-0.5, 0.5, (n, 3)) for _ in range(3))
    result = fastpath.polynomial_attention(Q, K, V, tolerance=1e-7, causal=True)
    assert _agree(result, fastpath.attention(Q, K, V, causal=True))
    assert result.output[0].tobytes() == V[0].tobytes()


def test_a_common_shift_of_the_keys_costs_no_degree() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.uniform(-0.5, 0.5, (40, 3)) for _ in range(3))
    result = fastpath.polynomial_attention(Q, K + 1000, V, tolerance=1e-3)
    assert _agree(result, fastpath.attention(Q, K + 1000, V))


def test_rows_with_smaller_logits_have_smaller_bounds() -> None:
    rng = np.random.default_rng(0)
    K, V = rng.uniform(-1, 1, (100, 2)), rng.uniform(-1, 1, (100, 2))
    Q = np.array([[1e-3, 0.0], [0.1, 0.0], [1.0, 1.0]])
    small, middling, large = fastpath.polynomial_attention(Q, K, V, tolerance=1e-2).error_bound[
        :, 0
    ]
    assert small < middling < large


def test_what_does_not_fit_is_refused_with_its_features_and_bytes() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.uniform(-1, 1, (20, 64)) for _ in range(3))
    with pytest.raises(ValueError, match=r"degree \d+ or more, so .* features and .* bytes"):
        fastpath.polynomial_attention(Q, K, V, tolerance=1e-3)
    assert "268435456" in _refusal(Q, K, V, 1e-3)
    assert LARGEST_BYTES == 268435456


def test_logits_that_float64_cannot_serve_are_refused_for_rounding() -> None:
    K = np.linspace(-1, 1, 9)[:, None]
    for size in (14.0, 40.0, 1e4, 1e200):
        assert "rounding alone" in _refusal(np.full((1, 1), size), K, K, 1e-6)


def _refusal(Q: Any, K: Any, V: Any, tolerance: float) -> str:
    with pytest.raises(ValueError, match="tolerance") as refused:
        fastpath.polynomial_attention(Q, K, V, tolerance=tolerance)
    return str(refused.value)


@pytest.mark.parametrize("tolerance", [0, 0.0, 1, 1.5, -1e-3, np.nan, np.inf])
def test_a_tolerance_outside_0_to_1_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"tolerance must be in \(0, 1\), got"):
        fastpath.polynomial_attention(
            np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), tolerance=tolerance
        )


@pytest.mark.parametrize("tolerance", ["1e-3", None, True, 1j])
def test_a_tolerance_that_is_no_number_is_refused(tolerance: Any) -> None:
    with pytest.raises(TypeError, match="tolerance must be a number"):
        fastpath.polynomial_attention(
            np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), tolerance=tolerance
        )


@pytest.mark.parametrize(("name", "exponent"), [("K", 1010), ("V", 1021)])
def test_entries_too_large_to_scale_are_refused(name: str, exponent: int) -> None:
    arrays = {n: np.ones((3, 2)) for n in "QKV"}
    arrays[name][1, 1] = -(2.0**1023)
    with pytest.raises(ValueError, match=rf"^{name} must .* 2\^{exponent}"):
        fastpath.polynomial_attention(*arrays.values(), tolerance=0.1)


def test_memory_stays_linear_in_the_data() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.uniform(-0.5, 0.5, (20000, 4)).astype(np.float32) for _ in range(3))
    fastpath.polynomial_attention(Q[:9], K[:9], V[:9], tolerance=1e-3)
    tracemalloc.start()
    try:
        fastpath.polynomial_attention(Q, K, V, tolerance=1e-3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    copies = 20 * 8 * Q.size
    blocks = 8 * 2**20
    assert peak < copies + blocks


# ---------------------------------------------------------------------------------------- the state


@given(drawn=states())
def test_a_state_agrees_with_exact_attention(drawn: Any) -> None:
    state, Q, K, V = drawn
    result = state.query(Q)
    assert result.output.dtype == Q.dtype
    assert _agree(result, fastpath.attention(Q, K, V))


@given(drawn=states(), parts=st.integers(1, 5))
def test_shards_that_merge_agree_with_one_pass(drawn: Any, parts: int) -> None:
    whole, Q, K, V = drawn
    merged = MomentState(whole.d, whole.d_v, whole.degree)
    for part in range(min(parts, len(K))):
        shard = MomentState(whole.d, whole.d_v, whole.degree)
        shard.update(K[part::parts], V[part::parts])
        merged.merge(shard)
    if merged.count == whole.count:
        assert _agree(merged.query(Q), fastpath.attention(Q, K, V))
        assert merged.nbytes == whole.nbytes


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("power", "refused"), [(30, 0), (100, 3), (255, 3), (500, 3)])
def test_powers_of_queries_that_overflow_are_refused_however_small_the_logits(
    power: int, refused: int, causal: bool
) -> None:
    """A variable in which keys hardly vary: x^a overflows, k^a underflows, and their product was NaN."""
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 2.0**power])
    Q, K = rng.uniform(-2, 2, (8, 2)) * scale, rng.uniform(-1, 1, (8, 2)) / scale
    V = rng.random((8, 1))
    exact = fastpath.attention(Q, K, V, causal=causal)
    tolerances = [1e-9, 1e-5, 1e-2]
    for tolerance in tolerances[:refused]:
        with pytest.raises(ExpansionError, match="powers of its scaled queries"):
            fastpath.polynomial_attention(Q, K, V, tolerance=tolerance, causal=causal)
    for tolerance in tolerances[refused:]:
        found = fastpath.polynomial_attention(Q, K, V, tolerance=tolerance, causal=causal)
        assert _agree(found, exact)
    state = MomentState(2, 1, 12)
    state.update(K, V)
    if refused:
        with pytest.raises(ValueError, match="Q must keep"):
            state.query(Q)
    elif not causal:
        assert _agree(state.query(Q), exact)


def test_the_largest_degree_has_factorials_and_a_larger_one_is_refused() -> None:
    K, V = np.array([[1.0], [0.5], [-0.25]]), np.array([[1.0], [2.0], [3.0]])
    state = MomentState(1, 1, 170)
    state.update(K, V)
    assert _agree(state.query(np.ones((1, 1))), fastpath.attention(np.ones((1, 1)), K, V))
    with pytest.raises(ValueError, match="degree must be at most 170"):
        MomentState(1, 1, 171)


def test_eight_shards_are_within_rounding_of_one_pass() -> None:
    """Both read one polynomial from moments that differ by the rounding of their sums only (FP.moments)."""
    rng = np.random.default_rng(0)
    K, V = rng.uniform(-1, 1, (80000, 3)), rng.uniform(-1, 1, (80000, 2))
    whole, merged = MomentState(3, 2, 5), MomentState(3, 2, 5)
    whole.update(K, V)
    for part in range(8):
        shard = MomentState(3, 2, 5)
        shard.update(K[part::8], V[part::8])
        merged.merge(shard)
    Q = rng.uniform(-0.3, 0.3, (100, 3))
    a, b = whole.query(Q), merged.query(Q)
    reach = 1.0  # of logits: |q| |k| <= sqrt(0.27 * 3)
    polynomial = minimax(5, widened(reach))
    # Eight additions of shards, besides those inside of each.
    roundings = sum_roundings(5, len(K), block_columns(3, 5, 3)) + 8 + query_roundings(3, 5)
    rounding = rounding_bound(polynomial, reach, roundings, polynomial.lowest, Q.dtype)
    assert np.abs(a.output - b.output).max() <= 2 * rounding * np.abs(V).max()


@given(drawn=states(), seed=st.integers(0, 2**32 - 1))
def test_another_centre_gives_the_same_answer(drawn: Any, seed: int) -> None:
    state, Q, K, V = drawn
    size = float(np.abs(K).max())
    centre = size * np.random.default_rng(seed).uniform(-1, 1, state.d)
    moved = state.recentred(centre)
    assert moved.centre.tobytes() == centre.tobytes()
    assert _agree(moved.query(Q), fastpath.attention(Q, K, V))


def test_recentring_is_the_binomial_theorem() -> None:
    rng = np.random.default_rng(0)
    basis = Monomials(3, 5)
    x, weights = (
        rng.integers(-3, 4, (3, 20)).astype(float),
        rng.integers(-3, 4, (2, 20)).astype(float),
    )
    shift = np.array([1.0, -2.0, 3.0])
    moved, direct = np.zeros((basis.count, 2)), np.zeros((basis.count, 2))
    basis.add(x, weights, moved)
    basis.translate(moved, shift)
    basis.add(x - shift[:, None], weights, direct)
    assert (moved == direct).all()  # integers: nothing is rounded


def test_states_of_different_centres_merge_after_recentring() -> None:
    rng = np.random.default_rng(0)
    K, V, Q = rng.uniform(1, 2, (50, 2)), rng.standard_normal((50, 1)), rng.uniform(-1, 1, (5, 2))
    here, there = MomentState(2, 1, 6, centre=[1, 1]), MomentState(2, 1, 6, centre=[2, 2])
    here.update(K[:30], V[:30])
    there.update(K[30:], V[30:])
    here.merge(there.recentred(here.centre))
    assert here.count == 50
    assert _agree(here.query(Q), fastpath.attention(Q, K, V))


def test_keys_far_from_the_origin_are_answered_about_their_middle() -> None:
    rng = np.random.default_rng(0)
    K, V = rng.uniform(4, 5, (50, 2)), rng.standard_normal((50, 1))
    Q = rng.uniform(-1, 1, (5, 2))
    state = MomentState(2, 1, 4)
    state.update(K, V)
    # About the origin logits reach 10, where degree 4 certifies nothing.
    result = state.query(Q, tolerance=1e-2)
    assert _agree(result, fastpath.attention(Q, K, V))


def test_keys_that_come_after_a_query_count() -> None:
    rng = np.random.default_rng(0)
    K, V, Q = (
        rng.uniform(4, 5, (50, 2)),
        rng.standard_normal((50, 1)),
        rng.uniform(-0.2, 0.2, (5, 2)),
    )
    K[25:] -= 9
    state, other = MomentState(2, 1, 6), MomentState(2, 1, 6)
    state.update(K[:20], V[:20])
    state.query(Q)
    state.update(K[20:40], V[20:40])
    assert _agree(state.query(Q), fastpath.attention(Q, K[:40], V[:40]))
    other.update(K[40:], V[40:])
    state.merge(other)
    assert _agree(state.query(Q), fastpath.attention(Q, K, V))


def test_a_move_far_beyond_the_keys_overflows_nothing() -> None:
    K, V = np.array([[1e-300], [-1e-300]]), np.array([[1.0], [2.0]])
    state = MomentState(1, 1, 4)
    state.update(K, V)
    Q = np.array([[0.5]])
    assert _agree(state.recentred([1.0]).query(Q), fastpath.attention(Q, K, V))


def test_a_state_does_not_grow_with_its_keys() -> None:
    rng = np.random.default_rng(0)
    state = MomentState(3, 2, 4)
    before = state.nbytes
    for _ in range(5):
        state.update(rng.standard_normal((1000, 3)), rng.standard_normal((1000, 2)))
    assert state.count == 5000
    assert state.nbytes == before == 8 * 35 * 3


def test_equal_values_pass_any_tolerance() -> None:
    for value in (0.0, 3.0):
        state = MomentState(1, 1, 2)
        state.update(np.array([[1.0], [-1.0]]), np.full((2, 1), value))
        assert state.query(np.ones((1, 1)), tolerance=1e-15).output.item() == value
        huge = np.array([[1e30], [-1e-30]])
        result = fastpath.polynomial_attention(
            huge, huge, np.full((2, 1), value), tolerance=1e-15, causal=True
        )
        assert result.output.tolist() == [[value], [value]]


def test_float32_stays_float32_until_float64_comes_in() -> None:
    single = np.ones((2, 1), np.float32)
    state = MomentState(1, 1, 2)
    state.update(single, single)
    assert state.query(single).output.dtype == np.float32
    assert state.query(single.astype(float)).output.dtype == np.float64
    state.update(single, np.ones((2, 1)))
    assert state.query(single).output.dtype == np.float64


def test_inputs_are_not_modified() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.uniform(-0.5, 0.5, (30, 2)) for _ in range(3))
    before = [x.tobytes() for x in (Q, K, V)]
    fastpath.polynomial_attention(Q, K, V, tolerance=1e-3, causal=True)
    state = MomentState(2, 2, 3)
    state.update(K, V)
    state.query(Q)
    assert [x.tobytes() for x in (Q, K, V)] == before


# ---------------------------------------------------------------------------------------- refusals


def _state() -> MomentState:
    rng = np.random.default_rng(0)
    state = MomentState(2, 1, 3)
    state.update(rng.standard_normal((20, 2)), rng.standard_normal((20, 1)))
    return state


@pytest.mark.parametrize(
    ("refused", "error", "says"),
    [
        (lambda s: s.update(np.ones((2, 3)), np.ones((2, 1))), ValueError, "K must have 2 columns"),
        (lambda s: s.update(np.ones((2, 2)), np.ones((2, 2))), ValueError, "V must have 1 columns"),
        (lambda s: s.update(np.ones((3, 2)), np.ones((2, 1))), ValueError, "same number of rows"),
        (
            lambda s: s.update(np.full((2, 2), np.nan), np.ones((2, 1))),
            ValueError,
            "K must be finite",
        ),
        (
            lambda s: s.update(np.ones((2, 2)), np.full((2, 1), np.inf)),
            ValueError,
            "V must be finite",
        ),
        (
            lambda s: s.update(np.full((2, 2), 1e305), np.ones((2, 1))),
            ValueError,
            "K must lie within",
        ),
        (lambda s: s.update(np.ones((2, 2)) > 0, np.ones((2, 1))), TypeError, "K must hold"),
        (lambda s: s.merge(MomentState(3, 1, 3)), ValueError, "other must have d = 2, got 3"),
        (lambda s: s.merge(MomentState(2, 2, 3)), ValueError, "other must have d_v = 1, got 2"),
        (lambda s: s.merge(MomentState(2, 1, 4)), ValueError, "other must have degree = 3, got 4"),
        (lambda s: s.merge(MomentState(2, 1, 3, centre=[0, 1])), ValueError, "have the centre"),
        (lambda s: s.merge("state"), TypeError, "other must be a MomentState, got str"),
        (lambda s: s.recentred([1.0]), ValueError, "centre must be a vector of length 2"),
        (lambda s: s.recentred([np.nan, 0]), ValueError, "centre must be a vector of length 2"),
        (lambda s: s.query(np.ones((1, 3))), ValueError, "Q must have 2 columns, got 3"),
        (lambda s: s.query(np.full((1, 2), np.nan)), ValueError, "Q must be finite"),
        (lambda s: s.query(np.full((1, 2), 50.0)), ValueError, "Q must keep logits"),
        (lambda s: s.query(np.full((1, 2), 1e300)), ValueError, "Q must keep logits"),
        (
            lambda s: s.query(np.ones((1, 2)), tolerance=1e-9),
            ValueError,
            "tolerance must be at least",
        ),
        (
            lambda s: s.query(np.ones((1, 2)), tolerance=0),
            ValueError,
            r"tolerance must be in \(0, 1\)",
        ),
    ],
)
def test_a_refused_call_is_explained_and_changes_nothing(
    refused: Any, error: type[Exception], says: str, tmp_path: Path
) -> None:
    state = _state()
    state.save(tmp_path / "before")
    with pytest.raises(error, match=says):
        refused(state)
    state.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((0, 1, 2), ValueError, "d must be at least 1, got 0"),
        ((1, 0, 2), ValueError, "d_v must be at least 1"),
        ((1, 1, -1), ValueError, "degree must be at least 0"),
        ((2.0, 1, 1), TypeError, "d must be an integer, got 2.0"),
        ((1, 1, True), TypeError, "degree must be an integer"),
        ((64, 64, 4), ValueError, "814385 features and 423480200 bytes"),
    ],
)
def test_a_state_of_no_sensible_size_is_refused(
    arguments: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        MomentState(*arguments)


def test_queries_before_any_key_are_refused() -> None:
    with pytest.raises(ValueError, match="Q must come after keys and values"):
        MomentState(1, 1, 2).query(np.ones((1, 1)))


# ------------------------------------------------------------------------------------------- files


@given(drawn=states())
def test_a_saved_state_comes_back_bit_for_bit(drawn: Any, tmp_path_factory: Any) -> None:
    state, Q, K, V = drawn
    folder = tmp_path_factory.mktemp("states")
    state.save(folder / "one")
    loaded = MomentState.load(folder / "one")
    loaded.save(folder / "two")
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
    assert loaded.query(Q).output.tobytes() == state.query(Q).output.tobytes()
    assert loaded.query(Q).error_bound.tobytes() == state.query(Q).error_bound.tobytes()
    loaded.update(K, V)
    state.update(K, V)
    assert loaded.query(Q).output.tobytes() == state.query(Q).output.tobytes()


def test_a_truncated_file_is_refused_at_any_length(tmp_path: Path) -> None:
    _state().save(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for size in {0, 1, 31, 32, 33, len(data) // 2, len(data) - 32, len(data) - 1}:
        (tmp_path / "cut").write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"state file as it was saved, got .*cut"):
            MomentState.load(tmp_path / "cut")


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_changed_bit_anywhere_is_refused(
    place: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("states") / "changed"
    _state().save(path)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(ValueError, match="its digest is wrong"):
        MomentState.load(path)


def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MomentState.load(tmp_path / "nothing")


#: Saves over a good file and is killed before the new one is complete, or before it has its name.
KILLED = """
import os, signal, sys
import numpy as np
from fastpath import MomentState
state = MomentState(2, 1, 3)
state.update(np.ones((4, 2)), np.ones((4, 1)))
setattr(os, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
state.save(sys.argv[1])
"""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_process_killed_while_saving_leaves_the_old_file_whole(
    moment: str, tmp_path: Path
) -> None:
    _state().save(tmp_path / "state")
    before = (tmp_path / "state").read_bytes()
    environment = {**os.environ, "PYTHONPATH": str(Path(fastpath.__file__).parents[1])}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "state", moment], env=environment, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "state").read_bytes() == before
    assert MomentState.load(tmp_path / "state").count == 20


def test_a_failed_save_leaves_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        _state().save(tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


def test_values_too_small_for_any_tolerance_are_refused_with_the_expansion() -> None:
    V = np.array([[5e-324], [1e-323]])
    with pytest.raises(fastpath.ExpansionError, match="rounding alone could exceed it"):
        fastpath.polynomial_attention(np.ones((1, 1)), np.array([[0.0], [1.0]]), V, tolerance=1e-3)
