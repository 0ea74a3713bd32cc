"""Keys and values with what exact attention computes of them, whatever the queries are."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import ARITHMETIC, positive_sum
from fastpath.core.directed import up
from fastpath.core.inputs import Matrix, exact_floats
from fastpath.core.locked import Locked
from fastpath.core.norms import CONVERTED_ROWS
from fastpath.core.once import once
from fastpath.exact.scaled_values import Ranges, ScaledValues, column_range

#: Where the largest sum of squares is finite and no less, squares in the entries' own type lose less than
#: 2^-50 of it to underflow, and nothing has overflowed: terms are not negative.
LEAST_SQUARE = {"float32": 2.0**-64, "float64": 2.0**-900}

#: Units, as powers of two, of float64 rows whose squares would overflow, and of those whose would underflow.
HUGE, TINY = 600, -600


def name_of(x: Matrix) -> str:
    """Return float32 or float64: the type's own name takes as long as some products."""
    return "float32" if x.dtype == np.float32 else "float64"


def constants_of(x: Matrix) -> dict[str, float]:
    """Return the constants of the arithmetic in which an array is computed with."""
    return ARITHMETIC[name_of(x)]


class NotFiniteError(ValueError):
    """Keys or values hold NaN or infinity; who knows their names says which."""


@standard_arithmetic
class Prepared(Locked):
    """Keys and values that many queries will read, with what attention computes of them; they can grow.

    It stands in the place of K, and None in that of V::

        prepared = fastpath.Prepared(K, V)
        fastpath.attention(Q, prepared)
        prepared.append(k, v)

    Results have the bits that they have with K and V.  It pays where queries are few: those read K and V
    once or twice, and what is kept here takes longer than they do.

    Parameters
    ----------
    K : array_like, shape (n_k, d) or (..., h_k, n_k, d)
        Keys, of a type that :func:`fastpath.attention` reads; copied.
    V : array_like, shape (n_k, d_v) or (..., h_k, n_k, d_v)
        Values, likewise; mixed types are promoted.

    Raises
    ------
    TypeError, ValueError
        As :func:`fastpath.attention`, for K and V.

    Notes
    -----
    Readers may be in several threads, beside one another and beside :meth:`append`: a call reads what there
    was when it began.  Queries of a wider type than the keys' have everything computed anew in that type.

    Cost: K and V are copied, and read three times.  :meth:`append` of m rows takes as long as m rows do, on
    average over many: room is doubled when it is used up, and so twice the memory is taken at most.

    Claims: FP.sum, of the norms; what attention claims is attention's.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 100, 16))
    >>> prepared = fastpath.Prepared(K[:90], V[:90])
    >>> prepared.append(K[90:], V[90:])
    >>> fastpath.attention(Q[:1], prepared).output.shape
    (1, 16)
    """

    def __init__(self, K: ArrayLike, V: ArrayLike) -> None:
        super().__init__()
        k, v = keys_and_values(K, V)
        self._state = _State.of(Rows(k), Rows(v), None)

    @property
    def keys(self) -> Matrix:
        """The keys, which cannot be written to."""
        return self._state.keys.array

    @property
    def values(self) -> Matrix:
        """The values, which cannot be written to."""
        return self._state.values.array

    def __len__(self) -> int:
        """Return how many keys there are (of each head)."""
        return int(self._state.keys.array.shape[-2])

    def __repr__(self) -> str:
        k, v = self._state.keys.array, self._state.values.array
        return f"Prepared(K of shape {k.shape}, V of shape {v.shape}, {k.dtype})"

    def __getstate__(self) -> dict[str, Any]:
        """Return the keys and values of one moment; what is computed of them is computed anew."""
        state = self._state
        return {"K": np.array(state.keys.array), "V": np.array(state.values.array)}

    @standard_arithmetic
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__init__()
        self._state = _State.of(Rows(state["K"]), Rows(state["V"]), None)

    def append(self, K: ArrayLike, V: ArrayLike) -> None:
        """Append keys and values after the last, of every head.

        Parameters
        ----------
        K : array_like, shape (m, d) or (..., h_k, m, d), or without the axis of m for a single one
            Of a type that the keys' type holds exactly.
        V : array_like, shape (m, d_v) or (..., h_k, m, d_v), or without the axis of m
            Likewise.

        Raises
        ------
        TypeError, ValueError
            If a type is wider than the keys' type, shapes do not fit, or an entry is not finite or too
            large; nothing has changed then.
        """
        with self._lock:
            state = self._state
            k, v = (
                rows_after(name, x, of.array)
                for name, x, of in (("K", K, state.keys), ("V", V, state.values))
            )
            if k.shape[-2] != v.shape[-2]:
                raise ValueError(
                    f"K and V must have the same number of rows, got {k.shape[-2]} and {v.shape[-2]}."
                )
            for name, rows in (("K", k), ("V", v)):
                check_rows(name, rows)
            self._state = _State.of(state.keys.extended(k), state.values.extended(v), state)


