"""Judge the gradients of an attention kernel, given what it returned itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.kernels import (
    kernel_factor,
    kernel_gradient,
    kernel_partial,
    kernel_standing,
)
from fastpath.core.bounds.softmax import gradient_score, gradient_weight, rounding_weight
from fastpath.core.certified import Certified
from fastpath.core.cores import worker_count
from fastpath.core.directed import UNIT_ROUNDOFF, above, below, library_up, up
from fastpath.core.inputs import Array, exact_floats
from fastpath.core.norms import TINY, sum_above
from fastpath.exact.blocks import Block, block_of, scores_of
from fastpath.exact.prepared import PreparedHead
from fastpath.kernels.exponents import LOG_ERROR, Exponents
from fastpath.kernels.formats import FORMATS, Format
from fastpath.kernels.judge import (
    Judgement,
    Violation,
    options_text,
    outside,
    ratios,
    returned,
)
from fastpath.kernels.model import RoundingModel
from fastpath.kernels.sums import own_error, tiles
from fastpath.kernels.tolerance import Task, Tolerance, exact_of, interval, prepare, roundoff

#: Queries of a block, where the model does not say.
QUERY_BLOCK = 512

#: Exponents beyond this say nothing, and are not to overflow; nor do errors beyond that.
LARGEST = 500.0
HUGE = 2.0**500

CLAIMS = (
    "FP.kernel_backward",
    "FP.kernel_blocks",
    "FP.kernel",
    "FP.gradient",
    "FP.softmax",
    "FP.exp",
)

GRADIENTS = ("dQ", "dK", "dV")


@standard_arithmetic
def judge_attention_backward(
    gradients: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    output: ArrayLike,
    dO: ArrayLike,
    Q: ArrayLike,
    K: ArrayLike,
    V: ArrayLike,
    model: RoundingModel,
    **semantics: Any,
) -> dict[str, Judgement]:
    """Judge gradients as :func:`assert_attention_backward` does, and say what was found of each."""
    task = prepare(Q, K, V, model, **semantics)
    shape = (*task.q.shape[:-1], task.v.shape[-1])
    own = returned(output, shape)
    g = _gradient("dO", dO, shape)
    if not np.isfinite(own).all():
        raise ValueError(
            "output must be finite, since gradients are judged given the output, got NaN or inf."
        )
    if not np.isfinite(g).all():
        raise ValueError("dO must be finite, got NaN or inf.")
    shapes = {"dQ": task.q.shape, "dK": task.k.shape, "dV": task.v.shape}
    got = {name: _gradient(name, x, shapes[name]) for name, x in _named(gradients).items()}
    allowed = _allowed(task, own, g, exact_of(task, worker_count(None)))
    return {name: _judged(name, got[name], allowed[name], model, semantics) for name in GRADIENTS}


def assert_attention_backward(
    gradients: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    output: ArrayLike,
    dO: ArrayLike,
    Q: ArrayLike,
    K: ArrayLike,
    V: ArrayLike,
    model: RoundingModel,
    **semantics: Any,
) -> None:
    """Refuse gradients that prove an attention kernel's backward pass is not of a model's arithmetic.

    Parameters
    ----------
    gradients : (dQ, dK, dV), or a mapping of these names
        What the kernel returned.
    output : array_like, shape (..., h_q, n_q, d_v)
        What the kernel's own forward pass returned; the intervals are about what is made of it.
    dO : array_like of that shape
        The derivatives that the kernel was given.
    Q, K, V, model, **semantics
        As for :func:`tolerance`.

    Raises
    ------
    AssertionError
        If an entry lies outside its interval: names the gradient, the entry, how far it is out, and two lines
        that repeat it.
    TypeError, ValueError
        As :func:`tolerance`, or if an array does not fit or output or dO are not finite.

    Notes
    -----
    With D_i = dO_i . o_i of the kernel's own o_i, the centres are those of dS_ij = p_ij (dP_ij - D_i).  A
    model whose weights are divided and then rounded keeps them, and sums p dP instead.  Gradients of key
    heads that several query heads read may be rounded for each, and added up in the format of the output.

    Cost: attention in float64, then 2 n_q n_k (8 d + 5 d_v) multiply-adds a head.

    Claims: FP.kernel_backward, FP.kernel_blocks, FP.kernel, FP.gradient.
    """
    found = judge_attention_backward(gradients, output, dO, Q, K, V, model, **semantics)
    for judgement in found.values():
        if judgement.refuted:
            raise AssertionError(judgement.sentence)


def _named(gradients: Any) -> dict[str, Any]:
    if isinstance(gradients, Mapping):
        if set(gradients) != set(GRADIENTS):
            raise ValueError(
                f"gradients must be named dQ, dK and dV, got {', '.join(map(str, gradients))}."
            )
        return dict(gradients)
    found = list(gradients)
    if len(found) != len(GRADIENTS):
        raise ValueError(f"gradients must be dQ, dK and dV, got {len(found)} arrays.")
    return dict(zip(GRADIENTS, found, strict=True))


def _gradient(name: str, x: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = exact_floats(name, x)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}.")
    return array.astype(np.float64)


@dataclass
class _Sum:
    """A sum over queries or keys: its value, the errors and the sizes of its terms."""

    value: Array
    error: Array
    size: Array

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> _Sum:
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape))

    def add(self, other: _Sum) -> None:
        self.value += other.value
        self.error += other.error
        self.size += other.size


def _allowed(task: Task, own: Array, g: Array, exact: Certified) -> dict[str, Tolerance]:
    """Return what each gradient may be."""
    assert exact.log_sum_exp is not None
    assert exact.log_sum_exp_bound is not None
    model = task.model
    count, n_q = int(np.prod(task.q.shape[:-2])), task.q.shape[-2]
    queries, keys, values, outputs, gradients, centre = (
        x.reshape(-1, *x.shape[-2:]) for x in (task.q, task.k, task.v, own, g, exact.output)
    )
    bounds = exact.error_bound.reshape(centre.shape)
    logarithm, log_bound = (
        x.reshape(count, n_q, 1) for x in (exact.log_sum_exp, exact.log_sum_exp_bound)
    )
    found = {
        "dQ": (np.empty(queries.shape), np.empty(queries.shape)),
        "dK": (np.empty(keys.shape), np.empty(keys.shape)),
        "dV": (np.empty(values.shape), np.empty(values.shape)),
    }
    size = model.query_block or QUERY_BLOCK
    for head in range(len(keys)):
        side = PreparedHead(keys[head], values[head])
        totals = {
            name: _Total(task, shape)
            for name, shape in (("dK", keys[head].shape), ("dV", values[head].shape))
        }
        for index in range(head * task.group, (head + 1) * task.group):
            for name in totals:
                totals[name].start()
            for first in range(0, n_q, size):
                part = slice(first, min(first + size, n_q))
                block = block_of(queries[index, part], side, task.options, index, task.rows[part])
                back = _Back(
                    model,
                    block,
                    values[head],
                    gradients[index, part],
                    outputs[index, part],
                    centre[index, part],
                    bounds[index, part],
                    logarithm[index, part],
                    log_bound[index, part],
                )
                by_query, by_key, by_value = back.sums()
                found["dQ"][0][index, part] = by_query.value
                found["dQ"][1][index, part] = _finished(model, by_query, len(side.k), back.lost)
                totals["dK"].block(by_key, back.lost)
                totals["dV"].block(by_value, back.lost)
            for name in totals:
                totals[name].stop()
        for name in totals:
            found[name][0][head], found[name][1][head] = totals[name].finished()
    shapes = {"dQ": task.q.shape, "dK": task.k.shape, "dV": task.v.shape}
    allowed = {}
    for name, (value, bound) in found.items():
        value, bound = value.reshape(shapes[name]), bound.reshape(shapes[name])
        if name != "dQ" and task.group == 1 and model.gradient_sums == model.out:
            # What stands in that format is returned as it stands.
            lower, upper = FORMATS[model.out].within(below(value - bound), above(value + bound))
        else:
            lower, upper = interval(value, bound, model)
        allowed[name] = Tolerance(
            lower=lower, upper=upper, centre=value, bound=bound, claims=CLAIMS
        )
    return allowed


def _lost(model: RoundingModel, name: str) -> float:
    """Return what underflow takes from a number of the format that a field names."""
    chosen = model.format(name)
    return 0.0 if chosen is None else chosen.lost


def _half_gap(fmt: Format, size: Array, scale: float) -> Array:
    """Return what rounding moves a number by that is scaled before it or after."""
    gap = fmt.half_gap(size)
    if np.frexp(scale)[0] in (0, 0.5):  # a power of two moves no number between the others
        return gap
    either: Array = np.maximum(gap, up(fmt.half_gap(up(size * scale)) / scale))
    return either


def _products(model: RoundingModel, terms: int) -> float:
    """Return g of a sum of products with Q or K, that may be rounded inputs, and be scaled after."""
    inputs = roundoff(model, "inputs")
    return float(kernel_factor(terms + 6, model.unit.unit_roundoff, inputs, inputs, 0.0))


def _finished(model: RoundingModel, total: _Sum, terms: int, lost: float) -> Array:
    """Return what a sum may be off by, float64's own roundings included."""
    own = up(2 * (terms + 8) * UNIT_ROUNDOFF)
    g = _products(model, model.roundings(terms))
    bound: Array = up(
        kernel_gradient(up(total.error * (1 + own)), up(total.size * (1 + own)), g, lost)
        + up(total.size * own)
    )
    return bound


