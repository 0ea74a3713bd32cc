r"""A cache whose bits are read only as deep as a certified tolerance asks.

Every number of a group with scale A is a cell of [-A, A], one of 2^b of equal width at depth b; the bits of
a depth are a plane, and planes are nested: a deeper read adds planes to those that were read.  A query
begins with two planes of the keys and one of the values, and reads deeper where an answer may still move:
a key's importance is :math:`\hat p e^c \min(c, 1) |\hat v - \hat o|`, a value's :math:`\hat p e^c e`.
It saves reading, not storage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.caches.formats import LARGEST_ENTRY, bfloat16_at_least, from_bfloat16
from fastpath.caches.hull import ends_of_weights, farthest_above
from fastpath.caches.quantised_cache import DEFAULT_GROUP, check_group
from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import ARITHMETIC, rounding_weight, scaled_logit
from fastpath.core.certified import Certified
from fastpath.core.directed import UNIT_ROUNDOFF, above, below, up
from fastpath.core.inputs import Array, Matrix, heads_inputs, integer, open_unit
from fastpath.core.norms import lengths
from fastpath.core.semantics import semantics
from fastpath.core.shown import shown
from fastpath.exact.blocks import check_factors

#: Planes of each number: one more would say less than a bfloat16 scale's own rounding.
PLANES = 12

#: Planes of keys and of values with which every query begins.
_FIRST_KEYS, _FIRST_VALUES = 2, 1

#: The share of the importance that is read one plane deeper in a round.
_SHARE = 0.6


@dataclass(frozen=True, kw_only=True)
class CertifiedBits(Certified):
    """An output, its bound, and how many bits were read for it.

    Attributes
    ----------
    bits_read : float64 array of the output's shape without its last axis
        Planes that were read, on average over all numbers of keys and values.
    reached : array of bool of that shape
        Whether the bound is within the tolerance; where it is not, all planes were read that matter.
    """

    __repr__ = shown

    bits_read: Array
    reached: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Planes:
    """Numbers of several heads by planes of bits.

    ``bits[b]`` is plane b of every number, eight a byte; ``radii[b]`` the norms of what is left at depth b,
    in 255ths of what they can be at most; of size 0 where not kept.
    """

    columns: int
    group: int
    scales: NDArray[np.uint16]
    bits: NDArray[np.uint8]
    radii: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """What is stored, in bytes."""
        return self.scales.nbytes + self.bits.nbytes + self.radii.nbytes

    def read(
        self, head: int, rows: NDArray[np.intp], depths: NDArray[np.intp]
    ) -> tuple[Array, Array, Array]:
        """Return rows of a head at their depths: numbers, and what entries and norms may be off by."""
        cells = np.zeros((len(rows), self.columns))
        for plane in range(int(depths.max(initial=0))):
            deep = np.flatnonzero(depths > plane)
            found = np.unpackbits(self.bits[plane, head, rows[deep]], axis=-1, count=self.columns)
            cells[deep] = 2 * cells[deep] + found
        scale = np.repeat(from_bfloat16(self.scales[head, rows]), self.group, axis=-1)
        scale = scale[:, : self.columns].astype(np.float64)
        width = np.ldexp(1.0, 1 - depths)[:, None]
        # Exact: at most 13 bits, times 8 of the scale.
        numbers = ((cells + 0.5) * width - 1) * scale
        half = _half(scale.max(axis=-1), depths)
        if not self.radii.size:
            return numbers, half, half
        codes = self.radii[depths, head, rows]
        radius = np.where(codes == 0, 0.0, up(up(codes * _longest(scale, depths)) / 255))
        return numbers, half, radius


def _half(scale: Array, depths: NDArray[np.intp]) -> Array:
    """Bound half a cell, and what rounding of the cell's number adds."""
    half: Array = up(scale * up(np.ldexp(1.0, -depths) + 8 * UNIT_ROUNDOFF))
    return half


def _longest(scale: Matrix, depths: NDArray[np.intp]) -> Array:
    """Bound the norm of what is left of a row whose entries have these scales."""
    longest: Array = up(lengths(scale) * up(np.ldexp(1.0, -depths) + 8 * UNIT_ROUNDOFF))
    return longest


