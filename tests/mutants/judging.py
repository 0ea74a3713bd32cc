"""certify and the judge: each guard that keeps an answer from passing for more than it is, left out."""

from tests.mutants.runner import Mutant

CERTIFY = "tests/fastpath/real_heads/test_certify.py::"
CONFORMANCE = "tests/conformance/test_conformance.py::"
PLANTED = (
    "tests/conformance/test_planted_bugs.py::test_a_public_bug_is_rejected_by_the_case_meant_for_it"
)
COMMAND = "tests/proofs/test_command.py::"
SECTION = "tests/proofs/test_real_heads_section.py::"
BARS = "tests/proofs/test_bars.py::"
HEADS = "tests/proofs/test_heads.py::"
OUTPUT = "tests/proofs/test_check_output.py::"

MUTANTS = (
    Mutant(
        file="proofs/command/check.py",
        before="default_rng([seed, of_step])",
        after="default_rng([0, of_step])",
        tests="tests/proofs/test_check_choices.py::"
        "test_a_seed_draws_the_same_rows_whatever_is_asked_beside_it",
        catches="the seed of the rows that are checked",
    ),
    # ------------------------------------------------------------------------------- certify
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="    if drawn == n:\n",
        after="    if False:\n",
        tests=CERTIFY + "test_checked_rows_are_all_covered",
        catches="that rows which were all checked are all covered",
    ),
    Mutant(
        file="fastpath/core/head.py",
        before="right=0 if self.causal else None",
        after="right=None",
        tests=CERTIFY + "test_a_causal_row_that_sees_a_key_too_many_or_too_few_is_found",
        catches="the mask of the rows that are checked",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="        error = up(up(distance) + exact.error_bound)\n",
        after="        error = distance + exact.error_bound\n",
        tests=CERTIFY + "test_a_difference_that_rounds_down_is_covered",
        catches="the rounding of a difference from exact attention",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="        error = up(up(distance) + exact.error_bound)\n",
        after="        error = up(up(distance))\n",
        tests=CERTIFY + "test_where_every_row_is_checked_none_exceeds_the_bound",
        catches="the error of exact attention itself",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="error_bound=np.sort(errors[repeats])[drawn - 1 - skipped],\n",
        after="error_bound=np.sort(errors)[len(errors) - 1 - skipped],\n",
        tests=CERTIFY + "test_the_bound_is_the_largest_error_drawn_but_for_those_skipped",
        catches="that repeats count as often as they were drawn",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="    while fewest < existing and certify_failure(fewest",
        after="    while False and certify_failure(fewest",
        tests=CERTIFY + "test_no_number_of_bad_rows_is_missed_more_often_than_stated",
        catches="the rounding of the number of rows",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="        and certify_failure(drawn, skipped + 1, uncovered) <= failure_probability\n",
        after="        and certify_failure(drawn, skipped, uncovered) <= failure_probability\n",
        tests=CERTIFY + "test_no_number_of_bad_rows_is_missed_more_often_than_stated",
        catches="the error that is skipped one too many",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="        skipped < LARGEST_SKIPPED\n",
        after="        True\n",
        tests=CERTIFY + "test_no_more_than_a_few_errors_are_skipped_however_many_rows_are_drawn",
        catches="the limit on errors that are skipped",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="    if not fewest <= drawn <= n:\n",
        after="    if not drawn <= n:\n",
        tests=CERTIFY + "test_bad_input_is_refused_by_name",
        catches="too few rows for the probability",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before='    array = exact_floats("output", output, halves=True)\n',
        after="    array = np.asarray(output)\n",
        tests=CERTIFY + "test_bad_input_is_refused_by_name",
        catches="outputs that mean more than their entries",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="    if array.shape != shape:\n",
        after="    if False:\n",
        tests=CERTIFY + "test_bad_input_is_refused_by_name",
        catches="outputs of another shape",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="    if not finite.all():\n",
        after="    if False:\n",
        tests=CERTIFY + "test_bad_input_is_refused_by_name",
        catches="outputs that are not finite",
    ),
    Mutant(
        file="fastpath/real_heads/certify.py",
        before="    if largest > LARGEST_OUTPUT:\n",
        after="    if False:\n",
        tests=CERTIFY + "test_bad_input_is_refused_by_name",
        catches="outputs whose difference could overflow",
    ),
    # ------------------------------------------------------------------ bars of the judge
    Mutant(
        file="proofs/judging/bars.py",
        before="    yield np.zeros((len(means), V.shape[1]))\n",
        after="",
        tests=BARS + "test_the_best_of_the_trivial_answers_counts",
        catches="zeros as a trivial answer",
    ),
    Mutant(
        file="proofs/judging/bars.py",
        before="    yield np.ldexp(np.array(means), exponent)\n",
        after="",
        tests=BARS + "test_the_best_of_the_trivial_answers_counts",
        catches="the mean as a trivial answer",
    ),
    Mutant(
        file="proofs/judging/bars.py",
        before="    yield np.ldexp(np.atleast_2d(lower / 2 + upper / 2), exponent)\n",
        after="",
        tests=BARS + "test_the_best_of_the_trivial_answers_counts",
        catches="the middle of the range as a trivial answer",
    ),
    Mutant(
        file="proofs/judging/bars.py",
        before="        if error > right:\n",
        after="        if error > 0:\n",
        tests=BARS + "test_an_answer_that_is_right_but_for_rounding_is_not_trivial",
        catches="that a trivial answer may be right",
    ),
    Mutant(
        file="proofs/judging/bars.py",
        before="sorted(rows, reverse=True)[left_out]",
        after="sorted(rows, reverse=True)[0]",
        tests=BARS + "test_the_row_that_errs_most_counts_but_for_those_left_out",
        catches="the rows that a trivial answer may leave out",
    ),
    Mutant(
        file="proofs/judging/bars.py",
        before="    half = float(trivial / (2 * Fraction(largest_value)))\n",
        after="    half = float(trivial / Fraction(largest_value))\n",
        tests=BARS + "test_no_more_than_half_of_what_a_trivial_answer_errs_is_asked_for",
        catches="the half of a trivial answer's error",
    ),
    # ------------------------------------------------------------------------- conformance
    Mutant(
        file="proofs/evidence/conformance.py",
        before="    within(case, truth, output, np.where(defined, 1.0, rounding), explained)\n",
        after="",
        tests=(
            CONFORMANCE + "test_an_error_inside_a_wide_bound_is_told_from_rounding",
            PLANTED,
        ),
        catches="that attention is right but for rounding",
    ),
    Mutant(
        file="proofs/evidence/conformance.py",
        before='        within(case, truth, output, np.where(defined, 1.0, bound), "its bound")\n',
        after="",
        tests=CONFORMANCE + "test_an_error_above_a_bound_below_rounding_is_told",
        catches="errors above the implementation's own bound",
    ),
    Mutant(
        file="proofs/evidence/outcome.py",
        before="        bool((bound <= half).all()),\n",
        after="        True,\n",
        tests=CONFORMANCE + "test_a_broken_contract_is_named",
        catches="bounds that say no more than a trivial answer",
    ),
    Mutant(
        file="proofs/evidence/conformance.py",
        before="        causal=case.causal is True,\n        budget",
        after="        budget",
        tests=CONFORMANCE + "test_every_asked_for_quantity_is_asked_for_and_held_to",
        catches="the mask that certified_attention is asked for",
    ),
    # ---------------------------------------------------------- certified_attention on heads
    Mutant(
        file="proofs/judging/real_heads.py",
        before="    if bound <= asked:\n",
        after="    if True:\n",
        tests=(CONFORMANCE + "test_every_asked_for_quantity_is_asked_for_and_held_to", PLANTED),
        catches="bounds above the tolerance that was asked for",
    ),
    Mutant(
        file="proofs/judging/real_heads.py",
        before="        bar = min(bar, trivial / 2)\n",
        after="        pass\n",
        tests=SECTION + "test_rounding_that_explains_everything_excuses_nothing",
        catches="bounds of rounding that say nothing",
    ),
    Mutant(
        file="proofs/judging/real_heads.py",
        before="        tolerance=tolerance_below(trivial, largest_value, TOLERANCE),\n",
        after="        tolerance=TOLERANCE,\n",
        tests=SECTION + "test_no_more_is_asked_than_half_of_what_trivial_answers_err",
        catches="the tolerance below what trivial answers err",
    ),
    Mutant(
        file="proofs/judging/real_heads.py",
        before="        if not problem and not 0 <= value <= allowed:\n",
        after="        if False:\n",
        tests=CONFORMANCE + "test_every_asked_for_quantity_is_asked_for_and_held_to",
        catches="fractions and probabilities above those asked for",
    ),
    Mutant(
        file="proofs/judging/real_heads.py",
        before="    rng = np.random.default_rng() if rng is None else rng\n",
        after="    rng = np.random.default_rng(SEED)\n",
        tests=SECTION + "test_the_rows_are_drawn_when_the_answer_is_fixed_from_what_nobody_knows",
        catches="rows that an implementation can foresee",
    ),
    Mutant(
        file="proofs/judging/real_heads.py",
        before="    if checked < len(head.Q):\n",
        after="    if False:\n",
        tests=SECTION + "test_zeros_with_no_bound_are_convicted_however_many_the_rows",
        catches="that few rows convict too",
    ),
    Mutant(
        file="proofs/judging/real_heads.py",
        before="max(budget, LEAST_ROWS * len(head.K))",
        after="max(budget, len(head.K))",
        tests=SECTION + "test_zeros_with_no_bound_are_convicted_however_many_the_rows",
        catches="the least number of rows that is checked",
    ),
    # -------------------------------------------------------------------- attention on heads
    Mutant(
        file="proofs/judging/exact.py",
        before="    if decide(truth, answer.output[rows], rounding)[0] is not Verdict.WITHIN:\n",
        after="    if False:\n",
        tests=COMMAND + "test_why_an_honest_bound_does_not_do_is_said",
        catches="errors that rounding does not explain",
    ),
    Mutant(
        file="proofs/judging/exact.py",
        before="    elif run.bound > half:\n",
        after="    elif False:\n",
        tests=COMMAND + "test_why_an_honest_bound_does_not_do_is_said",
        catches="bounds that say nothing",
    ),
    Mutant(
        file="proofs/judging/exact.py",
        before="    rng = np.random.default_rng() if rng is None else rng\n",
        after="    rng = np.random.default_rng(0)\n",
        tests=COMMAND + "test_of_a_large_head_some_rows_are_checked",
        catches="rows of a large head that an implementation can foresee",
    ),
    # ----------------------------------------------------------------------- other sections
    Mutant(
        file="proofs/judging/polynomial.py",
        before="    if run.bound is not None and trivial is not None and run.bound >= trivial:\n",
        after="    if False:\n",
        tests="tests/proofs/test_polynomial_section.py::"
        "test_a_bound_above_what_a_trivial_answer_errs_does_not_pass",
        catches="polynomial bounds that say nothing",
    ),
    Mutant(
        file="proofs/judging/dynamic.py",
        before="            if not problem and moment.trivial is not None and bound >= moment.trivial:\n",
        after="            if False:\n",
        tests="tests/proofs/test_dynamic_section.py::test_zeros_within_an_honest_bound_do_not_pass",
        catches="dynamic bounds that say nothing",
    ),
    Mutant(
        file="proofs/judging/sparsification.py",
        before='    if epsilon is not None and bounds["gram"][0] > epsilon:\n',
        after="    if False:\n",
        tests="tests/proofs/test_sparsification.py::"
        "test_an_epsilon_above_the_one_asked_for_does_not_pass",
        catches="an epsilon above the one asked for",
    ),
    # ------------------------------------------------------------------- what is told of a judgement
    Mutant(
        file="proofs/judging/judgement.py",
        before="        return not self.failure and (self.verdict is Verdict.WITHIN or bool(self.refusal))\n",
        after="        return not self.failure\n",
        tests=OUTPUT + "test_who_refuses_and_is_wrong_is_wrong",
        catches="that silence passes nothing",
    ),
    Mutant(
        file="proofs/judging/judgement.py",
        before="        if self.refusal and not self.failure:\n",
        after="        if self.refusal:\n",
        tests=OUTPUT + "test_who_refuses_and_is_wrong_is_wrong",
        catches="that a refusal excuses no failure",
    ),
    Mutant(
        file="proofs/judging/judgement.py",
        before='    problem = problem or unusable("error_bound", bound, (), shape[:1], shape)\n',
        after="",
        tests=COMMAND + "test_an_answer_that_cannot_be_judged_gives_exit_1",
        catches="bounds of another shape, or of no number",
    ),
    Mutant(
        file="proofs/command/report.py",
        before="    return judgement.passed, inf if judgement.ratio is None else judgement.ratio\n",
        after="    return True, inf if judgement.ratio is None else judgement.ratio\n",
        tests=OUTPUT + "test_a_failure_is_the_worst_and_is_told_whole",
        catches="that a failure is the worst",
    ),
    Mutant(
        file="proofs/command/report.py",
        before="    worst = min(certified, key=_margin, default=None)\n",
        after="    worst = max(certified, key=lambda j: j.error or (0, 0), default=None)\n",
        tests=OUTPUT + "test_the_error_nearest_to_its_bound_is_told",
        catches="that errors are compared with their bounds",
    ),
    Mutant(
        file="proofs/command/report.py",
        before="    failures = [failure for section in check.sections for failure in section.failures]\n",
        after="    failures = [f for section in check.sections for f in section.failures][:30]\n",
        tests=OUTPUT + "test_a_failure_is_the_worst_and_is_told_whole",
        catches="that every failure is told",
    ),
    Mutant(
        file="proofs/command/report.py",
        before="    reasons = {judgement.refusal for judgement in refused}\n",
        after="    reasons = {refused[0].refusal}\n",
        tests=OUTPUT + "test_what_is_refused_is_counted_and_its_first_reason_told",
        catches="that there are other reasons",
    ),
    # -------------------------------------------------------------------------------- files
    Mutant(
        file="proofs/judging/containers.py",
        before="    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):\n",
        after="    if False:\n",
        tests=HEADS + "test_a_header_that_lies_is_refused_before_memory_is_taken",
        catches="packings whose unpacking takes memory of its own",
    ),
    Mutant(
        file="proofs/judging/containers.py",
        before="            if length > LARGEST_HEADER:\n",
        after="            if False:\n",
        tests=HEADS + "test_a_header_that_lies_is_refused_before_memory_is_taken",
        catches="headers without end",
    ),
    Mutant(
        file="proofs/judging/containers.py",
        before="    if not dtype.hasobject and promised != member.file_size - header:\n",
        after="    if False:\n",
        tests=HEADS + "test_a_header_that_lies_is_refused_before_memory_is_taken",
        catches="headers that promise what is not there",
    ),
    Mutant(
        file="proofs/judging/containers.py",
        before="            left -= size\n",
        after="",
        tests=HEADS + "test_an_array_that_unpacks_to_too_much_is_refused_before_it_is_unpacked",
        catches="the limit on what a .npz unpacks to",
    ),
    Mutant(
        file="proofs/judging/containers.py",
        before="        left -= math.prod(shape) * max(_BITS[kind], 32 if kind in _NARROW else 0) // 8\n",
        after="",
        tests=HEADS + "test_arrays_that_are_too_much_together_are_refused",
        catches="the limit on what is read of a .safetensors",
    ),
    Mutant(
        file="proofs/judging/heads.py",
        before="    if exponents.size and np.abs(exponents).max() > SQUARED_EXPONENT:\n",
        after="    if False:\n",
        tests=(
            HEADS + "test_features_whose_squares_are_no_floats_are_refused",
            COMMAND + "test_bad_input_is_refused_in_one_sentence",
        ),
        catches="features whose squares are no floats",
    ),
)
