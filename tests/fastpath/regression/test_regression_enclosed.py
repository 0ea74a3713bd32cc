"""AttentionRegression against the enclosed loss, gradient and Hessian, within the claimed roundings."""

from fractions import Fraction
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import AttentionRegression
from fastpath.core.bounds.regression import local_lipschitz
from fastpath.regression import certificate
from fastpath.regression.curvature import Products, blocks, hessian
from fastpath.regression.model import Data, Point, joined, point
from fastpath.regression.sketched import jacobian
from reference import Enclosure, Verdict, decide
from reference.arithmetic.gram import gram, semidefinite
from reference.regression import Regression, along_line
from specs.regression.derivatives import fractions
from tests.strategies import matrices


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
    # Targets far larger than values: what is lost in R = F Y - B must not come back.
    return Regression(A1, A2, A3, B * 2.0 ** draw(st.sampled_from([0, 0, 20])), X, Y)


def _sizes(problem: Regression) -> certificate._Sizes:
    return certificate._Sizes(_point(problem))


def _point(problem: Regression) -> Point:
    data = Data(*(np.asarray(A, order="C") for A in problem[:4]))
    return point(data, problem.X, problem.Y)


def _exactly(value: float) -> float:
    """No enclosure decides an error of exactly zero against a bound of zero."""
    return value + 2.0**-300


@given(_problems())
def test_gradient_and_hessian_err_by_no_more_than_is_claimed(problem: Regression) -> None:
    sizes = _sizes(problem)
    if sizes.refusal() is not None:
        return
    regression = AttentionRegression(*problem[:4])
    bound = _exactly(sizes.gradient_error(sizes.hessian_roundings, certificate.U))
    for name, computed in zip("XY", regression.gradient(problem.X, problem.Y), strict=True):
        verdict, _ = decide(lambda b, n=name: getattr(problem.gradient(b), n), computed, bound)
        assert verdict is Verdict.WITHIN, (name, bound)
    H = regression.hessian(problem.X, problem.Y)
    k = problem.X.size
    bound = _exactly(sizes.hessian_error())
    for name, part in (("XX", H[:k, :k]), ("XY", H[:k, k:]), ("YY", H[k:, k:])):
        verdict, _ = decide(lambda b, n=name: getattr(problem.hessian(b), n), part, bound)
        assert verdict is Verdict.WITHIN, (name, bound)
    np.testing.assert_array_equal(H, H.T)


@given(_problems(), st.integers(0, 99))
def test_a_product_with_the_hessian_is_the_enclosed_product(problem: Regression, seed: int) -> None:
    sizes = _sizes(problem)
    if sizes.refusal() is not None:
        return
    rng = np.random.default_rng(seed)
    dX, dY = rng.standard_normal(problem.X.shape), rng.standard_normal(problem.Y.shape)
    bound = _exactly(
        sizes.hessian_error() * float(np.hypot(np.linalg.norm(dX), np.linalg.norm(dY)))
    )
    products = AttentionRegression(*problem[:4]).hvp(problem.X, problem.Y, dX, dY)
    for name, computed in zip("XY", products, strict=True):

        def exact(bits: int, name: str = name) -> Any:
            lifted = problem._replace(X=dX, Y=dY).lifted(bits)
            return getattr(problem.hessian(bits).times(lifted.X, lifted.Y), name)

        verdict, _ = decide(exact, computed, bound)
        assert verdict is Verdict.WITHIN, (name, bound)


@given(_problems())
def test_the_jacobian_that_is_sketched_gives_gradient_and_gauss_newton(problem: Regression) -> None:
    sizes, here = _sizes(problem), _point(problem)
    if sizes.refusal() is not None:
        return
    J = jacobian(here)
    # Both sides err, by no more than is claimed of either.
    allowed = 2 * _exactly(sizes.gradient_error(sizes.hessian_roundings, certificate.U))
    pulled = np.einsum("ikz,ik->z", J, here.residual)
    assert np.linalg.norm(pulled - joined(*here.gradient)) <= allowed
    flat = J.reshape(-1, J.shape[2])
    gauss_newton = hessian(here, Products(here.data), gauss_newton=True)
    assert np.linalg.norm(flat.T @ flat - gauss_newton) <= 2 * _exactly(sizes.hessian_error())


