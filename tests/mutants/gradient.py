"""The gradient of attention: terms and factors of its certificate and steps of its computation, left out."""

from functools import partial

from tests.mutants.runner import Mutant

THEOREM = (
    "tests/fastpath/exact/test_gradient_terms.py::test_the_certificate_is_the_theorems_formula"
)
ROUNDED = (
    "tests/fastpath/exact/test_gradient_terms.py::"
    "test_what_is_returned_in_float32_errs_by_its_rounding_besides"
)
PAIRS = (
    "tests/fastpath/exact/test_gradient.py::"
    "test_every_option_and_every_pair_is_within_its_certificate"
)

_planted = partial(Mutant, file="fastpath/exact/gradient.py")

_of_certificate = partial(_planted, tests=THEOREM)

_of_computation = partial(_planted, tests=PAIRS)

_of_refusals = partial(
    _planted,
    tests=(
        "tests/fastpath/exact/test_gradient.py::"
        "test_what_attention_refuses_in_float32_has_no_derivatives"
    ),
)

MUTANTS = (
    _of_refusals(
        before="    check_factors(options, given)\n",
        after="    check_factors(options, q.dtype)\n",
        catches="factors that float32 does not hold",
    ),
    _of_refusals(
        before="        self.scores = scores_of(block, dtype)\n",
        after="        self.scores = scores_of(block)\n",
        catches="scores that overflow in float32",
    ),
    _of_refusals(
        before="        self.queries = scaled_queries(block, dtype)\n",
        after="        self.queries = scaled_queries(block)\n",
        catches="queries that overflow in float32 when they are scaled",
    ),
    _of_certificate(
        before="            slope_error = gradient_slope(\n",
        after="            slope_error = 0 * gradient_slope(\n",
        catches="the error of a slope",
    ),
    _of_certificate(
        before="up(scores.capped_error / softcap), LARGEST",
        after="0.98 * up(scores.capped_error / softcap), LARGEST",
        catches="2 % of the error of tanh",
    ),
    _of_certificate(
        before="        vague = theta > 1\n",
        after="        vague = theta > 1e9\n",
        catches="that a weight of which little is known is no more than 1",
    ),
    _of_certificate(
        before="        once = np.where(vague, share, 0.0)\n",
        after="        once = np.where(vague, 0.0, 0.0)\n",
        catches="the exact weight where little is known of it",
    ),
    _of_certificate(
        before="            gradient_weight(known, 0.0, 2 * TINY),\n",
        after="            gradient_weight(known, 0.0, TINY),\n",
        catches="the underflow of one of two operations of a weight",
    ),
    _of_certificate(
        before="weights_underflow(self.count, 1, TINY, lightest)",
        after="weights_underflow(self.count, 1, TINY, 1.0)",
        catches="that exponentials without a shift may be small",
    ),
    _of_certificate(
        before="        product_error = rounding_logit(d_v, u, products, TINY)\n",
        after="        product_error = rounding_logit(1, u, products, TINY)\n",
        catches="the roundings of dO.v but one",
    ),
    _of_certificate(
        before="            up(_raised(self.sums[:, 2:], self.terms, self.count) * self.reciprocal),\n",
        after="            up(_raised(self.sums[:, 2:], 1, self.count) * self.reciprocal),\n",
        catches="the roundings of a sum that bounds the mean's error",
    ),
    _of_certificate(
        before="self._certify(0.0 if self.small else 2 * reach)",
        after="self._certify(0.0)",
        catches="the reach of a shifted exponent",
    ),
    _of_certificate(
        before="            mean_error,\n            np.abs(by_sink),\n",
        after="            0.0,\n            np.abs(by_sink),\n",
        catches="the mean's error in the derivative by a sink",
    ),
    _of_certificate(
        before="    terms = rows + len(blocks)\n",
        after="    terms = rows\n",
        catches="the additions from block to block",
    ),
    _of_certificate(
        before="min(KEY_BLOCK, len(side.v)) + len(self.tiles)",
        after="min(KEY_BLOCK, len(side.v))",
        catches="the additions from tile to tile",
    ),
    _of_certificate(
        before="        lost = up(up(up(self.smallest * self.count) + self.once) * float(",
        after="        lost = up(up(self.smallest * self.count) * float(",
        catches="what little is known of weights in dQ",
    ),
    _of_certificate(
        before="        self.lost_keys = up(self.lost_keys + other.lost_keys)\n",
        after="",
        catches="what other parts' queries lose for every key",
    ),
    _planted(
        before="        error = gradient_result(error, np.abs(output.astype(np.float64)), u, tiny)\n",
        after="        error = up(error + u * np.abs(output.astype(np.float64)))\n",
        tests=ROUNDED,
        catches="half of float32's smallest number",
    ),
    _planted(
        before="        error = gradient_result(error, np.abs(output.astype(np.float64)), u, tiny)\n",
        after="        pass\n",
        tests=ROUNDED,
        catches="the rounding of what is returned",
    ),
    _of_computation(
        before="                derivatives *= tile.slopes\n",
        after="                pass\n",
        catches="the slope of the soft cap",
    ),
    _of_computation(
        before="            self.sums[:, :1] += sink\n",
        after="            pass\n",
        catches="the sink in the sum of the weights",
    ),
    _of_computation(
        before="                np.copyto(scores, -np.inf, where=hidden)\n",
        after="                pass\n",
        catches="the mask",
    ),
    _planted(
        before="            shift[tile.seeing] = np.maximum(shift[tile.seeing], largest)",
        after="            shift[tile.seeing] = largest",
        tests=(
            "tests/fastpath/exact/test_gradient.py::"
            "test_tiles_whose_scores_lie_far_apart_are_within_their_certificate"
        ),
        catches="the largest score of earlier tiles",
    ),
)