class _Total:
    """dK or dV of a key head: added up over blocks of queries, rounded on the way where the model says so."""

    def __init__(self, task: Task, shape: tuple[int, ...]) -> None:
        self.model, self.group = task.model, task.group
        self.low = task.model.format("gradient_sums")
        self.queries = task.q.shape[-2]
        self.value, self.bound, self.size = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.shape = shape
        self.start()

    def start(self) -> None:
        """Begin with a query head."""
        self._sum, self._carried = _Sum.zeros(self.shape), np.zeros(self.shape)
        self._lost = 0.0

    def block(self, part: _Sum, lost: float) -> None:
        """Add a block of queries."""
        self._sum.value += part.value
        self._lost = float(up(self._lost + lost))
        if self.low is None:
            self._sum.error += part.error
            self._sum.size += part.size
            return
        self._sum.size += part.size
        low = self.low
        off = _finished(self.model, part, self.model.query_block or 1, up(lost + low.lost))
        # One addition in the accumulator's format, and the rounding of what then stands.
        u = self.model.unit.unit_roundoff
        off = up(off + up(up(2 * u) * self._sum.size))
        own = up(self._sum.size * up(2 * (self.queries + 8) * UNIT_ROUNDOFF))
        standing = up(np.abs(self._sum.value) + own)
        off = up(self._carried + off)
        self._carried = kernel_standing(off, low.half_gap(up(standing + off)))
        self._carried[2 * standing > low.largest] = np.inf

    def stop(self) -> None:
        """End with a query head."""
        whole = _finished(self.model, self._sum, self.queries, self._lost)
        bound = whole if self.low is None else self._carried
        self.value += self._sum.value
        self.bound = up(self.bound + bound)
        self.size = up(self.size + up(np.abs(self._sum.value) + bound))

    def finished(self) -> tuple[Array, Array]:
        """Return the gradient and what it may be off by."""
        if self.group == 1:
            return self.value, self.bound
        # Each query head's own may be rounded, and so each sum of them.
        out = self.model.format("out")
        assert out is not None
        grown = kernel_factor(2 * self.group, out.unit_roundoff, 0.0, 0.0, 0.0)
        lost = up(2 * self.group * out.lost)
        return self.value, up(up(self.bound + up(grown * self.size)) + lost)