@given(_problems())
def test_the_certified_gradient_norm_and_eigenvalue_hold_of_the_enclosed_ones(
    problem: Regression,
) -> None:
    certified = AttentionRegression(*problem[:4]).certify(problem.X, problem.Y)
    if certified.gradient_norm is None or certified.least_eigenvalue is None:
        assert _sizes(problem).refusal() == certified.reason
        return
    gradient = problem.gradient(512)
    squares = (gradient.X * gradient.X).sum() + (gradient.Y * gradient.Y).sum()
    _, upper = squares.bounds()
    assert Fraction(upper.item()) <= Fraction(certified.gradient_norm) ** 2
    if np.isfinite(certified.least_eigenvalue):
        assert _at_least(problem, Fraction(certified.least_eigenvalue))


def _at_least(problem: Regression, curvature: Fraction) -> bool:
    """Whether no eigenvalue of the exact Hessian is less, decided up to the width of its enclosure."""
    H = problem.hessian(256)
    ends = [block.bounds() for block in (H.XX, H.XY, H.YY)]
    xx, xy, yy = ((lower + upper) / 2 for lower, upper in ends)
    width = sum(((upper - lower) / 2).sum() for lower, upper in (*ends, ends[1]))
    middle = np.block([[(xx + xx.T) / 2, xy], [xy.T, (yy + yy.T) / 2]])
    return semidefinite(middle + (width - curvature) * np.eye(len(middle), dtype=int))


def _planted(seed: int, noise: float, n: int = 30, d: int = 2) -> Regression:
    """Return a problem with noise in B, at the point it was made from."""
    rng = np.random.default_rng(seed)
    A1, A2, A3, E = (rng.standard_normal((n, d)) for _ in range(4))
    X, Y = rng.standard_normal((d, d)) / d, rng.standard_normal((d, d))
    P = np.exp(A1 @ X @ A2.T)
    return Regression(A1, A2, A3, P / P.sum(axis=1, keepdims=True) @ A3 @ Y + noise * E, X, Y)


@pytest.mark.parametrize("seed", range(4))
def test_certified_numbers_are_near_the_exact_ones(seed: int) -> None:
    problem = _planted(seed, 0.01)
    certified = AttentionRegression(*problem[:4]).certify(problem.X, problem.Y)
    assert certified.least_eigenvalue is not None
    assert certified.gradient_norm is not None
    assert _at_least(problem, Fraction(certified.least_eigenvalue))
    # It gives away 1/64, and rounding.
    assert not _at_least(problem, Fraction(certified.least_eigenvalue) * Fraction(65, 62))
    gradient = problem.gradient(192)
    lower, _ = ((gradient.X * gradient.X).sum() + (gradient.Y * gradient.Y).sum()).bounds()
    assert Fraction(certified.gradient_norm * (1 - 2.0**-30)) ** 2 <= Fraction(lower.item())


@pytest.mark.parametrize("seed", range(4))
def test_whatever_rounding_may_have_done_is_taken_off_the_certified_numbers(seed: int) -> None:
    problem = _planted(seed, 0.0)
    here, sizes = _point(problem), _sizes(problem)
    H = hessian(here, Products(here.data), gauss_newton=False)
    gradient, roundings = certificate.wide_gradient(here)
    error = sizes.gradient_error(roundings, certificate.WIDE_ROUNDOFF)
    found = AttentionRegression(*problem[:4]).certify(problem.X, problem.Y)
    assert found.radius is not None, found.reason
    assert found.gradient_norm is not None
    assert found.least_eigenvalue is not None
    assert found.gradient_norm >= float(np.sqrt((gradient**2).sum())) + error
    assert found.least_eigenvalue <= certificate.least_eigenvalue(H) - sizes.hessian_error()
    basis = certificate._Basis(H, here)
    norm = basis.gradient_norm(gradient) + basis.stretch * error
    curvature = certificate.least_eigenvalue(basis.hessian)
    curvature -= basis.stretch**2 * sizes.hessian_error() + basis.lost
    lipschitz = sizes.lipschitz(2 * norm / curvature, basis)
    assert found.h >= lipschitz * norm / curvature**2
    exactly_h = Fraction(found.h)
    # The radius r solves (1 - h r mu / (2 g)) r = g / mu.
    newton_step = Fraction(found.gradient_norm) / Fraction(found.least_eigenvalue)
    radius = Fraction(found.radius)
    assert (1 - exactly_h * radius / (2 * newton_step)) * radius >= newton_step


