"""The Gram matrices' order is decided, not estimated; the attention matrices' distance is enclosed."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import sympy
from flint import arb, fmpq
from hypothesis import assume, given
from hypothesis import strategies as st

from reference import Verdict, distance, loewner_epsilon, loewner_verdict
from reference.arithmetic.gram import (
    LARGEST_ORDER,
    gram,
    gram_rank,
    leverage_scores,
    lifted_rank,
    semidefinite,
)
from reference.models.counted_products import Tally
from reference.sparsification import _bisect, attention_matrices, loewner_interval

LEAST = Fraction(1, 1 << 60)


def integer_matrices(shapes=None, size=3):
    shapes = st.tuples(st.integers(1, 4), st.integers(1, 6)) if shapes is None else shapes
    return shapes.flatmap(
        lambda shape: st.lists(
            st.lists(st.integers(-size, size), min_size=shape[1], max_size=shape[1]),
            min_size=shape[0],
            max_size=shape[0],
        ).map(np.array)
    )


def lower(enclosure):
    return enclosure.bounds()[0].item()


def upper(enclosure):
    return enclosure.bounds()[1].item()


# ------------------------------------------------------------------------------- distances


def arb_attention(X):
    """The attention matrix in Arb's own arithmetic."""
    G = gram(X)
    weights = [[arb(fmpq(*g.as_integer_ratio())).exp() for g in row] for row in G]
    return [[w / sum(row) for w in row] for row in weights]


@given(X=integer_matrices(), Y=integer_matrices())
def test_the_distances_are_those_of_arb_in_both_norms(X, Y):
    Y = np.resize(Y, (len(X), Y.shape[1]))
    found = distance(X, Y)
    gaps = [
        [abs(a - b) for a, b in zip(p, q, strict=True)]
        for p, q in zip(arb_attention(X), arb_attention(Y), strict=True)
    ]
    for enclosure, values in [
        (found.entry, [g for row in gaps for g in row]),
        (found.row, [sum(row) for row in gaps]),
    ]:
        low, high = (arb(fmpq(*b.as_integer_ratio())) for b in (lower(enclosure), upper(enclosure)))
        assert not any(value > high for value in values)
        assert not all(value < low for value in values)


def test_the_two_readings_of_the_norm_differ():
    X = np.array([[1.0], [-1.0], [0.0]])
    found = distance(X, np.zeros((3, 1)))
    assert lower(found.row) > upper(found.entry)


def test_the_distance_from_itself_is_nothing():
    X = np.array([[0.5, 1.0], [0.25, -1.0]])
    assert distance(X, X[:, ::-1]).row.verdict(0, LEAST).item() is Verdict.WITHIN


def test_attention_matrices_refuse_different_numbers_of_rows():
    with pytest.raises(ValueError, match=r"equally many rows, got shapes \(2, 1\) and \(3, 1\)"):
        attention_matrices(np.ones((2, 1)), np.ones((3, 1)))


# ----------------------------------------------------------------------------- semidefinite


def is_semidefinite_by_minors(A):
    """By the definition's other form: no principal minor is negative."""
    n = len(A)
    return all(
        sympy.Matrix(A[np.ix_(rows, rows)].tolist()).det() >= 0
        for size in range(1, n + 1)
        for rows in combinations(range(n), size)
    )


@given(B=integer_matrices(size=2), shift=st.integers(-2, 1))
def test_semidefinite_means_that_no_principal_minor_is_negative(B, shift):
    A = B @ B.T + shift * np.eye(len(B), dtype=int)
    assert semidefinite(A) is is_semidefinite_by_minors(A)


@given(A=integer_matrices(st.just((3, 3)), size=1))
def test_an_indefinite_matrix_with_zeros_on_its_diagonal_is_judged_rightly(A):
    A = A + A.T
    assert semidefinite(A) is is_semidefinite_by_minors(A)


def test_semidefinite_sees_an_eigenvalue_that_floats_would_round_away():
    A = np.array([[1, 1], [1, 1 - LEAST]], dtype=object)
    assert not semidefinite(A)
    assert semidefinite(A + np.array([[0, 0], [0, LEAST]], dtype=object))


@pytest.mark.parametrize("A", [np.ones((2, 3)), np.array([[1.0, 2.0], [0.0, 1.0]]), np.ones(3)])
def test_semidefinite_refuses_what_is_not_symmetric(A):
    with pytest.raises(ValueError, match="A must be square and symmetric"):
        semidefinite(A)


# ----------------------------------------------------------------------------- Loewner's order


