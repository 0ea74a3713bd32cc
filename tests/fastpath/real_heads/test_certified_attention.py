"""certified_attention: what it chooses, that it says so, and that every row is what it certified."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.core.costs import exact_cost, rows_cost
from fastpath.core.head import Head
from fastpath.core.offers import Offer, Refusal
from fastpath.real_heads import attention as real_heads
from fastpath.real_heads import exact_rows as exact_rows_of
from fastpath.real_heads.clustered_head import ClusteredHead
from fastpath.real_heads.drawn_rows import DrawnRows
from fastpath.real_heads.pilot import pilot_rows
from reference import Verdict, attention
from tests.benchmarks.chooser import FAMILIES


def head(n: int, d: int, d_v: int, size: float, seed: int = 0) -> Any:
    """Draw float32 queries and keys around a few centres, as real heads have them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((2, 20, d))
    Q, K = (c[rng.integers(0, 20, n)] + rng.standard_normal((n, d)) / 4 for c in centres)
    V = rng.standard_normal((n, d_v)) + K[:, :1]
    return tuple((x * s).astype(np.float32) for x, s in ((Q, size), (K, 1), (V, 1)))


def with_exact(Q: Any, K: Any, V: Any) -> Any:
    return Q, K, V, fastpath.attention(Q, K, V)


@pytest.fixture(scope="module")
def diffuse() -> Any:
    return with_exact(*head(16_384, 32, 32, 0.4))


@pytest.fixture(scope="module")
def sharp() -> Any:
    rng = np.random.default_rng(1)
    K = rng.standard_normal((16_384, 32)).astype(np.float32)
    Q = 3 * K[rng.integers(0, 200, 16_384)] + rng.standard_normal(K.shape).astype(np.float32) / 20
    return with_exact(Q, K, rng.standard_normal(K.shape).astype(np.float32))


def rows_outside(head: Any, result: Any) -> int:
    """Count the rows that are outside for certain: by more than exact attention itself may err."""
    exact = head[3]
    off = np.abs(result.output.astype(float) - exact.output) > (
        result.error_bound + exact.error_bound
    )
    return int(off.any(axis=1).sum())


@pytest.mark.parametrize("seed", range(3))
def test_clusters_keep_all_but_the_uncovered_rows_within_the_certificate(
    diffuse: Any, seed: int
) -> None:
    Q, K, V, _ = diffuse
    result = fastpath.certified_attention(
        Q, K, V, tolerance=0.03, rows="quantile", rng=np.random.default_rng(seed)
    )
    assert result.method == "clusters", result.reason
    assert result.error_bound <= 0.03 * np.abs(V).max()
    assert (result.uncovered, result.failure_probability) == (0.01, 1e-9)
    assert rows_outside(diffuse, result) <= result.uncovered * len(Q)
    # The pilot asked for enough: the first certificate held.
    first = real_heads.rows_skipping(real_heads.SKIPPED, 0.01, 0.5e-9, len(Q))
    assert result.reason.endswith(
        f"samples a cluster and 0% of the rows repaired met the tolerance on {first} rows."
    )
    assert 0 < result.predicted_cost < 1


def test_clusters_are_closer_than_the_mean_of_the_values(diffuse: Any) -> None:
    Q, K, V, _ = diffuse
    rng = np.random.default_rng(0)
    result = fastpath.certified_attention(Q, K, V, tolerance=0.03, rows="quantile", rng=rng)
    uniform = np.repeat(V.mean(axis=0)[None], len(Q), axis=0)
    assert result.error_bound < fastpath.certify(Q, K, V, uniform, rng=rng).error_bound


@pytest.mark.parametrize("rows", ["all", "quantile"])
def test_every_row_of_a_sharp_head_is_certified_by_dropping_keys(sharp: Any, rows: str) -> None:
    Q, K, V, _ = sharp
    result = fastpath.certified_attention(
        Q, K, V, tolerance=1e-2, rows=rows, rng=np.random.default_rng(0)
    )
    assert result.method == "dropped keys", result.reason
    assert (result.uncovered, result.failure_probability) == (0, 0)
    assert (result.error_bound <= 1e-2 * np.abs(V).max()).all()
    assert rows_outside(sharp, result) == 0
    assert 0 < result.predicted_cost < real_heads.WORTHWHILE + real_heads.IN_VAIN


def test_without_a_generator_all_rows_are_the_same_every_time(sharp: Any) -> None:
    Q, K, V, _ = sharp
    first, again = (fastpath.certified_attention(Q, K, V, tolerance=0.1) for _ in range(2))
    assert first.method == "dropped keys"
    assert np.array_equal(first.output, again.output)


