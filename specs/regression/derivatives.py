r"""P4: the loss of attention regression, and that the formulas of its derivatives are its derivatives.

    f(X, Y) = ½ ‖P A₃ Y − B‖²,  P = D⁻¹ exp(A₁ X A₂ᵀ);  the paper's L is 2f.

How large the derivatives get is in ``p4_curvature``, what they take and what Newton's method makes of
them in ``p4_newton``.

NOTE Derivatives are compared exactly, on rational numbers: instances have weights 2^s in place of e^s,
which is A₂ times ln 2 in place of A₂ and U over ln 2 in place of U.  Neither the definition, expanded
in power series, nor the formulas know of which base their weights are powers.

NOTE The abstract has e^(𝖠x) in rows of A₁ and columns of A₂ with 𝖠 = A₁ ⊗ A₂.  That needs x = X read row
by row; where vectors are read off column by column, (A₁ ⊗ A₂) vec(X) is vec(A₂ X A₁ᵀ).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure
from reference.arithmetic.gram import gram_rank
from reference.regression import Regression, along_line, gradient, hessian, residual
from specs.claim import Bound, Claim, Hypothesis, Relation, Value
from specs.lifting import lift
from specs.symbols import head_dimension, value_distance

Matrix = NDArray[Any]


def fractions(A: Matrix) -> Matrix:
    """Return the entries exactly."""
    exact = np.array([Fraction(a) for a in np.asarray(A).ravel().tolist()], object)
    return exact.reshape(np.shape(A))


@dataclass(frozen=True)
class Line:
    """A problem, a point (X, Y), and a direction (U, V) in which to leave it."""

    A1: Matrix
    A2: Matrix
    A3: Matrix
    B: Matrix
    X: Matrix
    Y: Matrix
    U: Matrix
    V: Matrix

    def problem(self) -> Regression:
        """Return the problem and the point, as they are."""
        return Regression(self.A1, self.A2, self.A3, self.B, self.X, self.Y)

    def exact(self) -> Regression:
        """Return the problem and the point in Fractions."""
        return Regression(*map(fractions, self.problem()))

    def values(self) -> Matrix:
        """Return H = A₃ Y in Fractions."""
        p = self.exact()
        product: Matrix = p.A3.dot(p.Y)
        return product

    def direction(self) -> tuple[Matrix, Matrix]:
        """Return U and V in Fractions."""
        return fractions(self.U), fractions(self.V)


def sampled_sizes(rng: np.random.Generator, largest: int = 4) -> dict[str, tuple[int, int]]:
    """Draw the shapes of a line's arrays, small ones, one as likely to be 1 as another."""
    n, m, d1, d2, d3, outputs = (int(x) for x in rng.integers(1, largest + 1, 6))
    return {
        "A1": (n, d1),
        "A2": (m, d2),
        "A3": (m, d3),
        "B": (n, outputs),
        "X": (d1, d2),
        "Y": (d3, outputs),
        "U": (d1, d2),
        "V": (d3, outputs),
    }


def _integers(rng: np.random.Generator) -> Line:
    return Line(**{k: rng.integers(-2, 3, shape) for k, shape in sampled_sizes(rng).items()})


def small_line() -> Line:
    """Give three queries and four keys of two entries each."""
    return Line(
        A1=np.array([[1, 0], [1, 1], [-1, 2]]),
        A2=np.array([[0, 1], [1, 0], [2, -1], [1, 1]]),
        A3=np.array([[1, 0], [0, 1], [1, 1], [-1, 2]]),
        B=np.array([[1], [0], [2]]),
        X=np.array([[1, 0], [0, 1]]),
        Y=np.array([[1], [2]]),
        U=np.array([[1, -1], [0, 2]]),
        V=np.array([[1], [-1]]),
    )


def _powers_of_two(i: Line) -> Matrix:
    """Return 2^(A₁ X A₂ᵀ), exactly."""
    exponents = i.A1 @ i.X @ i.A2.T
    return np.array([[Fraction(2) ** int(s) for s in row] for row in exponents], object)


def _normalised(W: Matrix) -> Matrix:
    quotient: Matrix = W / W.sum(axis=1)[:, None]
    return quotient


