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
_LIGHT = "test_the_share_of_light_keys_is_what_their_logits_and_the_sum_of_heavy_weights_say"
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
        "        lightest = library_up(np.exp(LOWEST_LOGIT))",
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
        "        step = np.maximum.reduceat(length, starts)",
        "        step = length[starts]",
        "the farthest query of a cluster",
        _QUERIES,
    ),
    _argument(
        "positive_sum(lengths(self._steps), 1, 1, u, tiny)",
        "lengths(self._steps)",
        "the rounding of a difference",
        _QUERIES,
    ),
    _argument(
        "        self._radius = np.maximum.reduceat(changed, starts)",
        "        self._radius = changed[starts]",
        "the farthest image of a cluster",
        _QUERIES,
    ),
    _argument(
        "up(lengths(self._steps @ for_queries) + image_error(d, u, length, size_M, tiny))",
        "(lengths(self._steps @ for_queries) + 0 * image_error(d, u, length, size_M, tiny))",
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
        "        defect = norm(up(np.abs(wide_M @ wide_N.T - np.eye(d))))",
        "        defect = 0.0",
        "that the coordinates are not quite inverse",
        "test_the_slack_knows_how_far_the_coordinates_are_from_inverse",
    ),
    _argument(
        "float(up(defect + product_loss(size_M, size_N, d, d * d)))",
        "defect",
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
        "up(up(self._longest_key + norm(self._origin)) + mean_error)",
        "up(self._longest_key + mean_error)",
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
        "up(up(reach + logit_error) + shift)",
        "up(reach + logit_error)",
        "the shift in the reach of an exponent",
        _ROUNDING,
    ),
    _argument(
        "up(up(reach + logit_error) + shift)",
        "up(shift)",
        "the logits in the reach of an exponent",
        _ROUNDING,
    ),
    _argument(
        "            logit_error, u, up(up(reach",
        "            0 * logit_error, u, up(up(reach",
        "the logits' error of kept keys",
        _ROUNDING,
    ),
    _argument(
        "+ shift), self._exp_error, 1",
        "+ shift), 0.0, 1",
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
        "        self._terms = min(KEPT_KEY_BLOCK, len(k)) + ceil(len(k) / KEPT_KEY_BLOCK)",
        "        self._terms = min(KEPT_KEY_BLOCK, len(k))",
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
        "1, self._tiny, LIGHTEST_SUM)",
        "1, self._tiny, 1.0)",
        "that kept weights may add up to little",
        _ROUNDING,
    ),
    _argument(
        "            up(self._underflow / self._magnitude),\n            self._values.smallest,",
        "            up(self._underflow / self._magnitude),\n            0.0,",
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
        "        room = float(down(self._allowed - worst))",
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
        before=" & (self._slack[some] <= LARGEST_SHARE_SLACK)",
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
        before="weighed.certain[j] & normal",
        after="weighed.certain[j]",
        tests=f"{TERMS}::test_rows_whose_kept_weights_add_up_to_little_are_computed_exactly",
        catches="the test of how light a sum is",
    ),
    _argument(
        "share = up(self._share + self._light_share(rows, reach, weight_error))",
        "share = self._share",
        "the share of light keys",
        _ROUNDING,
    ),
    _argument(
        "share = up(self._share + self._light_share(rows, reach, weight_error))",
        "share = self._light_share(rows, reach, weight_error)",
        "the share of the keys that a cluster drops, beside that of light ones",
        _ROUNDING,
    ),
    _argument(
        "dropped_keys_output(rounding, share, self._spread)",
        "dropped_keys_output(rounding, 0 * share, self._spread)",
        "the share of all dropped keys",
        _ROUNDING,
    ),
    _argument(
        "dropped_keys_output(rounding, share, self._spread)",
        "dropped_keys_output(0 * rounding, share, self._spread)",
        "the rounding of kept keys",
        _ROUNDING,
    ),
    _argument(
        "self._head.keys.shape[1] + 1, u, up(reach + shift), self._tiny",
        "self._head.keys.shape[1], u, up(reach + shift), self._tiny",
        "that the shift is a term of a compared logit",
        _LIGHT,
    ),
    _argument(
        "u, up(reach + shift), self._tiny",
        "u, reach, self._tiny",
        "the size of the shift in a compared logit",
        _LIGHT,
    ),
    _argument(
        "np.exp(above(rows.thresholds + logit_error))",
        "np.exp(above(rows.thresholds + 0 * logit_error))",
        "the error of a compared logit",
        _LIGHT,
    ),
    _argument(
        "dropped_mass(up(rows.light * heaviest), heavy)",
        "dropped_mass(heaviest, heavy)",
        "how many keys are light",
        _LIGHT,
    ),
    _argument(
        "np.exp(below(logarithms - log_error))",
        "np.exp(below(logarithms))",
        "the error of the sum of heavy weights",
        _LIGHT,
    ),
    _argument(
        "            self._underflow,\n            library_up(np.abs(logarithms)),",
        "            0.0,\n            library_up(np.abs(logarithms)),",
        "what underflow takes from the sum of heavy weights",
        _LIGHT,
    ),
    _argument(
        "        self._share = min(0.25, float(down(room / spread)) / 2) if spread else 0.25",
        "        self._share = min(0.25, float(down(room / spread))) if spread else 0.25",
        "that two steps share what a row may lose",
        _ROOM,
    ),
    _planted(
        before="columns[:d, :n], columns[d, :n] = q.T, -shift",
        after="columns[:d, :n] = q.T",
        tests=f"{PROPERTIES}::test_a_light_key_is_light_for_every_query_that_sees_it",
        catches="the shift of a compared logit",
    ),
    _planted(
        before="reduce(np.bitwise_and, words.T) != ALL_LIGHT",
        after="words[:, 0] != ALL_LIGHT",
        tests=f"{PROPERTIES}::test_a_light_key_is_light_for_every_query_that_sees_it",
        catches="the queries after the first eight",
    ),
    _planted(
        before="            np.less_equal(tile, threshold, out=below_threshold)",
        after="            np.logical_not(np.greater(tile, threshold), out=below_threshold)",
        tests=f"{PROPERTIES}::test_a_key_whose_logit_is_no_number_is_heavy",
        catches="that what is no number is heavy",
    ),
    _planted(
        before="hidden = keys[:, None] >= stops[start:partly]",
        after="hidden = keys[:, None] > stops[start:partly]",
        tests=f"{PROPERTIES}::test_a_light_key_is_light_for_every_query_that_sees_it",
        catches="which keys a query sees, when it is looked for light ones",
    ),
)
