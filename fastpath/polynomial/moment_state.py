"""A state of constant size that absorbs keys and values once and answers any number of queries."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.directed import up
from fastpath.core.inputs import Matrix, exact_floats, integer, matrix, open_unit
from fastpath.core.locked import Locked
from fastpath.core.offers import Refusal
from fastpath.core.scaling import CLAIMS as SCALE_CLAIMS
from fastpath.core.scaling import Scaled, scaled
from fastpath.core.state_files import Arrays, load, write_arrays
from fastpath.polynomial.attention import LARGEST_BYTES
from fastpath.polynomial.minimax import minimax, widened
from fastpath.polynomial.moments import (
    LARGEST_KEY,
    Block,
    Moments,
    Queries,
    Ranges,
    certified_error,
    query_roundings,
)
from fastpath.polynomial.monomials import monomial_count, monomials

#: What a file holds, and the version of its format.
KIND = "MomentState 1"


@standard_arithmetic
class MomentState(Locked):
    r"""All that polynomial attention needs of keys and values, whatever their number.

    Keeps the moments :math:`\sum_j (k_j - c)^\alpha [v_j, 1]`, :math:`|\alpha|` at most ``degree``, and
    how far keys and values reach, so that a certificate always covers the data seen.  The polynomial
    that stands in for exp is found when queries come: the best one of that degree for their logits.

    Parameters
    ----------
    d : int
        Columns of Q and K.
    d_v : int
        Columns of V.
    degree : int
        The highest power of a logit; at least 0.
    centre : array_like, shape (d,), optional
        What is taken from every key first; the origin by default.  A rough mean of the keys keeps the
        rounding small; queries are answered about the middle of the keys in any case.

    Raises
    ------
    TypeError, ValueError
        If an argument is no integer in range or no finite vector of length d, or the moments would take
        more than ``fastpath.polynomial.attention.LARGEST_BYTES``; then the features and bytes are stated.

    Notes
    -----
    With t = C(d + degree, degree): 8 t (d_v + 1) bytes; 2 t (d_v + 1) multiply-adds a key and a query,
    in float64.  Absorbing keys and values copies them.

    Any thread may call any method at any time: what is absorbed is counted once, and a query is answered
    over all that was absorbed when it began.  ``copy``, ``pickle`` and a fork give a state of its own; fork
    while no thread is in a call.

    Claims: P2.poly, P2.kappa, P2.recentre, P2.onepass, FP.moments.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).uniform(-0.7, 0.7, (3, 5000, 2))
    >>> first, second = (fastpath.MomentState(2, 2, degree=5) for _ in range(2))
    >>> first.update(K[:3000], V[:3000])
    >>> second.update(K[3000:], V[3000:])
    >>> first.merge(second)
    >>> first.count, first.query(Q[:10]).output.shape
    (5000, (10, 2))
    """

    def __init__(self, d: int, d_v: int, degree: int, *, centre: ArrayLike | None = None) -> None:
        super().__init__()
        self._d = integer("d", d, 1)
        self._d_v = integer("d_v", d_v, 1)
        self._degree = integer("degree", degree, 0)
        features = monomial_count(self._d, self._degree)
        size = 8 * features * (self._d_v + 1)
        if size > LARGEST_BYTES:
            raise ValueError(
                f"degree must leave the moments at most {LARGEST_BYTES} bytes, got {degree} with "
                f"d = {d} and d_v = {d_v}: {features} features and {size} bytes."
            )
        self._centre = np.zeros(self._d) if centre is None else self._vector(centre)
        # Moments are replaced, never changed: whoever holds some may go on with them.
        self._moments = Moments.none(self._d, self._d_v, self._degree)
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        #: Moments, and the same about the middle of the keys' range in each variable.
        self._middle: tuple[Moments, Moments] | None = None

    @property
    def d(self) -> int:
        """Columns of Q and K."""
        return self._d

    @property
    def d_v(self) -> int:
        """Columns of V."""
        return self._d_v

    @property
    def degree(self) -> int:
        """The highest power of a logit."""
        return self._degree

    @property
    def centre(self) -> NDArray[np.float64]:
        """What is taken from every key first."""
        return self._centre.copy()

    @property
    def count(self) -> int:
        """How many keys were absorbed."""
        return self._moments.count

    @property
    def nbytes(self) -> int:
        """Bytes that the moments take."""
        return self._moments.sums.nbytes

    def update(self, K: ArrayLike, V: ArrayLike) -> None:
        """Absorb keys and values.

        Parameters
        ----------
        K : array_like, shape (n, d)
            Keys: float32, float64 or integers.
        V : array_like, shape (n, d_v)
            Their values.

        Raises
        ------
        TypeError, ValueError
            If a type or shape does not fit, an array is empty, or an entry is not finite, or too large:
            keys beyond 2^1010, values beyond 2^1021.  The state is then as before.
        """
        k, v = matrix("K", K), matrix("V", V)
        self._check_columns("K", k.shape[1], self._d)
        self._check_columns("V", v.shape[1], self._d_v)
        if len(k) != len(v):
            raise ValueError(
                f"K and V must have the same number of rows, got {len(k)} and {len(v)}."
            )
        self._take_in(Moments.of(Block.of(k, v, self._centre), self._degree), np.result_type(k, v))

    def merge(self, other: MomentState) -> None:
        """Absorb all that another state has absorbed; the other stays as it is.

        Raises
        ------
        TypeError
            If ``other`` is no MomentState.
        ValueError
            If d, d_v, degree or centre differ.  :meth:`recentred` brings a state to another centre.
        """
        if not isinstance(other, MomentState):
            raise TypeError(f"other must be a MomentState, got {type(other).__name__}.")
        for name in ("d", "d_v", "degree"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"other must have {name} = {mine}, got {theirs}.")
        if not np.array_equal(self._centre, other._centre):
            raise ValueError(
                f"other must have the centre {self._centre}, got {other._centre}: "
                "use other.recentred(centre)."
            )
        self._take_in(*other._seen())

    def recentred(self, centre: ArrayLike) -> MomentState:
        r"""Return a state of the same keys about another centre.

        By the binomial theorem :math:`(k - c')^\alpha = \sum_\beta \binom\alpha\beta (c - c')^{\alpha -
        \beta} (k - c)^\beta`: exact but for rounding, which later certificates include.

        Raises
        ------
        TypeError, ValueError
            If ``centre`` is no finite vector of length d.
        """
        moved = MomentState(self._d, self._d_v, self._degree, centre=self._vector(centre))
        moments, moved._dtype = self._seen()
        if moments.count:
            moved._moments = moments.about(moved._centre - self._centre)
        return moved

    def query(self, Q: ArrayLike, *, tolerance: float | None = None) -> Certified:
        """Return softmax attention of queries over all keys absorbed, certified.

        Parameters
        ----------
        Q : array_like, shape (n, d)
            Queries: float32, float64 or integers.
        tolerance : float, optional
            Refuse if the certificate would exceed this, relative to the largest ``|V|``; in (0, 1).

        Returns
        -------
        Certified
            ``output`` of shape (n, d_v), in float32 if Q and all that was absorbed were, and
            ``error_bound`` of the same shape in float64, rounding included.

        Raises
        ------
        TypeError, ValueError
            If a type or shape does not fit, Q is empty or not finite, the state is empty, or the degree
            is too low for the queries: for ``tolerance``, or to say anything at all.
        """
        q = matrix("Q", Q)
        self._check_columns("Q", q.shape[1], self._d)
        limit = None if tolerance is None else open_unit("tolerance", tolerance)
        found = answer(self, q, limit)
        if isinstance(found, Refusal):
            raise found.error(f"{found.reason}.")
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, whole or not at all: only a complete one takes the name.

        The file is numpy's .npz, without pickles, and the SHA-256 digest of it all in 32 last bytes.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_arrays(path, KIND, self.contents())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MomentState:
        """Read a state that :meth:`save` wrote: the same, bit for bit.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is no such file, or was truncated or changed; nothing of it is looked at then.
        """
        return load(path, (KIND,), cls.from_contents, cls.contents)

    def contents(self) -> Arrays:
        """Return everything as arrays, the sums in the usual order of monomials."""
        moments, dtype = self._seen()
        sums = np.empty_like(moments.sums)
        sums[monomials(self._d, self._degree).rank] = moments.sums
        return {
            "sizes": np.array([self._d, self._d_v, self._degree]),
            "centre": self._centre,
            "dtype": np.array(dtype.name),
            "sums": sums,
            "count": np.array(moments.count),
            "moved": np.array(moments.moved),
            "roundings": np.array(moments.roundings),
            **{name: np.asarray(value) for name, value in vars(moments.ranges).items()},
        }

    @classmethod
    def from_contents(cls, contents: Arrays) -> MomentState:
        """Return the state that has these contents."""
        d, d_v, degree = contents["sizes"].tolist()
        if min(d, d_v, degree + 1) < 1 or contents["sums"].shape != (
            monomial_count(d, degree),
            d_v + 1,
        ):
            raise ValueError("sums must be those of so many monomials and columns.")
        state = cls(d, d_v, degree, centre=contents["centre"])
        state._dtype = np.dtype(contents["dtype"].item())
        # A 0-dimensional array is what a number became.
        ranges: dict[str, Any] = {field.name: contents[field.name][()] for field in fields(Ranges)}
        state._moments = Moments(
            d=d,
            degree=degree,
            sums=contents["sums"][monomials(d, degree).rank],
            count=contents["count"].item(),
            ranges=Ranges(**ranges),
            moved=contents["moved"].item(),
            roundings=contents["roundings"].item(),
        )
        return state

    def _seen(self) -> tuple[Moments, np.dtype[Any]]:
        """Return the moments and the type of all that was absorbed so far."""
        with self._lock:
            return self._moments, self._dtype

    def _take_in(self, moments: Moments, dtype: np.dtype[Any]) -> None:
        with self._lock:
            self._moments = self._moments.merged(moments)
            self._dtype = np.result_type(self._dtype, dtype)
            self._middle = None

    def _about_the_middle(self, moments: Moments) -> Moments:
        """Return moments about the middle of the keys' range in each variable."""
        known = self._middle
        if known is None or known[0] is not moments:
            ranges = moments.ranges
            known = moments, moments.about(ranges.key_low / 2 + ranges.key_high / 2)
            self._middle = known
        return known[1]

    def _vector(self, centre: ArrayLike) -> NDArray[np.float64]:
        vector = np.array(exact_floats("centre", centre), np.float64)
        if vector.shape != (self._d,) or not (np.abs(vector) <= LARGEST_KEY).all():
            raise ValueError(
                f"centre must be a vector of length {self._d}, its entries at most 2^1010 in "
                f"magnitude, got {centre!r}."
            )
        return vector

    @staticmethod
    def _check_columns(name: str, columns: int, wanted: int) -> None:
        if columns != wanted:
            raise ValueError(f"{name} must have {wanted} columns, got {columns}.")