_ENTRIES_ARE_INTEGERS = Hypothesis[Line](
    "every entry is an integer",
    lambda i: all(np.asarray(a).dtype.kind == "i" for a in (*i.problem(), i.U, i.V)),
    alone="so that the quantity is found exactly; the theorem is of any reals",
)


def _difference(a: Any, b: Any, bits: int) -> Enclosure:
    """Enclose the largest |a − b|."""
    return lift(abs(a - b).max() if np.ndim(a) else abs(a - b), bits)


# -------------------------------------------------------------------------------------- P4.tensor


def _tensor_difference(i: Line, bits: int, x: Matrix) -> Enclosure:
    return _difference(np.kron(i.A1, i.A2) @ x, (i.A1 @ i.X @ i.A2.T).ravel(), bits)


P4_TENSOR = Claim[Line](
    id="P4.tensor",
    where="P4, sentence 4 with 7",
    statement=(
        "The tensor trick: (A1 kron A2) x = vec(A1 X A2^T), with x = vec(X) and vec reading row by row, so "
        "that entry (i, j) is a1_i^T X a2_j and nothing of size n^2 d^2 is needed."
    ),
    not_stated="",
    assumes=(_ENTRIES_ARE_INTEGERS,),
    bounds=(
        Bound(
            name="tensor_difference",
            meaning="an entry of (A1 kron A2) vec(X) - vec(A1 X A2^T)",
            expression=sympy.Integer(0),
            quantity=lambda i, bits: _tensor_difference(i, bits, i.X.ravel()),
            # X read column by column.
            trivial=lambda i, bits: _tensor_difference(i, bits, i.X.T.ravel()),
            extremal=lambda: _integers(np.random.default_rng(1)),
            theorem="p4_tensor",
            relation=Relation.EQUALS,
        ),
    ),
    witness=lambda: replace(small_line(), X=np.array([[1, 2], [0, 1]])),
    sample=_integers,
)

# --------------------------------------------------------------------------------------- P4.model


@dataclass(frozen=True)
class Head:
    """The input of a layer, and its projections to queries and keys of ``head_dimension`` columns."""

    tokens: Matrix
    query_projection: Matrix
    key_projection: Matrix

    @property
    def X(self) -> Matrix:  # noqa: N802 - the field's name
        """The product of the projections, which regression learns."""
        product: Matrix = self.query_projection @ self.key_projection.T
        return product


def _head_sample(rng: np.random.Generator) -> Head:
    n, d, inner = (int(rng.integers(1, most)) for most in (6, 6, 4))
    shapes = ((n, d), (d, inner), (d, inner))
    return Head(*(rng.integers(-2, 3, shape) for shape in shapes))


def _model_difference(i: Head, bits: int, X: Matrix) -> Enclosure:
    queries, keys = i.tokens @ i.query_projection, i.tokens @ i.key_projection
    return _difference(i.tokens @ X @ i.tokens.T, queries @ keys.T, bits)


def _wide_head() -> Head:
    rng = np.random.default_rng(2)
    return Head(*(rng.integers(-2, 3, shape) for shape in ((4, 5), (5, 3), (5, 3))))


P4_MODEL = Claim[Head](
    id="P4.model",
    where="P4, sentences 8 and 9",
    statement=(
        "With A1 = A2 = A3 the input of a layer and X = W_Q W_K^T, the logits A1 X A2^T are those of "
        "attention with Q = A1 W_Q and K = A2 W_K; Y is W_V.  NOTE The rank of such an X is at most the "
        "number of columns of Q, which is below d where there are several heads: regression over all X may "
        "learn a layer that no such head is."
    ),
    not_stated="The paper's QK^T and V stand for the projections W_Q W_K^T and W_V; so it is read here.",
    assumes=(
        Hypothesis(
            "the two projections have the same shape, and as many rows as tokens have entries",
            lambda i: (
                i.query_projection.shape == i.key_projection.shape
                and len(i.key_projection) == i.tokens.shape[1]
            ),
            alone="shapes are the theorem's types",
        ),
    ),
    bounds=(
        Bound(
            name="model_difference",
            meaning="an entry of A1 X A2^T - Q K^T",
            expression=sympy.Integer(0),
            quantity=lambda i, bits: _model_difference(i, bits, i.X),
            trivial=lambda i, bits: _model_difference(i, bits, i.X.T),
            extremal=_wide_head,
            theorem="p4_model",
            relation=Relation.EQUALS,
        ),
        Bound(
            name="model_rank",
            meaning="the rank of X = W_Q W_K^T",
            arguments=(head_dimension,),
            expression=head_dimension,
            points=((3,),),
            quantity=lambda i, bits: lift(gram_rank(i.X), bits),
            parameters=lambda i, bits: {"head_dimension": i.key_projection.shape[1]},
            # Any matrix, as in regression.
            trivial=lambda i, bits: lift(len(i.X), bits),
            extremal=_wide_head,
            theorem="p4_model_rank",
            attained="p4_model_rank_attained",
        ),
    ),
    witness=_wide_head,
    sample=_head_sample,
)

