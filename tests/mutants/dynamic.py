"""Dynamic attention: each term of its certificate, each count and each guard, left out.

Not planted, since nothing can show them: the products of a logit that underflow (d 2^-126 is below the last
bit of what else there is), when rows were computed whose sums are taken over (counted from the beginning,
they are older than they are), and that a row stays stale whose base outweighs all (each read finds it anew).
"""

from tests.mutants.runner import Mutant

CERTIFICATE = "fastpath/dynamic/certificate.py"
SUMS = "fastpath/dynamic/sums.py"
CACHED = "fastpath/dynamic/cached.py"
DIRTY = "fastpath/dynamic/dirty.py"
KEPT = "fastpath/dynamic/kept.py"
WEIGHTS = "fastpath/dynamic/weights.py"
RECOMPUTED = "fastpath/dynamic/recomputed.py"
TOKENS = "fastpath/dynamic/tokens.py"
OBJECT = "fastpath/dynamic/attention.py"
LOCKED = "fastpath/core/locked.py"
HINTED = "fastpath/dynamic/hinted.py"

TERMS = "tests/fastpath/dynamic/test_dynamic_terms.py"
COUNTS = "tests/fastpath/dynamic/test_dynamic_enclosed.py"
REFUSALS = "tests/fastpath/dynamic/test_dynamic_refusals.py"
SHARED = "tests/fastpath/dynamic/test_dynamic_shared.py"
HINTS = "tests/fastpath/dynamic/test_hinted.py"
WINDOW = "tests/fastpath/dynamic/test_dynamic_window.py"
READS = "test_every_read_of_a_window_is_the_definition_under_the_tokens_own_indices"
ARITHMETIC = "tests/fastpath/core/test_arithmetic.py"

