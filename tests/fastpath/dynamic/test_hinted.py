"""The reduction decides Boolean products, its condition suffices, and beyond it there are mistakes."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastpath.core.bounds.dynamic import reduction_error
from fastpath.core.directed import UNIT_ROUNDOFF
from fastpath.dynamic.hinted import HintedMv, safe_steps

Boolean = NDArray[np.bool_]


def _product(M: Boolean, P: Boolean, V: Boolean) -> Boolean:
    found: Boolean = M.astype(int) @ P.astype(int) @ V.astype(int) > 0
    return found


def _instance(rng: np.random.Generator, n: int) -> tuple[Boolean, Boolean, Boolean]:
    """Draw M, P, V: of any density, or P all in one row, one column or at one place."""
    M, V = (rng.random((n, n)) < rng.choice([0.02, 0.1, 0.5, 0.98]) for _ in range(2))
    P = np.zeros((n, n), bool)
    ones = int(rng.choice([0, 1, round(n**0.5), n]))
    kind = rng.integers(4)
    if kind == 0:
        P.flat[rng.choice(n * n, ones, replace=False)] = True
    elif kind == 1:
        P[:ones, rng.integers(n)] = True
    elif kind == 2:
        P[rng.integers(n), :ones] = True
    else:
        # One weight against all others: every query sees the same key, which has no value.
        M[:], P[:ones, 0], V[0] = True, True, False
    return M, P, V


@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "auto"])
@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_small_products_are_decided_rightly(n: int, mode: Any) -> None:
    rng = np.random.default_rng(n)
    for _ in range(6):
        M, P, V = _instance(rng, n)
        hinted = HintedMv(M, V, mode=mode)
        for hint in (P, P.T, P):
            hinted.hint(hint)
            found = np.array([hinted.column(i) for i in range(n)]).T
            assert (found == _product(M, hint, V)).all()


@pytest.mark.nightly
def test_two_hundred_products_up_to_256_are_decided_rightly() -> None:
    rng = np.random.default_rng(0)
    for trial in range(200):
        n = 256 if trial % 10 == 0 else int(rng.integers(2, 257))
        M, P, V = _instance(rng, n)
        hinted = HintedMv(M, V, mode=("cached", "dirty", "kept", "auto")[trial % 4])
        hinted.hint(P)
        for i in rng.integers(n, size=3):
            assert (hinted.column(int(i)) == _product(M, P, V)[:, i]).all(), trial


def test_a_step_below_the_range_is_refused_and_would_be_wrong() -> None:
    everything = np.ones((8, 8), bool)
    hinted = HintedMv(everything, everything)
    hinted.hint(everything, step=2.0**-60)  # e^c and 1 are the same float64
    with pytest.raises(ArithmeticError, match=r"^step must be in"):
        hinted.column(0)
    assert not (hinted.signals(0) > math.expm1(2.0**-60) / 2).all()
    assert _product(everything, everything, everything).all()


def test_a_step_above_the_range_is_refused_and_loses_the_reciprocal() -> None:
    everything = np.ones((8, 8), bool)
    hinted = HintedMv(everything, everything)
    hinted.hint(everything, step=100.0)  # 1 / D < e^-800 is no float64
    with pytest.raises(ArithmeticError, match=r"^step must be in"):
        hinted.column(0)
    with pytest.raises(ZeroDivisionError):
        hinted.signals(0)


@pytest.mark.parametrize(("n", "ones"), [(2, 1), (64, 8), (256, 256)])
def test_the_safe_range_is_safe_at_both_ends(n: int, ones: int) -> None:
    rng = np.random.default_rng(n)
    M, V = (rng.random((n, n)) < 0.3 for _ in range(2))
    P = np.zeros((n, n), bool)
    P.flat[rng.choice(n * n, ones, replace=False)] = True
    hinted = HintedMv(M, V)
    hinted.hint(P)
    low, high = safe_steps(n, ones, max(hinted._attention.error_bound(j) for j in range(n)))
    assert low < 1 / ones < high
    for step in (low * 4, 1 / ones):
        hinted.hint(P, step=step)
        assert (hinted.column(0) == _product(M, P, V)[:, 0]).all()


@pytest.mark.parametrize(("n", "ones"), [(1, 1), (16, 3), (256, 256)])
def test_the_safe_range_ends_where_the_condition_of_the_claim_does(n: int, ones: int) -> None:
    read_error = 2.0**-40
    low, high = safe_steps(n, ones, read_error)
    for step, holds in ((low, True), (high, True), (low * 0.99, False), (high * 1.01, False)):
        error = reduction_error(n, step, ones, read_error, UNIT_ROUNDOFF)
        assert (error < math.expm1(step) / 2) == holds


def test_no_step_is_safe_whose_exp_is_no_number() -> None:
    """However exact the reads are."""
    assert safe_steps(2, 1, 0.0)[1] <= 700 < math.log(np.finfo(float).max)


def test_bad_arguments_are_refused_by_name() -> None:
    square = np.zeros((2, 2), bool)
    with pytest.raises(TypeError, match=r"^M must hold booleans"):
        HintedMv(np.zeros((2, 2)), square)
    with pytest.raises(ValueError, match=r"^V must be 2 x 2"):
        HintedMv(square, np.zeros((3, 3), bool))
    with pytest.raises(ValueError, match=r"^M must be square"):
        HintedMv(np.zeros((2, 3), bool), square)
    with pytest.raises(ValueError, match=r"^step must be positive"):
        HintedMv(square, square).hint(square, step=0.0)
