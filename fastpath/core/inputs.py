"""What the fast path accepts: one place where array arguments are checked and never changed."""

from array import array as machine_array
from collections.abc import Sequence
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: What the fast path hands on: an array of any type, and one of float64.
Matrix = NDArray[Any]
Array = NDArray[np.float64]

#: Arrays whose entries are all that they mean.  Any other subclass (masked, with units, ...) is refused.
PLAIN = (np.ndarray, np.memmap, np.matrix)

#: Types that numpy has from ml_dtypes, by their names: float32 holds all of their numbers.
NARROW = (
    "float16",
    "bfloat16",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3b11fnuz",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
)

#: Where the numbers of a DLPack capsule can be; the host's memory is the CPU's, pinned too.
DLPACK_DEVICES = {1: "cpu", 2: "cuda", 3: "cpu", 8: "metal", 10: "rocm", 11: "cpu", 14: "oneapi"}

#: What a type that only looks like an array may say beside its entries.
_BESIDE_ENTRIES = ("mask", "unit", "units")


def attention_inputs(
    Q: ArrayLike, K: ArrayLike, V: ArrayLike, *, causal: bool
) -> tuple[Matrix, Matrix, Matrix]:
    """Return Q, K, V as matrices of one floating-point type whose shapes fit, or refuse.

    Raises
    ------
    TypeError
        If an entry type is neither float32, float64 nor an integer, an array means more than its
        entries, or ``causal`` is no bool.
    ValueError
        If a shape does not fit, an array is empty, or an entry is not finite or an integer that float64
        does not hold.
    """
    if not isinstance(causal, (bool, np.bool_)):
        raise TypeError(f"causal must be True or False, got {causal!r}.")
    _check_devices(Q, K, V)
    q, k, v = (matrix(name, x) for name, x in (("Q", Q), ("K", K), ("V", V)))
    _check_fit(q, k, v)
    if causal and len(q) != len(k):
        raise ValueError(
            f"causal=True needs as many queries as keys, got {len(q)} rows of Q and {len(k)} of K."
        )
    return _promoted(q, k, v)


def heads_inputs(Q: ArrayLike, K: ArrayLike, V: ArrayLike) -> tuple[Matrix, Matrix, Matrix]:
    """Return Q, K, V of one floating-point type, matrices or (..., heads, n, d), whose shapes fit, or refuse.

    Whether entries are finite is the caller's to check.

    Raises
    ------
    TypeError, ValueError
        As :func:`attention_inputs`, or if leading axes differ or heads do not divide.
    """
    _check_devices(Q, K, V)
    q, k, v = (exact_floats(name, x) for name, x in (("Q", Q), ("K", K), ("V", V)))
    for name, array in (("Q", q), ("K", k), ("V", v)):
        if array.ndim < 2 or array.ndim != q.ndim:
            wanted = (
                f"as many axes as Q, {q.ndim}" if q.ndim > 1 and name != "Q" else "2 axes or more"
            )
            raise ValueError(
                f"{name} must be a matrix, or (..., heads, n, d), with {wanted}, got shape {array.shape}."
            )
        if array.size == 0:
            raise ValueError(f"{name} must not be empty, got shape {array.shape}.")
    _check_fit(q, k, v)
    if q.ndim > 2:
        if q.shape[:-3] != k.shape[:-3] or k.shape[:-2] != v.shape[:-2]:
            raise ValueError(
                "Q, K and V must have the same leading axes, and K and V the same heads, got shapes "
                f"{q.shape}, {k.shape} and {v.shape}."
            )
        if q.shape[-3] % k.shape[-3]:
            raise ValueError(
                f"Q must have a multiple of K's {k.shape[-3]} heads, got {q.shape[-3]}."
            )
    return _promoted(q, k, v)


def _check_devices(Q: Any, K: Any, V: Any) -> None:
    """Refuse tensors of which one is where numpy cannot read it, and say where each is."""
    devices = {name: device(x) for name, x in (("Q", Q), ("K", K), ("V", V))}
    if set(devices.values()) != {"cpu"}:
        q, k, v = (f"{name} on {where}" for name, where in devices.items())
        raise ValueError(
            f"Q, K and V must be on the CPU, got {q}, {k} and {v}: copy them there first."
        )


