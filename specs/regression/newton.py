r"""P4: Newton's method near a critical point, what proves that there is one, and what a step takes.

With g the gradient and H the Hessian of a function, H Lipschitz with constant M, and μ a lower bound of H's
least eigenvalue at one point, nothing else is used of the function: for attention regression M is
``hessian_lipschitz`` on a ball (P4.lipschitz, P4.nearby), and μ is a computed eigenvalue less its error.

Instances are functions of which everything is known exactly: g(z) = H z + ½ c (w·z)² w, with the critical
point 0 and M = |c| |w|³.  In one dimension they attain all four bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import sympy

from reference import Enclosure
from reference.arithmetic.gram import semidefinite
from reference.models.counted_products import Tally
from reference.regression import Regression, gradient, hessian, hessian_product
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.regression.derivatives import Line, Matrix, fractions, sampled_sizes
from specs.symbols import (
    POSITIVE,
    distance,
    feature_dimension,
    gradient_norm,
    key_dimension,
    keys,
    least_eigenvalue,
    lipschitz,
    outputs,
    queries,
    query_dimension,
)


@dataclass(frozen=True)
class Cubic:
    """½ zᵀ H z + c (w·z)³ / 6, a start, and what is known of its Hessian, in Fractions.

    Attributes
    ----------
    quadratic, coefficient, direction : H, c and w
    start : z
    least_eigenvalue : a lower bound of the least eigenvalue, of H or of the Hessian at the start
    lipschitz : at least |c| |w|³
    """

    quadratic: Matrix
    coefficient: Fraction
    direction: Matrix
    start: Matrix
    least_eigenvalue: Fraction
    lipschitz: Fraction

    def gradient(self) -> Matrix:
        """Return g(z)."""
        along = self.direction.dot(self.start)
        g: Matrix = (
            self.quadratic.dot(self.start) + self.coefficient * along**2 / 2 * self.direction
        )
        return g

    def hessian(self) -> Matrix:
        """Return the Hessian at the start."""
        along = self.direction.dot(self.start)
        outer = np.multiply.outer(self.direction, self.direction)
        H: Matrix = self.quadratic + self.coefficient * along * outer
        return H

    def solved(self, b: Matrix) -> Matrix:
        """Return the inverse of the Hessian at the start, times b."""
        x = sympy.Matrix(self.hessian()).LUsolve(sympy.Matrix(b))
        return np.array([Fraction(int(e.p), int(e.q)) for e in x], object)

    def after_a_step(self) -> Matrix:
        """Return where Newton's step from the start leads."""
        return self.start - self.solved(self.gradient())


def _square(v: Matrix) -> Fraction:
    return Fraction(v.dot(v))


def _length(v: Matrix, bits: int) -> Enclosure:
    return lift(_square(v), 2 * bits).sqrt()


def _line_cubic(quadratic: int, coefficient: int, start: Fraction) -> Cubic:
    """Give a cubic of one variable, with what is known at 0."""
    H = Fraction(quadratic)
    one = np.array([Fraction(1)], object)
    return Cubic(H * one[None], Fraction(coefficient), one, start * one, H, Fraction(1))


def _at_start(i: Cubic) -> Cubic:
    """Return a cubic of one variable with what is known at its start."""
    return replace(i, least_eigenvalue=Fraction(i.hessian().item()))


def _witness() -> Cubic:
    H = fractions(np.array([[5, 1], [1, 6]]))
    w = fractions(np.array([1, -2]))
    start = np.array([Fraction(1, 16), Fraction(-1, 16)], object)
    # |w|^3 = 11.18...
    return Cubic(H, Fraction(1), w, start, Fraction(4), Fraction(12))


