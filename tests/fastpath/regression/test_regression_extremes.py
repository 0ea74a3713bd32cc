"""AttentionRegression at the ends of float64 and on degenerate problems: searches end, and say what is so."""

import itertools
from typing import Any

import numpy as np
import pytest

from fastpath import AttentionRegression
from fastpath.regression.model import Data, length, point
from fastpath.regression.plain_steps import loss_rounding
from fastpath.regression.units import ORDINARY, Units

METHODS = ("auto", "newton", "newton-cg", "gradient", "sketched")

#: Each alone, each way: from where squares of squares overflow to where entries themselves nearly do.
SIZES = (1e-300, 1e-200, 1e-80, 1e-50, 1e50, 1e80, 1e120, 1e200, 1e300)

#: Seeds of a search in the quick loop and in the whole suite.
SEARCHES = [
    pytest.param(range(24), id="quick"),
    pytest.param(range(24, 1200), id="long", marks=pytest.mark.nightly),
]


def _problem(seed: int, n_q: int = 20, n_k: int = 12) -> tuple[list[Any], Any, Any]:
    rng = np.random.default_rng(seed)
    A1, A2, A3 = (rng.standard_normal(s) for s in ((n_q, 3), (n_k, 2), (n_k, 4)))
    X, Y = rng.standard_normal((3, 2)) / 2, rng.standard_normal((4, 2))
    P = np.exp(A1 @ X @ A2.T)
    B = P / P.sum(axis=1, keepdims=True) @ A3 @ Y + 0.1 * rng.standard_normal((n_q, 2))
    return [A1, A2, A3, B], X, Y


def _check(regression: AttentionRegression, result: Any) -> None:
    """Check every sentence that a result makes."""
    for numbers in (result.X, result.Y, result.jac, result.fun, result.gradient_norm):
        assert np.isfinite(numbers).all()
    assert result.fun == regression.loss(result.X, result.Y)
    assert result.success == (result.status == 0 or result.success)
    assert f"{result.gradient_norm:.3g}" in result.message
    if result.status == 2:
        _check_floor(result)


def _check_floor(result: Any) -> None:
    """No step along the gradient lowers the loss by more than the sentence says."""
    said = float(result.message.split(" by more than ")[1].split(",")[0])
    here = result._certify.__closure__[0].cell_contents
    for U, V in itertools.product((here.gradient[0], 0), (here.gradient[1], 0)):
        for exponent in range(-60, 40, 2):
            there = point(here.data, here.X - 2.0**exponent * U, here.Y - 2.0**exponent * V)
            # The sentence has two digits.  Lengths between those that were tried may do a third better.
            assert here.loss - there.loss <= 2 * said


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("which", range(6), ids=["A1", "A2", "A3", "B", "X0", "Y0"])
def test_every_method_ends_on_matrices_of_any_size_or_refuses_them(
    which: int, size: float, method: str
) -> None:
    """B × 1e80 ran on for ever in newton-cg, B × 1e50 left as OverflowError."""
    matrices, X, Y = _problem(0)
    matrices += [X, Y]
    matrices[which] = matrices[which] * size
    regression = AttentionRegression(*matrices[:4])
    for start in (matrices[4], 0 * matrices[4]):
        try:
            result = regression.solve(
                start,
                matrices[5],
                method=method,
                max_iterations=5,
                rng=np.random.default_rng(0),
            )
        except ValueError as error:
            if "finite, but" not in str(error):
                raise  # That the start overflows would have been said so.
        else:
            _check(regression, result)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "exponents",
    [(200, 0, 0, 0), (0, -300, 0, 0), (0, 0, 90, 0), (0, 0, 0, 160), (300, -500, -90, -200)],
)
def test_a_power_of_two_in_any_matrix_changes_no_digit_of_the_solution(
    method: str, exponents: tuple[int, ...]
) -> None:
    """The same problem in other units has the same steps, if its matrices are of size one in some units."""
    matrices, X, Y = _problem(1)
    ones = Units(Data(*matrices))
    assert ones.ordinary
    a1, a2, a3, b = exponents
    sizes = [
        int(np.frexp(np.abs(A).max())[1]) if e else 0
        for A, e in zip(matrices, exponents, strict=True)
    ]
    first = [np.ldexp(A, -s) for A, s in zip(matrices, sizes, strict=True)]
    second = [np.ldexp(A, e) for A, e in zip(first, exponents, strict=True)]
    losses: list[list[float]] = [[], []]
    found = []
    for k, (problem, X0, Y0) in enumerate(
        ((first, X, Y), (second, np.ldexp(X, -a1 - a2), np.ldexp(Y, b - a3)))
    ):
        result = AttentionRegression(*problem).solve(
            X0,
            Y0,
            method=method,
            # Neither ends before the other: no tolerance is the same in both.
            tolerance=5e-324,
            max_iterations=4,
            rng=np.random.default_rng(0),
            callback=lambda progress, k=k: losses[k].append(progress.fun),
        )
        found.append(result)
    np.testing.assert_array_equal(found[1].X, np.ldexp(found[0].X, -a1 - a2))
    np.testing.assert_array_equal(found[1].Y, np.ldexp(found[0].Y, b - a3))
    assert losses[1] == [float(np.ldexp(loss, 2 * b)) for loss in losses[0]]


