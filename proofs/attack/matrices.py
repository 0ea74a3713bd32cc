"""Attacks on Gram matrices and what stands for them, on heavy keys, and on regression's enclosures."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from proofs.attack.exact import finite
from proofs.attack.instances import Array, Matrices, Problem, matrices, problems, seeded
from proofs.attack.search import Attack, BrokenError, Statement
from reference import Enclosure, Verdict, distance, loewner_epsilon, loewner_verdict
from reference.arithmetic.gram import leverage_scores
from reference.regression import Regression

#: How near an exact epsilon is enclosed, relative to the bound: rational arithmetic halves an interval.
_WIDTH = Fraction(1, 1 << 12)


def _exact_gram(X: Array) -> Enclosure:
    lifted = Enclosure.exact(X)
    return lifted.dot(lifted.T)


def _relative(matrix: Any, X: Array, bits: int) -> Enclosure:
    """Enclose |M - X Xᵀ|_ij / sqrt(G_ii G_jj), which must be 0 where that divides by 0."""
    G = _exact_gram(X)
    gap = abs((matrix if isinstance(matrix, Enclosure) else Enclosure.exact(matrix)) - G)
    diagonal = np.array([Fraction(G.mid[i, i]) for i in range(len(X))], dtype=object)
    zero = np.array([d == 0 for d in diagonal])
    nothing = zero[:, None] | zero[None, :]
    if any(m != 0 for m in gap.mid[nothing]):
        raise BrokenError("where a row is 0 something else stands.")
    # In units of the lengths of rows, which may be 2^±1000: scaled to the diagonal's own powers of two.
    powers = [0 if d == 0 else -(int(d).bit_length() // 2) for d in diagonal]
    unit = Fraction(1, 1 << G.bits) if G.bits >= 0 else Fraction(1 << -G.bits)
    scaled = np.empty(gap.shape, object)
    product = np.empty(gap.shape, object)
    for i in range(len(X)):
        for j in range(len(X)):
            factor = Fraction(2) ** (powers[i] + powers[j])
            scaled[i, j] = Fraction(gap.mid[i, j]) * Fraction(2) ** -gap.bits / unit * factor
            product[i, j] = (
                Fraction(1) if nothing[i, j] else diagonal[i] * diagonal[j] * factor * factor
            )
    deep = bits + 400
    return Enclosure.exact(scaled, deep) / Enclosure.exact(product, deep).sqrt()


def _gram(module: ModuleType, x: Matrices) -> Iterator[Statement]:
    found = module.gram(x.X, workers=1 + x.choice % 2)
    matrix = finite("a Gram matrix", found.matrix)
    if (matrix != matrix.T).any():
        raise BrokenError("a Gram matrix is not symmetric.")
    yield Statement(
        what="the error of an entry by the lengths of its rows",
        quantity=lambda bits: _relative(matrix, x.X, bits),
        bound=found.error,
    )


def _entrywise(module: ModuleType, x: Matrices) -> Iterator[Statement]:
    bound = module.entrywise_error(x.X, x.Y)
    if np.isinf(bound):
        return
    yield Statement(
        what="the difference of Gram matrices by the lengths of rows",
        quantity=lambda bits: _relative(_exact_gram(x.Y), x.X, bits),
        bound=bound,
    )


def _within(X: Array, Y: Array, epsilon: float, slack: float) -> Iterator[Statement]:
    """State that a pair is as close as was proved, in Loewner's order and entry by entry."""
    if not slack and np.isfinite(epsilon) and X.any():
        if loewner_verdict(X, Y, epsilon) is not Verdict.WITHIN:
            raise BrokenError(f"Y Y' is not within epsilon = {epsilon:.17g} of X X'.")
        width = max(_WIDTH * Fraction(epsilon), Fraction(1, 1 << 60))

        def least(bits: int) -> Fraction:
            found = loewner_epsilon(X, Y, width=width)
            assert found is not None
            # That it is no more was decided above; this only says how near it comes.
            return min(max(Fraction(found.bounds()[0].item()), Fraction(0)), Fraction(epsilon))

        yield Statement(what="epsilon", quantity=least, bound=epsilon)
    if np.isfinite(epsilon + slack):
        yield Statement(
            what="the difference of Gram matrices by the lengths of rows",
            quantity=lambda bits: _relative(_exact_gram(Y), X, bits),
            bound=np.nextafter(epsilon + slack, np.inf),
        )


