"""Certified attention on real heads, and certificates of anybody's output: each term and guard, left out."""

from functools import partial

from tests.mutants.runner import Mutant

CERTIFY = "tests/fastpath/real_heads/test_certify.py"
HEADS = "tests/fastpath/real_heads/test_certified_attention.py"
AGAIN = (
    f"{HEADS}::test_a_certificate_that_fails_is_followed_by_more_samples_and_half_the_probability"
)

_certify = partial(Mutant, file="fastpath/real_heads/certify.py")
_head = partial(Mutant, file="fastpath/real_heads/attention.py")

MUTANTS = (
    _certify(
        before="up(up(distance) + exact.error_bound)",
        after="distance",
        tests=f"{CERTIFY}::test_an_output_that_is_exact_attentions_is_certified_at_its_bound",
        catches="the error of exact attention",
    ),
    _certify(
        before="up(up(distance) + exact.error_bound)",
        after="exact.error_bound",
        tests=f"{CERTIFY}::test_the_bound_is_the_largest_error_drawn_but_for_those_skipped",
        catches="the distance from exact attention",
    ),
    _certify(
        before="certify_failure(fewest, 0, uncovered) > failure_probability:\n        fewest += 1\n",
        after="fewest > needed:\n        fewest -= 1\n",
        tests=f"{CERTIFY}::test_so_many_rows_are_drawn_as_the_probability_takes",
        catches="one row in the fewest that will do",
    ),
    _certify(
        before="certify_failure(drawn, skipped + 1, uncovered) <= failure_probability",
        after="certify_failure(drawn, skipped, uncovered) <= failure_probability",
        tests=f"{CERTIFY}::test_so_many_rows_are_drawn_as_the_probability_takes",
        catches="one skipped row in the probability",
    ),
    _head(
        before="if max(bounds) <= self._first.allowed:",
        after="if True:",
        tests=AGAIN,
        catches="that the certificate meets the tolerance",
    ),
    _head(
        before="unspent /= 2\n",
        after="unspent /= 1\n",
        tests=AGAIN,
        catches="that certificates share the failure probability",
    ),
    _head(
        before="                    spent=spent,\n",
        after="                    spent=_Spent(vain=spent.vain),\n",
        tests="tests/fastpath/real_heads/test_certified_attention.py::"
        "test_certificates_of_all_ways_together_spend_one_failure_probability",
        catches="that the certificates of two ways share it too",
    ),
)
