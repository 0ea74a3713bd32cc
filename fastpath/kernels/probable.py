"""The probabilistic tier: what a kernel's roundings make of an output if they are independent and of mean 0.

Random are the roundings of weights, of logits and of the output, each at most half a step and of mean 0;
all else is bounded as in FP.kernel.  Keys of equal scores are rounded alike, and count as one
(FP.kernel_probable).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastpath.core.bounds.kernels import (
    kernel_deviation,
    kernel_factor,
    kernel_output,
    kernel_probable,
)
from fastpath.core.certified import Certified
from fastpath.core.directed import down, library_up, up
from fastpath.core.inputs import Array
from fastpath.exact.blocks import Block, block_of, scores_of
from fastpath.exact.prepared import PreparedHead
from fastpath.kernels.exponents import Exponents
from fastpath.kernels.formats import FORMATS
from fastpath.kernels.model import RoundingModel
from fastpath.kernels.sums import tiles
from fastpath.kernels.tolerance import Task, absolute_loss, roundoff, sum_errors

#: Queries whose scores are held at once, with those of all keys; keys whose products are.
ROWS, KEYS = 128, 512

#: Scores this close, relative to 1 and to themselves, count as equal: float32 does not tell them apart.
EQUAL = 2.0**-22

#: What float64 loses in the variances, relatively and far above.
LOSS = 2.0**-30


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some queries of one head, whole: what each rounding makes of their outputs.

    Attributes
    ----------
    index, first : int
        Which head, and the first of the rows among those that were asked for.
    scores : array, shape (rows, keys)
    p : array
        The weights.
    weight_squares : array
        (p_k e^theta u)^2 times the number of keys that are rounded alike: of the weights' rounding.
    logit_squares : array
        The same of the logits' roundings; both are in units in which a kernel's denominator is 1.
    known : array, shape (rows, d_v)
        What all other roundings make of the output at most.
    values : array, shape (keys, d_v)
    centre : array, shape (rows, d_v)
    columns : array, shape (d_v,)
        How many columns of the values are rounded alike, each with itself.
    about_centre : bool
        Whether a weight's rounding moves the output along v - o, as it does the denominator too.
    """

    index: int
    first: int
    scores: Array
    p: Array
    weight_squares: Array
    logit_squares: Array
    known: Array
    values: Array
    centre: Array
    columns: Array
    about_centre: bool

    def half_gaps(self, output: Array, model: RoundingModel) -> Array:
        """Return the squares of what rounding moves the output by, those of like columns together."""
        half = FORMATS[model.out].half_gap(np.maximum(np.abs(output), np.abs(self.centre)))
        return half * half * self.columns

    def spread(self, squares: Array, about_centre: bool) -> Array:
        """Return sum_k squares_k x_kc^2 with x = v, or v - o, for every column c."""
        found = squares @ (self.values * self.values)
        if about_centre:
            mean = squares @ self.values
            size = squares.sum(axis=1, keepdims=True) * self.centre**2
            found = found - 2 * self.centre * mean + size + LOSS * (found + size)
        bounded: Array = np.maximum(found, 0) * (1 + LOSS)
        return bounded

    def variance(self) -> Array:
        """Return the sum of squares of what the random roundings move each entry by."""
        moved = self.spread(self.weight_squares, self.about_centre)
        total: Array = moved + self.spread(self.logit_squares, True)
        return total


