r"""Boolean matrix products by dynamic attention: the reduction behind P1's lower bound, as a program.

The hinted-Mv problem: first Boolean n x n matrices M and V come, then a sparse P, then a column i is
asked for; answer column i of the Boolean product MPV.  Whoever maintains attention fast solves it
fast.  With queries M and keys :math:`cP^\top` the logits are :math:`c (MP)_{jk}`, so that

.. math:: a_j = \sum_k e^{c (MP)_{jk}} V_{ki} \quad\text{exceeds}\quad \sum_k V_{ki}

by nothing where :math:`(MPV)_{ji} = 0`, and by at least :math:`e^c - 1` where it is 1.  One more token, with
query and key 0 and one column of V to itself, returns the reciprocal of the denominator.  In exact
arithmetic any c > 0 decides; in floating point c must be neither too small to be seen nor so large
that one weight hides the others (P1.reduction).

It stands beside what it calls, not among the proofs, since it is a program on the public interface
that needs the bounds which that interface certifies.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.dynamic import reduction_error
from fastpath.core.directed import UNIT_ROUNDOFF, library_down, up
from fastpath.core.inputs import in_range, plain_array
from fastpath.core.locked import Locked
from fastpath.dynamic import DynamicAttention

__all__ = ["HintedMv", "safe_steps"]

#: Beyond it e^c is no float64.
_LARGEST_STEP = 700.0

Boolean = NDArray[np.bool_]


@standard_arithmetic
class HintedMv(Locked):
    """Answer columns of the Boolean product MPV by updates and reads of one DynamicAttention.

    Parameters
    ----------
    M, V : array_like of bool, shape (n, n)
        The matrices of phase 1.
    mode : {"auto", "cached", "dirty", "kept"}
        That of the attention.

    Raises
    ------
    TypeError, ValueError
        If a matrix is not Boolean, or not square of the same size.

    Notes
    -----
    Cost: n^2 numbers; one update of a key's entry for every one of P; 2n entry reads a column.
    A call that raises leaves everything as it was; threads and copies as in DynamicAttention.

    Claims: P1.reduction, FP.dynamic.
    """

    def __init__(
        self,
        M: ArrayLike,
        V: ArrayLike,
        *,
        mode: Literal["auto", "cached", "dirty", "kept"] = "auto",
    ) -> None:
        super().__init__()
        m = _boolean("M", M)
        self._n = n = len(m)
        v = _boolean("V", V, n)
        queries = np.vstack([m, np.zeros((1, n))])
        values = np.zeros((n + 1, n + 1))
        values[:n, :n] = v
        values[n, n] = 1
        self._ones_of_v = v.sum(axis=0)
        self._attention = DynamicAttention(queries, np.zeros((n + 1, n)), values, mode=mode)
        self._hint: list[tuple[int, int]] = []
        self._step = 1.0

    def hint(self, P: ArrayLike, *, step: float | None = None) -> None:
        """Take P in, in place of an earlier one: phase 2.

        ``step`` is c; by default 1 over the number of ones, so that no weight exceeds e.

        Raises
        ------
        TypeError, ValueError
            If P is no Boolean n x n matrix, or the step is not in (0, 700]: beyond, e^c is no float64.
        """
        p = _boolean("P", P, self._n)
        entries = [(int(k), int(row)) for row, k in zip(*np.nonzero(p), strict=True)]
        chosen = 1 / max(1, len(entries)) if step is None else _step(step)
        with self._lock:
            for k, row in self._hint:
                self._attention.update_key(k, row, -self._step)
            for k, row in entries:
                self._attention.update_key(k, row, chosen)
            self._hint, self._step = entries, chosen

    def signals(self, i: int) -> NDArray[np.float64]:
        """Return by how much a_j was found to exceed the number of ones in column i of V."""
        column = in_range("i", i, self._n)
        with self._lock:
            read = self._attention.query
            found = [read(j, column) / read(j, self._n) for j in range(self._n)]
        signals: NDArray[np.float64] = np.array(found) - self._ones_of_v[column]
        return signals

    def column(self, i: int) -> Boolean:
        """Return column i of MPV: phase 3.

        Raises
        ------
        IndexError, TypeError
            If i is no column of V.
        ArithmeticError
            If the certified error of the reads does not let c decide.
        """
        column = in_range("i", i, self._n)
        with self._lock:
            read_error = max(self._attention.error_bound(j) for j in range(self._n))
            if not _decides(self._n, len(self._hint), self._step, read_error):
                low, high = safe_steps(self._n, len(self._hint), read_error)
                raise ArithmeticError(
                    f"step must be in [{low:.3g}, {high:.3g}] for reads that err by {read_error:.3g}, "
                    f"got {self._step:.3g}."
                )
            return self.signals(column) > math.expm1(self._step) / 2


@standard_arithmetic
def safe_steps(n: int, ones: int, read_error: float) -> tuple[float, float]:
    """Return a range of c in which every column is decided, empty (low > high) where there is none.

    ``ones`` is the number of ones of P, and ``read_error`` bounds the error of a read entry.  The range
    is found by bisection from c = 1 / ones, where the condition is nearest to its best.
    """
    middle = 1 / max(1, ones)
    if not _decides(n, ones, middle, read_error):
        return math.inf, 0.0
    return (
        _last_safe(n, ones, read_error, middle, 2.0**-1000),
        _last_safe(n, ones, read_error, middle, 2 * _LARGEST_STEP),
    )


def _last_safe(n: int, ones: int, read_error: float, safe: float, unsafe: float) -> float:
    """Return the last c between a safe and an unsafe one that still decides, to 1 in 2^20."""
    while abs(safe - unsafe) > safe * 2.0**-20:
        between = math.sqrt(safe) * math.sqrt(unsafe)
        if _decides(n, ones, between, read_error):
            safe = between
        else:
            unsafe = between
    return safe


def _decides(n: int, ones: int, step: float, read_error: float) -> bool:
    """Whether the error of a signal is less than half of what tells 0 from 1 (P1.reduction)."""
    if step > _LARGEST_STEP:
        return False
    error = reduction_error(n, step, ones, read_error, UNIT_ROUNDOFF)
    return bool(up(2 * error) < library_down(math.expm1(step)))


def _step(step: Any) -> float:
    if isinstance(step, bool) or not isinstance(step, (int, float, np.integer, np.floating)):
        raise TypeError(f"step must be a number, got {step!r}.")
    if not 0 < step <= _LARGEST_STEP or float(step) == 0:
        raise ValueError(f"step must be positive and at most {_LARGEST_STEP:g}, got {step}.")
    return float(step)


def _boolean(name: str, x: ArrayLike, n: int | None = None) -> Boolean:
    matrix = plain_array(name, x)
    if matrix.dtype != np.bool_:
        raise TypeError(f"{name} must hold booleans, got {matrix.dtype}.")
    if matrix.ndim != 2 or matrix.size == 0 or matrix.shape != (n or len(matrix),) * 2:
        size = "square" if n is None else f"{n} x {n}"
        raise ValueError(f"{name} must be {size} and not empty, got shape {matrix.shape}.")
    return matrix