def _sample(rng: np.random.Generator) -> Cubic:
    """Draw a cubic of two or three variables, and a start not far from 0."""
    k = int(rng.integers(2, 4))
    root = fractions(rng.integers(-3, 4, (k, k)))
    w = fractions(rng.integers(1, 3, k))
    start = fractions(rng.integers(-8, 9, k) + 0.5) / (1 << 20)
    # The sum of w's positive entries is at least |w|.
    lipschitz_constant = sum(w.tolist()) ** 3
    H = root.dot(root.T) + 2 * np.eye(k, dtype=int)
    least = Fraction(int(rng.integers(16, 32)), 16)  # H has 2, and the start is not at 0
    return Cubic(H, Fraction(int(rng.choice([-1, 1]))), w, start, least, lipschitz_constant)


_LIPSCHITZ = Hypothesis[Cubic](
    "the Hessian is Lipschitz with this constant",
    lambda i: i.lipschitz >= 0 and i.coefficient**2 * _square(i.direction) ** 3 <= i.lipschitz**2,
    mirrors=("smooth", "0 <= M"),
)
_CONVEX = Hypothesis[Cubic](
    "the least eigenvalue at the critical point is at least that of the claim, and that > 0",
    lambda i: (
        i.least_eigenvalue > 0
        and semidefinite(i.quadratic - i.least_eigenvalue * np.eye(len(i.start), dtype=int))
    ),
    mirrors=("eigenvalues_from", "0 < mu"),
)
_CONVEX_AT_START = Hypothesis[Cubic](
    "the least eigenvalue at the start is at least that of the claim, and that > 0",
    lambda i: (
        i.least_eigenvalue > 0
        and semidefinite(i.hessian() - i.least_eigenvalue * np.eye(len(i.start), dtype=int))
    ),
    mirrors=("eigenvalues_from", "0 < mu"),
)
_NEAR = Hypothesis[Cubic](
    "the start is nearer than least_eigenvalue/lipschitz to the critical point, and not the point itself",
    lambda i: 0 < i.lipschitz**2 * _square(i.start) < i.least_eigenvalue**2,
    mirrors=("M * distance n x z < mu",),
)
_APART = Hypothesis[Cubic](
    "the start is not the critical point",
    lambda i: _square(i.start) > 0,
    mirrors=("0 < distance n x z <= distance n y z",),
)
#: Which critical point an instance's is: p4_kantorovich_unique.
_THE_ONE = replace(
    _NEAR, mirrors=(), alone="the instance's critical point is the one that the theorem finds"
)


def _parameters(i: Cubic, bits: int) -> Mapping[str, Value]:
    return {
        "distance": _length(i.start, bits),
        "gradient_norm": _length(i.gradient(), bits),
        "least_eigenvalue": i.least_eigenvalue,
        "lipschitz": i.lipschitz,
    }


# ------------------------------------------------------------------------- P4.newton, P4.basin

P4_NEWTON = Claim[Cubic](
    id="P4.newton",
    where="ours",
    statement=(
        "A Newton step from a distance e of a critical point, where the least eigenvalue is mu, ends at a "
        "distance of at most M e^2 / (2 (mu - M e)): from e <= mu/(3M) it quarters the distance, and theta "
        "= 3 M e/(4 mu) is squared, so that the number of steps to eps grows like log log(1/eps)."
    ),
    not_stated="That a critical point is there: P4.kantorovich.",
    assumes=(_LIPSCHITZ, _CONVEX, _NEAR),
    bounds=(
        Bound(
            name="newton_error",
            meaning="the distance of a critical point after a Newton step",
            arguments=(distance, least_eigenvalue, lipschitz),
            expression=lipschitz * distance**2 / (2 * (least_eigenvalue - lipschitz * distance)),
            domain={least_eigenvalue: POSITIVE},
            provided=distance * lipschitz < least_eigenvalue,
            points=((sympy.Rational(1, 10), 4, 3),),
            quantity=lambda i, bits: _length(i.after_a_step(), bits),
            parameters=_parameters,
            trivial=lambda i, bits: _length(i.start, bits),
            extremal=lambda: _line_cubic(1, -1, Fraction(1, 4)),
            theorem="p4_newton_error",
            attained="p4_newton_attained",
        ),
    ),
    witness=_witness,
    sample=_sample,
)


