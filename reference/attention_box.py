"""Attention over a set of inputs: the exact hull of its output over a box of scores and values, enclosed.

    low ≤ Σ_j e^(s'_j) v'_j / Σ_j e^(s'_j) ≤ high,   |s'_j − s_j| ≤ c_j,   |v'_j − v_j| ≤ e_j,

and both ends are reached: the largest output has the scores of some keys with the largest v_j + e_j at
their upper ends and all others at their lower ends, so that it is the largest over all such cuts.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from reference.arithmetic.enclosure import Enclosure

__all__ = ["attention_box"]

#: Bits by which e^-1 is smaller than 1, at least.
_BITS_OF_E = 1.5


def attention_box(
    scores: Any, radii: Any, values: Any, errors: Any, *, precision: int = 128
) -> tuple[Enclosure, Enclosure]:
    """Enclose the least and the largest output of one query over a box of scores and values.

    Parameters
    ----------
    scores, radii : (n,) array_like
        The scores that are known, and how far each may be off; floats, taken as exact.
    values : (n, d_v) array_like
        The values that are known.
    errors : (n,) or (n, d_v) array_like
        How far each value, or each of its entries, may be off.
    precision : int
        Bits of the weights, at least 16; more are taken for large radii.

    Returns
    -------
    low, high : Enclosures of shape (d_v,)

    Raises
    ------
    TypeError, ValueError
        If something is no finite number, a radius is negative, or shapes do not fit.

    Notes
    -----
    Cost: 2 n exponentials, and for each column a sort and n quotients.
    """
    s, c, v, e = (np.asarray(x) for x in (scores, radii, values, errors))
    if s.ndim != 1 or c.shape != s.shape or v.ndim != 2 or len(v) != len(s) or not len(s):
        raise ValueError(
            "scores and radii must have shape (n,) and values (n, d_v), n at least 1, got "
            f"{s.shape}, {c.shape} and {v.shape}."
        )
    if e.shape not in (s.shape, v.shape):
        raise ValueError(f"errors must have shape {s.shape} or {v.shape}, got {e.shape}.")
    known, moved = Enclosure.exact(s, name="scores"), Enclosure.exact(c, name="radii")
    centre = Enclosure.exact(v, name="values")
    spread = Enclosure.exact(e if e.ndim == 2 else e[:, None] + 0 * v, name="errors")
    for name, x in (("radii", c), ("errors", e)):
        if (x < 0).any():
            raise ValueError(f"{name} must not be negative, got {x[x < 0].flat[0]}.")
    bits = precision + ceil(2 * _BITS_OF_E * float(c.max())) + 8
    top = (known + moved).max()
    heavy = (known + moved - top).at(bits).exp()
    light = (known - moved - top).at(bits).exp()
    high = _largest(heavy, light, (centre + spread).at(bits))
    return -_largest(heavy, light, (spread - centre).at(bits)), high


def _largest(heavy: Enclosure, light: Enclosure, values: Enclosure) -> Enclosure:
    """Enclose the largest of all averages with heavy weights on the largest values and light ones else."""
    found = []
    for column in range(values.shape[1]):
        x = values[:, column]
        order = np.argsort(-x.mid, kind="stable")
        cuts = []
        # What is heavy and what is light are balls of the same radius as their parts.
        for count in range(1, len(order) + 1):
            first, rest = order[:count], order[count:]
            above = (heavy[first] * x[first]).sum() + (light[rest] * x[rest]).sum()
            cuts.append(above / (heavy[first].sum() + light[rest].sum()))
        best = cuts[0]
        for cut in cuts[1:]:
            best = best.maximum(cut)
        found.append(best)
    bits = max(b.bits for b in found)
    aligned = [b.at(bits) for b in found]
    radius = max(b.radius for b in aligned)
    mid = np.empty(len(aligned), object)
    mid[:] = [b.mid.item() if isinstance(b.mid, np.ndarray) else b.mid for b in aligned]
    return Enclosure(mid, radius, bits)
