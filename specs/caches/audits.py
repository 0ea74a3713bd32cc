r"""Q: a ledger of audits, whose statement holds at all times at once.

At every step an answer is fixed, and then a coin of probability ρ decides whether it is audited.  Whoever
makes the answers sees every coin that has fallen and chooses by them which steps err.  Of the first m errors
the coins are still independent, so that at most D of them are audited with probability at most
P(Bin(m, ρ) <= D): only errors advance the clock.  With k(D) the largest k for which P(Bin(k, ρ) <= D)
exceeds w_D δ, errors ever exceed k(errors audited) with probability at most Σ w_D δ.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
import sympy

from reference import Enclosure
from specs.claim import Bound, Claim, Hypothesis
from specs.lifting import lift
from specs.symbols import UP_TO_ONE, audit_rate, audited, errors, index


@dataclass(frozen=True)
class Stream:
    """Steps of which some err, as coins have fallen before, and a number of errors to wait for.

    ``errs[t]`` says for each of the 2^t ways in which t coins fell whether the step that follows errs.
    """

    errs: tuple[tuple[bool, ...], ...]
    errors: int
    audited: int
    rate: Fraction


def _chance(i: Stream, bits: int) -> Enclosure:
    """Enclose the probability that so many errors come, of the first of which so few are audited."""
    total = Fraction(0)
    for coins in product((0, 1), repeat=len(i.errs)):
        past, seen, found = 0, 0, 0
        for step, coin in enumerate(coins):
            if i.errs[step][past] and seen < i.errors:
                seen, found = seen + 1, found + coin
            past = 2 * past + coin
        if seen == i.errors and found <= i.audited:
            fallen = sum(coins)
            total += i.rate**fallen * (1 - i.rate) ** (len(coins) - fallen)
    return lift(total, bits)


def _every_step(steps: int, audited: int, rate: Fraction) -> Stream:
    return Stream(tuple((True,) * 2**t for t in range(steps)), steps, audited, rate)


def _sample(rng: np.random.Generator) -> Stream:
    steps = int(rng.integers(1, 7))
    errs = tuple(tuple(bool(b) for b in rng.random(2**t) < 0.8) for t in range(steps))
    waited = int(rng.integers(1, steps + 1))
    return Stream(
        errs, waited, int(rng.integers(0, waited)), Fraction(int(rng.integers(1, 16)), 16)
    )


Q_LEDGER = Claim[Stream](
    id="Q.ledger",
    where="ours",
    statement=(
        "Each step is audited with probability ρ after its answer is fixed.  Whatever is made of the coins "
        "that fell before, of the first m errors at most D are audited with probability at most "
        "P(Bin(m, ρ) <= D); so errors ever exceed k(D) with D audited with probability at most the sum over "
        "D of P(Bin(k(D) + 1, ρ) <= D)."
    ),
    not_stated=(
        "That a real generator's coins are independent and hidden until the answer is fixed; what an error "
        "beyond the tolerance amounts to."
    ),
    assumes=(
        Hypothesis("audited < errors", lambda i: 0 <= i.audited < i.errors, mirrors=("D < m",)),
        Hypothesis("0 < rate <= 1", lambda i: 0 < i.rate <= 1, mirrors=("0 <= rate <= 1",)),
    ),
    bounds=(
        Bound(
            name="ledger_tail",
            meaning="the probability that so many errors come of which so few are audited",
            arguments=(errors, audited, audit_rate),
            expression=sympy.Sum(
                sympy.binomial(errors, index)
                * audit_rate**index
                * (1 - audit_rate) ** (errors - index),
                (index, 0, audited),
            ),
            domain={audit_rate: UP_TO_ONE},
            provided=audited < errors,
            points=((7, 2, sympy.Rational(1, 10)), (3, 0, sympy.Rational(1, 100))),
            quantity=_chance,
            parameters=lambda i, bits: {
                "errors": i.errors,
                "audited": i.audited,
                "audit_rate": i.rate,
            },
            # Without a coin: the errors come, and none is seen.
            trivial=lambda i, bits: lift(1, bits),
            extremal=lambda: _every_step(5, 1, Fraction(1, 4)),
            theorem="q_ledger",
            attained="q_ledger_attained",
        ),
    ),
    witness=lambda: _every_step(4, 1, Fraction(1, 2)),
    sample=_sample,
)

CLAIMS = (Q_LEDGER,)