def _no_nearer(i: Cubic, bits: int) -> Enclosure:
    """Enclose the reciprocal distance of a start from which a step comes no nearer, else 0."""
    if _square(i.after_a_step()) < _square(i.start):
        return lift(0, bits)
    return 1 / _length(i.start, bits)


P4_BASIN = Claim[Cubic](
    id="P4.basin",
    where="ours",
    statement=(
        "From every distance below 2 mu/(3 M) of a critical point Newton's steps come nearer and converge "
        "to it; at 2 mu/(3 M) there is a function for which they do not.  From anywhere, damping that "
        "makes the loss fall keeps it falling, to some critical point: which, and whether its loss is "
        "small, we cannot say."
    ),
    not_stated="The abstract names no condition on the start. That every start does has no proof here.",
    assumes=(_LIPSCHITZ, _CONVEX, _APART),
    bounds=(
        Bound(
            name="basin_reciprocal",
            meaning="one over the distance of a start from which a Newton step comes no nearer",
            arguments=(least_eigenvalue, lipschitz),
            expression=3 * lipschitz / (2 * least_eigenvalue),
            domain={least_eigenvalue: POSITIVE},
            points=((4, 3),),
            quantity=_no_nearer,
            parameters=_parameters,
            # To expect it of every start.
            trivial=lambda i, bits: 1 / _length(i.start, bits),
            extremal=lambda: _line_cubic(1, -1, Fraction(2, 3)),
            theorem="p4_basin",
            attained="p4_basin_attained",
        ),
    ),
    witness=_witness,
    sample=_sample,
)

# --------------------------------------------------------------------------------- P4.kantorovich


def _hessian_change(i: Cubic, bits: int) -> Enclosure:
    """Enclose the norm of H(z)⁻¹ (H(z + s) − H(z)), s the Newton step: a matrix of rank one."""
    along = i.coefficient * i.direction.dot(i.solved(i.gradient()))
    return _length(along * i.solved(i.direction), bits) * _length(i.direction, bits)


P4_KANTOROVICH = Claim[Cubic](
    id="P4.kantorovich",
    where="ours",
    statement=(
        "Newton-Kantorovich with a least eigenvalue mu at the start: if h = M |g|/mu^2 <= 1/2, there is a "
        "critical point within 2 (|g|/mu)/(1 + sqrt(1 - 2h)), and it is the only one within mu/M.  h "
        "bounds the change of the Hessian over Newton's step, relative to it."
    ),
    not_stated=(
        "Existence cannot be seen on an instance: there the critical point is known, and the bound is on its "
        "distance. M must hold on the ball of that radius."
    ),
    assumes=(
        _LIPSCHITZ,
        _CONVEX_AT_START,
        _THE_ONE,
        Hypothesis(
            "h <= 1/2",
            lambda i: 4 * i.lipschitz**2 * _square(i.gradient()) <= i.least_eigenvalue**4,
            mirrors=("b_kantorovich_number G mu M <= 1 / 2",),
        ),
    ),
    bounds=(
        Bound(
            name="kantorovich_number",
            meaning="the relative change of the Hessian over a Newton step",
            arguments=(gradient_norm, least_eigenvalue, lipschitz),
            expression=lipschitz * gradient_norm / least_eigenvalue**2,
            domain={least_eigenvalue: POSITIVE},
            points=((sympy.Rational(1, 10), 4, 3),),
            quantity=_hessian_change,
            parameters=_parameters,
            # A Hessian that vanishes.
            trivial=lambda i, bits: lift(1, bits),
            extremal=lambda: _at_start(_line_cubic(1, 1, Fraction(1, 4))),
            theorem="p4_kantorovich_number",
            relation=Relation.RELATIVE,
            attained="p4_kantorovich_number_attained",
        ),
        Bound(
            name="critical_radius",
            meaning="the distance of a critical point from the start",
            arguments=(gradient_norm, least_eigenvalue, lipschitz),
            expression=2
            * gradient_norm
            / (
                least_eigenvalue
                * (1 + sympy.sqrt(1 - 2 * lipschitz * gradient_norm / least_eigenvalue**2))
            ),
            domain={least_eigenvalue: POSITIVE},
            provided=2 * gradient_norm * lipschitz <= least_eigenvalue**2,
            points=((sympy.Rational(1, 10), 4, 3),),
            quantity=lambda i, bits: _length(i.start, bits),
            parameters=_parameters,
            # A step as long as the gradient.
            trivial=lambda i, bits: _length(i.gradient(), bits),
            extremal=lambda: _at_start(_line_cubic(1, 1, Fraction(1, 4))),
            theorem="p4_critical_radius",
            attained="p4_critical_radius_attained",
        ),
    ),
    witness=lambda: replace(_witness(), least_eigenvalue=Fraction(7, 2)),
    sample=_sample,
)

