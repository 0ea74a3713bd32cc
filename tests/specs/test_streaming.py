"""What P2's claims cite or count is tested here: degrees, hashes, failures, states, and what falls with n."""

from fractions import Fraction
from functools import cache
from itertools import product
from math import ceil, comb, factorial
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from reference import Enclosure, attention, evaluate, kappa
from reference.arithmetic.gram import gram_rank
from reference.moments import moments
from reference.polynomial_weights import polynomial_attention
from reference.polynomials import levelled_ratio
from reference.sparse_tail import best_sparse, sparse_tail
from specs import CLAIMS
from specs.polynomial.weights import taylor
from specs.streaming.recovery import Kept, Recovered, kept_by_heap, majority_misses, misses
from tests.specs.test_sparsification import most_failures

BOUNDS = {b.name: b for c in CLAIMS.values() for b in c.bounds}


def value(name, **parameters):
    """Enclose a bound at given parameters."""
    return evaluate(BOUNDS[name].expression, parameters, 256)


def lower(enclosure):
    return enclosure.bounds()[0].item()


def upper(enclosure):
    return enclosure.bounds()[1].item()


# ------------------------------------------------------------------- P2.poly, P2.minimax: degrees


def chebyshev(degree, radius):
    """The truncated Chebyshev series of exp on [-radius, radius], rounded to rationals."""
    with mpmath.workdps(60):
        x = mpmath.mpf(1) / radius
        T = [[mpmath.mpf(1)], [mpmath.mpf(0), x]]
        while len(T) <= degree:
            doubled = [mpmath.mpf(0)] + [2 * x * c for c in T[-1]]
            T.append([a - b for a, b in zip(doubled, T[-2] + [0, 0], strict=True)])
        total = [mpmath.mpf(0)] * (degree + 1)
        for k, polynomial in enumerate(T[: degree + 1]):
            for m, c in enumerate(polynomial):
                total[m] += c * (2 if k else 1) * mpmath.besseli(k, radius)
        return [to_fraction(c) for c in total]


@cache
def minimax(degree, radius):
    """The relative minimax polynomial, by a few steps of Remez's exchange, rounded to rationals."""
    with mpmath.workdps(60):
        x = [-radius * mpmath.cos(mpmath.pi * k / (degree + 1)) for k in range(degree + 2)]
        for _ in range(6):
            A = mpmath.matrix(degree + 2, degree + 2)
            for row, t in enumerate(x):
                for m in range(degree + 1):
                    A[row, m] = (t / radius) ** m * mpmath.exp(-t)
                A[row, degree + 1] = (-1) ** row
            solved = mpmath.lu_solve(A, mpmath.matrix([1] * (degree + 2)))
            c = [solved[m] / mpmath.mpf(radius) ** m for m in range(degree + 1)]
            slope = [(m + 1) * c[m + 1] - c[m] if m < degree else -c[m] for m in range(degree + 1)]
            roots = mpmath.polyroots(slope[::-1], maxsteps=500, extraprec=400) if degree else []
            # An alternation of degree + 2 levels turns degree times inside: at every root.
            inside = sorted(r.real for r in roots)
            x = [mpmath.mpf(-radius), *inside, mpmath.mpf(radius)]
            assert x == sorted(x)
        return [to_fraction(t) for t in c]


def to_fraction(x):
    return Fraction(int(mpmath.nint(x * 2**160)), 2**160)


def relative_error(P, radius):
    """Enclose (kappa - 1)/(kappa + 1), the relative error of the best multiple of P."""
    k = kappa(P, radius, precision=160)
    return (k - 1) / (k + 1)


