"""The generated files are what the claims say, and the Python bounds round upward."""

import ast
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st

from fastpath.core.bounds import softmax
from proofs.evidence.audit import strays
from reference import Enclosure, Verdict, evaluate
from specs import CLAIMS
from specs.claim import Bound
from specs.printing.__main__ import outputs
from specs.printing.catalogue import ROOT, STEMS, claims_of
from specs.printing.coq import coq
from specs.printing.python import UpwardPrinter, called, imported, stem_source
from specs.symbols import unit_roundoff
from tests.printed import BOUNDS, printed

OUTPUTS = outputs()

#: How far arguments are drawn inside their domains, where that is less than a million: no float overflows,
#: and no difference loses the digits that the allowance below is about.
REACH: dict[str, tuple[float, float]] = {
    "log_error": (0, 16),
    "degree": (0, 30),
    "exponentials": (1, 100),
    "logit_bound": (0, 40),
    "eta": (0, 40),
    "epsilon": (0, 0.999),
    "failure_probability": (1e-30, 1),
    "column_squares": (1, 10**12),
    "row_norm": (0, 40),
    "largest_norm": (0, 40),
    "radius": (0, 20),
    "x": (-20, 20),
    "residual": (-20, 20),
    "underflow": (0, 1e-6),
    "variables": (1, 30),
    "values": (1, 10**4),
    "queries": (100, 10**6),
    "value_rows": (1, 10**4),
    "output_rows": (1, 10**4),
    "states": (1, 10**9),
    "sparsity": (1, 100),
    "half_rows": (0, 20),
    # A power of 1 - uncovered multiplies what rounding adds.
    "rows": (1, 500),
    "skipped": (0, 8),
    "uncovered": (1e-6, 0.999),
    "total_weight": (1e-6, 1e6),
    "share": (2.0**-100, 0.5),
    "defect": (0, 0.75),
    "error_norm": (0, 0.25),
    "denominator_error": (0, 0.25),
    "denominator_lost": (0, 0.25),
    "doublings": (0, 30),
    "query_norm": (0, 40),
    "shift_norm": (0, 40),
    "roundings": (1, 10**4),
    "rounding": (0, 0.25),
    "accuracy": (2.0**-20, 4),
    "bottom": (0.5, 1),
    "curvature": (0, 1),
    "step": (0, 1),
    "weight_error": (0, 40),
    "factors": (0, 100),
    "ones": (0, 10),
    "read_error": (0, 1e-7),
    # Near a critical point, in units of its curvature; and e^(query_norm key_radius distance) is no overflow.
    "distance": (0, 0.5),
    "lipschitz": (0, 1),
    "least_eigenvalue": (1, 1e6),
    "gradient_norm": (0, 0.25),
    "key_radius": (2.0**-20, 20),
    "query_dimension": (1, 1000),
    "key_dimension": (1, 1000),
    "feature_dimension": (1, 1000),
    "head_dimension": (1, 1000),
    "outputs": (1, 1000),
    "relative_change": (0, 0.499),
    "rate": (2.0**-40, 4e-7),
    "reduction": (2, 1e6),
    "condition": (2, 1e6),
    "iterations": (0, 30),
    "radius_mean": (2.0**-20, 40),
    "radius_square": (2.0**-20, 1e6),
    "scatter": (2.0**-20, 1e6),
    "second_moment": (1, 1e6),
    "centre": (0, 0.5),
    "upper_level": (0.5, 1),
    "dual_value": (-10, 0.25),
    "errors": (1, 500),
    "audited": (0, 8),
    "audit_rate": (1e-6, 0.999),
    "target": (1, 1000),
}

#: Lengths of which a bound takes a square root: 2^-1074, added to a zero, would be 2^-537 afterwards.
#: A power of a quotient, and what it is of.
REACH |= {"half_power": (1, 8), "leverage": (2.0**-20, 1), "multiplier_total": (2.0**-20, 1e6)}
REACH |= dict.fromkeys(
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
    (2.0**-20, 1e6),
)

#: Where e^(what an argument is) multiplies the rest.
REACH |= dict.fromkeys(("series_discrepancy.reach", "series_discrepancy.logit_error"), (0, 40))

#: The arithmetics that there are.
TYPES = {
    "tanh_error": st.sampled_from([2.0, 6.0]),
    "double_roundoff": st.just(2.0**-53),
    "unit_roundoff": st.sampled_from([2.0**-24, 2.0**-53]),
    "tiny": st.sampled_from([2.0**-126, 2.0**-1022]),
    "exp_error": st.sampled_from([2.0, 6.0]),
}


def drawn(bound: str, argument: sympy.Symbol, domain: sympy.Set) -> st.SearchStrategy[Any]:
    """Draw an argument of a bound from its domain, as far as it reaches."""
    if argument.name in TYPES:
        return TYPES[argument.name]
    reach = REACH.get(argument.name, (-(10**6), 10**6))
    low, high = REACH.get(f"{bound}.{argument.name}", reach)
    low, high = max(low, domain.inf), min(high, domain.sup)
    if argument.is_integer:
        return st.integers(int(low), int(high))
    # An end that does not belong to the domain is approached.
    margin = sympy.Rational(1, 2**20)
    low = low + margin if domain.left_open and low == domain.inf else low
    high = high - margin if domain.right_open and high == domain.sup else high
    return st.floats(float(low), float(high))


#: What directed rounding may add, relative to the bound: a few dozen ulp, doubled in exp's argument;
#: and what 2^-1074, added to a zero, becomes when other arguments multiply it.
RELATIVE_ALLOWANCE, ABSOLUTE_ALLOWANCE = Fraction(1, 2**40), Fraction(1, 2**900)


@pytest.mark.parametrize(("path", "text"), OUTPUTS.items(), ids=[path.name for path in OUTPUTS])
def test_a_generated_file_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text(encoding="utf-8") == text, (
        f"{path.name} differs from the claims: run `make generated`"
    )


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=lambda b: b.name)
@given(data=st.data())
def test_a_python_bound_is_at_least_its_expression_and_close(
    bound: Bound[Any], data: st.DataObject
) -> None:
    values = {
        argument.name: data.draw(drawn(bound.name, argument, domain), label=argument.name)
        for argument, domain in bound.domains.items()
    }
    exact = {k: v if isinstance(v, int) else Fraction(v) for k, v in values.items()}
    assume(not strays(bound, exact))
    computed = Fraction(float(printed(bound.name)(**values)))
    lower, upper = evaluate(bound.expression, exact, 1400).bounds()
    assert computed >= upper.item()
    least = lower.item()
    assert computed <= least + abs(least) * RELATIVE_ALLOWANCE + ABSOLUTE_ALLOWANCE


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


ROUNDS = [b for b in BOUNDS.values() if unit_roundoff in b.provided.free_symbols]


@pytest.mark.parametrize("bound", ROUNDS, ids=lambda b: b.name)
def test_a_bound_is_infinite_where_rounding_reaches_what_it_is_provided_for(
    bound: Bound[Any],
) -> None:
    values = dict(zip((a.name for a in bound.arguments), map(float, bound.points[0]), strict=True))
    assert np.isfinite(printed(bound.name)(**values))
    others = {a: sympy.Rational(values[a.name]) for a in bound.arguments if a != unit_roundoff}
    roundings = (bound.provided.lts / unit_roundoff).subs(others)
    values["unit_roundoff"] = float(1 / roundings) * (1 + 2.0**-40)
    assert strays(bound, {name: Fraction(value) for name, value in values.items()})
    assert printed(bound.name)(**values) == np.inf


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
