"""Heavy keys: scores against exact leverages and exact weights, on structured keys first."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastpath
from fastpath.sparsification import exact_leverage, heavy_keys
from reference.arithmetic.gram import gram_rank, leverage_scores

RNG = np.random.default_rng(0)


def _low_rank(kind):
    return kind(RNG.integers(-3, 4, (60, 2))) @ kind(RNG.integers(-3, 4, (2, 6)))


#: Keys, each with what it is there to catch.
KEYS = {
    "one key": np.array([[1.0, 2.0, 3.0]]),
    "one dimension": RNG.standard_normal((30, 1)),
    "equal keys": np.ones((50, 4)),
    "fewer keys than dimensions": RNG.standard_normal((3, 8)),
    "zero keys and columns": np.pad(RNG.standard_normal((20, 3)), ((0, 9), (0, 2))),
    "all zero": np.zeros((5, 2)),
    "integers of low rank": _low_rank(np.asarray).astype(float),
    "floats of low rank": RNG.standard_normal((60, 3)) @ RNG.standard_normal((3, 6)),
    "a third of low rank": _low_rank(np.asarray) / 3,
    "scaled columns": RNG.standard_normal((60, 6)) * 2.0 ** RNG.integers(-100, 101, 6),
    "scaled rows": RNG.standard_normal((60, 6)) * 2.0 ** RNG.integers(-100, 101, 60)[:, None],
    "one long key": np.vstack([RNG.standard_normal((40, 5)), 1e30 * np.ones((1, 5))]),
    "entries of all sizes": RNG.standard_normal((40, 5)) * 10.0 ** RNG.integers(-30, 31, (40, 5)),
    "entries near the ends": RNG.standard_normal((40, 3))
    * 10.0 ** RNG.integers(-300, 301, (40, 3)),
    "subnormal": RNG.integers(-5, 6, (40, 4)) * 5e-324,
    "largest": np.full((5, 2), 1.7e308) * np.array([1, -1]),
    "sums of long integers": RNG.integers(-(2**40), 2**40, (60, 2)).astype(float)
    @ np.array([[1.0, 0, 1, 2], [0, 1, 1, -1]]),
    "powers": np.arange(40.0)[:, None] ** np.arange(9),
    "nearly dependent": 1 / (np.arange(40)[:, None] + np.arange(1.0, 9.0)),
    "a column twice but for 2^-40": np.repeat(RNG.standard_normal((40, 2)), 2, axis=1)
    * np.array([1, 1 + 2.0**-40, 1, 1]),
    "negative zeros": np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, -0.0]]),
    "float32": RNG.standard_normal((60, 6)).astype(np.float32),
    "float16": RNG.standard_normal((60, 6)).astype(np.float16),
    "Fortran": np.asfortranarray(RNG.standard_normal((60, 6))),
    "every other": RNG.standard_normal((60, 12))[::2, ::2],
    "list": [[1, 2], [3, 4], [5, 6]],
}


@pytest.mark.parametrize("name", KEYS)
def test_scores_bound_exact_leverages_and_are_not_much_larger(name):
    K = np.asarray(KEYS[name])
    before = K.copy()
    found = fastpath.heavy_keys(KEYS[name], 0.1)
    exact = leverage_scores(K.T)
    assert np.array_equal(K, before)
    assert np.isfinite(found.scores).all()
    assert all(Fraction(float(s)) >= e for s, e in zip(found.scores, exact, strict=True))
    assert set(found.keys) >= {j for j, e in enumerate(exact) if e >= Fraction(0.1)}
    assert list(found.keys) == list(np.flatnonzero(found.scores >= found.epsilon))
    assert found.missed < found.epsilon
    assert found.method != "none"
    rank = gram_rank(K.T)
    assert sum(map(Fraction, found.scores.tolist())) <= rank * Fraction(heavy_keys.ENOUGH)
    assert len(found.keys) <= found.most
    assert found.most <= heavy_keys.ENOUGH * rank / 0.1 or not K.any()


def test_most_keys_are_reached():
    """Every unit vector m times: d m keys of weight 1/m each, and all are kept."""
    K = np.tile(np.eye(3), (4, 1))
    found = fastpath.heavy_keys(K, Fraction(1, 4))
    assert len(found.keys) == 12
    assert len(fastpath.heavy_keys(K, 0.2501).keys) == 0
    # Equal keys are dependent: their leverage is exact, and it is epsilon.
    assert len(fastpath.heavy_keys(np.ones((4, 2)), 0.25).keys) == 4


@pytest.mark.parametrize("power", [2, 4])
@pytest.mark.parametrize(
    "name",
    ["integers of low rank", "a third of low rank", "equal keys", "sums of long integers"],
)
def test_columns_that_depend_on_others_are_left_out_where_keys_are_many(monkeypatch, name, power):
    """Exact leverages would take too long; which columns span all is found from slices of the entries."""
    K = np.asarray(KEYS[name]) * np.array([1, 2.0**40, 1, 1, 1, 1])[: np.shape(KEYS[name])[1]]
    expected = fastpath.heavy_keys(K, 0.1, power=power)
    monkeypatch.setattr(exact_leverage, "PRODUCTS", 0)
    found = fastpath.heavy_keys(K, 0.1, power=power)
    exact = leverage_scores(K.T)
    if name == "a third of low rank":
        # Rounded, its columns are independent, and nearly dependent: nothing is proved.
        assert gram_rank(K.T) > 2
        assert found.method == "none"
        return
    assert found.method == "gram"
    assert found.scores.sum() <= heavy_keys.ENOUGH * expected.scores.sum()
    if power == 2:
        assert all(Fraction(float(s)) >= e for s, e in zip(found.scores, exact, strict=True))


def test_columns_are_not_taken_for_dependent_whose_entries_scaling_loses(monkeypatch):
    """Beside 2^600, 2^-500 is 2^-1100: without it the second column would be a multiple of the first."""
    monkeypatch.setattr(exact_leverage, "PRODUCTS", 0)
    K = np.array([[2.0**600, 2.0**600], [2.0**-500, 0.0]])
    assert leverage_scores(K.T) == [1, 1]
    assert list(fastpath.heavy_keys(K, 0.5).keys) == [0, 1]


def test_dependent_keys_that_are_too_many_for_integers_are_all_kept(monkeypatch):
    monkeypatch.setattr(exact_leverage, "PRODUCTS", 0)
    monkeypatch.setattr(exact_leverage, "MOST_COLUMNS", 0)
    K = np.vstack([KEYS["integers of low rank"], np.zeros((1, 6))])
    found = fastpath.heavy_keys(K, 0.1)
    exact = leverage_scores(K.T)
    assert found.method == "none"
    assert found.claims == ("L.heavy",)
    assert all(Fraction(float(s)) >= e for s, e in zip(found.scores, exact, strict=True))
    assert found.scores[-1] == 0
    assert fastpath.heavy_keys(np.ones((50, 4)), 0.1).keys.size == 0
    assert fastpath.heavy_keys(np.ones((50, 4)), Fraction(1, 50)).keys.size == 50


def shares(K, query, power):
    """Return the exact weights of one query."""
    products = [sum(Fraction(float(x)) * q for x, q in zip(row, query, strict=True)) for row in K]
    powers = [p**power for p in products]
    return [p / sum(powers) for p in powers] if any(powers) else [Fraction(0)] * len(K)


@pytest.mark.parametrize("power", [2, 4, 6, 10])
@pytest.mark.parametrize(
    "name", ["equal keys", "integers of low rank", "scaled columns", "float32", "one dimension"]
)
def test_no_query_exceeds_a_score(name, power):
    K = np.asarray(KEYS[name])[:12]
    found = fastpath.heavy_keys(K, 0.25, power=power)
    scores = [Fraction(float(s)) for s in found.scores]
    queries = [[Fraction(float(x)) for x in row] for row in np.eye(K.shape[1])]
    queries += [[Fraction(float(x)) for x in row] for row in np.linalg.pinv(K.astype(float)).T]
    for query in queries:
        weights = shares(K, query, power)
        assert all(w <= s for w, s in zip(weights, scores, strict=True))
        assert {j for j, w in enumerate(weights) if w >= Fraction(1, 4)} <= set(found.keys)
    assert ("L.powers" in found.claims) == (power > 2)


def test_in_one_dimension_the_fourth_powers_are_what_the_scores_come_to():
    """Lewis's weights of one dimension are |k|^p / sum |k|^p, at which the bound is the weight."""
    K = np.array([[1.0], [2.0], [-3.0]])
    found = fastpath.heavy_keys(K, 0.5, power=4)
    assert list(found.keys) == [2]
    for score, exact in zip(found.scores, (1, 16, 81), strict=True):
        # Roots of the weights are kept to KEPT bits, which changes a weight by a factor near 1.
        assert exact / 98 <= score <= exact / 98 * (1 + 2.0**-heavy_keys.KEPT) ** 8


