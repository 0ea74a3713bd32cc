"""Bounds are composed, compared and taken to limits, and what is found is said with how it is known."""

from fractions import Fraction

import pytest
import sympy

import specs
from fastpath.core.bounds import softmax as generated
from proofs.__main__ import main
from proofs.algebra import coq_goals, graph
from proofs.algebra.boxes import box_of, nonnegative_on
from proofs.algebra.compare import compare
from proofs.algebra.compose import compose
from proofs.algebra.formula import Formula, Standing, bound_named
from proofs.algebra.limits import limit, series
from proofs.algebra.monotone import Direction, monotone
from reference import evaluate

X, Y = sympy.symbols("x y", positive=True)
HALF_LINE = sympy.Interval(0, sympy.oo)


def formula(expression, **domains):
    symbols = sorted(expression.free_symbols, key=str)
    numbers = {s: domains.get(s.name, HALF_LINE) for s in symbols}
    return Formula(name=str(expression), expression=expression, domains=numbers)


def of(name):
    return Formula.of(bound_named(name))


# ------------------------------------------------------------------------------ without Coq


def test_a_claim_is_found_by_its_id_and_evaluated_to_the_digits_that_are_asked():
    bound = specs.claim("S.tv").bounds[0]
    found = bound.evaluate(eta=Fraction(1, 10), digits=40)
    lower, upper = (Fraction(end.item()) for end in found.bounds())
    assert lower < upper <= lower * (1 + Fraction(1, 10**40))
    exact = sympy.tanh(sympy.Rational(1, 20)).evalf(120)
    assert sympy.Rational(lower.numerator, lower.denominator) <= exact
    assert exact <= sympy.Rational(upper.numerator, upper.denominator)
    assert bound.latex() == r"\tanh{\left(\frac{\mathrm{eta}}{2} \right)}"


def test_an_unknown_claim_is_refused_with_those_that_are_spelled_alike():
    with pytest.raises(ValueError, match=r"'S.tw'; did you mean S.tv"):
        specs.claim("S.tw")


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({}, TypeError, "takes eta; got none"),
        ({"eta": 1, "n": 2}, TypeError, "takes eta; got eta, n"),
        ({"eta": "1"}, TypeError, "eta must be an int, a Fraction or a float, got '1'"),
        ({"eta": True}, TypeError, "got True"),
        ({"eta": float("nan")}, ValueError, "eta must be finite, got nan"),
        ({"eta": -1}, ValueError, r"eta must be in Interval\(0, oo\), got -1"),
        ({"eta": 1, "digits": 0}, ValueError, "digits must be at least 1, got 0"),
    ],
)
def test_a_bad_argument_of_a_bound_is_refused(values, error, says):
    with pytest.raises(error, match=says):
        specs.claim("S.tv").bounds[0].evaluate(**values)


def test_a_bound_that_is_zero_is_evaluated_too():
    assert specs.claim("S.tv").bounds[0].evaluate(eta=0).contains(0)


def test_enclosures_decide_a_sign_on_a_box_and_never_wrongly():
    box = {X: (Fraction(1, 8), Fraction(4))}
    assert nonnegative_on(sympy.exp(X) - 1 - X, box)
    assert not nonnegative_on(1 + X / 2 - sympy.exp(X) + X**2, {X: (Fraction(0), Fraction(4))})
    # Negative only near one point: no grid that misses it may decide.
    dip = (X - sympy.Rational(1234, 1000)) ** 2 - sympy.Rational(1, 10**6)
    assert not nonnegative_on(dip, box)


def test_a_box_lies_inside_the_domains():
    below_one = sympy.Interval.Ropen(0, 1)
    ((low, high),) = box_of({X: below_one}).values()
    assert 0 < low < high < 1


def test_a_limit_and_a_series_are_certified_at_three_points():
    bound = of("softmax_tv")
    found = limit(bound, bound.symbol("eta"), sympy.oo)
    assert found.standing is Standing.CERTIFIED
    assert "tends to 1" in found.statement
    found = series(bound, bound.symbol("eta"), sympy.Integer(0), 4)
    assert found.standing is Standing.CERTIFIED
    assert "-eta**3/24 + eta/2" in found.statement


