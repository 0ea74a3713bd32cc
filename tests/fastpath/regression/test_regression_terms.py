"""The certificate of attention regression is its claims, term by term, where each term matters."""

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastpath import AttentionRegression
from fastpath.core.bounds.regression import residual_nearby
from fastpath.core.norms import longest_row, norm
from fastpath.regression import certificate, plain_steps
from fastpath.regression.curvature import Products, hessian
from fastpath.regression.model import Data, Point, point
from fastpath.regression.search import Search

U = Fraction(1, 2**53)

#: What directed rounding may add to a claim (tests/specs/test_printing.py).
ALLOWANCE = 1 + Fraction(1, 2**40)


def _exactly(x: float) -> Fraction:
    return Fraction(float(x))


def _near(seed: int, offset: float = 0.0, logits: float = 1.0) -> Point:
    """Return a point of a problem whose values lie so far from zero, and its logits so far apart."""
    rng = np.random.default_rng(seed)
    A1, A2, A3 = (rng.standard_normal(shape) for shape in ((30, 2), (25, 3), (25, 3)))
    A3 = A3 + offset
    X, Y = rng.standard_normal((2, 3)), rng.standard_normal((3, 2))
    sizes = [np.linalg.norm(A, axis=1).max() for A in (A1, A2)]
    X *= logits / (np.linalg.norm(X) * sizes[0] * sizes[1])
    here = point(Data(A1, A2, A3, np.zeros((30, 2))), X, Y)
    return point(Data(A1, A2, A3, here.output + rng.standard_normal((30, 2))), X, Y)


@pytest.mark.parametrize("seed", range(4))
def test_every_size_is_at_least_what_it_bounds(seed: int) -> None:
    here = _near(seed, offset=2.0**10, logits=290.0)
    sizes = certificate._Sizes(here)
    data = here.data
    logit, (p, q) = _exactly(sizes.logit), data.X_shape
    for roundoff in (certificate.U, certificate.WIDE_ROUNDOFF):
        u, k = _exactly(roundoff), p + q
        error = k * logit * u / (1 - k * u) + k * Fraction(1, 2**1022)
        shifted = 2 * (logit + error)
        claimed = error + (shifted * U) ** 2 + (shifted + 4) * u + 2 * U / (1 - 2 * U)
        found = _exactly(sizes._weight_error(roundoff))
        assert claimed <= found <= claimed * ALLOWANCE
    assert sizes.logit >= np.abs(data.A1 @ here.X @ data.A2.T).max()

    def longest(A: Any) -> Fraction:
        return _exactly(np.linalg.norm(A, axis=1).max() * (1 - 2.0**-48))

    assert _exactly(sizes.residual) >= longest(here.residual) + _exactly(
        sizes.row_error(sizes.value, sizes.target)
    )
    centred = here.values - here.values.mean(axis=0)
    assert _exactly(sizes.value_radius) >= longest(centred) + _exactly(
        sizes.row_error(sizes.value, 0.0)
    )
    # Thirty rows err by five times and more what one does.
    assert sizes.features_error**2 >= 30 * sizes.row_error(sizes.feature, 0.0) ** 2


def test_a_deviation_is_that_of_keys_whose_weighted_squares_underflow() -> None:
    """All but one of 1024 were lost, and the keys' deviation was said to be a tenth of what it is."""
    # Weighted squares are 0.45 of the smallest number, and one 1.15 of it.
    keys = np.sqrt(0.45 * 2.0**10) * np.where(np.arange(1024) % 2, 1.0, -1.0)[:, None]
    keys[0] *= 1.6

    def deviation(keys: Any) -> float:
        ones = np.ones((1, 1))
        here = point(Data(ones, keys, np.ones((1024, 1)), ones), 0 * ones, ones)
        return certificate._Sizes(here).key_deviation

    tiny = np.ldexp(keys, -537)
    exact = [_exactly(key) for key in tiny.ravel()]
    mean = sum(exact, Fraction(0)) / 1024
    square = sum((x * x for x in exact), Fraction(0)) / 1024 - mean**2
    assert _exactly(deviation(tiny)) ** 2 >= square
    assert deviation(tiny) == np.ldexp(deviation(keys), -537)


