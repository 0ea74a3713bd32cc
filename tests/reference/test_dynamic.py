"""A replayed log answers by the definition, hinted Mv is decided exactly, and the structures agree."""

from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from reference import Enclosure, attention
from reference.hinted import boolean_product, hinted_tokens, hinted_updates
from reference.models.lazy_sums import KeptWeights, LazySums, SlotSums, exact_answer
from reference.tokens import Append, Evict, SetRow, UpdateEntry, replay
from tests.reference.truth import encloses_arb, to_arb

ARRAYS = ("query", "key", "value")


@st.composite
def histories(draw, numbers, dtype, most=8):
    """Tokens, a log, causal or not, and what the tokens are in the end as a plain list of dicts."""
    n, d, d_v = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    columns = dict(zip(ARRAYS, (d, d, d_v), strict=True))

    def row(name):
        return draw(st.lists(numbers, min_size=columns[name], max_size=columns[name]))

    rows = [{name: row(name) for name in ARRAYS} for _ in range(n)]
    start = [np.array([r[name] for r in rows], dtype) for name in ARRAYS]
    rows = [{name: [dtype(x) for x in r[name]] for name in ARRAYS} for r in rows]
    live, log = list(range(n)), []
    for _ in range(draw(st.integers(0, most))):
        kind, token = draw(st.sampled_from("uuusae")), draw(st.sampled_from(live))
        name = draw(st.sampled_from(ARRAYS))
        if kind == "u":
            j, delta = draw(st.integers(0, columns[name] - 1)), draw(numbers)
            log.append(UpdateEntry(name, token, j, delta))
            entry = rows[token][name][j]
            # numpy's scalars become Python's floats, so that float32 is rounded once, at the end.
            rows[token][name][j] = dtype((entry if dtype is int else float(entry)) + delta)
        elif kind == "s":
            new = row(name)
            log.append(SetRow(name, token, new))
            rows[token][name] = [dtype(x) for x in new]
        elif kind == "a":
            new = {a: row(a) for a in ARRAYS}
            log.append(Append(*new.values()))
            live.append(len(rows))
            rows.append({a: [dtype(x) for x in new[a]] for a in ARRAYS})
        elif len(live) > 1:
            log.append(Evict(token))
            live.remove(token)
    return start, log, draw(st.booleans()), rows, live


def arb_row(rows, seen, i):
    """A row of attention by its definition."""
    logits = [
        sum(
            Fraction(float(q)) * Fraction(float(k))
            for q, k in zip(rows[i]["query"], rows[s]["key"], strict=True)
        )
        for s in seen
    ]
    weights = [to_arb(x - max(logits))[()].exp() for x in logits]
    values = to_arb([[float(v) for v in rows[s]["value"]] for s in seen])
    return np.array(weights, object) @ values / sum(weights, arb(0))


FLOAT = st.floats(-8, 8, width=32)


@given(history=st.one_of(histories(FLOAT, np.float32), histories(FLOAT, np.float64)))
def test_after_any_operations_every_row_is_the_definitions(history):
    (Q, K, V), log, causal, rows, live = history
    tokens = replay(Q, K, V, log, causal=causal)
    assert tokens.live == live
    whole = tokens.attention()
    for position, i in enumerate(live):
        with ctx.workprec(512):
            truth = arb_row(rows, [s for s in live if s <= i or not causal], i)
            assert encloses_arb(tokens.row(i), truth)
            assert encloses_arb(whole[position], truth)


def test_a_replay_leaves_its_input_as_it_was():
    X = np.ones((2, 1))
    tokens = replay(X, X, X, [UpdateEntry("key", 0, 0, 1.0), Evict(1)])
    assert (X == 1).all()
    assert tokens.key[0, 0] == 2


def test_a_change_below_the_arrays_precision_is_rounded_away_and_in_fractions_is_not():
    log = [UpdateEntry("key", 0, 0, 2.0**-30)]
    for dtype, key in ((np.float32, 1), (np.float64, 1 + 2.0**-30)):
        X = np.ones((1, 1), dtype)
        assert replay(X, X, X, log).key[0, 0] == key
    third = [UpdateEntry("key", 0, 0, Fraction(1, 3))]
    assert replay([[1]], [[1]], [[1]], third).key[0, 0] == Fraction(4, 3)


def test_an_index_may_count_from_the_end():
    tokens = replay([[1], [2]], [[0], [0]], [[1], [3]], [UpdateEntry("value", -1, -1, 4)])
    assert tokens.value.tolist() == [[1], [7]]


@pytest.mark.parametrize(
    ("operation", "error", "message"),
    [
        (UpdateEntry("keys", 0, 0, 1.0), ValueError, "'query', 'key' or 'value', got 'keys'"),
        (UpdateEntry("key", 2, 0, 1.0), IndexError, "range"),
        (UpdateEntry("key", -3, 0, 1.0), IndexError, "range"),
        (UpdateEntry("key", 0, 1, 1.0), IndexError, "out of bounds"),
        (UpdateEntry("key", 0, 0, np.nan), ValueError, "delta must be finite, got an entry nan"),
        (UpdateEntry("key", 0, 0, "1"), TypeError, "delta must hold"),
        (SetRow("value", 0, [1.0, 2.0]), ValueError, r"value must have shape \(1,\), got \(2,\)"),
        (SetRow("value", 0, [np.inf]), ValueError, "value must be finite"),
        (Append([1.0], [1.0], [1.0, 2.0]), ValueError, r"value must have shape \(1,\)"),
    ],
)
def test_a_bad_operation_is_refused_and_changes_nothing(operation, error, message):
    X = np.ones((2, 1))
    tokens = replay(X, X, X, [])
    with pytest.raises(error, match=message):
        tokens.apply(operation)
    assert all((getattr(tokens, name) == X).all() for name in ARRAYS)


