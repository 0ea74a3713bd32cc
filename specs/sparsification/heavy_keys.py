r"""L: which keys can weigh much for some query, where a weight is a power of |q·k| (LevAttention).

For weights |q·k_j|^p / Σ_l |q·k_l|^p, p even, few keys can have a share of ε of any query whatever: for
p = 2 the largest share of key j is its leverage k_jᵀ (KᵀK)⁺ k_j, and the leverages add up to rank(K)
(L.heavy).  For p = 2h a key's share is bounded by its leverage among rows that are multiplied by numbers
(L.powers), whichever numbers; with Lewis's the bounds add up to rank(K)^h.  Softmax has no such set
(L.softmax).  L.leverage is what proves a leverage from computed products, rounding included.

NOTE A query that is orthogonal to every key gives no weights, and is left out everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, weights
from reference.arithmetic.gram import gram, gram_rank, leverage_scores, semidefinite
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.symbols import (
    BELOW_ONE,
    POSITIVE,
    UP_TO_ONE,
    defect,
    epsilon,
    error_norm,
    factor,
    half_power,
    keys,
    leverage,
    logit_gap,
    multiplier_total,
    rank,
    row_error,
    row_norm,
)

Matrix = NDArray[Any]

_THIRD = sympy.Rational(1, 3)


# --------------------------------------------------------------------------------------- L.heavy


@dataclass(frozen=True)
class Keys:
    """Keys, n × d and not all zero, and the share that a weight is to have."""

    K: Matrix
    epsilon: Fraction


def _heavy(i: Keys, bits: int) -> Enclosure:
    """Count the keys to which some query gives a share of epsilon: q = (KᵀK)⁺ k_j gives key j its most."""
    return lift(sum(score >= i.epsilon for score in leverage_scores(i.K.T)), bits)


def _repeated(dimension: int, times: int) -> Matrix:
    """Give every unit vector so many times."""
    return np.tile(np.eye(dimension), (times, 1))


def _keys_sample(rng: np.random.Generator) -> Keys:
    """Draw keys in general position, with a linear relation, scaled columns, equal rows or zero rows."""
    n, d = int(rng.integers(1, 20)), int(rng.integers(1, 6))
    K = rng.integers(-4, 5, (n, d)).astype(float)
    kind = rng.integers(5)
    if kind == 1:
        K[:, -1] = K.sum(axis=1) - K[:, -1]
    if kind == 2:
        K *= 2.0 ** rng.integers(-40, 41, d)
    if kind == 3:
        K = K[rng.integers(0, n, n)]
    if kind == 4:
        K[rng.random(n) < 0.5] = 0
    K[0, 0] = K[0, 0] or 1
    return Keys(K, Fraction(int(rng.integers(1, 65)), 64))


_HEAVY = rank / epsilon

L_HEAVY = Claim[Keys](
    id="L.heavy",
    where="ours, after LevAttention (arXiv 2410.05462)",
    statement=(
        "Of weights |q·k_j|^2 / sum_l |q·k_l|^2 at most rank(K)/eps keys, and so d/eps, ever have eps or "
        "more, whatever the query: the largest weight of key j over all queries is its leverage "
        "k_jᵀ(KᵀK)⁺k_j, and leverages add up to rank(K). The keys of leverage eps or more hold all such "
        "weights, and none of them can be left out."
    ),
    not_stated="",
    assumes=(
        Hypothesis("0 < epsilon <= 1", lambda i: 0 < i.epsilon <= 1, mirrors=("0 < eps",)),
        Hypothesis(
            "some key is not zero",
            lambda i: bool(i.K.any()),
            alone="of keys that are all zero no weight is defined",
        ),
    ),
    bounds=(
        Bound(
            name="heavy_keys",
            meaning="the keys that have a weight of epsilon or more for some query",
            arguments=(rank, epsilon),
            expression=_HEAVY,
            domain={epsilon: UP_TO_ONE},
            points=((5, _THIRD),),
            quantity=_heavy,
            parameters=lambda i, bits: {
                "rank": gram_rank(i.K.T),
                "epsilon": i.epsilon,
                "keys": len(i.K),
            },
            # All keys.
            trivial=lambda i, bits: lift(len(i.K), bits),
            extremal=lambda: Keys(_repeated(3, 4), Fraction(1, 4)),
            vacuous_where=keys <= _HEAVY,
            edges=lambda: (
                Keys(_repeated(2, 4), Fraction(1, 4)),
                Keys(np.ones((5, 2)), Fraction(1, 4)),
            ),
            theorem="l_heavy",
            attained="l_heavy_attained",
        ),
    ),
    witness=lambda: Keys(
        np.array([[1.0, 0.0], [0.0, 1.0], [0.25, 0.5], [0.5, -0.25], [0.5, 0.5]]), Fraction(1, 2)
    ),
    sample=_keys_sample,
)

# -------------------------------------------------------------------------------------- L.powers


@dataclass(frozen=True)
class Powers:
    """Keys, a positive multiplier b_l for each, half of the power, and a query that is not orthogonal."""

    K: Matrix
    multipliers: tuple[Fraction, ...]
    half_power: int
    query: tuple[Fraction, ...]


def _squares(i: Powers) -> list[Fraction]:
    query = np.array(i.query, object)
    return [
        sum(Fraction(float(x)) * q for x, q in zip(row, query, strict=True)) ** 2 for row in i.K
    ]


def _shares(i: Powers) -> list[Fraction]:
    powers = [square**i.half_power for square in _squares(i)]
    return [p / sum(powers) for p in powers]


def _heaviest(i: Powers) -> int:
    """Return the key whose weight comes closest to its bound."""
    shares, bounds = _shares(i), [_power_bound(_parameters(i, j)) for j in range(len(i.K))]
    ratios = [s / b if b else Fraction(0) for s, b in zip(shares, bounds, strict=True)]
    return ratios.index(max(ratios))


def _parameters(i: Powers, key: int) -> dict[str, Any]:
    """Return what the bound of one key takes: its leverage among the rows b_l^(h-1) k_l."""
    h = i.half_power
    scaled = np.array(
        [
            [Fraction(float(x)) * b ** (h - 1) for x in row]
            for row, b in zip(i.K, i.multipliers, strict=True)
        ],
        object,
    )
    return {
        "leverage": leverage_scores(scaled.T)[key],
        "factor": i.multipliers[key] ** (h - 1),
        "multiplier_total": sum(b ** (2 * h) for b in i.multipliers),
        "half_power": h,
    }


def _power_bound(values: Mapping[str, Any]) -> Fraction:
    h = values["half_power"]
    share = (values["leverage"] / values["factor"] ** 2) ** h
    return Fraction(share * values["multiplier_total"] ** (h - 1))


def _powers_sample(rng: np.random.Generator) -> Powers:
    """Draw again where a weight is its bound, which no enclosure decides."""
    while True:
        n, d, h = int(rng.integers(1, 9)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
        K = rng.integers(-4, 5, (n, d)).astype(float)
        query = tuple(Fraction(int(q)) for q in rng.integers(-4, 5, d))
        multipliers = tuple(Fraction(int(b), 8) for b in rng.integers(1, 17, n))
        i = Powers(K, multipliers, h, query)
        if any(_squares(i)) and _shares(i)[j := _heaviest(i)] < _power_bound(_parameters(i, j)):
            return i


L_POWERS = Claim[Powers](
    id="L.powers",
    where="ours, after LevAttention (arXiv 2410.05462)",
    statement=(
        "Of weights |q·k_j|^p / sum_l |q·k_l|^p, p = 2h, key j never has more than (l_j / f_j^2)^h B^(h-1), "
        "l_j its leverage among the rows f_l k_l, f_l = b_l^(h-1) and B = sum_l b_l^(2h), whatever the "
        "positive numbers b. For h = 1 that is its leverage. Where b_l^(2h) = l_l (Lewis), it is l_j "
        "rank(K)^(h-1): at most rank(K)^h/eps keys ever have eps or more."
    ),
    not_stated=(
        "Odd powers, and that an iteration comes to Lewis's numbers: whichever are used, the bounds hold, "
        "and how many keys they leave is counted. No key's bound is its largest weight, but for p = 2 and d "
        "= 1."
    ),
    assumes=(
        Hypothesis(
            "every multiplier is positive", lambda i: min(i.multipliers) > 0, mirrors=("0 < b i",)
        ),
        Hypothesis("the power is at least 2", lambda i: i.half_power >= 1, mirrors=("1 <= h",)),
        Hypothesis(
            "the query is not orthogonal to every key",
            lambda i: max(_squares(i)) > 0,
            alone="the quantity is a quotient by the sum of the powers",
        ),
    ),
    bounds=(
        Bound(
            name="power_weight",
            meaning="the weight of a key",
            arguments=(leverage, factor, multiplier_total, half_power),
            expression=(leverage / factor**2) ** half_power * multiplier_total ** (half_power - 1),
            domain={factor: POSITIVE, multiplier_total: POSITIVE},
            points=((_THIRD, 2, 70, 3),),
            quantity=lambda i, bits: lift(_shares(i)[_heaviest(i)], bits),
            parameters=lambda i, bits: _parameters(i, _heaviest(i)),
            trivial=lambda i, bits: lift(1, bits),
            # One dimension and the multipliers |k|: the bound is the weight.
            extremal=lambda: Powers(
                np.array([[1.0], [2.0], [-3.0]]),
                (Fraction(1), Fraction(2), Fraction(3)),
                2,
                (Fraction(1),),
            ),
            theorem="l_powers",
            relation=Relation.RELATIVE,
            attained="l_powers_attained",
        ),
    ),
    witness=lambda: Powers(
        np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0], [0.5, 0.25]]),
        (Fraction(1), Fraction(1), Fraction(5, 4), Fraction(5, 4), Fraction(1, 2)),
        2,
        (Fraction(1), Fraction(1, 4)),
    ),
    sample=_powers_sample,
)


# ------------------------------------------------------------------------------------- L.softmax


@dataclass(frozen=True)
class Parabola:
    """The keys (j, j²), j < n, and a multiple of 1/64 by which the best logit leads every other."""

    n: int
    logit_gap: Fraction

    @property
    def keys(self) -> Matrix:
        """The keys (j, j²)."""
        j = np.arange(float(self.n))
        return np.stack([j, j * j], axis=1)

    @property
    def queries(self) -> Matrix:
        """A query for each key: gap (2j, -1), whose logits are gap (j² - (l - j)²)."""
        j = np.arange(float(self.n))
        return float(self.logit_gap) * np.stack([2 * j, -np.ones(self.n)], axis=1)


_OTHERS = (keys - 1) * sympy.exp(-logit_gap)

L_SOFTMAX = Claim[Parabola](
    id="L.softmax",
    where="ours",
    statement=(
        "Softmax has no such set: the n keys (j, j^2) in two dimensions each have, for the query gap (2j, "
        "-1), a softmax weight that lacks at most (n-1)e^-gap/(1 + (n-1)e^-gap) of 1. For every eps < 1 a "
        "set that holds every softmax weight of eps or more of every query must hold all n of them."
    ),
    not_stated="",
    assumes=(
        Hypothesis("at least two keys", lambda i: i.n >= 2, alone="the theorem is of one key too"),
        Hypothesis(
            "logit_gap is a positive multiple of 1/64",
            lambda i: i.logit_gap > 0 and (64 * i.logit_gap).denominator == 1,
            mirrors=("0 <= gap",),
        ),
    ),
    bounds=(
        Bound(
            name="softmax_lack",
            meaning="the most that a key's largest softmax weight lacks of 1",
            arguments=(keys, logit_gap),
            expression=_OTHERS / (1 + _OTHERS),
            points=((5, 3),),
            quantity=lambda i, bits: (
                1 - _least_diagonal(weights(i.queries, i.keys, precision=bits), i.n)
            ),
            parameters=lambda i, bits: {"keys": i.n, "logit_gap": i.logit_gap},
            # Equal weights.
            trivial=lambda i, bits: lift(Fraction(i.n - 1, i.n), bits),
            extremal=lambda: Parabola(2, Fraction(3)),
            theorem="l_softmax_lack",
            attained="l_softmax_attained",
        ),
    ),
    witness=lambda: Parabola(6, Fraction(8)),
    # Of two or three keys one attains the bound, which no enclosure decides.
    sample=lambda rng: Parabola(int(rng.integers(4, 9)), Fraction(int(rng.integers(1, 640)), 64)),
)


def _least_diagonal(p: Enclosure, n: int) -> Enclosure:
    """Enclose the smallest of the weights that each key has for its own query."""
    return -(-p[np.arange(n), np.arange(n)]).max()


# ------------------------------------------------------------------------------------ L.leverage


@dataclass(frozen=True)
class Products:
    """Keys K, a square matrix T, and a matrix B that shall be near K T.

    ``errors`` bound the lengths of the rows of K T - B and ``defect`` is such that BᵀB >= (1 - defect) I.
    """

    K: Matrix
    T: Matrix
    B: Matrix
    errors: tuple[Fraction, ...]
    defect: Fraction
    key: int = 0


def _exactly(M: Matrix) -> Matrix:
    return np.array([[Fraction(float(x)) for x in row] for row in M], object).reshape(M.shape)


def _row_squares(M: Matrix) -> list[Fraction]:
    return [sum(x * x for x in row) for row in M]


def _error_square(i: Products) -> Fraction:
    return sum((e * e for e in i.errors), Fraction(0))


def _leverage_parameters(i: Products, bits: int) -> Mapping[str, Value]:
    return {
        "row_norm": lift(_row_squares(_exactly(i.B))[i.key], bits).sqrt(),
        "row_error": i.errors[i.key],
        "defect": i.defect,
        "error_norm": lift(_error_square(i), bits).sqrt(),
    }


def multiplied(K: Matrix, T: Matrix, key: int) -> Products:
    """Multiply in floating point; errors and defect are measured, rounded up to multiples of 2^-80."""
    B = K @ T
    lost = _row_squares(_exactly(K).dot(_exactly(T)) - _exactly(B))
    errors = tuple(
        Fraction(int(sympy.sqrt(e) * 2**80) + bool(e), 2**80) for e in map(sympy.Rational, lost)
    )
    E = gram(B.T)
    d = Fraction(0)
    while not semidefinite(E - (1 - d) * np.eye(len(E), dtype=int)):
        d = 2 * d if d else Fraction(1, 1 << 50)
    return Products(K, T, B, errors, d, key)


def _products_sample(rng: np.random.Generator) -> Products:
    """Draw keys of full rank and nearly their whitening, in float32 so that roundings are seen."""
    d = int(rng.integers(1, 5))
    n = d + int(rng.integers(0, 8))
    K = np.vstack([np.eye(d), rng.uniform(-1, 1, (n - d, d))]).astype(np.float32)
    L = np.linalg.cholesky((K.T @ K).astype(float))
    T = (np.linalg.inv(L).T * (1 + rng.uniform(0, 0.1))).astype(np.float32)
    i = multiplied(K, T, int(rng.integers(0, n)))
    return i


L_LEVERAGE = Claim[Products](
    id="L.leverage",
    where="ours",
    statement=(
        "Let row i of B be within e_i of row i of K T, sum e_i^2 <= f^2, and BᵀB >= (1-defect) I with "
        "1-defect > f^2, T square. Then the leverage of key j, the largest of (q·k_j)^2 / |Kq|^2 over all "
        "queries, is at most ((|b_j| + e_j)/(sqrt(1-defect) - f))^2. Nothing is assumed of T."
    ),
    not_stated=(
        "How an implementation bounds the rows' errors and the defect: by the model of products and sums "
        "(FP.product, FP.sum)."
    ),
    assumes=(
        Hypothesis(
            "row i of K T - B is no longer than e_i",
            lambda i: all(
                e >= 0 and s <= e * e
                for s, e in zip(
                    _row_squares(_exactly(i.K).dot(_exactly(i.T)) - _exactly(i.B)),
                    i.errors,
                    strict=True,
                )
            ),
            mirrors=("norm d (fun l : nat => transformed d K T i l - B i l) <= e i",),
        ),
        Hypothesis(
            "BᵀB >= (1 - defect) I",
            lambda i: semidefinite(gram(i.B.T) - (1 - i.defect) * np.eye(i.B.shape[1], dtype=int)),
            mirrors=("(1 - defect) * norm d z ^ 2 <= fsum n (fun i : nat => dot d (B i) z ^ 2)",),
        ),
        Hypothesis(
            "sum e_i^2 < 1 - defect",
            lambda i: _error_square(i) < 1 - i.defect,
            mirrors=("f ^ 2 < 1 - defect",),
        ),
    ),
    bounds=(
        Bound(
            name="leverage_certificate",
            meaning="the leverage of a key",
            arguments=(row_norm, row_error, defect, error_norm),
            expression=((row_norm + row_error) / (sympy.sqrt(1 - defect) - error_norm)) ** 2,
            domain={defect: BELOW_ONE},
            provided=error_norm**2 + defect < 1,
            points=(
                (_THIRD, sympy.Rational(1, 100), sympy.Rational(9, 25), sympy.Rational(1, 100)),
            ),
            quantity=lambda i, bits: lift(leverage_scores(i.K.T)[i.key], bits),
            parameters=_leverage_parameters,
            trivial=lambda i, bits: lift(1, bits),
            extremal=lambda: multiplied(_repeated(2, 4), np.eye(2) / 2, 0),
            theorem="l_leverage",
            relation=Relation.RELATIVE,
            attained="l_leverage_attained",
        ),
    ),
    witness=lambda: multiplied(_repeated(2, 2) / 3, np.eye(2) * (3 / np.sqrt(2)), 1),
    sample=_products_sample,
)

CLAIMS = (L_HEAVY, L_POWERS, L_SOFTMAX, L_LEVERAGE)
