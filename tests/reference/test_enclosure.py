"""Every operation encloses the exact result, for every truth in the balls, ends included."""

from fractions import Fraction
from operator import add, mul, sub, truediv
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import assume, given
from hypothesis import strategies as st

from reference import PRECISIONS, Enclosure, Verdict, decide
from reference.arithmetic.exact_numbers import ratios
from tests.reference.truth import (
    apply,
    balls,
    encloses,
    encloses_arb,
    fractions,
    plain_arrays,
    shapes,
    to_arb,
)

TRUTH_BITS = 2000  # of Arb: enough to tell balls of up to 200 bits with numbers up to e^64 apart


# Lifting


@given(plain_arrays())
def test_lifting_without_bits_is_exact(x):
    lifted = Enclosure.exact(x)
    assert lifted.radius == 0
    assert encloses(lifted, fractions(x))


@given(plain_arrays(), st.integers(-1100, 1100))
def test_lifting_to_given_bits_encloses_and_is_exact_if_all_bits_fit(x, bits):
    lifted = Enclosure.exact(x, bits)
    assert encloses(lifted, fractions(x))
    fits = all((f * Fraction(2) ** bits).denominator == 1 for f in fractions(x).ravel())
    assert lifted.radius == (0 if fits else 1)


@given(st.lists(st.fractions(), min_size=1, max_size=4), st.integers(0, 64))
def test_lifting_fractions_encloses(x, bits):
    assert encloses(Enclosure.exact(np.array(x, dtype=object), bits), x)


@given(plain_arrays())
def test_lifting_never_modifies_its_input(x):
    before = x.copy()
    Enclosure.exact(x, 3)
    assert x.tobytes() == before.tobytes()
    assert x.dtype == before.dtype


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, object])
def test_numbers_that_are_not_finite_are_refused_by_name(bad, dtype):
    with pytest.raises(ValueError, match=r"weights must be finite, got an entry -?(nan|inf)"):
        Enclosure.exact(np.array([1, bad], dtype=dtype), name="weights")


@pytest.mark.parametrize("bad", [True, "1", 1j, None, [None], [[1], ["2"]], np.longdouble(1)])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(TypeError, match="x must hold"):
        Enclosure.exact(bad)


def test_a_fraction_that_is_not_binary_needs_bits():
    with pytest.raises(ValueError, match="not binary: bits must be given"):
        Enclosure.exact(Fraction(1, 3))


def test_numpy_integers_that_would_wrap_are_refused_as_fields():
    with pytest.raises(TypeError, match="must be Python integers"):
        Enclosure(np.array([1]), np.int64(1), 0)
    with pytest.raises(TypeError, match="must be Python integers"):
        Enclosure(np.array([1.0]), 0, 0)
    with pytest.raises(ValueError, match="radius must be at least 0, got -1"):
        Enclosure(np.array([1]), -1, 0)


def test_an_enclosure_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        Enclosure.exact(np.ones(3)).mid[0] = 7


@given(balls(), st.integers(-300, 300))
def test_changing_the_bits_keeps_the_truth(ball, bits):
    enclosure, truth = ball
    assert encloses(enclosure.at(bits), truth)


@given(balls(), st.integers(0, 300))
def test_more_bits_cost_no_width(ball, more):
    enclosure, _ = ball
    assert enclosure.at(enclosure.bits + more).width() == enclosure.width()


# Arithmetic


@st.composite
def pairs(draw, **kwargs):
    """Two balls of shapes that broadcast."""
    left, right = draw(
        st.sampled_from(
            [
                ((), (2, 3)),
                ((2, 3), (2, 3)),
                ((2, 1), (1, 3)),
                ((3,), (2, 1)),
                ((), ()),
                ((1, 3), ()),
            ]
        )
    )
    return draw(balls(left)), draw(balls(right, **kwargs))


@given(pairs(), st.sampled_from([add, sub, mul]))
def test_sums_differences_and_products_enclose(pair, operation):
    (a, x), (b, y) = pair
    assert encloses(operation(a, b), operation(x, y))


@given(pairs(), st.sampled_from([add, sub]))
def test_sums_and_differences_round_nothing(pair, operation):
    (a, _), (b, _) = pair
    assert operation(a, b).width() == a.width() + b.width()


@given(pairs())
def test_the_result_has_the_finer_of_the_two_bits(pair):
    (a, _), (b, _) = pair
    for result in (a + b, a - b, a * b, a.maximum(b)):
        assert result.bits == max(a.bits, b.bits)


