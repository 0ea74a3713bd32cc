"""A cache of keys and values in few bits, that says how far its answers are from those of the originals."""

from __future__ import annotations

import math
import os
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.caches.augmented import attend_augmented
from fastpath.caches.formats import FORMATS, LARGEST_ENTRY, Bits, Rows, stored
from fastpath.caches.hull import attend_hull
from fastpath.caches.variation import weights_variation
from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.cores import worker_count
from fastpath.core.inputs import Array, Matrix, exact_floats, heads_inputs, in_range, integer
from fastpath.core.locked import Locked
from fastpath.core.semantics import Causal, EmptyRows, Semantics, semantics
from fastpath.core.state_files import load, write_arrays
from fastpath.exact.blocks import check_finite

_KIND = "quantised cache, 1"

BOUNDS = ("augmented", "hull")

DEFAULT_GROUP = 32


@standard_arithmetic
class QuantisedCache(Locked):
    r"""Keep keys and values in few bits, and bound each answer's distance from attention on the originals.

    The originals are not kept.  What quantising took from each key is measured when it is stored, against
    what will be read; what it took from each value is bounded by its steps.  An answer is attention over
    what is read, and its ``error_bound`` bounds its distance from attention over K and V as they were
    given: rounding of scales, zero points, ties, clipping, the kernel's own rounding and the certificate's
    lie inside.

    Parameters
    ----------
    K : array_like, shape (n, d) or (..., heads, n, d)
        Keys, at most 2^120 in magnitude.
    V : array_like, shape (n, d_v) or (..., heads, n, d_v)
        Values, likewise.
    key_bits, value_bits : {8, 4, "fp8", "bfloat16"}
        8: int8, symmetric; 4: with a zero point, two a byte; ``"fp8"``: float8_e4m3fn.  All three have a
        bfloat16 scale a group.
    group : int
        How many columns of a row share a scale; it divides d and d_v, but that the default may exceed them.
        Of keys where ``per_channel``, how many rows of a column.
    per_channel : bool
        Whether the groups of keys are ``group`` successive keys of one column.  Keys that do not fill a
        group are kept in bfloat16 until others do.

    Attributes
    ----------
    nbytes : int
        What is stored, with all that certificates need.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above; no cache is made.

    Notes
    -----
    Memory of heads of 32 columns: 0.27 of float32 with int8, 0.16 with int4.

    Claims: Q.augmented, FP.augmented, FP.softmax; Q.hull.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 200, 32)).astype(np.float32)
    >>> cache = fastpath.QuantisedCache(K, V)
    >>> served = cache.attention(Q, scale=32**-0.5)
    >>> exact = fastpath.attention(Q, K, V, scale=32**-0.5)
    >>> bool((abs(served.output - exact.output) <= served.error_bound + exact.error_bound).all())
    True
    >>> round(cache.nbytes / (K.nbytes + V.nbytes), 2)
    0.27
    """

    def __init__(
        self,
        K: ArrayLike,
        V: ArrayLike,
        *,
        key_bits: Bits = 8,
        value_bits: Bits = 8,
        group: int = DEFAULT_GROUP,
        per_channel: bool = False,
    ) -> None:
        super().__init__()
        self._key_bits = _format("key_bits", key_bits)
        self._value_bits = _format("value_bits", value_bits)
        self._group = integer("group", group, 1)
        if not isinstance(per_channel, (bool, np.bool_)):
            raise TypeError(f"per_channel must be True or False, got {per_channel!r}.")
        self._per_channel = bool(per_channel)
        if self._per_channel and self._key_bits == "bfloat16":
            raise ValueError("per_channel needs keys with scales, got key_bits 'bfloat16'.")
        k, v = _pair(K, V, None)
        for name, x, whole in (("K", k, self._per_channel), ("V", v, False)):
            # Fewer columns than the default are one group.
            if not whole and not x.shape[-1] < self._group == DEFAULT_GROUP:
                check_group(f"group of {name}", self._group, x.shape[-1])
        self._leading = k.shape[:-2]
        self._dims = k.shape[-1], v.shape[-1]
        #: The ids of rows that are gone, ascending: ids are never given twice.
        self._evicted = np.zeros(0, np.int64)
        self._keys: Rows | None = None
        self._waiting: Rows | None = None
        self._values: Rows | None = None
        self._add(k, v)

    def __len__(self) -> int:
        """How many keys a head has."""
        with self._lock:
            return 0 if self._values is None else len(self._values)

    @property
    def nbytes(self) -> int:
        """What is stored, in bytes."""
        with self._lock:
            parts = (self._keys, self._waiting, self._values)
            return sum(p.nbytes for p in parts if p is not None) + self._evicted.nbytes

    def append(self, K: ArrayLike, V: ArrayLike) -> NDArray[np.int64]:
        """Store more keys and values after those there are, and return their ids.

        Parameters
        ----------
        K, V : array_like
            One key and its value, without their axis of keys, or several, shaped as the first.

        Raises
        ------
        TypeError, ValueError
            If they do not fit, are not finite or exceed 2^120; the cache is as before.
        """
        with self._lock:
            k, v = _pair(K, V, (self._leading, self._dims))
            first = len(self) + len(self._evicted)
            self._add(k, v)
            return np.arange(first, first + k.shape[-2])

    def evict(self, key: int) -> None:
        """Drop the key and value of an id: its place in the order of all that was ever stored.

        Raises
        ------
        TypeError, IndexError
            If there is no such id.
        ValueError
            If it was evicted before.
        """
        with self._lock:
            id_ = in_range("key", key, len(self) + len(self._evicted))
            place = int(np.searchsorted(self._evicted, id_))
            if place < len(self._evicted) and self._evicted[place] == id_:
                raise ValueError(
                    f"key must be one that is in the cache, got {id_}: it was evicted."
                )
            row = id_ - place
            assert self._values is not None
            keys, waiting = self._keys, self._waiting
            packed = 0 if keys is None else len(keys)
            if row < packed and keys is not None:
                keys = keys.without(row)
            elif waiting is not None:
                waiting = waiting.without(row - packed)
            values = self._values.without(row)
            self._keys = keys if keys is not None and len(keys) else None
            self._waiting = waiting if waiting is not None and len(waiting) else None
            self._values = values if len(values) else None
            self._evicted = np.insert(self._evicted, place, id_)

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the keys and values as attention reads them, in float32."""
        with self._lock:
            k, v, _, _ = self._read()
        return k.copy(), v.copy()

    def radii(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return bounds on the norm of each key's error, and on each entry of each value's."""
        with self._lock:
            _, _, radius, error = self._read()
        return radius, error

    def attention(
        self,
        Q: ArrayLike,
        *,
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
        """Attend to the cache, and bound the distance from attention on the keys and values as given.

        Parameters
        ----------
        Q : array_like, shape (n_q, d) or (..., h_q, n_q, d)
            Queries; h_q is a multiple of the cache's heads.
        scale, causal, window, mask, bias, softcap, sinks, empty_rows, workers
            As of :func:`fastpath.attention`, over the keys that are left, in their order.
        bound : {"augmented", "hull"}
            ``"augmented"`` is computed in the same pass; ``"hull"`` is the least bound that radii allow, and
            takes 40 to 500 times as long.

        Returns
        -------
        Certified
            With ``log_sum_exp``.  No bound exceeds the distance to the end of the values' range.

        Raises
        ------
        TypeError, ValueError
            As of :func:`fastpath.attention`, or if nothing is left to attend to.
        """
        check_bound(bound)
        with self._lock:
            k, v, radius, error = self._read()
        q, k, v, options = checked_query(
            Q,
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
        certify = attend_augmented if bound == "augmented" else attend_hull
        return certify(q, k, v, radius, error, options, worker_count(workers))

    def variation(
        self,
        Q: ArrayLike,
        *,
        scale: float = 1.0,
        causal: Causal = False,
        window: tuple[int | None, int | None] | None = None,
        mask: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        softcap: float | None = None,
    ) -> Array:
        """Bound the total variation between the weights of each query on what is read and on the originals.

        Returns
        -------
        float64 array, shape (n_q,) or (..., h_q, n_q)
            The least of the relaxed bound (Q.tv), the closed forms (Q.tv_light, Q.tv_closed) and S.tv.

        Raises
        ------
        TypeError, ValueError
            As of :meth:`attention`.
        """
        with self._lock:
            k, v, radius, _ = self._read()
        q, k, v, options = checked_query(
            Q,
            k,
            v,
            scale=scale,
            causal=causal,
            window=window,
            mask=mask,
            bias=bias,
            softcap=softcap,
        )
        return weights_variation(q, k, v, radius, options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the cache to a file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        with self._lock:
            write_arrays(path, _KIND, self._contents())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> QuantisedCache:
        """Return the cache that a file holds, bit for bit.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it was truncated or changed, or holds something else.
        """
        return load(path, (_KIND,), cls._from_contents, cls._contents)

    def _contents(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        arrays = {
            "formats": np.array([str(self._key_bits), str(self._value_bits)]),
            "numbers": np.array([self._group, self._per_channel, *self._dims]),
            "leading": np.array(self._leading, np.int64),
            "evicted": self._evicted,
        }
        for name in ("keys", "waiting", "values"):
            arrays |= _packed(name, getattr(self, f"_{name}"))
        return arrays

    @classmethod
    def _from_contents(cls, arrays: dict[str, NDArray[Any]]) -> QuantisedCache:
        """Return the cache that has these contents."""
        new = object.__new__(cls)
        Locked.__init__(new)
        new._key_bits, new._value_bits = (
            _format("key_bits", int(f) if f.isdigit() else f) for f in arrays["formats"].tolist()
        )
        new._group, per_channel, d, width = arrays["numbers"].tolist()
        new._per_channel, new._dims = bool(per_channel), (d, width)
        new._leading = tuple(arrays["leading"].tolist())
        new._evicted = arrays["evicted"]
        new._keys = _unpacked(arrays, "keys", new._key_bits, d, new._group)
        new._waiting = _unpacked(arrays, "waiting", "bfloat16", d, new._group)
        new._values = _unpacked(arrays, "values", new._value_bits, width, new._group)
        new._check_contents()
        return new

    def _check_contents(self) -> None:
        """Refuse arrays that no cache has."""
        parts = [(p, self._dims[0]) for p in (self._keys, self._waiting) if p is not None]
        count = sum(len(p) for p, _ in parts)
        if self._values is not None:
            parts.append((self._values, self._dims[1]))
        gone = self._evicted
        sound = (
            min(self._group, *self._dims, *self._leading) > 0
            and count == len(self)
            and gone.ndim == 1
            and bool((np.diff(gone, prepend=-1) > 0).all())
            and bool((gone < len(gone) + count).all())
        )
        if not (sound and all(p.sound(math.prod(self._leading), d) for p, d in parts)):
            raise ValueError("contents must be those of a cache.")

    def _add(self, k: Matrix, v: Matrix) -> None:
        """Store checked rows; nothing changes before all of it is made."""
        k, v = (x.reshape(-1, *x.shape[-2:]) for x in (k, v))
        values = _joined(self._values, stored(v, self._value_bits, self._group, radii=False))
        if not self._per_channel:
            keys = _joined(self._keys, stored(k, self._key_bits, self._group, radii=True))
            self._keys, self._values = keys, values
            return
        # Those that wait are stored again as they are read: their residuals add up.
        packed, waiting = self._keys, self._waiting
        if waiting is not None:
            fill = self._group - len(waiting)
            waiting = _joined(waiting, stored(k[:, :fill], "bfloat16", self._group, radii=True))
            k = k[:, fill:]
            if len(waiting) == self._group:
                packed = _joined(packed, self._grouped(waiting.read(), waiting.radii))
                waiting = None
        whole = k.shape[1] - k.shape[1] % self._group
        if whole:
            packed = _joined(packed, self._grouped(k[:, :whole], None))
        if k.shape[1] > whole:
            waiting = stored(k[:, whole:], "bfloat16", self._group, radii=True)
        self._keys, self._waiting, self._values = packed, waiting, values

    def _grouped(self, k: Matrix, before: NDArray[np.float32] | None) -> Rows:
        return stored(k, self._key_bits, self._group, radii=True, channels=True, before=before)

    def _read(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return what is read, the keys' radii and the values' errors, with the leading axes."""
        if self._values is None:
            raise ValueError("the cache must hold a key to attend to, but every one was evicted.")
        parts = [p for p in (self._keys, self._waiting) if p is not None]
        read = [p.read() for p in parts]
        k = np.concatenate(read, axis=1) if len(read) > 1 else read[0]
        radius = np.concatenate([p.radius(x) for p, x in zip(parts, read, strict=True)], axis=1)
        v = self._values.read()
        error = self._values.entry_errors(v)
        return tuple(  # type: ignore[return-value]
            x.reshape(*self._leading, *x.shape[1:]) for x in (k, v, radius, error)
        )


def _format(name: str, bits: Any) -> Bits:
    for known in FORMATS:
        if type(bits) is type(known) and bits == known:
            return known
        if isinstance(bits, np.integer) and bits == known:
            return known
    raise ValueError(f"{name} must be one of {', '.join(map(repr, FORMATS))}, got {bits!r}.")


def check_group(name: str, group: Any, count: int) -> None:
    """Refuse a group that does not divide what it is of."""
    if count % integer(name, group, 1):
        raise ValueError(f"{name} must divide {count}, got {group}.")


def check_bound(bound: Any) -> None:
    """Refuse what is no way to bound."""
    if not isinstance(bound, str) or bound not in BOUNDS:
        raise ValueError(f"bound must be 'augmented' or 'hull', got {bound!r}.")


def _pair(
    K: Any, V: Any, held: tuple[tuple[int, ...], tuple[int, int]] | None
) -> tuple[Matrix, Matrix]:
    """Return keys and values that fit each other, and the cache where there is one, or refuse."""
    k, v = exact_floats("K", K), exact_floats("V", V)
    if held is not None:
        leading, dims = held
        # One row lacks its axis.
        k, v = (x[..., None, :] if x.ndim == len(leading) + 1 else x for x in (k, v))
        for name, x, columns in (("K", k, dims[0]), ("V", v, dims[1])):
            wanted = (*leading, "n", columns)
            if x.ndim != len(leading) + 2 or x.shape[:-2] != leading or x.shape[-1] != columns:
                raise ValueError(
                    f"{name} must have the cache's shape ({', '.join(map(str, wanted))}), one row "
                    f"without n, got {np.shape(x)}."
                )
    if k.ndim < 2 or v.ndim < 2 or k.shape[:-1] != v.shape[:-1]:
        raise ValueError(
            "K and V must have shapes (n, d) and (n, d_v), or (..., heads, n, d) and (..., heads, n, d_v), "
            f"got {k.shape} and {v.shape}."
        )
    for name, x in (("K", k), ("V", v)):
        if x.size == 0:
            raise ValueError(f"{name} must not be empty, got shape {x.shape}.")
        largest = np.abs(x).max()
        if not largest <= LARGEST_ENTRY:
            raise ValueError(
                f"{name} must be finite and at most 2^120 in magnitude, got {largest}."
            )
    return k, v


def checked_query(
    Q: Any, k: Matrix, v: Matrix, **options: Any
) -> tuple[Matrix, Matrix, Matrix, Semantics]:
    """Check queries and options against keys and values."""
    q, k, v = heads_inputs(Q, k, v)
    given = semantics(q.shape[:-2], q.shape[-2], k.shape[-2], **options)
    check_finite(q, k, v, given)
    return q, k, v, given


def _joined(first: Rows | None, second: Rows) -> Rows:
    return second if first is None else first.followed_by(second)


_ARRAYS = ("codes", "scales", "zeros", "radii")


def _packed(name: str, rows: Rows | None) -> dict[str, NDArray[Any]]:
    if rows is None:
        return {}
    arrays = {f"{name}.{field}": getattr(rows, field) for field in _ARRAYS}
    return arrays if rows.lengths is None else arrays | {f"{name}.lengths": rows.lengths}


def _unpacked(
    arrays: dict[str, NDArray[Any]], name: str, bits: Bits, columns: int, group: int
) -> Rows | None:
    if f"{name}.codes" not in arrays:
        return None
    fields: dict[str, Any] = {field: arrays[f"{name}.{field}"] for field in _ARRAYS}
    return Rows(
        bits=bits, columns=columns, group=group, lengths=arrays.get(f"{name}.lengths"), **fields
    )
