r"""P4: how large the derivatives of attention regression get, in numbers that can be read off the data.

Along a line, row i of the output is the mean of h under softmax weights whose logits s move at a constant
speed.  Its derivatives are cumulants, and cumulants of bounded numbers are bounded (P4.cumulant):

    o′ = Cov(s, h) + Vᵀ f,   o″ = κ(s, s, h) + 2 Cov(s, A₃ V),   o‴ = κ(s, s, s, h) + 3 κ(s, s, A₃ V).

With r the residual, (½|r|²)″ = |o′|² + r·o″ and (½|r|²)‴ = 3 o′·o″ + r·o‴; summed over rows with
Σ_i |Uᵀ a_i|² ≤ ‖A₁‖² ‖U‖² that is P4.lipschitz.  A form x ↦ Σ c_k x^(p−k) y^k on x² + y² = 1 is at most
the root of Σ c_k² / binomial(p, k): Cauchy's inequality with (x² + y²)^p.

Radii are of balls that hold rows, around any centre: softmax does not see where A₂ is, and of A₃ Y the
cumulants do not either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from reference import Enclosure, softmax
from reference.arithmetic.gram import gram, semidefinite
from reference.regression import Regression, along_line, residual
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.regression.derivatives import Line, Matrix, fractions, sampled_sizes, small_line
from specs.symbols import (
    deviation,
    distance,
    feature_deviation,
    feature_norm,
    feature_radius,
    key_deviation,
    key_radius,
    logit_radius,
    mean_norm,
    query_norm,
    residual_norm,
    residual_total,
    shortfall,
    spectral_norm,
    value_deviation,
    value_radius,
)

#: The largest third cumulant of numbers in [−1, 1].
THIRD = 4 * sympy.sqrt(3) / 9


# ----------------------------------------------------------------------------------- P4.cumulant


@dataclass(frozen=True)
class Row:
    """Logits, the speed s of each, and a value h of each, s and h within a radius of some number."""

    logits: Matrix
    speeds: Matrix
    values: Matrix
    logit_radius: Fraction
    value_radius: Fraction


def _halved_range(v: Matrix) -> Fraction:
    return (Fraction(float(v.max())) - Fraction(float(v.min()))) / 2


def _raw(i: Row, bits: int, order: int) -> Enclosure:
    """Enclose the moment that forgets to subtract the means."""
    p, s = softmax(i.logits, precision=bits), lift(i.speeds, bits)
    return abs((p * s ** (order - 1) * lift(i.values, bits)).sum())


def _cumulant(i: Row, bits: int, order: int) -> Enclosure:
    p, s, h = softmax(i.logits, precision=bits), lift(i.speeds, bits), lift(i.values, bits)
    s, h = s - (p * s).sum(), h - (p * h).sum()
    moment = (p * s ** (order - 1) * h).sum()
    return abs(moment - 3 * (p * s * s).sum() * (p * s * h).sum()) if order == 4 else abs(moment)


def _cumulant_bound(
    order: int, name: str, words: str, constant: sympy.Expr, tilt: float
) -> Bound[Row]:
    return Bound(
        name=name,
        meaning=f"|{words}| under softmax weights",
        arguments=(logit_radius, value_radius),
        expression=constant * logit_radius ** (order - 1) * value_radius,
        points=((sympy.Rational(7, 3), sympy.Rational(5, 4)),),
        quantity=lambda i, bits: _cumulant(i, bits, order),
        parameters=lambda i, bits: {
            "logit_radius": i.logit_radius,
            "value_radius": i.value_radius,
        },
        trivial=lambda i, bits: _raw(i, bits, order),
        extremal=lambda: Row(
            np.array([tilt, -tilt]),
            np.array([1.0, -1.0]),
            np.array([1.0, -1.0]),
            Fraction(1),
            Fraction(1),
        ),
        theorem=f"p4_{name}",
        attained=f"p4_{name}_attained",
    )


def _row_sample(rng: np.random.Generator) -> Row:
    m = int(rng.integers(1, 6))
    s, h = rng.standard_normal((2, m)) + 3
    margin = Fraction(1, 1 << 20)
    return Row(
        2 * rng.standard_normal(m), s, h, _halved_range(s) + margin, _halved_range(h) + margin
    )


P4_CUMULANT = Claim[Row](
    id="P4.cumulant",
    where="ours",
    statement=(
        "s within rho of a number, h within r of one, under any weights: |Cov(s, h)| <= rho r, |E[(s-Es)^2 "
        "(h-Eh)]| <= 4/(3 sqrt 3) rho^2 r, |E[(s-Es)^3 (h-Eh)] - 3 Var(s) Cov(s, h)| <= 2 rho^3 r.  They "
        "are the largest values of the first three derivatives of tanh; two points attain them.  Where "
        "values are vectors, r is the radius of a ball that holds them and |.| a length."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "s lies within logit_radius and h within value_radius of a number",
            lambda i: (
                _halved_range(i.speeds) <= i.logit_radius
                and _halved_range(i.values) <= i.value_radius
            ),
            mirrors=("within_radius", "within_radius (2)"),
        ),
    ),
    bounds=(
        _cumulant_bound(2, "second_cumulant", "Cov(s, h)", sympy.Integer(1), 0.0),
        # tanh(t) = 1/sqrt(3).
        _cumulant_bound(3, "third_cumulant", "E[(s-Es)^2 (h-Eh)]", THIRD, 0.6584789484624084),
        _cumulant_bound(
            4, "fourth_cumulant", "E[(s-Es)^3 (h-Eh)] - 3 Var(s) Cov(s, h)", sympy.Integer(2), 0.0
        ),
    ),
    witness=lambda: Row(
        np.array([0.5, -1.0, 0.25]),
        np.array([5.0, 4.0, 4.5]),
        np.array([6.0, 7.0, 6.5]),
        Fraction(1, 2),
        Fraction(1, 2),
    ),
    sample=_row_sample,
)

# -------------------------------------------------------------------------- what the bounds take


@dataclass(frozen=True)
class Bounded:
    """A line, and a number that is at least the spectral norm of A₁."""

    line: Line
    spectral_norm: Fraction


def _bounded(line: Line) -> Bounded:
    """Attach the spectral norm with a margin of 2^-30."""
    norm = float(np.linalg.norm(np.asarray(line.A1, float), 2))
    return Bounded(line, Fraction(norm) * (1 + Fraction(1, 1 << 30)))


def _sample(rng: np.random.Generator) -> Bounded:
    """Draw a line with two keys at least: one alone moves no output."""
    i = Line(**{k: rng.standard_normal(shape) for k, shape in sampled_sizes(rng).items()})
    # Far and near, with weights that are even or concentrated: bounds are exponential in the distance.
    near, large = 0.25 ** int(rng.integers(0, 5)), 4.0 ** int(rng.integers(0, 2))
    i = replace(i, U=near * i.U, V=near * i.V, X=large * i.X)
    return _bounded(
        replace(i, A2=np.vstack([i.A2, i.A2[:1] + 1]), A3=np.vstack([i.A3, i.A3[:1] - 1]))
    )


def _largest_square(rows: Matrix) -> Fraction:
    return Fraction((rows * rows).sum(axis=1).max())


def _radius_square(rows: Matrix) -> Fraction:
    """Return the square of the radius of a ball around the middle of the rows' ranges."""
    return _largest_square(rows - (rows.max(axis=0) + rows.min(axis=0)) / 2)