@given(pairs())
def test_quotients_enclose_or_are_refused(pair):
    (a, x), (b, y) = pair
    certified = all(abs(m) > b.radius for m in b.mid.ravel())
    if certified:
        assert encloses(a / b, x / y)
    else:
        with pytest.raises(ZeroDivisionError, match="precision is too low"):
            a / b


@given(pairs(least=Fraction(1, 2), most=40, bits=90), st.sampled_from([1, -1]))
def test_quotients_by_certified_denominators_of_either_sign_enclose(pair, sign):
    (a, x), (b, y) = pair
    assume(min(b.mid.ravel()) > b.radius)
    assert encloses(a / (b * sign), x / (y * sign))


@st.composite
def factors(draw):
    """Two matrices, or a matrix and a vector, that multiply."""
    left, right = draw(
        st.sampled_from(
            [((2, 3), (3, 2)), ((1, 4), (4, 1)), ((3, 1), (1, 2)), ((4,), (4,)), ((2, 3), (3,))]
        )
    )
    return draw(balls(left)), draw(balls(right))


@given(factors())
def test_matrix_products_enclose(pair):
    (a, x), (b, y) = pair
    assert encloses(a @ b, x @ y)
    assert (a @ b).bits == max(a.bits, b.bits)


@given(factors())
def test_dot_encloses_and_is_exact_for_exact_factors(pair):
    (a, x), (b, y) = pair
    assert encloses(a.dot(b), x @ y)
    assert Enclosure(a.mid, 0, a.bits).dot(Enclosure(b.mid, 0, b.bits)).radius == 0


def test_the_radius_of_a_matrix_product_is_attained():
    """Catches a radius that forgets a row, a column, or the product of the two radii."""
    a = Enclosure(np.array([[5, 1], [2, 2]]), 1, 0)
    b = Enclosure(np.array([[1, 7], [3, 4]]), 2, 0)
    assert a.dot(b).radius == 6 * 2 + 11 * 1 + 2 * 1 * 2
    extreme = [[(5 + 1) * (7 + 2) + (1 + 1) * (4 + 2)]]
    assert a.dot(b).contains(extreme)[0, 1]
    assert not a.dot(b).contains(np.array(extreme) + 1)[0, 1]


def test_a_matrix_product_with_no_inner_dimension_is_zero():
    product = Enclosure.exact(np.ones((2, 0))) @ Enclosure.exact(np.ones((0, 3)))
    assert encloses(product, fractions(np.zeros((2, 3))))


@given(balls(), plain_arrays(shape=()), st.sampled_from([add, sub, mul, truediv]), st.booleans())
def test_plain_numbers_may_stand_on_either_side(ball, plain, operation, left):
    enclosure, truth = ball
    value = Fraction(plain.item())
    a, b = (plain, enclosure) if left else (enclosure, plain)
    x, y = (value, truth) if left else (truth, value)
    if operation is truediv and any(abs(m) <= enclosure.radius for m in enclosure.mid.ravel()):
        assume(not left)
    assume(operation is not truediv or left or value)
    assert encloses(operation(a, b), operation(x, y))


@given(balls((2, 3)), plain_arrays((2, 2)), plain_arrays((3, 2)))
def test_plain_matrices_may_stand_on_either_side(ball, left, right):
    enclosure, truth = ball
    assert encloses(left @ enclosure, fractions(left) @ truth)
    assert encloses(enclosure @ right, truth @ fractions(right))


@given(balls(), st.fractions())
def test_fractions_may_be_added_and_multiplied(ball, fraction):
    enclosure, truth = ball
    assert encloses(enclosure + fraction, truth + fraction)
    assert encloses(fraction * enclosure, fraction * truth)


@given(balls(), st.integers(0, 6))
def test_powers_enclose(ball, exponent):
    enclosure, truth = ball
    assert encloses(enclosure**exponent, apply(lambda t: t**exponent, truth))


@given(balls(least=1, most=9, bits=70), st.integers(-5, -1))
def test_negative_powers_enclose_or_are_refused(ball, exponent):
    enclosure, truth = ball
    try:
        power = enclosure**exponent
    except ZeroDivisionError:
        assume(False)
    assert encloses(power, apply(lambda t: t**exponent, truth))


@given(balls())
def test_negation_and_absolute_value_enclose(ball):
    enclosure, truth = ball
    assert encloses(-enclosure, -truth)
    assert encloses(abs(enclosure), abs(truth))


# Shape, reductions and maxima


