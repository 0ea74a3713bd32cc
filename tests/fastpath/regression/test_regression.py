"""What AttentionRegression refuses, what it never does, and where it stops."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import AttentionRegression
from fastpath.regression import certificate
from fastpath.regression.sketched import tensor_sketch, tensor_srht
from tests.strategies import matrices

METHODS = ("varpro", "newton", "newton-cg", "gradient", "sketched")


def _planted(
    seed: int, n_q: int = 40, n_k: int = 50, p: int = 3, q: int = 4, r: int = 5, s: int = 2
) -> tuple[tuple[Any, ...], Any, Any]:
    """Return (A1, A2, A3, B) with 10 % noise, and X and Y of other sizes in every place."""
    rng = np.random.default_rng(seed)
    A1, A2, A3 = (rng.standard_normal(shape) for shape in ((n_q, p), (n_k, q), (n_k, r)))
    X, Y = rng.standard_normal((p, q)) / 2, rng.standard_normal((r, s))
    logits = A1 @ X @ A2.T
    P = np.exp(logits - logits.max(axis=1, keepdims=True))
    B = (P / P.sum(axis=1, keepdims=True)) @ A3 @ Y
    B += 0.1 * np.linalg.norm(B) / np.sqrt(B.size) * rng.standard_normal(B.shape)
    return (A1, A2, A3, B), X, Y


def _losses(regression: AttentionRegression, X0: Any, Y0: Any, method: str, **options: Any) -> Any:
    losses: list[float] = []
    result = regression.solve(
        X0, Y0, method=method, callback=lambda progress: losses.append(progress.fun), **options
    )
    return result, losses


@st.composite
def _problems(draw: st.DrawFn) -> tuple[Any, Any, Any, str, int]:
    sizes = st.sampled_from([1, 1, 2, 3, 5, 17])
    n_q, n_k, p, q, r, s = (draw(sizes) for _ in range(6))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    shapes = ((n_q, p), (n_k, q), (n_k, r), (n_q, s), (p, q), (r, s))
    *problem, X, Y = (draw(matrices(*shape, dtype)) for shape in shapes)
    return tuple(problem), X, Y, draw(st.sampled_from(METHODS)), draw(st.integers(0, 99))


@given(_problems())
def test_the_loss_never_rises_and_nothing_is_ever_nan(drawn: Any) -> None:
    problem, X, Y, method, seed = drawn
    before = [A.copy() for A in (*problem, X, Y)]
    regression = AttentionRegression(*problem)
    rng = np.random.default_rng(seed)
    result, losses = _losses(regression, X, Y, method, max_iterations=15, rng=rng)
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))
    assert result.fun == losses[-1]
    for numbers in (result.X, result.Y, result.jac, result.fun, result.gradient_norm, losses):
        assert np.isfinite(numbers).all()
    assert result.fun <= regression.loss(X, Y) or method == "varpro"
    for array, copy in zip((*problem, X, Y), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_the_loss_never_rises_from_far_away(method: str, seed: int) -> None:
    """From there full steps overshoot; a solver that takes them all fails."""
    problem, X, Y = _planted(seed)
    rng = np.random.default_rng(seed)
    X0, Y0 = X + 2 * rng.standard_normal(X.shape), -3 * Y
    regression = AttentionRegression(*problem)
    _, losses = _losses(regression, X0, Y0, method, max_iterations=40, rng=rng)
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("seed", range(6))
def test_newton_cg_leaves_where_the_curvature_is_negative(seed: int) -> None:
    problem, X, Y = _planted(seed)
    X0, Y0 = X + 2 * np.random.default_rng(seed).standard_normal(X.shape), -3 * Y
    regression = AttentionRegression(*problem)
    assert np.linalg.eigvalsh(regression.hessian(X0, Y0))[0] < 0
    assert regression.solve(X0, Y0, method="newton-cg").success


@given(_problems())
def test_a_certificate_is_a_radius_or_a_reason(drawn: Any) -> None:
    problem, X, Y, _, _ = drawn
    found = AttentionRegression(*problem).certify(X, Y)
    assert (found.radius is None) == (found.reason is not None)
    assert found.radius is None or (
        found.radius >= 0 and found.h < 0.5 and found.least_eigenvalue > 0
    )


@pytest.mark.parametrize("method", ["varpro", "newton", "newton-cg"])
@pytest.mark.parametrize("seed", range(5))
def test_every_exact_method_converges_from_near_the_planted_point(method: str, seed: int) -> None:
    problem, X, Y = _planted(seed)
    regression = AttentionRegression(*problem)
    result, losses = _losses(regression, X * 1.05, Y, method)
    assert result.success
    assert result.status == 0
    assert result.nit == len(losses) - 1
    gX, gY = regression.gradient(result.X, result.Y)
    threshold = 1e-8 * (1 + np.linalg.norm(problem[3]))
    assert np.hypot(np.linalg.norm(gX), np.linalg.norm(gY)) <= threshold
    np.testing.assert_array_equal(result.x, np.concatenate([result.X.ravel(), result.Y.ravel()]))


@pytest.mark.parametrize("method", ["varpro", "newton"])
@pytest.mark.parametrize("seed", range(5))
def test_convergence_from_a_tenth_away_is_quadratic(method: str, seed: int) -> None:
    """Six steps, and one of them squares the error: Gauss-Newton would shrink it by the noise each time."""
    problem, X, Y = _planted(seed, n_q=200, n_k=200)
    rng = np.random.default_rng(seed)
    X0, Y0 = (
        M + 0.1 * np.linalg.norm(M) / np.linalg.norm(E) * E
        for M, E in ((X, rng.standard_normal(X.shape)), (Y, rng.standard_normal(Y.shape)))
    )
    norms: list[float] = []
    result = AttentionRegression(*problem).solve(
        X0, Y0, method=method, callback=lambda progress: norms.append(progress.gradient_norm)
    )
    assert result.success
    assert result.nit <= 6
    shrunk = [later / earlier for earlier, later in itertools.pairwise(norms)]
    assert min(shrunk) <= 2.0**-9


def test_the_methods_find_the_same_certified_point() -> None:
    problem, X, Y = _planted(0, n_q=200, n_k=200)
    regression = AttentionRegression(*problem)
    found = [
        regression.solve(X * 1.02, Y, method=method, tolerance=1e-11)
        for method in ("varpro", "newton", "newton-cg")
    ]
    for first in found:
        for second in found:
            radii = first.certificate.radius + second.certificate.radius
            assert np.linalg.norm(first.x - second.x) <= radii


def test_numbers_that_float32_does_not_hold_are_solved_as_well() -> None:
    (A1, A2, A3, B), X, _ = _planted(3)
    size = 2.0**80
    plain = AttentionRegression(A1, A2, A3, B).solve(X * 1.2, tolerance=1e-12)
    large = AttentionRegression(A1, A2, A3 * size, B * size).solve(X * 1.2, tolerance=1e12)
    radii = plain.certificate.radius + large.certificate.radius
    assert np.linalg.norm(large.x - plain.x) <= radii < np.linalg.norm(plain.x)


@pytest.mark.parametrize("key_mean", [0.0, 2.0**12])
def test_a_hessian_of_float32_takes_no_more_steps(key_mean: float) -> None:
    """Keys far from zero would leave no digits to a covariance, if they were not centred."""
    (A1, A2, A3, B), X, Y = _planted(3)
    regression = AttentionRegression(A1, A2 + key_mean, A3 + key_mean, B + key_mean * Y.sum(axis=0))
    rough = regression.solve(X * 1.1)
    exact = regression.solve(X * 1.1, method="newton")
    assert rough.success
    assert rough.nit <= exact.nit + 1


def test_gauss_newton_is_exact_where_the_residual_is_zero() -> None:
    (A1, A2, A3, B), X, Y = _planted(3)
    regression = AttentionRegression(A1, A2, A3, B * 0)
    # With Y = 0 and B = 0 the residual is exactly zero.
    np.testing.assert_array_equal(
        regression.hessian(X, Y * 0), regression.hessian(X, Y * 0, gauss_newton=True)
    )


@pytest.mark.parametrize("method", ["varpro", "newton", "newton-cg"])
@pytest.mark.parametrize("seed", range(6))
def test_tolerance_below_float64_stops_at_the_floor_and_says_so(method: str, seed: int) -> None:
    problem, X, Y = _planted(seed)
    result, losses = _losses(AttentionRegression(*problem), X, Y, method, tolerance=1e-30)
    assert (result.success, result.status) == (False, 2)
    assert "No step lowers the loss measurably in float64" in result.message
    assert result.certificate.radius is not None
    # Not even by a rounding, where nothing else is left of a decrease.
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))


def test_the_paper_s_sketched_step_reports_that_it_does_not_contract() -> None:
    problem, X, Y = _planted(2)
    regression = AttentionRegression(*problem)
    result, losses = _losses(
        regression, X * 1.2, Y * 1.2, "sketched", rng=np.random.default_rng(0), tolerance=1e-14
    )
    assert not result.success
    assert "do not contract" in result.message
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("sketch", ["srht", "tensorsketch"])
def test_sketches_follow_their_generator(sketch: str) -> None:
    problem, X, Y = _planted(2)
    regression = AttentionRegression(*problem)
    first, second, third = (
        regression.solve(
            X,
            Y,
            method="sketched",
            sketch=sketch,
            sketch_rows=300,
            max_iterations=3,
            rng=np.random.default_rng(seed),
        ).x
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()


@pytest.mark.parametrize("method", ["varpro", "newton", "newton-cg"])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("share", [0.0, 1 / 3], ids=["zero", "repeated"])
def test_rank_deficient_matrices_are_solved_without_a_certificate(
    method: str, which: int, share: float
) -> None:
    problem, X, Y = _planted(4)
    deficient = [A.copy() for A in problem]
    deficient[which][:, 1] = share * deficient[which][:, 0]
    regression = AttentionRegression(*deficient)
    result, losses = _losses(regression, X, Y, method)
    assert losses[-1] <= losses[0]
    # What cannot be told apart stays small: an inverse of rounding errors would be 2^50.
    assert np.linalg.norm(result.x) <= 2.0**20 * np.hypot(np.linalg.norm(X), np.linalg.norm(Y))
    found = result.certificate
    assert found.radius is None
    assert "could not be proved positive definite" in found.reason


def test_logits_that_overflow_a_naive_exp_are_shifted() -> None:
    problem, X, Y = _planted(5)
    regression = AttentionRegression(*problem)
    result, losses = _losses(regression, X * 1e4, Y, "varpro", max_iterations=20)
    assert np.isfinite(result.x).all()
    assert losses[-1] <= losses[0]
    assert "Logits are only known to stay below" in regression.certify(X * 1e4, Y).reason


@pytest.mark.parametrize("exponent", [-300, 120, 400])
def test_norms_that_could_overflow_are_refused_a_certificate(exponent: int) -> None:
    (A1, A2, A3, B), X, Y = _planted(9)
    # X makes the logits what they were.
    scaled = AttentionRegression(np.ldexp(A1, exponent), A2, A3, B)
    found = scaled.certify(np.ldexp(X, -exponent), Y)
    assert "A norm of the data is" in found.reason
    for number in (found.radius, found.h, found.least_eigenvalue):
        assert number is None


@pytest.mark.parametrize("limit", ["LARGEST_WEIGHT_ERROR", "LARGEST_ROUNDING"])
def test_rounding_beyond_what_is_claimed_is_refused_a_certificate(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory holds a problem that comes near these limits, so they are lowered."""
    problem, X, Y = _planted(9)
    monkeypatch.setattr(certificate, limit, 2.0**-50)
    found = AttentionRegression(*problem).certify(X, Y)
    assert (found.radius, found.gradient_norm) == (None, None)
    assert "Rounding may change a weight by a factor of 1 + " in found.reason


