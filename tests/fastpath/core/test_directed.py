"""Rounding has one home, and what it promises holds: step by step, and for sums that count themselves."""

import ast
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.core import directed, norms
from fastpath.core.bounds.softmax import ARITHMETIC

FASTPATH = Path(__file__).parents[3] / "fastpath"
U = Fraction(1, 2**53)

#: Where rounding is spoken of beside core/directed.py, how often, and why.
ALLOWED = {
    "core/arithmetic.py": (4, "tiny probes of how the processor rounds"),
    "core/bounds/softmax.py": (
        2,
        "the constants of the floating-point types, printed from FP.softmax",
    ),
    "real_heads/causal_clusters.py": (
        1,
        "what keeps a quotient of weights from dividing by nothing",
    ),
    "exact/scaled_values.py": (1, "the unit in which an underflow is counted, by type"),
    "regression/certificate.py": (
        2,
        "the roundoff of numpy's longest floats, whatever they are here",
    ),
    "regression/newton_cg.py": (1, "the smallest region worth a step"),
    "regression/search.py": (1, "how far a computed loss may be from falling: steps, no bound"),
    "sparsification/caratheodory.py": (
        1,
        "what counts as rank in a choice of columns, certified later",
    ),
    "sparsification/certificate.py": (1, "how close a search for an epsilon goes"),
    "sparsification/leverage.py": (1, "row sizes with which single precision may be tried"),
}

#: Exponents of 2 that say how a float64 rounds or underflows.
ROUNDING = {*range(44, 64), *range(1022, 1076)}


def _literals(tree: ast.AST) -> list[str]:
    """Return what speaks of rounding: powers of 2 of its size, steps to the next float, 1 + some u."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            if 0 < node.value < 1e-300 or 2.0**-64 < node.value < 2.0**-43:
                found.append(ast.unparse(node))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            power = node.right
            if (
                isinstance(power, ast.UnaryOp)
                and isinstance(power.operand, ast.Constant)
                and power.operand.value in ROUNDING
            ):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            one = isinstance(node.left, ast.Constant) and node.left.value in (1, 1.0)
            names = {n.id for n in ast.walk(node.right) if isinstance(n, ast.Name)}
            if one and names & {"UNIT_ROUNDOFF", "unit_roundoff", "u", "U"}:
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Attribute) and node.attr in {
            *("nextafter", "spacing", "eps", "epsneg", "resolution", "smallest_subnormal"),
        }:
            found.append(ast.unparse(node))
    return found


def test_rounding_is_spoken_of_in_one_place() -> None:
    for path in sorted(FASTPATH.rglob("*.py")):
        name = path.relative_to(FASTPATH).as_posix()
        if name == "core/directed.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if name.startswith("core/bounds/"):
            # Functions are printed from claims; what stands beside them is not.
            tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
        found = _literals(tree)
        count, why = ALLOWED.get(name, (0, "no exception"))
        assert len(found) == count, f"{name} ({why}) speaks of rounding: {', '.join(found)}"


def test_the_unit_roundoff_is_that_of_the_claims() -> None:
    assert ARITHMETIC["float64"]["unit_roundoff"] == directed.UNIT_ROUNDOFF == U


NUMBERS = st.floats(0, 1e300) | st.floats(0, 1e-300)


@given(x=NUMBERS)
def test_a_step_reaches_the_next_float(x: float) -> None:
    assert directed.up(x) >= np.nextafter(x, np.inf)
    assert directed.down(x) <= max(np.nextafter(x, -np.inf), 0.0)
    for signed in (x, -x):
        assert directed.above(signed) >= np.nextafter(signed, np.inf)
        assert directed.below(signed) <= np.nextafter(signed, -np.inf)


@given(x=NUMBERS, y=NUMBERS, sign=st.sampled_from([1, -1]))
def test_a_step_covers_one_operation(x: float, y: float, sign: int) -> None:
    a, b = Fraction(x), Fraction(y)
    with np.errstate(all="ignore"):
        cases: list[tuple[Any, Fraction]] = [(np.float64(x) + y, a + b), (np.float64(x) * y, a * b)]
        if y:
            cases.append((np.float64(x) / y, a / b))
        for computed, exact in cases:
            if np.isfinite(directed.up(computed)):
                assert Fraction(float(directed.down(computed))) <= exact
                assert exact <= Fraction(float(directed.up(computed)))
        difference = np.float64(sign * x) - y
        if np.isfinite(difference):
            assert Fraction(float(directed.below(difference))) <= sign * a - b
            assert sign * a - b <= Fraction(float(directed.above(difference)))


@pytest.mark.parametrize("d", [65, 91, 128, 512])
def test_a_frobenius_norm_counts_its_own_roundings(d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: room for so many roundings and no more, 4096 once, where d x d squares are added.

    Each of d² terms may be rounded down d² times, in the order that loses most.
    """

    def lost_in_every_addition(_: str, x: Any, y: Any) -> Any:
        exact = sum(Fraction(a) for a in (x * y).ravel().tolist())
        return np.array([np.nextafter(float(exact * (1 - x.size * U)), 0)])

    ones = np.ones((d, d))
    monkeypatch.setattr(norms.np, "einsum", lost_in_every_addition)
    assert Fraction(norms.norm(ones)) >= d


