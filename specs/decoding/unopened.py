r"""I.unopened: what keys of which only a bound on each logit is known can do to attention on the others.

With Z the sum of the weights of the keys that were opened and U that of the others, the output o of all keys
and any y: (Z + U) (o - y) = Z (o_Z - y) + Σ_closed w (v - y), o_Z being that of the opened keys.  Where
|o_Z - y| <= r, every closed value lies within D of y and U <= ρ Z, |o - y| <= r + D ρ/(1 + ρ), and the
log-sum-exp grows by ln(1 + U/Z) <= ρ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, softmax
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.symbols import log_sum_error, ratio, rounding, value_distance

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Unopened:
    """Logits and values of all keys, which of them are closed, and a bound on the logit of each of those.

    ``answer`` is what is taken for the output, and ``logarithm`` for its log-sum-exp.
    """

    logits: Vector
    values: Vector
    closed: NDArray[np.bool_]
    bounds: Vector
    answer: float
    logarithm: float


def _output(i: Unopened, some: NDArray[np.bool_], bits: int) -> Enclosure:
    weights = softmax(i.logits[some], precision=bits)
    return (weights * lift(i.values[some], bits)).sum()


def _total(logits: Vector, bits: int) -> Enclosure:
    return lift(logits, bits).exp().sum()


def _error(i: Unopened, bits: int) -> Enclosure:
    return abs(_output(i, np.ones(len(i.logits), bool), bits) - lift(i.answer, bits))


def _log_error(i: Unopened, bits: int) -> Enclosure:
    return abs(_total(i.logits, bits).log() - lift(i.logarithm, bits))


def _ratio(i: Unopened, bits: int) -> Enclosure:
    return _total(i.bounds[i.closed], bits) / _total(i.logits[~i.closed], bits)


def _parameters(i: Unopened, bits: int) -> Mapping[str, Value]:
    off = abs(lift(i.values[i.closed], bits) - lift(i.answer, bits))
    return {
        "rounding": abs(_output(i, ~i.closed, bits) - lift(i.answer, bits)),
        "ratio": _ratio(i, bits),
        "value_distance": off.max(),
    }


def _log_parameters(i: Unopened, bits: int) -> Mapping[str, Value]:
    opened = _total(i.logits[~i.closed], bits).log()
    return {"log_sum_error": abs(opened - lift(i.logarithm, bits)), "ratio": _ratio(i, bits)}


def _farthest(i: Unopened, bits: int) -> Enclosure:
    """Enclose the distance to the farthest value of all, which looks at no weight."""
    return abs(lift(i.values, bits) - lift(i.answer, bits)).max()


def _all_alike(i: Unopened, bits: int) -> Enclosure:
    """Enclose the error of a log-sum-exp for which every key has the largest of all bounds."""
    largest = max(i.bounds[i.closed].max(), i.logits.max())
    most = lift(largest, bits) + lift(len(i.logits), bits).log()
    return abs(most - lift(i.logarithm, bits))


def _unopened(logits: Vector, values: Vector, closed: NDArray[np.bool_], above: float) -> Unopened:
    opened = np.exp(logits[~closed])
    answer = opened @ values[~closed] / opened.sum() + 2.0**-30
    return Unopened(
        logits, values, closed, logits + above, float(answer), float(np.log(opened.sum()))
    )


def _sample(rng: np.random.Generator) -> Unopened:
    n = int(rng.integers(3, 9))
    closed = rng.random(n) < 0.5
    closed[:3] = False, False, True
    logits = rng.normal(0, 1, n) - 3 * closed
    return _unopened(logits, rng.normal(0, 1, n), closed, float(rng.random()))


_FIRST = np.array([False, False, True])

#: One key that weighs as much as it may, and has the value that lies farthest.
_ONE = _unopened(np.array([0.0, 0.0, -1.0]), np.array([-1.0, -1.0, 1.0]), _FIRST, 0.0)

#: The same, and far lighter.
_LIGHT = _unopened(np.array([0.0, 0.0, -10.0]), np.array([-1.0, -1.0, 1.0]), _FIRST, 0.0)

I_UNOPENED = Claim[Unopened](
    id="I.unopened",
    where="ours",
    statement=(
        "Attention on some keys lies within r of y, the others' values within D of it, and the sum of the "
        "largest weights that those may have is ρ times the sum of the former: attention on all keys lies "
        "within r + D ρ/(1 + ρ) of y, and the log-sum-exp within ρ of that of the former."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "some key is opened",
            lambda i: not i.closed.all(),
            mirrors=("opens",),
        ),
        Hypothesis(
            "no closed key's logit exceeds its bound",
            lambda i: bool((i.logits <= i.bounds)[i.closed].all()),
            mirrors=("capped",),
        ),
    ),
    bounds=(
        Bound(
            name="unopened_output",
            meaning="the distance of attention on all keys from what attention on the opened ones gave",
            arguments=(rounding, ratio, value_distance),
            expression=rounding + value_distance * ratio / (1 + ratio),
            points=((sympy.Rational(1, 2**20), sympy.Rational(1, 100), sympy.Rational(3, 2)),),
            quantity=_error,
            parameters=_parameters,
            trivial=_farthest,
            extremal=lambda: _ONE,
            theorem="i_unopened",
            attained="i_unopened_attained",
        ),
        Bound(
            name="unopened_log",
            meaning="the distance of the log-sum-exp of all keys from what that of the opened ones gave",
            arguments=(log_sum_error, ratio),
            expression=log_sum_error + ratio,
            points=((sympy.Rational(1, 2**20), sympy.Rational(1, 100)),),
            quantity=_log_error,
            parameters=_log_parameters,
            trivial=_all_alike,
            extremal=lambda: _LIGHT,
            theorem="i_unopened_log",
        ),
    ),
    witness=lambda: _unopened(np.array([0.0, 0.5, -2.0]), np.array([1.0, -2.0, 3.0]), _FIRST, 0.5),
    sample=_sample,
)

CLAIMS = (I_UNOPENED,)
