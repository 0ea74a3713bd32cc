r"""R: real heads, whose logits are too large for P1 to P4: what holds of them without any hypothesis.

R.certify turns the errors of a few rows, drawn after an output is fixed, into a statement about all of
them.  The others bound what a fast method does to one row: R.balance changes coordinates, R.jensen
and R.expansion expand exp around the weighted means of clusters of keys, R.drop leaves keys out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure
from reference.models.clustered_query import ClusteredQuery
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.symbols import (
    POSITIVE,
    SHARE,
    curvature,
    defect,
    deviation,
    dropped_weight,
    exact_sum,
    index,
    key_length,
    query_length,
    remainder,
    residual,
    rows,
    skipped,
    spread,
    total_weight,
    uncovered,
)

Vector = NDArray[Any]


# ------------------------------------------------------------------------------------- R.certify


@dataclass(frozen=True)
class Drawing:
    """The error of every row of an output, and how many rows are drawn, with replacement, and skipped."""

    errors: tuple[int, ...]
    rows: int
    skipped: int
    uncovered: Fraction

    def certified(self, drawn: tuple[int, ...]) -> int:
        """Return the certified error: the largest of those drawn but for ``skipped`` of them."""
        return sorted(drawn, reverse=True)[self.skipped]

    def fails(self, certified: int) -> bool:
        """Return whether more than the uncovered fraction of all rows err by more."""
        return sum(e > certified for e in self.errors) > self.uncovered * len(self.errors)


def _failure(i: Drawing, bits: int) -> Enclosure:
    """Enclose the share of all equally likely draws after which the certificate is wrong."""
    draws = list(product(i.errors, repeat=i.rows))
    return lift(Fraction(sum(i.fails(i.certified(d)) for d in draws), len(draws)), bits)


def _drawing_sample(rng: np.random.Generator) -> Drawing:
    drawn = int(rng.integers(1, 5))
    return Drawing(
        tuple(int(e) for e in rng.integers(0, 6, rng.integers(1, 7))),
        drawn,
        int(rng.integers(0, drawn)),
        Fraction(int(rng.integers(1, 16)), 16),
    )


_JUST_BELOW_HALF = Fraction(1, 2) - Fraction(1, 2**20)

R_CERTIFY = Claim[Drawing](
    id="R.certify",
    where="ours",
    statement=(
        "Of m rows of a fixed output, drawn uniformly and independently, take the (k+1)-th largest error. "
        "With probability at least 1 - P(Bin(m, f) <= k), all but a fraction f of all rows err by no more "
        "(Wilks, Annals of Mathematical Statistics 12(1), 1941)."
    ),
    not_stated=(
        "That the generator's rows are uniform, independent, and drawn after the output was fixed; what the "
        "remaining fraction f of the rows may err by. That of several certificates in turn the one that is "
        "returned is wrong with at most the sum of their probabilities is the theorem retried_certificates."
    ),
    assumes=(
        Hypothesis("0 <= skipped < rows", lambda i: 0 <= i.skipped < i.rows, mirrors=("k <= m",)),
        Hypothesis("0 < uncovered < 1", lambda i: 0 < i.uncovered < 1, mirrors=("0 <= f <= 1",)),
    ),
    bounds=(
        Bound(
            name="certify_failure",
            meaning="the probability that more than the uncovered fraction err by more than certified",
            arguments=(rows, skipped, uncovered),
            expression=sympy.Sum(
                sympy.binomial(rows, index) * uncovered**index * (1 - uncovered) ** (rows - index),
                (index, 0, skipped),
            ),
            domain={uncovered: SHARE},
            provided=skipped < rows,
            points=((7, 2, sympy.Rational(1, 10)), (3, 0, sympy.Rational(1, 100))),
            quantity=_failure,
            parameters=lambda i, bits: {
                "rows": i.rows,
                "skipped": i.skipped,
                "uncovered": i.uncovered,
            },
            # One row, and its error for all.
            trivial=lambda i, bits: _failure(Drawing(i.errors, 1, 0, i.uncovered), bits),
            extremal=lambda: Drawing((3, 2, 1, 0), 4, 1, _JUST_BELOW_HALF),
            theorem="r_certify",
        ),
    ),
    witness=lambda: Drawing((5, 4, 1, 0), 5, 0, Fraction(2, 5)),
    sample=_drawing_sample,
)

# ------------------------------------------------------------------------------------- R.balance


@dataclass(frozen=True)
class Balanced:
    """A query, a key, and the factors M and N by which their coordinates are changed."""

    query: Vector
    key: Vector
    for_queries: Vector
    for_keys: Vector


def _exactly(x: Vector) -> Vector:
    return np.array([Fraction(float(a)) for a in x.flat], object).reshape(x.shape)


def _length(x: Vector, bits: int) -> Enclosure:
    return lift((_exactly(x) ** 2).sum(), 2 * bits).sqrt()


def _changed_logit(query: Vector, key: Vector, i: Balanced, bits: int) -> Enclosure:
    return lift(abs(query @ key - _exactly(i.query) @ _exactly(i.key)), bits)


def _balanced_change(i: Balanced, bits: int) -> Enclosure:
    query = _exactly(i.query) @ _exactly(i.for_queries)
    return _changed_logit(query, _exactly(i.key) @ _exactly(i.for_keys), i, bits)


def _defect(i: Balanced, bits: int) -> Enclosure:
    product_ = _exactly(i.for_queries) @ _exactly(i.for_keys).T
    return lift(((product_ - np.eye(len(i.query), dtype=int)) ** 2).sum(), 2 * bits).sqrt()


def _balanced_sample(rng: np.random.Generator) -> Balanced:
    # In one dimension the bound is attained, which no enclosure decides.
    d = int(rng.integers(2, 5))
    M = rng.standard_normal((d, d)) + 3 * np.eye(d)
    return Balanced(rng.standard_normal(d), rng.standard_normal(d), M, np.linalg.inv(M).T)


R_BALANCE = Claim[Balanced](
    id="R.balance",
    where="ours",
    statement=(
        "q M (k N)ᵀ = q kᵀ where M Nᵀ = I; where M Nᵀ is the identity but for rounding, the logit moves by "
        "at most |M Nᵀ - I|_F |q| |k|."
    ),
    not_stated=(
        "That the M chosen makes residual logits small: an algorithm's choice, which is measured; the "
        "rounding of q M and k N."
    ),
    assumes=(
        Hypothesis(
            "M and N are square, of the dimension of q and k",
            lambda i: (
                i.for_queries.shape == i.for_keys.shape == 2 * i.query.shape == 2 * i.key.shape
            ),
            alone="shapes are the theorem's types",
        ),
    ),
    bounds=(
        Bound(
            name="balance_logit",
            meaning="the change of a logit",
            arguments=(defect, query_length, key_length),
            expression=defect * query_length * key_length,
            points=((sympy.Rational(1, 1000), 3, 5),),
            quantity=_balanced_change,
            parameters=lambda i, bits: {
                "defect": _defect(i, bits),
                "query_length": _length(i.query, bits),
                "key_length": _length(i.key, bits),
            },
            # Only the query's coordinates are changed.
            trivial=lambda i, bits: _changed_logit(
                _exactly(i.query) @ _exactly(i.for_queries), _exactly(i.key), i, bits
            ),
            extremal=lambda: Balanced(
                np.array([3.0, 0]), np.array([0, 5.0]), np.eye(2), np.array([[1, 0], [2.0**-20, 1]])
            ),
            theorem="r_balance",
            attained="r_balance_attained",
        ),
    ),
    witness=lambda: Balanced(
        np.array([1.0, 2.0]),
        np.array([0.5, 1.0]),
        np.array([[3.0, 1.0], [1.0, 2.0]]),
        np.linalg.inv(np.array([[3.0, 1.0], [1.0, 2.0]])).T,
    ),
    sample=_balanced_sample,
)

# -------------------------------------------------------------------------- R.jensen, R.expansion


@dataclass(frozen=True)
class Clusters:
    """A query ``centre + step``, keys with their clusters, and one column of values."""

    centre: Vector
    step: Vector
    keys: Vector
    values: Vector
    labels: tuple[int, ...]

    def at(self, bits: int) -> ClusteredQuery:
        """Return the definitions on these inputs."""
        return ClusteredQuery(self.centre, self.step, self.keys, self.values, self.labels, bits)


def _clusters_sample(rng: np.random.Generator) -> Clusters:
    """Draw two keys or more a cluster, in two dimensions or more: else there is equality."""
    d, labels = int(rng.integers(2, 4)), (0, 1, *rng.integers(0, 2, rng.integers(0, 4)), 0, 1)
    n = len(labels)
    return Clusters(
        rng.standard_normal(d),
        rng.standard_normal(d) / 4,
        rng.standard_normal((n, d)),
        rng.standard_normal(n),
        tuple(int(b) for b in labels),
    )


def _clusters_witness() -> Clusters:
    return Clusters(
        np.array([1.0, -0.5]),
        np.array([0.125, 0.25]),
        np.array([[2.0, 0.0], [2.25, 0.125], [-1.0, 0.5], [-1.0, 0.75]]),
        np.array([1.0, 0.75, -1.0, -2.0]),
        (0, 0, 1, 1),
    )


def _two_keys(half_distance: float) -> Clusters:
    keys = np.array([[half_distance], [-half_distance]])
    return Clusters(np.zeros(1), np.ones(1), keys, np.array([1.0, -1.0]), (0, 0))


def _one_sided(half_distance: float) -> Clusters:
    """Give two keys of value 1 around their mean, and many of value 0 elsewhere."""
    keys = np.array([[half_distance, 0], [-half_distance, 0], *([[0, 16.0]] * 2)])
    return Clusters(
        np.array([0, 1.0]), np.array([1.0, 0]), keys, np.array([1.0, 1, 0, 0]), (0, 0, 1, 1)
    )


_PAIRED = Hypothesis[Clusters](
    "there is a key, and every key has a value and a cluster",
    lambda i: 0 < len(i.keys) == len(i.values) == len(i.labels),
    mirrors=("positive",),
)


def _sum_at_largest(i: Clusters, bits: int) -> Enclosure:
    c = i.at(bits)
    return c.denominator * c.residuals.max().exp()


R_JENSEN = Claim[Clusters](
    id="R.jensen",
    where="ours",
    statement=(
        "With every key of a cluster at the cluster's weighted mean, the sum of the weights can only fall: "
        "Σ_b W_b e^{δ.μ_b} <= Σ_j w_j e^{δ.k_j}."
    ),
    not_stated="",
    assumes=(_PAIRED,),
    bounds=(
        Bound(
            name="jensen_sum",
            meaning="the expanded sum of weights",
            arguments=(exact_sum,),
            expression=exact_sum,
            points=((sympy.Rational(7, 3),),),
            quantity=lambda i, bits: i.at(bits).denominator,
            parameters=lambda i, bits: {"exact_sum": i.at(bits).exact_denominator},
            # Every key at the largest residual logit.
            trivial=_sum_at_largest,
            extremal=lambda: _two_keys(2.0**-8),
            theorem="r_jensen",
            attained="r_jensen_attained",
        ),
    ),
    witness=_clusters_witness,
    sample=_clusters_sample,
)

#: Below this the curvature is taken at it, which is larger; a distance of zero could not be divided by.
_LEAST_RADIUS = Fraction(1, 2**30)


def _curvature(x: Enclosure) -> Enclosure:
    """Enclose phi(x) = (e^x - 1 - x)/x^2."""
    return (x.exp() - 1 - x) / x**2


def _radii(c: ClusteredQuery) -> Enclosure:
    step, distances = c.lengths()
    return step * distances


def _remainder(i: Clusters, order: int, bits: int) -> Enclosure:
    """Enclose T, the mean of phi(|δ||k-μ|) r^2 |v-ô| under the expanded weights."""
    c = i.at(bits)
    phi = _curvature(_radii(c).maximum(_LEAST_RADIUS))
    off = abs(lift(i.values, bits) - c.expansion(order))
    return (c.expanded * phi * c.residuals**2 * off).sum() / c.denominator


def _deviation(i: Clusters, bits: int) -> Enclosure:
    c = i.at(bits)
    off = abs(lift(i.values, bits) - c.expansion(0))
    return (c.expanded * off).sum() / c.denominator


def _expansion_error(i: Clusters, order: int, bits: int) -> Enclosure:
    c = i.at(bits)
    return abs(c.expansion(order) - c.output)


def _uniform_error(i: Clusters | Dropped, bits: int) -> Enclosure:
    mean = lift(i.values, bits).sum() / len(i.values)
    return abs(mean - i.at(bits).output)


def _last_residual(i: Clusters, bits: int) -> Enclosure:
    return i.at(bits).residuals[-1]


def _last_remainder(i: Clusters, bits: int) -> Enclosure:
    r = _last_residual(i, bits)
    return r.exp() - 1 - r


R_EXPANSION = Claim[Clusters](
    id="R.expansion",
    where="ours",
    statement=(
        "With phi(x) = (e^x - 1 - x)/x^2, which increases, e^r - 1 - r <= phi(R) r^2 for |r| <= R. So with T "
        "the mean of phi(|δ||k-μ|) r^2 |v-ô| under the expanded weights, and σ that of |v-ô|, the output of "
        "order 1 errs by at most T and that of order 0 by at most T + sqrt(2 σ T)."
    ),
    not_stated="That T is small: on a diffuse head Cauchy and Schwarz alone lose a factor near 5.",
    assumes=(_PAIRED,),
    bounds=(
        Bound(
            name="expansion_remainder",
            meaning="e^r - 1 - r for a residual logit r, |r| <= R, where curvature is phi(R)",
            arguments=(curvature, residual),
            expression=curvature * residual**2,
            points=((sympy.Rational(1, 2), sympy.Rational(-1, 3)),),
            quantity=_last_remainder,
            parameters=lambda i, bits: {
                "curvature": _curvature(_radii(i.at(bits))[-1].maximum(_LEAST_RADIUS)),
                "residual": _last_residual(i, bits),
            },
            # e^r - 1: no term of first order.
            trivial=lambda i, bits: abs(_last_residual(i, bits).exp() - 1),
            extremal=lambda: Clusters(
                np.zeros(1), np.ones(1), np.array([[-1.0], [1.0]]), np.zeros(2), (0, 0)
            ),
            theorem="r_expansion_remainder",
            attained="r_expansion_remainder_attained",
        ),
        Bound(
            name="expansion_first",
            meaning="the error of the output of order 1",
            arguments=(remainder,),
            expression=remainder,
            points=((sympy.Rational(1, 7),),),
            quantity=lambda i, bits: _expansion_error(i, 1, bits),
            parameters=lambda i, bits: {"remainder": _remainder(i, 1, bits)},
            trivial=_uniform_error,
            extremal=lambda: _one_sided(2.0**-14),
            theorem="r_expansion_first",
        ),
        Bound(
            name="expansion_zeroth",
            meaning="the error of the output of order 0",
            arguments=(remainder, deviation),
            expression=remainder + sympy.sqrt(2 * deviation * remainder),
            points=((sympy.Rational(1, 7), sympy.Rational(3, 2)),),
            quantity=lambda i, bits: _expansion_error(i, 0, bits),
            parameters=lambda i, bits: {
                "remainder": _remainder(i, 0, bits),
                "deviation": _deviation(i, bits),
            },
            trivial=_uniform_error,
            extremal=lambda: _two_keys(2.0**-14),
            theorem="r_expansion_zeroth",
        ),
    ),
    witness=_clusters_witness,
    sample=_clusters_sample,
)

# ---------------------------------------------------------------------------------------- R.drop


@dataclass(frozen=True)
class Dropped:
    """A query ``centre + step``, keys, which of them are dropped, and one column of values.

    Keys are weighed about the mean of the first ``past`` of them, as causal rows need that share no others;
    of all where it is None.
    """

    centre: Vector
    step: Vector
    keys: Vector
    values: Vector
    dropped: tuple[bool, ...]
    past: int | None = None

    def at(self, bits: int) -> ClusteredQuery:
        """Return the definitions on these inputs: all keys are one cluster."""
        one = (0,) * len(self.keys)
        return ClusteredQuery(self.centre, self.step, self.keys, self.values, one, bits)


def _first(i: Dropped, bits: int) -> ClusteredQuery:
    """Return the definitions on the keys whose mean the others are weighed about."""
    return replace(i, keys=i.keys[: i.past], values=i.values[: i.past]).at(bits)


def _dropped_mass(i: Dropped, bits: int) -> Enclosure:
    return i.at(bits).probabilities[np.array(i.dropped)].sum()


def _drop_error(i: Dropped, bits: int) -> Enclosure:
    c, kept = i.at(bits), ~np.array(i.dropped)
    p = c.probabilities[kept]
    return abs((p * lift(i.values[kept], bits)).sum() / p.sum() - c.output)


def _drop_parameters(i: Dropped, bits: int) -> Mapping[str, Value]:
    c, first, dropped = i.at(bits), _first(i, bits), np.array(i.dropped)
    step, _ = c.lengths()
    offsets = lift(i.keys, bits) - first.means[:1]
    radii = step * (offsets**2).sum(axis=1).sqrt()
    return {
        "dropped_weight": (c.weights * radii.exp())[dropped].sum(),
        "total_weight": first.weights.sum(),
        "spread": Fraction(float(i.values.max())) - Fraction(float(i.values.min())),
    }


def _only(names: tuple[str, ...], i: Dropped, bits: int) -> Mapping[str, Value]:
    return {name: value for name, value in _drop_parameters(i, bits).items() if name in names}


def _drop_sample(rng: np.random.Generator) -> Dropped:
    n, d = int(rng.integers(2, 8)), int(rng.integers(1, 4))
    dropped = rng.random(n) < 0.5
    dropped[:2] = False, True
    return Dropped(
        rng.standard_normal(d),
        rng.standard_normal(d) / 4,
        rng.standard_normal((n, d)),
        rng.standard_normal(n),
        tuple(bool(x) for x in dropped),
        None if rng.random() < 0.5 else int(rng.integers(1, n + 1)),
    )


def _far_key() -> Dropped:
    """Give a dropped key so light that the mean of the keys is where the others are."""
    return Dropped(
        np.array([-8.0]),
        np.array([1.0]),
        np.array([[0.0], [1.5]]),
        np.array([0.0, 1.0]),
        (False, True),
    )


R_DROP = Claim[Dropped](
    id="R.drop",
    where="ours",
    statement=(
        "With κ the weighted mean of all keys, or of the first that the query sees, the mass of dropped keys "
        "is at most Σ_drop w_j e^{|δ||k_j-κ|} over the sum of the w_j of these, and without them the output "
        "moves by at most that times max v - min v."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "every key has a value, and is dropped or kept",
            lambda i: len(i.keys) == len(i.values) == len(i.dropped),
            alone="shapes are the theorem's types",
        ),
        Hypothesis(
            "some key is kept",
            lambda i: not all(i.dropped),
            mirrors=("0 < fsum m (off S (fun j : nat => w j * exp (r j)))",),
        ),
        Hypothesis(
            "some keys have a mean",
            lambda i: i.past is None or 0 < i.past <= len(i.keys),
            mirrors=("0 < n <= m",),
        ),
    ),
    bounds=(
        Bound(
            name="dropped_mass",
            meaning="the mass of the dropped keys",
            arguments=(dropped_weight, total_weight),
            expression=dropped_weight / total_weight,
            domain={total_weight: POSITIVE},
            points=((sympy.Rational(1, 7), 3),),
            quantity=_dropped_mass,
            parameters=lambda i, bits: _only(("dropped_weight", "total_weight"), i, bits),
            # Whatever was dropped, it was not more than everything.
            trivial=lambda i, bits: lift(1, bits),
            extremal=_far_key,
            theorem="r_drop",
        ),
        Bound(
            name="dropped_output",
            meaning="the change of the output without the dropped keys",
            arguments=(dropped_weight, total_weight, spread),
            expression=spread * dropped_weight / total_weight,
            domain={total_weight: POSITIVE},
            points=((sympy.Rational(1, 7), 3, 2),),
            quantity=_drop_error,
            parameters=_drop_parameters,
            trivial=_uniform_error,
            extremal=_far_key,
            theorem="r_drop_output",
        ),
    ),
    witness=lambda: Dropped(
        np.array([3.0, -0.5]),
        np.array([0.125, 0.25]),
        np.array([[2.0, 0.0], [2.25, 0.125], [-1.0, 0.5], [-1.0, 0.75]]),
        np.array([1.0, 0.75, -1.0, -2.0]),
        (False, False, True, True),
    ),
    sample=_drop_sample,
)

CLAIMS = (R_CERTIFY, R_BALANCE, R_JENSEN, R_EXPANSION, R_DROP)