@pytest.mark.parametrize("d", [65, 128, 300])
@pytest.mark.parametrize("exponent", [-1060, -530, -20, 0, 400, 980])
def test_a_frobenius_norm_is_at_least_the_exact_one_and_close(d: int, exponent: int) -> None:
    rng = np.random.default_rng(d)
    integers = rng.integers(-(2**20), 2**20, (d, d)) >> rng.integers(0, 20, (d, d))
    x = np.ldexp(integers.astype(float), exponent)
    # Where the smallest underflowed, x is what the floats are.
    scaled = np.array([int(Fraction(a) * 2**1080) for a in np.unique(np.abs(x))], object)
    counts = np.unique(np.abs(x), return_counts=True)[1].astype(object)
    exact = int((scaled**2 * counts).sum())
    found = Fraction(norms.norm(x)) * 2**1080
    assert found**2 >= exact
    step = Fraction(2**1080, 2**1070)  # far below the normal numbers
    assert (found - step) ** 2 <= exact * (1 + 8 * d * d * U) or found <= step


def test_norms_of_nothing_are_zero_and_of_rows_that_overflow_infinite() -> None:
    assert norms.norm(np.zeros((3, 4))) == 0
    assert norms.longest_row(np.array([[1e308, 1e308], [0.0, 0.0]])) >= 1.41e308
    with np.errstate(all="ignore"):
        assert norms.norm(np.full((4, 1), 1.7e308)) == np.inf


def test_the_largest_row_is_that_of_exact_numbers() -> None:
    x = np.array([[3.0, 4.0], [0.0, 5 + 2.0**-50]])
    assert Fraction(norms.longest_row(x)) >= 5 + Fraction(1, 2**50)
    assert norms.lengths(x)[0] >= 5


@pytest.mark.parametrize("terms", [3, 257, 4000])
def test_a_product_loses_no_more_than_is_said(terms: int) -> None:
    """From left to right, 1 + u + u + ... stays 1."""
    numbers = np.full(terms, 2.0**-27)
    numbers[0] = 1.0
    computed = Fraction(float(np.cumsum(numbers * numbers)[-1]))
    exact = 1 + (terms - 1) * Fraction(1, 2**54)
    size = norms.norm(numbers)
    assert abs(computed - exact) <= Fraction(float(norms.product_loss(size, size, terms, 1)))


@given(number=st.fractions(0, 10**30))
def test_a_number_of_another_type_becomes_the_float_below(number: Fraction) -> None:
    found = directed.float_at_most(number)
    assert found <= number < np.nextafter(found, np.inf)