class _Back:
    """One block of queries on the way back, in float64."""

    def __init__(
        self,
        model: RoundingModel,
        block: Block,
        values: Array,
        gradient: Array,
        output: Array,
        centre: Array,
        centre_bound: Array,
        logarithm: Array,
        log_bound: Array,
    ) -> None:
        self.model, self.block, self.gradient = model, block, gradient
        self.empty = np.isneginf(logarithm)
        self.logarithm = np.where(self.empty, 0, logarithm)
        scores = scores_of(block)
        self.exponents = Exponents(model, block, scores, self.logarithm, log_bound)
        self.own = own_error(scores, self.logarithm, log_bound, block.queries.dtype)
        self.values = values
        #: Weights that were divided and rounded are kept, and the mean is that of p dP.
        self.kept = model.denominator == "normalised" and model.weights is not None
        u, d = model.unit.unit_roundoff, self.values.shape[1]
        given = centre if self.kept else output
        self.mean = (gradient * given).sum(axis=1, keepdims=True)
        sizes = (np.abs(gradient) * np.abs(given)).sum(axis=1, keepdims=True)
        self.mean_error = up(kernel_factor(d, u, 0.0, 0.0, 0.0) * sizes)
        self.mean_error = up(self.mean_error + up(sizes * up(2 * (d + 2) * UNIT_ROUNDOFF)))
        if self.kept:
            off = (np.abs(gradient) * centre_bound).sum(axis=1, keepdims=True)
            self.mean_error = up(self.mean_error + up(2 * off))
        out = model.format("out")
        assert out is not None
        terms = 16.0 * max(len(block.side.k), len(block.queries)) * d
        scale = max(1.0, abs(block.options.scale))
        sizes = (1 + float(np.abs(gradient).max())) * (1 + float(np.abs(self.values).max()))
        sizes *= (1 + block.side.largest_key) * (1 + float(np.abs(block.queries).max()))
        #: What underflow takes from a sum of the accumulator's format, and the output's.
        self.lost = float(up(up(up(terms * model.unit.lost) * sizes) * scale + out.lost))

    def sums(self) -> tuple[_Sum, _Sum, _Sum]:
        """Return what the block gives to dQ, dK and dV."""
        block, model = self.block, self.model
        q, k, g = block.queries, block.side.k, self.gradient
        weight_error = self._logarithm_error()
        if self.kept:
            self._keep(weight_error)
        scale = abs(block.options.scale)
        by_query = _Sum.zeros(q.shape)
        by_key, by_value = _Sum.zeros(k.shape), _Sum.zeros((len(k), g.shape[1]))
        size_q, size_k, size_g = np.abs(q), np.abs(k), np.abs(g)
        u, low = model.unit.unit_roundoff, model.format("weights")
        formats = (model.format(name) for name in ("score_gradients", "logits", "accumulate"))
        most = min(each.largest for each in formats if each is not None)
        # A hidden key's dP may overflow too, and a weight of 0 makes no number of it.
        sizes = size_g.sum(axis=1) * np.abs(self.values).max(initial=0) + np.abs(self.mean[:, 0])
        overflows = 2 * sizes > most
        if overflows.any():
            by_query.error[overflows] = np.inf
            by_key.error[:] = np.inf
        step, scaled = model.format("score_gradients"), 0.0
        steps_lost, weights_lost = _lost(model, "score_gradients"), _lost(model, "weights")
        if model.logits is not None and block.options.scale != 1:
            scaled = roundoff(model, "logits")
            steps_lost = up(steps_lost + _lost(model, "logits"))
        for tile in self._tiles(weight_error):
            rows, keys, p, theta, product, product_error, slope, capped = tile
            difference = product - self.mean[rows]
            score = p * difference * slope
            magnitude = np.abs(score)
            relative = library_up(np.expm1(theta))
            error = gradient_score(
                relative,
                up(model.unit.lost * up(relative + 1)),
                0.0,
                product_error,
                self.mean_error[rows],
                magnitude,
                p,
                np.abs(difference),
                u,
                model.unit.lost,
            )
            if block.options.softcap is not None:
                error = up(error + up(up(p * np.abs(difference)) * capped))
            own = up(library_up(np.expm1(self.own[rows])) + 16 * UNIT_ROUNDOFF)
            error = up(error + up(own * up(p * up(np.abs(difference) + np.abs(product)))))
            if self.kept:
                # What a weight has lost to underflow, it has lost here too.
                apart = np.abs(difference) + product_error + self.mean_error[rows]
                error = up(error + up(weights_lost * apart))
            if step is not None:
                gap = _half_gap(step, up(magnitude + error), scale)
                error = kernel_standing(error, gap)
            if scaled:
                error = kernel_partial(error, magnitude, scaled)
            error = up(error + np.where(p > 0, steps_lost, 0))
            # Nothing is known of what may overflow on the way, whatever it is multiplied with.
            unknown = ~(error < HUGE)
            unknown &= (p > 0) | (theta >= LARGEST)
            error = np.where(error < HUGE, error, 0)
            by_query.value[rows] += block.options.scale * (score @ k[keys])
            by_query.error[rows] += scale * (error @ size_k[keys])
            by_query.size[rows] += scale * (magnitude @ size_k[keys])
            by_key.value[keys] += block.options.scale * (score.T @ q[rows])
            by_key.error[keys] += scale * (error.T @ size_q[rows])
            by_key.size[keys] += scale * (magnitude.T @ size_q[rows])
            if unknown.any():
                by_query.error[rows][unknown.any(axis=1)] = np.inf
                by_key.error[keys][unknown.any(axis=0)] = np.inf
            error = gradient_weight(theta, p, model.unit.lost)
            if low is not None and not self.kept:
                error = kernel_standing(error, low.half_gap(up(p + error)))
            error = up(error + np.where(p > 0, weights_lost, 0))
            error = up(error + up(own * p))
            by_value.value[keys] += p.T @ g[rows]
            by_value.error[keys] += error.T @ size_g[rows]
            by_value.size[keys] += p.T @ size_g[rows]
        return by_query, by_key, by_value

    def _logarithm_error(self) -> Array:
        """Return what a kernel's log-sum-exp is off by, and its own use of it."""
        model, block = self.model, self.block
        u, keys = model.unit.unit_roundoff, len(block.side.k) + 1
        total = np.zeros_like(self.logarithm)
        for tile in tiles(block):
            theta, p = self._weights(tile)
            total[tile.rows] += (p * np.expm1(np.minimum(theta, 700.0))).sum(axis=1, keepdims=True)
        if block.sink is not None:
            theta = self.exponents.of_sink(block.sink, self.logarithm)
            total += np.exp(block.sink - self.logarithm) * np.expm1(theta)
        # ln sum p e^theta is at most sum p (e^theta - 1), and so is what e^-theta takes.
        moved = up(sum_above(total, keys + 8) * library_up(np.exp(self.own)))
        denominator = kernel_factor(
            model.roundings(keys) + model.splits + 4, u, roundoff(model, "exponentials"), 0.0, 0.0
        )
        relative = up(denominator / (1 - denominator))
        sizes = up(np.abs(self.logarithm) + library_up(np.log(keys)) + self.exponents.most)
        rounded = up(up((LOG_ERROR + 6) * u) * sizes)
        # The exponential of the way back is one of those that theta has.
        off: Array = up(up(up(moved / np.maximum(1 - moved, TINY)) + relative) + rounded)
        return off

    def _keep(self, weight_error: Array) -> None:
        """Add what the sum of p dP is off by, where weights are kept rounded."""
        u = self.model.unit.unit_roundoff
        terms = self.model.roundings(len(self.block.side.k)) + 2
        weights_lost = _lost(self.model, "weights")
        off, size = np.zeros_like(self.mean), np.zeros_like(self.mean)
        for rows, _, p, theta, product, product_error, _, _ in self._tiles(weight_error):
            grown = library_up(np.exp(theta))
            apart = np.abs(product) + product_error
            off[rows] += (p * ((grown - 1) * np.abs(product) + grown * product_error)).sum(
                axis=1, keepdims=True
            ) + weights_lost * apart.sum(axis=1, keepdims=True)
            size[rows] += (p * grown * (np.abs(product) + product_error)).sum(axis=1, keepdims=True)
        more = kernel_factor(terms, u, 0.0, 0.0, 0.0)
        self.mean_error = up(self.mean_error + up(2 * off) + up(2 * more * size))

    def _weights(self, tile: Any) -> tuple[Array, Array]:
        """Return theta and p of a tile; of hidden keys both are 0."""
        assert tile.product is not None
        error = self.exponents.score_errors(tile.product, tile.before, tile.score, tile.bias)
        shifted = tile.score - self.logarithm[tile.rows]
        hidden = (
            self.empty[tile.rows] if tile.hidden is None else tile.hidden | self.empty[tile.rows]
        )
        np.copyto(shifted, -np.inf, where=hidden)
        p = np.exp(shifted)
        theta = self.exponents.of(error, np.maximum(shifted, -1e300), tile.rows)
        return np.where(hidden, 0, theta), p

    def _tiles(self, weight_error: Array) -> Any:
        """Yield tiles with p, what its logarithm is off by, dP and its error, and the slope of the cap."""
        model, softcap = self.model, self.block.options.softcap
        u, d = model.unit.unit_roundoff, self.values.shape[1]
        weights, low = roundoff(model, "weights"), roundoff(model, "logits")
        kept_values = roundoff(model, "values")
        factor = kernel_factor(d, u, low, kept_values, 0.0)
        size_g, size_v = np.abs(self.gradient), np.abs(self.values)
        largest = size_g.sum(axis=1).max()
        for tile in tiles(self.block):
            before = tile.before.copy()
            theta, p = self._weights(tile)
            theta = up(theta + weight_error[tile.rows])
            if self.kept:
                theta = up(theta + rounding_weight(0.0, weights, 0.0, 1.0, 1.0))
            theta = np.minimum(theta, LARGEST)
            product = self.gradient[tile.rows] @ self.values[tile.keys].T
            sizes = size_g[tile.rows] @ size_v[tile.keys].T
            error = up(up(factor + 2 * (d + 2) * UNIT_ROUNDOFF) * sizes)
            error = up(error + up(_lost(model, "logits") + _lost(model, "values") * largest))
            slope, capped = np.ones_like(p), np.zeros_like(p)
            if softcap is not None:
                t = np.tanh(before / softcap)
                slope = 1 - t * t
                # The slope's argument is off by theta's score error, tanh and its square by roundings.
                roundings = up(2 * (model.exp_error + 4) * u + 4 * low)
                moved = library_up(np.expm1(up(2 * self.exponents.largest / softcap)))
                capped = up(np.minimum(up(moved[tile.rows] * slope) + roundings, 2.0))
            yield tile.rows, tile.keys, p, theta, product, error, slope, capped