def arrays_of(
    K: ArrayLike | Prepared, V: ArrayLike | None
) -> tuple[ArrayLike, ArrayLike, tuple[PreparedHead, ...] | None]:
    """Return K and V, those of a Prepared with what is known of each of its heads."""
    if not isinstance(K, Prepared):
        if V is None:
            raise TypeError("V must be given beside K, unless K is a Prepared, got None.")
        return K, V, None
    if V is not None:
        raise TypeError(
            "V must be None where K is a Prepared, which holds the values, got both: append to it what "
            "is new."
        )
    state = K._state  # once: it may grow meanwhile
    return state.keys.array, state.values.array, state.sides


class PreparedHead:
    """The keys and values of one head, whose rows are contiguous, and what attention needs of them.

    Raises
    ------
    NotFiniteError
        If an entry is NaN or infinite.
    """

    def __init__(
        self,
        k: Matrix,
        v: Matrix,
        *,
        norms: RowNorms | None = None,
        whole: tuple[Matrix, Matrix] | None = None,
    ) -> None:
        self.k = k
        self.norms = RowNorms(k) if norms is None else norms
        whole = column_range(v) if whole is None else whole
        if not np.isfinite(whole).all():
            raise NotFiniteError
        self.values = ScaledValues(v, keep_moderate=True, whole=whole)

    def extended(self, k: Matrix, v: Matrix) -> Self:
        """Return the same of more keys and values, of which these are the first."""
        least, most = column_range(v[len(self.k) :])
        return type(self)(
            k,
            v,
            norms=self.norms.extended(k),
            whole=(
                np.minimum(self.values.whole[0], least),
                np.maximum(self.values.whole[1], most),
            ),
        )

    @property
    def largest_key(self) -> float:
        """No entry of a key is larger."""
        return float(up(np.ldexp(self.norms.longest(None), self.norms.exponent)).max())


