"""Attention in one pass over keys and values and one over queries, in memory that does not grow."""

from __future__ import annotations

import os
from dataclasses import replace
from numbers import Real
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.inputs import integer, matrix, open_unit, real_number
from fastpath.core.locked import Locked
from fastpath.core.norms import sum_above
from fastpath.core.offers import Refusal
from fastpath.core.scaling import CLAIMS as SCALE_CLAIMS
from fastpath.core.scaling import logit_shift
from fastpath.core.state_files import Arrays, load, write_arrays
from fastpath.polynomial.minimax import largest_useful_degree, minimax, widened
from fastpath.polynomial.moment_state import MomentState, answer
from fastpath.polynomial.moments import CLAIMS, LARGEST_REACH, query_roundings, rounding_bound
from fastpath.streaming.count_sketch import LARGEST_ROWS, CountSketch, RecoveryBound
from fastpath.streaming.top_entries import TopEntries

KIND = "StreamingAttention 3"

#: A file without a scale, which was 1.
UNSCALED_KIND = "StreamingAttention 2"

RECOVERIES: dict[str, type[TopEntries] | type[CountSketch]] = {
    "heap": TopEntries,
    "sketch": CountSketch,
}

#: A degree is chosen for so many roundings of the sums, which blocks of thousands of keys reach after
#: tens of millions, and so that this share of the tolerance is left for outputs in float32.
ROUNDINGS, ROOM = 2**14, 1 / 64


class Decoded(NamedTuple):
    """Sparse columns of an attention output, and how far they may lie from the exact ones.

    Attributes
    ----------
    columns : scipy.sparse.csc_array, shape (n_q, d_v)
        At most ``sparsity`` entries a column, in float64.
    bound : RecoveryBound
        ``‖columns[:, c] - exact[:, c]‖₂ <= ratio * tail + excess[c]``, over the rows attended.
    """

    columns: sp.csc_array
    bound: RecoveryBound