def _judged(
    name: str,
    got: Array,
    allowed: Tolerance,
    model: RoundingModel,
    semantics: Mapping[str, Any],
) -> Judgement:
    bad = outside(got, allowed.lower, allowed.upper)
    ratio = ratios(got, allowed, model)
    count, worst, sentence = int(np.count_nonzero(bad)), None, ""
    if count:
        flat = int(np.argmax(np.where(bad, ratio, -1)))
        at = tuple(int(i) for i in np.unravel_index(flat, got.shape))
        worst = Violation(
            test="FP.kernel_backward",
            entry=at,
            value=float(got[at]),
            lower=float(allowed.lower[at]),
            upper=float(allowed.upper[at]),
            centre=float(allowed.centre[at]),
            excess=float(ratio[at]),
            key=None if name == "dQ" else at[-2],
            weight=0.0,
        )
        sentence = (
            f"{name}[{', '.join(map(str, at))}] = {worst.value!r} lies outside [{worst.lower!r}, "
            f"{worst.upper!r}], {worst.excess:.3g} times as far from the gradient, {worst.centre!r}, as "
            f"{model} lets a kernel go given its own output (FP.kernel_backward; {count} of {got.size} "
            "entries do). "
            "These two lines repeat it:\n"
            f"    model = {model}\n"
            "    assert_attention_backward((dQ, dK, dV), output, dO, Q, K, V, model"
            f"{options_text(semantics)})"
        )
    unknown = np.isinf(allowed.lower) & np.isinf(allowed.upper)
    return Judgement(
        model=model,
        entries=got.size,
        violations=count,
        unjudged=int(np.count_nonzero(unknown)),
        ratio=float(np.where(unknown, 0, ratio).max()),
        worst=worst,
        sentence=sentence,
        tolerance=replace(allowed),
    )
