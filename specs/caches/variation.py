r"""Q: the total variation of weights of which every logit is known only to within a radius.

With u = p e^c and l = p e^{-c} the largest share of a set S is X/(X + Y), X = Σ_S u, Y = Σ_{not S} l, so
that the largest total variation is max_S X/(X + Y) - p(S).

* A share of at least t asks Σ_S p h_t >= t Σ l, h_t = (1 - t) e^c + t e^{-c}.  By weak duality p(S) is then
  at least λ t Σ l - Σ p (λ h_t - 1)₊ for every λ >= 0, and shares between t and t' give at most t' less that.
* By A = Σ p e^c alone: Y >= p(not S)²/(A - X) (Cauchy and Schwarz), and what is largest over X and p(S) is
  1 - 1/A for A <= 2 and A²/(A² + 4) else.
* All e^c = 2: the largest is at most 1/3, where p(S) = 1/3.  So it is 1/3 if and only if numbers in
  proportion to p have a subset of a third of their sum, which subset sum reduces to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
import sympy

from reference import Enclosure
from specs.claim import Bound, Claim, Hypothesis, Rival, Value
from specs.lifting import lift
from specs.symbols import (
    AT_LEAST_ONE,
    SHARE,
    amplification,
    dual_value,
    target,
    upper_level,
)


@dataclass(frozen=True)
class Weights:
    """Weights as numbers in proportion to them, and how far each logit may move."""

    proportions: tuple[Fraction, ...]
    radii: tuple[Fraction, ...]

    @property
    def weights(self) -> tuple[Fraction, ...]:
        """The weights, of sum 1."""
        total = sum(self.proportions)
        return tuple(p / total for p in self.proportions)


def _ends(i: Weights, bits: int) -> tuple[list[Enclosure], list[Enclosure]]:
    """Enclose p e^c and p e^-c."""
    heavy = [lift(c, bits).exp() * p for p, c in zip(i.weights, i.radii, strict=True)]
    light = [lift(-c, bits).exp() * p for p, c in zip(i.weights, i.radii, strict=True)]
    return heavy, light


def variation(i: Weights, bits: int) -> Enclosure:
    """Enclose the largest total variation, over all sets of keys."""
    heavy, light = _ends(i, bits)
    largest = lift(0, bits)
    for chosen in product((False, True), repeat=len(heavy)):
        if not any(chosen):
            continue
        x = sum((u for u, s in zip(heavy, chosen, strict=True) if s), lift(0, bits))
        y = sum((w for w, s in zip(light, chosen, strict=True) if not s), lift(0, bits))
        share = sum((p for p, s in zip(i.weights, chosen, strict=True) if s), Fraction(0))
        largest = largest.maximum(x / (x + y) - share)
    return largest


def _amplification(i: Weights, bits: int) -> Enclosure:
    return sum(_ends(i, bits)[0][1:], _ends(i, bits)[0][0])


def _closed_parameters(i: Weights, bits: int) -> Mapping[str, Value]:
    return {"amplification": _amplification(i, bits)}


def _everything(i: Weights, bits: int) -> Enclosure:
    return lift(1, bits)


def _of_floats(p: list[float], c: list[float]) -> Weights:
    return Weights(tuple(map(Fraction, p)), tuple(map(Fraction, c)))


def _positive(i: Weights) -> bool:
    return all(p > 0 for p in i.proportions) and all(c >= 0 for c in i.radii)


POSITIVE_WEIGHTS = Hypothesis[Weights](
    "weights are positive and no radius is negative", _positive, mirrors=("0 <= c i",)
)


def _some_radius(i: Weights) -> bool:
    return any(c > 0 for c in i.radii)


SOME_RADIUS = Hypothesis[Weights](
    "some radius is positive", _some_radius, alone="else nothing is moved, and the quantity is 0"
)


def _at_most_two(i: Weights) -> bool:
    return bool(_amplification(i, 256).bounds()[1].item() <= 2)


AT_MOST_TWO = Hypothesis[Weights]("A <= 2", _at_most_two, mirrors=("amplification n s c <= 2",))


def _sample(rng: np.random.Generator) -> Weights:
    n = int(rng.integers(1, 6))
    return _of_floats(
        (0.1 + rng.random(n)).tolist(),
        (rng.choice([0.01, 0.1, 0.6]) * (0.1 + rng.random(n))).tolist(),
    )


def _small_sample(rng: np.random.Generator) -> Weights:
    return next(i for i in iter(lambda: _sample(rng), None) if _at_most_two(i))


_SMALL = 2.0**-20

#: All of A beyond 1 on a key that weighs next to nothing.
_LIGHT_KEY = _of_floats([_SMALL, 1 - _SMALL], [float(np.log(0.5 / _SMALL)), 0.0])
#: Half of A = 4 on either key, of which one weighs next to nothing.
_HALVES = _of_floats([_SMALL, 1 - _SMALL], [float(np.log(2 / _SMALL)), float(np.log(2))])

#: A just above 1, where both bounds begin as A - 1.
_LIGHTEST_KEY = _of_floats([_SMALL, 1 - _SMALL], [float(np.log(2.0**-7 / _SMALL)), 0.0])

#: The share of the first key at which equal radii move most.
_BEST = _of_floats([1.0, float(np.e)], [1.0, 1.0])

_WITNESS = _of_floats([1.0, 2.0, 1.0], [0.25, 0.125, 0.5])

Q_TV_LIGHT = Claim[Weights](
    id="Q.tv_light",
    where="ours",
    statement="With A = Σ p e^c <= 2, weights of logits moved by at most c differ by at most 1 - 1/A.",
    not_stated="",
    assumes=(POSITIVE_WEIGHTS, SOME_RADIUS, AT_MOST_TWO),
    bounds=(
        Bound(
            name="variation_light",
            meaning="the total variation, by the average of e^c, which is at most 2",
            arguments=(amplification,),
            expression=(amplification - 1) / amplification,
            domain={amplification: sympy.Interval(1, 2)},
            points=((sympy.Rational(3, 2),), (2,)),
            quantity=variation,
            parameters=_closed_parameters,
            trivial=_everything,
            extremal=lambda: _LIGHT_KEY,
            theorem="q_tv_light",
            approached="q_tv_light_sharp",
        ),
    ),
    witness=lambda: _WITNESS,
    sample=_small_sample,
)

Q_TV_CLOSED = Claim[Weights](
    id="Q.tv_closed",
    where="ours",
    statement=(
        "With A = Σ p e^c, weights of logits moved by at most c differ by at most A²/(A² + 4) in total "
        "variation, which is the least that A allows for A >= 2; for A <= 2 that is 1 - 1/A (Q.tv_light)."
    ),
    not_stated="",
    assumes=(POSITIVE_WEIGHTS,),
    bounds=(
        Bound(
            name="variation_closed",
            meaning="the total variation, by the average of e^c",
            arguments=(amplification,),
            expression=amplification**2 / (amplification**2 + 4),
            domain={amplification: AT_LEAST_ONE},
            points=((sympy.Rational(7, 2),), (1,)),
            quantity=variation,
            parameters=_closed_parameters,
            trivial=_everything,
            extremal=lambda: _HALVES,
            theorem="q_tv_closed",
            approached="q_tv_closed_sharp",
        ),
    ),
    witness=lambda: _WITNESS,
    sample=_sample,
)


def _both(i: Weights, bits: int) -> Mapping[str, tuple[Enclosure, Enclosure]]:
    a = _amplification(i, bits)
    theirs = (a * a - 1) / lift(2, bits)
    light = 1 - 1 / a
    ours = light if _at_most_two(i) else a * a / (a * a + 4)
    return {"total variation": (theirs, ours)}


Q_WITCERT = Claim[Weights](
    id="Q.witcert",
    where="WitCert, arXiv 2607.28699: the e-form of its certificate",
    statement="With A = Σ p e^c, weights of logits moved by at most c differ by at most (A² - 1)/2.",
    not_stated=(
        "The inequality is stated as it was reported to us: the paper was not read here. Nor is its tanh "
        "form, tanh(max c), which S.tv halves inside, or its sub-Gaussian one."
    ),
    assumes=(POSITIVE_WEIGHTS, SOME_RADIUS),
    bounds=(
        Bound(
            name="variation_witcert",
            meaning="the total variation, as WitCert bounds it",
            arguments=(amplification,),
            expression=(amplification - 1) * (amplification + 1) / 2,
            domain={amplification: AT_LEAST_ONE},
            points=((sympy.Rational(3, 2),),),
            quantity=variation,
            parameters=_closed_parameters,
            trivial=_everything,
            extremal=lambda: _LIGHTEST_KEY,
            theorem="q_witcert",
        ),
    ),
    witness=lambda: _WITNESS,
    sample=_small_sample,
    rival=Rival(claim="Q.tv_light", figures=_both),
)

# ----------------------------------------------------------------------------------------- Q.tv


@dataclass(frozen=True)
class Relaxed:
    """Weights, levels from 0 to 1, and a multiplier for each but the last."""

    weights: Weights
    levels: tuple[Fraction, ...]
    multipliers: tuple[Fraction, ...]


def _dual(i: Relaxed, place: int, bits: int) -> Enclosure:
    """Enclose what p(S) is at least where the share of S is at least a level."""
    t, multiplier = i.levels[place], i.multipliers[place]
    heavy, light = _ends(i.weights, bits)
    least = lift(0, bits)
    for p, u, w in zip(i.weights.weights, heavy, light, strict=True):
        gain = (u * (1 - t) + w * t) * multiplier - p
        least = least + w * (t * multiplier) - gain.maximum(lift(0, bits))
    return least


def _relaxed_parameters(i: Relaxed, bits: int) -> Mapping[str, Value]:
    duals = [_dual(i, place, bits) for place in range(len(i.multipliers))]
    gaps = [float(t) - float(d.midpoint()) for t, d in zip(i.levels[1:], duals, strict=True)]
    worst = int(np.argmax(gaps))
    return {"upper_level": i.levels[worst + 1], "dual_value": duals[worst]}


def relaxed(weights: Weights, count: int) -> Relaxed:
    """Choose even levels, and for each the multiplier of the knapsack's last item."""
    levels = tuple(Fraction(k, count) for k in range(count + 1))
    p, c = np.array(weights.weights, float), np.array(weights.radii, float)
    multipliers = []
    for level in levels[:-1]:
        t = float(level)
        h = (1 - t) * np.exp(c) + t * np.exp(-c)
        order = np.argsort(-h)
        filled = np.cumsum((p * h)[order])
        last = min(int(np.searchsorted(filled, t * (p @ np.exp(-c)))), len(p) - 1)
        multipliers.append(Fraction(1 / h[order[last]]))
    return Relaxed(weights, levels, tuple(multipliers))


