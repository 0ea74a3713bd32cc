r"""P2's polynomial method: P in place of exp, its certificate, its cost, and the best P of a degree.

Weights P(q·(k − c)) in place of e^(q·k), with |q·(k − c)| ≤ ``half_range`` = b for all pairs: the centre c
costs nothing.  Only κ = max P(x)e^(−x) / min P(x)e^(−x) over |x| ≤ b matters (S.kappa, P2.poly); it is
certified from a grid (P2.kappa); no P of the same degree has a smaller one than the relative minimax
polynomial (P2.minimax), and S.taylor bounds what Taylor's has.  As P(q·(k − c)) is a polynomial in the
entries of q and of k, it is an inner product of C(d + g, g) features, so that moments of keys and
values are all that is kept of them; they can be moved to another centre exactly (P2.recentre).

NOTE The paper's ‖QKᵀ‖_max is a bound on the logits; ours is on the logits after centring, which is
smaller, and the paper's additive error is ours times max|V|.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import factorial, prod
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, attention, evaluate
from reference.arithmetic.gram import gram_rank
from reference.models.counted_products import Tally
from reference.moments import moments, recentred
from reference.polynomial_weights import centred_logits, half_range, polynomial_attention
from reference.polynomials import (
    derived,
    evaluated,
    extremes,
    is_positive,
    kappa,
    levelled_ratio,
    rational,
)
from specs import symbols
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.symbols import (
    AT_LEAST_ONE,
    POSITIVE,
    bottom,
    curvature,
    degree,
    fourth,
    keys,
    largest,
    n,
    queries,
    query_norm,
    reach,
    shift_norm,
    spread,
    step,
    top,
    values,
    variables,
)

Matrix = NDArray[Any]
Coefficients = tuple[Fraction, ...]


#: t, the number of monomials of degree at most ``degree`` in ``variables`` variables.
features = sympy.binomial(variables + degree, degree)


def taylor(order: int) -> Coefficients:
    """Return the Taylor coefficients of exp at 0."""
    return tuple(Fraction(1, factorial(k)) for k in range(order + 1))


def length(vector: Any, bits: int) -> Enclosure:
    """Enclose the Euclidean norm."""
    return lift(sum(Fraction(float(x)) ** 2 for x in vector), bits).sqrt()


# ------------------------------------------------------------------------------------- P2.poly


@dataclass(frozen=True)
class Expansion:
    """Q, K, V, a centre, and a polynomial that is positive where the logits q·(k − c) are."""

    Q: Matrix
    K: Matrix
    V: Matrix
    coefficients: Coefficients
    centre: Matrix
    half_range: Fraction


def _moved(i: Expansion, by: Enclosure, bits: int) -> Enclosure:
    return abs(by - attention(i.Q, i.K, i.V, precision=bits)).max()


def _expanded(i: Expansion, bits: int) -> Enclosure:
    return polynomial_attention(i.Q, i.K, i.V, i.coefficients, centre=i.centre, precision=bits)


def _largest_spread(V: Matrix) -> Fraction:
    return max(Fraction(float(c.max())) - Fraction(float(c.min())) for c in V.T)


def _expansion_counts(i: Expansion) -> Mapping[str, Value]:
    return {
        "queries": len(i.Q),
        "keys": len(i.K),
        "variables": i.K.shape[1],
        "degree": len(i.coefficients) - 1,
        "values": i.V.shape[1],
    }


def _weights_rank(i: Expansion) -> int:
    """Return the rank of the matrix P(q_i·(k_j − c)): no U₁ U₂ᵀ that equals it is narrower."""
    logits, _ = centred_logits(i.Q, i.K, i.centre).bounds()
    return gram_rank(sum(c * logits**m for m, c in enumerate(i.coefficients)))


def _expansion_products(i: Expansion) -> int:
    """Count the products of moments, of coefficients times moments, of queries, and the quotients."""
    tally, order = Tally(), len(i.coefficients) - 1
    U1, U2 = (tally.monomials(X, order) for X in (i.Q, i.K))
    S = tally.product(U2.T, np.hstack([i.V, np.ones((len(i.V), 1))]))
    tally.products += S.size
    tally.product(U1, S)
    quotients: int = len(i.Q) * i.V.shape[1]
    return tally.products + quotients


def _expansion_sample(rng: np.random.Generator) -> Expansion:
    queries, keys = (int(rng.integers(1, rng.choice([6, 14]))) for _ in range(2))
    d, d_v = (int(rng.integers(1, 6)) for _ in range(2))
    keys += 1  # one key is given its value, with no error at all
    Q, K, V = (rng.uniform(-1, 1, shape) for shape in ((queries, d), (keys, d), (keys, d_v)))
    # Taylor polynomials of even degree are positive; many features are slow to count.
    order = 2 * int(rng.integers(1, 5 if d < 4 else 3))
    centre = K.mean(axis=0)
    return Expansion(Q, K, V, taylor(order), centre, half_range(Q, K, centre=centre))


def _two_sided(sides: tuple[int, int], queries: int, order: int) -> Expansion:
    """Give logits 1 and -1 about a centre far away, to so many keys each, with values 1 and -1."""
    K = np.repeat([8.0, 6.0], sides)[:, None]
    return Expansion(np.ones((queries, 1)), K, K - 7, taylor(order), np.array([7.0]), Fraction(1))


def _generic(count: int, d: int, d_v: int, order: int) -> Expansion:
    rng = np.random.default_rng(11)
    Q, K = (rng.integers(-4, 5, (count, d)) / 4 for _ in range(2))
    centre = np.zeros(d)
    return Expansion(
        Q, K, np.ones((count, d_v)), taylor(order), centre, half_range(Q, K, centre=centre)
    )


P2_POLY = Claim[Expansion](
    id="P2.poly",
    where="P2, sentences 5 and 6",
    statement=(
        "exp(Q Kᵀ) is approximated by U1 U2ᵀ with n x t factors, in n^{1+o(1)} time. Our reading: weights "
        "P(q.(k-c)), P of degree g, have t = C(d+g, g) and move no output by more than "
        "spread(V) tanh(ln(kappa)/4), kappa = max P(x)e^{-x} / min P(x)e^{-x} on |x| <= half_range. "
        "The degree depends on half_range and the tolerance only, so for both fixed the time is linear in n "
        "(P2.cost)."
    ),
    not_stated=(
        "Rounding, which is FP.moments. That t is n^{o(1)} needs d = O(log n) and half_range = "
        "o(sqrt(log n)), as in Alman and Song 2023; t is computed here, not estimated."
    ),
    assumes=(
        Hypothesis(
            "every |q.(k-c)| <= half_range",
            lambda i: half_range(i.Q, i.K, centre=i.centre) <= i.half_range,
            mirrors=("bounded",),
        ),
        Hypothesis(
            "P is positive on [-half_range, half_range]",
            lambda i: is_positive(i.coefficients, i.half_range),
            mirrors=("0 < m", "fits_exp"),
        ),
    ),
    bounds=(
        Bound(
            name="poly_output",
            meaning="the change of an attention output when a polynomial replaces exp",
            arguments=(symbols.kappa, spread),
            expression=spread * sympy.tanh(sympy.log(symbols.kappa) / 4),
            domain={symbols.kappa: AT_LEAST_ONE},
            points=((sympy.Rational(5, 4), 3),),
            quantity=lambda i, bits: _moved(i, _expanded(i, bits), bits),
            parameters=lambda i, bits: {
                "kappa": kappa(i.coefficients, i.half_range, precision=bits),
                "spread": _largest_spread(i.V),
            },
            # The mean of the values.
            trivial=lambda i, bits: _moved(i, lift(i.V, bits).sum(axis=0) / len(i.V), bits),
            extremal=lambda: _two_sided((13, 79), 1, 2),
            theorem="p2_poly_output",
            attained="p2_poly_output_attained",
        ),
        Bound(
            name="poly_features",
            meaning="the rank of the matrix of weights, which is the least width of U1 and U2",
            arguments=(variables, degree),
            expression=features,
            points=((3, 2), (1, 4)),
            quantity=lambda i, bits: lift(_weights_rank(i), bits),
            parameters=lambda i, bits: _expansion_counts(i),
            # The exponential's own matrix has full rank.
            trivial=lambda i, bits: lift(min(len(i.Q), len(i.K)), bits),
            extremal=lambda: _generic(12, 2, 1, 2),
            vacuous_where=features >= sympy.Min(queries, keys),
            edges=lambda: (_generic(6, 2, 1, 2), _generic(7, 2, 1, 2)),
            theorem="p2_poly_width",
            relation=Relation.EQUALS,
        ),
    ),
    witness=lambda: _two_sided((3, 57), 60, 4),
    sample=_expansion_sample,
)

_POLY_PRODUCTS = features * ((values + 2) * (queries + keys) + values + 1) + queries * values

P2_COST = Claim[Expansion](
    id="P2.cost",
    where="ours",
    statement=(
        "Polynomial attention by moments takes t((d_v+2)(n_q+n_k) + d_v+1) + n_q d_v products and quotients, "
        "t = C(d+g, g): linear in n. Exact attention takes n_q n_k (d + d_v), and n_q n_k exponentials."
    ),
    not_stated="Additions are not counted, and a product is not a unit of time.",
    assumes=tuple(
        replace(h, mirrors=(), alone="products are counted of any keys and polynomials")
        for h in P2_POLY.assumes
    ),
    bounds=(
        Bound(
            name="poly_products",
            meaning="the products and quotients of polynomial attention by moments",
            arguments=(queries, keys, variables, degree, values),
            expression=_POLY_PRODUCTS,
            points=((7, 5, 3, 2, 4),),
            quantity=lambda i, bits: lift(_expansion_products(i), bits),
            parameters=lambda i, bits: _expansion_counts(i),
            # Exact attention's products, and its exponentials counted as nothing.
            trivial=lambda i, bits: lift(len(i.Q) * len(i.K) * (i.K.shape[1] + i.V.shape[1]), bits),
            extremal=lambda: _generic(40, 2, 16, 12),
            vacuous_where=queries * keys * (variables + values) <= _POLY_PRODUCTS,
            edges=lambda: (_generic(9, 1, 1, 2), _generic(10, 1, 1, 2)),
            theorem="p2_cost",
        ),
    ),
    witness=lambda: _two_sided((3, 57), 60, 4),
    sample=_expansion_sample,
)

# ------------------------------------------------------------------------------------- P2.kappa


@dataclass(frozen=True)
class Grid:
    """A polynomial, and ``cells`` cells of equal width on [-half_range, half_range]."""

    coefficients: Coefficients
    half_range: Fraction
    cells: int

    @property
    def step(self) -> Fraction:
        """The width of a cell."""
        return 2 * self.half_range / self.cells

    def twice(self) -> Coefficients:
        """Return P'' - 2P' + P: the second derivative of P(x)e^{-x} is this times e^{-x}."""
        return tuple(derived(derived(self.coefficients)))