@pytest.mark.parametrize(
    ("radius", "degrees"),
    [(1, (6, 5, 4)), (2, (9, 7, 6)), (4, (17, 12, 9)), (8, (31, 20, 14))],
    ids=str,
)
def test_the_degree_for_a_thousandth_by_taylor_chebyshev_and_minimax(radius, degrees):
    """The stated degree is enough, the one below is not; for minimax it is so for every polynomial."""
    tolerance = Fraction(1, 1000)
    for name, expand, degree in zip(
        ("taylor", "chebyshev", "minimax"),
        (lambda g, b: taylor(g), chebyshev, minimax),
        degrees,
        strict=True,
    ):
        assert upper(relative_error(expand(degree, radius), radius)) <= tolerance, name
        if name != "minimax":
            try:
                below = lower(relative_error(expand(degree - 1, radius), radius))
            except ValueError:  # not even positive
                continue
            assert below > tolerance, name
    floor = levelled_ratio(minimax(degrees[2] - 1, radius), radius, precision=160)
    assert lower((floor - 1) / (floor + 1)) > tolerance


@pytest.mark.parametrize("degree", range(2, 12))
@pytest.mark.parametrize("radius", [Fraction(1, 4), Fraction(1)])
def test_kappa_of_taylors_polynomial_is_below_what_s_taylor_gives(degree, radius):
    E = value("taylor_relative", degree=degree, radius=radius)
    assert upper(kappa(taylor(degree), radius, precision=256)) <= upper((1 + E) / (1 - E))


@given(st.integers(0, 10**6))
def test_no_polynomial_of_degree_4_beats_the_floor(seed):
    """Random ones near the minimax polynomial, in every direction."""
    rng = np.random.default_rng(seed)
    P = minimax(4, 1)
    floor = lower(levelled_ratio(P, 1))
    other = [c * (1 + Fraction(float(rng.normal(0, 10.0 ** -rng.integers(2, 7))))) for c in P]
    assert upper(kappa(other, 1)) >= floor


# --------------------------------------------------------------------------- P2.error, P2.onepass


def test_the_error_falls_with_n_and_memory_grows_like_a_power_of_log_n():
    """Less than 2 e max|V|/n, and at most (d_v + 1)(d + log2 n)^d numbers."""
    e = evaluate(sympy.E, {}, 256)
    for level in range(2, 31):
        error = value("error_output", doublings=level, half_range=1, magnitude=1)
        assert upper(error) <= lower(2 * e / 2**level)
        for d in (1, 2, 4, 8):
            numbers = value("error_numbers", doublings=level, variables=d, values=d)
            assert upper(numbers) <= (d + 1) * (d + level) ** d


def test_with_a_fixed_degree_the_error_does_not_fall():
    """Every key twice: the same output, the same error, for n and 2 n."""
    rng = np.random.default_rng(1)
    Q, K, V = rng.uniform(-1, 1, (2, 2)), rng.uniform(-1, 1, (5, 2)), rng.uniform(-1, 1, (5, 1))

    def error(copies):
        k, v = (np.repeat(X, copies, axis=0) for X in (K, V))
        return abs(polynomial_attention(Q, k, v, taylor(2)) - attention(Q, k, v)).max()

    once, eight_times = error(1), error(8)
    assert lower(once) > 0
    assert lower(abs(once - eight_times)) <= 0


@pytest.mark.parametrize("n", [0, 1, 10, 100])
def test_as_many_numbers_are_kept_of_any_number_of_keys(n):
    state = moments(np.ones((n, 3)), np.ones((n, 2)), 4)
    stated = value("moment_numbers", variables=3, degree=4, values=2)
    assert lower(stated) == upper(stated) == sum(len(S) for S in state.values())


# -------------------------------------------------------------------------------------- P2.space


def test_a_sketch_of_fewer_than_d_rows_loses_rank_and_so_cannot_be_right():
    """U2ᵀΨᵀΨV has rank at most m2 whatever Ψ is; U2ᵀV has rank d."""
    rng = np.random.default_rng(2)
    U, V = rng.integers(-3, 4, (20, 6)).astype(object), rng.integers(-3, 4, (20, 3)).astype(object)
    assert gram_rank(U.T.dot(V)) == 3
    for rows in (1, 2):
        Psi = rng.integers(-1, 2, (rows, 20)).astype(object)
        assert gram_rank(U.T.dot(Psi.T).dot(Psi.dot(V))) <= rows


