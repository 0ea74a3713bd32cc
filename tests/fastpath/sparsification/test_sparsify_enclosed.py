"""sparsify against the definitions: Gram matrices exactly, attention enclosed, probabilities counted."""

import functools
import importlib
import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import fastpath
from fastpath.core.bounds.sparsification import bss_epsilon, jl_width, osnap_width
from fastpath.sparsification.barriers import barrier_columns
from fastpath.sparsification.certificate import range_factor
from fastpath.sparsification.feature_matrix import FeatureMatrix
from fastpath.sparsification.leverage import leverage_scores, poisson_columns
from fastpath.sparsification.sketches import osnap
from reference import Verdict, decide, distance, loewner_verdict
from reference.arithmetic.gram import gram, gram_rank, semidefinite
from reference.arithmetic.gram import leverage_scores as exact_scores
from tests.judging import FALSE_ALARM, most_failures
from tests.strategies import feature_matrices

#: The module, whose name in the package is that of its function.
GRAM = importlib.import_module("fastpath.sparsification.gram")

DATA = Path(__file__).parents[3] / "proofs" / "data" / "extras.npz"


def dense(X: Any) -> Any:
    return X.toarray() if sp.issparse(X) else np.asarray(X)


def exactly(x: float) -> Fraction:
    return Fraction(float(x))


def check(X: Any, result: fastpath.Sparsified, guarantee: str) -> None:
    """Decide every number of a result that is certified."""
    X, Y = dense(X), np.asarray(result.Y)
    G, H = gram(X), gram(Y)
    epsilon, slack = exactly(result.epsilon), exactly(result.slack)
    if guarantee == "entrywise":
        lengths = np.multiply.outer(G.diagonal(), G.diagonal())
        assert (epsilon**2 * lengths >= (H - G) ** 2).all()
    else:
        more = slack * np.diag(G.diagonal())
        assert semidefinite((1 + epsilon) * G + more - H)
        assert semidefinite(H - (1 - epsilon) * G + more)
    assert abs(H - G).max() <= exactly(result.logit_error)
    # More than the trivial bounds would be a loose certificate.
    assert result.entry_error <= 1
    assert result.row_error <= 2
    if result.columns is not None:
        weights = np.sqrt(result.weights).astype(Y.dtype)
        assert np.array_equal(Y, X[:, result.columns].astype(Y.dtype) * weights)
    # No enclosure decides that nothing is at most nothing, and weights that are zero to thousands of
    # bits cost hours; the logits, which are decided above, imply the rest by P3.loewner.
    if (G == H).all() or max(G.diagonal()) > 10**4:
        return
    enclosed = functools.cache(lambda precision: distance(X, Y, precision=precision))
    for name, bound in (("entry", result.entry_error), ("row", result.row_error)):
        verdict, _ = decide(lambda p, n=name: getattr(enclosed(p), n), 0, bound)  # type: ignore[misc]
        assert verdict is Verdict.WITHIN, name


