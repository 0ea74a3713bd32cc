"""Dropped keys: each term of the certificate and each guard, left out."""

from functools import partial

from tests.mutants.runner import Mutant

TERMS = "tests/fastpath/real_heads/test_dropped_keys_terms.py"
PROPERTIES = "tests/fastpath/real_heads/test_dropped_keys.py"

_planted = partial(Mutant, file="fastpath/real_heads/dropped_keys.py")


def _argument(before: str, after: str, catches: str, test: str) -> Mutant:
    """Plant another argument of a bound."""
    return _planted(before=before, after=after, tests=f"{TERMS}::{test}", catches=catches)


_CONSTANTS = "test_the_constants_of_the_slack_are_those_of_the_type_and_the_head"
_QUERIES = "test_the_slack_knows_the_farthest_query_of_every_cluster"
_KEYS = "test_the_slack_knows_the_longest_key_and_the_size_of_every_logit"
_MEANS = "test_the_slack_knows_the_errors_of_means_and_images"
_ROUNDING = "test_the_rounding_of_the_kept_keys_is_that_of_exact_attention"
_ROOM = "test_the_allowed_share_leaves_room_for_rounding"

MUTANTS = (
    _argument(
        "terms = min(CENTRE_BLOCK, n) + n // CENTRE_BLOCK + 1",
        "terms = min(CENTRE_BLOCK, n) + 1",
        "the additions of blocks about a centre",
        _CONSTANTS,
    ),
    _argument(
        "terms = min(CENTRE_BLOCK, n) + n // CENTRE_BLOCK + 1",
        "terms = min(CENTRE_BLOCK, n) + n // CENTRE_BLOCK",
        "the rounding of a mean",
        _CONSTANTS,
    ),
    _argument(
        "terms = min(CENTRE_BLOCK, n) + n // CENTRE_BLOCK + 1",
        "terms = n // CENTRE_BLOCK + 1",
        "the additions within a block about a centre",
        _CONSTANTS,
    ),
    _argument(
        "        lightest = np.exp(LOWEST_LOGIT)",
        "        lightest = 0.0",
        "what keys far from a centre count for",
        _CONSTANTS,
    ),
    _argument(
        "            self._exp_error,\n            tiny,\n            lightest,",
        "            0.0,\n            tiny,\n            lightest,",
        "the error of exp about a centre",
        _CONSTANTS,
    ),
    _argument(
        "            tiny,\n            lightest,\n            reach,",
        "            0.0,\n            lightest,\n            reach,",
        "underflow about a centre",
        _CONSTANTS,
    ),
    _argument(
        "            step,\n            self._radius,",
        "            0 * step,\n            self._radius,",
        "the length of a step",
        _QUERIES,
    ),
    _argument(
        "        step = np.maximum.reduceat(length, starts) * UPWARD",
        "        step = length[starts] * UPWARD",
        "the farthest query of a cluster",
        _QUERIES,
    ),
    _argument(
        "np.ldexp(*row_norms(self._steps)) * (1 + 4 * u)",
        "np.ldexp(*row_norms(self._steps))",
        "the rounding of a difference",
        _QUERIES,
    ),
    _argument(
        "        self._radius = np.maximum.reduceat(changed, starts) * UPWARD",
        "        self._radius = changed[starts] * UPWARD",
        "the farthest image of a cluster",
        _QUERIES,
    ),
    _argument(
        "        changed += image_error(d, u, length, size_M, tiny)\n",
        "        image_error(d, u, length, size_M, tiny)\n",
        "the rounding of an image, in the formula",
        "test_the_radius_has_room_for_the_rounding_of_every_image",
    ),
    _argument(
        "image_error(d, u, length, size_M, tiny)",
        "image_error(d, u, length, 0.0, tiny)",
        "the size of the coordinates of queries",
        "test_the_radius_has_room_for_the_rounding_of_every_image",
    ),
    _argument(
        "            reach,\n            logit_error,\n            step,",
        "            0 * reach,\n            logit_error,\n            step,",
        "the reach about a centre",
        _KEYS,
    ),
    _argument(
        "            reach,\n            logit_error,\n            step,",
        "            reach,\n            0 * logit_error,\n            step,",
        "the logits' error about a centre",
        _KEYS,
    ),
    _argument(
        "            self._longest_key,\n            mean_error,",
        "            0.0,\n            mean_error,",
        "the longest key",
        _KEYS,
    ),
    _argument(
        "        defect = float(np.linalg.norm(wide_M @ wide_N.T - np.eye(d))) * UPWARD",
        "        defect = 0.0",
        "that the coordinates are not quite inverse",
        "test_the_slack_knows_how_far_the_coordinates_are_from_inverse",
    ),
    _argument(
        "        defect += d * 2.0**-50 * size_M * size_N\n",
        "",
        "the rounding of the defect",
        "test_the_defect_has_room_for_its_own_rounding",
    ),
    _argument(
        "            mean_error,\n            size_N,",
        "            0.0,\n            size_N,",
        "the error of the mean",
        _MEANS,
    ),
    _argument(
        "centre_mean_error(d, terms, n, u, lightest, largest_key, tiny)",
        "centre_mean_error(d, terms, n, u, 0.0, largest_key, tiny)",
        "what light keys take from the mean",
        _MEANS,
    ),
    _argument(
        "centre_mean_error(d, terms, n, u, lightest, largest_key, tiny)",
        "centre_mean_error(d, 0, n, u, lightest, largest_key, tiny)",
        "the roundings of the mean",
        _MEANS,
    ),
    _argument(
        "            size_N,\n            image_error",
        "            0.0,\n            image_error",
        "the size of the coordinates of keys",
        "test_the_slack_knows_how_far_the_coordinates_are_from_inverse",
    ),
    _argument(
        "            image_error(d, u, farthest, size_N, tiny),\n",
        "            0.0,\n",
        "the rounding of the images of keys",
        _MEANS,
    ),
    _argument(
        "(self._longest_key + _largest_norm(self._origin[None]) + mean_error) * UPWARD",
        "(self._longest_key + mean_error) * UPWARD",
        "the origin of images",
        _MEANS,
    ),
    _argument(
        "            self._longest_image,\n            self._share,",
        "            0.0,\n            self._share,",
        "the longest image",
        _MEANS,
    ),
    _argument(
        "(reach + logit_error + shift) * UPWARD, self._exp_error, 1",
        "(reach + logit_error) * UPWARD, self._exp_error, 1",
        "the shift in the reach of an exponent",
        _ROUNDING,
    ),
    _argument(
        "(reach + logit_error + shift) * UPWARD, self._exp_error, 1",
        "shift * UPWARD, self._exp_error, 1",
        "the logits in the reach of an exponent",
        _ROUNDING,
    ),
    _argument(
        "            logit_error, u, (reach",
        "            0 * logit_error, u, (reach",
        "the logits' error of kept keys",
        _ROUNDING,
    ),
    _argument(
        "(reach + logit_error + shift) * UPWARD, self._exp_error, 1",
        "(reach + logit_error + shift) * UPWARD, 0.0, 1",
        "the error of exp of kept keys",
        _ROUNDING,
    ),
    _argument(
        "            quotient.astype(np.float64),\n            self._terms,",
        "            quotient.astype(np.float64),\n            0,",
        "gamma of kept keys",
        _ROUNDING,
    ),
    _argument(
        "        self._terms = min(KEY_BLOCK, len(k)) + ceil(len(k) / KEY_BLOCK)",
        "        self._terms = min(KEY_BLOCK, len(k))",
        "the additions of blocks of kept keys",
        _ROUNDING,
    ),
    _argument(
        "            quotient.astype(np.float64),\n            self._terms,",
        "            0 * quotient.astype(np.float64),\n            self._terms,",
        "the quotient of kept keys",
        _ROUNDING,
    ),
    _argument(
        "        underflow = 8 * len(self._head.keys) * self._tiny / LIGHTEST_SUM",
        "        underflow = 8 * len(self._head.keys) * self._tiny",
        "that kept weights may add up to little",
        _ROUNDING,
    ),
    _argument(
        "            underflow / self._magnitude,\n            self._values.smallest,",
        "            underflow / self._magnitude,\n            0.0,",
        "the underflow of the output of kept keys",
        _ROUNDING,
    ),
    _argument(
        "            self._spread,\n            self._magnitude,\n            quotient",
        "            self._spread,\n            0 * self._magnitude,\n            quotient",
        "the magnitude of the values of kept keys",
        _ROUNDING,
    ),
    _argument(
        "            self._spread,\n            self._magnitude,\n            quotient",
        "            0 * self._spread,\n            self._magnitude,\n            quotient",
        "the spread of the values of kept keys",
        _ROUNDING,
    ),
    _argument(
        "dropped_keys_output(rounding, self._share, self._spread)",
        "dropped_keys_output(rounding, 0.0, self._spread)",
        "the share of dropped keys",
        _ROUNDING,
    ),
    _argument(
        "dropped_keys_output(rounding, self._share, self._spread)",
        "dropped_keys_output(0 * rounding, self._share, self._spread)",
        "the rounding of kept keys",
        _ROUNDING,
    ),
    _argument(
        "        room = (self._allowed - worst) / UPWARD",
        "        room = self._allowed",
        "what is set aside for rounding",
        _ROOM,
    ),
    _planted(
        before="(logarithms + even - self._slack[some])",
        after="(logarithms + even)",
        tests=f"{PROPERTIES}::test_no_key_is_dropped_for_rounding",
        catches="the slack, in fact",
    ),
    _planted(
        before="        shares *= self._radius[some, None].astype(shares.dtype)\n",
        after="        shares *= 0\n",
        tests=f"{TERMS}::test_a_cluster_far_from_its_centre_keeps_the_keys_of_its_farthest_query",
        catches="the radius of a cluster",
    ),
    _planted(
        before="        if not room > 0:",
        after="        if False:",
        tests=f"{PROPERTIES}::test_a_tolerance_at_rounding_is_refused_with_what_rounding_may_cost",
        catches="the refusal of a tolerance at rounding",
    ),
    _planted(
        before=" & (self._slack[some] <= LARGEST_SLACK)",
        after="",
        tests=f"{PROPERTIES}::test_rows_whose_rounding_says_nothing_are_computed_exactly",
        catches="the limit on the slack",
    ),
    _planted(
        before="        certain &= products <= LARGEST_PRODUCT[images.dtype.name]\n",
        after="",
        tests=f"{PROPERTIES}::test_images_whose_product_overflows_are_not_taken_for_no_distance",
        catches="the limit on products of images",
    ),
    _planted(
        before="np.isfinite(sums).all(axis=1) & (sums[:, -1] >= LIGHTEST_SUM)",
        after="np.isfinite(sums[:, :-1] / sums[:, -1:]).all(axis=1) & (sums[:, -1] >= LIGHTEST_SUM)",
        tests=f"{PROPERTIES}"
        "::test_a_sum_of_weights_that_overflows_by_itself_is_not_taken_for_quotients_of_zero",
        catches="the finiteness test of the sums",
    ),
    _planted(
        before="np.isfinite(sums).all(axis=1) & (sums[:, -1] >= LIGHTEST_SUM)",
        after="np.isfinite(sums).all(axis=1)",
        tests=f"{TERMS}::test_rows_whose_kept_weights_add_up_to_little_are_computed_exactly",
        catches="the test of how light a sum is",
    ),
)
