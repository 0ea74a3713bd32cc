r"""A few keys and values in the place of many: halved again and again, with a certificate for every query.

Keys are kept as they come until there are too many.  Then the most numerous of one weight are halved
(:mod:`fastpath.decoding.discrepancy`): one of each pair of near keys goes, the other has twice the weight.
A quarter of them, the longest, stays: they would cost most.  What all halvings can have done to a query's
numerator and denominator, :math:`\alpha` and :math:`\beta` of the denominator of what is left, is bounded by
what was measured of each, and moves the output by at most

.. math:: \frac{\alpha + |y| \beta}{1 - \beta}

(I.coreset).  Where that says nothing, an output of attention still lies in the range of the values.

What the theorems cover of this program: I.discrepancy, what numerator and denominator lack, given the lengths
of what was halved, in each degree, and how far a logit is from the product of rounded images (I.box);
FP.discrepancy, these lengths as they are computed; I.coreset, the quotient; FP.softmax, attention on what is
left, each weight times a power of two.  What they do not see is here: that every key was halved with the
sign and weight that its ledger was told, that the ledger holds all halvings, and that the range of the values
is that of all of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.decoding import coreset_output
from fastpath.core.bounds.softmax import rounding_logit, rounding_weight
from fastpath.core.certified import Certified
from fastpath.core.directed import above, library_up, up
from fastpath.core.inputs import Array, Matrix, generator, integer, matrix
from fastpath.core.locked import Locked
from fastpath.core.norms import lengths
from fastpath.core.shown import shown
from fastpath.core.state_files import Arrays, load, write_arrays
from fastpath.decoding import discrepancy
from fastpath.decoding.boxes import Rotation
from fastpath.decoding.closable import Weighed
from fastpath.decoding.discrepancy import Frame, Ledger
from fastpath.exact.attention import DECIDABLE, KEY_BLOCK, product_by_blocks, sums_by_blocks
from fastpath.exact.prepared import constants_of
from fastpath.exact.scaled_values import ScaledValues

_KIND = "balanced coreset, 1"

#: Keys that are halved at once: a walk's square is held.
LARGEST_BLOCK = 2048

#: The part of keys of one weight, the longest, that stays as it is when they are halved.
FARTHEST = 0.25

#: Of keys of half the weight so many fewer are kept.
LIGHTER = 1.5

#: As many keys as there can be weights, so that of more two have one weight.
LEAST_SIZE = 64

#: Queries that are answered at once.
QUERY_BLOCK = 512

_LN2 = float(np.log(2.0))

#: More than rounding makes of the logarithm of a weight of 1.
_MORE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Recalled(Certified):
    """Attention on a coreset, and what its bound rests on.

    Attributes
    ----------
    by_discrepancy : array of bool, of the output's shape
        Where what was measured of the halvings bounds the error; elsewhere the range of the values does.
    """

    __repr__ = shown

    by_discrepancy: NDArray[np.bool_]


@standard_arithmetic
class BalancedCoreset(Locked):
    """Keep a few weighted keys and values of a stream, and certify attention on all that were absorbed.

    Parameters
    ----------
    d, d_v : int
        Columns of keys and of values.
    size : int
        How many keys are kept at most, at least 64.
    rng : numpy.random.Generator
        One number is drawn of it, from which all signs follow.
    queries : array_like, shape (m, d), optional
        Some queries such as will be asked, by which lengths are balanced: the bound is then tighter, by up to
        e^r, and holds whichever they are.

    Attributes
    ----------
    nbytes : int
        What is stored, as it is saved: keys, values, weights, and what the certificate needs.
    absorbed : int
        How many keys were absorbed.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    Cost: a key is halved O(log(n / size)) times, each time O(size) operations times d + 20 d_v; a query reads
    ``size`` keys.  Certificates are for all queries of a length at once, and so say nothing beyond the
    range of the values where e^r exceeds the root of ``size``, r being the product of the lengths of query
    and keys from their centre: on diffuse heads of a small encoder r is 2 to 7, and 60 on sharp ones.

    Claims: I.discrepancy, I.coreset, I.box; FP.discrepancy, FP.softmax, FP.exp, FP.sum, FP.product.
    """

    def __init__(
        self,
        d: int,
        d_v: int,
        *,
        size: int,
        rng: np.random.Generator,
        queries: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        d, d_v = integer("d", d, 1), integer("d_v", d_v, 1)
        self._size = integer("size", size, LEAST_SIZE)
        asked = None
        if queries is not None:
            asked = matrix("queries", queries).astype(np.float64)
            if asked.shape[1] != d:
                raise ValueError(f"queries must have d = {d} columns, got {asked.shape[1]}.")
            asked = discrepancy.moments(asked)
        #: The second moments of queries that were given, until coordinates are chosen.
        self._asked: Array | None = asked
        self._seed = int(generator(rng).integers(2**63))
        self._halvings = self._absorbed = 0
        self._k: Matrix = np.empty((0, d), np.float32)
        self._v: Matrix = np.empty((0, d_v), np.float32)
        #: Logarithms of the weights, to the base 2.
        self._levels = np.empty(0, np.int64)
        #: The least and the largest value of each column, of all that were absorbed.
        self._range: Array = np.empty((0, d_v))
        self._ledgers: list[Ledger] = []

    def __len__(self) -> int:
        """How many keys are kept."""
        with self._lock:
            return len(self._k)

    def __repr__(self) -> str:
        with self._lock:
            return (
                f"BalancedCoreset({len(self._k)} of {self._absorbed} keys, d = {self._k.shape[1]}, "
                f"d_v = {self._v.shape[1]}, {self._k.dtype})"
            )

    @property
    def nbytes(self) -> int:
        """What is stored, as it is saved, in bytes."""
        with self._lock:
            return sum(x.nbytes for x in self._contents().values())

    @property
    def absorbed(self) -> int:
        """How many keys were absorbed."""
        with self._lock:
            return self._absorbed

    @property
    def weights(self) -> Array:
        """How many absorbed keys each kept one stands for."""
        with self._lock:
            return np.ldexp(1.0, self._levels)

    def absorb(self, K: ArrayLike, V: ArrayLike) -> None:
        """Take in keys and values.

        Parameters
        ----------
        K : array_like, shape (m, d)
            Of a type that :func:`fastpath.attention` reads and, after the first keys, that their type holds.
        V : array_like, shape (m, d_v)
            Likewise; mixed types are promoted.

        Raises
        ------
        TypeError, ValueError
            If a type is wider than that of the first keys, shapes do not fit, or an entry is not finite or a
            value exceeds 2^1020; nothing has changed then.
        """
        with self._lock:
            k, v = self._rows(K, V)
            for start in range(0, len(k), self._size):
                self._take(
                    k[start : start + self._size],
                    v[start : start + self._size],
                    np.zeros(len(k[start : start + self._size]), np.int64),
                )
                self._shrink()
            self._absorbed += len(k)

    def attend(self, Q: ArrayLike) -> Recalled:
        """Attend to all keys that were absorbed, by those that are kept.

        Parameters
        ----------
        Q : array_like, shape (n, d)
            Queries, scaled as they are meant, of a type that the keys' type holds.

        Returns
        -------
        Recalled
            ``output`` of shape (n, d_v), and an ``error_bound`` for every entry: never more than the distance
            of the farthest value that was absorbed.

        Raises
        ------
        RuntimeError
            If nothing was absorbed.
        TypeError, ValueError
            If the type of Q is wider than the keys', its shape does not fit, an entry is not finite, or a
            logit could overflow.
        """
        with self._lock:
            if not self._absorbed:
                raise RuntimeError("attend must come after absorb: no key was absorbed.")
            q = self._queries(Q)
            parts = [
                self._attend(q[start : start + QUERY_BLOCK])
                for start in range(0, len(q), QUERY_BLOCK)
            ]
        outputs, bounds, by = (np.concatenate(x) for x in zip(*parts, strict=True))
        claims: tuple[str, ...] = ("FP.softmax", "FP.exp", "S.output")
        if self._ledgers:
            claims = (*discrepancy.CLAIMS, *claims)
        return Recalled(output=outputs, error_bound=bounds, claims=claims, by_discrepancy=by)

    def merge(self, other: BalancedCoreset) -> None:
        """Take in what another one has absorbed; the other stays as it is.

        Raises
        ------
        TypeError, ValueError
            If it is none, or one of other columns, or of another type of keys; nothing has changed then.
        """
        if not isinstance(other, BalancedCoreset):
            raise TypeError(f"other must be a BalancedCoreset, got {type(other).__name__}.")
        first, second = sorted((self._lock, other._lock), key=id)  # in one order in every thread
        with first, second:
            for name, mine, theirs in (
                ("d", self._k.shape[1], other._k.shape[1]),
                ("d_v", self._v.shape[1], other._v.shape[1]),
            ):
                if mine != theirs:
                    raise ValueError(f"other must have {name} = {mine}, got {theirs}.")
            if not other._absorbed:
                return
            if self._absorbed and self._k.dtype != other._k.dtype:
                raise TypeError(
                    f"other must have keys of {self._k.dtype}, as this one has, got {other._k.dtype}."
                )
            absorbed, ranges = other._absorbed, other._range.copy()
            self._ledgers = [*self._ledgers, *other._ledgers]
            self._take(other._k, other._v, other._levels)
            self._range = np.stack(
                [
                    np.minimum(self._range[0], ranges[0]),
                    np.maximum(self._range[1], ranges[1]),
                ]
            )
            self._absorbed += absorbed
            self._shrink()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the coreset to a file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        with self._lock:
            write_arrays(path, _KIND, self._contents())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BalancedCoreset:
        """Return the coreset that a file holds, bit for bit; what it absorbs next it halves alike.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it was truncated or changed, or holds something else.
        """
        return load(path, (_KIND,), cls._from_contents, cls._contents)

    def _contents(self) -> Arrays:
        """Return everything as arrays."""
        d = self._k.shape[1]
        arrays: Arrays = {
            "numbers": np.array([self._size, self._seed, self._halvings, self._absorbed]),
            "asked": np.empty((0, d)) if self._asked is None else self._asked.copy(),
            "keys": self._k.copy(),
            "values": self._v.copy(),
            "levels": self._levels.astype(np.int8),
            "range": self._range.copy(),
            "ledgers": np.array(len(self._ledgers)),
        }
        for i, ledger in enumerate(self._ledgers):
            frame = ledger.frame
            arrays |= {
                f"{i}.centre": frame.centre,
                f"{i}.rotation": frame.rotation.matrix.astype(np.float32),
                f"{i}.exponents": frame.exponents.astype(np.int8),
                f"{i}.norms": ledger.norms,
                f"{i}.masses": ledger.masses,
                f"{i}.longest": np.array(
                    [ledger.longest_image, ledger.longest_turned, ledger.longest_key]
                ),
            }
        return arrays

    @classmethod
    def _from_contents(cls, arrays: Arrays) -> BalancedCoreset:
        """Return the coreset that has these contents."""
        new = object.__new__(cls)
        Locked.__init__(new)
        new._size, new._seed, new._halvings, new._absorbed = arrays["numbers"].tolist()
        new._asked = arrays["asked"] if len(arrays["asked"]) else None
        new._k, new._v, new._range = arrays["keys"], arrays["values"], arrays["range"]
        new._levels = arrays["levels"].astype(np.int64)
        new._ledgers = []
        for i in range(arrays["ledgers"].item()):
            frame = Frame(
                centre=arrays[f"{i}.centre"],
                rotation=Rotation(arrays[f"{i}.rotation"].astype(np.float64)),
                exponents=arrays[f"{i}.exponents"].astype(np.int64),
            )
            longest = arrays[f"{i}.longest"].tolist()
            new._ledgers.append(
                Ledger(
                    frame=frame,
                    norms=arrays[f"{i}.norms"],
                    masses=arrays[f"{i}.masses"],
                    longest_image=longest[0],
                    longest_turned=longest[1],
                    longest_key=longest[2],
                )
            )
        new._check_contents()
        return new

    def _check_contents(self) -> None:
        """Refuse arrays that no coreset has."""
        d, d_v = self._k.shape[1], self._v.shape[1]
        held = len(self._k)
        sound = (
            self._size >= LEAST_SIZE
            and held <= min(self._size, self._absorbed)
            and self._k.ndim == self._v.ndim == 2
            and self._k.dtype == self._v.dtype
            and len(self._v) == held == len(self._levels)
            and (self._asked is None or self._asked.shape == (d, d))
            and self._range.shape == (2 if self._absorbed else 0, d_v)
            and bool((self._levels >= 0).all() and (self._levels < 63).all())
            and int((1 << self._levels).sum()) == self._absorbed
            and bool(np.isfinite(self._k).all() and np.isfinite(self._v).all())
            and bool(np.isfinite(self._range).all())
            and (not held or bool((self._v.min(axis=0) >= self._range[0]).all()))
            and (not held or bool((self._v.max(axis=0) <= self._range[1]).all()))
            and bool(self._ledgers) == (held < self._absorbed)
            and all(_is_ledger(x, d, d_v) for x in self._ledgers)
        )
        if not sound:
            raise ValueError("contents must be those of a coreset.")

    # ---------------------------------------------------------------------------- absorbing

    def _rows(self, K: ArrayLike, V: ArrayLike) -> tuple[Matrix, Matrix]:
        """Return keys and values of the type that is kept, or refuse."""
        k, v = matrix("K", K), matrix("V", V)
        for name, x, columns, wanted in (
            ("K", k, "d", self._k.shape[1]),
            ("V", v, "d_v", self._v.shape[1]),
        ):
            if x.shape[1] != wanted:
                raise ValueError(
                    f"{name} must have {columns} = {wanted} columns, got {x.shape[1]}."
                )
        if len(k) != len(v):
            raise ValueError(
                f"K and V must have the same number of rows, got {len(k)} and {len(v)}."
            )
        dtype = np.result_type(k, v)
        if self._absorbed:
            if np.result_type(dtype, self._k) != self._k.dtype:
                raise TypeError(
                    f"K and V must be of a type that {self._k.dtype} holds, as the first keys, got {dtype}."
                )
            dtype = self._k.dtype
        largest = np.abs(v).max()
        if largest > 2.0**1020:
            raise ValueError(
                f"V must not exceed 2^1020 in magnitude, got {largest:.3g}: its spread could overflow."
            )
        return k.astype(dtype, copy=False), v.astype(dtype, copy=False)

    def _take(self, k: Matrix, v: Matrix, levels: NDArray[np.int64]) -> None:
        wide = v.astype(np.float64)
        ranges = np.stack([wide.min(axis=0), wide.max(axis=0)])
        if len(self._range):
            ranges = np.stack(
                [np.minimum(ranges[0], self._range[0]), np.maximum(ranges[1], self._range[1])]
            )
        if len(self._k):
            k, v, levels = (
                np.concatenate(x) for x in ((self._k, k), (self._v, v), (self._levels, levels))
            )
        else:
            k, v, levels = (np.array(x, order="C") for x in (k, v, levels))
        self._k, self._v, self._levels, self._range = k, v, levels, ranges

    def _shrink(self) -> None:
        """Halve keys of one weight until there are few enough."""
        while len(self._k) > self._size:
            counts = np.bincount(self._levels)
            level = int(
                np.argmax(np.where(counts > 1, counts * LIGHTER ** -np.arange(len(counts)), 0))
            )
            rows = np.flatnonzero(self._levels == level)
            self._halve(rows[:LARGEST_BLOCK], level)

    def _halve(self, rows: NDArray[np.intp], level: int) -> None:
        k, v = (x[rows].astype(np.float64) for x in (self._k, self._v))
        ledgers = self._ledgers or [
            Ledger.empty(Frame.of(k, self._asked), self._v.shape[1]),
        ]
        with np.errstate(all="ignore"):
            x = ledgers[0].frame.keys(k)
            nearest = np.argsort(np.square(x).sum(axis=1), kind="stable")
        pairs = max(1, int((1 - FARTHEST) * len(rows)) // 2)
        some = np.sort(nearest[: 2 * pairs])
        rng = np.random.default_rng([self._seed, self._halvings])
        signs = discrepancy.halved(x[some], v[some], rng)
        ledger = ledgers[0].after(k[some], v[some], signs, level)
        stays = np.ones(len(self._k), bool)
        stays[rows[some[signs > 0]]] = False
        levels = self._levels.copy()
        levels[rows[some[signs < 0]]] += 1
        self._k, self._v, self._levels = self._k[stays], self._v[stays], levels[stays]
        self._ledgers, self._asked = [ledger, *ledgers[1:]], None
        self._halvings += 1

    # ---------------------------------------------------------------------------- attending

    def _queries(self, Q: ArrayLike) -> Matrix:
        q = matrix("Q", Q)
        if np.result_type(q, self._k) != self._k.dtype:
            raise TypeError(
                f"Q must be of a type that {self._k.dtype} holds, as the keys, got {q.dtype}."
            )
        if q.shape[1] != self._k.shape[1]:
            raise ValueError(f"Q must have d = {self._k.shape[1]} columns, got {q.shape[1]}.")
        return np.ascontiguousarray(q, self._k.dtype)

    def _attend(self, q: Matrix) -> tuple[Matrix, Array, NDArray[np.bool_]]:
        """Return outputs, their bounds, and where those are the discrepancy's."""
        values = ScaledValues(self._v, keep_moderate=True)
        weighed, quotient = self._weighed(q, values.scaled)
        answer = weighed.attention(quotient, values)
        output = answer.output.astype(np.float64)
        lower, upper = self._range
        farthest = up(np.maximum(np.maximum(upper - output, output - lower), 0))
        # Not 0, which no enclosure can decide.
        farthest = up(farthest + up(DECIDABLE * np.maximum(-lower, upper)))
        if not self._ledgers:
            bound = np.minimum(answer.error_bound, farthest)
            return answer.output, bound, np.zeros(bound.shape, bool)
        assert answer.log_sum_exp is not None
        assert answer.log_sum_exp_bound is not None
        # Of the denominator, from below.
        logarithm = -above(above(-answer.log_sum_exp) + answer.log_sum_exp_bound)
        wide, missing = q.astype(np.float64), np.zeros((len(q), output.shape[1] + 1))
        with np.errstate(all="ignore"):
            for ledger in self._ledgers:
                missing = up(missing + ledger.missing(wide, logarithm))
            shares, share = missing[:, :-1], missing[:, -1:]
            bound = coreset_output(answer.error_bound, shares, share, np.abs(output))
            by = (share < 1) & (bound < farthest)
        return answer.output, np.where(by, bound, farthest), by

    def _weighed(self, q: Matrix, values: Matrix) -> tuple[Weighed, Array]:
        """Weigh the keys that are kept, each times its power of two; return the values' mean by that too.

        The heaviest of each query has 1.
        """
        constants, d = constants_of(q), q.shape[1]
        reach = float(up(lengths(q).max() * lengths(self._k).max()))
        error = float(rounding_logit(d, constants["unit_roundoff"], reach, constants["tiny"]))
        most = float(np.finfo(q.dtype).max / 8)
        if not reach + error <= most:
            raise ValueError(
                f"Q and K must keep |q|.|k| at most {most:.3g} in {q.dtype}, got up to {reach:.3g}: a logit "
                "could overflow."
            )
        logits = q @ self._k.T
        heaviest = (logits + (self._levels * _LN2).astype(q.dtype)).argmax(axis=1)
        shift = np.take_along_axis(logits, heaviest[:, None], axis=1)
        most_level = int(self._levels.max())
        # So much that the weight of the heaviest is a little more than 1, and none is much more.
        raised = ((most_level - self._levels[heaviest]) * _LN2 + _MORE).astype(q.dtype)[:, None]
        logits -= shift
        logits += raised
        np.exp(logits, out=logits)
        # Exact, or counted as lost to underflow: none is multiplied by more than 1.
        logits *= np.ldexp(1.0, self._levels - most_level).astype(q.dtype)
        largest = up(up(reach + error) + up(most_level * library_up(_LN2)) + 1)
        weight_error = rounding_weight(
            # Of three subtractions.
            error,
            constants["unit_roundoff"],
            up(8 * largest),
            constants["exp_error"],
            1,
        )
        count = len(logits.T)
        denominator = sums_by_blocks(logits, np.ones((min(KEY_BLOCK, count), 1), logits.dtype))
        quotient = product_by_blocks(logits, values) / denominator
        weighed = Weighed(
            keys=count,
            scale=np.ones((1, len(q))),
            shift=(shift.astype(np.float64) - raised + most_level * _LN2)[:, 0],
            denominator=denominator[:, 0].astype(np.float64),
            error=float(weight_error),
            # The roundings of the shift, and that of the logarithm of 2, are counted with the sum's.
            largest=float(up(8 * largest)),
            # A product and the additions of its block, then those of the blocks.
            terms=min(KEY_BLOCK, count) + -(-count // KEY_BLOCK),
        )
        return weighed, quotient.astype(np.float64)


def _is_ledger(ledger: Ledger, d: int, d_v: int) -> bool:
    frame = ledger.frame
    numbers = (ledger.norms, ledger.masses)
    return (
        frame.centre.shape == frame.exponents.shape == (d,)
        and frame.rotation.matrix.shape == (d, d)
        and bool(np.isfinite(frame.centre).all() and np.isfinite(frame.rotation.matrix).all())
        and bool((np.abs(frame.exponents) <= discrepancy.LARGEST_EXPONENT).all())
        and ledger.norms.shape == (discrepancy.DEGREES + 1, d_v + 1)
        and ledger.masses.shape == (d_v + 1,)
        and all(bool((x >= 0).all()) for x in numbers)
    )