def _closeness(module: ModuleType, x: Matrices) -> Iterator[Statement]:
    found = module.certified_closeness(x.X, x.Y)
    yield from _within(x.X, x.Y, found.epsilon, found.slack)


def _loewner(module: ModuleType, x: Matrices) -> Iterator[Statement]:
    slack = (0.0, 0.0, 1e-9)[x.choice % 3]
    if module.certify_loewner(x.X, x.Y, x.epsilon, slack=slack):
        yield from _within(x.X, x.Y, x.epsilon, slack)


def _sparsify(module: ModuleType, x: Matrices) -> Iterator[Statement]:
    rng = seeded(x)
    guarantee = ("exact", "loewner", "entrywise", "columns")[rng.integers(4)]
    epsilon = None if guarantee == "exact" or rng.random() < 0.3 else x.epsilon
    try:
        found = module.sparsify(x.X, guarantee=guarantee, epsilon=epsilon, rng=rng)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    Y = finite("Y", found.Y)
    if found.failure_probability is not None:
        raise BrokenError("no chance of failure was allowed.")
    if guarantee == "entrywise":
        yield Statement(
            what="the difference of Gram matrices by the lengths of rows",
            quantity=lambda bits: _relative(_exact_gram(Y), x.X, bits),
            bound=np.nextafter(found.epsilon + found.slack, np.inf),
        )
    else:
        yield from _within(x.X, Y, found.epsilon, found.slack)
    if np.isfinite(found.logit_error):
        yield Statement(
            what="the difference of Gram matrices",
            quantity=lambda bits: _exact_gram(Y) - _exact_gram(x.X),
            bound=found.logit_error,
        )
    if np.abs(x.X).max() < 1e3 and not np.array_equal(x.X, Y):
        yield Statement(
            what="the difference of attention matrices",
            quantity=lambda bits: distance(x.X, Y, precision=bits).entry,
            bound=found.entry_error,
        )
        yield Statement(
            what="the difference of their rows",
            quantity=lambda bits: distance(x.X, Y, precision=bits).row,
            bound=found.row_error,
        )


def _heavy(module: ModuleType, x: Matrices) -> Iterator[Statement]:
    K, power = x.X, (2, 2, 4)[x.choice % 3]
    gram = None
    if power == 2 and x.choice % 2 and x.Y.shape[1] == K.shape[1]:
        gram = module.key_gram(K).merge(module.key_gram(x.Y))
    found = module.heavy_keys(K, x.epsilon, power=power, gram=gram)
    scores = finite("a score", found.scores)
    if sorted(np.flatnonzero(scores >= found.epsilon)) != found.keys.tolist():
        raise BrokenError("the keys are not those with scores of epsilon or more.")
    if power == 2:
        whole = K if gram is None else np.concatenate([K, x.Y])
        exact = leverage_scores(whole.T)[: len(K)]
        yield Statement(
            what="a leverage",
            quantity=lambda bits: Enclosure.exact(np.array(exact, object), bits),
            bound=scores,
        )
        return
    for query in (*K, np.ones(K.shape[1])):
        powers = [abs(_dot(query, key)) ** power for key in K]
        total = sum(powers, Fraction(0))
        if total:
            shares = np.array([p / total for p in powers], object)
            yield Statement(
                what="a weight",
                quantity=partial(Enclosure.exact, shares),
                bound=scores,
            )


def _dot(one: Array, other: Array) -> Fraction:
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0))


