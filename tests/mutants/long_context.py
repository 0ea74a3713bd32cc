"""Causal clusters, causal dropping and sampled keys: each part of the past and each guard, left out."""

from functools import partial

from tests.mutants.runner import Mutant

CLUSTERS = "tests/fastpath/real_heads/test_causal_clusters.py::"
DROPPING = "tests/fastpath/real_heads/test_causal_dropping.py::"
SAMPLED = "tests/fastpath/real_heads/test_sampled_keys.py::"

_clusters = partial(Mutant, file="fastpath/real_heads/causal_clusters.py")
_dropped = partial(Mutant, file="fastpath/real_heads/dropped_keys.py")
_bands = partial(Mutant, file="fastpath/real_heads/causal_dropping.py")
_sampled = partial(Mutant, file="fastpath/real_heads/sampled_keys.py")
_own = partial(Mutant, file="fastpath/real_heads/own_blocks.py")
_drawn = partial(Mutant, file="fastpath/real_heads/drawn_rows.py")
_probe = partial(Mutant, file="fastpath/real_heads/probe.py")
_ways = partial(Mutant, file="fastpath/real_heads/attention.py")

_EXPANSION = f"{CLUSTERS}test_without_samples_a_row_is_the_expansion_of_its_past_and_its_own_block"
_EVERYTHING = f"{CLUSTERS}test_a_key_of_the_future_moves_no_row_by_more_than_clusters_do"
_STRUCTURED = f"{DROPPING}test_structured_heads_are_within_their_certificates"
_CERTIFIED = "tests/fastpath/real_heads/test_certified_attention.py::"
_PROBE = "tests/fastpath/real_heads/test_probe.py::"
_SHARE = f"{_PROBE}test_the_share_sampled_is_that_of_the_definition"
_PILOTS = f"{_CERTIFIED}test_exact_attention_tells_what_was_spent_in_vain"
_REST = "tests/fastpath/real_heads/test_drawn_rows.py::test_rows_that_are_known_are_computed_once"
_KNOWN = f"{_CERTIFIED}test_exact_rows_that_are_known_are_not_computed_again"
_AGAIN = f"{_CERTIFIED}test_where_few_rows_err_too_much_more_are_drawn_for_the_same_output"
_SAME = "tests/fastpath/real_heads/test_drawn_rows.py::test_what_is_certified_is_what_certify_says"

_PAST = f"{DROPPING}test_what_a_row_sees_is_weighed_against_keys_that_all_rows_of_its_band_see"