def _length_square(i: Line) -> Fraction:
    return Fraction(sum(x * x for part in i.direction() for x in part.ravel().tolist()))


def _root(square: Fraction, bits: int) -> Enclosure:
    return lift(square, 2 * bits).sqrt()


def _row_lengths(rows: Enclosure) -> Enclosure:
    return (rows * rows).sum(axis=1)


def _slopes(i: Bounded, bits: int) -> tuple[Enclosure, Enclosure]:
    """Enclose the weights p_ij, and r_i·h_j less its mean over j."""
    p = i.line.problem()
    P, lifted = p.weights(bits), p.lifted(bits)
    C = residual(P, lifted) @ (lifted.A3 @ lifted.Y).T
    return P, C - (P * C).sum(axis=1)[:, None]


def _shortfall(i: Bounded, bits: int) -> Enclosure:
    _, C = _slopes(i, bits)
    return (-C).max()


def parameters_of(i: Bounded, bits: int) -> Mapping[str, Value]:
    """Return whatever a bound of this module takes, on an instance."""
    p, line = i.line.exact(), i.line
    lifted = line.problem().lifted(bits)
    P = line.problem().weights(bits)
    R, F = residual(P, lifted), P @ lifted.A3
    return {
        "spectral_norm": i.spectral_norm,
        "query_norm": _root(_largest_square(p.A1), bits),
        "key_radius": _root(_radius_square(p.A2), bits),
        "value_radius": _root(_radius_square(line.values()), bits),
        "feature_radius": _root(_radius_square(p.A3), bits),
        "feature_norm": _root(_largest_square(p.A3), bits),
        "mean_norm": (F * F).sum().sqrt(),
        "residual_norm": _row_lengths(R).max().sqrt(),
        "residual_total": (R * R).sum().sqrt(),
        "shortfall": _shortfall(i, bits),
        "distance": _root(_length_square(line), bits),
    }


