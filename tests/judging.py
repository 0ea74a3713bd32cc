"""What tests of recovered columns and of probabilities decide with: enclosures and binomial tails."""

from fractions import Fraction
from typing import Any

from scipy.stats import binom

from reference import Enclosure, Verdict
from reference.sparse_tail import sparse_tail

#: The rate at which a statistical test may fail although the claim is true.
FALSE_ALARM = 1e-9


def most_failures(trials: int, probability: float | Fraction) -> int:
    """Return the count that more failures exceed with probability at most FALSE_ALARM."""
    return int(binom.isf(FALSE_ALARM, trials, min(float(probability), 1.0)))


def recovery_verdict(
    recovered: Any, exact: Any, sparsity: int, ratio: float, excess: float
) -> Verdict:
    """Decide ``‖recovered - exact‖₂ <= ratio * tail + excess``, tail being what the best sparse one misses.

    ``exact`` is an enclosure, or an array of floats that are taken as exact.
    """
    y = exact if isinstance(exact, Enclosure) else Enclosure.exact(exact, 256)
    difference = Enclosure.exact(recovered, y.bits) - y
    missed = (difference * difference).sum().sqrt()
    allowed = sparse_tail(y, sparsity) * Fraction(float(ratio)) + Fraction(float(excess))
    (least, most), (low, high) = missed.bounds(), allowed.bounds()
    if Fraction(most.item()) <= Fraction(low.item()):
        return Verdict.WITHIN
    return Verdict.OUTSIDE if Fraction(least.item()) > Fraction(high.item()) else Verdict.UNDECIDED
