r"""FP.drop: what rounding does to the bound on a key's share by which keys are dropped.

The computation, for a cluster of queries around c: logits ``fl(c . k_j)``, less the largest; weights by
exp, where those too light are given the weight ``lightest``; their sum S and weighted mean κ̂, in any
order; images ``fl(fl(k_j - o) N)`` of keys and mean about an origin o; distances of images by their
squares; and the logarithm ``logit_j + radius distance_j - log S`` of a share, with radius at least |δM| for
every query c + δ.

The proof.  R.jensen holds of the computed weights ŵ too, and w_j >= e^{-θ} ŵ_j: so errors of the weights
count once, whatever they do to the mean, and what is left is a logit's own error, that of S and of κ̂ as
sum and mean of the ŵ_j, R.balance's defect, and the roundings of distance and logarithm.  A weight that
was raised belongs to no key: it adds to S, and moves the mean by its part of S times a diameter.  A
square errs relative to the squares of the images, not of their difference, hence the root of u.

NOTE That root is most of the slack of a cluster of some radius.  Where the radius is 0 and logits are large
the slack is met by two fifths: no key has all the roundings that some key may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import log
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, attention
from reference.attention import logits, softmax
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC, Arithmetic, gamma
from specs.symbols import (
    SHARE,
    UP_TO_ONE,
    defect,
    dimension,
    exp_error,
    factor_norm,
    image_length,
    key_image_error,
    key_length,
    keys,
    largest_key,
    lightest,
    logit_error,
    mean_error,
    radius,
    reach,
    rounding,
    share,
    spread,
    step_length,
    terms,
    tiny,
    unit_roundoff,
    vector_length,
)

Array = NDArray[Any]


#: About a centre, logits this far below the largest count as this far.
LOWEST_LOGIT = -60.0


@dataclass(frozen=True)
class Weighing:
    """A query of a cluster around ``centre``, keys, which of them are dropped, and a column of values.

    ``for_queries`` and ``for_keys`` are M and N; a key may have the part ``share`` / keys of the weight;
    ``slack`` is what was subtracted from the threshold.  Sum and mean are of the first ``past`` keys, of all
    where it is None (R.drop).
    """

    query: Array
    centre: Array
    keys: Array
    values: Array
    for_queries: Array
    for_keys: Array
    radius: float
    share: float
    slack: float
    dropped: tuple[bool, ...]
    past: int | None = None

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the type of the head."""
        return ARITHMETIC[self.query.dtype.name]

    @property
    def step(self) -> Array:
        """The computed q - c."""
        difference: Array = self.query - self.centre
        return difference

    @property
    def logits(self) -> Array:
        """The computed c · k_j."""
        products: Array = self.keys @ self.centre
        return products

    @property
    def below(self) -> Array:
        """The computed logits, less the largest of the first keys."""
        below: Array = self.logits - self.logits[: self.past].max()
        return below

    @property
    def weights(self) -> Array:
        """The computed weights, those too light raised."""
        below = self.below[: self.past]
        raised: Array = np.exp(np.maximum(below, below.dtype.type(LOWEST_LOGIT)))
        return raised

    @property
    def mean(self) -> Array:
        """The computed mean of the keys under the computed weights."""
        total = float(self.weights.sum())
        quotient: Array = (self.weights @ self.keys[: self.past]).astype(float) / total
        return quotient.astype(self.keys.dtype)

    @property
    def origin(self) -> Array:
        """The computed mean of the keys, the origin of their images."""
        mean: Array = self.keys.mean(axis=0)
        return mean

    def images(self, vectors: Array) -> Array:
        """Compute (x - o) N of vectors x in rows."""
        images: Array = (vectors - self.origin) @ self.for_keys
        return images

    def excess(self) -> Array:
        """Compute by what the logarithm of every key's share exceeds the threshold."""
        of_keys, of_mean = self.images(self.keys), self.images(self.mean)
        squares = (of_keys * -2) @ of_mean + (of_keys**2).sum(axis=1) + (of_mean**2).sum()
        distances = np.sqrt(np.maximum(squares, 0))
        narrow = self.keys.dtype.type
        shares = distances * narrow(self.radius) + self.below
        total = float(self.weights.sum())
        threshold = narrow(np.log(total) + log(self.share / len(self.keys)) - self.slack)
        excess: Array = _exactly(shares) - Fraction(float(threshold))
        return excess

    def quotient(self) -> float:
        """Compute attention on the kept keys."""
        kept = ~np.array(self.dropped)
        logits = self.keys[kept] @ self.query
        weights = np.exp(logits - logits.max())
        return float((weights @ self.values[kept]) / weights.sum())


