"""What P3's claims cite is tested here: moments by enumeration, tails exactly, probabilities by counts."""

from fractions import Fraction
from itertools import product
from math import ceil

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from reference import Enclosure, Verdict, distance, evaluate, loewner_verdict
from reference.arithmetic.gram import gram, gram_rank, leverage_scores
from specs import CLAIMS
from specs.sparsification.algorithms import Projection, Selection, length_failure
from specs.sparsification.loewner import Factored, gram_products
from tests.judging import most_failures

BOUNDS = {b.name: b for c in CLAIMS.values() for b in c.bounds}


def value(name, **parameters):
    """Enclose a bound at given parameters."""
    return evaluate(BOUNDS[name].expression, parameters, 256)


def width(name, **parameters):
    """Round a width up to whole columns."""
    return ceil(value(name, **parameters).bounds()[1].item())


def test_the_largest_number_of_failures_is_the_binomials_quantile():
    """Of two trials at 1/2, both fail once in four: too often to alarm."""
    assert most_failures(2, Fraction(1, 2)) == 2
    assert most_failures(100, Fraction(1, 10**12)) == 0


# ---------------------------------------------------------------------------------- P3.goal


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-4, 0.03, 0.3]))
def test_every_y_of_logits_below_r_meets_the_goal_up_to_a_factor_2(seed, scale):
    """Two matrices within the bound of Y = 0 are within twice the bound of each other."""
    rng = np.random.default_rng(seed)
    X, Y = (scale * rng.uniform(-1, 1, (4, 1)) for _ in range(2))
    r = max(abs(gram(X)).max(), abs(gram(Y)).max())
    twice = value("p3_goal_row", logit_bound=r).bounds()[0].item() * 2
    assert distance(X, Y).row.bounds()[0].item() <= twice


@given(
    n=st.integers(1, 1000),
    r=st.fractions(0, 5, max_denominator=100),
    e=st.fractions(0, 1, max_denominator=100),
)
def test_the_entry_bound_is_below_the_one_of_ratios(n, r, e):
    """Ratios of e^{2 eps r}, from the largest weight: (e^{2r}/(e^{2r}+n-1)) (e^{2 eps r} - 1)."""
    usual = value("softmax_range_upper", n=n, logit_bound=r) * value("softmax_entry", eta=e * r)
    ours = value("loewner_entry", n=n, logit_bound=r, epsilon=e)
    assert ours.bounds()[0].item() <= usual.bounds()[1].item()


# ----------------------------------------------------------------- P3.sketches, P3.randomised


def sketches(columns, buckets):
    """Yield every CountSketch, as a matrix, of so many columns into so many buckets."""
    for places in product(range(buckets), repeat=columns):
        for signs in product((-1, 1), repeat=columns):
            S = np.zeros((columns, buckets), dtype=object)
            S[range(columns), places] = signs
            yield S


@pytest.mark.parametrize(
    "rows", [[[3, 4, 0, 0]], [[1, 1, 1, 1]], [[1, 1, 1, 1], [1, -1, 1, -1]]], ids=str
)
def test_the_second_moment_of_countsketch_is_what_the_claim_computes(rows):
    """Over all maps and signs: mean ‖UᵀSᵀSU − I‖_F² = (k² + k − 2 Σ l_c²)/m, exactly."""
    X, buckets = np.array(rows, dtype=object), 3
    k, length = len(X), Fraction(int((X[0] ** 2).sum()))  # the rows are orthogonal, of equal length
    errors = []
    for S in sketches(X.shape[1], buckets):
        Y = X.dot(S)
        errors.append(((Y.dot(Y.T) / length - np.eye(k, dtype=int)) ** 2).sum())
    scores = leverage_scores(X)
    moment = Fraction(k * k + k - 2 * sum(s * s for s in scores), buckets)
    assert sum(errors) / len(errors) == moment