# --------------------------------------------------------------------------------------- P4.cost


def _counted(
    i: Line, derivative: Callable[[Matrix, Regression, Tally], object], bits: int
) -> Enclosure:
    """Count the products and quotients of a derivative, from the logits on."""
    tally, p = Tally(), i.exact()
    logits = tally.product(tally.product(p.A1, p.X), p.A2.T)
    W = np.array([[Fraction(2) ** int(s) for s in row] for row in logits], object)
    tally.products += W.size
    derivative(W / W.sum(axis=1)[:, None], p, tally)
    return lift(tally.products, bits)


def _kronecker_products(i: Line, *, squared: bool) -> int:
    """Count A₁ ⊗ A₂ and its product with x; and, squared, each block's with its m × m weight."""
    rows, m, columns = len(i.A1), len(i.A2), int(i.X.size)
    return rows * m * columns * (m + columns if squared else 2)


def _shapes(i: Line, bits: int) -> Mapping[str, Value]:
    (n, d1), (m, d2), (d3, columns) = i.A1.shape, i.A2.shape, i.Y.shape
    return {
        "queries": n,
        "keys": m,
        "query_dimension": d1,
        "key_dimension": d2,
        "feature_dimension": d3,
        "outputs": columns,
    }


_entries = query_dimension * key_dimension  # of X
_SIZES = (queries, keys, query_dimension, key_dimension, feature_dimension, outputs)
_logits = queries * key_dimension * (query_dimension + keys) + queries * keys
_residual = (
    queries * keys * feature_dimension
    + queries * feature_dimension * outputs
    + keys * feature_dimension * outputs
)
_slopes = queries * (keys * outputs + outputs + keys)
_gradient_products = (
    _logits
    + _residual
    + _slopes
    + queries * key_dimension * (keys + query_dimension)
    + queries * feature_dimension * outputs
)
_hessian_product_products = (
    _logits
    + 2 * _residual
    + queries * feature_dimension * outputs
    + queries * keys * key_dimension
    + queries * key_dimension * (query_dimension + keys + 1)
    + 3 * queries * keys * (1 + outputs)
    + 3 * queries * outputs
    + queries * key_dimension * (keys + query_dimension)
    + 2 * queries * feature_dimension * outputs
)
_row = (
    2 * keys * key_dimension
    + keys * key_dimension * (feature_dimension + key_dimension)
    + key_dimension**2 * outputs
    + 3 * key_dimension * feature_dimension * outputs
    + query_dimension**2
    + query_dimension**2 * key_dimension**2
    + query_dimension * key_dimension * feature_dimension * outputs
)
_hessian_products = (
    _logits
    + _residual
    + _slopes
    + queries * keys * key_dimension
    + queries * _row
    + queries * feature_dimension**2
)


def _line_of(n: int, m: int, d: int) -> Line:
    rng = np.random.default_rng(n + m)
    shapes = {
        "A1": (n, d),
        "A2": (m, d),
        "A3": (m, d),
        "B": (n, d),
        "X": (d, d),
        "Y": (d, d),
        "U": (d, d),
        "V": (d, d),
    }
    return Line(**{k: rng.integers(-1, 2, shape) for k, shape in shapes.items()})


