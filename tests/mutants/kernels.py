"""The tolerance of kernels: each term of the bound, and what judging by chance counts, left out."""

from functools import partial

from tests.mutants.runner import Mutant

_TOLERANCE = "tests/fastpath/kernels/test_tolerance.py::"
FORMULA = f"{_TOLERANCE}test_the_bound_is_the_theorem_with_its_first_term_by_cauchy_and_schwarz"
CLEAN = f"{_TOLERANCE}test_no_kernel_of_a_model_leaves_its_tolerance"
CHANCE = (
    "tests/fastpath/kernels/test_judge.py::"
    "test_by_chance_no_clean_kernel_fails_where_much_is_rounded_alike"
)
PROBES = "tests/fastpath/kernels/test_probes.py::"
BACKWARD = "tests/fastpath/kernels/test_backward.py::"

_exponent = partial(Mutant, file="fastpath/kernels/exponents.py", tests=FORMULA)
_assembled = partial(Mutant, file="fastpath/kernels/tolerance.py", tests=FORMULA)
_summed = partial(Mutant, file="fastpath/kernels/sums.py", tests=FORMULA)
_chance = partial(Mutant, file="fastpath/kernels/probable.py", tests=CHANCE)
_backward = partial(Mutant, file="fastpath/kernels/backward.py")
_overflow = partial(
    Mutant,
    file="fastpath/kernels/tolerance.py",
    tests=f"{_TOLERANCE}test_where_a_step_overflows_every_output_is_allowed",
)
_SAMPLED = "tests/fastpath/kernels/test_sampled.py::"
_together = partial(
    Mutant,
    file="fastpath/kernels/sampled.py",
    tests=f"{_SAMPLED}test_all_heads_at_once_are_judged_as_each_for_itself",
)

