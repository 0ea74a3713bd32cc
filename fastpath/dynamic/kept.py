"""Dynamic attention that keeps the weights and nothing else: O(n) updates, O(n) entry reads, no rebuilds."""

import numpy as np

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.inputs import Matrix
from fastpath.dynamic.certificate import row_error_bound
from fastpath.dynamic.tokens import Tokens
from fastpath.dynamic.weights import Weights

#: A row is computed anew when it is read with a smaller denominator: its weights have left their scale, and
#: what underflows would count.  The largest weight of a row is 1 when it is computed.
SMALLEST_DENOMINATOR = {"float32": 2.0**-40, "float64": 2.0**-400}


class Kept(Weights):
    """Keep A = exp(QKᵀ - shift) by key: an update is one column, a read one row (P1.kept).

    An update of a key's entry takes n exponentials and 2n products, of a whole key n d products, of a value
    none.  Reading an entry takes n products, a row n d_v, a column n².  Weights are never
    subtracted, so that nothing turns over: a row is computed anew only when its query has changed, or its
    weights have left their scale.

    Memory: n² numbers.  A row's mass is 0 where its weights can be trusted, and else infinite.
    """

    def __init__(self, tokens: Tokens, *, room: int) -> None:
        super().__init__(tokens, room=room, limit=1)
        self.settled = False
        self._smallest = SMALLEST_DENOMINATOR[tokens.dtype.name]
        self._weights = np.zeros((room, self.room), tokens.dtype)
        self._view()
        for block, weights, shift in tokens.blocks(tokens.live):
            self._weights[: tokens.count, block] = weights.T
            self.shift[block] = shift
            self.mass[block] = 0

    def _view(self) -> None:
        super()._view()
        self._columns = list(self._weights)

    # ------------------------------------------------------------------------------------ reads

    @standard_arithmetic
    def entry(self, i: int, j: int) -> float:
        """Return entry (i, j) of attention."""
        # A bad j is refused here, before anything is counted.
        self._numerators[j, i]
        column = self.tokens.values[j]
        weights, denominator = self._row_weights(i)
        n = len(weights)
        self._operations.multiplications += n
        return float(column[:n].dot(weights)) / denominator

    def _pending_entry(self, i: int, j: int, numerator: float, denominator: float) -> float:
        return self.entry(i, j)

    def _row_sums(self, i: int) -> Matrix:
        weights, denominator = self._row_weights(i)
        n = len(weights)
        self._operations.multiplications += n * (len(self.tokens.values) - 1)
        return np.append(self.tokens.values[:-1, :n] @ weights, weights.dtype.type(denominator))

    def _row_weights(self, i: int) -> tuple[Matrix, float]:
        """Return the weights of row i and their sum, computed anew where they are not to be trusted."""
        weights: Matrix = self._weights[: self.tokens.count, i]
        if self._masses[i] == 0:
            denominator = float(weights.sum())
            if denominator >= self._smallest:
                return weights, denominator
        self._refresh(i)
        return weights, float(weights.sum())

    def _mass(self, i: int) -> float:
        return float(self.mass[i])

    def _settled(self, columns: list[int]) -> tuple[Matrix, Matrix]:
        n = self.tokens.count
        settled, mass = np.zeros((len(columns), self.room), self.tokens.dtype), self.mass.copy()
        settled[:, :n] = self.tokens.values[columns, :n] @ self._weights[:n, :n]
        self._operations.multiplications += n * n * len(columns)
        mass[:n][~(settled[-1, :n] >= self._smallest)] = np.inf
        return settled, mass

    def error_bound(self, i: int) -> float:
        """Bound the error of every entry of row i as it is read now (FP.dynamic)."""
        weights, denominator = self._row_weights(i)
        return row_error_bound(
            self.tokens.queries[i],
            self._largest_keys,
            scaled=self.tokens.scale != 1,
            magnitude=self._largest_value,
            denominator=denominator,
            mass=denominator,
            roundings=len(weights) + 1,
            events=len(weights),
            factors=self.factors,
            steps=self.steps,
        )

    def _refresh(self, i: int) -> None:
        """Compute the weights of row i from the definition."""
        weights, shift = self.tokens.weights(i)
        self._weights[: len(weights), i] = weights
        self._weights[len(weights) :, i] = 0
        self.shift[i], self.mass[i] = shift, 0
        self._operations.refreshed_rows += 1

    # ---------------------------------------------------------------------------------- updates

    def set_value(self, i: int, j: int | slice, value: float | Matrix) -> None:
        """Change entry j of the value of token i, or all of it."""
        self.tokens.values[:-1, i][j] = value
        self._remember_value(i)

    def _now_and_next(self, i: int) -> tuple[int, int]:
        return i, i

    def _use(self, i: int, place: int) -> None:
        pass