@pytest.mark.parametrize("seed", range(4))
def test_no_third_derivative_in_the_ball_exceeds_the_lipschitz_constant(seed: int) -> None:
    """Along lines of unit length in the coordinates (X, Z), Y = S Z, by the definition."""
    problem, distance = _planted(seed, 0.1), 2.0**-5
    here = _point(problem)
    H = hessian(here, Products(here.data), gauss_newton=False)
    basis = certificate._Basis(H, here)
    allowed = certificate._Sizes(here).lipschitz(distance, basis)
    rng = np.random.default_rng(seed)
    largest = 0.0
    for share in (0.0, 0.5, 1.0, 1.0):
        (U, V), (dX, dZ) = (_unit(rng, problem.X.shape, problem.Y.shape) for _ in range(2))
        there = problem._replace(
            X=problem.X + share * distance * dX, Y=problem.Y + share * distance * basis.S @ dZ
        )
        lifted = there.lifted(128)
        directions = (Enclosure.exact(D, 128) for D in (U, basis.S @ V))
        third = abs(along_line(there.weights(128), lifted, *directions)[3])
        assert float(third.bounds()[1].item()) <= allowed
        largest = max(largest, float(third.bounds()[0].item()))
    # Directions at random are not the worst, but a constant of other units would show.
    assert allowed <= 2.0**16 * largest


@pytest.mark.parametrize("seed", range(4))
def test_the_lipschitz_constant_is_not_below_its_formula_of_what_numpy_computes(seed: int) -> None:
    problem = _planted(seed, 0.1)
    here, sizes = _point(problem), _sizes(problem)
    basis = certificate._Basis(hessian(here, Products(here.data), gauss_newton=False), here)
    features = problem.A3 @ basis.S

    def deviation(A: Any) -> float:
        centred = A - (here.weights @ A)[:, None]
        covariance = np.einsum("ij,ija,ijb->iab", here.weights, centred, centred)
        return float(np.sqrt(np.linalg.eigvalsh(covariance).max()))

    def radius(A: Any) -> float:
        return float(np.linalg.norm(A - A.mean(axis=0), axis=1).max())

    norm, longest = np.linalg.norm, lambda A: float(np.linalg.norm(A, axis=1).max())
    computed = local_lipschitz(
        norm(problem.A1, 2),
        longest(problem.A1),
        radius(problem.A2),
        radius(here.values),
        radius(features),
        norm(here.features @ basis.S, 2),
        longest(here.residual),
        *(deviation(A) for A in (problem.A2, here.values, features)),
    )
    # What is certified is above it, by no more than rounding and |C|^4 <= |C^4|_F allow.
    assert computed * (1 - 2.0**-40) <= sizes.lipschitz(0.0, basis) <= 4 * computed
    assert sizes.lipschitz(0.0, basis) < sizes.lipschitz(2.0**-20, basis)


@pytest.mark.parametrize("seed", range(4))
def test_the_basis_balances_the_hessian_and_says_what_it_stretches_and_rounds(seed: int) -> None:
    problem = _planted(seed, 0.1)
    here = _point(problem)
    H = hessian(here, Products(here.data), gauss_newton=False)
    basis = certificate._Basis(H, here)
    k, s = problem.X.size, problem.Y.shape[1]
    T = np.eye(len(H))
    T[k:, k:] = np.kron(basis.S, np.eye(s))
    assert basis.stretch >= 1
    identity = np.eye(len(T), dtype=int)
    assert semidefinite(Fraction(basis.stretch) ** 2 * identity - gram(T))
    exact_T, exact_H, found = (fractions(M) for M in (T, H, basis.hessian))
    error = exact_T.T.dot(exact_H).dot(exact_T) - found
    assert (error * error).sum() <= Fraction(basis.lost) ** 2
    balanced = float(H[:k, :k].trace()) / k * np.eye(len(H) - k)
    assert np.linalg.norm(basis.hessian[k:, k:] - balanced) <= basis.lost