@given(
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(0, 50),
    st.integers(1, 100),
    st.integers(1, 50),
)
def test_each_dominating_design_is_smaller_whenever_the_sketch_has_rank_enough(
    d, degree, more, rows, k
):
    t = comb(d + degree, degree)
    assert t * d < (d + more) * (t + d)
    assert rows * d < rows * t
    assert 2 * k * d <= max(rows, 2 * k) * t


@pytest.mark.parametrize(("columns", "doublings"), [(2, 3), (4, 9), (8, 22), (10, 28), (16, 48)])
def test_at_one_degree_memory_is_sublinear_from_far_beyond_two_to_the_d_on(columns, doublings):
    """C(d + g, g)(d_v + 1) < n (d + d_v) at n = 2^g, the degree at which P2.error's error falls."""
    (numbers,) = (b for b in CLAIMS["P2.error"].bounds if b.name == "error_numbers")

    def vacuous(level):
        names = {"doublings": level, "variables": columns, "values": columns}
        return bool(
            numbers.vacuous_where.subs(
                {s: names[s.name] for s in numbers.vacuous_where.free_symbols}
            )
        )

    assert vacuous(doublings - 1)
    assert not any(vacuous(level) for level in range(doublings, doublings + 20))
    assert doublings > columns


# ----------------------------------------------------------------------------------- P2.recovery


@given(
    st.lists(st.integers(-4, 4), min_size=2, max_size=4),
    st.integers(2, 3),
    st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(3)]),
)
def test_the_probability_of_a_miss_is_that_of_all_hashes_and_signs(column, buckets, accuracy):
    """By counting every function from coordinates to buckets, and every choice of signs."""
    x, k = tuple(map(Fraction, column)), 1
    i = Recovered(x, x, x, k, accuracy, Fraction(0), buckets, 0)
    kept = set(best_sparse(x, k))
    tail = sum((a * a for j, a in enumerate(x) if j not in kept), Fraction(0))
    found = [0] * len(x)
    for h in product(range(buckets), repeat=len(x)):
        for s in product((-1, 1), repeat=len(x)):
            bucket = [sum(s[j] * x[j] for j in range(len(x)) if h[j] == b) for b in range(buckets)]
            for j in range(len(x)):
                found[j] += k * (s[j] * bucket[h[j]] - x[j]) ** 2 >= accuracy**2 * tail
    assert misses(i) == Fraction(max(found), (2 * buckets) ** len(x))


@pytest.mark.parametrize("half", [0, 1, 2, 3])
def test_a_median_misses_only_if_most_rows_do(half):
    """By counting all patterns of rows that miss, each with its probability."""
    p, rows = Fraction(1, 7), 2 * half + 1
    counted = sum(
        p ** sum(w) * (1 - p) ** (rows - sum(w))
        for w in product((0, 1), repeat=rows)
        if sum(w) > half
    )
    assert majority_misses(p, half) == counted


@given(st.integers(1, 20), st.fractions(0, 1))
def test_the_median_bound_is_not_below_the_binomial_tail(half, p):
    bound = value("recovery_failure", half_rows=half, row_failure=p)
    assert majority_misses(p, half) <= upper(bound)


def test_a_countsketch_recovers_a_column_as_often_as_stated():
    """All coordinates within accuracy tail/√k, and then the k largest within the ratio, by counts."""
    rng = np.random.default_rng(5)
    n, k, half, accuracy, trials = 60, 3, 2, Fraction(1), 200
    x = [Fraction(int(v)) for v in rng.integers(-3, 4, n)]
    for heavy in (4, 17, 40):
        x[heavy] = Fraction(100)
    row, wanted = Fraction(1, 80), Fraction(1, 10)
    buckets = ceil(
        upper(value("recovery_row_failure", sparsity=k, buckets=1, accuracy=accuracy)) / row
    )
    stated = n * upper(value("recovery_failure", half_rows=half, row_failure=row))
    assert stated <= wanted
    tail = sparse_tail(x, k, precision=128)
    ratio = value("recovery_ratio", accuracy=accuracy)
    integers = np.array([int(v) for v in x])
    failures = 0
    for _ in range(trials):
        estimates = []
        for _ in range(2 * half + 1):
            h, s = rng.integers(0, buckets, n), rng.choice([-1, 1], n)
            table = np.zeros(buckets, dtype=np.int64)
            np.add.at(table, h, s * integers)
            estimates.append(s * table[h])
        middle = np.median(np.array(estimates), axis=0).astype(int)
        error = [(int(m) - v) ** 2 for m, v in zip(middle, x, strict=True)]
        missed = max(error) * k > accuracy**2 * sum(v * v for v in x if abs(v) < 100)
        failures += missed
        if not missed:
            kept = set(best_sparse([int(m) for m in middle], k))
            gap = sum(error[j] if j in kept else x[j] ** 2 for j in range(n))
            assert lower(Enclosure.exact(gap, 128).sqrt()) <= upper(ratio * tail)
    assert failures <= most_failures(trials, stated)


