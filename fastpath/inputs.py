"""What the fast path accepts: one place where array arguments are checked and never changed."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[Any]


def attention_inputs(
    Q: ArrayLike, K: ArrayLike, V: ArrayLike, *, causal: bool
) -> tuple[Matrix, Matrix, Matrix]:
    """Return Q, K, V as matrices of one floating-point type whose shapes fit, or refuse.

    Raises
    ------
    TypeError
        If an entry type is neither float32, float64 nor an integer, or ``causal`` is no bool.
    ValueError
        If a shape does not fit, an array is empty or an entry is not finite.
    """
    if not isinstance(causal, (bool, np.bool_)):
        raise TypeError(f"causal must be True or False, got {causal!r}.")
    q, k, v = (matrix(name, x) for name, x in (("Q", Q), ("K", K), ("V", V)))
    if q.shape[1] != k.shape[1]:
        raise ValueError(
            f"Q and K must have the same number of columns, got {q.shape[1]} and {k.shape[1]}."
        )
    if len(k) != len(v):
        raise ValueError(f"K and V must have the same number of rows, got {len(k)} and {len(v)}.")
    if causal and len(q) != len(k):
        raise ValueError(
            f"causal=True needs as many queries as keys, got {len(q)} rows of Q and {len(k)} of K."
        )
    dtype = np.result_type(q, k, v)
    return tuple(x.astype(dtype, copy=False) for x in (q, k, v))  # type: ignore[return-value]


def matrix(name: str, x: ArrayLike) -> Matrix:
    """Return x as a matrix of floats, or refuse as :func:`attention_inputs` does."""
    array = np.asarray(x)
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"{name} must hold float32, float64 or integers, got {array.dtype}.")
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


def integer(name: str, value: Any, least: int) -> int:
    """Return an integer of at least that size, or refuse."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")
    return int(value)


def open_unit(name: str, value: Any) -> float:
    """Return a number in (0, 1), or refuse what is none."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not 0 < float(value) < 1:
        raise ValueError(f"{name} must be in (0, 1), got {value!r}.")
    return float(value)


def generator(rng: Any) -> np.random.Generator:
    """Return a source of random numbers, or refuse what is none."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}.")
    return rng
