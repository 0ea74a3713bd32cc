"""Polynomial attention: each term of its certificates and each guard, left out."""

from functools import partial

from tests.mutants.runner import Mutant

TERMS = "tests/fastpath/polynomial/test_polynomial_terms.py"
CONFORMANCE = "tests/fastpath/polynomial/test_polynomial_enclosed.py"
PROPERTIES = "tests/fastpath/polynomial/test_polynomial.py"

CERTIFICATE = f"{TERMS}::test_the_certificate_is_the_claims_bound_term_by_term"
CLAIM = f"{CONFORMANCE}::test_the_rounding_in_a_certificate_is_the_claims_bound"
VARIATIONS = f"{CONFORMANCE}::test_the_total_variations_bound_those_of_exact_kappa_closely"

_moments = partial(Mutant, file="fastpath/polynomial/moments.py")
_minimax = partial(Mutant, file="fastpath/polynomial/minimax.py")
_polynomial = partial(Mutant, file="fastpath/polynomial/attention.py")

MUTANTS = (
    _moments(
        before="    return 2 * degree + min(count, columns) + -(-count // columns)",
        after="    return min(count, columns) + -(-count // columns)",
        tests=CLAIM,
        catches="the roundings of centring and of powers",
    ),
    _moments(
        before="    return 2 * degree + min(count, columns) + -(-count // columns)",
        after="    return 2 * degree + -(-count // columns)",
        tests=CLAIM,
        catches="the additions within a block of moments",
    ),
    _moments(
        before="    return 2 * degree + min(count, columns) + -(-count // columns)",
        after="    return 2 * degree + min(count, columns)",
        tests=CLAIM,
        catches="the additions of blocks of moments",
    ),
    _moments(
        before="    return 3 * degree + 5 + summands(d, degree)",
        after="    return 3 * degree + summands(d, degree)",
        tests=CLAIM,
        catches="the constant number of roundings of a query",
    ),
    _moments(
        before="    return 3 * degree + 5 + summands(d, degree)",
        after="    return 5 + summands(d, degree)",
        tests=CLAIM,
        catches="the roundings of a query's monomial",
    ),
    _moments(
        before="    return 3 * degree + 5 + summands(d, degree)",
        after="    return 3 * degree + 5",
        tests=CLAIM,
        catches="the sums over monomials",
    ),
    _moments(
        before="            roundings=max(self.roundings, other.roundings) + 1,",
        after="            roundings=max(self.roundings, other.roundings),",
        tests=f"{CONFORMANCE}::test_merges_and_moves_are_counted",
        catches="the addition of a merge",
    ),
    _moments(
        before="            roundings=self.roundings + 3 * self.degree * self.d,",
        after="            roundings=self.roundings + self.degree * self.d,",
        tests=f"{CONFORMANCE}::test_merges_and_moves_are_counted",
        catches="two roundings in three of a move",
    ),
    _moments(
        before="            moved=float(up(self.moved + _moved(shift))),",
        after="            moved=_moved(shift),",
        tests=f"{CONFORMANCE}::test_merges_and_moves_are_counted",
        catches="earlier moves",
    ),
    _moments(
        before="            reach = float(up(largest + 2 * up(longest * up(moved / ranges.key_unit))))",
        after="            reach = largest",
        tests=f"{CONFORMANCE}::test_merges_and_moves_are_counted",
        catches="the moves in the reach",
    ),
    _moments(
        before='(ARITHMETIC["float32"]["unit_roundoff"] if dtype == np.float32 else 0)',
        after="0",
        tests=CERTIFICATE,
        catches="the rounding of the output to float32",
    ),
    _moments(
        before="        moments_output(1.0, roundings * UNIT_ROUNDOFF, amplification, 0.0, 1.0, output, 0.0)",
        after="        moments_output(1.0, UNIT_ROUNDOFF, amplification, 0.0, 1.0, output, 0.0)",
        tests=CERTIFICATE,
        catches="all roundings but one",
    ),
    _moments(
        before="        moments_output(1.0, roundings * UNIT_ROUNDOFF, amplification, 0.0, 1.0, output, 0.0)",
        after="        moments_output(1.0, roundings * UNIT_ROUNDOFF, 1.0, 0.0, 1.0, output, 0.0)",
        tests=CERTIFICATE,
        catches="what rounding is relative to",
    ),
    _moments(
        before="bound + up(up(magnitude * rounding) + ARITHMETIC",
        after="bound + up(0 * magnitude + ARITHMETIC",
        tests=CERTIFICATE,
        catches="all rounding",
    ),
    _moments(
        before='up(up(magnitude * rounding) + ARITHMETIC[self._dtype.name]["tiny"])',
        after="up(magnitude * rounding)",
        tests=f"{TERMS}::test_subnormal_averages_err_by_half_of_the_smallest_number",
        catches="the underflow of the output",
    ),
    _moments(
        before="        bound = up(self._polynomial.total_variation_within(logit_bounds) * spread)",
        after="        bound = 0 * self._polynomial.total_variation_within(logit_bounds) * spread",
        tests=CERTIFICATE,
        catches="the polynomial's own error",
    ),
    _moments(
        before="        spread = up(value_high - value_low)\n        # The",
        after="        spread = value_high\n        # The",
        tests=CERTIFICATE,
        catches="the spread of the values",
    ),
    _moments(
        before="    if not least > 0:\n        return np.inf",
        after="    if False:\n        return np.inf",
        tests=f"{TERMS}::test_a_denominator_that_may_vanish_certifies_nothing",
        catches="the test that the denominator is positive",
    ),
    _moments(
        before="    least = float(down(polynomial.lowest * down(1 - rounding)))",
        after="    least = polynomial.lowest",
        tests=f"{TERMS}::test_the_error_known_beforehand_covers_a_denominator_that_rounds",
        catches="the rounding of the denominator beforehand",
    ),
    _moments(
        before='    return float(up(bound + ARITHMETIC[dtype.name]["tiny"]))',
        after="    return float(bound)",
        tests=f"{TERMS}::test_the_error_known_beforehand_covers_a_denominator_that_rounds",
        catches="the underflow of the output beforehand",
    ),
    _moments(
        before="        if not furthest <= LARGEST_KEY:",
        after="        if False:",
        tests=f"{PROPERTIES}::test_entries_too_large_to_scale_are_refused",
        catches="the limit on keys",
    ),
    _moments(
        before="        if not magnitude.max() <= LARGEST_VALUE:",
        after="        if False:",
        tests=f"{PROPERTIES}::test_entries_too_large_to_scale_are_refused",
        catches="the limit on values",
    ),
    _minimax(
        before="kappa_grid(top, np.maximum(bottom, 0.0), curvature, step)",
        after="kappa_grid(top, np.maximum(bottom, 0.0), 0.0, step)",
        tests=VARIATIONS,
        catches="the curvature between grid points",
    ),
    _minimax(
        before="    error = grid_value_error(absolute, roundings, UNIT_ROUNDOFF)\n",
        after="    error = 0 * grid_value_error(absolute, roundings, UNIT_ROUNDOFF)\n",
        tests=f"{CONFORMANCE}::test_the_rounding_of_a_value_on_the_grid_is_the_claims_bound",
        catches="the rounding of a value on the grid",
    ),
    _minimax(
        before="    error = up(error + up(_horner(np.abs(x), rounding) * library_up(decay)))\n",
        after="",
        tests=f"{TERMS}::test_derivatives_on_the_grid_err_by_their_coefficients",
        catches="the rounding of a derivative's coefficients",
    ),
    _minimax(
        before="    roundings = 4 * len(coefficients) + 40",
        after="    roundings = 1",
        tests=f"{CONFORMANCE}::test_the_rounding_of_a_value_on_the_grid_is_the_claims_bound",
        catches="the roundings of Horner's rule",
    ),
    _minimax(
        before="grid_curvature(max(high.max(), -low.min()), curvature, step)",
        after="grid_curvature(high.max(), curvature, step)",
        tests=f"{TERMS}::test_the_curvature_is_bounded_between_grid_points",
        catches="negative curvature",
    ),
    _minimax(
        before="    curvature = up(largest * library_up(math.exp(radius)))",
        after="    curvature = largest",
        tests=f"{TERMS}"
        "::test_each_derivative_bounds_the_last_and_the_sixth_is_bounded_by_its_coefficients",
        catches="the growth of e^-x in the sixth derivative",
    ),
    _minimax(
        before="up(logit_bounds * up(CELLS / self.radius)).astype(np.intp) + 1",
        after="up(logit_bounds * up(CELLS / self.radius)).astype(np.intp)",
        tests=CERTIFICATE,
        catches="the cell that a logit bound lies in",
    ),
    _minimax(
        before="down(bottom[-1] - up(curvature * up(step * step)))",
        after="down(bottom[-1] + step)",
        tests=f"{CONFORMANCE}::test_the_lowest_value_is_below_the_polynomial",
        catches="that the lowest value lies below the grid's",
    ),
    _polynomial(
        before="    if not queries.reach <= LARGEST_REACH:",
        after="    if False:",
        tests=f"{PROPERTIES}::test_logits_that_float64_cannot_serve_are_refused_for_rounding",
        catches="the limit on the reach",
    ),
    _polynomial(
        before="sum_roundings(degree, count, CAUSAL_BLOCK) + (d + 1) * degree + 1",
        after="sum_roundings(degree, count, CAUSAL_BLOCK)",
        tests=f"{TERMS}::test_a_causal_rows_own_keys_are_counted",
        catches="the roundings of keys taken one by one",
    ),
    _moments(
        before="        return self.reach <= LARGEST_REACH and (",
        after="        return bool(",
        tests=f"{TERMS}::test_logits_beyond_the_reach_are_out_of_range_at_any_degree",
        catches="the limit on the reach at a degree",
    ),
    _moments(
        before="self.farthest <= 1 or degree * log2(self.farthest) <= log2(LARGEST_POWER)",
        after="True",
        tests=f"{PROPERTIES}"
        "::test_powers_of_queries_that_overflow_are_refused_however_small_the_logits",
        catches="the limit on powers of queries",
    ),
)
