"""What a fast method computes on a real head: exp expanded around clusters of keys, and keys dropped.

The query is q = centre + step.  Keys have weights w_j = e^(centre·k_j), every cluster b of keys its mass
W_b = Σ w_j and its mean μ_b = Σ w_j k_j / W_b, and every key its residual logit r_j = step·(k_j − μ_b).
The weights of attention are then ŵ_j e^(r_j) up to a factor, with ŵ_j = w_j e^(step·μ_b).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.arithmetic.enclosure import Enclosure
from reference.attention import logits, softmax

__all__ = ["ClusteredQuery"]

Vector = NDArray[Any]


@dataclass(frozen=True)
class ClusteredQuery:
    """A query, keys with the cluster of each, and one column of values, all taken as exact.

    ``centre`` and ``step`` have shape (d,), ``keys`` (n, d), ``values`` and ``labels`` (n,).
    """

    centre: Vector
    step: Vector
    keys: NDArray[Any]
    values: Vector
    labels: tuple[int, ...]
    bits: int

    @cached_property
    def probabilities(self) -> Enclosure:
        """The softmax weights of the query, by definition."""
        return softmax(self._products(self.centre) + self._products(self.step), precision=self.bits)

    @cached_property
    def output(self) -> Enclosure:
        """The output of attention, by definition."""
        return (self.probabilities * self._values).sum()

    @cached_property
    def weights(self) -> Enclosure:
        """w_j = e^(centre·k_j)."""
        return self._products(self.centre).at(self.bits).exp()

    @cached_property
    def means(self) -> Enclosure:
        """The mean of its cluster for every key, (n, d)."""
        labels, column = np.array(self.labels), self.weights.reshape(-1, 1)
        same = Enclosure.exact((labels[:, None] == labels).astype(int))
        return (same @ (column * self._keys)) / (same @ column)

    @cached_property
    def expanded(self) -> Enclosure:
        """ŵ_j = w_j e^(step·μ_b)."""
        return self.weights * (self.means * self._step).sum(axis=1).exp()

    @cached_property
    def residuals(self) -> Enclosure:
        """r_j = step·(k_j − μ_b)."""
        return ((self._keys - self.means) * self._step).sum(axis=1)

    @cached_property
    def denominator(self) -> Enclosure:
        """D̂ = Σ ŵ_j; the terms of first order cancel, so it is that of either order."""
        return self.expanded.sum()

    @cached_property
    def exact_denominator(self) -> Enclosure:
        """D = Σ e^(q·k_j)."""
        return (self.expanded * self.residuals.exp()).sum()

    def expansion(self, order: int) -> Enclosure:
        """Σ ŵ_j v_j / D̂, and with order 1 Σ ŵ_j (1 + r_j) v_j / D̂."""
        factor = 1 + self.residuals if order else 1
        return (self.expanded * factor * self._values).sum() / self.denominator

    def lengths(self) -> tuple[Enclosure, Enclosure]:
        """Return |step| and the distances |k_j − μ_b|, Euclidean."""
        offsets = self._keys - self.means
        return (self._step**2).sum().sqrt(), (offsets**2).sum(axis=1).sqrt()

    @property
    def _keys(self) -> Enclosure:
        return Enclosure.exact(self.keys, self.bits)

    @property
    def _values(self) -> Enclosure:
        return Enclosure.exact(self.values, self.bits)

    @property
    def _step(self) -> Enclosure:
        return Enclosure.exact(self.step, self.bits)

    def _products(self, query: Vector) -> Enclosure:
        return logits(query[None, :], self.keys)[0]
