"""FP.exp of float32: every argument whose result is normal, compared with a bound in float64."""

from fractions import Fraction

import numpy as np
import pytest

from proofs.evidence.single_exponential import LAST_NEGATIVE, LAST_POSITIVE, decide


def test_the_last_arguments_are_those_whose_exponentials_are_normal() -> None:
    for last, normal in (
        (LAST_POSITIVE, lambda y: y < np.inf),
        (LAST_NEGATIVE, lambda y: y >= 2.0**-126),
    ):
        inside, beyond = (
            np.exp(np.array([bits], np.uint32).view(np.float32).astype(np.float64))[0]
            for bits in (last, last + 1)
        )
        assert normal(inside if inside < 3.4028235e38 else np.inf)
        assert not normal(beyond if beyond < 3.4028235e38 else np.inf)


def test_a_share_of_all_arguments_is_within_the_claim() -> None:
    found = decide(Fraction(1, 256))
    assert found.holds, found
    assert found.arguments > 2**21


@pytest.mark.nightly
def test_every_argument_is_within_the_claim() -> None:
    found = decide()
    assert found.holds, found
    assert found.arguments == LAST_POSITIVE + 1 + LAST_NEGATIVE - 0x80000000 + 1
