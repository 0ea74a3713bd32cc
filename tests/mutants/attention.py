"""Exact attention: each term of its certificate and each guard, left out."""

from tests.mutants.runner import Mutant

MUTANTS = (
    Mutant(
        file="fastpath/attention.py",
        before="    if max(k.shape[1], _roundings(np.array(len(k)))) > most:",
        after="    if False:",
        tests="tests/properties/test_attention.py::test_more_columns_than_the_claim_covers_are_refused",
        catches="the limit on the roundings of a term",
    ),
)
