"""Streaming attention: terms of what decoding states, steps of the decoder, guards and locks, left out.

Not planted, since each of the two suffices: that moments about the middle are dropped when more is
absorbed, and that they are asked whose middle they are.  Nor what only saves time, since estimates are
compared in any case: that buckets without an index are left out, and estimates of 0.  The terms of a
row's certificate are planted in ``polynomial``.
"""

from functools import partial

from tests.mutants.runner import Mutant

RECOVERY = "tests/fastpath/streaming/test_recovery.py"
STREAM = "tests/fastpath/streaming/test_stream.py"
ENCLOSED = "tests/fastpath/streaming/test_stream_enclosed.py"
SHARED = "tests/fastpath/streaming/test_shared_states.py"

RATIO = f"{RECOVERY}::test_the_ratio_and_its_probability_are_the_claims"
ROUNDINGS = f"{RECOVERY}::test_every_rounding_of_a_bucket_is_counted"
ROUNDED = f"{RECOVERY}::test_rounding_in_the_sums_is_covered_by_the_excess"
OFTEN = f"{RECOVERY}::test_a_sketch_whose_sums_have_been_rounded_too_often_claims_nothing"
OVERFLOW = f"{RECOVERY}::test_sums_that_could_overflow_are_refused"
DECODER = f"{RECOVERY}::test_the_decoder_finds_exactly_what_a_look_at_every_row_finds"
SETS = f"{RECOVERY}::test_hash_rows_that_are_most_contain_one_of_the_sets"
SIGNS = f"{RECOVERY}::test_pairs_collide_and_their_signs_agree_as_often_as_claimed"
HASHES = f"{RECOVERY}::test_a_hash_is_linear_in_the_bits"
REFUSED_ROW = f"{RECOVERY}::test_a_refused_row_is_explained_and_changes_nothing"
NOT_MERGED = f"{RECOVERY}::test_sketches_that_differ_are_not_merged"

SKETCHED = f"{ENCLOSED}::test_a_sketch_decodes_within_its_bound_but_for_the_stated_probability"
DECODED = f"{ENCLOSED}::test_a_heap_decodes_the_best_sparse_columns_within_its_bound"

SHARDS = f"{STREAM}::test_shards_of_queries_keep_what_one_pass_keeps"
KEYS = f"{STREAM}::test_keys_after_queries_are_refused_with_the_reason"
QUERIES = f"{STREAM}::test_queries_before_keys_are_refused_with_the_reason"
REFUSED = f"{STREAM}::test_a_refused_call_is_explained_and_changes_nothing"
DIFFER = f"{STREAM}::test_states_that_differ_are_not_merged"
BOTH_SIGNS = f"{STREAM}::test_what_reaches_the_logit_bound_with_values_of_both_signs_is_not_refused"

ABSORBED = f"{SHARED}::test_four_threads_absorb_every_key_once"
ATTENDED = f"{SHARED}::test_four_threads_attend_every_row_once"
COPIES = f"{SHARED}::test_a_copy_is_equal_and_shares_nothing"

_sketch = partial(Mutant, file="fastpath/streaming/count_sketch.py")
_heap = partial(Mutant, file="fastpath/streaming/top_entries.py")
_stream = partial(Mutant, file="fastpath/streaming/attention.py")
_moments = partial(Mutant, file="fastpath/polynomial/moment_state.py")

