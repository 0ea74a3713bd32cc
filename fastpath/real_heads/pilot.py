"""What a pilot says: how much some rows err with so many samples, before all rows are computed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastpath.core.inputs import Matrix

#: How many rows a pilot tries.
PILOT_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """Some rows by samples: their errors, those predicted, and how many keys were sampled (for a cluster)."""

    errors: NDArray[np.float64]
    predicted: Matrix
    sampled: float