def test_a_limit_that_takes_longer_than_is_given_is_not_decided():
    bound = of("softmax_tv")
    found = limit(bound, bound.symbol("eta"), sympy.oo, seconds=1e-3)
    assert found.standing is Standing.UNDECIDED


def test_the_graph_leads_from_a_program_to_the_axioms():
    below = graph.beneath("fastpath/real_heads/dropped_keys.py")
    kinds = {node.kind for edge in below for node in edge}
    assert kinds == set(graph.Kind)
    assert "claim R.drop -> r_drop, r_drop_output" in graph.text(below)
    assert graph.dot(below).count("->") == len(below)
    assert graph.svg(below).startswith("<svg")


def test_every_theorem_that_a_claim_names_is_in_the_graph():
    ends = {on.name for what, on in graph.edges() if what.kind is graph.Kind.CLAIM}
    files = {what.name for what, on in graph.edges() if on.kind is graph.Kind.FILE}
    assert ends <= files


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["monotone", "S.tw", "eta"], "no claim and no bound is called 'S.tw'"),
        (["monotone", "S.tv", "eta"], "S.tv has 2 bounds; name one: softmax_tv, hilbert_tv"),
        (["monotone", "softmax_tv", "n"], "softmax_tv has no symbol 'n'; its symbols are eta"),
        (["limit", "softmax_tv", "eta", "far"], "AT must be a number or oo, got 'far'"),
        (["limit", "softmax_tv", "eta", "oo", "--series", "2"], "--series must be at least 1"),
        (["limit", "softmax_tv", "eta", "0", "--seconds", "0"], "--seconds must be more than 0"),
        (["graph", "nobody"], "'nobody' is no claim and no program"),
        (["claims", "X"], "no claim's id begins with 'X'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(command, says, capsys):
    assert main(command) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.count("\n") == 1
    assert not told.out


def test_claims_are_listed(capsys):
    assert main(["claims", "S"]) == 0
    assert "S.tv  holds, proved: softmax_tv, hilbert_tv" in capsys.readouterr().out


# --------------------------------------------------------------------------------- with Coq


@pytest.mark.proofs
@pytest.mark.parametrize(
    ("name", "symbol", "direction"),
    [
        ("softmax_tv", "eta", Direction.RISES),
        ("hilbert_tv", "scale", Direction.RISES),
        ("softmax_range_upper", "n", Direction.FALLS),
        ("weights_output", "epsilon", Direction.RISES),
    ],
)
def test_a_bound_is_proved_to_rise_or_fall(name, symbol, direction):
    bound = of(name)
    found, finding = monotone(bound, bound.symbol(symbol))
    assert found is direction
    assert finding.standing is Standing.PROVED
    assert finding.goal.startswith("Goal forall")


@pytest.mark.proofs
@pytest.mark.parametrize(
    "expression",
    [X * (1 - X), X - 2 * sympy.sqrt(X), sympy.exp(X) - 2 * X, X / (1 + X**2), Y - X * Y + X],
)
def test_what_is_not_monotone_is_never_said_to_be(expression):
    direction, finding = monotone(formula(expression), X)
    assert direction is Direction.NEITHER
    assert finding.standing is Standing.UNDECIDED


@pytest.mark.proofs
def test_no_goal_is_closed_that_is_false():
    for lesser, greater in [
        (X, X**2),
        (sympy.exp(X), 1 + 2 * X),
        (X + 1, X),
        (sympy.tanh(X), X / 2),
    ]:
        assert not coq_goals.close(lesser, greater, {X: HALF_LINE})


@pytest.mark.proofs
def test_a_composition_is_the_outer_bound_at_the_inner_one():
    inner, outer = of("softmax_range_upper"), of("weights_tv")
    composed = compose(inner, outer, outer.symbol("epsilon"))
    assert composed.rests_on.standing is Standing.PROVED
    epsilon = inner.expression
    assert composed.formula.expression == epsilon / (1 + sympy.sqrt(1 - epsilon**2))
    assert composed.formula.provided == (epsilon < 1)


@pytest.mark.proofs
def test_what_falls_cannot_be_composed_nor_what_no_value_satisfies():
    outer = of("softmax_range_upper")
    with pytest.raises(ValueError, match="cannot take softmax_tv for n"):
        compose(of("softmax_tv"), outer, outer.symbol("n"))
    never = formula(X / 2, x=sympy.Interval.Ropen(0, 1))
    with pytest.raises(ValueError, match="never speaks where"):
        compose(formula(Y + 3), never, X)


@pytest.mark.proofs
def test_bounds_are_compared_everywhere_on_a_box_or_by_region():
    found = compare(of("softmax_tv"), of("softmax_ratio"))
    assert found.standing in (Standing.PROVED, Standing.CERTIFIED)
    assert found.statement.startswith("softmax_tv <= softmax_ratio")
    found = compare(formula(X**2), formula(X + 2))
    assert found.standing is Standing.CERTIFIED
    assert "exactly where" in found.statement
    assert "x <= 2" in found.statement


def composed(inner, outer, into):
    inner, outer = (f if isinstance(f, Formula) else of(f) for f in (inner, outer))
    found = compose(inner, outer, outer.symbol(into))
    assert found.rests_on.standing is Standing.PROVED
    return found.formula


def same(formula, expression):
    return sympy.simplify(formula - expression) == 0


@pytest.mark.proofs
def test_what_the_fast_path_relies_on_is_composed_of_its_claims():
    # A polynomial's relative error, of weights, to the error of an output: what a table of moments certifies.
    table = composed("taylor_relative", "weights_output", "epsilon").expression
    stored = of("error_output")
    names = {"degree": "doublings", "radius": "half_range"}
    renamed = {s: stored.symbol(names[s.name]) for s in table.free_symbols if s.name in names}
    assert same(table.subs(renamed), stored.expression)

    # What is dropped, to the output: what certified attention certifies, but for rounding.
    output = composed("dropped_mass", "dropped_keys_output", "share")
    assert same(output.expression - output.symbol("rounding"), of("dropped_output").expression)

    # A sketch's Gram matrix, to logits, to a row of weights, of which the l1 distance is twice the variation.
    row = composed("loewner_logit", "softmax_tv", "eta").expression
    assert same(2 * row, of("loewner_row").expression)

    # A row of a CountSketch that fails, to a median of rows, to any of n entries.
    entry = composed("recovery_row_failure", "recovery_failure", "row_failure").expression
    column = of("recovery_column_failure")
    assert same(column.symbol("n") * entry, column.expression)


@pytest.mark.proofs
def test_the_rounding_that_exact_attention_certifies_is_the_composed_bound_rounded_upward():
    weight = composed("rounding_logit", "rounding_weight", "logit_error")
    whole = composed(weight, "rounding_output", "weight_error")
    point = {
        "dimension": 64,
        "unit_roundoff": 2.0**-24,
        "logit_magnitude": 12.5,
        "tiny": 2.0**-126,
        "reach": 30.25,
        "exp_error": 6,
        "exponentials": 2,
        "spread": 3.5,
        "magnitude": 2.0,
        "quotient": -1.375,
        "terms": 300,
        "underflow": 2.0**-100,
    }

    def asked(bound, **more):
        return {s.name: (point | more)[s.name] for s in of(bound).domains}

    logit = generated.rounding_logit(**asked("rounding_logit"))
    theta = generated.rounding_weight(**asked("rounding_weight", logit_error=logit))
    used = generated.rounding_output(**asked("rounding_output", weight_error=theta))
    exact = evaluate(
        whole.expression,
        {
            s: int(point[s.name]) if s.is_integer else Fraction(point[s.name])
            for s in whole.expression.free_symbols
        },
        256,
    )
    lower, upper = (Fraction(end.item()) for end in exact.bounds())
    # Each operation is rounded upward, by a unit; what a library computes, by the four that it may err.
    operations = whole.expression.count_ops()
    assert upper <= Fraction(float(used)) <= lower * (1 + 4 * operations * Fraction(1, 2**52))
