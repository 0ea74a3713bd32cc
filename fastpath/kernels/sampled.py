"""Judge sampled queries of all heads of a call at once: a pass over keys and values that leaves sums only.

It leaves the output and the sums of the tolerance of every query, and how long the queries and keys of a
head are at most; nothing refers to Q, K or V after it.  What bounds make of these is computed later, of many
calls together: there are few heads, and the formulas are long.

Where :mod:`fastpath.kernels.tolerance` bounds a query by its own length, the longest of its head stands for
all here; where outputs are of fewer than 24 bits their centre is computed in float32, an arithmetic that
FP.kernel bounds too.  Intervals are that much wider: heads that come near their edges are not judged here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.kernels import kernel_deviation, kernel_factor, kernel_output
from fastpath.core.bounds.softmax import (
    ARITHMETIC,
    positive_sum,
    rounding_weight,
    weights_underflow,
)
from fastpath.core.cores import run
from fastpath.core.directed import UNIT_ROUNDOFF, library_down, library_up, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.semantics import Semantics
from fastpath.exact.blocks import scores_of
from fastpath.kernels.exponents import OWN_ROUNDINGS, Exponents
from fastpath.kernels.formats import FORMATS
from fastpath.kernels.model import RoundingModel
from fastpath.kernels.sums import SMALL
from fastpath.kernels.tolerance import (
    COARSE,
    absolute_loss,
    interval,
    may_overflow,
    sum_errors,
)

#: Keys that are added up in one product, and scores that are held at once: these stay in cache.
KEY_BLOCK, HELD = 256, 2**17

#: Scores of a head that are held at most; of more keys and queries this is not the way.
MOST_HELD = 2**24

#: With fewer scores one thread makes them.
SEVERAL = 2**20

#: Scores of no more than that need no shift in single precision.
UNSHIFTED = 40.0

#: Where the lengths of queries and keys, their product, and the largest value lie between these, nothing is
#: near the ends of float32.
MODERATE = 2.0**-20, 2.0**20

#: How near an output may come to the edge of what is allowed, and the head still be judged here.
NEAR = 0.9

#: More roundings than what is made of an entry in single precision passes through; raised by twice as many.
ENTRY_ROUNDINGS = 24
RAISED = 1 + 2 * ENTRY_ROUNDINGS * 2.0**-24

Singles = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What a pass leaves of the sampled queries of the heads of one call; arrays begin with (heads, queries).

    Attributes
    ----------
    model, scale, keys, dimension
    precise : bool
        Whether the centre was computed in float64.
    shifted : bool
        Whether the largest score of a row was subtracted.
    centre : array, shape (heads, queries, d_v)
        Attention.
    distance : float32 array of that shape
        How far the output lies from it, rounded upward.
    sizes, squares : float32 arrays of that shape
        Sums of p |v| and p v^2.
    errors : pair of float32 arrays, shape (heads, queries, 1), or None
        Sums of p a and p a^2, with a what differs from key to key of theta; None where one bound a head does.
    logarithm : float64 array, shape (heads, queries, 1)
        Of the sum of weights relative to the shift.
    shift : float64 array of that shape
    heaviest : float64 array of that shape, or None
        The largest weights, where underflow is counted by them.
    total : float64 array, shape (heads, 1, d_v), or None
        Sums of |v|, likewise.
    query, key, value : float64 arrays, shape (heads,)
        Bounds on the lengths of queries and of keys, and on the entries of values.
    """

    model: RoundingModel
    scale: float
    keys: int
    dimension: int
    precise: bool
    shifted: bool
    centre: Matrix
    distance: Singles
    sizes: Singles
    squares: Singles
    errors: tuple[Singles, Singles] | None
    logarithm: Array
    shift: Array
    heaviest: Array | None
    total: Array | None
    query: Array
    key: Array
    value: Array

    @property
    def signature(self) -> tuple[Any, ...]:
        """What calls have in common whose heads are looked at together."""
        return (
            self.model,
            self.scale,
            self.keys,
            self.dimension,
            self.precise,
            self.shifted,
            self.errors is None,
        )

    @property
    def nbytes(self) -> int:
        """What is held, about."""
        return self.centre.nbytes + 3 * self.sizes.nbytes


