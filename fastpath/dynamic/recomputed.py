"""Dynamic attention that keeps nothing: a row is computed from the definition when it is read."""

import numpy as np

from fastpath.core.inputs import Matrix
from fastpath.dynamic.certificate import row_error_bound
from fastpath.dynamic.tokens import Tokens


class Recomputed:
    """Compute what is read: n (d + d_v + 1) products and n exponentials a row, updates cost nothing.

    The best there is where tokens change ten times as often as rows are read.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.limit = 0
        self.entry = tokens.entry

    def row(self, i: int) -> Matrix:
        """Return row i of attention."""
        sums = self.tokens.row(i)
        row: Matrix = sums[:-1] / sums[-1]
        return row

    def columns(self, columns: list[int]) -> Matrix:
        """Return these columns of the sums of the live rows."""
        blocks = self.tokens.blocks(self.tokens.live)
        return np.concatenate(
            [self.tokens.block_sums(weights, columns) for _, weights, _ in blocks]
        )

    def error_bound(self, i: int) -> float:
        """Bound the error of every entry of row i as it is read now (FP.dynamic)."""
        tokens = self.tokens
        n = tokens.count
        row = tokens.row(i)
        return row_error_bound(
            tokens.queries[i],
            np.abs(tokens.keys[:n]).max(axis=0).tolist(),
            scaled=tokens.scale != 1,
            magnitude=float(np.abs(tokens.values[:-1, :n]).max()),
            denominator=float(row[-1]),
            mass=float(row[-1]),
            roundings=n + 1,
            events=n,
            factors=0,
            steps=0.0,
        )

    def query_changed(self, i: int) -> None:
        """Do nothing."""

    def update_key(self, i: int, j: int, old: float, new: float) -> None:
        """Change entry j of the key of token i."""
        self.tokens.key_entries[i, j] = new

    def set_key(self, i: int, key: Matrix) -> None:
        """Change the key of token i."""
        self.tokens.keys[i] = key

    def set_value(self, i: int, j: int | slice, value: float | Matrix) -> None:
        """Change entry j of the value of token i, or all of it."""
        self.tokens.values[:-1, i][j] = value

    def appended(self, i: int) -> None:
        """Do nothing."""

    def evicting(self, i: int) -> None:
        """Do nothing."""