def device(x: Any) -> str:
    """Return where the numbers of an array are: ``"cpu"``, also of what does not say, or a name."""
    said = getattr(x, "device", None)
    # jax's devices have a platform, torch's a type, numpy's are strings.
    for kind in (getattr(said, "platform", None), getattr(said, "type", None), said):
        if isinstance(kind, str):
            return "cpu" if kind.lower() == "cpu" else str(said)
    if hasattr(x, "__dlpack_device__") and not isinstance(x, np.ndarray):
        number = int(x.__dlpack_device__()[0])
        return DLPACK_DEVICES.get(number, f"DLPack's device type {number}")
    return "cpu"


def _check_fit(q: Matrix, k: Matrix, v: Matrix) -> None:
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(
            f"Q and K must have the same number of columns, got {q.shape[-1]} and {k.shape[-1]}."
        )
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"K and V must have the same number of rows, got {k.shape[-2]} and {v.shape[-2]}."
        )


def _promoted(q: Matrix, k: Matrix, v: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    if q.dtype == k.dtype == v.dtype:
        return q, k, v
    dtype = np.result_type(q, k, v)
    return tuple(x.astype(dtype, copy=False) for x in (q, k, v))  # type: ignore[return-value]


def matrix(name: str, x: ArrayLike) -> Matrix:
    """Return x as a matrix of floats, or refuse as :func:`attention_inputs` does."""
    array = exact_floats(name, x)
    if array.ndim != 2:
        raise ValueError(f"{name} must be a matrix (2 dimensions), got shape {array.shape}.")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be finite, got {np.count_nonzero(~np.isfinite(array))} NaN or infinite "
            f"of {array.size} entries."
        )
    return array


def exact_floats(name: str, x: ArrayLike, *, halves: bool = False) -> Matrix:
    """Return the very numbers of x as float32 or float64 of this machine's byte order, or refuse.

    Integers become float64, narrower floats float32.  Nothing is rounded, and nothing is looked at but the
    type: shapes, and whether entries are finite, are the caller's to check.

    Parameters
    ----------
    name : str
        What error messages call it.
    x : array_like
        Numbers in an array, in nested sequences, or in what :func:`plain_array` can read.
    halves : bool
        Whether float16 is kept.

    Raises
    ------
    TypeError
        If entries are of another type, or x means more than its entries.
    ValueError
        If an integer is none of float64's numbers, or sequences differ in length.
    """
    if type(x) is np.ndarray and x.dtype in (np.float32, np.float64) and x.dtype.isnative:
        return x
    array = plain_array(name, x)
    if array.dtype.kind in "iu":
        return _exact_integers(name, array)
    native = array.dtype.newbyteorder("=")
    if native in (np.float32, np.float64) or (halves and native == np.float16):
        return array.astype(native, copy=False)
    if native.name in NARROW:
        return array.astype(np.float32)
    found = f"{array.dtype}"
    if native.kind == "O" and not isinstance(x, (np.ndarray, Sequence)):
        found = f"{type(x).__name__}, which is no dense array of numbers"
    raise TypeError(f"{name} must hold floats of at most 64 bits or integers, got {found}.")


def plain_array(name: str, x: Any) -> Matrix:
    """Return x as an array of any type if that drops nothing of what it means, or refuse.

    ``numpy.asarray`` drops masks and units, and rounds integers that stand beside floats; it does so inside
    nested sequences too.  Tensors are read without their gradients, which nothing here has.
    """
    if isinstance(x, Sequence) and not isinstance(
        x, (str, bytes, bytearray, memoryview, machine_array)
    ):
        return _stacked(name, x)
    kind = type(x)
    if (where := device(x)) != "cpu":
        raise ValueError(
            f"{name} must be on the CPU, got a {kind.__name__} on {where}: copy it there first."
        )
    types = {str(column) for column in getattr(x, "dtypes", ())}
    if len(types) > 1:
        raise TypeError(
            f"{name} must have columns of one type, since numpy rounds where it mixes them, got "
            f"{', '.join(sorted(types))}."
        )
    try:
        array = _read(x)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        said = str(error).partition("\n")[0]
        raise TypeError(
            f"{name} must be readable as an array, got a {kind.__name__} that is not: {said}"
        ) from error
    # A method of that name, as tables have, says nothing of the entries.
    beside = [what for what in _BESIDE_ENTRIES if not callable(getattr(kind, what, callable))]
    if type(array) not in PLAIN or beside:
        stripped = kind if beside else type(array)
        raise TypeError(
            f"{name} must be a plain array, got {stripped.__module__}.{stripped.__qualname__}, of which "
            "only the bare entries would be seen: pass those if they are meant."
        )
    return np.asarray(array)