def _exactly(x: Array) -> Array:
    return np.array([Fraction(float(a)) for a in x.flat], object).reshape(x.shape)


def _length(x: Array, bits: int) -> Enclosure:
    """Enclose the Euclidean length of all entries of exact numbers."""
    return lift((x**2).sum(), 2 * bits).sqrt()


def _exact_step(i: Weighing) -> Array:
    step: Array = _exactly(i.query) - _exactly(i.centre)
    return step


def _exact_image(i: Weighing) -> Array:
    image: Array = _exact_step(i) @ _exactly(i.for_queries)
    return image


def _image_error(i: Weighing, bits: int) -> Enclosure:
    return _length(_exact_image(i) - _exactly(i.step @ i.for_queries), bits)


def _image_parameters(i: Weighing, bits: int) -> Mapping[str, Value]:
    return {
        "dimension": len(i.query),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "vector_length": _length(_exact_step(i), bits),
        "factor_norm": _length(_exactly(i.for_queries), bits),
        "tiny": i.arithmetic.tiny,
    }


def _log_shares(i: Weighing, query: Array, bits: int) -> Enclosure:
    exact = logits(query[None, :], i.keys)[0]
    below = exact - exact.max()
    return below - below.at(2 * bits).exp().sum().log()


def _missing_slack(i: Weighing, bits: int) -> Enclosure:
    """Enclose the most by which a share's exact logarithm exceeds the computed one, the slack added."""
    allowed = lift(Fraction(i.share) / len(i.keys), 2 * bits).log()
    exact = _log_shares(i, i.query, bits) - allowed
    return (exact - lift(i.excess(), 2 * bits) + lift(Fraction(i.slack), 2 * bits)).max()


def _change_of_share(i: Weighing, bits: int) -> Enclosure:
    """Enclose by what a share's logarithm exceeds that at the centre."""
    return (_log_shares(i, i.query, bits) - _log_shares(i, i.centre, bits)).max()


def _longest(rows: Array, bits: int) -> Enclosure:
    return lift((rows**2).sum(axis=1).max(), 2 * bits).sqrt()


def _mean_of_weights(i: Weighing) -> Array:
    """Return the exact mean under the computed weights that were not raised."""
    light = i.below[: i.past] < LOWEST_LOGIT
    weights, rows = _exactly(i.weights[~light]), _exactly(i.keys[: i.past][~light])
    mean: Array = (weights @ rows) / weights.sum()
    return mean


def _mean_error(i: Weighing, bits: int) -> Enclosure:
    return _length(_mean_of_weights(i) - _exactly(i.mean), bits)


def _largest_key(i: Weighing, bits: int) -> Enclosure:
    return _length(_exactly(np.abs(i.keys).max(axis=0)), bits)


def _mean_parameters(i: Weighing, bits: int) -> Mapping[str, Value]:
    return {
        "dimension": len(i.query),
        "terms": len(i.keys) + 1,
        "keys": len(i.keys),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "lightest": Fraction(float(np.exp(i.query.dtype.type(LOWEST_LOGIT)))),
        "largest_key": _largest_key(i, bits),
        "tiny": i.arithmetic.tiny,
    }


def _slack_parameters(i: Weighing, bits: int) -> Mapping[str, Value]:
    longest = _longest(_exactly(i.keys), bits)
    exact_logits = _exactly(i.keys) @ _exactly(i.centre)
    vectors = np.vstack([i.keys, i.mean])
    exact_images = (_exactly(vectors) - _exactly(i.origin)) @ _exactly(i.for_keys)
    product = _exactly(i.for_queries) @ _exactly(i.for_keys).T
    return {
        **_mean_parameters(i, bits),
        "exp_error": i.arithmetic.exp_error,
        "reach": _length(_exactly(i.centre), bits) * longest,
        "logit_error": lift(abs(exact_logits - _exactly(i.logits)).max(), bits),
        "step_length": _length(_exact_step(i), bits),
        "radius": Fraction(i.radius),
        "defect": _length(product - np.eye(len(product), dtype=int), bits),
        "key_length": longest,
        "mean_error": _mean_error(i, bits),
        "factor_norm": _length(_exactly(i.for_keys), bits),
        "key_image_error": _longest(exact_images - _exactly(i.images(vectors)), bits),
        "image_length": _longest(_exactly(i.images(i.keys)), bits),
        "share": Fraction(i.share),
    }


