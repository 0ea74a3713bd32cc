"""How far the logarithm of a kernel's weight may lie from what it stands for: theta of FP.kernel, a key."""

from typing import Any

import numpy as np

from fastpath.core.bounds.kernels import kernel_factor
from fastpath.core.bounds.softmax import ARITHMETIC, rounding_weight
from fastpath.core.directed import above, library_up, up
from fastpath.core.inputs import Array, Matrix
from fastpath.exact.blocks import Block, Scores, logit_magnitude
from fastpath.kernels.model import RoundingModel

#: What a kernel's logarithm may err, in units of u: 4 ulp.
LOG_ERROR = 8

#: More roundings than an entry of theta passes through where it is computed.
OWN_ROUNDINGS = 24


class Exponents:
    """The exponents of a block of queries, for keys in tiles.

    theta_j = e_j + fall (L - s_j) + constant, where e_j, the error of the score, is built up
    step by step as the kernel builds the score: coefficients here are rounded upward, entries are computed in
    the type of the tiles and raised by what that may lose.

    Parameters
    ----------
    model : RoundingModel
    block : Block
        In the type of the tiles.
    scores : Scores
        Of that block: what the tiles themselves are off by.
    logarithm, log_bound : array, shape (rows, 1)
        The logarithm of the denominator, and its error.
    """

    def __init__(
        self, model: RoundingModel, block: Block, scores: Scores, logarithm: Array, log_bound: Array
    ) -> None:
        self.model, self.options = model, block.options
        self.dtype = block.queries.dtype.type
        constants = ARITHMETIC[block.queries.dtype.name]
        u, keys, d = model.unit.unit_roundoff, len(block.side.k), block.queries.shape[1]
        low, inputs, exponentials = (
            model.format(name) for name in ("logits", "inputs", "exponentials")
        )
        self.low = 0.0 if low is None else low.unit_roundoff
        input_roundoff = 0.0 if inputs is None else inputs.unit_roundoff
        #: Relative to |scale| |q|.|k|: the product in any order, the scale on either side, and their formats.
        self.product = kernel_factor(d + 4, u, input_roundoff, input_roundoff, 0.0)
        #: Relative to the score before its cap: a rounding of the product and one of the scaled product.
        self.twice = low is not None and self.options.scale != 1 and inputs is None
        self.scaled = kernel_factor(0, u, self.low, self.low if self.twice else 0.0, 0.0)
        #: Relative to the capped score.
        self.cap = kernel_factor(4 + np.ceil(model.exp_error), u, self.low, self.low, self.low)
        #: Relative to |score| + |bias|: the bias itself, and the sum.
        self.sum = kernel_factor(2, u, self.low, self.low, 0.0)
        exponential = 0.0 if exponentials is None else exponentials.unit_roundoff
        self.reach = up(3 * u + exponential)
        #: Relative to how far a score lies below the largest, which may lie below the logarithm.
        self.below_largest = self.reach
        self.size = u
        constant = rounding_weight(0.0, u, 0.0, model.exp_error, model.blocks(keys))
        constant = up(constant + rounding_weight(0.0, exponential, 0.0, 1.0, 1.0))
        if model.denominator == "rounded":
            weights = model.format("weights")
            assert weights is not None
            constant = up(constant + rounding_weight(0.0, weights.unit_roundoff, 0.0, 1.0, 1.0))
        own = up(scores.magnitude + scores.error)
        # That of the scores is after their cap.
        size = up(
            logit_magnitude(block.queries, block.side, block.ranges) * abs(block.options.scale)
        )
        size = up(size + scores.error[:, 0])[:, None]
        largest = up(self._error(size.copy(), size, size, None))
        if block.bias is not None:
            largest = up(largest + up(self.sum * own))
        start = self._underflow(block, d, inputs)
        largest = up(largest + start)
        if model.splits > 1:
            # The parts' logarithms lie between the scores of their keys and that of the whole.
            parts = up(
                up((LOG_ERROR + 3) * u) * up(np.abs(logarithm) + library_up(np.log(keys + 1)))
            )
            constant = up(constant + parts + up(up((LOG_ERROR + 3) * u) * largest))
            constant = up(constant + rounding_weight(0.0, u, 0.0, model.exp_error, 1))
            self.reach = up(self.reach + 3 * u)
            self.size = up(self.size + up((LOG_ERROR + 3) * u))
        #: The largest error of a score.
        self.largest = largest
        # What the tiles are off by, where they stand for the scores and for L - s.
        off = up(
            scores.error
            + log_bound
            + up(up(np.abs(logarithm) + own) * up(4 * constants["unit_roundoff"]))
        )
        coefficients = up(self.scaled + self.cap + self.sum + self.reach + self.size)
        second = up(up(2 * largest) * up(self.reach + self.size))
        # |s_j| is at most L - s_j and |L| together.
        self.constant: Array = up(
            up(up(constant + start) + up(second + up(off * up(2 * coefficients))))
            + up(self.size * np.abs(logarithm))
        )
        self.fall = up(self.reach + self.size)
        #: A bound for the keys of a row, but for those with a bias.
        self.most: Array = up(
            up(largest + up(self.fall * up(np.abs(logarithm) + own))) + self.constant
        )
        # The sums of products pass through as many roundings as there are columns.
        self._raise = 1 + 2 * (OWN_ROUNDINGS + d) * constants["unit_roundoff"]
        self._constant = (self.constant * self._raise).astype(self.dtype)

    def _underflow(self, block: Block, d: int, inputs: Any) -> Array:
        """Return what underflow may add to the error of a score, through all steps."""
        model, scale = self.model, max(1.0, abs(self.options.scale))
        largest_query = np.abs(block.queries).max(axis=1, keepdims=True).astype(np.float64)
        largest_key = np.reshape(block.side.largest_key, (-1, 1))
        sizes = up((1 + largest_query) * (1 + largest_key))
        lost = up(up(up(2 * d * model.unit.lost) * scale) * sizes)
        if inputs is not None:
            lost = up(lost + up(up(up(2 * d * inputs.lost) * scale) * sizes))
        step = model.unit.lost
        low = model.format("logits")
        if low is not None:
            step = up(step + low.lost)
        steps = up(up(2 * step) * scale)
        if self.options.softcap is not None:
            steps = up(steps + up(3 * step) * up(1 + self.options.softcap))
        later = up(up(1 + self.scaled) * up(up(1 + self.cap) * up(1 + self.sum)))
        start: Array = up(up(up(lost + steps) + 2 * step) * later)
        return start

    def _error(self, product: Any, before: Any, after: Any, bias: Any) -> Any:
        """Return the error of scores: of the product, a rounding of it, a cap, and a bias."""
        number = self.dtype if product.dtype == np.float32 else float
        product *= number(self.product)
        error = product
        if self.low:
            error *= number(1 + self.scaled)
            error += number(self.scaled) * np.abs(before)
        if self.options.softcap is not None:
            capped = np.minimum(np.abs(before) + error, number(self.options.softcap))
            error += number(self.cap) * capped
        if bias is not None:
            error += number(self.sum) * (np.abs(after) + np.abs(bias) + error)
        return error

    def score_errors(
        self, product: Matrix, before: Matrix, score: Matrix, bias: Matrix | None
    ) -> Matrix:
        """Return e for a tile; ``product`` is |scale| |q|.|k|, ``before`` the score before its cap.

        The result stands in ``product``.
        """
        after = score if bias is None else score - bias
        error: Matrix = self._error(product, before, after, bias)
        return error

    def random(self, before: Array) -> tuple[Array, Array]:
        """Return what the roundings of the product may make of a score, and the sum of their squares.

        Of scores that are capped nothing: a cap bends what is of mean 0.
        """
        if not self.low or self.options.softcap is not None:
            return np.zeros_like(before), np.zeros_like(before)
        step = self.low * np.abs(before)
        count = 2 if self.twice else 1
        return count * step, count * step * step

    def of(self, error: Matrix, shifted: Matrix, rows: slice) -> Matrix:
        """Return theta for a tile, of its score errors and of s - L; it stands in ``error``.

        Of hidden keys ``shifted`` is -inf and the result anything.
        """
        error -= shifted * self.dtype(self.fall)
        error += self._constant[rows]
        error *= self.dtype(self._raise)
        return error

    def of_sink(self, sink: float, logarithm: Array) -> Array:
        """Return theta of the sink, a score that is read."""
        error = up(kernel_factor(1, self.model.unit.unit_roundoff, self.low, 0.0, 0.0) * abs(sink))
        distance = np.maximum(above(logarithm - sink), 0)
        theta: Array = up(up(error + up(self.fall * distance)) + self.constant)
        return theta