Q_TV = Claim[Relaxed](
    id="Q.tv",
    where="ours",
    statement=(
        "Weights of logits moved by at most c differ by at most max_i [t_{i+1} - λ_i t_i Σ l + Σ p (λ_i h_i "
        "- 1)₊], h_i = (1 - t_i) e^c + t_i e^-c, for levels t from 0 to 1 and any multipliers λ >= 0."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "weights are positive and no radius is negative",
            lambda i: _positive(i.weights),
            mirrors=("near",),
        ),
        Hypothesis(
            "levels ascend from 0 to 1, and no multiplier is negative",
            lambda i: (
                i.levels[0] == 0
                and i.levels[-1] == 1
                and all(a < b for a, b in zip(i.levels, i.levels[1:], strict=False))
                and len(i.multipliers) == len(i.levels) - 1
                and all(m >= 0 for m in i.multipliers)
            ),
            mirrors=("0 <= multiplier", "t <= mass n S (softmax n s') <= t'"),
        ),
    ),
    bounds=(
        Bound(
            name="variation_relaxed",
            meaning="the total variation, at the level where the relaxation is largest",
            arguments=(upper_level, dual_value),
            expression=upper_level - dual_value,
            domain={upper_level: SHARE, dual_value: sympy.S.Reals},
            points=((sympy.Rational(3, 4), sympy.Rational(1, 3)),),
            quantity=lambda i, bits: variation(i.weights, bits),
            parameters=_relaxed_parameters,
            trivial=lambda i, bits: lift(1, bits),
            extremal=lambda: relaxed(_BEST, 200),
            theorem="q_tv",
        ),
    ),
    witness=lambda: relaxed(_WITNESS, 16),
    sample=lambda rng: relaxed(_sample(rng), 16),
)

