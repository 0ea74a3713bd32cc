"""A claimed error bound decided by enclosures of rising precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.verdict import Verdict

__all__ = ["PRECISIONS", "decide"]

#: 1024 bits do not tell an error of 2^-1074, the smallest float64, from none; the last one does, and
#: decides a column of zeros beside one of 1e308.
PRECISIONS = (128, 256, 512, 1024, 2560)


def decide(
    enclose: Callable[[int], Enclosure],
    x: Any,
    bound: Any,
    *,
    precisions: Iterable[int] = PRECISIONS,
) -> tuple[Verdict, Enclosure]:
    """Decide |x − truth| ≤ bound for all entries, raising the precision as needed.

    Parameters
    ----------
    enclose : callable
        Maps a precision in bits to an enclosure of the truth.
    x, bound : array_like
        Numbers taken as exact, broadcast against the enclosure.
    precisions : iterable of int
        The precisions to try, in this order; at least one.

    Returns
    -------
    verdict : Verdict
        OUTSIDE as soon as one entry is; UNDECIDED only if it still is at the last precision.
    enclosure : Enclosure
        The one that decided.

    Raises
    ------
    ValueError
        If ``precisions`` is empty, or a number is not finite.
    """
    verdict = None
    for precision in precisions:
        enclosure = enclose(precision)
        verdict = Verdict.combine(enclosure.verdict(x, bound))
        if verdict is not Verdict.UNDECIDED:
            break
    if verdict is None:
        raise ValueError("precisions must name at least one precision, got none.")
    return verdict, enclosure