MUTANTS = (
    _clusters(
        before="            sums[t] += sums[t - 1]\n",
        after="            sums[t] += 0\n",
        tests=_EXPANSION,
        catches="the past before the last block",
    ),
    _clusters(
        before="over.sums[t - 1, :, j, :columns], out",
        after="over.sums[min(t, len(over.sums) - 1), :, j, :columns], out",
        tests=_EXPANSION,
        catches="that the own block is not of the past",
    ),
    _clusters(
        before="own.logarithms - self._offsets[self._queries.order[rows]] - over.shifts[j]",
        after="own.logarithms - over.shifts[j]",
        tests=_EXPANSION,
        catches="the mean of the keys in the logarithm of the past",
    ),
    _clusters(
        before="            rest[t] += rest[t - 1]\n",
        after="            rest[t] += 0\n",
        tests=_EVERYTHING,
        catches="what sampled keys of all earlier blocks weigh as their cluster's mean",
    ),
    _clusters(
        before='np.arange(self._blocks), side="right")',
        after='np.arange(self._blocks), side="left")',
        tests=_EVERYTHING,
        catches="that a sampled key serves later blocks only",
    ),
    _clusters(
        before="        values /= probabilities[:, None]\n",
        after="",
        tests=f"{CLUSTERS}test_the_mean_of_many_samples_errs_less_than_one_by_far",
        catches="the probability of a sampled key",
    ),
    _clusters(
        before="(sums[:, -1] >= LIGHTEST_PAST)",
        after="(sums[:, -1] >= 0)",
        tests=f"{CLUSTERS}test_rows_whose_past_is_next_to_nothing_are_computed_exactly",
        catches="a past of nothing but raised weights",
    ),
    _clusters(
        before="self._queries.order // len(heads) // self._block",
        after="self._queries.order // self._block",
        tests=f"{CLUSTERS}test_the_past_of_a_row_is_that_of_its_own_time",
        catches="that the rows of several heads stand side by side",
    ),
    _dropped(
        before="shifts = logits[:, : self._past].max(axis=1, keepdims=True)",
        after="shifts = logits.max(axis=1, keepdims=True)",
        tests=_PAST,
        catches="that the past is weighed relative to its own heaviest key",
    ),
    _dropped(
        before="int(ranges[1].min())",
        after="int(ranges[1].max())",
        tests=_PAST,
        catches="that all rows of a band see the keys that are summed",
    ),
    _dropped(
        before="hidden = keys[:, None] >= stops[unseeing:partly]",
        after="hidden = keys[:, None] > stops[unseeing:partly]",
        tests=_STRUCTURED,
        catches="the first key that a row does not see",
    ),
    _dropped(
        before='np.searchsorted(stops, keys[[0, -1]], side="right").tolist()',
        after='np.searchsorted(stops, keys[[0, 0]], side="right").tolist()',
        tests=_STRUCTURED,
        catches="rows that see some keys of a block",
    ),
    _bands(
        before="keys=stop, right=0, offset=start)",
        after="keys=stop, right=0, offset=start + 1)",
        tests=_STRUCTURED,
        catches="where the diagonal of a band is",
    ),
    _sampled(
        before=" - np.log(first / len(past))",
        after="",
        tests=f"{SAMPLED}test_a_causal_row_is_its_own_block_and_the_sampled_past_each_as_many_keys",
        catches="how many keys a sampled one stands for",
    ),
    _sampled(
        before="past = chosen[: np.searchsorted(chosen, first)]",
        after="past = chosen[: np.searchsorted(chosen, first + size)]",
        tests=f"{SAMPLED}test_a_causal_row_is_its_own_block_and_the_sampled_past_each_as_many_keys",
        catches="that the own block is not sampled",
    ),
    _own(
        before="            causal=True,\n",
        after="            causal=False,\n",
        tests=_EXPANSION,
        catches="the mask within a block",
    ),
    _ways(
        before="                cost = max(cost, other.cost)\n",
        after="                pass\n",
        tests=f"{_CERTIFIED}test_few_keys_for_all_queries_are_tried_first_only_where_few_are_likely_to_do",
        catches="that what may be in vain leaves clusters their part",
    ),
    _ways(
        before='refusal = refusal or spent.refused("trying sampled keys", trying, exact, TRYING)',
        after="pass",
        tests=f"{_CERTIFIED}test_sampled_keys_are_not_begun_where_trying_them_takes_too_much",
        catches="what is spent before an output by sampled keys is begun",
    ),
    _ways(
        before="likely_keys = min(n, LIKELY * fewest)",
        after="likely_keys = fewest",
        tests=f"{_CERTIFIED}test_few_keys_for_all_queries_are_tried_first_only_where_few_are_likely_to_do",
        catches="how many sampled keys are likely to be needed",
    ),
    _ways(
        before="if max(bounds) <= self._first.allowed:",
        after="if min(bounds) <= self._first.allowed:",
        tests=f"{SAMPLED}test_the_certificate_of_a_group_is_that_of_its_worst_head",
        catches="that each head of a group meets the tolerance",
    ),
    _ways(
        before="            self.spent.vain += trying\n            pilot = ",
        after="            pilot = ",
        tests=_PILOTS,
        catches="what pilots took",
    ),
    _ways(
        before="            completed(head, spent.known), ",
        after="            completed(head, ()), ",
        tests=_KNOWN,
        catches="exact rows that are known already",
    ),
    _ways(
        before="if skipped >= likely * count:",
        after="if skipped >= 0 * count:",
        tests=_AGAIN,
        catches="that so many rows may err as were seen to",
    ),
    _ways(
        before="predicted_cost=(self.spent.vain + cost + self._certificates) / self._exact,",
        after="predicted_cost=(self.spent.vain + cost) / self._exact,",
        tests=_AGAIN,
        catches="what certificates take",
    ),
    _drawn(
        before="        missing[rows] = False\n",
        after="        missing[rows[1:]] = False\n",
        tests=_REST,
        catches="a known row that is computed again",
    ),
    _drawn(
        before="len(errors) - 1 - self.skipped",
        after="len(errors) - 2 - self.skipped",
        tests=_SAME,
        catches="one skipped row more",
    ),
    _drawn(
        before="largest_errors(output, self.exact)[self.repeats]",
        after="largest_errors(output, self.exact)",
        tests=_SAME,
        catches="rows that were drawn twice",
    ),
    _drawn(
        before="skipped, reached = most_skipped(drawn, uncovered, failure_probability)",
        after="skipped, reached = most_skipped(drawn, uncovered, 2 * failure_probability)",
        tests=_SAME,
        catches="the failure probability that a certificate may spend",
    ),
    _probe(
        before="[-COUNTS]",
        after="[-1]",
        tests=_SHARE,
        catches="that one row in a hundred may err",
    ),
    _probe(
        before="            weights[np.arange(n) >= (drawn // block_size(n) * block_size(n))[:, None]] = 0\n",
        after="            pass\n",
        tests=_SHARE,
        catches="that a row's own block is not sampled",
    ),
    _probe(
        before="values**2 - 2 * output",
        after="values**2 - output",
        tests=_SHARE,
        catches="the variance about the output",
    ),
)
