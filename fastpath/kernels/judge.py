"""Judge what a kernel returned: every entry within its tolerance, or a sentence on one that is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.certified import Certified
from fastpath.core.cores import worker_count
from fastpath.core.inputs import Array, exact_floats, open_unit
from fastpath.core.norms import TINY
from fastpath.exact.blocks import block_of
from fastpath.exact.prepared import PreparedHead
from fastpath.kernels.formats import FORMATS
from fastpath.kernels.model import RoundingModel
from fastpath.kernels.probable import ScoreTests, alike, probable_bound, rows_of, signatures
from fastpath.kernels.sums import tiles
from fastpath.kernels.tolerance import (
    Task,
    Tolerance,
    exact_of,
    interval,
    prepare,
    tolerance_of,
)

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
    test : str
        What it fails: "FP.kernel" or "FP.kernel_probable", for which it lies outside its interval; "key
        signature", "scale" or "denominator", for which ``value`` is a sum that should be near 0.
    entry : tuple of int
        Its index in the output; of a signature without the column, of a sum over all rows nothing.
    value, lower, upper, centre : float
        What was returned, what may be, and attention.
    excess : float
        How many times as far from attention it lies as it may.
    key : int or None
        The key of which too much or too little was taken explains the row best; None where none does.
    weight : float
        The weight of that key.
    """

    test: str
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
        How many entries there are, and how many refute the model.
    unjudged : int
        How many may be anything, since the arithmetic may overflow on the way.
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
    unjudged: int
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
    failure_probability: float | None = None,
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
    Q, K, V, model, failure_probability, rows, workers, **semantics
        As for :func:`assert_attention`.
    """
    task = prepare(Q, K, V, model, rows=rows, **semantics)
    if failure_probability is not None:
        failure_probability = open_unit("failure_probability", failure_probability)
    got = returned(output, (*task.q.shape[:-1], task.v.shape[-1]))
    count = worker_count(workers)
    exact = exact_of(task, count)
    judgement = _judged(got, task, tolerance_of(task, exact, count), semantics)
    if failure_probability is None or judgement.refuted:
        return judgement
    return _by_chance(judgement, got, task, exact, failure_probability, semantics)


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
    failure_probability : float, optional
        With it, also refuse what a kernel of that model returns with at most this probability, if its
        roundings of weights, logits and outputs are independent and of mean 0: narrower intervals, the
        signature of every key of every row, and sums that a wrong scale or denominator moves.

    Raises
    ------
    AssertionError
        If an entry lies outside its interval: names the entry, how far it is out, the key that explains it
        best, and two lines that repeat it.
    TypeError, ValueError
        As :func:`tolerance`, or if the output is no array of floats.

    Notes
    -----
    Without a failure probability no clean kernel ever fails: the intervals are a theorem's (FP.kernel).  With
    it, 2 n_q n_k^2 multiply-adds a head more, in float64.

    Claims: FP.kernel, FP.kernel_matmul; FP.kernel_probable with a failure probability.

    Examples
    --------
    >>> import numpy as np
    >>> from fastpath import kernels
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 50, 16)).astype(np.float16)
    >>> logits = Q.astype(np.float32) @ K.T.astype(np.float32) / 4
    >>> weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    >>> mine = (weights @ V.astype(np.float32) / weights.sum(axis=1, keepdims=True)).astype(np.float16)
    >>> declared = kernels.RoundingModel(out="float16")
    >>> kernels.assert_attention(mine, Q, K, V, declared, scale=1 / 4)
    >>> mine[7, 3] *= 1.01
    >>> kernels.judge_attention(mine, Q, K, V, declared, scale=1 / 4).refuted
    True
    """
    judgement = judge_attention(
        output, Q, K, V, model, failure_probability, rows=rows, workers=workers, **semantics
    )
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
        ratio = np.where(distance == 0, 0, distance / np.maximum(room, TINY))
    return np.where(np.isfinite(output), ratio, np.inf)


