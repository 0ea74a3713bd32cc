"""What a pilot says: how much some rows err with so many samples, before all rows are computed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastpath.core.inputs import Matrix

#: How many rows a pilot tries at most, and of how many rows it tries one.
PILOT_ROWS, PILOT_SHARE = 512, 64


def pilot_rows(rows: int) -> int:
    """Return how many rows a pilot tries: so few that they take next to nothing of what all would."""
    return max(32, min(PILOT_ROWS, rows // PILOT_SHARE))


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """Some rows by samples: their errors, those predicted, and how many keys were sampled (for a cluster)."""

    errors: NDArray[np.float64]
    predicted: Matrix
    sampled: float
