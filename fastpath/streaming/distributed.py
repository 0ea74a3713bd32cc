"""Polynomial attention over a Dask cluster: moments of each partition, their sum, and queries mapped.

Needs the extra ``attest-attention[dask]``.  All that moves between workers are moments, whose size does not
depend on the number of keys; a partition that was lost with its worker is computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.certified import Certified
from fastpath.core.inputs import exact_floats
from fastpath.polynomial.moment_state import MomentState

try:
    import dask
    import dask.array as da
except ImportError as problem:
    raise ImportError(
        "fastpath.distributed needs dask: pip install 'attest-attention[dask]'."
    ) from problem

#: How many sums of moments a task adds up.
FAN_IN = 8


def moment_state(K: Any, V: Any, degree: int, *, centre: ArrayLike | None = None) -> MomentState:
    """Sum the moments of keys and values over all partitions, on the default Dask scheduler.

    Parameters
    ----------
    K : dask array, shape (n, d), or sequence of delayed or plain arrays
        Keys, partitioned by rows; a sequence holds a partition each.
    V : dask array, shape (n, d_v), or sequence of delayed or plain arrays
        Values, partitioned as K.
    degree : int
        The highest power of a logit; ``fastpath.streaming.attention.sufficient_degree`` says which one a
        tolerance needs.
    centre : array_like, shape (d,), optional
        As for :class:`MomentState`.

    Returns
    -------
    MomentState
        On the caller's machine, as if it had absorbed all partitions itself, but for the order of the
        sums; certificates include the roundings of the order taken.

    Raises
    ------
    TypeError, ValueError
        If partitions do not match, or as :class:`MomentState` and its ``update``.

    Notes
    -----
    Cost: as one machine, divided among the workers, and log_8 of the number of partitions sums of moments
    one after the other.

    Claims: P2.onepass, P2.poly, FP.moments.
    """
    keys, values = _partitions("K", K), _partitions("V", V)
    if len(keys) != len(values):
        raise ValueError(
            f"K and V must have the same number of partitions, got {len(keys)} and {len(values)}."
        )
    if not keys:
        raise ValueError("K must have a partition, got none.")
    absorbed, merged = dask.delayed(_absorbed), dask.delayed(_merged)
    states = [absorbed(k, v, degree, centre) for k, v in zip(keys, values, strict=True)]
    while len(states) > 1:
        states = [merged(states[i : i + FAN_IN]) for i in range(0, len(states), FAN_IN)]
    state: MomentState = states[0].compute()
    return state


def attend(state: MomentState, Q: Any, *, tolerance: float | None = None) -> Certified:
    """Answer each partition of queries, lazily, as :meth:`MomentState.query` does.

    Parameters
    ----------
    state : MomentState
        As :func:`moment_state` returns.
    Q : dask array, shape (n, d)
        Queries, partitioned by rows.
    tolerance : float, optional
        As for :meth:`MomentState.query`; a partition that exceeds it fails.

    Returns
    -------
    Certified
        ``output`` and ``error_bound`` are dask arrays of shape (n, d_v).

    Raises
    ------
    TypeError, ValueError
        If Q is no dask array, empty or partitioned by columns.  The errors of :meth:`MomentState.query` come
        when the result is computed.
    """
    if not isinstance(Q, da.Array):
        raise TypeError(f"Q must be a dask array, got {type(Q).__name__}.")
    probe = state.query(np.zeros((1, state.d), Q.dtype))
    query = dask.delayed(_queried)
    sent = dask.delayed(state, traverse=False)
    blocks = [
        (query(sent, q, tolerance), (rows, state.d_v))
        for q, rows in zip(_partitions("Q", Q), Q.chunks[0], strict=True)
        if rows
    ]
    if not blocks:
        raise ValueError(f"Q must not be empty, got shape {Q.shape}.")
    output, error_bound = (
        da.concatenate(
            [da.from_delayed(getattr(block, name), shape, dtype) for block, shape in blocks]
        )
        for name, dtype in (("output", probe.output.dtype), ("error_bound", np.float64))
    )
    return Certified(output=output, error_bound=error_bound, claims=probe.claims)


def _partitions(name: str, x: Any) -> list[Any]:
    """Return the partitions of a dask array by rows, or of a sequence."""
    if isinstance(x, da.Array):
        if x.ndim != 2 or len(x.chunks[1]) != 1:
            raise ValueError(
                f"{name} must be a matrix partitioned by rows only, got chunks {x.chunks}."
            )
        return list(x.to_delayed().ravel())
    if isinstance(x, Sequence) and not isinstance(x, (str, bytes)):
        return list(x)
    raise TypeError(
        f"{name} must be a dask array or a sequence of delayed or plain arrays, got "
        f"{type(x).__name__}."
    )


def _absorbed(K: Any, V: Any, degree: int, centre: ArrayLike | None) -> MomentState:
    keys, values = exact_floats("K", K), exact_floats("V", V)
    for name, x in (("K", keys), ("V", values)):
        if x.ndim != 2:
            raise ValueError(f"{name} must have matrices as partitions, got shape {x.shape}.")
    state = MomentState(keys.shape[1], values.shape[1], degree, centre=centre)
    if keys.size or values.size:  # a dask array may have partitions without rows
        state.update(keys, values)
    return state


def _merged(states: list[MomentState]) -> MomentState:
    # A task may run again, and must find its arguments as they were.
    total = copy(states[0])
    for state in states[1:]:
        total.merge(state)
    return total


def _queried(state: MomentState, Q: Any, tolerance: float | None) -> Certified:
    return state.query(Q, tolerance=tolerance)