def _unit(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[Any]:
    parts = [rng.standard_normal(shape) for shape in shapes]
    length = np.sqrt(sum((part**2).sum() for part in parts))
    return [part / (length * (1 + 2.0**-40)) for part in parts]


class _Counted:
    """A number that knows the most roundings that a term of it went through; divisors count twice."""

    def __init__(self, roundings: int = 0) -> None:
        self.roundings = roundings

    def __add__(self, other: Any) -> "_Counted":
        if isinstance(other, _Counted):
            return _Counted(max(self.roundings, other.roundings) + 1)
        return self if other == 0 else _Counted(self.roundings + 1)

    __radd__ = __sub__ = __add__

    def __mul__(self, other: "_Counted") -> "_Counted":
        return _Counted(self.roundings + other.roundings + 1)

    def __truediv__(self, other: "_Counted") -> "_Counted":
        return _Counted(self.roundings + 2 * other.roundings + 1)

    def __ge__(self, other: "_Counted") -> bool:
        return self.roundings >= other.roundings

    def exp(self) -> "_Counted":
        """Return a weight, whose error is counted apart with all of the logit."""
        return _Weight()


class _Weight(_Counted):
    def __mul__(self, rest: _Counted) -> _Counted:
        return _Counted()


def _counted(*shape: int, roundings: int = 0) -> Any:
    numbers = np.empty(shape, object)
    numbers[:] = [[_Counted(roundings) for _ in range(shape[1])] for _ in range(shape[0])]
    return numbers


def _most(*arrays: Any) -> int:
    return max(number.roundings for array in arrays for number in array.ravel())


@pytest.mark.parametrize(
    ("n_q", "n_k", "p", "q", "r", "s"),
    [(1, 1, 1, 1, 1, 1), (4, 9, 2, 3, 5, 2), (50, 20, 2, 2, 2, 7)],
)
def test_no_term_passes_through_more_roundings_than_are_counted(
    n_q: int, n_k: int, p: int, q: int, r: int, s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = ((n_q, p), (n_k, q), (n_k, r), (n_q, s), (p, q), (r, s))
    A1, A2, A3, B, X, Y = (_counted(*shape) for shape in shapes)
    data = Data(A1, A2, A3, B)
    # As in point(): a sum of n_k weights, its reciprocal, and the product with that.
    weights = _counted(n_q, n_k, roundings=2 * n_k + 2)
    features, values = weights @ A3, A3 @ Y
    output = features @ Y
    residual = output - B
    here = Point(data, X, Y, weights, weights @ A2, features, values, output, residual, 0.0)
    ones = Regression(*(np.ones(shape) for shape in shapes))
    sizes = _sizes(ones)
    assert _most(output, residual) <= sizes.mean_roundings
    means = weights @ (A2 + A2)
    squares = weights @ ((values + values) * (values + values))
    assert _most(squares, means * means + means) <= sizes.deviation_roundings
    hessian_blocks = blocks(here, Products(data, object), gauss_newton=False)
    assert _most(*hessian_blocks) <= sizes.hessian_roundings
    assert _most(*here.gradient) <= sizes.hessian_roundings
    # The gradient in longest floats, whose every number is one that counts.
    exact = SimpleNamespace(**{**vars(np), "longdouble": object, "float64": object})
    exact.ones = lambda shape, _: _counted(*shape)
    monkeypatch.setattr(certificate, "np", exact)
    gradient, roundings = certificate.wide_gradient(here)
    assert _most(gradient) <= roundings


@pytest.mark.parametrize(("n", "d"), [(48, 4), pytest.param(256, 8, marks=pytest.mark.slow)])
def test_every_entry_of_the_hessian_agrees_with_the_enclosure_to_1e_12(n: int, d: int) -> None:
    problem = _planted(0, 0.1, n, d)
    H = AttentionRegression(*problem[:4]).hessian(problem.X, problem.Y)
    exact = cache(problem.hessian)
    bound = Fraction(float(np.abs(H).max())) / 10**12
    k = d * d
    for name, part in (("XX", H[:k, :k]), ("XY", H[:k, k:]), ("YY", H[k:, k:])):
        verdict, _ = decide(lambda b, n=name: getattr(exact(b), n), part, float(bound))
        assert verdict is Verdict.WITHIN, name


@pytest.mark.parametrize("seed", range(4))
def test_certified_balls_of_two_points_overlap(seed: int) -> None:
    """Both hold the same critical point, so their centres are no farther apart than the radii."""
    problem = _planted(seed, 0.001)
    rng = np.random.default_rng(seed)
    regression = AttentionRegression(*problem[:4])
    fine = regression.solve(problem.X, problem.Y, tolerance=1e-13)
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


def test_h_of_one_half_is_where_certificates_end() -> None:
    problem = _planted(0, 0.0)
    regression = AttentionRegression(*problem[:4])
    direction = np.random.default_rng(0).standard_normal(problem.X.shape)
    distance, h = 2.0**-30, 0.0
    while h < 1:
        found = regression.certify(problem.X + distance * direction, problem.Y)
        assert found.h is not None
        assert (found.radius is not None) == (found.h < 0.5)
        assert found.reason is None or "The point is too far from critical: h = " in found.reason
        # No larger step than from 1/2 to 1.
        distance, h = distance * 1.4, found.h


def test_a_saddle_has_no_certificate() -> None:
    """At X = 0 with centred keys the gradient by X vanishes for centred targets, and it is no minimum."""
    A1 = np.array([[1.0], [-1.0]])
    A2 = np.array([[1.0], [-1.0]])
    regression = AttentionRegression(A1, A2, A2, np.array([[0.25], [-0.25]]))
    saddle = regression.certify([[0.0]], [[0.0]])
    assert saddle.gradient_norm is not None
    assert saddle.gradient_norm < 2.0**-40
    assert saddle.radius is None
    assert "could not be proved positive definite" in saddle.reason
