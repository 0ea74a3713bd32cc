"""The tokens as they are now, and the definition evaluated on them, one row or one block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.inputs import Matrix
from fastpath.core.scaling import scaled

#: Rows whose weights are computed by one matrix product: 8 MiB at 4096 tokens in float64.
ROW_BLOCK = 256

#: Spare entries of long rows: a column of rows of 2^k bytes would fall into the same cache sets.
PADDING = 8


def entries(array: Matrix) -> Any:
    """Return a view that reads or writes one entry in 50 ns, and checks its indices."""
    view: Any = array
    return memoryview(view)


class Viewed:
    """What keeps views of its own arrays, and arrays to compute in: a copy makes its own.

    ``VIEWS`` names the attributes that ``_view`` makes from the others.
    """

    VIEWS: frozenset[str] = frozenset()

    def _view(self) -> None:
        """Make all of ``VIEWS`` anew."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: x for name, x in vars(self).items() if name not in self.VIEWS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._view()


@dataclass
class Operations:
    """How much was computed so far, as exact counts."""

    multiplications: int = 0
    exponentials: int = 0
    rebuilds: int = 0
    refreshed_rows: int = 0


class Tokens(Viewed):
    r"""Queries, keys and values of the tokens, some of them evicted.

    Row i of attention is :math:`\sum_j e^{q_i \cdot k_j} v_j / \sum_j e^{q_i \cdot k_j}` over the live
    tokens j that it sees (j <= i when causal); ``queries`` are the given ones times the scale.  ``values`` is
    stored by column with a last row of ones, so that both sums are one product: *the sums* of a row are d_v
    numerators and, last, a denominator, all times a common :math:`e^{-shift}`.

    A token keeps its index; where it is stored, its *place*, is another once those evicted before it are no
    longer kept.  Everything here but ``places`` counts in places, in the order of the indices.
    """

    VIEWS = frozenset({"key_entries", "_weights"})

    #: What is pickled without them had no scale.
    scale = 1.0
    _given: Matrix | None = None

    def __init__(self, q: Matrix, k: Matrix, v: Matrix, causal: bool, scale: float = 1.0) -> None:
        self.causal = causal
        self.scale = scale
        self.count = len(k)
        self.dtype = k.dtype
        self.operations = Operations()
        self.queries = scaled(q, scale).queries.copy(order="C")
        self._given = None if scale == 1 else q.copy(order="C")
        self.keys = k.copy(order="C")
        self.values = np.ones((v.shape[1] + 1, len(v) + PADDING), v.dtype)
        self.values[:-1, len(v) :] = 0
        self.values[:-1, : len(v)] = v.T
        #: The place of every live token, by its index, in order; and how many there ever were.
        self.places = dict(zip(range(len(k)), range(len(k)), strict=True))
        self.indices = len(k)
        self._evicted = np.empty(0, np.intp)
        self._view()

    def _view(self) -> None:
        """Renew what depends on where the arrays are and how many tokens there are."""
        self._weights = np.empty(len(self.keys), self.dtype)
        self.key_entries = entries(self.keys[: self.count])

    @property
    def live(self) -> NDArray[np.intp]:
        """Places of the tokens that are not evicted."""
        return np.fromiter(self.places.values(), np.intp, len(self.places))

    def compacted(self) -> "Tokens":
        """Return the live tokens alone, under their indices, with the same counts of operations."""
        live = self.live
        given = self.given_queries[live]
        new = Tokens(given, self.keys[live], self.values[:-1, live].T, self.causal, self.scale)
        new.operations = self.operations
        new.places = dict(zip(self.places, range(len(live)), strict=True))
        new.indices = self.indices
        return new

    @property
    def given_queries(self) -> Matrix:
        """The queries before they were multiplied by the scale."""
        return self.queries if self._given is None else self._given

    def set_query(self, i: int, j: int | slice, query: float | Matrix) -> None:
        """Change entry j of a query, or all of it."""
        self.given_queries[i, j] = query
        if self._given is not None:
            self.queries[i, j] = scaled(self._given[i, j], self.scale, self.dtype).queries

    def append(self, query: Matrix, key: Matrix, value: Matrix) -> int:
        """Add a token at the end, doubling the arrays where they are full, and return its index."""
        place, index = self.count, self.indices
        if place == len(self.keys):
            rows = [(0, place), (0, 0)]
            # All before any is assigned: a MemoryError must leave the tokens as they are.
            grown = np.pad(self.queries, rows), np.pad(self.keys, rows)
            given = None if self._given is None else np.pad(self._given, rows)
            self.values = np.pad(self.values, rows[::-1])
            self.queries, self.keys = grown
            self._given = given
        self.set_query(place, slice(None), query)
        self.keys[place] = key
        self.values[:-1, place] = value
        self.values[-1, place] = 1
        self.places[index] = place
        self.count += 1
        self.indices += 1
        self._view()
        return index

    def evict(self, index: int) -> None:
        """Take a token out of every sum."""
        place = self.places.pop(index)
        self.values[:, place] = 0
        self._evicted = np.append(self._evicted, place)

    def weights(self, i: int) -> tuple[Matrix, float]:
        """Return exp(logit - shift) of the tokens that row i sees, and the shift, their largest logit.

        The array is reused by the next call.
        """
        seen = i + 1 if self.causal else self.count
        weights = self._weights[:seen]
        self.keys[:seen].dot(self.queries[i], out=weights)
        if len(self._evicted):
            weights[self._evicted[self._evicted < seen]] = -np.inf
        shift = weights.max()
        weights -= shift
        np.exp(weights, out=weights)
        self.operations.multiplications += seen * self.keys.shape[1]
        self.operations.exponentials += seen
        return weights, shift

    def sums(self, weights: Matrix) -> Matrix:
        """Return the weighted sums of the values and, last, of the weights."""
        self.operations.multiplications += weights.size * len(self.values)
        # Not dot, which would copy what is not contiguous.
        sums: Matrix = self.values[:, : len(weights)] @ weights
        return sums

    def row(self, i: int) -> Matrix:
        """Return the sums of row i, computed from the definition."""
        return self.sums(self.weights(i)[0])

    @standard_arithmetic
    def entry(self, i: int, j: int) -> float:
        """Return entry (i, j) of attention, from the definition."""
        # First what refuses a bad j, before anything is counted.
        column = self.values[:-1][j]
        weights = self.weights(i)[0]
        n = weights.size
        self.operations.multiplications += 2 * n
        # A product with ones: numpy's own sum takes longer.
        return float(column[:n].dot(weights)) / float(self.values[-1, :n].dot(weights))

    def blocks(self, rows: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], Matrix, Matrix]]:
        """Yield the rows block by block with their weights, shape (rows, tokens), and shifts."""
        n = self.count
        for start in range(0, len(rows), ROW_BLOCK):
            block = rows[start : start + ROW_BLOCK]
            weights = self.queries[block] @ self.keys[:n].T
            weights[:, self._evicted] = -np.inf
            if self.causal:
                weights[np.arange(n) > block[:, None]] = -np.inf
            shift = weights.max(axis=1)
            weights -= shift[:, None]
            np.exp(weights, out=weights)
            self.operations.multiplications += weights.size * self.keys.shape[1]
            self.operations.exponentials += weights.size
            yield block, weights, shift

    def block_sums(self, weights: Matrix, columns: list[int] | None = None) -> Matrix:
        """Return the sums of a block of rows, shape (rows, d_v + 1), or some columns of them."""
        values = self.values[:, : self.count]
        if columns is not None:
            values = values[columns]
        self.operations.multiplications += weights.size * len(values)
        sums: Matrix = weights @ values.T
        return sums
