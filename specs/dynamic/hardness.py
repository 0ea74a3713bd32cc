r"""P1's pair of times, and its lower bound as a program: hinted matrix–vector multiplication by attention.

As printed, with entries queried, the pair (n^{ω(1,1,τ)−τ}, n^{1+τ}) is not the best there is: keeping A
and D takes O(n) for both (P1.kept), and ω(1,1,τ) ≥ 2, so that it is below the pair in both by a power of n
for every 0 < τ < 1 (P1.pair).  Whatever forbids what is below (P1.hardness, P1.optimal) is refuted by it.
What stands is the pair with O(n^τ) for an entry (P1.entries) or O(n^{1+τ}) for a column (P1.columns), and
what would be below these answers the hinted problem too fast.

Hinted Mv.  Phase 1: Boolean M and V, n × n.  Phase 2: a Boolean P with at most n^τ ones.  Phase 3: an
index i.  The answer is column i of M P V.  The conjecture (van den Brand, Nanongkai, Saranurak, FOCS
2019): after polynomial work in phase 1, no algorithm takes n^{ω(1,1,τ)−Ω(1)} in phase 2 and n^{1+τ−Ω(1)} in
phase 3.

The reduction.  Tokens stand for M and V, an update of a key's entry by c for each one of P, and the
logits are then c (M P)_jk.  Attention's extra column is 1/D_j, so that two columns of it give

    out_ji / out_j,last − Σ_k V_ki = Σ_k (e^{c (MP)_jk} − 1) V_ki,

which is 0 where (M P V)_ji = 0, and at least e^c − 1 elsewhere.

NOTE The conjecture is refuted for τ < ε* = ln 4 / (5 ln 10) ≈ 0.1204: Alman and Vassilevska Williams,
arXiv 2610.06783, Corollary 40, our only source for it.  That takes a conditional lower bound away; it is no
faster algorithm for attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, Verdict, decide, evaluate
from reference.hinted import boolean_product, hinted_tokens, hinted_updates
from reference.models.lazy_sums import LazySums, Sums
from reference.tokens import Operation, UpdateEntry, replay
from specs.claim import Bound, Claim, Hypothesis, Refutation, Relation, Rival, Value
from specs.dynamic.problem import ENTRIES, Changes, integers, paper_log, same_key_changes
from specs.lifting import lift
from specs.softmax.rounding import ARITHMETIC
from specs.symbols import (
    INSIDE_UNIT,
    MATRIX_EXPONENT,
    POSITIVE,
    UP_TO_ONE,
    column_price,
    constant,
    entry_price,
    exponent,
    gap,
    n,
    ones,
    read_error,
    step,
    tau,
    unit_roundoff,
    update_price,
)

Booleans = NDArray[np.bool_]


# --------------------------------------------------------------------------------------- P1.pair


@dataclass(frozen=True)
class Printed:
    """Changes of tokens with d = d_v = n, and the exponent that the printed pair has."""

    changes: Changes
    tau: Fraction


def _amortised(i: Printed) -> Fraction:
    structure = i.changes.lazy()
    before = structure.products
    structure.run(i.changes.log)
    return Fraction(structure.products - before, len(i.changes.log))


def _entry_cost(structure: Sums, i: Printed) -> int:
    structure.run(i.changes.log)
    before = structure.products
    structure.entry(0, 0)
    return structure.products - before


def _dearest_update(structure: Sums, log: tuple[Operation, ...]) -> int:
    costs, before = [], structure.products
    for operation in log:
        structure.apply(operation)
        costs.append(structure.products - before)
        before = structure.products
    return max(costs)


def _printed_parameters(i: Printed) -> Mapping[str, Value]:
    # With classical products omega(1,1,tau) is 2 + tau.
    return {"n": len(i.changes.K), "tau": i.tau, "exponent": 2 + i.tau}


def _printed(n: int, tau: Fraction, length: int, rebuild_every: int) -> Printed:
    return Printed(same_key_changes(n, n, n, length, rebuild_every), tau)


def _printed_sample(rng: np.random.Generator) -> Printed:
    n, tau = int(rng.choice([2, 3, 5, 7])), Fraction(int(rng.integers(1, 4)), 4)
    k = max(k for k in range(1, n + 1) if k**tau.denominator <= n**tau.numerator)
    Q, K, V = (integers(rng, n, n) for _ in range(3))
    changes = Changes(
        Q,
        K,
        V,
        paper_log(rng, n, n, n, int(rng.integers(1, 9))),
        int(rng.integers(1, k + 2)),
    )
    return Printed(changes, tau)


_PAIR_UPDATE = 4 * sympy.exp((exponent - tau) * sympy.log(n))
_PAIR_QUERY = 2 * n * sympy.exp(tau * sympy.log(n))
_BETWEEN = "0 < tau < 1"

P1_PAIR = Claim[Printed](
    id="P1.pair",
    where="P1, sentences 7 and 10",
    statement=(
        "O(n^{omega(1,1,tau)-tau}) amortised an update and O(n^{1+tau}) worst-case a query of an entry, "
        "together. Our reading, d = d_v = n, with constants 4 and 2; counted with classical products, "
        "omega(1,1,tau) = 2 + tau. True, and dominated: A and D kept, an update takes 2n and an entry n "
        "products (P1.kept). As omega(1,1,tau) >= 2, an n x n^tau times n^tau x n product having n^2 "
        "entries, that is less by the powers n^{1-tau} and n^tau at least, whatever omega(1,1,tau) is."
    ),
    not_stated=(
        "The instances are counted with classical products; for every omega(1,1,tau) >= 2 it is the theorem "
        "p1_pair_dominated. n^2 numbers are kept, as the lazy structure keeps them. What an update takes is "
        "proved of updates of K, as for P1.update."
    ),
    assumes=(
        Hypothesis(
            "d = d_v = n",
            lambda i: i.changes.K.shape == i.changes.V.shape and _square(i),
            alone="products are counted of any columns of values, these shapes are the abstract's",
        ),
        Hypothesis(
            "0 < tau < 1, and at most n^tau pairs are pending",
            lambda i: (
                0 < i.tau < 1
                and i.changes.rebuild_every >= 1
                and (i.changes.rebuild_every - 1) ** i.tau.denominator
                <= len(i.changes.K) ** i.tau.numerator
            ),
            mirrors=("INR limit - 1 <= power (count T') tau",),
        ),
        Hypothesis(
            "something is updated, and every operation adds to an entry of K or V",
            lambda i: bool(i.changes.log) and ENTRIES.holds(i.changes),
            mirrors=("Forall",),
        ),
    ),
    bounds=(
        Bound(
            name="pair_update",
            meaning="the products of an update of the lazy structure, rebuilds shared out, as printed",
            arguments=(n, exponent, tau),
            expression=_PAIR_UPDATE,
            domain={exponent: MATRIX_EXPONENT, tau: INSIDE_UNIT},
            points=((4, sympy.Rational(5, 2), sympy.Rational(1, 2)),),
            quantity=lambda i, bits: lift(_amortised(i), bits),
            parameters=lambda i, bits: _printed_parameters(i),
            trivial=lambda i, bits: lift(len(i.changes.K) ** 2 * (2 * len(i.changes.K) + 1), bits),
            extremal=lambda: _printed(1, Fraction(1, 2), 4, 2),
            vacuous_where=n <= 1,
            edges=lambda: (
                _printed(1, Fraction(1, 2), 4, 2),
                _printed(2, Fraction(1, 2), 4, 2),
            ),
            theorem="p1_pair_update",
            relation=Relation.RELATIVE,
        ),
        Bound(
            name="pair_query",
            meaning="the products of a query of an entry of the lazy structure, as printed",
            arguments=(n, tau),
            expression=_PAIR_QUERY,
            domain={tau: INSIDE_UNIT},
            points=((4, sympy.Rational(1, 2)),),
            quantity=lambda i, bits: lift(_entry_cost(i.changes.lazy(), i), bits),
            parameters=lambda i, bits: _printed_parameters(i),
            # The entry from the definition.
            trivial=lambda i, bits: lift(len(i.changes.K) * (len(i.changes.K) + 2), bits),
            extremal=lambda: _printed(1, Fraction(1, 2), 1, 2),
            vacuous_where=2 * sympy.exp(tau * sympy.log(n)) >= n + 2,
            edges=lambda: (
                _printed(5, Fraction(9, 10), 4, 2),
                _printed(5, Fraction(1, 2), 4, 2),
            ),
            theorem="p1_pair_query",
        ),
    ),
    witness=lambda: _printed(4, Fraction(1, 2), 8, 2),
    sample=_printed_sample,
    rival=Rival(
        "P1.kept",
        lambda i, bits: {
            "products of an update": (
                evaluate(_PAIR_UPDATE, _printed_parameters(i), bits),
                lift(_dearest_update(i.changes.kept(), i.changes.log), bits),
            ),
            "products of a query of an entry": (
                evaluate(_PAIR_QUERY, _printed_parameters(i), bits),
                lift(_entry_cost(i.changes.kept(), i), bits),
            ),
        },
    ),
)


def _square(i: Printed) -> bool:
    n, d = i.changes.K.shape
    return bool(n == d)


# --------------------------------------------------------------------- P1.hardness and P1.optimal


@dataclass(frozen=True)
class Below:
    """So many tokens, at which the structure that keeps A and D is counted beside the printed pair."""

    n: int
    tau: Fraction
    constant: Fraction
    gap: Fraction


def _below_pair(i: Below, update: int, entry: int, bits: int) -> Enclosure:
    """Enclose by what factor an update and a query of an entry are below the pair: the lesser one.

    With 2 for omega(1,1,tau), which it is at least: a larger one makes the factor larger.
    """
    log = lift(i.n, bits).log()
    printed_update, printed_query = ((log * x).exp() for x in (2 - i.tau, 1 + i.tau))
    return Enclosure.minimum(printed_update / update, printed_query / entry)


def _kept_below(i: Below, bits: int) -> Enclosure:
    # Counts of updates and entries are the same for any number of columns.
    kept = same_key_changes(i.n, 1, 1, 1, 1).kept()
    update = _dearest_update(kept, (UpdateEntry("key", 0, 0, 1),))
    before = kept.products
    kept.entry(0, 0)
    return _below_pair(i, update, kept.products - before, bits)


def _anew_below(i: Below, bits: int) -> Enclosure:
    """Enclose it for computing all rows anew at every update, a quotient an entry: d = d_v = n."""
    return _below_pair(i, i.n**2 * (2 * i.n + 1), 1, bits)


def _below_sample(rng: np.random.Generator) -> Below:
    tau = Fraction(int(rng.integers(1, 8)), 8)
    gap = min(tau, 1 - tau) * Fraction(int(rng.integers(1, 4)), 4)
    return Below(int(rng.choice([3, 5, 7, 11, 13])), tau, Fraction(int(rng.integers(1, 4))), gap)


_INSIDE = Hypothesis[Below](_BETWEEN, lambda i: 0 < i.tau < 1, mirrors=("0 < tau < 1",))


P1_HARDNESS = Claim[Below](
    id="P1.hardness",
    where="P1, sentence 11",
    statement=(
        "Unless the hinted Mv conjecture is false, no algorithm takes both "
        "O(n^{omega(1,1,tau)-tau-Omega(1)}) amortised an update and O(n^{1+tau-Omega(1)}) a query, which "
        "sentence 7 says is one of an entry. Our reading of what is forbidden: to be below the printed pair "
        "in both by the factor n^gap, for some 0 < gap < min(tau, 1 - tau). Refuted as printed: A and D "
        "kept, both are below by n^{min(tau, 1-tau)}/2, for every tau, whatever omega(1,1,tau) is and "
        "whether or not the conjecture holds. So the sentence, read so, could be true only in that the "
        "conjecture is false. With columns queried, or an entry in O(n^{tau-Omega(1)}), it stands as a "
        "reduction: P1.columns, P1.entries."
    ),
    not_stated=(
        "That a query means that of an entry is what sentence 7 says; the paper's proof (unread) may read a "
        "column."
    ),
    assumes=(
        replace(_INSIDE, mirrors=(), alone="the next implies it"),
        Hypothesis(
            "0 < gap < min(tau, 1 - tau)",
            lambda i: 0 < i.gap < min(i.tau, 1 - i.tau),
            mirrors=("0 < gap", "gap < tau", "gap < 1 - tau"),
        ),
    ),
    bounds=(
        Bound(
            name="forbidden_gap",
            meaning="the factor by which keeping A and D is below the printed pair in both, counted",
            arguments=(n, gap),
            expression=sympy.exp(gap * sympy.log(n)),
            domain={gap: INSIDE_UNIT},
            points=((16, sympy.Rational(1, 4)),),
            quantity=_kept_below,
            parameters=lambda i, bits: {"n": i.n, "gap": i.gap},
            trivial=_anew_below,
            extremal=lambda: Below(64, Fraction(1, 2), Fraction(1), Fraction(1, 4)),
            theorem="p1_hardness_refuted",
            relation=Relation.AT_LEAST,
        ),
    ),
    witness=lambda: Below(64, Fraction(1, 2), Fraction(1), Fraction(1, 4)),
    sample=_below_sample,
)

P1_OPTIMAL = Claim[Below](
    id="P1.optimal",
    where="P1, sentence 12",
    statement=(
        "The algorithm is optimal unless the hinted Mv conjecture is false. Our reading: no structure is "
        "below the printed pair, with entries queried as sentence 7 has it, by more than a constant in "
        "both. Refuted as printed: A and D kept, the factor is n^{min(tau, 1-tau)}/2, which exceeds every "
        "constant, whether or not the conjecture holds. What is optimal up to n^{o(1)}, if the conjecture "
        "holds at tau, is the lazy structure's pair with O(n^tau) an entry, or with O(n^{1+tau}) a column: "
        "P1.entries, P1.columns."
    ),
    not_stated="The conjecture itself: P1.conjecture.",
    assumes=(
        _INSIDE,
        Hypothesis(
            "the constant is positive",
            lambda i: i.constant > 0,
            alone="the theorem is of any number",
        ),
    ),
    bounds=(
        Bound(
            name="optimal_constant",
            meaning="the factor by which keeping A and D is below the printed pair in both, counted",
            arguments=(constant,),
            expression=constant,
            domain={constant: POSITIVE},
            points=((3,),),
            quantity=_kept_below,
            parameters=lambda i, bits: {"constant": i.constant},
            trivial=_anew_below,
            extremal=lambda: Below(32, Fraction(1, 2), Fraction(1), Fraction(1, 4)),
            theorem="p1_optimal_refuted",
            relation=Relation.AT_LEAST,
        ),
    ),
    witness=lambda: Below(32, Fraction(1, 2), Fraction(1), Fraction(1, 4)),
    sample=_below_sample,
)

# --------------------------------------------------- P1.conjecture, P1.entries and P1.columns


@dataclass(frozen=True)
class Hinted:
    """Boolean M, V and P, n × n, with at most n^tau ones in P, and the column that is asked for."""

    M: Booleans
    V: Booleans
    P: Booleans
    column: int
    tau: Fraction


@dataclass(frozen=True)
class _Phases:
    """What the reduction took, run on P1's structure with pairs pending throughout.

    Products of phase 2, and of one update alone; entries read, and products, of the two columns in phase 3;
    the dearest entry and the dearer column of these; and phase 3 by entries of the rows of M, quotients
    included.
    """

    updates: int
    update_price: int
    entries: int
    reads: int
    entry_price: int
    column_price: int
    by_entries: int


def _phases(i: Hinted) -> _Phases:
    return _run(i.M.tobytes(), i.V.tobytes(), i.P.tobytes(), len(i.M), i.column)


@lru_cache(maxsize=64)
def _run(M: bytes, V: bytes, P: bytes, n: int, column: int) -> _Phases:
    m, v, p = (np.frombuffer(x, bool).reshape(n, n) for x in (M, V, P))
    log = hinted_updates(p, 1)
    structure = LazySums(*hinted_tokens(m, v), rebuild_every=len(log) + 2)

    def taken(call: Callable[[], object]) -> int:
        before = structure.products
        call()
        return structure.products - before

    updates = taken(lambda: structure.run(log))

    def read(row: int, j: int) -> int:
        return taken(lambda: structure.entry(row, j))

    columns = (column, n)
    entries = [[read(row, j) for row in structure.tokens.live] for j in columns]
    by_entries = sum(read(row, column) + read(row, n) + 1 for row in range(n))
    fresh = LazySums(*hinted_tokens(m, v), rebuild_every=2)
    return _Phases(
        updates,
        _dearest_update(fresh, (UpdateEntry("key", 0, 0, 1),)),
        sum(map(len, entries)),
        sum(map(sum, entries)),
        max(map(max, entries)),
        max(map(sum, entries)),
        by_entries,
    )


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


_FEW_ONES = Hypothesis[Hinted](
    "P has at most n^tau ones, 0 < tau <= 1",
    _few_ones,
    mirrors=("INR (length ones) <= power n tau",),
)

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


def _sizes(i: Hinted) -> Mapping[str, Value]:
    return {"n": len(i.M), "tau": i.tau}


P1_CONJECTURE = Claim[Hinted](
    id="P1.conjecture",
    where="P1, sentences 11 and 12: what they are conditional on",
    statement=(
        "The hinted Mv conjecture: phase 2 in n^{omega(1,1,tau)-Omega(1)} and phase 3 in "
        "n^{1+tau-Omega(1)} is impossible. What is checked is that P1's structure meets both up to a "
        "constant, so that no smaller power could be conjectured: the reduction makes at most n^tau updates "
        "in phase 2, and phase 3, two columns or 2 (n + 1) entries, takes at most 4 (n + 1) n^tau products."
    ),
    not_stated=(
        "The conjecture, and its refutation for tau < ln 4/(5 ln 10): both are cited, the latter from one "
        "source. Phase 2 against omega(1,1,tau), whose value is not known for large tau."
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
            parameters=lambda i, bits: _sizes(i),
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
            quantity=lambda i, bits: lift(_phases(i).entries, bits),
            parameters=lambda i, bits: {"n": len(i.M)},
            trivial=lambda i, bits: lift((len(i.M) + 1) ** 2, bits),
            vacuous_where=n <= 1,
            edges=_one_and_two_tokens,
            extremal=lambda: _all_ones(4, 1, Fraction(1, 2)),
        ),
        Bound(
            name="hinted_products",
            meaning="the products of phase 3 on the lazy structure",
            arguments=(n, tau),
            expression=4 * (n + 1) * _power,
            domain={tau: UP_TO_ONE},
            points=((16, sympy.Rational(1, 3)),),
            quantity=lambda i, bits: lift(_phases(i).reads, bits),
            parameters=lambda i, bits: _sizes(i),
            trivial=lambda i, bits: lift(_definition_of_columns(i, 2), bits),
            extremal=lambda: _all_ones(4, 2, Fraction(1, 2)),
        ),
    ),
    witness=lambda: _all_ones(6, 1, Fraction(1, 10)),
    sample=_hinted_sample,
    refutation=_COROLLARY_40,
)


def _phase_two(name: str, theorem: str) -> Bound[Hinted]:
    """Return the bound of phase 2 by the price of an update."""
    return Bound(
        name=name,
        meaning="the products of phase 2, at a price an update",
        arguments=(n, tau, update_price),
        expression=_power * update_price,
        domain={tau: UP_TO_ONE},
        points=((16, sympy.Rational(1, 3), 5),),
        quantity=lambda i, bits: lift(_phases(i).updates, bits),
        parameters=lambda i, bits: {**_sizes(i), "update_price": _phases(i).update_price},
        # An update for every entry of P, 0 or 1.
        trivial=lambda i, bits: lift(i.P.size * _phases(i).update_price, bits),
        extremal=lambda: _all_ones(16, 4, Fraction(1, 2)),
        vacuous_where=n <= 1,
        edges=_one_and_two_tokens,
        theorem=theorem,
    )


def _kept_pair(
    name: str, meaning: str, expression: sympy.Expr, price: str, power: int, theorem: str
) -> Bound[Hinted]:
    """Return the bound of a query of the lazy structure, with keeping A and D for the cheapest answer."""
    return Bound(
        name=name,
        meaning=meaning,
        arguments=(n, tau),
        expression=expression,
        domain={tau: UP_TO_ONE},
        points=((16, sympy.Rational(1, 3)),),
        quantity=lambda i, bits: lift(getattr(_phases(i), price), bits),
        parameters=lambda i, bits: _sizes(i),
        trivial=lambda i, bits: lift((len(i.M) + 1) ** power, bits),
        extremal=lambda: _all_ones(9, 3, Fraction(1, 2)),
        vacuous_where=2 * _power >= n + 1,
        edges=lambda: (_all_ones(4, 1, Fraction(3, 4)), _all_ones(4, 1, Fraction(1, 2))),
        theorem=theorem,
    )


_NOT_BELOW = (
    "The conjecture (P1.conjecture): refuted for tau < ln 4/(5 ln 10), where this excludes nothing; above, "
    "as good as the conjecture. The products of phase 1, which the conjecture leaves free."
)

P1_ENTRIES = Claim[Hinted](
    id="P1.entries",
    where="ours, in place of P1, sentences 10 to 12, for entries",
    statement=(
        "With entries queried, as sentence 7 has it: the lazy structure with at most n^tau pairs pending "
        "answers an entry in 2 n^tau products, and so has the pair (n^{omega(1,1,tau)-tau}, n^tau), which "
        "keeping A and D, n an entry, does not reach where 2 n^tau < n. Lower bound: whatever takes U "
        "amortised an update and E an entry answers hinted Mv with n^tau U in phase 2 and 2 n E + n in phase "
        "3; so if the conjecture holds at tau, not both U = O(n^{omega(1,1,tau)-tau-Omega(1)}) and E = "
        "O(n^{tau-Omega(1)})."
    ),
    not_stated=_NOT_BELOW,
    assumes=(_FEW_ONES,),
    bounds=(
        _kept_pair(
            "entry_power",
            "the products of a query of an entry, at most n^tau pairs pending, of n + 1 tokens",
            2 * _power,
            "entry_price",
            1,
            "p1_entries_query",
        ),
        _phase_two("entry_phase_two", "p1_entries_phase_two"),
        Bound(
            name="entry_phase_three",
            meaning="the products and quotients of phase 3, at a price an entry",
            arguments=(n, entry_price),
            expression=2 * n * entry_price + n,
            points=((16, 5),),
            quantity=lambda i, bits: lift(_phases(i).by_entries, bits),
            parameters=lambda i, bits: {"n": len(i.M), "entry_price": _phases(i).entry_price},
            # Every column, of which the last once.
            trivial=lambda i, bits: lift(
                len(i.M) * (len(i.M) + 1) * _phases(i).entry_price + len(i.M) ** 2, bits
            ),
            extremal=lambda: _all_ones(4, 1, Fraction(1, 2)),
            vacuous_where=n <= 1,
            edges=_one_and_two_tokens,
            theorem="p1_entries_phase_three",
        ),
    ),
    witness=lambda: _all_ones(9, 2, Fraction(1, 2)),
    sample=_hinted_sample,
)

P1_COLUMNS = Claim[Hinted](
    id="P1.columns",
    where="ours, in place of P1, sentences 10 to 12, for columns",
    statement=(
        "With columns queried: the lazy structure with at most n^tau pairs pending answers a column of n + 1 "
        "rows in 2 (n + 1) n^tau products, and so has the printed pair (n^{omega(1,1,tau)-tau}, "
        "n^{1+tau}), which keeping A and D, n^2 a column, does not reach. Lower bound: whatever takes U "
        "amortised an update and C a column answers hinted Mv with n^tau U in phase 2 and 2 C + n in phase "
        "3; so if the conjecture holds at tau, not both U = O(n^{omega(1,1,tau)-tau-Omega(1)}) and C = "
        "O(n^{1+tau-Omega(1)})."
    ),
    not_stated=_NOT_BELOW,
    assumes=(_FEW_ONES,),
    bounds=(
        _kept_pair(
            "column_power",
            "the products of a query of a column, at most n^tau pairs pending, of n + 1 tokens",
            2 * (n + 1) * _power,
            "column_price",
            2,
            "p1_columns_query",
        ),
        _phase_two("column_phase_two", "p1_columns_phase_two"),
        Bound(
            name="column_phase_three",
            meaning="the products and quotients of phase 3, at a price a column",
            arguments=(n, column_price),
            expression=2 * column_price + n,
            points=((16, 5),),
            quantity=lambda i, bits: lift(_phases(i).reads + len(i.M), bits),
            parameters=lambda i, bits: {"n": len(i.M), "column_price": _phases(i).column_price},
            # Every column, of which the last once.
            trivial=lambda i, bits: lift(
                (len(i.M) + 1) * _phases(i).column_price + len(i.M) ** 2, bits
            ),
            extremal=lambda: _all_ones(4, 1, Fraction(1, 2)),
            vacuous_where=n <= 1,
            edges=_one_and_two_tokens,
            theorem="p1_columns_phase_three",
        ),
    ),
    witness=lambda: _all_ones(9, 2, Fraction(1, 2)),
    sample=_hinted_sample,
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
        Hypothesis(
            "the row is one of a query, the column one of V",
            lambda i: 0 <= i.row < len(i.M) and 0 <= i.column < len(i.M),
            alone="a row and a column are natural numbers below n in Coq, which is no relation of reals",
        ),
        Hypothesis(
            "both reads are within read_error of attention",
            _within_read_error,
            mirrors=(
                "Rabs (read_i - out i) <= E",
                "Rabs (read_n - out n) <= E",
                "Rabs (read j i - out i) <= E",
                "Rabs (read j n - out n) <= E",
            ),
        ),
        Hypothesis(
            "read_error W < 1 and g W < (e^c - 1)/2",
            _condition,
            mirrors=(
                "0 < c",
                "E * (INR n + exp (c * INR (length ones))) < 1",
                "b_reduction_error n c (length ones) E u < threshold",
                "threshold < exp c - 1 - b_reduction_error n c (length ones) E u",
            ),
        ),
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
            expression=sympy.Integer(0),
            quantity=lambda i, bits: lift(mistakes(i, decided(i, bits)), bits),
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

CLAIMS = (
    P1_PAIR,
    P1_HARDNESS,
    P1_OPTIMAL,
    P1_CONJECTURE,
    P1_ENTRIES,
    P1_COLUMNS,
    P1_REDUCTION,
)