MUTANTS = (
    Mutant(
        file=KEPT,
        before="            if denominator >= self._smallest:\n                return weights, denominator\n",
        after="            return weights, denominator\n",
        tests=f"{TERMS}::test_kept_weights_that_leave_their_scale_together_are_computed_anew",
        catches="kept weights that have left their scale",
    ),
    Mutant(
        file=KEPT,
        before="        mass[:n][~(settled[-1, :n] >= self._smallest)] = np.inf\n",
        after="",
        tests=f"{TERMS}::test_kept_weights_that_leave_their_scale_together_are_computed_anew",
        catches="columns of kept weights that have left their scale",
    ),
    Mutant(
        file=WEIGHTS,
        before="        if factors > FACTORS or steps > self._largest_steps:\n",
        after="        if steps > self._largest_steps:\n",
        tests=f"{TERMS}::test_a_kept_weight_is_not_renewed_by_more_factors_than_are_counted",
        catches="how many factors a kept weight has",
    ),
    Mutant(
        file=KEPT,
        before="        if self._masses[i] == 0:\n",
        after="        if True:\n",
        tests=f"{TERMS}::test_a_row_is_that_of_its_query_as_it_is",
        catches="a kept row whose query has changed",
    ),
    Mutant(
        file=WEIGHTS,
        before="        self._columns[place].fill(0)\n",
        after="        pass\n",
        tests=f"{TERMS}::test_kept_columns_are_those_of_the_tokens_as_they_are",
        catches="the weights of a token that was evicted",
    ),
    Mutant(
        file=WEIGHTS,
        before="        if self.tokens.causal:\n            weights[:i] = -np.inf\n",
        after="",
        tests=f"{TERMS}::test_a_kept_row_does_not_see_a_later_token_whose_key_is_replaced",
        catches="rows that do not see a token whose key is replaced",
    ),
    Mutant(
        file=KEPT,
        before="            roundings=len(weights) + 1,\n",
        after="            roundings=len(weights),\n",
        tests=f"{TERMS}::test_the_tokens_count_among_the_roundings_and_the_weights",
        catches="the product among the roundings of a kept row",
    ),
    Mutant(
        file=WEIGHTS,
        before="        self._operations.multiplications += 2 * self.tokens.count\n",
        after="        self._operations.multiplications += self.tokens.count\n",
        tests=f"{COUNTS}::test_kept_takes_what_is_claimed",
        catches="the products of an update of kept weights",
    ),
    Mutant(
        file=CERTIFICATE,
        before=("    weight_error = dynamic_weight(\n        logit_error,"),
        after=("    weight_error = dynamic_weight(\n        0.0,"),
        tests=f"{TERMS}::test_a_sum_of_products_that_stagnates_is_within_the_error_of_the_logits",
        catches="the error of the logits",
    ),
    Mutant(
        file=CERTIFICATE,
        before="        2 * up(logit_magnitude + logit_error),\n",
        after="        0.0,\n",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the reach of the shifted exponent",
    ),
    Mutant(
        file=CERTIFICATE,
        before="2 * up(logit_magnitude + logit_error)",
        after="up(logit_magnitude + logit_error)",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the shift's half of the reach",
    ),
    Mutant(
        file=CERTIFICATE,
        before="2 * up(logit_magnitude + logit_error)",
        after="2 * up(logit_magnitude)",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the error of the logits in the reach",
    ),
    Mutant(
        file=CERTIFICATE,
        before='constants["exp_error"]',
        after="-1.0",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the error of exp",
    ),
    Mutant(
        file=CERTIFICATE,
        before=("        factors,\n        steps,\n    )"),
        after=("        0,\n        steps,\n    )"),
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the factors by which a weight was renewed",
    ),
    Mutant(
        file=CERTIFICATE,
        before=("        factors,\n        steps,\n    )"),
        after=("        factors,\n        0.0,\n    )"),
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the steps by which a weight was renewed",
    ),
    Mutant(
        file=CERTIFICATE,
        before="ratio = up(positive_sum(mass, events, roundings, u, tiny) / denominator)",
        after="ratio = 1.0",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the mass over the denominator",
    ),
    Mutant(
        file=CERTIFICATE,
        before="positive_sum(mass, events, roundings, u, tiny)",
        after="positive_sum(mass, events, 0, u, tiny)",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the roundings of the mass",
    ),
    Mutant(
        file=CERTIFICATE,
        before="lost = up(weights_underflow(events, 1, tiny, denominator) * library_up(np.exp(steps)))",
        after="lost = 0.0",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="weights that underflow",
    ),
    Mutant(
        file=CERTIFICATE,
        before="weights_underflow(events, 1, tiny, denominator) * library_up(np.exp(steps))",
        after="weights_underflow(events, 1, tiny, denominator)",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="what underflowed and was renewed",
    ),
    Mutant(
        file=CERTIFICATE,
        before="smallest = 2 * up(up(up(events / denominator) + 1) * tiny)",
        after="smallest = 0.0",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="sums and a quotient that underflow",
    ),
    Mutant(
        file=CERTIFICATE,
        before="up(up(up(events / denominator) + 1) * tiny)",
        after="up(up(up(events / denominator)) * tiny)",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="a quotient that underflows",
    ),
    Mutant(
        file=CERTIFICATE,
        before="exact = weight_error, ratio, roundings, magnitude",
        after="exact = 0.0, ratio, roundings, magnitude",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the error of the weights",
    ),
    Mutant(
        file=CERTIFICATE,
        before="exact = weight_error, ratio, roundings, magnitude",
        after="exact = weight_error, ratio, 0, magnitude",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the roundings of a term",
    ),
    Mutant(
        file=CERTIFICATE,
        before="return float(dynamic_output(*exact, quotient, lost, smallest, u))",
        after="return float(dynamic_output(*exact, 0.0, lost, smallest, u))",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the rounding of the quotient",
    ),
    Mutant(
        file=CERTIFICATE,
        before="quotient = up(magnitude + unrounded)",
        after="quotient = magnitude",
        tests=f"{TERMS}::test_what_is_certified_is_at_least_the_formula",
        catches="the error of the quotient before it is rounded",
    ),
    Mutant(
        file=CERTIFICATE,
        before="float(sum_above(magnitudes.dot(largest_keys), len(query)))",
        after="float(magnitudes.dot(largest_keys))",
        tests=f"{TERMS}::test_the_magnitude_of_a_logit_is_not_rounded_downwards",
        catches="the rounding of the logits' magnitude",
    ),
    Mutant(
        file=SUMS,
        before="TURNOVER = 32.0",
        after='TURNOVER = float("inf")',
        tests=f"{TERMS}::test_what_outweighed_all_and_left_takes_its_rounding_errors_along",
        catches="the limit on the mass",
    ),
    Mutant(
        file=SUMS,
        before=("            if self._masses[i] <= TURNOVER * denominator:\n                clean"),
        after=("            if True:\n                clean"),
        tests=f"{TERMS}::test_a_weight_that_would_overflow_makes_its_row_stale",
        catches="the limit on the mass, of a row that is settled",
    ),
    Mutant(
        file=SUMS,
        before="        stale = live[mass[live] > TURNOVER * settled[-1, live]]",
        after="        stale = live[:0]",
        tests=f"{TERMS}::test_what_outweighed_all_and_left_takes_its_rounding_errors_along",
        catches="the limit on the mass, of columns",
    ),
    Mutant(
        file=SUMS,
        before="        mass = denominator + (4 * mass if mass <= TURNOVER * denominator else 0.0)",
        after="        mass = denominator",
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="the mass of pending pairs",
    ),
    Mutant(
        file=SUMS,
        before="roundings=self.tokens.count + rebuilds",
        after="roundings=rebuilds",
        tests=f"{TERMS}::test_every_rebuild_counts_among_the_roundings_and_the_weights",
        catches="the tokens among the roundings",
    ),
    Mutant(
        file=SUMS,
        before="roundings=self.tokens.count + rebuilds + 4",
        after="roundings=self.tokens.count + 4",
        tests=f"{TERMS}::test_every_rebuild_counts_among_the_roundings_and_the_weights",
        catches="the rebuilds among the roundings",
    ),
    Mutant(
        file=SUMS,
        before=" + 4 * self._largest_limit + 5,",
        after=" + 5,",
        tests=f"{TERMS}::test_every_rebuild_counts_among_the_roundings_and_the_weights",
        catches="the pending pairs among the roundings",
    ),
    Mutant(
        file=SUMS,
        before=" + 4 * self._largest_limit + 5,",
        after=" + 4 * self._largest_limit,",
        tests=f"{TERMS}::test_every_rebuild_counts_among_the_roundings_and_the_weights",
        catches="the last roundings of a term",
    ),
    Mutant(
        file=SUMS,
        before="events=self.tokens.count + 4 * self._largest_limit * (rebuilds + 1)",
        after="events=self.tokens.count",
        tests=f"{TERMS}::test_every_rebuild_counts_among_the_roundings_and_the_weights",
        catches="the changes among the weights",
    ),
    Mutant(
        file=SUMS,
        before="events=self.tokens.count + 4 * self._largest_limit * (rebuilds + 1)",
        after="events=self.tokens.count + 4 * self._largest_limit",
        tests=f"{TERMS}::test_every_rebuild_counts_among_the_roundings_and_the_weights",
        catches="the rebuilds among the weights",
    ),
    Mutant(
        file=SUMS,
        before="events=self.tokens.count + 4",
        after="events=4",
        tests=f"{TERMS}::test_every_rebuild_counts_among_the_roundings_and_the_weights",
        catches="the tokens among the weights",
    ),
    Mutant(
        file=SUMS,
        before="            factors=self.factors,",
        after="            factors=0,",
        tests=f"{TERMS}::test_sums_that_are_taken_over_keep_what_is_known_of_them",
        catches="the factors of a cached weight",
    ),
    Mutant(
        file=SUMS,
        before=("            steps=self.steps,\n        )"),
        after=("            steps=0.0,\n        )"),
        tests=f"{TERMS}::test_sums_that_are_taken_over_keep_what_is_known_of_them",
        catches="the steps of a cached weight",
    ),
    Mutant(
        file=SUMS,
        before=("        self.mass[i] = np.inf\n\n    @abstract"),
        after=("        pass\n\n    @abstract"),
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="that a changed query makes its row stale",
    ),
    Mutant(
        file=SUMS,
        before="        if self.rebuilds % OLDEST == 0:",
        after="        if False:",
        tests=f"{SHARED}::test_no_row_is_older_than_the_roundings_that_the_claim_covers",
        catches="the limit on the rebuilds since a row was computed",
    ),
    Mutant(
        file=SUMS,
        before="            self.mass[rows][large] = np.inf",
        after="            pass",
        tests=f"{TERMS}::test_a_weight_that_would_overflow_makes_its_row_stale",
        catches="that a row that would overflow gets stale",
    ),
    Mutant(
        file=SUMS,
        before="            exponents[..., large] = -np.inf",
        after="            pass",
        tests=f"{TERMS}::test_a_weight_that_would_overflow_makes_its_row_stale",
        catches="that a weight that would overflow is left out",
    ),
    Mutant(
        file=SUMS,
        before="        if exponents.max() > self._largest_exponent:",
        after="        if False:",
        tests=f"{TERMS}::test_a_weight_that_would_overflow_makes_its_row_stale",
        catches="the limit on exponents",
    ),
    Mutant(
        file=SUMS,
        before=(
            "        if size > self._largest_keys[j]:\n            self._largest_keys[j] = size"
        ),
        after="        pass",
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest entry of a key that was changed",
    ),
    Mutant(
        file=SUMS,
        before="        self._largest_keys = np.maximum(self._largest_keys, keys).tolist()",
        after="        pass",
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest entries of a key that was replaced",
    ),
    Mutant(
        file=SUMS,
        before="        self._largest_value = max(self._largest_value, float(largest))",
        after="        pass",
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest value that ever was",
    ),
    Mutant(
        file=SUMS,
        before="        self.factors, self.steps = other.factors, other.steps\n",
        after="",
        tests=f"{TERMS}::test_sums_that_are_taken_over_keep_what_is_known_of_them",
        catches="factors and steps of sums that were taken over",
    ),
    Mutant(
        file=SUMS,
        before="        self._largest_keys, self._largest_value = other",
        after="        other",
        tests=f"{TERMS}::test_sums_that_are_taken_over_keep_what_is_known_of_them",
        catches="largest keys and values of sums that were taken over",
    ),
    Mutant(
        file=SUMS,
        before="        self.rebuilds = other.rebuilds\n",
        after="",
        tests=f"{TERMS}::test_sums_that_are_taken_over_keep_what_is_known_of_them",
        catches="the rebuilds of sums that were taken over",
    ),
    Mutant(
        file=CACHED,
        before=("        if self._mass(i) <= TURNOVER * sums[-1]:\n            return sums"),
        after=("        if True:\n            return sums"),
        tests=f"{TERMS}::test_what_outweighed_all_and_left_takes_its_rounding_errors_along",
        catches="the limit on the mass, of a cached row",
    ),
    Mutant(
        file=CACHED,
        before=(
            "        if self._mass(i) <= TURNOVER * denominator:\n"
            "            return numerator / denominator\n"
            "        sums = self._refresh(i)\n"
            "        return"
        ),
        after=(
            "        if True:\n"
            "            return numerator / denominator\n"
            "        sums = self._refresh(i)\n"
            "        return"
        ),
        tests=f"{TERMS}::test_what_outweighed_all_and_left_takes_its_rounding_errors_along",
        catches="the limit on the mass, of a cached entry",
    ),
    Mutant(
        file=CACHED,
        before="            mass += 2 * float(np.abs(self._frozen.coefficients[:, i]).sum())",
        after="            pass",
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="the mass of what is frozen, of a cached row",
    ),
    Mutant(
        file=CACHED,
        before="            mass[rows] += 2 * np.abs(self._frozen.coefficients[:k, rows]).sum(axis=0)",
        after="            pass",
        tests=f"{TERMS}::test_what_leaves_before_it_has_come_in_takes_its_rounding_errors_along",
        catches="the mass of what is frozen, of cached columns",
    ),
    Mutant(
        file=CACHED,
        before="                mass += 2 * float(weights[token])",
        after="                pass",
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="the mass of a pending value in a row that is computed anew",
    ),
    Mutant(
        file=WEIGHTS,
        before="        if factors > FACTORS or steps > self._largest_steps:",
        after="        if steps > self._largest_steps:",
        tests=f"{TERMS}::test_a_weight_is_not_renewed_by_more_factors_than_are_counted",
        catches="the limit on factors",
    ),
    Mutant(
        file=WEIGHTS,
        before="        if factors > FACTORS or steps > self._largest_steps:",
        after="        if factors > FACTORS:",
        tests=f"{TERMS}::test_a_weight_that_would_overflow_makes_its_row_stale",
        catches="how far the factors of a weight reach",
    ),
    Mutant(
        file=WEIGHTS,
        before="steps = self._steps[i] + abs(change) * self._largest_query[j]",
        after="steps = abs(change) * self._largest_query[j]",
        tests=f"{TERMS}::test_a_weight_that_underflowed_comes_back",
        catches="the steps that were taken before",
    ),
    Mutant(
        file=WEIGHTS,
        before="        change = keys[i, j] - old",
        after="        change = new - old",
        tests=f"{TERMS}::test_a_weight_follows_the_key_as_it_was_stored",
        catches="that a stored entry is rounded",
    ),
    Mutant(
        file=WEIGHTS,
        before="        self._drop_large(weights, slice(None))\n",
        after="",
        tests=f"{TERMS}::test_a_weight_that_would_overflow_makes_its_row_stale",
        catches="the limit on exponents, of a key that was replaced",
    ),
    Mutant(
        file=WEIGHTS,
        before="        self._largest_query = np.maximum(self._largest_query, query).tolist()",
        after="        pass",
        tests=f"{TERMS}::test_a_weight_comes_back_in_a_row_whose_query_has_grown",
        catches="the largest entries of a query that was changed",
    ),
    Mutant(
        file=WEIGHTS,
        before="        self._factors[i], self._steps[i] = factors, steps\n",
        after="",
        tests=f"{TERMS}::test_a_weight_is_not_renewed_by_more_factors_than_are_counted",
        catches="that factors and steps are counted",
    ),
    Mutant(
        file=CACHED,
        before="            self._counted[pair] = 2",
        after="            pass",
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="the mass of a changed value, twice",
    ),
    Mutant(
        file=CACHED,
        before="        self._add_mass(pairs, slice(0, self.room))\n",
        after="",
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="the mass of a rebuild",
    ),
    Mutant(
        file=CACHED,
        before="        self._add_mass(pairs, rows)\n",
        after="",
        tests=f"{TERMS}::test_what_outweighed_all_and_left_takes_its_rounding_errors_along",
        catches="the mass of a sliced rebuild",
    ),
    Mutant(
        file=WEIGHTS,
        before="        self._remember_key(i, j)\n",
        after="",
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest entry of a key, cached",
    ),
    Mutant(
        file=WEIGHTS,
        before=("        self._remember_keys(i)\n        self._recompute(i)\n\n    def _recompute"),
        after=("        self._recompute(i)\n\n    def _recompute"),
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest entries of a key, cached",
    ),
    Mutant(
        file=CACHED,
        before=("        now[:-1][j] = value\n        self._remember_value(i)"),
        after="        now[:-1][j] = value",
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest value, cached",
    ),
    Mutant(
        file=WEIGHTS,
        before=(
            "        self._remember_keys(i)\n"
            "        self._remember_value(i)\n"
            "        self._recompute(i)"
        ),
        after=("        self._remember_value(i)\n        self._recompute(i)"),
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest key of an appended token, cached",
    ),
    Mutant(
        file=WEIGHTS,
        before=(
            "        self._remember_keys(i)\n"
            "        self._remember_value(i)\n"
            "        self._recompute(i)"
        ),
        after=("        self._remember_keys(i)\n        self._recompute(i)"),
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest value of an appended token, cached",
    ),
    Mutant(
        file=WEIGHTS,
        before="        super().query_changed(i)\n",
        after="",
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="that a changed query makes its row stale, cached",
    ),
    Mutant(
        file=DIRTY,
        before=("        if mass <= TURNOVER * sums[-1]:\n            return sums"),
        after=("        if mass < np.inf:\n            return sums"),
        tests=f"{TERMS}::test_what_outweighed_all_and_left_takes_its_rounding_errors_along",
        catches="the limit on the mass, of a dirty row",
    ),
    Mutant(
        file=DIRTY,
        before=(
            "        if mass <= TURNOVER * denominator:\n"
            "            return numerator / denominator\n"
            "        sums"
        ),
        after=(
            "        if mass < np.inf:\n            return numerator / denominator\n        sums"
        ),
        tests=f"{TERMS}::test_what_outweighed_all_and_left_takes_its_rounding_errors_along",
        catches="the limit on the mass, of a dirty entry",
    ),
    Mutant(
        file=SUMS,
        before="        if self.settled and self._masses[i] <= TURNOVER * denominator:",
        after="        if self.settled:",
        tests=f"{TERMS}::test_what_outweighed_all_and_left_takes_its_rounding_errors_along",
        catches="the limit on the mass, of a settled entry",
    ),
    Mutant(
        file=DIRTY,
        before=(
            "            sums = weights.dot(slots.values[: weights.size]) + sums\n"
            "            if slots is self._frozen:\n"
            "                mass += float(weights.sum())"
        ),
        after="            sums = weights.dot(slots.values[: weights.size]) + sums",
        tests=f"{TERMS}::test_what_leaves_before_it_has_come_in_takes_its_rounding_errors_along",
        catches="the mass of what is frozen, of a dirty row",
    ),
    Mutant(
        file=DIRTY,
        before=(
            "            denominator += float(weights.dot(slots.values[:k, -1]))\n"
            "            if slots is self._frozen:\n"
            "                mass += float(weights.sum())"
        ),
        after="            denominator += float(weights.dot(slots.values[:k, -1]))",
        tests=f"{TERMS}::test_what_leaves_before_it_has_come_in_takes_its_rounding_errors_along",
        catches="the mass of what is frozen, of a dirty entry",
    ),
    Mutant(
        file=DIRTY,
        before="            mass = np.inf if weights is None else mass + float(weights.sum())",
        after="            mass = np.inf if weights is None else mass",
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="the mass of what is frozen, in a dirty bound",
    ),
    Mutant(
        file=DIRTY,
        before="                    frozen_mass[rows] += weights.sum(axis=0)",
        after="                    pass",
        tests=f"{TERMS}::test_what_leaves_before_it_has_come_in_takes_its_rounding_errors_along",
        catches="the mass of what is frozen, of dirty columns",
    ),
    Mutant(
        file=DIRTY,
        before=("        if weights.max() > self._largest_exponent:\n            return None\n"),
        after="",
        tests=f"{TERMS}::test_a_weight_that_would_overflow_makes_its_row_stale",
        catches="the limit on exponents, of a slot",
    ),
    Mutant(
        file=DIRTY,
        before=("            mass += float(slot_weights.sum())\n        self._store"),
        after="        self._store",
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="the mass of slots in a row that is computed anew",
    ),
    Mutant(
        file=DIRTY,
        before="        self.mass[rows] += self._ones[: len(weights)].dot(weights)\n",
        after="",
        tests=f"{TERMS}::test_the_mass_is_what_has_passed_through_the_sums",
        catches="the mass of a dirty rebuild",
    ),
    Mutant(
        file=DIRTY,
        before="        self._drop_large(weights, rows)\n",
        after="",
        tests=f"{TERMS}::test_a_weight_that_would_overflow_makes_its_row_stale",
        catches="the limit on exponents, of a rebuild of slots",
    ),
    Mutant(
        file=DIRTY,
        before="        self._remember_key(i, j)\n",
        after="",
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest entry of a key, dirty",
    ),
    Mutant(
        file=DIRTY,
        before=("        self._slots.keys[row] = key\n        self._remember_keys(i)"),
        after="        self._slots.keys[row] = key",
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest entries of a key, dirty",
    ),
    Mutant(
        file=DIRTY,
        before=("        self._slots.values[row, :-1][j] = value\n        self._remember_value(i)"),
        after="        self._slots.values[row, :-1][j] = value",
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest value, dirty",
    ),
    Mutant(
        file=DIRTY,
        before=(
            "        self._remember_keys(i)\n        self._remember_value(i)\n        self._slots"
        ),
        after=("        self._remember_value(i)\n        self._slots"),
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest key of an appended token, dirty",
    ),
    Mutant(
        file=DIRTY,
        before=(
            "        self._remember_keys(i)\n        self._remember_value(i)\n        self._slots"
        ),
        after=("        self._remember_keys(i)\n        self._slots"),
        tests=f"{TERMS}::test_the_largest_key_and_value_are_of_all_that_ever_was",
        catches="the largest value of an appended token, dirty",
    ),
    Mutant(
        file=RECOMPUTED,
        before="np.abs(tokens.keys[:n]).max(axis=0).tolist()",
        after="np.abs(tokens.keys[:1]).max(axis=0).tolist()",
        tests=f"{TERMS}::test_the_tokens_count_among_the_roundings_and_the_weights",
        catches="the largest keys of all tokens, recomputed",
    ),
    Mutant(
        file=RECOMPUTED,
        before="magnitude=float(np.abs(tokens.values[:-1, :n]).max())",
        after="magnitude=float(np.abs(tokens.values[:-1, :1]).max())",
        tests=f"{TERMS}::test_the_tokens_count_among_the_roundings_and_the_weights",
        catches="the largest value of all tokens, recomputed",
    ),
    Mutant(
        file=RECOMPUTED,
        before="roundings=n + 1",
        after="roundings=1",
        tests=f"{TERMS}::test_the_tokens_count_among_the_roundings_and_the_weights",
        catches="the roundings of a sum, recomputed",
    ),
    Mutant(
        file=RECOMPUTED,
        before="events=n,",
        after="events=0,",
        tests=f"{TERMS}::test_the_tokens_count_among_the_roundings_and_the_weights",
        catches="the weights, recomputed",
    ),
    Mutant(
        file=OBJECT,
        before="            if float(np.abs(x).max()) > self._largest:",
        after="            if False:",
        tests=f"{COUNTS}::test_an_entry_that_could_overflow_is_refused",
        catches="the limit on entries",
    ),
    Mutant(
        file=OBJECT,
        before="        if len(k) > self._most:",
        after="        if False:",
        tests=f"{TERMS}::test_more_tokens_than_float32_covers_are_refused",
        catches="the limit on tokens",
    ),
    Mutant(
        file=OBJECT,
        before="        if k.shape[1] > 2 * self._most:",
        after="        if False:",
        tests=f"{SHARED}::test_the_oldest_row_the_most_tokens_and_pairs_are_within_what_the_claim_covers",
        catches="the limit on columns",
    ),
    Mutant(
        file=OBJECT,
        before="            if self._limit > self._most // 8:",
        after="            if False:",
        tests=f"{SHARED}::test_the_oldest_row_the_most_tokens_and_pairs_are_within_what_the_claim_covers",
        catches="the limit on pending pairs",
    ),
    Mutant(
        file=OBJECT,
        before="            if len(tokens.places) == self._most:",
        after="            if False:",
        tests=f"{COUNTS}::test_the_tokens_of_float32_are_at_most_2_to_the_21",
        catches="the limit on tokens, appended",
    ),
    Mutant(
        file=OBJECT,
        before="        if float(np.abs(vector).max()) > self._largest:",
        after="        if False:",
        tests=f"{REFUSALS}::test_no_refused_call_changes_a_bit",
        catches="the limit on entries of a row",
    ),
    Mutant(
        file=OBJECT,
        before="        if not abs(new) <= self._largest:",
        after="        if False:",
        tests=f"{REFUSALS}::test_no_refused_call_changes_a_bit",
        catches="the limit on an entry that was changed",
    ),
    Mutant(
        file=OBJECT,
        before="good = -self._largest <= new <= self._largest\n",
        after="pass\n",
        tests=f"{REFUSALS}::test_no_refused_call_changes_a_bit",
        catches="the limit on an entry of a key that was changed",
    ),
    Mutant(
        file=OBJECT,
        before="                    place = tokens.places[i]\n",
        after="                    place = tokens.places.get(i, i)\n",
        tests=f"{REFUSALS}::test_no_refused_call_changes_a_bit",
        catches="that an evicted token's key does not change",
    ),
    # ----------------------------------------------------------------- tokens that are no longer kept
    Mutant(
        file=OBJECT,
        before="self._tokens = before.compacted() if evicted else before\n",
        after="self._tokens = before\n",
        tests=f"{WINDOW}::test_a_window_takes_the_same_for_a_token_however_long_it_moves",
        catches="that evicted tokens are forgotten",
    ),
    Mutant(
        file=OBJECT,
        before="max(live // 8 + 8, min(2 * evicted, live))",
        after="live // 8 + 8",
        tests=f"{WINDOW}::test_a_window_takes_the_same_for_a_token_however_long_it_moves",
        catches="room for as many again as were evicted",
    ),
    Mutant(
        file=OBJECT,
        before="            self._tokens = before\n            raise\n",
        after="            raise\n",
        tests=f"{WINDOW}::test_where_memory_does_not_suffice_nothing_is_forgotten",
        catches="the tokens as they were where memory does not suffice",
    ),
    Mutant(
        file=OBJECT,
        before="            if tokens.count in (self._room, self._most):",
        after="            if tokens.count == self._room:",
        tests=f"{WINDOW}::test_a_full_object_takes_tokens_again_once_others_were_evicted",
        catches="the limit on tokens, evicted ones too",
    ),
    Mutant(
        file=TOKENS,
        before="        new.indices = self.indices\n",
        after="",
        tests=f"{WINDOW}::{READS}",
        catches="that indices are never given again",
    ),
    Mutant(
        file=TOKENS,
        before="        new.operations = self.operations\n",
        after="",
        tests=f"{WINDOW}::test_a_window_takes_the_same_for_a_token_however_long_it_moves",
        catches="that counts go on",
    ),
    Mutant(
        file=TOKENS,
        before="dict(zip(self.places, range(len(live)), strict=True))",
        after="dict(zip(range(len(live)), range(len(live)), strict=True))",
        tests=f"{WINDOW}::{READS}",
        catches="that a token keeps its index",
    ),
    Mutant(
        file=TOKENS,
        before="        given = self.given_queries[live]\n",
        after="        given = self.queries[live]\n",
        tests=f"{WINDOW}::{READS}",
        catches="that queries are scaled once",
    ),
    # ------------------------------------------------------------------------ rows as they were computed
    Mutant(
        file=SUMS,
        before="        if self.settled and not rebuilds:\n",
        after="        if self.settled:\n",
        tests=f"{WINDOW}::test_a_row_that_was_rebuilt_is_not_taken_for_one_as_computed",
        catches="what rebuilds have added to a row",
    ),
    Mutant(
        file=SUMS,
        before="        if self.settled and not rebuilds:\n",
        after="        if not rebuilds:\n",
        tests=f"{WINDOW}::test_before_any_update_no_bound_allows_for_what_updates_might_do",
        catches="what is pending of a row",
    ),
    Mutant(
        file=WEIGHTS,
        before="            self.factors = factors\n",
        after="            pass\n",
        tests=f"{TERMS}::test_sums_that_are_taken_over_keep_what_is_known_of_them",
        catches="how many factors any weight had",
    ),
    Mutant(
        file=WEIGHTS,
        before="            self.steps = steps\n",
        after="            pass\n",
        tests=f"{TERMS}::test_sums_that_are_taken_over_keep_what_is_known_of_them",
        catches="the largest steps that any weight had",
    ),
    Mutant(
        file=LOCKED,
        before=("self._lock = threading.RLock()\n\n    def __getstate__"),
        after=("self._lock = __import__('contextlib').nullcontext()\n\n    def __getstate__"),
        tests=f"{SHARED}::test_threads_that_change_and_read_lose_nothing",
        catches="the lock",
    ),
    Mutant(
        file=HINTED,
        before=(
            "            for k, row in self._hint:\n"
            "                self._attention.update_key(k, row, -self._step)\n"
        ),
        after="            pass\n",
        tests=f"{HINTS}::test_small_products_are_decided_rightly",
        catches="that an earlier hint is taken out",
    ),
    Mutant(
        file=HINTED,
        before="    if step > _LARGEST_STEP:",
        after="    if False:",
        tests=f"{HINTS}::test_no_step_is_safe_whose_exp_is_no_number",
        catches="the limit on steps whose exp is no number",
    ),
    Mutant(
        file=HINTED,
        before="return bool(up(2 * error) < library_down(math.expm1(step)))",
        after="return True",
        tests=f"{HINTS}::test_a_step_below_the_range_is_refused_and_would_be_wrong",
        catches="that reads must decide",
    ),
    Mutant(
        file=CACHED,
        before="    @standard_arithmetic\n    def _pending_entry(",
        after="    def _pending_entry(",
        tests=f"{ARITHMETIC}::test_no_entry_depends_on_what_the_caller_has_set",
        catches="the guard of a cached entry with pairs pending",
    ),
    Mutant(
        file=DIRTY,
        before="    @standard_arithmetic\n    def _pending_entry(",
        after="    def _pending_entry(",
        tests=f"{ARITHMETIC}::test_no_entry_depends_on_what_the_caller_has_set",
        catches="the guard of a dirty entry with slots pending",
    ),
    Mutant(
        file=TOKENS,
        before="    @standard_arithmetic\n    def entry(",
        after="    def entry(",
        tests=f"{ARITHMETIC}::test_no_entry_depends_on_what_the_caller_has_set",
        catches="the guard of a recomputed entry",
    ),
    Mutant(
        file=OBJECT,
        before="    @standard_arithmetic\n    def _review(",
        after="    def _review(",
        tests=f"{ARITHMETIC}::test_no_entry_depends_on_what_the_caller_has_set",
        catches="the guard of a review",
    ),
)