_CURVATURE = largest + fourth * step**2 / 8


def _on_grid(i: Grid, coefficients: Coefficients, bits: int) -> Enclosure:
    x = lift([i.step * k - i.half_range for k in range(i.cells + 1)], bits)
    return evaluated(rational(coefficients), x) * (-x).exp()


def _largest_slope(i: Grid, coefficients: Coefficients, bits: int) -> Enclosure:
    """Enclose e^b sum_m |c_m| b^m, which no value of P(x)e^{-x} exceeds."""
    size = sum(abs(c) * i.half_range**m for m, c in enumerate(coefficients))
    return lift(i.half_range, bits).exp() * lift(size, bits)


def _curvature_parameters(i: Grid, bits: int) -> Mapping[str, Value]:
    fourth_derivative = tuple(derived(derived(i.twice())))
    return {
        "largest": abs(_on_grid(i, i.twice(), bits)).max(),
        "fourth": _largest_slope(i, fourth_derivative, bits),
        "step": i.step,
    }


def _grid_parameters(i: Grid, bits: int) -> Mapping[str, Value]:
    f = _on_grid(i, i.coefficients, bits)
    return {
        "top": f.max(),
        "bottom": f.min(),
        "curvature": evaluate(_CURVATURE, _curvature_parameters(i, bits), bits),
        "step": i.step,
    }


