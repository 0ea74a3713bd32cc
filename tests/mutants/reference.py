"""The reference: each term of each radius, each rounding that is counted, each guard, left out."""

from functools import partial

from tests.mutants.runner import Mutant

EXPONENTIAL = "tests/reference/test_exponential.py"
ENCLOSURE = "tests/reference/test_enclosure.py"
EXPRESSION = "tests/reference/test_expression.py"
TERMS = "tests/reference/test_terms.py"
PRODUCT = "tests/reference/test_regression.py::test_a_product_without_the_hessian_is_the_hessians"

_exponential = partial(Mutant, file="reference/arithmetic/exponential.py")
_elementary = partial(Mutant, file="reference/arithmetic/elementary.py")
_enclosure = partial(Mutant, file="reference/arithmetic/enclosure.py")
_balls = partial(Mutant, file="reference/arithmetic/balls.py")
_expression = partial(Mutant, file="reference/arithmetic/expression.py")
_regression = partial(Mutant, file="reference/regression.py")

_LENGTH = "range(work // reduction + 1, 0, -1)"

MUTANTS = (
    _regression(
        before="count.product(p.A1, U)",
        after="count.product(p.A1, 2 * U)",
        tests=PRODUCT,
        catches="the direction of X in a product with the Hessian",
    ),
    _regression(
        before=" - _row_dots(moved, mean, count)",
        after="",
        tests=PRODUCT,
        catches="the mean of a row's change of logits",
    ),
    _regression(
        before=" - _row_dots(R, moved_O, count)",
        after="",
        tests=PRODUCT,
        catches="the change of the outputs in a product with the Hessian",
    ),
    _exponential(
        before=_LENGTH,
        after="range(work // reduction, 0, -1)",
        tests=TERMS,
        catches="the last term of exp's series",
    ),
    _exponential(
        before=_LENGTH,
        after="range(work // reduction - 2, 0, -1)",
        tests=TERMS,
        catches="the last three terms of exp's series",
    ),
    _exponential(
        before="GUARD = 8 ",
        after="GUARD = 6 ",
        tests=TERMS,
        catches="two guard bits",
    ),
    _exponential(
        before="    return (t + (1 << (halvings + GUARD - 1))) >> (halvings + GUARD)",
        after="    return t >> (halvings + GUARD)",
        tests=TERMS,
        catches="the rounding of exp to nearest",
    ),
    _exponential(
        before="    if x < -(bits << bits):",
        after="    if x < -((3 * bits // 5) << bits):",
        tests=TERMS,
        catches="the reach of exp before it is zero",
    ),
    _exponential(
        before="    halvings = (-x >> bits).bit_length() + reduction",
        after="    halvings = reduction",
        tests=TERMS,
        catches="the halvings of a large argument",
    ),
    _exponential(
        before="    extra = 3 * ((x >> bits) + 1) + 2",
        after="    extra = 3 * ((x >> bits) + 1)",
        tests=TERMS,
        catches="two bits of the reciprocal",
    ),
    _exponential(
        before="    extra = 3 * ((x >> bits) + 1) + 2",
        after="    extra = 2 * ((x >> bits) + 1) + 2",
        tests=TERMS,
        catches="a third of the reciprocal's bits",
    ),
    _exponential(
        before="    return ((1 << (2 * bits + extra + 1)) // reciprocal + 1) >> 1",
        after="    return ((1 << (2 * bits + extra + 1)) // reciprocal) >> 1",
        tests=TERMS,
        catches="the rounding of a reciprocal to nearest",
    ),
    _exponential(
        before="        if abs(rho) <= 8:",
        after="        if abs(rho) <= 512:",
        tests=TERMS,
        catches="the last step of Newton",
    ),
    _exponential(
        before="            return (y + (1 << (GUARD - 1))) >> GUARD",
        after="            return y >> GUARD",
        tests=TERMS,
        catches="the rounding of the logarithm to nearest",
    ),
    _elementary(
        before="        return result, 1\n    top = max",
        after="        return result, 0\n    top = max",
        tests=TERMS,
        catches="the unit of exp's kernel where the radius is 0",
    ),
    _elementary(
        before="exp_real(top + radius, bits) - exp_real(top, bits) + 2",
        after="exp_real(top + radius, bits) - exp_real(top, bits)",
        tests=TERMS,
        catches="the units of the two kernels in exp's slope",
    ),
    _elementary(
        before="exp_real(top + radius, bits) - exp_real(top, bits) + 2\n    return result, slope_error + 1",
        after="exp_real(top + radius, bits) - exp_real(top, bits) + 2\n    return result, slope_error",
        tests=TERMS,
        catches="the unit of exp's kernel",
    ),
    _elementary(
        before="exp_real(top + radius, bits) - exp_real(top, bits) + 2",
        after="exp_real(top, bits) - exp_real(top - radius, bits) + 2",
        tests=TERMS,
        catches="that exp rises: its slope at the upper end",
    ),
    _elementary(
        before="        return result, 1\n    slope_error = log",
        after="        return result, 0\n    slope_error = log",
        tests=TERMS,
        catches="the unit of log's kernel where the radius is 0",
    ),
    _elementary(
        before="log_positive(least, bits) - log_positive(least - radius, bits) + 2",
        after="log_positive(least, bits) - log_positive(least - radius, bits)",
        tests=TERMS,
        catches="the units of the two kernels in log's slope",
    ),
    _elementary(
        before="log_positive(least - radius, bits) + 2\n    return result, slope_error + 1",
        after="log_positive(least - radius, bits) + 2\n    return result, slope_error",
        tests=TERMS,
        catches="the unit of log's kernel",
    ),
    _elementary(
        before="log_positive(least, bits) - log_positive(least - radius, bits) + 2",
        after="log_positive(least + radius, bits) - log_positive(least, bits) + 2",
        tests=TERMS,
        catches="that log falls to the left: its slope at the lower end",
    ),
    _elementary(
        before="    if least - radius <= 0:",
        after="    if least <= 0:",
        tests=TERMS,
        catches="the radius in log's domain",
    ),
    _elementary(
        before="    if least + radius < 0:",
        after="    if False:",
        tests=TERMS,
        catches="sqrt's domain",
    ),
    _elementary(
        before="    if radius == 0:\n        return result, 1",
        after="    if radius == 0:\n        return result, 0",
        tests=TERMS,
        catches="the floor of sqrt where the radius is 0",
    ),
    _elementary(
        before="isqrt(start << bits) + 1 - isqrt(end << bits)\n",
        after="isqrt(start << bits) - isqrt(end << bits)\n",
        tests=TERMS,
        catches="the floor in sqrt's slope",
    ),
    _elementary(
        before="isqrt(start << bits) + 1 - isqrt(end << bits)\n    return result, slope_error + 1",
        after="isqrt(start << bits) + 1 - isqrt(end << bits)\n    return result, slope_error",
        tests=TERMS,
        catches="the floor of sqrt",
    ),
    _elementary(
        before="if least >= radius else (radius, 0)",
        after="if True else (radius, 0)",
        tests=TERMS,
        catches="sqrt of a ball about zero",
    ),
    _elementary(
        before="radius + 3  # one",
        after="radius + 2  # one",
        tests=TERMS,
        catches="one unit of tanh",
    ),
    _elementary(
        before="radius + 3  # one",
        after="3  # one",
        tests=TERMS,
        catches="the radius in tanh",
    ),
    _enclosure(
        before="        return Enclosure(a.mid + b.mid, a.radius + b.radius, a.bits)",
        after="        return Enclosure(a.mid + b.mid, max(a.radius, b.radius), a.bits)",
        tests=TERMS,
        catches="the lesser radius of a sum",
    ),
    _enclosure(
        before="_largest(self.mid) * b.radius + _largest(b.mid) * self.radius + self.radius * b.radius",
        after="_largest(self.mid) * b.radius + _largest(b.mid) * self.radius",
        tests=TERMS,
        catches="ra rb in a product",
    ),
    _enclosure(
        before="_largest(self.mid) * b.radius + _largest(b.mid) * self.radius + self.radius * b.radius",
        after="_largest(b.mid) * self.radius + self.radius * b.radius",
        tests=TERMS,
        catches="|A| rb in a product",
    ),
    _enclosure(
        before="_largest(self.mid) * b.radius + _largest(b.mid) * self.radius + self.radius * b.radius",
        after="_largest(self.mid) * b.radius + self.radius * b.radius",
        tests=TERMS,
        catches="|B| ra in a product",
    ),
    _enclosure(
        before="            _largest(rows) * b.radius\n",
        after="            0\n",
        tests=f"{ENCLOSURE}::test_the_radius_of_a_matrix_product_is_attained",
        catches="|A| rb in a matrix product",
    ),
    _enclosure(
        before="            + _largest(columns) * self.radius\n",
        after="",
        tests=f"{ENCLOSURE}::test_the_radius_of_a_matrix_product_is_attained",
        catches="|B| ra in a matrix product",
    ),
    _enclosure(
        before="            + self.shape[-1] * self.radius * b.radius\n",
        after="",
        tests=f"{ENCLOSURE}::test_the_radius_of_a_matrix_product_is_attained",
        catches="n ra rb in a matrix product",
    ),
    _enclosure(
        before="            + self.shape[-1] * self.radius * b.radius\n",
        after="            + self.radius * b.radius\n",
        tests=f"{ENCLOSURE}::test_the_radius_of_a_matrix_product_is_attained",
        catches="the inner dimension in n ra rb",
    ),
    _enclosure(
        before="default=b.radius + 1) - b.radius\n",
        after="default=b.radius + 1)\n",
        tests=TERMS,
        catches="the radius in a denominator",
    ),
    _enclosure(
        before="        if least <= 0:\n            raise ZeroDivisionError",
        after="        if least < 0:\n            raise ZeroDivisionError",
        tests=TERMS,
        catches="a denominator that may be zero at the end of its ball",
    ),
    _enclosure(
        before="        error = (self.radius << up) + ((_largest(quotient) + 1) * b.radius << down)",
        after="        error = (self.radius << up) + (_largest(quotient) * b.radius << down)",
        tests=TERMS,
        catches="the unit that floors take from |A/B|",
    ),
    _enclosure(
        before="        error = (self.radius << up) + ((_largest(quotient) + 1) * b.radius << down)",
        after="        error = (_largest(quotient) + 1) * b.radius << down",
        tests=TERMS,
        catches="ra in a quotient",
    ),
    _enclosure(
        before="        error = (self.radius << up) + ((_largest(quotient) + 1) * b.radius << down)",
        after="        error = self.radius << up",
        tests=TERMS,
        catches="|A/B| rb in a quotient",
    ),
    _enclosure(
        before="        return Enclosure(quotient, -(-error // (least << down)) + 1, bits)",
        after="        return Enclosure(quotient, -(-error // (least << down)), bits)",
        tests=TERMS,
        catches="the floor of a quotient",
    ),
    _enclosure(
        before="        return Enclosure(quotient, -(-error // (least << down)) + 1, bits)",
        after="        return Enclosure(quotient, error // (least << down) + 1, bits)",
        tests=TERMS,
        catches="the rounding upward of a quotient's radius",
    ),
    _enclosure(
        before="        return Enclosure(total, self.radius * summands, self.bits)",
        after="        return Enclosure(total, self.radius * (summands - 1), self.bits)",
        tests=f"{ENCLOSURE}::test_the_radius_of_a_sum_is_attained",
        catches="one radius of a sum",
    ),
    _enclosure(
        before="np.maximum(a.mid, b.mid), max(a.radius, b.radius)",
        after="np.maximum(a.mid, b.mid), min(a.radius, b.radius)",
        tests=TERMS,
        catches="the larger radius of a maximum",
    ),
    _balls(
        before="        return type(self)(mid, -(-self.radius >> shift) + int(lost), bits)",
        after="        return type(self)(mid, -(-self.radius >> shift), bits)",
        tests=TERMS,
        catches="the floor of a midpoint",
    ),
    _balls(
        before="        return type(self)(mid, -(-self.radius >> shift) + int(lost), bits)",
        after="        return type(self)(mid, (self.radius >> shift) + int(lost), bits)",
        tests=TERMS,
        catches="the rounding upward of a radius",
    ),
    _balls(
        before="        return cls(mid, int(np.any(mid * units != scaled)), bits)",
        after="        return cls(mid, 0, bits)",
        tests=TERMS,
        catches="the floor of a number that does not fit",
    ),
    _balls(
        before="        within = np.asarray((distance + reach) * denominators <= allowed, dtype=bool)",
        after="        within = np.asarray(distance * denominators <= allowed, dtype=bool)",
        tests=f"{ENCLOSURE}::test_verdict_is_undecided_exactly_when_the_ball_straddles_the_bound",
        catches="the radius in WITHIN",
    ),
    _balls(
        before="        outside = np.asarray((distance - reach) * denominators > allowed, dtype=bool)",
        after="        outside = np.asarray(distance * denominators > allowed, dtype=bool)",
        tests=f"{ENCLOSURE}::test_verdict_is_undecided_exactly_when_the_ball_straddles_the_bound",
        catches="the radius in OUTSIDE",
    ),
    _balls(
        before="        outside |= np.asarray(allowed < 0, dtype=bool)",
        after="        outside |= np.asarray(allowed < allowed, dtype=bool)",
        tests=f"{ENCLOSURE}::test_no_distance_is_within_a_negative_bound",
        catches="that no distance is below a negative bound",
    ),
    _balls(
        before="        return np.asarray(distance <= a.radius * units, dtype=bool)",
        after="        return np.asarray(distance < a.radius * units, dtype=bool)",
        tests=f"{ENCLOSURE}::test_contains_reaches_to_the_very_end_of_the_ball_and_no_further",
        catches="the ends of a ball",
    ),
    _balls(
        before="        if self.radius < 0:",
        after="        if False:",
        tests=f"{ENCLOSURE}::test_numpy_integers_that_would_wrap_are_refused_as_fields",
        catches="that no radius is negative",
    ),
    _balls(
        before="        return _fraction(2 * self.radius, self.bits)",
        after="        return _fraction(self.radius, self.bits)",
        tests=f"{ENCLOSURE}::test_bounds_and_width_are_the_ends_of_the_balls",
        catches="half of the width",
    ),
    _balls(
        before="_fraction(top - self.radius, self.bits)",
        after="_fraction(top, self.bits)",
        tests=f"{ENCLOSURE}::test_the_largest_entry_is_enclosed",
        catches="the radius of the largest entry",
    ),
    _expression(
        before="            return value.at(max(value.bits, bits))",
        after="            return Enclosure(value.at(max(value.bits, bits)).mid, 0, max(value.bits, bits))",
        tests=f"{EXPRESSION}::test_enclosures_are_taken_with_their_radius",
        catches="the radius of a symbol's value",
    ),
    _expression(
        before="range(int(_rational(first, values)), int(_rational(last, values)) + 1)",
        after="range(int(_rational(first, values)), int(_rational(last, values)))",
        tests=f"{EXPRESSION}::test_each_node_encloses_the_truth_from_arb",
        catches="the last term of a sum",
    ),
    _expression(
        before="    if exponent.denominator > 2:",
        after="    if False:",
        tests=TERMS,
        catches="powers that are no half-integers",
    ),
    _expression(
        before="    if value.denominator != 1 or value < 0:",
        after="    if value.denominator != 1:",
        tests=f"{EXPRESSION}::test_a_binomial_coefficient_of_no_integers_is_refused",
        catches="binomials of negative numbers",
    ),
)