def judged(output: Array, task: Task, semantics: Mapping[str, Any]) -> Judgement:
    """Judge an output of a checked task."""
    exact = exact_of(task, 1)
    return _judged(output, task, tolerance_of(task, exact, 1), semantics)


def _judged(
    output: Array, task: Task, allowed: Tolerance, semantics: Mapping[str, Any]
) -> Judgement:
    bad = outside(output, allowed.lower, allowed.upper)
    ratio = ratios(output, allowed, task.model)
    unknown = np.isinf(allowed.lower) & np.isinf(allowed.upper)
    count = int(np.count_nonzero(bad))
    worst, sentence = None, ""
    if count:
        worst = _worst(output, task, allowed, bad, ratio, "FP.kernel")
        sentence = _sentence(worst, count, output.size, task.model, semantics, None)
    return Judgement(
        model=task.model,
        entries=output.size,
        violations=count,
        unjudged=int(np.count_nonzero(unknown)),
        ratio=float(np.where(unknown, 0, ratio).max()),
        worst=worst,
        sentence=sentence,
        tolerance=allowed,
    )


def _worst(
    output: Array, task: Task, allowed: Tolerance, bad: Any, ratio: Array, claim: str
) -> Violation:
    """Return the violation that is furthest out."""
    flat = int(np.argmax(np.where(bad, ratio, -1)))
    at = tuple(int(i) for i in np.unravel_index(flat, output.shape))
    key, weight = suspect(task, at, output, allowed.centre)
    return Violation(
        test=claim,
        entry=(*at[:-2], int(task.rows[at[-2]]), at[-1]),
        value=float(output[at]),
        lower=float(allowed.lower[at]),
        upper=float(allowed.upper[at]),
        centre=float(allowed.centre[at]),
        excess=float(ratio[at]),
        key=key,
        weight=weight,
    )