@pytest.mark.parametrize("X", [np.eye(3), np.ones((3, 2)), np.array([[1.0, 2], [2, 4], [0, 0]])])
def test_the_verdict_changes_exactly_at_epsilon(X):
    """Y = (5/4) X has H = (1 + 9/16) G; the second and third X have not full rank."""
    epsilon = Fraction(9, 16)
    assert loewner_verdict(X, 1.25 * X, epsilon) is Verdict.WITHIN
    assert loewner_verdict(X, 1.25 * X, epsilon - LEAST) is Verdict.OUTSIDE
    assert loewner_verdict(X, 0.75 * X, 1 - epsilon) is Verdict.WITHIN
    assert loewner_verdict(X, 0.75 * X, 1 - epsilon - LEAST) is Verdict.OUTSIDE


def test_a_direction_that_x_has_not_is_outside_for_every_epsilon():
    X, Y = np.array([[1.0], [0.0]]), np.array([[1.0, 0.0], [0.0, 2.0**-500]])
    assert loewner_verdict(X, Y, 10**9) is Verdict.OUTSIDE
    assert loewner_interval(X, Y) is None
    assert loewner_epsilon(X, Y) is None


def test_y_zero_is_at_distance_one():
    X = np.array([[1.0, 2.0], [0.0, 1.0]])
    nothing = np.zeros((2, 1))
    assert loewner_verdict(X, nothing, 1) is Verdict.WITHIN
    assert loewner_verdict(X, nothing, 1 - LEAST) is Verdict.OUTSIDE


def test_x_zero_is_met_by_zero_only():
    zero = np.zeros((2, 3))
    assert loewner_verdict(zero, np.zeros((2, 0)), 0) is Verdict.WITHIN
    assert loewner_verdict(zero, np.eye(2) * 2.0**-500, 1) is Verdict.OUTSIDE


def test_column_weights_are_exact():
    """Thirds are no floats."""
    X = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    third = Fraction(1, 3)
    assert loewner_verdict(3 * X, X, 0, weights=[9, 9, 9]) is Verdict.WITHIN
    assert loewner_verdict(X, X, third, weights=[1 + third, 1, 1 + third]) is Verdict.WITHIN
    assert loewner_verdict(X, X, third, weights=[1 + third] * 3) is Verdict.WITHIN
    assert loewner_verdict(X, X, third - LEAST, weights=[1 + third] * 3) is Verdict.OUTSIDE


@given(X=integer_matrices(), stretch=st.lists(st.integers(1, 9), min_size=6, max_size=6))
def test_the_enclosed_epsilon_is_where_the_verdict_changes(X, stretch):
    assume(X.any())
    Y = X * np.array(stretch[: X.shape[1]]) / 4
    epsilon = loewner_epsilon(X, Y, width=Fraction(1, 1 << 10))
    assert loewner_verdict(X, Y, upper(epsilon)) is Verdict.WITHIN
    if lower(epsilon) > 0:
        assert loewner_verdict(X, Y, lower(epsilon) - LEAST) is Verdict.OUTSIDE


def test_a_column_of_weight_zero_is_no_direction_of_y():
    a, b = loewner_interval(np.array([[1.0], [0.0]]), np.eye(2), weights=[1, 0])
    for enclosure in (a, b):
        assert lower(enclosure) <= 1 <= upper(enclosure)


def test_the_interval_of_a_diagonal_pair_holds_the_ratios():
    X, Y = np.diag([1.0, 2.0, 3.0]), np.diag([2.0, 1.0, 3.0])
    a, b = loewner_interval(X, Y)
    for enclosure, truth in [(a, Fraction(1, 4)), (b, Fraction(4))]:
        assert lower(enclosure) <= truth <= upper(enclosure)
        assert upper(enclosure) - lower(enclosure) <= Fraction(1, 1 << 20)


# ------------------------------------------------------------------ rank, leverage, dimension


@given(X=integer_matrices())
def test_the_rank_is_sympys(X):
    assert gram_rank(X) == sympy.Matrix(X.tolist()).rank()


@given(X=integer_matrices())
def test_the_dimension_of_the_columns_span_is_sympys(X):
    lifted = sympy.Matrix([[a * b for a in column for b in column] for column in X.T.tolist()])
    assert lifted_rank(X) == lifted.rank()


@given(X=integer_matrices())
def test_leverage_scores_are_the_diagonal_of_the_projection_onto_the_row_space(X):
    rows = sympy.Matrix(X.tolist()).rowspace()
    scores = leverage_scores(X)
    if not rows:
        assert scores == [0] * X.shape[1]
        return
    B = sympy.Matrix.vstack(*rows)
    P = B.T * (B * B.T).inv() * B
    assert scores == [Fraction(int(p.p), int(p.q)) for p in P.diagonal()]
    assert sum(scores) == gram_rank(X)


def test_the_gram_matrix_is_exact_where_floats_round():
    X = np.array([[1.0, 2.0**-40]])
    assert gram(X)[0, 0] == 1 + Fraction(1, 1 << 80)
    assert gram(X, [Fraction(1, 3), 0])[0, 0] == Fraction(1, 3)