@pytest.mark.parametrize("distance", [0.0, 0.25])
@pytest.mark.parametrize("seed", range(4))
def test_the_lipschitz_constant_is_that_of_the_claim_for_the_sizes(
    seed: int, distance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values far from zero, so that a change of basis loses digits, at the point and in a ball around it."""
    here = _near(seed, offset=2.0**10)
    sizes = certificate._Sizes(here)
    basis = certificate._Basis(hessian(here, Products(here.data), gauss_newton=False), here)
    seen: list[Any] = []
    monkeypatch.setattr(certificate, "local_lipschitz", lambda *sizes: seen.extend(sizes) or 1.0)
    sizes.lipschitz(distance, basis)
    spectral, query, keys, values, features, mean, residual, *deviations = map(_exactly, seen)
    assert (spectral, query) == (_exactly(sizes.spectral), _exactly(sizes.query))
    assert keys == _exactly(sizes.key_radius)

    S, A3, d = basis.S, here.data.A3 @ basis.S, _exactly(distance)
    made_of = _exactly(sizes.feature) * _exactly(norm(S))
    rounding = len(S) * U / (1 - len(S) * U)
    radius = _exactly(certificate._radius(A3)) + rounding * made_of
    assert radius <= features <= radius * ALLOWANCE
    ball = _exactly(sizes.value_radius) + d * features
    assert ball <= values <= ball * ALLOWANCE
    norms = _exactly(norm(here.features)) * _exactly(norm(S))
    parts = (
        _exactly(certificate._spectral_norm(here.features @ S)),
        rounding * norms,
        _exactly(sizes.features_error) * _exactly(basis.stretch),
        d * features * keys * spectral,
    )
    assert sum(parts) <= mean <= sum(parts) * ALLOWANCE
    longest = float(longest_row(A3)) + float(rounding * made_of)
    near = residual_nearby(
        sizes.residual, sizes.query, sizes.key_radius, float(values), longest, distance
    )
    assert residual >= _exactly(near) * (1 - Fraction(1, 2**45))
    feature = _exactly(sizes.deviation(A3, sizes.feature * norm(S)))
    feature += rounding * made_of
    value = _exactly(sizes.value_deviation) + feature * d
    # An exponential of numpy's errs by less than what a bound on one is rounded up by.
    stretch = _exactly(np.exp(distance * sizes.key_radius * sizes.query) * (1 - 2.0**-50))
    stretch = max(stretch, Fraction(1))
    for found, claimed in zip(
        deviations, (_exactly(sizes.key_deviation), value, feature), strict=True
    ):
        assert claimed * stretch <= found <= claimed * stretch * ALLOWANCE


@pytest.mark.parametrize("n", [60, 200])
def test_a_least_eigenvalue_is_lowered_by_what_the_factorisation_rounds(n: int) -> None:
    """P3.certificate: n traces of a rounding, far more than the part of it that is given away besides."""
    least = Fraction(1, 2**20)
    H = np.diag([2.0**20] * (n - 1) + [float(least)])
    found = _exactly(certificate.least_eigenvalue(H))
    lost = (n - 1) * Fraction(2) ** 20 * U * (n + 1) / (1 - 2 * (n + 1) * U)
    assert lost > least / 64
    assert least - least / 32 - 2 * lost <= found <= least - lost


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [(0, 0), (1, 1), (0, 1)])
def test_a_hessian_that_is_not_finite_has_no_least_eigenvalue(
    value: float, place: tuple[int, int]
) -> None:
    H = np.eye(3)
    H[place] = H[place[::-1]] = value
    assert certificate.least_eigenvalue(H) == -np.inf


# ------------------------------------------------------------------- what is tried before the floor


def _search() -> Search:
    return Search(0.0, 9, lambda *_: False)


def test_each_plain_step_is_taken_where_it_alone_lowers_the_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = _near(0)
    found = plain_steps.measurable_step(here, _search())
    assert found is not None
    # The best Y at the same X.
    np.testing.assert_array_equal(found.X, here.X)
    assert found.loss <= point(here.data, here.X).loss * (1 + 2.0**-40)
    # From there on along the gradient of both, or of one.
    directions: list[Any] = []
    monkeypatch.setattr(
        plain_steps,
        "_along",
        lambda here, U, V, *_: directions.append((bool(U.any()), bool(V.any()))),
    )
    assert plain_steps.measurable_step(point(here.data, here.X), _search()) is None
    assert sorted(directions) == [(False, True), (True, False), (True, True)]
    monkeypatch.undo()
    found = plain_steps.measurable_step(point(here.data, here.X), _search())
    assert found is not None
    assert found.loss < point(here.data, here.X).loss


def test_a_refused_step_that_lowers_the_loss_is_not_forgotten() -> None:
    here, search = _near(0), _search()
    better = search.tried(point(here.data, here.X))
    search.tried(here)
    assert plain_steps.measurable_step(here, search) is better


def test_no_step_leads_where_the_gradient_overflows() -> None:
    for size, taken in ((1.0, True), (np.inf, False)):
        there: Any = SimpleNamespace(loss=1.0, gradient_norm=size)
        assert plain_steps._is_below(there, 2.0) is taken


@pytest.mark.parametrize("method", ["auto", "varpro", "newton", "newton-cg", "sketched"])
def test_a_start_whose_gradient_overflows_is_refused_by_every_method(method: str) -> None:
    rng = np.random.default_rng(0)
    A1, A2, A3, B = (rng.standard_normal((9, 2)) for _ in range(4))
    regression = AttentionRegression(A1 * 1e200, A2, A3, B * 1e120)
    with pytest.raises(ValueError, match="X0 and Y0 must keep the gradient finite"):
        regression.solve(np.zeros((2, 2)), np.ones((2, 2)) * 1e120, method=method)