def _coherent(rng: np.random.Generator, n: int, d: int) -> Any:
    X = rng.standard_normal((n, d))
    X[:, 0] *= 30
    X[:, 1] *= 100
    X[n // 2, 2] = 1e3
    return X


def _instances() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    few = rng.standard_normal((8, 8)) * 10.0 ** -np.arange(8)
    return {
        "gaussian": 0.2 * rng.standard_normal((9, 300)),
        "coherent": _coherent(rng, 9, 300),
        "identity and zeros": np.hstack([np.eye(9), np.zeros((9, 100))]),
        "repeated columns": np.repeat(rng.standard_normal((8, 3)), 40, axis=1),
        "repeated rows": np.repeat(rng.standard_normal((4, 120)), 3, axis=0),
        "zero rows": rng.standard_normal((9, 150)) * (np.arange(9) % 2)[:, None],
        "rank one": np.outer(rng.standard_normal(9), rng.standard_normal(120)),
        "one row": rng.standard_normal((1, 200)),
        "all zero": np.zeros((4, 100)),
        "stored zeros only": sp.csr_array((4, 100)),
        "ill-conditioned": few @ rng.standard_normal((8, 200)),
        "float32": rng.standard_normal((10, 300)).astype(np.float32),
        "Fortran order": np.asfortranarray(rng.standard_normal((10, 300))),
        "CSR": sp.random(9, 900, 0.05, format="csr", random_state=1),
        "CSC float32": sp.random(9, 900, 0.05, format="csc", random_state=1, dtype=np.float32),
        "integers": rng.integers(-3, 4, (6, 120)),
        "tiny": np.ldexp(rng.standard_normal((6, 120)), -245),
        "huge": np.ldexp(rng.standard_normal((6, 120)), 245),
    }


INSTANCES = _instances()

CALLS = [
    ("exact", "gram", None),
    *(("loewner", m, 0.8) for m in ("gram", "gram-of-sketch", "osnap", "countsketch", "leverage")),
    ("entrywise", "gram", 0.9),
    ("entrywise", "jl", 0.9),
    ("columns", "bss", 0.9),
    ("columns", "leverage", 0.9),
    ("columns", "caratheodory", None),
]


@pytest.mark.parametrize(("guarantee", "method", "epsilon"), CALLS)
@pytest.mark.parametrize("name", INSTANCES)
def test_a_result_keeps_what_it_promises(
    name: str, guarantee: str, method: str, epsilon: float | None
) -> None:
    X, rng = INSTANCES[name], np.random.default_rng(1)
    result = fastpath.sparsify(X, guarantee=guarantee, method=method, epsilon=epsilon, rng=rng)
    check(X, result, guarantee)
    assert result.failure_probability is None
    assert result.epsilon + result.slack <= (2**-20 if epsilon is None else epsilon)
    rank = gram_rank(dense(X))
    if method == "gram" or guarantee == "exact":
        assert result.Y.shape[1] <= max(rank, 1)
    if method == "caratheodory":
        assert result.Y.shape[1] <= max(rank * (rank + 1) // 2, 1)


@pytest.mark.parametrize(
    "X",
    [
        np.random.default_rng(0).standard_normal((20, 5)),
        np.random.default_rng(0).standard_normal((9, 1)),
        np.full((1, 1), 3.0),
    ],
    ids=["fewer columns than rows", "one column", "one entry"],
)
@pytest.mark.parametrize("guarantee", ["exact", "loewner", "entrywise", "columns"])
def test_a_matrix_that_is_narrow_already_is_kept(X: Any, guarantee: str) -> None:
    epsilon = None if guarantee == "exact" else 0.5
    result = fastpath.sparsify(X, guarantee=guarantee, epsilon=epsilon)
    check(X, result, guarantee)
    assert np.array_equal(result.Y, X)
    assert result.certificate == "copy"
    assert result.epsilon == result.slack == result.row_error == 0


@given(X=feature_matrices(), guarantee=st.sampled_from(["exact", "loewner", "entrywise"]))
@settings(max_examples=100)
def test_a_drawn_matrix_is_sparsified_within_its_certificate(X: Any, guarantee: str) -> None:
    epsilon = None if guarantee == "exact" else 0.5
    check(X, fastpath.sparsify(X, guarantee=guarantee, epsilon=epsilon), guarantee)


@given(X=feature_matrices(), method=st.sampled_from(["bss", "leverage", "caratheodory"]))
@settings(max_examples=60)
def test_drawn_matrices_keep_columns_within_the_certificate(X: Any, method: str) -> None:
    epsilon = None if method == "caratheodory" else 0.9
    rng = np.random.default_rng(0)
    result = fastpath.sparsify(X, guarantee="columns", method=method, epsilon=epsilon, rng=rng)
    check(X, result, "columns")


# ------------------------------------------------------------------------------ Gram matrices


def check_gram(X: Any, computed: fastpath.Gram) -> None:
    G = gram(dense(X))
    lengths = np.multiply.outer(G.diagonal(), G.diagonal())
    errors = np.vectorize(Fraction)(computed.matrix) - G
    assert (errors**2 <= exactly(computed.error) ** 2 * lengths).all()
    assert np.array_equal(computed.matrix, computed.matrix.T)


@given(X=feature_matrices())
@settings(max_examples=200)
def test_a_gram_matrix_is_within_the_bound_of_its_roundings(X: Any) -> None:
    check_gram(X, fastpath.gram(X))


def _cheapest(way: str, n: int, counts: int) -> Any:
    """Say what a column with 0, 1, ... entries costs each way, so that one way is the cheapest."""
    outer, product, sparse = np.full((3, counts), 2.0**40)
    if way == "outer products":
        outer[:] = 0
    elif way == "dense blocks":
        product[:] = 0
    elif way == "scipy":
        sparse[:] = 0
    else:
        outer[:3] = product[3:] = 0
    return np.stack([outer, product, sparse])


@pytest.mark.parametrize("way", ["outer products", "dense blocks", "scipy", "two ways at once"])
@given(X=feature_matrices().filter(sp.issparse), pairs=st.sampled_from([1, GRAM.PAIRS]))
def test_every_way_to_a_gram_matrix_of_sparse_rows_is_within_the_bound(
    way: str, X: Any, pairs: int
) -> None:
    """The drawn matrices are so small that one way is always the cheapest, unless it is said not to be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GRAM, "_costs", functools.partial(_cheapest, way))
        # One at a time: the pairs are then added up on the way, as those of a large matrix are.
        patch.setattr(GRAM, "PAIRS", pairs)
        check_gram(X, fastpath.gram(X))


# --------------------------------------------------------------------------- the certificate


def _pair(seed: int) -> tuple[Any, Any, float]:
    """Draw X and Y = X D for a diagonal D, and the exact epsilon between them."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    # With X = [M, M'] of powers of two on a diagonal, generalized eigenvalues are the squares of D.
    scales = 2.0 ** rng.integers(-3, 4, n)
    stretch = 1 + rng.uniform(-0.5, 0.5, n)
    mix = np.linalg.qr(rng.standard_normal((n, n)))[0]
    X = mix * scales
    Y = X * stretch
    return X, Y, float(np.abs(stretch**2 - 1).max())


@pytest.mark.parametrize("seed", range(100))
def test_the_certificate_separates_epsilon_to_six_digits(seed: int) -> None:
    """With M of full rank, the generalized eigenvalues of (M D² Mᵀ, M Mᵀ) are the squares of D."""
    X, Y, epsilon = _pair(seed)
    assert fastpath.certify_loewner(X, Y, epsilon * (1 + 1e-6))
    assert not fastpath.certify_loewner(X, Y, epsilon * (1 - 1e-6))


@pytest.mark.parametrize("seed", range(30))
def test_what_is_certified_is_so(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rng.integers(2, 9), 40))
    Y = X + 10.0 ** -rng.integers(1, 12) * rng.standard_normal(X.shape)
    closeness = fastpath.certified_closeness(X, Y)
    assert closeness.slack == 0
    assert loewner_verdict(X, Y, closeness.epsilon) is Verdict.WITHIN
    # Not much too large either: a millionth less, beyond rounding, is false.
    less = exactly(closeness.epsilon) * (1 - Fraction(1, 10**6)) - Fraction(1, 2**36)
    if less > 0:
        assert loewner_verdict(X, Y, less) is Verdict.OUTSIDE


def test_a_null_space_is_certified_with_a_slack_only() -> None:
    X = np.repeat(np.random.default_rng(0).standard_normal((4, 30)), 2, axis=0)
    assert not fastpath.certify_loewner(X, X, 0.5)
    assert fastpath.certify_loewner(X, X, 0.5, slack=1e-12)
    assert not fastpath.certify_loewner(X, X * 2, 0.5, slack=1e-12)


def test_a_row_that_x_has_not_is_never_close() -> None:
    X, Y = np.eye(3), np.eye(3)
    X[1] = 0
    assert not fastpath.certify_loewner(X, Y, 0.9)
    assert fastpath.certified_closeness(X, Y).epsilon == np.inf
    assert fastpath.entrywise_error(X, Y) == np.inf


# ------------------------------------------------------------------------------------- BSS


def _barrier_instances() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    found: dict[str, Any] = {}
    for k in range(16):
        n = int(rng.integers(1, 13))
        found[f"gaussian {k}"] = rng.standard_normal((n, 20 * n))
        found[f"coherent {k}"] = _coherent(rng, max(n, 2), 25 * n)
    for n in (1, 2, 3, 5, 8, 13):
        found[f"identity and zeros {n}"] = np.hstack([np.eye(n), np.zeros((n, 9 * n))])
        found[f"identity twice {n}"] = np.hstack([np.eye(n)] * 9)
        found[f"rank {n} of 13"] = rng.standard_normal((13, n)) @ rng.standard_normal((n, 120))
    return found


BARRIERS = _barrier_instances()


@pytest.mark.parametrize("name", BARRIERS)
def test_the_barrier_method_meets_its_guarantee_exactly(name: str) -> None:
    """Decided by elimination in integers on the method's own weights, at four columns a row."""
    X = BARRIERS[name]
    whitening = range_factor(fastpath.gram(X))[1]
    rank = len(whitening)
    columns, weights = barrier_columns(FeatureMatrix(entries=X), whitening, 4 * rank)
    assert len(columns) <= 4 * rank
    assert (weights > 0).all()
    guarantee = exactly(bss_epsilon(4.0))
    part = X[:rank]  # Any rows that span the others: rounding leaves their span by a little.
    assert gram_rank(part) == rank
    assert loewner_verdict(part, part[:, columns], guarantee, weights=weights) is Verdict.WITHIN


def test_the_barrier_method_errs_as_far_above_as_below() -> None:
    """Scaled otherwise the same columns would have a larger epsilon."""
    X = BARRIERS["gaussian 3"]
    columns, weights = barrier_columns(
        FeatureMatrix(entries=X), range_factor(fastpath.gram(X))[1], 4 * len(X)
    )
    G, H = gram(X), gram(X[:, columns] * np.sqrt(weights))
    epsilon = fastpath.certified_closeness(
        fastpath.gram(X), fastpath.gram(X[:, columns] * np.sqrt(weights))
    ).epsilon
    less = Fraction(99, 100) * exactly(epsilon)
    assert not semidefinite((1 + less) * G - H)
    assert not semidefinite(H - (1 - less) * G)


def test_walking_down_the_tree_is_as_good_as_its_guarantee_with_any_block() -> None:
    X = np.random.default_rng(5).standard_normal((6, 200))
    whitening = range_factor(fastpath.gram(X))[1]
    for block in (1, 7, 200):
        columns, weights = barrier_columns(FeatureMatrix(entries=X), whitening, 18, block=block)
        verdict = loewner_verdict(X, X[:, columns], float(bss_epsilon(3.0)), weights=weights)
        assert verdict is Verdict.WITHIN


# --------------------------------------------------------------------- what is only probable


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "CSR"])
@pytest.mark.parametrize("method", ["osnap", "countsketch"])
def test_a_sketch_of_the_claimed_width_fails_no_more_often_than_claimed(
    method: str, sparse: bool
) -> None:
    """P3.sketches: 200 draws at failure probability 1/4, epsilon 1/2; [I, 0] is the hard one."""
    X = np.hstack([np.eye(4), np.zeros((4, 400))])
    delta, trials = Fraction(1, 4), 200
    places = {"osnap": 2, "countsketch": 1}[method]
    width = -(-int(np.ceil(float(osnap_width(4, 0.5, 0.25)))) // places) * places
    rng = np.random.default_rng(2)
    given_x = sp.csr_array(X) if sparse else X
    failures = 0
    for _ in range(trials):
        Y = osnap(
            fastpath.sparsification.feature_matrix.feature_matrix(given_x),
            width,
            rng,
            sparsity=places,
        )
        failures += loewner_verdict(X, dense(Y), 0.5) is not Verdict.WITHIN
    assert failures <= most_failures(trials, delta)


def test_half_the_width_and_one_place_fail_more_often_than_the_claim_allows() -> None:
    """The test above can fail: with n buckets for n unit columns CountSketch almost always collides."""
    X = sp.csr_array(np.hstack([np.eye(6), np.zeros((6, 60))]))
    rng = np.random.default_rng(2)
    failures = sum(
        loewner_verdict(X.toarray(), osnap(FeatureMatrix(entries=X), 6, rng, sparsity=1), 0.5)
        is not Verdict.WITHIN
        for _ in range(200)
    )
    assert failures > most_failures(200, Fraction(1, 4))


def test_a_projection_of_the_claimed_width_fails_no_more_often_than_claimed() -> None:
    """P3.jl: all pairs at once, 200 draws at failure probability 1/4."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((5, 400))
    G, trials = gram(X), 200
    lengths = np.multiply.outer(G.diagonal(), G.diagonal())
    width = int(np.ceil(float(jl_width(5, 0.5, 0.25))))
    failures = 0
    for _ in range(trials):
        H = gram(
            fastpath.sparsification.sketches.johnson_lindenstrauss(
                FeatureMatrix(entries=X), width, rng
            )
        )
        failures += not (Fraction(1, 4) * lengths >= (H - G) ** 2).all()
    assert failures <= most_failures(trials, Fraction(1, 4))


def test_poisson_sampling_keeps_the_gram_matrix_in_the_mean_and_heavy_columns_as_they_are() -> None:
    rng = np.random.default_rng(6)
    X = _coherent(rng, 4, 60)
    scores = leverage_scores(FeatureMatrix(entries=X), rng)
    columns, weights = poisson_columns(scores, 12, rng)
    kept = dict(zip(columns.tolist(), weights.tolist(), strict=True))
    assert kept[0] == kept[1] == kept[2] == 1.0
    trials = 20_000
    counts = np.zeros(60)
    seen: dict[int, float] = {}
    for _ in range(trials):
        columns, weights = poisson_columns(scores, 12, rng)
        counts[columns] += 1
        seen.update(zip(columns.tolist(), weights.tolist(), strict=True))
    for column, weight in seen.items():
        count = scipy.stats.binom(trials, 1 / weight)
        assert min(count.cdf(counts[column]), count.sf(counts[column] - 1)) >= FALSE_ALARM / 120


def test_estimated_leverage_scores_are_within_the_factor_that_the_width_pays_for() -> None:
    """leverage_width is called with overestimate 2: scores may be half of what they are, mostly."""
    rng = np.random.default_rng(8)
    X = rng.standard_normal((6, 100))
    exact = np.array([float(s) for s in exact_scores(X)])
    within = [
        (
            (leverage_scores(FeatureMatrix(entries=X), rng) >= exact / 2).mean(),
            leverage_scores(FeatureMatrix(entries=X), rng).sum(),
        )
        for _ in range(20)
    ]
    # A chi-squared variable of 16 degrees falls below half its mean with probability 0.051.
    assert sum(share for share, _ in within) / 20 > 1 - 2 * 0.051


# ------------------------------------------------------------------------------- real data


def _real() -> dict[str, Any]:
    with np.load(DATA, allow_pickle=False) as data:
        bow = sp.csr_array(
            tuple(data[f"X_bow_{part}"] for part in ("data", "indices", "indptr")),
            shape=tuple(data["X_bow_shape"]),
        )
        hidden = data["X_hidden_minilm_L3_n64_d384"][:16]
        return {"hidden states": hidden, "activations": data["X_ffn_minilm_L3_n32_d1536"][:16]} | {
            "bag of words": bow[:16]
        }


@pytest.mark.parametrize(
    ("guarantee", "method", "epsilon"), [c for c in CALLS if c[1] != "caratheodory"]
)
@pytest.mark.parametrize("name", ["hidden states", "activations", "bag of words"])
@pytest.mark.parametrize("scaled", [False, True], ids=["as they are", "with logits below 0.1"])
def test_real_features_keep_what_is_promised(
    name: str, scaled: bool, guarantee: str, method: str, epsilon: float | None
) -> None:
    X = _real()[name]
    if scaled:
        largest = np.sqrt(float(fastpath.gram(X).matrix.diagonal().max()) / 0.1)
        X = X * 2.0 ** -np.ceil(np.log2(largest))
    rng = np.random.default_rng(0)
    result = fastpath.sparsify(X, guarantee=guarantee, method=method, epsilon=epsilon, rng=rng)
    check(X, result, guarantee)


def _row_errors(X: Any, method: str) -> tuple[float, float, float, float]:
    """Return the largest row sums for sparsify at m = 1024 and for Y = 0, the bound and the doubt.

    The doubt is what the certificates of float64 attention leave open: an enclosure of 512 x 512
    weights would take minutes.
    """
    guarantee = {"jl": "entrywise", "bss": "columns"}.get(method, "loewner")
    width = None if method == "gram" else 1024
    rng = np.random.default_rng(1)
    result = fastpath.sparsify(X, guarantee=guarantee, method=method, width=width, rng=rng)
    assert result.Y.shape[1] <= 1.1 * 1024
    whole, part, zero = (
        fastpath.attention(Z, Z, np.eye(len(X))) for Z in (X, result.Y, np.zeros((len(X), 1)))
    )
    doubt = float(sum((a.error_bound for a in (part, zero)), whole.error_bound).sum(axis=1).max())
    error = float(np.abs(whole.output - part.output).sum(axis=1).max())
    trivial = float(np.abs(whole.output - zero.output).sum(axis=1).max())
    return error, trivial, result.row_error, doubt


def _with_largest_logit(X: Any, r: float) -> Any:
    return X * np.sqrt(r / float(fastpath.gram(X).matrix.diagonal().max()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["gram", "gram-of-sketch", "osnap", "countsketch", "leverage", "jl", "bss"]
)
def test_every_method_is_five_times_better_than_no_columns_at_all(method: str) -> None:
    """Row sums at r = 0.1, n = 512, m = 1024, for features in six directions."""
    rng = np.random.default_rng(9)
    X = rng.standard_normal((512, 6)) @ rng.standard_normal((6, 20_000))
    X = _with_largest_logit(X, 0.1)
    error, trivial, bound, doubt = _row_errors(X, method)
    assert 5 * (error + doubt) <= trivial - doubt
    assert error - doubt <= bound


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gram-of-sketch", "osnap", "leverage", "jl"])
def test_for_white_features_no_columns_at_all_are_better_than_a_sketch(method: str) -> None:
    """Their Gram matrix is nearly r I, which moves attention by 2r/n; a sketch adds noise everywhere."""
    X = _with_largest_logit(np.random.default_rng(9).standard_normal((512, 20_000)), 0.1)
    error, trivial, bound, doubt = _row_errors(X, method)
    assert error - doubt > trivial + doubt
    assert error - doubt <= bound


def test_the_same_seed_gives_the_same_columns() -> None:
    X = np.random.default_rng(0).standard_normal((6, 300))
    for guarantee, method in itertools.chain(
        (("loewner", m) for m in ("osnap", "countsketch", "leverage", "gram-of-sketch")),
        (("entrywise", "jl"), ("columns", "leverage")),
    ):
        first, second = (
            fastpath.sparsify(
                X,
                guarantee=guarantee,
                method=method,
                epsilon=0.9,
                rng=np.random.default_rng(7),
            )
            for _ in range(2)
        )
        assert first.Y.tobytes() == second.Y.tobytes()
