"""Sums of every row that are kept while tokens change: what cached and dirty share."""

from abc import ABC, abstractmethod

import numpy as np

from fastpath.core.inputs import Matrix
from fastpath.dynamic.certificate import row_error_bound
from fastpath.dynamic.tokens import PADDING, Tokens, Viewed, entries

#: A row is computed anew once this many times its denominator has passed through its sums, since
#: what has left the sums has left its rounding errors behind: at 2^20 the error is 3e-8.
TURNOVER = 32.0

#: A row is computed anew after so many rebuilds, each of which rounds its terms once more: in float32
#: FP.dynamic covers 2^22 roundings, of which tokens take 2^21 and pending pairs 2^20.
OLDEST = 2**16

#: A logit that passes the shift of its row by more makes the row stale, so that no weight overflows.
LARGEST_EXPONENT = {"float32": 16.0, "float64": 300.0}


class Sums(Viewed, ABC):
    """The sums of every row as of the last rebuild, and how far they can be trusted.

    Invariant, for every row i of a live token whose mass is finite: ``sums[:, i]`` plus what the
    pending pairs add is sum_j w_ij (v_j, 1) over the tokens that row i sees now, with w_ij = exp(logit_ij -
    shift[i]); and ``mass[i]`` is what has passed through ``sums[:, i]`` since the row was last
    computed from the definition: the magnitudes of all weights, or differences of weights, that were added.

    A row whose mass exceeds TURNOVER times its denominator is *stale*: a read computes it anew.  While
    a rebuild is sliced, what is frozen counts as if it were in the sums: pending pairs may take away
    again what it adds.

    Memory: n (d + d_v + 4) numbers and the pending pairs.
    """

    VIEWS = frozenset({"_numerator_rows", "_numerators", "_denominators", "_masses"})

    #: By how many factors e^step a weight may have been multiplied, and the largest sum of |step|.
    factors = 0
    steps = 0.0

    def __init__(self, tokens: Tokens, *, room: int, limit: int) -> None:
        self.tokens = tokens
        self._operations = tokens.operations
        #: Pairs at which the sums are rebuilt; may be lowered, and raised again to what it was.
        self.limit = limit
        self._largest_limit = limit
        #: Room for queries, and some more.
        self.room = room + PADDING
        self.queries_by_column = np.zeros((tokens.queries.shape[1], self.room), tokens.dtype)
        self.queries_by_column[:, : tokens.count] = tokens.queries[: tokens.count].T
        #: By column: BLAS takes half as long to rebuild them so as by row.
        self.sums = np.zeros((len(tokens.values), self.room), tokens.dtype)
        self.shift = np.zeros(self.room, tokens.dtype)
        self.mass = np.full(self.room, np.inf, tokens.dtype)
        self.rebuilds = 0
        #: True only where nothing is pending: then the sums alone make up every row.
        self.settled = True
        self._largest_exponent = LARGEST_EXPONENT[tokens.dtype.name]
        self._computed_at = np.zeros(self.room, np.int64)
        # The largest ever, not of now: the sums remember what passed through them.
        self._largest_keys = np.abs(tokens.keys[: tokens.count]).max(axis=0).tolist()
        self._largest_value = float(np.abs(tokens.values[:-1]).max())

    def _view(self) -> None:
        self._look()

    def _look(self) -> None:
        """Renew the views that read one number of a token in 50 ns, and check its index."""
        n = self.tokens.count
        self._numerator_rows = self.sums[:-1].T
        self._numerators = entries(self.sums[:-1, :n])
        self._denominators = entries(self.sums[-1, :n])
        self._masses = entries(self.mass[:n])

    # ------------------------------------------------------------------------------------ reads

    def row(self, i: int) -> Matrix:
        """Return row i of attention."""
        if self.settled:
            denominator = self._denominators[i]
            if self._masses[i] <= TURNOVER * denominator:
                clean: Matrix = self._numerator_rows[i] / denominator
                return clean
        sums = self._row_sums(i)
        row: Matrix = sums[:-1] / sums[-1]
        return row

    @abstractmethod
    def _row_sums(self, i: int) -> Matrix:
        """Return the sums of row i: the numerators and, last, their denominator."""

    def entry(self, i: int, j: int) -> float:
        """Return entry (i, j) of attention: by Python's floats alone where nothing is pending."""
        numerator: float = self._numerators[j, i]
        denominator: float = self._denominators[i]
        if self.settled and self._masses[i] <= TURNOVER * denominator:
            return numerator / denominator
        return self._pending_entry(i, j, numerator, denominator)

    @abstractmethod
    def _pending_entry(self, i: int, j: int, numerator: float, denominator: float) -> float:
        """Return entry (i, j), of which the sums hold this much, guarded for itself."""

    @abstractmethod
    def _mass(self, i: int) -> float:
        """Return what has passed through the sums of row i, and what is frozen beside them."""

    @abstractmethod
    def _settled(self, columns: list[int]) -> tuple[Matrix, Matrix]:
        """Return these columns of the sums of all rows, what is pending included, and the masses."""

    def columns(self, columns: list[int]) -> Matrix:
        """Return these columns of the sums of the live rows; the last must be the denominator."""
        live = self.tokens.live
        settled, mass = self._settled(columns)
        stale = live[mass[live] > TURNOVER * settled[-1, live]]
        for block, weights, _ in self.tokens.blocks(stale):
            settled[:, block] = self.tokens.block_sums(weights, columns).T
        return settled[:, live].T

    def error_bound(self, i: int) -> float:
        """Bound the error of every entry of row i as it is read now (FP.dynamic)."""
        denominator = float(self._row_sums(i)[-1])
        rebuilds = self.rebuilds - int(self._computed_at[i])
        if self.settled and not rebuilds:
            return self._error_bound_as_computed(i, denominator)
        mass = self._mass(i)
        # A pending key adds at most its weights before, part of the mass, and now, part of the
        # denominator; a pending value at most twice its weights before.  A stale row is read anew.
        mass = denominator + (4 * mass if mass <= TURNOVER * denominator else 0.0)
        return row_error_bound(
            self.tokens.queries[i],
            self._largest_keys,
            scaled=self.tokens.scale != 1,
            magnitude=self._largest_value,
            denominator=denominator,
            mass=mass,
            roundings=self.tokens.count + rebuilds + 4 * self._largest_limit + 5,
            events=self.tokens.count + 4 * self._largest_limit * (rebuilds + 1),
            factors=self.factors,
            steps=self.steps,
        )

    def _error_bound_as_computed(self, i: int, denominator: float) -> float:
        """Bound the error of row i where its sums are as they were computed from the definition.

        Each weight has then passed through them once, and was never multiplied by a factor.
        """
        n = self.tokens.count
        return row_error_bound(
            self.tokens.queries[i],
            self._largest_keys,
            scaled=self.tokens.scale != 1,
            magnitude=self._largest_value,
            denominator=denominator,
            mass=denominator,
            roundings=n + 1,
            events=n,
            factors=0,
            steps=0.0,
        )

    # ---------------------------------------------------------------------------------- updates

    def query_changed(self, i: int) -> None:
        """Make row i stale."""
        self.queries_by_column[:, i] = self.tokens.queries[i]
        self.mass[i] = np.inf

    @abstractmethod
    def update_key(self, i: int, j: int, old: float, new: float) -> None:
        """Change entry j of the key of token i."""

    @abstractmethod
    def set_key(self, i: int, key: Matrix) -> None:
        """Change the key of token i."""

    @abstractmethod
    def set_value(self, i: int, j: int | slice, value: float | Matrix) -> None:
        """Change entry j of the value of token i, or all of it."""

    @abstractmethod
    def appended(self, i: int) -> None:
        """Take in a token that was appended."""

    @abstractmethod
    def evicting(self, i: int) -> None:
        """Prepare for the eviction of token i."""

    # ----------------------------------------------------------------------------------- helpers

    def _take_over(self, other: "Sums") -> None:
        """Continue with the sums of another strategy that has nothing pending."""
        for mine, theirs in (
            (self.sums, other.sums),
            (self.shift, other.shift),
            (self.mass, other.mass),
            (self._computed_at, other._computed_at),
        ):
            np.copyto(mine, theirs)
        self.rebuilds = other.rebuilds
        self.factors, self.steps = other.factors, other.steps
        self._largest_keys, self._largest_value = other._largest_keys, other._largest_value

    def _count_rebuild(self) -> None:
        """Note that the sums are about to be rebuilt."""
        self.rebuilds += 1
        self._operations.rebuilds += 1
        if self.rebuilds % OLDEST == 0:
            self.mass.fill(np.inf)

    def _store(self, i: int, sums: Matrix, mass: float, shift: float) -> None:
        """Note the sums of a row that was computed from the definition."""
        self.sums[:, i] = sums
        self.mass[i] = mass
        self.shift[i] = shift
        self._computed_at[i] = self.rebuilds
        self._operations.refreshed_rows += 1

    def _drop_large(self, exponents: Matrix, rows: slice) -> None:
        """Make rows stale that would overflow; their exponents, along the last axis, become -inf."""
        if exponents.max() > self._largest_exponent:
            large = np.atleast_2d(exponents > self._largest_exponent).any(axis=0)
            self.mass[rows][large] = np.inf
            exponents[..., large] = -np.inf

    def _remember_key(self, i: int, j: int) -> None:
        size = abs(self.tokens.key_entries[i, j])
        if size > self._largest_keys[j]:
            self._largest_keys[j] = size

    def _remember_keys(self, i: int) -> None:
        keys = np.abs(self.tokens.keys[i])
        self._largest_keys = np.maximum(self._largest_keys, keys).tolist()

    def _remember_value(self, i: int) -> None:
        largest = np.abs(self.tokens.values[:-1, i]).max()
        self._largest_value = max(self._largest_value, float(largest))