def _fine_enough(i: Grid) -> bool:
    """Decide whether the grid certifies that P(x)e^{-x} is positive."""
    least = evaluate(bottom - curvature * step**2 / 8, _grid_parameters(i, 256), 256)
    return bool(least.bounds()[0].item() > 0)


def _grid_sample(rng: np.random.Generator) -> Grid:
    order = 2 * int(rng.integers(1, 4))
    perturbed = tuple(c * (1 + Fraction(int(rng.integers(-9, 10)), 1000)) for c in taylor(order))
    return Grid(perturbed, Fraction(int(rng.integers(1, 9)), 8), int(rng.integers(16, 64)))


P2_KAPPA = Claim[Grid](
    id="P2.kappa",
    where="ours",
    statement=(
        "f(x) = P(x)e^{-x} lies, on the whole interval, within curvature step^2/8 of its values on a grid, "
        "if |f''| <= curvature; f'' lies within fourth step^2/8 of its own. So a grid certifies kappa."
    ),
    not_stated="The rounding of the values on the grid, which is FP.polynomial.",
    assumes=(
        Hypothesis(
            "the grid certifies that P is positive: bottom > curvature step^2/8",
            _fine_enough,
            mirrors=("0 < bottom - curvature * step ^ 2 / 8",),
        ),
    ),
    bounds=(
        Bound(
            name="kappa_grid",
            meaning="kappa, from the values of P(x)e^{-x} on a grid",
            arguments=(top, bottom, curvature, step),
            expression=(top + curvature * step**2 / 8) / (bottom - curvature * step**2 / 8),
            domain={bottom: POSITIVE},
            provided=curvature * step**2 / 8 < bottom,
            points=((2, 1, 3, sympy.Rational(1, 10)),),
            quantity=lambda i, bits: kappa(i.coefficients, i.half_range, precision=bits),
            parameters=_grid_parameters,
            # P = 1.
            trivial=lambda i, bits: kappa([1], i.half_range, precision=bits),
            extremal=lambda: Grid(taylor(2), Fraction(1), 256),
            theorem="p2_kappa_grid",
            relation=Relation.RELATIVE,
        ),
        Bound(
            name="grid_curvature",
            meaning="the largest |f''|, from the values of f'' on a grid",
            arguments=(largest, fourth, step),
            expression=_CURVATURE,
            points=((2, 3, sympy.Rational(1, 10)),),
            quantity=lambda i, bits: abs(extremes(i.twice(), i.half_range, precision=bits)).max(),
            parameters=_curvature_parameters,
            # P = 1.
            trivial=lambda i, bits: lift(i.half_range, bits).exp(),
            extremal=lambda: Grid(taylor(2), Fraction(1), 256),
            theorem="p2_grid_curvature",
        ),
    ),
    witness=lambda: Grid(taylor(4), Fraction(1), 64),
    sample=_grid_sample,
)

