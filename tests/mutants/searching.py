"""The search for what breaks a claim, and claims from outside: each part left out."""

from functools import partial

from tests.mutants.runner import Mutant

SEARCH = "tests/proofs/test_falsify.py::"
OUTSIDE = "tests/proofs/test_outside_claims.py::"
UNDERFLOW = (
    "tests/specs/test_underflow.py::"
    "test_a_bound_that_underflow_breaks_has_a_hypothesis_that_excludes_it"
)

_search = partial(Mutant, file="proofs/algebra/falsify.py")

MUTANTS = (
    _search(
        before="self._evaluate(instance if tightened is None else tightened)",
        after="self._evaluate(instance)",
        tests=SEARCH + "test_a_false_claim_is_broken",
        catches="numbers moved to the edge of the hypotheses",
    ),
    _search(
        before="    signal.setitimer(signal.ITIMER_PROF, seconds)\n",
        after="",
        tests=SEARCH + "test_a_search_that_never_ends_is_ended_and_says_after_how_many_instances",
        catches="the end of a search that takes too long",
    ),
    _search(
        before="if instance is None or self.claim.recomputed is None:",
        after="if True:",
        tests=SEARCH + "test_a_true_claim_is_not_broken",
        catches="what a program computed, computed again",
    ),
    _search(
        before="if ratio > 1 - 1e-9 and decide_bound(self.bound, instance) is Verdict.OUTSIDE:",
        after="if ratio > 1 - 1e-9:",
        tests=SEARCH + "test_a_true_claim_is_not_broken",
        catches="the enclosures that decide whether a bound is broken",
    ),
    _search(
        before="return not self.claim.broken_hypotheses(instance) and not strays(",
        after="return not strays(",
        tests=SEARCH + "test_a_true_claim_is_not_broken",
        catches="the hypotheses",
    ),
    _search(
        before='every = _arrays(instance, kinds="fiubO")',
        after="every = arrays",
        tests=SEARCH + "test_a_true_claim_is_not_broken",
        catches="arrays of integers, which have to be resized with the others",
    ),
    _search(
        before="if met != inside:",
        after="if False:",
        tests=SEARCH + "test_what_the_search_found_is_audited",
        catches="the region in which a bound is said to be vacuous",
    ),
    _search(
        before="        if self.witness:\n",
        after="        if True:\n",
        tests=SEARCH
        + "test_a_search_without_the_witness_does_not_look_at_it_and_ends_when_it_has_enough",
        catches="a start from samples alone",
    ),
    _search(
        before="return self.spent >= self.budget or self.broken is not None or reached",
        after="return self.spent >= self.budget or self.broken is not None",
        tests=SEARCH
        + "test_a_search_without_the_witness_does_not_look_at_it_and_ends_when_it_has_enough",
        catches="the end of a search that has found what it was to find",
    ),
    _search(
        before="self.most = max(most, SMALL_COUNT)",
        after="self.most = most",
        tests=SEARCH + "test_a_strangers_claims_are_told_apart",
        catches="counts far beyond those of the samples",
    ),
    Mutant(
        file="specs/sparsification/loewner.py",
        before="lambda i: gram_is_normal(i.X) and bool(np.isfinite(sequential_gram(i.X)).all())",
        after="lambda i: bool(np.isfinite(sequential_gram(i.X)).all())",
        tests=SEARCH + "test_instances_that_the_search_found_beside_a_claim_are_none",
        catches="products of a Gram matrix that underflow",
    ),
    Mutant(
        file="specs/sparsification/loewner.py",
        before="(products > np.finfo(X.dtype).tiny)",
        after="(products >= 0)",
        tests=UNDERFLOW,
        catches="the end of the normal range",
    ),
    Mutant(
        file="specs/sparsification/certificate.py",
        before="                and _nothing_underflows(i)\n",
        after="",
        tests=UNDERFLOW,
        catches="products and quotients on the way to a certificate that underflow",
    ),
    Mutant(
        file="specs/sparsification/certificate.py",
        before="            _normal_entries,\n",
        after="            lambda i: True,\n",
        tests=UNDERFLOW,
        catches="products of compared entries that underflow",
    ),
    Mutant(
        file="specs/sparsification/sketch.py",
        before="bool(np.isfinite(i.computed).all()) and _nothing_underflows(i)",
        after="bool(np.isfinite(i.computed).all())",
        tests=UNDERFLOW,
        catches="entries of a sketch that underflow",
    ),
    Mutant(
        file="specs/regression/rounding.py",
        before="            _nothing_underflows,\n",
        after="            lambda i: True,\n",
        tests=UNDERFLOW,
        catches="products of a regression that underflow",
    ),
    Mutant(
        file="specs/exponents.py",
        before="lambda i: i.published in SINCE_2014",
        after="lambda i: i.published >= 2",
        tests=SEARCH + "test_instances_that_the_search_found_beside_a_claim_are_none",
        catches="numbers that nobody published",
    ),
    Mutant(
        file="proofs/evidence/audit.py",
        before="for catches, name, i in finds(claim)]",
        after="for catches, name, i in ()]",
        tests=SEARCH + "test_what_the_search_found_is_audited",
        catches="instances that are kept",
    ),
    Mutant(
        file="proofs/command/falsify.py",
        before="    if not found.tried:\n",
        after="    if False:\n",
        tests=OUTSIDE + "test_a_witness_that_breaks_the_hypothesis_is_a_fault",
        catches="that nothing was an instance",
    ),
    Mutant(
        file="proofs/evidence/outside.py",
        before="        if strange:\n",
        after="        if False:\n",
        tests=OUTSIDE + "test_what_is_no_claim_is_refused",
        catches="a symbol of a bound that is none of its arguments",
    ),
    Mutant(
        file="proofs/evidence/outside.py",
        before="if claim.id in found or claim.id in CLAIMS:",
        after="if claim.id in found:",
        tests=OUTSIDE + "test_what_is_no_claim_is_refused",
        catches="an id that is one of ours",
    ),
)