def _degenerate(rng: np.random.Generator) -> tuple[list[Any], Any, Any]:
    """Draw a problem with repeated, zero, constant or huge columns or rows in one of its matrices."""
    n_q, n_k = (int(rng.choice([5, 8, 16, 40])) for _ in range(2))
    p, q, r, s = (int(rng.choice([1, 2, 3, 6])) for _ in range(4))
    shapes = ((n_q, p), (n_k, q), (n_k, r))
    A1, A2, A3 = (rng.standard_normal(shape) for shape in shapes)
    A = (A1, A2, A3)[rng.integers(0, 3)]
    kind = rng.integers(0, 11)
    columns = rng.integers(0, max(1, A.shape[1] // 2), A.shape[1])
    if kind == 0:
        A[:] = A[:, columns]
    elif kind == 1:
        A[:, 1:] = 0
    elif kind == 2:
        A[:] = A[rng.integers(0, 3, len(A))]
    elif kind == 3:
        A[rng.random(len(A)) < 0.5] = 0
    elif kind == 4:
        A[:] = np.outer(A[:, 0], A[0])
    elif kind == 5:
        A[:, 0] = 1
    elif kind == 6:
        A[:] = A[0]
    elif kind == 7:
        A *= 64
    elif kind == 8:
        A[:, 0] *= 1e-8
    elif kind == 9:
        A[:] = 0
    X, Y = rng.standard_normal((p, q)) / 2, rng.standard_normal((r, s))
    logits = A1 @ X @ A2.T
    P = np.exp(logits - logits.max(axis=1, keepdims=True))
    B = P / P.sum(axis=1, keepdims=True) @ A3 @ Y
    noise = rng.choice([0.0, 0.1, 10.0])
    B = B + noise * rng.standard_normal(B.shape)
    return [A1, A2, A3, B], X * rng.choice([0.0, 1.0, 3.0]), Y


@pytest.mark.parametrize("seeds", SEARCHES)
def test_a_search_on_a_degenerate_problem_ends_with_a_sentence_that_is_so(seeds: range) -> None:
    """Status 2 said that no step lowers the loss where gradient steps did by 3e-5, or by most of it."""
    ends: dict[int, int] = {}
    for seed in seeds:
        problem, X, Y = _degenerate(np.random.default_rng(seed))
        regression = AttentionRegression(*problem)
        for method in METHODS:
            result = regression.solve(
                X,
                None if seed % 2 else Y,
                method=method,
                max_iterations=60,
                # Some are to reach the floor.
                tolerance=1e-30 if seed % 3 == 0 else 1e-8,
                rng=np.random.default_rng(0),
            )
            _check(regression, result)
            ends[result.status] = ends.get(result.status, 0) + 1
    # It can fail: some do end at the floor, and most converge.
    assert ends[2] > len(seeds) // 4
    assert ends[0] > len(seeds)


def test_equal_keys_leave_newton_cg_a_step() -> None:
    """Their covariance, all rounding, was inverted in the preconditioner: no region was small enough."""
    for seed in range(6):
        (A1, A2, A3, B), X, Y = _problem(seed)
        A2[:] = A2[0]
        result = AttentionRegression(A1, A2, A3, B).solve(X, Y, method="newton-cg")
        assert result.success, result.message


@pytest.mark.parametrize("seed", [3, 5, 88])
def test_nearly_dependent_features_do_not_drown_the_loss_in_the_rounding_of_y(seed: int) -> None:
    """Told apart to the last bit they made the loss uncertain by a hundredth, and searches ended there."""
    rng = np.random.default_rng(seed)
    A1, A2, A3, B, X0 = (
        rng.standard_normal(shape) for shape in ((8, 1), (8, 6), (8, 6), (8, 3), (1, 6))
    )
    regression = AttentionRegression(A1, A2, A3, B)
    result = regression.solve(X0)
    rounding = loss_rounding(regression._point(result.X, result.Y))
    assert rounding <= 2.0**-16 * result.fun


@pytest.mark.parametrize("exponent", [-1000, -600, -300, 0, 300, 600, 1000])
def test_a_length_neither_overflows_nor_underflows(exponent: int) -> None:
    A = np.array([[3.0, 0.0]])
    B = np.array([[4.0]])
    assert length(np.ldexp(A, exponent), np.ldexp(B, exponent)) == np.ldexp(5.0, exponent)
    assert length(0 * A) == 0
    assert length(np.array([np.inf])) == np.inf


def test_matrices_of_ordinary_size_are_left_as_they_are() -> None:
    matrices, _, _ = _problem(0)
    assert Units(Data(*matrices)).ordinary
    assert not Units(Data(np.ldexp(matrices[0], ORDINARY + 9), *matrices[1:])).ordinary


@pytest.mark.parametrize(
    "tolerance", [10**400, np.longdouble(10) ** 4000, np.longdouble(10) ** -4000]
)
def test_a_tolerance_that_float64_does_not_hold_is_refused(tolerance: Any) -> None:
    matrices, X, Y = _problem(0)
    with pytest.raises(ValueError, match="tolerance must be positive and finite"):
        AttentionRegression(*matrices).solve(X, Y, tolerance=tolerance)


@pytest.mark.parametrize("name", ["A1", "A2", "A3", "B"])
def test_inputs_are_the_numbers_that_were_given_or_refused(name: str) -> None:
    matrices, _, _ = _problem(0)
    inputs = dict(zip(("A1", "A2", "A3", "B"), matrices, strict=True))
    masked = {**inputs, name: np.ma.masked_array(inputs[name], inputs[name] > 0)}
    with pytest.raises(TypeError, match=f"{name} must be a plain array"):
        AttentionRegression(**masked)
    rounded = {**inputs, name: np.full(inputs[name].shape, 2**53 + 1)}
    with pytest.raises(ValueError, match=f"{name} must hold integers that float64 holds exactly"):
        AttentionRegression(**rounded)