def test_lewis_weights_leave_fewer_keys_than_none():
    rng = np.random.default_rng(1)
    K = np.vstack([rng.standard_normal((500, 4)), 5 * np.eye(4)])
    plain = fastpath.heavy_keys(K, 0.5).scores
    unweighted = plain**2 * len(K)
    found = fastpath.heavy_keys(K, 0.5, power=4)
    assert found.scores.sum() < 1.1 * 4**2 < unweighted.sum()


@given(seed=st.integers(0, 10**6))
def test_keys_in_general_position(seed):
    rng = np.random.default_rng(seed)
    K = rng.standard_normal((int(rng.integers(1, 12)), int(rng.integers(1, 5))))
    K = np.round(K * 4) / rng.choice([1, 3, 4])
    found = fastpath.heavy_keys(K, float(rng.uniform(0.01, 1)))
    exact = leverage_scores(K.T)
    assert all(Fraction(float(s)) >= e for s, e in zip(found.scores, exact, strict=True))


# ----------------------------------------------------------------------- one pass, merged


def test_shards_merge_to_the_scores_of_all_keys():
    rng = np.random.default_rng(2)
    parts = [rng.standard_normal((30, 5)) * 2.0**e for e in (0, 40, -40, 3)]
    parts[3][:, 1] = 0
    total = fastpath.key_gram(parts[0])
    for part in parts[1:]:
        total = total.merge(fastpath.key_gram(part))
    exact = leverage_scores(np.vstack(parts).T)
    assert total.keys == 120
    for k, part in enumerate(parts):
        found = fastpath.heavy_keys(part, 0.1, gram=total)
        mine = exact[30 * k : 30 * (k + 1)]
        assert all(Fraction(float(s)) >= e for s, e in zip(found.scores, mine, strict=True))
        assert found.method == "gram"
        assert found.scores.sum() <= heavy_keys.ENOUGH * float(sum(mine)) + 2.0**-20


