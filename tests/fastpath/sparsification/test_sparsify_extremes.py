"""Certificates of sparsification where floats end: rows from 2^-250 to 2^250, subnormals, last bits.

Every bound is decided exactly by ``reference.arithmetic.gram``.  The quick loop takes a few hundred
instances of each search, ``make test`` thousands.
"""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import fastpath
from fastpath.sparsification import certificate as loewner
from fastpath.sparsification.choice import METHODS
from fastpath.sparsification.feature_matrix import LARGEST_EXPONENT, FeatureMatrix, feature_matrix
from fastpath.sparsification.leverage import leverage_scores
from reference.arithmetic.gram import gram, semidefinite

LARGEST = float(np.finfo(np.float64).max)

#: Instances of a search in the quick loop and in the whole suite.
SEARCHES = [
    pytest.param(range(250), id="quick"),
    pytest.param(range(250, 6000), id="long", marks=pytest.mark.nightly),
]


def _structured(rng: np.random.Generator, n: int, d: int, lowest: int, highest: int) -> Any:
    """Draw a matrix of some structure and exponents, its rows within 2^lowest to 2^highest."""
    X = rng.standard_normal((n, d))
    kind = rng.choice(["any", "integers", "repeated", "rank one", "zeros", "mixed", "nearly equal"])
    if kind == "integers":
        X = np.round(X)
    elif kind == "repeated":
        X = X[rng.integers(0, n, n)][:, rng.integers(0, d, d)]
    elif kind == "rank one":
        X = np.outer(X[:, 0], X[0])
    elif kind == "zeros":
        X[rng.random(n) < 0.4] = 0
    elif kind == "mixed":
        X = np.ldexp(X, rng.integers(-40, 41, (n, d)))
    elif kind == "nearly equal":
        X[0] = X[-1] * (1 + 2.0 ** -rng.integers(1, 53))
    scaled = rng.choice(["no", "whole", "rows", "entries"])
    if scaled == "whole":
        X = np.ldexp(X, int(rng.integers(lowest, highest)))
    elif scaled == "rows":
        X = np.ldexp(X, rng.integers(lowest, highest, (n, 1)))
    elif scaled == "entries":
        X = np.ldexp(X, rng.integers(2 * lowest, 1, (n, d)))
    largest = np.abs(X).max(axis=1, keepdims=True)
    exponents = np.frexp(np.where(largest > 0, largest, 1.0))[1]
    return np.ldexp(X, np.clip(exponents, lowest + 2, highest - 1) - exponents)


def _features(rng: np.random.Generator, n: int, d: int) -> Any:
    """Draw X in either type, dense or sparse."""
    if rng.random() < 0.5:
        X = _structured(rng, n, d, -LARGEST_EXPONENT, LARGEST_EXPONENT)
    else:
        with np.errstate(under="ignore"):
            X = _structured(rng, n, d, -149, 128).astype(np.float32)
        if rng.random() < 0.2:
            X = np.sign(X) * np.finfo(np.float32).max
        elif rng.random() < 0.2:
            X = np.sign(X) * np.float32(2.0**-149)
    layout = rng.choice(["C", "F", "csr", "csc"])
    if layout in ("csr", "csc"):
        return sp.csr_array(X * (rng.random(X.shape) < rng.choice([0.3, 1.0]))).asformat(layout)
    return np.asarray(X, order=layout)


def _near(rng: np.random.Generator, X: Any) -> Any:
    """Draw Y from X: itself but for a factor, noise, columns more or less, or rows of other lengths."""
    n, d = X.shape
    kind = rng.integers(0, 7)
    if kind == 0:
        return _structured(rng, n, int(rng.integers(1, 7)), -LARGEST_EXPONENT, LARGEST_EXPONENT)
    if kind == 1:
        return X * (1 + 2.0 ** -rng.integers(1, 53))
    if kind == 2:
        return np.ldexp(X, int(rng.integers(-3, 4)))
    largest = np.abs(X).max(axis=1, keepdims=True)
    if kind == 3:
        return X + np.ldexp(largest * rng.standard_normal(X.shape), -int(rng.integers(1, 54)))
    if kind == 4:
        extra = np.ldexp(largest * rng.standard_normal((n, 1)), -int(rng.integers(0, 240)))
        return np.hstack([X, extra])
    if kind == 5:
        return X[:, : max(1, d - 1)]
    return np.ldexp(X, rng.integers(-400, 400, (n, 1)))


