r"""FP.dynamic: what rounding does to one row of attention whose tokens have changed any number of times.

The computation.  A row begins with the sums of ``ŵ_s v_s`` and of ``ŵ_s``, ŵ_s = fl(exp(fl(s - m))).  When
token s goes from (w0, v0) to (w1, v1), the sums gain ŵ1 v1 and lose ŵ0 v0: either as these two *events*
or as the pair (ŵ1 - ŵ0) v1 + ŵ0 (v1 - v0).  A new weight is computed from the key, or is the old one
times fl(exp(fl(delta q_l))), at most ``factors`` times in a row.  The answer is the quotient of the sums.

Why it does not drift.  In exact arithmetic everything but the present tokens cancels.  What does not
cancel is rounding, at most proportional to the *mass*: the magnitudes of all that was ever added or
subtracted.  So the bound is in terms of the mass over the denominator, of the roundings that a term
passes through (the number of rebuilds is among them), and of the error of a weight's logarithm.

NOTE Errors are taken relative to the computed weights and divided by the computed denominator, so the
bound holds with no condition on the size of the errors; and |N/D| <= max|V| for the exact sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import sympy

from reference import Enclosure, attention
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC, Arithmetic, Array, gamma, lost_weights, rounded_shift
from specs.symbols import (
    exp_error,
    factors,
    logit_error,
    magnitude,
    mass_ratio,
    quotient,
    reach,
    roundings,
    smallest,
    steps,
    underflow,
    unit_roundoff,
    weight_error,
)

#: The roundings that a weight's renewal by one factor takes: exp's, and the product's.
_factor_error = exp_error + 1


class Change(NamedTuple):
    """A change of one token: of entry ``column`` of its key by ``delta``, and of its value."""

    token: int
    column: int
    delta: float
    value: float


@dataclass(frozen=True)
class LazyRow:
    """One query row and one value column after some changes, with everything computed on the way.

    Attributes
    ----------
    query, keys, values
        As they are now.
    event_keys, event_logits, event_weights
        Of every weight that was computed: its key, its logit (NaN where it came from a factor), itself.
    shift
        What was subtracted from every logit.
    largest_value
        The largest magnitude that stood in the column.
    mass
        The magnitudes of all coefficients that were added or subtracted, summed; that of a changed
        value twice, as the change may be twice the largest value.
    denominator, answer
        The computed sum of weights, and the quotient.
    roundings
        How many roundings a term passes through.
    factors, steps
        By how many factors a weight was renewed in a row, and the largest sum of their |exponents|.
    before
        The answer before the changes.
    """

    query: Array
    keys: Array
    values: Array
    event_keys: Array
    event_logits: Array
    event_weights: Array
    shift: np.floating[Any]
    largest_value: float
    mass: Fraction
    denominator: np.floating[Any]
    answer: np.floating[Any]
    roundings: int
    factors: int
    steps: Fraction
    before: np.floating[Any]

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the row's type."""
        return ARITHMETIC[self.query.dtype.name]


def _sequential_dot(x: Array, y: Array) -> np.floating[Any]:
    """Return x . y with the sum taken from left to right: the order that loses most."""
    result: np.floating[Any] = np.cumsum(x * y, dtype=x.dtype)[-1]
    return result


