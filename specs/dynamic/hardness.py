r"""P1's lower bound, as a program: hinted matrix–vector multiplication by dynamic attention.

Hinted Mv.  Phase 1: Boolean M and V, n × n.  Phase 2: a Boolean P with at most n^τ ones.  Phase 3: an
index i.  The answer is column i of M P V.  The conjecture (van den Brand, Nanongkai, Saranurak, FOCS
2019): after polynomial work in phase 1, no algorithm takes n^{ω(1,1,τ)−Ω(1)} in phase 2 and n^{1+τ−Ω(1)} in
phase 3.

The reduction.  Tokens stand for M and V, an update of a key's entry by c for each one of P, and the
logits are then c (M P)_jk.  Attention's extra column is 1/D_j, so that two columns of it give

    out_ji / out_j,last − Σ_k V_ki = Σ_k (e^{c (MP)_jk} − 1) V_ki,

which is 0 where (M P V)_ji = 0, and at least e^c − 1 elsewhere.

NOTE The conjecture is refuted for τ < ε* = ln 4 / (5 ln 10) ≈ 0.1204: Alman and Vassilevska Williams,
arXiv 2610.06783, Corollary 40.  That takes P1's lower bound away; it is no faster algorithm for attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, Verdict, decide, evaluate
from reference.hinted import boolean_product, hinted_tokens, hinted_updates
from reference.models.lazy_sums import LazySums
from reference.tokens import replay
from specs.claim import Bound, Claim, Hypothesis, Refutation, Value
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC
from specs.symbols import UP_TO_ONE, n, ones, read_error, step, tau, unit_roundoff

Booleans = NDArray[np.bool_]


# --------------------------------------------------------------------- P1.hardness and P1.optimal


@dataclass(frozen=True)
class Hinted:
    """Boolean M, V and P, n × n, with at most n^tau ones in P, and the column that is asked for."""

    M: Booleans
    V: Booleans
    P: Booleans
    column: int
    tau: Fraction


class _ReadsCounted(LazySums):
    """Count the entries that are read, too."""

    reads = 0

    def entry(self, i: int, j: int) -> Fraction:
        self.reads += 1
        return super().entry(i, j)


def _phases(i: Hinted) -> tuple[_ReadsCounted, int]:
    """Run the reduction on P1's structure, pairs pending throughout; return it and phase 3's products."""
    log = hinted_updates(i.P, 1)
    structure = _ReadsCounted(*hinted_tokens(i.M, i.V), rebuild_every=len(log) + 1)
    structure.run(log)
    before = structure.products
    for column in (i.column, len(i.M)):
        structure.column(column)
    return structure, structure.products - before


def _few_ones(i: Hinted) -> bool:
    """Decide ones <= n^(p/q) as ones^q <= n^p."""
    return bool(
        int(i.P.sum()) ** i.tau.denominator <= len(i.M) ** i.tau.numerator and 0 < i.tau <= 1
    )


def _definition_of_columns(i: Hinted, columns: int) -> int:
    rows = len(i.M) + 1
    return columns * rows * rows * (len(i.M) + 2)


def _booleans(rng: np.random.Generator, n: int) -> Booleans:
    result: Booleans = rng.random((n, n)) < rng.choice([0.2, 0.5, 0.9])
    return result


def _sparse(n: int, places: Any) -> Booleans:
    P = np.zeros(n * n, bool)
    P[places] = True
    return P.reshape(n, n)


def _hinted_sample(rng: np.random.Generator) -> Hinted:
    n, q = int(rng.integers(1, 9)), int(rng.choice([4, 20, 50]))
    tau = Fraction(int(rng.integers(1, q + 1)), q)
    # Fewer than n^tau, so that the comparison with that bound can be decided.
    fewer = sum(s**tau.denominator < n**tau.numerator for s in range(1, n))
    places = rng.choice(n * n, int(rng.integers(0, fewer + 1)), replace=False)
    return Hinted(
        _booleans(rng, n), _booleans(rng, n), _sparse(n, places), int(rng.integers(n)), tau
    )


def _all_ones(n: int, count: int, tau: Fraction) -> Hinted:
    full = np.ones((n, n), bool)
    return Hinted(full, full, _sparse(n, range(count)), 0, tau)


def _one_and_two_tokens() -> tuple[Hinted, Hinted]:
    return _all_ones(1, 0, Fraction(1, 2)), _all_ones(2, 1, Fraction(1, 2))


_FEW_ONES = Hypothesis[Hinted]("P has at most n^tau ones, 0 < tau <= 1", _few_ones)

#: tau < ln 4 / (5 ln 10), decided as 10^(5p) < 4^q for tau = p/q.
_COROLLARY_40 = Refutation[Hinted](
    "Alman and Vassilevska Williams, arXiv 2610.06783 (October 2026), Corollary 40: the hinted Mv "
    "conjecture fails for 0 < tau < ln 4/(5 ln 10)",
    reaches=lambda i: 10 ** (5 * i.tau.numerator) < 4**i.tau.denominator,
    where=5 * tau * sympy.log(10) < sympy.log(4),
    parameters=lambda i, bits: {"tau": i.tau},
    # Neighbours among the fractions with denominators up to 1000.
    edges=lambda: (_all_ones(4, 1, Fraction(82, 681)), _all_ones(4, 1, Fraction(105, 872))),
)

_power = sympy.exp(tau * sympy.log(n))

P1_HARDNESS = Claim[Hinted](
    id="P1.hardness",
    where="P1, sentence 11",
    statement=(
        "Unless the hinted Mv conjecture is false, no algorithm takes both "
        "O(n^{omega(1,1,tau)-tau-Omega(1)}) amortised an update and O(n^{1+tau-Omega(1)}) a query.  What "
        "is checked: the reduction makes at most n^tau updates in phase 2 and reads two columns, 2 (n + "
        "1) entries, in phase 3; so a query must be that of a column, or O(n^{tau-Omega(1)}) that of an "
        "entry."
    ),
    not_stated=(
        "The conjecture, and its refutation for tau < ln 4/(5 ln 10): both are cited. That column i of M "
        "P V is what the reduction finds is P1.reduction."
    ),
    assumes=(_FEW_ONES,),
    bounds=(
        Bound(
            name="hinted_updates",
            meaning="the updates of phase 2",
            arguments=(n, tau),
            expression=_power,
            domain={tau: UP_TO_ONE},
            points=((16, sympy.Rational(1, 3)),),
            quantity=lambda i, bits: lift(len(hinted_updates(i.P, 1)), bits),
            parameters=lambda i, bits: {"n": len(i.M), "tau": i.tau},
            # An update for every entry of P, 0 or 1.
            trivial=lambda i, bits: lift(i.P.size, bits),
            vacuous_where=n <= 1,
            edges=_one_and_two_tokens,
            extremal=lambda: _all_ones(16, 4, Fraction(1, 2)),
        ),
        Bound(
            name="hinted_reads",
            meaning="the entries that are read in phase 3",
            arguments=(n,),
            expression=2 * (n + 1),
            points=((16,),),
            quantity=lambda i, bits: lift(_phases(i)[0].reads, bits),
            parameters=lambda i, bits: {"n": len(i.M)},
            trivial=lambda i, bits: lift((len(i.M) + 1) ** 2, bits),
            vacuous_where=n <= 1,
            edges=_one_and_two_tokens,
            extremal=lambda: _all_ones(4, 1, Fraction(1, 2)),
        ),
    ),
    witness=lambda: _all_ones(6, 1, Fraction(1, 10)),
    sample=_hinted_sample,
    refutation=_COROLLARY_40,
)

P1_OPTIMAL = Claim[Hinted](
    id="P1.optimal",
    where="P1, sentence 12",
    statement=(
        "The algorithm is optimal unless the hinted Mv conjecture is false.  What is checked: run on the "
        "lazy structure of P1.query, phase 3 takes at most 4 (n + 1) n^tau products, a constant factor above "
        "the n^{1+tau-Omega(1)} that the conjecture excludes."
    ),
    not_stated=(
        "Phase 2 against omega(1,1,tau), whose value is not known for large tau. With classical "
        "multiplication the structure is not optimal in the exponent, by definition of omega."
    ),
    assumes=(_FEW_ONES,),
    bounds=(
        Bound(
            name="hinted_products",
            meaning="the products of phase 3 on the lazy structure",
            arguments=(n, tau),
            expression=4 * (n + 1) * _power,
            domain={tau: UP_TO_ONE},
            points=((16, sympy.Rational(1, 3)),),
            quantity=lambda i, bits: lift(_phases(i)[1], bits),
            parameters=lambda i, bits: {"n": len(i.M), "tau": i.tau},
            trivial=lambda i, bits: lift(_definition_of_columns(i, 2), bits),
            extremal=lambda: _all_ones(4, 2, Fraction(1, 2)),
        ),
    ),
    witness=lambda: _all_ones(6, 1, Fraction(1, 10)),
    sample=_hinted_sample,
    refutation=_COROLLARY_40,
)

# ----------------------------------------------------------------------------------- P1.reduction


@dataclass(frozen=True)
class HintedRead:
    """A hinted instance and two reads of row ``row`` of attention: of a column, and of the last one.

    The step c is a float: a binary fraction.
    """

    M: Booleans
    V: Booleans
    P: Booleans
    row: int
    column: int
    step: Fraction
    read: float
    reciprocal: float
    read_error: Fraction


def exact_reads(i: HintedRead, bits: int) -> Enclosure:
    """Enclose attention in row ``row``, at the column and at the last one."""
    queries, keys, values = hinted_tokens(i.M, i.V)
    tokens = replay(queries, keys, values, hinted_updates(i.P, i.step))
    return tokens.row(i.row, precision=bits)[[i.column, -1]]


def computed_excess(i: HintedRead) -> float:
    """Return the quotient of the reads less the sum of the column of V, as floating point has it."""
    return i.read / i.reciprocal - float(i.V[:, i.column].sum())


def _exact_excess(i: HintedRead, bits: int) -> Enclosure:
    """Enclose sum_k (e^{c (MP)_jk} - 1) V_ki."""
    paths = i.M[i.row].astype(int) @ i.P.astype(int)
    exponents = lift([int(t) * i.step for t in paths[i.V[:, i.column]]] or [Fraction(0)], bits)
    return exponents.exp().sum() - exponents.shape[0]


def _excess_error(i: HintedRead, excess: float, bits: int) -> Enclosure:
    return abs(lift(Fraction(excess), bits) - _exact_excess(i, bits))


def _reduction_parameters(i: HintedRead, bits: int) -> Mapping[str, Value]:
    return {
        "n": len(i.M),
        "step": i.step,
        "ones": int(i.P.sum()),
        "read_error": i.read_error,
        "unit_roundoff": ARITHMETIC["float64"].unit_roundoff,
    }


def _within_read_error(i: HintedRead) -> bool:
    reads = np.array([i.read, i.reciprocal])
    verdict, _ = decide(lambda bits: exact_reads(i, bits), reads, i.read_error)
    return verdict is Verdict.WITHIN


def _condition(i: HintedRead) -> bool:
    """Decide read_error W < 1 and reduction_error < (e^c - 1)/2, at 512 bits."""
    parameters = _reduction_parameters(i, 512)
    _, reach = evaluate(read_error * _denominator, parameters, 512).bounds()
    if reach.item() >= 1:
        return False
    _, error = evaluate(_reduction_error, parameters, 512).bounds()
    threshold, _ = evaluate((sympy.exp(step) - 1) / 2, parameters, 512).bounds()
    return bool(error.item() < threshold.item())


def mistakes(i: HintedRead, answer: bool) -> int:
    """Count whether an answer differs from (M P V)_ji."""
    return int(answer != boolean_product(i.M, i.P, i.V)[i.row, i.column])


def decided(i: HintedRead, bits: int) -> bool:
    """Return what the reads say: whether the computed excess is above (e^c - 1)/2."""
    _, threshold = evaluate((sympy.exp(step) - 1) / 2, {"step": i.step}, bits).bounds()
    return bool(Fraction(computed_excess(i)) > threshold.item())


_denominator = n + sympy.exp(step * ones)
_reduction_error = _denominator * (
    (1 + unit_roundoff) ** 2 * read_error * _denominator / (1 - read_error * _denominator)
    + unit_roundoff * (2 + unit_roundoff)
)


def _float_reads(
    rng: np.random.Generator, M: Booleans, V: Booleans, P: Booleans, c: Fraction
) -> HintedRead:
    """Read as numpy computes attention, disturbed by up to 2^-41."""
    row, column = (int(x) for x in rng.integers(len(M), size=2))
    logits = float(c) * (M[row].astype(float) @ P.astype(float))
    weights = np.append(np.exp(logits), 1.0)
    noise = 2.0**-41 * rng.uniform(-1, 1, 2)
    read, reciprocal = np.array([weights[:-1] @ V[:, column], 1.0]) / weights.sum() + noise
    return HintedRead(M, V, P, row, column, c, float(read), float(reciprocal), Fraction(1, 1 << 40))


def _read_sample(rng: np.random.Generator) -> HintedRead:
    n = int(rng.integers(1, 7))
    M, V, P = (_booleans(rng, n) for _ in range(3))
    c = rng.uniform(0.1, 2) / max(1, int(P.sum()))
    return _float_reads(rng, M, V, P, Fraction(c))


def _worst_reads() -> HintedRead:
    """Put every path of ones into one key, and let the reads err by as much as they may."""
    n, error = 4, Fraction(1, 1000)
    full, first = np.ones((n, n), bool), np.zeros((n, n), bool)
    first[:, 0] = True
    i = HintedRead(full, full, first, 0, 0, Fraction(1, 2), 0.0, 0.0, error)
    read, reciprocal = exact_reads(i, 128).midpoint()
    within = 0.99999 * float(error)
    return HintedRead(full, full, first, 0, 0, i.step, read + within, reciprocal - within, error)


P1_REDUCTION = Claim[HintedRead](
    id="P1.reduction",
    where="ours, for P1.hardness",
    statement=(
        "The reduction finds (M P V)_ji: where each read errs by at most read_error, the quotient less "
        "the sum of V's column errs by at most g W, W = n + e^{c s}, s the ones of P, g = (1+u)^2/(1 - "
        "read_error W) - 1; and it is above (e^c - 1)/2 exactly where the Boolean product is 1, if g W < "
        "(e^c - 1)/2.  In exact arithmetic g = 0 and any c > 0 will do; with float64, c = 1/s will, as "
        "long as read_error (n + e)^2 <= 1/(4s) and n s <= 2^45."
    ),
    not_stated="The read error of an implementation: FP.dynamic bounds it.",
    assumes=(
        Hypothesis("both reads are within read_error of attention", _within_read_error),
        Hypothesis("read_error W < 1 and g W < (e^c - 1)/2", _condition),
    ),
    bounds=(
        Bound(
            name="reduction_error",
            meaning="the error of the quotient of two reads less the sum of a column of V",
            arguments=(n, step, ones, read_error, unit_roundoff),
            expression=_reduction_error,
            provided=read_error * (n + sympy.exp(ones * step)) < 1,
            points=(
                (8, sympy.Rational(1, 4), 4, sympy.Rational(1, 2**30), sympy.Rational(1, 2**53)),
            ),
            quantity=lambda i, bits: _excess_error(i, computed_excess(i), bits),
            parameters=_reduction_parameters,
            # An excess of 0: the product is 0.
            trivial=lambda i, bits: _excess_error(i, 0.0, bits),
            extremal=_worst_reads,
            theorem="p1_reduction_error",
        ),
        Bound(
            name="reduction_mistakes",
            meaning="the wrong answers",
            arguments=(),
            expression=sympy.Integer(0),
            points=((),),
            quantity=lambda i, bits: lift(mistakes(i, decided(i, bits)), bits),
            parameters=lambda i, bits: {},
            trivial=lambda i, bits: lift(mistakes(i, False), bits),
            extremal=_worst_reads,
            theorem="p1_reduction_mistakes",
        ),
    ),
    witness=lambda: _float_reads(
        np.random.default_rng(0),
        np.eye(3, dtype=bool),
        np.ones((3, 3), bool),
        np.eye(3, dtype=bool),
        Fraction(1, 4),
    ),
    sample=_read_sample,
)

CLAIMS = (P1_HARDNESS, P1_OPTIMAL, P1_REDUCTION)