def _planes(x: Matrix, group: int, *, radii: bool) -> _Planes:
    """Store an array of shape (heads, n, d)."""
    exact = x.astype(np.float64)
    heads, n, d = exact.shape
    starts = np.arange(0, d, group)
    largest = np.maximum.reduceat(np.abs(exact), starts, axis=2)
    scales = bfloat16_at_least(np.maximum(largest, 2.0**-120))
    scale = np.repeat(from_bfloat16(scales), group, axis=-1)[..., :d].astype(np.float64)
    cells = 2.0**PLANES
    codes = np.clip(np.floor((exact / scale + 1) / 2 * cells), 0, cells - 1).astype(np.uint16)
    planes = [
        np.packbits(((codes >> (PLANES - 1 - b)) & 1).astype(np.uint8), axis=-1)
        for b in range(PLANES)
    ]
    stored = np.zeros((PLANES + 1, heads, n if radii else 0), np.uint8)
    if radii:
        for depth in range(PLANES + 1):
            width = 2.0 ** (1 - depth)
            numbers = (((codes >> (PLANES - depth)) + 0.5) * width - 1) * scale
            left = up(lengths((exact - numbers).reshape(-1, d)).reshape(heads, n))
            most = _longest(scale.reshape(-1, d), np.full(heads * n, depth)).reshape(heads, n)
            code = np.ceil(np.minimum(left / most * 255, 255))
            code += up(up(code * most) / 255) < left
            if (code > 255).any():
                raise RuntimeError("a residual is longer than its cell allows, which cannot be.")
            stored[depth] = code
    return _Planes(columns=d, group=group, scales=scales, bits=np.stack(planes), radii=stored)


