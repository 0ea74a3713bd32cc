"""Sparsification's certificates are their claims, term by term, for what the program counted and computed.

The claims are evaluated in rational arithmetic, and the instances make each term of them matter.
"""

import importlib
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import fastpath
from fastpath.core.bounds.sparsification import (
    composed_epsilon,
    composed_slack,
    gram_rounding,
    largest_logit,
    loewner_logit,
    logit_difference,
    osnap_width,
    sketch_slack,
)
from fastpath.sparsification import certificate as loewner
from reference import Verdict, loewner_verdict
from tests.fastpath.sparsification.test_sparsify_enclosed import _cheapest

GRAM = importlib.import_module("fastpath.sparsification.gram")

U = Fraction(1, 2**53)

#: What directed rounding may add to a claim (tests/specs/test_printing.py).
ALLOWANCE = 1 + Fraction(1, 2**40)


def _gamma(k: int) -> Fraction:
    return k * U / (1 - k * U)


def _exactly(x: float) -> Fraction:
    return Fraction(float(x))


@pytest.mark.parametrize(
    ("n", "first", "second", "stretch", "slack"),
    [
        (1, 1, 1, 1.0, 0.0),
        (2, 10**6, 3, 1.0, 0.0),
        (3, 3, 10**6, 1.0, 0.0),
        (40, 3, 2, 1.0, 0.0),
        (3, 10, 10, 2.0**20, 0.0),
        (3, 10**3, 10, 1.0, 2.0**20),
    ],
    ids=["least", "roundings of G", "roundings of H", "order", "long Y", "slack"],
)
def test_the_shift_is_that_of_the_claim_for_what_was_counted(
    n: int, first: int, second: int, stretch: float, slack: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3.certificate, with a rounding more for underflow in each Gram matrix and one for what follows."""
    rng = np.random.default_rng(n)
    G, H = (M @ M.T for M in (rng.standard_normal((n, n + 2)) for _ in range(2)))
    G /= np.sqrt(np.outer(G.diagonal(), G.diagonal()))
    pair = loewner._Pair(
        fastpath.Gram(matrix=(G + G.T) / 2, roundings=first),
        fastpath.Gram(matrix=stretch * (H + H.T) / 2, roundings=second),
    )
    factored: list[Any] = []
    monkeypatch.setattr(loewner, "_cholesky", lambda A: (factored.append(A.copy()), (A, 0))[1])
    for factor, sign in ((1.5, 1), (0.5, -1)):
        factored.clear()
        assert pair._definite(factor, sign, slack)
        # What was factored, and what would have been without a shift: the rest is the shift.
        more = slack * pair.G.diagonal()
        unshifted = (sign * factor * pair.G - sign * pair.H).diagonal() + more
        k, m = first + 2, second + 1
        traces = (sum(map(_exactly, d)) for d in (pair.G.diagonal(), pair.H.diagonal(), unshifted))
        first_trace, second_trace, shifted_trace = traces
        claimed = (
            (Fraction(factor) + Fraction(slack)) * first_trace * U * (k + 4) / (1 - (2 * k + 8) * U)
            + second_trace * U * (m + 3) / (1 - (2 * m + 6) * U)
            + max(shifted_trace, 0) * U * (n + 1) / (1 - (2 * n + 2) * U)
        )
        shift = _exactly(pair.shift(factor, slack, loewner._above(unshifted)))
        if shifted_trace >= 0:
            assert claimed <= shift <= claimed * ALLOWANCE
            # It is what is taken off, but for the rounding of taking it off.
            for entry, before in zip(factored[0].diagonal(), unshifted, strict=True):
                assert abs(_exactly(before) - _exactly(entry) - shift) <= U * abs(_exactly(before))


def test_a_difference_that_rounding_made_definite_is_not_proved() -> None:
    """X has nearly equal rows, whose computed Gram matrix is a little more definite than the true one."""
    missed = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(3)
        X = np.array([x, x * (1 + 2.0**-26)])
        Y = X * (1 + 2.0**-30)
        epsilon = 2.0**-29
        proved = fastpath.certify_loewner(X, Y, epsilon)
        assert not proved or loewner_verdict(X, Y, epsilon) is Verdict.WITHIN
        X = np.array([x, x])
        missed += fastpath.certify_loewner(X, np.array([x, x * (1 + 2.0**-52)]), 0.5)
    # A null space that is not Y's is never proved.
    assert not missed


def test_factors_are_rounded_inward(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = loewner._Pair(fastpath.gram(np.eye(2)), fastpath.gram(np.eye(2)))
    seen: list[Any] = []
    monkeypatch.setattr(
        pair, "_definite", lambda factor, sign, slack: seen.append((factor, sign)) or True
    )
    rounded = np.zeros(2, int)
    rng = np.random.default_rng(0)
    # Numbers of 53 bits below 1/8: 1 less or more of them takes more.
    for epsilon in rng.uniform(0, 1, 100) / 8:
        seen.clear()
        assert pair.proves(float(epsilon), 0.0)
        (upper, _), (lower, _) = seen
        assert _exactly(upper) <= 1 + _exactly(epsilon)
        assert _exactly(lower) >= 1 - _exactly(epsilon)
        rounded += [
            _exactly(1 + epsilon) > 1 + _exactly(epsilon),
            _exactly(1 - epsilon) < 1 - _exactly(epsilon),
        ]
    assert rounded.all()


def test_no_more_slack_is_proved_than_is_asked_for() -> None:
    slack = 2.0**-10
    X, Y = np.eye(3), np.eye(3) * np.sqrt(1 + 1.5 * slack)
    assert not fastpath.certify_loewner(X, Y, 0.0, slack=slack)
    assert fastpath.certify_loewner(X, Y, 0.0, slack=2 * slack)


def test_a_trace_is_not_rounded_down() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        diagonal = rng.uniform(0.5, 2, 7)
        exact = sum(map(_exactly, diagonal))
        assert exact <= _exactly(loewner._above(diagonal)) <= exact * ALLOWANCE


@pytest.mark.parametrize(
    ("first", "second", "stretch", "apart"),
    [(3, 3, 1.0, 0.25), (10**6, 3, 1.0, 0.0), (3, 10**6, 1.0, 0.0), (3, 10**4, 2.0**20, 0.0)],
    ids=["difference", "roundings of G", "roundings of H", "long Y"],
)
def test_the_entrywise_error_is_that_of_the_claim(
    first: int, second: int, stretch: float, apart: float
) -> None:
    """P3.entries, with the same roundings more."""
    G = np.array([[1.0, 0.5], [0.5, 1.0]])
    H = stretch * G + np.array([[0, apart], [apart, 0]])
    found = fastpath.entrywise_error(
        fastpath.Gram(matrix=G, roundings=first), fastpath.Gram(matrix=H, roundings=second)
    )
    k, m, ratio = first + 2, second + 1, Fraction(stretch)
    difference = _exactly(np.abs(H - G).max())
    claimed = (
        difference / (1 - (k + 5) * U)
        + _gamma(k)
        + ratio * m * U / ((1 - 2 * m * U) * (1 - (k + 1) * U))
    )
    assert claimed <= _exactly(found) <= claimed * ALLOWANCE


@pytest.mark.parametrize("way", ["outer products", "dense blocks", "scipy", "two ways at once"])
@pytest.mark.parametrize("pairs", [1, 1 << 18])
def test_every_way_to_a_gram_matrix_counts_its_roundings(
    way: str, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of ones against one of 2^-53 and less: sums in any order pass through as many roundings."""
    monkeypatch.setattr(GRAM, "_costs", partial(_cheapest, way))
    monkeypatch.setattr(GRAM, "PAIRS", pairs)
    monkeypatch.setattr(GRAM, "BLOCK", 8)
    n, d = 3, 40
    X = np.ones((n, d))
    X[2, 30:] = 0
    X[1:, 39] = 0
    computed = fastpath.gram(sp.csr_array(X))
    # A product, and a sum of all of a row's: more only where parts are added up.
    entries = int(np.count_nonzero(X, axis=1).max())
    assert (
        computed.roundings
        >= {
            "dense blocks": 8 + d // 8,
            "outer products": entries + 2 + _additions(X, n, pairs),
            "scipy": entries + 1,
            # The lighter columns are added at once, and then to the others.
            "two ways at once": entries + 2 + 1,
        }[way]
    )
    assert computed.error >= _gamma(computed.roundings + 1)
    assert computed.error <= gram_rounding(computed.roundings + 2, 2.0**-53)


def _additions(X: Any, n: int, pairs: int) -> int:
    """Return how often the sums so far are added up before the last time."""
    counts = np.count_nonzero(X, axis=0)
    held = int((counts * (counts - 1) // 2).sum())
    return (held - 1) // max(pairs, n * n, int(counts.max()) ** 2)


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [(3, 3, 0.25), (10**6, 3, 0.0), (3, 10**6, 0.0)],
    ids=["difference", "roundings of G", "roundings of H"],
)
def test_the_logits_error_is_that_of_the_claim(
    first: int, second: int, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparsification = importlib.import_module("fastpath.sparsification.sparsify")
    G = np.array([[1.0, 0.5], [0.5, 1.0]])
    H = G + np.array([[0, apart], [apart, 0]])
    monkeypatch.setattr(
        sparsification, "_result_gram", lambda Y: fastpath.Gram(matrix=H, roundings=second)
    )
    monkeypatch.setattr(sparsification, "entrywise_error", lambda *_: 2.0**30)
    result = sparsification.measured(
        "entrywise", "gram", fastpath.Gram(matrix=G, roundings=first), np.eye(2), None, None
    )
    claimed = logit_difference(apart, 1.0, 1.0, first + 1, second + 1, 2.0**-53)
    assert result.logit_error == claimed > apart


def test_a_logit_may_err_by_epsilon_and_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    sparsification = importlib.import_module("fastpath.sparsification.sparsify")
    far = fastpath.Gram(matrix=np.full((2, 2), 2.0**20), roundings=3)
    monkeypatch.setattr(sparsification, "_result_gram", lambda Y: far)
    monkeypatch.setattr(
        sparsification,
        "certified_closeness",
        lambda *_: fastpath.Closeness(epsilon=0.25, slack=0.125),
    )
    result = sparsification.measured(
        "loewner", "gram", fastpath.gram(np.eye(2)), np.eye(2), None, None
    )
    assert 0.375 <= result.logit_error <= 0.375 * (1 + 2.0**-40)


@pytest.mark.parametrize("method", ["osnap", "countsketch", "gram-of-sketch"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_sketch_that_is_not_certified_has_the_slack_of_its_claim(
    method: str, dtype: Any, sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparsification = importlib.import_module("fastpath.sparsification.sparsify")
    monkeypatch.setattr("fastpath.sparsification.choice.gram_cost", lambda X: np.inf)
    second = fastpath.Closeness(epsilon=2.0**-6, slack=2.0**-7)
    monkeypatch.setattr(sparsification, "certified_closeness", lambda *_: second)
    n, d = 2, 4000
    X = np.ones((n, d), dtype)
    X[1, 3000:] = 0
    epsilon, probability = 0.5, 0.5
    result = fastpath.sparsify(
        sp.csr_array(X) if sparse else X,
        guarantee="loewner",
        method=method,
        epsilon=epsilon,
        failure_probability=probability,
        rng=np.random.default_rng(0),
    )
    assert (result.certificate, result.failure_probability) == ("probability", probability)
    # The fullest row; or of dense columns, in runs as long as a block of the sketch, one a run.
    places = 1 if method == "countsketch" else 2
    width = -(-int(np.ceil(osnap_width(n, epsilon, probability))) // places) * places
    terms = d if sparse else -(-d // (width // places))
    slack = sketch_slack(n, epsilon, terms, float(np.finfo(dtype).eps) / 2)
    if method == "gram-of-sketch":
        slack = composed_slack(epsilon, slack, second.epsilon, second.slack)
        epsilon = composed_epsilon(epsilon, second.epsilon)
    assert result.epsilon == epsilon
    assert result.slack == slack > 0
    largest = largest_logit(float(d), d + 1, 2.0**-53)
    assert result.logit_error == loewner_logit(epsilon + slack, largest)
