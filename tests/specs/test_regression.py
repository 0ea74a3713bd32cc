"""P4's claims on instances that their samplers do not draw, and wrong formulas that they catch."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from proofs.evidence.audit import decide_bound
from reference import Enclosure, Verdict, evaluate
from reference.regression import Gradient, Hessian, Regression, hessian
from specs import CLAIMS
from specs.regression import derivatives as p4_regression
from specs.regression.curvature import Bounded, Row, parameters_nearby, parameters_of
from specs.regression.derivatives import Line, fractions
from specs.regression.newton import Cubic

BOUNDS = {
    bound.name: bound
    for claim in CLAIMS.values()
    if claim.id.startswith(("P4.", "FP.regression"))
    for bound in claim.bounds
}


def not_exceeded(name, instance):
    return decide_bound(BOUNDS[name], instance) is not Verdict.OUTSIDE


# ------------------------------------------------------------------------------------ cumulants


@given(
    keys=st.lists(
        st.tuples(*(st.floats(-30, 30), st.floats(-1, 1), st.floats(-1, 1))),
        min_size=1,
        max_size=12,
    )
)
def test_no_row_exceeds_a_cumulants_bound(keys):
    row = Row(*np.array(keys).T, Fraction(1), Fraction(1))
    for name in ("second_cumulant", "third_cumulant", "fourth_cumulant"):
        assert not_exceeded(name, row)


def test_the_constants_are_the_largest_derivatives_of_tanh():
    x = sympy.Symbol("x", real=True)
    t = sympy.Symbol("t", positive=True)
    derivative = sympy.tanh(x)
    for name, at in (
        ("second_cumulant", 0),
        ("third_cumulant", 1 / sympy.sqrt(3)),
        ("fourth_cumulant", 0),
    ):
        derivative = sympy.diff(derivative, x)
        as_polynomial = sympy.expand(derivative.subs(sympy.tanh(x), t))
        bound = BOUNDS[name]
        assert abs(as_polynomial.subs(t, at)) == bound.expression.subs(
            dict.fromkeys(bound.arguments, 1)
        )
        # No point of [0, 1] where the next derivative vanishes, and neither end, is larger.
        stationary = [r for r in sympy.real_roots(sympy.diff(as_polynomial, t)) if 0 <= r <= 1]
        largest = max(abs(as_polynomial.subs(t, r)) for r in (*stationary, 0, 1))
        assert sympy.simplify(largest - abs(as_polynomial.subs(t, at))) == 0


# ------------------------------------------------------------- derivatives of problems of any kind


@given(
    n=st.integers(1, 4),
    m=st.integers(2, 5),
    seed=st.integers(0, 10**6),
    size=st.sampled_from([1e-3, 1.0, 5.0]),
    single=st.booleans(),
)
@pytest.mark.slow
def test_no_problem_exceeds_a_lipschitz_constant_or_the_damping(n, m, seed, size, single):
    rng = np.random.default_rng(seed)
    shapes = ((n, 2), (m, 2), (m, 2), (n, 2), (2, 2), (2, 2), (2, 2), (2, 2))
    dtype = np.float32 if single else np.float64
    line = Line(*((size * rng.standard_normal(s)).astype(dtype) for s in shapes))
    i = Bounded(line, Fraction(float(np.linalg.norm(line.A1))) * 2)
    claims = (CLAIMS[f"P4.{name}"] for name in ("lipschitz", "psd", "nearby", "local"))
    for bound in (bound for claim in claims for bound in claim.bounds):
        assert not_exceeded(bound.name, i)


def test_a_gradient_without_centred_slopes_is_refuted(monkeypatch):
    exact = p4_regression.gradient

    def uncentred(P, p):
        G = P * (P.dot(p.A3).dot(p.Y) - p.B).dot(p.A3.dot(p.Y).T)
        return Gradient(p.A1.T.dot(G).dot(p.A2), exact(P, p).Y)

    monkeypatch.setattr(p4_regression, "gradient", uncentred)
    bound = BOUNDS["gradient_difference"]
    assert decide_bound(bound, bound.extremal()) is Verdict.OUTSIDE


@pytest.mark.parametrize("block", ["XX", "XY", "YY"])
def test_a_hessian_with_a_wrong_block_is_refuted(monkeypatch, block):
    def wrong(P, p):
        right = hessian(P, p)
        return Hessian(**{**right._asdict(), block: 2 * getattr(right, block)})

    monkeypatch.setattr(p4_regression, "hessian", wrong)
    bound = BOUNDS["hessian_difference"]
    assert decide_bound(bound, bound.extremal()) is Verdict.OUTSIDE


# ------------------------------------------------------------------ Newton's method, P4's constants


def planted():
    """Give a problem of one dimension with a critical point at X = 0, Y = 1: uniform weights, no residual."""
    A1, A2, A3 = ([[1], [-2], [3]], [[1], [0], [-1], [2]], [[1], [2], [-1], [4]])
    return Regression(*(np.array(A, float) for A in (A1, A2, A3, [[1.5]] * 3, [[0]], [[1]])))


def test_newtons_step_on_a_planted_problem_ends_where_p4s_constants_say():
    p, moved = planted(), (2.0**-18, -(2.0**-18))
    uniform = np.full((3, 4), Fraction(1, 4))
    H = hessian(uniform, Regression(*map(fractions, p)))
    xx, xy, yy = (block.item() for block in H)
    # The determinant over the trace is no more than the smaller of two positive eigenvalues.
    least_eigenvalue = (xx * yy - xy * xy) / (xx + yy)
    line = Line(*p, np.array([[moved[0]]]), np.array([[moved[1]]]))
    i = Bounded(line, Fraction(4))
    nearby = dict(parameters_nearby(i, 256))
    for name in ("mean_nearby", "residual_nearby"):
        replaced = "mean_norm" if name == "mean_nearby" else "residual_norm"
        nearby[replaced] = evaluate(BOUNDS[name].expression, nearby, 256)
    lipschitz = evaluate(BOUNDS["hessian_lipschitz"].expression, nearby, 256)
    start = p._replace(X=p.X + moved[0], Y=p.Y + moved[1])
    (gx, gy), (hxx, hxy, hyy) = start.gradient(256), start.hessian(256)
    determinant = hxx * hyy - hxy * hxy
    x = moved[0] - (hyy * gx - hxy * gy) / determinant
    y = moved[1] - (hxx * gy - hxy * gx) / determinant
    left = (x * x + y * y).sum().sqrt()
    known = {
        "distance": parameters_of(i, 256)["distance"],
        "least_eigenvalue": Enclosure.exact(least_eigenvalue, 256),
        "lipschitz": lipschitz,
    }
    allowed = evaluate(BOUNDS["newton_error"].expression, known, 256)
    assert left.bounds()[1].item() <= allowed.bounds()[0].item()
    assert allowed.bounds()[1].item() < known["distance"].bounds()[0].item()


def line_cubic(coefficient, start):
    one = np.array([Fraction(1)], object)
    return Cubic(one[None], Fraction(coefficient), one, start * one, Fraction(1), Fraction(1))


@pytest.mark.parametrize(("start", "nearer"), [(Fraction(13, 20), True), (Fraction(27, 40), False)])
def test_the_basin_ends_at_two_thirds(start, nearer):
    i = line_cubic(-1, start)
    assert (abs(i.after_a_step().item()) < start) is nearer


def test_a_critical_point_just_outside_the_radius_is_refuted():
    bound = BOUNDS["critical_radius"]
    i = bound.extremal()
    assert decide_bound(bound, replace(i, start=i.start * Fraction(9, 8))) is not Verdict.OUTSIDE
    farther = replace(bound, quantity=lambda i, bits: bound.quantity(i, bits) * Fraction(9, 8))
    assert decide_bound(farther, i) is Verdict.OUTSIDE


def test_the_counts_are_those_of_the_statement_for_equal_dimensions():
    n, d = sympy.symbols("n d", positive=True)
    queries, keys, *dimensions = BOUNDS["gradient_products"].arguments
    sizes = {queries: n, keys: n, **dict.fromkeys(dimensions, d)}
    gradient_count, hessian_count = (
        sympy.expand(BOUNDS[f"{name}_products"].expression.subs(sizes))
        for name in ("gradient", "hessian")
    )
    assert gradient_count == 4 * n**2 * d + 2 * n**2 + 5 * n * d**2 + n * d
    assert hessian_count.coeff(n, 2).coeff(d, 2) == 2
    assert sympy.degree(hessian_count.coeff(n, 2), d) == 2
    assert sympy.degree(hessian_count.coeff(n, 1), d) == 4
