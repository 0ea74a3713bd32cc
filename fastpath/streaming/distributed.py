"""Polynomial attention over a Dask cluster: moments of each partition, their sum, and queries mapped.

Needs the extra ``attest-attention[dask]``.  All that moves between workers are moments, whose size does not
depend on the number of keys; a partition that was lost with its worker is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    from dask.sizeof import sizeof
except ImportError as problem:
    raise ImportError(
        "fastpath.distributed needs dask: pip install 'attest-attention[dask]'."
    ) from problem

#: How many parts a task puts together.
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
    absorbed = dask.delayed(_absorbed)
    return merged_states([absorbed(k, v, degree, centre) for k, v in key_partitions(K, V)])


def merged_states(states: Sequence[Any]) -> MomentState:
    """Sum moments that tasks of the caller's own have absorbed, where keys are made or read.

    Parameters
    ----------
    states : sequence of delayed MomentState
        At least one, which :meth:`MomentState.merge` takes; what a task has returned is left as it was.

    Returns
    -------
    MomentState
        On the caller's machine.

    Raises
    ------
    TypeError, ValueError
        If there is none, or as :meth:`MomentState.merge`.

    Notes
    -----
    A worker holds the states that one task sums, at most 8 and their sum, whatever the number of keys.

    Claims: P2.onepass, FP.moments.
    """
    if not states:
        raise ValueError("states must have a state, got none.")
    state: MomentState = tree(_merged, states).compute()
    return state


def tree(function: Callable[[list[Any]], Any], parts: Sequence[Any]) -> Any:
    """Return, delayed, what a function makes of parts, 8 at a time, and of what it made of those."""
    together, left = dask.delayed(function), list(parts)
    while len(left) > 1:
        left = [together(left[i : i + FAN_IN]) for i in range(0, len(left), FAN_IN)]
    return left[0]


def key_partitions(K: Any, V: Any) -> list[tuple[Any, Any]]:
    """Return the partitions of keys by rows, each with its values, or refuse them."""
    keys, values = row_partitions("K", K), row_partitions("V", V)
    if len(keys) != len(values):
        raise ValueError(
            f"K and V must have the same number of partitions, got {len(keys)} and {len(values)}."
        )
    if not keys:
        raise ValueError("K must have a partition, got none.")
    return list(zip(keys, values, strict=True))


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
        for q, rows in zip(row_partitions("Q", Q), Q.chunks[0], strict=True)
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


def row_partitions(name: str, x: Any) -> list[Any]:
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


def _size_of_state(state: MomentState) -> int:
    return state.nbytes


# Dask places tasks by what it would cost to move results, and frees memory by their sizes.
sizeof.register(MomentState, _size_of_state)


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
