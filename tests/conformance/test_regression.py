"""AttentionRegression against the enclosed loss, gradient and Hessian, within the claimed roundings."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import AttentionRegression
from fastpath._bounds import regression_gradient_error, regression_hessian_error
from fastpath.regression import certificate
from fastpath.regression.curvature import Products
from fastpath.regression.model import Data, point
from reference import Verdict, decide
from reference.regression import Regression
from tests.strategies import matrices

U = certificate.FLOAT64["unit_roundoff"]


@st.composite
def _problems(draw: st.DrawFn) -> Regression:
    """Draw a problem whose logits stay where the certificate speaks."""
    sizes = st.sampled_from([1, 1, 2, 3, 5])
    n_q, n_k, p, q, r, s = (draw(sizes) for _ in range(6))
    shapes = ((n_q, p), (n_k, q), (n_k, r), (n_q, s), (p, q), (r, s))
    A1, A2, A3, B, X, Y = (
        draw(matrices(*shape, np.float64)) / 2.0 ** draw(st.sampled_from([0, 4]))
        for shape in shapes
    )
    return Regression(A1, A2, A3, B, X, Y)


def _sizes(problem: Regression) -> Any:
    data = Data(*(np.asarray(A, order="C") for A in problem[:4]))
    return certificate._Sizes(point(data, problem.X, problem.Y), Products(data))


def _gradient_error(sizes: Any, terms: int, unit_roundoff: float) -> float:
    return float(
        regression_gradient_error(
            sizes.queries,
            terms,
            unit_roundoff,
            sizes._weight_error(unit_roundoff),
            sizes.spectral,
            sizes.frobenius,
            sizes.key,
            sizes.feature,
            sizes.value,
            sizes.target,
            sizes.residual,
            sizes.key_deviation,
            sizes.value_deviation,
            sizes.feature_deviation,
            sizes.mean,
        )
    )


def _hessian_error(sizes: Any) -> float:
    return float(
        regression_hessian_error(
            sizes.queries,
            sizes.data.Y_shape[1],
            sizes.terms,
            U,
            sizes.weight_error,
            sizes.frobenius,
            sizes.key,
            sizes.feature,
            sizes.value,
            sizes.target,
        )
    )


def _exactly(value: float) -> float:
    """No enclosure decides an error of exactly zero against a bound of zero."""
    return value + 2.0**-300


@given(_problems())
def test_gradient_and_hessian_err_by_no_more_than_is_claimed(problem: Regression) -> None:
    sizes = _sizes(problem)
    if not sizes.logit <= certificate.LARGEST_LOGIT:
        return
    regression = AttentionRegression(*problem[:4])
    bound = _exactly(_gradient_error(sizes, sizes.terms, U))
    for name, computed in zip("XY", regression.gradient(problem.X, problem.Y), strict=True):
        verdict, _ = decide(lambda b, n=name: getattr(problem.gradient(b), n), computed, bound)
        assert verdict is Verdict.WITHIN, (name, bound)
    H = regression.hessian(problem.X, problem.Y)
    k = problem.X.size
    bound = _exactly(_hessian_error(sizes))
    for name, part in (("XX", H[:k, :k]), ("XY", H[:k, k:]), ("YY", H[k:, k:])):
        verdict, _ = decide(lambda b, n=name: getattr(problem.hessian(b), n), part, bound)
        assert verdict is Verdict.WITHIN, (name, bound)
    np.testing.assert_array_equal(H, H.T)


@given(_problems(), st.integers(0, 99))
def test_a_product_with_the_hessian_is_the_enclosed_product(problem: Regression, seed: int) -> None:
    sizes = _sizes(problem)
    if not sizes.logit <= certificate.LARGEST_LOGIT:
        return
    rng = np.random.default_rng(seed)
    dX, dY = rng.standard_normal(problem.X.shape), rng.standard_normal(problem.Y.shape)
    bound = _exactly(
        _hessian_error(sizes) * float(np.hypot(np.linalg.norm(dX), np.linalg.norm(dY)))
    )
    products = AttentionRegression(*problem[:4]).hvp(problem.X, problem.Y, dX, dY)
    for name, computed in zip("XY", products, strict=True):

        def exact(bits: int, name: str = name) -> Any:
            lifted = problem._replace(X=dX, Y=dY).lifted(bits)
            return getattr(problem.hessian(bits).times(lifted.X, lifted.Y), name)

        verdict, _ = decide(exact, computed, bound)
        assert verdict is Verdict.WITHIN, (name, bound)


@given(_problems())
def test_the_certified_gradient_norm_is_above_the_enclosed_one(problem: Regression) -> None:
    sizes = _sizes(problem)
    if not sizes.logit <= certificate.LARGEST_LOGIT:
        return
    certified = AttentionRegression(*problem[:4]).certify(problem.X, problem.Y)
    gradient = problem.gradient(192)
    squares = (gradient.X * gradient.X).sum() + (gradient.Y * gradient.Y).sum()
    _, upper = squares.bounds()
    assert Fraction(upper.item()) <= Fraction(certified.gradient_norm) ** 2


def test_at_full_size_the_hessian_agrees_with_the_enclosure_to_1e_12() -> None:
    rng = np.random.default_rng(0)
    A1, A2, A3, B = (rng.standard_normal((48, 4)) for _ in range(4))
    X, Y = rng.standard_normal((4, 4)) / 4, rng.standard_normal((4, 4)) / 2
    problem = Regression(A1, A2, A3, B, X, Y)
    H = AttentionRegression(A1, A2, A3, B).hessian(X, Y)
    bound = Fraction(float(np.abs(H).max())) / 10**12
    for name, part in (("XX", H[:16, :16]), ("XY", H[:16, 16:]), ("YY", H[16:, 16:])):
        verdict, _ = decide(lambda b, n=name: getattr(problem.hessian(b), n), part, float(bound))
        assert verdict is Verdict.WITHIN, name


@pytest.mark.parametrize("seed", range(4))
def test_certified_balls_of_two_points_overlap(seed: int) -> None:
    """Both hold the same critical point, so their centres are no farther apart than the radii."""
    rng = np.random.default_rng(seed)
    A1, A2, A3, noise = (rng.standard_normal((30, 2)) for _ in range(4))
    X, Y = rng.standard_normal((2, 2)) / 2, rng.standard_normal((2, 2))
    P = np.exp(A1 @ X @ A2.T)
    B = P / P.sum(axis=1, keepdims=True) @ A3 @ Y + noise / 1000
    regression = AttentionRegression(A1, A2, A3, B)
    fine = regression.solve(X, Y, tolerance=1e-13)
    assert fine.certificate.radius is not None, fine.certificate.reason
    step = rng.standard_normal(fine.x.size)
    distance = 1e-3
    while True:
        moved = fine.x + distance * step / np.linalg.norm(step)
        coarse = regression.certify(moved[:4].reshape(2, 2), moved[4:].reshape(2, 2))
        if coarse.radius is not None:
            break
        distance /= 4
    assert np.linalg.norm(moved - fine.x) <= coarse.radius + fine.certificate.radius
    # The certificate is not vacuous either: it names the distance to a small factor.
    assert (
        coarse.radius
        <= 8
        * distance
        * np.linalg.eigvalsh(regression.hessian(fine.X, fine.Y))[-1]
        / coarse.least_eigenvalue
    )


def test_a_saddle_has_no_certificate() -> None:
    """At X = 0 with centred keys the gradient by X vanishes for centred targets, and it is no minimum."""
    A1 = np.array([[1.0], [-1.0]])
    A2 = np.array([[1.0], [-1.0]])
    regression = AttentionRegression(A1, A2, A2, np.array([[0.25], [-0.25]]))
    saddle = regression.certify([[0.0]], [[0.0]])
    assert saddle.gradient_norm < 2.0**-40
    assert saddle.radius is None
    assert "could not be proved positive definite" in saddle.reason
