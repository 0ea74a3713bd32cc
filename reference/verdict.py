"""What an enclosure says of a claimed error bound: it holds, it does not, or more bits needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from reference.enclosure import Enclosure

__all__ = ["PRECISIONS", "Verdict", "decide"]

#: 1024 bits do not tell an error of 2^-1074, the smallest float64, from none; the last one does, and
#: decides a column of zeros beside one of 1e308.
PRECISIONS = (128, 256, 512, 1024, 2560)


class Verdict(Enum):
    """Answer to the statement |x − truth| ≤ bound."""

    WITHIN = "within"
    OUTSIDE = "outside"
    UNDECIDED = "undecided"

    @staticmethod
    def combine(verdicts: Verdict | Iterable[Any]) -> Verdict:
        """Return the verdict on the statement for all entries at once.

        Any OUTSIDE makes it OUTSIDE; else any UNDECIDED makes it UNDECIDED; else it is WITHIN, as
        it is of no entries.

        Parameters
        ----------
        verdicts : Verdict, iterable or array of Verdict
        """
        # numpy takes a generator for one object.
        given = verdicts if isinstance(verdicts, (Verdict, np.ndarray)) else list(verdicts)
        found = set(np.asarray(given, dtype=object).ravel().tolist())
        return next((v for v in (Verdict.OUTSIDE, Verdict.UNDECIDED) if v in found), Verdict.WITHIN)


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
