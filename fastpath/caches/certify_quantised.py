"""Certificates for anybody's quantised cache, from its codes and scales as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastpath.caches.augmented import attend_augmented
from fastpath.caches.formats import LARGEST_ENTRY
from fastpath.caches.hull import attend_hull
from fastpath.caches.quantised_cache import check_bound, check_group, checked_query
from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.cores import worker_count
from fastpath.core.directed import UNIT_ROUNDOFF, float32_above, up
from fastpath.core.inputs import NARROW, Array, Matrix, exact_floats, plain_array
from fastpath.core.norms import lengths
from fastpath.core.semantics import Causal, EmptyRows
from fastpath.core.shown import shown

_INTEGERS = ("int8", "uint8", "int16")


@standard_arithmetic
@dataclass(frozen=True, kw_only=True, eq=False)
class Codes:
    """Numbers (code - zero point) scale, as caches of other libraries hold them; made by :meth:`of`.

    Attributes
    ----------
    numbers : float64 array, shape (..., n, d)
        (code - zero point) scale, rounded to float64.
    steps : float64 array of that shape
        Half the distance between neighbouring numbers: what rounding to nearest, without clipping, can
        have done to an entry.
    """

    __repr__ = shown

    numbers: Array
    steps: Array

    @classmethod
    def of(
        cls,
        codes: ArrayLike,
        scales: ArrayLike,
        zero_points: ArrayLike | None = None,
        *,
        group: int | None = None,
        rows: bool = False,
    ) -> Codes:
        """Check codes and what turns them into numbers.

        Parameters
        ----------
        codes : array_like, shape (..., n, d)
            int8, uint8 (of 4 bits too, one a byte), int16, or float8 as of ml_dtypes or torch.
        scales : array_like
            Positive.  One, or what broadcasts against the codes: (d,) a column, (n, 1) a row; with a
            group, (..., n, d / group), or (..., n / group, d) where ``rows``.
        zero_points : array_like, optional
            Integers of the codes' type, shaped as the scales or one.
        group : int, optional
            How many successive columns, or rows where ``rows``, share a scale.
        rows : bool
            Whether a group is of rows of one column, as in GPTQ.

        Raises
        ------
        TypeError, ValueError
            If something has another type or shape, is not finite, or lies outside what is allowed.
        """
        raw, spacing = _codes(codes)
        factor = exact_floats("scales", scales).astype(np.float64)
        if not (np.isfinite(factor).all() and (factor > 0).all()):
            worst = factor[~(np.isfinite(factor) & (factor > 0))][0]
            raise ValueError(f"scales must be positive and finite, got {worst}.")
        axis = -2 if rows else -1
        if group is not None:
            check_group("group", group, raw.shape[axis])
        factor = _spread("scales", factor, raw.shape, group, axis)
        zero: Any = 0.0
        if zero_points is not None:
            if spacing is not None:
                raise ValueError("zero_points must be None for float8 codes, got some.")
            zero = _zero_points(zero_points, plain_array("codes", codes).dtype)
            zero = _spread("zero_points", zero, raw.shape, group, axis)
        numbers = (raw - zero) * factor
        largest = np.abs(numbers).max(initial=0)
        if not largest <= LARGEST_ENTRY:
            raise ValueError(
                f"codes and scales must make numbers of at most 2^120 in magnitude, got {largest}."
            )
        half = (np.full(raw.shape, 0.5) if spacing is None else spacing) * factor
        return cls(numbers=numbers, steps=up(half))

    def radius(self) -> Array:
        """Bound the norm of each row's error, were it rounded to nearest and not clipped: (..., n)."""
        flat = self.steps.reshape(-1, self.steps.shape[-1])
        return lengths(flat).reshape(self.steps.shape[:-1])

    def error(self) -> Array:
        """Bound the error of each row's entries likewise: (..., n)."""
        largest: Array = self.steps.max(axis=-1)
        return largest


