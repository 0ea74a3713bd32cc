"""Exact attention: each term of its certificate and each guard, left out."""

from functools import partial

from tests.mutants.runner import Mutant

TERMS = "tests/fastpath/exact/test_terms.py"
THEOREM = f"{TERMS}::test_for_parallel_queries_and_keys_the_certificate_is_the_theorem"
PROPERTIES = "tests/fastpath/exact/test_attention.py"
CONFORMANCE = "tests/conformance/test_conformance.py"

_planted = partial(Mutant, file="fastpath/exact/attention.py")

_prepared = partial(
    Mutant, file="fastpath/exact/prepared.py", tests="tests/fastpath/exact/test_prepared.py"
)

_semantics = partial(_planted, tests="tests/fastpath/exact/test_semantics.py")

MUTANTS = (
    _planted(
        before="    terms = _roundings(visible, blocks, tiles)\n",
        after="    terms = 0\n",
        tests=f"{TERMS}::test_sums_of_many_blocks_err_as_often_as_the_certificate_counts",
        catches="gamma, in fact",
    ),
    _planted(
        before="    terms = _roundings(visible, blocks, tiles)\n",
        after="    terms = 0 * _roundings(visible, blocks, tiles)\n",
        tests=THEOREM,
        catches="gamma, in the formula",
    ),
    _planted(
        before="np.minimum(KEY_BLOCK, keys) + (blocks - 1) + (tiles - 1)",
        after="np.minimum(KEY_BLOCK, keys)",
        tests=f"{TERMS}::test_sums_of_many_blocks_err_as_often_as_the_certificate_counts",
        catches="the roundings between blocks",
    ),
    _planted(
        before="np.minimum(KEY_BLOCK, keys) + (blocks - 1) + (tiles - 1)",
        after="np.minimum(KEY_BLOCK, keys) + (blocks - 1) + 0 * (tiles - 1)",
        tests=THEOREM,
        catches="the rescaling of each tile",
    ),
    _planted(
        before="np.minimum(KEY_BLOCK, keys) + (blocks - 1) + (tiles - 1)",
        after="(blocks - 1) + (tiles - 1)",
        tests=THEOREM,
        catches="the roundings within a block",
    ),
    _planted(
        before="        value_magnitude,\n        quotient.astype",
        after="        0 * value_magnitude,\n        quotient.astype",
        tests=f"{TERMS}::test_sums_that_cancel_err_by_the_magnitude_of_their_values",
        catches="the magnitude of the values",
    ),
    _planted(
        before="        quotient.astype(np.float64),\n",
        after="        0 * quotient.astype(np.float64),\n",
        tests=THEOREM,
        catches="the quotient: the error of the denominator and of the division",
    ),
    _planted(
        before="        score_error,\n",
        after="        0 * score_error,\n",
        tests=f"{TERMS}::test_logits_of_products_that_cancel_err_by_their_magnitude",
        catches="the logits' error, in fact",
    ),
    _planted(
        before="        score_error,\n",
        after="        score_error * 0,\n",
        tests=THEOREM,
        catches="the logits' error, in the formula",
    ),
    _planted(
        file="fastpath/exact/blocks.py",
        before="rounding_logit(d, u, magnitude, tiny)",
        after="rounding_logit(1, u, magnitude, tiny)",
        tests=THEOREM,
        catches="the roundings of a dot product but one",
    ),
    _planted(
        before="0.0 if small else 2 * up(score_",
        after="0.0 if True else 2 * up(score_",
        tests=f"{TERMS}::test_logits_far_above_the_first_block_err_by_their_shift",
        catches="the reach of the shifted exponent, in fact",
    ),
    _planted(
        before="2 * up(score_magnitude + score_error)",
        after="up(score_magnitude + score_error)",
        tests=THEOREM,
        catches="half of the reach",
    ),
    _planted(
        before="2 * up(score_magnitude + score_error)",
        after="2 * up(score_magnitude)",
        tests=THEOREM,
        catches="the logits' error in the reach",
    ),
    _planted(
        before='        constants["exp_error"],\n',
        after="        0.0,\n",
        tests=THEOREM,
        catches="the error of exp",
    ),
    _planted(
        before="    exponentials = 1 if small else tiles",
        after="    exponentials = 1",
        tests=THEOREM,
        catches="the exponentials that rescale",
    ),
    _planted(
        before="        spread,\n        value_magnitude,\n",
        after="        0 * spread,\n        value_magnitude,\n",
        tests=f"{TERMS}::test_logits_of_products_that_cancel_err_by_their_magnitude",
        catches="the spread",
    ),
    _planted(
        before="        up(lost / np.minimum(value_magnitude, 1)),\n",
        after="        0 * lost,\n",
        tests=THEOREM,
        catches="what underflow takes from the sums",
    ),
    _planted(
        before="        up(lost / np.minimum(value_magnitude, 1)),\n",
        after="        lost,\n",
        tests=THEOREM,
        catches="that underflow is absolute, not relative to the values",
    ),
    _planted(
        before='exponentials, constants["tiny"], lightest)',
        after='exponentials, constants["tiny"], 1.0)',
        tests=THEOREM,
        catches="that weights without a shift may be as small as e^-40",
    ),
    _planted(
        before="weights_underflow(visible, ",
        after="weights_underflow(1, ",
        tests=THEOREM,
        catches="that every key may lose to underflow",
    ),
    _planted(
        before="np.maximum(2.0**-40, 4 * lost)",
        after="4 * lost",
        tests=THEOREM,
        catches="a magnitude below which the model of underflow ends",
    ),
    _planted(
        before="        values.smallest,\n",
        after="        0.0,\n",
        tests=f"{TERMS}::test_subnormal_values_err_by_half_of_the_smallest_number",
        catches="the underflow of the output",
    ),
    _planted(
        file="fastpath/exact/scaled_values.py",
        before="np.maximum(float(information.tiny), np.ldexp(1.0, restored))",
        after="float(information.tiny) + 0 * np.ldexp(1.0, restored)",
        tests=f"{TERMS}::test_subnormal_values_err_by_half_of_the_smallest_number",
        catches="the underflow of restoring the scale",
    ),
    _planted(
        before="    if max(d, int(_roundings(",
        after="    if max(1, int(_roundings(",
        tests=f"{PROPERTIES}::test_more_columns_than_the_claim_covers_are_refused",
        catches="the limit on columns",
    ),
    _planted(
        before="if np.isfinite(sums.denominator).all() and np.isfinite(sums.numerator).all():",
        after="if np.isfinite(sums.numerator).all():",
        tests=f"{TERMS}::test_a_sum_of_weights_that_overflows_is_not_divided_by",
        catches="the finiteness test of the denominator",
    ),
    _planted(
        before="if np.isfinite(sums.denominator).all() and np.isfinite(sums.numerator).all():",
        after="if np.isfinite(sums.denominator).all():",
        tests=f"{TERMS}::test_a_sum_of_values_that_overflows_is_not_divided",
        catches="the finiteness test of the numerator",
    ),
    _planted(
        before="positive_sum(computed, terms, terms, UNIT_ROUNDOFF, TINY)",
        after="positive_sum(computed, terms, 0, UNIT_ROUNDOFF, TINY)",
        tests=f"{TERMS}::test_a_norm_is_bounded_where_every_addition_is_lost",
        catches="the roundings of a norm",
        file="fastpath/core/norms.py",
    ),
    _planted(
        before="positive_sum(computed, terms, terms, UNIT_ROUNDOFF, TINY)",
        after="positive_sum(computed, terms, terms, UNIT_ROUNDOFF, 0.0)",
        tests=f"{TERMS}::test_a_norm_is_bounded_where_its_squares_underflow",
        catches="the underflow of a norm",
        file="fastpath/core/norms.py",
    ),
    _planted(
        file="fastpath/exact/scaled_values.py",
        before="up(high - low)",
        after="high - low",
        tests=f"{TERMS}::test_a_spread_that_is_rounded_is_bounded",
        catches="the rounding of a spread",
    ),
    _planted(
        file="fastpath/exact/scaled_values.py",
        before="up(bound * self._unit)",
        after="bound * self._unit",
        tests=f"{TERMS}::test_a_bound_in_the_units_of_tiny_values_is_rounded_upward",
        catches="the underflow of the bound",
    ),
    _planted(
        file="fastpath/exact/scaled_values.py",
        before="if v.dtype == np.float64 and largest.max() > 2.0**1021:",
        after="if False:",
        tests=f"{TERMS}::test_values_whose_spread_could_overflow_are_refused",
        catches="the limit on values",
    ),
    _planted(
        file="fastpath/exact/blocks.py",
        before="    if not (magnitude + error <= most).all():\n        factor",
        after="    if False:\n        factor",
        tests=f"{TERMS}::test_logits_that_could_overflow_are_refused",
        catches="the limit on logits",
    ),
    _planted(
        file="fastpath/exact/prepared.py",
        before="np.maximum.accumulate(squares[least - 1 : most])",
        after="squares[least - 1 : most]",
        tests=f"{TERMS}::test_causal_logits_are_bounded_by_the_longest_key_so_far",
        catches="the longest of the keys that a causal row sees",
    ),
    *(
        _planted(
            file="fastpath/exact/prepared.py",
            before="squares[first : max(int(ranges[1][-1]), first + 1)]",
            after=after,
            tests=f"{TERMS}::test_a_windows_logits_are_bounded_by_the_longest_key_in_it",
            catches=f"the longest of the keys that windows see, but for the {which}",
        )
        for which, after in (
            ("last", "squares[first : max(int(ranges[1][-1]) - 1, first + 1)]"),
            ("first", "squares[first + 1 : max(int(ranges[1][-1]), first + 2)]"),
        )
    ),
    _planted(
        file="fastpath/exact/merge.py",
        before="    bound = up(bound + up(np.abs(merged - output)))\n",
        after="",
        tests="tests/fastpath/exact/test_merge.py::test_the_rounding_of_what_is_returned_is_counted",
        catches="the rounding of what is merged to the type of the parts",
    ),
    _planted(
        before="np.minimum(bound, spread + DECIDABLE)",
        after="np.minimum(bound, spread)",
        tests="tests/fastpath/sparsification/test_certificate.py::test_equal_values_are_decided_at_once",
        catches="what an enclosure needs to decide",
    ),
    _planted(
        before="    if max(d, int(_roundings(",
        after="    if max(d, 0 * int(_roundings(",
        tests=f"{TERMS}::test_more_roundings_than_the_claim_covers_are_refused",
        catches="the limit on the roundings of a sum",
    ),
    _planted(
        before="    shifts = (_Shift.NOTHING,) if small else",
        after="    shifts = (_Shift.NOTHING,) if True else",
        tests=f"{TERMS}::test_a_sum_of_weights_that_overflows_is_not_divided_by",
        catches="the limit on logits without a shift",
    ),
    _planted(
        before="(_Shift.FIRST_MAXIMUM, _Shift.RUNNING_MAXIMUM)",
        after="(_Shift.FIRST_MAXIMUM,)",
        tests=f"{TERMS}::test_a_sum_of_values_that_overflows_is_not_divided",
        catches="the running maximum where the first one overflows",
    ),
    _semantics(
        before="            tile *= softcap\n",
        after="",
        catches="the outer factor of the soft cap",
    ),
    _semantics(
        file="fastpath/exact/blocks.py",
        before="                outside = (key < first) | (key >= stop)\n",
        after="                outside = key >= stop\n",
        catches="the left end of a window",
    ),
    _semantics(
        file="fastpath/exact/blocks.py",
        before="                np.copyto(scores, -np.inf, where=hidden)\n",
        after="                pass\n",
        catches="the mask",
    ),
    _semantics(
        before="np.exp(sink) if shifted_by is _Shift.NOTHING else 1",
        after="0",
        catches="the sink",
    ),
    _semantics(
        before="    logarithm = shift + log_denominator",
        after="    logarithm = log_denominator",
        catches="the shift in the logarithm",
    ),
    _semantics(
        file="fastpath/exact/blocks.py",
        before="block.queries * block.queries.dtype.type(scale)",
        after="block.queries",
        catches="the scale",
    ),
    _semantics(
        before="sides[index // group]",
        after="sides[index % len(sides)]",
        catches="which key head a query head reads",
    ),
    _semantics(
        file="fastpath/exact/blocks.py",
        before="        error = biased_score(up(error + tiny), u, magnitude, largest)\n",
        after="",
        catches="the rounding of a bias",
    ),
    _semantics(
        file="fastpath/exact/blocks.py",
        before="error = scaled_logit(d, u, magnitude, tiny, block.side.largest_key)",
        after="error = 0 * magnitude",
        catches="the rounding of a scaled logit",
    ),
    _semantics(
        before="            waiting[seeing] &= np.isneginf(largest)",
        after="            waiting[seeing] = False",
        catches="rows of which the first block is hidden",
    ),
    _semantics(
        file="fastpath/exact/blocks.py",
        before="np.copyto(corner, -np.inf, where=key >= stop[:ending, None])",
        after="pass",
        catches="the right end of what a query sees",
    ),
    _semantics(
        file="fastpath/exact/blocks.py",
        before="np.copyto(corner, -np.inf, where=key < first[beginning:, None])",
        after="pass",
        catches="the left end of a window, where tiles are hidden",
    ),
    _semantics(
        before="        total += weights[:, whole:] @ values[whole:]\n",
        after="        pass\n",
        catches="the keys after the last whole block of a tile",
    ),
    _planted(
        before="        up(lost / np.minimum(value_magnitude, 1)),\n",
        after="        up(lost / value_magnitude),\n",
        tests=THEOREM,
        catches="that products of values above 1 underflow as much as others",
    ),
    _prepared(
        file="fastpath/exact/scaled_values.py",
        before="if keep_moderate and np.abs(self._exponent).max() <= MODERATE:",
        after="if keep_moderate:",
        catches="values that need their scale",
    ),
    _prepared(
        file="fastpath/exact/scaled_values.py",
        before="    return least + 0, most + 0\n",
        after="    return least, most\n",
        catches="zeros whose sign depends on the order",
    ),
    _prepared(
        before="LEAST_SQUARE[name] <= self._top < np.inf",
        after="True",
        catches="the arithmetic that squares need",
    ),
    _prepared(
        before="LEAST_SQUARE[name] <= self._top < np.inf",
        after="self._top < np.inf",
        catches="squares that underflow",
    ),
    _prepared(
        before="            squares = _wide_squares(new if same else x, self.exponent)\n",
        after="            squares = _wide_squares(new, self.exponent)\n",
        catches="rows whose squares were computed in another arithmetic",
    ),
    _prepared(
        before="            self._top = max(self._top, earlier._top)\n",
        after="            pass\n",
        catches="the largest of the rows before",
    ),
    _prepared(
        before="        norms: NDArray[np.float64] = np.atleast_1d(up(np.sqrt(sums)))",
        after="        norms: NDArray[np.float64] = np.atleast_1d(np.sqrt(squares.astype(np.float64)))",
        catches="what a norm's rounding takes",
    ),
    _prepared(
        before="if taken[0] != self.count or stop > buffer.shape[axis]:",
        after="if stop > buffer.shape[axis]:",
        catches="room that another has taken",
    ),
    _prepared(
        before="max(stop, 2 * self.count)",
        after="stop",
        catches="room to grow",
    ),
    _prepared(
        before="        self.array.flags.writeable = False\n",
        after="",
        catches="what was handed out can be written to",
    ),
    _prepared(
        before='self._fill(np.array(rows, order="C"), count, [count])',
        after='self._fill(np.asarray(rows, order="C"), count, [count])',
        catches="keys that are not copied",
    ),
    _prepared(
        before="                np.minimum(self.values.whole[0], least),\n",
        after="                least,\n",
        catches="the range of the values before",
    ),
    _prepared(
        before="                check_rows(name, rows)\n",
        after="                pass\n",
        catches="rows that are not finite",
    ),
    _prepared(
        file="fastpath/exact/attention.py",
        before="if sides is None or sides[0].k.dtype != q.dtype:",
        after="if sides is None:",
        catches="queries of a wider type",
    ),
)
