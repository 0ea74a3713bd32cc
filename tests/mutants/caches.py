"""Quantised caches: each term of the certificates, of the formats and of the ledger, left out."""

from functools import partial

from tests.mutants.runner import Mutant

TERMS = "tests/fastpath/caches/test_cache_terms.py"
CACHE = "tests/fastpath/caches/test_quantised_cache.py"
OTHERS = "tests/fastpath/caches/test_certify_quantised.py"
LEDGER = "tests/fastpath/caches/test_audit_ledger.py"
HULL = "tests/fastpath/caches/test_hull.py"
STRUCTURED = f"{CACHE}::test_the_truth_on_the_originals_is_within_both_bounds"

_augmented = partial(Mutant, file="fastpath/caches/augmented.py")
_formats = partial(Mutant, file="fastpath/caches/formats.py")
_hull = partial(Mutant, file="fastpath/caches/hull.py")
_others = partial(Mutant, file="fastpath/caches/certify_quantised.py")
_ledger = partial(Mutant, file="fastpath/caches/audit_ledger.py")
_cache = partial(Mutant, file="fastpath/caches/quantised_cache.py")

MUTANTS = (
    _augmented(
        before="            up(up(reach * reach) * square_mean),\n",
        after="            0 * square_mean,\n",
        tests=f"{TERMS}::test_keys_that_move_apart_move_the_output",
        catches="the scatter of the values by radii",
    ),
    _augmented(
        before="highest[..., width : 2 * width], np.abs(centre)",
        after="centre * centre, np.abs(centre)",
        tests=f"{TERMS}::test_keys_that_move_apart_move_the_output",
        catches="the squares of the values",
    ),
    _augmented(
        before="            growth,\n            found_error",
        after="            1.0,\n            found_error",
        tests=f"{TERMS}::test_a_large_radius_of_a_light_key_counts_by_its_exponential",
        catches="the growth of e^c - 1 beyond c",
    ),
    _augmented(
        before="up(np.ldexp(error_mean, error_unit - value_unit))",
        after="0 * error_mean",
        tests=f"{TERMS}::test_values_that_move_one_way_move_the_output_as_far",
        catches="the values' errors",
    ),
    _augmented(
        before="up(np.ldexp(up(reach * both_mean), error_unit - value_unit))",
        after="0 * both_mean",
        tests=f"{TERMS}::test_a_value_counts_with_the_weight_that_its_key_may_have",
        catches="the product of radius and error",
    ),
    _augmented(
        before="up(lengths_ * abs(options.scale))",
        after="lengths_",
        tests=f"{TERMS}::test_a_scale_enlarges_what_a_key_moves",
        catches="the scale in what a logit moves",
    ),
    _augmented(
        before="            growth,\n            found_error[..., :width],\n",
        after="            growth,\n            0 * centre,\n",
        tests=f"{TERMS}::test_the_kernels_own_rounding_is_part_of_the_bound",
        catches="the kernel's own rounding",
    ),
    _augmented(
        before="np.where(seen, up(answer.log_sum_exp_bound + moved), 0)",
        after="np.where(seen, answer.log_sum_exp_bound, 0)",
        tests=f"{TERMS}::test_keys_that_all_move_up_move_the_logarithm_as_far",
        catches="the radii in the log-sum-exp",
    ),
    _hull(
        before="self.radii = np.where(seen, up(moved + slack), 0)",
        after="self.radii = np.where(seen, slack + 0 * moved, 0)",
        tests=f"{TERMS}::test_keys_that_move_apart_move_the_output",
        catches="the keys' radii in the hull",
    ),
    _hull(
        before="high, low = above(values[held] + spread), below(values[held] - spread)",
        after="high, low = values[held], values[held]",
        tests=f"{TERMS}::test_values_that_move_one_way_move_the_output_as_far",
        catches="the values' errors in the hull",
    ),
    _hull(
        before="    found = hull_output(np.maximum(above(distance), 0), excess, lightest)\n",
        after="    found = np.maximum(above(distance), 0)\n",
        tests=f"{HULL}::test_where_newtons_method_stops_early_the_bound_is_larger_and_holds",
        catches="what is missing where Newton's method stops",
    ),
    _formats(
        before='(16.0 if self.bits == "fp8" else 0.5)',
        after='(16.0 if self.bits == "fp8" else 0.25)',
        tests=STRUCTURED,
        catches="half of half a step",
    ),
    _formats(
        before="    codes += _radius(codes, largest) < measured\n",
        after="    codes = np.minimum(codes, 1.0)\n",
        tests=STRUCTURED,
        catches="the measured residuals of the keys",
    ),
    _formats(
        before="measured if before is None else up(measured + before)",
        after="measured",
        tests=f"{CACHE}::test_a_radius_is_at_least_the_distance_of_what_is_read_and_little_more",
        catches="what bfloat16 took from keys that waited for their group",
    ),
    _cache(
        before="            self._evicted = np.insert(self._evicted, place, id_)\n",
        after="",
        tests=f"{CACHE}::test_what_is_refused_leaves_the_state_as_it_was",
        catches="that an id is gone once it was evicted",
    ),
    _others(
        before="        error = up(error + value_lost.max(axis=-1))\n",
        after="        pass\n",
        tests=f"{TERMS}::test_codes_are_read_exactly_or_their_rounding_is_counted",
        catches="what float32 takes from a code times its scale",
    ),
    _others(
        before="error_bound=up(distance + found.error_bound)",
        after="error_bound=found.error_bound",
        tests=f"{OTHERS}::test_a_served_answer_is_certified_in_place_of_ours",
        catches="the distance of a served answer from ours",
    ),
    _ledger(
        before="weight = _FIRST if audited == 0 else",
        after="weight = 1.0 if audited == 0 else",
        tests=f"{LEDGER}::test_a_limit_is_where_the_binomial_tail_falls_below_its_share",
        catches="the share of the failure probability",
    ),
    _ledger(
        before="    return low\n\n\ndef _tail",
        after="    return low // 2\n\n\ndef _tail",
        tests=f"{LEDGER}::test_the_exact_worst_case_is_within_the_failure_probability",
        catches="half of the errors that there may be",
    ),
    _ledger(
        before="            self._audits += 1\n",
        after="            self._audits += 2\n",
        tests=f"{LEDGER}::test_an_error_is_what_exceeds_the_tolerance",
        catches="the count of audits",
    ),
)