def _kept_output(i: Weighing, kept: Array, bits: int) -> Enclosure:
    return attention(i.query[None, :], i.keys[kept], i.values[kept][:, None], precision=2 * bits)


def _output_error(i: Weighing, bits: int) -> Enclosure:
    every = np.ones(len(i.keys), bool)
    return abs(lift(Fraction(i.quotient()), bits) - _kept_output(i, every, bits)).max()


def _uniform_error(i: Weighing, bits: int) -> Enclosure:
    every = np.ones(len(i.keys), bool)
    return abs(lift(_exactly(i.values).mean(), bits) - _kept_output(i, every, bits)).max()


def _output_parameters(i: Weighing, bits: int) -> Mapping[str, Value]:
    dropped = np.array(i.dropped)
    computed = lift(Fraction(i.quotient()), bits)
    shares = softmax(logits(i.query[None, :], i.keys)[0], precision=2 * bits)
    return {
        "rounding": abs(computed - _kept_output(i, ~dropped, bits)).max(),
        "share": shares[dropped].sum(),
        "spread": Fraction(float(i.values.max())) - Fraction(float(i.values.min())),
    }


#: Weights that were raised, relative to the others: the largest is 1, but for its own error.
_raised = 2 * keys * lightest
#: The error of a square, relative to the squares of the images: a mean is no further than the farthest
#: key, but for rounding.
_farthest = image_length + 2 * key_image_error + mean_error * factor_norm
_square = gamma(dimension + 2) * (2 * _farthest) ** 2 + 4 * dimension * tiny

_SHARE_SLACK = (
    # Of the logit of the key, and of the weights: each less the largest logit.
    2 * logit_error
    + 4 * unit_roundoff * (reach + logit_error)
    + exp_error * unit_roundoff / (1 - exp_error * unit_roundoff)
    # Of the sum and the mean.
    + gamma(terms)
    + _raised
    + mean_error * step_length
    + defect * step_length * (2 * key_length + mean_error)
    # Of the distance: 5 u of it, which is under 2 farthest + sqrt(square), is under sqrt(square) / 32.
    + radius * (2 * key_image_error + sympy.Rational(33, 32) * sympy.sqrt(_square))
    # Of adding up, and of the threshold.
    + 3 * unit_roundoff * (reach + logit_error)
    + 16 * unit_roundoff * (sympy.log(keys) + sympy.log(keys / share) + 8)
)

_SLACK_ARGUMENTS = (
    dimension,
    terms,
    keys,
    unit_roundoff,
    exp_error,
    tiny,
    lightest,
    reach,
    logit_error,
    step_length,
    radius,
    defect,
    key_length,
    mean_error,
    factor_norm,
    key_image_error,
    image_length,
    share,
)
_MEAN_ARGUMENTS = (dimension, terms, keys, unit_roundoff, lightest, largest_key, tiny)
_POINT = {
    dimension: 64,
    terms: 4098,
    keys: 4096,
    unit_roundoff: sympy.Rational(1, 2**24),
    exp_error: 6,
    tiny: sympy.Rational(1, 2**126),
    lightest: sympy.Rational(1, 2**86),
    reach: 200,
    logit_error: sympy.Rational(1, 1000),
    step_length: 3,
    radius: 4,
    defect: sympy.Rational(1, 2**18),
    key_length: 12,
    largest_key: 20,
    mean_error: sympy.Rational(1, 300),
    factor_norm: 9,
    key_image_error: sympy.Rational(1, 500),
    image_length: 7,
    share: sympy.Rational(1, 1000),
}


def _weighing(
    query: Array, centre: Array, rows: Array, values: Array, M: Array, dropped: Array
) -> Weighing:
    """Take the inverse of M for N, and for the radius the query's own, rounded upward."""
    N = np.linalg.inv(M.astype(float)).T
    centre, rows, values, M, N = (x.astype(query.dtype) for x in (centre, rows, values, M, N))
    i = Weighing(query, centre, rows, values, M, N, 0.0, 0.25, 0.0, tuple(map(bool, dropped)))
    own = float(_length(_exact_image(i), 64).bounds()[1].item())
    return replace(i, radius=float(np.nextafter(own, np.inf)))