@given(balls((2, 3)), st.sampled_from([None, 0, 1, -1, (0, 1)]), st.booleans())
def test_sums_maxima_and_minima_over_an_axis_enclose(ball, axis, keepdims):
    enclosure, truth = ball
    for reduced, exact in [
        (enclosure.sum(axis, keepdims), truth.sum(axis=axis, keepdims=keepdims)),
        (enclosure.max(axis, keepdims), truth.max(axis=axis, keepdims=keepdims)),
        (enclosure.min(axis, keepdims), truth.min(axis=axis, keepdims=keepdims)),
    ]:
        assert encloses(reduced, exact)


@pytest.mark.parametrize(("axis", "summands"), [(None, 6), (0, 2), (1, 3)])
def test_the_radius_of_a_sum_is_attained(axis, summands):
    ones = Enclosure(np.ones((2, 3), dtype=int), 5, 0)
    assert ones.sum(axis).radius == 5 * summands


@given(pairs())
def test_entrywise_maxima_and_minima_enclose(pair):
    (a, x), (b, y) = pair
    assert encloses(a.maximum(b), np.maximum(x, y))
    assert encloses(a.minimum(b), np.minimum(x, y))


@given(balls((2, 3)))
def test_transpose_index_and_reshape_follow_numpy(ball):
    enclosure, truth = ball
    assert encloses(enclosure.T, truth.T)
    assert encloses(enclosure[1], truth[1])
    assert encloses(enclosure[:, [2, 0]], truth[:, [2, 0]])
    assert encloses(enclosure[1, 2], truth[1, 2])
    assert encloses(enclosure.reshape(3, -1), truth.reshape(3, -1))
    assert len(enclosure) == 2
    assert enclosure.ndim == 2


# Elementary functions


@given(balls(most=64))
def test_exp_encloses(ball):
    enclosure, truth = ball
    assume(max(enclosure.mid.ravel()) + enclosure.radius <= 2000 * 2.0**enclosure.bits)
    with ctx.workprec(2 * TRUTH_BITS):
        assert encloses_arb(enclosure.exp(), apply(arb.exp, to_arb(truth)))


@given(balls(bits=100))
def test_tanh_encloses(ball):
    enclosure, truth = ball
    with ctx.workprec(TRUTH_BITS):
        assert encloses_arb(enclosure.tanh(), apply(arb.tanh, to_arb(truth)))


@given(balls(least=Fraction(1, 1 << 40), bits=90) | balls(least=4, bits=0))
def test_log_encloses_or_is_refused(ball):
    enclosure, truth = ball
    if min(enclosure.mid.ravel()) <= enclosure.radius:
        with pytest.raises(ArithmeticError, match="not certified positive"):
            enclosure.log()
    else:
        with ctx.workprec(TRUTH_BITS):
            assert encloses_arb(enclosure.log(), apply(arb.log, to_arb(truth)))


@given(balls(least=0))
def test_sqrt_encloses(ball):
    enclosure, truth = ball
    root = enclosure.sqrt()
    lower, upper = root.bounds()
    assert root.shape == truth.shape
    for low, high, t in zip(lower.ravel(), upper.ravel(), truth.ravel(), strict=True):
        assert low <= 0 or low * low <= t
        assert high >= 0
        assert t <= high * high


def test_sqrt_of_a_ball_about_a_negative_midpoint_encloses():
    """Catches a radius that counts from a clipped midpoint: −1 ± 3 reaches 2."""
    root = Enclosure(np.array([-1, 100]), 3, 0).sqrt()
    lower, upper = root.bounds()
    assert lower[0] <= 0
    assert upper[0] ** 2 >= 2


def test_functions_outside_their_domain_are_refused():
    with pytest.raises(ArithmeticError, match="certified negative"):
        Enclosure(np.array([-4]), 3, 0).sqrt()
    with pytest.raises(ArithmeticError, match="not certified positive"):
        Enclosure.exact(0.0).log()
    with pytest.raises(OverflowError, match="above 65536"):
        Enclosure.exact(1e6).exp()
    with pytest.raises(TypeError, match=r"exponent must be an int, got 0\.5"):
        Enclosure.exact(2.0) ** 0.5
    with pytest.raises(ValueError, match="got a scalar"):
        Enclosure.exact(2.0) @ np.ones(3)


# Questions