# ------------------------------------------------------------------------------------ Q.tv_hard


@dataclass(frozen=True)
class Numbers:
    """Integers, none of whose subsets has a third of the sum of all."""

    numbers: tuple[int, ...]


def _sums(i: Numbers) -> set[int]:
    found = {0}
    for number in i.numbers:
        found |= {s + number for s in found}
    return found


def _doubled(i: Numbers, bits: int) -> Enclosure:
    """Enclose the largest total variation where every e^c is 2."""
    total = sum(i.numbers)
    shares = [Fraction(s, total) for s in _sums(i)]
    return lift(max(4 * p / (3 * p + 1) - p for p in shares), bits)


def reduced(numbers: tuple[int, ...], wanted: int) -> tuple[int, ...]:
    """Return numbers of which a subset has a third of the sum iff one of these has the sum wanted."""
    total = sum(numbers)
    return (*numbers, 2 * total, 3 * (total + wanted))


def _numbers_sample(rng: np.random.Generator) -> Numbers:
    while True:
        numbers = tuple(int(x) for x in rng.integers(1, 12, rng.integers(1, 5)))
        wanted = int(rng.integers(1, sum(numbers) + 1))
        if wanted not in _sums(Numbers(numbers)):
            return Numbers(reduced(numbers, wanted))