_SPECTRAL = Hypothesis[Bounded](
    "spectral_norm is at least the spectral norm of A1",
    lambda i: (
        i.spectral_norm >= 0
        and semidefinite(
            i.spectral_norm**2 * np.eye(i.line.A1.shape[1], dtype=int)
            - gram(fractions(i.line.A1).T)
        )
    ),
    mirrors=("spectral_bound",),
)
_MOVES = Hypothesis[Bounded](
    "the direction is not zero",
    lambda i: _length_square(i.line) > 0,
    alone="the quantity is a quotient by the direction's length",
)


def _derivative(i: Bounded, bits: int, order: int) -> Enclosure:
    """Enclose a derivative along the line, by the definition, over the direction's length."""
    p = i.line.problem()
    U, V = (lift(part, bits) for part in (i.line.U, i.line.V))
    found: Enclosure = along_line(p.weights(bits), p.lifted(bits), U, V, order)[order]
    length = _root(_length_square(i.line), bits)
    return found / length**order


def _in_x(i: Bounded) -> Bounded:
    """Return the line with a direction that leaves Y alone."""
    return replace(i, line=replace(i.line, V=0 * i.line.V))


def _longer_queries(i: Bounded) -> Bounded:
    """Return the line with queries twenty times as long, which forgets the hypothesis."""
    return replace(i, line=replace(i.line, A1=20 * i.line.A1))


def _line(*arrays: Any) -> Bounded:
    """Give a line of exact small matrices, from nested lists."""
    return _bounded(Line(*(np.atleast_2d(np.asarray(a, float)) for a in arrays)))


def _exactly(line: Bounded) -> Bounded:
    """Leave the margin away where A₁ is 1 × 1."""
    return replace(line, spectral_norm=abs(Fraction(float(line.line.A1.item()))))


def _two_keys(features: float, offset: float, Y: float, B: float, U: float, V: float) -> Bounded:
    """Give keys 1 and −1 of equal weight, and values offset ± features."""
    A2, A3 = [[1], [-1]], [[offset + features], [offset - features]]
    return _exactly(_line(1, A2, A3, B, 0, Y, U, V))


def _witness() -> Bounded:
    """Give a line from near-uniform weights, where the residual is small."""
    i = small_line()
    return _bounded(replace(i, B=0 * i.B + 2, X=i.X / 64, U=i.U / 64, V=i.V / 64))


# ---------------------------------------------------------------------------------- P4.lipschitz

_gradient_x = (
    spectral_norm**2 * key_radius**2 * (value_radius**2 + THIRD * value_radius * residual_norm)
)
_gradient_xy = (
    spectral_norm * key_radius * (value_radius * mean_norm + feature_radius * residual_total)
)
_hessian_x = (
    spectral_norm**2
    * query_norm
    * key_radius**3
    * (3 * THIRD * value_radius**2 + 2 * value_radius * residual_norm)
)
_hessian_xxy = (
    3
    * spectral_norm
    * key_radius**2
    * (
        2 * spectral_norm * value_radius * feature_radius
        + THIRD * mean_norm * query_norm * value_radius
        + THIRD * spectral_norm * residual_norm * feature_radius
    )
)
_hessian_xyy = 6 * spectral_norm * key_radius * feature_radius * mean_norm

_POINT = {
    spectral_norm: 3,
    query_norm: 2,
    key_radius: sympy.Rational(3, 2),
    value_radius: sympy.Rational(5, 4),
    feature_radius: sympy.Rational(2, 3),
    mean_norm: 5,
    residual_norm: sympy.Rational(1, 4),
    residual_total: 1,
    key_deviation: sympy.Rational(1, 2),
    value_deviation: sympy.Rational(1, 3),
    feature_deviation: sympy.Rational(1, 7),
}


