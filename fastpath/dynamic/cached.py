"""Dynamic attention that keeps the weights: n^2 memory, O(k) entry reads, O(n) updates."""

from typing import Any

import numpy as np
from scipy.linalg import get_blas_funcs

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.inputs import Matrix
from fastpath.dynamic.sums import TURNOVER
from fastpath.dynamic.tokens import Tokens, Viewed, entries
from fastpath.dynamic.weights import Weights

#: How many pairs' coefficients are summed up at a time: 256 KiB at 4096 tokens in float64.
MASS_PAIRS = 8


class Pairs(Viewed):
    r"""Pending rank-one corrections: sums + :math:`\sum_p` coefficient_p value_pᵀ.

    A token has at most two: for its changed key, (w now - w base, v now); for its changed value,
    (w base, v now - v base), where *base* is what the sums hold of the token.
    """

    VIEWS = frozenset({"coefficient_rows"})

    def __init__(self, limit: int, room: int, width: int, dtype: np.dtype[Any]) -> None:
        self.coefficients = np.zeros((limit, room), dtype)
        self.values = np.zeros((limit, width), dtype)
        self.base_values = np.zeros((limit, width), dtype)
        self.count = 0
        self.key_pair: dict[int, int] = {}
        self.value_pair: dict[int, int] = {}
        #: The column of the pool with a token's base weights, where its key has changed.
        self.base_column: dict[int, int] = {}
        self._view()

    def _view(self) -> None:
        self.coefficient_rows = list(self.coefficients)

    def add(self) -> int:
        """Take the next pair and return its number."""
        pair = self.count
        self.count = pair + 1
        return pair

    def clear(self) -> None:
        """Forget all pairs."""
        self.count = 0
        self.key_pair.clear()
        self.value_pair.clear()
        self.base_column.clear()