MUTANTS = (
    # What decoding states.
    _sketch(
        before="            ratio=float(ratio),\n",
        after="            ratio=1.0,\n",
        tests=RATIO,
        catches="the ratio of a sketch",
    ),
    _sketch(
        before="recovery_error(ratio, 0.0, n, entry_error)",
        after="0 * entry_error",
        tests=SKETCHED,
        catches="the error of the entries",
    ),
    _sketch(
        before=" + heap_excess(self._sparsity, rounding)",
        after="",
        tests=ROUNDED,
        catches="the rounding of the sums",
    ),
    _sketch(
        before="up(relative / down(least * least)) * self._absolute",
        after="up(relative / down(least * least)) * 0 * self._absolute",
        tests=ROUNDED,
        catches="the magnitudes of all that was added, in the rounding",
    ),
    _sketch(
        before="self._roundings += len(y) + 1",
        after="self._roundings += 1",
        tests=ROUNDINGS,
        catches="a rounding for each row that is added",
    ),
    _sketch(
        before="self._roundings += other._roundings + 1",
        after="self._roundings += 1",
        tests=OFTEN,
        catches="the roundings of what is merged",
    ),
    _sketch(
        before='absolute = self._added("other", other._absolute)',
        after="absolute = self._absolute",
        tests=OVERFLOW,
        catches="the magnitudes of what is merged",
    ),
    _sketch(
        before="recovery_column_failure(n, half, ",
        after="recovery_column_failure(1, half, ",
        tests=RATIO,
        catches="the number of rows in the probability",
    ),
    _sketch(
        before="        half = HASHES // 2\n        buckets",
        after="        half = HASHES // 2 - 1\n        buckets",
        tests=RATIO,
        catches="a hash row of the median",
    ),
    _sketch(
        before="/ (n * math.comb(HASHES, half + 1))",
        after="/ math.comb(HASHES, half + 1)",
        tests=RATIO,
        catches="the number of rows in the accuracy",
    ),
    _heap(
        before="heap_excess(sparsity, entry_error)",
        after="0 * entry_error",
        tests=DECODED,
        catches="the error of the entries of a heap",
    ),
    _heap(
        before="sparsity = min(self._values.shape[1], max(length, 1))",
        after="sparsity = 1",
        tests=DECODED,
        catches="the sparsity in the excess of a heap",
    ),
    _stream(
        before="np.maximum(self._entry_error, result.error_bound.max(axis=0))",
        after="result.error_bound.max(axis=0)",
        tests=(DECODED, SKETCHED),
        catches="the errors of earlier rows",
    ),
    _stream(
        before="self._entry_error = np.maximum(self._entry_error, other._entry_error)",
        after="pass",
        tests=SHARDS,
        catches="the errors of the rows of another shard",
    ),
    # What a degree is chosen for.
    _stream(
        before="* (1 - ROOM)",
        after="* 1",
        tests=f"{STREAM}::test_the_degree_leaves_room_for_outputs_in_float32",
        catches="the room for rounding to float32",
    ),
    _stream(
        before="roundings = ROUNDINGS + query_roundings",
        after="roundings = query_roundings",
        tests=f"{STREAM}::test_a_tolerance_that_many_keys_would_break_is_refused_before_the_first",
        catches="the roundings of many keys",
    ),
    _stream(
        before="2 * polynomial.total_variation +",
        after="polynomial.total_variation +",
        tests=BOTH_SIGNS,
        catches="that values differ by twice the largest",
    ),
    _stream(
        before="reach = float(sum_above(float(logit_bound), 4 * d + 32))",
        after="reach = float(logit_bound)",
        tests=f"{STREAM}::test_the_degree_leaves_room_for_the_rounding_of_logits_at_the_bound",
        catches="the rounding of a computed logit bound",
    ),
    # The decoder.
    _sketch(
        before="still = misses <= HASHES // 2",
        after="still = misses < HASHES // 2",
        tests=DECODER,
        catches="indices that are heavy in just more than half of the rows",
    ),
    _sketch(
        before="for first in range(0, 12, 3) for pair",
        after="for first in range(0, 9, 3) for pair",
        tests=SETS,
        catches="one of the threes of which two rows are taken",
    ),
    _sketch(
        before="for first in range(0, 15, 5) for three",
        after="for first in range(0, 10, 5) for three",
        tests=SETS,
        catches="one of the fives of which three rows are taken",
    ),
    _sketch(
        before="for row in range(HASHES // 2 + 1)]",
        after="for row in range(HASHES // 2)]",
        tests=SETS,
        catches="the last row of any eight",
    ),
    _sketch(
        before="while reached < threshold and threshold > least:",
        after="while not len(rows) and threshold > least:",
        tests=DECODER,
        catches="that as many are found as are kept, none of them below the threshold",
    ),
    _sketch(
        before="                kernel.append(index)\n",
        after="                kernel = [index]\n",
        tests=DECODER,
        catches="all but one dimension of the kernel",
    ),
    _sketch(
        before="            word = sum(\n                int(self.bucket(row, np.array(index)))",
        after="            word = sum(\n                int(self.bucket(0, np.array(index)))",
        tests=DECODER,
        catches="which row an equation is of",
    ),
    _sketch(
        before="yield found[found < length]",
        after="yield found",
        tests=f"{RECOVERY}::test_where_every_bucket_is_heavy_each_row_is_looked_at_and_no_other",
        catches="that an index is one of a row that came",
    ),
    _sketch(
        before="np.lexsort((rows, -np.abs(estimates)))",
        after="np.lexsort((-rows, -np.abs(estimates)))",
        tests=DECODER,
        catches="the smaller row of equal estimates",
    ),
    _sketch(
        before="return hashed >> 1, 1.0 - 2.0 * (hashed & 1)",
        after="return hashed >> 1, 1.0 - 0.0 * (hashed & 1)",
        tests=(SIGNS, SKETCHED),
        catches="the signs",
    ),
    _sketch(
        before="tables[:, half : 2 * half] = tables[:, :half] ^ words",
        after="tables[:, half : 2 * half] = tables[:, :half] + words",
        tests=(HASHES, DECODER),
        catches="that hash functions are linear",
    ),
    _sketch(
        before="        self._length = max(self._length, other._length)\n",
        after="",
        tests=f"{RECOVERY}::test_a_sketch_is_linear",
        catches="the rows of what is merged",
    ),
    # Guards.
    _sketch(
        before="        if not largest <= LARGEST_VALUE:",
        after="        if False:",
        tests=REFUSED_ROW,
        catches="the largest value",
    ),
    _sketch(
        before="        if not total.max() <= LARGEST_TOTAL:",
        after="        if False:",
        tests=OVERFLOW,
        catches="the largest sum of magnitudes",
    ),
    _sketch(
        before="        if relative < 1:",
        after="        if True:",
        tests=OFTEN,
        catches="a limit on the roundings",
    ),
    _sketch(
        before="        if indices.min() < 0 or indices.max() >= LARGEST_ROWS:",
        after="        if False:",
        tests=REFUSED_ROW,
        catches="the range of rows",
    ),
    _sketch(
        before="        if not np.array_equal(self._hashes.tables, other._hashes.tables):",
        after="        if False:",
        tests=NOT_MERGED,
        catches="that hash functions are the same",
    ),
    _sketch(
        before="        if size > LARGEST_BYTES:",
        after="        if False:",
        tests=f"{RECOVERY}::test_a_sketch_that_would_not_fit_is_refused_with_its_bytes",
        catches="the memory of a sketch",
    ),
    _stream(
        before="            if self._attended:\n                raise",
        after="            if False:\n                raise",
        tests=KEYS,
        catches="that keys come before queries",
    ),
    _stream(
        before="            if not self._moments.count:\n",
        after="            if False:\n",
        tests=QUERIES,
        catches="that queries come after keys",
    ),
    _stream(
        before="            if first + len(q) > LARGEST_ROWS:",
        after="            if False:",
        tests=REFUSED,
        catches="the number of rows",
    ),
    _stream(
        before="        if joined and start < joined[-1][1]:",
        after="        if False:",
        tests=SHARDS,
        catches="that a row comes once",
    ),
    _stream(
        before="            if attended and not _same(",
        after="            if False and not _same(",
        tests=DIFFER,
        catches="that merged shards have the same keys",
    ),
    # Locks, and copies that share nothing.
    _moments(
        before="        with self._lock:\n            self._moments = self._moments.merged(moments)",
        after="        if True:\n            self._moments = self._moments.merged(moments)",
        tests=ABSORBED,
        catches="the lock of moments",
    ),
    _stream(
        before="        with self._lock:\n            if not self._moments.count:",
        after="        if True:\n            if not self._moments.count:",
        tests=ATTENDED,
        catches="the lock of rows that are attended",
    ),
    _stream(
        before="sorted((self._lock, other._lock), key=id)",
        after="(self._lock, other._lock)",
        tests=f"{SHARED}::test_states_that_merge_into_each_other_do_not_wait_for_ever",
        catches="one order of two locks",
    ),
    _stream(
        before="return {name: x.copy() for name, x in arrays.items()}",
        after="return arrays",
        tests=f"{SHARED}::test_what_is_written_is_of_one_moment",
        catches="that what is written is a copy",
    ),
    _heap(
        before="    def __copy__(self)",
        after="    def _copied(self)",
        tests=COPIES,
        catches="that a copy of a heap shares nothing",
    ),
    _sketch(
        before="    def __copy__(self)",
        after="    def _copied(self)",
        tests=COPIES,
        catches="that a copy of a sketch shares nothing",
    ),
    Mutant(
        file="fastpath/streaming/value_sketch.py",
        before="    def __copy__(self)",
        after="    def _copied(self)",
        tests=COPIES,
        catches="that a copy of a value sketch shares nothing",
    ),
)