def rows_of(task: Task, exact: Certified) -> Iterator[Rows]:
    """Yield the queries of a task, some at a time."""
    assert exact.log_sum_exp is not None
    assert exact.log_sum_exp_bound is not None
    count = int(np.prod(task.q.shape[:-2]))
    queries, keys, values, centre, off = (
        x.reshape(-1, *x.shape[-2:])
        for x in (task.q, task.k, task.v, exact.output, exact.error_bound)
    )
    logarithm, log_bound = (
        x.reshape(count, -1, 1) for x in (exact.log_sum_exp, exact.log_sum_exp_bound)
    )
    for index in range(count):
        if index % task.group == 0:
            k, v = (x[index // task.group] for x in (keys, values))
            side, columns = PreparedHead(k, v), like_columns(v)
        for first in range(0, queries.shape[1], ROWS):
            part = slice(first, first + ROWS)
            block = block_of(queries[index, part], side, task.options, index, task.rows[part])
            exponents = Exponents(
                task.model,
                block,
                scores_of(block),
                np.where(np.isneginf(logarithm[index, part]), 0, logarithm[index, part]),
                log_bound[index, part],
            )
            yield _rows(
                task.model,
                block,
                exponents,
                index,
                first,
                v,
                columns,
                centre[index, part],
                off[index, part],
                logarithm[index, part],
            )


def _rows(
    model: RoundingModel,
    block: Block,
    exponents: Exponents,
    index: int,
    first: int,
    values: Array,
    columns: Array,
    centre: Array,
    off: Array,
    logarithm: Array,
) -> Rows:
    shape = len(block.queries), len(block.side.k)
    scores, theta = np.full(shape, -np.inf), np.zeros(shape)
    random, squared = np.zeros(shape), np.zeros(shape)
    finite = np.where(np.isneginf(logarithm), 0, logarithm)
    for tile in tiles(block):
        at = tile.rows, tile.keys
        score = tile.score.copy()
        if tile.hidden is not None:
            np.copyto(score, -np.inf, where=tile.hidden)
        random[at], squared[at] = exponents.random(tile.before)
        assert tile.product is not None
        error = exponents.score_errors(tile.product, tile.before, tile.score, tile.bias)
        shown = exponents.of(error, score - finite[tile.rows], tile.rows)
        scores[at] = score
        theta[at] = np.where(np.isneginf(score), 0, shown)
    # Exponents of 1 and more leave nothing to chance.
    large = theta > 1
    theta = np.minimum(theta, 700.0)
    for each in (random, squared):
        each[large | np.isneginf(scores)] = 0
    p = np.where(np.isneginf(logarithm), 0, np.exp(scores - finite))
    grown = library_up(np.exp(theta))
    sink = np.zeros_like(logarithm)
    if block.sink is not None:
        sink = np.exp(block.sink - finite)
    sink_theta = exponents.of_sink(block.sink or 0.0, finite)
    alike = multiplicities(scores)
    weights = roundoff(model, "weights")
    # Logits that are rounded make many weights equal, and their roundings with them: no chance in these.
    chance = 0.0 if model.logits else weights
    keys = len(block.side.k) + (block.sink is not None)
    numerator, denominator = sum_errors(model, keys, weights=0.0 if chance else None)
    numerator = float(up(numerator * up(1 + chance)))
    rounded = model.denominator == "rounded"
    if rounded and chance:
        # What is random in theta: the weights' own rounding.
        random_theta = kernel_factor(0, model.unit.unit_roundoff, weights, 0.0, 0.0)
        random_theta = float(up(random_theta * up(1 + weights)))
        lever = np.maximum(grown - 1 - random_theta, 0)
    else:
        lever = grown - 1
    lever = np.maximum(lever - random, 0)
    size = np.abs(centre) + off
    squares = (p * lever * lever).sum(axis=1, keepdims=True)
    squares = squares + sink * np.expm1(sink_theta) ** 2
    variance = np.maximum(p @ (values * values) - centre**2 + LOSS * (p @ (values * values)), 0)
    largest = (p * grown).sum(axis=1, keepdims=True) + sink * np.exp(sink_theta)
    smallest = down((p / grown).sum(axis=1, keepdims=True) + sink * np.exp(-sink_theta))
    units = up(1 / down(down(smallest * (1 - denominator)) * (1 - LOSS)))
    units = np.where(np.isneginf(logarithm), 0, units)
    steps = 8.0 * keys * (model.blocks(keys) + 2 * model.splits) * model.unit.lost
    # What underflow takes is relative to the largest weight, but of weights that are divided first.
    heaviest = np.maximum(p.max(axis=1, keepdims=True), sink)
    lost = steps * heaviest
    for name in ("weights", "exponentials"):
        low = model.format(name)
        if low is not None:
            divided = name == "weights" and model.denominator == "normalised"
            lost = lost + keys * low.lost * (1.0 if divided else heaviest)
    most = np.abs(values).max(axis=0)
    known = kernel_output(
        kernel_deviation(squares, variance),
        p * grown @ np.abs(values),
        largest,
        smallest * (1 - LOSS),
        numerator,
        denominator,
        size,
        lost * most,
        lost,
    )
    moved = np.where(np.isneginf(scores), 0, p * grown * chance * units)
    known = known + absolute_loss(model, keys, largest * (1 + LOSS), smallest * (1 - LOSS))
    # A row that sees nothing is zeros.
    known[np.isneginf(logarithm[:, 0])] = 0
    return Rows(
        index=index,
        first=first,
        scores=scores,
        p=p,
        weight_squares=moved * moved * alike,
        logit_squares=squared * (p * units) ** 2 * alike,
        known=known * (1 + LOSS) + off,
        values=values,
        centre=centre,
        columns=columns,
        about_centre=rounded,
    )


def multiplicities(scores: Array) -> Array:
    """Return, for every score of every row, how many of the row are equal to it, itself included."""
    order = np.argsort(scores, axis=1)
    ascending = np.take_along_axis(scores, order, axis=1)
    with np.errstate(invalid="ignore"):
        gap = np.diff(ascending, axis=1)
        close = EQUAL * np.maximum(np.abs(ascending[:, 1:]), 1)
    apart = ~(gap <= close)
    groups = np.concatenate([np.zeros((len(scores), 1), np.intp), np.cumsum(apart, axis=1)], axis=1)
    groups += np.arange(len(scores))[:, None] * scores.shape[1]
    counts = np.bincount(groups.ravel())[groups].astype(np.float64)
    found: Array = np.empty_like(counts)
    np.put_along_axis(found, order, counts, axis=1)
    return found


def like_columns(values: Array) -> Array:
    """Return, for every column, how many are equal to it but for their sign and a power of two."""
    exponent = np.frexp(np.abs(values).max(axis=0))[1]
    first = np.take_along_axis(values, np.argmax(values != 0, axis=0)[None], axis=0)
    return alike((np.ldexp(values, -exponent) * np.sign(first)).T)


def alike(rows: Array) -> Array:
    """Return, for every row, how many are equal to it, itself included."""
    rows = np.ascontiguousarray(rows) + 0.0  # -0 is 0
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, place, counts = np.unique(whole, return_inverse=True, return_counts=True)
    found: Array = counts[place].astype(np.float64)
    return found


def probable_bound(rows: Rows, tests: int, failure_probability: float) -> Array:
    """Bound the error of every output before it is rounded, all of them but with that probability."""
    bound: Array = up(rows.known + kernel_probable(tests, failure_probability, up(rows.variance())))
    return bound


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """How far the keys of some rows are taken too much or too little, over what chance allows.

    ``score`` and ``allowed`` are arrays of shape (rows, keys).
    """

    score: Array
    allowed: Array


def signatures(
    rows: Rows, output: Array, model: RoundingModel, tests: int, failure_probability: float
) -> Signatures:
    """Return (v_j - o_i).(output_i - o_i) for every key, and what it is at most but with that probability."""
    values, centre = rows.values, rows.centre
    off = output - centre
    half = rows.half_gaps(output, model)
    count, keys = rows.p.shape
    score, allowed = np.empty((count, keys)), np.empty((count, keys))
    by_centre = centre @ values.T
    weight, logit = rows.weight_squares, rows.logit_squares
    length = (centre * centre).sum(axis=1, keepdims=True)
    for first in range(0, keys, KEYS):
        part = slice(first, first + KEYS)
        towards = values[part]
        score[:, part] = off @ towards.T - (off * centre).sum(axis=1, keepdims=True)
        gram = values @ towards.T
        gram_squares = gram * gram
        size = half @ (towards * towards).T
        variance = size - 2 * (half * centre) @ towards.T
        variance += (half * centre * centre).sum(axis=1, keepdims=True)
        size = size + variance
        for squares, about in ((weight, rows.about_centre), (logit, True)):
            if not squares.any():
                continue
            # sum_k squares_k (gram_kj - b_k - e_j)^2
            sums = squares @ gram_squares
            mixed = (squares * by_centre) @ gram
            own = (squares * by_centre * by_centre).sum(axis=1, keepdims=True)
            found = sums - 2 * mixed + own
            if about:
                shift = by_centre[:, part] - length
                first_moment = squares @ gram - (squares * by_centre).sum(axis=1, keepdims=True)
                found = found - 2 * shift * first_moment
                found = found + shift * shift * squares.sum(axis=1, keepdims=True)
                size = size + shift * shift * squares.sum(axis=1, keepdims=True)
            variance = variance + found
            size = size + sums + own
        variance = np.maximum(variance, 0) + LOSS * np.abs(size)
        known = rows.known @ np.abs(towards).T + (rows.known * np.abs(centre)).sum(
            axis=1, keepdims=True
        )
        allowed[:, part] = known + kernel_probable(tests, failure_probability, up(variance))
    return Signatures(score=score, allowed=allowed)


@dataclass
class ScoreTests:
    """Sums over all rows that a wrong scale, or a wrong denominator, moves to one side."""

    scale: float = 0.0
    scale_variance: float = 0.0
    scale_known: float = 0.0
    denominator: float = 0.0
    denominator_variance: float = 0.0
    denominator_known: float = 0.0

    def add(self, rows: Rows, output: Array, model: RoundingModel, alike: Array) -> None:
        """Add some rows; of each, ``alike`` says how many are rounded in the same way."""
        off = output - rows.centre
        half = rows.half_gaps(output, model)
        shifted = np.where(rows.p > 0, rows.scores, 0)
        mean = (rows.p * shifted).sum(axis=1, keepdims=True)
        by_scale = (rows.p * (shifted - mean)) @ rows.values
        for name, direction in (("scale", by_scale), ("denominator", rows.centre)):
            along = direction @ rows.values.T
            about = along - (direction * rows.centre).sum(axis=1, keepdims=True)
            moved = about if rows.about_centre else along
            each = (rows.weight_squares * moved * moved).sum(axis=1)
            each += (rows.logit_squares * about * about).sum(axis=1)
            each += (half * direction * direction).sum(axis=1)
            variance = (each * alike).sum()
            self._add(
                name, (direction * off).sum(), variance, (np.abs(direction) * rows.known).sum()
            )

    def _add(self, name: str, score: float, variance: float, known: float) -> None:
        for suffix, more in (("", score), ("_variance", variance), ("_known", known)):
            setattr(
                self,
                name + suffix,
                getattr(self, name + suffix) + float(more) * (1 + LOSS * bool(suffix)),
            )

    def ratios(self, failure_probability: float) -> dict[str, float]:
        """Return how far each sum is from 0, over what it is at most but with that probability."""
        found = {}
        for name in ("scale", "denominator"):
            allowed = getattr(self, f"{name}_known") + float(
                kernel_probable(2, failure_probability, up(getattr(self, f"{name}_variance")))
            )
            found[name] = abs(getattr(self, name)) / allowed if allowed > 0 else 0.0
        return found
