"""An index of keys: each term of its certificate and each step of its upkeep, left out."""

from functools import partial

from tests.mutants.runner import Mutant

INDEX = "tests/fastpath/decoding/test_key_index.py"
TERMS = "tests/fastpath/decoding/test_closable.py"
SAMPLED = "tests/fastpath/decoding/test_sampled.py"
PRODUCTS = "tests/fastpath/decoding/test_products.py"
BOXES = "tests/fastpath/decoding/test_boxes.py"
CLOSED = f"{INDEX}::test_keys_that_stay_closed_count_by_what_they_weigh"
CORNER = f"{INDEX}::test_a_key_may_lie_in_the_corner_of_its_box"
SLACK = f"{BOXES}::test_a_slack_has_every_term_of_the_theorem"
INVARIANT = f"{INDEX}::test_every_key_lies_in_the_box_of_its_cluster_or_waits"

CORESET = "tests/fastpath/decoding/test_balanced_coreset.py"
LEDGER = f"{CORESET}::test_a_ledger_bounds_what_is_missing_whatever_its_frame"
NUMBERS = f"{CORESET}::test_a_ledgers_numbers_are_at_least_what_they_stand_for_and_hardly_more"
EQUAL = f"{CORESET}::test_values_of_equal_keys_are_missed_by_what_the_bound_says"

_index = partial(Mutant, file="fastpath/decoding/key_index.py")
_closable = partial(Mutant, file="fastpath/decoding/closable.py")
_products = partial(Mutant, file="fastpath/decoding/products.py")
_sampled = partial(Mutant, file="fastpath/decoding/sampled.py")
_boxes = partial(Mutant, file="fastpath/decoding/boxes.py")
_coreset = partial(Mutant, file="fastpath/decoding/balanced_coreset.py")
_discrepancy = partial(Mutant, file="fastpath/decoding/discrepancy.py")