def _derivative_bound(
    name: str,
    meaning: str,
    arguments: tuple[sympy.Symbol, ...],
    expression: sympy.Expr,
    quantity: Callable[[Bounded, int], Enclosure],
    extremal: Callable[[], Bounded],
    attained: str = "",
) -> Bound[Bounded]:
    return Bound(
        name=name,
        meaning=meaning,
        arguments=arguments,
        expression=expression,
        points=(tuple(_POINT[a] for a in arguments),),
        quantity=quantity,
        parameters=parameters_of,
        trivial=lambda i, bits: quantity(_longer_queries(i), bits),
        extremal=extremal,
        theorem=f"p4_{name}",
        relation=Relation.RELATIVE,
        attained=attained,
    )


GRADIENT_X = _derivative_bound(
    "gradient_lipschitz_x",
    "the norm of H_XX",
    (spectral_norm, key_radius, value_radius, residual_norm),
    _gradient_x,
    lambda i, bits: abs(_derivative(_in_x(i), bits, 2)),
    lambda: _two_keys(1, 0, 1, 0, 1, 0),
    attained="p4_gradient_lipschitz_x_attained",
)
GRADIENT = _derivative_bound(
    "gradient_lipschitz",
    "the norm of the Hessian",
    (
        spectral_norm,
        key_radius,
        value_radius,
        feature_radius,
        mean_norm,
        residual_norm,
        residual_total,
    ),
    sympy.sqrt(_gradient_x**2 + 2 * _gradient_xy**2 + mean_norm**4),
    lambda i, bits: abs(_derivative(i, bits, 2)),
    lambda: _two_keys(1, 2, 1, 2, 1, 2),
    attained="p4_gradient_lipschitz_attained",
)

P4_LIPSCHITZ = Claim[Bounded](
    id="P4.lipschitz",
    where="ours",
    statement=(
        "The second and third derivative of f along every line, in X alone and in (X, Y), are at most "
        "these polynomials in the data: no exponential of a norm.  By Banach's theorem on symmetric forms "
        "so are the Hessian's norm and, on a ball, its Lipschitz constant.  They hold at every point with "
        "this Y, this ||F|| and this residual; P4.nearby extends them to a ball."
    ),
    not_stated="",
    assumes=(_SPECTRAL, _MOVES),
    bounds=(
        GRADIENT_X,
        GRADIENT,
        _derivative_bound(
            "hessian_lipschitz_x",
            "the Lipschitz constant of H_XX",
            (spectral_norm, query_norm, key_radius, value_radius, residual_norm),
            _hessian_x,
            lambda i, bits: abs(_derivative(_in_x(i), bits, 3)),
            lambda: _two_keys(1, 0, 1, -(2**14), 1, 0),
        ),
        _derivative_bound(
            "hessian_lipschitz",
            "the Lipschitz constant of the Hessian",
            (
                spectral_norm,
                query_norm,
                key_radius,
                value_radius,
                feature_radius,
                mean_norm,
                residual_norm,
            ),
            sympy.sqrt(_hessian_x**2 + _hessian_xxy**2 / 3 + _hessian_xyy**2 / 3),
            lambda i, bits: abs(_derivative(i, bits, 3)),
            lambda: _two_keys(2.0**-10, 0, 2.0**10, -(2**14), 1, 0),
        ),
    ),
    witness=_witness,
    sample=_sample,
)

# ---------------------------------------------------------------------------------------- P4.psd

_damping_x = spectral_norm**2 * key_radius**2 * shortfall
_across = spectral_norm * key_radius * feature_radius * residual_total


def _negative_curvature(i: Bounded, bits: int) -> Enclosure:
    return -_derivative(i, bits, 2)


def _negative_weight(i: Bounded, bits: int) -> Enclosure:
    """Enclose what ½ ‖w (A₁ ⊗ A₂) x‖² must add to the residual's part of H_XX, per w² |δ|²."""
    P, C = _slopes(i, bits)
    A1, U, A2 = (lift(A, bits) for A in (i.line.A1, i.line.U, i.line.A2))
    delta = (A1 @ U) @ A2.T
    centred = delta - (P * delta).sum(axis=1)[:, None]
    return -(P * C * centred * centred).sum() / (delta * delta).sum()