def test_countsketch_fails_no_more_often_than_stated():
    rng = np.random.default_rng(7)
    X = rng.integers(-4, 5, (3, 60)).astype(float)
    epsilon, delta, trials = Fraction(1, 2), Fraction(1, 10), 200
    m = width("osnap_width", n=3, epsilon=epsilon, failure_probability=delta)
    failures = 0
    for _ in range(trials):
        S = np.zeros((60, m))
        S[np.arange(60), rng.integers(0, m, 60)] = rng.choice([-1.0, 1.0], 60)
        failures += loewner_verdict(X, X @ S, epsilon) is Verdict.OUTSIDE
    assert failures <= most_failures(trials, delta)


def test_leverage_sampling_fails_no_more_often_than_stated():
    """A coherent X: two columns are all that two directions have."""
    rng = np.random.default_rng(8)
    X = np.hstack([np.eye(3), np.array([[1.0], [0], [0]]) * rng.integers(1, 5, 40)])
    scores, k = leverage_scores(X), gram_rank(X)
    epsilon, delta, trials = Fraction(1, 2), Fraction(1, 10), 200
    m = width("leverage_width", rank=k, epsilon=epsilon, failure_probability=delta, overestimate=1)
    probabilities = np.array([float(s / k) for s in scores])
    failures = 0
    for _ in range(trials):
        counts = rng.multinomial(m, probabilities / probabilities.sum())
        weights = [int(c) * k / (m * s) for c, s in zip(counts, scores, strict=True)]
        failures += loewner_verdict(X, X, epsilon, weights=weights) is Verdict.OUTSIDE
    assert failures <= most_failures(trials, delta)


# -------------------------------------------------------------------------------------- P3.jl


@pytest.mark.parametrize("ones", [1, 4])
@pytest.mark.parametrize("epsilon", [Fraction(1, 10), Fraction(1, 2), Fraction(9, 10)])
def test_failures_of_a_projected_length_are_those_that_counting_all_signs_gives(ones, epsilon):
    for m in (1, 2, 3):
        signs = np.array(list(product((1, -1), repeat=ones * m))).reshape(-1, ones, m)
        lengths = (signs.sum(axis=1) ** 2).sum(axis=1)
        failures = sum(abs(Fraction(int(t), ones * m) - 1) > epsilon for t in lengths)
        assert length_failure(m, epsilon, ones) == Fraction(failures, len(signs))


def test_a_projection_by_signs_fails_no_more_often_than_stated():
    rng = np.random.default_rng(9)
    X = rng.standard_normal((6, 300))
    G = X @ X.T
    lengths = np.sqrt(np.outer(G.diagonal(), G.diagonal()))
    epsilon, delta, trials = Fraction(1, 2), Fraction(1, 10), 300
    m = width("jl_width", n=6, epsilon=epsilon, failure_probability=delta)
    failures = 0
    for _ in range(trials):
        Y = X @ rng.choice([-1.0, 1.0], (300, m)) / m**0.5
        failures += bool((abs(Y @ Y.T - G) > float(epsilon) * lengths).any())
    assert failures <= most_failures(trials, delta)


def test_chernoffs_exponent_is_what_the_width_is_the_reciprocal_of():
    """e - ln(1+e) >= e²/2 - e³/3, with equality to third order at 0."""
    e = sympy.Symbol("e", positive=True)
    gap = e - sympy.log(1 + e) - (e**2 / 2 - e**3 / 3)
    assert sympy.series(gap, e, 0, 4).removeO() == 0
    assert sympy.simplify(sympy.diff(gap, e) - e**3 / (1 + e)) == 0


@given(st.integers(1, 10**6), st.fractions(Fraction(1, 100), Fraction(99, 100)))
def test_the_entrywise_width_does_not_know_the_rank(rows, epsilon):
    """Doubling n adds 2 ln 2 / (eps²/4 - eps³/6) columns, not a factor."""
    delta = Fraction(1, 100)
    once, twice = (
        value("jl_width", n=n, epsilon=epsilon, failure_probability=delta) for n in (rows, 2 * rows)
    )
    step = evaluate(2 * sympy.log(2), {}, 256) / Enclosure.exact(
        epsilon**2 / 4 - epsilon**3 / 6, 256
    )
    gap = abs(twice - once - step)
    assert gap.bounds()[0].item() <= 0


# ------------------------------------------------------------------- P3.deterministic, P3.gram