def exact_head(result: Any, exact: Any) -> bool:
    return (
        (result.method, result.failure_probability, result.uncovered) == ("exact", 0, 0)
        and 1 <= result.predicted_cost <= 1 + real_heads.IN_VAIN
        and np.array_equal(result.output, exact.output)
        and np.array_equal(result.error_bound, exact.error_bound)
    )


REASONS = {
    "diffuse, all rows": (
        {"rows": "all", "tolerance": 0.03},
        "no polynomial is affordable; the head is not sharp; neither clusters nor sampled keys certify every "
        "row.",
    ),
    "too small a tolerance": (
        {"tolerance": 1e-12},
        "the weights vary too much for clusters; certified sampled keys would take 1.2",
    ),
    "so many rows to check": (
        {"uncovered": 1e-4},
        "certified clusters would take",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_where_nothing_certifies_faster_exact_attention_says_why(diffuse: Any, case: str) -> None:
    Q, K, V, exact = diffuse
    changed, reason = REASONS[case]
    arguments = {"rows": "quantile", "tolerance": 0.03, "rng": np.random.default_rng(0)} | changed
    result = fastpath.certified_attention(Q, K, V, **arguments)
    assert exact_head(result, exact), result.reason
    assert reason in result.reason


def test_a_certificate_that_fails_is_followed_by_more_samples_and_half_the_probability(
    diffuse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Q, K, V, _ = diffuse
    chances, outputs = [], []
    draw, errors = DrawnRows.of, DrawnRows.errors

    def noting(head: Any, uncovered: float, chance: float, *more: Any) -> Any:
        chances.append(chance)
        return draw(head, uncovered, chance, *more)

    def failing(self: DrawnRows, output: Any) -> Any:
        outputs.append(output)
        return errors(self, output) + (0.03 * np.abs(V).max() if len(outputs) == 1 else 0)

    monkeypatch.setattr(DrawnRows, "of", noting)
    monkeypatch.setattr(DrawnRows, "errors", failing)
    monkeypatch.setattr(real_heads, "WORTHWHILE", 2.0)
    monkeypatch.setattr(real_heads, "IN_VAIN", 2.0)
    result = fastpath.certified_attention(
        Q, K, V, tolerance=0.03, rows="quantile", rng=np.random.default_rng(0)
    )
    assert result.method == "clusters"
    assert chances == [0.5e-9, 0.25e-9]
    assert sum(chances) <= result.failure_probability
    assert len(outputs) == 2
    assert rows_outside(diffuse, result) <= result.uncovered * len(Q)


def test_where_few_rows_err_too_much_more_are_drawn_for_the_same_output(
    diffuse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Q, K, V, _ = diffuse
    drawn, computed, compute = [], [], ClusteredHead.output
    spoiled = np.random.default_rng(5).permutation(len(Q))[: len(Q) // 900]

    def spoiling(self: ClusteredHead, *given: Any) -> Any:
        found = compute(self, *given)
        found[0, spoiled] += np.float32(0.1 * np.abs(V).max())
        computed.append(found)
        return found

    draw = DrawnRows.of

    def noting(*given: Any) -> Any:
        drawn.append(draw(*given))
        return drawn[-1]

    monkeypatch.setattr(ClusteredHead, "output", spoiling)
    monkeypatch.setattr(DrawnRows, "of", noting)
    result = fastpath.certified_attention(
        Q, K, V, tolerance=0.03, rows="quantile", rng=np.random.default_rng(0)
    )
    assert result.method == "clusters", result.reason
    assert len(computed) == 1
    assert len(drawn) == 2
    first, again = drawn
    assert first.skipped == real_heads.SKIPPED
    outside = np.count_nonzero(np.isin(first.rows[first.repeats], spoiled))
    assert first.skipped < outside
    assert again.skipped >= outside / len(first.repeats) * len(again.repeats)
    assert result.error_bound <= 0.03 * np.abs(V).max()
    # What it costs to draw so many rows again is told.
    rows = len(first.repeats) + len(again.repeats)
    assert result.predicted_cost > rows / len(Q)


def test_certificates_of_all_ways_together_spend_one_failure_probability(
    diffuse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Q, K, V, _ = diffuse
    spent, drawn_for = [], set()
    draw, take = DrawnRows.of, real_heads._Samples.taken

    def noting(head: Any, uncovered: float, chance: float, *more: Any) -> Any:
        spent.append(chance)
        return draw(head, uncovered, chance, *more)

    def failing(self: Any) -> Any:
        before, found = len(spent), take(self)
        if len(spent) > before:
            drawn_for.add(self.name)
        return found

    monkeypatch.setattr(DrawnRows, "of", noting)
    monkeypatch.setattr(DrawnRows, "bound", lambda self, errors: 10.0)
    monkeypatch.setattr(real_heads._Samples, "taken", failing)
    monkeypatch.setattr(real_heads, "IN_VAIN", 1.0)
    monkeypatch.setattr(real_heads, "WORTHWHILE", 3.0)
    result = fastpath.certified_attention(
        Q,
        K,
        V,
        tolerance=0.1,
        rows="quantile",
        uncovered=0.05,
        failure_probability=1e-3,
        rng=np.random.default_rng(0),
    )
    assert result.method == "exact"
    assert drawn_for == {"clusters", "sampled keys"}
    assert len(spent) > 2
    assert sum(spent) <= 1e-3


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("family", ["outlying", "sink", "recent", "sharp"])
def test_what_is_spent_in_vain_is_little(
    family: str, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact rows are computed once whatever fails, and all else is a small part of exact attention."""
    n, pairs = 8192, []
    attend = exact_rows_of.attend_heads

    def counting(q: Any, k: Any, *more: Any) -> Any:
        if len(k) == n:
            pairs.append(len(q) * len(k))
        return attend(q, k, *more)

    monkeypatch.setattr(exact_rows_of, "attend_heads", counting)
    monkeypatch.setattr(real_heads, "WORTHWHILE", 3.0)
    Q, K, V = (np.asarray(x, np.float32) for x in FAMILIES[family](np.random.default_rng(0), n, 32))
    for tolerance in (0.15, 0.05):
        pairs.clear()
        result = fastpath.certified_attention(
            Q,
            K,
            V,
            tolerance=tolerance,
            rows="quantile",
            causal=causal,
            rng=np.random.default_rng(0),
            workers=1,
        )
        if result.method == "exact":
            assert result.predicted_cost <= 1 + real_heads.IN_VAIN
            # And the rows of pilots.
            assert sum(pairs) <= (1 + real_heads.IN_VAIN / 2) * n * n


@pytest.mark.parametrize(
    ("n", "sampled", "first"),
    [
        (131072, 0.002, "sampled keys"),
        (131072, 0.02, "clusters"),
        # Where few would do, but trying them in vain leaves nothing to spend on clusters.
        (65536, 0.002, "clusters"),
    ],
)
def test_few_keys_for_all_queries_are_tried_first_only_where_few_are_likely_to_do(
    n: int, sampled: float, first: str
) -> None:
    """As many as may do at the least would take less than clusters in every case."""
    x = np.zeros((n, 32), np.float32)
    long = Head(queries=x, keys=x, values=x, causal=True)
    least = real_heads.SampledKeys.least_cost([long], int(sampled * n))
    assert least < real_heads.CausalClusteredHead.least_cost([long])
    offers = [way for way in _offered(long, sampled) if isinstance(way, Offer)]
    assert len(offers) == 2
    assert min(offers, key=lambda way: way.cost).way == first


def test_sampled_keys_are_not_begun_where_trying_them_takes_too_much() -> None:
    x = np.zeros((32768, 32), np.float32)
    _, way = _offered(Head(queries=x, keys=x, values=x, causal=True), 0.002)
    assert isinstance(way, Refusal)
    assert way.reason.startswith("trying sampled keys would take")


def _offered(head: Head, sampled: float) -> list[Any]:
    """Return clusters and sampled keys of a head, offered or refused."""
    asked = real_heads._Asked(
        tolerance=0.1,
        allowed=0.1,
        quantile=True,
        uncovered=0.01,
        failure_probability=1e-9,
        rng=np.random.default_rng(0),
    )
    return real_heads._sampled_ways([head], [head], [asked], sampled, real_heads._Spent())


def test_exact_attention_tells_what_was_spent_in_vain(
    diffuse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Q, K, V, _ = diffuse
    tried, pilot = [], ClusteredHead.pilot

    def missing(self: ClusteredHead, samples: int, rng: Any) -> Any:
        found = pilot(self, samples, rng)
        tried.append(self.pilot_cost(samples))
        return replace(found, errors=found.errors + np.inf)

    monkeypatch.setattr(ClusteredHead, "pilot", missing)
    result = fastpath.certified_attention(
        Q, K, V, tolerance=0.03, rows="quantile", rng=np.random.default_rng(0)
    )
    given = Head.of(Q, K, V, causal=False)
    planning = ClusteredHead.planning_cost([given])
    pilots = rows_cost(given, pilot_rows(len(Q)))
    spent = planning - pilots + sum(tried)
    assert result.method == "exact"
    assert tried
    assert result.predicted_cost == pytest.approx(1 + spent / exact_cost(given))


def test_exact_rows_that_are_known_are_not_computed_again(
    diffuse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every certificate fails, and its rows are part of the answer."""
    Q, K, V, exact = diffuse
    drawn, draw = [], DrawnRows.of

    def noting(*given: Any) -> Any:
        drawn.append(draw(*given))
        return drawn[-1]

    monkeypatch.setattr(DrawnRows, "of", noting)
    monkeypatch.setattr(
        DrawnRows, "errors", lambda self, output: np.full(len(self.repeats), np.inf)
    )
    result = fastpath.certified_attention(
        Q, K, V, tolerance=0.03, rows="quantile", rng=np.random.default_rng(0)
    )
    assert result.method == "exact"
    assert drawn
    assert np.array_equal(result.output[drawn[0].rows], drawn[0].exact.output)
    for name in ("output", "log_sum_exp"):
        bounds = [
            x.error_bound if name == "output" else x.log_sum_exp_bound for x in (result, exact)
        ]
        off = np.abs(getattr(result, name).astype(float) - getattr(exact, name))
        assert (off <= bounds[0] + bounds[1]).all()


@pytest.mark.parametrize("causal", [False, True])
def test_a_polynomial_is_used_where_one_is_cheap(causal: bool) -> None:
    Q, K, V = head(8000, 3, 3, 0.05)
    result = fastpath.certified_attention(Q, K, V, tolerance=1e-3, causal=causal)
    exact = fastpath.attention(Q, K, V, causal=causal)
    assert result.method == "polynomial", result.reason
    assert rows_outside((Q, K, V, exact), result) == 0


def test_a_causal_head_is_exact_and_says_why(diffuse: Any) -> None:
    Q, K, V = (x[:4000] for x in diffuse[:3])
    result = fastpath.certified_attention(
        Q, K, V, tolerance=0.03, rows="quantile", causal=True, rng=np.random.default_rng(0)
    )
    assert exact_head(result, fastpath.attention(Q, K, V, causal=True))
    assert result.reason.startswith(
        "no polynomial is affordable; the head is not sharp; planning clusters would take 1.5 of exact "
        "attention's time; planning sampled keys would take "
    )


@pytest.mark.parametrize("rows", ["all", "quantile"])
def test_every_entry_of_a_small_head_is_within_its_certificate(rows: str) -> None:
    Q, K, V = head(50, 3, 3, 4.0)
    result = fastpath.certified_attention(
        Q, K, V, tolerance=1e-3, rows=rows, rng=np.random.default_rng(0)
    )
    assert (result.method, result.reason) == (
        "exact",
        "with so few queries and keys exact attention is as fast.",
    )
    verdicts = attention(Q, K, V).verdict(result.output, result.error_bound)
    assert all(v is Verdict.WITHIN for v in verdicts.flat)


@pytest.mark.parametrize("rows", ["all", "quantile"])
@pytest.mark.parametrize("kind", ["equal keys", "huge", "one direction", "zero values"])
def test_heads_that_cannot_be_balanced_are_finite_and_certified(
    kind: str, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_heads, "exact_cost", lambda head: np.inf)
    Q, K, V = (x.astype(np.float64) for x in head(6000, 4, 3, 1.5))
    if kind == "equal keys":
        K[:] = K[0]
    elif kind == "huge":
        K *= 1e150
    elif kind == "one direction":
        Q[:, 1:] = 0
    else:
        V[:] = 0
    result = fastpath.certified_attention(
        Q, K, V, tolerance=0.05, rows=rows, rng=np.random.default_rng(0)
    )
    exact = fastpath.attention(Q, K, V)
    assert rows_outside((Q, K, V, exact), result) <= result.uncovered * len(Q)


BAD = {
    "tolerance": ({"tolerance": 1.0}, ValueError, r"tolerance must be in \(0, 1\), got 1.0"),
    "rows": ({"rows": "most"}, ValueError, "rows must be 'all' or 'quantile', got 'most'"),
    "no generator": (
        {"rows": "quantile"},
        TypeError,
        "rng must be a numpy.random.Generator, got None",
    ),
    "another generator": ({"rng": 7}, TypeError, "rng must be a numpy.random.Generator, got 7"),
    "uncovered": ({"uncovered": 0}, ValueError, r"uncovered must be in \(0, 1\), got 0"),
    "failure probability": (
        {"failure_probability": 1.5},
        ValueError,
        r"failure_probability must be in \(0, 1\), got 1.5",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case: str) -> None:
    changed, error, message = BAD[case]
    with pytest.raises(error, match=message):
        fastpath.certified_attention(*head(5, 3, 3, 1.0), **({"tolerance": 0.1} | changed))