def answer(
    state: MomentState, q: Matrix, limit: float | None, scale: float = 1.0
) -> Certified | Refusal:
    """Answer :meth:`MomentState.query` for checked queries times a scale, or refuse as it does."""
    seen, dtype = state._seen()
    if not seen.count:
        return Refusal(reason="Q must come after keys and values: this state has absorbed none")
    dtype = np.result_type(q, dtype)
    made = None if scale == 1 else scaled(q, scale, np.float64)
    if made is not None:
        if not made.finite:
            return Refusal(reason=f"scale times Q must be finite, got scale = {scale!r}")
        q = made.queries
    plans = [_Plan(q, moments, dtype) for moments in (seen, state._about_the_middle(seen))]
    plan = min(plans, key=lambda plan: (plan.error, plan.queries.largest))
    if not plan.error < np.inf:
        return Refusal(
            reason=f"Q must keep logits where a polynomial of degree {state.degree} is certified positive "
            f"and rounding below 1, got logits up to {plan.queries.largest:.3g} from the middle"
        )
    result = plan.moments.attend(plan.queries, plan.polynomial, dtype)
    if made is not None:
        result = _with_shift(result, made, plan)
    ranges = seen.ranges
    magnitude = float(ranges.magnitude.max())
    varied = (ranges.value_low < ranges.value_high).any()  # else every answer is exact
    if limit is not None and varied and not result.error_bound.max() <= limit * magnitude:
        return Refusal(
            reason=f"tolerance must be at least {result.error_bound.max() / magnitude:.3g} for degree "
            f"{state.degree} and logits up to {plan.queries.largest:.3g}, got {limit:g}"
        )
    return result


def _with_shift(found: Certified, made: Scaled, plan: _Plan) -> Certified:
    """Add what the rounding of scaled queries may have done; their logits may be counted from any centre."""
    ranges = plan.moments.ranges
    shift = made.output_shift(
        plan.queries.logit_bounds, float(ranges.half_ranges.max()), ranges.spread
    )
    return replace(
        found,
        error_bound=up(found.error_bound + shift),
        claims=(*found.claims, *SCALE_CLAIMS),
    )


class _Plan:
    """A way to answer queries: moments, the polynomial for them, and the error certified beforehand."""

    def __init__(self, q: Matrix, moments: Moments, dtype: np.dtype[Any]) -> None:
        self.moments = moments
        self.queries = Queries.of(q, moments.ranges, moments.moved)
        self.error = np.inf
        if self.queries.within_range(moments.degree):
            self.polynomial = minimax(moments.degree, widened(self.queries.largest))
            roundings = moments.roundings + query_roundings(moments.d, moments.degree)
            self.error = certified_error(
                self.polynomial, self.queries, moments.ranges, roundings, dtype
            )
