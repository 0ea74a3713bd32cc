"""Weights that are kept by key while tokens change: what cached and kept share."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from fastpath.core.inputs import Matrix
from fastpath.dynamic.sums import Sums
from fastpath.dynamic.tokens import Tokens

#: A weight is multiplied by at most so many factors e^step, and by at most e^this in all, before its
#: column is computed anew: products drift, and a weight that underflowed must not come back.
FACTORS = 32
LARGEST_STEPS = {"float32": 16.0, "float64": 64.0}


class Weights(Sums):
    """Keep the weights of every token in a column of their own, and renew one column an update.

    An update of a key's entry takes n exponentials and 2n products, of a whole key n d products.  Where the
    column stands, and what follows once it is written, is each strategy's own.
    """

    VIEWS = Sums.VIEWS | {"_columns", "_query_columns", "_changed"}

    #: All columns there are.
    _columns: Sequence[Matrix]

    def __init__(self, tokens: Tokens, *, room: int, limit: int) -> None:
        super().__init__(tokens, room=room, limit=limit)
        self._largest_steps = LARGEST_STEPS[tokens.dtype.name]
        self._largest_query = np.abs(self.queries_by_column).max(axis=1).tolist()
        self._factors = [0] * room
        self._steps = [0.0] * room

    def _view(self) -> None:
        super()._view()
        self._query_columns = list(self.queries_by_column)
        self._changed = np.empty(self.room, self.tokens.dtype)

    @abstractmethod
    def _now_and_next(self, i: int) -> tuple[int, int]:
        """Return which column holds the weights of token i, and which one is to hold those to come."""

    @abstractmethod
    def _use(self, i: int, place: int) -> None:
        """Make a column that was written the weights of token i."""

    def update_key(self, i: int, j: int, old: float, new: float) -> None:
        """Change entry j of the key of token i: multiply its weights by exp(change q_j)."""
        keys = self.tokens.key_entries
        keys[i, j] = new
        self._remember_key(i, j)
        # What was stored may have been rounded.
        change = keys[i, j] - old
        factors = self._factors[i] + 1
        steps = self._steps[i] + abs(change) * self._largest_query[j]
        if factors > FACTORS or steps > self._largest_steps:
            self._recompute(i)
            return
        self._factors[i], self._steps[i] = factors, steps
        # The largest ever: the sums remember what passed through them.
        if factors > self.factors:
            self.factors = factors
        if steps > self.steps:
            self.steps = steps
        now, place = self._now_and_next(i)
        changed = self._changed
        np.multiply(self._query_columns[j], change, out=changed)
        np.exp(changed, out=changed)
        np.multiply(self._columns[now], changed, out=self._columns[place])
        self._operations.multiplications += 2 * self.tokens.count
        self._operations.exponentials += self.tokens.count
        self._use(i, place)

    def set_key(self, i: int, key: Matrix) -> None:
        """Change the key of token i."""
        self.tokens.keys[i] = key
        self._remember_keys(i)
        self._recompute(i)

    def _recompute(self, i: int) -> None:
        """Compute the weights of token i from the definition."""
        n = self.tokens.count
        _, place = self._now_and_next(i)
        weights = self._columns[place]
        self.tokens.queries[:n].dot(self.tokens.keys[i], out=weights[:n])
        weights[n:] = -np.inf
        weights -= self.shift
        if self.tokens.causal:
            weights[:i] = -np.inf
        self._drop_large(weights, slice(None))
        np.exp(weights, out=weights)
        self._operations.multiplications += n * self.tokens.keys.shape[1]
        self._operations.exponentials += n
        self._factors[i], self._steps[i] = 0, 0.0
        self._use(i, place)

    def appended(self, i: int) -> None:
        """Add the weights of a token that was appended, whose column is 0 so far."""
        self._look()
        self.query_changed(i)
        self._remember_keys(i)
        self._remember_value(i)
        self._recompute(i)

    def evicting(self, i: int) -> None:
        """Take the weights of a token that is about to be evicted out of every row."""
        _, place = self._now_and_next(i)
        self._columns[place].fill(0)
        self._use(i, place)

    def query_changed(self, i: int) -> None:
        """Make row i stale."""
        super().query_changed(i)
        query = np.abs(self.tokens.queries[i])
        self._largest_query = np.maximum(self._largest_query, query).tolist()
