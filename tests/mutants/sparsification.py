"""Sparsification and its certificates: each term and each guard, left out."""

from functools import partial

from tests.mutants.runner import Mutant

TERMS = "tests/fastpath/sparsification/test_sparsify_terms.py"
EXTREMES = "tests/fastpath/sparsification/test_sparsify_extremes.py"
CONFORMANCE = "tests/fastpath/sparsification/test_sparsify_enclosed.py"
PROPERTIES = "tests/fastpath/sparsification/test_sparsify.py"

FORMATS = f"{PROPERTIES}::test_every_sparse_format_gives_what_sorted_rows_give"
MALFORMED = f"{PROPERTIES}::test_malformed_sparse_features_are_refused_and_left_alone"
SHIFT = f"{TERMS}::test_the_shift_is_that_of_the_claim_for_what_was_counted"

_loewner = partial(Mutant, file="fastpath/sparsification/certificate.py")
_gram = partial(Mutant, file="fastpath/sparsification/gram.py")
_sparsify = partial(Mutant, file="fastpath/sparsification/sparsify.py")
_plan = partial(Mutant, file="fastpath/sparsification/choice.py")
_features = partial(Mutant, file="fastpath/sparsification/feature_matrix.py")

MUTANTS = (
    # ------------------------------------------------------------------- the Loewner certificate
    _loewner(
        before="        diagonal -= self.shift(factor, slack, _above(diagonal))\n",
        after="",
        tests=f"{TERMS}::test_a_difference_that_rounding_made_definite_is_not_proved",
        catches="the shift by what rounding may have added, in fact",
    ),
    _loewner(
        before="g.roundings + 2, h.roundings + 1",
        after="g.roundings * 0 + 2, h.roundings + 1",
        tests=SHIFT,
        catches="the roundings of G",
    ),
    _loewner(
        before="g.roundings + 2, h.roundings + 1",
        after="g.roundings, h.roundings + 1",
        tests=SHIFT,
        catches="what pays for underflow in G and after",
    ),
    _loewner(
        before="g.roundings + 2, h.roundings + 1",
        after="g.roundings + 2, h.roundings * 0 + 1",
        tests=SHIFT,
        catches="the roundings of H",
    ),
    _loewner(
        before="g.roundings + 2, h.roundings + 1",
        after="g.roundings + 2, h.roundings",
        tests=SHIFT,
        catches="what pays for underflow in H",
    ),
    _loewner(
        before="        self.first_trace = _above(self.G.diagonal())\n",
        after="        self.first_trace = 0.0\n",
        tests=SHIFT,
        catches="the trace of G",
    ),
    _loewner(
        before="_above(self.H.diagonal()) if self.comparable else np.inf",
        after="0.0 if self.comparable else np.inf",
        tests=SHIFT,
        catches="the trace of H",
    ),
    _loewner(
        before="self.shift(factor, slack, _above(diagonal))",
        after="self.shift(factor, slack, 0.0)",
        tests=SHIFT,
        catches="the trace that is factored",
    ),
    _loewner(
        before="                self.n,\n                UNIT_ROUNDOFF,\n                self.first_trace,\n",
        after="                1,\n                UNIT_ROUNDOFF,\n                self.first_trace,\n",
        tests=SHIFT,
        catches="the order of the factorisation",
    ),
    _loewner(
        before="                factor,\n                slack,\n",
        after="                factor,\n                0.0,\n",
        tests=SHIFT,
        catches="the slack's own rounding",
    ),
    _loewner(
        before="float(down(1 + epsilon)) if epsilon else 1.0",
        after="1 + epsilon",
        tests=f"{TERMS}::test_factors_are_rounded_inward",
        catches="the rounding of 1 + epsilon",
    ),
    _loewner(
        before="float(up(1 - epsilon)) if epsilon < 1",
        after="1 - epsilon if epsilon < 1",
        tests=f"{TERMS}::test_factors_are_rounded_inward",
        catches="the rounding of 1 - epsilon",
    ),
    _loewner(
        before="self.comparable = same_rows and all(",
        after="self.comparable = all(",
        tests=f"{CONFORMANCE}::test_a_row_that_x_has_not_is_never_close",
        catches="the guard of rows that X has not",
    ),
    _loewner(
        before="for part in (self.G, self.H)",
        after="for part in (self.H,)",
        tests=f"{EXTREMES}::test_a_gram_matrix_that_holds_a_nan_proves_nothing",
        catches="the guard of a NaN in G",
    ),
    _loewner(
        before="for part in (self.G, self.H)",
        after="for part in (self.G,)",
        tests=f"{EXTREMES}::test_a_gram_matrix_that_holds_a_nan_proves_nothing",
        catches="the guard of a NaN in H",
    ),
    _loewner(
        before="    if number >= LARGEST_ENTRY:\n        return LARGEST_ENTRY\n",
        after="    if number > 1.7976931348623157e308:\n        return 1.7976931348623157e308\n",
        tests=f"{EXTREMES}::test_an_epsilon_so_large_that_sums_overflow_proves_no_more_than_a_smaller_one",
        catches="the guard of an epsilon whose sums overflow",
    ),
    _loewner(
        before="rounded if rounded <= number else math.nextafter(rounded, -math.inf)",
        after="rounded",
        tests=f"{EXTREMES}::test_an_epsilon_that_float64_does_not_hold_is_rounded_down",
        catches="the rounding of an epsilon that is no float64",
        file="fastpath/core/directed.py",
    ),
    _loewner(
        before="        diagonal += slack * self.G.diagonal()\n",
        after="        diagonal += 2 * slack * self.G.diagonal()\n",
        tests=f"{TERMS}::test_no_more_slack_is_proved_than_is_asked_for",
        catches="no more slack than was given",
    ),
    _loewner(
        before="        return self._definite(upper, 1, slack) and (\n",
        after="        return (\n",
        tests=f"{CONFORMANCE}::test_the_certificate_separates_epsilon_to_six_digits",
        catches="the upper inequality",
    ),
    _loewner(
        before="lower == 0.0 or self._definite(lower, -1, slack)",
        after="True",
        tests=f"{CONFORMANCE}::test_the_certificate_separates_epsilon_to_six_digits",
        catches="the lower inequality",
    ),
    _loewner(
        before="    return float(up(math.fsum(diagonal)))\n",
        after="    return float(math.fsum(diagonal))\n",
        tests=f"{TERMS}::test_a_trace_is_not_rounded_down",
        catches="the rounding of a trace",
    ),
    # ---------------------------------------------------------------------------------- entries
    _loewner(
        before="            relative.max(initial=0.0),\n",
        after="            0.0,\n",
        tests=f"{TERMS}::test_the_entrywise_error_is_that_of_the_claim",
        catches="the computed difference of entries",
    ),
    _loewner(
        before="            ratio.max(initial=0.0),\n",
        after="            0.0,\n",
        tests=f"{TERMS}::test_the_entrywise_error_is_that_of_the_claim",
        catches="how much longer Y's rows are than X's",
    ),
    _loewner(
        before="            pair.first_roundings,\n",
        after="            0,\n",
        tests=f"{TERMS}::test_the_entrywise_error_is_that_of_the_claim",
        catches="the roundings of G's entries",
    ),
    _loewner(
        before="            pair.second_roundings,\n",
        after="            0,\n",
        tests=f"{TERMS}::test_the_entrywise_error_is_that_of_the_claim",
        catches="the roundings of H's entries",
    ),
    # ------------------------------------------------------------------------- Gram matrices
    _gram(
        before="return Gram(matrix=total, roundings=min(d, BLOCK) + -(-d // BLOCK))",
        after="return Gram(matrix=total, roundings=-(-d // BLOCK))",
        tests=f"{TERMS}::test_every_way_to_a_gram_matrix_counts_its_roundings",
        catches="the roundings within a block",
    ),
    _gram(
        before="return Gram(matrix=total, roundings=min(d, BLOCK) + -(-d // BLOCK))",
        after="return Gram(matrix=total, roundings=min(d, BLOCK))",
        tests=f"{TERMS}::test_every_way_to_a_gram_matrix_counts_its_roundings",
        catches="the roundings between blocks",
    ),
    _gram(
        before="return Gram(matrix=matrix, roundings=longest + additions + 2)",
        after="return Gram(matrix=matrix, roundings=additions + 2)",
        tests=f"{TERMS}::test_every_way_to_a_gram_matrix_counts_its_roundings",
        catches="the roundings of outer products",
    ),
    _gram(
        before="return Gram(matrix=matrix, roundings=longest + additions + 2)",
        after="return Gram(matrix=matrix, roundings=longest + 2)",
        tests=f"{TERMS}::test_every_way_to_a_gram_matrix_counts_its_roundings",
        catches="the roundings of what is added on the way",
    ),
    _gram(
        before="return Gram(matrix=matrix, roundings=int(terms.max()) + 1)",
        after="return Gram(matrix=matrix, roundings=1)",
        tests=f"{TERMS}::test_every_way_to_a_gram_matrix_counts_its_roundings",
        catches="the roundings of scipy's product",
    ),
    _gram(
        before="max(some.roundings, others.roundings) + 1",
        after="min(some.roundings, others.roundings)",
        tests=f"{TERMS}::test_every_way_to_a_gram_matrix_counts_its_roundings",
        catches="the roundings of the other way of two",
    ),
    _gram(
        before="gram_rounding(self.roundings + 1, UNIT_ROUNDOFF)",
        after="gram_rounding(self.roundings, UNIT_ROUNDOFF)",
        tests=f"{TERMS}::test_every_way_to_a_gram_matrix_counts_its_roundings",
        catches="what pays for underflow in a Gram matrix",
    ),
    # ----------------------------------------------------------------------------- sparsify
    _sparsify(
        before="        if result.epsilon + result.slack <= (plan.epsilon or np.finfo(np.float64).max):\n",
        after="        if True:\n",
        tests=f"{PROPERTIES}::test_a_method_that_cannot_be_certified_says_so",
        catches="the refusal of what is not certified",
    ),
    _sparsify(
        before="    roundings = (G.roundings + 1, H.roundings + 1)\n",
        after="    roundings = (0, H.roundings + 1)\n",
        tests=f"{TERMS}::test_the_logits_error_is_that_of_the_claim",
        catches="the roundings of G in the logits' error",
    ),
    _sparsify(
        before="    roundings = (G.roundings + 1, H.roundings + 1)\n",
        after="    roundings = (G.roundings + 1, 0)\n",
        tests=f"{TERMS}::test_the_logits_error_is_that_of_the_claim",
        catches="the roundings of H in the logits' error",
    ),
    _sparsify(
        before="    difference = np.abs(H.matrix - G.matrix).max()\n",
        after="    difference = 0.0\n",
        tests=f"{TERMS}::test_the_logits_error_is_that_of_the_claim",
        catches="the computed difference of logits",
    ),
    _sparsify(
        before="float(loewner_logit(epsilon + slack, largest)))\n    entry_error",
        after="float(loewner_logit(epsilon, largest)))\n    entry_error",
        tests=f"{TERMS}::test_a_logit_may_err_by_epsilon_and_slack",
        catches="the slack in the logits' error",
    ),
    _sparsify(
        before="float(sketch_slack(n, epsilon, terms, ARITHMETIC",
        after="0 * float(sketch_slack(n, epsilon, terms, ARITHMETIC",
        tests=f"{TERMS}::test_a_sketch_that_is_not_certified_has_the_slack_of_its_claim",
        catches="the slack of a sketch's rounding",
    ),
    _sparsify(
        before="        slack = float(composed_slack(epsilon, slack, closeness.epsilon, closeness.slack))\n",
        after="",
        tests=f"{TERMS}::test_a_sketch_that_is_not_certified_has_the_slack_of_its_claim",
        catches="the slack of the sketch's own Gram matrix",
    ),
    _sparsify(
        before="        epsilon = float(composed_epsilon(epsilon, closeness.epsilon))\n",
        after="",
        tests=f"{TERMS}::test_a_sketch_that_is_not_certified_has_the_slack_of_its_claim",
        catches="the epsilon of the sketch's own Gram matrix",
    ),
    _sparsify(
        before="    logit_error = float(loewner_logit(epsilon + slack, largest))\n    entry_error",
        after="    logit_error = float(loewner_logit(epsilon, largest))\n    entry_error",
        tests=f"{TERMS}::test_a_sketch_that_is_not_certified_has_the_slack_of_its_claim",
        catches="the slack in the logits' error of a sketch",
    ),
    _sparsify(
        before="if X.dtype == np.float32 and squares.min",
        after="if False and squares.min",
        tests=f"{PROPERTIES}::test_a_sketch_without_a_certificate_is_refused_where_it_would_underflow",
        catches="the guard of sketches that underflow",
    ),
    _sparsify(
        before="    if not np.isfinite(Y).all():\n",
        after="    if False:\n",
        tests=f"{EXTREMES}::test_what_would_overflow_the_type_of_x_is_refused_and_not_returned",
        catches="the guard of sketches that overflow",
    ),
    _sparsify(
        before="    H = _result_gram(Y)\n    if isinstance",
        after="    H = gram_of(Y)\n    if isinstance",
        tests=f"{EXTREMES}::test_what_would_overflow_the_type_of_x_is_refused_and_not_returned",
        catches="that it is not X which is infinite",
    ),
    _sparsify(
        before="    if plan.method in KEEPING and width >= useful:\n",
        after="    if False:\n",
        tests=f"{PROPERTIES}::test_where_every_column_is_kept_nothing_is_lost",
        catches="that all columns are X",
    ),
    # ------------------------------------------------------------------------------- the plan
    _plan(
        before="        width += max(1, width >> 48)\n",
        after="        width += 2\n",
        tests=f"{PROPERTIES}::test_the_width_of_the_barrier_method_is_the_least_that_serves",
        catches="that no column is added without need",
    ),
    _plan(
        before="    while width < WIDEST and float(bss_epsilon(width / rank)) > epsilon:\n",
        after="    while False:\n",
        tests=f"{PROPERTIES}::test_the_width_of_the_barrier_method_is_the_least_that_serves",
        catches="what rounding left out of the width",
    ),
    _plan(
        before="    return ceil(value) if value < WIDEST else WIDEST\n",
        after="    return ceil(value)\n",
        tests=f"{PROPERTIES}::test_any_epsilon_gives_an_answer_or_a_sentence",
        catches="the cap of an infinite width",
    ),
    _plan(
        before="            ratio = (sqrt(1 + self.epsilon) + 1) / self.epsilon\n",
        after="            ratio = 1 / (sqrt(1 + self.epsilon) - 1)\n",
        tests=f"{PROPERTIES}::test_any_epsilon_gives_an_answer_or_a_sentence",
        catches="a root that is rounded to 1",
    ),
    # ------------------------------------------------------------------------------- features
    _features(
        before='    if not np.isfinite(largest):\n        return f"{name} must be finite',
        after='    if False:\n        return f"{name} must be finite',
        tests=f"{PROPERTIES}::test_features_that_are_not_allowed_are_named",
        catches="the guard of NaN and infinity",
    ),
    _features(
        before="largest > 2.0**LARGEST_EXPONENT or smallest < 2.0**-LARGEST_EXPONENT",
        after="largest > 2.0**LARGEST_EXPONENT",
        tests=f"{PROPERTIES}::test_features_that_are_not_allowed_are_named",
        catches="the guard of rows whose squares underflow",
    ),
    _features(
        before="largest > 2.0**LARGEST_EXPONENT or smallest < 2.0**-LARGEST_EXPONENT",
        after="smallest < 2.0**-LARGEST_EXPONENT",
        tests=f"{PROPERTIES}::test_features_that_are_not_allowed_are_named",
        catches="the guard of rows whose squares overflow",
    ),
    _features(
        before="        entries.sort_indices()\n",
        after="",
        tests=FORMATS,
        catches="that unsorted indices are sorted",
    ),
    _features(
        before="shape=X.shape, copy=True)\n",
        after="shape=X.shape, copy=False)\n",
        tests=FORMATS,
        catches="that a copy is sorted",
    ),
    _features(
        before="        entries.has_canonical_format = True\n",
        after="",
        tests=MALFORMED,
        catches="that duplicates are not added up",
    ),
    _features(
        before="    _check_range(entries, name)\n",
        after="",
        tests=MALFORMED,
        catches="the range of indices",
    ),
    _features(
        before="    array = exact_floats(name, X)\n",
        after="    array = np.asarray(X, np.float64)\n",
        tests=f"{PROPERTIES}::test_features_that_are_not_allowed_are_named",
        catches="that features are the numbers that were given",
    ),
    _features(
        before='    data = exact_floats(f"{name}.data", X.data)\n',
        after="    data = X.data.astype(np.float64)\n",
        tests=f"{PROPERTIES}::test_features_that_are_not_allowed_are_named",
        catches="that sparse features are the numbers that were given",
    ),
)
