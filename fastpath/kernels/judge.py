"""Judge what a kernel returned: every entry within its tolerance, or a sentence on one that is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.cores import worker_count
from fastpath.core.inputs import Array, exact_floats
from fastpath.exact.blocks import block_of
from fastpath.exact.prepared import PreparedHead
from fastpath.kernels.formats import FORMATS
from fastpath.kernels.model import RoundingModel
from fastpath.kernels.sums import tiles
from fastpath.kernels.tolerance import Task, Tolerance, prepare, tolerance_of

#: The options of attention that a sentence repeats, with what they are by default.
OPTIONS: dict[str, Any] = {
    "scale": 1.0,
    "causal": False,
    "window": None,
    "mask": None,
    "bias": None,
    "softcap": None,
    "sinks": None,
    "empty_rows": "refuse",
}


@dataclass(frozen=True, kw_only=True)
class Violation:
    """An entry that refutes a model.

    Attributes
    ----------
    entry : tuple of int
        Its index in the output.
    value, lower, upper, centre : float
        What was returned, what may be, and attention.
    excess : float
        How many times as far from attention it lies as it may.
    key : int or None
        The key of which too much or too little was taken explains the row best; None where none does.
    weight : float
        The weight of that key.
    """

    entry: tuple[int, ...]
    value: float
    lower: float
    upper: float
    centre: float
    excess: float
    key: int | None
    weight: float


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was found about an output under a rounding model.

    Attributes
    ----------
    model : RoundingModel
    entries, violations : int
        How many entries were judged, and how many refute the model.
    ratio : float
        The largest distance from attention, over what is allowed there.
    worst : Violation or None
        The entry of that distance, where it refutes the model.
    sentence : str
        What is wrong, with two lines that repeat it; empty where nothing is.
    tolerance : Tolerance
    """

    model: RoundingModel
    entries: int
    violations: int
    ratio: float
    worst: Violation | None
    sentence: str
    tolerance: Tolerance

    @property
    def refuted(self) -> bool:
        """Whether the output proves that the kernel is not of the model's arithmetic."""
        return bool(self.sentence)


@standard_arithmetic
def judge_attention(
    output: ArrayLike,
    Q: ArrayLike,
    K: ArrayLike,
    V: ArrayLike,
    model: RoundingModel,
    *,
    rows: ArrayLike | None = None,
    workers: int | None = None,
    **semantics: Any,
) -> Judgement:
    """Judge an attention kernel's output, as :func:`assert_attention` does, and say what was found.

    Parameters
    ----------
    output : array_like, shape (..., h_q, n_q, d_v)
        What the kernel returned; of the rows that are asked for, where ``rows`` is given.
    Q, K, V, model, rows, workers, **semantics
        As for :func:`tolerance`.
    """
    task = prepare(Q, K, V, model, rows=rows, **semantics)
    got = returned(output, (*task.q.shape[:-1], task.v.shape[-1]))
    allowed = tolerance_of(task, worker_count(workers))
    return _judged(got, task, allowed, semantics)


def assert_attention(
    output: ArrayLike,
    Q: ArrayLike,
    K: ArrayLike,
    V: ArrayLike,
    model: RoundingModel,
    failure_probability: float | None = None,
    *,
    rows: ArrayLike | None = None,
    workers: int | None = None,
    **semantics: Any,
) -> None:
    """Refuse an attention kernel's output that proves it is not of the arithmetic of a rounding model.

    Parameters
    ----------
    output : array_like, shape (..., h_q, n_q, d_v)
        What the kernel returned.
    Q, K, V, model, rows, workers, **semantics
        As for :func:`tolerance`.

    Raises
    ------
    AssertionError
        If an entry lies outside its interval: names the entry, how far it is out, the key that explains it
        best, and two lines that repeat it.
    TypeError, ValueError
        As :func:`tolerance`, or if the output is no array of floats.

    Notes
    -----
    Without a failure probability no clean kernel ever fails: the intervals are a theorem's (FP.kernel).
    """
    judgement = judge_attention(output, Q, K, V, model, rows=rows, workers=workers, **semantics)
    if judgement.refuted:
        raise AssertionError(judgement.sentence)