class Scratch(threading.local):
    """Memory that passes use again: what is fresh costs as much in page faults as much of a pass does.

    Every thread has its own.
    """

    def __init__(self) -> None:
        self._held: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Matrix:
        """Return an array of anything, which is the next of that name too."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = np.empty(size, np.uint8)
        found: Matrix = held[:size].view(dtype).reshape(shape)
        return found


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is allowed of each head of a call, and how far its output goes; arrays of shape (heads,).

    ``row`` and ``column`` are of the entry of the largest ratio; so are ``bound``, ``lower`` and ``upper``.
    """

    error: Array
    ratio: Array
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    bound: Array
    lower: Array
    upper: Array


@standard_arithmetic
def sampled_sums(
    output: Matrix,
    q: Matrix,
    k: Matrix,
    v: Matrix,
    model: RoundingModel,
    scale: float,
    hidden: NDArray[np.bool_] | None,
    workers: int,
    scratch: Scratch,
) -> tuple[Sums, NDArray[np.bool_]] | None:
    """Pass over the keys of all heads once, or return None where that is not the way.

    Parameters
    ----------
    output : float32 array, shape (heads, queries, d_v)
        What a kernel returned.
    q, k, v : float32 arrays, shapes (heads, queries, d), (key heads, keys, d), (key heads, keys, d_v)
    model, scale
        As for :func:`fastpath.kernels.tolerance`.
    hidden : array of bool, shape (1 or heads, queries, keys), or None
        Keys that a query does not see.
    workers : int
        Threads, where there is enough to do for several; no bit of the result depends on it.
    scratch : Scratch

    Returns
    -------
    sums : Sums
    near : array of bool, shape (heads,)
        The heads of which an entry is near the edge of what is allowed, or beyond: they are to be judged by
        :func:`fastpath.kernels.judge_attention`.
    """
    heads, rows, d = q.shape
    groups, n, d_v = v.shape
    if not _served(model, n, d, rows):
        return None
    lengths = [np.sqrt(np.einsum("hij,hij->hi", x, x).max(axis=1)) for x in (q, k)]
    sizes = np.abs(v, out=scratch.array("sizes", v.shape, np.float32))
    largest_value = sizes.reshape(groups, -1).max(axis=1)
    query, key, value = (_lengths_above(x, d) for x in (*lengths, largest_value))
    group = heads // groups
    most = _largest(query, key, value, scale)
    if most is None:
        return None
    constants = _constants(model, n, d, scale)
    estimate = 1.125 * (
        constants.base + constants.product * most + constants.fall * (2 * most + math.log(n + 1))
    )
    if estimate > SMALL:
        return None
    precise = FORMATS[model.out].precision >= 24
    # Where what differs from key to key is far less than the rounding of the weights, one bound will do.
    alike = estimate - constants.base <= constants.coarse
    # What a score takes from theta is less than half of what it gives: no difference of these is negative.
    apart = alike or constants.product >= 2 * constants.fall
    shifted = most > UNSHIFTED or constants.by_weight or not apart
    dtype = np.float64 if precise else np.float32
    width = 2 * d_v + 1 if precise else 3 * d_v + 1
    columns = scratch.array("columns", (groups, n, width), np.float32)
    columns[..., :d_v] = sizes
    np.multiply(v, v, out=columns[..., d_v : 2 * d_v])
    columns[..., 2 * d_v] = 1
    if not precise:
        columns[..., 2 * d_v + 1 :] = v
    scaled = np.multiply(q, dtype(scale), dtype=dtype)
    absolute = None if alike else np.abs(q) * np.float32(constants.product * abs(scale))
    totals = scratch.array("totals", (heads, rows, width), np.float32)
    numerator = scratch.array("numerator", (heads, rows, d_v + 1), np.float64) if precise else None
    denominator, shift = np.empty((heads, rows, 1)), np.zeros((heads, rows, 1))
    errors = None
    if not alike:
        errors = np.empty((heads, rows, 1), np.float32), np.empty((heads, rows, 1), np.float32)
    heaviest = np.empty((heads, rows, 1)) if constants.by_weight else None
    at_once = max(1, HELD // (group * rows * n))

    def compute(first: int) -> None:
        keys = slice(first, min(first + at_once, groups))
        of = slice(keys.start * group, keys.stop * group)
        shape = (keys.stop - keys.start, group, rows)
        k_part = k[keys]
        if precise:
            k_part = scratch.array("keys", k_part.shape, dtype)
            k_part[...] = k[keys]
        score = np.matmul(
            scaled[of].reshape(*shape, d),
            k_part[:, None].swapaxes(-1, -2),
            out=scratch.array("score", (*shape, n), dtype),
        )
        unseen = None
        if hidden is not None:
            unseen = hidden if len(hidden) == 1 else hidden[of].reshape(*shape, n)
            np.copyto(score, -np.inf, where=unseen)
        if shifted:
            largest = score.max(axis=-1, keepdims=True)
            np.copyto(largest, 0, where=np.isneginf(largest))
            score -= largest
            shift[of] = largest.reshape(-1, rows, 1)
        theta = None
        if absolute is not None:
            k_sizes = np.abs(k[keys], out=scratch.array("key sizes", k_part.shape, np.float32))
            theta = np.matmul(
                absolute[of].reshape(*shape, d),
                k_sizes[:, None].swapaxes(-1, -2),
                out=scratch.array("theta", (*shape, n), np.float32),
            )
            single = scratch.array("single", (*shape, n), np.float32)
            theta -= np.multiply(score, dtype(constants.fall), out=single, casting="same_kind")
            if unseen is not None:
                np.copyto(theta, 0, where=unseen)
        np.exp(score, out=score)
        weights = score
        if precise:
            weights = scratch.array("single", (*shape, n), np.float32)
            weights[...] = score
        _add_by_blocks(weights, columns[keys][:, None], totals[of].reshape(*shape, -1))
        if numerator is not None:
            wide = scratch.array("wide", (*v[keys].shape[:2], d_v + 1), np.float64)
            wide[..., :d_v], wide[..., d_v] = v[keys], 1
            _add_by_blocks(score, wide[:, None], numerator[of].reshape(*shape, -1))
        if heaviest is not None:
            heaviest[of] = weights.max(axis=-1, keepdims=True).reshape(-1, rows, 1)
        if errors is not None and theta is not None:
            for power, place in enumerate(errors):
                if power:
                    theta *= theta
                place[of] = np.einsum("...n,...n->...", weights, theta).reshape(-1, rows, 1)

    # Threads cost more than they save where there is little to do.
    little = heads * rows * n < SEVERAL
    run([partial(compute, i) for i in range(0, groups, at_once)], 1 if little else workers)
    if numerator is None:
        denominator[:] = totals[..., 2 * d_v : 2 * d_v + 1]
    else:
        denominator[:] = numerator[..., d_v:]
    if not denominator.all():  # a row sees nothing
        return None
    inverse = 1 / denominator
    single = inverse.astype(np.float32)
    centre = (
        totals[..., 2 * d_v + 1 :] * single if numerator is None else numerator[..., :d_v] * inverse
    )
    distance = np.abs(output - centre).astype(np.float32, copy=False)
    distance *= np.float32(RAISED)
    sums = Sums(
        model=model,
        scale=scale,
        keys=n,
        dimension=d,
        precise=precise,
        shifted=shifted,
        centre=centre,
        distance=distance,
        sizes=totals[..., :d_v] * single,
        squares=totals[..., d_v : 2 * d_v] * single,
        errors=None if errors is None else (errors[0] * single, errors[1] * single),
        logarithm=np.log(denominator),
        shift=shift,
        heaviest=None if heaviest is None else heaviest * inverse,
        total=(
            np.repeat(sizes.sum(axis=1, dtype=np.float64, keepdims=True), group, axis=0)
            if constants.by_weight
            else None
        ),
        query=query,
        key=np.repeat(key, group),
        value=np.repeat(value, group),
    )
    # Below the sum of p |v| times the numerator's error no bound lies, nor its rounding below half a step.
    least = constants.numerator
    if hidden is not None:
        seen = n - np.count_nonzero(hidden, axis=-1)[..., None]
        least, _ = sum_errors(model, n, seen=seen)
    most_allowed = sums.sizes * np.asarray(NEAR * least, np.float32)
    smaller = np.abs(centre).astype(np.float32, copy=False)
    if precise:
        smaller *= np.float32(1 - 2.0**-23)  # it may have been rounded to a power of two
    most_allowed += half_steps(np.minimum(smaller, np.abs(output)), model)
    near = np.logical_not((distance <= most_allowed).all(axis=(1, 2)))
    return sums, near


def _add_by_blocks(weights: Matrix, columns: Matrix, total: Matrix) -> None:
    """Write the product of weights and columns, added up by blocks of keys and then the blocks."""
    n = weights.shape[-1]
    np.matmul(weights[..., :KEY_BLOCK], columns[..., :KEY_BLOCK, :], out=total)
    for first in range(KEY_BLOCK, n, KEY_BLOCK):
        keys = slice(first, first + KEY_BLOCK)
        total += np.matmul(weights[..., keys], columns[..., keys, :])


def half_steps(x: Singles, model: RoundingModel) -> Singles:
    """Return half the distance between the numbers of the output's format about a float32 number."""
    out = FORMATS[model.out]
    found: Singles = (x.view(np.int32) & np.int32(0x7F800000)).view(np.float32)
    found = np.maximum(found, np.float32(out.tiny))
    found *= np.float32(out.unit_roundoff)
    return found


def _served(model: RoundingModel, keys: int, dimension: int, rows: int) -> bool:
    """Whether a model is one whose tolerance is this simple."""
    weights, exponentials = model.format("weights"), model.format("exponentials")
    gradual = any(x is not None and x.gradual for x in (weights, exponentials))
    return (
        model.unit.name == "float32"
        and model.logits is None
        and model.out != "float64"
        and not (gradual and (exponentials is not None or model.denominator != "unrounded"))
        and rows * keys <= MOST_HELD
        # No more than what tolerance takes, and what the pass itself sums in single precision.
        and max(
            model.roundings(keys + 1) + 8 + model.splits, dimension + 64, keys // KEY_BLOCK + 512
        )
        <= 2**20
    )


def _lengths_above(computed: Singles, terms: int) -> Array:
    """Bound the lengths that were computed in single precision, or the largest entries."""
    constants = ARITHMETIC["float32"]
    slack = 1 + 4 * (terms + 4) * constants["unit_roundoff"]
    bounded: Array = up(computed.astype(np.float64) * slack)
    return bounded


def _largest(query: Array, key: Array, value: Array, scale: float) -> float | None:
    """Bound the scores, or return None where anything is not finite or too large or small to be simple."""
    low, high = MODERATE
    q, k, v = (float(x.max()) for x in (query, key, value))
    least = min(float(x.min()) for x in (query, key, value))
    most = q * k * abs(scale)
    # One after the other: max passes over what is no number.
    moderate = all(low <= x for x in (least, abs(scale)))
    moderate = moderate and all(x <= high for x in (q, k, v, q * k, most))
    return most if moderate else None


@lru_cache(maxsize=256)
def _constants(model: RoundingModel, keys: int, dimension: int, scale: float) -> SimpleNamespace:
    """Return what a pass needs of a model, whatever the numbers are."""
    least = np.full(1, MODERATE[0])
    block = _block(scale, keys, dimension, np.dtype(np.float32), least, least)
    zero = np.zeros((1, 1))
    exponents = Exponents(model, block, scores_of(block), zero, zero)
    weights = model.format("weights")
    numerator, _ = sum_errors(model, keys)
    return SimpleNamespace(
        product=exponents.product,
        fall=exponents.fall,
        base=float(exponents.most.max()),
        coarse=0.0 if weights is None else weights.unit_roundoff / COARSE,
        numerator=numerator,
        by_weight=weights is not None and weights.gradual,
    )


def _block(
    scale: float, keys: int, dimension: int, dtype: np.dtype[Any], query: Array, key: Array
) -> Any:
    """Return heads as a block of queries, one of each: the longest, and keys as long as any."""
    queries = np.zeros((len(query), dimension), dtype)
    queries[:, 0] = query * (1 + 2.0**-20)  # more than its type rounds off
    return SimpleNamespace(
        queries=queries,
        side=SimpleNamespace(
            k=range(keys),
            norms=SimpleNamespace(longest=lambda ranges: key, exponent=0),
            largest_key=key,
        ),
        ranges=None,
        bias=None,
        sink=None,
        options=Semantics(heads=(), queries=len(query), keys=keys, scale=scale),
    )


@standard_arithmetic
def found_of(calls: Sequence[Sums]) -> list[Found]:
    """Return what is allowed of every head of some calls, and how far outputs go, call by call."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for index, sums in enumerate(calls):
        alike.setdefault(sums.signature, []).append(index)
    found: dict[int, Found] = {}
    for indices in alike.values():
        several = [calls[i] for i in indices]
        factors = _factors(several)
        for name in SINGLES:
            raised = np.maximum(factors[name] * RAISED, 2.0**-126)
            factors[name] = raised.astype(np.float32)
        first, worst = 0, []
        for sums in several:
            of = slice(first, first + len(sums.query))
            worst.append(_worst(sums, {name: x[of] for name, x in factors.items()}))
            first = of.stop
        centre, bound = (
            np.concatenate([each[name].astype(np.float64) for each in worst])
            for name in ("centre", "bound")
        )
        ends = interval(centre, bound, several[0].model)
        first = 0
        for index, each in zip(indices, worst, strict=True):
            of = slice(first, first + len(each["row"]))
            found[index] = Found(
                **{name: each[name] for name in ("error", "ratio", "row", "column")},
                bound=bound[of],
                lower=ends[0][of],
                upper=ends[1][of],
            )
            first = of.stop
    return [found[index] for index in range(len(calls))]


def _factors(calls: Sequence[Sums]) -> dict[str, Array]:
    """Return what bounds make of the sums of each head: factors, in columns of all calls' heads.

    The tolerance of an entry is ``deviation`` sqrt(w p v^2 - o^2) + ``sizes`` p |v| + ``output`` |o| +
    ``lost``, w being ``squares``; what the centre is off by is the same with ``own_`` before.
    """
    model, scale, n, d = (calls[0].model, calls[0].scale, calls[0].keys, calls[0].dimension)
    precise, shifted = calls[0].precise, calls[0].shifted
    query, key, value = (
        np.concatenate([getattr(c, name) for c in calls]) for name in ("query", "key", "value")
    )
    value = value[:, None]
    logarithm = np.concatenate(
        [np.abs(c.shift + c.logarithm).max(axis=1, initial=0) for c in calls]
    )
    logarithm = library_up(logarithm * (1 + 2.0**-40))
    dtype = np.dtype(np.float64 if precise else np.float32)
    name = dtype.name
    u, tiny, exp_error = (ARITHMETIC[name][x] for x in ("unit_roundoff", "tiny", "exp_error"))
    blocks = -(-n // KEY_BLOCK)
    terms = float(min(KEY_BLOCK, n) + blocks + 4)
    block = _block(scale, n, d, dtype, query, key)
    scores = scores_of(block)
    size = up(scores.magnitude + scores.error)
    # Of a computed weight: its score, the shift, the exponential.
    weight = rounding_weight(scores.error, u, up(2 * size) if shifted else 0.0, exp_error, 1.0)
    lightest = 1.0 if shifted else float(library_down(np.exp(-UNSHIFTED - 1)))
    lost = float(weights_underflow(float(n), 1.0, tiny, lightest))
    lost_single = float(weights_underflow(float(n), 1.0, ARITHMETIC["float32"]["tiny"], lightest))
    summed = float(kernel_factor(terms + 2, u, 0.0, 0.0, 0.0)) + lost
    # ln of a sum of which each term and the sum itself is off: FP.lse.
    # A library's logarithm and two additions are off by far fewer than 32 units.
    rounded = up(up(logarithm + math.log(n + 1)) * 32 * UNIT_ROUNDOFF)
    log_bound = up(up(weight + 2 * summed) + rounded)
    exponents = Exponents(model, block, scores, logarithm, log_bound)
    # Of sums of computed weights: true ones are no more than so many times these.
    more = library_up(np.exp(up(2 * weight)))
    single = ARITHMETIC["float32"]["unit_roundoff"]
    more = up(more * positive_sum(1.0, 0.0, terms + 8, single, 0.0))
    more = up(more * positive_sum(1.0, 0.0, terms + 8, u, 0.0))
    most = exponents.most
    grown = library_up(np.exp(most))
    one = np.ones_like(most)
    theta = up(grown - 1)
    if calls[0].errors is not None:
        theta = one  # it stands in the errors of the rows
    found: dict[str, Array] = {
        "most": most,
        "grown": grown,
        "more": more,
        "lost_single": lost_single * one,
    }
    found["rest"] = exponents.constant
    found["fall"] = exponents.fall * one
    numerator, denominator = sum_errors(model, n)
    steps = up(8.0 * n * (model.blocks(n) + 2 * model.splits))
    # The heaviest weight is at most 1.
    step_lost = up(steps * model.unit.lost)
    lost_values, lost_weights = up(step_lost * value), step_lost * one
    for low_name in ("weights", "exponentials"):
        low = model.format(low_name)
        if low is not None and not low.gradual:
            lost_values = up(lost_values + up(up(low.lost * n) * value))
            lost_weights = up(lost_weights + up(low.lost * n))
    found |= _linear(
        "",
        theta,
        up(more * grown),
        grown,
        library_down(1 / grown),
        numerator,
        denominator,
        lost_values,
        lost_weights,
    )
    found["lost"] = up(found["lost"] + absolute_loss(model, n, grown, library_down(1 / grown)))
    low = model.format("weights")
    found["by_weight"] = up(found["each"] * (0.0 if low is None else low.lost))
    # Our own arithmetic is that of a kernel too.
    raised = library_up(np.exp(weight))
    found |= _linear(
        "own_",
        up(raised - 1),
        up(more * raised),
        raised,
        library_down(1 / raised),
        float(kernel_factor(terms + 4, u, 0.0, 0.0, 0.0)),
        float(kernel_factor(terms, u, 0.0, 0.0, 0.0)),
        up(lost * value),
        lost * one,
    )
    found["own_lost"] = up(found["own_lost"] + up(8 * n * tiny))
    values: Any = SimpleNamespace(largest=value)
    overflows = may_overflow(model, block, values, logarithm)
    found["lost"] = np.where(overflows, np.inf, found["lost"])
    # o is no nearer to 0 than what is computed less kappa sqrt(sum p v^2).
    kappa = up(found["own_deviation"] + up(found["own_sizes"] + found["own_output"]))
    found["squares"] = up(more * up(1 + up(2 * kappa) * up(1 + kappa)))
    found["lost_squares"] = up(up(2 * lost_single * value) * value) + 2.0**-100
    found["lost_squares"] = up(found["lost_squares"] + up(up(4 * value) * found["own_lost"]))
    found["lost_sizes"] = up(lost_single * value)
    return found


def _linear(
    prefix: str,
    deviation: Any,
    sizes: Any,
    largest: Any,
    smallest: Any,
    numerator: float,
    denominator: float,
    lost_values: Any,
    lost_weights: Any,
) -> dict[str, Array]:
    """Return FP.kernel's bound as factors: it is linear in deviation, sizes, output and loss."""
    unit = np.eye(4)
    columns = kernel_output(
        unit[0], unit[1], largest, smallest, numerator, denominator, unit[2], unit[3], lost_weights
    )
    each = columns[:, 3:]
    return {
        f"{prefix}deviation": up(columns[:, :1] * deviation),
        f"{prefix}sizes": up(columns[:, 1:2] * sizes),
        f"{prefix}output": columns[:, 2:3],
        f"{prefix}lost": up(each * lost_values),
        f"{prefix}each": each,
    }


#: The factors that entries meet in single precision, raised by what that may take from the result.
SINGLES = (
    "squares",
    "lost_squares",
    "lost_sizes",
    "own_deviation",
    "own_sizes",
    "own_output",
    "own_lost",
    "deviation",
    "sizes",
    "output",
    "lost",
)


def _worst(sums: Sums, factors: dict[str, Array]) -> dict[str, Any]:
    """Return the worst entry of each head of a call, and what is allowed there, from its factors."""
    factor = {name: x[:, :, None] for name, x in factors.items()}
    size = np.abs(sums.centre).astype(np.float32, copy=False)
    variance = sums.squares * factor["squares"]
    variance += factor["lost_squares"]
    variance -= size * size * np.float32(1 - 4 * ENTRY_ROUNDINGS * 2.0**-24)
    np.maximum(variance, 0, out=variance)
    spread = np.sqrt(variance, out=variance)
    sizes = sums.sizes + factor["lost_sizes"]
    own = spread * factor["own_deviation"]
    own += sizes * factor["own_sizes"]
    own += size * factor["own_output"]
    own += factor["own_lost"]
    error = own + sums.distance
    deviation: Any = factor["deviation"]
    if sums.errors is not None:
        rest = factor["rest"] + factor["fall"] * sums.logarithm
        rest = up(up(np.maximum(rest, 0)) + factor["fall"] * np.abs(sums.logarithm) * 2.0**-40)
        rest = up(rest + 2.0**-100)
        first, second = (x.astype(np.float64) for x in sums.errors)
        # Three times, since what a score takes from theta may leave a third of what was added.
        raised = up(factor["more"] * (1 + 6 * (OWN_ROUNDINGS + sums.dimension) * 2.0**-24))
        squares = up(up(raised * raised) * up(second + up(2 * rest) * first))
        # What underflow takes from weights, too, of keys whose theta is no more than any.
        last = up(rest * rest) + up(factor["lost_single"] * up(factor["most"] * factor["most"]))
        squares = up(up(squares + up(last)) * up(factor["grown"] * factor["grown"]))
        deviation = (kernel_deviation(squares, 1.0) * factor["deviation"]).astype(np.float32)
    bound = spread * deviation
    bound += sizes * factor["sizes"]
    # Of attention itself: the centre, and what that is off by.
    bound += (size + own) * factor["output"]
    bound += factor["lost"]
    if sums.heaviest is not None and sums.total is not None:
        bound += (up(sums.heaviest * factor["more"]) * factor["by_weight"] * RAISED).astype(
            np.float32
        ) * sums.total.astype(np.float32)
    bound += own
    allowed = bound + half_steps(size, sums.model)
    # Of what may be anything the bound is infinite.
    ratio = sums.distance / allowed
    heads, _, columns = ratio.shape
    flat = ratio.reshape(heads, -1).argmax(axis=1)
    at = np.arange(heads), flat // columns, flat % columns
    return {
        "error": error.reshape(heads, -1).max(axis=1).astype(np.float64),
        "ratio": ratio[at].astype(np.float64),
        "row": at[1],
        "column": at[2],
        "centre": sums.centre[at],
        "bound": bound[at],
    }