def test_a_merged_gram_matrix_that_proves_nothing_keeps_every_key_but_zeros():
    K = np.vstack([KEYS["integers of low rank"], np.zeros((1, 6))])
    found = fastpath.heavy_keys(K, 0.5, gram=fastpath.key_gram(K))
    assert found.method == "none"
    assert list(found.scores) == list(K.any(axis=1))


def lost(parts, total):
    """Return the exact squared Frobenius norm of what a Gram matrix lacks."""
    K = [
        [
            Fraction(float(x)) / Fraction(2) ** int(e)
            for x, e in zip(row, total.exponents, strict=True)
        ]
        for row in np.vstack(parts)
    ]
    d = len(total.exponents)
    return sum(
        (sum(row[a] * row[b] for row in K) - Fraction(float(total.matrix[a, b]))) ** 2
        for a in range(d)
        for b in range(d)
    )


@given(seed=st.integers(0, 10**6))
def test_the_loss_of_a_gram_matrix_bounds_what_was_lost(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 4))
    parts = [rng.standard_normal((3, d)) * 2.0 ** rng.integers(-60, 61, d) for _ in range(3)]
    first = fastpath.key_gram(parts[0])
    assert lost(parts[:1], first) <= Fraction(first.loss) ** 2
    total = first.merge(fastpath.key_gram(parts[1])).merge(fastpath.key_gram(parts[2]))
    assert lost(parts, total) <= Fraction(total.loss) ** 2