class Cached(Weights):
    """Keep the weights by key: an update is one column of weights and one pending pair.

    An update of a key's entry takes n exponentials and 2n products; of a whole key, n d products; of
    a value, none.  A rebuild, once ``limit`` pairs are pending, takes n k (d_v + 1) products as one
    matrix product.  Reading an entry takes 2k products, a row k (d_v + 1), a column 2 n k.

    The columns live in a pool: an update writes a free one, and nothing is copied.  When ``sliced``,
    a rebuild is spread over the next k updates: the pairs are frozen, and rows from ``_front`` to
    ``_end`` still need them.
    """

    VIEWS = Weights.VIEWS | {"_places", "_magnitudes", "_gemm", "_ger"}

    def __init__(self, tokens: Tokens, *, room: int, limit: int, sliced: bool) -> None:
        super().__init__(tokens, room=room, limit=limit)
        # Room for the base columns of the pending pairs, and for the one that is being written.
        self._pool = np.zeros((room + limit + 1, self.room), tokens.dtype)
        self._place = np.arange(room)
        self._free = list(range(room, len(self._pool)))
        self._pending = Pairs(limit, self.room, len(tokens.values), tokens.dtype)
        self._frozen = Pairs(limit, self.room, len(tokens.values), tokens.dtype) if sliced else None
        self._front = self._end = self._slice = 0
        self._counted = np.ones(limit, tokens.dtype)
        self._view()
        for block, weights, shift in tokens.blocks(tokens.live):
            self._pool[: tokens.count, block] = weights.T
            self.sums[:, block] = tokens.block_sums(weights).T
            self.shift[block] = shift
            self.mass[block] = self.sums[-1, block]

    def _view(self) -> None:
        super()._view()
        self._columns = list(self._pool)
        self._places = entries(self._place)
        self._magnitudes = np.empty(MASS_PAIRS * self.room, self.tokens.dtype)
        # Neither a view nor an array, but nothing that can be copied.
        self._gemm, self._ger = get_blas_funcs(("gemm", "ger"), dtype=self.tokens.dtype)

    # ------------------------------------------------------------------------------------ reads

    def _row_sums(self, i: int) -> Matrix:
        sums: Matrix = self.sums[:, i]
        for pairs in self._needed(i):
            k = pairs.count
            self._operations.multiplications += k * sums.size
            sums = pairs.coefficients[:k, i].dot(pairs.values[:k]) + sums
        if self._mass(i) <= TURNOVER * sums[-1]:
            return sums
        return self._refresh(i)

    @standard_arithmetic
    def _pending_entry(self, i: int, j: int, numerator: float, denominator: float) -> float:
        for pairs in self._needed(i):
            k = pairs.count
            coefficients = pairs.coefficients[:k, i]
            numerator += float(coefficients.dot(pairs.values[:k, j]))
            denominator += float(coefficients.dot(pairs.values[:k, -1]))
            self._operations.multiplications += 2 * k
        if self._mass(i) <= TURNOVER * denominator:
            return numerator / denominator
        sums = self._refresh(i)
        return float(sums[j]) / float(sums[-1])

    def _needed(self, i: int) -> tuple[Pairs, ...]:
        """Return the pairs that sums[i] does not include."""
        if self._front <= i < self._end and self._frozen is not None:
            return self._pending, self._frozen
        return (self._pending,)

    def _mass(self, i: int) -> float:
        mass: float = self._masses[i]
        if self._front <= i < self._end and self._frozen is not None:
            # Twice, since a change of value may be twice as large as the largest value.
            mass += 2 * float(np.abs(self._frozen.coefficients[:, i]).sum())
        return mass

    def _settled(self, columns: list[int]) -> tuple[Matrix, Matrix]:
        settled, mass = self.sums[columns], self.mass.copy()
        k = self._pending.count
        settled += self._pending.values[:k, columns].T @ self._pending.coefficients[:k]
        self._operations.multiplications += self.tokens.count * k * len(columns)
        if self._frozen is not None and self._front < self._end:
            rows, k = slice(self._front, self._end), self._frozen.count
            settled[:, rows] += (
                self._frozen.values[:k, columns].T @ self._frozen.coefficients[:k, rows]
            )
            mass[rows] += 2 * np.abs(self._frozen.coefficients[:k, rows]).sum(axis=0)
            self._operations.multiplications += (self._end - self._front) * k * len(columns)
        return settled, mass

    def _refresh(self, i: int) -> Matrix:
        """Compute a stale row; its sums then hold the keys of now, and the values of the last rebuild."""
        weights, shift = self.tokens.weights(i)
        now = self.tokens.sums(weights)
        seen = len(weights)
        self._pool[self._place[:seen], i] = weights
        pending = self._pending
        pending.coefficients[:, i] = 0
        if self._frozen is not None:
            self._frozen.coefficients[:, i] = 0
        for token, column in pending.base_column.items():
            if token < seen:
                self._pool[column, i] = weights[token]
        sums, mass = now.copy(), float(now[-1])
        for token, pair in pending.value_pair.items():
            if token < seen:
                pending.coefficients[pair, i] = weights[token]
                sums -= weights[token] * pending.values[pair]
                mass += 2 * float(weights[token])
        self._store(i, sums, mass, shift)
        return now

    # ---------------------------------------------------------------------------------- updates

    def set_value(self, i: int, j: int | slice, value: float | Matrix) -> None:
        """Change entry j of the value of token i, or all of it."""
        pending = self._pending
        now = self.tokens.values[:, i]
        pair = pending.value_pair.get(i)
        if pair is None:
            pair = pending.add()
            pending.value_pair[i] = pair
            pending.base_values[pair] = now
            base = pending.base_column.get(i, self._places[i])
            np.copyto(pending.coefficient_rows[pair], self._columns[base])
        now[:-1][j] = value
        self._remember_value(i)
        np.subtract(now, pending.base_values[pair], out=pending.values[pair])
        if i in pending.key_pair:
            pending.values[pending.key_pair[i]] = now
        self._settle()

    def _now_and_next(self, i: int) -> tuple[int, int]:
        return self._places[i], self._free.pop()

    def _use(self, i: int, place: int) -> None:
        """Make a column of the pool the weights of token i, and renew its pending pair."""
        pending = self._pending
        pair = pending.key_pair.get(i)
        if pair is None:
            pair = pending.add()
            pending.values[pair] = self.tokens.values[:, i]
            pending.key_pair[i] = pair
            pending.base_column[i] = self._places[i]
        else:
            self._free.append(self._places[i])
        self._places[i] = place
        # From the two columns, never from the pair as it was: no error adds up.
        rows = self._columns
        np.subtract(rows[place], rows[pending.base_column[i]], out=pending.coefficient_rows[pair])
        self._settle()

    # ---------------------------------------------------------------------------------- rebuilds

    def _settle(self) -> None:
        """Go on with a sliced rebuild, and begin the next one where enough pairs are pending."""
        if self._front < self._end:
            self._advance()
        self.settled = False
        if self._pending.count >= self.limit:
            self.rebuild()

    def rebuild(self) -> None:
        """Add the pending pairs to the sums, at once or slice by slice."""
        pending = self._pending
        if not pending.count:
            return
        self._count_rebuild()
        self._free.extend(pending.base_column.values())
        if self._frozen is None:
            self._merge(pending)
            pending.clear()
            self.settled = True
        else:
            self._pending, self._frozen = self._frozen, pending
            self._pending.clear()
            # The rows of now: those of tokens to come are computed when they are first read.
            self._front, self._end = 0, self.tokens.count
            self._slice = -(-self._end // self.limit)

    def _advance(self) -> None:
        """Add the frozen pairs to the next rows: to all of them before the next are frozen."""
        assert self._frozen is not None
        stop = min(self._front + self._slice, self._end)
        self._merge_rows(self._frozen, slice(self._front, stop))
        self._front = stop

    def _merge(self, pairs: Pairs) -> None:
        k = pairs.count
        # In place, by BLAS: numpy's product would need a second pass over the sums.
        if k == 1:
            # A matrix of one column is not worth packing.
            self._ger(1.0, pairs.coefficients[0], pairs.values[0], a=self.sums.T, overwrite_a=True)
        else:
            self._gemm(
                1.0,
                pairs.coefficients[:k].T,
                pairs.values[:k].T,
                beta=1.0,
                c=self.sums.T,
                trans_b=True,
                overwrite_c=True,
            )
        self._add_mass(pairs, slice(0, self.room))
        self._operations.multiplications += self.tokens.count * k * len(self.sums)

    def _merge_rows(self, pairs: Pairs, rows: slice) -> None:
        k = pairs.count
        self.sums[:, rows] += pairs.values[:k].T @ pairs.coefficients[:k, rows]
        self._add_mass(pairs, rows)
        self._operations.multiplications += (rows.stop - rows.start) * k * len(self.sums)

    def _add_mass(self, pairs: Pairs, rows: slice) -> None:
        self._counted[: pairs.count] = 1
        for pair in pairs.value_pair.values():
            # A change of value may be twice as large as the largest value.
            self._counted[pair] = 2
        # Whole rows of memory, and so few that their magnitudes stay in the cache.
        step = self._magnitudes.size // (rows.stop - rows.start)
        for first in range(0, pairs.count, step):
            some = pairs.coefficients[first : min(first + step, pairs.count), rows]
            magnitudes = self._magnitudes[: some.size].reshape(some.shape)
            np.abs(some, out=magnitudes)
            counted = self._counted[first : first + len(some)]
            # One row is no matrix to numpy's product, and then takes four times as long.
            self.mass[rows] += (
                magnitudes[0] * counted[0] if len(some) == 1 else counted.dot(magnitudes)
            )
