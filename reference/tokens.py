r"""Attention of tokens that change: a log of operations replayed, every answer by the definition.

    answer_ij = Σ_s e^(q_i·k_s) v_sj / Σ_s e^(q_i·k_s)

over the live tokens s that row i sees: all of them, or s ≤ i when causal.  Nothing is maintained: the
operations change three arrays, and a question is answered from the arrays as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import ratios
from reference.attention import attention

__all__ = ["Append", "Evict", "Operation", "SetRow", "Tokens", "UpdateEntry", "replay"]

Array = NDArray[Any]


Name = Literal["query", "key", "value"]


class UpdateEntry(NamedTuple):
    """Add ``delta`` to one entry of a token's query, key or value."""

    array: Name
    token: int
    column: int
    delta: Any


class SetRow(NamedTuple):
    """Replace a token's query, key or value."""

    array: Name
    token: int
    row: Sequence[Any]


class Append(NamedTuple):
    """Add a token after the last one."""

    query: Sequence[Any]
    key: Sequence[Any]
    value: Sequence[Any]


class Evict(NamedTuple):
    """Take a token out of every row, and its row out of what can be read."""

    token: int


Operation = UpdateEntry | SetRow | Append | Evict


@dataclass
class Tokens:
    """Queries, keys and values as they are now; evicted tokens keep their index and are not live.

    The sum of an entry and its change is rounded as Python's floats are, then to the type of the
    array; integers and Fractions are added exactly.
    """

    query: Array
    key: Array
    value: Array
    causal: bool = False
    evicted: set[int] = field(default_factory=set)

    @property
    def live(self) -> list[int]:
        """Indices of the tokens that are not evicted, in order."""
        return [i for i in range(len(self.key)) if i not in self.evicted]

    def seen(self, i: int) -> list[int]:
        """Return the indices of the live tokens that row i sees."""
        return [s for s in self.live if s <= i or not self.causal]

    def apply(self, operation: Operation) -> None:
        """Carry out an operation.

        Raises
        ------
        IndexError
            If a token or a column does not exist.
        ValueError
            If a token was evicted or is the last one to be evicted, a row has the wrong length, or a
            number is not finite.
        TypeError
            If something is not a number.
        """
        match operation:
            case UpdateEntry(array, token, column, delta):
                entries = self._array(array)
                row = entries[self.index(token)]
                ratios(delta, "delta")
                row[column] = row.item(column) + delta
            case SetRow(array, token, row):
                entries = self._array(array)
                entries[self.index(token)] = _row(row, entries, array)
            case Append():
                rows = [_row(r, self._array(a), a) for a, r in operation._asdict().items()]
                self.query, self.key, self.value = (
                    np.vstack([self._array(a), row])
                    for a, row in zip(operation._fields, rows, strict=True)
                )
            case Evict(token):
                index = self.index(token)
                if len(self.live) == 1:
                    raise ValueError(f"token {token} is the last one and cannot be evicted.")
                self.evicted.add(index)

    def index(self, token: int) -> int:
        """Return the index, from 0 on, of a live token; negative ones count from the end."""
        index = range(len(self.key))[token]
        if index in self.evicted:
            raise ValueError(f"token {token} was evicted.")
        return index

    def row(self, i: int, *, precision: int = 128) -> Enclosure:
        """Enclose row i of attention, shape (d_v,)."""
        i = self.index(i)
        seen = self.seen(i)
        row = attention(self.query[[i]], self.key[seen], self.value[seen], precision=precision)
        return row.reshape(-1)

    def attention(self, *, precision: int = 128) -> Enclosure:
        """Enclose attention of the live tokens, in order: shape (live, d_v)."""
        live = self.live
        return attention(
            self.query[live],
            self.key[live],
            self.value[live],
            causal=self.causal,
            precision=precision,
        )

    def _array(self, name: Name | str) -> Array:
        if name not in ("query", "key", "value"):
            raise ValueError(f"array must be 'query', 'key' or 'value', got {name!r}.")
        entries: Array = getattr(self, name)
        return entries


def replay(Q: Any, K: Any, V: Any, log: Iterable[Operation], *, causal: bool = False) -> Tokens:
    """Return the tokens after a log of operations.

    Parameters
    ----------
    Q, K : (n, d) array_like
        Queries and keys: floats, or Python's integers and Fractions; not changed.
    V : (n, d_v) array_like
        Values.
    log : iterable of Operation
        What happened, in order.
    causal : bool
        Whether row i sees the tokens s ≤ i only.

    Returns
    -------
    Tokens

    Raises
    ------
    ValueError
        If Q, K and V are not matrices of equally many rows, at least one.
    IndexError, TypeError, ValueError
        As :meth:`Tokens.apply`.
    """
    query, key, value = (_editable(x) for x in (Q, K, V))
    if not (query.ndim == key.ndim == value.ndim == 2 and 0 < len(query) == len(key) == len(value)):
        raise ValueError(
            "Q, K and V must be matrices with equally many rows, at least one, got shapes "
            f"{query.shape}, {key.shape} and {value.shape}."
        )
    tokens = Tokens(query, key, value, causal)
    for operation in log:
        tokens.apply(operation)
    return tokens


def _editable(x: Any) -> Array:
    """Copy an array; integers become Python's, which a change that is no integer does not truncate."""
    array = np.array(x)
    return array.astype(object) if array.dtype.kind in "iu" else array


def _row(row: Any, entries: Array, name: str) -> Array:
    ratios(row, name)
    new: Array = np.asarray(row, entries.dtype)
    if new.shape != entries.shape[1:]:
        raise ValueError(f"{name} must have shape {entries.shape[1:]}, got {new.shape}.")
    return new
