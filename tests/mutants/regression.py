"""Attention regression: each term of its certificate, each guard, and what ends a search, left out."""

from functools import partial

from tests.mutants.runner import Mutant

CONFORMANCE = "tests/fastpath/regression/test_regression_enclosed.py"
PROPERTIES = "tests/fastpath/regression/test_regression.py"
EXTREMES = "tests/fastpath/regression/test_regression_extremes.py"
TERMS = "tests/fastpath/regression/test_regression_terms.py"
STEPS = "tests/fastpath/regression/test_gradient_steps.py"

TAKEN_OFF = (
    f"{CONFORMANCE}::test_whatever_rounding_may_have_done_is_taken_off_the_certified_numbers"
)
PROMISED = f"{STEPS}::test_whatever_may_be_worse_than_at_the_start_is_in_the_promise"
COUNTED = f"{CONFORMANCE}::test_no_term_passes_through_more_roundings_than_are_counted"
BASIS = f"{CONFORMANCE}::test_the_basis_balances_the_hessian_and_says_what_it_stretches_and_rounds"
SIZES = f"{TERMS}::test_every_size_is_at_least_what_it_bounds"
LIPSCHITZ = f"{TERMS}::test_the_lipschitz_constant_is_that_of_the_claim_for_the_sizes"

_certificate = partial(Mutant, file="fastpath/regression/certificate.py")
_cg = partial(Mutant, file="fastpath/regression/newton_cg.py")
_gradient = partial(Mutant, file="fastpath/regression/gradient.py")
_plain = partial(Mutant, file="fastpath/regression/plain_steps.py")
_model = partial(Mutant, file="fastpath/regression/model.py")
_units = partial(Mutant, file="fastpath/regression/units.py")
_solve = partial(Mutant, file="fastpath/regression/attention_regression.py")

STARTS = "tests/fastpath/regression/test_regression.py"