def _sample(rng: np.random.Generator) -> Weighing:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    # Two keys are kept: the bound on the output is attained with one, which no enclosure decides.
    n, d = int(rng.integers(3, 12)), int(rng.integers(1, 5))
    size = float(rng.choice([0.5, 4.0, 40.0]))
    centre, step = size * rng.standard_normal(d), rng.standard_normal(d)
    dropped = rng.random(n) < 0.5
    dropped[:3] = False, False, True
    i = _weighing(
        (centre + step).astype(dtype),
        centre,
        rng.standard_normal((n, d)),
        rng.standard_normal(n),
        rng.standard_normal((d, d)) + 3 * np.eye(d),
        dropped,
    )
    return replace(i, past=None if rng.random() < 0.5 else int(rng.integers(1, n + 1)))


def _witness() -> Weighing:
    return _weighing(
        np.array([3.125, -0.25]),
        np.array([3.0, -0.5]),
        np.array([[2.0, 0.1], [2.25, 0.125], [-1.0, 0.5], [-1.0, 0.75]]),
        np.array([1.0, 0.75, -1.0, -2.0]),
        np.array([[3.0, 1.0], [1.0, 2.0]]),
        np.array([False, False, True, True]),
    )


def _rounded_down() -> Weighing:
    """Give a difference and a product that are each rounded down by nearly half a unit."""
    one = np.ones((1, 1), np.float32)
    return _weighing(
        np.array([1 + 2.0**-12], np.float32),
        np.array([-(2.0**-24) + 2.0**-40]),
        one,
        one[0],
        one * (1 + 2.0**-12),
        np.array([False]),
    )


def _lost_bit() -> Weighing:
    """Give two keys whose sum loses its last bit."""
    zero = np.zeros(1, np.float32)
    ones = np.ones((1, 1))
    return _weighing(
        zero,
        zero,
        np.array([[1.0], [1 + 2.0**-23]]),
        np.array([1.0, -1.0]),
        ones,
        np.array([False, True]),
    )


def _large_logits() -> Weighing:
    """Give two logits and their difference that are each rounded by nearly half a unit (found by search)."""
    centre = np.array([float.fromhex("0x1.4dc310p+10")], np.float32)
    first, second = float.fromhex("0x1.89f990p-1"), float.fromhex("-0x1.88c0a2p-1")
    return _weighing(
        centre,
        centre,
        np.array([[first], [second]]),
        np.array([1.0, -1.0]),
        np.ones((1, 1)),
        np.array([False, True]),
    )


def _far_key() -> Weighing:
    """Give a light key that is dropped, and a lighter one of its value that is kept."""
    return _weighing(
        np.array([-1.0]),
        np.array([-1.0]),
        np.array([[0.0], [12.0], [16.0]]),
        np.array([0.0, 1.0, 1.0]),
        np.ones((1, 1)),
        np.array([False, True, False]),
    )


def _finite(i: Weighing) -> bool:
    arrays = (
        i.keys,
        i.values,
        i.step,
        i.logits,
        i.images(i.keys) ** 2,
        i.images(i.mean) ** 2,
        i.radius,
    )
    return all(bool(np.isfinite(a).all()) for a in arrays)


def _square_factors(i: Weighing) -> bool:
    d = len(i.query)
    return i.for_queries.shape == i.for_keys.shape == (d, d) and i.keys.shape == (len(i.values), d)