def test_the_barriers_are_feasible():
    """1/δ_U + ε_U = 1/δ_L − ε_L: the averaging argument just finds a column at every step."""
    q = sympy.Symbol("q", positive=True)
    root = sympy.sqrt(q)
    upper = (root - 1) / (root + 1) + (root - 1) / (q + root)
    assert sympy.simplify(upper - (1 - 1 / root)) == 0


def barrier_selection(X, q):
    """Select as Batson, Spielman and Srivastava do, scanning every column; return exact weights."""
    root, n = q**0.5, len(X)
    values, vectors = np.linalg.eigh(X @ X.T)
    V = (vectors / np.sqrt(values)).T @ X  # V Vᵀ = I
    low, high = -n * root, n * (q + root) / (root - 1)
    pace = (root + 1) / (root - 1)
    A, weights, identity = np.zeros((n, n)), np.zeros(X.shape[1]), np.eye(n)
    for _ in range(ceil(q * n)):
        above, below = (np.linalg.inv(high * identity - A), np.linalg.inv(A - low * identity))
        high, low = high + pace, low + 1
        after, beneath = np.linalg.inv(high * identity - A), np.linalg.inv(A - low * identity)
        cost = ((after @ V) ** 2).sum(0) / np.trace(above - after) + (V * (after @ V)).sum(0)
        gain = ((beneath @ V) ** 2).sum(0) / np.trace(beneath - below) - (V * (beneath @ V)).sum(0)
        best = np.argmax(gain - cost)
        step = 2 / (cost[best] + gain[best])
        A += step * np.outer(V[:, best], V[:, best])
        weights[best] += step
    return [Fraction(w) * 2 / Fraction(high + low) for w in weights]


INSTANCES = {
    "random": lambda rng: rng.standard_normal((4, 30)),
    "coherent": lambda rng: np.hstack([np.eye(4), 0.01 * rng.standard_normal((4, 30))]),
    "identity and zeros": lambda rng: np.hstack([np.eye(3), np.zeros((3, 5))]),
    "repeated columns": lambda rng: np.repeat(rng.standard_normal((3, 5)), 4, axis=1),
    "badly scaled rows": lambda rng: np.array([[1.0], [100.0], [0.01]]) * rng.random((3, 20)),
}


@pytest.mark.parametrize("q", [1.5, 2.0, 4.0, 9.0])
@pytest.mark.parametrize("name", INSTANCES)
def test_the_textbooks_selection_meets_its_epsilon_by_an_exact_certificate(name, q):
    X = INSTANCES[name](np.random.default_rng(10))
    weights = barrier_selection(X, q)
    epsilon = value("bss_epsilon", oversampling=Fraction(q)).bounds()[0].item()
    assert sum(w > 0 for w in weights) <= ceil(q * len(X))
    assert loewner_verdict(X, X, epsilon, weights=weights) is Verdict.WITHIN


def test_counting_with_strassen_stays_within_the_claim_at_every_power_of_two():
    bound = BOUNDS["gram_operations"]
    for k in range(1, 5):
        i = Factored(np.ones((2**k, 2 ** (k + 1))), strassen=True)
        least, _ = bound.value(i, 256).bounds()
        assert gram_products(i) <= least.item()


def test_more_columns_than_asked_bring_the_barriers_closer():
    claim = CLAIMS["P3.deterministic"]
    (bound,) = claim.bounds
    for q in (Fraction(3, 2), Fraction(7, 3), Fraction(100, 7)):
        i = Selection(np.eye(4), q)
        assert bound.quantity(i, 256).bounds()[0].item() <= bound.value(i, 256).bounds()[1].item()


def test_a_projection_wider_than_x_is_worth_nothing():
    """The cheapest answer, Y = X, is then within the bound: the claim is of use for large d only."""
    (bound,) = CLAIMS["P3.jl"].bounds
    small = Projection(8, 100, Fraction(1, 2), Fraction(1, 100))
    assert bound.trivial(small, 64).bounds()[1].item() <= bound.value(small, 64).bounds()[0].item()


def test_a_whole_number_of_columns_is_evaluated_without_a_radius():
    """Else a bound that is met exactly, as Carathéodory's is by nearly every X, stays undecided."""
    assert value("caratheodory_columns", n=7).radius == 0