@given(seed=st.integers(0, 10**6), factor=st.booleans())
def test_errors_of_products_bound_what_rounding_did(seed, factor):
    rng = np.random.default_rng(seed)
    n, d = (int(k) for k in rng.integers(1, 5, 2))
    K, T = rng.standard_normal((n, d)), rng.standard_normal((d, d))
    roots = rng.integers(1, 256, n) / 256
    factors = np.power(roots, 2) if factor else None
    lengths, errors, _ = heavy_keys._products(K, heavy_keys._exponents(K), factors, T)
    scaled = np.ldexp(K, -heavy_keys._exponents(K))
    B = (scaled * (1 if factors is None else factors[:, None])) @ T
    for i in range(n):
        exact = [
            sum(
                Fraction(float(x)) * Fraction(float(t))
                for x, t in zip(scaled[i], column, strict=True)
            )
            * (Fraction(float(roots[i])) ** 2 if factor else 1)
            for column in T.T
        ]
        error = sum((e - Fraction(float(b))) ** 2 for e, b in zip(exact, B[i], strict=True))
        assert error <= Fraction(float(errors[i])) ** 2
        assert sum(Fraction(float(b)) ** 2 for b in B[i]) <= Fraction(float(lengths[i])) ** 2


# ------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        (([[1.0, np.nan]], 0.1), {}, ValueError, "K must be finite"),
        (([1.0, 2.0], 0.1), {}, ValueError, "K must be a matrix"),
        ((np.zeros((0, 2)), 0.1), {}, ValueError, "K must not be empty"),
        ((np.array([["a"]]), 0.1), {}, TypeError, "K must hold floats"),
        (([[1.0]], 0), {}, ValueError, "epsilon must be in (0, 1], got 0."),
        (([[1.0]], 1.5), {}, ValueError, "epsilon must be in (0, 1], got 1.5."),
        (([[1.0]], float("nan")), {}, ValueError, "epsilon must be in (0, 1], got nan."),
        (([[1.0]], Fraction(1, 10**400)), {}, ValueError, "epsilon must be in (0, 1]"),
        (([[1.0]], "a"), {}, TypeError, "epsilon must be a number, got 'a'."),
        (([[1.0]], True), {}, TypeError, "epsilon must be a number, got True."),
        (([[1.0]], 0.5), {"power": 3}, ValueError, "power must be even, got 3."),
        (([[1.0]], 0.5), {"power": 0}, ValueError, "power must be at least 2, got 0."),
        (([[1.0]], 0.5), {"power": 2.0}, TypeError, "power must be an integer, got 2.0."),
        (([[1.0]], 0.5), {"gram": np.eye(1)}, TypeError, "gram must be a KeyGram"),
        (
            ([[1.0]], 0.5),
            {"gram": fastpath.key_gram([[1.0, 2.0]])},
            ValueError,
            "gram must have as many columns as K, 1, got 2.",
        ),
        (
            ([[1.0], [1.0]], 0.5),
            {"gram": fastpath.key_gram([[1.0]])},
            ValueError,
            "gram must be of K's 2 keys at least, got one of 1.",
        ),
        (
            ([[4.0]], 0.5),
            {"gram": fastpath.key_gram([[1.0]])},
            ValueError,
            "gram must be of K's keys among others, got one of smaller entries in column 0.",
        ),
        (
            ([[1.0]], 0.5),
            {"gram": fastpath.key_gram([[1.0]]), "power": 4},
            ValueError,
            "gram must be None for a power other than 2, got power=4.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused_is_named(arguments, options, error, says):
    with pytest.raises(error) as refused:
        fastpath.heavy_keys(*arguments, **options)
    assert says in str(refused.value)


def test_gram_matrices_of_other_widths_do_not_merge():
    gram = fastpath.key_gram([[1.0]])
    with pytest.raises(ValueError, match=r"other must have as many columns, 1, got 2\."):
        gram.merge(fastpath.key_gram([[1.0, 2.0]]))
    with pytest.raises(TypeError, match="other must be a KeyGram"):
        gram.merge(np.eye(1))
