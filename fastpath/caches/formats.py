r"""How rows of keys or values are stored in few bits, and what that can have done to them.

A number x of a group with scale s (and zero point z) is stored as a code c and read as :math:`\hat x =
fl(z + fl(c s))` in float32.  Scales and zero points are bfloat16, so that any magnitude of float32 has
one.  Nothing is taken on trust: the residual :math:`x - \hat x` of every row is measured against what is
read, so that ties, clipping, the rounding of scales and the reader's own rounding lie inside.

=============  ==========================================  ==================================
format         code                                        half a step, h
=============  ==========================================  ==================================
``8``          c in [-127, 127], x = c s                   s/2
``4``          c in [0, 15], x = z + c s                   s/2 + 2^-23 (\|z\| + 16 s)
``"fp8"``      c a number of float8_e4m3fn, x = c s        16 s
``"bfloat16"`` bfloat16 itself, no scale                   2^-8 max \|x\| of the row
=============  ==========================================  ==================================

A row's residual has a norm of at most :math:`R = \sqrt{\sum_g size_g h_g^2}`; the measured norm is stored
in one byte as a multiple of R/255, rounded upward.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.directed import float32_above, float32_below, library_up, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.norms import lengths, sum_above

Bits = int | str

FORMATS: tuple[Bits, ...] = (8, 4, "fp8", "bfloat16")

#: Larger entries could overflow float32 where they are read.
LARGEST_ENTRY = 2.0**120

#: The least scale, relative to a group's largest magnitude: what the reader's float32 rounds away stays
#: below a step.
_LEAST_SCALE = 2.0**-20
_SMALLEST_SCALE = 2.0**-126

#: The largest code of each format that has a scale.
_TOP = {8: 127.0, 4: 15.0, "fp8": 448.0}

#: The numbers of float8_e4m3fn from 0 up, by their codes 0 ... 126.
_FP8 = np.array(
    [m * 2.0**-9 if e == 0 else (8 + m) * 2.0 ** (e - 10) for e in range(16) for m in range(8)][:-1]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows of numbers of several heads, stored in one format.

    Attributes
    ----------
    bits : 8, 4, "fp8" or "bfloat16"
    columns : int
        d.
    codes : array of shape (heads, n, bytes a row)
    scales, zeros : uint16 arrays of shape (heads, n, groups), or (heads, blocks, columns) by channel
        bfloat16 numbers by their bits; of size 0 where a format has none.
    radii : array of shape (heads, n)
        What the residual's norm is at most: uint8 in 255ths of R, or float32; of size 0 where not kept.
    group : int
        Columns of a group, or rows of one by channel.
    lengths : intp array, shape (blocks,), or None
        By channel: how many rows of each block are left.
    """

    bits: Bits
    columns: int
    codes: NDArray[Any]
    scales: NDArray[np.uint16]
    zeros: NDArray[np.uint16]
    radii: NDArray[Any]
    group: int
    lengths: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        """How many rows a head has."""
        return int(self.codes.shape[1])

    @property
    def nbytes(self) -> int:
        """What is stored, in bytes."""
        arrays = (self.codes, self.scales, self.zeros, self.radii)
        return sum(a.nbytes for a in arrays) + (0 if self.lengths is None else self.lengths.nbytes)

    def sound(self, heads: int, columns: int) -> bool:
        """Whether the arrays have the shapes and types of so many heads and columns."""
        kinds = {8: np.int8, 4: np.uint8, "fp8": np.uint8, "bfloat16": np.uint16}
        width = -(-columns // 2) if self.bits == 4 else columns
        if self.codes.ndim != 3 or self.codes.dtype != kinds[self.bits]:
            return False
        rows = self.codes.shape[1]
        if self.codes.shape != (heads, rows, width) or self.columns != columns:
            return False
        groups = (rows, -(-columns // self.group))
        if self.lengths is not None:
            if self.lengths.ndim != 1 or self.lengths.dtype.kind != "i" or (self.lengths < 1).any():
                return False
            if int(self.lengths.sum()) != rows:
                return False
            groups = (len(self.lengths), columns)
        scaled = (heads, *groups)
        return (
            self.scales.dtype == self.zeros.dtype == np.uint16
            and (self.bits == "bfloat16" or self.scales.shape == scaled)
            and (self.bits != 4 or self.zeros.shape == scaled)
            and (self.radii.size == 0 or self.radii.shape == (heads, rows))
            and self.radii.dtype in (np.uint8, np.float32)
        )

    def read(self) -> NDArray[np.float32]:
        """Return what the rows are read as, of shape (heads, n, columns)."""
        if self.bits == "bfloat16":
            return from_bfloat16(self.codes)
        codes = self._numbers()
        if self.lengths is None:
            # In groups along the last axis; the last may be shorter.
            out = codes
            for g in range(self.scales.shape[-1]):
                part = out[..., g * self.group : (g + 1) * self.group]
                part *= self._scales[..., g, None]
                if self.zeros.size:
                    part += self._zeros[..., g, None]
            return out
        codes *= np.repeat(self._scales, self.lengths, axis=1)
        codes += np.repeat(self._zeros, self.lengths, axis=1)
        return codes

    def _numbers(self) -> NDArray[np.float32]:
        """Return the codes as float32, unpacked, in a fresh array."""
        if self.bits == 4:
            return _unpacked(self.codes, self.columns).astype(np.float32)
        if self.bits == "fp8":
            signed: NDArray[np.float32] = _FP8_SIGNED[self.codes]
            return signed
        return self.codes.astype(np.float32)

    @property
    def _scales(self) -> NDArray[np.float32]:
        return from_bfloat16(self.scales)

    @property
    def _zeros(self) -> NDArray[np.float32]:
        return from_bfloat16(self.zeros)

    def steps(self, read: NDArray[np.float32]) -> Array:
        """Bound half a step of every group, (heads, n, groups): of rows, not of channels."""
        if self.bits == "bfloat16":
            # The last term is a step of subnormal numbers.
            largest = np.abs(read).max(axis=-1, keepdims=True).astype(np.float64)
            relative: Array = up(up(largest * 2.0**-8) + 2.0**-133)
            return relative
        scale = self._scales.astype(np.float64)
        half: Array = library_up(scale * (16.0 if self.bits == "fp8" else 0.5))
        if self.bits == 4:
            largest = np.abs(self._zeros).astype(np.float64) + 16 * scale
            half = up(half + up(up(largest) * 2.0**-23))
        return half

    def entry_errors(self, read: NDArray[np.float32]) -> Array:
        """Bound |x - read| over the entries of every row, (heads, n)."""
        largest: Array = self.steps(read).max(axis=-1)
        return largest

    def radius(self, read: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bound the norm of x - read of every row, (heads, n)."""
        if self.radii.dtype == np.float32:
            return self.radii
        radius: NDArray[np.float32] = float32_above(_radius(self.radii, self._largest_radius(read)))
        return radius

    def _largest_radius(self, read: NDArray[np.float32]) -> Array:
        steps = self.steps(read)
        sizes = np.diff(np.minimum(np.arange(steps.shape[-1] + 1) * self.group, self.columns))
        top = steps.max(axis=-1, keepdims=True)
        unit = np.where(top > 0, top, 1)
        # A term is rounded as a quotient, as a square and as a product beside the additions.
        squares = sum_above(((steps / unit) ** 2 * sizes).sum(axis=-1), steps.shape[-1] + 4)
        largest: Array = up(up(np.sqrt(squares)) * top[..., 0])
        return largest

    def without(self, row: int) -> "Rows":
        """Return the rows without one of them."""
        if self.lengths is None:
            scales, zeros = (
                np.delete(x, row, axis=1) if x.size else x for x in (self.scales, self.zeros)
            )
            lengths_left = None
        else:
            block = int(np.searchsorted(np.cumsum(self.lengths), row, side="right"))
            lengths_left = self.lengths.copy()
            lengths_left[block] -= 1
            scales, zeros = self.scales, self.zeros
            if not lengths_left[block]:
                lengths_left = np.delete(lengths_left, block)
                scales, zeros = (np.delete(x, block, axis=1) for x in (scales, zeros))
        return replace(
            self,
            codes=np.delete(self.codes, row, axis=1),
            scales=scales,
            zeros=zeros,
            radii=np.delete(self.radii, row, axis=1) if self.radii.size else self.radii,
            lengths=lengths_left,
        )

    def followed_by(self, other: "Rows") -> "Rows":
        """Return these rows and then others of the same format."""
        codes, scales, zeros, radii = (
            np.concatenate([first, second], axis=1)
            for first, second in (
                (self.codes, other.codes),
                (self.scales, other.scales),
                (self.zeros, other.zeros),
                (self.radii, other.radii),
            )
        )
        lengths_ = None
        if self.lengths is not None and other.lengths is not None:
            lengths_ = np.concatenate([self.lengths, other.lengths])
        return replace(self, codes=codes, scales=scales, zeros=zeros, radii=radii, lengths=lengths_)


def stored(
    x: Matrix,
    bits: Bits,
    group: int,
    *,
    radii: bool,
    channels: bool = False,
    before: NDArray[np.float32] | None = None,
) -> Rows:
    """Store the rows of an array of shape (heads, n, d), finite and at most ``LARGEST_ENTRY``.

    Parameters
    ----------
    radii : bool
        Whether to keep the norms of the residuals.
    channels : bool
        Whether a group is ``group`` rows of one column, in place of ``group`` columns of one row.
    before : float32 array, shape (heads, n), optional
        What the rows' residuals were already, by their norms: these add up, and are kept in float32.
    """
    exact = x.astype(np.float64)
    heads, n, d = exact.shape
    none = np.zeros((heads, n, 0), np.uint16)
    if bits == "bfloat16":
        codes, scales, zeros, lengths_ = _nearest_bfloat16(exact), none, none, None
    elif channels:
        starts = np.arange(0, n, group)
        lengths_ = np.diff(np.append(starts, n)).astype(np.intp)
        low, high = (f.reduceat(exact, starts, axis=1) for f in (np.minimum, np.maximum))
        scales, zeros = _grid(low, high, bits)
        scale, zero = (np.repeat(from_bfloat16(y), lengths_, axis=1) for y in (scales, zeros))
        codes = _codes(exact, scale, zero, bits)
    else:
        lengths_ = None
        starts = np.arange(0, d, group)
        low, high = (f.reduceat(exact, starts, axis=2) for f in (np.minimum, np.maximum))
        scales, zeros = _grid(low, high, bits)
        sizes = np.diff(np.append(starts, d))
        scale, zero = (np.repeat(from_bfloat16(y), sizes, axis=2) for y in (scales, zeros))
        codes = _codes(exact, scale, zero, bits)
        if bits != 4:
            zeros = none
    rows = Rows(
        bits=bits,
        columns=d,
        codes=codes,
        scales=scales,
        zeros=zeros,
        radii=np.zeros((heads, 0), np.uint8),
        group=group,
        lengths=lengths_,
    )
    return replace(rows, radii=_radii(exact, rows, before)) if radii else rows


def _grid(low: Array, high: Array, bits: Bits) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the scales and the zero points of groups from their least and largest entry."""
    largest = np.maximum(high, -low)
    zeros = _bfloat16_at_most(low) if bits == 4 else np.zeros(low.shape, np.uint16)
    span = high - from_bfloat16(zeros) if bits == 4 else largest
    # Upward, so that no entry lies beyond the last code.
    scale = np.maximum(
        up(up(span) / _TOP[bits]), np.maximum(largest * _LEAST_SCALE, _SMALLEST_SCALE)
    )
    return bfloat16_at_least(scale), zeros


def _codes(exact: Array, scale: Matrix, zero: Matrix, bits: Bits) -> NDArray[Any]:
    if bits == "fp8":
        ratio = np.abs(exact) / scale
        code = np.searchsorted((_FP8[1:] + _FP8[:-1]) / 2, ratio).astype(np.uint8)
        return code | np.where(exact < 0, np.uint8(128), np.uint8(0))
    if bits == 8:
        return np.rint(np.clip(exact / scale, -127, 127)).astype(np.int8)
    return _packed(np.rint(np.clip((exact - zero) / scale, 0, 15)).astype(np.uint8))


def _radii(exact: Array, rows: Rows, before: NDArray[np.float32] | None) -> NDArray[Any]:
    """Return the norms of the residuals as they are stored."""
    read = rows.read()
    residual = exact - read
    # A difference of floats errs by half an ulp.
    measured = up(lengths(residual.reshape(-1, rows.columns)).reshape(residual.shape[:2]))
    if rows.bits == "bfloat16" or rows.lengths is not None:
        above: NDArray[np.float32] = float32_above(
            measured if before is None else up(measured + before)
        )
        return above
    largest = rows._largest_radius(read)
    codes: Array = np.ceil(np.clip(measured / np.where(largest > 0, largest, 1) * 255, 0, 255))
    codes += _radius(codes, largest) < measured
    if not (_radius(codes, largest) >= measured).all() or codes.max(initial=0) > 255:
        raise RuntimeError("a residual is longer than its steps allow, which no format permits.")
    stored_: NDArray[np.uint8] = codes.astype(np.uint8)
    return stored_


def _radius(codes: NDArray[Any], largest: Array) -> Array:
    radius: Array = np.where(codes == 0, 0.0, up(up(codes * largest) / 255))
    return radius


# ----------------------------------------------------------------------------------- bfloat16


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return bfloat16 numbers from their bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _nearest_bfloat16(x: Array) -> NDArray[np.uint16]:
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def bfloat16_at_least(x: Array) -> NDArray[np.uint16]:
    """Return the bits of the least bfloat16 above positive numbers, or one more."""
    bits: NDArray[np.uint32] = float32_above(x).view(np.uint32)
    return ((bits + 0xFFFF) >> 16).astype(np.uint16)


def _bfloat16_at_most(x: Array) -> NDArray[np.uint16]:
    """Return the bits of a bfloat16 below numbers of either sign, next to the largest such."""
    magnitude = np.abs(x)
    lower = float32_below(magnitude).view(np.uint32) >> 16
    upper = bfloat16_at_least(magnitude) | np.uint16(0x8000)
    return np.where(x >= 0, lower, upper).astype(np.uint16)


# --------------------------------------------------------------------------------------- codes


def _packed(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return codes below 16, two a byte; an odd row ends in half a byte."""
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], 1), np.uint8)], axis=-1)
    return (codes[..., ::2] | (codes[..., 1::2] << 4)).astype(np.uint8)


def _unpacked(packed: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    codes = np.empty((*packed.shape[:-1], 2 * packed.shape[-1]), np.uint8)
    codes[..., ::2], codes[..., 1::2] = packed & 15, packed >> 4
    return codes[..., :columns]


_FP8_SIGNED = np.concatenate([_FP8, [np.nan], -_FP8, [np.nan]]).astype(np.float32)
