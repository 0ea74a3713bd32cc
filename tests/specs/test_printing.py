"""The generated files are what the claims say, and the Python bounds round upward."""

import ast
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from fastpath.core.bounds import softmax
from reference import Enclosure, Verdict, evaluate
from specs import CLAIMS
from specs.claim import Bound
from specs.printing.__main__ import outputs
from specs.printing.catalogue import ROOT, STEMS, claims_of
from specs.printing.coq import coq
from specs.printing.python import UpwardPrinter, called, imported, stem_source
from tests.printed import BOUNDS, printed

#: Where each argument may lie; every bound's denominators are positive there.
RANGES: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(1, 10**6),
    "degree": st.integers(0, 30),
    "dimension": st.integers(1, 10**6),
    "terms": st.integers(1, 10**6),
    "exponentials": st.integers(1, 100),
    "logit_bound": st.floats(0, 40),
    "eta": st.floats(0, 40),
    "scale": st.floats(1, 1e6),
    "epsilon": st.floats(0, 0.999),
    "failure_probability": st.floats(1e-30, 1),
    "oversampling": st.floats(1, 1e6),
    "rank": st.integers(1, 10**6),
    "columns": st.integers(1, 10**6),
    "first_roundings": st.integers(1, 10**6),
    "second_roundings": st.integers(1, 10**6),
    "column_squares": st.integers(1, 10**12),
    "exponent": st.floats(2, 3),
    "row_norm": st.floats(0, 40),
    "largest_norm": st.floats(0, 40),
    "kappa": st.floats(1, 1e6),
    "radius": st.floats(0, 20),
    "x": st.floats(-20, 20),
    "quotient": st.floats(-1e6, 1e6),
    "unit_roundoff": st.sampled_from([2.0**-24, 2.0**-53]),
    "tiny": st.sampled_from([2.0**-126, 2.0**-1022]),
    "exp_error": st.sampled_from([2.0, 6.0]),
    "tanh_error": st.sampled_from([2.0, 6.0]),
    "log_error": st.floats(0, 16),
    "double_roundoff": st.just(2.0**-53),
    "underflow": st.floats(0, 1e-6),
    "variables": st.integers(1, 30),
    "values": st.integers(1, 10**4),
    "queries": st.integers(100, 10**6),
    "keys": st.integers(1, 10**6),
    "value_rows": st.integers(1, 10**4),
    "output_rows": st.integers(1, 10**4),
    "states": st.integers(1, 10**9),
    "sparsity": st.integers(1, 100),
    "buckets": st.integers(1, 10**6),
    "half_rows": st.integers(0, 20),
    # More rows are drawn than skipped; a power of 1 - uncovered multiplies what rounding adds.
    "rows": st.integers(9, 500),
    "skipped": st.integers(0, 8),
    "uncovered": st.floats(1e-6, 0.999),
    "exact_sum": st.floats(0, 1e6),
    "dropped_weight": st.floats(0, 1e6),
    "total_weight": st.floats(1e-6, 1e6),
    "residual": st.floats(-20, 20),
    "remainder": st.floats(0, 1e6),
    "deviation": st.floats(0, 1e6),
    "share": st.floats(2.0**-100, 0.5),
    "defect": st.floats(0, 1),
    "query_length": st.floats(0, 1e6),
    "key_length": st.floats(0, 1e6),
    "doublings": st.integers(2, 30),
    "half_range": st.floats(0, 1),
    "query_norm": st.floats(0, 40),
    "shift_norm": st.floats(0, 40),
    "roundings": st.integers(1, 10**4),
    "rounding": st.floats(0, 0.25),
    "accuracy": st.floats(2.0**-20, 4),
    "row_failure": st.floats(0, 1),
    "ratio": st.floats(1, 1e6),
    # The grid is fine enough for the curvature.
    "bottom": st.floats(0.5, 1),
    "curvature": st.floats(0, 1),
    "step": st.floats(0, 1),
    "weight_error": st.floats(0, 40),
    "mass_ratio": st.floats(1, 1e6),
    "factors": st.integers(0, 100),
    "pending": st.integers(0, 10**6),
    "rebuild_every": st.integers(1, 10**6),
    "value_columns": st.integers(1, 10**6),
    "ones": st.integers(0, 10),
    "tau": st.floats(0, 1),
    "read_error": st.floats(0, 1e-7),
    # Near a critical point, in units of its curvature; and e^(query_norm key_radius distance) is no overflow.
    "distance": st.floats(0, 0.5),
    "lipschitz": st.floats(0, 1),
    "least_eigenvalue": st.floats(1, 1e6),
    "gradient_norm": st.floats(0, 0.25),
    "key_radius": st.floats(2.0**-20, 20),
    "query_dimension": st.integers(1, 1000),
    "key_dimension": st.integers(1, 1000),
    "feature_dimension": st.integers(1, 1000),
    "head_dimension": st.integers(1, 1000),
    "outputs": st.integers(1, 1000),
    "relative_change": st.floats(0, 0.499),
}
OTHERWISE = st.floats(0, 1e6)