def test_the_callback_sees_copies_and_can_stop() -> None:
    problem, X, Y = _planted(6)
    regression = AttentionRegression(*problem)
    seen = []

    def stop(progress: Any) -> None:
        seen.append(progress.nit)
        progress.X[:] = np.nan
        if len(seen) == 3:
            raise StopIteration

    result = regression.solve(X * 1.2, Y, callback=stop)
    assert (seen, result.status, result.nit) == ([0, 1, 2], 3, 2)
    assert np.isfinite(result.X).all()


def test_many_starts_return_the_best_of_their_results() -> None:
    problem, _, _ = _planted(7)
    regression = AttentionRegression(*problem)
    best = regression.solve_from_many(6, rng=np.random.default_rng(0))
    one = regression.solve_from_many(1, rng=np.random.default_rng(0))
    assert best.fun <= one.fun


def test_what_the_caller_changes_later_changes_nothing() -> None:
    problem, X, Y = _planted(8)
    regression = AttentionRegression(*problem)
    before = regression.loss(X, Y)
    for A in problem:
        A[:] = 0
    assert regression.loss(X, Y) == before


_RIGHT = {"A1": (7, 2), "A2": (5, 3), "A3": (5, 4), "B": (7, 1)}


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        (
            "B",
            np.ones((6, 1)),
            ValueError,
            "A1 and B must have the same number of rows, got 7 and 6",
        ),
        (
            "A3",
            np.ones((4, 4)),
            ValueError,
            "A2 and A3 must have the same number of rows, got 5 and 4",
        ),
        ("B", np.ones(7), ValueError, r"B must be a matrix \(2 dimensions\), got shape \(7,\)"),
        ("A1", np.ones((7, 0)), ValueError, "A1 must not be empty"),
        ("A1", np.full((7, 2), np.nan), ValueError, "A1 must be finite, got 14 NaN or infinite"),
        (
            "A2",
            np.ones((5, 3), complex),
            TypeError,
            "A2 must hold floats of at most 64 bits or integers",
        ),
    ],
)
def test_a_problem_that_does_not_fit_is_refused(
    name: str, value: Any, error: Any, message: str
) -> None:
    inputs: dict[str, Any] = {key: np.ones(shape) for key, shape in _RIGHT.items()}
    with pytest.raises(error, match=message):
        AttentionRegression(**{**inputs, name: value})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"X0": np.ones((3, 2))}, ValueError, r"X0 must have shape \(2, 3\), got \(3, 2\)"),
        ({"Y0": np.ones((4, 2))}, ValueError, r"Y0 must have shape \(4, 1\), got \(4, 2\)"),
        ({"X0": np.full((2, 3), np.inf)}, ValueError, "X0 must be finite"),
        ({"X0": np.full((2, 3), 1e308)}, ValueError, "overflow float64"),
        ({"method": "lbfgs"}, ValueError, "method must be 'auto' or one of 'varpro'.*got 'lbfgs'"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be positive and finite, got 0.0"),
        ({"tolerance": float("nan")}, ValueError, "tolerance must be positive and finite, got nan"),
        ({"tolerance": "1"}, TypeError, "tolerance must be a number, got '1'"),
        ({"max_iterations": -1}, ValueError, "max_iterations must be at least 0, got -1"),
        ({"callback": 3}, TypeError, "callback must be callable or None, got 3"),
        ({"sketch": "gauss"}, ValueError, "sketch must be 'srht' or 'tensorsketch', got 'gauss'"),
        ({"sketch_rows": 0}, ValueError, "sketch_rows must be at least 1, got 0"),
        ({"rng": 7}, TypeError, "rng must be a numpy.random.Generator or None, got 7"),
    ],
)
def test_a_choice_that_is_not_allowed_is_named(options: Any, error: Any, message: str) -> None:
    regression = AttentionRegression(**{name: np.ones(shape) for name, shape in _RIGHT.items()})
    with pytest.raises(error, match=message):
        regression.solve(**{"X0": np.ones((2, 3)), **options})


