"""What the tolerance needs of a block of queries: sums over keys of weights and values, in tiles."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.kernels import kernel_deviation
from fastpath.core.bounds.softmax import ARITHMETIC, positive_sum, rounding_weight
from fastpath.core.directed import down, library_down, library_up, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.norms import TINY
from fastpath.core.once import once
from fastpath.exact.blocks import Block, Scores
from fastpath.kernels.exponents import OWN_ROUNDINGS, Exponents
from fastpath.kernels.formats import Format

#: Tile of the matrix of weights, as in exact attention.
QUERY_BLOCK, KEY_BLOCK = 1024, 256

#: Exponents up to which e^theta - 1 is bounded by theta (1 + theta).
SMALL = 2.0**-6

#: Where one of a row's exponents in the first tile is larger, one above SMALL is likely in the others.
NEARLY = 0.75 * SMALL

#: Exponents up to which e^theta is taken to be the reciprocal of e^-theta, as neither underflows then.
LARGE = 1.0

#: Exponents so small that the largest of a row is as good as those of its keys, where they raise sums.
SLIGHT = 2.0**-10

#: What single precision may be off by in the logarithm of a weight; else tiles are of doubles.
SINGLE = 2.0**-8


class Values:
    """The values of a head, in units of a power of two a column, with what the sums need of them."""

    def __init__(self, v: Matrix) -> None:
        self.largest: Array = np.abs(v).max(axis=0).astype(np.float64)
        self.exponent = np.where(self.largest > 0, np.frexp(self.largest)[1], 0)
        scaled = np.ldexp(v.astype(np.float64), -self.exponent).astype(v.dtype)
        self.unit_largest = np.ldexp(self.largest, -self.exponent)
        self.scaled = scaled
        ones = np.ones((len(v), 1), v.dtype)
        size = np.abs(scaled)
        #: |v|, v^2, 1, v: multiplied with weights in one product.
        self.columns = np.concatenate([size, scaled * scaled, ones, scaled], axis=1)

    @once
    def running(self) -> Array:
        """Sums of |v| over the first 0, 1, ... keys, in units, which only ranges of keys need."""
        size = np.abs(self.scaled).astype(np.float64)
        return np.concatenate([np.zeros((1, size.shape[1])), np.cumsum(size, axis=0)])

    def total(self, ranges: tuple[NDArray[np.intp], NDArray[np.intp]] | None) -> Array:
        """Bound the sum of |v| over the keys that a query may see, in units."""
        count = len(self.scaled) + 1
        unit = ARITHMETIC["float64"]["unit_roundoff"]
        whole = np.abs(self.scaled).sum(axis=0, dtype=np.float64, keepdims=True)
        slack = up(up(2 * count * unit) * whole)
        if ranges is None:
            bounded: Array = up(whole + slack)
            return bounded
        first, stop = ranges
        seen = self.running[np.maximum(stop, first)] - self.running[first]
        bounded = up(np.maximum(seen, 0) + slack)
        return bounded


@dataclass(frozen=True, kw_only=True)
class RowSums:
    """Sums over the keys of every query, bounded from above, ``smallest`` from below; columns in units.

    Attributes
    ----------
    deviation
        sum_j p_j (e^theta_j - 1) |v_j - o|, by Cauchy and Schwarz.
    values
        sum_j p_j e^theta_j |v_j|.
    largest, smallest
        sum_j p_j e^(+-theta_j).
    heaviest
        The largest p_j.
    small
        u tiny times the sum of |v_j| over the weights below tiny, where they are divided and then rounded.
    """

    deviation: Array
    values: Array
    largest: Array
    smallest: Array
    heaviest: Array
    small: Array | float


def own_error(
    scores: Scores, logarithm: Array, log_bound: Array, dtype: np.dtype[np.floating]
) -> Array:
    """Bound what the logarithm of a weight is off by where it is computed in that type."""
    constants = ARITHMETIC[dtype.name]
    u = constants["unit_roundoff"]
    size = up(np.abs(logarithm) + scores.magnitude)
    error: Array = rounding_weight(
        up(up(scores.error + log_bound) + up(up(3 * u) * size)), u, size, constants["exp_error"], 1
    )
    return error


def row_sums(
    block: Block,
    scores: Scores,
    values: Values,
    exponents: Exponents,
    weights: Format | None,
    coarse: float,
    centre: Array,
    centre_bound: Array,
    logarithm: Array,
    log_bound: Array,
) -> RowSums:
    """Return the sums of one block of queries, key block by key block.

    ``weights`` is the format to which weights are rounded after they are divided, if they are; theta of at
    most ``coarse`` need not be told apart; ``centre`` is the exact output, up to ``centre_bound``, in units.
    """
    dtype = block.queries.dtype
    count, width = len(block.queries), values.scaled.shape[1]
    totals = np.zeros((count, 2 * width + 1))
    raised = np.zeros((count, 3 * width + 1))
    squares, firsts, least = (np.zeros((count, 1)) for _ in range(3))
    heaviest, longest = np.zeros((count, 1)), np.zeros((count, 1))
    small = np.zeros((count, width))
    wide = np.zeros((count, 1), bool)
    of_rows = logarithm.astype(dtype)
    # Where the rounding of the weights is far more than all theta, one bound a row will do.
    alike = bool(exponents.most.max() <= coarse) and block.bias is None
    # What they raise sums by is then e^most, for which they need not be looked at.
    slight = bool(exponents.most.max() <= SLIGHT) and block.bias is None
    # The heaviest weight of a row says how far its largest score lies below the logarithm.
    weighed = exponents.model.loses_by_weight or not alike
    gradual = weights if weights is not None and weights.gradual else None
    if not (alike or slight):
        _look(block, exponents, of_rows, wide)
    # Sums of rows with large exponents are made apart.
    apart = bool(wide.all())
    for tile in tiles(block, sizes=not alike) if not apart else ():
        rows, score = tile.rows, tile.score
        error = None
        if tile.product is not None:
            error = exponents.score_errors(tile.product, tile.before, score, tile.bias)
        score -= of_rows[rows]
        if tile.hidden is not None:
            np.copyto(score, -np.inf, where=tile.hidden)
        theta = None if error is None else exponents.of(error, score, rows)
        p = np.exp(score, out=score)
        if weighed:
            np.maximum(heaviest[rows], p.max(axis=1, keepdims=True), out=heaviest[rows])
        if gradual is not None:
            _count_small(small[rows], p, gradual, values.columns[tile.keys, :width])
        totals[rows] += p @ values.columns[tile.keys, : 2 * width + 1]
        if theta is None:
            continue
        if tile.hidden is not None:
            np.copyto(theta, 0, where=tile.hidden)
        if not slight:
            largest = theta.max(axis=1, keepdims=True)
            np.maximum(longest[rows], largest, out=longest[rows])
            wide[rows] |= largest > SMALL
            # Of rows with small exponents e^(the largest) is what sums are raised by in the end; the sums of
            # others are made in a second pass.
            if largest.max() > 1:
                np.minimum(theta, 1, out=theta)
        p *= theta
        firsts[rows] += p.sum(axis=1, keepdims=True)
        squares[rows] += np.einsum("ij,ij->i", p, theta)[:, None]
    if not weighed:
        heaviest[:] = 1
    if alike or slight:
        longest = exponents.most
    if alike:
        squares = totals[:, 2 * width : 2 * width + 1] * up(longest * longest)
    if wide.any():
        also = (heaviest, small, gradual) if apart else None
        _raise(block, values, exponents, of_rows, raised, squares, firsts, least, wide, also)
    return _finished(
        scores,
        values,
        dtype,
        totals,
        raised,
        squares,
        firsts,
        least,
        heaviest,
        longest,
        wide,
        weights,
        small,
        centre,
        centre_bound,
        logarithm,
        log_bound,
        block,
        exponents,
    )


def _look(block: Block, exponents: Exponents, of_rows: Matrix, wide: NDArray[np.bool_]) -> None:
    """Find the rows that have a large exponent in the first tile."""
    for tile in tiles(block):
        assert tile.product is not None
        error = exponents.score_errors(tile.product, tile.before, tile.score, tile.bias)
        theta = exponents.of(error, tile.score - of_rows[tile.rows], tile.rows)
        if tile.hidden is not None:
            np.copyto(theta, 0, where=tile.hidden)
        wide[tile.rows] = theta.max(axis=1, keepdims=True) > NEARLY
        break


def _count_small(small: Array, p: Matrix, weights: Format, sizes: Matrix) -> None:
    """Add up |v| over the weights that are rounded to numbers below tiny, or may be."""
    below = p < p.dtype.type(4 * weights.tiny)
    if below.any():
        small += below.astype(p.dtype) @ sizes


def _raise(
    block: Block,
    values: Values,
    exponents: Exponents,
    of_rows: Matrix,
    raised: Array,
    squares: Array,
    firsts: Array,
    least: Array,
    wide: NDArray[np.bool_],
    also: tuple[Array, Array, Format | None] | None,
) -> None:
    """Add up r = p e^theta and what is made of it, for the rows with large exponents.

    ``also`` has the heaviest weights, and what is small, where no other pass finds them.
    """
    squares[wide[:, 0]] = firsts[wide[:, 0]] = 0
    one = block.queries.dtype.type(1 + _lever_slack(block.queries.dtype))
    for tile in tiles(block):
        rows, score = tile.rows, tile.score
        if not wide[rows].any():
            continue
        assert tile.product is not None
        error = exponents.score_errors(tile.product, tile.before, score, tile.bias)
        score -= of_rows[rows]
        if tile.hidden is not None:
            np.copyto(score, -np.inf, where=tile.hidden)
        theta = exponents.of(error, score, rows)
        if tile.hidden is not None:
            np.copyto(theta, 0, where=tile.hidden)
        moderate = bool(theta.max() <= LARGE)
        if not moderate:
            r, lever, shrunk = np.exp(score + theta), np.expm1(-theta), np.exp(score - theta)
            least[rows] += shrunk.sum(axis=1, keepdims=True, dtype=np.float64)
        p = np.exp(score, out=score)
        if also is not None:
            heaviest, small, gradual = also
            np.maximum(heaviest[rows], p.max(axis=1, keepdims=True), out=heaviest[rows])
            if gradual is not None:
                width = values.scaled.shape[1]
                _count_small(small[rows], p, gradual, values.columns[tile.keys, :width])
        if moderate:
            # An exponential for three: each takes as long as all else that is done once for a weight.
            reciprocal = np.exp(np.negative(theta, out=theta), out=theta)
            least[rows] += np.einsum("ij,ij->i", p, reciprocal)[:, None]
            lever = one - reciprocal
            first = np.einsum("ij,ij->i", p, lever)
            r = np.divide(p, reciprocal, out=p)
        else:
            np.negative(lever, out=lever)
            first = np.einsum("ij,ij->i", p, lever)
        raised[rows] += r @ values.columns[tile.keys]
        lever *= lever
        squares[rows] += np.where(wide[rows], np.einsum("ij,ij->i", r, lever)[:, None], 0)
        firsts[rows] += np.where(wide[rows], first[:, None], 0)


def _lever_slack(dtype: np.dtype[np.floating]) -> float:
    """Return more than the rounding of e^-theta, of at most 1, and of its difference from 1."""
    constants = ARITHMETIC[dtype.name]
    return 4 * (constants["exp_error"] + 2) * constants["unit_roundoff"]


def _finished(
    scores: Scores,
    values: Values,
    dtype: np.dtype[np.floating],
    totals: Array,
    raised: Array,
    squares: Array,
    firsts: Array,
    least: Array,
    heaviest: Array,
    longest: Array,
    wide: NDArray[np.bool_],
    weights: Format | None,
    small: Array,
    centre: Array,
    centre_bound: Array,
    logarithm: Array,
    log_bound: Array,
    block: Block,
    exponents: Exponents,
) -> RowSums:
    """Turn computed sums into bounds: their own roundings, the weights' errors, the sink."""
    constants, width, keys = ARITHMETIC[dtype.name], values.scaled.shape[1], len(block.side.k)
    own = own_error(scores, logarithm, log_bound, dtype)
    more, less = library_up(np.exp(own)), library_down(np.exp(-own))
    roundings = KEY_BLOCK + -(-keys // KEY_BLOCK) + 2 * OWN_ROUNDINGS
    # Of e^-theta, by which a weight is multiplied or divided.
    roundings += int(2 * constants["exp_error"])

    def above(computed: Array) -> Array:
        bounded: Array = up(
            more
            * positive_sum(
                computed, keys, roundings, constants["unit_roundoff"], 4 * constants["tiny"]
            )
        )
        return bounded

    ones = slice(2 * width, 2 * width + 1)
    sink = np.zeros_like(logarithm)
    sink_theta = np.zeros_like(logarithm)
    if block.sink is not None:
        sink = library_up(np.exp(up(block.sink - logarithm + up(own))))
        sink_theta = exponents.of_sink(block.sink, logarithm)
    longest = up(longest)
    grown = library_up(np.exp(longest))
    grown_sink = library_up(np.exp(sink_theta))
    size = np.abs(centre)
    far = up(size + centre_bound)
    # Small exponents: theta (1 + theta) bounds e^theta - 1, and sum p (v - o)^2 = sum p v^2 - o^2.
    below = down(up(1 - 2 * roundings * constants["unit_roundoff"]) * less)
    heaviest = np.maximum(above(heaviest), sink)
    less_far = _nearer(heaviest, exponents)
    error_squares = _about_largest(
        above(squares), down(below * firsts), above(totals[:, ones]), less_far
    )
    error_squares = up(error_squares * up(grown * grown))
    error_squares = up(error_squares + up(sink * up(library_up(np.expm1(sink_theta)) ** 2)))
    near = down(size - centre_bound)
    variance = np.maximum(up(above(totals[:, width : 2 * width]) - down(near * near)), 0)
    deviation = kernel_deviation(error_squares, variance)
    of_values = up(above(totals[:, :width]) * grown)
    largest = up(up(above(totals[:, ones]) * grown) + up(sink * grown_sink))
    smallest = down(below * down(totals[:, ones] / grown))
    seen_sink = down(sink / up(up(more * more) * grown_sink))
    smallest = down(smallest + seen_sink)
    if wide.any():
        with np.errstate(all="ignore"):
            r_values, r_squares = above(raised[:, :width]), above(raised[:, width : 2 * width])
            r_ones = up(above(raised[:, ones]) + up(sink * grown_sink))
            # sum r (v - c)^2 about the computed centre c, whose own error is added after.
            signed = raised[:, 2 * width + 1 :]
            spread = r_squares - 2 * centre * signed + r_ones * size**2
            loss = up(
                up(r_squares + up(2 * size) * r_values + up(r_ones * size * size))
                * up(up(2 * own) + up(8 * roundings * constants["unit_roundoff"]))
            )
            root = up(np.sqrt(np.maximum(spread, 0) + loss))
            root = up(root + up(centre_bound * up(np.sqrt(r_ones))))
            # 1 - e^-(theta - c) is 1 - e^-theta less (e^c - 1) e^-theta.
            slack = up(2 * _lever_slack(dtype) * r_ones)
            r_error_squares = _about_largest(
                above(squares),
                down(down(below * firsts) - slack),
                above(least),
                library_down(np.expm1(less_far)),
            )
            r_deviation = up(up(np.sqrt(r_error_squares)) * root)
            sink_part = up(up(sink * library_up(np.expm1(sink_theta))) * far)
            r_smallest = down(down(below * least) + seen_sink)
        deviation = np.where(wide, up(r_deviation + sink_part), deviation)
        of_values = np.where(wide, r_values, of_values)
        largest = np.where(wide, r_ones, largest)
        smallest = np.where(wide, r_smallest, smallest)
    lost = 0.0 if weights is None else up(up(weights.lost) * above(small))
    return RowSums(
        deviation=deviation,
        values=of_values,
        largest=largest,
        smallest=smallest,
        heaviest=heaviest,
        small=lost,
    )


def _nearer(heaviest: Array, exponents: Exponents) -> Array:
    """Return by how much less each theta is for being of the distance from the largest score.

    That is c = below_largest (L - m) for every key, and L - m is -ln of the heaviest weight.
    """
    distance = library_down(np.maximum(-np.log(np.maximum(heaviest, TINY)), 0))
    found: Array = down(distance * exponents.below_largest)
    return found


def _about_largest(squares: Array, firsts: Array, total: Array, less: Array) -> Array:
    """Return sum w (x - c y)^2 = sum w x^2 - 2 c sum w x y + c^2 sum w y^2, ``firsts`` rounded downward."""
    moved = up(squares + up(up(less * less) * total))
    found: Array = np.where(firsts > 0, up(np.maximum(moved - down(2 * less * firsts), 0)), squares)
    return found


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Some queries and some keys: their scores, and what these are made of.

    Attributes
    ----------
    rows, keys : slice
    score : array
        Of hidden keys anything.
    before : array
        The score before its cap; the score itself where there is none.
    product : array or None
        |scale| |q|.|k|, where it was asked for.
    bias : array or None
    hidden : array of bool, or None
    """

    rows: slice
    keys: slice
    score: Matrix
    before: Matrix
    product: Matrix | None
    bias: Matrix | None
    hidden: NDArray[np.bool_] | None


def tiles(block: Block, *, sizes: bool = True) -> Iterator[Tile]:
    """Yield every tile of which some query sees any key; ``sizes``: with |scale| |q|.|k|.

    The next tile stands where this one did.
    """
    options, dtype = block.options, block.queries.dtype
    q = block.queries if options.scale == 1 else block.queries * dtype.type(options.scale)
    size = np.abs(q) if sizes else None
    first_key, stop_key = block.keys
    # Fresh memory of that size costs as much in page faults as half of a product.
    score_room, size_room = (np.empty(len(q) * KEY_BLOCK, dtype) for _ in range(2))
    for first in range(first_key - first_key % KEY_BLOCK, stop_key, KEY_BLOCK):
        keys = slice(first, min(first + KEY_BLOCK, stop_key))
        rows = block.seeing(first, keys.stop)
        hidden = block.hidden(rows, keys) if rows.stop > rows.start else None
        if rows.stop == rows.start or (hidden is not None and hidden.all()):
            continue
        k = block.side.k[keys]
        shape = rows.stop - rows.start, len(k)
        score = np.matmul(q[rows], k.T, out=score_room[: shape[0] * shape[1]].reshape(shape))
        before, bias = score, None
        if options.softcap is not None:
            cap = dtype.type(options.softcap)
            score = cap * np.tanh(score / cap)
        if block.bias is not None:
            bias = block.bias[rows, keys]
            gone = np.isneginf(bias)
            if gone.any():
                hidden = gone if hidden is None else hidden | gone
                bias = np.where(gone, 0, bias)
            bias = np.clip(bias, -np.finfo(dtype).max / 8, None).astype(dtype)
            score = score + bias
        product = None
        if size is not None:
            room = size_room[: shape[0] * shape[1]].reshape(shape)
            product = np.matmul(size[rows], np.abs(k).T, out=room)
        yield Tile(
            rows=rows,
            keys=keys,
            score=score,
            before=before,
            product=product,
            bias=bias,
            hidden=hidden,
        )