# ----------------------------------------------------------------------------------- P2.minimax


@dataclass(frozen=True)
class Levelled:
    """A polynomial whose P(x)e^{-x} turns ``degree`` times in the interval, and another of its degree."""

    coefficients: Coefficients
    other: Coefficients
    half_range: Fraction


def _turns(i: Levelled) -> bool:
    """Decide whether P(x)e^{-x} has degree + 2 extremes, alternately above and below a level."""
    f = extremes(i.coefficients, i.half_range, precision=256)
    return len(f) == len(i.coefficients) + 1


#: The relative minimax polynomials on [-1, 1] by degree, rounded to floats.
MINIMAX: Mapping[int, Coefficients] = {
    2: tuple(map(Fraction, (1.0270267451938542, 1.113878983303648, 0.46935125259603844))),
    4: tuple(
        map(
            Fraction,
            (
                0.9996278957172138,
                0.9979387291070364,
                0.5028986508540492,
                0.17648623219024698,
                0.03996291422520888,
            ),
        )
    ),
}


def _levelled_sample(rng: np.random.Generator) -> Levelled:
    P = MINIMAX[2 * int(rng.integers(1, 3))]
    other = tuple(c * (1 + Fraction(int(rng.integers(-20, 21)), 1000)) for c in P)
    return Levelled(P, other, Fraction(1))


P2_MINIMAX = Claim[Levelled](
    id="P2.minimax",
    where="ours",
    statement=(
        "If P(x)e^{-x} is alternately >= M and <= m at degree + 2 points of the interval, no polynomial of "
        "that degree has kappa < M/m: else a multiple of it minus P would change sign degree + 1 times. The "
        "relative minimax polynomial has kappa = M/m, so M/m certifies that a degree is too small."
    ),
    not_stated="That the exchange algorithm converges: its result is certified, not its way.",
    assumes=(
        Hypothesis(
            "both polynomials are positive on the interval",
            lambda i: (
                is_positive(i.coefficients, i.half_range) and is_positive(i.other, i.half_range)
            ),
            mirrors=("0 < m", "0 < M", "0 < low", "fits_exp"),
        ),
        Hypothesis(
            "P(x)e^{-x} turns degree times inside the interval",
            _turns,
            mirrors=(
                "increasing",
                "Rabs (x i) <= b",
                "if eqb (even i) start then M <= polynomial g c (x i) * exp (- x i) else "
                "polynomial g c (x i) * exp (- x i) <= m",
            ),
        ),
        Hypothesis(
            "the other polynomial has no higher degree",
            lambda i: len(i.other) <= len(i.coefficients),
            alone="both polynomials of the theorem have g + 1 coefficients, some of which may be 0",
        ),
    ),
    bounds=(
        Bound(
            name="minimax_floor",
            meaning="the ratio M/m of the two levels",
            arguments=(symbols.kappa,),
            expression=symbols.kappa,
            domain={symbols.kappa: AT_LEAST_ONE},
            points=((sympy.Rational(5, 4),),),
            quantity=lambda i, bits: levelled_ratio(i.coefficients, i.half_range, precision=bits),
            parameters=lambda i, bits: {"kappa": kappa(i.other, i.half_range, precision=bits)},
            # P = 1, of degree 0: M = e^b and m = e^-b.
            trivial=lambda i, bits: levelled_ratio([1], i.half_range, precision=bits),
            extremal=lambda: Levelled(MINIMAX[4], MINIMAX[4], Fraction(1)),
            theorem="p2_minimax_floor",
        ),
    ),
    witness=lambda: Levelled(MINIMAX[2], taylor(2), Fraction(1)),
    sample=_levelled_sample,
)