@standard_arithmetic
def certify_quantised(
    Q: ArrayLike,
    K_hat: ArrayLike | Codes,
    V_hat: ArrayLike | Codes,
    key_radius: ArrayLike,
    value_error: ArrayLike,
    *,
    output: ArrayLike | None = None,
    scale: float = 1.0,
    causal: Causal = False,
    window: tuple[int | None, int | None] | None = None,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    softcap: float | None = None,
    sinks: ArrayLike | None = None,
    empty_rows: EmptyRows = "refuse",
    bound: Literal["augmented", "hull"] = "augmented",
    workers: int | None = None,
) -> Certified:
    """Attend to approximate keys and values, and bound the distance from attention on what was meant.

    Parameters
    ----------
    Q : array_like, shape (n_q, d) or (..., h_q, n_q, d)
        Queries.
    K_hat : array_like or Codes, shape (n, d) or (..., heads, n, d)
        What stands for the keys: floats, or codes with their scales.
    V_hat : array_like or Codes, shape (n, d_v) or (..., heads, n, d_v)
        What stands for the values.
    key_radius : array_like
        At least the norm of each key's error: one, or what broadcasts to (..., heads, n).
        ``Codes.radius()`` where keys were rounded to nearest and not clipped.
    value_error : array_like
        At least the error of each entry of a value, likewise, or of the shape of V_hat.
    output : array_like, optional
        The answer that was served, by whatever kernel; it is certified in place of ours.
    scale, causal, window, mask, bias, softcap, sinks, empty_rows, workers
        As of :func:`fastpath.attention`.
    bound : {"augmented", "hull"}
        As of :meth:`QuantisedCache.attention`.

    Returns
    -------
    Certified
        For all keys and values within the radii.  Codes are read exactly; what the type of the computation
        makes of them is part of the bound.

    Raises
    ------
    TypeError, ValueError
        As of :func:`fastpath.attention`, or if a radius is negative or does not fit.

    Notes
    -----
    Claims: Q.augmented, FP.augmented, FP.softmax; Q.hull.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 200, 32)) / 4
    >>> scale = np.abs(K).max() / 127
    >>> codes = fastpath.Codes.of(np.rint(K / scale).astype(np.int8), scale)
    >>> served = fastpath.certify_quantised(Q, codes, V, codes.radius(), 0.0)
    >>> exact = fastpath.attention(Q, K, V)
    >>> bool((abs(served.output - exact.output) <= served.error_bound).all())
    True
    """
    check_bound(bound)
    queries = exact_floats("Q", Q)
    k, key_lost = _read("K_hat", K_hat, queries.dtype)
    v, value_lost = _read("V_hat", V_hat, queries.dtype)
    q, k, v, options = checked_query(
        queries,
        k,
        v,
        scale=scale,
        causal=causal,
        window=window,
        mask=mask,
        bias=bias,
        softcap=softcap,
        sinks=sinks,
        empty_rows=empty_rows,
    )
    shape = k.shape[:-1]
    radius = _radii("key_radius", key_radius, shape, k.shape)
    error = _radii("value_error", value_error, shape, v.shape)
    if key_lost is not None:
        lost = lengths(key_lost.reshape(-1, key_lost.shape[-1])).reshape(shape)
        radius = up(radius + lost)
    if value_lost is not None:
        error = up(error + value_lost.max(axis=-1))
    certify = attend_augmented if bound == "augmented" else attend_hull
    found = certify(
        q, k, v, float32_above(radius), float32_above(error), options, worker_count(workers)
    )
    if output is None:
        return found
    served = exact_floats("output", output)
    if served.shape != found.output.shape or not np.isfinite(served).all():
        raise ValueError(
            f"output must be finite and have attention's shape {found.output.shape}, got shape "
            f"{served.shape}."
        )
    distance = up(np.abs(served.astype(np.float64) - found.output))
    return Certified(
        output=served, error_bound=up(distance + found.error_bound), claims=found.claims
    )


def _codes(codes: Any) -> tuple[Array, Array | None]:
    """Return codes as numbers, and of float8 half the spacing at each."""
    array = plain_array("codes", codes)
    name = array.dtype.name
    narrow = name in NARROW or str(getattr(codes, "dtype", "")).removeprefix("torch.") in NARROW
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"codes must have shape (..., n, d), not empty, got {array.shape}.")
    if name in _INTEGERS:
        return array.astype(np.float64), None
    if not narrow:
        raise TypeError(f"codes must be int8, uint8, int16 or float8, got {name}.")
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("codes must be finite, got NaN or infinity.")
    # At least 2 bits follow the leading one; float8_e3m4 has none below 1/4 that are normal.
    exponents = np.frexp(np.maximum(np.abs(numbers), 0.25))[1] - 1
    spacing: Array = np.ldexp(1.0, exponents - 3)
    return numbers, spacing


def _zero_points(zero_points: Any, dtype: np.dtype[Any]) -> Array:
    array = plain_array("zero_points", zero_points)
    if array.dtype.kind not in "iu":
        raise TypeError(f"zero_points must be integers, got {array.dtype}.")
    limits = np.iinfo(dtype)
    outside = (array < limits.min) | (array > limits.max)
    if outside.any():
        raise ValueError(
            f"zero_points must lie in [{limits.min}, {limits.max}] as the codes do, got "
            f"{array[outside].flat[0]}."
        )
    return array.astype(np.float64)


def _spread(name: str, x: Array, shape: tuple[int, ...], group: int | None, axis: int) -> Array:
    """Return what belongs to groups of an array, or broadcasts against it, in its shape."""
    if group is not None and x.ndim:
        grouped = list(shape)
        grouped[axis] //= group
        if x.shape != tuple(grouped):
            raise ValueError(f"{name} must have shape {tuple(grouped)}, got {x.shape}.")
        x = np.repeat(x, group, axis=axis)
    try:
        return np.broadcast_to(x, shape)
    except ValueError:
        raise ValueError(
            f"{name} must broadcast against the codes' shape {shape}, got {x.shape}."
        ) from None


def _read(name: str, x: Any, dtype: np.dtype[Any]) -> tuple[Matrix, Array | None]:
    """Return what attention reads, and of codes how far each number lies from it."""
    if not isinstance(x, Codes):
        return exact_floats(name, x), None
    read = x.numbers.astype(dtype)
    # The product was rounded once, and so is this difference.
    lost = up(up(np.abs(x.numbers - read)) + up(np.abs(x.numbers) * UNIT_ROUNDOFF))
    return read, lost


def _radii(name: str, x: Any, rows: tuple[int, ...], whole: tuple[int, ...]) -> Array:
    """Return bounds for each row as float64, or refuse."""
    array = exact_floats(name, x).astype(np.float64)
    if array.size and not (array >= 0).all():
        worst = array[~(array >= 0)].flat[0]
        raise ValueError(f"{name} must not be negative, got {worst}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got infinity.")
    if name == "value_error" and array.shape == whole and array.ndim > 1:
        array = array.max(axis=-1)
    try:
        return np.broadcast_to(array, rows)
    except ValueError:
        raise ValueError(f"{name} must broadcast to {rows}, got shape {array.shape}.") from None
