"""Dynamic attention that keeps no weights: O(n d) memory, O(d) updates, O(k d) reads."""

from typing import Any

import numpy as np

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.inputs import Matrix
from fastpath.dynamic.sums import TURNOVER, Sums
from fastpath.dynamic.tokens import Tokens, entries

#: Rows that a rebuild treats at a time: the exponents of 64 slots take 512 KiB in float64.
REBUILD_ROWS = 512


class Slots:
    """What the sums hold of each token that has changed (rows 2p), and what it is now (rows 2p + 1).

    The values of the former are negative, so that both are summed up by one product.
    """

    def __init__(self, limit: int, d: int, width: int, dtype: np.dtype[Any]) -> None:
        self.keys = np.zeros((2 * limit, d), dtype)
        self.values = np.zeros((2 * limit, width), dtype)
        self.tokens = np.zeros(limit, np.intp)
        self.slot: dict[int, int] = {}

    def __len__(self) -> int:
        """Return how many tokens have a slot."""
        return len(self.slot)


class Dirty(Sums):
    """Keep changed tokens beside the sums: weights are computed when they are read.

    An update copies O(d) numbers.  With k slots, reading an entry takes 2k d + 4k products, a row
    2k d + 2k (d_v + 1), a column n times an entry, a rebuild n times a row, and each 2k exponentials a
    row.  Updates of one token share its slot, so a few tokens that change often never need a rebuild.
    When ``sliced``, a rebuild is spread over the next k updates, as in the cached mode.  ``after`` is
    a strategy with the same room and nothing pending, whose sums are taken over.
    """

    VIEWS = Sums.VIEWS | {"_shifts", "_weights"}

    def __init__(
        self,
        tokens: Tokens,
        *,
        room: int,
        limit: int,
        sliced: bool,
        after: Sums | None = None,
    ) -> None:
        super().__init__(tokens, room=room, limit=limit)
        shape = (limit, tokens.keys.shape[1], len(tokens.values), tokens.dtype)
        self._slots = Slots(*shape)
        self._frozen = Slots(*shape) if sliced else None
        self._front = self._end = self._slice = 0
        self._ones = np.ones(2 * limit, tokens.dtype)
        self._view()
        if after is not None:
            self._take_over(after)
            return
        for block, weights, shift in tokens.blocks(tokens.live):
            self.sums[:, block] = tokens.block_sums(weights).T
            self.shift[block] = shift
            self.mass[block] = self.sums[-1, block]

    def _view(self) -> None:
        super()._view()
        self._shifts = entries(self.shift)
        self._weights = np.empty(len(self._ones), self.tokens.dtype)

    # ------------------------------------------------------------------------------------ reads

    def _row_sums(self, i: int) -> Matrix:
        sums: Matrix = self.sums[:, i]
        mass = self._masses[i]
        for slots in self._needed(i) if mass < np.inf else ():
            weights = self._slot_weights(slots, i)
            if weights is None:
                return self._refresh(i)
            self._operations.multiplications += weights.size * sums.size
            sums = weights.dot(slots.values[: weights.size]) + sums
            if slots is self._frozen:
                mass += float(weights.sum())
        if mass <= TURNOVER * sums[-1]:
            return sums
        return self._refresh(i)

    @standard_arithmetic
    def _pending_entry(self, i: int, j: int, numerator: float, denominator: float) -> float:
        mass = self._masses[i]
        for slots in self._needed(i) if mass < np.inf else ():
            weights = self._slot_weights(slots, i)
            if weights is None:
                mass = np.inf
                break
            k = weights.size
            self._operations.multiplications += 2 * k
            numerator += float(weights.dot(slots.values[:k, j]))
            denominator += float(weights.dot(slots.values[:k, -1]))
            if slots is self._frozen:
                mass += float(weights.sum())
        if mass <= TURNOVER * denominator:
            return numerator / denominator
        sums = self._refresh(i)
        return float(sums[j]) / float(sums[-1])

    def _mass(self, i: int) -> float:
        mass: float = self._masses[i]
        if self._front <= i < self._end and self._frozen is not None:
            weights = self._slot_weights(self._frozen, i)
            mass = np.inf if weights is None else mass + float(weights.sum())
        return mass

    def _settled(self, columns: list[int]) -> tuple[Matrix, Matrix]:
        settled, frozen_mass = self.sums[columns], np.zeros_like(self.mass)
        for slots, start, end in (
            (self._slots, 0, self.room),
            (self._frozen, self._front, self._end),
        ):
            if slots is None or not len(slots):
                continue
            values = slots.values[: 2 * len(slots), columns]
            for first in range(start, end, REBUILD_ROWS):
                rows = slice(first, min(first + REBUILD_ROWS, end))
                weights = self._block_weights(slots, rows)
                settled[:, rows] += values.T @ weights
                if slots is self._frozen:
                    frozen_mass[rows] += weights.sum(axis=0)
                self._count(rows, slots, len(columns))
        return settled, self.mass + frozen_mass

    def _needed(self, i: int) -> tuple[Slots, ...]:
        """Return the slots that sums[i] does not include."""
        slots: tuple[Slots, ...] = (self._slots,) if self._slots.slot else ()
        if self._front <= i < self._end and self._frozen is not None:
            slots += (self._frozen,)
        return slots

    def _slot_weights(self, slots: Slots, i: int) -> Matrix | None:
        """Return the weights of all slots in row i, or None where one would overflow."""
        k = 2 * len(slots)
        weights = self._weights[:k]
        slots.keys[:k].dot(self.tokens.queries[i], out=weights)
        weights -= self._shifts[i]
        if self.tokens.causal:
            weights.reshape(-1, 2)[slots.tokens[: len(slots)] > i] = -np.inf
        self._operations.multiplications += k * self.tokens.keys.shape[1]
        self._operations.exponentials += k
        if weights.max() > self._largest_exponent:
            return None
        np.exp(weights, out=weights)
        return weights

    def _refresh(self, i: int) -> Matrix:
        """Compute a stale row, and let the sums and the slots together make it up from now on."""
        weights, shift = self.tokens.weights(i)
        now = self.tokens.sums(weights)
        sums, mass = now.copy(), float(now[-1])
        self.shift[i] = shift
        for slots in self._needed(i):
            slot_weights = self._slot_weights(slots, i)
            if slot_weights is None:
                # A base key outweighs all present ones: stale until the next rebuild takes it out.
                self.mass[i] = np.inf
                return now
            self._operations.multiplications += slot_weights.size * sums.size
            sums -= slot_weights.dot(slots.values[: slot_weights.size])
            mass += float(slot_weights.sum())
        self._store(i, sums, mass, shift)
        return now

    # ---------------------------------------------------------------------------------- updates

    def update_key(self, i: int, j: int, old: float, new: float) -> None:
        """Change entry j of the key of token i."""
        row = 2 * self._slot(i) + 1
        self.tokens.key_entries[i, j] = new
        self._slots.keys[row, j] = new
        self._remember_key(i, j)
        self._settle()

    def set_key(self, i: int, key: Matrix) -> None:
        """Change the key of token i."""
        row = 2 * self._slot(i) + 1
        self.tokens.keys[i] = key
        self._slots.keys[row] = key
        self._remember_keys(i)
        self._settle()

    def set_value(self, i: int, j: int | slice, value: float | Matrix) -> None:
        """Change entry j of the value of token i, or all of it."""
        row = 2 * self._slot(i) + 1
        self.tokens.values[:-1, i][j] = value
        self._slots.values[row, :-1][j] = value
        self._remember_value(i)
        self._settle()

    def _slot(self, i: int) -> int:
        """Return the slot of token i, a new one while the token still is what the sums hold."""
        slots = self._slots
        slot = slots.slot.get(i)
        if slot is None:
            slot = len(slots)
            slots.slot[i] = slot
            slots.tokens[slot] = i
            slots.keys[2 * slot : 2 * slot + 2] = self.tokens.keys[i]
            value = self.tokens.values[:, i]
            np.negative(value, out=slots.values[2 * slot])
            slots.values[2 * slot + 1] = value
        return slot

    def appended(self, i: int) -> None:
        """Give a token that was appended a slot; the sums hold nothing of it."""
        self._look()
        self.query_changed(i)
        self._remember_keys(i)
        self._remember_value(i)
        self._slots.values[2 * self._slot(i)] = 0
        self._settle()

    def evicting(self, i: int) -> None:
        """Let nothing of a token that is about to be evicted be left."""
        self._slots.values[2 * self._slot(i) + 1] = 0
        self._settle()

    # ---------------------------------------------------------------------------------- rebuilds

    def _settle(self) -> None:
        """Go on with a sliced rebuild, and begin the next one where all slots are taken."""
        if self._front < self._end:
            self._advance()
        self.settled = False
        if len(self._slots) >= self.limit:
            self.rebuild()

    def rebuild(self) -> None:
        """Add the slots to the sums, at once or slice by slice."""
        self._count_rebuild()
        if self._frozen is None:
            for first in range(0, self.room, REBUILD_ROWS):
                self._merge(self._slots, slice(first, min(first + REBUILD_ROWS, self.room)))
            self.settled = True
        else:
            self._slots, self._frozen = self._frozen, self._slots
            # The rows of now: those of tokens to come are computed when they are first read.
            self._front, self._end = 0, self.tokens.count
            self._slice = -(-self._end // self.limit)
        self._slots.slot.clear()

    def _advance(self) -> None:
        """Add the frozen slots to the next rows: to all of them before the next are frozen."""
        assert self._frozen is not None
        stop = min(self._front + self._slice, self._end)
        self._merge(self._frozen, slice(self._front, stop))
        self._front = stop

    def _merge(self, slots: Slots, rows: slice) -> None:
        weights = self._block_weights(slots, rows)
        self.sums[:, rows] += slots.values[: len(weights)].T @ weights
        # Weights of the base are computed again, so both of a slot count.
        self.mass[rows] += self._ones[: len(weights)].dot(weights)
        self._count(rows, slots, slots.values.shape[1])

    def _block_weights(self, slots: Slots, rows: slice) -> Matrix:
        """Return the weights of all slots (first axis) in some rows, 0 in rows that get stale."""
        k = len(slots)
        weights: Matrix = slots.keys[: 2 * k] @ self.queries_by_column[:, rows]
        weights -= self.shift[rows]
        if self.tokens.causal:
            unseen = slots.tokens[:k, None] > np.arange(rows.start, rows.stop)
            weights.reshape(k, 2, -1)[
                np.broadcast_to(unseen[:, None], (k, 2, unseen.shape[1]))
            ] = -np.inf
        self._drop_large(weights, rows)
        return np.exp(weights, out=weights)

    def _count(self, rows: slice, slots: Slots, columns: int) -> None:
        """Count a block of rows, those of tokens only."""
        pairs = 2 * len(slots) * max(0, min(rows.stop, self.tokens.count) - rows.start)
        self._operations.multiplications += pairs * (self.tokens.keys.shape[1] + columns)
        self._operations.exponentials += pairs