def _by_chance(
    judgement: Judgement,
    output: Array,
    task: Task,
    exact: Certified,
    failure_probability: float,
    semantics: Mapping[str, Any],
) -> Judgement:
    """Judge again, by what roundings make of an output but with that probability.

    A half of it is for the entries, a quarter for the keys of rows and one for the sums over all rows.
    """
    allowed, model = judgement.tolerance, task.model
    if not np.isfinite(output).all() or not np.isfinite(allowed.bound).all():
        return judgement
    shape = output.shape
    flat = output.reshape(-1, *shape[-2:])
    bounds = allowed.bound.reshape(flat.shape).copy()
    keys = int(np.prod(task.q.shape[:-1])) * task.k.shape[-2]
    sums = ScoreTests()
    queries = task.q.reshape(-1, task.q.shape[-1])
    like = np.maximum(alike(queries), alike(output.reshape(-1, shape[-1]))).reshape(flat.shape[:2])
    strongest: tuple[float, tuple[int, int, int], float, float] = (0.0, (0, 0, 0), 0.0, 0.0)
    refuted = 0
    for part in rows_of(task, exact):
        place = part.index, slice(part.first, part.first + len(part.p))
        # Of what chance says nothing of, a number that is none.
        bounds[place] = np.fmin(
            bounds[place], probable_bound(part, output.size, failure_probability / 2)
        )
        found = signatures(part, flat[place], model, keys, failure_probability / 4)
        ratio = np.where(part.p > 0, np.abs(found.score) / np.maximum(found.allowed, TINY), 0)
        refuted += int(np.count_nonzero(ratio > 1))
        if ratio.max() > strongest[0]:
            row, key = (int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
            at = part.index, part.first + row, key
            strongest = (
                float(ratio.max()),
                at,
                float(part.p[row, key]),
                float(found.score[row, key]),
            )
        sums.add(part, flat[place], model, like[place])
    lower, upper = interval(exact.output, bounds.reshape(shape), model)
    narrow = replace(
        allowed,
        lower=np.maximum(lower, allowed.lower),
        upper=np.minimum(upper, allowed.upper),
        bound=bounds.reshape(shape),
        claims=(*allowed.claims, "FP.kernel_probable"),
    )
    bad = outside(output, narrow.lower, narrow.upper)
    ratio = ratios(output, narrow, model)
    sums_found = sums.ratios(failure_probability / 4)
    judgement = replace(judgement, tolerance=narrow, ratio=float(ratio.max()))
    if bad.any():
        worst = _worst(output, task, narrow, bad, ratio, "FP.kernel_probable")
        count = int(np.count_nonzero(bad))
        sentence = _sentence(worst, count, output.size, model, semantics, failure_probability)
        return replace(judgement, violations=count, worst=worst, sentence=sentence)
    repeat = _repeated(model, failure_probability, semantics)
    if strongest[0] > 1:
        size, (index, row, key), weight, score = strongest
        head = tuple(int(i) for i in np.unravel_index(index, shape[:-2])) if shape[:-2] else ()
        query = (*head, int(task.rows[row]))
        sentence = (
            f"key {key}, of weight {weight:.3g}, is taken too {'much' if score > 0 else 'little'} by row "
            f"{list(query)}: (v_j - o).(output - o) = {score:.3g} is {size:.3g} times what roundings of "
            f"{model} make of it but with probability {failure_probability:g} (FP.kernel_probable; {refuted} "
            f"keys of rows are). {repeat}"
        )
        worst = Violation(
            test="key signature",
            entry=query,
            value=score,
            lower=-abs(score) / size,
            upper=abs(score) / size,
            centre=0.0,
            excess=size,
            key=key,
            weight=weight,
        )
        return replace(judgement, violations=refuted, worst=worst, sentence=sentence)
    name = max(sums_found, key=lambda test: sums_found[test])
    if sums_found[name] > 1:
        size = sums_found[name]
        sentence = (
            f"the {name} is off: what all rows together are off by along it is {size:.3g} times what "
            f"roundings of {model} make of it but with probability {failure_probability:g} "
            f"(FP.kernel_probable). {repeat}"
        )
        value = getattr(sums, name)
        worst = Violation(
            test=name,
            entry=(),
            value=value,
            lower=-abs(value) / size,
            upper=abs(value) / size,
            centre=0.0,
            excess=size,
            key=None,
            weight=0.0,
        )
        return replace(judgement, violations=1, worst=worst, sentence=sentence)
    return judgement


def _repeated(
    model: RoundingModel, failure_probability: float | None, semantics: Mapping[str, Any]
) -> str:
    return (
        "These two lines repeat it:\n"
        f"    model = {model}\n"
        f"    assert_attention(output, Q, K, V, model, {failure_probability!r}{options_text(semantics)})"
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
    worst: Violation,
    count: int,
    entries: int,
    model: RoundingModel,
    semantics: Mapping[str, Any],
    failure_probability: float | None,
) -> str:
    entry = ", ".join(map(str, worst.entry))
    *heads, row, column = worst.entry
    place = ", ".join(map(str, (*heads, 0, column)))
    who = (
        "no key explains it"
        if worst.key is None
        else f"key {worst.key}, of weight {worst.weight:.3g}, explains it best"
    )
    chance = "" if failure_probability is None else f" but with probability {failure_probability:g}"
    repeat = (
        "These two lines repeat it:\n"
        f"    t = tolerance(Q, K, V, {model}, rows=[{row}]{options_text(semantics)})\n"
        f"    assert t.lower[{place}] <= output[{entry}] <= t.upper[{place}]"
        if failure_probability is None
        else _repeated(model, failure_probability, semantics)
    )
    return (
        f"output[{entry}] = {worst.value!r} lies outside [{worst.lower!r}, {worst.upper!r}], "
        f"{worst.excess:.3g} times as far from attention, {worst.centre!r}, as {model} lets a kernel go"
        f"{chance} ({worst.test}; {count} of {entries} entries do): {who}. {repeat}"
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
