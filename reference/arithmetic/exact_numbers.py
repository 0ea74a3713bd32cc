"""Every finite float is a rational number: arrays of numbers as numerators and denominators."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ObjectArray", "as_objects", "entries", "entrywise", "ratios"]

ObjectArray = NDArray[np.object_]

FLOATS = (np.float16, np.float32, np.float64)

#: Types that numpy has from ml_dtypes, by their names: float64 holds all of their numbers.
NARROW_FLOATS = (
    "bfloat16",
    "float8_e4m3",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
)


def ratios(x: Any, name: str) -> tuple[ObjectArray, ObjectArray]:
    """Return the entries of ``x``, exactly, as numerators over positive denominators.

    Parameters
    ----------
    x : array_like, any shape
        float16, float32, float64, bfloat16, float8, integers, or Python ints, floats and Fractions.
    name : str
        What the error messages call ``x``.

    Returns
    -------
    numerators, denominators : object arrays of int, the shape of ``x``
        In lowest terms.

    Raises
    ------
    TypeError
        If an entry is of another type, or ``x`` a masked array or another subclass.
    ValueError
        If an entry is NaN or infinite.

    Notes
    -----
    Cost: half a microsecond an entry.
    """
    array = _plain(x, name)
    if array.dtype.name in NARROW_FLOATS:
        array = array.astype(np.float64)
    if array.dtype.kind not in "iuO" and array.dtype.type not in FLOATS:
        raise TypeError(
            f"{name} must hold floats of at most 64 bits, integers or Fractions, "
            f"got dtype {array.dtype}."
        )
    fractions = []
    for entry in entries(array):
        if isinstance(entry, np.generic):  # in an array of objects
            entry = entry.item()
        if type(entry) not in (int, float, Fraction):
            raise TypeError(
                f"{name} must hold floats, integers or Fractions, "
                f"got an entry of type {type(entry).__name__}."
            )
        if isinstance(entry, float) and not np.isfinite(entry):
            raise ValueError(f"{name} must be finite, got an entry {entry}.")
        fractions.append(entry.as_integer_ratio())
    numerators = np.empty(array.shape, dtype=object)
    denominators = np.empty(array.shape, dtype=object)
    numerators.ravel()[:] = [numerator for numerator, _ in fractions]
    denominators.ravel()[:] = [denominator for _, denominator in fractions]
    return numerators, denominators


def _plain(x: Any, name: str) -> NDArray[Any]:
    """Return x as an array that means no more than its entries, or refuse; nothing is rounded.

    numpy makes floats of integers beside floats, and unmasked arrays of masked ones.
    """
    if isinstance(x, (list, tuple)):
        items = [_plain(item, name).tolist() if _nested(item) else item for item in x]
        return np.array(items, dtype=object)
    array = np.asanyarray(x)
    if type(array) not in (np.ndarray, np.memmap, np.matrix):
        raise TypeError(
            f"{name} must be a plain array, got {type(array).__name__}, of which only the bare entries would "
            "be seen."
        )
    return np.asarray(array)


def _nested(item: Any) -> bool:
    return isinstance(item, (list, tuple, np.ndarray)) or hasattr(item, "__array__")


def as_objects(x: Any) -> ObjectArray:
    """Return ``x`` as an object array; numpy makes bare numbers of operations on 0-d arrays."""
    return np.asarray(x, dtype=object)


def entries(x: Any) -> list[Any]:
    """Return the entries of an array in C order, numpy's numbers as Python's, exactly."""
    return np.asarray(x).ravel().tolist()


def entrywise(function: Callable[[Any], Any], array: ObjectArray) -> ObjectArray:
    """Return the object array of the function's values."""
    result = np.empty(array.shape, dtype=object)
    result.ravel()[:] = [function(entry) for entry in entries(array)]
    return result
