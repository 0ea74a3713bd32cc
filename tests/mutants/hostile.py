"""State files, what is attacked and how: guards of readers and savers, and of the search, left out."""

from functools import partial

from tests.mutants.runner import Mutant

_FILES = "tests/fastpath/core/test_state_files.py::"
LIES = f"{_FILES}test_archives_that_lie_are_refused_before_memory_is_taken"
NONE = f"{_FILES}test_arrays_of_no_state_are_refused_in_a_sentence"
ROUND = f"{_FILES}test_a_state_is_read_bit_for_bit_and_goes_on_as_the_one_that_was_saved"
_ATTACK = "tests/proofs/test_attack.py::"
PLANTED = f"{_ATTACK}test_a_planted_fault_is_found"
DECIDED = f"{_ATTACK}test_enclosures_decide_and_say_where_they_cannot"
HULL = (
    "tests/fastpath/caches/test_hull.py::test_keys_far_below_may_rise_above_all_others",
    "tests/fastpath/caches/test_hull.py::"
    "test_bits_that_are_not_read_yet_may_say_which_key_is_heaviest",
)

_file = partial(Mutant, file="fastpath/core/state_files.py", tests=LIES)
_search = partial(Mutant, file="proofs/attack/search.py", tests=PLANTED)
_hull = partial(Mutant, file="fastpath/caches/hull.py")

MUTANTS = (
    _file(
        before="    if hashlib.sha256(content).digest() != digest:\n",
        after="    if False:\n",
        tests="tests/fastpath/polynomial/test_polynomial.py::"
        "test_a_changed_bit_anywhere_is_refused",
        catches="the digest",
    ),
    _file(
        before="        if sum(member.file_size for member in members) > len(content):\n",
        after="        if False:\n",
        catches="what unpacks to more",
    ),
    _file(
        before="        if len({member.filename for member in members}) != len(members):\n",
        after="        if False:\n",
        catches="a name that stands twice",
    ),
    _file(
        before='    return array.astype(dtype.newbyteorder("="), order="K", copy=True)\n',
        after='    return array.astype(dtype, order="K", copy=True)\n',
        tests=f"{_FILES}test_the_other_byte_order_is_read_as_the_same_numbers",
        catches="the byte order",
    ),
    _file(
        before='order="K", copy=True)',
        after='order="K", copy=False)',
        tests=(f"{_FILES}test_a_loaded_state_goes_on_as_the_one_that_was_saved",),
        catches="that arrays of a state may be written to",
    ),
    _file(
        before="    if found not in kinds:\n",
        after="    if False:\n",
        tests=f"{_FILES}test_another_version_is_refused_by_its_name",
        catches="the version",
    ),
    _file(
        before="all(_same(x, again[name]) for name, x in arrays.items())",
        after="True",
        tests=NONE,
        catches="what would be saved otherwise",
    ),
    _file(
        before="told = arrays.keys() == again.keys() if found == kinds[0] else",
        after="told =",
        tests=(ROUND, NONE),
        catches="arrays that are too many or too few",
    ),
    _file(
        before="            os.replace(partial, target)\n",
        after="            target.write_bytes(partial.read_bytes())\n            partial.unlink()\n",
        tests=f"{_FILES}test_a_save_replaces_the_file_in_one_step",
        catches="that a file is replaced in one step",
    ),
    _file(
        before="            os.fsync(file.fileno())\n",
        after="",
        tests=f"{_FILES}test_a_save_that_fails_leaves_the_last_one_and_nothing_else",
        catches="that bytes are on the disk before the name is",
    ),
    _file(
        before="        partial.unlink(missing_ok=True)\n        raise",
        after="        raise",
        tests=f"{_FILES}test_a_save_that_fails_leaves_the_last_one_and_nothing_else",
        catches="what is left of a save that fails",
    ),
    _file(
        before="    _tidy(target)\n",
        after="",
        tests=f"{_FILES}test_what_a_killed_process_left_goes_when_the_state_is_saved_again",
        catches="what a killed process left",
    ),
    _file(
        before="fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        after="pass\n",
        tests=f"{_FILES}test_what_another_process_writes_at_the_moment_stays",
        catches="that another process is writing",
    ),
    Mutant(
        file="fastpath/caches/quantised_cache.py",
        before="    if not (np.isfinite(radius).all() and np.isfinite(error).all()):\n",
        after="    if False:\n",
        tests="tests/fastpath/caches/test_certify_quantised.py::"
        "test_radii_that_allow_any_logit_are_refused_in_a_sentence",
        catches="radii that float32 does not hold",
    ),
    Mutant(
        file="fastpath/caches/quantised_cache.py",
        before="if not (np.isfinite(found.log_sum_exp_bound).all() and ",
        after="if not (",
        tests="tests/fastpath/caches/test_certify_quantised.py::"
        "test_radii_that_allow_any_logit_are_refused_in_a_sentence",
        catches="a bound that is no number",
    ),
    Mutant(
        file="fastpath/caches/audit_ledger.py",
        before="        if high > _MOST_ANSWERS:\n",
        after="        if False:\n",
        tests="tests/fastpath/caches/test_audit_ledger.py::"
        "test_any_rate_and_any_probability_of_failure_has_a_statement",
        catches="a count that no float holds",
    ),
    Mutant(
        file="fastpath/caches/bit_planes.py",
        before="        if not size <= most:\n",
        after="        if False:\n",
        tests="tests/fastpath/caches/test_bit_planes.py::test_logits_that_overflow_are_refused",
        catches="logits that overflow",
    ),
    _hull(
        before="    high = np.where(hidden, -np.inf, above(known + off))\n",
        after="    high = np.where(hidden, -np.inf, known)\n",
        tests=HULL,
        catches="what a weight can be at most",
    ),
    _hull(
        before="below(below(known - off) - most)",
        after="below(below(known) - most)",
        tests=HULL,
        catches="what a weight can be at least",
    ),
    _search(
        before="        if low > allowed:\n",
        after="        if False:\n",
        catches="an error above its bound",
    ),
    _search(
        before="    if np.isnan(bound).any():\n",
        after="    if False:\n",
        tests=DECIDED,
        catches="a bound that is NaN",
    ),
    _search(
        before="one.tobytes() != other.tobytes()",
        after="one is None",
        tests=f"{_ATTACK}test_an_argument_that_is_changed_is_a_fault_though_the_answer_is_right",
        catches="an argument that is changed",
    ),
    Mutant(
        file="proofs/attack/instances.py",
        before="    factor = min(factor, most / 2 / max(largest, 1.0))\n",
        after="",
        tests=f"{_ATTACK}test_what_is_drawn_are_numbers_and_nothing_overflows",
        catches="that queries of keys next to nothing are numbers of their format",
    ),
    Mutant(
        file="proofs/attack/instances.py",
        before="abs(instance.choice)",
        after="instance.choice",
        tests=f"{_ATTACK}test_whole_numbers_below_0_are_answered_or_refused_in_a_sentence"
        "[AuditLedger-choice]",
        catches="that moves lead below 0",
    ),
    Mutant(
        file="proofs/evidence/audit.py",
        before="    if not most.is_Rational:\n",
        after="    if True:\n",
        tests="tests/specs/test_verdicts.py::"
        "test_a_count_that_attains_its_bound_for_witness_changes_no_verdict",
        catches="that a count which attains its bound is within it",
    ),
)