# --------------------------------------------------------------------------------------- P2.heap


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=30), st.integers(1, 6))
def test_a_heap_ends_with_the_best_k_sparse_vector_in_any_order(column, k):
    x = tuple(map(Fraction, column))
    kept = kept_by_heap(x, k)
    assert [row for row, _ in kept] == best_sparse(x, k)
    assert all(x[row] == entry for row, entry in kept)


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=8),
    st.lists(st.sampled_from([-1, 0, 1]), min_size=8, max_size=8),
    st.integers(1, 4),
)
def test_a_heap_is_within_its_excess_whatever_the_errors_are(column, errors, k):
    """Errors of full size, ties included; the claim's own samples are smooth."""
    (bound, _) = CLAIMS["P2.heap"].bounds
    exact = tuple(map(Fraction, column))
    computed = tuple(x + e for x, e in zip(exact, errors, strict=False))
    i = Kept((exact,), (computed,), k, Fraction(1))
    assert lower(bound.quantity(i, 256)) <= upper(bound.value(i, 256))


@given(st.integers(1, 100), st.integers(1, 10**7), st.fractions(0, 1))
def test_the_heaps_excess_is_below_the_papers_as_soon_as_n_exceeds_5k_over_4(k, n, error):
    """4 TV max|V| √n is 2 entry_error √n."""
    ours = value("heap_excess", sparsity=k, entry_error=error)
    papers = value("recovery_error", ratio=1, tail=0, n=n, entry_error=error)
    if 4 * n >= 5 * k:
        assert lower(ours) <= upper(papers)
    elif error > 0:
        assert upper(papers) < lower(ours)


# ---------------------------------------------------------------------------- P2.compressibility


@pytest.mark.parametrize("k", [1, 10])
def test_bounded_logits_leave_a_column_dense(k):
    """With logits to 1/2 and 1000 k rows, the k largest entries have less than 6 % of the square."""
    rho = value("compressibility_ratio", n=10**6, logit_bound=Fraction(1, 2))
    share = value("compressibility_share", queries=1000 * k, sparsity=k, ratio=rho)
    assert upper(share) < Fraction(6, 100)
    wide = value("compressibility_ratio", n=10**6, logit_bound=4)
    assert lower(
        value("compressibility_share", queries=1000 * k, sparsity=k, ratio=wide)
    ) > Fraction(99, 100)


def test_no_column_of_a_real_head_is_nearly_sparse():
    """Values of both signs: measured, not bounded.  A tenth of the rows misses a quarter and more."""
    path = Path(__file__).parents[2] / "proofs" / "data" / "golden_n64.npz"
    with np.load(path, allow_pickle=False) as outputs:
        columns = [y for name in outputs.files for y in outputs[name].T]
    for y in columns:
        whole = sparse_tail(y, 0)
        assert lower(4 * sparse_tail(y, len(y) // 10)) > upper(whole)


@given(st.integers(1, 10**6), st.fractions(0, 5))
def test_the_ratio_is_below_the_one_that_does_not_know_n(n, r):
    """e^{4r}."""
    usual = value("softmax_ratio", eta=2 * r)
    assert lower(value("compressibility_ratio", n=n, logit_bound=r)) <= upper(usual)


def test_the_taylor_coefficients_are_reciprocals_of_factorials():
    assert taylor(4) == tuple(1 / Fraction(factorial(k)) for k in range(5))