MUTANTS = (
    _discrepancy(
        before="exponent = above(above(above(q @ frame.centre) + centre_error) - logarithm)",
        after="exponent = above(centre_error - logarithm)",
        tests=LEDGER,
        catches="the centre that keys are taken from",
    ),
    _discrepancy(
        before="images, np.ldexp(images, self.exponents)",
        after="images, images",
        tests=LEDGER,
        catches="the powers of two of a query",
    ),
    _discrepancy(
        before="            units = units + level\n",
        after="",
        tests=LEDGER,
        catches="the weight of what was halved",
    ),
    _discrepancy(
        before="                frame.rotation.defect,\n",
        after="                0.0,\n",
        tests=LEDGER,
        catches="how far the matrix is from a rotation",
    ),
    _discrepancy(
        before="norms=_finite_or_infinite(up(self.norms + up(np.ldexp(norms, units))))",
        after="norms=_finite_or_infinite(up(np.ldexp(norms, units)))",
        tests=NUMBERS,
        catches="halvings before the last",
    ),
    _discrepancy(
        before="masses=_finite_or_infinite(up(self.masses + up(np.ldexp(magnitudes, units))))",
        after="masses=_finite_or_infinite(up(np.ldexp(magnitudes, units)))",
        tests=NUMBERS,
        catches="masses before the last",
    ),
    _discrepancy(
        before="            np.maximum(computed, 0), up(roundings * UNIT_ROUNDOFF), magnitude, underflow\n",
        after="            np.maximum(computed, 0), 0.0, magnitude, underflow\n",
        tests=f"{CORESET}::test_rounding_of_a_gram_sum_is_part_of_its_bound",
        catches="the rounding of a Gram sum",
    ),
    _discrepancy(
        before="            np.maximum(computed, 0), up(roundings * UNIT_ROUNDOFF), magnitude, underflow\n",
        after="            np.maximum(computed, 0), up(roundings * UNIT_ROUNDOFF), magnitude, 0.0\n",
        tests=f"{CORESET}::test_rounding_of_a_gram_sum_is_part_of_its_bound",
        catches="what underflow takes of a Gram sum",
    ),
    _discrepancy(
        before="        for degree in range(DEGREES + 1):\n                powers",
        after="        for degree in range(1, DEGREES + 1):\n                powers",
        tests=EQUAL,
        catches="the degree 0",
    ),
    _coreset(
        before="shares, share = missing[:, :-1], missing[:, -1:]",
        after="shares, share = 0 * missing[:, :-1], missing[:, -1:]",
        tests=EQUAL,
        catches="what the numerator lacks",
    ),
    _coreset(
        before="        levels[rows[some[signs < 0]]] += 1\n",
        after="",
        tests=f"{CORESET}::test_the_truth_is_within_the_bound",
        catches="the weight that a key takes over",
    ),
    _coreset(
        before="            self._ledgers = [*self._ledgers, *other._ledgers]\n",
        after="",
        tests=f"{CORESET}::test_parts_that_are_merged_hold_all_keys_and_are_certified",
        catches="what the other one's halvings did",
    ),
    _coreset(
        before="np.maximum(self._range[1], ranges[1]),\n                ]",
        after="self._range[1],\n                ]",
        tests=f"{CORESET}::test_values_that_only_the_other_part_had_and_lost_are_in_the_range",
        catches="values that the other one has lost",
    ),
    _coreset(
        before="np.maximum(np.maximum(upper - output, output - lower), 0)",
        after="np.maximum(upper - output, 0)",
        tests=f"{CORESET}::test_the_truth_is_within_the_bound",
        catches="values below a coreset's output",
    ),
    _index(
        before="            if guess is None:\n",
        after="            if False:\n",
        tests=f"{INDEX}::test_a_guess_that_was_too_high_is_made_again",
        catches="a guess that is made again",
    ),
    _index(
        before="ratio = clusters.closed(opened, logarithm, log_bound)\n",
        after="ratio = np.zeros(len(q))\n",
        tests=CLOSED,
        catches="the clusters that stay closed",
    ),
    _closable(
        before="        weights *= counts\n",
        after="",
        tests=CLOSED,
        catches="how many keys a cluster holds",
    ),
    _closable(
        before="        weights = logits.max(axis=1)",
        after="        weights = logits.min(axis=1)",
        tests=f"{INDEX}::test_the_heaviest_for_any_query_of_a_group_counts_for_all",
        catches="the queries for which a key weighs more",
    ),
    _index(
        before="np.maximum(np.maximum(upper - output, output - lower), 0)",
        after="np.maximum(upper - output, 0)",
        tests=CLOSED,
        catches="values below the output",
    ),
    _index(
        before="np.maximum(np.maximum(upper - output, output - lower), 0)",
        after="np.maximum(output - lower, 0)",
        tests=CLOSED,
        catches="values above the output",
    ),
    _index(
        before="            log_sum_exp_bound=unopened_log(log_bound, ratio),\n",
        after="            log_sum_exp_bound=log_bound,\n",
        tests=CLOSED,
        catches="closed keys in the log-sum-exp",
    ),
    _index(
        before="bound = unopened_output(answer.error_bound, ratio[:, None], farthest)",
        after="bound = unopened_output(0.0, ratio[:, None], farthest)",
        tests=f"{INDEX}::test_the_rounding_of_attention_on_opened_keys_is_part_of_the_bound",
        catches="the rounding of attention on opened keys",
    ),
    _closable(
        before="above(above(shift - logarithm) + log_bound)",
        after="above(above(shift - logarithm) - 1)",
        tests=CLOSED,
        catches="what the log-sum-exp may be off by, and more",
    ),
    _index(
        before="        upper += logits\n",
        after="        upper = logits.copy()\n",
        tests=CORNER,
        catches="the halves of the boxes",
    ),
    _index(
        before="products(np.abs(images), self._halves.array)",
        after="products(images, self._halves.array)",
        tests=CORNER.replace("corner_of_its_box", "corner_of_its_box_below"),
        catches="the magnitude of a query's coordinates",
    ),
    _index(
        before="    if waiting:\n",
        after="    rows = rows[:total]\n    if False:\n",
        tests=f"{INDEX}::test_keys_that_wait_are_read",
        catches="keys that wait",
    ),
    _index(
        before="        known = None if self._known is None else self._whole()\n",
        after="        known = self._known\n",
        tests=f"{INDEX}::test_a_value_that_came_last_counts_when_its_key_stays_closed",
        catches="the values that were last when blocks were sorted",
    ),
    _index(
        before="        k, v = k[order], self._values.array[rows][order]\n",
        after="        k, v = k[order], self._values.array[rows]\n",
        tests=INVARIANT,
        catches="that values go with their keys",
    ),
    _index(
        before="        starts = start + np.cumsum(boxes.sizes) - boxes.sizes\n",
        after="        starts = np.cumsum(boxes.sizes) - boxes.sizes\n",
        tests=INVARIANT,
        catches="where a block begins",
    ),
    _index(
        before="                taken, level = MERGED - 1, level + 1\n",
        after="                break\n",
        tests=f"{INDEX}::test_blocks_of_a_size_are_merged",
        catches="that blocks are merged",
    ),
    _index(
        before="            if len(k) != len(v):\n",
        after="            if False:\n",
        tests=f"{INDEX}::test_what_is_refused_leaves_the_state_as_it_was",
        catches="keys without values",
    ),
    _index(
        before="                check_rows(name, rows)\n",
        after="                pass\n",
        tests=f"{INDEX}::test_what_is_refused_leaves_the_state_as_it_was",
        catches="appended rows that are not finite",
    ),
    _index(
        before='    check_rows("q", queries)\n',
        after="",
        tests=f"{INDEX}::test_what_is_refused_leaves_the_state_as_it_was",
        catches="queries that are not finite",
    ),
    _index(
        before="        if not worst <= allowed:\n",
        after="        if worst > allowed:\n",
        tests=f"{INDEX}::test_the_truth_is_within_the_bound",
        catches="bounds that are NaN",
    ),
    _closable(
        before="constants_of(values.whole[0]), values.whole, self.terms\n",
        after="constants_of(values.whole[0]), values.whole, 0\n",
        tests=f"{TERMS}::test_attention_on_kept_keys_is_certified_as_attention_is",
        catches="the roundings of sums",
    ),
    _closable(
        before="2 * top, constants",
        after="0 * top, constants",
        tests=f"{TERMS}::test_attention_on_kept_keys_is_certified_as_attention_is",
        catches="the rounding of shifted logits",
    ),
    _closable(
        before='        total = up(total + up(self.keys * constants["tiny"]))\n',
        after="",
        tests=f"{TERMS}::test_weights_that_underflow_are_counted",
        catches="what underflow takes from weights",
    ),
    _closable(
        before="            spread,\n            magnitude,\n",
        after="            0 * spread,\n            magnitude,\n",
        tests=f"{TERMS}::test_attention_on_kept_keys_is_certified_as_attention_is",
        catches="the spread of the values",
    ),
    _closable(
        before="        if fits == len(candidates):\n",
        after="        if False:\n",
        tests=f"{TERMS}::test_something_is_always_opened",
        catches="that something is read where all might stay closed",
    ),
    _closable(
        before="light = weights.sum(dtype=np.float64, where=closed)",
        after="light = weights.sum(dtype=np.float64) - heavy.sum(dtype=np.float64)",
        tests=f"{TERMS}::test_all_that_overflowed_is_opened_with_what_matters_beside_it",
        catches="what is light where a weight overflowed",
    ),
    _closable(
        before="        numerator = (scale[:, :, None] * [part[2] for part in parts])",
        after="        numerator = np.array([part[2] for part in parts])",
        tests=f"{TERMS}::test_attention_on_kept_keys_is_certified_as_attention_is",
        catches="what a tile's sums are relative to",
    ),
    _boxes(
        before="rows = np.random.default_rng(0).integers(len(k), size=COVARIANCE_ROWS)",
        after="rows = rows[:: -(-len(k) // COVARIANCE_ROWS)]",
        tests=f"{BOXES}::test_axes_are_not_those_of_keys_that_stand_in_like_places",
        catches="rows from all places, of which axes are estimated",
    ),
    _boxes(
        before="        rotation.defect,\n",
        after="        0.0,\n",
        tests=f"{INDEX}::test_a_matrix_that_is_no_rotation_is_paid_for",
        catches="the matrix's distance from a rotation",
    ),
    _boxes(
        before="        rotation.image_error(longest_key),\n",
        after="        0.0,\n",
        tests=SLACK,
        catches="the rounding of the keys' images",
    ),
    _boxes(
        before="        rotation.image_error(query_length),\n",
        after="        0.0,\n",
        tests=SLACK,
        catches="the rounding of the queries' images",
    ),
    _boxes(
        before="        logit_error,\n        rotation.defect",
        after="        0.0,\n        rotation.defect",
        tests=SLACK,
        catches="the rounding of what is computed for a box",
    ),
    _boxes(
        before="        halves = up(np.maximum(high - wide, wide - low))\n",
        after="        halves = np.maximum(high - wide, wide - low) * (1 - 2.0**-30)\n",
        tests=f"{BOXES}::test_every_image_lies_in_its_box",
        catches="that boxes are rounded outward",
    ),
    _boxes(
        before="        self.defect = float(up(defect + product_loss(self._size, self._size, d, d * d)))\n",
        after="        self.defect = defect / 2\n",
        tests=f"{BOXES}::test_a_rotation_says_how_far_it_is_from_one",
        catches="a part of the defect",
    ),
    _products(
        before="        found[-1, :, rest:] = -np.inf\n",
        after="        found[-1, :, rest:] = 0\n",
        tests=f"{PRODUCTS}::test_blocks_are_the_products_of_all",
        catches="what lies beyond the last row",
    ),
    _products(
        before="    if rest:\n        sums += weights[-1, :, :rest] @ values[whole * size :]\n",
        after="",
        tests=f"{PRODUCTS}::test_blocks_are_the_products_of_all",
        catches="the rows of the last block",
    ),
    _products(
        before="    return size + 2 + (blocks if weights.dtype == np.float64 else 1)\n",
        after="    return blocks\n",
        tests=f"{PRODUCTS}::test_sums_err_by_no_more_than_their_roundings",
        catches="the roundings within a block",
    ),
    _sampled(
        before="values.restore_bound(up(rounding + chance))",
        after="values.restore_bound(up(rounding))",
        tests=f"{SAMPLED}::test_a_sample_is_certified_by_every_term",
        catches="what the sample may be off by",
    ),
    _sampled(
        before="    bound = up(found.error_bound + values.restore_bound(",
        after="    bound = 0 * up(found.error_bound) + (values.restore_bound(",
        tests=f"{SAMPLED}::test_a_sample_is_certified_by_every_term",
        catches="what all values would be off by",
    ),
    _sampled(
        before="failure_probability / 2\n",
        after="failure_probability\n",
        tests=f"{SAMPLED}::test_a_sample_is_certified_by_every_term",
        catches="that two statements share a failure probability",
    ),
    _sampled(
        before="moment = sampled_moment(entries, half, estimate, surely, distance)",
        after="moment = estimate",
        tests=f"{SAMPLED}::test_a_sample_is_certified_by_every_term",
        catches="that the second moment is an estimate",
    ),
    _sampled(
        before=" / chance[:, None])\n",
        after=")\n",
        tests=f"{SAMPLED}::test_drawn_keys_stand_for_all",
        catches="that what was drawn stands for all",
    ),
    _closable(
        before="look(weights, shift, min(tile, len(k) - start))",
        after="look(weights, shift, min(weights[:, 0].size, len(k) - start))",
        tests=f"{SAMPLED}::test_every_key_has_its_own_value_however_tiles_and_blocks_fit",
        catches="that a tile's last block has room for more keys than there are",
    ),
    _sampled(
        before="chance = np.minimum(np.ceil(shares[kept] * _STEPS) / _STEPS, 1)",
        after="chance = np.ceil(shares[kept] * _STEPS) / _STEPS",
        tests=f"{SAMPLED}::test_drawn_keys_stand_for_all",
        catches="that no probability exceeds 1",
    ),
    _sampled(
        before="    if not worst <= allowed:\n",
        after="    if False:\n",
        tests=f"{SAMPLED}::test_what_does_not_pay_is_read_and_says_why",
        catches="a sample that does not suffice",
    ),
    _sampled(
        before="    if not reach <= LARGEST_LOGIT:\n",
        after="    if False:\n",
        tests=f"{SAMPLED}::test_what_does_not_pay_is_read_and_says_why",
        catches="logits of which exponents would err",
    ),
)