def _key_gram(module: ModuleType, x: Matrices) -> Iterator[Statement]:
    K = x.X
    found = module.key_gram(K)
    if x.choice % 2 and x.Y.shape[1] == K.shape[1]:
        found = found.merge(module.key_gram(x.Y))
        K = np.concatenate([K, x.Y])

    def lost(bits: int) -> Enclosure:
        scale = np.array([Fraction(2) ** -int(e) for e in found.exponents], object)
        scaled = Enclosure.exact(
            np.array([[Fraction(v) for v in row] for row in K.tolist()], object) * scale
        )
        gap = Enclosure.exact(found.matrix) - scaled.T.dot(scaled)
        if not gap.mid.any():
            return Enclosure.exact(0)
        gap = gap.at(2 * bits + 2200)  # a product has no more bits than its factors
        return (gap * gap).sum().sqrt()

    yield Statement(what="what rounding did to KᵀK", quantity=lost, bound=found.loss)


def _regression(module: ModuleType, x: Problem) -> Iterator[Statement]:
    problem = module.AttentionRegression(x.A1, x.A2, x.A3, x.B)
    X, Y = x.X, x.Y
    found = problem.solve(X, Y, method="newton", tolerance=1e-6)
    if np.isfinite(found.X).all() and np.isfinite(found.Y).all():
        X, Y = found.X, found.Y
    certificate = problem.certify(X, Y)
    exact = Regression(A1=x.A1, A2=x.A2, A3=x.A3, B=x.B, X=X, Y=Y)
    if certificate.gradient_norm is not None:

        def norm(bits: int) -> Enclosure:
            gradient = exact.gradient(bits)
            squares: Enclosure = (gradient.X * gradient.X).sum() + (gradient.Y * gradient.Y).sum()
            return squares.sqrt()

        yield Statement(
            what="the norm of the gradient", quantity=norm, bound=certificate.gradient_norm
        )
    if certificate.least_eigenvalue is not None:
        H = problem.hessian(X, Y)
        vector = np.linalg.eigh(H)[1][:, 0]
        least = certificate.least_eigenvalue
        cut = X.size

        def beyond(bits: int) -> Fraction:
            v = Enclosure.exact(vector)
            U, W = v[:cut].reshape(*X.shape), v[cut:].reshape(*Y.shape)
            by_X, by_Y = exact.hessian(2 * bits).times(U, W)
            curvature = (by_X * U).sum() + (by_Y * W).sum()
            over = Fraction(least) * (v * v).sum() - curvature
            return max(Fraction(over.bounds()[0].item()), Fraction(0))

        yield Statement(
            what="how far the least eigenvalue is below what is stated", quantity=beyond, bound=0.0
        )
    if certificate.radius is not None:
        finer = problem.solve(X, Y, method="newton", tolerance=1e-12)
        again = problem.certify(finer.X, finer.Y)
        if again.radius is not None and again.h is not None and again.h < 0.25:
            moved = np.concatenate([(finer.X - X).ravel(), (finer.Y - Y).ravel()])
            yield Statement(
                what="the distance of two points near one minimum",
                quantity=lambda bits: (
                    (Enclosure.exact(moved, bits) * Enclosure.exact(moved, bits)).sum().sqrt()
                ),
                bound=(certificate.radius + again.radius) * (1 + 2.0**-50) + 2.0**-1000,
            )


ATTACKS = (
    Attack(function="gram", sample=matrices, statements=_gram),
    Attack(function="entrywise_error", sample=matrices, statements=_entrywise),
    Attack(function="certified_closeness", sample=matrices, statements=_closeness),
    Attack(function="certify_loewner", sample=matrices, statements=_loewner),
    Attack(function="sparsify", sample=matrices, statements=_sparsify),
    Attack(function="heavy_keys", sample=matrices, statements=_heavy),
    Attack(function="key_gram", sample=matrices, statements=_key_gram),
    Attack(function="AttentionRegression", sample=problems, statements=_regression),
)
