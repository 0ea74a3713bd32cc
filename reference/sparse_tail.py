"""What k entries keep of a column, and what they leave."""

from __future__ import annotations

from typing import Any

import numpy as np

from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import entries
from reference.polynomial_weights import _fractions

__all__ = ["best_sparse", "sparse_tail"]


def best_sparse(x: Any, sparsity: int) -> list[int]:
    """Return the indices of the ``sparsity`` largest |x_i|, the first ones where some are equal."""
    magnitudes = entries(abs(_fractions(x, "x")))
    return sorted(sorted(range(len(magnitudes)), key=lambda i: -magnitudes[i])[:sparsity])


def sparse_tail(column: Any, sparsity: int, *, precision: int = 128) -> Enclosure:
    """Enclose  min ‖y' − y‖₂  over y' with at most ``sparsity`` nonzero entries.

    That is the ℓ₂ norm of y without its ``sparsity`` entries of largest magnitude.

    Parameters
    ----------
    column : (n,) array_like or Enclosure
        The vector y.
    sparsity : int
        At least 0.

    Notes
    -----
    The k-th largest of n numbers moves by no more than the numbers do, so that sorted midpoints
    enclose the sorted truth with the same radius.
    """
    y = (
        column
        if isinstance(column, Enclosure)
        else Enclosure.exact(column, precision, name="column")
    )
    if y.ndim != 1 or sparsity < 0:
        raise ValueError(
            f"a vector and a sparsity of at least 0 are needed, got {y.shape}, {sparsity}."
        )
    ranked = abs(y).at(max(y.bits, precision))
    rest = Enclosure(np.sort(ranked.mid)[: max(len(y) - sparsity, 0)], ranked.radius, ranked.bits)
    return (rest * rest).sum().sqrt()