def lazy_row(
    query: Array,
    keys: Array,
    values: Array,
    changes: Sequence[Change] = (),
    *,
    shift: float | None = None,
    by_factors: bool = False,
) -> LazyRow:
    """Compute a row and change it lazily: by pairs of renewed weights, or by events of new ones.

    The shift is the largest logit, unless another is given.
    """
    keys, values, real = keys.copy(), values.copy(), query.dtype.type
    logits = [_sequential_dot(key, query) for key in keys]
    m = max(logits) if shift is None else real(shift)
    weights = [np.exp(s - m) for s in logits]
    event_keys, event_logits, event_weights = list(keys.copy()), list(logits), list(weights)
    array = np.array(weights)
    numerator, denominator = _sequential_dot(array, values), np.cumsum(array, dtype=real)[-1]
    before = numerator / denominator
    mass = sum((Fraction(float(w)) for w in weights), Fraction(0))
    largest = np.abs(values).max()
    count, walked = [0] * len(keys), [Fraction(0)] * len(keys)
    for token, column, delta, value in changes:
        old_entry, old_weight, old_value = keys[token, column], weights[token], values[token]
        keys[token, column] += real(delta)
        values[token] = value
        change = keys[token, column] - old_entry
        if by_factors:
            weight = old_weight * np.exp(change * query[column])
            event_logits.append(real(np.nan))
            count[token] += 1
            exact = Fraction(float(keys[token, column])) - Fraction(float(old_entry))
            walked[token] += abs(exact * Fraction(float(query[column])))
            numerator += (weight - old_weight) * values[token]
            numerator += old_weight * (values[token] - old_value)
            denominator += weight - old_weight
            mass += abs(Fraction(float(weight - old_weight))) + 2 * Fraction(float(old_weight))
        else:
            event_logits.append(_sequential_dot(keys[token], query))
            weight = np.exp(event_logits[-1] - m)
            numerator = numerator + weight * values[token] - old_weight * old_value
            denominator = denominator + weight - old_weight
            mass += Fraction(float(weight)) + Fraction(float(old_weight))
        weights[token] = weight
        event_keys.append(keys[token].copy())
        event_weights.append(weight)
        largest = max(largest, abs(values[token]))
    return LazyRow(
        query,
        keys,
        values,
        np.array(event_keys),
        np.array(event_logits),
        np.array(event_weights),
        m,
        float(largest),
        max(mass, Fraction(float(denominator))),
        denominator,
        numerator / denominator,
        len(keys) + 2 * len(changes) + 3,
        max(count),
        max(walked),
        before,
    )


def _exact_logits(i: LazyRow, bits: int) -> Enclosure:
    return lift(i.event_keys, bits) @ lift(i.query, bits)


def _weight_error(i: LazyRow, bits: int) -> Enclosure:
    """Enclose max_e |ln(computed weight) - (exact logit - shift)| over weights that are normal."""
    normal = i.event_weights >= float(i.arithmetic.tiny)
    # The radius is absolute, and the smallest weight may be tiny.
    bits += i.arithmetic.tiny.denominator.bit_length()
    exact = _exact_logits(i, bits)[normal] - lift(np.array(i.shift), bits)
    return abs(lift(i.event_weights[normal], bits).log() - exact).max()


def _weight_parameters(i: LazyRow, bits: int) -> Mapping[str, Value]:
    direct = ~np.isnan(i.event_logits)
    logits = i.event_logits[direct]
    shift = Fraction(float(i.shift))
    return {
        "logit_error": abs(lift(logits, bits) - _exact_logits(i, bits)[direct]).max(),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "reach": max(abs(shift - Fraction(float(s))) for s in logits),
        "exp_error": i.arithmetic.exp_error,
        "factors": i.factors,
        "steps": i.steps,
    }


def _exact_answer(i: LazyRow, bits: int) -> Enclosure:
    return attention(i.query[None, :], i.keys, i.values[:, None], precision=bits)


def _distance(i: LazyRow, answer: np.floating[Any], bits: int) -> Enclosure:
    return abs(lift(np.array(answer), bits) - _exact_answer(i, bits)).max()


def _output_parameters(i: LazyRow, bits: int) -> Mapping[str, Value]:
    denominator, tiny = Fraction(float(i.denominator)), i.arithmetic.tiny
    events = len(i.event_weights) + 2 * len(i.keys)
    return {
        "weight_error": _weight_error(i, bits),
        "mass_ratio": i.mass / denominator,
        "roundings": i.roundings,
        "magnitude": Fraction(i.largest_value),
        "quotient": Fraction(float(i.answer)),
        "underflow": events * tiny / denominator,
        "smallest": 2 * (events / denominator + 1) * tiny,
        "unit_roundoff": i.arithmetic.unit_roundoff,
    }


def _finite(i: LazyRow) -> bool:
    arrays = (i.query, i.event_keys, i.values, i.event_weights, np.array([i.answer]))
    return all(bool(np.isfinite(a).all()) for a in arrays)


def _few_roundings(i: LazyRow) -> bool:
    return i.roundings * i.arithmetic.unit_roundoff <= Fraction(1, 4)


def _sample(rng: np.random.Generator) -> LazyRow:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n, d = int(rng.integers(1, 12)), int(rng.integers(1, 9))
    query, keys = (rng.standard_normal(s).astype(dtype) for s in (d, (n, d)))
    values = rng.standard_normal(n).astype(dtype)
    changes = [
        Change(
            int(rng.integers(n)),
            int(rng.integers(d)),
            float(rng.choice([-3.0, -0.5, 0.25, 2.0])),
            float(rng.standard_normal()),
        )
        for _ in range(rng.integers(0, 20))
    ]
    return lazy_row(query, keys, values, changes, by_factors=bool(rng.integers(2)))