def _holds(G: Any, H: Any, epsilon: float, slack: float) -> bool:
    e, more = Fraction(epsilon), Fraction(slack) * np.diag(G.diagonal())
    return semidefinite((1 + e) * G + more - H) and semidefinite(H - (1 - e) * G + more)


def _allowed(*matrices: Any) -> bool:
    try:
        for X in matrices:
            feature_matrix(X)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seeds", SEARCHES)
def test_no_proof_about_a_pair_of_gram_matrices_is_false(seeds: range) -> None:
    proved = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        X = _structured(rng, int(rng.integers(1, 5)), int(rng.integers(1, 7)), -250, 250)
        with np.errstate(under="ignore"):
            Y = _near(rng, X)
        if not _allowed(X, Y):
            continue
        G, H = gram(X), gram(Y)
        closeness = fastpath.certified_closeness(X, Y)
        if np.isfinite(closeness.epsilon):
            assert _holds(G, H, closeness.epsilon, closeness.slack), (seed, closeness)
        for epsilon, slack in (
            (float(2.0 ** rng.integers(-60, 1024)), 0.0),
            (LARGEST, 0.0),
            (0.0, float(2.0 ** rng.integers(-60, 1024))),
            (1.0, LARGEST),
            (float(2.0 ** rng.integers(-60, 3)), float(2.0 ** rng.integers(-60, 3))),
            (5e-324, 2.0**-40),
        ):
            if fastpath.certify_loewner(X, Y, epsilon, slack=slack):
                proved += 1
                assert _holds(G, H, epsilon, slack), (seed, epsilon, slack)
        error = fastpath.entrywise_error(X, Y)
        if np.isfinite(error):
            lengths = np.multiply.outer(G.diagonal(), G.diagonal())
            assert (Fraction(error) ** 2 * lengths >= (H - G) ** 2).all(), seed
    # It can fail: most pairs are proved something about.
    assert proved > len(seeds)


@pytest.mark.parametrize("seeds", SEARCHES)
def test_no_result_at_the_ends_of_a_type_exceeds_its_certificate(seeds: range) -> None:
    """Where a result would leave X's type that is said; it is never returned, nor called X."""
    certified = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        X = _features(rng, int(rng.integers(1, 5)), int(rng.choice([1, 3, 8, 40])))
        if not _allowed(X):
            continue
        dense = X.toarray() if sp.issparse(X) else X
        G = gram(dense)
        computed = fastpath.gram(X)
        lengths = np.multiply.outer(G.diagonal(), G.diagonal())
        errors = np.vectorize(Fraction)(computed.matrix) - G
        assert (errors**2 <= Fraction(computed.error) ** 2 * lengths).all(), seed
        guarantee = str(rng.choice(list(METHODS)))
        method = str(rng.choice(METHODS[guarantee]))
        epsilon = None if method in ("gram", "caratheodory") else float(rng.choice([0.9, 0.1]))
        try:
            result = fastpath.sparsify(
                X, guarantee=guarantee, method=method, epsilon=epsilon, rng=rng
            )
        except (RuntimeError, ValueError) as refusal:
            if "must be finite" in str(refusal):
                raise  # X is.
            continue
        H = gram(result.Y)
        certified += 1
        if guarantee == "entrywise":
            assert (Fraction(result.epsilon) ** 2 * lengths >= (H - G) ** 2).all(), seed
        else:
            assert _holds(G, H, result.epsilon, result.slack), seed
        assert abs(H - G).max() <= Fraction(result.logit_error), seed
    assert certified > len(seeds) // 3


