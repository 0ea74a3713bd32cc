"""Attention as it is run: what is added to a score, and which keys a query sees, validated once.

s_ij = cap(scale q_i.k_j) + bias_ij,   cap(x) = softcap tanh(x / softcap)
visible(i, j)  <=>  -left <= j - (i + offset) <= right  and  mask_ij  and  bias_ij > -inf
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.inputs import exact_floats, integer, plain_array, real_number

#: How queries and keys may be aligned: ``True`` where there are as many of either.
Causal: TypeAlias = bool | Literal["upper-left", "lower-right"]

#: What becomes of a query that sees nothing.
EmptyRows: TypeAlias = Literal["refuse", "zeros"]


Indices = NDArray[np.intp]

#: Pairs of queries and keys of which it is looked up at once who sees whom.
CHECKED = 2**22

ALIGNMENTS = (False, True, "upper-left", "lower-right")


@dataclass(frozen=True, kw_only=True)
class Semantics:
    """The options of attention for heads of one shape, checked; see :func:`semantics`.

    Attributes
    ----------
    heads : tuple of int
        The axes before queries and keys: (..., h_q), or () for matrices.
    queries, keys : int
        How many.
    scale : float
    offset : int
        Query i stands beside key i + offset.
    left, right : int or None
        How far a query sees to either side; None: without end.
    mask : array of bool, shape (*heads, queries, keys), or None
        True where a key is visible.
    bias : array of float, shape (*heads, queries, keys), or None
        -inf hides a key; nothing is NaN or +inf.
    softcap : float or None
    sinks : float64 array of shape heads[-1:], or None
    zeros : bool
        Whether a row that sees nothing is zeros, and no error.
    """

    heads: tuple[int, ...]
    queries: int
    keys: int
    scale: float = 1.0
    offset: int = 0
    left: int | None = None
    right: int | None = None
    mask: NDArray[np.bool_] | None = None
    bias: NDArray[Any] | None = None
    softcap: float | None = None
    sinks: NDArray[np.float64] | None = None
    zeros: bool = False

    def ranges(self, rows: Indices) -> tuple[Indices, Indices] | None:
        """Return the first key that each of some ascending queries may see and the one after the last.

        Both ascend; a query of which the first is not below the other sees nothing.  None where every
        query sees from the first key to the last.
        """
        if self.left is None and self.right is None:
            return None
        diagonal = rows + self.offset
        first, stop = np.zeros_like(diagonal), np.full_like(diagonal, self.keys)
        if self.left is not None:
            first = np.clip(diagonal - self.left, 0, self.keys)
        if self.right is not None:
            stop = np.clip(diagonal + self.right + 1, 0, self.keys)
        return first, stop

    def sink(self, head: tuple[int, ...]) -> float | None:
        """Return the sink of one head."""
        if self.sinks is None:
            return None
        return float(self.sinks[head[-1] if head else 0] if self.sinks.ndim else self.sinks)

    def hides(self, head: tuple[int, ...], key: int) -> bool:
        """Whether no query of a head sees a key."""
        seen = np.ones(self.queries, bool)
        ranges = self.ranges(np.arange(self.queries))
        if ranges is not None:
            seen &= (ranges[0] <= key) & (key < ranges[1])
        if self.mask is not None:
            seen &= self.mask[head][:, key]
        if self.bias is not None:
            seen &= self.bias[head][:, key] > -np.inf
        return not seen.any()

    def of_head(self, head: tuple[int, ...]) -> "Semantics":
        """Return the options of one head, as those of matrices."""
        sink = self.sink(head)
        return replace(
            self,
            heads=(),
            mask=None if self.mask is None else self.mask[head],
            bias=None if self.bias is None else self.bias[head],
            sinks=None if sink is None else np.array(sink),
        )

    @property
    def only_causal(self) -> bool | None:
        """Whether all that the options ask for, but for the scale, is that query i sees the keys j <= i.

        False: they ask for nothing; None: they ask for more.
        """
        if self.asked:
            return None
        return self.right == 0

    @property
    def asked(self) -> tuple[str, ...]:
        """Name the options, but for the scale, that ask for more than causal attention of a square."""
        square = self.right == 0 and self.offset == 0 and self.queries == self.keys
        ranges = self.left is not None or not (self.right is None or square)
        return tuple(
            name
            for name, given in (
                ("a window or an alignment of the diagonal", ranges),
                ("a mask", self.mask is not None),
                ("a bias", self.bias is not None),
                ("a softcap", self.softcap is not None),
                ("sinks", self.sinks is not None),
            )
            if given
        )

    def check_rows(self) -> None:
        """Refuse a query that sees neither a key nor a sink, unless it is to be zeros."""
        if self.zeros or self.sinks is not None or (self._unbounded and self._shows_all):
            return
        known: dict[tuple[int, ...], int | None] = {}
        for head in np.ndindex(*self.heads):
            # Heads that a mask or a bias was broadcast over hold the same entries.
            held = tuple(
                x[head].__array_interface__["data"][0]
                for x in (self.mask, self.bias)
                if x is not None
            )
            if held not in known:
                known[held] = self._first_blind(head)
            row = known[held]
            if row is not None:
                of_head = f" of head {head}" if head else ""
                raise ValueError(
                    f"query {row}{of_head} must see a key or a sink, but all {self.keys} keys are hidden "
                    "from it: pass empty_rows='zeros' for zeros."
                )

    @property
    def _unbounded(self) -> bool:
        """Whether every query may see from the first key to the last."""
        return self.left is None and self.right is None

    @property
    def _shows_all(self) -> bool:
        """Whether nothing is hidden but by ranges."""
        return self.mask is None and self.bias is None

    def _first_blind(self, head: tuple[int, ...]) -> int | None:
        """Return the first query of a head that sees no key."""
        step = self.queries if self._shows_all else max(1, CHECKED // self.keys)
        for start in range(0, self.queries, step):
            rows = np.arange(start, min(start + step, self.queries))
            ranges = self.ranges(rows)
            seen: NDArray[np.bool_]
            if self._shows_all:
                assert ranges is not None
                seen = np.asarray(ranges[0] < ranges[1])
            else:
                keys: NDArray[np.bool_] = np.ones((len(rows), self.keys), bool)
                if self.mask is not None:
                    keys &= self.mask[head][start : start + step]
                if self.bias is not None:
                    keys &= self.bias[head][start : start + step] > -np.inf
                if ranges is not None:
                    key = np.arange(self.keys)
                    keys &= np.asarray((key >= ranges[0][:, None]) & (key < ranges[1][:, None]))
                seen = np.asarray(keys.any(axis=1))
            if not seen.all():
                return start + int(seen.argmin())
        return None


def semantics(
    heads: tuple[int, ...],
    queries: int,
    keys: int,
    *,
    scale: float = 1.0,
    causal: Causal = False,
    window: tuple[int | None, int | None] | None = None,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    softcap: float | None = None,
    sinks: ArrayLike | None = None,
    empty_rows: EmptyRows = "refuse",
) -> Semantics:
    """Return the options for heads of one shape, or refuse.

    Raises
    ------
    TypeError
        If an option holds something else than it should.
    ValueError
        If a number is not allowed, or a shape does not fit.
    """
    causal = bool(causal) if isinstance(causal, (bool, np.bool_)) else causal
    if not any(causal is a or (isinstance(a, str) and causal == a) for a in ALIGNMENTS):
        raise TypeError(
            f"causal must be True, False, 'upper-left' or 'lower-right', got {causal!r}."
        )
    if causal is True and queries != keys:
        raise ValueError(
            f"causal=True needs as many queries as keys, got {queries} rows of Q and {keys} of K: "
            "'upper-left' and 'lower-right' do not."
        )
    if not isinstance(empty_rows, str) or empty_rows not in ("refuse", "zeros"):
        raise ValueError(f"empty_rows must be 'refuse' or 'zeros', got {empty_rows!r}.")
    left, right = _widths(window)
    shape = (*heads, queries, keys)
    visible = _mask(mask, shape)
    return Semantics(
        heads=heads,
        queries=queries,
        keys=keys,
        scale=real_number("scale", scale),
        offset=0 if causal in (True, "upper-left") else keys - queries,
        left=left,
        right=right if causal is False else 0,
        mask=visible,
        bias=_bias(bias, shape, visible),
        softcap=_softcap(softcap),
        sinks=_sinks(sinks, heads),
        zeros=empty_rows == "zeros",
    )


def _softcap(softcap: Any) -> float | None:
    if softcap is None:
        return None
    number = real_number("softcap", softcap)
    if not number > 0:
        raise ValueError(f"softcap must be positive, got {softcap!r}.")
    return number


def _widths(window: Any) -> tuple[int | None, int | None]:
    if window is None:
        return None, None
    if not isinstance(window, (tuple, list)) or len(window) != 2:
        raise TypeError(f"window must be a pair (left, right), got {window!r}.")
    left, right = (
        None if width is None else integer(f"window's {side} width", width, 0)
        for side, width in zip(("left", "right"), window, strict=True)
    )
    return left, right


def _mask(mask: Any, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    if mask is None:
        return None
    array = plain_array("mask", mask)
    if array.dtype != np.bool_:
        raise TypeError(f"mask must hold booleans, True where a key is seen, got {array.dtype}.")
    return _broadcast("mask", array, shape)


def _bias(bias: Any, shape: tuple[int, ...], mask: NDArray[np.bool_] | None) -> NDArray[Any] | None:
    if bias is None:
        return None
    array = exact_floats("bias", bias)
    if array.size and not array.max() < np.inf:  # NaN too
        nan = np.isnan(array)
        if not nan.any():
            raise ValueError("bias must not hold +inf: it would leave nothing to the other keys.")
        at = np.argwhere(np.broadcast_to(nan, shape))[0] if _fits(array, shape) else ()
        hidden = mask is not None and len(at) and not mask[tuple(at)]
        raise ValueError(
            "bias must be finite or -inf, got NaN"
            + (
                ", which is hidden by the mask but read all the same: set it to 0."
                if hidden
                else "."
            )
        )
    return _broadcast("bias", array, shape)


def _sinks(sinks: Any, heads: tuple[int, ...]) -> NDArray[np.float64] | None:
    if sinks is None:
        return None
    array = exact_floats("sinks", sinks).astype(np.float64)
    shape = heads[-1:] or (1,)
    if array.shape not in ((), shape):
        raise ValueError(f"sinks must have shape {shape}, one a head, got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"sinks must be finite, got {array[~np.isfinite(array)][0]}.")
    return array


def _fits(array: NDArray[Any], shape: tuple[int, ...]) -> bool:
    return array.ndim <= len(shape) and all(
        have in (1, want) for have, want in zip(array.shape[::-1], shape[::-1], strict=False)
    )


def _broadcast(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if not _fits(array, shape):
        raise ValueError(f"{name} must broadcast to {shape}, got shape {array.shape}.")
    return np.broadcast_to(array, shape)