def test_values_that_overflow_are_refused_and_not_returned() -> None:
    regression = AttentionRegression(
        *(np.full(shape, 1e200) for shape in ((2, 1), (2, 1), (2, 1))), [[1.0], [0.0]]
    )
    with pytest.raises(ValueError, match="overflow"):
        regression.loss([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="X and Y must keep the gradient finite"):
        AttentionRegression([[1e200]], [[1e200], [0]], [[1e100], [0]], [[0]]).gradient(
            [[0.0]], [[1.0]]
        )


# ------------------------------------------------------------------------------------- sketches

_SKETCHES = (tensor_srht, tensor_sketch)


@pytest.mark.parametrize("sketch", _SKETCHES)
@pytest.mark.parametrize("place", [(0, 0), (2, 1), (6, 2)])
def test_a_sketch_keeps_the_length_of_a_single_row(sketch: Any, place: tuple[int, int]) -> None:
    """Whatever is drawn: entries of the transform are 1 or -1, and a bucket adds one row."""
    J = np.zeros((7, 3, 1))
    J[place] = 1.0
    for rows in (1, 4, 16):
        sketched = sketch(J, rows, np.random.default_rng(rows))
        assert sketched.shape == (rows, 1)
        assert float((sketched**2).sum()) == 1.0


@pytest.mark.parametrize("sketch", _SKETCHES)
def test_the_signs_of_a_sketch_are_drawn_for_queries_and_outputs(sketch: Any) -> None:
    """Of every two rows the product has both signs, over draws of a sketch with one row."""
    J = np.eye(4).reshape(2, 2, 4)
    seen = [sketch(J, 1, np.random.default_rng(seed))[0] for seed in range(64)]
    for first, second in itertools.combinations(range(4), 2):
        assert {float(row[first] * row[second]) for row in seen} == {1.0, -1.0}
    assert {float(row[0]) for row in seen} == {1.0, -1.0}


# ------------------------------------------------------------------------------------------ starts


def _noisy(seed: int) -> tuple[AttentionRegression, Any, Any]:
    """Return an instance that its planted X and Y fit but for noise."""
    rng = np.random.default_rng(seed)
    A1, A2, A3 = rng.standard_normal((3, 60, 3))
    X, Y = rng.standard_normal((2, 3, 3))
    weights = np.exp(A1 @ X @ A2.T)
    B = weights / weights.sum(axis=1, keepdims=True) @ A3 @ Y
    return AttentionRegression(A1, A2, A3, B + 0.05 * rng.standard_normal(B.shape)), X, Y


@pytest.mark.parametrize("seed", range(3))
def test_restarts_find_the_planted_loss_that_zero_misses_and_success_says_what_it_is_of(
    seed: int,
) -> None:
    regression, X, Y = _noisy(seed)
    zero = regression.solve(np.zeros((3, 3)))
    assert zero.success
    assert zero.fun > 5 * regression.loss(X, Y)
    assert (zero.found, zero.starts) == ("a critical point", 1)
    assert "a critical point, which need not have the least loss" in zero.message
    best = regression.solve(rng=np.random.default_rng(0))
    assert best.success
    assert best.fun <= regression.loss(X, Y)
    assert best.starts == 16
    assert best.fun == regression.loss(best.X, best.Y)
    assert regression.solve(rng=np.random.default_rng(0)).fun == best.fun


def test_starts_end_once_one_fits_or_the_callback_stops() -> None:
    rng = np.random.default_rng(0)
    A1, A2, A3 = rng.standard_normal((3, 9, 2))
    exact = AttentionRegression(A1, A2, A3, np.tile(A3.mean(axis=0), (9, 1)))  # X = 0 fits it
    assert exact.solve(rng=rng).starts == 1

    def stop(_: Any) -> None:
        raise StopIteration

    regression, _, _ = _noisy(0)
    stopped = regression.solve(rng=rng, callback=stop)
    assert (stopped.starts, stopped.success, stopped.found) == (1, False, "no critical point")


def test_without_a_start_none_is_given_for_y_and_none_overflows() -> None:
    regression, _, Y = _noisy(0)
    with pytest.raises(ValueError, match="Y0 must be left out where X0 is"):
        regression.solve(Y0=Y)
    A = np.full((3, 2, 1), 1e-300)
    tiny = AttentionRegression(*A, [[1.0], [2.0]])  # logits of size one need entries of 1e600
    assert tiny.solve(rng=np.random.default_rng(0)).starts == 1
