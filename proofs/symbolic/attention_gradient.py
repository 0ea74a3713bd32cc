r"""FP.gradient: that the formulas of attention's gradient are its derivatives, for symbols in all places.

For symbols in all places, weights and slopes included, the loss  Σ dO_ic o_ic  is differentiated by the
chain rule in the field of rational functions: a weight w_ij = e^(s_ij) has the derivative w_ij ∂s_ij, and
t_ij = tanh(x_ij / softcap) the derivative (1 − t_ij²) ∂x_ij / softcap.  What ``reference.gradient`` writes
down (there on enclosures) is subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy.polys.fields import field

Array = NDArray[np.object_]


class Case(NamedTuple):
    """Sizes, and which options there are."""

    queries: int
    keys: int
    dimension: int
    columns: int
    softcap: bool = False
    sink: bool = False


CASES = (
    Case(1, 2, 1, 1),
    Case(2, 2, 2, 2),
    Case(1, 3, 1, 2, softcap=True),
    Case(2, 2, 1, 1, sink=True),
    Case(1, 1, 2, 1, softcap=True, sink=True),
    Case(2, 2, 1, 1, softcap=True, sink=True),
)


class Formulas(NamedTuple):
    """Derivatives by queries, keys, values, bias and sink."""

    queries: Array
    keys: Array
    values: Array
    bias: Array
    sink: Any


class SymbolicAttention:
    """One head of symbols, in a field where differences of equal expressions are 0."""

    def __init__(self, case: Case) -> None:
        shapes = {
            "q": (case.queries, case.dimension),
            "k": (case.keys, case.dimension),
            "v": (case.keys, case.columns),
            "g": (case.queries, case.columns),
            "w": (case.queries, case.keys),
            "t": (case.queries, case.keys),
        }
        names = {
            letter: [f"{letter}{i}_{j}" for i, j in product(*map(range, shape))]
            for letter, shape in shapes.items()
        }
        flat = [name for group in names.values() for name in group]
        self.field, *generators = field([*flat, "scale", "softcap", "e"], sympy.QQ)
        *entries, self.scale, self.softcap, sink = generators
        by_name = dict(zip(flat, entries, strict=True))
        arrays = {
            letter: np.array([by_name[name] for name in names[letter]], object).reshape(shape)
            for letter, shape in shapes.items()
        }
        self.q, self.k, self.v, self.g, self.w, self.t = arrays.values()
        self.capped = case.softcap
        #: e^sink, or nothing.
        self.e = sink if case.sink else self.field.zero

    @property
    def loss(self) -> Any:
        """Return Σ dO o."""
        output = self.w.dot(self.v) / (self.w.sum(axis=1) + self.e)[:, None]
        return (self.g * output).sum()

    @property
    def slopes(self) -> Array:
        """Return ∂cap(x)/∂x = 1 − tanh²(x / softcap)."""
        one = np.full(self.t.shape, self.field.one, object)
        return one - self.t * self.t if self.capped else one

    def by_scores(self) -> Array:
        """Differentiate the loss by every score, as a weight is its exponential."""
        loss = self.loss
        return np.array([[w * loss.diff(w) for w in row] for row in self.w], object)

    def differentiated(self) -> Formulas:
        """Differentiate the loss by everything: by the chain rule alone."""
        by_scores, slopes = self.by_scores(), self.slopes
        logits = self.q.dot(self.k.T) * self.scale  # the arguments of cap

        def through_scores(entries: Array) -> Array:
            found = np.full(entries.shape, self.field.zero, object)
            for at in np.ndindex(entries.shape):
                for i, j in np.ndindex(logits.shape):
                    step = logits[i, j].diff(entries[at])
                    found[at] += by_scores[i, j] * slopes[i, j] * step
            return found

        loss = self.loss
        by_values = np.array([[loss.diff(v) for v in row] for row in self.v], object)
        by_sink = self.e * loss.diff(self.e) if self.e else self.field.zero
        return Formulas(
            through_scores(self.q), through_scores(self.k), by_values, by_scores, by_sink
        )

    def formulas(self) -> Formulas:
        """Write down what a program computes, with D = dO . o."""
        total = (self.w.sum(axis=1) + self.e)[:, None]
        P = self.w / total
        dP = self.g.dot(self.v.T)
        D = (self.g * P.dot(self.v)).sum(axis=1)[:, None]
        ds = P * (dP - D)
        dx = ds * self.slopes
        return Formulas(
            dx.dot(self.k) * self.scale,
            dx.T.dot(self.q) * self.scale,
            P.T.dot(self.g),
            ds,
            -(D / total).sum() * self.e,
        )


def gradient_differences(case: Case) -> Iterator[Any]:
    """Yield formula − derivative for every entry of q, k, v and bias, and for the sink."""
    head = SymbolicAttention(case)
    for written, found in zip(head.formulas(), head.differentiated(), strict=True):
        yield from np.ravel(written - found)


def mean_differences(case: Case) -> Iterator[Any]:
    """Yield Σ_j p_ij dP_ij − dO_i·o_i: a row's mean needs no row of the matrix dP."""
    head = SymbolicAttention(case)
    P = head.w / (head.w.sum(axis=1) + head.e)[:, None]
    yield from (P * head.g.dot(head.v.T)).sum(axis=1) - (head.g * P.dot(head.v)).sum(axis=1)


def slope_differences() -> Iterator[Any]:
    """Yield the derivative of softcap tanh(x / softcap) less 1 − tanh²(x / softcap)."""
    x = sympy.Symbol("x", real=True)
    softcap = sympy.Symbol("softcap", positive=True)
    capped = softcap * sympy.tanh(x / softcap)
    yield sympy.simplify(capped.diff(x) - (1 - sympy.tanh(x / softcap) ** 2))


#: Claim id, and what must be zero of it.
PROOFS: dict[str, tuple[Callable[[], Iterable[Any]], ...]] = {
    "FP.gradient": (
        *(partial(gradient_differences, case) for case in CASES),
        *(partial(mean_differences, case) for case in CASES),
        slope_differences,
    ),
}