@standard_arithmetic
class BitPlaneCache:
    """Keep keys and values by planes of bits, and answer each query to a tolerance with as few as it takes.

    Parameters
    ----------
    K : array_like, shape (n, d) or (..., heads, n, d)
        Keys, at most 2^120 in magnitude.
    V : array_like, shape (n, d_v) or (..., heads, n, d_v)
        Values, likewise.
    group : int
        How many columns of a row share a scale; it divides d and d_v, but that the default may exceed them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Notes
    -----
    Memory: 12 bits a number, and of each key 13 bytes for the norms of its residuals.

    Claims: Q.hull.
    """

    def __init__(self, K: ArrayLike, V: ArrayLike, *, group: int = DEFAULT_GROUP) -> None:
        k, v = _checked(K, V)
        group = integer("group", group, 1)
        for name, x in (("K", k), ("V", v)):
            if not x.shape[-1] < group == DEFAULT_GROUP:
                check_group(f"group of {name}", group, x.shape[-1])
        self._leading = k.shape[:-2]
        self._keys, self._values = (
            _planes(x.reshape(-1, *x.shape[-2:]), group, radii=radii)
            for x, radii in ((k, True), (v, False))
        )
        self._largest = float(np.abs(v).max())
        self._largest_key = float(np.abs(k).max())

    @property
    def nbytes(self) -> int:
        """What is stored, in bytes."""
        return self._keys.nbytes + self._values.nbytes

    def attention(self, Q: ArrayLike, tolerance: float, *, scale: float = 1.0) -> CertifiedBits:
        """Attend to all keys, reading as few bits as certify a tolerance.

        Parameters
        ----------
        Q : array_like, shape (n_q, d) or (..., h_q, n_q, d)
            Queries; h_q is a multiple of the cache's heads.
        tolerance : float
            The largest error that the certificate may show, relative to the largest ``|V|``; in (0, 1).
        scale : float
            Factor of q.k.

        Returns
        -------
        CertifiedBits
            ``output`` in float64, the middle of the hull of what the planes that were read allow.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as above.

        Notes
        -----
        Cost: of a query, 10 to 60 rounds, each a pass over the weights and values.
        """
        allowed = open_unit("tolerance", tolerance) * self._largest
        heads, n = self._keys.bits.shape[1:3]
        dummy = np.zeros((*self._leading, n, self._keys.columns), np.float32)
        q, _, _ = heads_inputs(Q, dummy, dummy[..., :1])
        if not np.isfinite(q).all():
            raise ValueError("Q must be finite, got NaN or infinity.")
        options = semantics(q.shape[:-2], q.shape[-2], n, scale=scale)
        check_factors(options, np.dtype(np.float64))
        factor = options.scale
        largest, most = float(np.abs(q).max()), np.finfo(np.float64).max / 8
        size = up(up(largest * abs(factor)) * up(self._largest_key * self._keys.columns))
        if not size <= most:
            raise ValueError(
                f"Q and K must keep |scale| |q|.|k| at most {most:.3g}, got up to {size:.3g}: a logit could "
                "overflow."
            )
        queries = q.reshape(-1, *q.shape[-2:]).astype(np.float64)
        group = len(queries) // heads
        shape = (*queries.shape[:2], self._values.columns)
        output, bound = np.empty(shape), np.empty(shape)
        bits, reached = np.empty(shape[:2]), np.empty(shape[:2], bool)
        for index, row in np.ndindex(*shape[:2]):
            found = _Reading(self._keys, self._values, index // group, queries[index, row], factor)
            reached[index, row] = found.deepen(allowed)
            output[index, row], bound[index, row] = found.middle, found.half_width
            bits[index, row] = found.bits()
        leading = q.shape[:-1]
        return CertifiedBits(
            output=output.reshape(*leading, -1),
            error_bound=bound.reshape(*leading, -1),
            claims=("Q.hull", "FP.softmax", "FP.scores", "FP.exp", "FP.sum"),
            bits_read=bits.reshape(leading),
            reached=reached.reshape(leading),
        )


class _Reading:
    """What one query has read of one head, and the hull that this allows."""

    def __init__(self, keys: _Planes, values: _Planes, head: int, query: Array, scale: float):
        self.keys, self.values, self.head = keys, values, head
        self.query = query * scale
        n = keys.bits.shape[2]
        self.key_depths = np.full(n, _FIRST_KEYS)
        self.value_depths = np.full(n, _FIRST_VALUES)
        self.logits, self.reach, self.longest = np.empty(n), np.empty(n), np.empty(n)
        self.numbers, self.halves = np.empty((n, values.columns)), np.empty(n)
        self.length = float(up(lengths(query[None])[0] * abs(scale)))
        self._read_keys(np.arange(n))
        self._read_values(np.arange(n))

    def _read_keys(self, rows: NDArray[np.intp]) -> None:
        numbers, _, radius = self.keys.read(self.head, rows, self.key_depths[rows])
        self.logits[rows] = numbers @ self.query
        self.reach[rows] = up(radius * self.length)
        size = lengths(numbers)
        error = scaled_logit(
            self.keys.columns,
            UNIT_ROUNDOFF,
            up(size * self.length),
            ARITHMETIC["float64"]["tiny"],
            np.abs(numbers).max(axis=-1),
        )
        self.longest[rows] = error

    def _read_values(self, rows: NDArray[np.intp]) -> None:
        self.numbers[rows], self.halves[rows], _ = self.values.read(
            self.head, rows, self.value_depths[rows]
        )

    def bits(self) -> float:
        """Return how many planes were read, on average over numbers."""
        d, width = self.keys.columns, self.values.columns
        read = d * self.key_depths.sum() + width * self.value_depths.sum()
        return float(read / (len(self.key_depths) * (d + width)))

    def deepen(self, allowed: float) -> bool:
        """Read until the hull is narrow enough, and return whether it is."""
        while True:
            shift = float(self.logits.max())
            weights = np.exp(self.logits - shift)
            radii = up(
                self.reach
                + rounding_weight(
                    self.longest,
                    UNIT_ROUNDOFF,
                    up(np.abs(self.logits - shift)),
                    ARITHMETIC["float64"]["exp_error"],
                    1,
                )
            )
            lower, upper = ends_of_weights(self.logits - shift, radii)
            high = above(self.numbers + self.halves[:, None])
            low = below(self.numbers - self.halves[:, None])
            mean = weights @ self.numbers / weights.sum()
            if (
                self._width(lower, upper, high, low, mean, quick=True) <= 3 * allowed
                and self._width(lower, upper, high, low, mean) <= allowed
            ):
                return True
            if not self._read_deeper(upper, radii, mean):
                self._width(lower, upper, high, low, mean)
                return False

    def _width(
        self, lower: Array, upper: Array, high: Array, low: Array, mean: Array, quick: bool = False
    ) -> float:
        """Set the middle of the hull and half its width, and return the largest."""
        steps: dict[str, Any] = {"steps": 0} if quick else {}
        rise = farthest_above(lower, upper, high, mean, **steps)
        fall = farthest_above(lower, upper, -low, -mean, **steps)
        self.middle = mean + (rise - fall) / 2
        self.half_width = np.maximum(
            up(np.maximum(above(above(mean + rise) - self.middle), 0)),
            up(np.maximum(above(self.middle - below(mean - fall)), 0)),
        )
        return float(self.half_width.max())

    def _read_deeper(self, heavy: Array, radii: Array, mean: Array) -> bool:
        """Read one plane more of what matters most, or return that nothing is left."""
        n = len(heavy)
        spread = np.abs(self.numbers - mean).max(axis=1)
        importance = np.concatenate([heavy * np.minimum(radii, 1) * spread, heavy * self.halves])
        importance[np.concatenate([self.key_depths, self.value_depths]) >= PLANES] = 0
        if not importance.max() > 0:
            return False
        order = np.argsort(-importance)
        total = np.cumsum(importance[order])
        chosen = order[: int(np.searchsorted(total, _SHARE * total[-1])) + 1]
        chosen = chosen[importance[chosen] > 0]
        keys, values = chosen[chosen < n], chosen[chosen >= n] - n
        self.key_depths[keys] += 1
        self.value_depths[values] += 1
        if len(keys):
            self._read_keys(keys)
        if len(values):
            self._read_values(values)
        return True


def _checked(K: Any, V: Any) -> tuple[Matrix, Matrix]:
    _, k, v = heads_inputs(K, K, V)
    for name, x in (("K", k), ("V", v)):
        largest = np.abs(x).max()
        if not largest <= LARGEST_ENTRY:
            raise ValueError(
                f"{name} must be finite and at most 2^120 in magnitude, got {largest}."
            )
    return k, v