def test_an_evicted_token_is_gone_and_the_last_one_stays():
    X = np.ones((2, 1))
    tokens = replay(X, X, X, [Evict(0)])
    for refused in (
        lambda: tokens.apply(Evict(0)),
        lambda: tokens.apply(UpdateEntry("key", -2, 0, 1.0)),
        lambda: tokens.row(0),
    ):
        with pytest.raises(ValueError, match="was evicted"):
            refused()
    with pytest.raises(ValueError, match="token 1 is the last one"):
        tokens.apply(Evict(1))


def test_matrices_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"equally many rows, at least one, got shapes \(2, 1\)"):
        replay(np.ones((2, 1)), np.ones((3, 1)), np.ones((3, 1)), [])


# ------------------------------------------------------------------------------------ hinted Mv


def matrices(n):
    return st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=n, max_size=n)


@given(data=st.data(), n=st.integers(1, 4))
def test_a_boolean_product_says_where_a_path_of_ones_leads(data, n):
    A, B, C = (data.draw(matrices(n)) for _ in range(3))
    every = range(n)
    expected = [
        [any(A[i][j] and B[j][k] and C[k][m] for j in every for k in every) for m in every]
        for i in every
    ]
    assert boolean_product(A, B, C).tolist() == expected


@given(
    data=st.data(),
    n=st.integers(1, 4),
    step=st.sampled_from([Fraction(1, 1 << 40), Fraction(1, 8), Fraction(1), Fraction(9)]),
)
def test_in_exact_arithmetic_the_reduction_decides_for_every_step(data, n, step):
    """The quotient of two entries less the sum of a column is 0, or at least e^c - 1."""
    M, P, V = (np.array(data.draw(matrices(n))) for _ in range(3))
    tokens = replay(*hinted_tokens(M, V), hinted_updates(P, step))
    out = tokens.attention(precision=320)[:n]
    half = (Enclosure.exact(step, 320).exp() - 1) / 2
    for i in range(n):
        excess = out[:, i] / out[:, n] - int(V[:, i].sum())
        lower, upper = (excess - half).bounds()
        answer = boolean_product(M, P, V)[:, i]
        assert (lower[answer] > 0).all()
        assert (upper[~answer] < 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: boolean_product([[2]]), "factor 0 must be a matrix of zeros and ones"),
        (
            lambda: boolean_product([[1]], [[1], [0]]),
            r"factor 1 must have 1 rows, got shape \(2, 1\)",
        ),
        (lambda: hinted_tokens([[1, 0]], [[1, 0]]), "M and V must be square and alike"),
        (lambda: hinted_updates([0.5], 1), "P must be a matrix of zeros and ones"),
    ],
)
def test_what_is_not_boolean_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ----------------------------------------------------------------------------------- structures

SMALL = st.integers(-2, 2)


@given(history=histories(SMALL, int, most=12), k=st.integers(1, 5), sliced=st.booleans())
def test_every_read_of_a_structure_is_exact_after_every_operation(history, k, sliced):
    (Q, K, V), log, causal, _, _ = history
    structures = (
        LazySums(Q, K, V, causal=causal, rebuild_every=k, sliced=sliced),
        SlotSums(Q, K, V, causal=causal, rebuild_every=k, sliced=sliced),
        KeptWeights(Q, K, V, causal=causal),
    )
    for length, operation in enumerate(log, start=1):
        tokens = replay(Q, K, V, log[:length], causal=causal)
        columns = range(V.shape[1])
        expected = [[exact_answer(tokens, i, j) for j in columns] for i in tokens.live]
        for structure in structures:
            structure.apply(operation)
            assert [structure.row(i) for i in tokens.live] == expected
            for j in columns:
                assert structure.column(j) == [row[j] for row in expected]
        assert len(structures[0].pending) < k
        assert len(structures[1].slots) < k


def test_the_exact_answer_is_attention_with_two_in_place_of_e():
    """ln 2 as a query turns one into the other."""
    tokens = replay([[1], [-2]], [[3], [1]], [[5], [-1]], [])
    two = Enclosure.exact(2, 300).log()
    answer = attention((two * tokens.query).at(300), tokens.key, tokens.value)
    for i in range(2):
        lower, upper = answer[i, 0].bounds()
        assert lower.item() <= exact_answer(tokens, i, 0) <= upper.item()


def test_what_a_token_costs_is_what_the_operations_are():
    """n = 3 tokens, d = 2, d_v = 1."""
    X, V = np.ones((3, 2), int), np.ones((3, 1), int)
    for operation, products in (
        (UpdateEntry("key", 0, 0, 1), 2 * 3),
        (SetRow("key", 0, [1, 0]), 3 * 2),
        (SetRow("value", 0, [2]), 0),
        (UpdateEntry("query", 0, 0, 1), 3 * (2 + 2)),
        (Evict(0), 0),
        (Append([1, 1], [1, 1], [1]), 4 * 2 + 4 * (2 + 2)),
    ):
        structure = LazySums(X, X, V, rebuild_every=8)
        before = structure.products
        structure.apply(operation)
        assert structure.products - before == products, operation


def test_strassens_blocks_give_the_same_sums_with_fewer_products():
    Q = np.random.default_rng(0).integers(-2, 3, (4, 2))
    V = np.random.default_rng(1).integers(-2, 3, (4, 3))
    log = [UpdateEntry("key", t, t % 2, 1) for t in (0, 1)]
    classical, fast = (LazySums(Q, Q, V, rebuild_every=2, strassen=s) for s in (False, True))
    for structure in (classical, fast):
        structure.run(log)
    assert (classical.sums == fast.sums).all()
    assert (classical.rebuilding, fast.rebuilding) == (4 * 2 * 4, 4 * 7)
