"""The k largest entries of every column, where rows are final when they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.streaming import heap_excess
from fastpath.core.state_files import Arrays
from fastpath.streaming.count_sketch import Floats, RecoveryBound, Rows


@standard_arithmetic
class TopEntries:
    """The k entries of largest magnitude of every column, of rows that each come once.

    Of equal entries the one with the smaller row is kept.  An empty place holds 0 in row -1.

    Parameters
    ----------
    columns : int
        How many.
    sparsity : int
        k.

    Notes
    -----
    16 k bytes a column; a comparison an entry, and k where one enters.  Threads must take turns.
    Claim: P2.heap.
    """

    def __init__(self, columns: int, sparsity: int) -> None:
        self._values = np.zeros((columns, sparsity))
        self._rows = np.full((columns, sparsity), -1, np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return self._values.nbytes + self._rows.nbytes

    def add(self, rows: Rows, values: NDArray[Any]) -> None:
        """Take in rows, in any order, each of which comes only once.

        Parameters
        ----------
        rows : (b,) array of int
            Their indices.
        values : (b, columns) array
            The rows, finite.
        """
        magnitudes = np.abs(values)
        least = np.abs(self._values).min(axis=1)
        for column in np.flatnonzero(magnitudes.max(axis=0) >= least).tolist():
            large = np.flatnonzero(magnitudes[:, column] >= least[column])
            self._enter(column, rows[large], values[large, column])

    def merge(self, other: TopEntries) -> None:
        """Take in the entries of other rows."""
        for column in range(len(self._rows)):
            self._enter(column, other._rows[column], other._values[column])

    def entries(self, column: int) -> tuple[Rows, Floats]:
        """Return rows and values of the entries of a column that are not 0, by rising row."""
        kept = np.flatnonzero(self._values[column])
        kept = kept[np.argsort(self._rows[column, kept])]
        return self._rows[column, kept], self._values[column, kept]

    def bound(self, entry_error: Floats, length: int) -> RecoveryBound:
        """Bound the error of the columns where entries err by at most ``entry_error``, (columns,)."""
        sparsity = min(self._values.shape[1], max(length, 1))
        return RecoveryBound(
            ratio=1.0,
            excess=heap_excess(sparsity, entry_error),
            failure_probability=None,
            claims=("P2.heap",),
        )

    def contents(self) -> Arrays:
        """Return all that is kept."""
        return {"values": self._values, "rows": self._rows}

    @classmethod
    def from_contents(cls, contents: Arrays) -> TopEntries:
        """Return what :meth:`contents` was taken from."""
        kept = cls(0, 0)
        kept._values, kept._rows = contents["values"], contents["rows"]
        return kept

    def __copy__(self) -> TopEntries:
        return self.from_contents({name: x.copy() for name, x in self.contents().items()})

    def _enter(self, column: int, rows: Rows, values: NDArray[Any]) -> None:
        values = np.concatenate((self._values[column], values))
        rows = np.concatenate((self._rows[column], rows))
        # Rows of empty places come last, so that a zero may take one but no entry loses to one.
        order = np.lexsort((rows.view(np.uint64), -np.abs(values)))[: self._values.shape[1]]
        self._values[column], self._rows[column] = values[order], rows[order]