class RowNorms:
    """Bounds on the Euclidean norms of rows, from sums of squares in the cheapest arithmetic that holds them.

    The sums are in units of 2^(2 exponent), in whatever order (FP.sum).  A row's does not depend on the other
    rows, but for the arithmetic, which the largest of all decides.
    """

    _squares: Rows

    def __init__(self, x: Matrix) -> None:
        self._grow(x, None)

    def extended(self, x: Matrix) -> RowNorms:
        """Return the norms of more rows, of which these are the first."""
        new = object.__new__(RowNorms)
        new._grow(x, self)
        return new

    def _grow(self, x: Matrix, earlier: RowNorms | None) -> None:
        self._columns = x.shape[1]
        name = name_of(x)
        new = x if earlier is None else x[earlier._squares.count :]
        squares = _squares(new)
        #: The largest sum of squares in the rows' own arithmetic, which may have overflowed.
        self._top = float(squares.max())
        if earlier is not None:
            self._top = max(self._top, earlier._top)
        self._direct, self.exponent = LEAST_SQUARE[name] <= self._top < np.inf, 0
        if not self._direct:
            if not np.isfinite(new).all():
                raise NotFiniteError
            if x.dtype == np.float64:
                self.exponent = HUGE if self._top > 1 else TINY
        constants = ARITHMETIC[name if self._direct else "float64"]
        self._unit_roundoff, self._tiny = constants["unit_roundoff"], constants["tiny"]
        same = earlier is not None and (earlier._direct, earlier.exponent) == (
            self._direct,
            self.exponent,
        )
        if not self._direct:
            squares = _wide_squares(new if same else x, self.exponent)
        elif not same:
            squares = _squares(x) if earlier is not None else squares
        self._squares = earlier._squares.extended(squares) if same and earlier else Rows(squares)

    def of_rows(self) -> NDArray[np.float64]:
        """Bound the norm of every row, in units of 2^exponent."""
        return self._bound(self._squares.array)

    def longest(self, ranges: Ranges) -> NDArray[np.float64]:
        """Bound the norm of the longest row in each range, in units of 2^exponent.

        Of ranges that do not begin with the first row, that of all rows in any of them.
        """
        squares = self._squares.array
        if ranges is None:
            return self._longest
        if ranges[0][-1] == 0:
            least, most = max(int(ranges[1][0]), 1), max(int(ranges[1][-1]), 1)
            running = np.maximum.accumulate(squares[least - 1 : most])
            running = np.maximum(running, squares[:least].max())
            longest = running[np.maximum(ranges[1], 1) - least]
        else:
            first = min(int(ranges[0][0]), len(squares) - 1)
            longest = squares[first : max(int(ranges[1][-1]), first + 1)].max(keepdims=True)
        return self._bound(longest)

    @once
    def _longest(self) -> NDArray[np.float64]:
        return self._bound(self._squares.array.max(keepdims=True))

    def _bound(self, squares: Matrix) -> NDArray[np.float64]:
        # A step takes a quarter of the time with Python's numbers.
        sums = positive_sum(
            squares.astype(np.float64) if len(squares) > 1 else squares.item(),
            self._columns,
            self._columns,
            self._unit_roundoff,
            self._tiny,
        )
        norms: NDArray[np.float64] = np.atleast_1d(up(np.sqrt(sums)))
        return norms


def _squares(x: Matrix) -> Matrix:
    """Return the sum of squares of every row, each computed alike whatever the others are."""
    # A long row alone would be cut into pieces.
    rows = np.repeat(x, 2, axis=0) if len(x) == 1 else np.ascontiguousarray(x)
    squares: Matrix = np.einsum("ij,ij->i", rows, rows)[: len(x)]
    return squares


def _wide_squares(x: Matrix, exponent: int) -> NDArray[np.float64]:
    """Return the same in float64, in units of 2^(2 exponent).

    What scaling takes from entries near the smallest, 2^-1075 each, is less than what the bound on the sum
    adds for underflow.
    """
    squares = np.empty(len(x))
    for start in range(0, len(x), CONVERTED_ROWS):
        rows = x[start : start + CONVERTED_ROWS].astype(np.float64)
        squares[start : start + CONVERTED_ROWS] = _squares(np.ldexp(rows, -exponent))
    return squares


