"""P1's structures on exact numbers, every scalar product counted while they run.

`KeptWeights` keeps the weights and the denominators and nothing else: a change of a key is one column, an
entry one product of n terms.  The two lazy ones keep the sums  Σ_s w_is (v_s, 1)  of every row as of the last
*rebuild*, and what has changed since.  `LazySums` keeps the weights: a change is a pair (column of changes,
value), and pairs are added to the sums by one matrix product.  `SlotSums` keeps the changed tokens
themselves, as they were and as they are, and no weights.  A read takes what is pending into account.

NOTE  The weights are 2^(q·k) for integer queries and keys, so every number is rational.  The structures
use of the exponential only that it turns sums into products, which 2^x does as e^x does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from reference.arithmetic.exact_numbers import ObjectArray
from reference.models.counted_products import Tally
from reference.tokens import Append, Evict, Operation, SetRow, Tokens, UpdateEntry, replay

__all__ = ["KeptWeights", "LazySums", "SlotSums", "exact_answer"]


def exact_answer(tokens: Tokens, i: int, j: int) -> Fraction:
    """Return  Σ_s 2^(q_i·k_s) v_sj / Σ_s 2^(q_i·k_s)  over the tokens that row i sees."""
    weights = {s: _power(tokens.query[i] @ tokens.key[s]) for s in tokens.seen(i)}
    return sum((w * tokens.value[s, j] for s, w in weights.items()), Fraction(0)) / sum(
        weights.values()
    )


class Sums(ABC):
    """The sums of every row as of the last rebuild; see the module.

    Parameters
    ----------
    Q, K, V : matrices of integers
        The tokens.
    causal : bool
        Whether row i sees the tokens s <= i only.
    rebuild_every : int
        A rebuild happens in the update that makes so many pending.

    Attributes
    ----------
    tokens : Tokens
        The tokens as they are now.
    products, exponentials : int
        How many were taken so far.
    rebuilding : int
        How many of the products were taken by rebuilds.
    """

    def __init__(self, Q: Any, K: Any, V: Any, *, causal: bool, rebuild_every: int) -> None:
        Q, K, V = (np.array(x, dtype=object) for x in (Q, K, V))
        self.tokens = replay(Q, K, V, (), causal=causal)
        self.rebuild_every = rebuild_every
        self.tally = Tally()
        self.exponentials = self.rebuilding = 0
        self.sums = np.zeros((len(Q), V.shape[1] + 1), object)

    @property
    def products(self) -> int:
        """Products so far."""
        return self.tally.products

    def run(self, log: Iterable[Operation]) -> None:
        """Carry out a log of operations."""
        for operation in log:
            self.apply(operation)

    @abstractmethod
    def apply(self, operation: Operation) -> None:
        """Carry out an operation."""

    @abstractmethod
    def row_sums(self, i: int, columns: list[int]) -> ObjectArray:
        """Return these columns of the sums of row i as they are now."""

    @abstractmethod
    def numbers(self) -> int:
        """Count the numbers that are stored."""

    def entry(self, i: int, j: int) -> Fraction:
        """Return entry (i, j) of attention."""
        numerator, denominator = self.row_sums(i, [j, -1])
        return Fraction(numerator) / Fraction(denominator)

    def row(self, i: int) -> list[Fraction]:
        """Return row i of attention."""
        *numerators, denominator = self.row_sums(i, list(range(self.sums.shape[1])))
        return [Fraction(x) / Fraction(denominator) for x in numerators]

    def column(self, j: int) -> list[Fraction]:
        """Return column j of attention, of the live tokens."""
        return [self.entry(i, j) for i in self.tokens.live]

    def _factors(self, column: int, delta: Any) -> ObjectArray:
        """Return what an entry of a key that grows by delta multiplies its weights by: 2n products."""
        steps = self.tally.product(self.tokens.query[:, [column]], np.array([[delta]], object))
        factors: ObjectArray = np.array([_power(x) for (x,) in steps], object)
        self.exponentials += len(factors)
        self.tally.products += len(factors)
        return factors

    def _column(self, token: int) -> ObjectArray:
        """Return the weights of a token in all rows, 0 where they do not see it: n d products."""
        column = self._weights(self.tokens.key[[token]], self.tokens.query)[:, 0]
        if self.tokens.causal:
            column[:token] = 0
        return column

    def _weights(self, keys: ObjectArray, queries: ObjectArray) -> ObjectArray:
        """Return the weights of some keys (columns) in some rows, counted."""
        self.exponentials += len(queries) * len(keys)
        logits = self.tally.product(queries, keys.T)
        return np.array([[_power(x) for x in row] for row in logits], object).reshape(logits.shape)

    def _row_weights(self, i: int) -> ObjectArray:
        """Return the weights of all tokens in row i, 0 where it does not see them."""
        seen = self.tokens.seen(i)
        weights: ObjectArray = self._weights(self.tokens.key, self.tokens.query[[i]])[0]
        weights[[s for s in range(len(weights)) if s not in seen]] = 0
        return weights

    def _lifted_values(self) -> ObjectArray:
        """Return the values with a last column of ones."""
        values = self.tokens.value
        return np.hstack([values, np.ones((len(values), 1), object)])

    def _stored_tokens(self) -> int:
        return sum(int(x.size) for x in (self.tokens.query, self.tokens.key, self.tokens.value))


class KeptWeights(Sums):
    """Keep the weights A and the denominators D, and nothing else: nothing is ever pending."""

    def __init__(self, Q: Any, K: Any, V: Any, *, causal: bool = False) -> None:
        super().__init__(Q, K, V, causal=causal, rebuild_every=1)
        self.weights = np.array([self._row_weights(i) for i in range(len(self.sums))], object)
        self.denominators = self.weights.sum(axis=1)

    def apply(self, operation: Operation) -> None:
        """Carry out an operation: a column of the weights, a row, or nothing."""
        match operation:
            case UpdateEntry("query", token) | SetRow("query", token):
                self.tokens.apply(operation)
                self._refresh(self.tokens.index(token))
            case UpdateEntry("key", token, column, delta):
                token = self.tokens.index(token)
                self.tokens.apply(operation)
                self._reweigh(token, self._factors(column, delta) * self.weights[:, token])
            case SetRow("key", token):
                token = self.tokens.index(token)
                self.tokens.apply(operation)
                self._reweigh(token, self._column(token))
            case UpdateEntry("value") | SetRow("value"):
                self.tokens.apply(operation)
            case Append():
                self.tokens.apply(operation)
                token = len(self.tokens.key) - 1
                self.weights = np.pad(self.weights, ((0, 1), (0, 1)))
                self.denominators = np.append(self.denominators, 0)
                self._reweigh(token, self._column(token))
                self._refresh(token)
            case Evict(token):
                token = self.tokens.index(token)
                self.tokens.apply(operation)
                self._reweigh(token, np.zeros(len(self.weights), object))

    def row_sums(self, i: int, columns: list[int]) -> ObjectArray:
        """Return these columns of the sums of row i: n products each, but none for the denominator."""
        some = [c for c in columns if c != -1]
        sums = self.tally.product(self.weights[[i]], self._lifted_values()[:, some])[0]
        return np.append(sums, [self.denominators[i]] * (len(columns) - len(some)))

    def row(self, i: int) -> list[Fraction]:
        """Return row i of attention."""
        *sums, denominator = self.row_sums(i, [*range(self.tokens.value.shape[1]), -1])
        return [Fraction(x) / Fraction(denominator) for x in sums]

    def numbers(self) -> int:
        """Count the numbers that are stored."""
        return self._stored_tokens() + int(self.weights.size + self.denominators.size)

    def _reweigh(self, token: int, column: ObjectArray) -> None:
        self.denominators = self.denominators + column - self.weights[:, token]
        self.weights[:, token] = column

    def _refresh(self, i: int) -> None:
        self.weights[i] = self._row_weights(i)
        self.denominators[i] = self.weights[i].sum()


class Pair(NamedTuple):
    """A pending correction of rank one: what it adds to row i is coefficients_i values."""

    coefficients: ObjectArray
    values: ObjectArray


class LazySums(Sums):
    """Keep the weights, and what changes as pairs; ``sliced`` spreads a rebuild over k updates.

    With ``strassen``, a rebuild multiplies blocks of order k by Strassen's algorithm: n and d_v + 1 must
    be multiples of k, and k a power of two.
    """

    def __init__(
        self,
        Q: Any,
        K: Any,
        V: Any,
        *,
        causal: bool = False,
        rebuild_every: int,
        sliced: bool = False,
        strassen: bool = False,
    ) -> None:
        super().__init__(Q, K, V, causal=causal, rebuild_every=rebuild_every)
        self.sliced, self.strassen = sliced, strassen
        self.pending: list[Pair] = []
        #: Pairs that a sliced rebuild is adding; rows from ``front`` to ``end`` still need them.
        self.frozen: list[Pair] = []
        self.front = self.end = 0
        self.weights = np.array([self._row_weights(i) for i in range(len(self.sums))], object)
        self.sums = self.tally.product(self.weights, self._lifted_values())

    def apply(self, operation: Operation) -> None:
        """Carry out an operation: at most one pair, or one row from the definition."""
        before = self._lifted_values()
        match operation:
            case UpdateEntry("query", token) | SetRow("query", token):
                self.tokens.apply(operation)
                self._refresh(self.tokens.index(token))
            case UpdateEntry("key", token, column, delta):
                token = self.tokens.index(token)
                self.tokens.apply(operation)
                self._reweigh(token, self._factors(column, delta) * self.weights[:, token])
            case SetRow("key", token):
                token = self.tokens.index(token)
                self.tokens.apply(operation)
                self._reweigh(token, self._column(token))
            case UpdateEntry("value", token) | SetRow("value", token):
                token = self.tokens.index(token)
                self.tokens.apply(operation)
                change = self._lifted_values()[token] - before[token]
                self._push(Pair(self.weights[:, token].copy(), change))
            case Append():
                self.tokens.apply(operation)
                token = len(self.tokens.key) - 1
                self.weights = np.pad(self.weights, ((0, 1), (0, 1)))
                self.sums = np.pad(self.sums, ((0, 1), (0, 0)))
                for pairs in (self.pending, self.frozen):
                    pairs[:] = [Pair(np.append(c, 0), v) for c, v in pairs]
                self._refresh(token)
                # The row that was added holds the token already, so its change there is 0.
                self._reweigh(token, self._column(token))
            case Evict(token):
                token = self.tokens.index(token)
                self.tokens.apply(operation)
                self._reweigh(token, np.zeros(len(self.sums), object))

    def row_sums(self, i: int, columns: list[int]) -> ObjectArray:
        """Return these columns of the sums of row i: as many products as pairs, for each column."""
        sums = self.sums[i, columns]
        for pair in self.pairs(i):
            self.tally.products += len(columns)
            sums = sums + pair.coefficients[i] * pair.values[columns]
        return sums

    def pairs(self, i: int) -> list[Pair]:
        """Return the pairs that the sums of row i do not include."""
        return self.pending + (self.frozen if self.front <= i < self.end else [])

    def numbers(self) -> int:
        """Count the numbers that are stored."""
        pairs = sum(int(c.size + v.size) for c, v in self.pending + self.frozen)
        return self._stored_tokens() + int(self.weights.size + self.sums.size) + pairs

    def _reweigh(self, token: int, column: ObjectArray) -> None:
        change = column - self.weights[:, token]
        self.weights[:, token] = column
        self._push(Pair(change, self._lifted_values()[token]))

    def _refresh(self, i: int) -> None:
        """Compute row i from the definition; nothing that is pending concerns it any more."""
        self.weights[i] = self._row_weights(i)
        self.sums[i] = self.tally.product(self.weights[[i]], self._lifted_values())[0]
        for pair in self.pending + self.frozen:
            pair.coefficients[i] = 0

    def _push(self, pair: Pair) -> None:
        self.pending.append(pair)
        before = self.products
        if self.frozen:
            stop = min(self.front - (-self.end // self.rebuild_every), self.end)
            self._merge(self.frozen, slice(self.front, stop))
            self.front = stop
            if stop == self.end:
                self.frozen = []
        if len(self.pending) >= self.rebuild_every:
            n = len(self.sums)
            if self.sliced:
                self.frozen, self.front, self.end = self.pending, 0, n
            else:
                self._merge(self.pending, slice(0, n))
            self.pending = []
        self.rebuilding += self.products - before

    def _merge(self, pairs: list[Pair], rows: slice) -> None:
        coefficients = np.array([c[rows] for c, _ in pairs], object).T
        values = np.array([v for _, v in pairs], object)
        self.sums[rows] += self._product(coefficients, values)

    def _product(self, coefficients: ObjectArray, values: ObjectArray) -> ObjectArray:
        if not self.strassen:
            return self.tally.product(coefficients, values)
        k = len(values)
        fast = Tally(strassen=True)
        result = np.block(
            [
                [fast.product(c, v) for v in np.hsplit(values, values.shape[1] // k)]
                for c in np.vsplit(coefficients, len(coefficients) // k)
            ]
        )
        self.tally.products += fast.products
        return result


@dataclass
class Slot:
    """A token as the sums hold it and as it is now: a key and a lifted value each."""

    old_key: ObjectArray
    old_value: ObjectArray
    key: ObjectArray
    value: ObjectArray


class SlotSums(Sums):
    """Keep the changed tokens and no weights: updates copy, reads compute weights.

    Repeated changes of a token share its slot; ``sliced`` spreads a rebuild over k updates.
    """

    def __init__(
        self,
        Q: Any,
        K: Any,
        V: Any,
        *,
        causal: bool = False,
        rebuild_every: int,
        sliced: bool = False,
    ) -> None:
        super().__init__(Q, K, V, causal=causal, rebuild_every=rebuild_every)
        self.sliced = sliced
        self.slots: dict[int, Slot] = {}
        #: Slots that a sliced rebuild is adding; rows from ``front`` to ``end`` still need them.
        self.frozen: dict[int, Slot] = {}
        self.front = self.end = 0
        for i in range(len(self.sums)):
            self._refresh(i)

    def apply(self, operation: Operation) -> None:
        """Carry out an operation: a slot, or one row from the definition."""
        match operation:
            case UpdateEntry("query", token) | SetRow("query", token):
                self.tokens.apply(operation)
                self._refresh(self.tokens.index(token))
                return
            case Append():
                self.tokens.apply(operation)
                token = len(self.tokens.key) - 1
                self.sums = np.pad(self.sums, ((0, 1), (0, 0)))
                slot = self._slot(token)
                slot.old_value = 0 * slot.old_value
                self._refresh(token)
            case Evict(token):
                token = self.tokens.index(token)
                slot = self._slot(token)
                self.tokens.apply(operation)
                slot.value = 0 * slot.value
            case UpdateEntry(_, token) | SetRow(_, token):
                token = self.tokens.index(token)
                slot = self._slot(token)
                self.tokens.apply(operation)
                slot.key = self.tokens.key[token].copy()
                slot.value = self._lifted_values()[token]
        before = self.products
        if self.frozen:
            stop = min(self.front - (-self.end // self.rebuild_every), self.end)
            self._merge(self.frozen, range(self.front, stop))
            self.front = stop
            if stop == self.end:
                self.frozen = {}
        if len(self.slots) >= self.rebuild_every:
            n = len(self.sums)
            if self.sliced:
                self.frozen, self.front, self.end = self.slots, 0, n
            else:
                self._merge(self.slots, range(n))
            self.slots = {}
        self.rebuilding += self.products - before

    def row_sums(self, i: int, columns: list[int]) -> ObjectArray:
        """Return these columns of the sums of row i: two weights a slot."""
        sums: ObjectArray = self.sums[i, columns] + self._pending(i, columns)
        return sums

    def numbers(self) -> int:
        """Count the numbers that are stored."""
        slots = [*self.slots.values(), *self.frozen.values()]
        kept = sum(int(x.size) for slot in slots for x in vars(slot).values())
        return self._stored_tokens() + int(self.sums.size) + kept

    def _merge(self, slots: dict[int, Slot], rows: range) -> None:
        for i in rows:
            self.sums[i] += self._slot_sums(slots, i, list(range(self.sums.shape[1])))

    def _slot(self, token: int) -> Slot:
        if token not in self.slots:
            key, value = self.tokens.key[token].copy(), self._lifted_values()[token]
            self.slots[token] = Slot(key, value, key, value)
        return self.slots[token]

    def _pending(self, i: int, columns: list[int]) -> ObjectArray:
        """Return what the sums of row i do not include."""
        sums = self._slot_sums(self.slots, i, columns)
        if self.front <= i < self.end:
            sums = sums + self._slot_sums(self.frozen, i, columns)
        return sums

    def _slot_sums(self, slots: dict[int, Slot], i: int, columns: list[int]) -> ObjectArray:
        """Return what slots add to row i."""
        if not slots:
            return np.zeros(len(columns), object)
        keys = np.array([k for slot in slots.values() for k in (slot.old_key, slot.key)], object)
        values = np.array(
            [v for slot in slots.values() for v in (-slot.old_value, slot.value)], object
        )
        weights = self._weights(keys, self.tokens.query[[i]])
        if self.tokens.causal:
            unseen = np.repeat([token > i for token in slots], 2)
            weights[:, unseen] = 0
        sums: ObjectArray = self.tally.product(weights, values[:, columns])[0]
        return sums

    def _refresh(self, i: int) -> None:
        """Compute row i from the definition, less what is pending."""
        now = self.tally.product(self._row_weights(i)[None], self._lifted_values())[0]
        self.sums[i] = now - self._pending(i, list(range(len(now))))


def _power(logit: int) -> Fraction:
    return Fraction(2) ** int(logit)