FP_DROP = Claim[Weighing](
    id="FP.drop",
    where="ours",
    statement=(
        "For a query c + δ with |δ M| <= radius: the logarithm of a key's share of the weight (R.drop, in "
        "the coordinates of R.balance) exceeds the computed logit + radius distance - log sum by at most the "
        "slack; and attention computed on the kept keys is within its rounding and the share of the dropped "
        "keys times max v - min v.  A term of a sum about the centre passes through fewer than k roundings."
    ),
    not_stated=(
        "That a given BLAS obeys the model, numpy's exp FP.exp, and that its logarithm errs by a few u."
    ),
    assumes=(
        Hypothesis(
            "everything is finite",
            _finite,
            mirrors=(
                "exists t : tree, adds d t /\\ computes u lost (fun l : nat => step l * M l a) t "
                "(image a)",
                "exists t : tree, adds n t /\\ (roundings t <= k) /\\ computes u 0 w t D",
                "exists t : tree, adds n t /\\ (roundings t <= k) /\\ computes u lost (fun j : nat => "
                "w j * K j a) t (N a)",
                "Rabs (q a - N a / D) <= u * Rabs (N a / D) + lost",
                "Rabs (mean a - q a) <= u * Rabs (q a) + lost",
                "weighed",
                "exists t : tree, adds n t /\\ (roundings t <= k) /\\ computes u 0 w t total",
                "computed_square",
                "computed_share",
                "computed_threshold",
            ),
        ),
        Hypothesis(
            "M and N are square, and every key has a value",
            _square_factors,
            alone="shapes are the theorems' types",
        ),
        Hypothesis(
            "some key is kept",
            lambda i: not all(i.dropped),
            mirrors=("0 < fsum n (off S a)",),
        ),
        Hypothesis(
            "|δ M| <= radius",
            lambda i: i.radius >= 0 and (_exact_image(i) ** 2).sum() <= Fraction(i.radius) ** 2,
            mirrors=("norm d (transformed d delta M) <= radius",),
        ),
        Hypothesis(
            "0 < share <= 1/2",
            lambda i: 0 < i.share <= 0.5,
            mirrors=("0 < share <= 1 / 2",),
        ),
        Hypothesis(
            "the slack that was subtracted is at most 3",
            lambda i: 0 <= i.slack <= 3,
            mirrors=("0 <= slack <= 3",),
        ),
        Hypothesis(
            "some keys have a mean",
            lambda i: i.past is None or 0 < i.past <= len(i.keys),
            mirrors=("0 < n <= m",),
        ),
        Hypothesis(
            "k u <= 1/8 and (d + 2) u <= 1/4",
            lambda i: (
                max(2 * len(i.keys) + 2, len(i.query) + 2) * i.arithmetic.unit_roundoff
                <= Fraction(1, 4)
            ),
            mirrors=("INR (d + 2) * u <= 1 / 4", "INR (2 * S k) * u <= 1 / 4"),
        ),
    ),
    bounds=(
        Bound(
            name="image_error",
            meaning="the length of the error of (q - c) M, computed",
            arguments=(dimension, unit_roundoff, vector_length, factor_norm, tiny),
            expression=gamma(dimension + 1) * vector_length * factor_norm + dimension**2 * tiny,
            provided=(dimension + 1) * unit_roundoff < 1,
            points=((64, _POINT[unit_roundoff], 12, 9, _POINT[tiny]),),
            quantity=_image_error,
            parameters=_image_parameters,
            trivial=lambda i, bits: _length(_exact_image(i), bits),
            extremal=_rounded_down,
            theorem="fp_image_error",
        ),
        Bound(
            name="centre_mean_error",
            meaning="the length of the error of the mean of the keys under computed weights",
            arguments=_MEAN_ARGUMENTS,
            # Twice the roundings, as a sum divides another.
            expression=(gamma(2 * terms) + 2 * _raised) * largest_key
            + 2 * (keys + 1) * dimension * tiny,
            provided=2 * terms * unit_roundoff < 1,
            points=(tuple(_POINT[a] for a in _MEAN_ARGUMENTS),),
            quantity=_mean_error,
            parameters=_mean_parameters,
            # The mean without weights.
            trivial=lambda i, bits: _length(_mean_of_weights(i) - _exactly(i.origin), bits),
            extremal=_lost_bit,
            theorem="fp_centre_mean_error",
        ),
        Bound(
            name="share_slack",
            meaning="what the computed logarithm of a key's share lacks",
            arguments=_SLACK_ARGUMENTS,
            expression=_SHARE_SLACK,
            domain={share: UP_TO_ONE},
            provided=sympy.Max(dimension + 2, terms, exp_error) * unit_roundoff < 1,
            points=(tuple(_POINT[a] for a in _SLACK_ARGUMENTS),),
            quantity=_missing_slack,
            parameters=_slack_parameters,
            # Every query of a cluster is its centre.
            trivial=_change_of_share,
            extremal=_large_logits,
            theorem="fp_share_slack",
        ),
        Bound(
            name="dropped_keys_output",
            meaning="the error of attention computed on the kept keys",
            arguments=(rounding, share, spread),
            expression=rounding + share * spread,
            domain={share: SHARE},
            points=((sympy.Rational(1, 2**20), sympy.Rational(1, 1000), 2),),
            quantity=_output_error,
            parameters=_output_parameters,
            trivial=_uniform_error,
            extremal=_far_key,
            theorem="fp_dropped_keys_output",
        ),
    ),
    witness=_witness,
    sample=_sample,
)

CLAIMS = (FP_DROP,)