# ---------------------------------------------------------------------------------------- P4.loss


def _abstract_loss(i: Line) -> Any:
    """Compute L as the abstract writes it: block by block of A₁ ⊗ A₂, entry by entry of B."""
    p, total, m = i.exact(), Fraction(0), len(i.A2)
    kronecker, x = np.kron(i.A1, i.A2), i.X.ravel()
    for j0 in range(len(p.A1)):
        block = kronecker[j0 * m : (j0 + 1) * m]
        e = np.array([Fraction(2) ** int(s) for s in block @ x], object)
        for i0 in range(p.Y.shape[1]):
            total += ((e / e.sum()).dot(p.A3.dot(p.Y[:, i0])) - p.B[j0, i0]) ** 2
    return total


def _twice_the_loss(i: Line, weights: Matrix) -> Any:
    return (residual(weights, i.exact()) ** 2).sum()


def _largest_square(rows: Matrix) -> Any:
    return (rows * rows).sum(axis=1).max()


def _longest_row(R: Enclosure) -> Enclosure:
    return (R * R).sum(axis=1).max().sqrt()


def _largest_residual(i: Line, bits: int) -> Enclosure:
    p = i.problem()
    return _longest_row(residual(p.weights(bits), p.lifted(bits)))


def _largest_distance(i: Line, bits: int) -> Mapping[str, Value]:
    H, B = i.values(), fractions(i.B)
    squares = max(_largest_square(H - b) for b in B)
    return {"value_distance": lift(squares, bits).sqrt()}


def _unnormalised_residual(i: Line, bits: int) -> Enclosure:
    p = i.problem().lifted(bits)
    logits: Enclosure = (p.A1 @ p.X) @ p.A2.T
    return _longest_row(residual(logits.exp(), p))


def _unequal_values(rng: np.random.Generator) -> Line:
    """Draw a line with rows of A₃ Y that differ, of which no average is as long as the longest."""
    i = _integers(rng)
    return replace(
        i, A2=np.vstack([i.A2, i.A2 + 1]), A3=np.vstack([i.A3, i.A3 + 9]), Y=abs(i.Y) + 1
    )


P4_LOSS = Claim[Line](
    id="P4.loss",
    where="P4, sentences 3 and 7",
    statement=(
        "The abstract's L(X, Y), a sum of squares over the entries of B, each with its block of A1 kron "
        "A2, is ||D^-1 exp(A1 X A2^T) A3 Y - B||^2, twice our f.  A row of the residual is an average of "
        "the h_j - b_i, so no longer than the longest of them, whatever X is."
    ),
    not_stated="Instances of the equality have weights 2^s in place of e^s, so that they are rational.",
    assumes=(_ENTRIES_ARE_INTEGERS,),
    bounds=(
        Bound(
            name="loss_difference",
            meaning="the difference of the abstract's L from 2f",
            expression=sympy.Integer(0),
            quantity=lambda i, bits: _difference(
                _abstract_loss(i), _twice_the_loss(i, _normalised(_powers_of_two(i))), bits
            ),
            # Weights that are not normalised.
            trivial=lambda i, bits: _difference(
                _abstract_loss(i), _twice_the_loss(i, _powers_of_two(i)), bits
            ),
            extremal=small_line,
            theorem="p4_loss",
            relation=Relation.EQUALS,
        ),
        Bound(
            name="largest_residual",
            meaning="the length of a row of P A3 Y - B, for every X",
            arguments=(value_distance,),
            expression=value_distance,
            points=((sympy.Rational(7, 3),),),
            quantity=_largest_residual,
            parameters=_largest_distance,
            trivial=_unnormalised_residual,
            # One key.
            extremal=lambda: Line(*(np.array([[k]]) for k in (1, 1, 3, 1, 1, 1, 1, 1))),
            theorem="p4_largest_residual",
            attained="p4_largest_residual_attained",
        ),
    ),
    witness=small_line,
    sample=_unequal_values,
)

