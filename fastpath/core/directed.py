"""The rounding of float64, in which the fast path computes its certificates."""

from fastpath.core.bounds import ARITHMETIC

UNIT_ROUNDOFF = ARITHMETIC["float64"]["unit_roundoff"]

#: A product or quotient with this factor is at least the exact one after up to 4096 roundings of terms
#: that are not negative, since (1 + u)^k <= 1 + 2 k u for k u <= 1.
UPWARD = 1 + 2 * 4096 * UNIT_ROUNDOFF