Q_TV_HARD = Claim[Numbers](
    id="Q.tv_hard",
    where="ours",
    statement=(
        "Weights in proportion to positive integers of sum 3T, every e^c = 2: the largest total variation is "
        "1/3 if a subset has the sum T, and at most 1/3 - 1/(12 T²) if none has.  Of numbers a of sum A, a "
        "subset has the sum s iff one of a, 2A, 3(A + s) has the sum T = 2A + s, a third of theirs."
    ),
    not_stated="That subset sum is NP-hard (Karp, 1972), so that the exact supremum is.",
    assumes=(
        Hypothesis(
            "every number is positive",
            lambda i: all(a > 0 for a in i.numbers),
            mirrors=("0 < a i",),
        ),
        Hypothesis(
            "the sum is 3T", lambda i: sum(i.numbers) % 3 == 0, mirrors=("whole n a = (3 * T)",)
        ),
        Hypothesis(
            "no subset has the sum T",
            lambda i: sum(i.numbers) // 3 not in _sums(i),
            mirrors=("chosen n S a <> T",),
        ),
    ),
    bounds=(
        Bound(
            name="variation_no_subset",
            meaning="the total variation where no subset has a third of the sum",
            arguments=(target,),
            expression=sympy.Rational(1, 3) - 1 / (12 * target**2),
            points=((5,),),
            quantity=_doubled,
            parameters=lambda i, bits: {"target": sum(i.numbers) // 3},
            trivial=lambda i, bits: lift(Fraction(1, 3), bits),
            extremal=lambda: Numbers((31, 65)),
            theorem="q_tv_hard",
        ),
    ),
    witness=lambda: Numbers(reduced((3, 5), 4)),
    sample=_numbers_sample,
)

CLAIMS = (Q_TV, Q_TV_LIGHT, Q_TV_CLOSED, Q_WITCERT, Q_TV_HARD)