P4_COST = Claim[Line](
    id="P4.cost",
    where="ours, beside P4, sentence 10",
    statement=(
        "Scalar products and quotients, by classical multiplication, of the gradient and the Hessian.  "
        "With n = m and all dimensions d the gradient takes 4 n^2 d + 2 n^2 + 5 n d^2 + n d: the "
        "abstract's T_mat(n,n,d) + T_mat(n,d,d).  The exact Hessian takes 2 n^2 d^2 and 2 n d^4 to leading "
        "order, products of n x n by n x d^2 and of d^2 x n by n x d^2: a factor d and a factor d^2 above "
        "those terms.  Its product with a direction takes 9 n^2 d + 4 n^2 + 10 n d^2 + 4 n d: the abstract's "
        "time again.  To solve with it takes the abstract's d^(2 omega).  What is missing for its time is "
        "a Hessian, or a sketch that a step can do with, in time n^2 d: we know of none."
    ),
    not_stated=(
        "Exponentials, one a logit. The abstract's sketch, unread by us: an approximation of the Hessian's "
        "X block from a sketch of A1 kron A2 alone must know the middle weight, which has n blocks of n x "
        "n."
    ),
    assumes=(
        Hypothesis(
            "A1 X A2^T is small integers, so that weights are rational",
            lambda i: all(np.asarray(a).dtype.kind == "i" for a in (i.A1, i.X, i.A2)),
            alone="so that the quantity is found exactly; the theorem is of any reals",
        ),
    ),
    bounds=(
        Bound(
            name="gradient_products",
            meaning="the products and quotients of the gradient",
            arguments=_SIZES,
            expression=sympy.expand(_gradient_products),
            points=((5, 7, 2, 3, 4, 6),),
            quantity=lambda i, bits: _counted(i, gradient, bits),
            parameters=_shapes,
            trivial=lambda i, bits: lift(_kronecker_products(i, squared=False), bits),
            vacuous_where=2 * queries * keys * _entries <= sympy.expand(_gradient_products),
            edges=lambda: (_line_of(4, 22, 3), _line_of(4, 23, 3)),
            extremal=lambda: _line_of(3, 4, 2),
            theorem="p4_gradient_products",
            relation=Relation.EQUALS,
        ),
        Bound(
            name="hessian_products",
            meaning="the products and quotients of the Hessian",
            arguments=_SIZES,
            expression=sympy.expand(_hessian_products),
            points=((5, 7, 2, 3, 4, 6),),
            quantity=lambda i, bits: _counted(i, hessian, bits),
            parameters=_shapes,
            trivial=lambda i, bits: lift(_kronecker_products(i, squared=True), bits),
            vacuous_where=queries * keys * _entries * (keys + _entries)
            <= sympy.expand(_hessian_products),
            edges=lambda: (_line_of(4, 5, 2), _line_of(4, 6, 2)),
            extremal=lambda: _line_of(3, 4, 2),
            theorem="p4_hessian_products",
            relation=Relation.EQUALS,
        ),
        Bound(
            name="hessian_product_products",
            meaning="the products and quotients of the Hessian's product with a direction",
            arguments=_SIZES,
            expression=sympy.expand(_hessian_product_products),
            points=((5, 7, 2, 3, 4, 6),),
            quantity=lambda i, bits: _counted(
                i, lambda P, p, tally: hessian_product(P, p, *i.direction(), tally), bits
            ),
            parameters=_shapes,
            # The Hessian itself.
            trivial=lambda i, bits: _counted(i, hessian, bits),
            extremal=lambda: _line_of(3, 4, 2),
            theorem="p4_hessian_product_products",
            relation=Relation.EQUALS,
        ),
    ),
    witness=lambda: _line_of(4, 32, 4),
    sample=lambda rng: Line(
        **{k: rng.integers(-1, 2, shape) for k, shape in sampled_sizes(rng, largest=7).items()}
    ),
)

CLAIMS = (P4_NEWTON, P4_BASIN, P4_KANTOROVICH, P4_COST)