def _heavy_pair(features: float, Y: float) -> Bounded:
    """Give two opposite keys with nearly all the weight, and a light one whose value is larger.

    The light key's logit is set by a second column, so small that it does not widen the ball.
    """
    tiny = 2.0**-10
    A2, A3 = [[1, 0], [-1, 0], [0, tiny]], [[0], [0], [features]]
    return _exactly(_line(1, A2, A3, -1, [[0, -6 / tiny]], Y, [[1, 0]], 0))


def _moved_logits(i: Bounded) -> bool:
    return bool((i.line.A1 @ i.line.U @ i.line.A2.T).any())


P4_PSD = Claim[Bounded](
    id="P4.psd",
    where="ours",
    statement=(
        "Only the residual makes the Hessian indefinite.  With e = max_ij (cbar_i - c_ij), c_ij = r_i.h_j, "
        "its part of H_XX is at least -e sum_i a_i a_i^T kron Cov_i(A2), so that a = ||A1||^2 rho^2 e damps "
        "H_XX enough; and the Hessian (a + sqrt(a^2 + 4 b^2))/2, with b = ||A1|| rho rho_3 ||R||.  Of the "
        "paper's regulariser 1/2 ||W (A1 kron A2) x||^2, w^2 >= e/2 is enough.  All vanish with the residual."
    ),
    not_stated="As part of the objective a regulariser moves its minimum; as damping it does not.",
    assumes=(
        _SPECTRAL,
        Hypothesis(
            "the direction changes a logit",
            _moved_logits,
            alone="the quantity is a quotient by the direction's length",
        ),
    ),
    bounds=(
        Bound(
            name="damping_x",
            meaning="minus the least eigenvalue of H_XX",
            arguments=(spectral_norm, key_radius, shortfall),
            expression=_damping_x,
            points=((3, 2, sympy.Rational(1, 3)),),
            quantity=lambda i, bits: _negative_curvature(_in_x(i), bits),
            parameters=parameters_of,
            # What needs no sign: the largest curvature.
            trivial=lambda i, bits: GRADIENT_X.value(i, bits),
            extremal=lambda: _heavy_pair(1.0, 1.0),
            theorem="p4_damping_x",
            relation=Relation.RELATIVE,
        ),
        Bound(
            name="damping",
            meaning="minus the least eigenvalue of the Hessian",
            arguments=(spectral_norm, key_radius, feature_radius, residual_total, shortfall),
            expression=(_damping_x + sympy.sqrt(_damping_x**2 + 4 * _across**2)) / 2,
            points=((3, 2, 1, 4, sympy.Rational(1, 3)),),
            quantity=_negative_curvature,
            parameters=parameters_of,
            trivial=lambda i, bits: GRADIENT.value(i, bits),
            extremal=lambda: _heavy_pair(2.0**-20, 2.0**20),
            theorem="p4_damping",
            relation=Relation.RELATIVE,
        ),
        Bound(
            name="regulariser_weight",
            meaning="the w^2 with which the regulariser outweighs the residual's part of H_XX",
            arguments=(shortfall,),
            expression=shortfall / 2,
            points=((sympy.Rational(1, 3),),),
            quantity=_negative_weight,
            parameters=parameters_of,
            # What needs no variance: the largest entry.
            trivial=_shortfall,
            extremal=lambda: _heavy_pair(1.0, 1.0),
            theorem="p4_regulariser_weight",
            relation=Relation.RELATIVE,
        ),
    ),
    witness=_witness,
    sample=_sample,
)

# ------------------------------------------------------------------------------------- P4.nearby


def _end(i: Bounded) -> Line:
    """Return the line's end, (X + U, Y + V)."""
    p, (U, V) = i.line.exact(), i.line.direction()
    return replace(i.line, X=p.X + U, Y=p.Y + V)


def _problem_at_end(i: Bounded, bits: int) -> Regression:
    """Return the problem at the line's end, as enclosures: sums of floats are binary fractions."""
    p = _end(i).problem()
    return Regression(*(lift(array, bits) for array in p))