def returned(output: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return what a kernel returned in float64, or refuse another shape."""
    array = exact_floats("output", output)
    if array.shape != shape:
        raise AssertionError(f"output must have shape {shape}, got {array.shape}.")
    return array.astype(np.float64)


def outside(output: Array, lower: Array, upper: Array) -> Any:
    """Return which entries lie outside their interval; nothing is known of one that is infinite both ways."""
    known = np.isfinite(lower) | np.isfinite(upper)
    return known & ~((output >= lower) & (output <= upper) | _overflowed(output, lower, upper))


def _overflowed(output: Array, lower: Array, upper: Array) -> Any:
    """Return which entries are NaN where the output's format may overflow: one without infinities does so."""
    return np.isnan(output) & (np.isinf(lower) | np.isinf(upper))


def ratios(output: Array, allowed: Tolerance, model: RoundingModel) -> Array:
    """Return the distances from attention over what is allowed there; infinite of what is not finite.

    Allowed is the bound and half a step of the format: what lies outside the interval is further off.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        distance = np.abs(output - allowed.centre)
        room = allowed.bound + FORMATS[model.out].half_gap(allowed.centre)
        ratio = np.where(distance == 0, 0, distance / np.maximum(room, np.finfo(float).tiny))
    return np.where(np.isfinite(output), ratio, np.inf)


def _judged(
    output: Array, task: Task, allowed: Tolerance, semantics: Mapping[str, Any]
) -> Judgement:
    bad = outside(output, allowed.lower, allowed.upper)
    ratio = ratios(output, allowed, task.model)
    unknown = np.isinf(allowed.lower) & np.isinf(allowed.upper)
    count = int(np.count_nonzero(bad))
    worst, sentence = None, ""
    if count:
        flat = int(np.argmax(np.where(bad, ratio, -1)))
        at = tuple(int(i) for i in np.unravel_index(flat, output.shape))
        key, weight = suspect(task, at, output, allowed.centre)
        row = int(task.rows[at[-2]])
        worst = Violation(
            entry=(*at[:-2], row, at[-1]),
            value=float(output[at]),
            lower=float(allowed.lower[at]),
            upper=float(allowed.upper[at]),
            centre=float(allowed.centre[at]),
            excess=float(ratio[at]),
            key=key,
            weight=weight,
        )
        sentence = _sentence(worst, count, output.size, task.model, semantics)
    settled = np.where(unknown, 0, ratio)
    return Judgement(
        model=task.model,
        entries=output.size,
        violations=count,
        ratio=float(settled.max()),
        worst=worst,
        sentence=sentence,
        tolerance=allowed,
    )


def suspect(
    task: Task, at: tuple[int, ...], output: Array, centre: Array
) -> tuple[int | None, float]:
    """Return the key that explains a row best, and its weight.

    A key of which too much or too little is taken moves the row along v_j - o.
    """
    index = int(np.ravel_multi_index(at[:-2], task.q.shape[:-2])) if at[:-2] else 0
    weights = row_weights(task, index, at[-2])
    values = task.v.reshape(-1, *task.v.shape[-2:])[index // task.group]
    o, off = centre[at[:-1]], output[at[:-1]] - centre[at[:-1]]
    if not np.isfinite(off).all():
        return None, 0.0
    towards = values - o
    length = np.linalg.norm(towards, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where((weights > 0) & (length > 0), np.abs(towards @ off) / length, -1)
    key = int(np.argmax(score))
    return (key, float(weights[key])) if score[key] > 0 else (None, 0.0)


def row_weights(task: Task, index: int, place: int) -> Array:
    """Return the weights of one query of one head, in float64."""
    queries, keys, values = (x.reshape(-1, *x.shape[-2:]) for x in (task.q, task.k, task.v))
    q = queries[index, place : place + 1]
    side = PreparedHead(keys[index // task.group], values[index // task.group])
    block = block_of(q, side, task.options, index, task.rows[place : place + 1])
    scores = np.full(len(side.k), -np.inf)
    for tile in tiles(block, sizes=False):
        hidden = False if tile.hidden is None else tile.hidden[0]
        scores[tile.keys] = np.where(hidden, -np.inf, tile.score[0])
    largest = scores.max()
    if np.isneginf(largest):
        return np.zeros(len(scores))
    sink = -np.inf if block.sink is None else block.sink
    largest = max(largest, sink)
    weights = np.exp(scores - largest)
    normalised: Array = weights / (weights.sum() + np.exp(sink - largest))
    return normalised


def _sentence(
    worst: Violation, count: int, entries: int, model: RoundingModel, semantics: Mapping[str, Any]
) -> str:
    entry = ", ".join(map(str, worst.entry))
    *heads, row, column = worst.entry
    place = ", ".join(map(str, (*heads, 0, column)))
    who = (
        "no key explains it"
        if worst.key is None
        else f"key {worst.key}, of weight {worst.weight:.3g}, explains it best"
    )
    return (
        f"output[{entry}] = {worst.value!r} lies outside [{worst.lower!r}, {worst.upper!r}], "
        f"{worst.excess:.3g} times as far from attention, {worst.centre!r}, as {model} lets a kernel go "
        f"(FP.kernel; {count} of {entries} entries do): {who}. These two lines repeat it:\n"
        f"    t = tolerance(Q, K, V, {model}, rows=[{row}]{options_text(semantics)})\n"
        f"    assert t.lower[{place}] <= output[{entry}] <= t.upper[{place}]"
    )


def options_text(semantics: Mapping[str, Any]) -> str:
    """Return the options of a call as they are typed; arrays by the names of their arguments."""
    parts = []
    for name, default in OPTIONS.items():
        value = semantics.get(name, default)
        if isinstance(value, (str, bool, int, float, tuple, type(None))):
            if value != default or type(value) is not type(default):
                parts.append(f", {name}={value!r}")
        else:
            parts.append(f", {name}={name}")
    return "".join(parts)