def _read(x: Any) -> Any:
    """Return what numpy makes of x, or of a tensor's numbers; no library is imported."""
    if getattr(x, "requires_grad", False) is True and hasattr(x, "detach"):
        x = x.detach()
    if hasattr(x, "resolve_neg"):  # torch's lazy minus sign
        x = x.resolve_neg()
    if str(getattr(x, "dtype", "")).removeprefix("torch.") in NARROW and hasattr(x, "float"):
        x = x.float()  # torch's bfloat16 and float8, of which numpy has none
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return np.from_dlpack(x)
    return np.asanyarray(x)


def _stacked(name: str, items: Sequence[Any]) -> Matrix:
    """Return the array of nested sequences, each of whose items is looked at."""
    if items and all(type(item) is float for item in items):
        return np.array(items)
    arrays = [plain_array(f"{name}[{i}]", item) for i, item in enumerate(items)]
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(
            f"{name} must have items of one shape, got sequences of different lengths."
        )
    kinds = {array.dtype.kind for array in arrays}
    if len(kinds) > 1:
        # Also signed beside unsigned integers, which become floats.
        arrays = [exact_floats(f"{name}[{i}]", array) for i, array in enumerate(arrays)]
    return np.array(arrays)


def _exact_integers(name: str, array: Matrix) -> NDArray[np.float64]:
    if array.dtype.itemsize == 8 and array.size:
        # abs leaves the least int64 as it is, which is 2^63 when taken as unsigned.  Scalars would warn.
        magnitude = np.abs(np.atleast_1d(array)).astype(np.uint64)
        lowest_bit = np.maximum(magnitude & (~magnitude + np.uint64(1)), np.uint64(1))
        rounded = (magnitude // lowest_bit >= np.uint64(2**53)).reshape(array.shape)
        if rounded.any():
            at = tuple(int(i) for i in np.argwhere(rounded)[0])
            entry = f"{name}{list(at)}" if at else name
            raise ValueError(
                f"{name} must hold integers that float64 holds exactly, got {entry} = {array[at]}."
            )
    return array.astype(np.float64)


def integer(name: str, value: Any, least: int) -> int:
    """Return an integer of at least that size, or refuse."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")
    return int(value)


def in_range(name: str, index: Any, count: int) -> int:
    """Return an index from 0 on, or refuse; negative ones count from the end."""
    if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {index!r}.")
    if not -count <= index < count:
        raise IndexError(f"{name} must be in [{-count}, {count}), got {index}.")
    return int(index) % count


def real_number(name: str, value: Any) -> float:
    """Return a finite number that float64 holds exactly, or refuse."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}.")
    if isinstance(value, (int, Fraction)) and number != value:
        raise ValueError(
            f"{name} must be a number that float64 holds exactly, got {value!r}: pass float({name})."
        )
    return number


def open_unit(name: str, value: Any) -> float:
    """Return a number in (0, 1), or refuse what is none."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    # Before it becomes a float, which rounds to 0 or 1 or overflows, and after.
    if not (0 < value < 1 and 0 < float(value) < 1):  # type: ignore[operator]
        raise ValueError(f"{name} must be in (0, 1), got {value!r}.")
    return float(value)


def generator(rng: Any) -> np.random.Generator:
    """Return a source of random numbers, or refuse what is none."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}.")
    return rng


def source(rng: np.random.Generator) -> np.random.Generator:
    """Return a source of its own for a task, so that it does not matter which task comes first."""
    return np.random.default_rng(seed_of(rng))


def seed_of(rng: np.random.Generator) -> NDArray[np.uint32]:
    """Return the seed of such a source."""
    return rng.integers(0, 2**32, 4, dtype=np.uint32)
