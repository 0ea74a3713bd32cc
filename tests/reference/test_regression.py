"""The enclosed loss, gradient and Hessian hold the truth, agree with one another, and refuse nonsense."""

from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from reference import Enclosure, Verdict, attention, evaluate, symbolic
from reference.regression import Regression, along_line, gradient, hessian, hessian_product

SHAPES = st.tuples(*(st.integers(1, most) for most in (4, 4, 3, 3, 3, 3)))


def problem(shape, seed, dtype=np.float64, size=1.0):
    n, m, d1, d2, d3, outputs = shape
    rng = np.random.default_rng(seed)
    shapes = ((n, d1), (m, d2), (m, d3), (n, outputs), (d1, d2), (d3, outputs))
    return Regression(*((size * rng.standard_normal(s)).astype(dtype) for s in shapes))


def agree(a, b):
    """Whether two enclosures of one truth overlap in every entry."""
    return all(v is not Verdict.OUTSIDE for v in (a - b).verdict(0, 0).ravel())


@given(shape=SHAPES, seed=st.integers(0, 10**6), size=st.sampled_from([1e-150, 0.0, 1.0, 30.0]))
def test_the_loss_is_half_the_square_of_attentions_distance_from_b(shape, seed, size):
    p = problem(shape, seed, size=size)
    lifted = p.lifted(256)
    R = attention(lifted.A1.dot(lifted.X), lifted.A2, lifted.A3.dot(lifted.Y)) - lifted.B
    assert agree(p.loss(), (R * R).sum() / 2)


@given(shape=SHAPES, seed=st.integers(0, 10**6), single=st.booleans())
def test_gradient_and_hessian_are_the_definitions_derivatives_along_a_line(shape, seed, single):
    p = problem(shape, seed, np.float32 if single else np.float64)
    rng = np.random.default_rng(seed + 1)
    U, V = (Enclosure.exact(rng.standard_normal(np.shape(part)), 128) for part in (p.X, p.Y))
    by_definition = along_line(p.weights(), p.lifted(), U, V)
    assert agree(by_definition[0], p.loss())
    g, H = p.gradient(), p.hessian().times(U, V)
    assert agree(by_definition[1], (g.X * U).sum() + (g.Y * V).sum())
    assert agree(by_definition[2], (H.X * U).sum() + (H.Y * V).sum())


def test_three_derivatives_along_a_line_are_sympys():
    n, m, d1, d2, d3, outputs = 2, 3, 1, 2, 2, 1
    rng = np.random.default_rng(6)
    shapes = (
        (n, d1),
        (m, d2),
        (m, d3),
        (n, outputs),
        (d1, d2),
        (d3, outputs),
        (d1, d2),
        (d3, outputs),
    )
    integers = [rng.integers(-2, 3, shape) for shape in shapes]
    A1, A2, A3, B, X, Y, U, V = (sympy.Matrix(A.tolist()) for A in integers)
    t = sympy.Symbol("t")
    R = symbolic.attention(A1 * (X + t * U), A2, A3 * (Y + t * V)) - B
    loss = sum(r**2 for r in R) / 2
    p = Regression(*integers[:6])
    U, V = (Enclosure.exact(A, 128) for A in integers[6:])
    for order, found in enumerate(along_line(p.weights(), p.lifted(), U, V)):
        assert agree(found, evaluate(sympy.diff(loss, t, order).subs(t, 0), {}, 128))


@pytest.mark.parametrize("seed", range(6))
def test_a_product_without_the_hessian_is_the_hessians(seed: int) -> None:
    """In rational arithmetic, with six different sizes."""
    rng = np.random.default_rng(seed)
    n, m, p, q, r, s = rng.permutation([1, 2, 3, 4, 5, 2])

    def drawn(rows, columns):
        entries = [Fraction(int(k)) for k in rng.integers(-3, 4, rows * columns)]
        return np.array(entries, object).reshape(rows, columns)

    problem = Regression(*(drawn(*x) for x in ((n, p), (m, q), (m, r), (n, s), (p, q), (r, s))))
    W = abs(drawn(n, m)) + 1
    P, U, V = W / W.sum(axis=1)[:, None], drawn(p, q), drawn(r, s)
    expected = hessian(P, problem).times(U, V)
    found = hessian_product(P, problem, U, V)
    assert (found.X == expected.X).all()
    assert (found.Y == expected.Y).all()


def test_rational_weights_give_exact_rational_derivatives():
    p = Regression(
        *(
            np.array(a, object) * Fraction(1)
            for a in ([[1]], [[1], [-1]], [[2], [0]], [[1]], [[0]], [[3]])
        )
    )
    P = np.array([[Fraction(1, 2), Fraction(1, 2)]], object)
    g, H = gradient(P, p), hessian(P, p)
    # o = 3 tanh(x) + 3 and r = 2 at x = 0; f' = 2 * 3, f'' = 9.
    assert (g.X.item(), g.Y.item()) == (6, 2)
    assert (H.XX.item(), H.XY.item(), H.YY.item()) == (9, 5, 1)


def test_equal_logits_and_one_key_make_x_irrelevant():
    p = problem((3, 1, 2, 2, 2, 1), 0)
    g, H = p.gradient(), p.hessian()
    assert agree(g.X, 0 * g.X)
    assert agree(H.XX, 0 * H.XX)
    assert agree(H.XY, 0 * H.XY)


def test_fortran_order_changes_nothing():
    p = problem((3, 4, 2, 3, 2, 2), 1)
    q = Regression(*map(np.asfortranarray, p))
    assert all(agree(a, b) for a, b in zip(p.hessian(), q.hessian(), strict=True))


def test_logits_of_a_thousand_do_not_overflow():
    p = problem((3, 3, 2, 2, 2, 2), 2, size=10.0)
    assert p.loss().width() < Fraction(1, 1 << 64)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"X": np.ones((3, 2))}, r"X must have shape \(2, 2\), got \(3, 2\)"),
        ({"A3": np.ones((2, 2))}, r"A3 must have shape \(4, 2\), got \(2, 2\)"),
        ({"Y": np.ones((1, 2))}, r"Y must have shape \(2, 2\), got \(1, 2\)"),
        ({"B": np.ones((1, 2))}, r"B must have shape \(3, 2\), got \(1, 2\)"),
        ({"A1": np.ones((0, 2))}, r"A1 must be a matrix without an empty side, got \(0, 2\)"),
        ({"A2": np.full((4, 2), np.nan)}, "A2 must be finite"),
        ({"B": np.full((3, 2), np.inf)}, "B must be finite"),
        ({"Y": np.ones(2)}, r"Y must be a matrix without an empty side, got \(2,\)"),
    ],
)
def test_bad_input_is_refused_by_name(changed, says):
    p = problem((3, 4, 2, 2, 2, 2), 3)._replace(**changed)
    for question in (p.loss, p.gradient, p.hessian):
        with pytest.raises(ValueError, match=says):
            question()


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="A1 must hold"):
        problem((2, 2, 1, 1, 1, 1), 4)._replace(A1=np.ones((2, 1), complex)).loss()