# ----------------------------------------------------------------------- P4.gradient, P4.hessian

_RATIONAL = (
    "Instances have weights 2^s in place of e^s, so that they are rational. The proof is of e^s; SymPy "
    "derives the same for symbols and small shapes (proofs/symbolic)."
)


def _derivative(i: Line, order: int) -> Any:
    """Return a derivative along the line, by the definition."""
    return along_line(_powers_of_two(i), i.exact(), *i.direction(), order)[order]


def _slope(i: Line, P: Matrix) -> Any:
    """Return ⟨∇f, (U, V)⟩ by the formula."""
    g, (U, V) = gradient(P, i.exact()), i.direction()
    return (g.X * U).sum() + (g.Y * V).sum()


def _curvature(i: Line, P: Matrix) -> Any:
    """Return the Hessian's form at (U, V) by the formula."""
    U, V = i.direction()
    product = hessian(P, i.exact()).times(U, V)
    return (product.X * U).sum() + (product.Y * V).sum()


def _uniform(i: Line) -> Matrix:
    """Return the weights that ignore the data."""
    return np.full((len(i.A1), len(i.A2)), Fraction(1, len(i.A2)))


P4_GRADIENT = Claim[Line](
    id="P4.gradient",
    where="ours",
    statement=(
        "With H = A3 Y, R = P H - B and g_ij = p_ij r_i.(h_j - (P H)_i): the gradient of f by X is A1^T g "
        "A2, by Y it is (P A3)^T R.  Its product with a direction is the first derivative along it."
    ),
    not_stated=_RATIONAL,
    assumes=(_ENTRIES_ARE_INTEGERS,),
    bounds=(
        Bound(
            name="gradient_difference",
            meaning="the difference of the gradient's product with a direction from the derivative along it",
            expression=sympy.Integer(0),
            quantity=lambda i, bits: _difference(
                _slope(i, _normalised(_powers_of_two(i))), _derivative(i, 1), bits
            ),
            trivial=lambda i, bits: _difference(_slope(i, _uniform(i)), _derivative(i, 1), bits),
            extremal=small_line,
            theorem="p4_gradient_difference",
            relation=Relation.EQUALS,
        ),
    ),
    witness=small_line,
    sample=_integers,
)

P4_HESSIAN = Claim[Line](
    id="P4.hessian",
    where="ours",
    statement=(
        "With mu_i the mean of A2's rows under p_i, f_i of A3's, K_i their covariance and Q_i = K_i Y: "
        "H_XX = sum_i a_i a_i^T kron (Q_i Q_i^T + sum_j g_ij (a2_j - mu_i)(a2_j - mu_i)^T), "
        "H_XY[(a,b),(c,k)] = sum_i a_ia (Q_i[b,k] f_ic + K_i[b,c] r_ik), H_YY = F^T F kron I.  Its form at "
        "a direction is the second derivative along it.  No n^2 x d^2 matrix is formed."
    ),
    not_stated=_RATIONAL,
    assumes=(_ENTRIES_ARE_INTEGERS,),
    bounds=(
        Bound(
            name="hessian_difference",
            meaning="the difference of the Hessian's form at a direction from the second derivative along it",
            expression=sympy.Integer(0),
            quantity=lambda i, bits: _difference(
                _curvature(i, _normalised(_powers_of_two(i))), _derivative(i, 2), bits
            ),
            trivial=lambda i, bits: _difference(
                _curvature(i, _uniform(i)), _derivative(i, 2), bits
            ),
            extremal=small_line,
            theorem="p4_hessian_difference",
            relation=Relation.EQUALS,
        ),
    ),
    witness=small_line,
    sample=_integers,
)

CLAIMS = (P4_LOSS, P4_TENSOR, P4_MODEL, P4_GRADIENT, P4_HESSIAN)