@given(balls(), st.data())
def test_contains_is_the_definition(ball, data):
    enclosure, truth = ball
    assert enclosure.contains(truth).all()
    x = apply(
        lambda t: t + data.draw(st.sampled_from([-2, -1, 0, 1, 2])) * enclosure.width(), truth
    )
    x = apply(lambda t: t + data.draw(st.fractions(-1, 1)) * Fraction(2) ** -enclosure.bits, x)
    each = apply(lambda index: encloses(enclosure[index], x[index]), indices(enclosure.shape))
    assert (enclosure.contains(x) == each.astype(bool)).all()


def indices(shape):
    """The object array of its own index tuples."""
    result = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        result[index] = index
    return result


@pytest.mark.parametrize("bits", [-3, 0, 5, 200])
def test_contains_reaches_to_the_very_end_of_the_ball_and_no_further(bits):
    ball = Enclosure(np.array([10, -10]), 3, bits)
    unit = Fraction(2) ** -bits
    for end in (3, -3):
        assert ball.contains([(10 + end) * unit, (-10 + end) * unit]).all()
        beyond = end * (1 + Fraction(1, 10**40))
        assert not ball.contains([(10 + beyond) * unit, (-10 + beyond) * unit]).any()


@given(balls())
def test_bounds_and_width_are_the_ends_of_the_balls(ball):
    enclosure, truth = ball
    lower, upper = enclosure.bounds()
    assert (lower <= truth).all()
    assert (truth <= upper).all()
    assert all(
        high - low == enclosure.width() for low, high in zip(lower.flat, upper.flat, strict=True)
    )
    assert enclosure.contains(lower).all()
    assert enclosure.contains(upper).all()


@given(balls())
def test_the_largest_entry_is_enclosed(ball):
    enclosure, truth = ball
    lower, upper = enclosure.largest()
    assert lower <= max(truth.ravel()) <= upper
    assert upper - lower == enclosure.width()


@given(balls(bits=60), plain_arrays(shape=()))
def test_distance_encloses_with_the_same_radius(ball, x):
    enclosure, truth = ball
    distance = enclosure.distance(x)
    assert encloses(distance, abs(truth - Fraction(x.item())))
    assert distance.width() == enclosure.width()


@given(balls((2, 3)))
def test_the_midpoint_as_float_is_correctly_rounded(ball):
    enclosure, _ = ball
    unit = Fraction(2) ** -enclosure.bits
    nearest = enclosure.midpoint()
    assert nearest.dtype == np.float64
    for m, f in zip(enclosure.mid.ravel(), nearest.ravel(), strict=True):
        neighbours = (np.nextafter(f, np.inf), np.nextafter(f, -np.inf))
        errors = [abs(m * unit - Fraction(float(g))) for g in (f, *neighbours)]
        assert errors[0] == min(errors)


# Verdicts


@given(balls(), st.data())
def test_verdict_is_decided_by_the_ends_of_the_ball(ball, data):
    enclosure, truth = ball
    unit = Fraction(2) ** -enclosure.bits
    offset = data.draw(st.fractions(-3, 3)) * max(enclosure.radius, 1) * unit
    x = apply(lambda t: t + offset, truth)
    expected, bounds = (
        np.empty(enclosure.shape, dtype=object),
        np.empty(enclosure.shape, dtype=object),
    )
    for index in np.ndindex(enclosure.shape):
        centre = abs(x[index] - enclosure.mid[index] * unit)
        farthest = centre + enclosure.radius * unit
        nearest = max(centre - enclosure.radius * unit, Fraction(0))
        # At the two ends themselves, just beside them, and anywhere.
        bound = data.draw(st.sampled_from([farthest, nearest, (farthest + nearest) / 2]))
        bound += data.draw(st.sampled_from([-1, 0, 1])) * Fraction(1, 10**60)
        bounds[index] = bound
        if farthest <= bound:
            expected[index] = Verdict.WITHIN
        elif nearest > bound:
            expected[index] = Verdict.OUTSIDE
        else:
            expected[index] = Verdict.UNDECIDED
    assert enclosure.verdict(x, bounds).tolist() == expected.tolist()


@pytest.mark.parametrize("bits", [-4, 0, 30])
def test_verdict_is_undecided_exactly_when_the_ball_straddles_the_bound(bits):
    unit = Fraction(2) ** -bits
    ball = Enclosure(100, 5, bits)  # x = 0: the distance is 95 to 105 units
    least = Fraction(1, 10**30)
    assert ball.verdict(0.0, 105 * unit) == Verdict.WITHIN
    assert ball.verdict(0.0, 105 * unit - least) == Verdict.UNDECIDED
    assert ball.verdict(0.0, 95 * unit) == Verdict.UNDECIDED
    assert ball.verdict(0.0, 95 * unit - least) == Verdict.OUTSIDE


