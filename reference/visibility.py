"""Which keys a query sees: alignment of the diagonal, a window around it, a mask.

    visible(i, j)  ⇔  −left ≤ j − (i + offset) ≤ right   and   mask_ij,

where ``offset`` is 0, or n_k − n_q where the last query is aligned with the last key, and a causal
alignment has right = 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["visible"]

ALIGNMENTS = (False, True, "upper-left", "lower-right")


def visible(
    n_q: int,
    n_k: int,
    *,
    causal: bool | str = False,
    window: tuple[int | None, int | None] | None = None,
    mask: Any = None,
) -> NDArray[np.bool_]:
    """Return whether query i sees key j, as an array of shape (..., n_q, n_k).

    Parameters
    ----------
    n_q, n_k : int
        Numbers of queries and keys.
    causal : {False, True, "upper-left", "lower-right"}
        ``"upper-left"``: j ≤ i.  ``"lower-right"``: j ≤ i + n_k − n_q.  ``True`` is either, and needs
        n_q = n_k.
    window : pair of (int or None), optional
        Keys i − left … i + right around the diagonal of the alignment, which is the lower-right one where
        ``causal`` is False; None: unbounded on that side.
    mask : (..., n_q, n_k) array_like of bool, optional
        True where a key is visible; its last two axes may be 1.

    Raises
    ------
    TypeError
        If ``causal`` is none of these, ``mask`` does not hold booleans, or a width is no integer.
    ValueError
        If ``causal`` is True and n_q ≠ n_k, a width is negative, or ``mask`` does not broadcast.
    """
    causal = bool(causal) if isinstance(causal, (bool, np.bool_)) else causal
    if not any(causal is a or (isinstance(a, str) and causal == a) for a in ALIGNMENTS):
        raise TypeError(
            f"causal must be False, True, 'upper-left' or 'lower-right', got {causal!r}."
        )
    if causal is True and n_q != n_k:
        raise ValueError(
            f"causal needs as many queries as keys, got n_q = {n_q} and n_k = {n_k}; "
            "'upper-left' and 'lower-right' do not."
        )
    left, right = _widths(window)
    upper_left = causal is True or causal == "upper-left"
    offset = 0 if upper_left else n_k - n_q
    distance = np.arange(n_k) - (np.arange(n_q)[:, None] + offset)
    seen = np.ones((n_q, n_k), dtype=bool)
    if causal is not False:
        seen &= distance <= 0
    if left is not None:
        seen &= distance >= -left
    if right is not None:
        seen &= distance <= right
    if mask is None:
        return seen
    given = np.asarray(mask)
    if given.dtype != np.bool_:
        raise TypeError(f"mask must hold booleans, True for visible, got dtype {given.dtype}.")
    if any(
        m not in (1, n) for m, n in zip(given.shape[-2:], seen.shape[-given.ndim :], strict=False)
    ):
        raise ValueError(f"mask must broadcast to (..., {n_q}, {n_k}), got shape {given.shape}.")
    result: NDArray[np.bool_] = np.asarray(seen & given)
    return result


def _widths(window: Any) -> tuple[int | None, int | None]:
    if window is None:
        return None, None
    if not isinstance(window, (tuple, list)) or len(window) != 2:
        raise TypeError(f"window must be a pair (left, right), got {window!r}.")
    for side, width in zip(("left", "right"), window, strict=True):
        if width is None:
            continue
        if isinstance(width, (bool, np.bool_)) or not isinstance(width, (int, np.integer)):
            raise TypeError(f"window's {side} width must be an integer or None, got {width!r}.")
        if width < 0:
            raise ValueError(f"window's {side} width must not be negative, got {width}.")
    left, right = (None if width is None else int(width) for width in window)
    return left, right