MUTANTS = (
    # ----------------------------------------------------------------------- what is certified
    _certificate(
        before="below(least_eigenvalue(H) - sizes.hessian_error())",
        after="below(least_eigenvalue(H))",
        tests=TAKEN_OFF,
        catches="the Hessian's rounding",
    ),
    _certificate(
        before="up(norm(_narrow(gradient)) + error)",
        after="up(norm(_narrow(gradient)))",
        tests=TAKEN_OFF,
        catches="the gradient's rounding",
    ),
    _certificate(
        before="        exponent = int(np.frexp(row_norm)[1])\n",
        after="        exponent = 0\n",
        tests=f"{TERMS}::test_a_deviation_is_that_of_keys_whose_weighted_squares_underflow",
        catches="the unit in which covariances do not underflow",
    ),
    _certificate(
        before="basis.gradient_norm(gradient) + up(basis.stretch * error)",
        after="basis.gradient_norm(gradient)",
        tests=TAKEN_OFF,
        catches="the gradient's rounding where features are orthogonal",
    ),
    _certificate(
        before="    lost = up(up(up(basis.stretch * basis.stretch) * sizes.hessian_error()) + basis.lost)",
        after="    lost = basis.lost",
        tests=TAKEN_OFF,
        catches="the Hessian's rounding where features are orthogonal",
    ),
    _certificate(
        before="* sizes.hessian_error()) + basis.lost)",
        after="* sizes.hessian_error()))",
        tests=TAKEN_OFF,
        catches="what the change of basis rounds",
    ),
    _certificate(
        before="        distance = float(up(2 * there_norm / there_curvature))\n",
        after="        distance = 0.0\n",
        tests=TAKEN_OFF,
        catches="the ball in which the Hessian may change",
    ),
    _certificate(
        before="    if not h < 0.5:\n",
        after="    if not h < np.inf:\n",
        tests=f"{CONFORMANCE}::test_h_of_one_half_is_where_certificates_end",
        catches="Kantorovich's condition",
    ),
    _certificate(
        before="    if not curvature > 0:\n",
        after="    if False:\n",
        tests=f"{CONFORMANCE}::test_a_saddle_has_no_certificate",
        catches="that the Hessian is positive definite",
    ),
    # ------------------------------------------------------------------------ what is promised
    _certificate(
        before="below(least - moved)",
        after="below(least)",
        tests=PROMISED,
        catches="how much less the least eigenvalue may be at the critical point",
    ),
    _certificate(
        before="up(up(sizes.hessian_error() - least_eigenvalue(-H)) + moved)",
        after="up(sizes.hessian_error() - least_eigenvalue(-H))",
        tests=PROMISED,
        catches="how much more the largest eigenvalue may be at the critical point",
    ),
    _certificate(
        before="up(up(sizes.hessian_error() - least_eigenvalue(-H)) + moved)",
        after="up(-least_eigenvalue(-H) + moved)",
        tests=PROMISED,
        catches="the Hessian's rounding in the rate",
    ),
    _certificate(
        before="sizes.lipschitz(float(up(2 * distance)), _Unchanged(len(here.Y)))",
        after="sizes.lipschitz(float(up(distance)), _Unchanged(len(here.Y)))",
        tests=PROMISED,
        catches="that the ball is around the critical point",
    ),
    _certificate(
        before="        steps=int(np.floor(steps)) + 1,\n",
        after="        steps=int(np.floor(steps)),\n",
        tests=PROMISED,
        catches="the step after the last that may be as far",
    ),
    _certificate(
        before="    if not moved < least:\n",
        after="    if False:\n",
        tests=f"{STEPS}::test_a_start_that_may_lie_beyond_the_basin_is_told_so",
        catches="that a start lies in the basin",
    ),
    # ---------------------------------------------------------------------------------- guards
    _certificate(
        before="        if not self.logit <= LARGEST_LOGIT:\n",
        after="        if False:\n",
        tests=f"{PROPERTIES}::test_logits_that_overflow_a_naive_exp_are_shifted",
        catches="the guard of logits whose weights underflow",
    ),
    _certificate(
        before="        if not largest <= LARGEST_NORM:\n",
        after="        if False:\n",
        tests=f"{PROPERTIES}::test_norms_that_could_overflow_are_refused_a_certificate",
        catches="the guard of norms that overflow",
    ),
    _certificate(
        before="self.weight_error <= LARGEST_WEIGHT_ERROR and rounding <= LARGEST_ROUNDING",
        after="rounding <= LARGEST_ROUNDING",
        tests=f"{PROPERTIES}::test_rounding_beyond_what_is_claimed_is_refused_a_certificate",
        catches="the guard of weights that rounding changes much",
    ),
    _certificate(
        before="self.weight_error <= LARGEST_WEIGHT_ERROR and rounding <= LARGEST_ROUNDING",
        after="self.weight_error <= LARGEST_WEIGHT_ERROR",
        tests=f"{PROPERTIES}::test_rounding_beyond_what_is_claimed_is_refused_a_certificate",
        catches="the guard of sums that rounding changes much",
    ),
    # ----------------------------------------------------------------------------------- counts
    _certificate(
        before="self.mean_roundings = 3 * self.keys + r + 8",
        after="self.mean_roundings = self.keys + r + 8",
        tests=COUNTED,
        catches="the roundings of a weight's divisor",
    ),
    _certificate(
        before="self.mean_roundings = 3 * self.keys + r + 8",
        after="self.mean_roundings = 3 * self.keys",
        tests=COUNTED,
        catches="the roundings of a value",
    ),
    _certificate(
        before="        self.deviation_roundings = 2 * self.mean_roundings\n",
        after="        self.deviation_roundings = self.mean_roundings\n",
        tests=COUNTED,
        catches="the roundings of the second mean of a covariance",
    ),
    _certificate(
        before="4 * self.mean_roundings + self.queries + 2 * s",
        after="4 * self.mean_roundings // 2 + self.queries + 2 * s",
        tests=COUNTED,
        catches="the roundings of two of the Hessian's four means",
    ),
    _certificate(
        before="9 * _roundings(len(A2)) + _roundings(len(A1)) + 2 * (r + s) + 16",
        after="3 * _roundings(len(A2)) + _roundings(len(A1)) + 2 * (r + s) + 16",
        tests=COUNTED,
        catches="the roundings of the long gradient's means",
    ),
    _certificate(
        before="9 * _roundings(len(A2)) + _roundings(len(A1)) + 2 * (r + s) + 16",
        after="9 * _roundings(len(A2)) + 2",
        tests=COUNTED,
        catches="the roundings of the long gradient's other sums",
    ),
    # ------------------------------------------------------------------------------------ sizes
    _certificate(
        before="        shifted = 2 * up(self.logit + logit_error)\n",
        after="        shifted = 0.0\n",
        tests=SIZES,
        catches="the rounding of the shift by the largest logit",
    ),
    _certificate(
        before="        logit_error = up(logit_error + up(rest * rest))\n",
        after="",
        tests=SIZES,
        catches="the square of the logit's rest",
    ),
    _certificate(
        before="up(up(shifted + 4) * (unit_roundoff / U))",
        after="up(up(shifted) * (unit_roundoff / U))",
        tests=SIZES,
        catches="the roundings of 1 and the rest",
    ),
    _certificate(
        before="up(longest_row(self.here.residual) + error)",
        after="up(longest_row(self.here.residual))",
        tests=SIZES,
        catches="the rounding of the residual",
    ),
    _certificate(
        before="_radius(self.here.values) + self.row_error(self.value, 0.0)",
        after="_radius(self.here.values)",
        tests=SIZES,
        catches="the rounding of values",
    ),
    _certificate(
        before="up(np.sqrt(self.queries)) * self.row_error(self.feature, 0.0)",
        after="self.row_error(self.feature, 0.0)",
        tests=SIZES,
        catches="the rounding of all rows of the features",
    ),
    _certificate(
        before="        mean = up(mean + up(self.features_error * basis.stretch))\n",
        after="",
        tests=LIPSCHITZ,
        catches="the rounding of the features in the other basis",
    ),
    _certificate(
        before="            + product_loss(norm(self.here.features), norm(S), len(S), means.size)\n",
        after="",
        tests=LIPSCHITZ,
        catches="the rounding of the change of basis",
    ),
    _certificate(
        before="up(_radius(features) + row_error)",
        after="up(_radius(features))",
        tests=LIPSCHITZ,
        catches="the rounding of a feature's radius",
    ),
    _certificate(
        before="up(self.deviation(features, made_of) + row_error)",
        after="up(self.deviation(features, made_of))",
        tests=LIPSCHITZ,
        catches="the rounding of a feature's deviation",
    ),
    _certificate(
        before="up(self.value_deviation + up(feature_deviation * distance))",
        after="up(self.value_deviation)",
        tests=LIPSCHITZ,
        catches="that values move with Y",
    ),
    _certificate(
        before="float(value_radius_nearby(self.value_radius, feature_radius, distance))",
        after="float(self.value_radius)",
        tests=LIPSCHITZ,
        catches="that the ball of values grows with Y",
    ),
    _certificate(
        before="mean_nearby(mean, self.spectral, self.key_radius, feature_radius, distance)",
        after="mean",
        tests=LIPSCHITZ,
        catches="that features move with X",
    ),
    _certificate(
        before="deviation_nearby(deviation, self.query, self.key_radius, distance)\n",
        after="deviation\n",
        tests=LIPSCHITZ,
        catches="that deviations change with X",
    ),
    _certificate(
        before="    lost = up(up(trace * cholesky_residual(len(H), U)) + 2 * U * diagonal.max())\n",
        after="    lost = 0.0\n",
        tests=f"{TERMS}::test_a_least_eigenvalue_is_lowered_by_what_the_factorisation_rounds",
        catches="the rounding of the factorisation",
    ),
    _certificate(
        before="    if not np.isfinite(H).all():\n        return -np.inf\n",
        after="",
        tests=f"{TERMS}::test_a_hessian_that_is_not_finite_has_no_least_eigenvalue",
        catches="the guard of a Hessian that overflowed",
    ),
    _certificate(
        before="        self.stretch = max(1.0, _spectral_norm(self.S))\n",
        after="        self.stretch = 1.0\n",
        tests=BASIS,
        catches="what the change of basis stretches",
    ),
    _certificate(
        before="float(up(2 * once + twice))",
        after="0.0",
        tests=BASIS,
        catches="what the change of basis loses",
    ),
    # ------------------------------------------------------------------------ searches that end
    _gradient(
        before="            if here.loss - tried.loss >= predicted and np.isfinite(tried.gradient_norm):\n",
        after="            if here.loss > tried.loss and np.isfinite(tried.gradient_norm):\n",
        tests=f"{STEPS}::test_gradient_steps_lower_the_loss_by_half_of_what_a_line_would",
        catches="by how much a gradient step must lower the loss",
    ),
    _gradient(
        before="            rate /= 2\n",
        after="            rate = 0.0\n",
        tests=f"{STEPS}::test_gradient_steps_lower_the_loss_by_half_of_what_a_line_would",
        catches="that a rate is halved",
    ),
    _cg(
        before="        for _ in range(REGIONS):\n",
        after="        for _ in range(1):\n",
        tests=f"{PROPERTIES}::test_newton_cg_leaves_where_the_curvature_is_negative",
        catches="that a region is made smaller",
    ),
    _cg(
        before="            (typical, NOISE * covariance),\n",
        after="            (typical, 0.0),\n",
        tests=f"{EXTREMES}::test_equal_keys_leave_newton_cg_a_step",
        catches="the least size of a covariance that is no rounding",
    ),
    _plain(
        before="    if _is_below(there, enough):\n        return there\n",
        after="",
        tests=f"{TERMS}::test_each_plain_step_is_taken_where_it_alone_lowers_the_loss",
        catches="the best Y",
    ),
    _plain(
        before="((by_X, by_Y), (by_X, still_Y), (still_X, by_Y))",
        after="((by_X, by_Y), (still_X, by_Y))",
        tests=f"{TERMS}::test_each_plain_step_is_taken_where_it_alone_lowers_the_loss",
        catches="steps of X alone",
    ),
    _plain(
        before="return there.loss < loss and bool(np.isfinite(there.gradient_norm))",
        after="return there.loss < loss",
        tests=f"{TERMS}::test_no_step_leads_where_the_gradient_overflows",
        catches="that a search does not go where the gradient overflows",
    ),
    _model(
        before="INDEPENDENT = 2.0**-36",
        after="INDEPENDENT = 2.0**-48",
        tests=f"{EXTREMES}::test_nearly_dependent_features_do_not_drown_the_loss_in_the_rounding_of_y",
        catches="that nearly dependent features are one",
    ),
    _model(
        before="    if abs(exponent) <= PLAIN_EXPONENT:\n",
        after="    if True:\n",
        tests=f"{EXTREMES}::test_a_length_neither_overflows_nor_underflows",
        catches="squares that overflow",
    ),
    _units(
        before="    return exponent if abs(exponent) > ORDINARY else 0\n",
        after="    return 0\n",
        tests=f"{EXTREMES}::test_a_power_of_two_in_any_matrix_changes_no_digit_of_the_solution",
        catches="the units of a problem",
    ),
    _solve(
        before="replace(min(results, key=lambda result: result.fun), starts=len(results))",
        after="replace(results[-1], starts=len(results))",
        tests=f"{STARTS}::test_restarts_find_the_planted_loss_that_zero_misses_and_success_says_what_it_is_of",
        catches="that the lowest of several ends is kept",
    ),
    _solve(
        before="            if results[-1].fun <= fitted or results[-1].status == STOPPED:\n",
        after="            if results[-1].fun <= fitted:\n",
        tests=f"{STARTS}::test_starts_end_once_one_fits_or_the_callback_stops",
        catches="that a callback stops all starts",
    ),
    _solve(
        before="            if results[-1].fun <= fitted or results[-1].status == STOPPED:\n",
        after="            if results[-1].status == STOPPED:\n",
        tests=f"{STARTS}::test_starts_end_once_one_fits_or_the_callback_stops",
        catches="that one start which fits is enough",
    ),
    _solve(
        before="            if np.isfinite(start).all():",
        after="            if True:",
        tests=f"{STARTS}::test_without_a_start_none_is_given_for_y_and_none_overflows",
        catches="the guard of starts that overflow",
    ),
    _solve(
        before="        if not np.isfinite(here.gradient_norm):\n",
        after="        if False:\n",
        tests=f"{TERMS}::test_a_start_whose_gradient_overflows_is_refused_by_every_method",
        catches="the guard of a start whose gradient overflows",
    ),
)