# ------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gram(np.ones(3)), r"X must be a matrix with at least one row, got \(3,\)"),
        (lambda: gram(np.ones((0, 3))), "at least one row"),
        (lambda: gram(np.array([[1.0, np.nan]])), "X must be finite, got an entry nan"),
        (lambda: gram(np.ones((LARGEST_ORDER + 1, 1))), f"at most {LARGEST_ORDER} rows, got 129"),
        (lambda: lifted_rank(np.ones((1, 129))), f"at most {LARGEST_ORDER} columns, got 129"),
        (lambda: semidefinite(np.eye(129)), f"at most {LARGEST_ORDER} rows, got 129"),
        (lambda: gram(np.ones((1, 2)), [1.0]), r"weights must have shape \(2,\), one a column"),
        (lambda: gram(np.ones((1, 1)), [-1.0]), "weights must not be negative"),
        (lambda: loewner_verdict(np.eye(2), np.eye(2), -0.5), "epsilon must be at least 0, got"),
        (lambda: loewner_verdict(np.eye(2), np.eye(2), np.nan), "epsilon must be finite"),
        (lambda: loewner_verdict(np.eye(2), np.eye(2), [0.1]), "epsilon must be one number"),
        (lambda: loewner_verdict(np.eye(2), np.eye(3), 0.5), "equally many rows, got 2 and 3"),
        (lambda: loewner_interval(np.eye(2), np.eye(3)), "equally many rows, got 2 and 3"),
        (lambda: loewner_interval(np.eye(2), np.eye(2), width=0), "width must be positive, got 0"),
        (lambda: loewner_interval(np.zeros((2, 1)), np.eye(2)), "X must not be zero"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_matrix_of_text_is_refused():
    with pytest.raises(TypeError, match="Y must hold"):
        loewner_verdict(np.eye(1), np.array([["1"]]), 0.5)


# ------------------------------------------------------------------------ counted operations


@pytest.mark.parametrize(("strassen", "count"), [(False, 512), (True, 343)])
def test_a_product_is_the_product_and_counts_n_to_the_omega(strassen, count):
    rng = np.random.default_rng(0)
    A, B = (rng.integers(-9, 9, (8, 8)) for _ in range(2))
    tally = Tally(strassen)
    assert (tally.product(A, B) == A @ B).all()
    assert tally.products == count


@given(X=integer_matrices())
def test_the_gram_matrix_by_columns_takes_z_z_plus_1_over_2_products_a_column(X):
    tally = Tally()
    assert (tally.gram_of_columns(X) == X @ X.T).all()
    nonzeros = np.count_nonzero(X, axis=0)
    assert tally.products == (nonzeros * (nonzeros + 1) // 2).sum()


@pytest.mark.parametrize(("strassen", "count"), [(False, 3 * 64), (True, 3 * 49)])
def test_the_gram_matrix_by_blocks_takes_d_n_to_the_omega_minus_1_products(strassen, count):
    X = np.random.default_rng(1).integers(-9, 9, (4, 12))
    tally = Tally(strassen)
    assert (tally.gram_of_blocks(X) == X @ X.T).all()
    assert tally.products == count


@pytest.mark.parametrize("strassen", [False, True])
def test_the_factor_is_a_factor_and_takes_fewer_products_than_one_multiplication(strassen):
    """Powers of two on the diagonal: every quotient and every root is exact in binary."""
    root = np.tril(np.random.default_rng(2).integers(-3, 4, (8, 8)), -1) + np.diag([1, 2, 4, 8] * 2)
    tally, once = Tally(strassen), Tally(strassen)
    L, inverse = tally.cholesky((root @ root.T).astype(float))
    assert (root == L).all()
    assert (L @ inverse == np.eye(8)).all()
    once.product(root, root)
    assert tally.products < once.products


@pytest.mark.parametrize(
    "call",
    [
        lambda: Tally(strassen=True).product(np.eye(3), np.eye(3)),
        lambda: Tally().cholesky(np.eye(3)),
        lambda: Tally().gram_of_blocks(np.ones((2, 3))),
    ],
    ids=["Strassen's product", "the recursive factor", "the Gram matrix of blocks"],
)
def test_an_order_that_does_not_halve_is_refused(call):
    with pytest.raises(ValueError, match=r"got 3"):
        call()


@pytest.mark.parametrize("least", [Fraction(0), Fraction(1, 3), Fraction(5, 8), Fraction(1)])
def test_a_bisection_ends_within_what_was_searched_and_holds_the_least(least: Fraction) -> None:
    """Catches: a search that begins below 0, where nothing was asked: everything is reached there."""
    low, high = _bisect(lambda t: t < 0 or t >= least, Fraction(1), Fraction(1, 64))
    assert 0 <= low <= least <= high <= 1
    assert high - low <= Fraction(1, 64)
