"""What an enclosure says of a claimed error bound: it holds, it does not, or more bits needed."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    pass

__all__ = ["Verdict"]


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