MUTANTS = (
    _exponent(
        before="kernel_factor(d + 4, u, input_roundoff, input_roundoff, 0.0)",
        after="kernel_factor(4, u, input_roundoff, input_roundoff, 0.0)",
        catches="the products and sums of a score",
    ),
    _exponent(
        before="kernel_factor(d + 4, u, input_roundoff, input_roundoff, 0.0)",
        after="kernel_factor(d + 4, u, input_roundoff, 0.0, 0.0)",
        catches="the rounding of scaled keys",
    ),
    _exponent(
        before="kernel_factor(0, u, self.low, self.low if self.twice else 0.0, 0.0)",
        after="kernel_factor(0, u, self.low, 0.0, 0.0)",
        catches="the rounding of a scaled logit",
    ),
    _exponent(
        before="self.cap = kernel_factor(4 + np.ceil(model.exp_error), u, self.low, self.low, self.low)",
        after="self.cap = kernel_factor(4 + np.ceil(model.exp_error), u, self.low, self.low, 0.0)",
        catches="one of the three roundings of a cap",
    ),
    _exponent(
        before="self.sum = kernel_factor(2, u, self.low, self.low, 0.0)",
        after="self.sum = kernel_factor(2, u, self.low, 0.0, 0.0)",
        catches="the rounding of a bias",
    ),
    _exponent(
        before="rounding_weight(0.0, u, 0.0, model.exp_error, model.blocks(keys))",
        after="rounding_weight(0.0, u, 0.0, model.exp_error, 0)",
        catches="the exponentials",
    ),
    _exponent(
        before="self.reach = up(3 * u + exponential)",
        after="self.reach = 3 * u",
        catches="the rounding of s - m to a low format",
    ),
    _exponent(
        before="constant = up(constant + rounding_weight(0.0, weights.unit_roundoff, 0.0, 1.0, 1.0))",
        after="pass",
        catches="the rounding of weights in both sums",
    ),
    _assembled(
        before="        terms + 2, u, weights,",
        after="        2, u, weights,",
        catches="the roundings of the numerator",
    ),
    _assembled(
        before="        terms + 2, u, weights,",
        after="        terms + 2, u, 0.0,",
        catches="the rounding of the weights",
    ),
    _assembled(
        before="denominator = kernel_factor(terms, u,",
        after="denominator = kernel_factor(0, u,",
        catches="the roundings of the denominator",
    ),
    _assembled(
        before="    overflows: NDArray[np.bool_] = scores > model.unit.largest\n",
        after="    overflows: NDArray[np.bool_] = scores > np.inf\n    return overflows\n",
        tests=f"{_TOLERANCE}test_where_the_arithmetic_may_overflow_nothing_is_allowed_or_refused",
        catches="what may overflow",
    ),
    _assembled(
        before="    bound[empty[:, 0]] = 0\n",
        after="",
        tests=f"{_TOLERANCE}test_a_row_that_sees_nothing_is_zeros",
        catches="a row that sees nothing",
    ),
    _overflow(
        before="overflows | (grown * largest_query > model.unit.largest)",
        after="overflows",
        catches="the overflow of a scaled query",
    ),
    _overflow(
        before="overflows | (grown * largest_key > model.unit.largest)",
        after="overflows",
        catches="the overflow of a scaled key",
    ),
    _overflow(
        before="overflows | (2 * scale * largest_query > inputs.largest)",
        after="overflows",
        catches="the overflow of a rounded query",
    ),
    _overflow(
        before="overflows | (2 * scale * largest_key > inputs.largest)",
        after="overflows",
        catches="the overflow of a rounded key",
    ),
    _overflow(
        before="overflows | bool(2 * keys > exponentials.largest)",
        after="overflows",
        catches="the overflow of a sum of exponentials",
    ),
    _overflow(
        before="        columns = counted * values.largest > model.unit.largest\n",
        after="        columns = 0 * values.largest > model.unit.largest\n",
        catches="the overflow of a sum of values",
    ),
    _overflow(
        before='    for name in ("values", "partials"):\n        chosen = model.format(name)\n        if',
        after='    for name in ("values",):\n        chosen = model.format(name)\n        if',
        catches="the overflow of a part's output",
    ),
    _overflow(
        before="up(np.maximum(scores, scaled / min(options.softcap, 1.0)))",
        after="scores",
        catches="the overflow of a quotient by a cap",
    ),
    _overflow(
        before="    bound[empty[:, 0]] = 0\n",
        after="    bound[empty[:, 0]] = 0\n    return bound\n",
        catches="the overflow of values that a row does not see",
    ),
    _summed(
        before="    deviation = kernel_deviation(error_squares, variance)\n",
        after="    deviation = 0 * kernel_deviation(error_squares, variance)\n",
        catches="what errors of scores move",
    ),
    _summed(
        before='    return 4 * (constants["exp_error"] + 2) * constants["unit_roundoff"]',
        after="    return 0.0",
        tests=f"{_TOLERANCE}test_a_lever_is_at_least_that_of_its_exponent",
        catches="the rounding of exponentials from which levers are taken",
    ),
    _summed(
        before="            np.maximum(heaviest[rows], p.max(axis=1, keepdims=True), out=heaviest[rows])\n"
        "            if",
        after="            if",
        tests=f"{_TOLERANCE}test_a_bound_has_every_term_sinks_and_underflow_included",
        catches="the heaviest weight, of rows that are summed in one pass",
    ),
    _summed(
        before="                _count_small(small[rows], p, gradual, values.columns[tile.keys, :width])\n"
        "        if",
        after="                pass\n        if",
        tests=f"{_TOLERANCE}test_a_bound_has_every_term_sinks_and_underflow_included",
        catches="weights that underflow, of rows that are summed in one pass",
    ),
    _summed(
        before='            first = np.einsum("ij,ij->i", p, lever)\n            r =',
        after='            first = 2 * np.einsum("ij,ij->i", p, lever)\n            r =',
        tests=f"{_TOLERANCE}test_a_bound_has_every_term_sinks_and_underflow_included",
        catches="what is taken from large exponents for the largest score",
    ),
    _summed(
        before="np.where(wide, up(r_deviation + sink_part), deviation)",
        after="np.where(wide, 0 * up(r_deviation + sink_part), deviation)",
        catches="what large errors of scores move",
    ),
    _chance(
        before="        if index % task.group == 0:\n",
        after="        if index // task.group == 0:\n",
        tests="tests/fastpath/kernels/test_judge.py::"
        "test_by_chance_a_key_is_named_in_the_last_of_heads_that_share_keys_under_a_mask",
        catches="the keys of every head",
    ),
    _chance(
        before="    counts = np.bincount(groups.ravel())[groups].astype(np.float64)\n",
        after="    counts = np.ones(groups.shape)\n",
        catches="keys that are rounded alike",
    ),
    _backward(
        before="        self._carried = kernel_standing(off, low.half_gap(up(standing + off)))\n",
        after="        self._carried = off\n",
        tests=f"{BACKWARD}test_sums_that_stand_in_a_low_format_refute_a_model_without_them",
        catches="the rounding of gradients so far",
    ),
    _backward(
        before="        given = centre if self.kept else output\n",
        after="        given = centre\n",
        tests=f"{BACKWARD}test_gradients_of_a_model_stay_within_their_intervals",
        catches="the kernel's own output",
    ),
    _backward(
        before="                error = kernel_standing(error, gap)\n",
        after="                pass\n",
        tests=f"{BACKWARD}test_gradients_of_a_model_stay_within_their_intervals",
        catches="the rounding of dS",
    ),
    _backward(
        before="    return either\n",
        after="    return gap\n",
        tests=f"{BACKWARD}test_a_number_that_is_scaled_before_it_is_rounded_is_within_its_half_gap",
        catches="dS that is scaled before it is rounded",
    ),
    _backward(
        before='        if name != "dQ" and task.group == 1 and model.gradient_sums == model.out:\n',
        after="        if False:\n",
        tests=f"{BACKWARD}test_gradients_that_stand_in_the_format_of_the_output_are_not_rounded_again",
        catches="an interval that is as narrow as the numbers that stand",
    ),
    Mutant(
        file="fastpath/kernels/fingerprint.py",
        before="    holds = weights is None or weights.precision >= out.precision\n",
        after="    holds = True\n",
        tests=f"{PROBES}test_no_kernel_of_a_model_leaves_what_exact_weights_allow",
        catches="weights of a format that does not hold those of a probe",
    ),
    Mutant(
        file="fastpath/kernels/tolerance.py",
        before='        if 4 * off > roundoff(task.model, "weights"):\n',
        after="        if False:\n",
        tests=f"{PROBES}test_weights_that_rounding_need_not_give_back_are_bounded_as_any_others",
        catches="weights that may be rounded to another number",
    ),
    Mutant(
        file="fastpath/kernels/probes.py",
        before="        exact = float(np.expm1(2 * np.abs(found).max()))\n",
        after="        exact = 0.0\n",
        tests=f"{PROBES}test_weights_are_numbers_of_the_format_relative_to_any_key_up_to_what_a_probe_says",
        catches="how far weights are from numbers of the format",
    ),
    Mutant(
        file="fastpath/kernels/model.py",
        before="np.clip(seen, 1, keys)",
        after="np.clip(0 * seen, 1, keys)",
        tests=f"{_TOLERANCE}test_keys_that_a_row_does_not_see_round_nothing",
        catches="the roundings of the keys that a row sees",
    ),
    _assembled(
        before="seen=_seen(block)",
        after="seen=None",
        tests=f"{_TOLERANCE}test_keys_that_a_row_does_not_see_round_nothing",
        catches="roundings of keys that a row does not see",
    ),
    _summed(
        before="    found: Array = down(distance * exponents.below_largest)\n",
        after="    less = down(distance * 4 * exponents.below_largest)\n",
        tests=f"{_TOLERANCE}test_a_bound_has_every_term_sinks_and_underflow_included",
        catches="no more taken from theta than the largest score lies below the logarithm",
    ),
    _summed(
        before="    moved = up(squares + up(up(less * less) * total))\n",
        after="    moved = squares\n",
        tests=f"{_TOLERANCE}test_a_bound_has_every_term_sinks_and_underflow_included",
        catches="the square of what is taken from theta",
    ),
    _together(
        before="    bound = spread * deviation\n",
        after="    bound = 0 * spread * deviation\n",
        catches="what errors of scores move, of all heads",
    ),
    _together(
        before='    bound += sizes * factor["sizes"]\n',
        after='    bound += 0 * sizes * factor["sizes"]\n',
        catches="the errors of the numerator, of all heads",
    ),
    _together(
        before='    bound += (size + own) * factor["output"]\n',
        after="",
        catches="the errors of the denominator, of all heads",
    ),
    _together(
        before='        rest = factor["rest"] + factor["fall"] * sums.logarithm\n',
        after='        rest = 0 * factor["rest"] + factor["fall"] * sums.logarithm\n',
        catches="what theta is of all keys alike",
    ),
    _together(
        before="    theta = up(grown - 1)\n    if",
        after="    theta = 0 * grown\n    if",
        catches="one bound on theta a head",
    ),
    _together(
        before='    own = spread * factor["own_deviation"]\n',
        after='    own = 0 * spread * factor["own_deviation"]\n',
        tests=f"{_SAMPLED}test_the_centre_is_attention_but_for_what_its_own_arithmetic_takes",
        catches="what float32 makes of the scores of the centre",
    ),
    _together(
        before="                place[of] = np.einsum(",
        after="                place[of] = 0 * np.einsum(",
        catches="the errors of scores, key by key",
    ),
    _together(
        before="                theta *= theta\n",
        after="                pass\n",
        catches="the squares of the errors of scores",
    ),
    _together(
        before="            np.copyto(score, -np.inf, where=unseen)\n",
        after="            pass\n",
        catches="keys that are hidden, of all heads",
    ),
    _together(
        before="        least, _ = sum_errors(model, n, seen=seen)\n",
        after="        least, _ = sum_errors(model, n)\n",
        tests=f"{_SAMPLED}test_a_row_that_sees_few_keys_is_allowed_the_roundings_of_those",
        catches="that keys which a row does not see round nothing",
    ),
    _together(
        before="    near = np.logical_not((distance <= most_allowed).all(axis=(1, 2)))\n",
        after="    near = np.zeros(heads, bool)\n",
        tests=f"{_SAMPLED}test_a_head_that_is_far_from_its_tolerance_is_told_apart",
        catches="heads that are near the edge of what is allowed",
    ),
    _together(
        before="    if not denominator.all():  # a row sees nothing\n        return None\n",
        after="",
        tests=f"{_SAMPLED}test_what_is_not_simple_is_left_to_others",
        catches="rows that see nothing, of all heads",
    ),
    _together(
        before="    moderate = moderate and all(x <= high for x in (q, k, v, q * k, most))\n",
        after="    moderate = moderate and max(q, k, v, q * k, most) <= high\n",
        tests=f"{_SAMPLED}test_what_is_not_simple_is_left_to_others",
        catches="values that are no numbers, of all heads",
    ),
    _together(
        before="            of = slice(first, first + len(sums.query))\n            worst",
        after="            of = slice(0, len(sums.query))\n            worst",
        tests=f"{_SAMPLED}test_calls_together_are_what_each_call_is",
        catches="the factors of another call",
    ),
)