# ---------------------------------------------------------------- what the searches found, made small


def test_an_epsilon_so_large_that_sums_overflow_proves_no_more_than_a_smaller_one() -> None:
    """Y has a direction that X has not; (1 + ε) G overflowed, and LAPACK factors NaN to completion."""
    X, Y = np.array([[1.0], [1.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    for size in (1.0, 2.0**1000, LARGEST, 10**400):
        assert not fastpath.certify_loewner(X, Y, size)
    # A sum of the diagonal left as OverflowError.
    assert fastpath.certify_loewner(np.eye(3), np.eye(3), LARGEST, slack=LARGEST)


def test_a_gram_matrix_that_holds_a_nan_proves_nothing() -> None:
    nothing = fastpath.Gram(matrix=np.full((2, 2), np.nan), roundings=3)
    for first, second in ((nothing, np.eye(2)), (np.eye(2), nothing), (nothing, nothing)):
        assert not fastpath.certify_loewner(first, second, 0.5)
        assert fastpath.certified_closeness(first, second).epsilon == np.inf
        assert fastpath.entrywise_error(first, second) == np.inf


@pytest.mark.parametrize(
    "number", [Fraction(1, 3), Fraction(1, 10), np.longdouble(1) / 10, np.longdouble(1) / 3]
)
def test_an_epsilon_that_float64_does_not_hold_is_rounded_down(number: Any) -> None:
    """A proof for a larger one would not be a proof for the one that was asked for."""
    assert loewner._at_most("epsilon", number) <= number
    assert np.nextafter(loewner._at_most("epsilon", number), 1) > number


@pytest.mark.parametrize("name", ["epsilon", "slack"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("0.5", TypeError, "must be a number, got '0.5'"),
        (True, TypeError, "must be a number, got True"),
        (float("nan"), ValueError, "must be finite and at least 0, got nan"),
        (float("inf"), ValueError, "must be finite and at least 0, got inf"),
        (-1e-300, ValueError, "must be finite and at least 0, got -1e-300"),
    ],
)
def test_what_is_no_epsilon_and_no_slack_is_refused(
    name: str, value: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=f"{name} {message}"):
        fastpath.certify_loewner(np.eye(2), np.eye(2), **{"epsilon": 0.5, name: value})


@pytest.mark.parametrize(
    ("guarantee", "method", "options"),
    [
        ("exact", "gram", {}),
        ("columns", "caratheodory", {}),
        ("loewner", "gram-of-sketch", {"width": 30}),
        ("loewner", "countsketch", {"width": 2}),
        ("loewner", "countsketch", {"epsilon": 0.9, "failure_probability": 0.9}),
    ],
)
def test_what_would_overflow_the_type_of_x_is_refused_and_not_returned(
    guarantee: str, method: str, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of float32's largest number are longer than that; a sketch of them was returned as infinite."""
    # So that a failure probability is taken, as where X Xᵀ costs more.
    monkeypatch.setattr("fastpath.sparsification.choice.gram_cost", lambda X: np.inf)
    X = np.full((2, 40), np.finfo(np.float32).max)
    with pytest.raises(RuntimeError, match=r"X is so large .* float32: scale X by a power of two"):
        fastpath.sparsify(
            X, guarantee=guarantee, method=method, rng=np.random.default_rng(0), **options
        )


def test_the_leverage_of_columns_of_subnormals_is_that_of_their_multiples() -> None:
    """The whitening of rows of 2^-149 is 2^149, which float32 does not hold: scores were NaN."""
    X = np.sign(np.random.default_rng(1).standard_normal((3, 40))).astype(np.float32)
    for exponent in (-149, 120):
        G = fastpath.gram(np.ldexp(X, exponent))
        whitening = loewner.range_factor(G)[1]
        scores = leverage_scores(
            FeatureMatrix(entries=np.ldexp(X, exponent)),
            np.random.default_rng(0),
            whitening=whitening,
        )
        # 40 scores add up to the rank, but for the spread of their estimates.
        assert 1 < scores.sum() < 9