def _half_diameter(i: Bounded, bits: int) -> Enclosure:
    """Enclose half the largest distance of two values: no ball that holds them is smaller."""
    H = _end(i).values()
    return _root(max(_largest_square(H - h) for h in H), bits) / 2


def _largest_value(i: Bounded, bits: int) -> Enclosure:
    return _root(_largest_square(_end(i).values()), bits)


def _weights_at_end(i: Bounded, bits: int, *, normalised: bool = True) -> Enclosure:
    p = _problem_at_end(i, bits)
    if normalised:
        return p.weights(bits)
    logits: Enclosure = (p.A1 @ p.X) @ p.A2.T
    return logits.exp()


def _mean_at_end(i: Bounded, bits: int, *, normalised: bool = True) -> Enclosure:
    F = _weights_at_end(i, bits, normalised=normalised) @ lift(i.line.A3, bits)
    return (F * F).sum().sqrt()


def _residual_at_end(i: Bounded, bits: int, *, normalised: bool = True) -> Enclosure:
    P = _weights_at_end(i, bits, normalised=normalised)
    R = residual(P, _problem_at_end(i, bits))
    return _row_lengths(R).max().sqrt()


def parameters_nearby(i: Bounded, bits: int) -> Mapping[str, Value]:
    """Return the parameters, with the radius of the values on the whole ball."""
    found = dict(parameters_of(i, bits))
    found["value_radius"] = found["value_radius"] + found["feature_radius"] * found["distance"]
    return found


P4_NEARBY = Claim[Bounded](
    id="P4.nearby",
    where="ours",
    statement=(
        "Within a distance t of (X, Y), a ball that holds the values grows by rho_3 t, ||F|| by ||A1|| rho "
        "rho_3 t, a row of the residual by t sqrt((max|a_i| rho rho_H)^2 + max|a3_j|^2), rho_H on the whole "
        "ball.  So constants of P4.lipschitz at a point become constants of a ball around it."
    ),
    not_stated="||F|| is the Frobenius norm on instances; the same holds of the spectral norm.",
    assumes=(_SPECTRAL, _MOVES),
    bounds=(
        Bound(
            name="value_radius_nearby",
            meaning="the radius of a ball that holds the rows of A3 Y, at a distance",
            arguments=(value_radius, feature_radius, distance),
            expression=value_radius + feature_radius * distance,
            points=((2, 3, sympy.Rational(1, 5)),),
            quantity=_half_diameter,
            parameters=parameters_of,
            trivial=_largest_value,
            extremal=lambda: _two_keys(1, 0, 1, 0, 0, 1),
            theorem="p4_value_radius_nearby",
        ),
        Bound(
            name="mean_nearby",
            meaning="the norm of P A3, at a distance",
            arguments=(mean_norm, spectral_norm, key_radius, feature_radius, distance),
            expression=mean_norm + spectral_norm * key_radius * feature_radius * distance,
            points=((2, 3, 5, 7, sympy.Rational(1, 5)),),
            quantity=_mean_at_end,
            parameters=parameters_of,
            trivial=lambda i, bits: _mean_at_end(i, bits, normalised=False),
            extremal=lambda: _two_keys(1, 0, 1, 0, 2.0**-5, 0),
            theorem="p4_mean_nearby",
        ),
        Bound(
            name="residual_nearby",
            meaning="the length of a row of the residual, at a distance",
            arguments=(
                residual_norm,
                query_norm,
                key_radius,
                value_radius,
                feature_norm,
                distance,
            ),
            expression=residual_norm
            + distance
            * sympy.sqrt((query_norm * key_radius * value_radius) ** 2 + feature_norm**2),
            points=((2, 3, 5, 7, 11, sympy.Rational(1, 5)),),
            quantity=_residual_at_end,
            parameters=parameters_nearby,
            trivial=lambda i, bits: _residual_at_end(i, bits, normalised=False),
            extremal=lambda: _two_keys(1, 1024, 1, 1024, 2.0**-10, 1),
            theorem="p4_residual_nearby",
        ),
    ),
    witness=_witness,
    sample=_sample,
)

# -------------------------------------------------------------------------------------- P4.local