#: Lengths of which a bound takes a square root: 2^-1074, added to a zero, would be 2^-537 afterwards.
LENGTHS = st.floats(2.0**-20, 1e6)
RANGES |= dict.fromkeys(
    (
        "spectral_norm",
        "frobenius_norm",
        "value_radius",
        "feature_radius",
        "feature_norm",
        "mean_norm",
        "residual_norm",
        "residual_total",
        "shortfall",
        "key_deviation",
        "value_deviation",
        "feature_deviation",
        "covariance_norm",
    ),
    LENGTHS,
)

#: A width divides by epsilon.
WIDTH_RANGES = RANGES | {"epsilon": st.floats(2.0**-20, 0.999), "overestimate": st.floats(1, 100)}

#: What directed rounding may add, relative to the bound: a few dozen ulp, doubled in exp's argument;
#: and what 2^-1074, added to a zero, becomes when other arguments multiply it.
RELATIVE_ALLOWANCE, ABSOLUTE_ALLOWANCE = Fraction(1, 2**40), Fraction(1, 2**900)


@pytest.mark.parametrize("path", outputs(), ids=lambda p: p.name)
def test_a_generated_file_is_up_to_date(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == outputs()[path], (
        f"{path.name} differs from the claims: run `make generated`"
    )


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=lambda b: b.name)
@given(data=st.data())
def test_a_python_bound_is_at_least_its_expression_and_close(
    bound: Bound[Any], data: st.DataObject
) -> None:
    names = [a.name for a in bound.arguments]
    ranges = WIDTH_RANGES if bound.name.endswith("_width") else RANGES
    values = {name: data.draw(ranges.get(name, OTHERWISE), label=name) for name in names}
    computed = Fraction(float(printed(bound.name)(**values)))
    exact = {k: v if isinstance(v, int) else Fraction(v) for k, v in values.items()}
    lower, upper = evaluate(bound.expression, exact, 1400).bounds()
    assert computed >= upper.item()
    assert computed <= lower.item() * (1 + RELATIVE_ALLOWANCE) + ABSOLUTE_ALLOWANCE


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "tanh"])
def test_a_library_function_errs_by_at_most_the_4_ulp_that_the_bounds_allow(name: str) -> None:
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.uniform(1, 40, 300), 10.0 ** rng.uniform(-12, 0, 300)])
    points = points[points >= 1] if name == "log" else points
    x = sympy.Symbol("x", positive=True)
    definition = sympy.exp(x) - 1 if name == "expm1" else getattr(sympy, name)(x)
    exact = evaluate(definition, {"x": Enclosure.exact(points, 256)}, 256)
    computed = getattr(np, name)(points)
    verdicts = exact.verdict(computed, 4 * np.spacing(computed))
    assert all(v is Verdict.WITHIN for v in verdicts)


def test_a_bound_whose_denominator_vanishes_is_infinite() -> None:
    assert softmax.rounding_logit(2**24, 2.0**-24, 1.0, 0.0) == np.inf


def test_a_subnormal_argument_is_not_rounded_to_nothing() -> None:
    assert printed("softmax_output")(5e-324, 1e300) > 2e-24


def test_python_bounds_broadcast_over_arrays() -> None:
    column, row = np.ones((3, 1)), np.arange(4.0)
    table = printed("softmax_output")(column, row)
    assert table.shape == (3, 4)
    assert table[2, 3] == printed("softmax_output")(1.0, 3.0)


@pytest.mark.parametrize(
    "expression", [sympy.sin(sympy.Symbol("x")), sympy.gamma(sympy.Symbol("x"))]
)
def test_the_printers_refuse_what_they_cannot_translate(expression: sympy.Expr) -> None:
    with pytest.raises(NotImplementedError, match=type(expression).__name__):
        UpwardPrinter(expression)
    with pytest.raises(NotImplementedError, match=type(expression).__name__):
        coq(expression)


@pytest.mark.parametrize("stem", STEMS)
def test_a_generated_module_imports_nothing_but_numpy_math_and_directed_rounding(stem: str) -> None:
    tree = ast.parse(stem_source(stem, BOUNDS))
    plain = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert plain <= {"math", "numpy"}
    named = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert named <= {"typing", "fastpath.core.directed"}


def test_every_claim_is_of_one_stem() -> None:
    ids = [claim.id for stem in STEMS for claim in claims_of(stem)]
    assert sorted(ids) == sorted(CLAIMS)


def test_the_generated_modules_hold_what_the_fast_path_calls_and_nothing_else() -> None:
    """Every name that is imported from them is used, and every function in them is imported."""
    names = called(ROOT / "fastpath")
    package = ROOT / "fastpath" / "core" / "bounds"
    assert {path.stem for path in package.glob("*.py")} == {*STEMS, "__init__"}
    defined = {
        node.name
        for path in package.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert defined == names & BOUNDS.keys()
    assert names - defined == {"ARITHMETIC"}
    for path in (ROOT / "fastpath").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        for name in imported(tree):
            assert name in read, f"{path.relative_to(ROOT)} imports {name} and does not call it"