FP_DYNAMIC = Claim[LazyRow](
    id="FP.dynamic",
    where="ours",
    statement=(
        "After any number of changes, since a row was last computed from the definition: the logarithm "
        "of a weight errs by theta = logit error + u reach + (f+1)(exp_error+1)u/(1-(exp_error+1)u) + 3 "
        "u steps, f the factors by which it was renewed; an answer by 2 max|V| (rho (min(1, e^theta - 1) "
        "+ gamma_R) + underflow) + u |quotient| + smallest, rho the mass over the computed denominator "
        "and R the roundings of a term."
    ),
    not_stated=(
        "How an implementation keeps rho small (it computes a row anew once rho is large), and how it "
        "counts R. The logit error covers what the steps' products lose to underflow. That a given BLAS "
        "obeys the model: tested on outputs."
    ),
    assumes=(
        Hypothesis(
            "every input is finite, and so is what rounded arithmetic, sums in any order, made of them",
            _finite,
            mirrors=(
                "renewed",
                "lazy_sum",
                "lazy_sum (2)",
                "Rabs (out - N / Dn) <= u * Rabs out + smallest",
            ),
        ),
        Hypothesis(
            "the computed denominator is positive",
            lambda i: bool(i.denominator > 0),
            mirrors=("0 < Dn",),
        ),
        Hypothesis(
            "the mass is at least the computed denominator",
            lambda i: i.mass >= Fraction(float(i.denominator)),
            mirrors=("1 <= rho",),
        ),
        Hypothesis(
            "roundings u <= 1/4",
            _few_roundings,
            mirrors=("(1 + exp_error) * u < 1", "INR depth * u < 1"),
        ),
    ),
    bounds=(
        Bound(
            name="dynamic_weight",
            meaning="the error of the logarithm of a computed weight, renewed by some factors",
            arguments=(logit_error, unit_roundoff, reach, exp_error, factors, steps),
            expression=logit_error
            + unit_roundoff * reach
            + (factors + 1) * _factor_error * unit_roundoff / (1 - _factor_error * unit_roundoff)
            + 3 * unit_roundoff * steps,
            provided=(exp_error + 1) * unit_roundoff < 1,
            points=((sympy.Rational(1, 1000), sympy.Rational(1, 2**24), 30, 6, 32, 16),),
            quantity=_weight_error,
            parameters=_weight_parameters,
            # Every weight is 1.
            trivial=lambda i, bits: abs(
                _exact_logits(i, bits) - lift(np.array(i.shift), bits)
            ).max(),
            extremal=lambda: lazy_row(*rounded_shift()),
            theorem="fp_dynamic_weight",
        ),
        Bound(
            name="dynamic_output",
            meaning="the error of an answer after any number of changes",
            arguments=(
                weight_error,
                mass_ratio,
                roundings,
                magnitude,
                quotient,
                underflow,
                smallest,
                unit_roundoff,
            ),
            expression=2
            * magnitude
            * (
                mass_ratio * (sympy.Min(1, sympy.exp(weight_error) - 1) + gamma(roundings))
                + underflow
            )
            + unit_roundoff * sympy.Abs(quotient)
            + smallest,
            provided=roundings * unit_roundoff < 1,
            points=(
                (
                    sympy.Rational(1, 1000),
                    5,
                    256,
                    2,
                    sympy.Rational(-7, 5),
                    sympy.Rational(1, 2**60),
                    sympy.Rational(1, 2**126),
                    sympy.Rational(1, 2**24),
                ),
            ),
            quantity=lambda i, bits: _distance(i, i.answer, bits),
            parameters=_output_parameters,
            trivial=lambda i, bits: _distance(i, i.before, bits),
            extremal=lambda: lazy_row(*lost_weights(1024)),
            theorem="fp_dynamic_output",
        ),
    ),
    witness=lambda: lazy_row(
        np.array([1.0, -0.5]),
        np.array([[1.0, 0.25], [0.3, 2.0], [-1.0, 0.7]]),
        np.array([1.0, -2.0, 0.7]),
        (Change(1, 0, 0.3, 1.5), Change(0, 1, -2.0, 1.0), Change(1, 1, 0.1, 2.0)),
        by_factors=True,
    ),
    sample=_sample,
    recomputed=lambda i: lazy_row(i.query, i.keys, i.values, shift=float(i.shift)),
)

CLAIMS = (FP_DYNAMIC,)