def test_no_distance_is_within_a_negative_bound():
    assert Enclosure(0, 5, 0).verdict(0, -1) == Verdict.OUTSIDE


def test_x_and_bound_broadcast():
    ball = Enclosure.exact(np.array([[1.0, 2.0], [3.0, 4.0]]))
    verdicts = ball.verdict(np.array([1.0, 2.0]), np.array([[0.0], [1.5]]))
    assert verdicts.tolist() == [[Verdict.WITHIN] * 2, [Verdict.OUTSIDE] * 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_verdict_and_contains_refuse_numbers_that_are_not_finite(bad):
    ball = Enclosure.exact(np.ones(2))
    with pytest.raises(ValueError, match="bound must be finite"):
        ball.verdict(np.ones(2), bad)
    with pytest.raises(ValueError, match="x must be finite"):
        ball.verdict([1, bad], 0)
    with pytest.raises(ValueError, match="x must be finite"):
        ball.contains([1, bad])


@given(st.lists(st.sampled_from(Verdict)))
def test_one_outside_makes_all_outside_and_one_undecided_the_rest_undecided(verdicts):
    combined = Verdict.combine(verdicts)
    assert (combined is Verdict.OUTSIDE) == (Verdict.OUTSIDE in verdicts)
    assert (combined is Verdict.WITHIN) == (set(verdicts) <= {Verdict.WITHIN})


def test_verdicts_of_a_generator_combine_like_those_of_a_list():
    assert Verdict.combine(v for v in [Verdict.WITHIN, Verdict.OUTSIDE]) is Verdict.OUTSIDE


def test_verdicts_of_an_array_combine_in_any_shape():
    assert Verdict.combine(Verdict.UNDECIDED) is Verdict.UNDECIDED
    verdicts = np.array([[Verdict.WITHIN, Verdict.OUTSIDE]], dtype=object)
    assert Verdict.combine(verdicts) is Verdict.OUTSIDE


def test_decide_raises_the_precision_until_nothing_is_undecided():
    asked = []

    def a_third(bits):
        asked.append(bits)
        return Enclosure.exact(Fraction(1, 3), bits)

    # 1/3 is 2^-200/3 above this, which 128 bits cannot tell from 2^-200/2.
    x = Fraction((1 << 200) // 3, 1 << 200)
    verdict, enclosure = decide(a_third, x, Fraction(1, 2**201))
    assert verdict is Verdict.WITHIN
    assert asked == [128, 256]
    assert enclosure.bits == 256


def test_decide_reports_undecided_only_at_the_end():
    asked = []

    def never(bits):
        asked.append(bits)
        return Enclosure(0, 1, bits)

    assert decide(never, 0, 0)[0] is Verdict.UNDECIDED
    assert asked == list(PRECISIONS)
    with pytest.raises(ValueError, match="at least one precision"):
        decide(never, 0, 0, precisions=[])


@given(shapes())
def test_an_enclosure_of_many_entries_says_its_shape(shape):
    shape = (*shape, 7)
    text = repr(Enclosure.exact(np.zeros(shape), 9))
    few = np.prod(shape) <= 6
    assert text == (
        "Enclosure([] ± 0.0e+00)" if few else f"Enclosure(shape={shape}, bits=9, radius=0)"
    )


def test_an_enclosure_of_few_entries_shows_them():
    assert repr(Enclosure.exact(np.array([1.5, -2.25]))) == "Enclosure([1.5, -2.25] ± 0.0e+00)"
    third = repr(Enclosure.exact(Fraction(1, 3), 40))
    assert third == "Enclosure(0.333333333333 ± 9.1e-13)"


@pytest.mark.parametrize(
    "x",
    [
        np.ma.masked_less(np.eye(2), 1),
        [np.ma.ones(2), np.ones(2)],
        [[np.ma.masked, 1.0]],
        [[True, 0.5]],
        [["1", 0.5]],
        [[np.longdouble(1), 0.5]],
    ],
)
def test_what_numpy_would_drop_or_convert_unsaid_is_refused(x: Any) -> None:
    with pytest.raises(TypeError, match="X must"):
        ratios(x, "X")


def test_integers_beside_floats_are_not_rounded() -> None:
    numerators, denominators = ratios([[2**53 + 1, 0.5], [np.int64(3), np.float32(0.25)]], "X")
    assert numerators.tolist() == [[2**53 + 1, 1], [3, 1]]
    assert denominators.tolist() == [[1, 2], [1, 4]]