# ----------------------------------------------------------------------------------- P2.recentre


@dataclass(frozen=True)
class Recentring:
    """One query, and keys whose moments are moved from the origin to ``shift``."""

    q: Matrix
    K: Matrix
    shift: Matrix
    degree: int


def _absolute_power(i: Recentring) -> Fraction:
    """Return sum_a (degree!/a!) |q|^a S'_a, S' the moments of |k_j| moved to -|shift|.

    Every term of the binomial translation has its absolute value: what rounding is relative to.
    """
    q, K, shift = (abs(X) for X in (i.q, i.K, i.shift))
    moved = recentred(moments(K, K[:, :0], i.degree), -shift)
    return sum(
        (
            Fraction(factorial(i.degree), prod(factorial(m) for m in a))
            * prod((Fraction(float(x)) ** m for x, m in zip(q, a, strict=True)), start=Fraction(1))
            * S[-1]
            for a, S in moved.items()
            if sum(a) == i.degree
        ),
        Fraction(0),
    )


def _recentring_parameters(i: Recentring, bits: int) -> Mapping[str, Value]:
    return {
        "n": len(i.K),
        "degree": i.degree,
        "query_norm": length(i.q, bits),
        "reach": lift(max(sum(Fraction(float(x)) ** 2 for x in k) for k in i.K), bits).sqrt(),
        "shift_norm": length(i.shift, bits),
    }


def _coordinatewise(i: Recentring, bits: int) -> Enclosure:
    """Enclose what the largest coordinates alone give: n (|q|_1 (max|k| + max|shift|))^degree."""
    q, k, s = ([abs(Fraction(float(x))) for x in X.ravel()] for X in (i.q, i.K, i.shift))
    return lift(len(i.K) * (sum(q) * (max(k) + max(s))) ** i.degree, bits)


def _recentring_sample(rng: np.random.Generator) -> Recentring:
    n, d = int(rng.integers(1, 6)), int(rng.integers(2, 5))
    return Recentring(
        rng.uniform(-1, 1, d),
        rng.uniform(-1, 1, (n, d)),
        rng.uniform(-1, 1, d),
        int(rng.integers(1, 5)),
    )


P2_RECENTRE = Claim[Recentring](
    id="P2.recentre",
    where="ours",
    statement=(
        "Moments about c give those about c + s exactly: S'_a = sum_{b<=a} prod_l C(a_l, b_l) "
        "(-s_l)^{a_l-b_l} S_b. The terms of that sum, weighted as a query weights them, add up in absolute "
        "value to no more than n (|q| (max|k_j - c| + |s|))^degree: rounding grows as if every key were "
        "further away by |s|."
    ),
    not_stated="The rounding itself, which is FP.moments with reach + |s| for reach.",
    assumes=(
        Hypothesis(
            "degree >= 1", lambda i: i.degree >= 1, alone="of degree 0 the theorem says that n <= n"
        ),
    ),
    bounds=(
        Bound(
            name="recentre_power",
            meaning="the absolute sum of the terms of degree ``degree`` in recentring",
            arguments=(n, degree, query_norm, reach, shift_norm),
            expression=n * (query_norm * (reach + shift_norm)) ** degree,
            points=((5, 3, 2, 3, sympy.Rational(1, 2)),),
            quantity=lambda i, bits: lift(_absolute_power(i), bits),
            parameters=_recentring_parameters,
            trivial=_coordinatewise,
            # All of one size in one dimension.
            extremal=lambda: Recentring(
                np.array([3.0]), np.array([[-2.0], [2.0]]), np.array([1.0]), 3
            ),
            theorem="p2_recentre_power",
            attained="p2_recentre_power_attained",
        ),
    ),
    witness=lambda: Recentring(
        np.array([1.0, 1.0]), np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([0.5, 0.0]), 4
    ),
    sample=_recentring_sample,
)

CLAIMS = (P2_POLY, P2_COST, P2_KAPPA, P2_MINIMAX, P2_RECENTRE)
