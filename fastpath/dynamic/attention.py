"""Dynamic attention: exact answers while tokens change, with a rounding certificate on every row."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic, unguarded
from fastpath.core.bounds.softmax import ARITHMETIC
from fastpath.core.certified import Certified
from fastpath.core.inputs import (
    Matrix,
    attention_inputs,
    exact_floats,
    in_range,
    integer,
    real_number,
)
from fastpath.core.locked import Locked
from fastpath.dynamic.cached import Cached
from fastpath.dynamic.choice import (
    REVIEW_READS,
    REVIEW_UPDATES,
    Chooser,
    Plan,
    Workload,
    build_cost,
    costs,
)
from fastpath.dynamic.dirty import Dirty
from fastpath.dynamic.kept import Kept
from fastpath.dynamic.recomputed import Recomputed
from fastpath.dynamic.tokens import Tokens

__all__ = ["DynamicAttention"]

CLAIMS = ("P1.correct", "FP.dynamic", "FP.exp")

#: Pairs that are pending at most, where nothing else is asked for: k = sqrt(2 (updates per read) F / c)
#: for a fixed cost F of a rebuild and c of a pair in a read is 50 to 250 at n = 4096.
REBUILD_EVERY = 64

#: ``auto`` keeps no weights where they would take more bytes.
CACHE_BYTES = 2**30

#: Entries beyond this are refused: below it neither a logit nor a weighted sum can overflow.
LARGEST_ENTRY = {"float32": 2.0**50, "float64": 2.0**400}


@standard_arithmetic
class DynamicAttention(Locked):
    r"""Softmax attention of tokens that change, exact up to rounding after every change.

    Maintains :math:`D^{-1} \exp(scale\; QK^\top) V` with :math:`D = \mathrm{diag}(\exp(scale\; QK^\top)
    \mathbf 1)` of n tokens, each with a query, a key and a value; with ``causal``, row i sees the tokens
    j <= i.  It is one head; several are several objects, since each changes by itself.  Changing one key
    changes one column of :math:`\exp(QK^\top)`, so the sums change by a matrix of rank one: at most k of them
    are pending, then a *rebuild* adds them up by one matrix product (P1.update).  Reads take what is
    pending into account.

    Parameters
    ----------
    Q, K : array_like, shape (n, d)
        Queries and keys: float32, float64 or integers (taken as float64); mixed types are promoted.
    V : array_like, shape (n, d_v)
        Values.
    mode : {"auto", "cached", "dirty", "kept"}
        ``"cached"`` keeps the n^2 weights: updates in O(n), entry reads in O(k).  ``"dirty"`` keeps O(n d)
        numbers: updates in O(d), entry reads in O(k d).  ``"kept"`` keeps the n^2 weights and no sums:
        updates in O(n), entry reads in O(n), and nothing to rebuild.  ``"auto"`` begins as cached (dirty
        beyond 1 GiB of weights) and moves between all, and recomputing each row when it is read, by a stated
        cost model (``choice``) of the updates and reads that it sees.
    scale : float
        Factor of q.k; 1 by default, torch's is 1/sqrt(d).  Each query is multiplied by it and rounded once,
        which certificates include.
    causal : bool
        Whether row i sees only the tokens j <= i.
    rebuild_every : int, optional
        Pending pairs k at which sums are rebuilt; 64 by default, of which ``"auto"`` may use fewer.
        Kept weights have none.
    worst_case : bool
        Whether a rebuild is spread over the next k updates, so that no update waits for all of it.
        The mode then stays what it begins as.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, shapes do not fit, an entry is not finite or exceeds
        2^50 (float32) or 2^400 (float64), a query's times the scale too, or there are in float32 more than
        2^21 tokens, 2^22 columns of Q and K or 2^18 pending pairs.

    Notes
    -----
    Indices may be negative, as in numpy.  A call that raises leaves everything as it was.  A new entry
    is computed in float64 and rounded to the type of the object.  Threads may read and change one object
    at the same time: each call is done as a whole, and waits for the others.  A copy, shallow too, and
    what is unpickled share nothing with the original, and go on as it would have.  A row whose sums
    have turned over 32 times is computed anew when it is read, so errors do not add up: the bound of
    a row depends on the number of rebuilds only through the length of its sums.

    Claims: P1.correct, P1.update, P1.query, P1.kept, P1.worstcase, FP.dynamic, FP.exp; with a scale
    FP.scores.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 100, 16))
    >>> tokens = fastpath.DynamicAttention(Q, K, V, scale=1 / 4)
    >>> tokens.update_key(17, 3, 0.5)
    >>> tokens.append(Q[0], K[0], V[0])
    100
    >>> tokens.evict(5)
    >>> row, bound = tokens.query_row(8), tokens.error_bound(8)
    >>> row.shape, bound < 1e-11
    ((16,), True)
    """

    def __init__(
        self,
        Q: ArrayLike,
        K: ArrayLike,
        V: ArrayLike,
        *,
        mode: Literal["auto", "cached", "dirty", "kept"] = "auto",
        scale: float = 1.0,
        causal: bool = False,
        rebuild_every: int | None = None,
        worst_case: bool = False,
    ) -> None:
        q, k, v = attention_inputs(Q, K, V, causal=causal)
        scale = real_number("scale", scale)
        if len(q) != len(k):
            raise ValueError(
                f"Q must have as many rows as K, {len(k)}, got {len(q)}: a token has a query and a key."
            )
        if not isinstance(mode, str) or mode not in ("auto", "cached", "dirty", "kept"):
            raise ValueError(f"mode must be 'auto', 'cached', 'dirty' or 'kept', got {mode!r}.")
        if not isinstance(worst_case, (bool, np.bool_)):
            raise TypeError(f"worst_case must be True or False, got {worst_case!r}.")
        self._most = int(0.125 / ARITHMETIC[k.dtype.name]["unit_roundoff"])
        self._limit = REBUILD_EVERY
        if rebuild_every is not None:
            self._limit = integer("rebuild_every", rebuild_every, 1)
            if self._limit > self._most // 8:
                raise ValueError(
                    f"rebuild_every must be at most {self._most // 8} in {k.dtype}, got {rebuild_every}."
                )
        self._largest = LARGEST_ENTRY[k.dtype.name]
        for name, x in (("Q", q), ("K", k), ("V", v)):
            if float(np.abs(x).max()) > self._largest:
                raise ValueError(
                    f"{name} must not exceed {self._largest:.3g} in magnitude in {k.dtype}, "
                    f"got {np.abs(x).max():.3g}."
                )
        if len(k) > self._most:
            raise ValueError(f"K must have at most {self._most} rows in {k.dtype}, got {len(k)}.")
        if k.shape[1] > 2 * self._most:
            raise ValueError(
                f"K must have at most {2 * self._most} columns in {k.dtype}, got {k.shape[1]}."
            )
        super().__init__()
        self._check_scaled("Q", q, scale)
        self._tokens = Tokens(q, k, v, bool(causal), scale)
        self._sliced = bool(worst_case)
        self._watching = mode == "auto" and not worst_case
        if mode == "auto":
            mode = "cached" if self._may_cache() else "dirty"
        plan = Plan(strategy=mode, limit=self._limit)
        self._begin(plan)
        self._chooser = Chooser(plan)
        self._forget()

    # ------------------------------------------------------------------------------------ updates

    def update_key(self, i: int, j: int, delta: float) -> None:
        """Add ``delta`` to entry j of the key of token i: O(n) cached, O(d) dirty, amortised O(n d)."""
        with self._lock:
            tokens = self._tokens
            good = type(i) is int and type(j) is int and isinstance(delta, float) and j >= 0
            if good:
                try:
                    place = tokens.places[i]
                    old = tokens.key_entries[place, j]
                    new = old + delta
                    good = -self._largest <= new <= self._largest
                except LookupError:
                    good = False  # said in full by what follows
            if not good:
                place, j, new = self._entry(tokens.keys, i, j, delta)
                old = tokens.key_entries[place, j]
            self._strategy.update_key(place, j, old, new)
            if self._watching:
                # As in _note, without a call: updates may be all there is.
                self._touched.append(place)
                if len(self._touched) >= REVIEW_UPDATES:
                    self._review()

    def update_value(self, i: int, j: int, delta: float) -> None:
        """Add ``delta`` to entry j of the value of token i: O(n) cached, O(d) dirty."""
        with self._lock:
            i, j, new = self._entry(self._tokens.values[:-1].T, i, j, delta)
            self._strategy.set_value(i, j, new)
            self._note(i)

    def update_query(self, i: int, j: int, delta: float) -> None:
        """Add ``delta`` to entry j of the query of token i: O(d), and the next read of row i takes O(n d)."""
        with self._lock:
            tokens = self._tokens
            i, j, new = self._entry(tokens.given_queries, i, j, delta)
            self._check_scaled("delta", np.array(new).astype(tokens.dtype), tokens.scale)
            tokens.set_query(i, j, new)
            self._strategy.query_changed(i)

    def set_key(self, i: int, row: ArrayLike) -> None:
        """Replace the key of token i: O(n d) cached, O(d) dirty."""
        with self._lock:
            i = self._token(i)
            self._strategy.set_key(i, self._vector("row", row, self._tokens.keys.shape[1]))
            self._note(i)

    def set_value(self, i: int, row: ArrayLike) -> None:
        """Replace the value of token i: O(n) cached, O(d) dirty."""
        with self._lock:
            i = self._token(i)
            value = self._vector("row", row, len(self._tokens.values) - 1)
            self._strategy.set_value(i, slice(None), value)
            self._note(i)

    def set_query(self, i: int, row: ArrayLike) -> None:
        """Replace the query of token i: O(d), and the next read of row i takes O(n d)."""
        with self._lock:
            i = self._token(i)
            tokens = self._tokens
            query = self._vector("row", row, tokens.queries.shape[1])
            self._check_scaled("row", query, tokens.scale)
            tokens.set_query(i, slice(None), query)
            self._strategy.query_changed(i)

    def append(self, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> int:
        """Add a token after the last one and return its index, which stays its own.

        O(n d); where there is no room left, those evicted are forgotten and everything is computed anew, with
        room for n/8 more and for as many again as were evicted, up to n.  So a window of n tokens that
        moves on takes O(n d) a token, however long.

        Raises
        ------
        TypeError, ValueError
            If a vector does not fit, or there are 2^21 live tokens already in float32.
        """
        with self._lock:
            tokens = self._tokens
            d, d_v = tokens.keys.shape[1], len(tokens.values) - 1
            query, key = self._vector("q", q, d), self._vector("k", k, d)
            value = self._vector("v", v, d_v)
            self._check_scaled("q", query, tokens.scale)
            if len(tokens.places) == self._most:
                raise ValueError(
                    f"append must keep the tokens at most {self._most} in {tokens.dtype}, as many as "
                    "there are."
                )
            if tokens.count in (self._room, self._most):
                self._make_room()
                tokens = self._tokens
            index = tokens.append(query, key, value)
            place = tokens.places[index]
            self._strategy.appended(place)
            self._note(place)
            return index

    def evict(self, i: int) -> None:
        """Take token i out of every row, and its row out of what can be read: O(n) cached, O(d) dirty.

        Raises
        ------
        ValueError
            If the token was evicted before, or is the last one.
        """
        with self._lock:
            i = self._index(i)
            if len(self._tokens.places) == 1:
                raise ValueError(f"evict must leave a token, got {i}, the last one.")
            place = self._tokens.places[i]
            self._strategy.evicting(place)
            self._tokens.evict(i)
            self._note(place)

    # -------------------------------------------------------------------------------------- reads

    @unguarded
    def query(self, i: int, j: int) -> float:
        """Return entry (i, j) of attention: O(k) cached, O(k d) dirty, O(n) kept."""
        with self._lock:
            entry = None
            if type(i) is int and type(j) is int and j >= 0:
                try:
                    entry = self._strategy.entry(self._tokens.places[i], j)
                except LookupError:
                    entry = None  # said in full by what follows
            if entry is None:
                i, j = self._token(i), in_range("j", j, len(self._tokens.values) - 1)
                entry = self._strategy.entry(i, j)
            if self._watching:
                self._entries += 1
                if self._entries >= REVIEW_READS:
                    self._review()
            return entry

    def query_row(self, i: int) -> Matrix:
        """Return row i of attention: O(k d) cached or dirty, O(n d) kept."""
        with self._lock:
            i = self._token(i)
            if self._watching:
                self._rows += 1
                if self._rows >= REVIEW_READS:
                    self._review()
            return self._strategy.row(i)

    def query_column(self, j: int) -> Matrix:
        """Return column j, of the live tokens in order: O(n k) cached, O(n k d) dirty, O(n^2) kept."""
        with self._lock:
            width = len(self._tokens.values) - 1
            column = in_range("j", j, width)
            sums = self._strategy.columns([column, width])
            found: Matrix = sums[:, 0] / sums[:, 1]
            return found

    def output(self) -> Certified:
        """Return attention of the live tokens, in order, with a bound on every row: O(n k d)."""
        with self._lock:
            width = len(self._tokens.values)
            sums = self._strategy.columns(list(range(width)))
            bounds = [self._strategy.error_bound(int(i)) for i in self._tokens.live]
            return Certified(
                output=sums[:, :-1] / sums[:, -1:],
                error_bound=np.array(bounds)[:, None],
                claims=CLAIMS if self._tokens.scale == 1 else (*CLAIMS, "FP.scores"),
            )

    def error_bound(self, i: int) -> float:
        """Bound the error of every entry of row i as it would be read now (FP.dynamic): O(n d) at most."""
        with self._lock:
            return self._strategy.error_bound(self._token(i))

    @property
    def stats(self) -> dict[str, int]:
        """Exact counts since construction: products, exponentials, rebuilds and recomputed rows."""
        with self._lock:
            return vars(self._tokens.operations).copy()

    @property
    def live(self) -> NDArray[np.intp]:
        """Indices of the tokens that were not evicted, in order."""
        with self._lock:
            return np.fromiter(self._tokens.places, np.intp, len(self._tokens.places))

    # ------------------------------------------------------------------------------------- choice

    def _make_room(self) -> None:
        """Forget the tokens that were evicted, and compute everything anew with room for more."""
        before, live = self._tokens, len(self._tokens.places)
        evicted = before.count - live
        self._tokens = before.compacted() if evicted else before
        try:
            self._begin(self._chooser.plan, max(live // 8 + 8, min(2 * evicted, live)))
        except BaseException:
            self._tokens = before
            raise

    def _begin(self, plan: Plan, spare: int = 0) -> None:
        """Follow a plan from now on, with room for some more tokens."""
        room = self._tokens.count + spare
        strategy: Cached | Dirty | Kept | Recomputed
        if plan.strategy == "cached":
            strategy = Cached(self._tokens, room=room, limit=self._limit, sliced=self._sliced)
            strategy.limit = plan.limit
        elif plan.strategy == "dirty":
            strategy = Dirty(self._tokens, room=room, limit=self._limit, sliced=self._sliced)
        elif plan.strategy == "kept":
            strategy = Kept(self._tokens, room=room)
        else:
            strategy = Recomputed(self._tokens)
        # Assigned last: where memory does not suffice, nothing has changed.
        self._strategy, self._room = strategy, room

    def _note(self, i: int) -> None:
        """Note an update of token i, for the choice of a plan."""
        if self._watching:
            self._touched.append(i)
            if len(self._touched) >= REVIEW_UPDATES:
                self._review()

    @standard_arithmetic
    def _review(self) -> None:
        """Look at what was asked since the last review, and follow the plan that suits it."""
        tokens, touched = self._tokens, self._touched
        size = tokens.count, tokens.keys.shape[1], len(tokens.values)
        work = Workload(
            updates=len(touched), distinct=len(set(touched)), rows=self._rows, entries=self._entries
        )
        found = costs(*size, self._limit, work)
        if not self._may_cache():
            found = {p: cost for p, cost in found.items() if p.strategy not in ("cached", "kept")}
        before = self._chooser.plan
        plan = self._chooser.review(found, build_cost(*size))
        self._forget()
        if plan.strategy == before.strategy:
            self._strategy.limit = plan.limit
        elif plan.strategy == "dirty" and isinstance(self._strategy, Cached):
            self._strategy.rebuild()
            self._strategy = Dirty(
                tokens, room=self._room, limit=self._limit, sliced=False, after=self._strategy
            )
        else:
            self._begin(plan)

    def _forget(self) -> None:
        self._touched: list[int] = []
        self._rows = self._entries = 0

    def _may_cache(self) -> bool:
        return self._tokens.count**2 * self._tokens.dtype.itemsize <= CACHE_BYTES

    # -------------------------------------------------------------------------------------- input

    def _entry(self, entries: Matrix, i: int, j: int, delta: float) -> tuple[int, int, float]:
        """Return the token's place, the other index from 0 on, and the entry plus delta, or refuse."""
        i, j = self._token(i), in_range("j", j, entries.shape[1])
        if isinstance(delta, bool) or not isinstance(delta, (float, int, np.floating, np.integer)):
            raise TypeError(f"delta must be a real number, got {delta!r}.")
        if not abs(delta) < np.inf:
            raise ValueError(f"delta must be finite, got {delta}.")
        # No integer is too large to be compared, but it may be too large for a float; and numpy would
        # cast the bound to the type of a float32.
        step = delta.item() if isinstance(delta, np.generic) else delta
        new = float(entries[i, j]) + float(step) if abs(step) <= 2 * self._largest else np.inf
        if not abs(new) <= self._largest:
            raise ValueError(
                f"delta must leave the entry at most {self._largest:.3g} in magnitude in "
                f"{entries.dtype}, got {delta}."
            )
        if float(step) != step:
            raise ValueError(f"delta must be a number that float64 holds exactly, got {delta}.")
        return i, j, new

    def _check_scaled(self, name: str, queries: Matrix, scale: float) -> None:
        """Refuse queries that are too large once they are multiplied by the scale."""
        if scale == 1:
            return
        largest = float(np.abs(queries).max()) * abs(scale)
        if not largest <= self._largest:
            raise ValueError(
                f"{name} must keep scale times a query at most {self._largest:.3g} in magnitude in "
                f"{queries.dtype}, got {largest:.3g}."
            )

    def _token(self, i: int) -> int:
        """Return the place of a live token, or refuse."""
        return self._tokens.places[self._index(i)]

    def _index(self, i: int) -> int:
        """Return the index of a live token from 0 on, or refuse."""
        tokens = self._tokens
        if type(i) is int and i in tokens.places:
            return i
        index = in_range("i", i, tokens.indices)
        if index not in tokens.places:
            raise ValueError(f"i must be a token that is not evicted, got {index}, which was.")
        return index

    def _vector(self, name: str, row: ArrayLike, length: int) -> Matrix:
        """Return a vector in the type of the tokens, or refuse."""
        vector = exact_floats(name, row)
        if vector.shape != (length,):
            raise ValueError(f"{name} must have shape ({length},), got {vector.shape}.")
        if not np.isfinite(vector).all():
            raise ValueError(f"{name} must be finite, got {vector}.")
        if float(np.abs(vector).max()) > self._largest:
            raise ValueError(
                f"{name} must not exceed {self._largest:.3g} in magnitude in {self._tokens.dtype}, "
                f"got {np.abs(vector).max():.3g}."
            )
        return vector.astype(self._tokens.dtype)