_local_x = (
    spectral_norm**2
    * query_norm
    * key_deviation**2
    * (
        6 * key_deviation * value_deviation * value_radius
        + residual_norm * (4 * key_radius * value_radius + 3 * key_deviation * value_deviation)
    )
)
_local_xxy = (
    6
    * spectral_norm
    * key_deviation**2
    * (
        spectral_norm * value_deviation * feature_deviation
        + query_norm * value_radius * mean_norm
        + spectral_norm * residual_norm * feature_radius
    )
)
_local_xyy = 6 * spectral_norm * key_deviation * feature_deviation * mean_norm


_LOCAL_ARGUMENTS = (
    spectral_norm,
    query_norm,
    key_radius,
    value_radius,
    feature_radius,
    mean_norm,
    residual_norm,
    key_deviation,
    value_deviation,
    feature_deviation,
)


def largest_deviation(P: Enclosure, rows: Enclosure) -> Enclosure:
    """Enclose the largest root of a trace of Cov_p: at least its largest standard deviation."""
    mean = P @ rows
    variance = P @ (rows * rows).sum(axis=1) - (mean * mean).sum(axis=1)
    return variance.max().sqrt()


def _local_parameters(i: Bounded, bits: int) -> Mapping[str, Value]:
    # Variances are differences, of which the light key leaves little.
    p = i.line.problem()
    P, lifted = p.weights(2 * bits), p.lifted(2 * bits)
    return {
        **parameters_of(i, bits),
        "key_deviation": largest_deviation(P, lifted.A2),
        "value_deviation": largest_deviation(P, lifted.A3 @ lifted.Y),
        "feature_deviation": largest_deviation(P, lifted.A3),
    }


def _light_key(features: float, B: float, U: float) -> Bounded:
    """Give a key of weight e^-12 opposite to one with all the rest."""
    i = _two_keys(features, 0, 1 / features, B, U, 0)
    return replace(i, line=replace(i.line, X=np.array([[-6.0]])))


P4_LOCAL = Claim[Bounded](
    id="P4.local",
    where="ours",
    statement=(
        "Where weights are concentrated, standard deviations under them are far below radii, and so are "
        "the cumulants: |Cov(s, h)| <= sd(s) sd(h), |E[(s-Es)^2 (h-Eh)]| <= Var(s) 2r, |E[(s-Es)^3 (h-Eh)] "
        "- 3 Var(s) Cov(s, h)| <= Var(s) (4 rho r + 3 sd(s) sd(h)).  Within a distance t a standard "
        "deviation grows by a factor e^{max|a_i| rho t} at most."
    ),
    not_stated="",
    assumes=(_SPECTRAL, _MOVES),
    bounds=(
        Bound(
            name="deviation_nearby",
            meaning="a standard deviation under a row's weights, at a distance",
            arguments=(deviation, query_norm, key_radius, distance),
            expression=deviation * sympy.exp(query_norm * key_radius * distance),
            points=((2, 3, 5, sympy.Rational(1, 5)),),
            quantity=lambda i, bits: largest_deviation(
                _weights_at_end(i, 2 * bits), lift(i.line.A2, 2 * bits)
            ),
            parameters=lambda i, bits: {
                **_local_parameters(i, bits),
                "deviation": _local_parameters(i, bits)["key_deviation"],
            },
            # The length of the longest key, in place of its distance from the mean.
            trivial=lambda i, bits: _root(_largest_square(i.line.exact().A2), bits),
            extremal=lambda: _light_key(1.0, 0.0, 1.0),
            theorem="p4_deviation_nearby",
        ),
        Bound(
            name="local_lipschitz",
            meaning="the Lipschitz constant of the Hessian, from standard deviations",
            arguments=_LOCAL_ARGUMENTS,
            expression=sympy.sqrt(_local_x**2 + _local_xxy**2 / 3 + _local_xyy**2 / 3),
            points=(tuple(_POINT[a] for a in _LOCAL_ARGUMENTS),),
            quantity=lambda i, bits: abs(_derivative(i, bits, 3)),
            parameters=_local_parameters,
            trivial=lambda i, bits: abs(_derivative(_longer_queries(i), bits, 3)),
            extremal=lambda: _light_key(2.0**-12, -(2.0**14), 1.0),
            theorem="p4_local_lipschitz",
            relation=Relation.RELATIVE,
        ),
    ),
    witness=_witness,
    sample=_sample,
)

CLAIMS = (P4_CUMULANT, P4_PSD, P4_LIPSCHITZ, P4_NEARBY, P4_LOCAL)
