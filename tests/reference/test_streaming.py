"""Polynomial attention, moments, sparse tails and the INDEX stream, each against its definition."""

from fractions import Fraction
from itertools import combinations, product
from math import comb, factorial

import numpy as np
import pytest
from flint import ctx
from hypothesis import given
from hypothesis import strategies as st

from reference import Enclosure, Verdict, attention, decide, evaluate, kappa, polynomial_attention
from reference.index_stream import cache_answer, cache_tokens, index_answer, index_stream
from reference.moments import exponents, moment_attention, moments, recentred
from reference.polynomial_weights import half_range, polynomial_weights
from reference.sparse_tail import best_sparse, sparse_tail
from specs import CLAIMS
from tests.reference.truth import encloses, encloses_arb, fractions, to_arb

SQUARE = [Fraction(1), Fraction(1), Fraction(1, 2)]  # positive everywhere


@st.composite
def problems(draw):
    """Small Q, K, V of floats, and a centre: one row, one column, equal keys and zeros included."""
    n_q, n_k, d, d_v = (draw(st.integers(1, 3)) for _ in range(4))
    entries = st.sampled_from([0.0, 1.0, -0.75, 0.1, 2.0**-30, 3.0])

    def matrix(rows, columns):
        flat = draw(st.lists(entries, min_size=rows * columns, max_size=rows * columns))
        return np.array(flat).reshape(rows, columns)

    return matrix(n_q, d), matrix(n_k, d), matrix(n_k, d_v), matrix(1, d)[0]


def by_definition(Q, K, V, coefficients, centre):
    """Fractions only."""
    Q, K, V, c = (fractions(X) for X in (Q, K, V, centre))
    x = np.array([[sum(q * (k - c)) for k in K] for q in Q], dtype=object)
    W = sum(a * x**m for m, a in enumerate(coefficients))
    return W, W.dot(V) / W.sum(axis=1)[:, None]


@given(problems())
def test_polynomial_attention_encloses_the_definition_in_fractions(problem):
    Q, K, V, c = problem
    W, output = by_definition(Q, K, V, SQUARE, c)
    assert encloses(polynomial_weights(Q, K, SQUARE, centre=c), W)
    assert encloses(polynomial_attention(Q, K, V, SQUARE, centre=c), output)


@given(problems())
def test_one_pass_of_moments_is_enough_for_polynomial_attention(problem):
    """P2.onepass: keys and values are read once, in any order, and only sums are kept."""
    Q, K, V, c = problem
    state = moments(K[:1], V[:1], 2, centre=c)
    for k, v in zip(K[1:, None], V[1:, None], strict=True):
        state = {a: S + moments(k, v, 2, centre=c)[a] for a, S in state.items()}
    assert (moment_attention(state, Q, SQUARE) == by_definition(Q, K, V, SQUARE, c)[1]).all()


@given(problems(), st.integers(0, 3))
def test_moments_move_to_another_centre_exactly(problem, degree):
    """P2.recentre."""
    _, K, V, c = problem
    moved, direct = recentred(moments(K, V, degree), c), moments(K, V, degree, centre=c)
    assert moved.keys() == direct.keys()
    assert all((moved[a] == direct[a]).all() for a in direct)


@given(problems())
def test_the_centre_does_not_move_exact_attention(problem):
    """And the polynomial's answer is as near as kappa on the half-range after centring says."""
    Q, K, V, c = problem
    P = [Fraction(1, factorial(k)) for k in range(13)]
    b = half_range(Q, K, centre=c)
    (bound, *_) = CLAIMS["P2.poly"].bounds
    spread = max(fractions(V.max(axis=0) - V.min(axis=0)))
    allowed = evaluate(
        bound.expression, {"kappa": kappa(P, b, precision=256), "spread": spread}, 256
    )
    gap = abs(
        polynomial_attention(Q, K, V, P, centre=c, precision=256)
        - attention(Q, K, V, precision=256)
    )
    assert gap.max().bounds()[0].item() <= allowed.bounds()[1].item()


def test_a_causal_row_is_attention_to_the_keys_so_far():
    rng = np.random.default_rng(3)
    Q, K, V = (rng.uniform(-1, 1, (5, 2)) for _ in range(3))
    whole = polynomial_attention(Q, K, V, SQUARE, causal=True)
    for i in range(5):
        _, row = by_definition(Q[i : i + 1], K[: i + 1], V[: i + 1], SQUARE, np.zeros(2))
        assert encloses(whole[i : i + 1], row)


@given(problems())
def test_the_half_range_is_the_largest_centred_logit(problem):
    Q, K, _, c = problem
    Qf, Kf, cf = (fractions(X) for X in (Q, K, c))
    assert half_range(Q, K, centre=c) == max(abs(sum(q * (k - cf))) for q in Qf for k in Kf)


def test_huge_values_and_subnormal_queries_are_enclosed():
    Q, K, V = np.array([[5e-324]]), np.array([[1.0], [-1.0]]), np.array([[1e308], [-1e308]])
    _, truth = by_definition(Q, K, V, SQUARE, np.zeros(1))
    verdict, _ = decide(
        lambda bits: polynomial_attention(Q, K, V, SQUARE, precision=bits),
        truth,
        Fraction(1, 2**400),
    )
    assert verdict is Verdict.WITHIN


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"V": np.ones((3, 1))}, ValueError, "V must be a matrix with 2 rows, got \\(3, 1\\)"),
        ({"V": np.ones(2)}, ValueError, "V must be a matrix with 2 rows, got \\(2,\\)"),
        ({"K": np.ones((2, 2))}, ValueError, "equally many columns"),
        ({"Q": np.array([[np.nan]])}, ValueError, "Q must be finite"),
        ({"coefficients": ["1"]}, TypeError, "coefficients must hold"),
        ({"coefficients": [0]}, ZeroDivisionError, "not certified to differ from zero"),
        ({"causal": True}, ValueError, "causal needs as many queries as keys, got 1, 2"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, says):
    arguments = {
        "Q": np.ones((1, 1)),
        "K": np.ones((2, 1)),
        "V": np.ones((2, 1)),
        "coefficients": SQUARE,
    }
    with pytest.raises(error, match=says):
        polynomial_attention(**(arguments | change))