class Rows:
    """An array that grows along its last axis but one, or its only one; what was handed out stays as it was.

    Arrays that grew from one share memory, as long as only one of them goes on growing.
    """

    def __init__(self, rows: Matrix) -> None:
        count = rows.shape[self._axis(rows)]
        self._fill(np.array(rows, order="C"), count, [count])

    def _fill(self, buffer: Matrix, count: int, taken: list[int]) -> None:
        self._buffer, self.count, self._taken = buffer, count, taken
        self.array = buffer[..., :count, :] if buffer.ndim > 1 else buffer[:count]
        self.array.flags.writeable = False

    @staticmethod
    def _axis(rows: Matrix) -> int:
        return max(rows.ndim - 2, 0)

    def extended(self, rows: Matrix) -> Rows:
        """Return these and more, in time that many appended rows share."""
        axis = self._axis(rows)
        stop = self.count + rows.shape[axis]
        buffer, taken = self._buffer, self._taken
        if taken[0] != self.count or stop > buffer.shape[axis]:
            shape = list(buffer.shape)
            shape[axis] = max(stop, 2 * self.count)
            buffer, taken = np.empty(shape, buffer.dtype), [0]
            buffer[self._at(axis, 0, self.count)] = self.array
        buffer[self._at(axis, self.count, stop)] = rows
        taken[0] = stop
        new = object.__new__(Rows)
        new._fill(buffer, stop, taken)
        return new

    @staticmethod
    def _at(axis: int, start: int, stop: int) -> tuple[slice, ...]:
        return (*[slice(None)] * axis, slice(start, stop))


class _State(NamedTuple):
    """What a Prepared holds at one moment: all heads' keys and values, and each head's for itself."""

    keys: Rows
    values: Rows
    sides: tuple[PreparedHead, ...]

    @classmethod
    def of(cls, keys: Rows, values: Rows, earlier: _State | None) -> _State:
        k, v = (x.array.reshape(-1, *x.array.shape[-2:]) for x in (keys, values))
        sides = []
        for i in range(len(k)):
            if earlier is None:
                sides.append(PreparedHead(k[i], v[i]))
            else:
                sides.append(earlier.sides[i].extended(k[i], v[i]))
        return cls(keys, values, tuple(sides))


def keys_and_values(K: ArrayLike, V: ArrayLike) -> tuple[Matrix, Matrix]:
    """Return keys and values of one type whose shapes fit, or refuse."""
    k, v = (exact_floats(name, x) for name, x in (("K", K), ("V", V)))
    for name, array in (("K", k), ("V", v)):
        if array.ndim < 2:
            raise ValueError(
                f"{name} must be a matrix, or (..., heads, n, d), got shape {array.shape}."
            )
        if array.size == 0:
            raise ValueError(f"{name} must not be empty, got shape {array.shape}.")
    if k.shape[:-1] != v.shape[:-1]:
        raise ValueError(
            f"K and V must have the same number of rows, and of heads, got shapes {k.shape} and {v.shape}."
        )
    for name, array in (("K", k), ("V", v)):
        check_rows(name, array)
    dtype = np.result_type(k, v)
    return k.astype(dtype, copy=False), v.astype(dtype, copy=False)


def check_rows(name: str, array: Matrix) -> None:
    """Refuse what is not finite."""
    finite = np.isfinite(array)
    if not finite.all():
        raise ValueError(
            f"{name} must be finite, got {np.count_nonzero(~finite)} NaN or infinite of {array.size} entries."
        )


def rows_after(name: str, x: ArrayLike, present: Matrix) -> Matrix:
    """Return rows that go after those present, or refuse."""
    rows = exact_floats(name, x)
    if np.result_type(rows, present) != present.dtype:
        raise TypeError(
            f"{name} must be of a type that {present.dtype} holds, as what it is appended to, got "
            f"{rows.dtype}."
        )
    if rows.ndim == present.ndim - 1:
        rows = rows[..., None, :]
    wanted = (*present.shape[:-2], -1, present.shape[-1])
    if rows.ndim != present.ndim or (*rows.shape[:-2], -1, rows.shape[-1]) != wanted:
        shape = ", ".join([*map(str, present.shape[:-2]), "m", str(present.shape[-1])])
        raise ValueError(f"{name} must have shape ({shape}), or that without m, got {np.shape(x)}.")
    if rows.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {rows.shape}.")
    return rows