@standard_arithmetic
class StreamingAttention(Locked):
    r"""One pass over keys and values, then one over queries; what is kept depends on neither number.

    Keys and values become moments (:class:`MomentState`) of the least degree that certifies ``tolerance``
    for logits up to ``logit_bound``.  Rows of the output come back certified as queries are attended, and
    the ``sparsity`` largest entries of each output column are kept.

    No state can take queries before keys: it would need a bit of memory a query, at least (P2.order).

    Parameters
    ----------
    d : int
        Columns of Q and K.
    d_v : int
        Columns of V.
    logit_bound : float
        Bound on :math:`|scale\; q_i| \max_j |k_j|`, in (0, 32].  It sets the degree; what is certified is
        computed from the data, so that logits beyond it are answered within ``tolerance`` or refused.
    tolerance : float
        The largest certificate of an entry, relative to the largest ``|V|``; in (0, 1).
    sparsity : int
        Entries to keep of each output column; at least 1.
    scale : float
        Factor of q.k; 1 by default, torch's is 1/sqrt(d).  Queries are multiplied by it in float64, which
        certificates include.
    recovery : {"heap", "sketch"}
        How: a heap keeps exactly the largest entries of rows that each come once; a CountSketch is linear
        in the rows, needs more memory and errs with a stated probability.
    rng : numpy.random.Generator, optional
        Draws the hash functions of a sketch, which needs it.  Shards that are to be merged need
        generators with one seed.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, rounding alone could exceed the tolerance, or
        the moments or the sketch would be too large; then the features and bytes are stated.

    Notes
    -----
    With t = C(d + degree, degree): 8 t (d_v + 1) bytes of moments and 2 t (d_v + 1) multiply-adds a key
    and a query.  A heap has 16 d_v sparsity bytes, a sketch 30 720 d_v sparsity to twice that.

    Few output columns are nearly sparse: where V >= 0 and logits stay within b, the largest k of n entries
    have no more than a share of k e^(8b) / n of a column's square (P2.compressibility).

    Any thread may call any method at any time; calls on one state wait for one another.  Rows that
    several threads attend are numbered in the order in which they come, unless ``first_row`` says which
    they are.  ``copy``, ``pickle`` and a fork give a state of its own; fork while no thread is in a call.

    It is one head; several are several states, since each has logits of its own.

    Claims: P2.poly, P2.onepass, P2.order, P2.heap, P2.recovery, FP.moments; S.output and FP.scores with a
    scale.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).uniform(-0.7, 0.7, (3, 5000, 2))
    >>> state = fastpath.StreamingAttention(2, 2, logit_bound=1.0, tolerance=1e-3, sparsity=3)
    >>> for first in range(0, 5000, 1000):
    ...     state.absorb(K[first : first + 1000], V[first : first + 1000])
    >>> found = state.attend(Q)
    >>> found.output.shape, bool((found.error_bound <= 1e-3 * np.abs(V).max()).all())
    ((5000, 2), True)
    >>> state.nbytes < 2000
    True
    """

    #: What is pickled without it had no scale.
    _scale = 1.0

    def __init__(
        self,
        d: int,
        d_v: int,
        *,
        logit_bound: float,
        tolerance: float,
        sparsity: int,
        scale: float = 1.0,
        recovery: Literal["heap", "sketch"] = "heap",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self._scale = real_number("scale", scale)
        degree = sufficient_degree(
            d, logit_bound=logit_bound, tolerance=tolerance, scale=self._scale
        )
        self._moments = MomentState(d, d_v, degree)
        self._logit_bound, self._tolerance = float(logit_bound), float(tolerance)
        self._sparsity = integer("sparsity", sparsity, 1)
        if recovery not in RECOVERIES:
            raise ValueError(f"recovery must be 'heap' or 'sketch', got {recovery!r}.")
        self._kept: TopEntries | CountSketch
        if recovery == "heap":
            self._kept = TopEntries(d_v, sparsity)
        elif isinstance(rng, np.random.Generator):
            self._kept = CountSketch(d_v, sparsity, rng=rng)
        else:
            raise TypeError(f"rng must be a numpy.random.Generator for a sketch, got {rng!r}.")
        # Disjoint ranges of rows, by rising row.
        self._attended: list[tuple[int, int]] = []
        self._entry_error = np.zeros(d_v)

    @property
    def degree(self) -> int:
        """The highest power of a logit."""
        return self._moments.degree

    @property
    def nbytes(self) -> int:
        """Bytes that the moments and the kept entries take."""
        return self._moments.nbytes + self._kept.nbytes

    def absorb(self, K: ArrayLike, V: ArrayLike) -> None:
        """Take in keys and values.

        Parameters
        ----------
        K : array_like, shape (n, d)
            Keys: float32, float64 or integers.
        V : array_like, shape (n, d_v)
            Their values.

        Raises
        ------
        RuntimeError
            If queries were attended before.
        TypeError, ValueError
            As :meth:`MomentState.update`.  The state is then as before.
        """
        with self._lock:
            if self._attended:
                raise RuntimeError(
                    "absorb must come before attend: rows that were attended depend on every key, and to "
                    "correct them later takes memory in proportion to their number (P2.order)."
                )
            self._moments.update(K, V)

    def attend(self, Q: ArrayLike, *, first_row: int | None = None) -> Certified:
        """Return softmax attention of queries over all keys absorbed, and keep its large entries.

        Parameters
        ----------
        Q : array_like, shape (n, d)
            Queries: float32, float64 or integers.
        first_row : int, optional
            The row of the first one in the whole output; by default the one after all attended so far.
            For shards that attend queries of their own.

        Returns
        -------
        Certified
            ``output`` of shape (n, d_v) and ``error_bound`` of the same shape, at most ``tolerance`` times
            the largest ``|V|``, rounding included.

        Raises
        ------
        RuntimeError
            If no keys were absorbed before.
        TypeError, ValueError
            If a type or shape does not fit, Q is empty or not finite, rows were attended before, or logits
            reach further beyond ``logit_bound`` than the degree can certify.  The state is then as before.
        """
        q = matrix("Q", Q)
        if q.shape[1] != self._moments.d:
            raise ValueError(f"Q must have {self._moments.d} columns, got {q.shape[1]}.")
        with self._lock:
            if not self._moments.count:
                raise RuntimeError(
                    "attend must come after absorb: to answer queries once keys come later takes memory in "
                    "proportion to their number (P2.order)."
                )
            following = self._attended[-1][1] if self._attended else 0
            first = following if first_row is None else integer("first_row", first_row, 0)
            if first + len(q) > LARGEST_ROWS:
                raise ValueError(f"first_row must leave all rows below 2^32, got {first}.")
            attended = _joined([*self._attended, (first, first + len(q))])
            result = answer(self._moments, q, self._tolerance, self._scale)
            if isinstance(result, Refusal):
                raise ValueError(
                    f"Q must be answered within tolerance = {self._tolerance:g} by degree {self.degree}, "
                    f"which serves |scale q| max|k| up to logit_bound = {self._logit_bound:g}: "
                    f"{result.reason}."
                )
            self._kept.add(np.arange(first, first + len(q)), result.output)
            self._entry_error = np.maximum(self._entry_error, result.error_bound.max(axis=0))
            self._attended = attended
            return result

    def decode(self) -> Decoded:
        """Return the large entries of every output column, and what they may miss.

        Raises
        ------
        RuntimeError
            If no queries were attended.

        Notes
        -----
        Cost: nothing for a heap; for a sketch about n / 1000 + 10^4 ``sparsity`` estimates a column where
        ``sparsity`` entries stand out, and up to as many as there are rows where fewer do.
        """
        with self._lock:
            if not self._attended:
                raise RuntimeError("decode must come after attend: no row was attended.")
            length = self._attended[-1][1]
            found = [self._kept.entries(column) for column in range(self._moments.d_v)]
            starts = np.cumsum([0, *(len(rows) for rows, _ in found)])
            rows, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
            bound = self._kept.bound(self._entry_error, length)
            of_scale = () if self._scale == 1 else SCALE_CLAIMS
            return Decoded(
                sp.csc_array((values, rows, starts), shape=(length, self._moments.d_v)),
                replace(bound, claims=(*bound.claims, *CLAIMS, *of_scale)),
            )

    def merge(self, other: StreamingAttention) -> None:
        """Take in what another shard has seen; the other stays as it is.

        Before queries, shards have keys of their own: their moments add.  Afterwards both must have the
        same keys, as copies loaded from one file do, and rows of their own: what was kept of them is put
        together.

        Parameters
        ----------
        other : StreamingAttention
            Made with the same arguments, and a generator with the same seed.

        Raises
        ------
        TypeError, ValueError
            If ``other`` is no such state, or one of other arguments, keys or hash functions, or the same
            rows were attended in both.  The state is then as before.
        """
        if not isinstance(other, StreamingAttention):
            raise TypeError(f"other must be a StreamingAttention, got {type(other).__name__}.")
        for name, mine, theirs in (
            ("d", self._moments.d, other._moments.d),
            ("d_v", self._moments.d_v, other._moments.d_v),
            ("logit_bound", self._logit_bound, other._logit_bound),
            ("tolerance", self._tolerance, other._tolerance),
            ("scale", self._scale, other._scale),
            ("sparsity", self._sparsity, other._sparsity),
            ("recovery", type(self._kept).__name__, type(other._kept).__name__),
        ):
            if mine != theirs:
                raise ValueError(f"other must have {name} = {mine}, got {theirs}.")
        first, second = sorted((self._lock, other._lock), key=id)  # in one order in every thread
        with first, second:
            attended = _joined([*self._attended, *other._attended])
            if attended and not _same(self._moments.contents(), other._moments.contents()):
                raise ValueError(
                    "other must have absorbed the same keys once either has attended queries, got others: "
                    "merge shards of keys before attend (P2.order)."
                )
            self._kept.merge(other._kept)  # type: ignore[arg-type]
            if not attended:
                self._moments.merge(other._moments)
            self._entry_error = np.maximum(self._entry_error, other._entry_error)
            self._attended = attended

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, whole or not at all: a file of that name is replaced at the end.

        The format is numpy's .npz without pickles, followed by a SHA-256 digest.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_arrays(path, KIND, self._contents())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> StreamingAttention:
        """Read a state that :meth:`save` wrote: the same, bit for bit.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is no such file, or truncated, or changed since.
        """
        return load(path, (KIND, UNSCALED_KIND), cls._from_contents, cls._contents)

    def _contents(self) -> Arrays:
        """Return a copy of everything as arrays."""
        with self._lock:
            arrays = {
                "logit_bound": np.array(self._logit_bound),
                "tolerance": np.array(self._tolerance),
                "scale": np.array(self._scale),
                "recovery": np.array("heap" if isinstance(self._kept, TopEntries) else "sketch"),
                "sparsity": np.array(self._sparsity),
                "attended": np.array(self._attended, np.int64).reshape(-1, 2),
                "entry_error": self._entry_error,
            }
            arrays |= {f"moments.{name}": x for name, x in self._moments.contents().items()}
            arrays |= {f"kept.{name}": x for name, x in self._kept.contents().items()}
            return {name: x.copy() for name, x in arrays.items()}

    @classmethod
    def _from_contents(cls, arrays: Arrays) -> StreamingAttention:
        """Return the state that has these contents."""
        state = cls.__new__(cls)
        Locked.__init__(state)
        state._logit_bound = arrays["logit_bound"].item()
        state._tolerance = arrays["tolerance"].item()
        state._scale = arrays["scale"].item() if "scale" in arrays else 1.0
        state._sparsity = arrays["sparsity"].item()
        state._attended = [tuple(rows) for rows in arrays["attended"].tolist()]
        state._entry_error = arrays["entry_error"]
        state._moments = MomentState.from_contents(_within(arrays, "moments."))
        kept = RECOVERIES[arrays["recovery"].item()]
        state._kept = kept.from_contents(_within(arrays, "kept."))
        return state


@standard_arithmetic
def sufficient_degree(d: int, *, logit_bound: float, tolerance: float, scale: float = 1.0) -> int:
    """Return the least degree that certifies a tolerance for all logits within a bound.

    Parameters
    ----------
    d : int
        Columns of Q and K; more of them add roundings.
    logit_bound : float
        In (0, 32].
    tolerance : float
        Relative to the largest ``|V|``; in (0, 1).
    scale : float
        Where it is not 1, room is left for the rounding of queries times it.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number in range, or rounding alone could exceed the tolerance.
    """
    d = integer("d", d, 1)
    if isinstance(logit_bound, (bool, np.bool_)) or not isinstance(logit_bound, Real):
        raise TypeError(f"logit_bound must be a number, got {logit_bound!r}.")
    if not 0 < logit_bound <= LARGEST_REACH:
        raise ValueError(f"logit_bound must be in (0, {LARGEST_REACH:g}], got {logit_bound!r}.")
    allowed = open_unit("tolerance", tolerance) * (1 - ROOM)
    # A computed logit bound is a product of two lengths, each of d terms.
    reach = float(sum_above(float(logit_bound), 4 * d + 32))
    radius = widened(reach)
    double = np.dtype(np.float64)
    shift = 0.0 if scale == 1 else float(logit_shift(d, double, reach, 0.0))
    for degree in range(largest_useful_degree(radius) + 1):
        polynomial = minimax(degree, radius)
        roundings = ROUNDINGS + query_roundings(d, degree)
        rounding = rounding_bound(polynomial, reach, roundings, polynomial.lowest, double)
        # Values differ by no more than twice the largest, of which tanh(shift / 2) is lost to the scale.
        if 2 * polynomial.total_variation + rounding + shift <= allowed:
            return degree
    raise ValueError(
        f"tolerance must be one that can be certified for logit_bound = {logit_bound:g}, got "
        f"{tolerance:g}: rounding alone could exceed it."
    )


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort ranges of rows and join those that touch; refuse those that overlap."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and start < joined[-1][1]:
            raise ValueError(
                f"first_row must be one that was not attended before, got {start} below "
                f"{joined[-1][1]}."
            )
        if joined and start == joined[-1][1]:
            start = joined.pop()[0]
        joined.append((start, stop))
    return joined


def _same(one: Arrays, other: Arrays) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def _within(arrays: Arrays, prefix: str) -> Arrays:
    return {n.removeprefix(prefix): x for n, x in arrays.items() if n.startswith(prefix)}