# ---------------------------------------------------------------------------------------- moments


@given(st.integers(1, 5), st.integers(0, 5))
def test_the_exponents_are_all_of_them_once_by_rising_degree(variables, degree):
    found = exponents(variables, degree)
    totals = [sum(a) for a in found]
    assert len(set(found)) == len(found) == comb(variables + degree, degree)
    assert totals == sorted(totals)
    assert max(totals) <= degree
    assert all(len(a) == variables for a in found)


def test_too_many_monomials_are_refused_with_their_number():
    with pytest.raises(ValueError, match=f"30 variables of degree 30 have {comb(60, 30)}"):
        exponents(30, 30)


def test_moments_refuse_keys_without_values():
    with pytest.raises(ValueError, match="equally many rows, got \\(2, 1\\), \\(3, 1\\)"):
        moments(np.ones((2, 1)), np.ones((3, 1)), 2)


def test_moments_of_no_keys_are_zero():
    state = moments(np.ones((0, 2)), np.ones((0, 1)), 2)
    assert all((S == 0).all() for S in state.values())


# ------------------------------------------------------------------------------- sparse recovery

columns = st.lists(st.fractions(-5, 5, max_denominator=9), min_size=1, max_size=6)


@given(columns, st.integers(0, 7))
def test_the_tail_is_the_least_distance_over_all_supports(column, sparsity):
    least = min(
        sum((x * x for i, x in enumerate(column) if i not in kept), Fraction(0))
        for kept in combinations(range(len(column)), min(sparsity, len(column)))
    )
    with ctx.workprec(400):
        assert encloses_arb(sparse_tail(column, sparsity), to_arb(least)[()].sqrt())
    kept = best_sparse(column, sparsity)
    assert sum(x * x for i, x in enumerate(column) if i not in kept) == least


@given(columns, st.integers(0, 4), st.integers(-7, 7))
def test_the_tail_of_balls_holds_the_tail_of_every_truth_in_them(column, sparsity, off):
    """Also where the order of two entries is open."""
    truth = [x + Fraction(off * (-1) ** i, 7 * 2**10) for i, x in enumerate(column)]
    centre = Enclosure.exact(column, 20)
    ball = Enclosure(centre.mid, centre.radius + 2**10, 20)
    exact = sparse_tail(truth, sparsity, precision=256)
    wide = sparse_tail(ball, sparsity)
    assert wide.bounds()[0].item() <= exact.bounds()[1].item()
    assert wide.bounds()[1].item() >= exact.bounds()[0].item()


def test_of_equal_entries_the_first_are_kept():
    assert best_sparse([1, -2, 2, 2], 2) == [1, 2]


@pytest.mark.parametrize(("column", "sparsity"), [(np.ones((2, 2)), 1), (np.ones(2), -1)])
def test_a_tail_of_no_vector_is_refused(column, sparsity):
    with pytest.raises(ValueError, match="a vector and a sparsity of at least 0"):
        sparse_tail(column, sparsity)


# -------------------------------------------------------------------------------------- INDEX


@pytest.mark.parametrize("n", [2, 3, 5])
def test_non_causal_attention_spells_out_bits_that_came_before_the_keys(n):
    """Whatever error below (n − 1)/(4(n + 1)) is made: so all 2^n words are in the state."""
    slack = Fraction(n - 1, 4 * (n + 1)) * Fraction(999, 1000)
    for word in product((0, 1), repeat=n):
        low, high = attention(*index_stream(word)).bounds()
        assert index_answer(low - slack) == index_answer(high + slack) == list(word)


def test_causal_attention_does_not():
    """The same tokens, causally: every token that asks sees zeros only."""
    outputs = {
        tuple(attention(*index_stream(w), causal=True).bounds()[0][:-1, 0])
        for w in product((0, 1), repeat=3)
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(("keys", "dimension", "columns"), [(1, 1, 3), (2, 1, 2), (4, 2, 1)])
def test_a_cache_of_corners_spells_out_every_bit_of_its_values(keys, dimension, columns):
    """Whatever error below 1/4 is made."""
    slack = Fraction(1, 4) * Fraction(999, 1000)
    for word in product((0, 1), repeat=keys * columns):
        low, high = attention(*cache_tokens(word, keys, dimension)).bounds()
        assert cache_answer(low - slack) == cache_answer(high + slack) == list(word)


@pytest.mark.parametrize("dimension", range(1, 7))
def test_a_corner_has_three_quarters_of_the_weight_of_all_corners(dimension):
    corners = 2**dimension
    for own in (0, corners // 2, corners - 1):
        bits = [int(j == own) for j in range(corners)]
        Q, K, V = cache_tokens(bits, corners, dimension)
        low, _ = attention(Q[[own]], K, V).bounds()
        assert low.item() >= Fraction(3, 4)


@pytest.mark.parametrize(
    ("bits", "keys", "says"), [([1], 3, "keys must be from 1 to 2"), ([1], 2, "bits must be")]
)
def test_a_cache_that_does_not_fit_its_cube_is_refused(bits, keys, says):
    with pytest.raises(ValueError, match=says):
        cache_tokens(bits, keys, 1)
