"""The exponent of matrix multiplication as it was published: what the claims that quote one share."""

from dataclasses import dataclass
from fractions import Fraction

import sympy

from specs.claim import Bound, Hypothesis
from specs.lifting import lift


@dataclass(frozen=True)
class Exponent:
    """A published upper bound of the exponent of matrix multiplication."""

    published: Fraction


#: From arXiv 1401.7714 to 2404.16349.
SINCE_2014 = tuple(
    Fraction(digits, 10**7)
    for digits in (23728639, 23728596, 23718800, 23718660, 23715520, 23713390)
)

POSSIBLE = Hypothesis[Exponent](
    "the bound is one of those published since 2014", lambda i: i.published in SINCE_2014
)


def quoted(name: str, stated: sympy.Rational, closest: Fraction) -> Bound[Exponent]:
    """Bound what was published by what an abstract states; ``closest`` is the published bound next to it."""
    return Bound(
        name=name,
        meaning="a published bound of the exponent of matrix multiplication",
        expression=stated,
        quantity=lambda i, bits: lift(i.published, bits),
        # Classical multiplication.
        trivial=lambda i, bits: lift(3, bits),
        extremal=lambda: Exponent(closest),
    )
